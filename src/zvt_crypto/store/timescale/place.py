"""Where a server store is: its URL, taken apart into what libpq wants and what is ours."""

import re
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

import msgspec

from zvt_crypto.core.errors import BadStore

SCHEMES: Final = ("postgresql", "postgres", "timescale")

_SCHEMA: Final = "zvtc"
_NAME: Final = re.compile(r"[a-z_][a-z0-9_]{0,30}")
_FLAGS: Final = {"on": True, "true": True, "1": True, "off": False, "false": False, "0": False}


class Place(msgspec.Struct, frozen=True):
    """A schema of a database.

    Attributes:
        conninfo: for libpq; may hold a password, so it is never shown.
        shown: the URL without secrets.
        schema: where our tables are.
        timescaledb: whether to use the extension where the server has it.
        segments: folder or bucket of the history; None leaves it where the store has it.
    """

    conninfo: str
    shown: str
    schema: str = _SCHEMA
    timescaledb: bool = True
    segments: str | None = None

    def __repr__(self) -> str:
        return f"Place({self.shown!r})"


def parse_place(url: str) -> Place:
    """Return the place a URL names: `postgresql://user:password@host:5432/database?schema=zvtc`.

    Beside libpq's own parameters (`sslmode` and the like) it may say `schema`, `timescaledb=off`,
    and `segments=`: a folder or `s3://bucket/prefix` that the history goes to.

    Raises:
        BadStore: the URL is none of these.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise BadStore(
            "the URL of the store cannot be read: its port is no number",
            remedy="Write it as postgresql://user:password@host:5432/database, "
            "with special characters of the password as %XX",
        ) from None
    ours: dict[str, str] = {}
    libpq: list[tuple[str, str]] = []
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name in ("schema", "segments", "timescaledb"):
            ours[name] = value
        else:
            libpq.append((name, value))
    schema = ours.get("schema", _SCHEMA)
    if not _NAME.fullmatch(schema):
        raise BadStore(
            f"{schema!r} cannot be the schema of a store",
            remedy="Use lower-case letters, digits and underscores, at most 31",
        )
    flag = ours.get("timescaledb", "on").lower()
    if flag not in _FLAGS:
        raise BadStore(
            f"timescaledb={flag} in the URL of the store means nothing",
            remedy="Write timescaledb=off to do without the extension, or leave it out",
        )
    host = parts.hostname or ""
    where = f"[{host}]" if ":" in host else host
    if port is not None:
        where += f":{port}"
    user = f"{quote(parts.username)}@" if parts.username else ""
    kept = [(name, value) for name, value in libpq if "password" not in name]
    kept += list(ours.items())
    shown = urlunsplit(("postgresql", user + where, parts.path, urlencode(kept, safe=":/"), ""))
    return Place(
        conninfo=urlunsplit(("postgresql", parts.netloc, parts.path, urlencode(libpq), "")),
        shown=shown,
        schema=schema,
        timescaledb=_FLAGS[flag],
        segments=_segments(ours.get("segments")),
    )


def _segments(asked: str | None) -> str | None:
    """Return the place of segments; folders in full, as programs are started from everywhere."""
    if not asked:
        return None
    if "://" not in asked:
        return str(Path(asked).expanduser().absolute())
    if not asked.startswith("s3://"):
        raise BadStore(
            f"{asked!r} is no place for segments", remedy="Write a folder or s3://bucket/prefix"
        )
    return asked.rstrip("/")
