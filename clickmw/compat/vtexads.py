"""VTEX Ads: beacons that tell that an ad was served, seen and clicked, and what was bought.

Source, where nothing else is said: VTEX's pages for developers and the senders it publishes. Its
own pages contradict each other; we do what its service was seen to answer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

from clickmw.ad_urls import AD_ID, TARGET, Ad, AdSigner, AdUrls
from clickmw.compat import POSITION_LIMIT, Desk, Protocol, Sender
from clickmw.errors import AccessDenied, BadEvent
from clickmw.events import Conversion, Event, Impression, Shown
from clickmw.keyring import Holder, KeyRing, shown_key
from clickmw.openapi import (
    API_HEADERS,
    ERROR,
    KEYED,
    TEXT,
    answer,
    error_reply,
    parameter,
    record,
    wrong_method,
)
from clickmw.pages import ResultPage
from clickmw.paths import Endpoint
from clickmw.schemas import Schema, problem, problems
from clickmw.sites import Site
from clickmw.targets import without_user
from clickmw.wire import (
    BadRequest,
    Headers,
    Reply,
    Request,
    clean_text,
    credentialed_cors,
    first,
    json_reply,
    pairs,
    parse_json,
    repeats,
    scheme_of,
    whole_number,
)

AD_ID_LIMIT = 128
ORDER_ID_LIMIT = 64
ITEMS_LIMIT = 100  #: items of an order that are kept
ITEM_TEXT_LIMIT = 64
#: Prices and quantities beyond are kept by nobody; below, no sum of an order overflows.
ITEM_NUMBER_LIMIT = 10**12

_ABSENT_TEXT = {"type": "string", "nullable": True}
_NUMBER = {"type": "number"}
#: What an impression, a view and a click say. Either id is enough: that is what the service's own
#: error answers say, though its guide asks for both.
EVENT: Schema = {
    "type": "object",
    "properties": {"user_id": TEXT, "session_id": TEXT},
    "anyOf": [{"required": ["user_id"]}, {"required": ["session_id"]}],
}
#: What a conversion says. No field of an item is required: VTEX's Kotlin library sends product_sku
#: instead of sku and no promotional_price.
ORDER: Schema = {
    "type": "object",
    "required": ["user_id", "order_id", "publisher_id", "items", "created_at"],
    "properties": {
        "user_id": TEXT,
        "session_id": TEXT,
        "order_id": TEXT,
        "publisher_id": TEXT,
        "items": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "sku": TEXT,
                    "product_sku": TEXT,
                    "product_id": _ABSENT_TEXT,
                    "seller_id": _ABSENT_TEXT,
                    "quantity": _NUMBER,
                    "price": _NUMBER,
                    "promotional_price": {"type": "number", "nullable": True},
                },
            },
        },
        "created_at": TEXT,
    },
}
_ITEM = tuple(ORDER["properties"]["items"]["items"]["properties"])

_IDS = {
    "user_id": "6f92d1e9-00b6-4f8b-9645-faeab321e1cc",
    "session_id": "5898b8d1-c250-4bb5-931b-8b9d0ee7b499",
}
_BOUGHT = {
    **_IDS,
    "order_id": "1501",
    "publisher_id": "45",
    "items": [{"sku": "12221", "quantity": 2, "price": 500.0, "promotional_price": 400.0}],
    "created_at": "2026-01-01T09:20:00Z",
}
_PREFLIGHT = [
    ("Access-Control-Allow-Methods", "POST, OPTIONS"),
    ("Access-Control-Allow-Headers", "content-type"),
    ("Access-Control-Max-Age", "600"),
]
_SOON = {
    noun: f'{{"messages":["{noun} will be processed soon"]}}'.encode()
    for noun in ("impression", "view", "click", "conversion")
}
_JSON = ("Content-Type", "application/json")
_ALLOW = ("Allow", "POST, OPTIONS")
_WAIT = ("Retry-After", "1")
_NO_KEY = "Show a key of this site in X-Api-Key or Authorization: Bearer."
_OTHER_KEY = "This key does not open that site."
_SLOWER = "too many at once; try again in a second"

# -- OpenAPI ---------------------------------------------------------------------------------------

_MESSAGES = record("VtexAdsMessages", {"messages": {"type": "array", "items": TEXT}})
_PROBLEM = record(
    "VtexAdsProblem",
    {
        "instancePath": TEXT,
        "keyword": TEXT,
        "message": TEXT,
        "params": {"type": "object"},
        "schemaPath": TEXT,
    },
)
_PROBLEMS = {"type": "array", "minItems": 1, "items": _PROBLEM}
_RESPONSES = {
    "202": answer("Accepted; also when it is a duplicate.", json=_MESSAGES),
    "400": answer("The body cannot be read.", json=_PROBLEMS),
    "411": answer("The body came in chunks that this server does not end.", json=_PROBLEMS),
    "413": answer("The body is too long.", json=_PROBLEMS),
    "415": answer("The body is compressed.", json=_PROBLEMS),
    "422": answer("Fields are missing or of the wrong type.", json=_PROBLEMS),
    "429": answer("Too many beacons at once.", json=_MESSAGES),
    "503": answer("Beacons cannot be kept now.", json=_MESSAGES),
}
_STANDS_IN = "Tells people apart where the body does not; the body must be complete without it."
_OF_AD = [
    parameter(
        "ad_id", "The ad, whether we know it or not.", {**TEXT, "minLength": 1}, where="path"
    ),
    parameter("pos", "The position, where the URL does not state one.", TEXT),
    parameter("user_id", _STANDS_IN, TEXT),
    parameter("session_id", _STANDS_IN, TEXT),
    parameter("sign", "Proof that we wrote the parameters before it.", TEXT),
]


def _beacon(noun: str, summary: str, body: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "operationId": f"vtexads{noun.title()}",
        "summary": summary,
        "description": "The body is read as what it looks like, whatever its Content-Type says.",
        "tags": ["VTEX Ads"],
        "requestBody": {"required": True, "content": body},
        "responses": _RESPONSES,
    }


def _of_ad(noun: str, summary: str) -> Endpoint:
    body = {"schema": EVENT, "example": _IDS}
    kinds = {"application/json": body, "application/x-www-form-urlencoded": body}
    operation = {**_beacon(noun, summary, kinds), "parameters": _OF_AD}
    return Endpoint(f"v1/beacon/{noun}/{{ad_id}}", noun, {"post": operation})


_ORDER_PLACED = _beacon(
    "conversion",
    "An order was placed",
    {"application/json": {"schema": ORDER, "example": _BOUGHT}},
)


def _asked(name: str, description: str, pattern: str) -> dict[str, Any]:
    return parameter(name, description, {**TEXT, "pattern": f"^{pattern}$"})


_URLS = {
    "operationId": "vtexadsUrls",
    "summary": "Make the signed URLs of an ad",
    "description": "For servers that show ads. Any key of the site will do.",
    "tags": ["VTEX Ads"],
    "security": KEYED,
    "parameters": [
        {**_asked("ad_id", "The ad.", AD_ID), "required": True, "example": "ad-123"},
        _asked("url", "Where it leads.", f"(?:{TARGET})?"),
        parameter("query", "The search beside which it is shown.", TEXT),
        _asked(
            "query_id", "Of that search, where clickmw made its links.", "(?:[A-Za-z0-9_-]{16})?"
        ),
        parameter(
            "position", "From 1.", {"type": "integer", "minimum": 1, "maximum": POSITION_LIMIT}
        ),
        _asked("module", "The block of the page.", "[A-Za-z0-9_-]{0,32}"),
        parameter("site", "Handle of the site, for keys of the whole install.", TEXT),
    ],
    "responses": {
        "200": answer(
            "Where to send the beacons, with POST.",
            json=record("VtexAdsUrls", dict.fromkeys(AdUrls._fields, TEXT)),
        ),
        "400": answer("A parameter is missing or wrong.", json=ERROR),
        "401": answer("No key, or a wrong one.", json=ERROR),
        "403": answer("The key does not open the site that was named.", json=ERROR),
        "429": answer("Too many requests at once.", json=ERROR),
        "503": answer("This cannot be answered now.", json=_MESSAGES),
    },
}


class _Told(NamedTuple):
    """What a beacon of an ad tells, and how far it is believed."""

    sender: Sender
    ad: Ad
    position_raw: str
    #: What repeats share: a new session counts again.
    duplicates: tuple[str, ...]

    @property
    def position(self) -> int | None:
        """The signed position, else the client's own."""
        if self.ad.position is not None:
            return self.ad.position
        number = whole_number(self.position_raw)
        return number if number is not None and 0 <= number <= POSITION_LIMIT else None


