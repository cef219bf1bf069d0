"""The tables of one query: its days, what it showed, what people searched around it, when it found nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from clickmw.episodes import empty_episodes
from clickmw.expectation import Curves, over_expected
from clickmw.panels import Column, Look, Panel, Row, Threshold, as_recorded
from clickmw.pictures import search_history
from clickmw.rates import rate
from clickmw.spelling import change_of
from clickmw.stores.base import Explained, Filter, NeighbourRow, QueryDayRow

#: The latest pages of results, and searches with a visitor, that are read of one query.
PAGES_READ = 500
SEARCHES_READ = 500
#: Other queries before and after that are read, of which a page shows the first.
NEIGHBOURS_READ = 1_000

VISITORS = Threshold("visitors", "Visitors, at least", 2, 1, 1_000)


def all_queries(look: Look) -> Filter:
    """Return the same filter for all queries, to compare this one with."""
    return replace(look.asked, text=None)


def read_explained(look: Look) -> Explained:
    """Return what the query showed, and what was clicked there."""
    return look.reader.explain_query(look.asked, look.subject, searches=PAGES_READ)


def read_days(look: Look) -> list[QueryDayRow]:
    """Return each day of the query."""
    return look.reader.query_days(look.asked, look.subject)


def read_neighbours(look: Look) -> tuple[list[NeighbourRow], list[NeighbourRow]]:
    """Return which queries the same visitors searched before and after it."""
    return look.reader.query_neighbours(
        look.asked, look.subject, searches=SEARCHES_READ, limit=NEIGHBOURS_READ
    )


def read_curves(look: Look) -> Curves:
    """Return what each position earns, over all queries of the same filter."""
    return Curves.of(look.reader.positions(all_queries(look)))


def _query_days(look: Look) -> list[Row]:
    rows: list[Row] = [
        {
            "day": row.day,
            "complete": row.day < look.today,
            "searches": row.searches,
            "searches_clicked": row.searches_clicked,
            "search_ctr": rate(row.searches_clicked, row.searches),
            "searches_known": row.searches_known,
            "searches_empty": row.searches_empty,
            "clicks": row.clicks,
            "impressions": row.impressions,
            "position_mean": row.position_mean,
        }
        for row in read_days(look)
    ]
    return as_recorded(look, rows)


def _query_places(look: Look) -> list[Row]:
    places = read_explained(look).places
    curves = read_curves(look)
    watched = any(row.seen for row in places)
    rows = []
    for row in places[: look.limit]:
        expected = curves.expected(row.module_code, row.position, row.impressions)
        rows.append(
            {
                "url": row.url,
                "title": row.title,
                "module_code": row.module_code,
                "module_name": look.modules.get(row.module_code),
                "position": row.position or None,
                "impressions": row.impressions,
                "seen": row.seen if watched else None,
                "clicks": row.clicks,
                "item_ctr": rate(row.clicks, row.impressions),
                "expected_clicks": expected,
                "coec": None if expected is None else over_expected(row.clicks, expected),
            }
        )
    return rows


def _neighbour_rows(look: Look, rows: Sequence[NeighbourRow], *, after: bool) -> list[Row]:
    least = look.threshold(VISITORS)
    return [
        {
            "query": row.query,
            "change": change_of(*((look.subject, row.query)[:: 1 if after else -1])),
            "searches": row.searches,
            "search_ctr": rate(row.searches_clicked, row.searches),
            "visitors": row.visitors,
        }
        for row in rows
        if row.visitors >= least
    ][: look.limit]


def _query_before(look: Look) -> list[Row]:
    return _neighbour_rows(look, read_neighbours(look)[0], after=False)


def _query_after(look: Look) -> list[Row]:
    return _neighbour_rows(look, read_neighbours(look)[1], after=True)


def _query_empty(look: Look) -> list[Row]:
    episodes = empty_episodes(read_days(look))
    rows: list[Row] = [
        {
            "first_day": each.first_day,
            "last_day": each.last_day,
            "complete": each.last_day < look.today,
            "days": (each.last_day - each.first_day).days + 1,
            "searches_empty": each.searches_empty,
            "searches_known": each.searches_known,
            "no_result_rate": rate(each.searches_empty, each.searches_known),
            "state": "over" if each.over else "not over",
        }
        for each in reversed(episodes)
    ]
    return rows[: look.limit]


_UNTOLD = (
    "No other query was searched right {} it by that many visitors, or nobody tells them apart."
)
_NEIGHBOUR_COLUMNS = (
    Column("query", "Query", "query"),
    Column("change", "What changed", "text", minor=True),
    Column("searches", "Searches", "count"),
    Column("search_ctr", "Search CTR", "rate"),
    Column("visitors", "Visitors", "count", minor=True),
)

QUERY_PANELS: tuple[Panel, ...] = (
    Panel(
        name="query-days",
        title="History",
        about="Searches, clicks and impressions of this query on each day.",
        columns=(
            Column("day", "Day", "day"),
            Column("complete", "Complete", "text", shown=False),
            Column("searches", "Searches", "count"),
            Column("searches_clicked", "With a click", "count", minor=True),
            Column("search_ctr", "Search CTR", "rate"),
            Column("searches_known", "With known hits", "count", shown=False),
            Column("searches_empty", "Without results", "count", minor=True),
            Column("clicks", "Clicks", "count"),
            Column("impressions", "Impressions", "count", minor=True),
            Column("position_mean", "Avg. position", "mean", minor=True),
        ),
        rows=_query_days,
        pictures=search_history,
        brief=("day", "searches", "search_ctr", "clicks"),
        bar="searches",
        limited=False,
        needs="query",
        unkept=("impressions",),
    ),
    Panel(
        name="query-places",
        title="Shown and clicked",
        about=f"What the latest {PAGES_READ} pages of results showed at which position, what was seen "
        "for a second, clicked, and how that compares with what its position earns by itself, over all "
        "queries. 1.0 × is as expected.",
        columns=(
            Column("url", "Result", "result"),
            Column("title", "Title", "text", shown=False),
            Column("module_code", "Module", "module", minor=True),
            Column("module_name", "Module name", "text", shown=False),
            Column("position", "Position", "count"),
            Column("impressions", "Served", "count", minor=True),
            Column("seen", "Seen", "count", minor=True),
            Column("clicks", "Clicks", "count"),
            Column("item_ctr", "CTR", "rate", minor=True),
            Column("expected_clicks", "Expected", "mean", minor=True),
            Column("coec", "Clicks ÷ expected", "ratio"),
        ),
        rows=_query_places,
        bar="clicks",
        nothing="No result of this query was shown or clicked in this period.",
        needs="query",
    ),
    Panel(
        name="query-before",
        title="Searched before",
        about="The other query that the same visitor searched last, within 5 minutes before.",
        columns=_NEIGHBOUR_COLUMNS,
        rows=_query_before,
        brief=("query", "searches", "search_ctr"),
        bar="searches",
        nothing=_UNTOLD.format("before"),
        needs="query",
        thresholds=(VISITORS,),
    ),
    Panel(
        name="query-after",
        title="Searched next",
        about="The other query that the same visitor searched next, within 5 minutes.",
        columns=_NEIGHBOUR_COLUMNS,
        rows=_query_after,
        brief=("query", "searches", "search_ctr"),
        bar="searches",
        nothing=_UNTOLD.format("after"),
        needs="query",
        thresholds=(VISITORS,),
    ),
    Panel(
        name="query-empty",
        title="Times without results",
        about="Days in a row on which searches found nothing, the latest first. A day on which all "
        "searches found something ends such a time.",
        columns=(
            Column("first_day", "From", "day"),
            Column("last_day", "To", "day"),
            Column("complete", "Complete", "text", shown=False),
            Column("days", "Days", "count", shown=False),
            Column("searches_empty", "Without results", "count"),
            Column("searches_known", "Of searches", "count"),
            Column("no_result_rate", "No results", "rate", minor=True),
            Column("state", "State", "text", minor=True),
        ),
        rows=_query_empty,
        brief=("first_day", "last_day", "searches_empty", "searches_known"),
        nothing="No search of this query is known to have found nothing.",
        needs="query",
    ),
)
