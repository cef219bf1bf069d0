"""What the report reads from a store, under every filter, against sums of the public views."""

from __future__ import annotations

import random
import re
import sqlite3
from base64 import urlsafe_b64encode
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from clickmw.catalog import PANELS
from clickmw.events import Click, Event, Feedback, Impression, Search, Shown
from clickmw.panels import Look
from clickmw.rollups import BILLION, bucket_of
from clickmw.stores import (
    _sqlite_drilldown_queries,
    _sqlite_facts,
    _sqlite_lists,
    _sqlite_panels,
    _sqlite_queries,
    _sqlite_reading,
    _sqlite_texts,
    postgresql,
)
from clickmw.stores._sqlite_panels import SQLiteReader
from clickmw.stores._sqlite_queries import FACETS, MATCHING, MATCHING_GIVEN, as_heard
from clickmw.stores.base import (
    POSITION_BUCKETS,
    DayRow,
    Erasure,
    FacetRow,
    Filter,
    ModuleRow,
    PositionRow,
    QueryRow,
    Reader,
    ResultRow,
    TrendRow,
    silent,
)
from clickmw.stores.postgresql import PostgreSQLReader
from clickmw.stores.sqlite import SQLiteStore

#: The tests run on each of these kinds of store.
STORES = ("sqlite", "postgresql")

DAY_MS = 86_400_000
MINUTE = 60_000
START_MS = int(datetime(2025, 6, 1, tzinfo=UTC).timestamp() * 1000)
DAYS = 6
ALL = Filter(first_day=date(2025, 6, 1), last_day=date(2025, 6, 7))
SHOWN = ("", "page", "repeat", "typing")
EVERYTHING = 1000
Row = dict[str, Any]

FILTERS = {
    "everything": {},
    "two-days": {"first_day": date(2025, 6, 3), "last_day": date(2025, 6, 4)},
    "site": {"site": "shop"},
    "module": {"module": "BOOS"},
    "device": {"device": "mobile"},
    "language": {"language": "de"},
    "no-language": {"language": ""},
    "profile": {"profile": "blog"},
    "source": {"source": "searchgov"},
    "trust": {"trust": "keyed"},
    "robots": {"robots": True},
    "text": {"text": "  TAX\t"},
    "text-with-wildcards": {"text": "100%_"},
    "text-nowhere": {"text": "zzz"},
    "text-of-most": {"text": "a"},
    "text-and-robots": {"text": "a", "robots": True},
    "text-and-module": {"text": "a", "module": "BWEB", "site": "docs"},
    "many": {"device": "mobile", "language": "en", "source": "page", "trust": "signed"},
    "a-word-never-heard": {"device": "fridge"},
    "a-site-never-heard": {"site": "nowhere"},
}


# -- a history -----------------------------------------------------------------------------------


def history(seed: int = 5, searches: int = 500) -> Iterator[Event]:
    """Yield searches, clicks, ratings and served ads of six days, also of robots, in any order."""
    chance = random.Random(seed)
    queries = ["tax", "tax form", "syntax", "java", "100%_ off", "100 percent", "tax [a*?]", ""]
    queries += [f"rare {number}" for number in range(40)]
    for _ in range(searches):
        now = START_MS + chance.randrange(DAYS * DAY_MS)
        search = Search(
            now,
            chance.choice(["docs", "shop"]),
            urlsafe_b64encode(now.to_bytes(6) + chance.randbytes(6)).decode(),
            queries[min(int(chance.expovariate(0.15)), len(queries) - 1)],
            tuple(_shown(chance, place) for place in range(1, chance.randrange(5))),
            chance.choice([None, 0, 3, 1234]),
            chance.choice([0, 0, 0, 10]),
            chance.choice(["aa" * 8, "bb" * 8, "cc" * 8, "dd" * 8, ""]),
            source=chance.choice(["page", "page", "searchgov"]),
            trust=chance.choice(["signed", "keyed"]),
            profile=chance.choice(["", "blog"]),
            **_of_anyone(chance),
        )
        yield search
        for _ in range(chance.choice([0, 0, 1, 1, 2])):
            yield _click(chance, search)
        if chance.random() < 0.2:
            yield _rating(chance, search)
    for _ in range(30):
        yield _alone(chance, chance.choice(queries))
        yield _ad(chance, chance.choice(queries))


def _of_anyone(chance: random.Random) -> dict[str, str]:
    robot = "curl" if chance.random() < 0.15 else ""
    return {
        "robot": robot,
        "drop_reason": "robot" if robot else chance.choice(["", "", "", "", "trust"]),
        "device": chance.choice(["desktop", "mobile"]),
        "language": chance.choice(["en", "de", ""]),
    }


def _shown(chance: random.Random, place: int) -> Shown:
    return Shown(
        f"https://example.org/{chance.randrange(25)}",
        place,
        chance.choice(["BWEB", "BOOS"]),
        "",
        "A title",
    )


def _click(chance: random.Random, search: Search) -> Click:
    words = _of_anyone(chance)
    del words["language"]
    return Click(
        search.received_ms + chance.choice([MINUTE, MINUTE, 5 * MINUTE, DAY_MS, DAY_MS + 1]),
        search.site,
        f"https://example.org/{chance.randrange(12)}",
        chance.choice([None, 0, 1, 1, 2, 7, 40, 150]),
        chance.choice(["BWEB", "BOOS", "OTHER", ""]),
        search.query_id,
        visitor=search.visitor,
        source=search.source,
        trust=chance.choice(["signed", "keyed"]),
        kind=chance.choice(["result", "result", "ad", "related"]),
        **words,
    )


