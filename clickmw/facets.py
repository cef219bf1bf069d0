"""Who searched, with what, from where: the report's breakdowns by each facet of an event."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from clickmw.panels import Column, Look, Page, Panel, Row
from clickmw.rates import Rate, rate
from clickmw.stores.base import FacetRow

#: What the values mean, where a name does not say it. Sources: docs/reference/views.md.
_MEANINGS: Mapping[str, Mapping[str, str]] = {
    "source": {
        "redirect": "a link of ours was followed",
        "page": "read from a results page",
        "template": "told by the site's template",
        "beacon": "reported by the snippet",
    },
    "trust": {
        "signed": "a token of ours proves it",
        "session": "no token, but a search that this visitor was given",
        "keyed": "a sender showed its key",
        "anonymous": "anybody could have sent it",
    },
}


def _values(name: str) -> Callable[[Look], list[Row]]:
    """Return how to read the rows of one facet."""
    meanings = _MEANINGS.get(name, {})

    def read(look: Look) -> list[Row]:
        found = look.reader.facet(look.asked, name)
        searches = sum(row.searches for row in found)
        return [
            {
                name: row.value,
                "meaning": meanings.get(row.value, ""),
                "searches": row.searches,
                "share_of_searches": rate(row.searches, searches),
                "searches_clicked": row.searches_clicked,
                "search_ctr": rate(row.searches_clicked, row.searches),
                "searches_known": row.searches_known,
                "searches_empty": row.searches_empty,
                "no_result_rate": rate(row.searches_empty, row.searches_known),
                "clicks": row.clicks,
                "impressions": row.impressions,
                "item_ctr": _item_ctr(row),
                "position_mean": row.position_mean,
            }
            for row in found[: look.limit]
        ]

    return read


def _item_ctr(row: FacetRow) -> Rate | None:
    return None if row.impressions is None else rate(row.clicks, row.impressions)


def _panel(path: str, name: str, title: str, about: str) -> Panel:
    """Return the panel of the facet *name* at *path*."""
    # Whoever reports a click need not be who reported what was shown: then a rate of both says nothing.
    item_ctr = () if name in _MEANINGS else (Column("item_ctr", "Item CTR", "rate", minor=True),)
    return Panel(
        name=path,
        title=title,
        about=about,
        columns=(
            Column(name, name.capitalize(), "text"),
            Column("meaning", "In words", "text", minor=True, shown=name in _MEANINGS),
            Column("searches", "Searches", "count"),
            Column("share_of_searches", "Share", "rate", minor=True),
            Column("searches_clicked", "With a click", "count", shown=False),
            Column("search_ctr", "Search CTR", "rate"),
            Column("searches_known", "With known hits", "count", shown=False),
            Column("searches_empty", "Without results", "count", shown=False),
            Column("no_result_rate", "No results", "rate", minor=True),
            Column("clicks", "Clicks", "count", minor=True),
            Column("impressions", "Impressions", "count", minor=True),
            *item_ctr,
            Column("position_mean", "Avg. position", "mean", minor=True),
        ),
        rows=_values(name),
        brief=(name, "searches", "search_ctr", "clicks"),
        bar="searches",
    )


FACET_PANELS: tuple[Panel, ...] = (
    _panel("devices", "device", "Devices", "What visitors searched with, as their agent says."),
    _panel("languages", "language", "Languages", "The language of the results page."),
    _panel("profiles", "profile", "Profiles", "Which of a site's searches it was, where they say."),
    _panel("sources", "source", "Sources", "Who reported: searches and clicks, each by their own."),
    _panel("trusts", "trust", "Trust", "How far an event is proved."),
)

BREAKDOWN = Page(
    name="breakdown",
    title="Breakdown",
    about="The same searches and clicks by what is known of each; a value narrows the report to it.",
    panels=tuple(panel.name for panel in FACET_PANELS),
)
