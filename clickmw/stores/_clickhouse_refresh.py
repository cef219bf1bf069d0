"""Bring rows and sums up to what was taken in.

What is new is brought together with all that shares a key with it, and so on until nothing more does:
no other event can make a difference. The rules run over that, its rows are written (a later version
replaces an earlier one), the sums of its windows are made anew, and only then it counts as derived:
whoever dies on the way leaves it to the next one. One process at a time does all this.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from secrets import token_hex

from clickmw.errors import StoreError
from clickmw.events import Search
from clickmw.journal import warn_once_a_minute
from clickmw.stores import _clickhouse_digests as digests
from clickmw.stores import _clickhouse_scratch as scratch
from clickmw.stores._clickhouse_dialect import members
from clickmw.stores._clickhouse_http import Client, literal
from clickmw.stores._clickhouse_numbers import number_of
from clickmw.stores._clickhouse_raw import decode
from clickmw.stores._clickhouse_schema import HORIZON, ROWS, WINDOW_MS
from clickmw.stores._clickhouse_sums import sum_again
from clickmw.stores._clickhouse_upkeep import docids_are_wanted
from clickmw.stores._sqlite_intake import is_unstorable
from clickmw.stores.base import Stored, StoreOptions, Tell

#: New events of one round, without those that have to do with them.
ROUND = 20_000
#: An event may be seen this long after the time that its server gave it: clocks and replicas differ.
OVERLAP_S = 600
#: Whoever brings things up to date and is not heard of for so long has died.
LEASE_MS = 120_000

NOW = "toUnixTimestamp64Milli(now64(3))"
TAKE_LEASE = f"""
INSERT INTO lease SELECT {{holder}}, {{asked_ms}}, {NOW} + {LEASE_MS},
       toUInt64(toUnixTimestamp64Micro(now64(6)))
"""
IS_OURS = f"SELECT count() FROM lease WHERE holder = {{holder}} AND until_ms > {NOW}"
#: Who asks says so before it takes a number behind all others, and whoever sees that waits: of two that
#: ask at once each knows of the other. Source: Lamport's bakery algorithm.
CHOOSING = -1
CHOOSE = f"""
SELECT greatest(ifNull(max(asked_ms), 0) + 1, {NOW}) FROM lease WHERE until_ms > {NOW}
"""
LEAVE_LEASE = """
INSERT INTO lease SELECT {holder}, 0, 0, toUInt64(toUnixTimestamp64Micro(now64(6)))
"""
FIND_HOLDER = """
SELECT holder FROM lease WHERE until_ms > toUnixTimestamp64Milli(now64(3))
 ORDER BY asked_ms, holder LIMIT 1
"""
#: What is said of an event lies with it on one shard: none has to know what the others have.
APART = "SETTINGS final = 0, distributed_product_mode = 'local', prefer_global_in_and_join = 0"
#: Where to look for what is new: the last that was derived came in then.
CURSOR = "SELECT toUnixTimestamp(ifNull(max(inserted), toDateTime(0))) FROM derived"
FIND_NEW = """
CREATE TABLE {run}_new ENGINE = Memory AS
SELECT event_id, max(inserted) AS inserted FROM raw
 WHERE inserted >= toDateTime({since})
   AND event_id NOT IN (SELECT event_id FROM derived WHERE inserted >= toDateTime({since}))
 GROUP BY event_id ORDER BY event_id LIMIT {round} {apart}
"""
ADD_LINKS = """
INSERT INTO link SELECT arrayJoin(links) AS link, event_id FROM raw
 WHERE event_id IN (SELECT event_id FROM {run}_new) SETTINGS final = 0
"""
MAKE_PICKED = "CREATE TABLE {run}_picked (event_id FixedString(16)) ENGINE = Memory"
MAKE_LINKS = "CREATE TABLE {run}_link (link UInt64) ENGINE = Memory"
PICK_NEW = "INSERT INTO {run}_picked SELECT event_id FROM {run}_new"
PICK_LINKS = """
INSERT INTO {run}_link SELECT DISTINCT arrayJoin(links) AS link FROM raw
 WHERE event_id IN (SELECT event_id FROM {run}_picked) AND link NOT IN (SELECT link FROM {run}_link)
