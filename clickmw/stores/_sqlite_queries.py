"""The report's questions in SQL: rollups, never a scan of raw rows.

What rollups do not know is asked in :mod:`clickmw.stores._sqlite_facts`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from clickmw.stores._sqlite_totals import OFTEN

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
#: Where a part of the query is asked for. Of what has no query nothing is left then.
_WITH_TEXT = f" AND (:text IS NULL OR +query IN ({MATCHING})) "
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
_PLACES = "(SELECT id FROM site WHERE :site IS NULL OR id = :site)"
_DAYS = "day BETWEEN :first_day AND :last_day"


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


# -- lists by site and days ------------------------------------------------------------------------

# No query or result has more in the days asked for than in all days (the totals, called known), so that
# only the days of those are read that have enough there. Those of a short list are looked up in an index
# of what is asked or clicked often; where they are many, both tables are read in the order of their
# keys: to sort what all days say would take ten times as long.


class Kept(NamedTuple):
    """Where something is kept: over all days, and from each key to its days."""

    key: str
    total: str
    days: str
    text: str = ""
    found: str = "AS known"


OF_QUERIES = Kept(
    "query",
    "total_query",
    "day_query AS kept INDEXED BY days_of_query ON kept.query = known.query",
    _WITH_TEXT.replace("+query IN", "known.query IN"),
)
OF_EMPTY = OF_QUERIES._replace(found="AS known INDEXED BY total_query_empty")
OF_RESULTS = Kept(
    "result",
    "total_result",
    "day_result AS kept INDEXED BY days_of_result ON kept.result = known.result AND kept.clicks > 0",
)


def _by_site(of: Kept, sums: str, which: str, days: str = _DAYS) -> str:
    """Return SQL for *sums* of some days, by site and key, of those that *which* chooses."""
    return f"""
SELECT known.{of.key} AS {of.key}, {sums}
  FROM site CROSS JOIN {of.total} {of.found} ON known.site = site.id
 CROSS JOIN {of.days} AND kept.site = known.site AND kept.{days}
 WHERE (:site IS NULL OR site.id = :site) AND {which} {of.text}
 GROUP BY site.id, known.{of.key}
"""


def _summed(of: Kept, columns: str, which: str) -> str:
    """Return SQL for the sums of *columns*, by site and key, of those that *which* chooses."""
    return f" FROM ({_by_site(of, _sums_of(columns), which)}) "


def _sums_of(columns: str) -> str:
    return ", ".join(f"sum(kept.{name}) AS {name}" for name in columns.split())


def _enough(of: Kept, count: str, least: str = ":least") -> str:
    """Return SQL for those whose *count* over all days is *least*; of all sites one has its share of it."""
    return f"""
({count} >= {least} OR :site IS NULL AND known.{of.key} IN (
  SELECT {of.key} FROM {of.total} AS known WHERE ({count}) * (SELECT count(*) FROM site) >= {least}))
"""


_USES = "known.searches + known.clicks"
_EACH_PLACE = "(SELECT id AS site FROM site WHERE :site IS NULL OR id = :site)"
#: What is asked or clicked often at the sites asked for, found by how often that was. No list is as long
#: as its condition allows: it is read where that is short.
_OFTEN = f"""
{_EACH_PLACE} AS place CROSS JOIN total_query AS known INDEXED BY total_query_often
    ON known.site = place.site AND {OFTEN}"""


def _share(least: str) -> str:
    """Return SQL for what one of the sites asked for must have of *least*."""
    return f"(SELECT ({least} + count(*) - 1) / count(*) FROM {_EACH_PLACE} AS place)"


def _often(
    sums: str,
    count: str,
    least: str,
    also: str = "",
    days: str = _DAYS,
    text: str = OF_QUERIES.text,
) -> str:
    """Return SQL for *sums* of some days, by query, of those asked often whose *count* is *least*."""
    return f"""
SELECT known.query AS query, {sums} FROM (
  SELECT DISTINCT known.query AS query FROM {_OFTEN} AND {_USES} >= {_share(least)}
   WHERE {count} >= {_share(least)} {text} {also}) AS known
 CROSS JOIN day_query AS kept INDEXED BY days_of_query
    ON kept.query = known.query AND kept.site IN {_PLACES} AND kept.{days}
 GROUP BY known.query
"""


#: Lists whose candidates are told by a number in the totals → that number.
COUNTED = {
    "top": "known.searches",
    "unclicked": "known.searches",
    "few": "known.searches",
    "low": _USES,
    "deep": "known.clicks",
    "trending": "known.searches",
}
#: One of so many queries is a candidate where a list is short enough to be looked up.
SHORT = 50
IS_SHORT = f"""
-- One row: whether few queries are asked so often that they may be in a list.
SELECT count(*) <= :most FROM (SELECT 1 FROM {_OFTEN} AND {_USES} >= {_share(":least")} LIMIT :most + 1)
"""


def _largest(of: Kept, count: str, *, columns: str) -> str:
    """Return SQL that ranks by the sum of *count*, largest first.

    Of those with most of it over all days the last one that the list has room for says how much it takes.
    """

    def ranked(which: str) -> str:
        return ranking(_summed(of, columns, which), f"sum({count})", key=of.key)

    return f"""
