"""Rows that somebody wants gone: deleted everywhere, and with them all that only they knew."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from datetime import date
from typing import Any

from clickmw.errors import StoreError
from clickmw.queries import normal_query
from clickmw.stores._sqlite_check import DAY_MS
from clickmw.stores.base import Erasure

_EPOCH = date(1970, 1, 1).toordinal()
_SAID = ("click", "impression", "rating", "answer", "conversion", "came_back")
_HAS_QUERY = ("search", "click", "impression", "rating")
_HAS_RESULT = ("click", "impression", "came_back")

#: Texts that are no queries.
_TEXTS = {
    "query": ("text",),
    "result": ("url", "title", "doc_id"),
    "rating": ("comment",),
    "answer": ("question", "answer"),
    "conversion": ("items", "url"),
}

# One row per search that goes; per event that goes; per text that may have been known by them alone.
MARKS = """
CREATE TEMP TABLE gone_search (query_id BLOB PRIMARY KEY);
CREATE TEMP TABLE gone_event (event_id BLOB PRIMARY KEY);
CREATE TEMP TABLE left_query (id INTEGER PRIMARY KEY);
CREATE TEMP TABLE left_result (id INTEGER PRIMARY KEY);
"""
MARK_BELONGING = """
-- Views of pages that go, and pages of views: a page of many goes with its query alone.
INSERT INTO gone_search
SELECT query_id FROM search WHERE viewed IN (SELECT query_id FROM gone_search) ON CONFLICT DO NOTHING
"""
NAMED = "query_id IN (SELECT query_id FROM gone_search)"
FIND_SHOWING = """
-- One row per search that showed one of a list of results.
SELECT query_id, impressions, seen FROM search
 WHERE EXISTS (SELECT 1 FROM json_each(search.impressions) AS shown
                WHERE json_extract(shown.value, '$[0]') IN (SELECT id FROM left_result))
"""
CHANGE_SHOWN = """
-- One row per search whose page showed a result that goes.
UPDATE search SET impressions = ?, seen = ? WHERE query_id = ?
"""
FIND_STILL_SHOWN = """
-- One row per result of a list that some page showed.
SELECT DISTINCT json_extract(shown.value, '$[0]')
  FROM search CROSS JOIN json_each(search.impressions) AS shown
 WHERE json_extract(shown.value, '$[0]') IN (SELECT id FROM left_result)
