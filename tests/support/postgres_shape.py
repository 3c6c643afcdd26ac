"""What a schema is made of, so that two can be compared."""

import re
from typing import Final

import psycopg

from zvt_crypto.store.timescale.place import parse_place

_QUERIES: Final = {
    "columns": """
        SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
            a.attidentity, pg_get_expr(d.adbin, d.adrelid), n.collname
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
        LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
        LEFT JOIN pg_collation n ON n.oid = a.attcollation
        WHERE c.relnamespace = %(schema)s::regnamespace ORDER BY 1, a.attnum""",
    "relations": """
        SELECT relname, relkind::text, relpersistence::text, reloptions::text,
            pg_get_partkeydef(oid), CASE WHEN relkind = 'v' THEN pg_get_viewdef(oid) END
        FROM pg_class WHERE relnamespace = %(schema)s::regnamespace ORDER BY 1""",
    "constraints": """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid)
        FROM pg_constraint WHERE connamespace = %(schema)s::regnamespace ORDER BY 1, 2""",
    "indices": """
        SELECT tablename, indexname, indexdef FROM pg_indexes
        WHERE schemaname = %(schema)s ORDER BY 1, 2""",
    "functions": """
        SELECT proname, pg_get_functiondef(oid) FROM pg_proc
        WHERE pronamespace = %(schema)s::regnamespace ORDER BY 1""",
}
_POLICIES: Final = """
    SELECT hypertable_name, proc_name, config::text, schedule_interval::text
    FROM timescaledb_information.jobs WHERE hypertable_schema = %(schema)s ORDER BY 1, 2, 3"""
_HYPERTABLES: Final = """
    SELECT hypertable_name, column_name, time_interval::text
    FROM timescaledb_information.dimensions WHERE hypertable_schema = %(schema)s ORDER BY 1, 2"""
# Numbers that TimescaleDB gives its own tables in the order they are made.
_OWN_NUMBERS: Final = re.compile(r"(hypertable_|hypertable_id\\?\": ?|cagg_watermark\()\d+")


def shape_of(url: str) -> list[tuple[str, ...]]:
    """Return all tables, views, columns, indices, constraints, functions and settings."""
    schema = parse_place(url).schema
    with psycopg.connect(url.partition("?")[0]) as connection:
        found = dict(_QUERIES)
        if connection.execute(
            "SELECT 1 FROM pg_extension WHERE extname = 'timescaledb'"
        ).fetchall():
            found |= {"policies": _POLICIES, "hypertables": _HYPERTABLES}
        for name in ("setting", "alembic_version"):
            is_there = connection.execute(
                "SELECT to_regclass(%s)", (f"{schema}.{name}",)
            ).fetchone()
            if is_there != (None,):
                found[name] = f"SELECT '{name}', t::text FROM {schema}.{name} t ORDER BY 2"
        return [
            (what, *(_without(schema, value) for value in row))
            for what, query in found.items()
            for row in connection.execute(query.encode(), {"schema": schema}).fetchall()
        ]


def _without(schema: str, value: object) -> str:
    return _OWN_NUMBERS.sub(r"\1N", str(value).replace(schema, "SCHEMA"))
