"""A click of our own, from a signed link to the row in the store, and how long each station took.

It goes the way of every click. Only its reason is decided beforehand: ``test``, which counts nowhere.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from clickmw.errors import ClickMWError, StoreError
from clickmw.events import Search, Shown, new_query_id
from clickmw.journal import Journal, read_records, segment_paths
from clickmw.recorder import TEST, Recorder, now_ms
from clickmw.stores.base import Reader
from clickmw.tokens import LinkSigner, LinkTarget

#: All of it takes ten seconds at most.
WAIT_S = 9.5
#: What the live page shows as its query.
QUERY = "test click"
#: A person's browser: robots are told apart before anything else.
_AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
_POLL_S = 0.05
_LATEST = 1000


class Station(NamedTuple):
    """One station of the way. ``text`` says what was seen there; ``took_ms`` since the one before."""

    name: str
    ok: bool
    took_ms: float
    text: str


class Line(NamedTuple):
    """What a test click passes. ``follow`` answers a GET from inside: status and Location."""

    recorder: Recorder
    signer: LinkSigner
    journal: Journal
    follow: Callable[[str, dict[str, Any]], tuple[int, str]]
    open_reader: Callable[[], Reader]


class Lost(ClickMWError):
    """The test click got no further. The message says what was seen instead."""


def try_click(line: Line, location: str, site: str) -> list[Station]:
    """Send a click on *location*, a path of this host, of *site*, a handle; the last station may have failed."""
    steps = _steps(line, location, "" if site == "default" else site, time.monotonic() + WAIT_S)
    stations: list[Station] = []
    for name in ("link", "redirect", "journal", "store"):
        start = time.perf_counter()
        try:
            ok, text = True, next(steps)
        except (ClickMWError, OSError) as error:
            ok, text = False, str(error)
        stations.append(Station(name, ok, round((time.perf_counter() - start) * 1000, 1), text))
        if not ok:
            break
    return stations


def _steps(line: Line, location: str, site: str, deadline: float) -> Iterator[str]:
    """Yield what each station shows; raise :class:`Lost` where the click got no further."""
    query_id = new_query_id(now_ms())
    target = LinkTarget(site, query_id, 1, "", "", location)
    token = line.signer.sign_link(target)
    if line.signer.read_link(token) != target:
        raise Lost("the link does not read as it was signed")
    _record_search(line.recorder, target)
    yield f"signed, {len(token)} characters"
    ends = {path: path.stat().st_size for path in segment_paths(line.journal.folder)}
    first_ms = now_ms()
    status, led_to = line.follow(f"r/{token}", {"HTTP_USER_AGENT": _AGENT, TEST: True})
    last_ms = now_ms()
    if (status, led_to) != (302, location):
        raise Lost(f"answered {status} to {led_to or 'nowhere'}, not 302 to {location}")
    yield f"302 to {location}"
    path = line.journal.segment
    if path is None or not _holds(path, ends.get(path, 0), query_id):
        raise Lost(f"no record of it in {line.journal.folder}: events are dropped and counted")
    yield f"written to {path.name}"
    yield f"stored, verdict: {_verdict(line, range(first_ms, last_ms + 1), deadline)}"


def _record_search(recorder: Recorder, target: LinkTarget) -> None:
    """Record the page that the link would stand on: the click shall not wait for it forever."""
    recorder.record(
        Search(
            now_ms(),
            target.site or "default",
            target.query_id,
            QUERY,
            (Shown(target.location, 1, ""),),
            total_hits=1,
            drop_reason="test",
            source="template",
        )
    )


def _holds(path: Path, start: int, query_id: str) -> bool:
    records = read_records(path, start, most=_LATEST, sealed=False)
    events = [stored.event for record in records for stored in record.events]
    return any(getattr(event, "query_id", "") == query_id for event in events)


def _verdict(line: Line, received_ms: range, deadline: float) -> str:
    """Return what the store says of the click; wait for it as long as there is time."""
    trouble = "nobody moved it to the store: is a drain running?"
    while True:
        try:
            reader = line.open_reader()
            try:
                rows = reader.live(_LATEST)
            finally:
                reader.close()
        except StoreError as error:
            rows, trouble = [], str(error)
        for row in rows:
            if row.kind == "click" and row.query == QUERY and row.received_ms in received_ms:
                return row.verdict
        if time.monotonic() > deadline:
            raise Lost(trouble)
        time.sleep(_POLL_S)
