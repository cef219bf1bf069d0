"""AddSearch's stats endpoint: a search page reports its searches and the clicks on its results.

Source, where nothing else is said: AddSearch's own description of the endpoint. No public text says
how its service refuses, so all errors here are our own.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from secrets import token_bytes
from typing import Any, ClassVar, NamedTuple

from clickmw.compat import HITS_LIMIT, POSITION_LIMIT, Desk, Protocol, Sender
from clickmw.events import Click, Search
from clickmw.openapi import TEXT, Words, answer, parameter, record
from clickmw.paths import Endpoint
from clickmw.sites import Site
from clickmw.wire import (
    BadRequest,
    Reply,
    Request,
    clean_text,
    credentialed_cors,
    json_reply,
    whole_number,
)

SESSION_MOST = 32  #: characters
DOC_ID_MOST = 32
TAG_MOST = 50

#: What ``error.code`` says for each status.
_CODES = {
    400: "invalid",
    404: "unknown_key",
    405: "method_not_allowed",
    411: "length_required",
    413: "too_long",
    415: "compressed",
    429: "too_many_requests",
    503: "unavailable",
}
_ALLOW = ("Allow", "POST, OPTIONS")
_JSON = ("Content-Type", "application/json")
_NO_STORE = ("Cache-Control", "no-store")
_WAIT = ("Retry-After", "1")
_PREFLIGHT = [
    ("Access-Control-Allow-Methods", "POST, OPTIONS"),
    ("Access-Control-Allow-Headers", "Content-Type"),
    ("Access-Control-Max-Age", "600"),
    _ALLOW,
]


# --- OpenAPI --------------------------------------------------------------------------------------


def _up_to(most: int, description: str) -> Words:
    return {**TEXT, "maxLength": most, "nullable": True, "description": description}


def _whole(most: int, description: str) -> Words:
    number = {"type": "integer", "format": "int64", "minimum": 0, "maximum": most}
    return {**number, "nullable": True, "description": description}


_SHARED: Words = {
    "session": _up_to(SESSION_MOST, "What the events of one visitor have in common."),
    "keyword": {**TEXT, "description": "The query as typed; `*` where there was none."},
    "tag": _up_to(TAG_MOST, "A name of the sender's own for one of its search pages."),
}
_SEARCH = record(
    "AddSearchSearch",
    {
        "action": {**TEXT, "enum": ["search"]},
        **_SHARED,
        "numberOfResults": _whole(HITS_LIMIT, "0: a search without results."),
    },
    required=["action", "keyword"],
)
_DOC_ID = "The document, as a rule the MD5 of its URL in hexadecimal digits."
_CLICK = record(
    "AddSearchClick",
    {
        "action": {**TEXT, "enum": ["click"]},
        **_SHARED,
        "docid": {**TEXT, "minLength": 1, "maxLength": DOC_ID_MOST, "description": _DOC_ID},
        "position": _whole(POSITION_LIMIT, "From 1 across pages; 0: the page did not know."),
    },
    required=["action", "keyword", "docid"],
)
_REFUSAL = record(
    "AddSearchRefusal",
    {
        "error": {
            "type": "object",
            "required": ["code", "message"],
            "properties": {
                "code": {**TEXT, "enum": list(_CODES.values())},
                "message": {**TEXT, "description": "What is wrong, for people."},
            },
        }
    },
)
_SEARCH_EXAMPLE = {
    "action": "search",
    "session": "a-99496145",
    "keyword": "tax form",
    "numberOfResults": 4,
    "tag": "help",
}
_CLICK_EXAMPLE = {
    "action": "click",
    "session": "a-99496145",
    "keyword": "tax form",
    "docid": "3b1d053e2fdf65f178dc5d1b5bd00f75",
    "position": 1,
    "tag": "help",
}
_STATS = {
    "operationId": "addsearchStats",
    "summary": "Report a search, or a click on one of its results",
    "description": "The body is read as JSON whatever its Content-Type says.",
    "tags": ["AddSearch"],
    "parameters": [
        parameter("key", "The index public key: `index_key` of a site.", TEXT, where="path")
    ],
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"oneOf": [_SEARCH, _CLICK]},
                "examples": {
                    "search": {"summary": "A search", "value": _SEARCH_EXAMPLE},
                    "click": {"summary": "A click", "value": _CLICK_EXAMPLE},
                },
            },
            "text/plain": {"schema": {**TEXT, "description": "The same object as text."}},
        },
    },
    "responses": {
        "200": answer("Recorded, or the visitor opted out.", json={"type": "object"}),
        "400": answer("No JSON, or a field is missing, wrong or too long.", json=_REFUSAL),
        "404": answer("No site has this key.", json=_REFUSAL),
        "411": answer("A body in chunks that this server does not end.", json=_REFUSAL),
        "413": answer("The body is too long.", json=_REFUSAL),
        "415": answer("The body is compressed.", json=_REFUSAL),
        "429": answer("Too many events at once.", json=_REFUSAL),
        "503": answer("Events cannot be kept now.", json=_REFUSAL),
    },
}


# --- the endpoint ---------------------------------------------------------------------------------


class AddSearch(Protocol):
    """Take in searches and clicks of AddSearch's clients; a site is known by its ``index_key``."""

    name: ClassVar[str] = "addsearch"
    endpoints: ClassVar[tuple[Endpoint, ...]] = (
        Endpoint("v1/stats/{key}", "stats", {"post": _STATS}),
    )

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self._digest_key = token_bytes(32)
        self._sites: dict[bytes, Site] = {}
        for site in desk.settings.sites.all:
            if site.index_key:
                self._sites.setdefault(self._digest(site.index_key.encode()), site)

    def stats(self, request: Request) -> Reply:
        """Answer ``v1/stats/{key}``: one search or one click."""
        if request.method == "OPTIONS":
            return Reply(204, b"", [*_PREFLIGHT, *credentialed_cors(request)])
        if request.method != "POST":
            return self._refuse(request, 405, "method", "send the event with POST", _ALLOW)
        site = self._site(request.names["key"])
        if site is None:
            return self._refuse(request, 404, "key", "no site here has this index public key")
        try:
            report = _read(request.json())
        except BadRequest as error:
            return self._refuse(request, error.status, "invalid", str(error))
        if not self.desk.allows(request.environ, f"{self.name} {site.handle}"):
            return _failure(request, 429, "too many events at once; wait a second", _WAIT)
        return self._take(request, site, report)

    def unable(self, request: Request) -> Reply:
        """Return the answer while events cannot be kept."""
        return _failure(request, 503, "events cannot be kept now; try again later")

    def _take(self, request: Request, site: Site, report: _Report) -> Reply:
        session = report.session
        sender = self.desk.sender(request.environ, self.name, site, who=session, session=session)
        if sender is not None and not self.desk.record(self._event(sender, report)):
            return self.unable(request)
        return Reply(200, b"{}", [_JSON, _NO_STORE, *credentialed_cors(request)])

    def _event(self, sender: Sender, report: _Report) -> Search | Click:
        if report.action == "search":
            return self.desk.search(sender, report.keyword, total_hits=report.hits, tag=report.tag)
        return self.desk.click(
            sender,
            query=report.keyword,
            position=report.position,
            doc_id=report.doc_id,
            tag=report.tag,
        )

    def _site(self, key: str) -> Site | None:
        """Return the site whose index key stands in the path.

        Keys are looked up by digests that nobody outside can work out, so the time it takes does
        not tell how much of a key was right.
        """
        return self._sites.get(self._digest(key.encode()))

    def _digest(self, key: bytes) -> bytes:
        return blake2b(key, digest_size=32, key=self._digest_key).digest()

    def _refuse(
        self, request: Request, status: int, reason: str, message: str, *headers: tuple[str, str]
    ) -> Reply:
        self.desk.reject(f"{self.name}_{reason}")
        return _failure(request, status, message, *headers)


