"""Recorded REST replies, served for the requests they answered.

A line is `{"url": "...", "status": 200, "body": "..."}`. A request gets the reply recorded for its
path and parameters; if there is none, the one whose parameters differ in the number of rows alone,
then the one of another version of the path. Several replies to one request come in the order of
the file, the last of them for ever. Anything else is answered by the generated market. Bodies stay
in the file; only where they are is remembered.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import msgspec

from zvt_crypto.simulator.recording import DAMAGED, open_recorded
from zvt_crypto.simulator.venue import Reply

_SIZES: Final = ("limit", "sz", "depth")
_VERSION: Final = re.compile(r"/v\d+/")

Key = tuple[str, tuple[tuple[str, str], ...]]


class _Line(msgspec.Struct):
    url: str
    body: str
    status: int = 200
    method: str = "GET"


class RecordedReplies:
    """The REST replies of one exchange.

    Raises:
        ValueError: a file is not a recording of replies; one line says where.
    """

    def __init__(self) -> None:
        self._places: dict[Key, list[tuple[Path, int]]] = {}
        self._loose: dict[Key, Key] = {}
        self._used: dict[Key, int] = {}
        self.count = 0
        self.served = 0

    def load(self, path: Path) -> None:
        """Learn which replies a file has."""
        for number, line in _read(path):
            if line.method != "GET" or not line.url.startswith(("http:", "https:")):
                continue
            address = urlsplit(line.url)
            query = dict(parse_qsl(address.query, keep_blank_values=True))
            key = _key(address.path, query)
            self._places.setdefault(key, []).append((path, number))
            self.count += 1
            for loose in _spellings(address.path, query):
                self._loose.setdefault(loose, key)

    def find(self, path: str, query: Mapping[str, str]) -> Reply | None:
        """Return the next recorded reply to a request."""
        key = _key(path, query)
        if key not in self._places:
            spellings = (self._loose.get(one) for one in _spellings(path, query))
            found = next((one for one in spellings if one is not None), None)
            if found is None:
                return None
            key = found
        places = self._places[key]
        turn = self._used.get(key, 0)
        self._used[key] = turn + 1
        file, wanted = places[min(turn, len(places) - 1)]
        for number, line in _read(file):
            if number == wanted:
                self.served += 1
                return Reply(line.body.encode(), status=line.status)
        return None

    def describe(self) -> dict[str, Any]:
        """Return how many replies there are and how many were served."""
        return {"replies": self.count, "served": self.served}


def _read(path: Path) -> Any:
    try:
        with open_recorded(path) as file:
            for number, text in enumerate(file, start=1):
                if text.strip():
                    yield number, _decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, EOFError, *DAMAGED) as error:
        raise ValueError(f"{path}: not recorded REST replies: {error}") from None
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror or error}") from None


_decode: Final = msgspec.json.Decoder(_Line).decode


def _key(path: str, query: Mapping[str, str]) -> Key:
    return path, tuple(sorted(query.items()))


def _spellings(path: str, query: Mapping[str, str]) -> tuple[Key, Key]:
    fewer = {name: value for name, value in query.items() if name not in _SIZES}
    return _key(path, fewer), _key(_VERSION.sub("/v/", path), fewer)
