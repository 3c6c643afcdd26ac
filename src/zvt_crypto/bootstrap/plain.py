"""The Python door without `await`: `zvt_crypto.open()` and what it returns."""

import asyncio
import threading
from collections.abc import Coroutine, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, overload

import pyarrow as pa

from zvt_crypto.bootstrap.door import AsyncCrypto
from zvt_crypto.bootstrap.result import Result
from zvt_crypto.bootstrap.streaming import LiveStream, PlainStream, Wanted
from zvt_crypto.core.instrument import Instrument
from zvt_crypto.core.ledger import Coverage
from zvt_crypto.core.ranges import Range
from zvt_crypto.core.record import Book
from zvt_crypto.core.series import Series
from zvt_crypto.core.timestamp import Moment
from zvt_crypto.ports.store import SeriesInfo, Verified
from zvt_crypto.services.latest import Latest
from zvt_crypto.services.loader import LoadReport, SeriesPlan

T = TypeVar("T")


class Crypto:
    """The platform for plain programs: the same calls as `AsyncCrypto`, without `await`.

    It runs its own event loop in a thread, so it works in a notebook too.
    """

    def __init__(self, store: str | Path | None = None, **settings: object) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="zvtc", daemon=True)
        self._thread.start()
        try:
            self._inner = AsyncCrypto(store, **settings)
            self._run(self._inner.__aenter__())
        except BaseException:
            self._stop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close store and connections; calling it twice does no harm."""
        if self._thread.is_alive():
            try:
                self._run(self._inner.__aexit__())
            finally:
                self._stop()

    def candles(
        self,
        exchange: str,
        symbol: str,
        interval: str,
        start: Moment | None = None,
        end: Moment | None = None,
        *,
        as_of: Moment | None = None,
        last: int | None = None,
        load: bool = False,
        verdicts: bool = False,
    ) -> Result:
        """Return stored candles; see `Door.candles`."""
        return self._run(
            self._inner.candles(
                exchange,
                symbol,
                interval,
                start,
                end,
                as_of=as_of,
                last=last,
                load=load,
                verdicts=verdicts,
            )
        )

    def trades(
        self,
        exchange: str,
        symbol: str,
        start: Moment | None = None,
        end: Moment | None = None,
        *,
        as_of: Moment | None = None,
        last: int | None = None,
        load: bool = False,
    ) -> Result:
        """Return stored trades; see `Door.trades`."""
        return self._run(
            self._inner.trades(exchange, symbol, start, end, as_of=as_of, last=last, load=load)
        )

    def funding(
        self,
        exchange: str,
        symbol: str,
        start: Moment | None = None,
        end: Moment | None = None,
        *,
        as_of: Moment | None = None,
        last: int | None = None,
        load: bool = False,
    ) -> Result:
        """Return stored funding rates; see `Door.funding`."""
        return self._run(
            self._inner.funding(exchange, symbol, start, end, as_of=as_of, last=last, load=load)
        )

    def book_snapshots(
        self,
        exchange: str,
        symbol: str,
        start: Moment | None = None,
        end: Moment | None = None,
        *,
        as_of: Moment | None = None,
        last: int | None = None,
    ) -> Result:
        """Return stored whole books; see `Door.book_snapshots`."""
        return self._run(
            self._inner.book_snapshots(exchange, symbol, start, end, as_of=as_of, last=last)
        )

    def book_deltas(
        self,
        exchange: str,
        symbol: str,
        start: Moment | None = None,
        end: Moment | None = None,
        *,
        as_of: Moment | None = None,
        last: int | None = None,
    ) -> Result:
        """Return stored changes of a book; see `Door.book_deltas`."""
        return self._run(
            self._inner.book_deltas(exchange, symbol, start, end, as_of=as_of, last=last)
        )

    def book_at(
        self, exchange: str, symbol: str, moment: Moment, *, depth: int | None = None
    ) -> Book:
        """Return the book as it stood at a moment; see `Door.book_at`."""
        return self._run(self._inner.book_at(exchange, symbol, moment, depth=depth))

    def instruments(self, exchange: str, *, refresh: bool = False) -> list[Instrument]:
        """Return the exchange's instruments."""
        return self._run(self._inner.instruments(exchange, refresh=refresh))

    def load(
        self,
        exchange: str,
        symbols: str | Iterable[str],
        interval: str | None = None,
        start: Moment | None = None,
        end: Moment | None = None,
        *,
        kind: str = "candles",
    ) -> LoadReport:
        """Load history into the store; see `Door.load`."""
        return self._run(self._inner.load(exchange, symbols, interval, start, end, kind=kind))

    def plan(
        self,
        exchange: str,
        symbols: str | Iterable[str],
        interval: str | None = None,
        start: Moment | None = None,
        end: Moment | None = None,
        *,
        kind: str = "candles",
    ) -> list[SeriesPlan]:
        """Return what `load` would take."""
        return self._run(self._inner.plan(exchange, symbols, interval, start, end, kind=kind))

    def stream(self, wanted: Wanted) -> PlainStream:
        """Return live records of these series as they come; see `Door.stream`."""

        async def make() -> LiveStream:
            return self._inner.stream(wanted)

        return PlainStream(self._run(make()), self._run)

    def series(self) -> list[SeriesInfo]:
        """Return every series the store holds."""
        return self._run(self._inner.series())

    def coverage(self, series: Series, asked: Range | None = None) -> list[Coverage]:
        """Return the ledger of a series."""
        return self._run(self._inner.coverage(series, asked))

    @overload
    def latest(self, series: Sequence[Series]) -> list[pa.Table]: ...

    @overload
    def latest(
        self, series: str, symbol: str, *, kind: str = "trades", interval: str | None = None
    ) -> Latest: ...

    def latest(
        self,
        series: str | Sequence[Series],
        symbol: str | None = None,
        *,
        kind: str = "trades",
        interval: str | None = None,
    ) -> list[pa.Table] | Latest:
        """Return the newest record of one series, or rows of many; see `Door.latest`."""
        if not isinstance(series, str):
            return self._run(self._inner.latest(series))
        return self._run(self._inner.latest(series, symbol or "", kind=kind, interval=interval))

    def verify(self) -> Verified:
        """Recompute rows and digests and compare them with the ledger."""
        return self._run(self._inner.verify())

    def repair(self) -> tuple[Verified, LoadReport]:
        """Throw away what `verify` refutes and load everything missing."""
        return self._run(self._inner.repair())

    def _run(self, call: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(call, self._loop).result()

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def open_crypto(store: str | Path | None = None, **settings: object) -> Crypto:
    """Open the platform: `with zvt_crypto.open("./data") as db: ...`.

    Args:
        store: a folder, `s3://bucket/prefix` or `memory://`; default: the setting `store`.
        settings: any setting by its name, dots written as two underscores:
            `sim="http://127.0.0.1:8123"`, `exchanges__binance__budget=0.5`.

    Raises:
        UsageError: a setting is wrong, or the place is not a store.
    """
    return Crypto(store, **settings)
