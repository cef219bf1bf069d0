"""What the report reads from SQLite: answers to its questions, as rows of the contract."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from clickmw.errors import StoreError
from clickmw.queries import normal_query
from clickmw.rollups import BILLION
from clickmw.stores import _sqlite_queries as sql
from clickmw.stores.base import (
    POSITION_BUCKETS,
    AdvertiserRow,
    DayRow,
    Explained,
    Filter,
    LiveRow,
    ModuleRow,
    PlaceRow,
    PositionRow,
    QueryRow,
    ResultRow,
    Totals,
)

_EPOCH = date(1970, 1, 1)


class SQLiteReader:
    """A read-only view of the store; answers are a snapshot of the moment each is asked."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def sites(self) -> list[str]:
        """Return the handles of all sites that have events, in order of the alphabet."""
        return [row[0] for row in self._rows("SELECT handle FROM site ORDER BY handle")]

    def site_zones(self) -> dict[str, str]:
        """Return site → the time zone its days are kept in."""
        return dict(self._rows("SELECT handle, time_zone FROM site"))

    def day_span(self, site: str | None) -> tuple[date, date] | None:
        """Return the first and the last day with events, None when there never were any."""
        first, last = self._rows(sql.DAY_SPAN, {"site": self._site(site)})[0]
        return None if first is None else (_date(first), _date(last))

    def totals(self, asked: Filter) -> Totals:
        """Return the sums over the days asked for."""
        sums = [int(value) for value in self._rows(sql.TOTALS, self._bind(asked))[0]]
        excluded = dict(self._rows(sql.EXCLUDED, self._bind(asked)))
        clicks = [*sums[6:9], sums[9] / BILLION, sums[10]]
        return Totals(*(*sums[:5], sums[5] / BILLION, *clicks, excluded))  # type: ignore[arg-type]

    def daily(self, asked: Filter) -> list[DayRow]:
        """Return every day asked for, in order."""
        found = {row[0]: row[1:] for row in self._rows(sql.DAILY, self._bind(asked))}
        days = range(_number(asked.first_day), _number(asked.last_day) + 1)
        return [DayRow(_date(day), *found.get(day, (0, 0, 0, 0, 0))) for day in days]

    def top_queries(self, asked: Filter, limit: int) -> list[QueryRow]:
        """Return the most searched queries."""
        return self._queries(sql.TOP_QUERIES, asked, limit)

    def queries_without_clicks(self, asked: Filter, limit: int) -> list[QueryRow]:
        """Return the most searched queries that had answers but no click."""
        return self._queries(sql.UNCLICKED_QUERIES, asked, limit)

    def queries_without_results(self, asked: Filter, limit: int) -> list[QueryRow]:
        """Return the queries that most often found nothing."""
        return self._queries(sql.EMPTY_QUERIES, asked, limit)

    def top_results(self, asked: Filter, limit: int) -> list[ResultRow]:
        """Return the most clicked results."""
        rows = self._rows(sql.TOP_RESULTS, self._bind(asked, limit))
        return [ResultRow(*(*row[:4], _mean(row[4], row[5]))) for row in rows]

    def positions(self, asked: Filter) -> list[PositionRow]:
        """Return impressions and clicks by position, module by module."""
        rows = self._rows(sql.POSITIONS, self._bind(asked))
        return [
            PositionRow(module, *POSITION_BUCKETS[bucket], *counts)
            for module, bucket, *counts in rows
        ]

    def modules(self, asked: Filter) -> list[ModuleRow]:
        """Return impressions and clicks by module, most clicked first."""
        rows = self._rows(sql.MODULES, self._bind(asked))
        return [ModuleRow(*(*row[:3], _mean(row[3], row[4]))) for row in rows]

    def daily_clicks(
        self,
        first_day: date,
        last_day: date,
        sites: Sequence[str] | None,
        *,
        limit: int,
        offset: int = 0,
    ) -> tuple[int, list[AdvertiserRow]]:
        """Return how many days with clicks of an advertiser there are, and one page of them."""
        asked = {
            "first_day": _number(first_day),
            "last_day": _number(last_day),
            "sites": None if sites is None else json.dumps(list(sites)),
            "limit": limit,
            "offset": offset,
        }
        rows = self._rows(sql.DAILY_CLICKS, asked)
        found = [AdvertiserRow(_date(row[1]), *row[2:]) for row in rows if row[1] is not None]
        return rows[0][0], found

    def explain_query(self, asked: Filter, query: str, *, searches: int) -> Explained:
        """Return what is known of *query*: its sums, and where its results were shown and clicked."""
        found = self._rows(sql.FIND_QUERY, (normal_query(query),))
        if not found:
            return Explained(None, 0, [])
        bound = {**self._bind(asked), "query": found[0][0], "searches": searches}
        rows = self._rows(sql.PLACES, bound)
        places = [PlaceRow(*row[1:]) for row in rows if row[1] is not None]
        sums = [_query_row(row) for row in self._rows(sql.QUERY_SUMS, bound)]
        return Explained(sums[0] if sums else None, rows[0][0], places)

    def live(self, limit: int) -> list[LiveRow]:
        """Return the last events as they were stored, newest first."""
        rows = [row for each in sql.LIVE for row in self._rows(each, {"limit": limit})]
        tail = sorted(rows, key=lambda row: row[0], reverse=True)[:limit]
        return [LiveRow(*row) for row in tail]

    def ledger(self) -> dict[str, int]:
        """Return the cumulative ledger, and ``unjoined``: clicks whose search has not arrived."""
        ledger = dict(self._rows("SELECT name, events FROM ledger"))
        waiting = "SELECT count(*) FROM click WHERE query IS NULL AND query_id IS NOT NULL"
        return {**ledger, "unjoined": self._rows(waiting)[0][0]}

    def watermarks(self) -> dict[str, tuple[int, int]]:
        """Return segment name → (bytes taken in, writer's running count there)."""
        rows = self._rows("SELECT name, taken, running FROM segment")
        return {name: (taken, running) for name, taken, running in rows}

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _queries(self, question: str, asked: Filter, limit: int) -> list[QueryRow]:
        return [_query_row(row) for row in self._rows(question, self._bind(asked, limit))]

    def _bind(self, asked: Filter, limit: int = 0) -> dict[str, int | None]:
        words = (
            asked.module,
            asked.device,
            asked.language,
            asked.profile,
            asked.source,
            asked.trust,
        )
        names = ("module", "device", "language", "profile", "source", "trust")
        return {
            "site": self._site(asked.site),
            "first_day": _number(asked.first_day),
            "last_day": _number(asked.last_day),
            "robots": int(asked.robots),
            "limit": limit,
            **{name: self._term(word) for name, word in zip(names, words, strict=True)},
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
            raise StoreError(
                f"the database cannot be read: {error}. Run: clickmw doctor"
            ) from error


def _number(day: date) -> int:
    return (day - _EPOCH).days


def _date(number: int) -> date:
    return _EPOCH + timedelta(days=number)


def _query_row(row: Sequence[Any]) -> QueryRow:
    return QueryRow(*(*row[:7], _mean(row[7], row[8])))


def _mean(total: int, count: int) -> float | None:
    return total / count if count else None
