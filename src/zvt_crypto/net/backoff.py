"""How long to wait before the next try."""

from collections.abc import Iterator
from random import Random


def backoff(rng: Random, *, first_s: float = 0.5, cap_s: float = 30.0) -> Iterator[float]:
    """Yield waits in seconds: uniform from 0 to a ceiling that doubles up to `cap_s`."""
    ceiling = min(first_s, cap_s)
    while True:
        yield rng.uniform(0, ceiling)
        ceiling = min(cap_s, ceiling * 2)
