"""Shared by the tests of faults: a site that something happens to, and what must hold all the while."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from webtest import TestApp

from clickmw import ClickMW
from clickmw.doctor import Finding, examine
from clickmw.drain import Drain
from clickmw.health import difference, read_health
from clickmw.journal import Journal
from clickmw.middleware import store_of
from clickmw.settings import Settings
from clickmw.stores import open_store
from clickmw.stores._sqlite_reading import day_date
from clickmw.stores.base import Extract, StoreOptions
from clickmw.tokens import LinkSigner, LinkTarget

SECRET = "thirty-two characters or more are fine"
PLAIN = b"a page of the host, untouched \xf0\x9f\x8c\xb7"
RESULTS = (
    '<ol data-click-module="BWEB" data-click-total="1">'
    '<a data-click href="https://example.org/1">one</a></ol>'
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests of a module with ``STORES`` on each of these kinds of store, others on SQLite."""
    kinds = getattr(metafunc.module, "STORES", ("sqlite",))
    if only := metafunc.definition.get_closest_marker("stores"):
        kinds = only.args
    if "store_kind" in metafunc.fixturenames:
        metafunc.parametrize("store_kind", kinds)


def link_to(location: str) -> str:
    """Return the path of a fresh signed link to *location*."""
    from clickmw.events import new_query_id
    from clickmw.recorder import now_ms

    target = LinkTarget("", new_query_id(now_ms()), 1, "BWEB", "", location)
    return "/_clicks/r/" + LinkSigner(SECRET).sign_link(target)


