"""`zvtc copy` inside the test: what is meant, what is refused, what is told."""

import asyncio
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from copy_world import CANDLES, M1, T0, candles, observed, write

from zvt_crypto.core.ranges import ALWAYS
from zvt_crypto.store.lake import LakeStore

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("copy") / "source"
    asyncio.run(write(folder))
    return folder


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    """Return a folder with the source in it."""
    shutil.copytree(written, tmp_path / "source")
    return tmp_path


def told(ended: Any) -> Any:
    """Return the one object on standard output."""
    assert ended.out.count("\n") == 1
    return json.loads(ended.out)


async def compare(first: Path, second: Path, *, all_of_it: bool = True) -> int:
    """Check that what the second holds is what the first holds; return how many rows that is."""
    one, other = await LakeStore.open(first), await LakeStore.open(second)
    rows = 0
    try:
        for series in await (one if all_of_it else other).keeping():
            held = await other.seal(series, ALWAYS)
            if all_of_it:
                assert held == await one.seal(series, ALWAYS)
                assert (await other.corrections(series)).equals(await one.corrections(series))
            rows += held.rows
        assert list((await other.verify()).faults) == []
    finally:
        await one.close()
        await other.close()
    return rows


@pytest.mark.usefixtures("folder")
def test_series_and_a_range_of_them(zvtc: Run) -> None:
    ended = zvtc(
        "copy", "--from", "source", "--to", "there",
        "binance:COIN1*:candles:1m", "binance:COIN2-USDT", "--since", "2024-01-10",
        "--until", "2024-01-12", "--json",
    )  # fmt: skip

    assert ended.code == 0, ended.err
    assert [(one["symbol"], one["rows"]) for one in told(ended)["series"]] == [
        ("COIN1-USDT", 2_880),
        ("COIN2-USDT", 2_880),
    ]
    covered = told(zvtc("coverage", "--store", "there", "--json"))["ranges"]
    assert {(one["start"], one["end"]) for one in covered} == {
        ("2024-01-10T00:00:00Z", "2024-01-12T00:00:00Z")
    }


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--from", "nowhere", "--to", "there"), 2, "there is no store at nowhere"),
        (("--from", "source", "--to", "there", "bybit"), 2, "holds nothing of 'bybit'"),
        (("--from", "source", "--to", "there", "binance:*:bars"), 2, "unknown kind 'bars'"),
        (("--from", "source", "--to", "memory://"), 2, "begins and ends with the command"),
        (("--from", "source", "--to", "there", "--since", "2024-02", "--until", "2024-01"), 2,
         "the range is reversed"),
        (("--from", "source"), 2, "Missing option '--to'"),
        (("--from", "source", "--to", "./source/"), 2, "cannot be copied to itself"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_told_in_a_line_and_nothing_is_made(
    zvtc: Run, folder: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    ended = zvtc("copy", *arguments)

    assert (ended.code, ended.out) == (code, "")
    assert said in ended.err
    assert ended.err.count("\n") == 1
    assert not (folder / "there").exists()


def test_a_source_that_is_damaged_or_no_store_makes_nothing(zvtc: Run, folder: Path) -> None:
    (folder / "stuff").mkdir()
    (folder / "stuff" / "letter.txt").write_text("dear")
    (folder / "broken").mkdir()
    (folder / "broken" / "catalog.sqlite").write_bytes(b"SQLite format 3\0" + b"\xff" * 4_096)

    for name in ("stuff", "broken"):
        ended = zvtc("copy", "--from", name, "--to", "there")
        assert ended.code in (1, 2)
        assert ended.err.count("\n") == 1
    assert not (folder / "there").exists()


def test_other_data_at_the_target_ends_with_1_and_stays(zvtc: Run, folder: Path) -> None:
    # given a target with another value of one minute
    async def strange() -> None:
        store = await LakeStore.open(folder / "there")
        await store.commit([observed(CANDLES[1], candles(T0, 1, 3.0), T0, T0 + M1)])
        await store.close()

    asyncio.run(strange())

    # when the source is copied, and when it is to win
    ended = zvtc("copy", "--from", "source", "--to", "there", "--json")
    replaced = zvtc("copy", "--from", "source", "--to", "there", "--replace")

    # then the series is named, the others are there; and then all of them are
    states = {one["symbol"]: one["status"] for one in told(ended)["series"]}
    assert (ended.code, told(ended)["status"]) == (1, "different")
    assert states["COIN1-USDT"] == "stopped"
    assert states["COIN2-USDT"] == states["ETH-USDT-PERP"] == "complete"
    error = next(one["error"] for one in told(ended)["series"] if "error" in one)
    assert error["code"] == "copy_refused"
    assert "1 rows with other values" in error["message"]
    assert "--replace" in error["remedy"]
    assert replaced.code == 0, replaced.out
    asyncio.run(compare(folder / "source", folder / "there"))


def test_damage_at_the_source_is_told_and_not_passed_on(zvtc: Run, folder: Path) -> None:
    victim = next((folder / "source" / "segments" / "trades").rglob("*.parquet"))
    body = bytearray(victim.read_bytes())
    body[len(body) // 3] ^= 0xFF
    victim.write_bytes(body)

    ended = zvtc("copy", "--from", "source", "--to", "there", "okx", "--json")

    (series,) = told(ended)["series"]
    assert ended.code == 1
    assert (series["status"], series["error"]["code"]) == ("stopped", "store_corrupt")
    assert "repair" in series["error"]["remedy"]
