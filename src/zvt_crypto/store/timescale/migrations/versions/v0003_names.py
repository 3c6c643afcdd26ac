"""Views that say exchange, symbol and interval beside every row, for people and their tools."""

from typing import Final

from alembic import op

revision: str = "0003"
down_revision: str | None = "0002"

_ROWS: Final = {
    "candles": 's.interval, r."timestamp", r.open, r.high, r.low, r.close, r.volume, '
    "r.quote_volume, r.trade_count, r.taker_buy_volume",
    "trades": 'r."timestamp", r.trade_id, r.price, r.size, r.side, r.fills',
    "quotes": 'r."timestamp", r.bid_price, r.bid_size, r.ask_price, r.ask_size, r.sequence',
    "funding": 'r."timestamp", r.funding_rate, r.interval_hours, r.mark_price',
    "mark_prices": 'r."timestamp", r.mark_price, r.index_price, r.predicted_rate, '
    "r.next_funding_time",
    "open_interest": 'r."timestamp", r.open_interest',
    "liquidations": 'r."timestamp", r.liquidation_id, r.price, r.size, r.side',
}
_COVERAGE: Final = (
    "CREATE VIEW named_coverage AS SELECT s.exchange, s.symbol, s.kind, s.interval, "
    'at_us(c.start_us) AS "start", at_us(c.end_us) AS "end", c.verdict, c.source, c.rows, '
    "c.digest, at_us(c.written_us) AS written FROM coverage c JOIN series s ON s.id = c.series_id"
)


def upgrade() -> None:
    """Make the views."""
    for name, columns in _ROWS.items():
        op.execute(
            f"CREATE VIEW named_{name} AS SELECT s.exchange, s.symbol, {columns} "
            f"FROM {name} r JOIN series s ON s.id = r.series_id"
        )
    op.execute(_COVERAGE)


def downgrade() -> None:
    """Remove the views."""
    for name in ("coverage", *_ROWS):
        op.execute(f"DROP VIEW named_{name}")
