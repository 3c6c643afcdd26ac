from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import pytest

from zvt_crypto.core.errors import (
    CryptoError,
    MalformedPayload,
    NetworkFault,
    RateLimited,
    RequestRejected,
)
from zvt_crypto.net.retry import RetryPolicy, retrying

POLICY = RetryPolicy(budget_s=60, first_s=0.5, cap_s=8, data_retries=2)


def failing(*errors: Exception) -> tuple[Callable[[], Awaitable[str]], list[int]]:
    """Return a call that raises these in turn, then answers; and a counter of its calls."""
    queue, calls = list(errors), list[int]()

    async def call() -> str:
        calls.append(1)
        if queue:
            raise queue.pop(0)
        return "answer"

    return call, calls


def test_passing_faults_are_retried_and_told(sim: Any):
    told: list[tuple[CryptoError, float]] = []
    first, second = NetworkFault("okx", "reset"), NetworkFault("okx", "refused")
    call, calls = failing(first, second)

    answer = sim.run(
        retrying(
            call,
            policy=POLICY,
            clock=sim,
            rng=Random(1),
            on_retry=lambda error, wait_s: told.append((error, wait_s)),
        )
    )

    assert answer == "answer"
    assert len(calls) == 3
    assert [error for error, _ in told] == [first, second]
    assert sim.monotonic_s() - 1000 == pytest.approx(sum(wait for _, wait in told))


@pytest.mark.parametrize("error", [RequestRejected("okx", "no"), ValueError("a bug")])
def test_what_cannot_pass_is_raised_at_once(sim: Any, error: Exception):
    call, calls = failing(error)
    with pytest.raises(type(error)):
        sim.run(retrying(call, policy=POLICY, clock=sim, rng=Random(1)))
    assert len(calls) == 1
    assert sim.monotonic_s() == 1000


def test_data_errors_are_tried_twice_more(sim: Any):
    call, calls = failing(*[MalformedPayload("okx", "candles", str(n)) for n in range(5)])
    with pytest.raises(MalformedPayload, match="2"):
        sim.run(retrying(call, policy=POLICY, clock=sim, rng=Random(1)))
    assert len(calls) == 3


def test_the_servers_wish_is_waited_for_in_full(sim: Any):
    call, _ = failing(RateLimited("okx", "weight", 20.0))
    sim.run(retrying(call, policy=POLICY, clock=sim, rng=Random(1)))
    assert 20.0 <= sim.monotonic_s() - 1000 <= 20.5


def test_a_wish_beyond_the_budget_is_not_waited_for(sim: Any):
    call, calls = failing(RateLimited("okx", "weight", 90.0))
    with pytest.raises(RateLimited):
        sim.run(retrying(call, policy=POLICY, clock=sim, rng=Random(1)))
    assert len(calls) == 1
    assert sim.monotonic_s() == 1000


def test_the_last_error_is_raised_within_the_budget(sim: Any):
    errors = [NetworkFault("okx", f"number {n}") for n in range(1000)]
    call, calls = failing(*errors)
    with pytest.raises(NetworkFault, match="number") as caught:
        sim.run(retrying(call, policy=POLICY, clock=sim, rng=Random(1)))
    assert caught.value is errors[len(calls) - 1]
    assert 45 < sim.monotonic_s() - 1000 <= 60
