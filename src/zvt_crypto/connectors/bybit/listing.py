"""Instruments of Bybit; pure."""

from collections.abc import Sequence
from typing import Final
from urllib.parse import unquote

import msgspec

from zvt_crypto.connectors.bybit.envelope import Reply, decode, positive
from zvt_crypto.connectors.bybit.spec import NAME, NON_CRYPTO
from zvt_crypto.core.instrument import Instrument, Market, Status, canonical_symbol
from zvt_crypto.core.interval import US_PER_MS

_STATUS: Final = {
    "Trading": Status.ACTIVE,
    "PreLaunch": Status.PRE_LISTING,
    "Delivering": Status.SETTLING,
    "Closed": Status.DELISTED,
}
_PERPETUALS: Final = {"LinearPerpetual": Market.LINEAR, "InversePerpetual": Market.INVERSE}
_MAX_MS: Final = 10**14


class _PriceFilter(msgspec.Struct, rename="camel"):
    tick_size: str | None = None


class _LotFilter(msgspec.Struct, rename="camel"):
    base_precision: str | None = None
    min_order_amt: str | None = None
    qty_step: str | None = None
    min_order_qty: str | None = None
    min_notional_value: str | None = None


class _Instrument(msgspec.Struct, rename="camel"):
    symbol: str
    base_coin: str
    quote_coin: str
    status: str | None = None
    contract_type: str | None = None
    settle_coin: str | None = None
    symbol_type: str | None = None
    launch_time: str | int | None = None
    delivery_time: str | int | None = None
    price_filter: _PriceFilter = msgspec.field(default_factory=_PriceFilter)
    lot_size_filter: _LotFilter = msgspec.field(default_factory=_LotFilter)


class _InstrumentPage(msgspec.Struct, rename="camel"):
    list: Sequence[_Instrument]
    next_page_cursor: str | None = None


class InstrumentPage(msgspec.Struct, frozen=True):
    """One page of instruments.

    `cursor` asks for the next page and is empty on the last one. It arrives percent-encoded and
    is decoded here, so that encoding a query encodes it exactly once. `rows` counts what the page
    held, dated futures and contracts on stocks included, which `instruments` leaves out.
    """

    instruments: Sequence[Instrument]
    cursor: str
    rows: int


_decoder: Final = msgspec.json.Decoder(Reply[_InstrumentPage])


def parse_instruments(body: bytes, market: Market, *, only_crypto: bool = True) -> InstrumentPage:
    """Translate a page of `instruments-info`.

    Perpetuals and spot pairs only. Multiplied bases (`1000PEPE`) are kept as they are.

    Args:
        body: the reply.
        market: category that was asked for; some replies do not repeat it.
        only_crypto: leave out perpetuals on stocks, commodities and currencies.

    Raises:
        MalformedPayload: not of the documented shape.

    Source:
        https://bybit-exchange.github.io/docs/v5/market/instrument
    """
    page = decode(_decoder, body, "instruments").result
    found = [
        _instrument(row, market)
        for row in page.list
        if _is_wanted(row, market) and not (only_crypto and row.symbol_type in NON_CRYPTO)
    ]
    return InstrumentPage(found, unquote(page.next_page_cursor or ""), len(page.list))


def _is_wanted(row: _Instrument, market: Market) -> bool:
    if market is Market.SPOT:
        return row.contract_type is None
    return _PERPETUALS.get(row.contract_type or "") is market


def _instrument(row: _Instrument, market: Market) -> Instrument:
    lot = row.lot_size_filter
    is_spot = market is Market.SPOT
    settle = None if is_spot else _settle(row, market)
    return Instrument(
        exchange=NAME,
        symbol=canonical_symbol(row.base_coin, row.quote_coin, settle),
        native=row.symbol,
        base=row.base_coin,
        quote=row.quote_coin,
        settle=settle,
        market=market,
        status=_STATUS.get(row.status or "", Status.UNKNOWN),
        tick_size=positive(row.price_filter.tick_size),
        size_step=positive(lot.base_precision if is_spot else lot.qty_step),
        # On spot the minimum is an amount: minOrderQty is deprecated there.
        min_size=None if is_spot else positive(lot.min_order_qty),
        min_notional=positive(lot.min_order_amt if is_spot else lot.min_notional_value),
        listed_us=_moment(row.launch_time),
        delisted_us=_moment(row.delivery_time),
    )


def _settle(row: _Instrument, market: Market) -> str:
    if market is Market.INVERSE:
        return row.settle_coin or row.base_coin
    settle = row.settle_coin or row.quote_coin
    # `BTCPERP` has been listed as settling in USD; what is paid is USDC.
    return "USDC" if settle == "USD" else settle


def _moment(ms: str | int | None) -> int | None:
    """Return a time that may be absent, which is spelled "0" or "" as well."""
    try:
        moment = int(ms or 0)
    except ValueError:
        return None
    return moment * US_PER_MS if 0 < moment < _MAX_MS else None
