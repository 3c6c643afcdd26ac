"""Coinbase recordings, of Advanced Trade and of the older Exchange feed: which message is it."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from zvt_crypto.connectors.coinbase.spec import NAME
from zvt_crypto.core.errors import MalformedPayload
from zvt_crypto.core.instrument import Market
from zvt_crypto.ports.recording import BASE_UNITS, Contract, Label, RestFacts, Section

_EXCHANGE_SECTIONS: Final = {
    "match": Section.TRADES,
    "last_match": Section.LAST_MATCH,
    "ticker": Section.TICKERS,
}
_EXCHANGE_BOOKS: Final = ("snapshot", "l2update")
_EXCHANGE_BOOK: Final = "l2update"
_CHANNEL_SECTIONS: Final = {
    "market_trades": Section.TRADES,
    "ticker": Section.TICKERS,
    "ticker_batch": Section.TICKERS,
}
_SPOT_PARTS: Final = 2

_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class _Event(msgspec.Struct):
    type: str = ""


class _Frame(msgspec.Struct):
    channel: str = ""
    type: str = ""
    sequence_num: int | None = None
    events: list[_Event] = msgspec.field(default_factory=list[_Event])


class _Future(msgspec.Struct):
    contract_size: str = ""


class _Product(msgspec.Struct):
    product_id: str = ""
    future_product_details: _Future | None = None


class _Products(_Product):
    products: list[_Product] = msgspec.field(default_factory=list[_Product])


_frame: Final = msgspec.json.Decoder(_Frame).decode
_products: Final = msgspec.json.Decoder(_Products).decode


class CoinbaseRecorded:
    """What replaying Coinbase recordings needs."""

    hosts: Sequence[str] = ("coinbase",)
    tally: str = "messages_by_channel"

    def label(self, frame: bytes) -> Label | None:
        """Return channel and type of the first event; the type alone on the Exchange feed."""
        try:
            found = _frame(frame)
        except _UNREADABLE:
            return None
        if not found.channel:
            if not found.type:
                return None
            channel = _EXCHANGE_BOOK if found.type in _EXCHANGE_BOOKS else ""
            return Label(found.type, _EXCHANGE_SECTIONS.get(found.type), channel)
        first = found.events[0].type if found.events else ""
        message = f"{found.channel}:{first}" if first else found.channel
        section = _CHANNEL_SECTIONS.get(found.channel)
        channel = "level2" if found.channel == "l2_data" else ""
        return Label(message, section, channel, sequence=found.sequence_num)

    def market(self, route: str, native: str) -> Market:
        """Return spot but for ids of three parts, such as `BIT-28NOV25-CDE`, and perpetuals."""
        del route
        is_spot = native.count("-") < _SPOT_PARTS and "PERP" not in native
        return Market.SPOT if is_spot else Market.LINEAR

    def contract(self, market: Market, native: str) -> Contract | None:
        """Return base units for spot."""
        del native
        return BASE_UNITS if market is Market.SPOT else None

    def book_key(self, channel: str, native: str) -> str:
        """Return the product: it has one book."""
        del channel
        return native

    def named(self, channel: str, book: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return `events`; of the Exchange feed changes alone are counted, not snapshots."""
        if channel == _EXCHANGE_BOOK:
            return {
                "count": book["count"] - book["snapshots"],
                "levels": book["levels"] - book["levels_of_snapshots"],
            }
        return {"events": book["count"]}

    def read_reply(self, url: str, body: bytes, facts: RestFacts) -> None:
        """Read products that count contracts."""
        if "/products" not in urlsplit(url).path:
            return
        try:
            found = _products(body)
            for row in (found, *found.products):
                details = row.future_product_details
                if details is not None and details.contract_size:
                    worth = Decimal(details.contract_size)
                    facts.contracts[Market.LINEAR, row.product_id] = Contract(worth)
        except (*_UNREADABLE, ArithmeticError) as e:
            raise MalformedPayload(NAME, "products reply", str(e)) from e
