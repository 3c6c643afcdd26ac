"""Rows: one table a kind, hypertables where TimescaleDB is there, else partitioned by time."""

from typing import Final

from alembic import op

from zvt_crypto.store.timescale.migrations import server

revision: str = "0002"
down_revision: str | None = "0001"

# Texts in keys sort by their bytes, as everywhere else.
_TABLES: Final = {
    "candles": """
        open double precision NOT NULL,
        high double precision NOT NULL,
        low double precision NOT NULL,
        close double precision NOT NULL,
        volume double precision NOT NULL,
        quote_volume double precision,
        trade_count bigint,
        taker_buy_volume double precision,""",
    "trades": """
        trade_id text COLLATE "C" NOT NULL,
        price double precision NOT NULL,
        size double precision NOT NULL,
        side text NOT NULL,
        fills bigint,""",
    "quotes": """
        bid_price double precision,
        bid_size double precision,
        ask_price double precision,
        ask_size double precision,
        sequence bigint NOT NULL,""",
    "funding": """
        funding_rate double precision NOT NULL,
        interval_hours double precision,
        mark_price double precision,""",
    "mark_prices": """
        mark_price double precision NOT NULL,
        index_price double precision,
        predicted_rate double precision,
        next_funding_time timestamptz,""",
    "open_interest": """
        open_interest double precision NOT NULL,""",
    "liquidations": """
        liquidation_id text COLLATE "C" NOT NULL,
        price double precision NOT NULL,
        size double precision NOT NULL,
        side text NOT NULL,""",
}
_KEYS: Final = {"trades": ", trade_id", "quotes": ", sequence", "liquidations": ", liquidation_id"}
# How much time a chunk holds: its index should fit into memory beside the others' newest.
_CHUNKS: Final = {
    "candles": "7 days",
    "trades": "1 day",
    "quotes": "1 day",
    "mark_prices": "1 day",
    "funding": "365 days",
    "open_interest": "30 days",
    "liquidations": "7 days",
}


def upgrade() -> None:
    """Make the tables, of the best kind there is."""
    on_timescale = server.has_timescale()
    for name, columns in _TABLES.items():
        partitioned = "" if on_timescale else ' PARTITION BY RANGE ("timestamp")'
        op.execute(
            f"CREATE TABLE {name} (series_id integer NOT NULL, "
            f'"timestamp" timestamptz NOT NULL,{columns} known_us bigint NOT NULL, '
            f'PRIMARY KEY (series_id, "timestamp"{_KEYS.get(name, "")})){partitioned}'
        )
        if on_timescale:
            op.execute(
                f"SELECT create_hypertable('{name}', 'timestamp', chunk_time_interval => "
                f"INTERVAL '{_CHUNKS[name]}', create_default_indexes => false)"
            )
    server.note("layout", "hypertable" if on_timescale else "partition")


def downgrade() -> None:
    """Remove the tables and all that is in them."""
    for name in _TABLES:
        op.execute(f"DROP TABLE {name}")
    server.forget("layout")
