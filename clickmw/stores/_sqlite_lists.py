"""The report's lists in SQL, by site and days: what is asked and clicked most, what never, what grows.

Filters are bound by name as in :mod:`clickmw.stores._sqlite_queries`.
"""

from __future__ import annotations

from typing import NamedTuple

from clickmw.stores._sqlite_queries import (
    DAYS_AND_SITES,
    MATCHING,
    TEXT_LAST,
    WHERE_SITE,
    now_and_before,
    ranking,
    ranking_of_growth,
    trends_of_queries,
    trends_of_results,
)
from clickmw.stores._sqlite_totals import OFTEN

# No query or result has more in the days asked for than in all days (the totals, called known), so that
# only the days of those are read that have enough there. Those of a short list are looked up in an index
# of what is asked or clicked often; where they are many, both tables are read in the order of their
# keys: to sort what all days say would take ten times as long.

#: Where a part of the query is asked for. Of what has no query nothing is left then.
_WITH_TEXT = f" AND (:text IS NULL OR +query IN ({MATCHING})) "
_PLACES = "(SELECT id FROM site WHERE :site IS NULL OR id = :site)"
_DAYS = "day BETWEEN :first_day AND :last_day"


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
    """Return SQL for what one of the sites asked for must have of *least*; of no sites, as of one."""
    sites = "max(count(*), 1)"
    return f"(SELECT ({least} + {sites} - 1) / {sites} FROM {_EACH_PLACE} AS place)"


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


# Of the results that were shown and never clicked: in four steps, so that each knows how much the one
# before has found.
_UNCLICKED_IN_DAYS = f"""
NOT EXISTS (SELECT 1 FROM day_result AS said INDEXED BY days_of_result
             WHERE said.result = known.result AND said.site IN {_PLACES} AND said.{_DAYS}
               AND said.clicks > 0)
"""
PLACES = f"""
-- One row per site that is asked for.
SELECT site FROM {_EACH_PLACE} AS place
"""
UNCLICKED_MOST = f"""
-- One row per result that was not clicked, those that a site has shown most over all days.
SELECT result FROM total_result AS known INDEXED BY total_result_shown
 WHERE known.site = :place AND {_UNCLICKED_IN_DAYS} ORDER BY impressions DESC LIMIT 3 * :limit
"""


_SHOWN = f"""
{DAYS_AND_SITES} ranked AS MATERIALIZED (
  SELECT chosen.value AS result, sum(kept.impressions) AS shown
    FROM json_each(:queries) AS chosen CROSS JOIN days CROSS JOIN place
   CROSS JOIN day_result AS kept
           ON kept.site = place.site AND kept.day = days.day AND kept.result = chosen.value
   GROUP BY chosen.value HAVING sum(kept.impressions) >= :least ORDER BY shown DESC, chosen.value LIMIT :limit)
"""
UNCLICKED_BAR = f"""
-- One row: how often the last of a full list of these results was shown at least.
{_SHOWN}SELECT max(:least, coalesce((SELECT shown FROM ranked ORDER BY shown DESC LIMIT 1 OFFSET :limit - 1), 0))
"""
# The totals have no impressions of a site's newest day. What has enough of both has nine tenths of it
# in the totals, or one tenth of it on the newest day.
UNCLICKED_FEW = f"""
-- One list of the results that were not clicked and may have been shown so often.
SELECT json_group_array(result) FROM (
  SELECT result FROM {_EACH_PLACE} AS place CROSS JOIN total_result AS known INDEXED BY total_result_shown
      ON known.site = place.site AND known.impressions >= {_share("(9 * :bar + 9) / 10")}
  UNION
  SELECT result FROM shown_through
   CROSS JOIN day_result ON day_result.site = shown_through.site AND day_result.day = shown_through.day + 1
   WHERE shown_through.site IN {_PLACES} AND shown_through.day + 1 BETWEEN :first_day AND :last_day
     AND impressions >= {_share("(:bar + 9) / 10")}) AS known
 WHERE {_UNCLICKED_IN_DAYS}
"""
UNCLICKED_RESULTS = f"""
-- One row per result of a list of ids that was shown often enough, most shown first.
{_SHOWN}SELECT iif(result.url = '', result.doc_id, result.url), result.title, 0, shown, 0, 0
  FROM ranked JOIN result ON result.id = ranked.result ORDER BY shown DESC, 1
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
