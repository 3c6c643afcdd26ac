"""Leases in PostgreSQL: a small table that needs no log, by the clock of the server."""

from collections.abc import Sequence
from typing import Final

from zvt_crypto.ports.lease import Lease
from zvt_crypto.store.timescale.database import Connection, Database

_US_PER_S: Final = 1_000_000
_NOW: Final = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
# In one order, so that two who want the same names wait for each other and never in a circle.
_TAKE: Final = f"""
INSERT INTO lease (name, holder, expires_us, note)
SELECT w.name, %(holder)s, {_NOW} + %(for_us)s, %(note)s
FROM unnest(%(names)s::text[]) AS w (name) ORDER BY 1
ON CONFLICT (name) DO UPDATE SET
    holder = excluded.holder, expires_us = excluded.expires_us, note = excluded.note
WHERE lease.holder = excluded.holder OR lease.expires_us <= {_NOW}
"""
_PROLONG: Final = f"""
UPDATE lease SET expires_us = {_NOW} + %(for_us)s
FROM (SELECT name FROM lease WHERE name = ANY(%(names)s) AND holder = %(holder)s
      AND expires_us > {_NOW} ORDER BY name FOR UPDATE) AS mine
WHERE lease.name = mine.name
"""
_MINE: Final = (
    f"SELECT name FROM lease WHERE holder = %(holder)s AND name = ANY(%(names)s) "
    f"AND expires_us > {_NOW}"
)
# Of those that were killed and that nobody took over; left to others if somebody is at it.
_SWEEP: Final = f"""
DELETE FROM lease WHERE name IN (
    SELECT name FROM lease WHERE expires_us <= {_NOW} FOR UPDATE SKIP LOCKED)
"""
_HELD: Final = (
    f"SELECT name, holder, expires_us, (expires_us - {_NOW})::float8 / 1000000, note "
    f"FROM lease WHERE expires_us > {_NOW} AND left(name, length(%(prefix)s)) = %(prefix)s "
    "ORDER BY name"
)


class LeaseTable:
    """The leases of one schema; every call is one transaction."""

    def __init__(self, database: Database) -> None:
        """Keep them in `database`."""
        self._database = database

    def acquire(self, names: Sequence[str], holder: str, for_s: float, note: str) -> set[str]:
        """Take what is free; see `Leases.acquire`."""
        return self._changed(_TAKE, names, holder, for_s, note)

    def renew(self, names: Sequence[str], holder: str, for_s: float) -> set[str]:
        """Prolong what is still held; see `Leases.renew`."""
        return self._changed(_PROLONG, names, holder, for_s, "")

    def release(self, names: Sequence[str], holder: str) -> None:
        """Give up; see `Leases.release`."""
        self._database.transact(
            lambda c: c.execute(
                "DELETE FROM lease WHERE holder = %s AND name = ANY(%s)", (holder, list(names))
            )
        )

    def held(self, prefix: str) -> list[Lease]:
        """Return what is held; see `Leases.held`."""
        found = self._database.snapshot(lambda c: c.execute(_HELD, {"prefix": prefix}).fetchall())
        return [Lease(*row) for row in found]

    def _changed(
        self, change: str, names: Sequence[str], holder: str, for_s: float, note: str
    ) -> set[str]:
        given = {
            "names": sorted(set(names)),
            "holder": holder,
            "for_us": round(for_s * _US_PER_S),
            "note": note,
        }

        def action(connection: Connection) -> set[str]:
            connection.execute(change.encode(), given)
            mine = {name for (name,) in connection.execute(_MINE.encode(), given)}
            connection.execute(_SWEEP.encode())
            return mine

        return self._database.transact(action)
