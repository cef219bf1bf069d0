"""Which queries contain a text: found once for all that a page asks, and for the pages after it.

A query's text never changes and its id is never another's (except after an erasure), so that what was
found holds on; only the queries that are new since are looked through again.
"""

from __future__ import annotations

import json
import sqlite3
from collections import OrderedDict
from threading import Lock
from typing import Any, NamedTuple

#: So many texts are remembered; each takes a byte for every query.
MOST_TEXTS = 4
#: Queries that are stored between the look at their texts and the statement that asks have no mark yet.
ROOM = bytes(100_000)
LAST = """
-- One row: the last query's id, and which generation of ids it is.
SELECT coalesce((SELECT max(id) FROM query), 0),
       coalesce((SELECT value FROM meta WHERE key = 'generation'), '')
"""
TEXT = "SELECT text FROM query WHERE id = :last"
FIND = """
-- One list of the new queries that contain a text.
SELECT json_group_array(id) FROM query WHERE id > :through AND id <= :last AND instr(text, :text) > 0
"""


class Heard(NamedTuple):
    """The queries that contain a text: ``marks[id]`` is 1. So many (``queries``) of those up to ``last``."""

    marks: bytearray
    queries: int
    last: int


class Texts:
    """The last few texts that were asked for, for all readers of one store in this process.

    Whether the database is still the same one, its file says, its generation of ids and its last query.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._edition: object = None
        self._last: tuple[int, object] = (0, None)
        self._heard: OrderedDict[str, Heard] = OrderedDict()

    def find(self, connection: sqlite3.Connection, file: object, text: str) -> Heard:
        """Return the queries with *text*; *file* tells one database from another at the same place."""
        last, generation = connection.execute(LAST).fetchone()
        with self._lock:
            if self._edition != (file, generation) or not self._goes_on(connection):
                self._heard.clear()
                self._edition = file, generation
            self._last = last, _text(connection, last)
            known = self._heard.pop(text, Heard(bytearray(ROOM), 0, 0))
            heard = known if known.last >= last else _hear(connection, known, last, text)
            self._heard[text] = heard
            if len(self._heard) > MOST_TEXTS:
                self._heard.popitem(last=False)
            return heard

    def _goes_on(self, connection: sqlite3.Connection) -> bool:
        last, text = self._last
        return _text(connection, last) == text


def _text(connection: sqlite3.Connection, query: int) -> object:
    row = connection.execute(TEXT, {"last": query}).fetchone()
    return row[0] if row else None


def _hear(connection: sqlite3.Connection, known: Heard, last: int, text: str) -> Heard:
    bound: dict[str, Any] = {"through": known.last, "last": last, "text": text}
    found = json.loads(connection.execute(FIND, bound).fetchone()[0])
    marks = known.marks
    marks.extend(bytes(last - known.last))
    for query in found:
        marks[query] = 1
    return Heard(marks, known.queries + len(found), last)
