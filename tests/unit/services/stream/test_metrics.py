"""Metrics and their document name the same things."""

import re
from pathlib import Path

from zvt_crypto.services.stream.meter import LATENCY_BOUNDS_S, FeedReading, LatencyCounts
from zvt_crypto.services.stream.metrics import NAMES

ROOT = Path(__file__).resolve().parents[4]


def test_the_document_explains_every_metric_and_no_other() -> None:
    text = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")

    explained = re.findall(r"^\| `((?:stream|store)_\w+)(?:\{[^}]*\})?` \|", text, re.MULTILINE)

    assert sorted(explained) == sorted(NAMES)
    assert len(set(NAMES)) == len(NAMES)


def test_latencies_are_counted_in_the_bucket_that_holds_them() -> None:
    counts = LatencyCounts()

    for latency_s in (-0.5, 0.001, 0.0011, 10.0, 11.0):
        counts.add(latency_s)

    assert len(counts.buckets) == len(LATENCY_BOUNDS_S) + 1
    assert counts.buckets[0] == 2  # bounds are included, a negative one counts as none
    assert counts.buckets[1] == 1
    assert counts.buckets[-2:] == [1, 1]
    assert counts.seconds == 0.001 + 0.0011 + 10.0 + 11.0


def test_rates_and_percentiles_are_of_the_last_moments() -> None:
    reading = FeedReading()
    assert reading.per_s == 0.0
    assert reading.latencies(0.5) == [None]

    reading.counts.extend([(10.0, 100), (11.0, 150), (12.0, 300)])
    reading.latencies_us.extend(range(1, 101))

    assert reading.per_s == 100.0
    assert reading.latencies(0.5, 0.99) == [51, 100]
    reading.latencies_us.extend([5] * 1_000)
    assert reading.latencies(0.99) == [5]  # what was long ago is forgotten
