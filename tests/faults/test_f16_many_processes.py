"""F-16: many processes write and drain at once.

Each has a journal file of its own, one of them drains; the sum is exact.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

#: The tests run on each of these kinds of store.
STORES = ("sqlite", "postgresql", "clickhouse")

WORKER = """
import sys, time
from clickmw import ClickMW
from clickmw.events import Click
folder, store, name, count = sys.argv[1:]
clicks = ClickMW(lambda environ, start: [], secret="s" * 32, store=store, journal=folder + "/journal")
for number in range(int(count)):
    assert clicks.door.recorder.record(Click(time.time_ns() // 10**6, "default", f"/{name}/{number}"))
    clicks.door.recorder.tally("opted_out")
"""


@pytest.mark.parametrize(
    ("processes", "events"),
    [(4, 300), pytest.param(8, 5000, marks=pytest.mark.long)],
    ids=["4-processes", "8-processes"],
)
def test_f16_the_sum_of_many_processes_is_exact(
    processes: int,
    events: int,
    tmp_path: Path,
    store_url: str,
    run_python: Callable[..., Any],
    settle: Any,
    urls_in: Any,
) -> None:
    workers = [run_python(WORKER, tmp_path, store_url, name, events) for name in range(processes)]
    assert [worker.wait(300) for worker in workers] == [0] * processes
    ledger = settle(tmp_path, store_url)
    assert (ledger["stored"], ledger["opted_out"]) == (processes * events,) * 2
    assert (ledger["received"], ledger["dropped"]) == (2 * processes * events, {})
    expected = Counter(f"/{name}/{n}" for name in range(processes) for n in range(events))
    assert urls_in(store_url) == expected
