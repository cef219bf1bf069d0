"""What senders and visitors say beyond searching and clicking: things shown, ratings, answers, orders."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from clickmw.counting import IMPRESSION_WINDOW_MS, ORDER_WINDOW_MS, decide_clicks
from clickmw.events import (
    Answer,
    Conversion,
    Event,
    Feedback,
    Impression,
    Shown,
    query_id_bytes,
)
from clickmw.rollups import Dimensions
from clickmw.stores._sqlite_batch import Batch, Same, sharing
from clickmw.stores._sqlite_batch import Shown as ShownRow
from clickmw.stores.base import QUARTER_MS, Stored

Said = Impression | Feedback | Answer | Conversion

#: What is no click within this time of the same: by table and kind.
WINDOWS_MS = {
    ("impression", "ad_impression"): IMPRESSION_WINDOW_MS,
    ("conversion", ""): ORDER_WINDOW_MS,
}
#: What repeats share: table, kind, sender's key.
Key = tuple[str, str, bytes | None]
#: Shown things that the report counts; the others are only kept.
COUNTED_IMPRESSION = "ad_impression"

_COMMON = (
    "event_id, received_ms, site, day, device, language, profile, source, trust, robot, query_id,"
    " visitor, session, drop_reason"
)
_OWN = {
    "impression": "kind, query, ad_id, dedupe_key, result, position, module, doc_id, label, tag",
    "rating": "query, score, comment",
    "answer": "question, answer, is_question",
    "conversion": "order_id, value, currency, items, ad_id, url, dedupe_key",
}
TABLE_OF: dict[type, str] = {
    Impression: "impression",
    Feedback: "rating",
    Answer: "answer",
    Conversion: "conversion",
}
ADD_SAID = {
    table: f"INSERT INTO {table} (id, {_COMMON}, {own})"
    f" VALUES ({', '.join('?' * (15 + own.count(',') + 1))})"
    for table, own in _OWN.items()
}
CHANGE_SAID = {table: f"UPDATE {table} SET drop_reason = ? WHERE id = ?" for table in _OWN}
TRUST_SAID = {
    table: f"UPDATE {table} SET trust = ? WHERE id = ? AND event_id = ?" for table in _OWN
}
_STANDING = (
    "id, event_id, received_ms, site, day, device, language, profile, source, trust, robot,"
    " drop_reason"
)
_NOTHING_SHOWN = f"{_STANDING}, NULL, 0, 0, 0"
#: What a state is made of, by table.
_STATES = {
    "impression": f"{_STANDING}, query, result, position, module, dedupe_key, kind, NULL",
    "rating": f"{_NOTHING_SHOWN}, NULL, 0, score",
    "answer": f"{_NOTHING_SHOWN}, NULL, 0, NULL",
    "conversion": f"{_NOTHING_SHOWN}, dedupe_key, 0, NULL",
}
FIND_SAID = {
    table: f"""
-- One row per thing that one event said, and then those of the next events.
SELECT {columns} FROM {table} WHERE id >= ? ORDER BY id
"""
    for table, columns in _STATES.items()
}
_SAME = {
    "impression": "dedupe_key = shared AND kind = name",
    "conversion": "dedupe_key = shared",
}
FIND_SAME = {
    table: f"""
