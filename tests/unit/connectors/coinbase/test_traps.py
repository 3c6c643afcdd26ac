"""One test per trap of Coinbase's market data, named after it."""

from typing import Any

import pytest
from bybit_world import NOW_US, FakeClock
from coinbase_world import (
    MOVED,
    PERP,
    SPOT,
    T0_S,
    T0_US,
    candle,
    candles_page,
    future,
    product,
    trade,
    trades_page,
)
from exchange_world import ScriptedHttp, as_bytes, rows_of
from hypothesis import given, settings
from hypothesis import strategies as st

from zvt_crypto.connectors.coinbase import listing, parse, reading
from zvt_crypto.connectors.coinbase.rest import CoinbaseConnector
from zvt_crypto.connectors.coinbase.spec import COINBASE
from zvt_crypto.core.errors import CryptoError, NotSupported, RequestRejected, UnknownSymbol
from zvt_crypto.core.instrument import Instrument, InstrumentTable, Market, Status
from zvt_crypto.core.interval import US_PER_HOUR, US_PER_MINUTE, US_PER_S, Interval
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.series import Kind
from zvt_crypto.core.timestamp import to_us
from zvt_crypto.net.http import HttpReply

EVER = Range(0, 4_000_000_000_000_000)


def minutes(count: int, start_s: int = T0_S) -> list[dict[str, str]]:
    return [candle(start_s + i * 60) for i in range(count)]


def window(count: int) -> Range:
    return Range(T0_US, T0_US + count * US_PER_MINUTE)


def parse_candles(rows: list[Any], instrument: Instrument = SPOT):
    return parse.parse_candles(
        as_bytes({"candles": rows}), instrument, Interval.M1, EVER, now_us=NOW_US
    )


# -- candles ------------------------------------------------------------------------------------


