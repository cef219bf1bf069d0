"""F-12: the process forks after clickmw has begun (gunicorn ``--preload``, uWSGI, ``os.fork``).

Each process has its own journal file, drain and connection; no lock of the parent stays held.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows does not fork")

#: The tests run on each of these kinds of store.
STORES = ("sqlite", "postgresql", "clickhouse")

FORKS = """
import os, sys, time
from pathlib import Path
from clickmw import ClickMW
from clickmw.events import new_query_id
from clickmw.recorder import now_ms
from clickmw.tokens import LinkTarget
folder, store = Path(sys.argv[1]), sys.argv[2]
clicks = ClickMW(lambda environ, start: [], secret="s" * 32, store=store, journal=str(folder / "journal"),
                 redirect_rate=None)

def click(who):
    for number in range(100):
        target = LinkTarget("", new_query_id(now_ms()), 1, "BWEB", "", f"https://example.org/{who}/{number}")
        environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/_clicks/r/" + clicks.door.signer.sign_link(target),
                   "REMOTE_ADDR": "203.0.113.5", "HTTP_USER_AGENT": "Mozilla/5.0 Firefox/140.0"}
        list(clicks(environ, lambda status, headers: None))

click("parent")
time.sleep(0.5)  # the parent's drain has its connection and its lock now
children = []
for child in range(3):
    pid = os.fork()
    if pid == 0:
        click(child)
        sys.exit(0)
    children.append(pid)
click("again")
for pid in children:
    os.waitpid(pid, 0)
"""


def test_f12_a_fork_in_the_middle_of_the_work_loses_nothing(
    tmp_path: Path, store_url: str, run_python: Callable[..., Any], settle: Any, urls_in: Any
) -> None:
    assert run_python(FORKS, tmp_path, store_url).wait(60) == 0
    ledger = settle(tmp_path, store_url)
    expected = {
        f"https://example.org/{who}/{number}"
        for who in ("parent", "again", 0, 1, 2)
        for number in range(100)
    }
    assert urls_in(store_url) == Counter(expected)
    assert ledger["stored"] == 500


HELD = """
import os, sys, threading, time
from clickmw import ClickMW
from clickmw.events import Click
folder, store = sys.argv[1:]
clicks = ClickMW(lambda environ, start: [], secret="s" * 32, store=store, journal=folder + "/journal")
door = clicks.door
door.recorder.record(Click(1_750_000_000_000, "default", "/parent"))
while not door.worker.drain.last_pass:
    time.sleep(0.01)
with door.journal._lock, door.worker.drain._guard:  # as another thread may hold them
    child = os.fork()
    if child == 0:
        door.recorder.record(Click(1_750_000_000_000, "default", "/child"))
        door.worker.catch_up(20.0)
        os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_f12_locks_that_were_held_stop_no_child(
    tmp_path: Path, store_url: str, run_python: Callable[..., Any], settle: Any, urls_in: Any
) -> None:
    parent = run_python(HELD, tmp_path, store_url)
    assert parent.communicate(timeout=60)[0] == "0\n"
    assert settle(tmp_path, store_url)["stored"] == 2
    assert urls_in(store_url) == Counter(["/parent", "/child"])
