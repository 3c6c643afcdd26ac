"""`zvtc` as a process of its own, as users run it."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from store_place import on_server, store_at

WITHIN_S = 120


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Return the one JSON object on standard output."""
        assert self.out.count("\n") == 1, self.out
        return json.loads(self.out)


def environment(state: Path, **more: str) -> dict[str, str]:
    """Return the variables of this process without settings, and a state folder of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ZVTC_")}
    return {**kept, "ZVTC_STATE_DIR": str(state), "NO_COLOR": "1", **more}


def start(
    *arguments: str,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    into: IO[bytes] | None = None,
    **more: Any,
) -> "subprocess.Popen[str]":
    """Start a command in `cwd`, which keeps its rate budgets too; write its output `into`.

    Its store is the one it finds by itself, `data` in `cwd`, or what stands for that on a server.
    """
    place = {"ZVTC_STORE": store_at(cwd / "data")} if on_server() else {}
    return subprocess.Popen(
        [sys.executable, "-m", "zvt_crypto.cli.main", *arguments],
        cwd=cwd,
        env=environment(cwd / ".state", **{**place, **(env or {})}),
        stdout=into or subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **more,
    )


def finish(process: "subprocess.Popen[str]") -> Ended:
    """Wait for the end of a command."""
    out, err = process.communicate(timeout=WITHIN_S)
    return Ended(process.returncode, out, err)


def zvtc(*arguments: str, cwd: Path, env: Mapping[str, str] | None = None, **more: Any) -> Ended:
    """Run a command to its end."""
    return finish(start(*arguments, cwd=cwd, env=env, **more))
