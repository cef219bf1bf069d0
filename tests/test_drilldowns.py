"""One query, one result, sessions: random histories against a second computation over the public views."""

from __future__ import annotations

import random
from base64 import urlsafe_b64encode
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from statistics import median, quantiles
from types import SimpleNamespace as Row
from typing import Any

import pytest

from clickmw.events import (
    Answer,
    Click,
    Event,
    Feedback,
    Impression,
    Return,
    Search,
    Shown,
    View,
    new_query_id,
)
from clickmw.stores.base import (
    ChainRow,
    Dwell,
    Filter,
    NeighbourRow,
    PlaceRow,
    QueryDayRow,
    ResultDayRow,
    ResultQueryRow,
    Stored,
)

#: The tests run on each of these kinds of store.
STORES = ("sqlite", "postgresql")

SECOND = 1_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY_MS = 24 * HOUR
#: An hour before midnight, UTC; Berlin is two hours ahead.
START_MS = int(datetime(2025, 6, 15, 23, tzinfo=UTC).timestamp() * 1000)
ZONES = {"berlin": "Europe/Berlin", "default": "UTC"}
ALL_DAYS = Filter(first_day=date(2025, 6, 14), last_day=date(2025, 6, 19))
QUERIES = ["tax", "tax form", "tax forms", "map", "park map", ""]
URLS = ["https://example.org/a", "https://example.org/b", "/c", "doc-1"]


# -- a history -----------------------------------------------------------------------------------


