"""PostgreSQL's primary dies while four hosts drain: nothing is lost, nothing is counted twice.

Hosts are processes, each with a journal of its own. Every event is written to a ledger before it is
recorded, and to another one when it was acknowledged. What this is not: a power cut, a network that
is cut in two, machines far from each other.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from clickmw.drain import Drain
from clickmw.journal import segment_paths
from clickmw.stores import open_store
from clickmw.stores.base import StoreOptions
from tests.postgres_server import PostgresServer, find_programs, server_folder

pytestmark = pytest.mark.wide

HOSTS = 4
#: One host: writes clicks on searches of its own, with both ledgers, and drains as a worker does.
HOST = """
import sys, time
from pathlib import Path
from clickmw.drain import Drain
from clickmw.errors import StoreError
from clickmw.events import Click, Search, Shown, new_query_id
from clickmw.journal import Journal
from clickmw.stores import open_store
from clickmw.stores.base import StoreOptions

url, folder, host, batch = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
journal = Journal(folder / "journal")
drain = Drain(journal.folder, lambda: open_store(url, StoreOptions()), batch)
stalls = 0.0
with (folder / "issued").open("a") as issued, (folder / "acknowledged").open("a") as acknowledged:
    number = 0
    while not (folder / "stop").exists():
        for _ in range(20):
            now = time.time_ns() // 1_000_000
            name, page = f"/{host}/{number}", new_query_id(now)
            number += 1
            print(name, file=issued, flush=True)
            visitor = f"{host * 1_000_000 + number:016x}"
            shown = (Shown(name, 1, "BWEB"),)
            kept = journal.write((
                Search(now, "default", page, f"query {number % 50}", shown, 3, visitor=visitor),
                Click(now, "default", name, 1, "BWEB", page, visitor=visitor),
            ))
            if kept:
                print(name, file=acknowledged, flush=True)
        begun = time.monotonic()
        try:
            drain.run_once(within_s=1.0)
        except StoreError as error:
            print(error, file=sys.stderr, flush=True)
            time.sleep(0.05)
        stalls = max(stalls, time.monotonic() - begun)
        if number % 400 == 0:
            journal._close_segment()  # as it does every ten minutes: the drain removes finished ones
journal.close()
print(f"{stalls:.2f}")
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    with server_folder() as made:
        yield made


@pytest.fixture
def cluster(folder: Path) -> Iterator[list[PostgresServer]]:
    """A primary, and two standbys of which one confirms each commit that has to last."""
    programs = find_programs()
    with ExitStack() as stack:
        servers = [PostgresServer(folder / name, programs) for name in ("s1", "s2", "s3")]
        for server in servers:
            stack.callback(server.stop, signal.SIGQUIT)
        first = servers[0]
        first.make(
            synchronous_standby_names="ANY 1 (s2, s3)",
            wal_log_hints="on",
            full_page_writes="on",
            wal_keep_size="512MB",
        )
        first.start()
        for server in servers[1:]:
            follow(server, first)
        until = time.monotonic() + 60
        while len(first.query("SELECT 1 FROM pg_stat_replication WHERE sync_state = 'quorum'")) < 2:
            assert time.monotonic() < until
            time.sleep(0.05)
        yield servers


def follow(server: PostgresServer, primary: PostgresServer) -> None:
    """Make *server* a standby of *primary*, from a fresh copy."""
    where = (
        f"host=127.0.0.1 port={primary.port} user=postgres application_name={server.folder.name}"
    )
    server.run(
        "pg_basebackup", "-D", str(server.folder), "-R", "-X", "stream", "-c", "fast", "--no-sync",
        "-d", where,
    )  # fmt: skip
    server.configure()
    server.start()


def promote(servers: list[PostgresServer]) -> PostgresServer:
    """Make the most advanced of *servers* the primary, followed by the others; return it."""
    received = "SELECT pg_wal_lsn_diff(pg_last_wal_receive_lsn(), '0/0')"
    best = max(servers, key=lambda server: server.query(received)[0][0])
    others = [server for server in servers if server is not best]
    names = ", ".join(server.folder.name for server in others)
    best.query(f"ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 ({names})'")
    best.query("SELECT pg_promote()")
    for other in others:
        where = (
            f"host=127.0.0.1 port={best.port} user=postgres application_name={other.folder.name}"
        )
        other.query(f"ALTER SYSTEM SET primary_conninfo = '{where}'")
        other.query("SELECT pg_reload_conf()")
    best.query("SELECT pg_reload_conf()")
    return best


def lines(path: Path) -> list[str]:
    """Return the whole lines of a ledger; a killed host may have left half a one."""
    text = path.read_text() if path.exists() else ""
    return text[: text.rfind("\n") + 1].split()


def wait_for_events(server: PostgresServer, count: int) -> None:
    until = time.monotonic() + 120
    while stored(server) < count:
        assert time.monotonic() < until, f"{stored(server)} of {count}"
        time.sleep(0.05)


def stored(server: PostgresServer) -> int:
    made = server.query("SELECT to_regclass('clickmw.click') IS NOT NULL")[0][0]
    return int(server.query("SELECT count(*) FROM clickmw.click")[0][0]) if made else 0


