"""F11 and F12: how fast the drain is, how far behind it falls, how much room an event takes."""

from __future__ import annotations

import gc
import itertools
import shutil
import sqlite3
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.rounds import (
    Row,
    Spread,
    at_least,
    at_reference,
    exactly,
    interleaved,
    ratios,
    slowness,
    spread,
)
from benchmarks.traffic import DAY_MS, Site
from clickmw.console import collect_seldom
from clickmw.drain import BREATH_S, WORKER_BATCH, Drain, Worker
from clickmw.events import Click, Event, Search, query_id_bytes
from clickmw.journal import Journal, event_id_prefix
from clickmw.stores.base import Record, Stored, StoreOptions
from clickmw.stores.sqlite import SQLiteStore

SEGMENT = "1750000000000-00000000aa"
BATCH = 2_000
DAYS = 90
#: Of 10 million impressions and clicks: 0.9 million searches, 9 million impressions, 0.7 million clicks.
SEARCH_SHARE = 0.9 / (0.9 + 0.7)


def run(quick: bool) -> list[Row]:
    """Return the rows F11 and F12."""
    return [*draining(quick), lag(quick), *room(quick)]


# -- F11 -------------------------------------------------------------------------------------------


def draining(quick: bool) -> list[Row]:
    """Drain the same journal again and again, beside the plain insertion of its rows."""
    events, rounds = (10_000, 5) if quick else (50_000, 5)
    with TemporaryDirectory() as name:
        folder = Path(name)
        kept = list(Site().events(events, 1_760_000_000_000, 3_600_000))
        _write_journal(folder / "kept", kept)
        numbers = itertools.count()
        made = {kind: _fresh(folder, kind, numbers) for kind in ("drain", "raw")}
        tasks: dict[str, Callable[[], object]] = {
            "drain": lambda: _drain(folder / "kept", next(made["drain"])),
            "raw": lambda: _insert(next(made["raw"]), kept),
        }
        per = dict.fromkeys(tasks, events)
        with _process_of_ours():
            taken = interleaved(tasks, rounds=rounds, per=per)
    took = at_reference(taken, "drain")
    speed = Spread(1e6 / took.median, 1e6 / took.high, 1e6 / took.low)
    here = spread([1e6 / us for us in taken["drain"]])
    raw = spread([1e6 / us for us in taken["raw"]])
    ratio = ratios(taken["raw"], taken["drain"])
    what = f"drain with rollups, joins and the duplicate rule, {events:,} events"
    return [
        Row(
            "F11", what, "", f"{here} events/s; at reference speed {speed}", "≥ 30,000",
            at_least(speed, 30_000),
        ),
        Row(
            "F11", what, f"executemany of the rows, with dictionaries: {raw} events/s",
            f"{ratio} ×", "≥ 0.17 ×", at_least(ratio, 1 / 6),
        ),
    ]  # fmt: skip


@contextmanager
def _process_of_ours() -> Iterator[None]:
    """Look for cycles of objects as seldom as ``clickmw drain`` does."""
    before = gc.get_threshold()
    collect_seldom()
    yield
    gc.set_threshold(*before)


def _fresh(folder: Path, kind: str, numbers: Iterator[int]) -> Iterator[Path]:
    for number in numbers:
        yield folder / f"{kind}-{number}.db"


def _write_journal(folder: Path, events: Sequence[Event]) -> None:
    journal = Journal(folder, max_bytes=1 << 34)
    for event in events:
        assert journal.write((event,))
    journal.close()


def _drain(kept: Path, path: Path) -> None:
    """Move a copy of the journal in *kept* to a new store at *path*."""
    journal = path.with_suffix(".journal")
    shutil.copytree(kept, journal)
    store = SQLiteStore(path, StoreOptions())
    drain = Drain(journal, lambda: store, batch=BATCH)
    drain.run_once()
    drain.close()
    path.unlink()


RAW_TABLES = """
CREATE TABLE query (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE result (id INTEGER PRIMARY KEY, url TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE search (query_id BLOB PRIMARY KEY, event_id BLOB, received_ms INTEGER, query INTEGER,
  total_hits INTEGER, visitor BLOB, device INTEGER, robot INTEGER, impressions TEXT) STRICT, WITHOUT ROWID;
CREATE TABLE click (id INTEGER PRIMARY KEY, event_id BLOB, received_ms INTEGER, query_id BLOB, result INTEGER,
  position INTEGER, module INTEGER, visitor BLOB, device INTEGER, robot INTEGER) STRICT
"""