class History:
    """Three nights of a few visitors, robots and senders, made from *seed*."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.events: list[Stored] = []
        for night in range(3):
            for _ in range(6):
                self._somebody(START_MS + night * DAY_MS + self.chance.randrange(2 * HOUR))
        for _ in range(6):
            self._sender(START_MS + self.chance.randrange(2 * DAY_MS))
        self.chance.shuffle(self.events)

    def _add(self, event: Event) -> None:
        event_id = event.received_ms.to_bytes(6) + self.chance.randbytes(10)
        self.events.append(Stored(event_id, event))

    def _somebody(self, now: int) -> None:
        chance = self.chance
        is_robot = chance.random() < 0.15
        traits = {
            "site": chance.choice(list(ZONES)),
            "visitor": chance.choice(["", "aa" * 8, *[chance.randbytes(8).hex()] * 5]),
            "device": chance.choice(["desktop", "mobile"]),
            "robot": "curl" if is_robot else "",
            "drop_reason": "robot" if is_robot else "",
        }
        for _ in range(chance.choice([1, 2, 4, 7])):
            said = {
                "language": chance.choice(["en", "en", "de"]),
                "profile": chance.choice(["", "x"]),
            }
            self._search(now, traits, said)
            now += chance.choice([0, 20 * SECOND, 5 * MINUTE, 6 * MINUTE, 30 * MINUTE, 31 * MINUTE])

    def _search(self, now: int, traits: dict[str, Any], said: dict[str, Any]) -> None:
        chance = self.chance
        query_id = urlsafe_b64encode(now.to_bytes(6) + chance.randbytes(6)).decode()
        shown = tuple(self._shown(place) for place in range(1, chance.choice([1, 3, 4])))
        page = Search(
            now,
            query_id=query_id,
            query=chance.choice(QUERIES),
            impressions=shown,
            total_hits=chance.choice([None, 0, 9, 9, 9]),
            offset=chance.choice([0, 0, 10]),
            **{**traits, **said, "drop_reason": traits["drop_reason"] or chance.choice([""] * 9 + ["trust"])},
        )  # fmt: skip
        self._add(page)
        for _ in range(chance.choice([0, 0, 1, 1, 2])):
            self._click(page, traits)
        about = {**traits, "query_id": query_id}
        if chance.random() < 0.15:
            late = now + chance.choice([SECOND, DAY_MS - 1, DAY_MS])
            self._add(Answer(late, question="who", answer="they", **about))
        if chance.random() < 0.15:
            self._add(Feedback(now + MINUTE, score=chance.choice([None, 3, 6, 7, 10]), **about))

    def _shown(self, place: int) -> Shown:
        url = self.chance.choice(URLS)
        named = {"url": "", "doc_id": url} if url == "doc-1" else {"url": url, "doc_id": ""}
        if self.chance.random() < 0.2:
            named["doc_id"] = "own"
        return Shown(position=place, module_code=self.chance.choice(["BWEB", "BOOS"]), **named)

    def _click(self, page: Search, traits: dict[str, Any]) -> None:
        chance = self.chance
        shown = self._shown(chance.choice([1, 2, 15]))
        wait = chance.choice(
            [0, 5 * SECOND, 29 * SECOND, MINUTE, HOUR, HOUR + 1, DAY_MS - 1, DAY_MS]
        )
        reason = traits["drop_reason"] or chance.choice([""] * 9 + ["external"])
        click = Click(
            page.received_ms + wait,
            url=shown.url,
            doc_id=shown.doc_id,
            position=chance.choice([None, 0, shown.position, shown.position]),
            module_code=shown.module_code,
            query_id=page.query_id,
            kind=chance.choice(["result"] * 5 + ["ad", "related", "source"]),
            **{**traits, "drop_reason": reason},
        )
        self._add(click)
        if chance.random() < 0.5:
            self._return(click)

    def _return(self, click: Click) -> None:
        wait_s = self.chance.choice([1, 9, 10, 29, 30, 300])
        place = {"url": click.url, "doc_id": click.doc_id, "position": click.position}
        who = {"site": click.site, "visitor": click.visitor, "query_id": click.query_id}
        self._add(
            Return(click.received_ms + wait_s * SECOND, dwell_s=float(wait_s), **place, **who)
        )

    def _sender(self, now: int) -> None:
        chance = self.chance
        about: dict[str, Any] = {
            "site": chance.choice(list(ZONES)),
            "query": chance.choice([*QUERIES, "only clicked"]),
            "source": "searchgov",
        }
        self._add(
            Click(now, url=chance.choice(URLS[:3]), position=2, module_code="BWEB", trust="keyed", **about)
        )  # fmt: skip
        self._add(
            Impression(now, kind="ad_impression", shown=(Shown(URLS[0], 1, "VIDS"),), **about)
        )


# -- the second computation ----------------------------------------------------------------------


class Truth:
    """What a store's public views add up to, worked out row by row."""

    def __init__(self, store: Any) -> None:
        self.searches = list(read(store, "searches"))
        self.clicks = list(read(store, "clicks"))
        self.shown = [
            s for s in read(store, "impressions") if s.kind in ("result", "ad_impression")
        ]
        self.said = [
            *read(store, "answers"),
            *(row for row in read(store, "feedback") if (row.score or 0) >= 7),
        ]
        self.pages = {search.query_id: search for search in self.searches}
        for click in self.clicks:
            click.is_counted_kind = click.kind in ("result", "ad")

    def owner(self, query_id: str | None) -> str | None:
        page = self.pages.get(query_id or "")
        return page and (page.first_query_id or page.query_id)

    def followed(self, search: Row, rows: Iterable[Row]) -> list[Row]:
        """Return what came within a day on the page of *search*, or on one that belongs to it."""
        return [
            row
            for row in rows
            if self.owner(row.query_id) == search.query_id
            and row.drop_reason == search.drop_reason
            and row.received_ms - self.pages[row.query_id].received_ms < DAY_MS
        ]

    def is_clicked(self, search: Row) -> bool:
        return bool(search.counted) and any(
            click.is_counted_kind for click in self.followed(search, self.clicks)
        )

    def searched(self, asked: Filter, query: str | None = None) -> list[Row]:
        rows = [s for s in self.searches if holds(asked, s) and query in (None, s.query)]
        return sorted(rows, key=lambda s: (s.received_ms, s.query_id))

    def clicked(self, asked: Filter) -> list[Row]:
        return [
            click
            for click in self.clicks
            if click.is_counted_kind
            and holds(asked, click)
            and asked.module in (None, click.module_code)
        ]

    # -- as the reader answers ---------------------------------------------------------------------

    def query_days(self, asked: Filter, query: str) -> list[QueryDayRow]:
        found = []
        for day in days_of(asked):
            searches = [s for s in self.searched(asked, query) if s.day == str(day)]
            clicks = [c for c in self.clicked(asked) if c.query == query and c.day == str(day)]
            shown = [s for s in self.shown if s.query == query and s.day == str(day) and s.counted]
            shown = [s for s in shown if asked.site in (None, s.site)]
            fits = asked.text is None or asked.text in query
            found.append(
                QueryDayRow(
                    day,
                    len(searches),
                    sum(map(self.is_clicked, searches)),
                    sum(s.total_hits is not None for s in searches),
                    sum(s.total_hits == 0 for s in searches),
                    len(clicks),
                    None if is_by_more(asked) else len(shown) * fits,
                    position_mean(clicks),
                )
            )
        return found

    def query_dwell(self, asked: Filter, query: str) -> Dwell:
        dwells = [click.dwell_s for click in self.clicked(asked) if click.query == query]
        known = [dwell_s for dwell_s in dwells if dwell_s is not None]
        return Dwell(
            len(known),
            len([s for s in known if s < 10]),
            len([s for s in known if s >= 30]),
            len(dwells) - len(known),
            median(known) if known else None,
        )

    def query_neighbours(self, asked: Filter, query: str) -> tuple[list[NeighbourRow], ...]:
        anything = Filter(first_day=date.min, last_day=date.max, robots=asked.robots)
        walks = defaultdict(list)
        for search in self.searched(anything):
            if search.visitor:
                walks[search.site, search.visitor].append(search)
        sides: tuple[list[Row], list[Row]] = ([], [])
        for walk in walks.values():
            for one, other in pairwise(walk):
                if one.query != other.query and other.received_ms - one.received_ms <= 5 * MINUTE:
                    if other.query == query and holds(asked, other):
                        sides[0].append(one)
                    if one.query == query and holds(asked, one):
                        sides[1].append(other)
        return tuple(self._neighbours(side) for side in sides)

    def _neighbours(self, found: list[Row]) -> list[NeighbourRow]:
        rows = []
        for query in {search.query for search in found}:
            same = [search for search in found if search.query == query]
            visitors = {(search.site, search.visitor) for search in same}
            rows.append(
                NeighbourRow(query, len(same), sum(map(self.is_clicked, same)), len(visitors))
            )
        return sorted(rows, key=lambda row: (-row.searches, -row.visitors, row.query))

    def result_days(self, asked: Filter, url: str) -> list[ResultDayRow]:
        found = []
        for day in days_of(asked):
            clicks = [c for c in self.clicked(asked) if name(c) == url and c.day == str(day)]
            shown = [s for s in self.shown if name(s) == url and s.day == str(day) and s.counted]
            shown = [s for s in shown if asked.site in (None, s.site)]
            unkept = is_by_more(asked) or asked.text is not None
            found.append(
                ResultDayRow(
                    day, len(clicks), None if unkept else len(shown), position_mean(clicks)
                )
            )
        return found

    def result_queries(self, asked: Filter, url: str) -> list[ResultQueryRow]:
        rows = []
        clicks = [click for click in self.clicked(asked) if name(click) == url]
        for query in {click.query for click in clicks}:
            same = [click for click in clicks if click.query == query]
            placed = [click for click in same if click.position]
            rows.append(ResultQueryRow(query, len(same), len(placed), position_mean(same)))
        return sorted(rows, key=lambda row: (-row.clicks, row.query is None, row.query or ""))

    def result_positions(self, asked: Filter, url: str) -> list[PlaceRow]:
        clicks = [click for click in self.clicked(asked) if name(click) == url]
        places = Counter((click.module_code, click.position or 0) for click in clicks)
        rows = [PlaceRow(url, None, *place, 0, count) for place, count in places.items()]
        return sorted(rows, key=lambda row: (-row.clicks, row.module_code, row.position))

    def sessions(self, asked: Filter) -> dict[str, Any]:
        """Return what the sessions of the days of *asked* add up to, all of them read."""
        everything = self.searched(without_text(asked))
        named = [search for search in everything if search.visitor]
        sessions = [s for s in sessions_of(named) if any(fits(asked, each) for each in s)]
        firsts, found = [], Counter[str]()
        steps: list[tuple[Row, Row]] = []
        for session in sessions:
            clicked = [self.is_clicked(search) for search in session]
            found["sessions_clicked"] += any(clicked)
            found["last_unclicked"] += not clicked[-1]
            found["searches"] += len(session)
            steps += [(a, b) for a, b in pairwise(session) if a.query != b.query]
            for index, search in enumerate(session):
                later = session[index + 1 :]
                refined = any(
                    other.query != search.query
                    and other.received_ms - search.received_ms <= 5 * MINUTE
                    for other in later
                )
                clicks = self.followed(search, self.clicks)
                answered = self.followed(search, self.said)
                found["refined"] += refined and not clicked[index]
                if search.total_hits:
                    found["searches_known_found"] += 1
                    found["abandoned"] += not clicks and not answered and not refined
                    found["answered"] += not clicks and bool(answered)
                times = [click.received_ms for click in clicks if click.is_counted_kind]
                if times and min(times) - search.received_ms <= HOUR:
                    firsts.append(max(min(times) - search.received_ms, 0) / 1000)
        lengths = [len(session) for session in sessions]
        known = (
            quantiles(sorted(firsts * 2 if len(firsts) == 1 else firsts), n=10, method="inclusive")
            if firsts
            else None
        )
        return {
            "sessions": len(sessions),
            "searches": found["searches"],
            "searches_alone": sum(not s.visitor and fits(asked, s) for s in everything),
            "by_searches": (*map(lengths.count, (1, 2, 3, 4)), sum(n >= 5 for n in lengths)),
            **{key: found[key] for key in ("sessions_clicked", "refined", "last_unclicked")},
            **{key: found[key] for key in ("searches_known_found", "abandoned", "answered")},
            "first_click_s": known and pytest.approx((known[4], known[8])),
            "searches_timed": len(firsts),
            "chains": self._chains(steps),
        }

    def _chains(self, steps: list[tuple[Row, Row]]) -> tuple[ChainRow, ...]:
        rows = []
        for pair in {(a.query, b.query) for a, b in steps}:
            same = [(a, b) for a, b in steps if (a.query, b.query) == pair]
            visitors = len({(a.site, a.visitor) for a, _ in same})
            before = sum(self.is_clicked(a) for a, _ in same)
            after = sum(self.is_clicked(b) for _, b in same)
            rows.append(ChainRow(*pair, len(same), visitors, before, after))
        rows.sort(key=lambda row: (-row.steps, -row.visitors, row.query, row.next_query))
        return tuple(rows)


