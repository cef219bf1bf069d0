"""What can happen on a result page: the events that pass through the journal.

An event is *clean*: addresses and agents have already become ``visitor``, ``device`` and ``robot``,
and the query is masked and in its normal form. Fields are only ever added, at the end and with a
default, so that a journal written by an older clickmw can always be read.
"""

from __future__ import annotations

import json
import os
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import a2b_base64
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

from clickmw.errors import BadEvent


class Click(NamedTuple):
    """A visitor followed a link of a result page.

    ``received_ms`` is the server's clock, milliseconds since 1970 UTC. ``position`` counts from 1
    in its module's list, across pages. ``visitor`` is 16 hex digits or empty. ``drop_reason`` is
    what was known before the journal (robot, external, stale, trust) or empty. ``kind`` is result,
    ad, related (a suggestion) or source (of an answer). ``dedupe_key`` is 16 hex digits that repeats
    of a click without a query id share; empty: never a duplicate. ``client_id`` is the browser's own
    id of the event, as everywhere: 16 characters like a query id, or empty; it is never trusted.
    """

    received_ms: int
    site: str
    url: str
    position: int | None = None
    module_code: str = ""
    query_id: str = ""
    doc_id: str = ""
    visitor: str = ""
    device: str = ""
    robot: str = ""
    drop_reason: str = ""
    source: str = "redirect"
    trust: str = "signed"
    referrer_host: str = ""
    user_activated: int | None = None
    kind: str = "result"
    view_id: str = ""
    query: str = ""
    session: str = ""
    language: str = ""
    profile: str = ""
    tag: str = ""
    ad_id: str = ""
    title: str = ""
    position_raw: str = ""
    dedupe_key: str = ""
    client_id: str = ""


class Shown(NamedTuple):
    """One result of a served page: where it leads and the position it was given."""

    url: str
    position: int
    module_code: str
    doc_id: str = ""
    title: str = ""


class Search(NamedTuple):
    """A query was run and a result page left for the visitor.

    ``query_id`` is the 16 characters of the links; ``impressions`` are in page order;
    ``total_hits`` is None when the page did not say, 0 for a search without results; ``shared`` is
    1 when a shared cache may keep the page, ``prefetched`` 1 when no one has looked at it yet.
    """

    received_ms: int
    site: str
    query_id: str
    query: str
    impressions: tuple[Shown, ...] = ()
    total_hits: int | None = None
    offset: int = 0
    visitor: str = ""
    device: str = ""
    robot: str = ""
    drop_reason: str = ""
    language: str = ""
    profile: str = ""
    tag: str = ""
    source: str = "page"
    trust: str = "signed"
    shared: int = 0
    prefetched: int = 0
    kind: str = "search"
    session: str = ""
    client_id: str = ""


class Impression(NamedTuple):
    """Something was shown that is no result of a recorded search; one event, however many were shown.

    ``kind`` is ad_impression (an ad was served), ad_view (it was really seen) or related
    (suggestions, whose text is the ``title``). ``dedupe_key`` as for clicks.
    """

    received_ms: int
    site: str
    kind: str
    shown: tuple[Shown, ...] = ()
    query: str = ""
    query_id: str = ""
    visitor: str = ""
    device: str = ""
    robot: str = ""
    drop_reason: str = ""
    source: str = ""
    trust: str = "keyed"
    session: str = ""
    language: str = ""
    profile: str = ""
    tag: str = ""
    ad_id: str = ""
    dedupe_key: str = ""
    client_id: str = ""


class View(NamedTuple):
    """Somebody really looks at a page that was kept by a cache or fetched in advance.

    ``query_id`` is that of the page, ``view_id`` this view's own, of the same form.
    """

    received_ms: int
    site: str
    query_id: str
    view_id: str
    visitor: str = ""
    device: str = ""
    robot: str = ""
    drop_reason: str = ""
    source: str = "beacon"
    trust: str = "signed"


class Seen(NamedTuple):
    """Results of a page were really seen: half visible for a second.

    ``places`` are (module code, position), as their links have them; ``view_id`` on shared pages.
    """

    received_ms: int
    site: str
    query_id: str
    view_id: str = ""
    places: tuple[tuple[str, int], ...] = ()
    visitor: str = ""
    device: str = ""
    robot: str = ""
    drop_reason: str = ""
    source: str = "beacon"
    trust: str = "signed"


class Return(NamedTuple):
    """A visitor came back to the results: ``dwell_s`` seconds after the click on this one, as told.

    ``client_id`` is that of the click.
    """

    received_ms: int
    site: str
    query_id: str
    view_id: str = ""
    url: str = ""
    doc_id: str = ""
    position: int | None = None
    module_code: str = ""
    dwell_s: float = 0.0
    visitor: str = ""
    device: str = ""
    robot: str = ""
    drop_reason: str = ""
    source: str = "beacon"
    trust: str = "signed"
    client_id: str = ""


class Feedback(NamedTuple):
    """A visitor rated a search: ``score`` from 0 to 10 or None, ``comment`` free text, masked."""

    received_ms: int
    site: str
    score: int | None = None
    comment: str = ""
    query_id: str = ""
    query: str = ""
    visitor: str = ""
    device: str = ""
    robot: str = ""
    drop_reason: str = ""
    source: str = "beacon"
    trust: str = "signed"
    session: str = ""
    language: str = ""
    profile: str = ""
    client_id: str = ""


