"""Sum up a recording exactly, for comparison with anybody else's reading of the same bytes.

The shape of the result is a public interface: docs/journal.md describes it.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final

from zvt_crypto.core.instrument import Market
from zvt_crypto.core.record import (
    Book,
    Candle,
    DataRecord,
    Funding,
    InstrumentStatus,
    Liquidation,
    MarkPrice,
    OpenInterest,
    Quote,
    Trade,
)
from zvt_crypto.ports.recording import (
    Contract,
    Label,
    RecordedExchange,
    RestBook,
    RestFacts,
    Section,
)
from zvt_crypto.ports.stream import Ignored, Message, Pong, SequenceBreak, StreamProtocol, Target
from zvt_crypto.services.journal.frame import Direction, RawFrame
from zvt_crypto.services.journal.replay import Played, Player, native_target
from zvt_crypto.services.journal.tally.book import BookTally
from zvt_crypto.services.journal.tally.quote import QuoteTally
from zvt_crypto.services.journal.tally.state import (
    CandleTally,
    FundingTally,
    InterestTally,
    LiquidationTally,
    MarkTally,
)
from zvt_crypto.services.journal.tally.trade import TradeTally

MOST_SAMPLES: Final = 5
"""Undecoded frames that are shown."""

_MOST_REASONS: Final = 100
_SAMPLE_CHARS: Final = 300
_OTHER: Final = "other reasons"
_MARK: Final = "\x00"
_ALL_TRADES: Final = (Section.TRADES, Section.AGG_TRADES, Section.TRADES_ALL)
"""Which feed of trades is the symbol's, best first."""

_STATES: Final[dict[type, tuple[str, type]]] = {
    MarkPrice: ("mark_prices", MarkTally),
    Funding: ("funding", FundingTally),
    OpenInterest: ("open_interest", InterestTally),
    Liquidation: ("liquidations", LiquidationTally),
}
"""Section and counter of records that say how something stands."""


class SymbolTally:
    """All that one native id of one market said."""

    def __init__(self, snapshots: Sequence[RestBook]) -> None:
        self._snapshots = snapshots
        self.trades: dict[Section, TradeTally] = {}
        self.quotes: dict[Section, QuoteTally] = {}
        self.books: dict[str, BookTally] = {}
        self.candles: dict[str, CandleTally] = {}
        self.tickers = Counter[str]()
        self.states: dict[str, Any] = {}
        self.statuses = 0

    def add(self, record: DataRecord, label: Label) -> None:
        """Count one record of the message `label`."""
        match record:
            case Trade():
                _at(self.trades, _section(record, label), TradeTally).add(record)
            case Quote():
                _at(self.quotes, label.section or Section.QUOTES, QuoteTally).add(record)
                if label.channel:
                    self._book(label.channel).add(_as_book(record))
            case Book():
                self._book(label.channel or "book").add(record, label.checksum)
            case Candle():
                _at(self.candles, str(record.interval), CandleTally).add(record)
            case InstrumentStatus():
                self.statuses += 1
            case _:
                name, make = _STATES[type(record)]
                _at(self.states, name, make).add(record)

    def _book(self, channel: str) -> BookTally:
        found = self.books.get(channel)
        if found is None:
            found = self.books[channel] = BookTally(self._snapshots)
        return found

    def result(
        self, native: str, contract: Contract | None, recorded: RecordedExchange
    ) -> dict[str, Any]:
        """Return every section there is."""
        found: dict[str, Any] = {}
        self._add_trades(found, contract)
        self._add_quotes(found)
        self._add_books(found, native, recorded)
        if self.candles:
            found["candles"] = {width: one.result() for width, one in self.candles.items()}
        found |= {name: one.result() for name, one in self.states.items()}
        if self.statuses:
            found["instrument_statuses"] = {"count": self.statuses}
        return found

    def _add_trades(self, found: dict[str, Any], contract: Contract | None) -> None:
        results = {section: one.result(contract) for section, one in self.trades.items()}
        main = next((results[section] for section in _ALL_TRADES if section in results), None)
        if main is not None:
            found["trades"] = main
        found |= {str(s): r for s, r in results.items() if s is not Section.TRADES}

    def _add_quotes(self, found: dict[str, Any]) -> None:
        results = {section: one.result() for section, one in self.quotes.items()}
        main = results.get(Section.QUOTES) or results.get(Section.TICKERS)
        if main is not None:
            found["quotes"] = main
        if Section.TICKERS in results or self.tickers:
            found["tickers"] = results.get(Section.TICKERS, {}) | dict(self.tickers)

    def _add_books(self, found: dict[str, Any], native: str, recorded: RecordedExchange) -> None:
        if not self.books:
            return
        results: dict[str, dict[str, Any]] = {}
        for channel, one in self.books.items():
            result = one.result()
            result |= recorded.named(channel, result)
            results[recorded.book_key(channel, native)] = result
        # The one that knows most is the symbol's book; all of them stand by their names.
        found["book_updates"] = max(results.values(), key=lambda r: (r["levels"], r["count"]))
        found["books"] = results


