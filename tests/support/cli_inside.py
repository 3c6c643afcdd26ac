"""A command run inside the test: how it ended, what it printed, nothing of this machine."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from zvt_crypto.cli.main import main


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


Run = Callable[..., Ended]


@pytest.fixture
def quiet_logging() -> Iterator[None]:
    """Put the root logger back as it was: the command line sets level and handler of it."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield
    root.setLevel(level)
    root.handlers[:] = handlers


@pytest.fixture
def zvtc(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    quiet_logging: None,
) -> Run:
    """Return a function that runs `zvtc` with arguments, in an empty folder."""
    del quiet_logging
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    for name in ("ZVTC_STORE", "ZVTC_SIM", "ZVTC_CONFIG", "ZVTC_DEBUG", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str, **variables: str) -> Ended:
        with monkeypatch.context() as scoped:
            for name, value in variables.items():
                scoped.setenv(name, value)
            with pytest.raises(SystemExit) as ended:
                main(list(arguments))
        printed = capsys.readouterr()
        code = ended.value.code
        assert isinstance(code, int)
        return Ended(code, printed.out, printed.err)

    return run
