"""What Coinbase tells about its products, and the parts of its older API that clients still use."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from zvt_crypto.core.interval import US_PER_DAY, US_PER_HOUR, US_PER_S
from zvt_crypto.core.timestamp import format_us, from_us
from zvt_crypto.simulator.encode import decimal_text
from zvt_crypto.simulator.instrument import Instrument, Kind
from zvt_crypto.simulator.venue import Reply, json_reply

if TYPE_CHECKING:
    from zvt_crypto.simulator.venue import Venue

ALIAS: Final = "alias"
"""Key of an instrument's extras: the product whose book it shares."""

_NAMES: Final = {
    "BTC": "Bitcoin", "ETH": "Ethereum", "SOL": "Solana", "XRP": "XRP", "DOGE": "Dogecoin",
    "LSK": "Lisk", "USD": "US Dollar", "USDC": "USDC", "USDT": "Tether", "EUR": "Euro",
}  # fmt: skip
_FIAT: Final = ("USD", "EUR")
_EXPIRY: Final = "2030-12-20T16:00:00Z"
_EXPIRY_US: Final = 1_924_012_800_000_000
_SETTLES_EVERY: Final = "3600s"


def error(word: str, message: str, status: int) -> Reply:
    """Return a refusal in the first of Coinbase's dialects."""
    return json_reply({"error": word, "error_details": message, "message": message}, status)


def too_many() -> Reply:
    """Return the refusal over the rate limit, which is in the second dialect."""
    body = {"errors": [{"id": "rate_limit_exceeded", "message": "Too many requests"}]}
    return json_reply(body, 429)


def describe(venue: "Venue", instrument: Instrument, now_us: int) -> dict[str, Any]:
    """Return a product as the lists show it: numbers as strings, absent ones as empty strings."""
    is_future = instrument.kind is not Kind.SPOT
    book = source(venue, instrument)
    day = venue.day_summary(book, now_us)
    price = decimal_text(day.last, book.price_decimals)
    alias = instrument.extra.get(ALIAS, "")
    about: dict[str, Any] = {
        "product_id": instrument.native,
        "price": price,
        "price_percentage_change_24h": day.change_percent,
        "volume_24h": decimal_text(day.native, book.size_decimals),
        "volume_percentage_change_24h": "",
        "base_increment": f"{instrument.size_step:f}",
        # Contracts show the cent here and their true step below.
        "quote_increment": "0.01" if is_future else f"{instrument.price_step:f}",
        "quote_min_size": "0" if is_future else "1",
        "quote_max_size": "100000000" if is_future else "150000000",
        "base_min_size": f"{instrument.size_step:f}",
        "base_max_size": "5000" if is_future else "3400",
        "base_name": "" if is_future else _name(instrument.base),
        "quote_name": _name(instrument.quote),
        "watched": False,
        "is_disabled": False,
        "new": False,
        "status": "" if is_future else "online",
        "cancel_only": False,
        "limit_only": False,
        "post_only": False,
        "trading_disabled": False,
        "auction_mode": False,
        "product_type": "FUTURE" if is_future else "SPOT",
        "quote_currency_id": instrument.quote,
        "base_currency_id": "" if is_future else instrument.base,
        "fcm_trading_session_details": _session(now_us) if is_future else None,
        "mid_market_price": "",
        "alias": alias,
        "alias_to": [
            i.native for i in venue.listed_instruments() if i.extra.get(ALIAS) == instrument.native
        ],
        "base_display_symbol": "" if is_future else instrument.base,
        "quote_display_symbol": "USD" if alias else instrument.quote,
        "view_only": False,
        "price_increment": f"{instrument.price_step:f}",
        "display_name": f"{instrument.base} PERP" if is_future else instrument.native,
        "product_venue": "FCM" if is_future else "CBE",
        "approximate_quote_24h_volume": decimal_text(day.quote, book.quote_decimals),
        "new_at": None if is_future else "2023-01-01T00:00:00Z",
        "best_bid_price": "",
        "best_ask_price": "",
        "icon_url": "",
        "about_description": "",
        "hidden_from_discovery": False,
    }
    if is_future:
        about["future_product_details"] = _contract(venue, instrument, now_us, price)
    return about


def source(venue: "Venue", instrument: Instrument) -> Instrument:
    """Return the instrument whose market a product shows: its own, or the one it is an alias of."""
    alias = instrument.extra.get(ALIAS)
    return instrument if alias is None else venue.lookup(alias) or instrument


def dated_future(venue: "Venue", perpetual: Instrument, now_us: int) -> dict[str, Any]:
    """Return a contract that does expire, beside a perpetual that also says it does.

    It has neither funding nor an interval of it, which is what tells the two apart. It is listed
    only, so that clients have something to leave out; there is no market of it.
    """
    about = describe(venue, perpetual, now_us)
    expiry_us = now_us // US_PER_DAY * US_PER_DAY + 30 * US_PER_DAY
    day = from_us(expiry_us).strftime("%d%b%y").upper()
    about["future_product_details"] |= {
        "contract_code": "BIT",
        "contract_expiry": format_us(expiry_us),
        "funding_interval": None,
        "funding_rate": "",
        "funding_time": None,
        "index_price": "",
        "contract_display_name": f"BTC {day}",
        "display_name": f"BTC Futures ({day})",
    }
    return about | {"product_id": f"BIT-{day}-CDE", "display_name": f"BTC {day}"}


