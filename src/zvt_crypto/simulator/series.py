"""Series served from files, exactly as they are: strings, holes and off-grid rows included.

A file is CSV, plain or gzip, in one of two layouts. Candles: `open_time_ms,open,high,low,close,
volume`, and where the source had them `close_time_ms,quote_volume,trades,taker_buy_base,
taker_buy_quote`; other columns are ignored. Funding: `funding_time_ms,funding_rate`.

An instrument with a file exists in that file only: nothing before or after, no trades. Several
files of one series are one series. A wider candle is added up from the narrowest file that tiles
it.
"""

import csv
import gzip
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from zvt_crypto.core.interval import Interval
from zvt_crypto.simulator.bar import Bar, bar_of
from zvt_crypto.simulator.candle import COLUMNS, CandleColumns
from zvt_crypto.simulator.encode import Ints, Text
from zvt_crypto.simulator.instrument import Instrument, Kind
from zvt_crypto.simulator.market import Funding

if TYPE_CHECKING:
    from zvt_crypto.simulator.world import World

US_PER_MS: Final = 1_000
_GZIP_MAGIC: Final = b"\x1f\x8b"
_NEEDED: Final = ("open_time_ms", "open", "high", "low", "close", "volume")
_OPTIONAL: Final = ("quote_volume", "trades", "taker_buy_base", "taker_buy_quote")
_FUNDING: Final = ("funding_time_ms", "funding_rate")
_MOST_DECIMALS: Final = 8  # what every venue can write


@dataclass(slots=True)
class FileSeries:
    """What the files say about one instrument."""

    by_bar: dict[Bar, CandleColumns] = field(default_factory=dict[Bar, CandleColumns])
    funding: Funding | None = None
    _wider: dict[Bar, CandleColumns | None] = field(default_factory=dict[Bar, CandleColumns | None])

    def add(self, bar: Bar, columns: CandleColumns) -> None:
        """Serve more candles of a width; several files make one series in order of time."""
        before = self.by_bar.get(bar)
        self.by_bar[bar] = columns if before is None else _merge(before, columns)
        self._wider.clear()

    def candles(self, bar: Bar) -> CandleColumns | None:
        """Return the candles of a width, added up if need be; None when no file tiles it."""
        found = self.by_bar.get(bar)
        if found is not None:
            return found
        if bar not in self._wider:
            narrower = [own for own in self.by_bar if _tiles(own, bar)]
            finest = min(narrower, key=lambda own: own.nominal_us, default=None)
            self._wider[bar] = None if finest is None else _widen(self.by_bar[finest], bar)
        return self._wider[bar]


def load_file(world: "World", argument: str) -> None:
    """Serve one file, named by `FILE=EXCHANGE:SYMBOL:INTERVAL`.

    Raises:
        ValueError: the file, the venue or the interval is wrong; one line says which.
    """
    name, separator, target = argument.rpartition("=")
    exchange, _, rest = target.partition(":")
    symbol, _, width = rest.rpartition(":")
    if not (separator and name and exchange and symbol and width):
        raise ValueError(f"{argument!r}: write FILE=EXCHANGE:SYMBOL:INTERVAL")
    venue = world.venues.get(exchange.lower())
    if venue is None:
        raise ValueError(f"{argument!r}: no exchange {exchange!r}; known: {' '.join(world.venues)}")
    bar = None if width == "funding" else bar_of(_interval(argument, width))
    table = _read(Path(name), _FUNDING if bar is None else _NEEDED)
    instrument = venue.resolve(symbol)
    key = (venue.name, instrument.symbol)
    files = world.files.setdefault(key, FileSeries())
    if bar is None:
        files.funding = _funding(name, table)
    else:
        adapted = instrument if files.by_bar else _adapt(name, instrument, table)
        if adapted is not instrument:
            venue.replace_instrument(instrument, adapted)
        files.add(bar, _columns(name, adapted, bar, table))


def _interval(argument: str, text: str) -> Interval:
    try:
        return Interval.parse(text)
    except ValueError as error:
        raise ValueError(f"{argument!r}: {error}, and funding") from None


def _read(path: Path, needed: Sequence[str]) -> dict[str, list[str]]:
    """Return the columns of a CSV file by name."""
    try:
        raw = path.read_bytes()
        text = (gzip.decompress(raw) if raw.startswith(_GZIP_MAGIC) else raw).decode()
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: cannot be read: {error}") from None
    rows = list(csv.reader(io.StringIO(text)))
    header = rows[0] if rows else []
    missing = [name for name in needed if name not in header]
    if missing:
        raise ValueError(f"{path}: no column {', '.join(missing)}; the header is {header}")
    width = len(header)
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != width:
            raise ValueError(f"{path}: line {number} has {len(row)} fields, the header {width}")
    return {name: [row[at] for row in rows[1:]] for at, name in enumerate(header)}


def _times(name: str, values: list[str]) -> Ints:
    try:
        return np.array([int(value) for value in values], dtype=np.int64) * US_PER_MS
    except ValueError as error:
        raise ValueError(f"{name}: a time is not in milliseconds: {error}") from None


