"""Texts and their ids: a text is stored once, rows hold numbers."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from hashlib import blake2b
from typing import Any

from clickmw.errors import BadEvent
from clickmw.stores.base import QUARTER_MS, StoreOptions
from clickmw.targets import host_of
from clickmw.zones import zone_of

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC).toordinal()
_MOST_CACHED = 200_000
_CHUNK = 400

_FIND_SITE = "SELECT id, time_zone FROM site WHERE handle = ?"
_ADD_SITE = "INSERT INTO site (handle, time_zone) VALUES (?, ?) ON CONFLICT DO NOTHING"
_ADD_TERM = "INSERT INTO term (text) VALUES (?) ON CONFLICT DO NOTHING"
_FIND_TERMS = """
-- One row per wanted word.
WITH wanted (text) AS (VALUES {})
SELECT term.text, term.id FROM wanted CROSS JOIN term ON term.text = wanted.text
"""
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


_NUMBER_HOSTS = "INSERT INTO own_advertiser (host, number) VALUES (?, ?) ON CONFLICT DO NOTHING"


def result_key(url: str, doc_id: str) -> str:
    """Return what a result is remembered by: its URL, and its own id where it has one."""
    return f"{url}\n{doc_id}" if doc_id else url


def advertiser_number(host: str) -> int:
    """Return the number of *host* as an advertiser of its own: 48 bits, the first one set.

    The same in every store, exact in JSON, and far from the numbers that people give.
    """
    return int.from_bytes(blake2b(host.encode(), digest_size=6).digest()) | 1 << 47


def number_hosts(connection: sqlite3.Connection, hosts: Sequence[int]) -> None:
    """Give each of *hosts* (ids of terms) its number as an advertiser."""
    for found in look_up(connection, "SELECT id, text FROM term WHERE id IN ({})", hosts):
        rows = [(host, advertiser_number(text)) for host, text in found]
        connection.executemany(_NUMBER_HOSTS, rows)


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
        self.numbered: set[int] = set()
        #: Whether URLs are known by their MD5 too; None until it was looked up.
        self.digests: bool | None = None
        self.words: dict[int, str] = {0: ""}
        self.dimensions: dict[tuple[str, ...], tuple[int, ...]] = {}
        self._own_hosts: dict[int, int] = {}
        self._zones: dict[int, tzinfo] = {}
        self._days: dict[tuple[int, int], int] = {}

    def make_room(self) -> None:
        """Keep the memory bounded: senders choose many of the words. Called before each batch."""
        if len(self.results) > _MOST_CACHED:
            self.results.clear()
            self.hosts.clear()
        if max(len(self.terms), len(self.words), len(self.dimensions)) > _MOST_CACHED:
            self.terms, self.words, self.dimensions = {"": 0}, {0: ""}, {}
            self.numbered.clear()

    def learn_queries(self, connection: sqlite3.Connection, texts: Iterable[str]) -> None:
        """Give every query its id; afterwards ``queries`` knows them all."""
        missing = sorted(text for text in set(texts) if text not in self.queries)
        if len(self.queries) + len(missing) > _MOST_CACHED:
            self.queries.clear()
            missing = sorted(set(texts))
        _learn(connection, _ADD_QUERIES, _FIND_QUERIES, missing, self.queries)

    def learn_results(
        self, connection: sqlite3.Connection, wanted: Iterable[tuple[str, str]]
    ) -> None:
        """Give every (url, doc_id) its id; afterwards ``results`` knows them all."""
        missing = sorted(wanted)
        if not all(isinstance(url, str) for url, _ in missing):
            raise BadEvent("a result has no address")
        hosts = [host_of(url) for url, _ in missing]
        unknown = sorted(set(hosts) - self.terms.keys())
        _learn(connection, _ADD_TERM, _FIND_TERMS, unknown, self.terms)
        rows = [(*pair, self.terms[host]) for pair, host in zip(missing, hosts, strict=True)]
        connection.executemany(_ADD_RESULTS, rows)
        for found in look_up(connection, _FIND_RESULTS, missing):
            self.results.update([(result_key(row[0], row[1]), row[2]) for row in found])
            self.hosts.update([(row[2], row[3]) for row in found])

    def host(self, connection: sqlite3.Connection, result: int, site: int) -> int:
        """Return the term of a result's host; one without (a path, an ad) is its site's."""
        found = self.hosts.get(result)
        if found is None:
            row = connection.execute("SELECT host FROM result WHERE id = ?", (result,)).fetchone()
            found = self.hosts[result] = int(row[0])
        return found or self._own_host(connection, site)

    def _own_host(self, connection: sqlite3.Connection, site: int) -> int:
        found = self._own_hosts.get(site)
        if found is None:
            row = connection.execute("SELECT handle FROM site WHERE id = ?", (site,)).fetchone()
            found = self._own_hosts[site] = self.term(connection, row[0])
        return found

    def number_hosts(self, connection: sqlite3.Connection, hosts: Iterable[int]) -> None:
        """Give each clicked host its number as an advertiser."""
        fresh = sorted(set(hosts) - self.numbered)
        number_hosts(connection, fresh)
        self.numbered.update(fresh)

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
            self._zones[found] = zone_of(zone)
            self.sites[handle] = found
        return found

    def day(self, site: int, received_ms: int) -> int:
        """Return the site's calendar day, counted from 1970-01-01 (zones shift by quarter hours)."""
        quarter = received_ms // QUARTER_MS
        found = self._days.get((site, quarter))
        if found is None:
            if len(self._days) > 10_000:
                self._days.clear()
            found = self._days[site, quarter] = day_at(self._zones[site], quarter)
        return found


def _learn(
    connection: sqlite3.Connection, add: str, find: str, texts: Sequence[str], known: dict[str, int]
) -> None:
    """Give each of *texts* its id, and add it to what is *known*."""
    connection.executemany(add, [(text,) for text in texts])
    for rows in look_up(connection, find, texts):
        known.update(rows)


def day_at(zone: tzinfo, quarter: int) -> int:
    """Return the calendar day in *zone* of a quarter hour, both counted from 1970."""
    return datetime.fromtimestamp(quarter * QUARTER_MS / 1000, zone).toordinal() - _EPOCH


def look_up(connection: sqlite3.Connection, sql: str, keys: Sequence[Any]) -> Iterator[list[Any]]:
    """Yield what *sql* finds for some of *keys* at a time; its ``{}`` stands for them."""
    if keys and not isinstance(connection, sqlite3.Connection):  # it takes all of them at once
        yield connection.look_up(sql, keys)
        return
    for start in range(0, len(keys), _CHUNK):
        chunk = keys[start : start + _CHUNK]
        several = isinstance(chunk[0], tuple)
        values = [part for key in chunk for part in key] if several else chunk
        marks = ", ".join("?" * len(chunk[0])) if several else "?"
        each = f"({marks})" if "VALUES {}" in sql else marks
        yield connection.execute(sql.format(", ".join([each] * len(chunk))), values).fetchall()


def each_row(
    connection: sqlite3.Connection, sql: str, values: Mapping[str, Any] | Sequence[Any] = ()
) -> Any:
    """Execute *sql* and return a cursor that never has all rows in memory."""
    return getattr(connection, "stream", connection.execute)(sql, values)