async def test_both_ends_are_included_and_seconds(connector: CoinbaseConnector, http: ScriptedHttp):
    start = T0_US - 300 * US_PER_MINUTE
    rows = minutes(310, T0_S - 305 * 60)
    http.answer = lambda _path, query: candles_page(rows, query)
    asked = Range(start, T0_US)

    fetched = await connector.fetch_candles(SPOT, Interval.M1, asked)

    assert fetched.table.num_rows == 300
    assert fetched.asked == asked
    (path, query, _headers) = http.asked[0]
    assert path == "/api/v3/brokerage/market/products/BTC-USD/candles"
    assert query == {
        "start": str(start // US_PER_S),
        "end": str(T0_S - 60),
        "granularity": "ONE_MINUTE",
    }
    # no more than 300 buckets: above 300 to 350 it is a 400
    assert (int(query["end"]) - int(query["start"])) // 60 + 1 == 300


def test_windows_ask_for_300_buckets_at_most(connector: CoinbaseConnector):
    windows = connector.windows(SPOT, Kind.CANDLES, Interval.M1, Range(0, 1_000 * US_PER_MINUTE))

    assert [(w.end - w.start) // US_PER_MINUTE for w in windows] == [300, 300, 300, 100]


def test_rows_come_newest_first_and_are_turned_round():
    fetched = parse_candles(minutes(3)[::-1])

    assert [row["timestamp"] for row in rows_of(fetched.table)] == [
        T0_US + i * US_PER_MINUTE for i in range(3)
    ]


def test_a_candle_before_the_asked_start_is_left_out():
    fetched = parse.parse_candles(
        as_bytes({"candles": minutes(3)[::-1]}),
        SPOT,
        Interval.M1,
        Range(T0_US + US_PER_MINUTE, T0_US + 3 * US_PER_MINUTE),
        now_us=NOW_US,
    )

    assert fetched.table.num_rows == 2


def test_buckets_without_trades_are_holes_and_nothing_is_filled_in():
    rows = minutes(5)
    fetched = parse_candles([rows[4], rows[0]])

    assert fetched.table.num_rows == 2


async def test_the_running_bucket_is_unmarked_and_dropped_by_the_clock(
    connector: CoinbaseConnector, http: ScriptedHttp
):
    now = Interval.M1.floor(NOW_US)
    http.answer = lambda _path, query: candles_page(minutes(3, now // US_PER_S - 120), query)

    fetched = await connector.fetch_candles(
        SPOT, Interval.M1, Range(now - 2 * US_PER_MINUTE, now + US_PER_MINUTE)
    )

    assert fetched.table.num_rows == 2
    assert fetched.asked.end == now


async def test_fresh_answers_ask_past_the_cache_of_a_second_and_old_ones_do_not(
    connector: CoinbaseConnector, http: ScriptedHttp
):
    http.answer = lambda _path, query: candles_page([], query)
    now = Interval.M1.floor(NOW_US)

    await connector.fetch_candles(SPOT, Interval.M1, Range(now - US_PER_HOUR, now))
    await connector.fetch_candles(SPOT, Interval.M1, Range(T0_US, T0_US + US_PER_MINUTE))

    assert [headers.get("Cache-Control") for _, _, headers in http.asked] == ["no-cache", None]


def test_the_last_buckets_may_change_for_some_seconds():
    assert COINBASE.settle_s >= 5


def test_there_is_no_quote_volume_no_count_and_no_taker_split():
    table = parse_candles(minutes(1)).table

    for name in ("quote_volume", "trade_count", "taker_buy_volume"):
        assert table[name].null_count == 1


def test_volumes_of_futures_count_contracts():
    fetched = parse_candles([candle(T0_S, volume="7")], PERP)

    # 7 * 0.01 is 0.07 and not 0.07000000000000001
    assert fetched.table["volume"].to_pylist() == [0.07]


def test_a_page_of_another_shape_reads_the_same():
    rows = minutes(4)[::-1]
    usual = parse_candles(rows).table
    spaced = b'{ "candles": [ ' + b" , ".join(as_bytes(row) for row in rows) + b" ] }"
    turned = [dict(reversed(row.items())) | {"extra": "1"} for row in rows]

    other = parse.parse_candles(spaced, SPOT, Interval.M1, EVER, now_us=NOW_US)
    assert other.table.equals(usual)
    assert parse_candles(turned).table.equals(usual)


@pytest.mark.parametrize("text", ["", "x", "nan", "1e999"])
def test_a_bad_number_costs_its_row(text: str):
    fetched = parse_candles([candle(T0_S + 60), candle(T0_S, volume=text)])

    assert fetched.table.num_rows == 1
    assert len(fetched.rejected) == 1


def test_a_number_that_float64_cannot_hold_is_counted():
    fetched = parse_candles([candle(T0_S, volume="123456789012.12345678")])

    assert fetched.precision_loss == 1


# -- intervals it lacks -------------------------------------------------------------------------


def invalid_granularity() -> HttpReply:
    body = {
        "error": "INVALID_ARGUMENT",
        "error_details": "unknown granularity",
        "message": "unknown granularity",
    }
    return HttpReply(400, {}, as_bytes(body), 0.0)


async def test_four_hours_are_asked_for_and_kept_where_they_exist(
    connector: CoinbaseConnector, http: ScriptedHttp
):
    opened = Interval.H4.floor(T0_US) - 8 * US_PER_HOUR
    http.answer = lambda _path, query: candles_page([candle(opened // US_PER_S)], query)

    fetched = await connector.fetch_candles(SPOT, Interval.H4, Range(opened, opened + 1))

    assert http.queries[0]["granularity"] == "FOUR_HOUR"
    assert fetched.table.num_rows == 1
    assert connector.source_interval(SPOT, Interval.H4) is Interval.H4


async def test_four_hours_are_made_of_hours_where_they_are_refused(
    connector: CoinbaseConnector, http: ScriptedHttp
):
    opened = Interval.H4.floor(T0_US) - 8 * US_PER_HOUR
    hours = [candle(opened // US_PER_S + h * 3_600, volume="1.5") for h in (0, 1, 2, 5)]

    def answer(_path: str, query: dict[str, str]) -> Any:
        if query["granularity"] == "FOUR_HOUR":
            return invalid_granularity()
        return candles_page(hours, query)

    http.answer = answer
    asked = Range(opened, opened + 8 * US_PER_HOUR)

    fetched = await connector.fetch_candles(SPOT, Interval.H4, asked)

    assert fetched.asked == asked
    assert [(r["timestamp"], r["volume"]) for r in rows_of(fetched.table)] == [
        (opened, 4.5),
        (opened + 4 * US_PER_HOUR, 1.5),
    ]
    # and it is remembered: the loader asks for hours from now on, nobody for four
    assert connector.source_interval(SPOT, Interval.H4) is Interval.H1
    await connector.fetch_candles(SPOT, Interval.H4, asked)
    assert [q["granularity"] for q in http.queries].count("FOUR_HOUR") == 1


async def test_a_long_window_of_four_hours_is_several_pages_of_hours(
    connector: CoinbaseConnector, http: ScriptedHttp
):
    connector._has_four_hours = False  # pyright: ignore[reportPrivateUsage]
    opened = Interval.H4.floor(T0_US) - 1_200 * US_PER_HOUR
    hours = [candle(opened // US_PER_S + h * 3_600) for h in range(1_200)]
    http.answer = lambda _path, query: candles_page(hours, query)

    fetched = await connector.fetch_candles(
        SPOT, Interval.H4, Range(opened, opened + 1_200 * US_PER_HOUR)
    )

    assert (fetched.table.num_rows, fetched.requests) == (300, 4)


async def test_the_running_four_hours_are_not_made(
    connector: CoinbaseConnector, http: ScriptedHttp
):
    connector._has_four_hours = False  # pyright: ignore[reportPrivateUsage]
    running = Interval.H4.floor(NOW_US)
    hours = [candle(running // US_PER_S + h * 3_600) for h in range(-4, 1)]
    http.answer = lambda _path, query: candles_page(hours, query)

    fetched = await connector.fetch_candles(
        SPOT, Interval.H4, Range(running - 4 * US_PER_HOUR, running + 4 * US_PER_HOUR)
    )

    assert fetched.table.num_rows == 1
    assert fetched.asked.end == running


async def test_another_refusal_than_of_the_interval_is_not_taken_for_it(
    connector: CoinbaseConnector, http: ScriptedHttp
):
    http.answer = lambda _path, _query: HttpReply(403, {}, b'{"error":"PERMISSION_DENIED"}', 0.0)

    with pytest.raises(RequestRejected):
        await connector.fetch_candles(SPOT, Interval.H4, window(300))
    assert connector.source_interval(SPOT, Interval.H4) is Interval.H4


@pytest.mark.parametrize("interval", [Interval.W1, Interval.MON1])
def test_weeks_and_months_are_made_of_days(connector: CoinbaseConnector, interval: Interval):
    assert connector.source_interval(SPOT, interval) is Interval.D1


# -- the first candle ---------------------------------------------------------------------------


async def test_the_first_candle_is_searched_forwards_by_days(
    connector: CoinbaseConnector, http: ScriptedHttp
):
    listed = to_us("2021-06-17T17:20:00Z") // US_PER_S
    opens = {"ONE_DAY": listed // 86_400 * 86_400, "ONE_HOUR": listed // 3_600 * 3_600}
    http.answer = lambda _path, query: candles_page(
        [candle(opens[query["granularity"]] + i * 86_400) for i in range(1_500)], query
    )

    assert await connector.first_candle(SPOT, Interval.M1) == to_us("2021-06-17T17:00:00Z")
    assert await connector.first_candle(SPOT, Interval.H4) == to_us("2021-06-17")
    assert await connector.first_candle(SPOT, Interval.D1) == to_us("2021-06-17")


async def test_a_product_that_never_traded_has_no_first_candle(
    connector: CoinbaseConnector, http: ScriptedHttp
):
    http.answer = lambda _path, _query: {"candles": []}

    assert await connector.first_candle(SPOT, Interval.M1) is None
    assert len(http.asked) < 25


async def test_a_product_of_today_begins_with_its_running_candle(
    connector: CoinbaseConnector, http: ScriptedHttp
):
    today = Interval.D1.floor(NOW_US)
    http.answer = lambda _path, query: candles_page([candle(today // US_PER_S)], query)

    assert await connector.first_candle(SPOT, Interval.D1) == today


# -- trades -------------------------------------------------------------------------------------


def test_the_side_is_the_makers_and_is_turned_round():
    rows = [trade(3, T0_US, "SELL"), trade(2, T0_US, "BUY"), trade(1, T0_US, "UNKNOWN_ORDER_SIDE")]

    got = parse.parse_trades(as_bytes({"trades": rows}), SPOT)

    assert got.page.columns["side"] == ["buy", "sell", "unknown"]


async def test_trades_are_asked_for_in_shorter_stretches_until_a_reply_is_not_full(
    connector: CoinbaseConnector, http: ScriptedHttp
):
    # given an hour with a burst of 5,000 trades in one minute, several in each moment
    rows = [trade(i, T0_US + 60_000_000 + (i // 3) * 36_000) for i in range(5_000)]
    http.answer = lambda _path, query: trades_page(rows, query)
    asked = Range(T0_US, T0_US + US_PER_HOUR)

    parts = [part async for part in connector.fetch_trades(SPOT, asked)]

    # then the parts tile the window, and every trade is there once
    assert (parts[0].asked.start, parts[-1].asked.end) == asked
    assert all(a.asked.end == b.asked.start for a, b in zip(parts, parts[1:], strict=False))  # noqa: RUF007
    ids = [int(row["trade_id"]) for part in parts for row in rows_of(part.table)]
    assert ids == list(range(5_000))
    assert all(query["limit"] == "1000" for query in http.queries)
    assert len(http.asked) < 40


async def test_stretches_overlap_by_a_second_and_no_trade_comes_twice(
    connector: CoinbaseConnector, http: ScriptedHttp
):
    rows = [trade(i, T0_US + i * 500_000) for i in range(20)]
    http.answer = lambda _path, query: trades_page(rows, query)
    asked = Range(T0_US + 2_500_000, T0_US + 7_500_000)

    (part,) = [part async for part in connector.fetch_trades(SPOT, asked)]

    assert [int(r["trade_id"]) for r in rows_of(part.table)] == list(range(5, 15))
    assert http.queries[0]["start"] == str(T0_S + 1)
    assert int(http.queries[0]["end"]) >= T0_S + 9


async def test_a_second_too_full_for_a_reply_says_so(
    connector: CoinbaseConnector, http: ScriptedHttp
):
    rows = [trade(i, T0_US + i) for i in range(1_500)]
    http.answer = lambda _path, query: trades_page(rows, query)

    parts = [
        part async for part in connector.fetch_trades(SPOT, Range(T0_US, T0_US + 2 * US_PER_S))
    ]

    assert sum(part.table.num_rows for part in parts) == 1_000  # the newest; the ids show the hole
    assert ["one second holds more" in bad.reason for p in parts for bad in p.rejected] == [True]


def test_sizes_of_futures_are_contracts():
    page = parse.parse_trades(as_bytes({"trades": [trade(1, T0_US, size="7")]}), PERP).page

    assert page.columns["size"].tolist() == [0.07]


@pytest.mark.parametrize(
    ("text", "expected_us"),
    [
        ("2026-04-07T00:28:58Z", 1_775_521_738_000_000),
        ("2026-04-07T00:28:58.5Z", 1_775_521_738_500_000),
        ("2026-04-07T00:28:58.544Z", 1_775_521_738_544_000),
        ("2026-04-07T00:28:58.544778Z", 1_775_521_738_544_778),
        ("2026-04-07T00:28:58.544778999Z", 1_775_521_738_544_778),
        ("2026-04-07T02:28:58.544778+02:00", 1_775_521_738_544_778),
    ],
)
def test_times_have_none_to_nine_digits_of_fraction(text: str, expected_us: int):
    rows = [trade(2, T0_US, time=text), trade(1, T0_US)]
    alone = parse.parse_trades(as_bytes({"trades": rows}), SPOT).page
    beside = parse.parse_trades(
        as_bytes({"trades": [*rows, trade(0, T0_US, time="0001-01-01T00:00:00Z")]}), SPOT
    ).page

    assert alone.columns["timestamp"].tolist() == [expected_us, T0_US]
    assert beside.columns["timestamp"].tolist() == [expected_us, T0_US]


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "", "x"])
def test_the_year_one_and_the_epoch_are_no_times(text: str):
    got = parse.parse_trades(as_bytes({"trades": [trade(1, T0_US, time=text)]}), SPOT)
    fetched = parse.finish_trades(got.page, EVER, requests=1, body_bytes=0)

    assert (fetched.table.num_rows, got.rows) == (0, 1)
    assert [bad.reason for bad in fetched.rejected] == ["no time"]


@settings(deadline=None)
@given(st.lists(st.integers(1, 3_000_000_000_000_000), max_size=20))
def test_every_microsecond_survives(times: list[int]):
    body = as_bytes({"trades": [trade(i, time) for i, time in enumerate(times)]})

    assert parse.parse_trades(body, SPOT).page.columns["timestamp"].tolist() == times


# -- funding, interest, books -------------------------------------------------------------------


async def test_there_is_no_history_of_funding_and_the_reason_says_what_to_do(
    connector: CoinbaseConnector,
):
    with pytest.raises(NotSupported, match="poll it"):
        await connector.fetch_funding(PERP, window(1))
    assert "funding" in COINBASE.unsupported


async def test_there_are_no_archives_and_the_facts_say_why(connector: CoinbaseConnector):
    assert await connector.archives(SPOT, Kind.CANDLES, Interval.M1, window(1)) == []
    assert "no bulk files" in COINBASE.unsupported["archives"]


async def test_open_interest_of_futures_counts_contracts(
    connector: CoinbaseConnector, http: ScriptedHttp
):
    http.answer = lambda _path, _query: future("BIP-20DEC30-CDE")

    found = await connector.open_interest(PERP)

    assert found.open_interest == pytest.approx(1832.83)
    assert http.asked[0][0] == "/api/v3/brokerage/market/products/BIP-20DEC30-CDE"


async def test_spot_shows_no_open_interest(connector: CoinbaseConnector, http: ScriptedHttp):
    http.answer = lambda _path, _query: product("BTC-USD")

    with pytest.raises(NotSupported, match="shows none"):
        await connector.open_interest(SPOT)


async def test_quotes_come_from_the_book_fresh_and_an_empty_side_is_none(
    connector: CoinbaseConnector, http: ScriptedHttp
):
    book = {
        "product_id": "BIP-20DEC30-CDE",
        "bids": [{"price": "68925", "size": "7"}],
        "asks": [],
        "time": "2026-04-07T00:28:59.662782Z",
    }
    http.answer = lambda _path, _query: {"pricebook": book}

    (quote,) = await connector.quotes([PERP])

    assert (quote.bid_price, quote.bid_size) == (68925.0, 0.07)
    assert (quote.ask_price, quote.ask_size) == (None, None)
    assert quote.ts_event == to_us("2026-04-07T00:28:59.662782Z")
    assert http.asked[0][2] == {"Cache-Control": "no-cache"}


def test_the_servers_time_is_text_and_may_be_a_number():
    assert reading.parse_time(b'{"epochMillis":"1790735849298"}') == 1_790_735_849_298_000
    assert reading.parse_time(b'{"epochMillis":1790735849298}') == 1_790_735_849_298_000


# -- products -----------------------------------------------------------------------------------


def listed(*products: dict[str, Any]) -> dict[str, Instrument]:
    page = listing.parse_products(as_bytes({"products": products, "pagination": None}))
    return {one.native: one for one in listing.unique_symbols(list(page.instruments))}


def test_an_alias_pair_is_two_instruments_and_neither_hides_the_other():
    found = listed(product("BTC-USD", alias_to=["BTC-USDC"]), product("BTC-USDC", alias="BTC-USD"))
    table = InstrumentTable("coinbase", found.values())

    assert table.resolve("BTC-USDC").quote == "USDC"
    assert table.resolve("BTC/USD").native == "BTC-USD"


def test_a_perpetual_calls_itself_expiring_and_is_told_by_its_funding():
    found = listed(
        future("BIP-20DEC30-CDE"), future("BIT-24APR26-CDE", rate="", display_name="BTC 24 APR 26")
    )

    (perp,) = found.values()
    assert (perp.symbol, perp.base, perp.quote, perp.settle) == (
        "BTC-USD-PERP", "BTC", "USD", "USD",
    )  # fmt: skip
    assert (perp.market, perp.contract_size) == (Market.LINEAR, 0.01)
    assert perp.ccxt == "BTC/USD:USD"


@pytest.mark.parametrize("name", ["BTC PERP", "BTC Perpetual"])
def test_a_perpetual_without_a_rate_is_told_by_its_name(name: str):
    assert len(listed(future("BIP-20DEC30-CDE", rate="", display_name=name))) == 1


def test_the_tick_is_the_price_increment_and_not_the_quote_increment():
    perp = listed(future("BIP-20DEC30-CDE"))["BIP-20DEC30-CDE"]

    assert (perp.tick_size, perp.size_step, perp.min_size) == (5.0, 1.0, 1.0)
    assert perp.min_notional is None  # "0"


def test_futures_have_an_empty_status_and_trade():
    assert listed(future("BIP-20DEC30-CDE"))["BIP-20DEC30-CDE"].status is Status.ACTIVE


def test_contracts_on_other_things_than_coins_are_left_out():
    assert listed(future("GOL-20DEC30-CDE", non_crypto=True)) == {}


def test_two_perpetuals_on_one_coin_have_two_names():
    found = listed(future("BTP-20DEC30-CDE", contract_size="1"), future("BIP-20DEC30-CDE"))

    assert found["BIP-20DEC30-CDE"].symbol == "BTC-USD-PERP"
    assert found["BTP-20DEC30-CDE"].symbol == "BTC-USD-BTP-PERP"


@pytest.mark.parametrize(
    ("flags", "status"),
    [
        ({}, Status.ACTIVE),
        ({"status": "delisted"}, Status.DELISTED),
        ({"status": "offline"}, Status.HALTED),
        ({"status": "brand_new"}, Status.UNKNOWN),
        ({"is_disabled": True}, Status.HALTED),
        ({"trading_disabled": True}, Status.HALTED),
        ({"view_only": True}, Status.HALTED),
        ({"cancel_only": True}, Status.CANCEL_ONLY),
        ({"limit_only": True}, Status.LIMIT_ONLY),
        ({"post_only": True}, Status.POST_ONLY),
        ({"auction_mode": True}, Status.AUCTION),
        ({"cancel_only": None, "new_at": None}, Status.ACTIVE),
    ],
)
def test_flags_and_status_together_say_whether_it_trades(flags: dict[str, Any], status: Status):
    assert listed(product("A-B", **flags))["A-B"].status is status


def test_a_pair_without_ids_is_split_at_its_last_dash():
    found = listed(product("X-Y-USD", base_currency_id="", quote_currency_id=None))

    assert (found["X-Y-USD"].base, found["X-Y-USD"].quote) == ("X-Y", "USD")


async def test_all_pages_of_products_are_followed_by_cursor_and_by_offset(
    connector: CoinbaseConnector, http: ScriptedHttp
):
    def answer(_path: str, query: dict[str, str]) -> Any:
        if query["product_type"] == "FUTURE":
            if "offset" in query:
                return {"products": [future("ETP-20DEC30-CDE", contract_root_unit="ETH")]}
            return {"products": [future("BIP-20DEC30-CDE")], "pagination": {"has_next": True}}
        turn = {None: ("A-USD", "c1"), "c1": ("B-USD", "c2"), "c2": ("C-USD", "")}
        name, cursor = turn[query.get("cursor")]
        page = {"has_next": bool(cursor), "next_cursor": cursor}
        return {"products": [product(name)], "pagination": page}

    http.answer = answer

    found = await connector.instruments()

    assert {one.symbol for one in found} == {
        "A-USD", "B-USD", "C-USD", "BTC-USD-PERP", "ETH-USD-PERP",
    }  # fmt: skip
    assert [q["offset"] for q in http.queries if "offset" in q] == ["1"]


async def test_a_list_of_products_that_never_ends_is_left(
    connector: CoinbaseConnector, http: ScriptedHttp
):
    page = {"products": [product("A-USD")], "pagination": {"has_next": True, "next_cursor": "x"}}
    http.answer = lambda _path, _query: page

    assert [one.symbol for one in await connector.instruments()] == ["A-USD"]
    assert len(http.asked) == 4


async def test_international_perpetuals_have_moved_and_the_error_says_where(
    connector: CoinbaseConnector,
):
    assert listed(product("BTC-PERP-INTX")) == {}
    for call in (
        connector.fetch_candles(MOVED, Interval.M1, window(1)),
        connector.book_snapshot(MOVED),
        connector.open_interest(MOVED),
    ):
        with pytest.raises(NotSupported, match="gateway"):
            await call


def test_a_number_that_is_none_costs_its_field_and_not_the_list():
    found = listed(product("A-B", price_increment="oops", base_increment="nan"), product("C-D"))

    assert len(found) == 2
    assert found["A-B"].size_step is None


async def test_an_unknown_product_is_named_as_the_user_knows_it(
    connector: CoinbaseConnector, http: ScriptedHttp
):
    http.answer = lambda _path, _query: HttpReply(404, {}, b'{"error":"NOT_FOUND"}', 0.0)

    with pytest.raises(UnknownSymbol, match="BTC-USD"):
        await connector.fetch_candles(SPOT, Interval.M1, window(1))


async def test_too_many_requests_without_a_time_stop_the_host_for_a_second(
    connector: CoinbaseConnector, http: ScriptedHttp, clock: FakeClock
):
    limited = {"errors": [{"id": "rate_limit_exceeded", "message": "Too many requests"}]}
    answers: list[Any] = [HttpReply(429, {}, as_bytes(limited), 0.0), {"candles": []}]
    http.answer = lambda _path, _query: answers.pop(0)

    await connector.fetch_candles(SPOT, Interval.M1, window(1))

    assert connector.stats.rate_limited == 1
    assert clock.passed_s >= 1.0


@pytest.mark.parametrize("native", ["A/../B", "A B", "Ä-USD"])
async def test_a_product_id_is_quoted_in_the_path(
    connector: CoinbaseConnector, http: ScriptedHttp, native: str
):
    import msgspec

    http.answer = lambda _path, _query: {"candles": []}
    odd = msgspec.structs.replace(SPOT, native=native)

    await connector.fetch_candles(odd, Interval.M1, window(1))

    assert http.asked[0][0].count("/") == 7


def test_parsers_refuse_with_errors_of_ours():
    for body in (b"", b"[]", b'{"products":[{}]}', b'{"products":[{"product_id":1}]}'):
        with pytest.raises(CryptoError):
            listing.parse_products(body)