def _columns(
    name: str, instrument: Instrument, bar: Bar, table: dict[str, list[str]]
) -> CandleColumns:
    opens = _times(name, table["open_time_ms"])
    order = np.argsort(opens, kind="stable")

    places: list[int] = order.tolist()

    def text(values: list[str]) -> Text:
        return Text.of([values[place] for place in places])

    zeros = ["0"] * len(opens)
    optional = {column: table.get(column, zeros) for column in _OPTIONAL}
    base, quote = table["volume"], optional["quote_volume"]
    to_native = _native_volume(instrument)
    opens = opens[order]
    closes = bar.closes(opens)
    if "close_time_ms" in table:
        closes = _times(name, table["close_time_ms"])[order] + US_PER_MS
    buy_base, buy_quote = optional["taker_buy_base"], optional["taker_buy_quote"]
    return CandleColumns(
        open_us=opens,
        close_us=closes,
        open=text(table["open"]),
        high=text(table["high"]),
        low=text(table["low"]),
        close=text(table["close"]),
        native=text([to_native(b, q) for b, q in zip(base, quote, strict=True)]),
        base=text(base),
        quote=text(quote),
        count=text(optional["trades"]),
        buy_native=text([to_native(b, q) for b, q in zip(buy_base, buy_quote, strict=True)]),
        buy_base=text(buy_base),
        buy_quote=text(buy_quote),
    )


def _merge(first: CandleColumns, second: CandleColumns) -> CandleColumns:
    opens = np.concatenate((first.open_us, second.open_us))
    order = np.argsort(opens, kind="stable")
    closes = np.concatenate((first.close_us, second.close_us))[order]
    places: list[int] = order.tolist()
    columns: dict[str, Text] = {}
    for name in COLUMNS[1:]:
        texts = getattr(first, name).texts() + getattr(second, name).texts()
        columns[name] = Text.of([texts[place] for place in places])
    return CandleColumns(opens[order], closes, **columns)


def _native_volume(instrument: Instrument) -> Callable[[str, str], str]:
    """Return how base and quote volume become the venue's own unit, exactly."""
    contract = instrument.contract
    if instrument.kind is Kind.INVERSE:
        return lambda _base, quote: _plain(Decimal(quote) / contract)
    if contract == 1:
        return lambda base, _quote: base
    return lambda base, _quote: _plain(Decimal(base) / contract)


def _plain(value: Decimal) -> str:
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _adapt(name: str, instrument: Instrument, table: dict[str, list[str]]) -> Instrument:
    """Return the instrument as its file shows it: listed at the first row, with its digits."""
    opens = _times(name, table["open_time_ms"])
    if not len(opens):
        return instrument
    prices = [value for column in ("open", "high", "low", "close") for value in table[column]]
    step = min(instrument.price_step, Decimal(1).scaleb(-_digits(prices)))
    try:
        last = float(table["close"][-1])
    except ValueError:
        last = 0.0  # a file may hold what is no number; it is served all the same
    return replace(
        instrument,
        listed_us=int(opens.min()),
        price_step=step,
        price=last if last > 0 else instrument.price,
    )


def _digits(values: Sequence[str]) -> int:
    longest = max((len(value.partition(".")[2].rstrip("0")) for value in values), default=0)
    return min(longest, _MOST_DECIMALS)


def _funding(name: str, table: dict[str, list[str]]) -> Funding:
    times = _times(name, table["funding_time_ms"])
    rates = np.array([int(Decimal(rate).scaleb(8)) for rate in table["funding_rate"]])
    index = np.arange(len(times), dtype=np.int64)
    return Funding(index, times, rates, rates, np.zeros(len(times), dtype=np.int64))


def _tiles(narrow: Bar, wide: Bar) -> bool:
    if not narrow.width_us or narrow.nominal_us >= wide.nominal_us:
        return False
    return not wide.width_us or wide.width_us % narrow.width_us == 0


_ADDED: Final = (
    "native", "base", "quote", "count", "buy_native", "buy_base", "buy_quote",
)  # fmt: skip


def _widen(narrow: CandleColumns, bar: Bar) -> CandleColumns:
    """Add up candles exactly, as decimals."""
    opens = bar.floor_many(narrow.open_us)
    first = np.flatnonzero(np.concatenate(([True], opens[1:] != opens[:-1])))
    bounds = list(zip(first.tolist(), [*first[1:].tolist(), len(opens)], strict=True))

    def pick(column: str, choose: Callable[[list[str]], str]) -> Text:
        values = getattr(narrow, column).texts()
        return Text.of([choose(values[a:b]) for a, b in bounds])

    added = {
        name: pick(name, lambda part: _plain(sum(map(Decimal, part), Decimal(0))))
        for name in _ADDED
    }
    return CandleColumns(
        open_us=opens[first],
        close_us=bar.closes(opens[first]),
        open=pick("open", lambda part: part[0]),
        high=pick("high", lambda part: max(part, key=Decimal)),
        low=pick("low", lambda part: min(part, key=Decimal)),
        close=pick("close", lambda part: part[-1]),
        **added,
    )
