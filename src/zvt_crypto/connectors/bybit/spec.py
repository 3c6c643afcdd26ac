"""Bybit v5, as data. Paths below refer to https://bybit-exchange.github.io/docs/v5/.

`category` (spot, linear, inverse) selects the product on every call, and it defaults to linear
when it is left out, so it is always sent. One id, `BTCUSDT`, names a spot pair and a perpetual.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from zvt_crypto.connectors.spec import Endpoint, ExchangeSpec, QuotaFact
from zvt_crypto.core.instrument import Market
from zvt_crypto.core.interval import Interval
from zvt_crypto.core.series import Kind

NAME: Final = "bybit"

REST: Final = "rest"
ARCHIVE: Final = "archive"

# A breach is answered with HTTP 403 and lasts at least this long (docs: rate-limit).
BAN_S: Final = 600.0

# The last page of trades holds a minute of a busy market and a day of a quiet one: what it does
# cover shows only in the answer. Farther back it is not worth a request; archives answer there.
_TRADES_REACH_S: Final = 3_600

_IP: Final = {"ip": 1.0}

CATEGORIES: Final = {market: str(market) for market in Market}
"""The words of the exchange happen to be ours."""

NON_CRYPTO: Final = frozenset({"stock", "commodity", "forex"})
"""`symbolType` of contracts on other things than coins, listed among the rest since 2026.

