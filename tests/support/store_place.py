"""Where tests keep their stores: in folders, or all of them on one server."""

import os
import uuid
from hashlib import blake2b
from pathlib import Path

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


def passing_store() -> str:
    """Return a store nobody looks into afterwards: in memory, or a new schema of the server."""
    return store_at(uuid.uuid4().hex) if os.environ.get(VARIABLE) else "memory://"
