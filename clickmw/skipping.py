"""Whether people pass the first result of a list over for another one further down."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from clickmw.evidence import is_above, is_below
from clickmw.expectation import Curves, Ratio, over_expected
from clickmw.stores.base import PlaceRow

#: A result that is taken instead of the first: its clicks, and how far above what is expected.
LEAST_CLICKS, TAKEN, TAKEN_SURELY = 10, 1.5, 1.25
#: A first result that is skipped: what is expected of it at least, and how far below it stays.
LEAST_EXPECTED, SKIPPED = 5.0, 0.8


class Placed(NamedTuple):
    """One result in the list of one module; ``position`` is where it was shown most."""

    name: str
    module_code: str
    position: int
    first_impressions: int  #: at position 1
    ratio: Ratio

    @property
    def place(self) -> str:
        """Return where it stands, in words."""
        of_module = f" of {self.module_code}" if self.module_code else ""
        return f"Position {self.position}{of_module}"


def skipped_first(places: Sequence[PlaceRow], curves: Curves) -> tuple[Placed, Placed] | None:
    """Return the first result and the one that is taken instead of it, None where neither is sure."""
    pairs = [pair for module in _modules(places) if (pair := _skipped(module, curves))]
    return max(pairs, key=_surely_taken, default=None)


def _surely_taken(pair: tuple[Placed, Placed]) -> float:
    return pair[1].ratio.low or 0.0


def _modules(places: Sequence[PlaceRow]) -> list[list[PlaceRow]]:
    rows = sorted(places, key=lambda row: (row.module_code, row.url))
    return [list(each) for _, each in groupby(rows, key=lambda row: row.module_code)]


def _skipped(module: list[PlaceRow], curves: Curves) -> tuple[Placed, Placed] | None:
    results = [
        result
        for _, rows in groupby(module, key=lambda row: row.url)
        if (result := _result(list(rows), curves)) is not None
    ]
    first = [result for result in results if result.position == 1]
    top = max(first, key=lambda result: result.first_impressions, default=None)
    if top is None or top.ratio.denominator < LEAST_EXPECTED or not is_below(top.ratio, SKIPPED):
        return None
    taken = [result for result in results if result.position > 1 and _is_taken(result.ratio)]
    return max(((top, each) for each in taken), key=_surely_taken, default=None)


def _result(rows: list[PlaceRow], curves: Curves) -> Placed | None:
    placed = [
        (row, expected)
        for row in rows
        if (expected := curves.expected(row.module_code, row.position, row.impressions)) is not None
    ]
    if not placed:
        return None
    most = max(rows, key=lambda row: row.impressions)
    ratio = over_expected(sum(row.clicks for row, _ in placed), sum(each for _, each in placed))
    first = sum(row.impressions for row in rows if row.position == 1)
    return Placed(most.title or most.url, most.module_code, most.position, first, ratio)


def _is_taken(ratio: Ratio) -> bool:
    enough = ratio.numerator >= LEAST_CLICKS and (ratio.value or 0) >= TAKEN
    return enough and is_above(ratio, TAKEN_SURELY)
