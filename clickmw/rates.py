"""A rate and how sure we are of it."""

from __future__ import annotations

from math import sqrt
from typing import NamedTuple

#: Two-sided 95 % quantile of the normal distribution.
_Z = 1.959963984540054


class Rate(NamedTuple):
    """A share of a count; ``low`` and ``high`` bound its 95 % Wilson interval, in 0…1."""

    numerator: int
    denominator: int
    value: float | None  #: None when the denominator is 0: undefined, which is not 0
    low: float | None
    high: float | None


def rate(numerator: int, denominator: int) -> Rate:
    """Return *numerator* ÷ *denominator* with its interval.

    A ratio above 1 (clicks per search) is no share of anything: it has a value and no interval.
    """
    if denominator <= 0:
        return Rate(numerator, denominator, None, None, None)
    value = numerator / denominator
    if not 0 <= numerator <= denominator:
        return Rate(numerator, denominator, value, None, None)
    low, high = _wilson(value, denominator)
    return Rate(numerator, denominator, value, low, high)


def _wilson(share: float, count: int) -> tuple[float, float]:
    weight = _Z * _Z / count
    middle = (share + weight / 2) / (1 + weight)
    spread = _Z * sqrt(share * (1 - share) / count + weight / (4 * count)) / (1 + weight)
    # Rounding must not push the bounds past the share itself (at 0 and at 1 they are equal to it).
    return max(0.0, min(share, middle - spread)), min(1.0, max(share, middle + spread))
