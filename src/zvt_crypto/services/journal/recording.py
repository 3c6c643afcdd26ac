"""Recordings as text: one JSON object a line, gzip or plain.

`{"t": 1723161256.172216566, "conn": "wss://...", "dir": "in", "raw": "..."}`: `t` is the receive
time in Unix seconds or null, `raw` the text frame. A frame that is not UTF-8 stands as base64 under
`raw_base64` instead. Other keys are ignored.
"""

import base64
import binascii
import gzip
import io
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Final, Self, cast
from zlib import error as ZlibError  # noqa: N812 - it is a class

import msgspec
from isal import igzip, isal_zlib

from zvt_crypto.core.errors import UsageError
from zvt_crypto.services.journal.frame import Direction, RawFrame

MOST_LINE_BYTES: Final = 160 << 20
_MICROS: Final = 1_000_000
_FRACTION_DIGITS: Final = 6
_MOST_SECONDS: Final = 1 << 40
_DAMAGED: Final[tuple[type[Exception], ...]] = (
    gzip.BadGzipFile,
    cast("type[Exception]", isal_zlib.IsalError),
    ZlibError,
)
_GZIP_MAGIC: Final = b"\x1f\x8b"


class _Line(msgspec.Struct):
    conn: str
    dir: Direction
    raw: str | None = None
    raw_base64: str | None = None
    t: msgspec.Raw = msgspec.Raw(b"null")


_decode: Final = msgspec.json.Decoder(_Line).decode
_encode: Final = msgspec.json.Encoder().encode


def seconds_to_us(text: bytes) -> int | None:
    """Return a JSON number of seconds in whole microseconds, cut and not rounded; None for null.

    Raises:
        ValueError: it is neither.
    """
    if text == b"null":
        return None
    whole, point, fraction = text.partition(b".")
    if whole.isdigit() and (fraction.isdigit() or not point):
        micros = fraction[:_FRACTION_DIGITS].ljust(_FRACTION_DIGITS, b"0")
        found = int(whole) * _MICROS + int(micros)
    elif text[:1] in b"-0123456789":  # an exponent or a sign
        number = Decimal(text.decode())
        if abs(number) > _MOST_SECONDS:
            raise ValueError("t is no time of this world")
        found = int(number * _MICROS)
    else:
        raise ValueError("t is neither a number nor null")
    if abs(found) > _MOST_SECONDS * _MICROS:
        raise ValueError("t is no time of this world")
    return found


def parse_line(line: bytes) -> RawFrame:
    """Return the frame of one line.

    Raises:
        ValueError: the line is not of this layout.
    """
    found = _decode(line)
    if found.raw is not None:
        frame = found.raw.encode()
    elif found.raw_base64 is not None:
        try:
            frame = base64.b64decode(found.raw_base64, validate=True)
        except binascii.Error as e:
            raise ValueError(f"raw_base64: {e}") from None
    else:
        raise ValueError("it has no `raw`")
    return RawFrame(seconds_to_us(bytes(found.t).strip()), found.conn, found.dir, frame)


def format_line(raw: RawFrame) -> bytes:
    """Return one line, without its line feed; what `parse_line` reads is what was given."""
    time = b"null" if raw.ts_recv is None else _seconds(raw.ts_recv)
    try:
        key, text = b"raw", raw.frame.decode()
    except UnicodeDecodeError:
        key, text = b"raw_base64", base64.b64encode(raw.frame).decode()
    return b'{"t":%s,"conn":%s,"dir":"%s","%s":%s}' % (
        time,
        _encode(raw.connection),
        raw.direction.value.encode(),
        key,
        _encode(text),
    )


def _seconds(micros: int) -> bytes:
    sign = "-" if micros < 0 else ""
    whole, rest = divmod(abs(micros), _MICROS)
    return f"{sign}{whole}.{rest:06d}".encode()


def open_lines(path: Path) -> io.BufferedIOBase:
    """Open a file for its lines, unpacked if it is gzip, whatever its name says."""
    with path.open("rb") as probe:
        packed = probe.read(2) == _GZIP_MAGIC
    return igzip.IGzipFile(path, "rb") if packed else path.open("rb")


def read_lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file of bounded lines, plain or gzip; empty ones are left out.

    Raises:
        UsageError: it is cut short or damaged, or a line is longer than 160 MB.
    """
    try:
        with open_lines(path) as stream:
            while line := stream.readline(MOST_LINE_BYTES):
                if len(line) == MOST_LINE_BYTES:
                    raise UsageError(f"{path}: a line is over {MOST_LINE_BYTES:,} bytes")
                if line.strip():
                    yield line
    except EOFError:
        raise UsageError(
            f"{path} ends in the middle of its gzip stream", remedy="Copy or download it again"
        ) from None
    except _DAMAGED as e:
        raise UsageError(f"{path} is damaged: {e}", remedy="Copy or download it again") from None


def read_recording(path: Path, seen: Callable[[int], None] | None = None) -> Iterator[RawFrame]:
    """Yield the frames of a recording; `seen` is told the bytes of each line.

    Raises:
        UsageError: a line is not of this layout; the line's number is named.
    """
    for number, line in enumerate(read_lines(path), 1):
        try:
            frame = parse_line(line)
        except (ValueError, ArithmeticError, RecursionError, msgspec.MsgspecError) as e:
            raise UsageError(
                f"{path} line {number} is not a recorded frame: {e}",
                remedy='Each line is {"t": seconds, "conn": URL, "dir": "in", "raw": text}',
            ) from None
        if seen is not None:
            seen(len(line))
        yield frame


class RecordingWriter:
    """Writes frames in this layout, packed if the name ends in `.gz`; use with `with`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stream: gzip.GzipFile | io.BufferedWriter | None = None
        self.frames = 0

    def __enter__(self) -> Self:
        self._stream = (
            gzip.GzipFile(self._path, "wb", compresslevel=6)
            if self._path.suffix == ".gz"
            else self._path.open("wb")
        )
        return self

    def __exit__(self, *_: object) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def write(self, raw: RawFrame) -> None:
        """Append one frame."""
        if self._stream is None:
            raise ValueError("the recording is not open")
        self._stream.write(format_line(raw) + b"\n")
        self.frames += 1