SETTINGS final = 0
"""
PICK_LINKED = """
INSERT INTO {run}_picked SELECT DISTINCT event_id FROM link
 WHERE link IN (SELECT link FROM {run}_link) AND event_id NOT IN (SELECT event_id FROM {run}_picked)
SETTINGS final = 0
"""
READ_PICKED = """
SELECT hex(event_id), body FROM raw WHERE event_id IN (SELECT event_id FROM {run}_picked)
   AND event_id NOT IN (SELECT event_id FROM aside)
 ORDER BY received_ms, event_id LIMIT 1 BY event_id SETTINGS final = 0 FORMAT TSVRaw
"""
#: One row per event that no column can hold.
ADD_ASIDE = """
INSERT INTO aside (event_id, why) SELECT unhex(id), why FROM input('id String, why String')
FORMAT JSONCompactEachRow
"""
DONE = "INSERT INTO derived SELECT event_id, inserted FROM {run}_new"
FIND_OLD_SEARCHES = """
SELECT hex(event_id), hex(query_id) FROM search
 WHERE event_id IN (SELECT toString(event_id) FROM {run}_picked)
"""
#: A row that is gone stands where it stood.
BURY = """
INSERT INTO search (query_id, event_id, received_ms, site, day, version, gone)
SELECT query_id, event_id, received_ms, site, day, {version}, 1 FROM search
 WHERE (hex(event_id), hex(query_id)) IN ({pairs})
"""
ADD_SITES = """
INSERT INTO site SELECT {number}, {handle}, {zone},
       toUInt64(9000000000000000000 - toUnixTimestamp64Micro(now64(6)))
