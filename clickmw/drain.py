"""The drain: journal to store, exactly once.

Whoever holds the lock file drains: a thread of one worker, ``clickmw drain``, or the report before
it reads. A segment is removed only after the commit that finished it is on disk. Trouble with the
store is waited out; the segments stay.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from clickmw.clocks import Clock, leap_allowed_ms
from clickmw.errors import BadEvent, StoreError
from clickmw.events import encode_events
from clickmw.forks import in_forked_child
from clickmw.journal import (
    FORMAT_VERSION,
    Journal,
    is_locked,
    is_sealed,
    lock,
    read_header,
    read_records,
    segment_paths,
    sync,
    sync_folder,
    tail,
    unsynced,
    warn_once_a_minute,
)
from clickmw.stores.base import Record, Store, Stored

log = logging.getLogger("clickmw")

WORKER_BATCH = 200
OUTSIDE_BATCH = 2000
PAUSE_S = 0.2
#: Between two batches a worker lets its requests run.
BREATH_S = 0.005
#: How often a worker brings the journal to disk: a power cut costs a second at most.
SYNC_S = 0.4
#: A worker's one pass: then it looks whether a drain has come that goes first.
PASS_S = 1.0
#: How long a store may catch up before what waits is moved.
REFRESH_S = 5.0
#: After a failure of ours, until the next try.
FAILED_S = 5.0
PRUNE_EVERY_S = 3600.0
#: Events that have waited for so long are drained by nobody.
LATE_S = 60
#: Soon enough for workers that do not live for an hour.
PRUNE_FIRST_S = 60.0
PRUNE_ROWS = 2000
LEFT_BEHIND_MS = 90 * 86_400_000
#: Events that no store can hold, one JSON object a line.
ASIDE = "unstorable.jsonl"


class DrainLock:
    """The lock file of a journal folder: one drainer at a time, freed by the kernel when it dies."""

    def __init__(self, folder: Path, name: str = "drain.lock") -> None:
        self.path = folder / name
        self._file: IO[bytes] | None = None
        in_forked_child(self.release)

    def take(self) -> bool:
        """Try to become the drainer; True when we are."""
        if self._file is not None:
            return True
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = os.fdopen(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600), "r+b")
        except OSError:
            return False
        if not lock(file.fileno()):
            file.close()
            return False
        self._file = file
        return True

    def is_taken(self) -> bool:
        """Tell whether another process holds the lock now."""
        try:
            return is_locked(self.path)
        except OSError:
            return False

    def release(self) -> None:
        """Let another process drain."""
        if self._file is not None:
            self._file.close()
        self._file = None


@dataclass
class Drain:
    """Move what the journal in *folder* holds into the store that *open_store* gives.

    A drain that goes ``first`` (a process of its own) takes over from the site's workers. ``batch``
    is the most events in one transaction; ``breath_s`` the pause after each. ``keep_days`` bounds
    the age of raw rows: they are pruned in small steps while draining.
    """

    folder: Path
    open_store: Callable[[], Store]
    batch: int = OUTSIDE_BATCH
    breath_s: float = 0.0
    keep_days: int | None = None
    first: bool = False
    trouble: str | None = None
    sync_trouble: str | None = None
    last_pass: float = 0.0
    _store: Store | None = None
    _guard: threading.Lock = field(default_factory=threading.Lock)
    _prune_at: float = field(default_factory=lambda: time.monotonic() + PRUNE_FIRST_S)
    _is_behind: bool = True
    _refresh_at: float = 0.0
    _synced: dict[Path, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.lock = DrainLock(self.folder)
        self.precedence = DrainLock(self.folder, "drain.first")
        self.clock = Clock(self.folder, leap_allowed_ms(self.keep_days or 0))

    def run_once(self, *, within_s: float = float("inf")) -> int | None:
        """Move all there is, or as much as *within_s* allows; None when another process drains.

        Raises StoreError; what was taken in before stays.
        """
        with self._guard:
            if self._gives_way() or not self.lock.take():
                return None
            self.last_pass = time.monotonic()
            try:
                moved = self._move_all(time.monotonic() + within_s)
                self._refresh(moved, within_s)
                self._prune()
            except StoreError as error:
                self.trouble = str(error)
                raise
            self.trouble = None
            return moved

    def _gives_way(self) -> bool:
        """Let go of the lock when a drain that goes first has come."""
        if self.first:
            self.precedence.take()
            return False
        taken = self.precedence.is_taken()
        if taken:
            self.lock.release()
        return taken

    def let_others(self) -> None:
        """Let another process drain; the store stays open."""
        with self._guard:
            self.lock.release()

    def close(self) -> None:
        """Close the store and let others drain."""
        with self._guard:
            if self._store is not None:
                self._store.close()
            self._store = None
            self.lock.release()
            self.precedence.release()

    def _move_all(self, deadline: float) -> int:
        paths = segment_paths(self.folder)
        if not paths:
            return 0
        store = self._store = self._store or self._open()
        marks = store.watermarks()
        moved = 0
        for path in paths:
            moved += self._move_segment(store, path, marks.get(path.stem, (0, 0))[0], deadline)
            if time.monotonic() > deadline:
                break
        self._forget_removed(store, marks, {path.stem for path in paths})
        return moved

    def _open(self) -> Store:
        store = self.open_store()
        if self.keep_days is not None:
            self.clock.begin(_newest_ms(store))
        return store

    def _move_segment(self, store: Store, path: Path, taken: int, deadline: float) -> int:
        try:
            sealed = is_sealed(path)
            if taken == 0 and read_header(path).get("v", FORMAT_VERSION) > FORMAT_VERSION:
                warn_once_a_minute(
                    "newer", "clickmw: %s was written by a later clickmw and is left to it", path
                )
                return 0
        except OSError:  # removed by another drain
            return 0
        moved = 0
        while time.monotonic() <= deadline:
            records = read_records(path, taken, most=self.batch, sealed=sealed)
            if not records:
                if sealed:
                    self._remove(store, path, taken)
                return moved
            moved += self._take_in(store, path.stem, taken, records)
            taken = records[-1].end
            if self.breath_s and len(records) > 1:
                time.sleep(self.breath_s)
        return moved

    def _take_in(self, store: Store, segment: str, start: int, records: Sequence[Record]) -> int:
        """Append *records*; one that no store can hold is found and stops none of the others."""
        try:
            return store.append(segment, start, records[-1].end, records)
        except BadEvent as error:
            if len(records) == 1:
                return self._set_aside(store, segment, records[0], error)
        half = len(records) // 2
        first = self._take_in(store, segment, start, records[:half])
        return first + self._take_in(store, segment, records[half].start, records[half:])

    def _set_aside(self, store: Store, segment: str, record: Record, error: BadEvent) -> int:
        """Append what can be kept of *record*, count the rest as dropped and keep it in a file."""
        for index in range(len(record.events)):
            rest = record.events[:index] + record.events[index + 1 :]
            with contextlib.suppress(BadEvent):
                moved = store.append(segment, record.start, record.end, [_without(record, rest)])
                _keep_aside(self.folder, record.events[index : index + 1], error)
                return moved
        store.append(segment, record.start, record.end, [_without(record, ())])
        _keep_aside(self.folder, record.events, error)
        return 0

    def _remove(self, store: Store, path: Path, taken: int) -> None:
        """Remove a finished segment, after the commit that finished it is on disk."""
        store.append(path.stem, taken, taken, (), on_disk=True)
        sync_folder(self.folder)
        path.unlink(missing_ok=True)
        sync_folder(self.folder)
        store.forget_segment(path.stem)

    def _forget_removed(self, store: Store, marks: Iterable[str], present: set[str]) -> None:
        """Drop watermarks that a crash left behind; other folders' live segments are far younger.

        Those of other hosts may be of any age: a host may be away for months.
        """
        if store.shared:
            return
        oldest_ms = self.clock.believed_ms() - LEFT_BEHIND_MS
        for segment in set(marks) - present:
            if int(segment.partition("-")[0]) < oldest_ms:
                store.forget_segment(segment)

    def _refresh(self, moved: int, within_s: float) -> None:
        """Let the store catch up with what was moved, for a share of the time: moving goes first."""
        self._is_behind |= moved > 0
        if self._store is None or not self._is_behind or time.monotonic() < self._refresh_at:
            return
        begun = time.monotonic()
        self._is_behind = not self._store.refresh(min(within_s, REFRESH_S))
        self._refresh_at = time.monotonic() + 2 * (time.monotonic() - begun)

    def _prune(self) -> None:
        if self.keep_days is None or time.monotonic() < self._prune_at:
            return
        if not self.clock.look():
            self._prune_at = time.monotonic() + PRUNE_EVERY_S
            warn_once_a_minute("clock", "clickmw: %s. Run: clickmw doctor", self.clock.doubt())
            return
        if self._store is None:
            self._prune_at = time.monotonic() + PRUNE_EVERY_S
            return
        before_ms = time.time_ns() // 1_000_000 - self.keep_days * 86_400_000
        if self._store.prune(before_ms, limit=PRUNE_ROWS) < PRUNE_ROWS:
            self._prune_at = time.monotonic() + PRUNE_EVERY_S
        with contextlib.suppress(OSError):
            aside = self.folder / ASIDE
            if aside.stat().st_mtime * 1000 < before_ms:
                aside.unlink()

    def sync_segments(self) -> None:
        """Bring what the journal holds to disk: a power cut then costs a second at most."""
        sizes: dict[Path, int] = {}
        trouble = None
        for path in segment_paths(self.folder):
            try:
                size = path.stat().st_size
                if self._synced.get(path) != size:
                    _sync_file(path)
                sizes[path] = size
            except FileNotFoundError:  # removed by a drain
                pass
            except OSError as error:
                trouble = unsynced(error)
        if sizes.keys() - self._synced.keys():
            with contextlib.suppress(OSError):
                sync_folder(self.folder)
        self._synced, self.sync_trouble = sizes, trouble


class Worker:
    """Drain in the background of a web worker: a daemon thread, started by the first event.

    Every process gets its own thread: threads do not survive a fork. Where threads are not to be
    had (uWSGI without ``--enable-threads``) the end of an answer drains instead.
    """

    def __init__(self, drain: Drain, journal: Journal, each_hour: Callable[[], None]) -> None:
        self.drain = drain
        self.journal = journal
        self.each_hour = each_hour
        self._hour = float("-inf")  # the first hour begins with the first drain
        self.has_threads = _has_threads()
        self._pid = 0
        self._threads: list[threading.Thread] = []
        self._willing = 0
        self._stopped = False
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._starting = threading.Lock()
        in_forked_child(self._begin_anew)

    def on_write(self) -> None:
        """Make sure that somebody drains in this process."""
        if not self._pid:
            self._start()

    def _start(self) -> None:
        if not self._starting.acquire(blocking=False):
            return
        try:
            if self._pid == os.getpid():
                return
            self._pid = os.getpid()
            if self._willing != self._pid:
                self._willing = self._pid
                atexit.register(self._last_will, self._pid)
            if self.has_threads:
                self._start_threads()
        except RuntimeError as error:  # the machine has no thread left
            self.has_threads = False
            warn_once_a_minute("thread", "clickmw: answers drain the journal: %s", error)
        finally:
            self._starting.release()

    def _start_threads(self) -> None:
        """Start those of our threads that do not run: all of them, or one that died."""
        jobs = {"clickmw-drain": self._run}
        if not self.journal.durable:
            jobs["clickmw-sync"] = self._keep_on_disk
        alive = [thread for thread in self._threads if thread.is_alive()]
        for name in jobs.keys() - {thread.name for thread in alive}:
            thread = threading.Thread(target=self._work, args=(jobs[name],), name=name, daemon=True)
            thread.start()
            alive.append(thread)
        self._threads = alive

    def _work(self, job: Callable[[], None]) -> None:
        """Do *job* until we are closed; should the thread die of something else, the next event starts another."""
        try:
            job()
        finally:
            if not self._stopped and self._pid == os.getpid():
                self._threads = [t for t in self._threads if t is not threading.current_thread()]
                self._pid = 0

    def _begin_anew(self) -> None:
        """In a forked child: the parent's locks may be held, and its connection is not ours."""
        self._pid = 0
        self._threads = []
        self._starting = threading.Lock()
        self._wake = threading.Event()
        self._closing = threading.Event()
        _inherited.append(self.drain)
        self.drain = _fresh(self.drain)

    def _run(self) -> None:
        pause = PAUSE_S
        while not self._stopped:
            self._wake.wait(pause)
            self._wake.clear()
            pause = self._step(pause)

    def _keep_on_disk(self) -> None:
        """Sync the journal at even intervals: a drain may have to wait long for a locked database."""
        while not self._stopped:
            try:
                self.drain.sync_segments()
            except Exception:
                log.exception("clickmw: the journal could not be synced")
            self._closing.wait(SYNC_S)

    def _step(self, pause: float) -> float:
        """Drain once; return how long to wait before the next time."""
        try:
            self.journal.write_tallies()
            begun = time.monotonic()
            moved = self.drain.run_once(within_s=PASS_S)
            self._keep_hours()
            if time.monotonic() - begun > PASS_S:
                return BREATH_S  # there is more
            return PAUSE_S if moved is not None else 5 * PAUSE_S
        except StoreError as error:
            warn_once_a_minute("store", "clickmw: %s", error)
            return min(max(pause * 2, PAUSE_S), 5.0)
        except Exception:
            log.exception("clickmw: the drain failed; events wait in the journal")
            return FAILED_S

    def _keep_hours(self) -> None:
        if time.monotonic() - self._hour > 3600.0:
            self._hour = time.monotonic()
            self.each_hour()

    def after_answer(self) -> None:
        """Drain at the end of an answer where no thread does, or where threads are frozen."""
        late = time.monotonic() - self.drain.last_pass > (1.0 if not self.has_threads else 5.0)
        if not late:
            return
        try:
            self.journal.write_tallies()
            if not self.has_threads and not self.journal.durable:
                self.drain.sync_segments()
            self.drain.run_once(within_s=0.25)
            if not self.has_threads:
                self.drain.let_others()  # who answers next drains next
        except StoreError as error:
            warn_once_a_minute("store", "clickmw: %s", error)
        except Exception:
            log.exception("clickmw: the drain failed; events wait in the journal")

    def catch_up(self, within_s: float = 0.25) -> None:
        """Bring the store up to date before it is read, as far as *within_s* goes."""
        self.on_write()
        self.journal.write_tallies()
        deadline = time.monotonic() + within_s
        moved = self.drain.run_once(within_s=within_s)
        while moved is None and self._is_behind() and time.monotonic() < deadline:
            time.sleep(0.01)

    def _is_behind(self) -> bool:
        closing = contextlib.closing
        with contextlib.suppress(StoreError), contextlib.ExitStack() as stack:
            store = self.drain._store or stack.enter_context(closing(self.drain.open_store()))
            reader = stack.enter_context(closing(store.reader()))
            return pending(self.drain.folder, reader.watermarks()) > 0
        return False

    def close(self) -> None:
        """End the thread and let go of journal and store; what is left waits for the next start."""
        self._stopped = True
        self._wake.set()
        self._closing.set()
        for thread in self._threads:
            thread.join(5.0)
        self.journal.close()
        self.drain.close()

    def _last_will(self, pid: int) -> None:
        """At a normal exit: tallies to disk, two seconds of draining at most."""
        if pid != os.getpid():
            return
        if self._stopped and not self.drain.folder.is_dir():
            return  # it was taken away since, on purpose
        self.journal.write_tallies()
        segment = self.journal.segment
        self.journal.close()
        end = time.monotonic() + 2.0
        with contextlib.suppress(Exception):
            # Another process that drains may be ending too, and have looked at our segment before.
            while self.drain.run_once(within_s=2.0) is None and segment and segment.exists():
                if time.monotonic() > end:
                    break
                time.sleep(0.05)
            self.drain.close()


