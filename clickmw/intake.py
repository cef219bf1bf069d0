"""What pages report: each type of payload, and the event that is made of it.

A payload is read whole before it is asked who sent it. What a token says was signed by us; of
everything else a browser can say what it likes, and is called anonymous.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from clickmw.errors import BadEvent
from clickmw.events import (
    Answer,
    Click,
    Conversion,
    Event,
    Feedback,
    Return,
    Search,
    Seen,
    Shown,
    View,
    is_query_id,
    issued_ms,
    new_query_id,
    view_in,
)
from clickmw.payloads import Payload
from clickmw.queries import RAW_LIMIT
from clickmw.recorder import DAY_MS, Recorder
from clickmw.sameness import Sameness
from clickmw.scanner import MAX_POSITION
from clickmw.settings import Settings
from clickmw.sites import Site
from clickmw.targets import Target, resolve
from clickmw.tokens import MAX_AGE_MS, MAX_LENGTH, LinkSigner, LinkTarget

URL_LIMIT = 4_096  #: characters of an address that may be a signed link; of others half of it
TITLE_LIMIT = 200  #: characters of a title that are kept
DOC_ID_LIMIT = 255
HITS_LIMIT = 2**53
SCORE_LIMIT = 10
VALUE_LIMIT = 10**12
DWELL_LIMIT_S = DAY_MS // 1000

_CURRENCY = re.compile(r"[A-Z]{3}")
_ABSOLUTE = re.compile(r"https?://|/(?!/)", re.IGNORECASE)


class NotKept(BadEvent):
    """No event is made of a payload, whatever it says; counted as ``tally``."""

    def __init__(self, tally: str, verdict: str) -> None:
        super().__init__(verdict)
        self.tally = tally


class Visit(NamedTuple):
    """The request that reports; ``host`` is that of the page, with its port."""

    environ: Mapping[str, Any]
    host: str
    now_ms: int


class Sender(NamedTuple):
    """What every event has from whoever sent it, by the names of the events' fields."""

    received_ms: int
    site: str
    visitor: str
    device: str
    robot: str
    drop_reason: str
    trust: str
    source: str = "beacon"


class Place(NamedTuple):
    """A result that was followed or shown, by the names of a click's fields."""

    url: str
    position: int | None
    module_code: str
    doc_id: str
    title: str = ""
    query_id: str = ""
    view_id: str = ""