def _insert(path: Path, events: Sequence[Event]) -> None:
    """Insert one row for each of *events*: dictionaries, no rules, no rollups."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        for statement in RAW_TABLES.split(";"):
            connection.execute(statement)
        rows = RawRows()
        for start in range(0, len(events), BATCH):
            connection.execute("BEGIN IMMEDIATE")
            rows.add(connection, events[start : start + BATCH])
            connection.execute("COMMIT")
    path.unlink()


class RawRows:
    """Rows with texts replaced by their numbers in a dictionary."""

    def __init__(self) -> None:
        self.queries: dict[str, int] = {}
        self.results: dict[str, int] = {}
        self.count = itertools.count()

    def add(self, connection: sqlite3.Connection, events: Sequence[Event]) -> None:
        """Insert *events*; new texts first."""
        known = len(self.queries), len(self.results)
        searches, clicks = [], []
        for event in events:
            if isinstance(event, Search):
                searches.append(self._search(event))
            elif isinstance(event, Click):
                clicks.append(self._click(event))
        for table, column, ids, first in (
            ("query", "text", self.queries, known[0]),
            ("result", "url", self.results, known[1]),
        ):
            new = [(number, text) for text, number in itertools.islice(ids.items(), first, None)]
            connection.executemany(f"INSERT INTO {table} (id, {column}) VALUES (?, ?)", new)
        connection.executemany("INSERT INTO search VALUES (?,?,?,?,?,?,?,?,?)", searches)
        connection.executemany("INSERT INTO click VALUES (NULL,?,?,?,?,?,?,?,?,?)", clicks)

    def _search(self, event: Search) -> tuple[object, ...]:
        shown = ",".join(
            f"[{self.results.setdefault(row.url, len(self.results) + 1)},{row.position},1]"
            for row in event.impressions
        )
        query = self.queries.setdefault(event.query, len(self.queries) + 1)
        return (
            query_id_bytes(event.query_id), next(self.count).to_bytes(16), event.received_ms, query,
            event.total_hits, bytes.fromhex(event.visitor), 1, int(bool(event.robot)), f"[{shown}]",
        )  # fmt: skip

    def _click(self, event: Click) -> tuple[object, ...]:
        result = self.results.setdefault(event.url, len(self.results) + 1)
        return (
            next(self.count).to_bytes(16), event.received_ms, query_id_bytes(event.query_id), result,
            event.position, 1, bytes.fromhex(event.visitor), 1, int(bool(event.robot)),
        )  # fmt: skip


def lag(quick: bool) -> Row:
    """Write 2,000 events a second for some seconds; see how old the oldest undrained one becomes."""
    seconds = 3 if quick else 8
    now_ms = time.time_ns() // 1_000_000
    events = list(Site(seed=2).events(2_000 * seconds, now_ms, 1_000 * seconds))
    with TemporaryDirectory() as name:
        folder = Path(name)
        store = SQLiteStore(folder / "clicks.db", StoreOptions())
        store.migrate()
        journal = Journal(folder / "journal")
        drain = Drain(folder / "journal", lambda: store, batch=WORKER_BATCH, breath_s=BREATH_S)
        worker = Worker(drain, journal, lambda: None)
        reader = SQLiteStore(folder / "clicks.db", StoreOptions()).reader()
        written_at: list[float] = []
        lags: list[float] = []
        begun = time.perf_counter()
        for number, event in enumerate(events):
            if number % 20 == 0:
                time.sleep(max(0.0, begun + number / 2_000 - time.perf_counter()))
            journal.write((event,))
            worker.on_write()
            written_at.append(time.perf_counter())
            if number % 100 == 99:
                stored = reader.ledger().get("stored", 0)
                lags.append(written_at[-1] - written_at[min(stored, number)])
        reader.close()
        worker.close()
    most = max(lags)
    measured = f"{statistics.median(lags):.2f} s, at most {most:.2f} s"
    what = "drain in a web worker, 2,000 events a second: age of the oldest event not yet stored"
    return Row("F11", what, "", measured, "≤ 1 s", exactly(most <= 1))


# -- F12 -------------------------------------------------------------------------------------------


def room(quick: bool) -> list[Row]:
    """Fill a store with impressions and clicks of 90 days; compare its size with naive text rows."""
    wanted = 100_000 if quick else 1_000_000
    with TemporaryDirectory() as name:
        folder = Path(name)
        speeds = fill(folder / "clicks.db", wanted)
        naive = fill_naive(folder / "naive.db", wanted)
        ours_b, naive_b = (size_of(folder / file) / wanted for file in ("clicks.db", "naive.db"))
        details = sizes(folder / "clicks.db", wanted)
    ratio = ours_b / naive_b
    what = f"bytes per impression or click, rollups and dictionaries included, {wanted:,} of {DAYS} days"
    base = f"text rows, 4 indexes: {naive_b:.0f} B"
    measured = f"{ours_b:.0f} B: {ratio:.3f} × ({details})"
    last = spread(speeds[-6:-1])
    grown = (
        f"intake, with {wanted:,} impressions and clicks in the store; events/s at reference speed"
    )
    return [
        Row("F12", what, base, measured, "≤ 0.333 ×", exactly(ratio <= 1 / 3)),
        Row("F11", grown, f"naive text rows: {naive:,.0f} rows/s here", f"{last}", "≥ 30,000", at_least(last, 30_000)),
    ]  # fmt: skip


def history(wanted: int) -> Iterator[Event]:
    """Yield searches and clicks of 90 days that make about *wanted* impressions and clicks."""
    events = round(wanted / (SEARCH_SHARE * Site.SHOWN * 0.975 + 1 - SEARCH_SHARE))
    yield from Site(SEARCH_SHARE, seed=12).events(2 * events, 1_750_032_000_000, 2 * DAYS * DAY_MS)


def fill(path: Path, wanted: int) -> list[float]:
    """Fill the store at *path*; return events/s of CPU time at reference speed, batch by batch."""
    store = SQLiteStore(path, StoreOptions())
    prefix, offset, found, speeds = event_id_prefix(SEGMENT), 0, 0, []
    events = history(wanted)
    while found < wanted:
        records: list[Record] = []
        while len(records) < BATCH and found < wanted:
            event = next(events)
            found += weight(event)
            stored = Stored(prefix + (offset + len(records)).to_bytes(4) + b"\0", event)
            start = offset + len(records)
            records.append(Record(start, start + 1, start + 1, (stored,), {}))
        started = time.process_time()
        store.append(SEGMENT, offset, offset + len(records), records)
        seconds = time.process_time() - started
        speeds.append(len(records) / seconds * slowness())
        offset += len(records)
    store.close()
    return speeds


@contextmanager
def filled(wanted: int, path: Path | None) -> Iterator[Path]:
    """Yield *path*, or where it is None a store that is filled for the while."""
    with TemporaryDirectory() as name:
        if path is None:
            path = Path(name) / "clicks.db"
            fill(path, wanted)
        yield path


def weight(event: Event) -> int:
    """Return how many impressions and clicks *event* is."""
    return len(event.impressions) if isinstance(event, Search) else 1


NAIVE = """
CREATE TABLE event (id INTEGER PRIMARY KEY, event_id TEXT NOT NULL, kind TEXT NOT NULL, ts INTEGER NOT NULL,
  site TEXT, query TEXT, url TEXT, position INTEGER, module TEXT, visitor TEXT, device TEXT);
