"""The catalog: series, ledger, blocks, instruments, quarantine, corrections, verdicts."""

from typing import Final

from alembic import op

revision: str = "0001"
down_revision: str | None = None

_UP: Final = (
    # Microseconds since 1970 as a time. Immutable, so that it may stand where an index is asked.
    """CREATE FUNCTION at_us(us bigint) RETURNS timestamptz
        LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
        RETURN timestamptz '1970-01-01 00:00:00+00' + us * interval '1 microsecond'""",
    """CREATE FUNCTION us_at(moment timestamptz) RETURNS bigint
        LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
        RETURN (extract(epoch FROM moment) * 1000000)::bigint""",
    # What holds for the whole store, such as where its rows are kept.
    "CREATE TABLE setting (name text PRIMARY KEY, value text NOT NULL)",
    # A third of each page stays free: lines of live series are updated all day, in place.
    """CREATE TABLE series (
        id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        exchange text NOT NULL,
        symbol text NOT NULL,
        kind text NOT NULL,
        interval text NOT NULL DEFAULT '',
        rows bigint NOT NULL DEFAULT 0,
        first_us bigint,
        last_us bigint,
        known_us bigint NOT NULL DEFAULT 0,
        UNIQUE (exchange, symbol, kind, interval)
    ) WITH (fillfactor = 70)""",
    """CREATE TABLE coverage (
        series_id integer NOT NULL REFERENCES series (id),
        start_us bigint NOT NULL,
        end_us bigint NOT NULL,
        verdict text NOT NULL,
        source text NOT NULL,
        rows bigint NOT NULL,
        digest text NOT NULL,
        written_us bigint NOT NULL,
        PRIMARY KEY (series_id, start_us),
        CHECK (end_us > start_us)
    ) WITH (fillfactor = 70)""",
    # Digests are two unsigned 64-bit sums, for which PostgreSQL has no type of their size.
    """CREATE TABLE blocks (
        series_id integer NOT NULL REFERENCES series (id),
        start_us bigint NOT NULL,
        first_us bigint NOT NULL,
        last_us bigint NOT NULL,
        rows bigint NOT NULL,
        low numeric(20, 0) NOT NULL,
        high numeric(20, 0) NOT NULL,
        PRIMARY KEY (series_id, start_us)
    ) WITH (fillfactor = 70)""",
    """CREATE TABLE instruments (
        exchange text NOT NULL,
        symbol text NOT NULL,
        valid_from bigint NOT NULL,
        valid_to bigint,
        payload json NOT NULL,
        PRIMARY KEY (exchange, symbol, valid_from)
    )""",
    # What was refused may be anything, also text that PostgreSQL does not take: kept as bytes.
    """CREATE TABLE quarantine (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        series_id integer NOT NULL REFERENCES series (id),
        timestamp_us bigint,
        reason text NOT NULL,
        raw bytea NOT NULL,
        written_us bigint NOT NULL,
        mark bytea NOT NULL UNIQUE
    )""",
    """CREATE TABLE corrections (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        series_id integer NOT NULL REFERENCES series (id),
        timestamp_us bigint NOT NULL,
        key text,
        old text NOT NULL,
        new text NOT NULL,
        known_us bigint NOT NULL,
        corrected_us bigint NOT NULL
    )""",
    "CREATE INDEX corrections_at ON corrections (series_id, timestamp_us)",
    """CREATE TABLE agreement (
        series_id integer NOT NULL REFERENCES series (id),
        first_us bigint NOT NULL,
        last_us bigint NOT NULL,
        verdict text NOT NULL,
        source text NOT NULL,
        differs text,
        built text,
        venue text,
        written_us bigint NOT NULL,
        PRIMARY KEY (series_id, first_us),
        CHECK (last_us >= first_us)
    ) WITH (fillfactor = 70)""",
)

_DOWN: Final = (
    "DROP TABLE agreement, corrections, quarantine, instruments, blocks, coverage, series, setting",
    "DROP FUNCTION us_at(timestamptz)",
    "DROP FUNCTION at_us(bigint)",
)


def upgrade() -> None:
    """Make the tables."""
    for statement in _UP:
        op.execute(statement)


def downgrade() -> None:
    """Remove the tables and all that is in them."""
    for statement in _DOWN:
        op.execute(statement)
