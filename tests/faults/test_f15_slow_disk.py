"""F-15: bringing to disk takes a second.

With ``durability="process"`` no answer waits for it: events are in the journal, which survives the process, and the thread
that syncs is slow. With ``"power"`` an answer is the promise that its event is on disk, so it waits for the disk (the
benchmarks measure how long).
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

#: Kind of store → why none of these tests runs on it.
NOT_ON = dict.fromkeys(
    ("postgresql", "clickhouse"),
    "no answer waits for a server: one that takes long delays the drain alone, one that hangs is in F-21",
)

SITE = """
import sys, time
from clickmw import ClickMW
from clickmw.events import Click
folder, durability, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
clicks = ClickMW(lambda environ, start: [], secret="s" * 32, store=f"sqlite:///{folder}/clicks.db",
                 journal=folder + "/journal", durability=durability)
record = clicks.door.recorder.record
record(Click(time.time_ns() // 10**6, "default", "/first"))
time.sleep(1.0)
begun = time.monotonic()
for number in range(count):
    assert record(Click(time.time_ns() // 10**6, "default", f"/{number}"))
print(time.monotonic() - begun, flush=True)
clicks.door.worker.close()
"""


def _seconds(site: Any, strace: str, durability: str, count: int) -> float:
    command = [strace, "-f", "-o", "/dev/null", "-e", "trace=fdatasync,fsync"]
    command += ["-e", "inject=fdatasync,fsync:delay_enter=1000000"]
    done = subprocess.run(
        [*command, sys.executable, "-c", SITE, str(site.folder), durability, str(count)],
        capture_output=True,
        text=True,
        timeout=240,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


def test_f15_no_answer_waits_for_a_disk_that_takes_a_second(site: Any, strace: str) -> None:
    # Each sync takes a second: had the answers waited for it, they would have taken 500 seconds.
    assert _seconds(site, strace, "process", 500) < 120
    assert site.settle()["stored"] == 501


def test_f15_with_durability_power_every_answer_waits_for_the_disk(site: Any, strace: str) -> None:
    assert _seconds(site, strace, "power", 2) >= 2.0
    assert site.settle()["stored"] == 3
