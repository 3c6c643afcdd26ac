"""Jobs, some at a time."""

import asyncio
from collections.abc import Coroutine, Iterable

from zvt_crypto.core.errors import CryptoError


async def run_bounded(jobs: Iterable[Coroutine[None, None, None]], limit: int) -> None:
    """Run jobs in order, `limit` at a time; after the first error no further job starts.

    Jobs under way are let end, so that what they fetched is kept; then the error is raised.
    """
    queue = iter(jobs)
    errors: list[BaseException] = []

    async def worker() -> None:
        for job in queue:
            if errors:
                job.close()
                continue
            try:
                await job
            except CryptoError as e:
                errors.append(e)

    async with asyncio.TaskGroup() as workers:
        for _ in range(limit):
            workers.create_task(worker())
    if errors:
        raise errors[0]
