"""Leases in the catalog: a small table, and transactions that do not wait for the disk."""

import sqlite3
from collections.abc import Sequence
from typing import Final

from zvt_crypto.ports.lease import Lease
from zvt_crypto.store.lake.catalog import Catalog

_US_PER_S: Final = 1_000_000


class LeaseTable:
    """The leases of one catalog; every call is one transaction.

    The clock is the machine's, which all processes that share a SQLite file have in common.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def acquire(self, names: Sequence[str], holder: str, for_s: float, note: str) -> set[str]:
        """Take what is free; see `Leases.acquire`."""
        with self._catalog.lend() as (connection, now_us):
            # Expired ones go here, whosever they were: those of the killed would stay for ever.
            connection.execute("DELETE FROM lease WHERE expires_us <= ?", (now_us,))
            connection.executemany(
                "INSERT INTO lease VALUES (?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET "
                "expires_us = excluded.expires_us, note = excluded.note "
                "WHERE lease.holder = excluded.holder",
                [(name, holder, now_us + _us(for_s), note) for name in names],
            )
            return _mine(connection, holder) & set(names)

    def renew(self, names: Sequence[str], holder: str, for_s: float) -> set[str]:
        """Prolong what is still held; see `Leases.renew`."""
        with self._catalog.lend() as (connection, now_us):
            connection.execute("DELETE FROM lease WHERE expires_us <= ?", (now_us,))
            connection.executemany(
                "UPDATE lease SET expires_us = ? WHERE name = ? AND holder = ?",
                [(now_us + _us(for_s), name, holder) for name in names],
            )
            return _mine(connection, holder) & set(names)

    def release(self, names: Sequence[str], holder: str) -> None:
        """Give up; see `Leases.release`."""
        with self._catalog.lend() as (connection, _):
            connection.executemany(
                "DELETE FROM lease WHERE name = ? AND holder = ?",
                [(name, holder) for name in names],
            )

    def held(self, prefix: str) -> list[Lease]:
        """Return what is held; see `Leases.held`."""
        with self._catalog.snapshot() as connection:
            now_us = self._catalog.now_us()
            found = connection.execute(
                "SELECT name, holder, expires_us, note FROM lease "
                "WHERE expires_us > ? AND substr(name, 1, length(?)) = ? ORDER BY name",
                (now_us, prefix, prefix),
            ).fetchall()
        return [
            Lease(name, holder, expires_us, (expires_us - now_us) / _US_PER_S, note)
            for name, holder, expires_us, note in found
        ]


def _mine(connection: sqlite3.Connection, holder: str) -> set[str]:
    return {
        name for (name,) in connection.execute("SELECT name FROM lease WHERE holder = ?", (holder,))
    }


def _us(seconds: float) -> int:
    return round(seconds * _US_PER_S)
