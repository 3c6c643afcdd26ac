"""What Coinbase's refusals become, in all three dialects."""

import pytest

from zvt_crypto.connectors.coinbase.refusal import check_reply
from zvt_crypto.core.errors import (
    CryptoError,
    GeoBlocked,
    MalformedPayload,
    RateLimited,
    RequestRejected,
    ServerFault,
    UnknownSymbol,
)

HTML = b"<html><body>Sorry, you have been blocked</body></html>"


def refused(status: int, body: bytes, **headers: str) -> CryptoError:
    with pytest.raises(CryptoError) as caught:
        check_reply(status, headers, body, blocked=lambda: GeoBlocked("coinbase", "host", ""))
    return caught.value


def test_a_good_reply_passes():
    check_reply(200, {}, b"{}", blocked=lambda: GeoBlocked("coinbase", "host", ""))


@pytest.mark.parametrize(
    "body",
    [
        b'{"errors":[{"id":"rate_limit_exceeded","message":"Too many requests"}]}',
        b'{"errors":[{"id":"resource_exhausted","message":"x"}]}',
        b'{"error":"RESOURCE_EXHAUSTED"}',
        b'{"code":8,"message":"x"}',
        b"",
        HTML,
    ],
)
def test_429_is_a_rate_limit_in_every_dialect_and_names_no_time(body: bytes):
    error = refused(429, body)

    assert isinstance(error, RateLimited)
    assert error.retry_after_s == 1.0


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"x-ratelimit-reset": "3"}, 3.0),
        ({"x-ratelimit-reset": "0.2"}, 1.0),
        ({"x-ratelimit-reset": "1790735849"}, 1.0),  # a moment, not a wait
        ({"x-ratelimit-reset": "soon"}, 1.0),
    ],
)
def test_a_time_that_comes_is_heeded(headers: dict[str, str], wait_s: float):
    error = refused(429, b"", **headers)

    assert isinstance(error, RateLimited)
    assert error.retry_after_s == wait_s


@pytest.mark.parametrize(
    "body",
    [
        b'{"error":"INVALID_ARGUMENT","error_details":"too many candles","message":"why"}',
        b'{"errors":[{"id":"invalid_argument","message":"why"}]}',
        b'{"code":3,"message":"why","details":[]}',
    ],
)
def test_a_wrong_parameter_is_final_in_every_dialect(body: bytes):
    error = refused(400, body)

    assert isinstance(error, RequestRejected)
    assert error.exchange_code == "INVALID_ARGUMENT"
    assert "why" in error.message


@pytest.mark.parametrize(
    "body",
    [
        b'{"error":"NOT_FOUND","message":"product"}',
        b'{"errors":[{"id":"not_found","message":"x"}]}',
        b'{"code":5,"message":"x"}',
    ],
)
def test_404_not_found_is_an_unknown_symbol(body: bytes):
    assert isinstance(refused(404, body), UnknownSymbol)


def test_404_without_a_word_is_a_wrong_path():
    assert isinstance(refused(404, HTML), RequestRejected)


@pytest.mark.parametrize("status", [500, 502, 503, 504])
@pytest.mark.parametrize("body", [b'{"error":"INTERNAL"}', HTML, b""])
def test_5xx_can_be_tried_again(status: int, body: bytes):
    assert isinstance(refused(status, body), ServerFault)


def test_unavailable_is_a_fault_whatever_the_status():
    assert isinstance(refused(400, b'{"error":"UNAVAILABLE"}'), ServerFault)


@pytest.mark.parametrize("body", [b"Unauthorized\n", b'{"error":"UNAUTHENTICATED"}'])
def test_401_is_final_in_plain_text_too(body: bytes):
    assert isinstance(refused(401, body), RequestRejected)


def test_403_is_a_permission_with_a_word_and_a_region_without():
    assert isinstance(refused(403, b'{"error":"PERMISSION_DENIED"}'), RequestRejected)
    assert isinstance(refused(403, HTML), GeoBlocked)
    assert isinstance(refused(451, b""), GeoBlocked)


def test_another_status_is_malformed():
    assert isinstance(refused(302, b""), MalformedPayload)
