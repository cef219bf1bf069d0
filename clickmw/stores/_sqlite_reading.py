"""How the report reads from SQLite: filters bound by name, and rows of one question."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from clickmw.errors import StoreError
from clickmw.queries import normal_query
from clickmw.rollups import BILLION
from clickmw.stores import _sqlite_damage as damage
from clickmw.stores._sqlite_queries import FACETS, MATCHING, MATCHING_GIVEN, as_heard
from clickmw.stores._sqlite_texts import Heard
from clickmw.stores.base import Filter, QueryRow

_EPOCH = date(1970, 1, 1)
#: So many queries with a text are looked for once, and not by each statement again.
MOST_GIVEN = 2_000
IDS = """
-- One row per query of a list of texts.
SELECT query.id FROM json_each(:among) AS given JOIN query ON query.text = given.value
"""


class SQLiteReading:
    """A read-only connection; answers are a snapshot of the moment each is asked.

    *hear* finds the queries with a text where the connection can be given a function that knows them.
    """

    def __init__(
        self, connection: sqlite3.Connection, hear: Callable[[str], Heard] | None = None
    ) -> None:
        self._connection = connection
        self._hear = hear
        self._given: tuple[object, str | None] | None = None
        self._heard: tuple[object, Heard] | None = None

    def _bind(self, asked: Filter, limit: int = 0, **more: int) -> dict[str, object]:
        text = None if asked.text is None else normal_query(asked.text)
        return {
            "site": self._site(asked.site),
            "first_day": day_number(asked.first_day),
            "last_day": day_number(asked.last_day),
            "robots": int(asked.robots),
            "counted": self._term("robot" if asked.robots else ""),
            "result": self._term("result"),
            "ad": self._term("ad"),
            "text": text,
            "named": None if asked.named is None else json.dumps(sorted(asked.named)),
            "matching": None if text is None else self._matching(text, asked.named),
            "billion": BILLION,
            "limit": limit,
            **{name: self._term(getattr(asked, name)) for name in ("module", *FACETS)},
            **more,
        }

    def _matching(self, text: str, named: frozenset[str] | None) -> str | None:
        """Return the ids of the queries that are asked for as JSON, while nothing is written.

        Those of *named*, which all have the *text*; else those with the text, None when they are many.
        """
        moment = text, named, self._version()
        if self._given is None or self._given[0] != moment:
            bound = {
                "text": text,
                "limit": MOST_GIVEN + 1,
                "among": json.dumps(sorted(named or ())),
            }
            if named is None and self._hear is not None:
                found = self._few_heard(text)
            else:
                question = f"{MATCHING} LIMIT :limit" if named is None else IDS
                found = [number for (number,) in self._rows(question, bound)]
            few = named is not None or len(found) <= MOST_GIVEN
            self._given = moment, json.dumps(found) if few else None
        return self._given[1]

    def _few_heard(self, text: str) -> list[int]:
        """Return the ids of the queries with *text*; of more than can be given, any."""
        marks, count, last = self._queries_with(text)
        if count > MOST_GIVEN:
            return [0] * count
        found, place = [], marks.find(1)
        while 0 <= place <= last:
            found.append(place)
            place = marks.find(1, place + 1)
        return found

    def _queries_with(self, text: str) -> Heard:
        """Return the queries with *text*, which ``has_text`` knows from now on."""
        moment = text, self._version()
        if self._heard is None or self._heard[0] != moment:
            assert self._hear is not None
            heard = self._hear(text)
            knows = heard.marks.__getitem__
            self._connection.create_function("has_text", 1, knows, deterministic=True)
            self._heard = moment, heard
        return self._heard[1]

    def _version(self) -> int:
        """Return a number that is another one when somebody has written."""
        return int(self._rows("PRAGMA data_version")[0][0])

    def _site(self, handle: str | None) -> int | None:
        if handle is None:
            return None
        rows = self._rows("SELECT id FROM site WHERE handle = ?", (handle,))
        return rows[0][0] if rows else -1

    def _term(self, text: str | None) -> int | None:
        if text is None:
            return None
        rows = self._rows("SELECT id FROM term WHERE text = ?", (text,))
        return rows[0][0] if rows else -1

    def _rows(
        self, question: str, values: Sequence[object] | Mapping[str, object] = ()
    ) -> list[Any]:
        if isinstance(values, Mapping) and values.get("matching") is not None:
            question = question.replace(MATCHING, MATCHING_GIVEN)
        elif self._heard and isinstance(values, Mapping) and values.get("text") is not None:
            question = as_heard(question)
        try:
            return self._connection.execute(question, values).fetchall()
        except sqlite3.Error as error:
            damage.note(self._connection, error)
            raise StoreError(
                f"the database cannot be read: {error}. Run: clickmw doctor"
            ) from error


def is_by_more(asked: Filter) -> bool:
    """Tell whether *asked* says more than site, days and text: what rollups of queries do not know."""
    chosen = (getattr(asked, name) for name in ("module", *FACETS))
    return asked.robots or any(word is not None for word in chosen)


def day_number(day: date) -> int:
    """Return a day as the tables have it: days since 1970."""
    return (day - _EPOCH).days


def day_date(number: int) -> date:
    """Return the day that the tables have as *number*."""
    return _EPOCH + timedelta(days=number)


def query_row(row: Sequence[Any]) -> QueryRow:
    """Return a row of text, six sums, sum of positions and placed clicks as the contract has it."""
    return QueryRow(*(*row[:7], mean_of(row[7], row[8])))


def mean_of(total: int, count: int) -> float | None:
    """Return total / count, None where there is nothing to divide by."""
    return total / count if count else None
