"""Hold what a store says against what the simulated market did.

The truth of the simulator knows no faults: whatever an exchange answered, every stored row must
be in it, every range called empty must hold none of its rows, every observed one exactly them.
"""

import urllib.request
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from sim_process import Sim

from zvt_crypto.core.column import times_of
from zvt_crypto.core.ledger import ABSENT, Verdict
from zvt_crypto.core.ranges import Range, subtract, union
from zvt_crypto.core.series import Kind, Series
from zvt_crypto.core.timestamp import format_us
from zvt_crypto.ports.store import Store
from zvt_crypto.services.loader.strategy import cut

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

CANDLE_VALUES: Final = (
    "open", "high", "low", "close", "volume", "quote_volume", "trade_count", "taker_buy_volume",
)  # fmt: skip
# Of ten fills of the market, those that begin an order; Binance folds the fills of one.
_ORDER_STARTS: Final = (0, 1, 2, 4, 5, 8, 9)
# Contracts times their size may differ from base units in the last place.
_LAST_PLACE: Final = 1e-12
# Exchanges stamp a settlement up to two seconds after the hour it is for.
_FUNDING_DRIFT_US: Final = 2_000_000


@dataclass(frozen=True)
class Truth:
    """Rows of the market, ascending; `values` by the store's column names."""

    times: Ints
    values: dict[str, Floats]
    sides: list[str]

    def within(self, part: Range) -> "Truth":
        """Return the rows inside `part`."""
        first, stop = np.searchsorted(self.times, [part.start, part.end])
        held = slice(int(first), int(stop))
        values = {name: column[held] for name, column in self.values.items()}
        return Truth(self.times[held], values, self.sides[held])


def truth_of(sim: Sim, series: Series, asked: Range) -> Truth:
    """Return what the market did, as an exchange without a fault would tell it."""
    query = {
        "exchange": series.exchange,
        "symbol": series.symbol,
        "start": format_us(asked.start),
        "end": format_us(asked.end),
        "format": "arrow",
    }
    if series.interval is not None:
        query["interval"] = str(series.interval)
        # Coinbase alone serves no candle for a minute without a trade.
        query["empty"] = "0" if series.exchange == "coinbase" else "1"
    with urllib.request.urlopen(
        f"{sim.url}/_truth/{series.kind}?{urlencode(query)}", timeout=60
    ) as reply:
        table = pa.ipc.open_stream(reply.read()).read_all()
    match series.kind:
        case Kind.CANDLES:
            values = {name: _floats(table[name]) for name in CANDLE_VALUES}
            return Truth(_ints(table["open_time_us"]), values, [])
        case Kind.FUNDING:
            times, rates = _ints(table["funding_time_us"]), _floats(table["funding_rate"])
            return Truth(times, {"funding_rate": rates}, [])
        case _:
            return _trades(table, series.exchange)


def _trades(table: pa.Table, exchange: str) -> Truth:
    ids, times = _ints(table["trade_id"]), _ints(table["time_us"])
    folded = exchange == "binance"
    if exchange != "coinbase":  # the others stamp milliseconds
        times = times - times % 1_000
    sizes = _floats(table["size"])
    starts = np.arange(len(ids))
    if folded and len(ids):
        starts = np.flatnonzero(np.isin((ids - 1) % 10, _ORDER_STARTS))
        sizes = np.add.reduceat(sizes, starts)
    sides: list[str] = table["side"].take(pa.array(starts)).to_pylist()
    values = {"price": _floats(table["price"])[starts], "size": sizes}
    return Truth(times[starts], values, sides)


