"""Shared by all tests: a host application, a store, a small disk, and events to fill them."""

from __future__ import annotations

import fcntl
import os
import random
import secrets
import shutil
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from itertools import count
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from webtest import TestApp

from clickmw import ClickMW
from clickmw.buckets import TokenBuckets
from clickmw.demo import running
from clickmw.drain import Worker
from clickmw.events import Answer as Answered
from clickmw.events import (
    Click,
    Conversion,
    Event,
    Feedback,
    Impression,
    Return,
    Search,
    Seen,
    Shown,
    View,
    new_query_id,
)
from clickmw.journal import event_id_prefix
from clickmw.recorder import RateLimit
from clickmw.stores import open_store
from clickmw.stores.base import Record, Store, Stored, StoreOptions
from clickmw.stores.sqlite import SQLiteStore
from clickmw.tokens import LinkTarget
from tests.clickhouse_server import (  # noqa: F401
    clickhouse_cluster,
    clickhouse_engine,
    clickhouse_servers,
    clickhouse_url,
    house,
    lite,
    lone_clickhouse_url,
)
from tests.postgres_server import PostgresServer, Schemas, postgres_server

SECRET = "thirty-two characters or more are fine"
SEGMENT = "1750000000000-00000000aa"
QUERY_ID = "AZdz2LAAAAAAAAAB"

Clicks = Callable[..., ClickMW]
_OPEN = SQLiteStore._open


#: The files that take longest, those that most of all wait for a browser or a server first: a process
#: that begins one of them last would be waited for by all others.
LONGEST = (
    "test_report_browser",
    "test_snippet_store",
    "test_snippet_frameworks",
    "test_snippet_browser",
    "test_conformance",
    "test_first_minutes",
    "test_failover",
    "test_clickhouse",
    "test_postgresql",
    "test_store_contract",
    "test_soak",
    "test_f03_power_cut",
    "test_report_truth",
    "test_servers",
    "test_flask_suite",
    "test_django",
    "test_examples",
    "test_packaging",
    "test_code_blocks",
    "test_intake",
    "test_seen",
    "test_report",
)


def pytest_configure(config: pytest.Config) -> None:
    """Make up the same examples in each run, however long one takes; other ones in the long run."""
    for name, settings in (("steady", {"derandomize": True, "database": None}), ("searching", {})):
        hypothesis.settings.register_profile(
            name,
            deadline=None,
            suppress_health_check=[hypothesis.HealthCheck.too_slow],
            print_blob=True,
            **settings,
        )
    hypothesis.settings.load_profile("steady" if _is_steady(config) else "searching")


def _is_steady(config: pytest.Config) -> bool:
    return "not long" in config.option.markexpr


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Iterator[None]:
    """Put the tests of the files that take longest first; ``--no-loadscope-reorder`` leaves them there."""
    _leave_most_to_the_long_run(items)
    yield
    rank = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(rank)))


def pytest_sessionfinish() -> None:
    """Keep what `make coverage` has measured: a process of pytest-xdist may have no time for it at its end."""
    if "coverage" in sys.modules:
        measuring = sys.modules["coverage"].Coverage.current()
        if measuring is not None:
            measuring.save()


def _leave_most_to_the_long_run(items: list[pytest.Item]) -> None:
    """Mark as ``long`` what a server's store need not prove each time: all but each nth of ``sampled(n)``.

    Of what is tested on several shards too, that is all without this mark.
    """
    seen: Counter[Any] = Counter()
    for item in items:
        mark = item.get_closest_marker("sampled")
        params = item.callspec.params if hasattr(item, "callspec") else {}
        kind = (
            params.get("new_store") or params.get("store_kind") or params.get("clickhouse_servers")
        )
        if kind == "shards" and not mark:
            item.add_marker("long")
        if mark and kind not in (None, "sqlite", "one"):
            if seen[item.function, kind] % mark.args[0]:
                item.add_marker("long")
            seen[item.function, kind] += 1


