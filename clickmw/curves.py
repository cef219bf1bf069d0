"""Where in its list a result is clicked, module by module, and what each module makes of its places."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import groupby
from typing import Any

from clickmw.expectation import Curves, Ratio, Step, over_before
from clickmw.lists import RESULT_NUMBERS, item_ctr
from clickmw.panels import Column, Look, Page, Panel, Row
from clickmw.pictures import histogram_pictures, past_pictures, rank_pictures
from clickmw.rates import rate
from clickmw.stores.base import Filter, PositionRow
from clickmw.wording import position_label

#: Positions of the click histogram. Source: Algolia, Analytics API, ``GET /2/clicks/positions``.
BARS: tuple[tuple[int, int | None], ...] = (*((n, n) for n in range(1, 11)), (11, 20), (21, None))
#: A module's own past, before the first day of the period. Longer than most periods, so that the
#: comparison is about the period and not about the chances of the past.
HISTORY_DAYS = 90


def _positions(look: Look) -> list[Row]:
    return [
        {
            **_module(look, row.module_code),
            **_place(row.first, row.last),
            "clicks": row.clicks,
            "impressions": row.impressions,
            "item_ctr": item_ctr(row.clicks, row.impressions),
        }
        for row in look.reader.positions(look.asked)
    ]


def _histogram(look: Look) -> list[Row]:
    """Return the twelve bars of each module that was clicked, most clicked first."""
    ladders = [ladder for ladder in _ladders(look) if _clicks(ladder)]
    ladders.sort(key=_clicks, reverse=True)
    return [
        {
            **_module(look, ladder[0].module_code),
            **_place(first, last),
            "clicks": (clicks := _clicks(_between(ladder, first, last))),
            "share_of_clicks": rate(clicks, _clicks(ladder)),
        }
        for ladder in ladders
        for first, last in BARS
    ]


def _ladders(look: Look) -> list[list[PositionRow]]:
    rows = sorted(look.reader.positions(look.asked), key=lambda row: (row.module_code, row.first))
    return [list(ladder) for _, ladder in groupby(rows, key=lambda row: row.module_code)]


def _between(ladder: Sequence[PositionRow], first: int, last: int | None) -> list[PositionRow]:
    return [row for row in ladder if first <= row.first and (last is None or row.first <= last)]


def _clicks(ladder: Sequence[PositionRow]) -> int:
    return sum(row.clicks for row in ladder)


def _modules(look: Look) -> list[Row]:
    rows = look.reader.modules(look.asked)
    ladders = {ladder[0].module_code: ladder for ladder in _ladders(look)}
    past = Curves.of(look.reader.positions(_history(look.asked)))
    clicks = sum(row.clicks for row in rows)
    return [
        {
            **_module(look, row.module_code),
            "clicks": row.clicks,
            "share_of_clicks": rate(row.clicks, clicks),
            "clicks_unplaced": row.clicks - _clicks(ladders.get(row.module_code, [])),
            "impressions": row.impressions,
            "item_ctr": item_ctr(row.clicks, row.impressions),
            "position_mean": row.position_mean,
            "coec": _over_past(ladders.get(row.module_code, []), past),
        }
        for row in rows
    ]


def _history(asked: Filter) -> Filter:
    first, last = timedelta(days=HISTORY_DAYS), timedelta(days=1)
    return replace(asked, first_day=asked.first_day - first, last_day=asked.first_day - last)


def _over_past(ladder: Sequence[PositionRow], past: Curves) -> Ratio:
    """Return a module's clicks over what its impressions earned by its own past rank CTR.

    Positions that the past did not show are left out of both. The past is left to chance, too: it
    counts as the one number of clicks that would leave the expectation as uncertain as it is.
    """
    shown: defaultdict[Step, int] = defaultdict(int)
    clicks = 0
    for row in ladder:
        step = past.step(row.module_code, row.first)
        if step is not None and row.impressions:
            shown[step] += row.impressions
            clicks += row.clicks
    expected = sum(count * step.rate for step, count in shown.items())
    if not expected:
        return Ratio(clicks, 0.0, None, None, None)
    variance = sum(count**2 * step.rate / step.impressions for step, count in shown.items())
    before = round(expected**2 / variance)
    return over_before(clicks, before, expected / before)


def _module(look: Look, module_code: str) -> Row:
    return {"module_code": module_code, "module_name": look.modules.get(module_code)}


def _place(first: int, last: int | None) -> Row:
    return {"position": position_label(first, last), "first": first, "last": last}


def _facts(look: Look) -> Mapping[str, Any]:
    totals, history = look.reader.totals(look.asked), _history(look.asked)
    return {
        "clicks": totals.clicks,
        "clicks_unplaced": totals.clicks - totals.clicks_positioned,
        "history": {"first_day": history.first_day, "last_day": history.last_day},
    }


_PLACE = (
    Column("module_code", "Module", "module"),
    Column("module_name", "Module name", "text", shown=False),
    Column("position", "Position", "position"),
    Column("first", "First", "count", shown=False),
    Column("last", "Last", "count", shown=False),
)

CURVES: tuple[Panel, ...] = (
    Panel(
        name="modules",
        title="Modules",
        about="Which blocks of the results page were shown and followed, and how each does against "
        f"its own past: clicks over those its impressions earned at the same positions in the "
        f"{HISTORY_DAYS} days before the period (COEC). Above 1 is better than before.",
        columns=(
            Column("module_code", "Module", "module"),
            Column("module_name", "Module name", "text", shown=False),
            Column("clicks", "Clicks", "count"),
            Column("share_of_clicks", "Share of clicks", "rate", minor=True),
            Column("clicks_unplaced", "Without position", "count", shown=False),
            Column("impressions", "Impressions", "count", minor=True),
            Column("item_ctr", "CTR", "rate", minor=True),
            Column("position_mean", "Avg. position", "mean", minor=True),
            Column("coec", "Against its past", "ratio"),
        ),
        rows=_modules,
        pictures=past_pictures,
        unkept=("impressions", "item_ctr"),
        brief=("module_code", "clicks", "item_ctr", "coec"),
        bar="clicks",
        limited=False,
        nothing="No module was shown in this period.",
    ),
    Panel(
        name="positions",
        title="CTR by position",
        about="How often a result is followed where it stands. Each module is a list of its own.",
        # A CTR says nothing without what it is a share of: on a phone too.
        columns=(*_PLACE, *(column._replace(minor=False) for column in RESULT_NUMBERS)),
        rows=_positions,
        pictures=rank_pictures,
        unkept=("impressions", "item_ctr"),
        bar="clicks",
        limited=False,
        nothing="No clicks with a position in this period.",
    ),
    Panel(
        name="histogram",
        title="Clicks by position",
        about="Where in its list a clicked result stood, in the twelve steps of Algolia’s click "
        "positions. Clicks without a known position are not in it.",
        columns=(
            *_PLACE,
            Column("clicks", "Clicks", "count"),
            Column("share_of_clicks", "Share", "rate"),
        ),
        rows=_histogram,
        pictures=histogram_pictures,
        bar="clicks",
        limited=False,
        nothing="No clicks with a position in this period.",
    ),
)

PLACES = Page(
    name="places",
    title="Positions and modules",
    about="Results higher up are clicked more because they stand higher up. Here is by how much, "
    "for each module by itself, and which module does better than its places say.",
    panels=("modules", "histogram", "positions"),
    template="places.html",
    facts=_facts,
)

#: The definitions of the numbers that only these panels have, as the definitions page shows them.
DEFINITIONS: tuple[Mapping[str, str], ...] = (
    {
        "metric": "rank_ctr",
        "label": "Rank CTR",
        "definition": "How often a result of a module is followed at one position, over all "
        "queries. Positions above 20 are taken together in steps.",
        "formula": "clicks at a position / impressions at that position",
    },
    {
        "metric": "coec",
        "label": "Clicks over expected clicks (COEC)",
        "definition": "How often something is followed against what its positions alone would "
        "earn: 1 is as expected, 2 twice as often. Each impression is expected to earn the rank "
        "CTR of the position where it stood. A module is measured by its own rank CTR in the "
        f"{HISTORY_DAYS} days before the period; positions it was not shown at then are left out.",
        "formula": "clicks / sum over impressions of the rank CTR of their positions",
    },
)
