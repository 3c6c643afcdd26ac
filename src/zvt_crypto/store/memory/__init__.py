"""The reference engine: everything in dictionaries, small enough to be obviously right."""

from zvt_crypto.store.memory.memory import MemoryStore

__all__ = ["MemoryStore"]
