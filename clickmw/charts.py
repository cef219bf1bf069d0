"""The geometry of the report's column charts; the templates draw it as inline SVG.

Lengths along the page are percentages, so that a chart fits any width while its text keeps its
size; heights are pixels. No markup is made here, so nothing needs escaping here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import ceil, floor, log10
from typing import NamedTuple

MOST_LABELS = 6
#: Leading digits a grid may end on → how many parts it then has.
_PARTS = {1: 5, 1.5: 3, 2: 4, 2.5: 5, 3: 3, 4: 4, 5: 5, 6: 3, 8: 4, 10: 5}


class Point(NamedTuple):
    """One column. ``part`` is the strong lower part of it, ``line`` a second series.

    ``before`` is the value of the column's like in another period. An ``absent`` one is of a time of
    which nothing is known.
    """

    label: str
    title: str
    value: float | None
    part: float | None = None
    line: float | None = None
    low: float | None = None
    high: float | None = None
    complete: bool = True
    before: float | None = None
    absent: bool = False


class Box(NamedTuple):
    """A rectangle: percent across, pixels down."""

    x: float
    width: float
    y: float
    height: float


class Column(NamedTuple):
    """A drawn point; ``slot`` is its whole strip, for the pointer."""

    slot: Box
    whole: Box
    part: Box | None
    centre: float
    whisker: tuple[float, float] | None
    title: str
    complete: bool
    absent: bool


class Segment(NamedTuple):
    """A piece of the line between two neighbouring points."""

    x1: float
    y1: float
    x2: float
    y2: float
    complete: bool


class Tick(NamedTuple):
    """A horizontal grid line and its value."""

    y: float
    value: float


class Label(NamedTuple):
    """A word below the chart; ``anchor`` is start, middle or end; of more than five every second one is ``minor``."""

    x: float
    text: str
    anchor: str
    minor: bool


class Chart(NamedTuple):
    """Everything a template needs to draw."""

    height: int
    columns: list[Column]
    segments: list[Segment]
    dots: list[tuple[float, float, bool]]
    ticks: list[Tick]
    labels: list[Label]
    ghosts: list[Segment]


def draw_columns(
    points: Sequence[Point],
    *,
    height: int = 180,
    whole: bool = True,
    most_labels: int = MOST_LABELS,
    ranks: bool = False,
) -> Chart:
    """Return the chart of *points*; ``whole`` keeps the grid to whole numbers.

    ``ranks``: the values are places in a list, drawn as there: 1 on top. They have no columns.
    """
    first = 1 if ranks else 0
    top, parts = _grid([_highest(point) - first for point in points], whole=whole)
    slot = 100 / max(len(points), 1)

    def y(value: float) -> float:
        part = (value - first) / top
        return round(height * (part if ranks else 1 - part), 2)

    columns = [_column(point, index, slot, height, y) for index, point in enumerate(points)]
    pairs = list(zip(columns, points, strict=True))
    known = [(c.centre, y(p.line), c.complete) for c, p in pairs if p.line is not None]
    before = [(c.centre, y(p.before), True) for c, p in pairs if p.before is not None]
    values = [first + top * part / parts for part in range(parts + 1)]
    ticks = [Tick(y(value), value) for value in values]
    labels = _labels(points, slot, most_labels)
    return Chart(height, columns, _joined(known), known, ticks, labels, _joined(before))


def fraction_of_largest(values: Sequence[float | None]) -> list[float]:
    """Return each value as a percentage of the largest; 0 where unknown."""
    largest = max((value for value in values if value), default=0)
    return [round(100 * value / largest, 2) if value and largest else 0.0 for value in values]


def _joined(dots: Sequence[tuple[float, float, bool]]) -> list[Segment]:
    return [Segment(a[0], a[1], b[0], b[1], a[2] and b[2]) for a, b in pairwise(dots)]


def _highest(point: Point) -> float:
    known = (point.value, point.part, point.line, point.high, point.before)
    return max(value or 0 for value in known)


def _grid(values: Sequence[float], *, whole: bool) -> tuple[float, int]:
    """Return a round number not below any value, and into how many parts to divide it."""
    highest = max(values, default=0)
    if whole and highest <= 4:
        return 4, 4
    if highest < 1e-9:
        return 1, 5
    size = 10.0 ** floor(log10(highest))
    step = next(
        step
        for step in _PARTS
        if step * size >= highest * (1 - 1e-12) and not (whole and step * size % 1)
    )
    return step * size, _PARTS[step]


def _column(
    point: Point, index: int, slot: float, height: int, y: Callable[[float], float]
) -> Column:
    gap = 0.16 if slot > 0.6 else 0.0
    left = round(slot * index, 3)
    inner, width = round(left + slot * gap, 3), round(slot * (1 - 2 * gap), 3)

    def box(value: float) -> Box:
        return Box(inner, width, y(value), round(height - y(value), 2))

    whisker = None
    if point.low is not None and point.high is not None:
        whisker = (y(point.high), y(point.low))
    return Column(
        slot=Box(left, round(slot, 3), 0, height),
        whole=box(point.value) if point.value else Box(inner, width, height, 0),
        part=None if point.part is None else box(point.part),
        centre=round(left + slot / 2, 3),
        whisker=whisker,
        title=point.title,
        complete=point.complete,
        absent=point.absent,
    )


def _labels(points: Sequence[Point], slot: float, most: int) -> list[Label]:
    step = max(1, ceil(len(points) / most))
    labels = []
    for number, index in enumerate(range(0, len(points), step)):
        labels.append(
            Label(
                round(slot * (index + 0.5), 3),
                points[index].label,
                "middle",
                number % 2 == 1 and len(points) > 5,
            )
        )
    if step > 1:
        labels[0] = labels[0]._replace(x=0, anchor="start")
    return labels
