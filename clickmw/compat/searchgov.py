"""Search.gov's Clicks API: one click a request, and everything that is wrong with it at once.

Where its published page and the service differ, the service is followed. Source of all rules and
texts that are not said to be ours: Search.gov's own code and tests, and recorded exchanges with it.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote_plus, unquote_plus, unquote_to_bytes

from clickmw.compat import POSITION_LIMIT, URL_LIMIT, Protocol, Sender
from clickmw.events import Click
from clickmw.module_codes import MODULE_CODES
from clickmw.paths import Endpoint
from clickmw.sites import Site
from clickmw.wire import (
    BadRequest,
    Headers,
    Pairs,
    Reply,
    Request,
    clean_text,
    json_reply,
    mount_path,
    repeats,
)

TAG_LIMIT = 64  #: characters of a vertical
WRONG_KEY = "Access key is invalid"
NO_POST = "Nothing is at this address but for POST: send the click with it"
TOO_MANY = "Too many clicks come from this address: wait a second"
NOT_KEPT = "The click could not be kept: send it again later"

#: What says whose click it is; of two values no two readers would take the same one.
_SECURED = ("affiliate", "access_key")
_METHODS = "POST, HEAD, OPTIONS"
_PLAIN_HEADERS: Headers = [
    ("Cache-Control", "no-cache"),
    ("X-Frame-Options", "SAMEORIGIN"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "strict-origin-when-cross-origin"),
]
_CORS_HEADERS: Headers = [
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Allow-Methods", _METHODS),
    ("Access-Control-Expose-Headers", ""),
    ("Access-Control-Max-Age", "7200"),
]

_HIGH_BYTE = re.compile(r"%[89A-Fa-f]|[^\x00-\x7f]")
#: http or https, RFC 3986; in the query also what browsers leave there unencoded. No host is asked for.
_URL = re.compile(
    r"https?:(?:[A-Za-z0-9._~!$&'()*+,;=:@/\[\]-]++|%[0-9A-Fa-f]{2})++"
    r"(?:\?[!$-;=?-~]*+)?"
    r"(?:\#(?:[A-Za-z0-9._~!$&'()*+,;=:@/?\[\]-]++|%[0-9A-Fa-f]{2})*+)?",
    re.IGNORECASE | re.ASCII,
)
_QUERY_VALUE = re.compile(r"(?<=[?&]query=)[^&#]+")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_INTEGER = re.compile(r"[+-]?[0-9]+")
_BELOW_ZERO = re.compile(r"-0*[1-9]")


class Fields(NamedTuple):
    """What a request says: the parameters by name, and which of key and affiliate came twice."""

    values: Mapping[str, str]
    twice: frozenset[str] = frozenset()


# --- what the document of all routes says of it --------------------------------------------------

_TEXT: Mapping[str, Any] = {"type": "string"}
_PROPERTIES: dict[str, Any] = {
    "url": {**_TEXT, "example": "https://www.nps.gov/yose/", "description": "What was clicked."},
    "query": {**_TEXT, "example": "yosemite", "description": "What had been searched for."},
    "position": {
        "anyOf": [{"type": "integer", "minimum": 0}, _TEXT],
        "example": 1,
        "description": "Place in its list, from 1; 0 where the sender does not know.",
    },
    "module_code": {**_TEXT, "example": "I14Y", "description": "Block of the result page."},
    "vertical": {**_TEXT, "example": "web", "description": "Part of the search."},
    "affiliate": {**_TEXT, "example": "nps.gov", "description": "Handle of the site."},
    "access_key": {**_TEXT, "example": "basic_key", "description": "Key of that site."},
}
_FAULTS: dict[str, Any] = {
    "application/json": {
        "schema": {"type": "array", "items": _TEXT, "minItems": 1},
        "example": ["Query can't be blank"],
    }
}
_RESPONSES: dict[str, Any] = {
    "200": {"description": "The click was kept, or its sender asked not to be counted. No body."},
    "400": {
        "description": "All that is wrong; text/html, empty: the query string is no UTF-8.",
        "content": {**_FAULTS, "text/html": {"schema": _TEXT}},
    },
    "401": {"description": "The key is wrong, whatever else is.", "content": _FAULTS},
    "411": {"description": "The body has no stated length.", "content": _FAULTS},
    "413": {"description": "The body is too long.", "content": _FAULTS},
    "415": {"description": "The body is compressed.", "content": _FAULTS},
    "429": {
        "description": "Too many requests from this address.",
        "headers": {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}},
        "content": _FAULTS,
    },
    "503": {"description": "Nothing can be kept now.", "content": _FAULTS},
}


def _operations(name: str, *, keyed: bool) -> dict[str, Any]:
    fields = {each: _PROPERTIES[each] for each in _PROPERTIES if keyed or each != "access_key"}
    responses = {each: _RESPONSES[each] for each in _RESPONSES if keyed or each != "401"}
    schema = {"type": "object", "properties": fields}
    optional = "`vertical`" if keyed else "`vertical` and `affiliate`"
    tags = ["Search.gov Clicks API"]
    post = {
        "operationId": name,
        "summary": "Report a click" if keyed else "Report a click from the site's own result page",
        "description": "Parameters are read from the query string and from the body, as form or "
        f"JSON; the query string wins. All but {optional} are required, and a User-Agent.",
        "tags": tags,
        "parameters": [
            {"name": each, "in": "query", "required": False, "schema": field}
            for each, field in fields.items()
        ],
        "requestBody": {
            "required": False,
            "content": {
                "application/x-www-form-urlencoded": {"schema": schema},
                "application/json": {"schema": schema},
            },
        },
        "responses": responses,
    }
    get = {
        "operationId": f"{name}Redirect",
        "summary": "Lead a person to the site's root",
        "tags": tags,
        "responses": {"302": {"description": "Not here."}, "400": _RESPONSES["400"]},
    }
    return {"post": post, "get": get}


_PATHS = (
    ("technology/searchgov/v2/clicks", "api", _operations("searchgovClicks", keyed=True)),
    ("api/v2/click", "api", _operations("searchgovClick", keyed=True)),
    ("clicked", "page", _operations("searchgovClicked", keyed=False)),
)


# --- the protocol --------------------------------------------------------------------------------


class SearchGov(Protocol):
    """Take clicks in as Search.gov does."""

    name = "searchgov"
    endpoints = tuple(
        Endpoint(path + ending, answer, {} if ending else operations, any_case=True)
        for path, answer, operations in _PATHS
        for ending in ("", ".json")
    )

    def api(self, request: Request) -> Reply:
        """Answer the two paths that need a key; pages of any origin may use them."""
        environ = request.environ
        asked = environ.get("HTTP_ACCESS_CONTROL_REQUEST_METHOD")
        if request.method == "OPTIONS" and asked and environ.get("HTTP_ORIGIN"):
            return _preflight(request, asked)
        return self._answer(request, keyed=True)

    def page(self, request: Request) -> Reply:
        """Answer the path of a site's own result pages: no key, and no other origin."""
        return self._answer(request, keyed=False)

    def unable(self, request: Request) -> Reply:
        """Return the answer when the click cannot be kept now."""
        return _refusal(request, 503, [NOT_KEPT])

    def _answer(self, request: Request, *, keyed: bool) -> Reply:
        if not _is_utf8(request.environ.get("QUERY_STRING", "")):
            self.desk.reject("searchgov_encoding")
            return Reply(400, b"", [("Content-Type", "text/html"), *_headers(request)])
        if request.method in ("GET", "HEAD"):
            return _to_root(request)
        if request.method != "POST":
            self.desk.reject("searchgov_method")
            return _refusal(request, 404, [NO_POST])
        try:
            return self._take(request, read_fields(request), keyed)
        except BadRequest as error:
            self.desk.reject("searchgov_unreadable")
            text = str(error)
            return _refusal(request, error.status, [text[:1].upper() + text[1:]])

    def _take(self, request: Request, fields: Fields, keyed: bool) -> Reply:
        site = self._site(request, fields, keyed)
        faults = self._faults(request, fields, site, keyed)
        if faults or site is None:
            wrong_key = WRONG_KEY in faults
            self.desk.reject("searchgov_key" if wrong_key else "searchgov_invalid")
            return _refusal(request, 401 if wrong_key else 400, faults)
        if not self.desk.allows(request.environ, f"{self.name} {site.handle}"):
            return _refusal(request, 429, [TOO_MANY], ("Retry-After", "1"))
        trust = "keyed" if keyed else "anonymous"
        sender = self.desk.sender(request.environ, self.name, site, trust=trust)
        if sender and not self.desk.record(self._click(sender, fields.values)):
            return self.unable(request)
        return Reply(200, b"", [("Content-Type", "application/json"), *_headers(request)])

    def _site(self, request: Request, fields: Fields, keyed: bool) -> Site | None:
        if "affiliate" in fields.twice:
            return None
        sites = self.desk.settings.sites
        named = sites.by_handle(fields.values.get("affiliate", ""))
        if named or keyed:
            return named
        return sites.for_host(request.environ.get("HTTP_HOST"))

    def _faults(
        self, request: Request, fields: Fields, site: Site | None, keyed: bool
    ) -> list[str]:
        """Return every rule that the request breaks, in the service's words, sorted bytewise.

        The service also wants the client's address to be one; ours comes from the server, and would
        not be the sender's fault.
        """
        sent = fields.values
        url, position, code = sent.get("url"), sent.get("position"), sent.get("module_code")
        found = [
            _blank("User agent", request.environ.get("HTTP_USER_AGENT")),
            _blank("Query", sent.get("query")),
            _blank("Url", url) or self._url_fault(url or "", site),
            _blank("Position", position) or _position_fault(position or ""),
            _blank("Module code", code) or _module_fault(code or "", site),
            *(_key_faults(fields, site) if keyed else _page_faults(site)),
        ]
        return sorted(filter(None, found))

    def _url_fault(self, url: str, site: Site | None) -> str:
        # The service has no limit; a signed link is longer than the target that it stands for.
        if len(url) > URL_LIMIT and not (site and self.desk.link(url, site)):
            return f"Url is too long (maximum is {URL_LIMIT} characters)"
        return "" if _URL.fullmatch(url) and _is_utf8(url) else "Url is not a valid format"

    def _click(self, sender: Sender, values: Mapping[str, str]) -> Click:
        position = values["position"]
        vertical = values.get("vertical")
        return self.desk.click(
            sender,
            url=self._masked(values["url"]),
            query=values["query"],
            position=_place(position),
            position_raw=position,
            module_code=values["module_code"],
            tag=clean_text(vertical, TAG_LIMIT) if vertical else "",
        )

    def _masked(self, url: str) -> str:
        """Return *url* without what is personal in its parameter ``query``; others are left alone.

        A signed link stays whole: there is neither ? nor & in a token.
        """
        return _QUERY_VALUE.sub(self._masked_value, url) if "query=" in url else url

    def _masked_value(self, value: re.Match[str]) -> str:
        text = unquote_plus(value[0])
        masked = self.desk.recorder.mask(text)
        return value[0] if masked == text else quote_plus(masked)


