"""What the connector asks, and what it makes of the answers."""

from pathlib import Path
from typing import Any

import pytest
from binance_world import (
    NOW_US,
    OpenGovernor,
    ScriptedHttp,
    instrument,
    make_connector,
    reply,
)

from zvt_crypto.connectors.binance.rest import BinanceConnector
from zvt_crypto.connectors.binance.spec import BINANCE, book_endpoint
from zvt_crypto.core.column import times_of
from zvt_crypto.core.errors import (
    Banned,
    GeoBlocked,
    MalformedPayload,
    NotSupported,
    RateLimited,
    RequestRejected,
    UnknownSymbol,
)
from zvt_crypto.core.instrument import Market
from zvt_crypto.core.interval import US_PER_DAY, US_PER_HOUR, Interval
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.series import Kind
from zvt_crypto.ports.connector import Fetched

SPOT = instrument()
PERP = instrument(Market.LINEAR)
HOUR = Range(NOW_US - 2 * US_PER_HOUR, NOW_US - US_PER_HOUR)


@pytest.fixture
def http() -> ScriptedHttp:
    return ScriptedHttp()


@pytest.fixture
def governors() -> dict[str, OpenGovernor]:
    return {role: OpenGovernor() for role in BINANCE.quotas}


@pytest.fixture
def connector(
    http: ScriptedHttp, governors: dict[str, OpenGovernor], tmp_path: Path
) -> BinanceConnector:
    return make_connector(http, tmp_path, governors)


# -- candles -------------------------------------------------------------------------------------


def klines(start_ms: int, count: int) -> list[list[Any]]:
    return [
        [start_ms + i * 60_000, "1", "2", "0.5", "1.5", "10", 0, "15", 3, "4", "6", "0"]
        for i in range(count)
    ]


