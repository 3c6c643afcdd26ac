"""A Coinbase connector and the replies it gets."""

from pathlib import Path

import pytest
from bybit_world import FakeClock, FakeGovernor
from exchange_world import ScriptedHttp, make

from zvt_crypto.connectors.coinbase.rest import CoinbaseConnector


@pytest.fixture
def http() -> ScriptedHttp:
    return ScriptedHttp()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def governor() -> FakeGovernor:
    return FakeGovernor()


@pytest.fixture
def connector(
    http: ScriptedHttp, clock: FakeClock, governor: FakeGovernor, tmp_path: Path
) -> CoinbaseConnector:
    return make(CoinbaseConnector, http, clock, tmp_path, governor)
