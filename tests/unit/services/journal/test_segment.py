"""Blocks: round trip, and every torn end or flipped byte is noticed."""

import zlib

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from zvt_crypto.services.journal import Direction, RawFrame
from zvt_crypto.services.journal.segment import (
    BLOCK_HEAD_BYTES,
    NO_TIME,
    Damaged,
    Queued,
    decode_block,
    decode_block_head,
    decode_head,
    decode_tail,
    encode_block,
    encode_head,
    encode_tail,
)

compress = zstandard.ZstdCompressor(level=1).compress


def unpack(packed: bytes, most: int) -> bytes:
    return zstandard.ZstdDecompressor().decompress(packed, max_output_size=most)


QUEUED = st.tuples(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
    st.sampled_from(list(Direction)),
    st.integers(NO_TIME + 1, (1 << 63) - 1) | st.just(NO_TIME),
    st.binary(max_size=200),
)


@given(st.lists(QUEUED, min_size=1, max_size=30))
def test_a_block_comes_back_as_it_went_in(frames: list[Queued]):
    block = encode_block(frames, compress)
    head = decode_block_head(block)
    found = list(decode_block(head, block[BLOCK_HEAD_BYTES:], unpack))
    assert found == [
        RawFrame(None if ts == NO_TIME else ts, connection, direction, frame)
        for connection, direction, ts, frame in frames
    ]
    assert (head.first, head.last, head.frames) == (frames[0][2], frames[-1][2], len(frames))


@given(st.data())
def test_a_flipped_bit_anywhere_is_noticed(data: st.DataObject):
    block = bytearray(encode_block([("wss://a", Direction.IN, 1, b"frame" * 9)], compress))
    place = data.draw(st.integers(0, len(block) - 1))
    block[place] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(Damaged):
        decode_block(decode_block_head(bytes(block)), bytes(block[BLOCK_HEAD_BYTES:]), unpack)


def test_head_and_tail_are_known_again_and_short_ones_are_not():
    head = encode_head(b"w" * 16)
    assert decode_head(head) == b"w" * 16
    tail = encode_tail(3, 70)
    assert (decode_tail(tail).blocks, decode_tail(tail).frames) == (3, 70)
    for cut in range(len(head)):
        with pytest.raises(Damaged):
            decode_head(head[:cut])
    for cut in range(len(tail)):
        with pytest.raises(Damaged):
            decode_tail(tail[:cut])


def test_a_head_of_a_later_version_is_refused():
    body = b"ZVTJ\x02" + b"w" * 16
    with pytest.raises(Damaged, match="version 1"):
        decode_head(body + zlib.crc32(body).to_bytes(4, "little"))
