"""D: how fast one drain is with PostgreSQL, and how fast its panels are, beside SQLite in the same rounds.

``python -m benchmarks.postgresql --panels 10000000`` asks for every panel over so many impressions and
clicks of 90 days: a SQLite store is filled with them (or ``--filled FILE`` names one that is), and
``clickmw copy`` brings them to PostgreSQL. It takes half an hour, and some gigabytes in the folder for
temporary files.
"""

from __future__ import annotations

import argparse
import itertools
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.panels import FILTERS, all_panels, filter_of
from benchmarks.rounds import Row, interleaved, ratios, slowness, spread
from benchmarks.servers import cpu_s
from benchmarks.store import BATCH, SEGMENT, _write_journal, filled
from benchmarks.traffic import DAY_MS, Site
from clickmw.catalog import OVERVIEW_PANELS, PANELS
from clickmw.drain import Drain
from clickmw.journal import event_id_prefix
from clickmw.panels import Look
from clickmw.stores import open_store
from clickmw.stores.base import Filter, Record, Store, Stored, StoreOptions, silent
from clickmw.stores.sqlite import SQLiteStore
from tests.postgres_server import PostgresServer, postgres_server

START_MS = 1_760_000_000_000
DAYS = 30


def run(quick: bool) -> list[Row]:
    """Return the rows of PostgreSQL: one server on this machine, as a site would have it (with fsync)."""
    with postgres_server(fsync="on", full_page_writes="on", shared_buffers="512MB") as server:
        return [*draining(server, quick), *panels(server, quick)]


def draining(server: PostgresServer, quick: bool) -> Iterator[Row]:
    """Drain the same journal into new stores of both kinds, in turns."""
    events, rounds = (5_000, 3) if quick else (20_000, 5)
    with TemporaryDirectory() as name:
        folder, numbers = Path(name), itertools.count()
        _write_journal(folder / "kept", list(Site().events(events, START_MS, 3_600_000)))
        opened: dict[str, Callable[[int], Store]] = {
            "sqlite": lambda n: SQLiteStore(folder / f"{n}.db", StoreOptions()),
            "postgresql": lambda n: open_store(server.url(f"drained_{n}"), StoreOptions()),
        }
        tasks = {
            kind: lambda make=make: _drain(folder, next(numbers), make)  # type: ignore[misc]
            for kind, make in opened.items()
        }
        per = dict.fromkeys(tasks, events)
        taken = interleaved(tasks, rounds=rounds, clock=time.perf_counter, per=per)
    rates = {kind: spread([1e6 / us for us in each]) for kind, each in taken.items()}
    what = f"drain into a new PostgreSQL schema, {events:,} events, by the clock"
    beside = (
        f"{ratios(taken['sqlite'], taken['postgresql'])} × of SQLite ({rates['sqlite']} events/s)"
    )
    yield Row("D", what, "", f"{rates['postgresql']} events/s; {beside}", "", "")


def _drain(folder: Path, number: int, make: Callable[[int], Store]) -> None:
    """Move a copy of the journal that was kept to a new store."""
    journal = folder / f"{number}.journal"
    shutil.copytree(folder / "kept", journal)
    drain = Drain(journal, lambda: make(number), BATCH)
    drain.run_once()
    drain.close()


def panels(server: PostgresServer, quick: bool) -> Iterator[Row]:
    """Ask both stores for every panel of the overview."""
    events = 30_000 if quick else 300_000
    with TemporaryDirectory() as name:
        stores: dict[str, Store] = {
            "sqlite": SQLiteStore(Path(name) / "clicks.db", StoreOptions()),
            "postgresql": open_store(server.url("panels"), StoreOptions()),
        }
        for store in stores.values():
            fill_store(store, events)
        server.query("VACUUM ANALYZE")
        first = date.fromtimestamp(START_MS / 1000)
        asked = Filter(first_day=first, last_day=first + timedelta(days=DAYS))
        slowest = {kind: sorted(_times(store, asked)) for kind, store in stores.items()}
        for store in stores.values():
            store.close()
    said = "; ".join(
        f"{kind} {times[len(times) // 2]:.1f} ms in the middle, {times[-1]:.1f} ms at most"
        for kind, times in slowest.items()
    )
    yield Row("D", f"panels of the overview, {events:,} events of {DAYS} days", "", said, "", "")


def fill_store(store: Store, events: int) -> None:
    """Append *events* of some weeks."""
    made = Site().events(events, START_MS, DAYS * DAY_MS)
    offset = running = 0
    while batch := list(itertools.islice(made, BATCH)):
        prefix = event_id_prefix(SEGMENT)
        records = []
        for event in batch:
            running += 1
            stored = Stored(prefix + offset.to_bytes(4) + b"\0", event)
            records.append(Record(offset, offset + 100, running, (stored,), {}))
            offset += 100
        store.append(SEGMENT, records[0].start, offset, records)


def _times(store: Store, asked: Filter) -> Iterator[float]:
    with closing(store.reader()) as reader:
        for name in OVERVIEW_PANELS:
            look = Look(reader, asked, 50, {}, asked.last_day, asked, "")
            yield min(_once(PANELS[name].rows, look) for _ in range(5))


def _once(read: Callable[[Look], Any], look: Look) -> float:
    begun = time.perf_counter()
    read(look)
    return (time.perf_counter() - begun) * 1000


# -- every panel over millions ---------------------------------------------------------------------

#: Filters of benchmarks.panels that are asked for.
ASKED = (
    "",
    "28 days",
    "device",
    "text of a few queries",
    "text of many queries",
    "text of all queries",
)


def at_size(wanted: int, given: Path | None) -> None:
    """Copy a SQLite store to a new server, and print how long each panel takes under some filters."""
    with (
        filled(wanted, given) as path,
        postgres_server(shared_buffers="512MB") as server,
        closing(open_store(server.url("filled"), StoreOptions())) as store,
    ):
        with closing(SQLiteStore(path, StoreOptions())) as source:
            source.migrate()
            store.copy_from(source, silent)
        server.query("VACUUM ANALYZE")
        for filtered in ASKED:
            with closing(store.reader()) as reader:
                print(f"[{filtered}] {_processor_times(reader, filtered)}", flush=True)


def _processor_times(reader: Any, filtered: str) -> str:
    """Return the panels, slowest first: ms of processors at reference speed, ours and the server's."""
    connection = reader._connection
    connection.plain(
        "SET max_parallel_workers_per_gather = 0"
    )  # else some of it is another process's
    (pid,) = connection.plain("SELECT pg_backend_pid()").fetchone()
    days = reader.day_span(None)
    taken = {}
    for name, task in all_panels(reader, filter_of(days, FILTERS[filtered])).items():
        task()
        rounds = []
        for _ in range(5):
            slow, begun = slowness(), _worked_ms(pid)
            task()
            rounds.append((_worked_ms(pid) - begun) / slow)
        taken[name] = spread(rounds)
    slowest = sorted(taken.items(), key=lambda item: -item[1].median)
    return ", ".join(f"{name} {took}" for name, took in slowest if took.median > 5)


def _worked_ms(pid: int) -> float:
    return 1000 * (time.process_time() + cpu_s(pid))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.postgresql", description=__doc__)
    parser.add_argument("--panels", type=int, default=10_000_000, metavar="IMPRESSIONS_AND_CLICKS")
    parser.add_argument("--filled", type=Path, help="a SQLite store that has them already")
    given = parser.parse_args()
    at_size(given.panels, given.filled)
