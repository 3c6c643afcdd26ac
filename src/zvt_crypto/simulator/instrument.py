"""What is traded: the instruments of the simulated venues and how their numbers are scaled.

Every number of the market is an integer: prices count `10 ** -price_decimals`, sizes
`10 ** -size_decimals` of the venue's own size unit (contracts, where it has contracts). Sums of
trades are therefore exact, whatever the venue writes them like.
"""

import re
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Final

from zvt_crypto.core.timestamp import to_us


class Kind(StrEnum):
    """What an instrument is."""

    SPOT = "spot"
    LINEAR = "linear"
    INVERSE = "inverse"


@dataclass(frozen=True, slots=True)
class Asset:
    """A coin: what its market looks like when nothing else is said.

    Attributes:
        price: the level its price wanders around, in US dollars.
        activity: trades a day as a share of the configured number; 0 with `trades` set.
        trades: a fixed number of trades a day, for the illiquid ones.
        spot_tick, spot_lot, perp_tick, perp_lot: steps in quote and base units.
    """

    name: str
    price: float
    listed: str
    spot_tick: str
    spot_lot: str
    perp_tick: str
    perp_lot: str
    activity: float = 1.0
    trades: int = 0
    perp_listed: str = "2019-09-08T17:00:00Z"
    funding_hours: int = 8


ASSETS: Final[dict[str, Asset]] = {
    asset.name: asset
    for asset in (
        Asset("BTC", 60_000, "2017-08-17T04:00:00Z", "0.01", "0.00001", "0.1", "0.001"),
        Asset("ETH", 2_400, "2017-08-17T04:00:00Z", "0.01", "0.0001", "0.01", "0.001"),
        Asset(
            "SOL", 110, "2020-08-11T06:00:00Z", "0.01", "0.001", "0.01", "0.01",
            activity=0.5, perp_listed="2020-09-14T07:00:00Z", funding_hours=4,
        ),
        Asset("XRP", 0.9, "2018-05-04T08:00:00Z", "0.0001", "0.1", "0.0001", "0.1", activity=0.25),
        Asset("DOGE", 0.12, "2019-07-05T12:00:00Z", "0.00001", "1", "0.00001", "1", activity=0.25),
        Asset("LSK", 1.3, "2021-10-01T00:00:00Z", "0.001", "0.1", "0.001", "0.1", trades=300),
    )
}  # fmt: skip
"""The coins of the default market; LSK is the illiquid one: most of its minutes see no trade."""

DEFAULT_TRADES: Final = 2_000


@dataclass(frozen=True, slots=True)
class Instrument:
    """One instrument of one venue.

    Attributes:
        symbol: the canonical name: `BTC-USDT`, `BTC-USDT-PERP`, `BTC-USD-PERP`.
        native: the venue's own id.
        contract: base units (linear) or quote units (inverse) of one size unit; 1 otherwise.
        listed_us: when trading starts; nothing exists before.
        funding_hours: interval of funding; 0 for none.
        price: level its price wanders around; decides typical sizes too.
        extra: what only this venue's answers need, by name.
    """

    exchange: str
    symbol: str
    native: str
    kind: Kind
    base: str
    quote: str
    price_step: Decimal
    size_step: Decimal
    listed_us: int
    price: float
    trades_per_day: int
    contract: Decimal = Decimal(1)
    settle: str = ""
    funding_hours: int = 0
    extra: dict[str, str] = field(default_factory=dict[str, str], hash=False, compare=False)

    @property
    def price_decimals(self) -> int:
        """Return digits of fraction of a price."""
        return decimals_of(self.price_step)

    @property
    def size_decimals(self) -> int:
        """Return digits of fraction of a size, in the venue's unit."""
        return decimals_of(self.size_step)

    @property
    def base_decimals(self) -> int:
        """Return digits of fraction of an amount of the base coin."""
        if self.kind is Kind.INVERSE:
            return INVERSE_BASE_DECIMALS
        return self.size_decimals + decimals_of(self.contract)

    @property
    def quote_decimals(self) -> int:
        """Return digits of fraction of an amount of the quote coin."""
        if self.kind is Kind.INVERSE:
            return self.size_decimals + decimals_of(self.contract)
        return self.price_decimals + self.base_decimals

    @property
    def is_perpetual(self) -> bool:
        """Return whether it is a perpetual."""
        return self.kind is not Kind.SPOT


INVERSE_BASE_DECIMALS: Final = 8  # coins of an inverse trade: quote / price, rounded to 1e-8


def decimals_of(step: Decimal) -> int:
    """Return digits of fraction needed to write multiples of `step`."""
    exponent = step.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def unit_of(step: Decimal) -> int:
    """Return a step as a count of its last digit: 5 for 0.05, 1 for 0.01."""
    return int(step.scaleb(decimals_of(step)))


def canonical(base: str, quote: str, kind: Kind) -> str:
    """Return the canonical symbol."""
    return f"{base}-{quote}" if kind is Kind.SPOT else f"{base}-{quote}-PERP"


_CANONICAL: Final = re.compile(r"([^-/:]+)-([^-/:]+?)(-PERP)?")
_CCXT: Final = re.compile(r"([^/:]+)/([^/:]+)(?::([^/:-]+))?")


def parse_symbol(text: str) -> tuple[str, str, Kind] | None:
    """Read a canonical (`BTC-USDT-PERP`) or ccxt (`BTC/USDT:USDT`) symbol.

    Returns:
        Base, quote and kind, or None when `text` is in neither form (a native id).
    """
    upper = text.upper()
    if match := _CCXT.fullmatch(upper):
        base, quote, settle = match.groups()
        if settle is None:
            return base, quote, Kind.SPOT
        return base, quote, Kind.INVERSE if settle == base else Kind.LINEAR
    if match := _CANONICAL.fullmatch(upper):
        base, quote, perpetual = match.groups()
        if not perpetual:
            return base, quote, Kind.SPOT
        return base, quote, Kind.INVERSE if quote == "USD" else Kind.LINEAR
    return None


def make_instrument(
    exchange: str,
    base: str,
    quote: str,
    kind: Kind,
    native: str,
    *,
    trades_per_day: int,
    earliest: str,
    price_step: str = "",
    size_step: str = "",
    contract: str = "1",
    settle: str = "",
    funding_hours: int | None = None,
    extra: dict[str, str] | None = None,
) -> Instrument:
    """Return the instrument a venue would list for an asset of the default market.

    Steps are those of `ASSETS` unless given; the listing time is the later of the asset's and
    the venue's own `earliest`. An asset that is not in the table gets an ordinary small market.
    """
    asset = ASSETS.get(base) or Asset(
        base, 10.0, "2018-01-01", "0.0001", "0.01", "0.0001", "0.01", trades=DEFAULT_TRADES
    )
    spot = kind is Kind.SPOT
    listed = asset.listed if spot else asset.perp_listed
    hours = asset.funding_hours if funding_hours is None else funding_hours
    daily = asset.trades or int(trades_per_day * asset.activity)
    return Instrument(
        exchange=exchange,
        symbol=canonical(base, quote, kind),
        native=native,
        kind=kind,
        base=base,
        quote=quote,
        price_step=Decimal(price_step or (asset.spot_tick if spot else asset.perp_tick)),
        size_step=Decimal(size_step or (asset.spot_lot if spot else asset.perp_lot)),
        listed_us=max(to_us(listed), to_us(earliest)),
        price=asset.price,
        trades_per_day=max(10, daily // 10 * 10),
        contract=Decimal(contract),
        settle=settle or quote,
        funding_hours=0 if spot else hours,
        extra=extra or {},
    )
