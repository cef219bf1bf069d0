"""The ClickHouse store on the real engine: the same answers as SQLite, whatever comes in between."""

from __future__ import annotations

import contextlib
import random
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import date
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest

from clickmw.errors import BadEvent, SettingsError, StoreError
from clickmw.events import Click, Event, Search, Shown, new_query_id
from clickmw.stores import _clickhouse_refresh as refresh
from clickmw.stores import open_store
from clickmw.stores._clickhouse_http import Client, Refused, literal, read_rows, read_url
from clickmw.stores._clickhouse_progress import Step, mark_of, sum_up, way
from clickmw.stores._clickhouse_raw import encode, links_of
from clickmw.stores._clickhouse_schema import statements, tables
from clickmw.stores._clickhouse_shards import ShardedClient, connect
from clickmw.stores.base import (
    Erasure,
    Extract,
    Filter,
    Record,
    Store,
    Stored,
    StoredKey,
    StoreOptions,
    silent,
)
from clickmw.stores.clickhouse import SETTINGS, ClickHouseStore
from clickmw.stores.sqlite import SQLiteStore
from tests.clickhouse_server import running_engine
from tests.store_answers import general_questions, questions_of
from tests.test_report_reads import FILTERS, history

START_MS = 1_750_032_000_000  # midnight in UTC
DAY_MS = 86_400_000
FIRST, LAST = date(2025, 6, 14), date(2025, 6, 20)
ALL = Filter(first_day=FIRST, last_day=LAST)
ZONES = {"a": "America/Denver"}
OPTIONS = StoreOptions(site_zones=ZONES)
QUERIES = ("tax form", "tax form 2", "pass")
URLS = ("https://example.org/3",)
TABLES = ("clicks", "searches", "impressions", "feedback", "answers", "conversions", "returns")

Feeds = Callable[..., Any]
Days = Callable[..., list[Event]]


@pytest.fixture
def feed_both(lite: SQLiteStore, house: ClickHouseStore, feed_of: Feeds) -> Callable[..., None]:
    """Hand the same events to both stores."""

    def feed(*events: Any) -> None:
        for store in (lite, house):
            feed_of(store)(*events)

    return feed


def assert_same(lite: Store, house: Store, *filters: Filter) -> None:
    """Ask both stores everything and compare the answers."""
    with closing(lite.reader()) as one, closing(house.reader()) as other:
        general = general_questions(one, FIRST, LAST), general_questions(other, FIRST, LAST)
        for (name, right), (_, asked) in zip(*general, strict=True):
            assert asked() == right(), name
        for each in filters or (ALL,):
            pairs = questions_of(one, each, QUERIES, URLS), questions_of(other, each, QUERIES, URLS)
            for (name, right), (_, asked) in zip(*pairs, strict=True):
                assert asked() == right(), (name, each)


def rows_of(store: Store, table: str, *, whole: bool) -> tuple[Sequence[Any], list[Any]]:
    names, *rows = store.export(Extract(table=table, first_day=FIRST, last_day=LAST, whole=whole))
    return names, sorted(map(tuple, rows), key=repr)


# -- the same answers ------------------------------------------------------------------------------


def test_the_same_history_has_the_same_answers(
    lite: SQLiteStore, house: ClickHouseStore, feed_both: Callable[..., None], days_of_events: Days
) -> None:
    events = days_of_events(3, START_MS, 3, 30)
    random.Random(4).shuffle(events)
    feed_both(*events)
    assert_same(lite, house, ALL, Filter(first_day=FIRST, last_day=LAST, site="a", text="pass"))
    assert house.check() == []


@pytest.fixture(scope="module")
def tidy(
    clickhouse_servers: Callable[[str], str],
    new_store: Callable[..., SQLiteStore],
    feed_of: Feeds,
    days_of_events: Days,
) -> Iterator[tuple[Store, Store]]:
    """Both stores with some days of two sites."""
    house = open_store(clickhouse_servers("tidy"), OPTIONS)
    with closing(new_store(site_zones=ZONES)) as lite, closing(house):
        house.migrate()
        events = days_of_events(5, START_MS, 4, 40)
        for store in (lite, house):
            feed_of(store)(*events)
        yield lite, house


