"""Where segments live: a folder, or a prefix of an object store.

A file is whole or not there: locally it is written under another name, synced, and renamed;
an object store shows an object only once it is complete.
"""

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.fs

from zvt_crypto.core.errors import BadStore, StoreFull

_PARTIAL: Final = ".partial"
_WHOLE_BYTES: Final = 16 * 1024 * 1024
_NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Storage(Protocol):
    """Immutable files by relative path."""

    @property
    def url(self) -> str:
        """Where it is, without secrets."""
        ...

    def put(self, path: str, body: memoryview) -> None:
        """Store a file durably.

        Raises:
            StoreFull: no space; nothing is left behind.
        """
        ...

    def source(self, path: str) -> Any:
        """Return the file in a form Parquet readers take.

        Raises:
            FileNotFoundError: it is not there.
        """
        ...

    def remove(self, path: str) -> None:
        """Remove a file if it is there."""
        ...

    def listing(self) -> Iterator[str]:
        """Yield the path of every file, half-written ones too."""
        ...


class Folder:
    """Segments in a local folder."""

    def __init__(self, root: Path, crash_point: Callable[[str], None] = lambda _: None) -> None:
        """Use `root`; `crash_point` is told each step on the way to a durable file."""
        self._root = root
        self._crash_point = crash_point

    @property
    def url(self) -> str:
        """Return the folder."""
        return str(self._root)

    def put(self, path: str, body: memoryview) -> None:
        """Write, sync, rename, sync the folder: in this order a crash loses nothing."""
        final = self._root / path
        partial = final.with_name(final.name + _PARTIAL)
        try:
            self._ensure(final.parent)
            with partial.open("wb") as file:
                file.write(body)
                file.flush()
                self._crash_point("after_write")
                os.fsync(file.fileno())
            self._crash_point("after_fsync")
            partial.rename(final)
            _sync_folder(final.parent)
            self._crash_point("after_rename")
        except OSError as e:
            for left in (partial, final):
                with contextlib.suppress(OSError):
                    left.unlink(missing_ok=True)
            if e.errno in _NO_SPACE:
                raise StoreFull(self.url) from e
            raise

    def source(self, path: str) -> Any:
        """Return the file mapped into memory."""
        return pa.memory_map(str(self._root / path))

    def remove(self, path: str) -> None:
        """Remove a file if it is there."""
        (self._root / path).unlink(missing_ok=True)

    def listing(self) -> Iterator[str]:
        """Yield the path of every file, half-written ones too."""
        for folder, _, names in os.walk(self._root):
            base = Path(folder).relative_to(self._root)
            for name in names:
                yield (base / name).as_posix()

    def _ensure(self, folder: Path) -> None:
        """Make a folder and its parents durable: a rename into a lost folder is lost too."""
        missing: list[Path] = []
        while not folder.exists():
            missing.append(folder)
            folder = folder.parent
        for one in reversed(missing):
            one.mkdir(exist_ok=True)
            _sync_folder(one.parent)


class Bucket:
    """Segments under a prefix of an S3 bucket; endpoint and keys come from the environment."""

    def __init__(self, url: str, crash_point: Callable[[str], None] = lambda _: None) -> None:
        """Use `s3://bucket/prefix`."""
        parts = urlsplit(url)
        if parts.scheme != "s3" or not parts.netloc:
            raise BadStore(
                f"{url!r} is no place for segments", remedy="Write a folder or s3://bucket/prefix"
            )
        self._base = f"{parts.netloc}{parts.path}".rstrip("/")
        self._fs = _s3()
        self._crash_point = crash_point

    @property
    def url(self) -> str:
        """Return the bucket and prefix."""
        return f"s3://{self._base}"

    def put(self, path: str, body: memoryview) -> None:
        """Upload; the object appears when it is complete, and is durable then."""
        self._crash_point("after_write")
        with self._fs.open_output_stream(f"{self._base}/{path}") as file:
            file.write(body)
        self._crash_point("after_rename")

    def source(self, path: str) -> Any:
        """Return the object: small ones whole, in one request, large ones read in ranges."""
        file = self._fs.open_input_file(f"{self._base}/{path}")
        if file.size() > _WHOLE_BYTES:
            return file
        with file:
            return pa.BufferReader(file.read_buffer())

    def remove(self, path: str) -> None:
        """Remove an object if it is there."""
        with contextlib.suppress(FileNotFoundError):
            self._fs.delete_file(f"{self._base}/{path}")

    def listing(self) -> Iterator[str]:
        """Yield the path of every object."""
        chosen = pyarrow.fs.FileSelector(self._base, recursive=True, allow_not_found=True)
        for info in self._fs.get_file_info(chosen):
            if info.is_file:
                yield info.path.removeprefix(f"{self._base}/")


def open_storage(
    root: Path, url: str | None, crash_point: Callable[[str], None] = lambda _: None
) -> Storage:
    """Return the storage at `url`: a bucket, a folder, or by default `root`."""
    if url is None:
        return Folder(root, crash_point)
    if "://" in url:
        return Bucket(url, crash_point)
    return Folder(Path(url), crash_point)


def _s3() -> pyarrow.fs.S3FileSystem:
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    if not endpoint:
        return pyarrow.fs.S3FileSystem(region=region)
    parts = urlsplit(endpoint)
    return pyarrow.fs.S3FileSystem(
        region=region, endpoint_override=parts.netloc, scheme=parts.scheme or "https"
    )


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
