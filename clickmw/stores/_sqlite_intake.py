"""What one append writes: rows, who counts, and what that changes in the rollups.

An :class:`Intake` takes back what the touched rows had added to the rollups, lets the rules of
:mod:`clickmw.counting` decide, and adds what the rows are worth now. A row that did not change
cancels out, so an event that arrives late corrects the past exactly.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from clickmw.counting import (
    CLICK_HORIZON_MS,
    SEARCH_WINDOW_MS,
    Decision,
    Walked,
    decide_clicks,
    decide_searches,
    first_undecided,
)
from clickmw.events import (
    Answer,
    Click,
    Conversion,
    Event,
    Feedback,
    Search,
    View,
    query_id_bytes,
)
from clickmw.events import Shown as ShownResult
from clickmw.rollups import TABLES, Deltas, Dimensions, SearchMeasures
from clickmw.stores._sqlite_dictionaries import Dictionaries, result_key
from clickmw.stores.base import QUARTER_MS, Stored

#: Searches further back than this cannot change what a new one does (a window, and the typing before it).
LOOK_BACK_MS = 2 * SEARCH_WINDOW_MS
SHOWN_COUNTS = frozenset(("", "page", "repeat", "typing"))
_CHUNK = 500
_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode

Shown = tuple[int, int, int]


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


@dataclass(slots=True)
class ClickState:
    """One row of ``click`` while it is decided; ``id`` is None before it is written."""

    id: int | None
    event_id: bytes
    received_ms: int
    at: Dimensions
    query: int | None
    query_id: bytes | None
    result: int
    position: int | None
    module: int
    visitor: bytes | None
    reason: str
    kind: str
    view_id: bytes | None
    rest: tuple[object, ...] = ()
    touched: bool = False


_SEARCH_COLUMNS = (
    "query_id, event_id, received_ms, site, day, device, language, profile, source, trust, robot, query,"
    " total_hits, offset, tag, kind, visitor, session, shared, prefetched, activated, drop_reason,"
    " first_query_id, viewed, own_clicks, own_best, clicked, best_position, impressions"
)
_CLICK_COLUMNS = (
    "id, event_id, received_ms, site, day, device, language, profile, source, trust, robot, query,"
    " query_id, result, position, module, visitor, drop_reason, kind, view_id"
)
FIND_SEARCHES = f"""
-- One row per search of a list of query ids.
SELECT {_SEARCH_COLUMNS} FROM search WHERE query_id IN
"""
FIND_RECENT = """
-- One row per search of one visitor that may stand beside a new one.
SELECT query_id FROM recent_search WHERE site = ? AND visitor = ? AND received_ms >= ?
"""
FIND_WAITING = f"""
-- One row per click whose search had not arrived, of a list of query ids.
SELECT {_CLICK_COLUMNS} FROM click WHERE query IS NULL AND query_id IN
"""
FIND_SAME_KEY = f"""
-- One row per click of one visitor on one page.
SELECT {_CLICK_COLUMNS} FROM click WHERE query_id = ? AND visitor IS ?
"""
FIND_BELONGING = """
-- One row per search that belongs to another one.
SELECT query_id, own_clicks, own_best FROM search WHERE first_query_id = ?
"""
RECOUNT_OWN = """
-- One row: the counted clicks on one page within a day of it, and the best position among them.
SELECT count(*), min(nullif(position, 0)) FROM click
 WHERE query_id = :query_id AND view_id IS :view_id AND drop_reason = 0 AND kind = :kind
   AND received_ms < :horizon_ms
"""
ADD_SEARCH = """
-- One row per search.
INSERT INTO search (query_id, event_id, received_ms, site, day, device, language, profile, source,
  trust, robot, query, total_hits, offset, tag, kind, visitor, session, shared, prefetched, activated,
  drop_reason, first_query_id, viewed, own_clicks, own_best, clicked, best_position, impressions)
VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)
"""
CHANGE_SEARCH = """
-- One row per search whose standing changed.
UPDATE search SET activated = ?, drop_reason = ?, first_query_id = ?, own_clicks = ?, own_best = ?,
  clicked = ?, best_position = ? WHERE query_id = ?
