"""Status files: what each running process says of itself, once a second, for others to read.

`<state_dir>/streams/<pid>.json` is replaced whole, so that a reader never sees half of it, and is
removed when its process ends. One left behind by a process that was killed is removed by whoever
looks next.
"""

import asyncio
import contextlib
import json
import logging
import os
import platform
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import msgspec

from zvt_crypto.core.timestamp import format_us
from zvt_crypto.ports.clock import Clock

log = logging.getLogger(__name__)

FOLDER: Final = "streams"
_EVERY_S: Final = 1.0
# Of a thousand series it takes 20 ms to tell, while no frame is read: then less often.
_MOST_SHARE: Final = 0.02
# Of another machine on a shared disk nobody here knows whether it lives; its file tells by its age.
_FOREIGN_AGE_S: Final = 15.0
_MOST_BYTES: Final = 64 << 20


class Presence:
    """Writes this process's status file while the block runs.

    Args:
        state_dir: the platform's folder of shared state.
        tell: returns what to say, plain JSON values.
        clock: time.
    """

    def __init__(self, state_dir: Path, tell: Callable[[], dict[str, Any]], clock: Clock) -> None:
        self._folder = state_dir / FOLDER
        self._file = self._folder / f"{os.getpid()}.json"
        self._tell = tell
        self._clock = clock
        self._began_us = clock.now_us()
        self._task: asyncio.Task[None] | None = None
        self._complained = False
        self._took_s = 0.0

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(read_all, self._folder.parent, self._clock)
        await self._write()
        self._task = asyncio.create_task(self._run(), name="presence")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        with contextlib.suppress(OSError):  # whoever looks next removes it
            self._file.unlink(missing_ok=True)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(max(_EVERY_S, self._took_s / _MOST_SHARE))
            await self._write()

    async def _write(self) -> None:
        now_us = self._clock.now_us()
        began_s = self._clock.monotonic_s()
        said = {
            "pid": os.getpid(),
            "host": platform.node(),
            "born": _born(os.getpid()),
            "started": format_us(self._began_us),
            "updated": format_us(now_us),
            "updated_us": now_us,
            **self._tell(),
        }
        self._took_s = self._clock.monotonic_s() - began_s
        try:
            await asyncio.to_thread(_replace, self._file, msgspec.json.encode(said))
        except OSError as e:
            # A full disk must not end a stream: it only makes it invisible.
            if not self._complained:
                log.warning("stream_status_unwritten", extra={"detail": str(e)})
            self._complained = True


def _replace(file: Path, text: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_suffix(".draft")
    draft.write_bytes(text)
    draft.replace(file)


def read_all(state_dir: Path, clock: Clock) -> list[dict[str, Any]]:
    """Return what every living process says of itself, oldest first; sweep away the others' files.

    `age_s` is how long ago it was said: seconds for a process that does not answer any more.
    """
    folder = state_dir / FOLDER
    found: list[dict[str, Any]] = []
    for file in sorted(folder.glob("*.json")) if folder.is_dir() else ():
        said = _read(file)
        if said is None:
            continue
        age_s = (clock.now_us() - said["updated_us"]) / 1e6
        if said["host"] != platform.node():
            if age_s > _FOREIGN_AGE_S:
                continue
        elif not is_alive(said["pid"], said["born"]):
            file.unlink(missing_ok=True)
            file.with_suffix(".draft").unlink(missing_ok=True)
            continue
        found.append({**said, "age_s": round(max(age_s, 0.0), 1)})
    return sorted(found, key=lambda one: one["started"])


def _read(file: Path) -> dict[str, Any] | None:
    try:
        if file.stat().st_size > _MOST_BYTES:
            return None
        said = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    wanted = {"pid": int, "updated_us": int, "host": str, "started": str, "command": str}
    if not isinstance(said, dict) or "born" not in said:
        return None
    return said if all(isinstance(said.get(k), t) for k, t in wanted.items()) else None


def is_alive(pid: int, born: object) -> bool:
    """Return whether the process `pid` is the one that was born then, and still runs."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return born is None or _born(pid) in (None, born)


def _born(pid: int) -> int | None:
    """Return when a process began, in ticks since the boot; None where nothing tells.

    A number that a process had is soon another's: only with its birth it is an identity.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        # The name stands in parentheses and may hold any sign.
        return int(text.rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None


__all__ = ["FOLDER", "Presence", "is_alive", "read_all"]
