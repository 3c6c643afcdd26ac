"""Whatever Coinbase sends, a parser answers or raises an error of ours."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
from coinbase_world import PERP, T0_S, T0_US, candle, future, product, trade
from exchange_world import as_bytes
from hypothesis import given, settings
from hypothesis import strategies as st

from zvt_crypto.connectors.coinbase import listing, parse, reading
from zvt_crypto.connectors.coinbase.refusal import check_reply
from zvt_crypto.core.errors import CryptoError, GeoBlocked
from zvt_crypto.core.interval import Interval
from zvt_crypto.core.ranges import Range

EVER = Range(0, 4_000_000_000_000_000)

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(
        ["", "0", "-1", "1e5", "1e400", "nan", "inf", "9" * 25, "0001-01-01T00:00:00Z",
         "9999-12-31T23:59:59Z", "2026-04-07T00:28:58.123456789Z", "2026-13-41"]
    ),
)  # fmt: skip
JSON = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


def trades(body: bytes) -> None:
    parse.finish_trades(parse.parse_trades(body, PERP).page, EVER, requests=1, body_bytes=0)


PARSERS: list[Callable[[bytes], Any]] = [
    partial(
        parse.parse_candles, instrument=PERP, interval=Interval.M1, window=EVER, now_us=EVER.end
    ),
    trades,
    listing.parse_products,
    listing.parse_product,
    listing.parse_open_interest,
    reading.parse_time,
    partial(reading.parse_book, instrument=PERP, ts_recv=0),
    partial(reading.parse_quote, instrument=PERP, ts_recv=0),
    lambda body: check_reply(400, {}, body, blocked=lambda: GeoBlocked("coinbase", "host", "")),
]
LEVEL = {"price": "1", "size": "2"}
GOOD: list[tuple[dict[str, Any], Callable[[Any], Any]]] = [
    (candle(T0_S), lambda rows: {"candles": rows}),
    (trade(1, T0_US), lambda rows: {"trades": rows}),
    (product("A-USD"), lambda rows: {"products": rows}),
    (future("BIP-20DEC30-CDE"), lambda rows: {"products": rows}),
    (future("BIP-20DEC30-CDE"), lambda rows: rows[0]),
    (LEVEL, lambda rows: {"pricebook": {"product_id": "A", "bids": rows, "asks": rows}}),
    ({"pricebook": {"bids": [LEVEL], "asks": [], "time": "x"}}, lambda rows: rows[1]),
    ({"epochMillis": "5", "error": "x", "errors": [], "code": 5}, lambda rows: rows[1]),
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
    row, wrap = data.draw(st.sampled_from(GOOD))
    broken = {**row, data.draw(st.sampled_from(sorted(row))): data.draw(JSON)}
    rows = data.draw(st.permutations([row, broken, row]))

    with suppress(CryptoError):
        parser(as_bytes(wrap(rows)))


@pytest.mark.parametrize("parser", PARSERS)
@settings(deadline=None)
@given(data=st.data())
def test_any_cut_of_a_good_reply(parser: Callable[[bytes], Any], data: st.DataObject):
    row, wrap = data.draw(st.sampled_from(GOOD))
    body = as_bytes(wrap([row, row, row]))

    with suppress(CryptoError):
        parser(body[: data.draw(st.integers(0, len(body)))])


@settings(deadline=None)
@given(st.lists(st.integers(0, 10**6), max_size=30))
def test_a_bad_cell_costs_its_row_and_nothing_else(places: list[int]):
    rows = [candle(T0_S + i * 60) for i in range(30)]
    keys = ["low", "high", "open", "close", "volume"]
    for place in places:
        rows[place % 30][keys[place % 5]] = "x"

    fetched = parse.parse_candles(
        as_bytes({"candles": rows}), PERP, Interval.M1, EVER, now_us=EVER.end
    )

    bad = {place % 30 for place in places}
    assert len(fetched.rejected) == len(bad)
    assert fetched.table.num_rows == 30 - len(bad)


NUMBERS = st.decimals(0, 10**9, places=8).map(lambda value: f"{value:f}")


@settings(deadline=None)
@given(
    rows=st.lists(
        st.fixed_dictionaries(dict.fromkeys(("low", "high", "open", "close", "volume"), NUMBERS)),
        min_size=1,
        max_size=8,
    )
)
def test_the_fast_way_and_the_careful_way_read_the_same(rows: list[dict[str, str]]):
    page = [{"start": str(T0_S + i * 60), **row} for i, row in enumerate(rows)]
    read = partial(
        parse.parse_candles, instrument=PERP, interval=Interval.M1, window=EVER, now_us=EVER.end
    )

    fast = read(as_bytes({"candles": page}))
    careful = read(as_bytes({"candles": [{**row, "more": 1} for row in page]}))

    assert fast.table.equals(careful.table)
    assert fast.precision_loss == careful.precision_loss
    assert fast.table.num_rows == len(rows)
