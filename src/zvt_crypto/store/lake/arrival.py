"""What has just arrived: the rows of all series of one commit, side by side in one place.

A live commit brings a row or two for each of hundreds of series. Put straight into chunks of
their series, they would touch as many pages of the catalog; here they touch a handful. Every now
and then what has gathered is turned into one chunk a series.
"""

import itertools
import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec
import numpy as np

from zvt_crypto.core.ranges import Range
from zvt_crypto.core.rows import Int64s
from zvt_crypto.core.series import Kind
from zvt_crypto.store.lake.chunk import Chunk, Packed, row_bytes

ARRIVAL_TABLE: Final = """CREATE TABLE arrival (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    known_us INTEGER NOT NULL,
    directory BLOB NOT NULL,
    fixed BLOB NOT NULL,
    lengths BLOB NOT NULL,
    texts BLOB NOT NULL)"""

# One line a series, ascending: which rows and which bytes of the texts are its own.
_DIRECTORY: Final = np.dtype(
    [
        ("series_id", "<i8"),
        ("first_us", "<i8"),
        ("last_us", "<i8"),
        ("start", "<i8"),
        ("rows", "<i8"),
        ("text_start", "<i8"),
        ("text_bytes", "<i8"),
    ]
)


class Piece(msgspec.Struct, frozen=True):
    """Where the rows of one series are within one arrival."""

    id: int
    known_us: int
    series_id: int
    first_us: int
    last_us: int
    start: int
    rows: int
    text_start: int
    text_bytes: int

    def chunk(self, fixed: bytes, lengths: bytes, texts: bytes) -> Chunk:
        """Return the rows, with their bytes, as a chunk."""
        return (
            self.series_id,
            self.first_us,
            self.known_us,
            self.last_us,
            self.rows,
            fixed,
            lengths,
            texts,
        )


class _Arrival(msgspec.Struct, frozen=True):
    id: int
    known_us: int
    directory: bytes
    fixed: bytes
    lengths: bytes
    texts: bytes


def insert(
    connection: sqlite3.Connection,
    kind: Kind,
    packed: Packed,
    places: Sequence[tuple[int, int, int]],
    now_us: int,
) -> None:
    """Write rows of several series: `places` gives each one's id, first row, and row after."""
    ids, starts, stops = np.array(sorted(places), dtype=np.int64).T
    directory = np.zeros(len(places), dtype=_DIRECTORY)
    directory["series_id"] = ids
    directory["first_us"] = packed.moments[starts]
    directory["last_us"] = packed.moments[stops - 1]
    directory["start"] = starts
    directory["rows"] = stops - starts
    directory["text_start"] = packed.ends[starts]
    directory["text_bytes"] = packed.ends[stops] - packed.ends[starts]
    blocks = (directory.tobytes(), packed.fixed.tobytes(), packed.lengths.tobytes(), packed.texts)
    connection.execute(
        "INSERT INTO arrival (kind, known_us, directory, fixed, lengths, texts) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        (kind.value, now_us, *blocks),
    )


def pieces(connection: sqlite3.Connection, kind: Kind, series_id: int, asked: Range) -> list[Piece]:
    """Return where rows of a series that may lie in `asked` are, oldest arrival first."""
    found: list[Piece] = []
    for key, known, body in connection.execute(
        "SELECT id, known_us, directory FROM arrival WHERE kind = ?", (kind.value,)
    ):
        directory = np.frombuffer(body, dtype=_DIRECTORY)
        at = int(np.searchsorted(directory["series_id"], series_id))
        if at == len(directory) or directory["series_id"][at] != series_id:
            continue
        piece = Piece(key, known, *directory[at].tolist())
        if piece.first_us < asked.end and piece.last_us >= asked.start:
            found.append(piece)
    return found


def chunks(connection: sqlite3.Connection, kind: Kind, series_id: int, asked: Range) -> list[Chunk]:
    """Return the rows of a series that may lie in `asked`."""
    return [
        _cut(kind, piece, *_blocks(connection, piece.id))
        for piece in pieces(connection, kind, series_id, asked)
    ]


def newest(connection: sqlite3.Connection, kind: Kind, ends: Mapping[int, int]) -> list[Chunk]:
    """Return what of the given series has arrived and reaches to the given last moments."""
    ids = np.array(sorted(ends), dtype=np.int64)
    lasts = np.array([ends[key] for key in ids.tolist()], dtype=np.int64)
    found: list[Chunk] = []
    for key, known, body in connection.execute(
        "SELECT id, known_us, directory FROM arrival WHERE kind = ?", (kind.value,)
    ):
        directory = np.frombuffer(body, dtype=_DIRECTORY)
        at = np.minimum(np.searchsorted(ids, directory["series_id"]), len(ids) - 1)
        wanted = (ids[at] == directory["series_id"]) & (lasts[at] == directory["last_us"])
        if wanted.any():
            blocks = _blocks(connection, key)
            lines = directory[wanted].tolist()
            found.extend(_cut(kind, Piece(key, known, *line), *blocks) for line in lines)
    return found


