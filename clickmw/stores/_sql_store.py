"""What all stores do that speak SQL: the same statements, rules and transactions.

``append`` is one transaction with rows, rollups, ledger and watermark. What it decides
(:mod:`clickmw.stores._sqlite_intake` and its parts) and what the report reads
(:mod:`clickmw.stores._sqlite_panels`) stand beside this module; a store adds its connections.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from clickmw.errors import BadEvent, StoreError
from clickmw.stores import _sqlite_digests as digests
from clickmw.stores._ledger import account
from clickmw.stores._sqlite_advertisers import name_advertisers
from clickmw.stores._sqlite_check import HORIZON
from clickmw.stores._sqlite_dictionaries import Dictionaries
from clickmw.stores._sqlite_erase import erase, find_elsewhere, forget_texts
from clickmw.stores._sqlite_export import export, find_clicks, find_stored
from clickmw.stores._sqlite_intake import UNSTORABLE, is_unstorable, take
from clickmw.stores._sqlite_keys import add_key, find_keys, remove_key
from clickmw.stores._sqlite_panels import SQLiteReader
from clickmw.stores._sqlite_prune import count_old, delete, find_old
from clickmw.stores._sqlite_rebuild import rebuild
from clickmw.stores.base import (
    Erasure,
    Extract,
    Reader,
    Rebuilt,
    Record,
    Store,
    StoredKey,
    StoreOptions,
    Tell,
    silent,
)

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
    DO UPDATE SET value = CAST(max(CAST(meta.value AS INTEGER), CAST(excluded.value AS INTEGER)) AS TEXT)
"""
ADD_TO_LEDGER = """
-- One row per ledger line.
INSERT INTO ledger (name, events) VALUES (?, ?)
    ON CONFLICT (name) DO UPDATE SET events = ledger.events + excluded.events
"""
NEXT_GENERATION = """
-- One row: how often ids of texts were taken away or days were moved.
INSERT INTO meta (key, value) VALUES ('generation', '1') ON CONFLICT (key)
    DO UPDATE SET value = CAST(CAST(meta.value AS INTEGER) + 1 AS TEXT)
"""
LAST_EVENT = """
-- The ledger's one line that is a time, not a sum.
INSERT INTO ledger (name, events) VALUES ('last_event_ms', ?)
    ON CONFLICT (name) DO UPDATE SET events = max(ledger.events, excluded.events)
"""


