"""The hienergy Clicks API: clicks of each day and advertiser, for programs that read.

The rows and their paging are made by :mod:`clickmw.aggregates`; here a request becomes a question
and what is wrong with it an answer. Source of paths, names and shapes: hienergy's documentation and
its published clients. The service's words for a missing or wrong key are not published.
"""

from __future__ import annotations

from typing import Any

from clickmw.aggregates import MOST_ROWS, ROWS, ApiError, list_clicks
from clickmw.compat import Desk, Protocol
from clickmw.keyring import Holder, KeyRing, shown_key
from clickmw.openapi import (
    API_HEADERS,
    ERROR,
    KEYED,
    TEXT,
    Words,
    answer,
    error_reply,
    parameter,
    record,
    wrong_method,
)
from clickmw.paths import Endpoint
from clickmw.wire import BadRequest, Reply, Request, json_reply

NO_KEY = "Send an API key in the header X-Api-Key."
WRONG_KEY = "This API key is not known here."
TOO_MANY = "Too many requests with this key from this address: wait a second."
UNREADABLE = "The numbers cannot be read now: ask again later."


# --- what the document of all routes says of it --------------------------------------------------

_ID: Words = {"type": "integer", "format": "int64", "minimum": 0}
_COUNT: Words = {"type": "integer", "minimum": 0}
_DAY: Words = {"type": "string", "format": "date", "example": "2026-03-31"}
_PAGE: Words = {"type": "integer", "minimum": 1}
_MAYBE_PAGE: Words = {**_PAGE, "nullable": True}

_ROW = record(
    "ClickRow",
    {
        "advertiser_id": {**_ID, "description": "Made of the host where no advertiser is named."},
        "advertiser_name": {**TEXT, "example": "Alpha Store"},
        "advertiser_slug": {**TEXT, "example": "alpha-store"},
        "publisher_id": {**_ID, "example": 45},
        "publisher_name": {**TEXT, "example": "Example Publisher"},
        "network_id": {**_ID, "nullable": True},
        "network_name": {**TEXT, "nullable": True},
        "click_date": {**_DAY, "description": "A day of the site's calendar."},
        "click_count": {**_COUNT, "description": "Counted clicks on results and ads."},
    },
)
_META = record(
    "ClickMeta",
    {
        "current_page": _PAGE,
        "next_page": {**_MAYBE_PAGE, "description": "null on the last page."},
        "prev_page": {**_MAYBE_PAGE, "description": "null on the first page."},
        "total_pages": _COUNT,
        "total_count": _COUNT,
        "per_page": {**_PAGE, "maximum": MOST_ROWS},
        "used_searchkick": {"type": "boolean", "enum": [False]},
        "start_date": _DAY,
        "end_date": _DAY,
        "days": {"type": "integer", "minimum": 1, "maximum": 90},
        "publisher_id": {**_ID, "nullable": True, "description": "null: several publishers."},
    },
)
_ANSWER = record("ClickPage", {"data": {"type": "array", "items": _ROW}, "meta": _META})
_RETRY = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}

_OPERATION: dict[str, Any] = {
    "operationId": "listClicks",
    "summary": "Clicks of each day and advertiser",
    "description": "One row per advertiser and day, newest day first, then most clicks, then name. "
    "Follow `meta.next_page` until it is null.",
    "tags": ["hienergy Clicks API"],
    "security": KEYED,
    "parameters": [
        parameter("start_date", "First day.", {**_DAY, "example": "2026-03-01"}, required=True),
        parameter("end_date", "Last day, at most 90 with the first.", _DAY, required=True),
        parameter("publisher_id", "Keys of scope admin: only this publisher.", _ID),
        parameter("page", "From 1.", {**_PAGE, "default": 1}),
        parameter("per_page", "Rows of a page.", {**_PAGE, "maximum": MOST_ROWS, "default": ROWS}),
        parameter("limit", "The same; per_page wins.", {**_PAGE, "maximum": MOST_ROWS}),
        parameter("dry_run", "Makes no difference: this only reads.", {"type": "boolean"}),
    ],
    "responses": {
        "200": answer("One page of rows.", json=_ANSWER),
        "400": answer("A date is missing or wrong, or the days are too many.", json=ERROR),
        "401": {
            **answer("No key, or one that is not known.", json=ERROR),
            "headers": {"WWW-Authenticate": {"schema": TEXT}},
        },
        "403": answer("The key may only write.", json=ERROR),
        "429": {**answer("Too many requests.", json=ERROR), "headers": _RETRY},
        "503": {**answer("The store cannot be read now.", json=ERROR), "headers": _RETRY},
    },
}


# --- the protocol --------------------------------------------------------------------------------


class HiEnergy(Protocol):
    """Answer with numbers as hienergy does."""

    name = "hienergy"
    endpoints = (Endpoint("api/v1/clicks", "clicks", {"get": _OPERATION}),)

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self._keys = KeyRing(desk.settings)

    def clicks(self, request: Request) -> Reply:
        """Answer with the rows that the key may see. Pages of other origins cannot read them."""
        if request.method not in ("GET", "HEAD"):
            self.desk.reject("hienergy_method")
            return wrong_method()
        try:
            asked = dict(reversed(request.query))  # of several the first
            body = list_clicks(self.desk, self._holder(request), asked)
        except BadRequest as error:
            return self._refuse(ApiError(400, "BAD_REQUEST", str(error)))
        except ApiError as error:
            return self._refuse(error)
        return json_reply(200, body, API_HEADERS)

    def unable(self, request: Request) -> Reply:
        """Return the answer when the store cannot be read now."""
        return error_reply(503, "SERVICE_UNAVAILABLE", UNREADABLE, [("Retry-After", "5")])

    def _holder(self, request: Request) -> Holder:
        """Return whose key it is; all who guess at keys share the allowance of their address."""
        given = shown_key(request.environ, request.query)
        holder = self._keys.find(given)
        if not self.desk.allows(request.environ, given if holder else ""):
            raise ApiError(429, "TOO_MANY_REQUESTS", TOO_MANY)
        if holder is None:
            raise ApiError(401, "UNAUTHORIZED", WRONG_KEY if given else NO_KEY)
        return holder

    def _refuse(self, error: ApiError) -> Reply:
        if error.status != 429:  # that one is counted where it is noticed
            self.desk.reject(f"hienergy_{error.code.lower()}")
        return error_reply(error.status, error.code, str(error), _MORE.get(error.status, ()))


_MORE = {401: [("WWW-Authenticate", "Bearer")], 429: [("Retry-After", "1")]}
