"""Texts from outside, on every engine: kept as they came, or refused before anything is changed.

PostgreSQL keeps no text with the character U+0000, and nothing can encode half of a character.
"""

import itertools
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zvt_crypto.core.errors import DataError
from zvt_crypto.core.instrument import Instrument, Market
from zvt_crypto.core.ledger import Source
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.schema import SCHEMAS, TIMESTAMP
from zvt_crypto.core.series import Kind, Series
from zvt_crypto.core.validation import validate_trades
from zvt_crypto.ports.connector import Rejected
from zvt_crypto.ports.store import Batch, Store
from zvt_crypto.store.lake import LakeStore
from zvt_crypto.store.memory import MemoryStore
from zvt_crypto.store.timescale import TimescaleStore

T0 = 1_704_067_200_000_000  # 2024-01-01
ALL = Range(0, 1 << 60)
TRADES = Series("bybit", "BTC-USDT-PERP", Kind.TRADES)

_NUMBERS = itertools.count()
# Characters that tell engines apart, more often than chance would bring them.
_ODD = st.sampled_from(["\0", "\x01", "'", '"', "\\", "\\x00", "\\u0000", "é", "🂡", "\ufffe", "%s"])
_HALF = st.sampled_from(["\ud800", "\udbff", "\udc00", "\udfff"])
_WHOLE = st.characters(exclude_categories=["Cs"])
_ANY_TEXT = st.lists(_ODD | _HALF | _WHOLE, max_size=6).map("".join)
_KEPT_TEXT = st.lists((_ODD | _WHOLE).filter(lambda c: c != "\0"), min_size=1, max_size=6).map(
    "".join
)


