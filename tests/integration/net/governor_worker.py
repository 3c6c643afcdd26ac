"""One of several processes that share a governor: sends all the time, and notes when.

Arguments: state file, log file, end on the steady clock.
"""

import asyncio
import os
import sys
import time
from pathlib import Path

from zvt_crypto.net.clock import SystemClock
from zvt_crypto.net.governor import Governor
from zvt_crypto.net.governor_state import FileState
from zvt_crypto.net.quota import Quota

QUOTAS = [Quota("weight", 400, 0.5), Quota("ip", 300, 0.4, "rolling", guard_s=0.02)]


class NotingClock(SystemClock):
    """Remembers what the governor read last, which is when it booked.

    Reading the time again after `acquire` would test how long this process was kept from the
    processor in between.
    """

    wall_us = 0
    steady_s = 0.0

    def now_us(self) -> int:
        self.wall_us = super().now_us()
        return self.wall_us

    def monotonic_s(self) -> float:
        self.steady_s = super().monotonic_s()
        return self.steady_s


async def main(state: Path, notes: Path, end: float) -> None:
    clock = NotingClock()
    governor = Governor("test", QUOTAS, FileState(state), share=1.0, clock=clock)
    file = os.open(notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    async def work(cost: dict[str, float]) -> None:
        while time.monotonic() < end:
            await governor.acquire(cost)
            # Whole lines by one write each: a kill leaves no half ones.
            os.write(file, f"{clock.wall_us} {round(clock.steady_s * 1e6)}\n".encode())
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(work({"weight": 1, "ip": 1}))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])))
