"""The report's tables: which columns each has and how its rows follow from the store's rows.

A row is a plain mapping; the page, the CSV file and the JSON answer are three spellings of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, NamedTuple

from clickmw.rates import Rate, rate
from clickmw.stores.base import Filter, LiveRow, QueryRow, Reader
from clickmw.tables import is_measure
from clickmw.wording import position_label

Row = dict[str, Any]


class Column(NamedTuple):
    """One column. ``kind`` says how a cell is written; a ``minor`` one hides on narrow screens.

    Kinds: query, result, module, text, position, day, time, verdict, count, rate, mean. Columns
    that are not ``shown`` on the page are in its files.
    """

    key: str
    label: str
    kind: str
    minor: bool = False
    shown: bool = True

    @property
    def numeric(self) -> bool:
        """Return whether the cells are numbers."""
        return self.kind in {"count", "rate", "mean"}


class Look(NamedTuple):
    """What a panel reads with: the store, the filter, how many rows, and the names of modules."""

    reader: Reader
    asked: Filter
    limit: int
    modules: Mapping[str, str]
    today: date


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One table of the report. ``bar`` is the column whose size the bars behind the rows show.

    ``brief`` names the columns of the short table on the overview; empty: all that are shown.
    """

    name: str
    title: str
    about: str
    columns: tuple[Column, ...]
    rows: Callable[[Look], list[Row]]
    bar: str = ""
    brief: tuple[str, ...] = ()
    limited: bool = True
    nothing: str = "Nothing in this period."

    def columns_shown(self, *, brief: bool) -> list[Column]:
        """Return the columns of the page's table."""
        shown = [column for column in self.columns if column.shown]
        if not brief or not self.brief:
            return shown
        return [column for column in shown if column.key in self.brief]


