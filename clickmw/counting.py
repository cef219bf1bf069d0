"""Who counts: the duplicate rule, the search rule and whose a click is, as pure functions.

They walk events in order of (received_ms, event id) and read nothing else, so that any order of
arrival, a rebuild from raw rows and every store decide alike.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import NamedTuple

#: Sources of our own pages, links and snippet; every other source is a sender of a foreign API.
OUR_SOURCES = frozenset(("page", "template", "redirect", "beacon"))
#: Kinds of clicks that the report counts; the others are only kept.
COUNTED_KINDS = frozenset(("result", "ad"))

SEARCH_WINDOW_MS = 30 * 60 * 1000
TYPING_MS = 30 * 1000
#: A click belongs to the rates of its search for a day.
CLICK_HORIZON_MS = 24 * 60 * 60 * 1000
#: A sender's click may come this long before its search. Source: AddSearch's client waits 2.5 seconds
#: for more typing before it reports a search, and reports a click at once.
EARLY_CLICK_MS = 60 * 1000
#: An ad that is served again to the same person. Source: VTEX Ads' documentation, as the next one.
IMPRESSION_WINDOW_MS = 60 * 1000
#: Within this time the same id, given by a browser, means the same event.
REPEAT_WINDOW_MS = 48 * 60 * 60 * 1000
#: Who comes back later than this stayed this long.
LONGEST_DWELL_S = 86_400.0
#: An order that is reported again.
ORDER_WINDOW_MS = 30 * 24 * 60 * 60 * 1000


def decide_clicks(received_ms: Sequence[int], window_ms: int) -> list[bool]:
    """Tell which clicks of one key count; the times are sorted.

    A click counts when no counted click of its key lies less than *window_ms* before it. Ads that
    were served and orders are decided alike.
    """
    decisions: list[bool] = []
    last_counted = None
    for now in received_ms:
        counts = last_counted is None or now - last_counted >= window_ms
        last_counted = now if counts else last_counted
        decisions.append(counts)
    return decisions


class Sent(NamedTuple):
    """An event that a browser gave an id, or the first one of a chain whose last was at ``last_ms``."""

    received_ms: int
    event_id: bytes
    last_ms: int


def chains(sent: Sequence[Sent]) -> list[list[Sent]]:
    """Return what was *sent* with one id, sorted, in chains: all but the first of each are repeats.

    An event is a repeat when another one with its id came less than 48 hours before it.
    """
    found: list[list[Sent]] = []
    last_ms = 0
    for event in sent:
        if found and event.received_ms - last_ms < REPEAT_WINDOW_MS:
            found[-1].append(event)
        else:
            found.append([event])
        last_ms = max(last_ms, event.last_ms)
    return found


class Came(NamedTuple):
    """A visitor came back from a result, *dwell_s* seconds after the click, as the browser says."""

    received_ms: int
    event_id: bytes
    client_id: bytes | None
    dwell_s: float


def decide_dwells(clicked_ms: Sequence[int], returns: Sequence[Came]) -> list[float | None]:
    """Return for each counted click on one result how long its visitor stayed; both are sorted.

    A return belongs to the last click before it, the first return of a click stays, and one that
    repeats the browser's own id says nothing new.
    """
    dwells: list[float | None] = [None] * len(clicked_ms)
    said: set[bytes] = set()
    for back in returns:
        index = bisect_right(clicked_ms, back.received_ms) - 1
        again = back.client_id in said
        if index >= 0 and dwells[index] is None and not again:
            dwells[index] = min(max(back.dwell_s, 0.0), LONGEST_DWELL_S)
        if back.client_id:
            said.add(back.client_id)
    return dwells


def decide_served(clicked_ms: Sequence[int], served_ms: Sequence[int]) -> list[float | None]:
    """Return for each counted click of a search how long its visitor stayed, in seconds by tenths.

    *served_ms* is when the same results were served to the visitor again; both are sorted. What is
    served belongs to the last click before it, and the first time after a click stays.
    """
    dwells: list[float | None] = [None] * len(clicked_ms)
    for now in served_ms:
        index = bisect_left(clicked_ms, now) - 1
        if index >= 0 and dwells[index] is None:
            dwells[index] = round((now - clicked_ms[index]) / 1000, 1)
    return dwells


class Told(NamedTuple):
    """A search that a sender reported; its clicks come without its query id."""

    received_ms: int
    query_id: bytes


def search_of_click(click_ms: int, searches: Sequence[Told]) -> bytes | None:
    """Return the query id of the search that a sender's click belongs to, None without one.

    *searches* are those of the click's source, site, visitor and query, sorted. It is the last one
    of the 24 hours before the click, else the first one of the minute after it.
    """
    after = bisect_right(searches, click_ms, key=_received_ms)
    if after and click_ms - searches[after - 1].received_ms <= CLICK_HORIZON_MS:
        return searches[after - 1].query_id
    if after < len(searches) and searches[after].received_ms - click_ms <= EARLY_CLICK_MS:
        return searches[after].query_id
    return None


def _received_ms(search: Told) -> int:
    return search.received_ms


class Walked(NamedTuple):
    """One search of a visitor, as the search rule sees it."""

    received_ms: int
    event_id: bytes
    query_id: bytes
    query: str
    offset: int


class Decision(NamedTuple):
    """``drop_reason`` is empty for a search that counts; ``first`` is the search it belongs to otherwise."""

    drop_reason: str
    first: bytes | None


COUNTED = Decision("", None)


def decide_searches(walk: Sequence[Walked], settled: Sequence[Decision] = ()) -> list[Decision]:
    """Decide the searches of one visitor on one site, sorted by (received_ms, event id).

    A search counts once per normal query and 30 minutes: a later one is a ``repeat``, or a
    ``page`` when it shows a further page and the first page was counted. One that the visitor's
    next search within 30 seconds extends was ``typing``, and belongs to that next search.
    The decisions of the first ``len(settled)`` searches are taken as given.
    """
    decisions = list(settled)
    counted: dict[str, Walked] = {}
    for search, decision in zip(walk, settled, strict=False):
        if not decision.drop_reason:
            counted[search.query] = search
    for index in range(len(settled), len(walk)):
        decision = _decide(walk, index, counted)
        if not decision.drop_reason:
            counted[walk[index].query] = walk[index]
        decisions.append(decision)
    return _lead_typing_to_its_end(walk, decisions, len(settled))


def _decide(walk: Sequence[Walked], index: int, counted: dict[str, Walked]) -> Decision:
    search = walk[index]
    if index + 1 < len(walk) and extends(walk[index + 1], search):
        return Decision("typing", None)
    first = counted.get(search.query)
    if first is None or search.received_ms - first.received_ms >= SEARCH_WINDOW_MS:
        return COUNTED
    further_page = search.offset > 0 and first.offset == 0
    return Decision("page" if further_page else "repeat", first.query_id)


def extends(following: Walked, search: Walked) -> bool:
    """Tell whether *following* finishes the query that *search* began."""
    return (
        len(following.query) > len(search.query)
        and following.query.startswith(search.query)
        and following.received_ms - search.received_ms <= TYPING_MS
        and search.offset == 0
        and search.query != ""
    )


def _lead_typing_to_its_end(
    walk: Sequence[Walked], decisions: list[Decision], start: int
) -> list[Decision]:
    for index in range(len(walk) - 2, start - 1, -1):
        if decisions[index].drop_reason == "typing":
            following = decisions[index + 1]
            decisions[index] = Decision("typing", following.first or walk[index + 1].query_id)
    return decisions


def first_undecided(walk: Sequence[Walked], decisions: Sequence[Decision | None]) -> int:
    """Return where the walk has to be decided anew: *decisions* has None for the new searches.

    A new search can turn the one shortly before it into ``typing``, and lead the whole chain of
    half-typed queries before that one elsewhere; what lies further back stays as it is.
    """
    index = next((i for i, decision in enumerate(decisions) if decision is None), len(walk))
    if 0 < index < len(walk) and walk[index].received_ms - walk[index - 1].received_ms <= TYPING_MS:
        index -= 1
        while index > 0 and _is_typing(decisions[index - 1]):
            index -= 1
    return index


def _is_typing(decision: Decision | None) -> bool:
    return decision is not None and decision.drop_reason == "typing"
