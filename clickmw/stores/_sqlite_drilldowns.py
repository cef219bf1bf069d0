"""What the report reads from SQLite about one query, one result, and the sessions of visitors."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date
from statistics import median
from typing import Any

from clickmw.queries import normal_query
from clickmw.stores import _sqlite_drilldown_queries as sql
from clickmw.stores import _sqlite_sessions as going
from clickmw.stores._sqlite_reading import (
    SQLiteReading,
    day_date,
    day_number,
    mean_of,
    query_row,
)
from clickmw.stores.base import (
    ChainRow,
    Dwell,
    Explained,
    Filter,
    NeighbourRow,
    PlaceRow,
    QueryDayRow,
    ResultDayRow,
    ResultQueryRow,
    Sessions,
)

#: A visitor who is back sooner has not found it. Source: the customary cut of the literature.
SHORT_S = 10
#: A visitor who stays longer has.
LONG_S = 30
#: What the rollups of queries and results are not kept by.
_FURTHER = ("module", "device", "language", "profile", "source", "trust")
#: A day without clicks where impressions are not kept: clicks, impressions, positions, placed clicks.
_NO_CLICKS = (0, None, 0, 0)


class DrilldownReader(SQLiteReading):
    """The drill-downs of a reader."""

    # -- one query ---------------------------------------------------------------------------------

    def explain_query(self, asked: Filter, query: str, *, searches: int) -> Explained:
        """Return what is known of *query*: its sums, and where its results were shown and clicked."""
        number = self._query(asked, query)
        if number is None:
            return Explained(None, 0, [])
        bound = self._ask(asked, query=number, searches=searches)
        rows = self._rows(sql.PLACES, bound)
        places = [PlaceRow(*row[1:]) for row in rows if row[1] is not None]
        sums = [query_row(row) for row in self._rows(sql.QUERY_SUMS, bound)]
        return Explained(sums[0] if sums else None, rows[0][0], places)

    def query_days(self, asked: Filter, query: str) -> list[QueryDayRow]:
        """Return every day asked for of one query, in order; a search has no module, its clicks have."""
        bound = self._ask(asked, query=self._query(asked, query))
        if not _is_by_more(asked):
            kept = {row[0]: row[1:] for row in self._rows(sql.QUERY_DAYS, bound)}
            return [_query_day(day, kept.get(day, (0,) * 8)) for day in _days(asked)]
        searched = {row[0]: row[1:] for row in self._rows(sql.QUERY_DAYS_SEARCHED, bound)}
        clicked = {row[0]: row[1:] for row in self._rows(sql.QUERY_DAYS_CLICKED, bound)}
        return [
            _query_day(day, (*searched.get(day, (0,) * 4), *clicked.get(day, _NO_CLICKS)))
            for day in _days(asked)
        ]

    def query_dwell(self, asked: Filter, query: str, *, clicks: int) -> Dwell:
        """Return how long visitors stayed, from the latest *clicks* of the query."""
        bound = self._ask(asked, query=self._query(asked, query), clicks=clicks)
        dwells = [dwell_s for (dwell_s,) in self._rows(sql.QUERY_DWELL, bound)]
        known = [dwell_s for dwell_s in dwells if dwell_s is not None]
        return Dwell(
            known=len(known),
            short=sum(dwell_s < SHORT_S for dwell_s in known),
            long=sum(dwell_s >= LONG_S for dwell_s in known),
            unknown=len(dwells) - len(known),
            median_s=median(known) if known else None,
        )

    def query_neighbours(
        self, asked: Filter, query: str, *, searches: int, limit: int
    ) -> tuple[list[NeighbourRow], list[NeighbourRow]]:
        """Return what was searched within 5 minutes before and after the latest *searches* of a query.

        The filter is that of the query's own searches, which need a visitor; what stands beside
        them is of the same site and visitor, whatever else it is.
        """
        bound = self._ask(asked, query=self._query(asked, query), searches=searches)
        rows = self._rows(sql.QUERY_NEIGHBOURS, bound)
        before, after = ([NeighbourRow(*row[1:]) for row in rows if row[0] == n] for n in (0, 1))
        return before[:limit], after[:limit]

    # -- one result --------------------------------------------------------------------------------

    def result_queries(self, asked: Filter, url: str, limit: int) -> list[ResultQueryRow]:
        """Return which queries led to a result, most clicks first."""
        rows = self._rows(sql.RESULT_QUERIES, self._ask(asked, url=url, limit=limit))
        return [
            ResultQueryRow(query, clicks, positioned, mean_of(positions, positioned))
            for query, clicks, positions, positioned in rows
        ]

    def result_days(self, asked: Filter, url: str) -> list[ResultDayRow]:
        """Return every day asked for of one result, in order."""
        is_kept = not _is_by_more(asked) and asked.text is None
        question = sql.RESULT_DAYS if is_kept else sql.RESULT_DAYS_CLICKED
        found = {row[0]: row[1:] for row in self._rows(question, self._ask(asked, url=url))}
        nothing = (0,) * 4 if is_kept else _NO_CLICKS
        return [_result_day(day, found.get(day, nothing)) for day in _days(asked)]

    def result_positions(self, asked: Filter, url: str) -> list[PlaceRow]:
        """Return from where a result was clicked, by module and position, most clicks first."""
        rows = self._rows(sql.RESULT_POSITIONS, self._ask(asked, url=url))
        return [
            PlaceRow(url, title, module, position, 0, clicks)
            for title, module, position, clicks in rows
        ]

    # -- sessions ----------------------------------------------------------------------------------

    def sessions(self, asked: Filter, *, searches: int, limit: int) -> Sessions:
        """Return what visitors did in one go, from the latest days with at most *searches*.

        These are all searches of people (or robots) on the site, so that the days are the same
        whatever else is asked. A search has no module: that part of the filter says nothing here.
        With a text it is about the sessions that have a query with it.
        """
        bound = self._ask(asked)
        first = self._first_whole_day(bound, searches)
        if first is None:
            return _sessions(None, asked.last_day, going.Tally(), 0, ())
        bound["first_day"] = first
        found = [going.Searched(*row) for row in self._rows(sql.SESSION_SEARCHES, bound)]
        alone = sum(search.fits for search in found if search.visitor is None)
        followed = {
            query_id: going.Followed(*then)
            for query_id, *then in self._rows(sql.SESSION_FOLLOWED, bound)
        }
        fitting = (each for each in going.split(found) if any(search.fits for search in each))
        sums = going.tally(fitting, followed)
        return _sessions(first, asked.last_day, sums, alone, self._chains(sums, limit))

    def _first_whole_day(self, bound: Mapping[str, Any], searches: int) -> int | None:
        """Return from which day on there are at most *searches*; None where there are none at all."""
        first: int | None = None
        for day, count in self._rows(sql.DAY_SEARCHES, bound):
            searches -= count
            if first is not None and searches < 0:
                return first
            first = day
        return None if first is None else int(first if searches < 0 else bound["first_day"])

    def _chains(self, sums: going.Tally, limit: int) -> list[ChainRow]:
        steps = sums.most_frequent(limit)
        numbers = json.dumps(sorted({query for step in steps for query in step}))
        texts = dict(self._rows(sql.QUERY_TEXTS, (numbers,)))
        rows = [
            ChainRow(texts[step.query], texts[step.next_query], *sums.of_step(step))
            for step in steps
        ]
        rows.sort(key=lambda row: (-row.steps, -row.visitors, row.query, row.next_query))
        return rows[:limit]

    # -- what they have in common ------------------------------------------------------------------

    def _ask(self, asked: Filter, **more: object) -> dict[str, Any]:
        return {
            **self._bind(asked),
            "text": None if asked.text is None else normal_query(asked.text),
            "counted": self._term("robot") if asked.robots else 0,
            **more,
        }

    def _query(self, asked: Filter, query: str) -> int | None:
        """Return the id of *query*, None when nobody asked it or the filter is not about it."""
        normal = normal_query(query)
        if asked.named is not None and normal not in asked.named:
            return None
        if asked.text is not None and normal_query(asked.text) not in normal:
            return None
        rows = self._rows(sql.FIND_QUERY, (normal,))
        return rows[0][0] if rows else None


def _is_by_more(asked: Filter) -> bool:
    """Tell whether more is asked than the rollups of queries and results are kept by."""
    return asked.robots or any(getattr(asked, name) is not None for name in _FURTHER)


def _days(asked: Filter) -> range:
    return range(day_number(asked.first_day), day_number(asked.last_day) + 1)


def _query_day(day: int, sums: Sequence[Any]) -> QueryDayRow:
    return QueryDayRow(*(day_date(day), *sums[:6], mean_of(*sums[6:])))


def _result_day(day: int, sums: Sequence[Any]) -> ResultDayRow:
    return ResultDayRow(*(day_date(day), *sums[:2], mean_of(*sums[2:])))


def _sessions(
    first: int | None, last_day: date, sums: going.Tally, alone: int, chains: Sequence[ChainRow]
) -> Sessions:
    seconds = sorted(sums.first_clicks_s)
    parts = going.part_below(seconds, 0.5), going.part_below(seconds, 0.9)
    return Sessions(
        first_day=None if first is None else day_date(first),
        last_day=None if first is None else last_day,
        sessions=sums.sessions,
        searches=sums.searches,
        searches_alone=alone,
        by_searches=sums.by_searches(),
        sessions_clicked=sums.sessions_clicked,
        refined=sums.refined,
        last_unclicked=sums.last_unclicked,
        searches_known_found=sums.searches_known_found,
        abandoned=sums.abandoned,
        answered=sums.answered,
        first_click_s=parts if seconds else None,
        searches_timed=len(seconds),
        chains=tuple(chains),
    )
