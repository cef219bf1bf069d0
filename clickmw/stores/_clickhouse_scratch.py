"""What the rules make of some events: they are run as they are, in a SQLite database in memory.

Texts have the same ids in every such database, made of themselves.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from clickmw.events import Click, Impression, Search, Shown
from clickmw.stores._clickhouse_http import BYTES
from clickmw.stores._clickhouse_numbers import number_of, query_number
from clickmw.stores._clickhouse_schema import ROWS
from clickmw.stores._sqlite_batch import result_of
from clickmw.stores._sqlite_dictionaries import Dictionaries, result_key
from clickmw.stores._sqlite_digests import SET_DIGEST, switch_on
from clickmw.stores._sqlite_intake import is_unstorable, take
from clickmw.stores._sqlite_schema import migrate
from clickmw.stores.base import Stored, StoreOptions
from clickmw.targets import host_of

#: Events that are taken in at once.
BATCH = 2000
#: Columns of bytes; hex digits on their way.
BLOBS = BYTES - {"owner"}
_REALS = frozenset(("dwell_s", "value"))
_ADD_TERM = "INSERT INTO term (id, text) VALUES (?, ?) ON CONFLICT DO NOTHING"
_ADD_QUERIES = "INSERT INTO query (id, text) VALUES (?, ?) ON CONFLICT DO NOTHING"
_ADD_RESULTS = """
INSERT INTO result (id, url, doc_id, host) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING
"""
_ADD_SITE = "INSERT INTO site (id, handle, time_zone) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"


class HashedDictionaries(Dictionaries):
    """Texts and ids that need no numbering."""

    def learn_queries(self, connection: sqlite3.Connection, texts: Iterable[str]) -> None:
        """Give every query its id."""
        missing = {text: query_number(text) for text in set(texts) if text not in self.queries}
        rows = [(number, text) for text, number in missing.items()]
        connection.executemany(_ADD_QUERIES, rows)
        self.queries.update(missing)

    def learn_results(
        self, connection: sqlite3.Connection, wanted: Iterable[tuple[str, str]]
    ) -> None:
        """Give every (url, doc_id) its id."""
        rows = []
        for url, doc_id in wanted:
            key = result_key(url, doc_id)
            number, host = number_of(key) or 1, self.term(connection, host_of(url))
            self.results[key] = number
            self.hosts[number] = host
            rows.append((number, url, doc_id, host))
        connection.executemany(_ADD_RESULTS, rows)

    def term(self, connection: sqlite3.Connection, text: str) -> int:
        """Return the id of a short word; 0 for none."""
        found = self.terms.get(text)
        if found is None:
            found = self.terms[text] = number_of(text)
            connection.execute(_ADD_TERM, (found, text))
        return found

    def site(self, connection: sqlite3.Connection, handle: str) -> int:
        """Return the id of a site."""
        if handle not in self.sites:
            zone = self.options.site_zones.get(handle, self.options.time_zone)
            connection.execute(_ADD_SITE, (number_of(handle) or 1, handle, zone))
        return super().site(connection, handle)


_template: list[sqlite3.Connection] = []


@contextmanager
def blank() -> Iterator[sqlite3.Connection]:
    """Lend a database in memory that has the schema and nothing in it."""
    if not _template:
        made = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        migrate(made)
        _template.append(made)
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    try:
        _template[0].backup(connection)
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA foreign_keys = OFF")
        yield connection
    finally:
        connection.close()


@contextmanager
def derived(
    events: Sequence[Stored],
    options: StoreOptions,
    zones: Mapping[str, str],
    urls: Mapping[str, str] | None = None,
) -> Iterator[sqlite3.Connection]:
    """Lend the database that the rules make of *events*, which are sorted by time.

    *urls* are those that digests of them mean; None where digests mean nothing.
    """
    known = replace(options, site_zones={**options.site_zones, **zones})
    with blank() as connection:
        dictionaries = HashedDictionaries(known)
        if urls is not None:
            _keep_digests(connection, dictionaries, urls)
        for start in range(0, len(events), BATCH):
            connection.execute("BEGIN")
            take(connection, dictionaries, events[start : start + BATCH], {})
            connection.execute("COMMIT")
        yield connection


def _keep_digests(
    connection: sqlite3.Connection, dictionaries: HashedDictionaries, urls: Mapping[str, str]
) -> None:
    """Let the rules know which URLs digests mean."""
    switch_on(connection)
    dictionaries.learn_results(connection, {(url, "") for url in urls.values()})
    rows = [
        (bytes.fromhex(docid), dictionaries.results[result_key(url, "")])
        for docid, url in urls.items()
    ]
    connection.executemany(SET_DIGEST, rows)


def find_unstorable(
    events: Sequence[Stored], options: StoreOptions, zones: Mapping[str, str]
) -> list[tuple[Stored, str]]:
    """Return those of *events* that cannot be taken in even alone, each with the reason."""
    known = replace(options, site_zones={**options.site_zones, **zones})
    with blank() as connection:
        parts = (events[start : start + BATCH] for start in range(0, len(events), BATCH))
        return [found for part in parts for found in _unstorable(connection, known, part)]


def _unstorable(
    connection: sqlite3.Connection, options: StoreOptions, events: Sequence[Stored]
) -> Iterator[tuple[Stored, str]]:
    why = _trouble_with(connection, options, events)
    if why is None:
        return
    if len(events) == 1:
        yield events[0], why
        return
    half = len(events) // 2
    for part in (events[:half], events[half:]):
        yield from _unstorable(connection, options, part)


def _trouble_with(
    connection: sqlite3.Connection, options: StoreOptions, events: Sequence[Stored]
) -> str | None:
    """Return why *events* cannot be taken in, None when they can; nothing of it stays."""
    connection.execute("BEGIN")
    try:
        take(connection, HashedDictionaries(options), events, {})
    except Exception as error:
        if not is_unstorable(error):
            raise
        return f"{type(error).__name__}: {error}"
    finally:
        connection.execute("ROLLBACK")
    return None


def titled_ms(events: Iterable[Stored]) -> dict[int, int]:
    """Return the id of each result that somebody gave a title → when that was first."""
    found: dict[int, int] = {}
    for _, event in events:
        for url, doc_id in _titled(event):
            number = number_of(result_key(url, doc_id)) or 1
            found.setdefault(number, event.received_ms)
    return found


def _titled(event: object) -> Iterator[tuple[str, str]]:
    shown: Sequence[Shown] = ()
    if isinstance(event, Search):
        shown, ad_id = event.impressions, ""
    elif isinstance(event, Impression):
        shown, ad_id = event.shown, event.ad_id
    elif isinstance(event, Click) and event.title:
        yield result_of(event.source, event.url, event.doc_id, event.query_id, event.ad_id)
    for each in shown:
        if each.title:
            yield result_of(event.source, each.url, each.doc_id, "", ad_id)  # type: ignore[attr-defined]


def columns_of(table: str) -> list[tuple[str, str]]:
    """Return name and ClickHouse's type of each column of a table of rows."""
    parts = ROWS[table].replace("Array(Tuple(Int64, Int64, Int64))", "Shown").split(",")
    return [(name, kind) for name, _, kind in (part.strip().partition(" ") for part in parts)]


