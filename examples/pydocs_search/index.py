"""Full-text search over the documents, with SQLite FTS5."""

from __future__ import annotations

import contextlib
import difflib
import functools
import os
import re
import sqlite3
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from .documents import Document, Progress, collect, stamp

SCHEMA_VERSION = 1
MAX_QUERY_TERMS = 12

# Left out of a query that has other words; in reference text they say nothing.
STOP_WORDS = re.compile(
    "a|an|and|are|as|at|by|do|does|for|from|how|i|in|is|it|of|on|or|python|the|this|to|what|with",
    re.IGNORECASE,
)

# How much a kind of page is preferred when the words fit equally well.
BOOSTS = {"module": 1.7, "class": 1.3, "function": 1.25, "topic": 1.1, "method": 1.0}

SCHEMA = """
CREATE TABLE document (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, title TEXT NOT NULL,
    signature TEXT NOT NULL, summary TEXT NOT NULL, text TEXT NOT NULL, parent TEXT NOT NULL,
    words TEXT NOT NULL, boost REAL NOT NULL);
CREATE INDEX document_parent ON document (parent);
CREATE VIRTUAL TABLE page USING fts5 (title, words, text,
    content = 'document', content_rowid = 'id', tokenize = 'porter unicode61', prefix = '2 3');
"""

INSERT = """
-- One row per document.
INSERT INTO document (name, kind, title, signature, summary, text, parent, words, boost)
VALUES (:name, :kind, :title, :signature, :summary, :text, :parent, :words, :boost)
"""

COUNT = """
-- One row: how many documents match.
SELECT count(*) FROM page WHERE page MATCH :match
"""

# bm25 is lower for better matches and below zero; a title counts eight times as much as text.
BEST = """
-- One row per document that matches, best first.
SELECT page.rowid FROM page JOIN document ON document.id = page.rowid
 WHERE page MATCH :match
 ORDER BY bm25(page, 8.0, 4.0, 1.0) * boost
          * CASE WHEN lower(document.title) IN (:title, 'the ' || :title) THEN 4.0 ELSE 1.0 END, document.name
 LIMIT :limit OFFSET :offset
"""

# An excerpt is cut only for the rows that are shown: cutting is dearer than ranking.
SHOWN = """
-- One row per document shown, with its excerpt.
SELECT page.rowid, name, kind, document.title, signature, summary, parent,
       snippet(page, 2, char(2), char(3), ' … ', 30)
  FROM page JOIN document ON document.id = page.rowid
 WHERE page MATCH :match AND page.rowid = :id
"""

BY_NAME = """
-- The document of this name.
SELECT name, kind, title, signature, summary, text, parent FROM document WHERE name = :name
"""

CHILDREN = """
-- One row per page directly below this one.
SELECT name, kind, title, signature, summary, '', parent FROM document
 WHERE parent = :name ORDER BY kind, name
"""

TITLES = """
-- One row per page that a person may mean by a single word.
SELECT title FROM document WHERE kind IN ('module', 'class', 'function')
"""


class SearchUnavailable(RuntimeError):
    """The demo's search cannot run with this Python; the message says what is missing."""


class Hit(NamedTuple):
    """One search result."""

    name: str
    kind: str
    title: str
    signature: str
    summary: str
    parent: str
    excerpt: tuple[tuple[str, bool], ...]  # pieces of text, True where a word of the query is


class Results(NamedTuple):
    """One page of results."""

    total: int  # in all, not on this page
    hits: tuple[Hit, ...]
    partial: bool  # no page has all words: these have some


NOTHING = Results(0, (), False)


def prepare(folder: Path, progress: Progress | None = None) -> Index:
    """Return the index kept in *folder*; build it first unless this Python built it before."""
    path = folder / f"pydocs-{stamp()}-{SCHEMA_VERSION}.db"
    if not path.is_file():
        build(path, collect(progress))
    return Index(path)