@pytest.mark.wide
@pytest.mark.parametrize(
    "more",
    [
        {"first_day": date(2025, 6, 16), "last_day": date(2025, 6, 16)},
        {"text": "", "named": frozenset(QUERIES)},
        {"text": "tax", "named": frozenset(["tax form"]), "source": "page"},
        {"named": frozenset(["pass", "never asked"])},
        {"site": "nowhere"},
    ],
    ids=lambda more: "-".join(more),
)
def test_the_same_history_has_the_same_answers_under_a_filter(
    tidy: tuple[Store, Store], more: dict[str, Any]
) -> None:
    assert_same(*tidy, Filter(**{"first_day": FIRST, "last_day": LAST, **more}))


@pytest.fixture(scope="module")
def both(
    clickhouse_servers: Callable[[str], str],
    new_store: Callable[..., SQLiteStore],
    feed_of: Feeds,
) -> Iterator[tuple[Store, Store]]:
    """Both stores with a history of robots, senders, ads and two calendars."""
    zones = {"docs": "Europe/Berlin"}
    house = open_store(clickhouse_servers("reads"), StoreOptions(site_zones=zones))
    with closing(new_store(site_zones=zones)) as lite, closing(house):
        house.migrate()
        events = list(history())
        for store in (lite, house):
            feed_of(store)(*events)
        yield lite, house


@pytest.mark.sampled(48)
@pytest.mark.wide
@pytest.mark.parametrize("name", FILTERS)
def test_an_untidy_history_has_the_same_answers_under_every_filter(
    both: tuple[Store, Store], name: str
) -> None:
    days = {"first_day": date(2025, 6, 1), "last_day": date(2025, 6, 7)}
    assert_same(*both, Filter(**{**days, **FILTERS[name]}))


def test_what_comes_bit_by_bit_ends_as_what_comes_at_once(
    lite: SQLiteStore, house: ClickHouseStore, feed_of: Feeds, days_of_events: Days
) -> None:
    events = days_of_events(7, START_MS, 2, 12)
    random.Random(8).shuffle(events)
    feed_of(lite)(*events)
    feed = feed_of(house)
    third = len(events) // 3
    for start in (0, third, 2 * third, 3 * third):
        feed(*events[start : start + third])
        assert house.refresh()
    assert_same(lite, house)
    assert house.check() == []


def test_several_hosts_bring_their_own_segments(
    lite: SQLiteStore, clickhouse_url: str, feed_of: Feeds, days_of_events: Days
) -> None:
    events = days_of_events(9, START_MS, 1, 15)
    feed_of(lite)(*events)
    stores = [open_store(clickhouse_url, OPTIONS) for _ in range(3)]
    feeds = [feed_of(store, f"175000000000{n}-00000000aa") for n, store in enumerate(stores)]
    troubles: list[BaseException] = []

    def work(number: int) -> None:
        try:
            mine = events[number::3]
            for start in range(0, len(mine), 30):
                feeds[number](*mine[start : start + 30])
                stores[number].refresh()  # type: ignore[attr-defined]
        except BaseException as error:
            troubles.append(error)

    stores[0].migrate()
    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert troubles == []
    with closing(stores[0]) as one, closing(stores[1]), closing(stores[2]):
        totals = _totals(lite), _totals(one)
        assert totals[0] == totals[1]
        assert one.check() == []


def _totals(store: Store) -> Any:
    with closing(store.reader()) as reader:
        return reader.totals(ALL), reader.daily(ALL), reader.top_queries(ALL, 99)


def test_a_whole_site_keeps_its_events_there(
    clickhouse_url: str, clicks_at: Callable[..., Any], browser_of: Callable[..., Any]
) -> None:
    clicks = clicks_at(store=clickhouse_url, report_auth=lambda _environ: True)
    browser = browser_of(clicks)
    link = browser.get("/search?q=tax").html.find("a")["href"]
    assert browser.get(link).status_int == 302
    clicks.door.worker.catch_up(60.0)
    for page in ("", "queries", "results", "query?query=tax", "sessions", "live"):
        assert browser.get(f"/_clicks/report/{page}").status_int == 200
    assert "tax" in browser.get("/_clicks/report/queries").text
    assert browser.get("/_clicks/health").json["stored"] == 2
    clicks.door.store.close()


# -- taking in -------------------------------------------------------------------------------------


