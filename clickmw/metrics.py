"""Every headline number of the report: its definition and how it follows from the totals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from clickmw.rates import rate
from clickmw.stores.base import Totals
from clickmw.tables import plain

#: Below this base a relative change says nothing; the page then shows both numbers instead.
SMALLEST_BASE = 20


class Measure(NamedTuple):
    """One number with what it was made of. ``value`` is None where there is nothing to divide by.

    ``low`` and ``high`` are the ends of the 95 % Wilson interval, None for counts and means.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    numerator: float | None = None
    denominator: float | None = None


class Metric(NamedTuple):
    """A named number. ``unit`` is "count", "share" (0 to 1), "ratio" or "position".

    ``better`` is 1 when more is better, -1 when less is, 0 when neither.
    """

    name: str
    label: str
    unit: str
    better: int
    definition: str
    formula: str
    measure: Callable[[Totals], Measure]


def _count(field: str) -> Callable[[Totals], Measure]:
    return lambda totals: Measure(value=getattr(totals, field))


def _share(numerator: str, denominator: str) -> Callable[[Totals], Measure]:
    return lambda totals: share(getattr(totals, numerator), getattr(totals, denominator))


def _mean(numerator: str, denominator: str) -> Callable[[Totals], Measure]:
    return lambda totals: mean(getattr(totals, numerator), getattr(totals, denominator))


def share(numerator: int, denominator: int) -> Measure:
    """Return numerator / denominator with its interval."""
    counted = rate(numerator, denominator)
    return Measure(counted.value, counted.low, counted.high, numerator, denominator)


def mean(numerator: float, denominator: int) -> Measure:
    """Return numerator / denominator, without an interval."""
    value = numerator / denominator if denominator else None
    return Measure(value, None, None, numerator, denominator)


METRICS: tuple[Metric, ...] = (
    Metric(
        "searches",
        "Searches",
        "count",
        0,
        "How often visitors searched. One visitor's reloads, later pages and half-typed forms of "
        "the same query within 30 minutes are one search.",
        "counted searches",
        _count("searches"),
    ),
    Metric(
        "search_ctr",
        "Search CTR",
        "share",
        1,
        "The share of searches after which the visitor clicked at least one result within 24 hours.",
        "searches with a click / searches",
        _share("searches_clicked", "searches"),
    ),
    Metric(
        "clicks",
        "Clicks",
        "count",
        0,
        "How often a result was followed. The same visitor on the same result of the same search "
        "counts once in 30 minutes.",
        "counted clicks",
        _count("clicks"),
    ),
    Metric(
        "no_result_rate",
        "No-result rate",
        "share",
        -1,
        "The share of searches that found nothing, among those whose number of hits is known.",
        "searches with 0 hits / searches with a known number of hits",
        _share("searches_empty", "searches_known"),
    ),
    Metric(
        "no_click_rate",
        "No-click rate",
        "share",
        -1,
        "The share of searches that nobody clicked on; it and search CTR add up to one.",
        "searches without a click / searches",
        lambda totals: share(totals.searches - totals.searches_clicked, totals.searches),
    ),
    Metric(
        "average_position",
        "Average click position",
        "position",
        -1,
        "The mean place of the clicked results in their lists. 1 is the top; clicks whose place is "
        "unknown are left out.",
        "sum of clicked positions / clicks with a position",
        _mean("position_sum", "clicks_positioned"),
    ),
    Metric(
        "clicks_per_search",
        "Clicks per search",
        "ratio",
        0,
        "How many results were followed for each search; it may exceed one.",
        "clicks / searches",
        lambda totals: mean(totals.clicks, totals.searches),
    ),
    Metric(
        "item_ctr",
        "Item CTR",
        "share",
        1,
        "The share of shown results that were clicked.",
        "clicks / impressions",
        _share("clicks", "impressions"),
    ),
    Metric(
        "impressions",
        "Impressions",
        "count",
        0,
        "How many results were shown: every tracked link of every page of results.",
        "results shown",
        _count("impressions"),
    ),
    Metric(
        "answered_no_click_rate",
        "No click despite results",
        "share",
        -1,
        "The share of searches without a click among those that are known to have found something, "
        "so that searches without results are not blamed twice.",
        "searches with hits and no click / searches with hits",
        lambda totals: share(
            totals.searches_answered_unclicked, totals.searches_known - totals.searches_empty
        ),
    ),
    Metric(
        "mrr_clicks",
        "MRR over clicks",
        "ratio",
        1,
        "Mean reciprocal rank: each click is worth 1 / its position. 1 means that every click went "
        "to the top result.",
        "sum of 1 / position over clicks / clicks with a position",
        _mean("click_reciprocal_sum", "clicks_positioned"),
    ),
    Metric(
        "mrr_searches",
        "MRR over searches",
        "ratio",
        1,
        "Mean reciprocal rank over all searches: each is worth 1 / its best clicked position, and 0 "
        "when nothing was clicked.",
        "sum of 1 / best clicked position over searches / searches",
        _mean("search_reciprocal_sum", "searches"),
    ),
)


