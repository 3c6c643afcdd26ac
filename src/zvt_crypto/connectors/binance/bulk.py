"""CSV of the bulk files to columns, block by block. Pure.

What differs between files is seen in the bytes, not guessed from names or dates: a header line
(futures have one since about 2022, not all of them), milliseconds or microseconds (spot since
2025-01-01), `True` or `true`, `is_best_match` at the end or not.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from zvt_crypto.connectors.binance.parse import CANDLE_COLUMNS, round_to_second, taker_side
from zvt_crypto.connectors.binance.spec import NAME
from zvt_crypto.connectors.wire import Page, count_precision_loss, is_lost, number
from zvt_crypto.core.errors import MalformedPayload
from zvt_crypto.core.timestamp import int_to_us, ints_to_us
from zvt_crypto.ports.connector import Rejected

CANDLES: Final = CANDLE_COLUMNS
AGG_TRADES: Final = ("trade_id", "price", "size", "first", "last", "timestamp", "maker")
TRADES: Final = ("trade_id", "price", "size", None, "timestamp", "maker")
FUNDING: Final = ("timestamp", "interval_hours", "funding_rate")

Ints = npt.NDArray[np.int64]

_INTEGERS: Final = frozenset({"timestamp", "trade_id", "first", "last", "trade_count"})
_FLAG: Final = "maker"
_FLAGS: Final = {"true": True, "false": False}
_MAX_INT: Final = 2**62
_MAX_DIGITS: Final = 19
_RAW_CUT: Final = 500

# Binance writes at most eight decimals, and below 2**26 the spacing of float64 is finer than
# that: such numbers survive, and only larger ones are read a second time, as text.
_EXACT_BELOW: Final = 2.0**26


def parse_candle_block(data: bytes) -> Page:
    """Read klines; the columns are those of `core.schema.CANDLES`.

    Args:
        data: whole lines, the header line of the file included or not.

    Raises:
        MalformedPayload: the lines have too few columns.
    """
    return _parse(data, CANDLES, "a bulk file of klines")


def parse_agg_trade_block(data: bytes) -> Page:
    """Read aggTrades; as `parse_candle_block`, with the columns of `core.schema.TRADES`."""
    page = _parse(data, AGG_TRADES, "a bulk file of aggTrades")
    first, last = page.columns.pop("first"), page.columns.pop("last")
    page.columns["fills"] = last - first + 1
    return _with_side(page)


def parse_trade_block(data: bytes) -> Page:
    """Read trades, one row per fill; as `parse_agg_trade_block`."""
    return _with_side(_parse(data, TRADES, "a bulk file of trades"))


def parse_funding_block(data: bytes) -> Page:
    """Read fundingRate, times rounded to the second; as `parse_candle_block`."""
    page = _parse(data, FUNDING, "a bulk file of fundingRate")
    times = ints_to_us(page.columns["timestamp"])
    page.columns["timestamp"] = np.array([round_to_second(t) for t in times.tolist()], np.int64)
    return page


def _with_side(page: Page) -> Page:
    maker = page.columns.pop(_FLAG)
    sell, buy = (str(taker_side(buyer_is_maker=flag)) for flag in (True, False))
    codes = pa.array(np.where(maker, 0, 1).astype(np.int8))
    page.columns["side"] = pa.DictionaryArray.from_arrays(codes, [sell, buy]).cast(pa.string())
    return page


def _parse(data: bytes, names: Sequence[str | None], what: str) -> Page:
    lines = _without_header(data)
    if not lines or lines.isspace():
        return Page({name: _empty(name) for name in names if name is not None})
    # No strip or partition: both copy megabytes to look at a few bytes.
    first_end = lines.find(b"\n")
    width = lines.count(b",", 0, first_end if first_end >= 0 else len(lines)) + 1
    if width < len(names):
        raise MalformedPayload(NAME, what, lines[:200].decode(errors="replace"))
    return _fast(lines, names, width) or _strict(lines, names)


def _without_header(data: bytes) -> bytes:
    """Return the lines from the first that begins with a digit on, one header line skipped."""
    if data[:1].isdigit():
        return data
    head, _, rest = data.partition(b"\n")
    return rest if head.lstrip(b"\xef\xbb\xbf\"' ")[:1].isalpha() else data


def _empty(name: str) -> Any:
    if name == _FLAG:
        return np.zeros(0, np.bool_)
    return np.zeros(0, np.int64 if name in _INTEGERS else np.float64)


# -- fast ----------------------------------------------------------------------------------------


def _fast(lines: bytes, names: Sequence[str | None], width: int) -> Page | None:
    """Return the block if every line is whole and every number is one, else None."""
    frame = _read(lines, names, width)
    if frame is None or any(column.null_count() for column in frame):
        return None
    page = Page({})
    for column in frame:
        values = _flags(column) if column.name == _FLAG else column.to_numpy()
        if values is None or not _is_sane(values):
            return None
        page.columns[column.name] = values
    large = [
        name
        for name, values in page.columns.items()
        if values.dtype == np.float64 and float(np.abs(values).max()) >= _EXACT_BELOW
    ]
    if large:
        page.precision_loss = _count_lost(lines, names, width, page, large)
    return page


def _read(
    lines: bytes, names: Sequence[str | None], width: int, texts: Sequence[str] = ()
) -> pl.DataFrame | None:
    """Return the named columns, those of `texts` alone and as text where any are given."""
    labels = [name or f"skip{i}" for i, name in enumerate(names)]
    labels += [f"skip{i}" for i in range(len(names), width)]
    kinds: dict[str, Any] = dict.fromkeys(labels, pl.Float64)
    kinds.update(dict.fromkeys(_INTEGERS.intersection(labels), pl.Int64))
    kinds.update(dict.fromkeys([name for name in (*texts, _FLAG) if name in kinds], pl.String))
    wanted = texts or [name for name in names if name is not None]
    try:
        return pl.read_csv(
            lines,
            has_header=False,
            schema=kinds,
            columns=[labels.index(name) for name in wanted],
            quote_char=None,
        )
    except pl.exceptions.PolarsError:
        return None


def _flags(column: pl.Series) -> npt.NDArray[np.bool_] | None:
    # Comparing four times is several times faster than lower-casing once.
    yes = (column == "True") | (column == "true")
    no = (column == "False") | (column == "false")
    return yes.to_numpy() if bool((yes | no).all()) else None


def _is_sane(values: npt.NDArray[Any]) -> bool:
    if values.dtype == np.float64:
        return bool(np.isfinite(values).all())
    return values.dtype == np.bool_ or bool((np.abs(values) < _MAX_INT).all())


def _count_lost(
    lines: bytes, names: Sequence[str | None], width: int, page: Page, large: Sequence[str]
) -> int:
    frame = _read(lines, names, width, large)
    if frame is None:
        return 0
    lost = 0
    for column in frame:
        values = page.columns[column.name]
        rows = np.flatnonzero(np.abs(values) >= _EXACT_BELOW)
        lost += count_precision_loss(values[rows], column.gather(rows).to_list())
    return lost


# -- strict --------------------------------------------------------------------------------------


def _strict(lines: bytes, names: Sequence[str | None]) -> Page:
    """Read line by line: what cannot be read costs its line."""
    picks = [(i, name) for i, name in enumerate(names) if name is not None]
    rows: list[list[Any]] = []
    page = Page({})
    for line in lines.splitlines():
        text = line.decode(errors="replace").strip()
        if not text:
            continue
        cells = [cell.strip() for cell in text.split(",")]
        try:
            row = [_cell(cells, i, name) for i, name in picks]
        except ValueError as e:
            page.rejected.append(Rejected(_moment(cells, names), str(e), text[:_RAW_CUT]))
            continue
        rows.append(row)
        page.precision_loss += sum(is_lost(cells[i]) for i, name in picks if _is_decimal(name))
    for at, (_, name) in enumerate(picks):
        page.columns[name] = np.array([row[at] for row in rows], _empty(name).dtype)
    return page


def _is_decimal(name: str) -> bool:
    return name != _FLAG and name not in _INTEGERS


def _moment(cells: Sequence[str], names: Sequence[str | None]) -> int | None:
    """Return the time of a refused line if that at least can be read."""
    index = names.index("timestamp")
    text = cells[index][:19] if index < len(cells) else ""
    return int_to_us(int(text)) if text.isascii() and text.isdigit() else None


def _cell(cells: Sequence[str], index: int, name: str) -> Any:
    if index >= len(cells):
        raise ValueError(f"{name} is absent: only {len(cells)} columns")
    text = cells[index]
    if name == _FLAG:
        flag = _FLAGS.get(text.lower())
        if flag is None:
            raise ValueError(f"{name} is neither true nor false: {text[:40]!r}")
        return flag
    if name in _INTEGERS:
        if not (text.isascii() and text.isdigit() and len(text) < _MAX_DIGITS):
            raise ValueError(f"{name} is no whole number: {text[:40]!r}")
        return int(text)
    return number(text, name)
