"""The daily trade files: their names, their dialects, and what may be wrong with them."""

import gzip
import random
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from bybit_world import INVERSE, LINEAR, SPOT
from hypothesis import given
from hypothesis import strategies as st

from zvt_crypto.connectors.bybit import archive
from zvt_crypto.connectors.bybit.archive import (
    NamedFile,
    Part,
    choose_files,
    due_files,
    parse_listing,
    read_parts,
)
from zvt_crypto.core.errors import MalformedPayload
from zvt_crypto.core.instrument import Instrument
from zvt_crypto.core.interval import US_PER_DAY, Interval
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.schema import TRADES
from zvt_crypto.core.timestamp import to_us

DAY = to_us("2024-05-01")
COVERS = Range(DAY, DAY + US_PER_DAY)
S = DAY // 1_000_000
PERP_HEADER = (
    "timestamp,symbol,side,size,price,tickDirection,trdMatchID,"
    "grossValue,homeNotional,foreignNotional"
)
SPOT_HEADER = "id,timestamp,price,volume,side"


def perp_row(time: str, trade_id: str, **more: str) -> str:
    row = {
        "symbol": "BTCUSDT",
        "side": "Buy",
        "size": "0.5",
        "price": "60000",
        "tick": "PlusTick",
        "gross": "3e+12",
        "home": "0.5",
        "foreign": "30000",
    } | more
    return (
        f"{time},{row['symbol']},{row['side']},{row['size']},{row['price']},{row['tick']},"
        f"{trade_id},{row['gross']},{row['home']},{row['foreign']}"
    )


def read(
    folder: Path,
    lines: list[str] | bytes,
    instrument: Instrument = LINEAR,
    covers: Range = COVERS,
    **more: Any,
) -> list[Part]:
    text = lines if isinstance(lines, bytes) else "".join(f"{x}\n" for x in lines).encode()
    path = folder / "file.csv.gz"
    path.write_bytes(gzip.compress(text))
    return list(read_parts(path, folder, instrument, covers, **more))


def column(part: Part, name: str) -> list[Any]:
    values = part.table[name]
    return (values.cast("int64") if name == "timestamp" else values).to_pylist()


# -- which files --------------------------------------------------------------------------------

LISTING = (
    b"<html><body><h1>Index of /</h1><ul>"
    b'<li><a href="../">../</a></li>'
    b'<li><a href="BTCUSDT2024-05-01.csv.gz">BTCUSDT2024-05-01.csv.gz</a></li>'
    b'<li><a href="/trading/BTCUSDT/BTCUSDT2020-03-25.csv.gz">old</a></li>'
    b'<li><a href="BTCUSDT_2024-05-02.csv.gz">spot day</a></li>'
    b'<li><a href="BTCUSDT-2022-11.csv.gz">spot month</a></li>'
    b'<li><a href="BTCUSDT-26DEC252024-05-01.csv.gz">a dated future</a></li>'
    b'<li><a href="BTCUSDT2024-13-45.csv.gz">no date</a></li>'
    b'<li><a href="ETHUSDT2024-05-01.csv.gz">another</a></li>'
    b'<li><a href="BTCUSDT2024-05-01.csv.gz.md5">no file of ours</a></li>'
    b"</ul></body></html>"
)


def test_a_listing_names_days_of_both_spellings_and_months():
    found = parse_listing(LISTING, "BTCUSDT")
    assert [f.name for f in found] == [
        "BTCUSDT2020-03-25.csv.gz",
        "BTCUSDT-2022-11.csv.gz",
        "BTCUSDT2024-05-01.csv.gz",
        "BTCUSDT_2024-05-02.csv.gz",
    ]
    assert found[1].covers == Range(to_us("2022-11-01"), to_us("2022-12-01"))
    assert found[2].covers == COVERS


@given(st.binary(max_size=300))
def test_any_listing_can_be_read(body: bytes):
    assert parse_listing(body, "BTCUSDT") == []


def day_file(start: int) -> NamedFile:
    return NamedFile(f"day{start}", Range(start, start + US_PER_DAY))


def month_file(text: str) -> NamedFile:
    start = to_us(text)
    return NamedFile(f"month{text}", Range(start, Interval.MON1.shift(start, 1)))


