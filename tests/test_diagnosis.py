"""What is said of a query: each finding from numbers made for it, and silence on noise."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clickmw.diagnosis import RULES, Known, diagnose
from clickmw.episodes import Episode, empty_episodes
from clickmw.evidence import quoted
from clickmw.expectation import Curves
from clickmw.spelling import change_of, letters_apart
from clickmw.stores.base import (
    DayRow,
    Dwell,
    NeighbourRow,
    PlaceRow,
    PositionRow,
    QueryDayRow,
    QueryRow,
    Totals,
)

DAY = date(2026, 6, 1)
DAYS = 28
#: What a position earns on the site of these tests.
LADDER = [0.3, 0.15, 0.1, 0.08, 0.06, 0.05, 0.04, 0.03, 0.03, 0.02]
CURVES = Curves.of(
    PositionRow("BWEB", place, place, 10_000, round(10_000 * ctr))
    for place, ctr in enumerate(LADDER, 1)
)


def day_rows(counts: Sequence[int], *, empty: int = 0) -> list[QueryDayRow]:
    """Return days with so many searches each, of which *empty* find nothing."""
    return [
        QueryDayRow(DAY + timedelta(days=n), count, 0, count, min(empty, count), 0, 0, None)
        for n, count in enumerate(counts)
    ]


def query_row(searches: int = 200, clicked: int = 90, empty: int = 0, query: str = "tax") -> Any:
    return QueryRow(query, searches, clicked, searches, empty, clicked, None, 2.0)


def place_rows(clicks: dict[int, int], impressions: int = 200, seen: int = 0) -> list[PlaceRow]:
    """Return a list of ten results, clicked as *clicks* says and else as expected."""
    return [
        PlaceRow(
            f"https://example.org/{place}",
            f"Page {place}",
            "BWEB",
            place,
            impressions,
            clicks.get(place, round(impressions * ctr)),
            seen,
        )
        for place, ctr in enumerate(LADDER, 1)
    ]


#: A query like all others.
USUAL = Known(
    query="tax form",
    sums=query_row(),
    days=day_rows([7] * DAYS),
    site=Totals(searches=20_000, searches_clicked=9_000),
    site_days=[DayRow(DAY + timedelta(days=n), 700, 300, 0, 400, 7_000) for n in range(DAYS)],
    places=place_rows({}),
    curves=CURVES,
    dwell=Dwell(40, 10, 20, 60, 30.0),
    after=[NeighbourRow("jobs", 12, 6, 12), NeighbourRow("passport", 8, 4, 8)],
    searches_followed=200,
    visitors_known=True,
)
MISSPELT = NeighbourRow("tax forms", 60, 40, 55)
OTHER_WORDS = NeighbourRow("revenue document", 60, 40, 55)
SELDOM = query_row(clicked=20)

#: Finding → the query that has it, and what is said.
GOLDEN: dict[str, tuple[Known, str]] = {
    "burst": (
        replace(USUAL, days=day_rows([150, *[2] * (DAYS - 1)])),
        "150 of 204 searches were on 1 Jun 2026: 73.5% [67.1–79.1]. Of all queries' searches 3.6% "
        "were on that day.",
    ),
    "missing_content": (
        replace(USUAL, sums=query_row(50, 0, 48), days=day_rows([2] * 25, empty=2)),
        "48 of 50 searches with known hits found nothing: 96.0% [86.5–98.9]. It has been so for all "
        "of this period.",
    ),
    "spelling": (
        replace(USUAL, sums=SELDOM, after=[MISSPELT]),
        "After 30.0% [24.1–36.7] of searches people went on to “\u2068tax forms\u2069”, and 66.7% "
        "[54.1–77.3] of those led to a click; here it is 10.0% [6.6–14.9].",
    ),
    "wrong_top": (
        replace(USUAL, places=place_rows({1: 6, 4: 50})),
        "People skip position 1 and take 4: 3.1 times the expected clicks [2.3–4.1].",
    ),
    "synonym_gap": (
        replace(USUAL, sums=SELDOM, after=[OTHER_WORDS]),
        "After 30.0% [24.1–36.7] of searches people went on to “\u2068revenue document\u2069”, and "
        "66.7% [54.1–77.3] of those led to a click; here it is 10.0% [6.6–14.9].",
    ),
    "short_visits": (
        replace(USUAL, dwell=Dwell(40, 32, 2, 60, 4.0)),
        "32 of 40 visits to a result whose length is known were shorter than 10 seconds: 80.0% "
        "[65.2–89.5]. Of 60 clicks nobody came back.",
    ),
    "no_need": (
        replace(USUAL, sums=SELDOM, places=place_rows({}, seen=190), after=[]),
        "10.0% [6.6–14.9] of searches led to a click, 45.0% of all queries' searches; the first "
        "result was seen on 95.0% [91.0–97.3] of the pages, and 0.0% [0.0–1.9] searched for "
        "something else.",
    ),
    "robots": (
        replace(USUAL, sums=query_row(30, 14), robot_pages=500),
        "Robots asked for its results 500 times and more, people searched it 30 times.",
    ),
}


def names(known: Known) -> list[str]:
    return [found.name for found in diagnose(known).findings]


@pytest.mark.parametrize("name", GOLDEN)
def test_each_finding_is_said_with_its_numbers(name: str) -> None:
    known, sentence = GOLDEN[name]
    assert [(f.name, f.sentence) for f in diagnose(known).findings] == [(name, sentence)]


@pytest.mark.parametrize("name", GOLDEN)
def test_each_finding_has_evidence_with_an_interval_and_an_advice(name: str) -> None:
    (found,) = diagnose(GOLDEN[name][0]).findings
    assert found.evidence
    assert found.advice
    for each in found.evidence:
        assert each.measure.denominator > 0
        low, value, high = (getattr(each.measure, name) for name in ("low", "value", "high"))
        assert low <= value <= high


def test_every_rule_has_a_query_made_for_it() -> None:
    assert [rule.__name__.removeprefix("find_") for rule in RULES] == list(GOLDEN)


def test_of_a_usual_query_nothing_stands_out() -> None:
    found = diagnose(USUAL)
    assert found.findings == []
    assert found.sentence == (
        "Nothing stands out: a search CTR of 45.0% [38.3–51.9], 45.0% for all queries."
    )


def test_of_few_searches_nothing_is_said() -> None:
    few = replace(USUAL, sums=query_row(3, 0, 2), days=day_rows([3], empty=2), places=[], after=[])
    assert diagnose(few).sentence == (
        "Not enough data. Searches in this period: 3; most rules need 20 and more."
    )


def test_several_findings_come_most_important_first() -> None:
    both = replace(GOLDEN["missing_content"][0], after=[OTHER_WORDS], searches_followed=100)
    assert names(both) == ["missing_content", "synonym_gap"]


#: What takes a finding away again, by the rule it belongs to.
NOT_QUITE: dict[str, tuple[str, Callable[[Known], Known]]] = {
    "a day like it on the whole site": (
        "burst",
        lambda k: replace(
            k, site_days=[DayRow(DAY, 9_000, 0, 0, 0, 0), *(replace(r) for r in k.site_days[1:])]
        ),
    ),
    "a period of one day": ("burst", lambda k: replace(k, days=k.days[:1])),
    "few searches with known hits": (
        "missing_content",
        lambda k: replace(k, sums=QueryRow("tax", 50, 0, 9, 9, 0, None, None)),
    ),
    "one visitor who tries again and again": (
        "spelling",
        lambda k: replace(k, after=[replace(MISSPELT, visitors=2)]),
    ),
    "no better with the other spelling": (
        "spelling",
        lambda k: replace(k, after=[replace(MISSPELT, searches_clicked=6)]),
    ),
    "a first result as expected": ("wrong_top", lambda k: replace(k, places=place_rows({4: 50}))),
    "nothing taken instead": ("wrong_top", lambda k: replace(k, places=place_rows({1: 6}))),
    "a handful of clicks": (
        "wrong_top",
        lambda k: replace(k, places=place_rows({1: 0, 4: 9}, impressions=20)),
    ),
    "a query that is clicked as all are": (
        "synonym_gap",
        lambda k: replace(k, sums=query_row(clicked=40), site=Totals(1_000, 200)),
    ),
    "few known visits": ("short_visits", lambda k: replace(k, dwell=Dwell(19, 19, 0, 9, 2.0))),
    "few of all clicks": ("short_visits", lambda k: replace(k, dwell=Dwell(40, 32, 2, 900, 4.0))),
    "nothing known of what was seen": (
        "no_need",
        lambda k: replace(k, places=place_rows({}, seen=0)),
    ),
    "visitors who are not told apart": ("no_need", lambda k: replace(k, visitors_known=False)),
    "people who search on": (
        "no_need",
        lambda k: replace(k, after=[replace(OTHER_WORDS, searches_clicked=5)]),
    ),
    "more people than robots": ("robots", lambda k: replace(k, sums=query_row(600, 270))),
}


@pytest.mark.parametrize(("name", "change"), NOT_QUITE.values(), ids=NOT_QUITE)
def test_without_its_ground_a_finding_is_not_said(
    name: str, change: Callable[[Known], Known]
) -> None:
    assert name not in names(change(GOLDEN[name][0]))


def test_a_result_that_moved_is_expected_what_its_places_earn() -> None:
    places = place_rows({1: 6, 4: 50})
    moved = [replace(places[3], position=10, impressions=4_000, clicks=0), *places]
    assert names(replace(USUAL, places=moved)) == []


def test_a_time_without_results_that_is_over_is_said_to_be_over() -> None:
    days = [*day_rows([5] * 10, empty=5), *day_rows([1] * 12)[10:]]
    known = replace(USUAL, sums=query_row(52, 0, 50), days=days)
    assert (
        diagnose(known)
        .findings[0]
        .sentence.endswith("The last time was 1 Jun – 10 Jun 2026; it finds something since.")
    )


# -- noise ---------------------------------------------------------------------------------------


def by_chance(chance: random.Random, searches: int) -> Known:
    """Return a query of a site where all results of all queries are alike, read by chance alone."""

    def of(count: int, share: float) -> int:
        return sum(chance.random() < share for _ in range(count))

    counts = [0] * DAYS
    for _ in range(searches):
        counts[chance.randrange(DAYS)] += 1
    clicks = {place: of(searches, ctr) for place, ctr in enumerate(LADDER, 1)}
    after = [of(searches, 0.03) for _ in range(6)]
    words = ["tax forms", "tax from", "jobs", "passport", "map", "tax"]
    known, empty = of(sum(clicks.values()), 0.4), of(searches, 0.05)
    short = of(known, 0.3)
    return replace(
        USUAL,
        sums=QueryRow("tax form", searches, of(searches, 0.45), searches, empty, 0, None, None),
        days=day_rows(counts),
        places=place_rows(clicks, impressions=searches, seen=of(searches, 0.7)),
        after=[NeighbourRow(w, n, of(n, 0.45), n) for w, n in zip(words, after, strict=True)],
        searches_followed=searches,
        dwell=Dwell(known, short, known - short, 0, None),
        robot_pages=of(searches, 0.05),
    )


@pytest.mark.parametrize("searches", [10, 30, 100, 400])
def test_noise_has_no_meaning(searches: int) -> None:
    chance = random.Random(searches)
    said = [names(by_chance(chance, searches)) for _ in range(100)]
    assert sum(map(bool, said)) <= 5


# -- parts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "letters"),
    [
        ("pasport renewal", "passport renewal", 1),
        ("datetiem", "datetime", 2),
        ("tax", "tex", 1),
        ("tax", "taxis", 0),
        ("to", "go", 0),
        ("form 1040", "form 1041", 0),
        ("jobs", "jobs", 0),
        ("", "a", 0),
        ("library", "bravery", 0),
        ("caffè roma", "caffe roma", 1),
    ],
)
def test_a_slip_differs_by_a_letter_or_two(one: str, other: str, letters: int) -> None:
    assert letters_apart(one, other) == letters == letters_apart(other, one)


@given(st.text(max_size=12), st.text(max_size=12))
def test_letters_apart_are_at_most_two_and_the_same_both_ways(one: str, other: str) -> None:
    assert letters_apart(one, other) == letters_apart(other, one) <= 2


@pytest.mark.parametrize(
    ("one", "other", "change"),
    [
        ("datetiem", "datetime", "spelling"),
        ("tax", "tax form", "words added"),
        ("tax form", "tax", "words left out"),
        ("tax form", "tax return", "some words changed"),
        ("loo", "public toilet", "other words"),
    ],
)
def test_a_change_of_query_is_said_in_words(one: str, other: str, change: str) -> None:
    assert change_of(one, other) == change


def days_of(*pairs: tuple[int, int]) -> list[QueryDayRow]:
    """Return days by (searches with known hits, of these without results)."""
    return [
        QueryDayRow(DAY + timedelta(days=n), known, 0, known, empty, 0, 0, None)
        for n, (known, empty) in enumerate(pairs)
    ]


def test_a_time_without_results_goes_on_over_days_without_searches() -> None:
    found = empty_episodes(days_of((3, 3), (0, 0), (2, 1), (4, 0), (1, 1)))
    assert found == [
        Episode(DAY, DAY + timedelta(days=2), 4, 5, over=True),
        Episode(DAY + timedelta(days=4), DAY + timedelta(days=4), 1, 1, over=False),
    ]


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=30))
def test_no_search_without_results_is_outside_of_such_a_time(pairs: list[tuple[int, int]]) -> None:
    days = days_of(*((max(pair), min(pair)) for pair in pairs))
    found = empty_episodes(days)
    assert sum(each.searches_empty for each in found) == sum(row.searches_empty for row in days)
    assert all(a.last_day < b.first_day for a, b in pairwise(found))


@pytest.mark.parametrize(
    "text", ["\u202eevil", "a\u2069b", "x" * 5_000, "\U0001f600" * 5_000, "مرحبا"]
)
def test_a_quotation_is_short_and_cannot_turn_what_is_around_it(text: str) -> None:
    quotation = quoted(text)
    assert (quotation[:2], quotation[-2:]) == ("“\u2068", "\u2069”")
    assert len(quotation) <= 85
    assert not set(quotation[2:-2]) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
