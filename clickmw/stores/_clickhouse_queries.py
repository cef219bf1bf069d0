"""The report's questions in ClickHouse's SQL, where those of the SQLite store would not do.

Values are bound by the same names. Lists come with ids; whoever asks looks up the texts.
"""

from __future__ import annotations

from functools import lru_cache

from clickmw.counting import CLICK_HORIZON_MS
from clickmw.stores import _sqlite_drilldown_queries as drill
from clickmw.stores import _sqlite_facts as facts
from clickmw.stores import _sqlite_queries as sqlite
from clickmw.stores._clickhouse_dialect import translate
from clickmw.stores._sqlite_sessions import CONTENT_SCORE

WHERE = "(:site IS NULL OR site = :site) AND day BETWEEN :first_day AND :last_day"
#: The same of sums. Their windows are days of UTC, which a site's calendar shares but for some hours.
KEPT_WHERE = f"PREWHERE window BETWEEN :first_day - 1 AND :last_day + 1 AND {WHERE}"
#: The queries with a text; where only some of them are meant, their ids stand here.
MATCHING = "(SELECT id FROM query WHERE position(text, :text) > 0)"
TEXT = f"(:text IS NULL OR query IN {MATCHING})"
_FACETS = """
   robot = :robots
   AND (:device IS NULL OR device = :device) AND (:language IS NULL OR language = :language)
   AND (:profile IS NULL OR profile = :profile) AND (:source IS NULL OR source = :source)
   AND (:trust IS NULL OR trust = :trust)
"""
COUNTED = f"{_FACETS} AND drop_reason = :counted"
_CLICKS = f"{COUNTED} AND kind IN (:result, :ad) AND (:module IS NULL OR module = :module)"
_ADDED = (
    "sum(searches)", "sum(searches_clicked)", "sum(searches_known)", "sum(searches_empty)", "sum(clicks)",
    "sum(impressions)", "sum(position_sum)", "sum(clicks_positioned)",
)  # fmt: skip
_POSITIONS = "countIf(position > 0), ifNull(sum(position), 0)"


def _list(first: str, second: str = "toInt64(0)", having: str = "first > 0", head: str = "") -> str:
    """Return SQL that ranks the queries of some days, largest first: id and two weights.

    It reads no more columns than that takes; the sums of those that are in the list come after.
    """
    return f"""
{head} SELECT query, {first} AS first, {second} AS second FROM day_query {KEPT_WHERE} WHERE {TEXT}
 GROUP BY query HAVING {having} ORDER BY first DESC, second DESC, query LIMIT :limit
"""


KEPT_SUMS = f"""
SELECT query, {", ".join(_ADDED)} FROM day_query {KEPT_WHERE} AND query IN :ids GROUP BY query
"""
_FOUND = "sum(searches) - sum(searches_empty)"
_EVERY = f"""
WITH (SELECT ifNull({_FOUND}, 0) FROM day_query {KEPT_WHERE} WHERE {TEXT}) AS every_found,
     (SELECT ifNull(sum(searches_clicked), 0) FROM day_query {KEPT_WHERE} WHERE {TEXT}) AS every_clicked
"""
KEPT = {
    "top": _list("sum(searches)", "sum(clicks)", "first > 0 OR second > 0"),
    "unclicked": _list(
        "sum(searches)", having="sum(clicks) = 0 AND sum(searches) > sum(searches_empty)"
    ),
    "empty": _list("sum(searches_empty)"),
    "few": _list(
        f"({_FOUND}) * every_clicked - sum(searches_clicked) * every_found",
        _FOUND,
        "second >= :least AND first > 0",
        _EVERY,
    ),
    "low": _list(
        "-1.0 * sum(clicks) / sum(searches)",
        "sum(searches)",
        "sum(searches) + sum(clicks) >= :least AND 100 * sum(clicks) < :below * sum(searches)",
    ),
    "deep": _list(
        "1.0 * sum(position_sum) / sum(clicks_positioned)",
        "sum(clicks_positioned)",
        "second >= :least AND sum(position_sum) >= :deeper * second",
    ),
}


def _text(is_asked: bool) -> str:
    return f" AND {TEXT}" if is_asked else ""


@lru_cache(maxsize=2)
def tally(has_text: bool) -> str:
    """Return SQL for how often each query was searched, clicked, and searched with no result."""
    return f"""
SELECT query, count(), sum(clicked), countIf(total_hits = 0) FROM search
 WHERE {WHERE} AND {COUNTED}{_text(has_text)} GROUP BY query
"""


