"""From bytes of JSON to columns, and from columns to a finished page; shared by all exchanges.

`rows_to_columns` reads pages of arrays, `decode_objects` with `struct_columns` pages of objects,
`candle_page`, `trade_page` and `funding_page` finish them as the port's `Fetched`;
`decimal_product` turns contracts into base units.
"""

from zvt_crypto.connectors.wire.item import Int64, decode_objects, struct_columns
from zvt_crypto.connectors.wire.number import count_precision_loss, is_lost, number
from zvt_crypto.connectors.wire.page import UNDECODABLE, Page, candle_page, funding_page, trade_page
from zvt_crypto.connectors.wire.row import rows_to_columns
from zvt_crypto.connectors.wire.unit import decimal_product

__all__ = [
    "UNDECODABLE",
    "Int64",
    "Page",
    "candle_page",
    "count_precision_loss",
    "decimal_product",
    "decode_objects",
    "funding_page",
    "is_lost",
    "number",
    "rows_to_columns",
    "struct_columns",
    "trade_page",
]
