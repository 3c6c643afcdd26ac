"""Feeds of trades: nothing lost, nothing twice, over every break the exchange can recover from.

Where trades are counted, the next id is known before it comes. A trade with a higher id waits a
moment for the ones before it: some exchanges send them out of order. Then it is a gap: the ledger
is told, REST is asked, and all trades behind the gap wait until it is closed, so that a consumer
sees `gap`, the repaired trades, `gap_repaired`, and then the rest, in order.

Where ids say nothing (Bybit), every break of the connection is a gap, and what came is compared
with the newest trades of REST every few seconds: only then is it claimed.
"""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

import numpy as np
import pyarrow as pa

from zvt_crypto.core.instrument import Instrument
from zvt_crypto.core.interval import US_PER_S
from zvt_crypto.core.ledger import Verdict
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.record import Gap, Side, Trade
from zvt_crypto.core.rows import times
from zvt_crypto.core.series import Series
from zvt_crypto.core.validation import Rejected
from zvt_crypto.services.stream.feed import Feed, Hub, OpenGap, Place

# How many ids an exchange that does not count is watched for repeats over.
_REMEMBERED: Final = 20_000
# Trades come in order of time but for so much; repaired ones come later.
_OUT_OF_ORDER_US: Final = 60 * US_PER_S
# How much of a repaired gap is audited once more.
_AUDITED_AGAIN_US: Final = 30 * US_PER_S


class TradeFeed(Feed):
    """What both kinds of trade feed share: gaps, and the trades that wait behind them."""

    reads_id: Callable[[str], int | str]
    """Makes of a stored id what the exchange's frames give."""

    def __init__(self, series: Series, instrument: Instrument, place: Place, hub: Hub) -> None:
        super().__init__(series, instrument, place, hub)
        self._late: list[OpenGap] = []

    def resume_at(self, last: Trade, claimed_us: int) -> None:
        """Go on where a store ended: `last` is its newest trade, the ledger holds to `claimed_us`.

        What was traded since is a gap, found as soon as the first trade comes.
        """
        raise NotImplementedError

    def missed(self, newest_us: int, reason: str) -> None:
        """Take note that the exchange has trades up to `newest_us` that did not come."""
        raise NotImplementedError

    @property
    def open_gaps(self) -> int:
        """Number of gaps under repair, those left behind included."""
        return super().open_gaps + len(self._late)

    @property
    def waiting(self) -> int:
        """Number of trades behind an open gap."""
        raise NotImplementedError

    def _open(self, gap: OpenGap) -> None:
        self.claim_to(gap.start)
        self.note(gap.start, gap.end, Verdict.MISSING)
        self.gap = gap
        self.counters.gaps += 1
        self.health.is_repairing = True
        self.announce(Gap(self.series, gap.start, gap.end, gap.opened_us, gap.reason))
        self.hub.mend(self, gap)

    def _is_overdue(self, gap: OpenGap, now_us: int) -> bool:
        config = self.hub.config
        return (
            self.waiting > config.hold_records or now_us - gap.opened_us > config.hold_s * US_PER_S
        )

    def _trades(self, rows: pa.Table) -> Iterable[Trade]:
        """Yield stored rows as records, with the time of repair as their arrival."""
        now_us = self.hub.now_us()
        columns = [rows.column(name).to_pylist() for name in _COLUMNS]
        moments = times(rows).tolist()
        for at, trade_id, price, size, side, fills in zip(moments, *columns, strict=True):
            yield Trade(
                self.series.exchange,
                self.series.symbol,
                at,
                now_us,
                self.reads_id(trade_id),
                price,
                size,
                Side(side),
                fills,
            )


_COLUMNS: Final = ("trade_id", "price", "size", "side", "fills")


