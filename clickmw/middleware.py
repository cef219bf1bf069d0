"""The door: one WSGI callable around the host's application."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from clickmw.ad_urls import Ad, AdSigner, AdUrls, plain_urls
from clickmw.beacon import Beacon
from clickmw.drain import BREATH_S, WORKER_BATCH, Worker
from clickmw.errors import BadEvent, ClickMWError
from clickmw.journal import Journal
from clickmw.module_codes import is_module_code
from clickmw.pages import DOOR, PAGES, Listing, PageSearch, ResultPage, place_of
from clickmw.recorder import DAY_MS, Recorder, now_ms
from clickmw.redirect import Redirect
from clickmw.rewrite import Answer, Body, Rewriting
from clickmw.routes import Routes, drain_of
from clickmw.scanner import MAX_POSITION
from clickmw.settings import Settings
from clickmw.sharing import agreed, host_of, share_of
from clickmw.stores import open_store
from clickmw.stores.base import Store, StoreOptions
from clickmw.targets import Target
from clickmw.tokens import LinkSigner
from clickmw.visitors import Salts

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]

_serving: ContextVar[Environ | None] = ContextVar("clickmw_serving", default=None)


class Door:
    """*app* with clickmw around it, ready to serve.

    A path below the prefix is ours; every other request reaches *app* with the same environ.
    """

    def __init__(self, app: Application, settings: Settings) -> None:
        self.app = app
        self.settings = settings
        self.journal = Journal(
            settings.journal,
            max_bytes=settings.journal_max_bytes,
            durable=settings.durability == "power",
        )
        self.store = store_of(settings)
        share = share_of(settings, self.store)
        salts = Salts(settings.journal, share)
        self.recorder = Recorder(settings, self.journal, salts)
        self.signer = LinkSigner(settings.secret, settings.old_secrets)
        self.ad_signer = AdSigner(settings.secret, settings.old_secrets)
        drain = drain_of(
            settings, lambda: store_of(settings), batch=WORKER_BATCH, breath_s=BREATH_S
        )
        keep_salts = salts.keep if share else salts.forget
        self.worker = Worker(drain, self.journal, lambda: keep_salts(today=now_ms() // DAY_MS))
        self.recorder.on_write = self.worker.on_write
        redirect = Redirect(settings, self.recorder, self.signer)
        beacon = Beacon(settings, self.recorder, self.signer)
        self.routes = Routes(settings, redirect, beacon, self.journal, self.worker, self.store)
        self.rewriting = Rewriting(app, settings, self.recorder, self.signer)
        self.routes.pages_seen = lambda: self.rewriting.pages
        self._ours = settings.prefix + "/"
        # Nearly all requests of the host are told from native ones by their beginning.
        native = self.routes.protocols.beginnings if settings.native_paths else ()
        self._native = tuple("/" + beginning for beginning in native)
        self._plain = self.rewriting.plain

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        path = environ.get("PATH_INFO", "")
        if path in self._plain and "text/html" not in environ.get("HTTP_ACCEPT", ""):
            body = self.app(environ, start_response)
            return body if PAGES not in environ else self.rewriting.late(environ, path, body)
        if path.startswith(self._ours):
            return self.routes(environ, start_response)
        if self._native and path.lower().startswith(self._native) and self.routes.is_native(path):
            return self.routes.protocol(environ, start_response, path[1:])
        if DOOR in environ:  # wrapped twice: the outer one has the page
            return self.app(environ, start_response)
        environ[DOOR] = place_of(environ)
        _serving.set(environ)
        leaves = True
        try:
            body = self.rewriting(environ, start_response)
            if isinstance(body, Body):
                # The application may still be at work while its answer is read.
                body.answer.on_end = partial(self._end, environ)
                leaves = False
            return body
        finally:
            if leaves:
                _leave(environ)

    def is_own(self, path: str) -> bool:
        """Tell whether *path* is one of our own routes."""
        if path.startswith(self._ours):
            return True
        return path.lower().startswith(self._native) and self.routes.is_native(path)

    def answer_own(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes] | None:
        """Answer a request of our own routes; None for a request of the host."""
        path = environ.get("PATH_INFO", "")
        if path.startswith(self._ours):
            return self.routes(environ, start_response)
        if self._native and path.lower().startswith(self._native) and self.routes.is_native(path):
            return self.routes.protocol(environ, start_response, path[1:])
        return None

    def enter(self, environ: Environ, start_response: StartResponse) -> Answer | None:
        """Begin a request whose answer its framework hands over by itself, not as a WSGI callable.

        The answer that is returned takes it; None where nothing is looked at. Call :meth:`leave`
        when all is sent.
        """
        environ[DOOR] = place_of(environ)
        _serving.set(environ)
        return self.rewriting.begin(environ, start_response)

    def leave(self, environ: Environ) -> None:
        """End what :meth:`enter` began."""
        self._end(environ)

    def _end(self, environ: Environ) -> None:
        _leave(environ)
        if not self.worker.has_threads:
            self.worker.after_answer()

    def search(
        self,
        query: str | None,
        *,
        environ: Environ | None = None,
        site: str | None = None,
        **listing: Any,
    ) -> TemplatePage:
        """Open a page of results; see :meth:`ClickMW.search`."""
        if environ is None:
            environ = _on_the_stack() or _serving.get()
        if environ is None:
            raise ClickMWError(
                "clickmw: search() was called outside a request, so nobody can be told what was "
                "shown. Call it while the answer is made, or pass environ=request.environ."
            )
        page = ResultPage(environ, self.settings, self.recorder, self.signer, source="template")
        environ.setdefault(PAGES, []).append(page)
        return TemplatePage(page, query, site, **listing)

    def ad_urls(
        self,
        ad_id: str,
        *,
        url: str = "",
        query: str = "",
        position: int | None = None,
        module: str = "",
        site: str | None = None,
        query_id: str | None = None,
        environ: Environ | None = None,
    ) -> AdUrls:
        """Return where the beacons of an ad go; see :meth:`ClickMW.ad_urls`."""
        environ = environ or _on_the_stack() or _serving.get() or {}
        page = ResultPage(environ, self.settings, self.recorder, self.signer)
        found = page.site(chosen=site)
        if found is None:
            return plain_urls(str(ad_id), page.prefix)
        # What a template has may be missing, or a number.
        url, query, module, query_id = (str(each or "") for each in (url, query, module, query_id))
        ad = Ad(str(ad_id), found.handle, url, query, position, module, query_id)
        try:
            return self.ad_signer.urls(ad, page.prefix)
        except BadEvent:
            self.recorder.tally("unsigned.ad")
            return plain_urls(ad.ad_id, page.prefix)


class TemplatePage:
    """A page of results whose template makes its own links; made by ``clicks.search()``."""

    def __init__(
        self,
        page: ResultPage,
        query: str | None,
        site: str | None,
        *,
        total: int | None = None,
        offset: int = 0,
        module: str = "",
        language: str = "",
        profile: str = "",
        tag: str = "",
    ) -> None:
        self._page = page
        self._module = module
        self._offset = offset
        self._count: dict[str, int] = {}
        self._search: PageSearch | None = None
        found = page.site(chosen=site)
        if found is not None:
            text = "" if query is None else str(query)
            self._search = page.search(Listing(found, text, total, offset, language, profile, tag))

    @property
    def query_id(self) -> str:
        """The id of this search, 16 characters; empty on a host that is not tracked."""
        return self._search.query_id if self._search else ""

    def link(
        self,
        url: str,
        position: int | None = None,
        module: str | None = None,
        title: str | None = None,
        item: str | None = None,
    ) -> str:
        """Return the signed link of one result, or *url* itself where it may not be signed.

        ``position`` counts from 1 in the list of its module, across pages; without it the links
        are counted as they are made.
        """
        target = self._page.target(url) if self._search else None
        if target is None or self._search is None:
            return url
        code = self._module if module is None else module
        counted = self._count.get(code, 0) + 1
        place = self._offset + counted if position is None else position
        signed = self._signed(self._search, target, place, code, str(item or ""), str(title or ""))
        if signed is None:
            return url
        self._count[code] = counted
        return url if self._page.recorder.leaves_uncounted(self._page.environ) else signed

    def _signed(
        self,
        search: PageSearch,
        target: Target,
        position: int,
        module: str,
        item: str,
        title: str,
    ) -> str | None:
        """Return the signed link; with details that no link may have, count why there is none."""
        wrong = ""
        if module and not is_module_code(module):
            wrong = "module"
        elif not isinstance(position, int) or not 1 <= position <= MAX_POSITION:
            wrong = "position"
        if wrong:
            self._page.recorder.tally(f"unsigned.{wrong}")
            return None
        return self._page.show(search, target, position, module, item, title)


class ClickMW:
    """Click analytics for the search pages of a WSGI application.

    ``ClickMW(application, secret="…", store="sqlite:///clicks.db")`` wraps any WSGI callable;
    ``ClickMW(flask_app)`` or ``ClickMW().init_app(flask_app)`` a Flask application. All settings
    are keyword-only; a wrong one raises :class:`~clickmw.errors.SettingsError` here, at start.
    """

    def __init__(self, app: Any = None, **settings: Any) -> None:
        self._keywords = settings
        self._door: Door | None = None
        #: Where settings came from, for the framework's command line.
        self.sources: dict[str, Any] = {"keywords": settings}
        if hasattr(app, "wsgi_app"):
            self.init_app(app)
        elif app is not None:
            self._door = Door(app, Settings.load(settings))

    def init_app(self, app: Any) -> None:
        """Wrap the Flask application *app*: settings from ``CLICKMW_*``, secret from ``SECRET_KEY``."""
        sources = _sources(app)
        self.sources = {"keywords": self._keywords, **sources}
        settings = Settings.load(self._keywords, **sources)
        door = Door(app.wsgi_app, _inside_request(settings, app))
        app.wsgi_app = door
        app.extensions["clickmw"] = self
        _name_in_templates(app, self)
        self._door = door

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        door = self._door or self.door
        return door(environ, start_response)

    @property
    def door(self) -> Door:
        """The wrapped application."""
        if self._door is None:
            raise ClickMWError("clickmw: no application yet. Call init_app(app) first.")
        return self._door

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self.door.settings

    def search(self, query: str | None, **listing: Any) -> TemplatePage:
        """Return a page whose ``link()`` makes signed links, for templates and JSON answers.

        ``total``: number of hits, None when not known; ``offset``: hits on the pages before;
        ``module``: the code of its list; ``environ``: the request's, when outside a request. What
        was shown is recorded when the answer leaves.
        """
        return self.door.search(query, **listing)

    def ad_urls(self, ad_id: str, **details: Any) -> AdUrls:
        """Return ``impression_url``, ``view_url`` and ``click_url`` of an ad, signed: paths on this host.

        ``url``: where it leads; ``query``, or the ``query_id`` of a page of ``search()``: beside
        what it is shown; ``position`` from 1; ``module``: the block of the page; ``site`` and
        ``environ``: outside a request. Details that cannot be signed are left out and counted as
        ``unsigned.ad``: the page goes on.
        """
        return self.door.ad_urls(ad_id, **details)


def _name_in_templates(app: Any, clicks: ClickMW) -> None:
    """Let templates of the Flask application *app* say ``clicks``.

    Flask makes its template environment when it is first needed, from settings that may still
    change: asking for it here would fix them.
    """
    if "jinja_env" in vars(app):
        app.jinja_env.globals.setdefault("clicks", clicks)
        return
    from jinja2.ext import Extension

    class Named(Extension):
        def __init__(self, environment: Any) -> None:
            super().__init__(environment)
            environment.globals["clicks"] = clicks

    options = dict(app.jinja_options)
    app.jinja_options = {**options, "extensions": [*options.get("extensions", ()), Named]}


def _on_the_stack() -> Environ | None:
    """Return the environ of the request that is being answered below us on the stack.

    The many requests that are only handed on cost nothing, not even a context variable; the few
    of them that use the helper are found here.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code is not Door.__call__.__code__:
        frame = frame.f_back
    if frame is None:
        return None
    environ: Environ = frame.f_locals["environ"]
    path: str = frame.f_locals["path"]
    mount, rest = place_of(environ)
    environ.setdefault(DOOR, ((mount + rest).removesuffix(path), path))
    return environ


