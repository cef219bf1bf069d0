"""Foreign click APIs: what a protocol is, and the desk where its senders hand in events.

A protocol is one module of this folder with one subclass of :class:`Protocol`, found by itself. It
turns a request into events and what became of them into its own answer; it never sees a store's
write side. What all protocols share (who a sender is, how often it may come, how an event is made
clean, which events are duplicates of each other) is the :class:`Desk`.
"""

from __future__ import annotations

import pkgutil
import time
from collections.abc import Callable
from datetime import date
from functools import lru_cache
from importlib import import_module
from typing import Any, ClassVar, NamedTuple

from clickmw.buckets import TokenBuckets
from clickmw.events import (
    Answer,
    Click,
    Conversion,
    Event,
    Feedback,
    Impression,
    Search,
    Shown,
    new_query_id,
    view_in,
)
from clickmw.paths import Endpoint
from clickmw.recorder import Recorder, now_ms
from clickmw.robots import classify
from clickmw.sameness import Sameness
from clickmw.settings import Settings
from clickmw.sites import Site
from clickmw.stores.base import Reader
from clickmw.targets import host_of, without_user
from clickmw.tokens import LinkSigner, LinkTarget
from clickmw.visitors import address_prefix, behind_unnamed_proxy, client_address
from clickmw.wire import Reply, Request, clean_text

SESSION_LIMIT = 64  #: characters of a session id that are kept
TITLE_LIMIT = 200
URL_LIMIT = 2_048
POSITION_LIMIT = 100_000
HITS_LIMIT = 2**53
#: A sender may make this many times ``redirect_rate`` requests a second, ten seconds' worth at once.
SENDER_FACTOR = 10
BURST_S = 10

Environ = dict[str, Any]


class Protocol:
    """One foreign click API. ``name`` is the source of its events.

    Its ``endpoints`` answer below the prefix, and with ``native_paths`` at the site's root too. Each
    names a method that takes a :class:`~clickmw.wire.Request` and returns a Reply, whatever the HTTP
    method was.
    """

    name: ClassVar[str] = ""
    endpoints: ClassVar[tuple[Endpoint, ...]] = ()

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    def unable(self, request: Request) -> Reply:
        """Return the answer when events cannot be kept or numbers not read now: not the caller's fault."""
        return Reply(503, b"", [("Cache-Control", "no-store")])


class Sender(NamedTuple):
    """Who handed an event in, as far as we keep it.

    ``who`` is the user, visitor or session id of the payload: what tells people apart where all
    requests come from one server. It is not kept; ``visitor`` is its hash of the day.
    ``browser`` is the request where a browser sent it: who followed one of our links is known by it.
    """

    source: str
    site: Site
    received_ms: int
    trust: str
    who: str
    visitor: str
    session: str
    device: str
    robot: str
    drop_reason: str
    referrer_host: str
    browser: Environ | None = None


