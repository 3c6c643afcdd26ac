"""Connectors of any exchange: over replies a test writes, or over a running simulator."""

import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar
from urllib.parse import parse_qsl, urlsplit

import pyarrow as pa
from aiohttp import ClientSession
from bybit_world import FakeClock, FakeGovernor

from zvt_crypto.connectors.base import BaseCryptoConnector, Tools
from zvt_crypto.connectors.spec import QuotaFact
from zvt_crypto.core.column import times_of
from zvt_crypto.core.instrument import Instrument, InstrumentTable
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.timestamp import format_us
from zvt_crypto.net.clock import ServerClock, SystemClock
from zvt_crypto.net.governor import Governor
from zvt_crypto.net.governor_state import MemoryState
from zvt_crypto.net.http import HttpClient, HttpReply
from zvt_crypto.net.quota import Quota
from zvt_crypto.net.retry import RetryPolicy
from zvt_crypto.simulator.config import SimulatorConfig
from zvt_crypto.simulator.server import Simulator

C = TypeVar("C", bound=BaseCryptoConnector)


class ScriptedHttp(HttpClient):
    """Answers every GET by calling `answer(path, query)`, which a test sets.

    It returns JSON, bytes or a whole reply.
    """

    def __init__(self) -> None:
        super().__init__("scripted")
        self.asked: list[tuple[str, dict[str, str], Mapping[str, str]]] = []
        self.files: dict[str, bytes | HttpReply] = {}
        self.answer: Callable[[str, dict[str, str]], Any] = _unsaid

    async def get(
        self,
        url: str,
        *,
        params: Mapping[str, str | int] | None = None,
        headers: Mapping[str, str] | None = None,
        max_body_bytes: int | None = None,
    ) -> HttpReply:
        del params, max_body_bytes
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query))
        self.asked.append((parts.path, query, headers or {}))
        said = self.answer(parts.path, query)
        if isinstance(said, HttpReply):
            return said
        return HttpReply(200, {}, said if isinstance(said, bytes) else as_bytes(said), 0.01)

    async def download(self, url: str, target: Path, **_: Any) -> HttpReply:
        self.asked.append((urlsplit(url).path, {}, {}))
        held = self.files.get(url.rpartition("/")[2])
        if isinstance(held, HttpReply):
            return held
        if held is None:
            return HttpReply(404, {}, b"not found", 0.01)
        target.write_bytes(held)  # noqa: ASYNC240 - a few bytes, in a test
        return HttpReply(200, {}, b"", 0.01)

    @property
    def queries(self) -> list[dict[str, str]]:
        """Return the parameters of every request, in order."""
        return [query for _, query, _ in self.asked]


def make(
    cls: type[C],
    http: ScriptedHttp,
    clock: FakeClock,
    scratch: Path,
    governor: FakeGovernor | None = None,
) -> C:
    """Return a connector that talks to `http` only and never waits."""
    lenient = governor or FakeGovernor()
    tools = Tools(
        http=http,
        governors=dict.fromkeys(cls.SPEC.quotas, lenient),  # pyright: ignore[reportAttributeAccessIssue] - every connector has one
        clock=ServerClock(clock),
        hosts={},
        scratch=scratch,
        system=clock,
        retry=RetryPolicy(budget_s=60.0),
    )
    return cls(tools)  # pyright: ignore[reportCallIssue] - subclasses know their spec


class SimWorld(Generic[C]):
    """A simulator in this process, a connector to it under its published limits, and the truth."""

    def __init__(self, sim: Simulator, connector: C, client: ClientSession) -> None:
        self.sim = sim
        self.connector = connector
        self._client = client
        self._table: InstrumentTable | None = None

    async def instrument(self, symbol: str) -> Instrument:
        """Return an instrument by any of its names."""
        if self._table is None:
            listed = await self.connector.instruments()
            self._table = InstrumentTable(self.connector.exchange, listed)
        return self._table.resolve(symbol)

    async def truth(self, kind: str, symbol: str, part: Range, **more: Any) -> list[dict[str, Any]]:
        """Return what the market did."""
        query = {
            "exchange": self.connector.exchange,
            "symbol": symbol,
            "start": format_us(part.start),
            "end": format_us(part.end),
            **more,
        }
        async with self._client.get(f"{self.sim.url}/_truth/{kind}", params=query) as reply:
            return await reply.json()

    def fault(self, kind: str, **more: Any) -> None:
        """Let something go wrong from now on."""
        self.sim.world.add_fault({"kind": kind, **more})

    @property
    def stats(self) -> Mapping[str, Any]:
        """Return what the simulator counted."""
        return self.sim.world.venues[self.connector.exchange].stats.describe()


@asynccontextmanager
async def sim_world(
    cls: type[C], scratch: Path, trades_per_day: int = 2_000
) -> AsyncGenerator[SimWorld[C]]:
    """Run a connector against a simulator of its exchange."""
    spec = cls.SPEC  # pyright: ignore[reportAttributeAccessIssue] - every connector has one
    config = SimulatorConfig(seed=7, trades_per_day=trades_per_day, exchanges=(spec.name,))
    async with Simulator(config) as sim, HttpClient(spec.name) as http, ClientSession() as client:
        tools = Tools(
            http=http,
            governors={
                role: Governor(role, [_quota(fact) for fact in facts], MemoryState())
                for role, facts in spec.quotas.items()
            },
            clock=ServerClock(SystemClock()),
            hosts=dict.fromkeys(spec.hosts, sim.venue_url(spec.name)),
            scratch=scratch,
            retry=RetryPolicy(budget_s=10.0, first_s=0.01),
        )
        connector = cls(tools)  # pyright: ignore[reportCallIssue] - subclasses know their spec
        yield SimWorld(sim, connector, client)


def _unsaid(path: str, query: dict[str, str]) -> Any:
    raise AssertionError(f"nothing was said about {path} {query}")


def _quota(fact: QuotaFact) -> Quota:
    return Quota(fact.name, fact.amount, fact.per_s, fact.style, share=fact.share)


def as_bytes(value: Any) -> bytes:
    """Return JSON text without blanks, as exchanges send it."""
    return json.dumps(value, separators=(",", ":")).encode()


def rows_of(table: pa.Table) -> list[dict[str, Any]]:
    """Return rows as dicts, times in microseconds."""
    rows = table.drop_columns(["timestamp"]).to_pylist()
    times = times_of(table).tolist()
    return [{"timestamp": time, **row} for time, row in zip(times, rows, strict=True)]
