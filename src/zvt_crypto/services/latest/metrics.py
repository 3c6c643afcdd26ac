"""Prometheus metrics of a cache, read when they are scraped; see `docs/metrics.md`."""

from collections.abc import Iterable, Iterator
from typing import Final

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector

from zvt_crypto.ports.cache import Cache
from zvt_crypto.services.latest.publisher import CachePublisher
from zvt_crypto.services.latest.values import LatestValues

NAMES: Final = (
    "cache_reads_total",
    "cache_writes_total",
    "cache_published_total",
    "cache_received_total",
    "cache_errors_total",
    "cache_breaker_opened_total",
    "cache_breaker_open",
    "cache_up",
    "cache_read_seconds",
    "cache_write_seconds",
    "cache_publisher_queue",
    "cache_publisher_dropped_total",
    "latest_store_reads_total",
    "latest_shared_reads_total",
)
"""Every metric by its name, as the document explains them."""


class CacheCollector(Collector):
    """Makes metrics of a cache's counters at the moment of a scrape.

    Args:
        cache: what is told of.
        publisher: writes to it, if this process does.
        values: reads through it, if this process does.
    """

    def __init__(
        self,
        cache: Cache,
        publisher: CachePublisher | None = None,
        values: LatestValues | None = None,
    ) -> None:
        self._cache = cache
        self._publisher = publisher
        self._values = values

    def describe(self) -> Iterable[Metric]:
        """Name nothing in advance: registering reads nothing."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield every metric."""
        yield from self._traffic()
        yield from self._state()
        if self._publisher is not None:
            yield GaugeMetricFamily(
                "cache_publisher_queue", "Events waiting.", value=len(self._publisher)
            )
            yield CounterMetricFamily(
                "cache_publisher_dropped", "Events unpublished.", value=self._publisher.dropped
            )
        if self._values is not None:
            counts = self._values.counts
            yield CounterMetricFamily(
                "latest_store_reads", "Questions to the store.", value=counts.store_reads
            )
            yield CounterMetricFamily(
                "latest_shared_reads",
                "Values taken from another's question.",
                value=counts.joined + counts.awaited,
            )

    def _traffic(self) -> Iterator[Metric]:
        counts = self._cache.counts
        reads = CounterMetricFamily("cache_reads", "Values asked for.", labels=["outcome"])
        reads.add_metric(["hit"], counts.hits)
        reads.add_metric(["miss"], counts.misses)
        reads.add_metric(["unreachable"], counts.unreachable)
        writes = CounterMetricFamily("cache_writes", "Values to be kept.", labels=["outcome"])
        writes.add_metric(["kept"], counts.taken)
        writes.add_metric(["older"], counts.refused)
        writes.add_metric(["lost"], counts.lost)
        sent = CounterMetricFamily("cache_published", "Events published.", labels=["outcome"])
        sent.add_metric(["sent"], counts.published)
        sent.add_metric(["lost"], counts.unpublished)
        received = CounterMetricFamily("cache_received", "For subscribers.", labels=["outcome"])
        received.add_metric(["queued"], counts.received)
        received.add_metric(["dropped"], counts.dropped)
        yield from (reads, writes, sent, received)
        yield SummaryMetricFamily(
            "cache_read_seconds",
            "Time reads took.",
            count_value=counts.reads,
            sum_value=counts.read_s,
        )
        yield SummaryMetricFamily(
            "cache_write_seconds",
            "Time writes took.",
            count_value=counts.writes,
            sum_value=counts.write_s,
        )

    def _state(self) -> Iterator[Metric]:
        counts, health = self._cache.counts, self._cache.health()
        yield CounterMetricFamily("cache_errors", "Calls that failed.", value=counts.errors)
        yield CounterMetricFamily("cache_breaker_opened", "Openings.", value=counts.opened)
        breakers = GaugeMetricFamily(
            "cache_breaker_open", "1 while a server is left alone.", labels=["server"]
        )
        for server, is_open in health.breakers.items():
            breakers.add_metric([server], int(is_open))
        yield breakers
        yield GaugeMetricFamily("cache_up", "1 while all is well.", value=int(health.is_reachable))
