"""OKX v5, as data. Section names refer to https://www.okx.com/docs-v5/en/.

Prices and sizes are strings, an absent number is the empty string, and times are milliseconds.
Sizes of swaps count contracts; `after` means older and `before` newer, both exclusive.
"""

from typing import Final

from zvt_crypto.connectors.spec import Endpoint, ExchangeSpec, QuotaFact
from zvt_crypto.core.instrument import Status
from zvt_crypto.core.interval import Interval

NAME: Final = "okx"

REST: Final = "rest"
ARCHIVE: Final = "archive"

# "The past three months" of the documentation, taken short: a day too many answers nothing.
_THREE_MONTHS_S: Final = 89 * 86_400

# Limits are per two seconds, and bursts of exactly the limit are answered with 50011 (ccxt runs a
# tenth slow for it). We take a tenth more time instead of a tenth fewer calls: a burst whose first
# calls were 0.2 s late on the way then does not meet the next one in the exchange's two seconds.
_PER_S: Final = 2.2

FIRST_CANDLE_US: Final = 1_262_304_000_000_000
"""2010-01-01: before the first candle of any pair (BTC-USDT begins in October 2017)."""

RECENT_BARS: Final = 1_440
"""How many of the newest bars `market/candles` holds; asked for older ones it answers nothing."""

MIN_PAUSE_S: Final = 2.0
"""Shortest pause after a refusal for rate: the width of every window (Overview, Rate Limits)."""

CRYPTO_CATEGORIES: Final = frozenset({"", "1"})
"""`instCategory` of coins, absent in older replies; 3 to 6: stocks, commodities, forex, bonds."""

STATUSES: Final = {
    "live": Status.ACTIVE,
    "suspend": Status.HALTED,
    "rebase": Status.HALTED,
    "test": Status.HALTED,
    "preopen": Status.PRE_LISTING,
    "post_only": Status.POST_ONLY,
    "settling": Status.SETTLING,
}
"""Words of `state`; others count as unknown."""

INST_TYPES: Final = ("SPOT", "SWAP")

CHINA_OFFSET_US: Final = 8 * 3_600_000_000
"""Archive days are cut at midnight of UTC+8, which is 16:00 UTC of the day before."""

BOOK_DEPTH_MAX: Final = 400
BOOK_FULL_DEPTH_MAX: Final = 5_000

ARCHIVE_DELAY_US: Final = 2 * 86_400_000_000
"""How long after its end a day's file is published (T+2)."""


def _quota(name: str, amount: float) -> QuotaFact:
    return QuotaFact(name, amount=amount, per_s=_PER_S, style="rolling")


def _call(name: str, path: str, rows: int = 0, row_bytes: int = 0) -> Endpoint:
    return Endpoint(name, path, REST, {name: 1.0}, rows, rows, row_bytes)


OKX: Final = ExchangeSpec(
    name=NAME,
    docs="https://www.okx.com/docs-v5/en/",
    # The guide of August 2026 names openapi.okx.com, earlier ones and all libraries www.okx.com.
    hosts={REST: "https://www.okx.com", ARCHIVE: "https://static.okx.com"},
    environments={
        "openapi": {REST: "https://openapi.okx.com"},
        # Instruments differ by region: what is streamed from a host must be listed from it.
        "eea": {REST: "https://eea.okx.com"},
        "us": {REST: "https://us.okx.com"},
    },
    # Limits are per call and address (some per instrument too: taken per address all the same),
    # and no header reports their use.
    quotas={
        REST: (
            _quota("instruments", 20),
            _quota("candles_recent", 40),
            _quota("candles", 20),
            # Documented as 20; ccxt budgets half of it and is not refused.
            _quota("trades", 10),
            _quota("funding", 10),
            _quota("book", 40),
            _quota("book_full", 10),
            _quota("ticker", 20),
            _quota("tickers", 20),
            _quota("open_interest", 20),
            _quota("time", 10),
            QuotaFact("status", amount=1, per_s=5.5, style="rolling"),
        ),
        ARCHIVE: (),
    },
    endpoints={
        e.name: e
        for e in (
            # Public Data, Get instruments: one page per type
            _call("instruments", "/api/v5/public/instruments", row_bytes=700),
            # Market Data, Get candlesticks: the newest bars, the running one included
            _call("candles_recent", "/api/v5/market/candles", 300, 95),
            # Market Data, Get candlesticks history: all of history, about a minute late. Some
            # sources say it gives 100 at most: fewer than asked for is not the end.
            _call("candles", "/api/v5/market/history-candles", 300, 95),
            # Market Data, Get trades history
            _call("trades", "/api/v5/market/history-trades", 100, 150),
            # Public Data, Get funding rate history
            _call("funding", "/api/v5/public/funding-rate-history", 400, 170),
            # Market Data, Get order book
            _call("book", "/api/v5/market/books", BOOK_DEPTH_MAX, 40),
            # Market Data, Get full order book: refreshed once a second
            _call("book_full", "/api/v5/market/books-full", BOOK_FULL_DEPTH_MAX, 40),
            # Market Data, Get tickers and Get ticker
            _call("tickers", "/api/v5/market/tickers", row_bytes=350),
            _call("ticker", "/api/v5/market/ticker", 1, 350),
            # Public Data, Get open interest
            _call("open_interest", "/api/v5/public/open-interest", 1, 200),
            # Public Data, Get system time; Status, Get status
            _call("time", "/api/v5/public/time", 1, 60),
            _call("status", "/api/v5/system/status", 1, 400),
            # Historical market data, https://www.okx.com/historical-data. Days and months are
            # those of UTC+8.
            Endpoint(
                "archive_trades",
                "/cdn/okex/traderecords/trades/daily/{day}/{native}-trades-{date}.zip",
                ARCHIVE,
                {},
            ),
            Endpoint(
                "archive_candles",
                "/cdn/okex/traderecords/candlesticks/daily/{day}/{native}-candlesticks-{date}.zip",
                ARCHIVE,
                {},
            ),
            Endpoint(
                "archive_funding",
                "/cdn/okex/traderecords/swaprates/monthly/{day}/{native}-fundingrates-{date}.zip",
                ARCHIVE,
                {},
            ),
        )
    },
    # From 6 hours up bars open on UTC+8 unless spelled with `utc`; case matters (1m, 1M).
    intervals={
        Interval.M1: "1m",
        Interval.M5: "5m",
        Interval.M15: "15m",
        Interval.M30: "30m",
        Interval.H1: "1H",
        Interval.H4: "4H",
        Interval.D1: "1Dutc",
        Interval.W1: "1Wutc",
        Interval.MON1: "1Mutc",
    },
    reach_s={"trades": _THREE_MONTHS_S, "funding": _THREE_MONTHS_S},
    unsupported={
        "trade_count": "candles carry no number of trades and no taker split",
        "coarse_candle_archives": "bulk files hold candles of one minute only",
        "dated_futures": "FUTURES, OPTION and EVENTS are left out: spot and perpetuals only",
    },
    geo_remedy="Set exchanges.okx.environment to the region of your account (eea, us), or to "
    "openapi for the other global host, or use another exchange",
    freeze_s=MIN_PAUSE_S,
    # A closed bar says so itself; this covers caches behind the balancer that lag each other.
    settle_s=3.0,
)