@pytest.fixture(params=["memory", "lake", "postgres", "timescale"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    if request.param == "memory":
        opened: Store = MemoryStore()
    elif request.param == "lake":
        opened = await LakeStore.open(tmp_path / "lake")
    else:
        new_url = request.getfixturevalue(f"{request.param}_url")
        opened = await TimescaleStore.open(new_url())
    yield opened
    await opened.close()


def trades(ids: Sequence[str], price: float = 1.0) -> pa.Table:
    """Return a trade a microsecond."""
    count = len(ids)
    columns = [
        pa.array(range(T0, T0 + count), pa.int64()).cast(TIMESTAMP),
        pa.array(ids, pa.string()),
        pa.array([price] * count, pa.float64()),
        pa.array([0.25] * count),
        pa.array(["buy"] * count, pa.string()),
        pa.nulls(count, pa.int64()),
    ]
    return pa.table(columns, schema=SCHEMAS[Kind.TRADES])


def instrument(symbol: str, native: str = "N", **more: str) -> Instrument:
    names = {"base": "B", "quote": "USD", **more}
    return Instrument(
        exchange="okx",
        symbol=symbol,
        native=native,
        base=names["base"],
        quote=names["quote"],
        settle=names.get("settle"),
        market=Market.SPOT,
        aliases=(names.get("alias", "x"),),
    )


async def test_a_trade_id_with_a_zero_is_quarantined_and_the_rest_is_stored(store: Store) -> None:
    # given a reply in which one id holds a character that no exchange has reason to send
    checked = validate_trades(trades(["7", "a\0b", "8"]), None)
    batch = Batch(series=TRADES, table=checked.table, source=Source.REST, rejected=checked.rejected)

    # when it is committed, twice
    first, again = [(await store.commit([batch]))[0] for _ in range(2)]

    # then two rows are stored, the third is kept with its reason and every character
    assert (first.inserted, again.unchanged) == (2, 2)
    assert (await store.read(TRADES, ALL))["trade_id"].to_pylist() == ["7", "8"]
    refused = await store.quarantine(TRADES)
    assert refused["reason"].to_pylist() == ["bad_id"]
    assert "trade_id=a\0b price=1.0" in refused["raw"][0].as_py()


async def test_rows_nobody_validated_are_refused_and_nothing_is_changed(store: Store) -> None:
    other = Series("bybit", "ETH-USDT-PERP", Kind.TRADES)
    fine = Batch(series=other, table=trades(["1"]), source=Source.REST)
    for odd in ("a\0", "\0", "x" * 40 + "\0é"):
        wrong = Batch(series=TRADES, table=trades(["7", odd]), source=Source.REST)
        with pytest.raises(DataError, match=r"1 rows of trades hold the character U\+0000"):
            await store.commit([fine, wrong])
    assert await store.series() == []


@pytest.mark.parametrize("field", ["symbol", "native", "base", "quote", "settle", "alias"])
async def test_an_instrument_of_an_unkeepable_name_is_refused(store: Store, field: str) -> None:
    for odd in ("A\0", "A\ud800", "\udfffé"):
        one = instrument(**{"symbol": "A-USD", field: odd})
        with pytest.raises(DataError, match=r"U\+0000"):
            await store.write_instruments("okx", [instrument("B-USD"), one])
    assert await store.instruments() == []


@settings(
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    refusals=st.lists(st.tuples(_ANY_TEXT, _ANY_TEXT), max_size=4),
    ids=st.lists(_KEPT_TEXT, max_size=5, unique=True),
    names=st.lists(_KEPT_TEXT, max_size=5, unique=True),
)
async def test_any_other_text_comes_back_as_it_came(
    store: Store, refusals: list[tuple[str, str]], ids: list[str], names: list[str]
) -> None:
    # given rows refused for any reason, trades of any id, instruments of any name
    series = msgspec.structs.replace(TRADES, symbol=f"S{next(_NUMBERS)}-USDT")
    batch = Batch(
        series=series,
        table=trades(ids),
        source=Source.REST,
        rejected=[Rejected(T0, reason, raw) for reason, raw in refusals],
    )
    listed = [instrument(f"S{at}-USD", name, alias=name) for at, name in enumerate(names)]

    # when all of it is stored, and the prices are corrected
    await store.commit([batch])
    await store.commit([msgspec.structs.replace(batch, table=trades(ids, price=2.0))])
    await store.write_instruments("okx", listed)

    # then all of it comes back; half of a character, which is no text, as its escape
    assert (await store.read(series, ALL))["trade_id"].to_pylist() == ids
    assert sorted((await store.corrections(series))["key"].to_pylist()) == sorted(ids)
    refused = (await store.quarantine(series)).to_pylist()
    assert {(one["reason"], one["raw"]) for one in refused} == {
        (escaped(reason).replace("\0", "\\x00"), escaped(raw)) for reason, raw in refusals
    }
    assert await store.instruments("okx") == listed
    assert list((await store.verify([series])).faults) == []


def escaped(text: str) -> str:
    return "".join(f"\\u{ord(c):x}" if "\ud800" <= c <= "\udfff" else c for c in text)


@given(text=_ANY_TEXT, at=st.sampled_from(["name", "holder", "note", "prefix"]))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_leases_of_any_text_are_kept_or_refused_in_our_words(
    leases: TimescaleStore, text: str, at: str
) -> None:
    # given what a server may keep, or not
    unkeepable = "\0" in text or escaped(text) != text
    given = {"name": "n", "holder": "h", "note": "", "prefix": "", at: text}

    async def work() -> None:
        # when a lease is taken and looked for
        name, holder = given["name"], given["holder"]
        assert await leases.acquire([name], holder, 60.0, given["note"]) == {name}
        held = await leases.held(given["prefix"])
        # then it is as it was given
        if name.startswith(given["prefix"]):
            assert [(one.name, one.holder, one.note) for one in held] == [
                (name, holder, given["note"])
            ]
        await leases.release([name], holder)

    if unkeepable:
        with pytest.raises(DataError, match=r"PostgreSQL cannot keep a text"):
            await work()
        await leases.release(["n"], "h")
    else:
        await work()


@pytest.fixture
async def leases(postgres_url: object) -> AsyncIterator[TimescaleStore]:
    assert callable(postgres_url)
    opened = await TimescaleStore.open(str(postgres_url()))
    yield opened
    await opened.close()
