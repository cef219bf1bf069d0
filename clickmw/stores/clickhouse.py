"""The ClickHouse store: events of many hosts on servers that scale.

``append`` adds events and what they are worth for the ledger, nothing else: it may be repeated in any
cut, by any host. What the report reads follows from them and is brought up to date apart
(:mod:`clickmw.stores._clickhouse_refresh`), by whoever reads or drains.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from clickmw.errors import StoreError, StoreTooNew
from clickmw.stores import _clickhouse_copy as copy
from clickmw.stores import _clickhouse_hosts as hosts
from clickmw.stores import _clickhouse_progress as progress
from clickmw.stores import _clickhouse_upkeep as upkeep
from clickmw.stores._clickhouse_erase import Erase
from clickmw.stores._clickhouse_http import Address, Refused, literal, read_url
from clickmw.stores._clickhouse_panels import ClickHouseReader
from clickmw.stores._clickhouse_progress import Mark, Step
from clickmw.stores._clickhouse_raw import ADD_RAW, encode
from clickmw.stores._clickhouse_refresh import Refresh, name_sites
from clickmw.stores._clickhouse_schema import HORIZON, ROWS, is_readable, migrate, too_new
from clickmw.stores._clickhouse_shards import connect
from clickmw.stores._hosts import SAID_EVERY_S
from clickmw.stores._ledger import account, add_origins, add_to
from clickmw.stores._sqlite_check import first_whole
from clickmw.stores._sqlite_reading import day_date
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

#: What every statement needs of a server.
SETTINGS = {
    "final": "1",
    "join_use_nulls": "1",
    "prefer_column_name_to_alias": "1",
    "max_partitions_per_insert_block": "0",
    "mutations_sync": "2",
    # Replicas delete what another of their own tables has no more: each finds the same.
    "allow_nondeterministic_mutations": "1",
    # To choose the columns that are read first takes longer than to read a week; the statements do.
    "optimize_move_to_prewhere": "0",
    "max_query_size": "268435456",
    "output_format_json_quote_64bit_integers": "0",
}
#: What a server says of a table or a database that is not there any more.
GONE = frozenset((60, 81))
#: How long a question waits for what was taken in before it; the rest comes with the next one.
READ_WAITS_S = 20.0
#: How soon another question looks whether other hosts have taken something in.
LOOK_AGAIN_S = 1.0
#: A visitor may wait for the salt of the day.
SALT_S = 2.0


def open_store(url: str, options: StoreOptions) -> ClickHouseStore:
    """Return the store of *url*: ``clickhouse+http://user:password@host:8123/database``."""
    address = read_url(url)
    return ClickHouseStore(address, options)


