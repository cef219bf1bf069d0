"""What senders and visitors say beyond searching and clicking: things shown, ratings, answers, orders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clickmw.counting import IMPRESSION_WINDOW_MS, ORDER_WINDOW_MS, decide_clicks
from clickmw.events import Answer, Conversion, Feedback, Impression, Shown, query_id_bytes
from clickmw.rollups import Dimensions
from clickmw.stores._sqlite_batch import Batch
from clickmw.stores._sqlite_batch import Shown as ShownRow
from clickmw.stores.base import QUARTER_MS, Stored

Said = Impression | Feedback | Answer | Conversion

#: What is no click within this time of the same: by table and kind.
WINDOWS_MS = {
    ("impression", "ad_impression"): IMPRESSION_WINDOW_MS,
    ("conversion", ""): ORDER_WINDOW_MS,
}
#: Shown things that the report counts; the others are only kept.
COUNTED_IMPRESSION = "ad_impression"

_COMMON = (
    "event_id, received_ms, site, day, device, language, profile, source, trust, robot, query_id,"
    " visitor, session, drop_reason"
)
_OWN = {
    "impression": "kind, query, ad_id, dedupe_key, result, position, module, doc_id, label",
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
    table: f"INSERT INTO {table} ({_COMMON}, {own})"
    f" VALUES ({', '.join('?' * (14 + own.count(',') + 1))})"
    for table, own in _OWN.items()
}
CHANGE_SAID = {
    table: f"UPDATE {table} SET drop_reason = ? WHERE id = ?"
    for table in ("impression", "conversion")
}
_STANDING = (
    "id, event_id, received_ms, site, day, device, language, profile, source, trust, robot,"
    " drop_reason"
)
_SAME = {
    "impression": f"SELECT {_STANDING}, query, result, position, module FROM impression"
    " WHERE dedupe_key = :key AND kind = :kind",
    "conversion": f"SELECT {_STANDING}, NULL, 0, 0, 0 FROM conversion WHERE dedupe_key = :key",
}
# What a decision needs: what counted within a window before, and all from that moment on.
FIND_SAME = {
    table: f"""
-- One row per thing that its sender calls the same as another; those of one event follow each other.
{same} AND drop_reason = 0 AND received_ms > :from_ms - :window_ms AND received_ms < :from_ms
UNION ALL {same} AND drop_reason IN (0, :duplicate) AND received_ms >= :from_ms
"""
    for table, same in _SAME.items()
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

    def add(self, events: Sequence[Stored]) -> None:
        """Take in what was said among *events*."""
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
            (*own, *row, thing.doc_id or None, thing.title or None)
            for thing, row in zip(things, state.shown, strict=True)
        ]
        return state

    def _said(self, event_id: bytes, event: Feedback | Answer | Conversion) -> SaidState:
        state = self._new(event_id, event, "")
        own: tuple[object, ...]
        if isinstance(event, Feedback):
            query = self.batch.dictionaries.queries[event.query] if event.query else None
            own = (query, event.score, event.comment or None)
        elif isinstance(event, Answer):
            own = (event.question, event.answer, event.is_question)
        else:
            value = None if event.value is None else float(event.value)
            own = (event.order_id, value, event.currency, event.items)
            own += (event.ad_id or None, event.url or None, state.dedupe_key)
        state.rows = [own]
        return state

    def _new(self, event_id: bytes, event: Said, kind: str) -> SaidState:
        at = self.batch.dimensions(event)
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
            event.drop_reason,
            None,
            [],
            bytes.fromhex(key) or None,
            [],
            head,
            touched=True,
        )

    # -- who counts --------------------------------------------------------------------------------

    def decide(self) -> None:
        """Walk what shares its sender's key with something new."""
        keys: dict[tuple[str, str, bytes | None], list[SaidState]] = {}
        for state in self.states:
            if state.walks():
                keys.setdefault((state.table, state.kind, state.dedupe_key), []).append(state)
        for (table, kind, key), fresh in keys.items():
            window_ms = WINDOWS_MS[table, kind]
            walk = [*self._stored(table, kind, key, fresh, window_ms), *fresh]
            walk.sort(key=lambda state: (state.received_ms, state.event_id))
            times = [state.received_ms for state in walk]
            for state, counts in zip(walk, decide_clicks(times, window_ms), strict=True):
                self._set_reason(state, "" if counts else "duplicate")

    def _stored(
        self,
        table: str,
        kind: str,
        key: bytes | None,
        fresh: Sequence[SaidState],
        window_ms: int,
    ) -> list[SaidState]:
        asked = {
            "key": key,
            "kind": self.batch.term(kind),
            "from_ms": min(state.received_ms for state in fresh),
            "window_ms": window_ms,
            "duplicate": self.batch.term("duplicate"),
        }
        found: dict[bytes, SaidState] = {}
        for row in self.batch.connection.execute(FIND_SAME[table], asked).fetchall():
            at = Dimensions(*(*row[3:11], row[2] // QUARTER_MS))
            reason = self.batch.word(row[11])
            new = SaidState(table, kind, row[1], row[2], at, reason, row[12], [], key, [])
            state = found.setdefault(row[1], new)
            state.ids.append(row[0])
            state.shown.append((row[13], row[14], row[15]))
        return list(found.values())

    def _set_reason(self, state: SaidState, reason: str) -> None:
        if state.reason == reason:
            return
        if not state.touched:
            state.touched = True
            self.states.append(state)
            self._count(state, -1)
        self.batch.duplicates += 1 if reason else -1
        state.reason = reason

    def _count(self, state: SaidState, sign: int) -> None:
        if state.kind == COUNTED_IMPRESSION and state.reason in ("", "robot"):
            self.batch.deltas.add_impressions(state.at, state.query, state.shown, sign)
        if state.reason:
            self.batch.exclude(state.at, state.table, state.reason, sign)

    # -- writing -----------------------------------------------------------------------------------

    def write(self) -> None:
        """Count and write everything that is new or changed."""
        for state in self.states:
            self._count(state, 1)
            reason = self.batch.term(state.reason)
            if state.ids:
                rows = [(reason, number) for number in state.ids]
                self.batch.connection.executemany(CHANGE_SAID[state.table], rows)
            else:
                new = [(*state.head, reason, *own) for own in state.rows]
                self.batch.connection.executemany(ADD_SAID[state.table], new)
