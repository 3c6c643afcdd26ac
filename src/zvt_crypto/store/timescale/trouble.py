"""What the server's errors mean to us, and which of them a second try may mend.

Codes: https://www.postgresql.org/docs/current/errcodes-appendix.html
"""

import re
from typing import Final

from zvt_crypto.core.errors import (
    BadStore,
    CryptoError,
    DataError,
    StoreAway,
    StoreBusy,
    StoreCorrupt,
    StoreFull,
)
from zvt_crypto.store.timescale.place import Place

# Serialisation failure, deadlock: the transaction is gone, and nothing is wrong with it.
_CONTENTION: Final = frozenset({"40001", "40P01"})
# Connection exceptions, and a server that shuts down, crashed, or is not up yet.
_AWAY: Final = frozenset({"57P01", "57P02", "57P03", "57P05"})
# A lock, a statement or a transaction that took too long; no connection free.
_BUSY: Final = frozenset({"55P03", "57014", "25P03", "25P04", "53300", "53200", "53400"})
_MISSING: Final = frozenset({"42P01", "42703", "3F000", "42883", "3D000"})
_UNUSABLE: Final = frozenset({"28000", "28P01", "42501", "25006"})
_NO_DATABASE: Final = re.compile(r'FATAL: +database ".*" does not exist')
_REFUSAL: Final = re.compile(
    r'authentication failed|no pg_hba.conf entry|no password supplied|role ".*" does not exist'
)
# Not of the database's encoding, which has no U+0000; the latter of json.
_UNKEEPABLE: Final = frozenset({"22021", "22P05"})
_SHOWN_CHARACTERS: Final = 200


def is_contention(code: str | None) -> bool:
    """Return whether the same transaction may succeed at once."""
    return code in _CONTENTION


def is_away(code: str | None) -> bool:
    """Return whether the connection is lost, or was never made.

    libpq gives no code where the server did not answer.
    """
    return code is None or code in _AWAY or code.startswith("08")


def translated(  # noqa: PLR0911 - a table of cases
    place: Place, code: str | None, detail: str, waited_s: float = 0.0
) -> CryptoError:
    """Return our error for one of the server's; `detail` is its text."""
    where, first = place.shown, _first_line(detail)
    if code in ("53100", "58030") or "No space left on device" in detail:
        return StoreFull(where)
    if code in _MISSING:
        return _missing(where, code, first)
    if code in _UNUSABLE:
        return _unusable(where, code, first)
    if code in _BUSY or code in _CONTENTION:
        return StoreBusy(where, waited_s)
    if code in _UNKEEPABLE:
        return unkeepable(first)
    if code in ("XX001", "XX002"):
        return StoreCorrupt(
            f"the server says that its data is damaged: {first}",
            remedy="Restore the database from a backup, or move its data away and load again",
        )
    # While connecting libpq hands over the server's text without its code.
    if _NO_DATABASE.search(detail):
        return _missing(where, "3D000", first)
    if _REFUSAL.search(detail):
        return _unusable(where, "28P01", first)
    if is_away(code):
        return StoreAway(where, first, waited_s)
    return StoreCorrupt(
        f"the server at {where} refused a statement ({code}): {first}",
        remedy="Report this message; `zvtc status` shows server, schema and what they can do",
    )


def unkeepable(detail: str) -> DataError:
    """Return our error for a text that PostgreSQL does not take."""
    return DataError(
        f"PostgreSQL cannot keep a text with the character U+0000, or with half of one: {detail}",
        remedy="Leave out what holds it; nothing was changed",
    )


def _missing(where: str, code: str | None, detail: str) -> CryptoError:
    if code == "3D000":
        return BadStore(
            f"there is no database for the store at {where}: {detail}",
            remedy="Create it (createdb, or CREATE DATABASE), or name another in the URL",
        )
    return BadStore(
        f"the schema of the store at {where} is not ours or not of this version: {detail}",
        remedy="Run `zvtc migrate` against it, or name another schema in the URL",
    )


def _unusable(where: str, code: str | None, detail: str) -> CryptoError:
    if code == "42501":
        return BadStore(
            f"the user of the store at {where} lacks a right: {detail}",
            remedy="Grant it CREATE on the database for the first run, "
            "and all rights on the schema's tables and sequences afterwards",
        )
    if code == "25006":
        return BadStore(
            f"the server at {where} takes no writes: {detail}",
            remedy="Name the primary in the URL, or add target_session_attrs=read-write to it",
        )
    return BadStore(
        f"the server at {where} refuses the user or the password: {detail}",
        remedy="Check user and password in the URL of the store; "
        "special characters in a password are written as %XX",
    )


def _first_line(detail: str) -> str:
    lines = [line.strip() for line in detail.strip().splitlines() if line.strip()]
    text = lines[0] if lines else "no reason given"
    for line in lines:
        if "FATAL:" in line:
            text = line.partition("FATAL:")[2].strip()
            break
    return text[:_SHOWN_CHARACTERS]
