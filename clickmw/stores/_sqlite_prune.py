"""Raw rows that are old enough to go: found without a lock, deleted in small transactions."""

from __future__ import annotations

import sqlite3
from typing import Any

from clickmw.stores._sqlite_check import DAY_MS

#: Table → its key, and whether an index knows its rows by site and day.
TABLES = {
    "search": ("query_id", True),
    "click": ("id", True),
    "rating": ("id", True),
    "impression": ("id", False),
    "answer": ("id", False),
    "conversion": ("id", False),
    "came_back": ("id", False),
}
#: Table → keys of rows that may go.
Found = dict[str, list[tuple[Any]]]

# Calendars differ by a day; the time decides.
_OLD_BY_DAY = """
-- Rows of one site that are old, the first that are found.
SELECT {key} FROM {table} WHERE site = :site AND day <= :day AND received_ms < :before_ms LIMIT :limit
"""
_OLD = """
-- Rows that are old, the first that are found.
SELECT {key} FROM {table} WHERE received_ms < :before_ms LIMIT :limit
"""
FIND_SITES = "SELECT id FROM site ORDER BY id"
DELETE = {
    table: f"DELETE FROM {table} WHERE {key} = ? AND received_ms < ?"
    for table, (key, _) in TABLES.items()
}


def find_old(connection: sqlite3.Connection, before_ms: int, limit: int) -> Found:
    """Return up to *limit* rows of each table that were received before *before_ms*."""
    sites = [site for (site,) in connection.execute(FIND_SITES)]
    bound = {"day": before_ms // DAY_MS + 1, "before_ms": before_ms}
    found: Found = {}
    for table, (key, dated) in TABLES.items():
        sql = (_OLD_BY_DAY if dated else _OLD).format(table=table, key=key)
        rows: list[tuple[Any]] = []
        for site in sites if dated else [None]:
            asked = {**bound, "site": site, "limit": limit - len(rows)}
            rows += connection.execute(sql, asked).fetchall()
        found[table] = rows
    return found


def delete(connection: sqlite3.Connection, found: Found, before_ms: int) -> int:
    """Delete what was *found*, in the open transaction; return how many rows that were."""
    deleted = 0
    for table, rows in found.items():
        cursor = connection.executemany(DELETE[table], [(*row, before_ms) for row in rows])
        deleted += max(cursor.rowcount, 0)
    return deleted


def count_old(connection: sqlite3.Connection, before_ms: int) -> dict[str, int]:
    """Return how many rows of each table were received before *before_ms*."""
    return {
        table: connection.execute(
            f"SELECT count(*) FROM {table} WHERE received_ms < ?", (before_ms,)
        ).fetchone()[0]
        for table in TABLES
    }
