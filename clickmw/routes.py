"""Our own pages under the prefix: which path is answered by whom."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable
from datetime import date, datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from clickmw.assets import asset_of, serve_asset
from clickmw.beacon import Beacon
from clickmw.drain import Drain, Worker
from clickmw.errors import StoreError
from clickmw.health import fresh_reader, read_health
from clickmw.journal import Journal, warn_once_a_minute
from clickmw.paths import PathTable
from clickmw.redirect import Redirect
from clickmw.settings import Settings
from clickmw.stores.base import Reader, Store
from clickmw.wire import Reply, Request

if TYPE_CHECKING:
    from clickmw.compat import Protocol
    from clickmw.login import ReportAccess
    from clickmw.report import Report

Environ = dict[str, Any]
StartResponse = Callable[..., Any]

NOT_FOUND = b"There is nothing at this address.\n"
READ_ONLY = b"This address can only be read.\n"


class Routes:
    """Answer everything below ``{prefix}``; the report's libraries are loaded by its first reader."""

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
        self._protocols: PathTable[Protocol] | None = None
        self._access: ReportAccess | None = None
        self._report: Report | None = None

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request; ``environ["PATH_INFO"]`` begins with the prefix."""
        path = environ["PATH_INFO"][len(self.settings.prefix) + 1 :]
        if path.startswith("r/"):
            return self._closing(self.redirect(environ, start_response))
        if path == "e":
            return self._closing(self.beacon(environ, start_response))
        if path == "report" or path.startswith("report/"):
            return self.report(environ, start_response)
        asset = asset_of(path)
        if path != "health" and asset is None:
            return self.protocol(environ, start_response, path)
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return _plain(environ, start_response, "405 Method Not Allowed", READ_ONLY)
        if asset is not None:
            return serve_asset(environ, start_response, *asset)
        return self._health(environ, start_response)

    @property
    def protocols(self) -> PathTable[Protocol]:
        """The paths of the foreign click APIs."""
        if self._protocols is None:
            # Imported here: a site that only redirects never needs them.
            from clickmw.compat import Desk, find_protocols

            desk = Desk(
                self.settings,
                self.redirect.recorder,
                self.redirect.signer,
                self.open_reader,
                self.today,
            )
            table: PathTable[Protocol] = PathTable()
            for protocol in find_protocols():
                table.add(protocol(desk), protocol.endpoints)
            self._protocols = table
        return self._protocols

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
            warn_once_a_minute("failure", "clickmw: a request to %s failed: %r", path, error)
            self.redirect.recorder.tally("rejected.failure")
            reply = protocol.unable(request)
        return self._closing(reply.send(environ, start_response))

    @property
    def access(self) -> ReportAccess:
        """Who may see the report."""
        if self._access is None:
            from clickmw.login import ReportAccess

            self._access = ReportAccess(self.settings)
        return self._access

    @property
    def report(self) -> Report:
        """The report's pages."""
        if self._report is None:
            from clickmw.report import Report

            self._report = Report(
                self.settings, self.access, self.open_reader, self.read_health, self.today
            )
        return self._report

    def open_reader(self) -> Reader:
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
        return datetime.now(ZoneInfo(zone)).date()

    def _health(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
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