WITH likely AS MATERIALIZED (
  SELECT {of.key} FROM {of.total} AS known WHERE site IN {_PLACES} {of.text}
   ORDER BY {count} DESC LIMIT 2 * :limit
), bar AS MATERIALIZED (
  SELECT coalesce((SELECT first FROM ({ranked(f"known.{of.key} IN (SELECT {of.key} FROM likely)")})
                    LIMIT 1 OFFSET :limit - 1), 0) AS least
) {ranked(_enough(of, f"known.{count}", "(SELECT least FROM bar)"))}
"""


def _queries(about: str, ranked: str) -> str:
    """Return SQL for one row per query that *ranked* finds, in its order."""
    return f"""
-- One row per query {about}
WITH ranked AS MATERIALIZED ({ranked})
SELECT query.text, sum(searches), sum(searches_clicked), sum(searches_known), sum(searches_empty),
       sum(clicks), sum(impressions), sum(position_sum), sum(clicks_positioned)
  FROM ranked CROSS JOIN day_query AS kept INDEXED BY days_of_query
         ON kept.query = ranked.query AND kept.site IN {_PLACES} AND kept.{_DAYS}
  JOIN query ON query.id = ranked.query
 GROUP BY ranked.query, query.text, ranked.first, ranked.second ORDER BY ranked.first DESC, ranked.second DESC, query.text
"""


# How many searches with a click are missing: the share of all queries, times a query's own searches
# that found something, less those that were clicked. Ranked by that times all searches that found
# something, which is a whole number. Without a text, all queries are all searches of people.
def _few(own: str) -> str:
    return f"""
WITH own AS MATERIALIZED (
  SELECT query, sum(searches) - sum(searches_empty) AS found, sum(searches_clicked) AS clicked {own}
   GROUP BY query
)
SELECT query, own.found * :every_clicked - own.clicked * :every_found AS first, own.found AS second
  FROM own
 WHERE own.found >= :least AND own.found * :every_clicked > own.clicked * :every_found
 ORDER BY first DESC, second DESC, query LIMIT :limit
"""


#: What all queries have, for the list of those that are clicked less than others.
EVERY_SEARCH = f"""
-- One row: the searches that found something, and those that were clicked.
SELECT coalesce(sum(searches) - sum(searches_empty), 0), coalesce(sum(searches_clicked), 0) FROM cube
 WHERE site IN {_PLACES} AND {_DAYS} AND module = 0 AND robot = 0
"""
EVERY_OF_TEXT = f"""
-- One row: the same of the queries with a text.
SELECT coalesce(sum(searches) - sum(searches_empty), 0), coalesce(sum(searches_clicked), 0)
  FROM day_query INDEXED BY days_of_query
 WHERE query IN ({MATCHING}) AND site IN {_PLACES} AND {_DAYS}
"""
EVERY_WITH_TEXT_LAST = f"""
-- One row: the same where most queries have it.
SELECT coalesce(sum(searches) - sum(searches_empty), 0), coalesce(sum(searches_clicked), 0)
  FROM day_query {WHERE_SITE} {TEXT_LAST}
"""
_NOT_CLICKED = f"""
   AND NOT EXISTS (SELECT 1 FROM day_query AS said INDEXED BY days_of_query
                    WHERE said.query = known.query AND said.site IN {_PLACES} AND said.{_DAYS}
                      AND said.clicks > 0)
