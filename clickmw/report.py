"""The report pages and files: everything below ``{prefix}/report``."""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from datetime import date
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from urllib.parse import parse_qsl, quote, urlencode

from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Request, Response

from clickmw.errors import StoreError
from clickmw.filters import (
    FACETS,
    MOST_ROWS,
    PERIODS,
    BadFilter,
    Question,
    named_period,
    read_question,
)
from clickmw.login import LINK_S, ReportAccess, is_same_origin
from clickmw.metrics import (
    METRICS,
    definition_rows,
    figure_facts,
    figure_table,
    has_events,
    read_figures,
)
from clickmw.module_codes import MODULE_CODES
from clickmw.panels import PANELS, Look, Panel, file_table, sort_rows
from clickmw.pictures import bars, day_chart, position_charts
from clickmw.sites import Sites
from clickmw.stores.base import Reader
from clickmw.tables import write_csv, write_json
from clickmw.visitors import is_prefetch
from clickmw.wording import clock, format_age, health_facts, templates

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
NAVIGATION: Sequence[tuple[str, str]] = (
    ("", "Overview"),
    ("queries", "Queries"),
    ("unclicked", "Without clicks"),
    ("empty", "Without results"),
    ("results", "Results"),
    ("positions", "Positions"),
    ("modules", "Modules"),
    ("days", "Days"),
    ("excluded", "Not counted"),
    ("live", "Live"),
    ("definitions", "Definitions"),
)
OVERVIEW_ROWS = 10
PANEL_ROWS = 100
REFRESH_S = ("5", "10", "30")
_ROUTE = re.compile(r"/([a-z]*)(?:\.(json|csv))?", re.ASCII)
_LARGEST_FORM = 8192


class ReportSettings(Protocol):
    """The settings that the report pages read."""

    @property
    def prefix(self) -> str: ...
    @property
    def time_zone(self) -> str: ...
    @property
    def sites(self) -> Sites: ...


