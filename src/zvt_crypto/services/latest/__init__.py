"""The newest of each series: read through a cache, and kept there by live streams."""

from zvt_crypto.services.latest.config import LatestConfig
from zvt_crypto.services.latest.publisher import CachePublisher
from zvt_crypto.services.latest.values import Latest, LatestValues

__all__ = ["CachePublisher", "Latest", "LatestConfig", "LatestValues"]
