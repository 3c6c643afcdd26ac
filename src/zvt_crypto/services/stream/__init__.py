"""Live data: connections, feeds, repair, handlers. See `service.py`."""

from zvt_crypto.services.stream.config import QueuePolicy, StreamConfig
from zvt_crypto.services.stream.handler import HandlerQueue
from zvt_crypto.services.stream.health import Verdict
from zvt_crypto.services.stream.service import CryptoStreamService, streamable

__all__ = [
    "CryptoStreamService",
    "HandlerQueue",
    "QueuePolicy",
    "StreamConfig",
    "Verdict",
    "streamable",
]
