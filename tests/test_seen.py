"""What was really seen of a page, and how long a visitor stayed away: in any order of arrival."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import permutations
from random import Random
from typing import Any

import pytest

from clickmw.events import Click, Return, Search, Seen, Shown, View, new_query_id, query_id_bytes
from clickmw.stores.base import Stored

#: The tests run on each of these kinds of store.
STORES = ("sqlite", "postgresql")
pytestmark = pytest.mark.sampled(40)

NOW = 1_750_000_000_000
PAGE = new_query_id(NOW)
ANNA = "aa" * 8
SEEN = Seen(NOW + 1_500, "default", PAGE, "", (("BWEB", 1), ("BWEB", 2)), ANNA)
BACK = Return(NOW + 60_000, "default", PAGE, "", "/a", "", 1, "BWEB", 42.5, ANNA)


@pytest.fixture
def feed(new_store: Callable[..., Any], feed_of: Callable[..., Any]) -> Iterator[Any]:
    with closing(new_store()) as store:
        yield feed_of(store)
        assert store.check() == []


def rows(feed: Any, sql: str) -> list[tuple[Any, ...]]:
    with closing(feed.store.reader()) as reader:
        return list(reader._rows(sql))


@pytest.mark.parametrize("event", [SEEN, BACK], ids=lambda event: type(event).__name__)
def test_what_belongs_to_nothing_yet_is_in_the_ledger_as_stored(event: Any, feed: Any) -> None:
    feed(event, event._replace(robot="bot", drop_reason="robot"))
    with closing(feed.store.reader()) as reader:
        ledger = reader.ledger()
    assert (ledger["received"], ledger["stored"], ledger["robots"]) == (2, 2, 1)


# -- seen ----------------------------------------------------------------------------------------

SHOWN = (Shown("/a", 1, "BWEB"), Shown("/b", 2, "BWEB"), Shown("/top", 1, "BOOS"))
SEARCH = Search(NOW, "default", PAGE, "tax", SHOWN, 3, visitor=ANNA)
SHARED = SEARCH._replace(shared=1, visitor="")
VIEWS = [new_query_id(NOW + n) for n in (1_000, 2_000)]
LOOKS = [
    View(NOW + n, "default", PAGE, view, ANNA)
    for n, view in zip((1_000, 2_000), VIEWS, strict=True)
]
SEEN_AT = "SELECT url, seen_at FROM impressions ORDER BY url, query_id"


def test_what_was_seen_has_its_time(feed: Any) -> None:
    feed(SEARCH, SEEN)
    assert rows(feed, SEEN_AT) == [
        ("/a", "2025-06-15T15:06:41.500Z"),
        ("/b", "2025-06-15T15:06:41.500Z"),
        ("/top", None),
    ]


@pytest.mark.parametrize("size", [1, 2, 4])
@pytest.mark.parametrize("order", list(permutations(range(4))), ids=str)
def test_the_first_time_stays_in_any_order(order: tuple[int, ...], size: int, feed: Any) -> None:
    later = SEEN._replace(received_ms=NOW + 9_000, places=(("BWEB", 2), ("BOOS", 1)))
    early = SEEN._replace(received_ms=NOW + 1_000, places=(("BWEB", 2),))
    events = [[SEARCH, SEEN, later, early][number] for number in order]
    for batch in (events[start : start + size] for start in range(0, 4, size)):
        feed(*batch)
    seconds = [(url, moment[17:23]) for url, moment in rows(feed, SEEN_AT)]
    assert seconds == [("/a", "41.500"), ("/b", "41.000"), ("/top", "49.000")]
    assert rows(feed, "SELECT count(*) FROM waiting_view") == [(0,)]


@pytest.mark.parametrize("size", [1, 2, 5])
@pytest.mark.parametrize("order", list(permutations(range(5))), ids=str)
def test_on_a_shared_page_each_view_has_marks_of_its_own(
    order: tuple[int, ...], size: int, feed: Any
) -> None:
    seen = [SEEN._replace(view_id=VIEWS[0]), SEEN._replace(view_id=VIEWS[1], places=(("BOOS", 1),))]
    events = [[SHARED, *LOOKS, *seen][number] for number in order]
    for start in range(0, 5, size):
        feed(*events[start : start + size])
    sql = "SELECT url, query_id = '{}' FROM impressions WHERE seen_at IS NOT NULL ORDER BY url"
    first = query_id_bytes(VIEWS[0]).hex()
    assert rows(feed, sql.format(first)) == [("/a", 1), ("/b", 1), ("/top", 0)]


@pytest.mark.parametrize(
    ("page", "seen"),
    [
        pytest.param(SEARCH, SEEN._replace(robot="bot", drop_reason="robot"), id="robot"),
        pytest.param(SEARCH, SEEN._replace(drop_reason="trust"), id="left-out"),
        pytest.param(SEARCH, SEEN._replace(places=(("BWEB", 3), ("NEW", 1))), id="never-shown"),
        pytest.param(SHARED, SEEN, id="shared-and-nobodys-view"),
        pytest.param(SHARED, SEEN._replace(view_id=PAGE), id="no-view-of-the-page"),
    ],
)
def test_nothing_is_marked_when(page: Search, seen: Seen, feed: Any) -> None:
    feed(seen)
    feed(page)
    assert rows(feed, "SELECT DISTINCT seen_at FROM impressions") == [(None,)]
    assert rows(feed, "SELECT text FROM term WHERE text = 'NEW'") == []


def test_a_view_means_nothing_on_a_page_of_ones_own(feed: Any) -> None:
    feed(SEARCH, SEEN._replace(view_id=VIEWS[0]))
    assert rows(feed, "SELECT count(seen_at) FROM impressions") == [(2,)]


# -- coming back ---------------------------------------------------------------------------------

MINUTE = 60_000
HOUR = 60 * MINUTE
CLICK = Click(NOW + 10_000, "default", "/a", 1, "BWEB", PAGE, visitor=ANNA)
DWELLS = "SELECT dwell_s FROM clicks ORDER BY received_ms"


def later(event: Any, minutes: float, **changes: Any) -> Any:
    return event._replace(received_ms=round(NOW + minutes * MINUTE), **changes)


@pytest.mark.parametrize("size", [1, 2, 6])
@pytest.mark.parametrize("order", list(permutations(range(6)))[::7], ids=str)
def test_the_first_return_belongs_to_the_last_click_before_it_in_any_order(
    order: tuple[int, ...], size: int, feed: Any
) -> None:
    events = [
        SEARCH,
        later(CLICK, 1),
        later(CLICK, 3),  # a duplicate: the return belongs to the click that counts
        later(BACK, 4, dwell_s=50.0),
        later(BACK, 5, dwell_s=60.0),
        later(CLICK, 40),
    ]
    for start in range(0, 6, size):
        feed(*[events[number] for number in order[start : start + size]])
    assert rows(feed, DWELLS) == [(50.0,), (None,), (None,)]


@pytest.mark.parametrize(
    ("said", "kept"), [(-1.0, 0.0), (0.0, 0.0), (0.5, 0.5), (86_400.0, 86_400.0), (1e9, 86_400.0)]
)
def test_nobody_stays_longer_than_a_day(said: float, kept: float, feed: Any) -> None:
    feed(CLICK, BACK._replace(dwell_s=said))
    assert rows(feed, DWELLS) == [(kept,)]


def test_a_click_between_takes_the_return_over(feed: Any) -> None:
    feed(later(CLICK, 1), later(BACK, 50))
    assert rows(feed, DWELLS) == [(42.5,)]
    feed(later(CLICK, 45))
    assert rows(feed, DWELLS) == [(None,), (42.5,)]


def test_a_return_that_is_sent_again_says_nothing_of_a_later_click(feed: Any) -> None:
    again = {"client_id": new_query_id(NOW)}
    feed(later(CLICK, 1), later(BACK, 2, **again), later(CLICK, 40), later(BACK, 41, **again))
    assert rows(feed, DWELLS) == [(42.5,), (None,)]


@pytest.mark.parametrize(
    "changes",
    [
        {"query_id": VIEWS[0]},
        {"url": "/b"},
        {"position": 2},
        {"visitor": "bb" * 8},
        {"received_ms": CLICK.received_ms - 1},
        {"robot": "bot", "drop_reason": "robot"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_return_from_elsewhere_is_none_of_the_clicks(changes: dict[str, Any], feed: Any) -> None:
    feed(SEARCH, CLICK, BACK._replace(**changes))
    assert rows(feed, DWELLS) == [(None,)]


@pytest.mark.parametrize("order", list(permutations(range(5)))[::3], ids=str)
def test_on_a_shared_page_views_tell_returns_apart(order: tuple[int, ...], feed: Any) -> None:
    first, second = VIEWS
    events: list[Any] = [
        SHARED,
        later(CLICK, 1, view_id=first, visitor=""),
        later(CLICK, 2, view_id=second, visitor=""),
        later(BACK, 3, view_id=first, visitor=""),
        later(BACK, 4, visitor=""),  # nobody's
    ]
    for number in order:
        feed(events[number])
    assert rows(feed, DWELLS) == [(42.5,), (None,)]


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
def test_on_a_page_of_ones_own_views_mean_nothing(order: tuple[int, ...], feed: Any) -> None:
    events: list[Any] = [SEARCH, CLICK._replace(view_id=VIEWS[0]), BACK]
    for number in order:
        feed(events[number])
    assert rows(feed, DWELLS) == [(42.5,)]


# -- the results, served again -------------------------------------------------------------------

PAGES = [new_query_id(NOW + n) for n in range(10, 16)]


def again(minutes: float, number: int = 0, **changes: Any) -> Search:
    """Return the results of the same query, served to the same visitor once more."""
    return later(SEARCH, minutes, query_id=PAGES[number], **changes)


@pytest.mark.parametrize("size", [1, 3, 7])
@pytest.mark.parametrize("order", list(permutations(range(7)))[::503], ids=str)
def test_results_served_again_tell_the_dwell_of_the_last_click_before_in_any_order(
    order: tuple[int, ...], size: int, feed: Any
) -> None:
    events: list[Any] = [
        SEARCH,
        later(CLICK, 1),
        again(3),
        again(4, 1),  # nobody has left since
        later(CLICK, 5, query_id=PAGES[1], url="/b"),
        again(9, 2, offset=10),
        later(CLICK, 10),
    ]
    for start in range(0, 7, size):
        feed(*[events[number] for number in order[start : start + size]])
    assert rows(feed, DWELLS) == [(120.0,), (240.0,), (None,)]


@pytest.mark.parametrize("order", list(permutations(range(4))), ids=str)
def test_what_the_browser_says_is_the_better_evidence(order: tuple[int, ...], feed: Any) -> None:
    events: list[Any] = [SEARCH, later(CLICK, 1), again(3), later(BACK, 4)]
    for number in order:
        feed(events[number])
    assert rows(feed, DWELLS) == [(42.5,)]


@pytest.mark.parametrize(
    "events",
    [
        pytest.param([later(CLICK, 1), again(31)], id="searched-anew-after-half-an-hour"),
        pytest.param([later(CLICK, 3), again(3)], id="at-the-same-moment"),
        pytest.param([later(CLICK, 1), again(3, query="forms")], id="another-query"),
        pytest.param([later(CLICK, 1), again(3, site="other")], id="another-site"),
        pytest.param([later(CLICK, 1), again(3, visitor="bb" * 8)], id="to-another-visitor"),
        pytest.param([later(CLICK, 1, visitor="bb" * 8), again(3)], id="another-visitors-click"),
        pytest.param([later(CLICK, 1, kind="related"), again(3)], id="a-suggestion"),
        pytest.param([later(CLICK, 1, drop_reason="external"), again(3)], id="not-counted"),
        pytest.param([later(CLICK, 1), again(3, prefetched=1)], id="fetched-ahead"),
        pytest.param(
            [later(CLICK, 1), again(3, robot="bot", drop_reason="robot")], id="to-a-robot"
        ),
        pytest.param([later(CLICK, 1), again(1.2), again(1.4, 1, query="taxes")], id="typing"),
    ],
)
def test_it_is_no_return_when_the_results_are_served(events: list[Any], feed: Any) -> None:
    feed(SEARCH, *events)
    assert rows(feed, DWELLS)[0] == (None,)


def test_a_search_that_turns_out_to_be_typing_was_no_return(feed: Any) -> None:
    feed(SEARCH, later(CLICK, 1), again(2))
    assert rows(feed, DWELLS) == [(60.0,)]
    feed(again(2.2, 1, query="taxes"))
    assert rows(feed, DWELLS) == [(None,)]


class Coming:
    """A random hour of two visitors who search, click, come back, and say so or not."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)
        self.ids = [new_query_id(NOW - n) for n in range(3)]
        pages = [self._search() for _ in range(12)]
        clicks = [self._click(self.chance.choice(pages)) for _ in range(14)]
        returns = [
            self._return(self.chance.choice(clicks)) for _ in range(self.chance.choice([0, 4]))
        ]
        self.events = [
            Stored(event.received_ms.to_bytes(6) + self.chance.randbytes(10), event)
            for event in (*pages, *clicks, *returns)
        ]

    def _search(self) -> Search:
        chance = self.chance
        now = NOW + chance.randrange(60) * MINUTE + chance.choice([0, 0, 20_000])
        return SEARCH._replace(
            received_ms=now,
            query_id=urlsafe_b64encode(now.to_bytes(6) + chance.randbytes(6)).decode(),
            query=chance.choice(["tax", "tax", "tax", "taxes", "map"]),
            offset=chance.choice([0, 0, 10]),
            visitor=chance.choice([ANNA, ANNA, "bb" * 8]),
            client_id=chance.choice(["", "", *self.ids]),
        )

    def _click(self, page: Search) -> Click:
        chance = self.chance
        return CLICK._replace(
            received_ms=page.received_ms + chance.choice([0, 5_000, MINUTE, 7 * MINUTE, 26 * HOUR]),
            query_id=page.query_id,
            visitor=chance.choice([page.visitor] * 6 + ["cc" * 8]),
            url=chance.choice(["/a", "/b"]),
            kind=chance.choice(["result", "result", "ad", "related"]),
            client_id=chance.choice(["", "", "", *self.ids]),
        )

    def _return(self, click: Click) -> Return:
        wait = self.chance.choice([3_000, 3 * MINUTE])
        dwell_s = float(self.chance.randrange(100))
        return BACK._replace(
            received_ms=click.received_ms + wait, query_id=click.query_id, url=click.url,
            visitor=click.visitor, dwell_s=dwell_s,
        )  # fmt: skip


