"""Rollups are the raw rows summed: random histories in random order against a second computation."""

from __future__ import annotations

import random
from base64 import urlsafe_b64encode
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from contextlib import closing
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from clickmw.events import Click, Event, Search, Shown, View, query_id_bytes
from clickmw.rollups import BILLION, Deltas, Dimensions, SearchMeasures, bucket_of
from clickmw.stores.base import POSITION_BUCKETS, Filter, Stored

#: The tests run on each of these kinds of store.
STORES = ("sqlite", "postgresql")

MINUTE = 60_000
DAY_MS = 86_400_000
WINDOW = 30 * MINUTE
#: Two hours before Berlin sets its clocks back: the day has 25 hours.
START_MS = int(datetime(2025, 10, 25, 22, tzinfo=UTC).timestamp() * 1000)
ZONES = {"berlin": "Europe/Berlin", "kathmandu": "Asia/Kathmandu", "default": "UTC"}
ALL_DAYS = Filter(first_day=date(2025, 10, 1), last_day=date(2025, 11, 30))


# -- a history -----------------------------------------------------------------------------------


class History:
    """Searches and clicks as they could happen, made from *seed*."""

    def __init__(self, seed: int, searches: int = 25) -> None:
        self.chance = random.Random(seed)
        self.events: list[Stored] = []
        for _ in range(searches):
            self._search()
        for _ in range(3):
            self._stray_click()

    def _add(self, event: Event) -> None:
        event_id = event.received_ms.to_bytes(6) + self.chance.randbytes(10)
        self.events.append(Stored(event_id, event))
        if self.chance.random() < 0.05:
            self.events.append(self._again(event) if isinstance(event, Click) else self.events[-1])

    def _again(self, click: Click) -> Stored:
        later = click._replace(received_ms=click.received_ms + self.chance.choice([0, 1, WINDOW]))
        return Stored(later.received_ms.to_bytes(6) + self.chance.randbytes(10), later)

    def _query_id(self, now: int) -> str:
        return urlsafe_b64encode(now.to_bytes(6) + self.chance.randbytes(6)).decode()

    def _search(self) -> None:
        chance = self.chance
        now = (
            START_MS + chance.choice([0, 3 * 60, 26 * 60]) * MINUTE + chance.randrange(45 * MINUTE)
        )
        now -= now % 10_000  # so that some meet
        shared = chance.random() < 0.15
        robot = "curl" if chance.random() < 0.1 and not shared else ""
        search = Search(
            now,
            chance.choice(list(ZONES)),
            self._query_id(now),
            chance.choice(["p", "py", "pyt", "python", "java", ""]),
            tuple(self._shown(place) for place in range(1, chance.randrange(6))),
            chance.choice([None, 0, 3, 1234]),
            chance.choice([0, 0, 0, 10]),
            "" if shared or chance.random() < 0.1 else chance.choice(["aa" * 8, "bb" * 8]),
            chance.choice(["desktop", "mobile"]),
            robot,
            "robot" if robot else chance.choice(["", "", "", "", "", "", "trust"]),
            chance.choice(["en", "de", ""]),
            shared=int(shared),
            prefetched=int(chance.random() < 0.2),
        )
        self._add(search)
        views = [self._view(search) for _ in range(chance.choice([0, 0, 1, 2]))]
        for _ in range(chance.choice([0, 0, 1, 2, 4])):
            self._click(search, chance.choice([None, *views]))

    def _view(self, page: Search) -> View:
        chance = self.chance
        now = page.received_ms + chance.choice([0, 10_000, 40 * MINUTE])
        robot = "curl" if chance.random() < 0.1 else ""
        visitor = page.visitor or chance.choice(["aa" * 8, "bb" * 8, ""])
        view_id = self._query_id(now)
        reason = "robot" if robot else ""
        view = View(now, page.site, page.query_id, view_id, visitor, "mobile", robot, reason)
        self._add(view)
        return view

    def _shown(self, place: int) -> Shown:
        url = f"https://example.org/{self.chance.randrange(8)}"
        return Shown(url, place * self.chance.choice([1, 40]), self.chance.choice(["BWEB", "BOOS"]))

    def _click(self, search: Search, view: View | None) -> None:
        chance = self.chance
        pause = chance.choice([0, MINUTE, WINDOW - 1, WINDOW, DAY_MS - 1, DAY_MS, DAY_MS + 1])
        robot = "curl" if chance.random() < 0.1 else ""
        visitor = view.visitor if view else search.visitor
        if search.shared and chance.random() < 0.3:
            visitor = "cc" * 8
        self._add(
            Click(
                search.received_ms + pause,
                search.site,
                f"https://example.org/{chance.randrange(3)}",
                chance.choice([None, 0, 1, 2, 40, 150]),
                chance.choice(["BWEB", "BOOS"]),
                search.query_id,
                visitor=visitor,
                device=search.device,
                robot=robot,
                drop_reason="robot" if robot else chance.choice(["", "", "", "", "external"]),
                kind=chance.choice(["result", "result", "result", "result", "related"]),
                view_id=view.view_id
                if view
                else self._query_id(7)
                if chance.random() < 0.1
                else "",
            )
        )

    def _stray_click(self) -> None:
        query_id = self._query_id(START_MS) if self.chance.random() < 0.5 else ""
        now = START_MS + self.chance.randrange(DAY_MS)
        self._add(Click(now, "berlin", "https://example.org/0", 1, "BWEB", query_id, query="stray"))


