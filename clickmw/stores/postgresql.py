"""The PostgreSQL store: the same rules and statements as in SQLite, for many hosts at once.

One host at a time writes (an advisory lock that lasts as long as its transaction), so that the rules
decide as if there were only one. psycopg is loaded when the first connection is opened.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlencode

from clickmw.errors import SettingsError, StoreError
from clickmw.stores._hosts import SAID_EVERY_S
from clickmw.stores._sql_copy import copy_store
from clickmw.stores._sql_store import SQLStore
from clickmw.stores._sqlite_check import check
from clickmw.stores._sqlite_export import export
from clickmw.stores._sqlite_panels import SQLiteReader
from clickmw.stores.base import Extract, Reader, Store, StoreOptions, Tell, silent

if TYPE_CHECKING:
    from clickmw.stores._postgres_connection import Connection

SCHEMA = "clickmw"
EXAMPLE = "postgresql://user@host/database"
#: How long a writer waits for the others, and how long one append may take.
LOCK_WAIT_MS = 10_000
APPEND_MS = 60_000
#: How long a commit may wait for synchronous standbys.
COMMIT_S = 20.0
READ_MS = 60_000
SALT_MS = 2_000

WRITER = f"SET jit = off; SET lock_timeout = {LOCK_WAIT_MS}"
# A report's plan depends on its values: on whether a site, a text … was asked for. What it reads is in
# memory or on an SSD. Source: PostgreSQL's documentation of random_page_cost names 1.1 for those.
READER = (
    "SET default_transaction_read_only = on; SET plan_cache_mode = force_custom_plan; SET jit = off;"
    f" SET random_page_cost = 1.1; SET statement_timeout = {READ_MS}"
)
# The lock comes first: what is read afterwards has all that the others have written.
BEGIN = """
BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;
SET LOCAL synchronous_commit = {commit};
{limits}
SELECT pg_advisory_xact_lock(hashtextextended('clickmw append {schema}', 0));
"""
# A host that stops in the middle must not stop the others.
LIMITS = f"""
SET LOCAL statement_timeout = {APPEND_MS};
SET LOCAL idle_in_transaction_session_timeout = {APPEND_MS};
"""
#: One row: how often ids of texts were taken away or days were moved, and the file that the texts are in,
#: which is another one after a restore; who knows ids must forget them when it changes.
FIND_GENERATION = """
SELECT pg_relation_filenode('term') || ' ' ||
    coalesce((SELECT value FROM meta WHERE key = 'generation'), '')
"""
#: Of so many searches lists are made in less than 100 ms without looking elsewhere.
FEW = 400_000
_NAME = re.compile(r"[a-z_][a-z0-9_]{0,40}")


def open_store(url: str, options: StoreOptions) -> PostgreSQLStore:
    """Return the store of *url*: ``postgresql://user:password@host,host/database?schema=clickmw``."""
    address, _, query = url.partition("?")
    words = parse_qsl(query, keep_blank_values=True)
    schema = dict(words).get("schema", SCHEMA)
    if not address.startswith("postgresql://") or not _NAME.fullmatch(schema):
        why = "schema must be a plain lower-case name" if "://" in address else "it is no URL"
        raise SettingsError(f"store={masked(url)!r}: {why}. Write store={EXAMPLE!r}.")
    rest = urlencode([word for word in words if word[0] != "schema"])
    return PostgreSQLStore(f"{address}?{rest}" if rest else address, schema, options)


def masked(url: str) -> str:
    """Return *url* without what nobody else may know: its user, its password, its options."""
    scheme, found, rest = url.partition("://")
    return f"{scheme}{found}{rest.partition('?')[0].rpartition('@')[2]}"


def _secrets(url: str) -> list[str]:
    """Return the passwords in *url*, as they stand there and as they are sent."""
    login = url.partition("://")[2].partition("?")[0].rpartition("@")[0]
    words = dict(parse_qsl(url.partition("?")[2]))
    given = [
        login.partition(":")[2],
        *(words.get(name, "") for name in ("password", "sslpassword")),
    ]
    return sorted({text for one in given for text in (one, unquote(one)) if text}, key=len)[::-1]