def host(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    """Answer with a page of results at ``/search``, with a plain page elsewhere."""
    results = environ["PATH_INFO"] == "/search"
    kind = "text/html; charset=utf-8" if results else "text/plain; charset=utf-8"
    start_response("200 OK", [("Content-Type", kind), ("Cache-Control", "private")])
    return [RESULTS.encode() if results else PLAIN]


class Site:
    """A site with clickmw around it; ``followed`` are the targets of all links that led on."""

    def __init__(self, folder: Path, store: str, **settings: Any) -> None:
        self.folder = folder
        self.database = folder / "clicks.db"
        given = {"store": store, "journal": str(folder / "journal"), "redirect_rate": None}
        self.given = {"secret": SECRET, **given, **settings}
        self.followed: list[str] = []
        self._start()

    def _start(self) -> None:
        self.clicks = ClickMW(host, **self.given)
        self.door = self.clicks.door
        environ = {"REMOTE_ADDR": "203.0.113.5", "HTTP_USER_AGENT": "Mozilla/5.0 Firefox/140.0"}
        self.browser = TestApp(self.clicks, extra_environ=environ)

    def restart(self) -> None:
        """End this process's part of the site and begin again."""
        self.close()
        self._start()

    @property
    def journal(self) -> Journal:
        return self.door.journal

    def follow(self, count: int = 1) -> None:
        """Follow *count* links: each must lead its visitor on, whatever has happened."""
        for _ in range(count):
            target = f"https://example.org/{len(self.followed)}"
            answer = self.browser.get(link_to(target), status=302)
            assert answer.headers["Location"] == target
            self.followed.append(target)

    def stands(self) -> None:
        """Check the golden rule: pages are what the host made them, links lead on, nothing waits."""
        assert self.browser.get("/plain", status=200).body == PLAIN
        page = self.browser.get("/search?q=tax", status=200).text
        page = re.sub(r'<script async src="[^"]*"></script>', "", page)
        link = re.search('href="([^"]*)"', page)
        assert link is not None
        assert page.replace(link[1], "https://example.org/1") == RESULTS
        self.follow()
        prefetch = self.browser.get(link_to("https://example.org/p"), status=425, headers={"Sec-Purpose": "prefetch"})  # fmt: skip
        assert "Location" not in prefetch.headers

    def health(self) -> dict[str, Any]:
        """Return the ledger; it adds up at every moment."""
        ledger = self.door.routes.read_health()
        assert difference(ledger) == 0, ledger
        return ledger

    def causes(self) -> str:
        """Return what health says is wrong."""
        return "; ".join(self.health()["causes"])

    def doctor(self) -> str:
        """Return what the doctor finds bad, with its remedies."""
        return "\n".join(found.line() for found in self.findings() if found.verdict == "bad")

    def findings(self) -> list[Finding]:
        return examine(Settings.load(self.given, environ={}))

    def drain(self) -> Drain:
        """Return a drain of the journal of its own."""
        return Drain(self.journal.folder, lambda: store_of(self.clicks.settings), keep_days=395)

    def close(self) -> None:
        self.door.worker.close()
        self.door.store.close()

    def settle(self) -> dict[str, Any]:
        """End the site, take in what waits, check every number, and return the ledger."""
        self.close()
        store = store_of(self.clicks.settings)
        with closing(store), closing(self.drain()) as drain:
            assert drain.run_once() is not None
            ledger = read_health(store, Journal(self.journal.folder), drain)
            assert difference(ledger) == 0, ledger
            assert store.check() == []
        return ledger

    def stored(self) -> Counter[str]:
        """Return the URLs of all stored clicks."""
        return urls_in_store(str(self.given["store"]))

    def has_all(self) -> bool:
        """Tell whether each link that was followed is stored once; a failing test shows what is not."""
        stored, followed = self.stored(), Counter(self.followed)
        assert stored == followed, (stored - followed, followed - stored)
        return True


def urls_in_store(url: str) -> Counter[str]:
    """Return the URLs of all clicks in a store."""
    sql = "SELECT url FROM clicks"
    if url.startswith("sqlite:///"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            return Counter(url for (url,) in connection.execute(sql))
    with closing(open_store(url, StoreOptions())) as store, closing(store.reader()) as reader:
        if store.kind == "postgresql":
            return Counter(url for (url,) in reader._rows(sql))  # type: ignore[attr-defined]
        days: Any = reader._rows("SELECT DISTINCT day FROM click")  # type: ignore[attr-defined]
        found: Counter[str] = Counter()
        for day in (day_date(number) for (number,) in days):
            names, *rows = store.export(Extract(table="clicks", first_day=day, last_day=day))
            found.update(row[list(names).index("url")] for row in rows)
    return found


@pytest.fixture
def store_url(store_kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """The URL of an empty store of this kind; SQLite's is ``clicks.db`` in the test's folder."""
    if store_kind != "sqlite":
        names = {"postgresql": "postgres_url", "clickhouse": "lone_clickhouse_url"}
        return str(request.getfixturevalue(names[store_kind]))
    return f"sqlite:///{tmp_path}/clicks.db"


@pytest.fixture
def sites(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """Make a site: folder (one of the test's own without), settings as keywords."""
    made: list[Site] = []

    def make(folder: Path | None = None, **settings: Any) -> Site:
        place = folder or tmp_path / f"site{len(made)}"
        place.mkdir(exist_ok=True)
        store = settings.pop("store", f"sqlite:///{place}/clicks.db")
        made.append(Site(place, store, **settings))
        return made[-1]

    yield make
    for site in made:
        site.close()


@pytest.fixture
def site_of(store_kind: str, store_url: str, sites: Callable[..., Site]) -> Callable[..., Site]:
    """Make a site whose store is of this kind; settings as keywords."""

    def make(**settings: Any) -> Site:
        if store_kind != "sqlite":  # whose file is in the site's own folder
            settings["store"] = store_url
        return sites(**settings)

    return make


@pytest.fixture
def site(site_of: Callable[..., Site]) -> Site:
    """A site at its beginning."""
    return site_of()


@pytest.fixture(autouse=True)
def unworn_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each test hear warnings that another one has heard within the minute."""
    from clickmw import journal, trial

    monkeypatch.setattr(journal, "_warned", {})
    # The doctor's test click is waited for; here it often cannot arrive.
    monkeypatch.setattr(trial, "WAIT_S", 1.0)


def eventually(holds: Callable[[], Any], within_s: float = 30.0) -> bool:
    """Wait until *holds* does."""
    end = time.monotonic() + within_s
    while not (held := holds()) and time.monotonic() < end:
        time.sleep(0.02)
    return bool(held)


@pytest.fixture(name="eventually")
def eventually_fixture() -> Callable[..., bool]:
    return eventually


# -- what only root can do, on Linux ---------------------------------------------------------------


def missing(what: str) -> None:
    """Skip a test for want of *what*; where changes are judged, it must be there."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what}; run CI where there is one")
    pytest.skip(what)


@pytest.fixture
def root() -> None:
    """Skip where we are not root on Linux."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root on Linux can make, fill and cut off a disk of its own")


def run(*command: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in command], check=check, capture_output=True, text=True, timeout=120
    )


@pytest.fixture
def tmpfs(root: None, tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Make a file system of some size; ``remount`` changes it."""
    made: list[Path] = []

    def make(size: str = "1m") -> Path:
        folder = tmp_path / f"disk{len(made)}"
        folder.mkdir()
        done = run("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder, check=False)
        if done.returncode:
            missing("this root may not mount a file system")
        made.append(folder)
        return folder

    yield make
    for folder in made:
        run("umount", "--lazy", folder)


@pytest.fixture
def remount() -> Callable[[Path, str], Any]:
    return lambda folder, options: run("mount", "-o", f"remount,{options}", folder)


class PowerDisk:
    """An ext4 file system whose power can be cut.

    Its disk is a file in memory. A cut takes the file as it is at that moment: what the kernel has
    not written out yet is lost, as on a machine without power.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.image = folder / "image"
        self.place = folder / "mounted"
        self.place.mkdir()
        run("truncate", "-s", "32m", self.image)
        run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", self.image)
        self._numbers = count()
        self._mounted = [self._mount(self.image, self.place)]

    def _mount(self, image: Path, place: Path) -> Path:
        done = run("mount", "-o", "loop", image, place, check=False)
        if done.returncode:
            missing(f"this root may not mount an image: {done.stderr.strip()}")
        return place

    def image_now(self) -> Path:
        """Return a copy of the disk as a cut would leave it now."""
        copy = self.folder / f"cut{next(self._numbers)}"
        shutil.copyfile(self.image, copy)
        return copy

    @contextmanager
    def started_from(self, image: Path) -> Iterator[Path]:
        """Lend the folder that a machine finds which starts from *image*, which is used up."""
        place = image.with_suffix(".started")
        place.mkdir()
        self._mounted.append(self._mount(image, place))
        try:
            yield place
        finally:
            run("umount", place)
            self._mounted.remove(place)
            image.unlink()

    def close(self) -> None:
        for place in self._mounted:
            run("umount", "--lazy", place, check=False)


@pytest.fixture
def power_disk(tmpfs: Callable[..., Path]) -> Iterator[PowerDisk]:
    """See :class:`PowerDisk`."""
    disk = PowerDisk(tmpfs("100m"))
    yield disk
    disk.close()


@pytest.fixture
def fill() -> Callable[[Path], Path]:
    """Fill the disk of a folder to its last byte; return the file that does."""

    def fill(folder: Path) -> Path:
        ballast = folder / "ballast"
        with ballast.open("wb", buffering=0) as file:
            for size in (65_536, 512, 1):
                try:
                    while True:
                        file.write(b"x" * size)
                except OSError:
                    pass
        return ballast

    return fill


def tool(name: str, package: str) -> str:
    """Return the path of a program; without it skip, but not in CI."""
    found = shutil.which(name)
    if found is None:
        missing(f"no {name} on this machine (Debian: apt-get install {package})")
    return str(found)


@pytest.fixture
def strace(root: None) -> str:
    """A program that can let any system call of another one fail, or take long."""
    return tool("strace", "strace")


@pytest.fixture
def fake_time(tmp_path: Path) -> Callable[..., dict[str, str]]:
    """Return a function that sets the clock of processes: an offset in days → their environment."""
    tool("faketime", "faketime")
    library = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))), None)
    if library is None:
        missing("no libfaketime on this machine (Debian: apt-get install faketime)")
    clock = tmp_path / "faketime"

    def set_clock(days: float) -> dict[str, str]:
        # In the place of the old one at once, and ended by a newline: it is read at any moment.
        draft = clock.with_suffix(".new")
        draft.write_text(f"{days * 86_400:+.0f}\n")
        draft.replace(clock)
        return {
            **os.environ,
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(clock),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    return set_clock


# -- a server of several processes -----------------------------------------------------------------

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

    def __init__(self, folder: Path, *options: str) -> None:
        (folder / "served.py").write_text(APPLICATION.format(secret=SECRET, folder=folder))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        command = [sys.executable, "-m", "gunicorn", "served:application", *options]
        command += ["--bind", f"127.0.0.1:{self.port}", "--workers", "2", "--log-level", "critical"]
        command += ["--worker-class", "gthread", "--threads", "4", "--graceful-timeout", "5"]
        self.process = subprocess.Popen(command, cwd=folder)
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
                connection.request("GET", link_to(url), headers={"User-Agent": "Mozilla/5.0"})
                if connection.getresponse().status == 302:
                    self.acknowledged.append(url)
            except (OSError, http.client.HTTPException):
                time.sleep(0.01)
            finally:
                connection.close()

    def answers(self, more: int) -> None:
        """Wait until so many *more* links have led on."""
        wanted = len(self.acknowledged) + more
        assert eventually(lambda: len(self.acknowledged) >= wanted, 60.0)

    def kill_a_worker(self) -> None:
        os.kill(int(self._ask("/pid")), signal.SIGKILL)

    def calm(self) -> None:
        self.stopped.set()
        for visitor in self.visitors:
            visitor.join()

    def end(self) -> int:
        self.process.terminate()
        return self.process.wait(20)

    def close(self) -> None:
        self.calm()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start gunicorn with two workers in the test's folder, options as on its command line."""
    servers: list[Server] = []

    def start(*options: str) -> Server:
        servers.append(Server(tmp_path, *options))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def settle() -> Callable[..., dict[str, Any]]:
    """Drain what a folder holds, check the store (``clicks.db`` there, or at a URL), and return its ledger."""
    return _settle


def _settle(folder: Path, url: str = "") -> dict[str, Any]:
    journal = Journal(folder / "journal")
    url = url or f"sqlite:///{folder}/clicks.db"
    with closing(open_store(url, StoreOptions())) as store:
        drain = Drain(journal.folder, lambda: open_store(url, StoreOptions()))
        with closing(drain):
            # Who was killed may be at its end for a while on a busy machine, and hold the lock.
            assert eventually(lambda: drain.run_once() is not None)
            ledger = read_health(store, journal, drain)
            assert difference(ledger) == 0, ledger
        assert store.check() == []
    return ledger


@pytest.fixture
def urls_in() -> Callable[[Path | str], Counter[str]]:
    """Return the URLs of all clicks in a database file, or in the store at a URL."""

    def urls(place: Path | str) -> Counter[str]:
        return urls_in_store(place if isinstance(place, str) else f"sqlite:///{place}")

    return urls


@pytest.fixture
def all_there(settle: Any, urls_in: Any) -> Callable[[Server, Path], None]:
    """Check that every link that was followed on a server is stored once."""

    def check(server: Server, folder: Path) -> None:
        assert len(server.acknowledged) >= 40
        settle(folder)
        stored = urls_in(folder / "clicks.db")
        assert set(server.acknowledged) <= set(stored)
        assert set(stored.values()) == {1}

    return check
