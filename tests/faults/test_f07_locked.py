"""F-07: another process holds the database's lock.

The drain waits in its own thread; no visitor, page or other process does. Events wait in the journal and are taken in when the
lock is free.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from clickmw.middleware import store_of
from clickmw.stores import postgresql
from clickmw.stores import sqlite as sqlite_module

#: The tests run on each of these kinds of store.
STORES = ("sqlite", "postgresql")
#: Kind of store → why none of these tests runs on it.
NOT_ON = {
    "clickhouse": "it has no lock that a writer could hold: any number of hosts append at once (F-16)"
}


@contextmanager
def locked(site: Any) -> Iterator[None]:
    """Write to the site's store, as another process would that does not come to its end."""
    with closing(store_of(site.clicks.settings)) as other, other._transaction(False):
        yield


def test_f07_a_locked_database_makes_no_visitor_wait(site: Any, eventually: Any) -> None:
    """How long is measured by the benchmarks (F9): here the lock outlives every request."""
    site.follow()
    site.door.worker.catch_up()
    with locked(site):
        finished = threading.Event()

        def visit() -> None:
            site.follow(100)
            site.stands()
            finished.set()

        threading.Thread(target=visit).start()
        assert finished.wait(60)
    assert eventually(lambda: site.health()["pending"] == 0)
    assert site.settle()["dropped"] == {}
    assert set(site.followed) <= set(site.stored())


def test_f07_a_lock_that_stays_is_named_and_waited_out(
    site: Any, eventually: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_module, "BUSY_MS", 200)
    monkeypatch.setattr(sqlite_module, "PRAGMAS", sqlite_module.PRAGMAS.replace("10000", "200"))
    monkeypatch.setattr(postgresql, "WRITER", postgresql.WRITER.replace("10000", "200"))
    site.follow()
    site.door.worker.catch_up()
    with locked(site):
        site.follow(10)
        assert eventually(lambda: site.health()["store"]["error"])
        assert "lock" in site.causes()
        assert site.health()["status"] == "degraded"
        site.stands()
    assert eventually(lambda: site.health()["pending"] == 0 and site.health()["status"] == "ok")


def test_f07_reports_are_read_while_somebody_writes(site_of: Callable[..., Any]) -> None:
    site = site_of(report_auth=lambda environ: True)
    site.follow(3)
    site.browser.get("/_clicks/report/overview.json", status=200)
    with locked(site):
        reader = site.door.store.reader()
        try:
            assert reader.ledger()["stored"] >= 3
        finally:
            reader.close()
