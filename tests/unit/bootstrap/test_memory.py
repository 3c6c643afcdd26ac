"""Commands choose how memory is allocated, unless the user did."""

import os
import resource
import subprocess
import sys
from collections.abc import Iterator

import pyarrow as pa
import pytest

from zvt_crypto.bootstrap.memory import choose_memory_pool

_THEIRS = {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"}


@pytest.fixture(autouse=True)
def restored_pool() -> Iterator[None]:
    before = pa.default_memory_pool()
    yield
    pa.set_memory_pool(before)


@pytest.mark.skipif(
    "jemalloc" not in pa.supported_memory_backends(), reason="this build of Arrow has no jemalloc"
)
def test_a_command_allocates_from_jemalloc(monkeypatch: pytest.MonkeyPatch) -> None:
    # given nobody chose
    monkeypatch.delenv("ARROW_DEFAULT_MEMORY_POOL", raising=False)
    pa.set_memory_pool(pa.system_memory_pool())

    # then the pool that hands memory back is taken
    assert choose_memory_pool() == "jemalloc"
    assert pa.default_memory_pool().backend_name == "jemalloc"


def test_the_users_choice_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    # given a pool the user asked Arrow for
    monkeypatch.setenv("ARROW_DEFAULT_MEMORY_POOL", "system")
    pa.set_memory_pool(pa.system_memory_pool())

    # then it stays
    assert choose_memory_pool() == "system"


# Blocks that grow, so that glibc, which learns the size of a block it gets back, never knows it.
_FAULTS_OF_GROWING_BLOCKS = """
import resource
from zvt_crypto.bootstrap.memory import keep_large_blocks
keep_large_blocks()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for megabytes in range(3, 11):
    block = bytearray(b"x") * (megabytes << 20)
    del block
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's own setting")
@pytest.mark.parametrize(("chosen", "megabytes"), [({}, 10), (_THEIRS, 52)])
def test_large_blocks_are_used_again_unless_the_user_chose(
    chosen: dict[str, str], megabytes: int
) -> None:
    # given a process that takes and gives back blocks of 52 MB in all, the largest of 10
    command = [sys.executable, "-c", _FAULTS_OF_GROWING_BLOCKS]
    done = subprocess.run(
        command, env={**os.environ, **chosen}, check=True, capture_output=True, text=True
    )

    # then it was given pages once, or where the user said so each time
    pages = (megabytes << 20) // resource.getpagesize()
    assert pages * 0.8 < int(done.stdout) < pages * 1.5
