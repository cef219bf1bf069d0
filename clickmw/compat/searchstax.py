"""SearchStax's track endpoint: a search page reports one event per request, as JSON in base64.

Source, where nothing else is said: SearchStax's own description of the endpoint. What its sample
application and its older libraries send is understood as well. No public text shows the body of an
error, so those here are our own.
"""

from __future__ import annotations

import hmac
import re
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable
from json import dumps
from typing import Any, ClassVar, NamedTuple

from clickmw.compat import HITS_LIMIT, POSITION_LIMIT, TITLE_LIMIT, URL_LIMIT, Desk, Protocol
from clickmw.events import Answer, Event, Feedback, Impression, Shown
from clickmw.openapi import TEXT, answer, parameter, record
from clickmw.paths import Endpoint
from clickmw.queries import RAW_LIMIT
from clickmw.sites import Site
from clickmw.targets import without_user
from clickmw.visitors import is_prefetch
from clickmw.wire import (
    BODY_LIMIT,
    BadRequest,
    Reply,
    Request,
    clean_text,
    json_reply,
    parse_json,
    whole_number,
)

IMPRESSIONS_MOST = 200  #: results or suggestions of one event
SCORE_MOST = 10
PAGE_HITS = 10  #: hits on a page where nobody says how many
WHO_MOST = 255  #: characters of a visitor's id that tell visitors apart

#: What ``error.code`` may say.
_CODES = (
    "method_not_allowed",
    "invalid",
    "unknown_key",
    "prefetch",
    "too_many_requests",
    "unavailable",
)
_METHODS = ("GET", "HEAD", "POST", "OPTIONS")
_ALLOW = ("Allow", ", ".join(_METHODS))
#: On errors, too: a page on another host reads the status of its plain GET.
_ALWAYS = [
    ("Access-Control-Allow-Origin", "*"),
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
]
_PREFLIGHT = [
    ("Access-Control-Allow-Methods", "GET, HEAD, POST"),
    ("Access-Control-Allow-Headers", "Content-Type"),
    ("Access-Control-Max-Age", "600"),
    _ALLOW,
    *_ALWAYS,
]
_WAIT = (("Retry-After", "1"), ("Access-Control-Expose-Headers", "Retry-After"))
_ACCEPTED = Reply(204, b"", _ALWAYS)

#: A form turns ``+`` into a blank; ``-`` and ``_`` are the alphabet that is safe in URLs.
_ANY_ALPHABET = bytes.maketrans(b" -_", b"++/")
_LINE_BREAKS = b"\r\n"
_URL = re.compile(r"https?://[^/?#\s]", re.IGNORECASE)
_LANGUAGE = re.compile(r"[a-z0-9-]{1,35}")
#: Needed, but possibly empty: a page of all results, a result without a title, no answer found.
_MAY_BE_EMPTY = ("_vid", "query", "cDocTitle", "answer")
_TRUTH = {"true": 1, "false": 0}


# --- one event -----------------------------------------------------------------------------------


def _read_event(request: Request) -> tuple[_Kind, dict[str, Any]]:
    """Return the kind of the event and its properties; none that it needs is missing."""
    payload = parse_json(_as_utf8(_payload(request)), "the event")
    if not isinstance(payload, dict):
        raise BadRequest("the event must be a JSON object")
    event, properties = payload.get("event"), payload.get("properties")
    kind = _KINDS.get(event) if isinstance(event, str) else None
    if kind is None:
        raise BadRequest(f"event must be one of {', '.join(_KINDS)}")
    if not isinstance(properties, dict):
        raise BadRequest("properties must be an object")
    missing = [
        name
        for name in ("key", "_vid", *kind.needs)
        if properties.get(name) is None or (properties[name] == "" and name not in _MAY_BE_EMPTY)
    ]
    if missing:
        raise BadRequest(f"missing in properties: {', '.join(missing)}")
    return kind, properties


def _payload(request: Request) -> bytes:
    """Return the JSON text of the one event of a request: its ``data``, or the body itself."""
    if len(request.environ.get("QUERY_STRING", "")) > BODY_LIMIT:
        raise BadRequest(f"the query string is longer than {BODY_LIMIT} characters")
    body = request.body()
    bare = body.lstrip().startswith(b"{")
    fields = request.query if bare or not body else [*request.query, *request.form()]
    sent = [value for name, value in fields if name == "data"]
    if len(sent) + bare != 1:
        raise BadRequest("send one event: its JSON in base64 as data, once")
    return body if bare else _from_base64(sent[0])


