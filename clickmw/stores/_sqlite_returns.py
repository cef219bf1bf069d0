"""How long visitors stayed away: what they say on their return, given to the click it belongs to.

Returns are kept as raw rows beside the clicks, so that whatever arrives late, a click or a return,
is put in its place by its time.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from clickmw.counting import COUNTED_KINDS, Came, decide_dwells
from clickmw.events import Return, query_id_bytes
from clickmw.stores._sqlite_batch import Batch, result_of
from clickmw.stores._sqlite_dictionaries import look_up
from clickmw.stores.base import Stored

ADD_RETURN = """
-- One row per return of a visitor to the results.
INSERT INTO came_back (event_id, received_ms, query_id, view_id, visitor, result, position, client_id,
  dwell_s) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
ANY_RETURN = "SELECT EXISTS (SELECT 1 FROM came_back)"
FIND_RETURNS = """
-- One row per return to a page of a list; a view means nothing on a page of one's own.
SELECT back.query_id, back.visitor, back.result, back.position,
       CASE WHEN search.shared = 0 THEN NULL ELSE back.view_id END,
       back.received_ms, back.event_id, back.client_id, back.dwell_s, coalesce(search.shared, 0)
  FROM came_back AS back LEFT JOIN search ON search.query_id = back.query_id
 WHERE back.query_id IN ({})
"""
FIND_LEFT_FOR = f"""
-- One row per click on a page of a list; counted: whether a return may belong to it.
SELECT click.query_id, visitor, result, position, view_id, received_ms, event_id, click.id,
       drop_reason = 0 AND term.text IN {tuple(sorted(COUNTED_KINDS))} AS counted, dwell_s
  FROM click JOIN term ON term.id = click.kind WHERE click.query_id IN ({{}})
"""
CHANGE_DWELL = """
-- One row per click whose visitor came back, or turns out to have come back from another one.
UPDATE click SET dwell_s = ? WHERE id = ?
"""

#: What a return shares with its click: page, visitor, result, position, view.
Key = tuple[bytes, bytes | None, int, int | None, bytes | None]


class Returns:
    """Take the returns of *batch*; give their times to the clicks."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.pages: set[bytes] = set()

    def add(self, events: Sequence[Stored]) -> None:
        """Keep the returns of people among *events*."""
        rows = [
            self._row(event_id, event)
            for event_id, event in events
            if isinstance(event, Return) and not (event.drop_reason or event.robot)
        ]
        self.pages = {row[2] for row in rows}
        self.batch.connection.executemany(ADD_RETURN, rows)

    def _row(self, event_id: bytes, back: Return) -> tuple[Any, ...]:
        url, doc_id = result_of(back.source, back.url, back.doc_id, back.query_id)
        return (
            event_id,
            back.received_ms,
            query_id_bytes(back.query_id),
            query_id_bytes(back.view_id) if back.view_id else None,
            bytes.fromhex(back.visitor) or None,
            self.batch.result(url, doc_id, ""),
            back.position,
            query_id_bytes(back.client_id) if back.client_id else None,
            float(back.dwell_s),
        )

    def settle(self, clicked: Iterable[bytes | None]) -> None:
        """Decide anew on the pages that somebody came back to, or that are *clicked*; all rows are written."""
        connection = self.batch.connection
        if not connection.execute(ANY_RETURN).fetchone()[0]:
            return
        pages = sorted(self.pages | set(filter(None, clicked)))
        rows = [(dwell_s, number) for number, dwell_s in wrong_dwells(connection, pages)]
        connection.executemany(CHANGE_DWELL, rows)


def wrong_dwells(
    connection: sqlite3.Connection, pages: Sequence[bytes], since_ms: int = 0
) -> Iterator[tuple[int, float | None]]:
    """Yield the id of each click on *pages* received from *since_ms* on with a wrong time, and the right one."""
    returns: dict[Key, list[Came]] = {}
    nameless: set[Key] = set()
    for found in look_up(connection, FIND_RETURNS, "?", pages):
        for *key, received_ms, event_id, client_id, dwell_s, shared in found:
            returns.setdefault(tuple(key), []).append(
                Came(received_ms, event_id, client_id, dwell_s)
            )
            if shared and key[1] is None and key[4] is None:
                nameless.add(tuple(key))  # a shared page tells nobody apart without visitor or view
    touched = sorted({key[0] for key in returns})
    clicks: dict[Key, list[tuple[Any, ...]]] = {}
    for found in look_up(connection, FIND_LEFT_FOR, "?", touched):
        for row in found:
            clicks.setdefault(row[:5], []).append(row[5:])
    for key, group in clicks.items():
        came = [] if key in nameless else sorted(returns.get(key, ()))
        counted = sorted(click for click in group if click[3])
        dwells = decide_dwells([click[0] for click in counted], came)
        right = {click[2]: dwell_s for click, dwell_s in zip(counted, dwells, strict=True)}
        for received_ms, _, number, _, dwell_s in group:
            if right.get(number) != dwell_s and received_ms >= since_ms:
                yield number, right.get(number)
