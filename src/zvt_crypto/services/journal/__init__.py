"""The journal: raw frames byte for byte, durable, and played back."""

from zvt_crypto.services.journal.frame import Direction, RawFrame
from zvt_crypto.services.journal.reader import JournalReader, ReadReport
from zvt_crypto.services.journal.recording import RecordingWriter
from zvt_crypto.services.journal.writer import JournalConfig, JournalCounts, JournalWriter

__all__ = [
    "Direction",
    "JournalConfig",
    "JournalCounts",
    "JournalReader",
    "JournalWriter",
    "RawFrame",
    "ReadReport",
    "RecordingWriter",
]
