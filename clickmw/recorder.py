"""The one door every event passes on its way to the journal.

Here a request becomes clean: address and agent turn into ``visitor``, ``device`` and ``robot``,
and what a visitor does not want kept is only counted. What needs other events (duplicates, joins,
rollups) is left to the drain.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from clickmw.clocks import DAY_MS as DAY_MS
from clickmw.clocks import now_ms as now_ms
from clickmw.events import Event, issued_ms
from clickmw.journal import Journal, warn_once_a_minute
from clickmw.queries import RAW_LIMIT, mask, normal_query
from clickmw.robots import classify
from clickmw.settings import Settings
from clickmw.visitors import (
    Salts,
    address_prefix,
    behind_unnamed_proxy,
    client_address,
    opted_out,
    visitor_id,
)

#: Key of the environ: a click of our own, which shall not count. No client can set it.
TEST = "clickmw.test"
Environ = Mapping[str, Any]


class Client(NamedTuple):
    """Who sent a request, as far as we keep it; ``wish`` is "", "drop" or "anonymous"."""

    visitor: str
    device: str
    robot: str
    declared: bool
    wish: str


class RateLimit:
    """Count requests per address and second, and per link, address and minute.

    Fixed windows: both tables are emptied when theirs ends, or when they are full. Links are known by
    a hash: what is remembered of a sender shall not grow with what it sends.
    """

    MOST = 100_000  #: addresses of a second, links of a minute

    def __init__(self, per_second: int | None, per_link_minute: int = 5) -> None:
        self.per_second = per_second or 0
        self.per_link_minute = per_link_minute
        self._second = self._minute = 0
        self._by_address: dict[str, int] = {}
        self._by_link: dict[int, int] = {}

    def allows(self, address: str, link: str, now_ms: int) -> bool:
        """Take note of one request; False when it is one too many to be kept."""
        second, minute = now_ms // 1000, now_ms // 60_000
        if second != self._second or len(self._by_address) >= self.MOST:
            self._second, self._by_address = second, {}
        if minute != self._minute or len(self._by_link) >= self.MOST:
            self._minute, self._by_link = minute, {}
        by_address = self._by_address[address] = self._by_address.get(address, 0) + 1
        if by_address > self.per_second:
            return False
        key = hash((link, address))
        by_link = self._by_link[key] = self._by_link.get(key, 0) + 1
        return by_link <= self.per_link_minute


class Recorder:
    """Make events clean and write them to *journal*."""

    def __init__(self, settings: Settings, journal: Journal, salts: Salts) -> None:
        self.settings = settings
        self.journal = journal
        self.salts = salts
        self.rate = RateLimit(settings.redirect_rate) if settings.redirect_rate else None
        #: Called after each written record; the drain starts itself here, in the process that writes.
        self.on_write: Callable[[], None] = _nothing

    def client(self, environ: Environ, site: str, now_ms: int, query_id: str = "") -> Client:
        """Return who sent *environ*; with a query id the visitor is the one of the day it was issued."""
        agent: str = environ.get("HTTP_USER_AGENT") or ""
        device, robot, declared = classify(agent)
        wish = self.wish(environ)
        visitor = "" if wish else self._visitor(environ, site, agent, now_ms, query_id)
        return Client(visitor, device, robot or "", declared, wish)

    def wish(self, environ: Environ) -> str:
        """Return what is done for a visitor who asks not to be counted: "", "drop" or "anonymous"."""
        if self.settings.optout == "ignore" or not opted_out(environ):
            return ""
        return self.settings.optout

    def named_visitor(self, site: str, name: str, now_ms: int) -> str:
        """Return the visitor that a sender calls *name*, for one day; "" when visitors are not told apart."""
        if self.settings.visitor == "none":
            return ""
        today = now_ms // DAY_MS
        salt = self.salts.salt(today, today=today)
        return visitor_id(salt, site, "", name) if salt else ""

    def leaves_uncounted(self, environ: Environ) -> bool:
        """Tell whether clicks of this client would not count anyway: a robot, or opted out."""
        if classify(environ.get("HTTP_USER_AGENT")).robot:
            return True
        return self.settings.optout == "drop" and opted_out(environ)

    def _visitor(self, environ: Environ, site: str, agent: str, now_ms: int, query_id: str) -> str:
        how = self.settings.visitor
        if how == "none":
            return ""
        today = now_ms // DAY_MS
        salt = self.salts.salt(issued_ms(query_id) // DAY_MS, today=today) if query_id else None
        salt = salt or self.salts.salt(today, today=today)
        if salt is None:
            return ""
        if callable(how):
            return self._named_visitor(how, environ, site, salt)
        address = client_address(environ, self.settings.trusted_proxies)
        return visitor_id(salt, site, address, agent)

    def _named_visitor(
        self, how: Callable[[Any], Any], environ: Environ, site: str, salt: bytes
    ) -> str:
        try:
            name = how(environ)
        except Exception as error:
            warn_once_a_minute(
                "visitor", "clickmw: the visitor setting raised %r; the event has no visitor", error
            )
            return ""
        return visitor_id(salt, site, "", str(name)) if name else ""

    def allows(self, environ: Environ, link: str, now_ms: int) -> bool:
        """Tell whether a redirect is within ``redirect_rate``; behind an unnamed proxy all are."""
        if self.rate is None:
            return True
        if behind_unnamed_proxy(environ, self.settings.trusted_proxies):
            warn_once_a_minute(
                "proxy",
                "clickmw: a proxy stands before this site, and all visitors seem to have its address. "
                "Set trusted_proxies=1 (the number of proxies you run).",
            )
            return True
        address = client_address(environ, self.settings.trusted_proxies)
        return self.rate.allows(address_prefix(address), link, now_ms)

    def clean_query(self, query: str) -> str:
        """Return the normal form of what somebody typed, masked by the site's own hooks first.

        A hook that fails leaves nothing of the query: what it should have masked is not known.
        """
        try:
            for hook in self.settings.scrub:
                query = hook(query)
            return normal_query(query)
        except Exception as error:
            warn_once_a_minute(
                "scrub", "clickmw: a scrub hook raised %r; the query is left out", error
            )
            return ""

    def mask(self, text: str) -> str:
        """Return free text of a visitor without what is personal in it, at most 2,000 characters."""
        try:
            for hook in self.settings.scrub:
                text = hook(text)
            return mask(text[:RAW_LIMIT])
        except Exception as error:
            warn_once_a_minute(
                "scrub", "clickmw: a scrub hook raised %r; the text is left out", error
            )
            return ""

    def drop_reason(self, trust: str) -> str:
        """Return "trust" when the site does not count events of this trust."""
        return "" if trust in self.settings.count_trust else "trust"

    def record(self, *events: Event) -> bool:
        """Write *events* as one journal record; False when they could only be counted as dropped."""
        written = self.journal.write(events)
        self.on_write()
        return written

    def tally(self, name: str, count: int = 1) -> None:
        """Count something that is not kept: ``opted_out``, ``prefetch``, ``rejected.…``, ``dropped.…``."""
        self.journal.tally(name, count)
        self.on_write()


def _nothing() -> None: ...
