"""The connector against a simulated Binance in another process, compared with its truth."""

from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sim_process import Sim, simulator

from zvt_crypto.connectors.base import Tools
from zvt_crypto.connectors.binance.rest import BinanceConnector
from zvt_crypto.connectors.binance.spec import BINANCE
from zvt_crypto.core.column import times_of
from zvt_crypto.core.errors import ArchiveAbsent, ChecksumMismatch, GeoBlocked, MalformedPayload
from zvt_crypto.core.instrument import Instrument, InstrumentTable
from zvt_crypto.core.interval import US_PER_DAY, US_PER_HOUR, Interval
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.series import Kind
from zvt_crypto.core.timestamp import format_us
from zvt_crypto.net.clock import ServerClock, SystemClock
from zvt_crypto.net.governor import Governor
from zvt_crypto.net.governor_state import MemoryState
from zvt_crypto.net.http import HttpClient
from zvt_crypto.net.quota import Quota
from zvt_crypto.net.retry import RetryPolicy
from zvt_crypto.ports.connector import Fetched

SYMBOLS = ["BTC-USDT", "BTC-USDT-PERP"]


@pytest.fixture(scope="module")
def running() -> Iterator[Sim]:
    with simulator("--exchange", "binance") as sim:
        yield sim


@pytest.fixture
def sim(running: Sim) -> Iterator[Sim]:
    yield running
    running.send("DELETE", "/_faults")
    running.send("POST", "/_stats/reset")


@pytest.fixture
async def connector(sim: Sim, tmp_path: Path) -> AsyncIterator[BinanceConnector]:
    clock = SystemClock()
    async with HttpClient("binance") as http:
        tools = Tools(
            http=http,
            governors={
                role: Governor(
                    role,
                    [Quota(f.name, f.amount, f.per_s, f.style, share=f.share) for f in facts],
                    MemoryState(),
                )
                for role, facts in BINANCE.quotas.items()
            },
            clock=ServerClock(clock),
            hosts=dict.fromkeys(BINANCE.hosts, f"{sim.url}/binance"),
            scratch=tmp_path,
            retry=RetryPolicy(budget_s=20.0, first_s=0.05, cap_s=0.5),
        )
        connector = BinanceConnector(tools)
        await connector.sync_clock()
        yield connector


@pytest.fixture
async def table(connector: BinanceConnector) -> InstrumentTable:
    return InstrumentTable("binance", await connector.instruments())


def now(sim: Sim) -> int:
    return int(sim.get("/_clock")["now_us"])


def truth(sim: Sim, kind: str, symbol: str, window: Range, **more: str) -> list[dict[str, Any]]:
    extra = "".join(f"&{name}={value}" for name, value in more.items())
    start, end = format_us(window.start), format_us(window.end)
    query = f"exchange=binance&symbol={symbol}&start={start}&end={end}{extra}"
    return sim.get(f"/_truth/{kind}?{query}")


def fault(sim: Sim, kind: str, **fields: Any) -> None:
    sim.send("POST", "/_faults", {"kind": kind, "exchange": "binance", **fields})


async def candles(
    connector: BinanceConnector, one: Instrument, asked: Range, interval: Interval = Interval.M1
) -> list[Fetched]:
    windows = connector.windows(one, Kind.CANDLES, interval, asked)
    return [await connector.fetch_candles(one, interval, window) for window in windows]


def rows_of(parts: list[Fetched], *names: str) -> list[tuple[Any, ...]]:
    return [
        row
        for part in parts
        for row in zip(
            times_of(part.table).tolist(),
            *(part.table[name].to_pylist() for name in names),
            strict=True,
        )
    ]


NAMES = ("open", "high", "low", "close", "volume", "quote_volume", "trade_count")


# Candles asked for: several pages where minutes are cheap to simulate, fewer where each is a month.
SPANS = {Interval.M1: 1_700, Interval.H1: 1_700, Interval.D1: 60, Interval.MON1: 3}


@pytest.mark.parametrize("symbol", SYMBOLS)
@pytest.mark.parametrize("interval", SPANS)
async def test_candles_equal_the_truth(
    sim: Sim, connector: BinanceConnector, table: InstrumentTable, symbol: str, interval: Interval
) -> None:
    end = now(sim)
    asked = Range(end - SPANS[interval] * interval.nominal_us, end + interval.nominal_us)
    one = table.resolve(symbol if "PERP" not in symbol else "BTC/USDT:USDT")
    first = await connector.first_candle(one, interval)
    assert first is not None
    asked = Range(max(asked.start, first), asked.end)
    parts = await candles(connector, one, asked, interval)
    aligned = Range(interval.ceil(asked.start), asked.end)
    wanted = truth(sim, "candles", symbol, aligned, interval=interval, empty="1")
    expected = [(row["open_time_us"], *(float(row[name]) for name in NAMES)) for row in wanted]
    found = rows_of(parts, *NAMES)
    # the running candle may have closed between the two questions
    assert found == expected[: len(found)]
    assert len(expected) - len(found) <= 1
    assert found


