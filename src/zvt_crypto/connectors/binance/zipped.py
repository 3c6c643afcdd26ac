"""One CSV in a zip, as blocks of whole lines: inflated by ISA-L, in memory that does not grow."""

import zipfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import IO, Final

from isal import isal_zlib

from zvt_crypto.connectors.binance.spec import NAME
from zvt_crypto.core.errors import MalformedPayload

# A block of this size takes some milliseconds to parse, enough to outweigh the calls.
BLOCK_BYTES: Final = 2 << 20
_RAW_DEFLATE: Final = -15
_LOCAL_HEADER: Final = 30
_ENCRYPTED: Final = 0x1
_MAX_LINE_BYTES: Final = 1 << 20


def read_blocks(path: Path, *, block_bytes: int = BLOCK_BYTES) -> Generator[bytes, None, None]:
    """Yield the lines of the first CSV member in blocks that end at the end of a line.

    The checksum inside the zip is checked at the end, so a fault may show after some blocks.

    Raises:
        MalformedPayload: not a zip, no CSV in it, cut short, corrupt, or longer than it claims.
    """
    rest = b""
    try:
        for piece in _inflate(path, block_bytes):
            end = piece.rfind(b"\n") + 1
            if end == 0:
                rest += piece
                if len(rest) > _MAX_LINE_BYTES + block_bytes:
                    raise MalformedPayload(NAME, path.name, "a line without end")
                continue
            yield rest + piece[:end] if rest else piece[:end]
            rest = piece[end:]
    except (zipfile.BadZipFile, isal_zlib.IsalError, EOFError, NotImplementedError) as e:  # pyright: ignore[reportGeneralTypeIssues] - isal's stub says an instance
        raise MalformedPayload(NAME, path.name, str(e)) from e
    if rest:
        yield rest


def check_zip(path: Path) -> None:
    """Inflate the whole member and throw it away.

    Raises:
        MalformedPayload: as `read_blocks`.
    """
    for _ in read_blocks(path):
        pass


def _inflate(path: Path, block_bytes: int) -> Iterator[bytes]:
    with path.open("rb") as file, zipfile.ZipFile(file) as archive:
        member = next((m for m in archive.infolist() if m.filename.endswith(".csv")), None)
        if member is None:
            raise zipfile.BadZipFile("no CSV inside")
        if member.flag_bits & _ENCRYPTED or member.compress_type != zipfile.ZIP_DEFLATED:
            yield from _inflate_slowly(archive, member, block_bytes)
            return
        file.seek(member.header_offset)
        local = file.read(_LOCAL_HEADER)
        if len(local) < _LOCAL_HEADER or local[:4] != b"PK\x03\x04":
            raise zipfile.BadZipFile("the member is not where the directory says")
        names = int.from_bytes(local[26:28], "little") + int.from_bytes(local[28:30], "little")
        file.seek(names, 1)
        yield from _inflate_member(file, member, block_bytes)


def _inflate_member(file: IO[bytes], member: zipfile.ZipInfo, block_bytes: int) -> Iterator[bytes]:
    inflater = isal_zlib.decompressobj(wbits=_RAW_DEFLATE)
    left, produced, crc = member.compress_size, 0, 0
    while not inflater.eof:
        tail = inflater.unconsumed_tail
        if not tail:
            # Most files inflate to three times their size and more: this makes a whole block.
            tail = file.read(min(left, max(1, block_bytes // 2)))
            left -= len(tail)
        # Without input it hands out what it still holds, as its output is bounded.
        piece = inflater.decompress(tail, block_bytes)
        if not (piece or tail or inflater.eof):
            raise zipfile.BadZipFile("it is cut short")
        produced += len(piece)
        if produced > member.file_size:
            raise zipfile.BadZipFile("it is longer than it claims")
        crc = isal_zlib.crc32(piece, crc)
        if piece:
            yield piece
    if produced != member.file_size or crc != member.CRC:
        raise zipfile.BadZipFile("its inner checksum does not match")


def _inflate_slowly(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, block_bytes: int
) -> Iterator[bytes]:
    """Read what is stored or compressed in another way; zipfile checks the sum itself."""
    try:
        with archive.open(member) as content:
            while piece := content.read(block_bytes):
                yield piece
    except RuntimeError as e:  # encrypted
        raise zipfile.BadZipFile(str(e)) from e
