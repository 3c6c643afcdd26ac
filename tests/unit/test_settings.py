from pathlib import Path

import pytest

from zvt_crypto.core.errors import BadSetting, UnknownSetting
from zvt_crypto.settings import KEYS, Resolved, Settings, env_name, load_settings, mask_url

MIB = 1 << 20


def load(
    cwd: Path, flags: dict[str, object] | None = None, /, *, toml: str = "", **environ: str
) -> Resolved:
    if toml:
        (cwd / "zvtc.toml").write_text(toml, encoding="utf-8")
    return load_settings(flags, cwd=cwd, environ={"HOME": "/home/someone", **environ})


def test_without_any_layer_every_value_is_the_default(tmp_path: Path) -> None:
    resolved = load(tmp_path)

    settings = resolved.settings
    assert settings.store == "./data"
    assert settings.cache == "memory://"
    assert settings.sim is None
    assert settings.net.max_body_bytes == 64 * MIB
    assert settings.exchanges.of("okx").budget == 0.97
    assert settings.state_dir == Path("/home/someone/.local/state/zvtc")
    assert {resolved.origin(key) for key in KEYS} == {"default"}


def test_flag_beats_environment_beats_file_beats_default(tmp_path: Path) -> None:
    # given a value in every layer, one layer less for each next key
    toml = 'store = "file"\ncache = "file"\n[net]\nretry_for_s = 5\n'

    # when they are merged
    resolved = load(
        tmp_path, {"store": "flag"}, toml=toml, ZVTC_STORE="variable", ZVTC_CACHE="variable"
    )

    # then the highest layer wins, and is named
    assert resolved.settings.store == "flag"
    assert resolved.settings.cache == "variable"
    assert resolved.settings.net.retry_for_s == 5.0
    assert resolved.settings.net.read_timeout_s == 30.0
    assert resolved.origin("store") == "flag"
    assert resolved.origin("cache") == "environment ZVTC_CACHE"
    assert resolved.origin("net.retry_for_s") == "zvtc.toml"
    assert resolved.origin("net.read_timeout_s") == "default"
    assert resolved.file == tmp_path / "zvtc.toml"


def test_nested_variables_reach_one_exchange_and_no_other(tmp_path: Path) -> None:
    resolved = load(
        tmp_path,
        ZVTC_EXCHANGES__BINANCE__REST_URL="http://127.0.0.1:9/",
        ZVTC_LOAD__CONFIRM="rows",
        ZVTC_NET__MAX_BODY_BYTES="2MiB",
    )

    exchanges = resolved.settings.exchanges
    assert exchanges.binance.rest_url == "http://127.0.0.1:9"
    assert exchanges.okx.rest_url is None
    assert resolved.settings.load.confirm == "rows"
    assert resolved.settings.net.max_body_bytes == 2 * MIB
    assert (
        resolved.origin("exchanges.binance.rest_url")
        == "environment ZVTC_EXCHANGES__BINANCE__REST_URL"
    )


def test_every_setting_can_be_set_by_its_variable(tmp_path: Path) -> None:
    values = {
        "store": "s", "cache": "c", "sim": "http://h", "log_level": "INFO", "state_dir": "/x",
        "net.proxy": "http://p", "load.archive": "never", "load.confirm": "holes",
    }  # fmt: skip
    for key in KEYS:
        url = "ws://h" if key.endswith("ws_url") else "http://h"
        text = values.get(key, url if key.endswith("_url") else "1")

        resolved = load(tmp_path, **{env_name(key): text})

        assert resolved.origin(key) == f"environment {env_name(key)}"


def test_empty_variable_and_flag_not_given_count_as_unset(tmp_path: Path) -> None:
    resolved = load(tmp_path, {"store": None}, ZVTC_STORE="", ZVTC_NET__PROXY="")

    assert resolved.origin("store") == "default"
    assert resolved.settings.net.proxy is None


def test_config_variable_names_another_file(tmp_path: Path) -> None:
    # given two files
    (tmp_path / "other.toml").write_text('store = "other"', encoding="utf-8")

    # when the variable names the second, relative to the folder
    resolved = load(tmp_path, toml='store = "first"', ZVTC_CONFIG="other.toml")

    # then only that one is read
    assert resolved.settings.store == "other"
    assert resolved.origin("store") == "other.toml"


def test_variables_that_are_no_settings_are_let_pass(tmp_path: Path) -> None:
    assert load(tmp_path, ZVTC_DEBUG="1", ZVTC_TEST_DATA="/x", OTHER="1").origins == {}


@pytest.mark.parametrize(
    ("environ", "named", "near"),
    [
        ({"ZVTC_STROE": "x"}, "'ZVTC_STROE' in the environment", "Did you mean ZVTC_STORE?"),
        (
            {"ZVTC_EXCHANGES__BINANCE__RESTURL": "x"},
            "ZVTC_EXCHANGES__BINANCE__RESTURL",
            "Did you mean ZVTC_EXCHANGES__BINANCE__REST_URL?",
        ),
        ({"ZVTC_QQQQQQQQ": ""}, "'ZVTC_QQQQQQQQ'", "`zvtc config show`"),
        ({"ZVTC_NET": "x"}, "'ZVTC_NET'", "ZVTC_NET"),
    ],
)
def test_unknown_variable_is_refused_with_the_nearest(
    tmp_path: Path, environ: dict[str, str], named: str, near: str
) -> None:
    with pytest.raises(UnknownSetting) as caught:
        load(tmp_path, **environ)

    assert named in caught.value.message
    assert near in str(caught.value)


