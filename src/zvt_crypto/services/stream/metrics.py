"""Prometheus metrics of a running service, read when they are scraped; see `docs/metrics.md`."""

from collections import Counter
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Final, Self

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector

from zvt_crypto.core.errors import BadSetting
from zvt_crypto.services.stream.health import Verdict
from zvt_crypto.services.stream.meter import LATENCY_BOUNDS_S, Meter

NAMES: Final = (
    "stream_messages_total",
    "stream_bytes_total",
    "stream_frames_total",
    "stream_reconnects_total",
    "stream_connections",
    "stream_malformed_total",
    "stream_gaps_total",
    "stream_gaps_open",
    "stream_repaired_rows_total",
    "stream_dropped_rows_total",
    "stream_stale_total",
    "stream_book_resets_total",
    "stream_feed_verdicts",
    "stream_handler_records_total",
    "stream_handler_dropped_total",
    "stream_handler_failed_total",
    "stream_handler_queue",
    "stream_pending_rows",
    "stream_commit_seconds",
    "stream_commit_failures_total",
    "stream_store_failing",
    "stream_latency_seconds",
    "store_rows_total",
    "store_write_seconds",
)
"""Every metric by its name, as the document explains them."""


class StreamCollector(Collector):
    """Makes metrics of a service's counters at the moment of a scrape."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    def describe(self) -> Iterable[Metric]:
        """Name nothing in advance: registering must not read a service that does not run yet."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield every metric."""
        yield from self._feeds()
        yield from self._connections()
        yield from self._handlers()
        yield from self._store()
        yield self._latency()

    def _feeds(self) -> Iterator[Metric]:
        by_kind = ["exchange", "kind"]
        messages = CounterMetricFamily("stream_messages", "Records given on.", labels=by_kind)
        gaps = CounterMetricFamily("stream_gaps", "Gaps.", labels=[*by_kind, "outcome"])
        repaired = CounterMetricFamily("stream_repaired_rows", "Rows repaired.", labels=by_kind)
        dropped = CounterMetricFamily("stream_dropped_rows", "Rows given up.", labels=by_kind)
        stale = CounterMetricFamily("stream_stale", "Feeds found stale.", labels=by_kind)
        resets = CounterMetricFamily("stream_book_resets", "Books begun anew.", labels=by_kind)
        for key, one in self._meter.feed_totals().items():
            messages.add_metric(key, one.messages)
            gaps.add_metric([*key, "open"], one.gaps)
            gaps.add_metric([*key, "repaired"], one.repaired)
            gaps.add_metric([*key, "unrecoverable"], one.unrecoverable)
            repaired.add_metric(key, one.repaired_rows)
            dropped.add_metric(key, one.dropped_rows)
            stale.add_metric(key, one.stale)
            resets.add_metric(key, one.resets)
        yield from (messages, gaps, repaired, dropped, stale, resets)
        yield from self._feeds_now()

    def _feeds_now(self) -> Iterator[Metric]:
        open_now = GaugeMetricFamily(
            "stream_gaps_open", "Gaps under repair.", labels=["exchange", "kind"]
        )
        verdicts = GaugeMetricFamily(
            "stream_feed_verdicts", "Feeds by how they are.", labels=["exchange", "verdict"]
        )
        gaps: Counter[tuple[str, str]] = Counter()
        found: Counter[tuple[str, str]] = Counter()
        feeds = self._meter.service.feeds()
        for feed in feeds:
            exchange = feed.series.exchange
            gaps[exchange, str(feed.series.kind)] += feed.open_gaps
            found[exchange, str(feed.health.verdict)] += 1
        for key, count in gaps.items():
            open_now.add_metric(key, count)
        for exchange in sorted({feed.series.exchange for feed in feeds}):
            for verdict in Verdict:
                verdicts.add_metric([exchange, verdict], found[exchange, str(verdict)])
        yield from (open_now, verdicts)

    def _connections(self) -> Iterator[Metric]:
        labels = ["exchange"]
        frames = CounterMetricFamily("stream_frames", "Frames received.", labels=labels)
        received = CounterMetricFamily("stream_bytes", "Bytes of frames.", labels=labels)
        reconnects = CounterMetricFamily("stream_reconnects", "Sockets made anew.", labels=labels)
        malformed = CounterMetricFamily(
            "stream_malformed", "Frames, or parts of them, refused.", labels=labels
        )
        for exchange, one in self._meter.connection_totals().items():
            frames.add_metric([exchange], one.frames)
            received.add_metric([exchange], one.bytes)
            reconnects.add_metric([exchange], one.reconnects)
            malformed.add_metric([exchange], one.malformed + one.refused)
        is_open = GaugeMetricFamily("stream_connections", "Open sockets.", labels=labels)
        for exchange, venue in self._meter.service.venues.items():
            is_open.add_metric([exchange], sum(one.is_open for one in venue.pool.connections))
        yield from (frames, received, reconnects, malformed, is_open)

    def _handlers(self) -> Iterator[Metric]:
        labels = ["handler"]
        handled = CounterMetricFamily("stream_handler_records", "Records taken.", labels=labels)
        dropped = CounterMetricFamily("stream_handler_dropped", "Records unseen.", labels=labels)
        failed = CounterMetricFamily("stream_handler_failed", "Records raised on.", labels=labels)
        for name, counts in self._meter.handler_totals().items():
            for family, count in zip((handled, dropped, failed), counts, strict=True):
                family.add_metric([name], count)
        waiting: Counter[str] = Counter()
        for queue in self._meter.service.handlers:
            waiting[queue.name] += len(queue)
        queued = GaugeMetricFamily("stream_handler_queue", "Records waiting.", labels=labels)
        for name, count in waiting.items():
            queued.add_metric([name], count)
        yield from (handled, dropped, failed, queued)

    def _store(self) -> Iterator[Metric]:
        service = self._meter.service
        sink = service.sink
        pending = sum(feed.pending_rows for feed in service.feeds())
        yield GaugeMetricFamily("stream_pending_rows", "Rows not durable yet.", value=pending)
        yield CounterMetricFamily("stream_commit_failures", "Commits failed.", value=sink.failures)
        yield GaugeMetricFamily(
            "stream_store_failing",
            "1 while the store takes no rows.",
            value=int(bool(sink.failing)),
        )
        yield CounterMetricFamily("store_rows", "Rows committed.", value=sink.rows)
        for name in ("stream_commit_seconds", "store_write_seconds"):
            yield SummaryMetricFamily(
                name, "Time commits took.", count_value=sink.commits, sum_value=sink.seconds
            )

    def _latency(self) -> Metric:
        family = HistogramMetricFamily(
            "stream_latency_seconds",
            "From the exchange's time to our receipt, sampled.",
            labels=["exchange"],
        )
        for exchange, counts in self._meter.latencies.items():
            below, buckets = 0, list[tuple[str, float]]()
            bounds = (*(str(bound) for bound in LATENCY_BOUNDS_S), "+Inf")
            for bound, count in zip(bounds, counts.buckets, strict=True):
                below += count
                buckets.append((bound, below))
            family.add_metric([exchange], buckets, counts.seconds)
        return family


class MetricsServer:
    """Serves `/metrics` over HTTP; an async context manager.

    It runs on the service's own loop, so that counters are read between two frames.

    Args:
        meter: what is told.
        host: address to listen on.
        port: 0 picks a free one.
        more: what else is told of.
    """

    def __init__(
        self, meter: Meter, host: str, port: int, *, more: Iterable[Collector] = ()
    ) -> None:
        self.url = ""
        self._host = host
        self._port = port
        self._registry = CollectorRegistry(auto_describe=False)
        for collector in (StreamCollector(meter), *more):
            self._registry.register(collector)
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/metrics", self._answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port).start()
        except OSError as e:
            await runner.cleanup()
            detail = f"{self._host}:{self._port} cannot be listened on: {e.strerror or e}"
            raise BadSetting("stream.metrics_port", "settings", detail) from None
        self._runner = runner
        host, port = runner.addresses[0][:2]
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{port}/metrics"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        del request
        body = generate_latest(self._registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})


__all__ = ["NAMES", "MetricsServer", "StreamCollector"]
