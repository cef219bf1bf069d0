"""Rank CTR and what is clicked more or less than its place: worked examples, laws, known worlds."""

from __future__ import annotations

import re
from itertools import pairwise
from math import fsum
from pathlib import Path
from random import Random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from clickmw.expectation import FLOOR, Curves, Ratio, over_before, over_expected
from clickmw.stores.base import POSITION_BUCKETS, PositionRow
from clickmw.tables import is_measure


def row(position: int, impressions: int, clicks: int, module: str = "BWEB") -> PositionRow:
    return PositionRow(module, position, position, impressions, clicks)


@st.composite
def ladders(draw: st.DrawFn, most: int = 10**6) -> list[PositionRow]:
    """Draw the positions of one module, with at most as many clicks as impressions."""
    rows = []
    for first, last in draw(st.sets(st.sampled_from(POSITION_BUCKETS), min_size=1)):
        impressions = draw(st.integers(1, most))
        clicks = draw(st.integers(0, impressions))
        rows.append(PositionRow("BWEB", first, last, impressions, clicks))
    return rows


# Rank CTR


def test_each_impression_is_expected_to_earn_what_its_rank_earns() -> None:
    # The same result 100 times at rank 1 and 900 times at rank 10, clicked 58 times.
    curves = Curves.of([row(1, 10_000, 4_000), row(10, 10_000, 200)])
    expected = fsum(curves.expected("BWEB", at, n) or 0 for at, n in ((1, 100), (10, 900)))
    assert over_expected(58, expected).value == pytest.approx(1.0)


@given(ladders())
def test_all_impressions_of_a_module_are_expected_to_earn_its_clicks(
    rows: list[PositionRow],
) -> None:
    curves = Curves.of(rows)
    expected = fsum(curves.expected("BWEB", r.first, r.impressions) or 0 for r in rows)
    assert expected == pytest.approx(sum(r.clicks for r in rows))


