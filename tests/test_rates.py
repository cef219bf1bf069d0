"""Rates and their intervals."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clickmw.rates import FEWEST, Rate, difference_ends, mean_ends, rate, ratio_ends


@pytest.mark.parametrize(
    ("numerator", "denominator", "low", "high"),
    [(0, 10, 0.0, 0.2775), (1, 10, 0.0179, 0.4042), (5, 10, 0.2366, 0.7634), (10, 10, 0.7225, 1.0)],
)
def test_the_interval_is_wilsons(numerator: int, denominator: int, low: float, high: float) -> None:
    found = rate(numerator, denominator)
    assert [found.low, found.high] == pytest.approx([low, high], abs=1e-4)


def test_a_share_of_nothing_is_undefined() -> None:
    assert rate(0, 0) == Rate(0, 0, None, None, None)


def test_more_clicks_than_searches_have_a_value_and_no_interval() -> None:
    assert rate(3, 2) == Rate(3, 2, 1.5, None, None)


@given(st.integers(0, 10**9), st.integers(1, 10**9))
def test_the_interval_holds_its_value_and_stays_a_share(numerator: int, more: int) -> None:
    found = rate(numerator, numerator + more)
    assert found.value is not None
    assert found.low is not None
    assert found.high is not None
    assert 0 <= found.low <= found.value <= found.high <= 1


# Newcombe's own examples, table II of his paper.
@pytest.mark.parametrize(
    ("now", "before", "low", "high"),
    [
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((10, 10), (0, 20), 0.6791, 1.0),
        ((10, 10), (0, 10), 0.6075, 1.0),
    ],
)
def test_the_interval_of_a_difference_is_newcombes(
    now: tuple[int, int], before: tuple[int, int], low: float, high: float
) -> None:
    assert difference_ends(rate(*now), rate(*before)) == pytest.approx((low, high), abs=1e-4)


def test_a_difference_to_nothing_has_no_interval() -> None:
    assert difference_ends(rate(1, 2), rate(0, 0)) is None
    assert difference_ends(rate(3, 2), rate(1, 2)) is None


shares = st.integers(1, 10**6).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(shares, shares)
def test_the_interval_of_a_difference_holds_it_and_turns_with_it(
    now: tuple[int, int], before: tuple[int, int]
) -> None:
    ends, turned = (
        difference_ends(rate(*now), rate(*before)),
        difference_ends(rate(*before), rate(*now)),
    )
    assert ends is not None
    assert turned is not None
    change = now[0] / now[1] - before[0] / before[1]
    assert ends[0] <= change + 1e-12
    assert change - 1e-12 <= ends[1]
    assert ends == pytest.approx((-turned[1], -turned[0]))


@given(st.integers(1, 10**6), st.integers(1, 10**6))
def test_the_interval_of_a_ratio_holds_it_and_turns_with_it(now: int, before: int) -> None:
    ends, turned = ratio_ends(now, before), ratio_ends(before, now)
    assert ends is not None
    assert turned is not None
    assert ends[0] <= now / before <= ends[1]
    assert ends == pytest.approx((1 / turned[1], 1 / turned[0]), rel=1e-6)


def test_a_ratio_to_nothing_has_no_interval() -> None:
    assert ratio_ends(5, 0) is None


def test_twice_as_many_of_few_may_be_chance_and_of_many_is_not() -> None:
    few, many = ratio_ends(6, 3), ratio_ends(600, 300)
    assert few is not None
    assert many is not None
    assert few[0] < 1 < few[1]
    assert many[0] > 1


# Student's t of 9 degrees is 2.262: 5 ± 2.262 · √(82.5/9) / √10 of the numbers 0.5 … 9.5.
def test_the_interval_of_a_mean_is_students() -> None:
    values = [n + 0.5 for n in range(10)]
    ends = mean_ends(10, sum(values), sum(value * value for value in values))
    assert ends == pytest.approx((5 - 2.1658, 5 + 2.1658), abs=1e-3)


def test_few_values_and_values_all_alike_have_no_interval() -> None:
    assert mean_ends(FEWEST - 1, 20, 120) is None
    assert mean_ends(50, 500, 5000) is None