class Desk:
    """Where the senders of all protocols hand in events."""

    def __init__(
        self,
        settings: Settings,
        recorder: Recorder,
        signer: LinkSigner,
        open_reader: Callable[[], Reader],
        today: Callable[[str | None], date],
    ) -> None:
        self.settings = settings
        self.recorder = recorder
        self.signer = signer
        #: Open a view of the store that holds what was received until now; raises StoreError.
        self.open_reader = open_reader
        #: Return the calendar day at a site (by handle; None: in the install's own zone).
        self.today = today
        rate = SENDER_FACTOR * (settings.redirect_rate or 0)
        self._buckets = TokenBuckets(rate, BURST_S * rate) if rate else None
        self._links = settings.prefix + "/r/"
        self._same = Sameness(settings.secret)

    # -- may they ----------------------------------------------------------------------------------

    def allows(self, environ: Environ, key: str) -> bool:
        """Tell whether one more request by this key and client is within limits; else it is counted.

        Behind a proxy that ``trusted_proxies`` does not name everybody is allowed.
        """
        if self._buckets is None:
            return True
        if behind_unnamed_proxy(environ, self.settings.trusted_proxies):
            return True
        address = client_address(environ, self.settings.trusted_proxies)
        # Cut: what is remembered of a sender shall not grow with what it sends.
        if self._buckets.allows((key[:64], address_prefix(address)), time.monotonic()):
            return True
        self.reject("rate")
        return False

    def reject(self, reason: str) -> None:
        """Count a request that never became an event, by its reason (a word, no user's text)."""
        self.recorder.tally(f"rejected.{reason}")

    # -- who are they ------------------------------------------------------------------------------

    def sender(
        self,
        environ: Environ,
        source: str,
        site: Site,
        *,
        trust: str = "keyed",
        who: str = "",
        session: str = "",
    ) -> Sender | None:
        """Return who sends, None for somebody who opted out (already counted as that).

        ``who``: the payload's user or visitor id, else its session. Only crawlers that declare
        themselves are robots: real senders are servers with the agents of HTTP libraries.
        """
        now = now_ms()
        device, robot, declared = classify(environ.get("HTTP_USER_AGENT"))
        wish = self.recorder.wish(environ)
        if wish == "drop":
            self.recorder.tally("opted_out")
            return None
        is_person = not robot and not wish
        robot = robot if declared and robot else ""
        who, session = (who or session, _session(session)) if not wish else ("", "")
        return Sender(
            source,
            site,
            now,
            trust,
            who,
            self.recorder.named_visitor(site.handle, who, now) if who else "",
            session,
            device,
            robot,
            "robot" if robot else self.recorder.drop_reason(trust),
            _referrer_host(environ, site),
            environ if is_person else None,
        )

    # -- what do they say --------------------------------------------------------------------------

    def link(self, url: str, site: Site) -> LinkTarget | None:
        """Return what *url* remembers when it is one of our own signed links of *site*, else None."""
        target = self.signer.find_link(url, self._links)
        return target if target and (target.site or "default") == site.handle else None

    def click(
        self,
        sender: Sender,
        *,
        url: str = "",
        query: str = "",
        position: int | None = None,
        position_raw: str = "",
        module_code: str = "",
        doc_id: str = "",
        title: str = "",
        kind: str = "result",
        ad_id: str = "",
        language: str = "",
        profile: str = "",
        tag: str = "",
        duplicates: tuple[str, ...] | None = None,
    ) -> Click:
        """Return the click that *sender* reports.

        A ``url`` that is one of our own links stands for its target and query id, and joins the
        redirect as one click; of others user and password are left out. ``query`` as typed; ``position`` counts from 1, 0 where the sender
        did not know; ``position_raw`` as it was sent, kept where it differs. ``duplicates``: what
        repeats of this click share, when it is not (session or user, query, target).
        """
        found = self.link(url, sender.site) if url else None
        url = without_user(url)
        query_id, view_id, visitor = "", "", sender.visitor
        if found:
            query_id, view_id = found.query_id, view_in(url, sender.received_ms)
            visitor = self._follower(sender, query_id)
            url = sender.site.absolute(found.location)
            position = found.position if position is None else position
            module_code = module_code or found.module_code
            doc_id = doc_id or found.item
        query = self.recorder.clean_query(query) if query else ""
        if query_id:
            key = ""
        elif duplicates is None:
            key = self.dedupe_key(sender, kind, sender.who, query, url or doc_id or ad_id)
        else:
            key = self.dedupe_key(sender, kind, *duplicates)
        return Click(
            sender.received_ms,
            sender.site.handle,
            url,
            _within(position, POSITION_LIMIT),
            module_code,
            query_id,
            doc_id,
            visitor,
            sender.device,
            sender.robot,
            sender.drop_reason,
            sender.source,
            sender.trust,
            sender.referrer_host,
            None,
            kind,
            view_id,
            query,
            sender.session,
            language,
            profile,
            tag,
            ad_id,
            clean_text(title, TITLE_LIMIT) if title else "",
            "" if position_raw == str(position) else position_raw[:32],
            key,
        )

    def _follower(self, sender: Sender, query_id: str) -> str:
        """Return the visitor as whom the redirect knows *sender*, on the day of the page."""
        if sender.browser is None:
            return sender.visitor
        site = sender.site.handle
        return self.recorder.client(sender.browser, site, sender.received_ms, query_id).visitor

    def search(
        self,
        sender: Sender,
        query: str,
        *,
        impressions: tuple[Shown, ...] = (),
        total_hits: int | None = None,
        offset: int = 0,
        language: str = "",
        profile: str = "",
        tag: str = "",
    ) -> Search:
        """Return the search that *sender* reports, under a query id of its own."""
        return Search(
            sender.received_ms,
            sender.site.handle,
            new_query_id(sender.received_ms),
            self.recorder.clean_query(query),
            impressions,
            _within(total_hits, HITS_LIMIT),
            _within(offset, HITS_LIMIT) or 0,
            sender.visitor,
            sender.device,
            sender.robot,
            sender.drop_reason,
            language,
            profile,
            tag,
            sender.source,
            sender.trust,
            session=sender.session,
        )

    def words(
        self,
        sender: Sender,
        kind: type[Impression | Feedback | Answer | Conversion],
        /,
        **own: Any,
    ) -> Event:
        """Return an event of another *kind*: what all events have from *sender*, the rest from *own*.

        Texts of people (``query``, ``comment``, ``question``) are cleaned here.
        """
        for name in ("query", "comment", "question"):
            if name in own:
                own[name] = self._clean(name, own[name])
        return kind(
            received_ms=sender.received_ms,
            site=sender.site.handle,
            visitor=sender.visitor,
            session=sender.session,
            device=sender.device,
            robot=sender.robot,
            drop_reason=sender.drop_reason,
            source=sender.source,
            trust=sender.trust,
            **own,
        )

    def _clean(self, name: str, text: str) -> str:
        return self.recorder.clean_query(text) if name == "query" else self.recorder.mask(text)

    def dedupe_key(self, sender: Sender, kind: str, who: str, *rest: str) -> str:
        """Return the 16 hex digits that repeats of an event share; "" without a *who*: never a duplicate."""
        if not who or not sender.who:
            return ""
        return self._same(kind, sender.source, sender.site.handle, who, *rest)

    def record(self, *events: Event) -> bool:
        """Write *events* as one journal record; False when they could only be counted as dropped."""
        return self.recorder.record(*events)


def _session(text: str) -> str:
    is_clean = len(text) <= SESSION_LIMIT and text.isprintable()
    return text if is_clean else clean_text(text, SESSION_LIMIT)


def _referrer_host(environ: Environ, site: Site) -> str:
    referrer = environ.get("HTTP_REFERER")
    host = host_of(referrer) if referrer else ""
    return "" if host in site.hosts else host[:255]


def _within(number: int | None, limit: int) -> int | None:
    return number if number is not None and 0 <= number <= limit else None


@lru_cache(maxsize=1)
def find_protocols() -> tuple[type[Protocol], ...]:
    """Return the protocols of this folder, in order of their names."""
    modules = [
        import_module(f"{__name__}.{module.name}")
        for module in pkgutil.iter_modules(__path__)
        if not module.name.startswith("_")
    ]
    found = {
        each
        for module in modules
        for each in vars(module).values()
        if isinstance(each, type) and issubclass(each, Protocol) and each is not Protocol
    }
    return tuple(sorted(found, key=lambda each: each.name))