"""
_TOP = "searched or clicked, most searched first."
_ASKED_FOR = "{first} > 0 OR {second} > 0"
_UNCLICKED = "that found something and has no click, most searched first."
_FOUND_UNCLICKED = "sum(clicks) = 0 AND sum(searches) > sum(searches_empty)"


class List(NamedTuple):
    """A list of queries: what it is about, what it adds up of each day, and how it ranks that."""

    about: str
    columns: str
    first: str
    second: str = "0"
    having: str = "{first} > 0"
    least: str = ":least"
    also: str = ""


LISTS = {
    "top": List(_TOP, "searches clicks", "sum(searches)", "sum(clicks)", _ASKED_FOR),
    "unclicked": List(
        _UNCLICKED,
        "searches searches_empty clicks",
        "sum(searches)",
        having=_FOUND_UNCLICKED,
        also=_NOT_CLICKED,
    ),
    "low": List(
        "with few clicks for 100 searches, fewest first.",
        "searches clicks",
        "-1.0 * sum(clicks) / sum(searches)",
        "sum(searches)",
        "sum(searches) + sum(clicks) >= :least AND 100 * sum(clicks) < :below * sum(searches)",
    ),
    "deep": List(
        "whose clicks have a deep mean position, deepest first.",
        "clicks_positioned position_sum",
        "1.0 * sum(position_sum) / sum(clicks_positioned)",
        "sum(clicks_positioned)",
        "{second} >= :least AND sum(position_sum) >= :deeper * {second}",
    ),
}
_MISSED = "with fewer clicks than others, by how many are missing."
_OF_MISSED = "searches searches_empty searches_clicked"


def _ranked(of: List, source: str) -> str:
    return ranking(source, of.first, of.second, having=of.having)


#: List → SQL. How much it takes (``:least``) says a threshold, or what is probably in the list.
QUERIES = {
    name: _queries(
        of.about,
        _ranked(of, _summed(OF_QUERIES, of.columns, _enough(OF_QUERIES, COUNTED[name]) + of.also)),
    )
    for name, of in LISTS.items()
} | {
    "few": _queries(
        _MISSED, _few(_summed(OF_QUERIES, _OF_MISSED, _enough(OF_QUERIES, COUNTED["few"])))
    ),
    "empty": _queries(
        "that found nothing, most often first.",
        ranking(
            _summed(OF_EMPTY, "searches_empty", "known.searches_empty > 0"),
            "sum(searches_empty)",
        ),
    ),
}
#: The same where few queries are asked so often.
OF_OFTEN = {
    name: _queries(
        of.about,
        _ranked(of, f" FROM ({_often(_sums_of(of.columns), COUNTED[name], ':least', of.also)}) "),
    )
    for name, of in LISTS.items()
} | {
    "few": _queries(
        _MISSED, _few(f" FROM ({_often(_sums_of(_OF_MISSED), COUNTED['few'], ':least')}) ")
    ),
}


def _sums_of_likely(columns: str) -> str:
    return f"""
 FROM (SELECT known.query AS query, {_sums_of(columns)} FROM (SELECT DISTINCT query FROM likely) AS known
        CROSS JOIN day_query AS kept INDEXED BY days_of_query
           ON kept.query = known.query AND kept.site IN {_PLACES} AND kept.{_DAYS}
        GROUP BY known.query)
"""


def _bar(name: str, likely: str, place: str = _EACH_PLACE) -> str:
    """Return SQL for how many searches the last of a full list has at least: of the *likely* ones."""
    of = LISTS[name]
    return f"""
-- One row: what the last one of a full list has at least; 0 where nobody knows.
WITH place AS MATERIALIZED {place}, likely AS MATERIALIZED ({likely}), ranked AS ({_ranked(of, _sums_of_likely(of.columns))})
SELECT coalesce((SELECT first FROM ranked LIMIT 1 OFFSET :limit - 1), 0)
"""


#: List without a threshold → SQL for its bar.
BARS = {
    # At each site twice as many as the list has room for.
    "top": _bar(
        "top",
        f"""
  SELECT known.query FROM place CROSS JOIN total_query AS known INDEXED BY total_query_often
      ON known.site = place.site AND {OFTEN} AND {_USES} >= coalesce(place.uses, 0)
   WHERE true {OF_QUERIES.text} ORDER BY {_USES} DESC LIMIT 2 * :limit""",
        f"""(
  SELECT site, (SELECT {_USES} FROM total_query AS known INDEXED BY total_query_often
                 WHERE known.site = place.site AND {OFTEN} {OF_QUERIES.text}
                 ORDER BY {_USES} DESC LIMIT 1 OFFSET 2 * :limit - 1) AS uses
    FROM {_EACH_PLACE} AS place)""",
    ),
    # Most of those asked most are clicked.
    "unclicked": _bar(
        "unclicked",
        f"""
  SELECT known.query FROM place CROSS JOIN total_query AS known INDEXED BY total_query_often
      ON known.site = place.site AND {OFTEN}
   WHERE true {OF_QUERIES.text}
   ORDER BY 1.0 * (known.searches - known.searches_empty) / (1 + known.clicks * known.clicks) DESC
   LIMIT 10 * :limit""",
    ),
}

_IN_DAYS = f"FROM day_query {WHERE_SITE} {_WITH_TEXT}"
#: The same of few days: all that is in them is less than what has enough over all days.
OF_FEW_DAYS = {
    "top": _queries(_TOP, ranking(_IN_DAYS, "sum(searches)", "sum(clicks)", having=_ASKED_FOR)),
    "unclicked": _queries(_UNCLICKED, ranking(_IN_DAYS, "sum(searches)", having=_FOUND_UNCLICKED)),
}


# Of the results that were shown and never clicked: in three steps, so that each knows how much the one
# before has found.
_UNCLICKED_IN_DAYS = f"""
NOT EXISTS (SELECT 1 FROM day_result AS said INDEXED BY days_of_result
             WHERE said.result = known.result AND said.site IN {_PLACES} AND said.{_DAYS}
               AND said.clicks > 0)
