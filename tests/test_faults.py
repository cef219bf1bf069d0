"""What goes wrong around us: killed processes, locks, full disks. Nothing acknowledged is lost."""

from __future__ import annotations

import http.client
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clickmw import ClickMW
from clickmw.drain import Drain
from clickmw.events import Click
from clickmw.health import difference, read_health
from clickmw.journal import Journal, segment_paths
from clickmw.stores.base import StoreOptions
from clickmw.stores.sqlite import BUSY_MS, SQLiteStore

pytestmark = pytest.mark.skipif(os.name != "posix", reason="kill -9 and gunicorn are POSIX")

SECRET = "thirty-two characters or more are fine"


def urls_in(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return [url for (url,) in connection.execute("SELECT url FROM clicks")]


def settle(folder: Path) -> dict[str, Any]:
    """Drain what *folder* holds, check the store, and return its ledger."""
    journal = Journal(folder / "journal")
    with closing(SQLiteStore(folder / "clicks.db", StoreOptions())) as store:
        with closing(
            Drain(journal.folder, lambda: SQLiteStore(folder / "clicks.db", StoreOptions()))
        ) as drain:
            assert drain.run_once() is not None
            ledger = read_health(store, journal, drain)
        assert store.check() == []
    return ledger


# -- kill -9 of a drain --------------------------------------------------------------------------

DRAINER = """
import os, signal, sys, threading
from pathlib import Path
from clickmw.drain import Drain
from clickmw.stores.base import StoreOptions
from clickmw.stores.sqlite import SQLiteStore
folder = Path(sys.argv[1])
drain = Drain(folder / "journal", lambda: SQLiteStore(folder / "clicks.db", StoreOptions()), 100, 0.01)
# From within: as soon as it is due, however busy the machine is.
threading.Timer(float(sys.argv[2]), os.kill, (os.getpid(), signal.SIGKILL)).start()
drain.run_once()
"""


def test_a_drain_that_is_killed_again_and_again_stores_every_event_once(
    tmp_path: Path, run_python: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from clickmw import journal as journal_module

    monkeypatch.setattr(journal_module, "SEGMENT_BYTES", 300_000)
    chance = random.Random(7)
    journal = Journal(tmp_path / "journal")
    for start in range(0, 24_000, 10):
        journal.tally("opted_out")
        if start % 1000 == 0:
            journal.write_tallies()
        journal.write(
            tuple(Click(1_750_000_000_000, "default", f"/{n}") for n in range(start, start + 10))
        )
    journal.close()
    killed = 0
    for _ in range(22):
        drainer = run_python(DRAINER, tmp_path, chance.uniform(0.0, 0.06))
        killed += drainer.wait() == -signal.SIGKILL
    left = len(segment_paths(journal.folder))
    ledger = settle(tmp_path)
    assert (killed, left > 0) == (22, True)
    assert Counter(urls_in(tmp_path / "clicks.db")) == Counter(f"/{n}" for n in range(24_000))
    assert (ledger["stored"], ledger["opted_out"], difference(ledger)) == (24_000, 2400, 0)
    assert segment_paths(journal.folder) == []


# -- kill -9 of a writer -------------------------------------------------------------------------

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


def test_what_a_killed_writer_was_told_is_kept_is_stored(
    tmp_path: Path, run_python: Callable[..., Any]
) -> None:
    acknowledged: list[str] = []
    for number in range(5):
        writer = run_python(WRITER, tmp_path, number)
        acknowledged.append(writer.stdout.readline().strip())
        time.sleep(0.03)
        writer.kill()
        acknowledged += [line.strip() for line in writer.stdout if line.endswith("\n")]
    ledger = settle(tmp_path)
    stored = Counter(urls_in(tmp_path / "clicks.db"))
    assert set(acknowledged) <= set(stored)
    assert set(stored.values()) == {1}
    assert difference(ledger) == 0


# -- gunicorn ------------------------------------------------------------------------------------

APPLICATION = """
import os

from clickmw import ClickMW

def host(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]

application = ClickMW(host, secret={secret!r}, store="sqlite:///{folder}/clicks.db",
                      journal="{folder}/journal", redirect_rate=None)
"""


class Server:
    """A gunicorn of two workers with threads on a free port, and visitors who click."""

    def __init__(self, folder: Path, link_to: Callable[..., str], *options: str) -> None:
        (folder / "served.py").write_text(APPLICATION.format(secret=SECRET, folder=folder))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        command = [sys.executable, "-m", "gunicorn", "served:application", *options]
        command += ["--bind", f"127.0.0.1:{self.port}", "--workers", "2", "--log-level", "critical"]
        command += ["--worker-class", "gthread", "--threads", "4", "--graceful-timeout", "5"]
        self.process = subprocess.Popen(command, cwd=folder)
        self.link_to = link_to
        self.acknowledged: list[str] = []
        self.stopped = threading.Event()
        self.visitors: list[threading.Thread] = []
        self._ask("/up")

    def _ask(self, path: str) -> bytes:
        """Answer the body of *path*, asked until the server answers."""
        end = time.monotonic() + 60.0
        while True:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
                connection.request("GET", path)
                return connection.getresponse().read()
            except (OSError, http.client.HTTPException):
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)
            finally:
                connection.close()

    def visit(self, visitors: int = 4) -> None:
        """Let visitors click until :meth:`calm`."""
        self.visitors = [
            threading.Thread(target=self._click, args=(number,)) for number in range(visitors)
        ]
        for visitor in self.visitors:
            visitor.start()

    def _click(self, visitor: int) -> None:
        number = 0
        while not self.stopped.is_set():
            number += 1
            url = f"https://example.org/{visitor}/{number}"
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
            try:
                connection.request("GET", self.link_to(url), headers={"User-Agent": "Mozilla/5.0"})
                if connection.getresponse().status == 302:
                    self.acknowledged.append(url)
            except (OSError, http.client.HTTPException):
                time.sleep(0.01)
            finally:
                connection.close()

    def hear(self, clicks: int) -> None:
        """Wait until so many more *clicks* are acknowledged, however busy the machine is."""
        wanted = len(self.acknowledged) + clicks
        self._until(lambda: len(self.acknowledged) >= wanted)

    def workers(self) -> set[int]:
        """Return the processes that answer: both of them."""
        found: set[int] = set()
        self._until(lambda: found.add(int(self._ask("/pid"))) or len(found) == 2)
        return found

    def replace_workers(self) -> None:
        """Do as a deploy does: new workers begin, and the old ones end."""
        old = self.workers()
        self.process.send_signal(signal.SIGHUP)
        self._until(lambda: not any(map(_is_alive, old)))

    @staticmethod
    def _until(holds: Callable[[], bool]) -> None:
        end = time.monotonic() + 60.0
        while not holds():
            assert time.monotonic() < end
            time.sleep(0.01)

    def kill_a_worker(self) -> None:
        os.kill(int(self._ask("/pid")), signal.SIGKILL)

    def calm(self) -> None:
        self.stopped.set()
        for visitor in self.visitors:
            visitor.join()

    def end(self) -> int:
        self.process.terminate()
        return self.process.wait(60)

    def close(self) -> None:
        self.calm()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def serve(tmp_path: Path, link_to: Callable[..., str]) -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(*options: str) -> Server:
        servers.append(Server(tmp_path, link_to, *options))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def assert_all_there(server: Server, folder: Path) -> None:
    assert len(server.acknowledged) > 50
    ledger = settle(folder)
    stored = Counter(urls_in(folder / "clicks.db"))
    assert set(server.acknowledged) <= set(stored)
    assert set(stored.values()) == {1}
    assert difference(ledger) == 0


@pytest.mark.parametrize("options", [(), ("--preload",)], ids=["forked", "preloaded"])
def test_killed_workers_lose_no_acknowledged_click(
    options: tuple[str, ...], serve: Callable[..., Server], tmp_path: Path
) -> None:
    server = serve(*options)
    server.visit()
    for _ in range(5):
        server.hear(10)
        server.kill_a_worker()
    server.hear(10)
    server.calm()
    server.end()
    assert_all_there(server, tmp_path)


def test_an_orderly_end_leaves_nothing_to_drain(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    server = serve()
    server.visit()
    server.hear(30)
    server.replace_workers()
    server.hear(30)
    assert server.end() == 0
    server.calm()
    assert segment_paths(tmp_path / "journal") == []
    assert_all_there(server, tmp_path)


def test_killing_the_whole_server_loses_nothing(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    server = serve()
    server.visit()
    server.hear(60)
    workers = server.workers()
    server.process.kill()
    for worker in workers:
        os.kill(worker, signal.SIGKILL)
    server.process.wait()
    server.calm()
    assert_all_there(server, tmp_path)


# -- locks ---------------------------------------------------------------------------------------

LOCKER = """
import sqlite3, sys
other = sqlite3.connect(sys.argv[1], isolation_level=None)
other.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.readline()
other.execute("ROLLBACK")
"""


def test_a_locked_database_makes_no_visitor_wait(
    clicks_at: Callable[..., ClickMW],
    browser_of: Callable[..., Any],
    link_to: Callable[..., str],
    run_python: Callable[..., Any],
    tmp_path: Path,
) -> None:
    clicks = clicks_at()
    browser = browser_of(clicks)
    clicks.door.store.migrate()
    locker = run_python(LOCKER, tmp_path / "clicks.db", stdin=subprocess.PIPE)
    locker.stdout.readline()
    took = []
    for number in range(100):
        link = link_to(f"https://example.org/{number}")
        began = time.perf_counter()
        browser.get(link, status=302)
        took.append(time.perf_counter() - began)
        time.sleep(0.01)
    assert locker.poll() is None
    # Whoever waited for the lock would wait for as long as SQLite is patient.
    assert max(took) < BUSY_MS / 1000 / 2
    locker.communicate("\n")
    clicks.door.worker.close()
    ledger = settle(tmp_path)
    assert (ledger["stored"], difference(ledger)) == (100, 0)


# -- a full disk ---------------------------------------------------------------------------------


def test_a_full_disk_stops_no_redirect_and_every_loss_is_counted(
    small_disk: Path,
    clicks_at: Callable[..., ClickMW],
    browser_of: Callable[..., Any],
    link_to: Callable[..., str],
    tmp_path: Path,
) -> None:
    clicks = clicks_at(journal=str(small_disk / "journal"))
    browser = browser_of(clicks)
    door = clicks.door

    def visit(numbers: range) -> None:
        for number in numbers:
            browser.get(link_to(f"https://example.org/{number}"), status=302)

    def health() -> dict[str, Any]:
        return read_health(door.store, door.journal, door.worker.drain)

    visit(range(50))
    with (small_disk / "ballast").open("wb", buffering=0) as ballast:
        for size in (65_536, 512, 1):
            try:
                while True:
                    ballast.write(b"x" * size)
            except OSError:
                pass
    visit(range(50, 150))
    full = health()
    assert full["status"] == "failing"
    assert full["dropped"]["disk_full"] >= 70  # the last page of the segment had some room
    assert difference(full) == 0
    (small_disk / "ballast").unlink()
    visit(range(150, 200))
    door.worker.close()
    with closing(Drain(door.journal.folder, lambda: door.store)) as drain:
        drain.run_once()
        ledger = read_health(door.store, door.journal, drain)
        assert door.store.check() == []
    assert ledger["stored"] + ledger["dropped"]["disk_full"] == 200
    assert (ledger["pending"], difference(ledger)) == (0, 0)
    assert set(urls_in(tmp_path / "clicks.db")) >= {
        f"https://example.org/{number}" for number in (*range(50), *range(150, 200))
    }


def test_a_full_database_keeps_events_in_the_journal(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    store = SQLiteStore(tmp_path / "clicks.db", StoreOptions())
    store.migrate()
    pages = store._writer().execute("PRAGMA page_count").fetchone()[0]
    store._writer().execute(f"PRAGMA max_page_count = {pages + 20}")
    drain = Drain(journal.folder, lambda: store, 100)
    for number in range(3000):
        journal.write((Click(1_750_000_000_000, "default", f"/{number}/" + "x" * 100),))
    from clickmw.errors import StoreError

    with pytest.raises(StoreError, match="full"):
        drain.run_once()
    ledger = read_health(store, journal, drain)
    assert (ledger["status"], difference(ledger)) == ("degraded", 0)
    assert 0 < ledger["pending"] < 3000
    store._writer().execute("PRAGMA max_page_count = 1000000")
    drain.run_once()
    ledger = read_health(store, journal, drain)
    assert (ledger["stored"], ledger["pending"], difference(ledger)) == (3000, 0, 0)
    assert store.check() == []
    journal.close()
    drain.close()


# -- forks ---------------------------------------------------------------------------------------

FORKS = """
import os, sys, time
from pathlib import Path
from hypothesis import given, settings
from hypothesis import strategies as st

from clickmw import ClickMW
from clickmw.events import new_query_id
from clickmw.recorder import now_ms
from clickmw.tokens import LinkTarget
folder = Path(sys.argv[1])
clicks = ClickMW(lambda environ, start: [], secret="s" * 32, store=f"sqlite:///{folder}/clicks.db",
                 journal=str(folder / "journal"), redirect_rate=None)

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


def test_a_fork_in_the_middle_of_the_work_loses_nothing(
    tmp_path: Path, run_python: Callable[..., Any]
) -> None:
    assert run_python(FORKS, tmp_path).wait(120) == 0
    ledger = settle(tmp_path)
    expected = {
        f"https://example.org/{who}/{number}"
        for who in ("parent", "again", 0, 1, 2)
        for number in range(100)
    }
    assert Counter(urls_in(tmp_path / "clicks.db")) == Counter(expected)
    assert (ledger["stored"], difference(ledger)) == (500, 0)


# -- privacy -------------------------------------------------------------------------------------


def test_no_file_of_ours_holds_who_a_visitor_was(
    clicks_at: Callable[..., ClickMW],
    browser_of: Callable[..., Any],
    link_to: Callable[..., str],
    tmp_path: Path,
) -> None:
    clicks = clicks_at()
    browser = browser_of(clicks)
    chance = random.Random(3)
    secrets: list[bytes] = []
    for number in range(1000):
        address = socket.inet_ntop(socket.AF_INET6, b"\x20\x01\x0d\xb8" + chance.randbytes(12))
        if number % 2:
            address = f"198.51.{number % 100}.{number // 100 + 100}"
        agent = f"Mozilla/5.0 (X11; rv:{chance.randrange(10**9)}) Firefox/140.0"
        cookie = f"session={chance.randbytes(12).hex()}"
        mail = f"somebody{number}@example{number}.com"
        number_text = f"{chance.randrange(100, 600)}-{chance.randrange(10, 99)}-{chance.randrange(1000, 9999)}"
        headers = {"User-Agent": agent, "Cookie": cookie}
        environ = {"REMOTE_ADDR": address}
        if number % 10 == 0:
            browser.get("/", {"q": f"pay {mail} {number_text}"}, headers, environ)
            secrets += [mail.encode(), number_text.encode()]
        browser.get(link_to("https://example.org/a"), None, headers, environ, status=302)
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        packed = socket.inet_pton(family, address)
        secrets += [
            address.encode(),
            agent.encode(),
            cookie.encode(),
            address.encode().hex().encode(),
        ]
        if family == socket.AF_INET6:  # four bytes turn up by chance
            secrets += [packed, packed[:8], packed.hex().encode()]
    before = _all_bytes(tmp_path)
    clicks.door.worker.catch_up(10.0)
    after = _all_bytes(tmp_path)
    assert b"redacted" in (before + after).lower()
    assert [secret for secret in secrets if secret in before or secret in after] == []


def _all_bytes(folder: Path) -> bytes:
    return b"\n".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


# -- requests out of this world ------------------------------------------------------------------

HEADER = st.text(st.characters(max_codepoint=255), max_size=30)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        name: HEADER | st.sampled_from(["[::1", "::ffff:1.2.3.4", "%", "http://[", "a:b:c", "1,,2"])
        for name in (
            "REMOTE_ADDR",
            "HTTP_HOST",
            "HTTP_USER_AGENT",
            "HTTP_REFERER",
            "HTTP_X_FORWARDED_FOR",
            "HTTP_FORWARDED",
            "HTTP_SEC_FETCH_SITE",
            "HTTP_SEC_FETCH_USER",
            "HTTP_SEC_GPC",
            "HTTP_DNT",
            "HTTP_COOKIE",
        )
    },
)


@pytest.mark.parametrize("proxies", [0, 1, 2])
def test_no_request_header_stops_a_redirect(
    proxies: int, clicks_at: Callable[..., ClickMW], link_to: Callable[..., str]
) -> None:
    clicks = clicks_at(trusted_proxies=proxies, redirect_rate=20)

    @settings(max_examples=150, deadline=None)
    @given(headers=HEADERS)
    def follow(headers: dict[str, str]) -> None:
        link = link_to("https://example.org/a")
        environ = {"REQUEST_METHOD": "GET", "PATH_INFO": link, "QUERY_STRING": "", **headers}
        answers: list[str] = []
        list(clicks(environ, lambda status, fields: answers.append(status)))
        assert answers == ["302 Found"]

    follow()
    clicks.door.worker.catch_up(10.0)
    ledger = clicks.door.routes.read_health()
    assert (ledger["dropped"].get("unstorable"), ledger["pending"]) == (None, 0)
    assert difference(ledger) == 0
    assert clicks.door.store.check() == []


def test_a_failure_of_ours_stops_no_redirect(
    clicks_at: Callable[..., ClickMW],
    browser_of: Callable[..., Any],
    link_to: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clicks = clicks_at()
    recorder = clicks.door.recorder
    monkeypatch.setattr(recorder, "client", lambda *request: 1 / 0)
    answer = browser_of(clicks).get(link_to("https://example.org/a"), status=302)
    assert answer.headers["Location"] == "https://example.org/a"
    clicks.door.worker.catch_up(5.0)
    ledger = clicks.door.routes.read_health()
    assert (ledger["dropped"], difference(ledger)) == ({"failure": 1}, 0)


def test_a_failure_of_ours_stops_no_page(
    clicks_at: Callable[..., ClickMW],
    browser_of: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clicks = clicks_at()
    monkeypatch.setattr(clicks.door.recorder, "client", lambda *request: 1 / 0)
    assert "<ol" in browser_of(clicks).get("/?q=tax", status=200).text
