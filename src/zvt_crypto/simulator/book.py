"""The book of an instrument: a pure function of seed, instrument and time, like the market.

A book changes in steps of a tenth of a second (`Venue.book_step_us`), around the price of the last
trade: the best bid and ask are one price step apart, as the trades are that hit them; their
sizes change with every step. Below and above, levels lie on a lattice some hundred-thousandths of
the price wide, and each keeps its size for some seconds. A step therefore changes a handful of
levels, and any step can be produced alone: a snapshot of step n and the changes from n to m
always make the book of step m, on REST and on the socket.

Every step has a sequence number. They grow by six at least and never by the same amount;
`reset` makes them fall back once, as after a venue's restart.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from zvt_crypto.simulator import noise
from zvt_crypto.simulator.cache import Cache
from zvt_crypto.simulator.instrument import Instrument, unit_of
from zvt_crypto.simulator.market import Market

Ints = npt.NDArray[np.int64]
Level = tuple[int, int]

STEP_US: Final = 100_000
_SPREAD: Final = 8e-6  # width of the lattice as a share of the price
_EMPTY: Final = 0.08  # share of the lattice without an order
_SHORTEST: Final = 16  # steps a level keeps its size at least; the longest is sixteen times that
LEVELS: Final = 400
SEQUENCES: Final = 16
"""How many sequence numbers a step takes up."""
BOOK_SEQUENCES: Final = 11
"""How many of them, from the first, may be the book's own; the others lie behind it."""
_STATES: Final = 256
_MIX: Final = 2_654_435_761


@dataclass(frozen=True, slots=True, eq=False)
class Book:
    """The book of one step; prices and sizes in the instrument's units.

    Attributes:
        step: number of the step since the epoch.
        sequence: its sequence number.
        time_us: when the step began.
        bids, asks: size by price, best first.
    """

    step: int
    sequence: int
    time_us: int
    bids: dict[int, int]
    asks: dict[int, int]

    def top(self, depth: int) -> tuple[list[Level], list[Level]]:
        """Return bids and asks, best first, `depth` of each at most."""
        return list(self.bids.items())[:depth], list(self.asks.items())[:depth]


@dataclass(frozen=True, slots=True)
class Changes:
    """What turns one book into another: levels with their new size, zero where they are gone."""

    bids: Sequence[Level]
    asks: Sequence[Level]


def changes_over(books: Sequence[Book]) -> Changes:
    """Return what turns the first book, or any between, into the last.

    A level that changed and changed back is among them: who starts from a snapshot in between
    needs it. Bids come from the highest, asks from the lowest.
    """
    bids: set[int] = set()
    asks: set[int] = set()
    for before, after in pairwise(books):
        bids |= _touched(before.bids, after.bids)
        asks |= _touched(before.asks, after.asks)
    last = books[-1]
    return Changes(
        [(price, last.bids.get(price, 0)) for price in sorted(bids, reverse=True)],
        [(price, last.asks.get(price, 0)) for price in sorted(asks)],
    )


