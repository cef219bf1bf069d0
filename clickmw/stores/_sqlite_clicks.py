"""The clicks of one append: their rows, their searches, and which of them are duplicates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clickmw.counting import (
    CLICK_HORIZON_MS,
    COUNTED_KINDS,
    EARLY_CLICK_MS,
    OUR_SOURCES,
    Told,
    decide_clicks,
    search_of_click,
)
from clickmw.events import Click, query_id_bytes
from clickmw.rollups import Dimensions
from clickmw.stores._sqlite_batch import Batch, Same, SearchState, result_of, sharing
from clickmw.stores._sqlite_digests import Digests, Moved, is_docid
from clickmw.stores.base import QUARTER_MS, Stored

CLICK_COLUMNS = (
    "event_id, received_ms, site, day, device, language, profile, source, trust, robot, query,"
    " query_id, result, position, module, visitor, drop_reason, kind, view_id, ad_id, dedupe_key,"
    " told, by_digest, doc_id, tag"
)
FIND_WAITING = f"""
-- One row per click whose search had not arrived, of a list of query ids.
SELECT id, {CLICK_COLUMNS} FROM click WHERE query IS NULL AND query_id IN ({{}})
"""
FIND_CLICKS = f"""
-- One row per click of a list.
SELECT id, {CLICK_COLUMNS} FROM click WHERE id IN ({{}})
"""
FIND_MOVED = f"""
-- One row per click that had to be kept without the URL of its result.
SELECT id, {CLICK_COLUMNS} FROM click WHERE by_digest AND result = ? AND doc_id = ?
"""
# The joins are forced into this order, as in all that is asked of a list.
FIND_TOLD = f"""
-- One row per click that may belong to a search of a list by its words.
WITH wanted (by_visitor, by_query, by_source, at_site, since_ms, until_ms) AS (VALUES {{}})
SELECT id, {CLICK_COLUMNS} FROM wanted CROSS JOIN click
 WHERE told AND visitor = by_visitor AND query = by_query AND source = by_source AND site = at_site
   AND received_ms BETWEEN since_ms AND until_ms
"""
_TOLD_SEARCH = """
SELECT place, found.received_ms, found.query_id FROM wanted CROSS JOIN search AS found
 WHERE found.query_id = (
   SELECT query_id FROM search
    WHERE told AND visitor = by_visitor AND query = by_query AND source = by_source AND site = at_site
      AND received_ms"""
FIND_TOLD_SEARCH = f"""
-- Up to two rows per click of a list: the last search with its words before it, and the first one after it.
WITH wanted (place, by_visitor, by_query, by_source, at_site, now_ms) AS (VALUES {{}})
{_TOLD_SEARCH} BETWEEN now_ms - {CLICK_HORIZON_MS} AND now_ms
    ORDER BY received_ms DESC, query_id DESC LIMIT 1)
UNION ALL
{_TOLD_SEARCH} > now_ms AND received_ms <= now_ms + {EARLY_CLICK_MS}
    ORDER BY received_ms, query_id LIMIT 1)
"""
_ROW = f"id, {CLICK_COLUMNS}"
FIND_SAME_PAGE = f"""
-- One row per click of a visitor on a page, of a list of both.
{sharing(_ROW, "click", "query_id = shared AND visitor = name")}
"""
# Apart from the others: PostgreSQL finds no "IS name" in an index, and a page that a cache keeps has many visitors.
FIND_SAME_NOBODY = f"""
-- One row per click on a page of which nobody knows whose it is, of a list of pages.
{sharing(_ROW, "click", "query_id = shared AND visitor IS NULL")}
"""
FIND_SAME_KEY = f"""
-- One row per click that its sender calls the same as another, of a list.
{sharing(_ROW, "click", "dedupe_key = shared AND kind = name")}
"""
_RECOUNT = """
WITH wanted (search, page, until_ms) AS (VALUES {{}})
SELECT search, count(click.id), min(nullif(click.position, 0)) FROM wanted
  LEFT JOIN click {by} AND click.query_id = page AND click.drop_reason = 0
        AND click.kind IN (SELECT id FROM term WHERE text IN ('result', 'ad')) AND click.received_ms < until_ms
 GROUP BY search