CLICKED = "SELECT event_id, dwell_s FROM clicks ORDER BY event_id"


def dwells_by_the_rule(feed: Any) -> list[tuple[str, float | None]]:
    """Work out from the views how long visitors stayed, where no browser says anything."""
    sql = "SELECT query_id, coalesce(first_query_id, query_id), visitor, received_ms, drop_reason FROM searches"
    pages = {page[0]: page for page in rows(feed, sql)}
    first = {n: p[1] if p[4] in ("page", "repeat") else n for n, p in pages.items()}
    again = [(p[1], p[2], p[3]) for p in pages.values() if p[4] in ("page", "repeat")]
    clicks = [
        (now, event_id, first[query_id], visitor)
        for now, event_id, query_id, visitor in rows(
            feed,
            "SELECT received_ms, event_id, query_id, visitor FROM clicks"
            " WHERE counted = 1 AND kind IN ('result', 'ad')",
        )
    ]
    found: dict[str, float | None] = dict.fromkeys(row[0] for row in rows(feed, CLICKED))
    for search, visitor, served_ms in sorted(again, key=lambda each: each[2]):
        before = [c for c in clicks if c[2:] == (search, visitor) and c[0] < served_ms]
        if before and found[max(before)[1]] is None:
            found[max(before)[1]] = round((served_ms - max(before)[0]) / 1000, 1)
    return sorted(found.items())


