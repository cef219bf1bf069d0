"""Shared by all tests: a host application, a store, a small disk, and events to fill them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from webtest import TestApp

from clickmw import ClickMW
from clickmw.events import Event
from clickmw.journal import event_id_prefix
from clickmw.stores.base import Record, Store, Stored, StoreOptions
from clickmw.stores.sqlite import SQLiteStore
from clickmw.tokens import LinkTarget

SECRET = "thirty-two characters or more are fine"
SEGMENT = "1750000000000-00000000aa"
QUERY_ID = "AZdz2LAAAAAAAAAB"

Clicks = Callable[..., ClickMW]


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


@pytest.fixture(scope="session")
def new_store(
    blank_database: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., SQLiteStore]:
    """Make an empty store, options as keywords; the caller closes it."""
    folder, numbers = tmp_path_factory.mktemp("stores"), count()

    def make(**options: Any) -> SQLiteStore:
        path = folder / f"{next(numbers)}.db"
        shutil.copy(blank_database, path)
        return SQLiteStore(path, StoreOptions(**options))

    return make


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


CHECKOUT = Path(__file__).resolve().parent.parent
CLIENTS = CHECKOUT / ".conformance"


def _install(command: list[str], folder: Path, wanted: str) -> Path:
    """Run *command* unless *folder* holds what is *wanted* already; without a network skip, but not in CI."""
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
