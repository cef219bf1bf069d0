"""F-17: the database was written by a later clickmw.

Nothing is written to it and events wait in the journal. The report reads it when the later clickmw says that this one can;
health and doctor say to upgrade. After the upgrade all is taken in.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

import pytest

from clickmw.stores._sqlite_schema import SCHEMA_VERSION


@pytest.fixture
def newer(sites: Any) -> Any:
    """A site whose database has a schema of days to come."""
    site = sites(report_auth=lambda environ: True)
    site.follow(5)
    site.door.worker.catch_up()
    site.close()
    _say(site, 999, SCHEMA_VERSION)
    site._start()
    return site


def _say(site: Any, version: int, readable_by: int) -> None:
    with closing(sqlite3.connect(site.database, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
        sql = "UPDATE meta SET value = ? WHERE key = 'readable_by'"
        assert connection.execute(sql, (str(readable_by),)).rowcount == 1


def test_f17_the_report_is_read_and_events_wait(newer: Any, eventually: Any) -> None:
    before = newer.database.read_bytes()
    newer.follow(5)
    newer.stands()
    assert eventually(lambda: newer.health()["pending"] >= 5)
    health = newer.health()
    assert (health["status"], health["dropped"], health["stored"]) == ("degraded", {}, 5)
    assert "Upgrade clickmw" in newer.causes()
    assert "later clickmw" in newer.doctor()
    assert newer.browser.get("/_clicks/report/overview.json", status=200).json
    assert newer.database.read_bytes() == before


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
