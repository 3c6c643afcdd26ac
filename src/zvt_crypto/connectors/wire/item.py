"""Pages of objects: a JSON array of objects, read as Structs and turned into columns."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from math import nan
from typing import Annotated, Any, Final, TypeAlias, TypeVar

import msgspec
import numpy as np
import pyarrow as pa

from zvt_crypto.connectors.wire.number import Floats, count_precision_loss, number
from zvt_crypto.connectors.wire.page import UNDECODABLE, Page, cut, reject
from zvt_crypto.core.errors import MalformedPayload
from zvt_crypto.ports.connector import Rejected

T = TypeVar("T")

Int64: TypeAlias = Annotated[int, msgspec.Meta(ge=-(2**62), le=2**62)]
"""Field of a Struct that becomes a column of integers: what is longer is refused, not wrapped."""

_decode_items: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode


def decode_objects(
    body: bytes | msgspec.Raw, row: type[T], *, exchange: str, what: str
) -> tuple[list[T], list[Rejected]]:
    """Read a JSON array of objects as Structs; objects that do not fit are rejected one by one.

    Raises:
        MalformedPayload: not JSON, or not an array.
    """
    raw = bytes(body)
    try:
        return msgspec.json.decode(raw, type=list[row]), []
    except UNDECODABLE:
        pass
    try:
        items = _decode_items(raw)
    except UNDECODABLE as e:
        raise MalformedPayload(exchange, what, f"{e}: {cut(raw)}") from e
    good: list[T] = []
    rejected: list[Rejected] = []
    for item in items:
        try:
            good.append(msgspec.json.decode(item, type=row))
        except UNDECODABLE as e:
            rejected.append(reject(bytes(item), str(e)))
    return good, rejected


def struct_columns(
    rows: Sequence[Any],
    *,
    numbers: Mapping[str, Callable[[Any], str | None]],
    plain: Mapping[str, Callable[[Any], Any]],
    nullable: Collection[str] = (),
    rejected: Iterable[Rejected] = (),
) -> Page:
    """Turn decoded Structs into columns.

    Args:
        rows: Structs of one type.
        numbers: how to get the decimal text of a number, by our column name.
        plain: how to get a value that needs no parsing (int, bool, str), by our column name.
        nullable: numbers that may be None or empty; they become NaN.
        rejected: rows refused before, to be kept with those refused here.

    Returns:
        Columns of the rows whose numbers can all be read; the others in `rejected`.
    """
    page = Page({}, list(rejected))
    texts = {name: [get(row) for row in rows] for name, get in numbers.items()}
    read = {name: _read_texts(column, name in nullable) for name, column in texts.items()}
    if any(values is None for values in read.values()):
        kept = _keep_good_rows(rows, texts, nullable, page)
        rows = [rows[i] for i in kept]
        texts = {name: [column[i] for i in kept] for name, column in texts.items()}
        read = {
            name: np.array([float(text) if text else nan for text in column])
            for name, column in texts.items()
        }
    for name, values in read.items():
        if values is not None:
            page.columns[name] = values
            page.precision_loss += count_precision_loss(values, texts[name])
    for name, get in plain.items():
        page.columns[name] = [get(row) for row in rows]
    return page


def _read_texts(texts: Sequence[str | None], nullable: bool) -> Floats | None:  # noqa: FBT001
    """Return the numbers, NaN for an absent one where that is allowed; None if one is bad."""
    column = pa.array(texts, pa.string())
    if nullable:
        column = pa.array([text or None for text in texts], pa.string())
    elif column.null_count:
        return None
    try:
        values: Floats = column.cast(pa.float64()).fill_null(nan).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        return None
    fine = np.isfinite(values)
    return values if int(fine.sum()) == len(values) - column.null_count else None


def _keep_good_rows(
    rows: Sequence[Any],
    texts: Mapping[str, Sequence[str | None]],
    nullable: Collection[str],
    page: Page,
) -> list[int]:
    """Return the rows whose numbers can all be read; note the others in `page`."""
    kept: list[int] = []
    for i, row in enumerate(rows):
        try:
            for name, column in texts.items():
                text = column[i]
                if not (name in nullable and not text):
                    number(text or "", name)
        except ValueError as e:
            page.rejected.append(reject(msgspec.json.encode(row), str(e)))
        else:
            kept.append(i)
    return kept
