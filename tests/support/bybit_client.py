"""Ask the simulated Bybit, and the simulator for the truth."""

from http import HTTPStatus
from typing import Any, Final

from aiohttp import ClientSession

from zvt_crypto.core.timestamp import to_us
from zvt_crypto.simulator.server import Simulator

HOUR_MS: Final = 3_600_000
MINUTE_MS: Final = 60_000
DAY_MS: Final = 86_400_000
START_MS: Final = to_us("2025-07-01T00:00:00Z") // 1_000
MARKET: Final = "/v5/market"


class Bybit:
    """Ask a simulator's Bybit and unwrap what it says."""

    def __init__(self, sim: Simulator, client: ClientSession) -> None:
        self._sim = sim
        self._client = client

    async def get(self, path: str, **query: Any) -> tuple[int, bytes]:
        url = f"{self._sim.venue_url('bybit')}{path}"
        async with self._client.get(url, params=query) as reply:
            return reply.status, await reply.read()

    async def envelope(self, name: str, **query: Any) -> dict[str, Any]:
        url = f"{self._sim.venue_url('bybit')}{MARKET}/{name}"
        async with self._client.get(url, params=query) as reply:
            assert reply.status == HTTPStatus.OK
            return await reply.json()

    async def result(self, name: str, **query: Any) -> dict[str, Any]:
        envelope = await self.envelope(name, **query)
        assert (envelope["retCode"], envelope["retMsg"]) == (0, "OK"), envelope
        assert set(envelope) == {"retCode", "retMsg", "result", "retExtInfo", "time"}
        return envelope["result"]

    async def rows(self, name: str, **query: Any) -> list[Any]:
        return (await self.result(name, **query))["list"]

    async def refusal(self, name: str, **query: Any) -> tuple[int, str]:
        envelope = await self.envelope(name, **query)
        return envelope["retCode"], envelope["retMsg"]

    async def truth(self, kind: str, symbol: str, **query: Any) -> dict[str, list[Any]]:
        params = {"exchange": "bybit", "symbol": symbol} | query
        async with self._client.get(f"{self._sim.url}/_truth/{kind}", params=params) as reply:
            assert reply.status == HTTPStatus.OK, await reply.text()
            rows: list[dict[str, Any]] = await reply.json()
            return {name: [row[name] for row in rows] for name in rows[0]}

    async def book(self, symbol: str, sequence: int) -> dict[str, Any]:
        """Return the book the simulator has under a number."""
        params = {"exchange": "bybit", "symbol": symbol, "sequence": str(sequence)}
        async with self._client.get(f"{self._sim.url}/_truth/book", params=params) as reply:
            assert reply.status == HTTPStatus.OK, await reply.text()
            return await reply.json()

    async def fault(self, **fault: Any) -> None:
        async with self._client.post(f"{self._sim.url}/_faults", json=fault) as reply:
            assert reply.status == HTTPStatus.CREATED