class Feed:
    """Hand events to *store* as the drain does: one journal record each, a call is one batch."""

    def __init__(self, store: Store, segment: str = SEGMENT) -> None:
        self.store = store
        self.segment = segment
        self.offset = self.running = 0

    def record(self, *events: Event | Stored, **changes: Any) -> Record:
        """Return the journal's next record, 100 bytes long."""
        start, self.offset = self.offset, self.offset + 100
        self.running += len(events)
        prefix = event_id_prefix(self.segment) + start.to_bytes(4)
        stored = (
            event if isinstance(event, Stored) else Stored(prefix + bytes((index,)), event)
            for index, event in enumerate(events)
        )
        return Record(start, self.offset, self.running, tuple(stored), {})._replace(**changes)

    def __call__(self, *events: Event | Stored) -> int:
        start = self.offset
        records = [self.record(event) for event in events]
        return self.store.append(self.segment, start, self.offset, records)


@pytest.fixture(scope="session")
def feed_of() -> Callable[..., Feed]:
    """Make a :class:`Feed` of a store."""
    return Feed


@pytest.fixture(scope="session")
def blank_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with the schema and no events."""
    path = tmp_path_factory.mktemp("blank") / "clicks.db"
    with closing(SQLiteStore(path, StoreOptions())) as store:
        store.migrate()
    return path


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Let the tests of a module with ``STORES`` run on each of these kinds of store."""
    kinds = getattr(metafunc.module, "STORES", None)
    if metafunc.definition.get_closest_marker("only_sqlite"):
        kinds = ("sqlite",)
    if kinds and "new_store" in metafunc.fixturenames:
        metafunc.parametrize("new_store", kinds, indirect=True, scope="session")


@pytest.fixture(scope="session")
def new_store(
    request: pytest.FixtureRequest,
    blank_database: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., SQLiteStore]:
    """Make an empty store, options as keywords; the caller closes it. SQLite, or what ``STORES`` says."""
    if getattr(request, "param", "sqlite") == "postgresql":
        return _stores_in(request.getfixturevalue("schemas"))
    folder, numbers = tmp_path_factory.mktemp("stores"), count()

    def make(**options: Any) -> SQLiteStore:
        path = folder / f"{next(numbers)}.db"
        shutil.copy(blank_database, path)
        return SQLiteStore(path, StoreOptions(**options))

    return make


def _stores_in(schemas: Schemas) -> Callable[..., Any]:
    def make(**options: Any) -> Any:
        url = schemas.lend()
        store = open_store(url, StoreOptions(**options))
        close = store.close

        def close_and_give_back() -> None:
            close()
            schemas.give_back(url)
            store.close = close  # type: ignore[method-assign]

        store.close = close_and_give_back  # type: ignore[method-assign]
        return store

    return make


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server, one for all tests."""
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def schemas(postgres: PostgresServer) -> Schemas:
    """Empty stores in PostgreSQL: lend one, and give it back."""
    return Schemas(postgres)


@pytest.fixture
def postgres_url(schemas: Schemas) -> Iterator[str]:
    """The URL of an empty store in PostgreSQL."""
    lent = schemas.lend()
    yield lent
    schemas.give_back(lent)


@pytest.fixture(scope="session")
def same_store() -> Callable[..., Any]:
    """Open a store once more, as another process would; options as keywords."""

    def make(store: Any, **options: Any) -> Any:
        if isinstance(store, SQLiteStore):
            return SQLiteStore(store.path, StoreOptions(**options))
        return type(store)(store.url, store.schema, StoreOptions(**options))

    return make


@pytest.fixture(scope="session")
def url_of() -> Callable[[Any], str]:
    """Return the URL of a store, as a setting has it."""

    def url(store: Any) -> str:
        if isinstance(store, SQLiteStore):
            return f"sqlite:///{store.path}"
        return f"{store.url}?schema={store.schema}"

    return url


@pytest.fixture(scope="session", autouse=True)
def ready_databases(
    blank_database: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Let a database that this process opens first be a copy of the blank one.

    Its 160 statements take fifteen times as long as a copy, and half of all tests open a new one.
    The file appears at once and whole, and only where there is none: whoever opens it at the same
    moment finds the same. Processes that a test starts make theirs as ever.
    """
    folder = tmp_path_factory.mktemp("drafts")

    def open_copy(store: SQLiteStore) -> sqlite3.Connection:
        # A log that was left would be taken for the copy's; another disk takes no link.
        if not store.path.exists() and not store._log.exists():
            with suppress(OSError):
                draft = folder / secrets.token_hex(8)
                shutil.copy(blank_database, draft)
                store.path.parent.mkdir(parents=True, exist_ok=True)
                try:
                    os.link(draft, store.path)
                finally:
                    draft.unlink()
        return _OPEN(store)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SQLiteStore, "_open", open_copy)
        yield