def _section(trade: Trade, label: Label) -> Section:
    if trade.is_recap and label.section is not Section.LAST_MATCH:
        return Section.TRADES_SNAPSHOT
    return label.section or (Section.AGG_TRADES if trade.fills else Section.TRADES)


def _at(tallies: dict[Any, Any], key: Any, make: type) -> Any:
    found = tallies.get(key)
    if found is None:
        found = tallies[key] = make()
    return found


def _as_book(quote: Quote) -> Book:
    """Return a quote as the snapshot of a book of one level, which it is on the wire."""
    return Book(
        exchange=quote.exchange,
        symbol=quote.symbol,
        ts_event=quote.ts_event,
        ts_recv=quote.ts_recv,
        is_snapshot=True,
        bids=() if quote.bid_price is None else ((quote.bid_price, quote.bid_size or 0),),
        asks=() if quote.ask_price is None else ((quote.ask_price, quote.ask_size or 0),),
        sequence=quote.sequence,
    )


class Summary:
    """Counts frames as they are given and says at the end what they were.

    Args:
        protocol: the exchange whose frames these are.
        recorded: what else is known of its recordings.
        facts: what REST replies recorded with them said.
    """

    def __init__(
        self, protocol: StreamProtocol, recorded: RecordedExchange, facts: RestFacts | None = None
    ) -> None:
        self._exchange = protocol.exchange
        self._recorded = recorded
        self._facts = facts or RestFacts()
        self._player = Player(protocol, self._resolve, exact=True)
        self._symbols: dict[str, SymbolTally] = {}
        self._frames = Counter[Direction]()
        self._bytes = 0
        self._connections: dict[str, None] = {}
        self._messages = Counter[str]()
        self._undecoded = 0
        self._reasons = Counter[str]()
        self._samples: list[dict[str, str]] = []
        self._ignored = Counter[str]()
        self._session = Counter[str]()
        self._breaks = 0
        self._sequences: tuple[int, int] | None = None
        self._heartbeat: int | None = None
        self._times: tuple[int, int] | None = None
        self._last_time: int | None = None
        self._time_goes_back = 0

    def _resolve(self, route: str, native: str) -> Sequence[Target]:
        market = self._recorded.market(route, native)
        return native_target(f"{native}{_MARK}{market}")

    def add(self, raw: RawFrame) -> Played:
        """Count one frame and return what was made of it."""
        self._frames[raw.direction] += 1
        self._connections[raw.connection] = None
        self._note_time(raw.ts_recv)
        if raw.direction is not Direction.IN:
            self._messages["(sent)"] += 1
            return self._player.play(raw)
        self._bytes += len(raw.frame)
        label = self._recorded.label(raw.frame) or Label("")
        if label.message:
            self._messages[label.message] += 1
        if label.sequence is not None:
            first = self._sequences[0] if self._sequences else label.sequence
            self._sequences = first, label.sequence
        played = self._player.play(raw)
        try:
            self._count(played.messages, label)
            if label.native:
                self._note_ticker(label, played.route)
        except ArithmeticError:
            played = Played(raw, played.route, (), "a number is out of all proportion")
        if reasons := played.reasons:
            self._note_undecoded(raw, reasons)
        return played

    def _note_time(self, ts_recv: int | None) -> None:
        if ts_recv is None:
            return
        first, last = self._times or (ts_recv, ts_recv)
        self._times = min(first, ts_recv), max(last, ts_recv)
        if self._last_time is not None and ts_recv < self._last_time:
            self._time_goes_back += 1
        self._last_time = ts_recv

    def _note_undecoded(self, raw: RawFrame, reasons: Sequence[str]) -> None:
        self._undecoded += 1
        for reason in reasons:
            known = reason in self._reasons or len(self._reasons) < _MOST_REASONS
            self._reasons[reason if known else _OTHER] += 1
        if len(self._samples) < MOST_SAMPLES:
            text = raw.frame[:_SAMPLE_CHARS].decode("utf-8", "backslashreplace")
            self._samples.append(
                {"reason": reasons[0], "connection": raw.connection, "frame": text}
            )

    def _count(self, messages: Iterable[Message], label: Label) -> None:
        for message in messages:
            symbol: str | None = getattr(message, "symbol", None)
            if isinstance(message, DataRecord) and symbol is not None:
                self._of(symbol).add(message, label)
            else:
                self._note_session(message)

    def _note_ticker(self, label: Label, route: str) -> None:
        """Count snapshots and deltas of a ticker, also those that change nothing we keep."""
        target = self._resolve(route, label.native)[0]
        kind = label.message.rpartition(":")[2]
        self._of(target.symbol).tickers[f"{kind}s"] += 1

    def _note_session(self, message: Message) -> None:
        match message:
            case Ignored():
                self._ignored[message.what] += 1
            case SequenceBreak():
                self._breaks += 1
            case Pong():
                if message.counter is not None:
                    self._heartbeat = message.counter
            case _:
                pass
        self._session[type(message).__name__] += 1

    def _of(self, symbol: str) -> SymbolTally:
        found = self._symbols.get(symbol)
        if found is None:
            native, _, market = symbol.partition(_MARK)
            snapshots = [
                book
                for book in self._facts.books
                if (book.native, str(book.market)) == (native, market)
            ]
            found = self._symbols[symbol] = SymbolTally(snapshots)
        return found

    def result(self, file: str) -> dict[str, Any]:
        """Return the summary of what was given so far; `file` is what it is called."""
        found: dict[str, Any] = {
            "file": file,
            "exchange": self._exchange,
            "frames": self._frames[Direction.IN],
            "frames_in": self._frames[Direction.IN],
            "frames_out": self._frames[Direction.OUT],
            "bytes_raw": self._bytes,
            "connections": list(self._connections),
            "undecoded": self._undecoded,
            "undecoded_reasons": dict(self._reasons),
            "undecoded_samples": self._samples,
            "recv_first_us": self._times[0] if self._times else None,
            "recv_last_us": self._times[1] if self._times else None,
            "recv_time_goes_back": self._time_goes_back,
            self._recorded.tally: dict(self._messages),
            "session": dict(self._session),
            "ignored": dict(self._ignored),
        }
        if self._sequences is not None:
            found |= {
                "first_sequence_num": self._sequences[0],
                "last_sequence_num": self._sequences[1],
                "sequence_breaks": self._breaks,
                "last_heartbeat_counter": self._heartbeat,
            }
        found["symbols"] = self._by_native()
        return found

    def _by_native(self) -> dict[str, Any]:
        natives = Counter(symbol.partition(_MARK)[0] for symbol in self._symbols)
        found: dict[str, Any] = {}
        for symbol, tally in self._symbols.items():
            native, _, market = symbol.partition(_MARK)
            name = native if natives[native] == 1 else f"{native}@{market}"
            contract = self._contract(Market(market), native)
            found[name] = tally.result(native, contract, self._recorded)
            if self._sequences is not None:  # the connection counts, not each book
                for book in found[name].get("books", {}).values():
                    book["continuity_breaks"] = self._breaks
        return found

    def _contract(self, market: Market, native: str) -> Contract | None:
        known = self._facts.contracts.get((market, native))
        return known or self._recorded.contract(market, native)
