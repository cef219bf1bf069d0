"""F-02: an orderly end: SIGTERM, a deploy, the normal exit of a program.

What waits is taken in at the end, within two seconds; what is left then waits for the next start.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clickmw.journal import segment_paths

pytestmark = pytest.mark.skipif(os.name != "posix", reason="gunicorn is POSIX")

#: The tests run on each of these kinds of store.
STORES = ("sqlite", "postgresql", "clickhouse")


def test_f02_an_orderly_end_leaves_nothing_to_drain(
    serve: Any, all_there: Any, tmp_path: Path
) -> None:
    server = serve()
    server.visit()
    server.answers(20)
    server.process.send_signal(signal.SIGHUP)  # a deploy: new workers, the old ones end
    server.answers(20)
    assert server.end() == 0
    server.calm()
    assert segment_paths(tmp_path / "journal") == []
    all_there(server, tmp_path)


PROGRAM = """
import sys
from clickmw import ClickMW
from clickmw.events import Click
folder, store = sys.argv[1:3]
clicks = ClickMW(lambda environ, start: [], secret="s" * 32, store=store, journal=folder + "/journal")
for number in range(100):
    clicks.door.recorder.record(Click(1_750_000_000_000, "default", f"/{number}"))
    clicks.door.recorder.tally("opted_out")
print("done", flush=True)
if sys.argv[3] == "raise":
    raise RuntimeError("the program fails")
if sys.argv[3] == "wait":
    sys.stdin.read()
"""


@pytest.mark.sampled(2)
@pytest.mark.parametrize("how", ["return", "raise"])
def test_f02_a_program_that_ends_has_stored_all(
    how: str, tmp_path: Path, store_url: str, run_python: Callable[..., Any], settle: Any
) -> None:
    run_python(PROGRAM, tmp_path, store_url, how).wait(60)
    if store_url.startswith("sqlite"):  # a server may take longer than two seconds
        assert segment_paths(tmp_path / "journal") == []
    ledger = settle(tmp_path, store_url)
    assert (ledger["stored"], ledger["opted_out"]) == (100, 100)


def test_f02_a_program_that_knows_no_sigterm_loses_no_event(
    tmp_path: Path, store_url: str, run_python: Callable[..., Any], settle: Any
) -> None:
    import subprocess

    program = run_python(PROGRAM, tmp_path, store_url, "wait", stdin=subprocess.PIPE)
    assert program.stdout.readline() == "done\n"
    program.send_signal(signal.SIGTERM)  # Python ends at once, without atexit
    assert program.wait(60) == -signal.SIGTERM
    assert settle(tmp_path, store_url)["stored"] == 100
