"""Choose a store engine from its URL."""

import asyncio
from pathlib import Path
from types import ModuleType
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from zvt_crypto.core.errors import BadStore, MissingExtra, UsageError
from zvt_crypto.ports.store import Store
from zvt_crypto.settings import mask_url
from zvt_crypto.store.lake.lake import LakeStore
from zvt_crypto.store.memory.memory import MemoryStore

_SERVER_SCHEMES: Final = ("postgresql", "postgres", "timescale")
_KNOWN: Final = "Give a folder, s3://bucket/prefix, postgresql://host/database or memory://"


async def open_store(url: str, state_dir: Path, *, create: bool = True) -> Store:
    """Open the store at `url`: a folder, `s3://bucket/prefix`, `postgresql://...` or `memory://`.

    A folder may keep its segments elsewhere: `./data?segments=s3://bucket/prefix`. A bare
    `s3://` URL keeps its catalog under `state_dir`, because SQLite needs a disk.

    Raises:
        BadStore: the place is not ours, cannot be written, or the scheme is unknown.
        MissingExtra: the engine's libraries are not installed.
        StoreAway: the server does not answer.
    """
    if url == "memory://":
        return MemoryStore()
    scheme = urlsplit(url).scheme
    if scheme == "s3":
        name = "".join(c if c.isalnum() else "-" for c in url.removeprefix("s3://"))
        return await LakeStore.open(state_dir / "catalogs" / name, segments_url=url, create=create)
    if scheme in _SERVER_SCHEMES:
        return await _server(url, create=create)
    if scheme and len(scheme) > 1 and "://" in url and scheme != "file":
        raise BadStore(f"unknown kind of store {scheme!r}", remedy=_KNOWN)
    folder, query = _folder_of(url)
    segments = parse_qs(query).get("segments", [None])[0]
    return await LakeStore.open(
        await asyncio.to_thread(Path(folder).expanduser), segments_url=segments, create=create
    )


async def _server(url: str, *, create: bool) -> Store:
    try:
        # An extra: not everybody has a server.
        from zvt_crypto.store.timescale import TimescaleStore  # noqa: PLC0415
    except ModuleNotFoundError as e:
        raise MissingExtra("A store in PostgreSQL", "postgres") from e
    return await TimescaleStore.open(_of_server(url), create=create)


def _of_server(url: str) -> str:
    return f"postgresql://{url.partition('://')[2]}"


def migrate_store(url: str, to: str = "head") -> tuple[str | None, str | None]:
    """Bring the schema of a server store to a revision; return what it was and is.

    Raises:
        UsageError: the store has no schema.
        MissingExtra: the engine's libraries are not installed.
        BadStore, StoreAway: as the server says.
    """
    place, schema = _migrated(url)
    return schema.migrate(place, to)


def migration_script(url: str, to: str = "head") -> str:
    """Return the SQL that `migrate_store` would run there now; raises what that does."""
    place, schema = _migrated(url)
    return schema.script(place, to)


def _migrated(url: str) -> tuple[Any, ModuleType]:
    """Return the place of a server store, and the module that migrates it."""
    if urlsplit(url).scheme not in _SERVER_SCHEMES:
        raise UsageError(
            f"the store {mask_url(url)} has no schema to migrate: a lake brings itself up to date",
            remedy="Name a store in PostgreSQL with --store or ZVTC_STORE",
        )
    try:
        from zvt_crypto.store.timescale import schema  # noqa: PLC0415
        from zvt_crypto.store.timescale.place import parse_place  # noqa: PLC0415
    except ModuleNotFoundError as e:
        raise MissingExtra("A store in PostgreSQL", "postgres") from e
    return parse_place(_of_server(url)), schema


def is_new(url: str) -> bool:
    """Return whether `url` names a folder or schema that is not there yet: opening would make it.

    Raises:
        MissingExtra: the engine's libraries are not installed.
        BadStore, StoreAway: as the server says.
    """
    if urlsplit(url).scheme in _SERVER_SCHEMES:
        return _is_new_schema(url)
    if "://" in url and not url.startswith("file://"):
        return False
    return not Path(_folder_of(url)[0]).expanduser().exists()


def _is_new_schema(url: str) -> bool:
    place, schema = _migrated(url)
    return schema.current(place) is None


def _folder_of(url: str) -> tuple[str, str]:
    folder, _, query = url.removeprefix("file://").partition("?")
    return folder, query
