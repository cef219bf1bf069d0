"""How the report reads from SQLite: filters bound by name, and rows of one question."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from clickmw.errors import StoreError
from clickmw.queries import normal_query
from clickmw.rollups import BILLION
from clickmw.stores import _sqlite_damage as damage
from clickmw.stores._sqlite_queries import FACETS
from clickmw.stores.base import Filter, QueryRow

_EPOCH = date(1970, 1, 1)


class SQLiteReading:
    """A read-only connection; answers are a snapshot of the moment each is asked."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def _bind(self, asked: Filter, limit: int = 0, **more: int) -> dict[str, object]:
        return {
            "site": self._site(asked.site),
            "first_day": day_number(asked.first_day),
            "last_day": day_number(asked.last_day),
            "robots": int(asked.robots),
            "counted": self._term("robot" if asked.robots else ""),
            "result": self._term("result"),
            "ad": self._term("ad"),
            "text": None if asked.text is None else normal_query(asked.text),
            "named": None if asked.named is None else json.dumps(sorted(asked.named)),
            "billion": BILLION,
            "limit": limit,
            **{name: self._term(getattr(asked, name)) for name in ("module", *FACETS)},
            **more,
        }

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
