"""Hot rows as bytes: fixed-width columns as one block, texts and lists of numbers as another.

Chunks of many commits are joined byte by byte and turned into columns at once, so neither
writing nor reading touches single values.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from zvt_crypto.core.column import as_array
from zvt_crypto.core.rows import Int64s, arrange, pc, times
from zvt_crypto.core.schema import KNOWN, LATECOMERS, SCHEMAS
from zvt_crypto.core.series import Kind

Chunk = tuple[int, int, int, int, int, bytes, bytes, bytes]
"""Series, first time, newest `known_us`, last time, rows, fixed block, lengths, texts.

Lists of numbers are kept as texts are: eight bytes an element.
"""

_NUMBER_BYTES: Final = 8


def _is_varied(field: pa.Field) -> bool:
    """Return whether the values of a column differ in length."""
    return pa.types.is_string(field.type) or pa.types.is_list(field.type)


def _layout(schema: pa.Schema) -> np.dtype[np.void]:
    fixed = [field for field in schema if not _is_varied(field)]
    formats = ["<f8" if pa.types.is_floating(field.type) else "<i8" for field in fixed]
    fields = list(zip([field.name for field in fixed], formats, strict=True))
    # One bit a column: set where the value is null.
    return np.dtype([*fields, (KNOWN.name, "<i8"), ("nulls", "<u2")])


_LAYOUTS: Final = {kind: _layout(schema) for kind, schema in SCHEMAS.items()}
# Made once, as it is asked for several times a commit: a load finds no hot rows.
_NO_ROWS: Final = {
    kind: pa.schema([*schema, KNOWN]).empty_table() for kind, schema in SCHEMAS.items()
}
_TEXTS: Final = {
    kind: [field.name for field in schema if _is_varied(field)] for kind, schema in SCHEMAS.items()
}


# As rows were laid out before their kind had its latest columns.
_FORMER: Final = {
    kind: _layout(pa.schema([field for field in SCHEMAS[kind] if field.name not in names]))
    for kind, names in LATECOMERS.items()
}


class Packed(msgspec.Struct, frozen=True):
    """Rows in the form chunks are cut from."""

    moments: npt.NDArray[np.int64]
    fixed: npt.NDArray[np.void]
    lengths: npt.NDArray[np.int32]
    texts: bytes
    ends: npt.NDArray[np.int64]

    def chunk(self, series_id: int, first: int, last: int) -> Chunk:
        """Return rows `first` to `last`, which are of one series, as a chunk."""
        return (
            series_id,
            int(self.moments[first]),
            int(self.fixed[KNOWN.name][first:last].max()),
            int(self.moments[last - 1]),
            last - first,
            self.fixed[first:last].tobytes(),
            self.lengths[first:last].tobytes(),
            self.texts[self.ends[first] : self.ends[last]],
        )


def row_bytes(kind: Kind) -> tuple[int, int]:
    """Return what one row takes in the fixed block and in the lengths."""
    return _LAYOUTS[kind].itemsize, 4 * len(_TEXTS[kind])


def widened(kind: Kind, former: bytes) -> bytes:
    """Return the fixed block of rows packed before their kind had its latest columns."""
    old = np.frombuffer(former, dtype=_FORMER[kind])
    new = np.zeros(len(old), dtype=_LAYOUTS[kind])
    for name in old.dtype.names or ():
        new[name] = old[name]
    return new.tobytes()


def pack(kind: Kind, table: pa.Table, known_us: int | None = None) -> Packed:
    """Return rows packed; they are known since `known_us`, or as the table says."""
    fixed = np.zeros(table.num_rows, dtype=_LAYOUTS[kind])
    if known_us is None:
        known = np.asarray(table.column(KNOWN.name))
    else:
        known = np.full(table.num_rows, known_us, dtype=np.int64)
    fixed[KNOWN.name] = known
    names = [name for name in SCHEMAS[kind].names if name not in _TEXTS[kind]]
    for bit, name in enumerate(names):
        column = as_array(table.column(name))
        if pa.types.is_timestamp(column.type):
            column = column.view(pa.int64())
        if column.null_count:
            fixed["nulls"] |= np.asarray(column.is_null()).astype(np.uint16) << np.uint16(bit)
            column = column.fill_null(0)
        fixed[name] = column.to_numpy()
    names = _TEXTS[kind]
    lengths = np.zeros((table.num_rows, len(names)), dtype=np.int32)
    texts = b""
    if names and table.num_rows:
        columns = [_bytes_of(as_array(table.column(name))) for name in names]
        for number, column in enumerate(columns):
            lengths[:, number] = np.asarray(pc.binary_length(column))
        joined = pc.binary_join_element_wise(*columns, pa.scalar("", columns[0].type))
        offsets = np.frombuffer(joined.buffers()[1], np.int32)
        offsets = offsets[joined.offset : joined.offset + len(joined) + 1]
        texts = joined.buffers()[2].to_pybytes()[offsets[0] : offsets[-1]]
    ends = np.zeros(table.num_rows + 1, dtype=np.int64)
    np.cumsum(lengths.sum(axis=1), out=ends[1:])
    return Packed(times(table), fixed, lengths, texts, ends)


def unpack(kind: Kind, chunks: Sequence[Chunk]) -> pa.Table:
    """Return the rows of chunks of one series in key order, with `known_us`."""
    return unpack_many(kind, chunks)[0] if chunks else _NO_ROWS[kind]


def unpack_many(kind: Kind, chunks: Sequence[Chunk]) -> tuple[pa.Table, Int64s]:
    """Return the rows of chunks by series and key, with `known_us`, and the series of each."""
    fixed = np.frombuffer(b"".join([c[5] for c in chunks]), dtype=_LAYOUTS[kind])
    texts = dict(zip(_TEXTS[kind], _split(kind, chunks), strict=True))
    columns: list[Any] = []
    bit = 0
    for field in SCHEMAS[kind]:
        if field.name in texts:
            columns.append(_values_of(texts[field.name], field.type))
            continue
        values = np.ascontiguousarray(fixed[field.name])
        mask = None
        if field.nullable:
            mask = (fixed["nulls"] >> np.uint16(bit)) & np.uint16(1) != 0
        bit += 1
        column = pa.array(values, mask=mask)
        columns.append(column.cast(field.type) if column.type != field.type else column)
    known = np.ascontiguousarray(fixed[KNOWN.name])
    table = pa.table([*columns, pa.array(known)], schema=_NO_ROWS[kind].schema)
    series = np.repeat(
        np.array([chunk[0] for chunk in chunks], dtype=np.int64),
        np.array([chunk[4] for chunk in chunks], dtype=np.int64),
    )
    return arrange(kind, table, series)


def _split(kind: Kind, chunks: Sequence[Chunk]) -> list[pa.Array]:
    """Return the text columns as bytes: they lie row by row, one column after the other."""
    width = len(_TEXTS[kind])
    if not width:
        return []
    lengths = np.frombuffer(b"".join([c[6] for c in chunks]), dtype=np.int32)
    offsets = np.zeros(len(lengths) + 1, dtype=np.int32)
    np.cumsum(lengths, out=offsets[1:])
    body = pa.py_buffer(b"".join([c[7] for c in chunks]))
    values = pa.Array.from_buffers(pa.binary(), len(lengths), [None, pa.py_buffer(offsets), body])
    return [values.take(pa.array(np.arange(at, len(lengths), width))) for at in range(width)]


def _bytes_of(column: pa.Array) -> pa.Array:
    """Return texts as they are, and lists of numbers as the bytes of these."""
    if not pa.types.is_list(column.type):
        return column
    offsets = np.frombuffer(column.buffers()[1], np.int32)
    offsets = offsets[column.offset : column.offset + len(column) + 1]
    first, last = offsets[[0, -1]].tolist()
    body = np.ascontiguousarray(column.values.slice(first, last - first), dtype="<f8")
    places = pa.py_buffer((offsets - first) * np.int32(_NUMBER_BYTES))
    return pa.Array.from_buffers(pa.binary(), len(column), [None, places, pa.py_buffer(body)])


def _values_of(column: pa.Array, wanted: pa.DataType) -> pa.Array:
    """Undo `_bytes_of`."""
    if not pa.types.is_list(wanted):
        return column.view(wanted)
    if not len(column):
        return pa.array([], wanted)
    _, places, body = column.buffers()
    offsets = np.frombuffer(places, np.int32)[column.offset : column.offset + len(column) + 1]
    first, last = offsets[[0, -1]].tolist()
    numbers = np.frombuffer(body or b"", dtype=np.uint8)[first:last].view("<f8")
    counts = pa.py_buffer((offsets - first) // np.int32(_NUMBER_BYTES))
    elements = pa.array(numbers, pa.float64())
    return pa.Array.from_buffers(wanted, len(column), [None, counts], children=[elements])
