"""Under every fault of REST a load tells the truth, and is complete once the fault is over."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from fault_world import (
    EXCHANGES,
    LONG_AGO,
    SPOT,
    candles_case,
    fault_world,
    funding_case,
    trades_case,
)
from judge import check_honest
from sim_process import Sim, simulator

from zvt_crypto.core.errors import UnknownSymbol
from zvt_crypto.core.interval import US_PER_DAY, US_PER_HOUR, US_PER_MINUTE
from zvt_crypto.core.ledger import Verdict
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.timestamp import format_us
from zvt_crypto.services.loader import LoadRequest

pytestmark = pytest.mark.slow

FUNDED = ("binance", "okx", "bybit")
# What every answer may be replaced by, lasting or now and then.
ANSWERS: list[dict[str, Any]] = [
    {"kind": "http_429", "every": 3, "retry_after": 1},
    {"kind": "http_429", "retry_after": 1},
    {"kind": "http_418", "first": 1, "retry_after": 1},
    {"kind": "http_451"},
    {"kind": "http_403", "first": 2},
    {"kind": "http_403", "body": "html"},
    {"kind": "http_5xx", "probability": 0.4},
    {"kind": "http_5xx", "status": 500},
    {"kind": "wrong_content", "every": 2},
    {"kind": "giant_body", "first": 2, "bytes": 6_000_000},
    {"kind": "maintenance"},
]
CONNECTIONS: list[dict[str, Any]] = [
    {"kind": "slow", "every": 4, "delay_s": 0.3},
    {"kind": "timeout", "first": 2, "delay_s": 1},
    {"kind": "disconnect", "every": 3},
    {"kind": "refuse", "every": 3},
    {"kind": "refuse"},
    {"kind": "corrupt_body", "every": 3},
]
PAGES: list[dict[str, Any]] = [
    {"kind": "truncated_page", "every": 2},
    {"kind": "truncated_page"},
    {"kind": "truncated_page", "share": 0, "first": 2},
    {"kind": "overlapping_page"},
    {"kind": "repeated_page", "every": 2},
    {"kind": "shuffled_page"},
    {"kind": "duplicate_rows", "share": 0.3},
    {"kind": "unit_switch", "every": 2},
    {"kind": "bad_rows", "every": 2},
    {"kind": "bad_rows"},
]
CANDLE_PAGES: list[dict[str, Any]] = [
    *PAGES,
    # For ever off the grid is believed: then no candle opens on it.
    {"kind": "off_grid_rows", "first": 2},
]


def name(fault: dict[str, Any]) -> str:
    return "-".join(str(v) if k == "kind" else f"{k}={v}" for k, v in fault.items())


def now_us() -> int:
    return time.time_ns() // 1_000


@pytest.fixture(scope="module")
def sim() -> Iterator[Sim]:
    with simulator("--limits", "off", "--trades-per-day", "8000") as running:
        yield running


@pytest.mark.parametrize("exchange", EXCHANGES)
@pytest.mark.parametrize("fault", [*ANSWERS, *CONNECTIONS, *CANDLE_PAGES], ids=name)
async def test_candles(sim: Sim, tmp_path: Path, exchange: str, fault: dict[str, Any]) -> None:
    async with fault_world(sim, tmp_path, **{"load.archive": "never"}) as world:
        await world.under(candles_case(exchange), **fault)


@pytest.mark.parametrize("exchange", EXCHANGES)
@pytest.mark.parametrize("fault", PAGES, ids=name)
async def test_trades(sim: Sim, tmp_path: Path, exchange: str, fault: dict[str, Any]) -> None:
    async with fault_world(sim, tmp_path, **{"load.archive": "never"}) as world:
        await world.under(trades_case(exchange, now_us(), archive=False), **fault)


@pytest.mark.parametrize("exchange", FUNDED)
@pytest.mark.parametrize("fault", PAGES, ids=name)
async def test_funding(sim: Sim, tmp_path: Path, exchange: str, fault: dict[str, Any]) -> None:
    async with fault_world(sim, tmp_path, **{"load.archive": "never"}) as world:
        await world.under(funding_case(exchange, now_us()), **fault)


# -- candles that come late, go, or change -------------------------------------------------------


@pytest.mark.parametrize("exchange", EXCHANGES)
@pytest.mark.parametrize("where", ["scattered", "at the end"])
async def test_candles_that_appear_later_are_found_by_asking_again(
    sim: Sim, tmp_path: Path, exchange: str, where: str
) -> None:
    case = candles_case(exchange, hours=4)
    edge = {"start": format_us(case.asked.end - 20 * US_PER_MINUTE), "end": format_us(LONG_AGO * 2)}
    hidden: dict[str, Any] = {"share": 0.3} if where == "scattered" else edge
    async with fault_world(sim, tmp_path, **{"load.archive": "never"}) as world:
        report = await world.under(case, kind="missing_candles", appear_after_requests=1, **hidden)
        assert report.is_complete


@pytest.mark.parametrize("exchange", EXCHANGES)
async def test_candles_an_exchange_denies_for_long_come_with_a_recheck(
    sim: Sim, tmp_path: Path, exchange: str
) -> None:
    # given an exchange that says again and again there was nothing
    start = LONG_AGO + 10 * US_PER_DAY  # not asked for before: Coinbase remembers for a second
    case = candles_case(exchange, start=start, hours=4)
    async with fault_world(sim, tmp_path, **{"load.archive": "never"}) as world:
        gone = Range(start + US_PER_HOUR, start + 2 * US_PER_HOUR)
        sim.fault(
            "missing_candles", exchange=exchange, start=format_us(gone.start),
            end=format_us(gone.end),
        )  # fmt: skip
        report = await world.load(case)
        assert report.is_complete
        ledger = await world.platform.store.coverage(case.series, gone)
        assert [(e.range, e.verdict) for e in ledger] == [(gone, Verdict.EMPTY)]
        sim.heal()

        # when it is asked again on demand, then what it denied is there after all
        await world.completes(case, refetch=True)


@pytest.mark.parametrize("exchange", EXCHANGES)
async def test_an_outage_is_proven_empty(sim: Sim, tmp_path: Path, exchange: str) -> None:
    # given hours without any trading; an outage stays in the market, so they are years away
    start = LONG_AGO - 200 * US_PER_DAY
    down = Range(start + 5 * US_PER_HOUR, start + 9 * US_PER_HOUR)
    case = candles_case(exchange, start=start, hours=10)
    async with fault_world(sim, tmp_path, **{"load.archive": "never"}) as world:
        sim.fault("outage", exchange=exchange, start=format_us(down.start), end=format_us(down.end))
        report = await world.load(case)
        found = await world.judge(case, report)

        assert report.is_complete
        if exchange == "coinbase":  # the others serve candles without trades
            assert down in found[Verdict.EMPTY]


@pytest.mark.parametrize("exchange", EXCHANGES)
async def test_values_wrong_for_a_while_are_seen_when_rows_are_asked_twice(
    sim: Sim, tmp_path: Path, exchange: str
) -> None:
    settings = {"load.archive": "never", "load.confirm": "rows"}
    async with fault_world(sim, tmp_path, **settings) as world:
        report = await world.under(candles_case(exchange), kind="revised_candles", first=1)
        assert report.is_complete


@pytest.mark.parametrize("exchange", EXCHANGES)
async def test_wrong_values_are_corrected_by_a_recheck_and_kept_readable(
    sim: Sim, tmp_path: Path, exchange: str
) -> None:
    # given candles stored while the exchange told wrong closes
    case = candles_case(exchange, hours=4)
    async with fault_world(sim, tmp_path, **{"load.archive": "never"}) as world:
        store = world.platform.store
        sim.fault("revised_candles", exchange=exchange)
        await world.load(case)
        wrong = await store.read(case.series, case.asked)
        moment = now_us()
        sim.heal()

        # when they are checked again
        report = await world.load(case, refetch=True)

        # then they are right, each change is on record, and the past can be read as it was
        await world.judge(case, report)
        assert wrong.num_rows > 20
        assert report.series[0].rows_corrected == wrong.num_rows
        assert (await store.corrections(case.series)).num_rows == wrong.num_rows
        assert (await store.read(case.series, case.asked, as_of=moment)).equals(wrong)


# -- bulk files ----------------------------------------------------------------------------------

FILES: list[dict[str, Any]] = [
    {"kind": "archive_404"},
    {"kind": "archive_404", "first": 1},
    {"kind": "archive_bad_checksum"},
    {"kind": "archive_corrupt_zip", "first": 1},
    {"kind": "archive_corrupt_zip"},
    {"kind": "archive_missing_rows"},
    {"kind": "archive_header"},
    {"kind": "archive_unsorted"},
    {"kind": "http_5xx", "endpoint": "zip"},
    {"kind": "disconnect", "every": 2, "endpoint": "zip"},
]


@pytest.mark.parametrize("exchange", ["binance", "okx"])
@pytest.mark.parametrize("fault", FILES, ids=name)
async def test_candle_files(sim: Sim, tmp_path: Path, exchange: str, fault: dict[str, Any]) -> None:
    async with fault_world(sim, tmp_path, **{"load.archive": "always"}) as world:
        await world.under(candles_case(exchange, hours=48), **fault)


@pytest.mark.parametrize("exchange", FUNDED)
@pytest.mark.parametrize("fault", FILES, ids=name)
async def test_trade_files(sim: Sim, tmp_path: Path, exchange: str, fault: dict[str, Any]) -> None:
    if exchange == "bybit" and fault["kind"] == "archive_missing_rows":
        pytest.skip("its files have no checksum beside them and its ids no order: nothing can tell")
    async with fault_world(sim, tmp_path) as world:
        # What only a file has is lost where the exchange says there is none: asked for anew, it
        # comes all the same.
        await world.under(trades_case(exchange, now_us(), archive=True), refetch=True, **fault)


async def test_files_alone_complete_trades_where_rest_is_blocked(sim: Sim, tmp_path: Path) -> None:
    case = trades_case("binance", now_us(), archive=True)
    async with fault_world(sim, tmp_path) as world:
        report = await world.under(case, kind="http_451", endpoint="/api/v3/aggTrades")
        assert report.is_complete


@pytest.mark.parametrize("fault", FILES, ids=name)
async def test_funding_files(sim: Sim, tmp_path: Path, fault: dict[str, Any]) -> None:
    async with fault_world(sim, tmp_path, **{"load.archive": "always"}) as world:
        await world.under(funding_case("binance", now_us()), **fault)


# -- the venue -----------------------------------------------------------------------------------


# Binance counts per minute of its own clock: one far behind ours costs a wait of up to a minute.
_WAITS: Final = pytest.mark.campaign
_CLOCKS: Final = [
    pytest.param(
        exchange, offset_s, marks=_WAITS if (exchange, offset_s) == ("binance", -600) else ()
    )
    for exchange in EXCHANGES
    for offset_s in (-600, -45, 90, 7200)
]


@pytest.mark.parametrize(("exchange", "offset_s"), _CLOCKS)
async def test_a_wrong_server_clock_stores_no_forming_candle(
    sim: Sim, tmp_path: Path, exchange: str, offset_s: int
) -> None:
    start = now_us() // US_PER_HOUR * US_PER_HOUR - 2 * US_PER_HOUR
    case = candles_case(exchange, start=start, hours=0)
    async with fault_world(sim, tmp_path, **{"load.archive": "never"}) as world:
        sim.fault("clock_skew", exchange=exchange, offset_s=offset_s)
        request = LoadRequest(exchange, case.symbol, case.kind, case.interval, start)
        report = await world.platform.loader.load([request])
        asked = report.series[0].asked
        assert asked.end <= now_us(), "time that is still to come is called known"
        await check_honest(world.platform.store, sim, case.series, Range(start, now_us()))


@pytest.mark.parametrize("exchange", EXCHANGES)
async def test_a_renamed_instrument_is_found_under_its_new_name(
    sim: Sim, tmp_path: Path, exchange: str
) -> None:
    case = candles_case(exchange, hours=4)
    to = {"binance": "XBTUSDT", "okx": "XBT-USDT", "bybit": "XBTUSDT", "coinbase": "XBT-USD"}
    async with fault_world(sim, tmp_path, **{"load.archive": "never"}) as world:
        await world.platform.loader.instruments(exchange)
        sim.fault("rename", exchange=exchange, symbol=SPOT[exchange], to=to[exchange])

        report = await world.load(case)
        await world.judge(case, report)

        if exchange == "coinbase":  # its product ids are its symbols: this is another one
            assert isinstance(report.series[0].error, UnknownSymbol)
        else:
            assert report.is_complete, report.series[0].error


@pytest.mark.parametrize("exchange", EXCHANGES)
async def test_a_delisted_instrument_is_named(sim: Sim, tmp_path: Path, exchange: str) -> None:
    case = candles_case(exchange, hours=4)
    async with fault_world(sim, tmp_path, **{"load.archive": "never"}) as world:
        await world.platform.loader.instruments(exchange)
        sim.fault("delisting", exchange=exchange, symbol=SPOT[exchange])
        report = await world.load(case)
        await world.judge(case, report)
        error = report.series[0].error
        assert not report.is_complete
        assert error is not None
        assert error.remedy
        assert SPOT[exchange].replace("-", "") in str(error).replace("-", "")
        sim.heal()
        await world.completes(case)