def test_a_primary_that_is_killed_loses_nothing_and_nothing_counts_twice(
    cluster: list[PostgresServer],
    folder: Path,
    run_python: Callable[..., Any],
) -> None:
    ports = [server.port for server in cluster]
    hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
    url = f"postgresql://postgres@{hosts}/postgres"
    folders = [folder / f"host{number}" for number in range(HOSTS)]
    for each in folders:
        each.mkdir()
    run = lambda number: run_python(  # noqa: E731
        HOST, url, folders[number], number, 37 + 40 * number, stderr=subprocess.DEVNULL
    )
    processes = [run(number) for number in range(HOSTS)]
    first = cluster[0]
    wait_for_events(first, 1_000)

    # A drainer is killed, wherever it is, and its host starts again over the same journal.
    processes[1].kill()
    processes[1].wait(60)
    wait_for_events(first, 1_500)
    again = run_python(HOST, url, folders[1], 5, 200, stderr=subprocess.DEVNULL)

    first.kill()
    primary = promote(cluster[1:])
    before = stored(primary)
    wait_for_events(primary, before + 800)

    for each in folders:
        (each / "stop").touch()
    said = [
        process.communicate(timeout=120)[0] for process in (processes[0], *processes[2:], again)
    ]
    drain_all(folders, url)
    verify(url, folders)

    # The dead one comes back, from a fresh copy, as a standby of the one that took its place.
    shutil.rmtree(first.folder)
    follow(first, primary)
    until = time.monotonic() + 120
    while stored(first) < stored(primary):
        assert time.monotonic() < until
        time.sleep(0.05)
    for server in cluster:
        assert stored(server) == stored(primary)
        url_of_one = f"{server.url()}&target_session_attrs=any"
        with closing(open_store(url_of_one, StoreOptions())) as store:
            assert store.check() == []
    assert [float(stall) < 60 for stall in " ".join(said).split()] == [True] * HOSTS


def drain_all(folders: list[Path], url: str) -> None:
    for folder in folders:
        drain = Drain(folder / "journal", lambda: open_store(url, StoreOptions()), 3_100)
        until = time.monotonic() + 120
        while segment_paths(drain.folder):
            drain.run_once()
            assert time.monotonic() < until
        drain.close()


def verify(url: str, folders: list[Path]) -> None:
    """Compare what the store has with the ledgers, and its sums with its rows."""
    issued = [line for folder in folders for line in lines(folder / "issued")]
    acknowledged = {line for folder in folders for line in lines(folder / "acknowledged")}
    with closing(open_store(url, StoreOptions())) as store:
        with closing(store.reader()) as reader:
            rows = reader._rows("SELECT url FROM clicks WHERE counted = 1")  # type: ignore[attr-defined]
            ledger = reader.ledger()
        found = [url for (url,) in rows]
        assert len(found) == len(set(found))
        assert acknowledged <= set(found) <= set(issued)
        assert (ledger["stored"], ledger["received"]) == (2 * len(found), 2 * len(found))
        assert store.check() == []


# -- one server ------------------------------------------------------------------------------------


def test_a_drainer_that_is_killed_between_commit_and_removal_counts_nothing_twice(
    postgres_url: str, folder: Path, run_python: Callable[..., Any]
) -> None:
    killed = run_python(KILLED, postgres_url, folder, stderr=subprocess.DEVNULL)
    assert killed.wait(120) == -signal.SIGKILL
    (left,) = segment_paths(folder / "journal")
    with closing(open_store(postgres_url, StoreOptions())) as store:
        assert store.watermarks()[left.stem][1] == 200
    drain_all([folder], postgres_url)
    with closing(open_store(postgres_url, StoreOptions())) as store:
        with closing(store.reader()) as reader:
            assert (reader.ledger()["stored"], reader.watermarks()) == (200, {})
        assert store.check() == []


KILLED = """
import os, signal, sys
from pathlib import Path
from clickmw.drain import Drain
from clickmw.events import Click
from clickmw.journal import Journal
from clickmw.stores import open_store
from clickmw.stores.base import StoreOptions

folder = Path(sys.argv[2])
journal = Journal(folder / "journal")
for number in range(200):
    journal.write((Click(1_750_000_000_000 + number, "default", f"/{number}", 1, "BWEB"),))
journal.close()
Path.unlink = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
Drain(folder / "journal", lambda: open_store(sys.argv[1], StoreOptions()), 50).run_once()
"""


def test_a_server_that_stops_for_a_while_gets_what_waited(
    folder: Path, run_python: Callable[..., Any]
) -> None:
    programs = find_programs()
    server = PostgresServer(folder / "data", programs)
    server.make(fsync="on")
    server.start()
    try:
        host = folder / "host0"
        host.mkdir()
        process = run_python(HOST, server.url(), host, 0, 100, stderr=subprocess.DEVNULL)
        for count in (200, 400):
            wait_for_events(server, count)
            server.kill()  # as a crash does: what was not on its disk is gone
            issued = len(lines(host / "issued"))
            until = time.monotonic() + 60
            while len(lines(host / "acknowledged")) < issued + 200:
                assert time.monotonic() < until  # visitors go on meanwhile
                time.sleep(0.02)
            server.start()
        wait_for_events(server, len(lines(host / "issued")))
        (host / "stop").touch()
        process.communicate(timeout=60)
        drain_all([host], server.url())
        verify(server.url(), [host])
    finally:
        server.stop(signal.SIGQUIT)
