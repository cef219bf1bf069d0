"""What is known of one query: its sums, and where its results were shown and clicked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import date
from typing import Any

import pytest

from clickmw.events import Click, Event, Impression, Search, Seen, Shown, View, new_query_id
from clickmw.stores.base import Explained, Filter

#: The tests run on each of these kinds of store.
STORES = ("sqlite", "postgresql")

NOW = 1_750_000_000_000
DAY_MS = 86_400_000
ALL_DAYS = {"first_day": date(2025, 6, 1), "last_day": date(2025, 6, 30)}
SHOWN = (Shown("/a", 1, "BWEB", title="A"), Shown("/b", 2, "BWEB"))
VISITOR = "aa" * 8


def search(number: int = 0, **changes: Any) -> Search:
    """Return one of many searches, a minute apart; each is of a visitor of its own."""
    now = NOW + number * 60_000
    found = Search(now, "default", new_query_id(now), "tax form", SHOWN, 5)
    return found._replace(visitor=f"{number:016x}", **changes)


def click(page: Search, url: str = "/a", position: int | None = 1, **changes: Any) -> Click:
    found = Click(page.received_ms + 1, page.site, url, position, "BWEB", page.query_id)
    return found._replace(**{"visitor": page.visitor, **changes})


@pytest.fixture
def ask(new_store: Callable[..., Any], feed_of: Callable[..., Any]) -> Iterator[Any]:
    """Ask what is known after some events."""
    with closing(new_store()) as store:

        def explain(
            *events: Event, query: str = "tax form", searches: int = 100, **asked: Any
        ) -> Explained:
            feed_of(store)(*events)
            with closing(store.reader()) as reader:
                found: Explained = reader.explain_query(
                    Filter(**{**ALL_DAYS, **asked}), query, searches=searches
                )
            return found

        yield explain
        assert store.check() == []


def places(found: Explained) -> list[tuple[Any, ...]]:
    return [
        (row.url, row.module_code, row.position, row.impressions, row.clicks)
        for row in found.places
    ]


def test_each_place_has_what_was_shown_and_clicked_there(ask: Any) -> None:
    pages = [search(number) for number in range(3)]
    found = ask(*pages, click(pages[0], "/b", 2), click(pages[1], "/b", 2), click(pages[2]))
    assert places(found) == [("/b", "BWEB", 2, 3, 2), ("/a", "BWEB", 1, 3, 1)]
    assert found.places[1].title == "A"
    assert (found.searches_read, found.row.searches, found.row.clicks) == (3, 3, 3)


@pytest.mark.parametrize("spelling", ["tax form", "  TAX\tForm ", "\uff54\uff41\uff58 form"])
def test_a_query_is_known_in_any_spelling(spelling: str, ask: Any) -> None:
    assert ask(search(), query=spelling).row.query == "tax form"


@pytest.mark.parametrize("query", ["never asked", ""])
def test_of_a_query_that_nobody_asked_nothing_is_known(query: str, ask: Any) -> None:
    assert ask(search(), query=query) == Explained(None, 0, [])


def test_outside_of_its_days_nothing_is_known(ask: Any) -> None:
    found = ask(search(), first_day=date(2025, 6, 16), last_day=date(2025, 6, 30))
    assert found == Explained(None, 0, [])


@pytest.mark.parametrize(
    ("asked", "expected"),
    [({}, {"/a": 2, "/b": 1}), ({"robots": True}, {"/a": 0, "/b": 0})],
    ids=["people", "robots"],
)
def test_each_place_has_how_often_it_was_really_seen(
    asked: dict[str, bool], expected: dict[str, int], ask: Any
) -> None:
    pages = [search(number) for number in range(12)]
    robot = search(20, robot="bot", drop_reason="robot")
    looks = [
        Seen(page.received_ms + 9, "default", page.query_id, "", places, page.visitor)
        for page, places in (
            (pages[0], (("BWEB", 1),)),
            (pages[1], (("BWEB", 1), ("BWEB", 2))),
            (pages[1], (("BWEB", 1),)),
            (pages[2], (("BOOS", 1), ("BWEB", 12))),
        )
    ]
    look = looks[0]._replace(query_id=robot.query_id, robot="bot", drop_reason="robot")
    found = ask(*pages, robot, *looks, look, **asked)
    assert {row.url: row.seen for row in found.places} == expected


def test_on_a_shared_page_a_place_is_seen_in_each_view(ask: Any) -> None:
    page = search()._replace(shared=1, visitor="")
    ids = [new_query_id(NOW + number) for number in range(2)]
    views = [View(NOW, "default", page.query_id, view_id, VISITOR) for view_id in ids]
    look = Seen(NOW + 9, "default", page.query_id, ids[0], (("BWEB", 2),), VISITOR)
    found = ask(page, *views, look)
    assert [(row.url, row.impressions, row.seen) for row in found.places] == [
        ("/a", 2, 0),
        ("/b", 2, 1),
    ]


def test_another_query_has_no_part(ask: Any) -> None:
    other = search(1, query="forms")
    assert places(ask(search(), other, click(other))) == [
        ("/a", "BWEB", 1, 1, 0),
        ("/b", "BWEB", 2, 1, 0),
    ]


def test_only_the_latest_pages_are_read(ask: Any) -> None:
    pages = [search(number) for number in range(5)]
    found = ask(*pages, click(pages[0]), click(pages[4], "/b", 2), searches=2)
    assert places(found) == [("/b", "BWEB", 2, 2, 1), ("/a", "BWEB", 1, 2, 0)]
    assert (found.searches_read, found.row.searches) == (2, 5)


def test_pages_that_are_no_searches_of_their_own_are_read_too(ask: Any) -> None:
    first, again = search(0), search(1)._replace(visitor=search(0).visitor, offset=10)
    found = ask(
        first, again._replace(impressions=(Shown("/k", 11, "BWEB"),)), click(again, "/k", 11)
    )
    assert ("/k", "BWEB", 11, 1, 1) in places(found)
    assert (found.searches_read, found.row.searches) == (2, 1)


def test_what_does_not_count_has_no_part(ask: Any) -> None:
    robot = search(1, robot="bot", drop_reason="robot")
    page = search()
    found = ask(
        robot,
        click(robot, robot="bot", drop_reason="robot"),
        search(2, prefetched=1),
        page,
        click(page, drop_reason="external"),
        click(page, kind="related"),
    )
    assert places(found) == [("/a", "BWEB", 1, 1, 0), ("/b", "BWEB", 2, 1, 0)]
    assert found.searches_read == 1


def test_robots_are_read_when_they_are_asked_for(ask: Any) -> None:
    robot = search(1, robot="bot", drop_reason="robot")
    found = ask(search(), robot, click(robot, robot="bot", drop_reason="robot"), robots=True)
    assert places(found) == [("/a", "BWEB", 1, 1, 1), ("/b", "BWEB", 2, 1, 0)]


def test_a_shared_page_counts_through_its_views(ask: Any) -> None:
    page = search()._replace(shared=1, visitor="")
    view_id = new_query_id(NOW + 5)
    view = View(NOW + 5, "default", page.query_id, view_id, VISITOR)
    seen = click(page, visitor=VISITOR, view_id=view_id)
    found = ask(page, view, seen, click(page, "/b", 2, visitor="bb" * 8))
    assert places(found) == [("/a", "BWEB", 1, 1, 1), ("/b", "BWEB", 2, 1, 1)]


def test_clicks_of_senders_that_know_no_searches_have_their_places(ask: Any) -> None:
    alone = Click(NOW, "default", "/a", 3, "BOOS", source="searchgov", query="tax form")
    found = ask(alone, alone._replace(position=None), alone._replace(query="forms"))
    assert places(found) == [("/a", "BOOS", 0, 0, 1), ("/a", "BOOS", 3, 0, 1)]
    assert (found.searches_read, found.row.searches, found.row.clicks) == (0, 0, 2)


def test_a_senders_click_stands_where_its_search_was_shown(ask: Any) -> None:
    told = search()._replace(source="searchstax", impressions=(Shown("", 1, "", "doc", "Doc"),))
    said = click(told, "", query_id="", query="tax form", doc_id="doc", source="searchstax")
    found = ask(told, said._replace(module_code=""))
    assert places(found) == [("doc", "", 1, 1, 1)]


def test_ads_count_in_the_sums(ask: Any) -> None:
    found = ask(Impression(NOW, "default", "ad_impression", SHOWN, "tax form", source="vtexads"))
    assert (found.row.impressions, found.places) == (2, [])


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        pytest.param({"module": "BWEB"}, 2, id="module"),
        pytest.param({"module": "OTHER"}, 0, id="another-module"),
        pytest.param({"site": "default"}, 2, id="site"),
        pytest.param({"site": "other"}, 0, id="another-site"),
        pytest.param({"device": "mobile"}, 2, id="device"),
        pytest.param({"device": "desktop"}, 0, id="another-device"),
        pytest.param({"language": "en"}, 2, id="language"),
        pytest.param({"language": "de"}, 0, id="another-language"),
        pytest.param({"source": "page"}, 2, id="source"),
        pytest.param({"source": "redirect"}, 0, id="another-source"),
        pytest.param({"trust": "keyed"}, 0, id="another-trust"),
        pytest.param({"profile": "x"}, 0, id="another-profile"),
    ],
)
def test_places_are_those_of_the_filter(asked: dict[str, str], shown: int, ask: Any) -> None:
    found = ask(search(device="mobile", language="en"), **asked)
    assert len(found.places) == shown


def test_of_two_sites_both_are_known_unless_one_is_named(ask: Any) -> None:
    found = ask(search(), search(1, site="other"))
    assert (found.row.searches, found.searches_read) == (2, 2)
