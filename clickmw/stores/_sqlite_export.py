"""Rows to be taken elsewhere: the public views, and what else it takes to make the events again."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from clickmw.events import query_id_bytes
from clickmw.stores._sqlite_dictionaries import each_row, look_up
from clickmw.stores._sqlite_schema import view_sql
from clickmw.stores.base import Extract

_TERM = "(SELECT text FROM term WHERE id = {})"
_OWN_QUERY = "(SELECT text FROM query WHERE id = {}) AS own_query"
_SHOWN = """
  (SELECT json_group_array(json_array(url, position, module, doc_id, title)) FROM (
     SELECT result.url, json_extract(shown.value, '$[1]') AS position, term.text AS module,
            result.doc_id, result.title
       FROM json_each(search.impressions) AS shown
      CROSS JOIN result ON result.id = json_extract(shown.value, '$[0]')
      CROSS JOIN term ON term.id = json_extract(shown.value, '$[2]') ORDER BY shown.key)) AS shown"""
_SEEN = """
  (SELECT json_group_array(json_array(term.text, json_extract(mark.value, '$[0]'),
                                      json_extract(mark.value, '$[2]')))
     FROM json_each(search.seen) AS mark
    CROSS JOIN term ON term.id = json_extract(mark.value, '$[1]')) AS seen"""
#: View → what its events have beyond it.
_MORE = {
    "clicks": "lower(hex(click.view_id)) AS view_id, lower(hex(click.dedupe_key)) AS dedupe_key,"
    " click.told AS told",
    "searches": "lower(hex(search.event_id)) AS event_id, search.prefetched AS prefetched, search.activated AS activated,"
    f" lower(hex(search.viewed)) AS viewed, {_SHOWN}, {_SEEN}",
    "impressions": "shown.received_ms AS received_ms, lower(hex(shown.dedupe_key)) AS dedupe_key,"
    f" {_TERM.format('shown.device')} AS device, {_TERM.format('shown.language')} AS language,"
    f" {_TERM.format('shown.profile')} AS profile, {_OWN_QUERY.format('shown.query')}",
    "feedback": _OWN_QUERY.format("said.query"),
    "answers": "",
    "conversions": "lower(hex(said.dedupe_key)) AS dedupe_key",
}
_NAMES_OF_SHOWN = ["received_ms", "dedupe_key", "device", "language", "profile", "own_query"]
RETURNS = """
SELECT lower(hex(back.event_id)) AS event_id, date(back.received_ms / 1000, 'unixepoch') AS day,
       coalesce(site.handle, '') AS site, lower(hex(back.query_id)) AS query_id,
       nullif(lower(hex(back.visitor)), '') AS visitor, back.received_ms AS received_ms,
       lower(hex(back.view_id)) AS view_id, result.url AS url, result.doc_id AS doc_id,
       back.position AS position, back.dwell_s AS dwell_s, lower(hex(back.client_id)) AS client_id
  FROM came_back AS back JOIN result ON result.id = back.result
  LEFT JOIN search ON search.query_id = back.query_id LEFT JOIN site ON site.id = search.site
"""
_EVENT_TABLES = ("search", "click", "impression", "rating", "answer", "conversion", "came_back")
FIND_CLICKS = """
-- One row per click on a page of a list.
SELECT click.query_id, result.url, click.received_ms
  FROM click JOIN result ON result.id = click.result WHERE click.query_id IN ({})
"""


def export(connection: sqlite3.Connection, asked: Extract) -> Iterator[Sequence[Any]]:
    """Yield the names of the columns, and then the rows."""
    sql = f"""
SELECT * FROM ({_source(connection, asked)})
 WHERE day BETWEEN :first_day AND :last_day AND (:handle IS NULL OR site = :handle)
"""
    bound = {
        "first_day": asked.first_day.isoformat(),
        "last_day": asked.last_day.isoformat(),
        "handle": asked.site,
    }
    cursor = each_row(connection, sql, bound)
    yield [column for column, *_ in cursor.description]
    yield from cursor


def _source(connection: sqlite3.Connection, asked: Extract) -> str:
    if asked.table == "returns":
        return RETURNS
    if not asked.whole or not _MORE.get(asked.table):
        return f"SELECT * FROM {asked.table}"
    made = view_sql(asked.table)
    select = made.partition(" AS\n")[2]
    head = ""
    if asked.table == "impressions":  # those of searches stand with their searches
        select = select.partition("UNION ALL\n")[2]
        columns = connection.execute("SELECT * FROM impressions LIMIT 0").description
        names = [column for column, *_ in columns] + _NAMES_OF_SHOWN
        head = f"WITH shown_alone ({', '.join(names)}) AS ("
    own, start, rest = select.partition("\n  FROM ")
    sql = f"{own}, {_MORE[asked.table]}{start}{rest}"
    return f"{head}{sql}) SELECT * FROM shown_alone" if head else sql


def find_stored(connection: sqlite3.Connection, event_ids: Collection[bytes]) -> set[bytes]:
    """Return which of *event_ids* have a row; all rows are looked at once."""
    return {
        event_id
        for table in _EVENT_TABLES
        for (event_id,) in connection.execute(f"SELECT event_id FROM {table}")
        if event_id in event_ids
    }


def find_clicks(
    connection: sqlite3.Connection, query_ids: Collection[str]
) -> Iterator[tuple[bytes, str, int]]:
    """Yield query id, URL and time of each click on one of the pages *query_ids*."""
    keys = sorted(map(query_id_bytes, query_ids))
    for rows in look_up(connection, FIND_CLICKS, keys):
        yield from rows
