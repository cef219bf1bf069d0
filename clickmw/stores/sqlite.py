"""The SQLite store: one file that belongs to the user.

A transaction is ``BEGIN IMMEDIATE``; what happens in it: :mod:`clickmw.stores._sql_store`.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from clickmw.errors import SettingsError, StoreError
from clickmw.journal import sync_folder
from clickmw.stores import _sqlite_damage as damage
from clickmw.stores import _sqlite_reserve as reserve
from clickmw.stores._sql_store import SQLStore
from clickmw.stores._sqlite_backup import back_up
from clickmw.stores._sqlite_check import check
from clickmw.stores._sqlite_panels import SQLiteReader
from clickmw.stores._sqlite_schema import (
    SCHEMA_VERSION,
    is_current,
    is_readable,
    migrate,
    too_new,
)
from clickmw.stores._sqlite_texts import Texts
from clickmw.stores.base import Reader, StoreOptions, Tell, silent

T = TypeVar("T")
BUSY_MS = 10_000
#: Rows of a kind that are pruned at once on a full disk.
TIGHT_ROWS = 20
#: A log this long is one that nobody could empty for a while; the next that is emptied shrinks to 64 MB.
LONG_LOG = 80 * 1024 * 1024
PRAGMAS = f"""
PRAGMA synchronous = NORMAL;
PRAGMA busy_timeout = {BUSY_MS};
PRAGMA wal_autocheckpoint = 4000;
PRAGMA journal_size_limit = 67108864;
PRAGMA cache_size = -65536;
PRAGMA trusted_schema = OFF;
"""


def open_store(url: str, options: StoreOptions) -> SQLiteStore:
    """Return the store of *url*: ``sqlite:///relative/path`` or ``sqlite:////absolute/path``."""
    if not url.startswith("sqlite:///") or url == "sqlite:///":
        raise SettingsError(
            f"store={url!r} does not name a file. Write store='sqlite:///clicks.db' "
            "(three slashes: relative to the working folder, four: absolute)."
        )
    return SQLiteStore(Path(url.removeprefix("sqlite:///")), options)


