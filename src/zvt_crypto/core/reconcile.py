"""Bars we built beside the candles the exchange gives: do they agree?

The exchange's candle is what is stored and served. What we built from trades proves that none of
them was lost; the verdict on each bar is kept. Pure.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

import msgspec

from zvt_crypto.core.bar import Bar, Values
from zvt_crypto.core.errors import DataError
from zvt_crypto.core.ledger import Source
from zvt_crypto.core.record import Candle
from zvt_crypto.core.series import Series


class Agreement(StrEnum):
    """What the comparison of one bar came to."""

    MATCH = "match"
    DIFFERS = "differs"
    # The trades we were given do not cover the whole bar: nothing can be said.
    PARTIAL = "partial"
    # The exchange has a candle where we saw no trade.
    UNBUILT = "unbuilt"
    # Built, and the exchange has not said anything yet.
    UNCONFIRMED = "unconfirmed"


class Reconciled(msgspec.Struct, frozen=True):
    """The verdict on one bar.

    Attributes:
        series: of candles.
        timestamp: the open.
        verdict: what the comparison came to.
        differs: names of the fields that do not agree, in the order of columns.
        built: what the trades make; None where none were seen.
        venue: what the exchange says; None where it has said nothing.
        source: where the exchange's candle came from (`live`: a socket, `rest`, `archive`), and
            `live` for an unconfirmed bar.
    """

    series: Series
    timestamp: int
    verdict: Agreement
    differs: tuple[str, ...] = ()
    built: Values | None = None
    venue: Values | None = None
    source: Source = Source.LIVE


class Tolerance(msgspec.Struct, frozen=True):
    """How far sums may lie apart; prices have to be equal.

    Each sum may differ by `relative` of the exchange's, or by an absolute amount if that is more:
    exchanges write eight decimals or fewer, and round quote volumes to them. `each` is added to
    the amount for every trade, where the exchange rounds one by one.
    """

    relative: float = 1e-9
    volume: float = 5e-9
    quote_volume: float = 1.5e-8
    each: float = 0.0


EXACT: Final = Tolerance()
"""For markets whose trades are told in base units, or in contracts of so many."""

INVERSE: Final = Tolerance(each=1e-8)
"""For markets whose contracts are worth quote units: base units are quotients, rounded."""

_PRICES: Final = ("open", "high", "low", "close")


def reconcile(
    series: Series,
    timestamp: int,
    built: Bar | None,
    venue: Values | None,
    *,
    source: Source = Source.LIVE,
    tolerance: Tolerance = EXACT,
) -> Reconciled:
    """Compare one bar with what the exchange says of it.

    A field that either side does not give is not compared. A bar whose trades are not all there
    is `partial` even where it happens to agree.

    Raises:
        ValueError: there is neither a bar nor a candle, or the bar is another one.
    """
    if built is None and venue is None:
        raise ValueError(f"nothing to compare at {timestamp} of {series}")
    if built is not None and (built.timestamp, built.interval) != (timestamp, series.interval):
        raise ValueError(f"the bar {built.interval} {built.timestamp} is not {series} {timestamp}")
    values = None if built is None else built.values
    verdict, differs = Agreement.MATCH, ()
    if values is not None and venue is not None:
        differs = differing(values, venue, tolerance)
    if built is None:
        verdict = Agreement.UNBUILT
    elif not built.is_whole:
        verdict = Agreement.PARTIAL
    elif venue is None:
        verdict = Agreement.UNCONFIRMED
    elif differs:
        verdict = Agreement.DIFFERS
    return Reconciled(series, timestamp, verdict, differs, values, venue, source)


def differing(built: Values, venue: Values, tolerance: Tolerance = EXACT) -> tuple[str, ...]:
    """Return the names of the fields that both give and that do not agree."""
    names = [name for name in _PRICES if getattr(built, name) != getattr(venue, name)]
    rounding = tolerance.each * (built.trade_count or 1)
    in_base = tolerance.volume + rounding
    in_quote = tolerance.quote_volume + rounding
    if not _is_near(built.volume, venue.volume, tolerance.relative, in_base):
        names.append("volume")
    if not _is_near(built.quote_volume, venue.quote_volume, tolerance.relative, in_quote):
        names.append("quote_volume")
    if None not in (built.trade_count, venue.trade_count) and (
        built.trade_count != venue.trade_count
    ):
        names.append("trade_count")
    bought, taken = built.taker_buy_volume, venue.taker_buy_volume
    if not _is_near(bought, taken, tolerance.relative, in_base):
        names.append("taker_buy_volume")
    return tuple(names)


def json_of(values: Values | None) -> str | None:
    """Return values as stores keep them: a JSON object by the names of columns."""
    return None if values is None else msgspec.json.encode(values).decode()


def check(series: Series, reconciled: Iterable[Reconciled]) -> None:
    """Check that verdicts speak of bars of `series`.

    Raises:
        DataError: one is of another series, or no bar opens at its time.
    """
    for one in reconciled:
        if one.series != series or series.interval is None:
            raise DataError(f"a verdict on {one.series} was given for {series}")
        if not series.interval.is_open(one.timestamp):
            raise DataError(
                f"a verdict was given for {one.timestamp}: no bar of {series} opens then"
            )


def values_of(candle: Candle) -> Values:
    """Return what a candle of a stream says."""
    return Values(
        candle.open,
        candle.high,
        candle.low,
        candle.close,
        candle.volume,
        candle.quote_volume,
        candle.trade_count,
        candle.taker_buy_volume,
    )


def _is_near(built: float | None, venue: float | None, relative: float, absolute: float) -> bool:
    if built is None or venue is None:
        return True
    return abs(built - venue) <= max(relative * abs(venue), absolute)
