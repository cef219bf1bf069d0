"""The numbers at the head of a page about one thing: a query, a result, sessions."""

from __future__ import annotations

from typing import Any, NamedTuple

from clickmw.metrics import METRICS, Measure

_METRICS = {metric.name: metric for metric in METRICS}


class Headline(NamedTuple):
    """One number of a page's head; ``unit`` as of a :class:`~clickmw.metrics.Metric`, or "seconds"."""

    name: str
    label: str
    unit: str
    measure: Measure
    definition: str
    formula: str

    def facts(self) -> dict[str, Any]:
        """Return the headline as plain values."""
        return self._asdict()

    def meaning(self) -> dict[str, str]:
        """Return the row of the page of definitions."""
        return {
            "metric": self.name,
            "label": self.label,
            "definition": self.definition,
            "formula": self.formula,
        }


def metric_headline(name: str, measure: Measure) -> Headline:
    """Return a headline that is one of the report's headline numbers."""
    metric = _METRICS[name]
    return Headline(name, metric.label, metric.unit, measure, metric.definition, metric.formula)
