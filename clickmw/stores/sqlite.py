"""The SQLite store: one file that belongs to the user.

``append`` is one ``BEGIN IMMEDIATE`` transaction with rows, rollups, ledger and watermark. What it
decides (:mod:`clickmw.stores._sqlite_intake` and its parts) and what the report reads
(:mod:`clickmw.stores._sqlite_panels`) stand beside this module.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from clickmw.errors import BadEvent, SettingsError, StoreError
from clickmw.stores import _sqlite_digests as digests
from clickmw.stores._sqlite_advertisers import name_advertisers
from clickmw.stores._sqlite_check import check
from clickmw.stores._sqlite_dictionaries import Dictionaries
from clickmw.stores._sqlite_intake import take
from clickmw.stores._sqlite_panels import SQLiteReader
from clickmw.stores._sqlite_schema import SCHEMA_VERSION, is_current, migrate
from clickmw.stores.base import Reader, Record, StoreOptions

BUSY_MS = 10_000
#: What SQLite and Python say to a value that no column can hold.
UNSTORABLE = (
    BadEvent,
    ValueError,
    TypeError,
    OverflowError,
    sqlite3.DataError,
    sqlite3.IntegrityError,
    sqlite3.InterfaceError,
)

PRAGMAS = f"""
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
PRAGMA busy_timeout = {BUSY_MS};
PRAGMA wal_autocheckpoint = 4000;
PRAGMA journal_size_limit = 67108864;
PRAGMA cache_size = -65536;
PRAGMA trusted_schema = OFF;
"""

WATERMARK = """
-- One row: how far a segment has been taken in, and its writer's count there.
SELECT taken, running, torn FROM segment WHERE name = :segment
"""
SET_WATERMARK = """
-- One row per segment.
INSERT INTO segment (name, taken, running, torn) VALUES (:segment, :taken, :running, :torn)
    ON CONFLICT (name) DO UPDATE SET taken = excluded.taken, running = excluded.running, torn = excluded.torn
"""
FORGET_SEGMENT = """
-- One row: a segment whose file is gone.
DELETE FROM segment WHERE name = :segment
"""
FORGET_SENT = """
-- One row per id of a browser that nobody will repeat.
DELETE FROM sent_id WHERE client_id < ? AND last_ms < ?
"""
SET_HORIZON = """
-- One row: raw rows received before this have been pruned.
INSERT INTO meta (key, value) VALUES ('pruned_before_ms', :before_ms) ON CONFLICT (key)
    DO UPDATE SET value = max(CAST(value AS INTEGER), CAST(excluded.value AS INTEGER))
"""
ADD_TO_LEDGER = """
-- One row per ledger line.
INSERT INTO ledger (name, events) VALUES (?, ?)
    ON CONFLICT (name) DO UPDATE SET events = events + excluded.events
"""
LAST_EVENT = """
-- The ledger's one line that is a time, not a sum.
INSERT INTO ledger (name, events) VALUES ('last_event_ms', ?)
    ON CONFLICT (name) DO UPDATE SET events = max(events, excluded.events)
"""


def open_store(url: str, options: StoreOptions) -> SQLiteStore:
    """Return the store of *url*: ``sqlite:///relative/path`` or ``sqlite:////absolute/path``."""
    if not url.startswith("sqlite:///") or url == "sqlite:///":
        raise SettingsError(
            f"store={url!r} does not name a file. Write store='sqlite:///clicks.db' "
            "(three slashes: relative to the working folder, four: absolute)."
        )
    return SQLiteStore(Path(url.removeprefix("sqlite:///")), options)


