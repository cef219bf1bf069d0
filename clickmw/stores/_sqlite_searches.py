"""The searches of one append: their rows, which of them count, and what belongs to which."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from clickmw.counting import (
    COUNTED,
    OUR_SOURCES,
    SEARCH_WINDOW_MS,
    TYPING_MS,
    Decision,
    Walked,
    decide_searches,
    first_undecided,
)
from clickmw.events import Search, View, query_id_bytes
from clickmw.stores._sqlite_batch import SEARCH_COLUMNS, Batch, SearchState
from clickmw.stores.base import Stored

#: Searches further back than this cannot change what a new one does (a window, and the typing before it).
LOOK_BACK_MS = 2 * SEARCH_WINDOW_MS
#: Nothing was against these searches but rules of ours.
RULED = frozenset(("", "page", "repeat", "typing", "shared", "prefetch"))

FIND_KNOWN = """
-- One row per query id of a list that has a search already.
SELECT query_id FROM search WHERE query_id IN ({})
"""
# The join is forced into this order: SQLite would rather read all recent searches.
FIND_RECENT = """
-- One row per search that may stand beside a new one, of a list of visitors.
WITH wanted (site, visitor, since_ms) AS (VALUES {})
SELECT recent.query_id FROM wanted
 CROSS JOIN recent_search AS recent
         ON recent.site = wanted.site AND recent.visitor = wanted.visitor
        AND recent.received_ms >= wanted.since_ms
"""
FIND_BELONGING = """
-- One row per search that belongs to one of a list.
SELECT first_query_id, query_id, own_clicks, own_best FROM search WHERE first_query_id IN ({})
"""
FIND_TEXTS = """
-- One row per query of a list.
SELECT id, text FROM query WHERE id IN ({})
"""
ADD_SEARCH = f"""
-- One row per search.
INSERT INTO search ({SEARCH_COLUMNS}) VALUES ({", ".join("?" * (SEARCH_COLUMNS.count(",") + 1))})
"""
CHANGE_SEARCH = """
-- One row per search whose standing changed.
UPDATE search SET activated = ?, drop_reason = ?, first_query_id = ?, own_clicks = ?, own_best = ?,
  clicked = ?, best_position = ? WHERE query_id = ?
"""
ADD_RECENT = """
-- One row per search that may stand beside another one of its visitor.
INSERT INTO recent_search (site, visitor, received_ms, query_id) VALUES (?, ?, ?, ?)
    ON CONFLICT DO NOTHING
