"""Partitions that several processes need at the same moment."""

import asyncio
from collections.abc import Callable

import psycopg
from lake_writer import M1, SERIES, T0, candles
from stream_world import eventually

from zvt_crypto.core.ledger import Source
from zvt_crypto.core.ranges import Range
from zvt_crypto.ports.store import Batch
from zvt_crypto.store.timescale import TimescaleStore
from zvt_crypto.store.timescale.place import parse_place

_MONTH = "candles_20240101"
_WAITS = """
SELECT count(*) FROM pg_locks
WHERE locktype = 'advisory' AND NOT granted AND objid = hashtext(%s)::oid
"""


async def test_who_waited_for_a_partition_finds_it(postgres_url: Callable[[], str]) -> None:
    # given another process that is about to have made a partition
    url = postgres_url()
    store = await TimescaleStore.open(url)
    batch = Batch(series=SERIES, table=candles(T0, 5, 1.0), source=Source.LIVE)
    name = f"zvtc:{_MONTH}"
    with (
        psycopg.connect(url.partition("?")[0]) as other,
        psycopg.connect(url.partition("?")[0], autocommit=True) as looking,
    ):
        other.execute(f"SET search_path = {parse_place(url).schema}".encode())
        other.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", (name,))
        other.execute(f"CREATE TABLE {_MONTH} (LIKE candles INCLUDING ALL)".encode())
        other.execute(
            f"ALTER TABLE candles ATTACH PARTITION {_MONTH} "
            "FOR VALUES FROM ('2024-01-01 00:00+00') TO ('2024-02-01 00:00+00')".encode()
        )
        # when this one needs it, too, and waits, and the other is done
        committing = asyncio.create_task(store.commit([batch]))
        await eventually(lambda: looking.execute(_WAITS, (name,)).fetchone() == (1,))
        other.commit()

    # then it uses what it finds
    (done,) = await committing
    assert done.inserted == 5
    assert (await store.read(SERIES, Range(T0, T0 + 10 * M1))).num_rows == 5
    await store.close()
