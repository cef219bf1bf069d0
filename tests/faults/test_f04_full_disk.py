"""F-04: the disk is full.

Events wait in the journal while that has room on its disk; without room each one that is dropped is counted. Reports can be
read. When there is room again all goes on by itself, and ``clickmw prune`` needs none: two megabytes are kept back for it.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from clickmw.cli import main
from clickmw.errors import StoreError
from clickmw.events import Click
from clickmw.stores import _sqlite_reserve as reserve
from clickmw.stores.base import StoreOptions
from clickmw.stores.sqlite import SQLiteStore
from tests.faults.conftest import missing
from tests.postgres_server import PostgresServer

#: The tests run on each of these kinds of store.
STORES = ("sqlite", "postgresql")
#: Kind of store → why none of these tests runs on it.
NOT_ON = {
    "clickhouse": "its server refuses an insert as a whole when its disk is full, and is waited for as in F-21"
}

DAY_MS = 86_400_000


def test_f04_a_full_disk_stops_no_redirect_and_every_loss_is_counted(
    tmpfs: Any, sites: Callable[..., Any], fill: Any
) -> None:
    disk = tmpfs()
    site = sites(journal=str(disk / "journal"))
    site.follow(50)
    ballast = fill(disk)
    site.follow(100)
    site.stands()
    full = site.health()
    assert (full["status"], full["dropped"]["disk_full"] >= 70) == ("failing", True)
    assert "No space left on device" in site.causes()
    assert "make room" in site.doctor()
    ballast.unlink()
    kept = len(site.followed)
    site.follow(50)
    assert site.health()["status"] == "ok"
    ledger = site.settle()
    assert ledger["stored"] + ledger["dropped"]["disk_full"] == ledger["received"]
    assert set(site.stored()) >= {*site.followed[:50], *site.followed[kept:]}
    assert set(site.stored().values()) == {1}


def test_f04_while_the_database_has_no_room_events_wait_and_the_report_is_read(
    tmpfs: Any, sites: Callable[..., Any], fill: Any
) -> None:
    disk = tmpfs("3m")
    site = sites(store=f"sqlite:///{disk}/clicks.db", report_auth=lambda environ: True)
    site.database = disk / "clicks.db"
    site.follow(10)
    site.browser.get("/_clicks/report/", status=200)  # drains first
    ballast = fill(disk)
    site.follow(300)
    with pytest.raises(StoreError, match="full"), closing(site.door.worker) as worker:
        worker.drain.run_once()
    site.stands()
    assert site.health()["status"] == "degraded"
    assert "full" in site.causes()
    assert "as long as that has room" in site.causes()
    assert site.browser.get("/_clicks/report/overview.json", status=200).json
    ballast.unlink()
    assert site.settle()["pending"] == 0
    assert set(site.stored()) == set(site.followed)


def test_f04_a_drain_goes_on_by_itself_when_there_is_room_again(
    tmpfs: Any, sites: Callable[..., Any], fill: Any, eventually: Any
) -> None:
    disk = tmpfs("3m")
    site = sites(store=f"sqlite:///{disk}/clicks.db")
    site.database = disk / "clicks.db"
    site.follow(10)
    site.door.worker.catch_up()
    ballast = fill(disk)
    site.follow(400)
    assert eventually(lambda: site.health()["store"]["error"])
    ballast.unlink()
    assert eventually(lambda: site.health()["pending"] == 0)
    assert eventually(lambda: site.health()["status"] == "ok")


@pytest.fixture
def small_tablespace(root: None, postgres: PostgresServer) -> Iterator[tuple[str, Path]]:
    """The URL of a store in PostgreSQL that has a small disk, and the folder of that."""
    disk = postgres.folder.parent / "small"
    disk.mkdir()
    owner = f"uid={postgres.folder.stat().st_uid}"
    mount = ["mount", "-t", "tmpfs", "-o", f"size=24m,mode=700,{owner}", "tmpfs", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        missing("this root may not mount a file system")
    try:
        postgres.query(f"CREATE TABLESPACE small LOCATION '{disk}'")
        yield postgres.url("small") + "&options=-cdefault_tablespace%3Dsmall", disk
        (disk / "ballast").unlink(missing_ok=True)
        postgres.query("DROP SCHEMA small CASCADE")
        postgres.query("DROP TABLESPACE small")
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=False)


@pytest.mark.stores("postgresql")
def test_f04_while_a_server_has_no_room_events_wait_and_the_report_is_read(
    small_tablespace: tuple[str, Path], sites: Callable[..., Any], fill: Any, eventually: Any
) -> None:
    url, disk = small_tablespace
    site = sites(store=url, report_auth=lambda environ: True)
    site.follow(10)
    site.browser.get("/_clicks/report/", status=200)  # drains first
    ballast = fill(disk)
    site.follow(400)
    site.stands()
    assert eventually(lambda: "No space left" in site.causes())
    assert (site.health()["status"], site.health()["dropped"]) == ("degraded", {})
    assert site.browser.get("/_clicks/report/overview.json", status=200).json
    ballast.unlink()
    assert eventually(lambda: site.health()["pending"] == 0, 60.0)
    assert eventually(lambda: site.health()["status"] == "ok")
    site.settle()
    assert set(site.followed) <= set(site.stored())


@pytest.fixture
def small_reserve(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep something back on a small disk too, for a small database."""
    monkeypatch.setattr(reserve, "LEAST_DATABASE", 0)
    monkeypatch.setattr(reserve, "LEAST_FREE", 4 * 1024 * 1024)


