"""F-10: the database or the journal is deleted or replaced while the site runs (a deploy, a restore).

The next batch goes into the file that is there now; what the journal still holds is in it. Of a journal that was removed what
waited there is lost, and new events are kept.
"""

from __future__ import annotations

import shutil
from contextlib import closing
from typing import Any

from clickmw.health import difference
from clickmw.stores import open_store
from clickmw.stores.base import StoreOptions


def test_f10_a_database_that_was_deleted_is_made_again(site: Any, eventually: Any) -> None:
    site.follow(5)
    site.door.worker.catch_up()
    site.database.unlink()
    site.follow(5)
    assert eventually(lambda: site.database.exists() and site.health()["pending"] == 0)
    # Until its file is full, the journal has the first ones too: the new database takes all of them.
    assert set(site.stored()) == set(site.followed)
    site.stands()


def test_f10_a_backup_that_is_put_into_the_place_is_the_database(
    site: Any, eventually: Any
) -> None:
    site.follow(5)
    site.door.worker.catch_up()
    with closing(open_store(f"sqlite:///{site.database}", StoreOptions())) as store:
        store.back_up(site.folder / "backup.db", lambda done, total: None)
    site.follow(5)
    site.door.worker.catch_up()
    shutil.copy(site.folder / "backup.db", site.folder / "restored.db")
    (site.folder / "restored.db").replace(site.database)
    site.follow(5)
    assert eventually(lambda: site.health()["pending"] == 0, 60.0)
    assert site.has_all()  # what came after the backup stood in the journal
    assert site.settle()["dropped"] == {}


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
