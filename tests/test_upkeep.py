"""Keeping a store in order: prune, backup, rebuild and erase, and that the numbers stay true."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from clickmw import console
from clickmw.cli import main
from clickmw.drain import Drain, Worker
from clickmw.errors import StoreError
from clickmw.events import (
    Click,
    Conversion,
    Event,
    Feedback,
    Return,
    Search,
    Shown,
    new_query_id,
)
from clickmw.journal import Journal
from clickmw.recorder import now_ms
from clickmw.rollups import TABLES
from clickmw.stores.base import Erasure, StoreOptions
from clickmw.stores.sqlite import SQLiteStore

DAY_MS = 86_400_000
START_MS = 1_750_000_000_000
Events = Callable[..., list[Event]]


def silent(_done: int, _total: int) -> None: ...


def fill(store: SQLiteStore, events: list[Event], feed_of: Callable[..., Any]) -> SQLiteStore:
    feed = feed_of(store)
    for start in range(0, len(events), 200):
        feed(*events[start : start + 200])
    return store


@pytest.fixture(scope="module")
def filled(
    days_of_events: Events, new_store: Callable[..., SQLiteStore], feed_of: Callable[..., Any]
) -> Iterator[SQLiteStore]:
    """Four days of two sites."""
    with closing(new_store()) as store:
        yield fill(store, days_of_events(1, START_MS, 4), feed_of)


@pytest.fixture
def store(filled: SQLiteStore, tmp_path: Path) -> Iterator[SQLiteStore]:
    """A copy of the four days that may be spoiled."""
    filled.back_up(tmp_path / "clicks.db", silent)
    with closing(SQLiteStore(tmp_path / "clicks.db", StoreOptions())) as made:
        yield made


def change(store: SQLiteStore, sql: str) -> None:
    store.close()
    with closing(sqlite3.connect(store.path, isolation_level=None)) as connection:
        connection.execute(sql)


def rows(path: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def everything(path: Path) -> dict[str, list[Any]]:
    """Return what the views hold, and the sums that are not 0."""
    names = [name for (name,) in rows(path, "SELECT name FROM sqlite_schema WHERE type = 'view'")]
    found = {name: rows(path, f"SELECT * FROM {name}") for name in names}
    for table, (key, _) in TABLES.items():
        found[table] = [row for row in rows(path, f"SELECT * FROM {table}") if any(row[len(key) :])]
    return {name: sorted(each, key=repr) for name, each in found.items()}


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words], env={"CLICKMW_SECRET": ""})


# -- rebuild -------------------------------------------------------------------------------------


def test_a_rebuild_of_true_numbers_changes_nothing(store: SQLiteStore) -> None:
    before = everything(store.path)
    assert store.check() == []
    assert store.rebuild(silent).first_day is None
    assert everything(store.path) == before


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE cube SET clicks = clicks + 1",
        "DELETE FROM day_query",
        "UPDATE click SET drop_reason = 0",
        "UPDATE search SET drop_reason = 0, first_query_id = NULL WHERE NOT shared",
        "UPDATE search SET clicked = 1 - clicked, own_clicks = 7, best_position = 5",
        "UPDATE conversion SET drop_reason = 0",
        "UPDATE impression SET drop_reason = 0",
        "UPDATE click SET dwell_s = NULL",
    ],
)
def test_a_rebuild_sets_right_what_was_changed_by_hand(damage: str, store: SQLiteStore) -> None:
    robots = "drop_reason <> (SELECT id FROM term WHERE text = 'robot')"
    where = " AND " if "WHERE" in damage else " WHERE "
    change(store, damage + (where + robots if "drop_reason" in damage else ""))
    assert store.check() != []
    store.rebuild(silent)
    assert store.check() == []


def test_a_rebuild_makes_up_for_a_changed_window(
    days_of_events: Events,
    store: SQLiteStore,
    new_store: Callable[..., SQLiteStore],
    feed_of: Callable[..., Any],
) -> None:
    options = {"dedupe_window_ms": 500, "ad_dedupe_window_ms": 10 * DAY_MS}
    with closing(SQLiteStore(store.path, StoreOptions(**options))) as changed:
        assert changed.check() != []
        changed.rebuild(silent)
        assert changed.check() == []
    with closing(fill(new_store(**options), days_of_events(1, START_MS, 4), feed_of)) as fresh:
        assert everything(changed.path).keys() == everything(fresh.path).keys()
        counted = "SELECT sum(counted), count(*) FROM clicks"
        assert rows(changed.path, counted) == rows(fresh.path, counted)


def test_a_rebuild_brings_a_changed_time_zone_into_force(
    days_of_events: Events,
    store: SQLiteStore,
    new_store: Callable[..., SQLiteStore],
    feed_of: Callable[..., Any],
) -> None:
    options = StoreOptions(time_zone="Asia/Kathmandu", site_zones={"b": "America/New_York"})
    with closing(SQLiteStore(store.path, options)) as moved:
        rebuilt = moved.rebuild(silent)
        assert moved.check() == []
    assert rebuilt.zones == {"a": ("UTC", "Asia/Kathmandu"), "b": ("UTC", "America/New_York")}
    by_day = (
        "SELECT site, day, sum(counted), count(*) FROM searches GROUP BY site, day ORDER BY 1, 2"
    )
    zones = {"time_zone": "Asia/Kathmandu", "site_zones": {"b": "America/New_York"}}
    with closing(fill(new_store(**zones), days_of_events(1, START_MS, 4), feed_of)) as fresh:
        assert rows(store.path, by_day) == rows(fresh.path, by_day)


def test_a_rebuild_leaves_the_days_whose_rows_are_pruned(store: SQLiteStore) -> None:
    sums = "SELECT day, sum(searches), sum(clicks), sum(impressions) FROM cube GROUP BY day"
    before = {day: more for day, *more in rows(store.path, sums)}
    while store.prune(START_MS + 3 * DAY_MS // 2, limit=100):
        pass
    change(store, "UPDATE cube SET clicks = clicks + 1 WHERE day = (SELECT max(day) FROM cube)")
    rebuilt = store.rebuild(silent)
    assert rebuilt.first_day is not None
    assert {day: more for day, *more in rows(store.path, sums)} == before
    assert store.check() == []


def test_a_zone_that_changes_after_pruning_loses_and_doubles_nothing(store: SQLiteStore) -> None:
    sums = "SELECT sum(searches), sum(clicks), sum(impressions) FROM cube"
    before = rows(store.path, sums)
    while store.prune(START_MS + 3 * DAY_MS // 2, limit=100):
        pass
    with closing(SQLiteStore(store.path, StoreOptions(time_zone="Pacific/Kiritimati"))) as moved:
        moved.rebuild(silent)
        assert (moved.check(), rows(store.path, sums)) == ([], before)


# -- prune ---------------------------------------------------------------------------------------


def test_prune_takes_what_is_old_in_whatever_order_it_came(
    days_of_events: Events, new_store: Callable[..., SQLiteStore], feed_of: Callable[..., Any]
) -> None:
    with closing(new_store()) as store:
        events = days_of_events(2, START_MS, 4)
        fill(store, sorted(events, key=lambda event: -event.received_ms), feed_of)
        before_ms = START_MS + 2 * DAY_MS
        assert any(store.count_before(before_ms).values())
        while store.prune(before_ms, limit=50):
            pass
        assert not any(store.count_before(before_ms).values())
        assert (store.horizon(), store.check()) == (before_ms, [])


def test_prune_keeps_the_sums(store: SQLiteStore) -> None:
    before = rows(store.path, "SELECT * FROM cube")
    while store.prune(START_MS + 2 * DAY_MS, limit=100):
        pass
    assert rows(store.path, "SELECT * FROM cube") == before


def test_a_dry_run_counts_and_deletes_nothing(store: SQLiteStore) -> None:
    said = json.loads(
        run("--store", f"sqlite:///{store.path}", "prune", "--dry-run", "--json").output
    )
    assert said["rows"] > 0
    assert sum(store.count_before(now_ms()).values()) == said["rows"]


def test_prune_doubts_a_clock_that_would_leave_nothing(store: SQLiteStore) -> None:
    command = ("--store", f"sqlite:///{store.path}", "prune", "--days", "1")
    refused = run(*command)
    assert (refused.exit_code, "clock" in refused.output) == (1, True)
    assert run(*command, "--yes").exit_code == 0
    assert sum(store.count_before(now_ms()).values()) == 0
    assert run("--store", f"sqlite:///{store.path}", "check").exit_code == 0


# -- backup --------------------------------------------------------------------------------------


def test_a_backup_is_the_database_of_that_moment(store: SQLiteStore, tmp_path: Path) -> None:
    store.migrate()
    copy = tmp_path / "copy.db"
    done = run("--store", f"sqlite:///{store.path}", "backup", copy, "--json")
    assert done.exit_code == 0
    assert json.loads(done.output)["rows"]["click"] > 0
    assert everything(copy) == everything(store.path)
    assert [path.name for path in tmp_path.glob("*copy*")] == ["copy.db"]
    assert copy.stat().st_mode & 0o777 == 0o600


def test_a_backup_overwrites_nothing(store: SQLiteStore, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    copy.write_text("precious")
    with pytest.raises(StoreError, match="exists already"):
        store.back_up(copy, silent)
    assert copy.read_text() == "precious"


def test_a_backup_of_a_damaged_database_leaves_nothing(store: SQLiteStore, tmp_path: Path) -> None:
    store.close()
    with store.path.open("r+b") as file:
        file.seek(40_000)
        file.write(b"\xff" * 60_000)
    with pytest.raises(StoreError, match=r"sound|could not be made|cannot be used"):
        store.back_up(tmp_path / "copy.db", silent)
    assert not list(tmp_path.glob("*copy*"))


def test_a_backup_goes_on_beside_a_writer(
    days_of_events: Events, store: SQLiteStore, tmp_path: Path, feed_of: Callable[..., Any]
) -> None:
    told: list[int] = []
    with closing(SQLiteStore(store.path, StoreOptions())) as writer:
        feed = feed_of(writer, "1750000000000-00000000bb")

        def write(done: int, _total: int) -> None:
            told.append(done)
            feed(*days_of_events(len(told) + 50, START_MS, 1, 2))

        rows_copied = store.back_up(tmp_path / "copy.db", write)
        assert told
        assert (
            rows(tmp_path / "copy.db", "SELECT count(*) FROM click")[0][0] == rows_copied["click"]
        )
        assert rows(store.path, "SELECT count(*) FROM search")[0][0] > rows_copied["search"]
    with closing(SQLiteStore(tmp_path / "copy.db", StoreOptions())) as copy:
        assert copy.check() == []


# -- erase ---------------------------------------------------------------------------------------

NAME = "jane döe of nowhere"
WHERE = "https://example.org/people/jane-doe-of-nowhere"
WHO = "feedfacecafebeef"


def personal(now: int) -> list[Event]:
    page, other = new_query_id(now), new_query_id(now)
    who = {"visitor": WHO}
    shown = (Shown(WHERE, 1, "WEB", "", "About Jane Döe"), Shown("https://example.org/1", 2, "WEB"))
    return [
        Search(now, "a", page, NAME, shown, 2, **who),
        Click(now + 1000, "a", WHERE, 1, "WEB", page, **who),
        Return(now + 9000, "a", page, "", WHERE, "", 1, "WEB", 8.0, **who),
        Feedback(now + 3000, "a", 3, "not me", page, **who),
        Search(now + 10_000, "a", other, NAME + " jobs", shown, 2, **who),
        Click(now, "a", WHERE, source="s", query=NAME, **who),
        Conversion(now, "a", "order", url=WHERE, **who),
    ]


def files_with(folder: Path, words: list[str]) -> list[str]:
    """Return the files below *folder* that hold one of *words*, as text, JSON or bytes."""
    marks = [form for word in words for form in (word.encode(), json.dumps(word)[1:-1].encode())]
    marks += [bytes.fromhex(word) for word in words if word == WHO]
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return [path.name for path in paths if any(mark in path.read_bytes() for mark in marks)]


@pytest.fixture
def site(
    days_of_events: Events, store: SQLiteStore, tmp_path: Path
) -> Iterator[tuple[str, Path, Journal]]:
    """A site at work: some of its events are stored, some wait, one cannot be stored."""
    store.close()
    (tmp_path / "site").mkdir()
    store.path.rename(tmp_path / "site" / "clicks.db")
    url = f"sqlite:///{tmp_path / 'site' / 'clicks.db'}"
    journal = Journal(tmp_path / "site" / "clicks.db.journal")
    now = now_ms()
    for event in [*days_of_events(5, now - DAY_MS, 1, 10), *personal(now - DAY_MS)]:
        journal.write((event,))
    assert run("--store", url, "drain", "--once").exit_code == 0
    for event in personal(now):
        journal.write((event,))
    (journal.folder / "unstorable.jsonl").write_text(
        json.dumps({"event": [NAME, WHERE, WHO]}) + "\n" + '{"event": ["other"]}\n'
    )
    yield url, tmp_path / "site", journal
    journal.close()


@pytest.mark.parametrize(
    ("words", "gone"),
    [
        pytest.param(("--query", " Jane DÖE of  nowhere"), [NAME], id="query"),
        pytest.param(("--url", WHERE), [WHERE], id="url"),
        pytest.param(("--visitor", WHO), [WHO, NAME], id="visitor"),
    ],
)
def test_what_is_erased_is_in_no_file_any_more(
    words: tuple[str, ...], gone: list[str], site: tuple[str, Path, Journal]
) -> None:
    url, folder, _journal = site
    if "--query" in words:  # a longer query has the text too: it goes first
        assert run("--store", url, "erase", "--query", NAME + " jobs", "--yes").exit_code == 0
    assert files_with(folder, gone)
    done = run("--store", url, "erase", *words, "--yes", "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.output)
    assert said["rows"] > 0
    assert said["by_kind"]["elsewhere"] == 0
    assert files_with(folder, gone) == []
    assert run("--store", url, "check").output.startswith("ok")


def test_erasing_leaves_what_others_did(site: tuple[str, Path, Journal]) -> None:
    url, folder, _journal = site
    others = f"SELECT * FROM searches WHERE visitor <> '{WHO}' ORDER BY query_id"
    before = rows(folder / "clicks.db", others)
    assert run("--store", url, "erase", "--visitor", WHO, "--yes").exit_code == 0
    assert rows(folder / "clicks.db", others) == before


def test_a_site_goes_on_writing_the_journal_that_was_blanked(
    site: tuple[str, Path, Journal],
) -> None:
    url, folder, journal = site
    assert run("--store", url, "erase", "--query", NAME, "--yes").exit_code == 0
    for event in personal(now_ms()):
        journal.write((event,))
    assert run("--store", url, "check").output.startswith("ok")
    found = rows(folder / "clicks.db", f"SELECT count(*) FROM searches WHERE query = '{NAME}'")
    assert found == [(1,)]


def test_a_journal_that_was_blanked_can_be_taken_in_again(
    site: tuple[str, Path, Journal],
) -> None:
    url, folder, journal = site
    assert run("--store", url, "erase", "--visitor", WHO, "--yes").exit_code == 0
    journal.close()
    for path in folder.glob("clicks.db*"):
        if path.is_file():
            path.unlink()
    assert run("--store", url, "check").output.startswith(
        "ledger"
    )  # they were received, and are gone
    assert rows(folder / "clicks.db", "SELECT count(*) FROM searches") == [(0,)]


def test_the_day_bounds_what_is_erased_of_a_visitor(store: SQLiteStore) -> None:
    (visitor,) = rows(store.path, "SELECT visitor FROM searches WHERE visitor IS NOT NULL")[0]
    (day,) = rows(store.path, f"SELECT day FROM searches WHERE visitor = '{visitor}'")[0]
    url = f"sqlite:///{store.path}"
    asked = ("--store", url, "erase", "--visitor", visitor, "--yes", "--json", "--day")
    assert json.loads(run(*asked, "2001-01-01").output)["rows"] == 0
    assert json.loads(run(*asked, day).output)["rows"] > 0
    assert store.check() == []


@pytest.mark.parametrize(
    "wanted",
    [Erasure(query="pass"), Erasure(url="https://example.org/3")],
    ids=["query", "url"],
)
def test_what_stands_in_sums_alone_is_erased_too(wanted: Erasure, store: SQLiteStore) -> None:
    while store.prune(START_MS + 30 * DAY_MS, limit=1000):
        pass
    searches = rows(store.path, "SELECT sum(searches), sum(clicks) FROM cube")
    assert any(store.erase(wanted, silent).values())
    text = wanted.query or wanted.url
    for table, column in (("query", "text"), ("result", "url")):
        assert rows(store.path, f"SELECT * FROM {table} WHERE {column} = '{text}'") == []
    assert rows(store.path, "SELECT sum(searches), sum(clicks) FROM cube") == searches
    assert store.check() == []


def test_a_receipt_counts_where_else_the_words_stand(store: SQLiteStore) -> None:
    counts = store.erase(Erasure(query="pass"), silent)
    assert counts["search"] > 0
    assert counts["elsewhere"] == 3  # "passport", "passport 2" and "pass 2"


def test_a_receipt_does_not_call_erased_what_is_still_there(store: SQLiteStore) -> None:
    words = ("--store", f"sqlite:///{store.path}", "erase", "--query", "pass", "--yes")
    first, second = run(*words).output.splitlines()
    assert first.startswith("erased: ")
    assert "elsewhere" not in first
    assert second == "3 other texts contain the words and are still there"


@pytest.mark.parametrize(
    "words",
    [(), ("--query", "a", "--url", "b"), ("--query", "a", "--day", "2025-01-01")],
    ids=["nothing", "two", "a day of a query"],
)
def test_erase_wants_one_thing(words: tuple[str, ...], store: SQLiteStore) -> None:
    assert run("--store", f"sqlite:///{store.path}", "erase", *words).exit_code == 2


def test_erase_asks_before_it_does_anything(store: SQLiteStore) -> None:
    done = CliRunner().invoke(
        main, ["--store", f"sqlite:///{store.path}", "erase", "--query", "pass"], input="n\n"
    )
    assert done.exit_code == 1
    assert rows(store.path, "SELECT count(*) FROM searches WHERE query = 'pass'") != [(0,)]


def test_a_backup_from_the_command_line_fails_with_one_sentence(
    store: SQLiteStore, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "clickmw", "--store", f"sqlite:///{store.path}", "backup"]
    done = subprocess.run(
        [*command, str(tmp_path / "none" / "copy.db")], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, len(done.stderr.splitlines())) == (3, 1)


# -- beside a site at work -----------------------------------------------------------------------


def test_a_command_gets_the_journal_of_a_site_that_never_rests(tmp_path: Path) -> None:
    database, folder = tmp_path / "clicks.db", tmp_path / "clicks.db.journal"
    journal = Journal(folder)
    drain = Drain(folder, lambda: SQLiteStore(database, StoreOptions()), batch=1)
    worker = Worker(drain, journal, lambda: None)
    written = 0

    def write() -> None:  # faster than it can be drained
        nonlocal written
        while not stopped.wait(0.0005):
            journal.write((Click(START_MS + written, "a", "https://example.org/a"),))
            written += 1
            worker.on_write()

    stopped, writer = threading.Event(), threading.Thread(target=write)
    writer.start()
    try:
        time.sleep(1.0)
        done = run("--store", f"sqlite:///{database}", "erase", "--query", "a", "--yes")
    finally:
        stopped.set()
        writer.join()
        worker.close()
    assert done.exit_code == 0, done.output
    assert run("--store", f"sqlite:///{database}", "check").output.startswith("ok")
    assert rows(database, "SELECT count(*) FROM clicks") == [(written,)]


@pytest.mark.parametrize(
    "words",
    [
        ("check",),
        ("report",),
        ("prune",),
        ("backup", "copy.db"),
        ("rebuild",),
        ("erase", "--query", "a", "--yes"),
        ("export", "--table", "clicks"),
        ("keys", "list"),
        ("keys", "revoke", "00000000"),
    ],
    ids=" ".join,
)
def test_a_store_that_is_not_there_is_exit_code_3(words: tuple[str, ...], tmp_path: Path) -> None:
    done = run("--store", f"sqlite:///{tmp_path / 'none.db'}", *words)
    assert (done.exit_code, "there is no database" in done.output) == (3, True)
    assert list(tmp_path.iterdir()) == []


def test_check_says_how_far_it_is_and_keeps_nobody_from_writing(store: SQLiteStore) -> None:
    told: list[tuple[int, int]] = []
    with closing(sqlite3.connect(store.path, isolation_level=None, timeout=0.0)) as other:

        def tell(done: int, total: int) -> None:
            told.append((done, total))
            other.execute("BEGIN IMMEDIATE")
            other.execute("ROLLBACK")

        assert store.check(tell) == []
    assert told == sorted(told)
    assert told[-1][0] == told[-1][1]


def test_a_bar_is_for_a_terminal_and_for_long_work(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def shown(*, terminal: bool, after_s: float) -> str:
        monkeypatch.setattr(console, "BAR_AFTER_S", after_s)
        monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
        with console.progress("copying") as tell:
            tell(1, 2)
            tell(2, 2)
        return capsys.readouterr().err

    assert shown(terminal=False, after_s=0.0) == ""
    assert shown(terminal=True, after_s=60.0) == ""
    assert "copying" in shown(terminal=True, after_s=0.0)
