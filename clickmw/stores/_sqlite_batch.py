"""What the parts of one append share: its transaction, its searches and the sums they change."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from clickmw.counting import OUR_SOURCES
from clickmw.events import Event, decode_event, encode_events
from clickmw.events import Shown as ShownResult
from clickmw.rollups import TABLES, Deltas, Dimensions, SearchMeasures
from clickmw.stores._sqlite_dictionaries import Dictionaries, look_up, result_key
from clickmw.stores._sqlite_totals import add_queries, add_results
from clickmw.stores.base import QUARTER_MS, Stored

#: Sources of searches that we ourselves gave a visitor.
PAGE_SOURCES = frozenset(("page", "template"))
SHOWN_COUNTS = frozenset(("", "page", "repeat", "typing"))

Shown = tuple[int, int, int]

SEARCH_COLUMNS = (
    "query_id, event_id, received_ms, site, day, device, language, profile, source, trust, robot, query,"
    " total_hits, offset, tag, kind, visitor, session, shared, prefetched, activated, drop_reason,"
    " first_query_id, viewed, own_clicks, own_best, clicked, best_position, impressions, told, seen"
)
FIND_SEARCHES = f"""
-- One row per search of a list of query ids.
SELECT {SEARCH_COLUMNS} FROM search WHERE query_id IN ({{}})
"""

FIND_WAITING_FOR_PAGE = """
-- One row per event that waited for a page or view of a list.
SELECT query_id, event_id, body FROM waiting_view WHERE query_id IN ({})
"""

KEEP_TITLE = "UPDATE result SET title = ? WHERE id = ? AND title IS NULL"


@dataclass(slots=True)
class SearchState:
    """One row of ``search`` while it is decided; ``touched`` once its share was taken back.

    ``showed``: whether the rollups have what the page showed.
    """

    query_id: bytes
    event_id: bytes
    received_ms: int
    at: Dimensions
    query: int
    total_hits: int | None
    offset: int
    tag: int
    kind: int
    visitor: bytes | None
    session: str | None
    shared: int
    prefetched: int
    activated: int
    reason: str
    first: bytes | None
    viewed: bytes | None
    own_clicks: int
    own_best: int | None
    clicked: int
    best: int | None
    impressions: str
    told: int
    seen: str | None
    stored: bool
    shown: list[Shown] | None = None
    touched: bool = False
    showed: bool = False

    def walks(self) -> bool:
        """Tell whether the search rule applies: a visitor's own page that somebody looked at."""
        return bool(
            self.visitor
            and not self.shared
            and (self.activated or not self.prefetched)
            and self.reason in ("", "page", "repeat", "typing", "prefetch")
        )

    def shows(self) -> bool:
        """Tell whether what the page showed belongs into the rollups."""
        return self.reason in SHOWN_COUNTS or self.reason == "robot"

    def measures(self) -> SearchMeasures:
        return SearchMeasures(self.total_hits, bool(self.clicked), self.best)


def result_of(
    source: str, url: str, doc_id: str, query_id: str = "", ad_id: str = ""
) -> tuple[str, str]:
    """Return the URL and the id of its own under which a result is kept.

    Our pages name both, and so does a link of theirs that a sender reports. Of a sender's own
    results it is the URL where there is one, whatever each sender calls them.
    """
    if source in OUR_SOURCES or query_id:
        return url, doc_id
    return (url, "") if url else ("", doc_id or ad_id)


def _sent(source: str, shown: ShownResult, ad_id: str) -> ShownResult:
    url, doc_id = result_of(source, shown.url, shown.doc_id, "", ad_id)
    return shown._replace(url=url, doc_id=doc_id, position=max(shown.position, 0))


def _upsert(table: str) -> str:
    key, measures = TABLES[table]
    columns = (*key, *measures)
    return (
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
        f" ON CONFLICT ({', '.join(key)}) DO UPDATE SET "
        + ", ".join(f"{name} = {table}.{name} + excluded.{name}" for name in measures)
    )


ADD_TO_ROLLUP = {table: _upsert(table) for table in TABLES}
ADD_TO_TOTALS = {"day_query": add_queries, "day_result": add_results}


class Same(NamedTuple):
    """What is asked for by a statement of :func:`sharing`: what shares two things with a key's events."""

    sql: str
    shared: bytes | None
    name: bytes | str | int
    from_ms: int
    window_ms: int


