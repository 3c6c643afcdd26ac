"""A running simulator for each test that asks for one."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession
from sim_socket import Ask

from zvt_crypto.simulator.config import SimulatorConfig
from zvt_crypto.simulator.server import Simulator


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with Simulator(SimulatorConfig(seed=7, limits="off", trades_per_day=2_000)) as running:
        yield running


@pytest.fixture
async def busy() -> AsyncIterator[Simulator]:
    """Run a market with some fifty trades a second, twenty times as fast as the real clock."""
    config = SimulatorConfig(seed=7, limits="off", trades_per_day=200_000, clock_speed=20)
    async with Simulator(config) as running:
        yield running


@pytest.fixture
async def client() -> AsyncIterator[ClientSession]:
    async with ClientSession() as session:
        yield session


@pytest.fixture
def ask(client: ClientSession, busy: Simulator) -> Ask:
    """Return a client of the busy simulator's REST and of its own paths."""
    return Ask(client, busy)
