"""A Binance connector over replies a test writes, and the recorded replies."""

import gzip
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from zvt_crypto.connectors.base import Tools
from zvt_crypto.connectors.binance.rest import BinanceConnector
from zvt_crypto.connectors.binance.spec import BINANCE
from zvt_crypto.core.instrument import Instrument, Market
from zvt_crypto.core.timestamp import to_us
from zvt_crypto.net.clock import ServerClock
from zvt_crypto.net.governor import Governor
from zvt_crypto.net.http import HttpClient, HttpReply
from zvt_crypto.net.retry import RetryPolicy

NOW_US = to_us("2026-03-10T12:00:00Z")

Answer = Callable[[str, dict[str, str]], Any]


class StillClock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.passed_s = 0.0

    def now_us(self) -> int:
        return NOW_US + round(self.passed_s * 1e6)

    def monotonic_s(self) -> float:
        return self.passed_s

    async def sleep(self, seconds: float) -> None:
        self.passed_s += max(0.0, seconds)


class OpenGovernor(Governor):
    """Lets everything out at once and remembers what it was told."""

    def __init__(self) -> None:
        self.booked: list[Mapping[str, float]] = []
        self.seen: list[Mapping[str, float]] = []
        self.freezes: list[tuple[float, str]] = []
        self.limits: dict[str, float] = {}

    async def acquire(self, cost: Mapping[str, float]) -> None:
        self.booked.append(cost)

    def observe(self, used: Mapping[str, float], *, elapsed_s: float = 0.0) -> None:
        del elapsed_s
        self.seen.append(used)

    def freeze(self, seconds: float, reason: str) -> None:
        self.freezes.append((seconds, reason))

    def set_limits(self, limits: Mapping[str, float]) -> None:
        self.limits.update(limits)


class ScriptedHttp(HttpClient):
    """Answers by calling `answer(path, query)`: JSON, bytes or a whole reply."""

    def __init__(self) -> None:
        super().__init__("binance")
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.answer: Answer = _no_answer
        self.files: dict[str, bytes | HttpReply | list[bytes]] = {}

    async def get(
        self,
        url: str,
        *,
        params: Mapping[str, str | int] | None = None,
        headers: Mapping[str, str] | None = None,
        max_body_bytes: int | None = None,
    ) -> HttpReply:
        del params, headers, max_body_bytes
        parts = urlsplit(url)
        if parts.path.startswith("/data/"):
            return self._file(parts.path)
        query = dict(parse_qsl(parts.query))
        self.asked.append((parts.path, query))
        said = self.answer(parts.path, query)
        return said if isinstance(said, HttpReply) else reply(said)

    async def download(self, url: str, target: Path, **_: Any) -> HttpReply:
        found = self._file(urlsplit(url).path)
        if found.status == 200:
            target.write_bytes(found.body)  # noqa: ASYNC240 - a few bytes, in a test
        return found

    def _file(self, path: str) -> HttpReply:
        self.asked.append((path, {}))
        held = self.files.get(path.rpartition("/")[2])
        if isinstance(held, list):
            held = held.pop(0) if len(held) > 1 else held[0]
        if isinstance(held, HttpReply):
            return held
        return (
            HttpReply(404, {}, b"<Error>NoSuchKey</Error>", 0.01) if held is None else reply(held)
        )

    @property
    def queries(self) -> list[dict[str, str]]:
        """Return the parameters of every request, in order."""
        return [query for _, query in self.asked]


def _no_answer(path: str, query: dict[str, str]) -> Any:
    raise AssertionError(f"nothing was said about {path} {query}")


def reply(said: Any, status: int = 200, **headers: str) -> HttpReply:
    """Return a reply; `Retry_After="5"` makes a header of that name."""
    body = said if isinstance(said, bytes) else as_bytes(said)
    return HttpReply(status, {k.replace("_", "-"): v for k, v in headers.items()}, body, 0.01)


def as_bytes(value: Any) -> bytes:
    """Return JSON text without blanks, as exchanges send it."""
    return json.dumps(value, separators=(",", ":")).encode()


def make_connector(
    http: ScriptedHttp, scratch: Path, governors: Mapping[str, OpenGovernor] | None = None
) -> BinanceConnector:
    """Return a connector that talks to `http` only and never waits."""
    clock = StillClock()
    tools = Tools(
        http=http,
        governors=governors or {role: OpenGovernor() for role in BINANCE.quotas},
        clock=ServerClock(clock),
        hosts={},
        scratch=scratch,
        system=clock,
        retry=RetryPolicy(budget_s=60.0),
    )
    return BinanceConnector(tools)


def instrument(market: Market = Market.SPOT, native: str = "BTCUSDT") -> Instrument:
    """Return BTC/USDT, spot or perpetual."""
    spot = market is Market.SPOT
    return Instrument(
        exchange="binance",
        symbol="BTC-USDT" if spot else "BTC-USDT-PERP",
        native=native,
        base="BTC",
        quote="USDT",
        settle=None if spot else "USDT",
        market=market,
    )


def recorded(shared_data: Path, name: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return every reply of a file (`binance/rest/x`) with its summary."""
    with gzip.open(shared_data / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        replies = [json.loads(line) for line in lines]
    text = (shared_data / f"expected/{name.replace('/', '__')}.json").read_text()
    expected = json.loads(text)
    return list(zip(replies, expected["items"], strict=True))
