"""Fixtures every test may use."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Tests share their cores with each other: how long one example takes says nothing.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")

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
