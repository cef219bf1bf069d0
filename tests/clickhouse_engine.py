"""The real ClickHouse engine, in one process, behind as much of its HTTP interface as a store needs.

Run as ``python clickhouse_engine.py FOLDER``: it prints its port on the loopback interface and answers
until it is ended. One statement at a time, one node, no users: it proves our SQL and our requests
against the engine, and says nothing about a server's speed or about clusters.

With a number after the folder (and ports of other servers, if any) it has a cluster ``shards`` of so many. The engine spreads what is added,
asks each shard and merges what they say, as it does over a network; but all of them are the engine
itself, which has one table for the parts of all. A column, made by the key of the ``Distributed`` table,
says which row is whose, and a filter shows each shard its own. Whether rows really reach the server
that they belong to, only servers tell.
"""

from __future__ import annotations

import re
import socket
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from chdb import session

#: Parameters of a request that are no settings of the engine.
OWN = {"query", "database", "user", "password", "default_format"}
_INPUT = re.compile(r"\binput\('([^']*)'\)(.*?)\s+FORMAT\s+(\w+)\s*$", re.DOTALL)
_FORMAT = re.compile(r"\s+FORMAT\s+(\w+)\s*$")
_DISTRIBUTED = re.compile(r"ENGINE = Distributed\('shards', \w+, (\w+), (.*)\)$")
CLUSTER = """<clickhouse><tcp_port>9000</tcp_port><remote_servers><shards>{shards}</shards></remote_servers>
</clickhouse>"""
SHARD = "<shard><replica><host>127.0.0.1</host><port>{port}</port></replica></shard>"


class Engine:
    """One session of the engine; ``run`` is called by one thread at a time."""

    def __init__(self, folder: Path, shards: int = 0, *others: int) -> None:
        cluster = folder / "cluster.xml"
        ports = [9000] * (shards - len(others)) + list(others)
        said = "".join(SHARD.format(port=port) for port in ports)
        cluster.write_text(CLUSTER.format(shards=said))
        more = f"?config-file={cluster}" if shards else ""
        self.session = session.Session(f"{folder / 'engine'}{more}")
        self.folder = folder
        self.shards = shards
        #: Database → the tables that have the parts of all shards.
        self.parts: dict[str, list[str]] = {}
        self.lock = threading.Lock()
        self._settings: dict[str, str] = {}
        self._database = ""
        self._filters: dict[str, str] = {}

    def run(self, sql: str, body: bytes, database: str, settings: dict[str, str]) -> bytes:
        """Return what *sql* answers; *body* is the data of an INSERT."""
        with self.lock:
            if database and database != self._database:
                self._use(database)
            token = settings.pop("insert_deduplication_token", "")
            changed = {k: v for k, v in settings.items() if self._settings.get(k) != v}
            if changed:
                pairs = ", ".join(f"{name} = '{value}'" for name, value in changed.items())
                self.session.query(f"SET {pairs}")
                self._settings |= changed
            if body:
                return self._insert(sql, body, token)
            answer = self._ask(sql)
            if found := _DISTRIBUTED.search(sql):
                self._share_out(database, *found.groups())
            return answer

    def _share_out(self, database: str, part: str, key: str) -> None:
        """Show each shard its own rows of the table *part*, which has those of all."""
        column = f"on_shard UInt64 MATERIALIZED 1 + ({key}) % {self.shards}"
        self._ask(f"ALTER TABLE {part} ADD COLUMN IF NOT EXISTS {column}")
        self.parts.setdefault(database, []).append(part)
        # A statement that no shard is asked by sees all of them.
        own = "shardNum() = 0 OR on_shard = shardNum()"
        filters = [f"'{database}.{name}': '{own}'" for name in self.parts[database]]
        self._filters[database] = "{" + ", ".join(filters) + "}"
        self._use(database)

    def _use(self, database: str) -> None:
        self.session.query(f"USE {database}")
        if self.shards:
            filters = self._filters.get(database, "{}")
            self.session.query(f"SET additional_table_filters = {filters}")
        self._database = database

    def _ask(self, sql: str) -> bytes:
        found = self.session.query(sql, "TabSeparated")
        return bytes(found.bytes() or b"")

    def _insert(self, sql: str, body: bytes, token: str) -> bytes:
        """Read the data from a file: what the engine has instead of a request's body."""
        with tempfile.NamedTemporaryFile(dir=self.folder) as file:
            file.write(body)
            file.flush()
            found = _INPUT.search(sql)
            if found:
                columns, rest, name = found.groups()
                source = f"file('{file.name}', '{name}', '{columns}')"
                return self._ask(f"{sql[: found.start()]}{source}{rest}")
            head, name = sql[: _FORMAT.search(sql).start()], _FORMAT.search(sql)[1]  # type: ignore[union-attr,index]
            setting = f"SETTINGS insert_deduplication_token = '{token}'" if token else ""
            return self._ask(f"{head} FROM INFILE '{file.name}' {setting} FORMAT {name}")


class Handler(BaseHTTPRequestHandler):
    """Answer requests as a server does: 200 with rows, 500 with the engine's message."""

    protocol_version = "HTTP/1.1"
    engine: Engine

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def do_GET(self) -> None:
        self._answer(200, b"Ok.\n")

    def do_POST(self) -> None:
        given = dict(parse_qsl(urlsplit(self.path).query))
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        sql, body = (given["query"], content) if "query" in given else (content.decode(), b"")
        settings = {name: value for name, value in given.items() if name not in OWN}
        try:
            answer = self.engine.run(sql, body, given.get("database", ""), settings)
        except Exception as error:
            self._answer(500, str(error).encode())
        else:
            self._answer(200, answer)

    def _answer(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def main() -> None:
    """Serve until the process is ended."""
    Handler.engine = Engine(Path(sys.argv[1]), *map(int, sys.argv[2:]))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
