"""The report's questions in SQL that rollups cannot answer: read from searches and clicks.

Only from covering indexes, of the days or the queries asked for; never from what pages showed, so
that no impressions are known here. Bound by name as in :mod:`clickmw.stores._sqlite_queries`;
``:counted`` is the reason of what counts: none for people, "robot" for robots.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from clickmw.stores._sqlite_queries import (
    FACETS,
    MATCHING,
    NOT_MATCHING,
    TEXT_LAST,
    WHERE_BOTH,
    WHERE_SITE,
    now_and_before,
    ranking,
    ranking_of_growth,
    trends_of_results,
)

_COUNTED = """
   AND robot = :robots AND drop_reason = :counted
   AND (:device IS NULL OR device = :device) AND (:language IS NULL OR language = :language)
   AND (:profile IS NULL OR profile = :profile) AND (:source IS NULL OR source = :source)
   AND (:trust IS NULL OR trust = :trust)
"""
# A search has no module, a click has.
_CLICK_COUNTED = f"{_COUNTED} AND kind IN (:result, :ad) AND (:module IS NULL OR module = :module) "
_WITH_TEXT = f" AND query IN ({MATCHING}) "
_EMPTY = "count(*) FILTER (WHERE total_hits = 0)"
_POSITIONS = "count(nullif(position, 0)), coalesce(sum(position), 0)"


class Sums(NamedTuple):
    """What some searches and clicks add up to."""

    searched: Mapping[str, str]  #: column, or "" for all together → sums of searches by its values
    clicked: Mapping[str, str]  #: the same of clicks
    placed: str  #: clicks by module and position
    clicks: str  #: one row where there are any clicks


class Questions(NamedTuple):
    """The same questions, asked of one pair of indexes."""

    ranked: Mapping[str, str]  #: list → SQL that ranks queries: id and two weights
    top_results: str
    trending_results: str


def _sums(name: str, sums: str, source: str) -> str:
    """Return SQL for *sums* of *source*: one row per value of the column *name*, one in all for none."""
    return f"""
-- One row per value of one column: its sums.
SELECT {name or "0"} AS key, {sums} {source} {f"GROUP BY {name}" if name else ""}
"""


def _searches_and_clicks(search_index: str, click_index: str, text: str) -> tuple[str, str]:
    return (
        f" FROM search INDEXED BY {search_index} {WHERE_SITE} {text} {_COUNTED} ",
        f" FROM click INDEXED BY {click_index} {WHERE_SITE} {text} {_CLICK_COUNTED} ",
    )


def _sums_of(text: str, *, by: str = "by_query") -> Sums:
    searches, clicks = _searches_and_clicks(f"search_{by}", f"click_{by}", text)
    search_sums = f"""
       count(*), coalesce(sum(clicked), 0), count(total_hits), {_EMPTY},
       count(*) FILTER (WHERE total_hits > 0 AND clicked = 0),
       coalesce(sum(:billion / best_position) FILTER (WHERE clicked = 1), 0)"""
    click_sums = f"count(*), {_POSITIONS}, coalesce(sum(:billion / nullif(position, 0)), 0)"
    return Sums(
        searched={name: _sums(name, search_sums, searches) for name in ("", "day", *FACETS)},
        clicked={name: _sums(name, click_sums, clicks) for name in ("", "day", "module", *FACETS)},
        placed=f"""
-- One row per module and position that was clicked.
SELECT module, position, count(*) {clicks} AND position > 0 GROUP BY module, position
""",
        clicks=f"""
-- One row where there are any clicks.
SELECT 1 {clicks} LIMIT 1
""",
    )


def _questions(search_index: str, click_index: str, text: str) -> Questions:
    searches, clicks = _searches_and_clicks(search_index, click_index, text)
    clicks_of_queries = f"{clicks} AND query IS NOT NULL "
    return Questions(
        ranked={
            "alone": "-- One row per query that was clicked and not searched, most clicked first."
            + ranking(
                f"{clicks_of_queries} AND query NOT IN (SELECT query {searches})", "count(*)"
            ),
            "empty": "-- One row per query that found nothing, most often first."
            + ranking(f"{searches} AND total_hits = 0", "count(*)"),
            "deep": "-- One row per query whose clicks have a deep mean position, deepest first."
            + ranking(
                f"{clicks_of_queries} AND position > 0",
                "1.0 * sum(position) / count(*)",
                "count(*)",
                having="{second} >= :least AND {first} >= :deeper",
            ),
        },
        top_results=f"""
