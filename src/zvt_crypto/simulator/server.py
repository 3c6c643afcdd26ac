"""The HTTP face of the simulator.

One catch-all handler on aiohttp's low-level server: `/binance/...`, or a real host name in the
Host header, chooses the venue; `/_...` is the simulator's own; handshakes of sockets, on the same
port, go to `stream/gate.py`. Use it in a test as

    async with Simulator(SimulatorConfig(seed=7)) as sim:
        await client.get(f"{sim.url}/binance/api/v3/time")
"""

import asyncio
import gzip
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import parse_qs, unquote

from aiohttp import web

from zvt_crypto.simulator import fault_rows, truth
from zvt_crypto.simulator.clock import US_PER_S
from zvt_crypto.simulator.config import SimulatorConfig
from zvt_crypto.simulator.encode import Ints
from zvt_crypto.simulator.faults import (
    ANSWER_KINDS,
    ARCHIVE_KINDS,
    CANDLE_KINDS,
    CONNECTION_KINDS,
    ROW_KINDS,
    Fault,
)
from zvt_crypto.simulator.instrument import Instrument
from zvt_crypto.simulator.registry import VENUES
from zvt_crypto.simulator.series import load_file
from zvt_crypto.simulator.session_socket import Sessions
from zvt_crypto.simulator.stream.gate import Gate, is_handshake
from zvt_crypto.simulator.stream.registry import STREAMS
from zvt_crypto.simulator.tls import load_context, make_context
from zvt_crypto.simulator.venue import Endpoint, Reply, Request, Venue
from zvt_crypto.simulator.world import World

_STATUS: Final = {"http_429": 429, "http_418": 418, "http_451": 451, "http_403": 403}
_RETRY_AFTER: Final = {"http_429": 1, "http_418": 120}
_PAGE_KINDS: Final = ROW_KINDS | CANDLE_KINDS
_SMALL: Final = 1_000  # bytes not worth compressing
_HTML: Final = b"<!DOCTYPE html><html><body><h1>Welcome</h1></body></html>"


class Simulator:
    """A running simulator; an asynchronous context manager.

    Raises:
        ValueError: on construction, when a file or a fault of the configuration is wrong.
    """

    def __init__(self, config: SimulatorConfig | None = None) -> None:
        self.config = config or SimulatorConfig()
        self.world = World(self.config)
        wanted = self.config.exchanges
        for venue_type in VENUES:
            if not wanted or venue_type.name in wanted:
                self.world.venues[venue_type.name] = venue_type(self.world)
        for argument in self.config.candles:
            load_file(self.world, argument)
        for fault in self.config.faults:
            self.world.add_fault(fault)
        self.world.sessions = Sessions.load(self.config, self.world.venues)
        for name, session in self.world.sessions.frames.items():
            session.list_instruments(self.world.venues[name].adopt)
        self._gate = Gate(self.world)
        self._hosts = {host: v for v in self.world.venues.values() for host in v.hosts}
        self._stream_hosts = {host: one.name for one in STREAMS for host in one.hosts}
        self._runner: web.ServerRunner | None = None
        self._folder: TemporaryDirectory[str] | None = None
        self._port = self._tls_port = 0
        self.ca_file: Path | None = None

    @property
    def url(self) -> str:
        """Return the address it listens at, without a slash at the end."""
        return f"http://{self.config.host}:{self._port}"

    @property
    def tls_url(self) -> str:
        """Return the https address it listens at, or nothing when it serves none."""
        return f"https://{self.config.host}:{self._tls_port}" if self._tls_port else ""

    def announce(self) -> dict[str, Any]:
        """Return what the ready line says.

        `url`, and with TLS also `tls_url` and `ca_file`, the certificate clients have to trust;
        the latter is null when the certificate was given.
        """
        about: dict[str, Any] = {"ready": True, "url": self.url}
        if self.tls_url:
            ca_file = None if self.ca_file is None else str(self.ca_file)
            about |= {"tls_url": self.tls_url, "ca_file": ca_file}
        return about

    def stream_url(self, exchange: str) -> str:
        """Return the address that stands for a venue's hosts of sockets."""
        return self.venue_url(exchange).replace("http", "ws", 1)

    def venue_url(self, exchange: str) -> str:
        """Return the address that stands for a venue's hosts."""
        return f"{self.url}/{exchange}"

    async def __aenter__(self) -> Self:
        runner = web.ServerRunner(web.Server(self._handle, access_log=None), shutdown_timeout=1.0)
        await runner.setup()
        self._runner = runner
        try:
            await web.TCPSite(runner, self.config.host, self.config.port).start()
            self._port = runner.addresses[0][1]
            if self.config.tls:
                await self._start_tls(runner)
        except BaseException:
            await self._stop()
            raise
        return self

    async def _start_tls(self, runner: web.ServerRunner) -> None:
        config = self.config
        if config.tls_cert is not None and config.tls_key is not None:
            context = load_context(config.tls_cert, config.tls_key)
        else:
            self._folder = TemporaryDirectory(prefix="zvt-crypto-sim-")
            folder = Path(self._folder.name)
            context, self.ca_file = make_context(folder, config.host, self._hosts)
        await web.TCPSite(runner, config.host, config.tls_port, ssl_context=context).start()
        self._tls_port = runner.addresses[1][1]

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stop()

    async def _stop(self) -> None:
        await self._gate.close()
        if self._runner is not None:
            await self._runner.cleanup()
        if self._folder is not None:
            self._folder.cleanup()

    async def _handle(self, raw: web.BaseRequest) -> web.StreamResponse:
        path, _, text = raw.raw_path.partition("?")
        if is_handshake(raw):
            recorded = self.world.sessions.find(raw, path, text, self._stream_hosts)
            return await (recorded or self._gate.admit(raw, path, text))
        venue = self._hosts.get(raw.headers.get("Host", "").partition(":")[0])
        base_url = f"{raw.scheme}://{raw.host}"
        if venue is None:
            first, _, rest = path[1:].partition("/")
            if first.startswith("_"):
                return await truth.handle(self.world, raw, path)
            venue = self.world.venues.get(first)
            if venue is None:
                return web.Response(status=404, text=f"no venue {first!r}\n")
            path = "/" + rest
            base_url += f"/{first}"
        query, repeated = _parse(text)
        now_us = self.world.clock.now_us()
        request = Request(
            method=raw.method,
            path=unquote(path) if "%" in path else path,
            query=query,
            headers=raw.headers,
            client=raw.remote or "",
            base_url=base_url,
            now_us=now_us,
            server_us=now_us,
            repeated=repeated,
        )
        return await _Exchange(self, venue, raw, request).answer()

    def compresses(self, raw: web.BaseRequest, body: bytes) -> bool:
        """Return whether an answer is sent compressed."""
        accepted = self.config.compress and "gzip" in raw.headers.get("Accept-Encoding", "")
        return accepted and len(body) > _SMALL


