"""The beacon: what a page reports of its visitors, taken in and answered without a word.

The answer is 204 whatever the body was: a page never learns, and never waits for, what became of
its report. With ``debug`` the header ``X-ClickMW`` says it, a few words for each event. Only a page
that may not report is told so, by 403: there the snippet leaves the links to the redirect.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from clickmw.errors import BadEvent, BadToken
from clickmw.events import Event
from clickmw.intake import (
    DOC_ID_LIMIT,
    DWELL_LIMIT_S,
    HITS_LIMIT,
    SCORE_LIMIT,
    URL_LIMIT,
    VALUE_LIMIT,
    Intake,
    NotKept,
    Visit,
)
from clickmw.journal import warn_once_a_minute
from clickmw.openapi import TEXT, Words, record
from clickmw.payloads import LISTED_LIMIT, NAME_LIMIT, TEXT_LIMIT
from clickmw.queries import RAW_LIMIT
from clickmw.recorder import Recorder, now_ms
from clickmw.scanner import MAX_POSITION
from clickmw.settings import Settings
from clickmw.tokens import LinkSigner
from clickmw.visitors import is_prefetch
from clickmw.wire import Headers, Reply, parse_json, read_body

Environ = dict[str, Any]

MOST_EVENTS = 50
_ALWAYS = (
    ("Cache-Control", "no-store"),
    ("X-Robots-Tag", "noindex, nofollow"),
    ("Vary", "Origin"),
)
_METHODS = "OPTIONS, POST"
_PREFLIGHT = (
    ("Access-Control-Allow-Methods", _METHODS),
    ("Access-Control-Allow-Headers", "Content-Type"),
    ("Access-Control-Max-Age", "600"),
)
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


# --- what programs may know of it -----------------------------------------------------------------


def _said(description: str, **schema: Any) -> Words:
    return {**TEXT, "description": description, **schema}


_AN_ID = "^[A-Za-z0-9_-]{16}$"
_POSITION: Words = {"type": "integer", "minimum": 1, "maximum": MAX_POSITION}
_MODULE = _said("Which list of the page.", pattern="^[A-Za-z0-9_-]{0,32}$")
_RESULT: Mapping[str, Words] = {
    "u": _said("Its address, a path, or a signed link to it.", maxLength=URL_LIMIT),
    "p": _POSITION,
    "m": _MODULE,
    "d": _said("Its id, where it has one.", maxLength=DOC_ID_LIMIT),
    "h": _said("Its title.", maxLength=TEXT_LIMIT),
}
_MEMBERS: Mapping[str, Words] = {
    **_RESULT,
    "k": _said("The token of a link of the page."),
    "i": _said("The browser's own id of the event.", pattern=_AN_ID),
    "v": _said("The view of a shared page.", pattern=_AN_ID),
    "g": _said("Id of the search.", pattern=_AN_ID),
    "s": _said("Handle of the site."),
    "q": _said("The query or question as typed.", maxLength=RAW_LIMIT),
    "x": _said("A suggestion, an answer, a comment or the id of an order.", maxLength=TEXT_LIMIT),
}
_LISTED: Words = {"type": "array", "maxItems": LISTED_LIMIT}


def _event(kind: str, needed: str, names: str = "", **own: Words) -> Words:
    """Return the schema of one type of event: *names* of members that are *needed*, and others."""
    known = {name: _MEMBERS[name] for name in (*needed, *names) if name not in own}
    properties = {"t": {**TEXT, "enum": [kind]}, **known, **own}
    return record(f"{kind.capitalize()}Event", properties, required=["t", *needed])


_SEEN: Words = {"type": "array", "minItems": 2, "maxItems": 2, "items": {}}
_EVENTS = [
    _event("view", "kv"),
    _event("click", "k", "iv"),
    _event("seen", "kp", "v", p={**_LISTED, "minItems": 1, "items": _SEEN}),
    _event("return", "ks", "iv", s={"type": "number", "minimum": 0, "maximum": DWELL_LIMIT_S}),
    _event(
        "search",
        "q",
        "igsm",
        r={**_LISTED, "items": record("ReportedResult", _RESULT, required="u")},
        n={"type": "integer", "format": "int64", "minimum": 0, "maximum": HITS_LIMIT},
        o={"type": "integer", "minimum": 0, "maximum": MAX_POSITION},
        l=_said("Language."),
        f=_said("Name of a search profile.", maxLength=NAME_LIMIT),
        a=_said("Tag.", maxLength=NAME_LIMIT),
    ),
    _event("result", "u", "igsqpmdh"),
    _event("source", "u", "igsqpmdh"),
    _event("related", "x", "igsqpm"),
    _event("answer", "qx", "igs", y={"type": "boolean", "nullable": True}),
    _event(
        "feedback",
        "",
        "igsqx",
        y={"type": "integer", "minimum": 0, "maximum": SCORE_LIMIT, "nullable": True},
    ),
    _event(
        "conversion",
        "x",
        "igsu",
        y={"type": "number", "minimum": 0, "maximum": VALUE_LIMIT},
        c=_said("Currency.", pattern="^[A-Za-z]{3}$"),
    ),
]
OPERATIONS: dict[str, dict[str, Any]] = {
    "post": {
        "operationId": "sendEvents",
        "summary": "Report what happens on a page of results",
        "description": "Sent by the snippet. The answer is the same whatever became of it.",
        "tags": ["Clicks"],
        "requestBody": {
            "required": True,
            "content": {
                "text/plain": {"schema": {**TEXT, "description": "The same array as text."}},
                "application/json": {
                    "schema": {
                        "type": "array",
                        "maxItems": MOST_EVENTS,
                        "items": {"oneOf": _EVENTS},
                    },
                },
            },
        },
        "responses": {
            "204": {"description": "Received."},
            "403": {"description": "Not taken: sent by a page of another site."},
        },
    }
}


# --- the route ------------------------------------------------------------------------------------


class Beacon:
    """Answer ``POST {prefix}/e``: a JSON array of events, as text."""

    def __init__(self, settings: Settings, recorder: Recorder, signer: LinkSigner) -> None:
        self.settings = settings
        self.recorder = recorder
        self.intake = Intake(settings, recorder, signer)

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Take the events in and answer without a word."""
        return self._answer(environ).send(environ, start_response)

    def _answer(self, environ: Environ) -> Reply:
        method = environ["REQUEST_METHOD"]
        origin: str = environ.get("HTTP_ORIGIN") or ""
        is_allowed = origin in self.settings.allowed_origins
        headers = [*_ALWAYS, *(_cors(origin) if is_allowed else ())]
        if method == "OPTIONS":
            allowed = _PREFLIGHT if is_allowed else ()
            return Reply(204, b"", [*headers, *allowed, ("Allow", _METHODS)])
        if method != "POST":
            return Reply(405, b"", [*headers, ("Allow", _METHODS)])
        host: str = environ.get("HTTP_HOST") or environ.get("SERVER_NAME", "")
        if is_allowed:
            host = origin.partition("://")[2]
        is_foreign = not is_allowed and _is_foreign(environ, origin, host)
        verdicts = self._refuse_foreign() if is_foreign else self._receive(environ, host)
        if self.settings.debug:
            headers.append(("X-ClickMW", ", ".join(verdicts)))
        return Reply(403 if is_foreign else 204, b"", headers)

    def _refuse_foreign(self) -> list[str]:
        verdict = "rejected: sent by a page of another site"
        return [self._refuse("rejected.foreign_beacon", verdict)]

    def _receive(self, environ: Environ, host: str) -> list[str]:
        """Take in what a page of *host* sent; return what became of each event, one for all alike."""
        if is_prefetch(environ):
            return [self._refuse("prefetch", "prefetch")]
        try:
            payloads = read_payloads(environ)
        except BadEvent as error:
            return [self._refuse("rejected.bad_beacon", f"rejected: {error}")]
        return self._take(Visit(environ, host, now_ms()), payloads)

    def _take(self, visit: Visit, payloads: list[Any]) -> list[str]:
        """Keep the events among *payloads* as one record."""
        found = [self._read(visit, payload) for payload in payloads]
        events = [each for each in found if not isinstance(each, str)]
        lost = "" if not events or self._keep(events) else "dropped: journal"
        return [
            each if isinstance(each, str) else lost or each.drop_reason or "accepted"
            for each in found
        ]

    def _keep(self, events: list[Event]) -> bool:
        try:
            return self.recorder.record(*events)
        except Exception as error:  # as with the redirect: nobody waits for our troubles
            warn_once_a_minute("failure", "clickmw: events could not be kept: %r", error)
            self.recorder.tally("dropped.failure", len(events))
            return False

    def _read(self, visit: Visit, payload: Any) -> Event | str:
        """Return the event that *payload* describes, or the verdict on what is none."""
        try:
            return self.intake.read(visit, payload)
        except NotKept as reason:
            return self._refuse(reason.tally, str(reason))
        except (BadEvent, BadToken) as error:
            return self._refuse("rejected.bad_beacon", f"rejected: {error}")
        except Exception as error:  # the others of the same report go on
            warn_once_a_minute("failure", "clickmw: an event could not be kept: %r", error)
            return self._refuse("dropped.failure", "dropped: failure")

    def _refuse(self, tally: str, verdict: str) -> str:
        self.recorder.tally(tally)
        return verdict


