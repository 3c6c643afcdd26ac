"""Precision loss, against its definition in Decimal."""

import random
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from zvt_crypto.connectors.wire import count_precision_loss, number


def by_definition(texts: list[str]) -> int:
    return sum(Decimal(repr(float(t))) != Decimal(t) for t in texts)


def count(texts: list[str]) -> int:
    return count_precision_loss(np.array([float(t) for t in texts]), texts)


def test_the_count_equals_the_definition_for_200_000_decimals() -> None:
    rng = random.Random(3)
    texts = [
        f"{rng.choice(('', '-'))}{rng.random() * 10 ** rng.randint(-8, 14):.{rng.randint(0, 14)}f}"
        for _ in range(200_000)
    ]
    lost = by_definition(texts)
    assert lost > 1_000
    assert count(texts) == lost


def test_quote_volumes_of_eight_decimals_are_lost_only_when_large() -> None:
    small = [f"{n}.12345678" for n in range(1, 60_000_000, 999_983)]
    assert count(small) == by_definition(small) == 0
    large = [f"{n}.12345678" for n in range(10**9, 10**9 + 500)]
    assert count(large) == by_definition(large) > 0


def test_decimals_finer_than_float64_knows_are_judged_too() -> None:
    texts = [f"{n}.{'0' * zeros}1" for n in (0, 7) for zeros in (10, 15, 20, 322, 323, 400)]
    assert count([*texts, "0" * 20, f"0.{'0' * 400}", f"-{'9' * 20}"]) == by_definition(texts) + 1


def test_none_and_empty_count_as_kept() -> None:
    assert count_precision_loss(np.array([np.nan, np.nan, 1.5]), [None, "", "1.5"]) == 0
    assert count_precision_loss(np.zeros(0), []) == 0


@given(
    st.lists(
        st.one_of(
            st.floats(allow_nan=False, allow_infinity=False).map(repr),
            st.from_regex(r"-?[0-9]{1,20}\.[0-9]{1,25}", fullmatch=True),
            st.from_regex(r"-?[0-9]{1,25}", fullmatch=True),
            st.from_regex(r"[0-9]\.[0-9]{1,20}e-?[0-9]{1,3}", fullmatch=True),
        ).filter(lambda t: np.isfinite(float(t))),
        max_size=20,
    )
)
@example(["1.7976931348623157e+308", "-1.7976931348623157e+308", "1" * 300])
def test_the_count_equals_the_definition(texts: list[str]) -> None:
    assert count(texts) == by_definition(texts)


@pytest.mark.parametrize("text", ["", "nan", "inf", "1_0", "0x10", "+1", " 1", "1e999", "٣", "1,5"])
def test_what_is_no_decimal_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="price"):
        number(text, "price")
