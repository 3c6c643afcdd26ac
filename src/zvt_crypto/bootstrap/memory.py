"""How our own processes allocate: Arrow's pool, and what glibc does with large blocks."""

import ctypes
import os
import sys
from typing import Final

import pyarrow as pa

_CHOICE: Final = "ARROW_DEFAULT_MEMORY_POOL"
_POOL: Final = "jemalloc"

# Of malloc.h, each with the variable glibc reads itself. A block of a bulk file grows to 8 MB;
# more is kept by each thread, and at twice this a process of many loads took 70 MB more.
_LARGE: Final = 12 << 20
_TRIM_THRESHOLD: Final = (-1, "MALLOC_TRIM_THRESHOLD_")
_MMAP_THRESHOLD: Final = (-3, "MALLOC_MMAP_THRESHOLD_")


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


def keep_large_blocks() -> None:
    """Have glibc use blocks of megabytes again instead of handing each back to the system.

    Every month of candles inflates to a block of 6 MB. Mapped anew, its 1,500 pages were cleared
    one by one, a sixth of the time it took to inflate and parse it. The peak of a load is the same.
    For commands only, as above; elsewhere than with glibc nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    for parameter, variable in (_TRIM_THRESHOLD, _MMAP_THRESHOLD):
        if mallopt is not None and variable not in os.environ:
            mallopt(parameter, _LARGE)
