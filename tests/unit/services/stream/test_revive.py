# pyright: reportPrivateUsage=false
"""What is done about stale feeds, on real pools over scripted sockets that never push anything."""

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random
from typing import Any

import msgspec
from stream_hub import StubHub

from zvt_crypto.connectors.okx.ws import OkxProtocol
from zvt_crypto.core.errors import NetworkFault
from zvt_crypto.core.instrument import Instrument, Market
from zvt_crypto.core.interval import US_PER_S
from zvt_crypto.core.series import Kind, Series
from zvt_crypto.ports.stream import Socket, SocketListener, StreamLimits
from zvt_crypto.services.stream.config import StreamConfig
from zvt_crypto.services.stream.connection import Connection
from zvt_crypto.services.stream.feed import Feed, Place
from zvt_crypto.services.stream.health import Verdict
from zvt_crypto.services.stream.pool import Pool
from zvt_crypto.services.stream.revive import Reviver
from zvt_crypto.services.stream.trades import CountedTradeFeed
from zvt_crypto.services.stream.venue import Venue

PLENTY = 10_000
CONFIG = StreamConfig()


@dataclass
class HubClock:
    """The hub's time for connections too; nobody waits for it."""

    hub: StubHub

    def now_us(self) -> int:
        return self.hub.at

    def monotonic_s(self) -> float:
        return self.hub.at / US_PER_S

    async def sleep(self, seconds: float) -> None:
        raise AssertionError(f"a limit made a connection wait {seconds} s")


class SmallOkx(OkxProtocol):
    """OKX with as many topics on a socket as a test likes, and no limit to new ones."""

    most = 100

    def limits(self, route: str) -> StreamLimits:
        return msgspec.structs.replace(
            super().limits(route),
            topics_per_connection=self.most,
            connections_per_window=PLENTY,
            messages_per_s=float(PLENTY),
        )


class MuteSocket:
    """Takes every request and answers none."""

    def __init__(self, listener: SocketListener) -> None:
        self._listener = listener
        self.requests: list[dict[str, Any]] = []

    def send(self, frame: bytes) -> None:
        self.requests.append(json.loads(frame))

    def ping(self) -> None: ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    async def close(self) -> None:
        self._listener.on_closed("closed by us")


@dataclass
class MuteDialer:
    sockets: list[MuteSocket] = field(default_factory=list[MuteSocket])
    is_refusing: bool = False

    async def dial(self, url: str, listener: SocketListener, *, max_frame_bytes: int) -> Socket:
        del url, max_frame_bytes
        if self.is_refusing:
            raise NetworkFault("okx", "nobody answers")
        self.sockets.append(MuteSocket(listener))
        return self.sockets[-1]