# -- the second computation ----------------------------------------------------------------------


class Truth:
    """Who counts in *events*, worked out from the rules as they are written, one event at a time."""

    def __init__(self, events: Iterable[Stored]) -> None:
        self.clicks = [s for s in sorted(set(events), key=_order) if isinstance(s.event, Click)]
        self.searches: dict[str, Stored] = {}
        for stored in sorted(set(events), key=_order):
            if isinstance(stored.event, Search):
                self.searches.setdefault(stored.event.query_id, stored)
        self.views = [s for s in sorted(set(events), key=_order) if isinstance(s.event, View)]
        for event_id, view in self.views:
            page = self.searches[view.query_id].event
            if page.shared:
                self.searches[view.view_id] = Stored(event_id, _viewed(page, view))
        self.search_reason: dict[str, str] = {}
        self.owner: dict[str, str] = {}
        self.click_reason: dict[bytes, str] = {}
        self._decide_searches()
        self._decide_clicks()

    def _decide_searches(self) -> None:
        followed = {c.event.query_id for c in self.clicks if c.event.drop_reason != "robot"}
        followed |= {view.query_id for _, view in self.views if not view.drop_reason}
        walks: dict[tuple[str, str], list[Search]] = defaultdict(list)
        for query_id, (_, search) in sorted(self.searches.items(), key=lambda row: _order(row[1])):
            unseen = search.prefetched and query_id not in followed
            reason = search.drop_reason or ("shared" if search.shared else "")
            reason = reason or ("prefetch" if unseen else "")
            self.search_reason[query_id] = reason
            if search.visitor and not reason:
                walks[search.site, search.visitor].append(search)
        for walk in walks.values():
            self._walk(walk)

    def _walk(self, walk: list[Search]) -> None:
        typed: list[tuple[Search, Search]] = []
        for index, search in enumerate(walk):
            following = walk[index + 1] if index + 1 < len(walk) else None
            if following and _finishes(search, following):
                self.search_reason[search.query_id] = "typing"
                typed.append((search, following))
                continue
            for earlier in walk[:index]:
                if (
                    self.search_reason[earlier.query_id] == ""
                    and earlier.query == search.query
                    and search.received_ms - earlier.received_ms < WINDOW
                ):
                    page = search.offset > 0 and earlier.offset == 0
                    self.search_reason[search.query_id] = "page" if page else "repeat"
                    self.owner[search.query_id] = earlier.query_id
        for search, following in reversed(typed):
            self.owner[search.query_id] = self.owner.get(following.query_id, following.query_id)

    def _decide_clicks(self) -> None:
        counted: dict[object, int] = {}
        for event_id, click in self.clicks:
            reason = click.drop_reason
            search = self.searches.get(click.query_id)
            known = click.visitor or click.view_id or not (search and search.event.shared)
            if not reason and click.query_id and known:
                view_id = self._view_of(click)
                key = (click.query_id, click.visitor, click.url, view_id, click.kind)
                if key in counted and click.received_ms - counted[key] < WINDOW:
                    reason = "duplicate"
                else:
                    counted[key] = click.received_ms
            self.click_reason[event_id] = reason

    def _view_of(self, click: Click) -> str:
        """Return the view a click belongs to: on a page of one's own there is none."""
        page = self.searches.get(click.query_id)
        return click.view_id if page is None or page.event.shared else ""

    def totals(self) -> dict[str, float]:
        """Return the report's sums over people."""
        clicks = [
            click
            for event_id, click in self.clicks
            if self.click_reason[event_id] == "" and click.kind == "result"
        ]
        counted = [q for q, reason in self.search_reason.items() if reason == ""]
        best = self._best_positions(clicks)
        hits = {query_id: self.searches[query_id].event.total_hits for query_id in counted}
        shown = [
            len(stored.event.impressions)
            for query_id, stored in self.searches.items()
            if self.search_reason[query_id] in ("", "page", "repeat", "typing")
        ]
        return {
            "searches": len(counted),
            "searches_clicked": sum(query_id in best for query_id in counted),
            "searches_known": sum(hits[query_id] is not None for query_id in counted),
            "searches_empty": sum(hits[query_id] == 0 for query_id in counted),
            "searches_answered_unclicked": sum(
                bool(hits[query_id]) and query_id not in best for query_id in counted
            ),
            "search_reciprocal_sum": sum(
                BILLION // best[query_id] for query_id in counted if best.get(query_id)
            )
            / BILLION,
            "clicks": len(clicks),
            "clicks_positioned": sum(bool(click.position) for click in clicks),
            "position_sum": sum(click.position or 0 for click in clicks),
            "impressions": sum(shown),
        }

    def _best_positions(self, clicks: list[Click]) -> dict[str, int | None]:
        best: dict[str, int | None] = {}
        for click in clicks:
            query_id = self._view_of(click) or click.query_id
            page = self.searches.get(query_id)
            if page is None or click.received_ms - page.event.received_ms >= DAY_MS:
                continue
            owner = self.owner.get(query_id, query_id)
            known = [place for place in (best.get(owner), click.position) if place]
            best[owner] = min(known, default=None)
        return best


