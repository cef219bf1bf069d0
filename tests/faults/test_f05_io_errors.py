"""F-05: the disk fails at a write.

A record that was not written whole leaves nothing behind and is counted as dropped; the journal and the drain try again, and go
on when the disk does. Whichever system call fails, the ledger adds up and nothing is stored twice. (What the disk of a server does is
its own affair; here its store fails at every second call.)
"""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from clickmw.errors import StoreError
from clickmw.events import Click

#: The tests run on each of these kinds of store.
STORES = ("sqlite", "postgresql", "clickhouse")


@contextmanager
def files_no_longer_than(size: int) -> Iterator[None]:
    """Let writes beyond *size* fail (Python ignores the signal that comes with it)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.stores("sqlite")
def test_f05_while_nothing_can_be_written_links_lead_on_and_losses_are_counted(site: Any) -> None:
    site.follow(5)
    site.door.worker.catch_up()
    with files_no_longer_than(0):
        site.follow(20)
        site.stands()
        assert site.health()["status"] == "failing"
        assert "cannot be written" in site.causes()
    site.follow(5)
    ledger = site.settle()
    assert ledger["dropped"]["disk_full"] >= 20
    assert set(site.followed[-5:]) <= set(site.stored())
    assert set(site.stored().values()) == {1}


@pytest.mark.stores("sqlite")
def test_f05_a_database_that_cannot_be_written_leaves_events_in_the_journal(site: Any) -> None:
    site.follow(5)
    site.close()
    drain = site.drain()
    drain.run_once()
    size = site.database.stat().st_size
    for number in range(3000):
        site.journal.write((Click(1_750_000_000_000, "default", f"/{number}"),))
    with files_no_longer_than(size), pytest.raises(StoreError):
        drain.run_once()
    assert site.health()["pending"] > 0
    assert site.health()["dropped"] == {}
    drain.run_once()
    drain.close()
    assert site.settle()["stored"] == 3005


DRAINER = """
import sys
from pathlib import Path
from clickmw.drain import Drain
from clickmw.errors import StoreError
from clickmw.stores import open_store
from clickmw.stores.base import StoreOptions
folder = Path(sys.argv[1])
drain = Drain(folder / "journal", lambda: open_store(f"sqlite:///{folder}/clicks.db", StoreOptions()), 20)
try:
    drain.run_once()
except (StoreError, OSError) as error:
    print("waited out")
else:
    print("done")
"""
#: What the drain and SQLite call to change anything.
CALLS = ("pwrite64", "fdatasync", "fsync", "unlink", "ftruncate", "openat", "mmap", "flock")


@pytest.mark.stores("sqlite")
@pytest.mark.parametrize(
    ("call", "error"),
    [(call, "EIO") for call in CALLS[:5]] + [("pwrite64", "ENOSPC"), ("openat", "EMFILE")],
    ids=lambda word: str(word),
)
@pytest.mark.parametrize(
    "first", [1, 3, *(pytest.param(n, marks=pytest.mark.long) for n in (2, *range(4, 20)))]
)
def test_f05_whichever_call_of_a_drain_fails_nothing_is_lost_or_doubled(
    call: str, error: str, first: int, site: Any, strace: str
) -> None:
    for number in range(60):
        site.journal.write((Click(1_750_000_000_000, "default", f"/{number}"),))
    site.close()
    site.door.store.migrate()  # the modules it loads would be the first files to fail
    site.door.store.close()
    inject = f"{call}:error={error}:when={first}"
    if call == "openat":  # only files of ours: not those that Python is made of
        inject = f"openat:error={error}:when={first}+3"
    command = [strace, "-f", "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={inject}"]
    if call != "openat":
        command += [part for path in _paths(site) for part in ("-P", str(path))]
    else:
        command += ["-P", str(site.database), "-P", f"{site.database}-wal"]
    drained = subprocess.run(
        [*command, sys.executable, "-c", DRAINER, str(site.folder)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=Path(__file__).parents[2],
    )
    assert drained.stdout.strip() in ("done", "waited out"), drained.stderr
    assert site.settle()["stored"] == 60
    assert set(site.stored().values()) == {1}


def _paths(site: Any) -> list[Path]:
    database = site.database
    beside = [database.with_name(database.name + end) for end in ("-wal", "-shm", "-journal")]
    return [database, *beside, site.folder, site.journal.folder, *site.journal.folder.iterdir()]


def test_f05_a_page_goes_on_whatever_a_failing_store_says(
    site: Any, monkeypatch: pytest.MonkeyPatch, eventually: Callable[..., bool]
) -> None:
    """A store of any kind: every second call to it fails."""
    calls = 0
    append = type(site.door.store).append

    def fail_often(store: Any, *batch: Any, **how: Any) -> int:
        nonlocal calls
        calls += 1
        if calls % 2:
            raise StoreError("the store is away")
        return int(append(store, *batch, **how))

    monkeypatch.setattr(type(site.door.store), "append", fail_often)
    for _ in range(5):
        site.follow(5)
        site.stands()
    assert eventually(lambda: site.health()["pending"] == 0, 60.0)
    monkeypatch.undo()
    assert site.settle()["dropped"] == {}
    assert set(site.followed) <= set(site.stored())
