"""The SQLite store: one file that belongs to the user."""

from __future__ import annotations

import os
import re
import sqlite3
import stat
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from clickmw.errors import BadEvent, SettingsError, StoreError, StoreTooNew
from clickmw.events import Click, Impression, Search, Seen, Shown, View, new_query_id
from clickmw.stores import _sqlite_batch as batch
from clickmw.stores import _sqlite_clicks as clicks
from clickmw.stores import _sqlite_digests as digests
from clickmw.stores import _sqlite_drilldown_queries as drilldowns
from clickmw.stores import _sqlite_repeats as repeats
from clickmw.stores import _sqlite_returns as returns
from clickmw.stores import _sqlite_said as said
from clickmw.stores import _sqlite_searches as searches
from clickmw.stores._postgres_dialect import translate
from clickmw.stores.base import StoreOptions
from clickmw.stores.sqlite import SQLiteStore, _begin_log, open_store

pytestmark = pytest.mark.usefixtures("no_ready_databases")

START_MS = 1_750_000_000_000
CLICK = Click(START_MS, "default", "https://example.org/a", 1, "BWEB")
OLD_DATABASE = Path(__file__).parent / "databases" / "version_1.sql"


def count(path: Path, table: str = "clicks") -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


# -- the file ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "path"),
    [("sqlite:///clicks.db", "clicks.db"), ("sqlite:////var/clicks.db", "/var/clicks.db")],
    ids=["relative", "absolute"],
)
def test_a_url_names_a_file(url: str, path: str) -> None:
    assert open_store(url, StoreOptions()).path == Path(path)


@pytest.mark.parametrize("url", ["sqlite://clicks.db", "sqlite:///", "sqlite:clicks.db"])
def test_a_url_without_a_file_is_a_wrong_setting(url: str) -> None:
    with pytest.raises(SettingsError, match="three slashes"):
        open_store(url, StoreOptions())


def test_opening_a_store_touches_nothing(store: SQLiteStore) -> None:
    assert not store.path.exists()


@pytest.mark.skipif(os.name != "posix", reason="POSIX permissions")
def test_only_the_owner_reads_the_file(store: SQLiteStore) -> None:
    old = os.umask(0)
    try:
        store.migrate()
        store.forget_segment("none")
    finally:
        os.umask(old)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in store.path.parent.glob("clicks.db*")}
    assert modes == {0o600}


def test_a_name_with_odd_characters_is_read(tmp_path: Path, feed_of: Callable[..., Any]) -> None:
    with closing(SQLiteStore(tmp_path / "a?b#c%d e.db", StoreOptions())) as store:
        feed_of(store)(CLICK)
        assert store.describe()["ok"]


def test_an_empty_file_becomes_a_database(store: SQLiteStore) -> None:
    store.path.touch()
    store.migrate()
    assert count(store.path) == 0


def test_a_missing_file_is_said_in_words(store: SQLiteStore) -> None:
    assert not store.describe()["ok"]
    with pytest.raises(StoreError, match="clickmw doctor"):
        store.reader()


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_a_later_schema_is_refused_and_untouched(
    store: SQLiteStore, mode: str, feed_of: Callable[..., Any]
) -> None:
    with closing(sqlite3.connect(store.path)) as connection:
        connection.execute(f"PRAGMA journal_mode = {mode}")
        connection.execute("CREATE TABLE click (of_tomorrow TEXT)")
        connection.execute("PRAGMA user_version = 999")
    before = store.path.read_bytes()
    with pytest.raises(StoreTooNew, match="nothing was changed"):
        feed_of(store)(CLICK)
    with pytest.raises(StoreError, match="999"):
        store.reader()
    store.close()
    assert store.path.read_bytes() == before


