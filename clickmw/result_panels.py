"""One result in detail: which queries lead to it, when, and from where in their lists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clickmw.headlines import Headline, metric_headline
from clickmw.lists import UNNAMED
from clickmw.metrics import Measure, mean, share
from clickmw.panels import Column, Look, Page, Panel, Row, as_recorded
from clickmw.pictures import click_history
from clickmw.rates import rate


def _result_queries(look: Look) -> list[Row]:
    rows = look.reader.result_queries(look.asked, look.subject, look.limit)
    clicks = sum(row.clicks for row in look.reader.result_positions(look.asked, look.subject))
    return [
        {
            "query": row.query,
            "clicks": row.clicks,
            "share_of_clicks": rate(row.clicks, clicks),
            "clicks_positioned": row.clicks_positioned,
            "position_mean": row.position_mean,
            "unnamed_queries": row.unnamed,
        }
        for row in rows
    ]


def _result_days(look: Look) -> list[Row]:
    rows: list[Row] = [
        {
            "day": row.day,
            "complete": row.day < look.today,
            "clicks": row.clicks,
            "impressions": row.impressions,
            "item_ctr": None if row.impressions is None else rate(row.clicks, row.impressions),
            "position_mean": row.position_mean,
        }
        for row in look.reader.result_days(look.asked, look.subject)
    ]
    return as_recorded(look, rows)


def _result_places(look: Look) -> list[Row]:
    places = look.reader.result_positions(look.asked, look.subject)
    clicks = sum(row.clicks for row in places)
    return [
        {
            "module_code": row.module_code,
            "module_name": look.modules.get(row.module_code),
            "position": row.position or None,
            "clicks": row.clicks,
            "share_of_clicks": rate(row.clicks, clicks),
        }
        for row in places[: look.limit]
    ]


def result_headlines(
    clicks: int, impressions: int | None, positions: Sequence[tuple[int, int]]
) -> list[Headline]:
    """Return the headline numbers of one result; *positions* are pairs of position and clicks there."""
    placed = [(position, count) for position, count in positions if position]
    position_sum = sum(position * count for position, count in placed)
    item_ctr = Measure(None) if impressions is None else share(clicks, impressions)
    return [
        metric_headline("clicks", Measure(clicks)),
        metric_headline("impressions", Measure(impressions)),
        metric_headline("item_ctr", item_ctr),
        metric_headline("average_position", mean(position_sum, sum(count for _, count in placed))),
    ]


def _result_facts(look: Look) -> dict[str, Any]:
    days = look.reader.result_days(look.asked, look.subject)
    places = look.reader.result_positions(look.asked, look.subject)
    clicks, impressions = sum(row.clicks for row in days), [row.impressions for row in days]
    shown = None if None in impressions else sum(filter(None, impressions))
    if not (clicks or shown or places):
        return {"url": look.subject, "known": False}
    headlines = result_headlines(clicks, shown, [(row.position, row.clicks) for row in places])
    return {
        "url": look.subject,
        "known": True,
        "title": next((row.title for row in places if row.title), None),
        "headlines": [each.facts() for each in headlines],
    }


RESULT_PANELS: tuple[Panel, ...] = (
    Panel(
        name="result-queries",
        title="Queries that lead here",
        about="What visitors had searched when they followed this result.",
        columns=(
            Column("query", "Query", "query"),
            Column("clicks", "Clicks", "count"),
            Column("share_of_clicks", "Share", "rate"),
            Column("clicks_positioned", "With a position", "count", shown=False),
            Column("position_mean", "Avg. position", "mean"),
            UNNAMED,
        ),
        rows=_result_queries,
        brief=("query", "clicks", "share_of_clicks", "position_mean"),
        bar="clicks",
        nothing="Nobody followed this result in this period.",
        needs="url",
    ),
    Panel(
        name="result-days",
        title="Clicks and position by day",
        about="How often this result was followed each day, and where it stood then.",
        columns=(
            Column("day", "Day", "day"),
            Column("complete", "Complete", "text", shown=False),
            Column("clicks", "Clicks", "count"),
            Column("impressions", "Impressions", "count", minor=True),
            Column("item_ctr", "CTR", "rate", minor=True),
            Column("position_mean", "Avg. position", "mean"),
        ),
        rows=_result_days,
        pictures=click_history,
        bar="clicks",
        limited=False,
        needs="url",
        unkept=("impressions", "item_ctr"),
    ),
    Panel(
        name="result-places",
        title="Where it was clicked",
        about="In which list, and at which position, this result was followed.",
        columns=(
            Column("module_code", "Module", "module"),
            Column("module_name", "Module name", "text", shown=False),
            Column("position", "Position", "count"),
            Column("clicks", "Clicks", "count"),
            Column("share_of_clicks", "Share", "rate"),
        ),
        rows=_result_places,
        brief=("module_code", "position", "clicks", "share_of_clicks"),
        bar="clicks",
        nothing="Nobody followed this result in this period.",
        needs="url",
    ),
)

RESULT_PAGE = Page(
    name="result",
    title="Result",
    about="One result: which queries lead to it, and from where in their lists.",
    panels=("result-queries", "result-days", "result-places"),
    template="result.html",
    needs="url",
    facts=_result_facts,
)
