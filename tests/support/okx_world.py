"""Instruments of OKX and replies as it writes them."""

from typing import Any

from zvt_crypto.core.instrument import Instrument, Market
from zvt_crypto.core.timestamp import to_us


def swap(base: str, quote: str, market: Market, contract_size: float) -> Instrument:
    """Return a perpetual."""
    return Instrument(
        exchange="okx",
        symbol=f"{base}-{quote}-PERP",
        native=f"{base}-{quote}-SWAP",
        base=base,
        quote=quote,
        settle=base if market is Market.INVERSE else quote,
        market=market,
        contract_size=contract_size,
    )


SPOT = Instrument(
    exchange="okx",
    symbol="BTC-USDT",
    native="BTC-USDT",
    base="BTC",
    quote="USDT",
    settle=None,
    market=Market.SPOT,
)
LINEAR = swap("BTC", "USDT", Market.LINEAR, 0.01)
INVERSE = swap("BTC", "USD", Market.INVERSE, 100.0)

MINUTE_MS = 60_000
T0_MS = to_us("2026-11-22T10:00:00Z") // 1_000


def wrap(data: list[Any], code: str = "0", message: str = "") -> dict[str, Any]:
    """Return rows in the exchange's envelope."""
    return {"code": code, "msg": message, "data": data}


def candle(open_ms: int, *, confirm: str = "1") -> list[str]:
    """Return one row of candles."""
    return [
        str(open_ms), "86120.4", "86177.0", "86101.1", "86150.2", "1523.41", "15.2341",
        "1312170.33", confirm,
    ]  # fmt: skip


def trade(number: int, at_ms: int, **more: str) -> dict[str, str]:
    """Return one row of trades."""
    return {
        "instId": "BTC-USDT-SWAP", "tradeId": str(number), "px": "86120.4", "sz": "3.2",
        "side": "buy", "source": "0", "ts": str(at_ms),
    } | more  # fmt: skip


def funding(at_ms: int, realized: str = "0.00015", forecast: str = "0.0009") -> dict[str, str]:
    """Return one row of funding history."""
    return {
        "instType": "SWAP", "instId": "BTC-USDT-SWAP", "fundingRate": forecast,
        "realizedRate": realized, "fundingTime": str(at_ms),
    }  # fmt: skip


def cut_page(rows: list[Any], query: dict[str, str], time: Any, cap: int) -> list[Any]:
    """Answer as OKX pages: newest first, `after` older than, `before` newer than, exclusive."""
    after = int(query.get("after", 10**15))
    before = int(query.get("before", -1))
    inside = [r for r in rows if before < time(r) < after]
    newest = sorted(inside, key=time, reverse=True)
    return newest[: min(cap, int(query.get("limit", 100)))]
