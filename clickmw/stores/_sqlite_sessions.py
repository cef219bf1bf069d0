"""What visitors did in one go, worked out from their searches in order of time.

Definitions: a session is what one visitor searched without a pause of more than 30 minutes; a
refinement is another query within 5 minutes of a search without a click; an abandoned search found
something and had no click of any kind, no refinement and no answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from math import floor
from typing import NamedTuple

#: Another query within this time is a refinement.
REFINED_MS = 5 * 60 * 1000
#: A score from which on a search was answered, clicked or not.
CONTENT_SCORE = 7
#: Who searches again after more than this begins a new session.
PAUSE_MS = 30 * 60 * 1000
#: A first click that comes later says nothing of how long a visitor looked.
TIMED_MS = 60 * 60 * 1000


class Searched(NamedTuple):
    """One counted search; ``fits`` tells whether its query is one that was asked for."""

    site: int
    visitor: bytes | None
    received_ms: int
    query_id: bytes
    query: int
    total_hits: int | None
    clicked: int
    fits: int


class Followed(NamedTuple):
    """What followed a search: its first click on a result or an ad, any click, an answer."""

    click_ms: int | None
    clicked: int
    answered: int


NOTHING = Followed(None, 0, 0)


class Step(NamedTuple):
    """From one query to the next one of a session."""

    query: int
    next_query: int


@dataclass(slots=True)
class Tally:
    """Sums over sessions; names as in :class:`~clickmw.stores.base.Sessions`."""

    sessions: int = 0
    searches: int = 0
    lengths: Counter[int] = field(default_factory=Counter)
    sessions_clicked: int = 0
    refined: int = 0
    last_unclicked: int = 0
    searches_known_found: int = 0
    abandoned: int = 0
    answered: int = 0
    first_clicks_s: list[float] = field(default_factory=list)
    steps: Counter[Step] = field(default_factory=Counter)
    visitors: dict[Step, set[tuple[int, bytes | None]]] = field(default_factory=dict)
    clicked_before: Counter[Step] = field(default_factory=Counter)
    clicked_after: Counter[Step] = field(default_factory=Counter)

    def by_searches(self) -> tuple[int, int, int, int, int]:
        """Return how many sessions have 1, 2, 3, 4 and 5 or more searches."""
        return self.lengths[1], self.lengths[2], self.lengths[3], self.lengths[4], self.lengths[5]

    def of_step(self, step: Step) -> tuple[int, int, int, int]:
        """Return how often a step was made, by how many visitors, and clicked before and after it."""
        visitors = len(self.visitors[step])
        return self.steps[step], visitors, self.clicked_before[step], self.clicked_after[step]

    def most_frequent(self, limit: int) -> list[Step]:
        """Return the most frequent steps, with all that are as frequent as the last of *limit*."""
        weights = {step: self.of_step(step)[:2] for step in self.steps}
        least = sorted(weights.values(), reverse=True)[:limit][-1:]
        return [step for step, weight in weights.items() if [weight] >= least]


def split(searches: Iterable[Searched]) -> Iterator[list[Searched]]:
    """Yield the sessions of *searches*, which are sorted by site, visitor and time."""
    for (_site, visitor), group in groupby(searches, key=lambda search: search[:2]):
        if visitor is None:
            continue
        session: list[Searched] = []
        for search in group:
            if session and search.received_ms - session[-1].received_ms > PAUSE_MS:
                yield session
                session = []
            session.append(search)
        yield session


def tally(sessions: Iterable[Sequence[Searched]], followed: Mapping[bytes, Followed]) -> Tally:
    """Sum *sessions* up; *followed* is by query id, of searches that anything followed."""
    sums = Tally()
    for session in sessions:
        sums.sessions += 1
        sums.searches += len(session)
        sums.lengths[min(len(session), 5)] += 1
        sums.sessions_clicked += any(search.clicked for search in session)
        sums.last_unclicked += not session[-1].clicked
        for search, next_ms in zip(session, _next_queries(session), strict=True):
            is_refined = next_ms is not None and next_ms - search.received_ms <= REFINED_MS
            _judge(sums, search, is_refined, followed.get(search.query_id, NOTHING))
        _count_steps(sums, session)
    return sums


def _next_queries(session: Sequence[Searched]) -> list[int | None]:
    """Return for each search when the next one with another query came."""
    found: list[int | None] = [None] * len(session)
    for index in range(len(session) - 2, -1, -1):
        following = session[index + 1]
        same = following.query == session[index].query
        found[index] = found[index + 1] if same else following.received_ms
    return found


def _judge(sums: Tally, search: Searched, is_refined: bool, then: Followed) -> None:
    """Count what became of one search."""
    if then.click_ms is not None and then.click_ms - search.received_ms <= TIMED_MS:
        # A click on a page that was left half-typed came before the search it belongs to.
        sums.first_clicks_s.append(max(then.click_ms - search.received_ms, 0) / 1000)
    sums.refined += is_refined and not search.clicked
    if search.total_hits:
        sums.searches_known_found += 1
        sums.answered += then.answered and not then.clicked
        sums.abandoned += not (then.clicked or then.answered or is_refined)


def _count_steps(sums: Tally, session: Sequence[Searched]) -> None:
    for search, following in pairwise(session):
        if search.query == following.query:
            continue
        step = Step(search.query, following.query)
        sums.steps[step] += 1
        sums.visitors.setdefault(step, set()).add(search[:2])
        sums.clicked_before[step] += search.clicked
        sums.clicked_after[step] += following.clicked


def part_below(values: Sequence[float], part: float) -> float:
    """Return what *part* (0 to 1) of sorted *values* lies below, read between the two nearest; 0 of none."""
    if not values:
        return 0.0
    place = (len(values) - 1) * part
    low = floor(place)
    high = min(low + 1, len(values) - 1)
    return values[low] + (values[high] - values[low]) * (place - low)
