"""The simulator as a process of its own, as users run it."""

import json
import select
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

READY_WITHIN_S = 60


@dataclass(frozen=True)
class Sim:
    """A running simulator."""

    url: str
    pid: int

    def get(self, path: str) -> Any:
        """Return the JSON at `path`."""
        with urllib.request.urlopen(f"{self.url}{path}", timeout=30) as reply:
            return json.load(reply)

    def send(self, method: str, path: str, body: object = None) -> Any:
        """Send JSON and return the JSON answered."""
        data = json.dumps(body).encode() if body is not None else b""
        request = urllib.request.Request(f"{self.url}{path}", data=data, method=method)
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=30) as reply:
            text = reply.read()
        return json.loads(text) if text else None

    def stats(self, exchange: str) -> Mapping[str, Any]:
        """Return what the simulator counted for one exchange."""
        return self.get("/_stats").get(exchange, {})

    def asked(self, exchange: str) -> list[Mapping[str, Any]]:
        """Return the newest requests for data of one exchange, oldest first."""
        return self.get("/_requests").get(exchange, [])

    def fault(self, kind: str, **fields: Any) -> None:
        """Let something go wrong from now on."""
        self.send("POST", "/_faults", {"kind": kind, **fields})

    def heal(self) -> None:
        """Take all faults back."""
        self.send("DELETE", "/_faults")

    def data_requests(self) -> int:
        """Return how often data was asked for, of all exchanges together."""
        return sum(one["data_requests"] for one in self.get("/_stats").values())


@contextmanager
def simulator(*options: str, seed: int = 7) -> Generator[Sim]:
    """Run a simulator on a free port until the block ends."""
    command: Sequence[str] = [
        sys.executable,
        "-m",
        "zvt_crypto.simulator",
        "--port",
        "0",
        "--seed",
        str(seed),
        *options,
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            said, _, _ = select.select([process.stdout], [], [], READY_WITHIN_S)
            assert said, f"the simulator was not ready within {READY_WITHIN_S} s"
            ready = json.loads(process.stdout.readline())
            yield Sim(ready["url"], process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
