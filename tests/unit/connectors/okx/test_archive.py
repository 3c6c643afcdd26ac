"""The bulk files of OKX: days of UTC+8, headers in two languages, contracts."""

import io
import os
import zipfile
from itertools import pairwise
from pathlib import Path

import pytest
from exchange_world import ScriptedHttp, rows_of
from hypothesis import given, settings
from hypothesis import strategies as st
from okx_world import INVERSE, LINEAR, SPOT

from zvt_crypto.connectors.okx.archive import daily_files, monthly_files, read_parts
from zvt_crypto.connectors.okx.rest import OkxConnector
from zvt_crypto.core.errors import ArchiveAbsent, CryptoError, MalformedPayload, ServerFault
from zvt_crypto.core.instrument import Instrument
from zvt_crypto.core.interval import US_PER_DAY, US_PER_HOUR, Interval
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.series import Kind
from zvt_crypto.core.timestamp import to_us
from zvt_crypto.net.http import HttpReply
from zvt_crypto.ports.connector import Fetched

DAY = Range(to_us("2025-08-31T16:00:00Z"), to_us("2025-09-01T16:00:00Z"))
START_MS = DAY.start // 1_000
TRADES = "instrument_name,trade_id,side,price,size,created_time"
CANDLES = "instrument_name,open,high,low,close,vol,vol_ccy,vol_quote,open_time,confirm"
FUNDING = "instrument_name,funding_rate,funding_time"
NAME = "BTC-USDT-SWAP-trades-2025-09-01.zip"


def zipped(*lines: str | bytes, name: str = "file.csv") -> bytes:
    content = io.BytesIO()
    rows = [line if isinstance(line, bytes) else line.encode() for line in lines]
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, b"\n".join(rows) + b"\n")
    return content.getvalue()


def trade_line(number: int, at_ms: int, native: str = "BTC-USDT-SWAP", size: str = "3.2") -> str:
    return f"{native},{number},buy,86120.4,{size},{at_ms}"


def read(
    tmp_path: Path,
    content: bytes,
    kind: Kind = Kind.TRADES,
    instrument: Instrument = LINEAR,
    *,
    covers: Range = DAY,
    part_rows: int = 500_000,
):
    path = tmp_path / "file.zip"
    path.write_bytes(content)
    return list(read_parts([path], kind, instrument, covers, part_rows=part_rows))


# -- which files --------------------------------------------------------------------------------


def test_a_day_of_utc_needs_the_files_of_two_days_of_utc_plus_8():
    asked = Range(to_us("2025-09-01"), to_us("2025-09-02"))

    files = daily_files(asked, to_us("2026-01-01"))

    # dateTs of 2025-09-01 is 1756656000000, which is 16:00 UTC of the day before
    assert [file.date for file in files] == ["2025-09-01", "2025-09-02"]
    assert [file.day for file in files] == ["20250901", "20250902"]
    assert files[0].covers == DAY
    assert DAY.start == 1_756_656_000_000_000
    assert files[0].covers.end == files[1].covers.start


def test_the_last_two_days_are_not_out_yet():
    asked = Range(to_us("2025-09-01"), to_us("2025-09-10"))

    files = daily_files(asked, to_us("2025-09-06T16:00:00Z"))

    assert files[-1].date == "2025-09-04"


def test_funding_comes_by_months_and_only_whole_published_ones():
    asked = Range(to_us("2025-07-15"), to_us("2025-09-05"))

    files = monthly_files(asked, to_us("2025-09-20"))

    assert [file.date for file in files] == ["2025-07", "2025-08"]
    assert files[0].covers == Range(to_us("2025-07-01"), to_us("2025-08-01"))


