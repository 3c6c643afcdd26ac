"""What is asked, how often, and what becomes of the answers."""

import gzip
from pathlib import Path
from typing import Any

import pytest
from bybit_world import (
    INVERSE,
    LINEAR,
    NOW_US,
    SPOT,
    FakeClock,
    FakeGovernor,
    FakeHttp,
    page,
    wrap,
)

from zvt_crypto.connectors.bybit.rest import BybitConnector
from zvt_crypto.connectors.bybit.spec import BYBIT
from zvt_crypto.core.errors import (
    ArchiveAbsent,
    Banned,
    GeoBlocked,
    MalformedPayload,
    NotSupported,
    UnknownSymbol,
)
from zvt_crypto.core.instrument import Instrument
from zvt_crypto.core.interval import US_PER_DAY, US_PER_HOUR, US_PER_MINUTE, Interval
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.series import Kind
from zvt_crypto.core.timestamp import to_us
from zvt_crypto.net.http import HttpReply

JAN = to_us("2024-01-01")


def candle(open_us: int) -> list[str]:
    return [str(open_us // 1_000), "1", "1", "1", "1", "1", "1"]


# -- facts --------------------------------------------------------------------------------------


def test_the_budget_stays_under_eighty_requests_a_second():
    (fact,) = BYBIT.quotas["rest"]
    assert (fact.amount, fact.per_s, fact.style) == (600, 5.0, "rolling")
    assert fact.amount * fact.share / fact.per_s <= 80


def test_every_interval_of_ours_is_native():
    assert list(BYBIT.intervals) == list(Interval)
    assert [BYBIT.intervals[i] for i in (Interval.D1, Interval.W1, Interval.MON1)] == [
        "D",
        "W",
        "M",
    ]


def test_every_endpoint_has_a_host_and_its_quotas():
    for endpoint in BYBIT.endpoints.values():
        assert endpoint.host in BYBIT.hosts
        assert set(endpoint.costs) <= {fact.name for fact in BYBIT.quotas[endpoint.host]}
    for hosts in BYBIT.environments.values():
        assert set(hosts) <= set(BYBIT.hosts)


# -- candles ------------------------------------------------------------------------------------


@pytest.mark.parametrize("instrument", [SPOT, LINEAR, INVERSE])
async def test_the_category_is_always_sent(
    connector: BybitConnector, http: FakeHttp, instrument: Instrument
):
    http.answers = [page([], instrument)]
    await connector.fetch_candles(instrument, Interval.M1, Range(JAN, JAN + US_PER_HOUR))
    assert http.query()["category"] == str(instrument.market)
    assert http.query()["symbol"] == instrument.native


async def test_a_full_window_ends_on_its_last_open_and_fits_the_page(
    connector: BybitConnector, http: FakeHttp
):
    asked = Range(JAN, JAN + 2_500 * US_PER_MINUTE)
    windows = connector.windows(LINEAR, Kind.CANDLES, Interval.M1, asked)
    assert [(w.end - w.start) // US_PER_MINUTE for w in windows] == [1_000, 1_000, 500]
    http.answers = [page([])]
    await connector.fetch_candles(LINEAR, Interval.M1, windows[0])
    query = http.query()
    assert int(query["start"]) == JAN // 1_000
    # Both bounds are included: the end is the last open, not the first one after the page.
    assert int(query["end"]) == (JAN + 999 * US_PER_MINUTE) // 1_000
    assert (query["interval"], query["limit"]) == ("1", "1000")


async def test_a_start_inside_a_bar_is_moved_up(connector: BybitConnector, http: FakeHttp):
    http.answers = [page([])]
    await connector.fetch_candles(LINEAR, Interval.H1, Range(JAN + 1, JAN + 5 * US_PER_HOUR + 1))
    query = http.query()
    assert int(query["start"]) == (JAN + US_PER_HOUR) // 1_000
    assert int(query["end"]) == (JAN + 5 * US_PER_HOUR) // 1_000


async def test_a_window_without_an_open_is_answered_without_asking(
    connector: BybitConnector, http: FakeHttp
):
    window = Range(JAN + 1, JAN + US_PER_MINUTE)
    fetched = await connector.fetch_candles(LINEAR, Interval.M1, window)
    assert (fetched.asked, fetched.requests, fetched.table.num_rows) == (window, 0, 0)
    assert http.urls == []


async def test_a_window_wider_than_a_page_is_never_asked_for(connector: BybitConnector):
    with pytest.raises(ValueError, match="1001 candles"):
        await connector.fetch_candles(LINEAR, Interval.M1, Range(JAN, JAN + 1_001 * US_PER_MINUTE))


async def test_months_are_asked_for_by_their_calendar(connector: BybitConnector, http: FakeHttp):
    http.answers = [page([])]
    await connector.fetch_candles(LINEAR, Interval.MON1, Range(JAN, to_us("2024-04-01")))
    assert http.query()["interval"] == "M"
    assert int(http.query()["end"]) == to_us("2024-03-01") // 1_000


async def test_the_first_candle_is_one_question_from_the_epoch(
    connector: BybitConnector, http: FakeHttp
):
    http.answers = [page([candle(JAN)])]
    assert await connector.first_candle(LINEAR, Interval.M1) == JAN
    assert (http.query()["start"], http.query()["limit"]) == ("1", "1")
    assert "end" not in http.query()
    assert len(http.urls) == 1


async def test_a_probe_that_returns_the_latest_bar_is_not_believed(
    connector: BybitConnector, http: FakeHttp
):
    months = [to_us(f"2024-{m:02d}-01") for m in (3, 2, 1)]
    latest = page([candle(NOW_US // US_PER_MINUTE * US_PER_MINUTE)])
    http.answers = [latest, page([candle(m) for m in months])]
    assert await connector.first_candle(LINEAR, Interval.M1) == JAN
    assert http.query()["interval"] == "M"


async def test_no_candle_at_all_is_no_first_candle(connector: BybitConnector, http: FakeHttp):
    http.answers = [page([])]
    assert await connector.first_candle(LINEAR, Interval.M1) is None


# -- instruments --------------------------------------------------------------------------------


def contract(symbol: str, **more: Any) -> dict[str, Any]:
    return {
        "symbol": symbol,
        "contractType": "LinearPerpetual",
        "status": "Trading",
        "baseCoin": symbol.removesuffix("USDT"),
        "quoteCoin": "USDT",
        "settleCoin": "USDT",
    } | more


async def test_instruments_follow_the_cursor_until_it_is_empty(
    connector: BybitConnector, http: FakeHttp
):
    pair = {"symbol": "BTCUSDT", "baseCoin": "BTC", "quoteCoin": "USDT"}
    coin = contract("BTCUSD", contractType="InversePerpetual", quoteCoin="USD", settleCoin="BTC")
    new = contract("NEWUSDT", status="PreLaunch")
    http.answers = [
        wrap({"list": [pair], "nextPageCursor": ""}),
        wrap({"list": [contract("BTCUSDT")], "nextPageCursor": "first%3DBTC%26last%3DETH"}),
        wrap({"list": [contract("ETHUSDT")], "nextPageCursor": None}),
        wrap({"list": [new, contract("ETHUSDT")], "nextPageCursor": ""}),
        wrap({"list": [coin | {"baseCoin": "BTC"}]}),
    ]
    found = await connector.instruments()
    assert [i.symbol for i in found] == [
        "BTC-USDT",
        "BTC-USDT-PERP",
        "ETH-USDT-PERP",
        "NEW-USDT-PERP",
        "BTC-USD-PERP",
    ]
    assert all(query["limit"] == "1000" for query in map(http.query, range(5)))
    # The cursor arrives encoded and is sent encoded exactly once.
    assert "cursor=first%3DBTC%26last%3DETH" in http.urls[2]
    assert [http.query(n).get("status") for n in range(5)] == [None, None, None, "PreLaunch", None]


async def test_a_cursor_that_repeats_ends_the_list(connector: BybitConnector, http: FakeHttp):
    http.answers = [wrap({"list": [], "nextPageCursor": "again"})]
    assert await connector.instruments() == []


async def test_a_cursor_that_never_ends_is_a_fault(connector: BybitConnector, http: FakeHttp):
    http.answers = [wrap({"list": [], "nextPageCursor": f"page{n}"}) for n in range(60)]
    with pytest.raises(MalformedPayload):
        await connector.instruments()


# -- trades and funding -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("instrument", "limit"), [(SPOT, "60"), (LINEAR, "1000"), (INVERSE, "1000")]
)
async def test_recent_trades_are_sixty_on_spot_and_a_thousand_elsewhere(
    connector: BybitConnector, http: FakeHttp, instrument: Instrument, limit: str
):
    http.answers = [page([], instrument)]
    window = Range(NOW_US - US_PER_HOUR, NOW_US)
    assert [part async for part in connector.fetch_trades(instrument, window)] == []
    assert http.query()["limit"] == limit
    assert len(connector.windows(instrument, Kind.TRADES, None, window)) == 1


async def test_what_the_recent_page_does_not_cover_is_not_claimed(
    connector: BybitConnector, http: FakeHttp
):
    def trade(seconds: int) -> dict[str, str]:
        time = str((NOW_US - seconds * 1_000_000) // 1_000)
        return {"execId": f"{seconds}", "price": "1", "size": "1", "side": "Buy", "time": time}

    http.answers = [page([trade(n) for n in (10, 20, 30)])]
    window = Range(NOW_US - US_PER_HOUR, NOW_US)
    (part,) = [part async for part in connector.fetch_trades(LINEAR, window)]
    assert part.asked == Range(NOW_US - 30_000_000 + 1_000, NOW_US - 5_000_000)
    assert part.table["trade_id"].to_pylist() == ["20", "10"]


async def test_funding_sends_both_bounds_since_a_start_alone_is_an_error(
    connector: BybitConnector, http: FakeHttp
):
    asked = Range(JAN, JAN + 30 * US_PER_DAY)
    windows = connector.windows(LINEAR, Kind.FUNDING, None, asked)
    # A page of 200 rows holds a window even where funding is paid every hour.
    assert all(w.end - w.start <= 200 * US_PER_HOUR for w in windows)
    http.answers = [page([])]
    await connector.fetch_funding(LINEAR, windows[0])
    query = http.query()
    assert int(query["startTime"]) == windows[0].start // 1_000
    assert int(query["endTime"]) == windows[0].end // 1_000 - 1
    assert query["limit"] == "200"


async def test_spot_has_no_funding_and_no_open_interest(connector: BybitConnector):
    with pytest.raises(NotSupported):
        await connector.fetch_funding(SPOT, Range(JAN, JAN + US_PER_DAY))
    with pytest.raises(NotSupported):
        await connector.open_interest(SPOT)
    with pytest.raises(NotSupported):
        connector.plan_endpoint(LINEAR, Kind.BOOK)


def test_a_year_of_minutes_is_planned_at_the_published_limit(connector: BybitConnector):
    windows = connector.windows(LINEAR, Kind.CANDLES, Interval.M1, Range(JAN, to_us("2025-01-01")))
    cost = connector.cost(LINEAR, Kind.CANDLES, Interval.M1, len(windows))
    assert cost.requests == 528
    assert cost.seconds == pytest.approx(528 / 78)


# -- single readings ----------------------------------------------------------------------------


async def test_quotes_of_many_are_one_call_a_product(connector: BybitConnector, http: FakeHttp):
    def row(symbol: str) -> dict[str, str]:
        sizes = {"bid1Size": "1", "ask1Size": "1"}
        return {"symbol": symbol, "bid1Price": "1", "ask1Price": "2", **sizes}

    other = Instrument(
        exchange="bybit",
        symbol="ETH-USDT-PERP",
        native="ETHUSDT",
        base="ETH",
        quote="USDT",
        settle="USDT",
        market=LINEAR.market,
    )
    http.answers = [
        wrap({"list": [row("BTCUSDT")]}),
        wrap({"list": [row("ETHUSDT"), row("BTCUSDT"), row("XRPUSDT")]}),
    ]
    found = await connector.quotes([other, SPOT, LINEAR])
    assert [q.symbol for q in found] == ["ETH-USDT-PERP", "BTC-USDT", "BTC-USDT-PERP"]
    assert [http.query(n) for n in (0, 1)] == [
        {"category": "spot", "symbol": "BTCUSDT"},
        {"category": "linear"},
    ]


async def test_a_book_is_asked_for_with_its_depth(connector: BybitConnector, http: FakeHttp):
    http.answers = [wrap({"s": "BTCUSDT", "b": [["1", "1"]], "a": [["2", "1"]], "ts": 1})]
    book = await connector.book_snapshot(LINEAR, 5_000)
    assert http.query()["limit"] == "1000"
    assert book.ts_recv == NOW_US


async def test_the_status_says_whether_the_clock_answers(connector: BybitConnector, http: FakeHttp):
    http.answers = [wrap({"timeSecond": "1", "timeNano": str(NOW_US * 1_000)})]
    status = await connector.status()
    assert (status.is_up, status.server_time_us) == (True, NOW_US)


# -- refusals -----------------------------------------------------------------------------------


async def test_a_403_freezes_the_host_for_ten_minutes_and_is_not_asked_again(
    connector: BybitConnector, http: FakeHttp, governors: dict[str, FakeGovernor]
):
    http.answers = [HttpReply(403, {}, b"access too frequent", 0.01)]
    with pytest.raises(Banned):
        await connector.server_time()
    assert len(http.urls) == 1
    assert governors["rest"].freezes == [(600.0, "banned")]


async def test_a_country_page_names_what_to_do(connector: BybitConnector, http: FakeHttp):
    http.answers = [HttpReply(403, {}, b"<html>block access from your country</html>", 0.01)]
    with pytest.raises(GeoBlocked, match=r"api\.bybit\.com"):
        await connector.server_time()


async def test_too_many_visits_waits_and_asks_again(
    connector: BybitConnector, http: FakeHttp, clock: FakeClock, governors: dict[str, FakeGovernor]
):
    http.answers = [
        wrap({}, code=10006, message="Too many visits!"),
        wrap({"timeSecond": "1", "timeNano": "1000000000"}),
    ]
    assert await connector.server_time() == 1_000_000
    assert clock.passed_s >= 2.0
    assert governors["rest"].freezes == [(2.0, "rate_limited")]
    assert (connector.stats.requests, connector.stats.retries) == (2, 1)


async def test_an_unknown_symbol_is_named_by_our_name(connector: BybitConnector, http: FakeHttp):
    http.answers = [wrap({}, code=10001, message="params error: symbol invalid")]
    with pytest.raises(UnknownSymbol, match="BTC-USDT-PERP"):
        await connector.fetch_candles(LINEAR, Interval.M1, Range(JAN, JAN + US_PER_HOUR))


async def test_a_garbled_reply_is_asked_again(connector: BybitConnector, http: FakeHttp):
    http.answers = [b'{"retCode":0,"result":{"li', page([candle(JAN)])]
    fetched = await connector.fetch_candles(LINEAR, Interval.M1, Range(JAN, JAN + US_PER_HOUR))
    assert fetched.table.num_rows == 1


# -- archives -----------------------------------------------------------------------------------

DAY = to_us("2026-11-20")
FOLDER = "https://public.bybit.com/trading/BTCUSDT/"
NAME = "BTCUSDT2026-11-20.csv.gz"
LISTING = f'<a href="{NAME}">{NAME}</a>'.encode()
HEADER = "timestamp,symbol,side,size,price,trdMatchID,homeNotional"


def trade_file() -> bytes:
    rows = [f"{DAY // 1_000_000 + n},BTCUSDT,Buy,1,2,id{n},1" for n in range(3)]
    return gzip.compress("\n".join([HEADER, *rows]).encode())


async def test_archives_are_listed_once_and_days_not_out_yet_are_named(
    connector: BybitConnector, http: FakeHttp
):
    http.answers = [LISTING]
    asked = Range(DAY, DAY + 3 * US_PER_DAY)
    files = await connector.archives(LINEAR, Kind.TRADES, None, asked)
    assert [f.name for f in files] == [
        NAME,
        "BTCUSDT2026-11-21.csv.gz",
        "BTCUSDT2026-11-22.csv.gz",
    ]
    assert files[0].url == FOLDER + NAME
    assert files[0].covers == Range(DAY, DAY + US_PER_DAY)
    await connector.archives(LINEAR, Kind.TRADES, None, asked)
    assert http.urls == [FOLDER]


async def test_candles_have_no_archive_that_is_trusted(connector: BybitConnector):
    asked = Range(DAY, DAY + US_PER_DAY)
    assert await connector.archives(LINEAR, Kind.CANDLES, Interval.M1, asked) == []
    assert "UTC+3" in BYBIT.unsupported["candle_archives"]


async def test_a_symbol_without_a_folder_has_no_archives(connector: BybitConnector, http: FakeHttp):
    http.answers = [HttpReply(404, {}, b"Not Found", 0.01)]
    asked = Range(DAY, DAY + US_PER_DAY)
    assert await connector.archives(LINEAR, Kind.TRADES, None, asked) == []


async def test_a_file_is_downloaded_and_yielded_in_parts(
    connector: BybitConnector, http: FakeHttp, tmp_path: Path
):
    http.answers = [LISTING]
    http.files = {FOLDER + NAME: trade_file()}
    (file,) = await connector.archives(LINEAR, Kind.TRADES, None, Range(DAY, DAY + 1))
    parts = [part async for part in connector.fetch_archive(LINEAR, None, file)]
    assert [part.asked for part in parts] == [file.covers]
    assert parts[0].table["trade_id"].to_pylist() == ["id0", "id1", "id2"]
    assert (parts[0].requests, parts[0].body_bytes) == (1, len(trade_file()))
    assert list(tmp_path.iterdir()) == []  # noqa: ASYNC240 - a test's own folder


async def test_a_broken_file_is_fetched_again(connector: BybitConnector, http: FakeHttp):
    http.answers = [LISTING]
    http.files = {FOLDER + NAME: [trade_file()[:-3], trade_file()]}
    (file,) = await connector.archives(LINEAR, Kind.TRADES, None, Range(DAY, DAY + 1))
    parts = [part async for part in connector.fetch_archive(LINEAR, None, file)]
    assert parts[0].table.num_rows == 3


async def test_a_file_that_stays_broken_is_malformed(
    connector: BybitConnector, http: FakeHttp, tmp_path: Path
):
    http.answers = [LISTING]
    http.files = {FOLDER + NAME: trade_file()[:-3]}
    (file,) = await connector.archives(LINEAR, Kind.TRADES, None, Range(DAY, DAY + 1))
    with pytest.raises(MalformedPayload):
        [part async for part in connector.fetch_archive(LINEAR, None, file)]
    assert list(tmp_path.iterdir()) == []  # noqa: ASYNC240 - a test's own folder


async def test_a_file_that_is_not_out_is_absent_without_asking(
    connector: BybitConnector, http: FakeHttp
):
    http.answers = [LISTING]
    start = DAY + US_PER_DAY
    (file,) = await connector.archives(LINEAR, Kind.TRADES, None, Range(start, start + 1))
    with pytest.raises(ArchiveAbsent):
        [part async for part in connector.fetch_archive(LINEAR, None, file)]
    assert http.urls == [FOLDER]


async def test_a_listed_file_that_is_gone_is_absent(connector: BybitConnector, http: FakeHttp):
    http.answers = [LISTING]
    (file,) = await connector.archives(LINEAR, Kind.TRADES, None, Range(DAY, DAY + 1))
    with pytest.raises(ArchiveAbsent):
        [part async for part in connector.fetch_archive(LINEAR, None, file)]
    assert http.urls == [FOLDER, FOLDER + NAME]
