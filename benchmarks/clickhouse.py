"""How fast the ClickHouse store takes in, derives and answers: ``python -m benchmarks.clickhouse 200000``.

The engine runs in a process of its own behind the small HTTP server of the tests, on the same cores; it
is no server, so that these are lower bounds. Not a part of ``make bench``: what it measures is no promise
of the project before it was seen on servers.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.traffic import Site
from clickmw.drain import Drain
from clickmw.journal import Journal, read_records, segment_paths
from clickmw.stores import open_store
from clickmw.stores.base import Filter, Record, Store, StoreOptions
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
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 50_000)
