"""What every store promises the drain."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import date
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest

from clickmw.errors import BadEvent, SettingsError, StoreError
from clickmw.events import Click, Search, Shown, new_query_id
from clickmw.stores import open_store, store_kinds
from clickmw.stores.base import Filter, Store, StoreOptions

START_MS = 1_750_000_000_000
QUERY_ID = new_query_id(START_MS)
CLICK = Click(START_MS, "default", "https://example.org/a", 1, "BWEB")
DAYS = Filter(first_day=date(2025, 6, 1), last_day=date(2025, 6, 30))


@pytest.fixture(
    params=["sqlite", "postgresql", "clickhouse", pytest.param("shards", marks=pytest.mark.long)]
)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/clicks.db"
    elif request.param == "clickhouse":
        yield request.getfixturevalue("lone_clickhouse_url")
    elif request.param == "shards":
        yield f"{request.getfixturevalue('clickhouse_cluster')}test_{token_hex(6)}?cluster=shards"
    else:
        schemas = request.getfixturevalue("schemas")
        lent = schemas.lend()
        yield lent
        schemas.give_back(lent)


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with closing(open_store(url, StoreOptions())) as made:
        made.migrate()
        yield made


def clicks(count: int, start: int = 0) -> list[Click]:
    return [CLICK._replace(url=f"/{number}") for number in range(start, start + count)]


def counted(store: Store) -> int:
    with closing(store.reader()) as reader:
        return reader.totals(DAYS).clicks


def ledger(store: Store) -> dict[str, int]:
    with closing(store.reader()) as reader:
        return reader.ledger()


# -- taking in -----------------------------------------------------------------------------------


def test_a_new_store_has_no_watermarks(store: Store) -> None:
    assert store.watermarks() == {}


def test_append_moves_the_watermark(store: Store, feed_of: Callable[..., Any]) -> None:
    feed = feed_of(store)
    assert feed(*clicks(3)) == 3
    assert store.watermarks() == {feed.segment: (300, 3)}


def test_what_lies_before_the_watermark_is_skipped(
    store: Store, feed_of: Callable[..., Any]
) -> None:
    feed = feed_of(store)
    records = [feed.record(click) for click in clicks(3)]
    assert store.append(feed.segment, 0, 300, records) == 3
    assert store.append(feed.segment, 0, 300, records) == 0
    assert (counted(store), ledger(store)["stored"], ledger(store)["received"]) == (3, 3, 3)


@pytest.mark.parametrize("cut", range(5))
def test_overlapping_batches_are_stored_once(
    store: Store, feed_of: Callable[..., Any], cut: int
) -> None:
    feed = feed_of(store)
    records = [feed.record(click) for click in clicks(5)]
    store.append(feed.segment, 0, cut * 100, records[:cut])
    assert store.append(feed.segment, 0, 500, records) == 5 - cut
    assert counted(store) == 5
    assert store.watermarks() == {feed.segment: (500, 5)}


def test_clicks_are_read_by_advertiser_and_by_query(
    store: Store, feed_of: Callable[..., Any]
) -> None:
    feed_of(store)(CLICK._replace(query="tax", source="searchgov"), CLICK)
    with closing(store.reader()) as reader:
        total, rows = reader.daily_clicks(date(2025, 6, 1), date(2025, 6, 30), None, limit=9)
        explained = reader.explain_query(DAYS, "Tax", searches=9)
    assert (total, rows[0].advertiser_name, rows[0].clicks) == (1, "example.org", 2)
    assert [(row.url, row.clicks) for row in explained.places] == [("https://example.org/a", 1)]


def test_an_old_batch_does_not_move_the_watermark_back(
    store: Store, feed_of: Callable[..., Any]
) -> None:
    feed = feed_of(store)
    records = [feed.record(click) for click in clicks(3)]
    store.append(feed.segment, 0, 300, records)
    store.append(feed.segment, 0, 100, records[:1])
    assert store.watermarks() == {feed.segment: (300, 3)}


def test_a_gap_is_refused(store: Store, feed_of: Callable[..., Any]) -> None:
    feed = feed_of(store)
    records = [feed.record(click) for click in clicks(2)]
    with pytest.raises(StoreError, match="never taken in"):
        store.append(feed.segment, 100, 200, records[1:])
    assert (store.watermarks(), counted(store)) == ({}, 0)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=str)
def test_segments_may_come_in_any_order(
    store: Store, feed_of: Callable[..., Any], order: tuple[int, ...]
) -> None:
    search = Search(START_MS, "default", QUERY_ID, "a", (Shown("/a", 1, "BWEB"),), 5)
    click = CLICK._replace(query_id=QUERY_ID, visitor="ab" * 8)
    events = [search, click, click._replace(received_ms=START_MS + 1)]
    for number in order:
        feed_of(store, f"175000000000{number}-00000000aa")(events[number])
    with closing(store.reader()) as reader:
        totals = reader.totals(DAYS)
        marks = reader.watermarks()
    assert (totals.searches, totals.searches_clicked, totals.clicks) == (1, 1, 1)
    assert len(marks) == 3
    assert store.check() == []


def test_an_interrupted_batch_leaves_nothing(store: Store, feed_of: Callable[..., Any]) -> None:
    feed = feed_of(store)
    feed(*clicks(2))
    before = (store.watermarks(), ledger(store))
    good = [feed.record(click) for click in clicks(3, start=2)]
    bad = feed.record(CLICK._replace(visitor="not a hash", url="/new"))
    with pytest.raises(BadEvent):
        store.append(feed.segment, 200, 600, [*good, bad])
    assert (store.watermarks(), ledger(store)) == before
    assert (counted(store), store.check()) == (2, [])


def test_after_an_interrupted_batch_the_next_one_is_whole(
    store: Store, feed_of: Callable[..., Any]
) -> None:
    feed = feed_of(store)
    records = [feed.record(click) for click in clicks(3)]
    bad = feed.record(CLICK._replace(visitor="not a hash", module_code="NEW"))
    with pytest.raises(BadEvent):
        store.append(feed.segment, 0, 400, [*records, bad])
    assert store.append(feed.segment, 0, 300, records) == 3
    with closing(store.reader()) as reader:
        assert [row.module_code for row in reader.modules(DAYS)] == ["BWEB"]
    assert store.check() == []


def test_tallies_reach_the_ledger(store: Store, feed_of: Callable[..., Any]) -> None:
    feed = feed_of(store)
    tallies = {"opted_out": 2, "dropped.rate": 1, "rejected.bad_link": 7, "prefetch": 4}
    record = feed.record(running=3, tallies=tallies)
    store.append(feed.segment, 0, 100, [record])
    found = ledger(store)
    assert {name: found[name] for name in tallies} == tallies
    assert found["received"] == 3


def test_a_forgotten_segment_has_no_watermark(store: Store, feed_of: Callable[..., Any]) -> None:
    feed = feed_of(store)
    feed(CLICK)
    store.forget_segment(feed.segment)
    assert store.watermarks() == {}


def test_an_on_disk_append_moves_the_watermark_alike(
    store: Store, feed_of: Callable[..., Any]
) -> None:
    feed = feed_of(store)
    feed(CLICK)
    store.append(feed.segment, 100, 100, (), on_disk=True)
    assert store.watermarks() == {feed.segment: (100, 1)}


def test_damage_is_remembered_from_one_batch_to_the_next(
    store: Store, feed_of: Callable[..., Any]
) -> None:
    feed = feed_of(store)
    feed(CLICK)
    torn = feed.record(torn=True, running=0)
    store.append(feed.segment, 100, 200, [torn])
    feed.running = 4
    feed(CLICK._replace(url="/after"))
    assert (ledger(store)["dropped.torn"], ledger(store)["received"]) == (3, 5)


def test_what_is_missing_without_damage_is_not_explained_away(
    store: Store, feed_of: Callable[..., Any]
) -> None:
    feed = feed_of(store)
    feed.running = 4
    feed(CLICK)
    found = ledger(store)
    assert (found["received"], found["stored"], found.get("dropped.torn")) == (5, 1, None)


# -- several at once -----------------------------------------------------------------------------


def test_two_writers_take_turns(store: Store, url: str, feed_of: Callable[..., Any]) -> None:
    chance = random.Random(1)
    with closing(open_store(url, StoreOptions())) as other:
        feeds = [feed_of(store), feed_of(other, "1750000000001-00000000aa")]
        for number in range(40):
            click = CLICK._replace(url=f"/{number % 7}", module_code=f"M{number % 5}")
            chance.choice(feeds)(click, click)
        assert counted(store) == 80
        assert store.check() == []


def test_a_reader_sees_what_was_committed_before_it_asked(
    store: Store, feed_of: Callable[..., Any]
) -> None:
    feed = feed_of(store)
    with closing(store.reader()) as reader:
        assert reader.totals(DAYS).clicks == 0
        feed(CLICK)
        assert reader.totals(DAYS).clicks == 1


MIGRATE = """
import sys
from clickmw.stores import open_store
from clickmw.stores.base import StoreOptions
sys.stdin.readline()
store = open_store(sys.argv[1], StoreOptions())
store.migrate()
print(store.watermarks())
store.close()
"""


def test_eight_processes_may_migrate_at_once(url: str, run_python: Callable[..., Any]) -> None:
    import subprocess

    url = url.replace("?cluster", "_fresh?cluster") if "?cluster" in url else f"{url}_fresh"
    processes = [run_python(MIGRATE, url, stdin=subprocess.PIPE) for _ in range(8)]
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    assert [process.communicate(timeout=60)[0] for process in processes] == ["{}\n"] * 8


# -- time zones ----------------------------------------------------------------------------------


def test_the_time_zone_that_was_recorded_stays_in_force(
    url: str, feed_of: Callable[..., Any]
) -> None:
    late = CLICK._replace(received_ms=START_MS + 8 * 3_600_000)  # 23:06 UTC, next day in Berlin
    with closing(open_store(url, StoreOptions(time_zone="UTC"))) as first:
        first.migrate()
        feed_of(first)(late)
    with closing(open_store(url, StoreOptions(time_zone="Europe/Berlin"))) as second:
        feed_of(second, "1750000000001-00000000aa")(late._replace(url="/b"))
        with closing(second.reader()) as reader:
            days = {row.day: row.clicks for row in reader.daily(DAYS) if row.clicks}
        assert second.check() == []
    assert days == {date(2025, 6, 15): 2}


# -- pruning -------------------------------------------------------------------------------------


def test_pruning_leaves_the_rollups(store: Store, feed_of: Callable[..., Any]) -> None:
    feed = feed_of(store)
    feed(*clicks(5))
    feed(CLICK._replace(received_ms=START_MS + 1000, url="/new"))
    assert store.prune(START_MS + 1, limit=100) == 5
    assert counted(store) == 6


def test_pruning_goes_in_small_steps(store: Store, feed_of: Callable[..., Any]) -> None:
    feed_of(store)(*clicks(5))
    assert [store.prune(START_MS + 1, limit=2) for _ in range(4)] == [2, 2, 1, 0]


def test_a_pruned_store_is_still_in_order(store: Store, feed_of: Callable[..., Any]) -> None:
    feed = feed_of(store)
    day_ms = 86_400_000
    for number in range(6):
        now = START_MS + number * day_ms // 2
        query_id = new_query_id(now)
        feed(
            Search(now, "default", query_id, "a", (Shown("/a", 1, "BWEB"),), 5, visitor="ab" * 8),
            CLICK._replace(received_ms=now + 1, query_id=query_id, visitor="ab" * 8),
            CLICK._replace(received_ms=now + 2, query_id=query_id, visitor="ab" * 8),
        )
    assert store.prune(START_MS + day_ms + 2, limit=100) > 0
    assert store.check() == []
    feed(CLICK._replace(received_ms=START_MS + 3 * day_ms))
    assert store.check() == []


# -- trouble -------------------------------------------------------------------------------------


def test_a_closed_store_opens_again(store: Store, feed_of: Callable[..., Any]) -> None:
    feed = feed_of(store)
    feed(CLICK)
    store.close()
    feed(CLICK)
    assert counted(store) == 2


def test_a_healthy_store_says_so(store: Store) -> None:
    said = store.describe()
    assert said == {"kind": store.kind, "ok": True, "error": None, "warning": None}


def test_an_unknown_kind_of_store_is_named_with_the_known_ones() -> None:
    with pytest.raises(SettingsError, match="sqlite"):
        open_store("oracle://here", StoreOptions())


def test_every_kind_of_store_is_found_by_its_file() -> None:
    assert "sqlite" in store_kinds()
