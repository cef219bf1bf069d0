"""What comes over the wire and goes back: bounded bodies, strict JSON, forms, and the reply.

Everything here bounds what a stranger can make us read, keep or raise. Each protocol turns a
:class:`BadRequest` into its own error.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from clickmw.errors import BadEvent

BODY_LIMIT = 65_536  #: bytes of a request's body
FIELDS_LIMIT = 200  #: parameters of a query string or a form
#: Deeper than any payload of a protocol; far less than what a parser's own stack bears.
DEPTH_LIMIT = 32

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Headers = list[tuple[str, str]]
Pairs = list[tuple[str, str]]

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
        self.names = names
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
        if not (stated.isascii() and stated.isdigit()):
            raise BadRequest("Content-Length is no number")
        if len(stated) > 12 or int(stated) > limit:
            raise BadRequest(f"the body is longer than {limit} bytes", 413)
        body = _read(environ, int(stated))
        if len(body) < int(stated):
            raise BadRequest("the body ended before its stated length")
        return body
    if environ.get("wsgi.input_terminated"):
        body = _read(environ, limit + 1)
        if len(body) > limit:
            raise BadRequest(f"the body is longer than {limit} bytes", 413)
        return body
    if environ.get("HTTP_TRANSFER_ENCODING"):
        raise BadRequest("send the body with a Content-Length", 411)
    return b""


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
    """Return form-encoded *text* as (name, value) pairs in order; invalid UTF-8 is replaced."""
    if not text:
        return []
    try:
        return parse_qsl(
            text.decode("utf-8", "replace"),
            keep_blank_values=True,
            errors="replace",
            max_num_fields=FIELDS_LIMIT,
        )
    except ValueError as error:
        raise BadRequest(f"there are more than {FIELDS_LIMIT} parameters") from error


def parse_json(text: bytes) -> Any:
    """Return the value of JSON *text* (RFC 8259, UTF-8), or raise :class:`BadRequest`.

    Refused, because no store could keep it or no two parsers would agree on it: NaN and infinities,
    lone surrogates, numbers of thousands of digits, more than 32 levels.
    """
    try:
        value = _decode(text.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise BadRequest("the body is not JSON") from error
    if b"\\u" in text or text.count(b"[") + text.count(b"{") > DEPTH_LIMIT:
        _refuse_odd(value, DEPTH_LIMIT)
    return value


def _refuse_constant(name: str) -> Any:
    raise BadRequest(f"{name} is no number in JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise BadRequest("a number is too large")
    return number


#: Made once: a call of ``json.loads`` with options sets up a decoder each time.
_decode = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite).decode


def _refuse_odd(value: Any, depth: int) -> None:
    if depth < 0:
        raise BadRequest(f"the JSON is nested deeper than {DEPTH_LIMIT} levels")
    if isinstance(value, str):
        if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            raise BadRequest("the text holds half a character (a lone surrogate)")
    elif isinstance(value, list):
        for one in value:
            _refuse_odd(one, depth - 1)
    elif isinstance(value, dict):
        for name, one in value.items():
            _refuse_odd(name, depth - 1)
            _refuse_odd(one, depth - 1)


def repeats(fields: Iterable[tuple[str, Any]], name: str) -> bool:
    """Tell whether *name* was sent more than once: two readers would take two different values."""
    return sum(each == name for each, _ in fields) > 1


def first(fields: Iterable[tuple[str, str]], name: str) -> str | None:
    """Return the first value of *name*, None when it was not sent."""
    return next((value for each, value in fields if each == name), None)


def clean_text(text: str, limit: int) -> str:
    """Return *text* without control characters and half characters, at most *limit* long."""
    if not text.isprintable():
        text = "".join(
            character if character.isprintable() or character == " " else " "
            for character in text[: 2 * limit]
            if not "\ud800" <= character <= "\udfff"
        )
    return text[:limit].strip()


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
