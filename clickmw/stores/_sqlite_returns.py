"""How long visitors stayed away: what they say on their return, given to the click it belongs to.

Returns are kept as raw rows beside the clicks, so that whatever arrives late, a click or a return,
is put in its place by its time. Where no browser says anything, the results that a visitor was
served again tell: those searches are raw rows too.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from clickmw.counting import COUNTED_KINDS, Came, decide_dwells, decide_served
from clickmw.events import Return, query_id_bytes
from clickmw.stores._sqlite_batch import Batch, result_of
from clickmw.stores._sqlite_dictionaries import look_up
from clickmw.stores.base import Stored

ADD_RETURN = """
-- One row per return of a visitor to the results.
INSERT INTO came_back (id, event_id, received_ms, query_id, view_id, visitor, result, position, client_id,
  dwell_s) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
ANY_RETURN = "SELECT EXISTS (SELECT 1 FROM came_back)"
FIND_RETURNED = """
-- One row per page of a list that somebody came back to.
SELECT DISTINCT query_id FROM came_back WHERE query_id IN ({})
"""
_AGAIN = "drop_reason IN (SELECT id FROM term WHERE text IN ('page', 'repeat'))"
FIND_FIRST = f"""
-- One row per page of a list that was served again, with the search it belongs to.
SELECT query_id, first_query_id FROM search WHERE query_id IN ({{}}) AND {_AGAIN}
"""
FIND_AGAIN = f"""
-- One row per time that a search of a list was served again.
SELECT query_id, first_query_id, visitor, received_ms FROM search WHERE first_query_id IN ({{}}) AND {_AGAIN}
"""
DWELT_PAGES = f"""
-- One row per page with a click whose visitor came back, or may have.
SELECT query_id FROM came_back UNION SELECT first_query_id FROM search WHERE {_AGAIN}
UNION SELECT query_id FROM click WHERE dwell_s IS NOT NULL AND query_id IS NOT NULL
"""
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
       iif(drop_reason = 0 AND term.text IN {tuple(sorted(COUNTED_KINDS))}, 1, 0) AS counted, dwell_s
  FROM click JOIN term ON term.id = click.kind WHERE click.query_id IN ({{}})
"""
CHANGE_DWELL = """
-- One row per click whose visitor came back, or turns out to have come back from another one.
UPDATE click SET dwell_s = ? WHERE id = ?
"""

#: What a return shares with its click: page, visitor, result, position, view.
Key = tuple[bytes, bytes | None, int, int | None, bytes | None]
#: What results that are served again share with clicks before: their search and its visitor.
Shared = tuple[bytes, bytes | None]


class Clicked(NamedTuple):
    """One click on a page, as it stands."""

    received_ms: int
    event_id: bytes
    number: int
    is_counted: int
    dwell_s: float | None


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
        next_id = self.batch.next_id("came_back") if rows else 0
        rows = [(number, *row) for number, row in enumerate(rows, next_id)]
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
        """Decide anew on pages that somebody came back to and may have clicked; all rows are written."""
        connection = self.batch.connection
        pages = self.pages | self.batch.served
        if connection.execute(ANY_RETURN).fetchone()[0]:
            wanted = sorted(set(filter(None, clicked)) - pages)
            pages |= {page for (page,) in self.batch.find(FIND_RETURNED, wanted)}
        rows = [(dwell_s, number) for number, dwell_s in wrong_dwells(connection, sorted(pages))]
        connection.executemany(CHANGE_DWELL, rows)


def settle_all(connection: sqlite3.Connection) -> None:
    """Decide anew on all pages, as for a database in which results served again told nothing."""
    pages = [page for (page,) in connection.execute(DWELT_PAGES)]
    rows = [(dwell_s, number) for number, dwell_s in wrong_dwells(connection, pages)]
    connection.executemany(CHANGE_DWELL, rows)


def wrong_dwells(
    connection: sqlite3.Connection, pages: Sequence[bytes], since_ms: int = 0
) -> Iterator[tuple[int, float | None]]:
    """Yield the id of each click on *pages* received from *since_ms* on with a wrong time, and the right one.

    With a page come all that belong to the same search. What a browser says is the better evidence.
    """
    first, served = _served_again(connection, pages)
    returns = _returns(connection, sorted(first))
    by_search: dict[Shared, list[Clicked]] = {}
    by_key: dict[Key, list[Clicked]] = {}
    for found in look_up(connection, FIND_LEFT_FOR, sorted(first)):
        for page, visitor, result, position, view_id, *click in found:
            clicked = Clicked(*click)
            by_search.setdefault((first[page], visitor), []).append(clicked)
            by_key.setdefault((page, visitor, result, position, view_id), []).append(clicked)
    right: dict[int, float] = {}
    for shared in by_search.keys() & served.keys():
        counted = _counted(by_search[shared])
        times = [click.received_ms for click in counted]
        right |= _known(counted, decide_served(times, sorted(served[shared])))
    for key in by_key.keys() & returns.keys():
        counted = _counted(by_key[key])
        times = [click.received_ms for click in counted]
        right |= _known(counted, decide_dwells(times, sorted(returns[key])))
    for group in by_key.values():
        for click in group:
            if right.get(click.number) != click.dwell_s and click.received_ms >= since_ms:
                yield click.number, right.get(click.number)


def _served_again(
    connection: sqlite3.Connection, pages: Sequence[bytes]
) -> tuple[dict[bytes, bytes], dict[Shared, list[int]]]:
    """Return page → the search it belongs to, and when each of these was served again."""
    first = {page: page for page in pages}
    for found in look_up(connection, FIND_FIRST, pages):
        first.update(found)
    first |= {search: search for search in first.values()}
    served: dict[Shared, list[int]] = {}
    for found in look_up(connection, FIND_AGAIN, sorted(set(first.values()))):
        for page, search, visitor, received_ms in found:
            first[page] = search
            served.setdefault((search, visitor), []).append(received_ms)
    return first, served


def _returns(connection: sqlite3.Connection, pages: Sequence[bytes]) -> dict[Key, list[Came]]:
    """Return who came back to *pages*; a shared page tells nobody apart without visitor or view."""
    returns: dict[Key, list[Came]] = {}
    for found in look_up(connection, FIND_RETURNS, pages):
        for page, visitor, result, position, view_id, *came, shared in found:
            if visitor or view_id or not shared:
                key = page, visitor, result, position, view_id
                returns.setdefault(key, []).append(Came(*came))
    return returns


def _counted(clicks: Iterable[Clicked]) -> list[Clicked]:
    return sorted(click for click in clicks if click.is_counted)


def _known(clicks: Sequence[Clicked], dwells: Sequence[float | None]) -> dict[int, float]:
    pairs = zip(clicks, dwells, strict=True)
    return {click.number: dwell_s for click, dwell_s in pairs if dwell_s is not None}
