"""Reading files that a vacuum may take away."""

from collections.abc import Callable
from typing import Final, TypeVar

import pyarrow as pa

from zvt_crypto.core.errors import StoreCorrupt

_T = TypeVar("_T")

# A vacuum may remove a file between the manifest and the file; not several times over.
_ATTEMPTS: Final = 5


def retried(what: object, action: Callable[[], _T]) -> _T:
    """Return what `action` does; a vacuum may have removed a file it was about to read."""
    failure: Exception | None = None
    for _ in range(_ATTEMPTS):
        try:
            return action()
        except FileNotFoundError as e:
            failure = e
        except (OSError, pa.ArrowInvalid) as e:
            failure = e
            break
    raise StoreCorrupt(
        f"a segment of {what} cannot be read: {failure}",
        remedy="`zvtc verify` lists what is damaged, `zvtc repair` fetches it again",
    ) from failure