def _order(stored: Stored) -> tuple[int, bytes]:
    return stored.event.received_ms, stored.event_id


def _viewed(page: Search, view: View) -> Search:
    return page._replace(
        received_ms=view.received_ms,
        query_id=view.view_id,
        visitor=view.visitor,
        robot=view.robot,
        drop_reason=view.drop_reason,
        shared=0,
        prefetched=0,
    )


def _finishes(search: Search, following: Search) -> bool:
    longer = following.query.startswith(search.query) and following.query != search.query
    soon = following.received_ms - search.received_ms <= 30_000
    return bool(search.query) and longer and soon and search.offset == 0


# -- the store against it ------------------------------------------------------------------------


def fill(store: Any, feed: Callable[..., Any], history: History) -> None:
    """Hand *history* over in random order, in batches of random size."""
    events = history.events[:]
    history.chance.shuffle(events)
    most = history.chance.choice([1, 3, 10, 1000])
    while events:
        size = history.chance.randint(1, most)
        feed(*events[:size])
        events = events[size:]


def rows(store: Any, sql: str) -> list[tuple[Any, ...]]:
    """Return what *sql* finds in the database of *store*."""
    with closing(store.reader()) as reader:
        return list(reader._rows(sql))


def compare(seed: int, new_store: Callable[..., Any], feed_of: Callable[..., Any]) -> None:
    history = History(seed)
    truth = Truth(history.events)
    with closing(new_store(site_zones=ZONES)) as store:
        fill(store, feed_of(store), history)
        assert store.check() == []
        with closing(store.reader()) as reader:
            totals = reader.totals(ALL_DAYS)
        clicks = rows(store, "SELECT event_id, drop_reason FROM clicks")
        searches = rows(store, "SELECT query_id, drop_reason, first_query_id FROM searches")
    assert {bytes.fromhex(i): reason or "" for i, reason in clicks} == truth.click_reason
    assert {i: (reason or "", first or "") for i, reason, first in searches} == {
        _hex(query_id): (reason, _hex(truth.owner.get(query_id, "")))
        for query_id, reason in truth.search_reason.items()
    }
    assert {name: getattr(totals, name) for name in truth.totals()} == truth.totals()


def _hex(query_id: str) -> str:
    return query_id_bytes(query_id).hex() if query_id else ""


@pytest.mark.sampled(8)
@pytest.mark.parametrize("seed", range(60))
def test_random_histories_count_as_the_rules_say(
    seed: int, new_store: Callable[..., Any], feed_of: Callable[..., Any]
) -> None:
    compare(seed, new_store, feed_of)


