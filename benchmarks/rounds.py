"""Interleaved rounds: subject and baseline by turns, so that a slow moment hits both alike."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from itsdangerous import URLSafeSerializer

Task = Callable[[], object]

#: What one itsdangerous link costs, signed and verified, where the targets in µs and ms were set.
REFERENCE_US = 28.6
YARDSTICK = "yardstick"
_LINKS = 300


class Row(NamedTuple):
    """One line of the table; ``met`` is None where there is no target."""

    number: str
    what: str
    baseline: str
    measured: str
    target: str
    met: str


class Spread(NamedTuple):
    """The median of some rounds and how far they lie apart."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{_short(self.median)} [{_short(self.low)}–{_short(self.high)}]"


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def spread(values: Sequence[float]) -> Spread:
    """Return median, minimum and maximum of *values*."""
    return Spread(statistics.median(values), min(values), max(values))


def ratios(subject: Sequence[float], baseline: Sequence[float]) -> Spread:
    """Return the spread of the ratios of each round."""
    return spread([ours / theirs for ours, theirs in zip(subject, baseline, strict=True)])


def interleaved(
    tasks: Mapping[str, Task],
    *,
    rounds: int,
    clock: Callable[[], float] = time.process_time,
    per: Mapping[str, int] | None = None,
) -> dict[str, list[float]]:
    """Return task → microseconds of each of *rounds*, after one that is thrown away.

    The yardstick is measured in each round too, see :func:`at_reference`.

    ``per`` tells how many calls one run of a task makes (default 1). What lives before a round is
    frozen, so that no task pays for collecting another one's rubbish.
    """
    tasks = {**tasks, YARDSTICK: yardstick}
    per = {**(per or {}), YARDSTICK: _LINKS}
    taken: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(rounds + 1):
        for name, task in tasks.items():
            gc.collect()
            gc.freeze()
            started = clock()
            task()
            seconds = clock() - started
            gc.unfreeze()
            taken[name].append(seconds * 1e6 / per.get(name, 1))
    return {name: times[1:] for name, times in taken.items()}


def yardstick() -> None:
    """Sign and verify some links of a common shape with itsdangerous."""
    serializer = URLSafeSerializer("a yardstick")
    link = {"q": "tax form", "p": 3, "m": "BWEB", "s": "default", "url": "https://example.org/" * 4}
    for _ in range(_LINKS):
        serializer.loads(serializer.dumps(link))


def slowness() -> float:
    """Return how many times slower than the reference this machine is, at this moment."""
    started = time.process_time()
    yardstick()
    return (time.process_time() - started) * 1e6 / _LINKS / REFERENCE_US


def at_reference(taken: Mapping[str, Sequence[float]], name: str) -> Spread:
    """Return what task *name* would take where the targets were set."""
    return Spread(*(value * REFERENCE_US for value in ratios(taken[name], taken[YARDSTICK])))


def at_most(found: Spread, limit: float) -> str:
    """Return the verdict on a *limit* from above; a miss counts only when the best round misses too."""
    if found.median <= limit:
        return "met"
    return "met in the best round" if found.low <= limit else "MISSED"


def at_least(found: Spread, limit: float) -> str:
    """Return the verdict on a *limit* from below."""
    if found.median >= limit:
        return "met"
    return "met in the best round" if found.high >= limit else "MISSED"


def exactly(ok: bool) -> str:
    """Return the verdict on something that is right or wrong."""
    return "met" if ok else "MISSED"
