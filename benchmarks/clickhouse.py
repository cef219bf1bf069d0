"""How fast the ClickHouse store takes in, derives and answers: ``python -m benchmarks.clickhouse 200000``.

``--panels 10000000`` asks for the report's lists instead, over the sums of so many impressions and clicks
of 90 days: a SQLite store is filled with them (or ``--filled FILE`` names one that is), and its sums are
copied, for to derive them all would take hours and make the same ones.

The engine runs in a process of its own behind the small HTTP server of the tests, on the same cores; it
is no server, so that these are lower bounds. Not a part of ``make bench``: what it measures is no promise
of the project before it was seen on servers.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.rounds import slowness
from benchmarks.servers import cpu_s
from benchmarks.store import filled
from benchmarks.traffic import Site
from clickmw.catalog import PANELS
from clickmw.drain import Drain
from clickmw.journal import Journal, read_records, segment_paths
from clickmw.panels import Look
from clickmw.rollups import TABLES
from clickmw.stores import open_store
from clickmw.stores._clickhouse_numbers import number_of, query_number
from clickmw.stores.base import Filter, Reader, Record, Store, StoreOptions
from tests.clickhouse_server import running_engine

START_MS = 1_760_000_000_000
BATCH = 20_000


def timed(what: str, count: int, work: Callable[[], object]) -> None:
    """Print how many of *count* are done in a second, by the clock and by our own process's."""
    wall, own = time.perf_counter(), time.process_time()
    work()
    wall, own = time.perf_counter() - wall, time.process_time() - own
    print(f"{what}: {count / wall:,.0f}/s ({1e6 * own / count:.1f} µs of this process each)")


def main(events: int) -> None:
    """Take in *events*, derive, ask."""
    with TemporaryDirectory() as name, running_engine() as url:
        folder = Path(name)
        journal = Journal(folder, max_bytes=1 << 34)
        for event in Site().events(events, START_MS, 86_400_000):
            journal.write((event,))
        journal.close()
        with closing(open_store(f"{url}appends", StoreOptions())) as store:
            store.migrate()
            append_all(store, folder)
        with closing(open_store(f"{url}drained", StoreOptions())) as store:
            store.migrate()
            drain = Drain(folder, lambda: store, batch=BATCH)
            drain._refresh_at = float("inf")
            timed("drain without deriving", events, drain.run_once)
            timed("derive", events, store.refresh)
            ask(store)


def append_all(store: Store, folder: Path) -> None:
    """Append all of the journal, which was read before."""
    for path in segment_paths(folder):
        records = read_records(path, 0, most=1 << 40, sealed=True)
        timed("append", len(records), partial(append, store, path.stem, records))


def append(store: Store, segment: str, records: Sequence[Record]) -> None:
    """Append *records* as a drain does."""
    for start in range(0, len(records), BATCH):
        some = records[start : start + BATCH]
        store.append(segment, some[0].start, some[-1].end, some)


#: Sums that are copied → which of their columns are ids of texts in which table of SQLite's.
COPIED = {
    "day_query": {"query": "query"},
    "cube": dict.fromkeys(("module", "device", "language", "profile", "source", "trust"), "term"),
    "cube_position": dict.fromkeys(
        ("module", "device", "language", "profile", "source", "trust"), "term"
    ),
}
ASKED = ("days", "queries", "positions", "modules", "unclicked", "empty")
CHUNK = 50_000
#: No panel of these compares with other days.
ALL = Filter(first_day=date(2025, 1, 1), last_day=date(2025, 12, 31))


def panels(wanted: int, given: Path | None) -> None:
    """Copy the sums of a SQLite store, and print how long the panels of the overview take."""
    with (
        filled(wanted, given) as path,
        running_engine() as url,
        closing(open_store(f"{url}panels", StoreOptions())) as store,
    ):
        with closing(sqlite3.connect(path)) as source:
            copy_sums(source, store)
        with closing(store.reader()) as reader:
            time_panels(reader)