def read(store: Any, view: str) -> Iterator[Row]:
    with closing(store.reader()) as reader:
        cursor = reader._connection.execute(f"SELECT * FROM {view}")
        names = [column[0] for column in cursor.description]
        yield from (Row(**dict(zip(names, row, strict=True))) for row in cursor)


def holds(asked: Filter, row: Row) -> bool:
    """Tell whether a search or a click is what was asked for; its module is looked at elsewhere."""
    facets = ("site", "device", "language", "profile", "source", "trust")
    return (
        all(getattr(asked, facet) in (None, getattr(row, facet) or "") for facet in facets)
        and (row.drop_reason == "robot" if asked.robots else bool(row.counted))
        and str(asked.first_day) <= row.day <= str(asked.last_day)
        and fits(asked, row)
    )


def fits(asked: Filter, row: Row) -> bool:
    return asked.text is None or (row.query is not None and asked.text in row.query)


def without_text(asked: Filter) -> Filter:
    return Filter(**{**fields(asked), "text": None})


def fields(asked: Filter) -> dict[str, Any]:
    return {name: getattr(asked, name) for name in Filter.__slots__}


def is_by_more(asked: Filter) -> bool:
    plain = ("first_day", "last_day", "site", "text")
    return any(value for name, value in fields(asked).items() if name not in plain)