@lru_cache(maxsize=2)
def clicked(has_text: bool) -> str:
    """Return SQL for how often the searches of each query led to a click."""
    return f"""
SELECT assumeNotNull(query) AS id, count() FROM click
 WHERE {WHERE} AND {_CLICKS} AND query IS NOT NULL{_text(has_text)} GROUP BY id
"""


OF_IDS_SEARCHED = f"""
SELECT query, count(), sum(clicked), count(total_hits), countIf(total_hits = 0)
  FROM search WHERE {WHERE} AND {COUNTED} AND query IN :ids GROUP BY query
"""
OF_IDS_CLICKED = f"""
SELECT query, count(), {_POSITIONS} FROM click WHERE {WHERE} AND {_CLICKS} AND query IN :ids GROUP BY query
"""

# -- who searched what -----------------------------------------------------------------------------

_SOMEBODY = f"{WHERE} AND robot = 0 AND drop_reason = 0 AND visitor IS NOT NULL"


def _common(which: str) -> str:
    """Return SQL for the texts of queries that so many visitors searched or clicked on."""
    return f"""
SELECT text FROM query WHERE id IN (
  SELECT id FROM (
    SELECT query AS id, visitor FROM search WHERE {_SOMEBODY} AND {which}
    UNION ALL
    SELECT assumeNotNull(query) AS id, visitor FROM click WHERE {_SOMEBODY} AND query IS NOT NULL AND {which}
  ) GROUP BY id HAVING uniqExact(visitor) >= :least)
"""


COMMON = _common(TEXT)
COMMON_AMONG = _common("query IN :among")
_UNNAMED_SEARCHES = f"FROM search WHERE {WHERE} AND {COUNTED} AND query NOT IN :named"
_UNNAMED_CLICKS = (
    f"FROM click WHERE {WHERE} AND {_CLICKS} AND query IS NOT NULL AND query NOT IN :named"
)
UNNAMED = f"""
SELECT (SELECT count() FROM (SELECT query AS id {_UNNAMED_SEARCHES}
         UNION DISTINCT SELECT assumeNotNull(query) AS id {_UNNAMED_CLICKS})),
       searched.*, clicked.clicks, NULL, clicked.positions, clicked.placed
  FROM (SELECT count() AS searches, ifNull(sum(clicked), 0), count(total_hits), countIf(total_hits = 0)
        {_UNNAMED_SEARCHES}) AS searched
 CROSS JOIN (SELECT count() AS clicks, countIf(position > 0) AS placed, ifNull(sum(position), 0) AS positions
             {_UNNAMED_CLICKS}) AS clicked
"""
#: The sums of a day of a site may be those of two windows.
UNNAMED_KEPT = f"""
SELECT uniqExact(query), {", ".join(f"ifNull(sum(s{n}), 0)" for n in range(len(_ADDED)))} FROM (
  SELECT query, {", ".join(f"{each} AS s{n}" for n, each in enumerate(_ADDED))}
    FROM day_query {KEPT_WHERE} WHERE query NOT IN :named
   GROUP BY site, day, query HAVING s0 > 0 OR s4 > 0)
"""

# -- trends and results ----------------------------------------------------------------------------

_BOTH = """
 (:site IS NULL OR site = :site)
 AND day BETWEEN least(:first_day, :before_first) AND greatest(:last_day, :before_last)
"""


def _growth(key: str, count: str, source: str) -> str:
    return f"""
SELECT key, now, before FROM (
  SELECT {key} AS key, {count.format("day BETWEEN :first_day AND :last_day")} AS now,
         {count.format("day BETWEEN :before_first AND :before_last")} AS before
    FROM {source} GROUP BY key)
 WHERE now >= :least AND now > before
 ORDER BY 1.0 * (now - before) * (now - before) / (now + before) DESC, now DESC, key LIMIT :limit
"""


TRENDING_QUERIES = _growth(
    "query", "ifNull(sumIf(searches, {}), 0)", f"day_query WHERE {_BOTH} AND {TEXT}"
)
TRENDING_RESULTS = _growth(
    "result", "ifNull(sumIf(clicks, {}), 0)", f"day_result WHERE {_BOTH} AND clicks > 0"
)


@lru_cache(maxsize=2)
def trending_clicked(has_text: bool) -> str:
    """Return SQL for the results whose clicks have grown, under a filter that sums do not know."""
    source = f"click WHERE {_BOTH} AND {_CLICKS}{_text(has_text)}"
    return _growth("result", "toInt64(ifNull(countIf({}), 0))", source)