"""
RECOUNT_PAGES = f"""
-- One row per search of a list: the counted clicks on its page within a day of it, and the best position.
{_RECOUNT.format(by="ON click.view_id IS NULL")}
"""
RECOUNT_VIEWS = f"""
-- The same of searches that are views of a page.
{_RECOUNT.format(by="INDEXED BY click_of_view ON click.view_id = search")}
"""
_NEW_COLUMNS = f"id, {CLICK_COLUMNS}, session, referrer_host, user_activated, position_raw"
ADD_CLICK = f"""
-- One row per click.
INSERT INTO click ({_NEW_COLUMNS}) VALUES ({", ".join("?" * (_NEW_COLUMNS.count(",") + 1))})
"""
CHANGE_CLICK = """
-- One row per click whose search or result arrived, or whose standing among its duplicates changed.
UPDATE click SET query = ?, query_id = ?, result = ?, visitor = ?, language = ?, profile = ?,
  view_id = ?, drop_reason = ?, tag = ?, trust = ? WHERE id = ?
"""

#: What duplicates share: a page and a visitor, or a sender's key and the kind.
Key = tuple[str, bytes, bytes | str | int | None]
#: What a click shares with the search it belongs to, where it has no query id: visitor, query, source, site.
Words = tuple[bytes | None, int | None, int, int]


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
    ad_id: str | None
    dedupe_key: bytes | None
    told: int
    by_digest: int
    doc_id: str | None
    tag: int
    rest: tuple[object, ...] = ()
    touched: bool = False

    def walks(self) -> bool:
        """Tell whether the duplicate rule applies: nothing was against this click before."""
        return self.reason in ("", "duplicate")

    def words(self) -> Words:
        """Return what its search shares with it."""
        return self.visitor, self.query, self.at.source, self.at.site


class Clicks:
    """Take the clicks of *batch*, find their searches, decide them, and write those that changed."""

    def __init__(self, batch: Batch, digests: Digests) -> None:
        self.batch = batch
        self.digests = digests
        self.states: list[ClickState] = []  #: new and changed ones
        self._stored: dict[int, ClickState] = {}
        self._left: list[ClickState] = []

    # -- taking in ---------------------------------------------------------------------------------

    def add(self, events: Sequence[Stored]) -> None:
        """Take in the clicks among *events*."""
        arrived = [(s.event_id, s.event) for s in events if isinstance(s.event, Click)]
        ids = [query_id_bytes(click.query_id) if click.query_id else None for _, click in arrived]
        views = [query_id_bytes(click.view_id) for _, click in arrived if click.view_id]
        self.batch.load_searches([*filter(None, ids), *views])
        for query_id, (event_id, click) in zip(ids, arrived, strict=True):
            self.states.append(self._new(query_id, event_id, click))

    def _new(self, query_id: bytes | None, event_id: bytes, click: Click) -> ClickState:
        batch, source = self.batch, click.source
        url, doc_id = result_of(source, click.url, click.doc_id, click.query_id, click.ad_id)
        by_digest = self.digests.on and is_docid(click)
        if by_digest:
            url, doc_id = self.digests.targets[doc_id]
        state = ClickState(
            None,
            event_id,
            click.received_ms,
            batch.dimensions(click),
            None,
            query_id,
            batch.result(url, doc_id, click.title),
            click.position,
            batch.term(click.module_code),
            bytes.fromhex(click.visitor) or None,
            batch.reason(event_id, click.drop_reason),
            click.kind,
            query_id_bytes(click.view_id) if click.view_id else None,
            click.ad_id or None,
            bytes.fromhex(click.dedupe_key) or None,
            0,
            int(by_digest),
            click.doc_id if by_digest or click.doc_id != doc_id else None,
            batch.term(click.tag),
            (
                click.session or None,
                batch.term(click.referrer_host),
                click.user_activated,
                click.position_raw or None,
            ),
            touched=True,
        )
        if query_id is None:
            state.query = batch.dictionaries.queries[click.query] if click.query else None
            state.told = int(bool(click.query and click.visitor and source not in OUR_SOURCES))
        elif query_id in batch.searches:
            self._join(state, batch.searches[query_id])
        return state

    def _join(self, click: ClickState, search: SearchState) -> None:
        click.query = search.query
        click.at = click.at._replace(language=search.at.language, profile=search.at.profile)
        click.tag = search.tag
        source = self.batch.word(click.at.source)
        may_be_of_session = source == "beacon" and self.batch.word(click.at.trust) == "anonymous"
        if may_be_of_session and self.batch.is_of_session(search, click.visitor, click.at.site):
            click.at = click.at._replace(trust=self.batch.term("session"))
        if search.prefetched and click.reason != "robot":
            self.batch.activate(search)
        if search.shared:
            return
        # Views tell apart who shares a page; on a page of one's own they mean nothing, and whoever
        # reports a click there speaks of the visitor for whom the page was made.
        click.view_id = None
        if source not in OUR_SOURCES:
            click.visitor = search.visitor

    def join_waiting(self, fresh: Sequence[SearchState]) -> None:
        """Join the stored clicks that waited for one of the *fresh* searches."""
        for row in self.batch.find(FIND_WAITING, [search.query_id for search in fresh]):
            click = self._state(row)
            self._touch(click)
            self._join(click, self.batch.searches[click.query_id or b""])

    def move(self, moved: Iterable[Moved]) -> None:
        """Give stored clicks the results whose URLs have become known."""
        for old, docid, url in moved:
            for row in self.batch.connection.execute(FIND_MOVED, (old, docid)).fetchall():
                click = self._state(row)
                self._touch(click)
                click.result = self.batch.result(url, "", "")

    def repeat(self, places: Mapping[bytes, Any]) -> None:
        """Take stored clicks out of the walk that turn out to repeat earlier ones."""
        for row in self.batch.find(FIND_CLICKS, sorted(places.values())):
            click = self._state(row)
            if click.walks() and click.event_id in places:
                self._touch(click)
                self.batch.duplicates += click.reason == ""
                click.reason = "repeated"
                self._left.append(click)
        self.batch.load_searches(click.query_id for click in self._left if click.query_id)

    # -- searches by their words -------------------------------------------------------------------

    def find_searches(self, fresh: Sequence[SearchState]) -> None:
        """Give the clicks that name no search the one that shares their words, new or stored."""
        arrived: dict[Words, list[Told]] = {}
        for search in fresh:
            if search.told:
                shared = (search.visitor, search.query, search.at.source, search.at.site)
                told = Told(search.received_ms, search.query_id)
                arrived.setdefault(shared, []).append(told)
        clicks = [click for click in self.states if click.told]
        for searches in arrived.values():
            searches.sort()
        clicks += self._stored_near(arrived)
        found = self._searches_of(clicks, arrived)
        self.batch.load_searches(filter(None, found))
        for click, query_id in zip(clicks, found, strict=True):
            if query_id != click.query_id:
                self._lead(click, query_id)

    def _stored_near(self, arrived: Mapping[Words, Sequence[Told]]) -> list[ClickState]:
        """Return the stored clicks that searches which *arrived* may lead, by their words."""
        asked = [
            (
                *words,
                searches[0].received_ms - EARLY_CLICK_MS,
                searches[-1].received_ms + CLICK_HORIZON_MS,
            )
            for words, searches in arrived.items()
        ]
        return [self._state(row) for row in self.batch.find(FIND_TOLD, asked)]

    def _searches_of(
        self, clicks: Sequence[ClickState], arrived: Mapping[Words, Sequence[Told]]
    ) -> list[bytes | None]:
        """Return for each of *clicks* the search that shares its words, stored or among the *arrived*."""
        asked = [(n, *click.words(), click.received_ms) for n, click in enumerate(clicks)]
        near: dict[int, list[Told]] = {}
        for place, *told in self.batch.find(FIND_TOLD_SEARCH, asked):
            near.setdefault(place, []).append(Told(*told))
        return [
            search_of_click(
                click.received_ms, sorted([*near.get(n, ()), *arrived.get(click.words(), ())])
            )
            for n, click in enumerate(clicks)
        ]

    def _lead(self, click: ClickState, query_id: bytes | None) -> None:
        if click.id is not None:
            self._touch(click)
            left = [click.query_id] if click.query_id else []
            self.batch.load_searches(left)
            self.batch.recount.update(left)
        click.query_id = query_id

    # -- who counts --------------------------------------------------------------------------------

    def decide(self) -> None:
        """Walk the clicks of every key that has a new or changed one."""
        pending: dict[Key, list[ClickState]] = {}
        since: dict[Key, int] = {}
        for click in self.states:
            if click.walks():
                key = self._key(click)
                if key is None:
                    self._set_reason(click, "")
                else:
                    pending.setdefault(key, []).append(click)
        for click in self._left:
            key = self._key(click)
            if key is not None:
                pending.setdefault(key, [])
                since[key] = min(since.get(key, click.received_ms), click.received_ms)
        for key, clicks in pending.items():
            from_ms = min((click.received_ms for click in clicks), default=since.get(key, 0))
            since[key] = min(from_ms, since.get(key, from_ms))
        options = self.batch.dictionaries.options
        stored = self._stored_of(since)
        for key, clicks in pending.items():
            for group in self._groups(key, clicks, stored.get(key, ())):
                ad = group[0].kind == "ad"
                window_ms = options.ad_dedupe_window_ms if ad else options.dedupe_window_ms
                self._walk(group, window_ms)

    def _key(self, click: ClickState) -> Key | None:
        """Return what duplicates of *click* share; None for one that has none.

        A shared page has one query id for all: without visitor or view nobody is told apart.
        """
        if click.dedupe_key:
            return "key", click.dedupe_key, click.kind
        if click.query_id is None or click.told:
            return None
        search = self.batch.searches.get(click.query_id)
        if click.visitor or click.view_id or search is None or not search.shared:
            return "page", click.query_id, click.visitor
        return None

    def _groups(
        self, key: Key, pending: Sequence[ClickState], stored: Sequence[Any]
    ) -> Iterable[list[ClickState]]:
        """Return the *pending* and the *stored* clicks of *key*, one list for each target."""
        clicks = {id(click): click for click in pending}
        for row in stored:
            click = self._state(row)
            if click.walks() and self._key(click) == key:
                clicks[id(click)] = click
        groups: dict[object, list[ClickState]] = {}
        for click in clicks.values():
            target = None if key[0] == "key" else (click.result, click.view_id, click.kind)
            groups.setdefault(target, []).append(click)
        return groups.values()

    def _stored_of(self, since: Mapping[Key, int]) -> dict[Key, list[Any]]:
        """Return the rows of stored clicks of each key; what is settled is left out.

        A decision rests on what was received before, so all before *since* stand.
        """
        batch, asked = self.batch, {}
        named: bytes | str | int
        options = batch.dictionaries.options
        window_ms = max(options.dedupe_window_ms, options.ad_dedupe_window_ms)
        for key, from_ms in since.items():
            how, shared, name = key
            if how == "key":
                sql, named = FIND_SAME_KEY, batch.term(str(name))
            else:
                search = batch.searches.get(shared)
                if search is not None and not search.stored:
                    continue  # whatever was stored for it waited, and is here
                sql, named = FIND_SAME_PAGE if name else FIND_SAME_NOBODY, name or b""
            asked[key] = Same(sql, shared, named, from_ms, window_ms)
        return batch.find_same(asked)

    def _walk(self, group: list[ClickState], window_ms: int) -> None:
        group.sort(key=lambda click: (click.received_ms, click.event_id))
        times = [click.received_ms for click in group]
        for click, counts in zip(group, decide_clicks(times, window_ms), strict=True):
            self._set_reason(click, "" if counts else "duplicate")

    def _set_reason(self, click: ClickState, reason: str) -> None:
        if click.reason == reason:
            return
        self._touch(click)
        self.batch.duplicates += 1 if reason else -1
        click.reason = reason

    # -- taking back and counting ------------------------------------------------------------------

    def _state(self, row: tuple) -> ClickState:  # type: ignore[type-arg]
        """Return the state of a stored click, the same one each time."""
        found = self._stored.get(row[0])
        if found is None:
            at = Dimensions(*(*row[3:11], row[2] // QUARTER_MS))
            reason, kind = self.batch.word(row[17]), self.batch.word(row[18])
            found = ClickState(*(*row[:3], at, *row[11:17], reason, kind, *row[19:]))
            self._stored[row[0]] = found
        return found

    def _touch(self, click: ClickState) -> None:
        """Take back what a stored click had added, once; it is counted again at the end."""
        if not click.touched:
            click.touched = True
            self.states.append(click)
            self._count(click, -1)

    def _count(self, click: ClickState, sign: int) -> None:
        batch = self.batch
        if click.kind in COUNTED_KINDS and click.reason in ("", "robot"):
            host = batch.dictionaries.host(batch.connection, click.result, click.at.site)
            ad = batch.term(click.ad_id) if click.ad_id else 0
            batch.deltas.add_click(
                click.at, click.module, click.query, click.result, host, ad, click.position, sign
            )
        if click.reason:
            batch.exclude(click.at, "click", click.reason, sign)

    # -- writing -----------------------------------------------------------------------------------

    def write(self) -> None:
        """Count and write every click that is new or changed."""
        new: list[tuple[object, ...]] = []
        changed: list[tuple[object, ...]] = []
        next_id = self.batch.next_id("click")
        for click in self.states:
            self._count(click, 1)
            reason = self.batch.term(click.reason)
            if click.id is None:
                if click.event_id in self.batch.places:
                    self.batch.places[click.event_id] = next_id + len(new)
                kind = self.batch.term(click.kind)
                new.append((next_id + len(new), *_row(click, reason, kind)))
            else:
                found = (click.query, click.query_id, click.result, click.visitor)
                at = (click.at.language, click.at.profile)
                more = (click.view_id, reason, click.tag, click.at.trust)
                changed.append((*found, *at, *more, click.id))
        self.batch.connection.executemany(ADD_CLICK, new)
        self.batch.connection.executemany(CHANGE_CLICK, changed)

    def count_own(self) -> None:
        """Add the new counted clicks to their pages; count anew where an old click changed."""
        batch = self.batch
        # A sender's key reaches over many pages: a click that changed may be on any of them.
        batch.load_searches(
            click.view_id or click.query_id
            for click in self.states
            if click.id is not None and click.query_id
        )
        for click in self.states:
            search = batch.searches.get(click.view_id or click.query_id or b"")
            if search is None or click.kind not in COUNTED_KINDS:
                continue
            if click.id is not None:
                batch.recount.add(search.query_id)
            elif click.reason == "" and click.received_ms < search.received_ms + CLICK_HORIZON_MS:
                batch.touch_search(search)
                search.own_clicks += 1
                search.own_best = min(filter(None, (search.own_best, click.position)), default=None)
        self._recount([batch.searches[key] for key in batch.recount & batch.searches.keys()])

    def _recount(self, searches: Sequence[SearchState]) -> None:
        asked: dict[str, list[tuple[object, ...]]] = {RECOUNT_PAGES: [], RECOUNT_VIEWS: []}
        for search in searches:
            until_ms = search.received_ms + CLICK_HORIZON_MS
            row = (search.query_id, search.viewed or search.query_id, until_ms)
            asked[RECOUNT_VIEWS if search.viewed else RECOUNT_PAGES].append(row)
        for sql, rows in asked.items():
            for query_id, *own in self.batch.find(sql, rows):
                search = self.batch.searches[query_id]
                self.batch.touch_search(search)
                search.own_clicks, search.own_best = own


def _row(click: ClickState, reason: int, kind: int) -> tuple[object, ...]:
    return (
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
        kind,
        click.view_id,
        click.ad_id,
        click.dedupe_key,
        click.told,
        click.by_digest,
        click.doc_id,
        click.tag,
        *click.rest,
    )
