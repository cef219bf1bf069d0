"""Which charts and bars stand beside the report's tables; made of the same rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from itertools import groupby, islice
from typing import Any, NamedTuple

from clickmw.charts import Chart, Point, draw_columns, fraction_of_largest
from clickmw.stores.base import DayRow
from clickmw.wording import (
    format_count,
    format_day,
    format_days,
    format_decimal,
    format_percent,
    position_label,
)

Row = Mapping[str, Any]

#: A chart with more days than this shows weeks.
MOST_DAYS = 120


def bars(rows: Sequence[Row], key: str) -> list[float]:
    """Return the width of the bar behind each row, in percent; 0 without a *key*."""
    if not key:
        return [0.0] * len(rows)
    # What is not named is many queries: no bar of one could stand beside it.
    return fraction_of_largest([0 if row.get("unnamed_queries") else row[key] for row in rows])


def day_chart(rows: Sequence[Row], before: Sequence[DayRow] = ()) -> Chart:
    """Return the chart of the days' rows; more than MOST_DAYS of them are drawn as weeks.

    A thin line shows the searches of the days *before*, each in the place of its like.
    """
    groups = [[row] for row in rows] if len(rows) <= MOST_DAYS else _weeks(rows)
    likes = iter(before)
    return draw_columns(
        [
            _days_point(group, len(rows) > MOST_DAYS, list(islice(likes, len(group))))
            for group in groups
        ],
        height=200,
    )


def _weeks(rows: Sequence[Row]) -> list[list[Row]]:
    """Return the rows by calendar week, Monday first; the outer two may be cut off."""
    weeks = groupby(rows, key=lambda row: row["day"] - timedelta(days=row["day"].weekday()))
    return [list(week) for _, week in weeks]


def _days_point(rows: Sequence[Row], weekly: bool, likes: Sequence[DayRow]) -> Point:
    first, last = rows[0]["day"], rows[-1]["day"]
    known = [row for row in rows if row["clicks"] is not None]
    if not known:
        return _absent_point(rows)
    searches, clicked, clicks = (
        sum(row[key] for row in known) for key in ("searches", "searches_clicked", "clicks")
    )
    complete = all(row["complete"] for row in rows) and len(known) == (7 if weekly else 1)
    searches_before = sum(like.searches for like in likes) if len(likes) == len(rows) else None
    return Point(
        label=format_day(first),
        title=f"{format_days((first, last))}: {format_count(searches)} searches, "
        f"{format_count(clicked)} with a click; {format_count(clicks)} clicks"
        + ("" if complete else " (not complete)")
        + ("" if searches_before is None else f"; {_like(likes)}: {format_count(searches_before)}"),
        value=searches,
        part=clicked,
        line=clicks,
        complete=complete,
        before=searches_before,
    )


def _absent_point(rows: Sequence[Row]) -> Point:
    """Return the place of days before recording began: nothing is drawn there."""
    title = f"{_days_of(rows)}: no data yet"
    return Point(format_day(rows[0]["day"]), title, None, absent=True)


def _like(days: Sequence[DayRow]) -> str:
    return format_days((days[0].day, days[-1].day))


class PositionCharts(NamedTuple):
    """The two charts of one module's list; ``ctr`` is None where impressions are unknown."""

    module_code: str
    module_name: str | None
    clicks: Chart
    ctr: Chart | None


def position_charts(rows: Sequence[Row]) -> list[PositionCharts]:
    """Return charts by module, most clicked first; curves never mix modules."""
    return [_position_pair(each) for each in _clicked_modules(rows)]


def _clicked_modules(rows: Sequence[Row]) -> list[list[Row]]:
    """Return the rows by module, most clicked first, without modules that nobody clicked."""
    lists: dict[str, list[Row]] = {}
    for row in rows:
        lists.setdefault(row["module_code"], []).append(row)
    clicked = [each for each in lists.values() if any(row["clicks"] for row in each)]
    return sorted(clicked, key=lambda each: -sum(row["clicks"] for row in each))


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


def _with_gaps(rows: Sequence[Row], least: int = 0) -> list[tuple[str, Row | None]]:
    """Return the rows by label, with the single positions between them that nobody was shown.

    The *least* first positions are always there.
    """
    single = {row["first"]: row for row in rows if row["last"] == row["first"]}
    buckets = sorted((row for row in rows if row["last"] != row["first"]), key=lambda r: r["first"])
    ladder = range(1, max(least, 0, *single) + 1)
    filled: list[tuple[str, Row | None]] = [(str(first), single.get(first)) for first in ladder]
    return filled + [(position_label(row["first"], row["last"]), row) for row in buckets]


def _ctr_point(label: str, row: Row | None) -> Point:
    if row is None or row["item_ctr"] is None or row["item_ctr"].value is None:
        return Point(label, f"Position {label}: not shown", None)
    ctr = row["item_ctr"]
    title = (
        f"Position {label}: {format_percent(ctr.value)}, {format_count(ctr.numerator)} clicks of "
        f"{format_count(ctr.denominator)} impressions"
    )
    return Point(label, title, ctr.value, low=ctr.low, high=ctr.high)


def _get(row: Row | None, key: str) -> int:
    return int(row[key]) if row else 0