def _days(look: Look) -> list[Row]:
    return [
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


def _query(row: QueryRow) -> Row:
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
    return [_query(row) for row in look.reader.top_queries(look.asked, look.limit)]


def _unclicked(look: Look) -> list[Row]:
    return [_query(row) for row in look.reader.queries_without_clicks(look.asked, look.limit)]


def _empty(look: Look) -> list[Row]:
    return [_query(row) for row in look.reader.queries_without_results(look.asked, look.limit)]


def _results(look: Look) -> list[Row]:
    return [
        {
            "url": row.url,
            "title": row.title,
            "clicks": row.clicks,
            "impressions": row.impressions,
            "item_ctr": _item_ctr(row.clicks, row.impressions),
            "position_mean": row.position_mean,
        }
        for row in look.reader.top_results(look.asked, look.limit)
    ]


def _positions(look: Look) -> list[Row]:
    return [
        {
            "module_code": row.module_code,
            "module_name": look.modules.get(row.module_code),
            "position": position_label(row.first, row.last),
            "first": row.first,
            "last": row.last,
            "clicks": row.clicks,
            "impressions": row.impressions,
            "item_ctr": _item_ctr(row.clicks, row.impressions),
        }
        for row in look.reader.positions(look.asked)
    ]


def _modules(look: Look) -> list[Row]:
    rows = look.reader.modules(look.asked)
    clicks = sum(row.clicks for row in rows)
    return [
        {
            "module_code": row.module_code,
            "module_name": look.modules.get(row.module_code),
            "clicks": row.clicks,
            "share_of_clicks": rate(row.clicks, clicks),
            "impressions": row.impressions,
            "item_ctr": _item_ctr(row.clicks, row.impressions),
            "position_mean": row.position_mean,
        }
        for row in rows
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


def _item_ctr(clicks: int, impressions: int) -> Rate:
    return rate(clicks, impressions)


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
}

_QUERY_NUMBERS = (
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
_RESULT_NUMBERS = (
    Column("clicks", "Clicks", "count"),
    Column("impressions", "Impressions", "count", minor=True),
    Column("item_ctr", "CTR", "rate"),
)

PANELS: Mapping[str, Panel] = {
    panel.name: panel
    for panel in (
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
            columns=(Column("query", "Query", "query"), *_QUERY_NUMBERS),
            rows=_queries,
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
                *_RESULT_NUMBERS,
                Column("position_mean", "Avg. position", "mean", minor=True),
            ),
            rows=_results,
            brief=("url", "clicks", "item_ctr", "position_mean"),
            bar="clicks",
            nothing="No clicks in this period.",
        ),
        Panel(
            name="positions",
            title="Positions",
            about="Where in its list a clicked result stood. Each module is a list of its own.",
            columns=(
                Column("module_code", "Module", "module"),
                Column("module_name", "Module name", "text", shown=False),
                Column("position", "Position", "position"),
                Column("first", "First", "count", shown=False),
                Column("last", "Last", "count", shown=False),
                *_RESULT_NUMBERS,
            ),
            rows=_positions,
            bar="clicks",
            limited=False,
            nothing="No clicks with a position in this period.",
        ),
        Panel(
            name="modules",
            title="Modules",
            about="Which blocks of the results page were shown and followed.",
            columns=(
                Column("module_code", "Module", "module"),
                Column("module_name", "Module name", "text", shown=False),
                Column("clicks", "Clicks", "count"),
                Column("share_of_clicks", "Share of clicks", "rate", minor=True),
                Column("impressions", "Impressions", "count", minor=True),
                Column("item_ctr", "CTR", "rate"),
                Column("position_mean", "Avg. position", "mean", minor=True),
            ),
            rows=_modules,
            brief=("module_code", "clicks", "item_ctr", "position_mean"),
            bar="clicks",
            limited=False,
            nothing="No module was shown in this period.",
        ),
        Panel(
            name="unclicked",
            title="Queries without clicks",
            about="Searches that found something nobody followed: look at what these show.",
            columns=(Column("query", "Query", "query"), *_QUERY_NUMBERS),
            rows=_unclicked,
            brief=("query", "searches"),
            bar="searches",
            nothing="Every query that found something was followed by a click.",
        ),
        Panel(
            name="empty",
            title="Queries without results",
            about="Searches that found nothing: content or synonyms may be missing.",
            columns=(Column("query", "Query", "query"), *_QUERY_NUMBERS),
            rows=_empty,
            brief=("query", "searches"),
            bar="searches",
            nothing="Every search with a known number of hits found something.",
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
            nothing="Nothing was left out in this period.",
        ),
        Panel(
            name="live",
            title="Live",
            about="The latest events with what became of them. Only site and module filter it.",
            columns=(
                Column("received_ms", "Received", "time"),
                Column("kind", "Event", "text"),
                Column("site", "Site", "text", minor=True),
                Column("query", "Query", "query"),
                Column("url", "Result", "result"),
                Column("position", "Position", "count", minor=True),
                Column("module_code", "Module", "text", minor=True),
                Column("verdict", "Verdict", "verdict"),
            ),
            rows=_live,
            nothing="No events yet.",
        ),
    )
}


def sort_rows(rows: list[Row], sort: str) -> list[Row]:
    """Return *rows* by the column *sort* names, with a minus the largest first; unknown ones last."""
    key, descending = sort.removeprefix("-"), sort.startswith("-")
    known = [row for row in rows if _sortable(row[key]) is not None]
    unknown = [row for row in rows if _sortable(row[key]) is None]
    return sorted(known, key=lambda row: _sortable(row[key]), reverse=descending) + unknown


def _sortable(value: Any) -> Any:
    return value.value if isinstance(value, Rate) else value


def file_table(panel: Panel, rows: Sequence[Row]) -> tuple[list[str], list[list[Any]]]:
    """Return header and rows of the panel's file; a rate takes three columns."""
    header: list[str] = []
    for column in panel.columns:
        more = [f"{column.key}_low", f"{column.key}_high"] if column.kind == "rate" else []
        header += [column.key, *more]
    return header, [[cell for c in panel.columns for cell in _cells(row[c.key])] for row in rows]


def _cells(value: Any) -> tuple[Any, ...]:
    return (value.value, value.low, value.high) if is_measure(value) else (value,)
