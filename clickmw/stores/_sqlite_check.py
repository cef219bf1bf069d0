"""Whether the numbers are true: the rollups against raw rows, and raw rows against the rules.

The rollups are summed again by SQL, independently of the code that keeps them; who counts is
decided again by the rules themselves. A line is returned for everything that differs.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from hashlib import md5
from itertools import groupby
from typing import Any, NamedTuple

from clickmw.counting import (
    CLICK_HORIZON_MS,
    EARLY_CLICK_MS,
    IMPRESSION_WINDOW_MS,
    ORDER_WINDOW_MS,
    SEARCH_WINDOW_MS,
    Decision,
    Walked,
    decide_clicks,
    decide_searches,
)
from clickmw.rollups import BILLION, TABLES
from clickmw.stores import _sqlite_totals as totals
from clickmw.stores._sqlite_dictionaries import advertiser_number, each_row
from clickmw.stores._sqlite_returns import DWELT_PAGES, wrong_dwells
from clickmw.stores.base import POSITION_BUCKETS, QUARTER_MS, StoreOptions, Tell, silent

DAY_MS = 86_400_000
_DIMENSIONS = "site, day, {module}, device, language, profile, source, trust, robot"

#: Searches whose shown results count, and the robots' own.
_SHOWN = """
  FROM search CROSS JOIN json_each(search.impressions) AS shown
  JOIN term AS reason ON reason.id = search.drop_reason
 WHERE reason.text IN ('', 'page', 'repeat', 'typing', 'robot')
"""
_SEARCHED = """
  FROM search JOIN term AS reason ON reason.id = search.drop_reason WHERE reason.text IN ('', 'robot')
"""
_CLICKED = """
  FROM click JOIN term AS reason ON reason.id = click.drop_reason JOIN term AS kind ON kind.id = click.kind
 WHERE reason.text IN ('', 'robot') AND kind.text IN ('result', 'ad')
"""
#: Ads that were served, which are no search's results.
_SERVED = """
  FROM impression JOIN term AS reason ON reason.id = impression.drop_reason
  JOIN term AS kind ON kind.id = impression.kind
 WHERE reason.text IN ('', 'robot') AND kind.text = 'ad_impression'
"""
_RATED = """
  FROM rating JOIN term AS reason ON reason.id = rating.drop_reason
 WHERE reason.text IN ('', 'robot') AND score IS NOT NULL
"""
#: The host of a clicked result; one without a host of its own is its site's.
_HOST = """
 coalesce((SELECT nullif(host, 0) FROM result WHERE result.id = click.result),
          (SELECT term.id FROM term JOIN site ON site.handle = term.text WHERE site.id = click.site))
