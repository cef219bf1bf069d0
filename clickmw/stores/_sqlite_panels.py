"""What the report reads from SQLite: rollups only, never a scan of raw rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import date, timedelta

from clickmw.errors import StoreError
from clickmw.rollups import BILLION
from clickmw.stores.base import (
    POSITION_BUCKETS,
    DayRow,
    Filter,
    LiveRow,
    ModuleRow,
    PositionRow,
    QueryRow,
    ResultRow,
    Totals,
)

_EPOCH = date(1970, 1, 1)

# Filters are bound by name; one that is not asked for is null and always true.
# "site = :site OR :site IS NULL" would keep SQLite from its indexes: the sites are listed instead.
WHERE_SITE = """
 WHERE site IN (SELECT id FROM site WHERE :site IS NULL OR id = :site)
   AND day BETWEEN :first_day AND :last_day
"""
# What a few ranked keys add up to is looked up day by day, not read from all rows of the period.
DAYS_AND_SITES = """
WITH RECURSIVE days (day) AS (SELECT :first_day UNION ALL SELECT day + 1 FROM days WHERE day < :last_day),
     place (site) AS (SELECT id FROM site WHERE :site IS NULL OR id = :site),
"""
WHERE_CUBE = (
    WHERE_SITE
    + """
   AND robot = :robots
   AND (:device IS NULL OR device = :device) AND (:language IS NULL OR language = :language)
   AND (:profile IS NULL OR profile = :profile) AND (:source IS NULL OR source = :source)
   AND (:trust IS NULL OR trust = :trust) AND (:module IS NULL OR module IN (0, :module))
"""
)
TOTALS = (
    """
-- One row: the sums of the days asked for.
SELECT total(searches), total(searches_clicked), total(searches_known), total(searches_empty),
       total(searches_answered_unclicked), total(search_reciprocal), total(clicks),
       total(clicks_positioned), total(position_sum), total(click_reciprocal), total(impressions)
  FROM cube
"""
    + WHERE_CUBE
)
EXCLUDED = (
    """
-- One row per kind of event and reason for which it was kept but not counted.
SELECT kind.text || '.' || reason.text, sum(events)
  FROM uncounted JOIN term AS kind ON kind.id = uncounted.kind JOIN term AS reason ON reason.id = uncounted.reason
"""
    + WHERE_SITE
    + " GROUP BY 1 HAVING sum(events) > 0 ORDER BY 2 DESC, 1"
)
DAILY = (
    """
-- One row per day that has anything.
SELECT day, sum(searches), sum(searches_clicked), sum(searches_empty), sum(clicks), sum(impressions)
  FROM cube
"""
    + WHERE_CUBE
    + " GROUP BY day"
)
_QUERY_SUMS = """
SELECT query, sum(searches) AS searches, sum(searches_clicked) AS clicked, sum(searches_known) AS known,
       sum(searches_empty) AS empty, sum(clicks) AS clicks, sum(impressions) AS impressions,
       sum(position_sum) AS positions, sum(clicks_positioned) AS positioned
  FROM day_query
"""
_QUERY_TEXT = """
SELECT query.text, searches, clicked, known, empty, clicks, impressions, positions, positioned
  FROM ranked JOIN query ON query.id = ranked.query
"""
TOP_QUERIES = (
    "-- One row per query, most searched first."
    + DAYS_AND_SITES
    + """ranked AS (
  SELECT query, sum(searches) AS searches, sum(clicks) AS clicks FROM day_query
"""
    + WHERE_SITE
    + """ GROUP BY query ORDER BY searches DESC, clicks DESC, query LIMIT :limit
)
SELECT query.text, ranked.searches, sum(kept.searches_clicked), sum(kept.searches_known),
       sum(kept.searches_empty), ranked.clicks, sum(kept.impressions), sum(kept.position_sum),
       sum(kept.clicks_positioned)
  FROM ranked CROSS JOIN days CROSS JOIN place
 CROSS JOIN day_query AS kept
         ON kept.site = place.site AND kept.day = days.day AND kept.query = ranked.query
  JOIN query ON query.id = ranked.query
 GROUP BY ranked.query ORDER BY ranked.searches DESC, ranked.clicks DESC, query.text
"""
)
UNCLICKED_QUERIES = (
    "-- One row per query that had answers and no click, most searched first.\nWITH ranked AS ("
    + _QUERY_SUMS
    + WHERE_SITE
    + """ GROUP BY query HAVING sum(clicks) = 0 AND sum(searches) > sum(searches_empty)
   ORDER BY searches DESC, query LIMIT :limit)"""
    + _QUERY_TEXT
    + " ORDER BY searches DESC, query.text"
)
EMPTY_QUERIES = (
    "-- One row per query that found nothing, most often first.\nWITH ranked AS ("
    + _QUERY_SUMS
    + WHERE_SITE
    + " GROUP BY query HAVING sum(searches_empty) > 0 ORDER BY empty DESC, query LIMIT :limit)"
    + _QUERY_TEXT
    + " ORDER BY empty DESC, query.text"
)
TOP_RESULTS = (
    "-- One row per clicked result, most clicked first; ranked over clicked days only (a partial index)."
    + DAYS_AND_SITES
    + """ranked AS (
  SELECT result, sum(clicks) AS clicks FROM day_result
"""
    + WHERE_SITE
    + """ AND clicks > 0 GROUP BY result ORDER BY clicks DESC, result LIMIT :limit
)
SELECT result.url, result.title, ranked.clicks, sum(kept.impressions), sum(kept.position_sum),
       sum(kept.clicks_positioned)
  FROM ranked CROSS JOIN days CROSS JOIN place
 CROSS JOIN day_result AS kept
         ON kept.site = place.site AND kept.day = days.day AND kept.result = ranked.result
  JOIN result ON result.id = ranked.result
 GROUP BY ranked.result ORDER BY ranked.clicks DESC, result.url
