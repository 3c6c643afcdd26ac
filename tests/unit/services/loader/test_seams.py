"""Answers in any order: every jump of ids between them is found, once."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from zvt_crypto.core.ranges import Range
from zvt_crypto.services.loader.seams import Seam, Seams

WINDOW_US = 10


@given(st.data())
def test_every_jump_between_neighbours_is_found_once(data: st.DataObject) -> None:
    # given a trade in each moment, answers of some windows cut short at their ends, others empty
    count = data.draw(st.integers(2, 12))
    held = [
        data.draw(st.sampled_from([(0, 10), (0, 10), (2, 10), (0, 7), (4, 6), (5, 5)]))
        for _ in range(count)
    ]
    order = data.draw(st.permutations(range(count)))
    seams = Seams()

    # when they come in any order
    found: list[Range] = []
    for n in order:
        first, stop = (n * WINDOW_US + end for end in held[n])
        ends = [Seam(first, first, stop - 1, stop - 1)] if first < stop else []
        found += seams.add(ends, [Range(n * WINDOW_US, (n + 1) * WINDOW_US)])

    # then each run of absent trades between two held ones lies in exactly one gap
    moments = [n * WINDOW_US + at for n in range(count) for at in range(*held[n])]
    jumps = [Range(left, right + 1) for left, right in pairwise(moments) if right > left + 1]
    assert sorted(found) == jumps


def test_answers_apart_are_not_compared_until_all_between_is_settled() -> None:
    seams = Seams()

    assert seams.add([Seam(0, 100, 9, 109)], [Range(0, 10)]) == []
    assert seams.add([Seam(20, 120, 29, 129)], [Range(20, 30)]) == []
    # then an answer without a trade between them shows the loss
    assert seams.add([], [Range(10, 20)]) == [Range(9, 21)]
    assert seams.add([Seam(30, 130, 39, 139)], [Range(30, 40)]) == []
