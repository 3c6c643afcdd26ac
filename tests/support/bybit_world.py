"""A Bybit connector whose replies a test writes, and the instruments it is asked about."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from zvt_crypto.connectors.base import Tools
from zvt_crypto.connectors.bybit.rest import BybitConnector
from zvt_crypto.core.instrument import Instrument, Market
from zvt_crypto.core.timestamp import to_us
from zvt_crypto.net.clock import ServerClock
from zvt_crypto.net.governor import Governor
from zvt_crypto.net.http import HttpClient, HttpReply
from zvt_crypto.net.retry import RetryPolicy

NOW_US = to_us("2026-11-22T12:00:30Z")


class FakeClock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.passed_s = 0.0

    def now_us(self) -> int:
        return NOW_US + round(self.passed_s * 1e6)

    def monotonic_s(self) -> float:
        return self.passed_s

    async def sleep(self, seconds: float) -> None:
        self.passed_s += max(0.0, seconds)


class FakeGovernor(Governor):
    """Lets everything out at once and remembers who was told to stop."""

    def __init__(self) -> None:
        self.booked: list[Mapping[str, float]] = []
        self.freezes: list[tuple[float, str]] = []

    async def acquire(self, cost: Mapping[str, float]) -> None:
        self.booked.append(cost)

    def observe(self, used: Mapping[str, float], *, elapsed_s: float = 0.0) -> None:
        del used, elapsed_s

    def freeze(self, seconds: float, reason: str) -> None:
        self.freezes.append((seconds, reason))


Answer = HttpReply | dict[str, Any] | bytes


@dataclass
class FakeHttp(HttpClient):
    """Answers with what the test says, in order; the last answer repeats."""

    answers: list[Answer] = field(default_factory=list[Answer])
    urls: list[str] = field(default_factory=list[str])
    files: dict[str, bytes | list[bytes]] = field(default_factory=dict[str, bytes | list[bytes]])

    async def get(
        self,
        url: str,
        *,
        params: Mapping[str, str | int] | None = None,
        headers: Mapping[str, str] | None = None,
        max_body_bytes: int | None = None,
    ) -> HttpReply:
        del params, headers, max_body_bytes
        self.urls.append(url)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, HttpReply):
            return answer
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        return HttpReply(200, {}, body, 0.01)

    async def download(
        self,
        url: str,
        target: Path,
        *,
        max_bytes: int,
        headers: Mapping[str, str] | None = None,
        on_bytes: Callable[[int], None] | None = None,
    ) -> HttpReply:
        del max_bytes, headers, on_bytes
        self.urls.append(url)
        held = self.files.get(url)
        if not held:
            return HttpReply(404, {}, b"Not Found", 0.01)
        content = held if isinstance(held, bytes) else (held.pop(0) if len(held) > 1 else held[0])
        target.write_bytes(content)  # noqa: ASYNC240 - a few bytes, in a test
        return HttpReply(200, {}, b"", 0.01)

    def query(self, at: int = -1) -> dict[str, str]:
        """Return the decoded parameters of one request."""
        return dict(parse_qsl(urlsplit(self.urls[at]).query))


def make_connector(
    http: FakeHttp, clock: FakeClock, governors: dict[str, FakeGovernor], scratch: Path
) -> BybitConnector:
    """Return a connector that talks to `http` only."""
    return BybitConnector(
        Tools(
            http=http,
            governors=governors,
            clock=ServerClock(clock),
            hosts={},
            scratch=scratch,
            system=clock,
            retry=RetryPolicy(budget_s=60.0),
        )
    )


def _instrument(market: Market, base: str, quote: str, native: str, symbol: str) -> Instrument:
    settle = {Market.SPOT: None, Market.LINEAR: quote, Market.INVERSE: base}[market]
    return Instrument(
        exchange="bybit",
        symbol=symbol,
        native=native,
        base=base,
        quote=quote,
        settle=settle,
        market=market,
    )


SPOT = _instrument(Market.SPOT, "BTC", "USDT", "BTCUSDT", "BTC-USDT")
LINEAR = _instrument(Market.LINEAR, "BTC", "USDT", "BTCUSDT", "BTC-USDT-PERP")
INVERSE = _instrument(Market.INVERSE, "BTC", "USD", "BTCUSD", "BTC-USD-PERP")


def wrap(result: Any, *, code: int = 0, message: str = "OK", at_us: int = NOW_US) -> dict[str, Any]:
    """Return a result in the exchange's envelope."""
    return {
        "retCode": code,
        "retMsg": message,
        "result": result,
        "retExtInfo": {},
        "time": at_us // 1_000,
    }


def page(rows: list[Any], instrument: Instrument = LINEAR, **more: Any) -> dict[str, Any]:
    """Return rows as the exchange lists them."""
    about = {"category": str(instrument.market), "symbol": instrument.native}
    return wrap({**about, "list": rows}, **more)


def as_bytes(value: Any) -> bytes:
    """Return JSON text."""
    return json.dumps(value).encode()
