"""Books: whole ones and their changes, one message a row, laid out as the other rows are.

Levels are arrays, not rows of their own: a message is written and read as one, and its forty
levels share one key and one row header.
"""

from typing import Final

from alembic import op

from zvt_crypto.store.timescale.migrations import server

revision: str = "0006"
down_revision: str | None = "0005"

_LEVELS: Final = """
        sequence bigint NOT NULL,
        bid_prices double precision[] NOT NULL,
        bid_sizes double precision[] NOT NULL,
        ask_prices double precision[] NOT NULL,
        ask_sizes double precision[] NOT NULL,"""
_TABLES: Final = {
    "book_snapshots": _LEVELS,
    "book_deltas": f"""{_LEVELS}
        prev_sequence bigint,
        first_sequence bigint,""",
}
# What it takes to pack a chunk: no book is repaired, so nothing comes late.
_COMPRESS_AFTER: Final = "3 days"


def upgrade() -> None:
    """Make the tables, of the kind the others are of, and the views that name their series."""
    on_timescale = server.setting("layout") == "hypertable"
    for name, columns in _TABLES.items():
        partitioned = "" if on_timescale else ' PARTITION BY RANGE ("timestamp")'
        op.execute(
            f"CREATE TABLE {name} (series_id integer NOT NULL, "
            f'"timestamp" timestamptz NOT NULL,{columns} known_us bigint NOT NULL, '
            f'PRIMARY KEY (series_id, "timestamp", sequence)){partitioned}'
        )
        if on_timescale:
            op.execute(
                f"SELECT create_hypertable('{name}', 'timestamp', "
                "chunk_time_interval => INTERVAL '1 day', create_default_indexes => false)"
            )
        op.execute(
            f"CREATE VIEW named_{name} AS SELECT s.exchange, s.symbol, {_columns(columns)} "
            f"FROM {name} r JOIN series s ON s.id = r.series_id"
        )
    if server.setting("features") == "compression aggregates":
        for name in _TABLES:
            op.execute(
                f"ALTER TABLE {name} SET (timescaledb.compress, "
                "timescaledb.compress_segmentby = 'series_id', "
                "timescaledb.compress_orderby = '\"timestamp\", sequence')"
            )
            op.execute(f"SELECT add_compression_policy('{name}', INTERVAL '{_COMPRESS_AFTER}')")


def downgrade() -> None:
    """Remove the tables and all that is in them, and what the catalog says of it."""
    kinds = ", ".join(f"'{name}'" for name in _TABLES)
    ids = f"(SELECT id FROM series WHERE kind IN ({kinds}))"
    for name in ("coverage", "blocks", "corrections", "quarantine"):
        op.execute(f"DELETE FROM {name} WHERE series_id IN {ids}")
    op.execute(f"DELETE FROM series WHERE kind IN ({kinds})")
    for name in _TABLES:
        op.execute(f"DROP VIEW named_{name}")
        op.execute(f"DROP TABLE {name}")


def _columns(declared: str) -> str:
    names = ["timestamp", *(line.split()[0] for line in declared.strip().splitlines())]
    return ", ".join(f'r."{name}"' for name in names)
