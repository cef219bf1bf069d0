"""A rate, a mean and a change, and how sure we are of them."""

from __future__ import annotations

from math import sqrt
from typing import NamedTuple, Protocol

#: Two-sided 95 % quantile of the normal distribution.
_Z = 1.959963984540054
#: Fewer values say nothing of how much they vary.
FEWEST = 5


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


class Estimate(Protocol):
    """A value between the ends of its interval; None where unknown."""

    @property
    def value(self) -> float | None: ...
    @property
    def low(self) -> float | None: ...
    @property
    def high(self) -> float | None: ...


#: The two ends of an interval.
Ends = tuple[float, float]


def difference_ends(now: Estimate, before: Estimate) -> Ends | None:
    """Return the 95 % interval of *now* minus *before*, None where one of them has none.

    Source: for two shares R. G. Newcombe, Interval estimation for the difference between independent
    proportions, Statistics in Medicine 17 (1998), method 10; for any two estimates G. Y. Zou and
    A. Donner, Construction of confidence limits about effect measures, ibid. 27 (2008).
    """
    if now.value is None or now.low is None or now.high is None:
        return None
    if before.value is None or before.low is None or before.high is None:
        return None
    change = now.value - before.value
    down = sqrt((now.value - now.low) ** 2 + (before.high - before.value) ** 2)
    up = sqrt((now.high - now.value) ** 2 + (before.value - before.low) ** 2)
    return change - down, change + up


def ratio_ends(now: int, before: int) -> Ends | None:
    """Return the 95 % interval of the ratio of two counts, None where the second is 0.

    Of so many events together, those of one period are a binomial share; the ends of its Wilson
    interval are those of the ratio. Source: J. Przyborowski and H. Wilenski, Homogeneity of results
    in testing samples from Poisson series, Biometrika 31 (1940).
    """
    if before <= 0 or now < 0:
        return None
    low, high = _wilson(now / (now + before), now + before)
    return low / (1 - low), high / (1 - high)


def mean_ends(count: int, total: float, square_total: float) -> Ends | None:
    """Return the 95 % interval of the mean of *count* values, from their sum and sum of squares.

    None below FEWEST values, or where all are alike. Student's t, as the series of M. Abramowitz
    and I. Stegun, Handbook of Mathematical Functions (1964), 26.7.5 gives it.
    """
    if count < FEWEST:
        return None
    mean = total / count
    variance = (square_total - count * mean * mean) / (count - 1)
    if variance <= 1e-12:
        return None
    spread = _student(count - 1) * sqrt(variance / count)
    return mean - spread, mean + spread


def _student(freedom: int) -> float:
    """Return the two-sided 95 % quantile of Student's t; off by less than 0.01 from 4 degrees on."""
    third, fifth, seventh = _Z**3, _Z**5, _Z**7
    return (
        _Z
        + (third + _Z) / (4 * freedom)
        + (5 * fifth + 16 * third + 3 * _Z) / (96 * freedom**2)
        + (3 * seventh + 19 * fifth + 17 * third - 15 * _Z) / (384 * freedom**3)
    )


def _wilson(share: float, count: int) -> tuple[float, float]:
    weight = _Z * _Z / count
    middle = (share + weight / 2) / (1 + weight)
    spread = _Z * sqrt(share * (1 - share) / count + weight / (4 * count)) / (1 + weight)
    # Rounding must not push the bounds past the share itself (at 0 and at 1 they are equal to it).
    return max(0.0, min(share, middle - spread)), min(1.0, max(share, middle + spread))