@pytest.mark.sampled(3)
@pytest.mark.parametrize("cut", [1, 3, 7])
def test_events_that_come_again_in_other_cuts_are_there_once(
    house: ClickHouseStore, feed_of: Feeds, cut: int
) -> None:
    feed = feed_of(house)
    click = Click(START_MS, "a", "/a", 1, "BWEB")
    records = [feed.record(click._replace(url=f"/{number}")) for number in range(10)]
    house.append(feed.segment, 0, 500, records[:5])
    # The answer never came: another process, which was told nothing, takes all of it in again.
    house.client.change("ALTER TABLE {} DELETE WHERE name <> ''", "segment")
    with closing(ClickHouseStore(house.address, OPTIONS)) as other:
        for start in range(0, 10, cut):
            end = min(start + cut, 10)
            other.append(feed.segment, start * 100, end * 100, records[start:end])
        assert other.watermarks() == {feed.segment: (1000, 10)}
        with closing(other.reader()) as reader:
            assert reader.totals(ALL).clicks == 10
            assert reader.ledger()["stored"] == 10


def test_a_row_of_progress_that_lands_late_counts_nothing_twice() -> None:
    whole = [Step(0, 500, 5, 0, {"stored": 5}), Step(500, 700, 7, 0, {"stored": 2})]
    late = [Step(0, 200, 2, 0, {"stored": 2}), Step(200, 300, 3, 0, {"stored": 1})]
    found = way([*whole, *late, *whole])
    assert (sum_up(found), mark_of(found)) == ({"stored": 7}, (700, 7, 0))


def test_a_way_with_a_gap_ends_before_it() -> None:
    assert mark_of(way([Step(100, 200, 2, 0, {}), Step(0, 50, 1, 0, {})])) == (50, 1, 0)


def test_a_forgotten_segment_stays_in_the_ledger(house: ClickHouseStore, feed_of: Feeds) -> None:
    feed = feed_of(house)
    feed(Click(START_MS, "a", "/a", 1), Click(START_MS, "a", "/b", 1, source="beacon"))
    house.forget_segment(feed.segment)
    house.forget_segment(feed.segment)
    with closing(house.reader()) as reader:
        ledger = reader.ledger()
    assert (ledger["stored"], ledger["received"], ledger["snippet"]) == (2, 2, 1)
    assert (ledger["last_event_ms"], house.watermarks()) == (START_MS, {})


@pytest.mark.parametrize(
    "change",
    [{"visitor": "no hash"}, {"query_id": "short"}, {"dedupe_key": "xyz"}, {"url": "\ud800"},
     {"received_ms": "now"}, {"received_ms": 1 << 70}],
    ids=str,
)  # fmt: skip
def test_an_event_that_cannot_be_kept_is_refused(change: dict[str, Any]) -> None:
    bad = Click(START_MS, "a", "/a")._replace(**change)
    with pytest.raises(BadEvent):
        encode([Record(0, 100, 1, (Stored(bytes(16), bad),), {})])


def test_events_are_linked_by_what_they_share() -> None:
    page = new_query_id(START_MS)
    search = Search(START_MS, "a", page, "q", (Shown("/a", 1, ""),), visitor="ab" * 8)
    click = Click(START_MS, "a", "/a", query_id=page, dedupe_key="cd" * 8)
    assert len(links_of(search)) == 16
    assert links_of(search)[:8] == links_of(click)[:8]
    assert links_of(Click(START_MS, "a", "/a")) == b""


@pytest.mark.parametrize(
    "change", [{"position": 1 << 70}, {"title": ["a", "list"]}, {"ad_id": {"a": 1}}], ids=str
)
def test_an_event_that_no_column_can_hold_is_set_aside_and_stops_nothing(
    house: ClickHouseStore, feed_of: Feeds, change: dict[str, Any]
) -> None:
    page = new_query_id(START_MS)
    click = Click(START_MS, "a", "/a", 1, "BWEB", query_id=page, visitor="ab" * 8)
    feed = feed_of(house)
    feed(*[click._replace(url=f"/{n}", **(change if n == 3 else {})) for n in range(7)])
    assert house.refresh()
    feed(click._replace(url="/later"))  # it is decided together with the others
    with closing(house.reader()) as reader:
        ledger = reader.ledger()
        assert reader.totals(ALL).clicks == 7
    assert (ledger["received"], ledger["stored"], ledger["dropped.unstorable"]) == (8, 7, 1)
    assert house.check() == []
    house.erase(Erasure(url="/later"), silent)
    assert house.client.value("SELECT count() FROM raw") == 6


