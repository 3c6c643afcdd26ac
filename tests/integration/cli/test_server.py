"""The commands over a server store: what they show and refuse, and that no secret is seen."""

import json
import time
from collections.abc import Callable

import psycopg
import pytest
from cli_inside import Run
from postgres_server import PASSWORD

DAY_S = 86_400


@pytest.fixture
def url(postgres_url: Callable[[], str]) -> str:
    return postgres_url()


def test_status_tells_what_the_server_is_and_never_the_password(url: str, zvtc: Run) -> None:
    # given a store that was just made
    made = zvtc("migrate", "--store", url, "--json")
    assert made.code == 0, made.err
    assert json.loads(made.out)["before"] is None

    # when it is asked for in words and as JSON, from the flag and from the environment
    words = zvtc("status", "--offline", "--store", url)
    told = zvtc("status", "--offline", "--json", ZVTC_STORE=url)
    shown = zvtc("config", "show", ZVTC_STORE=url)

    # then level and remedy are there, and the password nowhere
    facts = {one["name"]: one for one in json.loads(told.out)["store"]["facts"]}
    assert facts["level"]["value"] == "plain PostgreSQL"
    assert "TimescaleDB" in facts["missing"]["remedy"]
    assert "plain PostgreSQL" in words.out
    for ended in (made, words, told, shown):
        assert ended.code == 0
        assert PASSWORD not in ended.out + ended.err


def test_a_migration_is_printed_for_somebody_else_to_run(url: str, zvtc: Run) -> None:
    # when the statements are asked for, of a store that is not there
    printed = zvtc("migrate", "--sql", "--store", url)
    assert printed.code == 0, printed.err
    assert printed.out.startswith("BEGIN;")
    assert printed.out.endswith("COMMIT;\n\n")
    assert PASSWORD not in printed.out + printed.err
    assert zvtc("status", "--offline", "--store", url).code == 2

    # then they make it when they are run, and going back needs no --yes to be printed
    with psycopg.connect(url.partition("?")[0], autocommit=True) as connection:
        connection.execute(printed.out.encode())
    assert zvtc("status", "--offline", "--store", url).code == 0
    again = zvtc("migrate", "--sql", "--store", url)
    back = zvtc("migrate", "--sql", "--to", "0003", "--store", url)
    assert "nothing to do" in again.out
    assert "DROP TABLE lease" in back.out


def test_what_is_wrong_is_one_line_with_exit_code_2(url: str, zvtc: Run) -> None:
    wrong = url.replace(PASSWORD, "wrong-horse")
    zvtc("migrate", "--store", url)
    for words in (
        ("status", "--offline", "--store", wrong),
        ("migrate", "--store", wrong),
        ("load", "binance", "BTC-USDT", "--since", "2024-01-01", "--store", wrong),
        ("migrate", "--store", "./folder"),
        ("migrate", "--sql", "--store", "./folder"),
        ("migrate", "--sql", "--store", wrong),
        ("migrate", "--sql", "--store", url, "--to", "0815"),
        ("migrate", "--store", url, "--to", "0001"),
        ("migrate", "--store", url, "--to", "yesterday"),
        ("retain", "trades", "--older-than", "90d", "--store", url),
        ("retain", "trades", "--older-than", "soon", "--yes", "--store", url),
        ("retain", "trades", "--older-than", "2999-01-01", "--yes", "--store", url),
        ("retain", "prayers", "--older-than", "1d", "--yes", "--store", url),
        ("retain", "trades", "--older-than", "90d", "--yes", "--store", "./folder"),
        ("retain", "trades", "--forever", "--store", "./folder"),
        ("retain", "trades", "--store", url),
        ("retain", "trades", "--older-than", "90d", "--forever", "--store", url),
        ("retain", "trades", "--older-than", "2020-01-01", "--always", "--yes", "--store", url),
        ("upkeep", "--store", "memory://"),
        ("copy", "--from", f"{url}&segments=/nowhere", "--to", url),
    ):
        ended = zvtc(*words)
        assert ended.code == 2, (words, ended.out, ended.err)
        assert ended.out == ""
        assert ended.err.startswith("error: "), ended.err
        assert ended.err.count("\n") == 1, ended.err
        assert "horse" not in ended.err


def test_old_rows_are_let_go_when_one_says_so(url: str, zvtc: Run) -> None:
    zvtc("migrate", "--store", url)
    ended = zvtc("retain", "trades", "--older-than", "90d", "--yes", "--store", url, "--json")
    assert ended.code == 0, ended.err
    kept_from = json.loads(ended.out)["kept_from"] / 1e6
    assert abs(kept_from - (time.time() - 90 * DAY_S)) < 600


def test_a_rule_of_retention_is_kept_shown_applied_and_lifted(url: str, zvtc: Run) -> None:
    zvtc("migrate", "--store", url)
    made = zvtc("retain", "trades", "--older-than", "90d", "--always", "--yes", "--store", url)
    assert made.code == 0, made.err
    assert "trades are kept for 90 days" in zvtc("status", "--offline", "--store", url).out
    done = json.loads(zvtc("upkeep", "--store", url, "--json").out)
    assert done["kept_from"].keys() == {"trades"}
    assert (done["filed_rows"], done["freed_bytes"]) == (0, 0)
    assert zvtc("retain", "trades", "--forever", "--store", url).code == 0
    words = zvtc("upkeep", "--store", url)
    assert words.out == "0 rows moved into files, 0 bytes freed\n"