def _alone(chance: random.Random, query: str) -> Click:
    now = START_MS + chance.randrange(DAYS * DAY_MS)
    url = chance.choice(["https://example.org/0", "https://example.org/alone"])
    return Click(
        now, "docs", url, 2, "BWEB", query=query or "click only", source="searchgov", trust="keyed"
    )


def _ad(chance: random.Random, query: str) -> Impression:
    now = START_MS + chance.randrange(DAYS * DAY_MS)
    shown = (Shown("https://example.org/ad", 1, "ADS"), Shown("https://example.org/0", 0, "ADS"))
    return Impression(now, "shop", "ad_impression", shown, query=query, source="vtex")


def _rating(chance: random.Random, search: Search) -> Feedback:
    query_id = chance.choice([search.query_id, ""])
    return Feedback(
        search.received_ms + MINUTE,
        search.site,
        chance.choice([None, *range(11)]),
        query_id=query_id,
        query="" if query_id else search.query,
        trust=chance.choice(["signed", "keyed"]),
        source=search.source,
        **_of_anyone(chance),
    )


@pytest.fixture(scope="module")
def filled(new_store: Callable[..., SQLiteStore], feed_of: Callable[..., Any]) -> Iterator[Any]:
    """A store with the history, taken in in random order."""
    with closing(new_store()) as store:
        events = list(history())
        random.Random(1).shuffle(events)
        feed = feed_of(store)
        while events:
            feed(*events[:97])
            del events[:97]
        assert store.check() == []
        yield store


@pytest.fixture(scope="module")
def reader(filled: SQLiteStore) -> Iterator[Reader]:
    with closing(filled.reader()) as made:
        yield made


# -- the second computation ----------------------------------------------------------------------


def _rows(store: Any, view: str) -> Iterator[Row]:
    with closing(store._read_only()) as connection:
        cursor = connection.execute(f"SELECT * FROM {view}")
        names = [column for column, *_ in cursor.description]
        yield from (dict(zip(names, row, strict=True)) for row in cursor.fetchall())


class Truth:
    """The public views, filtered in Python one row at a time."""

    def __init__(self, store: Any) -> None:
        self.views = {
            view: list(_rows(store, view))
            for view in ("searches", "clicks", "impressions", "feedback")
        }
        self._mark_clicked()

    def _mark_clicked(self) -> None:
        """Give every search the best position of its clicks of a day: 0 unknown, None no click."""
        owner = {
            row["query_id"]: row["first_query_id"] or row["query_id"]
            for row in self.views["searches"]
        }
        received = {row["query_id"]: row["received_ms"] for row in self.views["searches"]}
        places: dict[str, list[int]] = defaultdict(list)
        for click in self.views["clicks"]:
            page = click["query_id"]
            counted = click["counted"] and click["kind"] in ("result", "ad") and page in owner
            if counted and click["received_ms"] < received[page] + DAY_MS:
                places[owner[page]].append(click["position"] or 0)
        for search in self.views["searches"]:
            known = places.get(search["query_id"], []) if search["counted"] else []
            search["clicked"] = bool(known)
            search["best"] = min(filter(None, known), default=0)

    def searches(self, asked: Filter) -> list[Row]:
        return [
            row for row in self.views["searches"] if _counts(row, asked) and _is_asked(row, asked)
        ]

    def clicks(self, asked: Filter) -> list[Row]:
        return [
            row
            for row in self.views["clicks"]
            if _counts(row, asked)
            and row["kind"] in ("result", "ad")
            and _is_asked(row, asked)
            and asked.module in (None, row["module_code"])
        ]

    def ratings(self, asked: Filter) -> list[Row]:
        return [
            row
            for row in self.views["feedback"]
            if _counts(row, asked) and row["score"] is not None and _is_asked(row, asked)
        ]

    def impressions(self, asked: Filter) -> list[Row]:
        """Return those of people, by site and days and text alone."""
        return [
            row
            for row in self.views["impressions"]
            if row["counted"]
            and row["kind"] in ("result", "ad_impression")
            and _is_asked(
                row,
                Filter(
                    first_day=asked.first_day,
                    last_day=asked.last_day,
                    site=asked.site,
                    text=asked.text,
                ),
            )
        ]


def _counts(row: Row, asked: Filter) -> bool:
    return bool(row["drop_reason"] == "robot" if asked.robots else row["counted"])


def _is_asked(row: Row, asked: Filter) -> bool:
    if not asked.first_day.isoformat() <= row["day"] <= asked.last_day.isoformat():
        return False
    if asked.text is not None and asked.text.strip().lower() not in (row["query"] or "\0"):
        return False
    return asked.site in (None, row["site"]) and all(
        getattr(asked, name) in (None, row[name]) for name in FACETS if name in row
    )


def mean(values: list[int | None]) -> float | None:
    placed = [value for value in values if value]
    return sum(placed) / len(placed) if placed else None


