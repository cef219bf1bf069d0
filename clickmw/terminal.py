"""The report in a terminal: the same numbers as the page, in aligned columns."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from clickmw.rates import Rate, rate
from clickmw.stores.base import Filter, PositionRow, Reader


def report_facts(reader: Reader, asked: Filter, top: int) -> dict[str, Any]:
    """Return what the terminal shows, as plain values for JSON."""
    totals = reader.totals(asked)
    return {
        "from": asked.first_day.isoformat(),
        "to": asked.last_day.isoformat(),
        "site": asked.site,
        "totals": asdict(totals),
        "rates": {
            "search_ctr": rate(totals.searches_clicked, totals.searches)._asdict(),
            "clicks_per_search": rate(totals.clicks, totals.searches)._asdict(),
            "item_ctr": rate(totals.clicks, totals.impressions)._asdict(),
            "no_result_rate": rate(totals.searches_empty, totals.searches_known)._asdict(),
        },
        "click_position_mean": _mean(totals.position_sum, totals.clicks_positioned),
        "mrr_clicks": _mean(totals.click_reciprocal_sum, totals.clicks_positioned),
        "mrr_searches": _mean(totals.search_reciprocal_sum, totals.searches),
        "queries": [asdict(row) for row in reader.top_queries(asked, top)],
        "results": [asdict(row) for row in reader.top_results(asked, top)],
        "positions": [_position(row) for row in reader.positions(asked)],
        "modules": [asdict(row) for row in reader.modules(asked)],
        "unclicked": [asdict(row) for row in reader.queries_without_clicks(asked, top)],
        "empty": [asdict(row) for row in reader.queries_without_results(asked, top)],
    }


def print_report(facts: dict[str, Any]) -> None:
    """Print *facts* as text."""
    totals, rates = facts["totals"], facts["rates"]
    click.echo(f"\n{facts['from']} to {facts['to']}   {facts['site'] or 'all sites'}\n")
    for name, text in (
        ("Searches", f"{totals['searches']:,}"),
        ("Search CTR", _rate(rates["search_ctr"], "searches with a click")),
        ("Clicks", f"{totals['clicks']:,}"),
        ("Item CTR", _rate(rates["item_ctr"], "clicks on results shown")),
        ("No results", _rate(rates["no_result_rate"], "searches whose number of hits is known")),
        ("Click position", _number(facts["click_position_mean"]) + " on average"),
        (
            "MRR",
            f"{_number(facts['mrr_clicks'])} over clicks, {_number(facts['mrr_searches'])} over searches",
        ),
    ):
        click.echo(f"  {name:<15} {text}")
    for reason, count in totals["excluded"].items():
        click.echo(f"  {'not counted':<15} {count:,} {reason.replace('.', ': ')}")
    _table(
        "Queries",
        facts["queries"],
        ("query", "searches", "searches_clicked", "clicks", "position_mean"),
    )
    _table("Clicked results", facts["results"], ("url", "clicks", "impressions", "position_mean"))
    _table(
        "Positions", facts["positions"], ("module_code", "position", "impressions", "clicks", "ctr")
    )
    _table("Modules", facts["modules"], ("module_code", "impressions", "clicks", "position_mean"))
    _table(
        "Searched, answered, not clicked", facts["unclicked"], ("query", "searches", "impressions")
    )
    _table("Searched, nothing found", facts["empty"], ("query", "searches_empty"))


def _table(title: str, rows: list[dict[str, Any]], columns: tuple[str, ...]) -> None:
    if not rows:
        return
    cells = [[_cell(row[column]) for column in columns] for row in rows]
    heads = [column.replace("_", " ") for column in columns]
    widths = [max(len(row[i]) for row in [heads, *cells]) for i in range(len(columns))]
    click.echo(f"\n{title}")
    for row in [heads, *cells]:
        first = row[0].ljust(widths[0])
        click.echo(
            "  "
            + "  ".join([first, *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        )


def _cell(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.2f}"
    if isinstance(value, int):
        return f"{value:,}"
    # What people typed may hold control characters: a terminal must not obey them.
    text = "".join(c if c.isprintable() else " " for c in str(value))
    return text if len(text) <= 60 else text[:59] + "…"


def _position(row: PositionRow) -> dict[str, Any]:
    last = "+" if row.last is None else "" if row.last == row.first else f"–{row.last}"
    facts = {**asdict(row), "position": f"{row.first}{last}"}
    facts["ctr"] = rate(row.clicks, row.impressions).value
    return facts


def _rate(found: dict[str, Any], of: str) -> str:
    shown = Rate(**found)
    if shown.value is None:
        return "–"
    interval = f" [{shown.low:.1%} – {shown.high:.1%}]" if shown.low is not None else ""
    return f"{shown.value:.1%}{interval}   {shown.numerator:,} of {shown.denominator:,} {of}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _mean(total: float, count: int) -> float | None:
    return total / count if count else None
