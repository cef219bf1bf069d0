"""The drain: every event of the journal reaches the store once."""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from clickmw import drain as drain_module
from clickmw import journal as journal_module
from clickmw.drain import Drain, DrainLock, Worker, pending
from clickmw.errors import StoreError
from clickmw.events import Click
from clickmw.health import difference, read_health
from clickmw.journal import Journal, read_records, segment_paths
from clickmw.stores.base import StoreOptions
from clickmw.stores.sqlite import SQLiteStore

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the lock file is POSIX only")

CLICK = Click(1_750_000_000_000, "default", "https://example.org/a", 3, "BWEB")


class Install:
    """A journal, a database and the drain between them."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "clicks.db"
        self.journal = Journal(folder / "journal")
        self.drain = Drain(self.journal.folder, self.open_store)
        self.store = self.open_store()

    def open_store(self) -> SQLiteStore:
        return SQLiteStore(self.path, StoreOptions())

    def write(self, count: int, start: int = 0) -> None:
        for number in range(start, start + count):
            self.journal.write((CLICK._replace(url=f"/{number}"),))

    def urls(self) -> list[str]:
        with closing(sqlite3.connect(self.path)) as connection:
            return [
                url for (url,) in connection.execute("SELECT url FROM clicks ORDER BY event_id")
            ]

    def health(self) -> dict[str, Any]:
        return read_health(self.store, self.journal, self.drain)

    def close(self) -> None:
        self.journal.close()
        self.drain.close()
        self.store.close()


@pytest.fixture
def install(tmp_path: Path) -> Iterator[Install]:
    made = Install(tmp_path)
    yield made
    made.close()


def numbered(count: int) -> list[str]:
    return [f"/{number}" for number in range(count)]


# -- what is moved -------------------------------------------------------------------------------


def test_everything_is_moved_in_order(install: Install) -> None:
    install.write(25)
    assert install.drain.run_once() == 25
    assert install.urls() == numbered(25)


def test_a_second_pass_moves_only_what_is_new(install: Install) -> None:
    install.write(3)
    install.drain.run_once()
    install.write(2, start=3)
    assert install.drain.run_once() == 2
    assert install.urls() == numbered(5)


def test_nothing_is_opened_while_there_is_nothing_to_move(install: Install) -> None:
    assert install.drain.run_once() == 0
    assert not install.path.exists()


@pytest.mark.parametrize("batch", [1, 2, 7, 100])
def test_any_batch_size_moves_the_same(install: Install, batch: int) -> None:
    for number in range(20):
        install.journal.write((CLICK._replace(url=f"/{number}"),) * (number % 3 + 1))
    install.drain.batch = batch
    assert install.drain.run_once() == sum(number % 3 + 1 for number in range(20))


def test_a_segment_of_a_living_writer_stays(install: Install) -> None:
    install.write(1)
    install.drain.run_once()
    assert len(segment_paths(install.journal.folder)) == 1


def test_a_finished_segment_is_removed_with_its_watermark(install: Install) -> None:
    install.write(3)
    install.journal.close()
    install.drain.run_once()
    assert segment_paths(install.journal.folder) == []
    assert install.store.watermarks() == {}
    assert install.urls() == numbered(3)


def test_a_pass_ends_when_its_time_is_over(install: Install) -> None:
    install.write(50)
    install.drain.batch = 1
    assert install.drain.run_once(within_s=0.0) in (0, 1)
    install.drain.run_once()
    assert install.urls() == numbered(50)


def test_pending_counts_what_the_store_does_not_have(install: Install) -> None:
    install.write(3)
    assert pending(install.journal.folder, {}) == 3
    install.drain.run_once()
    install.write(2)
    assert pending(install.journal.folder, install.store.watermarks()) == 2


def test_a_drain_that_looks_before_a_new_segment_is_locked_leaves_it(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = journal_module.lock

    def lock_late(file: int) -> bool:
        monkeypatch.setattr(journal_module, "lock", lock)
        monkeypatch.setattr(journal_module, "_live_here", set())  # the drain is another process
        install.drain.run_once()
        return lock(file)

    monkeypatch.setattr(journal_module, "lock", lock_late)
    install.write(3)
    install.drain.run_once()
    assert install.urls() == numbered(3)


# -- damage --------------------------------------------------------------------------------------


def test_what_damage_took_is_counted_as_torn(install: Install) -> None:
    for _ in range(4):
        install.journal.write((CLICK, CLICK, CLICK))
    (path,) = segment_paths(install.journal.folder)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b"example", b"exemple", 1)
    path.write_bytes(b"".join(lines))
    assert difference(install.health()) == 0
    install.drain.run_once()
    health = install.health()
    assert (health["stored"], health["dropped"]) == (9, {"torn": 3})
    assert difference(health) == 0


def test_damage_is_counted_across_batches(install: Install) -> None:
    install.write(6)
    (path,) = segment_paths(install.journal.folder)
    lines = path.read_bytes().splitlines(keepends=True)
    for number in (2, 3):
        lines[number] = lines[number].replace(b"default", b"defaulx")
    path.write_bytes(b"".join(lines))
    install.drain.batch = 1
    install.drain.run_once()
    health = install.health()
    assert (health["stored"], health["dropped"], difference(health)) == (4, {"torn": 2}, 0)


def test_a_segment_of_a_later_format_is_left_to_it(install: Install) -> None:
    install.journal.folder.mkdir()
    path = install.journal.folder / "1750000000000-00000000aa.clicks"
    line = b'0 0 {"v":99}\n'
    path.write_bytes(b"%08x %b" % (crc32(line), line))
    install.write(2)
    install.drain.run_once()
    assert path.exists()
    assert install.urls() == numbered(2)


def _line(running: int, count: int, body: str) -> bytes:
    line = f"{running} {count} {body}\n".encode()
    return b"%08x %b" % (crc32(line), line)


UNSTORABLE = {
    "a-visitor-that-is-no-hash": CLICK._replace(visitor="zz"),
    "a-number-too-large": CLICK._replace(position=2**70),
    "a-position-that-is-text": CLICK._replace(position="one"),  # type: ignore[arg-type]
    "half-a-character": CLICK._replace(url="/\ud800"),
    "no-url": CLICK._replace(url=None),  # type: ignore[arg-type]
    "a-bad-query-id": CLICK._replace(query_id="short"),
    "a-time-out-of-this-world": CLICK._replace(received_ms=10**17),
}


@pytest.mark.parametrize("event", UNSTORABLE.values(), ids=UNSTORABLE.keys())
def test_an_event_that_cannot_be_stored_stops_no_other(install: Install, event: Click) -> None:
    install.write(3)
    install.journal.write((CLICK._replace(url="/beside"), event))
    install.write(3, start=3)
    install.drain.run_once()
    health = install.health()
    assert install.urls() == ["/0", "/1", "/2", "/beside", "/3", "/4", "/5"]
    assert health["dropped"] == {"unstorable": 1}
    assert difference(health) == 0
    assert install.store.check() == []


def test_an_event_that_cannot_be_stored_is_set_aside(install: Install) -> None:
    install.write(1)
    install.journal.write((UNSTORABLE["a-bad-query-id"],))
    install.drain.run_once()
    path = install.journal.folder / "unstorable.jsonl"
    (line,) = path.read_text().splitlines()
    assert json.loads(line)["event"][0] == "c"
    assert path.stat().st_mode & 0o777 == 0o600


# -- the store is away ---------------------------------------------------------------------------


def test_nothing_is_lost_while_the_store_is_away(install: Install) -> None:
    install.write(3)
    install.path.mkdir()
    with pytest.raises(StoreError):
        install.drain.run_once()
    install.write(3, start=3)
    health = install.health()
    assert (health["status"], health["pending"], difference(health)) == ("degraded", 6, 0)
    install.path.rmdir()
    assert install.drain.run_once() == 6
    assert install.health()["status"] == "ok"


def test_nothing_is_lost_when_the_store_goes_away_in_between(install: Install) -> None:
    install.write(3)
    install.drain.run_once()
    kept = install.path.rename(install.path.with_suffix(".away"))
    install.path.mkdir()
    install.write(3, start=3)
    with pytest.raises(StoreError):
        install.drain.run_once()
    install.path.rmdir()
    kept.rename(install.path)
    install.drain.run_once()
    assert install.urls() == numbered(6)
    assert difference(install.health()) == 0


def test_a_locked_store_is_waited_for(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install.write(1)
    install.drain.run_once()
    install.write(1, start=1)
    with closing(sqlite3.connect(install.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        thread = threading.Thread(target=install.drain.run_once)
        thread.start()
        thread.join(0.3)
        assert thread.is_alive()
        other.execute("ROLLBACK")
    thread.join(10.0)
    assert install.urls() == numbered(2)


def test_a_file_that_is_no_database_is_left_alone(install: Install) -> None:
    install.path.write_text("the user's own notes " * 100)
    install.write(1)
    with pytest.raises(StoreError):
        install.drain.run_once()
    assert install.path.read_text() == "the user's own notes " * 100


# -- durability ----------------------------------------------------------------------------------


def test_a_segment_is_removed_only_after_a_commit_that_is_on_disk(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    install.write(3)
    install.journal.close()
    store = install.drain._store = install.open_store()
    store.migrate()
    store._writer().set_trace_callback(lambda sql: steps.append(" ".join(sql.split()[:4])))
    unlink = Path.unlink
    monkeypatch.setattr(
        Path, "unlink", lambda self, **how: steps.append("removed") or unlink(self, **how)
    )
    install.drain.run_once()
    before = steps[: steps.index("removed")]
    last_commit = len(before) - before[::-1].index("COMMIT")
    pragmas = [step for step in before[:last_commit] if step.startswith("PRAGMA synchronous")]
    assert pragmas[-1] == "PRAGMA synchronous = FULL"
    assert "BEGIN IMMEDIATE" in before[before.index("PRAGMA synchronous = FULL") :]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_commit_that_finishes_a_segment_reaches_the_file(install: Install) -> None:
    install.write(3)
    install.drain.run_once()
    wal = install.path.with_name("clicks.db-wal")
    before = wal.stat().st_size
    (path,) = segment_paths(install.journal.folder)
    taken = install.store.watermarks()[path.stem][0]
    install.store.append(path.stem, taken, taken, (), on_disk=True)
    assert wal.stat().st_size > before  # SQLite syncs a commit only when it wrote something


# -- pruning -------------------------------------------------------------------------------------


def test_old_events_are_pruned_by_a_drain_that_lives_for_a_minute(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_ms = time.time_ns() // 1_000_000
    monkeypatch.setattr(drain_module, "PRUNE_FIRST_S", 0.0)
    install.drain = Drain(install.journal.folder, install.open_store, keep_days=10)
    install.journal.write((CLICK._replace(received_ms=now_ms - 11 * 86_400_000, url="/old"),))
    install.journal.write((CLICK._replace(received_ms=now_ms - 9 * 86_400_000, url="/new"),))
    install.drain.run_once()
    assert install.urls() == ["/new"]
    assert install.store.check() == []


def test_what_was_set_aside_is_kept_no_longer_than_events(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drain_module, "PRUNE_FIRST_S", 0.0)
    install.drain = Drain(install.journal.folder, install.open_store, keep_days=10)
    install.write(1)
    aside = install.journal.folder / "unstorable.jsonl"
    aside.touch()
    os.utime(aside, (0, 0))
    install.drain.run_once()
    assert not aside.exists()


# -- who drains ----------------------------------------------------------------------------------


def test_one_drain_at_a_time(tmp_path: Path) -> None:
    first, second = DrainLock(tmp_path), DrainLock(tmp_path)
    assert (first.take(), second.take()) == (True, False)
    first.release()
    assert second.take()
    second.release()


def test_the_drain_leaves_its_place_when_it_is_closed(install: Install) -> None:
    install.drain.run_once()
    other = Drain(install.journal.folder, install.open_store)
    assert other.run_once() is None
    install.drain.close()
    assert other.run_once() == 0
    other.close()


DRAINER = """
import sys, time
from pathlib import Path
from clickmw.drain import Drain
from clickmw.stores.base import StoreOptions
from clickmw.stores.sqlite import SQLiteStore
folder = Path(sys.argv[1])
drain = Drain(folder / "journal", lambda: SQLiteStore(folder / "clicks.db", StoreOptions()), int(sys.argv[2]), float(sys.argv[3]))
print("go", flush=True)
for _ in range(int(sys.argv[4])):
    moved = drain.run_once()
    drain.close()
