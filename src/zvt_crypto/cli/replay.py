"""`zvtc replay`: play recorded frames through the parsers that read them live."""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer

from zvt_crypto.bootstrap.replay import (
    build_player,
    build_summary,
    check_exchange,
    read_facts,
    recorded_exchange,
)
from zvt_crypto.cli.display import out, print_json, print_rows
from zvt_crypto.cli.flags import JsonFlag
from zvt_crypto.core.errors import UsageError
from zvt_crypto.core.record import DataRecord
from zvt_crypto.core.timestamp import format_us
from zvt_crypto.ports.recording import RestFacts
from zvt_crypto.services.journal import JournalReader, RawFrame, RecordingWriter
from zvt_crypto.services.journal.replay import Played

_QUIET_S: Final = 2.0
_US_PER_S: Final = 1_000_000
_LOOK_EVERY: Final = 1_000
_SHOWN_REASON: Final = 100


def replay(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="A journal folder, a segment, or a recording (.jsonl, .jsonl.gz).",
            show_default=False,
        ),
    ],
    *,
    exchange: Annotated[
        str | None,
        typer.Option(
            "--exchange",
            help="Whose frames they are: binance, okx, bybit, coinbase, or a sibling's name "
            "(binance_us, coinbase_exchange).",
            show_default=False,
        ),
    ] = None,
    rest: Annotated[
        list[Path] | None,
        typer.Option("--rest", help="Recorded REST replies: book snapshots, contract sizes."),
    ] = None,
    summary: Annotated[
        bool, typer.Option("--summary", help="Sum up each file instead of printing records.")
    ] = False,
    as_json: JsonFlag = False,
    speed: Annotated[
        float | None,
        typer.Option("--speed", min=0.001, help="Times the recorded speed; default: no waiting."),
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option("--export", help="Write the frames as a recording, gzip if it ends in .gz."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Stop after so many frames of each file.")
    ] = None,
) -> None:
    """Play recordings back: print their records, sum them up exactly, or convert them.

    Records are printed one a line, as JSON lines with --json. A summary is one JSON object a file.

    Example: zvtc replay btc.jsonl.gz --exchange binance --rest btc_rest.jsonl.gz --summary --json
    """
    for path in (*files, *(rest or ())):
        if not path.exists():
            raise UsageError(f"there is no file or folder {path}")
    if exchange is None:
        if export is None:
            raise UsageError("--exchange is missing", remedy="Say whose frames they are")
        _export(files, export, limit, as_json=as_json)
        return
    name = recorded_exchange(exchange)
    facts = read_facts(name, rest or ())
    if export is not None:
        _export(files, export, limit, as_json=as_json)
    if summary:
        for path in files:
            _summarise(path, name, facts, limit, as_json=as_json)
    elif export is None:
        for path in files:
            _print_records(path, name, facts, limit, speed, as_json=as_json)


class _Frames:
    """Frames of a file, up to a limit; says on stderr how far it is when it takes long."""

    def __init__(self, path: Path, limit: int | None) -> None:
        self.reader = JournalReader(path)
        self._path = path
        self._limit = limit

    def __iter__(self) -> Iterator[RawFrame]:
        said = time.monotonic()
        told = False
        for count, raw in enumerate(self.reader, 1):
            yield raw
            if count == self._limit:
                break
            if count % _LOOK_EVERY == 0 and time.monotonic() - said > _QUIET_S:
                said, told = time.monotonic(), True
                self._say(f"{self._path}: {count:,} frames", end="\r")
        if told:
            self._say(f"{self._path}: done", end="\n")

    @staticmethod
    def _say(text: str, end: str) -> None:
        is_terminal = sys.stderr.isatty()
        sys.stderr.write(f"\x1b[K{text}{end}" if is_terminal else f"{text}\n")
        sys.stderr.flush()


def _summarise(
    path: Path, exchange: str, facts: RestFacts, limit: int | None, *, as_json: bool
) -> None:
    frames = _Frames(path, limit)
    made = build_summary(exchange, facts)
    seen: set[str] = set()
    for raw in frames:
        if raw.connection not in seen:
            check_exchange(exchange, raw.connection)
            seen.add(raw.connection)
        made.add(raw)
    result = made.result(str(path))
    report = frames.reader.report
    if report.segments:
        result["journal"] = msgspec.structs.asdict(report)
    if as_json:
        print_json(result)
    else:
        _print_summary(result)


