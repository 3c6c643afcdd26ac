"""Binance spot and USDⓈ-M perpetuals, as data.

Sources: https://developers.binance.com/docs/binance-spot-api-docs/rest-api and
https://developers.binance.com/docs/derivatives/usds-margined-futures (both 2026), archives
https://github.com/binance/binance-public-data. Numbers are strings, times milliseconds.
"""

from dataclasses import replace
from typing import Final

from zvt_crypto.connectors.spec import Endpoint, ExchangeSpec, QuotaFact
from zvt_crypto.core.instrument import Market, Status
from zvt_crypto.core.interval import Interval

NAME: Final = "binance"

SPOT: Final = "spot"
LINEAR: Final = "linear"
ARCHIVE: Final = "archive"

WEIGHT: Final = "weight"
FUNDING_QUOTA: Final = "funding"

USED_WEIGHT_HEADER: Final = "X-MBX-USED-WEIGHT-1M"
"""Weight used in the running minute, by all programs at this address."""

TRADES_REACH_S: Final = 48 * 3_600
"""Older aggregate trades of perpetuals are answered with nothing, which is not "no trades"."""

TRADES_WINDOW_S: Final = 3_600
"""`startTime` to `endTime` of perpetual aggTrades must be less than this."""

FUNDING_HOURS: Final = (1, 2, 4, 8)
"""Lengths of a funding interval; which one holds changes with time."""

STATUSES: Final = {
    "TRADING": Status.ACTIVE,
    "CANCEL_ONLY": Status.CANCEL_ONLY,
    "HALT": Status.HALTED,
    "BREAK": Status.HALTED,
    "END_OF_DAY": Status.HALTED,
    "PENDING_TRADING": Status.PRE_LISTING,
    "PRE_DELIVERING": Status.SETTLING,
    "DELIVERING": Status.SETTLING,
    "PRE_SETTLE": Status.SETTLING,
    "SETTLING": Status.SETTLING,
    "DELIVERED": Status.DELISTED,
    "CLOSE": Status.DELISTED,
}
"""Words of spot `status` and of futures `status` or `contractStatus`; others count as halted."""

PERPETUAL: Final = "PERPETUAL"
TRADIFI_PERPETUAL: Final = "TRADIFI_PERPETUAL"
"""Perpetuals on shares and metals: they have trading sessions and are offered on request only."""

# Limit up to which each weight holds.
_SPOT_DEPTH: Final = ((100, 5), (500, 25), (1000, 50), (5000, 250))
# The only limits there are.
_LINEAR_DEPTH: Final = ((5, 2), (10, 2), (20, 2), (50, 2), (100, 5), (500, 10), (1000, 20))


def _call(name: str, path: str, weight: float, rows: int = 0, row_bytes: int = 0) -> Endpoint:
    host = name.partition("_")[0]
    return Endpoint(name, path, host, {WEIGHT: weight}, rows, rows, row_bytes)