"""
)
POSITIONS = (
    """
-- One row per module and bucket of positions.
SELECT term.text, bucket, sum(impressions), sum(clicks) FROM cube_position JOIN term ON term.id = module
"""
    + WHERE_CUBE
    + " GROUP BY module, bucket HAVING sum(impressions) > 0 OR sum(clicks) > 0 ORDER BY term.text, bucket"
)
MODULES = (
    """
-- One row per module, most clicked first. Module 0 stands for searches, which have none.
SELECT term.text, sum(impressions), sum(clicks), sum(position_sum), sum(clicks_positioned)
  FROM cube JOIN term ON term.id = module
"""
    + WHERE_CUBE
    + " AND module <> 0 GROUP BY module ORDER BY sum(clicks) DESC, sum(impressions) DESC, term.text"
)
LIVE_CLICKS = """
-- One row per click, newest first.
SELECT click.received_ms, site.handle, query.text, result.url, click.position, module.text, reason.text
  FROM click JOIN site ON site.id = click.site JOIN result ON result.id = click.result
  LEFT JOIN query ON query.id = click.query
  JOIN term AS module ON module.id = click.module JOIN term AS reason ON reason.id = click.drop_reason
 ORDER BY click.id DESC LIMIT :limit
"""
LIVE_SEARCHES = """
-- One row per search, newest first.
SELECT search.received_ms, site.handle, query.text, reason.text
  FROM search JOIN site ON site.id = search.site JOIN query ON query.id = search.query
  JOIN term AS reason ON reason.id = search.drop_reason
 ORDER BY search.query_id DESC LIMIT :limit
"""
DAY_SPAN = """
-- One row: the first and the last day that has anything.
SELECT min(day), max(day) FROM cube WHERE :site IS NULL OR site = :site
"""


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
        first, last = self._rows(DAY_SPAN, {"site": self._site(site)})[0]
        return None if first is None else (_date(first), _date(last))

    def totals(self, asked: Filter) -> Totals:
        """Return the sums over the days asked for."""
        sums = [int(value) for value in self._rows(TOTALS, self._bind(asked))[0]]
        excluded = dict(self._rows(EXCLUDED, self._bind(asked)))
        clicks = [*sums[6:9], sums[9] / BILLION, sums[10]]
        return Totals(*(*sums[:5], sums[5] / BILLION, *clicks, excluded))  # type: ignore[arg-type]

    def daily(self, asked: Filter) -> list[DayRow]:
        """Return every day asked for, in order."""
        found = {row[0]: row[1:] for row in self._rows(DAILY, self._bind(asked))}
        days = range(_number(asked.first_day), _number(asked.last_day) + 1)
        return [DayRow(_date(day), *found.get(day, (0, 0, 0, 0, 0))) for day in days]

    def top_queries(self, asked: Filter, limit: int) -> list[QueryRow]:
        """Return the most searched queries."""
        return self._queries(TOP_QUERIES, asked, limit)

    def queries_without_clicks(self, asked: Filter, limit: int) -> list[QueryRow]:
        """Return the most searched queries that had answers but no click."""
        return self._queries(UNCLICKED_QUERIES, asked, limit)

    def queries_without_results(self, asked: Filter, limit: int) -> list[QueryRow]:
        """Return the queries that most often found nothing."""
        return self._queries(EMPTY_QUERIES, asked, limit)

    def top_results(self, asked: Filter, limit: int) -> list[ResultRow]:
        """Return the most clicked results."""
        rows = self._rows(TOP_RESULTS, self._bind(asked, limit))
        return [ResultRow(*(*row[:4], _mean(row[4], row[5]))) for row in rows]

    def positions(self, asked: Filter) -> list[PositionRow]:
        """Return impressions and clicks by position, module by module."""
        rows = self._rows(POSITIONS, self._bind(asked))
        return [
            PositionRow(module, *POSITION_BUCKETS[bucket], *counts)
            for module, bucket, *counts in rows
        ]

    def modules(self, asked: Filter) -> list[ModuleRow]:
        """Return impressions and clicks by module, most clicked first."""
        rows = self._rows(MODULES, self._bind(asked))
        return [ModuleRow(*(*row[:3], _mean(row[3], row[4]))) for row in rows]

    def live(self, limit: int) -> list[LiveRow]:
        """Return the last events as they were stored, newest first."""
        clicks = self._rows(LIVE_CLICKS, {"limit": limit})
        searches = self._rows(LIVE_SEARCHES, {"limit": limit})
        rows = [LiveRow(*(ms, "click", *rest, reason or "counted")) for ms, *rest, reason in clicks]
        rows += [
            LiveRow(ms, "search", site, query, None, None, None, reason or "counted")
            for ms, site, query, reason in searches
        ]
        return sorted(rows, key=lambda row: row.received_ms, reverse=True)[:limit]

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

    def _queries(self, sql: str, asked: Filter, limit: int) -> list[QueryRow]:
        rows = self._rows(sql, self._bind(asked, limit))
        return [QueryRow(*(*row[:7], _mean(row[7], row[8]))) for row in rows]

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

    def _rows(self, sql: str, values: Sequence[object] | dict[str, int | None] = ()) -> list:  # type: ignore[type-arg]
        try:
            return self._connection.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise StoreError(
                f"the database cannot be read: {error}. Run: clickmw doctor"
            ) from error


def _number(day: date) -> int:
    return (day - _EPOCH).days


def _date(number: int) -> date:
    return _EPOCH + timedelta(days=number)


def _mean(total: int, count: int) -> float | None:
    return total / count if count else None