@pytest.mark.sampled(7)
@pytest.mark.parametrize("most", [1, 3])
@pytest.mark.parametrize("seed", range(100, 108))
def test_forgetful_dictionaries_count_the_same(
    seed: int,
    most: int,
    new_store: Callable[..., Any],
    feed_of: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("clickmw.stores._sqlite_dictionaries._MOST_CACHED", most)
    monkeypatch.setattr("clickmw.stores._sqlite_dictionaries._CHUNK", 2)
    compare(seed, new_store, feed_of)


@pytest.mark.long
def test_a_thousand_random_histories_count_as_the_rules_say(
    new_store: Callable[..., Any], feed_of: Callable[..., Any]
) -> None:
    for seed in range(1000, 2000):
        compare(seed, new_store, feed_of)


@pytest.mark.parametrize("seed", range(5))
def test_totals_are_the_sums_of_the_public_views(
    seed: int, new_store: Callable[..., Any], feed_of: Callable[..., Any]
) -> None:
    history = History(seed, searches=60)
    with closing(new_store(site_zones=ZONES)) as store:
        fill(store, feed_of(store), history)
        with closing(store.reader()) as reader:
            totals = reader.totals(ALL_DAYS)
            by_day = {row.day: row.clicks for row in reader.daily(ALL_DAYS) if row.clicks}
        counted = "SELECT count(*) FROM {} WHERE counted = 1"
        sums = [
            rows(store, counted.format(view))[0][0]
            for view in (
                "searches",
                "clicks WHERE kind = 'result' AND counted = 1 --",
                "impressions",
            )
        ]
        view_days = rows(
            store,
            "SELECT day, count(*) FROM clicks WHERE counted = 1 AND kind = 'result' GROUP BY day",
        )
    assert [totals.searches, totals.clicks, totals.impressions] == sums
    assert {day.isoformat(): clicks for day, clicks in by_day.items()} == dict(view_days)


def test_a_day_is_the_one_of_the_sites_own_calendar(
    new_store: Callable[..., Any], feed_of: Callable[..., Any]
) -> None:
    history = History(1, searches=60)
    with closing(new_store(site_zones=ZONES)) as store:
        fill(store, feed_of(store), history)
        found = rows(store, "SELECT site, day, received_ms FROM clicks")
    assert [day for _, day, _ in found] == [
        datetime.fromtimestamp(ms / 1000, ZoneInfo(ZONES[site])).date().isoformat()
        for site, _, ms in found
    ]
    assert len({day for _, day, _ in found}) > 2


@pytest.mark.parametrize(
    ("moment", "zone", "day"),
    [
        pytest.param("2025-06-15T18:14:59.999", "Asia/Kathmandu", "2025-06-15", id="kathmandu"),
        pytest.param("2025-06-15T18:15:00.000", "Asia/Kathmandu", "2025-06-16", id="kathmandu-0h"),
        pytest.param(
            "2025-10-25T21:59:59.999", "Europe/Berlin", "2025-10-25", id="before-25-hours"
        ),
        pytest.param("2025-10-25T22:00:00.000", "Europe/Berlin", "2025-10-26", id="first-of-25"),
        pytest.param("2025-10-26T22:59:59.999", "Europe/Berlin", "2025-10-26", id="last-of-25"),
        pytest.param("2025-10-26T23:00:00.000", "Europe/Berlin", "2025-10-27", id="after-25-hours"),
        pytest.param("2025-03-30T21:59:59.999", "Europe/Berlin", "2025-03-30", id="last-of-23"),
        pytest.param("2025-03-30T22:00:00.000", "Europe/Berlin", "2025-03-31", id="after-23-hours"),
    ],
)
def test_a_day_begins_at_the_sites_midnight(
    moment: str, zone: str, day: str, new_store: Callable[..., Any], feed_of: Callable[..., Any]
) -> None:
    received_ms = round(datetime.fromisoformat(moment + "+00:00").timestamp() * 1000)
    with closing(new_store(time_zone=zone)) as store:
        feed_of(store)(Click(received_ms, "default", "/a"))
        assert rows(store, "SELECT day FROM clicks") == [(day,)]


def test_a_stored_search_is_kept_once_however_often_it_arrives(
    new_store: Callable[..., Any], feed_of: Callable[..., Any]
) -> None:
    query_id = urlsafe_b64encode(START_MS.to_bytes(6) + b"abcdef").decode()
    search = Search(START_MS, "default", query_id, "a", (Shown("/a", 1, "BWEB"),))
    with closing(new_store()) as store:
        feed = feed_of(store)
        feed(search, search)
        feed(search)
        with closing(store.reader()) as reader:
            ledger = reader.ledger()
            impressions = reader.totals(ALL_DAYS).impressions
    assert (ledger["stored"], ledger["dropped.same_query_id"], impressions) == (1, 2, 1)


@pytest.mark.parametrize("search_first", [True, False], ids=["search-first", "clicks-first"])
def test_on_a_shared_page_nobody_without_a_name_is_a_duplicate(
    search_first: bool, new_store: Callable[..., Any], feed_of: Callable[..., Any]
) -> None:
    query_id = urlsafe_b64encode(START_MS.to_bytes(6) + b"abcdef").decode()
    search = Search(START_MS, "default", query_id, "a", shared=1)
    clicks = [Click(START_MS + n, "default", "/a", 1, "BWEB", query_id) for n in range(3)]
    view_id = urlsafe_b64encode(START_MS.to_bytes(6) + b"ghijkl").decode()
    clicks.append(clicks[0]._replace(view_id=view_id))
    with closing(new_store()) as store:
        feed = feed_of(store)
        for event in [search, *clicks] if search_first else [*clicks, search]:
            feed(event)
        assert rows(store, "SELECT sum(counted) FROM clicks") == [(4,)]
        with closing(store.reader()) as reader:
            assert reader.ledger().get("duplicates", 0) == 0
        assert store.check() == []


def test_a_view_of_a_page_that_nobody_shares_tells_no_clicks_apart(
    new_store: Callable[..., Any], feed_of: Callable[..., Any]
) -> None:
    query_id = urlsafe_b64encode(START_MS.to_bytes(6) + b"abcdef").decode()
    view_id = urlsafe_b64encode(START_MS.to_bytes(6) + b"ghijkl").decode()
    click = Click(START_MS, "default", "/a", 1, "BWEB", query_id, visitor="aa" * 8)
    with closing(new_store()) as store:
        feed = feed_of(store)
        feed(click)
        feed(click._replace(received_ms=START_MS + 1, view_id=view_id))
        feed(Search(START_MS, "default", query_id, "a", visitor="aa" * 8))
        assert rows(store, "SELECT sum(counted) FROM clicks") == [(1,)]
        assert store.check() == []


@pytest.mark.parametrize("reason", ["trust", "robot"])
def test_a_prefetched_search_that_is_looked_at_keeps_its_other_reason(
    reason: str, new_store: Callable[..., Any], feed_of: Callable[..., Any]
) -> None:
    query_id = urlsafe_b64encode(START_MS.to_bytes(6) + b"abcdef").decode()
    view_id = urlsafe_b64encode(START_MS.to_bytes(6) + b"ghijkl").decode()
    search = Search(START_MS, "default", query_id, "a", drop_reason=reason, prefetched=1)
    with closing(new_store()) as store:
        feed_of(store)(search, View(START_MS, "default", query_id, view_id))
        assert rows(store, "SELECT drop_reason FROM searches") == [(reason,)]


# -- the sums themselves -------------------------------------------------------------------------


@pytest.mark.parametrize("position", [1, 2, 20, 21, 30, 31, 50, 51, 100, 101, 100_000])
def test_a_position_stands_in_the_bucket_that_names_it(position: int) -> None:
    first, last = POSITION_BUCKETS[bucket_of(position)]
    assert first <= position <= (last or position)


AT = Dimensions(1, 20_000, 2, 3, 4, 5, 6, 0, 1_920_000)


@pytest.mark.parametrize("robot", [0, 1])
@pytest.mark.parametrize("seed", range(5))
def test_what_is_added_and_taken_back_leaves_nothing(seed: int, robot: int) -> None:
    chance = random.Random(seed)
    deltas = Deltas()
    at = AT._replace(robot=robot)
    steps = []
    for _ in range(20):
        measures = SearchMeasures(chance.choice([None, 0, 5]), chance.random() < 0.5, 3)
        shown = [(chance.randrange(5), chance.randrange(1, 200), chance.randrange(3))]
        position = chance.choice([None, 1, 150])
        steps += [
            lambda sign, m=measures: deltas.add_search(at, 7, m, sign),
            lambda sign, s=shown: deltas.add_impressions(at, 7, s, sign),
            lambda sign, p=position: deltas.add_click(at, 1, 7, 9, 5, 0, p, sign),
            lambda sign: deltas.add_excluded(1, 20_000, 2, 3, sign),
        ]
    for sign in (1, -1):
        chance.shuffle(steps)
        for step in steps:
            step(sign)
    sums = Counter(any(row) for table in deltas.tables.values() for row in table.values())
    assert not sums[True]


def test_reciprocal_ranks_are_whole_billionths() -> None:
    deltas = Deltas()
    deltas.add_click(AT, 0, None, 9, 5, 0, 3)
    assert deltas.tables["cube"][AT.cube(0)][9] == BILLION // 3
