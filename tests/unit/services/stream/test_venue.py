"""Which instruments a native id stands for."""

from typing import Any

from zvt_crypto.connectors.coinbase.ws import CoinbaseProtocol
from zvt_crypto.core.instrument import Instrument, Market
from zvt_crypto.core.record import Trade
from zvt_crypto.services.stream.venue import Venue

NOW = 1_790_000_000_000_000


def venue_of(*instruments: Instrument) -> Venue:
    unused: Any = None  # questions to REST are not asked here
    venue = Venue(CoinbaseProtocol(), unused, lambda: NOW, 10)
    venue.know(instruments)
    return venue


def spot(base: str, quote: str, *aliases: str) -> Instrument:
    return Instrument(
        exchange="coinbase", symbol=f"{base}-{quote}", native=f"{base}-{quote}", base=base,
        quote=quote, settle=None, market=Market.SPOT, aliases=aliases,
    )  # fmt: skip


def test_data_of_a_shared_book_is_given_to_all_who_share_it_the_owner_first() -> None:
    # the alias is listed before the product whose name it shares
    venue = venue_of(spot("BTC", "USDC", "BTC-USD"), spot("BTC", "USD"), spot("ETH", "USD"))

    assert [t.symbol for t in venue.resolve("market", "BTC-USD")] == ["BTC-USD", "BTC-USDC"]
    assert [t.symbol for t in venue.resolve("market", "BTC-USDC")] == ["BTC-USDC"]
    assert [t.symbol for t in venue.resolve("market", "ETH-USD")] == ["ETH-USD"]
    assert venue.resolve("market", "DOGE-USD") == []


def test_a_trade_of_a_shared_book_is_read_for_both_symbols() -> None:
    venue = venue_of(spot("BTC", "USD"), spot("BTC", "USDC", "BTC-USD"))
    frame = (
        b'{"channel":"market_trades","timestamp":"2026-09-21T14:13:20.1Z","sequence_num":0,'
        b'"events":[{"type":"update","trades":[{"trade_id":"7","product_id":"BTC-USD",'
        b'"price":"60000","size":"0.5","time":"2026-09-21T14:13:20Z","side":"BUY"}]}]}'
    )

    found = venue.protocol.parser("market", venue.resolve).parse(frame, NOW)

    assert [(t.symbol, t.trade_id) for t in found if isinstance(t, Trade)] == [
        ("BTC-USD", 7),
        ("BTC-USDC", 7),
    ]


def test_ids_of_two_markets_are_told_apart_by_the_route() -> None:
    perp = Instrument(
        exchange="bybit", symbol="BTC-USDT-PERP", native="BTCUSDT", base="BTC", quote="USDT",
        settle="USDT", market=Market.LINEAR,
    )  # fmt: skip
    pair = Instrument(
        exchange="bybit", symbol="BTC-USDT", native="BTCUSDT", base="BTC", quote="USDT",
        settle=None, market=Market.SPOT,
    )  # fmt: skip
    venue = venue_of(perp, pair)

    assert [t.symbol for t in venue.resolve("linear", "BTCUSDT")] == ["BTC-USDT-PERP"]
    assert [t.symbol for t in venue.resolve("spot", "BTCUSDT")] == ["BTC-USDT"]
    assert venue.resolve("inverse", "BTCUSDT") == []
