"""History in files: the manifest of segments, and the files that are being written."""

from typing import Final

from alembic import context, op
from sqlalchemy import text

from zvt_crypto.core.errors import BadStore
from zvt_crypto.store.timescale.migrations import server

revision: str = "0007"
down_revision: str | None = "0006"

_UP: Final = (
    """CREATE TABLE segments (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        series_id integer NOT NULL REFERENCES series (id),
        first_us bigint NOT NULL,
        last_us bigint NOT NULL,
        rows bigint NOT NULL,
        low numeric(20, 0) NOT NULL,
        high numeric(20, 0) NOT NULL,
        bytes bigint NOT NULL,
        path text NOT NULL UNIQUE,
        retired_us bigint,
        CHECK (last_us >= first_us)
    )""",
    "CREATE INDEX segments_at ON segments (series_id, last_us) WHERE retired_us IS NULL",
    "CREATE INDEX segments_retired ON segments (retired_us) WHERE retired_us IS NOT NULL",
    # Noted before a file is written: one that no commit comes to name is found, and removed.
    "CREATE TABLE drafts (path text PRIMARY KEY, written_us bigint NOT NULL)",
    # Where the history is, is chosen once: a store that has some has it in its tables.
    "INSERT INTO setting SELECT 'segments_url', '' WHERE EXISTS (SELECT FROM series)",
)

_FILED: Final = "SELECT EXISTS (SELECT FROM segments WHERE retired_us IS NULL)"
_REASON: Final = "this store has rows in files, which schema 0006 knows nothing of"
_REMEDY: Final = "Copy it with `zvtc copy` into a store without segments= first"
# The same in a script that somebody else runs.
_REFUSAL: Final = f"""
DO $$ BEGIN IF ({_FILED}) THEN RAISE EXCEPTION '{_REASON}' USING HINT = '{_REMEDY}'; END IF; END $$
"""


def upgrade() -> None:
    """Make the tables."""
    for statement in _UP:
        op.execute(statement)


def downgrade() -> None:
    """Remove the tables; refused while rows lie in files, which nothing would find any more.

    Raises:
        BadStore: there are such rows.
    """
    if context.is_offline_mode():
        op.execute(_REFUSAL)
    elif op.get_bind().execute(text(_FILED)).scalar():
        raise BadStore(_REASON, remedy=_REMEDY)
    op.execute("DROP TABLE drafts, segments")
    server.forget("segments_url")
