"""The geometry of the charts, as laws."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clickmw.charts import Point, draw_columns, fraction_of_largest

counts = st.lists(st.integers(0, 10**9), max_size=60)
shares = st.lists(st.floats(0, 1), max_size=30)


def points(values: list[int] | list[float]) -> list[Point]:
    return [Point(str(n), str(n), value, line=value) for n, value in enumerate(values)]


@given(counts)
def test_every_column_lies_inside_the_chart(values: list[int]) -> None:
    chart = draw_columns(points(values), height=100)
    for column in chart.columns:
        assert 0 <= column.whole.x <= column.whole.x + column.whole.width <= 100.1
        assert -0.01 <= column.whole.y <= 100


@given(counts)
def test_the_grid_of_counts_has_whole_numbers_up_to_the_largest(values: list[int]) -> None:
    ticks = [tick.value for tick in draw_columns(points(values)).ticks]
    assert all(float(tick).is_integer() for tick in ticks)
    assert ticks[0] == 0
    assert ticks[-1] >= max(values, default=0)


@given(shares)
def test_the_grid_of_shares_reaches_the_largest(values: list[float]) -> None:
    ticks = [tick.value for tick in draw_columns(points(values), whole=False).ticks]
    assert ticks[-1] >= max(values, default=0) * 0.99999


@given(st.integers(1, 800))
def test_there_are_few_labels(count: int) -> None:
    assert 1 <= len(draw_columns(points([1] * count)).labels) <= 6


@pytest.mark.parametrize(
    ("values", "widths"),
    [([4, 2, None, 0], [100.0, 50.0, 0.0, 0.0]), ([], []), ([None], [0.0]), ([0], [0.0])],
    ids=["some", "none", "unknown", "zero"],
)
def test_bars_are_relative_to_the_largest(values: list[float | None], widths: list[float]) -> None:
    assert fraction_of_largest(values) == widths


def test_a_piece_of_line_that_touches_an_incomplete_day_is_incomplete() -> None:
    chart = draw_columns([Point("a", "a", 1, line=1, complete=False), Point("b", "b", 2, line=2)])
    assert [piece.complete for piece in chart.segments] == [False]


def test_places_in_a_list_are_drawn_as_there_with_the_first_on_top() -> None:
    points = [Point("a", "", None, line=1), Point("b", "", None, line=3)]
    chart = draw_columns(points, height=100, ranks=True)
    assert [(y, value) for y, value in chart.ticks] == [(0, 1), (25, 2), (50, 3), (75, 4), (100, 5)]
    assert [y for _, y, _ in chart.dots] == [0, 50]
    assert {column.whole.height for column in chart.columns} == {0}
