"""The report pages and files: everything below ``{prefix}/report``."""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from urllib.parse import parse_qsl, quote, urlencode

from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Request, Response

from clickmw.catalog import (
    DEFINITIONS,
    FIRST_TABS,
    NAVIGATION,
    OVERVIEW_PANELS,
    PAGES,
    PANELS,
    own_arguments,
    thresholds_of,
)
from clickmw.errors import BadFilter, StoreError
from clickmw.filters import (
    COMPARISONS,
    FACETS,
    LABELS,
    MOST_ROWS,
    PERIODS,
    Period,
    Question,
    named_period,
    read_question,
)
from clickmw.keeping import Keeping, sentences
from clickmw.login import LINK_S, ReportAccess, is_same_origin
from clickmw.metrics import (
    definition_rows,
    figure_facts,
    figure_table,
    has_events,
    read_figures,
)
from clickmw.module_codes import MODULE_CODES
from clickmw.owner import NO_INSTALL, OWNED, TABS, Install, Owner
from clickmw.panels import Look, Page, Panel, file_table, sort_rows
from clickmw.pictures import bars, day_chart, position_charts
from clickmw.remembering import remembering
from clickmw.setting_up import MARKUP
from clickmw.shares import Share
from clickmw.sites import Sites
from clickmw.stores.base import DayRow, Filter, Reader, Totals
from clickmw.tables import write_csv, write_json
from clickmw.visitors import is_prefetch
from clickmw.wording import clock, format_age, health_facts, odd_days, templates

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

log = logging.getLogger("clickmw")

#: On every answer, whatever it is.
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self' data:; script-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
    "X-Robots-Tag": "noindex, nofollow",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
#: The facets whose values the filter bar offers, besides modules.
CHOSEN = ("device", "language", "profile", "source", "trust")
OVERVIEW_ROWS = 10
PANEL_ROWS = 100
REFRESH_S = ("5", "10", "30")
READING = "GET, HEAD"
_WAYS_BACK = frozenset((*PANELS, *PAGES, "definitions", "setup", "shares"))
_ROUTE = re.compile(r"/([a-z-]*)(?:\.(json|csv))?", re.ASCII)
_LARGEST_FORM = 8192


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