# --- what a request says -------------------------------------------------------------------------


def read_fields(request: Request) -> Fields:
    """Return the parameters of the body and, over them, those of the query string.

    A body is JSON when it says so or looks so, else a form. Raises :class:`BadRequest`.
    """
    said = _of_pairs(request.query)
    body = request.body()
    if not body:
        return said
    if "json" in request.media_type or body.lstrip()[:1] == b"{":
        return Fields({**_of_json(request.json()), **said.values}, said.twice)
    form = _of_pairs(request.form())
    return Fields({**form.values, **said.values}, said.twice | form.twice)


def _of_pairs(pairs: Pairs) -> Fields:
    values = dict(reversed(pairs))  # of several the first
    if len(values) == len(pairs):
        return Fields(values)
    return Fields(values, frozenset(name for name in _SECURED if repeats(pairs, name)))


def _of_json(root: Any) -> dict[str, str]:
    """Return the scalars of a JSON object as texts; anything else counts as not sent."""
    if not isinstance(root, dict):
        return {}
    texts = {name: _text(value) for name, value in root.items()}
    return {name: text for name, text in texts.items() if text is not None}


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else ""  # false is blank
    return str(value) if isinstance(value, int | float) else None


def _is_utf8(text: str) -> bool:
    """Tell whether *text*, bytes as Latin-1, is UTF-8 when its percent signs are decoded once."""
    if not _HIGH_BYTE.search(text):
        return True
    try:
        unquote_to_bytes(text.encode("latin-1", "replace")).decode()
    except UnicodeDecodeError:
        return False
    return True


