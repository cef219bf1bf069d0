"""What one request to the report asks for, and what all that is shown to it shares."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any, NamedTuple, Protocol

from werkzeug.wrappers import Request

from clickmw.catalog import PAGES, PANELS, own_arguments
from clickmw.errors import BadFilter
from clickmw.filters import Period, Question, read_question
from clickmw.keeping import Keeping
from clickmw.module_codes import MODULE_CODES
from clickmw.panels import Look
from clickmw.shares import Share
from clickmw.sites import Sites
from clickmw.stores.base import Reader


class ReportSettings(Keeping, Protocol):
    """The settings that the report pages read."""

    @property
    def prefix(self) -> str: ...
    @property
    def time_zone(self) -> str: ...
    @property
    def sites(self) -> Sites: ...


class Asked(NamedTuple):
    """One request to the report, taken apart. ``form`` is html, json or csv.

    ``share`` is the shared link by which it may read; None: it may see all.
    """

    request: Request
    root: str
    panel: str
    form: str
    share: Share | None = None

    @property
    def site(self) -> str:
        """The handle of the one site that may be shown, "" for all."""
        return self.share.site if self.share else ""


class Scene(NamedTuple):
    """What every panel of one answer shares."""

    asked: Asked
    question: Question
    reader: Reader
    sites: list[str]
    modules: Mapping[str, str]
    today: date
    zone: str

    def look(self, rows: int) -> Look:
        """Return what a panel reads with; the URL's ``limit`` beats *rows*."""
        question, own = self.question, self.question.own
        return Look(
            reader=self.reader,
            asked=question.asked,
            limit=question.limit or rows,
            modules=self.modules,
            today=self.today,
            before=question.asked_before(),
            subject=own.get("query") or own.get("url") or "",
            given=own,
        )


def read_scene(
    asked: Asked, reader: Reader, settings: ReportSettings, today_at: Callable[[str | None], date]
) -> Scene:
    """Return what the address asks for; :class:`BadFilter` says what of it is wrong."""
    configured = {site.handle: site for site in settings.sites.all}
    sites = [asked.site] if asked.site else sorted({*reader.sites(), *configured})
    arguments = dict(asked.request.args.lists())
    if asked.site and not arguments.get("site", [""])[0].strip():
        arguments["site"] = [asked.site]
    handle = next(iter(arguments.get("site", [])), "").strip() or None
    if handle is not None and handle not in sites:
        raise BadFilter("There is no site of this name.")
    chosen = [site for site in configured.values() if handle in {None, site.handle}]
    only = chosen[0] if len(chosen) == 1 else None
    zone = (only.time_zone if only else None) or settings.time_zone
    today = today_at(only.handle if only else handle)
    modules = dict(MODULE_CODES)
    for site in chosen:
        modules.update(site.modules)
    page = PAGES.get(asked.panel) or PANELS.get(asked.panel)
    question = read_question(arguments, today=today, own=own_arguments(page) if page else ())
    if page and page.needs and not question.own.get(page.needs, "").strip():
        raise BadFilter(f"Say what this is about: ?{page.needs}=…")
    question = replace(question, least_visitors=settings.min_visitors)
    return Scene(asked, question, reader, sites, modules, today, zone)


def question_facts(scene: Scene, panels: Sequence[str]) -> dict[str, Any]:
    """Return what was asked, and which of the filters do not narrow one of the *panels*."""
    question = scene.question
    ignored = {name: PANELS[name].ignored([*question.facets]) for name in panels}
    return {
        "period": _days_of(question.period),
        "previous_period": _days_of(question.compared) if question.compared else None,
        "filters": dict(question.facets),
        "ignored_filters": {name: filters for name, filters in ignored.items() if filters},
        "notes": question.notes(),
        "time_zone": scene.zone,
    }


def _days_of(period: Period) -> dict[str, date]:
    return {"first_day": period.first_day, "last_day": period.last_day}