# -- trouble on the way ----------------------------------------------------------------------------


class Dying(Client):
    """A client that dies at one of its statements."""

    left = 10**9

    def run(self, sql: str, body: bytes = b"", **settings: Any) -> bytes:
        self.die(sql)
        return super().run(sql, body, **settings)

    def die(self, sql: str) -> None:
        self.left -= 1
        if self.left < 0 and not sql.startswith("DROP"):
            raise StoreError("it died here")


class DyingOnShards(Dying, ShardedClient):
    """The same of a cluster: it may have told some of the shards."""

    def _connect_each(self) -> Iterator[Client]:
        for part in super()._connect_each():
            part.run = partial(self.run_part, part.run)
            yield part

    def run_part(self, run: Callable[..., bytes], sql: str, *body: bytes) -> bytes:
        self.die(sql)
        return run(sql, *body)


def test_of_two_that_ask_for_their_turn_at_once_one_gets_it(clickhouse_engine: str) -> None:
    with closing(open_store(f"{clickhouse_engine}turns_{token_hex(6)}", OPTIONS)) as store:
        store.migrate()
        with closing(ClickHouseStore(store.address, OPTIONS)) as second:
            turns: list[bool] = []
            asks, stays = store._refresh, contextlib.ExitStack()

            def take() -> None:
                if asks._asked_ms > 0 and not turns:  # its number is known to nobody yet
                    lease = second._refresh._lease(time.monotonic())
                    turns.append(stays.enter_context(lease))
                    if not turns[0]:
                        stays.close()
                refresh.Refresh._take(asks)

            asks._take = take
            with stays, asks._lease(time.monotonic() + 1) as is_ours:
                assert sorted([is_ours, *turns]) == [False, True]


@pytest.mark.sampled(1)
def test_whoever_dies_while_bringing_up_to_date_leaves_it_to_the_next(
    lite: SQLiteStore, house: ClickHouseStore, feed_of: Feeds, days_of_events: Days
) -> None:
    events = days_of_events(11, START_MS, 1, 12)
    feed_of(lite)(*events)
    feed = feed_of(house)
    half = len(events) // 2
    feed(*events[:half])
    house.refresh()
    feed(*events[half:])
    for statement in (4, 12, 20, 40, 55):
        with closing(ClickHouseStore(house.address, OPTIONS)) as other:
            kind = DyingOnShards if house.address.cluster else Dying
            dying = kind(house.address, other.client.settings)
            dying.left = statement
            other.client = other._refresh.client = dying
            with pytest.raises(StoreError, match="it died here"):
                other.refresh()
        # Its turn would be over in two minutes.
        house.client.change("TRUNCATE TABLE {}", "lease")
    assert house.refresh()
    assert_same(lite, house)
    assert house.check() == []


def test_a_second_host_of_the_url_takes_over(house: ClickHouseStore, feed_of: Feeds) -> None:
    (host, port), *_ = house.address.hosts
    more = f"?cluster={house.address.cluster}" if house.address.cluster else ""
    url = f"clickhouse+http://127.0.0.1:9,{host}:{port}/{house.address.database}{more}"
    with closing(open_store(url, OPTIONS)) as store:
        feed_of(store)(Click(START_MS, "a", "/a", 1))
        assert store.watermarks() != {}


def test_servers_that_cannot_be_reached_are_named() -> None:
    with closing(open_store("clickhouse+http://me:secret@127.0.0.1:9/clicks", OPTIONS)) as store:
        said = store.describe()
        assert (said["ok"], "127.0.0.1:9" in said["error"]) == (False, True)
        assert "secret" not in said["error"]
        with pytest.raises(StoreError, match="wait in the journal"):
            store.watermarks()


