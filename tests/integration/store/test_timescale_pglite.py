"""Migrations and policies on TimescaleDB's community features, in WASM: `make check-pglite`.

It has one session and no workers, so a store cannot run there; what its schema does can.
"""

import itertools
from collections.abc import Callable, Iterator
from typing import Final

import psycopg
import pytest
from pglite_server import pglite_server
from postgres_shape import shape_of

from zvt_crypto.store.timescale.level import COARSER
from zvt_crypto.store.timescale.place import parse_place
from zvt_crypto.store.timescale.schema import HEAD, migrate, revisions, script

Url = Callable[[], str]

_NUMBERS = itertools.count()
_VALUES: Final = {
    "text": "'x'",
    "double precision": "1.0",
    "bigint": "1",
    "integer": "1",
    "ARRAY": "'{1.0}'",
}
_HYPERTABLES: Final = (
    "SELECT hypertable_name FROM timescaledb_information.hypertables WHERE hypertable_schema = %s"
)
_JOBS: Final = """
    SELECT job_id, proc_name, hypertable_name FROM timescaledb_information.jobs
    WHERE hypertable_schema = %s ORDER BY 1"""
_PACKED: Final = """
    SELECT DISTINCT hypertable_name FROM timescaledb_information.chunks
    WHERE hypertable_schema = %s AND is_compressed"""
# A refresh goes by ten buckets at a time, up to now: after months without a row that is a minute in
# WASM, and in one batch no time at all.
_ONE_BATCH: Final = """
    SELECT alter_job(job_id, config => config || '{"buckets_per_batch": 0}')
    FROM timescaledb_information.jobs
    WHERE hypertable_schema = %s AND proc_name = 'policy_refresh_continuous_aggregate'"""
# Older than any policy waits for; an hour of minutes, all in one bucket of every hour or more.
_DAYS_OLD: Final = 120
_MINUTES: Final = 60
_AT: Final = f"date_trunc('day', now()) - interval '{_DAYS_OLD} days' + n * interval '1 minute'"


@pytest.fixture(scope="module")
def pglite() -> Iterator[str]:
    with pglite_server() as url:
        yield url


@pytest.fixture
def new_url(pglite: str) -> Url:
    return lambda: f"{pglite}&schema=test_{next(_NUMBERS)}"


def ask(url: str, query: str, *values: object) -> list[tuple[object, ...]]:
    """Ask something over a connection that ends with the answer: there is but one at a time."""
    with psycopg.connect(url.partition("&")[0], autocommit=True) as connection:
        found = connection.execute(query.encode(), values)
        return found.fetchall() if found.description else []


def fill(url: str) -> list[str]:
    """Put old rows into every hypertable; return the names of these."""
    schema = parse_place(url).schema
    series = f"INSERT INTO {schema}.series (exchange, symbol, kind, interval) VALUES"
    ask(url, f"{series} ('binance', 'BTC-USDT', 'candles', '1m')")
    tables = [str(name) for (name,) in ask(url, _HYPERTABLES, schema)]
    for table in tables:
        columns = ask(
            url,
            "SELECT column_name, data_type FROM information_schema.columns "
            "WHERE table_schema = %s AND table_name = %s AND is_nullable = 'NO'",
            schema,
            table,
        )
        values = {
            f'"{name}"': _AT if name == "timestamp" else _VALUES[str(kind)]
            for name, kind in columns
        }
        ask(
            url,
            f"INSERT INTO {schema}.{table} ({', '.join(values)}) "
            f"SELECT {', '.join(values.values())} FROM generate_series(0, {_MINUTES - 1}) AS n",
        )
    return tables


@pytest.mark.parametrize("since", ["base", *revisions()[:-1]])
def test_every_revision_goes_up_and_down_and_up(new_url: Url, since: str) -> None:
    # given one store made in one go, and one that was stopped on the way
    place, stepped = (parse_place(url := new_url()), new_url())
    assert migrate(place) == (None, HEAD)
    whole, before = shape_of(url), None
    if since != "base":
        assert migrate(parse_place(stepped), since) == (None, since)
        before = shape_of(stepped)

    # when it goes on, back, and on again
    migrate(parse_place(stepped))
    assert shape_of(stepped) == whole
    migrate(parse_place(stepped), since)
    assert before is None or shape_of(stepped) == before
    migrate(parse_place(stepped))

    # then both are the same, and what is there is all there can be
    assert shape_of(stepped) == whole
    assert ("setting", "setting", '(features,"compression aggregates")') in whole


@pytest.mark.parametrize("since", ["base", *revisions()[:-1]])
def test_scripts_do_what_migrate_does(new_url: Url, since: str) -> None:
    # given two stores at a revision
    usual, by_hand = new_url(), new_url()
    for url in (usual, by_hand):
        migrate(parse_place(url))
        migrate(parse_place(url), since)
    early = shape_of(usual)

    # when one is brought up and back by what is printed for it
    migrate(parse_place(usual))
    ask(by_hand, script(parse_place(by_hand)))
    assert shape_of(by_hand) == shape_of(usual)
    ask(by_hand, script(parse_place(by_hand), since))

    # then it is what it was
    assert shape_of(by_hand) == early


def test_every_policy_runs_and_packed_rows_outlive_going_back(new_url: Url) -> None:
    # given old rows in every hypertable
    url = new_url()
    schema = parse_place(url).schema
    migrate(parse_place(url))
    tables = fill(url)

    # when every policy is run once
    jobs = ask(url, _JOBS, schema)
    ask(url, _ONE_BATCH, schema)
    for number, _, _ in jobs:
        ask(url, f"CALL run_job({number})")

    # then what shall be packed is packed, and every view has its bucket of all the minutes
    packing = {name for _, kind, name in jobs if kind == "policy_compression"}
    refreshed = {name for _, kind, name in jobs if kind == "policy_refresh_continuous_aggregate"}
    assert packing == {name for (name,) in ask(url, _PACKED, schema)}
    assert packing == set(tables) - {"funding"}
    assert refreshed == set(COARSER)
    for view in COARSER:
        ((minutes, opens),) = ask(url, f"SELECT sum(minutes), sum(open) FROM {schema}.{view}")
        ((buckets,),) = ask(url, f"SELECT count(*) FROM {schema}.{view}")
        assert (minutes, opens) == (_MINUTES, buckets)

    # and no row is lost on the way back to plain hypertables and up again
    migrate(parse_place(url), "0003")
    migrate(parse_place(url))
    for table in tables:
        expected = 0 if table.startswith("book") else _MINUTES  # which went with their tables
        assert ask(url, f"SELECT count(*) FROM {schema}.{table}") == [(expected,)]
