"""The other side of the live benches, in a process of its own: frames over loopback.

    python -m zvt_crypto.cli.bench.sender --core 0

It prints its address and serves picows WebSockets. A connection says which streams it wants as with
Binance: in its address, or by SUBSCRIBE. `GET /load/...` names a file of frames, `GET /go?rate=`
sends them to every connection, each what it asked for: as fast as the socket takes them, or at a
rate, in an open loop that sleeps. `GET /sent` gives when each frame was sent.
"""

import argparse
import array
import asyncio
import itertools
import json
import os
import select
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec
import picows
import uvloop

from zvt_crypto.cli.bench.wire import FrameSet, kind_of, moved
from zvt_crypto.core.series import Kind

_CHUNK: Final = 256 * 1024
_SHORT, _MIDDLE = 126, 1 << 16
_TEXT: Final = b"\x81"
_TICK_S: Final = 0.005
_ANSWER_S: Final = 0.002
_CHANNELS: Final = {"a": Kind.TRADES, "t": Kind.TRADES, "b": Kind.QUOTES, "d": Kind.BOOK}


def on_the_wire(frame: bytes) -> bytes:
    """Return a text frame of a server, header and all."""
    size = len(frame)
    if size < _SHORT:
        return _TEXT + size.to_bytes(1, "big") + frame
    if size < _MIDDLE:
        return _TEXT + b"\x7e" + size.to_bytes(2, "big") + frame
    return _TEXT + b"\x7f" + size.to_bytes(8, "big") + frame


class Frames:
    """The frames that are loaded, by the kinds a connection may want."""

    def __init__(self) -> None:
        self._all: list[tuple[Kind | None, bytes]] = []
        self._step: dict[str, int] = {}
        self._some: dict[frozenset[Kind], list[bytes]] = {}
        self.moments = array.array("q")
        """When each frame of the last run at a rate was handed to the socket, nanoseconds."""

    def load(self, path: str) -> None:
        """Take the frames of a file."""
        loaded = msgspec.msgpack.decode(Path(path).read_bytes(), type=FrameSet)
        self._step = loaded.step
        self._all = [(kind_of(frame), frame) for frame in loaded.frames]
        self._some.clear()

    def endless(self, kinds: frozenset[Kind]) -> Iterator[bytes]:
        """Yield the frames of some kinds, again and again with newer ids and times."""
        for round_number in itertools.count():
            for kind, frame in self._all:
                if kind in kinds:
                    yield on_the_wire(moved(frame, self._step, round_number))

    def of(self, kinds: frozenset[Kind]) -> list[bytes]:
        """Return the frames of some kinds as they go over the wire."""
        if kinds not in self._some:
            self._some[kinds] = [on_the_wire(frame) for kind, frame in self._all if kind in kinds]
        return self._some[kinds]