@dataclass
class World:
    """Feeds of one exchange, the sockets that carry them, and a clock that is moved by hand."""

    venue: Venue
    hub: StubHub
    dialer: MuteDialer
    reviver: Reviver
    feeds: list[Feed]

    @property
    def pool(self) -> Pool:
        return self.venue.pool

    def of(self, feed: Feed) -> Connection:
        (connection,) = self.pool.carriers(*feed.place)
        return connection

    async def settle(self) -> None:
        """Let connections do what they were told."""
        async with asyncio.timeout(10):
            for one in self.pool.connections:
                await one.ready.wait()
            for _ in range(10):
                await asyncio.sleep(0)
            for one in self.pool.connections:
                await one.ready.wait()

    def hear(self, feeds: Sequence[Feed]) -> None:
        for feed in feeds:
            feed.health.saw(self.hub.at)

    async def find_stale(self, feed: Feed) -> Verdict:
        feed.health.found_stale(self.hub.at)
        self.reviver.revive(self.venue, feed, self.hub.at)
        self.reviver.tick()
        await self.settle()
        return feed.health.verdict

    async def pass_time(
        self, silent: Sequence[Feed], seconds: int, *, living: Sequence[Feed] = (), each_s: int = 2
    ) -> list[int]:
        """Find one silent feed stale every so often; return when sockets were dialled."""
        dialled: list[int] = []
        for second in range(each_s, seconds + 1, each_s):
            self.hub.at += each_s * US_PER_S
            self.hear(living)
            before = len(self.dialer.sockets)
            await self.find_stale(silent[second // each_s % len(silent)])
            dialled += [second] * (len(self.dialer.sockets) - before)
        return dialled


def instrument(number: int) -> Instrument:
    return Instrument(
        exchange="okx", symbol=f"X{number}-USDT", native=f"X{number}-USDT", base=f"X{number}",
        quote="USDT", settle=None, market=Market.SPOT,
    )  # fmt: skip


@asynccontextmanager
async def world(count: int, *, most: int = 100) -> AsyncGenerator[World]:
    hub, dialer, protocol = StubHub(), MuteDialer(), SmallOkx()
    protocol.most = most
    unused: Any = None  # questions to REST are not asked here
    venue = Venue(protocol, unused, hub.now_us, 10)
    tasks: set[asyncio.Task[None]] = set()

    def spawn(work: Any, *, name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        tasks.add(task)
        return task

    rng = Random(5)
    venue.pool = Pool(
        protocol, dialer, venue.resolve, venue, CONFIG, clock=HubClock(hub), rng=rng, spawn=spawn
    )
    feeds: list[Feed] = []
    for number in range(count):
        one = instrument(number)
        series = Series("okx", one.symbol, Kind.TRADES)
        place = Place(protocol.route(series, one), protocol.topic(series, one))
        feeds.append(CountedTradeFeed(series, one, place, hub))
        venue.attach(feeds[-1])
    venue.pool.add(feeds[0].place.route, [feed.place.topic for feed in feeds])
    made = World(venue, hub, dialer, Reviver(CONFIG, rng), feeds)
    try:
        await made.settle()
        made.hear(feeds)
        hub.at += 4 * US_PER_S
        yield made
    finally:
        await venue.pool.close()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_feed_alone_and_silent_on_every_socket_is_dialled_for_ever_more_rarely() -> None:
    async with world(1) as one:
        # when each socket stays silent, and that is found every two seconds for ten minutes
        dialled = await one.pass_time(one.feeds, 600)

        # then it is renewed once, and its socket replaced after pauses that grow
        gaps = [b - a for a, b in pairwise(dialled)]
        for waited, least in zip(gaps, (5, 10, 20, 40, *[60] * 20), strict=False):
            assert least <= waited <= least * 1.25 + 2
        assert dialled[0] <= 4
        assert 8 <= len(dialled) <= 14
        assert len(one.pool.connections) == 1

        # and with its first record it lives
        assert one.feeds[0].health.verdict is Verdict.DEAD
        one.hub.at += US_PER_S
        one.hear(one.feeds)
        assert one.feeds[0].health.verdict is Verdict.LIVE


async def test_verdicts_of_a_feed_that_stays_silent_do_not_flicker() -> None:
    async with world(2) as one:
        silent, living = one.feeds
        verdicts: list[Verdict] = []
        for _ in range(60):
            one.hub.at += 2 * US_PER_S
            one.hear([living])
            verdicts.append(await one.find_stale(silent))
            silent.health.found_quiet(one.hub.at)
            verdicts.append(silent.health.verdict)
        # After the first renewal nothing newer may mean a quiet market.
        assert verdicts[1] is Verdict.QUIET
        known = [verdicts[0], *verdicts[2:]]
        turned = known.index(Verdict.DEAD)
        assert known == [Verdict.STALE] * turned + [Verdict.DEAD] * (len(known) - turned)
        assert turned > 4
        assert living.health.verdict is Verdict.LIVE


async def test_one_silent_feed_among_living_ones_costs_them_nothing() -> None:
    async with world(20) as one:
        silent, *living = one.feeds
        home = one.of(living[0])
        first = one.dialer.sockets[0]

        # when it stays silent wherever it is, for ten minutes
        dialled = await one.pass_time([silent], 600, living=living)

        # then it was renewed twice, moved to a socket of its own, and that one was replaced rarely
        asked = [topic for request in first.requests for topic in request["args"]]
        assert sum(arg["instId"] == silent.instrument.native for arg in asked) == 1 + 2 * 2 + 1
        assert dialled[0] == 6
        assert len(dialled) <= 14
        assert len(one.pool.connections) == 2
        assert one.of(living[0]) is home
        assert home.stats.dials == 1
        assert home.topics.keys() == {feed.place.topic for feed in living}


async def test_a_wedged_socket_of_hundreds_is_replaced_once_and_as_a_whole() -> None:
    async with world(500, most=500) as one:
        (socket,) = one.pool.connections

        # when all its feeds fall silent, and are found stale one a second
        dialled = await one.pass_time(one.feeds, 6, each_s=1)

        # then the socket is replaced within seconds, with all its topics, and nothing else opened
        assert len(dialled) == 1
        assert dialled[0] <= 4
        assert one.pool.connections == [socket]
        assert len(socket.active) == 500
        renewed = [one for one in one.dialer.sockets[0].requests if one["op"] == "unsubscribe"]
        assert len(renewed) <= 3

        # and when they live again there is no more to do
        one.hub.at += US_PER_S
        one.hear(one.feeds)
        assert {feed.health.verdict for feed in one.feeds} == {Verdict.LIVE}


async def test_hundreds_of_feeds_on_sockets_that_stay_silent_are_dead_together() -> None:
    async with world(300) as one:
        # given three sockets with a hundred feeds each
        assert len(one.pool.connections) == 3

        # when nothing comes on any of them for ten minutes
        dialled = await one.pass_time(one.feeds, 600, each_s=1)

        # then each was replaced a few times, no other was opened, and no feed pretends to be well
        assert len(one.pool.connections) == 3
        assert len(dialled) <= 3 * 14
        assert {feed.health.verdict for feed in one.feeds} == {Verdict.DEAD}

        # and when something comes on one of them, its feeds are not called dead any more
        one.hub.at += US_PER_S
        one.hear(one.feeds[:1])
        one.reviver.tick()
        alive = one.of(one.feeds[0])
        for feed in one.feeds:
            is_dead = feed.health.verdict is Verdict.DEAD
            assert is_dead is (one.of(feed) is not alive), feed.series


async def test_several_silent_feeds_share_a_connection_when_they_move() -> None:
    async with world(30) as one:
        # given ten feeds that the exchange sends nothing of, and twenty that live
        silent, living = one.feeds[:10], one.feeds[10:]
        dialled = await one.pass_time(silent, 100, living=living, each_s=1)

        # then there is one connection for all ten, not one for each
        assert len(one.pool.connections) == 2
        assert len(dialled) <= 6
        assert {len(each.topics) for each in one.pool.connections} == {10, 20}


async def test_a_feed_moves_to_a_connection_that_has_room() -> None:
    async with world(3, most=2) as one:
        # given two connections, one of them with room
        silent, beside, elsewhere = one.feeds
        full, roomy = one.of(silent), one.of(elsewhere)
        assert one.of(beside) is full

        # when a feed of the full one stays silent
        dialled = await one.pass_time([silent], 6, living=[beside, elsewhere])

        # then it is carried on the other, and nothing was dialled
        assert dialled == []
        assert one.of(silent) is roomy


async def test_a_feed_that_lived_for_a_while_is_helped_at_once_again() -> None:
    async with world(2) as one:
        silent, living = one.feeds
        await one.pass_time([silent], 60, living=[living])
        assert silent.health.verdict is Verdict.DEAD

        # given that it came back, and lived for a minute
        for _ in range(60):
            one.hub.at += US_PER_S
            one.hear([silent, living])

        # when it falls silent again, then it is renewed, and moves or is dialled for within seconds
        one.hub.at += 4 * US_PER_S
        one.hear([living])
        dials = len(one.dialer.sockets)
        carrier = one.of(silent)
        assert await one.find_stale(silent) is Verdict.STALE
        assert silent.health.tries == 1
        await one.pass_time([silent], 8, living=[living])
        assert len(one.dialer.sockets) == dials + 1 or one.of(silent) is not carrier


async def test_a_renewal_leaves_the_silence_of_other_feeds_known() -> None:
    async with world(2) as one:
        renewed, other = one.feeds
        before = other.health.last_us
        await one.find_stale(renewed)
        assert renewed.health.last_us == one.hub.at
        assert other.health.last_us == before


async def test_what_was_remembered_of_a_removed_feed_is_forgotten() -> None:
    async with world(3) as one:
        first, second, living = one.feeds
        await one.pass_time([first], 10, living=[living])
        one.venue.detach(first)
        one.pool.remove(first.place.route, [first.place.topic])
        await one.pass_time([second], 10, living=[living])
        assert [place for _, place in one.reviver._pauses] == [second.place]


async def test_a_feed_whose_new_connection_does_not_open_is_dead() -> None:
    async with world(2) as one:
        silent, living = one.feeds
        # given a feed that moves while nobody can be dialled
        one.dialer.is_refusing = True
        for _ in range(4):
            one.hub.at += 2 * US_PER_S
            one.hear([living])
            silent.health.found_stale(one.hub.at)
            one.reviver.revive(one.venue, silent, one.hub.at)
            await asyncio.sleep(0.01)
        assert one.pool.carriers(*silent.place) == []
        assert silent.health.verdict is Verdict.DEAD
        assert living.health.verdict is Verdict.LIVE
        assert len(one.pool.connections) == 2
