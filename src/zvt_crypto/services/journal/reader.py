"""Read back what was recorded: journal folders, single segments, text recordings."""

import heapq
import mmap
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Final

import msgspec
import zstandard

from zvt_crypto.core.errors import UsageError
from zvt_crypto.services.journal.frame import RawFrame
from zvt_crypto.services.journal.recording import read_recording
from zvt_crypto.services.journal.retention import segment_paths
from zvt_crypto.services.journal.segment import (
    BLOCK_HEAD_BYTES,
    BLOCK_MAGIC,
    HEAD_BYTES,
    HEAD_MAGIC,
    NO_TIME,
    OPEN_SUFFIX,
    SUFFIX,
    TAIL_BYTES,
    TAIL_MAGIC,
    BlockHead,
    Damaged,
    decode_block,
    decode_block_head,
    decode_head,
    decode_tail,
)

_EARLIEST: Final = NO_TIME


class ReadReport(msgspec.Struct):
    """What was read, and what could not be.

    `cut_bytes` stood after the last whole block of a segment: a write that a crash interrupted.
    `damaged_bytes` stood between whole blocks: the disk changed them. `unclosed` segments end
    without a closing mark: their writer died, lost its disk, or still writes.
    """

    segments: int = 0
    unclosed: int = 0
    frames: int = 0
    blocks: int = 0
    cut_bytes: int = 0
    damaged_bytes: int = 0


class JournalReader:
    """Yields recorded frames in order, in memory that does not grow with what is read.

    Args:
        path: a folder of segments, one segment, or a text recording, told apart by content.
        seen: told how many bytes of the files were gone through, for progress.

    Segments of one writer follow each other; those of several are merged by receive time. `report`
    grows while frames are read. Iterating anew reads anew.
    """

    def __init__(self, path: str | Path, *, seen: Callable[[int], None] | None = None) -> None:
        self.path = Path(path)
        self.report = ReadReport()
        self._seen = seen

    def __iter__(self) -> Iterator[RawFrame]:
        """Yield all frames.

        Raises:
            UsageError: the path is absent, or neither a journal nor a recording.
        """
        self.report = ReadReport()
        if self.path.is_dir():
            yield from self._merged(segment_paths(self.path))
        elif not self.path.is_file():
            raise UsageError(f"there is no file or folder {self.path}")
        elif _is_segment(self.path):
            yield from self._merged([self.path])
        else:
            for frame in read_recording(self.path, self._seen):
                self.report.frames += 1
                yield frame

    def _merged(self, paths: Sequence[Path]) -> Iterator[RawFrame]:
        if not paths:
            raise UsageError(
                f"{self.path} holds no journal segment", remedy=f"Segments end in {SUFFIX}"
            )
        waiting = _chains(paths)
        waiting.sort(key=lambda chain: chain.first, reverse=True)
        if not waiting:
            # Only heads: nothing was written, or no block is whole.
            for path in paths:
                yield from self._segment(path)
            return
        turn = count()
        heap: list[tuple[int, int, RawFrame, Iterator[RawFrame]]] = []
        while heap or waiting:
            if waiting and (not heap or waiting[-1].first <= heap[0][0]):
                chain = waiting.pop()
                self._push(heap, chain.first, next(turn), self._chain(chain.paths))
                continue
            at, place, frame, rest = heapq.heappop(heap)
            self.report.frames += 1
            yield frame
            self._push(heap, at, place, rest)

    @staticmethod
    def _push(
        heap: list[tuple[int, int, RawFrame, Iterator[RawFrame]]],
        at: int,
        place: int,
        rest: Iterator[RawFrame],
    ) -> None:
        """Put a chain's next frame on the heap; a clock set back does not reorder its frames."""
        frame = next(rest, None)
        if frame is not None:
            heapq.heappush(heap, (max(at, frame.ts_recv or at), place, frame, rest))

    def _chain(self, paths: Sequence[Path]) -> Iterator[RawFrame]:
        for path in paths:
            yield from self._segment(path)

    def _segment(self, path: Path) -> Iterator[RawFrame]:
        found = _existing(path)
        if found is None:  # retired meanwhile
            return
        self.report.segments += 1
        with found.open("rb") as file:
            size = found.stat().st_size
            if size < HEAD_BYTES:
                self.report.unclosed += 1
                self.report.cut_bytes += size
                return
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                yield from self._blocks(data)

    def _blocks(self, data: mmap.mmap) -> Iterator[RawFrame]:
        decompressor = zstandard.ZstdDecompressor()

        def unpack(packed: bytes, most: int) -> bytes:
            try:
                return decompressor.decompress(packed, max_output_size=most)
            except zstandard.ZstdError as e:
                raise Damaged(str(e)) from None

        size = len(data)
        place = good = HEAD_BYTES
        closed = False
        while place < size:
            try:
                head = decode_block_head(data[place : place + BLOCK_HEAD_BYTES])
                start = place + BLOCK_HEAD_BYTES
                end = start + head.packed_bytes
                frames = decode_block(head, data[start:end], unpack)
            except Damaged:
                closed = _is_tail(data, place)
                if closed:
                    good = size
                    break
                place = _next_mark(data, place + 1)
                continue
            self.report.damaged_bytes += place - good
            self.report.blocks += 1
            place = good = end
            yield from frames
            if self._seen is not None:
                self._seen(end - start)
        self.report.cut_bytes += size - good
        self.report.unclosed += not closed


