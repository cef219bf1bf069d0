"""The report's questions in SQL: rollups, never a scan of raw rows.

Its lists are in :mod:`clickmw.stores._sqlite_lists`; what rollups do not know is asked in
:mod:`clickmw.stores._sqlite_facts`.
"""

from __future__ import annotations

import re
from functools import lru_cache

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
   AND (:trust IS NULL OR trust = :trust)
"""
)
# Searches and ratings have no module: they lie, with the clicks that have none, at module 0.
WHERE_MODULE = " AND (:module IS NULL OR module = :module) "
WHERE_CUBE_OR_MODULE = WHERE_CUBE + " AND (:module IS NULL OR module IN (0, :module)) "
OF_MODULE = " FILTER (WHERE :module IS NULL OR module = :module) "
_OF_EACH_MODULE = (
    "clicks",
    "clicks_positioned",
    "position_sum",
    "click_reciprocal",
    "impressions",
)
TOTALS = (
    """
-- One row: the sums of the days asked for.
SELECT total(searches), total(searches_clicked), total(searches_known), total(searches_empty),
       total(searches_answered_unclicked), total(search_reciprocal),
"""
    + ", ".join(f"coalesce(sum({each}){OF_MODULE}, 0)" for each in _OF_EACH_MODULE)
    + """,
       total(ratings), total(score_sum), total(score_square_sum)
  FROM cube
"""
    + WHERE_CUBE_OR_MODULE
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
SELECT day, sum(searches), sum(searches_clicked), sum(searches_empty),
"""
    + f"coalesce(sum(clicks){OF_MODULE}, 0), coalesce(sum(impressions){OF_MODULE}, 0)"
    + """
  FROM cube
"""
    + WHERE_CUBE_OR_MODULE
    + " GROUP BY day"
)
# A bare "clicks > 0" would ask one row of the group.
_ANYTHING = "sum(searches) > 0 OR " + " OR ".join(
    f"coalesce(sum({each}){OF_MODULE}, 0) > 0" for each in ("clicks", "impressions")
)
FACETS = ("device", "language", "profile", "source", "trust")
#: Facet → SQL for one row per value of it that has anything.
FACET = {
    name: f"""
-- One row per value of a facet, most searched first. Ratings alone make no row.
SELECT term.text, sum(searches) AS searches, sum(searches_clicked), sum(searches_known),
       sum(searches_empty), coalesce(sum(clicks){OF_MODULE}, 0) AS clicks, coalesce(sum(impressions){OF_MODULE}, 0) AS shown,
       coalesce(sum(position_sum){OF_MODULE}, 0), coalesce(sum(clicks_positioned){OF_MODULE}, 0)
  FROM cube JOIN term ON term.id = cube.{name}
{WHERE_CUBE_OR_MODULE} GROUP BY cube.{name}, term.text HAVING {_ANYTHING}
 ORDER BY searches DESC, clicks DESC, term.text
"""
    for name in FACETS
}

#: Column, or "" for all together → SQL for sums of searches and of clicks as the facts have them.
SUMS = {
    name: f"""
-- One row per value of one column: six sums of searches, and four of clicks.
SELECT {f"cube.{name}" if name else "0"} AS key, coalesce(sum(searches), 0),
       coalesce(sum(searches_clicked), 0), coalesce(sum(searches_known), 0),
       coalesce(sum(searches_empty), 0), coalesce(sum(searches_answered_unclicked), 0),
       coalesce(sum(search_reciprocal), 0), {", ".join(f"coalesce(sum({each}){OF_MODULE}, 0)" for each in _OF_EACH_MODULE[:4])}
  FROM cube
{WHERE_CUBE_OR_MODULE} {f"GROUP BY cube.{name}" if name else ""}
"""
    for name in ("", "day", "module", *FACETS)
}
PLACED = (
    """
-- One row per module and bucket of positions that was clicked.
SELECT module, bucket, sum(clicks) FROM cube_position
"""
    + WHERE_CUBE
    + WHERE_MODULE
    + " GROUP BY module, bucket HAVING sum(clicks) > 0"
)

#: The queries with a text; and the same where their ids are given: so that the texts are read once, or
#: because only some of them are meant.
MATCHING = "SELECT id FROM query WHERE instr(text, :text) > 0"
MATCHING_GIVEN = "SELECT value AS id FROM json_each(:matching)"
#: The same where a function of the connection knows them (see :mod:`clickmw.stores._sqlite_texts`).
MATCHING_HEARD = "SELECT id FROM query WHERE has_text(id)"
#: The queries without it.
NOT_MATCHING = "SELECT id FROM query WHERE instr(text, :text) = 0"
DAYS_OF_TEXT = (
    """
-- One row per day that has anything of the queries with a text.
SELECT day, sum(searches), sum(searches_clicked), sum(searches_empty), sum(clicks), NULL
  FROM day_query INDEXED BY days_of_query
"""
    + WHERE_SITE
    + f" AND query IN ({MATCHING}) GROUP BY day"
)
#: The same where other columns lead to the rows: the plus keeps SQLite from looking up each query.
TEXT_LAST = f" AND +query IN ({MATCHING}) "
_LAST = re.compile(rf"(?:\+|\b(?=known\.))((?:\w+\.)?query) IN \({re.escape(MATCHING)}\)")