class CountedTradeFeed(TradeFeed):
    """Trades whose ids go up one by one."""

    reads_id = int

    def __init__(self, series: Series, instrument: Instrument, place: Place, hub: Hub) -> None:
        super().__init__(series, instrument, place, hub)
        self._next: int | None = None
        self._held: dict[int, Trade] = {}
        self._held_since = 0
        self._why = "ids"

    @property
    def waiting(self) -> int:
        """Number of trades behind an open gap, or behind one that may become one."""
        return len(self._held)

    def take(self, trade: Trade) -> None:
        """Take one trade; the usual one is the next."""
        # What is repeated on subscribing comes on a socket that then stays silent, too.
        if trade.ts_recv >= self.health.next_us and not trade.is_recap:
            self.health.saw(trade.ts_recv)
        if trade.trade_id == self._next and not self._held:
            self._next += 1  # pyright: ignore[reportOperatorIssue] - it equals an id
            self._release(trade)
        else:
            self._take_unusual(trade)

    def _take_unusual(self, trade: Trade) -> None:
        number = trade.trade_id
        assert isinstance(number, int)  # noqa: S101 - the exchange counts, so the parser does
        if self._next is None:
            self._next = number + 1
            self._release(trade)
            # Others of the same moment may have been before it.
            self.claim_to(trade.ts_event + 1)
        elif number < self._next or number in self._held:
            self._take_old(trade, number)
        else:
            if not self._held:
                self._held_since = trade.ts_recv
            self._held[number] = trade
            self._advance()

    def _take_old(self, trade: Trade, number: int) -> None:
        """Take a trade from before the next: seen already, or of a gap that was left behind."""
        for gap in self._late:
            if gap.first_id is not None and gap.first_id <= number <= (gap.last_id or number):
                self._rows.append(trade)  # a row again or a row at last: the store tells
                break
        self.counters.repeated += 1

    def _advance(self) -> None:
        """Release what follows without a hole."""
        next_id = self._next
        assert next_id is not None  # noqa: S101 - set by the first trade
        held = self._held
        while held:
            trade = held.pop(next_id, None)
            if trade is None:
                break
            next_id += 1
            self._next = next_id
            gap = self.gap
            if gap is None:
                self.counters.reordered += 1
            self._release(trade)
            if gap is not None and gap.last_id is not None and next_id > gap.last_id:
                # The late ones came by themselves, on the socket.
                self._finish(gap, gap.last_id - (gap.first_id or gap.last_id) + 1)

    def tick(self, now_us: int) -> None:
        """Call a jump a gap once the late ones have had their time."""
        if self.gap is not None:
            if not self.gap.is_late and self._is_overdue(self.gap, now_us):
                self._go_on_without(self.gap)
        elif self._held and now_us - self._held_since > self.hub.config.reorder_s * US_PER_S:
            self._open_before(min(self._held), now_us)

    def _open_before(self, first_held: int, now_us: int) -> None:
        start = self.last.ts_event if self.last is not None else self._held[first_held].ts_event
        self._open(
            OpenGap(
                start=start,
                end=max(self._held[first_held].ts_event, start) + 1,
                reason=self._why,
                opened_us=now_us,
                first_id=self._next,
                last_id=first_held - 1,
            )
        )
        self._why = "ids"

    def disconnected(self, detail: str) -> None:
        """What is lost shows in the ids; a gap found next is the disconnect's."""
        super().disconnected(detail)
        self._why = "disconnect"

    def resume_at(self, last: Trade, claimed_us: int) -> None:
        """Go on where a store ended."""
        self._next = int(last.trade_id) + 1
        self.last = last
        self.claimed_us = max(claimed_us, last.ts_event)
        self._why = "restart"

    def missed(self, newest_us: int, reason: str) -> None:
        """Open a gap up to what the exchange says is newest; its last id is not known yet."""
        if self.gap is not None or self._next is None or self.last is None:
            return
        if self._held:
            self._why = reason
            self._open_before(min(self._held), self.hub.now_us())
            return
        self._open(
            OpenGap(
                start=self.last.ts_event,
                end=max(newest_us, self.last.ts_event) + 1,
                reason=reason,
                opened_us=self.hub.now_us(),
                first_id=self._next,
            )
        )

    def mended(self, gap: OpenGap, rows: pa.Table, *, is_whole: bool, detail: str) -> None:
        """Release the repaired trades, then what waited behind them."""
        first = gap.first_id or 0
        found = {
            int(trade.trade_id): trade
            for trade in self._trades(rows)
            if int(trade.trade_id) >= first
            and (gap.last_id is None or int(trade.trade_id) <= gap.last_id)
        }
        if gap.is_late:
            self._late.remove(gap)
            for number in sorted(found):
                self._release(found[number], stored=True)
            self._close_gap(gap, len(found), is_whole=is_whole, detail=detail)
            return
        if self.gap is not gap:  # closed meanwhile by trades that came late on the socket
            return
        released = 0
        for number in sorted(found):
            if self._next is not None and number >= self._next:
                self._next = number + 1
                self._held.pop(number, None)
                self._release(found[number], stored=True)
                released += 1
        if is_whole:
            self._finish(gap, released)
        else:
            self._close_gap(gap, released, is_whole=False, detail=detail)
            self._continue_after(gap)
        self._advance()

    def disown(self, gap: OpenGap) -> None:
        """Refuse the trade that showed a gap: the exchange does not know its id.

        Trades that waited behind it may be next, or show a gap of their own.
        """
        if gap is not self.gap or gap.last_id is None:
            return
        trade = self._held.pop(gap.last_id + 1, None)
        gap.last_id = None
        if trade is not None:
            self.refuse(Rejected(trade.ts_event, "unknown_id", repr(trade)))

    def _finish(self, gap: OpenGap, rows: int) -> None:
        self._close_gap(gap, rows, is_whole=True, detail="")
        self._continue_after(gap)

    def _continue_after(self, gap: OpenGap) -> None:
        self.gap = None
        self._held_since = self.hub.now_us()
        if gap.last_id is not None and self._next is not None:
            self._next = max(self._next, gap.last_id + 1)
        self.health.is_repairing = False

    def _go_on_without(self, gap: OpenGap) -> None:
        """Let what waits go on; the repaired trades will come when they come."""
        gap.is_late = True
        if gap.last_id is None:
            gap.last_id = min(self._held, default=self._next or 1) - 1
        self._late.append(gap)
        self._continue_after(gap)
        self._advance()


