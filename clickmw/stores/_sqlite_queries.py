"""The report's questions in SQL: rollups, never a scan of raw rows.

What rollups do not know is asked in :mod:`clickmw.stores._sqlite_facts`.
"""

from __future__ import annotations

from typing import NamedTuple

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
#: Where a part of the query is asked for. Of what has no query nothing is left then.
_WITH_TEXT = f" AND (:text IS NULL OR query IN ({MATCHING})) "
DAYS_OF_TEXT = (
    """
-- One row per day that has anything of the queries with a text.
SELECT day, sum(searches), sum(searches_clicked), sum(searches_empty), sum(clicks), NULL
  FROM day_query INDEXED BY days_of_query
"""
    + WHERE_SITE
    + f" AND query IN ({MATCHING}) GROUP BY day"
)
_PLACES = "(SELECT id FROM site WHERE :site IS NULL OR id = :site)"
_DAYS = "day BETWEEN :first_day AND :last_day"


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
# only the days of those are read that have enough there. Both tables are read in the order of their
# keys: to sort what all days say would take ten times as long.


class Kept(NamedTuple):
    """Where something is kept: over all days, and from each key to its days."""

    key: str
    total: str
    days: str
    text: str = ""


OF_QUERIES = Kept(
    "query",
    "total_query",
    "day_query AS kept INDEXED BY days_of_query ON kept.query = known.query",
    _WITH_TEXT.replace("query IN", "known.query IN"),
)
OF_RESULTS = Kept(
    "result",
    "total_result",
    "day_result AS kept INDEXED BY days_of_result ON kept.result = known.result AND kept.clicks > 0",
)


def _by_site(of: Kept, sums: str, which: str, days: str = _DAYS) -> str:
    """Return SQL for *sums* of some days, by site and key, of those that *which* chooses."""
    return f"""
SELECT known.{of.key} AS {of.key}, {sums}
  FROM site CROSS JOIN {of.total} AS known ON known.site = site.id
 CROSS JOIN {of.days} AND kept.site = known.site AND kept.{days}
 WHERE (:site IS NULL OR site.id = :site) AND {which} {of.text}
 GROUP BY site.id, known.{of.key}
"""


def _summed(of: Kept, columns: str, which: str) -> str:
    """Return SQL for the sums of *columns*, by site and key, of those that *which* chooses."""
    sums = ", ".join(f"sum(kept.{name}) AS {name}" for name in columns.split())
    return f" FROM ({_by_site(of, sums, which)}) "


def _enough(of: Kept, count: str, least: str = ":least") -> str:
    """Return SQL for those whose *count* over all days is *least*; of all sites one has its share of it."""
    return f"""
({count} >= {least} OR :site IS NULL AND known.{of.key} IN (
  SELECT {of.key} FROM {of.total} AS known WHERE ({count}) * (SELECT count(*) FROM site) >= {least}))
"""


def _largest(
    of: Kept,
    count: str,
    *,
    columns: str,
    likely: str = "",
    also: str = "",
    second: str = "0",
    having: str = "{first} > 0",
) -> str:
    """Return SQL that ranks by the sum of *count*, largest first.

    Of those with most of it over all days (or of *likely*, where most are not in the list) the last one
    that the list has room for says how much it takes. *also*: what else it takes.
    """

    def ranked(which: str) -> str:
        source = _summed(of, columns, which)
        return ranking(source, f"sum({count})", second, having=having, key=of.key)

    return f"""
WITH likely AS MATERIALIZED (
  SELECT {of.key} FROM {of.total} AS known WHERE site IN {_PLACES} {of.text}
   ORDER BY {likely or count} DESC LIMIT {10 if likely else 2} * :limit
), bar AS MATERIALIZED (
  SELECT coalesce((SELECT first FROM ({ranked(f"known.{of.key} IN (SELECT {of.key} FROM likely)")})
                    LIMIT 1 OFFSET :limit - 1), 0) AS least
) {ranked(_enough(of, f"known.{count}", "(SELECT least FROM bar)") + also)}
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


def _ranked(
    columns: str, which: str, first: str, second: str = "0", having: str = "{first} > 0"
) -> str:
    return ranking(_summed(OF_QUERIES, columns, which), first, second, having=having)


# How many searches with a click are missing: the share of all queries, times a query's own searches
# that found something, less those that were clicked. Ranked by that times all searches that found
# something, which is a whole number. Without a text, all queries are all searches of people.
_FEW = f"""
WITH own AS MATERIALIZED (
  SELECT query, sum(searches) - sum(searches_empty) AS found, sum(searches_clicked) AS clicked
  {_summed(OF_QUERIES, "searches searches_empty searches_clicked", _enough(OF_QUERIES, "known.searches"))}
   GROUP BY query
), every AS MATERIALIZED (
  SELECT sum(searches) - sum(searches_empty) AS found, sum(searches_clicked) AS clicked FROM (
    SELECT searches, searches_empty, searches_clicked FROM cube
     WHERE :text IS NULL AND site IN {_PLACES} AND {_DAYS} AND module = 0 AND robot = 0
    UNION ALL
    SELECT searches, searches_empty, searches_clicked FROM day_query INDEXED BY days_of_query
     WHERE :text IS NOT NULL AND query IN ({MATCHING})
       AND site IN {_PLACES} AND {_DAYS})
)
SELECT query, own.found * every.clicked - own.clicked * every.found AS first, own.found AS second
  FROM own CROSS JOIN every
 WHERE own.found >= :least AND own.found * every.clicked > own.clicked * every.found
 ORDER BY first DESC, second DESC, query LIMIT :limit
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
QUERIES = {
    "top": _queries(
        _TOP,
        _largest(
            OF_QUERIES,
            "searches",
            columns="searches clicks",
            second="sum(clicks)",
            having=_ASKED_FOR,
        ),
    ),
    "unclicked": _queries(
        _UNCLICKED,
        _largest(
            OF_QUERIES,
            "searches",
            columns="searches searches_empty clicks",
            likely="1.0 * (searches - searches_empty) / (1 + clicks * clicks)",
            also=_NOT_CLICKED,
            having=_FOUND_UNCLICKED,
        ),
    ),
    "empty": _queries(
        "that found nothing, most often first.",
        _ranked("searches_empty", "known.searches_empty > 0", "sum(searches_empty)"),
    ),
    "few": _queries("with fewer clicks than others, by how many are missing.", _FEW),
    "low": _queries(
        "with few clicks for 100 searches, fewest first.",
        _ranked(
            "searches clicks",
            _enough(OF_QUERIES, "known.searches + known.clicks"),
            "-1.0 * sum(clicks) / sum(searches)",
            "sum(searches)",
            having="sum(searches) + sum(clicks) >= :least AND 100 * sum(clicks) < :below * sum(searches)",
        ),
    ),
    "deep": _queries(
        "whose clicks have a deep mean position, deepest first.",
        _ranked(
            "clicks_positioned position_sum",
            _enough(OF_QUERIES, "known.clicks"),
            "1.0 * sum(position_sum) / sum(clicks_positioned)",
            "sum(clicks_positioned)",
            having="{second} >= :least AND sum(position_sum) >= :deeper * {second}",
        ),
    ),
}

