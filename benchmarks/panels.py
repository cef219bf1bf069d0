"""F13 to F15: what the report's panels cost, beside the same questions asked of raw rows."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.rounds import Row, at_least, at_most, exactly, ratios, slowness, spread
from benchmarks.store import fill
from clickmw.catalog import OVERVIEW_PANELS, PANELS
from clickmw.panels import Look, Panel
from clickmw.remembering import remembering
from clickmw.stores.base import Filter, Reader, StoreOptions
from clickmw.stores.sqlite import SQLiteStore

SITE = "default"
LIMIT = 50

Panels = dict[str, Callable[[], Any]]

RAW_ROWS = """
CREATE TABLE raw.event AS
SELECT site, day, 0 AS click, query, json_extract(shown.value, '$[0]') AS result,
       json_extract(shown.value, '$[1]') AS position, json_extract(shown.value, '$[2]') AS module
  FROM search JOIN json_each(search.impressions) AS shown
 WHERE drop_reason IN (SELECT id FROM term WHERE text IN ('', 'page', 'repeat', 'typing'))
UNION ALL
SELECT site, day, 1, query, result, position, module FROM click WHERE drop_reason = 0;
CREATE TABLE raw.searched AS
SELECT site, day, query, clicked, total_hits FROM search WHERE drop_reason = 0;
CREATE INDEX raw.by_query ON event (site, day, query, click, position);
CREATE INDEX raw.by_result ON event (site, day, result, click, position);
CREATE INDEX raw.by_place ON event (site, day, module, position, click);
CREATE INDEX raw.searched_by_query ON searched (site, day, query, clicked, total_hits)
"""
_DAYS = " WHERE site = :site AND day BETWEEN :first AND :last"
RAW = {
    "totals": f"SELECT sum(click), sum(1 - click), sum(click * position) FROM event {_DAYS}",
    "daily": f"SELECT day, sum(click), sum(1 - click) FROM event {_DAYS} GROUP BY day",
    "top queries": f"""
        SELECT text, searches FROM (
          SELECT query, count(*) AS searches, sum(clicked) FROM searched {_DAYS} GROUP BY query
           ORDER BY searches DESC, query LIMIT 50)
        LEFT JOIN (SELECT query AS key, sum(click), sum(1 - click), sum(click * position) FROM event {_DAYS}
               GROUP BY query) ON key = query
        JOIN query ON query.id = query ORDER BY searches DESC, text""",
    "top results": f"""
        SELECT url, clicks FROM (
          SELECT result, sum(click) AS clicks, sum(1 - click), sum(click * position) FROM event {_DAYS}
           GROUP BY result ORDER BY clicks DESC, result LIMIT 50)
        JOIN result ON result.id = result ORDER BY clicks DESC, url""",
    "positions": f"""
        SELECT module, position, sum(click), sum(1 - click) FROM event {_DAYS} GROUP BY module, position""",
}


def run(quick: bool, only: frozenset[str]) -> list[Row]:
    """Return the rows F13 and F15; F14, with ten times as much, only when it is asked for."""
    wanted = 100_000 if quick else 1_000_000
    with TemporaryDirectory() as name:
        path = Path(name) / "clicks.db"
        fill(path, wanted)
        rows = [] if only == {"F14"} else at_size(path, wanted, 5)
        if "F14" in only:
            fill(path.with_name("grown.db"), 10 * wanted)
            rows += growth(path, path.with_name("grown.db"), wanted)
            rows += among_many(path.with_name("grown.db"), wanted)
        return rows


#: What a filter may say besides the site and all days; "" is nothing else. All that is asked in the
#: benchmarks' language, source … is all there is: the most that such a filter can have to read.
FILTERS: dict[str, dict[str, Any]] = {
    "": {},
    "all sites": {"site": None},
    "1 day": {"first_day": 1},
    "7 days": {"first_day": 7},
    "28 days": {"first_day": 28},
    "device": {"device": "mobile"},
    "language of all": {"language": "en"},
    "profile of all": {"profile": ""},
    "source": {"source": "page"},
    "trust of all": {"trust": "signed"},
    "module of all": {"module": "BWEB"},
    "robots": {"robots": True},
    "device, 28 days": {"device": "mobile", "first_day": 28},
    "device, language": {"device": "mobile", "language": "en"},
    "device, module": {"device": "mobile", "module": "BWEB"},
    "text of no query": {"text": "zebra"},
    "text of a few queries": {"text": "1234"},
    "text of many queries": {"text": "7"},
    "text of all queries": {"text": "topic"},
    "text of many queries, 28 days": {"text": "7", "first_day": 28},
    "text of many queries, device": {"text": "7", "device": "mobile"},
    "text of all queries, device": {"text": "topic", "device": "mobile"},
    "text of all queries, module": {"text": "topic", "module": "BWEB"},
}
#: Panels that add all up; the others are lists and drill-downs.
SUMS = frozenset(
    [
        "days",
        "excluded",
        "positions",
        "histogram",
        "modules",
        "devices",
        "languages",
        "profiles",
        "sources",
        "trusts",
    ]
)
#: What one page reads → its target in ms.
PAGES_READ = {"the overview": (OVERVIEW_PANELS, 300)}


def growth(path: Path, grown: Path, wanted: int) -> list[Row]:
    """Return F14: every panel over ten times as many events, of the same days and texts.

    Filters have two lines each, for the sums and the list that take longest.
    """
    with (
        closing(SQLiteStore(path, StoreOptions()).reader()) as reader,
        closing(SQLiteStore(grown, StoreOptions()).reader()) as grown_reader,
    ):
        days = reader.day_span(None)
        assert days is not None
        rows = []
        for name, more in FILTERS.items():
            asked = filter_of(days, more)
            tasks = {f"1: {panel}": task for panel, task in all_panels(reader, asked).items()}
            tasks |= {
                f"10: {panel}": task for panel, task in all_panels(grown_reader, asked).items()
            }
            taken = timed(tasks, 5 if not name else 3)
            rows += grown_rows(taken, name, 10 * wanted)
    return rows


OTHER_QUERIES = """
WITH RECURSIVE number (n) AS (SELECT max(id) + 1 FROM query UNION ALL SELECT n + 1 FROM number WHERE n < :wanted)
INSERT INTO query (id, text) SELECT n, 'where was matter ' || (n * 7919 % 1000003) FROM number
"""
OTHER_TOTALS = """
INSERT INTO total_query (site, query, searches, searches_empty, clicks)
SELECT site.id, query.id, 1, 0, 0 FROM site CROSS JOIN query
 WHERE query.id NOT IN (SELECT query FROM total_query)