def test_what_a_server_refuses_is_said_with_its_number(house: ClickHouseStore) -> None:
    with pytest.raises(Refused, match="UNKNOWN_TABLE") as caught:
        house.client.run("SELECT * FROM nothing")
    assert caught.value.code == 60


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("clickhouse://host/db", "no server"),
        ("clickhouse+http:///db", "no server"),
        ("clickhouse+http://host", "no database"),
        ("clickhouse+http://host/a b", "no database"),
        ("clickhouse+http://host:x/db", "no host"),
        ("clickhouse+http://host/db?qorum=2", "quorum=2"),
        ("clickhouse+http://me:secret@host/db?quorum=two", "quorum=2"),
        ("clickhouse+http://host/db?cluster=", "name of a cluster"),
        ("clickhouse+http://host/db?cluster=a'b", "name of a cluster"),
    ],
)
def test_a_url_that_cannot_be_meant_is_refused(url: str, what: str) -> None:
    with pytest.raises(SettingsError, match=what) as caught:
        read_url(url)
    assert "secret" not in str(caught.value)


def test_a_url_names_hosts_login_and_quorum() -> None:
    address = read_url("clickhouse+https://me:p%40ss@one,two:99/clicks?replicated=1&quorum=2")
    assert address.hosts == (("one", 8443), ("two", 99))
    assert (address.cluster, read_url("clickhouse+http://a/b?cluster=c-1").cluster) == ("", "c-1")
    assert (address.user, address.password, address.quorum) == ("me", "p@ss", 2)
    assert (address.is_secure, address.replicated, address.database) == (True, 1, "clicks")
    assert "p@ss" not in repr(address)


@pytest.mark.parametrize("text", ["", "a'b\\c", "tab\tline\n", "null\0byte", "ü€😀", "\\N"])
def test_texts_go_there_and_back(house: ClickHouseStore, text: str) -> None:
    assert house.client.rows(f"SELECT {literal(text)} AS text, NULL AS nothing") == [(text, None)]


def test_numbers_and_bytes_come_back_as_they_are() -> None:
    lines = (
        b"n\tf\tvisitor\nNullable(Int64)\tFloat64\tNullable(String)\n-5\t0.1\ta\\tb\n\\N\t2\t\\N\n"
    )
    assert read_rows(lines)[1] == [(-5, 0.1, b"a\tb"), (None, 2.0, None)]


# -- upkeep ----------------------------------------------------------------------------------------


def test_exports_have_the_same_rows(
    lite: SQLiteStore, house: ClickHouseStore, feed_both: Callable[..., None], days_of_events: Days
) -> None:
    events = days_of_events(13, START_MS, 2, 10)
    feed_both(*events)
    for table in (*TABLES, "daily_clicks"):
        for whole in (False, True):
            assert rows_of(house, table, whole=whole) == rows_of(lite, table, whole=whole), table


def test_a_copy_is_a_database_of_the_sqlite_store(
    lite: SQLiteStore,
    house: ClickHouseStore,
    feed_both: Callable[..., None],
    days_of_events: Days,
    tmp_path: Path,
) -> None:
    events = days_of_events(15, START_MS, 2, 20)
    feed_both(*events)
    rows = house.back_up(tmp_path / "copy.db", silent)
    with closing(SQLiteStore(tmp_path / "copy.db", OPTIONS)) as copy:
        assert copy.check() == []
        assert _totals(copy) == _totals(lite)
    with closing(sqlite3.connect(tmp_path / "copy.db")) as database:
        assert rows["click"] == database.execute("SELECT count(*) FROM click").fetchone()[0]
    with pytest.raises(StoreError, match="exists already"):
        house.back_up(tmp_path / "copy.db", silent)


@pytest.mark.sampled(5)
@pytest.mark.parametrize(
    "wanted",
    [
        Erasure(query="Tax  form"),
        Erasure(url="https://example.org/3"),
        Erasure(visitor=f"{20254 * 1000 + 1:016x}"),
        Erasure(visitor=f"{20254 * 1000 + 1:016x}", day=date(2025, 6, 18)),
        Erasure(query="nobody asked this"),
    ],
    ids=lambda wanted: "-".join(
        name for name in ("query", "url", "visitor", "day") if getattr(wanted, name)
    ),
)
def test_what_is_erased_is_gone_in_both_stores_alike(
    lite: SQLiteStore,
    house: ClickHouseStore,
    feed_both: Callable[..., None],
    days_of_events: Days,
    wanted: Erasure,
) -> None:
    events = days_of_events(17, START_MS, 2, 20)
    feed_both(*events)
    assert house.erase(wanted, silent) == lite.erase(wanted, silent)
    assert _totals(house) == _totals(lite)
    for table in TABLES:
        assert rows_of(house, table, whole=True) == rows_of(lite, table, whole=True), table
    assert house.check() == []


