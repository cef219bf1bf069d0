"""What the numbers of one query mean: findings in plain sentences, each with its evidence.

Pure functions of what the store knows. A rule speaks only above its floor of evidence, and only when
the whole 95 % interval is on its side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from clickmw.episodes import empty_episodes
from clickmw.evidence import (
    Evidence,
    Finding,
    is_above,
    is_below,
    parts_text,
    quoted,
    share_text,
    times_text,
)
from clickmw.expectation import Curves
from clickmw.rates import Rate, rate
from clickmw.skipping import skipped_first
from clickmw.spelling import letters_apart
from clickmw.stores.base import (
    DayRow,
    Dwell,
    NeighbourRow,
    PlaceRow,
    QueryDayRow,
    QueryRow,
    Totals,
)
from clickmw.wording import (
    format_count,
    format_day,
    format_days,
    format_percent,
)

#: Searches below which nothing is said of what people do after a search.
LEAST_SEARCHES = 20
#: Of the searches with a known number of hits: how many there must be, and which share finds nothing.
LEAST_KNOWN, MOSTLY_EMPTY = 10, 0.3
#: The next query: how often and by how many visitors, and after which share of the searches.
LEAST_STEPS, LEAST_VISITORS, FOLLOWED = 5, 3, 0.05
#: A search CTR is low below this part of that of all queries.
LOW_CTR = 0.75
#: Where nobody goes on: searches, part of the CTR of all queries, share with another query after,
#: share of pages on which the first result was seen.
LEAST_FOUND, NO_CLICKS, NO_REFINEMENTS, SEEN = 50, 0.5, 0.15, 0.5
#: Visits whose length is known, the share of short ones, and their share of all clicks.
LEAST_VISITS, MOSTLY_SHORT, SHORT_OF_ALL = 20, 0.5, 0.2
#: A burst: searches, days of the period, and how many times the share that the day has of the site.
LEAST_BURST, LEAST_DAYS, BURST_TIMES = 30, 7, 3


class Diagnosis(NamedTuple):
    """Findings, most important first; without any the sentence says why there are none."""

    findings: list[Finding]
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of one query.

    ``site`` and ``site_days`` are of all queries under the same filter; ``searches_followed`` is how
    many of its searches ``after`` was looked for; ``visitors_known`` whether one searched for
    something else before or after, so that visitors are told apart for sure; ``robot_pages`` how
    many of its pages robots asked for, as far as they were read.
    """

    sums: QueryRow
    days: Sequence[QueryDayRow]
    site: Totals
    site_days: Sequence[DayRow]
    places: Sequence[PlaceRow]
    curves: Curves
    dwell: Dwell
    after: Sequence[NeighbourRow]
    searches_followed: int
    visitors_known: bool
    query: str = ""
    robot_pages: int = 0

    @property
    def search_ctr(self) -> Rate:
        """Return the query's search CTR."""
        return rate(self.sums.searches_clicked, self.sums.searches)

    @property
    def site_ctr(self) -> float:
        """Return the search CTR of all queries, 0 where it is unknown."""
        return rate(self.site.searches_clicked, self.site.searches).value or 0.0

    @property
    def clicked_seldom(self) -> bool:
        """Return whether its search CTR is surely low."""
        high = self.search_ctr.high
        return high is not None and high < LOW_CTR * self.site_ctr


def diagnose(known: Known) -> Diagnosis:
    """Return what the numbers say, most important first."""
    findings = [found for rule in RULES if (found := rule(known)) is not None]
    return Diagnosis(findings, "" if findings else _nothing_found(known))


def _nothing_found(known: Known) -> str:
    if known.sums.searches < LEAST_SEARCHES:
        return (
            f"Not enough data. Searches in this period: {format_count(known.sums.searches)}; "
            f"most rules need {LEAST_SEARCHES} and more."
        )
    return (
        f"Nothing stands out: a search CTR of {share_text(known.search_ctr)}, "
        f"{format_percent(known.site_ctr)} for all queries."
    )


# --- the rules -----------------------------------------------------------------------------------


