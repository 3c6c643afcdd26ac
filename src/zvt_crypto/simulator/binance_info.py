"""Binance's reference and ticker bodies."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from zvt_crypto.core.interval import US_PER_DAY, US_PER_HOUR, US_PER_MINUTE
from zvt_crypto.simulator.encode import decimal_text
from zvt_crypto.simulator.instrument import Instrument, Kind

if TYPE_CHECKING:
    from zvt_crypto.simulator.binance import BinanceVenue

MS: Final = 1_000
_ORDER_TYPES: Final = [
    "LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT",
    "TAKE_PROFIT_LIMIT",
]  # fmt: skip
_PERP_ORDER_TYPES: Final = [
    "LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET",
    "TRAILING_STOP_MARKET",
]  # fmt: skip
_STP: Final = ["EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH", "DECREMENT"]
_NEVER_MS: Final = 4_133_404_800_000
_ONBOARD_LATE_US: Final = 16 * US_PER_DAY  # onboardDate lies: candles begin before it

STATIC: Final[dict[str, Any]] = {
    "/dapi/v1/ping": {},
    "/dapi/v1/exchangeInfo": {
        "timezone": "UTC", "serverTime": 0, "rateLimits": [], "exchangeFilters": [], "symbols": [],
    },
    "/eapi/v1/exchangeInfo": {
        "timezone": "UTC", "serverTime": 0, "optionContracts": [], "optionAssets": [],
        "optionSymbols": [], "rateLimits": [],
    },
    "/sapi/v1/system/status": {"status": 0, "msg": "normal"},
}  # fmt: skip
GEO_BODY: Final = {
    "code": 0,
    "msg": "Service unavailable from a restricted location according to 'b. Eligibility' in "
    "https://www.binance.com/en/terms. Please contact customer service if you believe you "
    "received this message in error.",
}
WAF_PAGE: Final = (
    b"<html>\r\n<head><title>403 Forbidden</title></head>\r\n<body>\r\n"
    b"<center><h1>403 Forbidden</h1></center>\r\n</body>\r\n</html>\r\n"
)


def symbols_of(text: str) -> list[str]:
    """Read the JSON array of the `symbols` parameter."""
    return msgspec.json.decode(text.encode(), type=list[str]) if text.startswith("[") else []


def price(instrument: Instrument, value: int) -> str:
    """Return a price as Binance writes it: eight digits on spot, the tick's on perpetuals."""
    return _written(value, instrument.price_decimals, instrument)


def size(instrument: Instrument, value: int) -> str:
    """Return a size as Binance writes it."""
    return _written(value, instrument.size_decimals, instrument)


def spot_info(
    instruments: Sequence[Instrument], server_us: int, weight: int, raw: int
) -> dict[str, Any]:
    """Return the spot `exchangeInfo`."""
    return {
        "timezone": "UTC",
        "serverTime": server_us // MS,
        "rateLimits": [
            _rate_limit("REQUEST_WEIGHT", "MINUTE", 1, weight),
            _rate_limit("ORDERS", "SECOND", 10, 50),
            _rate_limit("ORDERS", "DAY", 1, 160_000),
            _rate_limit("RAW_REQUESTS", "MINUTE", 5, raw),
        ],
        "exchangeFilters": [],
        "symbols": [_spot_symbol(instrument) for instrument in instruments],
    }


def perp_info(instruments: Sequence[Instrument], server_us: int, weight: int) -> dict[str, Any]:
    """Return the perpetuals' `exchangeInfo`."""
    assets = [{"asset": "USDT", "marginAvailable": True, "autoAssetExchange": "-10000"}]
    return {
        "timezone": "UTC",
        "serverTime": server_us // MS,
        "futuresType": "U_MARGINED",
        "rateLimits": [
            _rate_limit("REQUEST_WEIGHT", "MINUTE", 1, weight),
            _rate_limit("ORDERS", "MINUTE", 1, 1_200),
            _rate_limit("ORDERS", "SECOND", 10, 300),
        ],
        "exchangeFilters": [],
        "assets": assets,
        "symbols": [_perp_symbol(instrument) for instrument in instruments],
    }


