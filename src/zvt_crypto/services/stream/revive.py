"""What is done about a feed that was found stale, and how often.

First its subscription is renewed, which is cheap. Where other feeds of its socket live, it then
moves to another connection. Where nothing at all comes on its socket, the socket is replaced as a
whole, with all its topics: hundreds of feeds on one wedged socket need one new connection, not
hundreds. The first move of a feed, and the first replacement of a socket, are made at once, the
next in growing pauses: an exchange counts the connections of an address, and one that has stopped
sending something does not send it to the next socket either. REST repairs the trades meanwhile.
"""

import logging
from dataclasses import dataclass
from random import Random
from weakref import WeakKeyDictionary

from zvt_crypto.core.interval import US_PER_S
from zvt_crypto.services.stream.books import BookFeed
from zvt_crypto.services.stream.config import StreamConfig
from zvt_crypto.services.stream.connection import Connection
from zvt_crypto.services.stream.feed import Feed, Place
from zvt_crypto.services.stream.pause import Pause
from zvt_crypto.services.stream.venue import Venue

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Doubt:
    """A socket on which a feed was found stale: nothing came on it since, as far as is known."""

    venue: Venue
    pause: Pause
    since_us: int = 0
    is_dead: bool = False


class Reviver:
    """Starts stale feeds anew.

    Args:
        config: of the service.
        rng: chance of waits.
    """

    def __init__(self, config: StreamConfig, rng: Random) -> None:
        self._config = config
        self._rng = rng
        # By exchange and place: two series of one topic must not move it in turn.
        self._pauses: dict[tuple[str, Place], Pause] = {}
        self._doubts: WeakKeyDictionary[Connection, _Doubt] = WeakKeyDictionary()

    def tick(self) -> None:
        """Take back what was said of all feeds of a socket on which something comes again."""
        for connection, doubt in list(self._doubts.items()):
            if doubt.is_dead and _heard_us(doubt.venue, connection) > doubt.since_us:
                doubt.is_dead = False
                for feed in doubt.venue.feeds_on(connection):
                    feed.health.hope()

    def revive(self, venue: Venue, feed: Feed, now_us: int) -> None:
        """Do what is due about a feed that was found stale just now."""
        pool, place = venue.pool, feed.place
        carriers = [
            one
            for one in pool.carriers(*place)
            if place.topic in one.active and not pool.is_retiring(one)
        ]
        if not carriers:  # it is being asked for on a new socket
            if not pool.carriers(*place) and not feed.health.is_cut:
                feed.health.give_up()  # which does not even open
            return
        living = [one for one in carriers if self._lives(venue, one, now_us)]
        if living:
            self._start_anew(venue, feed, now_us)
        else:
            for connection in carriers:
                self._replace(connection, now_us)

    def _lives(self, venue: Venue, connection: Connection, now_us: int) -> bool:
        """Return whether anything came on a socket since a feed of it was first found stale."""
        doubt = self._doubts.get(connection)
        if doubt is None:
            doubt = self._doubts[connection] = _Doubt(venue, self._pause())
        heard_us = _heard_us(venue, connection)
        if doubt.since_us == 0 or heard_us > doubt.since_us:
            if heard_us - doubt.pause.taken_us > self._config.steady_s * US_PER_S:
                doubt.pause.reset()
            doubt.since_us = now_us
            return True
        return now_us - doubt.since_us < self._config.silent_after_s * US_PER_S

    def _replace(self, connection: Connection, now_us: int) -> None:
        """Dial a socket anew with all its topics, unless that was done just now."""
        doubt = self._doubts[connection]
        if doubt.pause.count >= self._config.dead_after_moves:
            if not doubt.is_dead:
                doubt.is_dead = True
                log.warning("stream_socket_dead", extra={"connection": connection.name})
            for feed in doubt.venue.feeds_on(connection):
                feed.health.give_up()
        if doubt.pause.is_over(now_us):
            doubt.pause.take(now_us)
            connection.drop("nothing comes on it although its markets trade")

    def _start_anew(self, venue: Venue, feed: Feed, now_us: int) -> None:
        """Ask for a feed again: where it is at first, then elsewhere."""
        health = feed.health
        key = venue.exchange, feed.place
        pause = self._pauses.get(key)
        if health.tries <= self._config.resubscribe_tries:
            if pause is not None:
                pause.reset()
            # A book without a snapshot asks for itself, in pauses of its own.
            if not isinstance(feed, BookFeed) or feed.from_rest:
                venue.pool.renew(*feed.place)
            return
        if pause is None:
            self._forget_removed(venue)
            pause = self._pauses[key] = self._pause()
        if pause.count >= self._config.dead_after_moves and health.give_up():
            log.warning("stream_feed_dead", extra={"series": str(feed.series)})
        if pause.is_over(now_us):
            pause.take(now_us)
            venue.pool.move(*feed.place)

    def _forget_removed(self, venue: Venue) -> None:
        places = venue.by_place
        for key in [one for one in self._pauses if one[0] == venue.exchange]:
            if key[1] not in places:
                del self._pauses[key]

    def _pause(self) -> Pause:
        return Pause(self._config.move_first_s, self._config.move_cap_s, self._rng)


def _heard_us(venue: Venue, connection: Connection) -> int:
    return max((feed.health.heard_us for feed in venue.feeds_on(connection)), default=0)


__all__ = ["Reviver"]
