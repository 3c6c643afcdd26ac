"""Coinbase Advanced Trade, as data. Paths refer to https://docs.cdp.coinbase.com/advanced-trade/.

Public market data only: the `/market/` twins of the calls, which need no key. Times in requests
are Unix seconds, amounts are strings, and the side of a public trade is the maker's.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from zvt_crypto.connectors.spec import Endpoint, ExchangeSpec, QuotaFact
from zvt_crypto.core.interval import Interval
from zvt_crypto.core.series import Kind

NAME: Final = "coinbase"

REST: Final = "rest"

NO_CACHE: Final = {"Cache-Control": "no-cache"}
"""Public replies are cached for a second; this asks for a fresh one (REST API Overview)."""

FIRST_CANDLE_US: Final = 1_262_304_000_000_000
"""2010-01-01: before any market. Where the search begins must not depend on when the exchange is
believed to have opened: what lies before the first candle is entered as proven empty."""

MOVED_SUFFIX: Final = "-PERP-INTX"
MOVED_REASON: Final = (
    "international perpetuals left Advanced Trade on 2026-10-01 for a gateway of their own"
)

FUNDING_REASON: Final = (
    "Advanced Trade shows the current rate of a perpetual inside its product and keeps no "
    "history; poll it from now on"
)

_PUBLIC: Final = {"public": 1.0}

_MARKET: Final = "/api/v3/brokerage/market"

COINBASE: Final = ExchangeSpec(
    name=NAME,
    docs="https://docs.cdp.coinbase.com/advanced-trade/docs/welcome",
    hosts={REST: "https://api.coinbase.com"},
    # There is no testnet: the sandbox answers accounts and orders with canned replies only.
    environments={},
    # 10 a second and address for public calls, taken over 0.15 s more: a burst that was late on the
    # way must not meet the next one in the exchange's second. The reply's x-ratelimit headers
    # do not name their window, so they are not read.
    quotas={REST: (QuotaFact("public", amount=10, per_s=1.15, style="rolling"),)},
    endpoints={
        e.name: e
        for e in (
            # rest-api/public/list-public-products
            Endpoint("products", f"{_MARKET}/products", REST, _PUBLIC, 1_000, 1_000, 1_200),
            # rest-api/public/get-public-product
            Endpoint("product", f"{_MARKET}/products/{{native}}", REST, _PUBLIC, 1, 1, 1_300),
            # rest-api/public/get-public-product-candles: documented as 350, refused above 300 by
            # measurement (ccxt PR 25171)
            Endpoint(
                "candles", f"{_MARKET}/products/{{native}}/candles", REST, _PUBLIC, 300, 350, 110
            ),
            # rest-api/public/get-public-market-trades: its maximum is not documented
            Endpoint(
                "trades", f"{_MARKET}/products/{{native}}/ticker", REST, _PUBLIC, 1_000, 1_000, 190
            ),
            # rest-api/public/get-public-product-book
            Endpoint("book", f"{_MARKET}/product_book", REST, _PUBLIC, 100, 500, 90),
            # rest-api/public/get-server-time
            Endpoint("time", "/api/v3/brokerage/time", REST, _PUBLIC, 1, 1, 100),
        )
    },
    # TWO_HOUR and SIX_HOUR exist too. FOUR_HOUR is in the reference and in no library: the
    # connector tries it once. Weeks and months are never native.
    intervals={
        Interval.M1: "ONE_MINUTE",
        Interval.M5: "FIVE_MINUTE",
        Interval.M15: "FIFTEEN_MINUTE",
        Interval.M30: "THIRTY_MINUTE",
        Interval.H1: "ONE_HOUR",
        Interval.H4: "FOUR_HOUR",
        Interval.D1: "ONE_DAY",
    },
    unsupported={
        "funding": FUNDING_REASON,
        "archives": "Coinbase publishes no bulk files; all history comes from REST, 300 candles "
        "a page",
        "quote_volume": "candles carry the base volume only: no quote volume, no number of "
        "trades, no taker split",
        "international_perpetuals": MOVED_REASON,
    },
    geo_remedy="Public market data of Coinbase is open almost everywhere: check the proxy, or use "
    "another exchange",
    freeze_s=1.0,
    # Replies are cached for a second and the last buckets are revised for some seconds after
    # their close (hummingbot 6889).
    settle_s=10.0,
)

# -- streams (websocket/websocket-overview, -channels, -rate-limits) ------------------------------

STREAM: Final = "stream"

MARKET_ROUTE: Final = "market"
BOOK_ROUTE: Final = "book"
EXCHANGE_ROUTE: Final = "exchange"

STREAM_HOSTS: Final[Mapping[str, Sequence[str]]] = {
    STREAM: ("wss://advanced-trade-ws.coinbase.com",),
    # The institutional feed, another product: only recordings of it are read.
    EXCHANGE_ROUTE: ("wss://ws-feed.exchange.coinbase.com",),
}
"""Base addresses: books have sockets of their own, on the same host."""

STREAM_ENVIRONMENTS: Final[Mapping[str, Mapping[str, str]]] = {}
"""There is no testnet: the sandbox has neither market data nor sockets."""

CHANNELS: Final[Mapping[Kind, str]] = {
    Kind.TRADES: "market_trades",
    # Its messages say `l2_data`.
    Kind.BOOK: "level2",
    # `ticker` carries the best bid and ask of the last trade: stale between trades.
    Kind.QUOTES: "level2",
    # Buckets of five minutes and no others.
    Kind.CANDLES: "candles",
    Kind.STATUS: "status",
}

CANDLE_INTERVAL: Final = Interval.M5

HEARTBEATS: Final = "heartbeats"
"""Channels without updates close after 60 to 90 s unless this one is subscribed as well."""

NOT_STREAMED: Final[Mapping[Kind, str]] = {
    Kind.FUNDING: "no channel carries it; " + FUNDING_REASON,
    Kind.OPEN_INTEREST: "no channel carries it; it is inside the product, by REST",
    Kind.MARK_PRICE: "no channel carries it; the product, by REST, has an index price only",
    Kind.LIQUIDATIONS: "no channel carries them",
}

# No maximum of products is documented. A socket that dies or loses a message takes all its books
# with it, and one snapshot may have ten megabytes: books get sockets of their own, of fewer.
TOPICS_PER_CONNECTION: Final[Mapping[str, int]] = {
    MARKET_ROUTE: 100,
    BOOK_ROUTE: 25,
    EXCHANGE_ROUTE: 100,
}
# A second and an address may open 8 connections and send 8 messages without a key. Half of the
# connections, each with its greeting and a subscription, make the 8 messages.
CONNECTIONS: Final = 4
CONNECTIONS_WINDOW_S: Final = 1.0
MESSAGES_PER_S: Final = 2.0
SUBSCRIBE_WITHIN_S: Final = 5.0
# Heartbeats come every second.
SILENCE_S: Final = 10.0

OTHER_CHANNELS: Final = frozenset(
    {"ticker", "ticker_batch", "user", "futures_balance_summary", "rfq_matches"}
)
"""Documented channels we have no use for."""
