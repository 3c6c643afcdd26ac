"""What goes wrong with a server is told in one clear line, and leaves nothing half-written."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from cut_line import CutLine, cut_line
from lake_writer import M1, SERIES, T0, candles
from postgres_server import PASSWORD, PostgresServer, postgres_server
from psycopg import sql

from zvt_crypto.core.errors import BadStore, CryptoError, StoreAway, StoreFull
from zvt_crypto.core.ledger import Source, Verdict
from zvt_crypto.core.ranges import Range
from zvt_crypto.ports.store import Batch, Finding
from zvt_crypto.store.timescale import TimescaleStore
from zvt_crypto.store.timescale.place import parse_place
from zvt_crypto.store.timescale.schema import HEAD, migrate

ALL = Range(0, 1 << 60)


def rows(count: int, start: int = 0, price: float = 5.0) -> Batch:
    found = Finding(T0 + start * M1, T0 + (start + count) * M1, Verdict.OBSERVED)
    table = candles(T0 + start * M1, count, price)
    return Batch(series=SERIES, table=table, findings=[found], source=Source.REST)


async def refusal(url: str, *, create: bool = True) -> CryptoError:
    with pytest.raises(CryptoError) as raised:
        await TimescaleStore.open(url, create=create, patience_s=0.5)
    said = str(raised.value)
    assert "\n" not in said
    assert PASSWORD not in said
    assert "wrong-horse" not in said
    return raised.value


async def test_a_wrong_password_is_told(postgres: PostgresServer) -> None:
    error = await refusal(postgres.url(password="wrong-horse"))
    assert isinstance(error, BadStore)
    assert "refuses the user or the password" in str(error)


async def test_a_database_that_is_not_there_is_told(postgres: PostgresServer) -> None:
    error = await refusal(postgres.url("nobody-made-me"))
    assert isinstance(error, BadStore)
    assert 'database "nobody-made-me" does not exist' in str(error)
    assert "createdb" in error.remedy


async def test_a_server_that_is_not_there_is_told() -> None:
    error = await refusal("postgresql://zvtc:wrong-horse@127.0.0.1:9/zvtc")
    assert isinstance(error, StoreAway)
    assert "refused" in str(error)


async def test_a_store_that_is_not_there_is_not_made_by_a_reader(
    postgres: PostgresServer, postgres_url: Callable[[], str]
) -> None:
    url = postgres_url()
    error = await refusal(url, create=False)
    assert "there is no store at" in str(error)
    with psycopg.connect(postgres.url()) as connection:
        found = connection.execute(
            "SELECT count(*) FROM pg_namespace WHERE nspname = %s", (parse_place(url).schema,)
        ).fetchone()
    assert found == (0,)


async def test_an_old_schema_is_told_and_brought_up_to_date(
    postgres_url: Callable[[], str],
) -> None:
    # given a store of an earlier version
    url = postgres_url()
    migrate(parse_place(url), "0002")

    # when it is opened
    error = await refusal(url)

    # then it is refused with what to do, and works once that is done
    assert f"has schema 0002, older than {HEAD}" in str(error)
    assert "zvtc migrate" in error.remedy
    migrate(parse_place(url))
    store = await TimescaleStore.open(url)
    await store.commit([rows(10)])
    await store.close()


async def test_a_newer_schema_is_told(
    postgres: PostgresServer, postgres_url: Callable[[], str]
) -> None:
    url = postgres_url()
    migrate(parse_place(url))
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        table = sql.Identifier(parse_place(url).schema, "alembic_version")
        connection.execute(sql.SQL("UPDATE {} SET version_num = '9999'").format(table))
    error = await refusal(url)
    assert "newer than" in str(error)
    assert "pip install --upgrade" in error.remedy


@pytest.fixture
def poor(postgres: PostgresServer) -> Iterator[str]:
    """Return a URL of a user who may do nothing but log in."""
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS poor")
        connection.execute(f"CREATE ROLE poor LOGIN PASSWORD '{PASSWORD}'".encode())
    yield postgres.url(user="poor")
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute("DROP OWNED BY poor")
        connection.execute("DROP ROLE poor")


async def test_a_user_who_may_not_make_a_schema_is_told(poor: str) -> None:
    error = await refusal(f"{poor}?schema=not_allowed")
    assert isinstance(error, BadStore)
    assert "permission denied" in str(error)
    assert "Grant it CREATE" in error.remedy


async def test_a_user_who_may_only_read_reads_and_is_told_when_writing(
    postgres: PostgresServer, postgres_url: Callable[[], str], poor: str
) -> None:
    # given a store, and a user who may read it
    url = postgres_url()
    schema = parse_place(url).schema
    owner = await TimescaleStore.open(url)
    await owner.commit([rows(10)])
    await owner.close()
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        for grant in ("USAGE ON SCHEMA {}", "SELECT ON ALL TABLES IN SCHEMA {}"):
            text = sql.SQL("GRANT " + grant + " TO poor").format(sql.Identifier(schema))
            connection.execute(text)
    store = await TimescaleStore.open(f"{poor}?schema={schema}", patience_s=0.5)
    try:
        # when it reads and writes
        assert (await store.read(SERIES, ALL)).num_rows == 10
        with pytest.raises(BadStore, match="lacks a right: permission denied for table series"):
            await store.commit([rows(10, start=100)])
        # then nothing was changed
        assert (await store.read(SERIES, ALL)).num_rows == 10
    finally:
        await store.close()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://host:port/db", "its port is no number"),
        ("postgresql://host/db?schema=Bad-Name", "'Bad-Name' cannot be the schema"),
        ("postgresql://host/db?timescaledb=maybe", "timescaledb=maybe"),
        ("postgresql://host/db?segments=ftp://bucket", "'ftp://bucket' is no place for segments"),
    ],
)
async def test_a_url_that_means_nothing_is_told(url: str, said: str) -> None:
    assert said in str(await refusal(url))


# -- in the middle of a commit --------------------------------------------------------------------


@pytest.fixture
def line(postgres: PostgresServer) -> Iterator[CutLine]:
    with cut_line(postgres.port) as one:
        yield one


async def test_a_line_cut_in_the_middle_of_a_copy_is_taken_up_again(
    postgres: PostgresServer, postgres_url: Callable[[], str], line: CutLine
) -> None:
    # given a store reached over a line
    url = postgres_url().replace(f":{postgres.port}/", f":{line.port}/")
    store = await TimescaleStore.open(url)
    await store.commit([rows(100)])

    # when it is cut in the middle of a large copy
    line.cut_after(1_000_000)
    done = await store.commit([rows(50_000)])

    # then the commit is done all the same, once
    assert line.cuts == 1
    assert sum(one.inserted for one in done) == 50_000 - 100
    assert (await store.read(SERIES, ALL)).equals(candles(T0, 50_000, 5.0))
    assert list((await store.verify()).faults) == []
    assert len(await store.corrections()) == 0
    await store.close()


async def test_a_line_that_stays_cut_leaves_nothing_half_written(
    postgres: PostgresServer, postgres_url: Callable[[], str], line: CutLine
) -> None:
    url = postgres_url()
    far = await TimescaleStore.open(
        url.replace(f":{postgres.port}/", f":{line.port}/"), patience_s=1.0
    )
    near = await TimescaleStore.open(url)
    try:
        await far.commit([rows(100)])

        # when the line is cut in the middle of a copy, and does not come back
        line.cut_after(1_000_000, refuse=True)
        with pytest.raises(StoreAway, match="does not answer") as raised:
            await far.commit([rows(50_000, price=7.0)])

        # then the error is one line, and of the commit nothing is there
        assert "\n" not in str(raised.value)
        assert line.cuts == 1
        assert (await near.read(SERIES, ALL)).equals(candles(T0, 100, 5.0))
        assert list((await near.verify()).faults) == []

        # and when it comes back, the same store works again
        line.heal()
        await far.commit([rows(50_000, price=7.0)])
        assert (await near.read(SERIES, ALL)).equals(candles(T0, 50_000, 7.0))
    finally:
        await near.close()
        await far.close()


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """Mount a file system of 32 MB."""
    folder = Path(tempfile.mkdtemp(prefix="zvtc-small-"))
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=32m,mode=777", "tmpfs", str(folder)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        folder.rmdir()
        pytest.skip(f"not run: a small disk needs the right to mount ({mounted.stderr.decode()})")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
    folder.rmdir()


async def test_a_full_disk_is_told_and_leaves_nothing_half_written(small_disk: Path) -> None:
    # given a server whose tables lie on a small disk
    with postgres_server() as server:
        space = small_disk / "space"
        space.mkdir(mode=0o777)
        if os.geteuid() == 0:
            shutil.chown(space, "nobody")
        with psycopg.connect(server.url(), autocommit=True) as connection:
            connection.execute(f"CREATE TABLESPACE small LOCATION '{space}'".encode())
            connection.execute("ALTER DATABASE postgres SET default_tablespace = small")
        store = await TimescaleStore.open(server.url())
        done = 0

        # when more is committed than it can take
        raised: StoreFull | None = None
        while raised is None and done < 2_000_000:
            try:
                await store.commit([rows(20_000, start=done)])
                done += 20_000
            except StoreFull as e:
                raised = e

        # then all commits before are there, and nothing of that one
        assert re.search(r"no space left at postgresql://.*everything committed", str(raised))
        assert done
        assert (await store.read(SERIES, ALL)).equals(candles(T0, done, 5.0))
        assert list((await store.verify()).faults) == []
        await store.close()
