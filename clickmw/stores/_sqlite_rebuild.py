"""Everything that follows from the raw rows, made anew: who counts, what was clicked, every sum.

Days before the raw horizon stay as they are: their rows are pruned, in whole or in part.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from datetime import date

from clickmw.counting import CLICK_HORIZON_MS, SEARCH_WINDOW_MS
from clickmw.rollups import TABLES
from clickmw.stores._sqlite_check import (
    HORIZON,
    first_whole,
    raw_sums,
    settled,
    wrong_events,
    wrong_searches,
)
from clickmw.stores._sqlite_dictionaries import Dictionaries, day_at
from clickmw.stores._sqlite_returns import CHANGE_DWELL, DWELT_PAGES, wrong_dwells
from clickmw.stores._sqlite_totals import sum_again
from clickmw.stores.base import QUARTER_MS, Rebuilt, StoreOptions, Tell
from clickmw.zones import zone_of

#: The tables whose rows stand on a day of their site.
DATED = ("search", "click", "impression", "rating", "answer", "conversion")
_EPOCH = date(1970, 1, 1).toordinal()

SITES = """
-- One row per site and the time zone that its days are kept in.
SELECT id, handle, time_zone FROM site ORDER BY id
"""
QUARTERS = f"""
-- One row per quarter hour of UTC that has rows of a site.
SELECT DISTINCT received_ms / {QUARTER_MS} FROM {{table}} WHERE site = ? AND day >= ?
"""
MOVE_DAYS = f"""
-- One row per row of a site: its day in another time zone, as a table has it by quarter hours.
UPDATE {{table}} SET day = moved.day FROM moved
 WHERE {{table}}.site = ? AND {{table}}.day >= ? AND moved.quarter = {{table}}.received_ms / {QUARTER_MS}
"""
CHANGE_DECISION = """
-- One row per search whose standing was wrong.
UPDATE search SET drop_reason = ?, first_query_id = ? WHERE query_id = ?
"""
OWN_CLICKS = f"""
-- One row per search: its counted clicks within a day, and the best position among them.
CREATE TEMP TABLE own AS
SELECT own.query_id AS query_id, count(*) AS clicks, min(nullif(click.position, 0)) AS best
  FROM search AS own
 CROSS JOIN click ON click.query_id = coalesce(own.viewed, own.query_id)
   AND click.view_id IS iif(own.viewed IS NULL, NULL, own.query_id)
 WHERE click.drop_reason = 0
   AND click.kind IN (SELECT id FROM term WHERE text IN ('result', 'ad'))
   AND click.received_ms < own.received_ms + {CLICK_HORIZON_MS}
 GROUP BY own.query_id
"""
CHANGE_OWN = """
-- One row per search that was wrong about the clicks on its own page.
UPDATE search SET own_clicks = coalesce(own.clicks, 0), own_best = own.best
  FROM search AS same LEFT JOIN own ON own.query_id = same.query_id
 WHERE search.query_id = same.query_id AND search.received_ms >= :horizon_ms
   AND (search.own_clicks <> coalesce(own.clicks, 0) OR search.own_best IS NOT own.best)
"""
OWNED_CLICKS = """
-- One row per search that was clicked, there or on a search that belongs to it.
CREATE TEMP TABLE owned AS
SELECT coalesce(first_query_id, query_id) AS query_id, min(own_best) AS best
  FROM search WHERE own_clicks > 0 GROUP BY 1
"""
CHANGE_CLICKED = """
-- One row per counted search that was wrong about having been clicked, or where.
UPDATE search SET clicked = iif(owned.query_id IS NOT NULL, 1, 0), best_position = owned.best
  FROM search AS same LEFT JOIN owned ON owned.query_id = same.query_id
 WHERE search.query_id = same.query_id AND search.drop_reason = 0 AND search.received_ms >= :settled_ms
   AND (search.clicked <> iif(owned.query_id IS NOT NULL, 1, 0) OR search.best_position IS NOT owned.best)
