"""The report's questions in SQL: rollups only, never a scan of raw rows."""

from __future__ import annotations

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
SELECT iif(result.url = '', result.doc_id, result.url), result.title, ranked.clicks, sum(kept.impressions), sum(kept.position_sum),
       sum(kept.clicks_positioned)
  FROM ranked CROSS JOIN days CROSS JOIN place
 CROSS JOIN day_result AS kept
         ON kept.site = place.site AND kept.day = days.day AND kept.result = ranked.result
  JOIN result ON result.id = ranked.result
 GROUP BY ranked.result ORDER BY ranked.clicks DESC, 1
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
   GROUP BY day_host.day, day_host.site, 3
)
SELECT known.rows, page.* FROM (SELECT count(*) AS rows FROM owned) AS known
  LEFT JOIN (SELECT * FROM owned ORDER BY day DESC, clicks DESC, advertiser_name, advertiser_id, handle
              LIMIT :limit OFFSET :offset) AS page
 ORDER BY day DESC, clicks DESC, advertiser_name, advertiser_id, handle
"""

FIND_QUERY = """
-- One row: the id of a query in its normal form.
SELECT id FROM query WHERE text = ?
"""
QUERY_SUMS = (
    "-- One row: what a query adds up to."
    + DAYS_AND_SITES
    + """ranked AS (SELECT :query AS query)
SELECT query.text, sum(searches), sum(searches_clicked), sum(searches_known), sum(searches_empty),
       sum(clicks), sum(impressions), sum(position_sum), sum(clicks_positioned)
  FROM ranked CROSS JOIN days CROSS JOIN place
 CROSS JOIN day_query AS kept
         ON kept.site = place.site AND kept.day = days.day AND kept.query = ranked.query
  JOIN query ON query.id = ranked.query
 GROUP BY ranked.query HAVING sum(searches) > 0 OR sum(clicks) > 0 OR sum(impressions) > 0
"""
)
_FACTS = """
   AND robot = :robots
   AND (:device IS NULL OR device = :device) AND (:language IS NULL OR language = :language)
   AND (:profile IS NULL OR profile = :profile) AND (:source IS NULL OR source = :source)
   AND (:trust IS NULL OR trust = :trust)
"""
# A page that many share shows nothing that counts, and is clicked without a view all the same.
# Clicks that belong to no page were reported by a sender who knows no searches.
PLACES = f"""
-- One row per result and place where it was shown or clicked, each with the number of pages read.
WITH page AS MATERIALIZED (
  SELECT query_id, viewed, reason.text AS reason, impressions
    FROM search JOIN term AS reason ON reason.id = search.drop_reason
   WHERE query = :query AND day BETWEEN :first_day AND :last_day AND (:site IS NULL OR site = :site)
     AND reason.text IN ('', 'page', 'repeat', 'typing', 'shared', iif(:robots, 'robot', ''))
     {_FACTS}
   ORDER BY day DESC, query_id DESC LIMIT :searches
), clicked AS (
  SELECT click.result, click.module, click.position
    FROM page JOIN click ON click.query_id = coalesce(page.viewed, page.query_id)
     AND click.view_id IS iif(page.viewed IS NULL, NULL, page.query_id)
    JOIN term AS kind ON kind.id = click.kind JOIN term AS reason ON reason.id = click.drop_reason
   WHERE kind.text IN ('result', 'ad') AND reason.text = iif(:robots, 'robot', '')
), alone AS (
  SELECT click.result, click.module, click.position
    FROM click
    JOIN term AS kind ON kind.id = click.kind JOIN term AS reason ON reason.id = click.drop_reason
   WHERE query = :query AND query_id IS NULL AND day BETWEEN :first_day AND :last_day
     AND (:site IS NULL OR site = :site)
     AND kind.text IN ('result', 'ad') AND reason.text = iif(:robots, 'robot', '')
     {_FACTS}
   ORDER BY day DESC LIMIT :searches
), place (result, module, position, impressions, clicks) AS (
  SELECT json_extract(shown.value, '$[0]'), json_extract(shown.value, '$[2]'),
         json_extract(shown.value, '$[1]'), 1, 0
    FROM page JOIN json_each(page.impressions) AS shown WHERE page.reason <> 'shared'
  UNION ALL SELECT result, module, coalesce(position, 0), 0, 1 FROM clicked
  UNION ALL SELECT result, module, coalesce(position, 0), 0, 1 FROM alone
), summed AS (
  SELECT result, module, position, sum(impressions) AS impressions, sum(clicks) AS clicks
    FROM place WHERE :module IS NULL OR module = :module GROUP BY result, module, position
)
SELECT read.pages, iif(result.url = '', result.doc_id, result.url), result.title, module.text,
       summed.position, summed.impressions, summed.clicks
  FROM (SELECT count(*) AS pages FROM page) AS read
  LEFT JOIN summed LEFT JOIN result ON result.id = summed.result
  LEFT JOIN term AS module ON module.id = summed.module
 ORDER BY summed.clicks DESC, summed.impressions DESC, 4, summed.position, 2
"""
