"""What comes over the wire and goes back: bounded bodies, strict JSON, forms, and the reply.

Everything here bounds what a stranger can make us read, keep or raise. Each protocol turns a
:class:`BadRequest` into its own error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

from clickmw.errors import BadEvent

BODY_LIMIT = 65_536  #: bytes of a request's body
LENGTH_DIGITS = 12  #: digits of a Content-Length that are worth reading as a number
FIELDS_LIMIT = 200  #: parameters of a query string or a form
#: Deeper than any payload of a protocol; far less than what a parser's own stack bears.
DEPTH_LIMIT = 32

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Headers = list[tuple[str, str]]
Pairs = list[tuple[str, str]]

#: What no text keeps: controls, line breaks, half characters, and what turns the reading direction
#: of all that follows. Joiners stay: Persian words and some emoji need them.
_UNWANTED = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]+")

_REASONS = {
    200: "OK",
    202: "Accepted",
    204: "No Content",
    302: "Found",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    411: "Length Required",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    421: "Misdirected Request",
    422: "Unprocessable Content",
    425: "Too Early",
    429: "Too Many Requests",
    503: "Service Unavailable",
}


class BadRequest(BadEvent):
    """A request cannot be read. ``status`` is what plain HTTP would answer."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class Reply(NamedTuple):
    """What goes back. A body gets its Content-Length by itself; 204 has neither."""

    status: int
    body: bytes = b""
    headers: Iterable[tuple[str, str]] = ()

    def send(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer *environ*."""
        headers = list(self.headers)
        if self.status != 204:
            headers.append(("Content-Length", str(len(self.body))))
        start_response(f"{self.status} {_REASONS[self.status]}", headers)
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else self.body]


def json_reply(
    status: int,
    value: Any,
    headers: Iterable[tuple[str, str]] = (),
    content_type: str = "application/json",
) -> Reply:
    """Return *value* as compact UTF-8 JSON."""
    body = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Reply(
        status, body.encode("utf-8", "replace"), [("Content-Type", content_type), *headers]
    )


class Request:
    """One request to a protocol: what it says, read once and within limits.

    ``names`` are the parts of the path that the protocol left open.
    """

    __slots__ = ("_body", "_query", "environ", "method", "names")

    def __init__(self, environ: Environ, names: Mapping[str, str]) -> None:
        self.environ = environ
        self.method: str = environ["REQUEST_METHOD"]
        self.names = {name: _decoded(part) for name, part in names.items()} if names else names
        self._body: bytes | None = None
        self._query: Pairs | None = None

    def header(self, name: str) -> str:
        """Return a request header by its HTTP name, "" when it was not sent."""
        key = name.upper().replace("-", "_")
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = f"HTTP_{key}"
        found: str = self.environ.get(key) or ""
        return found

    @property
    def query(self) -> Pairs:
        """The parameters of the query string in order; raises :class:`BadRequest` for too many."""
        if self._query is None:
            self._query = pairs(self.environ.get("QUERY_STRING", "").encode("latin-1", "replace"))
        return self._query

    @property
    def media_type(self) -> str:
        """The Content-Type in lower case without its parameters."""
        return self.header("Content-Type").partition(";")[0].strip().lower()

    def body(self) -> bytes:
        """Return the body, at most :data:`BODY_LIMIT` bytes; raise :class:`BadRequest` for more."""
        if self._body is None:
            self._body = read_body(self.environ)
        return self._body

    def form(self) -> Pairs:
        """Return the body as form fields, in order."""
        return pairs(self.body())

    def json(self) -> Any:
        """Return the body as JSON, see :func:`parse_json`."""
        return parse_json(self.body())


def read_body(environ: Environ, limit: int = BODY_LIMIT) -> bytes:
    """Return the body of a request without a byte beyond *limit*.

    Raises :class:`BadRequest`: 413 too long, 400 cut short or of an impossible length, 411 sent in
    chunks that this server does not end, 415 compressed (a few bytes could become gigabytes).
    """
    if (environ.get("HTTP_CONTENT_ENCODING") or "identity").strip().lower() != "identity":
        raise BadRequest("send the body uncompressed, without Content-Encoding", 415)
    stated = environ.get("CONTENT_LENGTH") or ""
    if stated:
        return _read_stated(environ, stated, limit)
    if environ.get("wsgi.input_terminated"):
        body = _read(environ, limit + 1)
        if len(body) > limit:
            raise _too_long(limit)
        return body
    if environ.get("HTTP_TRANSFER_ENCODING"):
        raise BadRequest("send the body with a Content-Length", 411)
    return b""


def _read_stated(environ: Environ, stated: str, limit: int) -> bytes:
    if not (stated.isascii() and stated.isdigit()):
        raise BadRequest("Content-Length is no number")
    if len(stated) > LENGTH_DIGITS or int(stated) > limit:
        raise _too_long(limit)
    body = _read(environ, int(stated))
    if len(body) < int(stated):
        raise BadRequest("the body ended before its stated length")
    return body


def _too_long(limit: int) -> BadRequest:
    return BadRequest(f"the body is longer than {limit} bytes", 413)


def _read(environ: Environ, length: int) -> bytes:
    parts = []
    try:
        while length:
            part = environ["wsgi.input"].read(length)
            if not part:
                break
            parts.append(part)
            length -= len(part)
    except (OSError, ValueError) as error:
        raise BadRequest("the body could not be read") from error
    return b"".join(parts)


def pairs(text: bytes) -> Pairs:
    """Return form-encoded *text* as (name, value) pairs in order; invalid UTF-8 is replaced.

    What ``parse_qsl`` of the standard library returns, in half the time.
    """
    fields = text.decode("utf-8", "replace").replace("+", " ").split("&")
    if len(fields) > FIELDS_LIMIT:
        raise BadRequest(f"there are more than {FIELDS_LIMIT} parameters")
    found = []
    for field in fields:
        name, _, value = field.partition("=")
        if "%" in field:
            name, value = unquote(name), unquote(value)
        if field:
            found.append((name, value))
    return found


def parse_json(text: bytes, what: str = "the body") -> Any:
    """Return the value of JSON *text* (RFC 8259, UTF-8), or raise :class:`BadRequest`.

    ``what`` the text is called in the error.

    Refused, because no store could keep it or no two parsers would agree on it: NaN and infinities,
    half characters (lone surrogates), numbers of thousands of digits, a name that an object has
    twice, more than 32 levels.
    """
    try:
        value = _decode(text.decode("utf-8-sig"))
        if b"\\u" in text:
            _encode(value).encode()  # half a character has no UTF-8
    except UnicodeError as error:
        raise BadRequest(f"{what} is not UTF-8 text") from error
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"{what} is not JSON") from error
    if text.count(b"[") + text.count(b"{") > DEPTH_LIMIT:
        _refuse_deep(value)
    return value


def _refuse_constant(name: str) -> Any:
    raise BadRequest(f"{name} is no number in JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise BadRequest("a number is too large")
    return number


def _object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) < len(members):
        raise BadRequest("an object of the JSON has a name twice")
    return found


# Made once: a call of ``json.loads`` with options sets up a decoder each time.
_decode = json.JSONDecoder(
    parse_constant=_refuse_constant, parse_float=_finite, object_pairs_hook=_object
).decode
_encode = json.JSONEncoder(ensure_ascii=False, check_circular=False).encode
_CONTAINERS = (dict, list)


def _refuse_deep(value: Any) -> None:
    level = [value]
    for _ in range(DEPTH_LIMIT):
        level = [
            child
            for each in level
            for child in (each.values() if isinstance(each, dict) else each)
            if isinstance(child, _CONTAINERS)
        ]
        if not level:
            return
    raise BadRequest(f"the JSON is nested deeper than {DEPTH_LIMIT} levels")


def repeats(fields: Iterable[tuple[str, Any]], name: str) -> bool:
    """Tell whether *name* was sent more than once: two readers would take two different values."""
    return sum(each == name for each, _ in fields) > 1


def first(fields: Iterable[tuple[str, str]], name: str) -> str | None:
    """Return the first value of *name*, None when it was not sent."""
    return next((value for each, value in fields if each == name), None)


def scheme_of(environ: Environ, trusted_proxies: int) -> str:
    """Return the scheme of the visitor's request: what the nearest of our proxies says, if we have one."""
    said = str(environ.get("HTTP_X_FORWARDED_PROTO") or "").rpartition(",")[2].strip().lower()
    if trusted_proxies and said in ("http", "https"):
        return said
    return str(environ.get("wsgi.url_scheme", "http"))


def mount_path(script_name: str) -> str:
    """Return where the application is mounted, fit for an attribute: "" or a path of this host.

    A mount point of two slashes would make all our links those of another host.
    """
    mount = script_name.strip("/").encode("latin-1", "replace")
    return f"/{quote(mount, safe='/~')}" if mount else ""


def credentialed_cors(request: Request) -> Headers:
    """Return the headers that let any page read the answer: browsers send beacons with credentials."""
    origin, vary = request.header("Origin"), ("Vary", "Origin")
    if not origin or not (origin.isascii() and origin.isprintable()):
        return [vary]
    return [
        ("Access-Control-Allow-Origin", origin),
        ("Access-Control-Allow-Credentials", "true"),
        vary,
    ]


def clean_text(text: str, limit: int) -> str:
    """Return *text* as one line at most *limit* long, without control and half characters."""
    if not text.isprintable():
        text = _UNWANTED.sub(" ", text[: 2 * limit])
    return text[:limit].strip()


def _decoded(part: str) -> str:
    """Return a piece of PATH_INFO as text: WSGI hands its bytes on as Latin-1 (PEP 3333)."""
    return part if part.isascii() else part.encode("latin-1", "replace").decode("utf-8", "replace")


def whole_number(value: Any) -> int | None:
    """Return *value* as a whole number when it is one as text or number (true is none), else None."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    if isinstance(value, str) and len(value) <= 20:
        text = value.strip()
        if text.removeprefix("-").isascii() and text.removeprefix("-").isdigit():
            return int(text)
    return None