def find_burst(known: Known) -> Finding | None:
    """Most searches are of one day, and the site as a whole had no such day."""
    if known.sums.searches < LEAST_BURST or len(known.days) < LEAST_DAYS:
        return None
    day = max(known.days, key=lambda row: row.searches)
    own = rate(day.searches, sum(row.searches for row in known.days))
    of_site = {row.day: row.searches for row in known.site_days}
    others = rate(of_site.get(day.day, 0), sum(of_site.values()))
    if not is_above(own, 0.5) or (own.value or 0) < BURST_TIMES * (others.value or 0):
        return None
    return Finding(
        "burst",
        "Searched mostly on one day",
        f"{parts_text(own)} searches were on {format_day(day.day, year=True)}: {share_text(own)}. "
        f"Of all queries' searches {format_percent(others.value)} were on that day.",
        "Something that day sent people (or a program) here. Read what follows with that in mind.",
        (Evidence("Of its searches, on that day", own), Evidence("Of all searches", others)),
    )


def find_missing_content(known: Known) -> Finding | None:
    """Searches find nothing."""
    if known.sums.searches_known < LEAST_KNOWN:
        return None
    empty = rate(known.sums.searches_empty, known.sums.searches_known)
    if not is_above(empty, MOSTLY_EMPTY):
        return None
    return Finding(
        "missing_content",
        "It finds nothing",
        f"{parts_text(empty)} searches with known hits found nothing: {share_text(empty)}."
        f"{_when(known.days)}",
        "If people are right to look for it here, write the page, or lead these words to one.",
        (Evidence("Searches without results", empty),),
    )


def find_spelling(known: Known) -> Finding | None:
    """People correct one or two letters, and then click."""
    for row in _better_next(known):
        if letters_apart(known.query, row.query):
            return _next_query(
                known,
                row,
                "spelling",
                "Probably misspelt",
                "Have the search forgive this spelling, or suggest the other.",
            )
    return None


def find_wrong_top(known: Known) -> Finding | None:
    """The first result is passed over for another further down."""
    pair = skipped_first(known.places, known.curves)
    if pair is None:
        return None
    top, taken = pair
    return Finding(
        "wrong_top",
        "The wrong result is first",
        f"People skip position 1 and take {taken.position}: {times_text(taken.ratio)}.",
        f"Look whether {quoted(taken.name)} answers this better than {quoted(top.name)}.",
        (
            Evidence(f"{taken.place}, {quoted(taken.name)}", taken.ratio),
            Evidence(f"{top.place}, {quoted(top.name)}", top.ratio),
        ),
    )


def find_synonym_gap(known: Known) -> Finding | None:
    """People do not click, say it in other words, and then click."""
    if not known.clicked_seldom:
        return None
    for row in _better_next(known):
        if not letters_apart(known.query, row.query):
            return _next_query(
                known,
                row,
                "synonym_gap",
                "People call it something else",
                "Make both queries find the same: a synonym, or these words on the page.",
            )
    return None


def find_short_visits(known: Known) -> Finding | None:
    """Those who click are back at once."""
    dwell = known.dwell
    short, all_clicks = (
        rate(dwell.short, dwell.known),
        rate(dwell.short, dwell.known + dwell.unknown),
    )
    if dwell.known < LEAST_VISITS or not is_above(short, MOSTLY_SHORT):
        return None
    if (all_clicks.value or 0) < SHORT_OF_ALL:
        return None
    return Finding(
        "short_visits",
        "Visits are short",
        f"{parts_text(short)} visits to a result whose length is known were shorter than 10 seconds: "
        f"{share_text(short)}. Of {format_count(dwell.unknown)} clicks nobody came back.",
        "The results promise something that the pages do not hold: look at titles and snippets.",
        (Evidence("Shorter than 10 seconds", short), Evidence("Of all clicks", all_clicks)),
    )


