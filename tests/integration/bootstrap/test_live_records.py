"""Live records in Python, against the simulator in a process of its own."""

import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sim_process import Sim, simulator

import zvt_crypto as zc

ROOT = Path(__file__).resolve().parents[3]
TRADES = "binance:BTC-USDT:trades"


@pytest.fixture(scope="module")
def sim() -> Iterator[Sim]:
    options = ("--limits", "off", "--exchange", "binance", "--exchange", "okx")
    with simulator("--trades-per-day", "2000000", *options) as box:
        yield box


@pytest.fixture
def db(sim: Sim, tmp_path: Path) -> Iterator[zc.Crypto]:
    with zc.open(tmp_path / "lake", sim=sim.url, state_dir=str(tmp_path / "state")) as opened:
        yield opened


def test_a_plain_loop_gets_records_and_they_are_stored_when_it_ends(db: zc.Crypto) -> None:
    # when a loop takes some records of two exchanges
    seen: list[zc.Trade] = []
    with db.stream([TRADES, "okx:BTC-USDT:trades"]) as records:
        for record in records:
            if isinstance(record, zc.Trade) and record.exchange == "binance":
                seen.append(record)
            if len(seen) == 10:
                break

    # then they follow one another, and are in the store
    ids = [record.trade_id for record in seen]
    assert ids == list(range(seen[0].trade_id, seen[0].trade_id + 10))  # type: ignore[operator] # Binance counts
    stored = db.trades("binance", "BTC-USDT", seen[0].ts_event, seen[-1].ts_event + 1)
    held = {int(one) for one in stored.table.column("trade_id").to_pylist()}
    assert held >= set(ids)
    assert {info.series.exchange for info in db.series()} == {"binance", "okx"}


def test_closing_from_another_thread_ends_the_loop(db: zc.Crypto) -> None:
    records = db.stream(TRADES)
    threading.Timer(1.5, records.close).start()

    count = sum(1 for _ in records)

    assert count > 0
    assert list(records) == []
    records.close()


def test_the_door_ends_a_stream_that_was_left_open(sim: Sim, tmp_path: Path) -> None:
    state = str(tmp_path / "state")
    with zc.open(tmp_path / "lake", sim=sim.url, state_dir=state) as db:
        left = next(iter(db.stream(TRADES)))

    assert isinstance(left, zc.Trade)
    assert list((tmp_path / "state" / "streams").iterdir()) == []
    with zc.open(tmp_path / "lake", sim=sim.url, state_dir=state) as db:
        stored = db.trades("binance", "BTC-USDT", left.ts_event, left.ts_event + 1).table
    assert str(left.trade_id) in stored.column("trade_id").to_pylist()


def test_what_cannot_be_streamed_is_refused(db: zc.Crypto) -> None:
    with pytest.raises(zc.UsageError, match="Did you mean binance"):
        db.stream("binanse:BTC-USDT")
    with pytest.raises(zc.UsageError, match="no instrument"):
        next(db.stream("binance:BTC-NOPE:trades"))
    with pytest.raises(zc.CryptoError, match="funding"):
        next(db.stream("binance:BTC-USDT:funding"))


async def test_an_async_loop_and_the_service_behind_it(sim: Sim, tmp_path: Path) -> None:
    trades = zc.Series("binance", "BTC-USDT", zc.Kind.TRADES)
    quotes = zc.Series("binance", "BTC-USDT", zc.Kind.QUOTES)
    state = str(tmp_path / "state")
    async with zc.AsyncCrypto(tmp_path / "lake", sim=sim.url, state_dir=state) as db:
        stream = db.stream(trades)
        with pytest.raises(RuntimeError, match="not been started"):
            _ = stream.service
        async with stream as records:
            # when a series is added while it runs
            await stream.service.add([quotes])
            kinds: set[type] = set()
            async for record in records:
                kinds.add(type(record))
                if kinds == {zc.Trade, zc.Quote}:
                    break
            assert stream.service.subscriptions == {trades, quotes}

        # then, once it is closed, the loop has an end
        assert [record async for record in stream] == []
        await stream.aclose()


def test_the_example_of_the_document_runs(
    sim: Sim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # given the example, which ends when a gap has been repaired
    text = (ROOT / "docs/python.md").read_text(encoding="utf-8")
    (example,) = (
        block
        for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL)
        if "GapRepaired" in block
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZVTC_SIM", sim.url)
    monkeypatch.setenv("ZVTC_STATE_DIR", str(tmp_path / "state"))

    # when some trades are lost on the way
    def lose() -> None:
        sim.fault("ws_drop", exchange="binance", symbol="BTC-USDT", channel="trades", first=3)

    threading.Timer(2.0, lose).start()
    try:
        exec(example, {"zc": zc})
    finally:
        sim.heal()

    told = capsys.readouterr().out
    assert re.search(r"^BTC-USDT [\d.]+ [\d.]+$", told, re.MULTILINE)
    assert "lost for now: binance BTC-USDT trades" in told
    assert "whole again: binance BTC-USDT trades" in told