"""


class Searches:
    """Take the searches and views of *batch*, decide them, and write those that changed."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.states = batch.searches
        self._left: list[SearchState] = []

    # -- taking in ---------------------------------------------------------------------------------

    def add(self, events: Sequence[Stored]) -> list[SearchState]:
        """Take in the searches among *events*; return those that were not known by their query id."""
        arrived = [(s.event_id, s.event) for s in events if isinstance(s.event, Search)]
        ids = [query_id_bytes(search.query_id) for _, search in arrived]
        known = {row[0] for row in self.batch.find(FIND_KNOWN, ids)}
        fresh = []
        for query_id, (event_id, search) in zip(ids, arrived, strict=True):
            if query_id not in known:
                known.add(query_id)
                fresh.append(self._new(query_id, event_id, search))
        self.states.update((state.query_id, state) for state in fresh)
        return fresh

    def _new(self, query_id: bytes, event_id: bytes, search: Search) -> SearchState:
        batch = self.batch
        shown = batch.shown(search.source, search.impressions)
        reason = search.drop_reason or (
            "shared" if search.shared else "prefetch" if search.prefetched else ""
        )
        sent = search.source not in OUR_SOURCES
        return SearchState(
            query_id,
            event_id,
            search.received_ms,
            batch.dimensions(search),
            batch.dictionaries.queries[search.query],
            search.total_hits,
            search.offset,
            batch.term(search.tag),
            batch.term(search.kind),
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
            int(bool(sent and search.visitor and search.query and not search.shared)),
            None,
            stored=False,
            shown=shown,
            touched=True,
        )

    def repeat(self, fresh: Sequence[SearchState], places: Mapping[bytes, Any]) -> None:
        """Take searches out of the walk that repeat others: *fresh* ones, and stored ones at *places*."""
        for search in fresh:
            if search.reason in RULED:
                search.reason = self.batch.reason(search.event_id, "") or search.reason
            if search.event_id in self.batch.places:
                self.batch.places[search.event_id] = search.query_id
        self.batch.load_searches(places.values())
        for event_id, query_id in places.items():
            found = self.states.get(query_id)
            if found and found.event_id == event_id and found.reason in RULED:
                self.batch.touch_search(found)
                self.batch.duplicates += 1
                if found.walks():
                    self._left.append(found)
                found.reason, found.first = "repeated", None

    def add_views(self, events: Sequence[Stored]) -> list[SearchState]:
        """Make a view of a shared page a search of its own, and one of a prefetched page its proof.

        Returns the searches that were made.
        """
        batch, made = self.batch, []
        views = [
            (stored.event_id, stored.event) for stored in events if isinstance(stored.event, View)
        ]
        batch.load_searches(query_id_bytes(view.query_id) for _, view in views)
        batch.load_searches(query_id_bytes(view.view_id) for _, view in views)
        for event_id, view in views:
            page = self.states.get(query_id_bytes(view.query_id))
            if page is None:
                batch.let_wait(query_id_bytes(view.query_id), event_id, view)
            elif page.prefetched and not page.shared and view.drop_reason == "":
                batch.activate(page)
            elif page.shared and query_id_bytes(view.view_id) not in self.states:
                search = self._viewed(page, event_id, view)
                self.states[search.query_id] = search
                batch.recount.add(search.query_id)
                made.append(search)
        return made

    def _viewed(self, page: SearchState, event_id: bytes, view: View) -> SearchState:
        at = self.batch.dimensions(view)
        return replace(
            page,
            query_id=query_id_bytes(view.view_id),
            event_id=event_id,
            received_ms=view.received_ms,
            at=at._replace(language=page.at.language, profile=page.at.profile),
            visitor=bytes.fromhex(view.visitor) or None,
            shared=0,
            prefetched=0,
            reason=view.drop_reason,
            viewed=page.query_id,
            seen=None,
            stored=False,
            touched=True,
            showed=False,
        )

    # -- who counts --------------------------------------------------------------------------------

    def decide(self) -> None:
        """Walk the searches of every visitor who has a new one."""
        visitors: dict[tuple[int, bytes | None], int] = {}
        for search in self.states.values():
            if search.walks() and (not search.stored or search.reason == "prefetch"):
                key = (search.at.site, search.visitor)
                visitors[key] = min(visitors.get(key, search.received_ms), search.received_ms)
        again: dict[tuple[int, bytes | None], int] = {}
        for search in self._left:
            key = (search.at.site, search.visitor)
            visitors[key] = min(visitors.get(key, search.received_ms), search.received_ms)
            # Whom it made half-typed may count now.
            again[key] = min(again.get(key, search.received_ms), search.received_ms - TYPING_MS)
        asked = [(*key, earliest_ms - LOOK_BACK_MS) for key, earliest_ms in visitors.items()]
        self.batch.load_searches(row[0] for row in self.batch.find(FIND_RECENT, asked))
        walks: dict[tuple[int, bytes | None], list[SearchState]] = {key: [] for key in visitors}
        for search in self.states.values():
            key = (search.at.site, search.visitor)
            if (
                key in walks
                and search.walks()
                and search.received_ms >= visitors[key] - LOOK_BACK_MS
            ):
                walks[key].append(search)
        several = [walk for walk in walks.values() if len(walk) > 1]
        wanted = sorted({search.query for walk in several for search in walk})
        texts = dict(self.batch.find(FIND_TEXTS, wanted))
        for key, walk in walks.items():
            if len(walk) == 1:  # most visitors search once: what the rule says is known
                self._set(walk[0], COUNTED)
            else:
                walk.sort(key=lambda search: (search.received_ms, search.event_id))
                self._decide_walk(walk, texts, again.get(key))

    def _decide_walk(
        self, walk: Sequence[SearchState], texts: Mapping[int, str], again_ms: int | None
    ) -> None:
        decisions = [
            Decision(search.reason, search.first)
            if search.stored
            and search.reason != "prefetch"
            and (again_ms is None or search.received_ms < again_ms)
            else None
            for search in walk
        ]
        walked = [_walked(search, texts[search.query]) for search in walk]
        start = first_undecided(walked, decisions)
        settled = [decision for decision in decisions[:start] if decision is not None]
        for search, decision in zip(walk, decide_searches(walked, settled), strict=True):
            self._set(search, decision)

    def _set(self, search: SearchState, decision: Decision) -> None:
        if (search.reason, search.first) != decision:
            self.batch.touch_search(search)
            search.reason, search.first = decision

    def settle(self) -> None:
        """Work out which searches were clicked: they, or searches that belong to them."""
        batch = self.batch
        touched = [search for search in self.states.values() if search.touched]
        owners = {search.first or search.query_id for search in touched} | batch.left_owners
        batch.load_searches(owners)
        belonging: dict[bytes, list[tuple[int, int | None]]] = {}
        for search in self.states.values():
            if search.first:
                own = search.own_clicks, search.own_best
                belonging.setdefault(search.first, []).append(own)
        stored = sorted(key for key in owners if key in self.states and self.states[key].stored)
        for first, query_id, clicks, best in batch.find(FIND_BELONGING, stored):
            if query_id not in self.states:
                belonging.setdefault(first, []).append((clicks, best))
        for query_id in owners:
            if query_id in self.states:
                self._settle(self.states[query_id], belonging.get(query_id, []))

    def _settle(self, owner: SearchState, members: Sequence[tuple[int, int | None]]) -> None:
        self.batch.touch_search(owner)
        pairs = [(owner.own_clicks, owner.own_best), *members]
        if len(pairs) > 1 and (self.batch.recount or any(clicks for clicks, _ in pairs)):
            self.batch.served.add(owner.query_id)
        owner.clicked = int(owner.reason == "" and any(clicks for clicks, _ in pairs))
        owner.best = (
            min((best for _, best in pairs if best), default=None) if owner.clicked else None
        )

    # -- writing -----------------------------------------------------------------------------------

    def write(self) -> None:
        """Count and write every search that is new or changed."""
        batch = self.batch
        new, changed, recent = [], [], []
        for search in self.states.values():
            if not search.touched:
                continue
            batch.count_search(search, 1)
            self._count_shown(search)
            reason = batch.term(search.reason)
            standing = (search.own_clicks, search.own_best, search.clicked, search.best)
            if search.stored:
                changed.append((search.activated, reason, search.first, *standing, search.query_id))
            else:
                new.append(_row(search, reason, standing))
            if search.walks():
                recent.append((search.at.site, search.visitor, search.received_ms, search.query_id))
        batch.connection.executemany(ADD_SEARCH, sorted(new))
        batch.connection.executemany(CHANGE_SEARCH, changed)
        batch.connection.executemany(ADD_RECENT, recent)

    def _count_shown(self, search: SearchState) -> None:
        """Add what the page showed where that changes: a click on an old page leaves it alone."""
        if search.shows() == search.showed:
            return
        if search.shown is None:
            search.shown = [tuple(row) for row in json.loads(search.impressions)]
        sign = 1 if search.shows() else -1
        self.batch.deltas.add_impressions(search.at, search.query, search.shown, sign)


def _walked(search: SearchState, text: str) -> Walked:
    return Walked(search.received_ms, search.event_id, search.query_id, text, search.offset)


def _row(search: SearchState, reason: int, standing: tuple[object, ...]) -> tuple[object, ...]:
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
        search.told,
        search.seen,
    )