def _contract(venue: "Venue", instrument: Instrument, now_us: int, price: str) -> dict[str, Any]:
    """Return the details of a perpetual, which calls itself expiring in 2030."""
    market = venue.world.market
    count = market.funding_count(instrument, now_us)
    settled = market.funding(instrument, max(0, count - 1), count + 1)
    interest = decimal_text(market.open_interest(instrument, now_us), instrument.size_decimals)
    return {
        "venue": "cde",
        "contract_code": instrument.native.partition("-")[0],
        "contract_expiry": _EXPIRY,
        "contract_size": f"{instrument.contract:f}",
        "contract_root_unit": instrument.base,
        "group_description": f"nano {instrument.base} Perp Futures",
        "contract_expiry_timezone": "Europe/London",
        "group_short_description": f"nano {instrument.base} Perp",
        "risk_managed_by": "MANAGED_BY_FCM",
        "contract_expiry_type": "EXPIRING",
        "perpetual_details": {
            "open_interest": interest,
            "funding_rate": "",
            "funding_time": None,
            "max_leverage": "",
        },
        "contract_display_name": f"{instrument.base} PERP",
        "time_to_expiry_ms": str((_EXPIRY_US - now_us) // 1_000),
        "non_crypto": False,
        "contract_expiry_name": "2030-12",
        "twenty_four_by_seven": True,
        "funding_interval": _SETTLES_EVERY,
        "open_interest": interest,
        "funding_rate": decimal_text(int(settled.rate[0]), 8),
        "funding_time": format_us(int(settled.time_us[0])),
        "display_name": f"{instrument.base} Perpetual",
        "settlement_price": price,
        "futures_asset_type": "FUTURES_ASSET_TYPE_CRYPTO",
        "index_price": price,
    }


def _session(now_us: int) -> dict[str, Any]:
    opened = now_us // US_PER_DAY * US_PER_DAY - 3 * US_PER_HOUR
    return {
        "is_session_open": True,
        "open_time": format_us(opened),
        "close_time": format_us(opened + US_PER_DAY),
        "session_state": "FCM_TRADING_SESSION_STATE_OPEN",
        "after_hours_order_entry_disabled": False,
        "closed_reason": "FCM_TRADING_SESSION_CLOSED_REASON_EXCHANGE_MAINTENANCE",
        "maintenance": None,
    }


def book(venue: "Venue", instrument: Instrument, now_us: int, depth: int) -> dict[str, Any]:
    """Return the book of a product; it has no sequence."""
    shown = source(venue, instrument)
    bids, asks = (
        [
            {
                "price": decimal_text(price, shown.price_decimals),
                "size": decimal_text(size, shown.size_decimals),
            }
            for price, size in side
        ]
        for side in venue.book(shown, now_us, depth)
    )
    best_bid, best_ask = float(bids[0]["price"]), float(asks[0]["price"])
    middle = (best_bid + best_ask) / 2
    return {
        "pricebook": {
            "product_id": instrument.native,
            "bids": bids,
            "asks": asks,
            "time": format_us(now_us),
        },
        "last": venue.last_price(shown, now_us),
        "mid_market": f"{middle:.10g}",
        "spread_bps": f"{(best_ask - best_bid) / middle * 1e4:.9f}",
        "spread_absolute": f"{best_ask - best_bid:.10g}",
    }


def clock(server_us: int) -> dict[str, str]:
    """Return the time, every number a string."""
    return {
        "iso": format_us(server_us // US_PER_S * US_PER_S),
        "epochSeconds": str(server_us // US_PER_S),
        "epochMillis": str(server_us // 1_000),
    }


# -- the older API, `/v2` -----------------------------------------------------------------------


def old_clock(server_us: int) -> dict[str, Any]:
    """Return the time as `/v2/time` has it."""
    seconds = server_us // US_PER_S
    return {"data": {"iso": format_us(seconds * US_PER_S), "epoch": seconds}}


def currencies() -> dict[str, Any]:
    """Return the currencies of states."""
    return {"data": [{"id": c, "name": _name(c), "min_size": "0.01"} for c in _FIAT]}


def coins(listed: Sequence[Instrument]) -> dict[str, Any]:
    """Return the coins of all products."""
    return {
        "data": [
            {
                "asset_id": f"00000000-0000-4000-8000-{at:012d}",
                "code": coin,
                "name": _name(coin),
                "color": "#0433FF",
                "sort_index": at,
                "exponent": 8,
                "type": "crypto",
                "address_regex": "^.*$",
            }
            for at, coin in enumerate(_coins(listed), start=100)
        ]
    }


def rates(venue: "Venue", now_us: int) -> dict[str, Any]:
    """Return how much of every coin a dollar buys."""
    found = {"USD": "1.0", "USDC": "1.0"}
    for one in venue.listed_instruments(Kind.SPOT):
        if one.quote == "USD":
            found[one.base] = f"{1 / float(venue.last_price(one, now_us)):.12f}"
    return {"data": {"currency": "USD", "rates": found}}


def _coins(listed: Sequence[Instrument]) -> list[str]:
    names = {name for one in listed for name in (one.base, one.quote)}
    return sorted(names.difference(_FIAT))


def _name(coin: str) -> str:
    return _NAMES.get(coin, coin)
