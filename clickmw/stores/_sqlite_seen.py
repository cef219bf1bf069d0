"""What was really seen of a page, marked in the row of its search."""

from __future__ import annotations

import json
from collections.abc import Sequence

from clickmw.events import Seen, query_id_bytes
from clickmw.stores._sqlite_batch import Batch, SearchState
from clickmw.stores.base import Stored

CHANGE_SEEN = """
-- One row per stored search of which more was seen, or earlier.
UPDATE search SET seen = ? WHERE query_id = ?
"""
_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


def mark_seen(batch: Batch, events: Sequence[Stored]) -> None:
    """Mark what people saw, at the first time that anyone says; what has no page yet waits."""
    told = [
        (event_id, event)
        for event_id, event in events
        if isinstance(event, Seen) and not (event.drop_reason or event.robot)
    ]
    batch.load_searches(query_id_bytes(seen.query_id) for _, seen in told)
    batch.load_searches(query_id_bytes(seen.view_id) for _, seen in told if seen.view_id)
    for event_id, seen in told:
        query_id = query_id_bytes(seen.query_id)
        page = batch.searches.get(query_id)
        if page is None:
            batch.let_wait(query_id, event_id, seen)
        elif not page.shared:
            _mark(batch, page, seen)
        elif seen.view_id:
            # A page that many share is marked for each view alone.
            view_id = query_id_bytes(seen.view_id)
            view = batch.searches.get(view_id)
            if view is None:
                batch.let_wait(view_id, event_id, seen)
            elif view.viewed == query_id:
                _mark(batch, view, seen)


def _mark(batch: Batch, search: SearchState, seen: Seen) -> None:
    shown = json.loads(search.impressions)
    places = {(batch.word(module), position): [position, module] for _, position, module in shown}
    after_ms = seen.received_ms - search.received_ms
    marks = {(mark[0], mark[1]): mark[2] for mark in json.loads(search.seen or "[]")}
    for place in seen.places:
        if place in places:
            position, module = places[place]
            known = marks.get((position, module), after_ms)
            marks[position, module] = min(known, after_ms)
    if marks:
        search.seen = _encode([[*place, ms] for place, ms in sorted(marks.items())])
        batch.marked.add(search.query_id)


def write_seen(batch: Batch) -> None:
    """Write the marks of searches that were stored before; new ones have them in their rows."""
    marked = [batch.searches[query_id] for query_id in sorted(batch.marked)]
    rows = [(search.seen, search.query_id) for search in marked if search.stored]
    batch.connection.executemany(CHANGE_SEEN, rows)
