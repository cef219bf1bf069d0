"""Events that a browser sends twice: the earlier one counts, whichever arrives first."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import permutations
from typing import Any

import pytest

from clickmw.events import (
    Answer,
    Click,
    Conversion,
    Feedback,
    Impression,
    Search,
    Shown,
    new_query_id,
)
from clickmw.stores.base import Stored

#: The tests run on each of these kinds of store.
STORES = ("sqlite", "postgresql")
pytestmark = pytest.mark.sampled(12)

NOW = 1_750_000_000_000
MINUTE = 60_000
HOUR = 60 * MINUTE
PAGE = new_query_id(NOW)
ANNA = "aa" * 8
ID = new_query_id(NOW)
CLICK = Click(NOW, "default", "/a", 1, "BWEB", PAGE, visitor=ANNA, source="beacon", client_id=ID)
SEARCH = Search(NOW, "default", PAGE, "tax", (Shown("/a", 1, "BWEB"),), visitor=ANNA)
SAID: dict[str, Any] = {
    "clicks": CLICK,
    "impressions": Impression(
        NOW, "default", "ad_impression", (Shown("/x", 1, "A"), Shown("/y", 2, "A")), client_id=ID
    ),
    "feedback": Feedback(NOW, "default", 3, client_id=ID),
    "answers": Answer(NOW, "default", "q", "a", client_id=ID),
    "conversions": Conversion(NOW, "default", "A-17", client_id=ID),
}


@pytest.fixture
def feed(new_store: Callable[..., Any], feed_of: Callable[..., Any]) -> Iterator[Any]:
    with closing(new_store()) as store:
        yield feed_of(store)
        assert store.check() == []


def rows(feed: Any, sql: str) -> list[tuple[Any, ...]]:
    with closing(feed.store.reader()) as reader:
        return list(reader._rows(sql))


def reasons(feed: Any, view: str = "clicks") -> list[str]:
    """Return why each event does not count, in order of time."""
    sql = f"SELECT coalesce(drop_reason, '') FROM {view} ORDER BY received_at"
    return [row[0] for row in rows(feed, sql)]


def later(event: Any, after_ms: int, **changes: Any) -> Any:
    return event._replace(received_ms=NOW + after_ms, **changes)


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
@pytest.mark.parametrize("view", SAID)
def test_the_earliest_counts_in_any_order(
    view: str, order: tuple[int, ...], size: int, feed: Any
) -> None:
    events = [later(SAID[view], number * 31 * MINUTE) for number in range(3)]
    for start in range(0, 3, size):
        feed(*[events[number] for number in order[start : start + size]])
    things = len(getattr(SAID[view], "shown", "1"))
    assert reasons(feed, view) == [""] * things + ["repeated"] * 2 * things
    with closing(feed.store.reader()) as reader:
        assert reader.ledger()["duplicates"] == 2


@pytest.mark.parametrize(
    ("after_ms", "reason"), [(48 * HOUR - 1, "repeated"), (48 * HOUR, "")], ids=["before", "after"]
)
def test_an_id_means_the_same_event_for_two_days(after_ms: int, reason: str, feed: Any) -> None:
    feed(CLICK, later(CLICK, after_ms))
    assert reasons(feed) == ["", reason]


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
def test_each_repeat_is_measured_from_the_one_before(order: tuple[int, ...], feed: Any) -> None:
    for number in order:
        feed(later(CLICK, number * 40 * HOUR))
    assert reasons(feed) == ["", "repeated", "repeated"]
    assert rows(feed, "SELECT received_ms, last_ms FROM sent_id") == [(NOW, NOW + 80 * HOUR)]


@pytest.mark.parametrize(
    "other",
    [
        CLICK._replace(client_id=new_query_id(NOW + 1), url="/b"),
        CLICK._replace(client_id="", url="/b"),
        CLICK._replace(site="other", url="/b"),
        SAID["feedback"],
    ],
    ids=["another-id", "no-id", "another-site", "another-kind"],
)
def test_what_is_no_repeat(other: Any, feed: Any) -> None:
    feed(CLICK, later(other, 1))
    assert {*reasons(feed), *reasons(feed, "feedback")} == {""}


def test_what_did_not_count_before_keeps_its_reason(feed: Any) -> None:
    feed(CLICK, later(CLICK, 1, robot="bot", drop_reason="robot"))
    assert reasons(feed) == ["", "robot"]


def test_a_repeat_makes_no_other_click_a_duplicate(feed: Any) -> None:
    other = CLICK._replace(client_id="")
    feed(later(CLICK, 10 * MINUTE, url="/b"), later(CLICK, 29 * MINUTE), later(other, 45 * MINUTE))
    assert reasons(feed) == ["", "repeated", ""]


def test_a_click_that_turns_out_a_repeat_gives_its_place_to_the_next(feed: Any) -> None:
    other = CLICK._replace(client_id="")
    feed(SEARCH, later(CLICK, 29 * MINUTE), later(other, 45 * MINUTE))
    assert reasons(feed) == ["", "duplicate"]
    feed(later(CLICK, 10 * MINUTE, url="/b"))
    assert reasons(feed) == ["", "repeated", ""]


def test_a_search_that_turns_out_a_repeat_leaves_the_walk(feed: Any) -> None:
    sent = SEARCH._replace(source="beacon", client_id=ID)
    searches = [
        later(sent, 0, query="forms"),
        later(sent, MINUTE, query_id=new_query_id(NOW + 1)),
        later(sent, 2 * MINUTE, query_id=new_query_id(NOW + 2), client_id=""),
    ]
    feed(*searches[1:])
    assert reasons(feed, "searches") == ["", "repeat"]
    feed(searches[0])
    assert reasons(feed, "searches") == ["", "repeated", ""]
    assert rows(feed, "SELECT count(first_query_id) FROM searches") == [(0,)]


def test_ids_are_forgotten_two_days_after_their_last_event(feed: Any) -> None:
    feed(CLICK)
    feed.store.prune(0, limit=1)
    assert rows(feed, "SELECT count(*) FROM sent_id") == [(0,)]


def test_check_notices_a_repeat_of_nothing(
    new_store: Callable[..., Any], feed_of: Callable[..., Any]
) -> None:
    with closing(new_store()) as store:
        feed_of(store)(CLICK, later(CLICK, 1))
        with store._transaction(False) as connection:
            connection.execute(
                "UPDATE click SET drop_reason = (SELECT id FROM term WHERE text = 'repeated')"
            )
        assert "1 events repeat nothing" in store.check()


# -- random histories ----------------------------------------------------------------------------


def history(seed: int) -> list[Stored]:
    chance = random.Random(seed)
    ids = [new_query_id(NOW + number) for number in range(3)]
    pages = [new_query_id(NOW - number) for number in range(1, 4)]
    moments = [0, 10_000, 20_000, MINUTE, 29 * MINUTE, 31 * MINUTE, 47 * HOUR, 49 * HOUR]
    found = []
    for number in range(14):
        now = {
            "received_ms": NOW + chance.choice(moments),
            "client_id": chance.choice([*ids, ""]),
            "visitor": ANNA,
            "source": "beacon",
        }
        event: Any = chance.choice(
            [
                CLICK._replace(
                    **now, query_id=chance.choice(pages), url=chance.choice(["/a", "/b"])
                ),
                SEARCH._replace(
                    **now,
                    query_id=chance.choice([*pages, new_query_id(NOW + number)]),
                    query=chance.choice(["t", "ta", "tax"]),
                ),
                SAID["conversions"]._replace(**now, dedupe_key="00" * 8),
                SAID["impressions"]._replace(**now, dedupe_key="11" * 8),
            ]
        )
        if isinstance(event, Search) and any(
            isinstance(other, Search) and other.query_id == event.query_id for _, other in found
        ):
            continue
        found.append(Stored(bytes(14) + chance.randbytes(2), event))
    return found


ALL = """
SELECT event_id, drop_reason, '' FROM clicks UNION ALL
SELECT query_id, drop_reason, first_query_id FROM searches UNION ALL
SELECT event_id, drop_reason, CAST(position AS TEXT) FROM impressions UNION ALL
SELECT event_id, drop_reason, '' FROM conversions ORDER BY 1, 3
"""


def stored(events: list[Stored], sizes: list[int], new_store: Any, feed_of: Any) -> list[Any]:
    """Return what is kept of *events*, taken in in this order."""
    with closing(new_store()) as store:
        feed = feed_of(store)
        for size in sizes:
            feed(*events[:size])
            events = events[size:]
        assert store.check() == []
        with closing(store.reader()) as reader:
            duplicates = reader.ledger().get("duplicates", 0)
        return [duplicates, rows(feed, ALL)]


SEEDS = [*range(30), *(pytest.param(seed, marks=pytest.mark.long) for seed in range(30, 60))]


@pytest.mark.parametrize("seed", SEEDS)
def test_any_order_and_any_batches_give_the_same_rows(
    seed: int, new_store: Callable[..., Any], feed_of: Callable[..., Any]
) -> None:
    chance = random.Random(seed)
    events = history(seed)
    in_order = sorted(events, key=lambda each: (each.event.received_ms, each.event_id))
    expected = stored(in_order, [1] * len(events), new_store, feed_of)
    for _ in range(3):
        chance.shuffle(events)
        sizes = [chance.randint(1, chance.choice([1, 4, 14])) for _ in events]
        assert stored(events, sizes, new_store, feed_of) == expected


# -- trust and tags ------------------------------------------------------------------------------

BY_ITSELF = {"source": "beacon", "trust": "anonymous", "query_id": PAGE, "visitor": ANNA}
TOLD: dict[str, Any] = {
    view: event._replace(**BY_ITSELF, client_id="", received_ms=NOW + 1)
    for view, event in SAID.items()
    if view != "impressions"
}


@pytest.mark.parametrize("source", ["page", "template"])
@pytest.mark.parametrize("order", ["search-first", "search-last", "together"])
@pytest.mark.parametrize("view", TOLD)
def test_what_a_visitor_says_of_a_page_of_ours_is_of_the_session(
    view: str, order: str, source: str, feed: Any
) -> None:
    events = [SEARCH._replace(source=source), TOLD[view]]
    if order == "together":
        feed(*events)
    for event in {"search-first": events, "search-last": events[::-1]}.get(order, ()):
        feed(event)
    assert rows(feed, f"SELECT trust FROM {view}") == [("session",)]
    assert rows(feed, "SELECT count(*) FROM waiting_view") == [(0,)]


def test_the_report_knows_clicks_of_the_session(feed: Any) -> None:
    feed(TOLD["clicks"])
    feed(SEARCH)
    sql = "SELECT term.text, clicks FROM cube JOIN term ON term.id = cube.trust WHERE clicks > 0"
    assert rows(feed, sql) == [("session", 1)]


@pytest.mark.parametrize("order", ["search-first", "search-last"])
@pytest.mark.parametrize(
    ("search", "changes", "trust"),
    [
        pytest.param({"visitor": "bb" * 8}, {}, "anonymous", id="anothers-page"),
        pytest.param({"visitor": ""}, {}, "anonymous", id="nobodys-page"),
        pytest.param({"visitor": ""}, {"visitor": ""}, "anonymous", id="nobody"),
        pytest.param({"site": "other"}, {}, "anonymous", id="another-site"),
        pytest.param({"source": "beacon"}, {}, "anonymous", id="a-page-that-a-browser-made-up"),
        pytest.param({}, {"trust": "signed"}, "signed", id="signed"),
        pytest.param({}, {"trust": "keyed", "source": "searchgov"}, "keyed", id="keyed"),
    ],
)
@pytest.mark.parametrize("view", ["clicks", "feedback"])
def test_it_is_not_when(
    view: str, search: Any, changes: Any, trust: str, order: str, feed: Any
) -> None:
    events = [SEARCH._replace(**search), TOLD[view]._replace(**changes)]
    for event in events if order == "search-first" else reversed(events):
        feed(event)
    assert rows(feed, f"SELECT trust FROM {view}") == [(trust,)]


@pytest.mark.parametrize("order", ["search-first", "search-last"])
def test_clicks_and_what_was_shown_have_the_tag_of_their_search(order: str, feed: Any) -> None:
    events = [SEARCH._replace(tag="test-b"), CLICK]
    for event in events if order == "search-first" else reversed(events):
        feed(event)
    feed(
        CLICK._replace(query_id="", client_id="", tag="own"), SAID["impressions"]._replace(tag="ad")
    )
    assert sorted(rows(feed, "SELECT tag FROM clicks")) == [("own",), ("test-b",)]
    assert sorted(rows(feed, "SELECT tag FROM impressions")) == [("ad",), ("ad",), ("test-b",)]


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE click SET trust = (SELECT id FROM term WHERE text = 'session')",
        "UPDATE click SET tag = 1",
    ],
    ids=["trust", "tag"],
)
def test_check_notices_another(
    sql: str, new_store: Callable[..., Any], feed_of: Callable[..., Any]
) -> None:
    with closing(new_store()) as store:
        feed_of(store)(SEARCH._replace(visitor=""), TOLD["clicks"], TOLD["answers"])
        with store._transaction(False) as connection:
            connection.execute("INSERT INTO term (text) VALUES ('session') ON CONFLICT DO NOTHING")
            connection.execute(sql)
        assert store.check() != []