def sharing(columns: str, table: str, which: str) -> str:
    """Return SQL for the rows of *table* that share something with each of a list, and its place there.

    They are what a decision needs: what counted in a window before, and all from that moment on. The
    join is forced into this order, as in all that is asked of a list.
    """
    same = f"SELECT place, {columns} FROM wanted CROSS JOIN {table} WHERE {which}"
    return f"""
WITH wanted (place, shared, name, since_ms, from_ms, duplicate) AS (VALUES {{}})
{same} AND drop_reason = 0 AND received_ms > since_ms AND received_ms < from_ms
UNION ALL {same} AND drop_reason IN (0, duplicate) AND received_ms >= from_ms
"""


class Joining(NamedTuple):
    """A stored event that waited for its page: to learn whether that was its visitor's."""

    query_id: bytes
    event_id: bytes
    table: str
    place: int
    visitor: str
    site: int


@dataclass
class Batch:
    """One open transaction. ``searches`` are all that were read or made in it, by query id.

    ``recount``: searches whose clicks are counted anew; ``left_owners``: searches that something
    belonged to and maybe no longer does; ``served``: searches whose results may have been served
    again, or turn out not to have been; ``marked``: searches of which something was seen.
    ``repeated``: new events that repeat others; ``places``: the keys of rows that must be found again,
    by event id; ``joining``: stored events whose page has arrived; ``titles``: of results.
    """

    connection: sqlite3.Connection
    dictionaries: Dictionaries
    deltas: Deltas = field(default_factory=Deltas)
    searches: dict[bytes, SearchState] = field(default_factory=dict)
    recount: set[bytes] = field(default_factory=set)
    left_owners: set[bytes] = field(default_factory=set)
    served: set[bytes] = field(default_factory=set)
    marked: set[bytes] = field(default_factory=set)
    duplicates: int = 0
    repeated: set[bytes] = field(default_factory=set)
    places: dict[bytes, int | bytes] = field(default_factory=dict)
    joining: list[Joining] = field(default_factory=list)
    titles: dict[int, str] = field(default_factory=dict)

    # -- searches ----------------------------------------------------------------------------------

    def load_searches(self, query_ids: Iterable[bytes]) -> None:
        """Read the searches of *query_ids* that are stored and not read yet."""
        missing = sorted({query_id for query_id in query_ids if query_id not in self.searches})
        for row in self.find(FIND_SEARCHES, missing):
            reason = self.word(row[21])
            at = Dimensions(*(*row[3:11], row[2] // QUARTER_MS))
            state = SearchState(*(*row[:3], at, *row[11:21], reason, *row[22:31], True))
            self.searches[state.query_id] = state

    def touch_search(self, search: SearchState) -> None:
        """Take back what a stored search had added, once; it is counted again at the end."""
        if search.touched:
            return
        search.touched = True
        search.showed = search.shows()
        if search.first:
            self.left_owners.add(search.first)
            self.served |= {search.first, search.query_id}
        self.count_search(search, -1)

    def count_search(self, search: SearchState, sign: int) -> None:
        """Add what *search* is worth, or take it back; what it showed is counted apart."""
        if search.reason in ("", "robot"):
            self.deltas.add_search(search.at, search.query, search.measures(), sign)
        if search.reason:
            self.exclude(search.at, "search", search.reason, sign)

    def activate(self, search: SearchState) -> None:
        """Take note that somebody looks at a page that was fetched ahead."""
        if not search.activated:
            self.touch_search(search)
            search.activated = 1
            if search.reason == "prefetch" and not search.visitor:
                search.reason = ""

    def let_wait(self, query_id: bytes, event_id: bytes, event: Event | Sequence[Any]) -> None:
        """Keep *event*, or where it is stored, until the page or view *query_id* arrives."""
        body = encode_events((event,))[1:-1] if isinstance(event, Event) else json.dumps(event)
        row = (query_id, event_id, body)
        self.connection.execute(
            "INSERT INTO waiting_view (query_id, event_id, body) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
            row,
        )

    def arrived(self, searches: Sequence[SearchState]) -> list[Stored]:
        """Return the events that waited for one of *searches*; they wait no more."""
        wanted = [search.query_id for search in searches]
        rows = list(self.find(FIND_WAITING_FOR_PAGE, wanted))
        self.connection.executemany(
            "DELETE FROM waiting_view WHERE query_id = ? AND event_id = ?",
            [row[:2] for row in rows],
        )
        events = []
        for query_id, event_id, body in rows:
            fields = json.loads(body)
            if len(fields[0]) == 1:  # the letter of an event's kind, and no table's name
                events.append(Stored(event_id, decode_event(fields)))
            else:
                self.joining.append(Joining(query_id, event_id, *fields))
        return events

    def is_of_session(self, search: SearchState, visitor: bytes | None, at_site: int) -> bool:
        """Tell whether we gave *visitor* the page of *search*."""
        return (
            visitor is not None
            and visitor == search.visitor
            and at_site == search.at.site
            and self.word(search.at.source) in PAGE_SOURCES
        )

    # -- events sent twice -------------------------------------------------------------------------

    def reason(self, event_id: bytes, known: str) -> str:
        """Return why a new event does not count: what was *known* before, or that it is a repeat."""
        if known or event_id not in self.repeated:
            return known
        self.duplicates += 1
        return "repeated"

    def next_id(self, table: str) -> int:
        """Return the id that the next new row of *table* gets."""
        sql = f"SELECT coalesce(max(id), 0) + 1 FROM {table}"
        return int(self.connection.execute(sql).fetchone()[0])

    # -- texts and numbers -------------------------------------------------------------------------

    def find(self, sql: str, keys: Sequence[Any]) -> Iterator[Any]:
        """Yield the rows that *sql* finds for *keys*; its ``{}`` stands for them."""
        for rows in look_up(self.connection, sql, keys):
            yield from rows

    def find_same(self, asked: Mapping[Any, Same]) -> dict[Any, list[Any]]:
        """Return for each key of *asked* the rows that decide about what came from its time on."""
        duplicate, keys = self.term("duplicate"), list(asked)
        rows: dict[str, list[tuple[object, ...]]] = {}
        for place, (sql, shared, name, from_ms, window_ms) in enumerate(asked.values()):
            row = (place, shared, name, from_ms - window_ms, from_ms, duplicate)
            rows.setdefault(sql, []).append(row)
        found: dict[Any, list[Any]] = {}
        for sql, wanted in rows.items():
            for place, *standing in self.find(sql, wanted):
                found.setdefault(keys[place], []).append(standing)
        return found

    def term(self, text: str) -> int:
        return self.dictionaries.term(self.connection, text)

    def word(self, term: int) -> str:
        return self.dictionaries.word(self.connection, term)

    def result(self, url: str, doc_id: str, title: str) -> int:
        """Return the id of a result that was learned; a first *title* is kept."""
        result = self.dictionaries.results[result_key(url, doc_id)]
        if title:
            self.titles.setdefault(result, title)
        return result

    def shown(
        self, source: str, impressions: Sequence[ShownResult], ad_id: str = ""
    ) -> list[Shown]:
        """Return what was shown as (result, position, module); a position that is not known is 0."""
        if source not in OUR_SOURCES:
            impressions = [_sent(source, each, ad_id) for each in impressions]
        results, terms = self.dictionaries.results, self.dictionaries.terms
        shown = []
        for url, position, module, doc_id, title in impressions:
            result = results[url if not doc_id else result_key(url, doc_id)]
            if title:
                self.result(url, doc_id, title)
            code = terms.get(module)
            shown.append((result, position, self.term(module) if code is None else code))
        return shown

    def dimensions(self, event: Event) -> Dimensions:
        """Return where *event* stands in the cube."""
        dictionaries = self.dictionaries
        site = dictionaries.site(self.connection, event.site)
        # Not every kind of event has these two.
        language, profile = getattr(event, "language", ""), getattr(event, "profile", "")
        words = (event.device, language, profile, event.source, event.trust)
        terms = dictionaries.dimensions.get(words)
        if terms is None:
            terms = dictionaries.dimensions[words] = tuple(map(self.term, words))
        day = dictionaries.day(site, event.received_ms)
        robot, quarter = int(bool(event.robot)), event.received_ms // QUARTER_MS
        return Dimensions(*(site, day, *terms, robot, quarter))

    # -- sums --------------------------------------------------------------------------------------

    def exclude(self, at: Dimensions, kind: str, reason: str, sign: int) -> None:
        """Count one event that is kept and does not count."""
        self.deltas.add_excluded(at.site, at.day, self.term(kind), self.term(reason), sign)

    def write_rollups(self) -> None:
        """Add all changes to the rollups, number the hosts that were clicked, keep first titles."""
        self.connection.executemany(
            KEEP_TITLE, [(title, result) for result, title in sorted(self.titles.items())]
        )
        for table, sql in ADD_TO_ROLLUP.items():
            rows = self.deltas.rows(table)
            if table == "day_host":
                hosts = [row[2] for row in rows]
                self.dictionaries.number_hosts(self.connection, hosts)
            self.connection.executemany(sql, rows)
            if table in ADD_TO_TOTALS:
                ADD_TO_TOTALS[table](self.connection, rows)
