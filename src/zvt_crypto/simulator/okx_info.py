"""OKX's envelope, errors, reference and ticker bodies."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from zvt_crypto.core.interval import US_PER_DAY, US_PER_HOUR, US_PER_S
from zvt_crypto.simulator.bar import DAY, DAY_UTC8
from zvt_crypto.simulator.encode import decimal_text
from zvt_crypto.simulator.instrument import Instrument, Kind
from zvt_crypto.simulator.venue import Reply, json_reply

if TYPE_CHECKING:
    from zvt_crypto.simulator.okx import OkxVenue

MS: Final = 1_000
STATUS_OF: Final = {"50014": 400}
_MOST_ORDERS: Final = 9
_EMPTY: Final = (
    "alias", "auctionEndTime", "baseCcy", "contTdSwTime", "ctMult", "ctType", "ctVal", "ctValCcy",
    "expTime", "instFamily", "optType", "preMktSwTime", "quoteCcy", "settleCcy", "stk", "uly",
    "maxMktAmt", "openType", "posLmtAmt", "posLmtPct",
)  # fmt: skip


def data(rows: Sequence[Any]) -> Reply:
    """Return a successful answer."""
    return json_reply({"code": "0", "msg": "", "data": rows})


def error(code: str, message: str, *, status: int = 200) -> Reply:
    """Return an error; many come with HTTP 200."""
    return json_reply({"code": code, "data": [], "msg": message}, status)


def unknown(native: str) -> str:
    """Return the message of 51001."""
    return f"Instrument ID, Instrument ID code, or Spread ID doesn't exist: {native}."


def describe(instrument: Instrument) -> dict[str, Any]:
    """Return one row of `public/instruments`; what does not apply is an empty string."""
    spot = instrument.kind is Kind.SPOT
    step = f"{instrument.size_step:f}"
    row: dict[str, Any] = dict.fromkeys(_EMPTY, "")
    row |= {
        "category": "1", "instCategory": "1", "instId": instrument.native,
        "instIdCode": 10_000 + sum(map(ord, instrument.native)),
        "instType": "SPOT" if spot else "SWAP", "lever": "10" if spot else "100",
        "listTime": str(instrument.listed_us // MS), "lotSz": step, "minSz": step,
        "maxIcebergSz": "100000000", "maxLmtAmt": "20000000", "maxLmtSz": "100000000",
        "maxMktSz": "1000000" if spot else "35000", "maxStopSz": "35000",
        "maxTriggerSz": "100000000", "maxTwapSz": "100000000", "ruleType": "normal",
        "state": "live", "tickSz": f"{instrument.price_step:f}", "tradeQuoteCcyList": [],
        "upcChg": [],
    }  # fmt: skip
    if spot:
        return row | {"baseCcy": instrument.base, "quoteCcy": instrument.quote}
    inverse = instrument.kind is Kind.INVERSE
    family = f"{instrument.base}-{instrument.quote}"
    return row | {
        "ctMult": "1",
        "ctType": "inverse" if inverse else "linear",
        "ctVal": f"{instrument.contract:f}",
        "ctValCcy": instrument.quote if inverse else instrument.base,
        "instFamily": family,
        "settleCcy": instrument.settle,
        "uly": family,
    }


def book(
    venue: "OkxVenue", instrument: Instrument, now_us: int, depth: int, width: int
) -> dict[str, Any]:
    """Return the book; levels are price, size, a dead zero (when four wide) and a count."""
    whole = venue.book_at(instrument, now_us)
    bids, asks = whole.top(depth)

    def level(price: int, size: int) -> list[str]:
        px = decimal_text(price, instrument.price_decimals)
        sz = decimal_text(size, instrument.size_decimals)
        orders = str(1 + size % _MOST_ORDERS)
        return [px, sz, orders] if width == 3 else [px, sz, "0", orders]  # noqa: PLR2004

    return {
        "asks": [level(*own) for own in asks],
        "bids": [level(*own) for own in bids],
        "ts": str(now_us // MS),
        "seqId": whole.sequence,
    }


def ticker(venue: "OkxVenue", instrument: Instrument, now_us: int) -> dict[str, Any]:
    """Return one ticker; `volCcy24h` is quote on spot and base on swaps."""
    day = venue.day_summary(instrument, now_us)
    (bid, *_), (ask, *_) = venue.book(instrument, now_us, 1)
    spot = instrument.kind is Kind.SPOT
    base = decimal_text(day.base, instrument.base_decimals)

    def price(value: int) -> str:
        return decimal_text(value, instrument.price_decimals)

    def size(value: int) -> str:
        return decimal_text(value, instrument.size_decimals)

    start_0, start_8 = DAY.floor(now_us), DAY_UTC8.floor(now_us)
    market = venue.world.market
    return {
        "instType": "SPOT" if spot else "SWAP", "instId": instrument.native,
        "last": price(day.last), "lastSz": size(day.last_size),
        "askPx": price(ask[0]), "askSz": size(ask[1]),
        "bidPx": price(bid[0]), "bidSz": size(bid[1]),
        "open24h": price(day.open), "high24h": price(day.high), "low24h": price(day.low),
        "volCcy24h": decimal_text(day.quote, instrument.quote_decimals) if spot else base,
        "vol24h": base if spot else size(day.native),
        "ts": str(now_us // MS),
        "sodUtc0": price(market.price_at(instrument, start_0)),
        "sodUtc8": price(market.price_at(instrument, start_8)),
    }  # fmt: skip


def funding(venue: "OkxVenue", instrument: Instrument, now_us: int) -> dict[str, Any]:
    """Return the running interval: its forecast, its end, and what was settled last."""
    market = venue.world.market
    count = market.funding_count(instrument, now_us)
    rows = market.funding(instrument, max(0, count - 1), count + 1)
    settled, coming = int(rows.rate[0]), int(rows.predicted[-1])
    when = int(rows.time_us[-1])
    following = when + instrument.funding_hours * US_PER_HOUR
    return {
        "instType": "SWAP", "instId": instrument.native, "method": "current_period",
        "formulaType": "withRate", "fundingRate": decimal_text(coming, 8), "nextFundingRate": "",
        "fundingTime": str(when // MS), "nextFundingTime": str(following // MS),
        "minFundingRate": "-0.00375", "maxFundingRate": "0.00375", "interestRate": "0.0001",
        "impactValue": "20000", "settState": "settled",
        "settFundingRate": decimal_text(settled, 8), "premium": "0.00012", "ts": str(now_us // MS),
    }  # fmt: skip


def mark(venue: "OkxVenue", instrument: Instrument, now_us: int) -> dict[str, Any]:
    """Return one mark price."""
    return {
        "instType": "SWAP",
        "instId": instrument.native,
        "markPx": venue.last_price(instrument, now_us),
        "ts": str(now_us // MS),
    }


def interest(venue: "OkxVenue", instrument: Instrument, now_us: int) -> dict[str, Any]:
    """Return the open interest in contracts, coins and dollars."""
    contracts = venue.world.market.open_interest(instrument, now_us)
    price = venue.world.market.price_at(instrument, now_us) / 10**instrument.price_decimals
    worth = contracts / 10**instrument.size_decimals * float(instrument.contract)
    inverse = instrument.kind is Kind.INVERSE
    coins, dollars = (worth / price, worth) if inverse else (worth, worth * price)
    return {
        "instType": "SWAP",
        "instId": instrument.native,
        "oi": decimal_text(contracts, instrument.size_decimals),
        "oiCcy": f"{coins:.6f}",
        "oiUsd": f"{dollars:.2f}",
        "ts": str(now_us // MS),
    }


def maintenance(now_us: int) -> dict[str, Any]:
    """Return one running maintenance, as `system/status` tells it."""
    return {
        "title": "Trading system upgrade", "state": "ongoing",
        "begin": str((now_us - 60 * US_PER_S) // MS), "end": str((now_us + US_PER_DAY) // MS),
        "preOpenBegin": "", "href": "", "serviceType": "5", "system": "unified",
        "scheDesc": "", "maintType": "1", "env": "1",
    }  # fmt: skip
