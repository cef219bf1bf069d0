"""ClickHouse over plain HTTP: statements in, rows out, from whichever of several hosts answers."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from clickmw.errors import SettingsError, StoreError

#: How long a server may take to answer; a window that is summed again takes seconds.
TIMEOUT_S = 120.0
#: How long it may take to be reached at all.
CONNECT_S = 5.0
#: Columns that hold bytes and no text, by their names.
BYTES = frozenset(
    [
        "event_id",
        "query_id",
        "view_id",
        "viewed",
        "visitor",
        "dedupe_key",
        "client_id",
        "first_query_id",
        "owner",
        "salt",
    ]
)
#: What a server says that cannot write for now, while another one may: read-only, no quorum, Keeper or
#: a shard out of its reach.
ELSEWHERE = frozenset((159, 209, 210, 225, 242, 279, 285, 286, 319, 999))
_CODE = re.compile(r"Code: (\d+)")
_ESCAPED = re.compile(rb"\\(.)")
_PLAIN = {b"t": b"\t", b"n": b"\n", b"r": b"\r", b"0": b"\0", b"b": b"\b", b"f": b"\f"}


class Refused(StoreError):
    """A server answered with an error of its own; ``code`` is ClickHouse's number of it."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class Unreachable(StoreError):
    """No server answers."""


@dataclass(frozen=True)
class Address:
    """What a store's URL says."""

    hosts: tuple[tuple[str, int], ...]
    database: str
    user: str = ""
    password: str = field(default="", repr=False)
    is_secure: bool = False
    replicated: int = 0
    quorum: int = 0
    cluster: str = ""

    def __str__(self) -> str:
        return ", ".join(f"{host}:{port}" for host, port in self.hosts)


def read_url(url: str) -> Address:
    """Return what ``clickhouse+http://user:password@host:port,host:port/database?quorum=2`` says."""
    scheme, _, rest = url.partition("://")
    kind, _, transport = scheme.partition("+")
    where, _, more = rest.partition("?")
    given, _, database = where.partition("/")
    login, _, names = given.rpartition("@")
    options = dict(parse_qsl(more, keep_blank_values=True))
    if kind != "clickhouse" or transport not in ("http", "https") or not names:
        raise _refusal(url, "it names no server")
    if re.fullmatch(r"[A-Za-z_]\w*", database) is None:
        raise _refusal(url, "it names no database")
    cluster = options.pop("cluster", None)
    unknown = sorted(options.keys() - {"replicated", "quorum"})
    if unknown or not all(value.isdecimal() for value in options.values()):
        raise _refusal(url, "after ? there may be replicated=1, quorum=2 and cluster=name")
    if cluster is not None and re.fullmatch(r"[\w.-]+", cluster) is None:
        raise _refusal(
            url, "cluster= has the name of a cluster, as the servers' remote_servers have it"
        )
    user, _, password = login.partition(":")
    secure = transport == "https"
    return Address(
        hosts=tuple(_host(name, url, 8443 if secure else 8123) for name in names.split(",")),
        database=database,
        user=unquote(user),
        password=unquote(password),
        is_secure=secure,
        replicated=int(options.get("replicated", 0)),
        quorum=int(options.get("quorum", 0)),
        cluster=cluster or "",
    )


def _host(name: str, url: str, default: int) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{name}")
        return parts.hostname or "", parts.port or default
    except ValueError as error:
        raise _refusal(url, f"{name!r} is no host") from error


def _refusal(url: str, why: str) -> SettingsError:
    shown = re.sub(r"//.*@", "//…@", url)
    return SettingsError(
        f"store={shown!r}: {why}. Write for example "
        "store='clickhouse+http://user:password@host:8123/clicks' "
        "(several hosts with commas between them)."
    )