@pytest.fixture
def no_ready_databases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a new database get its tables one by one, as outside of tests."""
    monkeypatch.setattr(SQLiteStore, "_open", _OPEN)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteStore]:
    """A store in a file of its own that does not exist yet."""
    with closing(SQLiteStore(tmp_path / "clicks.db", StoreOptions())) as made:
        yield made


def host(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer every request with a page of two results."""
    start_response("200 OK", [("Content-Type", "text/html"), ("Cache-Control", "private")])
    links = b'<a data-click href="https://example.org/1"></a><a data-click href="/2"></a>'
    return [b'<ol data-click-module="BWEB" data-click-total="2">' + links + b"</ol>"]


@pytest.fixture
def clicks_at(tmp_path: Path) -> Iterator[Clicks]:
    """Make the host application with clickmw around it; settings as keywords."""
    made: list[ClickMW] = []

    def make(**settings: Any) -> ClickMW:
        settings = {
            "secret": SECRET,
            "store": f"sqlite:///{tmp_path}/clicks.db",
            "journal": str(tmp_path / "journal"),
            "redirect_rate": None,
            **settings,
        }
        made.append(ClickMW(host, **settings))
        return made[-1]

    yield make
    for clicks in made:
        clicks.door.worker.close()


@pytest.fixture
def browser_of() -> Callable[[ClickMW], TestApp]:
    """Make a browser for an application."""

    def make(clicks: ClickMW) -> TestApp:
        environ = {"REMOTE_ADDR": "203.0.113.5", "HTTP_USER_AGENT": "Mozilla/5.0 Firefox/140.0"}
        return TestApp(clicks, extra_environ=environ)

    return make


@pytest.fixture
def report_of(
    clicks_at: Clicks, browser_of: Callable[[ClickMW], TestApp], feed_of: Callable[..., Feed]
) -> Callable[..., Callable[..., Any]]:
    """Make the report of a site where some events happened: path and arguments → its answer."""

    def make(*events: Event | Stored, **settings: Any) -> Callable[..., Any]:
        clicks = clicks_at(report_auth=lambda _environ: True, **settings)
        clicks.door.store.migrate()
        feed_of(clicks.door.store)(*events)
        browser = browser_of(clicks)

        def ask(path: str, **arguments: Any) -> Any:
            given = {name: str(value) for name, value in arguments.items()}
            return browser.get(f"/_clicks/report/{path}", params=given)

        return ask

    return make


@pytest.fixture(scope="session")
def link_to() -> Callable[..., str]:
    """Make the path of a signed link to *location*."""
    from clickmw.tokens import LinkSigner

    signer = LinkSigner(SECRET)

    def make(location: str, query_id: str | None = None) -> str:
        from clickmw.events import new_query_id
        from clickmw.recorder import now_ms

        target = LinkTarget("", query_id or new_query_id(now_ms()), 1, "BWEB", "", location)
        return "/_clicks/r/" + signer.sign_link(target)

    return make


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB; only root can make one."""
    if os.name != "posix" or os.geteuid() != 0 or sys.platform != "linux":
        pytest.skip("only root on Linux can mount a small file system")
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        if os.environ.get("CI") == "true":
            pytest.fail("this root may not mount a small file system; run CI where it may")
        pytest.skip("this root may not mount a file system")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def run_python(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a Python process; it is ended with the test. Standard output is a pipe."""
    started: list[subprocess.Popen[str]] = []

    def run(script: str, *arguments: object, **keywords: Any) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", script, *map(str, arguments)]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, cwd=tmp_path, **keywords
        )
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()
        for pipe in filter(None, (process.stdin, process.stdout)):
            pipe.close()


