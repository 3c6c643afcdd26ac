"""How long a frame takes from the sender to a handler, at a fixed rate, in an open loop."""

import array
import asyncio
import time
from typing import Any, Final, cast

import numpy as np
import picows

from zvt_crypto.cli.bench import ours
from zvt_crypto.cli.bench.target import ask, waited
from zvt_crypto.cli.bench.wire import FrameSet
from zvt_crypto.ports.store import Store

_AHEAD_NS: Final = 50_000_000
_PROBE_S: Final = 0.001
_US: Final = 1e3
_CHANNELS: Final = {"trades": "aggTrade", "quotes": "bookTicker", "book": "depth"}
_PERCENTS: Final = (50.0, 99.0, 99.9, 100.0)


class _Control(picows.WSListener):
    """The control: picows alone, and a handler that does nothing but look at the clock."""

    def __init__(self, moments: "array.array[int]") -> None:
        super().__init__()
        self._note = moments.append
        self.answers = 0

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        del transport
        if self.answers:
            frame.get_payload_as_bytes()
            self._note(time.monotonic_ns())
        else:
            self.answers += 1


async def run(frames: FrameSet, url: str, handler: str, rate: float, count: int) -> dict[str, Any]:
    """Take `count` frames at a rate and return what their way took, in microseconds.

    Args:
        frames: of one kind of socket, one record each.
        url: the sender.
        handler: `inline`, `queue`, or `control` for picows without us.
        rate: frames a second.
        count: how many will be sent.
    """
    moments = array.array("q")
    stalls = _Stalls()
    if handler == "control":
        listener = _Control(moments)
        streams = [f"x@{_CHANNELS[kind]}" for kind in frames.counts]
        address = f"ws://{url}/stream?streams={'/'.join(streams)}"
        transport, _ = await picows.ws_connect(lambda: listener, address)
        transport.send(picows.WSMsgType.TEXT, b'{"id":1}')
        await waited(lambda: listener.answers > 0, "an answer")
        start_ns = await _go(url, rate, stalls)
        await waited(lambda: len(moments) >= count, "all frames")
        stalls.stop()
        transport.disconnect()
    else:
        store = ours.DiscardingStore()
        service = ours.service_for(frames, url, cast("Store", store))
        note, now_ns = moments.append, time.monotonic_ns

        def handle(record: Any) -> None:
            del record
            note(now_ns())

        service.on(handle, policy="inline" if handler == "inline" else "block", size=100_000)
        async with service:
            await service.add(ours.series_of(frames))
            await ours.ready(service)
            moments[:] = array.array("q")
            start_ns = await _go(url, rate, stalls)
            await waited(lambda: len(moments) >= count, "all frames")
            stalls.stop()
            ours.check(service, frames)
    return await _summary(url, rate, start_ns, moments, stalls)


async def _go(url: str, rate: float, stalls: "_Stalls") -> int:
    start_ns = time.monotonic_ns() + _AHEAD_NS
    await ask(url, "/go", rate=rate, start=start_ns)
    stalls.start()
    return start_ns


async def _summary(
    url: str, rate: float, start_ns: int, moments: "array.array[int]", stalls: "_Stalls"
) -> dict[str, Any]:
    sent = np.frombuffer(await ask(url, "/sent"), dtype=np.int64)
    seen = np.array(moments, dtype=np.int64)[: len(sent)]
    due = start_ns + np.arange(len(sent)) * (1e9 / rate)
    return {
        "scheduled_us": _quantiles(seen - due),
        "sent_us": _quantiles(seen - sent),
        "late_us": _quantiles(sent - due),
        "stall_ms": max(stalls.longest_s * 1e3, 0.0),
        "stalls": stalls.count,
        "messages": len(sent),
    }


def _quantiles(taken_ns: Any) -> dict[str, float]:
    found = np.percentile(taken_ns, _PERCENTS) / _US
    names = ("p50", "p99", "p99.9", "max")
    return dict(zip(names, (float(one) for one in found), strict=True))


class _Stalls:
    """Looks every millisecond how much later than that it is its turn."""

    def __init__(self) -> None:
        self.longest_s = 0.0
        self.count = 0
        self._handle: asyncio.TimerHandle | None = None
        self._due_s = 0.0

    def start(self) -> None:
        """Begin."""
        loop = asyncio.get_running_loop()
        self._due_s = loop.time() + _PROBE_S
        self._handle = loop.call_later(_PROBE_S, self._look)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        # A timer of the loop is a millisecond coarse: that much is not late.
        late_s = time.monotonic() - self._due_s - _PROBE_S
        self.longest_s = max(self.longest_s, late_s)
        self.count += late_s > _PROBE_S
        self._due_s = time.monotonic() + _PROBE_S
        self._handle = loop.call_later(_PROBE_S, self._look)

    def stop(self) -> None:
        """End."""
        if self._handle is not None:
            self._handle.cancel()