class _Report(NamedTuple):
    """A search or a click as it was sent, checked; "" and None where the sender said nothing."""

    action: str
    session: str
    keyword: str
    tag: str
    doc_id: str
    position: int | None
    hits: int | None


def _read(payload: Any) -> _Report:
    """Return the event in *payload*; raise :class:`BadRequest` with what is wrong."""
    if not isinstance(payload, dict):
        raise BadRequest("the body must be one JSON object")
    action = payload.get("action")
    if action not in ("search", "click"):
        raise BadRequest('action must be "search" or "click"')
    clicked = action == "click"
    return _Report(
        action,
        _text(payload, "session", SESSION_MOST),
        _text(payload, "keyword", needed=True),
        clean_text(_text(payload, "tag", TAG_MOST), TAG_MOST),
        _doc_id(payload) if clicked else "",
        # AddSearch's own search page sends 0 for a result that is not on the current page.
        _number(payload, "position", POSITION_LIMIT) if clicked else None,
        None if clicked else _number(payload, "numberOfResults", HITS_LIMIT),
    )


def _text(
    payload: Mapping[str, Any], name: str, most: int | None = None, *, needed: bool = False
) -> str:
    """Return a text of *payload*, "" when it was not sent; null is not sent."""
    value = payload.get(name)
    if value is None:
        if needed:
            raise BadRequest(f"{name} is missing")
        return ""
    if not isinstance(value, str):
        raise BadRequest(f"{name} must be a string")
    if most is not None and len(value) > most:
        raise BadRequest(f"{name} must not be longer than {most} characters")
    return value


def _doc_id(payload: Mapping[str, Any]) -> str:
    """Return the clicked document; never checked for being an MD5, which real senders' are not all."""
    doc_id = clean_text(_text(payload, "docid", DOC_ID_MOST, needed=True), DOC_ID_MOST)
    if not doc_id:
        raise BadRequest("docid must not be empty")
    return doc_id


def _number(payload: Mapping[str, Any], name: str, most: int) -> int | None:
    """Return a whole number of *payload* from 0 to *most*, None when it was not sent."""
    value = payload.get(name)
    if value is None:
        return None
    number = None if isinstance(value, str) else whole_number(value)
    if number is None or not 0 <= number <= most:
        raise BadRequest(f"{name} must be a whole number from 0 to {most}")
    return number


def _failure(request: Request, status: int, message: str, *headers: tuple[str, str]) -> Reply:
    value = {"error": {"code": _CODES[status], "message": message}}
    return json_reply(status, value, [*headers, _NO_STORE, *credentialed_cors(request)])
