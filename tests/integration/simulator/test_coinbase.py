"""The simulated Coinbase answers as the real one is documented to, and ccxt works against it."""

import asyncio
from decimal import Decimal
from http import HTTPStatus
from itertools import pairwise
from typing import Any

import ccxt.async_support as ccxt
import pytest
from aiohttp import ClientSession

from zvt_crypto.core.timestamp import format_us, to_us
from zvt_crypto.simulator.config import SimulatorConfig
from zvt_crypto.simulator.server import Simulator

ROOT = "/api/v3/brokerage"
START_S = to_us("2025-07-01T00:00:00Z") // 1_000_000
MINUTE_S, HOUR_S, DAY_S = 60, 3_600, 86_400
FRESH = {"Cache-Control": "no-cache"}


class Coinbase:
    """Ask a simulator's Coinbase."""

    def __init__(self, sim: Simulator, client: ClientSession) -> None:
        self._sim = sim
        self._client = client

    async def ask(
        self, path: str, headers: dict[str, str] | None = None, **query: Any
    ) -> tuple[int, Any, Any]:
        url = f"{self._sim.venue_url('coinbase')}{path}"
        async with self._client.get(url, params=query, headers=headers) as reply:
            body = await reply.json() if "json" in reply.content_type else await reply.text()
            return reply.status, body, reply.headers

    async def get(self, path: str, **query: Any) -> Any:
        status, body, _ = await self.ask(f"{ROOT}{path}", FRESH, **query)
        assert status == HTTPStatus.OK, body
        return body

    async def refusal(self, path: str, **query: Any) -> tuple[int, str, str]:
        status, body, _ = await self.ask(f"{ROOT}{path}", FRESH, **query)
        assert set(body) == {"error", "error_details", "message"}
        return status, body["error"], body["message"]

    async def candles(self, product: str, granularity: str, start: int, end: int) -> list[Any]:
        query = {"granularity": granularity, "start": str(start), "end": str(end)}
        return (await self.get(f"/market/products/{product}/candles", **query))["candles"]

    async def truth(self, kind: str, symbol: str, start: int, end: int, **more: Any) -> Any:
        bounds = {"start": format_us(start * 1_000_000), "end": format_us(end * 1_000_000)}
        query = {"exchange": "coinbase", "symbol": symbol} | bounds | more
        async with self._client.get(f"{self._sim.url}/_truth/{kind}", params=query) as reply:
            assert reply.status == HTTPStatus.OK, await reply.text()
            rows = await reply.json()
            return {name: [row[name] for row in rows] for name in rows[0]}

    async def fault(self, **fault: Any) -> None:
        async with self._client.post(f"{self._sim.url}/_faults", json=fault) as reply:
            assert reply.status == HTTPStatus.CREATED


@pytest.fixture
def coinbase(sim: Simulator, client: ClientSession) -> Coinbase:
    return Coinbase(sim, client)


def opens(rows: list[Any]) -> list[int]:
    return [int(row["start"]) for row in rows]


# Candles.


async def test_candles_are_objects_of_strings_newest_first_in_seconds(coinbase: Coinbase) -> None:
    rows = await coinbase.candles("BTC-USD", "ONE_HOUR", START_S, START_S + 2 * HOUR_S)
    assert opens(rows) == [START_S + n * HOUR_S for n in (2, 1, 0)]
    assert [list(row) for row in rows] == [["start", "low", "high", "open", "close", "volume"]] * 3
    assert all(isinstance(value, str) for row in rows for value in row.values())