async def check_honest(
    store: Store, sim: Sim, series: Series, asked: Range, *, verify: bool = True
) -> dict[Verdict, list[Range]]:
    """Assert that rows and ledger of a series tell the truth about `asked`.

    Returns:
        The ranges of the ledger by verdict.
    """
    truth = truth_of(sim, series, asked)
    rows = await store.read(series, asked)
    _check_rows(rows, truth, series, asked, whole=False)
    ledger = await store.coverage(series, asked)
    for entry in ledger:
        part = entry.range
        true = truth.within(part)
        if entry.verdict is Verdict.OBSERVED:
            mine = cut(rows, part)
            assert mine.num_rows == entry.rows, (series, entry)
            _check_rows(mine, true, series, part, whole=True)
        elif entry.verdict in ABSENT:
            shown = [format_us(t) for t in true.times[:5].tolist()]
            assert not shown, f"{series} calls {entry} {entry.verdict}, but there is {shown}"
    if verify:
        assert list((await store.verify([series])).faults) == []
    return {verdict: union(e.range for e in ledger if e.verdict is verdict) for verdict in Verdict}


def check_settled(found: dict[Verdict, list[Range]], asked: Range) -> None:
    """Assert that nothing of `asked` is owed."""
    settled = [*found[Verdict.OBSERVED], *found[Verdict.EMPTY]]
    assert subtract([asked], settled) == [], found


def check_tiled(found: dict[Verdict, list[Range]], asked: Range) -> None:
    """Assert that the ledger speaks of all of `asked`, work left to do included."""
    assert union(r for ranges in found.values() for r in ranges) == [asked], found


def _check_rows(rows: pa.Table, truth: Truth, series: Series, part: Range, *, whole: bool) -> None:
    times = _clean(times_of(rows), series)
    true_times = _clean(truth.times, series)
    where = f"{series} {format_us(part.start)}..{format_us(part.end)}"
    if whole:
        lost = np.setdiff1d(true_times, times)
        assert not len(lost), f"{where} lacks {[format_us(t) for t in lost[:5].tolist()]}"
        assert len(times) == len(true_times), f"{where} has {len(times)} of {len(true_times)} rows"
    if series.kind is Kind.TRADES:
        _check_trades(rows, times, truth, where, whole=whole)
        return
    assert len(np.unique(times)) == len(times), f"{where} has a row twice"
    at = np.searchsorted(true_times, times)
    known = at < len(true_times)
    known[known] = true_times[at[known]] == times[known]
    assert known.all(), f"{where} has rows that never were: {times[~known][:5]}"
    for name, column in truth.values.items():
        mine = rows[name]
        if mine.null_count == len(mine):
            continue
        wrong = ~np.isclose(_floats(mine), column[at], rtol=_LAST_PLACE, atol=0)
        first = int(np.argmax(wrong))
        assert not wrong.any(), (
            f"{where}: {wrong.sum()} wrong values of {name}, at {format_us(int(times[first]))} "
            f"{_floats(mine)[first]} for {column[at][first]}"
        )


def _check_trades(rows: pa.Table, times: Ints, truth: Truth, where: str, *, whole: bool) -> None:
    """Compare trades without their ids, which every exchange gives its own way."""
    ids = rows["trade_id"].to_pylist()
    assert len(set(ids)) == len(ids), f"{where} has a trade twice"
    mine = _rounded(times, rows["price"], rows["size"], rows["side"].to_pylist())
    true = _rounded(truth.times, truth.values["price"], truth.values["size"], truth.sides)
    if whole:
        assert sorted(mine) == sorted(true), where
    strangers = set(mine) - set(true)
    assert not strangers, f"{where} has trades that never were: {sorted(strangers)[:3]}"


def _rounded(
    times: Ints, prices: object, sizes: object, sides: list[str]
) -> list[tuple[int, str, str, str]]:
    parts = zip(
        times.tolist(), _floats(prices).tolist(), _floats(sizes).tolist(), sides, strict=True
    )
    return [
        (time // 1_000, f"{price:.10g}", f"{size:.10g}", side) for time, price, size, side in parts
    ]


def _clean(times: Ints, series: Series) -> Ints:
    """Return times as they compare: not every exchange stamps all digits."""
    match series.kind:
        case Kind.TRADES:
            return times - times % 1_000
        case Kind.FUNDING:
            return times - times % (2 * _FUNDING_DRIFT_US)
        case _:
            return times


def _floats(column: object) -> Floats:
    return np.asarray(column, dtype=np.float64)


def _ints(column: object) -> Ints:
    return np.asarray(column, dtype=np.int64)
