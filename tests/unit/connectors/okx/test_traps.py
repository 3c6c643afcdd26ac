"""One test per trap of OKX's market data, named after it."""

import pytest
from bybit_world import NOW_US
from exchange_world import ScriptedHttp, as_bytes, rows_of
from okx_world import (
    INVERSE,
    LINEAR,
    MINUTE_MS,
    SPOT,
    T0_MS,
    candle,
    cut_page,
    funding,
    trade,
    wrap,
)

from zvt_crypto.connectors.okx import parse, reading
from zvt_crypto.connectors.okx.listing import parse_instruments
from zvt_crypto.connectors.okx.rest import OkxConnector
from zvt_crypto.connectors.okx.spec import OKX
from zvt_crypto.core.errors import MalformedPayload, NotSupported, UnknownSymbol
from zvt_crypto.core.instrument import Instrument, InstrumentTable, Market, Status
from zvt_crypto.core.interval import US_PER_DAY, US_PER_HOUR, US_PER_MINUTE, Interval
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.series import Kind
from zvt_crypto.core.timestamp import to_us

HISTORY = "/api/v5/market/history-candles"
RECENT = "/api/v5/market/candles"


def minutes(count: int) -> list[list[str]]:
    return [candle(T0_MS + i * MINUTE_MS) for i in range(count)]


def window(first: int, stop: int) -> Range:
    return Range((T0_MS + first * MINUTE_MS) * 1_000, (T0_MS + stop * MINUTE_MS) * 1_000)


def old_window(days: int = 30, count: int = 300) -> tuple[Range, list[list[str]]]:
    """Return a window `/candles` has forgotten, and its bars."""
    start = T0_MS - days * 86_400_000
    rows = [candle(start + i * MINUTE_MS) for i in range(-5, count + 5)]
    return Range(start * 1_000, (start + count * MINUTE_MS) * 1_000), rows


# -- candles ------------------------------------------------------------------------------------


async def test_after_means_older_and_before_newer_and_both_exclude(
    connector: OkxConnector, http: ScriptedHttp
):
    asked, rows = old_window()
    http.answer = lambda _path, query: wrap(cut_page(rows, query, lambda r: int(r[0]), 300))

    fetched = await connector.fetch_candles(SPOT, Interval.M1, asked)

    # the first bar is not lost, the bar at the end is not taken
    assert fetched.table.num_rows == 300
    times = [r["timestamp"] for r in rows_of(fetched.table)]
    assert (times[0], times[-1]) == (asked.start, asked.end - US_PER_MINUTE)
    (path, query, _headers), *more = http.asked
    assert not more
    assert path == HISTORY
    assert int(query["before"]) == asked.start // 1_000 - 1
    assert int(query["after"]) == asked.end // 1_000
    assert (query["limit"], query["bar"], query["instId"]) == ("300", "1m", "BTC-USDT")


async def test_a_page_capped_at_100_is_paged_on_until_the_window_is_covered(
    connector: OkxConnector, http: ScriptedHttp
):
    asked, rows = old_window()
    http.answer = lambda _path, query: wrap(cut_page(rows, query, lambda r: int(r[0]), 100))

    fetched = await connector.fetch_candles(SPOT, Interval.M1, asked)

    assert fetched.table.num_rows == 300
    assert fetched.requests == 3
    assert fetched.asked == asked


async def test_paging_ends_where_the_listing_begins(connector: OkxConnector, http: ScriptedHttp):
    asked, rows = old_window()
    listed = rows[200:]
    http.answer = lambda _path, query: wrap(cut_page(listed, query, lambda r: int(r[0]), 300))

    fetched = await connector.fetch_candles(SPOT, Interval.M1, asked)

    assert fetched.table.num_rows == 300 - 195
    assert fetched.requests == 2


async def test_rows_outside_the_window_are_filtered_when_the_bounds_are_ignored(
    connector: OkxConnector, http: ScriptedHttp
):
    asked, rows = old_window(count=3)
    http.answer = lambda _path, _query: wrap(rows[::-1])

    fetched = await connector.fetch_candles(SPOT, Interval.M1, asked)

    assert [r["timestamp"] for r in rows_of(fetched.table)] == [
        asked.start + i * US_PER_MINUTE for i in range(3)
    ]