class SQLiteStore:
    """Events in the database file *path*. One thread at a time may write."""

    kind = "sqlite"

    def __init__(self, path: Path, options: StoreOptions) -> None:
        self.path = path
        self.options = options
        self._connection: sqlite3.Connection | None = None
        self._log = path.with_name(path.name + "-wal")
        self._identity: tuple[int, int] | None = None
        self._log_identity: tuple[int, int] | None = None
        self._dictionaries = Dictionaries(options)
        self._data_version = -1

    def migrate(self) -> None:
        """Bring the schema up to date; safe to call from many processes at once."""
        self._writer()

    def watermarks(self) -> dict[str, tuple[int, int]]:
        """Return segment name → (bytes taken in, writer's running count there)."""
        try:
            rows = self._writer().execute("SELECT name, taken, running FROM segment").fetchall()
        except sqlite3.Error as error:
            raise self._trouble(error) from error
        return {name: (taken, running) for name, taken, running in rows}

    def append(
        self,
        segment: str,
        start: int,
        end: int,
        records: Sequence[Record],
        *,
        on_disk: bool = False,
    ) -> int:
        """Take in *records* of *segment* between two offsets; return how many events were new."""
        with self._transaction(on_disk or self.options.durable) as connection:
            row = connection.execute(WATERMARK, {"segment": segment}).fetchone()
            taken, running, torn = row or (0, 0, 0)
            if start > taken:
                raise StoreError(f"segment {segment}: bytes {taken} to {start} were never taken in")
            fresh = [record for record in records if record.start >= taken]
            ledger, running, torn = _account(fresh, running, torn)
            events = [stored for record in fresh for stored in record.events]
            if events:
                take(connection, self._dictionaries, events, ledger)
            _write_ledger(connection, ledger, events)
            if on_disk:
                # A row that stays as it is would not be written, and then nothing would be synced.
                connection.execute(FORGET_SEGMENT, {"segment": segment})
            mark = {"segment": segment, "taken": max(end, taken), "running": running, "torn": torn}
            connection.execute(SET_WATERMARK, mark)
        return len(events)

    def forget_segment(self, segment: str) -> None:
        """Drop the watermark of a segment whose file is gone."""
        with self._transaction(False) as connection:
            connection.execute(FORGET_SEGMENT, {"segment": segment})

    def prune(self, before_ms: int, *, limit: int) -> int:
        """Delete up to *limit* rows of each kind received before *before_ms*."""
        with self._transaction(False) as connection:
            connection.execute(
                "DELETE FROM recent_search WHERE received_ms < ?",
                (time.time_ns() // 1_000_000 - 2 * 86_400_000 - 3_600_000,),
            )
            # A browser's id begins with its own clock's time, which may be two days off.
            oldest_ms = time.time_ns() // 1_000_000 - 2 * 86_400_000 - 3_600_000
            connection.execute(FORGET_SENT, (oldest_ms.to_bytes(6), oldest_ms))
            # An id begins with its segment's time: what waited so long waits in vain.
            oldest = max(before_ms, 0).to_bytes(6)
            connection.execute("DELETE FROM waiting_view WHERE event_id < ?", (oldest,))
            deleted = sum(_delete_oldest(connection, table, before_ms, limit) for table in _KEYS)
            if deleted:
                connection.execute(SET_HORIZON, {"before_ms": str(before_ms)})
            return deleted

    def reader(self) -> Reader:
        """Open a read-only view; the caller closes it."""
        try:
            connection = sqlite3.connect(
                f"file:{_quoted(self.path)}?mode=ro", uri=True, isolation_level=None, timeout=2.0
            )
            connection.execute("PRAGMA query_only = ON")
            connection.execute("PRAGMA cache_size = -65536")
            version = connection.execute("PRAGMA user_version").fetchone()[0]
        except sqlite3.Error as error:
            raise self._trouble(error) from error
        if version != SCHEMA_VERSION:
            connection.close()
            raise StoreError(
                f"{self.path} has schema {version}, this clickmw reads {SCHEMA_VERSION}. "
                "Upgrade clickmw, or run: clickmw drain --once"
            )
        return SQLiteReader(connection)

    def check(self) -> list[str]:
        """Return a sentence for every invariant that does not hold."""
        with self._transaction(False) as connection:
            return list(check(connection, self.options))

    def describe(self) -> dict[str, Any]:
        """Return ``{"kind", "ok", "error"}`` for health."""
        try:
            self.reader().close()
        except StoreError as error:
            return {"kind": self.kind, "ok": False, "error": str(error)}
        return {"kind": self.kind, "ok": True, "error": None}

    def close(self) -> None:
        """Close the writing connection; the next write opens a new one."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None
        self._dictionaries.forget()

    # -- the writing connection ----------------------------------------------------------------

    def _writer(self) -> sqlite3.Connection:
        """Return the writing connection; a file that was deleted or replaced is opened anew."""
        if self._connection is not None and self._identity != _identity(self.path):
            self.close()
            self._remove_left_log()
        if self._connection is None:
            try:
                self._connection = self._open()
            except (sqlite3.Error, OSError) as error:
                raise self._trouble(error) from error
            self._identity = _identity(self.path)
            self._log_identity = _identity(self._log)
        return self._connection

    def _remove_left_log(self) -> None:
        """Remove the write-ahead log of a file that is gone: the next one would be mixed with it."""
        if self._log_identity is not None and self._log_identity == _identity(self._log):
            self._log.unlink(missing_ok=True)
            self._log.with_name(self.path.name + "-shm").unlink(missing_ok=True)

    def _open(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # Queries can be personal: nobody else on the machine reads them, whatever the umask. A file
        # that is there is not opened: closing it would end the locks of all our other connections.
        with contextlib.suppress(FileExistsError):
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        connection = sqlite3.connect(
            self.path, isolation_level=None, timeout=BUSY_MS / 1000, check_same_thread=False
        )
        try:
            is_current(connection)  # a later schema stays untouched, its journal mode too
            for pragma in PRAGMAS.split(";"):
                connection.execute(pragma).fetchall()
            migrate(connection)
            self._follow_settings(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _follow_settings(self, connection: sqlite3.Connection) -> None:
        """Write down what queries read of the settings: advertisers; and keep digests from now on."""
        name_advertisers(connection, self.options.sites)
        wanted = any(site.index_key for site in self.options.sites)
        if wanted and not digests.are_kept(connection):
            connection.execute("BEGIN IMMEDIATE")
            with connection:
                if not digests.are_kept(connection):  # another process may have been faster
                    digests.switch_on(connection)

    @contextlib.contextmanager
    def _transaction(self, on_disk: bool) -> Iterator[sqlite3.Connection]:
        try:
            connection = self._writer()
            connection.execute(f"PRAGMA synchronous = {'FULL' if on_disk else 'NORMAL'}")
            connection.execute("BEGIN IMMEDIATE")
            self._forget_if_others_wrote(connection)
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                # Ids given out in the lost transaction must not be used again.
                self._dictionaries.forget()
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        except UNSTORABLE as error:
            raise BadEvent(f"{type(error).__name__}: {error}") from error
        except (sqlite3.Error, OSError) as error:
            raise self._trouble(error) from error

    def _forget_if_others_wrote(self, connection: sqlite3.Connection) -> None:
        version = connection.execute("PRAGMA data_version").fetchone()[0]
        if version != self._data_version:
            self._dictionaries.forget()
            self._data_version = version

    def _trouble(self, error: Exception) -> StoreError:
        return StoreError(
            f"the database {self.path} cannot be used: {error}. The site works and events wait in "
            "the journal. Run: clickmw doctor"
        )


def _account(records: Sequence[Record], running: int, torn: int) -> tuple[dict[str, int], int, int]:
    """Return the ledger's changes, the writer's count and whether torn bytes await their explanation.

    What the writer counted and no record holds is called torn only where bytes were torn; anything
    else stays visible as a difference between the two sources.
    """
    ledger: dict[str, int] = {}
    for record in records:
        if record.torn:
            torn = 1
            continue
        tallied = 0
        for name, count in record.tallies.items():
            ledger[name] = ledger.get(name, 0) + count
            tallied += count if name.startswith(("opted_out", "dropped.")) else 0
        missing = record.running - running - len(record.events) - tallied
        if torn and missing > 0:
            ledger["dropped.torn"] = ledger.get("dropped.torn", 0) + missing
        ledger["received"] = ledger.get("received", 0) + record.running - running
        running, torn = record.running, 0
    return ledger, running, torn


def _write_ledger(
    connection: sqlite3.Connection, ledger: dict[str, int], events: list[Any]
) -> None:
    connection.executemany(ADD_TO_LEDGER, [item for item in ledger.items() if item[1]])
    if events:
        connection.execute(LAST_EVENT, (max(stored.event.received_ms for stored in events),))


_KEYS = {
    "search": "query_id",
    "click": "id",
    "impression": "id",
    "rating": "id",
    "answer": "id",
    "conversion": "id",
    "came_back": "id",
}
_OLDEST = {
    table: f"SELECT {key}, received_ms FROM {table} ORDER BY {key} LIMIT ?"  # noqa: S608
    for table, key in _KEYS.items()
}
_DELETE = {
    table: f"DELETE FROM {table} WHERE {key} = ?"  # noqa: S608
    for table, key in _KEYS.items()
}


def _delete_oldest(connection: sqlite3.Connection, table: str, before_ms: int, limit: int) -> int:
    rows = connection.execute(_OLDEST[table], (limit,)).fetchall()
    old = [(key,) for key, received_ms in rows if received_ms < before_ms]
    connection.executemany(_DELETE[table], old)
    return len(old)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _quoted(path: Path) -> str:
    return str(path.resolve()).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
