"""A running service as plain values: what status files, `zvtc status` and `zvtc top` show."""

from typing import Any, Final

from zvt_crypto.core.timestamp import format_us
from zvt_crypto.services.stream.connection import Connection
from zvt_crypto.services.stream.feed import Feed
from zvt_crypto.services.stream.meter import FeedReading, Meter

_US_PER_MS: Final = 1_000


def describe(meter: Meter) -> dict[str, Any]:
    """Return the state of a service: series, connections, handlers, sink."""
    meter.look()
    service = meter.service
    sink = service.sink
    return {
        "series": [_feed(feed, meter.readings[feed]) for feed in service.feeds()],
        "connections": [
            _connection(venue.exchange, one)
            for venue in service.venues.values()
            for one in venue.pool.connections
        ],
        "handlers": [
            {
                "handler": queue.name,
                "policy": queue.policy,
                "queue": len(queue),
                "handled": queue.handled,
                "dropped": queue.dropped,
                "failed": queue.failed,
                "is_full": queue.is_full,
            }
            for queue in service.handlers
        ],
        "sink": {
            "failing": sink.failing,
            "failures": sink.failures,
            "commits": sink.commits,
            "rows": sink.rows,
            "seconds": round(sink.seconds, 3),
            "pending_rows": sum(feed.pending_rows for feed in service.feeds()),
        },
        "totals": _totals(meter),
    }


def _feed(feed: Feed, reading: FeedReading) -> dict[str, Any]:
    series, counters, health = feed.series, feed.counters, feed.health
    p50, p99 = reading.latencies(0.50, 0.99)
    if health.last_us > health.began_us:
        heard_us: int | None = health.last_us
    else:
        heard_us = None if feed.last is None else feed.last.ts_recv
    return {
        "exchange": series.exchange,
        "symbol": series.symbol,
        "kind": str(series.kind),
        "interval": None if series.interval is None else str(series.interval),
        "verdict": str(health.verdict),
        "messages": counters.messages,
        "messages_per_s": round(reading.per_s, 1),
        "latency_ms": {"p50": _ms(p50), "p99": _ms(p99)},
        "last_record": None if heard_us is None else format_us(heard_us),
        "gaps": {
            "open": feed.open_gaps,
            "repaired": counters.repaired,
            "unrecoverable": counters.unrecoverable,
        },
        "stale": counters.stale,
        "resets": counters.resets,
        "dropped_rows": counters.dropped_rows,
        "pending_rows": feed.pending_rows,
    }


def _ms(latency_us: int | None) -> float | None:
    return None if latency_us is None else round(latency_us / _US_PER_MS, 2)


def _connection(exchange: str, one: Connection) -> dict[str, Any]:
    stats = one.stats
    return {
        "exchange": exchange,
        "connection": one.name,
        "url": one.url,
        "is_open": one.is_open,
        "topics": len(one.topics),
        "frames": stats.frames,
        "bytes": stats.bytes,
        "reconnects": stats.reconnects,
        "malformed": stats.malformed,
        "detail": one.detail,
    }


def _totals(meter: Meter) -> dict[str, Any]:
    feeds = meter.feed_totals().values()
    sockets = meter.connection_totals().values()
    return {
        "messages": sum(one.messages for one in feeds),
        "messages_per_s": round(sum(one.per_s for one in meter.readings.values()), 1),
        "gaps_open": sum(feed.open_gaps for feed in meter.service.feeds()),
        "gaps_repaired": sum(one.repaired for one in feeds),
        "gaps_unrecoverable": sum(one.unrecoverable for one in feeds),
        "rows_stored": meter.service.sink.rows,
        "frames": sum(one.frames for one in sockets),
        "reconnects": sum(one.reconnects for one in sockets),
    }
