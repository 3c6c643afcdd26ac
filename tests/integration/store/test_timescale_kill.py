"""Clients and the server are killed while rows are written: what was acknowledged is there."""

import asyncio
import contextlib
import os
import random
import sys
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import pytest
from lake_writer import M1, SERIES, T0, candles
from postgres_server import PostgresServer, postgres_server

from zvt_crypto.core.digest import digest_table
from zvt_crypto.core.ledger import Verdict
from zvt_crypto.core.ranges import Range
from zvt_crypto.store.timescale import TimescaleStore

_SUPPORT = Path(__file__).parents[2] / "support"
_KILLS = int(os.environ.get("ZVTC_TEST_KILLS", "3"))
# Large commits go into files and small ones into tables; the campaign tries tables alone, too.
_PLACES = ["files", "tables"] if _KILLS > 3 else ["files"]
_WRITERS = 2
_STRETCH = 400_000 * M1
_WITHIN_S = 60.0


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    with postgres_server() as one:
        yield one


@pytest.fixture(params=_PLACES)
def url(request: pytest.FixtureRequest, server: PostgresServer, tmp_path: Path) -> str:
    if request.param == "files":
        return f"{server.url()}?segments={tmp_path}"
    return server.url()


class Writer:
    """A process that writes without end, and what it was told is durable."""

    def __init__(self, url: str, number: int) -> None:
        self._url = url
        self.number = number
        self.start = T0 + number * _STRETCH
        self.acknowledged = self.start
        self.news = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._listening: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(_SUPPORT / "lake_writer.py"),
            self._url,
            "endless",
            str(self.number),
            stdout=asyncio.subprocess.PIPE,
        )
        self._listening = asyncio.create_task(self._listen(self._process))

    async def wrote_again(self) -> None:
        """Wait until something more is durable than before."""
        self.news.clear()
        await asyncio.wait_for(self.news.wait(), _WITHIN_S)

    async def end(self) -> None:
        assert self._process is not None
        assert self._listening is not None
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
        await self._listening

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            # What is cut off by a kill was not acknowledged.
            if line.endswith(b"\n"):
                self.acknowledged = max(self.acknowledged, int(line))
                self.news.set()


@contextlib.asynccontextmanager
async def writing(url: str) -> AsyncGenerator[list[Writer]]:
    writers = [Writer(url, number) for number in range(_WRITERS)]
    try:
        for writer in writers:
            await writer.begin()
        for writer in writers:
            await writer.wrote_again()
        yield writers
    finally:
        for writer in writers:
            await writer.end()


async def check(url: str, writers: list[Writer]) -> int:
    """All that was acknowledged is there, nothing is there twice, ledger and rows agree."""
    store = await TimescaleStore.open(url)
    try:
        for writer in writers:
            rows = (writer.acknowledged - writer.start) // M1
            assert rows
            asked = Range(writer.start, writer.acknowledged)
            found = await store.read(SERIES, asked)
            assert digest_table(found) == digest_table(candles(writer.start, rows, 1.0))
            assert found.num_rows == rows
            ledger = await store.coverage(SERIES, asked)
            assert {entry.verdict for entry in ledger} == {Verdict.OBSERVED}
            assert sum(entry.rows for entry in ledger) == rows
        proof = await store.verify()
        assert list(proof.faults) == []
        return proof.rows
    finally:
        await store.close()


async def test_a_client_that_is_killed_leaves_whole_commits(url: str) -> None:
    # given two processes that write one series each, and one that both fight for
    chance = random.Random(11)
    async with writing(url) as writers:
        # when they are killed at any moment, again and again, and go on
        for _ in range(_KILLS):
            for writer in writers:
                await asyncio.sleep(chance.uniform(0, 0.6))
                await writer.end()
                await writer.begin()
            for writer in writers:
                await writer.wrote_again()
    # then
    assert await check(url, writers)


async def test_a_server_that_is_killed_loses_nothing_and_is_found_again(
    server: PostgresServer, url: str
) -> None:
    # given two processes that write
    chance = random.Random(12)
    async with writing(url) as writers:
        for _ in range(_KILLS):
            # when the whole server is killed at any moment, and started again
            await asyncio.sleep(chance.uniform(0.1, 1.0))
            await asyncio.to_thread(server.kill)
            await asyncio.sleep(chance.uniform(0, 1.0))
            await asyncio.to_thread(server.start)
            # then the same processes go on by themselves
            for writer in writers:
                await writer.wrote_again()
    assert await check(url, writers)
