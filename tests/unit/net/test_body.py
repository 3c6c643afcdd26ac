import gzip
import tracemalloc
import zlib

import pytest
import zstandard

from zvt_crypto.core.errors import BodyTooLarge, MalformedPayload
from zvt_crypto.net.body import decode_body

TEXT = b'[["1767225600000","87650.10"]]' * 5_000


def zstd(data: bytes, *, sized: bool = True) -> bytes:
    return zstandard.ZstdCompressor(write_content_size=sized).compress(data)


def streamed_zstd(data: bytes) -> bytes:
    stream = zstandard.ZstdCompressor().compressobj()
    return stream.compress(data) + stream.flush()


PACKED = {
    "identity": ("", TEXT),
    "gzip": ("gzip", gzip.compress(TEXT)),
    "x-gzip": (" X-GZip", gzip.compress(TEXT)),
    "gzip of two members": ("gzip", gzip.compress(TEXT[:77]) + gzip.compress(TEXT[77:])),
    "zstd": ("zstd", zstd(TEXT)),
    "zstd of unknown size": ("zstd", zstd(TEXT, sized=False)),
    "zstd stream": ("zstd", streamed_zstd(TEXT)),
    "zstd of two frames": ("zstd", zstd(TEXT[:77]) + streamed_zstd(TEXT[77:])),
}


@pytest.mark.parametrize(("encoding", "body"), PACKED.values(), ids=PACKED)
def test_every_encoding_gives_the_text_back(encoding: str, body: bytes):
    assert decode_body("okx", encoding, body, max_bytes=len(TEXT)) == TEXT


@pytest.mark.parametrize(("encoding", "body"), PACKED.values(), ids=PACKED)
def test_one_byte_over_the_bound_is_refused(encoding: str, body: bytes):
    with pytest.raises(BodyTooLarge):
        decode_body("okx", encoding, body, max_bytes=len(TEXT) - 1)


@pytest.mark.parametrize("cut", [1, 5, 20, 200])
@pytest.mark.parametrize("name", [name for name in PACKED if name != "identity"])
def test_a_body_cut_short_is_malformed(name: str, cut: int):
    encoding, body = PACKED[name]
    with pytest.raises(MalformedPayload):
        decode_body("okx", encoding, body[:-cut], max_bytes=len(TEXT))


@pytest.mark.parametrize("encoding", ["gzip", "zstd", "br", "deflate", "gzip, gzip"])
def test_what_is_not_the_encoding_it_claims_is_malformed(encoding: str):
    with pytest.raises(MalformedPayload):
        decode_body("okx", encoding, b"<html>gateway</html>", max_bytes=1_000)


def bomb(kind: str) -> bytes:
    """Return half a gigabyte of zeros, packed."""
    if kind == "zstd that admits it":
        stream = zstandard.ZstdCompressor().compressobj(size=512 << 20)
    elif kind == "zstd":
        stream = zstandard.ZstdCompressor().compressobj()
    else:
        stream = zlib.compressobj(wbits=31)
    zeros = bytes(1 << 20)
    return b"".join([stream.compress(zeros) for _ in range(512)]) + stream.flush()


@pytest.mark.parametrize("kind", ["gzip", "zstd that admits it", "zstd"])
def test_a_bomb_is_refused_without_its_memory(kind: str):
    # given half a gigabyte in less than a megabyte
    body = bomb(kind)
    assert len(body) < 1 << 20
    tracemalloc.start()

    # when it is decoded under a bound of 8 MiB
    try:
        with pytest.raises(BodyTooLarge):
            decode_body("okx", kind.split(maxsplit=1)[0], body, max_bytes=8 << 20)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    # then no more than a few times the bound was ever held
    assert peak_bytes < 40 << 20


def test_a_zstd_window_that_would_take_our_memory_is_refused():
    parameters = zstandard.ZstdCompressionParameters(window_log=27, enable_ldm=True)
    stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    body = stream.compress(TEXT) + stream.flush()
    with pytest.raises(MalformedPayload):
        decode_body("okx", "zstd", body, max_bytes=64 << 20)
