"""An exchange as data: what `connectors/<exchange>/spec.py` fills in.

Facts stand here so that a reader can check them against the documentation; code in `rest.py`
is only for what cannot be said as data. What an exchange lacks is named with its reason.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from zvt_crypto.core.interval import Interval
from zvt_crypto.core.series import Kind

QuotaStyle = Literal["window", "rolling", "bucket"]


@dataclass(frozen=True, slots=True)
class QuotaFact:
    """One published limit: `amount` per `per_s` seconds for each host and address.

    `window` resets on multiples of `per_s` of the server's clock, `rolling` looks back over the
    last `per_s`, `bucket` refills evenly. `share` is the part of it we dare to use where bursts of
    exactly the limit are known to be refused.
    """

    name: str
    amount: float
    per_s: float
    style: QuotaStyle
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One REST call: where it is, what it costs, and how many rows one page may hold.

    `host` names an entry of `ExchangeSpec.hosts`; `costs` maps a quota's name to what one call
    books of it; `page_rows` is what we ask for, which may be less than `max_rows`.
    """

    name: str
    path: str
    host: str
    costs: Mapping[str, float]
    page_rows: int = 0
    max_rows: int = 0
    row_bytes: int = 0


@dataclass(frozen=True, slots=True)
class ExchangeSpec:
    """All facts of one exchange that the platform needs for history.

    Attributes:
        name: lower-case name of the exchange.
        hosts: base URL per role (`spot`, `linear`, `archive`, ...), mainnet.
        environments: base URLs that replace some of `hosts`, per environment or region.
        quotas: published limits per host role; endpoints book on the quotas of their host.
        endpoints: REST calls by name.
        intervals: our intervals the exchange serves itself, with its spelling. One that is
            missing is aggregated from the finest native one that divides it.
        reach_s: how far back REST answers per kind and market (`"trades:linear"`), in seconds;
            absent means without limit.
        unsupported: kinds the exchange does not offer at all, with the reason.
        geo_remedy: what to tell a user whose region is refused.
        freeze_s: how long to stop after a refusal that names no time.
        settle_s: how long after its close a candle may still change or be absent from REST.
        counted_trade_ids: markets whose trade ids go up one by one, so that a jump is a loss.
        docs: address of the documentation.
    """

    name: str
    hosts: Mapping[str, str]
    quotas: Mapping[str, tuple[QuotaFact, ...]]
    endpoints: Mapping[str, Endpoint]
    intervals: Mapping[Interval, str]
    geo_remedy: str
    docs: str
    environments: Mapping[str, Mapping[str, str]] = field(default_factory=dict[str, dict[str, str]])
    reach_s: Mapping[str, int] = field(default_factory=dict[str, int])
    unsupported: Mapping[str, str] = field(default_factory=dict[str, str])
    counted_trade_ids: frozenset[str] = frozenset({"spot", "linear", "inverse"})
    freeze_s: float = 10.0
    settle_s: float = 0.0

    def native_interval(self, interval: Interval) -> Interval:
        """Return `interval` if the exchange serves it, else the coarsest native divisor."""
        if interval in self.intervals:
            return interval
        divisors = [i for i in self.intervals if i.divides(interval)]
        return max(divisors, key=lambda i: i.nominal_us)

    def reach(self, kind: Kind, market: str) -> int | None:
        """Return how many seconds back REST answers for `kind`, None for all of history."""
        return self.reach_s.get(f"{kind}:{market}", self.reach_s.get(str(kind)))
