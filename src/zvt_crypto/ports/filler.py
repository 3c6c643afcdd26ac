"""What live feeds need of the loader: to have history put into the store."""

from enum import StrEnum
from typing import Protocol

from zvt_crypto.core.ranges import Range
from zvt_crypto.core.series import Series


class Answered(StrEnum):
    """What came of a question for trades whose ids are known."""

    ALL = "all"
    SOME = "some"
    # The trade behind the last one asked for is none the exchange knows.
    STRANGER = "stranger"


class Filler(Protocol):
    """Loads history into the store; what the loader is to live feeds."""

    def settle_s(self, exchange: str) -> float:
        """Return how long after its time a row may still be absent from REST."""
        ...

    async def fill(self, series: Series, asked: Range, *, again: bool = False) -> None:
        """Load what the ledger owes in `asked`; with `again` also what it says is held.

        Raises:
            CryptoError: the exchange could not be asked, or refuses.
        """
        ...

    async def fill_trades(
        self, series: Series, asked: Range, first_id: int, last_id: int | None
    ) -> Answered:
        """Load the trades of `asked` whose ids are known; without `last_id` up to the newest.

        Raises:
            CryptoError: the exchange could not be asked, or refuses.
        """
        ...
