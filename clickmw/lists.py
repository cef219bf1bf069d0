"""The report's lists: days, top queries and results, what was left out, the latest events."""

from __future__ import annotations

from collections.abc import Mapping

from clickmw.panels import Column, Look, Panel, Row, as_recorded
from clickmw.rates import Rate, rate
from clickmw.stores.base import Filter, LiveRow, QueryRow


def _days(look: Look) -> list[Row]:
    rows: list[Row] = [
        {
            "day": row.day,
            "complete": row.day < look.today,
            "searches": row.searches,
            "searches_clicked": row.searches_clicked,
            "search_ctr": rate(row.searches_clicked, row.searches),
            "searches_empty": row.searches_empty,
            "clicks": row.clicks,
            "impressions": row.impressions,
        }
        for row in look.reader.daily(look.asked)
    ]
    return as_recorded(look, rows)


def query_cells(row: QueryRow) -> Row:
    """Return the row of a query; QUERY_NUMBERS are its columns."""
    return {
        "query": row.query,
        "searches": row.searches,
        "searches_clicked": row.searches_clicked,
        "search_ctr": rate(row.searches_clicked, row.searches),
        "clicks": row.clicks,
        "impressions": row.impressions,
        "searches_known": row.searches_known,
        "searches_empty": row.searches_empty,
        "no_result_rate": rate(row.searches_empty, row.searches_known),
        "position_mean": row.position_mean,
    }


def _queries(look: Look) -> list[Row]:
    rows = [query_cells(row) for row in look.reader.top_queries(look.asked, look.limit)]
    unnamed = look.reader.unnamed_queries(look.asked)
    found: list[Row] = [{**row, "unnamed_queries": 0} for row in rows]
    if unnamed is None or not unnamed.queries:
        return found
    sums = {**query_cells(unnamed.sums), "query": None, "unnamed_queries": unnamed.queries}
    return [*found, sums]


def _results(look: Look) -> list[Row]:
    return [
        {
            "url": row.url,
            "title": row.title,
            "clicks": row.clicks,
            "impressions": row.impressions,
            "item_ctr": item_ctr(row.clicks, row.impressions),
            "position_mean": row.position_mean,
        }
        for row in look.reader.top_results(look.asked, look.limit)
    ]


def _excluded(look: Look) -> list[Row]:
    counts = look.reader.totals(look.asked).excluded
    parts = [(*name.rpartition("."), count) for name, count in counts.items() if count]
    rows: list[Row] = [
        {"kind": kind, "reason": reason, "meaning": REASONS.get(reason, ""), "events": count}
        for kind, _, reason, count in parts
    ]
    return sorted(rows, key=lambda row: (-row["events"], row["kind"], row["reason"]))


def _live(look: Look) -> list[Row]:
    # The store's tail knows no filter: take more of it than is shown, then pick.
    tail = look.reader.live(look.limit if _takes_all(look.asked) else 20 * look.limit)
    rows = [row for row in tail if _is_asked(row, look.asked)]
    return [
        {
            "received_ms": row.received_ms,
            "kind": row.kind,
            "site": row.site,
            "query": row.query,
            "url": row.url,
            "position": row.position,
            "module_code": row.module_code,
            "verdict": row.verdict,
        }
        for row in rows[: look.limit]
    ]


def _takes_all(asked: Filter) -> bool:
    return asked.site is None and asked.module is None


def _is_asked(row: LiveRow, asked: Filter) -> bool:
    if asked.site is not None and row.site != asked.site:
        return False
    return asked.module is None or row.module_code == asked.module


def item_ctr(clicks: int, impressions: int | None) -> Rate | None:
    """Return the share of impressions that were clicked; None where those are not kept."""
    return None if impressions is None else rate(clicks, impressions)


