"""Which allocator Arrow uses in our own processes."""

import os
from typing import Final

import pyarrow as pa

_CHOICE: Final = "ARROW_DEFAULT_MEMORY_POOL"
_POOL: Final = "jemalloc"


def choose_memory_pool() -> str:
    """Have Arrow allocate from jemalloc where it has it; return the pool in use.

    Arrow's default, mimalloc, keeps what each of our threads has freed. Loading 24 months of
    minutes peaked at 299 MB with it and at 243 MB with jemalloc, no slower; docs/benchmarks.md.
    The environment variable that Arrow reads itself has the last word. For commands only: a
    program that uses us as a library chooses for itself.
    """
    if _CHOICE not in os.environ and _POOL in pa.supported_memory_backends():
        pa.set_memory_pool(pa.jemalloc_memory_pool())
    return pa.default_memory_pool().backend_name
