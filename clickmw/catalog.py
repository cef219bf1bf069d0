"""All panels and pages of the report, by the name in their paths, and the order of its tabs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from clickmw.curves import CURVES, PLACES
from clickmw.curves import DEFINITIONS as OF_CURVES
from clickmw.drilldowns import QUERY_PANELS
from clickmw.facets import BREAKDOWN, FACET_PANELS
from clickmw.lists import LISTS
from clickmw.panels import Page, Panel, Threshold
from clickmw.problems import DEFINITIONS as OF_PROBLEMS
from clickmw.problems import PROBLEMS, TO_FIX
from clickmw.query_page import DEFINITIONS as OF_QUERIES
from clickmw.query_page import QUERY_PAGE
from clickmw.result_panels import RESULT_PAGE, RESULT_PANELS
from clickmw.session_panels import DEFINITIONS as OF_SESSIONS
from clickmw.session_panels import SESSION_PAGE, SESSION_PANELS
from clickmw.tallies import LEDGER

PANELS: Mapping[str, Panel] = {
    panel.name: panel
    for panel in (
        *LISTS,
        *PROBLEMS,
        *CURVES,
        *FACET_PANELS,
        *QUERY_PANELS,
        *RESULT_PANELS,
        *SESSION_PANELS,
        LEDGER,
    )
}

PAGES: Mapping[str, Page] = {
    page.name: page for page in (TO_FIX, PLACES, BREAKDOWN, QUERY_PAGE, RESULT_PAGE, SESSION_PAGE)
}

#: The numbers that only some panels have, as the definitions page shows them.
DEFINITIONS: tuple[Mapping[str, str], ...] = (*OF_PROBLEMS, *OF_CURVES, *OF_QUERIES, *OF_SESSIONS)

#: What the first page shows of.
OVERVIEW_PANELS = (
    "days",
    "queries",
    "results",
    "positions",
    "modules",
    "unclicked",
    "empty",
    "excluded",
    "live",
)


def thresholds_of(page: Page | Panel) -> list[Threshold]:
    """Return the thresholds that the URL of *page* may change, each once."""
    panels = [page] if isinstance(page, Panel) else [PANELS[name] for name in page.panels]
    return list({each.name: each for panel in panels for each in panel.thresholds}.values())


def own_arguments(page: Page | Panel) -> list[str]:
    """Return the names of the arguments that only *page* understands."""
    needs = [page.needs] if page.needs else []
    return [*needs, *(each.name for each in thresholds_of(page))]


#: Path below the report → what its tab says.
NAVIGATION: Sequence[tuple[str, str]] = (
    ("", "Overview"),
    ("queries", "Queries"),
    ("results", "Results"),
    ("to-fix", "To fix"),
    ("places", "Positions"),
    ("breakdown", "Breakdown"),
    ("sessions", "Sessions"),
    ("live", "Live"),
    ("days", "Days"),
    ("excluded", "Not counted"),
    ("definitions", "Definitions"),
)
#: The tabs that one opens first, as many as a line holds; the others fold into a menu.
FIRST_TABS = 8