"""
_POSITION = "json_extract(shown.value, '$[1]')"
_MODULE = "json_extract(shown.value, '$[2]')"
_BUCKET = (
    "CASE "
    + " ".join(
        f"WHEN {{position}} <= {last} THEN {index}"
        for index, (_first, last) in enumerate(POSITION_BUCKETS)
        if last is not None
    )
    + f" ELSE {len(POSITION_BUCKETS) - 1} END"
)
_SHOWN_ONCE = "0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0"
_RECIPROCAL = f"coalesce({BILLION} / nullif({{position}}, 0), 0)"
_PEOPLE = " AND {table}.robot = 0"


def raw_sums(table: str) -> str:
    """Return SQL that sums *table* from raw rows: one row per key, measures in their order."""
    shown = _PEOPLE.format(table="search")
    clicked = _PEOPLE.format(table="click")
    served = _PEOPLE.format(table="impression")
    parts = {
        "cube": [
            f"SELECT {_DIMENSIONS.format(module='0')}, 1, clicked, iif(total_hits IS NOT NULL, 1, 0),"
            " iif(total_hits = 0, 1, 0), iif(total_hits > 0 AND clicked = 0, 1, 0),"
            f" {_RECIPROCAL.format(position='CASE WHEN clicked = 1 THEN best_position END')}, 0, 0, 0, 0, 0"
            f", 0, 0, 0 {_SEARCHED}",
            f"SELECT {_DIMENSIONS.format(module=_MODULE)}, {_SHOWN_ONCE} {_SHOWN}",
            f"SELECT {_DIMENSIONS.format(module='module')}, {_SHOWN_ONCE} {_SERVED}",
            f"SELECT {_DIMENSIONS.format(module='module')}, 0, 0, 0, 0, 0, 0, 1,"
            f" iif(position > 0, 1, 0), coalesce(position, 0), {_RECIPROCAL.format(position='position')}, 0"
            f", 0, 0, 0 {_CLICKED}",
            f"SELECT {_DIMENSIONS.format(module='0')}, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, score, score * score"
            f" {_RATED}",
        ],
        "cube_position": [
            f"SELECT {_DIMENSIONS.format(module=_MODULE)}, {_BUCKET.format(position=_POSITION)}, 1, 0 {_SHOWN}"
            f" AND {_POSITION} > 0",
            f"SELECT {_DIMENSIONS.format(module='module')}, {_BUCKET.format(position='position')}, 1, 0"
            f" {_SERVED} AND position > 0",
            f"SELECT {_DIMENSIONS.format(module='module')}, {_BUCKET.format(position='position')}, 0, 1"
            f" {_CLICKED} AND position > 0",
        ],
        "quarter": [
            f"SELECT site, received_ms / {QUARTER_MS}, 1, clicked, iif(total_hits = 0, 1, 0), 0, 0 {_SEARCHED}"
            + shown,
            f"SELECT site, received_ms / {QUARTER_MS}, 0, 0, 0, 0, 1 {_SHOWN}" + shown,
            f"SELECT site, received_ms / {QUARTER_MS}, 0, 0, 0, 0, 1 {_SERVED}" + served,
            f"SELECT site, received_ms / {QUARTER_MS}, 0, 0, 0, 1, 0 {_CLICKED}" + clicked,
        ],
        "day_query": [
            "SELECT site, day, query, 1, clicked, iif(total_hits IS NOT NULL, 1, 0), iif(total_hits = 0, 1, 0), 0, 0, 0, 0"
            f" {_SEARCHED}" + shown,
            f"SELECT site, day, query, 0, 0, 0, 0, 0, 0, 0, 1 {_SHOWN}" + shown,
            f"SELECT site, day, query, 0, 0, 0, 0, 0, 0, 0, 1 {_SERVED} AND query IS NOT NULL"
            + served,
            "SELECT site, day, query, 0, 0, 0, 0, 1, iif(position > 0, 1, 0), coalesce(position, 0), 0"
            f" {_CLICKED} AND query IS NOT NULL" + clicked,
        ],
        "day_result": [
            f"SELECT site, day, json_extract(shown.value, '$[0]'), 0, 0, 0, 1 {_SHOWN}" + shown,
            f"SELECT site, day, result, 0, 0, 0, 1 {_SERVED}" + served,
            "SELECT site, day, result, 1, iif(position > 0, 1, 0), coalesce(position, 0), 0"
            f" {_CLICKED}" + clicked,
        ],
        "day_host": [
            f"SELECT site, day, {_HOST}, (SELECT id FROM term WHERE text = coalesce(ad_id, '')), 1"
            f" {_CLICKED}" + clicked,
        ],
        "uncounted": [
            "SELECT site, day, (SELECT id FROM term WHERE text = 'search'), drop_reason, 1"
            "  FROM search WHERE drop_reason <> 0",
            "SELECT site, day, (SELECT id FROM term WHERE text = 'click'), drop_reason, 1"
            "  FROM click WHERE drop_reason <> 0",
            *(
                f"SELECT site, day, (SELECT id FROM term WHERE text = '{table}'), drop_reason, 1"
                f"  FROM {table} WHERE drop_reason <> 0"
                for table in ("rating", "answer", "conversion")
            ),
            # One event may have shown many things.
            "SELECT site, day, (SELECT id FROM term WHERE text = 'impression'), drop_reason, 1"
            "  FROM impression WHERE drop_reason <> 0 GROUP BY event_id, site, day, drop_reason",
        ],
    }
    key, measures = TABLES[table]
    keys = ", ".join(f'"{n + 1}"' for n in range(len(key)))
    columns = [f'"{n + 1}"' for n in range(len(key) + len(measures))]
    named = f"WITH part({', '.join(columns)}) AS ({' UNION ALL '.join(parts[table])})"
    sums = ", ".join(f"sum({column})" for column in columns[len(key) :])
    return f"{named} SELECT {keys}, {sums} FROM part GROUP BY {keys}"


def _kept(table: str) -> str:
    key, measures = TABLES[table]
    return (
        f"SELECT {', '.join((*key, *measures))} FROM {table}"
        f" WHERE {' OR '.join(f'{name} <> 0' for name in measures)}"
    )


#: The clicks that count for a search: on its own page and on those that belong to it. Apart from each
#: other, for the clicks of a view are found by the view and never among all that its page has.
_OWN_CLICKS = f"""
  FROM search AS own
  JOIN click ON {{by}}
  JOIN term AS kind ON kind.id = click.kind
 WHERE own.query_id IN (SELECT search.query_id UNION ALL
                        SELECT query_id FROM search AS belonging WHERE belonging.first_query_id = search.query_id)
   AND click.drop_reason = 0 AND kind.text IN ('result', 'ad')
   AND click.received_ms < own.received_ms + {CLICK_HORIZON_MS}
