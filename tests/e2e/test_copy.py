"""`zvtc copy` as its users know it: whole processes, two stores, and one that is killed.

The source is a lake; what it is copied to is one, or lies on a server.
"""

import asyncio
import os
import shutil
import signal
import time
from pathlib import Path

import psycopg
import pytest
from cli_process import finish, start, zvtc
from copy_world import MINUTES, write
from store_place import on_server, store_at

from zvt_crypto.bootstrap.engine import open_store
from zvt_crypto.core.ranges import ALWAYS
from zvt_crypto.ports.transfer import Transferable
from zvt_crypto.store.timescale.place import parse_place


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("copy") / "source"
    asyncio.run(write(folder))
    return folder


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    """Return a folder with the source in it."""
    shutil.copytree(written, tmp_path / "source")
    return tmp_path


def come_to(place: str) -> int:
    """Return how much has come: segments of a folder, rows on a server."""
    if not on_server():
        return len(list(Path(place).rglob("*.parquet")))
    url, schema = place.partition("?")[0], parse_place(place).schema
    with psycopg.connect(url) as connection:
        try:
            found = connection.execute(f"SELECT sum(rows) FROM {schema}.series".encode())
            return int((found.fetchone() or (0,))[0] or 0)
        except (psycopg.errors.InvalidSchemaName, psycopg.errors.UndefinedTable):
            return 0


async def compare(folder: Path, second: str, *, all_of_it: bool = True) -> int:
    """Check that what the second holds is what the source holds; return how many rows that is."""
    one = await open_store(str(folder / "source"), folder, create=False)
    other = await open_store(second, folder, create=False)
    assert isinstance(one, Transferable)
    assert isinstance(other, Transferable)
    rows = 0
    try:
        for series in await (one if all_of_it else other).keeping():
            held = await other.seal(series, ALWAYS)
            if all_of_it:
                assert held == await one.seal(series, ALWAYS)
                assert (await other.corrections(series)).equals(await one.corrections(series))
            rows += held.rows
        assert list((await other.verify()).faults) == []
    finally:
        await one.close()
        await other.close()
    return rows


def test_a_copy_a_second_one_and_back(folder: Path) -> None:
    # when everything is copied, again, and back into a third
    there, third = store_at(folder / "there"), store_at(folder / "back")
    first = zvtc("copy", "--from", "source", "--to", there, "--json", cwd=folder)
    again = zvtc("copy", "--from", "source", "--to", there, "--json", cwd=folder)
    back = zvtc("copy", "--from", there, "--to", third, "--no-verify", cwd=folder)

    # then the result says what came, progress is silent off a terminal, and digests are the same
    assert (first.code, first.err) == (0, "")
    report = first.json
    assert (report["status"], report["from"]) == ("complete", "source")
    assert report["to"] == (parse_place(there).shown if on_server() else there)
    assert report["verified"]["status"] == "verified"
    rows = [(one["symbol"], one["rows"], one["rows_moved"]) for one in report["series"]]
    assert rows == [
        ("COIN0-USDT", MINUTES + 90, MINUTES + 90),
        *((f"COIN{n}-USDT", MINUTES, MINUTES) for n in (1, 2, 3)),
        ("ETH-USDT-PERP", 300_000, 300_000),
    ]
    assert report["series"][0]["corrections"] == 10
    assert again.code == 0
    assert [one["rows_moved"] for one in again.json["series"]] == [0] * 5
    digests = [[one["digest"] for one in ended.json["series"]] for ended in (first, again)]
    assert digests[0] == digests[1]
    assert back.code == 0, back.err
    assert "ETH-USDT-PERP trades  complete  300,000 rows" in back.out
    assert "recomputed" not in back.out
    asyncio.run(compare(folder, there))
    asyncio.run(compare(folder, third))


def test_a_copy_that_is_killed_goes_on_where_it_was(folder: Path) -> None:
    # given a copy that is killed as soon as something has come, twice
    there = store_at(folder / "there")
    command = ("copy", "--from", "source", "--to", there, "--json")
    kills, before = 0, -1
    for _ in range(2):
        process = start(*command, cwd=folder)
        count = come_to(there)
        while process.poll() is None and come_to(there) == count:
            time.sleep(0.005)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        finish(process)
        # then what is there is whole, and never less than before
        rows = asyncio.run(compare(folder, there, all_of_it=False))
        assert rows >= before
        before = rows
    assert kills > 0

    # when it is run to its end
    ended = zvtc(*command, cwd=folder)

    # then only the rest was moved, and all is there
    total = 4 * MINUTES + 90 + 300_000
    moved = sum(one["rows_moved"] for one in ended.json["series"])
    assert (ended.code, ended.json["status"]) == (0, "complete")
    assert moved <= total - before
    assert asyncio.run(compare(folder, there)) == total


def test_sigterm_ends_it_in_good_order(folder: Path) -> None:
    there = store_at(folder / "there")
    process = start("copy", "--from", "source", "--to", there, cwd=folder)
    while process.poll() is None and not come_to(there):
        time.sleep(0.005)
    process.send_signal(signal.SIGTERM)
    ended = finish(process)

    assert ended.code == 130
    assert ended.err == "stopped; what was done is kept, the same command resumes\n"