class UncountedTradeFeed(TradeFeed):
    """Trades whose ids say who they are and nothing else."""

    reads_id = str

    def __init__(self, series: Series, instrument: Instrument, place: Place, hub: Hub) -> None:
        super().__init__(series, instrument, place, hub)
        self._seen: set[int | str] = set()
        self._order: deque[tuple[int, int | str]] = deque()
        self._doubted: frozenset[int | str] = frozenset()
        self._held: list[Trade] = []
        self._is_broken = False
        self._why = "disconnect"
        self.audited_us: int | None = None
        """Up to when REST was seen to have no trade that did not come."""

    @property
    def waiting(self) -> int:
        """Number of trades behind an open gap."""
        return len(self._held)

    def take(self, trade: Trade) -> None:
        """Take one trade; the first after a break opens a gap before it."""
        self.health.saw(trade.ts_recv)
        if trade.trade_id in self._seen:
            self.counters.repeated += 1
        elif self._is_broken or self.gap is not None:
            self._hold(trade)
        else:
            if self.last is None:
                self.claim_to(trade.ts_event + 1)
            self._remember(trade)
            self._release(trade)

    def settle(self) -> None:
        """Claim what an audit has confirmed."""
        if self.audited_us is not None and self.gap is None and not self._is_broken:
            self.claim_to(min(self.audited_us, self.last.ts_event))

    def audited(self, answered: Range, rows: pa.Table) -> None:
        """Compare what REST has of a stretch of time with what came.

        The only proof there is: ids do not tell, and a frame can be lost or spoilt on a socket that
        lives. A trade that did not come is a gap. One that only we have is looked at again, since
        REST may be behind; if it is unknown then too, it is refused and taken out of the store.
        """
        if self.gap is not None or self._is_broken:
            return
        ids = rows.column("trade_id").to_pylist()
        lacking = [
            at for at, one in zip(times(rows).tolist(), ids, strict=True) if one not in self._seen
        ]
        strays = self._only_ours(answered, set(ids))
        unknown = {one: at for one, at in strays.items() if one in self._doubted}
        self._doubted = frozenset(strays)
        if unknown:
            self._refute(unknown)
        elif lacking:
            self._open_audited(lacking)
        end = min([answered.end, *strays.values()])
        self.audited_us = max(self.audited_us or 0, end)

    def _only_ours(self, answered: Range, theirs: set[str]) -> dict[int | str, int]:
        """Return the trades of a stretch of time that REST does not have, with their times."""
        found: dict[int | str, int] = {}
        for at, trade_id in reversed(self._order):
            if at < answered.start - _OUT_OF_ORDER_US:
                break
            if answered.start <= at < answered.end and trade_id not in theirs:
                found[trade_id] = at
        return found

    def _refute(self, unknown: dict[int | str, int]) -> None:
        for trade_id, at in unknown.items():
            self.refuse(Rejected(at, "unknown_id", str(trade_id)))
        # They stay among the seen: one that is repeated is no news.
        self._order = deque(one for one in self._order if one[1] not in unknown)
        self._open_audited(list(unknown.values()), is_refuted=True)

    def _open_audited(self, moments: list[int], *, is_refuted: bool = False) -> None:
        self._open(
            OpenGap(
                start=min(moments),
                end=max(moments) + 1,
                reason="audit",
                opened_us=self.hub.now_us(),
                is_refuted=is_refuted,
            )
        )

    def disconnected(self, detail: str) -> None:
        """Whatever comes next may not follow."""
        super().disconnected(detail)
        if self.last is not None:
            self._is_broken = True
            self._why = "disconnect"

    def resume_at(self, last: Trade, claimed_us: int) -> None:
        """Go on where a store ended: rows behind what was audited have to be asked for again."""
        self.last = last
        self.claimed_us = claimed_us
        self._remember(last)
        self._is_broken = True
        self._why = "restart"

    def missed(self, newest_us: int, reason: str) -> None:
        """Open a gap up to what the exchange says is newest.

        Until a trade comes on the socket again there will be more of them, so what comes next is
        behind another gap.
        """
        if self.gap is None and self.last is not None:
            self._is_broken = True
            self._why = reason
            self._open_to(newest_us, reason)

    def doubt(self, start: int, end: int, reason: str) -> None:
        """Open a gap over time that seemed seen: the candles say that trades are lacking."""
        if self.gap is None:
            self._open(OpenGap(start=start, end=end, reason=reason, opened_us=self.hub.now_us()))

    def tick(self, now_us: int) -> None:
        """Let what waits go on when a repair takes too long."""
        gap = self.gap
        if gap is not None and not gap.is_late and self._is_overdue(gap, now_us):
            gap.is_late = True
            self._late.append(gap)
            self._go_on()

    def mended(self, gap: OpenGap, rows: pa.Table, *, is_whole: bool, detail: str) -> None:
        """Release the repaired trades that were not seen, then what waited."""
        waiting = {trade.trade_id for trade in self._held}
        released = 0
        for trade in self._trades(rows):
            if trade.trade_id in self._seen:
                continue
            self._remember(trade)
            self._release(trade, stored=True)
            released += trade.trade_id not in waiting
        self._close_gap(gap, released, is_whole=is_whole, detail=detail)
        if self.audited_us is not None:
            # What came by the socket in that time may be wrong, so it is looked at too.
            self.audited_us = min(self.audited_us, max(gap.start, gap.end - _AUDITED_AGAIN_US))
        if gap.is_late:
            self._late.remove(gap)
        else:
            self._go_on()

    def _hold(self, trade: Trade) -> None:
        self._held.append(trade)
        if self.gap is None:
            self._open_to_held()

    def _open_to_held(self) -> None:
        """Open the gap between what was released last and the first trade after a break."""
        self._is_broken = False
        self._open_to(max(self._held[0].ts_event, self.last.ts_event), self._why)

    def _open_to(self, end_us: int, reason: str) -> None:
        # What came since the last audit may lack trades too, and will not be audited any more.
        last_us = self.last.ts_event
        start = last_us if self.claimed_us is None else min(last_us, self.claimed_us)
        self._open(
            OpenGap(
                start=start,
                end=max(end_us, last_us) + 1,
                reason=reason,
                opened_us=self.hub.now_us(),
            )
        )

    def _go_on(self) -> None:
        self.gap = None
        self.health.is_repairing = False
        if self._is_broken and self._held:
            self._open_to_held()  # the break came, or went on, while the gap was being repaired
            return
        held, self._held = self._held, []
        for trade in held:
            if trade.trade_id not in self._seen:
                self._remember(trade)
                self._release(trade)

    def _remember(self, trade: Trade) -> None:
        self._seen.add(trade.trade_id)
        self._order.append((trade.ts_event, trade.trade_id))
        if len(self._order) > _REMEMBERED:
            self._seen.discard(self._order.popleft()[1])


def ids_are_whole(rows: pa.Table, first: int, last: int) -> bool:
    """Return whether all ids from `first` to `last` are there."""
    if last < first:
        return True
    ids = np.unique(np.array(rows.column("trade_id").to_pylist(), dtype=np.int64))
    return int(((ids >= first) & (ids <= last)).sum()) == last - first + 1


__all__ = ["CountedTradeFeed", "TradeFeed", "UncountedTradeFeed", "ids_are_whole"]
