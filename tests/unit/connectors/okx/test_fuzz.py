"""Whatever OKX sends, a parser answers or raises an error of ours."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
from exchange_world import as_bytes
from hypothesis import given, settings
from hypothesis import strategies as st
from okx_world import INVERSE, LINEAR, candle, funding, trade, wrap

from zvt_crypto.connectors.okx import parse, reading
from zvt_crypto.connectors.okx.listing import parse_instruments
from zvt_crypto.connectors.okx.refusal import check_reply
from zvt_crypto.core.errors import CryptoError, GeoBlocked
from zvt_crypto.core.instrument import Market
from zvt_crypto.core.interval import Interval
from zvt_crypto.core.ranges import Range

EVER = Range(0, 4_000_000_000_000_000)

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["", "0", "-1", "1e5", "1e400", "nan", "inf", "9" * 25, "1763769600000"]),
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


def candles(body: bytes) -> None:
    page = parse.parse_candles(body, Market.LINEAR)
    parse.oldest_time(page)
    parse.finish_candles([page, page], Interval.M1, EVER, now_us=EVER.end, requests=1, body_bytes=0)


def trades(body: bytes) -> None:
    for instrument in (LINEAR, INVERSE):
        got = parse.parse_trades(body, instrument)
        parse.finish_trades([got.page, got.page], EVER, requests=1, body_bytes=0)


def fundings(body: bytes) -> None:
    page = parse.parse_funding(body)
    parse.finish_funding([page, page], EVER, requests=1, body_bytes=0)


PARSERS: list[Callable[[bytes], Any]] = [
    candles,
    trades,
    fundings,
    parse.parse_opens,
    parse_instruments,
    reading.parse_time,
    reading.parse_maintenance,
    partial(reading.parse_book, instrument=INVERSE, ts_recv=0),
    partial(reading.parse_quotes, instruments={"BTC-USD-SWAP": INVERSE}, ts_recv=0),
    partial(reading.parse_open_interest, instrument=INVERSE, ts_recv=0),
    lambda body: check_reply(
        200, {}, body, quota="x", blocked=lambda: GeoBlocked("okx", "host", "")
    ),
]
ROWS: list[Any] = [
    candle(1_763_769_600_000),
    trade(1, 1_763_769_600_000),
    funding(1_763_769_600_000),
    {"instId": "BTC-USD-SWAP", "ts": "1", "askPx": "0", "askSz": "1", "oi": "1", "oiCcy": "1"},
    {"asks": [["1", "2"]], "bids": [["0", "1"]], "ts": "5"},
    {"instType": "SWAP", "instId": "A-B-SWAP", "uly": "A-B", "ctVal": "1", "listTime": "1"},
    {"state": "ongoing", "title": "x", "env": "1"},
]


@pytest.mark.parametrize("parser", PARSERS)
@settings(deadline=None)  # the first draw pays for warm-up
@given(body=st.one_of(st.binary(max_size=60), JSON.map(as_bytes)))
def test_any_bytes(parser: Callable[[bytes], Any], body: bytes):
    with suppress(CryptoError):
        parser(body)


@pytest.mark.parametrize("parser", PARSERS)
@settings(deadline=None)
@given(data=st.data())
def test_any_value_in_any_place_of_a_good_reply(
    parser: Callable[[bytes], Any], data: st.DataObject
):
    row = data.draw(st.sampled_from(ROWS))
    place = data.draw(st.sampled_from(sorted(row) if isinstance(row, dict) else range(len(row))))
    broken = dict(row) if isinstance(row, dict) else list(row)
    broken[place] = data.draw(JSON)
    rows = data.draw(st.permutations([row, broken, row]))

    with suppress(CryptoError):
        parser(as_bytes(wrap(rows)))


@pytest.mark.parametrize("parser", PARSERS)
@settings(deadline=None)
@given(data=st.data())
def test_any_cut_of_a_good_reply(parser: Callable[[bytes], Any], data: st.DataObject):
    body = as_bytes(wrap([data.draw(st.sampled_from(ROWS))] * 3))

    with suppress(CryptoError):
        parser(body[: data.draw(st.integers(0, len(body)))])


@settings(deadline=None)
@given(st.lists(st.integers(0, 10**6), max_size=30))
def test_a_bad_cell_costs_its_row_and_nothing_else(places: list[int]):
    rows = [candle(1_763_769_600_000 + i * 60_000) for i in range(30)]
    for place in places:
        rows[place % 30][1 + place % 5] = "x"

    page = parse.parse_candles(as_bytes(wrap(rows)), Market.SPOT)

    bad = {place % 30 for place in places}
    assert len(page.rejected) == len(bad)
    assert len(page.columns["timestamp"]) == 30 - len(bad)
