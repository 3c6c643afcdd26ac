"""A system under test, in a process of its own on one core; it does what it reads, line by line.

    python -m zvt_crypto.cli.bench.subject --core 1

Every line is a JSON object with `do` and the arguments of it; every answer is one line.
"""

import argparse
import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from zvt_crypto.bootstrap.memory import choose_memory_pool, keep_large_blocks
from zvt_crypto.bootstrap.warm import warm_up
from zvt_crypto.cli.bench import latency_run, ours, peers, soak_run
from zvt_crypto.cli.bench.wire import FrameSet
from zvt_crypto.core.errors import CryptoError

_FRAMES: dict[str, FrameSet] = {}


async def answer(asked: dict[str, Any]) -> dict[str, Any]:
    """Do what is asked."""
    url = asked.get("url", "")
    match asked["do"]:
        case "ours":
            lake = asked.get("lake")
            stage = ours.Stage(asked["stage"])
            return await ours.run(_load(asked), url, stage, None if lake is None else Path(lake))
        case peers.CRYPTOFEED:
            return await peers.run_cryptofeed(_load(asked), url)
        case peers.CCXT:
            return await peers.run_ccxt(_load(asked), url)
        case "latency":
            return await latency_run.run(
                _load(asked), url, asked["handler"], asked["rate"], len(_load(asked).frames)
            )
        case "soak":
            lake = asked.get("lake")
            return await soak_run.run(
                _load(asked),
                url,
                asked["rate"],
                asked["seconds"],
                every_s=asked["every_s"],
                lake=lake,
            )
        case other:
            raise ValueError(f"nobody knows how to do {other!r}")


def _load(asked: dict[str, Any]) -> FrameSet:
    path = asked["file"]
    if path not in _FRAMES:
        _FRAMES.clear()
        _FRAMES[path] = msgspec.msgpack.decode(Path(path).read_bytes(), type=FrameSet)
    return _FRAMES[path]


async def serve() -> None:
    """Answer lines until there are no more."""
    loop = asyncio.get_running_loop()
    choose_memory_pool()
    keep_large_blocks()
    warm_up()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        try:
            reply = await answer(json.loads(line))
        except (RuntimeError, ValueError, OSError, CryptoError) as e:
            reply = {"error": f"{type(e).__name__}: {e}"}
        print(json.dumps(reply), flush=True)  # noqa: T201 - read by a parent


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
