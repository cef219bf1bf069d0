"""F-13: the thread that drains dies, or meets an event that no store can hold.

A dead thread is replaced by the next event. An event that cannot be stored is found among the others, set aside in
``unstorable.jsonl`` and counted; it stops none of them.
"""

from __future__ import annotations

import ctypes
import json
import threading
from typing import Any

import pytest

from clickmw.drain import Drain
from clickmw.events import Click

#: The tests run on each of these kinds of store.
STORES = ("sqlite", "postgresql", "clickhouse")


def thread_of(site: Any, name: str) -> threading.Thread | None:
    return next((t for t in site.door.worker._threads if t.name == name), None)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", ["clickmw-drain", "clickmw-sync"])
def test_f13_a_thread_that_was_killed_is_replaced_by_the_next_event(
    name: str, site: Any, eventually: Any
) -> None:
    site.follow()
    dead = thread_of(site, name)
    assert dead is not None
    set_exception = ctypes.pythonapi.PyThreadState_SetAsyncExc
    set_exception(ctypes.c_ulong(dead.ident), ctypes.py_object(SystemExit))
    assert eventually(lambda: not dead.is_alive())
    site.follow(20)
    alive = thread_of(site, name)
    assert alive is not None
    assert alive.is_alive()
    assert alive is not dead
    assert eventually(lambda: site.health()["stored"] == 21)
    assert len([t for t in site.door.worker._threads if t.is_alive()]) == 2


@pytest.mark.sampled(3)
@pytest.mark.parametrize("error", [MemoryError, RuntimeError, KeyError], ids=lambda e: e.__name__)
def test_f13_a_drain_that_fails_for_a_while_loses_nothing(
    error: type[Exception], site: Any, eventually: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = iter([error("a bug")] * 3)
    run_once = Drain.run_once

    def fail_at_first(drain: Drain, **how: Any) -> int | None:
        for failure in failures:
            raise failure
        return run_once(drain, **how)

    monkeypatch.setattr(Drain, "run_once", fail_at_first)
    monkeypatch.setattr("clickmw.drain.FAILED_S", 0.05)
    site.follow(10)
    site.stands()
    assert eventually(lambda: site.health()["pending"] == 0)
    monkeypatch.undo()
    assert site.settle()["dropped"] == {}
    assert site.has_all()


def test_f13_an_event_that_no_store_can_hold_stops_no_other(site: Any) -> None:
    site.follow(3)
    good = Click(1_750_000_000_000, "default", "https://example.org/beside")
    site.journal.write((good, good._replace(query_id="short")))
    site.journal.write((good, good._replace(position=2**70)))
    site.follow(3)
    ledger = site.settle()
    assert ledger["dropped"] == {"unstorable": 2}
    assert ledger["stored"] == 8
    # A number that is too large is found by ClickHouse's rules when they decide, and kept aside there.
    beside = ["c"] if site.door.store.kind == "clickhouse" else ["c", "c"]
    lines = (site.journal.folder / "unstorable.jsonl").read_text().splitlines()
    assert [json.loads(line)["event"][0] for line in lines] == beside
    assert "unstorable.jsonl" in site.doctor()
