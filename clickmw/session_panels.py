"""Sessions: what visitors did in one go, and how one query led to the next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clickmw.drilldowns import VISITORS
from clickmw.headlines import Headline
from clickmw.metrics import Measure, mean, share
from clickmw.panels import Column, Look, Page, Panel, Row
from clickmw.rates import rate
from clickmw.spelling import change_of
from clickmw.stores.base import Sessions

#: Of the latest days, as many as have together at most so many searches.
SEARCHES_READ = 10_000
#: Steps that are read, of which a page shows the first.
STEPS_READ = 1_000

_LENGTHS = ("1", "2", "3", "4", "5+")


def _sessions(look: Look) -> Sessions:
    return look.reader.sessions(look.asked, searches=SEARCHES_READ, limit=STEPS_READ)


def _chains(look: Look) -> list[Row]:
    least = look.threshold(VISITORS)
    chosen = [row for row in _sessions(look).chains if row.visitors >= least]
    return [
        {
            "query": row.query,
            "next_query": row.next_query,
            "change": change_of(row.query, row.next_query),
            "steps": row.steps,
            "visitors": row.visitors,
            "clicked_before": rate(row.clicked_before, row.steps),
            "clicked_after": rate(row.clicked_after, row.steps),
        }
        for row in chosen[: look.limit]
    ]


def _session_lengths(look: Look) -> list[Row]:
    found = _sessions(look)
    return [
        {"searches": label, "sessions": count, "share_of_sessions": rate(count, found.sessions)}
        for label, count in zip(_LENGTHS, found.by_searches, strict=True)
    ]


def session_headlines(found: Sessions) -> list[Headline]:
    """Return the headline numbers of sessions."""
    half, most = found.first_click_s or (None, None)
    return [
        Headline(
            "searches_per_session",
            "Searches per session",
            "ratio",
            mean(found.searches, found.sessions),
            "How often a visitor searched in one go. A session ends when the visitor has not "
            "searched for 30 minutes; a visitor is another one each day.",
            "searches of visitors / sessions",
        ),
        Headline(
            "sessions_clicked",
            "Sessions with a click",
            "share",
            share(found.sessions_clicked, found.sessions),
            "The share of sessions in which at least one result was followed.",
            "sessions with a click / sessions",
        ),
        Headline(
            "sessions_ending_unclicked",
            "Ending without a click",
            "share",
            share(found.last_unclicked, found.sessions),
            "The share of sessions whose last search was not clicked.",
            "sessions whose last search has no click / sessions",
        ),
        Headline(
            "refinement_rate",
            "Refined",
            "share",
            share(found.refined, found.searches),
            "The share of searches without a click that another query followed within 5 minutes.",
            "searches without a click and another query within 5 min / searches of visitors",
        ),
        Headline(
            "abandonment_rate",
            "Abandoned",
            "share",
            share(found.abandoned, found.searches_known_found),
            "The share of searches that found something and then nothing came: no click of any "
            "kind, no other query within 5 minutes, no answer.",
            "searches with hits given up / searches with hits",
        ),
        Headline(
            "answered_rate",
            "Answered without a click",
            "share",
            share(found.answered, found.searches_known_found),
            "The share of searches that found something and needed no click: the page showed an "
            "answer, or the visitor gave a score of 7 or more. They are not abandoned.",
            "searches with hits, no click, and an answer or a good score / searches with hits",
        ),
        Headline(
            "first_click_median",
            "Time to first click",
            "seconds",
            Measure(half, None, None, found.searches_timed, found.searches),
            "The median of the seconds from a search to its first click: half of the clicked "
            "searches took less. First clicks after more than an hour are left out.",
            "median over searches with a first click within an hour",
        ),
        Headline(
            "first_click_most",
            "Nine of ten first clicks",
            "seconds",
            Measure(most, None, None, found.searches_timed, found.searches),
            "Nine of ten clicked searches had their first click within this time.",
            "90 % quantile over searches with a first click within an hour",
        ),
    ]


def _facts(look: Look) -> dict[str, Any]:
    found = _sessions(look)
    return {
        "first_day": found.first_day,
        "last_day": found.last_day,
        "most_searches": SEARCHES_READ,
        "whole_period": found.first_day is None or found.first_day == look.asked.first_day,
        "visitors_known": found.sessions > 0,
        "sessions": found.sessions,
        "searches": found.searches,
        "searches_alone": found.searches_alone,
        "headlines": [each.facts() for each in session_headlines(found)],
    }


SESSION_PANELS: tuple[Panel, ...] = (
    Panel(
        name="chains",
        title="From one query to the next",
        about="Which query the same visitor searched right after another one in the same session.",
        columns=(
            Column("query", "Query", "query"),
            Column("next_query", "Next query", "query"),
            Column("change", "What changed", "text", minor=True),
            Column("steps", "Steps", "count"),
            Column("visitors", "Visitors", "count", minor=True),
            Column("clicked_before", "Clicked before", "rate", minor=True),
            Column("clicked_after", "Clicked after", "rate"),
        ),
        rows=_chains,
        brief=("query", "next_query", "steps", "clicked_after"),
        bar="steps",
        nothing="No step from one query to another was made by that many visitors.",
        thresholds=(VISITORS,),
    ),
    Panel(
        name="session-lengths",
        title="Searches in a session",
        about="Sessions by their number of searches.",
        columns=(
            Column("searches", "Searches", "text"),
            Column("sessions", "Sessions", "count"),
            Column("share_of_sessions", "Share", "rate"),
        ),
        rows=_session_lengths,
        bar="sessions",
        limited=False,
    ),
)

_NOTHING = Sessions(None, None, 0, 0, 0, (0, 0, 0, 0, 0), 0, 0, 0, 0, 0, 0, None, 0, ())
DEFINITIONS: tuple[Mapping[str, str], ...] = tuple(
    each.meaning() for each in session_headlines(_NOTHING)
)

SESSION_PAGE = Page(
    name="sessions",
    title="Sessions",
    about="What visitors did in one go: how often they searched, what they changed, when they gave up.",
    panels=tuple(panel.name for panel in SESSION_PANELS),
    template="sessions.html",
    facts=_facts,
)