def by(rows: list[Row], key: str) -> dict[Any, list[Row]]:
    found: dict[Any, list[Row]] = defaultdict(list)
    for row in rows:
        found[row[key]].append(row)
    return found


def search_sums(rows: list[Row]) -> tuple[int, int, int, int]:
    hits = [row["total_hits"] for row in rows]
    clicked = sum(row["clicked"] for row in rows)
    return len(rows), clicked, sum(h is not None for h in hits), sum(h == 0 for h in hits)


def is_plain(asked: Filter) -> bool:
    """Tell whether rollups by query know all that *asked* says."""
    return not asked.robots and all(getattr(asked, name) is None for name in ("module", *FACETS))


@pytest.fixture(scope="module")
def truth(filled: SQLiteStore) -> Truth:
    return Truth(filled)


@pytest.fixture(params=FILTERS.values(), ids=FILTERS.keys())
def asked(request: pytest.FixtureRequest) -> Filter:
    return replace(ALL, **request.param)


@pytest.fixture
def queries(truth: Truth, asked: Filter) -> dict[str, QueryRow]:
    """Every query that was searched or clicked."""
    searched = by(truth.searches(asked), "query")
    clicked = by([row for row in truth.clicks(asked) if row["query"] is not None], "query")
    shown = Counter(row["query"] for row in truth.impressions(asked))
    return {
        text: QueryRow(
            text,
            *search_sums(searched[text]),
            len(clicked[text]),
            shown[text] if is_plain(asked) else None,
            mean([row["position"] for row in clicked[text]]),
        )
        for text in {*searched, *clicked}
    }


# -- sums ----------------------------------------------------------------------------------------