"""


def rebuild(
    connection: sqlite3.Connection, options: StoreOptions, tell: Tell, *, zones: bool = True
) -> Rebuilt:
    """Make everything anew in the open transaction; with *zones* those of the settings come into force."""
    horizon_ms = int(connection.execute(HORIZON).fetchone()[0])
    steps = len(TABLES) + 2
    moved = move_days(connection, options, horizon_ms) if zones else {}
    tell(1, steps)
    decide_again(connection, options, horizon_ms)
    for done, table in enumerate(TABLES, 2):
        tell(done, steps)
        _sum_again(connection, table, horizon_ms)
    sum_again(connection)
    tell(steps, steps)
    whole = first_whole("cube", horizon_ms)
    return Rebuilt(date.fromordinal(_EPOCH + whole) if whole else None, moved)


def move_days(
    connection: sqlite3.Connection, options: StoreOptions, horizon_ms: int
) -> dict[str, tuple[str, str]]:
    """Bring the days of each site into the zone of the settings; return handle → (old zone, new zone).

    No row goes back over the horizon: the first whole day is a few hours longer instead.
    """
    moved: dict[str, tuple[str, str]] = {}
    for site, handle, old in connection.execute(SITES).fetchall():
        new = options.site_zones.get(handle, options.time_zone)
        if new != old:
            moved[handle] = old, new
            _move_site(connection, site, new, first_whole("cube", horizon_ms))
    return moved


def _move_site(connection: sqlite3.Connection, site: int, zone: str, whole: int) -> None:
    connection.execute("UPDATE site SET time_zone = ? WHERE id = ?", (zone, site))
    place = zone_of(zone)
    for table in DATED:
        connection.execute("CREATE TEMP TABLE moved (quarter INTEGER PRIMARY KEY, day INTEGER)")
        found = connection.execute(QUARTERS.format(table=table), (site, whole)).fetchall()
        days = [(quarter, max(whole, day_at(place, quarter))) for (quarter,) in found]
        connection.executemany("INSERT INTO moved (quarter, day) VALUES (?, ?)", days)
        connection.execute(MOVE_DAYS.format(table=table), (site, whole))
        connection.execute("DROP TABLE moved")


def decide_again(connection: sqlite3.Connection, options: StoreOptions, horizon_ms: int) -> None:
    """Let the rules decide again on all that they can see whole, and count what follows from that."""
    reasons = Dictionaries(options)
    settled_ms = settled(horizon_ms, SEARCH_WINDOW_MS)
    searches = [
        (reasons.term(connection, decision.drop_reason), decision.first, query_id)
        for query_id, _reason, decision in wrong_searches(connection, settled_ms)
    ]
    connection.executemany(CHANGE_DECISION, searches)
    duplicate = reasons.term(connection, "duplicate")
    wrong = list(wrong_events(connection, options, horizon_ms))
    for table in sorted({each.table for each in wrong}):
        rows = ((w.event_id, 0 if w.reason else duplicate) for w in wrong if w.table == table)
        _change_reasons(connection, table, rows)
    _count_clicks(connection, horizon_ms, settled_ms)
    pages = [page for (page,) in connection.execute(DWELT_PAGES)]
    dwells = [(dwell_s, number) for number, dwell_s in wrong_dwells(connection, pages, settled_ms)]
    connection.executemany(CHANGE_DWELL, dwells)


def _change_reasons(
    connection: sqlite3.Connection, table: str, rows: Iterable[tuple[bytes, int]]
) -> None:
    # By way of a table: there is no index of event ids, and one pass over the rows is enough.
    connection.execute("CREATE TEMP TABLE wrong (event_id BLOB PRIMARY KEY, reason INTEGER)")
    connection.executemany("INSERT INTO wrong (event_id, reason) VALUES (?, ?)", rows)
    connection.execute(
        f"UPDATE {table} SET drop_reason = wrong.reason FROM wrong"
        f" WHERE {table}.event_id = wrong.event_id"
    )
    connection.execute("DROP TABLE wrong")


def _count_clicks(connection: sqlite3.Connection, horizon_ms: int, settled_ms: int) -> None:
    bound = {"horizon_ms": horizon_ms, "settled_ms": settled_ms}
    for made, index, change, name in (
        (OWN_CLICKS, "own_id ON own (query_id)", CHANGE_OWN, "own"),
        (OWNED_CLICKS, "owned_id ON owned (query_id)", CHANGE_CLICKED, "owned"),
    ):
        connection.execute(made)
        connection.execute(f"CREATE INDEX {index}")
        connection.execute(change, bound)
        connection.execute(f"DROP TABLE {name}")


def _sum_again(connection: sqlite3.Connection, table: str, horizon_ms: int) -> None:
    (key, measures), whole = TABLES[table], first_whole(table, horizon_ms)
    columns = ", ".join((*key, *measures))
    connection.execute(f"DELETE FROM {table} WHERE {key[1]} >= ?", (whole,))
    connection.execute(
        f'INSERT INTO {table} ({columns}) SELECT * FROM ({raw_sums(table)}) WHERE "2" >= ?',
        (whole,),
    )
