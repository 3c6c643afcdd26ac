"""The Python door, as a researcher uses it."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from cli_process import finish, start
from sim_process import Sim, simulator
from store_place import store_at

import zvt_crypto as zc
from zvt_crypto.core.reconcile import Agreement, Reconciled
from zvt_crypto.core.timestamp import to_us
from zvt_crypto.ports.store import Batch

DAY = ("2026-03-01", "2026-03-02")


@pytest.fixture(scope="module")
def sim() -> Iterator[Sim]:
    with simulator("--limits", "off") as running:
        yield running


@pytest.fixture
def db(sim: Sim, tmp_path: Path) -> Iterator[zc.Crypto]:
    with zc.open(
        store_at(tmp_path / "lake"), sim=sim.url, state_dir=str(tmp_path / "state")
    ) as opened:
        yield opened


def test_candles_are_loaded_on_demand_and_carry_their_proof(db: zc.Crypto) -> None:
    # when a day is asked for before and after it is loaded
    before = db.candles("binance", "BTC-USDT", "1h", *DAY) if db.series() else None
    hours = db.candles("binance", "BTC/USDT", "1h", *DAY, load=True)
    again = db.candles("binance", "BTCUSDT", "1h", *DAY)

    # then the frame, the pandas face and the ledger agree
    assert before is None
    assert hours.is_complete
    assert again.table.equals(hours.table)
    assert hours.frame.shape == (24, 9)
    frame = hours.to_pandas()
    assert isinstance(frame.index, pd.DatetimeIndex)
    assert str(frame.index.tz) == "UTC"
    assert sum(entry.rows for entry in hours.coverage) == 24
    assert hours.missing == []


def test_an_unloaded_range_is_said_to_be_owed(db: zc.Crypto) -> None:
    db.load("okx", "BTC-USDT", "1h", *DAY)

    wider = db.candles("okx", "BTC-USDT", "1h", "2026-02-28", "2026-03-02")

    assert len(wider) == 24
    assert not wider.is_complete
    assert [(r.start, r.end) for r in wider.missing] == [(to_us("2026-02-28"), to_us(DAY[0]))]


def test_coarser_candles_are_made_from_finer_ones_while_reading(db: zc.Crypto) -> None:
    db.load("bybit", "BTC-USDT", "1m", *DAY)
    loaded = db.candles("bybit", "BTC-USDT", "1h", *DAY)

    direct = db.candles("bybit", "BTC-USDT", "4h", *DAY, load=True)
    made = db.candles("bybit", "BTC-USDT", "1d", *DAY)

    assert loaded.made_from == zc.Interval.M1
    assert len(loaded) == 24
    assert direct.made_from is None
    assert made.made_from == zc.Interval.H4
    assert made.frame["high"][0] == direct.frame["high"].max()


def test_the_newest_row_of_many_series_is_one_question(db: zc.Crypto) -> None:
    hours = db.candles("okx", "BTC-USDT", "1h", *DAY, load=True)
    rates = db.funding("okx", "BTC-USDT-PERP", "2026-11-01", "2026-11-03", load=True)
    unknown = zc.Series("okx", "ETH-USDT", zc.Kind.TRADES)

    newest, nothing, rate = db.latest([hours.series, unknown, rates.series])

    assert newest.equals(hours.table.slice(23))
    assert rate.equals(rates.table.slice(5))
    assert nothing.num_rows == 0


def test_trades_and_funding_come_with_taker_sides_and_settled_rates(db: zc.Crypto) -> None:
    trades = db.trades("coinbase", "BTC-USD", "2026-03-01", "2026-03-01T01:00", load=True)
    rates = db.funding("okx", "BTC-USDT-PERP", "2026-11-01", "2026-11-03", load=True)

    assert trades.is_complete
    assert set(trades.frame["side"].unique()) == {"buy", "sell"}
    assert len(rates) == 6


async def test_the_async_face_answers_the_same(sim: Sim, tmp_path: Path) -> None:
    options = {"sim": sim.url, "state_dir": str(tmp_path / "state")}
    async with zc.AsyncCrypto(store_at(tmp_path / "lake"), **options) as db:
        hours = await db.candles("coinbase", "BTC-USD", "1h", *DAY, load=True)
        symbols = {one.symbol for one in await db.instruments("coinbase")}
        plan = await db.plan("coinbase", "BTC-USD", "1m", *DAY)

    assert hours.is_complete
    assert "BTC-USD" in symbols
    assert plan[0].requests == 5


async def test_candles_tell_whether_they_agree_with_their_trades(sim: Sim, tmp_path: Path) -> None:
    # given a day of candles, and verdicts on a few of them
    options = {"sim": sim.url, "state_dir": str(tmp_path / ".state")}
    async with zc.AsyncCrypto(store_at(tmp_path / "lake"), **options) as db:
        hours = await db.candles("okx", "BTC-USDT", "1h", *DAY, load=True)
        hour = 3_600_000_000
        verdicts = [
            Reconciled(hours.series, to_us(DAY[0]) + number * hour, verdict)
            for number, verdict in (
                (1, Agreement.MATCH),
                (2, Agreement.MATCH),
                (4, Agreement.PARTIAL),
            )
        ]
        batch = Batch(
            series=hours.series,
            table=hours.table.slice(0, 0),
            source=zc.Source.LIVE,
            reconciled=verdicts,
        )
        await db.platform.store.commit([batch])

        # when they are asked for
        told = await db.candles("okx", "BTC-USDT", "1h", *DAY, verdicts=True)
        newest = await db.candles("okx", "BTC-USDT", "1h", *DAY, last=2, verdicts=True)
        minutes = await db.candles("okx", "BTC-USDT", "1d", *DAY, verdicts=True)

    # then each candle has its own, and nothing else has changed
    words = [None, "match", "match", None, "partial", *[None] * 19]
    assert told.frame["verdict"].to_list() == words
    assert told.table.drop_columns(["verdict"]).equals(hours.table)
    assert newest.frame["verdict"].to_list() == [None, None]
    assert minutes.made_from == zc.Interval.H1
    assert minutes.frame["verdict"].to_list() == [None]
    found = finish(
        start("query", "candles", "okx", "BTC-USDT", "1h", "--store", store_at(tmp_path / "lake"),
              "--verdicts", "--format", "csv", "--sim", sim.url, cwd=tmp_path)
    )  # fmt: skip
    assert [line.rsplit(",", 1)[1] for line in found.out.splitlines()] == [
        "verdict", *[word or "" for word in words]
    ]  # fmt: skip


def test_bad_input_raises_errors_that_say_what_to_do(db: zc.Crypto, tmp_path: Path) -> None:
    with pytest.raises(zc.UsageError, match=r"Did you mean|Known"):
        db.candles("binanse", "BTC-USDT", "1h")
    with pytest.raises(zc.UsageError, match="BTC-USDT"):
        db.load("binance", "BTC-UDST", "1h", *DAY)
    with pytest.raises(zc.UsageError, match="1m 5m"):
        db.candles("binance", "BTC-USDT", "2h")
    with pytest.raises(zc.UsageError, match="budget"):
        zc.open(tmp_path / "x", exchanges__binance__budgte=1)


def test_the_public_names_are_these() -> None:
    assert all(getattr(zc, name) is not None for name in zc.__all__)
    assert sorted(zc.__all__) == list(zc.__all__)