async def test_archives_are_planned_for_trades_minutes_and_forgotten_funding(
    connector: OkxConnector,
):
    asked = Range(to_us("2025-09-01"), to_us("2025-09-02"))

    trades = await connector.archives(LINEAR, Kind.TRADES, None, asked)
    minutes = await connector.archives(SPOT, Kind.CANDLES, Interval.M1, asked)
    funding = await connector.archives(LINEAR, Kind.FUNDING, None, asked)

    folder = "https://static.okx.com/cdn/okex/traderecords"
    assert trades[0].url == f"{folder}/trades/daily/20250901/{NAME}"
    assert trades[0].name == NAME
    assert minutes[1].url == (
        f"{folder}/candlesticks/daily/20250902/BTC-USDT-candlesticks-2025-09-02.zip"
    )
    assert [f.url for f in funding] == [
        f"{folder}/swaprates/monthly/202509/BTC-USDT-SWAP-fundingrates-2025-09.zip"
    ]
    # hours are not in the files, spot pays no funding, REST still knows last month's
    assert await connector.archives(SPOT, Kind.CANDLES, Interval.H1, asked) == []
    assert await connector.archives(SPOT, Kind.FUNDING, None, asked) == []
    recent = Range(to_us("2026-10-01"), to_us("2026-11-01"))
    assert await connector.archives(LINEAR, Kind.FUNDING, None, recent) == []


# -- reading ------------------------------------------------------------------------------------


def test_trades_are_read_by_header_name_and_become_base_units(tmp_path: Path):
    content = zipped(
        TRADES, trade_line(2, START_MS + 5, size="0.07"), trade_line(1, START_MS, size="1.912e-05")
    )

    (part,) = read(tmp_path, content)

    assert part.asked == DAY
    assert rows_of(part.table) == [
        {"timestamp": DAY.start, "trade_id": "1", "price": 86120.4, "size": 1.912e-07,
         "side": "buy", "fills": None},
        {"timestamp": DAY.start + 5_000, "trade_id": "2", "price": 86120.4, "size": 0.0007,
         "side": "buy", "fills": None},
    ]  # fmt: skip


@pytest.mark.parametrize("encoding", ["gbk", "utf-8", "utf-8-sig"])
def test_old_files_have_a_header_in_two_languages_and_another_order(tmp_path: Path, encoding: str):
    header = "trade_id/交易id,side/交易方向,size/数量,price/价格,created_time/成交时间"
    content = zipped(header.encode(encoding), f"7,SELL,3,86120.4,{START_MS}")

    (part,) = read(tmp_path, content)

    assert part.table["trade_id"].to_pylist() == ["7"]
    assert part.table["side"].to_pylist() == ["sell"]
    assert part.table["size"].to_pylist() == [0.03]


def test_a_missing_header_is_told_by_the_instrument_in_its_place(tmp_path: Path):
    (part,) = read(tmp_path, zipped(trade_line(1, START_MS), trade_line(2, START_MS + 1)))

    assert part.table["trade_id"].to_pylist() == ["1", "2"]


def test_inverse_contracts_are_dollars_over_the_price(tmp_path: Path):
    line = trade_line(1, START_MS, native="BTC-USD-SWAP", size="5")

    (part,) = read(tmp_path, zipped(TRADES, line), instrument=INVERSE)

    assert part.table["size"].to_pylist() == [5 * 100 / 86120.4]


def test_rows_outside_the_day_are_rejected_with_their_time(tmp_path: Path):
    lines = [trade_line(i, START_MS + i) for i in range(300)]
    stray = trade_line(999, START_MS + 86_400_000)

    (part,) = read(tmp_path, zipped(TRADES, *lines, stray))

    assert part.table.num_rows == 300
    assert [(bad.timestamp_us, bad.reason) for bad in part.rejected] == [
        (DAY.end, "outside_window")
    ]


def test_a_file_cut_at_midnight_of_utc_is_refused(tmp_path: Path):
    lines = [trade_line(i, START_MS + 8 * 3_600_000 + i * 864_000) for i in range(100)]

    with pytest.raises(MalformedPayload, match=r"UTC\+8"):
        read(tmp_path, zipped(TRADES, *lines))


def test_a_bad_row_is_kept_beside_the_good_ones(tmp_path: Path):
    content = zipped(TRADES, trade_line(1, START_MS), "BTC-USDT-SWAP,2,buy,oops,1,5", "x")

    (part,) = read(tmp_path, content)

    assert part.table.num_rows == 1
    assert [bad.reason for bad in part.rejected] == ["unreadable"]
    assert "oops" in part.rejected[0].raw