def find_no_need(known: Known) -> Finding | None:
    """People see the results, follow none, and search for nothing else."""
    sums, seen = known.sums, _first_seen(known.places)
    if sums.searches_known - sums.searches_empty < LEAST_FOUND:
        return None
    followed = rate(sum(row.searches for row in known.after), known.searches_followed)
    if not is_below(known.search_ctr, NO_CLICKS * known.site_ctr) or not is_above(seen, SEEN):
        return None
    if not known.visitors_known or not is_below(followed, NO_REFINEMENTS):
        return None
    return Finding(
        "no_need",
        "People look and leave",
        f"{share_text(known.search_ctr)} of searches led to a click, "
        f"{format_percent(known.site_ctr)} of all queries' searches; the first result was seen on "
        f"{share_text(seen)} of the pages, and {share_text(followed)} searched for something else.",
        "Either the page of results answers by itself, or people give up. Clicks cannot tell which: "
        "look at the page, or ask with the feedback widget.",
        (
            Evidence("Searches with a click", known.search_ctr),
            Evidence("Pages on which the first result was seen", seen),
            Evidence("Searches followed by another query", followed),
        ),
    )


def find_robots(known: Known) -> Finding | None:
    """Robots ask for it more than people do."""
    people = known.sums.searches
    share = rate(known.robot_pages, known.robot_pages + people)
    if known.robot_pages < LEAST_BURST or not is_above(share, 0.5):
        return None
    return Finding(
        "robots",
        "Mostly asked by robots",
        f"Robots asked for its results {format_count(known.robot_pages)} times and more, people "
        f"searched it {format_count(people)} times.",
        "Robots are in none of the numbers here. A crawler that should not search may be told so "
        "in robots.txt.",
        (Evidence("Asked by robots", share),),
    )


#: Most important first: a burst colours all the rest, robots are in none of it.
RULES: tuple[Callable[[Known], Finding | None], ...] = (
    find_burst,
    find_missing_content,
    find_spelling,
    find_wrong_top,
    find_synonym_gap,
    find_short_visits,
    find_no_need,
    find_robots,
)


# --- what they look at ---------------------------------------------------------------------------


def _better_next(known: Known) -> Iterator[NeighbourRow]:
    """Yield the queries that people went on to and surely clicked more, the most frequent first."""
    high = known.search_ctr.high
    if high is None or known.sums.searches < LEAST_SEARCHES:
        return
    for row in sorted(known.after, key=lambda row: -row.searches):
        enough = row.searches >= LEAST_STEPS and row.visitors >= LEAST_VISITORS
        often = is_above(rate(row.searches, known.searches_followed), FOLLOWED)
        if enough and often and is_above(rate(row.searches_clicked, row.searches), high):
            yield row


def _next_query(known: Known, row: NeighbourRow, name: str, title: str, advice: str) -> Finding:
    followed = rate(row.searches, known.searches_followed)
    clicked = rate(row.searches_clicked, row.searches)
    return Finding(
        name,
        title,
        f"After {share_text(followed)} of searches people went on to {quoted(row.query)}, and "
        f"{share_text(clicked)} of those led to a click; here it is {share_text(known.search_ctr)}.",
        advice,
        (
            Evidence(f"Followed by {quoted(row.query)}", followed),
            Evidence("Clicked there", clicked),
            Evidence("Clicked here", known.search_ctr),
        ),
    )


def _first_seen(places: Iterable[PlaceRow]) -> Rate:
    """Return on which share of its pages the first result of the list most shown was seen."""
    first: dict[str, tuple[int, int]] = {}
    for row in places:
        if row.position == 1:
            seen, shown = first.get(row.module_code, (0, 0))
            first[row.module_code] = (seen + row.seen, shown + row.impressions)
    return rate(*max(first.values(), key=lambda pair: pair[1], default=(0, 0)))


def _when(days: Sequence[QueryDayRow]) -> str:
    episodes = empty_episodes(days)
    if not episodes:
        return ""
    last = episodes[-1]
    if last.over:
        when = format_days((last.first_day, last.last_day))
        return f" The last time was {when}; it finds something since."
    if len(episodes) == 1 and last.first_day == next(r.day for r in days if r.searches_known):
        return " It has been so for all of this period."
    return f" It has been so since {format_day(last.first_day, year=True)}."