async def test_the_end_of_a_window_is_asked_for_exclusively(
    http: ScriptedHttp, connector: BinanceConnector
) -> None:
    http.answer = lambda _path, query: klines(int(query["startTime"]), 60)
    done = await connector.fetch_candles(SPOT, Interval.M1, HOUR)
    assert http.queries == [
        {
            "symbol": "BTCUSDT",
            "interval": "1m",
            "startTime": str(HOUR.start // 1000),
            "endTime": str(HOUR.end // 1000 - 1),
            "limit": "1000",
        }
    ]
    assert done.table.num_rows == 60
    assert done.asked == HOUR


@pytest.mark.parametrize(
    ("interval", "spelling"), [(Interval.M1, "1m"), (Interval.MON1, "1M"), (Interval.W1, "1w")]
)
async def test_a_minute_and_a_month_differ_by_case_only(
    http: ScriptedHttp, connector: BinanceConnector, interval: Interval, spelling: str
) -> None:
    http.answer = lambda _path, _query: []
    window = Range(NOW_US - 80 * US_PER_DAY, NOW_US - 79 * US_PER_DAY)
    window = window if interval is not Interval.M1 else HOUR
    await connector.fetch_candles(SPOT, interval, window)
    assert http.queries[0]["interval"] == spelling


def test_windows_of_perpetuals_hold_the_most_rows_for_the_weight(
    connector: BinanceConnector,
) -> None:
    day = Range(NOW_US - US_PER_DAY, NOW_US)
    spot = connector.windows(SPOT, Kind.CANDLES, Interval.M1, day)
    perp = connector.windows(PERP, Kind.CANDLES, Interval.M1, day)
    assert [Interval.M1.count_opens(*w) for w in spot] == [1000, 440]
    assert [Interval.M1.count_opens(*w) for w in perp] == [499, 499, 442]
    assert connector.cost(PERP, Kind.CANDLES, Interval.M1, 3).weight == 6
    assert connector.cost(SPOT, Kind.CANDLES, Interval.M1, 2).weight == 4


async def test_a_short_window_of_a_perpetual_costs_half(
    http: ScriptedHttp, connector: BinanceConnector, governors: dict[str, OpenGovernor]
) -> None:
    http.answer = lambda _path, _query: []
    await connector.fetch_candles(PERP, Interval.M1, HOUR)
    assert http.queries[0]["limit"] == "99"
    assert governors["linear"].booked == [{"weight": 1}]
    wide = Range(HOUR.end - 3 * US_PER_HOUR, HOUR.end)
    await connector.fetch_candles(PERP, Interval.M1, wide)
    assert http.queries[1]["limit"] == "499"
    assert governors["linear"].booked[1] == {"weight": 2}


async def test_a_window_that_no_page_can_hold_is_refused(connector: BinanceConnector) -> None:
    with pytest.raises(ValueError, match="1440 candles"):
        await connector.fetch_candles(SPOT, Interval.M1, Range(NOW_US - US_PER_DAY, NOW_US))


async def test_the_first_candle_is_asked_of_the_candles_not_of_the_listing(
    http: ScriptedHttp, connector: BinanceConnector
) -> None:
    http.answer = lambda _path, _query: klines(1_567_962_000_000, 1)
    assert await connector.first_candle(PERP, Interval.M1) == 1_567_962_000_000_000
    assert http.asked[0] == (
        "/fapi/v1/klines",
        {"symbol": "BTCUSDT", "interval": "1m", "startTime": "0", "limit": "1"},
    )
    http.answer = lambda _path, _query: []
    assert await connector.first_candle(SPOT, Interval.D1) is None


# -- trades --------------------------------------------------------------------------------------


class Tape:
    """Aggregate trades served as the exchange does: by time or by id, never by both."""

    def __init__(self, times_ms: list[int], first_id: int = 100) -> None:
        self.rows: list[dict[str, Any]] = [
            {"a": first_id + i, "p": "1.5", "q": "2", "f": i, "l": i, "T": t, "m": i % 2 == 0}
            for i, t in enumerate(times_ms)
        ]

    def __call__(self, _path: str, query: dict[str, str]) -> list[dict[str, Any]]:
        limit = int(query["limit"])
        if "fromId" in query:
            assert "startTime" not in query
            return [row for row in self.rows if row["a"] >= int(query["fromId"])][:limit]
        start, end = int(query["startTime"]), int(query["endTime"])
        assert end - start < 3_600_000
        return [row for row in self.rows if start <= row["T"] <= end][:limit]


async def all_trades(
    connector: BinanceConnector, window: Range, market: Any = SPOT
) -> list[Fetched]:
    parts = [part async for part in connector.fetch_trades(market, window)]
    assert parts[0].asked.start == window.start
    assert parts[-1].asked.end == window.end
    for part in parts:
        assert all(part.asked.holds(t) for t in times_of(part.table).tolist())
    return parts


def ids_of(parts: list[Fetched]) -> list[int]:
    return [int(i) for part in parts for i in part.table["trade_id"].to_pylist()]


@pytest.mark.parametrize("count", [0, 1, 999, 1_000, 1_001, 2_000, 3_500])
async def test_trades_are_paged_by_time_once_and_then_by_id(
    http: ScriptedHttp, connector: BinanceConnector, count: int
) -> None:
    # given trades before, in and after the window
    start, end = HOUR.start // 1000, HOUR.end // 1000
    inside = [start + i * 1_000 % 3_600_000 for i in range(count)]
    http.answer = Tape([start - 1, *sorted(inside), end, end + 5])
    # when the window is asked for
    parts = await all_trades(connector, HOUR)
    # then it comes whole, and only the first question had times
    assert ids_of(parts) == list(range(101, 101 + count))
    assert [("fromId" in query) for query in http.queries] == [
        False,
        *[True] * (len(http.asked) - 1),
    ]
    assert sum(part.requests for part in parts) == len(http.asked)


async def test_more_than_a_page_of_trades_in_one_millisecond_is_not_lossy(
    http: ScriptedHttp, connector: BinanceConnector
) -> None:
    at = HOUR.start // 1000 + 77
    http.answer = Tape([at] * 2_500)
    assert ids_of(await all_trades(connector, HOUR)) == list(range(100, 2_600))


async def test_a_first_page_that_was_cut_short_does_not_end_the_window(
    http: ScriptedHttp, connector: BinanceConnector
) -> None:
    tape = Tape([HOUR.start // 1000 + i for i in range(700)])
    http.answer = lambda path, query: (
        tape(path, query)[:300] if "startTime" in query else tape(path, query)
    )
    assert ids_of(await all_trades(connector, HOUR)) == list(range(100, 800))


async def test_a_page_that_comes_a_second_time_is_asked_for_again(
    http: ScriptedHttp, connector: BinanceConnector
) -> None:
    tape = Tape([HOUR.start // 1000 + i for i in range(2_200)])
    last: list[Any] = []

    def answer(path: str, query: dict[str, str]) -> Any:
        if len(http.asked) == 3:
            return last[-1]
        last.append(tape(path, query))
        return last[-1]

    http.answer = answer
    assert ids_of(await all_trades(connector, HOUR)) == list(range(100, 2_300))
    assert connector.stats.retries == 1


async def test_a_page_of_another_window_is_not_taken_for_silence(
    http: ScriptedHttp, connector: BinanceConnector
) -> None:
    http.answer = lambda _path, _query: Tape([HOUR.start // 1000 - 9_000]).rows
    with pytest.raises(MalformedPayload):
        await all_trades(connector, HOUR)


async def test_old_trades_of_a_perpetual_are_refused_as_they_would_look_like_none(
    http: ScriptedHttp, connector: BinanceConnector
) -> None:
    old = Range(NOW_US - 49 * US_PER_HOUR, NOW_US - 48 * US_PER_HOUR)
    with pytest.raises(NotSupported, match="48 hours"):
        await all_trades(connector, old, PERP)
    assert http.asked == []
    assert connector.reach(PERP, Kind.TRADES, NOW_US) == NOW_US - 47 * US_PER_HOUR
    assert connector.reach(SPOT, Kind.TRADES, NOW_US) == 0
    http.answer = lambda _path, _query: []
    assert ids_of(await all_trades(connector, HOUR, PERP)) == []


# -- funding -------------------------------------------------------------------------------------


def settlements(hours: list[int]) -> list[dict[str, Any]]:
    base = HOUR.start // 1000 // 3_600_000 * 3_600_000
    return [
        {"symbol": "BTCUSDT", "fundingTime": base + h * 3_600_000 + h % 9, "fundingRate": "0.0001"}
        for h in hours
    ]


async def test_funding_is_paged_and_its_first_interval_known(
    http: ScriptedHttp, connector: BinanceConnector, governors: dict[str, OpenGovernor]
) -> None:
    rows = settlements(list(range(-2_500, 0)))

    def answer(_path: str, query: dict[str, str]) -> Any:
        start, end = int(query["startTime"]), int(query["endTime"])
        return [row for row in rows if start <= row["fundingTime"] <= end][:1000]

    http.answer = answer
    window = Range(rows[100]["fundingTime"] // 1000 * 1_000_000, HOUR.start)
    done = await connector.fetch_funding(PERP, window)
    assert done.table.num_rows == 2_400
    assert set(done.table["interval_hours"].to_pylist()) == {1.0}
    assert done.requests == len(http.asked) == 3
    assert governors["linear"].booked == [{"funding": 1}] * 3


async def test_spot_has_no_funding_and_no_open_interest(connector: BinanceConnector) -> None:
    with pytest.raises(NotSupported, match="funding"):
        await connector.fetch_funding(SPOT, HOUR)
    with pytest.raises(NotSupported, match="open interest"):
        await connector.open_interest(SPOT)


# -- the exchange --------------------------------------------------------------------------------


def listing(limit: int, **row: Any) -> dict[str, Any]:
    symbol = {"symbol": "BTCUSDT", "baseAsset": "BTC", "quoteAsset": "USDT", "status": "TRADING"}
    limits = {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1}
    return {"symbols": [symbol | row], "rateLimits": [limits | {"limit": limit}]}


async def test_the_limits_in_force_are_taken_over(
    http: ScriptedHttp, connector: BinanceConnector, governors: dict[str, OpenGovernor]
) -> None:
    perp = {"contractType": "PERPETUAL", "marginAsset": "USDT"}
    http.answer = lambda path, _query: (
        listing(1200) if path.startswith("/api") else listing(900, **perp)
    )
    found = await connector.instruments()
    assert [one.symbol for one in found] == ["BTC-USDT", "BTC-USDT-PERP"]
    assert governors["spot"].limits == {"weight": 1200}
    assert governors["linear"].limits == {"weight": 900}


async def test_futures_refused_by_region_leave_the_spot_pairs(
    http: ScriptedHttp, connector: BinanceConnector
) -> None:
    http.answer = lambda path, _query: (
        listing(1200) if path.startswith("/api") else reply({"code": 0, "msg": "restricted"}, 451)
    )
    assert [one.symbol for one in await connector.instruments()] == ["BTC-USDT"]
    http.answer = lambda _path, _query: reply({"code": 0, "msg": "restricted"}, 451)
    with pytest.raises(GeoBlocked, match=r"api\.binance\.com"):
        await connector.instruments()


async def test_the_used_weight_is_reported_but_for_the_wrong_header_of_futures_tickers(
    http: ScriptedHttp, connector: BinanceConnector, governors: dict[str, OpenGovernor]
) -> None:
    row = {"symbol": "BTCUSDT", "bidPrice": "1", "bidQty": "2", "askPrice": "3", "askQty": "4"}
    http.answer = lambda _path, _query: reply(row, 200, x_mbx_used_weight_1m="77")
    await connector.quotes([SPOT, PERP])
    assert governors["spot"].seen == [{"weight": 77}]
    assert governors["linear"].seen == [{}]


async def test_429_freezes_the_host_and_is_tried_again(
    http: ScriptedHttp, connector: BinanceConnector, governors: dict[str, OpenGovernor]
) -> None:
    http.answer = lambda _path, _query: (
        reply({"code": -1003, "msg": "Too many requests"}, 429, Retry_After="7")
        if len(http.asked) == 1
        else {"serverTime": 1_700_000_000_000}
    )
    assert await connector.server_time() == 1_700_000_000_000_000
    assert governors["spot"].freezes == [(7.0, RateLimited.code)]


async def test_a_ban_longer_than_we_insist_is_raised(
    http: ScriptedHttp, connector: BinanceConnector, governors: dict[str, OpenGovernor]
) -> None:
    http.answer = lambda _path, _query: reply(b"", 418, Retry_After="7200")
    with pytest.raises(Banned):
        await connector.server_time()
    assert governors["spot"].freezes == [(7200.0, Banned.code)]
    assert len(http.asked) == 1


async def test_an_unknown_symbol_is_named(http: ScriptedHttp, connector: BinanceConnector) -> None:
    http.answer = lambda _path, _query: reply({"code": -1121, "msg": "Invalid symbol."}, 400)
    for ask in (
        lambda: connector.fetch_candles(SPOT, Interval.M1, HOUR),
        lambda: connector.book_snapshot(SPOT),
        lambda: connector.first_candle(SPOT, Interval.M1),
    ):
        with pytest.raises(UnknownSymbol, match="BTCUSDT"):
            await ask()


async def test_a_wrong_request_is_not_repeated(
    http: ScriptedHttp, connector: BinanceConnector
) -> None:
    http.answer = lambda _path, _query: reply({"code": -1127, "msg": "Too long."}, 400)
    with pytest.raises(RequestRejected):
        await connector.fetch_candles(SPOT, Interval.M1, HOUR)
    assert len(http.asked) == 1


async def test_a_garbled_page_is_asked_for_again(
    http: ScriptedHttp, connector: BinanceConnector
) -> None:
    http.answer = lambda _path, query: (
        b'[[1,"2"' if len(http.asked) == 1 else klines(int(query["startTime"]), 60)
    )
    assert (await connector.fetch_candles(SPOT, Interval.M1, HOUR)).table.num_rows == 60


@pytest.mark.parametrize(
    ("market", "depth", "limit", "weight"),
    [
        (Market.SPOT, 1, 1, 5),
        (Market.SPOT, 100, 100, 5),
        (Market.SPOT, 101, 101, 25),
        (Market.SPOT, 9_999, 5_000, 250),
        (Market.LINEAR, 1, 5, 2),
        (Market.LINEAR, 60, 100, 5),
        (Market.LINEAR, 9_999, 1_000, 20),
    ],
)
def test_a_book_costs_by_its_depth_and_futures_have_fixed_depths(
    market: Market, depth: int, limit: int, weight: int
) -> None:
    call, asked = book_endpoint(market, depth)
    assert (asked, call.costs) == (limit, {"weight": weight})


async def test_quotes_of_some_spot_pairs_name_them_and_of_one_cost_less(
    http: ScriptedHttp, connector: BinanceConnector, governors: dict[str, OpenGovernor]
) -> None:
    other = instrument(native="ETHUSDT")
    http.answer = lambda _path, _query: []
    await connector.quotes([SPOT, other])
    await connector.quotes([SPOT])
    assert http.queries == [{"symbols": '["BTCUSDT","ETHUSDT"]'}, {"symbol": "BTCUSDT"}]
    assert governors["spot"].booked == [{"weight": 4}, {"weight": 2}]


def test_every_endpoint_books_on_quotas_of_its_host() -> None:
    for call in BINANCE.endpoints.values():
        known = {fact.name for fact in BINANCE.quotas[call.host]}
        assert set(call.costs) <= known
        assert call.host in BINANCE.hosts
        assert call.page_rows <= call.max_rows or call.max_rows == 0


def test_environments_replace_hosts_that_exist() -> None:
    for hosts in BINANCE.environments.values():
        assert set(hosts) <= set(BINANCE.hosts)
        assert all(url.startswith("https://") for url in hosts.values())
