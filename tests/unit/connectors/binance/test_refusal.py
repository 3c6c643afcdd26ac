"""What is no answer, and what to do about it."""

from typing import Any

import pytest
from binance_world import NOW_US, as_bytes
from hypothesis import given
from hypothesis import strategies as st

from zvt_crypto.connectors.binance.refusal import Refused, refusal
from zvt_crypto.core.errors import (
    Banned,
    CryptoError,
    GeoBlocked,
    MalformedPayload,
    RateLimited,
    RequestRejected,
    ServerFault,
    UnknownSymbol,
)


def judge(status: int, body: Any = b"", **headers: str) -> CryptoError | None:
    raw = body if isinstance(body, bytes) else as_bytes(body)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return refusal(Refused(status, named, raw, "api.binance.com", NOW_US))


def test_451_is_a_refused_region_although_its_code_is_0() -> None:
    body = {"code": 0, "msg": "Service unavailable from a restricted location"}
    error = judge(451, body)
    assert isinstance(error, GeoBlocked)
    assert "mirror" in error.remedy


def test_403_is_the_firewall_and_names_another_remedy() -> None:
    error = judge(403, b"<html>Forbidden</html>")
    assert isinstance(error, GeoBlocked)
    assert "slow down" in error.remedy


@pytest.mark.parametrize("name", ["Retry_After", "retry_after", "RETRY_AFTER"])
def test_429_waits_as_long_as_retry_after_says_in_any_case(name: str) -> None:
    error = judge(429, {"code": -1003, "msg": "Too many requests"}, **{name: "17"})
    assert isinstance(error, RateLimited)
    assert error.retry_after_s == 17


@pytest.mark.parametrize("text", ["", "soon", "-5", "nan", "1e9", "Wed, 21 Oct 2026 07:28:00 GMT"])
def test_429_with_an_unreadable_retry_after_names_no_time(text: str) -> None:
    error = judge(429, b"", Retry_After=text)
    assert isinstance(error, RateLimited)
    assert error.retry_after_s is None


def test_418_is_a_ban_for_retry_after_or_until_the_moment_in_the_message() -> None:
    error = judge(418, b"", Retry_After="300")
    assert isinstance(error, Banned)
    assert error.retry_after_s == 300
    until = NOW_US // 1000 + 90_000
    body = {"code": -1003, "msg": f"Way too many requests; IP banned until {until}. Please use..."}
    error = judge(418, body)
    assert isinstance(error, Banned)
    assert error.retry_after_s == pytest.approx(90)
    error = judge(418)
    assert isinstance(error, Banned)
    assert error.retry_after_s == 120


def test_1003_is_a_limit_or_a_ban_whatever_the_status() -> None:
    assert isinstance(judge(400, {"code": -1003, "msg": "Too much request weight"}), RateLimited)
    until = NOW_US // 1000 + 5_000
    body = {"code": -1003, "msg": f"IP banned until {until}"}
    for status in (400, 429, 200):
        error = judge(status, body)
        assert isinstance(error, Banned)
        assert error.retry_after_s == pytest.approx(5)


def test_a_ban_that_is_over_or_absurd_stays_within_bounds() -> None:
    for until, left in ((1_000_000_000_000, 1), (9_999_999_999_999, 3 * 86_400)):
        error = judge(418, {"code": -1003, "msg": f"IP banned until {until}"})
        assert isinstance(error, Banned)
        assert error.retry_after_s == left


@pytest.mark.parametrize("code", [-1000, -1001, -1006, -1007, -1008, -1016])
def test_faults_of_the_exchange_may_pass(code: int) -> None:
    assert isinstance(judge(400, {"code": code, "msg": "..."}), ServerFault)


@pytest.mark.parametrize("status", [500, 502, 503, 504, 408])
@pytest.mark.parametrize("body", [b"", b"<html>", b'{"code":-1121,"msg":"Invalid symbol."}'])
def test_5xx_may_pass_whatever_the_body(status: int, body: bytes) -> None:
    assert isinstance(judge(status, body), ServerFault)


@pytest.mark.parametrize("code", [-1121, -1122])
def test_a_bad_symbol_is_unknown(code: int) -> None:
    assert isinstance(judge(400, {"code": code, "msg": "Invalid symbol."}), UnknownSymbol)


@pytest.mark.parametrize("code", [-1100, -1120, -1127, -1130, -4088, -1220, -99999])
def test_other_codes_are_requests_refused_for_good(code: int) -> None:
    error = judge(400, {"code": code, "msg": "More than 24 hours between startTime and endTime."})
    assert isinstance(error, RequestRejected)
    assert error.exchange_code == str(code)


def test_an_error_with_status_200_is_an_error() -> None:
    body = {"code": -4088, "msg": "Maximum time interval is 200 days."}
    assert isinstance(judge(200, body), RequestRejected)


@pytest.mark.parametrize("body", [b"", b"<html><h1>Maintenance</h1>", b"ok", b"12", b"null"])
def test_200_without_json_is_malformed(body: bytes) -> None:
    assert isinstance(judge(200, body), MalformedPayload)


@pytest.mark.parametrize("body", [b"[]", b"{}", b' [[1,"2"]]', b'{"serverTime":1}'])
def test_200_with_json_is_an_answer(body: bytes) -> None:
    assert judge(200, body) is None


def test_a_redirect_is_no_answer() -> None:
    assert isinstance(judge(302, b"<html>"), MalformedPayload)


@given(st.integers(100, 599), st.binary(max_size=40), st.text(max_size=20))
def test_any_reply_is_an_answer_or_one_of_our_errors(status: int, body: bytes, wait: str) -> None:
    error = refusal(Refused(status, {"Retry-After": wait}, body, "host", NOW_US))
    assert error is None or isinstance(error, CryptoError)
    assert error is not None or status == 200
