"""F-18: a migration is killed, at any of its statements.

It is one transaction: the next start finds the old schema or the new one, whole, and goes on. (ClickHouse has none: what is
made stays, the version is written last, and the next start makes the rest.)
"""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from clickmw.stores import _sqlite_schema as schema
from clickmw.stores import open_store
from clickmw.stores._clickhouse_http import Client
from clickmw.stores.base import Store, StoreOptions
from clickmw.stores.sqlite import SQLiteStore

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="kill -9 is POSIX")

#: The tests run on each of these kinds of store.
STORES = ("sqlite", "postgresql", "clickhouse")

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
@pytest.mark.parametrize("version", [0, 1, 2, 3, 4, 5])
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


@pytest.mark.parametrize("version", [0, 1, 2, 3, 4, 5])
@pytest.mark.stores("sqlite")
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


# -- servers ---------------------------------------------------------------------------------------


@pytest.fixture
def new_url(store_kind: str, request: pytest.FixtureRequest) -> str:
    """The URL of a store on a server that has no tables yet."""
    if store_kind == "clickhouse":
        return str(request.getfixturevalue("lone_clickhouse_url"))
    return str(request.getfixturevalue("postgres").url("killed"))


@pytest.mark.stores("postgresql", "clickhouse")
@pytest.mark.parametrize(
    "kills", [3, pytest.param(40, marks=pytest.mark.long)], ids="{}-kills".format
)
def test_f18_a_server_whose_tables_were_being_made_is_whole_after_the_next_start(
    kills: int, new_url: str
) -> None:
    with closing(open_store(new_url, StoreOptions())) as store:
        counted = _migrated(store)
        assert counted > 40
        for number in range(kills):
            _take_away(store)
            _killed_while_migrating(new_url, counted * (2 * number + 1) // (2 * kills))
            store.close()
            store._migrated = False  # type: ignore[attr-defined]
            _migrated(store)
            assert store.check() == []
        _take_away(store)


def _sent(store: Store) -> tuple[type, list[str]]:
    """Return what sends the statements of *store*: a class, and the names of its methods."""
    if store.kind == "clickhouse":
        return Client, ["run"]
    from clickmw.stores._postgres_connection import Connection

    return Connection, ["execute", "plain", "executemany"]


def _count(store: Store, patch: pytest.MonkeyPatch, each: Callable[[], None]) -> None:
    """Let *each* be called before every statement."""
    kind, names = _sent(store)

    def before(method: Any) -> Any:
        def send(*given: Any, **named: Any) -> Any:
            each()
            return method(*given, **named)

        return send

    for name in names:
        patch.setattr(kind, name, before(getattr(kind, name)))


def _migrated(store: Store) -> int:
    """Migrate; return how many statements that took."""
    seen: list[None] = []
    with pytest.MonkeyPatch.context() as patch:
        _count(store, patch, lambda: seen.append(None))
        store.migrate()
    return len(seen)


def _killed_while_migrating(url: str, statement: int) -> None:
    child = os.fork()
    if child == 0:
        try:
            left = iter(range(statement))
            store = open_store(url, StoreOptions())
            with pytest.MonkeyPatch.context() as patch:
                _count(store, patch, lambda: _die() if next(left, None) is None else None)
                store.migrate()
        finally:  # a child that went on would run the other tests, too
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _take_away(store: Any) -> None:
    if store.kind == "clickhouse":
        store.client.run(f"DROP DATABASE {store.address.database}", database="default")
    else:
        with closing(store._connect("")) as connection:
            connection.plain(f"DROP SCHEMA {store.schema} CASCADE")
