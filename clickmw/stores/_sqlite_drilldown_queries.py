"""The questions about one query, one result and sessions in SQL: rollups, or the raw rows of few days.

Bound by name as in :mod:`clickmw.stores._sqlite_queries`; ``:counted`` is the reason of what counts:
none for people, "robot" for robots. ``:text`` is what a query has to contain.
"""

from __future__ import annotations

from clickmw.counting import CLICK_HORIZON_MS
from clickmw.stores._sqlite_queries import DAYS_AND_SITES, WHERE_SITE
from clickmw.stores._sqlite_sessions import CONTENT_SCORE, REFINED_MS

_FACETS = """
   AND robot = :robots
   AND (:device IS NULL OR device = :device) AND (:language IS NULL OR language = :language)
   AND (:profile IS NULL OR profile = :profile) AND (:source IS NULL OR source = :source)
   AND (:trust IS NULL OR trust = :trust)
"""
_COUNTED = _FACETS + " AND drop_reason = :counted"
_COUNTED_CLICKS = (
    _COUNTED
    + """
   AND kind IN (SELECT id FROM term WHERE text IN ('result', 'ad'))
   AND (:module IS NULL OR module = :module)
"""
)
# A row of the one query, where it is asked for.
_TEXT_OF = """
  SELECT 1 FROM query WHERE query.id = {}.query AND instr(text, :text) > 0
     AND (:named IS NULL OR text IN (SELECT value FROM json_each(:named)))
"""
_OF_QUERY = WHERE_SITE + " AND query = :query"

# -- one query -------------------------------------------------------------------------------------

FIND_QUERY = """
-- One row: the id of a query in its normal form.
SELECT id FROM query WHERE text = ?
"""
_KEPT_OF_QUERY = """ranked AS (SELECT CAST(:query AS INTEGER) AS query)
  {} FROM ranked CROSS JOIN days CROSS JOIN place
 CROSS JOIN day_query AS kept
         ON kept.site = place.site AND kept.day = days.day AND kept.query = ranked.query
"""
_QUERY_MEASURES = """
 sum(searches), sum(searches_clicked), sum(searches_known), sum(searches_empty),
 sum(clicks), sum(impressions), sum(position_sum), sum(clicks_positioned)
"""
QUERY_SUMS = (
    "-- One row: what a query adds up to."
    + DAYS_AND_SITES
    + _KEPT_OF_QUERY.format("SELECT query.text, " + _QUERY_MEASURES)
    + """  JOIN query ON query.id = ranked.query
 GROUP BY ranked.query, query.text HAVING sum(searches) > 0 OR sum(clicks) > 0 OR sum(impressions) > 0
"""
)
QUERY_DAYS = (
    "-- One row per day that has anything of a query."
    + DAYS_AND_SITES
    + _KEPT_OF_QUERY.format("SELECT days.day, " + _QUERY_MEASURES)
    + " GROUP BY days.day"
)
QUERY_DAYS_SEARCHED = (
    """
-- One row per day with counted searches of a query; an index leads from the query to its days.
SELECT day, count(*), sum(clicked), count(total_hits), count(*) FILTER (WHERE total_hits = 0)
  FROM search
"""
    + _OF_QUERY
    + _COUNTED
    + " GROUP BY day"
)
QUERY_DAYS_CLICKED = (
    """
-- One row per day with counted clicks of a query.
SELECT day, count(*), NULL, sum(position), count(nullif(position, 0)) FROM click
"""
    + _OF_QUERY
    + _COUNTED_CLICKS
    + " GROUP BY day"
)
QUERY_DWELL = (
    """
-- One row per click of a query, latest first: how long its visitor stayed, null where nobody knows.
SELECT dwell_s FROM click
"""
    + _OF_QUERY
    + _COUNTED_CLICKS
    + " ORDER BY day DESC, received_ms DESC, event_id DESC LIMIT :clicks"
)


def _neighbour(sign: str, order: str) -> str:
    """Return SQL for the query id of the counted search right before (-) or after (+) one."""
    compared, ends = ("<", ">=") if sign == "-" else (">", "<=")
    return f"""
  SELECT other.query_id FROM search AS other
   WHERE other.site = of.site AND other.day IN (of.day, of.day {sign} 1) AND other.visitor = of.visitor
     AND other.robot = :robots AND other.drop_reason = :counted
     AND (other.received_ms, other.query_id) {compared} (of.received_ms, of.query_id)
     AND other.received_ms {ends} of.received_ms {sign} {REFINED_MS}
   ORDER BY other.received_ms {order}, other.query_id {order} LIMIT 1
"""