class PostgreSQLStore(SQLStore):
    """Events in the schema *schema* of the database at *url*. One thread at a time may write."""

    kind = "postgresql"
    shared = True

    def __init__(self, url: str, schema: str, options: StoreOptions) -> None:
        super().__init__(options)
        self.url = url
        self.schema = schema
        self._generation = ""
        self._durable = "on"
        self._said_at = float("-inf")

    def watermarks(self) -> dict[str, tuple[int, int]]:
        """Return segment name → (bytes taken in, writer's running count there), of all hosts."""
        self._say_settings()
        return super().watermarks()

    def reader(self) -> Reader:
        """Open a read-only view; the caller closes it."""
        return PostgreSQLReader(self._read_only())  # type: ignore[arg-type]

    def keep_salt(self, day: int, salt: bytes) -> bytes:
        """Return the salt of *day*: the one that another host has made, else *salt* from now on."""
        # Not the writing connection: a visitor may wait for this.
        with contextlib.closing(self._connect(f"SET statement_timeout = {SALT_MS}")) as connection:
            from clickmw.stores._postgres_hosts import keep_salt
            from clickmw.stores._postgres_schema import migrate

            try:
                migrate(connection)
                return keep_salt(connection, day, salt)
            except sqlite3.Error as error:
                raise self._trouble(error) from error

    def _say_settings(self) -> None:
        if self.options.host and time.monotonic() - self._said_at > SAID_EVERY_S:
            with self._reading() as connection:
                from clickmw.stores._postgres_hosts import say_settings

                now_ms = time.time_ns() // 1_000_000
                say_settings(connection, self.options.host, self.options.agreed, now_ms)
            self._said_at = time.monotonic()

    def back_up(self, path: Path, tell: Tell) -> dict[str, int]:
        """Refuse: PostgreSQL has tools for that, which know its replicas and its log."""
        raise StoreError(
            f"clickmw does not copy a PostgreSQL database. Run: pg_dump --schema={self.schema} "
            f"--file={path} (or the base backups that you have)"
        )

    def copy_from(self, source: Store, tell: Tell) -> dict[str, int]:
        """Take over all rows of *source*, another SQL store, into this empty one; return table → rows."""
        if not isinstance(source, SQLStore):
            raise StoreError(f"a store of kind {source.kind} cannot be copied")
        connection = self._connect(WRITER)
        with contextlib.closing(connection), contextlib.closing(source._read_only()) as read:
            from clickmw.stores._postgres_schema import migrate, version_of

            try:
                if version_of(connection) >= 0:
                    migrate(connection)
                read.execute("BEGIN")  # all of one moment
                return copy_store(read, connection, tell)
            except sqlite3.Error as error:
                raise self._trouble(error) from error

    def check(self, tell: Tell = silent) -> list[str]:
        """Return a sentence for every invariant that does not hold; nobody waits for it."""
        with contextlib.closing(self._connect(READER.partition(" SET statement")[0])) as connection:
            try:
                connection.plain("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                return list(check(_as_sqlite(connection), self.options, tell))
            except sqlite3.Error as error:
                raise self._trouble(error) from error

    def export(self, asked: Extract) -> Iterator[Sequence[Any]]:
        """Yield the names of the columns and then the rows, one by one."""
        with contextlib.closing(self._read_only()) as connection:
            try:
                connection.plain("BEGIN READ ONLY")
                yield from export(_as_sqlite(connection), asked)
            except sqlite3.Error as error:
                raise self._trouble(error) from error

    def _fault(self, reader: Any) -> str | None:
        from clickmw.stores._postgres_schema import too_new, version_of

        try:
            later = too_new(reader._connection, version_of(reader._connection))
        except sqlite3.Error as error:
            raise self._trouble(error) from error
        return str(later) if later else None

    # -- connections ---------------------------------------------------------------------------

    def _connect(self, settings: str) -> Connection:
        try:
            from clickmw.stores._postgres_connection import connect
        except ImportError as error:
            raise StoreError(
                f"the store {masked(self.url)} needs psycopg, which cannot be loaded ({error}). "
                'Run: pip install "clickmw[postgres]"'
            ) from error
        try:
            return connect(self.url, self.schema, settings)
        except sqlite3.Error as error:
            raise self._trouble(error) from error

    def _writer(self) -> Connection:
        """Return the writing connection; one whose server is gone is replaced."""
        if self._connection is not None and self._connection.dead:
            self.close()
        if self._connection is None:
            connection = self._connect(WRITER)
            try:
                self._make_ready(connection)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection  # type: ignore[no-any-return]

    def _make_ready(self, connection: Connection) -> None:
        from clickmw.stores._postgres_schema import migrate

        try:
            migrate(connection)
            found = connection.plain("SHOW synchronous_commit").fetchone()
            self._durable = str(found[0]) if found else "on"
            self._follow_settings(connection)
        except sqlite3.Error as error:
            raise self._trouble(error) from error

    def _read_only(self) -> Connection:
        connection = self._connect(READER)
        from clickmw.stores._postgres_schema import refuse_other_version

        try:
            refuse_other_version(connection)
        except sqlite3.Error as error:
            connection.close()
            raise self._trouble(error) from error
        except BaseException:
            connection.close()
            raise
        return connection

    # -- transactions --------------------------------------------------------------------------

    def _begin(self, connection: Connection, *, on_disk: bool, long: bool) -> None:
        # Less than a commit on the server's own disk is not on disk; more (its standbys) stays.
        durable = "on" if self._durable in ("off", "local") else self._durable
        commit = durable if on_disk else "off"
        limits = "" if long else LIMITS
        connection.plain(BEGIN.format(commit=commit, limits=limits, schema=self.schema))
        row = connection.plain(FIND_GENERATION).fetchone()
        generation = str(row[0]) if row else ""
        if generation != self._generation:
            self._dictionaries.forget()
            self._generation = generation

    def _commit(self, connection: Connection) -> None:
        # A commit waits for its standbys as long as it takes, whatever the time-outs of statements say.
        impatience = threading.Timer(COMMIT_S, connection.cancel)
        impatience.daemon = True
        impatience.start()
        warned = connection.warned
        try:
            connection.execute("COMMIT")
        finally:
            impatience.cancel()
        if connection.warned > warned:
            # Cancelled, it is done on the server itself and maybe nowhere else. The caller repeats it.
            raise StoreError(
                f"{masked(self.url)} has not confirmed a commit: is a synchronous standby away? "
                "Events wait in the journal."
            )

    def _after_erasing(self) -> None:
        """Write every table anew: deleted rows stay in the old files until then."""
        with self._reading() as connection:
            names = connection.plain(
                f"SELECT tablename FROM pg_tables WHERE schemaname = '{self.schema}'"  # noqa: S608
            ).fetchall()
            for (name,) in names:
                connection.plain(f"VACUUM FULL {self.schema}.{name}")

    def _trouble(self, error: Exception) -> StoreError:
        said = str(error)
        for secret in _secrets(self.url):
            said = said.replace(secret, "…")
        return StoreError(
            f"the database {masked(self.url)} cannot be used: {said}. The site works; events wait "
            "in the journal as long as that has room. Run: clickmw doctor"
        )


class PostgreSQLReader(SQLiteReader):
    """A read-only view of the store; answers are a snapshot of the moment each is asked."""

    def _few(self) -> float:
        return FEW  # to look elsewhere for what has no click reads all days, too

    def disagreements(self) -> list[str]:
        """Return a sentence for each setting that is not the same on all hosts."""
        from clickmw.stores._postgres_hosts import find_disagreements

        connection: Any = self._connection
        try:
            return list(find_disagreements(connection, time.time_ns() // 1_000_000))
        except sqlite3.Error as error:
            raise StoreError(f"the database cannot be read: {error}") from error


def _as_sqlite(connection: Connection) -> Any:
    """Return *connection* for functions that say they take sqlite3's: it has what they use."""
    return connection