class _Chain(msgspec.Struct):
    """The segments of one writer in their order, and the time of its first frame."""

    first: int
    paths: list[Path]


def _chains(paths: Sequence[Path]) -> list[_Chain]:
    chains: dict[bytes, _Chain] = {}
    for path in paths:
        writer, first = _opening(path)
        chain = chains.get(writer)
        if chain is None:
            chains[writer] = chain = _Chain(_EARLIEST, [])
        if first is not None and chain.first == _EARLIEST and not chain.paths:
            chain.first = first.first
        chain.paths.append(path)
    return list(chains.values())


def _opening(path: Path) -> tuple[bytes, BlockHead | None]:
    """Return who wrote a segment and its first block; its name stands for a head that is torn."""
    found = _existing(path)
    if found is None:
        return str(path).encode(), None
    with found.open("rb") as file:
        head = file.read(HEAD_BYTES)
        block = file.read(BLOCK_HEAD_BYTES)
    try:
        writer = decode_head(head)
    except Damaged as e:
        if len(head) == HEAD_BYTES and not head.startswith(HEAD_MAGIC):
            raise UsageError(f"{path} is no journal segment: {e}") from None
        return str(path).encode(), None
    try:
        return writer, decode_block_head(block)
    except Damaged:
        return writer, None


def _existing(path: Path) -> Path | None:
    """Return where a segment is now: it may have been closed or retired since it was listed."""
    if path.exists():
        return path
    closed = path.with_name(path.name.removesuffix(OPEN_SUFFIX) + SUFFIX)
    return closed if path.name.endswith(OPEN_SUFFIX) and closed.exists() else None


def _is_segment(path: Path) -> bool:
    if path.name.endswith((SUFFIX, OPEN_SUFFIX)):
        return True
    with path.open("rb") as file:
        return file.read(len(HEAD_MAGIC)) == HEAD_MAGIC


def _is_tail(data: mmap.mmap, place: int) -> bool:
    if len(data) - place != TAIL_BYTES or data[place : place + len(TAIL_MAGIC)] != TAIL_MAGIC:
        return False
    try:
        decode_tail(data[place:])
    except Damaged:
        return False
    return True


def _next_mark(data: mmap.mmap, place: int) -> int:
    """Return where the next block or the tail may begin, the end of the data if nowhere."""
    block = data.find(BLOCK_MAGIC, place)
    tail = data.find(TAIL_MAGIC, max(place, len(data) - TAIL_BYTES))
    return min((at for at in (block, tail) if at >= 0), default=len(data))