"""


def among_many(path: Path, wanted: int) -> list[Row]:
    """Return F14 again: every panel under a text or of some days, with *wanted* queries of which most were asked before."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(OTHER_QUERIES, {"wanted": wanted})
        connection.execute(OTHER_TOTALS)
    with closing(SQLiteStore(path, StoreOptions()).reader()) as reader:
        days = reader.day_span(None)
        assert days is not None
        rows = []
        for name, more in FILTERS.items():
            if "text" not in more and name != "28 days":
                continue
            panels = all_panels(reader, filter_of(days, more))
            taken = timed({f"10: {panel}": task for panel, task in panels.items()}, 3)
            found = grown_rows(taken, name, 10 * wanted)
            rows += [row._replace(what=f"{row.what}, {wanted:,} queries") for row in found]
    return rows


def limit_of(panel: str, filtered: str) -> float:
    """Return the target of *panel* in ms, under one of FILTERS."""
    further = {"site": None, "first_day": 28} | FILTERS[filtered]
    if "text" in further:
        return 200
    return 50 if panel in SUMS or len(further) == 2 else 500


def filter_of(days: tuple[date, date], more: dict[str, Any]) -> Filter:
    """Return the site and all *days*, or the last few of them, and what *more* says."""
    asked = Filter(first_day=days[0], last_day=days[1], site=SITE)
    asked = replace(asked, **{name: word for name, word in more.items() if name != "first_day"})
    if "first_day" in more:
        return replace(asked, first_day=days[1] - timedelta(days=more["first_day"] - 1))
    return asked


