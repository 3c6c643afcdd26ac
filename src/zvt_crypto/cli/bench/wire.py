"""Frames for the live benches: recorded ones, made long enough, or drawn where none are at hand.

What is sent to ours is sent to the peers, byte for byte. Recorded trades are respelled as the
aggregate trades all of them subscribe to, ids counted on; a recording is repeated with its ids and
times moved on, so that no copy is old news, and between two copies one frame of changes takes the
book back to where the next begins.
"""

import gzip
import json
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from zvt_crypto.core.errors import UsageError
from zvt_crypto.core.instrument import Instrument, Market
from zvt_crypto.core.series import Kind

RECORDED: Final = {
    "usdm-2023": "usdm_btcusdt_hft_20230404",
    "usdm": "usdm_btcusdt_hft_20240808",
    "spot": "spot_btcusdt_hft_20240808",
    "coinm": "coinm_btcusd_perp_hft_20240808",
}
"""Recordings of Binance with a snapshot of their book, by what the benches call them."""

DRAWN: Final = "drawn"

_KINDS: Final = {b"a": Kind.TRADES, b"t": Kind.TRADES, b"b": Kind.QUOTES, b"d": Kind.BOOK}
_NUMBERS: Final = re.compile(rb'"(u|U|pu|a|f|l|T|E)":(\d{6,})')
_TIMES: Final[tuple[bytes, ...]] = (b"T", b"E")
_IDS: Final[tuple[bytes, ...]] = (b"a", b"f", b"l")
_DRAWN_FRAMES: Final = 40_000
_DRAWN_LEVELS: Final = 8
_DRAWN_START_MS: Final = 1_700_000_000_000

Sides = dict[str, dict[str, str]]


class FrameSet(msgspec.Struct):
    """Frames to send, the book they begin with, and how many of each kind there are."""

    name: str
    market: Market
    native: str
    snapshot: dict[str, Any]
    frames: list[bytes]
    counts: dict[str, int] = {}
    levels: float = 0.0
    """Levels in a book message, on average."""
    step: dict[str, int] = {}
    """How far ids and times have to move for the frames to follow themselves; see `moved`."""

    @property
    def instrument(self) -> Instrument:
        """Return the one instrument of the frames.

        The inverse recording is read as a linear one: COIN-M has no live route here, and its frames
        differ in nothing that is measured.
        """
        is_spot = self.market is Market.SPOT
        quote = "USDT" if self.native.endswith("USDT") else "USD"
        return Instrument(
            exchange="binance",
            symbol=f"BTC-{quote}" if is_spot else f"BTC-{quote}-PERP",
            native=self.native,
            base="BTC",
            quote=quote,
            settle=None if is_spot else quote,
            market=self.market,
        )


def kind_of(frame: bytes) -> Kind | None:
    """Return what a combined stream's frame is of, by the byte after the @ of its stream."""
    at = frame.find(b"@", 0, 80)
    return _KINDS.get(frame[at + 1 : at + 2])


def frame_set(data: Path | None, name: str, kinds: Iterable[Kind], count: int) -> FrameSet:
    """Return at least `count` frames of some kinds, and not many more than that or a recording.

    Args:
        data: folder of recordings, laid out as `binance/ws/*.jsonl.gz`; None to draw them.
        name: a key of `RECORDED`, or `drawn`.
        kinds: which frames are wanted; the book's too if only to know where it ends.
        count: how many.

    Raises:
        UsageError: the recording is not there.
    """
    wanted = frozenset(kinds)
    whole = _drawn() if data is None or name == DRAWN else _recorded(data, name)
    made = msgspec.structs.replace(whole)
    frames = [frame for frame in made.frames if kind_of(frame) in wanted][:count]
    if not frames:
        raise UsageError(f"recording {name!r} has no {' or '.join(sorted(wanted))}")
    made.frames = frames
    made.levels = _mean_levels(frames)
    _extend(made, count)
    counts: dict[str, int] = {}
    for frame in made.frames:
        kind = str(kind_of(frame))
        counts[kind] = counts.get(kind, 0) + 1
    made.counts = counts
    return made


def _mean_levels(frames: list[bytes]) -> float:
    books = [json.loads(one)["data"] for one in frames if kind_of(one) is Kind.BOOK]
    return sum(len(one["b"]) + len(one["a"]) for one in books) / max(1, len(books))


