"""Which charts and bars stand beside the report's tables; made of the same rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from itertools import groupby
from typing import Any, NamedTuple

from clickmw.charts import Chart, Point, draw_columns, fraction_of_largest
from clickmw.wording import format_count, format_day, format_days, format_percent, position_label

Row = Mapping[str, Any]

#: A chart with more days than this shows weeks.
MOST_DAYS = 120


def bars(rows: Sequence[Row], key: str) -> list[float]:
    """Return the width of the bar behind each row, in percent; 0 without a *key*."""
    if not key:
        return [0.0] * len(rows)
    return fraction_of_largest([row[key] for row in rows])


def day_chart(rows: Sequence[Row]) -> Chart:
    """Return the chart of the days' rows; more than MOST_DAYS of them are drawn as weeks."""
    groups = [[row] for row in rows] if len(rows) <= MOST_DAYS else _weeks(rows)
    return draw_columns([_days_point(group, len(rows) > MOST_DAYS) for group in groups], height=200)


def _weeks(rows: Sequence[Row]) -> list[list[Row]]:
    """Return the rows by calendar week, Monday first; the outer two may be cut off."""
    weeks = groupby(rows, key=lambda row: row["day"] - timedelta(days=row["day"].weekday()))
    return [list(week) for _, week in weeks]


def _days_point(rows: Sequence[Row], weekly: bool) -> Point:
    first, last = rows[0]["day"], rows[-1]["day"]
    searches, clicked, clicks = (
        sum(row[key] for row in rows) for key in ("searches", "searches_clicked", "clicks")
    )
    complete = all(row["complete"] for row in rows) and len(rows) == (7 if weekly else 1)
    return Point(
        label=format_day(first),
        title=f"{format_days((first, last))}: {format_count(searches)} searches, "
        f"{format_count(clicked)} with a click; {format_count(clicks)} clicks"
        + ("" if complete else " (not complete)"),
        value=searches,
        part=clicked,
        line=clicks,
        complete=complete,
    )


class PositionCharts(NamedTuple):
    """The two charts of one module's list; ``ctr`` is None where impressions are unknown."""

    module_code: str
    module_name: str | None
    clicks: Chart
    ctr: Chart | None


def position_charts(rows: Sequence[Row]) -> list[PositionCharts]:
    """Return charts by module, most clicked first; curves never mix modules."""
    lists: dict[str, list[Row]] = {}
    for row in rows:
        lists.setdefault(row["module_code"], []).append(row)
    clicked = [each for each in lists.values() if any(row["clicks"] for row in each)]
    clicked.sort(key=lambda each: -sum(row["clicks"] for row in each))
    return [_position_pair(each) for each in clicked]


def _position_pair(rows: Sequence[Row]) -> PositionCharts:
    filled = _with_gaps(rows)
    clicks = [
        Point(
            label,
            f"Position {label}: {format_count(_get(row, 'clicks'))} clicks",
            _get(row, "clicks"),
        )
        for label, row in filled
    ]
    ctr = [_ctr_point(label, row) for label, row in filled]
    shown = any(point.value is not None for point in ctr)
    return PositionCharts(
        rows[0]["module_code"],
        rows[0]["module_name"],
        draw_columns(clicks, height=140),
        draw_columns(ctr, height=140, whole=False) if shown else None,
    )


def _with_gaps(rows: Sequence[Row]) -> list[tuple[str, Row | None]]:
    """Return the rows by label, with the single positions between them that nobody was shown."""
    single = {row["first"]: row for row in rows if row["last"] == row["first"]}
    buckets = sorted((row for row in rows if row["last"] != row["first"]), key=lambda r: r["first"])
    ladder = range(1, max(single, default=0) + 1)
    filled: list[tuple[str, Row | None]] = [(str(first), single.get(first)) for first in ladder]
    return filled + [(position_label(row["first"], row["last"]), row) for row in buckets]


def _ctr_point(label: str, row: Row | None) -> Point:
    if row is None or row["item_ctr"].value is None:
        return Point(label, f"Position {label}: not shown", None)
    ctr = row["item_ctr"]
    title = (
        f"Position {label}: {format_percent(ctr.value)}, {format_count(ctr.numerator)} clicks of "
        f"{format_count(ctr.denominator)} impressions"
    )
    return Point(label, title, ctr.value, low=ctr.low, high=ctr.high)


def _get(row: Row | None, key: str) -> int:
    return int(row[key]) if row else 0
