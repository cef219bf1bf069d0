"""Sums by query and by result over all days, where the report's lists look for what may be in them.

What a query has on some days is never more than it has on all of them, so that a list has to read only
the days of those that have enough. Impressions are by far the most: they are added a day at a time,
when the day is over.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence

Row = Sequence[int]

TABLES_V3 = """
-- Sums of day_query and day_result over all days; of impressions, up to the day shown_through.
CREATE TABLE total_query (
  site INTEGER NOT NULL, query INTEGER NOT NULL, searches INTEGER NOT NULL, searches_empty INTEGER NOT NULL,
  clicks INTEGER NOT NULL, PRIMARY KEY (site, query)
) STRICT, WITHOUT ROWID;
CREATE TABLE total_result (
  site INTEGER NOT NULL, result INTEGER NOT NULL, clicks INTEGER NOT NULL, impressions INTEGER NOT NULL,
  PRIMARY KEY (site, result)
) STRICT, WITHOUT ROWID;
-- No later day of a site than the one after it has impressions.
CREATE TABLE shown_through (site INTEGER PRIMARY KEY, day INTEGER NOT NULL) STRICT;

-- From a query or a result to its days.
DROP INDEX day_query_ranked;
DROP INDEX day_result_clicked;
CREATE INDEX days_of_query ON day_query (
  query, site, day, searches, searches_clicked, searches_known, searches_empty, clicks,
  clicks_positioned, position_sum, impressions
);
CREATE INDEX days_of_result ON day_result (result, site, day, clicks) WHERE clicks > 0;
"""

#: What the index of them has: a query that was asked or clicked so often.
LEAST_OFTEN = 4
OFTEN = f"known.searches + known.clicks >= {LEAST_OFTEN}"
INDEXES_V4 = f"""
-- Lists begin with what is asked most, or found nothing. Most queries are asked once or twice and find
-- something: they are in neither index, so that both cost the drain little.
CREATE INDEX total_query_often ON total_query (
  site, searches + clicks, query, searches, clicks, searches_empty
) WHERE searches + clicks >= {LEAST_OFTEN};
CREATE INDEX total_query_empty ON total_query (site, query) WHERE searches_empty > 0;
"""
INDEX_V5 = """
-- What was shown most and not clicked is found at the head. Impressions change once a day.
CREATE INDEX total_result_shown ON total_result (site, impressions);
"""

_ADD_QUERIES = """
-- One row per query.
INSERT INTO total_query (site, query, searches, searches_empty, clicks) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (site, query) DO UPDATE SET searches = total_query.searches + excluded.searches,
       searches_empty = total_query.searches_empty + excluded.searches_empty,
       clicks = total_query.clicks + excluded.clicks
"""
_ADD_CLICKS = """
-- One row per clicked result.
INSERT INTO total_result (site, result, clicks, impressions) VALUES (?, ?, ?, 0)
    ON CONFLICT (site, result) DO UPDATE SET clicks = total_result.clicks + excluded.clicks
"""
_ADD_SHOWN = """
-- One row per result shown on a day that is over.
INSERT INTO total_result (site, result, clicks, impressions) VALUES (?, ?, 0, ?)
    ON CONFLICT (site, result) DO UPDATE SET impressions = total_result.impressions + excluded.impressions
"""
_FIND_THROUGH = "SELECT site, day FROM shown_through"
_ADD_DAYS_OVER = """
-- One row per day and result of a site, of the days that are over since.
INSERT INTO total_result (site, result, clicks, impressions)
SELECT site, result, 0, sum(impressions) FROM day_result
 WHERE site = :site AND day > :through AND day < :newest GROUP BY site, result
    ON CONFLICT (site, result) DO UPDATE SET impressions = total_result.impressions + excluded.impressions
"""
_SET_THROUGH = """
-- One row per site.
INSERT INTO shown_through (site, day) VALUES (?, ?) ON CONFLICT (site) DO UPDATE SET day = excluded.day
"""
_THROUGH = "SELECT site, max(day) - 1 FROM day_result GROUP BY site"
#: Table → SQL for what it has to be.
SUMS = {
    "total_query": """
SELECT site, query, sum(searches), sum(searches_empty), sum(clicks) FROM day_query GROUP BY site, query
HAVING sum(searches) <> 0 OR sum(searches_empty) <> 0 OR sum(clicks) <> 0
""",
    "total_result": """
SELECT day_result.site, result, sum(clicks) AS clicked,
       sum(iif(day_result.day <= shown_through.day, impressions, 0)) AS shown
  FROM day_result JOIN shown_through ON shown_through.site = day_result.site
 GROUP BY day_result.site, result HAVING sum(clicks) <> 0 OR sum(iif(day_result.day <= shown_through.day, impressions, 0)) <> 0
""",
}
#: Table → SQL for what it has.
KEPT = {
    "total_query": "SELECT * FROM total_query WHERE searches <> 0 OR searches_empty <> 0 OR clicks <> 0",
    "total_result": "SELECT * FROM total_result WHERE clicks <> 0 OR impressions <> 0",
}
LEFT_OUT = """
-- One row: how many sites have results of a day that is neither in the totals nor the newest.
SELECT count(*) FROM (SELECT site, max(day) AS newest FROM day_result GROUP BY site) AS known
  LEFT JOIN shown_through ON shown_through.site = known.site
 WHERE shown_through.day IS NULL OR known.newest > shown_through.day + 1
"""


def add_queries(connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
    """Add changes of ``day_query``, as its columns have them."""
    changed = _summed((row[0], row[2], row[3], row[6], row[7]) for row in rows)
    connection.executemany(_ADD_QUERIES, [row for row in changed if any(row[2:])])


def add_results(connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
    """Add changes of ``day_result``, as its columns have them, when that table has them already."""
    connection.executemany(_ADD_CLICKS, _summed((row[0], row[2], row[3]) for row in rows if row[3]))
    through: dict[int, int] = dict(connection.execute(_FIND_THROUGH).fetchall())
    late = _summed((r[0], r[2], r[6]) for r in rows if r[6] and r[1] <= through.get(r[0], -1))
    connection.executemany(_ADD_SHOWN, late)
    # Rows are sorted by site and day: the last one of a site is its newest.
    for site, newest in {row[0]: row[1] for row in rows}.items():
        known = through.get(site)
        if known is None or newest > known + 1:
            bound = {"site": site, "through": -1 if known is None else known, "newest": newest}
            connection.execute(_ADD_DAYS_OVER, bound)
            connection.execute(_SET_THROUGH, (site, newest - 1))


def _summed(rows: Iterable[Row]) -> list[Row]:
    """Return one row for each site and key of *rows*: of several days, their sum."""
    sums: dict[tuple[int, int], list[int]] = {}
    for site, key, *counts in rows:
        known = sums.get((site, key))
        sums[site, key] = (
            counts if known is None else [a + b for a, b in zip(known, counts, strict=True)]
        )
    return [(*key, *counts) for key, counts in sums.items()]


def sum_again(connection: sqlite3.Connection) -> None:
    """Make all these sums anew from the days."""
    for table, sums in {"shown_through": _THROUGH, **SUMS}.items():
        connection.execute(f"DELETE FROM {table}")
        connection.execute(f"INSERT INTO {table} {sums}")
