"""What loading one series would take, without fetching its data."""

from collections.abc import Sequence

from zvt_crypto.core.ledger import owed
from zvt_crypto.core.ranges import Range, intersect, total
from zvt_crypto.core.series import Kind, Series
from zvt_crypto.ports.connector import ArchiveFile, Connector
from zvt_crypto.ports.store import Store
from zvt_crypto.services.loader.plan import choose_archives, row_estimate
from zvt_crypto.services.loader.report import ArchivePolicy, SeriesPlan
from zvt_crypto.services.loader.strategy import Strategy

# A plan asks for the sizes of about so many bulk files, and takes the rest to be like them.
_SAMPLED_FILES = 5
# What a plan takes a download to be worth; a file's own server is the limit, not ours.
_BULK_BYTES_PER_S = 5_000_000


async def forecast(
    store: Store,
    strategy: Strategy,
    series: Series,
    asked: Range,
    *,
    now_us: int,
    archive: ArchivePolicy,
) -> SeriesPlan:
    """Return what is owed of a series, and what it takes to load that."""
    connector, instrument = strategy.connector, strategy.instrument
    todo = owed([asked], await store.coverage(series, asked))
    files: list[ArchiveFile] = []
    if archive != "never":
        for part in todo:
            files += await connector.archives(instrument, series.kind, series.interval, part)
    chosen = choose_archives(
        files,
        todo,
        lambda part: len(strategy.windows(part)),
        reach=connector.reach(instrument, series.kind, now_us),
        always=archive == "always" or series.kind is Kind.TRADES,
    )
    by_file = intersect([file.covers for file in chosen], todo)
    rest = [w for part in todo for w in strategy.windows(part) if not _inside(w, by_file)]
    cost = connector.cost(instrument, series.kind, series.interval, len(rest))
    bulk = await _bytes_of(connector, chosen)
    return SeriesPlan(
        series=series,
        asked=asked,
        owed=todo,
        archive_files=len(chosen),
        requests=cost.requests + 2 * len(chosen),
        weight=cost.weight,
        seconds=cost.seconds + bulk / _BULK_BYTES_PER_S,
        body_bytes=cost.body_bytes + bulk,
        rows=row_estimate(todo, series.interval),
    )


async def _bytes_of(connector: Connector, files: Sequence[ArchiveFile]) -> int:
    """Return about how many bytes files have, from the sizes of a few of them."""
    few = files[:: max(1, len(files) // _SAMPLED_FILES)]
    sizes = [await connector.archive_size(file) for file in few]
    known = [size for size in sizes if size is not None]
    return sum(known) * len(files) // len(known) if known else 0


def _inside(window: Range, ranges: Sequence[Range]) -> bool:
    return total(intersect([window], ranges)) == window.end - window.start