async def test_a_server_that_repeats_a_page_does_not_loop(
    connector: OkxConnector, http: ScriptedHttp
):
    asked, rows = old_window()
    http.answer = lambda _path, _query: wrap(rows[200:100:-1])

    fetched = await connector.fetch_candles(SPOT, Interval.M1, asked)

    assert fetched.requests == 2
    assert fetched.table.num_rows == 100


async def test_the_newest_bars_come_from_candles_because_history_lags(
    connector: OkxConnector, http: ScriptedHttp
):
    http.answer = lambda _path, query: wrap(cut_page(minutes(121), query, lambda r: int(r[0]), 300))

    fetched = await connector.fetch_candles(SPOT, Interval.M1, window(0, 120))

    assert [path for path, _, _ in http.asked] == [RECENT]
    assert fetched.table.num_rows == 120


async def test_an_empty_answer_of_candles_is_put_to_history(
    connector: OkxConnector, http: ScriptedHttp
):
    def answer(path: str, query: dict[str, str]) -> object:
        rows = [] if path == RECENT else minutes(10)
        return wrap(cut_page(rows, query, lambda r: int(r[0]), 300))

    http.answer = answer

    fetched = await connector.fetch_candles(SPOT, Interval.M1, window(0, 10))

    assert [path for path, _, _ in http.asked] == [RECENT, HISTORY]
    assert fetched.table.num_rows == 10
    assert fetched.requests == 2


async def test_bars_beyond_the_newest_1440_are_asked_of_history(
    connector: OkxConnector, http: ScriptedHttp
):
    http.answer = lambda _path, query: wrap(cut_page([], query, lambda r: int(r[0]), 300))
    start = Interval.M1.shift(Interval.M1.floor(NOW_US), -1_441)

    await connector.fetch_candles(SPOT, Interval.M1, Range(start, start + 60 * US_PER_MINUTE))

    assert [path for path, _, _ in http.asked] == [HISTORY]


async def test_the_running_bar_is_dropped_by_its_flag(connector: OkxConnector, http: ScriptedHttp):
    rows = [*minutes(3), candle(T0_MS + 3 * MINUTE_MS, confirm="0")]
    http.answer = lambda _path, _query: wrap(rows[::-1])

    fetched = await connector.fetch_candles(SPOT, Interval.M1, window(0, 4))

    assert fetched.table.num_rows == 3


async def test_the_running_bar_is_dropped_by_the_clock_too(
    connector: OkxConnector, http: ScriptedHttp
):
    now_ms = Interval.M1.floor(NOW_US) // 1_000
    http.answer = lambda _path, _query: wrap([candle(now_ms), candle(now_ms - MINUTE_MS)])
    asked = Range((now_ms - MINUTE_MS) * 1_000, (now_ms + MINUTE_MS) * 1_000)

    fetched = await connector.fetch_candles(SPOT, Interval.M1, asked)

    assert fetched.table.num_rows == 1
    assert fetched.asked.end == now_ms * 1_000


@pytest.mark.parametrize(
    ("instrument", "volume"), [(SPOT, 1523.41), (LINEAR, 15.2341), (INVERSE, 15.2341)]
)
def test_the_sixth_column_counts_contracts_on_swaps_and_base_units_on_spot(
    instrument: Instrument, volume: float
):
    page = parse.parse_candles(as_bytes(wrap([candle(T0_MS)])), instrument.market)

    assert page.columns["volume"].tolist() == [volume]
    assert page.columns["quote_volume"].tolist() == [1312170.33]


def test_no_trade_count_and_no_taker_split():
    page = parse.parse_candles(as_bytes(wrap([candle(T0_MS)])), Market.SPOT)
    fetched = parse.finish_candles(
        [page], Interval.M1, window(0, 1), now_us=NOW_US, requests=1, body_bytes=0
    )

    assert fetched.table["trade_count"].null_count == 1
    assert fetched.table["taker_buy_volume"].null_count == 1


def test_days_and_longer_are_spelled_with_utc_and_minutes_are_not_months():
    assert OKX.intervals[Interval.D1] == "1Dutc"
    assert OKX.intervals[Interval.W1] == "1Wutc"
    assert OKX.intervals[Interval.MON1] == "1Mutc"
    assert OKX.intervals[Interval.M1] == "1m"
    assert OKX.intervals[Interval.H1] == "1H"


def test_a_flat_bar_without_volume_is_a_bar():
    flat = [str(T0_MS), "5", "5", "5", "5", "0", "0", "0", "1"]

    page = parse.parse_candles(as_bytes(wrap([flat])), Market.SPOT)

    assert page.columns["volume"].tolist() == [0.0]