QUERY_NEIGHBOURS = f"""
-- One row per query that was searched right before (0) or after (1) another one, of each the first few.
WITH of AS MATERIALIZED (
  SELECT site, day, visitor, received_ms, query_id FROM search
  {_OF_QUERY} {_COUNTED} AND visitor IS NOT NULL
   ORDER BY day DESC, received_ms DESC, query_id DESC LIMIT :searches
), neighbour (side, query_id) AS (
  SELECT 0, ({_neighbour("-", "DESC")}) FROM of UNION ALL SELECT 1, ({_neighbour("+", "ASC")}) FROM of
), ranked AS (
  SELECT neighbour.side, query.text, count(*) AS searches, sum(search.clicked) AS clicked,
         count(DISTINCT hex(search.visitor) || search.site) AS visitors
    FROM neighbour CROSS JOIN search ON search.query_id = neighbour.query_id
    JOIN query ON query.id = search.query
   WHERE search.query <> :query GROUP BY neighbour.side, search.query, query.text
)
SELECT side, text, searches, clicked, visitors FROM ranked
 ORDER BY searches DESC, visitors DESC, text
"""
# A page that many share, or that is left out for its trust, shows nothing that counts, and is clicked
# all the same.
# Clicks that belong to no page were reported by a sender who knows no searches. A place was seen where
# the page's list of such places has it: [position,module, with nothing between, as it was written.
PLACES = f"""
-- One row per result and place where it was shown or clicked, each with the number of pages read.
WITH page AS MATERIALIZED (
  SELECT query_id, viewed, reason.text AS reason, impressions, seen
    FROM search JOIN term AS reason ON reason.id = search.drop_reason
   WHERE query = :query AND day BETWEEN :first_day AND :last_day AND (:site IS NULL OR site = :site)
     AND iif(reason.text = 'robot', 1, 0) = :robots AND reason.text <> 'prefetch'
     {_FACETS}
   ORDER BY day DESC, query_id DESC LIMIT :searches
), clicked AS (
  SELECT click.result, click.module, click.position
    FROM page JOIN click ON click.query_id = coalesce(page.viewed, page.query_id)
     AND click.view_id IS iif(page.viewed IS NULL, NULL, page.query_id)
    JOIN term AS kind ON kind.id = click.kind JOIN term AS reason ON reason.id = click.drop_reason
   WHERE kind.text IN ('result', 'ad') AND reason.text = iif(:robots = 1, 'robot', '')
), alone AS (
  SELECT click.result, click.module, click.position
    FROM click
    JOIN term AS kind ON kind.id = click.kind JOIN term AS reason ON reason.id = click.drop_reason
   WHERE query = :query AND query_id IS NULL AND day BETWEEN :first_day AND :last_day
     AND (:site IS NULL OR site = :site)
     AND kind.text IN ('result', 'ad') AND reason.text = iif(:robots = 1, 'robot', '')
     {_FACETS}
   ORDER BY day DESC LIMIT :searches
), shown (result, position, module, seen) AS (
  SELECT json_extract(shown.value, '$[0]'), json_extract(shown.value, '$[1]'),
         json_extract(shown.value, '$[2]'), page.seen
    FROM page CROSS JOIN json_each(page.impressions) AS shown
   WHERE page.reason IN ('', 'page', 'repeat', 'typing', 'robot')
), place (result, module, position, impressions, clicks, seen) AS (
  SELECT result, module, position, 1, 0, iif(instr(seen, '[' || position || ',' || module || ',') > 0, 1, 0)
    FROM shown
  UNION ALL SELECT result, module, coalesce(position, 0), 0, 1, 0 FROM clicked
  UNION ALL SELECT result, module, coalesce(position, 0), 0, 1, 0 FROM alone
), summed AS (
  SELECT result, module, position, sum(impressions) AS impressions, sum(clicks) AS clicks, sum(seen) AS seen
    FROM place WHERE :module IS NULL OR module = :module GROUP BY result, module, position
)
SELECT read.pages, iif(result.url = '', result.doc_id, result.url), result.title, module.text,
       summed.position, summed.impressions, summed.clicks, summed.seen
  FROM (SELECT count(*) AS pages FROM page) AS read
  LEFT JOIN summed ON true LEFT JOIN result ON result.id = summed.result
  LEFT JOIN term AS module ON module.id = summed.module
 ORDER BY summed.clicks DESC, summed.impressions DESC, 4, summed.position, 2
"""

# -- one result ------------------------------------------------------------------------------------

# A result that a site shows under ids of its own has several rows of one URL.
_FOUND = """found (result, title) AS (
  SELECT id, title FROM result WHERE url = :url AND url <> ''
  UNION ALL SELECT id, title FROM result WHERE url = '' AND doc_id = :url
)
"""
RESULT_DAYS = (
    "-- One row per day that has anything of a result."
    + DAYS_AND_SITES
    + _FOUND
    + """
SELECT days.day, sum(kept.clicks), sum(kept.impressions), sum(kept.position_sum), sum(kept.clicks_positioned)
  FROM found CROSS JOIN days CROSS JOIN place
 CROSS JOIN day_result AS kept
         ON kept.site = place.site AND kept.day = days.day AND kept.result = found.result
 GROUP BY days.day
"""
)


