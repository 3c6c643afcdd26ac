"""Pages of rows: a JSON array of arrays of scalars, read column by column.

The page is cut at its commas by numpy and its tokens are read by Arrow's exact decimal parser in
place, without a Python object per cell: about 0.25 ms for 1,000 rows of 12 columns, against 0.9 ms
for a typed decode turned into columns. The fast way accepts only the one shape it can prove;
anything else is decoded strictly, where a bad cell costs its row and a bad shape the page.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from zvt_crypto.connectors.wire.number import (
    SAFE_DIGITS,
    WHOLE,
    Floats,
    all_whole,
    is_lost,
    number,
    suspects,
)
from zvt_crypto.connectors.wire.page import UNDECODABLE, Page, cut, reject
from zvt_crypto.core.errors import MalformedPayload

Positions: TypeAlias = npt.NDArray[np.int32]

_decode_cells: Final = msgspec.json.Decoder(list[list[msgspec.Raw]]).decode


def rows_to_columns(
    body: bytes | msgspec.Raw, names: Sequence[str | None], *, exchange: str, what: str
) -> Page:
    """Read a JSON array of equally long arrays of numbers, quoted or not.

    Args:
        body: the array alone; take it out of an envelope with a `msgspec.Raw` field.
        names: our name of each column in order, None for those to skip. The rows may have more
            columns than names. `timestamp`, `trade_count`, `fills`, `trade_id` must be whole.
        exchange: named in errors.
        what: named in errors.

    Returns:
        float64 columns, each equal to `float(text)` of every cell, and the rejected rows.

    Raises:
        MalformedPayload: not JSON, not an array of arrays, nested, or too few columns throughout.
    """
    raw = bytes(body)
    return fast_rows(raw, names) or strict_rows(raw, names, exchange, what)


class _Shape(NamedTuple):
    """Where the tokens of a row stand, learned from its first one; one entry per column."""

    wanted: npt.NDArray[np.bool_]
    lead: Positions
    trail: Positions
    before: npt.NDArray[np.uint8]
    after: npt.NDArray[np.uint8]


class _Tokens(NamedTuple):
    """First and last position of every cell, row by row."""

    starts: Positions
    ends: Positions
    wanted: npt.NDArray[np.bool_]


def _shape(first: bytes, names: Sequence[str | None]) -> _Shape | None:
    tokens = first.split(b",")
    width = len(tokens)
    if width < len(names):
        return None
    quoted = [token[:1] == b'"' for token in tokens]
    before = [b'"' if q else b"[" if i == 0 else b"," for i, q in enumerate(quoted)]
    after = [b'"' if q else b"]" if i == width - 1 else b"," for i, q in enumerate(quoted)]
    return _Shape(
        np.array([i < len(names) and names[i] is not None for i in range(width)]),
        np.array([1 + q + (i == 0) for i, q in enumerate(quoted)], np.int32),
        np.array([q + (i == width - 1) for i, q in enumerate(quoted)], np.int32),
        np.frombuffer(b"".join(before), np.uint8),
        np.frombuffer(b"".join(after), np.uint8),
    )


def fast_rows(body: bytes, names: Sequence[str | None]) -> Page | None:
    """Return the page if every byte that gives it its shape is where it must be, else None."""
    # An exponent would upset what `suspects` knows of a number by its length.
    plain = body.startswith(b"[[") and body.endswith(b"]]") and b"e" not in body
    tokens = _find_tokens(body, names) if plain and b"E" not in body else None
    values = None if tokens is None else _read_tokens(body, tokens)
    if tokens is None or values is None:
        return None
    picked = (name for name in names if name is not None)
    columns: dict[str, Any] = dict(zip(picked, values, strict=True))
    if not all(all_whole(columns[name]) for name in WHOLE.intersection(columns)):
        return None
    return Page(columns, precision_loss=_count_lost(body, tokens, values))


def _find_tokens(body: bytes, names: Sequence[str | None]) -> _Tokens | None:
    """Return where the cells are; None if anything about their surroundings is in doubt."""
    shape = _shape(body[2 : body.index(b"]")], names)
    if shape is None:
        return None
    width = len(shape.lead)
    chars = np.frombuffer(body, np.uint8)
    commas = np.flatnonzero(chars == ord(","))
    rows, rest = divmod(len(commas) + 1, width)
    brackets = (np.count_nonzero(chars == ord("[")), np.count_nonzero(chars == ord("]")))
    if rest or brackets != (rows + 1, rows + 1):
        return None
    # The outer brackets play the part of the comma before the first and after the last row.
    bounds = np.empty(len(commas) + 2, np.int32)
    bounds[0], bounds[1:-1], bounds[-1] = 0, commas, len(body) - 1
    starts = bounds[:-1].reshape(rows, width) + shape.lead
    ends = bounds[1:].reshape(rows, width) - shape.trail
    edges = bounds[::width]
    proven = (
        (chars[edges[:-1] + 1] == ord("[")).all()
        and (chars[edges[1:] - 1] == ord("]")).all()
        and (starts < ends).all()
        and (chars.take(starts - 1) == shape.before).all()
        and (chars.take(ends) == shape.after).all()
    )
    return _Tokens(starts, ends, shape.wanted) if proven else None


def _read_tokens(body: bytes, tokens: _Tokens) -> Floats | None:
    """Return the wanted numbers, one row per column; None if one of them is no number."""
    rows, width = tokens.starts.shape
    offsets = np.empty((rows, width, 2), np.int32)
    offsets[:, :, 0], offsets[:, :, 1] = tokens.starts, tokens.ends
    # Arrow sees a string per wanted cell, and a null per other cell and per stretch between two
    # cells, which it does not read: nothing is copied.
    slots = offsets.size - 1
    valid = _validity(rows, tokens.wanted.tobytes())
    texts = pa.Array.from_buffers(
        pa.string(), slots, [valid, pa.py_buffer(offsets), pa.py_buffer(body)]
    )
    try:
        numbers = texts.cast(pa.float64())
    except pa.ArrowInvalid:
        return None
    slot_values: Floats = np.frombuffer(numbers.buffers()[1], np.float64, slots)
    cells = np.flatnonzero(tokens.wanted)
    values = np.empty((len(cells), rows))
    for out, cell in zip(values, cells.tolist(), strict=True):
        out[:] = slot_values[2 * cell :: 2 * width]
    return values if np.isfinite(values).all() else None


@lru_cache(maxsize=64)
def _validity(rows: int, wanted: bytes) -> pa.Buffer:
    """Return the bits that tell wanted cells from all else; pages mostly have the same size."""
    valid = np.zeros((rows, len(wanted), 2), bool)
    valid[:, :, 0] = np.frombuffer(wanted, bool)
    return pa.py_buffer(np.packbits(valid, bitorder="little"))


def _count_lost(body: bytes, tokens: _Tokens, values: Floats) -> int:
    lengths = (tokens.ends - tokens.starts)[:, tokens.wanted].T
    columns, rows = np.nonzero(lengths > SAFE_DIGITS)
    if len(rows) == 0:
        return 0
    marked = suspects(values[columns, rows], lengths[columns, rows])
    cells = np.flatnonzero(tokens.wanted)[columns[marked]]
    first, last = tokens.starts[rows[marked], cells], tokens.ends[rows[marked], cells]
    pairs = zip(first.tolist(), last.tolist(), strict=True)
    return sum(is_lost(body[a:b].decode()) for a, b in pairs)


def strict_rows(body: bytes, names: Sequence[str | None], exchange: str, what: str) -> Page:
    """Return the page cell by cell; see `rows_to_columns`, which it is the slow way of."""
    try:
        rows = _decode_cells(body)
    except UNDECODABLE as e:
        raise MalformedPayload(exchange, what, f"{e}: {cut(body)}") from e
    if rows and all(len(row) < len(names) for row in rows):
        raise MalformedPayload(exchange, what, f"fewer than {len(names)} columns: {cut(body)}")
    picks = [(i, name) for i, name in enumerate(names) if name is not None]
    columns: dict[str, list[float]] = {name: [] for _, name in picks}
    page = Page({})
    for row in rows:
        cells = [bytes(cell).strip() for cell in row]
        if any(cell[:1] in (b"[", b"{") for cell in cells):
            raise MalformedPayload(exchange, what, f"nested values: {cut(body)}")
        try:
            texts = [_cell_text(cells, i, name) for i, name in picks]
            values = [number(t, name) for t, (_, name) in zip(texts, picks, strict=True)]
        except (ValueError, msgspec.DecodeError) as e:
            page.rejected.append(reject(b"[" + b",".join(cells) + b"]", str(e), cells[:1]))
            continue
        page.precision_loss += sum(is_lost(text) for text in texts)
        for (_, name), value in zip(picks, values, strict=True):
            columns[name].append(value)
    page.columns = {name: np.array(values, np.float64) for name, values in columns.items()}
    return page


def _cell_text(cells: Sequence[bytes], index: int, name: str) -> str:
    if index >= len(cells):
        raise ValueError(f"{name} is absent: only {len(cells)} columns")
    cell = cells[index]
    return msgspec.json.decode(cell, type=str) if cell[:1] == b'"' else cell.decode()
