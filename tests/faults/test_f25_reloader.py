"""F-25: a development server that watches and reloads: its parent process imports the site, too.

Only a process that has an event begins a journal and a drain; a reload loses nothing.
"""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from clickmw.journal import read_header, segment_paths

pytest.importorskip("flask")

#: Kind of store → why none of these tests runs on it.
NOT_ON = dict.fromkeys(
    ("postgresql", "clickhouse"),
    "which process writes is decided by journal and drain, for every store alike",
)

SITE = """
import os
from flask import Flask
from clickmw import ClickMW

app = Flask(__name__)
app.config.update(SECRET_KEY="thirty-two characters or more are fine",
                  CLICKMW_STORE="sqlite:///{folder}/clicks.db", CLICKMW_JOURNAL="{folder}/journal")
ClickMW(app)

@app.get("/")
def results():
    return '<ol data-click-module="A"><a data-click href="https://example.org/1">1</a></ol>', 200, {{"Cache-Control": "private"}}

@app.get("/pid")
def pid():
    return str(os.getpid())

if __name__ == "__main__":
    # Looks at the files' times: how a kernel tells of changes depends on what else it has to tell.
    app.run(port={port}, debug=True, use_debugger=False, reloader_type="stat")
"""


def _ask(port: int, path: str) -> str:
    end = time.monotonic() + 60
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            headers = {"User-Agent": "Mozilla/5.0 Firefox/140.0", "Accept": "text/html"}
            connection.request("GET", path, headers=headers)
            return connection.getresponse().read().decode()
        except (OSError, http.client.HTTPException):
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
        finally:
            connection.close()


@pytest.mark.skipif(os.name != "posix", reason="process groups are POSIX")
def test_f25_only_the_serving_process_writes_and_a_reload_loses_nothing(
    tmp_path: Path, settle: Any, eventually: Any
) -> None:
    site = tmp_path / "reloaded.py"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    site.write_text(SITE.format(folder=tmp_path, port=port))
    server = subprocess.Popen(
        [sys.executable, str(site)],
        cwd=tmp_path,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        first = _ask(port, "/pid")
        assert _ask(port, "/").count("/_clicks/r/") == 1
        folder = tmp_path / "journal"
        assert eventually(lambda: {h.get("pid") for h in map(read_header, segment_paths(folder))} == {int(first)})  # fmt: skip
        site.write_text(site.read_text() + "\n# changed\n")
        assert eventually(lambda: _ask(port, "/pid") != first, 60.0)
        _ask(port, "/")
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
    ledger = settle(tmp_path)
    assert (ledger["stored"], ledger["dropped"]) == (2, {})
