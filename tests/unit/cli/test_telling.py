"""Every record has a line for people and a line of JSON."""

import json
import typing

import pytest

from zvt_crypto.cli.telling import CONTROL, KINDS, clock_of, json_line, text_line
from zvt_crypto.core.instrument import Status
from zvt_crypto.core.interval import Interval
from zvt_crypto.core.record import (
    Book,
    BookReset,
    Candle,
    ControlRecord,
    DataRecord,
    Disconnected,
    Funding,
    Gap,
    GapRepaired,
    GapUnrecoverable,
    InstrumentStatus,
    Liquidation,
    MarkPrice,
    OpenInterest,
    Quote,
    Side,
    Stale,
    Trade,
)
from zvt_crypto.core.series import Kind, Series
from zvt_crypto.core.timestamp import to_us

AT = to_us("2026-11-22T10:15:02.123456")
WHO = ("okx", "BTC-USDT-PERP", AT, AT + 1_000)
SERIES = Series("okx", "BTC-USDT-PERP", Kind.TRADES)
MINUTES = Series("okx", "BTC-USDT-PERP", Kind.CANDLES, Interval.M1)
RECORDS = [
    (Trade(*WHO, 7, 67_000.5, 0.25, Side.BUY), "buy  0.25 @ 67000.5  id 7"),
    (Quote(*WHO, 1.5, 2.0, None, None), "2 @ 1.5 | - @ -"),
    (
        Book(
            exchange="okx", symbol="BTC-USDT-PERP", ts_event=AT, ts_recv=AT, is_snapshot=True,
            bids=[(1.0, 2.0)], asks=[],
        ),
        "snapshot 1 bids 0 asks",
    ),
    (
        Candle("okx", "BTC-USDT-PERP", Interval.M1, AT, AT, 1, 2, 0.5, 1.5, 10, is_closed=True),
        "1m 1 2 0.5 1.5 10  closed",
    ),
    (MarkPrice(*WHO, 5.0), "mark_price=5.0"),
    (Funding(*WHO, predicted_rate=0.0001), "predicted_rate=0.0001"),
    (OpenInterest(*WHO, 12.0), "open_interest=12.0"),
    (Liquidation(*WHO, 5.0, 1.0, Side.SELL), "price=5.0 size=1.0 side=sell"),
    (InstrumentStatus(*WHO, Status.ACTIVE, "live"), "detail=live"),
    (Gap(SERIES, AT, AT + 2_000_000, AT, "ids"), "10:15:02.123..10:15:04.123 lost: ids"),
    (GapRepaired(SERIES, AT, AT + 1, AT, 1_234), "whole, 1,234 rows"),
    (GapUnrecoverable(SERIES, AT, AT + 1, AT, "gone"), "open: gone"),
    (Stale(MINUTES, AT, 4.2), "silent for 4.2 s"),
    (Disconnected(SERIES, AT, "reset by peer"), "reset by peer"),
    (BookReset(SERIES, AT, "sequence"), "sequence"),
]  # fmt: skip


def test_every_kind_of_record_is_told() -> None:
    kinds = set(typing.get_args(DataRecord)) | set(typing.get_args(ControlRecord))

    assert set(KINDS) == kinds == {type(record) for record, _ in RECORDS}
    assert set(CONTROL) == set(typing.get_args(ControlRecord))


@pytest.mark.parametrize(("record", "told"), RECORDS, ids=lambda r: type(r).__name__)
def test_a_line_for_people_names_who_and_what(record: DataRecord, told: str) -> None:
    line = text_line(record).decode()

    assert line.startswith("10:15:02.123 ")
    assert line.count("\n") == 1
    assert "okx BTC-USDT-PERP" in line
    assert told in line


@pytest.mark.parametrize("record", [r for r, _ in RECORDS], ids=lambda r: type(r).__name__)
def test_a_line_of_json_has_every_field(record: DataRecord) -> None:
    line = json_line(record)

    fields = json.loads(line)
    assert line.count(b"\n") == 1
    assert fields["type"] == KINDS[type(record)]
    assert (fields["exchange"], fields["symbol"]) == ("okx", "BTC-USDT-PERP")
    for name in record.__struct_fields__:
        if name == "series":
            assert {"kind", "interval"} <= set(fields)
        else:
            assert name in fields


def test_the_time_of_day_is_cut_to_the_millisecond() -> None:
    assert clock_of(to_us("2026-11-22T23:59:59.999999")) == "23:59:59.999"
    assert clock_of(to_us("2026-11-22")) == "00:00:00.000"
