"""The redirect: verify the link, write one record, answer 302.

No database, no lock held by others and no thread stands in the visitor's way, and no object that
is not needed: this is the only page of ours that a visitor ever waits for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from html import escape
from typing import Any
from urllib.parse import unquote

from clickmw.errors import BadToken
from clickmw.events import Click, issued_ms, view_in
from clickmw.journal import warn_once_a_minute
from clickmw.recorder import TEST, Recorder, now_ms
from clickmw.settings import Settings
from clickmw.targets import host_of, problem
from clickmw.tokens import MAX_AGE_MS, LinkSigner, LinkTarget
from clickmw.visitors import is_prefetch

StartResponse = Callable[..., Any]
Environ = dict[str, Any]

_ALWAYS = [
    ("Cache-Control", "no-store"),
    ("Referrer-Policy", "strict-origin-when-cross-origin"),
    ("X-Robots-Tag", "noindex, nofollow"),
]
_PAGE = [
    *_ALWAYS,
    ("Content-Type", "text/html; charset=utf-8"),
    ("X-Content-Type-Options", "nosniff"),
    ("Content-Security-Policy", "default-src 'none'; base-uri 'none'; frame-ancestors 'none'"),
]
BAD_LINK = (
    b"<!doctype html><html lang=en><meta charset=utf-8><title>Bad link</title>"
    b"<p>This link was changed on its way. Please go back and choose the result again."
)
#: No script may fetch another site's page. For a page that says this Turbo lets the browser ask once
#: more, and follow. Source: its handbook, "Ensuring Specific Pages Trigger a Full Reload".
RELOAD = (
    b"<!doctype html><html lang=en><meta charset=utf-8>"
    b'<meta name="turbo-visit-control" content="reload"><title>Leaving this site</title>'
)
NAMING = (
    "<!doctype html><html lang=en><meta charset=utf-8>"
    '<meta name=viewport content="width=device-width"><title>Leaving this site</title>'
    "<p>This link leads to another site:</p><p><strong>{host}</strong></p>"
    '<p><a role="button" rel="noreferrer nofollow" href="{location}">Go to {host}</a></p>'
)


class Redirect:
    """Answer ``{prefix}/r/<token>``."""

    def __init__(self, settings: Settings, recorder: Recorder, signer: LinkSigner) -> None:
        self.settings = settings
        self.recorder = recorder
        self.signer = signer
        self._skip = len(settings.prefix) + len("/r/")

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Follow the link; the order of the checks is part of the public contract."""
        method = environ["REQUEST_METHOD"]
        if method not in ("GET", "HEAD"):
            start_response("405 Method Not Allowed", [*_ALWAYS, ("Allow", "GET, HEAD"), _LENGTH_0])
            return [b""]
        try:
            target = self.signer.read_link(_token(environ, self._skip))
            trouble = problem(target.location, target_hosts=self.settings.target_hosts)
        except BadToken:
            trouble = "token"
        # Once signed and since then no longer among the target hosts: a page names the host.
        outside = trouble == "host" and problem(target.location) is None
        if trouble and not outside:
            self.recorder.tally("rejected.bad_link")
            return _page(environ, start_response, "400 Bad Request", BAD_LINK)
        if is_prefetch(environ):
            self.recorder.tally("prefetch")
            start_response("425 Too Early", [*_ALWAYS, _LENGTH_0])
            return [b""]
        return self._follow(environ, start_response, target, outside)

    def _follow(
        self, environ: Environ, start_response: StartResponse, target: LinkTarget, outside: bool
    ) -> Iterable[bytes]:
        now = now_ms()
        stale = now - issued_ms(target.query_id) > MAX_AGE_MS
        if outside or (stale and not self._comes_from_here(environ)):
            self.recorder.tally("rejected.naming_page")
            return _naming_page(environ, start_response, target.location)
        if target.location[0] != "/" and "HTTP_X_TURBO_REQUEST_ID" in environ:
            return _page(environ, start_response, "200 OK", RELOAD)
        if environ["REQUEST_METHOD"] != "HEAD":
            try:
                self._record(environ, target, stale, now)
            except Exception as error:  # the visitor goes on, whatever happens to us
                warn_once_a_minute("failure", "clickmw: a click could not be kept: %r", error)
                self.recorder.tally("dropped.failure")
        location = target.location
        if location[0] != "/" and "HTTP_HX_REQUEST" in environ:
            # What this header names, htmx leaves the page for. Source: its reference, "HX-Redirect".
            start_response("204 No Content", [("HX-Redirect", location), *_ALWAYS])
            return [b""]
        start_response("302 Found", [("Location", location), *_ALWAYS, _LENGTH_0])
        return [b""]

    def _record(self, environ: Environ, target: LinkTarget, stale: bool, now: int) -> None:
        site = self.settings.sites.by_handle(target.site or "default")
        if site is None:
            self.recorder.tally("rejected.unknown_site")
            return
        visitor, device, robot, _, wish = self.recorder.client(
            environ, site.handle, now, target.query_id
        )
        if wish == "drop":
            self.recorder.tally("opted_out")
            return
        view = view_id(environ)
        # Of a shared page everybody has the same link: there it is the view's.
        if not self.recorder.allows(environ, target.query_id + view + target.location, now):
            self.recorder.tally("dropped.rate")
            return
        reason = (
            ("test" if TEST in environ else "")
            or ("robot" if robot else "")
            or ("external" if not stale and self._is_external(environ) else "")
            or ("stale" if stale else "")
            or self.recorder.drop_reason("signed")
        )
        _, query_id, position, module_code, item, location = target
        self.recorder.record(
            Click(
                now,
                site.handle,
                site.absolute(location),
                position,
                module_code,
                query_id,
                item,
                visitor,
                device,
                robot,
                reason,
                "redirect",
                "signed",
                _referrer_host(environ),
                _user_activated(environ),
                "result",
                view,
            )
        )

    def _is_external(self, environ: Environ) -> bool:
        """A fresh link that was followed from another site: copied, mailed or embedded."""
        if environ.get("HTTP_SEC_FETCH_SITE") != "cross-site":
            return False
        return _origin(environ.get("HTTP_REFERER", "")) not in self.settings.allowed_origins

    def _comes_from_here(self, environ: Environ) -> bool:
        fetched_from = environ.get("HTTP_SEC_FETCH_SITE")
        origin = _origin(environ.get("HTTP_REFERER", ""))
        if origin and origin in self.settings.allowed_origins:
            return True
        if fetched_from:
            return fetched_from in ("same-origin", "same-site")
        host: str = environ.get("HTTP_HOST", "")
        return host != "" and origin.partition("://")[2] == host.lower()


