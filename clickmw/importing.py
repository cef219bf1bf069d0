"""Events from files: lines of an export become events again, and go into the store once.

An import is to the store what a segment of the journal is; the rules decide anew who counts.
"""

from __future__ import annotations

import json
import math
import secrets
import time
from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple, get_args, get_type_hints

from clickmw.errors import BadEvent
from clickmw.events import (
    Answer,
    Click,
    Conversion,
    Event,
    Feedback,
    Impression,
    Return,
    Search,
    Seen,
    Shown,
    View,
)
from clickmw.queries import normal_query
from clickmw.stores.base import Record, Store, Stored

BATCH = 2000
#: What the rules say of an event; they say it again.
RULED = frozenset(("page", "repeat", "typing", "shared", "prefetch", "duplicate"))
LATEST_MS = 253_402_300_799_999  #: the last of the year 9999
MOST = 2**53  #: exact in JSON, whoever reads it
NO_EVENT, NOT_STORED = "no event", "cannot be stored"  #: what an export never has
NAMED = 5  #: wrong lines of a kind that are named by their numbers
Row = Mapping[str, Any]


class Outcome(Counter[str]):
    """What became of the lines of a file: kind → how many; ``wrong``: kind → the numbers of the first ones."""

    def __init__(self) -> None:
        super().__init__()
        self.wrong: dict[str, list[int]] = {}

    def note_wrong(self, what: str, line: int) -> None:
        """Count *line*, by its number from 1, which is not what it should be."""
        self[what] += 1
        named = self.wrong.setdefault(what, [])
        if len(named) < NAMED:
            named.append(line)


class Intake:
    """Append events to *store* in batches; ``counts`` says what became of them.

    The caller holds the journal's drain, so that nobody prunes between two batches.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.horizon_ms = store.horizon()
        self.counts = Outcome()
        self._segment = f"{time.time_ns() // 1_000_000}-{secrets.token_hex(5)}"
        self._offset = self._running = 0

    def add(self, events: Sequence[Stored]) -> None:
        """Store *events*; older than the horizon is left out: its days are summed for good."""
        young = [each for each in events if each.event.received_ms >= self.horizon_ms]
        if len(young) < len(events):
            self.counts["before the horizon"] += len(events) - len(young)
        for start in range(0, len(young), BATCH):
            self._append(young[start : start + BATCH])

    def _append(self, events: Sequence[Stored]) -> None:
        record = self._record(events)
        try:
            self.store.append(self._segment, record.start, record.end, [record])
        except BadEvent:
            if len(events) == 1:
                self.counts[NOT_STORED] += 1
                return
            half = len(events) // 2
            self._append(events[:half])
            self._append(events[half:])
            return
        self._offset, self._running = record.end, record.running
        self.counts["imported"] += len(events)

    def _record(self, events: Sequence[Stored]) -> Record:
        running = self._running + len(events)
        return Record(self._offset, self._offset + 1, running, tuple(events), {})

    def close(self) -> None:
        """Leave nothing of the import but its events."""
        self.store.forget_segment(self._segment)


def import_lines(
    lines: Callable[[], Iterable[str]], store: Store, tell: Callable[[int], None]
) -> Outcome:
    """Import an export in JSON lines; return what became of them. *lines* is called twice."""
    known = store.find_stored({read.event_id for read in _read(lines()) if read.event_id})
    intake = Intake(store)
    try:
        for number, batch in _batches(lines(), intake.counts, known):
            intake.add(batch)
            tell(number)
    finally:
        intake.close()
    return intake.counts


class _Line(NamedTuple):
    """A line that was read: its number from 1, the id of its event (b"" without one), its columns."""

    number: int
    event_id: bytes
    row: Row


def _batches(
    lines: Iterable[str], counts: Outcome, known: set[bytes]
) -> Iterator[tuple[int, list[Stored]]]:
    batch: list[Stored] = []
    number = 0
    for number, group in enumerate(_groups(_read(lines), counts), 1):
        event_id = group[0].event_id
        if event_id in known:
            counts["there already"] += 1
            continue
        known.add(event_id)
        try:
            events = events_of([line.row for line in group])
            batch += [Stored(event_id, event) for event in map(sound, events)]
        except _NO_EVENT:
            counts.note_wrong(NO_EVENT, group[0].number)
        if len(batch) >= BATCH:
            yield number, batch
            batch = []
    yield number, batch


def _read(lines: Iterable[str]) -> Iterator[_Line]:
    """Yield what each line says; empty ones say nothing."""
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield _Line(number, *_id_of(line))


def _id_of(line: str) -> tuple[bytes, Row]:
    """Return the id of a line's event and its columns; b"" for a line without one."""
    try:
        row = json.loads(line)
        event_id = bytes.fromhex(row["event_id"] or "")
    except _NO_EVENT:
        return b"", {}
    return (event_id, row) if len(event_id) == 16 else (b"", {})