def test_rows_of_other_instruments_are_left_out(tmp_path: Path):
    content = zipped(TRADES, trade_line(1, START_MS), trade_line(2, START_MS, native="ETH-USDT"))

    (part,) = read(tmp_path, content)

    assert part.table["trade_id"].to_pylist() == ["1"]


def test_parts_tile_the_day_and_split_no_moment(tmp_path: Path):
    lines = [trade_line(i, START_MS + (i // 7) * 1_000) for i in range(100)]

    parts = read(tmp_path, zipped(TRADES, *lines), part_rows=20)

    assert len(parts) > 3
    assert (parts[0].asked.start, parts[-1].asked.end) == DAY
    for left, right in pairwise(parts):
        assert left.asked.end == right.asked.start
    for part in parts:
        times = [row["timestamp"] for row in rows_of(part.table)]
        assert all(part.asked.holds(time) for time in times)
    assert sum(part.table.num_rows for part in parts) == 100


def test_one_moment_larger_than_a_part_stays_whole(tmp_path: Path):
    lines = [trade_line(i, START_MS) for i in range(50)]

    parts = read(tmp_path, zipped(TRADES, *lines), part_rows=20)

    assert [part.table.num_rows for part in parts] == [50]


def test_repeated_rows_are_kept_once(tmp_path: Path):
    content = zipped(TRADES, trade_line(1, START_MS), trade_line(1, START_MS))

    assert read(tmp_path, content)[0].table.num_rows == 1


def test_an_empty_day_is_an_answer(tmp_path: Path):
    (part,) = read(tmp_path, zipped(TRADES))

    assert (part.asked, part.table.num_rows) == (DAY, 0)


def test_candles_take_the_volume_of_their_market_and_drop_running_ones(tmp_path: Path):
    rows = [
        f"BTC-USDT-SWAP,1,4,0.5,2,152.3,1.523,3000.5,{START_MS + i * 60_000},{confirm}"
        for i, confirm in enumerate("110")
    ]
    content = zipped(CANDLES, *rows)

    (swap,) = read(tmp_path, content, Kind.CANDLES)
    (spot,) = read(
        tmp_path,
        zipped(CANDLES, *(row.replace("-SWAP", "") for row in rows)),
        Kind.CANDLES,
        SPOT,
    )

    assert swap.table["volume"].to_pylist() == [1.523, 1.523]
    assert spot.table["volume"].to_pylist() == [152.3, 152.3]
    assert rows_of(swap.table)[0] == {
        "timestamp": DAY.start, "open": 1.0, "high": 4.0, "low": 0.5, "close": 2.0,
        "volume": 1.523, "quote_volume": 3000.5, "trade_count": None, "taker_buy_volume": None,
    }  # fmt: skip


def test_funding_that_drifted_off_its_hour_is_put_back_on_it(tmp_path: Path):
    covers = Range(to_us("2025-09-01"), to_us("2025-10-01"))
    at = covers.start // 1_000 + 8 * 3_600_000
    content = zipped(
        FUNDING,
        f"BTC-USDT-SWAP,-2.36e-05,{at + 1_900}",
        f"BTC-USDT-SWAP,0.0001,{at - 8 * 3_600_000 - 5}",
    )

    (part,) = read(tmp_path, content, Kind.FUNDING, covers=covers)

    assert rows_of(part.table) == [
        {"timestamp": covers.start, "funding_rate": 0.0001, "interval_hours": None,
         "mark_price": None},
        {"timestamp": covers.start + 8 * US_PER_HOUR, "funding_rate": -2.36e-05,
         "interval_hours": None, "mark_price": None},
    ]  # fmt: skip


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a zip",
        zipped(TRADES, name="readme.txt"),
        zipped("a,b,c", "1,2,3"),
        zipped(f"{TRADES},size", "x"),
        zipped(TRADES, "1,2"),
    ],
)
def test_what_is_no_such_file_is_malformed(tmp_path: Path, content: bytes):
    with pytest.raises(MalformedPayload):
        read(tmp_path, content)


def test_a_broken_checksum_inside_the_zip_is_found(tmp_path: Path):
    content = bytearray(zipped(TRADES, *(trade_line(i, START_MS + i) for i in range(1_000))))
    content[len(content) // 2] ^= 0x55

    with pytest.raises(MalformedPayload):
        read(tmp_path, bytes(content))


@settings(deadline=None, max_examples=60)
@given(
    header=st.sampled_from([TRADES, CANDLES, FUNDING]),
    kind=st.sampled_from([Kind.TRADES, Kind.CANDLES, Kind.FUNDING]),
    rows=st.lists(
        st.lists(st.sampled_from(["", "1", "-1", "nan", "1e999", "x", '"', "BTC-USDT-SWAP",
                                  str(START_MS), "9" * 30]), max_size=11), max_size=5),
)  # fmt: skip
def test_any_rows_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, header: str, kind: Kind, rows: list[list[str]]
):
    content = zipped(header, *(",".join(row) for row in rows))
    try:
        read(tmp_path_factory.mktemp("fuzz"), content, kind)
    except CryptoError:
        return


# -- fetching -----------------------------------------------------------------------------------


async def fetch(connector: OkxConnector, kind: Kind = Kind.TRADES) -> list[Fetched]:
    (file, *_) = await connector.archives(LINEAR, kind, None, DAY)
    return [part async for part in connector.fetch_archive(LINEAR, None, file)]


async def test_a_file_is_fetched_read_and_removed(
    connector: OkxConnector, http: ScriptedHttp, tmp_path: Path
):
    content = zipped(TRADES, trade_line(1, START_MS))
    http.files[NAME] = content

    (part,) = await fetch(connector)

    assert part.table.num_rows == 1
    assert (part.asked, part.requests, part.body_bytes) == (DAY, 1, len(content))
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - in an async test


async def test_a_file_that_is_not_there_is_asked_for_once(
    connector: OkxConnector, http: ScriptedHttp
):
    with pytest.raises(ArchiveAbsent, match=NAME):
        await fetch(connector)
    assert len(http.asked) == 1


async def test_a_broken_file_is_fetched_again_and_then_refused(
    connector: OkxConnector, http: ScriptedHttp
):
    http.files[NAME] = b"half a file"

    with pytest.raises(MalformedPayload):
        await fetch(connector)
    assert len(http.asked) == 3


async def test_a_fault_of_the_file_server_is_no_absence(
    connector: OkxConnector, http: ScriptedHttp
):
    http.files[NAME] = HttpReply(503, {}, b"busy", 0.0)

    with pytest.raises(ServerFault):
        await fetch(connector)


async def test_a_month_of_funding_takes_its_last_hours_from_the_next_file(
    connector: OkxConnector, http: ScriptedHttp
):
    end = to_us("2025-10-01") // 1_000
    line = "BTC-USDT-SWAP,0.0001,{}"
    name = "BTC-USDT-SWAP-fundingrates-{}.zip"
    # midnight of UTC+8 on 1 October is 16:00 UTC on 30 September
    http.files[name.format("2025-09")] = zipped(FUNDING, line.format(end - 16 * 3_600_000))
    http.files[name.format("2025-10")] = zipped(
        FUNDING, line.format(end - 8 * 3_600_000), line.format(end)
    )
    asked = Range(to_us("2025-09-10"), to_us("2025-09-11"))
    (file,) = await connector.archives(LINEAR, Kind.FUNDING, None, asked)

    parts = [part async for part in connector.fetch_archive(LINEAR, None, file)]

    assert [row["timestamp"] for row in rows_of(parts[0].table)] == [
        (end - 16 * 3_600_000) * 1_000,
        (end - 8 * 3_600_000) * 1_000,
    ]
    assert parts[0].asked.end - parts[0].asked.start == 30 * US_PER_DAY
    assert parts[0].requests == 3
