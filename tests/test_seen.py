"""What was really seen of a page, and how long a visitor stayed away: in any order of arrival."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import permutations
from typing import Any

import pytest

from clickmw.events import Click, Return, Search, Seen, Shown, View, new_query_id, query_id_bytes

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


def test_check_notices_a_time_that_nobody_said(
    new_store: Callable[..., Any], feed_of: Callable[..., Any]
) -> None:
    with closing(new_store()) as store:
        feed_of(store)(SEARCH, CLICK, BACK)
        with closing(sqlite3.connect(store.path)) as connection, connection:
            connection.execute("UPDATE click SET dwell_s = 7")
        assert store.check() == ["1 clicks are wrong about the return of their visitor"]


def test_returns_are_pruned_with_the_clicks_and_leave_their_times(feed: Any) -> None:
    feed(CLICK, later(CLICK, 100), later(BACK, 1), later(BACK, 101))
    assert feed.store.prune(NOW + 90 * MINUTE, limit=1) == 2
    feed(later(CLICK, 150))
    assert rows(feed, DWELLS) == [(42.5,), (None,)]
