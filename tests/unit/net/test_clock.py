import asyncio
from typing import Any

import pytest

from zvt_crypto.core.errors import NetworkFault
from zvt_crypto.net.clock import ServerClock, SystemClock


def server(sim: Any, ahead_us: int, ways_s: list[tuple[float, float]]) -> Any:
    """Return a call whose ways there and back take the given times, one pair a call."""
    trips = iter(ways_s)

    async def ask() -> int:
        there_s, back_s = next(trips)
        await asyncio.sleep(there_s)
        answer = sim.now_us() + ahead_us
        await asyncio.sleep(back_s)
        return answer

    return ask


def test_the_offset_is_the_median_corrected_by_half_the_round_trip(sim: Any):
    clock = ServerClock(sim)
    assert not clock.synced
    ways = [(0.1, 0.1), (0.05, 0.05), (0.2, 0.2), (0.1, 3.0), (2.0, 0.1)]

    offset = sim.run(clock.sync(server(sim, -700_000, ways)))

    assert offset == clock.offset_us == pytest.approx(-700_000, abs=2)
    assert clock.skew_us == -offset
    assert clock.uncertainty_us == pytest.approx(50_000, abs=2)
    assert clock.synced
    assert clock.now_us() == sim.now_us() + offset


def test_a_failed_sync_keeps_what_was_known(sim: Any):
    clock = ServerClock(sim)
    sim.run(clock.sync(server(sim, 5_000, [(0.0, 0.0)] * 5)))

    async def down() -> int:
        raise NetworkFault("okx", "refused")

    with pytest.raises(NetworkFault):
        sim.run(clock.sync(down))
    assert clock.offset_us == 5_000


async def test_the_system_clock_moves_forward():
    clock = SystemClock()
    before = clock.monotonic_s(), clock.now_us()
    await clock.sleep(-1)
    assert clock.monotonic_s() >= before[0]
    assert 0 <= clock.now_us() - before[1] < 60_000_000
