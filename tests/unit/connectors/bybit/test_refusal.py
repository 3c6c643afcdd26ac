"""What a reply means when it is not an answer."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zvt_crypto.connectors.bybit.refusal import GeoRefusal, check_file, check_reply
from zvt_crypto.core.errors import (
    ArchiveAbsent,
    Banned,
    CryptoError,
    MalformedPayload,
    RateLimited,
    RequestRejected,
    ServerFault,
    UnknownSymbol,
)

NOW_MS = 1_763_769_612_345
COUNTRY_PAGE = (
    b"<!DOCTYPE HTML><HTML><HEAD><TITLE>ERROR: The request could not be satisfied</TITLE></HEAD>"
    b"<BODY>The Amazon CloudFront distribution is configured to block access from your country."
    b"</BODY></HTML>"
)


def refusal(code: int, message: str = "", **more: Any) -> bytes:
    return json.dumps({"retCode": code, "retMsg": message, "result": {}, **more}).encode()


def check(status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
    check_reply(status, headers or {}, body, now_ms=NOW_MS)


@pytest.mark.parametrize("message", ["OK", "success", "SUCCESS", "", None])
def test_only_the_code_tells_success_whatever_the_message_says(message: str | None):
    body = json.dumps({"retCode": 0, "retMsg": message, "result": {}}).encode()
    check(200, body)


def test_a_failure_with_http_200_is_a_failure():
    with pytest.raises(RequestRejected) as caught:
        check(200, refusal(10001, "params error: interval is invalid"))
    assert caught.value.exchange_code == "10001"


@pytest.mark.parametrize(
    "message",
    [
        "params error: symbol invalid",
        "Not supported symbols",
        "The requested symbol is invalid.",
        "Symbol Is Invalid",
        "Invalid symbol.",
    ],
)
def test_a_parameter_error_about_the_symbol_is_an_unknown_symbol(message: str):
    with pytest.raises(UnknownSymbol):
        check(200, refusal(10001, message))


@pytest.mark.parametrize("code", [10029, 110074, 170121])
def test_codes_of_symbols_that_are_not_live_are_unknown_symbols(code: int):
    with pytest.raises(UnknownSymbol):
        check(200, refusal(code, "whatever"))


@pytest.mark.parametrize("code", [10000, 10016, 170007, 10002])
def test_server_and_clock_faults_are_tried_again(code: int):
    with pytest.raises(ServerFault):
        check(200, refusal(code, "Server Timeout"))


def test_too_many_visits_waits_until_the_reset_time_of_the_header():
    headers = {"X-Bapi-Limit-Reset-Timestamp": str(NOW_MS + 1_500)}
    with pytest.raises(RateLimited) as caught:
        check(200, refusal(10006, "Too many visits!"), headers)
    assert caught.value.retry_after_s == pytest.approx(1.5)


@pytest.mark.parametrize("reset", ["", "soon", None])
def test_a_rate_limit_without_a_reset_header_waits_two_seconds(reset: str | None):
    headers = {} if reset is None else {"X-Bapi-Limit-Reset-Timestamp": reset}
    with pytest.raises(RateLimited) as caught:
        check(200, refusal(10006, "Too many visits!"), headers)
    assert caught.value.retry_after_s == 2.0


def test_a_reset_time_far_away_is_bounded():
    headers = {"X-Bapi-Limit-Reset-Timestamp": str(NOW_MS + 3_600_000)}
    with pytest.raises(RateLimited) as caught:
        check(200, refusal(10006), headers)
    assert caught.value.retry_after_s == 5.0


@pytest.mark.parametrize(
    ("status", "body"), [(429, b""), (200, refusal(429)), (200, refusal(10429))]
)
def test_overload_backs_off(status: int, body: bytes):
    with pytest.raises(RateLimited):
        check(status, body)


@pytest.mark.parametrize(
    "body",
    [
        b'{"retCode":10018,"retMsg":"access too frequent"}',
        b"access too frequent",
        b"<html>access too frequent</html>",
        b'{"error":"forbidden"}',
        b"",
    ],
)
def test_a_403_of_the_address_limit_bans_for_ten_minutes(body: bytes):
    with pytest.raises(Banned) as caught:
        check(403, body)
    assert caught.value.retry_after_s == 600


def test_a_403_page_that_names_the_country_is_no_ban():
    with pytest.raises(GeoRefusal):
        check(403, COUNTRY_PAGE)


def test_a_region_that_may_not_be_served_is_geo_blocked():
    with pytest.raises(GeoRefusal):
        check(200, refusal(10024, "not available to you due to regulatory restrictions"))


@pytest.mark.parametrize("body", [b"", b"<html>hello</html>", b"[]", b'{"result":{}}', b"\xff"])
def test_a_reply_that_is_no_envelope_is_malformed(body: bytes):
    with pytest.raises(MalformedPayload):
        check(200, body)


@pytest.mark.parametrize("status", [500, 502, 503])
def test_a_gateway_page_is_a_fault_of_the_server(status: int):
    with pytest.raises(ServerFault) as caught:
        check(status, b"<html>Bad Gateway</html>")
    assert caught.value.status == status


def test_a_path_that_does_not_exist_is_a_mistake_of_ours():
    with pytest.raises(RequestRejected):
        check(404, b"404 page not found")


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (404, b"Not Found", ArchiveAbsent),
        (403, b"<Error><Code>AccessDenied</Code></Error>", ArchiveAbsent),
        (403, COUNTRY_PAGE, GeoRefusal),
        (403, b"access too frequent", Banned),
        (429, b"", RateLimited),
        (503, b"", ServerFault),
        (301, b"", RequestRejected),
    ],
)
def test_a_missing_archive_is_absence_and_not_an_error(
    status: int, body: bytes, error: type[Exception]
):
    with pytest.raises(error):
        check_file(status, body, "BTCUSDT2024-01-01.csv.gz")


def test_an_archive_that_is_there_passes():
    check_file(200, b"", "BTCUSDT2024-01-01.csv.gz")


@given(st.integers(100, 599), st.binary(max_size=300))
def test_any_reply_is_an_answer_or_one_of_our_errors(status: int, body: bytes):
    for call in (lambda: check(status, body), lambda: check_file(status, body, "x")):
        try:
            call()
        except (CryptoError, GeoRefusal):
            continue
        assert status < 400