# -- recorded --------------------------------------------------------------------------------------


@cache
def _recorded(data: Path, name: str) -> FrameSet:
    file = f"{RECORDED[name]}.jsonl.gz"
    stream, rest = data / "binance" / "ws" / file, data / "binance" / "rest" / file
    if not stream.is_file() or not rest.is_file():
        raise UsageError(
            f"there is no recording {file} in the binance folder of {data}",
            remedy="name the folder with --data, or run without it on drawn frames",
        )
    with gzip.open(rest, "rt", encoding="utf-8") as lines:
        snapshot = json.loads(json.loads(next(lines))["body"])
    with gzip.open(stream, "rt", encoding="utf-8") as lines:
        raws = [json.loads(line)["raw"].encode() for line in lines]
    frames = list(_respelled(raws, snapshot["lastUpdateId"]))
    native = json.loads(frames[0])["data"]["s"]
    market = Market.SPOT if name == "spot" else Market.LINEAR
    return FrameSet(name, market, native, snapshot, frames)


def _respelled(raws: Iterable[bytes], last_update: int) -> Iterator[bytes]:
    """Yield the frames of our kinds from the snapshot on, trades as aggregate trades."""
    number = 0
    for raw in raws:
        kind = kind_of(raw)
        if kind is Kind.TRADES:
            row = json.loads(raw)["data"]
            if row.get("X", "MARKET") != "MARKET":
                continue
            number += 1
            yield _trade(row["s"], number, row["p"], row["q"], row["T"], is_sale=row["m"])
        elif kind is Kind.BOOK:
            if json.loads(raw)["data"]["u"] > last_update:
                yield raw
        elif kind is Kind.QUOTES:
            yield raw


def _trade(native: str, number: int, price: str, size: str, at_ms: int, *, is_sale: bool) -> bytes:
    taker_sold = "true" if is_sale else "false"
    number += 1_000_000_000
    return (
        f'{{"stream":"{native.lower()}@aggTrade","data":{{"e":"aggTrade","E":{at_ms},'
        f'"s":"{native}","a":{number},"p":"{price}","q":"{size}","f":{number},"l":{number},'
        f'"T":{at_ms},"m":{taker_sold}}}}}'
    ).encode()


# -- drawn -----------------------------------------------------------------------------------------


@cache
def _drawn() -> FrameSet:
    """Return frames of a random walk in Binance's spelling: 7 quotes to 2 trades to 1 book."""
    random = np.random.default_rng(7)
    prices = 60_000 + np.cumsum(random.normal(0, 0.4, _DRAWN_FRAMES)).round(1)
    levels = random.integers(1, 400, (_DRAWN_FRAMES, 2, _DRAWN_LEVELS))
    sizes = random.integers(0, 5_000, (_DRAWN_FRAMES, 2, _DRAWN_LEVELS))
    kinds = random.choice(10, _DRAWN_FRAMES)
    native, update = "BTCUSDT", 5_000_000_000
    snapshot = {
        "lastUpdateId": update,
        "bids": [[f"{60_000 - at / 10:.2f}", "1.000"] for at in range(1, 500)],
        "asks": [[f"{60_000 + at / 10:.2f}", "1.000"] for at in range(1, 500)],
    }
    frames: list[bytes] = []
    for at in range(_DRAWN_FRAMES):
        time, price = _DRAWN_START_MS + at * 5, prices[at]
        if kinds[at] in (0, 1):
            sale = bool(levels[at, 0, 0] % 2)
            size = f"{sizes[at, 0, 0] / 1000 + 0.001:.3f}"
            frames.append(_trade(native, at, f"{price:.2f}", size, time, is_sale=sale))
        elif kinds[at] == 2:  # noqa: PLR2004 - one in ten
            sides = {
                side: [
                    [f"{60_000 + sign * step / 10:.2f}", f"{size / 1000:.3f}"]
                    for step, size in zip(levels[at, way], sizes[at, way], strict=True)
                ]
                for side, sign, way in (("b", -1, 0), ("a", 1, 1))
            }
            frames.append(_changes(native, update, update + 3, time, sides))
            update += 3
        else:
            frames.append(
                f'{{"stream":"btcusdt@bookTicker","data":{{"e":"bookTicker","u":{update},'
                f'"s":"{native}","b":"{price:.2f}","B":"1.203","a":"{price + 0.1:.2f}",'
                f'"A":"3.571","T":{time},"E":{time}}}}}'.encode()
            )
    # Their ids have holes where other frames are: numbered anew, as a recording's are.
    return FrameSet(DRAWN, Market.LINEAR, native, snapshot, list(_counted(frames)))