@pytest.mark.parametrize("symbol", SYMBOLS)
async def test_trades_equal_the_truth(
    sim: Sim, connector: BinanceConnector, table: InstrumentTable, symbol: str
) -> None:
    end = Interval.H1.floor(now(sim))
    window = Range(end - US_PER_HOUR, end)
    one = table.get(symbol)
    assert one is not None
    parts = [part async for part in connector.fetch_trades(one, window)]
    wanted = truth(sim, "trades", symbol, window)
    fills = sum(sum(part.table["fills"].to_pylist()) for part in parts)
    assert fills == len(wanted)
    sizes = [Decimal(repr(size)) for part in parts for size in part.table["size"].to_pylist()]
    assert sum(sizes) == sum(Decimal(row["size"]) for row in wanted)
    ids = [int(i) for part in parts for i in part.table["trade_id"].to_pylist()]
    assert ids == list(range(ids[0], ids[0] + len(ids)))


async def test_funding_equals_the_truth(
    sim: Sim, connector: BinanceConnector, table: InstrumentTable
) -> None:
    window = Range(now(sim) - 90 * US_PER_DAY, now(sim) - US_PER_DAY)
    one = table.get("BTC-USDT-PERP")
    assert one is not None
    done = await connector.fetch_funding(one, window)
    wanted = truth(sim, "funding", one.symbol, window)
    assert rows_of([done], "funding_rate") == [
        (row["funding_time_us"], float(row["funding_rate"])) for row in wanted
    ]
    assert set(done.table["interval_hours"].to_pylist()) == {8.0}


async def test_readings_make_sense(connector: BinanceConnector, table: InstrumentTable) -> None:
    both = [one for one in table if one.symbol in SYMBOLS]
    quotes = await connector.quotes(both)
    assert {quote.symbol for quote in quotes} == set(SYMBOLS)
    for one in both:
        book = await connector.book_snapshot(one, 20)
        assert len(book.bids) == len(book.asks) == 20
        assert book.bids[0][0] < book.asks[0][0]
    assert (await connector.open_interest(both[1])).open_interest > 0
    assert (await connector.status()).is_up


@pytest.mark.parametrize(
    "kind", ["overlapping_page", "shuffled_page", "duplicate_rows", "unit_switch"]
)
@pytest.mark.parametrize("symbol", SYMBOLS)
async def test_odd_pages_change_nothing(
    sim: Sim, connector: BinanceConnector, table: InstrumentTable, kind: str, symbol: str
) -> None:
    end = Interval.H1.floor(now(sim))
    window = Range(end - 4 * US_PER_HOUR, end - 3 * US_PER_HOUR)
    one = table.get(symbol)
    assert one is not None
    plain = await candles(connector, one, window)
    trades = [part async for part in connector.fetch_trades(one, window)]
    fault(sim, kind)
    assert rows_of(await candles(connector, one, window), *NAMES) == rows_of(plain, *NAMES)
    again = [part async for part in connector.fetch_trades(one, window)]
    assert rows_of(again, "trade_id", "size", "side") == rows_of(trades, "trade_id", "size", "side")


async def test_cut_pages_of_trades_are_followed_to_the_end(
    sim: Sim, connector: BinanceConnector, table: InstrumentTable
) -> None:
    end = Interval.H1.floor(now(sim))
    window = Range(end - US_PER_HOUR, end)
    one = table.resolve("BTC-USDT")
    trades = [part async for part in connector.fetch_trades(one, window)]
    fault(sim, "truncated_page", share=0.6)
    again = [part async for part in connector.fetch_trades(one, window)]
    assert rows_of(again, "trade_id") == rows_of(trades, "trade_id")


async def test_bad_rows_are_refused_one_by_one(
    sim: Sim, connector: BinanceConnector, table: InstrumentTable
) -> None:
    end = Interval.H1.floor(now(sim))
    window = Range(end - 10 * US_PER_HOUR, end)
    one = table.resolve("BTC-USDT")
    plain = rows_of(await candles(connector, one, window))
    fault(sim, "bad_rows", what="nan", share=0.1)
    (part,) = await candles(connector, one, window)
    assert part.rejected
    refused = [bad.timestamp_us or 0 for bad in part.rejected]
    assert sorted([*(row[0] for row in rows_of([part])), *refused]) == [row[0] for row in plain]


@pytest.mark.parametrize(
    "kind", ["http_429", "http_5xx", "wrong_content", "corrupt_body", "disconnect", "refuse"]
)
async def test_faults_that_pass_are_lived_through(
    sim: Sim, connector: BinanceConnector, table: InstrumentTable, kind: str
) -> None:
    one = table.resolve("BTC-USDT")
    window = Range(now(sim) - 2 * US_PER_HOUR, now(sim) - US_PER_HOUR)
    fault(sim, kind, count=1)
    (part,) = await candles(connector, one, window)
    assert part.table.num_rows == 60
    # aiohttp itself asks again when a kept connection turns out to be closed
    assert connector.stats.retries == (kind != "refuse")
    assert connector.stats.rate_limited == (kind == "http_429")


