"""The views of coarser candles are brought up to date two thousand bars at a time.

Newer versions of TimescaleDB split a refresh into transactions, by default of ten bars and less:
after one late hour two years ago 2.23 worked through all in between for minutes. In one go, years
of hundreds of series would be one transaction. Versions before 2.19 take no notice.
"""

from alembic import op

from zvt_crypto.store.timescale.migrations import server

revision: str = "0008"
down_revision: str | None = "0007"

_JOBS = """
FROM _timescaledb_config.bgw_job j JOIN _timescaledb_catalog.continuous_agg a
    ON a.mat_hypertable_id = (j.config ->> 'mat_hypertable_id')::integer
WHERE a.user_view_schema = current_schema
    AND j.proc_name = 'policy_refresh_continuous_aggregate'
"""


def upgrade() -> None:
    """Set the size, where there are such views."""
    _configure("""j.config || '{"buckets_per_batch": 2000}'""")


def downgrade() -> None:
    """Leave it to the server again."""
    _configure("j.config - 'buckets_per_batch'")


def _configure(config: str) -> None:
    if server.setting("features") == "compression aggregates":
        op.execute(f"SELECT alter_job(j.id, config => {config}) {_JOBS}".replace(":", "\\:"))
