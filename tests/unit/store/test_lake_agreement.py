"""Lines of verdicts in the catalog, compared with a plain dictionary."""

import sqlite3

from hypothesis import given, settings
from hypothesis import strategies as st

from zvt_crypto.core.interval import Interval
from zvt_crypto.core.ledger import Source
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.reconcile import Agreement, Reconciled
from zvt_crypto.core.series import candle_series
from zvt_crypto.store.lake import agreement

T0 = 1_704_067_200_000_000


def opened() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("CREATE TABLE series (id INTEGER PRIMARY KEY)")
    connection.execute("INSERT INTO series VALUES (1), (2)")
    connection.execute(agreement.AGREEMENT_TABLE)
    return connection


verdicts = st.tuples(
    st.integers(0, 12),
    st.sampled_from([*[Agreement.MATCH] * 5, Agreement.DIFFERS, Agreement.UNBUILT]),
    st.sampled_from([Source.LIVE, Source.LIVE, Source.LIVE, Source.REST]),
)


@settings(max_examples=150)
@given(
    st.sampled_from([Interval.M1, Interval.H4, Interval.W1, Interval.MON1]),
    st.lists(st.lists(verdicts, max_size=6), max_size=8),
    st.integers(0, 12),
    st.integers(0, 12),
)
def test_lines_say_the_latest_of_each_bar(
    interval: Interval,
    commits: list[list[tuple[int, Agreement, Source]]],
    first: int,
    last: int,
) -> None:
    connection = opened()
    series = candle_series("okx", "X-Y", interval)
    start = interval.ceil(T0)
    known: dict[int, tuple[object, ...]] = {}
    for now, commit in enumerate(commits):
        made = [
            Reconciled(series, interval.shift(start, at), verdict, source=source)
            for at, verdict, source in commit
        ]
        agreement.put(connection, 1, interval, made, now)
        known |= {one.timestamp: (one.verdict.value, one.source.value) for one in made}

    def held(asked: Range | None) -> dict[object, tuple[object, ...]]:
        found = list(agreement.rows(connection, 1, interval, asked))
        assert len({row[0] for row in found}) == len(found)
        return {row[0]: (row[1], row[5]) for row in found}

    asked = Range(interval.shift(start, first) + 1, interval.shift(start, last) + 1)
    assert held(None) == known
    assert list(held(None)) == sorted(known)
    assert held(asked) == {at: one for at, one in known.items() if asked.holds(at)}
    assert list(agreement.rows(connection, 2, interval, None)) == []


def test_a_day_of_matches_is_one_line() -> None:
    connection = opened()
    series = candle_series("okx", "X-Y", Interval.M1)
    for minute in range(1_440):
        one = Reconciled(series, T0 + minute * 60_000_000, Agreement.MATCH)
        agreement.put(connection, 1, Interval.M1, [one], minute)
    assert connection.execute("SELECT COUNT(*) FROM agreement").fetchone() == (1,)
    assert len(list(agreement.rows(connection, 1, Interval.M1, None))) == 1_440