"""
_ON_PAGE = _OWN_CLICKS.format(
    by="click.query_id = own.query_id AND click.view_id IS NULL AND own.viewed IS NULL"
)
_ON_VIEW = _OWN_CLICKS.format(by="click.view_id = own.query_id AND click.query_id = own.viewed")
_NOWHERE = 1 << 40
_BEST = f"coalesce((SELECT min(nullif(click.position, 0)) {{clicks}}), {_NOWHERE})"
WRONGLY_CLICKED = f"""
-- One row: how many counted searches are wrong about having been clicked, or where.
SELECT count(*) FROM search WHERE drop_reason = 0 AND received_ms >= :settled_ms
   AND (clicked <> iif(EXISTS (SELECT 1 {_ON_PAGE}) OR EXISTS (SELECT 1 {_ON_VIEW}), 1, 0)
        OR coalesce(best_position, {_NOWHERE})
        <> min({_BEST.format(clicks=_ON_PAGE)}, {_BEST.format(clicks=_ON_VIEW)}))
"""
HORIZON = """
-- One row: raw rows received before this have been pruned; 0 when none ever was.
SELECT coalesce(max(CAST(value AS INTEGER)), 0) FROM meta WHERE key = 'pruned_before_ms'
"""
ALL_WALKS = """
-- One row per search that the search rule decides, visitor by visitor, in the rule's order.
SELECT site, visitor, received_ms, event_id, query_id, query.text, offset, reason.text, first_query_id
  FROM search JOIN query ON query.id = search.query JOIN term AS reason ON reason.id = search.drop_reason
 WHERE visitor IS NOT NULL AND NOT shared AND (activated = 1 OR NOT prefetched)
   AND reason.text IN ('', 'page', 'repeat', 'typing')
 ORDER BY site, visitor, received_ms, event_id
"""
ALL_PAGES = """
-- One row per click that the duplicate rule decides by its page, in the rule's order.
SELECT click.query_id, click.visitor, result, view_id, kind.text, click.received_ms, reason.text,
       coalesce(search.shared, 0), click.event_id
  FROM click JOIN term AS reason ON reason.id = click.drop_reason
  JOIN term AS kind ON kind.id = click.kind
  LEFT JOIN search ON search.query_id = click.query_id
 WHERE click.query_id IS NOT NULL AND NOT click.told AND dedupe_key IS NULL
   AND reason.text IN ('', 'duplicate')
 ORDER BY 1, 2, 3, 4, 5, click.received_ms, click.event_id
"""
ALL_KEYS = """
-- One row per event that the duplicate rule decides by its sender's key, in the rule's order.
SELECT table_name, said.dedupe_key, kind, received_ms, reason.text, event_id FROM (
  SELECT 'click' AS table_name, dedupe_key, term.text AS kind, received_ms, event_id, drop_reason
    FROM click JOIN term ON term.id = click.kind
  UNION ALL
  SELECT DISTINCT 'impression', dedupe_key, term.text, received_ms, event_id, drop_reason
    FROM impression JOIN term ON term.id = impression.kind WHERE term.text = 'ad_impression'
  UNION ALL
  SELECT 'conversion', dedupe_key, '', received_ms, event_id, drop_reason FROM conversion
) AS said JOIN term AS reason ON reason.id = said.drop_reason
 WHERE dedupe_key IS NOT NULL AND reason.text IN ('', 'duplicate')
 ORDER BY 1, 2, 3, received_ms, event_id
"""
WRONGLY_KEYLESS = """
-- One row: how many events are duplicates of nothing, having neither a key nor a page of their own.
SELECT (SELECT count(*) FROM click JOIN term ON term.id = click.drop_reason
         WHERE term.text = 'duplicate' AND dedupe_key IS NULL AND (query_id IS NULL OR told))
     + (SELECT count(*) FROM impression JOIN term AS reason ON reason.id = impression.drop_reason
          JOIN term AS kind ON kind.id = impression.kind WHERE reason.text = 'duplicate'
           AND (dedupe_key IS NULL OR kind.text <> 'ad_impression'))
     + (SELECT count(*) FROM conversion JOIN term ON term.id = conversion.drop_reason
         WHERE term.text = 'duplicate' AND dedupe_key IS NULL)
