"""F-22: somebody reads the database for so long that SQLite's log cannot be emptied.

Reports end by themselves (each question is answered at once and lets go); doctor and health name a log of more than 80 MB. It
shrinks when the reader ends.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

import pytest

from clickmw.events import Click
from clickmw.stores import sqlite as sqlite_module
from tests.postgres_server import PostgresServer

#: The tests run on each of these kinds of store.
STORES = ("sqlite", "postgresql")
#: Kind of store → why none of these tests runs on it.
NOT_ON = {
    "clickhouse": "its answers come over HTTP, each whole: between two of them nobody holds anything"
}


@pytest.mark.stores("sqlite")
def test_f22_a_log_that_grows_is_named_and_shrinks_when_its_reader_ends(
    site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_module, "LONG_LOG", 600_000)
    pragmas = sqlite_module.PRAGMAS.replace("checkpoint = 4000", "checkpoint = 100")
    assert "limit = 67108864" in pragmas  # where a log ends that has shrunk: below what is named
    pragmas = pragmas.replace("limit = 67108864", "limit = 100000")
    monkeypatch.setattr(sqlite_module, "PRAGMAS", pragmas)
    site.follow(5)
    site.close()
    drain = site.drain()
    drain.batch = 200
    drain.run_once()
    log = site.database.with_name("clicks.db-wal")
    with closing(sqlite3.connect(site.database, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM clicks").fetchone()
        while log.stat().st_size < 600_000:
            for number in range(300):
                site.journal.write((Click(1_750_000_000_000, "default", f"/{number}"),))
            drain.run_once()
        assert site.health()["status"] == "degraded"
        assert "somebody has been reading the database" in site.causes()
        assert "clicks.db-wal has" in site.doctor()
        reader.execute("ROLLBACK")
    for number in range(400):
        site.journal.write((Click(1_750_000_000_000, "default", f"/{number}"),))
        drain.run_once() if number % 100 == 0 else None
    drain.run_once()
    assert log.stat().st_size < 600_000
    assert site.causes() == ""
    drain.close()
    assert site.settle()["dropped"] == {}


@pytest.mark.stores("sqlite")
def test_f22_an_open_reader_keeps_no_moment(site: Any) -> None:
    site.follow(5)
    site.door.worker.catch_up()
    with closing(site.door.store.reader()) as reader:
        assert reader.ledger()["stored"] >= 5
        site.close()
        with closing(site.drain()) as drain:
            drain.run_once()
        with closing(sqlite3.connect(site.database)) as connection:
            busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        assert busy == 0


@pytest.mark.stores("postgresql")
def test_f22_an_open_reader_keeps_no_old_rows_of_a_server(
    site: Any, postgres: PostgresServer
) -> None:
    """A transaction that stays open would keep VACUUM from all that was deleted since."""
    site.follow(5)
    site.door.worker.catch_up()
    with closing(site.door.store.reader()) as reader:
        assert reader.ledger()["stored"] >= 5
        (pid,) = reader._connection.execute("SELECT pg_backend_pid()").fetchone()
        asked = f"SELECT state, xact_start, backend_xmin FROM pg_stat_activity WHERE pid = {pid}"
        assert postgres.query(asked) == [("idle", None, None)]
