"""Rows that somebody wants gone: the events themselves, and then all that follows from them anew."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from secrets import token_hex
from typing import Any

from clickmw.errors import StoreError
from clickmw.events import Event, Impression, Search
from clickmw.queries import normal_query
from clickmw.stores import _clickhouse_progress as progress
from clickmw.stores._clickhouse_http import Client, literal
from clickmw.stores._clickhouse_numbers import query_number
from clickmw.stores._clickhouse_progress import Step
from clickmw.stores._clickhouse_raw import ADD_RAW, decode, encode
from clickmw.stores._clickhouse_refresh import Refresh
from clickmw.stores._clickhouse_schema import ROWS, WINDOW_MS
from clickmw.stores._clickhouse_upkeep import delete_events
from clickmw.stores._sqlite_erase import _EPOCH, _TEXTS
from clickmw.stores.base import Erasure, Record, Stored

_SAID = tuple(table for table in ROWS if table != "search")
_HAS_QUERY = ("click", "impression", "rating")
_HAS_RESULT = ("click", "impression", "came_back")


#: Events that showed something else, too.
_ALSO_SHOWN = "SELECT event_id FROM impression WHERE NOT ({})"


class Erase:
    """Delete what *wanted* names; ``run`` returns table → rows."""

    def __init__(self, client: Client, refresh: Refresh, wanted: Erasure) -> None:
        self.client = client
        self.refresh = refresh
        self.wanted = wanted
        self.counts: dict[str, int] = {}
        self.events: set[bytes] = set()
        self.pages: set[bytes] = set()
        self.queries: set[int] = set()
        self.results: set[int] = set()

    def run(self) -> dict[str, int]:
        """Delete rows and events, make the rest anew, forget the texts that nothing has any more."""
        with self.refresh.alone():
            self._choose()
            changed = self._showing()
            if self.events or changed:
                self._delete(changed)
            self._forget_pruned()
            # What no row has cannot be looked through: none of it stays.
            aside = "event_id IN (SELECT event_id FROM {})"
            self.client.change(f"ALTER TABLE {{}} DELETE WHERE {aside}", "raw", "aside")
        erased = {name: count for name, count in self.counts.items() if count}
        erased |= {"query": self._forget_queries(), "result": self._forget_results()}
        if sum(erased.values()):
            ledger = {"erased": sum(erased.values())}
            step = Step(0, 1, 0, 0, ledger)
            progress.add_step(self.client, f"erased/{token_hex(8)}", step, closed=1)
        return {**erased, "elsewhere": self._elsewhere()}

    # -- what goes ---------------------------------------------------------------------------------

    def _choose(self) -> None:
        wanted = self.wanted
        if wanted.query is not None:
            number = query_number(normal_query(wanted.query))
            self._pick_searches(f"query = {number}")
            for table in _HAS_QUERY:
                self._pick(table, f"query = {number}")
            self.queries.add(number)
            days = f"SELECT uniqExact(site, day) FROM day_query WHERE query = {number}"
            self.counts["day_query"] = int(self.client.value(days))
        elif wanted.url is not None:
            sql = f"SELECT id FROM result WHERE url = {literal(wanted.url)}"
            self.results = {number for (number,) in self.client.rows(sql)}
            found = f"result IN {_numbers(self.results)}"
            for table in ("click", "came_back"):
                self._pick(table, found)
            self._pick("impression", f"{found} AND event_id NOT IN ({_ALSO_SHOWN.format(found)})")
            rows = self.client.value(f"SELECT count() FROM impression WHERE {found}")
            self.counts["impression"] = int(rows)
            self._pick("conversion", f"url = {literal(wanted.url)}")
        else:
            where = self._by_visitor()
            self._pick_searches(where)
            for table in _SAID:
                self._pick(table, where)
        viewed = f"viewed IN {_texts(self.pages)}"
        self._pick_searches(f"query_id IN {_texts(self.pages)} OR {viewed}")
        for table in _SAID:
            self._pick(table, f"query_id IN {_texts(self.pages)}")

    def _by_visitor(self) -> str:
        try:
            visitor = bytes.fromhex(self.wanted.visitor or "")
        except ValueError as error:
            raise StoreError("a visitor is 16 hex digits, as the views have it") from error
        where = f"visitor = {literal(visitor)}"
        if self.wanted.day is not None:
            # A day at the site may begin half a day before or after the one of UTC.
            start_ms = (self.wanted.day.toordinal() - _EPOCH) * WINDOW_MS
            half = WINDOW_MS // 2
            where += f" AND received_ms BETWEEN {start_ms - half} AND {start_ms + 3 * half}"
        return where

    def _pick_searches(self, where: str) -> None:
        found = self._pick("search", where, ", query_id, shown")
        self.pages |= {row[1] for row in found}
        for row in found:
            self.results |= {int(t.split(",")[0]) for t in row[2][2:-2].split("),(") if t}

    def _pick(self, table: str, where: str, more: str = "") -> list[Any]:
        """Note the events of the rows *where*, and the texts that they may have had alone."""
        has_query = "query" if table in ("search", *_HAS_QUERY) else "NULL"
        has_result = "result" if table in _HAS_RESULT else "NULL"
        rows = self.client.rows(
            f"SELECT event_id{more}, {has_query} AS of_query, {has_result} AS of_result"
            f" FROM {table} WHERE {where}"
        )
        fresh = [row for row in rows if row[0] not in self.events]
        self.counts[table] = self.counts.get(table, 0) + len(fresh)
        self.queries |= {row[-2] for row in rows if row[-2] is not None}
        if self.wanted.url is None:
            self.results |= {row[-1] for row in rows if row[-1] is not None}
        self.events |= {row[0] for row in rows}
        return rows

    def _showing(self) -> list[Stored]:
        """Return the events that showed a URL that goes, without it."""
        if self.wanted.url is None:
            return []
        text = literal(json.dumps(self.wanted.url)[1:-1])
        lines = self.client.run(
            f"SELECT hex(event_id), body FROM raw WHERE position(body, {text}) > 0 FORMAT TSVRaw"
        )
        changed = [_without(decode(line), self.wanted.url) for line in lines.splitlines()]
        found = [stored for stored in changed if stored is not None]
        self.counts["shown"] = int(self.client.value(f"SELECT count() FROM search {self._shows()}"))
        return [stored for stored in found if stored.event_id not in self.events]

    # -- how it goes -------------------------------------------------------------------------------

    def _delete(self, changed: Sequence[Stored]) -> None:
        """Delete the events; what had to do with them is decided again."""
        links = {int.from_bytes(page[4:], "little") for page in self.pages}
        gone = set(self.events)
        if links:
            # Also what has no row: that a page was looked at, or seen.
            sql = f"SELECT event_id FROM raw WHERE hasAny(links, {_array(links, 'UInt64')})"
            gone |= {event_id for (event_id,) in self.client.rows(sql)}
        chosen = [*gone, *(stored.event_id for stored in changed)]
        around = self.refresh.around(chosen)
        windows = {stored.event.received_ms // WINDOW_MS for stored in around}
        if changed:
            delete_events(
                self.client, ("raw", "impression"), [stored.event_id for stored in changed]
            )
            self.client.run(ADD_RAW, encode([_as_record(changed)]))
        delete_events(self.client, ("raw", "link", "derived", *ROWS), sorted(gone))
        kept = {stored.event_id: stored for stored in changed}
        left = [kept.get(each.event_id, each) for each in around if each.event_id not in gone]
        self.refresh.write_again(left, windows)

    def _forget_pruned(self) -> None:
        """Of days whose rows are pruned the text goes too; the totals of the day stay."""
        if self.wanted.query is not None:
            number = query_number(normal_query(self.wanted.query))
            where = f"query = {number}"
            self.client.change(f"ALTER TABLE {{}} DELETE WHERE {where}", "day_query")
        if self.wanted.url is not None and self.results:
            where = f"result IN {_numbers(self.results)}"
            self.client.change(f"ALTER TABLE {{}} DELETE WHERE {where}", "day_result")

    def _forget_queries(self) -> int:
        return self._forget("query", self.queries, ("search", *_HAS_QUERY, "day_query"))

    def _forget_results(self) -> int:
        sql = f"""