def _from_base64(data: str) -> bytes:
    """Return the bytes of base64 in any spelling that senders or the way here may give it.

    Unescaped in a query string, ``+`` arrives as a blank. The base64 of JSON neither begins nor
    ends with ``+``, so blanks around it are only that.
    """
    try:
        text = data.strip().encode("ascii").translate(_ANY_ALPHABET, _LINE_BREAKS)
        return a2b_base64(text + b"=" * (-len(text) % 4), strict_mode=True)
    except ValueError as error:
        raise BadRequest("data is not base64") from error


def _as_utf8(text: bytes) -> bytes:
    """Return *text* as UTF-8: ``btoa`` of a browser writes one byte a character, Latin-1."""
    try:
        text.decode()
    except UnicodeDecodeError:
        return text.decode("latin-1").encode()
    return text


class _Said:
    """The properties of one event, or of one impression in it; ``place`` names it in errors.

    Each reading raises :class:`BadRequest` for what could not be kept as it was sent.
    """

    __slots__ = ("desk", "place", "properties", "site")

    def __init__(self, desk: Desk, site: Site, properties: dict[str, Any], place: str = "") -> None:
        self.desk = desk
        self.site = site
        self.properties = properties
        self.place = place

    def text(self, name: str) -> str:
        """Return a text, "" when it was not sent; a number becomes its digits."""
        value = self.properties.get(name)
        if isinstance(value, str):
            return value
        if value is None:
            return ""
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise BadRequest(f"{self.place}{name} must be a text")
        return str(value)

    def count(self, name: str, most: int) -> int | None:
        """Return a whole number from 0 to *most*, also from a text; None when it was not sent."""
        value = self.properties.get(name)
        if value is None or value == "":
            return None
        number = whole_number(value)
        if number is None or not 0 <= number <= most:
            raise BadRequest(f"{self.place}{name} must be a whole number from 0 to {most}")
        return number

    def target(self, name: str) -> str:
        """Return the URL or id of a result; only a signed link of ours may be a long one."""
        text = clean_text(self.text(name), BODY_LIMIT)
        if not text:
            raise BadRequest(f"{self.place}{name} is missing")
        if len(text) > URL_LIMIT and not self.desk.link(text, self.site):
            raise BadRequest(f"{self.place}{name} must not be longer than {URL_LIMIT} characters")
        return without_user(text)

    def result(self) -> tuple[str, str]:
        """Return the URL of a result and "", or "" and the id of one without a URL."""
        text = self.target("cDocId")
        is_url = _URL.match(text) or self.desk.link(text, self.site)
        return (text, "") if is_url else ("", text)

    def suggestion(self) -> str:
        """Return a suggested search, masked: it is what others have typed."""
        text = clean_text(self.text("relatedSearch"), TITLE_LIMIT)
        if not text:
            raise BadRequest(f"{self.place}relatedSearch is missing")
        return self.desk.recorder.mask(text)

    def clicked(self) -> dict[str, Any]:
        """Return query and position of a click; 0 where the sender did not know, and as it was sent."""
        return {
            "query": self.text("query"),
            "position": self.count("position", POSITION_LIMIT),
            "position_raw": str(self.properties["position"]).strip(),
        }

    def impressions(self) -> list[_Said]:
        """Return what was shown; a mere number, as the sample application declares it, shows nothing."""
        listed = self.properties.get("impressions")
        if listed is None or whole_number(listed) is not None:
            return []
        if not isinstance(listed, list) or not all(isinstance(each, dict) for each in listed):
            raise BadRequest("impressions must be an array of objects")
        if len(listed) > IMPRESSIONS_MOST:
            raise BadRequest(f"impressions must not be more than {IMPRESSIONS_MOST}")
        return [
            _Said(self.desk, self.site, each, f"impressions[{index}].")
            for index, each in enumerate(listed)
        ]


# --- the seven kinds -----------------------------------------------------------------------------


def _read_common(said: _Said) -> dict[str, Any]:
    language = said.text("language").strip().lower().replace("_", "-")
    return {
        "language": language if _LANGUAGE.fullmatch(language) else "",
        "profile": clean_text(said.text("model"), TITLE_LIMIT),
    }


def _read_search(said: _Said) -> dict[str, Any]:
    listed = said.impressions()
    before = _hits_before(said, len(listed))
    shown = tuple(_shown_result(each, place) for place, each in enumerate(listed, before + 1))
    first = min((each.position for each in shown), default=1)
    return {
        "query": said.text("query"),
        "impressions": shown,
        "total_hits": said.count("totalHits", HITS_LIMIT),
        "offset": first - 1 or before,
    }


def _hits_before(said: _Said, listed: int) -> int:
    """Return how many hits are on the pages before, as far as page number and page size tell.

    Pages count from 1; SearchStax's sample application calls the first one 0.
    """
    page = said.count("pageNo", POSITION_LIMIT) or 1
    return (page - 1) * (said.count("shownHits", POSITION_LIMIT) or listed or PAGE_HITS)


