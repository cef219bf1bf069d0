"""Events that a browser sent twice: known by the id that it gave them, whichever arrives first."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from clickmw.counting import Sent, chains
from clickmw.events import (
    Answer,
    Click,
    Conversion,
    Event,
    Feedback,
    Impression,
    Search,
    query_id_bytes,
)
from clickmw.stores._sqlite_batch import Batch
from clickmw.stores.base import Stored

FIND_SENT = """
-- One row per chain of events with an id of a list: the one that counts, and where it is stored.
SELECT client_id, kind, site, received_ms, event_id, last_ms, place FROM sent_id
 WHERE client_id IN ({})
"""
ADD_SENT = """
INSERT INTO sent_id (client_id, kind, site, received_ms, event_id, last_ms, place)
 VALUES (?, ?, ?, ?, ?, ?, ?)
"""
FORGET_SENT = """
DELETE FROM sent_id
 WHERE client_id = ? AND kind = ? AND site = ? AND received_ms = ? AND event_id = ?
"""
#: Events that a browser may send twice → the table they are stored in.
TABLE_OF: Mapping[type[Event], str] = {
    Click: "click",
    Search: "search",
    Impression: "impression",
    Feedback: "rating",
    Answer: "answer",
    Conversion: "conversion",
}

#: What repeats share: the browser's id, the table and the site.
Key = tuple[bytes, str, int]
Place = int | bytes


class Repeats:
    """Find the events of *batch* that repeat others, and the stored ones that turn out to repeat them.

    ``stored`` has the latter: by table, event id → where it is.
    """

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.stored: dict[str, dict[bytes, Place]] = {table: {} for table in TABLE_OF.values()}
        self._chains: dict[Key, list[list[Sent]]] = {}
        self._known: dict[Key, dict[bytes, tuple[Sent, Place]]] = {}

    def find(self, events: Sequence[Stored], fresh: Collection[bytes]) -> None:
        """Tell which of *events* are repeats; of searches the *fresh* ones alone are stored."""
        found = self._sent(events, fresh)
        ids = sorted({key[0] for key in found})
        for *shared, received_ms, event_id, last_ms, place in self.batch.find(FIND_SENT, ids):
            head = Sent(received_ms, event_id, last_ms)
            known = self._known.setdefault((shared[0], shared[1], shared[2]), {})
            known[event_id] = head, _unpacked(place)
        for key, sent in found.items():
            known = self._known.get(key, {})
            self._chains[key] = chains(sorted([*sent, *(head for head, _ in known.values())]))
            for _, *again in self._chains[key]:
                for event in again:
                    self._repeat(key[1], event.event_id, known)

    def _sent(self, events: Sequence[Stored], fresh: Collection[bytes]) -> dict[Key, set[Sent]]:
        found: dict[Key, set[Sent]] = {}
        for event_id, event in events:
            table = TABLE_OF.get(type(event))
            if table is None or not event.client_id:  # type: ignore[union-attr]
                continue
            if table == "search" and event_id not in fresh:
                continue
            site = self.batch.dictionaries.site(self.batch.connection, event.site)
            key = query_id_bytes(event.client_id), table, site  # type: ignore[union-attr]
            found.setdefault(key, set()).add(Sent(event.received_ms, event_id, event.received_ms))
            self.batch.places[event_id] = 0  # until its row is written
        return found

    def _repeat(
        self, table: str, event_id: bytes, known: Mapping[bytes, tuple[Sent, Place]]
    ) -> None:
        if event_id in known:
            self.stored[table][event_id] = known[event_id][1]
        else:
            self.batch.repeated.add(event_id)

    def write(self) -> None:
        """Remember the first event of each chain and when the last one came."""
        old = [
            (*key, head.received_ms, head.event_id)
            for key, known in self._known.items()
            for head, _ in known.values()
            if key in self._chains
        ]
        new = [
            (
                *key,
                first.received_ms,
                first.event_id,
                last_ms,
                _packed(self._place(key, first.event_id)),
            )
            for key, chained in self._chains.items()
            for first, last_ms in (
                (each[0], max(sent.last_ms for sent in each)) for each in chained
            )
        ]
        self.batch.connection.executemany(FORGET_SENT, old)
        self.batch.connection.executemany(ADD_SENT, new)

    def _place(self, key: Key, event_id: bytes) -> Place:
        known = self._known.get(key, {})
        return known[event_id][1] if event_id in known else self.batch.places[event_id]


def _packed(place: Place) -> bytes:
    """Return *place* as a row has it: a number as 8 bytes, or the query id of a search (12)."""
    return place if isinstance(place, bytes) else place.to_bytes(8)


def _unpacked(place: Place) -> Place:
    """Return what :func:`_packed` was given; once numbers were kept as they are."""
    return int.from_bytes(place) if isinstance(place, bytes) and len(place) == 8 else place