def _clicks_of_result(columns: str, grouped: str) -> str:
    """Return SQL over the counted clicks on a result, day by day as their index has them."""
    return f"""
{DAYS_AND_SITES} {_FOUND}, clicked AS (
  SELECT found.title, click.day, click.query, click.module, coalesce(click.position, 0) AS position
    FROM found CROSS JOIN days CROSS JOIN place
   CROSS JOIN click
           ON click.site = place.site AND click.day = days.day AND click.result = found.result
   WHERE (:text IS NULL OR EXISTS ({_TEXT_OF.format("click")}))
   {_COUNTED_CLICKS}
)
SELECT {columns} FROM clicked {grouped}
"""


RESULT_DAYS_CLICKED = "-- One row per day with counted clicks on a result." + _clicks_of_result(
    "day, count(*), NULL, sum(position), count(nullif(position, 0))", "GROUP BY day"
)
RESULT_QUERIES = (
    "-- One row per query whose searches led to a result, null for clicks without one; most clicks first."
    + _clicks_of_result(
        "query.text, count(*) AS clicks, sum(position), count(nullif(position, 0))",
        "LEFT JOIN query ON query.id = clicked.query GROUP BY clicked.query, query.text"
        " ORDER BY clicks DESC, query.text IS NULL, query.text LIMIT :limit",
    )
)
RESULT_POSITIONS = (
    "-- One row per module and position where a result was clicked, most clicks first."
    + _clicks_of_result(
        "max(clicked.title), term.text, position, count(*) AS clicks",
        "JOIN term ON term.id = clicked.module GROUP BY module, term.text, position"
        " ORDER BY clicks DESC, term.text, position",
    )
)

# -- sessions --------------------------------------------------------------------------------------

DAY_SEARCHES = (
    """
-- One row per day with searches of people or of robots, latest first: how many, whatever else is asked.
SELECT day, sum(searches) FROM cube
"""
    + WHERE_SITE
    + " AND module = 0 AND robot = :robots GROUP BY day HAVING sum(searches) > 0 ORDER BY day DESC"
)
SESSION_SEARCHES = (
    """
-- One row per counted search, visitor by visitor in order of time; those without a visitor come first.
SELECT site, visitor, received_ms, query_id, query, total_hits, clicked,
       CASE WHEN :text IS NULL THEN 1
            ELSE iif(EXISTS ("""
    + _TEXT_OF.format("search")
    + """), 1, 0) END
  FROM search
"""
    + WHERE_SITE
    + _COUNTED
    + " ORDER BY site, visitor, received_ms, query_id"
)
# What belongs to a search came within a day on its own page, or on one that belongs to it. On a page
# that many share, clicks have the view, and what is said has the visitor.
_AT_PAGE = f"""
    ON said.query_id = coalesce(page.viewed, page.query_id)
   AND said.drop_reason = :counted AND said.received_ms < page.received_ms + {CLICK_HORIZON_MS}
"""
_VISITORS_OWN = "(page.viewed IS NULL OR said.visitor = page.visitor)"
SESSION_FOLLOWED = f"""
-- One row per search that anything followed: when the first click on a result or an ad came, whether any
-- click did, and whether an answer was shown or the visitor content.
WITH own AS MATERIALIZED (
  SELECT query_id, viewed, visitor, received_ms FROM search {WHERE_SITE} {_COUNTED}
     AND visitor IS NOT NULL
), page (owner, query_id, viewed, visitor, received_ms) AS MATERIALIZED (
  SELECT query_id, query_id, viewed, visitor, received_ms FROM own
  UNION ALL
  SELECT own.query_id, member.query_id, member.viewed, member.visitor, member.received_ms
    FROM own CROSS JOIN search AS member ON member.first_query_id = own.query_id
), followed (owner, click_ms, clicked, answered) AS (
  SELECT page.owner, CASE WHEN term.text IN ('result', 'ad') THEN said.received_ms END, 1, 0
    FROM page CROSS JOIN click AS said {_AT_PAGE} AND said.view_id IS iif(page.viewed IS NULL, NULL, page.query_id)
    JOIN term ON term.id = said.kind
  UNION ALL
  SELECT page.owner, NULL, 0, 1 FROM page CROSS JOIN answer AS said {_AT_PAGE} AND {_VISITORS_OWN}
  UNION ALL
  SELECT page.owner, NULL, 0, 1 FROM page CROSS JOIN rating AS said {_AT_PAGE} AND {_VISITORS_OWN}
     AND said.score >= {CONTENT_SCORE}
)
SELECT owner, min(click_ms), max(clicked), max(answered) FROM followed GROUP BY owner
"""
QUERY_TEXTS = """
-- One row per query of a list.
SELECT id, text FROM query WHERE id IN (SELECT value FROM json_each(?))
"""