TOP_RESULTS = f"""
SELECT result, sum(clicks) AS first, sum(impressions), sum(position_sum), sum(clicks_positioned)
  FROM day_result {KEPT_WHERE} GROUP BY result HAVING first > 0 ORDER BY first DESC, result LIMIT :limit
"""


@lru_cache(maxsize=2)
def top_clicked(has_text: bool) -> str:
    """Return SQL for the most clicked results under a filter that sums do not know."""
    return f"""
SELECT result, count() AS first, NULL, ifNull(sum(position), 0), countIf(position > 0)
  FROM click WHERE {WHERE} AND {_CLICKS}{_text(has_text)}
 GROUP BY result ORDER BY first DESC, result LIMIT :limit
"""


UNCLICKED_RESULTS = f"""
SELECT result, toInt64(0), sum(impressions) AS shown, toInt64(0), toInt64(0)
  FROM day_result {KEPT_WHERE} GROUP BY result HAVING shown >= :least AND sum(clicks) = 0
 ORDER BY shown DESC, result LIMIT :limit
"""
LEDGER = """
SELECT (SELECT ifNull(sum(events), 0) FROM uncounted WHERE reason IN (:duplicate, :repeated)),
       (SELECT count() FROM same),
       (SELECT count() FROM late),
       (SELECT count() FROM aside),
       (SELECT count() FROM click WHERE query IS NULL AND query_id IS NOT NULL)
"""

# -- whose clicks are whose ------------------------------------------------------------------------

OWNED = """
SELECT day_host.day AS day, site.handle AS handle,
       coalesce(advertiser.id, own_advertiser.number) AS advertiser_id,
       any(coalesce(advertiser.name, host.text)) AS advertiser_name,
       any(coalesce(advertiser.slug, host.text)) AS advertiser_slug,
       any(advertiser.network_id) AS network_id, any(advertiser.network_name) AS network_name,
       sum(day_host.clicks) AS clicks
  FROM (SELECT site, day, host, ad, sum(clicks) AS clicks FROM day_host
         WHERE day BETWEEN :first_day AND :last_day AND (:all_sites = 1 OR site IN :sites)
         GROUP BY site, day, host, ad HAVING sum(clicks) > 0) AS day_host
  JOIN site ON site.id = day_host.site
  JOIN term AS host ON host.id = day_host.host
  JOIN term AS ad ON ad.id = day_host.ad
  JOIN own_advertiser ON own_advertiser.host = day_host.host
  LEFT JOIN (SELECT site, target, advertiser FROM advertiser_target WHERE kind = 'ad') AS by_ad
    ON by_ad.site = site.handle AND by_ad.target = ad.text
  LEFT JOIN (SELECT site, target, advertiser FROM advertiser_target WHERE kind = 'host') AS by_host
    ON by_host.site = site.handle AND by_host.target = host.text
  LEFT JOIN advertiser
    ON advertiser.site = site.handle AND advertiser.id = coalesce(by_ad.advertiser, by_host.advertiser)
 GROUP BY day, handle, advertiser_id
"""
DAILY_CLICKS = f"""
SELECT day, handle, advertiser_id, advertiser_name, advertiser_slug, network_id, network_name, clicks
  FROM ({OWNED})
 ORDER BY day DESC, clicks DESC, advertiser_name, advertiser_id, handle LIMIT :limit OFFSET :offset
"""

# -- the live tail: time, kind, site, query, result, what else it is called, position, module, reason ---


def _live_said(kind: str, table: str, query: str, url: str) -> str:
    return f"""
SELECT said.received_ms, '{kind}' AS kind, said.site, {query}, NULL, {url}, NULL, NULL, said.drop_reason
  FROM (SELECT * FROM {table} ORDER BY event_id DESC LIMIT :limit) AS said
  LEFT JOIN (SELECT query_id, query FROM search WHERE query_id IN (
    SELECT assumeNotNull(query_id) FROM {table} WHERE query_id IS NOT NULL)) AS search
    ON search.query_id = said.query_id
"""


LIVE = (
    """
SELECT received_ms, if(term.text = 'result', 'click', concat(term.text, '_click')) AS kind, click.site,
       click.query, click.result, click.ad_id, click.position, click.module, click.drop_reason
  FROM (SELECT * FROM click ORDER BY event_id DESC LIMIT :limit) AS click
  JOIN term ON term.id = click.kind
""",
    """
SELECT received_ms, 'search' AS kind, site, query, NULL, NULL, NULL, NULL, drop_reason
  FROM search ORDER BY query_id DESC LIMIT :limit
""",
    """
SELECT received_ms, if(term.text = 'related', 'related_impression', term.text) AS kind, shown.site,
       shown.query, shown.result, shown.ad_id, nullIf(shown.position, 0), shown.module, shown.drop_reason
  FROM (SELECT * FROM impression WHERE place = 0 ORDER BY event_id DESC LIMIT :limit) AS shown
  JOIN term ON term.id = shown.kind
""",
    _live_said("feedback", "rating", "coalesce(search.query, said.query)", "NULL"),
    _live_said("answer", "answer", "search.query", "NULL"),
    _live_said("conversion", "conversion", "search.query", "said.url"),
)