def _shown_result(said: _Said, place: int) -> Shown:
    url, doc_id = said.result()
    position = said.count("position", POSITION_LIMIT)
    title = clean_text(said.text("cDocTitle"), TITLE_LIMIT)
    link = said.desk.link(url, said.site) if url else None
    if link is None:
        return Shown(url, position or place, "", doc_id, title)
    position = position or link.position or place
    return Shown(said.site.absolute(link.location), position, link.module_code, link.item, title)


def _read_related(said: _Said) -> dict[str, Any]:
    shown = tuple(
        _shown_suggestion(each, place) for place, each in enumerate(said.impressions(), 1)
    )
    return {"kind": "related", "query": said.text("query"), "shown": shown}


def _shown_suggestion(said: _Said, place: int) -> Shown:
    text = said.suggestion()
    return Shown("", said.count("position", POSITION_LIMIT) or place, "", text, text)


def _read_answer(said: _Said) -> dict[str, Any]:
    # SearchStax's own search pages send the words "true" and "false".
    is_question = _TRUTH.get(str(said.properties["is_question"]).strip().lower())
    if is_question is None:
        raise BadRequest("is_question must be true or false")
    return {
        "question": clean_text(said.text("question"), RAW_LIMIT),
        # Masked like the question: an answer may repeat what was asked.
        "answer": said.desk.recorder.mask(clean_text(said.text("answer"), RAW_LIMIT)),
        "is_question": is_question,
    }


def _read_click(said: _Said) -> dict[str, Any]:
    url, doc_id = said.result()
    return said.clicked() | {"url": url, "doc_id": doc_id, "title": said.text("cDocTitle")}


def _read_source_click(said: _Said) -> dict[str, Any]:
    # The answer must be there but is not kept again: the event of the question has it.
    url = said.target("href")
    if url.startswith("/") and not url.startswith("//"):
        url = said.site.absolute(url)
    elif not _URL.match(url):
        raise BadRequest("href must be an http or https URL")
    return {"kind": "source", "url": url, "query": said.text("question")}


def _read_related_click(said: _Said) -> dict[str, Any]:
    text = said.suggestion()
    return said.clicked() | {"kind": "related", "doc_id": text, "title": text}


def _read_rating(said: _Said) -> dict[str, Any]:
    return {
        "score": said.count("score", SCORE_MOST),
        "comment": clean_text(said.text("comments"), RAW_LIMIT),
    }


def _words(kind: Any) -> Callable[..., Event]:
    return lambda desk, sender, **own: desk.words(sender, kind, **own)


class _Kind(NamedTuple):
    """One kind of event: the properties it needs, how they are read, how the event is made."""

    needs: tuple[str, ...]
    read: Callable[[_Said], dict[str, Any]]
    make: Callable[..., Event]


_KINDS = {
    "_search": _Kind(("query",), _read_search, Desk.search),
    "_relatedsearch": _Kind(("query",), _read_related, _words(Impression)),
    "_questionanswer": _Kind(("question", "answer", "is_question"), _read_answer, _words(Answer)),
    "_searchclick": _Kind(("query", "cDocId", "cDocTitle", "position"), _read_click, Desk.click),
    "_answersourceclick": _Kind(("href", "question", "answer"), _read_source_click, Desk.click),
    "_relatedsearchclick": _Kind(
        ("query", "relatedSearch", "position"), _read_related_click, Desk.click
    ),
    "_searchSatisfaction": _Kind(("score",), _read_rating, _words(Feedback)),
}


# --- OpenAPI --------------------------------------------------------------------------------------