@pytest.mark.parametrize(
    ("product", "symbol"),
    [
        ("BTC-USD", "BTC-USD"),
        ("BTC-USDC", "BTC-USDC"),
        ("BIP-20DEC30-CDE", "BTC-USD-PERP"),
    ],
)
async def test_candles_are_those_of_the_market(
    coinbase: Coinbase, product: str, symbol: str
) -> None:
    # given what happened in 200 minutes
    end = START_S + 200 * MINUTE_S
    truth = await coinbase.truth("candles", symbol, START_S, end, interval="1m")

    # when they are read from the venue
    rows = await coinbase.candles(product, "ONE_MINUTE", START_S, end - 1)

    # then the numbers are the same; of the perpetual, volume counts contracts
    rows.reverse()
    assert [start * 1_000_000 for start in opens(rows)] == list(truth["open_time_us"])
    for name, own in zip(
        ("open", "high", "low", "close", "volume"),
        ("open", "high", "low", "close", "native_volume"),
        strict=True,
    ):
        assert [Decimal(r[name]) for r in rows] == [Decimal(v) for v in truth[own]], name


async def test_buckets_without_trades_are_omitted(coinbase: Coinbase) -> None:
    end = START_S + 349 * MINUTE_S
    rows = await coinbase.candles("LSK-USD", "ONE_MINUTE", START_S, end)
    assert 0 < len(rows) < 200
    assert all(Decimal(row["volume"]) > 0 for row in rows)


async def test_a_start_inside_a_bucket_returns_the_bucket(coinbase: Coinbase) -> None:
    rows = await coinbase.candles("BTC-USD", "ONE_HOUR", START_S + 1, START_S + HOUR_S)
    assert opens(rows) == [START_S + HOUR_S, START_S]


async def test_spans_over_350_buckets_are_refused(coinbase: Coinbase) -> None:
    path = "/market/products/BTC-USD/candles"
    query: dict[str, Any] = {"granularity": "ONE_HOUR", "start": START_S}
    most = await coinbase.get(path, **query, end=START_S + 349 * HOUR_S)
    assert len(most["candles"]) == 350
    status, word, message = await coinbase.refusal(path, **query, end=START_S + 350 * HOUR_S)
    assert (status, word) == (HTTPStatus.BAD_REQUEST, "INVALID_ARGUMENT")
    assert "350" in message


@pytest.mark.parametrize(
    "query",
    [
        {"granularity": "ONE_MINUTE"},
        {"granularity": "ONE_WEEK", "start": START_S, "end": START_S},
        {"granularity": "1m", "start": START_S, "end": START_S},
        {"start": START_S, "end": START_S},
        {"granularity": "ONE_DAY", "start": START_S, "end": START_S - 1},
        {"granularity": "ONE_DAY", "start": "2025-07-01", "end": START_S},
    ],
)
async def test_wrong_parameters_are_invalid_arguments(
    coinbase: Coinbase, query: dict[str, Any]
) -> None:
    status, word, _ = await coinbase.refusal("/market/products/BTC-USD/candles", **query)
    assert (status, word) == (HTTPStatus.BAD_REQUEST, "INVALID_ARGUMENT")


