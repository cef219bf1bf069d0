"""Texts and their ids: a text is stored once, rows hold numbers."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from clickmw.errors import BadEvent
from clickmw.stores.base import QUARTER_MS, StoreOptions
from clickmw.targets import host_of

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC).toordinal()
_MOST_CACHED = 200_000
_CHUNK = 400

_FIND_SITE = "SELECT id, time_zone FROM site WHERE handle = ?"
_ADD_SITE = "INSERT INTO site (handle, time_zone) VALUES (?, ?) ON CONFLICT DO NOTHING"
_ADD_TERM = "INSERT INTO term (text) VALUES (?) ON CONFLICT DO NOTHING"
_ADD_QUERIES = "INSERT INTO query (text) VALUES (?) ON CONFLICT DO NOTHING"
_ADD_RESULTS = "INSERT INTO result (url, doc_id, host) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
# The joins are forced into this order: for a list of pairs SQLite would rather read the whole table.
_FIND_QUERIES = """
-- One row per wanted query.
WITH wanted (text) AS (VALUES {})
SELECT query.text, query.id FROM wanted CROSS JOIN query ON query.text = wanted.text
"""
_FIND_RESULTS = """
-- One row per wanted result.
WITH wanted (url, doc_id) AS (VALUES {})
SELECT result.url, result.doc_id, result.id, result.host FROM wanted
  CROSS JOIN result ON result.url = wanted.url AND result.doc_id = wanted.doc_id
"""


def result_key(url: str, doc_id: str) -> str:
    """Return what a result is remembered by: its URL, and its own id where it has one."""
    return f"{url}\n{doc_id}" if doc_id else url


class Dictionaries:
    """Texts and their ids, remembered between appends; forgotten when a transaction is lost."""

    def __init__(self, options: StoreOptions) -> None:
        self.options = options
        self.forget()

    def forget(self) -> None:
        """Remember nothing: ids of a lost transaction, or of another process's, may be others."""
        self.sites: dict[str, int] = {}
        self.terms: dict[str, int] = {"": 0}
        self.queries: dict[str, int] = {}
        self.results: dict[str, int] = {}
        self.hosts: dict[int, int] = {}
        self.words: dict[int, str] = {0: ""}
        self.dimensions: dict[tuple[str, ...], tuple[int, ...]] = {}
        self._zones: dict[int, ZoneInfo] = {}
        self._days: dict[tuple[int, int], int] = {}

    def learn_queries(self, connection: sqlite3.Connection, texts: Iterable[str]) -> None:
        """Give every query its id; afterwards ``queries`` knows them all."""
        missing = sorted((text,) for text in set(texts) if text not in self.queries)
        if len(self.queries) + len(missing) > _MOST_CACHED:
            self.queries.clear()
            missing = sorted((text,) for text in set(texts))
        connection.executemany(_ADD_QUERIES, missing)
        for rows in _look_up(connection, _FIND_QUERIES, "(?)", missing):
            self.queries.update(rows)

    def learn_results(
        self, connection: sqlite3.Connection, sites: Mapping[tuple[str, str], str]
    ) -> None:
        """Give every (url, doc_id) its id; afterwards ``results`` knows them all.

        *sites* says where each was seen: a path has no host of its own and is its site's.
        """
        if not all(isinstance(url, str) for url, _ in sites):
            raise BadEvent("a result has no address")
        missing = sorted(sites)
        hosts = [
            self.term(connection, host_of(url) or sites[url, doc_id]) for url, doc_id in missing
        ]
        rows = [(*pair, host) for pair, host in zip(missing, hosts, strict=True)]
        connection.executemany(_ADD_RESULTS, rows)
        for found in _look_up(connection, _FIND_RESULTS, "(?, ?)", missing):
            self.results.update([(result_key(row[0], row[1]), row[2]) for row in found])
            self.hosts.update([(row[2], row[3]) for row in found])

    def make_room(self) -> None:
        """Keep the memory for results bounded; called before a batch looks up its own."""
        if len(self.results) > _MOST_CACHED:
            self.results.clear()
            self.hosts.clear()

    def term(self, connection: sqlite3.Connection, text: str) -> int:
        """Return the id of a short word; 0 for none."""
        found = self.terms.get(text)
        if found is None:
            connection.execute(_ADD_TERM, (text,))
            row = connection.execute("SELECT id FROM term WHERE text = ?", (text,)).fetchone()
            found = self.terms[text] = int(row[0])
        return found

    def word(self, connection: sqlite3.Connection, term: int) -> str:
        """Return the text of a term id."""
        if term not in self.words:
            row = connection.execute("SELECT text FROM term WHERE id = ?", (term,)).fetchone()
            self.words[term] = str(row[0])
        return self.words[term]

    def site(self, connection: sqlite3.Connection, handle: str) -> int:
        """Return the id of a site; its time zone is recorded the first time and stays in force."""
        found = self.sites.get(handle)
        if found is None:
            zone = self.options.site_zones.get(handle, self.options.time_zone)
            connection.execute(_ADD_SITE, (handle, zone))
            found, zone = connection.execute(_FIND_SITE, (handle,)).fetchone()
            self.sites[handle] = found
            self._zones[found] = ZoneInfo(zone)
        return found

    def day(self, site: int, received_ms: int) -> int:
        """Return the site's calendar day, counted from 1970-01-01 (zones shift by quarter hours)."""
        quarter = received_ms // QUARTER_MS
        found = self._days.get((site, quarter))
        if found is None:
            moment = datetime.fromtimestamp(quarter * QUARTER_MS / 1000, self._zones[site])
            if len(self._days) > 10_000:
                self._days.clear()
            found = self._days[site, quarter] = moment.toordinal() - _EPOCH
        return found


def _look_up(
    connection: sqlite3.Connection, sql: str, marks: str, keys: Sequence[tuple[str, ...]]
) -> Iterable[list[Any]]:
    for start in range(0, len(keys), _CHUNK):
        chunk = keys[start : start + _CHUNK]
        values = [value for key in chunk for value in key]
        yield connection.execute(sql.format(", ".join([marks] * len(chunk))), values).fetchall()