def all_panels(reader: Reader, asked: Filter) -> Panels:
    """Return every panel of the report by name, and what its first page reads."""
    length = asked.last_day - asked.first_day + timedelta(days=1)
    # The days before the first one are as long, and as empty, as those of a site that began then.
    before = replace(asked, first_day=asked.first_day - length, last_day=asked.last_day - length)
    subjects = {
        "": "",
        "query": _first(reader.top_queries(asked, 1), "query"),
        "url": _first(reader.top_results(replace(asked, text=None), 1), "url"),
    }

    def rows_of(*panels: Panel) -> None:
        # What the parts of one page share is not there for the next one.
        vars(reader).update(_tallied=None, _summed={})
        once = remembering(reader)
        for panel in panels:
            look = Look(once, asked, LIMIT, {}, asked.last_day, before, subjects[panel.needs])
            panel.rows(look)
        if len(panels) > 1:
            once.totals(asked)
            once.totals(before)

    tasks: Panels = {name: partial(rows_of, panel) for name, panel in PANELS.items()}
    pages = {name: [PANELS[each] for each in names] for name, (names, _) in PAGES_READ.items()}
    return tasks | {name: partial(rows_of, *panels) for name, panels in pages.items()}


def _first(rows: Sequence[Any], name: str) -> str:
    return str(getattr(rows[0], name)) if rows else ""


def grown_rows(taken: dict[str, list[float]], filtered: str, grown: int) -> list[Row]:
    """Return two lines per panel; under a filter one for the slowest sums, list and page each."""
    names = [key.removeprefix("10: ") for key in taken if key.startswith("10: ")]
    lists = [name for name in names if name not in SUMS and name not in PAGES_READ]
    groups = ([*SUMS], lists, [*PAGES_READ])
    slowest = [max(each, key=lambda n: spread(taken[f"10: {n}"]).median) for each in groups]
    rows = []
    for name in slowest if filtered else names:
        took = spread(taken[f"10: {name}"])
        most_ms = PAGES_READ[name][1] if name in PAGES_READ else limit_of(name, filtered)
        what = f"panel {name}, {grown:,} impressions and clicks of 90 days"
        if filtered:
            kind = "sums" if name in SUMS else "lists and drill-downs"
            what += (
                f"; {filtered}"
                if name in PAGES_READ
                else f"; {filtered}, the slowest of the {kind}"
            )
        measured = f"{took} ms at reference speed"
        rows.append(
            Row("F14", what, "", measured, f"≤ {most_ms:g} ms warm", at_most(took, most_ms))
        )
        if not filtered:
            times = ratios(taken[f"10: {name}"], taken[f"1: {name}"])
            base = f"the same over {grown // 10:,}"
            # What takes a few milliseconds says nothing about growth.
            verdict = at_most(times, 3) if took.median > 10 else "–"
            rows.append(Row("F14", what, base, f"{times} ×", "≤ 3 ×", verdict))
    return rows