#: What ClickHouse has beside the rows of SQLite.
_MADE = {
    ("impression", "place"): "id - min(id) OVER (PARTITION BY event_id)",
    (
        "click",
        "host",
    ): "coalesce((SELECT nullif(host, 0) FROM result WHERE result.id = click.result),"
    " (SELECT term.id FROM term JOIN site ON site.handle = term.text WHERE site.id = click.site), 0)",
    ("click", "ad"): "coalesce((SELECT id FROM term WHERE text = click.ad_id), 0)",
    ("search", "shown"): "json(impressions)",
}


def lines(connection: sqlite3.Connection, table: str) -> bytes:
    """Return the rows of *table* as lines of JSON, for ClickHouse."""
    names = [_said(table, name) for name, _ in columns_of(table)]
    return _lines(connection, f"SELECT json_array({', '.join(names)}) FROM {table}")


def _said(table: str, name: str) -> str:
    if (table, name) in _MADE:
        return _MADE[table, name]
    if name in BLOBS:
        return f"hex({name})"
    if name in _REALS:  # SQLite's JSON has 15 digits
        return f"CASE WHEN {name} IS NOT NULL THEN json(printf('%!.17g', {name})) END"
    return name


def _lines(connection: sqlite3.Connection, sql: str) -> bytes:
    return "\n".join([row[0] for row in connection.execute(sql)]).encode()


def add_rows(table: str, version: int) -> str:
    """Return the INSERT that takes the lines of a table of rows."""
    kinds = columns_of(table)
    given = ", ".join(f"c{n} {_given(name, kind)}" for n, (name, kind) in enumerate(kinds))
    taken = ", ".join(_taken(f"c{n}", name, kind) for n, (name, kind) in enumerate(kinds))
    names = ", ".join(name for name, _ in kinds)
    return (
        f"INSERT INTO {table} ({names}, version, gone) SELECT {taken}, {version}, 0"
        f" FROM input('{given}') FORMAT JSONCompactEachRow"
    )


def _given(name: str, kind: str) -> str:
    if kind == "Shown":
        return "Array(Tuple(Int64, Int64, Int64))"
    return "String" if name in BLOBS else kind


def _taken(column: str, name: str, kind: str) -> str:
    if name not in BLOBS:
        return column
    if kind.startswith("Nullable"):
        return f"if({column} = '', NULL, unhex({column}))"
    return f"unhex({column})"


#: Table of texts → its columns.
TEXTS = {
    "term": "id, text",
    "query": "id, text",
    "own_advertiser": "host, number",
}


def text_lines(connection: sqlite3.Connection, table: str) -> bytes:
    """Return the rows of a table of texts as lines of JSON."""
    return _lines(connection, f"SELECT json_array({TEXTS[table]}) FROM {table}")


def result_lines(connection: sqlite3.Connection, titled: Mapping[int, int]) -> bytes:
    """Return the results as lines of JSON, those with a title with when it was first given."""
    rows = connection.execute(
        "SELECT id, json_array(id, url, doc_id, host, title) FROM result"
    ).fetchall()
    latest = 1 << 60
    found = []
    for number, line in rows:
        version = latest - titled[number] if number in titled else 0
        found.append(f"{line[:-1]},{version}]")
    return "\n".join(found).encode()
