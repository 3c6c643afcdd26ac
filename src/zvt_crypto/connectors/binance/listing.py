"""exchangeInfo to instruments: both dialects of filters, spot and futures. Pure."""

from collections.abc import Sequence
from typing import Annotated, Any, Final

import msgspec

from zvt_crypto.connectors.binance.spec import (
    NAME,
    PERPETUAL,
    STATUSES,
    TRADIFI_PERPETUAL,
    WEIGHT,
)
from zvt_crypto.connectors.wire import UNDECODABLE
from zvt_crypto.core.errors import MalformedPayload
from zvt_crypto.core.instrument import Instrument, Market, Status, canonical_symbol
from zvt_crypto.core.interval import US_PER_MS

# A perpetual's deliveryDate is a day in December 2100, not always the same millisecond.
_NEVER_MS: Final = 4_102_444_800_000

_Millis = Annotated[int, msgspec.Meta(ge=0, le=10**14)]


class _Filter(msgspec.Struct, rename="camel"):
    """The fields of those filters that say how an instrument trades; others are ignored."""

    filter_type: str
    tick_size: str | None = None
    step_size: str | None = None
    min_qty: str | None = None
    min_notional: str | None = None
    notional: str | None = None


class _RateLimit(msgspec.Struct, rename="camel"):
    rate_limit_type: str
    interval: str
    interval_num: int
    limit: float


class Symbol(msgspec.Struct, rename="camel"):
    """One row of `symbols`; futures have what spot leaves out."""

    symbol: str
    base_asset: str
    quote_asset: str
    status: str | None = None
    contract_status: str | None = None
    contract_type: str | None = None
    contract_size: float = 1.0
    margin_asset: str | None = None
    onboard_date: _Millis | None = None
    delivery_date: _Millis | None = None
    filters: list[_Filter] = msgspec.field(default_factory=list[_Filter])


class ExchangeInfo(msgspec.Struct, rename="camel"):
    """Reply of exchangeInfo, as far as we use it."""

    symbols: list[Symbol]
    rate_limits: list[_RateLimit] = msgspec.field(default_factory=list[_RateLimit])
    server_time: int = 0


_decode_info: Final = msgspec.json.Decoder(ExchangeInfo).decode


def parse_exchange_info(body: bytes) -> ExchangeInfo:
    """Read exchangeInfo of spot, USDⓈ-M or COIN-M futures.

    Raises:
        MalformedPayload: not JSON, or a field is missing or of another type.

    Source:
        https://developers.binance.com/docs/binance-spot-api-docs/rest-api/general-endpoints
    """
    try:
        return _decode_info(body)
    except UNDECODABLE as e:
        raise MalformedPayload(NAME, "exchangeInfo", str(e)) from e


def weight_limits(info: ExchangeInfo) -> dict[str, float]:
    """Return the request weight per minute in force, by quota name; empty if it is not said."""
    limits = [
        limit.limit
        for limit in info.rate_limits
        if limit.rate_limit_type == "REQUEST_WEIGHT"
        and (limit.interval, limit.interval_num) == ("MINUTE", 1)
        and limit.limit > 0
    ]
    return {WEIGHT: min(limits)} if limits else {}


def instruments_of(
    info: ExchangeInfo, market: Market, *, with_tradifi: bool = False
) -> list[Instrument]:
    """Return spot pairs, or the perpetuals among futures, tradable or not.

    Tick and step are those of the filters: the `*Precision` fields mean something else. Sizes are
    in base units; COIN-M counts contracts of `contract_size` quote units. A status we do not know
    counts as halted.

    Args:
        info: a reply of the market's own host: spot and perpetual ids collide.
        market: which market the reply is of.
        with_tradifi: also return perpetuals on shares and metals.

    Raises:
        MalformedPayload: a filter's number is none.
    """
    wanted = {PERPETUAL, TRADIFI_PERPETUAL} if with_tradifi else {PERPETUAL}
    try:
        return [
            _instrument(row, market)
            for row in info.symbols
            if market is Market.SPOT or row.contract_type in wanted
        ]
    except ValueError as e:
        raise MalformedPayload(NAME, "exchangeInfo", str(e)) from e


def _instrument(row: Symbol, market: Market) -> Instrument:
    spot = market is Market.SPOT
    settle = None if spot else row.margin_asset or row.quote_asset
    delisted = row.delivery_date
    return Instrument(
        exchange=NAME,
        symbol=canonical_symbol(row.base_asset, row.quote_asset, settle),
        native=row.symbol,
        base=row.base_asset,
        quote=row.quote_asset,
        settle=settle,
        market=market,
        status=STATUSES.get(row.status or row.contract_status or "", Status.HALTED),
        tick_size=_positive(row.filters, "PRICE_FILTER", "tick_size"),
        size_step=_positive(row.filters, "LOT_SIZE", "step_size"),
        min_size=_positive(row.filters, "LOT_SIZE", "min_qty"),
        min_notional=_positive(row.filters, "NOTIONAL", "min_notional")
        or _positive(row.filters, "MIN_NOTIONAL", "min_notional")
        or _positive(row.filters, "MIN_NOTIONAL", "notional"),
        contract_size=1.0 if spot else row.contract_size,
        listed_us=None if row.onboard_date is None else row.onboard_date * US_PER_MS,
        delisted_us=None if delisted is None or delisted >= _NEVER_MS else delisted * US_PER_MS,
    )


def _positive(filters: Sequence[_Filter], kind: str, name: str) -> float | None:
    """Return a filter's number; None if it is absent or 0, which switches the filter off."""
    for one in filters:
        text: Any = getattr(one, name)
        if one.filter_type == kind and text is not None:
            return float(text) or None
    return None
