"""Everything that answers under the prefix: which path belongs to whom."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Protocol

from clickmw import endpoints
from clickmw.assets import TYPES, asset_of, marked_name, serve_asset
from clickmw.beacon import OPERATIONS, Beacon
from clickmw.discretion import Memory, discreet
from clickmw.drain import Drain, Worker
from clickmw.errors import StoreError
from clickmw.health import fresh_reader, read_health
from clickmw.journal import Journal, warn_once_a_minute
from clickmw.openapi import SchemaPage
from clickmw.paths import Endpoint, PathTable
from clickmw.redirect import Redirect
from clickmw.settings import Settings
from clickmw.stores.base import Reader, Store
from clickmw.wire import Reply, Request
from clickmw.zones import zone_of

if TYPE_CHECKING:
    from clickmw.login import ReportAccess
    from clickmw.report import Report
    from clickmw.setting_up import Checkup
    from clickmw.trial import Station

Environ = dict[str, Any]
StartResponse = Callable[..., Any]

#: Our own pages. ``answer`` is an attribute of :class:`Routes`: a WSGI callable. The report's pages
#: are spelled out for the document alone, by the panels themselves.
PAGES: tuple[Endpoint, ...] = (
    Endpoint("r/{token}", "redirect", endpoints.FOLLOW),
    Endpoint("e", "beacon", OPERATIONS),
    Endpoint("report", "report", endpoints.REPORT),
    Endpoint("report/{page}", "report", {}),
    Endpoint("health", "health", endpoints.HEALTH),
    *(Endpoint(name, "asset", endpoints.file_operations(name, immutable=False)) for name in TYPES),
    *(
        Endpoint(
            marked_name(name, "{fingerprint}"),
            "asset",
            endpoints.file_operations(name, immutable=True),
        )
        for name in TYPES
    ),
)
#: The description of everything that answers; ``answer`` is a method of :class:`SchemaPage`.
SCHEMA = Endpoint("api/v1/schema", "schema", endpoints.SCHEMA)
#: What :meth:`Routes.fetch` reads from inside: pages of numbers and their description.
READ = ("api/v1/", "health", "report/")

NOT_FOUND = b"There is nothing at this address.\n"
READ_ONLY = b"This address can only be read.\n"


class Answerer(Protocol):
    """Who answers a path in words of its own: a foreign click API, or the document of them all."""

    def unable(self, request: Request) -> Reply: ...


class Routes:
    """Answer everything below ``{prefix}``; libraries and protocols are loaded by the first who asks."""

    def __init__(
        self,
        settings: Settings,
        redirect: Redirect,
        beacon: Beacon,
        journal: Journal,
        worker: Worker,
        store: Store,
    ) -> None:
        self.settings = settings
        self.redirect = redirect
        self.beacon = beacon
        self.journal = journal
        self.worker = worker
        self.store = store
        self._pages: PathTable[Routes] = PathTable()
        self._pages.add(self, PAGES)
        self._protocols: PathTable[Answerer] | None = None
        self._access: ReportAccess | None = None
        self._report: Report | None = None
        self._memory = Memory()
        #: How many pages of the host this process has looked at.
        self.pages_seen: Callable[[], int] = lambda: 0

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request; ``environ["PATH_INFO"]`` begins with the prefix."""
        path = environ["PATH_INFO"][len(self.settings.prefix) + 1 :]
        # Visitors wait for these two: they come before any table.
        if path.startswith("r/"):
            return self._closing(self.redirect(environ, start_response))
        if path == "e":
            return self._closing(self.beacon(environ, start_response))
        found = self._pages.find(path)
        if found is None or (path.endswith("/") and path != "report/"):
            return self.protocol(environ, start_response, path)
        answer: Callable[..., Iterable[bytes]] = getattr(self, found[1].answer)
        return answer(environ, start_response)

    @property
    def protocols(self) -> PathTable[Answerer]:
        """The paths that answer at the site's root too: foreign click APIs, and what describes them."""
        if self._protocols is None:
            # Imported here: a site that only redirects never needs them.
            from clickmw.compat import Desk, find_protocols
            from clickmw.mcp import Mcp

            desk = Desk(
                self.settings,
                self.redirect.recorder,
                self.redirect.signer,
                self.open_reader,
                self.today,
            )
            table: PathTable[Answerer] = PathTable()
            for protocol in find_protocols():
                table.add(protocol(desk), protocol.endpoints)
            table.add(SchemaPage(self.settings, self.endpoints), [SCHEMA])
            table.add(Mcp(desk, self.fetch), Mcp.endpoints)
            self._protocols = table
        return self._protocols

    def endpoints(self) -> Iterator[Endpoint]:
        """Yield everything that answers here, each page of the report by itself."""
        for _, endpoint in self._pages:
            yield endpoint
        yield from endpoints.report_pages()
        for _, endpoint in self.protocols:
            yield endpoint

    def is_native(self, path: str) -> bool:
        """Tell whether *path*, from the site's root, belongs to a foreign click API."""
        return self.protocols.find(path[1:]) is not None

    def protocol(
        self, environ: Environ, start_response: StartResponse, path: str
    ) -> Iterable[bytes]:
        """Answer *path*, without a slash before it, in the words of the API it belongs to."""
        found = self.protocols.find(path)
        if found is None:
            return _plain(environ, start_response, "404 Not Found", NOT_FOUND)
        protocol, endpoint, names = found
        request = Request(environ, names)
        try:
            reply: Reply = getattr(protocol, endpoint.answer)(request)
        except StoreError as error:
            warn_once_a_minute("store", "clickmw: %s", error)
            reply = protocol.unable(request)
        except Exception as error:
            warn_once_a_minute("failure", "clickmw: a request to %.200r failed: %r", path, error)
            self.redirect.recorder.tally("rejected.failure")
            reply = protocol.unable(request)
        return self._closing(reply.send(environ, start_response))

    def fetch(self, path: str, query: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """Return status and body of a GET from inside; 404 for all that is not there to be read.

        *path* is one of the document, with or without the prefix; *headers* by their HTTP names.
        """
        path = path.removeprefix(self.settings.prefix).lstrip("/")
        if not path.startswith(READ):
            return 404, NOT_FOUND
        status, _headers, content = self._get(_inside(path, query, headers))
        return status, content

    def _get(self, environ: Environ) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body of a GET from inside, below the prefix."""
        told: list[tuple[str, dict[str, str]]] = []
        environ["PATH_INFO"] = f"{self.settings.prefix}/{environ['PATH_INFO']}"
        body = self(environ, lambda status, headers, *_: told.append((status, dict(headers))))
        try:
            content = b"".join(body)
        finally:
            getattr(body, "close", _nothing)()
        status, headers = told[-1]
        return int(status[:3]), headers, content

    def look_around(self, environ: Environ) -> Checkup:
        """Return what the set-up page says of this install, as a request sees it."""
        from clickmw.setting_up import look_around

        return look_around(self.settings, environ, self.pages_seen(), self._read_all)

    def try_click(self, location: str = "", site: str = "") -> list[Station]:
        """Send a click that does not count to *location* (the report's page), of *site* (the first)."""
        from clickmw.trial import Line, try_click

        recorder, signer = self.redirect.recorder, self.redirect.signer
        line = Line(recorder, signer, self.journal, self._follow, self._read_all)
        place = location or f"{self.settings.prefix}/report/"
        return try_click(line, place, site or self.settings.sites.all[0].handle)

    def _follow(self, path: str, more: Environ) -> tuple[int, str]:
        status, headers, _content = self._get({**_inside(path, "", {}), **more})
        return status, headers.get("Location", "")

    @property
    def access(self) -> ReportAccess:
        """Who may see the report."""
        if self._access is None:
            from clickmw.keyring import KeyRing
            from clickmw.login import ReportAccess

            self._access = ReportAccess(self.settings, KeyRing(self.settings))
        return self._access

    @property
    def report(self) -> Report:
        """The report's pages."""
        if self._report is None:
            from clickmw.owner import Install
            from clickmw.report import Report

            self._report = Report(
                self.settings,
                self.access,
                self.open_reader,
                self.read_health,
                self.today,
                Install(self.look_around, self.try_click),
            )
        return self._report

    def open_reader(self) -> Reader:
        """Return a view of the store for whatever is shown to anybody: it names no rare query."""
        return discreet(self._read_all(), self.settings.min_visitors, self._memory)

    def _read_all(self) -> Reader:
        """Return a view of the store that holds what has been received until now, if it can be had."""
        with contextlib.suppress(StoreError):
            self.worker.catch_up()
        return fresh_reader(self.store)

    def read_health(self) -> dict[str, Any]:
        """Return the whole ledger."""
        return read_health(self.store, self.journal, self.worker.drain)

    def today(self, handle: str | None) -> date:
        """Return the calendar day at a site; None: in the install's own zone."""
        site = self.settings.sites.by_handle(handle) if handle else None
        zone = (site and site.time_zone) or self.settings.time_zone
        return datetime.now(zone_of(zone)).date()

    def asset(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer with a file of the browser."""
        path = environ["PATH_INFO"][len(self.settings.prefix) + 1 :]
        found = asset_of(path)
        if found is None:
            return _plain(environ, start_response, "404 Not Found", NOT_FOUND)
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return _plain(environ, start_response, "405 Method Not Allowed", READ_ONLY)
        return serve_asset(environ, start_response, *found)

    def health(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer with the ledger; to strangers with the status alone."""
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return _plain(environ, start_response, "405 Method Not Allowed", READ_ONLY)
        health = self.read_health()
        status = "503 Service Unavailable" if health["status"] == "failing" else "200 OK"
        shown = health if self.access.may_see(environ) else {"status": health["status"]}
        body = json.dumps(shown, allow_nan=False).encode()
        return _plain(environ, start_response, status, body, "application/json")

    def _closing(self, body: Iterable[bytes]) -> Iterable[bytes]:
        return body if self.worker.has_threads else Closing(body, self.worker.after_answer)


class Closing:
    """A body that does something of ours when the server has sent it."""

    def __init__(self, body: Iterable[bytes], after: Callable[[], None]) -> None:
        self._body = body
        self.close = after

    def __iter__(self) -> Any:
        return iter(self._body)


def _plain(
    environ: Environ,
    start_response: StartResponse,
    status: str,
    body: bytes,
    kind: str = "text/plain; charset=utf-8",
) -> Iterable[bytes]:
    headers = [
        ("Content-Type", kind),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
        ("X-Robots-Tag", "noindex, nofollow"),
    ]
    if status.startswith("405"):
        headers.append(("Allow", "GET, HEAD"))
    start_response(status, headers)
    return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]


def _inside(path: str, query: str, headers: Mapping[str, str]) -> Environ:
    """Return the environ of a GET that nobody sent; PEP 3333 names all its keys."""
    named = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()}
    return {
        **named,
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }


def _nothing() -> None: ...


def drain_of(
    settings: Settings,
    open_store: Callable[[], Store],
    *,
    batch: int,
    breath_s: float,
    first: bool = False,
) -> Drain:
    """Return the drain of an install's journal."""
    return Drain(
        settings.journal,
        open_store,
        batch=batch,
        breath_s=breath_s,
        keep_days=settings.keep_days,
        first=first,
    )