_IN_DAYS = f"FROM day_query {WHERE_SITE} {_WITH_TEXT}"
#: The same of few days: all that is in them is less than what has enough over all days.
OF_FEW_DAYS = {
    "top": _queries(_TOP, ranking(_IN_DAYS, "sum(searches)", "sum(clicks)", having=_ASKED_FOR)),
    "unclicked": _queries(_UNCLICKED, ranking(_IN_DAYS, "sum(searches)", having=_FOUND_UNCLICKED)),
}


def _shown(chosen: str) -> str:
    """Return SQL for the unclicked ones of the results *chosen*, most shown first, and how often."""
    return f"""
WITH unclicked AS MATERIALIZED (
  SELECT result FROM ({chosen}) AS known
   WHERE NOT EXISTS (SELECT 1 FROM day_result AS said INDEXED BY days_of_result
                      WHERE said.result = known.result AND said.site IN {_PLACES} AND said.{_DAYS}
                        AND said.clicks > 0)
)
SELECT unclicked.result, sum(kept.impressions) AS shown
  FROM unclicked CROSS JOIN days CROSS JOIN place
 CROSS JOIN day_result AS kept
         ON kept.site = place.site AND kept.day = days.day AND kept.result = unclicked.result
 GROUP BY unclicked.result HAVING sum(kept.impressions) >= :least ORDER BY shown DESC, unclicked.result LIMIT :limit
"""


# The totals have no impressions of a site's newest day. What has enough of both has nine tenths of it
# in the totals, or one tenth of it on the newest day.
_SHOWN_ENOUGH = f"""
  SELECT result FROM total_result
   WHERE site IN {_PLACES} AND 10 * impressions * (SELECT count(*) FROM place) >= 9 * (SELECT least FROM bar)
  UNION
  SELECT result FROM shown_through
   CROSS JOIN day_result ON day_result.site = shown_through.site AND day_result.day = shown_through.day + 1
   WHERE shown_through.site IN {_PLACES} AND shown_through.day + 1 BETWEEN :first_day AND :last_day
     AND 10 * impressions * (SELECT count(*) FROM place) >= (SELECT least FROM bar)
"""
UNCLICKED_RESULTS = f"""
-- One row per result that was shown and never clicked, most shown first.
{DAYS_AND_SITES} likely AS MATERIALIZED (
  SELECT DISTINCT result FROM (
    SELECT result FROM total_result WHERE site IN {_PLACES}
     ORDER BY 1.0 * impressions / (1 + clicks * clicks) DESC LIMIT 3 * :limit)
), bar AS MATERIALIZED (
  SELECT max(:least, coalesce(
           (SELECT shown FROM ({_shown("SELECT result FROM likely")}) LIMIT 1 OFFSET :limit - 1), 0)) AS least
), ranked AS MATERIALIZED ({_shown(_SHOWN_ENOUGH)})
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


def _growth(of: Kept, count: str) -> str:
    """Return SQL that ranks by their growth those with enough of *count*."""
    summed = _by_site(
        of, now_and_before(f"sum(kept.{count})"), _enough(of, f"known.{count}"), _BOTH
    )
    grown = (
        f"SELECT {of.key} AS key, sum(now) AS now, sum(before) AS before FROM ({summed}) GROUP BY 1"
    )
    return ranking_of_growth(grown)


TRENDING_QUERIES = trends_of_queries(_growth(OF_QUERIES, "searches"))
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