def read_payloads(environ: Environ) -> list[Any]:
    """Return the items of the body's JSON array; raise :class:`BadEvent` for anything else."""
    payloads = parse_json(read_body(environ))
    if not isinstance(payloads, list) or len(payloads) > MOST_EVENTS:
        raise BadEvent(f"the body is no array of at most {MOST_EVENTS} events")
    return payloads


def _cors(origin: str) -> Headers:
    """Return the headers that let a page of *origin* report, with what its browser knows of us."""
    return [
        ("Access-Control-Allow-Origin", origin),
        ("Access-Control-Allow-Credentials", "true"),
        ("Access-Control-Expose-Headers", "X-ClickMW"),
    ]


def _is_foreign(environ: Environ, origin: str, host: str) -> bool:
    """Tell whether a page that is not of *host* sends this.

    Where the browser says itself how it relates to us, no proxy's Host and no ``Origin: null`` of a
    page that hides its address stands against it.
    """
    fetched_from = environ.get("HTTP_SEC_FETCH_SITE")
    if fetched_from == "same-origin":
        return False
    if fetched_from == "cross-site":
        return True
    scheme, _, origin_host = origin.partition("://")
    own = host.lower().removesuffix(_DEFAULT_PORTS.get(scheme, ""))
    return bool(origin) and origin_host != own
