"""What Coinbase lists: products to instruments. Pure.

Source: https://docs.cdp.coinbase.com/api-reference/advanced-trade-api/rest-api/public/list-public-products
"""

import msgspec

from zvt_crypto.connectors.coinbase.spec import MOVED_SUFFIX, NAME
from zvt_crypto.connectors.wire.number import number
from zvt_crypto.core.errors import MalformedPayload
from zvt_crypto.core.instrument import Instrument, Market, Status, canonical_symbol


class _Perpetual(msgspec.Struct):
    open_interest: str | None = ""
    funding_rate: str | None = ""


class _Future(msgspec.Struct):
    contract_code: str | None = ""
    contract_size: str | None = ""
    contract_root_unit: str | None = ""
    contract_expiry_type: str | None = ""
    display_name: str | None = ""
    open_interest: str | None = ""
    funding_rate: str | None = ""
    non_crypto: bool | None = False
    perpetual_details: _Perpetual | None = None


class _Product(msgspec.Struct):
    product_id: str
    product_type: str | None = ""
    status: str | None = ""
    base_currency_id: str | None = ""
    quote_currency_id: str | None = ""
    price_increment: str | None = ""
    quote_increment: str | None = ""
    base_increment: str | None = ""
    base_min_size: str | None = ""
    quote_min_size: str | None = ""
    display_name: str | None = ""
    alias: str | None = ""
    is_disabled: bool | None = False
    trading_disabled: bool | None = False
    view_only: bool | None = False
    cancel_only: bool | None = False
    limit_only: bool | None = False
    post_only: bool | None = False
    auction_mode: bool | None = False
    future_product_details: _Future | None = None


class _Pagination(msgspec.Struct):
    next_cursor: str | None = ""
    has_next: bool | None = False


class _Page(msgspec.Struct):
    products: list[_Product]
    pagination: _Pagination | None = None


class ProductPage(msgspec.Struct, frozen=True):
    """One page of products: what we trade of it, how many it held, and where the next begins."""

    instruments: tuple[Instrument, ...]
    rows: int
    has_next: bool
    next_cursor: str


_decode_page = msgspec.json.Decoder(_Page).decode
_decode_product = msgspec.json.Decoder(_Product).decode


def parse_products(body: bytes) -> ProductPage:
    """Translate one page of the product list.

    Returns:
        Spot pairs and perpetual-style futures. Dated futures, contracts on other things than
        coins and the international perpetuals that have moved away are left out. Steps of
        perpetuals count contracts of `contract_size` base units.

    Raises:
        MalformedPayload: not JSON of that shape.

    Source:
        https://docs.cdp.coinbase.com/api-reference/advanced-trade-api/rest-api/public/list-public-products
    """
    try:
        page = _decode_page(body)
        listed = [_instrument(product) for product in page.products]
    except (msgspec.DecodeError, UnicodeDecodeError) as e:
        raise MalformedPayload(NAME, "products", str(e)) from e
    turn = page.pagination or _Pagination()
    return ProductPage(
        instruments=tuple(one for one in listed if one is not None),
        rows=len(page.products),
        has_next=bool(turn.has_next),
        next_cursor=turn.next_cursor or "",
    )


def parse_product(body: bytes) -> Instrument | None:
    """Translate one product; None if it is nothing we trade.

    Raises:
        MalformedPayload: not JSON of that shape.
    """
    try:
        return _instrument(_decode_product(body))
    except (msgspec.DecodeError, UnicodeDecodeError) as e:
        raise MalformedPayload(NAME, "a product", str(e)) from e


def parse_open_interest(body: bytes) -> float | None:
    """Return the open interest in base units inside one product; None if it has none.

    Raises:
        MalformedPayload: not JSON of that shape.
    """
    try:
        future = _decode_product(body).future_product_details
        if future is None:
            return None
        contracts = _number(future.open_interest)
        if contracts is None and future.perpetual_details is not None:
            contracts = _number(future.perpetual_details.open_interest)
        size = _number(future.contract_size)
        return None if contracts is None else contracts * (size or 1.0)
    except (msgspec.DecodeError, UnicodeDecodeError) as e:
        raise MalformedPayload(NAME, "a product", str(e)) from e


