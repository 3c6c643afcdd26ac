"""Bybit's envelope, its errors, and the pages a content network shows instead."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from zvt_crypto.simulator.rows import Page
from zvt_crypto.simulator.venue import Refusal, Reply, Request, json_reply

MS: Final = 1_000
WRONG_PARAMETER: Final = 10_001
SERVER_ERROR: Final = 10_016
NO_SUCH_PATH: Final = 10_017
_TOO_BUSY: Final = 10_429
_COUNTRY_WORDS: Final = ("html", "geo", "country")
_BANNED: Final = (HTTPStatus.FORBIDDEN, 418)  # Bybit has no 418; its ban is a 403
_PAGE: Final = (
    '<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 4.01 Transitional//EN" '
    '"http://www.w3.org/TR/html4/loose.dtd">\n<HTML><HEAD><TITLE>ERROR: The request could not be '
    "satisfied</TITLE></HEAD><BODY>\n<H1>403 ERROR</H1>\n<H2>The request could not be satisfied."
    "</H2>\n{}\n</BODY></HTML>"
)


def ok(request: Request, result: Any) -> Reply:
    """Return a successful answer."""
    return json_reply(_envelope(request, result, 0, "OK"))


def rows(request: Request, category: str, page: Page, *, symbol: str = "") -> Reply:
    """Return a successful answer whose list is a page; candles name their symbol, too."""
    named = f'"symbol":"{symbol}",' if symbol else ""
    head = f'{{"retCode":0,"retMsg":"OK","result":{{"category":"{category}",{named}"list":['
    tail = f']}},"retExtInfo":{{}},"time":{request.server_us // MS}}}'
    return Reply(head.encode(), page, tail.encode())


def failure(request: Request, code: int, message: str, status: int = HTTPStatus.OK) -> Reply:
    """Return an error in Bybit's form: under HTTP 200, unless `status` says otherwise."""
    return json_reply(_envelope(request, {}, code, message), status)


def refuse(request: Request, message: str) -> Refusal:
    """Return the error for wrong parameters, to be raised."""
    return Refusal(failure(request, WRONG_PARAMETER, f"params error: {message}"))


def banned(request: Request) -> Reply:
    """Return the answer to an address that is over its quota."""
    text = "access too frequent"
    return failure(request, HTTPStatus.FORBIDDEN, text, HTTPStatus.FORBIDDEN)


def forbidden_page(reason: str) -> Reply:
    """Return the content network's refusal, which is not JSON."""
    return Reply(_PAGE.format(reason).encode(), status=403, content_type="text/html")


def bad_body() -> Reply:
    """Return the refusal of a GET with a body."""
    return forbidden_page("Bad request.")


def of_status(request: Request, status: int, params: Mapping[str, Any]) -> Reply | None:
    """Return Bybit's own body for a status, None where it has none.

    There is no 418 and no 451: both are 403. `body` of an `http_403` fault: `html` is the page for
    refused countries, else the answer is the quota's.
    """
    refuses_country = params.get("body") in _COUNTRY_WORDS
    if status == HTTPStatus.UNAVAILABLE_FOR_LEGAL_REASONS or (
        status == HTTPStatus.FORBIDDEN and refuses_country
    ):
        return forbidden_page(
            "The Amazon CloudFront distribution is configured to block access from your country."
        )
    if status in _BANNED:
        return banned(request)
    if params.get("body") == "html" or status in (502, 504):
        return None
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return failure(request, _TOO_BUSY, "System level frequency protection", status)
    return failure(request, SERVER_ERROR, "Server error.", status)


def _envelope(request: Request, result: Any, code: int, message: str) -> dict[str, Any]:
    return {
        "retCode": code,
        "retMsg": message,
        "result": result,
        "retExtInfo": {},
        "time": request.server_us // MS,
    }