@pytest.mark.parametrize("seed", range(40))
def test_random_returns_are_the_same_in_any_order_and_as_the_rule_says(
    seed: int, feed: Any, new_store: Callable[..., Any], feed_of: Callable[..., Any]
) -> None:
    coming = Coming(seed)
    feed(*sorted(coming.events))
    coming.chance.shuffle(coming.events)
    with closing(new_store()) as store:
        other = feed_of(store)
        while coming.events:
            size = coming.chance.randint(1, 8)
            other(*coming.events[:size])
            del coming.events[:size]
        assert store.check() == []
        assert rows(other, CLICKED) == rows(feed, CLICKED)
    if rows(feed, "SELECT count(*) FROM came_back") == [(0,)]:
        assert rows(feed, CLICKED) == dwells_by_the_rule(feed)


def test_check_notices_a_time_that_nobody_said(
    new_store: Callable[..., Any], feed_of: Callable[..., Any]
) -> None:
    with closing(new_store()) as store:
        feed_of(store)(SEARCH, CLICK, BACK)
        with store._transaction(False) as connection:
            connection.execute("UPDATE click SET dwell_s = 7")
        assert store.check() == ["1 clicks are wrong about the return of their visitor"]


def test_returns_are_pruned_with_the_clicks_and_leave_their_times(feed: Any) -> None:
    feed(CLICK, later(CLICK, 100), later(BACK, 1), later(BACK, 101))
    assert feed.store.prune(NOW + 90 * MINUTE, limit=1) == 2
    feed(later(CLICK, 150))
    assert rows(feed, DWELLS) == [(42.5,), (None,)]
