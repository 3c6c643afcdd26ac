"""Recordings as text: exact times, bytes as they were, and what is refused."""

import gzip
import json
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zvt_crypto.core.errors import UsageError
from zvt_crypto.services.journal import Direction, JournalReader, RawFrame, RecordingWriter
from zvt_crypto.services.journal.recording import format_line, parse_line, seconds_to_us

LINE = '{"t":1723161256.172216566,"conn":"wss://a","dir":"in","raw":"{\\"e\\": 1}"}'


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("1723161256.172216566", 1723161256172216),
        ("1723161256.1722167", 1723161256172216),
        ("1723161256", 1723161256000000),
        ("1723161256.5", 1723161256500000),
        ("0.0000019", 1),
        ("1.7e9", 1700000000000000),
        ("-1.5", -1500000),
        ("null", None),
    ],
)
def test_seconds_become_whole_microseconds_without_float(text: str, micros: int | None):
    assert seconds_to_us(text.encode()) == micros


@pytest.mark.parametrize("text", ["true", '"1723161256"', "[1]", "1e400", "99999999999999999999"])
def test_a_time_that_is_none_is_refused(text: str):
    with pytest.raises((ValueError, ArithmeticError)):
        seconds_to_us(text.encode())


@given(st.integers(0, 1 << 52))
def test_every_microsecond_survives_the_text(micros: int):
    line = format_line(RawFrame(micros, "wss://a", Direction.IN, b"x"))
    assert Decimal(json.loads(line, parse_float=Decimal)["t"]) == Decimal(micros).scaleb(-6)
    assert parse_line(line).ts_recv == micros


@given(
    st.none() | st.integers(0, 1 << 52),
    st.text(st.characters(exclude_categories=["Cs"])),
    st.sampled_from(list(Direction)),
    st.binary() | st.text(st.characters(exclude_categories=["Cs"])).map(str.encode),
)
def test_a_line_gives_back_the_frame(
    micros: int | None, connection: str, direction: Direction, frame: bytes
):
    raw = RawFrame(micros, connection, direction, frame)
    line = format_line(raw)
    assert b"\n" not in line
    assert parse_line(line) == raw


def test_a_recording_is_read_packed_or_plain_whatever_its_name(tmp_path: Path):
    plain, packed = tmp_path / "a.gz", tmp_path / "b.jsonl"
    plain.write_text(f"{LINE}\n\n{LINE}\n")
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    for path in (plain, packed):
        frames = list(JournalReader(path))
        assert frames == 2 * [RawFrame(1723161256172216, "wss://a", Direction.IN, b'{"e": 1}')]


def test_what_is_written_is_what_is_read(tmp_path: Path):
    frames = [
        RawFrame(1, "wss://a", Direction.OUT, b"ping"),
        RawFrame(None, "wss://b", Direction.IN, b"\xff\x00"),
    ]
    for name in ("x.jsonl", "x.jsonl.gz"):
        with RecordingWriter(tmp_path / name) as out:
            for frame in frames:
                out.write(frame)
        assert list(JournalReader(tmp_path / name)) == frames


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("not json", "line 2"),
        ("[]", "line 2"),
        ('{"t":null,"conn":"a","dir":"in"}', "no `raw`"),
        ('{"t":null,"conn":"a","dir":"up","raw":""}', "line 2"),
        ('{"t":"1","conn":"a","dir":"in","raw":""}', "neither a number nor null"),
        ('{"t":null,"conn":"a","dir":"in","raw":"\\ud800"}', "line 2"),
        ('{"t":null,"conn":"a","dir":"in","raw_base64":"*"}', "raw_base64"),
    ],
)
def test_a_line_of_another_layout_is_named(tmp_path: Path, line: str, says: str):
    path = tmp_path / "x.jsonl"
    path.write_text(f"{LINE}\n{line}\n")
    with pytest.raises(UsageError, match=says) as caught:
        list(JournalReader(path))
    assert "\n" not in str(caught.value)


def test_a_gzip_cut_anywhere_is_an_error_and_never_a_shorter_recording(tmp_path: Path):
    whole = gzip.compress(f"{LINE}\n".encode() * 50)
    path = tmp_path / "x.jsonl.gz"
    for cut in range(2, len(whole)):
        path.write_bytes(whole[:cut])
        with pytest.raises(UsageError):
            list(JournalReader(path))


def test_a_damaged_gzip_is_an_error(tmp_path: Path):
    whole = bytearray(gzip.compress(f"{LINE}\n".encode() * 50))
    path = tmp_path / "x.jsonl.gz"
    whole[-6] ^= 1
    path.write_bytes(whole)
    with pytest.raises(UsageError, match="damaged"):
        list(JournalReader(path))


def test_no_file_is_an_error(tmp_path: Path):
    with pytest.raises(UsageError, match="no file or folder"):
        list(JournalReader(tmp_path / "absent"))
    with pytest.raises(UsageError, match="no journal segment"):
        list(JournalReader(tmp_path))