class _Exchange:
    """One request on its way through limits, faults and the venue."""

    def __init__(
        self, simulator: Simulator, venue: Venue, raw: web.BaseRequest, request: Request
    ) -> None:
        self._simulator = simulator
        self._world = simulator.world
        self._venue = venue
        self._raw = raw
        self._request = request
        self._endpoint: Endpoint | None = venue.find_endpoint(request)
        self._instrument: Instrument | None = None
        self._connection: list[Fault] = []

    async def answer(self) -> web.StreamResponse:
        reply = self._reply()
        self._count(reply)
        body = reply.body()
        if self._connection:
            spoiled = await self._spoil(body)
            if isinstance(spoiled, web.StreamResponse):
                return spoiled
            body = spoiled
        headers = reply.headers
        if self._simulator.compresses(self._raw, body):
            body = gzip.compress(body, compresslevel=1, mtime=0)
            headers = {**headers, "Content-Encoding": "gzip"}
        return web.Response(
            body=body,
            status=reply.status,
            headers={**headers, "Content-Type": reply.content_type},
        )

    def _reply(self) -> Reply:
        venue, request, endpoint = self._venue, self._request, self._endpoint
        refusal = venue.admit(request, endpoint)
        if not len(self._world.faults):
            reply = refusal or self._respond()
        else:
            reply = refusal or self._faulty_reply()
        venue.decorate(request, reply)
        return reply

    def _respond(self) -> Reply:
        """Return the recorded reply if there is one, else the market's."""
        request = self._request
        recorded = self._world.sessions.replies.get(self._venue.name)
        reply = None
        if recorded is not None and request.method == "GET":
            reply = recorded.find(request.path, request.query)
        return reply or self._venue.respond(request, self._endpoint)

    def _faulty_reply(self) -> Reply:
        venue, request, endpoint = self._venue, self._request, self._endpoint
        self._instrument = venue.instrument_of(request)
        self._connection = self._fire(CONNECTION_KINDS)
        if skew := self._world.faults.state("clock_skew", venue.name):
            request.server_us += round(skew.number("offset_s", 0.0) * US_PER_S)
        if self._world.faults.state("maintenance", venue.name):
            return venue.maintenance_reply(request)
        for fault in self._fire(ANSWER_KINDS):
            return self._injected(fault)
        if endpoint is not None and endpoint.kind == "archive":
            request.faults = self._fire(ARCHIVE_KINDS)
        if endpoint is not None and endpoint.kind == "candles":
            request.hidden = self._hidden()
        reply = self._respond()
        if reply.page is not None:
            kinds = _PAGE_KINDS if reply.page.kind == "candles" else ROW_KINDS
            hits = self._fire(kinds)
            name = f"{venue.name} {endpoint.name if endpoint else ''}"
            reply = fault_rows.apply(self._world, name, hits, reply)
        return reply

    def _fire(self, kinds: frozenset[str]) -> list[Fault]:
        where = f"{self._endpoint.name if self._endpoint else ''} {self._request.path}"
        hits = self._world.faults.fire(kinds, self._venue.name, where, self._instrument)
        for fault in hits:
            self._venue.stats.injected[fault.kind] += 1
        return hits

    def _hidden(self) -> Callable[[Ints], Ints] | None:
        faults = self._world.faults
        hits = [f for f in self._fire(frozenset(("missing_candles",))) if faults.still_hiding(f)]
        if not hits:
            return None

        def hidden(opens: Ints) -> Ints:
            mask = faults.hides(hits[0], opens)
            for fault in hits[1:]:
                mask = mask | faults.hides(fault, opens)
            return mask

        return hidden

    def _injected(self, fault: Fault) -> Reply:
        if fault.kind == "wrong_content":
            return Reply(_HTML, content_type="text/html; charset=utf-8")
        if fault.kind == "giant_body":
            size = int(fault.number("bytes", 64_000_000))
            return Reply(b'["' + b"0" * max(0, size - 4) + b'"]')
        status = _STATUS.get(fault.kind) or int(fault.number("status", 503))
        params = dict(fault.params)
        if fault.kind in _RETRY_AFTER:
            params.setdefault("retry_after", _RETRY_AFTER[fault.kind])
        return self._venue.status_reply(self._request, status, params)

    async def _spoil(self, body: bytes) -> bytes | web.StreamResponse:
        """Do what connection faults do; return the body, or a response that was cut off."""
        for fault in self._connection:
            if fault.kind == "slow":
                await asyncio.sleep(fault.number("delay_s", 1.0))
            elif fault.kind == "timeout":
                await asyncio.sleep(fault.number("delay_s", 60.0))
                return self._abort()
            elif fault.kind == "refuse":
                return self._abort()
            elif fault.kind == "disconnect":
                return await self._send_part(body, fault.number("share", 0.5))
            else:
                body = body[: max(1, len(body) // 2)]
        return body

    def _abort(self) -> web.StreamResponse:
        if self._raw.transport is not None:
            self._raw.transport.abort()
        return web.Response()

    async def _send_part(self, body: bytes, share: float) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(len(body))})
        await response.prepare(self._raw)
        await response.write(body[: int(len(body) * share)])
        if self._raw.transport is not None:
            self._raw.transport.close()
        return response

    def _count(self, reply: Reply) -> None:
        stats, endpoint = self._venue.stats, self._endpoint
        stats.requests += 1
        stats.statuses[reply.status] += 1
        stats.endpoints[endpoint.name if endpoint else "unknown"] += 1
        if reply.refusal:
            stats.refused[reply.status] += 1
        elif endpoint is not None and endpoint.is_data:
            stats.data_requests += 1
            stats.note_asked(endpoint.name, self._request.path, self._request.query, reply.status)
            stats.rows += len(reply.page) if reply.page is not None else 0


def _parse(text: str) -> tuple[Mapping[str, str], Mapping[str, list[str]]]:
    """Return the last value of every parameter, and all values where one repeats or is encoded."""
    if not text:
        return {}, {}
    pairs = text.split("&")
    if "%" not in text and "+" not in text:
        query = {name: value for name, _, value in (pair.partition("=") for pair in pairs)}
        if len(query) == len(pairs):
            return query, {}
    values = parse_qs(text, keep_blank_values=True)
    return {name: own[-1] for name, own in values.items()}, values


async def serve(
    config: SimulatorConfig, *, ready: Callable[[Mapping[str, Any]], None] | None = None
) -> None:
    """Run a simulator until SIGTERM or SIGINT.

    Args:
        config: what to serve.
        ready: called once it listens with what to tell about it; see `Simulator.announce`.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with Simulator(config) as simulator:
        if ready is not None:
            ready(simulator.announce())
        await stop.wait()