class SQLiteStore(SQLStore):
    """Events in the database file *path*. One thread at a time may write."""

    kind = "sqlite"

    def __init__(self, path: Path, options: StoreOptions) -> None:
        super().__init__(options)
        self.path = path
        self._log = path.with_name(path.name + "-wal")
        self._identity: tuple[int, int] | None = None
        self._log_identity: tuple[int, int] | None = None
        self._data_version = -1
        self._texts = Texts()

    def reader(self) -> Reader:
        """Open a read-only view; the caller closes it."""
        connection, file = self._read_only(), _identity(self.path)
        return SQLiteReader(connection, lambda text: self._texts.find(connection, file, text))

    def back_up(self, path: Path, tell: Tell) -> dict[str, int]:
        """Write a copy of one moment to the new file *path*; return table → rows."""
        with self._reading() as connection:
            return back_up(connection, path, tell)

    def prune(self, before_ms: int, *, limit: int) -> int:
        """Delete up to *limit* rows of each kind received before *before_ms*; on a full disk fewer at a time."""
        return self._on_a_full_disk(lambda: self._prune(before_ms, limit))

    def _prune(self, before_ms: int, limit: int) -> int:
        reserve.keep(self.path)  # it may have grown since it was opened
        tight = reserve.is_tight(self.path)
        deleted = super().prune(before_ms, limit=min(limit, TIGHT_ROWS) if tight else limit)
        if tight:  # what the log has taken up is free again
            with self._reading() as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return deleted

    def count_before(self, before_ms: int) -> dict[str, int]:
        """Return how many raw rows of each kind were received before *before_ms*."""
        count = super().count_before
        return self._on_a_full_disk(lambda: count(before_ms))

    def _on_a_full_disk(self, action: Callable[[], T]) -> T:
        """Do *action*; where the disk is too full for that, give it the room that was kept back."""
        try:
            return action()
        except StoreError:
            if not reserve.give_back(self.path):
                raise
        self.close()
        return action()

    def check(self, tell: Tell = silent) -> list[str]:
        """Return a sentence for every invariant that does not hold: all of one moment, without a lock.

        Of a damaged file nothing else can be said.
        """
        with self._reading() as connection:
            damaged = damage.find(connection)
            if damaged:
                return [f"the file is damaged: {what}. {damage.REMEDY}" for what in damaged]
            connection.execute("BEGIN")
            try:
                return list(check(connection, self.options, tell))
            finally:
                connection.execute("ROLLBACK")

    def find_damage(self, within_s: float) -> list[str] | None:
        """Read the whole file; return what is wrong with it, None when *within_s* was not enough."""
        with contextlib.closing(self._read_only()) as connection:
            found = damage.find(connection, within_s)
        if found:
            damage.remember(self.path, found[0])
        return found

    def _fault(self, reader: Any) -> str | None:
        later = too_new(reader._connection)
        return damage.known(self.path) or (str(later) if later else None)

    def _warning(self) -> str | None:
        size = _size_of(self._log)
        if size < LONG_LOG:
            return None
        return (
            f"the log {self._log} has {size / 1e6:,.0f} MB: somebody has been reading the database for "
            "long (a report, a backup, a SQL shell). It shrinks when they end"
        )

    def _read_only(self) -> sqlite3.Connection:
        try:
            connection = sqlite3.connect(
                f"file:{_quoted(self.path)}?mode=ro", uri=True, isolation_level=None, timeout=2.0
            )
            connection.execute("PRAGMA query_only = ON")
            connection.execute("PRAGMA cache_size = -65536")
            version = connection.execute("PRAGMA user_version").fetchone()[0]
        except sqlite3.Error as error:
            raise self._trouble(error) from error
        if version != SCHEMA_VERSION and not is_readable(connection):
            connection.close()
            remedy = "Upgrade clickmw." if version > SCHEMA_VERSION else "Run: clickmw drain --once"
            raise StoreError(
                f"{self.path} has schema {version}, this clickmw reads {SCHEMA_VERSION}. {remedy}"
            )
        return connection

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
        return self._connection  # type: ignore[no-any-return]

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
            sync_folder(self.path.absolute().parent)
        connection = sqlite3.connect(
            self.path, isolation_level=None, timeout=BUSY_MS / 1000, check_same_thread=False
        )
        try:
            is_current(connection)  # a later schema stays untouched, its journal mode too
            _begin_log(connection)
            for pragma in PRAGMAS.split(";"):
                connection.execute(pragma).fetchall()
            migrate(connection)
            self._follow_settings(connection)
            reserve.keep(self.path)
        except BaseException:
            connection.close()
            raise
        return connection

    def _begin(self, connection: sqlite3.Connection, *, on_disk: bool, long: bool) -> None:
        connection.execute(f"PRAGMA synchronous = {'FULL' if on_disk else 'NORMAL'}")
        connection.execute("BEGIN IMMEDIATE")
        self._forget_if_others_wrote(connection)

    def _before_erasing(self) -> None:
        with self._reading() as connection:
            connection.execute("PRAGMA secure_delete = ON")

    def _after_erasing(self) -> None:
        with self._reading() as connection:
            _empty_log(connection)
            connection.execute("VACUUM")
            _empty_log(connection)

    def _forget_if_others_wrote(self, connection: sqlite3.Connection) -> None:
        version = connection.execute("PRAGMA data_version").fetchone()[0]
        if version != self._data_version:
            self._dictionaries.forget()
            self._data_version = version

    def _trouble(self, error: Exception) -> StoreError:
        if isinstance(error, StoreError):
            return error
        if damage.is_damage(error):
            damage.remember(self.path, str(error))
        return StoreError(
            f"the database {self.path} cannot be used: {error}. The site works; events wait in the "
            "journal as long as that has room. Run: clickmw doctor"
        )


def _begin_log(connection: sqlite3.Connection) -> None:
    """Let the database have a log (WAL); where several processes do so at once, SQLite refuses some without waiting."""
    end = time.monotonic() + BUSY_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL").fetchall()
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
        time.sleep(0.01)


def _empty_log(connection: sqlite3.Connection) -> None:
    """Bring all that is written into the database itself; its log has nothing left then."""
    busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    if busy:
        raise sqlite3.OperationalError("somebody reads an older state; close it and run this again")


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _quoted(path: Path) -> str:
    return str(path.resolve()).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