def _leave(environ: Environ) -> None:
    # Not a reset to what was before: that may be a request that was never read to its end.
    if _serving.get() is environ:
        _serving.set(None)


def store_of(settings: Settings) -> Store:
    """Return the store that *settings* name."""
    zones = {site.handle: site.time_zone for site in settings.sites.all if site.time_zone}
    options = StoreOptions(
        dedupe_window_ms=settings.dedupe_window_s * 1000,
        ad_dedupe_window_ms=settings.ad_dedupe_window_s * 1000,
        sites=settings.sites.all,
        time_zone=settings.time_zone,
        site_zones=zones,
        durable=settings.durability == "power",
        host=host_of(settings),
        agreed=agreed(settings),
    )
    return open_store(settings.store, options)


def _sources(app: Any) -> dict[str, Any]:
    """Return where settings come from in a Flask application, as ``Settings.load`` takes it."""
    config: Mapping[str, Any] = app.config
    names = {name: config[name] for name in config if name.startswith("CLICKMW_")}
    return {"framework": names, "framework_name": "Flask", "derived": _derived(app)}


def _derived(app: Any) -> dict[str, Any]:
    """Return what Flask already knows: its secret and a folder that belongs to this install."""
    derived: dict[str, Any] = {"store": f"sqlite:///{Path(app.instance_path) / 'clicks.db'}"}
    secret = app.config.get("SECRET_KEY")
    if secret:
        derived["secret"] = secret
    fallbacks = app.config.get("SECRET_KEY_FALLBACKS")
    if fallbacks:
        derived["old_secrets"] = tuple(fallbacks)
    return derived


def _inside_request(settings: Settings, app: Any) -> Settings:
    """Let ``report_auth`` use ``current_user`` and its like."""
    from dataclasses import replace

    report_auth = settings.report_auth
    if report_auth is None:
        return settings

    def asked_inside(environ: Environ) -> object:
        with app.request_context(environ):
            return report_auth(environ)

    return replace(settings, report_auth=asked_inside)