def _sync_file(path: Path) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        sync(file)
    finally:
        os.close(file)


#: Closing a connection of the parent would disturb it: what was inherited is kept, never used.
_inherited: list[Drain] = []


def _fresh(drain: Drain) -> Drain:
    return Drain(drain.folder, drain.open_store, drain.batch, drain.breath_s, drain.keep_days)


def _has_threads() -> bool:
    uwsgi: Any = sys.modules.get("uwsgi")
    return uwsgi is None or bool(uwsgi.opt.get("enable-threads"))


def _newest_ms(store: Store) -> int | None:
    """Return when the newest event of *store* came; None where there is none yet."""
    with contextlib.suppress(StoreError):
        reader = store.reader()
        try:
            return reader.ledger().get("last_event_ms")
        finally:
            reader.close()
    return None


def _without(record: Record, rest: Sequence[Stored]) -> Record:
    """Return *record* with the events *rest* only; the others are dropped."""
    dropped = {"dropped.unstorable": len(record.events) - len(rest)}
    return record._replace(events=tuple(rest), tallies=dropped)


def _keep_aside(folder: Path, events: Sequence[Stored], error: BadEvent) -> None:
    """Append *events* to a file for whoever wants to know; the journal goes on without them."""
    warn_once_a_minute("unstorable", "clickmw: an event cannot be stored: %s", error)
    with contextlib.suppress(OSError):
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        with os.fdopen(os.open(folder / ASIDE, flags, 0o600), "w") as file:
            for stored in events:
                file.write(f'{{"error":{json.dumps(str(error))},"event":{_line(stored)}}}\n')