"""
ADD_RECENT = """
-- One row per search that may stand beside another one of its visitor.
INSERT OR IGNORE INTO recent_search (site, visitor, received_ms, query_id) VALUES (?, ?, ?, ?)
"""
ADD_CLICK = """
-- One row per click.
INSERT INTO click (event_id, received_ms, site, day, device, language, profile, source, trust, robot,
  query, query_id, result, position, module, visitor, drop_reason, kind, view_id, session,
  referrer_host, ad_id, user_activated, position_raw)
VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)
"""
CHANGE_CLICK = """
-- One row per click whose search arrived, or whose standing among its duplicates changed.
UPDATE click SET query = ?, language = ?, profile = ?, view_id = ?, drop_reason = ? WHERE id = ?
"""


_COMMON = (
    "event_id, received_ms, site, day, device, language, profile, source, trust, robot, query_id,"
    " visitor, session, drop_reason"
)
_OWN = {
    "rating": "query, score, comment",
    "answer": "question, answer, is_question",
    "conversion": "order_id, value, currency, items, ad_id, url",
}
ADD_WORDS = {
    table: f"INSERT INTO {table} ({_COMMON}, {own})"
    f" VALUES ({', '.join('?' * (14 + own.count(',') + 1))})"
    for table, own in _OWN.items()
}


def _upsert(table: str) -> str:
    key, measures = TABLES[table]
    columns = (*key, *measures)
    return (
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
        f" ON CONFLICT ({', '.join(key)}) DO UPDATE SET "
        + ", ".join(f"{name} = {name} + excluded.{name}" for name in measures)
    )


ADD_TO_ROLLUP = {table: _upsert(table) for table in TABLES}


@dataclass
class Intake:
    """The events of one append, inside its open transaction."""

    connection: sqlite3.Connection
    dictionaries: Dictionaries
    deltas: Deltas = field(default_factory=Deltas)
    searches: dict[bytes, SearchState] = field(default_factory=dict)
    clicks: list[ClickState] = field(default_factory=list)
    recount: set[bytes] = field(default_factory=set)
    left_owners: set[bytes] = field(default_factory=set)
    duplicates: int = 0

    def take(self, events: Sequence[Stored], ledger: dict[str, int]) -> None:
        """Write *events*, correct the rollups, and add to *ledger* what became of them."""
        self._learn_texts(events)
        fresh = self._add_searches(events)
        self._add_views(events, fresh)
        self._join_waiting_clicks(fresh)
        self._add_clicks(events)
        self._add_words(events)
        self._decide_clicks()
        self._write_clicks()
        self._count_own_clicks()
        self._decide_searches()
        self._settle_belonging()
        self._write_searches()
        self._write_rollups()
        same = sum(isinstance(stored.event, Search) for stored in events) - len(fresh)
        _add_to(ledger, "stored", len(events) - same)
        _add_to(ledger, "dropped.same_query_id", same)
        _add_to(ledger, "duplicates", self.duplicates)
        _add_to(ledger, "robots", sum(bool(stored.event.robot) for stored in events))

    # -- rows ------------------------------------------------------------------------------------

    def _learn_texts(self, events: Sequence[Stored]) -> None:
        """Give all new results and queries of the batch their ids at once."""
        self.dictionaries.make_room()
        known = self.dictionaries.results
        results: dict[tuple[str, str], str] = {}
        queries: list[str] = []
        for stored in events:
            event = stored.event
            if isinstance(event, Search):
                queries.append(event.query)
                for url, _position, _module, doc_id, _title in event.impressions:
                    if (url if not doc_id else result_key(url, doc_id)) not in known:
                        results[url, doc_id] = event.site
            elif isinstance(event, Click):
                if result_key(event.url, event.doc_id) not in known:
                    results[event.url, event.doc_id] = event.site
                if not event.query_id:
                    queries.append(event.query)
            elif isinstance(event, Feedback):
                queries.append(event.query)
        self.dictionaries.learn_results(self.connection, results)
        self.dictionaries.learn_queries(self.connection, queries)

    def _add_searches(self, events: Sequence[Stored]) -> list[SearchState]:
        arrived = [(s.event_id, s.event) for s in events if isinstance(s.event, Search)]
        ids = [query_id_bytes(search.query_id) for _, search in arrived]
        known = {row[0] for row in self._find("SELECT query_id FROM search WHERE query_id IN", ids)}
        fresh = []
        for query_id, (event_id, search) in zip(ids, arrived, strict=True):
            if query_id not in known:
                known.add(query_id)
                fresh.append(self._new_search(query_id, event_id, search))
        self.searches.update((state.query_id, state) for state in fresh)
        return fresh

    def _new_search(self, query_id: bytes, event_id: bytes, search: Search) -> SearchState:
        shown = self._shown(search.impressions)
        reason = search.drop_reason or (
            "shared" if search.shared else "prefetch" if search.prefetched else ""
        )
        return SearchState(
            query_id,
            event_id,
            search.received_ms,
            self._dimensions(search),
            self.dictionaries.queries[search.query],
            search.total_hits,
            search.offset,
            self._term(search.tag),
            self._term(search.kind),
            bytes.fromhex(search.visitor) or None,
            search.session or None,
            search.shared,
            search.prefetched,
            0,
            reason,
            None,
            None,
            0,
            None,
            0,
            None,
            "["
            + ",".join([f"[{result},{position},{module}]" for result, position, module in shown])
            + "]",
            stored=False,
            shown=shown,
            touched=True,
        )

    def _shown(self, impressions: Sequence[ShownResult]) -> list[Shown]:
        results, terms = self.dictionaries.results, self.dictionaries.terms
        shown = []
        for url, position, module, doc_id, title in impressions:
            result = results[url if not doc_id else result_key(url, doc_id)]
            if title:
                self._set_title(result, title)
            code = terms.get(module)
            shown.append((result, position, self._term(module) if code is None else code))
        return shown

    def _add_views(self, events: Sequence[Stored], fresh: Sequence[SearchState]) -> None:
        """Make a view of a shared page a search of its own, and one of a prefetched page its proof."""
        views = [
            (stored.event_id, stored.event) for stored in events if isinstance(stored.event, View)
        ]
        views += self._waiting_views([search.query_id for search in fresh])
        self._load_searches(query_id_bytes(view.query_id) for _, view in views)
        self._load_searches(query_id_bytes(view.view_id) for _, view in views)
        for event_id, view in views:
            page = self.searches.get(query_id_bytes(view.query_id))
            if page is None:
                self._let_wait(event_id, view)
            elif page.prefetched and not page.shared and view.drop_reason == "":
                self._activate(page)
            elif page.shared and query_id_bytes(view.view_id) not in self.searches:
                search = self._viewed_search(page, event_id, view)
                self.searches[search.query_id] = search
                self.recount.add(search.query_id)

    def _waiting_views(self, pages: Sequence[bytes]) -> list[tuple[bytes, View]]:
        rows = list(
            self._find("SELECT query_id, event_id, body FROM waiting_view WHERE query_id IN", pages)
        )
        self.connection.executemany(
            "DELETE FROM waiting_view WHERE query_id = ? AND event_id = ?",
            [row[:2] for row in rows],
        )
        return [(row[1], View(*json.loads(row[2]))) for row in rows]

    def _let_wait(self, event_id: bytes, view: View) -> None:
        row = (query_id_bytes(view.query_id), event_id, _encode(view))
        self.connection.execute("INSERT OR IGNORE INTO waiting_view VALUES (?, ?, ?)", row)

    def _viewed_search(self, page: SearchState, event_id: bytes, view: View) -> SearchState:
        at = self._dimensions(view)._replace(language=page.at.language, profile=page.at.profile)
        return replace(
            page,
            query_id=query_id_bytes(view.view_id),
            event_id=event_id,
            received_ms=view.received_ms,
            at=at,
            visitor=bytes.fromhex(view.visitor) or None,
            shared=0,
            prefetched=0,
            reason=view.drop_reason,
            viewed=page.query_id,
            stored=False,
            touched=True,
            showed=False,
        )

    def _activate(self, search: SearchState) -> None:
        if not search.activated:
            self._touch_search(search)
            search.activated = 1
            if search.reason == "prefetch" and not search.visitor:
                search.reason = ""

    def _add_clicks(self, events: Sequence[Stored]) -> None:
        arrived = [(s.event_id, s.event) for s in events if isinstance(s.event, Click)]
        ids = [query_id_bytes(click.query_id) if click.query_id else None for _, click in arrived]
        self._load_searches(query_id for query_id in ids if query_id)
        self._load_searches(query_id_bytes(click.view_id) for _, click in arrived if click.view_id)
        for query_id, (event_id, click) in zip(ids, arrived, strict=True):
            self.clicks.append(self._new_click(query_id, event_id, click))

    def _new_click(self, query_id: bytes | None, event_id: bytes, click: Click) -> ClickState:
        state = ClickState(
            None,
            event_id,
            click.received_ms,
            self._dimensions(click),
            None,
            query_id,
            self._result(click.url, click.doc_id, click.title),
            click.position,
            self._term(click.module_code),
            bytes.fromhex(click.visitor) or None,
            click.drop_reason,
            click.kind,
            query_id_bytes(click.view_id) if click.view_id else None,
            (
                click.session or None,
                self._term(click.referrer_host),
                click.ad_id or None,
                click.user_activated,
                click.position_raw or None,
            ),
            touched=True,
        )
        search = self.searches.get(query_id) if query_id else None
        if search is not None:
            self._join(state, search)
        elif query_id is None:
            state.query = self.dictionaries.queries[click.query]
        return state

    def _join(self, click: ClickState, search: SearchState) -> None:
        click.query = search.query
        # Views tell apart who shares a page; on a page of one's own they mean nothing.
        click.view_id = click.view_id if search.shared else None
        click.at = click.at._replace(language=search.at.language, profile=search.at.profile)
        if search.prefetched and click.reason != "robot":
            self._activate(search)

    def _join_waiting_clicks(self, fresh: Sequence[SearchState]) -> None:
        rows = self._find(FIND_WAITING, [state.query_id for state in fresh])
        for row in rows:
            click = self._stored_click(row)
            self._touch_click(click)
            self._join(click, self.searches[click.query_id or b""])
            self.clicks.append(click)

    def _add_words(self, events: Sequence[Stored]) -> None:
        """Write what visitors said and did beyond searching and clicking; nothing is decided here."""
        for event_id, event in events:
            if not isinstance(event, Feedback | Answer | Conversion):
                continue
            kind, own = self._own_words(event)
            at = self._dimensions(event)
            common = (
                event_id,
                event.received_ms,
                *at[:8],
                query_id_bytes(event.query_id) if event.query_id else None,
                bytes.fromhex(event.visitor) or None,
                event.session or None,
                self._term(event.drop_reason),
            )
            self.connection.execute(ADD_WORDS[kind], (*common, *own))
            if event.drop_reason:
                self._exclude(at, kind, event.drop_reason, 1)

    def _own_words(self, event: Feedback | Answer | Conversion) -> tuple[str, tuple[object, ...]]:
        if isinstance(event, Feedback):
            query = self.dictionaries.queries[event.query] if event.query else None
            return "rating", (query, event.score, event.comment or None)
        if isinstance(event, Answer):
            return "answer", (event.question, event.answer, event.is_question)
        url, ad_id = event.url or None, event.ad_id or None
        value = None if event.value is None else float(event.value)
        return "conversion", (event.order_id, value, event.currency, event.items, ad_id, url)

    # -- who counts ------------------------------------------------------------------------------

    def _decide_clicks(self) -> None:
        window_ms = self.dictionaries.options.dedupe_window_ms
        keys: dict[tuple[bytes, bytes | None], list[ClickState]] = {}
        for click in self.clicks:
            if not click.query_id or click.reason not in ("", "duplicate"):
                continue
            if not self._has_key(click):
                self._set_duplicate(click, "")
                continue
            arrived = keys.setdefault((click.query_id, click.visitor), [])
            if click.id is None:
                arrived.append(click)
        loaded = {click.id: click for click in self.clicks if click.id is not None}
        for key, arrived in keys.items():
            for group in self._same_targets(key, arrived, loaded):
                group.sort(key=lambda click: (click.received_ms, click.event_id))
                times = [click.received_ms for click in group]
                for click, counts in zip(group, decide_clicks(times, window_ms), strict=True):
                    self._set_duplicate(click, "" if counts else "duplicate")

    def _has_key(self, click: ClickState) -> bool:
        """A shared page has one query id for all: without visitor or view nobody is told apart."""
        search = self.searches.get(click.query_id or b"")
        return bool(click.visitor or click.view_id or search is None or not search.shared)

    def _same_targets(
        self,
        key: tuple[bytes, bytes | None],
        arrived: Sequence[ClickState],
        loaded: Mapping[int, ClickState],
    ) -> Iterable[list[ClickState]]:
        rows = self.connection.execute(FIND_SAME_KEY, key).fetchall()
        stored = [loaded.get(row[0]) or self._stored_click(row) for row in rows]
        groups: dict[tuple[object, ...], list[ClickState]] = {}
        for click in (*stored, *arrived):
            if click.reason in ("", "duplicate") and self._has_key(click):
                groups.setdefault((click.result, click.view_id, click.kind), []).append(click)
        return groups.values()

    def _set_duplicate(self, click: ClickState, reason: str) -> None:
        if click.reason == reason:
            return
        if not click.touched:
            self._touch_click(click)
            self.clicks.append(click)
        self.duplicates += 1 if reason else -1
        click.reason = reason

    def _count_own_clicks(self) -> None:
        """Add the new counted clicks to their pages; count anew where an old click changed."""
        for click in self.clicks:
            search = self.searches.get(click.view_id or click.query_id or b"")
            if search is None or click.kind != "result":
                continue
            if click.id is not None:
                self.recount.add(search.query_id)
            elif click.reason == "" and click.received_ms < search.received_ms + CLICK_HORIZON_MS:
                self._touch_search(search)
                search.own_clicks += 1
                search.own_best = min(filter(None, (search.own_best, click.position)), default=None)
        kind = self._term("result")
        for query_id in self.recount:
            search = self.searches[query_id]
            self._touch_search(search)
            horizon_ms = search.received_ms + CLICK_HORIZON_MS
            view_id = query_id if search.viewed else None
            asked = {
                "query_id": search.viewed or query_id,
                "view_id": view_id,
                "kind": kind,
                "horizon_ms": horizon_ms,
            }
            search.own_clicks, search.own_best = self.connection.execute(
                RECOUNT_OWN, asked
            ).fetchone()

    def _decide_searches(self) -> None:
        visitors: dict[tuple[int, bytes | None], int] = {}
        for search in self.searches.values():
            if search.walks() and (not search.stored or search.reason == "prefetch"):
                key = (search.at.site, search.visitor)
                visitors[key] = min(visitors.get(key, search.received_ms), search.received_ms)
        for (site, visitor), earliest_ms in visitors.items():
            asked = (site, visitor, earliest_ms - LOOK_BACK_MS)
            self._load_searches(
                row[0] for row in self.connection.execute(FIND_RECENT, asked).fetchall()
            )
        walks: dict[tuple[int, bytes | None], list[SearchState]] = {key: [] for key in visitors}
        for search in self.searches.values():
            key = (search.at.site, search.visitor)
            if (
                key in walks
                and search.walks()
                and search.received_ms >= visitors[key] - LOOK_BACK_MS
            ):
                walks[key].append(search)
        for walk in walks.values():
            self._decide_walk(
                sorted(walk, key=lambda search: (search.received_ms, search.event_id))
            )

    def _decide_walk(self, walk: Sequence[SearchState]) -> None:
        decisions = [
            Decision(search.reason, search.first)
            if search.stored and search.reason != "prefetch"
            else None
            for search in walk
        ]
        alone = len(walk) == 1
        walked = [
            self._walked(search, "" if alone else self._query_text(search.query)) for search in walk
        ]
        start = first_undecided(walked, decisions)
        settled = [decision for decision in decisions[:start] if decision is not None]
        for search, decision in zip(walk, decide_searches(walked, settled), strict=True):
            if (search.reason, search.first) != decision:
                self._touch_search(search)
                search.reason, search.first = decision

    def _walked(self, search: SearchState, text: str) -> Walked:
        return Walked(search.received_ms, search.event_id, search.query_id, text, search.offset)

    def _query_text(self, query: int) -> str:
        row = self.connection.execute("SELECT text FROM query WHERE id = ?", (query,)).fetchone()
        return str(row[0])

    def _settle_belonging(self) -> None:
        """A counted search was clicked when it, or a search that belongs to it, was."""
        touched = [search for search in self.searches.values() if search.touched]
        owners = {search.first or search.query_id for search in touched} | self.left_owners
        self._load_searches(owners)
        belonging: dict[bytes, list[SearchState]] = {}
        for search in self.searches.values():
            if search.first:
                belonging.setdefault(search.first, []).append(search)
        for query_id in owners:
            if query_id in self.searches:
                self._settle(self.searches[query_id], belonging.get(query_id, []))

    def _settle(self, owner: SearchState, members: Sequence[SearchState]) -> None:
        self._touch_search(owner)
        pairs = [(owner.own_clicks, owner.own_best)]
        pairs += [(member.own_clicks, member.own_best) for member in members]
        if owner.stored:
            rows = self.connection.execute(FIND_BELONGING, (owner.query_id,))
            pairs += [(clicks, best) for key, clicks, best in rows if key not in self.searches]
        owner.clicked = int(owner.reason == "" and any(clicks for clicks, _ in pairs))
        owner.best = (
            min((best for _, best in pairs if best), default=None) if owner.clicked else None
        )

    # -- taking back and counting ------------------------------------------------------------------

    def _touch_search(self, search: SearchState) -> None:
        """Take back what a stored search had added, once; it is counted again at the end."""
        if search.touched:
            return
        search.touched = True
        search.showed = search.shows()
        if search.first:
            self.left_owners.add(search.first)
        self._count_search(search, -1)

    def _count_search(self, search: SearchState, sign: int) -> None:
        if search.reason in ("", "robot"):
            self.deltas.add_search(search.at, search.query, search.measures(), sign)
        if search.reason:
            self._exclude(search.at, "search", search.reason, sign)

    def _count_shown(self, search: SearchState) -> None:
        """Add what the page showed where that changes: a click on an old page leaves it alone."""
        if search.shows() == search.showed:
            return
        if search.shown is None:
            search.shown = [tuple(row) for row in json.loads(search.impressions)]
        sign = 1 if search.shows() else -1
        self.deltas.add_impressions(search.at, search.query, search.shown, sign)

    def _touch_click(self, click: ClickState) -> None:
        click.touched = True
        self._count_click(click, -1)

    def _count_click(self, click: ClickState, sign: int) -> None:
        if click.reason in ("", "robot") and click.kind == "result":
            host = self._host(click.result)
            self.deltas.add_click(
                click.at, click.module, click.query, click.result, host, click.position, sign
            )
        if click.reason:
            self._exclude(click.at, "click", click.reason, sign)

    def _exclude(self, at: Dimensions, kind: str, reason: str, sign: int) -> None:
        self.deltas.add_excluded(at.site, at.day, self._term(kind), self._term(reason), sign)

    # -- writing -----------------------------------------------------------------------------------

    def _write_clicks(self) -> None:
        new, changed = [], []
        for click in self.clicks:
            self._count_click(click, 1)
            reason = self._term(click.reason)
            if click.id is None:
                new.append(
                    (
                        click.event_id,
                        click.received_ms,
                        *click.at[:8],
                        click.query,
                        click.query_id,
                        click.result,
                        click.position,
                        click.module,
                        click.visitor,
                        reason,
                        self._term(click.kind),
                        click.view_id,
                        *click.rest,
                    )
                )
            else:
                at = click.at
                changed.append(
                    (click.query, at.language, at.profile, click.view_id, reason, click.id)
                )
        self.connection.executemany(ADD_CLICK, new)
        self.connection.executemany(CHANGE_CLICK, changed)

    def _write_searches(self) -> None:
        new, changed, recent = [], [], []
        for search in self.searches.values():
            if not search.touched:
                continue
            self._count_search(search, 1)
            self._count_shown(search)
            reason = self._term(search.reason)
            standing = (search.own_clicks, search.own_best, search.clicked, search.best)
            if search.stored:
                changed.append((search.activated, reason, search.first, *standing, search.query_id))
            else:
                new.append(_search_row(search, reason, standing))
            if search.walks():
                recent.append((search.at.site, search.visitor, search.received_ms, search.query_id))
        self.connection.executemany(ADD_SEARCH, sorted(new))
        self.connection.executemany(CHANGE_SEARCH, changed)
        self.connection.executemany(ADD_RECENT, recent)

    def _write_rollups(self) -> None:
        for table, sql in ADD_TO_ROLLUP.items():
            self.connection.executemany(sql, self.deltas.rows(table))

    # -- reading -----------------------------------------------------------------------------------

    def _find(self, sql: str, keys: Sequence[bytes]) -> Iterator[Any]:
        for start in range(0, len(keys), _CHUNK):
            chunk = keys[start : start + _CHUNK]
            yield from self.connection.execute(
                f"{sql} ({', '.join('?' * len(chunk))})", chunk
            ).fetchall()

    def _load_searches(self, query_ids: Iterable[bytes]) -> None:
        missing = sorted({query_id for query_id in query_ids if query_id not in self.searches})
        for row in self._find(FIND_SEARCHES, missing):
            state = self._stored_search(row)
            self.searches[state.query_id] = state

    def _stored_search(self, row: tuple) -> SearchState:  # type: ignore[type-arg]
        reason = self.dictionaries.word(self.connection, row[21])
        at = Dimensions(*(*row[3:11], row[2] // QUARTER_MS))
        return SearchState(*(*row[:3], at, *row[11:21], reason, *row[22:29], True))

    def _stored_click(self, row: tuple) -> ClickState:  # type: ignore[type-arg]
        at = Dimensions(*(*row[3:11], row[2] // QUARTER_MS))
        reason, kind = (self.dictionaries.word(self.connection, term) for term in row[17:19])
        return ClickState(*(*row[:3], at, *row[11:17], reason, kind, row[19]))

    def _dimensions(self, event: Event) -> Dimensions:
        dictionaries = self.dictionaries
        site = dictionaries.site(self.connection, event.site)
        language, profile = "", ""
        if not isinstance(event, View | Conversion):
            language, profile = event.language, event.profile
        words = (event.device, language, profile, event.source, event.trust)
        terms = dictionaries.dimensions.get(words)
        if terms is None:
            terms = dictionaries.dimensions[words] = tuple(map(self._term, words))
        day = dictionaries.day(site, event.received_ms)
        robot, quarter = int(bool(event.robot)), event.received_ms // QUARTER_MS
        return Dimensions(*(site, day, *terms, robot, quarter))

    def _term(self, text: str) -> int:
        return self.dictionaries.term(self.connection, text)

    def _result(self, url: str, doc_id: str, title: str) -> int:
        result = self.dictionaries.results[result_key(url, doc_id)]
        if title:
            self._set_title(result, title)
        return result

    def _host(self, result: int) -> int:
        hosts = self.dictionaries.hosts
        if result not in hosts:
            sql = "SELECT host FROM result WHERE id = ?"
            hosts[result] = self.connection.execute(sql, (result,)).fetchone()[0]
        return hosts[result]

    def _set_title(self, result: int, title: str) -> None:
        sql = "UPDATE result SET title = ? WHERE id = ? AND title IS NULL"
        self.connection.execute(sql, (title, result))


def _search_row(
    search: SearchState, reason: int, standing: tuple[object, ...]
) -> tuple[object, ...]:
    return (
        search.query_id,
        search.event_id,
        search.received_ms,
        *search.at[:8],
        search.query,
        search.total_hits,
        search.offset,
        search.tag,
        search.kind,
        search.visitor,
        search.session,
        search.shared,
        search.prefetched,
        search.activated,
        reason,
        search.first,
        search.viewed,
        *standing,
        search.impressions,
    )


def _add_to(ledger: dict[str, int], name: str, count: int) -> None:
    if count:
        ledger[name] = ledger.get(name, 0) + count