class Report:
    """The WSGI callable behind ``{prefix}/report``.

    ``open_reader`` raises :class:`StoreError` when the store cannot be read; ``today`` says which
    calendar day it is at a site (None: the install's).
    """

    def __init__(
        self,
        settings: ReportSettings,
        access: ReportAccess,
        open_reader: Callable[[], Reader],
        health: Callable[[], dict[str, Any]],
        today: Callable[[str | None], date],
        install: Install = NO_INSTALL,
    ) -> None:
        self._settings = settings
        self._access = access
        self._open_reader = open_reader
        self._health = health
        self._today = today
        self._owner = Owner(settings, access, install)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        request = Request(_escaped(environ))
        request.max_content_length = _LARGEST_FORM
        root = f"{request.root_path.rstrip('/')}{self._settings.prefix}/report"
        response = self._answer(request, quote(root, safe="/~"))
        response.headers.extend([(k, v) for k, v in HEADERS.items() if k not in response.headers])
        return response(environ, start_response)

    def _answer(self, request: Request, root: str) -> Response:
        """Return the answer to *request*; no exception leaves here."""
        asked = Asked(request, root, "", "html")
        try:
            asked = self._take_apart(request, root)
            return self._route(asked)
        except BadFilter as error:
            return self._message(asked, 400, "This address asks for something else", str(error))
        except StoreError as error:
            return self._message(asked, 503, STORE_TITLE, str(error), STORE_HINT)
        except HTTPException as error:
            return self._message(asked, error.code or 400, "That did not work", error.name)
        except Exception:
            name = secrets.token_hex(4)
            log.exception("report failed (%s)", name)
            return self._message(asked, 500, "The report failed", f"The log has it as {name}.")

    def _take_apart(self, request: Request, root: str) -> Asked:
        path = request.path.removeprefix(f"{self._settings.prefix}/report")
        match = _ROUTE.fullmatch(path)
        if not match:
            return Asked(request, root, "" if path == "" else "?", "html")
        return Asked(request, root, match[1] or "overview", match[2] or "html")

    def _route(self, asked: Asked) -> Response:
        if asked.panel == "":
            return _redirect(f"{asked.root}/{_query_of(asked.request)}", 308)
        if asked.panel in {"login", "logout"} and asked.form == "html":
            return self._session(asked)
        allowed = OWNED.get(asked.panel, READING)
        if asked.request.method not in allowed.split(", "):
            return self._wrong_method(asked, allowed)
        if allowed == READING and "login" in asked.request.args:
            return self._one_time_link(asked)
        if allowed == READING and "share" in asked.request.args:
            return self._shared_link(asked)
        if self._access.may_see(asked.request.environ):
            return self._own(asked) if asked.panel in OWNED else self._read(asked)
        share = self._access.share(asked.request.environ)
        if share is None:
            return self._refuse(asked)
        return self._read_shared(asked._replace(share=share))

    def _read(self, asked: Asked) -> Response:
        if asked.panel not in {*PANELS, *PAGES, "overview", "definitions"}:
            return self._message(asked, 404, "No such page", "The report has no page of this name.")
        return self._show(asked)

    def _read_shared(self, asked: Asked) -> Response:
        """Answer somebody who came by a shared link: the report, and nothing of the install."""
        if asked.panel in {*OWNED, "ledger"}:
            return self._message(asked, 403, "Not by a shared link", "It shows the report alone.")
        try:
            return self._read(asked)
        except StoreError:
            return self._message(asked, 503, STORE_TITLE, "Please try again in a while.")

    def _own(self, asked: Asked) -> Response:
        """Answer with a page that is the owner's alone, or do what its form asks."""
        request = asked.request
        if asked.form != "html" and OWNED[asked.panel] != READING:
            return self._message(asked, 404, "No such page", "A form has no file.")
        if request.method == "POST" and not is_same_origin(request.environ):
            return self._message(asked, 403, "Refused", "This form was sent from another site.")
        try:
            sheet = self._owner.answer(asked.panel, request.environ, asked.root, request.form)
        except OSError as error:
            return self._message(asked, 503, "The journal folder cannot be written", str(error))
        if sheet is None:
            return _redirect(f"{asked.root}/shares", 303)
        if asked.form == "json":
            return Response(sheet.as_json(), content_type="application/json")
        if asked.form == "csv":
            return _download(f"clickmw-{sheet.name}.csv", sheet.as_csv())
        moment = clock(self._settings.time_zone)
        return self._page(asked, 200, sheet.template, clock=moment, **sheet.context)

    # Sessions

    def _session(self, asked: Asked) -> Response:
        environ = asked.request.environ
        if asked.request.method in {"GET", "HEAD"} and asked.panel == "login":
            return _redirect(f"{asked.root}/", 303)
        if asked.request.method != "POST":
            return self._wrong_method(asked, "POST")
        if not is_same_origin(environ):
            return self._message(asked, 403, "Refused", "This form was sent from another site.")
        if asked.panel == "logout":
            response = _redirect(f"{asked.root}/", 303)
            response.headers.add("Set-Cookie", self._access.end_session(environ))
            return response
        return self._log_in(asked)

    def _log_in(self, asked: Asked) -> Response:
        form = asked.request.form
        if not self._access.check_password(form.get("password", "")):
            wrong = "" if self._access.throttled() else "That is not the password."
            return self._refuse(asked, wrong=wrong, back=form.get("back", ""))
        response = _redirect(f"{asked.root}/{_way_back(form.get('back', ''))}", 303)
        response.headers.add("Set-Cookie", self._access.session_cookie(asked.request.environ))
        return response

    def _one_time_link(self, asked: Asked) -> Response:
        environ = asked.request.environ
        if asked.request.method == "HEAD" or is_prefetch(asked.request.environ):
            return Response(status=425)
        signed_in = self._access.session(environ) is not None
        if not signed_in and not self._access.use_link(asked.request.args["login"]):
            minutes = LINK_S // 60
            wrong = f"This login link was used before, or is older than {minutes} minutes."
            return self._refuse(asked, wrong=wrong)
        response = _redirect(_without(asked, "login"), 303)
        if not signed_in:
            response.headers.add("Set-Cookie", self._access.session_cookie(environ))
        return response

    def _shared_link(self, asked: Asked) -> Response:
        """Begin to read by a shared link; whoever may see all goes on as before."""
        environ = asked.request.environ
        share = self._access.shares.follow(asked.request.args["share"])
        if share is None:
            return self._message(asked, 403, "This link shows nothing", SHARE_OVER)
        response = _redirect(_without(asked, "share"), 303)
        if not self._access.may_see(environ):
            response.headers.add("Set-Cookie", self._access.share_cookie(environ, share))
        return response

    def _refuse(self, asked: Asked, *, wrong: str = "", back: str | None = None) -> Response:
        """Answer someone who may not see the report: how to get in, or how to open it."""
        if self._access.throttled():
            response = self._message(
                asked, 429, "Too many wrong passwords", "Wait a minute, then try again."
            )
            response.headers["Retry-After"] = "60"
            return response
        if not wrong and self._access.had_share(asked.request.environ):
            wrong = SHARE_OVER
        if self._access.closed and not wrong:
            if asked.form != "html":
                return self._message(asked, 403, "The report is closed", CLOSED)
            return self._page(asked, 403, "closed.html")
        if not self._access.has_password:
            reason = wrong or "The site's own check (report_auth) did not let this request in."
            return self._message(asked, 403, "Not for everybody", reason)
        if asked.form != "html" or "Authorization" in asked.request.headers:
            response = self._message(asked, 401, "Password needed", "Send it as HTTP Basic.")
            response.headers["WWW-Authenticate"] = 'Basic realm="report", charset="UTF-8"'
            return response
        if back is None:
            name = "" if asked.panel == "overview" else asked.panel
            back = f"{name}{_query_of(asked.request)}"
        return self._page(asked, 403, "login.html", wrong=wrong, back=_way_back(back))

    def _wrong_method(self, asked: Asked, allowed: str) -> Response:
        response = self._message(asked, 405, "Wrong method", f"This address takes {allowed}.")
        response.headers["Allow"] = allowed
        return response

    # Panels

    def _show(self, asked: Asked) -> Response:
        with closing(self._open_reader()) as reader:
            scene = self._scene(asked, reader)
            if asked.panel == "overview":
                return self._overview(scene)
            if asked.panel == "definitions":
                return self._definitions(scene)
            if asked.panel in PAGES:
                return self._composed(scene, PAGES[asked.panel])
            return self._panel(scene, PANELS[asked.panel])

    def _scene(self, asked: Asked, reader: Reader) -> Scene:
        configured = {site.handle: site for site in self._settings.sites.all}
        sites = [asked.site] if asked.site else sorted({*reader.sites(), *configured})
        arguments = dict(asked.request.args.lists())
        if asked.site and not arguments.get("site", [""])[0].strip():
            arguments["site"] = [asked.site]
        handle = next(iter(arguments.get("site", [])), "").strip() or None
        if handle is not None and handle not in sites:
            raise BadFilter("There is no site of this name.")
        chosen = [site for site in configured.values() if handle in {None, site.handle}]
        only = chosen[0] if len(chosen) == 1 else None
        zone = (only.time_zone if only else None) or self._settings.time_zone
        today = self._today(only.handle if only else handle)
        modules = dict(MODULE_CODES)
        for site in chosen:
            modules.update(site.modules)
        page = PAGES.get(asked.panel) or PANELS.get(asked.panel)
        question = read_question(arguments, today=today, own=own_arguments(page) if page else ())
        if page and page.needs and not question.own.get(page.needs, "").strip():
            raise BadFilter(f"Say what this is about: ?{page.needs}=…")
        return Scene(asked, question, reader, sites, modules, today, zone)

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
                        **_question_facts(scene, OVERVIEW_PANELS),
                        "metrics": {each.metric.name: figure_facts(each) for each in figures},
                        **tables,
                        "health": self._health_for(scene.asked),
                        "definitions": definition_rows(),
                    }
                ),
                content_type="application/json",
            )
        return self._page(
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
        """Return the sums to compare with, None where the URL wants no comparison."""
        question = scene.question
        return scene.reader.totals(question.asked_before()) if question.compared else None

    def _days_before(self, scene: Scene) -> list[DayRow]:
        """Return the days to draw behind those asked for; none where they were not recorded."""
        compared = scene.question.compared
        span = scene.reader.day_span(scene.question.asked.site)
        if compared is None or span is None or span[0] > compared.first_day:
            return []
        return scene.reader.daily(scene.question.asked_before())

    def _composed(self, scene: Scene, page: Page) -> Response:
        """Answer with a page of several panels; its CSV file is the one of its first panel."""
        if scene.asked.form == "csv":
            return self._panel(scene, PANELS[page.panels[0]])
        look = scene.look(OVERVIEW_ROWS)._replace(reader=remembering(scene.reader))
        facts = page.facts(look)
        tables = {name: PANELS[name].rows(look) for name in page.panels}
        if scene.asked.form == "json":
            asked_for = _question_facts(scene, page.panels)
            answer = {"page": page.name, **asked_for, "facts": facts, **tables}
            return Response(write_json(answer), content_type="application/json")
        empty = not page.needs and not any(tables.values())
        if empty and not _has_any(scene, look.reader.totals(look.asked)):
            return self._nothing(scene)
        return self._page(
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
            asked_for = _question_facts(scene, [panel.name])
            answer = {"panel": panel.name, **asked_for, "rows": rows}
            return Response(write_json(answer), content_type="application/json")
        if scene.asked.form == "csv":
            return _csv_answer(scene, *file_table(panel, rows))
        if not rows and panel.name not in {"live", "excluded", "ledger"}:
            totals = scene.reader.totals(scene.question.asked)
            if not _has_any(scene, totals):
                return self._nothing(scene)
        limit = scene.question.limit or PANEL_ROWS
        return self._page(
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
            if panel.limited and len(rows) == limit < MOST_ROWS
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
        return self._page(scene.asked, 200, "definitions.html", **frame, defined=rows, kept=kept)

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
        return self._page(
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

    # Pages

    def _frame(self, scene: Scene) -> dict[str, Any]:
        """Return what the head of every panel's page shows."""
        question, health = scene.question, self._health_for(scene.asked)
        period, fixed = question.period, scene.asked.site
        after, compared = period.after(scene.today), question.compared
        span = scene.reader.day_span(question.asked.site)
        return {
            "span": span,
            "comparable": bool(span and compared and span[0] <= compared.first_day),
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

    def _page(self, asked: Asked, status: int, template: str, **context: Any) -> Response:
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

    def _message(
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
        return self._page(asked, status, "message.html", **more)


STORE_TITLE = "The store cannot be read now"
STORE_HINT = "Your site keeps working and events stay in the journal. Next step: clickmw doctor"
SHARE_OVER = "A shared link ends on its day or when it is withdrawn. Ask for a new one."
CLOSED = "The report is closed: nobody was given access yet."


# What there is to show


def _narrowed(question: Question) -> bool:
    return bool(set(question.facets) - {"site", "robots"})


def _has_any(scene: Scene, totals: Totals) -> bool:
    """Return whether the question has anything to show; what is not counted no filter narrows."""
    return has_events(replace(totals, excluded={}) if _narrowed(scene.question) else totals)


# Rows as files


def _escaped(environ: WSGIEnvironment) -> WSGIEnvironment:
    """Return *environ* with a query string in ASCII: raw bytes that are no UTF-8 would raise later."""
    text: str = environ.get("QUERY_STRING", "")
    if text.isascii():
        return environ
    return {**environ, "QUERY_STRING": quote(text, safe=bytes(range(128)), encoding="latin-1")}


def _question_facts(scene: Scene, panels: Sequence[str]) -> dict[str, Any]:
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


def _csv_answer(scene: Scene, header: list[str], rows: list[list[Any]]) -> Response:
    period = scene.question.period
    name = f"clickmw-{scene.asked.panel}-{period.first_day}-{period.last_day}.csv"
    return _download(name, write_csv(header, rows))


def _download(name: str, content: Any) -> Response:
    response = Response(content, content_type="text/csv; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def _refresh(scene: Scene) -> str:
    given = scene.asked.request.args.get("refresh", "")
    if given and given not in REFRESH_S:
        raise BadFilter(f"refresh is one of {', '.join(REFRESH_S)} (seconds).")
    return given


# Ways


def _redirect(location: str, status: int) -> Response:
    return Response(status=status, headers={"Location": location})


def _query_of(request: Request) -> str:
    """Return the request's query string, written anew, with its question mark."""
    pairs = list(request.args.items(multi=True))
    return f"?{urlencode(pairs)}" if pairs else ""


def _without(asked: Asked, argument: str) -> str:
    """Return the address of the page asked for, without *argument*."""
    pairs = [pair for pair in asked.request.args.items(multi=True) if pair[0] != argument]
    name = "" if asked.panel == "overview" else asked.panel
    return f"{asked.root}/{_way_back(f'{name}?{urlencode(pairs)}')}"


def _way_back(back: str) -> str:
    """Return *back* (panel and query string) if the report has such a page; it never leaves it."""
    path, _, query = back.partition("?")
    name, _, suffix = path.partition(".")
    if suffix not in {"", "json", "csv"} or name not in _WAYS_BACK:
        path = ""
    pairs = parse_qsl(query) if len(query) <= 4096 else []
    return f"{path}?{urlencode(pairs)}" if pairs else path
