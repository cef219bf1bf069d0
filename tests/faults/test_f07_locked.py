"""F-07: another process holds the database's lock.

The drain waits in its own thread; no visitor, page or other process does. Events wait in the journal and are taken in when the
lock is free.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from clickmw.stores import sqlite as sqlite_module


def test_f07_a_locked_database_makes_no_visitor_wait(site: Any, eventually: Any) -> None:
    """How long is measured by the benchmarks (F9): here the lock outlives every request."""
    site.follow()
    site.door.worker.catch_up()
    with closing(sqlite3.connect(site.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        finished = threading.Event()

        def visit() -> None:
            site.follow(100)
            site.stands()
            finished.set()

        threading.Thread(target=visit).start()
        assert finished.wait(60)
        other.execute("ROLLBACK")
    assert eventually(lambda: site.health()["pending"] == 0)
    assert site.settle()["dropped"] == {}
    assert set(site.followed) <= set(site.stored())


def test_f07_a_lock_that_stays_is_named_and_waited_out(
    site: Any, eventually: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_module, "BUSY_MS", 200)
    monkeypatch.setattr(sqlite_module, "PRAGMAS", sqlite_module.PRAGMAS.replace("10000", "200"))
    site.follow()
    site.door.worker.catch_up()
    with closing(sqlite3.connect(site.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        site.follow(10)
        assert eventually(lambda: site.health()["store"]["error"])
        assert "locked" in site.causes()
        assert site.health()["status"] == "degraded"
        site.stands()
        other.execute("ROLLBACK")
    assert eventually(lambda: site.health()["pending"] == 0 and site.health()["status"] == "ok")


def test_f07_reports_are_read_while_somebody_writes(sites: Callable[..., Any]) -> None:
    site = sites(report_auth=lambda environ: True)
    site.follow(3)
    site.browser.get("/_clicks/report/overview.json", status=200)
    with closing(sqlite3.connect(site.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        reader = site.door.store.reader()
        try:
            assert reader.ledger()["stored"] >= 3
        finally:
            reader.close()
        other.execute("ROLLBACK")
