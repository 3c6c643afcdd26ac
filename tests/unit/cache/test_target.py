"""Addresses of Redis: read strictly, never shown with a secret."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zvt_crypto.cache.redis.target import SCHEMES, Target, parse_target
from zvt_crypto.core.errors import BadSetting

SECRET = "pa:s@s/w?rd#1"
QUOTED = "pa%3As%40s%2Fw%3Frd%231"


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("redis://h", Target("single", (("h", 6379),))),
        ("rediss://h:1/3", Target("single", (("h", 1),), is_tls=True, db=3)),
        ("redis://[::1]:7?db=2&prefix=a.b", Target("single", (("::1", 7),), db=2, prefix="a.b")),
        ("redis://h/", Target("single", (("h", 6379),))),
        (
            "redis+sentinel://a,b:2/main?db=1&sentinel_auth=yes",
            Target("sentinel", (("a", 26379), ("b", 2)), db=1, master="main", sentinel_auth=True),
        ),
        ("rediss+cluster://a:1,b", Target("cluster", (("a", 1), ("b", 6379)), is_tls=True)),
    ],
)
def test_an_address_is_read(url: str, wanted: Target) -> None:
    assert parse_target(url) == wanted


def test_user_and_password_are_read_and_shown_nowhere() -> None:
    target = parse_target(f"redis+cluster://me:{QUOTED}@a:1,b:2")

    assert (target.username, target.password) == ("me", SECRET)
    assert target.hosts == (("a", 1), ("b", 2))
    assert parse_target(f"redis://:{QUOTED}@a").username is None
    assert target.url == "redis+cluster://a:1,b:2"
    assert SECRET not in repr(target) + str(target)
    assert parse_target("rediss+sentinel://u:p@a/main?db=3").url == (
        "rediss+sentinel://a:26379/main?db=3"
    )


@pytest.mark.parametrize(
    "url",
    [
        "", "redis", "redis:/h", "http://h", "redis://", "redis://h:0", "redis://h:99999",
        "redis://h:port", "redis://a,b", "redis://h/x", "redis://h/1?db=2", "redis://h?db=x",
        "redis://h?size=3", "redis://h?db", "redis://h?db=1&db=2", "redis://h?prefix=a%20b",
        "redis+sentinel://h", "redis+sentinel://h/", "redis+sentinel://h/a/b",
        "redis+cluster://h/0", "redis+cluster://h?db=1", "redis+cluster://a,,b", "redis://[::1",
        f"redis://:{SECRET}@h", "memory:///x",
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_one_clear_line(url: str) -> None:
    with pytest.raises(BadSetting) as caught:
        parse_target(url)

    assert "\n" not in str(caught.value)
    assert "'cache'" in str(caught.value)
    assert "s/w" not in str(caught.value)


@given(st.sampled_from(sorted(SCHEMES)), st.text(max_size=60))
def test_any_text_is_read_or_refused_without_its_password(scheme: str, text: str) -> None:
    try:
        target = parse_target(f"{scheme}://u:hunter2secret@{text}")
    except BadSetting as e:
        assert "hunter2secret" not in str(e)  # noqa: PT017 - only some texts are refused
    else:
        assert "hunter2secret" not in target.url + repr(target)
        assert target.password is not None
        assert target.password.startswith("hunter2secret")
