"""The page of one query: its headline numbers, and what they mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from clickmw.diagnosis import Diagnosis, Known, diagnose
from clickmw.drilldowns import (
    PAGES_READ,
    QUERY_PANELS,
    SEARCHES_READ,
    all_queries,
    read_curves,
    read_days,
    read_explained,
    read_neighbours,
)
from clickmw.headlines import Headline, metric_headline
from clickmw.metrics import Measure, share
from clickmw.panels import Look, Page
from clickmw.queries import normal_query
from clickmw.stores.base import Dwell, Explained, Filter, QueryDayRow, QueryRow

#: The latest clicks whose time on the result is read.
CLICKS_READ = 2_000


def _is_narrowed(asked: Filter) -> bool:
    """Return whether the filter chooses more than site, days and text."""
    facets = (asked.module, asked.device, asked.language, asked.profile, asked.source, asked.trust)
    return asked.robots or any(facet is not None for facet in facets)


def _dwell(look: Look) -> Dwell:
    return look.reader.query_dwell(look.asked, look.subject, clicks=CLICKS_READ)


def _sums(look: Look, days: Sequence[QueryDayRow], explained: Explained) -> QueryRow:
    """Return what the days add up to; the mean position is not kept under further filters."""
    position = explained.row.position_mean if explained.row else None
    return QueryRow(
        normal_query(look.subject),
        sum(row.searches for row in days),
        sum(row.searches_clicked for row in days),
        sum(row.searches_known for row in days),
        sum(row.searches_empty for row in days),
        sum(row.clicks for row in days),
        None,
        None if _is_narrowed(look.asked) else position,
    )


def query_headlines(sums: QueryRow, dwell: Dwell) -> list[Headline]:
    """Return the headline numbers of one query."""
    ctr = share(sums.searches_clicked, sums.searches)
    return [
        metric_headline("searches", Measure(sums.searches)),
        metric_headline("search_ctr", ctr),
        metric_headline("clicks", Measure(sums.clicks)),
        metric_headline("no_result_rate", share(sums.searches_empty, sums.searches_known)),
        metric_headline("average_position", Measure(sums.position_mean)),
        *dwell_headlines(dwell),
    ]


def dwell_headlines(dwell: Dwell) -> list[Headline]:
    """Return how long visitors stayed on results."""
    return [
        Headline(
            "dwell_median",
            "Time on results",
            "seconds",
            Measure(dwell.median_s, None, None, dwell.known, dwell.known + dwell.unknown),
            "How long visitors stayed on a result before they came back to the results: half of "
            "them shorter, half longer. Only a return tells, so those who did not come back, maybe "
            "because they found it, are left out.",
            f"median over clicks with a return, of the latest {CLICKS_READ:,} clicks",
        ),
        Headline(
            "dwell_short",
            "Short visits",
            "share",
            share(dwell.short, dwell.known),
            "The share of clicks whose visitor was back on the results within 10 seconds.",
            "clicks with a return in less than 10 s / clicks with a return",
        ),
        Headline(
            "dwell_long",
            "Long visits",
            "share",
            share(dwell.long, dwell.known),
            "The share of clicks whose visitor came back after 30 seconds or more.",
            "clicks with a return after 30 s and more / clicks with a return",
        ),
    ]


def _robot_pages(look: Look) -> int:
    if look.asked.robots:
        return 0
    asked = replace(look.asked, robots=True)
    return look.reader.explain_query(asked, look.subject, searches=PAGES_READ).searches_read


def _recorded(look: Look, days: Sequence[QueryDayRow]) -> list[QueryDayRow]:
    """Return the *days* since recording began."""
    span = look.reader.day_span(look.asked.site)
    return [row for row in days if span is not None and row.day >= span[0]]


def _known(look: Look, sums: QueryRow, explained: Explained) -> Known:
    """Return what the diagnosis of a query looks at."""
    before, after = read_neighbours(look)
    return Known(
        query=sums.query,
        sums=sums,
        days=_recorded(look, read_days(look)),
        site=look.reader.totals(all_queries(look)),
        site_days=look.reader.daily(all_queries(look)),
        places=explained.places,
        curves=read_curves(look),
        dwell=_dwell(look),
        after=after,
        searches_followed=min(sums.searches, SEARCHES_READ),
        visitors_known=bool(before or after),
        robot_pages=_robot_pages(look),
    )


def _query_facts(look: Look) -> dict[str, Any]:
    explained, query = read_explained(look), normal_query(look.subject)
    sums = _sums(look, read_days(look), explained)
    if not (sums.searches or sums.clicks or explained.searches_read or explained.places):
        return {"query": query, "known": False}
    known = _known(look, sums, explained)
    return {
        "query": query,
        "known": True,
        "headlines": [each.facts() for each in query_headlines(sums, known.dwell)],
        "dwell": {
            "known": known.dwell.known,
            "short": known.dwell.short,
            "long": known.dwell.long,
            "unknown": known.dwell.unknown,
            "median_s": known.dwell.median_s,
        },
        "position_kept": not _is_narrowed(look.asked),
        "visitors_known": known.visitors_known,
        "pages_read": explained.searches_read,
        "diagnosis": _diagnosis_facts(diagnose(known)),
    }


def _diagnosis_facts(diagnosis: Diagnosis) -> dict[str, Any]:
    return {
        "sentence": diagnosis.sentence,
        "findings": [
            {**found._asdict(), "evidence": [each._asdict() for each in found.evidence]}
            for found in diagnosis.findings
        ],
    }


_SEEN = {
    "metric": "seen",
    "label": "Seen",
    "definition": "How often a shown result was half visible in the browser for a second, as the "
    "snippet tells; unknown without it.",
    "formula": "impressions that were seen",
}
DEFINITIONS: tuple[Mapping[str, str], ...] = (
    _SEEN,
    *(each.meaning() for each in dwell_headlines(Dwell(0, 0, 0, 0, None))),
)

QUERY_PAGE = Page(
    name="query",
    title="Query",
    about="One query: how it did, what was shown for it and clicked, and what people searched around it.",
    panels=tuple(panel.name for panel in QUERY_PANELS),
    template="query.html",
    needs="query",
    facts=_query_facts,
)
