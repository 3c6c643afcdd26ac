"""What TimescaleDB's community licence allows: compression, and coarser candles kept by the server.

Without the extension, or under its Apache licence, this revision does nothing. The facts behind the
statements were tried on TimescaleDB 2.11, 2.23 and 2.29; see docs/postgres.md.
"""

from typing import Final

from alembic import op

from zvt_crypto.store.timescale.migrations import server

revision: str = "0004"
down_revision: str | None = "0003"

# After this long a chunk is packed: later than most repairs come, which may still change it then.
_COMPRESS_AFTER: Final = {
    "candles": "30 days",
    "trades": "7 days",
    "quotes": "3 days",
    "mark_prices": "3 days",
    "open_interest": "60 days",
    "liquidations": "30 days",
}
_ORDER: Final = {"trades": ", trade_id", "quotes": ", sequence", "liquidations": ", liquidation_id"}

# Name, what it is made of, width of its buckets. Each from the finest before that divides it, so
# that a refresh reads few rows; weeks begin on Monday and months with the calendar.
_COARSER: Final = (
    ("candles_5m", "candles", "5 minutes"),
    ("candles_15m", "candles_5m", "15 minutes"),
    ("candles_30m", "candles_15m", "30 minutes"),
    ("candles_1h", "candles_30m", "1 hour"),
    ("candles_4h", "candles_1h", "4 hours"),
    ("candles_1d", "candles_4h", "1 day"),
    ("candles_1wk", "candles_1d", "1 week"),
    ("candles_1mon", "candles_1d", "1 month"),
)
_SUMS: Final = ("volume", "quote_volume", "trade_count", "taker_buy_volume")


def upgrade() -> None:
    """Switch on what there is."""
    if not server.is_community():
        return
    for name, after in _COMPRESS_AFTER.items():
        # The older spelling: newer versions take it, too.
        op.execute(
            f"ALTER TABLE {name} SET (timescaledb.compress, "
            f"timescaledb.compress_segmentby = 'series_id', "
            f"timescaledb.compress_orderby = '\"timestamp\"{_ORDER.get(name, '')}')"
        )
        op.execute(f"SELECT add_compression_policy('{name}', INTERVAL '{after}')")
    for name, source, width in _COARSER:
        op.execute(_view(name, source, width))
        # From the beginning of time: a late correction reaches every view. The newest bucket is
        # left to be computed while reading, or rows that come after a refresh would be missed.
        op.execute(
            f"SELECT add_continuous_aggregate_policy('{name}', start_offset => NULL, "
            f"end_offset => INTERVAL '{width}', schedule_interval => INTERVAL '10 minutes')"
        )
    server.note("features", "compression aggregates")


def downgrade() -> None:
    """Remove the views and unpack what was packed."""
    if server.setting("features") is None:
        return
    for name, _, _ in reversed(_COARSER):
        op.execute(f"DROP MATERIALIZED VIEW {name}")
    for name in _COMPRESS_AFTER:
        op.execute(f"SELECT remove_compression_policy('{name}', if_exists => true)")
        op.execute(
            f"SELECT decompress_chunk(c, if_compressed => true) FROM show_chunks('{name}') AS c"
        )
        op.execute(f"ALTER TABLE {name} SET (timescaledb.compress = false)")
    server.forget("features")


def _view(name: str, source: str, width: str) -> str:
    is_first = source == "candles"
    at = 'r."timestamp"'
    # Null as soon as any part is: a sum over some of them would be invented.
    sums = ", ".join(
        f"CASE WHEN count(*) = count(r.{column}) THEN sum(r.{column}){kind} END AS {column}"
        for column in _SUMS
        for kind in ["::bigint" if column == "trade_count" else ""]
    )
    rows = "count(*)" if is_first else "sum(r.minutes)::bigint"
    origin = "candles r JOIN series s ON s.id = r.series_id WHERE s.interval = '1m'"
    return (
        f"CREATE MATERIALIZED VIEW {name} "
        "WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS "
        f"SELECT r.series_id, time_bucket(INTERVAL '{width}', {at}) AS \"timestamp\", "
        f"first(r.open, {at}) AS open, max(r.high) AS high, min(r.low) AS low, "
        f"last(r.close, {at}) AS close, {sums}, {rows} AS minutes "
        f"FROM {origin if is_first else f'{source} r'} "
        f"GROUP BY r.series_id, time_bucket(INTERVAL '{width}', {at}) WITH NO DATA"
    )
