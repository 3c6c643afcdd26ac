"""What Alembic runs: revisions inside one transaction, on the connection it is given.

Without one it writes down what it would run there.
"""

from alembic import context
from sqlalchemy import text

SCHEMA: str = context.config.attributes["schema"]

if context.is_offline_mode():
    context.configure(
        dialect_name="postgresql",
        # Another style would write every percent sign twice.
        dialect_opts={"paramstyle": "named"},
        literal_binds=True,
        transactional_ddl=True,
        version_table_schema=SCHEMA,
    )
    with context.begin_transaction():
        context.execute(f"SELECT pg_advisory_xact_lock(hashtext('zvtc:{SCHEMA}'))")
        context.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
        context.execute(f"SET LOCAL search_path = {SCHEMA}, public")
        for statement in context.config.attributes["before"]:
            context.execute(statement)
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