class Books:
    """All books of one venue.

    Args:
        exchange: the venue's name.
        seed: of the simulator.
        market: whose trades the books follow.
        levels: on each side.
    """

    def __init__(self, exchange: str, seed: int, market: Market, *, levels: int = LEVELS) -> None:
        self._exchange = exchange
        self._seed = seed
        self._market = market
        self._levels = levels
        self._states: Cache[Book] = Cache(_STATES)
        self._rhythms: dict[int, tuple[tuple[int, int], Ints, Ints]] = {}
        self._resets: dict[str, list[tuple[int, int]]] = {}

    def at(self, instrument: Instrument, time_us: int, step_us: int = STEP_US) -> Book:
        """Return the book of the step that holds a moment."""
        return self.of_step(instrument, time_us // step_us, step_us)

    def of_step(self, instrument: Instrument, step: int, step_us: int = STEP_US) -> Book:
        """Return the book of a step, made at most once while it is in the cache."""
        key = (instrument.symbol, step)
        book = self._states.get(key, lambda: self._make(instrument, step, step_us))
        sequence = self.sequence(instrument, step)
        if book.sequence == sequence:
            return book
        return Book(step, sequence, book.time_us, book.bids, book.asks)

    def of_sequence(self, instrument: Instrument, sequence: int, step_us: int = STEP_US) -> Book:
        """Return the book with a sequence number.

        Raises:
            ValueError: no step has it.
        """
        fallen = [0]
        for _, by in self._resets.get(instrument.symbol, []):
            fallen.append(fallen[-1] + by)
        for by in reversed(fallen):
            step = (sequence + by) // SEQUENCES
            if self.sequence(instrument, step) == sequence:
                return self.of_step(instrument, step, step_us)
        raise ValueError(f"{instrument.symbol}: no book has the sequence number {sequence}")

    def sequence(self, instrument: Instrument, step: int) -> int:
        """Return the sequence number of a step."""
        number = step * SEQUENCES + ((step * _MIX) >> 13) % BOOK_SEQUENCES
        resets = self._resets.get(instrument.symbol)
        return number - sum(by for since, by in resets if step >= since) if resets else number

    def is_reset(self, instrument: Instrument, before: int, after: int) -> bool:
        """Return whether the numbers fell back after step `before`, up to step `after`."""
        resets = self._resets.get(instrument.symbol, ())
        return any(before < since <= after for since, _ in resets)

    def reset_step(self, instrument: Instrument, step: int) -> int:
        """Return the step of the last reset up to a step; 0 where there was none."""
        resets = self._resets.get(instrument.symbol, ())
        return max((since for since, _ in resets if since <= step), default=0)

    def reset(self, instrument: Instrument, step: int, by: int) -> None:
        """Let the sequence numbers fall by `by` with a step."""
        self._resets.setdefault(instrument.symbol, []).append((step, by))

    def _make(self, instrument: Instrument, step: int, step_us: int) -> Book:
        tick = unit_of(instrument.price_step)
        bid = self._market.bid_at(instrument, step * step_us)
        width = max(1, round(instrument.price * _SPREAD / float(instrument.price_step))) * tick
        ask, count = bid + tick, self._levels
        low, high = (bid - 1) // width, ask // width + 1
        places = np.arange(count + count // 5, dtype=np.int64)  # some are empty
        bids = self._side(instrument, step, bid, (low - places) * width)
        asks = self._side(instrument, step, ask, (high + places) * width)
        sequence = self.sequence(instrument, step)
        return Book(step, sequence, step * step_us, bids, asks)

    def _side(self, instrument: Instrument, step: int, best: int, prices: Ints) -> dict[int, int]:
        """Return one side: the best level, and those of the lattice that hold orders."""
        prices = prices[prices > 0]
        side = "bid" if len(prices) and prices[0] < best else "ask"
        key = noise.make_key(self._seed, "book", self._exchange, instrument.symbol, side)
        lot = unit_of(instrument.size_step)
        typical = self._market.typical_size(instrument)
        keeps, phase = self._rhythm(key, prices)
        epoch = (step + phase) // keeps
        chance = noise.uniform(key + 2, (prices << 34) + epoch)
        held = np.flatnonzero(chance >= _EMPTY)[: self._levels - 1]
        spread = (chance[held] - _EMPTY) / (1.0 - _EMPTY)
        sizes = 1 + (typical * -8.0 * np.log(1.0 - spread)).astype(np.int64)
        best_size = 2 * (1 + int(typical * 4 * noise.uniform_at(key + 4, step))) + (step & 1)
        levels = {best: best_size * lot}
        levels.update(zip(prices[held].tolist(), (sizes * lot).tolist(), strict=True))
        return levels

    def _rhythm(self, key: int, prices: Ints) -> tuple[Ints, Ints]:
        """Return how many steps each level keeps its size, and when it first changes.

        Prices wander slowly, so the numbers of the last ones asked for mostly serve again.
        """
        bounds = (int(prices[0]), int(prices[-1])) if len(prices) else (0, 0)
        found = self._rhythms.get(key)
        if found is None or found[0] != bounds:
            keeps = (_SHORTEST * 16 ** noise.uniform(key, prices)).astype(np.int64)
            phase = (noise.uniform(key + 1, prices) * keeps).astype(np.int64)
            found = self._rhythms[key] = (bounds, keeps, phase)
        return found[1], found[2]


def _touched(before: dict[int, int], after: dict[int, int]) -> set[int]:
    return {price for price, _ in before.items() ^ after.items()}
