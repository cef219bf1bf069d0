"""Which queries are shown by their text: those that enough different visitors searched.

A query that one person alone searches may say who it is. With the setting ``min_visitors`` every
answer is read through :class:`Discreet`, so that no page, file or answer has a text of its own to
leave out.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

from clickmw.queries import normal_query
from clickmw.stores.base import (
    AdvertiserRow,
    ChainRow,
    DayRow,
    Dwell,
    Explained,
    FacetRow,
    Filter,
    LiveRow,
    ModuleRow,
    NeighbourRow,
    PlaceRow,
    PositionRow,
    QueryDayRow,
    QueryRow,
    Reader,
    ResultDayRow,
    ResultQueryRow,
    ResultRow,
    Sessions,
    Totals,
    TrendRow,
    Unnamed,
)

#: The latest events are named by who searched what in as many days up to now.
LIVE_DAYS = 28
#: So many queries are looked up one by one; of more, all common ones are read instead.
_FEW = 1_000
#: So long the common queries of the same site and days are taken for the same.
KEPT_S = 60
_PLACES_KEPT = 32
_EVERYTHING = 1_000_000_000


class Memory:
    """What was common a moment ago, for all readers of a process: it takes long to find out.

    Within a minute more may become common, and what has been common stays so.
    """

    def __init__(self) -> None:
        self._known: dict[Filter, tuple[float, frozenset[str]]] = {}

    def recall(self, place: Filter) -> frozenset[str] | None:
        """Return the common queries of a *place*, None when they are not known or too old."""
        until, found = self._known.get(place, (0.0, None))
        return found if time.monotonic() < until else None

    def keep(self, place: Filter, found: frozenset[str]) -> frozenset[str]:
        """Keep what was found, instead of all when there is too much; return it."""
        if len(self._known) >= _PLACES_KEPT:
            self._known.clear()
        self._known[place] = (time.monotonic() + KEPT_S, found)
        return found


def discreet(reader: Reader, least: int, memory: Memory) -> Reader:
    """Return *reader*, or one that names only queries that *least* visitors or more have searched."""
    return Discreet(reader, least, memory) if least else reader


def sentence(least: int) -> str:
    """Return what is said wherever such queries may be missing."""
    return (
        f"Queries that fewer than {least:,} visitors searched in these days are counted, and named "
        "nowhere."
    )


class Discreet:
    """A reader that knows common queries only: to all others it answers as if nobody had asked them.

    Sums are those of everything, but for a filter by a text: it finds common queries alone, or it
    could be used to spell the others out.
    """

    def __init__(self, reader: Reader, least: int, memory: Memory) -> None:
        self._reader = reader
        self._least = least
        self._memory = memory

    # -- what has no query in it -------------------------------------------------------------------

    def sites(self) -> list[str]:
        return self._reader.sites()

    def site_zones(self) -> dict[str, str]:
        return self._reader.site_zones()

    def day_span(self, site: str | None) -> tuple[date, date] | None:
        return self._reader.day_span(site)

    def ledger(self) -> dict[str, int]:
        return self._reader.ledger()

    def watermarks(self) -> dict[str, tuple[int, int]]:
        return self._reader.watermarks()

    def disagreements(self) -> list[str]:
        return self._reader.disagreements()

    def close(self) -> None:
        self._reader.close()

    def daily_clicks(self, *days: Any, **page: Any) -> tuple[int, list[AdvertiserRow]]:
        return self._reader.daily_clicks(*days, **page)

    def totals(self, asked: Filter) -> Totals:
        return self._reader.totals(self._findable(asked))

    def daily(self, asked: Filter) -> list[DayRow]:
        return self._reader.daily(self._findable(asked))

    def facet(self, asked: Filter, name: str) -> list[FacetRow]:
        return self._reader.facet(self._findable(asked), name)

    def positions(self, asked: Filter) -> list[PositionRow]:
        return self._reader.positions(self._findable(asked))

    def modules(self, asked: Filter) -> list[ModuleRow]:
        return self._reader.modules(self._findable(asked))

    def top_results(self, asked: Filter, limit: int) -> list[ResultRow]:
        return self._reader.top_results(self._findable(asked), limit)

    def results_without_clicks(self, asked: Filter, limit: int, *, least: int) -> list[ResultRow]:
        return self._reader.results_without_clicks(self._findable(asked), limit, least=least)

    def trending_results(
        self, asked: Filter, before: Filter, limit: int, *, least: int
    ) -> list[TrendRow]:
        return self._reader.trending_results(self._findable(asked), before, limit, least=least)

    def result_days(self, asked: Filter, url: str) -> list[ResultDayRow]:
        return self._reader.result_days(self._findable(asked), url)

    def result_positions(self, asked: Filter, url: str) -> list[PlaceRow]:
        return self._reader.result_positions(self._findable(asked), url)

    # -- lists of queries --------------------------------------------------------------------------

    def top_queries(self, asked: Filter, limit: int) -> list[QueryRow]:
        return self._reader.top_queries(self._naming(asked), limit)

    def queries_without_clicks(self, asked: Filter, limit: int) -> list[QueryRow]:
        return self._reader.queries_without_clicks(self._naming(asked), limit)

    def queries_without_results(self, asked: Filter, limit: int) -> list[QueryRow]:
        return self._reader.queries_without_results(self._naming(asked), limit)

    def queries_with_low_ctr(
        self, asked: Filter, limit: int, *, least: int, below: int
    ) -> list[QueryRow]:
        named = self._naming(asked)
        return self._reader.queries_with_low_ctr(named, limit, least=least, below=below)

    def queries_clicked_deep(
        self, asked: Filter, limit: int, *, least: int, deeper: int
    ) -> list[QueryRow]:
        named = self._naming(asked)
        return self._reader.queries_clicked_deep(named, limit, least=least, deeper=deeper)

    def queries_with_few_clicks(self, asked: Filter, limit: int, *, least: int) -> list[QueryRow]:
        # They are measured by the share of all queries, named or not: chosen first, named then.
        common, found, read = self._common(asked), [], limit
        while True:
            rows = self._reader.queries_with_few_clicks(self._findable(asked), read, least=least)
            found = [row for row in rows if row.query in common]
            if len(found) >= limit or len(rows) < read:
                return found[:limit]
            read *= 4

    def trending_queries(
        self, asked: Filter, before: Filter, limit: int, *, least: int
    ) -> list[TrendRow]:
        return self._reader.trending_queries(self._naming(asked), before, limit, least=least)

    def common_queries(
        self, asked: Filter, *, visitors: int, among: frozenset[str] | None = None
    ) -> frozenset[str]:
        return self._reader.common_queries(asked, visitors=max(visitors, self._least), among=among)

    def unnamed_queries(self, asked: Filter) -> Unnamed | None:
        # What a text finds is named, all of it.
        return None if asked.text else self._reader.unnamed_queries(self._naming(asked))

    # -- one query, one result, one visitor --------------------------------------------------------

    def explain_query(self, asked: Filter, query: str, *, searches: int) -> Explained:
        return self._reader.explain_query(self._about(asked, query), query, searches=searches)

    def query_days(self, asked: Filter, query: str) -> list[QueryDayRow]:
        return self._reader.query_days(self._about(asked, query), query)

    def query_dwell(self, asked: Filter, query: str, *, clicks: int) -> Dwell:
        return self._reader.query_dwell(self._about(asked, query), query, clicks=clicks)

    def query_neighbours(
        self, asked: Filter, query: str, *, searches: int, limit: int
    ) -> tuple[list[NeighbourRow], list[NeighbourRow]]:
        about = self._about(asked, query)
        sides = self._reader.query_neighbours(about, query, searches=searches, limit=limit)
        common = self._common(asked, [row.query for side in sides for row in side])
        before, after = ([row for row in side if row.query in common] for side in sides)
        return before, after

    def result_queries(self, asked: Filter, url: str, limit: int) -> list[ResultQueryRow]:
        """Return which queries led to a result; those that are not named are one row, the last."""
        rows = self._reader.result_queries(self._findable(asked), url, _EVERYTHING)
        common = self._common(asked, [row.query for row in rows if row.query is not None])
        named = [row for row in rows if row.query is None or row.query in common]
        unnamed = [row for row in rows if row.query is not None and row.query not in common]
        return [*named[:limit], *_in_one_row(unnamed)]

    def sessions(self, asked: Filter, *, searches: int, limit: int) -> Sessions:
        found = self._reader.sessions(self._findable(asked), searches=searches, limit=limit)
        common = self._common(
            asked, [text for row in found.chains for text in (row.query, row.next_query)]
        )
        return replace(found, chains=tuple(row for row in found.chains if _is_of(row, common)))

    def live(self, limit: int) -> list[LiveRow]:
        rows = self._reader.live(limit)
        common = {site: self._lately_common(site, rows) for site in {row.site for row in rows}}
        return [row if row.query in common[row.site] else replace(row, query=None) for row in rows]

    # -- what is common ----------------------------------------------------------------------------

    def _findable(self, asked: Filter) -> Filter:
        """Return *asked* so that its text finds common queries alone."""
        return asked if asked.text is None else replace(asked, named=self._common(asked))

    def _naming(self, asked: Filter) -> Filter:
        """Return *asked* so that a list of queries has common ones alone."""
        return replace(asked, text=asked.text or "", named=self._common(asked))

    def _about(self, asked: Filter, query: str) -> Filter:
        """Return *asked* so that *query* is known only where it is common."""
        return replace(asked, named=self._common(asked, [normal_query(query)]))

    def _common(self, asked: Filter, among: Iterable[str] | None = None) -> frozenset[str]:
        """Return the common queries of the site, days and text of *asked*; *among* may leave others out."""
        place = Filter(
            first_day=asked.first_day, last_day=asked.last_day, site=asked.site, text=asked.text
        )
        few = None if among is None else frozenset(among)
        if few is not None and len(few) <= _FEW:
            return self.common_queries(place, visitors=self._least, among=few)
        found = self._memory.recall(place)
        if found is None:
            found = self._memory.keep(place, self.common_queries(place, visitors=self._least))
        return found

    def _lately_common(self, site: str, rows: Iterable[LiveRow]) -> frozenset[str]:
        texts = [row.query for row in rows if row.site == site and row.query is not None]
        span = self.day_span(site)
        if span is None:
            return frozenset()
        first_day = span[1] - timedelta(days=LIVE_DAYS - 1)
        return self._common(Filter(first_day=first_day, last_day=span[1], site=site), texts)


def _is_of(row: ChainRow, common: frozenset[str]) -> bool:
    return row.query in common and row.next_query in common


def _in_one_row(rows: list[ResultQueryRow]) -> list[ResultQueryRow]:
    """Return the sums of *rows* as a row without a query; nothing of nothing."""
    if not rows:
        return []
    clicks, placed = sum(row.clicks for row in rows), sum(row.clicks_positioned for row in rows)
    positions = sum((row.position_mean or 0) * row.clicks_positioned for row in rows)
    mean = positions / placed if placed else None
    return [ResultQueryRow(None, clicks, placed, mean, len(rows))]