def _old_events(path: Path, count: int, feed_of: Callable[..., Any]) -> None:
    old_ms = time.time_ns() // 1_000_000 - 60 * DAY_MS
    with closing(SQLiteStore(path, StoreOptions())) as store:
        feed = feed_of(store)
        clicks = [Click(old_ms + n, "a", f"https://example.org/{n}") for n in range(count)]
        feed(*clicks, Click(old_ms + 59 * DAY_MS, "a", "https://example.org/new"))


def test_f04_old_events_can_be_pruned_on_a_full_disk(
    tmpfs: Any, fill: Any, feed_of: Callable[..., Any], small_reserve: None
) -> None:
    disk = tmpfs("12m")
    path = disk / "clicks.db"
    _old_events(path, 3000, feed_of)
    assert (disk / "clicks.db-reserve").stat().st_size == reserve.RESERVE_BYTES
    fill(disk)
    words = ["--store", f"sqlite:///{path}", "prune", "--days", "30", "--json"]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    assert json.loads(done.output)["rows"] == 3000
    with closing(SQLiteStore(path, StoreOptions())) as store:
        feed = feed_of(store, "1750000000001-00000000ab")  # what is freed takes new events
        feed(*(Click(time.time_ns() // 1_000_000, "a", f"/{n}") for n in range(500)))
        assert store.check() == []


def test_f04_without_the_room_kept_back_nothing_could_be_pruned(
    tmpfs: Any, fill: Any, feed_of: Callable[..., Any]
) -> None:
    disk = tmpfs("12m")
    _old_events(disk / "clicks.db", 3000, feed_of)
    assert not (disk / "clicks.db-reserve").exists()
    fill(disk)
    words = ["--store", f"sqlite:///{disk}/clicks.db", "prune", "--days", "30"]
    done = CliRunner().invoke(main, words)
    assert (done.exit_code, "full" in done.output or "disk I/O" in done.output) == (3, True)


def test_f04_the_room_is_kept_back_again_when_there_is_plenty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "clicks.db"
    with closing(SQLiteStore(path, StoreOptions())) as store:
        store.migrate()
    assert not reserve.reserve_of(path).exists()  # it is too small
    monkeypatch.setattr(reserve, "LEAST_DATABASE", 0)
    with closing(SQLiteStore(path, StoreOptions())) as store:
        store.migrate()
        assert reserve.reserve_of(path).stat().st_mode & 0o777 == 0o600
        assert not reserve.give_back(path)  # the disk is not full
        monkeypatch.setattr(reserve, "free_bytes", lambda database: 1000)
        assert reserve.give_back(path)
        assert not reserve.reserve_of(path).exists()
    monkeypatch.undo()
    monkeypatch.setattr(reserve, "LEAST_DATABASE", 0)
    with closing(SQLiteStore(path, StoreOptions())) as store:
        store.migrate()
        assert reserve.reserve_of(path).exists()


@pytest.mark.stores("sqlite")
def test_f04_a_limit_of_the_database_itself_keeps_events_in_the_journal(site: Any) -> None:
    site.follow()
    site.close()
    drain = site.drain()
    drain.run_once()
    store = drain._store
    pages = store._writer().execute("PRAGMA page_count").fetchone()[0]
    store._writer().execute(f"PRAGMA max_page_count = {pages + 20}")
    drain.batch = 100
    for number in range(3000):
        site.journal.write((Click(1_750_000_000_000, "default", f"/{number}/" + "x" * 100),))
    with pytest.raises(StoreError, match="full"):
        drain.run_once()
    assert 0 < site.health()["pending"] < 3000
    store._writer().execute("PRAGMA max_page_count = 1000000")
    drain.run_once()
    drain.close()
    assert site.settle()["stored"] == 3001
