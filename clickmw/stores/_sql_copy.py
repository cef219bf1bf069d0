"""A whole store into an empty PostgreSQL one, row by row with all ids: every answer stays what it was.

Rows go in the order of their keys, some thousand in a transaction; what is there already says where to
go on. While it runs the new store takes no events: its version stands below zero.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

from clickmw.errors import StoreError
from clickmw.stores import _sqlite_schema as schema
from clickmw.stores._sqlite_dictionaries import each_row
from clickmw.stores.base import Tell

#: Rows of one transaction.
ROWS = 5000
#: Kept apart by each store: its version, and what its own writers tell each other.
OWN_LINES = ("schema", "generation", "copied_from")
COPYING = str(-schema.SCHEMA_VERSION)


def copy_store(source: sqlite3.Connection, target: Any, tell: Tell) -> dict[str, int]:
    """Copy all tables of *source*, an open read, into *target*; return table → rows.

    *target* is a connection to a store that is empty, or that an earlier run of the same source left.
    """
    tables = _tables()
    counts = {table: _count(source, table) for table in tables}
    _begin(target, json.dumps([counts, _ledger(source)], sort_keys=True))
    done = 0
    for table, (columns, key) in tables.items():
        for rows in _rows(source, target, table, columns, key):
            with _transaction(target):
                target.executemany(_insert(table, columns), rows)
            done += len(rows)
            tell(done, sum(counts.values()))
    _finish(source, target, tables, counts)
    return counts


def _tables() -> dict[str, tuple[list[str], list[str]]]:
    """Return table → its columns, and those of its key, of the schema that both have."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as empty:
        schema.migrate(empty)
        names = empty.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE '\\_%' ESCAPE '\\'"
        ).fetchall()
        found = {}
        for (name,) in names:
            info = empty.execute(f"PRAGMA table_info({name})").fetchall()
            key = sorted((row[5], row[1]) for row in info if row[5])
            if name != "meta" and not name.startswith("sqlite"):
                found[name] = [row[1] for row in info], [column for _place, column in key]
        return found


def _begin(target: Any, source: str) -> None:
    """Close the store for events, and make sure that it is empty or half a copy of the same *source*."""
    lines = dict(target.execute("SELECT key, value FROM meta").fetchall())
    if lines["schema"] != COPYING:
        if _count(target, "segment") or _count(target, "site") or _count(target, "ledger"):
            raise StoreError("the store to copy to has events already. Name an empty one.")
        with _transaction(target):
            target.execute("DELETE FROM term")  # it has some words from the beginning
            target.executemany(schema.SET_LINE, [("copied_from", source), ("schema", COPYING)])
    elif lines["copied_from"] != source:
        raise StoreError(
            "the store to copy from has changed since the copy was begun. Drop the schema of the one to "
            "copy to and begin again, with the site stopped."
        )


def _rows(
    source: Any, target: Any, table: str, columns: Sequence[str], key: Sequence[str]
) -> Iterator[list[tuple[Any, ...]]]:
    """Yield the rows of *table* behind the last one that *target* has, in the order of their keys."""
    order = ", ".join(key)
    last = target.execute(
        f"SELECT {order} FROM {table} ORDER BY {', '.join(f'{name} DESC' for name in key)} LIMIT 1"
    ).fetchone()
    behind = f"WHERE ({order}) > ({', '.join('?' * len(key))})" if last else ""
    chosen = ", ".join(f'{table}."{name}"' for name in columns)
    sql = f"SELECT {chosen} FROM {table} {behind} ORDER BY {order}"
    rows = []
    for row in each_row(source, sql, tuple(last or ())):
        rows.append(tuple(_storable(value, name) for name, value in zip(columns, row, strict=True)))
        if len(rows) == ROWS:
            yield rows
            rows = []
    if rows:
        yield rows


def _storable(value: Any, column: str) -> Any:
    """Return *value* as PostgreSQL can hold it: texts without NUL, places of repeats as bytes."""
    if isinstance(value, str):
        return value.replace("\0", "\ufffd")
    return value.to_bytes(8) if column == "place" and isinstance(value, int) else value


def _insert(table: str, columns: Sequence[str]) -> str:
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"


def _finish(
    source: Any, target: Any, tables: dict[str, tuple[list[str], list[str]]], counts: dict[str, int]
) -> None:
    """Compare, let new ids go on where the old ones end, and open the store for events."""
    for table, count in counts.items():
        if _count(target, table) != count:
            raise StoreError(f"the copy has {_count(target, table)} rows of {table}, not {count}")
    lines = source.execute("SELECT key, value FROM meta").fetchall()
    with _transaction(target):
        for table, (_columns, key) in tables.items():
            if key == ["id"]:
                target.plain(
                    f"SELECT setval(pg_get_serial_sequence('{target.schema}.{table}', 'id'),"
                    f" (SELECT coalesce(max(id), 0) + 1 FROM {table}), false)"
                )
        kept = [line for line in lines if line[0] not in OWN_LINES]
        target.executemany(schema.SET_LINE, [*kept, ("schema", str(schema.SCHEMA_VERSION))])
    target.plain("ANALYZE")


def _ledger(connection: Any) -> list[list[Any]]:
    rows = connection.execute("SELECT name, events FROM ledger ORDER BY name").fetchall()
    return [list(row) for row in rows]


def _count(connection: Any, table: str) -> int:
    return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


class _transaction:
    """One transaction of the store that is copied to."""

    def __init__(self, target: Any) -> None:
        self.target = target

    def __enter__(self) -> None:
        self.target.execute("BEGIN")

    def __exit__(self, kind: Any, *_: object) -> None:
        self.target.execute("COMMIT" if kind is None else "ROLLBACK")
