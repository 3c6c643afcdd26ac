"""Frames for the live benches follow one another however often they are repeated."""

from itertools import pairwise
from pathlib import Path

import pytest

from zvt_crypto.cli.bench.sender import on_the_wire
from zvt_crypto.cli.bench.wire import FrameSet, frame_set, kind_of, moved
from zvt_crypto.connectors.binance.ws import BinanceProtocol
from zvt_crypto.core.book import BookRule, BookSync, Step
from zvt_crypto.core.errors import UsageError
from zvt_crypto.core.instrument import Market
from zvt_crypto.core.record import Book, Quote, Trade
from zvt_crypto.core.series import Kind
from zvt_crypto.ports.stream import Message, Target

ALL = (Kind.TRADES, Kind.QUOTES, Kind.BOOK)
NOW_US = 2_000_000_000_000_000


def messages(frames: FrameSet, rounds: int = 2) -> list[Message]:
    """Return what our parser reads in the frames, gone round so often."""
    protocol = BinanceProtocol()
    route = "spot" if frames.market is Market.SPOT else "linear_public"
    parser = protocol.parser(route, lambda _route, native: (Target(native, frames.market),))
    sent = (moved(one, frames.step, turn) for turn in range(rounds) for one in frames.frames)
    return [message for frame in sent for message in parser.parse(frame, NOW_US)]


@pytest.mark.parametrize(("name", "count"), [("usdm-2023", 14_000), ("spot", 42_000)])
def test_repeated_frames_are_new_and_whole(name: str, count: int, shared_data: Path) -> None:
    # given a recording longer than it was, and that gone round once more
    frames = frame_set(shared_data, name, ALL, count)
    assert count < len(frames.frames) < 2 * count
    found = messages(frames)

    # then every frame is a record of ours, trades count on, and times never go back by a copy
    assert {type(one) for one in found} == {Trade, Quote, Book}
    assert len(found) == 2 * sum(frames.counts.values()) == 2 * len(frames.frames)
    trades = [one for one in found if isinstance(one, Trade)]
    assert all(int(b.trade_id) == int(a.trade_id) + 1 for a, b in pairwise(trades))
    assert all(b.ts_event >= a.ts_event for a, b in pairwise(trades))

    # and the book goes from each message to the next, never crossed, back to where it was
    sync = BookSync(BookRule(overlaps=frames.market is Market.SPOT))
    sync.join(_snapshot(frames))
    tops: list[object] = []
    for book in (one for one in found if isinstance(one, Book)):
        assert sync.take(book) is Step.APPLIED
        assert not sync.book.is_crossed
        tops.append((sync.book.best_bid, sync.book.best_ask))
    copy = len(tops) // 4
    assert tops[copy - 1] == tops[2 * copy - 1] == tops[-1]
    wanted = sorted((one for one in _snapshot(frames).bids if one[1]), reverse=True)
    assert sync.book.bids() == wanted


def _snapshot(frames: FrameSet) -> Book:
    sides = [
        [(float(price), float(size)) for price, size, *_ in frames.snapshot[side]]
        for side in ("bids", "asks")
    ]
    return Book(
        exchange="binance",
        symbol="X",
        ts_event=0,
        ts_recv=0,
        is_snapshot=True,
        bids=sides[0],
        asks=sides[1],
        sequence=frames.snapshot["lastUpdateId"],
    )


def test_a_few_frames_are_the_first_of_a_recording(shared_data: Path) -> None:
    # given less than there is, and the frame that leads back to the beginning
    frames = frame_set(shared_data, "usdm-2023", ALL, 500)
    assert len(frames.frames) == 501

    # then they go round like all of it
    sync = BookSync(BookRule())
    sync.join(_snapshot(frames))
    books = [one for one in messages(frames, rounds=3) if isinstance(one, Book)]
    assert {sync.take(one) for one in books} == {Step.APPLIED}


def test_only_the_kinds_that_are_wanted_are_sent(shared_data: Path) -> None:
    frames = frame_set(shared_data, "usdm-2023", [Kind.TRADES], 10)
    assert {kind_of(one) for one in frames.frames} == {Kind.TRADES}
    assert set(frames.counts) == {"trades"}
    assert b"@aggTrade" in frames.frames[0]


def test_a_recording_that_is_not_there_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no recording usdm_btcusdt_hft_20240808"):
        frame_set(tmp_path, "usdm", ALL, 10)


@pytest.mark.parametrize(
    ("size", "header"),
    [(125, b"\x81\x7d"), (126, b"\x81\x7e\x00\x7e"), (70_000, b"\x81\x7f" + (70_000).to_bytes(8))],
)
def test_frames_have_the_header_their_length_asks_for(size: int, header: bytes) -> None:
    assert on_the_wire(b"x" * size) == header + b"x" * size
