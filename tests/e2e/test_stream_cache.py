"""Live streams and a Redis: what comes is there for others at once, and missed by nobody."""

import asyncio
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_process import finish, start, zvtc
from sim_process import Sim, simulator
from store_place import is_made, store_at
from valkey_server import Server, free_port

import zvt_crypto as zc
from zvt_crypto.bootstrap.caching import open_cache
from zvt_crypto.core.errors import UsageError
from zvt_crypto.core.record import Quote
from zvt_crypto.net.clock import SystemClock
from zvt_crypto.services.latest.metrics import NAMES
from zvt_crypto.settings import Settings

STREAM = ("stream", "okx", "BTC-USDT", "-k", "trades", "-k", "quotes", "-k", "book")
KINDS = (zc.Kind.TRADES, zc.Kind.QUOTES, zc.Kind.BOOK)


@pytest.fixture(scope="module")
def sim() -> Iterator[Sim]:
    with simulator("--trades-per-day", "500000", "--limits", "off", "--exchange", "okx") as box:
        yield box


async def test_what_a_stream_brings_is_read_and_heard_by_other_processes(
    sim: Sim, tmp_path: Path
) -> None:
    series = [zc.Series("okx", "BTC-USDT", kind) for kind in KINDS]
    with Server() as server:
        # given a subscriber, and then a stream in another process
        cache = open_cache(Settings(cache=server.url), SystemClock())
        async with cache.subscribe(series) as heard:
            port = free_port()
            running = start(
                *STREAM, "--sim", sim.url, "--store", store_at(tmp_path / "store"), "--quiet",
                "--for", "60", "--metrics-port", str(port),
                cwd=tmp_path, env={"ZVTC_CACHE": server.url},
            )  # fmt: skip
            try:
                # then every kind is heard as it comes
                seen: dict[zc.Series, object] = {}
                async with asyncio.timeout(60):
                    while len(seen) < len(series):
                        one = await anext(aiter(heard))
                        seen[one.series] = one.record

                # and a program that has no stream of its own reads what is newest
                other = store_at(tmp_path / "other")
                async with zc.AsyncCrypto(
                    other, cache=server.url, sim=sim.url, state_dir=str(tmp_path / "s")
                ) as db:
                    await db.instruments("okx")
                    for kind in KINDS:
                        found = await db.latest("okx", "BTC-USDT", kind=kind)
                        assert found.origin == "cache"
                        assert found.record is not None
                        age_s = time.time() - found.record.ts_recv / 1e6
                        assert age_s < 20
                    top = (await db.latest("okx", "BTC-USDT", kind="book")).record
                    assert isinstance(top, Quote)
                    assert top.bid_price is not None
                    assert top.ask_price is not None
                    assert top.bid_price < top.ask_price
                    assert (await db.latest("okx", "BTC-USDT", kind="funding")).origin == "nowhere"
                    with pytest.raises(UsageError, match="unknown kind"):
                        await db.latest("okx", "BTC-USDT", kind="weather")
                # and the metrics say what was published
                text = await asyncio.to_thread(_scrape, port)
                assert {name for name in NAMES if name.removesuffix("_total") not in text} == set()
                assert "cache_up 1.0" in text
            finally:
                running.terminate()
                ended = await asyncio.to_thread(finish, running)
        await cache.close()
    assert ended.code == 0, ended.err


def _scrape(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as reply:
        return reply.read().decode()


def test_a_redis_that_is_away_is_a_warning_and_an_address_that_is_none_an_error(
    sim: Sim, tmp_path: Path
) -> None:
    # when streams run with a Redis that is not there, and with an address that is none
    nobody = f"redis://:hunter2@127.0.0.1:{free_port()}"
    away = start(*STREAM, "--sim", sim.url, "--store", store_at(tmp_path / "store"), "--quiet",
                 "--for", "2", cwd=tmp_path, env={"ZVTC_CACHE": nobody})  # fmt: skip
    wrong = zvtc("load", "okx", "BTC-USDT", "--since", "2024-01-01", "--until", "2024-01-02",
                 "--sim", sim.url, "--store", store_at(tmp_path / "wrong"), cwd=tmp_path,
                 env={"ZVTC_CACHE": "redis://:hunter2@a:b:c"})  # fmt: skip
    ended = finish(away)

    # then the first stores what comes all the same, and says once what is wrong
    assert ended.code == 0, ended.err
    assert "rows stored" in ended.err
    assert ended.err.count("cache_breaker_opened") == 1
    assert "hunter2" not in ended.err + wrong.err
    # and the second is refused in one line before anything is made
    assert wrong.code == 2
    assert len(wrong.err.strip().splitlines()) == 1
    assert "'cache'" in wrong.err
    assert not is_made(store_at(tmp_path / "wrong"))
