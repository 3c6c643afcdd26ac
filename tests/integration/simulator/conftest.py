"""A running simulator for each test that asks for one."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession

from zvt_crypto.simulator.config import SimulatorConfig
from zvt_crypto.simulator.server import Simulator


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with Simulator(SimulatorConfig(seed=7, limits="off", trades_per_day=2_000)) as running:
        yield running


@pytest.fixture
async def client() -> AsyncIterator[ClientSession]:
    async with ClientSession() as session:
        yield session
