"""Which segments of a folder stay, and whose they are."""

import contextlib
import fcntl
import os
from collections.abc import Iterable
from pathlib import Path

from zvt_crypto.services.journal.segment import OPEN_SUFFIX, SUFFIX


def segment_paths(folder: Path) -> list[Path]:
    """Return all segments of a folder, open ones too, by name and so by time."""
    return sorted(
        (p for p in folder.iterdir() if p.name.endswith((SUFFIX, OPEN_SUFFIX))),
        key=lambda p: p.name,
    )


def adopt_orphans(folder: Path) -> int:
    """Give segments of dead writers their final name, so that they age; return how many.

    A writer locks its file while it lives, so the lock tells, whatever became of its process id.
    A file without a byte is removed: its writer died before it said anything, or has yet to lock
    it, sees then that it is gone and makes another.
    """
    count = 0
    for path in folder.glob(f"*{OPEN_SUFFIX}"):
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                count += _adopt(path, os.fstat(descriptor))
            finally:
                os.close(descriptor)
    return count


def _adopt(path: Path, locked: os.stat_result) -> bool:
    # Another may have tidied up between opening and locking, and a writer have made it anew.
    if not os.path.samestat(locked, path.stat()):
        return False
    if not locked.st_size:
        path.unlink()
        return False
    path.rename(path.with_name(path.name.removesuffix(OPEN_SUFFIX) + SUFFIX))
    return True


def retire(folder: Path, *, most_bytes: int | None, most_s: float | None, now_s: float) -> int:
    """Delete the oldest closed segments beyond a bound; return how many.

    Open segments count towards the bytes and are never deleted. Other processes may do the same
    at the same time.
    """
    sizes: list[tuple[Path, int, float]] = []
    total = 0
    for path in segment_paths(folder):
        with contextlib.suppress(FileNotFoundError):
            stat = path.stat()
            total += stat.st_size
            if path.name.endswith(SUFFIX):
                sizes.append((path, stat.st_size, stat.st_mtime))
    doomed: list[Path] = []
    for path, size, changed_s in sizes:
        is_old = most_s is not None and now_s - changed_s > most_s
        is_over = most_bytes is not None and total > most_bytes
        if is_old or is_over:
            doomed.append(path)
            total -= size
    return _unlink(doomed)


def _unlink(paths: Iterable[Path]) -> int:
    count = 0
    for path in paths:
        with contextlib.suppress(OSError):
            path.unlink()
            count += 1
    return count


def sync_folder(folder: Path) -> None:
    """Make new and renamed files of a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
