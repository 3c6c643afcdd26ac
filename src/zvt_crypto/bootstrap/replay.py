"""Build what plays recordings of an exchange back."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from zvt_crypto.connectors.registry import RECORDED, protocol, recorded
from zvt_crypto.core.errors import MalformedPayload, UnknownExchange, UsageError
from zvt_crypto.core.instrument import Market
from zvt_crypto.ports.recording import RestFacts
from zvt_crypto.ports.stream import Target
from zvt_crypto.services.journal.recording import read_lines
from zvt_crypto.services.journal.replay import Player
from zvt_crypto.services.journal.summary import Summary

log = logging.getLogger(__name__)

ALIASES: Final[Mapping[str, str]] = {"binance_us": "binance", "coinbase_exchange": "coinbase"}
"""Recordings of siblings that speak an exchange's protocol, or one its parser reads as well."""

_DONE: Final = 200


class _Reply(msgspec.Struct):
    url: str
    body: str
    status: int = _DONE


_decode_reply: Final = msgspec.json.Decoder(_Reply).decode


def recorded_exchange(text: str) -> str:
    """Return the exchange whose protocol recordings called `text` speak.

    Raises:
        UnknownExchange: it is none.
    """
    name = ALIASES.get(text.strip().lower(), text.strip().lower())
    if name not in RECORDED:
        raise UnknownExchange(text, [*RECORDED, *ALIASES])
    return name


def read_facts(exchange: str, paths: Iterable[Path]) -> RestFacts:
    """Read recorded REST replies: contract sizes and book snapshots.

    Replies that failed, or that cannot be read, tell nothing.

    Raises:
        UsageError: a file is absent or its lines are no recorded replies.
    """
    facts = RestFacts()
    reader = recorded(exchange)
    for path in paths:
        if not path.is_file():
            raise UsageError(f"there is no file {path}")
        for number, line in enumerate(read_lines(path), 1):
            try:
                reply = _decode_reply(line)
            except (msgspec.MsgspecError, UnicodeDecodeError) as e:
                raise UsageError(
                    f"{path} line {number} is not a recorded reply: {e}",
                    remedy='Each line is {"url": ..., "status": 200, "body": text}',
                ) from None
            if reply.status != _DONE:
                continue
            try:
                reader.read_reply(reply.url, reply.body.encode(), facts)
            except MalformedPayload as e:
                log.warning("rest_reply_unreadable", extra={"line": number, "error": e.message})
    return facts


def build_summary(exchange: str, facts: RestFacts) -> Summary:
    """Return an empty summary for recordings of an exchange."""
    return Summary(protocol(exchange), recorded(exchange), facts)


def build_player(exchange: str, facts: RestFacts) -> Player:
    """Return a player whose records bear native ids.

    Sizes are base units where the worth of a contract is known, else the exchange's own.
    """
    reader = recorded(exchange)

    def resolve(route: str, native: str) -> Sequence[Target]:
        market = reader.market(route, native)
        known = facts.contracts.get((market, native)) or reader.contract(market, native)
        if known is None:
            return (Target(native, Market.LINEAR),)
        shown = Market.INVERSE if known.is_inverse else market
        return (Target(native, shown, float(known.worth)),)

    return Player(protocol(exchange), resolve)


def check_exchange(exchange: str, connection: str) -> None:
    """Check that a connection is not plainly another exchange's.

    Raises:
        UsageError: its address names another one.
    """
    if "://" not in connection:
        return
    host = connection.partition("://")[2].partition("/")[0].lower()
    named = [name for name in RECORDED if any(word in host for word in recorded(name).hosts)]
    if named and exchange not in named:
        raise UsageError(
            f"the recording is of {named[0]}, not of {exchange}: its connection is {connection}",
            remedy=f"Give --exchange {named[0]}",
        )