def test_days_are_preferred_and_a_month_fills_in_for_days_without_a_file():
    start = to_us("2022-11-01")
    days = [day_file(start + n * US_PER_DAY) for n in (0, 1, 3)]
    month = month_file("2022-11")
    two_days = Range(start, start + 2 * US_PER_DAY)
    assert choose_files([month, *days], two_days) == days[:2]
    assert choose_files([month, *days], Range(start, start + 3 * US_PER_DAY)) == [month]
    assert choose_files(days, Range(start, start + 3 * US_PER_DAY)) == days[:2]


def test_files_beside_the_range_are_not_chosen():
    start = to_us("2022-11-01")
    files = [day_file(start), day_file(start + US_PER_DAY), month_file("2022-10")]
    assert choose_files(files, Range(start, start + 1)) == files[:1]
    assert choose_files(files, Range(start, start)) == []


@given(
    st.sets(st.integers(0, 89)), st.sets(st.integers(0, 2)), st.integers(0, 89), st.integers(1, 90)
)
def test_no_moment_is_answered_for_twice(days: set[int], months: set[int], first: int, count: int):
    base = to_us("2022-10-01")
    listed = [day_file(base + n * US_PER_DAY) for n in days]
    listed += [month_file(("2022-10", "2022-11", "2022-12")[n]) for n in months]
    asked = Range(base + first * US_PER_DAY, base + (first + count) * US_PER_DAY)
    chosen = choose_files(listed, asked)
    for left, right in pairwise(chosen):
        assert left.covers.end <= right.covers.start
    for n in days:
        if asked.start <= base + n * US_PER_DAY < asked.end:
            assert any(f.covers.holds(base + n * US_PER_DAY) for f in chosen)


def test_days_that_are_not_out_yet_are_named_all_the_same():
    today = to_us("2024-05-11")
    listed = [day_file(today - n * US_PER_DAY) for n in range(2, 11)]
    due = due_files(listed, "BTCUSDT", today + 1, is_spot=False)
    assert [f.name for f in due] == ["BTCUSDT2024-05-10.csv.gz", "BTCUSDT2024-05-11.csv.gz"]
    spot = due_files(listed, "BTCUSDT", today + 1, is_spot=True)
    assert spot[-1].name == "BTCUSDT_2024-05-11.csv.gz"


# -- reading ------------------------------------------------------------------------------------


def test_seconds_with_a_fraction_are_exact_microseconds(tmp_path: Path):
    rows = [
        perp_row(f"{S}.{fraction}", f"id{fraction}") for fraction in ("6864", "000001", "999999")
    ]
    (part,) = read(tmp_path, [PERP_HEADER, *rows])
    assert column(part, "timestamp") == [DAY + 1, DAY + 686_400, DAY + 999_999]
    assert part.table.schema.equals(TRADES)
    assert part.asked == COVERS


@given(st.integers(to_us("2019-10-01"), to_us("2060-01-01") - 1))
def test_every_microsecond_survives_the_detour_over_a_double(time_us: int):
    second, fraction = divmod(time_us, 1_000_000)
    row = perp_row(f"{second}.{fraction:06d}", "id")
    covers = Range(time_us, time_us + 1)
    with tempfile.TemporaryDirectory() as folder:
        (part,) = read(Path(folder), [PERP_HEADER, row], covers=covers)
    assert column(part, "timestamp") == [time_us]


def test_sides_are_the_takers_and_ids_are_the_match_ids(tmp_path: Path):
    rows = [perp_row(f"{S}", "a", side="Buy"), perp_row(f"{S + 1}", "b", side="Sell")]
    (part,) = read(tmp_path, [PERP_HEADER, *rows])
    assert column(part, "side") == ["buy", "sell"]
    assert column(part, "trade_id") == ["a", "b"]
    assert column(part, "size") == [0.5, 0.5]


def test_old_files_have_the_newest_first(tmp_path: Path):
    rows = [perp_row(f"{S + n}", f"id{n}") for n in (9, 5, 1)]
    (part,) = read(tmp_path, [PERP_HEADER, *rows])
    assert column(part, "trade_id") == ["id1", "id5", "id9"]


def test_newer_files_have_a_column_more_and_columns_go_by_name(tmp_path: Path):
    names = [*PERP_HEADER.split(","), "RPI"]
    cells = [*perp_row(f"{S}.5", "id", side="Sell").split(","), "1"]
    order = random.Random(4).sample(range(len(names)), len(names))
    lines = [",".join(names[i] for i in order), ",".join(cells[i] for i in order)]
    (part,) = read(tmp_path, lines)
    assert part.table.to_pylist()[0] | {"timestamp": None} == {
        "timestamp": None,
        "trade_id": "id",
        "price": 60000.0,
        "size": 0.5,
        "side": "sell",
        "fills": None,
    }


