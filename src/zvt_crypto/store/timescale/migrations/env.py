"""What Alembic runs: revisions inside one transaction, on the connection it is given."""

from alembic import context
from sqlalchemy import text

SCHEMA: str = context.config.attributes["schema"]

if context.is_offline_mode():
    context.configure(dialect_name="postgresql", literal_binds=True, version_table_schema=SCHEMA)
    with context.begin_transaction():
        context.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
        context.execute(f"SET LOCAL search_path = {SCHEMA}, public")
        context.run_migrations()
else:
    connection = context.config.attributes["connection"]
    # Two processes may open an empty database at once: the second finds it done.
    connection.execute(
        text("SELECT pg_advisory_xact_lock(hashtext(:name))"), {"name": f"zvtc:{SCHEMA}"}
    )
    connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
    connection.execute(text(f"SET LOCAL search_path = {SCHEMA}, public"))
    context.configure(connection=connection, version_table_schema=SCHEMA)
    context.run_migrations()