def at_size(path: Path, wanted: int, rounds: int) -> list[Row]:
    """Return the rows for a store with *wanted* impressions and clicks."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("ATTACH ? AS raw", (str(path.with_name("raw.db")),))
        for statement in RAW_ROWS.split(";"):
            connection.execute(statement)
        connection.execute("ANALYZE raw")
        connection.execute("PRAGMA cache_size = -1000000")
        with closing(SQLiteStore(path, StoreOptions()).reader()) as reader:
            days = reader.day_span(None)
            assert days is not None
            taken = measure(connection, reader, days, rounds)
            equal = same_answers(connection, reader, days)
    return [*_rows(taken, wanted), equal]


def measure(
    connection: sqlite3.Connection, reader: Reader, days: tuple[date, date], rounds: int
) -> dict[str, list[float]]:
    """Return panel → CPU milliseconds, ours and those of the raw rows."""
    ours = panels(reader, Filter(first_day=days[0], last_day=days[1], site=SITE))
    raw = raw_panels(connection, days)
    tasks = {**{f"ours: {name}": task for name, task in ours.items()}}
    tasks |= {f"raw: {name}": task for name, task in raw.items()}
    return timed(tasks, rounds)


def timed(tasks: Panels, rounds: int) -> dict[str, list[float]]:
    """Return task → CPU milliseconds at reference speed, by turns; an untimed call comes before each."""
    taken: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(rounds):
        for name, task in tasks.items():
            task()
            slow = slowness()
            started = time.process_time()
            task()
            taken[name].append((time.process_time() - started) * 1e3 / slow)
    return taken


def panels(reader: Reader, asked: Filter) -> Panels:
    """Return the report's panels by name."""
    return {
        "totals": lambda: reader.totals(asked),
        "daily": lambda: reader.daily(asked),
        "top queries": lambda: reader.top_queries(asked, LIMIT),
        "top results": lambda: reader.top_results(asked, LIMIT),
        "positions": lambda: reader.positions(asked),
        "modules": lambda: reader.modules(asked),
        "queries without clicks": lambda: reader.queries_without_clicks(asked, LIMIT),
        "queries without results": lambda: reader.queries_without_results(asked, LIMIT),
        "live": lambda: reader.live(LIMIT),
    }


def raw_panels(connection: sqlite3.Connection, days: tuple[date, date]) -> Panels:
    """Return the same questions, asked of raw rows with covering indexes."""
    site = connection.execute("SELECT id FROM site WHERE handle = ?", (SITE,)).fetchone()[0]
    first, last = ((day - date(1970, 1, 1)).days for day in days)
    bound = {"site": site, "first": first, "last": last}

    def ask(sql: str) -> Callable[[], Any]:
        return lambda: connection.execute(sql, bound).fetchall()

    return {name: ask(sql) for name, sql in RAW.items()}


def _rows(taken: dict[str, list[float]], wanted: int) -> list[Row]:
    rows = []
    for name in (key.removeprefix("ours: ") for key in taken if key.startswith("ours: ")):
        ours = spread(taken[f"ours: {name}"])
        what = f"{name}, {wanted:,} impressions and clicks of 90 days"
        measured = f"{ours} ms at reference speed"
        rows.append(Row("F13", what, "", measured, "≤ 50 ms warm", at_most(ours, 50)))
        if name in RAW:
            raw = taken[f"raw: {name}"]
            times = ratios(raw, taken[f"ours: {name}"])
            base = f"GROUP BY over raw rows, covering indexes: {spread(raw)} ms"
            # The less there is, the less a rollup saves.
            is_full = wanted >= 1_000_000
            target, verdict = ("≥ 10 ×", at_least(times, 10)) if is_full else ("–", "–")
            rows.append(Row("F13", what, base, f"{times} × faster", target, verdict))
    return rows


def same_answers(connection: sqlite3.Connection, reader: Reader, days: tuple[date, date]) -> Row:
    """Return F15: the lists of the report equal full rankings of the raw rows."""
    asked = Filter(first_day=days[0], last_day=days[1], site=SITE)
    raw = {name: task() for name, task in raw_panels(connection, days).items()}
    queries = [(row.query, row.searches) for row in reader.top_queries(asked, LIMIT)]
    results = [(row.url, row.clicks) for row in reader.top_results(asked, LIMIT)]
    totals = reader.totals(asked)
    counts = [
        sorted(count for _, count in found) == sorted(count for _, count in listed)
        for found, listed in ((queries, raw["top queries"]), (results, raw["top results"]))
    ]
    same = all(counts) and (totals.clicks, totals.impressions) == raw["totals"][0][:2]
    what = "totals and the top 50 queries and results: the same as from raw rows"
    return Row(
        "F15",
        what,
        "GROUP BY over raw rows",
        "equal" if same else "different",
        "equal",
        exactly(same),
    )
