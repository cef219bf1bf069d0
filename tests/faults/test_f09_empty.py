"""F-09: the database's file is empty, or lacks tables.

An empty file is a new database. One that says it has our schema and lacks a table is not touched: events wait, and health says
which table is missing.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

import pytest

#: The tests run on each of these kinds of store.
STORES = ("sqlite", "postgresql", "clickhouse")


@pytest.mark.stores("sqlite")
def test_f09_an_empty_file_becomes_a_database(site: Any) -> None:
    site.database.touch()
    site.follow(5)
    assert site.settle()["stored"] == 5


@pytest.mark.stores("sqlite")
def test_f09_a_file_that_was_emptied_while_the_site_runs_begins_anew(
    site: Any, eventually: Any
) -> None:
    site.follow(5)
    site.door.worker.catch_up()
    site.close()
    site.database.write_bytes(b"")
    site._start()
    site.follow(5)
    assert eventually(lambda: site.health()["pending"] == 0)
    assert site.settle()["dropped"] == {}
    assert site.has_all()  # the journal still had what stood in the old one


def test_f09_a_missing_table_is_named_and_costs_no_event(site: Any, eventually: Any) -> None:
    site.follow(5)
    site.door.worker.catch_up()
    site.close()
    _rename(site, "segment", "lost")
    site._start()
    site.follow(5)
    site.stands()
    assert eventually(lambda: site.health()["status"] == "degraded")
    assert any(word in site.causes() for word in ("no such table", "not exist", "UNKNOWN_TABLE"))
    _rename(site, "lost", "segment")
    assert eventually(lambda: site.health()["pending"] == 0, 60.0)
    assert set(site.followed) <= set(site.stored())


def _rename(site: Any, table: str, name: str) -> None:
    store = site.door.store
    if store.kind == "sqlite":
        with closing(sqlite3.connect(site.database)) as connection:
            connection.execute(f"ALTER TABLE {table} RENAME TO {name}")
    elif store.kind == "postgresql":
        with closing(store._connect("")) as connection:
            connection.plain(f"ALTER TABLE {table} RENAME TO {name}")
    else:
        store.client.run(f"RENAME TABLE {table} TO {name}")
