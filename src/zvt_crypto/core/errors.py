"""Every error the platform raises, named after the recovery.

CryptoError
├── RetryableError      the same call may succeed later
│   ├── RateLimited         a quota is used up
│   ├── Banned              the address is locked out for a while
│   ├── ServerFault         the exchange failed or is in maintenance
│   ├── NetworkFault        no answer: refused, reset, timed out
│   ├── StoreBusy           another writer holds the store
│   └── StoreAway           the server of the store does not answer
├── FatalError          a human changes something
│   ├── UsageError          bad input; the command line exits with 2
│   │   ├── UnknownExchange     the name is none of ours
│   │   ├── UnknownSymbol       the exchange lists no such instrument
│   │   ├── UnknownInterval     none of the nine
│   │   ├── UnknownSetting      a setting that does not exist
│   │   ├── BadSetting          a setting with a value it cannot take
│   │   ├── BadRange            dates reversed, unreadable or in the future
│   │   ├── BadStore            not a store, unwritable, or from a newer version
│   │   └── MissingExtra        an optional dependency is not installed
│   ├── NotSupported        the exchange does not offer it, with the reason
│   ├── GeoBlocked          the exchange refuses this region
│   ├── RequestRejected     the exchange calls the request wrong
│   ├── BookUnknown         the store does not prove how a book stood
│   ├── CopyRefused         the target of a copy holds other data
│   ├── StoreFull           no space left
│   └── StoreCorrupt        data and ledger disagree
└── DataError           skip this record, count it
    ├── MalformedPayload    a reply is not what the exchange documents
    ├── BodyTooLarge        a reply exceeds the bound
    ├── ChecksumMismatch    an archive is not what its checksum says
    └── ArchiveAbsent       an archive is not published (yet)
"""

from collections.abc import Sequence
from typing import ClassVar


class CryptoError(Exception):
    """Base of all: says what happened, and in `remedy` what to do now."""

    code: ClassVar[str] = "error"
    usual_remedy: ClassVar[str] = "Report this message, with the command that led to it"
    """What to do where the one who raises it knows nothing better."""

    def __init__(self, message: str, *, remedy: str = "") -> None:
        self.message = message
        self.remedy = remedy or self.usual_remedy
        super().__init__(message)

    def __str__(self) -> str:
        return f"{self.message}. {self.remedy}"


class RetryableError(CryptoError):
    """The same call may succeed later; `retry_after_s` is the server's own wish, if any."""

    code = "retryable"
    usual_remedy = "Run the same command again later: it resumes"

    def __init__(
        self, message: str, *, remedy: str = "", retry_after_s: float | None = None
    ) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message, remedy=remedy)


class RateLimited(RetryableError):
    """The exchange refused a request because a quota is used up."""

    code = "rate_limited"

    def __init__(self, exchange: str, quota: str, retry_after_s: float | None = None) -> None:
        self.exchange = exchange
        self.quota = quota
        wait = f"{retry_after_s:g} s" if retry_after_s is not None else "a while"
        super().__init__(
            f"{exchange} refused the request: quota {quota!r} is used up",
            remedy=f"Wait {wait}. If it recurs, lower exchanges.{exchange}.budget, or look for "
            "another program sharing this IP address",
            retry_after_s=retry_after_s,
        )


class Banned(RetryableError):
    """The exchange locked this address out for a while (HTTP 418, or 403 on Bybit)."""

    code = "banned"

    def __init__(self, exchange: str, retry_after_s: float) -> None:
        self.exchange = exchange
        super().__init__(
            f"{exchange} has banned this IP address for {retry_after_s:g} s",
            remedy="Stop every program that calls it from this address and wait",
            retry_after_s=retry_after_s,
        )


class ServerFault(RetryableError):
    """The exchange answered with a failure of its own."""

    code = "server_fault"

    def __init__(
        self, exchange: str, status: int, detail: str, *, retry_after_s: float | None = None
    ) -> None:
        self.exchange = exchange
        self.status = status
        super().__init__(
            f"{exchange} failed with status {status}: {_short(detail)}",
            remedy=f"Run the same command later; `zvtc status {exchange}` shows maintenance",
            retry_after_s=retry_after_s,
        )


