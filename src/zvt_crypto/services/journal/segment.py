"""How a journal segment lies on disk. Pure: bytes in, bytes out.

A segment is a head, then blocks, then a tail if it was closed in order. A block is one zstd frame
behind its length and checksums, and can be read alone: it brings the names of its connections. So
a torn end costs the last block and nothing before it, and damage in the middle costs one block.

```text
head   "ZVTJ" version:u8 writer:16s crc32:u32
block  "ZVB1" packed:u32 unpacked:u32 frames:u32 first:i64 last:i64 crc32(packed) crc32(before)
       zstd( connections:u32 (length:u32 utf8)*  (ts:i64 connection:u32 direction:u8 length:u32)*
             the frames one after the other )
tail   "ZVTE" blocks:u64 frames:u64 crc32:u32
```
"""

import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Final
from zlib import crc32

import msgspec

from zvt_crypto.services.journal.frame import Direction, RawFrame

SUFFIX: Final = ".zvtj"
OPEN_SUFFIX: Final = ".zvtj.open"
"""A segment that is being written, or whose writer died."""

MOST_FRAME_BYTES: Final = 64 << 20
MOST_BLOCK_BYTES: Final = 160 << 20
"""A block that claims to unpack to more is damage: writers stay far below."""

HEAD_MAGIC: Final = b"ZVTJ"
BLOCK_MAGIC: Final = b"ZVB1"
TAIL_MAGIC: Final = b"ZVTE"
_VERSION: Final = 1

_HEAD: Final = struct.Struct("<4sB16s")
_BLOCK: Final = struct.Struct("<4sIIIqqI")
_TAIL: Final = struct.Struct("<4sQQ")
_CRC: Final = struct.Struct("<I")
_RECORD: Final = struct.Struct("<qIBI")

HEAD_BYTES: Final = _HEAD.size + _CRC.size
BLOCK_HEAD_BYTES: Final = _BLOCK.size + _CRC.size
TAIL_BYTES: Final = _TAIL.size + _CRC.size

NO_TIME: Final = -(1 << 63)
_DIRECTIONS: Final = (Direction.IN, Direction.OUT)

Queued = tuple[str, Direction, int, bytes]
"""Connection, direction, receive time, bytes: what waits to be written."""


class Damaged(Exception):
    """These bytes are no whole part of a segment."""


class BlockHead(msgspec.Struct, frozen=True):
    """What stands before a block; times are of its first and last frame."""

    packed_bytes: int
    unpacked_bytes: int
    frames: int
    first: int
    last: int
    checksum: int


class Tail(msgspec.Struct, frozen=True):
    """What a segment that was closed in order ends with."""

    blocks: int
    frames: int


def encode_head(writer: bytes) -> bytes:
    """Return the beginning of a segment; `writer` is 16 bytes that name who writes it."""
    return _sealed(_HEAD.pack(HEAD_MAGIC, _VERSION, writer))


def decode_head(data: bytes) -> bytes:
    """Return the name of the writer.

    Raises:
        Damaged: it is cut short, not ours, or of a later version.
    """
    magic, version, writer = _HEAD.unpack(_unsealed(data, _HEAD.size))
    if magic != HEAD_MAGIC or version != _VERSION:
        raise Damaged(f"not a journal of version {_VERSION}")
    return writer


def encode_block(frames: Sequence[Queued], compress: Callable[[bytes], bytes]) -> bytes:
    """Return one block that holds these frames in this order; there is at least one."""
    places: dict[str, int] = {}
    pack = _RECORD.pack
    heads = bytearray()
    for connection, direction, ts_recv, frame in frames:
        place = places.setdefault(connection, len(places))
        heads += pack(ts_recv, place, 0 if direction == Direction.IN else 1, len(frame))
    names = [name.encode() for name in places]
    table = b"".join((_CRC.pack(len(names)), *(_CRC.pack(len(n)) + n for n in names)))
    unpacked = b"".join((table, heads, *(frame for _, _, _, frame in frames)))
    packed = compress(unpacked)
    head = _BLOCK.pack(
        BLOCK_MAGIC,
        len(packed),
        len(unpacked),
        len(frames),
        frames[0][2],
        frames[-1][2],
        crc32(packed),
    )
    return _sealed(head) + packed


def decode_block_head(data: bytes) -> BlockHead:
    """Return what a block says of itself.

    Raises:
        Damaged: it is cut short or not what was written.
    """
    magic, packed, unpacked, frames, first, last, checksum = _BLOCK.unpack(
        _unsealed(data, _BLOCK.size)
    )
    if magic != BLOCK_MAGIC or unpacked > MOST_BLOCK_BYTES:
        raise Damaged("not a block")
    return BlockHead(packed, unpacked, frames, first, last, checksum)


def decode_block(
    head: BlockHead, packed: bytes, decompress: Callable[[bytes, int], bytes]
) -> Iterator[RawFrame]:
    """Yield the frames of a block whose bytes are whole.

    Raises:
        Damaged: they are not; nothing has been yielded.
    """
    if len(packed) != head.packed_bytes or crc32(packed) != head.checksum:
        raise Damaged("a block is cut short or changed")
    unpacked = decompress(packed, head.unpacked_bytes)
    return _frames(head, unpacked)


def _frames(head: BlockHead, unpacked: bytes) -> Iterator[RawFrame]:
    (count,) = _CRC.unpack_from(unpacked)
    place = _CRC.size
    names: list[str] = []
    for _ in range(count):
        (length,) = _CRC.unpack_from(unpacked, place)
        place += _CRC.size
        names.append(unpacked[place : place + length].decode())
        place += length
    start = place + head.frames * _RECORD.size
    for ts_recv, name, direction, length in _RECORD.iter_unpack(memoryview(unpacked)[place:start]):
        yield RawFrame(
            None if ts_recv == NO_TIME else ts_recv,
            names[name],
            _DIRECTIONS[direction],
            unpacked[start : start + length],
        )
        start += length


def encode_tail(blocks: int, frames: int) -> bytes:
    """Return the end of a segment that is closed in order."""
    return _sealed(_TAIL.pack(TAIL_MAGIC, blocks, frames))


def decode_tail(data: bytes) -> Tail:
    """Return what the end of a segment says.

    Raises:
        Damaged: this is no end.
    """
    magic, blocks, frames = _TAIL.unpack(_unsealed(data, _TAIL.size))
    if magic != TAIL_MAGIC:
        raise Damaged("not the end of a segment")
    return Tail(blocks, frames)


def _sealed(data: bytes) -> bytes:
    return data + _CRC.pack(crc32(data))


def _unsealed(data: bytes, size: int) -> bytes:
    body = data[:size]
    if len(data) < size + _CRC.size or _CRC.unpack_from(data, size)[0] != crc32(body):
        raise Damaged("cut short or changed")
    return body