class Intake:
    """Make the events that pages report."""

    def __init__(self, settings: Settings, recorder: Recorder, signer: LinkSigner) -> None:
        self.sites = settings.sites
        self.recorder = recorder
        self.signer = signer
        self._links = settings.prefix + "/r/"
        self._same = Sameness(settings.secret)

    def read(self, visit: Visit, sent: Any) -> Event:
        """Return the event that *sent* describes.

        Raises :class:`BadEvent` or :class:`~clickmw.errors.BadToken` when it describes none, and
        :class:`NotKept` for an unknown host, and when the visitor opted out or sends too much.
        """
        payload = Payload(sent, visit.now_ms)
        make = _TYPES.get(payload.text("t"))
        if make is None:
            raise BadEvent("no event is of this type")
        return make(self, visit, payload)

    # -- who sends ---------------------------------------------------------------------------------

    def _sender(
        self, visit: Visit, site: Site, query_id: str, limited: str, trust: str = "signed"
    ) -> Sender:
        """Return who sends, as known on the day of *query_id*; *limited* is what the rate counts."""
        environ, now = visit.environ, visit.now_ms
        client = self.recorder.client(environ, site.handle, now, query_id)
        if client.wish == "drop":
            raise NotKept("opted_out", "opted_out")
        if not self.recorder.allows(environ, limited, now):
            raise NotKept("dropped.rate", "dropped: rate")
        is_stale = query_id and now - issued_ms(query_id) > MAX_AGE_MS
        reason = (
            ("robot" if client.robot else "")
            or ("stale" if is_stale else "")
            or self.recorder.drop_reason(trust)
        )
        return Sender(now, site.handle, client.visitor, client.device, client.robot, reason, trust)

    # -- what a token proves -----------------------------------------------------------------------

    def _view(self, visit: Visit, payload: Payload) -> View:
        target, site = self._linked(payload)
        view = payload.an_id("v", needed=True)
        if not payload.is_near(view):
            # The browser's clock is wrong, and somebody looks at the page all the same.
            view = new_query_id(visit.now_ms)
        # A page in a cache may be of any age: the view is of today, and so is its visitor.
        # Many are given it behind one address: an office, a school. What is limited is each view.
        sender = self._sender(visit, site, "", f"view {target.query_id}{view}")
        return View(**sender._asdict(), query_id=target.query_id, view_id=view)

    def _click(self, visit: Visit, payload: Payload) -> Click:
        target, site = self._linked(payload)
        view, client_id = payload.view(), payload.client_id()
        # What the redirect counts, too: a link is one link, whichever way it is followed.
        limited = target.query_id + view + target.location
        sender = self._sender(visit, site, target.query_id, limited)
        place = _place_of(target, site, view)
        return Click(**sender._asdict(), **place._asdict(), user_activated=1, client_id=client_id)

    def _seen(self, visit: Visit, payload: Payload) -> Seen:
        target, site = self._linked(payload)
        places, view = payload.places(), payload.view()
        # A page reports again and again, but each place once.
        limited = f"seen {target.query_id}{view} {places[:1]}"
        sender = self._sender(visit, site, target.query_id, limited)
        return Seen(**sender._asdict(), query_id=target.query_id, view_id=view, places=places)

    def _return(self, visit: Visit, payload: Payload) -> Return:
        target, site = self._linked(payload)
        view, client_id = payload.view(), payload.client_id()
        dwell_s = payload.number("s", DWELL_LIMIT_S)
        if dwell_s is None:
            raise BadEvent("s is missing")
        limited = f"return {target.query_id}{view}{target.location}"
        sender = self._sender(visit, site, target.query_id, limited)
        return Return(
            **sender._asdict(),
            query_id=target.query_id,
            view_id=view,
            url=site.absolute(target.location),
            doc_id=target.item,
            position=target.position,
            module_code=target.module_code,
            dwell_s=round(dwell_s, 1),
            client_id=client_id,
        )

    def _linked(self, payload: Payload) -> tuple[LinkTarget, Site]:
        target = self.signer.read_link(payload.text("k", MAX_LENGTH, needed=True))
        site = self.sites.by_handle(target.site or "default")
        if site is None:
            raise NotKept("rejected.unknown_site", "rejected: the link is of no site here")
        return target, site

    # -- what a page says by itself: its searches --------------------------------------------------

    def _search(self, visit: Visit, payload: Payload) -> Search:
        site, given = self._site(visit, payload), payload.text("g")
        query = payload.text("q", RAW_LIMIT, needed=True)
        offset = payload.whole("o", 0, MAX_POSITION) or 0
        own: dict[str, Any] = {
            "impressions": tuple(self._shown(visit, site, payload, offset)),
            "total_hits": payload.whole("n", 0, HITS_LIMIT),
            "language": payload.language(),
            "profile": payload.name("f"),
            "tag": payload.name("a"),
            "client_id": payload.client_id(),
        }
        is_good = is_query_id(given) and payload.is_near(given)
        query_id = given if is_good else new_query_id(visit.now_ms)
        sender = self._talker(visit, site, query_id, "search", given, query, offset)
        query = self.recorder.clean_query(query)
        return Search(**sender._asdict(), **own, query_id=query_id, query=query, offset=offset)

    def _shown(self, visit: Visit, site: Site, payload: Payload, offset: int) -> Iterator[Shown]:
        """Yield the results of a search; those without a position count on in the list of their module."""
        module, counted = payload.module(), Counter[str]()
        for each in payload.items("r"):
            place = self._place(visit, site, Payload(each, visit.now_ms))
            code = place.module_code or module
            counted[code] += 1
            position = place.position or offset + counted[code]
            yield Shown(place.url, position, code, place.doc_id, place.title)

    # -- its clicks --------------------------------------------------------------------------------

    def _result(self, visit: Visit, payload: Payload, kind: str = "result") -> Click:
        site = self._site(visit, payload)
        return self._followed(visit, payload, site, kind, self._place(visit, site, payload))

    def _source(self, visit: Visit, payload: Payload) -> Click:
        return self._result(visit, payload, "source")

    def _related(self, visit: Visit, payload: Payload) -> Click:
        site, text = self._site(visit, payload), payload.name("x", TITLE_LIMIT)
        if not text or not (payload.text("q") or payload.text("g")):
            raise BadEvent("related needs x and one of q and g")
        place = Place("", payload.position(), payload.module(), text, text)
        return self._followed(visit, payload, site, "related", place)

    def _followed(
        self, visit: Visit, payload: Payload, site: Site, kind: str, place: Place
    ) -> Click:
        """Return the click on *place*; repeats of one that belongs to no search are known by its words."""
        query, search = payload.text("q", RAW_LIMIT), payload.search()
        client_id, aim = payload.client_id(), place.url or place.doc_id
        place = place._replace(query_id=place.query_id or search)
        sender = self._talker(visit, site, place.query_id, kind, place.query_id, query, aim)
        query, key = self.recorder.clean_query(query), ""
        if sender.visitor and not place.query_id:
            key = self._same(kind, sender.source, site.handle, sender.visitor, query, aim)
        return Click(
            **sender._asdict(),
            **place._asdict(),
            kind=kind,
            query=query,
            dedupe_key=key,
            client_id=client_id,
        )

    # -- and what its visitors say and do ----------------------------------------------------------

    def _answer(self, visit: Visit, payload: Payload) -> Answer:
        site, search = self._site(visit, payload), payload.search()
        question, answer = payload.words("q", needed=True), payload.words("x", needed=True)
        is_question, client_id = payload.truth("y"), payload.client_id()
        sender = self._talker(visit, site, search, "answer", search, question)
        return Answer(
            **sender._asdict(),
            question=self.recorder.mask(question),
            # Masked, too: an answer may repeat what was asked.
            answer=self.recorder.mask(answer),
            is_question=is_question,
            query_id=search,
            client_id=client_id,
        )

    def _feedback(self, visit: Visit, payload: Payload) -> Feedback:
        site, search = self._site(visit, payload), payload.search()
        query, comment = payload.text("q", RAW_LIMIT), payload.words("x")
        score, client_id = payload.whole("y", 0, SCORE_LIMIT), payload.client_id()
        if score is None and not comment:
            raise BadEvent("feedback needs one of y and x")
        sender = self._talker(visit, site, search, "feedback", search, query)
        return Feedback(
            **sender._asdict(),
            score=score,
            comment=self.recorder.mask(comment),
            query_id=search,
            query=self.recorder.clean_query(query),
            client_id=client_id,
        )

    def _conversion(self, visit: Visit, payload: Payload) -> Conversion:
        site, search = self._site(visit, payload), payload.search()
        order_id, url = payload.name("x"), payload.text("u", URL_LIMIT)
        own: dict[str, Any] = {
            "value": payload.number("y", VALUE_LIMIT),
            "currency": payload.text("c").upper(),
            "url": _address(visit, site, url) if url else "",
            "client_id": payload.client_id(),
        }
        if not order_id:
            raise BadEvent("a conversion needs the id of its order as x")
        if own["currency"] and not _CURRENCY.fullmatch(own["currency"]):
            raise BadEvent("c is no currency of three letters")
        sender = self._talker(visit, site, search, "conversion", order_id)
        # An order is one order, whoever reports it.
        key = self._same("conversion", sender.source, site.handle, order_id)
        return Conversion(
            **sender._asdict(), **own, order_id=order_id, query_id=search, dedupe_key=key
        )

    # -- what these have in common -----------------------------------------------------------------

    def _site(self, visit: Visit, payload: Payload) -> Site:
        """Return the site that the page names, when it is one of its host; else that of its host."""
        stated = payload.text("s")
        named = self.sites.named_by_page(stated, visit.host) if stated else None
        site = named or self.sites.for_host(visit.host)
        if site is None:
            raise NotKept("rejected.unknown_host", "rejected: no site has this host")
        return site

    def _talker(self, visit: Visit, site: Site, query_id: str, *about: object) -> Sender:
        """Return who sends, as known on the day of *query_id*; the rate counts what it is *about*."""
        # By a hash: what is remembered of a sender shall not grow with what it sends.
        return self._sender(visit, site, query_id, str(hash(about)), "anonymous")

    def _place(self, visit: Visit, site: Site, payload: Payload) -> Place:
        """Return the result that *payload* names, by its address or by a link of ours to it."""
        url = payload.text("u", URL_LIMIT, needed=True)
        position, module = payload.position(), payload.module()
        doc_id, title = payload.name("d", DOC_ID_LIMIT), payload.words("h", TITLE_LIMIT)
        link = self.signer.find_link(url, self._links)
        if link is None or (link.site or "default") != site.handle:
            address = _address(visit, site, url)
            return Place(address, position, module, "" if doc_id == url else doc_id, title)
        place = _place_of(link, site, view_in(url, visit.now_ms))
        return place._replace(
            position=position or link.position,
            module_code=module or link.module_code,
            doc_id=doc_id or link.item,
            title=title,
        )


#: What a payload's ``t`` may be.
_TYPES: dict[str, Callable[[Intake, Visit, Payload], Event]] = {
    "view": Intake._view,
    "click": Intake._click,
    "seen": Intake._seen,
    "return": Intake._return,
    "search": Intake._search,
    "result": Intake._result,
    "related": Intake._related,
    "answer": Intake._answer,
    "source": Intake._source,
    "feedback": Intake._feedback,
    "conversion": Intake._conversion,
}


def _place_of(target: LinkTarget, site: Site, view: str) -> Place:
    _, query_id, position, module_code, item, location = target
    return Place(site.absolute(location), position, module_code, item, "", query_id, view)


def _address(visit: Visit, site: Site, url: str) -> str:
    """Return *url*, an http(s) address or an absolute path, as it would stand in a link of ours."""
    if not _ABSOLUTE.match(url):
        raise BadEvent("u is no http or https address and no absolute path")
    found = resolve(url, page_path="/", page_host=visit.host)
    if isinstance(found, Target):
        return site.absolute(found.location)
    if found == "private":  # nobody is led there, and results of an intranet are results
        return url
    raise BadEvent(f"u cannot be followed: {found}")
