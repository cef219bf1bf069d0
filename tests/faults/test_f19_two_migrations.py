"""F-19: many processes find an old database and migrate it at once.

One does it, the others wait for it; no event is lost.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import traceback
from contextlib import closing
from pathlib import Path

import pytest

from clickmw.stores import open_store
from clickmw.stores._sqlite_schema import SCHEMA_VERSION
from clickmw.stores.base import StoreOptions

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked here")

#: The tests run on each of these kinds of store.
STORES = ("sqlite", "postgresql", "clickhouse")

OLD = Path(__file__).parents[1] / "databases" / "version_1.sql"


@pytest.mark.parametrize(
    ("processes", "rounds"),
    [(4, 3), pytest.param(8, 50, marks=pytest.mark.long)],
    ids=["4-processes", "8-processes"],
)
def test_f19_an_old_database_is_migrated_once_by_whoever_is_first(
    processes: int, rounds: int, tmp_path: Path
) -> None:
    import sqlite_utils  # noqa: F401 (loaded once, not in each child)

    old = tmp_path / "old.db"
    with closing(sqlite3.connect(old)) as connection:
        connection.executescript(OLD.read_text())
    for number in range(rounds):
        path = tmp_path / f"{number}.db"
        shutil.copy(old, path)
        assert _migrate_at_once(f"sqlite:///{path}", processes) == [0] * processes
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
        with closing(open_store(f"sqlite:///{path}", StoreOptions())) as store:
            assert store.check() == []


@pytest.mark.stores("postgresql", "clickhouse")
def test_f19_the_tables_of_a_server_are_made_once(
    store_kind: str, request: pytest.FixtureRequest
) -> None:
    if store_kind == "clickhouse":
        url = request.getfixturevalue("lone_clickhouse_url")
    else:
        import psycopg  # noqa: F401 (loaded once, not in each child)

        url = request.getfixturevalue("postgres").url("made_at_once")
    assert _migrate_at_once(url, 4) == [0] * 4
    with closing(open_store(url, StoreOptions())) as store:
        assert store.watermarks() == {}
        assert store.check() == []


def _migrate_at_once(url: str, processes: int) -> list[int]:
    """Let some processes migrate a store at the same moment; return how they ended."""
    ready, go = os.pipe()
    children = []
    for _ in range(processes):
        child = os.fork()
        if child == 0:
            try:
                os.close(go)
                os.read(ready, 1)  # ends when the parent lets go: all begin at once
                with closing(open_store(url, StoreOptions())) as store:
                    store.migrate()
                os._exit(0)
            finally:  # whatever was raised: a child that went on would run the other tests, too
                traceback.print_exc()
                os._exit(1)
        children.append(child)
    os.close(ready)
    os.close(go)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