def test_totals_are_those_of_the_views(reader: Reader, truth: Truth, asked: Filter) -> None:
    found = reader.totals(asked)
    searches, clicks, ratings = truth.searches(asked), truth.clicks(asked), truth.ratings(asked)
    hits = [row for row in searches if row["total_hits"] and not row["clicked"]]
    best = sum(BILLION // row["best"] for row in searches if row["best"]) / BILLION
    placed = [row["position"] for row in clicks if row["position"]]
    scores = [row["score"] for row in ratings]
    assert search_sums(searches) == (
        found.searches,
        found.searches_clicked,
        found.searches_known,
        found.searches_empty,
    )
    assert (found.searches_answered_unclicked, found.search_reciprocal_sum) == (len(hits), best)
    assert (found.clicks, found.clicks_positioned) == (len(clicks), len(placed))
    assert found.position_sum == sum(placed)
    assert found.click_reciprocal_sum == sum(BILLION // place for place in placed) / BILLION
    assert (found.ratings, found.score_sum) == (len(scores), sum(scores))
    assert found.score_square_sum == sum(score**2 for score in scores)
    assert (found.impressions is None) == (asked.text is not None)


def test_days_are_those_of_the_views(reader: Reader, truth: Truth, asked: Filter) -> None:
    searches, clicks = by(truth.searches(asked), "day"), by(truth.clicks(asked), "day")
    expected = []
    for number in range((asked.last_day - asked.first_day).days + 1):
        day = asked.first_day + timedelta(days=number)
        count, clicked, _known, empty = search_sums(searches[day.isoformat()])
        expected.append(DayRow(day, count, clicked, empty, len(clicks[day.isoformat()]), None))
    assert [replace(row, impressions=None) for row in reader.daily(asked)] == expected


@pytest.mark.parametrize("name", FACETS)
def test_the_values_of_a_facet_are_those_of_the_views(
    reader: Reader, truth: Truth, asked: Filter, name: str
) -> None:
    searches, clicks = by(truth.searches(asked), name), by(truth.clicks(asked), name)
    expected = [
        FacetRow(
            value,
            *search_sums(searches[value]),
            len(clicks[value]),
            None,
            mean([row["position"] for row in clicks[value]]),
        )
        for value in {*searches, *clicks}
    ]
    expected.sort(key=lambda row: (-row.searches, -row.clicks, row.value))
    found = [replace(row, impressions=None) for row in reader.facet(asked, name)]
    assert [row for row in found if row.searches or row.clicks] == expected


def test_positions_are_those_of_the_views(reader: Reader, truth: Truth, asked: Filter) -> None:
    places = Counter(
        (row["module_code"], POSITION_BUCKETS[bucket_of(row["position"])])
        for row in truth.clicks(asked)
        if row["position"]
    )
    found = [replace(row, impressions=None) for row in reader.positions(asked) if row.clicks]
    assert found == [
        PositionRow(module, *bucket, None, clicks)
        for (module, bucket), clicks in sorted(places.items())
    ]


def test_modules_are_those_of_the_views(reader: Reader, truth: Truth, asked: Filter) -> None:
    clicks = by(truth.clicks(asked), "module_code")
    found = [replace(row, impressions=None) for row in reader.modules(asked) if row.clicks]
    assert sorted(found, key=lambda row: row.module_code) == [
        ModuleRow(module, None, len(rows), mean([row["position"] for row in rows]))
        for module, rows in sorted(clicks.items())
    ]


# -- lists of queries ----------------------------------------------------------------------------


def assert_ranked(
    found: list[QueryRow], expected: list[QueryRow], key: Callable[[QueryRow], Any]
) -> None:
    """Compare a full list: the same rows, in the order of *key*, then of the alphabet."""
    assert found == sorted(expected, key=lambda row: (key(row), row.query))


def test_top_queries_are_those_of_the_views(
    reader: Reader, asked: Filter, queries: dict[str, QueryRow]
) -> None:
    found = reader.top_queries(asked, EVERYTHING)
    if is_plain(asked):
        assert_ranked(found, [*queries.values()], lambda row: (-row.searches, -row.clicks))
    else:
        assert_ranked(
            found,
            [*queries.values()],
            lambda row: (-row.searches, 0 if row.searches else -row.clicks),
        )


def test_queries_without_clicks_are_those_of_the_views(
    reader: Reader, asked: Filter, queries: dict[str, QueryRow]
) -> None:
    expected = [q for q in queries.values() if not q.clicks and q.searches > q.searches_empty]
    found = reader.queries_without_clicks(asked, EVERYTHING)
    assert_ranked(found, expected, lambda row: -row.searches)


def test_queries_without_results_are_those_of_the_views(
    reader: Reader, asked: Filter, queries: dict[str, QueryRow]
) -> None:
    expected = [query for query in queries.values() if query.searches_empty]
    found = reader.queries_without_results(asked, EVERYTHING)
    assert_ranked(found, expected, lambda row: -row.searches_empty)


@pytest.mark.parametrize("least", [1, 5])
def test_queries_with_few_clicks_are_those_of_the_views(
    reader: Reader, asked: Filter, queries: dict[str, QueryRow], least: int
) -> None:
    def found_something(row: QueryRow) -> int:
        return row.searches - row.searches_empty

    every = sum(found_something(row) for row in queries.values())
    clicked = sum(row.searches_clicked for row in queries.values())

    def missed(row: QueryRow) -> int:
        return found_something(row) * clicked - row.searches_clicked * every

    expected = [q for q in queries.values() if found_something(q) >= least and missed(q) > 0]
    found = reader.queries_with_few_clicks(asked, EVERYTHING, least=least)
    assert_ranked(found, expected, lambda row: (-missed(row), -found_something(row)))


@pytest.mark.parametrize(("least", "deeper"), [(1, 1), (2, 7)])
def test_queries_clicked_deep_are_those_of_the_views(
    reader: Reader,
    truth: Truth,
    asked: Filter,
    queries: dict[str, QueryRow],
    least: int,
    deeper: int,
) -> None:
    clicks = by(truth.clicks(asked), "query")
    placed = {text: sum(bool(row["position"]) for row in clicks[text]) for text in queries}
    expected = [
        row
        for row in queries.values()
        if placed[row.query] >= least
        and row.position_mean is not None
        and row.position_mean >= deeper
    ]
    found = reader.queries_clicked_deep(asked, EVERYTHING, least=least, deeper=deeper)
    assert_ranked(found, expected, lambda row: (-(row.position_mean or 0), -placed[row.query]))


@pytest.mark.parametrize(("least", "below"), [(1, 100), (5, 60)])
def test_queries_with_low_ctr_are_those_of_the_views(
    reader: Reader, asked: Filter, queries: dict[str, QueryRow], least: int, below: int
) -> None:
    expected = [
        row
        for row in queries.values()
        if row.searches + row.clicks >= least and 100 * row.clicks < below * row.searches
    ]
    found = reader.queries_with_low_ctr(asked, EVERYTHING, least=least, below=below)
    assert_ranked(found, expected, lambda row: (row.clicks / row.searches, -row.searches))


LISTS: dict[str, Callable[[Reader, Filter, int], list[QueryRow]]] = {
    "top": lambda reader, asked, limit: reader.top_queries(asked, limit),
    "unclicked": lambda reader, asked, limit: reader.queries_without_clicks(asked, limit),
    "empty": lambda reader, asked, limit: reader.queries_without_results(asked, limit),
    "few": lambda reader, asked, limit: reader.queries_with_few_clicks(asked, limit, least=1),
    "low": lambda reader, asked, limit: reader.queries_with_low_ctr(
        asked, limit, least=1, below=100
    ),
    "deep": lambda reader, asked, limit: reader.queries_clicked_deep(
        asked, limit, least=1, deeper=1
    ),
}
WEIGHTS: dict[str, Callable[[QueryRow], float]] = {
    "top": lambda row: row.searches,
    "unclicked": lambda row: row.searches,
    "empty": lambda row: row.searches_empty,
    "few": lambda row: row.searches,
    "low": lambda row: row.clicks / row.searches,
    "deep": lambda row: row.position_mean or 0,
}


@pytest.mark.parametrize("limit", [1, 3, 10])
@pytest.mark.parametrize("name", LISTS)
def test_a_short_list_has_the_largest_of_the_full_one(
    reader: Reader, asked: Filter, name: str, limit: int
) -> None:
    short = LISTS[name](reader, asked, limit)
    full = LISTS[name](reader, asked, EVERYTHING)
    assert len(short) == min(limit, len(full))
    assert all(row in full for row in short)
    if name != "few":  # its weight is no column
        weigh = WEIGHTS[name]
        assert [weigh(row) for row in short] == [weigh(row) for row in full[:limit]]


# -- lists of results ----------------------------------------------------------------------------


def test_top_results_are_those_of_the_views(reader: Reader, truth: Truth, asked: Filter) -> None:
    shown = Counter(row["url"] for row in truth.impressions(asked))
    is_kept = is_plain(asked) and asked.text is None
    expected = [
        ResultRow(
            url,
            rows[0]["title"],
            len(rows),
            shown[url] if is_kept else None,
            mean([row["position"] for row in rows]),
        )
        for url, rows in by(truth.clicks(asked), "url").items()
    ]
    expected.sort(key=lambda row: (-row.clicks, row.url))
    assert reader.top_results(asked, EVERYTHING) == expected


@pytest.mark.parametrize("least", [1, 20])
def test_results_without_clicks_are_those_of_the_views(
    reader: Reader, truth: Truth, asked: Filter, least: int
) -> None:
    asked = Filter(first_day=asked.first_day, last_day=asked.last_day, site=asked.site)
    shown = by(truth.impressions(asked), "url")
    clicked = {row["url"] for row in truth.clicks(asked)}
    rows = [
        ResultRow(url, "A title" if url != "https://example.org/ad" else None, 0, len(times), None)
        for url, times in shown.items()
        if url not in clicked and len(times) >= least
    ]
    rows.sort(key=lambda row: (-(row.impressions or 0), row.url))
    assert reader.results_without_clicks(asked, EVERYTHING, least=least) == rows


def test_of_no_sites_there_is_a_share_as_of_one(reader: Any) -> None:
    # Whether PostgreSQL asks for it at all is for its planner to say.
    assert reader._rows(f"SELECT {_sqlite_lists._share('9')}", {"site": -1}) == [(9,)]
    assert reader._rows(f"SELECT {_sqlite_lists._share('9')}", {"site": None}) == [(5,)]


@pytest.mark.parametrize("limit", [1, 3, 10])
def test_a_short_list_of_results_has_the_largest_of_the_full_one(
    reader: Reader, asked: Filter, limit: int
) -> None:
    short, full = reader.top_results(asked, limit), reader.top_results(asked, EVERYTHING)
    assert [row.clicks for row in short] == [row.clicks for row in full[:limit]]
    assert all(row in full for row in short)
    short, full = (reader.results_without_clicks(asked, n, least=1) for n in (limit, EVERYTHING))
    assert [row.impressions for row in short] == [row.impressions for row in full[:limit]]
    assert all(row in full for row in short)


# -- trends --------------------------------------------------------------------------------------


def growth(now: dict[str, list[Row]], before: dict[str, list[Row]], least: int) -> list[TrendRow]:
    rows = [TrendRow(text, None, len(now[text]), len(before[text])) for text in [*now]]
    rows = [row for row in rows if row.now >= least and row.now > row.before]
    return sorted(
        rows, key=lambda row: (-((row.now - row.before) ** 2) / (row.now + row.before), -row.now)
    )


def weights(rows: list[TrendRow]) -> list[tuple[int, int]]:
    return [(row.now, row.before) for row in rows]


@pytest.mark.parametrize("least", [1, 4])
def test_trends_are_those_of_the_views(
    reader: Reader, truth: Truth, asked: Filter, least: int
) -> None:
    now = replace(asked, first_day=date(2025, 6, 4), last_day=date(2025, 6, 6))
    before = replace(asked, first_day=date(2025, 6, 1), last_day=date(2025, 6, 3))
    expected = growth(by(truth.searches(now), "query"), by(truth.searches(before), "query"), least)
    found = reader.trending_queries(now, before, EVERYTHING, least=least)
    assert weights(found) == weights(expected)
    assert {row.text: row for row in found} == {row.text: row for row in expected}
    expected = growth(by(truth.clicks(now), "url"), by(truth.clicks(before), "url"), least)
    found = [
        replace(row, title=None)
        for row in reader.trending_results(now, before, EVERYTHING, least=least)
    ]
    assert weights(found) == weights(expected)
    assert {row.text: row for row in found} == {row.text: row for row in expected}


# -- how it is read ------------------------------------------------------------------------------


def all_answers(reader: Reader, asked: Filter, limit: int = 20, least: int = 1) -> list[Any]:
    before = replace(asked, first_day=date(2025, 6, 1), last_day=date(2025, 6, 2))
    return [
        reader.totals(asked),
        reader.daily(asked),
        *(reader.facet(asked, name) for name in FACETS),
        reader.positions(asked),
        reader.modules(asked),
        reader.top_queries(asked, limit),
        reader.top_results(asked, limit),
        reader.queries_without_clicks(asked, limit),
        reader.queries_without_results(asked, limit),
        reader.queries_with_few_clicks(asked, limit, least=least + 1),
        reader.queries_with_low_ctr(asked, limit, least=least + 1, below=90),
        reader.queries_clicked_deep(asked, limit, least=least, deeper=2),
        reader.trending_queries(asked, before, limit, least=least),
        reader.trending_results(asked, before, limit, least=least),
    ]


def few_and_many(reader: Reader, asked: Filter) -> list[Any]:
    """Return all answers of long lists, and of short ones that only take what is asked often."""
    return all_answers(reader, asked) + all_answers(reader, asked, limit=3, least=5)


@pytest.mark.sampled(7)
@pytest.mark.parametrize("short", [True, False], ids=["short", "long"])
@pytest.mark.parametrize("way", ["queries", "others", "days"])
def test_the_answer_is_the_same_whichever_way_was_thought_to_be_the_shorter_one(
    filled: SQLiteStore, asked: Filter, monkeypatch: pytest.MonkeyPatch, way: str, short: bool
) -> None:
    with closing(filled.reader()) as reader:
        found = few_and_many(reader, asked)
    monkeypatch.setattr(SQLiteReader, "_way", lambda *_: way)
    monkeypatch.setattr(SQLiteReader, "_has_few", lambda *_: not short)
    monkeypatch.setattr(_sqlite_lists, "SHORT", 1 if short else 10**9)
    monkeypatch.setattr(_sqlite_reading, "MOST_GIVEN", 0)
    if asked.text is None:
        monkeypatch.setattr(SQLiteReader, "_has_many", lambda *_: short)
    with closing(filled.reader()) as reader:
        assert few_and_many(reader, asked) == found


@pytest.mark.sampled(3)
def test_a_text_finds_the_same_queries_whether_their_ids_are_given_or_looked_for(
    filled: SQLiteStore, asked: Filter, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(filled.reader()) as reader:
        found = all_answers(reader, asked)
    monkeypatch.setattr(_sqlite_reading, "MOST_GIVEN", 0)
    with closing(filled.reader()) as reader:
        assert all_answers(reader, asked) == found


def test_a_text_that_most_queries_have_is_told_from_one_that_few_have(reader: Any) -> None:
    assert reader._way(replace(ALL, text="a")) == "others"
    assert reader._way(replace(ALL, text="java")) == "queries"


@pytest.mark.only_sqlite
def test_where_as_many_queries_have_a_text_as_have_it_not_all_searches_are_read(
    reader: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert reader._way(replace(ALL, text="rare")) != "days"
    monkeypatch.setattr(_sqlite_panels, "LOOK_UP", 1000)
    assert reader._way(replace(ALL, text="rare")) == "days"


def test_many_searches_of_few_queries_are_told_from_few(reader: Any) -> None:
    assert reader._has_many(replace(ALL, trust="signed"))
    assert not reader._has_many(replace(ALL, device="mobile", language="de", profile="blog"))


def test_few_days_are_told_from_many(reader: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert reader._has_few(replace(ALL, last_day=ALL.first_day - timedelta(days=1)))
    # In SQLite more searches than queries are not few.
    assert reader._has_few(ALL) == isinstance(reader, PostgreSQLReader)
    for module in (_sqlite_panels, postgresql):
        monkeypatch.setattr(module, "FEW", 0)
    assert not reader._has_few(replace(ALL, last_day=ALL.first_day - timedelta(days=1)))


@pytest.mark.parametrize("more", [{}, {"text": "tax"}, {"text": "a"}, {"site": "docs"}], ids=str)
def test_a_filter_that_leaves_nothing_out_is_answered_as_by_those_that_leave_some(
    new_store: Callable[..., SQLiteStore],
    feed_of: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    more: dict[str, Any],
) -> None:
    asked = replace(ALL, trust="signed", **more)
    with closing(new_store()) as store:
        feed_of(store)(*(_signed(event) for event in history(searches=200)))
        with closing(store.reader()) as reader:
            assert reader._leaves_nothing_out(asked, asked)
            found = all_answers(reader, asked, EVERYTHING)
            monkeypatch.setattr(SQLiteReader, "_leaves_nothing_out", lambda *_: False)
            others = all_answers(reader, asked, EVERYTHING)
    # Of as many searches, one list has those with more clicks first.
    assert [_rows_of(each) for each in found] == [_rows_of(each) for each in others]


def _rows_of(answer: Any) -> list[str]:
    return sorted(map(repr, answer if isinstance(answer, list) else [answer]))


def _signed(event: Any) -> Event:
    return event._replace(trust="signed") if hasattr(event, "trust") else event


def test_a_filter_that_leaves_something_out_is_told_from_one_that_does_not(reader: Any) -> None:
    for more in ({"trust": "signed"}, {"module": "BWEB"}, {"robots": True}):
        asked = replace(ALL, **more)
        assert not reader._leaves_nothing_out(asked, asked)


def test_where_raw_rows_are_pruned_a_text_counts_those_that_are_left(
    new_store: Callable[..., SQLiteStore], feed_of: Callable[..., Any]
) -> None:
    with closing(new_store()) as store:
        feed_of(store)(*history(seed=6, searches=60))
        with closing(store.reader()) as reader:
            days = {row.day: row.searches for row in reader.daily(replace(ALL, text="a"))}
        store.prune(START_MS + 3 * DAY_MS, limit=10_000)
        with closing(store.reader()) as reader:
            left = {row.day: row.searches for row in reader.daily(replace(ALL, text="a"))}
            last = replace(ALL, text="a", first_day=date(2025, 6, 6))
            assert reader._way(last) != "queries"  # type: ignore[attr-defined]
            assert sum(row.searches for row in reader.daily(last))
    assert left[date(2025, 6, 2)] == 0
    assert days[date(2025, 6, 2)] > 0
    assert {day: left[day] for day in left if day > date(2025, 6, 4)} == {
        day: days[day] for day in days if day > date(2025, 6, 4)
    }


def test_results_are_the_same_when_each_query_has_the_text(
    new_store: Callable[..., SQLiteStore],
    feed_of: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    events = [event for event in history(seed=8, searches=80) if isinstance(event, Search | Click)]
    asked = replace(ALL, text="tax")
    with closing(new_store()) as store:
        feed_of(store)(*(event._replace(query=f"tax {event.query}") for event in events))
        with closing(store.reader()) as reader:
            assert reader._has_all_clicks(asked)  # type: ignore[attr-defined]
            found = reader.top_results(asked, 10)
            monkeypatch.setattr(SQLiteReader, "_has_all_clicks", lambda *_: False)
            assert found == reader.top_results(asked, 10) != []
            assert not reader.top_results(replace(ALL, text="tax zzz"), 10)


def test_lists_of_one_reader_see_what_was_written_since(
    new_store: Callable[..., SQLiteStore], feed_of: Callable[..., Any]
) -> None:
    asked = replace(ALL, device="mobile")
    with closing(new_store()) as store:
        feed = feed_of(store)
        events = [event for event in history(seed=7) if isinstance(event, Search)]
        feed(*events[:200])
        with closing(store.reader()) as reader:
            before = reader.top_queries(asked, EVERYTHING)
            feed(*events[200:])
            after = reader.top_queries(asked, EVERYTHING)
    assert sum(row.searches for row in after) > sum(row.searches for row in before) > 0


def _texts(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """Yield the SQL in *value*, which may be a text, or a mapping or a tuple of such."""
    if isinstance(value, str) and re.match(r"\s*(--[^\n]*\n\s*)+(WITH|SELECT)", value):
        yield name, value
    named = value._asdict() if hasattr(value, "_asdict") else value
    named = dict(enumerate(named)) if isinstance(named, tuple) else named
    for key, part in named.items() if isinstance(named, Mapping) else ():
        yield from _texts(f"{name}-{key}", part)


def _statements() -> Iterator[tuple[str, str]]:
    for module in (
        _sqlite_queries,
        _sqlite_lists,
        _sqlite_facts,
        _sqlite_drilldown_queries,
        _sqlite_texts,
    ):
        subject = module.__name__.rpartition("_sqlite_")[2]
        for name, value in vars(module).items():
            if name.isupper() and not name.startswith("_"):
                yield from _texts(f"{subject}-{name.lower()}", value)


def as_given(sql: str) -> str:
    return sql.replace(MATCHING, MATCHING_GIVEN)


STATEMENTS = dict(_statements())
STATEMENTS |= {
    f"{name}-{how}": by(sql)
    for how, by in {"given": as_given, "heard": as_heard}.items()
    for name, sql in STATEMENTS.items()
    if by(sql) != sql
}
#: The live tail reads the last rows of each table, newest first, and stops.
TAILS = [name for name in STATEMENTS if name.startswith("queries-live")]
RAW = "search|click|impression|rating|answer|conversion|came_back"
NAMED = re.compile(rf"\b(?:FROM|JOIN)\s+({RAW})\b(?:\s+AS\s+(\w+))?")


def plan_of(path: Any, sql: str) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        connection.create_function("has_text", 1, bool, deterministic=True)
        asked = re.sub(r"[?:][a-z_]+|\?", "1", sql)
        return [row[3] for row in connection.execute("EXPLAIN QUERY PLAN " + asked)]


def scans(path: Any, sql: str) -> list[str]:
    """Return the steps of the plan that read a whole raw table, by its name or what *sql* calls it."""
    plan = plan_of(path, sql)
    assert plan
    names = {alias or table for table, alias in NAMED.findall(sql)}
    return [step for step in plan if step.startswith("SCAN") and step.split()[1] in names]


def test_the_statements_of_the_report_are_found() -> None:
    subjects = Counter(name.partition("-")[0] for name in STATEMENTS)
    assert subjects["queries"] > 15
    assert subjects["lists"] > 15
    assert subjects["facts"] > 20
    assert subjects["drilldown_queries"] > 5


@pytest.mark.only_sqlite
@pytest.mark.parametrize("name", [name for name in STATEMENTS if name not in TAILS])
def test_no_statement_of_the_report_reads_a_whole_raw_table(filled: SQLiteStore, name: str) -> None:
    assert scans(filled.path, STATEMENTS[name]) == []


@pytest.mark.only_sqlite
@pytest.mark.parametrize("name", TAILS)
def test_the_live_tail_stops_after_the_last_rows(filled: SQLiteStore, name: str) -> None:
    plan = plan_of(filled.path, STATEMENTS[name])
    assert sum(step.startswith("SCAN") for step in plan) == 1
    assert [step for step in plan if "TEMP B-TREE" in step] == []


def test_the_live_tail_has_a_statement_for_each_raw_table() -> None:
    assert len({STATEMENTS[name] for name in TAILS}) == len(_sqlite_queries.LIVE) == 6


@pytest.mark.only_sqlite
@pytest.mark.parametrize("name", PANELS)
def test_a_panel_runs_no_other_statements_than_those(reader: Any, name: str) -> None:
    """What stands in no constant would not be looked at above; these read dictionaries or one line."""
    known = {_words(sql) for sql in STATEMENTS.values()}
    panel, ran = PANELS[name], set()
    reader._connection.set_trace_callback(ran.add)
    for more in FILTERS.values():
        asked = replace(ALL, **more)
        subject = {"query": "tax", "url": "https://example.org/0"}.get(panel.needs, "")
        panel.rows(Look(reader, asked, 10, {}, ALL.last_day, asked, subject))
    reader._connection.set_trace_callback(None)
    others = {_words(sql) for sql in ran} - known
    assert [sql for sql in others if not re.fullmatch(DICTIONARIES, sql)] == []


DICTIONARIES = (
    r"SELECT (id|text) FROM (site|term|query) WHERE (id|handle|text) = #"
    r"|SELECT name, events FROM ledger"
    r"|SELECT count\(\*\) FROM click INDEXED BY click_unjoined .*"
    r"|-- One row: raw rows .* FROM meta WHERE key = #"
    r"|PRAGMA data_version"
    r"|SELECT id FROM query WHERE instr\(text, #\) > # LIMIT #"
)


def _words(sql: str) -> str:
    """Return *sql* with one blank between its words and # for what is bound."""
    bound = r"'(?:[^']|'')*'|:\w+|\?|\bNULL\b|-?\b\d+(\.\d+)?\b"
    return re.sub(r"\s+", " ", re.sub(bound, "#", sql)).strip()


@pytest.mark.only_sqlite
def test_a_scan_would_be_found(filled: SQLiteStore) -> None:
    assert scans(filled.path, "SELECT count(*) FROM click") != []
    assert scans(filled.path, "SELECT count(*) FROM search AS made WHERE made.clicked") != []
    assert scans(filled.path, "SELECT 1 FROM search WHERE site = :site AND day = :day") == []


# -- what is remembered of texts -------------------------------------------------------------------


def _heard(store: SQLiteStore, text: str) -> set[int]:
    """Return the ids of the queries that a new reader knows to have *text*."""
    with closing(store.reader()) as reader:
        marks = reader._queries_with(text).marks  # type: ignore[attr-defined]
        return {number for number, mark in enumerate(marks) if mark}


def _true(store: SQLiteStore, text: str) -> set[int]:
    with closing(store._read_only()) as connection:
        sql = "SELECT id FROM query WHERE instr(text, ?) > 0"
        return {number for (number,) in connection.execute(sql, (text,))}


def _searched(number: int, query: str) -> Search:
    now = START_MS + number * MINUTE
    page = urlsafe_b64encode(now.to_bytes(6) + number.to_bytes(6)).decode()
    return Search(now, "docs", page, query, visitor="aa" * 8)


@pytest.mark.only_sqlite
def test_what_was_found_for_a_text_is_completed_by_the_queries_that_are_new(
    new_store: Callable[..., SQLiteStore], feed_of: Callable[..., Any]
) -> None:
    with closing(new_store()) as store:
        feed = feed_of(store)
        feed(*(_searched(number, f"tax {number}") for number in range(20)))
        assert len(_heard(store, "tax 1")) == 11
        feed(*(_searched(number, f"tax {number}") for number in range(20, 120)))
        for text in ("tax 1", "tax", "9", "tax 11", "nothing", "0", "tax 1"):
            assert _heard(store, text) == _true(store, text)
        assert len(store._texts._heard) == _sqlite_texts.MOST_TEXTS


@pytest.mark.only_sqlite
def test_a_query_that_has_the_id_of_one_that_was_erased_is_not_taken_for_it(
    new_store: Callable[..., SQLiteStore], feed_of: Callable[..., Any]
) -> None:
    with closing(new_store()) as store:
        feed = feed_of(store)
        feed(_searched(1, "first"), _searched(2, "secret"))
        erased = _heard(store, "secret")
        store.erase(Erasure(query="secret"), silent)
        feed(_searched(3, "java"))
        assert _true(store, "java") == erased != set()
        assert _heard(store, "secret") == set()
        assert _heard(store, "java") == erased


@pytest.mark.only_sqlite
def test_another_database_at_the_same_place_has_other_queries(
    new_store: Callable[..., SQLiteStore], feed_of: Callable[..., Any]
) -> None:
    with closing(new_store()) as store:
        feed = feed_of(store)
        feed(_searched(1, "tax"))
        assert _heard(store, "tax") == {1}
        store.close()
        store.path.unlink()
        feed_of(store)(_searched(1, "java"))
        assert _heard(store, "tax") == set()


@pytest.mark.only_sqlite
def test_short_lists_are_looked_up_among_what_is_asked_often(
    filled: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_sqlite_lists, "SHORT", 1)
    monkeypatch.setattr(SQLiteReader, "_has_few", lambda *_: False)
    # What is never clicked is not asked often here.
    short = [sql for name, sql in _sqlite_lists.OF_OFTEN.items() if name != "unclicked"]
    often = {_words(sql) for sql in (*short, _sqlite_lists.TRENDING_OFTEN)}
    ran: set[str] = set()
    with closing(filled.reader()) as reader:
        reader._connection.set_trace_callback(ran.add)  # type: ignore[attr-defined]
        all_answers(reader, ALL, limit=3, least=5)
        reader._connection.set_trace_callback(None)  # type: ignore[attr-defined]
    assert often <= {_words(sql) for sql in ran}