class VtexAds(Protocol):
    """Take in the beacons of ads, and make the URLs they are sent to."""

    name: ClassVar[str] = "vtexads"
    endpoints: ClassVar[tuple[Endpoint, ...]] = (
        _of_ad("impression", "An ad was served"),
        _of_ad("view", "An ad was really seen"),
        _of_ad("click", "An ad was followed"),
        Endpoint("v1/beacon/conversion", "conversion", {"post": _ORDER_PLACED}),
        Endpoint("v1/beacon/urls", "urls", {"get": _URLS}),
    )

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        settings = desk.settings
        self._signer = AdSigner(settings.secret, settings.old_secrets)
        self._keys = KeyRing(settings)
        self._by_ad: dict[str, Site] = {}
        self._by_publisher: dict[str, Site] = {}
        for site in settings.sites.all:
            if site.publisher:
                self._by_publisher.setdefault(str(site.publisher.id), site)
            for advertiser in site.advertisers:
                for ad_id in advertiser.ad_ids:
                    self._by_ad.setdefault(ad_id, site)

    # -- beacons -----------------------------------------------------------------------------------

    def impression(self, request: Request) -> Reply:
        """Answer ``v1/beacon/impression/{ad_id}``."""
        return self._take(request, "impression", EVENT, self._impression)

    def view(self, request: Request) -> Reply:
        """Answer ``v1/beacon/view/{ad_id}``."""
        return self._take(request, "view", EVENT, self._view)

    def click(self, request: Request) -> Reply:
        """Answer ``v1/beacon/click/{ad_id}``."""
        return self._take(request, "click", EVENT, self._click)

    def conversion(self, request: Request) -> Reply:
        """Answer ``v1/beacon/conversion``."""
        return self._take(request, "conversion", ORDER, self._conversion)

    def unable(self, request: Request) -> Reply:
        """Return the answer while events cannot be kept."""
        return _messages(
            503, "this cannot be kept now; try again later", credentialed_cors(request)
        )

    def _take(
        self,
        request: Request,
        noun: str,
        schema: Schema,
        event_of: Callable[[Request, dict[str, Any]], Event | None],
    ) -> Reply:
        headers = credentialed_cors(request)
        if request.method == "OPTIONS":
            return Reply(204, b"", [*headers, *_PREFLIGHT, _ALLOW])
        if request.method != "POST":
            self.desk.reject("vtexads_method")
            return _messages(405, "send it with POST", [*headers, _ALLOW])
        try:
            payload, _ = _read(request), request.query
        except BadRequest as error:
            self.desk.reject("vtexads_body")
            return json_reply(error.status, [problem("", "body", str(error), {}, "#")], headers)
        wrong = problems(schema, payload)
        if wrong:
            self.desk.reject("vtexads_invalid")
            return json_reply(422, wrong, headers)
        if not self.desk.allows(request.environ, self.name):
            return _messages(429, _SLOWER, [*headers, _WAIT])
        event = event_of(request, payload)
        if event is not None and not self.desk.record(event):
            return self.unable(request)
        return Reply(202, _SOON[noun], [_JSON, *headers])

    def _told(self, request: Request, payload: dict[str, Any]) -> _Told | None:
        """Return what a beacon tells, None when there is nobody or nothing to keep it for."""
        ad, site = self._ad(request)
        if site is None or not ad.ad_id:
            self.desk.reject("vtexads_host" if site is None else "vtexads_ad")
            return None
        user, session = _id(request, payload, "user_id"), _id(request, payload, "session_id")
        sender = self._sender(request, site, user, session, "signed" if ad.site else "anonymous")
        if sender is None:
            return None
        shared = (sender.who, user, session, sender.device, ad.ad_id)
        return _Told(sender, ad, first(request.query, "pos") or "", shared)

    def _ad(self, request: Request) -> tuple[Ad, Site | None]:
        """Return the ad and the site it is shown on; of an ad that we did not sign only its id is known."""
        ad_id = request.names["ad_id"]
        ad = self._signer.read(ad_id, request.query)
        site = self.desk.settings.sites.by_handle(ad.site) if ad else None
        if ad and site:
            return ad, site
        unsigned = Ad(clean_text(ad_id, AD_ID_LIMIT), "")
        return unsigned, self._by_ad.get(ad_id) or self._here(request)

    def _here(self, request: Request) -> Site | None:
        return self.desk.settings.sites.for_host(request.header("Host"))

    def _sender(
        self, request: Request, site: Site, user: str, session: str, trust: str
    ) -> Sender | None:
        who = user or session
        return self.desk.sender(
            request.environ, self.name, site, trust=trust, who=who, session=session
        )

    def _impression(self, request: Request, payload: dict[str, Any]) -> Event | None:
        told = self._told(request, payload)
        if told is None:
            return None
        key = self.desk.dedupe_key(told.sender, "ad_impression", *told.duplicates)
        return self._shown(told, "ad_impression", key)

    def _view(self, request: Request, payload: dict[str, Any]) -> Event | None:
        told = self._told(request, payload)
        # No window is stated for views: none is ever a duplicate.
        return None if told is None else self._shown(told, "ad_view", "")

    def _shown(self, told: _Told, kind: str, dedupe_key: str) -> Event:
        ad, site = told.ad, told.sender.site
        link = self.desk.link(ad.url, site) if ad.url else None
        url = site.absolute(link.location if link else without_user(ad.url))
        doc_id = "" if url else ad.ad_id
        return self.desk.words(
            told.sender,
            Impression,
            kind=kind,
            shown=(Shown(url, told.position or 0, ad.module_code, doc_id),),
            query=ad.query,
            query_id=link.query_id if link else ad.query_id,
            ad_id=ad.ad_id,
            dedupe_key=dedupe_key,
        )

    def _click(self, request: Request, payload: dict[str, Any]) -> Event | None:
        told = self._told(request, payload)
        if told is None:
            return None
        ad = told.ad
        click = self.desk.click(
            told.sender,
            url=told.sender.site.absolute(ad.url),
            query=ad.query,
            position=told.position,
            position_raw=told.position_raw,
            module_code=ad.module_code,
            doc_id="" if ad.url else ad.ad_id,
            kind="ad",
            ad_id=ad.ad_id,
            duplicates=told.duplicates,
        )
        return click if click.query_id else click._replace(query_id=ad.query_id)

    def _conversion(self, request: Request, payload: dict[str, Any]) -> Event | None:
        site = self._by_publisher.get(payload["publisher_id"]) or self._here(request)
        if site is None:
            self.desk.reject("vtexads_host")
            return None
        user, session = _id(request, payload, "user_id"), _id(request, payload, "session_id")
        sender = self._sender(request, site, user, session, "anonymous")
        if sender is None:
            return None
        order_id, items = payload["order_id"], [_item(each) for each in payload["items"]]
        # An order is one order whoever reports it.
        key = self.desk.dedupe_key(sender._replace(who=order_id), "conversion", order_id)
        return self.desk.words(
            sender,
            Conversion,
            order_id=clean_text(order_id, ORDER_ID_LIMIT),
            value=_value(items),
            items=json.dumps(items[:ITEMS_LIMIT], ensure_ascii=False, separators=(",", ":")),
            dedupe_key=key,
        )

    # -- the URLs ----------------------------------------------------------------------------------

    def urls(self, request: Request) -> Reply:
        """Answer ``v1/beacon/urls``: the signed URLs of one ad, for whoever has a key of its site.

        Its errors are in the words of the hienergy API, whose keys are asked for.
        """
        if request.method not in ("GET", "HEAD"):
            self.desk.reject("vtexads_method")
            return wrong_method()
        if not self.desk.allows(request.environ, self.name):
            return error_reply(429, "TOO_MANY_REQUESTS", _SLOWER, [_WAIT])
        try:
            holder = self._keys.find(shown_key(request.environ, request.query))
            if holder is None:
                self.desk.reject("vtexads_key")
                return error_reply(401, "UNAUTHORIZED", _NO_KEY, [("WWW-Authenticate", "Bearer")])
            urls = self._signed_urls(request, self._asked_site(request, holder))
        except AccessDenied as error:
            self.desk.reject("vtexads_key")
            return error_reply(403, "FORBIDDEN", str(error))
        except BadEvent as error:
            self.desk.reject("vtexads_invalid")
            return error_reply(400, "BAD_REQUEST", str(error))
        return json_reply(200, urls._asdict(), API_HEADERS)

    def _asked_site(self, request: Request, holder: Holder) -> Site:
        """Return the site that URLs are asked for: the key's own, the named one or the host's."""
        if repeats(request.query, "site"):
            raise BadEvent("site was sent twice")
        sites, named = self.desk.settings.sites, first(request.query, "site")
        handle = holder.site or named
        site = sites.by_handle(handle) if handle else self._here(request)
        if handle and (site is None or (named and named != handle)):
            raise AccessDenied(_OTHER_KEY)
        if site is None:
            raise BadEvent("name the site: site=<handle>")
        return site

    def _signed_urls(self, request: Request, site: Site) -> AdUrls:
        asked = dict(reversed(request.query))  # the first of a name counts
        position = asked.get("position")
        ad = Ad(
            asked.get("ad_id", ""),
            site.handle,
            asked.get("url", ""),
            asked.get("query", ""),
            None if position is None else whole_number(position) or 0,
            asked.get("module", ""),
            asked.get("query_id", ""),
        )
        return self._signer.urls(ad, self._base(request))

    def _base(self, request: Request) -> str:
        """Return where our paths begin for whoever sent *request*."""
        desk = self.desk
        page = ResultPage(request.environ, desk.settings, desk.recorder, desk.signer)
        scheme = scheme_of(request.environ, desk.settings.trusted_proxies)
        return f"{scheme}://{page.host}{page.prefix}"