# -- drill-downs -----------------------------------------------------------------------------------

_OF_QUERY = f"{WHERE} AND query = :query"
QUERY_SUMS = f"""
SELECT {", ".join(_ADDED)} FROM day_query {KEPT_WHERE} AND query = :query HAVING count() > 0
"""
OWN_SEARCHES = f"""
SELECT site, day, visitor, received_ms, query_id FROM search
 WHERE {_OF_QUERY} AND {COUNTED} AND visitor IS NOT NULL
 ORDER BY day DESC, received_ms DESC, query_id DESC LIMIT :searches
"""
WALKS = """
SELECT site, visitor, received_ms, query_id, query, clicked FROM search
 WHERE visitor IN :visitors AND day BETWEEN :first AND :last AND robot = :robots AND drop_reason = :counted
 ORDER BY site, visitor, received_ms, query_id
"""
PAGES = f"""
SELECT query_id, viewed, drop_reason, toJSONString(shown) AS shown_json, seen FROM search
 WHERE {_OF_QUERY} AND (drop_reason = :robot) = :robots AND drop_reason <> :prefetch AND {_FACETS}
 ORDER BY day DESC, query_id DESC LIMIT :searches
"""
PAGE_CLICKS = """
SELECT result, module, position, query_id, view_id FROM click
 WHERE query_id IN :pages AND kind IN (:result, :ad) AND drop_reason = :counted
"""
CLICKS_ALONE = f"""
SELECT result, module, position FROM click
 WHERE {_OF_QUERY} AND query_id IS NULL AND kind IN (:result, :ad) AND drop_reason = :counted AND {_FACETS}
 ORDER BY day DESC LIMIT :searches
"""
_FOUND_IDS = """
(SELECT id FROM result WHERE (url = :url AND url <> '') OR (url = '' AND doc_id = :url))
"""
_CLICKED_RESULT = f"""
 FROM click WHERE {WHERE} AND {_CLICKS} AND result IN {_FOUND_IDS}
  AND {TEXT}
"""
_SESSION_OWN = f"""
SELECT query_id, viewed, visitor, received_ms FROM search WHERE {WHERE} AND {COUNTED} AND visitor IS NOT NULL
"""
_SESSION_PAGES = f"""
(SELECT query_id AS owner, ifNull(viewed, query_id) AS page_id, if(viewed IS NULL, '', query_id) AS view,
        visitor, received_ms FROM ({_SESSION_OWN})
 UNION ALL
 SELECT member.first_query_id AS owner, ifNull(member.viewed, member.query_id) AS page_id,
        if(member.viewed IS NULL, '', member.query_id) AS view, member.visitor AS visitor,
        member.received_ms AS received_ms
   FROM search AS member WHERE member.first_query_id IN (SELECT query_id FROM ({_SESSION_OWN}))) AS page
"""


def _followed(table: str, values: str, columns: str, which: str) -> str:
    return f"""
SELECT page.owner AS owner, {values} FROM {_SESSION_PAGES}
  JOIN (SELECT assumeNotNull(query_id) AS of_page, received_ms AS said_ms, {columns} FROM {table}
         WHERE query_id IS NOT NULL AND drop_reason = :counted) AS said
    ON said.of_page = page.page_id
 WHERE said.said_ms < page.received_ms + {CLICK_HORIZON_MS} AND {which}
"""


_VISITORS_OWN = "(page.view = '' OR said.of_visitor = page.visitor)"
SESSION_FOLLOWED = f"""
SELECT owner, min(click_ms), max(clicked), max(answered) FROM (
  {
    _followed(
        "click",
        "if(said.of_kind IN (:result, :ad), said.said_ms, NULL) AS click_ms, 1 AS clicked, 0 AS answered",
        "kind AS of_kind, ifNull(view_id, '') AS of_view",
        "said.of_view = page.view",
    )
} UNION ALL {_followed("answer", "NULL, 0, 1", "visitor AS of_visitor", _VISITORS_OWN)} UNION ALL {
    _followed(
        "rating",
        "NULL, 0, 1",
        "visitor AS of_visitor, score",
        f"{_VISITORS_OWN} AND said.score >= {CONTENT_SCORE}",
    )
}
) GROUP BY owner
"""