# --- what is wrong with it -----------------------------------------------------------------------


def _blank(label: str, text: str | None) -> str:
    return "" if text and not text.isspace() else f"{label} can't be blank"


def _position_fault(text: str) -> str:
    if not _NUMBER.fullmatch(text):
        return "Position is not a number"
    if not _INTEGER.fullmatch(text):
        return "Position must be an integer"
    return "Position must be greater than or equal to 0" if _BELOW_ZERO.match(text) else ""


def _module_fault(code: str, site: Site | None) -> str:
    if code in MODULE_CODES or (site and code in site.modules):
        return ""
    return f"Module code {code} is not a valid module"


def _key_faults(fields: Fields, site: Site | None) -> Iterator[str]:
    """Yield what is wrong with affiliate and key; an unknown affiliate hides a wrong key."""
    handle, key = fields.values.get("affiliate"), fields.values.get("access_key")
    yield _blank("Affiliate", handle)
    yield _blank("Access key", key)
    if handle is not None and site is None:
        yield "Affiliate is invalid"
    if key is not None and site and ("access_key" in fields.twice or not _opens(site, key)):
        yield WRONG_KEY


def _page_faults(site: Site | None) -> Iterator[str]:
    """Yield the one fault of ours: neither the affiliate nor the host is a site here."""
    if site is None:
        yield "Affiliate is invalid"


