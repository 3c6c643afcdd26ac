"""Bybit recordings: which message a frame is."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import msgspec

from zvt_crypto.core.instrument import Market
from zvt_crypto.ports.recording import BASE_UNITS, Contract, Label, RestFacts, Section

_SECTIONS: Final = {
    "publicTrade": Section.TRADES,
    "orderbook.1": Section.QUOTES,
    "tickers": Section.TICKERS,
}

_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class _Frame(msgspec.Struct):
    topic: str = ""
    type: str = ""
    op: str = ""


_frame: Final = msgspec.json.Decoder(_Frame).decode


class BybitRecorded:
    """What replaying Bybit recordings needs."""

    hosts: Sequence[str] = ("bybit", "bytick")
    tally: str = "messages_by_topic"

    def label(self, frame: bytes) -> Label | None:
        """Return the topic without its symbol, with the type; replies by their `op`."""
        try:
            found = _frame(frame)
        except _UNREADABLE:
            return None
        if not found.topic:
            return Label(found.op) if found.op else None
        channel, _, native = found.topic.rpartition(".")
        channel = channel or found.topic
        message = f"{channel}:{found.type}" if found.type else channel
        # `trade.linear.BTCUSDT` is how old recordings spell `publicTrade.BTCUSDT`.
        is_book = channel.startswith("orderbook.")
        section = Section.TRADES if channel.startswith("trade.") else _SECTIONS.get(channel)
        return Label(
            message,
            section,
            channel if is_book else "",
            native if section is Section.TICKERS else "",
        )

    def market(self, route: str, native: str) -> Market:
        """Return the category of a route."""
        del native
        if "spot" in route:
            return Market.SPOT
        return Market.INVERSE if "inverse" in route else Market.LINEAR

    def contract(self, market: Market, native: str) -> Contract | None:
        """Return base units; inverse contracts are worth one quote unit each."""
        del native
        return Contract(Decimal(1), is_inverse=True) if market is Market.INVERSE else BASE_UNITS

    def book_key(self, channel: str, native: str) -> str:
        """Return the topic."""
        return f"{channel}.{native}"

    def named(self, channel: str, book: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the numbers as `u`."""
        del channel
        if "first_sequence" not in book:
            return {}
        return {
            "u_breaks": book["continuity_breaks"],
            "first_u": book["first_sequence"],
            "last_u": book["last_sequence"],
        }

    def read_reply(self, url: str, body: bytes, facts: RestFacts) -> None:
        """Read nothing: sizes need no table, books start with a snapshot of their own."""
