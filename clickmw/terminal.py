"""The report in a terminal: the same numbers as the page, in aligned columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date
from typing import Any

import click

from clickmw.catalog import PANELS
from clickmw.metrics import METRICS, Measure, read_figures
from clickmw.module_codes import MODULE_CODES
from clickmw.panels import Column, Look, Panel
from clickmw.stores.base import Filter, Reader
from clickmw.tables import is_measure, plain
from clickmw.wording import (
    DASH,
    format_count,
    format_decimal,
    format_percent,
    format_seconds,
    format_unnamed,
)

#: What a terminal shows of the report's panels.
SHOWN = ("queries", "results", "positions", "modules", "unclicked", "empty")
_LONGEST = 60


def report_facts(
    reader: Reader,
    asked: Filter,
    top: int,
    *,
    modules: Mapping[str, str] = MODULE_CODES,
    today: date | None = None,
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """Return what the terminal shows, as plain values for JSON; *top* rows of each list.

    *notes* are sentences that have to be said of the numbers.
    """
    totals = reader.totals(asked)
    look = Look(
        reader=reader,
        asked=asked,
        limit=top,
        modules=modules,
        today=today or asked.last_day,
        before=asked,
    )
    return {
        "from": asked.first_day.isoformat(),
        "to": asked.last_day.isoformat(),
        "site": asked.site,
        "filters": _filters(asked),
        "notes": list(notes),
        "totals": asdict(totals),
        "metrics": {each.metric.name: plain(each.now) for each in read_figures(totals, None)},
        **{name: plain(PANELS[name].rows(look)) for name in SHOWN},
    }


def _filters(asked: Filter) -> dict[str, Any]:
    found = asdict(asked)
    return {
        name: value
        for name, value in found.items()
        if value and name not in ("first_day", "last_day", "site")
    }


def print_report(facts: dict[str, Any]) -> None:
    """Print *facts* as text."""
    filters = "".join(f"   {name}: {_cell(value)}" for name, value in facts["filters"].items())
    click.echo(f"\n{facts['from']} to {facts['to']}   {facts['site'] or 'all sites'}{filters}\n")
    for note in facts["notes"]:
        click.echo(f"  {note}\n")
    width = max(len(metric.label) for metric in METRICS)
    for metric in METRICS:
        measure = Measure(**facts["metrics"][metric.name])
        click.echo(f"  {metric.label:<{width}}  {_measure(measure, metric.unit)}")
    _print_excluded(facts, width)
    for name in SHOWN:
        _table(PANELS[name], facts[name])


def _print_excluded(facts: Mapping[str, Any], width: int) -> None:
    """Print what was left out, which no filter narrows but the site, and the days."""
    excluded = facts["totals"]["excluded"]
    for reason, count in excluded.items():
        click.echo(f"  {'Not counted':<{width}}  {count:,} {reason.replace('.', ': ')}")
    if excluded and facts["filters"]:
        names = ", ".join(facts["filters"])
        click.echo(f"  {'':<{width}}  (what is not counted is not narrowed by {names})")


def _measure(measure: Measure, unit: str) -> str:
    """Return a headline number, what it was made of, and its interval."""
    if unit == "count" or measure.value is None:
        return format_count(measure.value)
    write = format_percent if unit == "share" else _decimal(1 if unit == "score" else 2)
    parts = f"   {_amount(measure.numerator)} / {_amount(measure.denominator)}"
    if measure.low is None:
        return write(measure.value) + parts
    return f"{write(measure.value)} [{write(measure.low)} {DASH} {write(measure.high)}]{parts}"


def _decimal(digits: int) -> Any:
    return lambda value: format_decimal(value, digits)


def _amount(value: float | None) -> str:
    return format_count(value) if value == int(value or 0) else format_decimal(value, 1)


def _table(panel: Panel, rows: list[dict[str, Any]]) -> None:
    if not rows:
        return
    columns = [column for column in panel.columns_shown(brief=False) if column.kind != "time"]
    cells = [[_written(column, row) for column in columns] for row in rows]
    heads = [column.label for column in columns]
    widths = [max(len(row[i]) for row in [heads, *cells]) for i in range(len(columns))]
    click.echo(f"\n{panel.title}")
    for row in [heads, *cells]:
        first = row[0].ljust(widths[0])
        rest = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
        click.echo("  " + "  ".join([first, *rest]).rstrip())


def _written(column: Column, row: Mapping[str, Any]) -> str:
    """Return a cell as the page has it."""
    value = row[column.key]
    if column.kind == "query" and row.get("unnamed_queries"):
        return format_unnamed(row["unnamed_queries"])
    if isinstance(value, dict) or is_measure(value):
        value = value["value"] if isinstance(value, dict) else value.value
    write = _WRITERS.get(column.kind)
    return write(value) if write else _cell(value)


_WRITERS: Mapping[str, Any] = {
    "count": format_count,
    "rate": format_percent,
    "mean": _decimal(1),
    "ratio": _decimal(1),
    "seconds": format_seconds,
}


def _cell(value: object) -> str:
    if value is None:
        return DASH
    # What people typed may hold control characters: a terminal must not obey them.
    text = "".join(c if c.isprintable() else " " for c in str(value))
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
