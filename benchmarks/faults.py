"""F7 to F10: what is lost when processes die, the database is locked, the disk is full."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.requests import clicks_around, flask_insert, hello
from benchmarks.rounds import Row, exactly
from benchmarks.servers import gunicorn, load
from benchmarks.traffic import Site, environ, link_paths
from clickmw.drain import Drain
from clickmw.journal import Journal, segment_paths
from clickmw.stores.base import StoreOptions
from clickmw.stores.sqlite import SQLiteStore


def run(quick: bool, only: frozenset[str]) -> list[Row]:
    """Return the rows F7 to F10."""
    makers: dict[str, Callable[[bool], Row]] = {
        "F7": killed_workers,
        "F8": killed_drainers,
        "F9": locked_database,
        "F10": full_disk,
    }
    return [make(quick) for number, make in makers.items() if not only or number in only]


# -- F7 --------------------------------------------------------------------------------------------


def killed_workers(quick: bool) -> Row:
    """Kill all workers of gunicorn again and again; what was answered must be in the store."""
    kills = 4 if quick else 12
    paths = link_paths(kills * 4_000)
    answered: list[str] = []
    with TemporaryDirectory() as name:
        folder, stop, done = Path(name), threading.Event(), 0
        with gunicorn("clicks", folder) as server:
            told = (server.port, paths, stop, answered)
            loader = threading.Thread(target=load, args=told)
            loader.start()
            while done < kills and _are(answered, 1_000 * (done + 1), within_s=10):
                server.kill_workers()
                done += 1
            stop.set()
            loader.join(20)
        drain_all(folder)
        stored = stored_tokens(folder)
    acknowledged = {path.rpartition("/")[2].split(":", 2)[1] for path in answered}
    lost = len(acknowledged - set(stored))
    twice = len(stored) - len(set(stored))
    measured = f"{done} kills, {len(acknowledged):,} answered, {lost} lost, {twice} twice"
    return Row(
        "F7", "kill -9 of all workers under load: answered clicks that are not in the store, or twice",
        "", measured, "0 lost, 0 twice", exactly(not lost and not twice and done == kills),
    )  # fmt: skip


def _are(answered: list[str], wanted: int, *, within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while len(answered) < wanted and time.monotonic() < deadline:
        time.sleep(0.01)
    return len(answered) >= wanted


def drain_all(folder: Path) -> int:
    """Drain the journal of the store in *folder* to its end, as the next start does."""
    store = SQLiteStore(folder / "clicks.db", StoreOptions())
    drain = Drain(folder / "clicks.db.journal", lambda: store)
    moved = None
    while moved is None:  # a worker may be at it until it is gone
        moved = drain.run_once()
        time.sleep(0.05)
    drain.close()
    return moved


def stored_tokens(folder: Path) -> list[str]:
    """Return the query ids of all stored clicks, as tokens spell them."""
    with closing(sqlite3.connect(folder / "clicks.db")) as connection:
        rows = connection.execute("SELECT query_id FROM click").fetchall()
    return [urlsafe_b64encode(row[0]).decode() for row in rows]


# -- F8 --------------------------------------------------------------------------------------------


def killed_drainers(quick: bool) -> Row:
    """Kill the drain again and again while it works off a journal; nothing is lost or counted twice."""
    events, kills = (20_000, 5) if quick else (100_000, 24)
    random = Random(8)
    with TemporaryDirectory() as name:
        folder = Path(name)
        clicks, searches = fill_journal(folder / "clicks.db.journal", events)
        done, lives = 0, 0
        store = SQLiteStore(folder / "clicks.db", StoreOptions())
        store.migrate()
        store.close()
        while segment_paths(folder / "clicks.db.journal") and lives < 20 * kills:
            lives += 1
            done += _one_life(folder, random.uniform(0.0, 0.12) if done < kills else None)
        store = SQLiteStore(folder / "clicks.db", StoreOptions())
        with closing(store.reader()) as reader:
            ledger = reader.ledger()
        with closing(sqlite3.connect(folder / "clicks.db")) as connection:
            rows = (_count(connection, "click"), _count(connection, "search"))
            sums = connection.execute(CUBE_AND_RAW).fetchone()
        problems = store.check()
        store.close()
    right = rows == (clicks, searches) and ledger["stored"] == events and not problems
    right = right and sums[:2] == sums[2:]
    measured = f"{done} kills, {sum(rows):,} rows of {events:,} events, {len(problems)} problems"
    return Row(
        "F8", "kill -9 of the drain at work: rows = events, rollups = raw",
        "", measured, f"exact, ≥ {kills} kills", exactly(right and done >= kills),
    )  # fmt: skip


CUBE_AND_RAW = """
-- One row: counted clicks and searches in the rollups and in the raw rows.
SELECT (SELECT sum(clicks) FROM cube WHERE robot = 0), (SELECT sum(searches) FROM cube WHERE robot = 0),
       (SELECT count(*) FROM click WHERE drop_reason = 0),
       (SELECT count(*) FROM search WHERE drop_reason = 0)
