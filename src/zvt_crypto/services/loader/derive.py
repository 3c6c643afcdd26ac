"""Make the candles an exchange does not serve from finer ones it does."""

from zvt_crypto.core.candle import aggregate
from zvt_crypto.core.column import times_of
from zvt_crypto.core.gap import candle_holes
from zvt_crypto.core.interval import Interval
from zvt_crypto.core.ledger import SETTLED, Source, Verdict
from zvt_crypto.core.ranges import Range, subtract
from zvt_crypto.core.series import Series, candle_series
from zvt_crypto.ports.store import Batch, Committed, Finding, Store


async def derive(
    store: Store, target: Series, finer: Interval, asked: Range, source: Source
) -> Committed:
    """Aggregate stored candles of `finer` into `target` over `asked`, and enter the ledger.

    A coarse candle is made only where the ledger explains its whole span; the others are
    entered as `missing`.
    """
    interval = target.interval
    if interval is None:
        raise ValueError(f"only candles can be aggregated, not {target}")
    base = candle_series(target.exchange, target.symbol, finer)
    rows = await store.read(base, asked)
    ledger = await store.coverage(base, asked)
    known = [e.range for e in ledger if e.verdict in SETTLED - {Verdict.UNRECOVERABLE}]
    made = aggregate(rows, finer, interval, known)
    missing = made.holes
    quiet = subtract(candle_holes(times_of(made.table), interval, asked), missing)
    observed = subtract([asked], [*quiet, *missing])
    findings = [
        *(Finding(r.start, r.end, Verdict.OBSERVED) for r in observed),
        *(Finding(r.start, r.end, Verdict.EMPTY) for r in quiet),
        *(Finding(r.start, r.end, Verdict.MISSING) for r in missing),
    ]
    batch = Batch(series=target, table=made.table, findings=findings, source=source)
    return (await store.commit([batch]))[0]