def view_id(environ: Environ) -> str:
    """Return the view of a shared page whose link was followed, see :func:`view_in`."""
    query: str = environ.get("QUERY_STRING", "")
    return view_in(query, now_ms()) if query else ""


_LENGTH_0 = ("Content-Length", "0")


def _token(environ: Environ, skip: int) -> str:
    path: str = environ["PATH_INFO"]
    token = path[skip:]
    if not token and environ.get("QUERY_STRING", "").startswith("t="):
        # Servers that refuse long path segments get the token as a parameter.
        token = unquote(environ["QUERY_STRING"][2:].partition("&")[0])
    return token


def _page(
    environ: Environ, start_response: StartResponse, status: str, body: bytes
) -> Iterable[bytes]:
    start_response(status, [*_PAGE, ("Content-Length", str(len(body)))])
    return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]


def _naming_page(environ: Environ, start_response: StartResponse, location: str) -> Iterable[bytes]:
    host = host_of(location) or environ.get("HTTP_HOST", "this site")
    body = NAMING.format(host=escape(host), location=escape(location)).encode()
    return _page(environ, start_response, "200 OK", body)


def _origin(url: str) -> str:
    """Return scheme and host of a Referer, "" when there is none."""
    scheme, slashes, rest = url.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}".lower() if slashes else ""


def _referrer_host(environ: Environ) -> str:
    """Return the host the visitor came from when it is not our own page."""
    if environ.get("HTTP_SEC_FETCH_SITE") == "same-origin":
        return ""
    referrer: str = environ.get("HTTP_REFERER", "")
    host = host_of(referrer) if referrer else ""
    return "" if host == environ.get("HTTP_HOST", "").partition(":")[0].lower() else host[:255]


def _user_activated(environ: Environ) -> int | None:
    """Return 1 for a person's navigation, 0 for a script's, None from browsers that do not say."""
    if environ.get("HTTP_SEC_FETCH_USER") == "?1":
        return 1
    return 0 if "HTTP_SEC_FETCH_MODE" in environ else None
