"""How the stream service behaves: every bound, deadline and policy in one place."""

from dataclasses import dataclass
from typing import Literal

QueuePolicy = Literal["block", "drop_oldest", "inline"]
"""What happens when a handler is slower than its feed.

`block`: nothing is lost; when its queue is full, reading from the sockets that feed it stops until
half of it is done, and TCP makes the exchange wait. `drop_oldest`: the oldest record in the queue
goes, and is counted. `inline`: the handler is called at once, on the loop, and has no queue: for
functions that take microseconds.
"""


@dataclass(frozen=True, slots=True)
class StreamConfig:
    """Settings of the stream service.

    Attributes:
        commit_every_s: how often live rows are made durable; a kill loses at most so much of what
            came, and none of what was committed.
        pending_rows: rows a feed holds while the store does not take them. Beyond, they are
            dropped, counted, and the time they are of becomes a gap, to be loaded again.
        reorder_s: how long a jump of trade ids waits for the late ones before it is a gap.
        hold_s, hold_records: how long, and how many, records of a series wait for the repair of
            its gap, so that a consumer sees them in order. Beyond, they go on and the repaired ones
            come late.
        repairs_at_once: gaps repaired at the same time on one exchange.
        repair_tries: how often an exchange is asked before a gap is called unrecoverable for now.
        retry_missing_s: how often ranges that stayed missing are tried again.
        catch_up_s: how old the end of what is stored may be for a restart to load up to now by
            itself; older, `zvtc sync` does it.
        silent_after_s: silence of a topic that had data every moment is looked into after this.
        silent_factor: and of another after so many times its usual pause.
        quiet_probe_s: but after this at the latest, and again so often: with the round trip, a
            dead feed of an active market is known within six seconds.
        probes_per_s: questions of this kind to one exchange; with many quiet topics each waits
            longer for its turn, so that repairs keep most of the rate budget.
        audit_every_s: how often trades whose ids are not counted are compared with REST; a page of
            it must reach back that far.
        in_flight_s: a trade younger than this may still be on its way to us.
        resubscribe_tries: after so many in vain a stale feed moves to another connection.
        move_first_s, move_cap_s: the first move is made at once, the second not before the first
            of these, and each further one after twice the wait, up to the second; so are
            replacements of a socket on which nothing comes at all.
        dead_after_moves: a feed that stayed silent after so many of either is called dead.
        steady_s: a feed that has lived for so long since is well, and its pauses begin anew.
        reconnect_first_s, reconnect_cap_s: backoff between dials, after one at once.
        failover_after: dials in vain after which the next host is tried.
        rotate_share: share of a connection's allowed life after which it is replaced.
        malformed_limit: unreadable frames in `malformed_window_s` after which a connection is
            made anew.
        quarantine_per_minute: refused frames of an exchange kept in the store, at most.
        depth: levels a side of the books that are kept.
        keep_books: whether books go to the store, as their changes and whole now and then.
        candle_grace_s: how long after a bar's end its closing push may take before REST is asked.
    """

    commit_every_s: float = 0.25
    pending_rows: int = 200_000
    reorder_s: float = 0.25
    hold_s: float = 30.0
    hold_records: int = 100_000
    repairs_at_once: int = 4
    repair_tries: int = 5
    retry_missing_s: float = 60.0
    catch_up_s: float = 7 * 86_400.0
    silent_after_s: float = 2.0
    silent_factor: float = 4.0
    quiet_probe_s: float = 4.0
    probes_per_s: float = 1.0
    audit_every_s: float = 5.0
    in_flight_s: float = 1.0
    resubscribe_tries: int = 2
    move_first_s: float = 5.0
    move_cap_s: float = 60.0
    dead_after_moves: int = 3
    steady_s: float = 30.0
    reconnect_first_s: float = 0.5
    reconnect_cap_s: float = 30.0
    failover_after: int = 3
    rotate_share: float = 0.95
    malformed_limit: int = 20
    malformed_window_s: float = 10.0
    quarantine_per_minute: int = 100
    depth: int = 50
    keep_books: bool = False
    candle_grace_s: float = 3.0
