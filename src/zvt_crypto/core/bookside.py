"""Levels of many books as numpy arrays, to look at all of them at once. Pure."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from zvt_crypto.core.column import Bools, Floats, Ints, as_array


class BookSide:
    """One side of every book of a table.

    Attributes:
        prices: of all levels, book by book; so are `sizes`.
        uneven: in which books prices and sizes do not belong together; their levels are left out.
    """

    def __init__(self, table: pa.Table, name: str) -> None:
        """Take the columns of one side, `bid` or `ask`."""
        prices, sizes = (as_array(table.column(f"{name}_{what}")) for what in ("prices", "sizes"))
        # Lengths of null lists are null: such a row is refused for that already.
        counts = [
            np.asarray(pc.call_function("list_value_length", [one]).fill_null(0), dtype=np.int64)
            for one in (prices, sizes)
        ]
        holes = [_holes_of(one, count) for one, count in zip((prices, sizes), counts, strict=True)]
        self.uneven: Bools = (counts[0] != counts[1]) | holes[0] | holes[1]
        even = pa.array(~self.uneven)
        # The others are not looked into, so that both columns go on level by level.
        self._counts = np.where(self.uneven, 0, counts[0])
        self.prices, self.sizes = (
            np.asarray(one.filter(even).flatten(), dtype=np.float64) for one in (prices, sizes)
        )
        self._ends = np.cumsum(self._counts)

    def any(self, wrong: Bools) -> Bools:
        """Return in which books a level is wrong."""
        upto = np.concatenate([[0], np.cumsum(wrong)])
        return upto[self._ends] > upto[self._ends - self._counts]

    def steps(self, *, down: bool) -> Floats:
        """Return how much worse each level is than the one before; the best of a book by 1."""
        with np.errstate(invalid="ignore"):  # infinite ones are refused for that already
            steps = np.diff(self.prices, prepend=0.0) * (-1 if down else 1)
        steps[(self._ends - self._counts)[self._counts > 0]] = 1.0
        return steps

    def best(self, otherwise: float) -> Floats:
        """Return the best price of each book."""
        found = np.full(len(self._counts), otherwise)
        filled = self._counts > 0
        found[filled] = self.prices[(self._ends - self._counts)[filled]]
        return found


def _holes_of(column: pa.Array, counts: Ints) -> Bools:
    """Return which lists have an element that is null."""
    elements = column.flatten()
    if not elements.null_count:
        return np.zeros(len(counts), dtype=np.bool_)
    upto = np.concatenate([[0], np.cumsum(np.asarray(elements.is_null()))])
    ends = np.cumsum(counts)
    return upto[ends] > upto[ends - counts]