"""


def test_two_processes_that_drain_at_once_store_nothing_twice(
    install: Install, run_python: Callable[..., Any]
) -> None:
    install.write(3000)
    drainers = [run_python(DRAINER, install.path.parent, 20, 0, 100) for _ in range(2)]
    assert [drainer.wait(120) for drainer in drainers] == [0, 0]
    install.drain.run_once()
    assert install.urls() == numbered(3000)


# -- in the background of a worker ---------------------------------------------------------------


def worker_of(install: Install) -> Worker:
    return Worker(install.drain, install.journal, lambda: None)


def eventually(holds: Callable[[], bool]) -> bool:
    end = time.monotonic() + 60.0
    while not (held := holds()) and time.monotonic() < end:
        time.sleep(0.02)
    return held


def test_a_worker_drains_by_itself_after_its_first_event(install: Install) -> None:
    worker = worker_of(install)
    install.write(3)
    worker.on_write()
    assert eventually(lambda: install.health()["stored"] == 3)
    worker.close()


def test_a_worker_writes_tallies_by_itself(install: Install) -> None:
    worker = worker_of(install)
    install.journal.tally("opted_out", 2)
    worker.on_write()
    assert eventually(
        lambda: install.health()["opted_out"] == 2 and not install.health()["pending"]
    )
    worker.close()
    assert difference(install.health()) == 0


def test_a_worker_goes_on_after_a_failure_of_ours(
    install: Install, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    worker = worker_of(install)
    failures = iter([ZeroDivisionError("a bug")])
    real = install.drain.run_once

    def run_once(**how: Any) -> int | None:
        for failure in failures:
            raise failure
        return real(**how)

    monkeypatch.setattr(install.drain, "run_once", run_once)
    install.write(1)
    assert worker._step(0.2) > 0.2
    assert "events wait in the journal" in caplog.text
    worker._step(0.2)
    assert install.urls() == numbered(1)
    worker.close()


def test_where_no_thread_can_be_started_answers_drain(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    worker = worker_of(install)
    install.write(1)
    worker.on_write()
    assert not worker.has_threads

    def answered() -> bool:
        worker.after_answer()
        return install.urls() == numbered(1)

    assert eventually(answered)
    worker.close()


def test_a_failure_of_ours_at_the_end_of_an_answer_stays_ours(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = worker_of(install)
    monkeypatch.setattr(install.drain, "run_once", lambda **how: 1 / 0)
    worker.after_answer()
    worker.close()


def test_a_reader_waits_for_the_drain_of_another_process(
    install: Install, run_python: Callable[..., Any]
) -> None:
    install.write(2)
    drainer = run_python(DRAINER, install.path.parent, 100, 0, 1)
    drainer.wait(120)
    worker_of(install).catch_up(within_s=60.0)
    assert install.urls() == numbered(2)


WITHOUT_THREADS = """
import sys, threading, types
from pathlib import Path
sys.modules["uwsgi"] = types.ModuleType("uwsgi")
sys.modules["uwsgi"].opt = {}
from clickmw import ClickMW
from clickmw.events import new_query_id
from clickmw.recorder import now_ms
from clickmw.tokens import LinkTarget
folder = Path(sys.argv[1])
clicks = ClickMW(lambda environ, start: [], secret="s" * 32, store=f"sqlite:///{folder}/clicks.db", journal=str(folder / "journal"))
link = clicks.door.signer.sign_link(LinkTarget("", new_query_id(now_ms()), 1, "BWEB", "", "https://example.org/"))
environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/_clicks/r/" + link, "REMOTE_ADDR": "203.0.113.5", "HTTP_USER_AGENT": "Mozilla/5.0 Firefox/140.0"}
answer = clicks(environ, lambda status, headers: print(status))
before = (folder / "clicks.db").exists()
list(answer)
answer.close()
import sqlite3, time
count = lambda: sqlite3.connect(folder / "clicks.db").execute("SELECT count(*) FROM clicks").fetchone()[0]
end = time.monotonic() + 60
while not count() and time.monotonic() < end:  # a slow machine needs more than one answer's quarter of a second
    clicks.door.worker.after_answer()
