"""Records of a stream on their way to standard output: as lines for people, or as NDJSON."""

import asyncio
import os
import sys
import threading
from collections import deque
from typing import Any, Final

import msgspec

from zvt_crypto.core.interval import US_PER_DAY, US_PER_S
from zvt_crypto.core.record import (
    Book,
    BookReset,
    Candle,
    ControlRecord,
    Disconnected,
    Funding,
    Gap,
    GapRepaired,
    GapUnrecoverable,
    InstrumentStatus,
    Liquidation,
    MarkPrice,
    OpenInterest,
    Quote,
    Stale,
    Trade,
)
from zvt_crypto.core.series import Series

KINDS: Final[dict[type, str]] = {
    Trade: "trade",
    Quote: "quote",
    Book: "book",
    Candle: "candle",
    MarkPrice: "mark_price",
    Funding: "funding",
    OpenInterest: "open_interest",
    Liquidation: "liquidation",
    InstrumentStatus: "status",
    Gap: "gap",
    GapRepaired: "gap_repaired",
    GapUnrecoverable: "gap_unrecoverable",
    Stale: "stale",
    Disconnected: "disconnected",
    BookReset: "book_reset",
}
"""The field `type` of every record's JSON."""

CONTROL: Final = (Gap, GapRepaired, GapUnrecoverable, Stale, Disconnected, BookReset)

# Lines on their way out; when so many wait, the feed waits too.
_MOST_WAITING: Final = 5_000
_LAST_WORDS_S: Final = 3.0

_encode: Final = msgspec.json.Encoder().encode


def json_line(record: Any) -> bytes:
    """Return a record as one line of JSON: `type`, who it is of, then its own fields.

    Times are microseconds, as in the store; a number that is none is null.
    """
    fields: dict[str, Any] = {"type": KINDS[type(record)]}
    for name in record.__struct_fields__:
        value = getattr(record, name)
        if isinstance(value, Series):
            fields["exchange"], fields["symbol"] = value.exchange, value.symbol
            fields["kind"], fields["interval"] = value.kind, value.interval
        else:
            fields[name] = value
    return _encode(fields) + b"\n"


def text_line(record: Any) -> bytes:
    """Return a record as one line for people."""
    what = KINDS[type(record)]
    if isinstance(record, CONTROL):
        return f"{clock_of(record.ts_recv)} {what:<9} {record.series}  {_told(record)}\n".encode()
    who = f"{record.exchange} {record.symbol}"
    return f"{clock_of(record.ts_event)} {what:<9} {who:<24} {_shown(record)}\n".encode()


def clock_of(moment: int) -> str:
    """Return the time of day to the millisecond, UTC."""
    seconds, us = divmod(moment % US_PER_DAY, US_PER_S)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour:02}:{minute:02}:{second:02}.{us // 1_000:03}"


def _told(record: ControlRecord) -> str:
    match record:
        case Gap():
            return f"{clock_of(record.start)}..{clock_of(record.end)} lost: {record.reason}"
        case GapRepaired():
            return f"{clock_of(record.start)}..{clock_of(record.end)} whole, {record.rows:,} rows"
        case GapUnrecoverable():
            return f"{clock_of(record.start)}..{clock_of(record.end)} open: {record.detail}"
        case Stale():
            return f"silent for {record.silent_s:.1f} s while its market trades"
        case Disconnected():
            return record.detail
        case BookReset():
            return f"void until the next snapshot: {record.reason}"


def _shown(record: Any) -> str:
    match record:
        case Trade():
            return f"{record.side:<4} {record.size:.8g} @ {record.price:.10g}  id {record.trade_id}"
        case Quote():
            bid = f"{_number(record.bid_size)} @ {_number(record.bid_price)}"
            return f"{bid} | {_number(record.ask_price)} @ {_number(record.ask_size)}"
        case Book():
            form = "snapshot" if record.is_snapshot else "changes"
            return f"{form} {len(record.bids)} bids {len(record.asks)} asks"
        case Candle():
            values = (record.open, record.high, record.low, record.close, record.volume)
            shown = " ".join(f"{value:.10g}" for value in values)
            return f"{record.interval} {shown}{'  closed' if record.is_closed else ''}"
        case _:
            skipped = ("exchange", "symbol", "ts_event", "ts_recv")
            named = ((n, getattr(record, n)) for n in record.__struct_fields__ if n not in skipped)
            return " ".join(f"{name}={value}" for name, value in named if value is not None)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.10g}"


class Teller:
    """Writes records to standard output from a thread; a handler of the policy `block`.

    A reader who is slow makes the handler wait, and with it the sockets: nothing is lost. One who
    has left ends the command in good order.

    Args:
        as_json: NDJSON in place of lines for people.
        is_quiet: only control records are told.
        ended: set when nobody reads any more.
    """

    def __init__(self, *, as_json: bool, is_quiet: bool, ended: asyncio.Event) -> None:
        self.is_broken = False
        self.told = 0
        self._line = json_line if as_json else text_line
        self._is_quiet = is_quiet
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        self._lines: deque[bytes] = deque()
        self._wake = threading.Event()
        self._room = asyncio.Event()
        self._is_closing = False
        # It dies with the process, however long its reader lets it wait.
        self._thread = threading.Thread(target=self._run, name="zvtc-teller", daemon=True)
        sys.stdout.flush()
        self._fd = sys.stdout.fileno()
        self._thread.start()

    async def __call__(self, record: Any) -> None:
        """Tell one record; wait while too many are on their way."""
        if self.is_broken or (self._is_quiet and not isinstance(record, CONTROL)):
            return
        self.told += 1
        self._lines.append(self._line(record))
        self._wake.set()
        while len(self._lines) > _MOST_WAITING and not self.is_broken:
            self._room.clear()
            await self._room.wait()

    def write(self, line: str) -> None:
        """Tell something that is no record, in its place among them."""
        self._lines.append(f"{line}\n".encode())
        self._wake.set()

    async def close(self) -> None:
        """Write what waits, as long as somebody reads."""
        self._is_closing = True
        self._wake.set()
        await asyncio.to_thread(self._thread.join, _LAST_WORDS_S)

    def _run(self) -> None:
        lines = self._lines
        while True:
            self._wake.wait()
            self._wake.clear()
            while lines:
                piece = b"".join([lines.popleft() for _ in range(min(len(lines), 500))])
                try:
                    while piece:
                        piece = piece[os.write(self._fd, piece) :]
                except OSError:
                    self.is_broken = True
                    self._tell_loop(self._ended.set)
                    self._tell_loop(self._room.set)
                    return
                self._tell_loop(self._room.set)
            if self._is_closing:
                return

    def _tell_loop(self, call: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(call)
        except RuntimeError:  # the loop is closed: we were not waited for
            return