async def test_the_first_candle_is_narrowed_from_month_to_day_to_hour(
    connector: OkxConnector, http: ScriptedHttp
):
    listed = to_us("2018-01-11T17:30:00Z") // 1_000
    opens = {
        "1Mutc": [to_us(f"2018-{m:02d}-01") // 1_000 for m in range(1, 13)],
        "1Dutc": [to_us(f"2018-01-{d:02d}") // 1_000 for d in range(11, 32)],
        "1H": [listed - 1_800_000 + i * 3_600_000 for i in range(20)],
    }

    def answer(_path: str, query: dict[str, str]) -> object:
        rows = [candle(ms) for ms in opens[query["bar"]]]
        return wrap(cut_page(rows, query, lambda r: int(r[0]), 100))

    http.answer = answer

    assert await connector.first_candle(SPOT, Interval.M1) == to_us("2018-01-11T17:00:00Z")
    assert await connector.first_candle(SPOT, Interval.H4) == to_us("2018-01-11T16:00:00Z")
    assert await connector.first_candle(SPOT, Interval.D1) == to_us("2018-01-11")
    assert await connector.first_candle(SPOT, Interval.W1) == to_us("2018-01-08")
    assert await connector.first_candle(SPOT, Interval.MON1) == to_us("2018-01-01")
    # a negative bound is refused with 51000
    assert all(int(query["before"]) >= 0 for query in http.queries)


async def test_the_first_candle_is_unknown_where_the_coarse_bars_answer_nothing(
    connector: OkxConnector, http: ScriptedHttp
):
    http.answer = lambda _path, _query: wrap([])

    assert await connector.first_candle(SPOT, Interval.M1) is None


async def test_the_first_candle_of_a_pair_listed_today_is_bounded_by_its_month(
    connector: OkxConnector, http: ScriptedHttp
):
    month = Interval.MON1.floor(NOW_US) // 1_000

    def answer(path: str, query: dict[str, str]) -> object:
        # history knows no running bar
        rows = [candle(month, confirm="0")] if path == RECENT and query["bar"] == "1Mutc" else []
        return wrap(cut_page(rows, query, lambda r: int(r[0]), 300))

    http.answer = answer

    assert await connector.first_candle(SPOT, Interval.M1) == month * 1_000


# -- trades -------------------------------------------------------------------------------------


async def test_trades_start_by_time_and_go_on_by_id_because_times_repeat(
    connector: OkxConnector, http: ScriptedHttp
):
    # given 250 trades of which 30 share the millisecond a page ends in
    rows = [trade(1_000 + i, T0_MS + (i // 30) * 10) for i in range(250)]
    older = [trade(999, T0_MS - 1)]

    def answer(_path: str, query: dict[str, str]) -> object:
        if query["type"] == "2":
            assert "before" not in query  # 50039
            return wrap(cut_page(rows + older, query, lambda r: int(r["ts"]), 100))
        return wrap(cut_page(rows + older, query, lambda r: int(r["tradeId"]), 100))

    http.answer = answer
    asked = Range(T0_MS * 1_000, T0_MS * 1_000 + US_PER_HOUR)

    parts = [part async for part in connector.fetch_trades(LINEAR, asked)]

    assert [part.asked for part in parts] == [asked]
    ids = [r["trade_id"] for r in rows_of(parts[0].table)]
    assert ids == [str(1_000 + i) for i in range(250)]
    assert [query["type"] for query in http.queries] == ["2", "1", "1"]
    assert http.queries[1]["after"] == "1150"


async def test_the_window_of_trades_has_its_first_moment_and_not_its_last(
    connector: OkxConnector, http: ScriptedHttp
):
    rows = [trade(n, T0_MS + n) for n in range(5)]
    http.answer = lambda _path, query: wrap(
        cut_page(rows, query, lambda r: int(r["ts" if query["type"] == "2" else "tradeId"]), 100)
    )
    asked = Range((T0_MS + 1) * 1_000, (T0_MS + 3) * 1_000)

    parts = [part async for part in connector.fetch_trades(LINEAR, asked)]

    assert [r["trade_id"] for r in rows_of(parts[0].table)] == ["1", "2"]


async def test_a_window_without_trades_is_one_question(connector: OkxConnector, http: ScriptedHttp):
    http.answer = lambda _path, _query: wrap([])

    parts = [part async for part in connector.fetch_trades(LINEAR, window(0, 60))]

    assert [part.table.num_rows for part in parts] == [0]
    assert len(http.asked) == 1


async def test_trade_pages_that_go_backwards_are_refused(
    connector: OkxConnector, http: ScriptedHttp
):
    http.answer = lambda _path, _query: wrap([trade(7, T0_MS), trade(8, T0_MS)])

    with pytest.raises(MalformedPayload, match="goes back"):
        _ = [part async for part in connector.fetch_trades(LINEAR, window(0, 60))]


def test_sizes_of_swaps_are_contracts_and_become_base_units():
    body = as_bytes(wrap([trade(2, T0_MS, sz="0.07"), trade(1, T0_MS, px="50000", sz="5")]))

    linear = parse.parse_trades(body, LINEAR).page.columns["size"].tolist()
    inverse = parse.parse_trades(body, INVERSE).page.columns["size"].tolist()
    spot = parse.parse_trades(body, SPOT).page.columns["size"].tolist()

    # 0.07 * 0.01 is 0.0007000000000000001 in binary
    assert linear == [0.0007, 0.05]
    assert inverse[1] == 5 * 100 / 50000
    assert spot == [0.07, 5.0]


def test_the_side_is_the_takers_and_an_unknown_word_is_no_error():
    rows = [trade(1, T0_MS), trade(2, T0_MS, side="sell"), trade(3, T0_MS, side="?")]

    page = parse.parse_trades(as_bytes(wrap(rows)), SPOT).page

    assert page.columns["side"] == ["buy", "sell", "unknown"]


def test_an_inverse_trade_at_a_price_of_zero_is_no_crash():
    body = as_bytes(wrap([trade(1, T0_MS, px="0")]))

    got = parse.parse_trades(body, INVERSE)
    fetched = parse.finish_trades([got.page], window(0, 1), requests=1, body_bytes=0)

    assert fetched.table.num_rows == 1  # validation refuses it, with its reason


# -- funding ------------------------------------------------------------------------------------


async def test_funding_is_what_was_charged_not_what_was_forecast(
    connector: OkxConnector, http: ScriptedHttp
):
    hours = [funding(T0_MS + h * 3_600_000, realized=f"0.000{h % 9}1") for h in range(168)]
    http.answer = lambda _path, query: wrap(
        cut_page(hours, query, lambda r: int(r["fundingTime"]), 400)
    )
    asked = Range(T0_MS * 1_000, T0_MS * 1_000 + 7 * US_PER_DAY)

    fetched = await connector.fetch_funding(LINEAR, asked)

    assert fetched.table.num_rows == 168
    assert rows_of(fetched.table)[1] == {
        "timestamp": (T0_MS + 3_600_000) * 1_000,
        "funding_rate": 0.00011,
        # intervals vary, and nothing here says which
        "interval_hours": None,
        "mark_price": None,
    }
    assert fetched.requests == 1


async def test_funding_pages_of_100_are_paged_on(connector: OkxConnector, http: ScriptedHttp):
    hours = [funding(T0_MS + h * 3_600_000) for h in range(168)]
    http.answer = lambda _path, query: wrap(
        cut_page(hours, query, lambda r: int(r["fundingTime"]), 100)
    )
    asked = Range(T0_MS * 1_000, T0_MS * 1_000 + 7 * US_PER_DAY)

    fetched = await connector.fetch_funding(LINEAR, asked)

    assert (fetched.table.num_rows, fetched.requests) == (168, 2)


async def test_spot_has_no_funding_and_no_open_interest(connector: OkxConnector):
    with pytest.raises(NotSupported, match="spot pairs pay none"):
        await connector.fetch_funding(SPOT, window(0, 1))
    with pytest.raises(NotSupported, match="spot pairs have none"):
        await connector.open_interest(SPOT)


def test_trades_and_funding_reach_back_three_months_and_candles_for_ever(connector: OkxConnector):
    assert connector.reach(LINEAR, Kind.CANDLES, NOW_US) == 0
    for kind in (Kind.TRADES, Kind.FUNDING):
        days = (NOW_US - connector.reach(LINEAR, kind, NOW_US)) / US_PER_DAY
        assert 85 < days < 92


# -- readings -----------------------------------------------------------------------------------


def test_book_levels_count_contracts_and_may_have_three_elements_or_four():
    book = {"asks": [["50001", "2", "0", "7"]], "bids": [["50000", "3", "9"]], "ts": str(T0_MS)}

    linear = reading.parse_book(as_bytes(wrap([{**book, "seqId": 7}])), LINEAR, ts_recv=1)
    inverse = reading.parse_book(as_bytes(wrap([book])), INVERSE, ts_recv=1)

    assert linear.asks == ((50001.0, 0.02),)
    assert (linear.sequence, linear.ts_event, linear.ts_recv) == (7, T0_MS * 1_000, 1)
    assert inverse.bids == ((50000.0, 3 * 100 / 50000),)
    assert inverse.sequence is None


async def test_the_default_of_one_level_is_never_left_to_the_exchange(
    connector: OkxConnector, http: ScriptedHttp
):
    http.answer = lambda _path, _query: wrap([{"asks": [], "bids": [], "ts": "1"}])

    await connector.book_snapshot(SPOT)
    await connector.book_snapshot(SPOT, 9_999)

    assert [(path, query["sz"]) for path, query, _ in http.asked] == [
        ("/api/v5/market/books", "100"),
        ("/api/v5/market/books-full", "5000"),
    ]


async def test_quotes_of_both_markets_take_two_calls_and_empty_sides_are_none(
    connector: OkxConnector, http: ScriptedHttp
):
    def ticker(native: str, **more: str) -> dict[str, str]:
        return {
            "instId": native, "ts": str(T0_MS), "askPx": "2", "askSz": "5", "bidPx": "1",
            "bidSz": "7", "vol24h": "", "volCcy24h": "",
        } | more  # fmt: skip

    http.answer = lambda _path, query: wrap(
        [ticker("BTC-USDT", askPx="", askSz=""), ticker("ETH-USDT")]
        if query["instType"] == "SPOT"
        else [ticker("BTC-USDT-SWAP")]
    )

    found = {q.symbol: q for q in await connector.quotes([SPOT, LINEAR])}

    assert len(http.asked) == 2
    assert set(found) == {"BTC-USDT", "BTC-USDT-PERP"}
    assert (found["BTC-USDT"].ask_price, found["BTC-USDT"].ask_size) == (None, None)
    assert (found["BTC-USDT"].bid_price, found["BTC-USDT"].bid_size) == (1.0, 7.0)
    assert found["BTC-USDT-PERP"].ask_size == 0.05


async def test_open_interest_is_in_coins_not_in_contracts(
    connector: OkxConnector, http: ScriptedHttp
):
    row = {"instId": "BTC-USDT-SWAP", "oi": "2874486.99", "oiCcy": "28744.8699", "ts": "1"}
    http.answer = lambda _path, _query: wrap([row])

    assert (await connector.open_interest(LINEAR)).open_interest == 28744.8699


async def test_maintenance_under_way_means_down_and_planned_maintenance_does_not(
    connector: OkxConnector, http: ScriptedHttp
):
    state = "scheduled"

    def answer(path: str, _query: dict[str, str]) -> object:
        if path.endswith("/time"):
            return wrap([{"ts": str(NOW_US // 1_000)}])
        return wrap([{"title": "Upgrade", "state": state, "env": "1"}])

    http.answer = answer

    assert (await connector.status()).is_up
    state = "ongoing"
    status = await connector.status()
    assert (status.is_up, status.detail) == (False, "Upgrade")


# -- instruments --------------------------------------------------------------------------------


def row(native: str, **more: str | None) -> dict[str, str | None]:
    is_swap = native.endswith("-SWAP")
    return {
        "instType": "SWAP" if is_swap else "SPOT", "instId": native, "state": "live",
        "baseCcy": "", "quoteCcy": "", "tickSz": "0.1", "lotSz": "1", "minSz": "1",
    } | more  # fmt: skip


def listed(*rows: dict[str, str | None]) -> dict[str, Instrument]:
    return {one.symbol: one for one in parse_instruments(as_bytes(wrap(list(rows))))}


def test_contracts_have_empty_base_and_quote_and_are_named_by_their_index():
    found = listed(
        row("BTC-USDT-SWAP", uly="BTC-USDT", settleCcy="USDT", ctType="linear", ctVal="0.01",
            ctMult="10"),
        row("BTC-USD-SWAP", uly="BTC-USD", settleCcy="BTC", ctType="inverse", ctVal="100",
            ctMult="1"),
    )  # fmt: skip

    assert (found["BTC-USDT-PERP"].market, found["BTC-USDT-PERP"].contract_size) == ("linear", 0.1)
    assert (found["BTC-USD-PERP"].market, found["BTC-USD-PERP"].contract_size) == ("inverse", 100.0)
    assert found["BTC-USD-PERP"].ccxt == "BTC/USD:BTC"


def test_the_dollar_basket_settles_in_usd_and_does_not_take_the_inverse_contracts_name():
    found = listed(
        row("BTC-USD_UM-SWAP", uly="BTC-USD", settleCcy="USDⓈ", ctType="linear", ctVal="0.01",
            ctMult="1"),
        row("BTC-USD-SWAP", uly="BTC-USD", settleCcy="BTC", ctType="inverse", ctVal="100",
            ctMult="1"),
    )  # fmt: skip

    assert found["BTC-USD-PERP"].native == "BTC-USD-SWAP"
    basket = found["BTC-USD-USD-PERP"]
    assert (basket.native, basket.settle, basket.ccxt) == ("BTC-USD_UM-SWAP", "USD", "BTC/USD:USD")
    table = InstrumentTable("okx", found.values())
    assert table.resolve("BTC/USD:USD") is basket
    assert table.resolve("btc-usd_um-swap") is basket


def test_an_instrument_about_to_open_has_empty_fields():
    bare: dict[str, str | None] = {"tickSz": "", "lotSz": None, "minSz": "", "state": "preopen"}
    found = listed(
        row("NEW-USDT", **bare), row("NEW-USDT-SWAP", uly="", ctVal="", ctMult="", **bare)
    )

    assert found["NEW-USDT"].status is Status.PRE_LISTING
    assert found["NEW-USDT"].tick_size is None
    assert found["NEW-USDT-PERP"].base == "NEW"


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ("live", Status.ACTIVE),
        ("suspend", Status.HALTED),
        ("preopen", Status.PRE_LISTING),
        ("post_only", Status.POST_ONLY),
        ("rebase", Status.HALTED),
        ("settling", Status.SETTLING),
        ("brand_new_word", Status.UNKNOWN),
    ],
)
def test_unknown_states_do_not_crash(state: str, status: Status):
    assert listed(row("A-B", state=state))["A-B"].status is status


def test_perpetuals_on_stocks_are_left_out_unless_asked_for():
    rows = wrap([row("TSLA-USDT-SWAP", uly="TSLA-USDT", instCategory="3"), row("A-B")])

    assert [i.native for i in parse_instruments(as_bytes(rows))] == ["A-B"]
    everything = parse_instruments(as_bytes(rows), categories={"", "1", "3"})
    assert len(everything) == 2


def test_dated_contracts_are_left_out():
    future = {"instType": "FUTURES", "instId": "ETH-USD_UM_XPERP-310404", "uly": "ETH-USD"}

    assert parse_instruments(as_bytes(wrap([future]))) == []


def test_continuous_trading_counts_as_listed_where_it_is_set():
    found = listed(row("A-B", listTime="1000", contTdSwTime="2000"), row("C-D", listTime="1000"))

    assert (found["A-B"].listed_us, found["C-D"].listed_us) == (2_000_000, 1_000_000)


def test_a_number_that_is_none_costs_its_field_and_not_the_list():
    found = listed(row("A-B", tickSz="oops", lotSz="nan", listTime="soon"), row("C-D"))

    assert len(found) == 2
    assert (found["A-B"].tick_size, found["A-B"].size_step) == (None, None)
    assert found["A-B"].listed_us is None


@pytest.mark.parametrize("level", [["nan", "1"], ["1", "inf"], ["1"], ["", "1"]])
def test_a_book_with_a_level_that_is_none_is_refused(level: list[str]):
    with pytest.raises(MalformedPayload):
        reading.parse_book(
            as_bytes(wrap([{"asks": [level], "bids": [], "ts": "1"}])), LINEAR, ts_recv=0
        )


async def test_an_unknown_symbol_is_named_as_the_user_knows_it(
    connector: OkxConnector, http: ScriptedHttp
):
    http.answer = lambda _path, _query: wrap([], "51001", "Instrument ID doesn't exist.")

    with pytest.raises(UnknownSymbol, match="BTC-USDT-PERP"):
        await connector.fetch_candles(LINEAR, Interval.M1, window(0, 10))