def _groups(lines: Iterable[_Line], counts: Outcome) -> Iterator[list[_Line]]:
    """Yield the lines of each event; what one event showed stands in lines that follow each other."""
    group: list[_Line] = []
    for line in lines:
        is_shown = line.row.get("table") == "impressions"
        if is_shown and line.row.get("kind") == "result":
            counts["shown by a search"] += 1
        elif not line.event_id:
            counts.note_wrong(NO_EVENT, line.number)
        elif is_shown and group and line.event_id == group[0].event_id:
            group.append(line)
        else:
            if group:
                yield group
            group = [line]
    if group:
        yield group


#: What a line that was made up can raise.
_NO_EVENT = (
    BadEvent,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    OverflowError,
    RecursionError,
)


def sound(event: Event) -> Event:
    """Return *event*, whose fields are as its type says; else raise :class:`BadEvent`.

    A journal is written by us; a file can say anything, and a store takes its events as they are.
    """
    if event.received_ms > LATEST_MS:
        raise BadEvent("received_ms lies after the year 9999")
    _check(event)
    return event


def _check(fields: Any) -> None:
    """Raise :class:`BadEvent` unless each of *fields* is of its type: texts, numbers, lists of such."""
    made: type = type(fields)
    for (name, kinds), value in zip(_kinds(made).items(), fields, strict=True):
        if isinstance(value, str):
            value.encode()  # half a character has no UTF-8
        if type(value) not in kinds or not _is_kept(value):
            raise BadEvent(f"{name} is not what it should be")
        for each in value if isinstance(value, tuple) else ():
            if isinstance(each, Shown):
                _check(each)
            elif not _is_place(each):
                raise BadEvent(f"{name} has what is no place")


@cache
def _kinds(event: type[Any]) -> dict[str, tuple[type, ...]]:
    """Return field → the types that its values may be of."""
    hints = get_type_hints(event)
    return {name: _types_of(hint) for name, hint in hints.items()}


def _types_of(hint: Any) -> tuple[type, ...]:
    if hint in (str, int):
        return (hint,)
    if hint is float:
        return (int, float)
    origin = getattr(hint, "__origin__", None)
    if origin is tuple:
        return (tuple,)
    return tuple(kind for each in get_args(hint) for kind in _types_of(each) or (each,))