def _opens(site: Site, key: str) -> bool:
    right = (site.access_key or "").encode()
    return hmac.compare_digest(right, key.encode("utf-8", "replace")) and bool(right)


def _place(text: str) -> int | None:
    """Return a position that was found good as a number, None when it is too large to be kept."""
    number = int(text) if len(text) <= 20 else None
    return number if number is not None and number <= POSITION_LIMIT else None


# --- what is answered ----------------------------------------------------------------------------


def _headers(request: Request) -> Headers:
    """Return the headers of every answer; only the paths with a key speak to other origins."""
    if "/v2/click" not in request.environ["PATH_INFO"].lower():
        return _PLAIN_HEADERS
    headers = [*_PLAIN_HEADERS, ("Vary", "Origin")]
    return headers + _CORS_HEADERS if request.environ.get("HTTP_ORIGIN") else headers


def _refusal(request: Request, status: int, faults: list[str], *more: tuple[str, str]) -> Reply:
    headers = [*_headers(request), *more]
    return json_reply(status, faults, headers, "application/json; charset=utf-8")


def _preflight(request: Request, method: str) -> Reply:
    """Answer a browser that asks before it posts; another method gets no permission, and no error."""
    if method.upper() not in _METHODS.split(", "):
        return Reply(200)
    asked = request.header("Access-Control-Request-Headers")
    if not asked or not (asked.isascii() and asked.isprintable()):
        return Reply(200, b"", _CORS_HEADERS)
    return Reply(200, b"", [*_CORS_HEADERS, ("Access-Control-Allow-Headers", asked)])


def _to_root(request: Request) -> Reply:
    """Lead whoever comes by GET to the root of the site that clickmw is mounted in."""
    location = mount_path(request.environ.get("SCRIPT_NAME", "")) + "/"
    headers = [("Location", location), ("Content-Type", "text/html"), *_headers(request)]
    return Reply(302, b"", headers)
