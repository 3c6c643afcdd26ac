"""OKX recordings: which message a frame is, and what recorded REST replies say."""

from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from zvt_crypto.connectors.okx.spec import NAME
from zvt_crypto.core.errors import MalformedPayload
from zvt_crypto.core.instrument import Market
from zvt_crypto.ports.recording import BASE_UNITS, Contract, Label, RestFacts, Section

_SECTIONS: Final = {
    "trades": Section.TRADES,
    "trades-all": Section.TRADES_ALL,
    "tickers": Section.TICKERS,
    "bbo-tbt": Section.QUOTES,
}
_SPOT_PARTS: Final = 2
"""`BTC-USDT`; contracts have a third part."""

_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class _Arg(msgspec.Struct):
    channel: str = ""


class _Frame(msgspec.Struct):
    arg: _Arg | None = None
    event: str | None = None
    action: str | None = None
    data: msgspec.Raw = msgspec.Raw()


class _BookRow(msgspec.Struct):
    checksum: int | None = None


class _Row(msgspec.Struct, rename="camel"):
    inst_id: str
    inst_type: str = ""
    ct_val: str = ""
    ct_mult: str = ""
    ct_type: str = ""


class _Reply(msgspec.Struct):
    data: list[_Row]


_frame: Final = msgspec.json.Decoder(_Frame).decode
_book_rows: Final = msgspec.json.Decoder(list[_BookRow]).decode
_reply: Final = msgspec.json.Decoder(_Reply).decode


class OkxRecorded:
    """What replaying OKX recordings needs."""

    hosts: Sequence[str] = ("okx.", "okex.")
    tally: str = "messages_by_channel"

    def label(self, frame: bytes) -> Label | None:
        """Return the channel, with the action of a book; acks as `subscribe:books`."""
        try:
            found = _frame(frame)
            channel = found.arg.channel if found.arg is not None else ""
            if found.event is not None:
                return Label(f"{found.event}:{channel}" if channel else found.event)
            if not channel:
                return None
            if not channel.startswith("books"):
                return Label(channel, _SECTIONS.get(channel))
            rows = _book_rows(found.data) if bytes(found.data) else []
        except _UNREADABLE:
            return None
        message = f"{channel}:{found.action}" if found.action else channel
        checksum = rows[-1].checksum if rows else None
        return Label(message, channel=channel, checksum=checksum)

    def market(self, route: str, native: str) -> Market:
        """Return the market an id's own spelling tells; all share one socket."""
        del route
        parts = native.split("-")
        if len(parts) <= _SPOT_PARTS:
            return Market.SPOT
        return Market.INVERSE if parts[1] == "USD" else Market.LINEAR

    def contract(self, market: Market, native: str) -> Contract | None:
        """Return base units for spot; what a contract is worth only the exchange says."""
        del native
        return BASE_UNITS if market is Market.SPOT else None

    def book_key(self, channel: str, native: str) -> str:
        """Return `BTC-USDT@books`."""
        return f"{native}@{channel}"

    def named(self, channel: str, book: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the chain as `seqId` spells it; recordings before 2023 have none."""
        del channel
        if "last_sequence" not in book:
            return {}
        return {"seq_breaks": book["continuity_breaks"], "last_seq_id": book["last_sequence"]}

    def read_reply(self, url: str, body: bytes, facts: RestFacts) -> None:
        """Read `public/instruments`; options count underlying by the same fields."""
        if not urlsplit(url).path.endswith("/public/instruments"):
            return
        try:
            rows = _reply(body).data
            for row in rows:
                if not row.ct_val:
                    continue
                worth = Decimal(row.ct_val) * Decimal(row.ct_mult or "1")
                contract = Contract(worth, row.ct_type == "inverse")
                facts.contracts[self.market("", row.inst_id), row.inst_id] = contract
        except (*_UNREADABLE, InvalidOperation) as e:
            raise MalformedPayload(NAME, "instruments reply", str(e)) from e
