"""What OKX lists: rows of `public/instruments` to instruments. Pure.

Source: https://www.okx.com/docs-v5/en/#public-data-rest-api-get-instruments
"""

from collections.abc import Collection
from typing import Final

import msgspec

from zvt_crypto.connectors.okx.spec import CRYPTO_CATEGORIES, NAME, STATUSES
from zvt_crypto.connectors.wire.number import number
from zvt_crypto.core.errors import MalformedPayload
from zvt_crypto.core.instrument import Instrument, Market, Status, canonical_symbol
from zvt_crypto.core.interval import US_PER_MS

_PAIR_PARTS: Final = 2


class _Row(msgspec.Struct, rename="camel"):
    inst_type: str
    inst_id: str
    state: str = ""
    inst_category: str | None = ""
    base_ccy: str | None = ""
    quote_ccy: str | None = ""
    settle_ccy: str | None = ""
    uly: str | None = ""
    ct_type: str | None = ""
    ct_val: str | None = ""
    ct_mult: str | None = ""
    tick_sz: str | None = ""
    lot_sz: str | None = ""
    min_sz: str | None = ""
    list_time: str | None = ""
    cont_td_sw_time: str | None = ""
    exp_time: str | None = ""


class _Reply(msgspec.Struct):
    data: list[_Row]


_decode = msgspec.json.Decoder(_Reply).decode


def parse_instruments(
    body: bytes, *, categories: Collection[str] = CRYPTO_CATEGORIES
) -> list[Instrument]:
    """Translate a reply of `public/instruments` for SPOT or SWAP.

    Args:
        body: the reply.
        categories: values of `instCategory` to keep; by default coins only.

    Returns:
        Spot pairs and perpetuals in the exchange's order. Other types, and rows of which no base
        and quote can be told, are left out. Steps are in base units for spot and in contracts for
        perpetuals; `contract_size` is `ctVal` x `ctMult`.

    Raises:
        MalformedPayload: not JSON of that shape.

    Source:
        https://www.okx.com/docs-v5/en/#public-data-rest-api-get-instruments
    """
    try:
        rows = _decode(body).data
        listed = (_instrument(row) for row in rows if (row.inst_category or "") in categories)
        return [one for one in listed if one is not None]
    except (msgspec.DecodeError, UnicodeDecodeError) as e:
        raise MalformedPayload(NAME, "instruments", str(e)) from e


def _instrument(row: _Row) -> Instrument | None:
    if row.inst_type == "SPOT":
        return _spot(row)
    if row.inst_type == "SWAP":
        return _swap(row)
    return None


def _spot(row: _Row) -> Instrument | None:
    base, quote = row.base_ccy or "", row.quote_ccy or ""
    if not base or not quote:
        # Rows about to open carry empty fields until minutes before their listing.
        pair = _pair(row.inst_id)
        if pair is None:
            return None
        base, quote = pair
    return _build(row, base, quote, None, Market.SPOT, canonical_symbol(base, quote), 1.0)


def _swap(row: _Row) -> Instrument | None:
    # Base and quote are empty for contracts; the index they follow names both.
    pair = _pair(row.uly or "") or _pair(row.inst_id.removesuffix("-SWAP").replace("_UM", ""))
    if pair is None:
        return None
    base, quote = pair
    market = Market.INVERSE if row.ct_type == "inverse" else Market.LINEAR
    # A basket of stablecoins, worth and shown as dollars.
    settle = (row.settle_ccy or "").replace("USDⓈ", "USD")
    settle = settle or (base if market is Market.INVERSE else quote)
    symbol = canonical_symbol(base, quote, settle)
    if quote == "USD" and market is Market.LINEAR and settle == quote:
        # BTC-USD_UM-SWAP stands beside the inverse BTC-USD-SWAP, which is BTC-USD-PERP. Named so
        # whether or not the inverse one is listed: a name must not hang on its neighbours.
        symbol = f"{base}-{quote}-{settle}-PERP"
    size = (_number(row.ct_val) or 1.0) * (_number(row.ct_mult) or 1.0)
    return _build(row, base, quote, settle, market, symbol, size)


def _build(  # noqa: PLR0917 - two callers, side by side
    row: _Row,
    base: str,
    quote: str,
    settle: str | None,
    market: Market,
    symbol: str,
    contract_size: float,
) -> Instrument:
    return Instrument(
        exchange=NAME,
        symbol=symbol,
        native=row.inst_id,
        base=base,
        quote=quote,
        settle=settle,
        market=market,
        status=STATUSES.get(row.state, Status.UNKNOWN),
        tick_size=_number(row.tick_sz),
        size_step=_number(row.lot_sz),
        min_size=_number(row.min_sz),
        contract_size=contract_size,
        listed_us=_moment(row.cont_td_sw_time) or _moment(row.list_time),
        delisted_us=_moment(row.exp_time),
    )


def _pair(text: str) -> tuple[str, str] | None:
    parts = text.split("-")
    if len(parts) != _PAIR_PARTS or not all(parts):
        return None
    return parts[0], parts[1]


def _number(text: str | None) -> float | None:
    """Return what is told; a word that is no number costs the field and not the whole list."""
    try:
        return number(text, "an instrument") if text else None
    except ValueError:
        return None


def _moment(text: str | None) -> int | None:
    return int(text) * US_PER_MS if text and text.isascii() and text.isdigit() else None
