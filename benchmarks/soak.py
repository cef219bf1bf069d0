"""``python -m benchmarks.soak --minutes 30``: a site at work for long, with reports and prune beside it.

Four processes of gunicorn take 200 events a second from visitors who search and click, over the loopback. Every few
seconds somebody reads the report, every minute old events are pruned. Nothing may fail, the ledger must be even at the
end and the memory of the workers flat.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import http.client
import json
import re
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from clickmw.clocks import DAY_MS
from clickmw.drain import Drain
from clickmw.events import Click
from clickmw.health import difference, read_health
from clickmw.journal import Journal
from clickmw.stores import open_store
from clickmw.stores.base import StoreOptions

WORKERS, VISITORS = 4, 4
EVENTS_A_SECOND, CLICKS_A_PAGE = 200, 9
PASSWORD = "a password for the soak"
AGENT = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/138.0.0.0 Safari/537.36"
)
#: SQLite may cache 64 MB of a growing database in the worker that drains, which takes half a million events
#: to fill. Of a smaller cache that is full soon, any growth that goes on is seen.
CACHE_KB = 4096
SITE = """
from clickmw import ClickMW
from clickmw.stores import sqlite

sqlite.PRAGMAS = sqlite.PRAGMAS.replace("cache_size = -65536", "cache_size = -{cache_kb}")
LIST = "".join(f'<li><a data-click href="https://example.org/{{n}}">{{n}}</a></li>' for n in range(10))
PAGE = f'<html><body><ol data-click-module="BWEB" data-click-total="10">{{LIST}}</ol></body></html>'.encode()

def host(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/html"), ("Cache-Control", "private")])
    return [PAGE]

application = ClickMW(host, secret="s" * 40, store="sqlite:///{folder}/clicks.db", redirect_rate=None,
                      admin_password={password!r}, trusted_proxies=1)
"""


class Soak:
    """What has happened until now."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.stopped = threading.Event()
        self.events = 0
        self.errors: list[str] = []
        self._lock = threading.Lock()

    def ask(self, connection: http.client.HTTPConnection, path: str, **headers: str) -> Any:
        """Return an answer that has been read; one that is an error is noted."""
        try:
            connection.request("GET", path, headers={"User-Agent": AGENT, **headers})
            answer = connection.getresponse()
            answer.body = answer.read()  # type: ignore[attr-defined]
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            return self.note(f"{path[:20]}: {error!r}")
        if answer.status >= 400:
            self.note(f"{path[:30]}: {answer.status}")
        return answer

    def note(self, error: str) -> None:
        with self._lock:
            self.errors.append(error)

    def count(self, events: int) -> None:
        with self._lock:
            self.events += events

    def visit(self, number: int) -> None:
        """Search and click at an even pace: a page and nine clicks are ten events."""
        pause = (1 + CLICKS_A_PAGE) * VISITORS / EVENTS_A_SECOND
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            self._visit_on(connection, number, pause)

    def _visit_on(self, connection: http.client.HTTPConnection, number: int, pause: float) -> None:
        next_at, visit = time.monotonic(), 0
        while not self.stopped.is_set():
            visit += 1
            address = {"X-Forwarded-For": f"198.51.{number}.{visit % 250}"}
            page = self.ask(connection, f"/search?q=query+{visit % 500}", **address)
            links = re.findall(r'href="(/_clicks/r/[^"]+)"', page.body.decode()) if page else []
            for link in links[:CLICKS_A_PAGE]:
                self.ask(connection, link, **{"Sec-Fetch-Site": "same-origin"}, **address)
            self.count(1 + len(links[:CLICKS_A_PAGE]) if page else 0)
            next_at = max(next_at + pause, time.monotonic() - 1.0)
            self.stopped.wait(max(0.0, next_at - time.monotonic()))

    def read(self) -> None:
        """Read the report every five seconds."""
        login = base64.b64encode(f"owner:{PASSWORD}".encode()).decode()
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            while not self.stopped.wait(5.0):
                for page in ("overview.json", "", "queries", "live.json"):
                    path = f"/_clicks/report/{page}"
                    self.ask(connection, path, Authorization=f"Basic {login}")

    def prune(self, folder: Path) -> None:
        """Write some old events, and prune them every minute."""
        journal = Journal(folder / "clicks.db.journal")
        command = [sys.executable, "-m", "clickmw", "--store", f"sqlite:///{folder}/clicks.db"]
        while True:
            old_ms = time.time_ns() // 1_000_000 - 10 * DAY_MS
            for number in range(100):
                journal.write((Click(old_ms, "default", f"https://example.org/old/{number}"),))
            self.count(100)
            if self.stopped.wait(60.0):
                break
            done = subprocess.run([*command, "prune", "--days", "5"], capture_output=True, text=True)  # fmt: skip
            if done.returncode:
                self.note(f"prune: {done.stderr}")
        journal.close()


class Server(NamedTuple):
    """A running gunicorn."""

    process: subprocess.Popen[bytes]
    port: int

    def workers(self) -> list[int]:
        """Return the ids of its workers."""
        listed = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in listed.split()]

    def is_up(self) -> bool:
        """Tell whether all workers are there and somebody answers."""
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return len(self.workers()) == WORKERS
        return False


