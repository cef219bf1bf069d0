"""The SQLite store: one file that belongs to the user.

A transaction is ``BEGIN IMMEDIATE``; what happens in it: :mod:`clickmw.stores._sql_store`.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

from clickmw.errors import SettingsError, StoreError
from clickmw.stores import _sqlite_digests as digests
from clickmw.stores._sql_store import SQLStore
from clickmw.stores._sqlite_advertisers import name_advertisers
from clickmw.stores._sqlite_backup import back_up
from clickmw.stores._sqlite_schema import SCHEMA_VERSION, is_current, migrate
from clickmw.stores.base import StoreOptions, Tell

BUSY_MS = 10_000
PRAGMAS = f"""
PRAGMA journal_mode = WAL;
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

    def back_up(self, path: Path, tell: Tell) -> dict[str, int]:
        """Write a copy of one moment to the new file *path*; return table → rows."""
        with self._reading() as connection:
            return back_up(connection, path, tell)

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
        if version != SCHEMA_VERSION:
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
        return StoreError(
            f"the database {self.path} cannot be used: {error}. The site works and events wait in "
            "the journal. Run: clickmw doctor"
        )


def _empty_log(connection: sqlite3.Connection) -> None:
    """Bring all that is written into the database itself; its log has nothing left then."""
    busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    if busy:
        raise sqlite3.OperationalError("somebody reads an older state; close it and run this again")


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _quoted(path: Path) -> str:
    return str(path.resolve()).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