class NetworkFault(RetryableError):
    """No answer came: refused, reset, timed out, or the name did not resolve."""

    code = "network_fault"

    def __init__(self, exchange: str, detail: str) -> None:
        self.exchange = exchange
        super().__init__(
            f"no answer from {exchange}: {_short(detail)}",
            remedy="Check the network or proxy, then run the same command again: it resumes",
        )


class StoreBusy(RetryableError):
    """Another process kept the store locked for longer than we wait."""

    code = "store_busy"

    def __init__(self, where: str, waited_s: float) -> None:
        super().__init__(
            f"the store at {where} was locked by another process for {waited_s:g} s",
            remedy="Run the command again; if it recurs, look for a process that hangs",
        )


class StoreAway(RetryableError):
    """The server of the store does not answer, or broke off."""

    code = "store_away"

    def __init__(self, where: str, detail: str, waited_s: float = 0.0) -> None:
        self.detail = detail
        waited = f" for {waited_s:.0f} s" if waited_s >= 1 else ""
        super().__init__(
            f"the store at {where} does not answer{waited}: {_short(detail)}",
            remedy="Check that the server runs and can be reached, then run the command again: "
            "what was committed is kept",
        )


class FatalError(CryptoError):
    """A human has to change something first."""

    code = "fatal"
    usual_remedy = "Change what the message names, then run the command again"


class UsageError(FatalError):
    """Bad input: nothing was done."""

    code = "usage"
    usual_remedy = "`zvtc --help` shows what is accepted"


class UnknownExchange(UsageError):
    """The name is none of the exchanges we speak to."""

    code = "unknown_exchange"

    def __init__(self, name: str, known: Sequence[str], nearest: Sequence[str] = ()) -> None:
        hint = f"Did you mean {nearest[0]}? " if nearest else ""
        super().__init__(f"unknown exchange {name!r}", remedy=f"{hint}Known: {', '.join(known)}")


class UnknownSymbol(UsageError):
    """The exchange lists no such instrument."""

    code = "unknown_symbol"

    def __init__(self, exchange: str, symbol: str, nearest: Sequence[str] = ()) -> None:
        self.exchange = exchange
        self.symbol = symbol
        self.nearest = tuple(nearest)
        near = f"Nearest: {', '.join(nearest)}. " if nearest else ""
        super().__init__(
            f"{exchange} has no instrument {symbol!r}",
            remedy=f"{near}`zvtc instruments {exchange}` lists all",
        )


class UnknownInterval(UsageError):
    """The interval is none of the nine."""

    code = "unknown_interval"

    def __init__(self, text: str, known: Sequence[str]) -> None:
        super().__init__(f"unknown interval {text!r}", remedy=f"Known: {' '.join(known)}")


class UnknownSetting(UsageError):
    """A settings file or variable names something that does not exist."""

    code = "unknown_setting"

    def __init__(self, name: str, where: str, nearest: Sequence[str] = ()) -> None:
        near = f"Did you mean {nearest[0]}? " if nearest else ""
        super().__init__(
            f"unknown setting {name!r} in {where}",
            remedy=f"{near}`zvtc config show` lists every setting",
        )


class BadSetting(UsageError):
    """A setting has a value it cannot take."""

    code = "bad_setting"

    def __init__(self, name: str, where: str, detail: str) -> None:
        super().__init__(
            f"setting {name!r} from {where} is wrong: {detail}",
            remedy="`zvtc config show` prints every value and where it came from",
        )


class BadRange(UsageError):
    """A time range is reversed, unreadable or in the future."""

    code = "bad_range"
    usual_remedy = "Give a start before the end, as 2024-01-31 or 2024-01-31T12:00:00Z, in UTC"


class BadStore(UsageError):
    """The place is not a store we can use."""

    code = "bad_store"
    usual_remedy = "Name a folder that is new, empty or a store, and that this user may write"


class MissingExtra(UsageError):
    """An optional dependency is not installed."""

    code = "missing_extra"

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(
            f"{feature} needs the extra {extra!r}",
            remedy=f"Install it with: pip install 'zvt-crypto[{extra}]'",
        )


