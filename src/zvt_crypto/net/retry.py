"""Do it again, but only what may succeed the second time."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random
from typing import TypeVar

from zvt_crypto.core.errors import CryptoError, DataError, RetryableError
from zvt_crypto.net.backoff import backoff
from zvt_crypto.net.clock import SystemClock
from zvt_crypto.ports.clock import Clock

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long to insist.

    Attributes:
        budget_s: from the first call; a wait that would end later is not begun.
        first_s: ceiling of the first wait.
        cap_s: ceiling of every wait we choose; the server's own wish may be longer.
        data_retries: further tries after a `DataError`; a garbled reply may be a passing fault,
            a changed format is not.
    """

    budget_s: float = 60.0
    first_s: float = 0.5
    cap_s: float = 30.0
    data_retries: int = 2


async def retrying(
    call: Callable[[], Awaitable[T]],
    *,
    policy: RetryPolicy,
    rng: Random,
    clock: Clock | None = None,
    on_retry: Callable[[CryptoError, float], None] | None = None,
) -> T:
    """Return what `call` returns, calling again after errors that may pass.

    A `retry_after_s` is waited for in full, plus a little of our own so that processes do not
    return in step. Fatal errors, and anything that is none of ours, leave at once.

    Args:
        call: makes a new attempt each time.
        policy: how long to insist.
        rng: spreads the waits.
        clock: measures and waits.
        on_retry: told the error and the wait in seconds before each further try.

    Raises:
        CryptoError: the last one, when it is fatal or the policy is used up.
    """
    clock = clock or SystemClock()
    deadline_s = clock.monotonic_s() + policy.budget_s
    waits = backoff(rng, first_s=policy.first_s, cap_s=policy.cap_s)
    data_retries = policy.data_retries
    while True:
        try:
            return await call()
        except (RetryableError, DataError) as e:
            wait_s = next(waits)
            if isinstance(e, RetryableError):
                wait_s = max(wait_s, _wish_s(e, rng, policy))
            elif data_retries == 0:
                raise
            else:
                data_retries -= 1
            if clock.monotonic_s() + wait_s > deadline_s:
                raise
            if on_retry is not None:
                on_retry(e, wait_s)
        await clock.sleep(wait_s)


def _wish_s(error: RetryableError, rng: Random, policy: RetryPolicy) -> float:
    if error.retry_after_s is None:
        return 0.0
    return error.retry_after_s + rng.uniform(0, policy.first_s)