def test_trouble_that_ends_the_transaction_of_a_migration_is_named(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As SQLite does by itself when a disk is full.
    ended = "CREATE TABLE one (x UNIQUE);\nINSERT OR ROLLBACK INTO one VALUES (1), (1);\n"
    monkeypatch.setattr("clickmw.stores._sqlite_schema.VIEWS", ended)
    with pytest.raises(StoreError, match=r"UNIQUE constraint failed: one\.x"):
        store.migrate()


@pytest.mark.parametrize(("version", "remedy"), [(1, "Run: clickmw drain --once"), (99, "Upgrade")])
def test_a_reader_names_the_remedy_for_another_schema(
    tmp_path: Path, version: int, remedy: str
) -> None:
    with closing(sqlite3.connect(tmp_path / "clicks.db")) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
    store = SQLiteStore(tmp_path / "clicks.db", StoreOptions())
    with pytest.raises(StoreError, match=remedy):
        store.reader()
    store.close()


def test_a_migration_that_is_interrupted_leaves_the_old_schema(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    from clickmw.stores import _sqlite_schema

    with monkeypatch.context() as patched:
        patched.setattr(_sqlite_schema, "VIEWS", "CREATE VIEW broken AS SELECT FROM;")
        with pytest.raises(StoreError):
            store.migrate()
    with closing(sqlite3.connect(store.path)) as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    store.migrate()
    assert count(store.path) == 0


# -- a database of version 1 ---------------------------------------------------------------------


@pytest.fixture
def old(store: SQLiteStore) -> SQLiteStore:
    """A store whose file was written by schema version 1."""
    with closing(sqlite3.connect(store.path)) as connection:
        connection.executescript(OLD_DATABASE.read_text())
        connection.execute("PRAGMA user_version = 1")
    return store


def read(path: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


@pytest.mark.parametrize(
    "view", ["clicks", "searches", "impressions", "feedback", "answers", "conversions"]
)
def test_the_views_of_an_old_database_say_the_same_after_it_was_migrated(
    old: SQLiteStore, view: str
) -> None:
    names = [row[1] for row in read(old.path, f"PRAGMA table_info({view})")]
    columns = ", ".join(name for name in names if name != "dwell_s")
    sql = f"SELECT {columns} FROM {view} ORDER BY {columns}"
    before = read(old.path, sql)
    old.migrate()
    assert before
    assert read(old.path, sql) == before


def test_the_clicks_of_an_old_database_keep_their_hosts(old: SQLiteStore) -> None:
    sql = "SELECT site, day, advertiser_name, advertiser_slug, clicks FROM daily_clicks ORDER BY 3"
    before = read(old.path, sql)
    old.migrate()
    assert [row[2] for row in before] == ["default", "example.org"]
    assert read(old.path, sql) == before


def test_an_old_database_learns_how_long_visitors_stayed(old: SQLiteStore) -> None:
    sql = "SELECT dwell_s FROM clicks WHERE dwell_s IS NOT NULL"
    assert read(old.path, sql) == []
    old.migrate()
    assert read(old.path, sql) == [(57.0,)]


def test_a_migrated_database_is_in_order(old: SQLiteStore) -> None:
    old.migrate()
    assert old.check() == []


def test_a_migrated_database_takes_what_version_1_did_not_know(
    old: SQLiteStore, feed_of: Callable[..., Any]
) -> None:
    feed = feed_of(old, "1750000000001-00000000aa")
    late = CLICK._replace(query_id="AZd0INwAYWJjZGVm", visitor="ab" * 8, doc_id="item")
    feed(late._replace(received_ms=START_MS + 500))
    assert read(old.path, "SELECT counted FROM clicks ORDER BY received_ms")[:3] == [
        (1,),
        (0,),
        (0,),
    ]
    feed(late._replace(source="searchgov", dedupe_key="00" * 8))
    feed(Impression(START_MS, "default", "ad_impression", (Shown("/ad", 1, "ADS"),), ad_id="ad-1"))
    assert old.check() == []


def test_what_waited_in_an_old_database_finds_its_page(
    old: SQLiteStore, feed_of: Callable[..., Any]
) -> None:
    ((query_id, view_id),) = read(
        old.path,
        "SELECT json_extract(body, '$[2]'), json_extract(body, '$[3]') FROM waiting_view",
    )
    shown = (Shown("/a", 1, "BWEB"),)
    page = Search(START_MS, "default", query_id, "late", shown, shared=1)
    seen = Seen(START_MS + 99_000, "default", query_id, view_id, (("BWEB", 1),))
    feed_of(old, "1750000000001-00000000aa")(seen, page)
    sql = "SELECT count(*) FROM impressions WHERE query = 'late' AND seen_at IS NOT NULL"
    assert read(old.path, sql) == [(1,)]
    assert read(old.path, "SELECT count(*) FROM waiting_view") == [(0,)]
    assert old.check() == []


def test_an_old_database_stays_as_it_is_when_its_migration_is_interrupted(
    old: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    from clickmw.stores import _sqlite_schema

    before = read(old.path, "SELECT sql FROM sqlite_schema ORDER BY name")
    with monkeypatch.context() as patched:
        patched.setattr(_sqlite_schema, "VIEWS", "CREATE VIEW broken AS SELECT FROM;")
        with pytest.raises(StoreError):
            old.migrate()
    assert read(old.path, "SELECT sql FROM sqlite_schema ORDER BY name") == before
    assert read(old.path, "PRAGMA user_version") == [(1,)]
    old.migrate()
    assert old.check() == []


# -- the file in use -----------------------------------------------------------------------------


def test_a_file_deleted_while_open_is_made_again(
    store: SQLiteStore, feed_of: Callable[..., Any]
) -> None:
    feed_of(store)(CLICK)
    store.path.unlink()
    feed_of(store)(CLICK)
    assert count(store.path) == 1


def test_a_file_replaced_while_open_is_the_one_that_is_written(
    store: SQLiteStore, tmp_path: Path, feed_of: Callable[..., Any]
) -> None:
    with closing(SQLiteStore(tmp_path / "backup.db", StoreOptions())) as backup:
        feed_of(backup, "1750000000001-00000000aa")(CLICK, CLICK)
    feed_of(store)(CLICK)
    os.replace(backup.path, store.path)
    feed_of(store, "1750000000002-00000000aa")(CLICK)
    assert count(store.path) == 3
    assert store.check() == []


def test_in_durable_mode_every_commit_is_on_disk(
    store: SQLiteStore, feed_of: Callable[..., Any]
) -> None:
    store.options = StoreOptions(durable=True)
    seen: list[str] = []
    store.migrate()
    store._writer().set_trace_callback(seen.append)
    feed_of(store)(CLICK)
    assert [sql for sql in seen if "synchronous" in sql] == ["PRAGMA synchronous = FULL"]


VISITOR = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("INSERT INTO meta VALUES ('visited', 'yes')")
connection.commit()
connection.close()
"""


@pytest.mark.skipif(os.name != "posix", reason="POSIX locks")
def test_opening_another_connection_ends_no_lock_of_the_first(
    store: SQLiteStore, run_python: Callable[..., Any], feed_of: Callable[..., Any]
) -> None:
    store.migrate()
    log = store.path.with_name("clicks.db-wal")
    with closing(SQLiteStore(store.path, StoreOptions())) as second:
        second.migrate()
        before = log.stat().st_ino
        # The last connection of all removes the log when it closes; this is not the last one.
        assert run_python(VISITOR, store.path).wait(30) == 0
        assert log.stat().st_ino == before
        feed_of(store)(CLICK)
    assert count(store.path) == 1


# -- the public views ----------------------------------------------------------------------------

CLICKS = (
    "event_id received_at day site query query_id url title doc_id position module_code source trust"
    " visitor session device referrer_host counted drop_reason kind received_ms language profile ad_id"
    " user_activated dwell_s position_raw tag"
)
SEARCHES = (
    "query_id received_at day site query total_hits page language profile tag kind source visitor"
    " session counted drop_reason shared first_query_id"
)
IMPRESSIONS = (
    "query_id day site query url doc_id position module_code seen_at event_id kind label source counted"
    " drop_reason received_at visitor session ad_id trust tag"
)
DAILY_CLICKS = (
    "site day advertiser_id advertiser_name advertiser_slug clicks network_id network_name"
)


@pytest.mark.parametrize(
    ("view", "columns"),
    [
        ("clicks", CLICKS),
        ("searches", SEARCHES),
        ("impressions", IMPRESSIONS),
        ("daily_clicks", DAILY_CLICKS),
    ],
    ids=["clicks", "searches", "impressions", "daily_clicks"],
)
def test_a_public_view_begins_with_its_documented_columns(
    store: SQLiteStore, view: str, columns: str
) -> None:
    store.migrate()
    with closing(sqlite3.connect(store.path)) as connection:
        found = [row[0] for row in connection.execute(f"SELECT * FROM {view}").description]
    assert found[: len(columns.split())] == columns.split()


def test_ids_are_hex_and_times_are_iso(store: SQLiteStore, feed_of: Callable[..., Any]) -> None:
    query_id = new_query_id(START_MS)
    search = Search(START_MS, "default", query_id, "a", (Shown("/a", 1, "BWEB", "d", "t"),), 5)
    feed_of(store)(search, CLICK._replace(query_id=query_id, visitor="ab" * 8))
    with closing(sqlite3.connect(store.path)) as connection:
        connection.row_factory = sqlite3.Row
        click = connection.execute("SELECT * FROM clicks").fetchone()
        shown = connection.execute("SELECT * FROM impressions").fetchone()
    assert (click["received_at"], click["day"]) == ("2025-06-15T15:06:40.000Z", "2025-06-15")
    assert (len(click["event_id"]), len(click["query_id"])) == (32, 24)
    assert (click["query"], click["visitor"], click["counted"]) == ("a", "ab" * 8, 1)
    assert (shown["url"], shown["doc_id"], shown["position"]) == ("/a", "d", 1)


# -- check() notices -----------------------------------------------------------------------------

DAMAGE = {
    "a-rollup-that-is-too-high": "UPDATE cube SET clicks = clicks + 1",
    "a-rollup-that-is-gone": "DELETE FROM day_query",
    "a-rollup-out-of-nowhere": "INSERT INTO quarter VALUES (9, 9, 1, 0, 0, 0, 0)",
    "a-click-that-is-gone": "DELETE FROM click WHERE id = 1",
    "a-duplicate-that-counts": "UPDATE click SET drop_reason = 0",
    "a-repeat-that-counts": "UPDATE search SET drop_reason = 0",
    "a-search-that-forgot-its-click": "UPDATE search SET clicked = 0",
    "impressions-that-are-gone": "UPDATE search SET impressions = '[]'",
    "another-position": "UPDATE click SET position = 7",
    "a-total-that-is-too-high": "UPDATE total_query SET searches = searches + 1",
    "a-total-that-is-gone": "DELETE FROM total_result",
    "a-total-with-the-newest-day": "UPDATE total_result SET impressions = impressions + 2",
    "a-day-that-the-totals-leave-out": "UPDATE shown_through SET day = day - 1",
}


@pytest.mark.parametrize("sql", DAMAGE.values(), ids=DAMAGE.keys())
def test_check_notices(store: SQLiteStore, sql: str, feed_of: Callable[..., Any]) -> None:
    feed = feed_of(store)
    first, second = new_query_id(START_MS), new_query_id(START_MS + 1000)
    for query_id, now in ((first, START_MS), (second, START_MS + 1000)):
        shown = (Shown("/a", 1, "BWEB"),)
        feed(Search(now, "default", query_id, "a", shown, 5, visitor="ab" * 8))
    click = CLICK._replace(query_id=first, visitor="ab" * 8, received_ms=START_MS + 2000)
    feed(click, click._replace(received_ms=START_MS + 3000))
    assert store.check() == []
    with closing(sqlite3.connect(store.path)) as connection, connection:
        connection.execute(sql)
    assert store.check() != []


# -- totals --------------------------------------------------------------------------------------


def test_the_totals_have_the_impressions_of_days_that_are_over_and_what_comes_late_for_them(
    store: SQLiteStore, feed_of: Callable[..., Any]
) -> None:
    feed = feed_of(store)
    found = []
    for day in (0, 1, 0, 2):
        now = START_MS + day * 86_400_000
        shown = (Shown("/a", 1, "BWEB"),)
        feed(Search(now, "default", new_query_id(now), "a", shown))
        found += read(store.path, "SELECT coalesce(sum(impressions), 0) FROM total_result")
        assert store.check() == []
    assert found == [(0,), (1,), (2,), (3,)]


def test_an_impression_that_is_taken_back_leaves_the_totals(
    store: SQLiteStore, feed_of: Callable[..., Any]
) -> None:
    feed = feed_of(store)
    shown = (Shown("/a", 1, "BWEB"),)
    first = Search(START_MS, "default", new_query_id(START_MS), "a", shown)
    again = first._replace(query_id=new_query_id(START_MS + 5), received_ms=START_MS + 5)
    client_id = new_query_id(START_MS)
    feed(again._replace(client_id=client_id))
    feed(CLICK._replace(received_ms=START_MS + 86_400_000))
    sql = "SELECT sum(impressions) FROM total_result"
    assert read(store.path, sql) == [(1,)]
    feed(first._replace(client_id=client_id))
    assert read(store.path, sql) == [(1,)]
    assert store.check() == []


# -- what the drain and the drill-downs read -----------------------------------------------------

STATEMENTS = {
    f"{module.__name__.rpartition('_')[2]}-{name}": sql
    for module in (batch, clicks, digests, repeats, returns, searches)
    for name, sql in vars(module).items()
    if name.startswith(("FIND_", "RECOUNT_")) and name.isupper()
}
STATEMENTS |= {f"same-{table}": sql for table, sql in said.FIND_SAME.items()}
STATEMENTS |= {f"said-{table}": sql for table, sql in said.FIND_SAID.items()}
STATEMENTS |= {
    f"drilldown-{name}": sql
    for name, sql in vars(drilldowns).items()
    if str(sql).lstrip().startswith("--")
}
LARGE = (
    "click|back|sent_id|rating|answer|search|recent|recent_search|impression|conversion|result|url_digest"
    "|day_query|query|said|kept|other|member"
)


@pytest.mark.parametrize("sql", STATEMENTS.values(), ids=STATEMENTS.keys())
def test_no_statement_of_the_drain_reads_a_whole_table(store: SQLiteStore, sql: str) -> None:
    store.migrate()
    wanted = re.search(r"wanted \(([^)]*)\)", sql)
    row = ", ".join("1" for _ in wanted[1].split(",")) if wanted else ""
    asked = sql.replace("VALUES {}", f"VALUES ({row})").replace("{}", "1")
    plan = [
        row[3] for row in read(store.path, "EXPLAIN QUERY PLAN " + re.sub(r"[?:]\w*", "1", asked))
    ]
    assert plan
    assert [step for step in plan if re.match(rf"SCAN ({LARGE})\b", step)] == []


@pytest.mark.parametrize("name", [name for name in STATEMENTS if "drilldown" not in name])
def test_no_statement_of_the_drain_compares_what_postgresql_has_no_index_for(name: str) -> None:
    """It would read all clicks of a page for each click, and a page that a cache keeps has thousands."""
    assert "DISTINCT FROM" not in translate(STATEMENTS[name].replace("{}", "?")).sql


def test_a_view_of_a_page_that_thousands_look_at_costs_no_more_than_the_first(
    store: SQLiteStore, feed_of: Callable[..., Any]
) -> None:
    feed, page = feed_of(store), new_query_id(START_MS)
    feed(Search(START_MS, "default", page, "tax", (Shown("/a", 1, "BWEB"),), shared=1))
    steps = [0]

    def count_steps() -> None:
        steps[-1] += 1

    store._writer().set_progress_handler(count_steps, 100)
    for _ in range(20):
        steps.append(0)
        views = [new_query_id(START_MS) for _ in range(50)]
        visitors = [os.urandom(8).hex() for _ in views]
        looked = zip(views, visitors, strict=True)
        feed(*(View(START_MS, "default", page, view, visitor) for view, visitor in looked))
        clicks = [CLICK._replace(query_id=page, view_id=view, url="/a") for view in views]
        feed(*(click._replace(visitor=by) for click, by in zip(clicks, visitors, strict=True)))
    assert steps[-1] < 1.5 * steps[2]
    assert store.check() == []


Batches = tuple[list[Any], ...]


def _pages(count: int, source: str = "page", query_id: bool = True) -> Batches:
    """Return searches, each with a click in the batch after it and another one in the next."""
    searched, followed, again = [], [], []
    for number in range(count):
        key, visitor, query = new_query_id(START_MS), f"{number:016x}", f"query {number}"
        shown = (Shown(f"/{number}", 1, "BWEB"),)
        searched.append(
            Search(START_MS, "default", key, query, shown, visitor=visitor, source=source)
        )
        click = CLICK._replace(url=f"/{number}", source=source, visitor=visitor)
        click = click._replace(query_id=key) if query_id else click._replace(query=query)
        followed.append(click._replace(received_ms=START_MS + 1_000))
        again.append(click._replace(received_ms=START_MS + 2_000))
    return searched, followed, again


def _told_late(count: int) -> Batches:
    searched, followed, again = _pages(count, "addsearch", query_id=False)
    return followed, searched, again


def _of_keys(count: int) -> Batches:
    click = CLICK._replace(source="searchgov")
    clicks = [
        click._replace(url=f"https://host{n}.example/", dedupe_key=f"{n:016x}")
        for n in range(count)
    ]
    return clicks, [each._replace(received_ms=START_MS + 1_000) for each in clicks]


def _ads(count: int) -> Batches:
    ad = Impression(START_MS, "default", "ad_impression", (Shown("", 1, ""),), source="vtexads")
    ads = [ad._replace(ad_id=f"ad {n}", dedupe_key=f"{n:016x}") for n in range(count)]
    return ads, [each._replace(received_ms=START_MS + 1_000) for each in ads]


def _typed(count: int) -> Batches:
    searched, *_ = _pages(count)
    longer = [
        search._replace(
            query=f"{search.query} and more",
            query_id=new_query_id(START_MS),
            received_ms=START_MS + 900,
        )
        for search in searched
    ]
    return searched, longer


@pytest.mark.parametrize(
    "batches",
    [
        _pages,
        lambda count: _pages(count, "addsearch", query_id=False),
        _told_late,
        _of_keys,
        _ads,
        _typed,
    ],
    ids=["pages", "words", "words before their search", "senders' keys", "ads", "typing"],
)
def test_a_batch_asks_as_often_however_many_events_it_has(
    batches: Callable[[int], Batches], new_store: Any, feed_of: Any
) -> None:
    """Each question is a way to a server and back, where the database is on another machine."""

    def questions(count: int) -> int:
        asked: list[str] = []
        with closing(new_store()) as store:
            feed = feed_of(store)
            store._writer().set_trace_callback(asked.append)
            for batch in batches(count):
                feed(*batch)
            store._writer().set_trace_callback(None)
            assert store.check() == []
        question = re.compile(r"(?:\s|--.*\n)*(?:SELECT|WITH)\b")
        return sum(bool(question.match(sql)) for sql in asked)

    assert questions(40) == questions(10)


def test_a_list_where_a_text_belongs_is_one_bad_event(new_store: Any, feed_of: Any) -> None:
    with closing(new_store()) as store:
        feed = feed_of(store)
        bad = feed.record(Click(1_750_000_000_000, "a", "/a")._replace(title=["a", "list"]))
        with pytest.raises(BadEvent, match="binding"):
            store.append(feed.segment, 0, 100, [bad])


def test_a_database_that_is_refused_its_log_for_a_moment_is_opened_all_the_same(
    tmp_path: Path,
) -> None:
    """Two processes that both read and want to change the mode: SQLite lets neither wait."""
    path = tmp_path / "clicks.db"
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("PRAGMA user_version = 0")
        other.execute("CREATE TABLE of_another (id INTEGER)")
        other.execute("BEGIN EXCLUSIVE")
        timer = threading.Timer(0.3, other.rollback)
        timer.start()
        connection = sqlite3.connect(path, isolation_level=None, timeout=0)
        with closing(connection):
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                connection.execute("PRAGMA journal_mode = WAL")
            _begin_log(connection)
            assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        timer.join()