"""
WRONGLY_NAMED = """
-- One row: how many clicks that a sender reports on a page of ours are not its visitor's.
SELECT count(*) FROM click JOIN search ON search.query_id = click.query_id
  JOIN term AS source ON source.id = click.source
 WHERE NOT click.told AND NOT search.shared AND click.visitor IS NOT search.visitor
   AND source.text NOT IN ('page', 'template', 'redirect', 'beacon')
"""
_TOLD = """
  SELECT query_id FROM search
   WHERE told AND visitor = click.visitor AND query = click.query AND source = click.source
     AND site = click.site AND received_ms
"""
WRONGLY_TOLD = f"""
-- One row: how many clicks that name no search belong to another one than the rule says.
SELECT count(*) FROM click WHERE told AND received_ms >= :settled_ms AND query_id IS NOT coalesce(
  ({_TOLD} BETWEEN click.received_ms - {CLICK_HORIZON_MS} AND click.received_ms
    ORDER BY received_ms DESC, query_id DESC LIMIT 1),
  ({_TOLD} BETWEEN click.received_ms AND click.received_ms + {EARLY_CLICK_MS}
    ORDER BY received_ms, query_id LIMIT 1))
"""
UNMARKED = """
-- One row: how many of the searches and clicks that belong together by their words are not marked so.
SELECT (SELECT count(*) FROM search JOIN term AS source ON source.id = search.source
          JOIN query ON query.id = search.query
         WHERE told <> iif(visitor IS NOT NULL AND query.text <> '' AND NOT shared AND viewed IS NULL
                        AND source.text NOT IN ('page', 'template', 'redirect', 'beacon'), 1, 0))
     + (SELECT count(*) FROM click JOIN term AS source ON source.id = click.source
         WHERE told <> iif(visitor IS NOT NULL AND query IS NOT NULL AND (query_id IS NULL OR told)
                        AND source.text NOT IN ('page', 'template', 'redirect', 'beacon'), 1, 0))
"""
WRONGLY_REPEATED = f"""
-- One row: how many events are left out as repeats although they were the first with their id.
SELECT {
    " + ".join(
        "(SELECT count(*) FROM sent_id WHERE event_id IN (SELECT said.event_id"
        f"   FROM {table} AS said JOIN term ON term.id = said.drop_reason"
        f"  WHERE term.text = 'repeated') AND kind = '{table}')"
        for table in ("click", "search", "impression", "rating", "answer", "conversion")
    )
}
"""
#: A search that we gave the visitor of an event which a browser says by itself.
_SESSION = """
  FROM {table} AS said JOIN search ON search.query_id = said.query_id
  JOIN term AS trust ON trust.id = said.trust
 WHERE said.source = (SELECT id FROM term WHERE text = 'beacon')
   AND (trust.text = 'session') <> (search.visitor IS NOT NULL AND said.visitor IS search.visitor
     AND said.site = search.site
     AND search.source IN (SELECT id FROM term WHERE text IN ('page', 'template')))
   AND trust.text IN ('session', 'anonymous')
"""
WRONGLY_TRUSTED = f"""
-- One row: how many events of browsers are trusted more or less than their page allows.
SELECT {
    " + ".join(
        f"(SELECT count(*) {_SESSION.format(table=table)})"
        for table in ("click", "rating", "answer", "conversion")
    )
}
"""
WRONGLY_TAGGED = """
-- One row: how many clicks have another tag than their page.
SELECT count(*) FROM click JOIN search ON search.query_id = click.query_id
 WHERE NOT click.told AND click.tag <> search.tag
"""
WRONGLY_NUMBERED = """
-- One row per clicked host with its number as an advertiser, null where it has none.
SELECT DISTINCT term.text, number FROM day_host JOIN term ON term.id = day_host.host
  LEFT JOIN own_advertiser ON own_advertiser.host = day_host.host
"""
BY_DIGEST = """
-- One row per click that names its result by the MD5 of the URL: that, and what it stands with.
SELECT click.doc_id, result.url, result.doc_id FROM click JOIN result ON result.id = click.result
 WHERE by_digest
