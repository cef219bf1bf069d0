"""F-01: a worker, the drain or the whole server is killed (``kill -9``).

No event that was answered is lost and none is counted twice; the next start goes on where the last one stopped, without a
repair.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clickmw.events import Click
from clickmw.journal import Journal, segment_paths

pytestmark = pytest.mark.skipif(os.name != "posix", reason="kill -9 and gunicorn are POSIX")

#: The tests run on each of these kinds of store.
STORES = ("sqlite", "postgresql", "clickhouse")

DRAINER = """
import os, signal, sys, threading
from pathlib import Path
from clickmw.drain import Drain
from clickmw.stores import open_store
from clickmw.stores.base import StoreOptions
folder, url = Path(sys.argv[1]), sys.argv[2]
store = open_store(url, StoreOptions())
store.migrate()
drain = Drain(folder / "journal", lambda: store, 100, 0.01)
# From within: as soon as it is due, however busy the machine is.
threading.Timer(float(sys.argv[3]), os.kill, (os.getpid(), signal.SIGKILL)).start()
drain.run_once()
"""


@pytest.mark.parametrize(
    "kills", [8, pytest.param(150, marks=pytest.mark.long)], ids=lambda kills: f"{kills}-kills"
)
def test_f01_a_drain_that_is_killed_again_and_again_stores_every_event_once(
    kills: int,
    tmp_path: Path,
    store_url: str,
    run_python: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    settle: Any,
    urls_in: Any,
) -> None:
    from clickmw import journal as journal_module

    monkeypatch.setattr(journal_module, "SEGMENT_BYTES", 300_000)
    chance = random.Random(7)
    journal = Journal(tmp_path / "journal")
    for start in range(0, kills * 1100, 10):
        journal.tally("opted_out")
        if start % 1000 == 0:
            journal.write_tallies()
        journal.write(
            tuple(Click(1_750_000_000_000, "default", f"/{n}") for n in range(start, start + 10))
        )
    journal.close()
    killed = 0
    for _ in range(kills):
        drainer = run_python(DRAINER, tmp_path, store_url, chance.uniform(0.0, 0.06))
        killed += drainer.wait() == -signal.SIGKILL
    ledger = settle(tmp_path, store_url)
    assert killed == kills
    assert urls_in(store_url) == Counter(f"/{n}" for n in range(kills * 1100))
    assert (ledger["stored"], ledger["opted_out"]) == (kills * 1100, kills * 110)
    assert segment_paths(journal.folder) == []


WRITER = """
import sys
from pathlib import Path
from clickmw.events import Click
from clickmw.journal import Journal
journal, number = Journal(Path(sys.argv[1]) / "journal"), 0
while True:
    name = f"/{sys.argv[2]}-{number}"
    if journal.write((Click(1_750_000_000_000, "default", name),)):
        print(name, flush=True)
    number += 1
"""


def test_f01_what_a_killed_writer_was_told_is_kept_is_stored(
    tmp_path: Path, run_python: Callable[..., Any], settle: Any, urls_in: Any
) -> None:
    acknowledged: list[str] = []
    for number in range(5):
        writer = run_python(WRITER, tmp_path, number)
        acknowledged.append(writer.stdout.readline().strip())
        time.sleep(0.03)
        writer.kill()
        acknowledged += [line.strip() for line in writer.stdout if line.endswith("\n")]
    settle(tmp_path)
    stored = urls_in(tmp_path / "clicks.db")
    assert set(acknowledged) <= set(stored)
    assert set(stored.values()) == {1}


@pytest.mark.parametrize("options", [(), ("--preload",)], ids=["forked", "preloaded"])
def test_f01_killed_workers_lose_no_acknowledged_click(
    options: tuple[str, ...], serve: Any, all_there: Any, tmp_path: Path
) -> None:
    server = serve(*options)
    server.visit()
    for _ in range(4):
        server.answers(10)
        server.kill_a_worker()
    server.answers(10)
    server.calm()
    server.end()
    all_there(server, tmp_path)


def test_f01_killing_the_whole_server_loses_nothing(
    serve: Any, all_there: Any, tmp_path: Path
) -> None:
    server = serve()
    server.visit()
    server.answers(40)
    workers = {int(server._ask("/pid")) for _ in range(20)}
    server.process.kill()
    for worker in workers:
        os.kill(worker, signal.SIGKILL)
    server.process.wait()
    server.calm()
    all_there(server, tmp_path)
