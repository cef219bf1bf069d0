"""The answers of the report: a page, a JSON document or a CSV file of what was asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from werkzeug.wrappers import Response

from clickmw.catalog import (
    DEFINITIONS,
    FIRST_TABS,
    NAVIGATION,
    OVERVIEW_PANELS,
    PAGES,
    PANELS,
    thresholds_of,
)
from clickmw.errors import BadFilter
from clickmw.filters import COMPARISONS, FACETS, LABELS, MOST_ROWS, PERIODS, Question, named_period
from clickmw.keeping import sentences
from clickmw.login import ReportAccess
from clickmw.metrics import (
    definition_rows,
    figure_facts,
    figure_table,
    has_events,
    read_figures,
)
from clickmw.owner import TABS
from clickmw.panels import Page, Panel, Row, file_table, sort_rows
from clickmw.pictures import bars, day_chart, position_charts
from clickmw.remembering import remembering
from clickmw.scenes import Asked, ReportSettings, Scene, question_facts
from clickmw.setting_up import MARKUP
from clickmw.stores.base import DayRow, Filter, Totals
from clickmw.tables import write_csv, write_json
from clickmw.wording import clock, format_age, health_facts, odd_days, templates

#: The facets whose values the filter bar offers, besides modules.
CHOSEN = ("device", "language", "profile", "source", "trust")
OVERVIEW_ROWS = 10
PANEL_ROWS = 100
REFRESH_S = ("5", "10", "30")


class Show:
    """Makes the answers; ``health`` returns the ledger."""

    def __init__(
        self, settings: ReportSettings, access: ReportAccess, health: Callable[[], dict[str, Any]]
    ) -> None:
        self._settings = settings
        self._access = access
        self._health = health

    def __call__(self, scene: Scene) -> Response:
        """Return the answer to what *scene* asks for."""
        name = scene.asked.panel
        if name == "overview":
            return self._overview(scene)
        if name == "definitions":
            return self._definitions(scene)
        if name in PAGES:
            return self._composed(scene, PAGES[name])
        return self._panel(scene, PANELS[name])

    def page(self, asked: Asked, status: int, template: str, **context: Any) -> Response:
        """Return a page of the report's look."""
        text = (
            templates()
            .get_template(template)
            .render(
                root=asked.root,
                style=f"{asked.root}.css",
                script=f"{asked.root}.js",
                current="" if asked.panel == "overview" else asked.panel,
                panels=PANELS,
                tabs=NAVIGATION[:FIRST_TABS],
                folded=[*NAVIGATION[FIRST_TABS:], *(() if asked.share else TABS)],
                shared=asked.share is not None,
                signed_in=self._access.session(asked.request.environ) is not None,
                **context,
            )
        )
        content = text.encode("utf-8", "replace")
        return Response(content, status, content_type="text/html; charset=utf-8")

    def message(
        self, asked: Asked, status: int, title: str, sentence: str, hint: str = ""
    ) -> Response:
        """Return one sentence in the form that was asked for."""
        if asked.form == "json":
            return Response(
                write_json({"error": sentence}), status, content_type="application/json"
            )
        if asked.form == "csv":
            content = f"{sentence}\n".encode("utf-8", "replace")
            return Response(content, status, content_type="text/plain; charset=utf-8")
        more = {"title": title, "sentence": sentence, "hint": hint, "code": status}
        return self.page(asked, status, "message.html", **more)

    def _overview(self, scene: Scene) -> Response:
        totals = scene.reader.totals(scene.question.asked)
        if scene.asked.form == "html" and not _has_any(scene, totals):
            return self._nothing(scene)
        figures = read_figures(totals, self._totals_before(scene))
        if scene.asked.form == "csv":
            return _csv_answer(scene, *figure_table(figures))
        tables = {name: PANELS[name].rows(scene.look(OVERVIEW_ROWS)) for name in OVERVIEW_PANELS}
        if scene.asked.form == "json":
            return Response(
                write_json(
                    {
                        **question_facts(scene, OVERVIEW_PANELS),
                        "metrics": {each.metric.name: figure_facts(each) for each in figures},
                        **tables,
                        "health": self._health_for(scene.asked),
                        "definitions": definition_rows(),
                    }
                ),
                content_type="application/json",
            )
        return self.page(
            scene.asked,
            200,
            "overview.html",
            **self._frame(scene),
            figures=figures,
            tables=tables,
            bars={name: bars(rows, PANELS[name].bar) for name, rows in tables.items()},
            day_chart=day_chart(tables["days"], self._days_before(scene)),
            position_charts=position_charts(tables["positions"])[:1],
        )

    def _totals_before(self, scene: Scene) -> Totals | None:
        """Return the sums to compare with, None where there are none of all these days."""
        return scene.reader.totals(scene.question.asked_before()) if _comparable(scene) else None

    def _days_before(self, scene: Scene) -> list[DayRow]:
        """Return the days to draw behind those asked for; none where they were not recorded."""
        return scene.reader.daily(scene.question.asked_before()) if _comparable(scene) else []

    def _composed(self, scene: Scene, page: Page) -> Response:
        """Answer with a page of several panels; its CSV file is the one of its first panel."""
        if scene.asked.form == "csv":
            return self._panel(scene, PANELS[page.panels[0]])
        look = scene.look(OVERVIEW_ROWS)._replace(reader=remembering(scene.reader))
        facts = page.facts(look)
        tables = {name: PANELS[name].rows(look) for name in page.panels}
        if scene.asked.form == "json":
            asked_for = question_facts(scene, page.panels)
            answer = {"page": page.name, **asked_for, "facts": facts, **tables}
            return Response(write_json(answer), content_type="application/json")
        empty = not page.needs and not any(tables.values())
        if empty and not _has_any(scene, look.reader.totals(look.asked)):
            return self._nothing(scene)
        return self.page(
            scene.asked,
            200,
            page.template,
            **self._frame(scene),
            page=page,
            facts_of_page=facts,
            look=look,
            tables=tables,
            bars={name: bars(rows, PANELS[name].bar) for name, rows in tables.items()},
            thresholds=thresholds_of(page),
        )

    def _panel(self, scene: Scene, panel: Panel) -> Response:
        rows = panel.rows(scene.look(PANEL_ROWS))
        if scene.question.sort:
            if scene.question.sort.removeprefix("-") not in [c.key for c in panel.columns]:
                raise BadFilter(f"sort is one of {', '.join(c.key for c in panel.columns)}.")
            rows = sort_rows(rows, scene.question.sort)
        if scene.asked.form == "json":
            asked_for = question_facts(scene, [panel.name])
            answer = {"panel": panel.name, **asked_for, "rows": rows}
            return Response(write_json(answer), content_type="application/json")
        if scene.asked.form == "csv":
            return _csv_answer(scene, *file_table(panel, rows))
        if not rows and panel.name not in {"live", "excluded", "ledger"}:
            totals = scene.reader.totals(scene.question.asked)
            if not _has_any(scene, totals):
                return self._nothing(scene)
        limit = scene.question.limit or PANEL_ROWS
        return self.page(
            scene.asked,
            200,
            "panel.html",
            **self._frame(scene),
            panel=panel,
            look=scene.look(PANEL_ROWS),
            thresholds=list(panel.thresholds),
            rows=rows,
            bars=bars(rows, panel.bar),
            day_chart=(
                day_chart(rows, self._days_before(scene))
                if panel.name == "days" and not scene.question.sort
                else None
            ),
            more=min(5 * limit, MOST_ROWS)
            if panel.limited and _named(rows) == limit < MOST_ROWS
            else 0,
            limit=limit,
            refresh=_refresh(scene) if panel.name == "live" else "",
            beneath=self._beneath(scene, panel),
        )

    def _beneath(self, scene: Scene, panel: Panel) -> list[tuple[Panel, Any, Any]]:
        """Return the panels with their rows and bars that stand below *panel* on its page."""
        if panel.name != "live" or scene.asked.share is not None:
            return []
        ledger = PANELS["ledger"]
        rows = ledger.rows(scene.look(PANEL_ROWS))
        return [(ledger, rows, bars(rows, ledger.bar))]

    def _definitions(self, scene: Scene) -> Response:
        rows, kept = [*definition_rows(), *DEFINITIONS], sentences(self._settings)
        if scene.asked.form == "json":
            answer = {"definitions": rows, "kept": [each._asdict() for each in kept]}
            return Response(write_json(answer), content_type="application/json")
        if scene.asked.form == "csv":
            return _csv_answer(scene, list(rows[0]), [list(row.values()) for row in rows])
        frame = self._frame(scene)
        return self.page(scene.asked, 200, "definitions.html", **frame, defined=rows, kept=kept)

    def _nothing(self, scene: Scene) -> Response:
        """Say why there is nothing to show: no events ever, none in these days, none so filtered."""
        frame = self._frame(scene)
        question, span = scene.question, frame["span"]
        latest = ""
        if span is not None:
            days = question.period.ending(span[1])
            latest = question.again(day_range=days.day_range())
        inside = span is not None and (
            span[0] <= question.period.last_day and question.period.first_day <= span[1]
        )
        filtered = inside and _narrowed(question)
        return self.page(
            scene.asked,
            200,
            "nothing.html",
            **frame,
            latest=latest,
            filtered=filtered,
            only_tests=any(scene.reader.totals(question.asked).excluded.values()),
            markup=MARKUP,
            unfiltered=question.again(**dict.fromkeys(FACETS)),
        )

    def _frame(self, scene: Scene) -> dict[str, Any]:
        """Return what the head of every panel's page shows."""
        question, health = scene.question, self._health_for(scene.asked)
        period, fixed = question.period, scene.asked.site
        after, compared = period.after(scene.today), question.compared
        span = scene.reader.day_span(question.asked.site)
        return {
            "span": span,
            "comparable": _comparable(scene),
            "question": question,
            "period": period,
            "before": compared,
            "running": period.first_day <= scene.today <= period.last_day,
            "presets": [
                (name, label, question.again(period=name), named_period(name, scene.today)[:2])
                for name, label in PERIODS.items()
            ],
            "comparisons": [
                (name, label, question.again(compare=name)) for name, label in COMPARISONS.items()
            ],
            "choices": self._choices(scene),
            "labels": LABELS,
            "odd_days": odd_days((period.first_day, period.last_day), scene.zone),
            "earlier": question.again(day_range=period.before().day_range()),
            "later": question.again(day_range=after.day_range()) if after else None,
            "chips": [
                chip for chip in question.chips() if not (fixed and chip[0] == LABELS["site"])
            ],
            "sites": scene.sites,
            "modules": scene.modules,
            "zone": scene.zone,
            "today": scene.today,
            "health": health,
            "facts": [] if scene.asked.share else health_facts(health),
            "clock": clock(scene.zone),
            "health_age": format_age,
        }

    def _health_for(self, asked: Asked) -> dict[str, Any]:
        """Return the ledger; by a shared link the status alone."""
        health = self._health()
        return {"status": health.get("status")} if asked.share else health

    def _choices(self, scene: Scene) -> dict[str, list[str]]:
        """Return the values of each facet that the site has in these days, and those in force."""
        question, reader = scene.question, scene.reader
        asked = question.asked
        known = Filter(first_day=asked.first_day, last_day=asked.last_day, site=asked.site)
        found = {name: [row.value for row in reader.facet(known, name)] for name in CHOSEN}
        found = {"module": [row.module_code for row in reader.modules(known)], **found}
        return {
            name: list(dict.fromkeys(filter(None, [*values, question.facets.get(name)])))
            for name, values in found.items()
        }


