"""Rates and their intervals."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clickmw.rates import Rate, rate


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