def name(row: Row) -> str:
    return row.url or row.doc_id


def days_of(asked: Filter) -> list[date]:
    count = (asked.last_day - asked.first_day).days + 1
    return [asked.first_day + timedelta(days=number) for number in range(count)]


def position_mean(clicks: list[Row]) -> float | None:
    positions = [click.position for click in clicks if click.position]
    return sum(positions) / len(positions) if positions else None


def sessions_of(searches: list[Row]) -> list[list[Row]]:
    sessions: list[list[Row]] = []
    for search in sorted(searches, key=lambda s: (s.site, s.visitor, s.received_ms, s.query_id)):
        last = sessions[-1][-1] if sessions else None
        if (
            last
            and (last.site, last.visitor) == (search.site, search.visitor)
            and search.received_ms - last.received_ms <= 30 * MINUTE
        ):
            sessions[-1].append(search)
        else:
            sessions.append([search])
    return sessions


# -- the reader against it -----------------------------------------------------------------------

FILTERS = {
    "everything": {},
    "one-site": {"site": "berlin"},
    "one-day": {"first_day": date(2025, 6, 16), "last_day": date(2025, 6, 16)},
    "device": {"device": "mobile"},
    "language": {"language": "de"},
    "profile": {"profile": "x"},
    "source": {"source": "searchgov"},
    "trust": {"trust": "keyed"},
    "module": {"module": "BOOS"},
    "text": {"text": "form"},
    "robots": {"robots": True},
    "several": {"site": "default", "device": "desktop", "language": "en", "text": "tax"},
    "nowhere": {"site": "never", "device": "unheard of"},
}