def _comparable(scene: Scene) -> bool:
    """Return whether there are days to compare with, and all of them were recorded."""
    compared = scene.question.compared
    span = scene.reader.day_span(scene.question.asked.site)
    return bool(span and compared and span[0] <= compared.first_day)


def _named(rows: Sequence[Row]) -> int:
    """Return how many of *rows* are of one thing: what is not named is summed up in one more."""
    return sum(not row.get("unnamed_queries") for row in rows)


def _narrowed(question: Question) -> bool:
    return bool(set(question.facets) - {"site", "robots"})


def _has_any(scene: Scene, totals: Totals) -> bool:
    """Return whether the question has anything to show; what is not counted no filter narrows."""
    return has_events(replace(totals, excluded={}) if _narrowed(scene.question) else totals)


def _csv_answer(scene: Scene, header: list[str], rows: list[list[Any]]) -> Response:
    period = scene.question.period
    name = f"clickmw-{scene.asked.panel}-{period.first_day}-{period.last_day}.csv"
    return download(name, write_csv(header, rows))


def download(name: str, content: Any) -> Response:
    """Return *content* as a CSV file of this name."""
    response = Response(content, content_type="text/csv; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def _refresh(scene: Scene) -> str:
    given = scene.asked.request.args.get("refresh", "")
    if given and given not in REFRESH_S:
        raise BadFilter(f"refresh is one of {', '.join(REFRESH_S)} (seconds).")
    return given
