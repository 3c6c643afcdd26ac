"""Bybit's reference and ticker bodies."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from zvt_crypto.core.interval import US_PER_HOUR, US_PER_MINUTE
from zvt_crypto.simulator.encode import decimal_text
from zvt_crypto.simulator.instrument import Instrument, Kind

if TYPE_CHECKING:
    from zvt_crypto.simulator.bybit import BybitVenue

MS: Final = 1_000
TRADING: Final = "Trading"
SMALL: Final = "small"
"""Key of `extra` that marks the many small contracts; their tickers are cheap and rough."""

_CONTRACT_TYPE: Final = {Kind.LINEAR: "LinearPerpetual", Kind.INVERSE: "InversePerpetual"}
_FIVE_MINUTES_US: Final = 5 * US_PER_MINUTE
INTEREST_WIDTHS_US: Final[dict[str, int]] = {
    "5min": _FIVE_MINUTES_US, "15min": 3 * _FIVE_MINUTES_US, "30min": 6 * _FIVE_MINUTES_US,
    "1h": US_PER_HOUR, "4h": 4 * US_PER_HOUR, "1d": 24 * US_PER_HOUR,
}  # fmt: skip


def describe(instrument: Instrument, number: int) -> dict[str, Any]:
    """Return one entry of `instruments-info`."""
    if instrument.kind is Kind.SPOT:
        return _spot(instrument, number)
    return _contract(
        number,
        symbol=instrument.native,
        kind=_CONTRACT_TYPE[instrument.kind],
        coins=(instrument.base, instrument.quote, instrument.settle),
        tick=f"{instrument.price_step:f}",
        step=f"{instrument.size_step:f}",
        launched_ms=instrument.listed_us // MS,
        funding_minutes=instrument.funding_hours * 60,
        symbol_type=instrument.extra.get("symbolType", ""),
        inverse=instrument.kind is Kind.INVERSE,
    )


def other_contracts(category: str) -> list[dict[str, Any]]:
    """Return contracts that are listed but not simulated, for clients to tell apart.

    Dated futures, a contract before its launch and a closed one: what a list of perpetuals that
    trade must not contain.
    """
    if category == "inverse":
        dated = _contract(
            90_001, symbol="BTCUSDH30", kind="InverseFutures", coins=("BTC", "USD", "BTC"),
            tick="0.50", step="1", launched_ms=1_726_000_000_000, funding_minutes=0,
            delivery_ms=1_900_742_400_000, inverse=True,
        )  # fmt: skip
        return [dated]
    common: dict[str, Any] = {"tick": "0.10", "step": "0.001"}
    return [
        _contract(
            90_002, symbol="BTCUSDT-29MAR30", kind="LinearFutures", coins=("BTC", "USDT", "USDT"),
            launched_ms=1_726_000_000_000, funding_minutes=0, delivery_ms=1_900_742_400_000,
            **common,
        ),
        _contract(
            90_003, symbol="BTC-29MAR30", kind="LinearFutures", coins=("BTC", "USDC", "USDC"),
            launched_ms=1_726_000_000_000, funding_minutes=0, delivery_ms=1_900_742_400_000,
            **common,
        ),
        _contract(
            90_004, symbol="NEWCOINUSDT", kind="LinearPerpetual",
            coins=("NEWCOIN", "USDT", "USDT"), launched_ms=1_900_000_000_000, funding_minutes=240,
            status="PreLaunch", **common,
        ),
        _contract(
            90_005, symbol="OLDCOINUSDT", kind="LinearPerpetual",
            coins=("OLDCOIN", "USDT", "USDT"), launched_ms=1_620_000_000_000, funding_minutes=480,
            delivery_ms=1_700_000_000_000, status="Closed", **common,
        ),
    ]  # fmt: skip


def ticker(venue: "BybitVenue", instrument: Instrument, now_us: int) -> dict[str, Any]:
    """Return one entry of `tickers`."""
    if instrument.extra.get(SMALL):
        last = venue.world.market.price_at(instrument, now_us)
        opened = high = low = last
        native = turnover = 0
    else:
        day = venue.day_summary(instrument, now_us)
        last, opened, high, low = day.last, day.open, day.high, day.low
        native = day.native
        turnover = day.base if instrument.kind is Kind.INVERSE else day.quote
    turnover_decimals = (
        instrument.base_decimals if instrument.kind is Kind.INVERSE else instrument.quote_decimals
    )
    bids, asks = venue.book(instrument, now_us, 1)
    value: dict[str, Any] = {"symbol": instrument.native}
    for name, levels in (("bid1", bids), ("ask1", asks)):
        price, size = levels[0] if levels else (0, 0)
        value[f"{name}Price"] = _price(instrument, price)
        value[f"{name}Size"] = decimal_text(size, instrument.size_decimals)
    value |= {
        "lastPrice": _price(instrument, last),
        "prevPrice24h": _price(instrument, opened),
        "price24hPcnt": f"{(last - opened) / opened:.6f}",
        "highPrice24h": _price(instrument, high),
        "lowPrice24h": _price(instrument, low),
        "turnover24h": decimal_text(turnover, turnover_decimals),
        "volume24h": decimal_text(native, instrument.size_decimals),
    }
    if instrument.kind is Kind.SPOT:
        return value | {"usdIndexPrice": _price(instrument, last)}
    return value | _funding(venue, instrument, now_us, last)


def interest(venue: "BybitVenue", instrument: Instrument, time_us: int) -> dict[str, str]:
    """Return open interest at a moment: both sides, and the long side alone."""
    both = venue.world.market.open_interest(instrument, time_us)
    return {
        "openInterest": decimal_text(2 * both, instrument.size_decimals),
        "singleOpenInterest": decimal_text(both, instrument.size_decimals),
    }


def maintenance(now_us: int) -> dict[str, Any]:
    """Return an entry of the status page about maintenance under way."""
    return {
        "id": "f9d6842d-5331-11f0-8fd3-c241b123dd9e",
        "title": "System maintenance",
        "state": "ongoing",
        "begin": str(now_us // MS - 60_000),
        "end": str(now_us // MS + 3_600_000),
        "href": "",
        "serviceTypes": [1, 2, 3, 4],
        "product": [1, 2],
        "uidSuffix": [],
        "maintainType": 3,
        "env": 1,
    }


def levels(instrument: Instrument, side: Sequence[tuple[int, int]]) -> list[list[str]]:
    """Return one side of a book as Bybit writes it."""
    return [
        [_price(instrument, price), decimal_text(size, instrument.size_decimals)]
        for price, size in side
    ]


def _funding(venue: "BybitVenue", instrument: Instrument, now_us: int, last: int) -> dict[str, Any]:
    market = venue.world.market
    count = market.funding_count(instrument, now_us)
    coming = market.funding(instrument, count, count + 1)
    held = interest(venue, instrument, now_us)
    worth = float(held["openInterest"])
    if instrument.kind is Kind.LINEAR:
        worth *= last * 10.0**-instrument.price_decimals
    else:
        worth /= last * 10.0**-instrument.price_decimals
    price = _price(instrument, last)
    return {
        "markPrice": price,
        "indexPrice": price,
        "prevPrice1h": price,
        **held,
        "openInterestValue": f"{worth:.4f}",
        "fundingRate": decimal_text(int(coming.predicted[0]), 8),
        "nextFundingTime": str(int(coming.time_us[0]) // MS),
        "fundingIntervalHour": str(instrument.funding_hours),
        "fundingCap": "0.00375",
        "predictedDeliveryPrice": "",
        "basisRate": "",
        "basis": "",
        "deliveryFeeRate": "",
        "deliveryTime": "0",
        "preOpenPrice": "",
        "preQty": "",
        "curPreListingPhase": "",
    }


def _spot(instrument: Instrument, number: int) -> dict[str, Any]:
    step = f"{instrument.size_step:f}"
    return {
        "symbolId": number,
        "symbol": instrument.native,
        "baseCoin": instrument.base,
        "quoteCoin": instrument.quote,
        "innovation": "0",
        "status": TRADING,
        "marginTrading": "utaOnly",
        "stTag": "0",
        "lotSizeFilter": {
            "basePrecision": step,
            "quotePrecision": decimal_text(1, instrument.quote_decimals),
            "minOrderQty": step,
            "maxOrderQty": "10000",
            "minOrderAmt": "5",
            "maxOrderAmt": "1999999999",
            "maxLimitOrderQty": "10000",
            "maxMarketOrderQty": "5000",
            "postOnlyMaxLimitOrderSize": "60000",
        },
        "priceFilter": {"tickSize": f"{instrument.price_step:f}"},
        "riskParameters": {"priceLimitRatioX": "0.05", "priceLimitRatioY": "0.05"},
        "symbolType": instrument.extra.get("symbolType", ""),
        "xstockMultiplier": "1",
    }


def _contract(
    number: int,
    *,
    symbol: str,
    kind: str,
    coins: tuple[str, str, str],
    tick: str,
    step: str,
    launched_ms: int,
    funding_minutes: int,
    delivery_ms: int = 0,
    status: str = TRADING,
    symbol_type: str = "",
    inverse: bool = False,
) -> dict[str, Any]:
    base, quote, settle = coins
    lot: dict[str, str] = {
        "maxOrderQty": "25000000" if inverse else "1190.000",
        "minOrderQty": step,
        "qtyStep": step,
        "postOnlyMaxOrderQty": "25000000" if inverse else "1190.000",
        "maxMktOrderQty": "5000000" if inverse else "500.000",
    }
    if not inverse:
        lot["minNotionalValue"] = "5"
    listing = {"curAuctionPhase": "NotStarted", "phases": [], "auctionFeeInfo": {}}
    return {
        "symbol": symbol,
        "contractType": kind,
        "status": status,
        "baseCoin": base,
        "quoteCoin": quote,
        "launchTime": str(launched_ms),
        "deliveryTime": str(delivery_ms),
        "deliveryFeeRate": "",
        "priceScale": str(len(tick.partition(".")[2])),
        "leverageFilter": {"minLeverage": "1", "maxLeverage": "100.00", "leverageStep": "0.01"},
        "priceFilter": {"minPrice": tick, "maxPrice": "1999999.80", "tickSize": tick},
        "lotSizeFilter": lot,
        "unifiedMarginTrade": True,
        "fundingInterval": funding_minutes,
        "settleCoin": settle,
        "copyTrading": "both",
        "upperFundingRate": "0.00375",
        "lowerFundingRate": "-0.00375",
        "isPreListing": status == "PreLaunch",
        "preListingInfo": listing if status == "PreLaunch" else None,
        "riskParameters": {"priceLimitRatioX": "0.01", "priceLimitRatioY": "0.02"},
        "displayName": "",
        "symbolId": number,
        "symbolType": symbol_type,
    }


def _price(instrument: Instrument, value: int) -> str:
    return decimal_text(value, instrument.price_decimals, trim=False)