class Asked(NamedTuple):
    """One request to the report, taken apart. ``form`` is html, json or csv."""

    request: Request
    root: str
    panel: str
    form: str


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
        limit = self.question.limit or rows
        return Look(self.reader, self.question.asked, limit, self.modules, self.today)


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
    ) -> None:
        self._settings = settings
        self._access = access
        self._open_reader = open_reader
        self._health = health
        self._today = today

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
            return self._message(asked, 503, "The store cannot be read now", str(error), STORE_HINT)
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
        if asked.request.method not in {"GET", "HEAD"}:
            return self._wrong_method(asked, "GET, HEAD")
        if "login" in asked.request.args:
            return self._one_time_link(asked)
        if not self._access.may_see(asked.request.environ):
            return self._refuse(asked)
        if asked.panel not in PANELS and asked.panel not in {"overview", "definitions"}:
            return self._message(asked, 404, "No such page", "The report has no page of this name.")
        return self._show(asked)

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
        pairs = [pair for pair in asked.request.args.items(multi=True) if pair[0] != "login"]
        name = "" if asked.panel == "overview" else asked.panel
        response = _redirect(f"{asked.root}/{_way_back(f'{name}?{urlencode(pairs)}')}", 303)
        if not signed_in:
            response.headers.add("Set-Cookie", self._access.session_cookie(environ))
        return response

    def _refuse(self, asked: Asked, *, wrong: str = "", back: str | None = None) -> Response:
        """Answer someone who may not see the report: how to get in, or how to open it."""
        if self._access.throttled():
            response = self._message(
                asked, 429, "Too many wrong passwords", "Wait a minute, then try again."
            )
            response.headers["Retry-After"] = "60"
            return response
        if self._access.closed and not wrong:
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
            return self._panel(scene, PANELS[asked.panel])

    def _scene(self, asked: Asked, reader: Reader) -> Scene:
        configured = {site.handle: site for site in self._settings.sites.all}
        sites = sorted({*reader.sites(), *configured})
        arguments = dict(asked.request.args.lists())
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
        question = read_question(arguments, today=today)
        return Scene(asked, question, reader, sites, modules, today, zone)

    def _overview(self, scene: Scene) -> Response:
        totals = scene.reader.totals(scene.question.asked)
        if scene.asked.form == "html" and not has_events(totals):
            return self._nothing(scene)
        figures = read_figures(totals, scene.reader.totals(scene.question.asked_before()))
        if scene.asked.form == "csv":
            return _csv_answer(scene, *figure_table(figures))
        tables = {name: PANELS[name].rows(scene.look(OVERVIEW_ROWS)) for name in PANELS}
        if scene.asked.form == "json":
            return Response(
                write_json(
                    {
                        **_question_facts(scene),
                        "metrics": {each.metric.name: figure_facts(each) for each in figures},
                        **tables,
                        "health": self._health(),
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
            day_chart=day_chart(tables["days"]),
            position_charts=position_charts(tables["positions"])[:1],
        )

    def _panel(self, scene: Scene, panel: Panel) -> Response:
        rows = panel.rows(scene.look(PANEL_ROWS))
        if scene.question.sort:
            if scene.question.sort.removeprefix("-") not in [c.key for c in panel.columns]:
                raise BadFilter(f"sort is one of {', '.join(c.key for c in panel.columns)}.")
            rows = sort_rows(rows, scene.question.sort)
        if scene.asked.form == "json":
            answer = {"panel": panel.name, **_question_facts(scene), "rows": rows}
            return Response(write_json(answer), content_type="application/json")
        if scene.asked.form == "csv":
            return _csv_answer(scene, *file_table(panel, rows))
        if not rows and panel.name not in {"live", "excluded"}:
            totals = scene.reader.totals(scene.question.asked)
            if not has_events(totals):
                return self._nothing(scene)
        limit = scene.question.limit or PANEL_ROWS
        return self._page(
            scene.asked,
            200,
            "panel.html",
            **self._frame(scene),
            panel=panel,
            rows=rows,
            bars=bars(rows, panel.bar),
            day_chart=day_chart(rows) if panel.name == "days" else None,
            position_charts=position_charts(rows) if panel.name == "positions" else [],
            more=min(5 * limit, MOST_ROWS)
            if panel.limited and len(rows) == limit < MOST_ROWS
            else 0,
            limit=limit,
            refresh=_refresh(scene) if panel.name == "live" else "",
        )

    def _definitions(self, scene: Scene) -> Response:
        rows = definition_rows()
        if scene.asked.form == "json":
            return Response(write_json({"definitions": rows}), content_type="application/json")
        if scene.asked.form == "csv":
            return _csv_answer(scene, list(rows[0]), [list(row.values()) for row in rows])
        frame = self._frame(scene)
        return self._page(scene.asked, 200, "definitions.html", **frame, metrics=METRICS)

    def _nothing(self, scene: Scene) -> Response:
        """Say why there is nothing to show: no events ever, none in these days, none so filtered."""
        frame = self._frame(scene)
        question, span = scene.question, frame["span"]
        latest = ""
        if span is not None:
            days = question.period.ending(span[1])
            latest = question.query(day_range=days.day_range())
        inside = span is not None and (
            span[0] <= question.period.last_day and question.period.first_day <= span[1]
        )
        filtered = inside and bool(set(question.facets) - {"site", "robots"})
        return self._page(
            scene.asked,
            200,
            "nothing.html",
            **frame,
            latest=latest,
            filtered=filtered,
            unfiltered=question.query(**dict.fromkeys(FACETS)),
        )

    # Pages

    def _frame(self, scene: Scene) -> dict[str, Any]:
        """Return what the head of every panel's page shows."""
        question, health = scene.question, self._health()
        period = question.period
        after = period.after(scene.today)
        span = scene.reader.day_span(question.asked.site)
        return {
            "span": span,
            "comparable": span is not None and span[0] <= period.before().first_day,
            "question": question,
            "period": period,
            "before": period.before(),
            "running": period.first_day <= scene.today <= period.last_day,
            "presets": [
                (name, label, question.query(period=name), named_period(name, scene.today)[:2])
                for name, (label, _) in PERIODS.items()
            ],
            "earlier": question.query(day_range=period.before().day_range()),
            "later": question.query(day_range=after.day_range()) if after else None,
            "chips": question.chips(),
            "sites": scene.sites,
            "modules": scene.modules,
            "zone": scene.zone,
            "today": scene.today,
            "health": health,
            "facts": health_facts(health),
            "clock": clock(scene.zone),
            "health_age": format_age,
        }

    def _page(self, asked: Asked, status: int, template: str, **context: Any) -> Response:
        text = (
            templates()
            .get_template(template)
            .render(
                root=asked.root,
                style=f"{asked.root}.css",
                current="" if asked.panel == "overview" else asked.panel,
                panels=PANELS,
                navigation=NAVIGATION,
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


STORE_HINT = "Your site keeps working and events stay in the journal. Next step: clickmw doctor"


# Rows as files


def _escaped(environ: WSGIEnvironment) -> WSGIEnvironment:
    """Return *environ* with a query string in ASCII: raw bytes that are no UTF-8 would raise later."""
    text: str = environ.get("QUERY_STRING", "")
    if text.isascii():
        return environ
    return {**environ, "QUERY_STRING": quote(text, safe=bytes(range(128)), encoding="latin-1")}


def _question_facts(scene: Scene) -> dict[str, Any]:
    period = scene.question.period
    before = period.before()
    return {
        "period": {"first_day": period.first_day, "last_day": period.last_day},
        "previous_period": {"first_day": before.first_day, "last_day": before.last_day},
        "filters": dict(scene.question.facets),
        "time_zone": scene.zone,
    }


def _csv_answer(scene: Scene, header: list[str], rows: list[list[Any]]) -> Response:
    period = scene.question.period
    name = f"clickmw-{scene.asked.panel}-{period.first_day}-{period.last_day}.csv"
    response = Response(write_csv(header, rows), content_type="text/csv; charset=utf-8")
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


def _way_back(back: str) -> str:
    """Return *back* (panel and query string) if the report has such a page; it never leaves it."""
    path, _, query = back.partition("?")
    name, _, suffix = path.partition(".")
    if suffix not in {"", "json", "csv"} or (name not in PANELS and name != "definitions"):
        path = ""
    pairs = parse_qsl(query) if len(query) <= 4096 else []
    return f"{path}?{urlencode(pairs)}" if pairs else path
