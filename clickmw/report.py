"""The report pages and files: everything below ``{prefix}/report``."""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from datetime import date
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, urlencode

from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Request, Response

from clickmw.catalog import (
    PAGES,
    PANELS,
)
from clickmw.errors import BadFilter, StoreError
from clickmw.login import LINK_S, ReportAccess, is_same_origin
from clickmw.owner import NO_INSTALL, OWNED, Install, Owner
from clickmw.scenes import Asked, ReportSettings, read_scene
from clickmw.showing import Show, download
from clickmw.stores.base import Reader
from clickmw.visitors import is_prefetch
from clickmw.wire import mount_path
from clickmw.wording import clock

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
READING = "GET, HEAD"
_WAYS_BACK = frozenset((*PANELS, *PAGES, "definitions", "setup", "shares"))
_ROUTE = re.compile(r"/([a-z-]*)(?:\.(json|csv))?", re.ASCII)
_LARGEST_FORM = 8192


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
        self._show = Show(settings, access, health)
        self._today = today
        self._owner = Owner(settings, access, install)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        request = Request(_escaped(environ))
        request.max_content_length = _LARGEST_FORM
        root = f"{mount_path(environ.get('SCRIPT_NAME', ''))}{self._settings.prefix}/report"
        response = self._answer(request, root)
        response.headers.extend([(k, v) for k, v in HEADERS.items() if k not in response.headers])
        return response(environ, start_response)

    def _answer(self, request: Request, root: str) -> Response:
        """Return the answer to *request*; no exception leaves here."""
        asked = Asked(request, root, "", "html")
        try:
            asked = self._take_apart(request, root)
            return self._route(asked)
        except BadFilter as error:
            return self._show.message(
                asked, 400, "This address asks for something else", str(error)
            )
        except StoreError as error:
            return self._show.message(asked, 503, STORE_TITLE, str(error), STORE_HINT)
        except HTTPException as error:
            return self._show.message(asked, error.code or 400, "That did not work", error.name)
        except Exception:
            name = secrets.token_hex(4)
            log.exception("report failed (%s)", name)
            return self._show.message(asked, 500, "The report failed", f"The log has it as {name}.")

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
            return self._show.message(
                asked, 404, "No such page", "The report has no page of this name."
            )
        return self._read_store(asked)

    def _read_shared(self, asked: Asked) -> Response:
        """Answer somebody who came by a shared link: the report, and nothing of the install."""
        if asked.panel in {*OWNED, "ledger"}:
            return self._show.message(
                asked, 403, "Not by a shared link", "It shows the report alone."
            )
        try:
            return self._read(asked)
        except StoreError:
            return self._show.message(asked, 503, STORE_TITLE, "Please try again in a while.")

    def _own(self, asked: Asked) -> Response:
        """Answer with a page that is the owner's alone, or do what its form asks."""
        request = asked.request
        if asked.form != "html" and OWNED[asked.panel] != READING:
            return self._show.message(asked, 404, "No such page", "A form has no file.")
        if request.method == "POST" and not is_same_origin(request.environ):
            return self._show.message(
                asked, 403, "Refused", "This form was sent from another site."
            )
        try:
            sheet = self._owner.answer(asked.panel, request.environ, asked.root, request.form)
        except OSError as error:
            return self._show.message(
                asked, 503, "The journal folder cannot be written", str(error)
            )
        if sheet is None:
            return _redirect(f"{asked.root}/shares", 303)
        if asked.form == "json":
            return Response(sheet.as_json(), content_type="application/json")
        if asked.form == "csv":
            return download(f"clickmw-{sheet.name}.csv", sheet.as_csv())
        moment = clock(self._settings.time_zone)
        return self._show.page(asked, 200, sheet.template, clock=moment, **sheet.context)

    # Sessions

    def _session(self, asked: Asked) -> Response:
        environ = asked.request.environ
        if asked.request.method in {"GET", "HEAD"} and asked.panel == "login":
            return _redirect(f"{asked.root}/", 303)
        if asked.request.method != "POST":
            return self._wrong_method(asked, "POST")
        if not is_same_origin(environ):
            return self._show.message(
                asked, 403, "Refused", "This form was sent from another site."
            )
        if asked.panel == "logout":
            response = _redirect(f"{asked.root}/", 303)
            response.headers.add("Set-Cookie", self._access.end_session(environ))
            return response
        return self._log_in(asked)

    def _log_in(self, asked: Asked) -> Response:
        form = asked.request.form
        environ = asked.request.environ
        if not self._access.check_password(environ, form.get("password", "")):
            wrong = "" if self._access.throttled(environ) else "That is not the password."
            return self._refuse(asked, wrong=wrong, back=form.get("back", ""))
        response = _redirect(f"{asked.root}/{_way_back(form.get('back', ''))}", 303)
        response.headers.add("Set-Cookie", self._access.session_cookie(environ))
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
            return self._show.message(asked, 403, "This link shows nothing", SHARE_OVER)
        response = _redirect(_without(asked, "share"), 303)
        if not self._access.may_see(environ):
            response.headers.add("Set-Cookie", self._access.share_cookie(environ, share))
        return response

    def _refuse(self, asked: Asked, *, wrong: str = "", back: str | None = None) -> Response:
        """Answer someone who may not see the report: how to get in, or how to open it."""
        if self._access.throttled(asked.request.environ):
            response = self._show.message(
                asked, 429, "Too many wrong passwords", "Wait a minute, then try again."
            )
            response.headers["Retry-After"] = "60"
            return response
        if not wrong and self._access.had_share(asked.request.environ):
            wrong = SHARE_OVER
        if self._access.closed and not wrong:
            if asked.form != "html":
                return self._show.message(asked, 403, "The report is closed", CLOSED)
            return self._show.page(asked, 403, "closed.html")
        if not self._access.has_password:
            reason = wrong or "The site's own check (report_auth) did not let this request in."
            return self._show.message(asked, 403, "Not for everybody", reason)
        if asked.form != "html" or "Authorization" in asked.request.headers:
            response = self._show.message(asked, 401, "Password needed", "Send it as HTTP Basic.")
            response.headers["WWW-Authenticate"] = 'Basic realm="report", charset="UTF-8"'
            return response
        if back is None:
            name = "" if asked.panel == "overview" else asked.panel
            back = f"{name}{_query_of(asked.request)}"
        return self._show.page(asked, 403, "login.html", wrong=wrong, back=_way_back(back))

    def _wrong_method(self, asked: Asked, allowed: str) -> Response:
        response = self._show.message(asked, 405, "Wrong method", f"This address takes {allowed}.")
        response.headers["Allow"] = allowed
        return response

    def _read_store(self, asked: Asked) -> Response:
        with closing(self._open_reader()) as reader:
            return self._show(read_scene(asked, reader, self._settings, self._today))


STORE_TITLE = "The store cannot be read now"
STORE_HINT = "Your site keeps working. Next step: clickmw doctor"
SHARE_OVER = "A shared link ends on its day or when it is withdrawn. Ask for a new one."
CLOSED = "The report is closed: nobody was given access yet."


def _escaped(environ: WSGIEnvironment) -> WSGIEnvironment:
    """Return *environ* with a query string in ASCII: raw bytes that are no UTF-8 would raise later."""
    text: str = environ.get("QUERY_STRING", "")
    if text.isascii():
        return environ
    return {**environ, "QUERY_STRING": quote(text, safe=bytes(range(128)), encoding="latin-1")}


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
