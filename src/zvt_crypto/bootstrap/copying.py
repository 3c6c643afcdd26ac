"""Two stores at once, to copy from one to the other."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from zvt_crypto.bootstrap.engine import open_store
from zvt_crypto.core.errors import UsageError
from zvt_crypto.ports.store import Store
from zvt_crypto.ports.transfer import Transferable, TransferStore

_MEMORY = "memory://"


@asynccontextmanager
async def store_to_copy_from(url: str, state_dir: Path) -> AsyncGenerator[TransferStore]:
    """Open a store that is there already.

    Raises:
        BadStore: it is not there, or no store.
        UsageError: it cannot be copied from.
    """
    async with _opened(url, state_dir, create=False) as store:
        yield store


@asynccontextmanager
async def store_to_copy_to(
    url: str, state_dir: Path, source: Store
) -> AsyncGenerator[TransferStore]:
    """Open a store, made if need be, that is not `source`.

    Raises:
        BadStore: it cannot be opened or made.
        UsageError: it is the source itself, or cannot be copied to.
    """
    async with _opened(url, state_dir, create=True) as store:
        if await asyncio.to_thread(_is_same, store.url, source.url):
            raise UsageError(f"{store.url} cannot be copied to itself", remedy="Give two stores")
        yield store


@asynccontextmanager
async def _opened(url: str, state_dir: Path, *, create: bool) -> AsyncGenerator[TransferStore]:
    if url == _MEMORY:
        raise UsageError(
            "a store in memory begins and ends with the command",
            remedy="Give a folder or the URL of a server",
        )
    store: Store = await open_store(url, state_dir, create=create)
    try:
        if not isinstance(store, Transferable):
            raise UsageError(
                f"{store.url} can neither be copied from nor to",
                remedy="Give a folder, s3://bucket/prefix or postgresql://",
            )
        yield store
    finally:
        await store.close()


def _is_same(first: str, second: str) -> bool:
    if first == second:
        return True
    folders = [url.partition("?")[0] for url in (first, second)]
    if any("://" in folder for folder in folders):
        # A schema is the same store wherever its files are said to be.
        schemas = [dict(parse_qsl(urlsplit(url).query)).get("schema") for url in (first, second)]
        return folders[0] == folders[1] and schemas[0] == schemas[1]
    return Path(folders[0]).resolve() == Path(folders[1]).resolve()
