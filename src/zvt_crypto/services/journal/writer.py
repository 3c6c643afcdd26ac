"""Write raw frames to a folder of compressed segments; the crash log of the live half.

`append` only queues. A thread of its own packs, writes and syncs what has gathered, every
`flush_s` or when a block is full: compressing and `fdatasync` let other threads run. What
`flush` has answered for is on disk, whatever happens to the process.
"""

import asyncio
import contextlib
import fcntl
import logging
import os
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self

import msgspec
import zstandard

from zvt_crypto.core.errors import StoreFull
from zvt_crypto.core.timestamp import from_us
from zvt_crypto.services.journal.frame import Direction
from zvt_crypto.services.journal.retention import adopt_orphans, retire, sync_folder
from zvt_crypto.services.journal.segment import (
    MOST_FRAME_BYTES,
    NO_TIME,
    OPEN_SUFFIX,
    SUFFIX,
    Queued,
    encode_block,
    encode_head,
    encode_tail,
)

log = logging.getLogger(__name__)

_BLOCK_S: Final = 5.0
"""How long `append` waits under the policy `block` before the frame is dropped after all."""


class JournalConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How a journal is kept.

    Attributes:
        segment_bytes, segment_s: a segment that reaches either is closed and the next begun.
        flush_s: a frame is on disk this long after it came, at the latest, while the disk keeps up.
        block_bytes: so much is packed and synced at once, before `flush_s` if it comes faster. Half
            a millisecond of Python for 900 frames of Binance, in which the event loop waits.
        retention_bytes, retention_s: closed segments beyond either are deleted, oldest first;
            None keeps all.
        queue_frames, queue_bytes: what may wait for the disk.
        policy: what gives when that is full. `drop_oldest` forgets the frame that waits longest,
            `block` holds the caller up, and with it the socket, for up to five seconds. While
            the disk is full both drop: the service goes on.
        retry_s: how often a disk that was full is tried again.
        level: of zstd.
    """

    segment_bytes: int = 64 << 20
    segment_s: float = 3600.0
    flush_s: float = 0.2
    block_bytes: int = 256 << 10
    retention_bytes: int | None = 10 << 30
    retention_s: float | None = None
    queue_frames: int = 500_000
    queue_bytes: int = 256 << 20
    policy: Literal["drop_oldest", "block"] = "drop_oldest"
    retry_s: float = 5.0
    level: int = 3


class JournalCounts(msgspec.Struct):
    """What a journal has done so far.

    `dropped` frames are in no segment: the queue was full, or the frame over 64 MB. `failures` are
    writes the disk refused; their frames were written later or dropped.
    """

    durable: int = 0
    dropped: int = 0
    failures: int = 0
    blocks: int = 0
    segments: int = 0
    retired: int = 0
    bytes_in: int = 0
    bytes_written: int = 0


class JournalWriter:
    """Appends frames to segments of its own in a folder that others may write to as well.

    Use as a context manager, `async with` or plain; leaving it flushes and closes in order.
    `append` is for one thread.

    Args:
        folder: made if it is absent.
        config: bounds and policies.
        on_trouble: called once from the writer's thread when the disk begins to refuse, with the
            reason. It must not block.
        clock: UTC microseconds.
    """

    def __init__(
        self,
        folder: str | Path,
        config: JournalConfig | None = None,
        *,
        on_trouble: Callable[[str], None] | None = None,
        clock: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        self.folder = Path(folder)
        self.config = config or JournalConfig()
        self.counts = JournalCounts()
        self._on_trouble = on_trouble
        self._clock = clock
        self._writer = uuid.uuid4().bytes
        self._queue: deque[Queued] = deque()
        self._most_frames = self.config.queue_frames
        self._most_bytes = self.config.queue_bytes
        # Only the caller raises the first two, only who holds the lock the third: their
        # differences need no lock to be read.
        self._bytes_in = 0
        self._wake_at = self.config.block_bytes
        self._bytes_out = 0
        self._lock = threading.Lock()
        self._room = threading.Condition(self._lock)
        self._wake = threading.Event()
        self._waiting: list[tuple[int, Future[None]]] = []
        self._taken: list[Queued] = []
        # How many frames from the first on are durable or dropped; those dropped behind frames that
        # still wait for the disk are added when these are settled.
        self._settled = 0
        self._dropped_behind = 0
        self._segment: _Segment | None = None
        self._trouble: str | None = None
        self._retry_at = 0.0
        self._closing = False
        self._thread: threading.Thread | None = None

    # -- lifetime ---------------------------------------------------------------------------------

    def open(self) -> Self:
        """Make the folder, take over what dead writers left open, start the thread."""
        self.folder.mkdir(parents=True, exist_ok=True)
        adopt_orphans(self.folder)
        self._retire()
        self._thread = threading.Thread(target=self._run, name="zvtc-journal", daemon=True)
        self._thread.start()
        return self

    def close(self) -> None:
        """Write what waits and close the segment in order; what the disk refuses is dropped."""
        if self._thread is None:
            return
        self._closing = True
        self._wake.set()
        self._thread.join()
        self._thread = None

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return await asyncio.to_thread(self.open)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self.close)

    # -- the hot path -----------------------------------------------------------------------------

    def append(
        self, connection: str, direction: Direction, ts_recv: int | None, frame: bytes
    ) -> None:
        """Queue a frame; never raises and, but for the policy `block`, never waits."""
        size = len(frame)
        queue = self._queue
        if (
            len(queue) >= self._most_frames
            or self._bytes_in + size - self._bytes_out > self._most_bytes
            or size > MOST_FRAME_BYTES
        ) and not self._make_room(size):
            return
        queue.append((connection, direction, NO_TIME if ts_recv is None else ts_recv, frame))
        self._bytes_in += size
        if self._bytes_in >= self._wake_at:
            self._wake_at = self._bytes_in + self.config.block_bytes
            self._wake.set()

    def _make_room(self, size: int) -> bool:
        """Return whether the frame may be queued; counts what gives way."""
        if size > min(MOST_FRAME_BYTES, self._most_bytes):
            with self._lock:
                self.counts.dropped += 1
            return False
        self._wake.set()
        with self._lock:
            if self.config.policy == "block" and self._trouble is None:
                self._room.wait_for(lambda: self._fits(size) or self._trouble, _BLOCK_S)
            while not self._fits(size) and self._queue:
                self._bytes_out += len(self._queue.popleft()[3])
                self.counts.dropped += 1
                if self._taken:
                    self._dropped_behind += 1
                else:
                    self._settled += 1
        return True

    def _fits(self, size: int) -> bool:
        return (
            len(self._queue) < self._most_frames
            and self._bytes_in + size - self._bytes_out <= self._most_bytes
        )

    # -- what is durable --------------------------------------------------------------------------

    async def flush(self) -> None:
        """Return when all that was appended before is on disk, but for what a policy dropped.

        Raises:
            StoreFull: the disk takes nothing now; the frames wait while there is room.
        """
        await asyncio.wrap_future(self.request_flush())

    def request_flush(self) -> "Future[None]":
        """Return a future of the same promise, for callers without an event loop."""
        done: Future[None] = Future()
        with self._lock:
            ahead = len(self._taken) + self._dropped_behind + len(self._queue)
            self._waiting.append((self._settled + ahead, done))
        self._wake.set()
        return done

    @property
    def trouble(self) -> str | None:
        """Return why the disk takes nothing now; None while it does."""
        return self._trouble

    # -- the thread -------------------------------------------------------------------------------

    def _run(self) -> None:
        packer = zstandard.ZstdCompressor(level=self.config.level, write_checksum=False)
        while True:
            self._wake.wait(self.config.flush_s)
            self._wake.clear()
            closing = self._closing
            while self._take():
                if not self._store(packer.compress, now=closing or bool(self._waiting)):
                    break
            self._answer()
            if self._segment is not None and self._segment_is_old():
                self._end_segment()
            if closing:
                break
        if self._segment is not None:
            self._end_segment()
        with self._lock:
            self.counts.dropped += len(self._taken) + len(self._queue)
            self._taken.clear()
            self._queue.clear()

    def _take(self) -> bool:
        """Move up to a block from the queue to what is being written; return if there is any."""
        if self._taken:  # the disk refused these before
            return True
        taken = self._taken
        size = 0
        most = self.config.block_bytes
        with self._lock:
            pop = self._queue.popleft
            for _ in range(len(self._queue)):
                one = pop()
                taken.append(one)
                size += len(one[3])
                if size >= most:
                    break
            self._bytes_out += size
            self._room.notify_all()
        return bool(taken)

    def _store(self, compress: Callable[[bytes], bytes], *, now: bool) -> bool:
        """Write what was taken; return whether the disk took it."""
        if self._trouble is not None and not now and time.monotonic() < self._retry_at:
            return False
        frames = self._taken
        try:
            segment = self._segment or self._begin_segment()
            written = segment.write(encode_block(frames, compress), len(frames))
        except OSError as e:
            self._refused(e)
            return False
        except Exception:
            # What cannot be packed never will be: it must not hold up what comes after it.
            log.exception("journal_block_dropped", extra={"frames": len(frames)})
            self.counts.dropped += len(frames)
            self._settle()
            return True
        self._accepted()
        counts = self.counts
        counts.durable += len(frames)
        counts.bytes_in += sum(len(frame) for _, _, _, frame in frames)
        counts.blocks += 1
        counts.bytes_written += written
        self._settle()
        if segment.bytes >= self.config.segment_bytes:
            self._end_segment()
        return True

    def _settle(self) -> None:
        with self._lock:
            self._settled += len(self._taken) + self._dropped_behind
            self._dropped_behind = 0
            self._taken = []

    def _refused(self, error: OSError) -> None:
        self.counts.failures += 1
        self._retry_at = time.monotonic() + self.config.retry_s
        if self._segment is not None:
            self._segment.abandon()
            self._segment = None
        if self._trouble is not None:
            return
        self._trouble = f"{self.folder}: {error.strerror or error}"
        with self._lock:
            self._room.notify_all()
        log.error("journal_off", extra={"folder": str(self.folder), "error": str(error)})
        if self._on_trouble is not None:
            self._on_trouble(self._trouble)

    def _accepted(self) -> None:
        if self._trouble is not None:
            self._trouble = None
            log.warning(
                "journal_on", extra={"folder": str(self.folder), "dropped": self.counts.dropped}
            )

    def _answer(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, []
            settled = self._settled
        late: list[tuple[int, Future[None]]] = []
        for target, future in waiting:
            if target > settled and self._trouble is None:
                late.append((target, future))
            elif not future.set_running_or_notify_cancel():
                continue
            elif target <= settled:
                future.set_result(None)
            else:
                future.set_exception(StoreFull(str(self._trouble)))
        if late:
            with self._lock:
                self._waiting.extend(late)
            self._wake.set()

    # -- segments ---------------------------------------------------------------------------------

    def _begin_segment(self) -> "_Segment":
        name = from_us(self._clock()).strftime("%Y-%m-%dT%H-%M-%S.%fZ")
        number = self.counts.segments
        segment = _Segment(self.folder, f"{name}-{os.getpid()}-{number:06d}", self._writer)
        self.counts.segments += 1
        self._segment = segment
        return segment

    def _segment_is_old(self) -> bool:
        segment = self._segment
        return segment is not None and time.monotonic() - segment.began >= self.config.segment_s

    def _end_segment(self) -> None:
        segment, self._segment = self._segment, None
        if segment is None:
            return
        try:
            segment.close()
        except OSError as e:  # its blocks are durable, only the closing mark is missing
            segment.abandon()
            log.warning("journal_close_failed", extra={"error": str(e)})
        self._retire()

    def _retire(self) -> None:
        self.counts.retired += retire(
            self.folder,
            most_bytes=self.config.retention_bytes,
            most_s=self.config.retention_s,
            now_s=self._clock() / 1e6,
        )


class _Segment:
    """One file being written; locked while its writer lives."""

    def __init__(self, folder: Path, name: str, writer: bytes) -> None:
        self._path = folder / f"{name}{OPEN_SUFFIX}"
        self._closed_path = folder / f"{name}{SUFFIX}"
        self.began = time.monotonic()
        self.bytes = 0
        self._blocks = 0
        self._frames = 0
        self._fd = _made_and_locked(self._path)
        try:
            self._append(encode_head(writer))
            sync_folder(folder)
        except OSError:
            os.close(self._fd)
            self._path.unlink(missing_ok=True)
            raise

    def write(self, block: bytes, frames: int) -> int:
        """Append a block and sync it; a block that did not fit leaves nothing behind."""
        self._append(block)
        self._blocks += 1
        self._frames += frames
        return len(block)

    def _append(self, data: bytes) -> None:
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(self._fd, view) :]
            os.fdatasync(self._fd)
        except OSError:
            # Half a block must not stay: its frames are written again elsewhere.
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, self.bytes)
                os.fdatasync(self._fd)
            raise
        self.bytes += len(data)

    def close(self) -> None:
        """Say that all is there, and give the file its final name."""
        self._append(encode_tail(self._blocks, self._frames))
        self._path.rename(self._closed_path)
        sync_folder(self._path.parent)
        os.close(self._fd)

    def abandon(self) -> None:
        """Leave the file as it is: whole blocks without a closing mark."""
        with contextlib.suppress(OSError):
            if self._blocks:
                self._path.rename(self._closed_path)
            else:
                self._path.unlink()
        with contextlib.suppress(OSError):
            os.close(self._fd)


def _made_and_locked(path: Path) -> int:
    """Return a new file, locked; one that was tidied up before it was locked is made anew."""
    while True:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.fstat(descriptor).st_nlink:
                return descriptor
        except OSError:
            os.close(descriptor)
            path.unlink(missing_ok=True)
            raise
        os.close(descriptor)