class SQLStore:
    """Events in a database. One thread at a time may write.

    A subclass opens the connections, and begins and ends the transactions.
    """

    kind = ""
    shared = False

    def __init__(self, options: StoreOptions) -> None:
        self.options = options
        self._connection: Any = None
        self._dictionaries = Dictionaries(options)

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
        with self._transaction(on_disk) as connection:
            row = connection.execute(WATERMARK, {"segment": segment}).fetchone()
            taken, running, torn = row or (0, 0, 0)
            if start > taken:
                raise StoreError(f"segment {segment}: bytes {taken} to {start} were never taken in")
            fresh = [record for record in records if record.start >= taken]
            ledger, running, torn = account(fresh, running, torn)
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

    def refresh(self, within_s: float = float("inf")) -> bool:
        """Do nothing: each append keeps the sums."""
        return True

    def prune(self, before_ms: int, *, limit: int) -> int:
        """Delete up to *limit* rows of each kind received before *before_ms*."""
        with self._reading() as connection:
            found = find_old(connection, before_ms, limit)
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
            deleted = delete(connection, found, before_ms)
            if deleted:
                connection.execute(SET_HORIZON, {"before_ms": str(before_ms)})
            return deleted

    def count_before(self, before_ms: int) -> dict[str, int]:
        """Return how many raw rows of each kind were received before *before_ms*."""
        with self._reading() as connection:
            return count_old(connection, before_ms)

    def horizon(self) -> int:
        """Return the time before which raw events are pruned, in milliseconds; 0 when none ever was."""
        with self._reading() as connection:
            return int(connection.execute(HORIZON).fetchone()[0])

    def rebuild(self, tell: Tell) -> Rebuilt:
        """Decide and sum everything again from raw events, in the time zones of the settings."""
        with self._transaction(True, long=True) as connection:
            rebuilt = rebuild(connection, self.options, tell)
            self._tell_others(connection)
        self._dictionaries.forget()  # the zones of the sites
        return rebuilt

    def erase(self, wanted: Erasure, tell: Tell) -> dict[str, int]:
        """Delete what *wanted* names from rows, sums, log and freed pages; return kind → rows."""
        self._before_erasing()
        with self._transaction(True, long=True) as connection:
            erased = erase(connection, wanted)
            if erased:
                rebuild(connection, self.options, tell, zones=False)
            erased |= forget_texts(connection)
            ledger = {"erased": sum(erased.values())}
            _write_ledger(connection, ledger, [])
            elsewhere = find_elsewhere(connection, wanted)
            self._tell_others(connection)
        self._dictionaries.forget()  # texts that are gone
        self._after_erasing()
        return {**erased, "elsewhere": elsewhere}

    def list_keys(self) -> list[StoredKey]:
        """Return the keys that were made on the command line, oldest first."""
        with contextlib.closing(self._read_only()) as connection:
            try:
                return find_keys(connection)
            except sqlite3.Error as error:
                raise self._trouble(error) from error

    def add_key(self, key: StoredKey) -> None:
        """Keep a new key."""
        with self._transaction(True) as connection:
            add_key(connection, key)

    def remove_key(self, key_id: str) -> bool:
        """Take a key out of force; False when there is none."""
        with self._transaction(True) as connection:
            return remove_key(connection, key_id)

    def export(self, asked: Extract) -> Iterator[Sequence[Any]]:
        """Yield the names of the columns and then the rows, one by one."""
        with contextlib.closing(self._read_only()) as connection:
            try:
                yield from export(connection, asked)
            except sqlite3.Error as error:
                raise self._trouble(error) from error

    def find_stored(self, event_ids: Collection[bytes]) -> set[bytes]:
        """Return which events have a row already."""
        with self._reading() as connection:
            return find_stored(connection, event_ids)

    def find_clicks(self, query_ids: Collection[str]) -> list[tuple[bytes, str, int]]:
        """Return (query id, URL, received_ms) of each click on one of these pages."""
        with self._reading() as connection:
            return list(find_clicks(connection, query_ids))

    def reader(self) -> Reader:
        """Open a read-only view; the caller closes it."""
        return SQLiteReader(self._read_only())

    def check(self, tell: Tell = silent) -> list[str]:
        """Return a sentence for every invariant that does not hold, all of one moment."""
        raise NotImplementedError

    def find_damage(self, within_s: float) -> list[str] | None:
        """Return nothing: a server looks after its own files."""
        return []

    def copy_from(self, source: Store, tell: Tell) -> dict[str, int]:
        """Refuse: who wants a copy of a store in a file makes a backup or an export."""
        raise StoreError(
            f"nothing is copied into a store of kind {self.kind}; see export and import"
        )

    def keep_salt(self, day: int, salt: bytes) -> bytes:
        """Return the salt of *day* that all hosts share; there is one host, and its folder has it."""
        return salt

    def describe(self, reader: Reader | None = None) -> dict[str, Any]:
        """Return ``{"kind", "ok", "error", "warning"}`` for health; opens nothing beside *reader*."""
        try:
            if reader is None:
                with contextlib.closing(self.reader()) as opened:
                    return self.describe(opened)
            error = self._fault(reader)
        except StoreError as trouble:
            error = str(trouble)
        said = {"kind": self.kind, "ok": error is None, "error": error}
        return {**said, "warning": self._warning()}

    def close(self) -> None:
        """Close the writing connection; the next write opens a new one."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None
        self._dictionaries.forget()

    # -- what a store does its own way ---------------------------------------------------------

    def _writer(self) -> Any:
        """Return the writing connection, opened when there is none that works."""
        raise NotImplementedError

    def _read_only(self) -> Any:
        """Open a connection that only reads."""
        raise NotImplementedError

    def _begin(self, connection: Any, *, on_disk: bool, long: bool) -> None:
        """Begin a transaction that nobody else writes in; *long* ones may take minutes."""
        raise NotImplementedError

    def _commit(self, connection: Any) -> None:
        connection.execute("COMMIT")

    def _follow_settings(self, connection: Any) -> None:
        """Write down what queries read of the settings: advertisers; and keep digests from now on."""
        name_advertisers(connection, self.options.sites)
        wanted = any(site.index_key for site in self.options.sites)
        if wanted and not digests.are_kept(connection):
            self._begin(connection, on_disk=True, long=True)
            with connection:
                if not digests.are_kept(connection):  # another writer may have been faster
                    digests.switch_on(connection)
                    self._tell_others(connection)

    def _tell_others(self, connection: Any) -> None:
        """In a transaction: make all who know ids of texts forget them."""
        connection.execute(NEXT_GENERATION)

    def _fault(self, reader: Any) -> str | None:
        """Return what is wrong although it can be read."""
        return None

    def _warning(self) -> str | None:
        """Return what is no trouble yet."""
        return None

    def _before_erasing(self) -> None:
        """Make ready for what leaves no trace."""

    def _after_erasing(self) -> None:
        """Remove the traces of what was erased."""

    def _trouble(self, error: Exception) -> StoreError:
        raise NotImplementedError

    @contextlib.contextmanager
    def _reading(self) -> Iterator[Any]:
        """Lend the writing connection to what takes no lock, or sees to its locks itself."""
        try:
            yield self._writer()
        except (sqlite3.Error, OSError) as error:
            raise self._trouble(error) from error

    @contextlib.contextmanager
    def _transaction(self, on_disk: bool, *, long: bool = False) -> Iterator[Any]:
        try:
            connection = self._writer()
            try:
                # Who waited in vain for others may have a transaction open, too.
                self._begin(connection, on_disk=on_disk or self.options.durable, long=long)
                yield connection
                self._commit(connection)
            except BaseException:
                # Ids given out in the lost transaction must not be used again.
                self._dictionaries.forget()
                with contextlib.suppress(sqlite3.Error):
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                raise
        except (*UNSTORABLE, sqlite3.Error, OSError) as error:
            if is_unstorable(error):
                raise BadEvent(f"{type(error).__name__}: {error}") from error
            raise self._trouble(error) from error


def _write_ledger(
    connection: sqlite3.Connection, ledger: dict[str, int], events: list[Any]
) -> None:
    connection.executemany(ADD_TO_LEDGER, [item for item in ledger.items() if item[1]])
    if events:
        connection.execute(LAST_EVENT, (max(stored.event.received_ms for stored in events),))
