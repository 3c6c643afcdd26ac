"""Values as bytes: a version, an order that machines compare alike, and a msgpack array.

```text
value    version:1  order:16  msgpack [tag, field...]      exchange and symbol stand in the key
message  version:1  msgpack [[tag, field...]...]           the series stands in the channel's name
```

`order` is two big-endian numbers that make a later record the greater one, byte by byte: that is
what a Redis script compares. Bytes of another version, or that are no record of the series, are
nothing: a miss. Whoever changes a record of `core.record` or a tag raises `VERSION`; a test holds
the bytes.
"""

from collections.abc import Sequence
from operator import attrgetter
from typing import Any, Final, cast

import msgspec

from zvt_crypto.core.interval import Interval
from zvt_crypto.core.record import (
    Book,
    BookReset,
    Candle,
    Disconnected,
    Funding,
    Gap,
    GapRepaired,
    GapUnrecoverable,
    InstrumentStatus,
    Liquidation,
    MarkPrice,
    OpenInterest,
    Quote,
    Stale,
    Trade,
)
from zvt_crypto.core.series import Kind, Series
from zvt_crypto.ports.cache import ABSENT, Absent, Event, Held

VERSION: Final = 1
ORDER_BYTES: Final = 16
HEAD_BYTES: Final = 1 + ORDER_BYTES

_MARK: Final = bytes([VERSION])
_HALF: Final = 1 << 63
_TOP: Final = (1 << 64) - 1
_CLOSED: Final = 1 << 62
_ABSENT: Final = _MARK + bytes(ORDER_BYTES) + msgspec.msgpack.encode(None)

_TAGS: Final[dict[type, int]] = {
    Trade: 1,
    Quote: 2,
    Book: 3,
    Candle: 4,
    MarkPrice: 5,
    Funding: 6,
    OpenInterest: 7,
    Liquidation: 8,
    InstrumentStatus: 9,
    Gap: 32,
    GapRepaired: 33,
    GapUnrecoverable: 34,
    Stale: 35,
    Disconnected: 36,
    BookReset: 37,
}
_LATEST: Final[dict[Kind, type]] = {
    Kind.TRADES: Trade,
    Kind.QUOTES: Quote,
    Kind.BOOK: Quote,
    Kind.CANDLES: Candle,
    Kind.MARK_PRICE: MarkPrice,
    Kind.FUNDING: Funding,
    Kind.OPEN_INTEREST: OpenInterest,
    Kind.LIQUIDATIONS: Liquidation,
    Kind.STATUS: InstrumentStatus,
}
_IN_KEY: Final = {"exchange", "symbol", "interval", "series"}

_encode: Final = msgspec.msgpack.Encoder().encode
_decode_raw: Final = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode


def _fields(record: type) -> tuple[str, ...]:
    return tuple(one.name for one in msgspec.structs.fields(record) if one.name not in _IN_KEY)


def _decoder(record: type) -> Any:
    """Return the decoder of `[tag, field...]`; types are checked, and how many there are."""
    types = [one.type for one in msgspec.structs.fields(record) if one.name not in _IN_KEY]
    return msgspec.msgpack.Decoder(tuple.__class_getitem__((int, *types))).decode  # type: ignore[attr-defined]


_NAMES: Final = {record: _fields(record) for record in _TAGS}
_DECODERS: Final = {record: _decoder(record) for record in _TAGS}
_VALUES: Final = {record: attrgetter(*names) for record, names in _NAMES.items()}
_BY_TAG: Final = {tag: record for record, tag in _TAGS.items()}


def order_of(record: Held) -> bytes:
    """Return what makes a later record of one series the greater.

    Event time first. Within one moment: a quote's sequence, a trade's number; of candles of one
    open the closed one, then the one that came later; of the rest the one that came later.
    """
    if isinstance(record, Quote):
        second = record.sequence or 0
    elif isinstance(record, Trade):
        second = _number(record.trade_id)
    elif isinstance(record, Candle):
        second = record.ts_recv + (_CLOSED if record.is_closed else 0)
    else:
        second = record.ts_recv
    return _eight(record.ts_event) + _eight(second)


def _number(trade_id: int | str) -> int:
    if isinstance(trade_id, int):
        return trade_id
    is_number = trade_id.isascii() and trade_id.isdigit() and len(trade_id) <= len(str(_HALF))
    return int(trade_id) if is_number else 0


def _eight(number: int) -> bytes:
    return min(max(number + _HALF, 1), _TOP).to_bytes(8, "big")


def encode_value(record: Held | Absent) -> bytes:
    """Return a latest value as bytes."""
    if record is ABSENT:
        return _ABSENT
    return b"".join((_MARK, order_of(record), _encode(_body(record))))


def decode_value(series: Series, data: bytes | None) -> Held | Absent | None:
    """Return the latest value of a series; None for what is not one of this version."""
    if data is None or len(data) <= HEAD_BYTES or data[0] != VERSION:
        return None
    if data == _ABSENT:
        return ABSENT
    record = _LATEST[series.kind]
    try:
        tag, *fields = _DECODERS[record](memoryview(data)[HEAD_BYTES:])
    except (msgspec.DecodeError, ValueError):
        return None
    return cast("Held", _made(record, series, fields)) if tag == _TAGS[record] else None


def encode_message(records: Sequence[Event]) -> bytes:
    """Return records of one series as one message."""
    return _MARK + _encode([_body(record) for record in records])


def decode_message(series: Series, data: bytes) -> list[Event]:
    """Return the records of a message; none if it is of another version or damaged."""
    if data[:1] != _MARK:
        return []
    try:
        parts = _decode_raw(memoryview(data)[1:])
        return [_part(series, part) for part in parts]
    except (msgspec.DecodeError, ValueError, KeyError, IndexError):
        return []


def _part(series: Series, part: msgspec.Raw) -> Event:
    record = _BY_TAG[msgspec.msgpack.decode(_decode_raw(part)[0], type=int)]
    _, *fields = _DECODERS[record](part)
    return cast("Event", _made(record, series, fields))


def _body(record: Event) -> list[Any]:
    kind = type(record)
    return [_TAGS[kind], *_VALUES[kind](record)]


def _made(record: Any, series: Series, fields: Sequence[Any]) -> Any:
    if record is Candle:
        return Candle(series.exchange, series.symbol, cast("Interval", series.interval), *fields)
    if record is Book or _TAGS[record] >= _TAGS[Gap]:
        values: dict[str, Any] = dict(zip(_NAMES[record], fields, strict=True))
        if record is Book:
            return Book(exchange=series.exchange, symbol=series.symbol, **values)
        make: Any = record
        return make(series=series, **values)
    return record(series.exchange, series.symbol, *fields)


def key_of(prefix: str, series: Series) -> str:
    """Return the name of a series' value; what is in braces keeps an instrument together."""
    tail = "" if series.interval is None else f":{series.interval}"
    return f"{prefix}:{{{series.exchange}:{series.symbol}}}:{series.kind}{tail}"


def series_of_key(prefix: str, key: str) -> Series | None:
    """Return the series a key or channel is of; None if it is none of ours."""
    head, brace, rest = key.removeprefix(f"{prefix}:{{").partition("}:")
    exchange, _, symbol = head.partition(":")
    kind, _, interval = rest.partition(":")
    if not brace or not key.startswith(f"{prefix}:{{"):
        return None
    try:
        return Series(exchange, symbol, Kind(kind), Interval(interval) if interval else None)
    except ValueError:
        return None