"""


def name_sites(client: Client, options: StoreOptions, handles: set[str]) -> dict[str, str]:
    """Return the zone of each site; one that is new has the one that the settings say from now on."""
    known = dict(client.rows("SELECT handle, time_zone FROM site"))
    for handle in sorted(handles - known.keys()):
        zone = known[handle] = options.site_zones.get(handle, options.time_zone)
        number = number_of(handle) or 1
        client.run(ADD_SITES.format(number=number, handle=literal(handle), zone=literal(zone)))
    return known


def _new_run() -> str:
    return f"run_{time.time_ns() // 1_000_000}_{token_hex(4)}"


class Refresh:
    """Bring the store of *client* up to date."""

    def __init__(self, client: Client, options: StoreOptions) -> None:
        self.client = client
        self.options = options
        self._asked_ms = 0
        self.holder = f"{socket.gethostname()}/{os.getpid()}/{token_hex(4)}"

    def run(self, within_s: float = float("inf")) -> bool:
        """Bring rows and sums up to date, as far as *within_s* goes; False when there is more to do."""
        deadline = time.monotonic() + within_s
        while self.is_behind():
            if time.monotonic() > deadline:
                return False
            with self._lease(deadline) as is_ours:
                if not is_ours:
                    return False
                while self._round():
                    if time.monotonic() > deadline:
                        return not self.is_behind()
        return True

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Bring everything up to date, and keep others from doing so meanwhile."""
        with self._lease(time.monotonic() + 2 * LEASE_MS / 1000) as is_ours:
            if not is_ours:
                raise StoreError("somebody else brings the store up to date; run this again")
            while self._round():
                pass
            yield

    def around(self, event_ids: Sequence[bytes]) -> list[Stored]:
        """Return these events and all that has to do with them."""
        run = _new_run()
        try:
            self._do(MAKE_PICKED, run)
            self._do(MAKE_LINKS, run)
            self.client.run(f"INSERT INTO {run}_picked FORMAT RowBinary", b"".join(event_ids))
            self._spread(run)
            return self._picked(run)
        finally:
            self._drop(run)

    def write_again(self, events: Sequence[Stored], windows: Iterable[int]) -> None:
        """Write the rows of *events* anew, and the sums of their windows and of *windows*."""
        run = _new_run()
        try:
            self._do(MAKE_PICKED, run)
            if events:
                ids = b"".join(stored.event_id for stored in events)
                self.client.run(f"INSERT INTO {run}_picked FORMAT RowBinary", ids)
                self.write(run, events, self._version())
            self._sum_again(set(windows))
        finally:
            self._drop(run)

    def decide_again(self, tell: Tell) -> None:
        """Make the rows and sums of all events anew."""
        total = max(int(self.client.value("SELECT count() FROM derived")), 1)
        self.client.change("TRUNCATE TABLE {}", "derived")
        done = 0
        while count := self._round():
            done = min(done + count, total)
            tell(done, total)

    def is_behind(self) -> bool:
        """Tell whether anything was taken in that does not stand in the rows yet."""
        since = self._since()
        sql = f"""
SELECT count() FROM (SELECT event_id FROM raw WHERE inserted >= toDateTime({since})
   AND event_id NOT IN (SELECT event_id FROM derived WHERE inserted >= toDateTime({since})) LIMIT 1)
{APART}
"""
        return bool(self.client.value(sql))

    def _since(self) -> int:
        return max(int(self.client.value(CURSOR)) - OVERLAP_S, 0)

    @contextlib.contextmanager
    def _lease(self, deadline: float) -> Iterator[bool]:
        """Wait for our turn, until *deadline*."""
        self._asked_ms = CHOOSING
        self._take()
        self._asked_ms = int(self.client.value(CHOOSE))
        self._take()
        try:
            while not (is_ours := self.client.value(FIND_HOLDER) == self.holder):
                if time.monotonic() > deadline:
                    break
                time.sleep(0.05)
                self._take()
            yield is_ours
        finally:
            self.client.run(LEAVE_LEASE.format(holder=literal(self.holder)))

    def _take(self) -> None:
        holder = literal(self.holder)
        self.client.run(TAKE_LEASE.format(holder=holder, asked_ms=self._asked_ms))

    def _keep(self) -> None:
        """Say that we are still at work; whoever was silent for too long has lost its turn."""
        if not self.client.value(IS_OURS.format(holder=literal(self.holder))):
            raise StoreError("this took so long that somebody else goes on; nothing is lost")
        self._take()

    def _round(self) -> int:
        """Derive some of what is new, with all that has to do with it; return how many events are new."""
        run = _new_run()
        self._keep()
        try:
            self._do(FIND_NEW, run, since=self._since(), round=ROUND, apart=APART)
            count = int(self.client.value(f"SELECT count() FROM {run}_new"))
            if count:
                version = self._version()
                self._do(ADD_LINKS, run)
                self._do(MAKE_PICKED, run)
                self._do(MAKE_LINKS, run)
                self._do(PICK_NEW, run)
                self._spread(run)
                self.write(run, self._in_time(run, self._chosen(run)), version)
                self._do(DONE, run)
        finally:
            self._drop(run)
        return count

    def _spread(self, run: str) -> None:
        """Choose all that has to do with what is chosen."""
        known = -1
        while (count := self.client.value(f"SELECT count() FROM {run}_picked")) != known:
            known = count
            self._do(PICK_LINKS, run)
            self._do(PICK_LINKED, run)

    def _chosen(self, run: str) -> list[Stored]:
        """Return what is chosen, and the clicks with it that knew a result of it by its digest alone."""
        events = self._picked(run)
        if not docids_are_wanted(self.client):
            return events
        done: set[str] = set()
        while named := digests.newly_named(self.client, events) - done:
            done |= named
            self._do(digests.PICK_CLICKS, run, docids=members(sorted(named)))
            self._spread(run)
            events = self._picked(run)
        return events

    def _picked(self, run: str) -> list[Stored]:
        content = self.client.run(READ_PICKED.format(run=run))
        return [decode(line) for line in content.splitlines()]

    def _in_time(self, run: str, events: list[Stored]) -> list[Stored]:
        """Return *events* without those that are new and of days whose rows are pruned: they are dropped."""
        horizon_ms = int(self.client.value(HORIZON))
        whole_ms = -(-horizon_ms // WINDOW_MS) * WINDOW_MS
        if not horizon_ms or all(stored.event.received_ms >= whole_ms for stored in events):
            return events
        late = {event_id for (event_id,) in self.client.rows(f"SELECT event_id FROM {run}_new")}
        late &= {stored.event_id for stored in events if stored.event.received_ms < whole_ms}
        if late:
            self.client.run("INSERT INTO late (event_id) FORMAT RowBinary", b"".join(late))
        return [stored for stored in events if stored.event_id not in late]

    def _version(self) -> int:
        return int(self.client.value("SELECT toUnixTimestamp64Micro(now64(6))"))

    def _drop(self, run: str) -> None:
        for name in ("new", "picked", "link"):
            self._do(f"DROP TABLE IF EXISTS {{run}}_{name}", run)

    def _do(self, sql: str, run: str, **values: object) -> None:
        self.client.run(sql.format(run=run, **values))

    # -- rows --------------------------------------------------------------------------------------

    def write(self, run: str, events: Sequence[Stored], version: int) -> None:
        """Write the rows that follow from *events*, and the sums of their windows."""
        zones = name_sites(self.client, self.options, {stored.event.site for stored in events})
        try:
            self._write(run, events, zones, version)
        except Exception as error:
            if not is_unstorable(error):
                raise
            events = self._set_aside(events, zones)
            self._write(run, events, zones, version)
        self._sum_again({event.received_ms // WINDOW_MS for _, event in events})

    def _set_aside(self, events: Sequence[Stored], zones: Mapping[str, str]) -> Sequence[Stored]:
        """Write down which of *events* no column can hold; return the others."""
        found = scratch.find_unstorable(events, self.options, zones)
        if found:
            warn_once_a_minute("unstorable", "clickmw: an event cannot be stored: %s", found[0][1])
            rows = (
                json.dumps([stored.event_id.hex(), why], ensure_ascii=False).encode(
                    "utf-8", "replace"
                )
                for stored, why in found
            )
            self.client.run(ADD_ASIDE, b"\n".join(rows))
        bad = {stored.event_id for stored, _ in found}
        return [stored for stored in events if stored.event_id not in bad]

    def _sum_again(self, windows: set[int]) -> None:
        """Make the sums of *windows* anew; those with pruned rows stay as they are."""
        horizon_ms = int(self.client.value(HORIZON))
        self._keep()
        sum_again(self.client, {w for w in windows if w * WINDOW_MS >= horizon_ms})

    def _write(
        self, run: str, events: Sequence[Stored], zones: dict[str, str], version: int
    ) -> None:
        docids = digests.docids_of(events)
        wanted = docids and docids_are_wanted(self.client)
        urls = digests.urls_of(self.client, docids) if wanted else None
        with scratch.derived(events, self.options, zones, urls) as made:
            for table, columns in scratch.TEXTS.items():
                content = scratch.text_lines(made, table)
                self._insert(f"INSERT INTO {table} ({columns}) FORMAT JSONCompactEachRow", content)
            content = scratch.result_lines(made, scratch.titled_ms(events))
            names = "id, url, doc_id, host, title, version"
            self._insert(f"INSERT INTO result ({names}) FORMAT JSONCompactEachRow", content)
            for table in ROWS:
                self._insert(scratch.add_rows(table, version), scratch.lines(made, table))
            rows = made.execute("SELECT hex(event_id), hex(query_id) FROM search")
            searches = set(rows.fetchall())
        self._bury(run, searches, version)
        self._note_same(events, {event_id for event_id, _ in searches})

    def _insert(self, sql: str, content: bytes) -> None:
        if content:
            self.client.run(sql, content)

    def _bury(self, run: str, searches: set[tuple[str, str]], version: int) -> None:
        """Take away the rows of searches that turned out to be none."""
        old = set(self.client.rows(FIND_OLD_SEARCHES.format(run=run)))
        gone = sorted(old - searches)
        if gone:
            pairs = ", ".join(f"('{event_id}', '{query_id}')" for event_id, query_id in gone)
            self.client.run(BURY.format(version=version, pairs=pairs))

    def _note_same(self, events: Sequence[Stored], kept: set[str]) -> None:
        """Write down the searches that came with the query id of another one."""
        ids = (
            event_id
            for event_id, event in events
            if isinstance(event, Search) and event_id.hex().upper() not in kept
        )
        content = b"".join(ids)
        if content:
            self.client.run("INSERT INTO same (event_id) FORMAT RowBinary", content)