# -- what a body says ------------------------------------------------------------------------------


def _read(request: Request) -> Any:
    """Return the body: JSON when it says or looks so, else form fields, the first of each name."""
    body = request.body()
    if request.media_type.endswith("json") or body.lstrip()[:1] in (b"{", b"[", b'"'):
        return parse_json(body)
    return dict(reversed(pairs(body)))


def _id(request: Request, payload: Mapping[str, Any], name: str) -> str:
    """Return an id of the body, else of the URL, else "".

    ``undefined`` is what browsers make of a variable without a value: VTEX's own store app sends
    it for a session that it does not know.
    """
    for found in (payload.get(name), first(request.query, name)):
        if found and found != "undefined":
            return str(found)
    return ""


def _item(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return the known fields of an item, each bounded."""
    kept = ((name, _kept(item.get(name))) for name in _ITEM)
    return {name: value for name, value in kept if value is not None}


def _kept(value: Any) -> Any:
    """Return what of a field is kept; None: nothing."""
    if isinstance(value, str):
        return clean_text(value, ITEM_TEXT_LIMIT)
    if value is None or not -ITEM_NUMBER_LIMIT <= value <= ITEM_NUMBER_LIMIT:
        return None
    return value


def _value(items: list[dict[str, Any]]) -> float | None:
    """Return what was paid in all: prices are for one piece. None when a price or quantity is missing."""
    total = 0.0
    for item in items:
        quantity, price = item.get("quantity"), item.get("promotional_price") or item.get("price")
        if quantity is None or price is None:
            return None
        total += quantity * price
    return total if items else None


# -- what is answered ------------------------------------------------------------------------------


def _messages(status: int, message: str, headers: Headers) -> Reply:
    return json_reply(status, {"messages": [message]}, headers)