class Picture(NamedTuple):
    """A chart with its words; ``legend`` has (key, what it stands for), keys as of the style sheet."""

    chart: Chart
    title: str
    about: str
    kind: str = ""
    legend: tuple[tuple[str, str], ...] = ()
    percent: bool = False


def search_history(rows: Sequence[Row]) -> list[Picture]:
    """Return the picture of the days of one query."""
    grain = "day" if len(rows) <= MOST_DAYS else "week"
    legend = (("whole", "Searches"), ("part", "with a click"), ("line", "Clicks"))
    about = (
        f"One column for each {grain}. Pale: all searches. Strong: searches with a click. "
        "Line: clicks. The table has the same numbers."
    )
    return [Picture(day_chart(rows), f"Searches and clicks by {grain}", about, "days", legend)]


def click_history(rows: Sequence[Row]) -> list[Picture]:
    """Return the pictures of the days of one result: its clicks, and the mean position of these."""
    weekly = len(rows) > MOST_DAYS
    groups = _weeks(rows) if weekly else [[row] for row in rows]
    grain = "week" if weekly else "day"
    about = f"One column for each {grain}; the table has the same numbers."
    clicks = draw_columns([_clicks_point(group) for group in groups], height=140)
    places = draw_columns([_place_point(group) for group in groups], height=140, ranks=True)
    return [
        Picture(clicks, f"Clicks by {grain}", about, "clicks"),
        Picture(places, f"Average position by {grain}; 1 is the top", about, "positions"),
    ]


def _clicks_point(rows: Sequence[Row]) -> Point:
    known = [row for row in rows if row["clicks"] is not None]
    if not known:
        return _absent_point(rows)
    clicks = sum(row["clicks"] for row in known)
    title = f"{_days_of(rows)}: {format_count(clicks)} clicks"
    complete = all(row["complete"] for row in rows) and len(known) == len(rows)
    return Point(format_day(rows[0]["day"]), title, clicks, complete=complete)


def _place_point(rows: Sequence[Row]) -> Point:
    if all(row["clicks"] is None for row in rows):
        return _absent_point(rows)
    placed = [row for row in rows if row["position_mean"] is not None]
    clicks = sum(row["clicks"] for row in placed)
    total = sum(row["clicks"] * row["position_mean"] for row in placed)
    place = total / clicks if clicks else None
    title = f"{_days_of(rows)}: position {format_decimal(place, 1)}"
    complete = all(row["complete"] for row in rows)
    return Point(format_day(rows[0]["day"]), title, None, line=place, complete=complete)


def _days_of(rows: Sequence[Row]) -> str:
    return format_days((rows[0]["day"], rows[-1]["day"]))


#: Modules that have pictures, most clicked first; the tables have all.
MOST_MODULES = 8


def histogram_pictures(rows: Sequence[Row]) -> list[Picture]:
    """Return for each module how its clicks spread over the positions."""
    about = "One column for each step of positions; the table has the same numbers."
    return [
        Picture(
            draw_columns(
                [_clicks_bar(r) for r in _in_order(each)], height=140, most_labels=len(each)
            ),
            f"Clicks by position in {_module_of(each)}",
            about,
            "clicks",
        )
        for each in _clicked_modules(rows)[:MOST_MODULES]
    ]


def rank_pictures(rows: Sequence[Row]) -> list[Picture]:
    """Return for each module with impressions its rank CTR."""
    about = "One column for each position; the table has the same numbers."
    shown = [each for each in _clicked_modules(rows) if any(row["impressions"] for row in each)]
    return [
        Picture(
            draw_columns([_ctr_point(*at) for at in _with_gaps(each, 10)], height=140, whole=False),
            f"CTR by position in {_module_of(each)}, with 95% intervals",
            about,
            "ctr",
            percent=True,
        )
        for each in shown[:MOST_MODULES]
    ]


def past_pictures(rows: Sequence[Row]) -> list[Picture]:
    """Return how each module does against its own past."""
    known = [row for row in rows if row["coec"].value is not None][:MOST_MODULES]
    if not known:
        return []
    chart = draw_columns([_past_point(row) for row in known], height=140, whole=False)
    about = "One column for each module, 1 is as in its past; the table has the same numbers."
    return [Picture(chart, "Clicks over expected clicks, with 95% intervals", about, "ctr")]


def _clicks_bar(row: Row) -> Point:
    share = format_percent(row["share_of_clicks"].value)
    title = f"Position {row['position']}: {format_count(row['clicks'])} clicks, {share}"
    return Point(row["position"], title, row["clicks"])


def _past_point(row: Row) -> Point:
    coec = row["coec"]
    title = (
        f"{row['module_code']}: {format_decimal(coec.value)} times the expected clicks, "
        f"95%: {format_decimal(coec.low)} to {format_decimal(coec.high)}"
    )
    return Point(row["module_code"], title, coec.value, low=coec.low, high=coec.high)


def _in_order(rows: Sequence[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: int(row["first"]))


def _module_of(rows: Sequence[Row]) -> str:
    name = rows[0]["module_name"]
    return f"{rows[0]['module_code']}, {name}" if name else str(rows[0]["module_code"])