@pytest.fixture(scope="module")
def stores(
    new_store: Callable[..., Any], feed_of: Callable[..., Any]
) -> Iterator[list[tuple[Any, Truth]]]:
    made = []
    for seed in range(6):
        store = new_store(site_zones=ZONES)
        feed_of(store)(*History(seed).events)
        made.append((store, Truth(store)))
    yield made
    for store, _ in made:
        assert store.check() == []
        store.close()


@pytest.fixture(params=FILTERS.values(), ids=FILTERS.keys())
def asked(request: pytest.FixtureRequest) -> Filter:
    return Filter(**{**fields(ALL_DAYS), **request.param})


Both = Iterable[tuple[Any, Truth]]


@pytest.fixture
def readers(stores: list[tuple[Any, Truth]]) -> Iterator[Both]:
    opened = [(store.reader(), truth) for store, truth in stores]
    yield opened
    for reader, _ in opened:
        reader.close()


def test_the_days_of_a_query_are_those_of_the_views(asked: Filter, readers: Both) -> None:
    for reader, truth in readers:
        for query in [*QUERIES, "only clicked", "never"]:
            assert reader.query_days(asked, query) == truth.query_days(asked, query)


def test_the_dwell_of_a_query_is_that_of_the_views(asked: Filter, readers: Both) -> None:
    for reader, truth in readers:
        for query in [*QUERIES, "only clicked", "never"]:
            told = reader.query_dwell(asked, query, clicks=1000)
            assert told == truth.query_dwell(asked, query)


def test_the_neighbours_of_a_query_are_those_of_the_views(asked: Filter, readers: Both) -> None:
    for reader, truth in readers:
        for query in [*QUERIES, "only clicked", "never"]:
            told = reader.query_neighbours(asked, query, searches=1000, limit=100)
            assert told == truth.query_neighbours(asked, query)


def test_the_days_of_a_result_are_those_of_the_views(asked: Filter, readers: Both) -> None:
    for reader, truth in readers:
        for url in [*URLS, "", "own", "/never"]:
            expected = truth.result_days(asked, url)
            assert reader.result_days(asked, url) == expected


def test_the_queries_of_a_result_are_those_of_the_views(asked: Filter, readers: Both) -> None:
    for reader, truth in readers:
        for url in [*URLS, "", "own", "/never"]:
            assert reader.result_queries(asked, url, 100) == truth.result_queries(asked, url)


def test_the_places_of_a_result_are_those_of_the_views(asked: Filter, readers: Both) -> None:
    for reader, truth in readers:
        for url in [*URLS, "", "own", "/never"]:
            assert reader.result_positions(asked, url) == truth.result_positions(asked, url)


def test_sessions_are_those_of_the_views(asked: Filter, readers: Both) -> None:
    for reader, truth in readers:
        told = reader.sessions(asked, searches=1000, limit=1000)
        expected = truth.sessions(asked)
        assert {name: getattr(told, name) for name in expected} == expected


# -- what no history says ------------------------------------------------------------------------

NOON = START_MS - 11 * HOUR
ANNA = "aa" * 8
JUNE = {"first_day": date(2025, 6, 1), "last_day": date(2025, 6, 30)}


@pytest.fixture
def feed(new_store: Callable[..., Any], feed_of: Callable[..., Any]) -> Iterator[Any]:
    with closing(new_store(site_zones=ZONES)) as store:
        yield feed_of(store)
        assert store.check() == []


@pytest.fixture
def ask(feed: Any) -> Iterator[Any]:
    """Ask the reader's method of that name about June."""

    def answer(method: str, *arguments: Any, **asked: Any) -> Any:
        named = {key: asked.pop(key) for key in ("searches", "limit", "clicks") if key in asked}
        with closing(feed.store.reader()) as reader:
            return getattr(reader, method)(Filter(**{**JUNE, **asked}), *arguments, **named)

    return answer


