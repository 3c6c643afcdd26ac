"""Faults: what goes wrong, for whom, how often and until when.

A fault is a JSON object. Fields all kinds share, all optional but `kind`:

    kind         one of the kinds below
    exchange     venue, or "*" (default)
    endpoint     part of the path, or "*" (default)
    symbol       canonical, ccxt or native; a native id that spot and perpetual share means both
    probability  chance per matching request, drawn from the seed
    every        every n-th matching request
    first        the first n matching requests
    count        at most this often
    after_s      not before so many simulated seconds since the fault was added
    until_s      not after

Without `probability`, `every` or `first` every matching request is hit. Kinds and their fields:

Answers instead of the venue's:
    http_429         status 429; retry_after (s, default 1)
    http_418         status 418; retry_after (default 120)
    http_451         status 451 with the geographic body
    http_403         status 403; body "waf" (default) or "html"
    http_5xx         status (default 503); body optional
    wrong_content    status 200 with an HTML page
    giant_body       status 200 with `bytes` (default 64,000,000) of JSON
    maintenance      everything answers 503 and the venue's status page says so

The connection:
    slow             answers after delay_s (default 1)
    timeout          never answers: closes after delay_s (default 60)
    disconnect       sends part of the body (share, default 0.5), then closes
    refuse           closes at once
    corrupt_body     the body is cut in the middle, so that it is not JSON

Rows of a page (candles, trades, funding):
    truncated_page   only `share` (default 0.5) of the rows, from the head in the order of service
    overlapping_page `rows` (default 3) rows beyond the bounds, on both sides
    repeated_page    the answer of the previous page of the same endpoint again
    shuffled_page    the rows in another order
    duplicate_rows   `share` (default 0.1) of the rows twice
    unit_switch      times in microseconds instead of milliseconds
    bad_rows         `share` (default 0.05) of the rows wrong: high under low, NaN, negative, empty;
                     `what` picks one of high_low, nan, negative, empty
    off_grid_rows    `share` (default 0.05) of the candles open some seconds late

Candles:
    missing_candles  candles that open in [start, end), or `share` of all, do not exist; they appear
                     after appear_after_s since they were first hidden, or appear_after_requests
    revised_candles  closes and volumes differ from the truth while the fault lasts (use first or
                     count); `share` (default 1) of the rows, or those in [start, end)

The venue:
    outage           no trading at all in [start, end): no trades, no candles, also in the truth;
                     it stays part of the market even when the fault is removed
    clock_skew       the reported server time is off by offset_s
    delisting        `symbol` disappears
    rename           `symbol` answers to the native id `to` from now on
    no_four_hour     Coinbase knows no FOUR_HOUR candles

Streams. For these `endpoint` (or `channel`, the same) is part of the path of a connection, or of
`kind name` of a topic, as in `trades btcusdt@aggTrade`; kinds are trades, book, top, ticker,
candles, mark, funding, interest, liquidations, status. What is hit or missed is counted in
messages, on all connections alike unless said otherwise. `/_truth/injected` lists what they did.

Messages of a topic:
    ws_drop          is not sent
    ws_duplicate     is sent `times` (default 2)
    ws_reorder       is sent after the one that follows
    ws_silent_symbol nothing of `symbol` is sent for for_s (default: while the fault is there)
    ws_sequence_jump books only: `skip` (default 1) messages are not sent; or with `shift`, the
                     message claims to follow a book that many numbers later
    ws_corrupt       is cut in the middle
    ws_giant         is padded to `bytes` (default 2,000,000), still JSON; with `snapshot` true it
                     is the snapshots of new subscribers that are, and nothing else
    ws_invalid_utf8  is a text frame that is not UTF-8
    ws_deep          is `depth` (default 100,000) arrays in each other
    ws_wrong_types   numbers are wrong; `what` picks one of nan, negative, null, text, empty
    ws_future_time   times are ahead by offset_s (default 86,400)
    ws_wrong_id      ids of trades are wrong by `shift` (default 1,000,000)
    ws_crossed_book  books only: a bid above the best ask; the next message takes it back
    ws_late_close    the closing candle comes delay_s late, or never (without delay_s)
    ws_revised_candle closing values on the socket differ from the truth

Connections; counted in messages delivered to each of them:
    ws_disconnect    is cut without a close frame
    ws_close         is closed with `code` (default 1001) and `reason`
    ws_silent        nothing but answers is sent for for_s (default: ever after)
    ws_half_open     nothing is sent and nothing is read ever after, but the connection stays
    ws_slow          the message and all behind it are delayed by delay_s (default 1)

Connections; each has its one chance:
    ws_lifetime      is closed at the age of `s` (default 60), as after the venue's 24 hours
    ws_shutdown_notice the venue announces that it will close, and closes `s` (default 10) later

Handshakes and requests:
    ws_refuse        the handshake is cut
    ws_status        the handshake is answered with `status` (default 503); retry_after, body
    ws_no_ack        a request is carried out, but not answered
    ws_error_ack     a request is answered with an error and not carried out

Books:
    ws_no_snapshot   a new subscriber gets no snapshot, where the venue sends one
    ws_late_snapshot the snapshot comes delay_s (default 2) after the changes began
    ws_stale_snapshot a book over REST is older by lag_s (default 5)
    ws_book_reset    sequence numbers fall by `by` (default 1,000,000), once for each symbol

Archives:
    archive_404, archive_bad_checksum, archive_corrupt_zip
    archive_missing_rows   without `share` (default 0.1) of the rows
    archive_header         a header row where there is none, none where there is one
    archive_unsorted       rows in another order
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

import numpy as np

from zvt_crypto.core.timestamp import to_us
from zvt_crypto.simulator import noise
from zvt_crypto.simulator.clock import US_PER_S, Clock
from zvt_crypto.simulator.encode import Ints
from zvt_crypto.simulator.instrument import Instrument, parse_symbol

ANSWER_KINDS: Final = frozenset(
    ("http_429", "http_418", "http_451", "http_403", "http_5xx", "wrong_content", "giant_body")
)
CONNECTION_KINDS: Final = frozenset(("slow", "timeout", "disconnect", "refuse", "corrupt_body"))
ROW_KINDS: Final = frozenset(
    (
        "truncated_page", "overlapping_page", "repeated_page", "shuffled_page", "duplicate_rows",
        "unit_switch", "bad_rows",
    )
)  # fmt: skip
CANDLE_KINDS: Final = frozenset(("off_grid_rows", "revised_candles"))
ARCHIVE_KINDS: Final = frozenset(
    (
        "archive_404", "archive_bad_checksum", "archive_corrupt_zip", "archive_missing_rows",
        "archive_header", "archive_unsorted",
    )
)  # fmt: skip
STATE_KINDS: Final = frozenset(
    ("maintenance", "clock_skew", "delisting", "rename", "outage", "no_four_hour")
)
MESSAGE_KINDS: Final = frozenset(
    (
        "ws_drop", "ws_duplicate", "ws_reorder", "ws_silent_symbol", "ws_sequence_jump",
        "ws_corrupt", "ws_giant", "ws_invalid_utf8", "ws_deep", "ws_wrong_types",
        "ws_future_time", "ws_wrong_id", "ws_crossed_book", "ws_late_close", "ws_revised_candle",
    )
)  # fmt: skip
DELIVERY_KINDS: Final = frozenset(
    ("ws_disconnect", "ws_close", "ws_silent", "ws_half_open", "ws_slow")
)
LIFE_KINDS: Final = frozenset(("ws_lifetime", "ws_shutdown_notice"))
HANDSHAKE_KINDS: Final = frozenset(("ws_refuse", "ws_status"))
REQUEST_KINDS: Final = frozenset(("ws_no_ack", "ws_error_ack"))
OPENING_KINDS: Final = frozenset(("ws_no_snapshot", "ws_late_snapshot"))
STREAM_KINDS: Final = (
    MESSAGE_KINDS | DELIVERY_KINDS | LIFE_KINDS | HANDSHAKE_KINDS | REQUEST_KINDS | OPENING_KINDS
    | {"ws_stale_snapshot", "ws_book_reset"}
)  # fmt: skip
KINDS: Final = (
    ANSWER_KINDS | CONNECTION_KINDS | ROW_KINDS | CANDLE_KINDS | ARCHIVE_KINDS | STATE_KINDS
    | {"missing_candles"} | STREAM_KINDS
)  # fmt: skip
_SHARED: Final = {
    "exchange": str, "endpoint": str, "symbol": str, "probability": float, "every": int,
    "first": int, "count": int, "after_s": float, "until_s": float,
}  # fmt: skip

_NUMBERS: Final = frozenset(
    (
        "times", "for_s", "skip", "shift", "bytes", "depth", "offset_s", "delay_s", "code", "s",
        "status", "lag_s", "by",
    )
)  # fmt: skip
_SIGNED: Final = frozenset(("shift", "offset_s"))
_MOST: Final = 10**9


@dataclass(slots=True)
class Fault:
    """One fault and what it has done so far; see the module for the fields.

    `marks` tells to whom it was done that gets it once: connections, symbols.
    """

    id: int
    kind: str
    since_us: int
    exchange: str = "*"
    endpoint: str = "*"
    symbol: str | None = None
    probability: float | None = None
    every: int | None = None
    first: int | None = None
    count: int | None = None
    after_s: float = 0.0
    until_s: float | None = None
    params: dict[str, Any] = field(default_factory=dict[str, Any])
    seen: int = 0
    fired: int = 0
    hidden_since_us: int | None = None
    marks: dict[str, float] = field(default_factory=dict[str, float])

    def active(self, now_us: int) -> bool:
        """Return whether its time has come and is not over."""
        elapsed = (now_us - self.since_us) / US_PER_S
        over = self.until_s is not None and elapsed > self.until_s
        used_up = self.count is not None and self.fired >= self.count
        return elapsed >= self.after_s and not over and not used_up

    def concerns(self, exchange: str, endpoint: str, instrument: Instrument | None) -> bool:
        """Return whether a request is one it may hit."""
        if self.exchange not in ("*", exchange):
            return False
        if self.endpoint != "*" and self.endpoint not in endpoint:
            return False
        return self.symbol is None or (instrument is not None and self.names(instrument))

    def names(self, instrument: Instrument) -> bool:
        """Return whether `symbol` means this instrument."""
        symbol = self.symbol or ""
        if symbol.upper() == instrument.symbol or symbol == instrument.native:
            return True
        pair = parse_symbol(symbol) if "/" in symbol else None
        return pair == (instrument.base, instrument.quote, instrument.kind)

    def number(self, name: str, default: float) -> float:
        """Return a numeric field."""
        return float(self.params.get(name, default))

    def describe(self) -> dict[str, Any]:
        """Return what `/_faults` shows."""
        shown = {name: getattr(self, name) for name in _SHARED}
        shared = {name: value for name, value in shown.items() if value is not None}
        counts = {"seen": self.seen, "fired": self.fired}
        return {"id": self.id, "kind": self.kind, **shared, **self.params, **counts}


class Faults:
    """All faults of one simulator, deterministic by its seed."""

    def __init__(self, seed: int, clock: Clock) -> None:
        self._seed = seed
        self._clock = clock
        self._faults: dict[int, Fault] = {}
        self._next_id = 1

    def __len__(self) -> int:
        return len(self._faults)

    def add(self, value: object) -> Fault:
        """Put a fault in force.

        Raises:
            ValueError: not a fault object; one line says why.
        """
        if not isinstance(value, Mapping):
            raise ValueError(f"a fault is a JSON object, not {value!r}")  # noqa: TRY004
        fields = dict(cast("Mapping[str, Any]", value))
        kind = fields.pop("kind", None)
        if kind not in KINDS:
            raise ValueError(f"unknown fault kind {kind!r}; known: {' '.join(sorted(KINDS))}")
        if kind in STREAM_KINDS:
            _check_numbers(fields)
            if "channel" in fields:
                fields["endpoint"] = fields.pop("channel")
        shared: dict[str, Any] = {}
        for name, wanted in _SHARED.items():
            if name in fields:
                shared[name] = _read(name, fields.pop(name), wanted)
        fault = Fault(self._next_id, kind, self._clock.now_us(), params=fields, **shared)
        self._faults[fault.id] = fault
        self._next_id += 1
        return fault

    def remove(self, fault_id: int | None = None) -> int:
        """Remove one fault, or all; return how many were removed.

        After all are gone ids begin anew: the same faults again have the same chances again.
        """
        if fault_id is None:
            self._next_id = 1
            count = len(self._faults)
            self._faults.clear()
            return count
        return 1 if self._faults.pop(fault_id, None) else 0

    def describe(self) -> list[dict[str, Any]]:
        """Return all faults."""
        return [fault.describe() for fault in self._faults.values()]

    def fire(
        self, kinds: Iterable[str], exchange: str, endpoint: str, instrument: Instrument | None
    ) -> list[Fault]:
        """Count a request and return the faults of `kinds` that hit it, in the order added."""
        concerned = self.concerning(kinds, exchange, endpoint, instrument)
        return [fault for fault in concerned if self.strikes(fault)]

    def concerning(
        self, kinds: Iterable[str], exchange: str, endpoint: str, instrument: Instrument | None
    ) -> list[Fault]:
        """Return the faults in force that may hit something, without counting it."""
        if not self._faults:
            return []
        now_us = self._clock.now_us()
        return [
            fault
            for fault in self._faults.values()
            if fault.kind in kinds
            and fault.active(now_us)
            and fault.concerns(exchange, endpoint, instrument)
        ]

    def strikes(self, fault: Fault) -> bool:
        """Count something a fault may hit; return whether it does."""
        used_up = fault.count is not None and fault.fired >= fault.count
        if used_up or not self._strikes(fault):
            return False
        fault.fired += 1
        return True

    def forget(self, mark: str) -> None:
        """Drop the marks of somebody who is gone."""
        for fault in self._faults.values():
            fault.marks.pop(mark, None)

    def staleness_us(self, exchange: str, instrument: Instrument) -> int:
        """Return how old a book over REST is, under a `ws_stale_snapshot` fault."""
        hits = self.fire(("ws_stale_snapshot",), exchange, "book", instrument)
        return round(max((f.number("lag_s", 5.0) for f in hits), default=0.0) * US_PER_S)

    def state(self, kind: str, exchange: str) -> Fault | None:
        """Return the fault of `kind` a venue is in, if any."""
        now_us = self._clock.now_us()
        for fault in self._faults.values():
            if fault.kind == kind and fault.exchange in ("*", exchange) and fault.active(now_us):
                return fault
        return None

    def renames(self, exchange: str, instruments: Iterable[Instrument]) -> dict[str, str]:
        """Return new native ids by canonical symbol; an empty id is a delisting."""
        now_us = self._clock.now_us()
        names: dict[str, str] = {}
        for fault in self._faults.values():
            if fault.kind not in ("delisting", "rename") or not fault.active(now_us):
                continue
            for instrument in instruments if fault.exchange in ("*", exchange) else ():
                if fault.names(instrument):
                    names[instrument.symbol] = str(fault.params.get("to", ""))
        return names

    def hides(self, fault: Fault, opens_us: Ints) -> Any:
        """Return which candles, by their opens, a `missing_candles` fault hides."""
        return chosen(fault, opens_us, self._seed, default_share=0.0)

    def still_hiding(self, fault: Fault) -> bool:
        """Return whether a `missing_candles` fault has not given its candles back yet."""
        now_us = self._clock.now_us()
        if fault.hidden_since_us is None:
            fault.hidden_since_us = now_us
        after_s = fault.params.get("appear_after_s")
        if after_s is not None and now_us - fault.hidden_since_us >= float(after_s) * US_PER_S:
            return False
        requests = fault.params.get("appear_after_requests")
        return requests is None or fault.fired <= int(requests)

    def key(self, fault: Fault) -> int:
        """Return the number all chance of a fault comes from."""
        return noise.make_key(self._seed, "fault", fault.id, fault.kind)

    def _strikes(self, fault: Fault) -> bool:
        fault.seen += 1
        if fault.first is not None and fault.seen > fault.first:
            return False
        if fault.every is not None and fault.seen % fault.every:
            return False
        if fault.probability is not None:
            return noise.uniform_at(self.key(fault), fault.seen) < fault.probability
        return True


def chosen(fault: Fault, times_us: Ints, seed: int, *, default_share: float) -> Any:
    """Return which rows a fault means: those in [start, end), or a share drawn by their time."""
    if "start" in fault.params or "end" in fault.params:
        start = to_us(fault.params.get("start", 0))
        end = to_us(fault.params.get("end", "2200-01-01"))
        return (times_us >= start) & (times_us < end)
    share = fault.number("share", default_share)
    key = noise.make_key(seed, "rows", fault.id)
    return np.asarray(noise.uniform(key, times_us) < share)


def _check_numbers(fields: Mapping[str, Any]) -> None:
    """Refuse a stream fault with a number that is none, before a message is to be made of it."""
    for name in _NUMBERS & fields.keys():
        value = _read(name, fields[name], float)
        if not 0 <= value <= _MOST and name not in _SIGNED:
            raise ValueError(f"fault field {name!r} is from 0 to {_MOST:,}, not {value!r}")


def _read(name: str, value: object, wanted: type) -> Any:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"fault field {name!r} is a {wanted.__name__}, not {value!r}")  # noqa: TRY004
    if (wanted is str) != isinstance(value, str):
        raise ValueError(f"fault field {name!r} is a {wanted.__name__}, not {value!r}")
    return wanted(value)