async def test_a_short_ban_is_waited_out_by_everyone(
    sim: Sim, connector: BinanceConnector, table: InstrumentTable
) -> None:
    one = table.resolve("BTC-USDT")
    fault(sim, "http_418", count=1, retry_after=1)
    assert (await connector.book_snapshot(one)).bids
    assert connector.stats.rate_limited == 1


async def test_a_refused_region_ends_the_call_at_once(
    sim: Sim, connector: BinanceConnector
) -> None:
    fault(sim, "http_451")
    with pytest.raises(GeoBlocked):
        await connector.server_time()
    assert connector.stats.retries == 0


@pytest.mark.parametrize("symbol", SYMBOLS)
async def test_bulk_files_of_candles_equal_rest(
    sim: Sim, connector: BinanceConnector, table: InstrumentTable, symbol: str
) -> None:
    one = table.get(symbol)
    assert one is not None
    end = Interval.D1.floor(now(sim) - 2 * US_PER_DAY)
    day = Range(end - US_PER_DAY, end)
    (file,) = await connector.archives(one, Kind.CANDLES, Interval.M1, day)
    bulk = [part async for part in connector.fetch_archive(one, Interval.M1, file)]
    names = (*NAMES, "taker_buy_volume")
    assert rows_of(bulk, *names) == rows_of(await candles(connector, one, day), *names)
    assert bulk[0].asked == day


@pytest.mark.parametrize("fault_kind", [None, "archive_unsorted", "archive_header"])
@pytest.mark.parametrize("symbol", SYMBOLS)
async def test_bulk_files_of_trades_equal_the_truth(
    sim: Sim,
    connector: BinanceConnector,
    table: InstrumentTable,
    symbol: str,
    fault_kind: str | None,
) -> None:
    one = table.get(symbol)
    assert one is not None
    end = Interval.D1.floor(now(sim) - 2 * US_PER_DAY)
    day = Range(end - US_PER_DAY, end)
    if fault_kind:
        fault(sim, fault_kind)
    (file,) = await connector.archives(one, Kind.TRADES, None, day)
    parts = [part async for part in connector.fetch_archive(one, None, file)]
    wanted = truth(sim, "trades", symbol, day)
    assert sum(sum(part.table["fills"].to_pylist()) for part in parts) == len(wanted)
    sizes = [Decimal(repr(size)) for part in parts for size in part.table["size"].to_pylist()]
    assert sum(sizes) == sum(Decimal(row["size"]) for row in wanted)
    assert parts[0].asked.start == day.start
    assert parts[-1].asked.end == day.end


async def test_bulk_files_of_funding_equal_rest(
    sim: Sim, connector: BinanceConnector, table: InstrumentTable
) -> None:
    one = table.get("BTC-USDT-PERP")
    assert one is not None
    start = Interval.MON1.shift(Interval.MON1.floor(now(sim)), -2)
    month = Range(start, Interval.MON1.shift(start, 1))
    (file,) = await connector.archives(one, Kind.FUNDING, None, month)
    bulk = [part async for part in connector.fetch_archive(one, None, file)]
    rest = await connector.fetch_funding(one, month)
    names = ("funding_rate", "interval_hours")
    assert rows_of(bulk, *names) == rows_of([rest], *names)
    assert rows_of(bulk)


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("archive_404", ArchiveAbsent),
        ("archive_bad_checksum", ChecksumMismatch),
        ("archive_corrupt_zip", (ChecksumMismatch, MalformedPayload)),
    ],
)
async def test_bulk_files_with_faults_are_refused(
    sim: Sim, connector: BinanceConnector, table: InstrumentTable, kind: str, error: Any
) -> None:
    one = table.resolve("BTC-USDT")
    end = Interval.D1.floor(now(sim) - 2 * US_PER_DAY)
    day = Range(end - US_PER_DAY, end)
    (file,) = await connector.archives(one, Kind.CANDLES, Interval.M1, day)
    fault(sim, kind)
    with pytest.raises(error):
        _ = [part async for part in connector.fetch_archive(one, Interval.M1, file)]


async def test_a_load_earns_no_refusal_under_the_published_limits(
    sim: Sim, connector: BinanceConnector, table: InstrumentTable
) -> None:
    # given ten days of minutes, spot and perpetual
    end = Interval.H1.floor(now(sim))
    asked = Range(end - 10 * US_PER_DAY, end)
    sim.send("POST", "/_stats/reset")
    # when they are loaded
    for symbol in SYMBOLS:
        one = table.get(symbol)
        assert one is not None
        parts = await candles(connector, one, asked)
        assert sum(part.table.num_rows for part in parts) == 14_400
    # then nothing was refused, and perpetual pages of 499 rows cost 2
    stats = sim.stats("binance")
    assert (stats["429"], stats["418"]) == (0, 0)
    assert stats["weight"] == 15 * 2 + 29 * 2
