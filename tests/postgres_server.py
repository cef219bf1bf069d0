"""PostgreSQL servers of tests: each in a folder of its own, ended by its pid with all that it wrote."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from clickmw.stores import open_store
from clickmw.stores._sqlite_schema import SCHEMA_VERSION
from clickmw.stores.base import StoreOptions

#: What a server of tests has: nobody needs its files after a power cut, except where a test says so.
FAST = {"fsync": "off", "full_page_writes": "off", "max_connections": "60"}
START_S = 60.0


def find_programs() -> Path:
    """Return the folder of PostgreSQL's programs; without one skip, but not in CI.

    ``POSTGRES_PROGRAMS`` names another version's.
    """
    if named := os.environ.get("POSTGRES_PROGRAMS"):
        return Path(named)
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for name in ("pg_config",):
        if found := shutil.which(name):
            ran = subprocess.run([found, "--bindir"], capture_output=True, text=True, check=True)
            folders.append(Path(ran.stdout.strip()))
    for folder in folders:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    if os.environ.get("CI") == "true":
        pytest.fail("CI must have PostgreSQL: .ci/run installs it")
    pytest.skip("no PostgreSQL on this machine (Debian: apt-get install postgresql-15)")


def free_port() -> int:
    """Return a port of the loopback interface that nobody uses."""
    with closing(socket.socket()) as tried:
        tried.bind(("127.0.0.1", 0))
        return int(tried.getsockname()[1])


def _owner() -> dict[str, Any]:
    """Return who runs the server, as ``Popen`` takes it: it refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    names = {entry.pw_name for entry in pwd.getpwall()}
    entry = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


class PostgresServer:
    """One server in *folder*; it listens at a loopback port. ``kill`` it at any moment and ``start`` it again."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self.folder = folder
        self.programs = programs
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def run(self, program: str, *arguments: str) -> None:
        """Run one of PostgreSQL's programs as the server's user, to its end."""
        command = [str(self.programs / program), *arguments]
        environ = {**os.environ, "LC_ALL": "C.UTF-8"}
        ran = subprocess.run(
            command, capture_output=True, text=True, cwd="/", env=environ, check=False, **_owner()
        )
        assert ran.returncode == 0, f"{program}: {ran.stderr}"

    def make(self, **settings: str) -> None:
        """Make the files of a new server; *settings* as of postgresql.conf."""
        self.run(
            "initdb", "-D", str(self.folder), "-A", "trust", "-U", "postgres", "-E", "UTF8",
            "--no-locale", "--no-sync", "--no-instructions",
        )  # fmt: skip
        self.configure(**FAST | settings)

    def configure(self, **settings: str) -> None:
        """Add *settings* to the server's files; they hold from its next start on."""
        lines = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            **settings,
        }
        with (self.folder / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in lines.items())

    def start(self) -> None:
        """Start the server and wait until it answers."""
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(self.programs / "postgres"), "-D", str(self.folder)],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd="/", **_owner(),
            )  # fmt: skip
        until = time.monotonic() + START_S
        while not self.answers():
            assert self.process.poll() is None, (self.folder / "server.log").read_text()
            assert time.monotonic() < until, (self.folder / "server.log").read_text()
            time.sleep(0.02)

    def answers(self) -> bool:
        ready = [str(self.programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(ready, check=False).returncode == 0

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End the server: at once (SIGINT), as a crash does (SIGQUIT)."""
        if self.process is not None:
            if self.process.poll() is None:
                self.process.send_signal(how)
            self.process.wait(START_S)
        self.process = None

    def kill(self) -> None:
        """End the server and all of its processes with ``kill -9``, as nobody should."""
        assert self.process is not None
        self.tell(signal.SIGKILL)
        self.process.wait(START_S)
        self.process = None

    def tell(self, what: signal.Signals) -> None:
        """Send the server and all of its processes a signal."""
        assert self.process is not None
        family = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(self.process.pid)],
            capture_output=True, text=True, check=False,
        ).stdout.split()  # fmt: skip
        for pid in (self.process.pid, *map(int, family)):
            with suppress(ProcessLookupError):
                os.kill(pid, what)

    def url(self, schema: str = "clickmw", database: str = "postgres") -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}?schema={schema}"

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Return what *sql* finds, in a connection of its own."""
        import psycopg

        with psycopg.connect(
            f"postgresql://postgres@127.0.0.1:{self.port}/postgres", autocommit=True
        ) as connection:
            cursor = connection.execute(sql)
            return cursor.fetchall() if cursor.description else []


@contextmanager
def server_folder() -> Iterator[Path]:
    """A folder that the server's user may enter: pytest's own are closed to others."""
    folder = Path(tempfile.mkdtemp(prefix="clickmw-postgres-"))
    owner = _owner()
    if owner:
        os.chown(folder, owner["user"], owner["group"])
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def postgres_server(**settings: str) -> Iterator[PostgresServer]:
    """A server that runs, with nothing in it; *settings* as of postgresql.conf."""
    programs = find_programs()
    with server_folder() as folder:
        server = PostgresServer(folder / "data", programs)
        try:
            server.make(**settings)
            server.start()
            yield server
        finally:
            server.stop(signal.SIGQUIT)


class Schemas:
    """Schemas of one server, each with all tables and no events; what is given back is lent again."""

    def __init__(self, server: PostgresServer) -> None:
        self.server = server
        self._free: list[str] = []
        self._made = 0

    def lend(self) -> str:
        """Return the URL of an empty store."""
        if self._free:
            return self._free.pop()
        self._made += 1
        url = self.server.url(f"test_{self._made}")
        with closing(open_store(url, StoreOptions())) as store:
            store.migrate()
        return url

    def give_back(self, url: str) -> None:
        """Empty the store at *url* for the next one, under another name: a drain that still runs loses it."""
        self._made += 1
        schema = f"test_{self._made}"
        self.server.query(f"ALTER SCHEMA {url.partition('schema=')[2]} RENAME TO {schema}")
        self.server.query(EMPTY.format(schema=schema))
        self._free.append(self.server.url(schema))


EMPTY = (
    """
DO $$
DECLARE
  name text;
  filled boolean;
BEGIN
  FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = '{schema}' AND tablename <> 'term' LOOP
    EXECUTE 'LOCK TABLE {schema}.' || name || ' IN ACCESS EXCLUSIVE MODE';  -- who still writes has ended then
    EXECUTE 'SELECT EXISTS (SELECT FROM {schema}.' || name || ')' INTO filled;
    IF filled THEN
      EXECUTE 'TRUNCATE {schema}.' || name || ' RESTART IDENTITY';
    END IF;
  END LOOP;
  INSERT INTO {schema}.meta (key, value) VALUES ('schema', '"""
    + str(SCHEMA_VERSION)
    + """');
END $$
"""
)