@lru_cache(maxsize=512)
def as_heard(question: str) -> str:
    """Return *question* for a connection whose function ``has_text`` knows the queries with the text."""
    question = _LAST.sub(r"has_text(coalesce(\1, 0))", question)
    question = question.replace(NOT_MATCHING, "SELECT id FROM query WHERE NOT has_text(id)")
    return question.replace(MATCHING, MATCHING_HEARD)


def ranking(
    source: str, first: str, second: str = "0", *, having: str = "{first} > 0", key: str = "query"
) -> str:
    """Return SQL that ranks the keys of *source* by two sums, largest first."""
    return f"""
SELECT {key}, {first} AS first, {second} AS second {source}
 GROUP BY {key} HAVING {having.format(first=first, second=second)}
 ORDER BY first DESC, second DESC, {key} LIMIT :limit
"""


def now_and_before(count: str) -> str:
    """Return SQL for what *count* adds up to in the period asked for and in the one before."""
    return f"""
       coalesce({count} FILTER (WHERE day BETWEEN :first_day AND :last_day), 0) AS now,
       coalesce({count} FILTER (WHERE day BETWEEN :before_first AND :before_last), 0) AS before
"""


_BY_GROWTH = "ORDER BY 1.0 * (now - before) * (now - before) / (now + before) DESC, now DESC, key"


def ranking_of_growth(grown: str) -> str:
    """Return SQL that ranks the rows of *grown* (key, now, before) by their growth.

    Ranked by the square of (now - before) / √(now + before).
    """
    return f"""
SELECT key, now, before FROM ({grown}) WHERE now >= :least AND now > before {_BY_GROWTH} LIMIT :limit
"""


#: Both periods of a comparison.
WHERE_BOTH = """
 WHERE site IN (SELECT id FROM site WHERE :site IS NULL OR id = :site)
   AND day BETWEEN min(:first_day, :before_first) AND max(:last_day, :before_last)
"""


def trends_of_queries(ranked: str) -> str:
    """Return SQL for one row per query that *ranked* finds."""
    return f"""
-- One row per query: its searches now and before, largest growth first.
SELECT query.text, NULL, now, before FROM ({ranked}) JOIN query ON query.id = key
 {_BY_GROWTH}
"""


def trends_of_results(ranked: str) -> str:
    """Return SQL for one row per result that *ranked* finds."""
    return f"""
-- One row per result: its clicks now and before, largest growth first.
SELECT iif(result.url = '', result.doc_id, result.url), result.title, now, before
  FROM ({ranked}) JOIN result ON result.id = key
 {_BY_GROWTH}
"""


POSITIONS = (
    """
-- One row per module and bucket of positions.
SELECT term.text, bucket, sum(impressions), sum(clicks) FROM cube_position JOIN term ON term.id = module
"""
    + WHERE_CUBE
    + WHERE_MODULE
    + " GROUP BY module, term.text, bucket HAVING sum(impressions) > 0 OR sum(clicks) > 0 ORDER BY term.text, bucket"
)
MODULES = (
    """
-- One row per module, most clicked first; also what has none, so that the rows sum to the totals.
SELECT term.text, sum(impressions), sum(clicks), sum(position_sum), sum(clicks_positioned)
  FROM cube JOIN term ON term.id = module
"""
    + WHERE_CUBE
    + WHERE_MODULE
    + " GROUP BY module, term.text HAVING sum(clicks) > 0 OR sum(impressions) > 0 ORDER BY sum(clicks) DESC, sum(impressions) DESC, term.text"
)
LIVE_CLICKS = """
-- One row per click, newest first.
SELECT click.received_ms, iif(kind.text = 'result', 'click', kind.text || '_click'), site.handle,
       query.text, coalesce(nullif(result.url, ''), nullif(result.doc_id, ''), click.ad_id),
       click.position, module.text, coalesce(nullif(reason.text, ''), 'counted')
  FROM click JOIN site ON site.id = click.site JOIN result ON result.id = click.result
  LEFT JOIN query ON query.id = click.query JOIN term AS kind ON kind.id = click.kind
  JOIN term AS module ON module.id = click.module JOIN term AS reason ON reason.id = click.drop_reason
 ORDER BY click.id DESC LIMIT :limit
"""
LIVE_SEARCHES = """
-- One row per search, newest first.
SELECT search.received_ms, 'search', site.handle, query.text, NULL, NULL, NULL,
       coalesce(nullif(reason.text, ''), 'counted')
  FROM search JOIN site ON site.id = search.site JOIN query ON query.id = search.query
  JOIN term AS reason ON reason.id = search.drop_reason
 ORDER BY search.query_id DESC LIMIT :limit
"""
LIVE_IMPRESSIONS = """
-- One row per event that says what was shown outside of a search, newest first, with the first thing.
SELECT shown.received_ms, iif(kind.text = 'related', 'related_impression', kind.text), site.handle,
       query.text, coalesce(nullif(result.url, ''), nullif(result.doc_id, ''), shown.ad_id),
       nullif(shown.position, 0), module.text, coalesce(nullif(reason.text, ''), 'counted')
  FROM impression AS shown JOIN site ON site.id = shown.site JOIN result ON result.id = shown.result
  LEFT JOIN query ON query.id = shown.query JOIN term AS kind ON kind.id = shown.kind
  JOIN term AS module ON module.id = shown.module JOIN term AS reason ON reason.id = shown.drop_reason
 WHERE NOT EXISTS (SELECT 1 FROM impression AS before
                    WHERE before.id = shown.id - 1 AND before.event_id = shown.event_id)
 ORDER BY shown.id DESC LIMIT :limit
"""