CREATE UNIQUE INDEX event_id ON event (event_id);
CREATE INDEX event_ts ON event (ts);
CREATE INDEX event_query ON event (query, ts);
CREATE INDEX event_url ON event (url, ts)
"""


def fill_naive(path: Path, wanted: int) -> float:
    """Fill a table of text rows with the same impressions and clicks; return the rows/s of CPU time."""
    random = Random(3)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -1000000"):
            connection.execute(f"PRAGMA {pragma}")
        for statement in NAIVE.split(";"):
            connection.execute(statement)
        rows = itertools.islice(_naive_rows(wanted, random), wanted)
        started = time.process_time()
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO event VALUES (NULL,?,?,?,?,?,?,?,?,?,?)", rows)
        connection.execute("COMMIT")
    return wanted / (time.process_time() - started)


def _naive_rows(wanted: int, random: Random) -> Iterator[tuple[object, ...]]:
    queries: dict[str, str] = {}
    for event in history(wanted):
        if isinstance(event, Search):
            queries[event.query_id] = event.query
            for row in event.impressions:
                yield _naive(random, "impression", event, event.query, row)
        elif isinstance(event, Click):
            yield _naive(random, "click", event, queries[event.query_id], event)


def _naive(random: Random, kind: str, event: Any, query: str, row: Any) -> tuple[object, ...]:
    return (
        f"{random.getrandbits(64):016x}", kind, event.received_ms, event.site, query, row.url, row.position,
        row.module_code, event.visitor, event.device,
    )  # fmt: skip


def size_of(path: Path) -> int:
    """Return the size of a database after its log was worked in."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return path.stat().st_size


def sizes(path: Path, wanted: int) -> str:
    """Return where the bytes are, the largest five tables or indexes."""
    with closing(sqlite3.connect(path)) as connection:
        try:
            rows = connection.execute(
                "SELECT name, sum(pgsize) FROM dbstat GROUP BY name ORDER BY 2 DESC LIMIT 5"
            ).fetchall()
        except sqlite3.OperationalError:  # SQLite was built without that table
            return ""
    return ", ".join(f"{name} {size / wanted:.0f}" for name, size in rows)
