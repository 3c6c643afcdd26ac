"""Commands choose Arrow's allocator, unless the user did."""

from collections.abc import Iterator

import pyarrow as pa
import pytest

from zvt_crypto.bootstrap.memory import choose_memory_pool


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