async def test_the_running_bucket_is_served_without_a_word_about_it(coinbase: Coinbase) -> None:
    now = int((await coinbase.get("/time"))["epochSeconds"])
    rows = await coinbase.candles("BTC-USD", "ONE_DAY", now - DAY_S, now)
    assert opens(rows) == [now // DAY_S * DAY_S, now // DAY_S * DAY_S - DAY_S]


async def test_four_hours_work_until_they_do_not(coinbase: Coinbase) -> None:
    rows = await coinbase.candles("BTC-USD", "FOUR_HOUR", START_S, START_S + 8 * HOUR_S)
    assert opens(rows) == [START_S + n * 4 * HOUR_S for n in (2, 1, 0)]
    await coinbase.fault(kind="no_four_hour")
    query = {"granularity": "FOUR_HOUR", "start": START_S, "end": START_S + HOUR_S}
    refusal = await coinbase.refusal("/market/products/BTC-USD/candles", **query)
    assert refusal[:2] == (HTTPStatus.BAD_REQUEST, "INVALID_ARGUMENT")


async def test_before_a_listing_there_is_nothing(coinbase: Coinbase) -> None:
    assert await coinbase.candles("BTC-USD", "ONE_DAY", 1_000_000_000, 1_010_000_000) == []


# Products.


async def test_an_alias_shows_the_book_of_its_product(coinbase: Coinbase) -> None:
    usd, usdc = [await coinbase.get(f"/market/products/BTC-{c}") for c in ("USD", "USDC")]
    assert (usd["alias"], usd["alias_to"]) == ("", ["BTC-USDC"])
    assert (usdc["alias"], usdc["alias_to"]) == ("BTC-USD", [])
    span = (START_S, START_S + 100 * MINUTE_S)
    first = await coinbase.candles("BTC-USD", "ONE_MINUTE", *span)
    assert await coinbase.candles("BTC-USDC", "ONE_MINUTE", *span) == first
    other = await coinbase.candles("BTC-USDT", "ONE_MINUTE", *span)
    assert other != first
    trades = await coinbase.get("/market/products/BTC-USDC/ticker", limit=3)
    assert {row["product_id"] for row in trades["trades"]} == {"BTC-USDC"}
    book = await coinbase.get("/market/product_book", product_id="BTC-USDC", limit=3)
    assert book["pricebook"]["product_id"] == "BTC-USDC"


async def test_a_perpetual_calls_itself_expiring_and_has_no_base(coinbase: Coinbase) -> None:
    reply = await coinbase.get("/market/products", product_type="FUTURE")
    perp = next(p for p in reply["products"] if p["product_id"] == "BIP-20DEC30-CDE")
    details = perp["future_product_details"]
    assert (perp["base_currency_id"], perp["status"], perp["product_venue"]) == ("", "", "FCM")
    assert (perp["quote_increment"], perp["price_increment"]) == ("0.01", "5")
    assert (perp["base_increment"], details["contract_size"]) == ("1", "0.01")
    assert (details["contract_expiry_type"], details["contract_root_unit"]) == ("EXPIRING", "BTC")
    assert Decimal(details["funding_rate"]) != 0
    assert details["funding_interval"] == "3600s"
    # and a contract beside it does expire
    (dated,) = [p for p in reply["products"] if not p["future_product_details"]["funding_rate"]]
    assert dated["product_id"].startswith("BIT-")
    perpetual = {"product_type": "FUTURE", "contract_expiry_type": "PERPETUAL"}
    assert (await coinbase.get("/market/products", **perpetual))["products"] == []


async def test_products_are_paged_when_a_limit_asks_for_it(coinbase: Coinbase) -> None:
    whole = await coinbase.get("/market/products", product_type="SPOT")
    assert whole["pagination"] is None
    assert whole["num_products"] == len(whole["products"]) > 10
    found: list[str] = []
    query: dict[str, Any] = {"product_type": "SPOT", "limit": 4}
    while True:
        page = await coinbase.get("/market/products", **query)
        found += [p["product_id"] for p in page["products"]]
        if not page["pagination"]["has_next"]:
            break
        query["cursor"] = page["pagination"]["next_cursor"]
    assert found == [p["product_id"] for p in whole["products"]]
    some = [("product_ids", "ETH-USD"), ("product_ids", "BTC-USD")]
    url = "&".join(f"{k}={v}" for k, v in some)
    status, body, _ = await coinbase.ask(f"{ROOT}/market/products?{url}")
    assert (status, body["num_products"]) == (HTTPStatus.OK, 2)
    one = await coinbase.get("/market/products", product_ids="ETH-USD")
    assert [p["product_id"] for p in one["products"]] == ["ETH-USD"]


async def test_prices_of_a_product_are_strings(coinbase: Coinbase) -> None:
    product = await coinbase.get("/market/products/ETH-USD")
    assert (product["product_type"], product["status"]) == ("SPOT", "online")
    assert Decimal(product["price"]) > 0
    assert Decimal(product["volume_24h"]) > 0
    assert Decimal(product["price_increment"]) == Decimal("0.01")


# Trades, book and time.


async def test_the_side_of_a_trade_is_the_makers(coinbase: Coinbase) -> None:
    # given what takers did in five minutes
    truth = await coinbase.truth("trades", "ETH-USD", START_S, START_S + 300)

    # when the trades are read from the venue
    span = {"start": START_S, "end": START_S + 300, "limit": 1_000}
    reply = await coinbase.get("/market/products/ETH-USD/ticker", **span)
    rows = [r for r in reply["trades"][::-1] if to_us(r["time"]) < (START_S + 300) * 1_000_000]

    # then they are the same, with the other side
    opposite = {"BUY": "sell", "SELL": "buy"}
    assert [opposite[row["side"]] for row in rows] == list(truth["side"])
    assert [to_us(row["time"]) for row in rows] == list(truth["time_us"])
    assert [Decimal(row["price"]) for row in rows] == [Decimal(p) for p in truth["price"]]
    assert all(int(b["trade_id"]) == int(a["trade_id"]) + 1 for a, b in pairwise(rows))
    assert (rows[0]["bid"], rows[0]["ask"]) == ("", "")
    assert Decimal(reply["best_bid"]) < Decimal(reply["best_ask"])


async def test_trades_come_newest_first_and_a_thousand_at_most(coinbase: Coinbase) -> None:
    path = "/market/products/BTC-USD/ticker"
    rows = (await coinbase.get(path, limit=5_000))["trades"]
    assert len(rows) == 1_000
    ids = [int(row["trade_id"]) for row in rows]
    assert ids == sorted(ids, reverse=True)
    assert len((await coinbase.get(path, limit=7))["trades"]) == 7


async def test_a_book_has_as_many_levels_as_asked(coinbase: Coinbase) -> None:
    reply = await coinbase.get("/market/product_book", product_id="BTC-USD", limit=50)
    bids, asks = reply["pricebook"]["bids"], reply["pricebook"]["asks"]
    assert (len(bids), len(asks)) == (50, 50)
    assert Decimal(bids[0]["price"]) < Decimal(asks[0]["price"])
    assert Decimal(bids[-1]["price"]) < Decimal(bids[0]["price"])
    assert (await coinbase.refusal("/market/product_book"))[1] == "INVALID_ARGUMENT"


async def test_the_time_is_written_three_times(coinbase: Coinbase) -> None:
    time = await coinbase.get("/time")
    assert to_us(time["iso"]) // 1_000_000 == int(time["epochSeconds"])
    assert int(time["epochMillis"]) // 1_000 == int(time["epochSeconds"])
    await coinbase.fault(kind="clock_skew", offset_s=-7_200)
    behind = await coinbase.get("/time")
    assert 7_190 < int(time["epochSeconds"]) - int(behind["epochSeconds"]) < 7_210


# Cache, limits and refusals.


async def test_answers_are_a_second_old_unless_that_is_refused(coinbase: Coinbase) -> None:
    path = f"{ROOT}/time"
    _, first, _ = await coinbase.ask(path)
    await asyncio.sleep(0.02)
    _, again, _ = await coinbase.ask(path)
    _, fresh, _ = await coinbase.ask(path, FRESH)
    assert again == first
    assert int(fresh["epochMillis"]) > int(first["epochMillis"])
    _, other, _ = await coinbase.ask(path, limit=1)
    assert int(other["epochMillis"]) > int(first["epochMillis"])
    await asyncio.sleep(1.0)
    _, later, _ = await coinbase.ask(path)
    assert int(later["epochMillis"]) > int(first["epochMillis"])


async def test_a_fault_does_not_stay_in_the_cache(coinbase: Coinbase) -> None:
    path = f"{ROOT}/market/products/BTC-USD/candles"
    query: dict[str, Any] = {"granularity": "ONE_HOUR", "start": START_S}
    query["end"] = START_S + 9 * HOUR_S
    await coinbase.fault(kind="truncated_page", first=1)
    _, cut, _ = await coinbase.ask(path, **query)
    _, whole, _ = await coinbase.ask(path, **query)
    assert (len(cut["candles"]), len(whole["candles"])) == (5, 10)


async def test_the_eleventh_request_of_a_second_is_refused(client: ClientSession) -> None:
    async with Simulator(SimulatorConfig(seed=7, exchanges=("coinbase",))) as sim:
        coinbase = Coinbase(sim, client)
        replies = [await coinbase.ask(f"{ROOT}/time") for _ in range(11)]
        assert [status for status, _, _ in replies] == [200] * 10 + [429]
        assert replies[10][1] == {
            "errors": [{"id": "rate_limit_exceeded", "message": "Too many requests"}]
        }
        headers = replies[9][2]
        assert (headers["x-ratelimit-limit"], headers["x-ratelimit-remaining"]) == ("10", "0")
        assert headers["x-ratelimit-reset"] == "1"
        await asyncio.sleep(1.05)
        assert (await coinbase.ask(f"{ROOT}/time"))[0] == HTTPStatus.OK


async def test_unknown_products_are_not_found(coinbase: Coinbase) -> None:
    for path in ("", "/candles", "/ticker"):
        refusal = await coinbase.refusal(f"/market/products/NOPE-USD{path}")
        assert refusal[:2] == (HTTPStatus.NOT_FOUND, "NOT_FOUND")
    gone = await coinbase.refusal("/market/products/BTC-PERP-INTX")
    assert gone[0] == HTTPStatus.NOT_FOUND
    await coinbase.fault(kind="delisting", symbol="ETH-USD")
    assert (await coinbase.refusal("/market/products/ETH-USD"))[1] == "NOT_FOUND"


async def test_private_calls_need_a_key(coinbase: Coinbase) -> None:
    status, body, _ = await coinbase.ask(f"{ROOT}/accounts")
    assert (status, body.strip()) == (HTTPStatus.UNAUTHORIZED, "Unauthorized")


@pytest.mark.parametrize(
    ("kind", "status", "word"),
    [("http_429", 429, "rate_limit_exceeded"), ("http_5xx", 503, "UNAVAILABLE")],
)
async def test_injected_statuses_speak_like_the_venue(
    coinbase: Coinbase, kind: str, status: int, word: str
) -> None:
    await coinbase.fault(kind=kind, first=1)
    got, body, _ = await coinbase.ask(f"{ROOT}/time")
    assert got == status
    assert word in str(body)


# ccxt.


@pytest.mark.parametrize("symbol", ["BTC/USD", "BTC/USDC", "BTC/USD:USD"])
async def test_ccxt_works_with_nothing_changed_but_the_host(symbol: str) -> None:
    # given a simulator with the real limits, and a client that keeps to its own
    async with Simulator(SimulatorConfig(seed=7, exchanges=("coinbase",))) as sim:
        client: Any = ccxt.coinbase({"urls": {"api": {"rest": sim.venue_url("coinbase")}}})
        try:
            # when it asks for what every client asks for
            markets = await client.load_markets()
            candles = await client.fetch_ohlcv(symbol, "1m", since=START_S * 1_000, limit=100)
            days = await client.fetch_ohlcv(symbol, "1d", limit=5)
            trades = await client.fetch_trades(symbol, limit=20)
            book = await client.fetch_order_book(symbol, limit=5)
            ticker = await client.fetch_ticker(symbol)
            server_ms = await client.fetch_time()
        finally:
            await client.close()
            await asyncio.sleep(0)

        # then everything is there and agrees with itself
        assert symbol in markets
        assert markets[symbol]["swap"] == (":" in symbol)
        steps = {b[0] - a[0] for a, b in pairwise(candles)}
        assert len(candles) > 90
        assert all(step > 0 and step % (MINUTE_S * 1_000) == 0 for step in steps)
        assert all(
            row[3] <= min(row[1], row[4]) and row[2] >= max(row[1], row[4]) for row in candles
        )
        assert [b[0] - a[0] for a, b in pairwise(days)] == [DAY_S * 1_000] * (len(days) - 1)
        assert len(trades) == 20
        assert book["bids"][0][0] < book["asks"][0][0]
        assert ticker["last"] > 0
        assert abs(server_ms - client.milliseconds()) < 5_000
        assert sim.world.venues["coinbase"].stats.describe()["refused"] == {}
