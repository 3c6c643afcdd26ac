"""Hashed randomness with random access: the same key and index give the same number, always."""

import hashlib
from typing import Final

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_MIX_1: Final = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2: Final = np.uint64(0x94D049BB133111EB)
_TO_UNIT: Final = 2.0**-53


def make_key(*parts: object) -> int:
    """Return a 63-bit key for `parts`, stable between processes."""
    text = "\x1f".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") >> 1


def uniform(key: int, index: Ints) -> Floats:
    """Return one number in [0, 1) for every index (splitmix64 of key and index)."""
    with np.errstate(over="ignore"):
        x = (index.astype(np.uint64) + np.uint64(key)) * _GOLDEN
        x = (x ^ (x >> np.uint64(30))) * _MIX_1
        x = (x ^ (x >> np.uint64(27))) * _MIX_2
        x ^= x >> np.uint64(31)
    return (x >> np.uint64(11)).astype(np.float64) * _TO_UNIT


def uniform_at(key: int, index: int) -> float:
    """Return the number `uniform` gives for one index."""
    return float(uniform(key, np.array([index], dtype=np.int64))[0])


def value_noise(key: int, times_us: Ints, period_us: int) -> Floats:
    """Return smooth noise in [-1, 1]: hashed values on a lattice of `period_us`, eased between."""
    cell = times_us // period_us
    low, high = int(cell[0]), int(cell[-1])
    lattice = uniform(key, np.arange(low, high + 2, dtype=np.int64)) * 2.0 - 1.0
    part = (times_us - cell * period_us) / period_us
    eased = part * part * (3.0 - 2.0 * part)
    at = cell - low
    left = lattice[at]
    return left + (lattice[at + 1] - left) * eased
