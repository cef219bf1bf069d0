"""F-03: the power is cut.

The database opens and is whole. With ``durability="power"`` no event that was answered is lost; with ``"process"`` at most
what came in the last second is (events are brought to disk every 0.4 s, whether or not anybody drains).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from clickmw import drain as drain_module
from clickmw import journal as journal_module
from clickmw.drain import Drain
from clickmw.events import Click
from clickmw.journal import Journal, segment_paths
from clickmw.stores import open_store
from clickmw.stores.base import StoreOptions

#: The tests run on each of these kinds of store.
STORES = ("sqlite", "postgresql", "clickhouse")

CLICK = Click(1_750_000_000_000, "default", "https://example.org/a", 1, "BWEB")

SITE = """
import sys, time
from clickmw import ClickMW
from clickmw.events import Click
folder, durability, store = sys.argv[1:]
clicks = ClickMW(lambda environ, start: [], secret="s" * 32, store=store, journal=folder + "/journal",
                 durability=durability)
record, drain = clicks.door.recorder.record, clicks.door.worker.drain
kept, synced, sync_segments = 0, 0, drain.sync_segments

def sync_and_note():
    global synced
    before = kept
    sync_segments()
    synced = before

drain.sync_segments = sync_and_note
while True:
    if record(Click(time.time_ns() // 10**6, "default", f"/{kept}")):
        kept += 1
        print(kept if durability == "power" else synced, flush=True)
    time.sleep(0.001)
"""


class Running:
    """A site in a process of its own that clicks all the time; ``safe`` events must outlive a cut."""

    def __init__(self, folder: Path, durability: str, store: str) -> None:
        command = [sys.executable, "-c", SITE, str(folder), durability, store]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE)
        self.safe = 0
        self._rest = b""

    def hear(self, at_least: int) -> None:
        """Wait until so many events are safe."""
        assert self.process.stdout is not None
        while self.safe < at_least:
            self._take(os.read(self.process.stdout.fileno(), 65_536))

    def stop(self) -> int:
        """Let the process stand still; return how many events are safe by now."""
        assert self.process.stdout is not None
        self.process.send_signal(signal.SIGSTOP)
        os.set_blocking(self.process.stdout.fileno(), False)
        try:
            while said := os.read(self.process.stdout.fileno(), 65_536):
                self._take(said)
        except BlockingIOError:
            pass
        os.set_blocking(self.process.stdout.fileno(), True)
        return self.safe

    def _take(self, said: bytes) -> None:
        lines = (self._rest + said).split(b"\n")
        self._rest = lines.pop()
        self.safe = int(lines[-1]) if lines else self.safe

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


@pytest.fixture
def running(power_disk: Any) -> Iterator[Callable[..., Running]]:
    made: list[Running] = []

    def start(durability: str, store: str = "") -> Running:
        place = power_disk.place
        made.append(Running(place, durability, store or f"sqlite:///{place}/clicks.db"))
        return made[-1]

    yield start
    for each in made:
        each.close()


@pytest.mark.parametrize("durability", ["power", "process"])
@pytest.mark.parametrize(
    "cuts", [3, pytest.param(40, marks=pytest.mark.long)], ids="{}-cuts".format
)
def test_f03_a_cut_loses_nothing_that_was_safe(
    cuts: int, durability: str, power_disk: Any, running: Any, settle: Any, urls_in: Any
) -> None:
    """Safe is what was answered; with ``"process"``, what was answered before the last round of bringing to disk."""
    assert drain_module.SYNC_S <= 0.5  # a round begins at least twice a second
    site = running(durability)
    for _ in range(cuts):
        site.hear(site.safe + 60)
        safe, image = site.stop(), power_disk.image_now()
        with power_disk.started_from(image) as folder:
            settle(folder)
            stored = urls_in(folder / "clicks.db")
        site.go_on()
        assert {f"/{number}" for number in range(safe)} <= set(stored)
        assert set(stored.values()) == {1}


@pytest.mark.stores("postgresql", "clickhouse")
@pytest.mark.sampled(2)
@pytest.mark.parametrize("durability", ["process", "power"])
def test_f03_a_web_server_whose_power_is_cut_leaves_the_store_of_all_in_order(
    durability: str, power_disk: Any, running: Any, store_url: str, settle: Any, urls_in: Any
) -> None:
    """The store may have what the journal lost: it goes on with its power."""
    site = running(durability, store_url)
    site.hear(60)
    safe, image = site.stop(), power_disk.image_now()
    site.close()
    with power_disk.started_from(image) as folder:
        settle(folder, store_url)
    stored = urls_in(store_url)
    assert {f"/{number}" for number in range(safe)} <= set(stored)
    assert set(stored.values()) == {1}


class PowerCut(Exception):
    """From here on nothing happens any more."""


@pytest.mark.sampled(4)
@pytest.mark.parametrize("step", ["taken in", "marked", "removed", "forgotten"])
@pytest.mark.parametrize("durable", [False, True], ids=["process", "power"])
def test_f03_a_cut_between_the_commit_and_the_end_of_a_segment_loses_and_doubles_nothing(
    durable: bool,
    step: str,
    power_disk: Any,
    store_url: str,
    monkeypatch: pytest.MonkeyPatch,
    settle: Any,
    urls_in: Any,
) -> None:
    place = power_disk.place
    own = store_url.startswith("sqlite")  # on the disk that is cut
    journal = Journal(place / "journal", durable=True)
    for number in range(300):
        journal.write((CLICK._replace(url=f"/{number}"),))
    journal.close()
    options = StoreOptions(durable=durable)
    store = open_store(f"sqlite:///{place}/clicks.db" if own else store_url, options)
    images: list[Path] = []

    def cut(when: str) -> None:
        if when == step:
            images.append(power_disk.image_now())
            raise PowerCut

    append, forget, unlink = store.append, store.forget_segment, Path.unlink

    def append_then_cut(*batch: Any, on_disk: bool = False) -> int:
        moved = append(*batch, on_disk=on_disk)
        cut("marked" if on_disk else "taken in")
        return moved

    def unlink_then_cut(path: Path, **how: Any) -> None:
        unlink(path, **how)
        if path.suffix == ".clicks":
            cut("removed")

    def forget_then_cut(segment: str) -> None:
        forget(segment)
        cut("forgotten")

    monkeypatch.setattr(store, "append", append_then_cut)
    monkeypatch.setattr(store, "forget_segment", forget_then_cut)
    monkeypatch.setattr(Path, "unlink", unlink_then_cut)
    drain = Drain(place / "journal", lambda: store, batch=100)
    with closing(drain), pytest.raises(PowerCut):
        drain.run_once()
    monkeypatch.undo()
    with power_disk.started_from(images[0]) as folder:
        url = f"sqlite:///{folder}/clicks.db" if own else store_url
        settle(folder, url)
        assert urls_in(url) == {f"/{number}": 1 for number in range(300)}


# -- the same without a disk of one's own ----------------------------------------------------------


def test_f03_with_durability_power_each_record_is_synced_before_it_is_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: dict[int, int] = {}
    sync = journal_module.sync

    def sync_and_note(file: int) -> None:
        sync(file)
        synced[os.fstat(file).st_ino] = os.fstat(file).st_size

    folders: list[Path] = []
    monkeypatch.setattr(journal_module, "sync", sync_and_note)
    monkeypatch.setattr(journal_module, "sync_folder", folders.append)
    with closing(Journal(tmp_path / "journal", durable=True)) as journal:
        for _ in range(5):
            assert journal.write((CLICK,))
            (path,) = segment_paths(journal.folder)
            assert synced[path.stat().st_ino] == path.stat().st_size
    assert {path.absolute() for path in folders} >= {tmp_path, tmp_path / "journal"}


def test_f03_the_journal_is_brought_to_disk_while_the_drain_waits_for_a_lock(
    sites: Callable[..., Any], eventually: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sqlite3

    monkeypatch.setattr(drain_module, "SYNC_S", 0.05)
    site = sites()
    site.follow()
    site.door.worker.catch_up()
    with closing(sqlite3.connect(site.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        site.follow(20)
        drain = site.door.worker.drain
        (path,) = segment_paths(site.journal.folder)
        assert eventually(lambda: drain._synced.get(path) == path.stat().st_size, 8.0)
        other.execute("ROLLBACK")


def test_f03_a_disk_that_cannot_be_synced_is_named(
    sites: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    site = sites(durability="power")

    def refuse(file: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(journal_module, "sync", refuse)
    site.follow()
    assert site.health()["status"] == "degraded"
    assert "power cut" in site.causes()
    monkeypatch.undo()
    site.follow()
    assert site.causes() == ""