def kinds(connection: sqlite3.Connection) -> list[Kind]:
    """Return the kinds of which something has arrived."""
    return [Kind(kind) for (kind,) in connection.execute("SELECT DISTINCT kind FROM arrival")]


def gathered(connection: sqlite3.Connection, kind: Kind) -> tuple[list[int], list[Chunk]]:
    """Return the ids of all arrivals of a kind, and their rows as one chunk a series."""
    arrivals = [
        _Arrival(*row)
        for row in connection.execute(
            "SELECT id, known_us, directory, fixed, lengths, texts FROM arrival "
            "WHERE kind = ? ORDER BY id",
            (kind.value,),
        )
    ]
    return [one.id for one in arrivals], _regrouped(kind, arrivals) if arrivals else []


def count(connection: sqlite3.Connection) -> int:
    """Return how many arrivals there are."""
    return connection.execute("SELECT COUNT(*) FROM arrival").fetchone()[0]


def are_there(connection: sqlite3.Connection, ids: Sequence[int]) -> bool:
    """Return whether none of these arrivals has been dealt with yet."""
    (found,) = connection.execute(
        "SELECT COUNT(*) FROM arrival WHERE id IN (SELECT value FROM json_each(?))",
        (json.dumps(ids),),
    ).fetchone()
    return found == len(ids)


def forget(connection: sqlite3.Connection, ids: Iterable[int]) -> int:
    """Remove arrivals; return how many were there."""
    return connection.executemany(
        "DELETE FROM arrival WHERE id = ?", [(key,) for key in ids]
    ).rowcount


def _blocks(connection: sqlite3.Connection, arrival_id: int) -> tuple[bytes, bytes, bytes]:
    return connection.execute(
        "SELECT fixed, lengths, texts FROM arrival WHERE id = ?", (arrival_id,)
    ).fetchone()


def _cut(kind: Kind, piece: Piece, fixed: bytes, lengths: bytes, texts: bytes) -> Chunk:
    wide, narrow = row_bytes(kind)
    start, stop = piece.start, piece.start + piece.rows
    return piece.chunk(
        fixed[start * wide : stop * wide],
        lengths[start * narrow : stop * narrow],
        texts[piece.text_start : piece.text_start + piece.text_bytes],
    )


def _regrouped(kind: Kind, arrivals: Sequence[_Arrival]) -> list[Chunk]:
    """Return the rows of arrivals as one chunk a series: tens of thousands of pieces in one go."""
    wide, narrow = row_bytes(kind)
    directories = [np.frombuffer(one.directory, dtype=_DIRECTORY) for one in arrivals]
    pieces = np.concatenate(directories)
    sizes = [len(directory) for directory in directories]
    # Blocks are laid end to end, so places within one are moved by what lies before it.
    rows_before = np.cumsum([0, *(len(one.fixed) // wide for one in arrivals)])[:-1]
    bytes_before = np.cumsum([0, *(len(one.texts) for one in arrivals)])[:-1]
    first_row = pieces["start"] + np.repeat(rows_before, sizes)
    first_byte = pieces["text_start"] + np.repeat(bytes_before, sizes)
    known = np.repeat([one.known_us for one in arrivals], sizes)

    order = np.argsort(pieces["series_id"], kind="stable")
    pieces, first_row, first_byte = pieces[order], first_row[order], first_byte[order]
    heads = np.flatnonzero(np.diff(pieces["series_id"], prepend=-1))
    rows = np.add.reduceat(pieces["rows"], heads)
    columns = (
        pieces["series_id"][heads],
        np.minimum.reduceat(pieces["first_us"], heads),
        np.maximum.reduceat(known[order], heads),
        np.maximum.reduceat(pieces["last_us"], heads),
        rows,
    )
    blocks = (
        _moved([a.fixed for a in arrivals], first_row * wide, pieces["rows"] * wide, heads),
        _moved([a.lengths for a in arrivals], first_row * narrow, pieces["rows"] * narrow, heads),
        _moved([a.texts for a in arrivals], first_byte, pieces["text_bytes"], heads),
    )
    return list(zip(*(column.tolist() for column in columns), *blocks, strict=True))


def _moved(blocks: Sequence[bytes], starts: Int64s, sizes: Int64s, heads: Int64s) -> list[bytes]:
    """Return stretches of the blocks laid end to end, joined from each head to the next."""
    body = b"".join(blocks)
    parts = [
        body[at:end] for at, end in zip(starts.tolist(), (starts + sizes).tolist(), strict=True)
    ]
    bounds = [*heads.tolist(), len(parts)]
    return [b"".join(parts[a:b]) for a, b in itertools.pairwise(bounds)]