#: Why an event is kept but not counted, in words.
REASONS: Mapping[str, str] = {
    "robot": "the client is a crawler or a program",
    "duplicate": "the same visitor followed the same result again within the window",
    "repeat": "the same visitor ran the same query again within 30 minutes",
    "page": "a later page of a search that is already counted",
    "typing": "a half-typed form of the query that followed",
    "external": "the link was followed from somewhere else than the results page",
    "stale": "the link was more than 30 days old",
    "trust": "events of this trust are not counted by the settings",
    "shared": "a page from a shared cache; its searches come from the browser instead",
    "prefetch": "the page was only loaded ahead",
    "inactive": "the page was only loaded ahead",
    "repeated": "the client sent its own event id twice",
    "opted_out": "the visitor asked not to be counted",
    "test": "a test click of the set-up page or of clickmw doctor",
}

QUERY_NUMBERS = (
    Column("searches", "Searches", "count"),
    Column("searches_clicked", "With a click", "count", minor=True, shown=False),
    Column("search_ctr", "Search CTR", "rate"),
    Column("clicks", "Clicks", "count", minor=True),
    Column("impressions", "Impressions", "count", shown=False),
    Column("searches_known", "With known hits", "count", shown=False),
    Column("searches_empty", "Without results", "count", shown=False),
    Column("no_result_rate", "No results", "rate", minor=True),
    Column("position_mean", "Avg. position", "mean", minor=True),
)
#: How many queries a row sums up that nobody is told: 0 where it is one.
UNNAMED = Column("unnamed_queries", "Queries not named", "count", shown=False)
RESULT_NUMBERS = (
    Column("clicks", "Clicks", "count"),
    Column("impressions", "Impressions", "count", minor=True),
    Column("item_ctr", "CTR", "rate"),
)

LISTS: tuple[Panel, ...] = (
    Panel(
        name="days",
        title="Days",
        about="Searches, clicks and impressions of each day.",
        columns=(
            Column("day", "Day", "day"),
            Column("complete", "Complete", "text", shown=False),
            Column("searches", "Searches", "count"),
            Column("searches_clicked", "With a click", "count", minor=True),
            Column("search_ctr", "Search CTR", "rate"),
            Column("searches_empty", "Without results", "count", minor=True),
            Column("clicks", "Clicks", "count"),
            Column("impressions", "Impressions", "count", minor=True),
        ),
        rows=_days,
        bar="searches",
        limited=False,
    ),
    Panel(
        name="queries",
        title="Top queries",
        about="What visitors searched most.",
        columns=(Column("query", "Query", "query"), *QUERY_NUMBERS, UNNAMED),
        rows=_queries,
        unkept=("impressions",),
        brief=("query", "searches", "search_ctr", "position_mean"),
        bar="searches",
        nothing="No searches in this period.",
    ),
    Panel(
        name="results",
        title="Top results",
        about="Which results visitors followed most.",
        columns=(
            Column("url", "Result", "result"),
            Column("title", "Title", "text", shown=False),
            *RESULT_NUMBERS,
            Column("position_mean", "Avg. position", "mean", minor=True),
        ),
        rows=_results,
        brief=("url", "clicks", "item_ctr", "position_mean"),
        bar="clicks",
        unkept=("impressions", "item_ctr"),
        nothing="No clicks in this period.",
    ),
    Panel(
        name="excluded",
        title="Not counted",
        about="Events that are kept but left out of every other number here, by reason.",
        columns=(
            Column("kind", "Event", "text"),
            Column("reason", "Reason", "text"),
            Column("meaning", "In words", "text", minor=True),
            Column("events", "Events", "count"),
        ),
        rows=_excluded,
        limited=False,
        only_by=("site",),
        nothing="Nothing was left out in this period.",
    ),
    Panel(
        name="live",
        title="Live",
        about="The latest events with what became of them.",
        columns=(
            Column("received_ms", "Received", "time"),
            Column("kind", "Event", "text"),
            Column("verdict", "Verdict", "verdict"),
            Column("query", "Query", "query"),
            Column("site", "Site", "text", minor=True),
            Column("url", "Result", "result"),
            Column("position", "Position", "count", minor=True),
            Column("module_code", "Module", "text", minor=True),
        ),
        rows=_live,
        only_by=("site", "module"),
        nothing="No events yet.",
    ),
)
