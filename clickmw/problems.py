"""What a search owner can mend: queries and results that fail, each with the rule that found them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from clickmw.expectation import Ratio, over_before
from clickmw.lists import QUERY_NUMBERS, query_cells
from clickmw.panels import Column, Look, Page, Panel, Row, Threshold
from clickmw.rates import Rate, rate
from clickmw.stores.base import Filter, QueryRow, TrendRow

LEAST_EVENTS = Threshold("least_events", "Searches and clicks, at least", 20, 1, 1_000_000)
BELOW_PERCENT = Threshold("below_percent", "Clicks for 100 searches, below", 20, 1, 100)
LEAST_SEARCHES = Threshold("least_searches", "Searches, at least", 20, 1, 1_000_000)
LEAST_CLICKS = Threshold("least_clicks", "Clicks, at least", 10, 1, 1_000_000)
DEEPER_THAN = Threshold("deeper_than", "Average position, from", 5, 1, 100)
LEAST_IMPRESSIONS = Threshold("least_impressions", "Impressions, at least", 100, 1, 1_000_000)
LEAST_NOW = Threshold("least_now", "In this period, at least", 10, 1, 1_000_000)


def _empty(look: Look) -> list[Row]:
    return [query_cells(row) for row in look.reader.queries_without_results(look.asked, look.limit)]


def _unclicked(look: Look) -> list[Row]:
    return [query_cells(row) for row in look.reader.queries_without_clicks(look.asked, look.limit)]


def _low_ctr(look: Look) -> list[Row]:
    """Return Search.gov's low-CTR queries, lowest first.

    Source: the code of Search.gov, low-CTR queries of its dashboard and monthly report: searches and
    clicks together at least 20, 100 * clicks / searches (whole numbers) below 20, ascending.
    """
    found = look.reader.queries_with_low_ctr(
        look.asked,
        look.limit,
        least=look.threshold(LEAST_EVENTS),
        below=look.threshold(BELOW_PERCENT),
    )
    return [
        {**query_cells(row), "clicks_for_100": 100 * row.clicks / row.searches} for row in found
    ]


def _missed_clicks(look: Look) -> list[Row]:
    """Return the queries whose search CTR lies below that of all beyond chance, dearest first.

    Searches that found nothing are left out on both sides: they are another list's.
    """
    everything = _share_of_found(look)
    least = look.threshold(LEAST_SEARCHES)
    # Those that miss most come first, and few of them do so by chance.
    rows = look.reader.queries_with_few_clicks(look.asked, 5 * look.limit, least=least)
    found = [_missed(row, everything) for row in rows if _lies_below(_found_ctr(row), everything)]
    found.sort(key=lambda row: (-row["missed"], row["query"]))
    return found[: look.limit]


def _missed(row: QueryRow, everything: Rate) -> Row:
    ctr = _found_ctr(row)
    return {
        **query_cells(row),
        "searches_found": ctr.denominator,
        "found_ctr": ctr,
        "all_found_ctr": everything,
        "missed": ctr.denominator * (everything.value or 0) - ctr.numerator,
    }


def _share_of_found(look: Look) -> Rate:
    totals = look.reader.totals(look.asked)
    return rate(totals.searches_clicked, totals.searches - totals.searches_empty)


def _found_ctr(row: QueryRow) -> Rate:
    return rate(row.searches_clicked, row.searches - row.searches_empty)


def _lies_below(ctr: Rate, everything: Rate) -> bool:
    if ctr.high is None or everything.value is None:
        return False
    return ctr.high < everything.value


def _deep_clicks(look: Look) -> list[Row]:
    rows = look.reader.queries_clicked_deep(
        look.asked,
        look.limit,
        least=look.threshold(LEAST_CLICKS),
        deeper=look.threshold(DEEPER_THAN),
    )
    return [query_cells(row) for row in rows]


def _never_clicked(look: Look) -> list[Row]:
    least = look.threshold(LEAST_IMPRESSIONS)
    rows = look.reader.results_without_clicks(look.asked, look.limit, least=least)
    return [{"url": row.url, "title": row.title, "impressions": row.impressions} for row in rows]


def _trending(key: str, read: Callable[..., list[TrendRow]], look: Look) -> list[Row]:
    """Return what grew beyond chance; nothing when recording began after the days compared with."""
    if not _reaches_back(look):
        return []
    # The store ranks by the distance from chance, so what is left out here is the end of its list.
    least = look.threshold(LEAST_NOW)
    days = _days(look.asked) / _days(look.before)
    found = read(look.asked, look.before, look.limit, least=least)
    rows = [_trend(key, row, days) for row in found]
    return [row for row in rows if (row["growth"].low or 0) > 1]


def _days(asked: Filter) -> int:
    return (asked.last_day - asked.first_day).days + 1


def _trend(key: str, row: TrendRow, days: float) -> Row:
    growth: Ratio = over_before(row.now, row.before, days)
    return {
        key: row.text,
        "title": row.title,
        "growth": growth,
        "now": row.now,
        "before": row.before,
    }


def _reaches_back(look: Look) -> bool:
    span = look.reader.day_span(look.asked.site)
    return span is not None and span[0] <= look.before.first_day


def _trending_queries(look: Look) -> list[Row]:
    return _trending("query", look.reader.trending_queries, look)


def _trending_results(look: Look) -> list[Row]:
    return _trending("url", look.reader.trending_results, look)


def _facts(look: Look) -> Mapping[str, Any]:
    thresholds = {each.name: look.threshold(each) for p in PROBLEMS for each in p.thresholds}
    return {"thresholds": thresholds, "comparable": _reaches_back(look)}


def _queries(name: str, *, more: Sequence[Column] = (), **panel: Any) -> Panel:
    """Return a panel of queries; *more* columns stand before the usual numbers.

    The columns of the short table are shown on any screen.
    """
    columns = (Column("query", "Query", "query"), *more, *QUERY_NUMBERS)
    shown = tuple(
        column._replace(shown=True, minor=False) if column.key in panel["brief"] else column
        for column in columns
    )
    return Panel(name=name, columns=shown, unkept=("impressions",), **panel)


def _trends(name: str, first: Column, counted: str, **panel: Any) -> Panel:
    """Return a panel of what grew; *counted* says of what the counts are."""
    title = () if first.kind == "query" else (Column("title", "Title", "text", shown=False),)
    return Panel(
        name=name,
        columns=(
            first,
            *title,
            Column("growth", "Growth", "ratio"),
            Column("now", counted, "count"),
            Column("before", "Before", "count", minor=True),
        ),
        bar="now",
        thresholds=(LEAST_NOW,),
        **panel,
    )


PROBLEMS: tuple[Panel, ...] = (
    _queries(
        "empty",
        title="Queries without results",
        about="Searches that found nothing: write the page that is missing, or teach your search "
        "the word (a synonym, a spelling).",
        rows=_empty,
        brief=("query", "searches_empty", "no_result_rate"),
        bar="searches_empty",
        nothing="Every search with a known number of hits found something.",
    ),
    _queries(
        "missed-clicks",
        title="Clicked less than others",
        about="Queries that find something and are followed less often than all queries together, "
        "beyond chance (95%): put better results on top, or say in their titles what they are. "
        "Missed is how many more searches would have had a click with the CTR of all.",
        more=(
            Column("missed", "Missed", "mean"),
            Column("searches_found", "That found something", "count", shown=False),
            Column("found_ctr", "CTR with hits", "rate"),
            Column("all_found_ctr", "CTR of all", "rate", minor=True),
        ),
        rows=_missed_clicks,
        brief=("query", "missed", "found_ctr", "searches"),
        bar="missed",
        thresholds=(LEAST_SEARCHES,),
        nothing="No query is clicked less than the others beyond chance.",
    ),
    _queries(
        "deep-clicks",
        title="Clicked far down",
        about="Visitors find what they want, but far down the list: move those results up.",
        rows=_deep_clicks,
        brief=("query", "position_mean", "clicks"),
        bar="clicks",
        thresholds=(DEEPER_THAN, LEAST_CLICKS),
        nothing="No query is clicked that far down.",
    ),
    _queries(
        "low-ctr",
        title="Low CTR by Search.gov’s rule",
        about="Few clicks for 100 searches, lowest first, as Search.gov finds them (20 searches and "
        "clicks together, below 20): look at the first results of each, and see whether their "
        "titles answer it.",
        more=(Column("clicks_for_100", "Clicks for 100", "mean"),),
        rows=_low_ctr,
        brief=("query", "clicks_for_100", "searches", "clicks"),
        bar="searches",
        thresholds=(LEAST_EVENTS, BELOW_PERCENT),
        nothing="No query is below the limit.",
    ),
    _queries(
        "unclicked",
        title="Queries without clicks",
        about="Searches that found something nobody followed: open them in your search, and change "
        "what stands on top.",
        rows=_unclicked,
        brief=("query", "searches"),
        bar="searches",
        nothing="Every query that found something was followed by a click.",
    ),
    Panel(
        name="never-clicked",
        title="Shown and never clicked",
        about="Results that many searches show and nobody follows: give them a title that says what "
        "they are, or take them out of the index.",
        columns=(
            Column("url", "Result", "result"),
            Column("title", "Title", "text", shown=False),
            Column("impressions", "Impressions", "count"),
        ),
        rows=_never_clicked,
        bar="impressions",
        only_by=("site",),
        thresholds=(LEAST_IMPRESSIONS,),
        nothing="Every result that was shown that often was clicked.",
    ),
    _trends(
        "trending-queries",
        Column("query", "Query", "query"),
        "Searches",
        title="Trending queries",
        about="Searched more than before, beyond chance (95%): see that they find "
        "what people now look for.",
        rows=_trending_queries,
        nothing="No query grew beyond chance, or the days to compare with were not all recorded.",
    ),
    _trends(
        "trending-results",
        Column("url", "Result", "result"),
        "Clicks",
        title="Trending results",
        about="Clicked more than before, beyond chance (95%): see that they are up to date.",
        rows=_trending_results,
        nothing="No result grew beyond chance, or the days to compare with were not all recorded.",
    ),
)

TO_FIX = Page(
    name="to-fix",
    title="To fix",
    about="Where search fails its visitors, with the rule that found each row. Every number of a "
    "rule can be changed.",
    panels=tuple(panel.name for panel in PROBLEMS),
    template="problems.html",
    facts=_facts,
)

#: The definitions of the numbers that only these panels have, as the definitions page shows them.
DEFINITIONS: tuple[Mapping[str, str], ...] = (
    {
        "metric": "missed",
        "label": "Missed searches with a click",
        "definition": "How many more searches of a query would have had a click, had it been "
        "followed as often as all queries together. Searches that found nothing are left out of "
        "both. Only queries whose 95% interval lies wholly below the share of all are listed.",
        "formula": "searches that found something × search CTR of all such searches − searches "
        "with a click",
    },
    {
        "metric": "clicks_for_100",
        "label": "Clicks for 100 searches",
        "definition": "Search.gov’s click-through rate: it counts clicks, not searches with a "
        "click, and may exceed 100.",
        "formula": "100 × clicks / searches",
    },
    {
        "metric": "growth",
        "label": "Growth",
        "definition": "How many times as often as in the days compared with, or in the period before "
        "when the report compares with none. The 95% interval takes both counts as left to chance. "
        "Only what grew beyond chance is listed.",
        "formula": "now / before, each by its number of days",
    },
)