BINANCE: Final = ExchangeSpec(
    name=NAME,
    docs="https://developers.binance.com/docs/",
    hosts={
        SPOT: "https://api.binance.com",
        LINEAR: "https://fapi.binance.com",
        ARCHIVE: "https://data.binance.vision",
    },
    environments={
        # Wiped about monthly, prices unrelated to the market.
        "testnet": {
            SPOT: "https://testnet.binance.vision",
            LINEAR: "https://demo-fapi.binance.com",
        },
        "demo": {
            SPOT: "https://demo-api.binance.com",
            LINEAR: "https://demo-fapi.binance.com",
        },
        # Spot market data only; not subject to regions. Futures have no mirror but the archives.
        "mirror": {SPOT: "https://data-api.binance.vision"},
    },
    # Calendar minutes of the server, per address. exchangeInfo has the numbers in force. The
    # separate RAW_REQUESTS limit (at least 61,000 in 5 min) is out of reach of calls that weigh 2.
    quotas={
        SPOT: (QuotaFact(WEIGHT, amount=6000, per_s=60.0, style="window"),),
        LINEAR: (
            QuotaFact(WEIGHT, amount=2400, per_s=60.0, style="window"),
            # fundingRate and fundingInfo together
            QuotaFact(FUNDING_QUOTA, amount=500, per_s=300.0, style="window"),
        ),
        ARCHIVE: (),
    },
    endpoints={
        e.name: e
        for e in (
            # General endpoints
            _call("spot_time", "/api/v3/time", 1),
            _call("spot_instruments", "/api/v3/exchangeInfo", 20, row_bytes=1_100),
            _call("linear_time", "/fapi/v1/time", 1),
            _call("linear_instruments", "/fapi/v1/exchangeInfo", 1, row_bytes=1_100),
            # Market data endpoints. `limit` 1000 costs spot 2. On perpetuals it sets the weight:
            # 499 rows for 2 are the most for the money (1000 for 5, 1500 for 10).
            _call("spot_candles", "/api/v3/klines", 2, 1000, 175),
            replace(_call("linear_candles", "/fapi/v1/klines", 2, 499, 165), max_rows=1500),
            # One row of any width: the first candle ever
            _call("spot_candle", "/api/v3/klines", 2, 1, 175),
            _call("linear_candle", "/fapi/v1/klines", 1, 1, 165),
            _call("spot_trades", "/api/v3/aggTrades", 4, 1000, 120),
            _call("linear_trades", "/fapi/v1/aggTrades", 20, 1000, 105),
            Endpoint(
                "linear_funding",
                "/fapi/v1/fundingRate",
                LINEAR,
                {FUNDING_QUOTA: 1},
                page_rows=1000,
                max_rows=1000,
                row_bytes=100,
            ),
            _call("spot_book", "/api/v3/depth", 5),
            _call("linear_book", "/fapi/v1/depth", 2),
            _call("spot_quote", "/api/v3/ticker/bookTicker", 2),
            _call("spot_quotes", "/api/v3/ticker/bookTicker", 4),
            _call("linear_quote", "/fapi/v1/ticker/bookTicker", 2),
            _call("linear_quotes", "/fapi/v1/ticker/bookTicker", 5),
            _call("linear_open_interest", "/fapi/v1/openInterest", 1),
            # Bulk files; `{period}` is daily or monthly, `{date}` a day or a month
            Endpoint(
                "archive_candles",
                "/data/{market}/{period}/klines/{symbol}/{interval}/{symbol}-{interval}-{date}.zip",
                ARCHIVE,
                {},
                row_bytes=40,
            ),
            Endpoint(
                "archive_trades",
                "/data/{market}/{period}/aggTrades/{symbol}/{symbol}-aggTrades-{date}.zip",
                ARCHIVE,
                {},
                row_bytes=20,
            ),
            Endpoint(
                "archive_funding",
                "/data/{market}/{period}/fundingRate/{symbol}/{symbol}-fundingRate-{date}.zip",
                ARCHIVE,
                {},
                row_bytes=10,
            ),
        )
    },
    # Case matters: 1m is a minute, 1M a month.
    intervals={
        Interval.M1: "1m",
        Interval.M5: "5m",
        Interval.M15: "15m",
        Interval.M30: "30m",
        Interval.H1: "1h",
        Interval.H4: "4h",
        Interval.D1: "1d",
        Interval.W1: "1w",
        Interval.MON1: "1M",
    },
    # An hour less than the exchange keeps: a long load must not run into the edge.
    reach_s={"trades:linear": TRADES_REACH_S - 3_600},
    geo_remedy=(
        "Set exchanges.binance.environment to 'mirror' for spot (futures: only the archives are "
        "reachable), or use net.proxy in an allowed region"
    ),
    freeze_s=60.0,
    settle_s=2.0,
)

ARCHIVE_MARKETS: Final = {Market.SPOT: "spot", Market.LINEAR: "futures/um"}
"""Folder of a market's bulk files."""

ARCHIVE_INTERVALS: Final = {
    Interval.M1: "1m",
    Interval.M5: "5m",
    Interval.M15: "15m",
    Interval.M30: "30m",
    Interval.H1: "1h",
    Interval.H4: "4h",
    Interval.D1: "1d",
}
"""Widths worth a bulk file; one page of REST holds more weeks or months than there are.

Months would be `1mo`, as `1M` and `1m` are one folder on some file systems.
"""


def endpoint(market: Market, call: str) -> Endpoint:
    """Return the endpoint of `call` for instruments of `market`."""
    return BINANCE.endpoints[f"{SPOT if market is Market.SPOT else LINEAR}_{call}"]


def book_endpoint(market: Market, depth: int) -> tuple[Endpoint, int]:
    """Return the book call with its weight, and the least `limit` that gives `depth` levels."""
    steps = _SPOT_DEPTH if market is Market.SPOT else _LINEAR_DEPTH
    step, weight = next((s for s in steps if s[0] >= depth), steps[-1])
    limit = min(max(depth, 1), step) if market is Market.SPOT else step
    return replace(endpoint(market, "book"), costs={WEIGHT: weight}), limit
