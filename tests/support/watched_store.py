"""A store in front of another: it tells of commits, and fails when it is told to."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, cast

from zvt_crypto.ports.store import Batch, Committed, Store


class _Watched:
    def __init__(
        self,
        store: Store,
        *,
        before: Callable[[], None] | None = None,
        after: Callable[[Sequence[Batch]], None] | None = None,
    ) -> None:
        self._store = store
        self._before = before
        self._after = after

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def commit(self, batches: Sequence[Batch]) -> list[Committed]:
        await asyncio.sleep(0)
        if self._before is not None:
            self._before()
        done = await self._store.commit(batches)
        if self._after is not None:
            self._after(batches)
        return done


def watched(
    store: Store,
    *,
    before: Callable[[], None] | None = None,
    after: Callable[[Sequence[Batch]], None] | None = None,
) -> Store:
    """Return a store in front of `store`.

    Args:
        store: who does the work.
        before: called at each commit; what it raises is the commit's answer.
        after: called with the batches once they are durable.
    """
    return cast("Store", _Watched(store, before=before, after=after))
