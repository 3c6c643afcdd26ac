"""A market of millions of trades a day: history is served in parts of days."""

import itertools

from aiohttp import ClientSession

from zvt_crypto.simulator.config import SimulatorConfig
from zvt_crypto.simulator.server import Simulator

US_PER_S = 1_000_000


async def test_history_of_a_busy_market_has_no_seams(client: ClientSession) -> None:
    config = SimulatorConfig(seed=7, limits="off", trades_per_day=1_000_000)
    async with Simulator(config) as sim:
        # given the trades of some minutes, as the simulator knows them
        end = sim.world.clock.now_us() - 120 * US_PER_S
        start = end - 3_000 * US_PER_S
        path = f"exchange=okx&symbol=BTC-USDT&start={start}&end={end}"
        truth = await (await client.get(f"{sim.url}/_truth/trades?{path}")).json()
        assert len(truth) > 20_000  # more than one block

        # when they are paged by id, and aggregates by id and by time
        base = f"{sim.url}/okx/api/v5/market/history-trades?instId=BTC-USDT&type=1&limit=100"
        seen: list[int] = []
        after = truth[-1]["trade_id"] + 1
        while not seen or seen[-1] > truth[0]["trade_id"]:
            page = (await (await client.get(f"{base}&after={after}")).json())["data"]
            seen += [int(row["tradeId"]) for row in page]
            after = seen[-1]

        # then every trade comes once
        wanted = [row["trade_id"] for row in truth]
        assert [i for i in reversed(seen) if i >= wanted[0]] == wanted

        base = f"{sim.url}/binance/api/v3/aggTrades?symbol=BTCUSDT&limit=1000"
        first = start // 1_000
        rows = await (await client.get(f"{base}&startTime={first}&endTime={end // 1_000}")).json()
        covered = rows
        while rows[-1]["T"] < end // 1_000 - 1_000:
            rows = await (await client.get(f"{base}&fromId={rows[-1]['a'] + 1}")).json()
            covered += rows
        for before, after_it in itertools.pairwise(covered):
            assert after_it["a"] == before["a"] + 1
            assert after_it["f"] == before["l"] + 1