def _line(stored: Stored) -> str:
    return encode_events((stored.event,))[1:-1]


def pending(folder: Path, marks: Mapping[str, tuple[int, int]]) -> int:
    """Return how many events lie in *folder* past the store's watermarks."""
    count = 0
    for path in segment_paths(folder):
        with contextlib.suppress(OSError):
            count += tail(path, *marks.get(path.stem, (0, 0))).pending
    return count


def waiting_s(folder: Path, marks: Mapping[str, tuple[int, int]]) -> float:
    """Return for how many seconds the oldest event in *folder* has waited to be taken in; 0 for none."""
    oldest_ms = min(
        (each for path in segment_paths(folder) for each in _first_waiting_ms(path, marks)),
        default=None,
    )
    return 0.0 if oldest_ms is None else max(0.0, time.time() - oldest_ms / 1000)


def _first_waiting_ms(path: Path, marks: Mapping[str, tuple[int, int]]) -> Iterator[int]:
    with contextlib.suppress(OSError):
        for record in read_records(path, marks.get(path.stem, (0, 0))[0], most=1, sealed=False):
            # What was imported is older than its segment, and has not waited for so long.
            created_ms = int(path.stem.partition("-")[0])
            yield from (max(each.event.received_ms, created_ms) for each in record.events[:1])
