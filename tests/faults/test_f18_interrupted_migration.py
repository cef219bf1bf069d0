"""F-18: a migration is killed, at any of its statements.

It is one transaction: the next start finds the old schema or the new one, whole, and goes on.
"""

from __future__ import annotations

import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from clickmw.stores import _sqlite_schema as schema
from clickmw.stores.base import StoreOptions
from clickmw.stores.sqlite import SQLiteStore

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="kill -9 is POSIX")

DATABASES = Path(__file__).parents[1] / "databases"


def _old(path: Path, version: int) -> None:
    """Make a database as an earlier clickmw has left it; of version 0 there is none yet."""
    path.touch()
    if version:
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript((DATABASES / f"version_{version}.sql").read_text())
            connection.execute(f"PRAGMA user_version = {version}")
            connection.execute("PRAGMA journal_mode = WAL")


def _statements(path: Path) -> int:
    """Return how many statements it takes to migrate the database at *path*."""
    seen: list[str] = []
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.set_trace_callback(seen.append)
        schema.migrate(connection)
    return len(seen)


def _killed_at(path: Path, statement: int) -> None:
    """Migrate in another process that kills itself before one of its statements."""
    child = os.fork()
    if child == 0:
        try:
            left = statement

            def count(_sql: str) -> None:
                nonlocal left
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)

            connection = sqlite3.connect(path, isolation_level=None)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = OFF")  # the kernel outlives the process
            connection.set_trace_callback(count)
            schema.migrate(connection)
            os._exit(0)
        finally:  # a child that went on would run the other tests, too
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


@pytest.mark.parametrize(
    "each", [7, pytest.param(1, marks=pytest.mark.long)], ids=["some", "every-one"]
)
@pytest.mark.parametrize("version", [0, 1, 2])
def test_f18_a_migration_that_was_killed_at_any_statement_is_done_or_not(
    version: int, each: int, tmp_path: Path
) -> None:
    from sqlite_utils import Database, Migrations  # noqa: F401 (loaded once, not in each child)

    whole = tmp_path / "whole.db"
    _old(whole, version)
    count = _statements(whole)
    assert count > 40
    for statement in [*range(0, count - 3, each), *range(count - 3, count)]:
        path = tmp_path / f"{statement}.db"
        _old(path, version)
        _killed_at(path, statement)
        with closing(sqlite3.connect(path)) as connection:
            found = connection.execute("PRAGMA user_version").fetchone()[0]
            assert found in (version, schema.SCHEMA_VERSION)
            assert connection.execute("PRAGMA quick_check").fetchall() == [("ok",)]
        for end in ("", "-wal", "-shm"):
            path.with_name(path.name + end).unlink(missing_ok=True)


@pytest.mark.parametrize("version", [0, 1, 2])
def test_f18_after_the_kill_the_next_start_goes_on(version: int, tmp_path: Path, site: Any) -> None:
    whole = tmp_path / "whole.db"
    _old(whole, version)
    _old(site.database, version)
    _killed_at(site.database, _statements(whole) - 2)
    site.follow(5)
    site.stands()
    site.settle()
    assert set(site.followed) <= set(site.stored())
    with closing(SQLiteStore(site.database, StoreOptions())) as store:
        assert store.check() == []