def test_other_time_zones_come_into_force_with_a_rebuild(
    lite: SQLiteStore,
    house: ClickHouseStore,
    clickhouse_url: str,
    feed_both: Callable[..., None],
    days_of_events: Days,
) -> None:
    events = days_of_events(19, START_MS, 2, 15)
    feed_both(*events)
    zones = StoreOptions(site_zones={"a": "Asia/Tokyo", "b": "UTC"})
    with closing(SQLiteStore(lite.path, zones)) as one, closing(open_store(clickhouse_url, zones)) as other:  # fmt: skip
        assert other.rebuild(silent) == one.rebuild(silent)
        assert_same(one, other)
        assert other.check() == []


@pytest.mark.sampled(1)
def test_old_days_go_at_once_and_their_sums_stay(
    house: ClickHouseStore, feed_of: Feeds, days_of_events: Days
) -> None:
    feed = feed_of(house)
    feed(*days_of_events(21, START_MS, 3, 20))
    before = _totals(house)
    cut = START_MS + DAY_MS + 5
    old = sum(house.count_before(START_MS + DAY_MS).values())
    assert house.prune(cut, limit=1) == old > 20
    assert (_totals(house), house.horizon()) == (before, cut)
    assert house.check() == []
    feed(*days_of_events(22, START_MS + 2 * DAY_MS, 1, 10))
    assert house.check() == []


def test_keys_come_and_go(house: ClickHouseStore) -> None:
    keys = [StoredKey(f"k{n}", f"{n:064x}", "read", None, 100 - n, "it's") for n in range(3)]
    for key in keys:
        house.add_key(key)
    assert house.list_keys() == keys[::-1]
    assert (house.remove_key("k1"), house.remove_key("k1")) == (True, False)
    assert [key.id for key in house.list_keys()] == ["k2", "k0"]


@pytest.mark.sampled(1)
def test_imports_find_what_is_there(house: ClickHouseStore, feed_of: Feeds) -> None:
    feed = feed_of(house)
    page = new_query_id(START_MS)
    record = feed.record(Click(START_MS, "a", "https://example.org/x", 1, query_id=page))
    house.append(feed.segment, 0, 100, [record])
    stored = record.events[0].event_id
    assert house.find_stored({stored, bytes(16)}) == {stored}
    assert [row[1:] for row in house.find_clicks([page])] == [("https://example.org/x", START_MS)]


# -- several shards --------------------------------------------------------------------------------


def test_no_shard_has_everything_and_what_comes_again_adds_nothing(
    clickhouse_cluster: str, feed_of: Feeds, days_of_events: Days
) -> None:
    events = days_of_events(23, START_MS, 1, 12)
    with closing(open_store(f"{clickhouse_cluster}spread?cluster=shards", OPTIONS)) as store:
        assert isinstance(store, ClickHouseStore)
        feed = feed_of(store)
        records = [feed.record(event) for event in events]
        store.append(feed.segment, 0, feed.offset, records)
        store.refresh()
        spread = _spread(store)
        for counts in spread.values():
            assert len(counts) == 2
        assert sum(spread["raw"]) == len(events)
        store.client.change("TRUNCATE TABLE {}", "segment")
        with closing(ClickHouseStore(store.address, OPTIONS)) as other:
            for start in range(0, len(records), 50):
                some = records[start : start + 50]
                other.append(feed.segment, some[0].start, some[-1].end, some)
            other.refresh()
            assert _spread(other) == spread


def _spread(store: ClickHouseStore) -> dict[str, list[int]]:
    """Return table → how many rows each shard has of it."""
    counted = "SELECT _shard_num, count() FROM {} GROUP BY _shard_num ORDER BY _shard_num"
    return {
        table: [count for _, count in store.client.rows(counted.format(table))]
        for table in ("raw", "derived", "search", "click", "query")
    }


def test_a_cluster_that_the_servers_do_not_know_is_named(clickhouse_cluster: str) -> None:
    unknown = pytest.raises(StoreError, match=r"knows no cluster 'other'.*remote_servers")
    with closing(open_store(f"{clickhouse_cluster}db?cluster=other", OPTIONS)) as store, unknown:
        store.watermarks()


