"""`zvtc query` on books: rows in every format, and a book as it stood."""

import asyncio
import csv
import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from book_rows import DELTAS, SNAPSHOTS, T0, rows, stream, whole_rows
from cli_inside import Run

import zvt_crypto as zc
from zvt_crypto.bootstrap.stream import stream_config
from zvt_crypto.cli.export import Format, write_rows
from zvt_crypto.core.book import OrderBook
from zvt_crypto.core.ledger import Source, Verdict
from zvt_crypto.core.series import Kind
from zvt_crypto.core.timestamp import format_us
from zvt_crypto.ports.store import Batch, Finding
from zvt_crypto.settings import load_settings
from zvt_crypto.store.lake import LakeStore

MESSAGES = stream(11, 65)
END = MESSAGES[-1].ts_event


@pytest.fixture
def place(tmp_path: Path) -> str:
    """Return a store with a book, its whole at the start and in the middle."""

    async def fill() -> None:
        store = await LakeStore.open(tmp_path / "books")
        claim = [Finding(T0, END, Verdict.OBSERVED)]
        tables = ((DELTAS, rows(MESSAGES)), (SNAPSHOTS, whole_rows(MESSAGES, 30)))
        await store.commit(
            [Batch(series=s, table=t, findings=claim, source=Source.LIVE) for s, t in tables]
        )
        await store.close()

    asyncio.run(fill())
    return str(tmp_path / "books")


def stood(moment: int) -> OrderBook:
    book = OrderBook()
    for one in MESSAGES:
        if one.ts_event <= moment:
            (book.replace if one.is_snapshot else book.apply)(one.bids, one.asks)
    return book


@pytest.mark.parametrize("number", [5, 29, 45])
def test_a_book_is_shown_as_it_stood(zvtc: Run, place: str, number: int) -> None:
    moment = MESSAGES[number].ts_event
    asked = ("query", "book", DELTAS.exchange, DELTAS.symbol, "--at", format_us(moment))

    ended = zvtc(*asked, "--depth", "3", "--format", "json", "--store", place)

    assert ended.code == 0
    book = stood(moment)
    assert [(row["bid_price"], row["bid_size"]) for row in json.loads(ended.out)] == book.bids(3)
    assert [(row["ask_price"], row["ask_size"]) for row in json.loads(ended.out)] == book.asks(3)
    assert f"as of the change at {format_us(moment)}, number" in ended.err


def test_a_book_nobody_can_prove_is_one_line_with_a_remedy(zvtc: Run, place: str) -> None:
    asked = ("query", "book", DELTAS.exchange, DELTAS.symbol, "--store", place, "--at")
    for moment, words in (
        (format_us(T0 - 1), "no whole book is stored before it"),
        (format_us(END), f"changes are not known from {format_us(END)} on"),
        ("noon", "not a time: 'noon'"),
    ):
        ended = zvtc(*asked, moment)
        assert (ended.code, ended.out) == (2 if moment == "noon" else 1, "")
        assert ended.err.count("\n") == 1
        assert words in ended.err


def test_rows_are_written_in_every_format(zvtc: Run, place: str) -> None:
    # given rows of both kinds
    asked = (DELTAS.exchange, DELTAS.symbol, "--last", "2", "--store", place, "--format")
    # as far as the ledger reaches
    last = [one for one in MESSAGES if one.ts_event < END][-2:]

    # then text formats show them in a form that can be read
    shown = zvtc("query", "book-deltas", *asked, "table").out
    assert "bids" in shown
    assert " x " in shown
    plain = list(csv.DictReader(zvtc("query", "book-deltas", *asked, "csv").out.splitlines()))
    assert [[float(word) for word in row["bid_prices"].split()] for row in plain] == [
        [price for price, _ in one.bids] for one in last
    ]
    found = json.loads(zvtc("query", "book-snapshots", *asked, "json").out)
    assert [row["bid_prices"] for row in found] == whole_rows(MESSAGES, 30).slice(1).column(
        "bid_prices"
    ).to_pylist()


@pytest.mark.parametrize("kind", [Kind.BOOK_DELTAS, Kind.BOOK_SNAPSHOTS])
def test_other_programs_are_given_the_lists_themselves(kind: Kind) -> None:
    table = rows(MESSAGES) if kind is Kind.BOOK_DELTAS else whole_rows(MESSAGES)
    parquet, arrow = io.BytesIO(), io.BytesIO()
    write_rows(table, kind, Format.PARQUET, parquet)
    write_rows(table, kind, Format.ARROW, arrow)

    assert pq.read_table(io.BytesIO(parquet.getvalue())).equals(table)
    with pa.ipc.open_stream(arrow.getvalue()) as reader:
        assert reader.read_all().equals(table)


def test_the_python_door_gives_frames_and_books(place: str) -> None:
    moment = MESSAGES[40].ts_event
    with zc.open(place) as db:
        deltas = db.book_deltas(DELTAS.exchange, DELTAS.symbol)
        whole = db.book_snapshots(DELTAS.exchange, DELTAS.symbol, last=1)
        book = db.book_at(DELTAS.exchange, DELTAS.symbol, format_us(moment), depth=2)
        with pytest.raises(zc.UsageError, match="depth of 0"):
            db.book_at(DELTAS.exchange, DELTAS.symbol, format_us(moment), depth=0)

    assert deltas.is_complete
    # the last change is where the claim ends
    assert deltas.table.equals(rows(MESSAGES).slice(0, len(deltas)))
    assert deltas.frame["bid_prices"].list.len().sum() == sum(
        len(one.bids) for one in MESSAGES[1 : len(deltas) + 1]
    )
    assert list(deltas.to_pandas()["ask_sizes"].iloc[0]) == [size for _, size in MESSAGES[1].asks]
    assert len(whole) == 1
    assert (list(book.bids), list(book.asks)) == (stood(moment).bids(2), stood(moment).asks(2))
    assert book.is_snapshot
    assert book.ts_event == moment


def test_books_are_kept_where_the_settings_say_so() -> None:
    for asked in (None, False, True):
        loaded = load_settings({"stream.keep_books": asked}, environ={})
        assert stream_config(loaded.settings).keep_books is bool(asked)
