"""Two processes on two cores: the sender, and whichever system is under test."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Generator, Iterable
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from zvt_crypto.cli.bench.target import ask
from zvt_crypto.cli.bench.wire import FrameSet, frame_set
from zvt_crypto.core.series import Kind

_STOP_WITHIN_S: Final = 10.0
_TWO: Final = 2


@dataclass
class Rig:
    """The sender, and systems under test, each a process that is asked one thing at a time.

    Systems share one core and take turns on it; the sender has another, where there is one.
    """

    folder: Path
    url: str
    systems: dict[str, "subprocess.Popen[str]"] = field(default_factory=dict[str, Any])
    _loaded: Path | None = None

    def frames(self, data: Path | None, name: str, kinds: Iterable[Kind], count: int) -> Path:
        """Make frames, and return the file they are in."""
        wanted = sorted(kinds)
        path = self.folder / f"{name}-{'-'.join(wanted)}-{count}.frames"
        if not path.exists():
            made = frame_set(data, name, wanted, count)
            path.write_bytes(msgspec.msgpack.encode(made))
        return path

    def lake(self) -> str:
        """Return where the next new lake is to be."""
        folder = self.folder / f"lake-{len(list(self.folder.glob('lake-*')))}"
        folder.mkdir()
        return str(folder / "store")

    def ask(self, system: str, file: Path, **question: object) -> dict[str, Any]:
        """Let a system do something with the frames of a file.

        Raises:
            RuntimeError: it failed.
        """
        if self._loaded != file:
            asyncio.run(_load(self.url, file))
            self._loaded = file
        process = self.systems[system]
        asked = {"do": system, "url": self.url, "file": str(file), **question}
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("a system under test is asked over its standard input")
        process.stdin.write(json.dumps(asked) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        reply = json.loads(line) if line else {"error": "it ended"}
        if "error" in reply:
            raise RuntimeError(f"{system}: {reply['error']}")
        return reply


def read_frames(file: Path) -> FrameSet:
    """Return the frames of a file that `Rig.frames` made."""
    return msgspec.msgpack.decode(file.read_bytes(), type=FrameSet)


@contextmanager
def rig(folder: Path, systems: Iterable[str]) -> Generator[Rig]:
    """Start a sender and systems under test; end them all."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    first, second = (cores[0], cores[1]) if len(cores) >= _TWO else (-1, -1)
    with ExitStack() as stack:
        sender = stack.enter_context(_process("sender", first))
        assert sender.stdout is not None  # noqa: S101 - it is a pipe
        made = Rig(folder, json.loads(sender.stdout.readline())["url"])
        for system in systems:
            made.systems[system] = stack.enter_context(_process("subject", second))
        yield made


@contextmanager
def _process(module: str, core: int) -> Generator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", f"zvt_crypto.cli.bench.{module}", "--core", str(core)]
    with subprocess.Popen(  # noqa: S603 - our own module
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            if process.stdin is not None:
                process.stdin.close()
            try:
                process.wait(_STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()


async def _load(url: str, file: Path) -> None:
    await ask(url, "/load", file=file)