def build(path: Path, documents: Iterable[Document]) -> None:
    """Write an index to *path*; other processes see all of it or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=path.name, suffix=".new", dir=path.parent)
    os.close(handle)
    try:
        with contextlib.closing(sqlite3.connect(name)) as connection:
            require_fts5(connection)
            _fill(connection, documents)
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)


def require_fts5(connection: sqlite3.Connection, module: str = "fts5") -> None:
    """Raise :class:`SearchUnavailable` unless SQLite has its full-text module."""
    try:
        connection.execute(f"CREATE VIRTUAL TABLE temp.probe USING {module} (text)")
        connection.execute("DROP TABLE temp.probe")
    except sqlite3.OperationalError as error:
        raise SearchUnavailable(
            f"The demo searches with SQLite's full-text module FTS5, which SQLite "
            f"{sqlite3.sqlite_version} of this Python lacks ({error}); run it with a Python from "
            "python.org or from your distribution."
        ) from error


def _fill(connection: sqlite3.Connection, documents: Iterable[Document]) -> None:
    connection.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;" + SCHEMA)
    connection.executemany(INSERT, map(_row, documents))
    connection.execute("INSERT INTO page (page) VALUES ('rebuild')")
    connection.execute("INSERT INTO page (page) VALUES ('optimize')")
    connection.commit()


def _row(document: Document) -> dict[str, object]:
    boost = BOOSTS.get(document.kind, 1.0)
    return {**document._asdict(), "words": split_words(document.title), "boost": boost}


def split_words(title: str) -> str:
    """Return the words inside a name: "ThreadPoolExecutor" is found by "thread pool" too."""
    pieces = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", title)
    return " ".join(pieces) if len(pieces) > 1 else ""


def terms(query: str) -> list[str]:
    """Return the words to look for, at most twelve; of three or more without the stop words."""
    words = re.findall(r"\w+", _text(query))
    telling = [word for word in words if not STOP_WORDS.fullmatch(word)]
    # "with statement" and "for loop" mean their small word.
    return (telling if telling and len(words) > 2 else words)[:MAX_QUERY_TERMS]


def match_expression(words: list[str], joined_by: str) -> str:
    """Return words in FTS5 syntax; the last one may be the beginning of a longer word."""
    # Only word characters are left in the words, so quotes make each of them plain text.
    quoted = [f'"{word}"' for word in words]
    if len(words[-1]) > 1:
        quoted[-1] += "*"
    return f" {joined_by} ".join(quoted)


class Index:
    """Answer searches from any number of threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._free: deque[sqlite3.Connection] = deque()

    def search(self, query: str, *, limit: int = 10, offset: int = 0) -> Results:
        """Return the results *offset* + 1 to *offset* + *limit*; never fails on any text."""
        words = terms(query)
        if not words:
            return NOTHING
        found = self._find(match_expression(words, "AND"), query, limit, offset)
        if found.total or len(words) == 1:
            return found
        some = self._find(match_expression(words, "OR"), query, limit, offset)
        return some._replace(partial=some.total > 0)

    def _find(self, match: str, query: str, limit: int, offset: int) -> Results:
        with self._connection() as connection:
            (total,) = connection.execute(COUNT, {"match": match}).fetchone()
            if not total:
                return NOTHING
            title = _text(query.strip().lower())
            page = {"match": match, "title": title, "limit": limit, "offset": offset}
            ids = [id for (id,) in connection.execute(BEST, page)]
            rows = [connection.execute(SHOWN, {"match": match, "id": id}).fetchone() for id in ids]
        return Results(total, tuple(_hit(row) for row in rows), False)

    def get(self, name: str) -> Document | None:
        """Return the document of this name."""
        with self._connection() as connection:
            row = connection.execute(BY_NAME, {"name": _text(name)}).fetchone()
        return Document(*row) if row else None

    def children(self, name: str) -> list[Document]:
        """Return the pages directly below this one, without their texts."""
        with self._connection() as connection:
            return [Document(*row) for row in connection.execute(CHILDREN, {"name": name})]

    def suggest(self, query: str) -> str | None:
        """Return the known name that looks most like *query*, None when nothing comes close."""
        word = query.strip().lower()
        if not 3 <= len(word) <= 40:
            return None
        near = [name for name in self._vocabulary if abs(len(name) - len(word)) <= 2]
        return next(iter(difflib.get_close_matches(word, near, n=1, cutoff=0.75)), None)

    @functools.cached_property
    def _vocabulary(self) -> list[str]:
        with self._connection() as connection:
            titles = [title for (title,) in connection.execute(TITLES)]
        return sorted({word.lower() for title in titles for word in title.split(".")})

    def __len__(self) -> int:
        with self._connection() as connection:
            (count,) = connection.execute("SELECT count(*) FROM document").fetchone()
        return int(count)

    def close(self) -> None:
        """Close the connections that no thread is using."""
        while self._free:
            self._free.pop().close()

    @contextlib.contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """Lend a read-only connection to one thread at a time."""
        try:
            connection = self._free.pop()
        except IndexError:
            address = f"{self.path.absolute().as_uri()}?mode=ro&immutable=1"
            connection = sqlite3.connect(address, uri=True, check_same_thread=False)
        try:
            yield connection
        finally:
            self._free.append(connection)


def _hit(row: tuple[int, str, str, str, str, str, str, str]) -> Hit:
    _, name, kind, title, signature, summary, parent, excerpt = row
    return Hit(name, kind, title, signature, summary, parent, tuple(_pieces(excerpt)))


def _pieces(excerpt: str) -> Iterator[tuple[str, bool]]:
    """Split an excerpt at the marks that SQLite was told to set."""
    for piece in re.split(r"(\x02[^\x03]*\x03)", excerpt):
        if piece:
            yield piece.strip("\x02\x03"), piece.startswith("\x02")


def _text(value: str) -> str:
    """Return text that SQLite can take: without lone surrogates."""
    return value.encode("utf-8", "ignore").decode()