-- One row per clicked result, most clicked first.
WITH ranked (result, clicks, positioned, positions) AS MATERIALIZED (
  SELECT result, count(*) AS clicks, {_POSITIONS} {clicks}
   GROUP BY result ORDER BY clicks DESC, result LIMIT :limit
)
SELECT iif(result.url = '', result.doc_id, result.url), result.title, clicks, NULL, positions, positioned
  FROM ranked JOIN result ON result.id = ranked.result ORDER BY clicks DESC, 1
""",
        trending_results=trends_of_results(
            ranking_of_growth(
                f"SELECT result AS key, {now_and_before('count(*)')}"
                f" FROM click INDEXED BY {click_index} {WHERE_BOTH} {text} {_CLICK_COUNTED} GROUP BY result"
            )
        ),
    )


#: Asked of all searches and clicks of the days, and of those whose query contains a text: query by
#: query, or day by day where most of them do.
OF_DAYS = _questions("search_facts", "click_facts", "")
OF_TEXT = _questions("search_by_query", "click_by_query", _WITH_TEXT)
OF_MOST = _questions("search_facts", "click_facts", TEXT_LAST)
#: What adds up where a query has the text, where it has not, and where there is none (of clicks alone).
WITH_TEXT = _sums_of(_WITH_TEXT)
WITH_TEXT_LAST = _sums_of(TEXT_LAST, by="facts")
OTHERS = _sums_of(f" AND query IN ({NOT_MATCHING}) ")
NOTHING = _sums_of(" AND query IS NULL ")._replace(searched={})
# A sample of texts: what was asked first is mostly what is asked most, and what was asked last is as
# most queries are, asked once.
HEARD_FIRST = """
-- One row: the searches of the queries that were asked first, those with the text and all of them.
SELECT coalesce(sum(known.searches) FILTER (WHERE instr(query.text, :text) > 0), 0),
       coalesce(sum(known.searches), 0)
  FROM query CROSS JOIN total_query AS known ON known.query = query.id
 WHERE query.id <= :sample AND known.site IN (SELECT id FROM site WHERE :site IS NULL OR id = :site)
"""
HEARD_LAST = """
-- One row: how many of the queries that were asked last have the text, and how many these are.
SELECT count(*) FILTER (WHERE instr(query.text, :text) > 0), count(*)
  FROM query WHERE query.id > (SELECT max(id) FROM query) - :sample
"""

LAST_QUERY = """
-- One row: how many queries there are at most.
SELECT coalesce(max(id), 0) FROM query
"""


def _marks(text: str) -> str:
    return f"""
-- One list for each day: 4 × the query of each search, + 2 where it was clicked, + 1 where it is
-- known to have found nothing. Counted in Python, in half the time that SQLite takes to sort them.
SELECT json_group_array(4 * query + 2 * clicked + iif(total_hits = 0, 1, 0))
  FROM search INDEXED BY search_facts {WHERE_SITE} {text} {_COUNTED} GROUP BY site, day
"""


TALLY_BY_DAY = _marks("")
TALLY_WITH_TEXT_LAST = _marks(TEXT_LAST)


def _tally(queries: str) -> str:
    return f"""
-- One row per query: how often it was searched, clicked, and searched with no result. Nothing is
-- sorted, but every query is looked up.
SELECT asked.id, count(*), sum(search.clicked), {_EMPTY}
  FROM {queries} AS asked CROSS JOIN search INDEXED BY search_by_query ON search.query = asked.id
 {WHERE_SITE} {_COUNTED} GROUP BY asked.id
"""


TALLY_BY_QUERY = _tally("query")
TALLY_OF_TEXT = _tally(f"({MATCHING})")

QUERY_ROWS = f"""
-- One row per query of a list of ids, in its order: sums of its searches and of its clicks, as JSON.
SELECT query.text,
       (SELECT json_array(count(*), coalesce(sum(clicked), 0), count(total_hits), {_EMPTY})
          FROM search INDEXED BY search_by_query {WHERE_SITE} AND query = given.value {_COUNTED}),
       (SELECT json_array(count(*), {_POSITIONS})
          FROM click INDEXED BY click_by_query {WHERE_SITE} AND query = given.value {_CLICK_COUNTED})
  FROM json_each(:queries) AS given JOIN query ON query.id = given.value ORDER BY given.key
