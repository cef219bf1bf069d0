"""F-08: the database's file is damaged.

It is left as it is (it is the owner's): events wait in the journal, health and doctor say what to do, and what the report
cannot read is a page that says so. With a backup in its place the site goes on without a restart.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from clickmw import doctor
from clickmw.cli import main
from clickmw.errors import StoreError
from clickmw.stores import _sqlite_damage as damage

#: Kind of store → why none of these tests runs on it.
NOT_ON = dict.fromkeys(
    ("postgresql", "clickhouse"),
    "its files belong to the server, which checks them and refuses: events wait as in F-21",
)


def _header(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"\xff" * 100)


def _middle(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(12_288)
        file.write(b"\xff" * (path.stat().st_size - 20_480))


def _half(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def _text(path: Path) -> None:
    path.write_text("the owner's own notes " * 100)


DAMAGES = [_header, _middle, _half, _text]


@pytest.fixture
def stored(sites: Callable[..., Any]) -> Any:
    """A site with some stored events, whose drain is at rest."""
    site = sites(report_auth=lambda environ: True)
    site.follow(40)
    site.browser.get("/search?q=tax")
    site.door.worker.catch_up()
    site.close()
    with closing(site.drain()) as drain:
        drain.run_once()
    shutil.copy(site.database, site.folder / "backup.db")
    return site


@pytest.mark.parametrize("spoil", DAMAGES, ids=lambda spoil: spoil.__name__.strip("_"))
def test_f08_a_damaged_file_costs_no_event_and_a_backup_ends_it(
    spoil: Callable[[Path], None], stored: Any, eventually: Any
) -> None:
    site = stored
    spoil(site.database)
    damaged = site.database.read_bytes()
    site._start()
    site.follow(20)
    site.stands()
    assert "malformed" in site.doctor() or "not a database" in site.doctor()
    assert "backup" in site.doctor()
    answer = site.browser.get("/_clicks/report/", status="*")
    if answer.status_int != 200:
        assert (answer.status_int, "clickmw doctor" in answer.text) == (503, True)
        assert eventually(lambda: site.health()["status"] == "degraded")
    else:  # pages that nobody has asked for are damaged: whoever reads all of it finds them
        assert spoil is _middle
    assert site.health()["dropped"] == {}
    if spoil in (_header, _text):
        assert site.database.read_bytes() == damaged
        kept = len(site.followed)
        shutil.copy(site.folder / "backup.db", site.folder / "restored.db")
        (site.folder / "restored.db").replace(site.database)
        for end in ("-wal", "-shm"):
            site.database.with_name(site.database.name + end).unlink(missing_ok=True)
        assert eventually(lambda: site.health()["pending"] == 0, 60.0)
        assert eventually(lambda: site.causes() == "")
        site.settle()
        clicks = {
            url for url in site.stored() if url.startswith("https:")
        }  # the doctor sends others
        assert len(clicks) == kept


@pytest.mark.parametrize("spoil", DAMAGES, ids=lambda spoil: spoil.__name__.strip("_"))
def test_f08_check_finds_damage_and_says_what_to_do(
    spoil: Callable[[Path], None], stored: Any
) -> None:
    spoil(stored.database)
    done = CliRunner().invoke(main, ["--store", f"sqlite:///{stored.database}", "check"])
    assert done.exit_code in (1, 3)
    assert "ok:" not in done.output
    assert "damaged" in done.output or "not a database" in done.output or "malformed" in done.output


def test_f08_what_the_report_meets_stands_in_health_until_another_file_is_there(
    stored: Any,
) -> None:
    site = stored
    site._start()
    assert site.health()["status"] == "ok"
    _middle(site.database)
    with suppress(StoreError):
        site.door.store.find_damage(60.0)
    assert site.health()["status"] == "degraded"
    assert "malformed" in site.causes() or "is damaged" in site.causes()
    shutil.copy(site.folder / "backup.db", site.folder / "restored.db")
    (site.folder / "restored.db").replace(site.database)
    assert site.causes() == ""


def test_f08_a_file_too_large_to_be_read_at_once_is_said_to_be_so(
    stored: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(sqlite3.connect(stored.database)) as connection:
        connection.execute("CREATE TABLE large (id INTEGER PRIMARY KEY, text TEXT UNIQUE)")
        connection.execute(
            "WITH RECURSIVE n (id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < 50000)"
            " INSERT INTO large SELECT id, 'row ' || id FROM n"
        )
        connection.commit()
    assert stored.door.store.find_damage(-1.0) is None
    monkeypatch.setattr(doctor, "READ_S", -1.0)
    assert "not read to the end" in "; ".join(found.text for found in stored.findings())
    assert stored.door.store.find_damage(60.0) == []


def test_f08_a_file_that_is_gone_is_not_called_damaged(tmp_path: Path) -> None:
    damage.remember(tmp_path / "gone.db", "malformed")
    assert damage.known(tmp_path / "gone.db") is None
