"""What the catalog says of a series, remembered from one commit to the next.

A live stream commits to the same hundreds of series all day. What it needs to know of them, it
has written itself the last time, unless somebody else has written since: every commit moves the
catalog's clock, also those of other processes, so its time tells.
"""

import json
import threading
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from zvt_crypto.core.ledger import Coverage
from zvt_crypto.core.series import Series
from zvt_crypto.store.intake.fields import series_key
from zvt_crypto.store.lake import coverage
from zvt_crypto.store.lake.catalog import Transaction, find_series

# Some kilobytes for each ten of them; beyond, remembering starts anew.
_MOST: Final = 20_000


class State(msgspec.Struct, frozen=True):
    """A series as a commit finds it; `tail` is the last entry of its ledger."""

    id: int
    hot_rows: int = 0
    last_us: int | None = None
    tail: Coverage | None = None


class States:
    """Reads the states of series, from memory where nothing has changed since."""

    def __init__(self) -> None:
        """Remember nothing yet."""
        self._guard = threading.Lock()
        self._ids: dict[Series, int] = {}
        self._known: dict[Series, State] = {}
        self._as_of_us = -1

    def read(self, transaction: Transaction, wanted: Sequence[Series]) -> list[State]:
        """Return the state of each series; one that is not in the catalog yet is entered."""
        with self._guard:
            known = self._known if self._as_of_us == transaction.began_us else {}
            found = [known.get(series) for series in wanted]
        unknown = [series for series, state in zip(wanted, found, strict=True) if state is None]
        if not unknown:
            return [state for state in found if state is not None]
        fresh = iter(self._load(transaction, unknown))
        return [next(fresh) if state is None else state for state in found]

    def remember(self, transaction: Transaction, states: Mapping[Series, State | None]) -> None:
        """Take over states as a transaction that has ended left them; None is to be read again."""
        with self._guard:
            if self._as_of_us > transaction.ended_us:
                return  # another thread has committed and come here since
            if self._as_of_us != transaction.began_us or len(self._known) > _MOST:
                self._known.clear()
            for series, state in states.items():
                if state is None:
                    self._known.pop(series, None)
                else:
                    self._known[series] = state
                    self._ids[series] = state.id
            self._as_of_us = transaction.ended_us

    def _load(self, transaction: Transaction, wanted: Sequence[Series]) -> list[State]:
        connection = transaction.connection
        ids: list[int] = []
        for series in wanted:
            # A number once given stays; what was entered and rolled back was never remembered.
            series_id = self._ids.get(series) or find_series(connection, series)
            if series_id is None:
                series_id = connection.execute(
                    "INSERT INTO series (exchange, symbol, kind, interval) VALUES (?, ?, ?, ?)",
                    series_key(series),
                ).lastrowid
            ids.append(series_id or 0)
        rows = connection.execute(
            "SELECT id, hot_rows, last_us FROM series WHERE id IN (SELECT value FROM json_each(?))",
            (json.dumps(ids),),
        )
        tails = coverage.tails(connection, ids)
        states = {
            key: State(key, hot_rows, last_us, tails.get(key)) for key, hot_rows, last_us in rows
        }
        return [states[series_id] for series_id in ids]
