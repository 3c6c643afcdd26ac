"""A Bybit connector and what stands around it."""

from pathlib import Path

import pytest
from bybit_world import FakeClock, FakeGovernor, FakeHttp, make_connector

from zvt_crypto.connectors.bybit.rest import BybitConnector
from zvt_crypto.connectors.bybit.spec import BYBIT


@pytest.fixture
def http() -> FakeHttp:
    return FakeHttp()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def governors() -> dict[str, FakeGovernor]:
    return {role: FakeGovernor() for role in BYBIT.quotas}


@pytest.fixture
def connector(
    http: FakeHttp, clock: FakeClock, governors: dict[str, FakeGovernor], tmp_path: Path
) -> BybitConnector:
    return make_connector(http, clock, governors, tmp_path)
