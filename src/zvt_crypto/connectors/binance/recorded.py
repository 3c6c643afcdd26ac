"""Binance recordings: which message a frame is, and what recorded REST replies say.

Spot, USDⓈ-M and COIN-M frames have one shape; Binance.US speaks as spot does.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import msgspec

from zvt_crypto.connectors.binance.spec import NAME
from zvt_crypto.core.errors import MalformedPayload
from zvt_crypto.core.instrument import Market
from zvt_crypto.ports.recording import BASE_UNITS, Contract, Label, RestBook, RestFacts, Section

_SECTIONS: Final = {
    "trade": Section.TRADES,
    "aggTrade": Section.AGG_TRADES,
    "bookTicker": Section.QUOTES,
}
_DEPTHS: Final = ("depth5", "depth10", "depth20")

_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class _Inner(msgspec.Struct):
    e: str = ""
    id: int | str | None = None
    u: int | None = None
    last_update_id: int | None = msgspec.field(default=None, name="lastUpdateId")


class _Outer(_Inner):
    stream: str = ""
    data: msgspec.Raw = msgspec.Raw()


class _Depth(msgspec.Struct, rename="camel"):
    last_update_id: int
    bids: list[tuple[Decimal, Decimal]]
    asks: list[tuple[Decimal, Decimal]]


class _Symbol(msgspec.Struct, rename="camel"):
    symbol: str
    contract_size: Decimal | None = None


class _Info(msgspec.Struct):
    symbols: list[_Symbol]


_outer: Final = msgspec.json.Decoder(_Outer).decode
_inner: Final = msgspec.json.Decoder(_Inner).decode
_depth: Final = msgspec.json.Decoder(_Depth).decode
_info: Final = msgspec.json.Decoder(_Info).decode
_PATHS: Final = {"api": Market.SPOT, "fapi": Market.LINEAR, "dapi": Market.INVERSE}


class BinanceRecorded:
    """What replaying Binance recordings needs."""

    hosts: Sequence[str] = ("binance",)
    tally: str = "messages_by_event"

    def label(self, frame: bytes) -> Label | None:
        """Return the event's type; those that carry none are known by their stream or fields."""
        try:
            outer = _outer(frame)
            inner = _inner(outer.data) if bytes(outer.data) else outer
        except _UNREADABLE:
            return None
        stream = outer.stream.partition("@")[2]
        event = inner.e or stream.partition("@")[0].partition("_")[0]
        if not event and inner.last_update_id is not None:
            event = "depth"
        if not event and inner.u is not None:
            event = "bookTicker"
        if not event:
            return Label("reply") if inner.id is not None else None
        channel = ""
        if event.startswith("depth"):
            level = stream.partition("@")[0]
            channel = level if level in _DEPTHS else "depth"
        return Label(event, _SECTIONS.get(event), channel)

    def market(self, route: str, native: str) -> Market:
        """Return the market of a route; ids of COIN-M are told by their underscore."""
        if "spot" in route:
            return Market.SPOT
        if "coin" in route or "inverse" in route or native.partition("_")[0].endswith("USD"):
            return Market.INVERSE
        return Market.LINEAR

    def contract(self, market: Market, native: str) -> Contract | None:
        """Return base units but for COIN-M, whose contracts differ."""
        del native
        return None if market is Market.INVERSE else BASE_UNITS

    def book_key(self, channel: str, native: str) -> str:
        """Return the id itself for the stream of changes."""
        return native if channel == "depth" else f"{native}@{channel}"

    def named(self, channel: str, book: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the numbers as `depthUpdate` spells them."""
        del channel
        if "first_sequence" not in book:
            return {}
        return {"first_U": book["first_sequence"], "last_u": book["last_sequence"]}

    def read_reply(self, url: str, body: bytes, facts: RestFacts) -> None:
        """Read `depth` and `exchangeInfo`."""
        parts = urlsplit(url)
        market = _PATHS.get(parts.path.strip("/").partition("/")[0])
        call = parts.path.rpartition("/")[2]
        if market is None or call not in {"depth", "exchangeInfo"}:
            return
        try:
            if call == "exchangeInfo":
                for row in _info(body).symbols:
                    if row.contract_size is not None and market is Market.INVERSE:
                        contract = Contract(row.contract_size, is_inverse=True)
                        facts.contracts[market, row.symbol] = contract
                return
            symbol = parse_qs(parts.query).get("symbol", [""])[0].upper()
            depth = _depth(body)
        except _UNREADABLE as e:
            raise MalformedPayload(NAME, f"{call} reply", str(e)) from e
        facts.books.append(RestBook(market, symbol, depth.last_update_id, depth.bids, depth.asks))