def unique_symbols(instruments: list[Instrument]) -> list[Instrument]:
    """Return the instruments with a symbol each.

    Two perpetuals on one coin (contracts of two sizes) would share a name: the first by native id
    keeps it, the others carry their contract's code before PERP.
    """
    taken: set[str] = set()
    named: dict[str, str] = {}
    for one in sorted(instruments, key=lambda i: i.native):
        symbol = one.symbol
        if symbol in taken and one.is_perpetual:
            symbol = f"{one.base}-{one.quote}-{one.native.partition('-')[0]}-PERP"
        taken.add(symbol)
        named[one.native] = symbol
    return [
        one
        if one.symbol == named[one.native]
        else msgspec.structs.replace(one, symbol=named[one.native])
        for one in instruments
    ]


def _instrument(product: _Product) -> Instrument | None:
    if product.product_id.endswith(MOVED_SUFFIX):
        return None
    if product.future_product_details is not None or product.product_type == "FUTURE":
        return _perpetual(product, product.future_product_details)
    base, quote = product.base_currency_id or "", product.quote_currency_id or ""
    if not base or not quote:
        base, _, quote = product.product_id.rpartition("-")
    if not base or not quote:
        return None
    return _build(product, base, quote, None, 1.0)


def _perpetual(product: _Product, future: _Future | None) -> Instrument | None:
    if future is None or future.non_crypto or not _is_perpetual(product, future):
        return None
    base, quote = future.contract_root_unit or "", product.quote_currency_id or ""
    if not base or not quote:
        return None
    return _build(product, base, quote, quote, _number(future.contract_size) or 1.0)


def _is_perpetual(product: _Product, future: _Future) -> bool:
    """Tell a perpetual from a dated contract: both say EXPIRING, the perpetual in the year 2030."""
    if future.funding_rate or (future.perpetual_details and future.perpetual_details.funding_rate):
        return True
    names = f"{product.display_name or ''} {future.display_name or ''}".upper().split()
    return future.contract_expiry_type == "PERPETUAL" or bool({"PERP", "PERPETUAL"} & set(names))


def _build(
    product: _Product, base: str, quote: str, settle: str | None, contract_size: float
) -> Instrument:
    return Instrument(
        exchange=NAME,
        symbol=canonical_symbol(base, quote, settle),
        native=product.product_id,
        base=base,
        quote=quote,
        settle=settle,
        market=Market.SPOT if settle is None else Market.LINEAR,
        status=_status(product),
        # Not quote_increment: futures show 0.01 there and move by 5.
        tick_size=_number(product.price_increment) or _number(product.quote_increment),
        size_step=_number(product.base_increment),
        min_size=_number(product.base_min_size),
        min_notional=_number(product.quote_min_size) or None,
        contract_size=contract_size,
        # `BTC-USDC` shares the book of `BTC-USD`: its live data comes under that name.
        aliases=(product.alias,) if product.alias and product.alias != product.product_id else (),
    )


def _status(product: _Product) -> Status:
    """Return what the flags say; futures have an empty status, spot `online` when it trades."""
    if product.status == "delisted":
        return Status.DELISTED
    if product.is_disabled or product.trading_disabled or product.view_only:
        return Status.HALTED
    if product.status == "offline":
        return Status.HALTED
    if product.status not in ("online", "", None):
        return Status.UNKNOWN
    flags = (
        (product.cancel_only, Status.CANCEL_ONLY),
        (product.auction_mode, Status.AUCTION),
        (product.post_only, Status.POST_ONLY),
        (product.limit_only, Status.LIMIT_ONLY),
    )
    return next((status for flag, status in flags if flag), Status.ACTIVE)


def _number(text: str | None) -> float | None:
    """Return what is told; a word that is no number costs the field and not the whole list."""
    try:
        return number(text, "a product") if text else None
    except ValueError:
        return None