class ClickHouseStore:
    """Events in a ClickHouse database. One thread at a time may write."""

    kind = "clickhouse"
    shared = True

    def __init__(self, address: Address, options: StoreOptions) -> None:
        self.address = address
        self.options = options
        self.client = connect(address, SETTINGS)
        self._durable: dict[str, str] = (
            {"insert_quorum": str(address.quorum)} if address.quorum else {}
        )
        self._migrated = False
        self._marks: dict[str, Mark] = {}
        self._sites: set[str] = set()
        self._refresh = Refresh(self.client, options)
        self._guard = threading.Lock()
        self._is_behind = True
        self._look_again = 0.0
        self._said_at = float("-inf")

    def migrate(self) -> None:
        """Make the tables that are missing; safe to call from many processes at once."""
        if not self._migrated:
            migrate(self.client)
            upkeep.name_advertisers(self.client, self.options.sites)
            upkeep.want_docids(self.client, self.options.sites)
            self._migrated = True

    def watermarks(self) -> dict[str, tuple[int, int]]:
        """Return segment name → (bytes taken in, writer's running count there)."""
        try:
            self.migrate()
            self._say_settings()
            self._marks = progress.marks(self.client)
        except Refused as error:
            if error.code in GONE:  # made again when they are asked for next
                self._migrated = False
                self._sites.clear()
            raise
        return progress.as_pairs(self._marks)

    def keep_salt(self, day: int, salt: bytes) -> bytes:
        """Return the salt of *day*: the one that another host has made, else *salt* from now on."""
        with closing(connect(self.address, SETTINGS, timeout_s=SALT_S)) as client:
            if not self._migrated:
                migrate(client)
            return hosts.keep_salt(client, day, salt, self._durable)

    def _say_settings(self) -> None:
        if self.options.host and time.monotonic() - self._said_at > SAID_EVERY_S:
            now_ms = time.time_ns() // 1_000_000
            hosts.say_settings(self.client, self.options.host, self.options.agreed, now_ms)
            self._said_at = time.monotonic()

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
        self.migrate()
        mark = self._mark(segment, start)
        if start > mark.taken:
            raise StoreError(
                f"segment {segment}: bytes {mark.taken} to {start} were never taken in"
            )
        fresh = [record for record in records if record.start >= mark.taken]
        ledger, running, torn = account(fresh, mark.running, mark.torn)
        events = [stored for record in fresh for stored in record.events]
        _count(ledger, events)
        if events:
            self._name_sites({stored.event.site for stored in events})
            token = f"{segment}/{mark.taken}/{end}"
            self.client.run(
                ADD_RAW, encode(fresh), insert_deduplication_token=token, **self._durable
            )
        if end > mark.taken:
            step = Step(mark.taken, end, running, torn, ledger)
            progress.add_step(self.client, segment, step, settings=self._durable)
            self._marks[segment] = Mark(end, running, torn)
            self._is_behind = True
        return len(events)

    def _name_sites(self, handles: set[str]) -> None:
        """Record the time zones of sites that are new: they stay in force from the first event on."""
        if not handles <= self._sites:
            self._sites |= name_sites(self.client, self.options, handles).keys()

    def _mark(self, segment: str, start: int) -> Mark:
        """Return how far *segment* was taken in; looked up unless it is where we left it."""
        known = self._marks.get(segment)
        if known is None or known.taken != start:
            steps = progress.find_steps(self.client, segment).get(segment, [])
            known = self._marks[segment] = progress.mark_of(steps)
        return known

    def forget_segment(self, segment: str) -> None:
        """Leave of a segment whose file is gone nothing but its part of the ledger."""
        self.migrate()
        progress.close(self.client, segment, self._marks.get(segment, Mark()))
        self._marks.pop(segment, None)

    def refresh(self, within_s: float = float("inf")) -> bool:
        """Bring what the report reads up to date, as far as *within_s* goes; False when there is more."""
        self.migrate()
        with self._guard:
            return self._refresh.run(within_s)

    # -- upkeep ------------------------------------------------------------------------------------

    def prune(self, before_ms: int, *, limit: int) -> int:
        """Delete what was received before *before_ms*: whole days at once, of the last one up to *limit* rows."""
        self.refresh()
        return upkeep.prune(self.client, before_ms, limit)

    def count_before(self, before_ms: int) -> dict[str, int]:
        """Return how many raw rows of each kind were received before *before_ms*."""
        self.refresh()
        return upkeep.count_before(self.client, before_ms)

    def horizon(self) -> int:
        """Return the time before which raw events are pruned, in milliseconds; 0 when none ever was."""
        self.migrate()
        return int(self.client.value(HORIZON))

    def back_up(self, path: Path, tell: Tell) -> dict[str, int]:
        """Write everything to the new file *path*, a database of the SQLite store; return table → rows."""
        self.refresh()
        return copy.back_up(self.client, path, tell)

    def copy_from(self, source: Store, tell: Tell) -> dict[str, int]:
        """Refuse: this store keeps events, and other stores have the rows that were made of them."""
        raise StoreError(
            "nothing is copied into a ClickHouse store: it keeps events, not rows. Take them out with "
            "clickmw export --format jsonl and bring them in with clickmw import"
        )

    def rebuild(self, tell: Tell) -> Rebuilt:
        """Decide and sum everything again from raw events, in the time zones of the settings."""
        self.migrate()
        with self._guard, self._refresh.alone():
            moved = self._move_zones()
            self._refresh.decide_again(tell)
        whole = first_whole("cube", self.horizon())
        return Rebuilt(day_date(whole) if whole else None, moved)

    def _move_zones(self) -> dict[str, tuple[str, str]]:
        """Write down the zones of the settings; return handle → (old zone, new zone)."""
        moved: dict[str, tuple[str, str]] = {}
        for number, handle, old, version in self.client.rows(
            "SELECT id, handle, time_zone, version FROM site"
        ):
            new = self.options.site_zones.get(handle, self.options.time_zone)
            if new != old:
                moved[handle] = old, new
                named = f"{literal(handle)}, {literal(new)}"
                self.client.run(f"INSERT INTO site SELECT {number}, {named}, {version + 1}")
                for table in ROWS:
                    if table != "came_back":  # its rows have no day
                        self.client.change(f"ALTER TABLE {{}} DELETE WHERE site = {number}", table)
        return moved

    def erase(self, wanted: Erasure, tell: Tell) -> dict[str, int]:
        """Delete what *wanted* names from events, rows and sums; return kind → rows."""
        self.migrate()
        with self._guard:
            return Erase(self.client, self._refresh, wanted).run()

    def list_keys(self) -> list[StoredKey]:
        """Return the keys that were made on the command line, oldest first."""
        return upkeep.find_keys(self.client)

    def add_key(self, key: StoredKey) -> None:
        """Keep a new key."""
        self.migrate()
        upkeep.add_key(self.client, key)

    def remove_key(self, key_id: str) -> bool:
        """Take a key out of force; False when there is none."""
        self.migrate()
        return upkeep.remove_key(self.client, key_id)

    def export(self, asked: Extract) -> Iterator[Sequence[Any]]:
        """Yield the names of the columns and then the rows, day by day."""
        self.refresh()
        return copy.export_days(self.client, asked)

    def find_stored(self, event_ids: Collection[bytes]) -> set[bytes]:
        """Return which events were taken in already."""
        self.migrate()
        return upkeep.find_stored(self.client, event_ids)

    def find_clicks(self, query_ids: Collection[str]) -> list[tuple[bytes, str, int]]:
        """Return (query id, URL, received_ms) of each click on one of these pages."""
        self.refresh()
        return upkeep.find_clicks(self.client, query_ids)

    def check(self, tell: Tell = silent) -> list[str]:
        """Return a sentence for every invariant that does not hold; everything is read."""
        self.refresh()
        return list(copy.check_all(self.client, self.options, tell))

    def find_damage(self, within_s: float) -> list[str] | None:
        """Return nothing: servers look after their own files."""
        return []

    # -- reading -----------------------------------------------------------------------------------

    def reader(self) -> Reader:
        """Open a read-only view; the caller closes it."""
        self._catch_up(always=True)
        return ClickHouseReader(connect(self.address, SETTINGS), self._catch_up)

    def _catch_up(self, *, always: bool = False) -> None:
        """Bring up to date what is read, if anything may be new; others' events may wait a moment."""
        if always or self._is_behind or time.monotonic() > self._look_again:
            try:
                self._is_behind = not self.refresh(READ_WAITS_S)
            except StoreTooNew:  # what a later clickmw has written, this one may still read
                if not is_readable(self.client):
                    raise
            self._look_again = time.monotonic() + LOOK_AGAIN_S

    def describe(self, reader: Reader | None = None) -> dict[str, Any]:
        """Return ``{"kind", "ok", "error", "warning"}`` for health; who has a *reader* has asked already."""
        error = None
        try:
            if reader is None:
                self.client.run("SELECT 1")
            later = too_new(self.client)
            error = str(later) if later else None
        except StoreError as trouble:
            error = str(trouble)
        return {"kind": self.kind, "ok": error is None, "error": error, "warning": None}

    def close(self) -> None:
        """Close the connection; the next statement opens a new one."""
        self.client.close()


def _count(ledger: dict[str, int], events: Sequence[Any]) -> None:
    """Add to *ledger* what can be told of *events* alone."""
    if not events:
        return
    add_to(ledger, "stored", len(events))
    add_origins(ledger, events)
    ledger[progress.LAST] = max(stored.event.received_ms for stored in events)