def search(now: int, query: str = "tax", **changes: Any) -> Search:
    page = Search(now, "default", new_query_id(now), query, (Shown("/a", 1, "BWEB"),), 5)
    return page._replace(**{"visitor": ANNA, **changes})


def click(page: Search, wait: int = SECOND, **changes: Any) -> Click:
    made = Click(page.received_ms + wait, page.site, "/a", 1, "BWEB", page.query_id)
    return made._replace(**{"visitor": page.visitor, **changes})


@pytest.mark.parametrize(
    ("searches", "first_day", "read"),
    [
        pytest.param(6, date(2025, 6, 1), 6, id="all-of-the-period"),
        pytest.param(5, date(2025, 6, 11), 5, id="the-days-that-fit"),
        pytest.param(4, date(2025, 6, 12), 3, id="a-day-that-is-cut-is-left-out"),
        pytest.param(1, date(2025, 6, 15), 2, id="one-day-at-least"),
    ],
)
def test_sessions_are_those_of_the_latest_whole_days(
    searches: int, first_day: date, read: int, feed: Any, ask: Any
) -> None:
    days = {0: 2, 3: 1, 4: 2, 9: 1}  # days before the fifteenth: searches
    feed(
        *(
            search(NOON - day * DAY_MS + number * HOUR, f"q{number}")
            for day, count in days.items()
            for number in range(count)
        )
    )
    found = ask("sessions", searches=searches, limit=9)
    assert (found.first_day, found.last_day) == (first_day, JUNE["last_day"])
    assert found.searches == read


def test_the_days_of_sessions_are_the_same_whatever_else_is_asked(feed: Any, ask: Any) -> None:
    feed(
        *(
            search(NOON - day * DAY_MS, device="mobile" if day == 2 else "desktop")
            for day in range(4)
        )
    )
    found = ask("sessions", searches=2, limit=9, device="mobile")
    assert (found.first_day, found.searches) == (date(2025, 6, 14), 0)


def test_without_searches_there_are_no_days_of_sessions(ask: Any) -> None:
    found = ask("sessions", searches=9, limit=9)
    assert (found.first_day, found.last_day, found.sessions) == (None, None, 0)
    assert (found.first_click_s, found.chains) == (None, ())


def test_a_session_goes_on_over_midnight(feed: Any, ask: Any) -> None:
    midnight = NOON + 12 * HOUR
    # In Berlin it is two o'clock, and the visitor's name the same as before.
    feed(*(search(midnight - 2 * HOUR + n * MINUTE, f"q{n}", site="berlin") for n in (-1, 1)))
    found = ask("sessions", searches=9, limit=9)
    assert (found.by_searches, len(found.chains)) == ((0, 1, 0, 0, 0), 1)
    before, after = ask("query_neighbours", "q1", searches=9, limit=9)
    assert ([row.query for row in before], after) == (["q-1"], [])


def test_on_two_sites_a_visitor_has_two_sessions(feed: Any, ask: Any) -> None:
    feed(search(NOON), search(NOON + MINUTE, "map", site="berlin"))
    found = ask("sessions", searches=9, limit=9)
    assert (found.sessions, found.refined, found.chains) == (2, 0, ())
    assert ask("query_neighbours", "tax", searches=9, limit=9) == ([], [])


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(Answer(NOON + 2 * SECOND, "default", "who", "they"), id="an-answer"),
        pytest.param(Feedback(NOON + 2 * SECOND, "default", 7), id="a-good-score"),
    ],
)
def test_on_a_shared_page_an_answer_is_for_the_visitor_who_got_it(
    said: Any, feed: Any, ask: Any
) -> None:
    page = search(NOON, shared=1, visitor="")
    views = [
        View(NOON + SECOND, "default", page.query_id, new_query_id(NOON), visitor)
        for visitor in (ANNA, "bb" * 8)
    ]
    feed(page, *views, said._replace(query_id=page.query_id, visitor=ANNA))
    found = ask("sessions", searches=9, limit=9)
    assert (found.searches, found.abandoned, found.answered) == (2, 1, 1)


def test_on_a_shared_page_a_click_is_that_of_its_view(feed: Any, ask: Any) -> None:
    page = search(NOON, shared=1, visitor="")
    ids = [new_query_id(NOON + n) for n in (0, 1)]
    feed(
        page,
        View(NOON, "default", page.query_id, ids[0], ANNA),
        View(NOON, "default", page.query_id, ids[1], "bb" * 8),
        click(page, 5 * SECOND, view_id=ids[1], visitor="bb" * 8),
    )
    found = ask("sessions", searches=9, limit=9)
    assert (found.sessions_clicked, found.abandoned) == (1, 1)
    assert (found.first_click_s, found.searches_timed) == ((5.0, 5.0), 1)