SELECT DISTINCT arrayJoin(arrayMap(one -> one.1, shown)) AS id FROM search {self._shows()}
"""
        shown = {number for (number,) in self.client.rows(sql)}
        return self._forget("result", self.results - shown, (*_HAS_RESULT, "day_result"))

    def _shows(self) -> str:
        return f"WHERE hasAny(arrayMap(one -> one.1, shown), {_array(self.results, 'Int64')})"

    def _forget(self, text: str, ids: set[int], users: Iterable[str]) -> int:
        """Delete the texts *ids* that no row and no sum has any more."""
        for table in users:
            sql = f"SELECT DISTINCT {text} FROM {table} WHERE {text} IN {_numbers(ids)}"
            ids = ids - {number for (number,) in self.client.rows(sql)}
        if not ids:
            return 0
        where = f"id IN {_numbers(ids)}"
        count = int(self.client.value(f"SELECT count() FROM {text} WHERE {where}"))
        self.client.change(f"ALTER TABLE {{}} DELETE WHERE {where}", text)
        return count

    def _elsewhere(self) -> int:
        """Return how many other texts contain the query: titles, addresses, comments, answers."""
        text = literal(normal_query(self.wanted.query or ""))
        if text == "unhex('')":
            return 0
        return sum(
            int(
                self.client.value(
                    f"SELECT count() FROM {table} WHERE "
                    + " OR ".join(f"position(lower(ifNull({c}, '')), {text}) > 0" for c in columns)
                )
            )
            for table, columns in _TEXTS.items()
        )


def _without(stored: Stored, url: str) -> Stored | None:
    """Return an event that showed *url* without it; None for one that did not, or nothing else."""
    event = stored.event
    if isinstance(event, Search):
        rest = tuple(shown for shown in event.impressions if shown.url != url)
        changed: Event = event._replace(impressions=rest)
    elif isinstance(event, Impression):
        rest = tuple(shown for shown in event.shown if shown.url != url)
        changed = event._replace(shown=rest) if rest else event
    else:
        return None
    return None if changed == event else Stored(stored.event_id, changed)


def _as_record(events: Sequence[Stored]) -> Record:
    return Record(0, 0, 0, tuple(events), {})


def _numbers(ids: Iterable[int]) -> str:
    return f"({', '.join(map(str, sorted(ids))) or 'NULL'})"


def _array(ids: Iterable[int], kind: str) -> str:
    return f"CAST([{', '.join(map(str, sorted(ids)))}] AS Array({kind}))"


def _texts(values: Iterable[bytes]) -> str:
    return f"({', '.join(map(literal, sorted(values))) or 'NULL'})"
