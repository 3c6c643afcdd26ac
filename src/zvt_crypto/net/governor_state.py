"""Where a governor remembers: in this process, or in a file that processes share.

What is kept is a row of float64 cells. The governor changes it in one go; an engine makes sure
that nobody else does so at the same time.
"""

import asyncio
import fcntl
import os
import time
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol, TypeAlias, TypeVar

from isal import isal_zlib

T = TypeVar("T")

Record: TypeAlias = "array[float]"
"""The cells, empty if nothing was ever stored; a change may resize them."""

_MAGIC: Final = b"ZVTCGOV1"
_HEAD_BYTES: Final = len(_MAGIC) + 8  # and the checksum of the cells
_MAX_BYTES: Final = 1 << 20
_SPINS: Final = 20  # about as long as another process holds the lock
_CONTENDED_S: Final = 0.0005
_POST_PATIENCE_S: Final = 0.1


class GovernorState(Protocol):
    """Holds one governor's cells.

    A `change` gets the cells and whether they are intact; when they are not, the cells are empty
    and what was booked is unknown. It may be called more than once (an engine that compares and
    swaps), so it changes nothing but the cells.
    """

    async def update(self, change: Callable[[Record, bool], T]) -> T:
        """Apply `change` alone and return what it returns; waits for others without blocking."""
        ...

    def post(self, change: Callable[[Record, bool], None]) -> None:
        """Apply `change` as soon as possible, before any later `update` of this object."""
        ...


class MemoryState:
    """The cells of a governor that no other process shares."""

    def __init__(self) -> None:
        self._cells: Record = array("d")

    async def update(self, change: Callable[[Record, bool], T]) -> T:
        """See `GovernorState`."""
        return change(self._cells, True)  # noqa: FBT003

    def post(self, change: Callable[[Record, bool], None]) -> None:
        """See `GovernorState`."""
        change(self._cells, True)  # noqa: FBT003


class FileState:
    """Cells in a file, under `flock`, for the processes of one user on one machine.

    The kernel drops the lock of a process that dies, and a checksum shows if it died while
    writing. The descriptor is closed on exec, and opened anew after a fork: a child that used its
    parent's would hold the parent's lock. The lock is never held across an await. The file must
    be on a local disk, and stays behind.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = -1
        self._owner = 0
        self._backlog: list[Callable[[Record, bool], None]] = []

    async def update(self, change: Callable[[Record, bool], T]) -> T:
        """See `GovernorState`."""
        while not self._try_lock():  # noqa: ASYNC110 - the kernel tells nobody of a free lock
            await asyncio.sleep(_CONTENDED_S)
        return self._locked(change)

    def post(self, change: Callable[[Record, bool], None]) -> None:
        """See `GovernorState`; waits 0.1 s for the lock, then leaves it to the next `update`."""
        self._backlog.append(change)
        give_up = time.monotonic() + _POST_PATIENCE_S
        while not self._try_lock():
            if time.monotonic() > give_up:
                return
            time.sleep(_CONTENDED_S)
        self._locked(_nothing)

    def close(self) -> None:
        """Close the file; a later call opens it again."""
        if self._file >= 0:
            os.close(self._file)
        self._file = -1

    def _try_lock(self) -> bool:
        for _ in range(_SPINS):
            file = self._opened()
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            if os.fstat(file).st_nlink:
                return True
            self.close()  # somebody swept the file away: others will lock the new one
        return False

    def _opened(self) -> int:
        if self._file < 0 or self._owner != os.getpid():
            if self._file >= 0:
                os.close(self._file)  # a fork's copy; the parent's lock is not touched
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._owner = os.getpid()
        return self._file

    def _locked(self, change: Callable[[Record, bool], T]) -> T:
        try:
            stored = os.pread(self._file, _MAX_BYTES, 0)
            cells, intact = _unpack(stored)
            backlog, self._backlog = self._backlog, []
            for waiting in backlog:
                waiting(cells, intact)
                intact = intact or len(cells) > 0
            result = change(cells, intact)
            packed = _pack(cells)
            if packed != stored:
                os.pwrite(self._file, packed, 0)
                if len(packed) < len(stored):
                    os.ftruncate(self._file, len(packed))
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)
        return result


def _nothing(cells: Record, intact: bool) -> None:  # noqa: FBT001
    del cells, intact


def _pack(cells: Record) -> bytes:
    data = cells.tobytes()
    return b"".join((_MAGIC, isal_zlib.crc32(data).to_bytes(8, "little"), data))


def _unpack(stored: bytes) -> tuple[Record, bool]:
    cells: Record = array("d")
    if not stored:
        return cells, True
    data = stored[_HEAD_BYTES:]
    head = _MAGIC + isal_zlib.crc32(data).to_bytes(8, "little")
    if stored[:_HEAD_BYTES] != head or len(data) % cells.itemsize:
        return cells, False
    cells.frombytes(data)
    return cells, True
