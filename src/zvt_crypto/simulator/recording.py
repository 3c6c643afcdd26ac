"""Recorded WebSocket sessions: files of one JSON object a line, read as they are served.

A line is `{"t": 1723161256.17, "conn": "wss://host/path", "dir": "in", "raw": "..."}`: when the
frame came in Unix seconds or null, on which connection, `in` or `out`, and the text frame itself;
`mono_ns` may hold a monotonic clock where there is no `t`. The file is plain or gzip. It is never
held in memory: it is read once at the start, to check it and to learn what is in it, and again for
every client.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final, Literal, NamedTuple, cast

import msgspec
from isal import igzip, igzip_lib

_GZIP: Final = b"\x1f\x8b"
DAMAGED: Final = cast("tuple[type[Exception], ...]", (igzip_lib.IsalError, igzip.BadGzipFile))
"""What reading a gzip file raises that is not merely cut off."""
_EVEN_S: Final = 0.01
"""Between two frames of a file that tells no times."""

Timing = Literal["t", "mono_ns", "even"]


class _Line(msgspec.Struct):
    raw: str
    conn: str = ""
    dir: Literal["in", "out"] = "in"
    t: float | None = None
    mono_ns: int | None = None


class Frame(NamedTuple):
    """One received frame; `at_s` is comparable within its file, and never falls."""

    at_s: float
    connection: str
    text: str


@dataclass(slots=True)
class Recording:
    """One file of frames.

    Attributes:
        timing: by which of the columns the frames are spaced.
        first_s: the time of the first frame, by that column.
        cut_off: the file ends in the middle of a line or of its compression, as one does whose
            recorder was killed; what is whole is served.
    """

    path: Path
    timing: Timing = "even"
    first_s: float = 0.0
    cut_off: bool = False
    counts: dict[str, int] = field(default_factory=dict[str, int])

    @property
    def frames(self) -> int:
        """Return how many frames were received."""
        return sum(self.counts.values())

    def survey(self) -> Iterator[Frame]:
        """Read the file for the first time, and learn its timing and its connections on the way.

        Raises:
            ValueError: a line is not a recorded frame, or there is none; one line says which.
        """
        with_t = with_mono = 0
        first: _Line | None = None
        for line in self._lines():
            first = first or line
            with_t += line.t is not None
            with_mono += line.mono_ns is not None
            self.counts[line.conn] = self.counts.get(line.conn, 0) + 1
            yield Frame(0.0, line.conn, line.raw)
        if first is None:
            raise ValueError(f"{self.path}: no received frame in it")
        if with_t == self.frames:
            self.timing = "t"
        elif with_mono == self.frames:
            self.timing = "mono_ns"
        self.first_s = self._moment(first, 0)

    def play(self, connections: Collection[str]) -> Iterator[Frame]:
        """Read the received frames of some connections again, in the order of the file."""
        at_s = self.first_s
        for number, line in enumerate(self._lines()):
            at_s = max(at_s, self._moment(line, number))
            if line.conn in connections:
                yield Frame(at_s, line.conn, line.raw)

    def _moment(self, line: _Line, number: int) -> float:
        if self.timing == "t" and line.t is not None:
            return line.t
        if self.timing == "mono_ns" and line.mono_ns is not None:
            return line.mono_ns / 1e9
        return number * _EVEN_S

    def _lines(self) -> Iterator[_Line]:
        """Yield the lines of received frames."""
        for number, text in enumerate(self._texts(), start=1):
            try:
                line = _decode(text)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                if not text.endswith(b"\n"):
                    self.cut_off = True
                    return
                raise ValueError(
                    f"{self.path}: line {number} is not a recorded frame: {error}"
                ) from None
            if line.dir == "in":
                yield line

    def _texts(self) -> Iterator[bytes]:
        try:
            with open_recorded(self.path) as file:
                for text in file:
                    if text.strip():
                        yield text
        except EOFError:
            self.cut_off = True
        except DAMAGED as error:
            raise ValueError(f"{self.path}: its gzip compression is damaged: {error}") from None
        except OSError as error:
            raise ValueError(f"{self.path}: {error.strerror or error}") from None


_decode: Final = msgspec.json.Decoder(_Line).decode


def open_recorded(path: Path) -> BinaryIO:
    """Open a file for reading, plain or gzip.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        magic = file.read(len(_GZIP))
    if magic == _GZIP:
        return cast("BinaryIO", igzip.open(path, "rb"))
    return path.open("rb")


def split_argument(argument: str, option: str) -> tuple[Path, str]:
    """Return file and exchange of `FILE=EXCHANGE`.

    Raises:
        ValueError: not of that form.
    """
    name, equals, exchange = argument.rpartition("=")
    if not (name and equals and exchange):
        raise ValueError(f"{option} is FILE=EXCHANGE, not {argument!r}")
    return Path(name), exchange