"""


def _shown(chosen: str) -> str:
    """Return SQL for how often the results *chosen* were shown, most often first."""
    return f"""
SELECT chosen.result, sum(kept.impressions) AS shown
  FROM ({chosen}) AS chosen CROSS JOIN days CROSS JOIN place
 CROSS JOIN day_result AS kept
         ON kept.site = place.site AND kept.day = days.day AND kept.result = chosen.result
 GROUP BY chosen.result HAVING sum(kept.impressions) >= :least ORDER BY shown DESC, chosen.result LIMIT :limit
"""


UNCLICKED_BAR = f"""
-- One row: how often the last of a full list was shown at least.
{DAYS_AND_SITES} likely AS MATERIALIZED (
  SELECT DISTINCT result FROM (
    SELECT result FROM total_result WHERE site IN {_PLACES}
     ORDER BY 1.0 * impressions / (1 + clicks * clicks) DESC LIMIT 3 * :limit)
), unclicked AS MATERIALIZED (SELECT result FROM likely AS known WHERE {_UNCLICKED_IN_DAYS})
SELECT max(:least, coalesce(
         (SELECT shown FROM ({_shown("SELECT result FROM unclicked")}) LIMIT 1 OFFSET :limit - 1), 0))
"""
# The totals have no impressions of a site's newest day. What has enough of both has nine tenths of it
# in the totals, or one tenth of it on the newest day.
UNCLICKED_FEW = f"""
-- One list of the results that were not clicked and may have been shown so often.
WITH place (site) AS (SELECT id FROM site WHERE :site IS NULL OR id = :site)
SELECT json_group_array(result) FROM (
  SELECT result FROM total_result
   WHERE site IN {_PLACES} AND 10 * impressions * (SELECT count(*) FROM place) >= 9 * :bar
  UNION
  SELECT result FROM shown_through
   CROSS JOIN day_result ON day_result.site = shown_through.site AND day_result.day = shown_through.day + 1
   WHERE shown_through.site IN {_PLACES} AND shown_through.day + 1 BETWEEN :first_day AND :last_day
     AND 10 * impressions * (SELECT count(*) FROM place) >= :bar) AS known
 WHERE {_UNCLICKED_IN_DAYS}
"""
UNCLICKED_RESULTS = f"""
-- One row per result of a list of ids that was shown often enough, most shown first.
{DAYS_AND_SITES} ranked AS MATERIALIZED ({_shown("SELECT value AS result FROM json_each(:queries)")})
SELECT iif(result.url = '', result.doc_id, result.url), result.title, 0, shown, 0, 0
  FROM ranked JOIN result ON result.id = ranked.result ORDER BY shown DESC, 1
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


_BOTH = "day BETWEEN min(:first_day, :before_first) AND max(:last_day, :before_last)"


def _growth(of: Kept, count: str, *, often: bool = False) -> str:
    """Return SQL that ranks by their growth those with enough of *count*."""
    sums = now_and_before(f"sum(kept.{count})")
    known = f"known.{count}"
    summed = (
        _often(sums, known, ":least", days=_BOTH)
        if often
        else _by_site(of, sums, _enough(of, known), _BOTH)
    )
    grown = (
        f"SELECT {of.key} AS key, sum(now) AS now, sum(before) AS before FROM ({summed}) GROUP BY 1"
    )
    return ranking_of_growth(grown)


TRENDING_QUERIES = trends_of_queries(_growth(OF_QUERIES, "searches"))
TRENDING_OFTEN = trends_of_queries(_growth(OF_QUERIES, "searches", often=True))
TRENDING_RESULTS = trends_of_results(_growth(OF_RESULTS, "clicks"))
TOP_RESULTS = f"""
-- One row per clicked result, most clicked first.
{DAYS_AND_SITES} ranked AS MATERIALIZED (
{_largest(OF_RESULTS, "clicks", columns="clicks")})
SELECT iif(result.url = '', result.doc_id, result.url), result.title, ranked.first, sum(kept.impressions),
       sum(kept.position_sum), sum(kept.clicks_positioned)
  FROM ranked CROSS JOIN days CROSS JOIN place
 CROSS JOIN day_result AS kept
         ON kept.site = place.site AND kept.day = days.day AND kept.result = ranked.result
  JOIN result ON result.id = ranked.result
 GROUP BY ranked.result, result.url, result.doc_id, result.title, ranked.first ORDER BY ranked.first DESC, 1
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