class Answer(NamedTuple):
    """A page answered a question itself; ``is_question`` is 1, 0 or None where nobody said."""

    received_ms: int
    site: str
    question: str = ""
    answer: str = ""
    is_question: int | None = None
    query_id: str = ""
    visitor: str = ""
    device: str = ""
    robot: str = ""
    drop_reason: str = ""
    source: str = "beacon"
    trust: str = "signed"
    session: str = ""
    language: str = ""
    profile: str = ""
    client_id: str = ""


class Conversion(NamedTuple):
    """A visitor did what the site is for; ``value`` in units of ``currency``, ``items`` as JSON text."""

    received_ms: int
    site: str
    order_id: str = ""
    value: float | None = None
    currency: str = ""
    items: str = ""
    query_id: str = ""
    visitor: str = ""
    device: str = ""
    robot: str = ""
    drop_reason: str = ""
    source: str = "beacon"
    trust: str = "signed"
    session: str = ""
    ad_id: str = ""
    url: str = ""
    dedupe_key: str = ""
    client_id: str = ""


Event = Click | Search | Impression | View | Seen | Return | Feedback | Answer | Conversion
#: How far a view's own clock may be from ours: its time is part of a key that sorts by time.
VIEW_SKEW_MS = 2 * 86_400_000

_FROM_URL = bytes.maketrans(b"-_", b"+/")
_KINDS: dict[str, type[View | Return | Feedback | Answer | Conversion]] = {
    "v": View,
    "r": Return,
    "f": Feedback,
    "a": Answer,
    "o": Conversion,
}
_LETTERS: dict[type, str] = {Search: "s", Impression: "i", Seen: "n"} | {
    kind: letter for letter, kind in _KINDS.items()
}
#: Events with a list: which field has it, and what its items are.
_LISTING: dict[str, tuple[type[Search | Impression | Seen], int, Callable[[Any], Any]]] = {
    "s": (Search, Search._fields.index("impressions"), Shown._make),
    "i": (Impression, Impression._fields.index("shown"), Shown._make),
    "n": (Seen, Seen._fields.index("places"), tuple),
}
_QUERY_ID = re.compile(r"[A-Za-z0-9_-]{16}")
_CLICK_HEAD = Click._fields.index("kind")
_CLICK_TAIL = tuple(Click._field_defaults[name] for name in Click._fields[_CLICK_HEAD:])
_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


def encode_events(events: tuple[Event, ...]) -> str:
    """Return *events* as one line of ASCII JSON."""
    return _encode([_fields(event) for event in events])


def _fields(event: Event) -> tuple[Any, ...]:
    if isinstance(event, Click):
        # Most clicks need the first fields only; the defaults come back when they are read.
        return ("c", *(event[:_CLICK_HEAD] if event[_CLICK_HEAD:] == _CLICK_TAIL else event))
    return (_LETTERS[type(event)], *event)


def decode_event(fields: list[Any]) -> Event:
    """Return the event that :func:`encode_events` wrote as *fields*, or raise :class:`BadEvent`."""
    letter, *values = fields
    if letter == "c":
        return Click(*values[: len(Click._fields)])
    if letter in _KINDS:
        kind = _KINDS[letter]
        return kind(*values[: len(kind._fields)])
    if letter not in _LISTING:
        raise BadEvent(f"a journal record of unknown kind {letter!r}: upgrade clickmw")
    listing, listed, item = _LISTING[letter]
    values = values[: len(listing._fields)]
    if len(values) > listed:
        values[listed] = tuple(map(item, values[listed]))
    return listing(*values)


def new_query_id(now_ms: int) -> str:
    """Return a fresh query id: 6 bytes of *now_ms* and 6 random ones as 16 URL-safe characters."""
    return urlsafe_b64encode(now_ms.to_bytes(6) + os.urandom(6)).decode()


def query_id_bytes(query_id: str) -> bytes:
    """Return the 12 bytes of *query_id*, or raise :class:`BadEvent`."""
    try:
        raw = urlsafe_b64decode(query_id)
    except ValueError as error:
        raise BadEvent("a query id is 16 characters of A-Z a-z 0-9 - _") from error
    if len(raw) != 12:
        raise BadEvent("a query id is 16 characters of A-Z a-z 0-9 - _")
    return raw


def is_query_id(text: str) -> bool:
    """Tell whether *text* has the form of a query id."""
    return _QUERY_ID.fullmatch(text) is not None


def view_in(query_string: str, now_ms: int) -> str:
    """Return the view that the snippet put on a link of a shared page: ``?v=`` and 16 characters.

    A view from another day than ours is no view: its time is part of a key that sorts by time.
    """
    found = query_string.rpartition("v=")[2]
    return found if is_query_id(found) and abs(issued_ms(found) - now_ms) < VIEW_SKEW_MS else ""


@lru_cache(maxsize=1024)
def issued_ms(query_id: str) -> int:
    """Return when *query_id* was made, in milliseconds since 1970 UTC."""
    return int.from_bytes(a2b_base64(query_id[:8].encode().translate(_FROM_URL)))