`innovation` and `adventure` are risk labels of coins; `xstocks` are tokens and trade as such.
"""

BYBIT: Final = ExchangeSpec(
    name=NAME,
    docs="https://bybit-exchange.github.io/docs/v5/intro",
    hosts={REST: "https://api.bybit.com", ARCHIVE: "https://public.bybit.com"},
    environments={
        "bytick": {REST: "https://api.bytick.com"},
        "testnet": {REST: "https://api-testnet.bybit.com"},
        "demo": {REST: "https://api-demo.bybit.com"},
        # Accounts of these regions are served by hosts of their own (docs: guide).
        "nl": {REST: "https://api.bybit.nl"},
        "tr": {REST: "https://api.bybit.tr"},
        "kz": {REST: "https://api.bybit.kz"},
        "ge": {REST: "https://api.bybitgeorgia.ge"},
        "ae": {REST: "https://api.bybit.ae"},
        "eu": {REST: "https://api.bybit.eu"},
        "id": {REST: "https://api.bybit.id"},
        "jp": {REST: "https://api.manepa.jp"},
        "jp-testnet": {REST: "https://api-testnet.manepa.jp"},
    },
    # 600 in 5 s over all hosts together, and ten minutes of silence for the first one too many:
    # 0.65 of it is 78 a second (docs: rate-limit). The file server publishes no limit.
    quotas={
        REST: (QuotaFact("ip", amount=600, per_s=5.0, style="rolling", share=0.65),),
        ARCHIVE: (),
    },
    endpoints={
        e.name: e
        for e in (
            # See market/instrument. Spot ignores limit and cursor and returns everything.
            Endpoint("instruments", "/v5/market/instruments-info", REST, _IP, 1000, 1000, 900),
            # See market/kline.
            Endpoint("candles", "/v5/market/kline", REST, _IP, 1000, 1000, 90),
            # See market/recent-trade. The newest ones only: no paging and no time parameter.
            Endpoint("trades_spot", "/v5/market/recent-trade", REST, _IP, 60, 60, 180),
            Endpoint("trades", "/v5/market/recent-trade", REST, _IP, 1000, 1000, 200),
            # See market/history-fund-rate.
            Endpoint("funding", "/v5/market/funding/history", REST, _IP, 200, 200, 90),
            # See market/orderbook. 1000 levels a side on spot, linear and inverse.
            Endpoint("book", "/v5/market/orderbook", REST, _IP, 1000, 1000, 25),
            # See market/tickers. All symbols of a category in one call.
            Endpoint("tickers", "/v5/market/tickers", REST, _IP),
            # See market/open-interest.
            Endpoint("open_interest", "/v5/market/open-interest", REST, _IP, 1, 200, 80),
            # See market/time.
            Endpoint("time", "/v5/market/time", REST, _IP),
            # https://public.bybit.com/, open listings in HTML
            Endpoint("archive_perp", "/trading/{symbol}/", ARCHIVE, {}),
            Endpoint("archive_spot", "/spot/{symbol}/", ARCHIVE, {}),
        )
    },
    # See enum#interval. Bars open on UTC boundaries, weeks on Monday, months on the first.
    intervals={
        Interval.M1: "1",
        Interval.M5: "5",
        Interval.M15: "15",
        Interval.M30: "30",
        Interval.H1: "60",
        Interval.H4: "240",
        Interval.D1: "D",
        Interval.W1: "W",
        Interval.MON1: "M",
    },
    reach_s={"trades": _TRADES_REACH_S},
    unsupported={
        "trade_history": "REST has the last 60 (spot) or 1000 trades only; older ones come from "
        "the daily files of public.bybit.com",
        "candle_archives": "the MetaTrader files are not read: sources disagree whether their "
        "clock is UTC or UTC+3",
        "taker_buy_volume": "candles carry no trade count and no taker split",
    },
    geo_remedy="Set exchanges.bybit.environment to the region of your account "
    "(nl, tr, kz, ge, ae, eu, id, jp) or use another exchange; the United States and mainland "
    "China are not served",
    counted_trade_ids=frozenset(),  # spot ids are numbers, but nobody says they are consecutive
    freeze_s=2.0,
    # Candles are published as the running bar closes; a moment more covers a lagging replica.
    settle_s=5.0,
)

# -- streams (docs: ws/connect and the pages under websocket/public) ------------------------------

STREAM: Final = "stream"

STREAM_HOSTS: Final[Mapping[str, Sequence[str]]] = {STREAM: ("wss://stream.bybit.com",)}
"""Base addresses: one host for all categories."""

STREAM_ENVIRONMENTS: Final[Mapping[str, Mapping[str, str]]] = {
    "testnet": {STREAM: "wss://stream-testnet.bybit.com"},
    # Demo trading has no public streams of its own, and regions share those of mainnet: what they
    # have themselves carries private data. Of Japan's test no stream is documented.
    **{name: {} for name in ("bytick", "demo", "nl", "tr", "kz", "ge", "ae", "eu", "id", "jp")},
}
"""What replaces the host, by the names of `BYBIT.environments`."""

STREAM_PATH: Final = "/v5/public/{route}"
"""One socket serves one category; the topics of spot and linear are spelled alike."""

ROUTES: Final = tuple(CATEGORIES.values())

TOPICS: Final[Mapping[Kind, str]] = {
    Kind.TRADES: "publicTrade.{native}",
    # Snapshots only since 2025-03; the same one again after three idle seconds.
    Kind.QUOTES: "orderbook.1.{native}",
    Kind.BOOK: "orderbook.{depth}.{native}",
    Kind.CANDLES: "kline.{interval}.{native}",
    # One topic carries all three; see `ticker`.
    Kind.MARK_PRICE: "tickers.{native}",
    Kind.FUNDING: "tickers.{native}",
    Kind.OPEN_INTEREST: "tickers.{native}",
    Kind.LIQUIDATIONS: "allLiquidation.{native}",
}

OTHER_INTERVALS: Final = frozenset({"3", "120", "360", "720"})
"""Widths of candles that are streamed and are none of ours."""

DEPTHS: Final = (50, 200, 1000)
"""Depths of a book that can be subscribed (websocket/public/orderbook)."""

OLD_DEPTHS: Final = (500,)
"""Depths in old recordings: 500 was removed on 2025-09-11."""

NOT_STREAMED: Final[Mapping[Kind, str]] = {
    Kind.STATUS: "no public stream announces an instrument's state; the instrument list does",
}

PERPETUAL_ONLY: Final = frozenset(
    {Kind.MARK_PRICE, Kind.FUNDING, Kind.OPEN_INTEREST, Kind.LIQUIDATIONS}
)

# Spot answers "args size >10" to more; the others have no count limit (ws/connect).
ARGS_PER_REQUEST: Final = 10
# The longest the `args` of one public connection may be together (ws/connect).
ARGS_CHARS: Final = 21_000
# Our choice: a socket that dies takes no more than these with it.
TOPICS_PER_CONNECTION: Final = 200
# 500 new connections in five minutes and address (ws/connect).
CONNECTIONS: Final = 500
CONNECTIONS_WINDOW_S: Final = 300.0
# Not documented; far below what was ever refused.
MESSAGES_PER_S: Final = 10.0
PING_EVERY_S: Final = 20.0

OTHER_TOPICS: Final = frozenset(
    {
        "adlAlert",
        "dcp",
        "execution",
        "greeks",
        "insurance",
        "liquidation",
        "order",
        "position",
        "priceLimit",
        "tickers",
        "wallet",
    }
)
"""First words of documented topics we have no use for; `tickers` is here for spot."""
