"""The server store: catalog and rows in PostgreSQL, better with TimescaleDB, for many machines.

A commit locks the series it speaks of, compares its rows with those held, copies what is new, and
moves the ledger, all in one transaction of the server. Beside the rows lie blocks: how many rows of
a series a stretch of time holds, and their digest. They answer for the rows wherever the ledger is
cut, and let what is there already be recognised without reading it.

Tables are hypertables where the server has TimescaleDB, and native range partitions elsewhere.
"""

from zvt_crypto.store.timescale.store import TimescaleStore

__all__ = ["TimescaleStore"]