def _counted(frames: Iterable[bytes]) -> Iterator[bytes]:
    number = 1_000_000_000
    for frame in frames:
        if kind_of(frame) is Kind.TRADES:
            number += 1
            row = json.loads(frame)
            row["data"] |= {"a": number, "f": number, "l": number}
            yield json.dumps(row, separators=(",", ":")).encode()
        else:
            yield frame


def _changes(native: str, before: int, after: int, at_ms: int, sides: Any) -> bytes:
    row = {"e": "depthUpdate", "E": at_ms, "T": at_ms, "s": native}
    row |= {"U": before + 1, "u": after, "pu": before, **sides}
    wrapped = {"stream": f"{native.lower()}@depth@100ms", "data": row}
    return json.dumps(wrapped, separators=(",", ":")).encode()


# -- longer ----------------------------------------------------------------------------------------


def _extend(one: FrameSet, count: int) -> None:
    """Repeat the frames with newer ids and times until there are `count`, in whole copies."""
    first = [_numbers(frame) for frame in one.frames]
    times = [row[b"T"] for row in first if b"T" in row] or [row.get(b"E", 0) for row in first]
    ids = [row[b"a"] for row in first if b"a" in row]
    books = [row for row in first if b"U" in row]
    places = [row[b"u"] for row in first if b"u" in row and b"U" not in row]
    if books:  # the seam has one more
        places = [books[0].get(b"pu", books[0][b"U"] - 1), books[-1][b"u"]]
    step = {"ms": _span(times), "ids": _span(ids), "book": _span(places)}
    if books:
        sides = _rewind(one)
        one.frames.append(_seam(one, books[-1][b"u"], max(times), sides))
    copies = max(1, -(-count // len(one.frames)))
    once, one.frames = one.frames, []
    for copy in range(copies):
        one.frames += [moved(frame, step, copy) for frame in once]
    one.step = {name: copies * by for name, by in step.items()}


def _span(values: list[int]) -> int:
    return max(values) - min(values) + 1 if values else 0


def _seam(one: FrameSet, before: int, at_ms: int, sides: Any) -> bytes:
    frame = _changes(one.native, before, before + 1, at_ms, sides)
    if one.market is Market.SPOT:  # which has no number of the message before
        return re.sub(rb'"pu":\d+,', b"", frame)
    return frame


def _numbers(frame: bytes) -> dict[bytes, int]:
    return {name: int(value) for name, value in _NUMBERS.findall(frame)}


def moved(frame: bytes, step: dict[str, int], times: int) -> bytes:
    """Return a frame with ids and times moved on so many times by `step`."""
    if not times:
        return frame
    by: dict[bytes, int] = dict.fromkeys(_TIMES, step["ms"])
    by.update(dict.fromkeys(_IDS, step["ids"]))
    place = step["book"]

    def move(found: re.Match[bytes]) -> bytes:
        name = found[1]
        return b'"%b":%d' % (name, int(found[2]) + times * by.get(name, place))

    return _NUMBERS.sub(move, frame)


def _rewind(one: FrameSet) -> dict[str, list[list[str]]]:
    """Return the changes that take the book from its end to where it began."""
    start: Sides = {
        side: {price: size for price, size, *_ in one.snapshot[name]}
        for side, name in (("b", "bids"), ("a", "asks"))
    }
    end = {side: dict(levels) for side, levels in start.items()}
    for frame in one.frames:
        if kind_of(frame) is Kind.BOOK:
            row = json.loads(frame)["data"]
            for side in ("b", "a"):
                end[side].update(row[side])
    return {
        side: [
            [price, start[side].get(price, "0")]
            for price, size in end[side].items()
            if (size if float(size) else "0") != start[side].get(price, "0")
        ]
        for side in ("b", "a")
    }
