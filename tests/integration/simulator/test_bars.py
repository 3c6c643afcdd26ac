"""Bars built from the simulator's trades are the candles its markets really had."""

from typing import Any

import pytest
from aiohttp import ClientSession

from zvt_crypto.core.bar import Bar, BarBuilder, Values
from zvt_crypto.core.interval import Interval
from zvt_crypto.core.ledger import Source
from zvt_crypto.core.reconcile import EXACT, INVERSE, Agreement, reconcile
from zvt_crypto.core.record import Side, Trade
from zvt_crypto.core.schema import CANDLES
from zvt_crypto.core.series import candle_series
from zvt_crypto.core.timestamp import to_us
from zvt_crypto.ports.store import Batch
from zvt_crypto.simulator.server import Simulator
from zvt_crypto.store.memory import MemoryStore

START, END = "2025-06-30", "2025-07-02"
INTERVALS = (Interval.M1, Interval.M15, Interval.H1, Interval.H4, Interval.D1)


async def truth(
    sim: Simulator, client: ClientSession, kind: str, exchange: str, symbol: str, **more: str
) -> list[dict[str, Any]]:
    query = {"exchange": exchange, "symbol": symbol, "start": START, "end": END} | more
    async with client.get(f"{sim.url}/_truth/{kind}", params=query) as reply:
        assert reply.status == 200, await reply.text()
        return await reply.json()


def size_of(row: dict[str, Any], worth: float | None) -> float:
    """Return base units; of an inverse contract, as parsers make them of contracts and price."""
    if worth is None:
        return float(row["size"])
    return float(row["native_size"]) * worth / float(row["price"])


def values_of(row: dict[str, Any]) -> Values:
    return Values(
        float(row["open"]),
        float(row["high"]),
        float(row["low"]),
        float(row["close"]),
        float(row["volume"]),
        float(row["quote_volume"]),
        int(row["trade_count"]),
        float(row["taker_buy_volume"]),
    )


@pytest.mark.parametrize("exchange", ["binance", "okx", "bybit", "coinbase"])
async def test_the_trades_of_every_market_make_its_candles(
    sim: Simulator, client: ClientSession, exchange: str
) -> None:
    async with client.get(f"{sim.url}/_truth/instruments?exchange={exchange}") as reply:
        every = await reply.json()
    # one of each kind of market
    chosen = {one["kind"]: one for one in reversed(every)}
    store = MemoryStore()
    for kind, one in chosen.items():
        symbol, worth = one["symbol"], float(one["contract"])
        is_inverse = "inverse" in kind
        rows = await truth(sim, client, "trades", exchange, symbol)
        trades = [
            Trade(exchange, symbol, row["time_us"], 0, row["trade_id"], float(row["price"]),
                  size_of(row, worth if is_inverse else None), Side(row["side"]))
            for row in rows
        ]  # fmt: skip
        builder = BarBuilder(INTERVALS, began_us=to_us(START))
        bars: dict[tuple[Interval, int], Bar] = {}
        for bar in [*builder.feed(trades), *builder.advance(to_us(END))]:
            bars[bar.interval, bar.timestamp] = bar
        candles = 0
        for interval in INTERVALS:
            series = candle_series(exchange, symbol, interval)
            served = await truth(sim, client, "candles", exchange, symbol, interval=interval)
            verdicts = [
                reconcile(
                    series,
                    row["open_time_us"],
                    bars.get((interval, row["open_time_us"])),
                    values_of(row),
                    source=Source.REST,
                    tolerance=INVERSE if is_inverse else EXACT,
                )
                for row in served
            ]
            candles += len(verdicts)
            empty = CANDLES.empty_table()
            batch = Batch(series=series, table=empty, source=Source.LIVE, reconciled=verdicts)
            await store.commit([batch])
            found = await store.reconciliations(series)
            assert found.num_rows == len(served) > 0
            assert set(found.column("verdict").to_pylist()) == {Agreement.MATCH}
        assert candles == len(bars) > 1_000
