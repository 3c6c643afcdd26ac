"""Where tests keep their stores: in folders, or all of them on one server."""

import os
import uuid
from hashlib import blake2b
from pathlib import Path

import psycopg

VARIABLE = "ZVTC_TEST_STORE"
PREFIX = "place_"


def store_at(folder: Path | str) -> str:
    """Return the store of a test that would keep it in `folder`.

    That is the folder itself; or, when the environment names a server, a schema there that belongs
    to the folder.
    """
    url = os.environ.get(VARIABLE)
    if not url:
        return str(folder)
    mark = blake2b(str(Path(folder).absolute()).encode(), digest_size=8).hexdigest()
    return f"{url}?schema={PREFIX}{mark}"


def on_server() -> bool:
    """Return whether the stores of tests lie on a server."""
    return bool(os.environ.get(VARIABLE))


def is_made(place: str) -> bool:
    """Return whether there is anything at a place of `store_at`."""
    url, is_schema, name = place.partition("?schema=")
    if not is_schema:
        return Path(place).exists()
    with psycopg.connect(url) as connection:
        found = connection.execute(
            "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = %s)", (name,)
        ).fetchone()
    return found is not None and bool(found[0])


def passing_store() -> str:
    """Return a store nobody looks into afterwards: in memory, or a new schema of the server."""
    return store_at(uuid.uuid4().hex) if on_server() else "memory://"