def _print_summary(result: dict[str, Any]) -> None:
    screen = out()
    screen.print(
        f"{result['file']}: {result['frames']:,} frames of {result['exchange']}, "
        f"{result['undecoded']:,} undecoded"
    )
    for reason, count in result["undecoded_reasons"].items():
        screen.print(f"  {count:,} x {reason[:_SHOWN_REASON]}", markup=False)
    rows: list[list[Any]] = []
    for symbol, found in result["symbols"].items():
        trades, book = found.get("trades", {}), found.get("book_updates", {})
        final = book.get("final_book") or {}
        rows.append(
            [
                symbol,
                trades.get("count"),
                trades.get("sum_size_native"),
                found.get("quotes", {}).get("count"),
                book.get("count"),
                book.get("continuity_breaks"),
                " ".join((final.get("best_bid") or [])[:1] + (final.get("best_ask") or [])[:1]),
                sum(one["messages"] for one in found.get("candles", {}).values()) or None,
                found.get("mark_prices", {}).get("count"),
            ]
        )
    columns = ("symbol", "trades", "size", "quotes", "book", "breaks", "bid ask", "candles", "mark")
    print_rows("", columns, rows)


def _export(files: list[Path], target: Path, limit: int | None, *, as_json: bool) -> None:
    if any(path.exists() and target.exists() and path.samefile(target) for path in files):
        raise UsageError(f"{target} would overwrite what it is made from")
    try:
        with RecordingWriter(target) as writer:
            for path in files:
                for raw in _Frames(path, limit):
                    writer.write(raw)
    except OSError as e:
        raise UsageError(f"{target} cannot be written: {e.strerror or e}") from None
    if as_json:
        print_json({"exported": str(target), "frames": writer.frames})
    else:
        sys.stderr.write(f"{target}: {writer.frames:,} frames\n")


def _print_records(
    path: Path,
    exchange: str,
    facts: RestFacts,
    limit: int | None,
    speed: float | None,
    *,
    as_json: bool,
) -> None:
    player = build_player(exchange, facts)
    pace = _Pace(speed)
    seen: set[str] = set()
    write = sys.stdout.write
    for raw in _Frames(path, limit):
        if raw.connection not in seen:
            check_exchange(exchange, raw.connection)
            seen.add(raw.connection)
        pace.wait(raw.ts_recv)
        for line in _lines(player.play(raw), as_json=as_json):
            write(line)
        if speed is not None:
            sys.stdout.flush()
    sys.stdout.flush()


def _lines(played: Played, *, as_json: bool) -> Iterator[str]:
    for reason in played.reasons:
        sys.stderr.write(f"undecoded: {reason}\n")
    for record in played.messages:
        if not isinstance(record, DataRecord):
            continue
        kind = type(record).__name__.lower()
        fields = msgspec.to_builtins(record)
        if as_json:
            yield json.dumps({"kind": kind, **fields}) + "\n"
        else:
            told = " ".join(
                f"{key}={value}" for key, value in fields.items() if key not in _NAMED_FIRST
            )
            yield f"{format_us(record.ts_event)} {kind} {record.symbol} {told}\n"


_NAMED_FIRST: Final = ("exchange", "symbol", "ts_event", "ts_recv")


class _Pace:
    """Waits as long as the recorder did between two frames, divided by the speed."""

    def __init__(self, speed: float | None) -> None:
        self._speed = speed
        self._first: tuple[int, float] | None = None

    def wait(self, ts_recv: int | None) -> None:
        """Return when a frame of that time is due; one without a time is due at once."""
        if self._speed is None or ts_recv is None:
            return
        now = time.monotonic()
        if self._first is None:
            self._first = ts_recv, now
            return
        began, clock = self._first
        due = clock + (ts_recv - began) / _US_PER_S / self._speed
        if due > now:
            sys.stdout.flush()
            time.sleep(due - now)
