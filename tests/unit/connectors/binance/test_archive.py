"""Bulk files from listing to parts: sums, absent files, corrupt files."""

import hashlib
import io
import logging
import zipfile
from itertools import pairwise
from pathlib import Path

import pytest
from binance_world import NOW_US, ScriptedHttp, instrument, make_connector, reply

from zvt_crypto.connectors.binance.catalogue import list_files
from zvt_crypto.connectors.binance.rest import BinanceConnector
from zvt_crypto.connectors.binance.zipped import read_blocks
from zvt_crypto.core.column import times_of
from zvt_crypto.core.errors import ArchiveAbsent, ChecksumMismatch, MalformedPayload
from zvt_crypto.core.instrument import Market
from zvt_crypto.core.interval import Interval
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.series import Kind
from zvt_crypto.core.timestamp import to_us
from zvt_crypto.ports.connector import ArchiveFile, Fetched

DAY = Range(to_us("2026-03-01"), to_us("2026-03-02"))
BASE = "https://data.binance.vision"


@pytest.fixture
def http() -> ScriptedHttp:
    return ScriptedHttp()


@pytest.fixture
def connector(http: ScriptedHttp, tmp_path: Path) -> BinanceConnector:
    return make_connector(http, tmp_path)


def zipped(*rows: str, method: int = zipfile.ZIP_DEFLATED, name: str = "x.csv") -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", method) as archive:
        archive.writestr(name, "\n".join(rows) + "\n")
    return held.getvalue()


def klines(count: int = 3) -> list[str]:
    start = DAY.start // 1000
    return [f"{start + i * 60_000},1.0,2.0,0.5,1.5,10.25,0,15.5,3,4.0,6.0,0" for i in range(count)]


def trades(ids: list[int]) -> list[str]:
    return [f"{i},1.5,2.0,{i},{i},{DAY.start + i * 1000},True,True" for i in ids]


def day_file(kind: Kind = Kind.CANDLES) -> ArchiveFile:
    interval = Interval.M1 if kind is Kind.CANDLES else None
    (file,) = list_files(BASE, instrument(), kind, interval, DAY, now_us=NOW_US)
    return file


def publish(http: ScriptedHttp, file: ArchiveFile, *bodies: bytes, sum_of: bytes | None) -> None:
    http.files[file.name] = list(bodies)
    if sum_of is not None:
        digest = hashlib.sha256(sum_of).hexdigest()
        http.files[f"{file.name}.CHECKSUM"] = f"{digest}  {file.name}\n".encode()


def is_empty(folder: Path) -> bool:
    return not list(folder.iterdir())


async def fetch(connector: BinanceConnector, file: ArchiveFile) -> list[Fetched]:
    interval = Interval.M1 if file.kind is Kind.CANDLES else None
    return [part async for part in connector.fetch_archive(instrument(), interval, file)]


# -- the catalogue -------------------------------------------------------------------------------


def names(
    kind: Kind, start: str, end: str, interval: Interval | None = None, market: Market = Market.SPOT
) -> list[str]:
    asked = Range(to_us(start), to_us(end))
    found = list_files(BASE, instrument(market), kind, interval, asked, now_us=NOW_US)
    return [file.url.removeprefix(f"{BASE}/data/") for file in found]


def test_whole_months_come_as_one_file_and_the_rest_by_days() -> None:
    found = names(Kind.CANDLES, "2025-12-31", "2026-02-02", Interval.M1)
    assert found == [
        "spot/daily/klines/BTCUSDT/1m/BTCUSDT-1m-2025-12-31.zip",
        "spot/monthly/klines/BTCUSDT/1m/BTCUSDT-1m-2026-01.zip",
        "spot/daily/klines/BTCUSDT/1m/BTCUSDT-1m-2026-02-01.zip",
    ]


def test_a_month_is_published_after_the_first_monday_of_the_next() -> None:
    # the first Monday of March 2026 is the 2nd, and it is the 10th: February is there
    assert len(names(Kind.CANDLES, "2026-02-01", "2026-03-01", Interval.H1)) == 1
    asked = Range(to_us("2026-02-01"), to_us("2026-03-01"))
    early = to_us("2026-03-02T23:00:00Z")
    args = (BASE, instrument(), Kind.CANDLES, Interval.H1, asked)
    assert len(list_files(*args, now_us=early)) == 28
    assert len(list_files(*args, now_us=to_us("2026-03-03"))) == 1


def test_today_has_no_file() -> None:
    found = names(Kind.TRADES, "2026-03-09", "2026-03-12")
    assert found == ["spot/daily/aggTrades/BTCUSDT/BTCUSDT-aggTrades-2026-03-09.zip"]


def test_perpetuals_are_in_another_folder_and_funding_is_monthly_only() -> None:
    found = names(Kind.FUNDING, "2026-01-15", "2026-03-10", None, Market.LINEAR)
    assert found == [
        "futures/um/monthly/fundingRate/BTCUSDT/BTCUSDT-fundingRate-2026-01.zip",
        "futures/um/monthly/fundingRate/BTCUSDT/BTCUSDT-fundingRate-2026-02.zip",
    ]
    assert names(Kind.FUNDING, "2026-01-15", "2026-03-10", None, Market.SPOT) == []


@pytest.mark.parametrize("interval", [Interval.W1, Interval.MON1])
def test_widths_of_which_a_page_holds_all_have_no_file(interval: Interval) -> None:
    assert names(Kind.CANDLES, "2020-01-01", "2026-03-01", interval) == []


