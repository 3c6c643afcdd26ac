"""Keeping house: what no reader can need any more is removed, also after crashes."""

import contextlib
import fcntl
import itertools
import logging
import os
import re
import secrets
import threading
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Final

from zvt_crypto.core.errors import CryptoError
from zvt_crypto.store.lake.catalog import Catalog
from zvt_crypto.store.segments.storage import Storage

_log = logging.getLogger(__name__)

# label.<writer>-<number>.parquet, with a tail while it is being written
_NAME: Final = re.compile(r"\.([0-9a-f]{12})-\d+\.parquet(\.\w+)?$")


class WriterMark:
    """Proof that this process lives: a locked file, which the system unlocks when it dies.

    Segments bear the mark in their names. So a file that no manifest names is removed exactly
    when its writer is dead, and never while another process is about to name it.
    """

    def __init__(self, folder: Path) -> None:
        """Keep marks in `folder`."""
        self._folder = folder
        self._guard = threading.Lock()
        self._numbers = itertools.count()
        self._token: str | None = None
        self._handle = -1

    def unique(self) -> str:
        """Return a name part that no other segment has."""
        with self._guard:
            while self._token is None:
                self._try_claim()
            return f"{self._token}-{next(self._numbers)}"

    def is_alive(self, token: str) -> bool:
        """Return whether the writer of that mark still runs."""
        return token == self._token or not self._try_lock(token, then_remove=False)

    def dead(self) -> list[str]:
        """Return the marks of writers that died; without any, there are no orphans."""
        tokens = [path.stem for path in self._folder.glob("*.lock")]
        return [token for token in tokens if not self.is_alive(token)]

    def forget(self, tokens: Iterable[str]) -> None:
        """Remove the marks of dead writers, once their files are gone."""
        for token in tokens:
            self._try_lock(token, then_remove=True)

    def _try_lock(self, token: str, *, then_remove: bool) -> bool:
        """Return whether nobody holds the mark."""
        try:
            handle = os.open(self._path(token), os.O_RDWR)
        except FileNotFoundError:
            return True
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        else:
            if then_remove:
                self._path(token).unlink(missing_ok=True)
            return True
        finally:
            os.close(handle)

    def close(self) -> None:
        """Give the mark up."""
        with self._guard:
            if self._token is not None:
                self._path(self._token).unlink(missing_ok=True)
                os.close(self._handle)
                self._token = None

    def _path(self, token: str) -> Path:
        return self._folder / f"{token}.lock"

    def _try_claim(self) -> None:
        self._folder.mkdir(exist_ok=True)
        token = secrets.token_hex(6)
        handle = os.open(self._path(token), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        fcntl.flock(handle, fcntl.LOCK_EX)
        # Between making and locking it, a sweep may have taken it for a dead one's.
        if os.fstat(handle).st_nlink:
            self._token, self._handle = token, handle
        else:
            os.close(handle)


def sweep_orphans(catalog: Catalog, storage: Storage, writers: WriterMark) -> int:
    """Remove files of dead writers that no manifest names; return how many."""
    suspects: list[str] = []
    alive: dict[str, bool] = {}
    for path in storage.listing():
        name = _NAME.search(path)
        if name is None:
            continue
        token = name.group(1)
        if token not in alive:
            alive[token] = writers.is_alive(token)
        if not alive[token]:
            suspects.append(path)
    if not suspects:
        return 0
    # Only now: whatever a writer that is dead by now has committed is to be seen here.
    with catalog.snapshot() as connection:
        named = {path for (path,) in connection.execute("SELECT path FROM segments")}
    orphans = [path for path in suspects if path not in named]
    for path in orphans:
        storage.remove(path)
    if orphans:
        _log.info("orphans_removed", extra={"files": len(orphans)})
    return len(orphans)


def tidy(catalog: Catalog, storage: Storage, writers: WriterMark, older_than_us: int) -> int:
    """Do what `vacuum` does, but look through the files only if a writer has died."""
    freed = remove_retired(catalog, storage, older_than_us)
    dead = writers.dead()
    if dead:
        sweep_orphans(catalog, storage, writers)
        writers.forget(dead)
    return freed


def vacuum(catalog: Catalog, storage: Storage, writers: WriterMark, older_than_us: int) -> int:
    """Remove segments retired before `older_than_us`, and orphans; return bytes freed."""
    freed = remove_retired(catalog, storage, older_than_us)
    dead = writers.dead()
    sweep_orphans(catalog, storage, writers)
    writers.forget(dead)
    return freed


def remove_retired(catalog: Catalog, storage: Storage, older_than_us: int) -> int:
    """Remove segments retired before `older_than_us`; return bytes freed."""
    with catalog.snapshot() as connection:
        retired = connection.execute(
            "SELECT id, path, bytes FROM segments WHERE retired_us < ?", (older_than_us,)
        ).fetchall()
    # Files first: a line without its file is found again next time, a file without its line is
    # an orphan of a writer that lives.
    for _, path, _ in retired:
        storage.remove(path)
    if retired:
        with catalog.write() as transaction:
            transaction.connection.executemany(
                "DELETE FROM segments WHERE id = ?", [(key,) for key, _, _ in retired]
            )
    return sum(size for _, _, size in retired)


@contextlib.contextmanager
def in_background(what: str) -> Generator[None]:
    """Log failures of work nobody waits for: it is done again next time."""
    try:
        yield
    except (CryptoError, OSError) as e:
        _log.warning("store_upkeep_failed", extra={"what": what, "detail": str(e)})
