"""Fixtures every test may use."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Tests share their cores with each other: how long one example takes says nothing.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")

_MATRIX = "test_faults.py"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep one exchange per fault in the default run, each in turn; `make campaign` runs all."""
    groups: dict[tuple[str, str], list[pytest.Function]] = {}
    for item in items:
        if isinstance(item, pytest.Function) and item.path.name == _MATRIX:
            params = item.callspec.params if hasattr(item, "callspec") else {}
            if "fault" in params and "exchange" in params:
                groups.setdefault((item.originalname, str(params["fault"])), []).append(item)
    for turn, group in enumerate(groups.values()):
        for place, item in enumerate(group):
            if place != turn % len(group):
                item.add_marker("campaign")


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