def test_files_do_not_overlap_and_cover_every_past_day() -> None:
    asked = Range(to_us("2024-02-10"), NOW_US)
    files = list_files(BASE, instrument(), Kind.CANDLES, Interval.M1, asked, now_us=NOW_US)
    for left, right in pairwise(files):
        assert left.covers.end == right.covers.start
    assert files[0].covers.start == asked.start
    assert files[-1].covers.end == to_us("2026-03-10")


def test_a_symbol_of_another_script_is_encoded_in_the_address() -> None:
    one = instrument(native="币安USDT")
    (file,) = list_files(BASE, one, Kind.TRADES, None, DAY, now_us=NOW_US)
    assert file.url.isascii()


# -- files ---------------------------------------------------------------------------------------


async def test_a_checked_file_becomes_a_table(
    http: ScriptedHttp, connector: BinanceConnector, tmp_path: Path
) -> None:
    file, body = day_file(), zipped(*klines())
    publish(http, file, body, sum_of=body)
    (part,) = await fetch(connector, file)
    assert part.asked == DAY
    assert part.table.num_rows == 3
    assert (part.requests, part.body_bytes) == (2, len(body))
    # and the scratch folder is empty again
    assert is_empty(tmp_path)


async def test_an_unpublished_file_is_absent_and_not_asked_twice(
    http: ScriptedHttp, connector: BinanceConnector
) -> None:
    with pytest.raises(ArchiveAbsent):
        await fetch(connector, day_file())
    assert len(http.asked) <= 3


async def test_a_wrong_sum_is_downloaded_once_more(
    http: ScriptedHttp, connector: BinanceConnector, caplog: pytest.LogCaptureFixture
) -> None:
    file, body = day_file(), zipped(*klines())
    publish(http, file, b"half of it", body, sum_of=body)
    (part,) = await fetch(connector, file)
    assert part.table.num_rows == 3
    assert part.requests == 4
    assert "archive_checksum_differs" in caplog.messages


async def test_a_wrong_sum_twice_is_an_error(
    http: ScriptedHttp, connector: BinanceConnector, tmp_path: Path
) -> None:
    file = day_file()
    publish(http, file, zipped(*klines()), sum_of=b"another file")
    with pytest.raises(ChecksumMismatch):
        await fetch(connector, file)
    assert is_empty(tmp_path)


async def test_a_missing_sum_is_tolerated_and_said(
    http: ScriptedHttp, connector: BinanceConnector, caplog: pytest.LogCaptureFixture
) -> None:
    file = day_file()
    publish(http, file, zipped(*klines()), sum_of=None)
    with caplog.at_level(logging.WARNING):
        (part,) = await fetch(connector, file)
    assert part.table.num_rows == 3
    assert "archive_checksum_missing" in caplog.messages


@pytest.mark.parametrize("damage", ["cut", "flip", "text", "no csv"])
async def test_a_corrupt_zip_is_malformed_before_a_row_leaves(
    http: ScriptedHttp, connector: BinanceConnector, damage: str
) -> None:
    body = bytearray(zipped(*klines(2_000)))
    if damage == "cut":
        del body[len(body) // 2 :]
    elif damage == "flip":
        body[len(body) // 2] ^= 0xFF
    elif damage == "text":
        body[:] = b"<html>not found</html>"
    else:
        body[:] = zipped("x", name="readme.txt")
    file = day_file()
    publish(http, file, bytes(body), sum_of=None)
    seen: list[Fetched] = []
    with pytest.raises(MalformedPayload):
        seen += [part async for part in connector.fetch_archive(instrument(), Interval.M1, file)]
    assert seen == []


async def test_a_stored_member_is_read_too(http: ScriptedHttp, connector: BinanceConnector) -> None:
    file, body = day_file(), zipped(*klines(), method=zipfile.ZIP_STORED)
    publish(http, file, body, sum_of=body)
    assert (await fetch(connector, file))[0].table.num_rows == 3


async def test_trades_out_of_order_come_out_in_order(
    http: ScriptedHttp, connector: BinanceConnector
) -> None:
    ids = list(range(500))
    file, body = day_file(Kind.TRADES), zipped(*trades([*ids[250:], *ids[:250], 7]))
    publish(http, file, body, sum_of=body)
    (part,) = await fetch(connector, file)
    assert part.table["trade_id"].to_pylist() == [str(i) for i in ids]
    assert (times_of(part.table) // 1000 - DAY.start // 1000).tolist() == ids
    assert set(part.table["side"].to_pylist()) == {"sell"}


async def test_a_server_fault_is_tried_again(
    http: ScriptedHttp, connector: BinanceConnector
) -> None:
    file, body = day_file(), zipped(*klines())
    publish(http, file, body, sum_of=body)
    good, tries = http.files[file.name], [reply(b"slow down", 503)]
    original = http.download

    async def download(url: str, target: Path, **options: object) -> object:
        http.files[file.name] = tries.pop() if tries else good
        return await original(url, target, **options)

    http.download = download  # pyright: ignore[reportAttributeAccessIssue] - a fault, then the file
    assert (await fetch(connector, file))[0].table.num_rows == 3


@pytest.mark.parametrize("block", [7, 64, 1_000, 1 << 20])
def test_blocks_end_at_the_end_of_a_line(tmp_path: Path, block: int) -> None:
    path = tmp_path / "a.zip"
    rows = klines(50)
    path.write_bytes(zipped(*rows))
    blocks = list(read_blocks(path, block_bytes=block))
    assert all(one.endswith(b"\n") for one in blocks)
    assert b"".join(blocks).decode().splitlines() == rows


def test_a_last_line_without_an_end_is_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.csv", "1,2\n3,4")
    assert b"".join(read_blocks(path)) == b"1,2\n3,4"
