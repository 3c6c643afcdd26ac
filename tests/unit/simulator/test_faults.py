"""Faults strike when they say they do, and the same way each time."""

import pytest

from zvt_crypto.simulator.clock import Clock
from zvt_crypto.simulator.config import SimulatorConfig
from zvt_crypto.simulator.faults import KINDS, Fault, Faults
from zvt_crypto.simulator.instrument import Kind, make_instrument
from zvt_crypto.simulator.server import Simulator

BTC = make_instrument(
    "binance", "BTC", "USDT", Kind.SPOT, "BTCUSDT", trades_per_day=100, earliest="2018-01-01"
)


def strikes(fault: dict[str, object], times: int, seed: int = 1) -> list[bool]:
    faults = Faults(seed, Clock())
    faults.add({"kind": "http_5xx", **fault})
    return [bool(faults.fire(KINDS, "binance", "/api/v3/klines", BTC)) for _ in range(times)]


def test_a_fault_hits_every_nth_the_first_n_or_all():
    assert strikes({}, 3) == [True, True, True]
    assert strikes({"first": 2}, 4) == [True, True, False, False]
    assert strikes({"every": 3}, 6) == [False, False, True, False, False, True]
    assert strikes({"every": 2, "count": 1}, 6) == [False, True, False, False, False, False]


def test_chance_is_the_same_for_the_same_seed():
    first = strikes({"probability": 0.3}, 400)

    assert first == strikes({"probability": 0.3}, 400)
    assert first != strikes({"probability": 0.3}, 400, seed=2)
    assert 60 < sum(first) < 180


def test_a_fault_keeps_to_its_venue_endpoint_and_symbol():
    assert strikes({"exchange": "okx"}, 1) == [False]
    assert strikes({"exchange": "binance", "endpoint": "klines"}, 1) == [True]
    assert strikes({"endpoint": "depth"}, 1) == [False]
    for name in ("BTC-USDT", "btc-usdt", "BTC/USDT", "BTCUSDT"):
        assert strikes({"symbol": name}, 1) == [True]
    for name in ("ETH-USDT", "BTC-USDT-PERP", "BTC/USDT:USDT"):
        assert strikes({"symbol": name}, 1) == [False]


def test_a_fault_has_its_time():
    fault = Fault(1, "http_5xx", since_us=0, after_s=5, until_s=10)

    assert [fault.active(second * 1_000_000) for second in (0, 4, 5, 10, 11)] == [
        False, False, True, True, False,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "JSON object"),
        ({"kind": "nonsense"}, "known:"),
        ({"kind": "slow", "every": "x"}, "every"),
        ({"kind": "slow", "symbol": 3}, "symbol"),
    ],
)
def test_what_is_no_fault_is_refused_in_one_line(value: object, message: str):
    with pytest.raises(ValueError, match=message) as caught:
        Faults(1, Clock()).add(value)

    assert "\n" not in str(caught.value)


def test_every_kind_is_documented():
    from zvt_crypto.simulator import faults

    assert faults.__doc__ is not None
    assert [kind for kind in sorted(KINDS) if kind not in faults.__doc__] == []


def test_an_outage_needs_its_bounds():
    sim = Simulator(SimulatorConfig())

    with pytest.raises(ValueError, match="needs 'end'"):
        sim.world.add_fault({"kind": "outage", "start": "2024-01-01"})

    assert len(sim.world.faults) == 0
