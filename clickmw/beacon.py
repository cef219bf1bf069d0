"""The beacon: what the snippet reports of a page that is really looked at.

The answer is 204 whatever the body was: a page never learns, and never waits for, what became of
its report. With ``debug`` the header ``X-ClickMW`` says it in a word.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from clickmw.errors import BadEvent, BadToken
from clickmw.events import VIEW_SKEW_MS, View, is_query_id, issued_ms
from clickmw.recorder import Recorder, now_ms
from clickmw.settings import Settings
from clickmw.tokens import LinkSigner
from clickmw.visitors import is_prefetch

Environ = dict[str, Any]

MOST_BYTES = 65_536
MOST_EVENTS = 50


class Beacon:
    """Answer ``POST {prefix}/e``: a JSON array of events, as text."""

    def __init__(self, settings: Settings, recorder: Recorder, signer: LinkSigner) -> None:
        self.settings = settings
        self.recorder = recorder
        self.signer = signer

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Take the events in and answer without a word."""
        headers = [("Cache-Control", "no-store"), ("X-Robots-Tag", "noindex, nofollow")]
        if environ["REQUEST_METHOD"] != "POST":
            start_response(
                "405 Method Not Allowed", [*headers, ("Allow", "POST"), ("Content-Length", "0")]
            )
            return [b""]
        verdict = self._receive(environ)
        if self.settings.debug:
            headers.append(("X-ClickMW", verdict))
        start_response("204 No Content", headers)
        return [b""]

    def _receive(self, environ: Environ) -> str:
        if is_prefetch(environ):
            self.recorder.tally("prefetch")
            return "prefetch"
        verdicts = []
        try:
            for payload in read_payloads(environ):
                verdicts.append(self._view(environ, payload))
        except (BadEvent, BadToken) as error:
            self.recorder.tally("rejected.bad_beacon")
            verdicts.append(f"rejected: {error}")
        return ", ".join(dict.fromkeys(verdicts))

    def _view(self, environ: Environ, payload: dict[str, Any]) -> str:
        """Record one view; its proof is any link of the page."""
        token, view = payload.get("k"), payload.get("v")
        if payload.get("t") != "view" or not isinstance(token, str) or not isinstance(view, str):
            raise BadEvent("an event is {t: 'view', k: a token of the page, v: the view's id}")
        now = now_ms()
        if not is_query_id(view) or abs(issued_ms(view) - now) > VIEW_SKEW_MS:
            raise BadEvent("the view's id is not of today")
        target = self.signer.read_link(token)
        site = self.settings.sites.by_handle(target.site or "default")
        if site is None:
            raise BadEvent("the link is of no site here")
        client = self.recorder.client(environ, site.handle, now)
        if client.wish == "drop":
            self.recorder.tally("opted_out")
            return "opted_out"
        if not self.recorder.allows(environ, f"view {target.query_id}", now):
            self.recorder.tally("dropped.rate")
            return "dropped: rate"
        reason = "robot" if client.robot else self.recorder.drop_reason("signed")
        self.recorder.record(
            View(
                now,
                site.handle,
                target.query_id,
                view,
                client.visitor,
                client.device,
                client.robot,
                reason,
            )
        )
        return "accepted"


def read_payloads(environ: Environ) -> list[dict[str, Any]]:
    """Return the objects of the body's JSON array; raise :class:`BadEvent` for anything else."""
    length = environ.get("CONTENT_LENGTH") or ""
    if not length.isdigit() or int(length) > MOST_BYTES:
        raise BadEvent(f"a body has a stated length of at most {MOST_BYTES} bytes")
    try:
        payloads = json.loads(environ["wsgi.input"].read(int(length)))
    except (ValueError, RecursionError, OSError) as error:
        raise BadEvent("the body is not JSON") from error
    if not isinstance(payloads, list) or len(payloads) > MOST_EVENTS:
        raise BadEvent(f"the body is not an array of at most {MOST_EVENTS} events")
    if not all(isinstance(payload, dict) for payload in payloads):
        raise BadEvent("an event is an object")
    return payloads
