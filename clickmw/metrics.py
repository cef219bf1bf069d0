"""Every headline number of the report: its definition and how it follows from the totals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from clickmw.rates import Ends, difference_ends, mean_ends, rate, ratio_ends
from clickmw.stores.base import Totals
from clickmw.tables import plain

#: Below this base a relative change says nothing; the page then shows both numbers instead.
SMALLEST_BASE = 20


class Measure(NamedTuple):
    """One number with what it was made of. ``value`` is None where there is nothing to divide by.

    ``low`` and ``high`` are the ends of the 95 % interval: Wilson's for shares, Student's for the
    mean score; None for counts and for means whose spread is not kept.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    numerator: float | None = None
    denominator: float | None = None


class Metric(NamedTuple):
    """A named number. ``unit`` is "count", "share" (0 to 1), "ratio", "position" or "score".

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


def share(numerator: int, denominator: int | None) -> Measure:
    """Return numerator / denominator with its interval; unknown where the denominator is not kept."""
    if denominator is None:
        return Measure(None, None, None, numerator)
    counted = rate(numerator, denominator)
    return Measure(counted.value, counted.low, counted.high, numerator, denominator)


def mean(numerator: float, denominator: int) -> Measure:
    """Return numerator / denominator, without an interval."""
    value = numerator / denominator if denominator else None
    return Measure(value, None, None, numerator, denominator)


def _satisfaction(totals: Totals) -> Measure:
    """Return the mean score with its interval, which no score can leave."""
    scores = mean(totals.score_sum, totals.ratings)
    ends = mean_ends(totals.ratings, totals.score_sum, totals.score_square_sum)
    if ends is None:
        return scores
    return scores._replace(low=max(0.0, ends[0]), high=min(10.0, ends[1]))


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
        "no_click_rate",
        "No-click rate",
        "share",
        -1,
        "The share of searches that nobody clicked on; it and search CTR add up to one.",
        "searches without a click / searches",
        lambda totals: share(totals.searches - totals.searches_clicked, totals.searches),
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
        "no_result_rate",
        "No-result rate",
        "share",
        -1,
        "The share of searches that found nothing, among those whose number of hits is known.",
        "searches with 0 hits / searches with a known number of hits",
        _share("searches_empty", "searches_known"),
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
    Metric(
        "satisfaction",
        "Satisfaction",
        "score",
        1,
        "The mean score, from 0 to 10, of visitors who were asked how well their search went.",
        "sum of scores / scores",
        _satisfaction,
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
        "impressions",
        "Impressions",
        "count",
        0,
        "How many results were shown: every tracked link of every page of results.",
        "results shown",
        _count("impressions"),
    ),
)


NOTHING = Measure(None)


class Figure(NamedTuple):
    """A metric's measure in the period and in the one it is compared with."""

    metric: Metric
    now: Measure
    before: Measure = NOTHING

    @property
    def change(self) -> float | None:
        """Return the change: a fraction of the old value for counts, else a difference."""
        if self.now.value is None or self.before.value is None:
            return None
        if self.metric.unit != "count":
            return self.now.value - self.before.value
        return self.now.value / self.before.value - 1 if self.before.value else None

    @property
    def ends(self) -> Ends | None:
        """Return the 95 % interval of the change, None where it is not known."""
        if self.metric.unit != "count":
            return difference_ends(self.now, self.before)
        if self.now.value is None or self.before.value is None:
            return None
        ends = ratio_ends(int(self.now.value), int(self.before.value))
        return (ends[0] - 1, ends[1] - 1) if ends else None

    @property
    def small(self) -> bool:
        """Return whether the old base is too small for a relative change."""
        return self.metric.unit == "count" and (self.before.value or 0) < SMALLEST_BASE

    @property
    def unclear(self) -> bool:
        """Return whether the change's interval covers zero: it may be chance."""
        return self.ends is not None and self.ends[0] <= 0 <= self.ends[1]

    @property
    def flat(self) -> bool:
        """Return whether the change is too small to be seen in the digits that are shown."""
        return abs(self.change or 0) < (0.0005 if self.metric.unit in {"count", "share"} else 0.005)

    @property
    def direction(self) -> str:
        """Return "better", "worse" or "" for neither, which all changes without interval are."""
        if self.change is None or self.flat or self.ends is None or self.unclear:
            return ""
        if not self.metric.better:
            return ""
        return "better" if (self.change > 0) == (self.metric.better > 0) else "worse"


def read_figures(totals: Totals, before: Totals | None) -> list[Figure]:
    """Return all metrics, most important first; without *before* they changed from nothing known."""
    if before is None:
        return [Figure(each, each.measure(totals)) for each in METRICS]
    return [Figure(each, each.measure(totals), each.measure(before)) for each in METRICS]


def has_events(totals: Totals) -> bool:
    """Return whether anything at all was stored in the totals' days."""
    counts = {name: n for name, n in totals.excluded.items() if not name.endswith(".test")}
    heads = (totals.searches, totals.clicks, totals.impressions, totals.ratings)
    return any(heads) or any(counts.values())


def figure_facts(figure: Figure) -> dict[str, Any]:
    """Return a figure as the JSON answers have it."""
    now: dict[str, Any] = plain(figure.now)
    low, high = figure.ends or (None, None)
    change = {"change": figure.change, "change_low": low, "change_high": high}
    return {**now, "previous": plain(figure.before), **change}


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
        "change_low",
        "change_high",
        "definition",
    ]
    rows = [
        [
            figure.metric.name,
            figure.metric.label,
            *figure.now,
            figure.before.value,
            figure.change,
            *(figure.ends or (None, None)),
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
