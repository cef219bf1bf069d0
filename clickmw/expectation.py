"""How many clicks a place in a list earns by itself, and how a count compares with that.

Results higher up are clicked more because they stand higher up. COEC (clicks over expected clicks)
takes that away: each impression is expected to earn what its rank earns in its module, so 1 is as
good as the others at the same places. Source: Zhang and Jones, "Comparing click logs and editorial
labels for training query rewriting", WWW 2007 workshop on query log analysis.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from math import sqrt
from typing import NamedTuple

from clickmw.rates import rate, ratio_ends
from clickmw.stores.base import POSITION_BUCKETS, PositionRow

#: Impressions from which on a position speaks for itself, even where it is clicked more than the
#: one above it; with fewer it may only follow its neighbours.
FLOOR = 1000
#: Two-sided 95 % quantile of the normal distribution.
_Z = 1.959963984540054
_ENDS = [last for _first, last in POSITION_BUCKETS if last is not None]


class Ratio(NamedTuple):
    """A count against what was expected of it; 1 is as expected, ``low`` and ``high`` bound 95 %.

    ``value`` is None where nothing was expected: undefined, which is neither 0 nor endless.
    """

    numerator: int
    denominator: float
    value: float | None
    low: float | None
    high: float | None


class Step(NamedTuple):
    """Neighbouring buckets of positions that share one rate; ``first`` and ``last`` are their numbers."""

    first: int
    last: int
    impressions: int
    clicks: int

    @property
    def rate(self) -> float:
        """Return the clicks that one impression earns."""
        return self.clicks / self.impressions


class Curves:
    """Rank CTR: clicks by impression, for each module and bucket of positions.

    Buckets with fewer than FLOOR impressions are pooled with their neighbours until the curve does
    not rise there (isotonic regression by pooling adjacent violators; Ayer and others, "An
    empirical distribution function for sampling with incomplete information", 1955), so that one
    lucky click far down cannot make a top rank of it. Pooling keeps the sums: the expected clicks
    of all impressions of a module are its clicks. Curves never mix modules.
    """

    def __init__(self, steps: Mapping[tuple[str, int], Step]) -> None:
        self._steps = steps

    @classmethod
    def of(cls, rows: Iterable[PositionRow]) -> Curves:
        """Return the curves of *rows*; positions without impressions are on none of them."""
        shown = [row for row in rows if row.impressions and row.first > 0]
        shown.sort(key=lambda row: (row.module_code, row.first))
        return cls(
            {
                (module_code, bucket): step
                for module_code, ladder in groupby(shown, key=lambda row: row.module_code)
                for step in _pool([_step(row) for row in ladder])
                for bucket in range(step.first, step.last + 1)
            }
        )

    def step(self, module_code: str, position: int) -> Step | None:
        """Return the step of a position (from 1); None where it was not shown in that module."""
        return self._steps.get((module_code, _bucket(position))) if position > 0 else None

    def expected(self, module_code: str, position: int, impressions: int) -> float | None:
        """Return the clicks expected of *impressions* at a position; None where that is unknown."""
        step = self.step(module_code, position)
        return None if step is None else impressions * step.rate


def over_expected(clicks: int, expected: float) -> Ratio:
    """Return COEC with Byar's interval of the count; *expected* is taken as known.

    Source of the interval: Breslow and Day, "Statistical Methods in Cancer Research", volume II
    (IARC 1987), section 2.3, there for the ratio of observed to expected deaths.
    """
    if expected <= 0:
        return Ratio(clicks, expected, None, None, None)
    low, high = (bound / expected for bound in _byar(clicks))
    return Ratio(clicks, expected, clicks / expected, low, high)


def over_before(now: int, before: int, times: float = 1.0) -> Ratio:
    """Return *now* ÷ (*before* × *times*) where both counts are left to chance.

    The interval is that of :func:`ratio_ends`; *times* (above 0) is taken as known. With nothing
    before there is a lower bound alone.
    """
    expected = before * times
    ends = ratio_ends(now, before)
    if ends is not None:
        return Ratio(now, expected, now / expected, ends[0] / times, ends[1] / times)
    least = rate(now, now).low or 0.0
    return Ratio(now, expected, None, least / (1 - least) / times if now else None, None)


def _byar(count: int) -> tuple[float, float]:
    more = count + 1
    high = more * (1 - 1 / (9 * more) + _Z / (3 * sqrt(more))) ** 3
    if not count:
        return 0.0, high
    return count * (1 - 1 / (9 * count) - _Z / (3 * sqrt(count))) ** 3, high


def _bucket(position: int) -> int:
    return bisect_left(_ENDS, position)


def _step(row: PositionRow) -> Step:
    bucket = _bucket(row.first)
    return Step(bucket, bucket, row.impressions or 0, row.clicks)


def _pool(steps: Sequence[Step]) -> Iterator[Step]:
    """Yield *steps* with those pooled that rise on too few impressions."""
    pooled: list[Step] = []
    for step in steps:
        pooled.append(step)
        while len(pooled) > 1 and _rises(*pooled[-2:]):
            below, above = pooled.pop(), pooled.pop()
            pooled.append(_together(above, below))
    yield from pooled


def _rises(above: Step, below: Step) -> bool:
    thin = min(above.impressions, below.impressions) < FLOOR
    return thin and below.rate > above.rate


def _together(above: Step, below: Step) -> Step:
    impressions = above.impressions + below.impressions
    return Step(above.first, below.last, impressions, above.clicks + below.clicks)
