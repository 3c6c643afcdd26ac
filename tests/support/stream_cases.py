"""The faults of a stream that tests let happen."""

from dataclasses import dataclass, field
from typing import Any, Final

from sim_process import Sim


@dataclass(frozen=True)
class Case:
    """One fault: when it begins, and what has to be seen of it."""

    kind: str
    fields: dict[str, Any] = field(default_factory=dict[str, Any])
    early: bool = False
    """In force before the first connection."""


CASES: Final = (
    Case("ws_drop", {"probability": 0.05}),
    Case("ws_duplicate", {"probability": 0.2}),
    Case("ws_reorder", {"probability": 0.1}),
    Case("ws_silent_symbol", {"for_s": 5}),
    Case("ws_sequence_jump", {"probability": 0.1}),
    Case("ws_corrupt", {"probability": 0.05}),
    Case("ws_giant", {"probability": 0.02}),
    Case("ws_invalid_utf8", {"probability": 0.05}),
    Case("ws_deep", {"probability": 0.02}),
    Case("ws_wrong_types", {"probability": 0.03, "what": "nan"}),
    Case("ws_wrong_types", {"probability": 0.03, "what": "negative"}),
    Case("ws_wrong_types", {"probability": 0.03, "what": "null"}),
    Case("ws_wrong_types", {"probability": 0.03, "what": "text"}),
    Case("ws_future_time", {"probability": 0.05}),
    Case("ws_wrong_id", {"probability": 0.01}),
    Case("ws_crossed_book", {"probability": 0.1}),
    Case("ws_book_reset"),
    Case("ws_disconnect", {"every": 60}),
    Case("ws_close", {"every": 80}),
    Case("ws_silent", {"for_s": 5, "every": 50, "count": 1}),
    Case("ws_half_open", {"every": 60, "count": 1}),
    Case("ws_slow", {"every": 50, "delay_s": 1, "count": 3}),
    Case("ws_lifetime", {"s": 3}, early=True),
    Case("ws_shutdown_notice", {"s": 2, "count": 4}, early=True),
    Case("ws_refuse", {"first": 2}, early=True),
    Case("ws_status", {"first": 2, "status": 503}, early=True),
    Case("ws_status", {"first": 2, "status": 429}, early=True),
    Case("ws_no_ack", early=True),
    Case("ws_error_ack", {"first": 1}, early=True),
    Case("ws_no_snapshot", {"first": 2}, early=True),
    Case("ws_late_snapshot", {"first": 2}, early=True),
    Case("ws_stale_snapshot", {"first": 2}, early=True),
    Case("http_5xx", {"probability": 0.3}),
)


def take_back(sim: Sim, exchange: str) -> None:
    """Take back the faults of one exchange."""
    for one in sim.get("/_faults"):
        if one.get("exchange") == exchange:
            sim.send("DELETE", f"/_faults/{one['id']}")