"""


def erase(connection: sqlite3.Connection, wanted: Erasure) -> dict[str, int]:
    """Delete what *wanted* names, in the open transaction; return table → rows. Sums are not touched."""
    for statement in MARKS.split(";"):
        connection.execute(statement)
    counts: dict[str, int] = {}
    if wanted.query is not None:
        _mark_query(connection, wanted.query, counts)
    elif wanted.url is not None:
        _erase_result(connection, wanted.url, counts)
    else:
        _mark_visitor(connection, wanted, counts)
    connection.execute(MARK_BELONGING)
    for table in ("search", *_SAID):
        _delete(connection, table, NAMED, (), counts)
    for table in ("waiting_view", "recent_search"):
        connection.execute(f"DELETE FROM {table} WHERE {NAMED}")
    connection.execute("DELETE FROM sent_id WHERE event_id IN (SELECT event_id FROM gone_event)")
    return {table: rows for table, rows in counts.items() if rows}


def forget_texts(connection: sqlite3.Connection) -> dict[str, int]:
    """Delete the texts that no row and no sum has any more; called when the sums are right again."""
    shown = connection.execute(FIND_STILL_SHOWN).fetchall()
    connection.executemany("DELETE FROM left_result WHERE id = ?", shown)
    queries = _forget(connection, "query", (*_HAS_QUERY, "day_query"))
    results = _forget(connection, "result", (*_HAS_RESULT, "day_result"))
    for table in ("gone_search", "gone_event", "left_query", "left_result"):
        connection.execute(f"DROP TABLE {table}")
    return {"query": queries, "result": results}


def find_elsewhere(connection: sqlite3.Connection, wanted: Erasure) -> int:
    """Return how many other texts contain the query: titles, addresses, comments, answers."""
    text = normal_query(wanted.query or "")
    if not text:
        return 0
    found = (
        connection.execute(
            f"SELECT count(*) FROM {table} WHERE "
            + " OR ".join(f"instr(lower({column}), ?) > 0" for column in columns),
            (text,) * len(columns),
        ).fetchone()[0]
        for table, columns in _TEXTS.items()
    )
    return sum(found)


def _forget(connection: sqlite3.Connection, text: str, users: tuple[str, ...]) -> int:
    for table in users:
        connection.execute(
            f"DELETE FROM left_{text} WHERE id IN (SELECT {text} FROM {table}"
            f" WHERE {text} IN (SELECT id FROM left_{text}))"
        )
    if text == "result":
        connection.execute(
            "DELETE FROM url_digest WHERE result IN (SELECT id FROM left_result)",
        )
    sql = f"DELETE FROM {text} WHERE id IN (SELECT id FROM left_{text})"
    return connection.execute(sql).rowcount


def _mark_query(connection: sqlite3.Connection, text: str, counts: dict[str, int]) -> None:
    normal = normal_query(text)
    row = connection.execute("SELECT id FROM query WHERE text = ?", (normal,)).fetchone()
    if row is None:
        return
    connection.execute("INSERT INTO gone_search SELECT query_id FROM search WHERE query = ?", row)
    for table in ("click", "impression", "rating"):
        _delete(connection, table, "query = ?", row, counts)
    connection.execute("INSERT INTO left_query VALUES (?) ON CONFLICT DO NOTHING", row)
    # Of days whose rows are pruned the text goes too; the totals of the day stay.
    counts["day_query"] = connection.execute("DELETE FROM day_query WHERE query = ?", row).rowcount
    connection.execute("DELETE FROM total_query WHERE query = ?", row)


def _mark_visitor(connection: sqlite3.Connection, wanted: Erasure, counts: dict[str, int]) -> None:
    try:
        visitor = bytes.fromhex(wanted.visitor or "")
    except ValueError as error:
        raise StoreError("a visitor is 16 hex digits, as the views have it") from error
    where, bound = "visitor = ?", [visitor]
    if wanted.day is not None:
        # A day at the site may begin half a day before or after the one of UTC.
        start_ms = (wanted.day.toordinal() - _EPOCH) * DAY_MS
        where += " AND received_ms BETWEEN ? AND ?"
        bound += [start_ms - DAY_MS // 2, start_ms + 3 * DAY_MS // 2]  # type: ignore[list-item]
    sql = f"INSERT INTO gone_search SELECT query_id FROM search WHERE {where}"
    connection.execute(sql, bound)
    for table in _SAID:
        _delete(connection, table, where, bound, counts)
    connection.execute(f"DELETE FROM recent_search WHERE {where}", bound)
    text = f"%{visitor.hex()}%"
    connection.execute("DELETE FROM waiting_view WHERE body LIKE ?", (text,))


def _erase_result(connection: sqlite3.Connection, url: str, counts: dict[str, int]) -> None:
    connection.execute("INSERT INTO left_result SELECT id FROM result WHERE url = ?", (url,))
    ids = {number for (number,) in connection.execute("SELECT id FROM left_result")}
    shown = list(_shown_without(connection, ids))
    connection.executemany(CHANGE_SHOWN, shown)
    counts["shown"] = len(shown)
    for table in _HAS_RESULT:
        _delete(connection, table, "result IN (SELECT id FROM left_result)", (), counts)
    _delete(connection, "conversion", "url = ?", (url,), counts)
    connection.execute("DELETE FROM waiting_view WHERE instr(body, ?) > 0", (json.dumps(url),))
    for table in ("day_result", "total_result"):
        connection.execute(f"DELETE FROM {table} WHERE result IN (SELECT id FROM left_result)")


def _shown_without(
    connection: sqlite3.Connection, ids: set[int]
) -> Iterator[tuple[str, str | None, bytes]]:
    for query_id, impressions, seen in connection.execute(FIND_SHOWING).fetchall():
        rest = [shown for shown in json.loads(impressions) if shown[0] not in ids]
        places = {(position, module) for _, position, module in rest}
        marks = [mark for mark in json.loads(seen or "[]") if (mark[0], mark[1]) in places]
        yield _written(rest), _written(marks) if marks else None, query_id


def _written(rows: list[Any]) -> str:
    return json.dumps(rows, separators=(",", ":"))


def _delete(
    connection: sqlite3.Connection, table: str, where: str, bound: Any, counts: dict[str, int]
) -> None:
    """Delete rows, and remember their events and texts."""
    rows = f"FROM {table} WHERE {where}"
    connection.execute(
        f"INSERT INTO gone_event SELECT event_id {rows} ON CONFLICT DO NOTHING", bound
    )
    if table in _HAS_QUERY:
        sql = f"INSERT INTO left_query SELECT query {rows} AND query IS NOT NULL ON CONFLICT DO NOTHING"
        connection.execute(sql, bound)
    if table in _HAS_RESULT:
        connection.execute(
            f"INSERT INTO left_result SELECT result {rows} ON CONFLICT DO NOTHING", bound
        )
    if table == "search":
        connection.execute(
            "INSERT INTO left_result SELECT json_extract(shown.value, '$[0]')"
            f" FROM search CROSS JOIN json_each(search.impressions) AS shown WHERE {where}"
            " ON CONFLICT DO NOTHING",
            bound,
        )
    counts[table] = counts.get(table, 0) + connection.execute(f"DELETE {rows}", bound).rowcount