"""


def check(
    connection: sqlite3.Connection, options: StoreOptions, tell: Tell = silent
) -> Iterator[str]:
    """Yield a sentence for every invariant that does not hold; nothing when all is well.

    Raw rows are there from the horizon on: what was pruned before it stands in the rollups only.
    """
    steps = len(TABLES) + len(totals.SUMS) + 3
    horizon_ms = connection.execute(HORIZON).fetchone()[0]
    for done, table in enumerate(TABLES, 1):
        tell(done, steps)
        yield from _differences(connection, table, horizon_ms)
    for done, (table, sums) in enumerate(totals.SUMS.items(), len(TABLES) + 1):
        tell(done, steps)
        yield from _compare(connection, table, sums, totals.KEPT[table])
    tell(steps - 2, steps)
    yield from _against_the_rules(connection, options, horizon_ms)
    tell(steps - 1, steps)
    yield from _wrong_numbers(connection)
    yield from _wrong_results(connection)
    tell(steps, steps)


def _against_the_rules(
    connection: sqlite3.Connection, options: StoreOptions, horizon_ms: int
) -> Iterator[str]:
    yield from _count(connection, totals.LEFT_OUT, 0, "sites have days that their totals leave out")
    settled_ms = settled(horizon_ms, SEARCH_WINDOW_MS)
    yield from _count(connection, WRONGLY_CLICKED, settled_ms, "searches are wrong about clicks")
    for search, reason, decision in wrong_searches(connection, settled_ms):
        yield f"search {search.hex()} stands as {reason or 'counted'}, the rule says {decision}"
    for wrong in wrong_events(connection, options, horizon_ms):
        yield f"{wrong.what} at {wrong.received_ms} stands as {wrong.reason or 'counted'}"
    yield from _count(connection, WRONGLY_KEYLESS, 0, "events are duplicates of nothing")
    yield from _count(connection, WRONGLY_NAMED, 0, "clicks are not their page's visitor's")
    settled_ms = settled(horizon_ms, CLICK_HORIZON_MS)
    yield from _count(connection, WRONGLY_TOLD, settled_ms, "clicks belong to the wrong search")
    yield from _count(connection, UNMARKED, 0, "rows are not marked as told by a sender")
    yield from _count(connection, WRONGLY_REPEATED, 0, "events repeat nothing")
    yield from _count(connection, WRONGLY_TRUSTED, 0, "events are trusted as they should not be")
    yield from _count(connection, WRONGLY_TAGGED, 0, "clicks have not the tag of their page")
    pages = [page for (page,) in connection.execute(DWELT_PAGES)]
    # A page that its visitor was served again may be pruned with what it showed.
    settled_ms = settled(horizon_ms, SEARCH_WINDOW_MS)
    dwells = list(wrong_dwells(connection, pages, settled_ms))
    if dwells:
        yield f"{len(dwells)} clicks are wrong about the return of their visitor"


def settled(horizon_ms: int, window_ms: int) -> int:
    """Return from when on all is there that decides; 0 when nothing was ever pruned."""
    return horizon_ms + window_ms if horizon_ms else 0


def first_whole(table: str, horizon_ms: int) -> int:
    """Return the first day (or quarter hour) of a rollup all of whose raw rows are there."""
    unit_ms = QUARTER_MS if TABLES[table][0][1] == "quarter" else DAY_MS
    # The horizon's own day is cut, and so may be the next: calendars differ.
    return horizon_ms // unit_ms + 2 if horizon_ms else 0


def _count(connection: sqlite3.Connection, sql: str, settled_ms: int, what: str) -> Iterator[str]:
    wrong = connection.execute(sql, {"settled_ms": settled_ms}).fetchone()[0]
    if wrong:
        yield f"{wrong} {what}"


def _differences(connection: sqlite3.Connection, table: str, horizon_ms: int) -> Iterator[str]:
    whole = first_whole(table, horizon_ms)
    raw = f'SELECT * FROM ({raw_sums(table)}) WHERE "2" >= {whole}'
    kept = f"SELECT * FROM ({_kept(table)}) WHERE {TABLES[table][0][1]} >= {whole}"
    yield from _compare(connection, table, raw, kept)


def _compare(connection: sqlite3.Connection, table: str, raw: str, kept: str) -> Iterator[str]:
    for first, second, what in (
        (raw, kept, "is missing or differs in the rollup"),
        (kept, raw, "stands in the rollup and not in the raw rows"),
    ):
        sql = f"SELECT * FROM ({first}) EXCEPT SELECT * FROM ({second})"
        rows = connection.execute(f"SELECT count(*) FROM ({sql})").fetchone()[0]
        if rows:
            example = connection.execute(sql + " LIMIT 1").fetchone()
            yield f"{table}: {rows} rows differ; for example {example} {what}"


class WrongEvent(NamedTuple):
    """An event that counts and should not, or the other way round; *reason* is the wrong one."""

    table: str
    event_id: bytes
    reason: str
    received_ms: int
    what: str


def wrong_searches(
    connection: sqlite3.Connection, settled_ms: int
) -> Iterator[tuple[bytes, str, Decision]]:
    """Yield each search that stands against the rule: query id, its reason, and the decision."""
    rows = each_row(connection, ALL_WALKS)
    for _visitor, group in groupby(rows, key=lambda row: row[:2]):
        walk = list(group)
        if walk[0][2] < settled_ms:
            continue  # what it was decided by may be pruned
        decisions = decide_searches([Walked(*row[2:7]) for row in walk])
        for row, decision in zip(walk, decisions, strict=True):
            if Decision(row[7], row[8]) != decision:
                yield row[4], row[7], decision


def wrong_events(
    connection: sqlite3.Connection, options: StoreOptions, horizon_ms: int
) -> Iterator[WrongEvent]:
    """Yield each event that stands against the duplicate rule, by its page or its sender's key."""
    yield from _pages_out_of_rule(each_row(connection, ALL_PAGES), options, horizon_ms)
    yield from _keys_out_of_rule(each_row(connection, ALL_KEYS), options, horizon_ms)


