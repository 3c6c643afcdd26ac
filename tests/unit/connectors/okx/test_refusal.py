"""What OKX's refusals become: by code first, by status where there is none."""

import pytest
from bybit_world import FakeGovernor
from exchange_world import ScriptedHttp, as_bytes
from okx_world import SPOT, T0_MS, wrap

from zvt_crypto.connectors.okx.refusal import check_reply
from zvt_crypto.connectors.okx.rest import OkxConnector
from zvt_crypto.core.errors import (
    CryptoError,
    GeoBlocked,
    MalformedPayload,
    RateLimited,
    RequestRejected,
    ServerFault,
    UnknownSymbol,
)
from zvt_crypto.core.interval import Interval
from zvt_crypto.core.ranges import Range
from zvt_crypto.net.http import HttpReply

HTML = b"<!DOCTYPE html><html><body>Access denied</body></html>"


def refused(status: int, body: bytes, **headers: str) -> CryptoError:
    with pytest.raises(CryptoError) as caught:
        check_reply(
            status, headers, body, quota="candles", blocked=lambda: GeoBlocked("okx", "host", "")
        )
    return caught.value


def coded(code: str, message: str = "why", status: int = 200) -> CryptoError:
    return refused(status, as_bytes(wrap([], code, message)))


def test_a_good_reply_passes():
    check_reply(
        200, {}, as_bytes(wrap([])), quota="candles", blocked=lambda: GeoBlocked("okx", "host", "")
    )


@pytest.mark.parametrize("status", [200, 400, 429])
@pytest.mark.parametrize("code", ["50011", "50040", "50061"])
def test_rate_limits_come_with_any_status_and_wait_two_seconds_at_least(code: str, status: int):
    error = coded(code, status=status)

    assert isinstance(error, RateLimited)
    assert error.retry_after_s == 2.0
    assert error.quota == "candles"


def test_429_without_a_body_is_a_rate_limit_and_a_header_is_heeded():
    assert isinstance(refused(429, b""), RateLimited)
    slow = refused(429, HTML, **{"Retry-After": "30"})
    assert isinstance(slow, RateLimited)
    assert slow.retry_after_s == 30.0


@pytest.mark.parametrize("code", ["50001", "50004", "50013", "50026", "51054", "51149"])
def test_faults_of_the_server_can_be_tried_again(code: str):
    assert isinstance(coded(code), ServerFault)


@pytest.mark.parametrize("code", ["51000", "50014", "50002", "50039", "1", "99999"])
def test_a_wrong_parameter_and_any_other_code_is_final(code: str):
    error = coded(code, "Parameter bar error")

    assert isinstance(error, RequestRejected)
    assert error.exchange_code == code


def test_an_unknown_instrument_is_told():
    assert isinstance(coded("51001"), UnknownSymbol)


@pytest.mark.parametrize("status", [403, 451])
def test_a_page_instead_of_json_with_403_refuses_the_region(status: int):
    assert isinstance(refused(status, HTML), GeoBlocked)


def test_a_code_decides_before_the_status():
    assert isinstance(coded("50011", status=403), RateLimited)


@pytest.mark.parametrize("status", [500, 502, 503, 520])
def test_pages_of_the_delivery_network_with_5xx_are_faults(status: int):
    error = refused(status, HTML)

    assert isinstance(error, ServerFault)
    assert error.status == status


@pytest.mark.parametrize("body", [b"", HTML, b'{"code":0}', b"[]", b'{"data":[]}', b"\xff\xfe"])
def test_what_is_not_okx_at_all_is_malformed(body: bytes):
    assert isinstance(refused(200, body), MalformedPayload)


def test_a_path_that_does_not_exist_is_final():
    assert isinstance(refused(404, HTML), RequestRejected)


async def test_a_rate_limit_stops_the_host_and_the_question_is_asked_again(
    connector: OkxConnector, http: ScriptedHttp, governor: FakeGovernor
):
    answers = [wrap([], "50011", "Too Many Requests"), wrap([])]
    http.answer = lambda _path, _query: answers.pop(0)
    asked = Range(T0_MS * 1_000 - 10**13, T0_MS * 1_000 - 10**13 + 60_000_000)

    await connector.fetch_candles(SPOT, Interval.M1, asked)

    assert governor.freezes == [(2.0, "rate_limited")]
    assert (connector.stats.rate_limited, connector.stats.retries) == (1, 1)
    assert governor.booked[-1] == {"candles": 1.0}


async def test_a_refused_region_names_the_host_and_what_else_there_is(
    connector: OkxConnector, http: ScriptedHttp
):
    http.answer = lambda _path, _query: HttpReply(403, {}, HTML, 0.0)

    with pytest.raises(GeoBlocked, match=r"www\.okx\.com.*openapi"):
        await connector.server_time()