"""


def _count(connection: sqlite3.Connection, table: str) -> int:
    found: int = connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    return found


def fill_journal(folder: Path, events: int, seed: int = 1) -> tuple[int, int]:
    """Write *events* of a site to a journal in *folder*; return how many clicks and searches."""
    journal = Journal(folder, max_bytes=1 << 34)
    now_ms = time.time_ns() // 1_000_000
    clicks = 0
    for event in Site(seed=seed).events(events, now_ms - 3_600_000, 3_600_000):
        assert journal.write((event,))
        clicks += type(event).__name__ == "Click"
    journal.close()
    return clicks, events - clicks


def _one_life(folder: Path, until_s: float | None) -> int:
    """Start a drain and kill it *until_s* after it has moved something; 1 when it was killed at work."""
    process = subprocess.Popen(
        [sys.executable, "-c", DRAIN, str(folder)],
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.readline()  # it has moved a batch and is at the next
    try:
        process.wait(until_s)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
    process.stdout.close()
    return int(process.returncode == -signal.SIGKILL)


DRAIN = """
import sys
from pathlib import Path
from clickmw.drain import Drain
from clickmw.stores.base import StoreOptions
from clickmw.stores.sqlite import SQLiteStore
folder = Path(sys.argv[1])
class Told(SQLiteStore):
    def append(self, *batch, **how):
        moved = super().append(*batch, **how)
        print("moved", flush=True)
        return moved
store = Told(folder / "clicks.db", StoreOptions())
Drain(folder / "clicks.db.journal", lambda: store, batch=500).run_once()
"""


# -- F9 --------------------------------------------------------------------------------------------


def locked_database(quick: bool) -> Row:
    """Redirect while another process holds the database's write lock for two seconds."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        clicks = clicks_around(hello, folder)
        home_made = flask_insert(folder / "home-made.db")
        _paced(clicks, link_paths(200))  # the database exists, the drain runs
        time.sleep(0.5)
        paths = link_paths(2_600)
        free = _paced(clicks, paths[:1_300])
        with write_locked(folder / "home-made.db"):
            theirs = _paced(home_made, ["/go?url=https://www.example.org/&pos=1"])
        with write_locked(folder / "clicks.db"):
            taken = _paced(clicks, paths[1_300:])
        stored = 0
        deadline = time.monotonic() + 20
        while stored < 2_800 and time.monotonic() < deadline:
            time.sleep(0.2)
            with closing(clicks.door.store.reader()) as reader:
                stored = reader.ledger().get("stored", 0)
        clicks.door.worker.close()
    measured = (
        f"slowest {max(taken):.1f} ms; without the lock {max(free):.1f} ms; {2_800 - stored} lost"
    )
    return Row(
        "F9", "another process holds the write lock: the slowest of 1,300 redirects in two seconds",
        f"INSERT per click: {max(theirs):,.0f} ms", measured, "≤ 50 ms, 0 lost",
        exactly(max(taken) <= 50 and stored == 2_800),
    )  # fmt: skip


def _paced(app: Any, targets: list[str]) -> list[float]:
    """Follow *targets* at 800 a second; return the wall time of each in milliseconds."""
    taken = []
    begun = time.perf_counter()

    def start_response(status: str, headers: Any, exc_info: Any = None) -> None:
        assert status.startswith("302"), status

    for number, target in enumerate(targets):
        path, _, query = target.partition("?")
        time.sleep(max(0.0, begun + number / 800 - time.perf_counter()))
        started = time.perf_counter()
        list(app(environ(path, QUERY_STRING=query), start_response))
        taken.append((time.perf_counter() - started) * 1e3)
    return taken


@contextmanager
def write_locked(path: Path) -> Iterator[None]:
    """Let another process hold the write lock of the database at *path* for two seconds."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    try:
        yield
    finally:
        process.wait(20)
        process.stdout.close()


HOLD = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=10)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
time.sleep(2)
"""


# -- F10 -------------------------------------------------------------------------------------------


def full_disk(quick: bool) -> Row:
    """Fill the journal's disk: all are redirected, what could not be kept is counted exactly."""
    what = "full disk: redirects answered, the dropped ones counted exactly, kept again with room"
    with TemporaryDirectory() as name, small_disk(Path(name) / "small") as small:
        if small is None:
            return Row("F10", what, "", "not run: only root can make a small disk", "exact", "–")
        folder = Path(name)
        paths = link_paths(15_000)
        clicks = clicks_around(hello, folder, journal=str(small / "journal"))
        # The drain would make room at once: hold it back until the disk has been full.
        held = clicks.door.worker.drain.lock
        other = type(held)(held.path.parent)
        assert other.take()
        kept = _follow_all(clicks, paths[:12_000])
        (small / "ballast").unlink()
        kept += _follow_all(clicks, paths[12_000:])
        other.release()
        clicks.door.worker.close()
        drain = clicks.door.worker.drain
        drain.run_once()
        with closing(clicks.door.store.reader()) as reader:
            ledger = reader.ledger()
        drain.close()
    dropped = ledger.get("dropped.disk_full", 0)
    right = ledger.get("stored") == kept and dropped == 15_000 - kept > 0
    right = right and ledger.get("received") == 15_000
    measured = f"15,000 answered, {kept:,} kept, {dropped:,} counted as dropped"
    return Row("F10", what, "", measured, "exact", exactly(right))


def _follow_all(clicks: Any, paths: list[str]) -> int:
    """Follow *paths*; return how many the journal has kept."""
    kept = 0
    for path in paths:
        _paced_one(clicks, path)
        kept += not clicks.door.journal.refused
    return kept


def _paced_one(app: Any, path: str) -> None:
    def start_response(status: str, headers: Any, exc_info: Any = None) -> None:
        assert status.startswith("302"), status

    list(app(environ(path), start_response))


@contextmanager
def small_disk(folder: Path) -> Iterator[Path | None]:
    """Make a disk of 2 MB, half of it ballast; None where that is not allowed."""
    folder.mkdir()
    is_root = sys.platform == "linux" and os.geteuid() == 0 and shutil.which("mount")
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if not is_root or subprocess.run(command, check=False, capture_output=True).returncode:
        yield None
        return
    try:
        (folder / "ballast").write_bytes(bytes(1_000_000))
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
