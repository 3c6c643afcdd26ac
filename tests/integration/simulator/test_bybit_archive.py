"""The simulated archive of Bybit holds the trades of the market in the documented forms."""

import gzip
import re
from decimal import Decimal
from http import HTTPStatus

import pytest
from aiohttp import ClientSession
from bybit_client import HOUR_MS, Bybit

from zvt_crypto.core.interval import US_PER_DAY
from zvt_crypto.core.timestamp import format_us, to_us
from zvt_crypto.simulator.config import SimulatorConfig
from zvt_crypto.simulator.server import Simulator


@pytest.fixture
def bybit(sim: Simulator, client: ClientSession) -> Bybit:
    return Bybit(sim, client)


def unpack(body: bytes) -> tuple[str, list[list[str]]]:
    header, *lines = gzip.decompress(body).decode().splitlines()
    return header, [line.split(",") for line in lines]


async def test_the_archive_of_a_contract_is_its_trades(bybit: Bybit) -> None:
    # given the trades of a day
    day = {"start": "2025-07-01", "end": "2025-07-02"}
    truth = await bybit.truth("trades", "BTC-USD-PERP", **day)

    # when its file is read
    status, body = await bybit.get("/trading/BTCUSD/BTCUSD2025-07-01.csv.gz")
    header, rows = unpack(body)

    # then rows ascend in seconds with a fraction, sizes are dollars, home notional is coins
    assert status == HTTPStatus.OK
    assert header == (
        "timestamp,symbol,side,size,price,tickDirection,trdMatchID,grossValue,homeNotional,"
        "foreignNotional,RPI"
    )
    assert [int(Decimal(row[0]) * 10_000) for row in rows] == [
        time // 100 for time in truth["time_us"]
    ]
    assert [Decimal(row[3]) for row in rows] == [Decimal(size) for size in truth["native_size"]]
    assert [Decimal(row[8]) for row in rows] == [Decimal(size) for size in truth["size"]]
    assert [row[2].lower() for row in rows] == truth["side"]
    assert all(row[3] == row[9] for row in rows)
    assert len({row[6] for row in rows}) == len(rows) == 2_000


async def test_the_archive_of_spot_counts_from_one_every_day(bybit: Bybit) -> None:
    for day in ("2025-05-30", "2025-07-01"):
        truth = await bybit.truth(
            "trades", "BTC-USDT", start=day, end=format_us(to_us(day) + US_PER_DAY)
        )
        _, body = await bybit.get(f"/spot/BTCUSDT/BTCUSDT_{day}.csv.gz")
        header, rows = unpack(body)
        assert header == "id,timestamp,price,volume,side" + (",rpi" if day > "2025-06" else "")
        assert [int(row[0]) for row in rows] == list(range(1, 2_001))
        assert [int(row[1]) for row in rows] == [time // 1_000 for time in truth["time_us"]]
        assert [Decimal(row[3]) for row in rows] == [Decimal(size) for size in truth["size"]]
        assert [row[4] for row in rows] == truth["side"]


async def test_old_files_are_newest_first_and_old_spot_months_are_one_file(bybit: Bybit) -> None:
    _, body = await bybit.get("/trading/BTCUSDT/BTCUSDT2020-06-01.csv.gz")
    header, rows = unpack(body)
    times = [Decimal(row[0]) for row in rows]
    assert "RPI" not in header
    assert times == sorted(times, reverse=True)
    assert (await bybit.get("/spot/BTCUSDT/BTCUSDT_2022-02-01.csv.gz"))[0] == 404
    _, body = await bybit.get("/spot/BTCUSDT/BTCUSDT-2022-02.csv.gz")
    assert len(unpack(body)[1]) == 28 * 2_000


async def test_listings_name_every_file_there_is(bybit: Bybit) -> None:
    for root, symbol in (("trading", "BTCUSDT"), ("spot", "BTCUSDT"), ("trading", "BTCUSD")):
        status, body = await bybit.get(f"/{root}/{symbol}/")
        names = re.findall(r'<a href="([^"]+)">', body.decode())
        assert status == HTTPStatus.OK
        assert len(names) > 1_000
        for name in (names[0], names[-1]):
            assert (await bybit.get(f"/{root}/{symbol}/{name}"))[0] == 200
        _, folders = await bybit.get(f"/{root}/")
        assert f'href="{symbol}/"'.encode() in folders


@pytest.mark.parametrize(
    "path",
    [
        "/trading/BTCUSDT/BTCUSDT2019-01-01.csv.gz", "/trading/BTCUSDT/BTCUSDT2099-01-01.csv.gz",
        "/trading/BTCUSDT/BTCUSDT2025-02-30.csv.gz", "/trading/BTCUSDT/BTCUSDT-2025-02.csv.gz",
        "/trading/BTCUSDT/ETHUSDT2025-02-01.csv.gz", "/trading/NOPE/NOPE2025-02-01.csv.gz",
        "/spot/BTCUSDT/BTCUSDT2025-02-01.csv.gz", "/spot/BTCUSDT/BTCUSDT-2025-02.csv.gz",
        "/spot/BTCUSD/", "/trading/BTCUSDT", "/spot/BTCUSDT/README",
    ],
)  # fmt: skip
async def test_what_is_not_published_is_404(bybit: Bybit, path: str) -> None:
    status, body = await bybit.get(path)
    assert (status, b"404" in body) == (404, True)


async def test_a_day_is_published_hours_after_its_end(client: ClientSession) -> None:
    now_us = to_us("2026-03-02T00:00:00Z")
    for hours, listed in ((1, False), (5, True)):
        async with Simulator(SimulatorConfig(trades_per_day=100, exchanges=("bybit",))) as sim:
            offset = now_us + hours * HOUR_MS * 1_000 - sim.world.clock.now_us()
        config = SimulatorConfig(
            trades_per_day=100, exchanges=("bybit",), clock_offset_s=offset / 1_000_000
        )
        async with Simulator(config) as sim:
            bybit = Bybit(sim, client)
            status, _ = await bybit.get("/trading/BTCUSDT/BTCUSDT2026-03-01.csv.gz")
            _, body = await bybit.get("/trading/BTCUSDT/")
            assert (status == 200, b"2026-03-01" in body) == (listed, listed)


@pytest.mark.parametrize(
    "kind",
    ["archive_404", "archive_corrupt_zip", "archive_bad_checksum", "archive_missing_rows",
     "archive_header", "archive_unsorted"],
)  # fmt: skip
async def test_archive_faults(bybit: Bybit, kind: str) -> None:
    path = "/trading/BTCUSDT/BTCUSDT2025-07-01.csv.gz"
    _, clean = await bybit.get(path)
    await bybit.fault(kind=kind, exchange="bybit", count=1)
    status, body = await bybit.get(path)
    whole = gzip.decompress(clean).splitlines()
    match kind:
        case "archive_404":
            assert status == HTTPStatus.NOT_FOUND
        case "archive_corrupt_zip" | "archive_bad_checksum":
            with pytest.raises((EOFError, gzip.BadGzipFile)):
                gzip.decompress(body)
        case "archive_missing_rows":
            assert 0 < len(gzip.decompress(body).splitlines()) < len(whole)
        case "archive_header":
            assert gzip.decompress(body).splitlines() == whole[1:]
        case _:
            lines = gzip.decompress(body).splitlines()
            assert lines != whole
            assert sorted(lines) == sorted(whole)
    assert (await bybit.get(path))[1] == clean
