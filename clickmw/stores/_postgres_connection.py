"""A PostgreSQL connection that takes the statements of our store as they are, and fails as they expect.

It has what the statements need of :class:`sqlite3.Connection`: ``execute``, ``executemany``,
``in_transaction``, ``close`` and ``with``; errors are those of sqlite3.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from typing import Any

import psycopg
from psycopg import RawCursor, RawServerCursor
from psycopg.adapt import Loader
from psycopg.types.numeric import Int8Dumper
from psycopg.types.string import StrDumper

from clickmw.stores._postgres_dialect import bind, translate

#: From how many rows on an INSERT goes by COPY to a temporary table.
MANY = 50
#: How many rows a cursor that streams asks for at a time.
FETCHED = 5000
#: What one waits for at most: a server that answers, one that vanished.
CONNECT = {
    "connect_timeout": 5,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
    "application_name": "clickmw",
}
_INSERT = re.compile(r"\s*INSERT INTO (\w+) \(([^)]*)\)\s*VALUES \(([^)]*)\)(.*)", re.DOTALL)
_COMMA = re.compile(r",\s*")
_COMMENT = re.compile(r"--[^\n]*\n")
_ARRAYS = {int: "bigint[]", str: "text[]", bytes: "bytea[]"}
#: A standby took over and the server that we know takes no writes any more, or tables are gone that
#: were there: whoever connects anew finds the right server, and makes what is missing.
_ANEW = frozenset(("25006", "3F000", "42P01"))


class _Number(Loader):
    def load(self, data: Any) -> Any:
        text = bytes(data)
        return float(text) if b"." in text else int(text)


class _Flag(Loader):
    def load(self, data: Any) -> int:
        return int(bytes(data) == b"t")


class _Text(Loader):
    def load(self, data: Any) -> str:
        return bytes(data).decode()


class _Bool(Int8Dumper):
    def dump(self, obj: Any) -> bytes:
        return b"1" if obj else b"0"


def _adapt(connection: psycopg.Connection[Any]) -> None:
    adapters = connection.adapters
    adapters.register_dumper(int, Int8Dumper)
    adapters.register_dumper(bool, _Bool)
    adapters.register_dumper(str, StrDumper)
    adapters.register_loader("numeric", _Number)
    adapters.register_loader("bool", _Flag)
    adapters.register_loader("json", _Text)


@contextmanager
def as_sqlite_says() -> Iterator[None]:
    """Raise what sqlite3 would for what psycopg raises."""
    try:
        yield
    except (psycopg.errors.DataError, psycopg.errors.ProgramLimitExceeded) as error:
        raise sqlite3.DataError(_line(error)) from error
    except psycopg.errors.IntegrityError as error:
        raise sqlite3.IntegrityError(_line(error)) from error
    except psycopg.Error as error:
        raise sqlite3.OperationalError(_line(error)) from error


def _line(error: Exception) -> str:
    """Return the words of *error* on one line, without the statement they are about."""
    return " ".join(str(error).partition("\nLINE ")[0].split())


class _Rows(RawServerCursor[Any]):
    """Rows that are fetched as they are read, once; then the cursor is closed."""

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        with as_sqlite_says():
            try:
                while rows := self.fetchmany(FETCHED):
                    yield from rows
            finally:
                with suppress(psycopg.Error):
                    self.close()


class Connection:
    """``execute`` and ``executemany`` as of sqlite3, on PostgreSQL; *schema* is where the tables are.

    ``dead`` is true once the server is gone or only reads, or tables are. ``warned`` counts its warnings.
    """

    def __init__(self, connection: psycopg.Connection[Any], schema: str) -> None:
        self.raw = connection
        self.schema = schema
        self.warned = 0
        self._worn = False
        self._streams = 0
        self._copied: dict[str, tuple[str, Any, str]] = {}
        _adapt(connection)
        connection.add_notice_handler(self._hear)

    def _hear(self, notice: psycopg.errors.Diagnostic) -> None:
        self.warned += notice.severity_nonlocalized == "WARNING"

    def execute(self, sql: str, values: Any = ()) -> RawCursor[Any]:
        translated = translate(sql)
        if sql == "ROLLBACK":
            self._copied.clear()  # temporary tables go with their transaction
        with self._watching():
            cursor = RawCursor(self.raw)
            return cursor.execute(translated.sql, bind(values, translated.values))

    def plain(self, sql: str) -> RawCursor[Any]:
        """Run PostgreSQL's own *sql*, several statements if need be."""
        with self._watching():
            return RawCursor(self.raw).execute(sql)

    def stream(self, sql: str, values: Any = ()) -> _Rows:
        """Execute *sql* in an open transaction and fetch its rows as they are read."""
        translated = translate(sql)
        with self._watching():
            self._streams += 1
            cursor = _Rows(self.raw, f"clickmw_{self._streams}")
            return cursor.execute(translated.sql, bind(values, translated.values))

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> RawCursor[Any]:
        rows = list(rows)
        cursor = RawCursor(self.raw)
        if not rows:
            return cursor
        found = _INSERT.fullmatch(_COMMENT.sub("", sql)) if len(rows) >= MANY else None
        translated = translate(sql)
        with self._watching():
            if found:
                return self._copy(cursor, found, rows)
            cursor.executemany(translated.sql, [bind(row, translated.values) or () for row in rows])
        return cursor

    def look_up(self, sql: str, keys: Sequence[Any]) -> list[Any]:
        """Return what *sql* finds for all *keys* at once; its ``{}`` stands for them."""
        columns = list(zip(*keys, strict=True)) if isinstance(keys[0], tuple) else [keys]
        arrays = [f"${n}::{_ARRAYS[type(column[0])]}" for n, column in enumerate(columns, 1)]
        sql = sql.replace("IN ({})", f"= ANY ({arrays[0]})")
        sql = sql.replace("VALUES {}", f"SELECT * FROM unnest({', '.join(arrays)})")
        with self._watching():
            cursor = RawCursor(self.raw)
            cursor.execute(translate(sql).sql, [list(column) for column in columns], prepare=True)
            return cursor.fetchall()

    def _copy(
        self, cursor: RawCursor[Any], found: re.Match[str], rows: list[Any]
    ) -> RawCursor[Any]:
        if found[0] not in self._copied:
            self._copied[found[0]] = self._prepare_copy(cursor, found)
        name, types, statement = self._copied[found[0]]
        with cursor.copy(f"COPY {name} FROM STDIN (FORMAT BINARY)") as copy:
            copy.set_types(types)
            for row in rows:
                copy.write_row(row)
        cursor.execute(statement)
        self.raw.execute(f"TRUNCATE {name}")
        return cursor

    def _prepare_copy(self, cursor: RawCursor[Any], found: re.Match[str]) -> tuple[str, Any, str]:
        """Make the temporary table of an INSERT; return its name, its types and how it is emptied."""
        table, columns, values, rest = found.groups()
        pairs = list(zip(_COMMA.split(translate(columns).sql), _COMMA.split(values), strict=True))
        bound = ", ".join(column for column, value in pairs if value.strip() == "?")
        chosen = ", ".join(column if value.strip() == "?" else value for column, value in pairs)
        name = "new_" + sha256(found[0].encode()).hexdigest()[:16]
        cursor.execute(
            f"CREATE TEMP TABLE IF NOT EXISTS {name} AS SELECT {bound} FROM {table} WITH NO DATA"
        )
        cursor.execute(
            "SELECT array_agg(atttypid ORDER BY attnum) FROM pg_attribute"
            f" WHERE attrelid = '{name}'::regclass AND attnum > 0"
        )
        (types,) = cursor.fetchone() or ([],)
        source = f"SELECT {chosen} FROM {name} WHERE true {translate(rest).sql}"
        return name, types, f"INSERT INTO {table} ({translate(columns).sql}) {source}"

    @contextmanager
    def _watching(self) -> Iterator[None]:
        with as_sqlite_says():
            try:
                yield
            except psycopg.Error as error:
                self._worn |= error.sqlstate in _ANEW
                raise

    @property
    def dead(self) -> bool:
        return self.raw.closed or self._worn

    @property
    def in_transaction(self) -> bool:
        return self.raw.info.transaction_status != psycopg.pq.TransactionStatus.IDLE

    def cancel(self) -> None:
        """Ask the server, from another thread, to end what this connection waits for."""
        with suppress(psycopg.Error):
            self.raw.cancel_safe(timeout=5.0)

    def close(self) -> None:
        self.raw.close()

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, kind: Any, *_: object) -> None:
        self.execute("COMMIT" if kind is None else "ROLLBACK")


def connect(conninfo: str, schema: str, settings: str) -> Connection:
    """Open a connection; *settings* are statements for the whole session."""
    with as_sqlite_says():
        known = psycopg.conninfo.conninfo_to_dict(conninfo)
        several = "," in str(known.get("host") or known.get("hostaddr") or "")
        more = {"target_session_attrs": "read-write"} if several else {}
        raw = psycopg.connect(
            **{**CONNECT, **more, **known},  # type: ignore[arg-type]
            autocommit=True,
        )
    try:
        connection = Connection(raw, schema)
        connection.plain(
            f"SET search_path = {schema}, pg_catalog, pg_temp; "
            f"SET client_min_messages = warning; {settings}"
        )
    except BaseException:
        raw.close()
        raise
    return connection
