import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from zvt_crypto.settings import KEYS

Run = Callable[..., Any]


def test_show_names_every_setting_with_value_and_origin(zvtc: Run, tmp_path: Path) -> None:
    # given a file, a variable and a secret
    (tmp_path / "zvtc.toml").write_text("[load]\nparallel_series = 3\n", encoding="utf-8")

    # when settings are shown
    ended = zvtc("config", "show", "--json", ZVTC_NET__PROXY="http://me:hunter2@proxy:1")

    # then all are there, with where they came from, and the secret is not
    shown = {one["key"]: one for one in json.loads(ended.out)["settings"]}
    assert ended.code == 0
    assert list(shown) == list(KEYS)
    assert shown["load.parallel_series"]["value"] == 3
    assert shown["load.parallel_series"]["origin"] == "zvtc.toml"
    assert shown["net.proxy"]["value"] == "http://****@proxy:1"
    assert shown["net.proxy"]["origin"] == "environment ZVTC_NET__PROXY"
    assert shown["store"]["origin"] == "default"
    assert "hunter2" not in ended.out


def test_the_table_names_every_setting_and_its_variable(zvtc: Run) -> None:
    ended = zvtc("config", "show")

    assert all(key in ended.out for key in KEYS)
    assert "ZVTC_EXCHANGES__COINBASE__CONCURRENCY" in ended.out


def test_where_a_setting_is_wrong_the_defaults_are_shown_and_the_error(zvtc: Run) -> None:
    # the error itself sends the user here for the names of the settings
    ended = zvtc("config", "show", ZVTC_STROE="x")

    assert ended.code == 2
    assert all(key in ended.out for key in KEYS)
    assert "Did you mean ZVTC_STORE?" in ended.err
    assert ended.err.count("\n") == 1


def test_path_names_the_file_in_use_or_that_there_is_none(zvtc: Run, tmp_path: Path) -> None:
    assert "no settings file" in zvtc("config", "path").out

    (tmp_path / "zvtc.toml").write_text("", encoding="utf-8")

    assert zvtc("config", "path").out == f"{tmp_path / 'zvtc.toml'}\n"
