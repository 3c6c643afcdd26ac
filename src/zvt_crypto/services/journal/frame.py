"""One raw frame as a journal or a recording keeps it."""

from enum import StrEnum

import msgspec


class Direction(StrEnum):
    """Whether a frame came from the exchange or was sent to it."""

    IN = "in"
    OUT = "out"


class RawFrame(msgspec.Struct, frozen=True, gc=False):
    """A frame byte for byte.

    `ts_recv` is our clock when it came or went, UTC microseconds; None where a recording kept
    none. `connection` names the socket: its URL without the query.
    """

    ts_recv: int | None
    connection: str
    direction: Direction
    frame: bytes