class Figure(NamedTuple):
    """A metric's measure in the period and in the one before."""

    metric: Metric
    now: Measure
    before: Measure

    @property
    def change(self) -> float | None:
        """Return the change: a fraction of the old value for counts, else a difference."""
        if self.now.value is None or self.before.value is None:
            return None
        if self.metric.unit != "count":
            return self.now.value - self.before.value
        return (
            (self.now.value - self.before.value) / self.before.value if self.before.value else None
        )

    @property
    def small(self) -> bool:
        """Return whether the old base is too small for a relative change."""
        return self.metric.unit == "count" and (self.before.value or 0) < SMALLEST_BASE

    @property
    def unclear(self) -> bool:
        """Return whether the two intervals overlap: the change may be chance."""
        ends = (self.now.low, self.now.high, self.before.low, self.before.high)
        if None in ends:
            return False
        low, high, low_before, high_before = (end or 0.0 for end in ends)
        return low <= high_before and low_before <= high

    @property
    def flat(self) -> bool:
        """Return whether the change is too small to be seen in the digits that are shown."""
        return abs(self.change or 0) < (0.0005 if self.metric.unit in {"count", "share"} else 0.005)

    @property
    def direction(self) -> str:
        """Return "better", "worse" or "" for neither."""
        if self.change is None or self.flat or self.unclear or not self.metric.better:
            return ""
        return "better" if (self.change > 0) == (self.metric.better > 0) else "worse"


def read_figures(totals: Totals, before: Totals) -> list[Figure]:
    """Return all metrics, most important first."""
    return [Figure(each, each.measure(totals), each.measure(before)) for each in METRICS]


def has_events(totals: Totals) -> bool:
    """Return whether anything at all was stored in the totals' days."""
    counts: Mapping[str, int] = totals.excluded
    return bool(totals.searches or totals.clicks or totals.impressions or any(counts.values()))


def figure_facts(figure: Figure) -> dict[str, Any]:
    """Return a figure as the JSON answers have it."""
    now: dict[str, Any] = plain(figure.now)
    return {**now, "previous": plain(figure.before), "change": figure.change}


def figure_table(figures: Sequence[Figure]) -> tuple[list[str], list[list[Any]]]:
    """Return header and rows of the figures' file."""
    header = [
        "metric",
        "label",
        "value",
        "low",
        "high",
        "numerator",
        "denominator",
        "previous",
        "change",
        "definition",
    ]
    rows = [
        [
            figure.metric.name,
            figure.metric.label,
            *figure.now,
            figure.before.value,
            figure.change,
            figure.metric.definition,
        ]
        for figure in figures
    ]
    return header, rows


def definition_rows() -> list[dict[str, Any]]:
    """Return every metric's definition as rows."""
    return [
        {"metric": m.name, "label": m.label, "definition": m.definition, "formula": m.formula}
        for m in METRICS
    ]