@pytest.mark.parametrize(
    ("toml", "named", "near"),
    [
        ("stor = 1", "'stor'", "Did you mean store?"),
        ("[net]\nproxi = 1", "'net.proxi'", "Did you mean net.proxy?"),
        ("[exchange.okx]\nbudget = 1", "'exchange.okx.budget'", "exchanges.okx.budget"),
        ("[exchanges.binanse]", "'exchanges.binanse'", "exchanges.binance"),
        ("[store]\npath = 1", "'store.path'", "Did you mean store?"),
    ],
)
def test_unknown_key_of_the_file_is_refused_with_the_nearest(
    tmp_path: Path, toml: str, named: str, near: str
) -> None:
    with pytest.raises(UnknownSetting) as caught:
        load(tmp_path, toml=toml)

    assert named in caught.value.message
    assert str(tmp_path / "zvtc.toml") in caught.value.message
    assert near in caught.value.remedy


def test_unknown_flag_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownSetting, match="nett"):
        load(tmp_path, {"nett": 1})


@pytest.mark.parametrize(
    ("toml", "key", "detail"),
    [
        ("store = 5", "store", "valid string"),
        ('store = " "', "store", "blank"),
        ('sim = "localhost:80"', "sim", "http://"),
        ('log_level = "loud"', "log_level", "'debug', 'info'"),
        ("[net]\nread_timeout_s = 0", "net.read_timeout_s", "greater than 0"),
        ("[net]\nread_timeout_s = nan", "net.read_timeout_s", "finite"),
        ('[net]\nmax_body_bytes = "many"', "net.max_body_bytes", "byte"),
        ("[exchanges.okx]\nbudget = 1.5", "exchanges.okx.budget", "less than or equal to 1"),
        ("[load]\nparallel_series = 1.5", "load.parallel_series", "integer"),
        ('[load]\narchive = "maybe"', "load.archive", "'auto', 'always' or 'never'"),
        ("net = 5", "net", "group"),
    ],
)
def test_bad_value_is_refused_with_its_origin(
    tmp_path: Path, toml: str, key: str, detail: str
) -> None:
    with pytest.raises(BadSetting) as caught:
        load(tmp_path, toml=toml)

    assert f"'{key}'" in caught.value.message
    assert "zvtc.toml" in caught.value.message
    assert detail in caught.value.message
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"store =", b"\xff\xfe", b"a = 1\na = 2"])
def test_file_that_is_no_toml_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "zvtc.toml").write_bytes(content)

    with pytest.raises(BadSetting, match="cannot be read"):
        load(tmp_path)


def test_config_variable_naming_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match=r"there is no file nowhere\.toml"):
        load(tmp_path, ZVTC_CONFIG="nowhere.toml")


def test_no_secret_is_in_any_print_or_error(tmp_path: Path) -> None:
    # given secrets in every place that can hold one
    secret = "hunter2"
    resolved = load(
        tmp_path,
        ZVTC_STORE=f"postgresql://me:{secret}@db/x?password={secret}",
        ZVTC_CACHE=f"redis://:{secret}/@cache:6379",
        ZVTC_NET__PROXY=f"http://me:{secret}@{secret}@proxy:3128",
        ZVTC_EXCHANGES__OKX__REST_URL=f"https://{secret}@mirror",
    )

    # then no rendering shows them, while the hosts stay readable
    shown = " ".join(str(row.value) for row in resolved.rows())
    for text in (shown, repr(resolved), str(resolved.settings), repr(resolved.settings)):
        assert secret not in text
    assert "postgresql://****@db/x?password=****" in shown
    assert "http://****@proxy:3128" in shown

    # and a proxy that cannot be read is not quoted back
    with pytest.raises(BadSetting) as caught:
        load(tmp_path, ZVTC_NET__PROXY=f"me:{secret}@proxy")
    assert secret not in str(caught.value)

    # and the program itself still gets the value
    proxy = resolved.settings.net.proxy
    assert proxy is not None
    assert secret in proxy.get_secret_value()


def test_masking_leaves_other_text_alone() -> None:
    assert mask_url("./data") == "./data"
    assert mask_url("http://host:80/a") == "http://host:80/a"
    assert mask_url("me@host") == "me@host"


def test_every_setting_says_what_it_is_for(tmp_path: Path) -> None:
    rows = load(tmp_path).rows()

    assert [row.key for row in rows] == list(KEYS)
    assert all(row.description for row in rows)
    assert {row.variable for row in rows} >= {"ZVTC_STORE", "ZVTC_EXCHANGES__BYBIT__BUDGET"}


def test_origin_of_what_is_no_setting_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        load(tmp_path).origin("nothing")
    with pytest.raises(KeyError):
        load(tmp_path).settings.exchanges.of("kraken")


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().store = "x"  # pyright: ignore[reportAttributeAccessIssue] - what is tested