@contextmanager
def served(folder: Path) -> Iterator[Server]:
    """Run the site under gunicorn."""
    (folder / "soaked.py").write_text(
        SITE.format(folder=folder, password=PASSWORD, cache_kb=CACHE_KB)
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "gunicorn", "soaked:application", "--log-level", "error"]
    command += ["--bind", f"127.0.0.1:{port}", "--worker-class", "gthread", "--keep-alive", "60"]
    command += ["--workers", str(WORKERS), "--threads", "4", "--timeout", "120"]
    server = Server(subprocess.Popen(command, cwd=folder), port)
    try:
        until = time.monotonic() + 60
        while not server.is_up():
            if time.monotonic() > until:
                raise RuntimeError("gunicorn did not start")
            time.sleep(0.1)
        yield server
    finally:
        server.process.terminate()
        server.process.wait(60)


def memory_mb(pid: int) -> float:
    """Return the resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def slope(samples: list[tuple[float, float]]) -> float:
    """Return megabytes in ten minutes, of (seconds, megabytes)."""
    if len(samples) < 3:
        return 0.0
    times, values = zip(*samples, strict=True)
    return statistics.linear_regression(times, values).slope * 600


def soak(minutes: float, folder: Path) -> dict[str, Any]:
    """Let the site work; return what was found."""
    samples: list[tuple[float, float]] = []
    with served(folder) as server:
        soaked = Soak(server.port)
        jobs: list[tuple[Callable[..., None], tuple[Any, ...]]] = [
            *((soaked.visit, (number,)) for number in range(VISITORS)),
            (soaked.read, ()),
            (soaked.prune, (folder,)),
        ]
        threads = [threading.Thread(target=job, args=given) for job, given in jobs]
        for thread in threads:
            thread.start()
        begun, pids = time.monotonic(), set(server.workers())
        while (passed := time.monotonic() - begun) < minutes * 60:
            time.sleep(min(10.0, minutes * 3))
            samples.append((passed, sum(map(memory_mb, server.workers())) / WORKERS))
            if set(server.workers()) != pids:
                soaked.note("a worker died")
                pids = set(server.workers())
        soaked.stopped.set()
        for thread in threads:
            thread.join(60)
    return {
        "minutes": minutes,
        "events": soaked.events,
        "events_a_second": round(soaked.events / (minutes * 60)),
        "errors": soaked.errors[:10],
        "memory_mb": [round(value, 1) for _, value in samples[:: max(1, len(samples) // 10)]],
        # What is imported at the first report and the caches that fill are no leak.
        "memory_mb_in_10_minutes": round(slope(samples[len(samples) // 3 :]), 2),
        **settled(folder),
    }


def settled(folder: Path) -> dict[str, Any]:
    """Take in what waits; return the ledger and what check finds."""
    url = f"sqlite:///{folder}/clicks.db"
    journal = Journal(folder / "clicks.db.journal")
    with closing(open_store(url, StoreOptions())) as store:
        drain = Drain(journal.folder, lambda: open_store(url, StoreOptions()))
        with closing(drain):
            drain.run_once()
            ledger = read_health(store, journal, drain)
        return {
            "received": ledger["received"],
            "stored": ledger["stored"],
            "dropped": ledger["dropped"],
            "missing": difference(ledger),
            "problems": store.check(),
        }


def main() -> int:
    """Soak, print what was found; 1 when something is wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    minutes = parser.parse_args().minutes
    with TemporaryDirectory() as name:
        found = soak(minutes, Path(name))
    print(json.dumps(found, indent=2))
    even = found["missing"] == 0 and found["received"] == found["events"]
    flat = found["memory_mb_in_10_minutes"] < 1.0 or minutes < 10
    right = even and flat and not found["errors"] and not found["dropped"]
    return int(not right or bool(found["problems"]))


if __name__ == "__main__":
    sys.exit(main())