class Client:
    """Send statements to the first of the hosts that answers. Safe for threads: one at a time."""

    def __init__(
        self, address: Address, settings: Mapping[str, str], *, timeout_s: float = TIMEOUT_S
    ) -> None:
        self.address = address
        self.settings = dict(settings)
        self.timeout_s = timeout_s
        self._lock = threading.Lock()
        self._connection: HTTPConnection | None = None
        self._next = 0

    def run(self, sql: str, body: bytes = b"", **settings: Any) -> bytes:
        """Run one statement; *body* is the data of an INSERT. Return the answer as it came."""
        with self._lock:
            return self._send(sql, body, settings)

    def rows(self, sql: str) -> list[Any]:
        """Return the rows of a question."""
        return read_rows(self.run(sql + "\nFORMAT TabSeparatedWithNamesAndTypes"))[1]

    def table(self, sql: str) -> tuple[list[str], list[Any]]:
        """Return the names of the columns and the rows of a question."""
        return read_rows(self.run(sql + "\nFORMAT TabSeparatedWithNamesAndTypes"))

    def value(self, sql: str) -> Any:
        """Return the one value that a question has as its answer."""
        return self.rows(sql)[0][0]

    def change(self, sql: str, *tables: str) -> None:
        """Run a statement that changes *tables* as a whole; their names go where its braces are."""
        # The rows that it reads may have come by way of another replica.
        for table in tables[1:] if self.address.replicated else ():
            self.run(f"SYSTEM SYNC REPLICA {table}")
        self.run(sql.format(*tables))

    def layout(self) -> str:
        """Return how rows are spread over several servers; nothing when they are not."""
        return ""

    def close(self) -> None:
        """Close the connection; the next statement opens a new one."""
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _send(self, sql: str, body: bytes, settings: Mapping[str, str]) -> bytes:
        errors: list[str] = []
        # Once more than there are hosts: a connection that was kept open may have been closed since.
        for _ in range(len(self.address.hosts) + 1):
            try:
                status, content = self._ask(sql, body, settings)
            except (OSError, HTTPException) as error:
                errors.append(f"{self._host()}: {error or type(error).__name__}")
                self._turn()
                continue
            if status == 200:
                return content
            raise self._refused(content)
        raise Unreachable(
            f"ClickHouse cannot be reached ({'; '.join(errors)}). The site works and events wait "
            "in the journal. Run: clickmw doctor"
        )

    def _refused(self, content: bytes) -> Refused:
        said = content.decode("utf-8", "replace").strip()
        found = _CODE.search(said)
        code = int(found[1]) if found else 0
        if code in ELSEWHERE:
            self._turn()
        return Refused(f"ClickHouse at {self._host()} says: {said[:2000]}", code)

    def _host(self) -> str:
        host, port = self.address.hosts[self._next % len(self.address.hosts)]
        return f"{host}:{port}"

    def _turn(self) -> None:
        """Go on with the next host."""
        self._drop()
        self._next += 1

    def _ask(self, sql: str, body: bytes, settings: Mapping[str, str]) -> tuple[int, bytes]:
        connection = self._connection or self._connect()
        given = {"database": self.address.database, **self.settings, **settings}
        content = body
        if body:
            given["query"] = sql
        else:
            content = sql.encode()
        headers = {"X-ClickHouse-User": self.address.user} if self.address.user else {}
        if self.address.password:
            headers["X-ClickHouse-Key"] = self.address.password
        connection.request("POST", "/?" + urlencode(given), content, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()

    def _connect(self) -> HTTPConnection:
        host, port = self.address.hosts[self._next % len(self.address.hosts)]
        make: Callable[..., HTTPConnection] = (
            HTTPSConnection if self.address.is_secure else HTTPConnection
        )
        connection = make(host, port, timeout=min(CONNECT_S, self.timeout_s))
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sock.settimeout(self.timeout_s)
        self._connection = connection
        return connection


# -- values ----------------------------------------------------------------------------------------


def literal(value: object) -> str:
    """Return *value* as every version of ClickHouse reads it, whatever is in a text."""
    if value is None:
        return "NULL"
    if isinstance(value, bool | int):
        return str(int(value))
    if isinstance(value, float):
        return repr(value)
    raw = value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")
    return f"unhex('{raw.hex()}')"


def read_rows(content: bytes) -> tuple[list[str], list[Any]]:
    """Return names and rows of an answer in the format TabSeparatedWithNamesAndTypes."""
    if not content:
        return [], []
    lines = content.split(b"\n")
    names = [name.decode() for name in lines[0].split(b"\t")]
    kinds = lines[1].decode().split("\t")
    readers = [_reader(name, kind) for name, kind in zip(names, kinds, strict=True)]
    return names, [_row(line, readers) for line in lines[2:-1]]


def _row(line: bytes, readers: Sequence[Callable[[bytes], Any]]) -> tuple[Any, ...]:
    return tuple([read(value) for read, value in zip(readers, line.split(b"\t"), strict=True)])


def _reader(name: str, kind: str) -> Callable[[bytes], Any]:
    plain = kind.removeprefix("LowCardinality(").removeprefix("Nullable(").rstrip(")")
    if plain.startswith(("Int", "UInt")):
        return _number
    if plain.startswith("Float"):
        return _real
    return _bytes if name.rpartition(".")[2] in BYTES else _text


def _number(value: bytes) -> int | None:
    return None if value == b"\\N" else int(value)


def _real(value: bytes) -> float | None:
    return None if value == b"\\N" else float(value)


def _text(value: bytes) -> str | None:
    raw = _bytes(value)
    return None if raw is None else raw.decode("utf-8", "surrogatepass")


def _bytes(value: bytes) -> bytes | None:
    if b"\\" not in value:
        return value
    if value == b"\\N":
        return None
    return _ESCAPED.sub(lambda found: _PLAIN.get(found[1], found[1]), value)
