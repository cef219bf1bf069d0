"""F-17: the database was written by a later clickmw.

Nothing is written to it and events wait in the journal. The report reads it when the later clickmw says that this one can;
health and doctor say to upgrade. After the upgrade all is taken in.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from typing import Any

import pytest

from clickmw.stores import _clickhouse_schema
from clickmw.stores._sqlite_schema import SCHEMA_VERSION
from clickmw.stores.postgresql import READER

#: The tests run on each of these kinds of store.
STORES = ("sqlite", "postgresql", "clickhouse")


@pytest.fixture
def newer(site_of: Any, eventually: Any) -> Any:
    """A site whose database has a schema of days to come."""
    site = site_of(report_auth=lambda environ: True)
    site.follow(5)
    assert eventually(lambda: site.health()["stored"] == 5)
    site.close()
    _say(site, 999, SCHEMA_VERSION)
    site._start()
    return site


def _say(site: Any, version: int, readable_by: int) -> None:
    if site.door.store.kind == "clickhouse":
        # Its versions are counted apart.
        ours = {SCHEMA_VERSION: _clickhouse_schema.SCHEMA_VERSION}
        said_at = time.time_ns() // 1_000_000
        for key, value in {"schema": version, "readable_by": readable_by}.items():
            line = f"'{key}', '{ours.get(value, value)}', {said_at}, 0"
            site.door.store.client.run(f"INSERT INTO meta SELECT {line}")
        return
    said = {"schema": version, "readable_by": readable_by}
    with closing(_connect(site)) as connection:
        if isinstance(connection, sqlite3.Connection):
            connection.execute(f"PRAGMA user_version = {said.pop('schema')}")
        for key, value in said.items():
            connection.execute("DELETE FROM meta WHERE key = ?", (key,))
            connection.execute("INSERT INTO meta (key, value) VALUES (?, ?)", (key, str(value)))


def _connect(site: Any) -> Any:
    if site.door.store.kind == "sqlite":
        return sqlite3.connect(site.database, isolation_level=None)
    return site.door.store._connect(READER.replace("read_only = on", "read_only = off"))


def _content(site: Any) -> Any:
    """Return all that the store has: the bytes of its file, else the rows that each batch changes."""
    if site.door.store.kind == "sqlite":
        return site.database.read_bytes()
    if site.door.store.kind == "clickhouse":
        names = ("meta", "segment", "raw", "host", "lease", "derived", "click", "day_result")
        return [sorted(site.door.store.client.rows(f"SELECT * FROM {name}")) for name in names]
    with closing(_connect(site)) as connection:
        tables = ("meta", "ledger", "segment", "host", "click", "day_result")
        return [sorted(connection.execute(f"SELECT * FROM {name}")) for name in tables]


def test_f17_the_report_is_read_and_events_wait(newer: Any, eventually: Any) -> None:
    before = _content(newer)
    newer.follow(5)
    newer.stands()
    assert eventually(lambda: newer.health()["pending"] >= 5)
    health = newer.health()
    assert (health["status"], health["dropped"], health["stored"]) == ("degraded", {}, 5)
    assert "Upgrade clickmw" in newer.causes()
    assert "later clickmw" in newer.doctor()
    assert newer.browser.get("/_clicks/report/overview.json", status=200).json
    assert _content(newer) == before


def test_f17_after_the_upgrade_all_is_taken_in(newer: Any, eventually: Any) -> None:
    newer.follow(5)
    assert eventually(lambda: newer.health()["pending"] >= 5)
    _say(newer, SCHEMA_VERSION, SCHEMA_VERSION)  # this clickmw is now as new as the database
    assert eventually(lambda: newer.health()["pending"] == 0, 60.0)
    assert newer.has_all()
    assert eventually(lambda: newer.health()["status"] == "ok")


def test_f17_a_schema_that_this_one_cannot_read_is_a_sentence(newer: Any) -> None:
    _say(newer, 999, 998)
    newer.stands()
    answer = newer.browser.get("/_clicks/report/", status=503)
    assert "Upgrade clickmw" in answer.text
    assert "later clickmw" in newer.doctor() or "Upgrade clickmw" in newer.doctor()