@pytest.mark.parametrize("count", [1, 3])
def test_a_file_without_a_header_has_the_usual_columns(tmp_path: Path, count: int):
    rows = [f"{perp_row(f'{S + n}', f'id{n}')},0" for n in range(count)]
    (part,) = read(tmp_path, rows)
    assert column(part, "trade_id") == [f"id{n}" for n in range(count)]
    (part,) = read(tmp_path, [spot_row(7, DAY // 1_000)], SPOT)
    assert column(part, "trade_id") == ["20240501-00000007"]


def test_inverse_sizes_are_dollars_and_home_notional_is_their_worth(tmp_path: Path):
    row = perp_row(f"{S}", "id", size="1000", price="60000", home="0.01666667", foreign="1000")
    (part,) = read(tmp_path, [PERP_HEADER, row], INVERSE)
    assert column(part, "size") == [0.01666667]


@pytest.mark.parametrize("home", ["1000", "", "nonsense"])
def test_a_home_notional_that_cannot_be_the_worth_is_not_believed(tmp_path: Path, home: str):
    row = perp_row(f"{S}", "id", size="1000", price="50000", home=home)
    (part,) = read(tmp_path, [PERP_HEADER, row], INVERSE)
    assert column(part, "size") == [0.02]


def spot_row(trade_id: int, ms: int, **more: str) -> str:
    row = {"price": "60000.1", "volume": "0.25", "side": "buy"} | more
    return f"{trade_id},{ms},{row['price']},{row['volume']},{row['side']}"


def test_spot_ids_restart_every_day_so_the_day_stands_before_them(tmp_path: Path):
    month = Range(to_us("2024-05-01"), to_us("2024-06-01"))
    ms = DAY // 1_000
    rows = [spot_row(n, ms + d * 86_400_000 + n) for d in (0, 1) for n in (1, 2, 10)]
    (part,) = read(tmp_path, [SPOT_HEADER, *rows], SPOT, month)
    ids = column(part, "trade_id")
    assert ids[:3] == ["20240501-00000001", "20240501-00000002", "20240501-00000010"]
    assert ids[3:] == ["20240502-00000001", "20240502-00000002", "20240502-00000010"]


def test_spot_times_are_milliseconds_and_sides_lower_case(tmp_path: Path):
    rows = [f"{spot_row(1, DAY // 1_000 + 7, side='sell')},0"]
    (part,) = read(tmp_path, [f"{SPOT_HEADER},rpi", *rows], SPOT)
    assert column(part, "timestamp") == [DAY + 7_000]
    assert column(part, "side") == ["sell"]
    assert column(part, "size") == [0.25]


def test_a_switch_of_the_unit_of_time_is_noticed(tmp_path: Path):
    rows = [spot_row(1, DAY), spot_row(2, DAY // 1_000), spot_row(3, S)]
    (part,) = read(tmp_path, [SPOT_HEADER, *rows], SPOT)
    assert column(part, "timestamp") == [DAY] * 3


def test_rows_that_are_no_trades_of_that_day_are_kept_beside(tmp_path: Path):
    bad = [
        perp_row(f"{S}", "price", price="zero"),
        perp_row(f"{S}", "size", size="-1"),
        perp_row(f"{S}", "side", side="None"),
        perp_row(f"{S - 1}", "yesterday"),
        perp_row(f"{S + 86_400}", "tomorrow"),
        perp_row("when", "time"),
        perp_row(f"{S}", ""),
        f"{S},BTCUSDT",
    ]
    (part,) = read(tmp_path, [PERP_HEADER, perp_row(f"{S}", "good"), *bad])
    assert column(part, "trade_id") == ["good"]
    assert len(part.rejected) == len(bad)
    assert "zero" in part.rejected[0].raw
    assert [r.timestamp_us for r in part.rejected][3] == DAY - 1_000_000


def test_a_file_of_rows_that_cannot_be_read_is_malformed(tmp_path: Path):
    rows = [perp_row("when", f"id{n}") for n in range(10_001)]
    with pytest.raises(MalformedPayload, match="unreadable"):
        read(tmp_path, [PERP_HEADER, *rows])


def test_a_trade_listed_twice_is_one_trade(tmp_path: Path):
    rows = [perp_row(f"{S}", "a"), perp_row(f"{S}", "b"), perp_row(f"{S}", "a")]
    (part,) = read(tmp_path, [PERP_HEADER, *rows])
    assert column(part, "trade_id") == ["a", "b"]


@pytest.mark.parametrize(
    ("direction", "piece"), [("up", 2_000), ("down", 2_000), ("mixed", 2_000), ("mixed", 1 << 20)]
)
def test_parts_tile_the_day_in_whatever_order_the_file_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, direction: str, piece: int
):
    # given a file of many pieces, one moment in it shared by more trades than a part holds
    monkeypatch.setattr(archive, "_PIECE_BYTES", piece)
    times = [*range(400), *[200] * 60]
    {"up": times.sort, "down": lambda: times.sort(reverse=True)}.get(
        direction, lambda: random.Random(7).shuffle(times)
    )()
    rows = [perp_row(f"{S + t}.25", f"id{n}") for n, t in enumerate(times)]
    # when it is read in small parts
    parts = read(tmp_path, [PERP_HEADER, *rows], part_rows=50)
    # then these tile the day, hold every trade once, and are ascending
    assert parts[0].asked.start == COVERS.start
    assert parts[-1].asked.end == COVERS.end
    assert all(a.asked.end == b.asked.start for a, b in pairwise(parts))
    found = [t for part in parts for t in column(part, "timestamp")]
    assert found == sorted(DAY + t * 1_000_000 + 250_000 for t in times)
    assert len({i for part in parts for i in column(part, "trade_id")}) == len(times)
    assert len(parts) > 5
    assert all(part.asked.holds(t) for part in parts for t in column(part, "timestamp"))


def test_an_empty_day_is_one_part_without_rows(tmp_path: Path):
    (part,) = read(tmp_path, [PERP_HEADER])
    assert (part.asked, part.table.num_rows) == (COVERS, 0)


@pytest.mark.parametrize(
    "text", [b"", b"\n", b"<html>Not Found</html>", b"timestamp,side,size,price\n1,Buy,1,1\n"]
)
def test_a_file_without_the_columns_is_malformed(tmp_path: Path, text: bytes):
    with pytest.raises(MalformedPayload, match="no column"):
        read(tmp_path, text)


def broken(folder: Path, content: bytes) -> None:
    path = folder / "broken.csv.gz"
    path.write_bytes(content)
    with pytest.raises(MalformedPayload):
        list(read_parts(path, folder, LINEAR, COVERS))


def test_a_file_cut_short_is_malformed_and_yields_nothing(tmp_path: Path):
    rows = "".join(f"{perp_row(f'{S + n}', f'id{n}')}\n" for n in range(500))
    whole = gzip.compress(f"{PERP_HEADER}\n{rows}".encode())
    for at in (0, 1, 12, len(whole) // 2, len(whole) - 9, len(whole) - 1):
        broken(tmp_path, whole[:at])


def test_a_file_whose_own_checksum_differs_is_malformed(tmp_path: Path):
    whole = bytearray(gzip.compress(f"{PERP_HEADER}\n{perp_row(f'{S}', 'id')}\n".encode()))
    whole[-6] ^= 1
    broken(tmp_path, bytes(whole))


def test_a_page_instead_of_a_file_is_malformed(tmp_path: Path):
    broken(tmp_path, b"<html>busy</html>")


_CELL = st.text(
    st.characters(codec="utf-8", exclude_characters="\n\r,"), max_size=12
) | st.from_regex(r"-?[0-9]{1,25}(\.[0-9]{1,9})?", fullmatch=True)


@given(
    st.lists(st.lists(_CELL, max_size=12).map(",".join), max_size=6),
    st.sampled_from([LINEAR, INVERSE, SPOT]),
)
def test_any_lines_are_trades_or_rejected(lines: list[str], instrument: Instrument):
    header = SPOT_HEADER if instrument is SPOT else PERP_HEADER
    with tempfile.TemporaryDirectory() as folder:
        try:
            (part,) = read(Path(folder), [header, *lines], instrument)
        except MalformedPayload:
            return
    assert part.table.num_rows + len(part.rejected) <= len(lines)


@given(st.binary(max_size=300))
def test_any_text_is_a_file_or_malformed(text: bytes):
    with tempfile.TemporaryDirectory() as folder:
        for prefix in (b"", f"{SPOT_HEADER}\n".encode()):
            try:
                read(Path(folder), prefix + text, SPOT)
            except MalformedPayload:
                continue