class Connection(picows.WSListener):
    """One client."""

    def __init__(self, streams: list[str]) -> None:
        super().__init__()
        self.kinds: set[Kind] = set()
        self._ask(streams)
        self._transport: picows.WSTransport | None = None
        self._may_write = asyncio.Event()
        self._may_write.set()
        OPEN.add(self)

    def _ask(self, streams: list[str]) -> None:
        self.kinds.update(_CHANNELS[one.partition("@")[2][:1]] for one in streams)

    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        """Keep the transport."""
        self._transport = transport

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        """Take a request, or a goodbye."""
        if frame.msg_type is picows.WSMsgType.TEXT:
            asked = json.loads(frame.get_payload_as_bytes())
            if asked.get("method") == "SUBSCRIBE":
                self._ask(asked["params"])
            transport.send(
                picows.WSMsgType.TEXT, json.dumps({"result": None, "id": asked["id"]}).encode()
            )
        elif frame.msg_type is picows.WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code())
            transport.disconnect()

    def on_ws_disconnected(self, transport: picows.WSTransport) -> None:
        """Forget the client."""
        del transport
        OPEN.discard(self)
        self._transport = None
        self._may_write.set()

    def pause_writing(self) -> None:
        """Wait until the socket takes more."""
        self._may_write.clear()

    def resume_writing(self) -> None:
        """Go on."""
        self._may_write.set()

    async def send_all(self, frames: list[bytes]) -> None:
        """Send frames as fast as they are taken."""
        block: list[bytes] = []
        size = 0
        for frame in frames:
            block.append(frame)
            size += len(frame)
            if size >= _CHUNK:
                await self._write(block)
                block, size = [], 0
        await self._write(block)

    async def _write(self, block: list[bytes]) -> None:
        if self._transport is not None and block:
            self._transport.underlying_transport.write(b"".join(block))
            await self._may_write.wait()

    async def send_steadily(self, frames: Iterator[bytes], rate: float, seconds: float) -> None:
        """Send frames at a rate for a time."""
        began, sent = time.monotonic(), 0
        while (passed := time.monotonic() - began) < seconds and self._transport is not None:
            due = int(passed * rate)
            block = list(itertools.islice(frames, due - sent))
            sent = due
            await self._write(block)
            await asyncio.sleep(_TICK_S)

    def send_on_time(self, frames: list[bytes], rate: float, start_ns: int) -> None:
        """Send frame `n` at `start_ns` + n / `rate`; sleeps in between, and never spins.

        Past the loop, straight into the socket: a timer of the loop is a millisecond coarse.
        """
        assert self._transport is not None  # noqa: S101 - it is open
        raw = self._transport.underlying_transport.get_extra_info("socket")
        wire = socket.socket(fileno=os.dup(raw.fileno()))
        step_ns = 1e9 / rate
        at, last = 0, len(frames)
        while at < last:
            now_ns = time.monotonic_ns()
            due = min(last, int((now_ns - start_ns) / step_ns) + 1) if now_ns >= start_ns else 0
            if due <= at:
                time.sleep(max(0.0, start_ns + at * step_ns - now_ns) / 1e9)
                continue
            now_ns = time.monotonic_ns()
            FRAMES.moments.extend([now_ns] * (due - at))
            _send(wire, b"".join(frames[at:due]))
            at = due
        wire.close()


def _send(wire: socket.socket, block: bytes) -> None:
    view = memoryview(block)
    while view:
        try:
            view = view[wire.send(view) :]
        except BlockingIOError:
            select.select((), (wire,), ())


OPEN: set[Connection] = set()
FRAMES: Final = Frames()
_RUNS: set[asyncio.Task[Any]] = set()


def answer(request: picows.WSUpgradeRequest) -> Any:
    """Return a connection, or what a question over plain HTTP is answered."""
    parts = urlsplit(request.path.decode())
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    match parts.path:
        case "/load":
            FRAMES.load(unquote(query["file"]))
            return _page(b"{}")
        case "/go":
            # After the answer is on its way: what is timed may keep the loop.
            asyncio.get_running_loop().call_later(_ANSWER_S, _go, query)
            return _page(b"{}")
        case "/sent":
            return _page(FRAMES.moments.tobytes())
        case _:
            streams = query.get("streams", "")
            return Connection(streams.split("/") if streams else [])


def _go(query: dict[str, str]) -> None:
    rate, seconds = float(query.get("rate", "0")), float(query.get("seconds", "0"))
    for one in list(OPEN):
        frames = FRAMES.of(frozenset(one.kinds))
        if not frames:
            continue
        if "start" in query:
            FRAMES.moments = array.array("q")
            one.send_on_time(frames, rate, int(query["start"]))
        elif rate:
            _keep(one.send_steadily(FRAMES.endless(frozenset(one.kinds)), rate, seconds))
        else:
            _keep(one.send_all(frames))


def _keep(work: Any) -> None:
    task = asyncio.ensure_future(work)
    _RUNS.add(task)
    task.add_done_callback(_RUNS.discard)


def _page(body: bytes) -> picows.WSUpgradeResponseWithListener:
    response = picows.WSUpgradeResponse.create_ok_response(body)
    return picows.WSUpgradeResponseWithListener(response, None)


async def serve() -> None:
    """Serve until the standard input ends."""
    server = await picows.ws_create_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    print(json.dumps({"url": f"127.0.0.1:{port}"}), flush=True)  # noqa: T201 - read by a parent
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    server.close()


def main() -> None:
    """Run from a command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--core", type=int, default=-1)
    core = parser.parse_args().core
    if core >= 0:
        os.sched_setaffinity(0, {core})
    uvloop.run(serve())


if __name__ == "__main__":
    main()
