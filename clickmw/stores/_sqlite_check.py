"""Whether the numbers are true: the rollups against raw rows, and raw rows against the rules.

The rollups are summed again by SQL, independently of the code that keeps them; who counts is
decided again by the rules themselves. A line is returned for everything that differs.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

from clickmw.counting import (
    CLICK_HORIZON_MS,
    SEARCH_WINDOW_MS,
    Decision,
    Walked,
    decide_clicks,
    decide_searches,
)
from clickmw.rollups import BILLION, TABLES
from clickmw.stores.base import POSITION_BUCKETS, QUARTER_MS

DAY_MS = 86_400_000
_DIMENSIONS = "site, day, {module}, device, language, profile, source, trust, robot"

#: Searches whose shown results count, and the robots' own.
_SHOWN = """
  FROM search JOIN json_each(search.impressions) AS shown
  JOIN term AS reason ON reason.id = search.drop_reason
 WHERE reason.text IN ('', 'page', 'repeat', 'typing', 'robot')
"""
_SEARCHED = """
  FROM search JOIN term AS reason ON reason.id = search.drop_reason WHERE reason.text IN ('', 'robot')
"""
_CLICKED = """
  FROM click JOIN term AS reason ON reason.id = click.drop_reason JOIN term AS kind ON kind.id = click.kind
 WHERE reason.text IN ('', 'robot') AND kind.text = 'result'
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
_RECIPROCAL = f"coalesce({BILLION} / nullif({{position}}, 0), 0)"
_PEOPLE = " AND {table}.robot = 0"