class Ear(threading.Thread):
    """A shard that greets who connects, hears what it is asked, and never answers."""

    #: Name, version and time zone of a server so old that it is asked for nothing before.
    GREETING = b"\0\x0aClickHouse\1\1" + bytes(
        (54058 & 127 | 128, 54058 >> 7 & 127 | 128, 54058 >> 14)
    )

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.heard = b""

    def run(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                asking, _ = self.socket.accept()
                with asking, contextlib.suppress(OSError):
                    asking.recv(1 << 16)
                    asking.sendall(self.GREETING + b"\3UTC")
                    asking.settimeout(0.5)
                    while said := asking.recv(1 << 16):
                        self.heard += said


@pytest.mark.wide
def test_a_shard_is_asked_for_nothing_that_only_the_asking_server_has() -> None:
    ear = Ear()
    ear.start()
    with closing(ear.socket), running_engine(2, ear.port) as engine:
        address = read_url(f"{engine}ear?cluster=shards")
        with closing(connect(address, SETTINGS)) as client:
            client.run("CREATE DATABASE ear", database="default")
            for statement in statements(address, tables()):
                client.run(statement)
            for statement in (refresh.MAKE_PICKED, refresh.MAKE_LINKS, MAKE_NEW):
                client.run(statement.format(run="run_1"))
            for statement in ASKING:
                ear.heard = b""
                with pytest.raises(Refused):
                    client.run(statement.format(run="run_1", since=0, round=9, apart=refresh.APART))
                assert b"_local" in ear.heard
                assert b"run_1" not in ear.heard


MAKE_NEW = "CREATE TABLE {run}_new (event_id FixedString(16), inserted DateTime) ENGINE = Memory"
#: What is read for a round, and has tables of its own in it.
ASKING = (
    refresh.ADD_LINKS,
    refresh.PICK_LINKS,
    refresh.PICK_LINKED,
    refresh.READ_PICKED,
    refresh.FIND_OLD_SEARCHES,
)


@pytest.mark.parametrize(("first", "then"), [("?cluster=shards", ""), ("", "?cluster=shards")])
def test_a_store_stays_with_the_shards_that_it_was_made_with(
    clickhouse_cluster: str, first: str, then: str
) -> None:
    database = f"{clickhouse_cluster}test_{token_hex(6)}"
    with closing(open_store(database + first, OPTIONS)) as store:
        store.watermarks()
    refused = pytest.raises(StoreError, match="would be kept twice")
    with closing(open_store(database + then, OPTIONS)) as store, refused:
        store.watermarks()


# -- several hosts ---------------------------------------------------------------------------------


@pytest.mark.sampled(1)
def test_the_hosts_have_the_salt_of_whoever_came_first(house: ClickHouseStore) -> None:
    day = 20_254
    stores = [ClickHouseStore(house.address, OPTIONS) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        salts = list(pool.map(lambda n: stores[n].keep_salt(day, bytes([n]) * 32), range(4)))
    assert len(set(salts)) == 1
    assert house.keep_salt(day, b"late" * 8) == salts[0]


@pytest.mark.sampled(1)
def test_a_salt_is_destroyed_after_two_days(house: ClickHouseStore) -> None:
    for day in range(20_254, 20_260):
        assert house.keep_salt(day, bytes([day % 100]) * 32) == bytes([day % 100]) * 32
    kept = house.client.rows("SELECT day FROM salt ORDER BY day")
    assert [day for (day,) in kept] == [20_256, 20_257, 20_258, 20_259]


def test_hosts_that_differ_where_they_must_not_are_named(clickhouse_url: str) -> None:
    for host, zone in (("one:/j", "UTC"), ("two:/j", "Europe/Berlin")):
        options = StoreOptions(host=host, agreed={"time_zone": zone, "keep_days": "395"})
        with closing(open_store(clickhouse_url, options)) as store:
            store.watermarks()
    with closing(open_store(clickhouse_url, OPTIONS)) as store, closing(store.reader()) as reader:
        assert reader.disagreements() == [
            "the hosts of this store differ in time_zone: Europe/Berlin on two:/j; UTC on one:/j"
        ]


def test_a_store_of_rows_is_not_copied_into_it(house: ClickHouseStore, lite: SQLiteStore) -> None:
    with pytest.raises(StoreError, match="clickmw import"):
        house.copy_from(lite, silent)