@pytest.mark.parametrize("kind", ["related", "source"])
def test_who_clicks_on_anything_has_not_given_up(kind: str, feed: Any, ask: Any) -> None:
    page = search(NOON)
    feed(page, click(page, kind=kind))
    found = ask("sessions", searches=9, limit=9)
    assert (found.sessions_clicked, found.abandoned, found.searches_timed) == (0, 0, 0)


def test_a_click_on_what_was_typed_halfway_is_a_first_click_at_once(feed: Any, ask: Any) -> None:
    half, whole = search(NOON, "ta"), search(NOON + 10 * SECOND, "tax")
    feed(half, click(half), whole)
    assert ask("sessions", searches=9, limit=9).first_click_s == (0.0, 0.0)


def test_of_chains_the_most_frequent_stay(feed: Any, ask: Any) -> None:
    for number, words in enumerate([("c", "d"), ("b", "c"), ("a", "b"), ("a", "b"), ("x", "y")]):
        for minute, word in enumerate(words):
            feed(search(NOON + minute * MINUTE, word, visitor=f"{number:016x}"))
    chains = ask("sessions", searches=99, limit=2).chains
    assert [(row.query, row.next_query, row.steps) for row in chains] == [
        ("a", "b", 2),
        ("b", "c", 1),
    ]


def test_only_the_latest_clicks_tell_the_dwell(feed: Any, ask: Any) -> None:
    for number, dwell_s in enumerate([5.0, 50.0, 500.0]):
        page = search(NOON + number * HOUR, visitor=f"{number:016x}")
        back = Return(page.received_ms + MINUTE, "default", page.query_id, "", "/a", "", 1)
        feed(page, click(page), back._replace(dwell_s=dwell_s, visitor=page.visitor))
    assert ask("query_dwell", "tax", clicks=2) == Dwell(2, 0, 2, 0, 275.0)


def test_only_the_latest_searches_have_neighbours(feed: Any, ask: Any) -> None:
    for number, word in enumerate(["map", "map", "permit"]):
        visitor = f"{number:016x}"
        now = NOON + number * HOUR
        feed(search(now, visitor=visitor), search(now + MINUTE, word, visitor=visitor))
    _, after = ask("query_neighbours", "tax", searches=2, limit=1)
    assert [(row.query, row.searches) for row in after] == [("map", 1)]


def test_neighbours_are_of_the_visitor_whatever_the_filter_chooses(feed: Any, ask: Any) -> None:
    feed(search(NOON, device="mobile"), search(NOON + MINUTE, "map", device="desktop"))
    _, after = ask("query_neighbours", "tax", searches=9, limit=9, device="mobile")
    assert [row.query for row in after] == ["map"]


@pytest.mark.parametrize("spelling", ["tax form", "  TAX\tForm ", "\uff54\uff41\uff58 form"])
def test_a_query_is_known_in_any_spelling(spelling: str, feed: Any, ask: Any) -> None:
    feed(search(NOON, "tax form"))
    assert sum(row.searches for row in ask("query_days", spelling)) == 1


@pytest.mark.parametrize(
    ("method", "limits"),
    [
        ("query_days", {}),
        ("query_dwell", {"clicks": 9}),
        ("query_neighbours", {"searches": 9, "limit": 9}),
    ],
)
def test_a_query_without_the_text_asked_for_has_no_part(
    method: str, limits: dict[str, int], feed: Any, ask: Any
) -> None:
    pages = [
        search(NOON + minute * MINUTE, query) for minute, query in enumerate(["a", "tax", "b"])
    ]
    feed(*pages, click(pages[1]))
    nobody = ask(method, "never", **limits)
    assert ask(method, "tax", text="map", **limits) == nobody
    assert ask(method, "tax", text="TAX ", **limits) == ask(method, "tax", **limits) != nobody


def test_a_result_has_its_title(feed: Any, ask: Any) -> None:
    page = search(NOON, impressions=(Shown("/a", 1, "BWEB", title="A form"),))
    feed(page, click(page))
    assert [row.title for row in ask("result_positions", "/a")] == ["A form"]