class NotSupported(FatalError):
    """The exchange does not offer this; the reason says why."""

    code = "not_supported"
    usual_remedy = "Ask another exchange, or for another kind of data"

    def __init__(self, exchange: str, what: str, reason: str, *, remedy: str = "") -> None:
        self.exchange = exchange
        super().__init__(f"{exchange} offers no {what}: {reason}", remedy=remedy)


class GeoBlocked(FatalError):
    """The exchange refuses requests from this region (HTTP 451 or 403)."""

    code = "geo_blocked"
    usual_remedy = "Run it from a region the exchange serves"

    def __init__(self, exchange: str, host: str, alternatives: str) -> None:
        self.exchange = exchange
        super().__init__(f"{exchange} ({host}) refuses this region", remedy=alternatives)


class RequestRejected(FatalError):
    """The exchange calls the request wrong; the same request will fail again."""

    code = "request_rejected"

    def __init__(self, exchange: str, detail: str, exchange_code: str = "") -> None:
        self.exchange = exchange
        self.exchange_code = exchange_code
        shown = f" (code {exchange_code})" if exchange_code else ""
        super().__init__(
            f"{exchange} rejected the request{shown}: {_short(detail)}",
            remedy="Check symbol, interval and range; if they are right, report this message",
        )


class BookUnknown(FatalError):
    """How a book stood at a moment cannot be told from the store: something of it is lacking."""

    code = "book_unknown"
    usual_remedy = (
        "Ask for another moment: `zvtc gaps` shows the holes in book_deltas. "
        "Books are stored by `zvtc stream --keep-books` only"
    )

    def __init__(self, exchange: str, symbol: str, moment: str, detail: str) -> None:
        self.exchange = exchange
        self.symbol = symbol
        super().__init__(f"the book of {exchange} {symbol} at {moment} is unknown: {detail}")


class CopyRefused(FatalError):
    """The target of a copy holds other data of the same stretch; nothing of it was changed."""

    code = "copy_refused"

    def __init__(self, series: str, where: str, found: str) -> None:
        super().__init__(
            f"the target holds other data of {series} {where}: {found}; it was left as it is",
            remedy="Copy into another store, or let the source win with --replace",
        )


class StoreFull(FatalError):
    """The disk or bucket takes no more."""

    code = "store_full"

    def __init__(self, where: str) -> None:
        super().__init__(
            f"no space left at {where}; everything committed before is kept",
            remedy="Free some space, then run the same command again: it resumes",
        )


class StoreCorrupt(FatalError):
    """Data and ledger disagree."""

    code = "store_corrupt"
    usual_remedy = "`zvtc verify` names the ranges that disagree, `zvtc repair` fetches them again"


class DataError(CryptoError):
    """A payload or record is unusable: skip it and count it."""

    code = "data"
    usual_remedy = "The record was skipped and counted; nothing else is affected"


class MalformedPayload(DataError):
    """A reply is not of the documented shape."""

    code = "malformed_payload"

    def __init__(self, exchange: str, what: str, detail: str) -> None:
        self.exchange = exchange
        super().__init__(
            f"{exchange} sent {what} of an unknown shape: {_short(detail)}",
            remedy="It is asked again; if it recurs, the exchange changed its format",
        )


class BodyTooLarge(DataError):
    """A reply exceeds the bound we set for it."""

    code = "body_too_large"

    def __init__(self, exchange: str, limit_bytes: int) -> None:
        self.exchange = exchange
        super().__init__(
            f"{exchange} sent a body over {limit_bytes:,} bytes",
            remedy="It was refused; if it recurs, raise net.max_body_bytes",
        )


class ChecksumMismatch(DataError):
    """An archive is not what its checksum says."""

    code = "checksum_mismatch"

    def __init__(self, exchange: str, file: str) -> None:
        self.exchange = exchange
        super().__init__(
            f"{exchange} archive {file} does not match its checksum",
            remedy="The range is fetched over REST instead",
        )


class ArchiveAbsent(DataError):
    """An archive is not published, now or ever."""

    code = "archive_absent"

    def __init__(self, exchange: str, file: str) -> None:
        self.exchange = exchange
        super().__init__(
            f"{exchange} has not published {file}",
            remedy="The range is fetched over REST instead",
        )


def _short(text: str, limit: int = 200) -> str:
    """Return `text` on one line and cut, so no payload floods a log."""
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[:limit]}..."