@pytest.fixture
def still_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no second and no minute of the limits end while a test runs, however long it takes."""
    sender, address, moment = TokenBuckets.allows, RateLimit.allows, time.time()
    monkeypatch.setattr(TokenBuckets, "allows", lambda self, who, _: sender(self, who, moment))
    monkeypatch.setattr(
        RateLimit, "allows", lambda self, who, link, _: address(self, who, link, int(moment * 1000))
    )


@pytest.fixture(scope="session", autouse=True)
def patient_reports() -> Iterator[None]:
    """Let reports in this process wait for the drain however busy the machine is, not 0.25 s at most."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Worker.catch_up, "__defaults__", (20.0,))
        yield


CHECKOUT = Path(__file__).resolve().parent.parent
CLIENTS = CHECKOUT / ".conformance"


def _install(command: list[str], folder: Path, wanted: str) -> Path:
    """Run *command* unless *folder* holds what is *wanted* already; without a network skip, but not in CI."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Tests may run in several processes, and the first that comes installs for all.
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _install_alone(command, folder, wanted)


def _install_alone(command: list[str], folder: Path, wanted: str) -> Path:
    note = folder / "wanted.txt"
    if not note.exists() or note.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        if command[0] == "npm":
            (folder / "package.json").write_text(wanted)
        try:
            ran = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, timeout=300, check=False
            )
            trouble = ran.stderr[-500:] if ran.returncode else ""
        except (OSError, subprocess.TimeoutExpired) as error:
            trouble = str(error)
        if trouble and os.environ.get("CI") == "true":
            pytest.fail(f"{command[0]} could not install the clients: {trouble}")
        if trouble:
            pytest.skip(f"{command[0]} could not install the clients: {trouble}")
        note.write_text(wanted)
    return folder


@pytest.fixture(scope="session")
def node_clients() -> Path:
    """A folder whose ``node_modules`` has the packages of ``tests/conformance/package.json``."""
    return _npm_install(CHECKOUT / "tests" / "conformance" / "package.json", CLIENTS / "node")


@pytest.fixture(scope="session")
def node_builder() -> Path:
    """A folder whose ``node_modules`` has what builds the snippet, as for ``make snippet``."""
    return _npm_install(CHECKOUT / "static" / "source" / "package.json", CLIENTS / "snippet")


def _npm_install(packages: Path, folder: Path) -> Path:
    command = ["npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts"]
    return _install(command, folder, packages.read_text())


@pytest.fixture(scope="session")
def python_client() -> Callable[[str], Path]:
    """Install one Python package (``"mcp==1.30.0"``) into a folder of its own, for PYTHONPATH."""

    def install(requirement: str) -> Path:
        folder = CLIENTS / requirement.replace("=", "-")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", ".", requirement]
        return _install(command, folder, requirement)

    return install


@pytest.fixture(scope="session")
def python_download() -> Callable[[str], Path]:
    """Fetch the source archive of one Python package (``"flask==3.1.3"``) into a folder of its own."""

    def download(requirement: str) -> Path:
        folder = CLIENTS / ("source-" + requirement.replace("=", "-"))
        name = requirement.partition("=")[0]
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        return _install([*command, "--no-binary", name, requirement], folder, requirement)

    return download


# -- browsers --------------------------------------------------------------------------------------

#: Headless browsers name themselves, and are robots.
AGENT = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/140.0 Safari/537.36"
)


@pytest.fixture(scope="session")
def agent() -> str:
    """The ``User-Agent`` of a person's Chromium."""
    return AGENT


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """Where Chromium is; without one skip, but not in CI."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None and os.environ.get("CI") == "true":
        pytest.fail("CI must have Chromium: .ci/run installs it")
    if found is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    return found


@pytest.fixture(scope="session")
def engine_path(chromium_path: str, pytestconfig: pytest.Config) -> str:
    """Where Chromium without its windows is: the same engine, four times as fast in opening a tab.

    In the long run, and where it is not installed, it is Chromium as people have it.
    """
    alone = shutil.which("chromium-headless-shell")
    if alone is None and os.environ.get("CI") == "true":
        pytest.fail("CI must have chromium-headless-shell: .ci/run installs it")
    return alone if alone and _is_steady(pytestconfig) else chromium_path


# Of a module: while it runs, other tests of this thread could have no event loop of their own.
@pytest.fixture(scope="module")
def browser_at() -> Iterator[Callable[[str], Any]]:
    """Start the browser at a path, once; it keeps pages for its back button if it can, as people's do.

    All hosts below ``example`` are this machine: clickmw signs no link to ``localhost``.
    """
    sync_api = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    with sync_api.sync_playwright() as playwright:
        started: dict[str, Any] = {}

        def start(path: str) -> Any:
            if path not in started:
                started[path] = playwright.chromium.launch(
                    executable_path=path,
                    args=[
                        *(["--no-sandbox"] if os.geteuid() == 0 else []),
                        # Of the whole browser: what a closing page or a new tab sends first has this, too.
                        f"--user-agent={AGENT}",
                        "--host-resolver-rules=MAP *.example 127.0.0.1",
                    ],
                    ignore_default_args=["--disable-back-forward-cache"],
                )
            return started[path]

        yield start
        for browser in started.values():
            browser.close()


@pytest.fixture(scope="module")
def chromium(browser_at: Callable[[str], Any], engine_path: str) -> Any:
    """The engine of Chromium, without its windows and without the pages that a back button finds."""
    return browser_at(engine_path)


@pytest.fixture
def profile_of(
    browser_at: Callable[[str], Any],
    chromium_path: str,
    engine_path: str,
    request: pytest.FixtureRequest,
) -> Iterator[Callable[..., Any]]:
    """Make a fresh profile of a person, options as of Playwright's ``new_context``.

    A script's uncaught error in any of its tabs fails the test.
    """
    made, errors = [], []
    whole = request.node.get_closest_marker("whole_browser") is not None
    browser = browser_at(chromium_path if whole else engine_path)

    def make(**options: Any) -> Any:
        made.append(browser.new_context(**options))
        made[-1].set_default_timeout(30_000)
        made[-1].on("weberror", lambda error: errors.append(str(error.error)))
        return made[-1]

    yield make
    for context in made:
        context.close()
    assert errors == []


Answer = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class RealSite:
    """A site behind clickmw, all of it real; what became of its visitors is read from the views.

    A test puts its pages into ``pages``: path → a page with headers, or a WSGI application. All
    other paths are plain pages that a result may lead to.
    """

    address = ""

    def __init__(self, blank_database: Path) -> None:
        self._blank = blank_database

    def start(self, folder: Path, **settings: Any) -> None:
        """Begin anew, with nothing known; *settings* as of :class:`ClickMW`."""
        self.stop()
        folder.mkdir(exist_ok=True)
        self.database = folder / "clicks.db"
        if not self.database.exists():
            shutil.copy(self._blank, self.database)
        self.pages: dict[str, Answer | tuple[str, dict[str, str]]] = {}
        self.asked: list[str] = []
        settings = {"secret": SECRET, "store": f"sqlite:///{self.database}", **settings}
        self.clicks = ClickMW(self._host, journal=str(folder / "journal"), **settings)

    def stop(self) -> None:
        """Let go of journal and database."""
        if hasattr(self, "clicks"):
            self.clicks.door.worker.close()
            self.clicks.door.store.close()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        self.asked.append(environ["PATH_INFO"])
        return self.clicks(environ, start_response)

    def _host(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        page = self.pages.get(environ["PATH_INFO"], ("<!doctype html><title>A result</title>", {}))
        if not isinstance(page, tuple):
            return page(environ, start_response)
        headers = {"Content-Type": "text/html; charset=utf-8", **page[1]}
        start_response("200 OK", list(headers.items()))
        return [page[0].encode()]

    def rows(self, view: str, columns: str = "*") -> list[tuple[Any, ...]]:
        """Return what *view* has in its *columns*, in the order of the events; SQL in both."""
        self.clicks.door.worker.catch_up(5.0)
        order = {"searches": "received_ms", "impressions": "received_at, module_code, position"}
        order_by = order.get(view.split()[0], "event_id")
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as database:
            return database.execute(f"SELECT {columns} FROM {view} ORDER BY {order_by}").fetchall()

    def wait(
        self, view: str, columns: str = "*", count: int = 1, seconds: float = 20.0
    ) -> list[tuple[Any, ...]]:
        """Return the rows of *view* as soon as there are *count*, else those after *seconds*."""
        until = time.monotonic() + seconds
        while len(rows := self.rows(view, columns)) < count and time.monotonic() < until:
            time.sleep(0.02)
        return rows


@pytest.fixture(scope="module")
def served_site(blank_database: Path) -> Iterator[RealSite]:
    site = RealSite(blank_database)
    with running(site, 0) as site.address:
        yield site
    site.stop()


@pytest.fixture
def real_site(served_site: RealSite, tmp_path: Path) -> RealSite:
    """A site that nobody has visited yet; see :class:`RealSite`."""
    served_site.start(tmp_path)
    return served_site


# -- days of events --------------------------------------------------------------------------------

_QUERIES = ("tax form", "passport", "pass", "park", "ranger jobs")


@pytest.fixture(scope="session")
def days_of_events() -> Callable[..., list[Event]]:
    """Return a function of seed, first millisecond, days and visits a day, which makes their events."""
    return _days_of_events


def _days_of_events(seed: int, first_ms: int, days: int, per_day: int = 40) -> list[Event]:
    """Return the events of some visitors who search, click, come back, rate and buy."""
    chance = random.Random(seed)
    events: list[Event] = []
    for number in range(days * per_day):
        now = first_ms + chance.randrange(days * 86_400_000)
        visitor = f"{(now // 86_400_000) * 1000 + chance.randrange(4):016x}"
        events += _visit(chance, now, visitor, number)
    return events


def _visit(chance: random.Random, now: int, visitor: str, number: int) -> list[Event]:
    query, page = chance.choice(_QUERIES), new_query_id(now)
    shown = tuple(
        Shown(f"https://example.org/{chance.randrange(9)}", at, "WEB") for at in (1, 2, 3)
    )
    who = {"visitor": visitor, "robot": "bot" if number % 17 == 0 else ""}
    who["drop_reason"] = "robot" if who["robot"] else ""
    site = chance.choice(("a", "b"))
    shared = int(number % 7 == 0)
    events: list[Event] = [Search(now, site, page, query, shown, 3, shared=shared, **who)]
    view = new_query_id(now + 1) if shared else ""
    if shared:
        events.append(View(now + 100, site, page, view, **who))
    for again in range(chance.randrange(4)):
        one = chance.choice(shown)
        at = now + 2000 + again * chance.choice((1000, 40 * 60_000))
        clicked = Click(at, site, one.url, one.position, "WEB", page, view_id=view, **who)
        events.append(clicked)
        events.append(
            Return(at + 9000, site, page, view, one.url, "", one.position, "WEB", 9.0, **who)
        )
    events.append(Seen(now + 1500, site, page, view, (("WEB", 1), ("WEB", 2)), **who))
    events.append(Feedback(now + 3000, site, chance.randrange(11), query_id=page, **who))
    if number % 5 == 0:
        key = f"{chance.randrange(3):016x}"
        events += [
            Search(now + 5000, site, new_query_id(now + 5000), query + " 2", shown, 3, **who),
            Search(now + 9000, site, new_query_id(now + 9000), query + " 2", shown, 3, 10, **who),
            Answered(now, site, "why?", "so", 1, page, **who),
            Click(now, site, shown[0].url, kind="ad", source="vtex", query=query, dedupe_key=key, **who),
            Impression(now, site, "ad_impression", shown[:2], query, source="vtex", dedupe_key=key, **who),
            Impression(now + 900, site, "ad_impression", shown[:2], source="vtex", dedupe_key=key, **who),
            Impression(now, site, "related", (Shown("", 1, "", "", "more"),), query, source="s", **who),
            Conversion(now, site, f"order {number}", 9.5, "EUR", dedupe_key=key, source="vtex", **who),
        ]  # fmt: skip
    return events