def _by_word(question: str) -> str:
    """Return *question* grouped by the word of a column, too, its sums not called like what they sum."""
    question = translate(question).replace("GROUP BY ", "GROUP BY term.text, ")
    return (
        question.replace(" AS searches", " AS of_searches")
        .replace(" AS clicks", " AS of_clicks")
        .replace("ORDER BY searches DESC, clicks DESC", "ORDER BY of_searches DESC, of_clicks DESC")
    )


_RATED = f"""
SELECT count(), ifNull(sum(said.score), 0), ifNull(sum(said.score * said.score), 0) FROM (
  SELECT score, query_id, query AS own_query FROM rating WHERE {WHERE} AND {COUNTED} AND score IS NOT NULL
) AS said LEFT JOIN (
  SELECT query_id AS of_page, query AS page_query FROM search WHERE query_id IN (
    SELECT assumeNotNull(query_id) FROM rating WHERE {WHERE} AND query_id IS NOT NULL)
) AS page ON page.of_page = said.query_id
 WHERE coalesce(page.page_query, said.own_query) IN {MATCHING}
"""
#: Statement of the SQLite store → ours.
OWN: dict[str, str] = {
    **{question: _by_word(question) for question in sqlite.FACET.values()},
    sqlite.POSITIONS: _by_word(sqlite.POSITIONS),
    sqlite.MODULES: _by_word(sqlite.MODULES),
    facts.RATED: _RATED,
    facts.UNNAMED: UNNAMED,
    facts.UNNAMED_KEPT: UNNAMED_KEPT,
    drill.QUERY_DAYS: f"""
SELECT day, {", ".join(_ADDED)} FROM day_query {KEPT_WHERE} AND query = :query GROUP BY day
""",
    drill.RESULT_DAYS: f"""
SELECT day, sum(clicks), sum(impressions), sum(position_sum), sum(clicks_positioned)
  FROM day_result {KEPT_WHERE} AND result IN {_FOUND_IDS} GROUP BY day
""",
    drill.RESULT_DAYS_CLICKED: f"""
SELECT day, count(), NULL, ifNull(sum(position), 0), countIf(position > 0) {_CLICKED_RESULT} GROUP BY day
""",
    drill.RESULT_QUERIES: f"""
SELECT query.text, found.clicks, found.positions, found.placed FROM (
  SELECT query AS of_query, count() AS clicks, ifNull(sum(position), 0) AS positions,
         countIf(position > 0) AS placed {_CLICKED_RESULT} GROUP BY query) AS found
  LEFT JOIN (SELECT id, text FROM query WHERE id IN (
    SELECT assumeNotNull(query) {_CLICKED_RESULT} AND query IS NOT NULL)) AS query ON query.id = found.of_query
 ORDER BY found.clicks DESC, query.text IS NULL, query.text LIMIT :limit
""",
    drill.RESULT_POSITIONS: f"""
SELECT found.title, term.text, found.place, found.clicks FROM (
  SELECT module AS of_module, ifNull(position, 0) AS place, count() AS clicks,
         (SELECT max(title) FROM result WHERE id IN {_FOUND_IDS}) AS title {_CLICKED_RESULT}
   GROUP BY of_module, place) AS found
  JOIN term ON term.id = found.of_module
 ORDER BY found.clicks DESC, term.text, found.place
""",
    drill.SESSION_SEARCHES: f"""
SELECT site, visitor, received_ms, query_id, query, total_hits, clicked, {TEXT} AS fits FROM search
 WHERE {WHERE} AND {COUNTED}
 ORDER BY site, visitor NULLS FIRST, received_ms, query_id
""",
    drill.SESSION_FOLLOWED: SESSION_FOLLOWED,
    drill.QUERY_TEXTS: """
SELECT id, text FROM query WHERE has(JSONExtract(?, 'Array(Int64)'), id)
""",
    drill.QUERY_DAYS_CLICKED: f"""
SELECT day, count(), NULL, ifNull(sum(position), 0), countIf(position > 0) FROM click
 WHERE {_OF_QUERY} AND {_CLICKS} GROUP BY day
""",
    drill.QUERY_DWELL: f"""
SELECT dwell_s FROM click WHERE {_OF_QUERY} AND {_CLICKS}
 ORDER BY day DESC, received_ms DESC, event_id DESC LIMIT :clicks
""",
    sqlite.UNJOINED: "SELECT count() FROM click WHERE query IS NULL AND query_id IS NOT NULL",
}