def _pages_out_of_rule(
    rows: Iterable[tuple[Any, ...]], options: StoreOptions, horizon_ms: int
) -> Iterator[WrongEvent]:
    for key, group in groupby(rows, key=lambda row: row[:5]):
        clicks = list(group)
        window_ms = _window_ms("click", key[4], options)
        if clicks[0][5] < settled(horizon_ms, window_ms):
            continue  # what it was decided by may be pruned
        # A shared page tells nobody apart without a visitor or a view.
        nameless = key[1] is None and key[3] is None and clicks[0][7]
        decisions = decide_clicks([c[5] for c in clicks], 0 if nameless else window_ms)
        for row, counts in zip(clicks, decisions, strict=True):
            if counts != (row[6] == ""):
                what = f"a click of search {row[0].hex()}"
                yield WrongEvent("click", row[8], row[6], row[5], what)


def _keys_out_of_rule(
    rows: Iterable[tuple[Any, ...]], options: StoreOptions, horizon_ms: int
) -> Iterator[WrongEvent]:
    for (table, key, kind), group in groupby(rows, key=lambda row: row[:3]):
        events = list(group)
        window_ms = _window_ms(table, kind, options)
        if events[0][3] < settled(horizon_ms, window_ms):
            continue  # what it was decided by may be pruned
        decisions = decide_clicks([event[3] for event in events], window_ms)
        for event, counts in zip(events, decisions, strict=True):
            if counts != (event[4] == ""):
                yield WrongEvent(table, event[5], event[4], event[3], f"{table} {key.hex()}")


def _window_ms(table: str, kind: str, options: StoreOptions) -> int:
    if table == "click":
        return options.ad_dedupe_window_ms if kind == "ad" else options.dedupe_window_ms
    return IMPRESSION_WINDOW_MS if table == "impression" else ORDER_WINDOW_MS


def _wrong_numbers(connection: sqlite3.Connection) -> Iterator[str]:
    for host, number in connection.execute(WRONGLY_NUMBERED):
        if number != advertiser_number(host):
            yield f"the host {host} is advertiser {number} and not {advertiser_number(host)}"


def _wrong_results(connection: sqlite3.Connection) -> Iterator[str]:
    """Work out anew which URL each click meant that named it by an MD5 alone."""
    clicks = connection.execute(BY_DIGEST).fetchall()
    urls = connection.execute("SELECT url FROM result ORDER BY url") if clicks else ()
    # In order of the alphabet https comes after http, and is the one that stays.
    meant = {
        md5(
            f"{scheme}://{url.partition('://')[2]}".encode(), usedforsecurity=False
        ).hexdigest(): url
        for (url,) in urls
        if url.startswith(("http://", "https://"))
        for scheme in ("http", "https")
    }
    for docid, url, doc_id in clicks:
        if (url, doc_id) != ((meant[docid], "") if docid in meant else ("", docid)):
            yield f"a click on {docid} stands with the result {url or doc_id}"
