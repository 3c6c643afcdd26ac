"""What each venue was asked and how often it had to refuse."""

from collections import Counter, deque
from collections.abc import Mapping
from typing import Any, Final

_KEPT: Final = 20_000


class StreamStats:
    """Counters of one venue's sockets.

    Attributes:
        open: connections open now; all else counts from the start, or from the last reset.
        frames, bytes: sent, as they went to the connections.
        received: messages of clients, control frames included.
        refused: handshakes refused, by HTTP status.
        violations: rules broken by clients: `rate`, `pong`, `idle`, `size`, `topics`, `requests`.
        overflows: connections closed because the client did not read.
        closed: connections ended, by who or why.
    """

    def __init__(self, *, still_open: int = 0) -> None:
        self.open = still_open
        self.opened = 0
        self.frames = 0
        self.bytes = 0
        self.received = 0
        self.overflows = 0
        self.refused: Counter[int] = Counter()
        self.violations: Counter[str] = Counter()
        self.closed: Counter[str] = Counter()
        self.injected: Counter[str] = Counter()

    def describe(self) -> dict[str, Any]:
        """Return the counters, as `/_stats` shows them under `stream`."""
        return {
            "open": self.open,
            "opened": self.opened,
            "frames": self.frames,
            "bytes": self.bytes,
            "received": self.received,
            "overflows": self.overflows,
            "refused": {str(status): count for status, count in self.refused.items()},
            "violations": dict(self.violations),
            "closed": dict(self.closed),
            "injected": dict(self.injected),
        }


class Stats:
    """Counters of one venue, as `/_stats` shows them."""

    def __init__(self, *, still_open: int = 0) -> None:
        self.stream = StreamStats(still_open=still_open)
        self.requests = 0
        self.data_requests = 0
        self.rows = 0
        self.weight = 0
        self.endpoints: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self.refused: Counter[int] = Counter()
        self.injected: Counter[str] = Counter()
        self.peak_share: dict[str, float] = {}
        self.asked: deque[tuple[str, str, Mapping[str, str], int]] = deque(maxlen=_KEPT)

    def renewed(self) -> "Stats":
        """Return counters at zero; sockets that are open stay counted."""
        return Stats(still_open=self.stream.open)

    def note_asked(self, endpoint: str, path: str, query: Mapping[str, str], status: int) -> None:
        """Remember a request for data, the newest of them only."""
        self.asked.append((endpoint, path, query, status))

    def note_share(self, window: str, share: float) -> None:
        """Remember the highest share of a limit that was in use at once."""
        if share > self.peak_share.get(window, 0.0):
            self.peak_share[window] = share

    def requests_asked(self) -> list[dict[str, Any]]:
        """Return the requests for data, oldest first, as `/_requests` shows them."""
        names = ("endpoint", "path", "query", "status")
        return [dict(zip(names, one, strict=True)) for one in self.asked]

    def describe(self) -> dict[str, Any]:
        """Return the counters.

        `429`, `418` and `403` count refusals the client earned; those of injected faults are in
        `injected`, by kind.
        """
        return {
            "requests": self.requests,
            "data_requests": self.data_requests,
            "rows": self.rows,
            "weight": self.weight,
            "429": self.refused[429],
            "418": self.refused[418],
            "403": self.refused[403],
            "refused": {str(status): count for status, count in self.refused.items()},
            "statuses": {str(status): count for status, count in self.statuses.items()},
            "endpoints": dict(self.endpoints),
            "injected": dict(self.injected),
            "peak_share": {name: round(share, 4) for name, share in self.peak_share.items()},
            "stream": self.stream.describe(),
        }
