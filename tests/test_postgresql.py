"""PostgreSQL as the store of several hosts: what is its own, beside the contract of all stores."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from clickmw import ClickMW
from clickmw.cli import main
from clickmw.doctor import examine
from clickmw.errors import BadEvent, SettingsError, StoreError, StoreTooNew
from clickmw.events import Click, Search, Shown, new_query_id
from clickmw.keyring import READ_AGAIN_S, KeyRing, make_key
from clickmw.settings import Settings
from clickmw.stores import open_store, postgresql
from clickmw.stores._hosts import disagreements
from clickmw.stores.base import Erasure, Filter, StoreOptions
from clickmw.stores.postgresql import PostgreSQLStore, masked
from clickmw.visitors import Salts
from tests.postgres_server import PostgresServer, postgres_server

SECRET = "thirty-two characters or more are fine"
START_MS = 1_750_000_000_000
PAGE = new_query_id(START_MS)
SEARCH = Search(START_MS, "default", PAGE, "tax", (Shown("https://example.org/a", 1, "BWEB"),), 5)
CLICK = Click(START_MS + 9, "default", "https://example.org/a", 1, "BWEB", PAGE, visitor="ab" * 8)
DAYS = Filter(first_day=date(2025, 6, 1), last_day=date(2025, 6, 30))
DAY = 20_000


@pytest.fixture
def store_at(postgres_url: str) -> Iterator[Callable[..., PostgreSQLStore]]:
    """Open the store as a host does; options as keywords."""
    made: list[PostgreSQLStore] = []

    def open_one(**options: Any) -> PostgreSQLStore:
        made.append(open_store(postgres_url, StoreOptions(**options)))  # type: ignore[arg-type]
        return made[-1]

    yield open_one
    for store in made:
        store.close()


@pytest.fixture
def store(store_at: Callable[..., PostgreSQLStore]) -> PostgreSQLStore:
    return store_at()


@pytest.fixture(scope="module")
def own_server() -> Iterator[PostgresServer]:
    """A server that a test may stop."""
    with postgres_server() as server:
        yield server


def counted(store: Any) -> int:
    with closing(store.reader()) as reader:
        return int(reader.totals(DAYS).clicks)


# -- its name --------------------------------------------------------------------------------------


@pytest.mark.parametrize("schema", ["Clicks", "a b", "a;drop", "1a", ""])
def test_a_schema_has_a_plain_name(schema: str) -> None:
    with pytest.raises(SettingsError, match="plain lower-case name"):
        open_store(f"postgresql://host/database?schema={schema}", StoreOptions())


def test_the_schema_is_ours_and_the_other_words_are_for_the_driver() -> None:
    url = "postgresql://u:p@a:1,b:2/d?schema=mine&target_session_attrs=any&sslmode=require"
    store = open_store(url, StoreOptions())
    assert isinstance(store, PostgreSQLStore)
    rest = "postgresql://u:p@a:1,b:2/d?target_session_attrs=any&sslmode=require"
    assert (store.schema, store.url) == ("mine", rest)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:geheim@127.0.0.1:1/database",
        "postgresql://user@127.0.0.1:1/database?password=geheim",
        "postgresql://user:g%65heim@127.0.0.1:1/database",
        "postgresql://user:geheim@[127/database",
        "postgresql://user:geheim@127.0.0.1:port/database",
        "postgresql://user:geheim@127.0.0.1:1/database?wrong=1",
    ],
)
def test_no_message_has_the_password(url: str) -> None:
    state = open_store(url, StoreOptions()).describe()
    assert (state["ok"], state["kind"]) == (False, "postgresql")
    assert "geheim" not in str(state)
    assert "g%65heim" not in str(state)
    assert "geheim" not in masked(url)


@pytest.mark.parametrize(
    "url", ["postgres://user:geheim@host/d", "postgresql://u:geheim@h/d?schema=A"]
)
def test_no_refusal_of_a_setting_has_the_password(url: str) -> None:
    with pytest.raises(SettingsError) as refused:
        ClickMW(lambda environ, start: [], secret=SECRET, store=url)
    assert "geheim" not in str(refused.value)


def test_without_the_driver_the_site_works_and_health_says_what_to_install(
    clicks_at: Callable[..., ClickMW],
    browser_of: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    monkeypatch.delitem(sys.modules, "clickmw.stores._postgres_connection", raising=False)
    clicks = clicks_at(store="postgresql://host/database", report_auth=lambda _environ: True)
    browser = browser_of(clicks)
    assert browser.get("/").status_int == 200
    health = browser.get("/_clicks/health").json
    assert health["status"] == "degraded"
    assert 'pip install "clickmw[postgres]"' in health["store"]["error"]


# -- taking in -------------------------------------------------------------------------------------


def test_texts_of_any_length_are_kept_and_found_again(
    store_at: Callable[..., PostgreSQLStore], feed_of: Callable[..., Any]
) -> None:
    # Nothing in it repeats, so that no compression makes it short.
    noise = "".join(f"{number * 7919 % 99991:x}" for number in range(2_000))
    long, longer = f"https://example.org/{noise}", f"https://example.org/{noise}x"
    for number, url in enumerate((long, longer, long)):
        with closing(store_at()) as store:  # each remembers nothing
            feed_of(store, f"175000000000{number}-00000000aa")(
                CLICK._replace(
                    url=url, query_id="", query=noise, source="searchgov", language=noise
                )
            )
    assert store.check() == []
    with closing(store.reader()) as reader:
        assert {row.url: row.clicks for row in reader.top_results(DAYS, 9)} == {long: 2, longer: 1}


def test_a_text_that_postgresql_cannot_hold_is_one_bad_event(
    store: PostgreSQLStore, feed_of: Callable[..., Any]
) -> None:
    with pytest.raises(BadEvent):
        feed_of(store)(CLICK._replace(url="https://example.org/\0"))
    assert feed_of(store)(CLICK) == 1


def test_a_commit_whose_answer_was_lost_is_not_done_twice(
    store: PostgreSQLStore, feed_of: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = feed_of(store)
    records = [feed.record(SEARCH), feed.record(CLICK)]
    store.migrate()

    def commit_and_lose(connection: Any) -> None:
        connection.execute("COMMIT")
        connection.raw.close()
        raise sqlite3.OperationalError("server closed the connection unexpectedly")

    with monkeypatch.context() as patch:
        patch.setattr(store, "_commit", commit_and_lose)
        with pytest.raises(StoreError):
            store.append(feed.segment, 0, 200, records)
    assert store.append(feed.segment, 0, 200, records) == 0
    assert (counted(store), store.check()) == (1, [])


def test_a_connection_that_was_ended_is_opened_again(
    store: PostgreSQLStore, postgres: PostgresServer, feed_of: Callable[..., Any]
) -> None:
    feed = feed_of(store)
    feed(SEARCH)
    pid = store._writer().raw.info.backend_pid
    postgres.query(f"SELECT pg_terminate_backend({pid}, 5000)")
    record = feed.record(CLICK)
    with pytest.raises(StoreError):
        store.append(feed.segment, record.start, record.end, [record])
    assert store.append(feed.segment, record.start, record.end, [record]) == 1
    assert (counted(store), store.check()) == (1, [])


def test_many_hosts_take_turns_and_every_event_counts_once(
    store_at: Callable[..., PostgreSQLStore], feed_of: Callable[..., Any]
) -> None:
    """Four hosts with the same searches and clicks, each in segments of its own, batches overlapping."""
    troubles: list[BaseException] = []

    def drain(number: int) -> None:
        try:
            feed = feed_of(store_at(), f"175000000000{number}-00000000aa")
            records = [
                feed.record(
                    CLICK._replace(url=f"/{one}", query_id="", visitor=f"{number:016x}"),
                    CLICK._replace(
                        url=f"/{one}", query_id="", dedupe_key="c" * 16, source="vtex", kind="ad"
                    ),
                )
                for one in range(20)
            ]
            for start in range(0, 20, 4):
                end = min(start + 7, 20)
                feed.store.append(feed.segment, start * 100, end * 100, records[start:end])
        except BaseException as trouble:
            troubles.append(trouble)

    hosts = [threading.Thread(target=drain, args=(number,)) for number in range(4)]
    for host in hosts:
        host.start()
    for host in hosts:
        host.join(60)
    assert troubles == []
    store = store_at()
    with closing(store.reader()) as reader:
        ledger = reader.ledger()
    assert (ledger["received"], ledger["stored"], ledger["duplicates"]) == (160, 160, 79)
    assert (counted(store), store.check()) == (81, [])


def test_a_commit_that_no_standby_confirmed_is_an_error_and_is_repeated(
    own_server: PostgresServer, feed_of: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql, "COMMIT_S", 0.3)
    with closing(open_store(own_server.url("confirmed"), StoreOptions())) as store:
        feed = feed_of(store)
        assert feed(CLICK) == 1
        own_server.query("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        own_server.query("SELECT pg_reload_conf()")
        try:
            assert feed(CLICK._replace(url="/fast")) == 1  # does not wait
            store.close()
            with pytest.raises(StoreError, match="not confirmed"):
                store.append(feed.segment, feed.offset, feed.offset, (), on_disk=True)
        finally:
            own_server.query("ALTER SYSTEM RESET synchronous_standby_names")
            own_server.query("SELECT pg_reload_conf()")
        store.append(feed.segment, feed.offset, feed.offset, (), on_disk=True)
        assert counted(store) == 2


@pytest.mark.parametrize(
    ("on_disk", "durable", "commit"),
    [(False, False, "off"), (True, False, "on"), (False, True, "on")],
)
def test_the_server_is_asked_to_be_as_durable_as_was_promised(
    on_disk: bool, durable: bool, commit: str, store_at: Callable[..., PostgreSQLStore]
) -> None:
    with store_at(durable=durable)._transaction(on_disk) as connection:
        assert connection.plain("SHOW synchronous_commit").fetchone() == (commit,)


def test_what_was_erased_at_one_host_is_not_remembered_by_another(
    store_at: Callable[..., PostgreSQLStore], feed_of: Callable[..., Any]
) -> None:
    one, other = store_at(), store_at()
    feed = feed_of(one)
    feed(SEARCH, CLICK)
    other.erase(Erasure(query="tax"), lambda done, whole: None)
    feed(SEARCH._replace(query_id=new_query_id(START_MS + 1)))
    assert one.check() == []
    with closing(one.reader()) as reader:
        assert [row.query for row in reader.top_queries(DAYS, 9)] == ["tax"]


# -- versions and copies ---------------------------------------------------------------------------


def test_a_schema_of_a_later_clickmw_is_left_alone(
    postgres_url: str, store: PostgreSQLStore, postgres: PostgresServer, feed_of: Callable[..., Any]
) -> None:
    store.migrate()
    postgres.query(f"UPDATE {store.schema}.meta SET value = '99' WHERE key = 'schema'")
    postgres.query(f"DELETE FROM {store.schema}.meta WHERE key = 'readable_by'")
    with closing(open_store(postgres_url, StoreOptions())) as later:
        with pytest.raises(StoreTooNew, match="Upgrade clickmw"):
            feed_of(later)(CLICK)
        with pytest.raises(StoreError, match="Upgrade clickmw"):
            later.reader()


@pytest.mark.parametrize("version", [3, 4, 5])
def test_an_older_schema_is_brought_up_to_date_with_all_that_it_has(
    postgres_url: str,
    store: PostgreSQLStore,
    postgres: PostgresServer,
    feed_of: Callable[..., Any],
    version: int,
) -> None:
    feed_of(store)(SEARCH, CLICK)
    store.close()
    made = {5: "total_result_shown", 6: "click_of_view"}
    for name in (name for number, name in made.items() if version < number):
        postgres.query(f"DROP INDEX {store.schema}.{name}")
    postgres.query(f"UPDATE {store.schema}.meta SET value = '{version}' WHERE key = 'schema'")
    with closing(open_store(postgres_url, StoreOptions())) as later:
        with pytest.raises(StoreError, match="drain --once"):
            later.reader()
        later.migrate()
        assert postgres.query(
            f"SELECT count(*) FROM pg_indexes WHERE schemaname = '{store.schema}'"
            f" AND indexname IN {tuple(made.values())}"
        ) == [(2,)]
        with closing(later.reader()) as reader:
            assert [row.query for row in reader.top_queries(DAYS, 9)] == ["tax"]
        assert later.check() == []


def test_a_database_without_our_schema_says_how_it_is_made(postgres: PostgresServer) -> None:
    store = open_store(postgres.url("not_made"), StoreOptions())
    with pytest.raises(StoreError, match="drain --once"):
        store.reader()


def test_backup_names_the_program_that_does_it(postgres_url: str, tmp_path: Path) -> None:
    words = ["--store", postgres_url, "backup", str(tmp_path / "copy.db")]
    done = CliRunner().invoke(main, words, env={"CLICKMW_SECRET": SECRET})
    assert done.exit_code == 3
    assert "pg_dump --schema=" in done.output


def test_a_dump_is_restored_whole(
    store: PostgreSQLStore, postgres: PostgresServer, feed_of: Callable[..., Any], tmp_path: Path
) -> None:
    feed_of(store)(SEARCH, CLICK, CLICK)
    dump = tmp_path / "clicks.dump"
    where = ["-h", "127.0.0.1", "-p", str(postgres.port), "-U", "postgres"]
    programs = postgres.programs
    with dump.open("wb") as file:
        command = [str(programs / "pg_dump"), *where, f"--schema={store.schema}", "-Fc", "postgres"]
        subprocess.run(command, stdout=file, check=True)
    postgres.query("CREATE DATABASE restored")
    command = [str(programs / "pg_restore"), *where, "-d", "restored", "--exit-on-error", str(dump)]
    subprocess.run(command, check=True)
    with closing(open_store(postgres.url(store.schema, "restored"), StoreOptions())) as restored:
        assert (counted(restored), restored.check()) == (1, [])
        feed_of(restored, "1750000000001-00000000aa")(CLICK._replace(url="/new", query_id=""))
        assert (counted(restored), restored.check()) == (2, [])
    postgres.query("DROP DATABASE restored")


def test_the_views_are_those_of_sqlite_for_anybody_who_may_read_them(
    store: PostgreSQLStore,
    postgres: PostgresServer,
    new_store: Callable[..., Any],
    feed_of: Callable[..., Any],
    days_of_events: Callable[..., Any],
) -> None:
    events = days_of_events(3, START_MS, 2, 30)
    postgres.query("DROP ROLE IF EXISTS analyst")
    postgres.query("CREATE ROLE analyst LOGIN")
    with closing(new_store()) as ours:
        feed_of(ours)(*events)
        feed_of(store)(*events)
        postgres.query(f"GRANT USAGE ON SCHEMA {store.schema} TO analyst")
        postgres.query(f"GRANT SELECT ON ALL TABLES IN SCHEMA {store.schema} TO analyst")
        import psycopg

        analyst = f"postgresql://analyst@127.0.0.1:{postgres.port}/postgres"
        with closing(sqlite3.connect(ours.path)) as file, psycopg.connect(analyst) as connection:
            for view in VIEWS:
                said = file.execute(f"SELECT * FROM {view}")
                there = connection.execute(f"SELECT * FROM {store.schema}.{view}")
                names = [column[0] for column in said.description]
                assert [column.name for column in there.description or ()] == names
                assert sorted(map(repr, there)) == sorted(map(repr, said)), view
    postgres.query("DROP OWNED BY analyst")
    postgres.query("DROP ROLE analyst")


VIEWS = ("clicks", "searches", "impressions", "feedback", "answers", "conversions", "daily_clicks")


# -- several hosts ---------------------------------------------------------------------------------


def test_the_hosts_have_the_same_salt_and_the_store_has_none_that_anybody_can_use(
    postgres_url: str, tmp_path: Path, postgres: PostgresServer
) -> None:
    doors = [
        ClickMW(
            lambda environ, start: [],
            secret=SECRET,
            store=postgres_url,
            journal=str(tmp_path / name),
        ).door
        for name in ("one", "two")
    ]
    today = time.time_ns() // 86_400_000_000_000
    salts = [door.recorder.salts.salt(today, today=today) for door in doors]
    assert salts[0] == salts[1] is not None
    schema = postgres_url.partition("schema=")[2]
    ((kept,),) = postgres.query(f"SELECT salt FROM {schema}.salt WHERE day = {today}")
    assert (len(kept), bytes(kept) == salts[0]) == (32, False)
    for door in doors:
        door.worker.close()


def test_a_salt_is_destroyed_after_two_days(
    store: PostgreSQLStore, postgres: PostgresServer
) -> None:
    for day in range(DAY, DAY + 5):
        assert store.keep_salt(day, bytes([day - DAY]) * 32) == bytes([day - DAY]) * 32
        assert store.keep_salt(day, b"another" * 8) == bytes([day - DAY]) * 32
    kept = postgres.query(f"SELECT day FROM {store.schema}.salt ORDER BY day")
    assert kept == [(DAY + 1,), (DAY + 2,), (DAY + 3,), (DAY + 4,)]


def test_while_the_store_is_away_a_host_has_a_salt_of_its_own_that_stays(tmp_path: Path) -> None:
    def away(day: int, salt: bytes) -> bytes:
        raise StoreError("away")

    alone = Salts(tmp_path, away).salt(DAY, today=DAY)
    assert alone is not None
    back = Salts(tmp_path, lambda day, salt: b"n" * 32)
    assert back.salt(DAY, today=DAY) == alone
    assert back.salt(DAY + 1, today=DAY) == b"n" * 32


def test_salts_are_there_before_a_visitor_waits_for_them(tmp_path: Path) -> None:
    asked: list[int] = []

    def share(day: int, salt: bytes) -> bytes:
        asked.append(day)
        return salt

    salts = Salts(tmp_path, share)
    salts.keep(today=DAY)
    assert asked == [DAY, DAY + 1]
    salts.salt(DAY + 1, today=DAY + 1)
    assert asked == [DAY, DAY + 1]


def test_hosts_that_differ_where_they_must_not_are_named(postgres_url: str, tmp_path: Path) -> None:
    windows = {"one": 1800, "two": 60}
    for name, seconds in windows.items():
        settings = {"secret": SECRET, "store": postgres_url, "dedupe_window_s": seconds}
        clicks = ClickMW(lambda environ, start: [], journal=str(tmp_path / name), **settings)
        clicks.door.store.watermarks()
        health = clicks.door.routes.read_health()
        clicks.door.worker.close()
        clicks.door.store.close()
    assert health["status"] == "degraded"
    assert "differ in dedupe_window_s: 1800 on " in health["store"]["error"]
    found = examine(Settings.load({"secret": SECRET, "store": postgres_url}, environ={}))
    ((verdict, text),) = [(each.verdict, each.text) for each in found if each.topic == "hosts"]
    assert verdict == "bad"
    assert "60 on " in text
    assert SECRET not in str(health)


def test_hosts_that_agree_are_not_named() -> None:
    assert list(disagreements([("a", {"x": "1"}), ("b", {"x": "1"}), ("c", {})])) == []
    assert list(disagreements([("a", {"x": "1"}), ("b", {"x": "2"}), ("c", {"x": "1"})])) == [
        "the hosts of this store differ in x: 1 on a, c; 2 on b"
    ]


def test_a_key_that_was_revoked_at_one_host_stops_at_all(
    postgres_url: str, store: PostgreSQLStore
) -> None:
    settings = Settings.load({"secret": SECRET, "store": postgres_url}, environ={})
    text, key = make_key(settings, "read", None, "")
    store.add_key(key)
    rings = [KeyRing(settings), KeyRing(settings)]
    assert [ring.find(text) is not None for ring in rings] == [True, True]
    assert store.remove_key(key.id)
    for ring in rings:
        ring._read_at -= READ_AGAIN_S
    assert [ring.find(text) for ring in rings] == [None, None]
    assert READ_AGAIN_S < 5


def test_watermarks_of_other_hosts_stay_however_old(
    postgres_url: str, tmp_path: Path, feed_of: Any
) -> None:
    clicks = ClickMW(
        lambda environ, start: [], secret=SECRET, store=postgres_url, journal=str(tmp_path)
    )
    old = "1000000000000-00000000aa"
    feed_of(clicks.door.store, old)(CLICK)
    clicks.door.journal.tally("prefetch")
    clicks.door.journal.write_tallies()
    clicks.door.worker.drain.run_once()
    assert old in clicks.door.store.watermarks()
    clicks.door.worker.close()
    clicks.door.store.close()


# -- a server that is away -------------------------------------------------------------------------


def test_health_connects_once(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clicks = ClickMW(lambda environ, start: [], secret=SECRET, store=postgres_url, journal=tmp_path)
    store: Any = clicks.door.store
    made, connect = [], store._connect
    monkeypatch.setattr(store, "_connect", lambda settings: made.append(0) or connect(settings))
    assert clicks.door.routes.read_health()["status"] == "ok"
    assert made == [0]
    clicks.door.worker.close()


def test_doctor_says_that_the_server_is_away(tmp_path: Path) -> None:
    store = "postgresql://user:geheim@127.0.0.1:1/database"
    found = examine(Settings.load({"secret": SECRET, "store": store}, environ={}))
    said = json.dumps([each.line() for each in found])
    assert "cannot be used" in said
    assert "geheim" not in said
