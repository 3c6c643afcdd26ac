"""The cache of the settings: which engine, with what bounds, and what is said where it fails."""

import subprocess
import sys
from pathlib import Path

import pytest

from zvt_crypto.bootstrap.caching import cells_of, open_cache
from zvt_crypto.core.errors import BadSetting
from zvt_crypto.net.clock import SystemClock
from zvt_crypto.settings import Settings, load_settings


def settings(tmp_path: Path, **variables: str) -> Settings:
    return load_settings(cwd=tmp_path, environ={"HOME": str(tmp_path), **variables}).settings


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("memory://", "memory://"),
        ("redis://me:hunter2@h", "redis://h:6379"),
        ("redis+sentinel://:hunter2@a,b/main", "redis+sentinel://a:26379,b:26379/main"),
        ("rediss+cluster://:hunter2@a,b", "rediss+cluster://a:6379,b:6379"),
    ],
)
def test_the_address_chooses_the_engine_and_nothing_is_connected(
    url: str, shown: str, tmp_path: Path
) -> None:
    cache = open_cache(settings(tmp_path, ZVTC_CACHE=url), SystemClock())

    assert cache.url == shown
    assert cache.is_shared == (url != "memory://")
    assert (cells_of(cache) is None) == (url == "memory://")
    assert "hunter2" not in repr(settings(tmp_path, ZVTC_CACHE=url))


def test_an_address_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="'cache'"):
        open_cache(settings(tmp_path, ZVTC_CACHE="memory:/"), SystemClock())


@pytest.mark.parametrize("name", ["ttl_s", "read_timeout_s", "write_timeout_s", "ring"])
def test_bounds_that_cannot_be_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match=f"caching.{name}"):
        settings(tmp_path, **{f"ZVTC_CACHING__{name.upper()}": "0"})


def test_a_redis_without_the_extra_is_one_line_that_names_it(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "sys.modules['redis'] = None\n"
        "from zvt_crypto.bootstrap.caching import open_cache\n"
        "from zvt_crypto.net.clock import SystemClock\n"
        "from zvt_crypto.settings import Settings\n"
        "open_cache(Settings(), SystemClock())\n"
        "try:\n"
        "    open_cache(Settings(cache='redis://h'), SystemClock())\n"
        "except Exception as e:\n"
        "    print(type(e).__name__, e)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout == (
        "MissingExtra a cache in Redis needs the extra 'redis'. "
        "Install it with: pip install 'zvt-crypto[redis]'\n"
    )
