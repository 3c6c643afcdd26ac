"""Play recorded frames through the parsers that read them live."""

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from zvt_crypto.core.errors import MalformedPayload
from zvt_crypto.core.instrument import Market
from zvt_crypto.ports.stream import (
    FrameParser,
    Message,
    Refused,
    Resolve,
    StreamProtocol,
    Target,
)
from zvt_crypto.services.journal.frame import Direction, RawFrame

MOST_CONNECTIONS: Final = 10_000
"""Parsers that are kept; the one not heard of for longest gives way."""

_SHOWN_CHARS: Final = 200


class Played(msgspec.Struct, frozen=True):
    """One frame and what its parser made of it; `error` if it could not be read at all."""

    raw: RawFrame
    route: str
    messages: Sequence[Message]
    error: str | None = None

    @property
    def reasons(self) -> list[str]:
        """Return why the frame, or a part of it, is not decoded; empty if all of it is."""
        if self.error is not None:
            return [self.error]
        return [one.reason for one in self.messages if isinstance(one, Refused)]


class Player:
    """Feeds frames to one parser per connection, as the live service does.

    Args:
        protocol: the exchange.
        resolve: what native ids stand for.
        exact: numbers are `Decimal` of the wire's text.
    """

    def __init__(self, protocol: StreamProtocol, resolve: Resolve, *, exact: bool = False) -> None:
        self._protocol = protocol
        self._resolve = resolve
        self._exact = exact
        self._parsers: dict[str, tuple[str, FrameParser]] = {}

    def play(self, raw: RawFrame) -> Played:
        """Return what the parser makes of a frame; a frame that was sent is not parsed."""
        held = self._parsers.get(raw.connection)
        if held is None:
            held = self._open(raw.connection)
        route, parser = held
        if raw.direction is not Direction.IN:
            return Played(raw, route, ())
        try:
            return Played(raw, route, parser.parse(raw.frame, raw.ts_recv or 0))
        except MalformedPayload as e:
            return Played(raw, route, (), e.message[:_SHOWN_CHARS])

    def _open(self, connection: str) -> tuple[str, FrameParser]:
        if len(self._parsers) >= MOST_CONNECTIONS:
            del self._parsers[next(iter(self._parsers))]
        route = self._protocol.recorded_route(connection)
        parser = self._protocol.parser(route, self._resolve, exact=self._exact)
        self._parsers[connection] = route, parser
        return route, parser

    def played(self, frames: Iterator[RawFrame]) -> Iterator[Played]:
        """Yield every frame played."""
        return map(self.play, frames)


def native_target(symbol: str) -> Sequence[Target]:
    """Return a target whose sizes stay in the exchange's own unit, under `symbol`."""
    # A linear market of unit contracts is one whose sizes no parser converts.
    return (Target(symbol, Market.LINEAR),)