@given(ladders(most=FLOOR // len(POSITION_BUCKETS)))
def test_a_curve_of_few_impressions_never_rises(rows: list[PositionRow]) -> None:
    curves = Curves.of(rows)
    rates = [curves.expected("BWEB", first, 1) for first in sorted(r.first for r in rows)]
    assert all((below or 0) <= (above or 0) + 1e-12 for above, below in pairwise(rates))


@given(ladders())
def test_a_curve_rises_only_between_two_positions_that_stand_on_enough(
    rows: list[PositionRow],
) -> None:
    curves = Curves.of(rows)
    steps = [curves.step("BWEB", first) for first in sorted(r.first for r in rows)]
    for above, below in pairwise(steps):
        assert above is not None
        assert below is not None
        thin = min(above.impressions, below.impressions) < FLOOR
        assert not (thin and below.rate > above.rate)


@given(ladders())
def test_a_curve_does_not_depend_on_the_order_of_its_rows(rows: list[PositionRow]) -> None:
    places = [row.first for row in rows]
    one, other = Curves.of(rows), Curves.of(rows[::-1])
    assert [one.step("BWEB", p) for p in places] == [other.step("BWEB", p) for p in places]


def test_a_lucky_click_far_down_does_not_make_a_top_rank() -> None:
    curves = Curves.of([row(1, 5_000, 2_000), row(2, 5_000, 500), row(3, 1, 1)])
    assert curves.expected("BWEB", 3, 100) == pytest.approx(100 * 501 / 5_001)


def test_a_position_that_is_shown_often_may_be_clicked_more_than_the_one_above() -> None:
    curves = Curves.of([row(1, FLOOR, 10), row(2, FLOOR, 20)])
    assert [curves.expected("BWEB", at, FLOOR) for at in (1, 2)] == [10, 20]


@pytest.mark.parametrize(
    ("module", "position"),
    [("BWEB", 0), ("BWEB", 3), ("BOOS", 1), ("BWEB", 500)],
    ids=["unknown position", "never shown there", "another module", "beyond the list"],
)
def test_what_nobody_was_shown_is_expected_to_earn_an_unknown_number(
    module: str, position: int
) -> None:
    curves = Curves.of([row(1, 100, 40), row(2, 100, 10), row(3, 0, 5)])
    assert curves.expected(module, position, 10) is None


def test_modules_never_mix() -> None:
    curves = Curves.of([row(1, 100, 40), row(1, 100, 2, "BOOS")])
    assert [curves.expected(m, 1, 100) for m in ("BWEB", "BOOS")] == [40, 2]


def test_a_position_beyond_twenty_is_expected_to_earn_what_its_bucket_earns() -> None:
    curves = Curves.of(
        [PositionRow("BWEB", 21, 30, 100, 5), PositionRow("BWEB", 101, None, 100, 1)]
    )
    assert [curves.expected("BWEB", at, 100) for at in (21, 30, 101, 5_000)] == [5, 5, 1, 1]


# Intervals


@pytest.mark.parametrize(
    ("count", "low", "high"),
    # The exact limits of a Poisson count, which Byar's come close to.
    [(0, 0.0, 3.69), (1, 0.025, 5.57), (10, 4.80, 18.39), (100, 81.36, 121.63)],
)
def test_the_interval_of_a_count_is_near_the_exact_one(count: int, low: float, high: float) -> None:
    found = over_expected(count, 1.0)
    assert [found.low, found.high] == pytest.approx([low, high], rel=0.01, abs=0.03)


@given(st.integers(0, 10**7), st.floats(0.001, 10**7))
def test_the_interval_holds_the_value(clicks: int, expected: float) -> None:
    found = over_expected(clicks, expected)
    assert found.low is not None
    assert found.value is not None
    assert found.high is not None
    assert 0 <= found.low <= found.value <= found.high


@given(st.integers(0, 10**7), st.integers(1, 10**7), st.floats(0.01, 100))
def test_the_interval_of_a_growth_holds_its_value(now: int, before: int, times: float) -> None:
    found = over_before(now, before, times)
    assert found.low is not None
    assert found.value is not None
    assert found.high is not None
    assert 0 <= found.low <= found.value * (1 + 1e-12)
    assert found.value <= found.high * (1 + 1e-12)


def test_nothing_expected_has_no_ratio() -> None:
    assert over_expected(3, 0.0) == Ratio(3, 0.0, None, None, None)
    assert over_before(0, 0) == Ratio(0, 0, None, None, None)


def test_a_growth_out_of_nothing_has_a_lower_bound_alone() -> None:
    found = over_before(20, 0)
    assert (found.value, found.high) == (None, None)
    assert found.low == pytest.approx(5.2, abs=0.1)


@given(st.integers(0, 10**4), st.integers(1, 10**4))
def test_a_growth_is_beyond_chance_when_it_is_far_from_it(now: int, before: int) -> None:
    # The order of trends, and the border of their list, are one measure.
    distance = (now - before) / (now + before) ** 0.5
    assume(abs(distance - 1.959964) > 1e-6)
    assert ((over_before(now, before).low or 0) > 1) is (distance > 1.959964)


def test_a_ratio_is_a_measure() -> None:
    assert is_measure(over_expected(3, 2.0))


# Known worlds: visitors look at a place with a probability that is its own, and click a result that
# they look at with one that is the result's own (the position-based model).

LOOKED_AT = {n: 0.9 * n**-0.8 for n in range(1, 11)}
LIKED = 0.3  # by the average result


def clicks_of(draw: Random, impressions: dict[int, int], liked: float) -> dict[int, int]:
    return {
        at: sum(draw.random() < LOOKED_AT[at] * liked for _ in range(count))
        for at, count in impressions.items()
    }


def world(seed: int, liked: float) -> Ratio:
    """Return COEC of one result that moves among the ranks of a busy module."""
    draw = Random(seed)
    others = dict.fromkeys(LOOKED_AT, 1_500)
    shown = {at: draw.randint(0, 40) for at in LOOKED_AT}
    curves = Curves.of([row(at, others[at], n) for at, n in clicks_of(draw, others, LIKED).items()])
    expected = fsum(curves.expected("BWEB", at, n) or 0 for at, n in shown.items())
    return over_expected(sum(clicks_of(draw, shown, liked).values()), expected)


@pytest.mark.parametrize("times", [0.5, 1.0, 2.5], ids=["disliked", "average", "liked"])
def test_the_interval_covers_how_much_a_result_is_liked(times: float) -> None:
    found = [world(seed, LIKED * times) for seed in range(200)]
    covering = sum((each.low or 0) <= times <= (each.high or 0) for each in found)
    assert covering >= 0.93 * len(found)


def test_a_result_that_moves_is_not_taken_for_a_better_or_worse_one() -> None:
    draw = Random(7)
    others = dict.fromkeys(LOOKED_AT, 20_000)
    curves = Curves.of([row(at, others[at], n) for at, n in clicks_of(draw, others, LIKED).items()])
    for shown in ({1: 9_000, 10: 1_000}, {1: 1_000, 10: 9_000}):
        expected = fsum(curves.expected("BWEB", at, n) or 0 for at, n in shown.items())
        clicks = sum(clicks_of(draw, shown, LIKED).values())
        assert over_expected(clicks, expected).value == pytest.approx(1.0, abs=0.08)


def test_the_example_of_the_documentation_adds_up() -> None:
    page = Path(__file__).resolve().parent.parent / "docs" / "explanation" / "positions.md"
    found = re.findall(r"^\| (\d+) \| (\d+) \| (\d+) % \| (\d+) \|$", page.read_text(), re.M)
    table = [[int(cell) for cell in line] for line in found]
    curves = Curves.of([row(at, 10_000, 100 * percent) for at, _, percent, _ in table])
    assert [curves.expected("BWEB", at, shown) for at, shown, _, _ in table] == [
        told for *_, told in table
    ]
    assert sum(told for *_, told in table) == 58
    assert f"fewer than {FLOOR:,} impressions" in page.read_text()
