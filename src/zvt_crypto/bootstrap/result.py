"""What a question to the platform returns: rows, and proof of what they are."""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa

from zvt_crypto.core.column import as_array, times_of
from zvt_crypto.core.errors import MissingExtra
from zvt_crypto.core.interval import Interval
from zvt_crypto.core.ledger import Coverage, Verdict, is_complete
from zvt_crypto.core.ranges import Range, subtract
from zvt_crypto.core.series import Series

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Result:
    """Rows of one series over `asked`, with the ledger of exactly that range.

    Attributes:
        series: what was asked for.
        asked: the range, in UTC microseconds, end excluded.
        table: the rows as Arrow, in the schema of the kind, ascending; with `verdict` if asked for.
        coverage: the ledger cut to `asked`; time it does not mention was never asked for.
        made_from: the finer interval these candles were aggregated from while reading, if any.
    """

    series: Series
    asked: Range
    table: pa.Table
    coverage: Sequence[Coverage]
    made_from: Interval | None = None

    @property
    def frame(self) -> pl.DataFrame:
        """Return the rows as a Polars frame, without copying numbers."""
        made = pl.from_arrow(self.table)
        if not isinstance(made, pl.DataFrame):
            raise TypeError("a table became a series")
        return made

    @property
    def is_complete(self) -> bool:
        """Return whether every moment of `asked` is proven: data, or proof there is none."""
        return is_complete(self.asked, self.coverage)

    @property
    def missing(self) -> list[Range]:
        """Return what of `asked` is owed: never asked for, or asked in vain."""
        settled = [e.range for e in self.coverage if e.verdict is not Verdict.MISSING]
        return subtract([self.asked], settled)

    def with_verdicts(self, reconciliations: pa.Table) -> "Result":
        """Return the candles with a column `verdict`, null where there is none.

        Args:
            reconciliations: of the same series, in the schema RECONCILIATIONS, ascending.
        """
        known, opens = times_of(reconciliations), times_of(self.table)
        at = np.searchsorted(known, opens)
        is_told = at < len(known)
        is_told[is_told] = known[at[is_told]] == opens[is_told]
        verdicts = as_array(reconciliations.column("verdict"))
        column = verdicts.take(pa.array(at, mask=~is_told))
        return replace(self, table=self.table.append_column("verdict", column))

    def to_pandas(self) -> "pd.DataFrame":
        """Return the rows as a pandas frame indexed by `timestamp`.

        Raises:
            MissingExtra: pandas is not installed.
        """
        if importlib.util.find_spec("pandas") is None:
            raise MissingExtra("to_pandas()", "pandas")
        return self.table.to_pandas().set_index("timestamp")

    def __len__(self) -> int:
        return self.table.num_rows
