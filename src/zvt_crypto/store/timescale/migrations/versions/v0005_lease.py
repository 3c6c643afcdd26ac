"""Leases: who works on what. Not logged: after a crash of the server they are taken anew."""

from alembic import op

revision: str = "0005"
down_revision: str | None = "0004"


def upgrade() -> None:
    """Make the table."""
    op.execute(
        """CREATE UNLOGGED TABLE lease (
            name text COLLATE "C" PRIMARY KEY,
            holder text NOT NULL,
            expires_us bigint NOT NULL,
            note text NOT NULL
        ) WITH (fillfactor = 50)"""
    )


def downgrade() -> None:
    """Remove the table."""
    op.execute("DROP TABLE lease")