-- One row per thing that its sender calls the same as another, of a list.
{sharing(_STATES[table], table, which)}
"""
    for table, which in _SAME.items()
}


@dataclass(slots=True)
class SaidState:
    """One event while it is decided; an impression has one row for each thing shown.

    ``ids`` are those of its rows, empty before they are written; ``head`` and ``rows`` are what is
    written then, before and after the reason.
    """

    table: str
    kind: str
    event_id: bytes
    received_ms: int
    at: Dimensions
    reason: str
    query: int | None
    shown: list[ShownRow]
    dedupe_key: bytes | None
    ids: list[int]
    score: int | None = None
    head: tuple[object, ...] = ()
    rows: Sequence[tuple[object, ...]] = ()
    touched: bool = False

    def walks(self) -> bool:
        """Tell whether the duplicate rule applies."""
        kind = (self.table, self.kind)
        return kind in WINDOWS_MS and bool(self.dedupe_key) and self.reason in ("", "duplicate")


class Words:
    """Take what was said in *batch*, decide what is a repeat, and write what is new or changed."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.states: list[SaidState] = []
        self._known: dict[bytes, SaidState] = {}
        self._left: list[SaidState] = []
        self._waiting: list[tuple[bytes, tuple[str, bytes, str, int]]] = []

    def add(self, events: Sequence[Stored]) -> None:
        """Take in what was said among *events*."""
        self.batch.load_searches(
            query_id_bytes(event.query_id) for _, event in events if _may_be_of_session(event)
        )
        for event_id, event in events:
            if isinstance(event, Impression):
                self.states.append(self._shown(event_id, event))
            elif isinstance(event, Feedback | Answer | Conversion):
                self.states.append(self._said(event_id, event))

    def _shown(self, event_id: bytes, event: Impression) -> SaidState:
        batch = self.batch
        state = self._new(event_id, event, event.kind)
        things = event.shown or (Shown("", 0, ""),)
        state.query = batch.dictionaries.queries[event.query] if event.query else None
        state.shown = batch.shown(event.source, things, event.ad_id)
        own = (batch.term(event.kind), state.query, event.ad_id or None, state.dedupe_key)
        state.rows = [
            (*own, *row, thing.doc_id or None, thing.title or None, batch.term(event.tag))
            for thing, row in zip(things, state.shown, strict=True)
        ]
        return state

    def _said(self, event_id: bytes, event: Feedback | Answer | Conversion) -> SaidState:
        state = self._new(event_id, event, "")
        own: tuple[object, ...]
        if isinstance(event, Feedback):
            query = self.batch.dictionaries.queries[event.query] if event.query else None
            own = (query, event.score, event.comment or None)
            state.score = event.score
        elif isinstance(event, Answer):
            own = (event.question, event.answer, event.is_question)
        else:
            value = None if event.value is None else float(event.value)
            own = (event.order_id, value, event.currency, event.items)
            own += (event.ad_id or None, event.url or None, state.dedupe_key)
        state.rows = [own]
        return state

    def _at(self, event_id: bytes, event: Said) -> Dimensions:
        """Return where *event* stands; what has no page yet may become more trusted."""
        batch, at = self.batch, self.batch.dimensions(event)
        if not _may_be_of_session(event):
            return at
        query_id = query_id_bytes(event.query_id)
        search = batch.searches.get(query_id)
        if search is None:
            batch.places.setdefault(event_id, 0)
            place = TABLE_OF[type(event)], event_id, event.visitor, at.site
            self._waiting.append((query_id, place))
        elif batch.is_of_session(search, bytes.fromhex(event.visitor), at.site):
            return at._replace(trust=batch.term("session"))
        return at

    def join(self) -> None:
        """Trust what waited for a page, where that was its visitor's."""
        for each in self.batch.joining:
            search = self.batch.searches[each.query_id]
            if self.batch.is_of_session(search, bytes.fromhex(each.visitor), each.site):
                trust = self.batch.term("session")
                state = self._find(each.table, each.event_id, each.place)
                if state is not None:
                    self._touch(state)
                    state.at = state.at._replace(trust=trust)
                row = (trust, each.place, each.event_id)
                self.batch.connection.execute(TRUST_SAID[each.table], row)

    def _new(self, event_id: bytes, event: Said, kind: str) -> SaidState:
        at = self._at(event_id, event)
        key = event.dedupe_key if isinstance(event, Impression | Conversion) else ""
        head = (
            event_id,
            event.received_ms,
            *at[:8],
            query_id_bytes(event.query_id) if event.query_id else None,
            bytes.fromhex(event.visitor) or None,
            event.session or None,
        )
        return SaidState(
            TABLE_OF[type(event)],
            kind,
            event_id,
            event.received_ms,
            at,
            self.batch.reason(event_id, event.drop_reason),
            None,
            [],
            bytes.fromhex(key) or None,
            [],
            head=head,
            touched=True,
        )

    def repeat(self, stored: Mapping[str, Mapping[bytes, Any]]) -> None:
        """Take out of the walk what is stored and turns out to repeat something earlier."""
        for table in _OWN:
            for event_id, place in stored[table].items():
                state = self._find(table, event_id, place)
                if state is not None and state.reason in ("", "duplicate"):
                    if state.walks():
                        self._left.append(state)
                    self._touch(state)
                    self.batch.duplicates += state.reason == ""
                    state.reason = "repeated"

    def _find(self, table: str, event_id: bytes, place: int) -> SaidState | None:
        """Return the event whose first row is *place*; None when it was pruned."""
        rows = self.batch.connection.execute(FIND_SAID[table], (place,))
        self._take_states(table, takewhile(lambda row: row[1] == event_id, rows))
        return self._known.get(event_id)

    # -- who counts --------------------------------------------------------------------------------

    def decide(self) -> None:
        """Walk what shares its sender's key with something new."""
        keys: dict[Key, list[SaidState]] = {}
        since: dict[Key, list[SaidState]] = {}
        for state in self.states:
            if state.walks():
                key = (state.table, state.kind, state.dedupe_key)
                keys.setdefault(key, []).append(state)
                since.setdefault(key, []).append(state)
        for state in self._left:
            since.setdefault((state.table, state.kind, state.dedupe_key), []).append(state)
        stored = self._stored_of(since)
        for key in since:
            found = self._take_states(key[0], stored.get(key, ()))
            walk = {id(state): state for state in (*found, *keys.get(key, ())) if state.walks()}
            states = sorted(walk.values(), key=lambda state: (state.received_ms, state.event_id))
            times = [state.received_ms for state in states]
            for state, counts in zip(
                states, decide_clicks(times, WINDOWS_MS[key[:2]]), strict=True
            ):
                self._set_reason(state, "" if counts else "duplicate")

    def _stored_of(self, changed: Mapping[Key, Sequence[SaidState]]) -> dict[Key, list[Any]]:
        """Return the rows of each key that decide about what *changed*."""
        asked = {}
        for key, states in changed.items():
            table, kind, shared = key
            from_ms = min(state.received_ms for state in states)
            named, window_ms = self.batch.term(kind), WINDOWS_MS[table, kind]
            asked[key] = Same(FIND_SAME[table], shared, named, from_ms, window_ms)
        return self.batch.find_same(asked)

    def _take_states(self, table: str, rows: Iterable[Any]) -> list[SaidState]:
        """Return the events of *rows*, the same ones each time."""
        found: dict[bytes, SaidState] = {}
        fresh: set[bytes] = set()
        for row in rows:
            event_id = row[1]
            if event_id in self._known and event_id not in fresh:
                found[event_id] = self._known[event_id]
                continue
            if event_id not in fresh:
                fresh.add(event_id)
                at = Dimensions(*(*row[3:11], row[2] // QUARTER_MS))
                reason, kind = self.batch.word(row[11]), self.batch.word(row[17])
                new = SaidState(
                    table, kind, event_id, row[2], at, reason, row[12], [], row[16], [], row[18]
                )
                found[event_id] = self._known[event_id] = new
            found[event_id].ids.append(row[0])
            found[event_id].shown.append((row[13], row[14], row[15]))
        return list(found.values())

    def _set_reason(self, state: SaidState, reason: str) -> None:
        if state.reason == reason:
            return
        self._touch(state)
        self.batch.duplicates += 1 if reason else -1
        state.reason = reason

    def _touch(self, state: SaidState) -> None:
        """Take back what something stored had added, once; it is counted again at the end."""
        if not state.touched:
            state.touched = True
            self.states.append(state)
            self._count(state, -1)

    def _count(self, state: SaidState, sign: int) -> None:
        if state.kind == COUNTED_IMPRESSION and state.reason in ("", "robot"):
            self.batch.deltas.add_impressions(state.at, state.query, state.shown, sign)
        if state.score is not None and state.reason in ("", "robot"):
            self.batch.deltas.add_rating(state.at, state.score, sign)
        if state.reason:
            self.batch.exclude(state.at, state.table, state.reason, sign)

    # -- writing -----------------------------------------------------------------------------------

    def write(self) -> None:
        """Count and write everything that is new or changed."""
        numbers: dict[str, int] = {}
        added: dict[str, list[tuple[object, ...]]] = {}
        for state in self.states:
            self._count(state, 1)
            reason = self.batch.term(state.reason)
            if state.ids:
                changed = [(reason, number) for number in state.ids]
                self.batch.connection.executemany(CHANGE_SAID[state.table], changed)
            else:
                table = state.table
                number = numbers.get(table) or self.batch.next_id(table)
                if state.event_id in self.batch.places:
                    self.batch.places[state.event_id] = number
                added.setdefault(table, []).extend(
                    (each, *state.head, reason, *own) for each, own in enumerate(state.rows, number)
                )
                numbers[table] = number + len(state.rows)
        for table, rows in added.items():
            self.batch.connection.executemany(ADD_SAID[table], rows)
        for query_id, (table, event_id, visitor, site) in self._waiting:
            place = table, self.batch.places[event_id], visitor, site
            self.batch.let_wait(query_id, event_id, place)


def _may_be_of_session(event: Event) -> bool:
    """Tell whether a browser says *event* by itself, of a page that may have been its visitor's."""
    return (
        isinstance(event, Feedback | Answer | Conversion)
        and event.source == "beacon"
        and event.trust == "anonymous"
        and bool(event.query_id and event.visitor)
    )
