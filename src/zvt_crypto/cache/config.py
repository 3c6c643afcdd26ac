"""How a cache behaves: every bound, deadline and lifetime in one place."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CacheConfig:
    """Settings of a cache.

    Attributes:
        ttl_s: how long a live value is kept; the store has it all the same.
        ring: closed candles kept of each series.
        ring_ttl_s: how long a ring is kept that gets no more candles.
        series: values kept in this process; beyond, the one written longest ago goes.
        read_timeout_s, write_timeout_s: what a read or a write waits for a server.
        failures: calls in a row to one server that fail before its breaker opens.
        probe_first_s, probe_cap_s: ceiling of the jittered waits between two looks whether it is
            back, doubled each time.
        look_timeout_s: what one such look waits for one server.
        connections: open to one server at once.
        prefix: of every key and channel.
    """

    ttl_s: float = 60.0
    ring: int = 500
    ring_ttl_s: float = 86_400.0
    series: int = 50_000
    read_timeout_s: float = 0.1
    write_timeout_s: float = 0.25
    failures: int = 3
    probe_first_s: float = 0.1
    probe_cap_s: float = 1.0
    look_timeout_s: float = 0.3
    connections: int = 16
    prefix: str = "zvtc"
