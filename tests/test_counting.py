"""The duplicate rule and the search rule: alone, and as a store applies them to what comes late."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import closing
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clickmw.counting import (
    CLICK_HORIZON_MS,
    EARLY_CLICK_MS,
    Came,
    Decision,
    Told,
    Walked,
    decide_clicks,
    decide_dwells,
    decide_searches,
    decide_served,
    first_undecided,
    search_of_click,
)
from clickmw.events import Click, Search, new_query_id
from clickmw.stores.base import Stored

MINUTE = 60_000
WINDOW = 30 * MINUTE
START_MS = 1_750_000_000_000

# -- clicks --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("times", "counted"),
    [
        pytest.param([], [], id="none"),
        pytest.param([0], [True], id="one"),
        pytest.param([0, 0], [True, False], id="two-in-the-same-millisecond"),
        pytest.param([0, WINDOW - 1], [True, False], id="just-inside-the-window"),
        pytest.param([0, WINDOW], [True, True], id="exactly-the-window-counts-again"),
        pytest.param(
            [0, 20 * MINUTE, 40 * MINUTE],
            [True, False, True],
            id="the-window-begins-at-the-counted-click",
        ),
        pytest.param(
            [0, 20 * MINUTE, 40 * MINUTE, 60 * MINUTE],
            [True, False, True, False],
            id="and-again-at-the-next-counted-one",
        ),
    ],
)
def test_a_click_counts_once_in_its_window(times: list[int], counted: list[bool]) -> None:
    assert decide_clicks(times, WINDOW) == counted


def test_without_a_window_every_click_counts() -> None:
    assert decide_clicks([0, 0, 1], 0) == [True, True, True]


@given(st.lists(st.integers(0, 10 * WINDOW)).map(sorted))
def test_counted_clicks_are_a_window_apart_and_cover_the_rest(times: list[int]) -> None:
    decisions = decide_clicks(times, WINDOW)
    counted = [time for time, counts in zip(times, decisions, strict=True) if counts]
    assert all(later - earlier >= WINDOW for earlier, later in pairwise(counted))
    assert all(any(0 <= time - first < WINDOW for first in counted) for time in times)


# -- whose search a click belongs to -------------------------------------------------------------


@pytest.mark.parametrize(
    ("searches", "found"),
    [
        pytest.param([], None, id="there-are-none"),
        pytest.param([-CLICK_HORIZON_MS], 0, id="a-day-before"),
        pytest.param([-CLICK_HORIZON_MS - 1], None, id="more-than-a-day-before"),
        pytest.param([0], 0, id="in-the-same-millisecond"),
        pytest.param([EARLY_CLICK_MS], 0, id="a-minute-after"),
        pytest.param([EARLY_CLICK_MS + 1], None, id="more-than-a-minute-after"),
        pytest.param([-2, -1, 1], 1, id="the-last-one-before"),
        pytest.param([-CLICK_HORIZON_MS, 1], 0, id="one-a-day-before-rather-than-one-just-after"),
        pytest.param([1, 2], 0, id="the-first-one-after"),
    ],
)
def test_a_click_belongs_to_the_last_search_before_it_else_to_the_first_after_it(
    searches: list[int], found: int | None
) -> None:
    told = [Told(START_MS + offset, bytes([at])) for at, offset in enumerate(searches)]
    assert search_of_click(START_MS, told) == (None if found is None else bytes([found]))


@given(st.lists(st.tuples(st.integers(-3, 3), st.binary(min_size=1, max_size=1)), unique=True))
def test_searches_in_the_same_millisecond_are_told_apart_by_their_ids(
    searches: list[tuple[int, bytes]],
) -> None:
    told = sorted(Told(START_MS + offset, query_id) for offset, query_id in searches)
    before = [each for each in told if each.received_ms <= START_MS]
    expected = max(before) if before else min(told, default=None)
    assert search_of_click(START_MS, told) == (expected.query_id if expected else None)


# -- searches ------------------------------------------------------------------------------------


def walk(*steps: tuple[int, str] | tuple[int, str, int]) -> list[Walked]:
    """Make searches of (milliseconds, query, offset); the query ids are b"0", b"1" …"""
    return [
        Walked(step[0], b"%d" % index, b"%d" % index, step[1], step[2] if len(step) > 2 else 0)
        for index, step in enumerate(steps)
    ]


COUNTED = ("", None)


@pytest.mark.parametrize(
    ("steps", "decided"),
    [
        pytest.param([(0, "a")], [COUNTED], id="a-first-search-counts"),
        pytest.param([(0, "a"), (MINUTE, "b")], [COUNTED, COUNTED], id="another-query-counts"),
        pytest.param([(0, "a"), (MINUTE, "a")], [COUNTED, ("repeat", b"0")], id="reload"),
        pytest.param([(0, "a"), (MINUTE, "a", 10)], [COUNTED, ("page", b"0")], id="next-page"),
        pytest.param(
            [(0, "a"), (MINUTE, "a", 10), (2 * MINUTE, "a")],
            [COUNTED, ("page", b"0"), ("repeat", b"0")],
            id="back-to-the-first-page",
        ),
        pytest.param([(0, "a", 10)], [COUNTED], id="a-further-page-that-was-entered-from-outside"),
        pytest.param(
            [(0, "a", 10), (MINUTE, "a", 20)],
            [COUNTED, ("repeat", b"0")],
            id="no-first-page-was-counted-so-it-is-no-page",
        ),
        pytest.param(
            [(0, "a"), (MINUTE, "b", 10)], [COUNTED, COUNTED], id="a-further-page-of-another-query"
        ),
        pytest.param(
            [(0, "a"), (WINDOW - 1, "a")], [COUNTED, ("repeat", b"0")], id="just-inside-the-window"
        ),
        pytest.param(
            [(0, "a"), (WINDOW, "a")], [COUNTED, COUNTED], id="exactly-30-minutes-counts-again"
        ),
        pytest.param(
            [(0, "a"), (WINDOW, "a", 10)],
            [COUNTED, COUNTED],
            id="a-page-exactly-30-minutes-later-counts",
        ),
        pytest.param(
            [(0, "a"), (20 * MINUTE, "a"), (40 * MINUTE, "a")],
            [COUNTED, ("repeat", b"0"), COUNTED],
            id="the-window-begins-at-the-counted-search",
        ),
        pytest.param(
            [(0, "pyt"), (1000, "python")], [("typing", b"1"), COUNTED], id="half-typed-query"
        ),
        pytest.param(
            [(0, "pyt"), (30_000, "python")], [("typing", b"1"), COUNTED], id="exactly-30-seconds"
        ),
        pytest.param(
            [(0, "pyt"), (30_001, "python")], [COUNTED, COUNTED], id="later-than-30-seconds"
        ),
        pytest.param(
            [(0, "p"), (1000, "py"), (2000, "pyt")],
            [("typing", b"2"), ("typing", b"2"), COUNTED],
            id="a-typing-chain-belongs-to-its-end",
        ),
        pytest.param(
            [(0, "python"), (MINUTE, "pyt"), (MINUTE + 1000, "python")],
            [COUNTED, ("typing", b"0"), ("repeat", b"0")],
            id="a-typing-chain-that-ends-in-a-repeat-belongs-to-the-first",
        ),
        pytest.param(
            [(0, "pyt"), (1000, "java"), (2000, "python")],
            [COUNTED, COUNTED, COUNTED],
            id="another-query-ends-the-typing",
        ),
        pytest.param([(0, ""), (1000, "python")], [COUNTED, COUNTED], id="nothing-is-no-typing"),
        pytest.param(
            [(0, "pyt", 10), (1000, "python")],
            [COUNTED, COUNTED],
            id="who-turns-pages-is-not-typing",
        ),
        pytest.param(
            [(0, "python"), (1000, "pyt")], [COUNTED, COUNTED], id="a-shorter-query-is-a-new-one"
        ),
        pytest.param(
            [(0, "pyt"), (1000, "python"), (2000, "pyt")],
            [("typing", b"1"), COUNTED, COUNTED],
            id="typing-leaves-no-counted-search-behind",
        ),
    ],
)
def test_a_search_counts_once_per_query_and_half_hour(
    steps: list[Any], decided: list[tuple[str, bytes | None]]
) -> None:
    assert decide_searches(walk(*steps)) == [Decision(*decision) for decision in decided]


STEPS = st.tuples(
    st.sampled_from([0, 1, 20_000, 30_000, 30_001, 10 * MINUTE, WINDOW - 1, WINDOW]),
    st.sampled_from(["a", "ab", "abc", "b"]),
    st.sampled_from([0, 0, 0, 10]),
)


def history(steps: list[tuple[int, str, int]]) -> list[Walked]:
    """Make a walk of (pause before, query, offset)."""
    now, timed = 0, []
    for pause, query, offset in steps:
        now += pause
        timed.append((now, query, offset))
    return walk(*timed)


@given(st.lists(STEPS, max_size=12), st.data())
def test_one_late_search_leads_to_the_decisions_of_one_walk(
    steps: list[tuple[int, str, int]], data: st.DataObject
) -> None:
    whole = history([*steps, (0, "ab", 0)])
    late = data.draw(st.integers(0, len(whole) - 1))
    before: list[Decision | None] = [*decide_searches(whole[:late] + whole[late + 1 :])]
    before.insert(late, None)
    start = first_undecided(whole, before)
    settled = [decision for decision in before[:start] if decision]
    assert decide_searches(whole, settled) == decide_searches(whole)


# -- through the store ---------------------------------------------------------------------------

IN_STORE = settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def cut(items: list[Stored], chance: random.Random) -> list[list[Stored]]:
    """Cut *items* into batches of random size."""
    batches: list[list[Stored]] = [[]]
    for item in items:
        if batches[-1] and chance.random() < 0.4:
            batches.append([])
        batches[-1].append(item)
    return batches


def rows(store: Any, sql: str) -> list[tuple[Any, ...]]:
    """Return what *sql* finds in the database of *store*."""
    with closing(store.reader()) as reader:
        return list(reader._rows(sql))


@IN_STORE
@given(
    pauses=st.lists(
        st.sampled_from([0, 1, 10 * MINUTE, WINDOW - 1, WINDOW]), min_size=1, max_size=8
    ),
    chance=st.randoms(use_true_random=False),
    searched=st.booleans(),
)
def test_any_order_and_any_batches_of_a_keys_clicks_count_the_same(
    pauses: list[int],
    chance: random.Random,
    searched: bool,
    new_store: Callable[..., Any],
    feed_of: Callable[..., Any],
) -> None:
    query_id = new_query_id(START_MS)
    times = [START_MS + sum(pauses[: index + 1]) for index in range(len(pauses))]
    events = [
        Stored(
            index.to_bytes(16), Click(time, "default", "/a", 1, "BWEB", query_id, visitor="ab" * 8)
        )
        for index, time in enumerate(times)
    ]
    if searched:
        search = Search(START_MS, "default", query_id, "a", visitor="ab" * 8)
        events.append(Stored((99).to_bytes(16), search))
    chance.shuffle(events)
    with closing(new_store()) as store:
        feed = feed_of(store)
        for batch in cut(events, chance):
            feed(*batch)
        found = rows(store, "SELECT counted FROM clicks ORDER BY received_ms, event_id")
        assert [bool(counted) for (counted,) in found] == decide_clicks(times, WINDOW)
        assert store.check() == []


@IN_STORE
@given(steps=st.lists(STEPS, min_size=1, max_size=10), chance=st.randoms(use_true_random=False))
def test_any_order_and_any_batches_of_a_visitors_searches_decide_the_same(
    steps: list[tuple[int, str, int]],
    chance: random.Random,
    new_store: Callable[..., Any],
    feed_of: Callable[..., Any],
) -> None:
    whole = [
        search._replace(query_id=index.to_bytes(12)) for index, search in enumerate(history(steps))
    ]
    events = [
        Stored(index.to_bytes(16), _search(search, index)) for index, search in enumerate(whole)
    ]
    chance.shuffle(events)
    with closing(new_store()) as store:
        feed = feed_of(store)
        for batch in cut(events, chance):
            feed(*batch)
        found = rows(store, "SELECT drop_reason, first_query_id FROM searches ORDER BY query_id")
        expected = [
            (decision.drop_reason or None, decision.first.hex() if decision.first else None)
            for decision in decide_searches(whole)
        ]
        assert [(reason, first or None) for reason, first in found] == expected
        assert store.check() == []


def _search(search: Walked, index: int) -> Search:
    from base64 import urlsafe_b64encode

    query_id = urlsafe_b64encode(index.to_bytes(12)).decode()
    received_ms = START_MS + search.received_ms
    return Search(
        received_ms, "default", query_id, search.query, offset=search.offset, visitor="ab" * 8
    )


# -- how long somebody stayed ----------------------------------------------------------------------


def test_a_return_belongs_to_the_last_click_before_it_and_the_first_one_stays() -> None:
    returns = [Came(at, b"", None, float(at)) for at in (5, 20, 30, 45)]
    assert decide_dwells([10, 40, 50], returns) == [20.0, 45.0, None]


def test_a_return_that_a_browser_repeats_says_nothing_new() -> None:
    returns = [Came(20, b"", b"id", 3.0), Came(50, b"", b"id", 4.0)]
    assert decide_dwells([10, 40], returns) == [3.0, None]


def test_nobody_stays_for_less_than_nothing() -> None:
    assert decide_dwells([10], [Came(20, b"", None, -5.0)]) == [0.0]


def test_results_that_are_served_again_end_the_last_click_before_them() -> None:
    assert decide_served([1000, 5000, 9000], [500, 3250, 4000, 7000]) == [2.2, 2.0, None]