def _raw(table: str) -> str:
    """Return SQL that sums *table* from raw rows: one row per key, measures in their order."""
    shown = _PEOPLE.format(table="search")
    clicked = _PEOPLE.format(table="click")
    parts = {
        "cube": [
            f"SELECT {_DIMENSIONS.format(module='0')}, 1, clicked, total_hits IS NOT NULL,"
            " coalesce(total_hits = 0, 0), coalesce(total_hits > 0 AND NOT clicked, 0),"
            f" {_RECIPROCAL.format(position='CASE WHEN clicked THEN best_position END')}, 0, 0, 0, 0, 0"
            f" {_SEARCHED}",
            f"SELECT {_DIMENSIONS.format(module=_MODULE)}, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1 {_SHOWN}",
            f"SELECT {_DIMENSIONS.format(module='module')}, 0, 0, 0, 0, 0, 0, 1,"
            f" coalesce(position > 0, 0), coalesce(position, 0), {_RECIPROCAL.format(position='position')}, 0"
            f" {_CLICKED}",
        ],
        "cube_position": [
            f"SELECT {_DIMENSIONS.format(module=_MODULE)}, {_BUCKET.format(position=_POSITION)}, 1, 0 {_SHOWN}",
            f"SELECT {_DIMENSIONS.format(module='module')}, {_BUCKET.format(position='position')}, 0, 1"
            f" {_CLICKED} AND position > 0",
        ],
        "quarter": [
            f"SELECT site, received_ms / {QUARTER_MS}, 1, clicked, coalesce(total_hits = 0, 0), 0, 0 {_SEARCHED}"
            + shown,
            f"SELECT site, received_ms / {QUARTER_MS}, 0, 0, 0, 0, 1 {_SHOWN}" + shown,
            f"SELECT site, received_ms / {QUARTER_MS}, 0, 0, 0, 1, 0 {_CLICKED}" + clicked,
        ],
        "day_query": [
            "SELECT site, day, query, 1, clicked, total_hits IS NOT NULL, coalesce(total_hits = 0, 0), 0, 0, 0, 0"
            f" {_SEARCHED}" + shown,
            f"SELECT site, day, query, 0, 0, 0, 0, 0, 0, 0, 1 {_SHOWN}" + shown,
            "SELECT site, day, query, 0, 0, 0, 0, 1, coalesce(position > 0, 0), coalesce(position, 0), 0"
            f" {_CLICKED} AND query IS NOT NULL" + clicked,
        ],
        "day_result": [
            f"SELECT site, day, json_extract(shown.value, '$[0]'), 0, 0, 0, 1 {_SHOWN}" + shown,
            "SELECT site, day, result, 1, coalesce(position > 0, 0), coalesce(position, 0), 0"
            f" {_CLICKED}" + clicked,
        ],
        "day_host": [
            f"SELECT site, day, (SELECT host FROM result WHERE result.id = click.result), 1 {_CLICKED}"
            + clicked,
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


#: The clicks that count for a search: on its own page and on those that belong to it.
_OWN_CLICKS = f"""
  FROM search AS own
  JOIN click ON click.query_id = coalesce(own.viewed, own.query_id)
   AND click.view_id IS iif(own.viewed IS NULL, NULL, own.query_id)
  JOIN term AS kind ON kind.id = click.kind
 WHERE own.query_id IN (SELECT search.query_id UNION ALL
                        SELECT query_id FROM search AS belonging WHERE belonging.first_query_id = search.query_id)
   AND click.drop_reason = 0 AND kind.text = 'result'
   AND click.received_ms < own.received_ms + {CLICK_HORIZON_MS}
"""
WRONGLY_CLICKED = f"""
-- One row: how many counted searches are wrong about having been clicked, or where.
SELECT count(*) FROM search WHERE drop_reason = 0 AND received_ms >= :settled_ms
   AND (clicked <> EXISTS (SELECT 1 {_OWN_CLICKS})
        OR best_position IS NOT (SELECT min(nullif(click.position, 0)) {_OWN_CLICKS}))
"""
HORIZON = """
-- One row: raw rows received before this have been pruned; 0 when none ever was.
SELECT coalesce(max(CAST(value AS INTEGER)), 0) FROM meta WHERE key = 'pruned_before_ms'
"""
ALL_WALKS = """
-- One row per search that the search rule decides, visitor by visitor, in the rule's order.
SELECT site, visitor, received_ms, event_id, query_id, query.text, offset, reason.text, first_query_id
  FROM search JOIN query ON query.id = search.query JOIN term AS reason ON reason.id = search.drop_reason
 WHERE visitor IS NOT NULL AND NOT shared AND (activated OR NOT prefetched)
   AND reason.text IN ('', 'page', 'repeat', 'typing')
 ORDER BY site, visitor, received_ms, event_id
"""
ALL_KEYS = """
-- One row per click that the duplicate rule decides, key by key, in the rule's order.
SELECT click.query_id, click.visitor, result, view_id, click.kind, click.received_ms, reason.text,
       coalesce(search.shared, 0)
  FROM click JOIN term AS reason ON reason.id = click.drop_reason
  LEFT JOIN search ON search.query_id = click.query_id
 WHERE click.query_id IS NOT NULL AND reason.text IN ('', 'duplicate')
 ORDER BY 1, 2, 3, 4, 5, click.received_ms, click.event_id
"""


def check(connection: sqlite3.Connection, window_ms: int) -> Iterator[str]:
    """Yield a sentence for every invariant that does not hold; nothing when all is well.

    Raw rows are there from the horizon on: what was pruned before it stands in the rollups only.
    """
    horizon_ms = connection.execute(HORIZON).fetchone()[0]
    for table in TABLES:
        yield from _differences(connection, table, horizon_ms)
    settled_ms = horizon_ms + SEARCH_WINDOW_MS if horizon_ms else 0
    wrong = connection.execute(WRONGLY_CLICKED, {"settled_ms": settled_ms}).fetchone()[0]
    if wrong:
        yield f"{wrong} searches are wrong about having been clicked, or where"
    yield from _searches_out_of_rule(connection.execute(ALL_WALKS), settled_ms)
    settled_ms = horizon_ms + window_ms if horizon_ms else 0
    yield from _clicks_out_of_rule(connection.execute(ALL_KEYS), window_ms, settled_ms)


def _differences(connection: sqlite3.Connection, table: str, horizon_ms: int) -> Iterator[str]:
    unit_ms = QUARTER_MS if TABLES[table][0][1] == "quarter" else DAY_MS
    # The horizon's own day is cut, and so may be the next: calendars differ.
    whole = horizon_ms // unit_ms + 2 if horizon_ms else 0
    raw = f'SELECT * FROM ({_raw(table)}) WHERE "2" >= {whole}'
    kept = f"SELECT * FROM ({_kept(table)}) WHERE {TABLES[table][0][1]} >= {whole}"
    for first, second, what in (
        (raw, kept, "is missing or differs in the rollup"),
        (kept, raw, "stands in the rollup and not in the raw rows"),
    ):
        sql = f"SELECT * FROM ({first}) EXCEPT SELECT * FROM ({second})"
        rows = connection.execute(f"SELECT count(*) FROM ({sql})").fetchone()[0]
        if rows:
            example = connection.execute(sql + " LIMIT 1").fetchone()
            yield f"{table}: {rows} rows differ; for example {example} {what}"


def _searches_out_of_rule(rows: Iterable[tuple[Any, ...]], settled_ms: int) -> Iterator[str]:
    for _visitor, group in groupby(rows, key=lambda row: row[:2]):
        walk = list(group)
        if walk[0][2] < settled_ms:
            continue  # what it was decided by may be pruned
        decisions = decide_searches([Walked(*row[2:7]) for row in walk])
        for row, decision in zip(walk, decisions, strict=True):
            if Decision(row[7], row[8]) != decision:
                yield f"search {row[4].hex()} stands as {row[7] or 'counted'}, the rule says {decision}"


def _clicks_out_of_rule(
    rows: Iterable[tuple[Any, ...]], window_ms: int, settled_ms: int
) -> Iterator[str]:
    for key, group in groupby(rows, key=lambda row: row[:5]):
        clicks = list(group)
        if clicks[0][5] < settled_ms:
            continue  # what it was decided by may be pruned
        # A shared page tells nobody apart without a visitor or a view.
        nameless = key[1] is None and key[3] is None and clicks[0][7]
        decisions = decide_clicks([c[5] for c in clicks], 0 if nameless else window_ms)
        for row, counts in zip(clicks, decisions, strict=True):
            if counts != (row[6] == ""):
                yield f"a click of search {row[0].hex()} at {row[5]} stands as {row[6] or 'counted'}"
