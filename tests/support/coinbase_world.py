"""Instruments of Coinbase and replies as it writes them."""

from typing import Any

from zvt_crypto.core.instrument import Instrument, Market
from zvt_crypto.core.timestamp import format_us, to_us

SPOT = Instrument(
    exchange="coinbase",
    symbol="BTC-USD",
    native="BTC-USD",
    base="BTC",
    quote="USD",
    settle=None,
    market=Market.SPOT,
)
PERP = Instrument(
    exchange="coinbase",
    symbol="BTC-USD-PERP",
    native="BIP-20DEC30-CDE",
    base="BTC",
    quote="USD",
    settle="USD",
    market=Market.LINEAR,
    contract_size=0.01,
)
MOVED = Instrument(
    exchange="coinbase",
    symbol="BTC-USDC-PERP",
    native="BTC-PERP-INTX",
    base="BTC",
    quote="USDC",
    settle="USDC",
    market=Market.LINEAR,
)

# An hour and a half before the clock of the tests.
T0_US = to_us("2026-11-22T10:30:00Z")
T0_S = T0_US // 1_000_000


def candle(start_s: int, volume: str = "12.34567890") -> dict[str, str]:
    """Return one candle, keys in Coinbase's order."""
    return {
        "start": str(start_s), "low": "87500.1", "high": "87700", "open": "87610.5",
        "close": "87655.2", "volume": volume,
    }  # fmt: skip


def trade(number: int, at_us: int, side: str = "BUY", **more: str) -> dict[str, str]:
    """Return one trade; `side` is the maker's."""
    return {
        "trade_id": str(number), "product_id": "BTC-USD", "price": "68923.67", "size": "0.00064",
        "time": format_us(at_us), "side": side, "bid": "", "ask": "", "exchange": "coinbase",
    } | more  # fmt: skip


def candles_page(rows: list[dict[str, str]], query: dict[str, str]) -> dict[str, Any]:
    """Answer as Coinbase does: both ends included, newest first."""
    first, last = int(query["start"]), int(query["end"])
    inside = [row for row in rows if first <= int(row["start"]) <= last]
    return {"candles": sorted(inside, key=lambda row: int(row["start"]), reverse=True)}


def trades_page(rows: list[dict[str, str]], query: dict[str, str]) -> dict[str, Any]:
    """Answer with the newest `limit` trades of a stretch of seconds."""
    first, last = int(query["start"]) * 1_000_000, int(query["end"]) * 1_000_000
    inside = [row for row in rows if first <= to_us(row["time"]) <= last]
    newest = sorted(inside, key=lambda row: int(row["trade_id"]), reverse=True)
    return {"trades": newest[: int(query["limit"])], "best_bid": "1", "best_ask": "2"}


def product(native: str, **more: Any) -> dict[str, Any]:
    """Return one product of spot."""
    base, _, quote = native.rpartition("-")
    return {
        "product_id": native, "product_type": "SPOT", "status": "online",
        "base_currency_id": base, "quote_currency_id": quote, "price_increment": "0.01",
        "quote_increment": "0.01", "base_increment": "0.00000001", "base_min_size": "0.00000001",
        "quote_min_size": "1", "display_name": native, "alias": "", "alias_to": [],
        "future_product_details": None,
    } | more  # fmt: skip


def future(native: str, rate: str = "0.000013", **details: Any) -> dict[str, Any]:
    """Return one product of the FCM: empty base and status, contracts, EXPIRING."""
    about = {
        "contract_code": native[:3], "contract_size": "0.01", "contract_root_unit": "BTC",
        "contract_expiry_type": "EXPIRING", "funding_rate": rate, "open_interest": "183283",
        "non_crypto": False, "display_name": "", "perpetual_details": None,
    } | details  # fmt: skip
    return product(native) | {
        "product_type": "FUTURE", "status": "", "base_currency_id": "", "quote_currency_id": "USD",
        "price_increment": "5", "quote_min_size": "0", "base_increment": "1", "base_min_size": "1",
        "display_name": about["display_name"], "future_product_details": about,
    }  # fmt: skip