_NEEDED = "; ".join(f"by {event} {', '.join(kind.needs)}" for event, kind in _KINDS.items())
_COMMON = {
    "key": {**TEXT, "description": "The tracking key: `tracking_key` of a site."},
    "_vid": {**TEXT, "description": "Id of the visitor; may be empty."},
    "session": {**TEXT, "description": "Id of the session."},
    "language": {**TEXT, "description": "`en-US` or `en_US`."},
    "model": {**TEXT, "description": "Name of the search profile."},
}
_PROPERTIES = record("SearchStaxProperties", _COMMON, required=["key", "_vid"])
_EVENT = record(
    "SearchStaxEvent",
    {
        "event": {**TEXT, "enum": list(_KINDS)},
        "properties": {**_PROPERTIES, "description": f"Needed besides: {_NEEDED}."},
    },
)
_REFUSAL = record(
    "SearchStaxRefusal",
    {
        "error": {
            "type": "object",
            "required": ["code", "message"],
            "properties": {
                "code": {**TEXT, "enum": list(_CODES)},
                "message": {**TEXT, "description": "What is wrong, for people."},
            },
        }
    },
)
_EXAMPLE = {
    "event": "_searchclick",
    "properties": {
        "key": "K1",
        "session": "s1",
        "_vid": "v1",
        "query": "tax form",
        "language": "en-US",
        "model": "forms",
        "cDocId": "https://www.example.gov/forms/1040",
        "cDocTitle": "Form 1040",
        "position": 2,
    },
}
_DATA = {
    **TEXT,
    "format": "byte",
    "maxLength": BODY_LIMIT,
    "example": b2a_base64(dumps(_EXAMPLE).encode(), newline=False).decode(),
}
_SAID = "The event as JSON, in base64 of either alphabet, with or without padding."
_LATER = {"description": "Seconds to wait.", "schema": {"type": "integer"}}
_RESPONSES = {
    "204": answer("Recorded, or left out because the visitor asked so."),
    "422": answer("The event is missing or malformed, or its key unknown.", json=_REFUSAL),
    "429": {**answer("Too many events.", json=_REFUSAL), "headers": {"Retry-After": _LATER}},
    "503": answer("Events cannot be kept now.", json=_REFUSAL),
}
_SHARED = {"summary": "Report one event of a search page", "tags": ["SearchStax"], "security": []}
_GET = _SHARED | {
    "operationId": "searchstaxTrack",
    "parameters": [parameter("data", _SAID, _DATA, required=True)],
    "responses": {**_RESPONSES, "425": answer("Asked for in advance.", json=_REFUSAL)},
}
_FORM = {"type": "object", "required": ["data"], "properties": {"data": _DATA}}
_POST = _SHARED | {
    "operationId": "searchstaxTrackPost",
    "description": "The event is in the body or in the query string, not in both.",
    "parameters": [parameter("data", _SAID, _DATA)],
    "requestBody": {
        "content": {
            "application/x-www-form-urlencoded": {"schema": _FORM},
            "application/json": {"schema": _EVENT, "example": _EXAMPLE},
        }
    },
    "responses": _RESPONSES,
}


# --- the endpoint --------------------------------------------------------------------------------


class SearchStax(Protocol):
    """Take in the seven events of SearchStax's senders; a site is known by its ``tracking_key``."""

    name: ClassVar[str] = "searchstax"
    endpoints: ClassVar[tuple[Endpoint, ...]] = (
        Endpoint("api/v2/track", "track", {"get": _GET, "post": _POST}),
    )

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self._sites = [
            (site.tracking_key.encode(), site)
            for site in desk.settings.sites.all
            if site.tracking_key
        ]

    def track(self, request: Request) -> Reply:
        """Answer ``api/v2/track``: one event."""
        if request.method == "OPTIONS":
            return Reply(204, b"", _PREFLIGHT)
        if request.method not in _METHODS:
            self.desk.reject("searchstax_method")
            return _failure(405, "method_not_allowed", "send the event with GET or POST", _ALLOW)
        if request.method != "POST" and is_prefetch(request.environ):
            self.desk.recorder.tally("prefetch")
            return _failure(425, "prefetch", "nothing was recorded: this was asked for in advance")
        try:
            return self._take(request, *_read_event(request))
        except BadRequest as error:
            self.desk.reject("searchstax_invalid")
            return _failure(422, "invalid", str(error))

    def unable(self, request: Request) -> Reply:
        """Return the answer while events cannot be kept."""
        return _failure(503, "unavailable", "events cannot be kept now; try again later")

    def _take(self, request: Request, kind: _Kind, properties: dict[str, Any]) -> Reply:
        site = self._site(str(properties["key"]))
        if site is None:
            self.desk.reject("searchstax_key")
            return _failure(422, "unknown_key", "no site here has properties.key as tracking_key")
        said = _Said(self.desk, site, properties)
        own = kind.read(said) | _read_common(said)
        session = said.text("session")
        who = (said.text("_vid") or said.text("user") or session)[:WHO_MOST]
        if not self.desk.allows(request.environ, f"{self.name} {site.handle}"):
            return _failure(429, "too_many_requests", "too many events; wait a second", *_WAIT)
        if request.method == "HEAD":
            return _ACCEPTED
        sender = self.desk.sender(request.environ, self.name, site, who=who, session=session)
        if sender is not None and not self.desk.record(kind.make(self.desk, sender, **own)):
            return self.unable(request)
        return _ACCEPTED

    def _site(self, key: str) -> Site | None:
        """Return the site of a tracking key; all are compared, so the time tells nothing of them."""
        given, found = key.encode("utf-8", "replace"), None
        for known, site in self._sites:
            if hmac.compare_digest(known, given):
                found = found or site
        return found


def _failure(status: int, code: str, message: str, *headers: tuple[str, str]) -> Reply:
    return json_reply(status, {"error": {"code": code, "message": message}}, [*headers, *_ALWAYS])
