"""How latest values are read and published: every bound and deadline in one place."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LatestConfig:
    """Settings of the service.

    Attributes:
        store_timeout_s: what a read waits for the store where the cache knows nothing.
        store_ttl_s: how long the cache keeps what came from the store: what other processes load
            meanwhile is seen after that.
        absent_ttl_s: how long it keeps that the store has nothing.
        claim_s: for how long one process may be the only one to ask the store.
        wait_s, poll_s: how long the others wait for what it brings, looking so often.
        most_claims: series of one question that are guarded across processes; a longer question
            is its own guard, as few ask it.
        memo: answers about rings kept in this process, where the cache cannot answer.
        flush_s: how often what came live is written to the cache.
        events: live records that wait to be published, at most.
        at_once: records of one write; other tasks get their turn in between.
    """

    store_timeout_s: float = 2.0
    store_ttl_s: float = 2.0
    absent_ttl_s: float = 1.0
    claim_s: float = 0.25
    wait_s: float = 0.25
    poll_s: float = 0.02
    most_claims: int = 32
    memo: int = 256
    flush_s: float = 0.005
    events: int = 20_000
    at_once: int = 100