def _live_said(kind: str, table: str, query: str, url: str) -> str:
    return f"""
-- One row per event of this kind, newest first.
SELECT said.received_ms, '{kind}', site.handle, query.text, {url}, NULL, NULL,
       coalesce(nullif(reason.text, ''), 'counted')
  FROM {table} AS said JOIN site ON site.id = said.site
  JOIN term AS reason ON reason.id = said.drop_reason
  LEFT JOIN search ON search.query_id = said.query_id LEFT JOIN query ON query.id = {query}
 ORDER BY said.id DESC LIMIT :limit
"""


#: What the live tail is made of.
LIVE = (
    LIVE_CLICKS,
    LIVE_SEARCHES,
    LIVE_IMPRESSIONS,
    _live_said("feedback", "rating", "coalesce(search.query, said.query)", "NULL"),
    _live_said("answer", "answer", "search.query", "NULL"),
    _live_said("conversion", "conversion", "search.query", "said.url"),
)
UNJOINED = """
SELECT count(*) FROM click INDEXED BY click_unjoined WHERE query IS NULL AND query_id IS NOT NULL
"""
DAY_SPAN = """
-- One row: the first and the last day that has anything.
SELECT min(day), max(day) FROM cube WHERE :site IS NULL OR site = :site
"""

#: Whose the clicks of day_host are: the ad's advertiser, else the host's, else the host is its own.
OWNED = """
  FROM day_host
  JOIN site ON site.id = day_host.site
  JOIN term AS host ON host.id = day_host.host
  JOIN term AS ad ON ad.id = day_host.ad
  JOIN own_advertiser ON own_advertiser.host = day_host.host
  LEFT JOIN advertiser_target AS by_ad
    ON by_ad.site = site.handle AND by_ad.kind = 'ad' AND by_ad.target = ad.text
  LEFT JOIN advertiser_target AS by_host
    ON by_host.site = site.handle AND by_host.kind = 'host' AND by_host.target = host.text
  LEFT JOIN advertiser
    ON advertiser.site = site.handle
   AND advertiser.id = coalesce(by_ad.advertiser, by_host.advertiser)
 WHERE day_host.clicks > 0
"""
ADVERTISER = """
       coalesce(advertiser.id, own_advertiser.number) AS advertiser_id,
       coalesce(advertiser.name, host.text) AS advertiser_name,
       coalesce(advertiser.slug, host.text) AS advertiser_slug
"""
DAILY_CLICKS = f"""
-- One row per day, site and advertiser of one page, each with the number of all such rows; a page
-- that is empty has one row with that number alone.
WITH owned AS MATERIALIZED (
  SELECT day_host.day, site.handle, {ADVERTISER},
         advertiser.network_id, advertiser.network_name, sum(day_host.clicks) AS clicks
  {OWNED} AND day_host.day BETWEEN :first_day AND :last_day
     AND day_host.site IN (SELECT id FROM site WHERE :sites IS NULL
                           OR handle IN (SELECT value FROM json_each(:sites)))
   GROUP BY day_host.day, site.handle, 3, 4, 5, advertiser.network_id, advertiser.network_name
)
SELECT known.rows, page.* FROM (SELECT count(*) AS rows FROM owned) AS known
  LEFT JOIN (SELECT * FROM owned ORDER BY day DESC, clicks DESC, advertiser_name, advertiser_id, handle
              LIMIT :limit OFFSET :offset) AS page ON true
 ORDER BY day DESC, clicks DESC, advertiser_name, advertiser_id, handle
"""
