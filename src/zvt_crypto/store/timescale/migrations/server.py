"""What revisions ask of the server they run on, also where they are only written down.

A script is printed for one server, whose facts are then given, and for the store as it will be when
the script has come so far: what it would have noted itself is remembered.
"""

from alembic import context, op
from sqlalchemy import text


def has_timescale() -> bool:
    """Return whether new tables of rows shall be hypertables."""
    if not context.config.attributes["timescaledb"]:
        return False
    if context.is_offline_mode():
        return bool(context.config.attributes["has_timescale"])
    asked = "SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb')"
    return bool(op.get_bind().execute(text(asked)).scalar())


def is_community() -> bool:
    """Return whether the store lies in hypertables, under the licence that lets them be packed."""
    if setting("layout") != "hypertable":
        return False
    if context.is_offline_mode():
        return bool(context.config.attributes["is_community"])
    asked = "SELECT current_setting('timescaledb.license', true) = 'timescale'"
    return bool(op.get_bind().execute(text(asked)).scalar())


def setting(name: str) -> str | None:
    """Return what an earlier revision noted."""
    if context.is_offline_mode():
        return context.config.attributes["settings"].get(name)
    asked = text("SELECT value FROM setting WHERE name = :name")
    return op.get_bind().execute(asked, {"name": name}).scalar()


def note(name: str, value: str) -> None:
    """Note something for later revisions and for the store; both are plain words."""
    op.execute(f"INSERT INTO setting VALUES ('{name}', '{value}')")
    if context.is_offline_mode():
        context.config.attributes["settings"][name] = value


def forget(name: str) -> None:
    """Take back what was noted."""
    op.execute(f"DELETE FROM setting WHERE name = '{name}'")
    if context.is_offline_mode():
        context.config.attributes["settings"].pop(name, None)
