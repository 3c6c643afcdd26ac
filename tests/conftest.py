"""Fixtures every test may use."""

import itertools
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pglite_server
import psycopg
import pytest
import store_place
from hypothesis import HealthCheck, settings
from postgres_server import PostgresServer, postgres_server
from psycopg import sql

# Tests share their cores with each other: how long one example takes says nothing.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")

_MATRIX = "test_faults.py"


def _spread_faults(items: list[pytest.Item]) -> None:
    """Keep some exchanges per fault in the default run, each in turn; `make campaign` runs all.

    Of a fault of pages or files one exchange and kind, of the other cases two exchanges.
    """
    faults: dict[str, list[pytest.Function]] = {}
    cases: dict[tuple[str, str], list[pytest.Function]] = {}
    for item in items:
        if isinstance(item, pytest.Function) and item.path.name == _MATRIX:
            params = item.callspec.params if hasattr(item, "callspec") else {}
            if "fault" in params and "exchange" in params:
                faults.setdefault(str(params["fault"]), []).append(item)
            elif "exchange" in params:
                case = (item.originalname, str(params.get("where")))
                cases.setdefault(case, []).append(item)
    # Five: so that in turn every kind and exchange has its faults.
    _keep(faults.values(), 1, step=5)
    _keep(cases.values(), 2, step=1)


def _keep(groups: Iterable[list[pytest.Function]], count: int, *, step: int) -> None:
    for turn, group in enumerate(groups):
        kept = {(turn * step + number * 2) % len(group) for number in range(count)}
        for place, item in enumerate(group):
            if place not in kept:
                item.add_marker("campaign")


_TIMESCALE = "ZVTC_TEST_TIMESCALE"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what needs a TimescaleDB that is not there; the summary says so."""
    _spread_faults(items)
    has_server, has_wasm = bool(os.environ.get(_TIMESCALE)), pglite_server.lacking() is None
    left = [
        item
        for item in items
        if (not has_server and _needs_timescale(item)) or (not has_wasm and _needs_pglite(item))
    ]
    if left:
        items[:] = [item for item in items if item not in left]
        config.hook.pytest_deselected(items=left)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say in a line each what was not run."""
    if not os.environ.get(_TIMESCALE):
        terminalreporter.write_line(
            f"not run: tests that need TimescaleDB; set {_TIMESCALE}=postgresql://user@host/database"
        )
    if lacks := pglite_server.lacking():
        terminalreporter.write_line(
            f"not run: migrations on TimescaleDB in WASM, for want of {lacks}; `make check-pglite`"
        )


def _needs_pglite(item: pytest.Item) -> bool:
    return isinstance(item, pytest.Function) and "pglite" in item.fixturenames


def _needs_timescale(item: pytest.Item) -> bool:
    if not isinstance(item, pytest.Function):
        return False
    params = item.callspec.params.values() if hasattr(item, "callspec") else ()
    named = any(str(value).startswith("timescale") for value in params)
    return named or "timescale_url" in item.fixturenames


_SHARED = Path(
    os.environ.get("ZVTC_TEST_DATA", Path(__file__).resolve().parents[2] / "shared" / "data")
)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of recorded market data, read in place and never copied."""
    if not (_SHARED / "README.md").is_file():
        pytest.fail(
            f"the recorded data is not at {_SHARED}; set ZVTC_TEST_DATA to its folder",
            pytrace=False,
        )
    return _SHARED


_NUMBERS = itertools.count()
_OWN_SERVER = pytest.StashKey[ExitStack]()


def pytest_sessionstart(session: pytest.Session) -> None:
    """With `ZVTC_TEST_STORE=postgres` all stores of `store_at` lie on a server of the run's own."""
    if os.environ.get(store_place.VARIABLE) == "postgres":
        stack = session.config.stash[_OWN_SERVER] = ExitStack()
        os.environ[store_place.VARIABLE] = stack.enter_context(postgres_server()).url()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """End the server."""
    if (stack := session.config.stash.get(_OWN_SERVER, None)) is not None:
        stack.close()
        os.environ[store_place.VARIABLE] = "postgres"


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """Run a PostgreSQL server, shared by the tests of this process; none may stop it."""
    # Nothing here outlives the run: what a test wants durable gets a server of its own.
    with postgres_server({"fsync": "off", "full_page_writes": "off"}) as server:
        yield server


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> Iterator[Callable[[], str]]:
    """Return what gives URLs of new, empty schemas."""
    yield from _schemas(postgres.url())


@pytest.fixture
def timescale_url() -> Iterator[Callable[[], str]]:
    """Return what gives URLs of new, empty schemas on the server with TimescaleDB."""
    url = os.environ.get("ZVTC_TEST_TIMESCALE")
    if not url:
        pytest.skip(
            "not run: needs a server with TimescaleDB; ZVTC_TEST_TIMESCALE=postgresql://..."
        )
    yield from _schemas(url)


def _schemas(url: str) -> Iterator[Callable[[], str]]:
    made: list[str] = []

    def new() -> str:
        made.append(f"test_{os.getpid()}_{next(_NUMBERS)}")
        return f"{url}?schema={made[-1]}"

    yield new
    for name in made:
        _drop(url, name)


def _drop(url: str, name: str) -> None:
    drop = sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(name))
    for attempt in range(10):
        try:
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute(drop)
        except (psycopg.OperationalError, psycopg.InternalError):
            # TimescaleDB's own jobs work on the same tables at any moment.
            if attempt == 9:
                raise
            time.sleep(0.2)
        else:
            return