"""
UNCLICKED = f"""
-- The first queries of a list of ids that have no click; it is read no further than that.
SELECT given.value FROM json_each(:queries) AS given
 WHERE NOT EXISTS (SELECT 1 FROM click INDEXED BY click_by_query
                   {WHERE_SITE} AND query = given.value {_CLICK_COUNTED})
 LIMIT :limit
"""
CLICKED = f"""
-- One row per query of a list of ids: its clicks.
SELECT given.value, (SELECT count(*) FROM click INDEXED BY click_by_query
                     {WHERE_SITE} AND query = given.value {_CLICK_COUNTED})
  FROM json_each(:queries) AS given
"""
TEXTS = """
-- One row per query of a list of ids.
SELECT query.id, query.text FROM json_each(:queries) AS given JOIN query ON query.id = given.value
"""
RATED = f"""
-- One row: the sums of what searches with the text were rated; such ratings are few.
WITH rated AS (
  SELECT score, coalesce((SELECT query FROM search WHERE search.query_id = rating.query_id), query)
         AS query, device, language, profile, source, trust, robot, drop_reason
    FROM rating INDEXED BY rating_facts {WHERE_SITE} AND score IS NOT NULL
)
SELECT count(*), coalesce(sum(score), 0), coalesce(sum(score * score), 0)
  FROM rated WHERE true {TEXT_LAST} {_COUNTED}
"""


# -- who searched what -----------------------------------------------------------------------------

_BY_SOMEBODY = " AND robot = 0 AND drop_reason = 0 AND visitor IS NOT NULL "


def _visitors(table: str) -> str:
    return f"visitor FROM {table} INDEXED BY {table}_by_query {WHERE_SITE} AND query = known.query {_BY_SOMEBODY}"


def _common(candidates: str) -> str:
    """Return SQL for those of the *candidates* that so many visitors have, each read as far as it takes.

    Most of them have searched it; clicks are read only where those who have are too few.
    """
    return f"""
-- One row per query that enough visitors searched or clicked on.
SELECT query.text FROM ({candidates}) AS known JOIN query ON query.id = known.query
 WHERE (SELECT count(*) FROM (SELECT DISTINCT {_visitors("search")} LIMIT :least)) >= :least
    OR (SELECT count(*) FROM (SELECT {_visitors("search")} UNION SELECT {_visitors("click")})) >= :least
"""


#: Nothing has more visitors than it has searches and clicks over all days.
COMMON_QUERIES = _common(f"""
  SELECT query FROM total_query
   WHERE site IN (SELECT id FROM site WHERE :site IS NULL OR id = :site)
     AND (:text IS NULL OR +query IN ({MATCHING}))
   GROUP BY query HAVING sum(searches) + sum(clicks) >= :least""")
COMMON_AMONG = _common("""
  SELECT query.id AS query FROM json_each(:among) AS given JOIN query ON query.text = given.value""")

_IDS = "(SELECT query.id FROM json_each(:named) AS named JOIN query ON query.text = named.value)"
_NOT_NAMED = f" AND query NOT IN {_IDS} "
UNNAMED_KEPT = f"""
-- One row: how many queries of the days no name is given of, and their sums.
SELECT count(DISTINCT query), coalesce(sum(searches), 0), coalesce(sum(searches_clicked), 0),
       coalesce(sum(searches_known), 0), coalesce(sum(searches_empty), 0), coalesce(sum(clicks), 0),
       coalesce(sum(impressions), 0), coalesce(sum(position_sum), 0), coalesce(sum(clicks_positioned), 0)
  FROM day_query {WHERE_SITE} {_NOT_NAMED} AND (searches > 0 OR clicks > 0)
"""
_OF_SEARCHES = f"FROM search INDEXED BY search_facts {WHERE_SITE} {_COUNTED} {_NOT_NAMED}"
_OF_CLICKS = f"""FROM click INDEXED BY click_facts {WHERE_SITE} {_CLICK_COUNTED}
   AND query IS NOT NULL {_NOT_NAMED}"""
UNNAMED = f"""
-- One row: the same under filters that no rollup knows.
SELECT (SELECT count(*) FROM (SELECT query {_OF_SEARCHES} UNION SELECT query {_OF_CLICKS})),
       searched.*, clicks, NULL, positions, positioned
  FROM (SELECT count(*), coalesce(sum(clicked), 0), count(total_hits), {_EMPTY} {_OF_SEARCHES}) AS searched
 CROSS JOIN (SELECT count(*) AS clicks, count(nullif(position, 0)) AS positioned,
                    coalesce(sum(position), 0) AS positions {_OF_CLICKS})
"""
