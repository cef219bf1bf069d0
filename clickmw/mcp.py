"""The Model Context Protocol: AI agents read the numbers, over HTTP or standard input and output.

One message comes in, one goes out, as plain JSON: no session and no stream, so that any worker can
answer any message. What a message means is known to ``rpc``, what an agent may ask to ``tools``;
here is decided who may ask.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO

from clickmw.compat import Desk, Protocol
from clickmw.errors import ClickMWError
from clickmw.keyring import Holder, KeyRing, shown_key
from clickmw.openapi import API_HEADERS, KEYED, TEXT, Words, parameter, record
from clickmw.openapi import answer as described
from clickmw.paths import Endpoint
from clickmw.rpc import (
    HANDSHAKE_VERSIONS,
    INTERNAL_ERROR,
    INVALID_REQUEST,
    PARSE_ERROR,
    ROUTING_HEADERS,
    SUPPORTED,
    Answer,
    RpcError,
    answer,
    refuse,
)
from clickmw.settings import Settings
from clickmw.targets import ascii_host
from clickmw.tools import TOOLS, Fetch, Toolbox
from clickmw.wire import BODY_LIMIT, BadRequest, Reply, Request, json_reply, parse_json

LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]")
NO_KEY = "Send an API key in the header X-Api-Key, or as Authorization: Bearer."
WRONG_KEY = "This API key is not known here."
ONLY_WRITES = "This API key may only write; ask with a key of scope read."
UNKNOWN_HOST = (
    "This Host is not known here, so the request may come from a page that pretends to be this "
    "server. If the host is right, add it to hosts of a site, or its origin to allowed_origins."
)
UNKNOWN_ORIGIN = "Pages of this Origin may not ask here. If they should, add it to allowed_origins."
ONLY_JSON = "Send one JSON-RPC object as Content-Type: application/json."
TOO_MANY = "Too many requests with this key from this address; wait a second."
ONLY_POST = "Send messages with POST; there is no stream and no session here."
UNABLE = "This cannot be answered now; try again later."
BOOTSTRAP = {
    "name": "clickmw",
    "protocolVersion": HANDSHAKE_VERSIONS[-1],
    "supportedVersions": SUPPORTED,
    "transport": "streamable-http",
    "authentication": NO_KEY,
    "tools": list(TOOLS),
}
_ORIGIN = re.compile(r"https?://([^/?#@\s]+)")


class Refusal(ClickMWError):
    """A request is turned away before its message is read; ``reason`` is a word of the ledger."""

    def __init__(
        self, status: int, reason: str, message: str, headers: Iterable[tuple[str, str]] = ()
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.headers = headers


# --- what the document of all routes says of it --------------------------------------------------

_ID: Words = {"description": "A text or a number; the answer has the same. null: not readable."}
_VERSION: Words = {"type": "string", "enum": ["2.0"]}
_MESSAGE = record(
    "McpMessage",
    {
        "jsonrpc": _VERSION,
        "id": {
            "oneOf": [{"type": "string"}, {"type": "number"}],
            "description": "Without an id the message is a notification.",
        },
        "method": {**TEXT, "example": "tools/list"},
        "params": {"type": "object", "nullable": True, "additionalProperties": True},
    },
    required=("jsonrpc", "method"),
)
_ERROR: Words = {
    "type": "object",
    "required": ["code", "message"],
    "properties": {"code": {"type": "integer"}, "message": TEXT, "data": {"type": "object"}},
}
_ANSWER = record(
    "McpAnswer",
    {"jsonrpc": _VERSION, "id": _ID, "result": {"type": "object"}, "error": _ERROR},
    required=("jsonrpc", "id"),
)
_FAILURE = record("McpFailure", {"jsonrpc": _VERSION, "id": _ID, "error": _ERROR})
_BOOTSTRAP = record(
    "McpBootstrap",
    {
        "name": TEXT,
        "protocolVersion": TEXT,
        "supportedVersions": {"type": "array", "items": TEXT},
        "transport": TEXT,
        "authentication": TEXT,
        "tools": {"type": "array", "items": TEXT},
    },
)
_CALL = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "tools/call",
    "params": {"name": "top_queries", "arguments": {"days": 7}},
}
_BOTH: dict[str, Words] = {
    "401": {
        **described("No key, or one that is not known.", json=_FAILURE),
        "headers": {"WWW-Authenticate": {"schema": TEXT}},
    },
    "403": described("The key may only write, or the Origin is not known.", json=_FAILURE),
    "421": described("The Host is not known.", json=_FAILURE),
    "429": {
        **described("Too many requests.", json=_FAILURE),
        "headers": {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}},
    },
    "503": described("This cannot be answered now.", json=_FAILURE),
}
_POST: dict[str, Any] = {
    "operationId": "sendMcpMessage",
    "summary": "Send one message of the Model Context Protocol",
    "description": "The tools only read. Described here are the revisions with a handshake, which may "
    "be left out. In 2026-07-28 the headers and `_meta` of params say revision and method too.",
    "tags": ["Model Context Protocol"],
    "security": KEYED,
    "parameters": [
        parameter(
            "MCP-Protocol-Version",
            "The revision spoken.",
            {"type": "string", "enum": list(HANDSHAKE_VERSIONS)},
            where="header",
        ),
        parameter("Mcp-Method", "Since 2026-07-28: the method.", TEXT, where="header"),
        parameter("Mcp-Name", "Since 2026-07-28: the tool that is called.", TEXT, where="header"),
    ],
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": _MESSAGE, "example": _CALL}},
    },
    "responses": {
        "200": described("A result, or an error about what was asked.", json=_ANSWER),
        "202": {"description": "A notification: received, not answered."},
        "400": described("The message cannot be read, or asks wrongly.", json=_FAILURE),
        "404": described("Since 2026-07-28: there is no such method.", json=_FAILURE),
        "411": described("Sent in chunks that this server does not end.", json=_FAILURE),
        "413": described("The message is longer than 64 KiB.", json=_FAILURE),
        "415": described("Not JSON by its Content-Type, or compressed.", json=_FAILURE),
        **_BOTH,
    },
}
_GET: dict[str, Any] = {
    "operationId": "readMcpBootstrap",
    "summary": "See that the Model Context Protocol is spoken here",
    "description": "Needs no key; a key that is sent is checked.",
    "tags": ["Model Context Protocol"],
    "security": [{}, *KEYED],
    "responses": {
        "200": described("What a client must know to begin.", json=_BOOTSTRAP),
        "405": described("Asked for a stream of events: there is none.", json=_FAILURE),
        **_BOTH,
    },
}


# --- the protocol --------------------------------------------------------------------------------


class Mcp(Protocol):
    """Answer agents; ``fetch`` reads a route of ours from inside."""

    name = "mcp"
    endpoints = (Endpoint("mcp", "mcp", {"get": _GET, "post": _POST}),)

    def __init__(self, desk: Desk, fetch: Fetch) -> None:
        super().__init__(desk)
        self._fetch = fetch
        self._keys = KeyRing(desk.settings)
        self._senders = Senders(desk.settings)

    def mcp(self, request: Request) -> Reply:
        """Answer one message, or say how messages are sent."""
        try:
            self._senders.check(request)
            if request.method == "POST":
                return self._message(request)
            if request.method not in ("GET", "HEAD"):
                raise Refusal(405, "method", ONLY_POST, [("Allow", "GET, HEAD, POST")])
            if "text/event-stream" in request.header("Accept").lower():
                raise Refusal(405, "method", ONLY_POST, [("Allow", "POST")])
            self._bootstrap_key(request)
            return json_reply(200, BOOTSTRAP, API_HEADERS)
        except Refusal as error:
            if error.status != 429:  # counted already
                self.desk.reject(f"mcp_{error.reason}")
            refused = refuse(RpcError(INVALID_REQUEST, str(error)), error.status)
            return _reply(refused, error.headers)

    def unable(self, request: Request) -> Reply:
        """Return the answer when something of ours failed."""
        return _reply(refuse(RpcError(INTERNAL_ERROR, UNABLE), 503))

    def converse(
        self, key: str, source: BinaryIO, sink: BinaryIO, after: Callable[[], None]
    ) -> None:
        """Answer the messages of *source*, one a line, on *sink* until it ends; *key* says who asks.

        ``after`` is called when a message is answered.
        """
        toolbox = self._toolbox(self._keys.find(key) or Holder("", None), key)
        for line in _lines(source):
            said = _answer_line(line, toolbox).message
            if said is not None:
                sink.write(json_reply(200, said).body + b"\n")
                sink.flush()
            after()

    def _message(self, request: Request) -> Reply:
        key = self._key(request)
        holder = self._holder(request, key)
        if request.media_type != "application/json":
            raise Refusal(415, "invalid", ONLY_JSON)
        try:
            message = request.json()
        except BadRequest as error:
            self.desk.reject("mcp_invalid")
            code = PARSE_ERROR if error.status == 400 else INVALID_REQUEST
            return _reply(refuse(RpcError(code, str(error)), error.status))
        said = answer(message, self._toolbox(holder, key), _routing(request))
        if said.status >= 400:
            self.desk.reject("mcp_invalid")
        return _reply(said)

    def _bootstrap_key(self, request: Request) -> None:
        """Let go without a key, which learns nothing private, but not with a wrong one."""
        key = self._key(request)
        if key:
            self._holder(request, key)

    def _key(self, request: Request) -> str:
        try:
            return shown_key(request.environ, request.query)
        except BadRequest:  # more parameters than anybody needs
            return shown_key(request.environ)

    def _holder(self, request: Request, key: str) -> Holder:
        """Return who shows *key*; all who guess at keys share the allowance of their address."""
        holder = self._keys.find(key)
        if not self.desk.allows(request.environ, key if holder else ""):
            raise Refusal(429, "rate", TOO_MANY, [("Retry-After", "1")])
        if holder is None:
            challenge = ("WWW-Authenticate", "Bearer")
            raise Refusal(401, "key", WRONG_KEY if key else NO_KEY, [challenge])
        if not holder.may_read:
            raise Refusal(403, "scope", ONLY_WRITES)
        return holder

    def _toolbox(self, holder: Holder, key: str) -> Toolbox:
        return Toolbox(self.desk, self._fetch, holder, key)


class Senders:
    """Which hosts are ours, and which pages may ask.

    A page of another site can have its own name lead to this server (DNS rebinding): then its Host
    and its Origin agree with each other, but neither is one that we know.
    """

    def __init__(self, settings: Settings) -> None:
        own = {ascii_host(host) for site in settings.sites.all for host in site.hosts}
        self._origins = settings.allowed_origins
        self._own = own.union(LOCAL_HOSTS)
        self._hosts = self._own.union(map(_host_of, self._origins)) - {""}

    def check(self, request: Request) -> None:
        """Raise unless *request* was sent to a host of ours, by a page that may or by no page."""
        if ascii_host(request.header("Host")) not in self._hosts:
            raise Refusal(421, "host", UNKNOWN_HOST)
        origin = request.header("Origin").lower()
        if origin and origin not in self._origins and _host_of(origin) not in self._own:
            raise Refusal(403, "origin", UNKNOWN_ORIGIN)


def _routing(request: Request) -> dict[str, str]:
    sent = {name: f"HTTP_{name.upper().replace('-', '_')}" for name in ROUTING_HEADERS}
    return {name: request.environ[key] for name, key in sent.items() if key in request.environ}


def _host_of(origin: str) -> str:
    match = _ORIGIN.fullmatch(origin)
    return ascii_host(match[1]) if match else ""


def _reply(said: Answer, headers: Iterable[tuple[str, str]] = ()) -> Reply:
    if said.message is None:
        return Reply(said.status, b"", API_HEADERS)
    return json_reply(said.status, said.message, [*API_HEADERS, *headers])


# --- standard input and output -------------------------------------------------------------------


def _lines(source: BinaryIO) -> Iterator[bytes | None]:
    """Yield the lines that say something; None for one that is longer than a message may be."""
    while line := source.readline(BODY_LIMIT + 1):
        if len(line.rstrip(b"\r\n")) > BODY_LIMIT:
            while line and not line.endswith(b"\n"):
                line = source.readline(BODY_LIMIT)
            yield None
        elif line.strip():
            yield line


def _answer_line(line: bytes | None, toolbox: Toolbox) -> Answer:
    if line is None:
        too_long = f"A message has at most {BODY_LIMIT} bytes."
        return refuse(RpcError(INVALID_REQUEST, too_long), 413)
    try:
        message = parse_json(line, "the message")
    except BadRequest as error:
        return refuse(RpcError(PARSE_ERROR, str(error)), 400)
    return answer(message, toolbox)