def _is_kept(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return not isinstance(value, int) or 0 <= value <= MOST


def _is_place(pair: Any) -> bool:
    return isinstance(pair, tuple) and [*map(type, pair)] == [str, int] and 0 <= pair[1] <= MOST


# --- from rows to events -------------------------------------------------------------------------


def events_of(rows: Sequence[Row]) -> list[Event]:
    """Return the event of *rows*, and those that say what the row of a search knows beside it."""
    table = rows[0].get("table")
    if table == "searches":
        return list(_searched(rows[0]))
    if table == "impressions":
        return [_shown(rows)]
    return [_READERS[str(table)](rows[0])]


def _common(row: Row, *more: str) -> dict[str, Any]:
    """Return the columns that most events have, and *more*; what is null is left to its default."""
    if not isinstance(row["site"], str) or not row["site"]:
        raise BadEvent("an event has the handle of a site")
    reason = row.get("drop_reason") or ""
    names = ("visitor", "device", "source", "trust", "session", "language", "profile", *more)
    given = {name: row[name] for name in names if row.get(name) is not None}
    return {
        **given,
        "received_ms": int(row["received_ms"]),
        "site": row["site"],
        "drop_reason": "" if reason in RULED else reason,
        "robot": "imported" if reason == "robot" else "",
    }


def _without(given: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in given.items() if name not in names}


def _query_id(text: str | None) -> str:
    """Return the id that the views have as hex text in the form of events."""
    return urlsafe_b64encode(bytes.fromhex(text or "")).decode()


def _query(text: str | None) -> str:
    return normal_query(text or "")


def _searched(row: Row) -> Iterator[Event]:
    given, query_id = _common(row, "tag", "kind"), _query_id(row["query_id"])
    seen = {"site": given["site"], "query_id": query_id}
    if viewed := _query_id(row.get("viewed")):
        told = _without(given, "session", "language", "profile", "tag", "kind")
        yield View(query_id=viewed, view_id=query_id, **told)
        seen |= {"query_id": viewed, "view_id": query_id}
    else:
        shown = tuple(_result(each) for each in json.loads(row["shown"]))
        numbers: dict[str, Any] = {
            name: int(row[name]) for name in ("offset", "shared", "prefetched")
        }
        yield Search(
            query_id=query_id,
            query=_query(row["query"]),
            impressions=shown,
            total_hits=row["total_hits"],
            **numbers,
            **given,
        )
        if row.get("activated"):
            yield View(given["received_ms"], given["site"], query_id, query_id)
    for module, position, after_ms in json.loads(row.get("seen") or "[]"):
        yield Seen(given["received_ms"] + after_ms, places=((module, position),), **seen)


def _result(each: Sequence[Any]) -> Shown:
    url, position, module, doc_id, title = each
    return Shown(url, position, module, doc_id or "", title or "")


def _clicked(row: Row) -> Event:
    told = bool(row.get("told"))
    more = ("referrer_host", "user_activated", "kind", "tag", "title", "position")
    query_id = "" if told else _query_id(row["query_id"])
    return Click(
        url=row["url"] or "",
        doc_id=row["doc_id"] or "",
        module_code=row["module_code"] or "",
        query_id=query_id,
        query="" if query_id else _query(row["query"]),
        view_id=_query_id(row.get("view_id")),
        ad_id=row["ad_id"] or "",
        position_raw=row["position_raw"] or "",
        dedupe_key=row.get("dedupe_key") or "",
        **_common(row, *more),
    )


def _shown(rows: Sequence[Row]) -> Event:
    row = rows[0]
    things = tuple(
        Shown(
            each["url"] or "",
            each["position"],
            each["module_code"] or "",
            each["doc_id"] or "",
            each["label"] or "",
        )
        for each in rows
    )
    return Impression(
        shown=things,
        query=_query(row.get("own_query")),
        query_id=_query_id(row["query_id"]),
        ad_id=row["ad_id"] or "",
        dedupe_key=row.get("dedupe_key") or "",
        **_common(row, "kind", "tag"),
    )


def _rated(row: Row) -> Event:
    return Feedback(
        score=row["score"],
        comment=row["comment"] or "",
        query_id=_query_id(row["query_id"]),
        query=_query(row.get("own_query")),
        **_common(row),
    )


def _answered(row: Row) -> Event:
    return Answer(
        question=row["question"],
        answer=row["answer"],
        is_question=row["is_question"],
        query_id=_query_id(row["query_id"]),
        **_common(row),
    )


def _converted(row: Row) -> Event:
    given = _common(row, "order_id", "value", "currency", "items", "ad_id", "url")
    return Conversion(
        query_id=_query_id(row["query_id"]),
        dedupe_key=row.get("dedupe_key") or "",
        **_without(given, "language", "profile"),
    )


def _came_back(row: Row) -> Event:
    return Return(
        int(row["received_ms"]),
        row["site"],
        _query_id(row["query_id"]),
        _query_id(row["view_id"]),
        row["url"] or "",
        row["doc_id"] or "",
        row["position"],
        dwell_s=float(row["dwell_s"]),
        visitor=row["visitor"] or "",
        client_id=_query_id(row["client_id"]),
    )


_READERS: Mapping[str, Callable[[Row], Event]] = {
    "clicks": _clicked,
    "feedback": _rated,
    "answers": _answered,
    "conversions": _converted,
    "returns": _came_back,
}
