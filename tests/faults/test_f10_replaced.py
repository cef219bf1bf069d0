"""F-10: the database or the journal is deleted or replaced while the site runs (a deploy, a restore).

The next batch goes into the file that is there now; what the journal still holds is in it. Of a journal that was removed what
waited there is lost, and new events are kept.
"""

from __future__ import annotations

import shutil
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from clickmw.errors import StoreError
from clickmw.events import Click
from clickmw.health import difference
from clickmw.stores import open_store
from clickmw.stores.base import StoreOptions
from tests.postgres_server import find_programs

#: The tests run on each of these kinds of store.
STORES = ("sqlite", "postgresql", "clickhouse")


def _delete(site: Any) -> None:
    """Take the store away as its administrator can."""
    store = site.door.store
    if store.kind == "sqlite":
        return site.database.unlink()
    if store.kind == "postgresql":
        with closing(store._connect("")) as connection:
            connection.plain(f"DROP SCHEMA {store.schema} CASCADE")
    else:
        store.client.run(f"DROP DATABASE {store.address.database}")


def _is_there(site: Any) -> bool:
    """Tell whether somebody has made the store again."""
    store = site.door.store
    if store.kind == "sqlite":
        return bool(site.database.exists() and site.database.stat().st_size)
    try:
        return bool(store.describe()["ok"] and store.watermarks())
    except StoreError:
        return False


def _dump(site: Any, path: Path) -> None:
    store = site.door.store
    if store.kind == "sqlite":
        with closing(open_store(f"sqlite:///{site.database}", StoreOptions())) as opened:
            opened.back_up(path, lambda done, total: None)
    else:
        _run("pg_dump", f"--dbname={store.url}", f"--schema={store.schema}", f"--file={path}")


def _restore(site: Any, path: Path) -> None:
    if site.door.store.kind == "sqlite":
        shutil.copy(path, site.folder / "restored.db")
        (site.folder / "restored.db").replace(site.database)
    else:  # as the documentation says it: nobody sees the moment without tables, and makes them anew
        store = site.door.store
        _run(
            "psql", "--quiet", "--single-transaction", "--set=ON_ERROR_STOP=1", f"--dbname={store.url}",
            f"--command=LOCK TABLE {store.schema}.meta", f"--command=DROP SCHEMA {store.schema} CASCADE",
            f"--file={path}",
        )  # fmt: skip


def _run(program: str, *words: str) -> None:
    command = [str(find_programs() / program), *words]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert ran.returncode == 0, ran.stderr


def test_f10_a_database_that_was_deleted_is_made_again(site: Any, eventually: Any) -> None:
    site.follow(5)
    site.door.worker.catch_up()
    _delete(site)
    site.follow(5)  # what there is comes back with the drain's next tries
    assert eventually(lambda: _is_there(site) and set(site.stored()) == set(site.followed), 30.0)
    # Until its file is full, the journal has the first ones too: the new database takes all of them.
    assert set(site.stored().values()) == {1}
    site.stands()


@pytest.mark.stores("sqlite", "postgresql")
def test_f10_a_backup_that_is_put_into_the_place_is_the_database(
    site: Any, eventually: Any
) -> None:
    site.follow(5)
    site.door.worker.catch_up()
    _dump(site, site.folder / "backup")
    site.follow(5)
    site.door.worker.catch_up()
    _restore(site, site.folder / "backup")
    site.follow(5)
    assert eventually(lambda: site.health()["pending"] == 0, 60.0)
    assert site.has_all()  # what came after the backup stood in the journal
    assert site.settle()["dropped"] == {}


@pytest.mark.stores("postgresql")
def test_f10_no_id_of_before_a_restore_is_used_after_it(site: Any) -> None:
    """Between two batches of one connection, which has heard of nothing."""
    site.close()
    with closing(site.drain()) as drain:
        _follow_and_take_in(site, drain)
        _dump(site, site.folder / "backup")
        _follow_and_take_in(
            site, drain
        )  # what stands here is in the journal, and its ids are known
        _restore(site, site.folder / "backup")
        _follow_and_take_in(site, drain)
    assert site.has_all()
    assert site.settle()["dropped"] == {}


def _follow_and_take_in(site: Any, drain: Any) -> None:
    for number in range(len(site.followed), len(site.followed) + 5):
        site.followed.append(f"https://example.org/{number}")
        site.journal.write((Click(1_750_000_000_000, "default", site.followed[-1]),))
    drain.run_once()


def test_f10_a_journal_that_was_removed_costs_what_waited_and_no_more(
    site: Any, eventually: Any
) -> None:
    site.follow(5)
    site.door.worker.catch_up()
    shutil.rmtree(site.journal.folder)
    # As the worker does several times a second: it sees that its file is nowhere.
    assert eventually(lambda: not site.journal.write_tallies() or not site.journal.segment)
    kept = len(site.followed)
    site.follow(5)
    site.stands()
    assert eventually(lambda: set(site.followed[kept:]) <= set(site.stored()))
    ledger = site.door.routes.read_health()
    assert difference(ledger) == 0