def funding_info(instrument: Instrument) -> dict[str, Any]:
    """Return one row of `fundingInfo`, which lists only what is not ordinary."""
    return {
        "symbol": instrument.native,
        "adjustedFundingRateCap": "0.02000000",
        "adjustedFundingRateFloor": "-0.02000000",
        "fundingIntervalHours": instrument.funding_hours,
        "disclaimer": False,
    }


def premium(venue: "BinanceVenue", instrument: Instrument, now_us: int) -> dict[str, Any]:
    """Return one row of `premiumIndex`; `lastFundingRate` is the running interval's estimate."""
    market = venue.world.market
    count = market.funding_count(instrument, now_us)
    coming = market.funding(instrument, count, count + 1)
    mark = price(instrument, market.price_at(instrument, now_us))
    return {
        "symbol": instrument.native,
        "markPrice": mark,
        "indexPrice": mark,
        "estimatedSettlePrice": mark,
        "lastFundingRate": decimal_text(int(coming.predicted[0]), 8, trim=False),
        "interestRate": "0.00010000",
        "nextFundingTime": int(coming.time_us[0]) // MS,
        "time": now_us // MS,
    }


def _price_ticker(venue: "BinanceVenue", instrument: Instrument, now_us: int) -> dict[str, Any]:
    last = price(instrument, venue.world.market.price_at(instrument, now_us))
    ticker: dict[str, Any] = {"symbol": instrument.native, "price": last}
    return ticker if instrument.kind is Kind.SPOT else ticker | {"time": now_us // MS}


def _book_ticker(venue: "BinanceVenue", instrument: Instrument, now_us: int) -> dict[str, Any]:
    book = venue.book_at(instrument, now_us)
    (bid, *_), (ask, *_) = book.top(1)
    ticker: dict[str, Any] = {
        "symbol": instrument.native,
        "bidPrice": price(instrument, bid[0]),
        "bidQty": size(instrument, bid[1]),
        "askPrice": price(instrument, ask[0]),
        "askQty": size(instrument, ask[1]),
    }
    if instrument.kind is Kind.SPOT:
        return ticker
    return ticker | {"time": now_us // MS, "lastUpdateId": book.sequence}


def _day_ticker(venue: "BinanceVenue", instrument: Instrument, now_us: int) -> dict[str, Any]:
    day = venue.day_summary(instrument, now_us)
    ticker: dict[str, Any] = {
        "symbol": instrument.native,
        "priceChange": day.change,
        "priceChangePercent": day.change_percent,
        "weightedAvgPrice": day.average,
        "lastPrice": price(instrument, day.last),
        "lastQty": size(instrument, day.last_size),
        "openPrice": price(instrument, day.open),
        "highPrice": price(instrument, day.high),
        "lowPrice": price(instrument, day.low),
        "volume": decimal_text(day.base, instrument.base_decimals),
        "quoteVolume": decimal_text(day.quote, instrument.quote_decimals),
        "openTime": (now_us - US_PER_DAY) // US_PER_MINUTE * US_PER_MINUTE // MS,
        "closeTime": now_us // MS,
        "firstId": day.first_id,
        "lastId": day.last_id,
        "count": day.count,
    }
    if instrument.kind is not Kind.SPOT:
        return ticker
    book = _book_ticker(venue, instrument, now_us)
    return ticker | {"prevClosePrice": price(instrument, day.open)} | book


Ticker = Callable[["BinanceVenue", Instrument, int], dict[str, Any]]
TICKERS: Final[dict[str, Ticker]] = {
    "24hr": _day_ticker,
    "price": _price_ticker,
    "bookTicker": _book_ticker,
}


def _written(value: int, decimals: int, instrument: Instrument) -> str:
    if instrument.kind is Kind.SPOT:
        return decimal_text(value * 10 ** (8 - decimals), 8, trim=False)
    return decimal_text(value, decimals, trim=False)


def _rate_limit(kind: str, interval: str, number: int, limit: int) -> dict[str, Any]:
    return {"rateLimitType": kind, "interval": interval, "intervalNum": number, "limit": limit}


def _spot_symbol(instrument: Instrument) -> dict[str, Any]:
    return {
        "symbol": instrument.native,
        "status": "TRADING",
        "baseAsset": instrument.base,
        "baseAssetPrecision": 8,
        "quoteAsset": instrument.quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": _ORDER_TYPES,
        "icebergAllowed": True,
        "ocoAllowed": True,
        "otoAllowed": True,
        "opoAllowed": True,
        "quoteOrderQtyMarketAllowed": True,
        "allowTrailingStop": True,
        "cancelReplaceAllowed": True,
        "amendAllowed": True,
        "pegInstructionsAllowed": True,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": True,
        "filters": _spot_filters(instrument),
        "permissions": [],
        "permissionSets": [["SPOT", "MARGIN"]],
        "defaultSelfTradePreventionMode": "EXPIRE_MAKER",
        "allowedSelfTradePreventionModes": ["NONE", *_STP],
    }


def _spot_filters(instrument: Instrument) -> list[dict[str, Any]]:
    tick, step = f"{instrument.price_step:.8f}", f"{instrument.size_step:.8f}"
    lot = {"minQty": step, "maxQty": "9000000.00000000", "stepSize": step}
    market_lot = {"minQty": "0.00000000", "maxQty": "100000.0", "stepSize": "0.00000000"}
    return [
        {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "10000000.00000000",
         "tickSize": tick},
        {"filterType": "LOT_SIZE", **lot},
        {"filterType": "ICEBERG_PARTS", "limit": 100},
        {"filterType": "MARKET_LOT_SIZE", **market_lot},
        {"filterType": "TRAILING_DELTA", "minTrailingAboveDelta": 10,
         "maxTrailingAboveDelta": 2000, "minTrailingBelowDelta": 10,
         "maxTrailingBelowDelta": 2000},
        {"filterType": "PERCENT_PRICE_BY_SIDE", "bidMultiplierUp": "5", "bidMultiplierDown": "0.2",
         "askMultiplierUp": "5", "askMultiplierDown": "0.2", "avgPriceMins": 5},
        {"filterType": "NOTIONAL", "minNotional": "5.00000000", "applyMinToMarket": True,
         "maxNotional": "9000000.00000000", "applyMaxToMarket": False, "avgPriceMins": 5},
        {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 200},
        {"filterType": "MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders": 5},
    ]  # fmt: skip


def _perp_symbol(instrument: Instrument) -> dict[str, Any]:
    onboard_us = (instrument.listed_us + _ONBOARD_LATE_US) // US_PER_HOUR * US_PER_HOUR
    return {
        "symbol": instrument.native,
        "pair": instrument.native,
        "contractType": "PERPETUAL",
        "deliveryDate": _NEVER_MS,
        "onboardDate": onboard_us // MS,
        "status": "TRADING",
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": instrument.base,
        "quoteAsset": instrument.quote,
        "marginAsset": instrument.settle,
        "pricePrecision": instrument.price_decimals + 1,
        "quantityPrecision": instrument.size_decimals,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "underlyingSubType": ["PoW"],
        "triggerProtect": "0.0500",
        "liquidationFee": "0.012500",
        "marketTakeBound": "0.05",
        "maxMoveOrderLimit": 10_000,
        "filters": _perp_filters(instrument),
        "orderTypes": _PERP_ORDER_TYPES,
        "timeInForce": ["GTC", "IOC", "FOK", "GTX", "GTD"],
    }


def _perp_filters(instrument: Instrument) -> list[dict[str, Any]]:
    tick, step = f"{instrument.price_step:f}", f"{instrument.size_step:f}"
    return [
        {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "4529764", "tickSize": tick},
        {"filterType": "LOT_SIZE", "minQty": step, "maxQty": "1000", "stepSize": step},
        {"filterType": "MARKET_LOT_SIZE", "minQty": step, "maxQty": "120", "stepSize": step},
        {"filterType": "MAX_NUM_ORDERS", "limit": 200},
        {"filterType": "MIN_NOTIONAL", "notional": "5"},
        {"filterType": "PERCENT_PRICE", "multiplierUp": "1.0500", "multiplierDown": "0.9500",
         "multiplierDecimal": "4"},
    ]  # fmt: skip