def copy_sums(source: sqlite3.Connection, store: Any) -> None:
    """Make the sums and texts of *source* those of an empty ClickHouse *store*."""
    store.migrate()
    sites = source.execute("SELECT id, handle, time_zone FROM site").fetchall()
    numbers = {"site": {row[0]: number_of(row[1]) for row in sites}}
    insert(
        store,
        "site",
        ("id", "handle", "time_zone", "version"),
        [(number_of(h), h, z, 1) for _, h, z in sites],
    )
    for table, number in (("query", query_number), ("term", number_of)):
        texts = source.execute(f"SELECT id, text FROM {table}").fetchall()
        numbers[table] = {row[0]: number(row[1]) for row in texts}
        insert(store, table, ("id", "text"), [(number(text), text) for _, text in texts])
    for table, texts_of in COPIED.items():
        columns = [column for part in TABLES[table] for column in part]
        known = {"site": "site", **texts_of}
        found = source.execute(f"SELECT {', '.join(columns)} FROM {table}")
        day = columns.index("day")
        while rows := found.fetchmany(CHUNK):
            own = [
                (
                    row[day],
                    *(
                        numbers[known[c]][v] if c in known else v
                        for c, v in zip(columns, row, strict=True)
                    ),
                )
                for row in rows
            ]
            insert(store, table, ("window", *columns), own)


def insert(
    store: Any, table: str, columns: Sequence[str], rows: Sequence[Sequence[object]]
) -> None:
    """Insert *rows* into a table of ClickHouse's."""
    lines = "".join(json.dumps(dict(zip(columns, row, strict=True))) + "\n" for row in rows)
    store.client.run(
        f"INSERT INTO {table} ({', '.join(columns)}) FORMAT JSONEachRow\n", lines.encode()
    )


def time_panels(reader: Reader) -> None:
    """Print how long each panel takes: all 90 days, and the last 28 and 7.

    By the clock, and in processor time of our process and the engine's at reference speed.
    """
    days = reader.day_span(None)
    assert days is not None
    for name in ASKED:
        said = []
        for count in (90, 28, 7):
            first = max(days[0], days[1] - timedelta(days=count - 1))
            look = Look(reader, Filter(first_day=first, last_day=days[1]), 20, {}, days[1], ALL, "")
            took, worked = zip(*(_once(name, look) for _ in range(9)), strict=True)
            said.append(
                f"{count} days {statistics.median(worked):.0f} ms of processors,"
                f" {statistics.median(took):.0f} ms by the clock"
            )
        print(f"panel {name}: {'; '.join(said)}", flush=True)


def _once(name: str, look: Look) -> tuple[float, float]:
    slow, worked, begun = slowness(), processor_s(), time.perf_counter()
    PANELS[name].rows(look)
    took = time.perf_counter() - begun
    return 1000 * took, 1000 * (processor_s() - worked) / slow


def processor_s() -> float:
    """Return the processor time of this process and of those that it started and that still run."""
    lists = (path.read_text() for path in Path("/proc/self/task").glob("*/children"))
    return time.process_time() + sum(cpu_s(int(child)) for child in " ".join(lists).split())


def ask(store: Store) -> None:
    """Print how long the list of queries takes."""
    first = datetime.fromtimestamp(START_MS / 1000, UTC).date()
    asked = Filter(first_day=first, last_day=first.replace(day=28))
    took = []
    with closing(store.reader()) as reader:
        for _ in range(9):
            begun = time.perf_counter()
            reader.top_queries(asked, 20)
            took.append(1000 * (time.perf_counter() - begun))
    print(f"top queries: {statistics.median(took):.0f} ms")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.clickhouse", description=__doc__)
    parser.add_argument("events", nargs="?", type=int, default=50_000)
    parser.add_argument("--panels", type=int, metavar="IMPRESSIONS_AND_CLICKS")
    parser.add_argument("--filled", type=Path, help="a SQLite store that has them already")
    given = parser.parse_args()
    if given.panels:
        panels(given.panels, given.filled)
    else:
        main(given.events)