print(before, threading.active_count(), count())
"""


def test_without_threads_the_end_of_an_answer_drains(
    tmp_path: Path, run_python: Callable[..., Any]
) -> None:
    output = run_python(WITHOUT_THREADS, tmp_path).communicate(timeout=120)[0]
    assert output.split() == ["302", "Found", "False", "1", "1"]


def test_without_threads_no_process_keeps_the_drain_to_itself(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drain_module, "_has_threads", lambda: False)
    worker = worker_of(install)
    install.write(1)
    worker.after_answer()
    other = Drain(install.journal.folder, install.open_store)
    assert other.run_once() is not None
    other.close()
    worker.close()


LAST_WILL = """
import sys
from pathlib import Path
from clickmw.drain import Drain, Worker
from clickmw.events import Click
from clickmw.journal import Journal
from clickmw.stores.base import StoreOptions
from clickmw.stores.sqlite import SQLiteStore
folder = Path(sys.argv[1])
journal = Journal(folder / "journal")
worker = Worker(Drain(folder / "journal", lambda: SQLiteStore(folder / "clicks.db", StoreOptions())), journal, lambda: None)
worker.on_write()
journal.write((Click(1, "default", "/0"),))
journal.tally("opted_out", 5)
"""


def test_a_normal_exit_leaves_nothing_behind(
    install: Install, run_python: Callable[..., Any]
) -> None:
    assert run_python(LAST_WILL, install.path.parent).wait(120) == 0
    assert segment_paths(install.journal.folder) == []
    assert install.urls() == numbered(1)
    assert install.health()["opted_out"] == 5


def test_read_records_and_the_store_agree_on_offsets(install: Install) -> None:
    install.write(5)
    install.drain.run_once()
    (path,) = segment_paths(install.journal.folder)
    taken, running = install.store.watermarks()[path.stem]
    assert (taken, running) == (path.stat().st_size, 5)
    assert read_records(path, taken, most=10, sealed=False) == []


def test_a_drain_of_its_own_takes_over_from_a_worker(install: Install) -> None:
    install.write(3)
    assert install.drain.run_once() == 3
    own = Drain(install.drain.folder, install.drain.open_store, first=True)
    assert own.run_once() is None
    assert install.drain.run_once() is None
    install.write(2)
    assert own.run_once() == 2
    own.close()
    install.write(1)
    assert install.drain.run_once() == 1
