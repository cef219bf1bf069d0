"""SearchStax's track endpoint: what its senders send, what they are told, and what is kept of it."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
from base64 import b64encode, urlsafe_b64encode
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from webtest import TestApp, TestResponse

from clickmw import ClickMW
from clickmw.compat import HITS_LIMIT
from clickmw.compat.searchstax import IMPRESSIONS_MOST, WHO_MOST, SearchStax
from clickmw.demo import running
from clickmw.events import Answer, Click, Event, Feedback, Impression, Search, Shown, new_query_id
from clickmw.journal import read_records, segment_paths
from clickmw.recorder import now_ms
from clickmw.stores.base import Record
from clickmw.tokens import LinkTarget

SITES = [
    {"handle": "docs", "hosts": ["docs.example"], "tracking_key": "K1"},
    {"handle": "shop", "hosts": ["shop.example"], "tracking_key": "Shöp-Key_2"},
    {"handle": "other", "hosts": ["other.example"]},
]
PATH = "/_clicks/api/v2/track/"
PAGE = "https://www.example.com"
OPERATIONS = SearchStax.endpoints[0].operations

# Literal payloads, as they go over the wire.
CLICKED = (
    "eyJldmVudCI6Il9zZWFyY2hjbGljayIsInByb3BlcnRpZXMiOnsia2V5IjoiSzEiLCJzZXNzaW9uIjoiczEiLCJxdWVy"
    "eSI6InNvbHIiLCJjRG9jSWQiOiJodHRwczovL2V4YW1wbGUuY29tL2RvYy0yIiwiY0RvY1RpdGxlIjoiRG9jIDIiLCJw"
    "b3NpdGlvbiI6MiwiX3ZpZCI6InYxIn19"
)
WITH_PLUS = (
    "eyJldmVudCI6Il9zZWFyY2giLCJwcm9wZXJ0aWVzIjp7ImtleSI6IksxIiwic2Vzc2lvbiI6InMxIiwicXVlcnkiOiJ4"
    "fn5+Pj4+IiwiX3ZpZCI6InYxIn19"
)
LATIN_1 = (
    "eyJldmVudCI6Il9zZWFyY2giLCJwcm9wZXJ0aWVzIjp7ImtleSI6IksxIiwic2Vzc2lvbiI6InMxIiwicXVlcnkiOiLp"
    "IiwiX3ZpZCI6InYxIn19"
)
WITHOUT_RESULTS = (
    "eyJldmVudCI6Il9zZWFyY2giLCJwcm9wZXJ0aWVzIjp7ImtleSI6IksxIiwic2Vzc2lvbiI6InMxIiwicXVlcnkiOiJh"
    "PmI/IiwiX3ZpZCI6InYxIiwidG90YWxIaXRzIjowLCJpbXByZXNzaW9ucyI6W119fQ=="
)
INDENTED = (
    "ewogICJldmVudCI6ICJfc2VhcmNoIiwKICAicHJvcGVydGllcyI6IHsKICAgICJrZXkiOiAiSzEiLAogICAgInNlc3Np"
    "b24iOiAiczEiLAogICAgInF1ZXJ5IjogInNvbHIiLAogICAgIl92aWQiOiAidjEiCiAgfQp9Cg=="
)
LEGACY = (
    "eyJldmVudCI6Il9zZWFyY2giLCJwcm9wZXJ0aWVzIjp7ImtleSI6IksxIiwicXVlcnkiOiJmb28iLCJzaG93bkhpdHMi"
    "OjEsInRvdGFsSGl0cyI6MSwicGFnZU5vIjoxLCJsYXRlbmN5Ijo1MjIsIl92aWQiOiJ2MSIsInR0IjoxNTAzOTM5MDkx"
    "MTg5LCJwYWdlVXJsIjoiaHR0cHMlM0ElMkYlMkZ3d3cuZXhhbXBsZS5jb20lMkZlbiUyRnNlYXJjaC5waHAlM0ZpZSUz"
    "RFVURi04JTI2cSUzRGZvbyJ9fQ=="
)
ASKED = (
    "eyJldmVudCI6Il9xdWVzdGlvbmFuc3dlciIsInByb3BlcnRpZXMiOnsia2V5IjoiSzEiLCJzZXNzaW9uIjoiczEiLCJx"
    "dWVzdGlvbiI6IndoYXQgaXMgc29sciIsImFuc3dlciI6IkEgc2VhcmNoIHNlcnZlci4iLCJfdmlkIjoidjEiLCJpc19x"
    "dWVzdGlvbiI6dHJ1ZX19"
)
ASKED_IN_WORDS = (
    "eyJldmVudCI6Il9xdWVzdGlvbmFuc3dlciIsInByb3BlcnRpZXMiOnsia2V5IjoiSzEiLCJzZXNzaW9uIjoiczEiLCJx"
    "dWVzdGlvbiI6IndoYXQgaXMgc29sciIsImFuc3dlciI6IkEgc2VhcmNoIHNlcnZlci4iLCJfdmlkIjoidjEiLCJpc19x"
    "dWVzdGlvbiI6InRydWUifX0="
)
UNKNOWN_KEY = (
    "eyJldmVudCI6Il9zZWFyY2giLCJwcm9wZXJ0aWVzIjp7ImtleSI6IksyIiwic2Vzc2lvbiI6InMxIiwicXVlcnkiOiJz"
    "b2xyIiwiX3ZpZCI6InYxIn19"
)
WITHOUT_TITLE = (
    "eyJldmVudCI6Il9zZWFyY2hjbGljayIsInByb3BlcnRpZXMiOnsia2V5IjoiSzEiLCJzZXNzaW9uIjoiczEiLCJxdWVy"
    "eSI6InNvbHIiLCJfdmlkIjoidjEiLCJjRG9jSWQiOiJodHRwczovL2V4YW1wbGUuY29tL2RvYy0yIiwicG9zaXRpb24i"
    "OjJ9fQ=="
)
HEADING = (  # the event's name as a heading of the documentation spells it: _related_search
    "eyJldmVudCI6Il9yZWxhdGVkX3NlYXJjaCIsInByb3BlcnRpZXMiOnsia2V5IjoiSzEiLCJzZXNzaW9uIjoiczEiLCJx"
    "dWVyeSI6InNvbHIiLCJfdmlkIjoidjEifX0="
)

SHARED = {"key": "K1", "session": "s1", "_vid": "v1", "language": "en", "model": "Corp"}
OWN: dict[str, dict[str, Any]] = {
    "_search": {"query": "solr"},
    "_relatedsearch": {"query": "solr"},
    "_questionanswer": {"question": "what is solr", "answer": "A server.", "is_question": True},
    "_searchclick": {
        "query": "solr",
        "cDocId": f"{PAGE}/doc-2",
        "cDocTitle": "Doc 2",
        "position": 2,
    },
    "_answersourceclick": {
        "href": f"{PAGE}/source",
        "question": "what is solr",
        "answer": "A server.",
    },
    "_relatedsearchclick": {"query": "solr", "relatedSearch": "managed solr", "position": 2},
    "_searchSatisfaction": {"score": 10},
}


def event_of(name: str, **changes: Any) -> dict[str, Any]:
    """Return an event with all that it needs; a property changed to None is left out."""
    properties = {**SHARED, **OWN[name], **changes}
    said = {each: value for each, value in properties.items() if value is not None}
    return {"event": name, "properties": said}


def packed(payload: Any) -> str:
    """Return *payload* as JSON in base64; bytes are taken as they are."""
    text = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return b64encode(text).decode()


def records_in(folder: Path) -> list[Record]:
    """Return the records of a journal that is still being written."""
    return [
        record
        for path in segment_paths(folder)
        for record in read_records(path, 0, most=1_000_000, sealed=False)
    ]


class Sender:
    """Somebody who reports to an install, and what the install has kept of it."""

    def __init__(self, clicks: ClickMW, browser: TestApp) -> None:
        self.clicks = clicks
        self.browser = browser

    def get(self, data: Any, path: str = PATH, **headers: str) -> TestResponse:
        """Send *data* (text as it is, else packed) as a browser does that escapes nothing."""
        text = data if isinstance(data, str) else packed(data)
        return self.request("GET", f"{path}?data={text}", **headers)

    def post(self, body: bytes | str, path: str = PATH, **headers: str) -> TestResponse:
        headers.setdefault("Content_Type", "application/x-www-form-urlencoded")
        text = body if isinstance(body, bytes) else body.encode()
        return self.request("POST", path, text, **headers)

    def request(self, method: str, url: str, body: bytes = b"", **headers: str) -> TestResponse:
        """Send a request; header names with _ for -."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.browser.request(
            url, method=method, body=body, headers=named, expect_errors=True
        )

    @property
    def events(self) -> list[Event]:
        records = records_in(self.clicks.settings.journal)
        return [stored.event for record in records for stored in record.events]

    @property
    def event(self) -> Any:
        (event,) = self.events
        return event

    def kept(self, name: str, **changes: Any) -> Any:
        """Send an event that is accepted; return what was kept of it."""
        assert self.get(event_of(name, **changes)).status_int == 204
        return self.events[-1]

    @property
    def tallies(self) -> dict[str, int]:
        """What was counted without being kept."""
        self.clicks.door.journal.write_tallies()
        found: Counter[str] = Counter()
        for record in records_in(self.clicks.settings.journal):
            found.update(record.tallies)
        return dict(found)


@pytest.fixture
def install(
    clicks_at: Callable[..., ClickMW], browser_of: Callable[..., TestApp]
) -> Callable[..., Sender]:
    def make(**settings: Any) -> Sender:
        clicks = clicks_at(**{"sites": SITES, **settings})
        return Sender(clicks, browser_of(clicks))

    return make


@pytest.fixture
def sender(install: Callable[..., Sender]) -> Sender:
    return install()


def refused(answer: TestResponse, status: int, code: str) -> str:
    """Check the shape of a refusal and what all answers have; return its message."""
    assert (answer.status_int, answer.content_type) == (status, "application/json")
    assert list(answer.json) == ["error"]
    assert list(answer.json["error"]) == ["code", "message"]
    assert answer.json["error"]["code"] == code
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["Cache-Control"] == "no-store"
    return str(answer.json["error"]["message"])


# --- over the wire -------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [PATH, PATH.rstrip("/")], ids=["slash", "no-slash"])
def test_a_click_in_the_query_string_is_kept_with_all_its_fields(sender: Sender, path: str) -> None:
    answer = sender.get(CLICKED, path)
    assert (answer.status_int, answer.body) == (204, b"")
    click = sender.event
    assert isinstance(click, Click)
    kept = (click.site, click.query, click.url, click.doc_id, click.title, click.position)
    assert kept == ("docs", "solr", "https://example.com/doc-2", "", "Doc 2", 2)
    assert (click.source, click.trust, click.kind) == ("searchstax", "keyed", "result")
    assert (click.session, click.language, click.profile) == ("s1", "", "")
    assert (click.position_raw, click.query_id, click.drop_reason) == ("", "", "")
    assert len(click.visitor) == len(click.dedupe_key) == 16


def test_the_same_click_in_a_form_body_is_kept_the_same(sender: Sender) -> None:
    sender.get(CLICKED)
    assert sender.post(urlencode({"data": CLICKED})).status_int == 204
    first, second = sender.events
    assert second == first._replace(received_ms=second.received_ms)


def test_a_plus_that_nobody_escaped_is_understood(sender: Sender) -> None:
    assert "+" in WITH_PLUS
    assert sender.get(WITH_PLUS).status_int == 204
    assert sender.event.query == "x~~~>>>"


def test_blanks_around_it_are_only_that(sender: Sender) -> None:
    assert sender.get(f"%20{WITH_PLUS}++%0A").status_int == 204
    assert sender.event.query == "x~~~>>>"


def test_latin_1_is_understood(sender: Sender) -> None:
    assert sender.get(LATIN_1).status_int == 204
    assert sender.event.query == "é"


def test_a_search_that_found_nothing_is_a_search_without_results(sender: Sender) -> None:
    assert "/" in WITHOUT_RESULTS
    assert sender.get(WITHOUT_RESULTS).status_int == 204
    search = sender.event
    assert isinstance(search, Search)
    assert (search.query, search.total_hits, search.impressions) == ("a>b?", 0, ())
    assert (search.source, search.trust, search.session) == ("searchstax", "keyed", "s1")


def test_indented_json_is_understood(sender: Sender) -> None:
    assert sender.get(INDENTED).status_int == 204
    assert sender.event.query == "solr"


def test_what_the_old_library_sends_without_a_session_is_kept(sender: Sender) -> None:
    assert sender.get(LEGACY).status_int == 204
    search = sender.event
    assert (search.query, search.total_hits, search.offset, search.session) == ("foo", 1, 0, "")


@pytest.mark.parametrize("data", [ASKED, ASKED_IN_WORDS], ids=["boolean", "text"])
def test_whether_it_is_a_question_may_be_a_boolean_or_a_word(sender: Sender, data: str) -> None:
    assert sender.get(data).status_int == 204
    answer = sender.event
    assert isinstance(answer, Answer)
    kept = (answer.question, answer.answer, answer.is_question)
    assert kept == ("what is solr", "A search server.", 1)


@pytest.mark.parametrize(
    ("query_string", "says"),
    [
        ("", "once"),
        ("?data=", "not JSON"),
        ("?data=%%%", "base64"),
        ("?data=WzFd", "object"),
        (f"?data={HEADING}", "event must be one of _search, "),
        (f"?data={WITHOUT_TITLE}", "missing in properties: cDocTitle"),
        (f"?data={quote(quote(WITHOUT_RESULTS, safe=''))}", "base64"),
        (f"?data={CLICKED}&data={CLICKED}", "once"),
        ("?data=" + "A" * 1_048_576, "longer than 65536"),
        ("?" + "a=b&" * 500 + f"data={CLICKED}", "more than 200 parameters"),
        (f"?data={CLICKED[:-1]}", "not JSON"),
        (f"?data={CLICKED[:-3]}", "base64"),
        (f"?data={CLICKED[:8]}={CLICKED[8:]}", "base64"),
        ("?data=%C3%A9%FF", "base64"),
    ],
    ids=[
        "no-data",
        "empty",
        "percent-signs",
        "array",
        "name-of-the-heading",
        "no-title",
        "escaped-twice",
        "sent-twice",
        "a-megabyte",
        "many-parameters",
        "cut-short",
        "impossible-length",
        "padding-inside",
        "not-ascii",
    ],
)
def test_what_cannot_be_read_is_422_with_the_reason(
    sender: Sender, query_string: str, says: str
) -> None:
    answer = sender.request("GET", PATH + query_string)
    assert says in refused(answer, 422, "invalid")
    assert (sender.events, sender.tallies) == ([], {"rejected.searchstax_invalid": 1})


def test_an_unknown_key_is_422(sender: Sender) -> None:
    assert "tracking_key" in refused(sender.get(UNKNOWN_KEY), 422, "unknown_key")
    assert (sender.events, sender.tallies) == ([], {"rejected.searchstax_key": 1})


@pytest.mark.parametrize("key", [None, "", " ", "K", "K11", "k1", "None", 0, True, ["K1"]])
def test_no_other_key_than_the_site_s_own_opens_it(sender: Sender, key: Any) -> None:
    assert sender.get(event_of("_search", key=key)).status_int == 422
    assert sender.events == []


def test_each_site_has_its_own_key(sender: Sender) -> None:
    assert sender.kept("_search", key="Shöp-Key_2").site == "shop"


def test_a_key_that_is_there_twice_is_refused(sender: Sender) -> None:
    text = b'{"event":"_search","properties":{"query":"q","_vid":"v","key":"K2","key":"K1"}}'
    assert "twice" in refused(sender.get(text), 422, "invalid")


def test_a_page_on_another_host_may_read_both_answers(sender: Sender) -> None:
    for data, status in ((CLICKED, 204), (UNKNOWN_KEY, 422)):
        answer = sender.get(data, Origin="https://shop.example")
        assert answer.status_int == status
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert answer.headers["Cache-Control"] == "no-store"


def test_204_has_neither_length_nor_type(sender: Sender) -> None:
    headers = sender.get(CLICKED).headers
    assert {"Content-Length", "Content-Type"} & set(headers) == set()


def test_the_endpoint_stands_at_the_root_too(install: Callable[..., Sender]) -> None:
    sender = install(native_paths=True)
    assert sender.get(CLICKED, "/api/v2/track/").status_int == 204
    assert sender.event.title == "Doc 2"


@pytest.mark.parametrize(
    "content_type", ["application/json", "text/plain;charset=UTF-8", "", "application/x-www-form-urlencoded"]
)  # fmt: skip
def test_the_event_may_be_the_body_itself_whatever_its_type_is_called(
    sender: Sender, content_type: str
) -> None:
    body = b"\r\n " + json.dumps(event_of("_search", query="grün"), ensure_ascii=False).encode()
    assert sender.post(body, Content_Type=content_type).status_int == 204
    assert sender.event.query == "grün"


@pytest.mark.parametrize(
    "body", [json.dumps(event_of("_search")), urlencode({"data": CLICKED})], ids=["json", "form"]
)
def test_an_event_in_the_body_and_another_in_the_query_string_are_refused(
    sender: Sender, body: str
) -> None:
    assert "once" in refused(sender.post(body, f"{PATH}?data={CLICKED}"), 422, "invalid")
    assert sender.events == []


def test_a_post_may_have_its_event_in_the_query_string(sender: Sender) -> None:
    assert sender.post(b"", f"{PATH}?data={CLICKED}").status_int == 204
    assert sender.event.title == "Doc 2"


@pytest.mark.parametrize(
    "environ",
    [
        {"CONTENT_LENGTH": "1000000000000"},
        {"CONTENT_LENGTH": "-1"},
        {"CONTENT_LENGTH": "abc"},
        {"CONTENT_LENGTH": "9"},
        {"CONTENT_LENGTH": "", "HTTP_TRANSFER_ENCODING": "chunked"},
        {"HTTP_CONTENT_ENCODING": "gzip"},
    ],
    ids=["huge", "negative", "a-word", "cut-short", "chunked", "compressed"],
)
def test_a_body_that_cannot_be_read_is_422_too(sender: Sender, environ: dict[str, str]) -> None:
    answer = sender.browser.post(PATH, b"data=", extra_environ=environ, expect_errors=True)
    refused(answer, 422, "invalid")


# --- methods -------------------------------------------------------------------------------------


def test_a_preflight_is_answered_and_counts_nothing(sender: Sender) -> None:
    asked = {"Origin": PAGE, "Access_Control_Request_Method": "POST"}
    answer = sender.request("OPTIONS", PATH, **asked)
    assert (answer.status_int, answer.body) == (204, b"")
    allowed = {
        name: answer.headers[name] for name in answer.headers if name.startswith("Access-Control")
    }
    assert allowed == {
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Allow-Methods": "GET, HEAD, POST",
        "Access-Control-Allow-Headers": "Content-Type",
        "Access-Control-Max-Age": "600",
    }
    assert answer.headers["Cache-Control"] == "no-store"
    assert (sender.events, sender.tallies) == ([], {})


@pytest.mark.parametrize(("data", "status"), [(CLICKED, 204), (UNKNOWN_KEY, 422)])
def test_head_is_answered_like_get_and_records_nothing(
    sender: Sender, data: str, status: int
) -> None:
    answer = sender.request("HEAD", f"{PATH}?data={data}")
    assert (answer.status_int, answer.body) == (status, b"")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert sender.events == []


@pytest.mark.parametrize(
    ("name", "value"),
    [("Sec-Purpose", "prefetch;prerender"), ("Purpose", "prefetch"), ("X-Moz", "prefetch")],
)
def test_what_is_asked_for_in_advance_is_not_recorded(
    sender: Sender, name: str, value: str
) -> None:
    answer = sender.get(CLICKED, **{name: value})
    refused(answer, 425, "prefetch")
    assert (sender.events, sender.tallies) == ([], {"prefetch": 1})


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_other_methods_are_405(sender: Sender, method: str) -> None:
    answer = sender.request(method, f"{PATH}?data={CLICKED}")
    refused(answer, 405, "method_not_allowed")
    assert answer.headers["Allow"] == "GET, HEAD, POST, OPTIONS"
    assert (sender.events, sender.tallies) == ([], {"rejected.searchstax_method": 1})


@pytest.mark.usefixtures("still_limits")
def test_too_many_events_of_one_sender_are_429(install: Callable[..., Sender]) -> None:
    sender = install(redirect_rate=1)
    answers = [sender.get(CLICKED) for _ in range(200)]
    late = next(answer for answer in answers if answer.status_int != 204)
    refused(late, 429, "too_many_requests")
    assert late.headers["Retry-After"] == "1"
    assert late.headers["Access-Control-Expose-Headers"] == "Retry-After"
    accepted = sum(answer.status_int == 204 for answer in answers)
    assert (len(sender.events), sender.tallies) == (accepted, {"rejected.rate": 200 - accepted})


def test_an_event_that_cannot_be_kept_is_503(
    install: Callable[..., Sender], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    sender = install(journal=str(tmp_path / "file" / "journal"))
    refused(sender.get(CLICKED), 503, "unavailable")


# --- the seven events ----------------------------------------------------------------------------


def test_a_search_is_kept_with_what_it_showed(sender: Sender) -> None:
    impressions = [
        {"cDocId": f"{PAGE}/doc-1", "cDocTitle": "Doc 1", "position": 1},
        {"cDocId": "sitecore://master/{1}", "cDocTitle": None, "position": "2"},
        {"cDocId": 3},
    ]
    search = sender.kept(
        "_search", query="Tax  Form", totalHits=12, shownHits=3, pageNo=1, impressions=impressions
    )
    assert isinstance(search, Search)
    assert (search.query, search.total_hits, search.offset) == ("tax form", 12, 0)
    assert (search.language, search.profile, search.session) == ("en", "Corp", "s1")
    assert search.impressions == (
        Shown(f"{PAGE}/doc-1", 1, "", "", "Doc 1"),
        Shown("", 2, "", "sitecore://master/{1}", ""),
        Shown("", 3, "", "3", ""),
    )


def test_related_searches_are_kept_with_what_was_suggested(sender: Sender) -> None:
    impressions = [{"relatedSearch": "managed solr", "position": 1}, {"relatedSearch": "Solr 9"}]
    shown = sender.kept("_relatedsearch", impressions=impressions)
    assert isinstance(shown, Impression)
    assert (shown.kind, shown.query, shown.profile) == ("related", "solr", "Corp")
    assert shown.shown == (
        Shown("", 1, "", "managed solr", "managed solr"),
        Shown("", 2, "", "Solr 9", "Solr 9"),
    )


def test_an_answer_is_kept_with_its_question(sender: Sender) -> None:
    answer = sender.kept("_questionanswer", is_question=False)
    assert isinstance(answer, Answer)
    kept = (answer.question, answer.answer, answer.is_question, answer.language)
    assert kept == ("what is solr", "A server.", 0, "en")


def test_a_result_without_a_url_is_kept_by_its_id(sender: Sender) -> None:
    click = sender.kept("_searchclick", cDocId="sitecore://master/{1}?lang=en")
    assert (click.url, click.doc_id) == ("", "sitecore://master/{1}?lang=en")


def test_a_click_on_a_source_is_kept_with_its_question_and_without_the_answer(
    sender: Sender,
) -> None:
    click = sender.kept("_answersourceclick", answer="Every word of it.")
    assert isinstance(click, Click)
    assert (click.kind, click.url, click.query) == ("source", f"{PAGE}/source", "what is solr")
    assert (click.position, click.title, click.doc_id) == (None, "", "")
    assert "Every word" not in repr(click)


@pytest.mark.parametrize(
    ("href", "url"),
    [
        ("/docs/example", "https://docs.example/docs/example"),
        ("HTTPS://Example.com/a b", "HTTPS://Example.com/a b"),
    ],
    ids=["path", "as-written"],
)
def test_a_source_may_be_a_path_of_the_site(sender: Sender, href: str, url: str) -> None:
    assert sender.kept("_answersourceclick", href=href).url == url


@pytest.mark.parametrize(
    "href", ["javascript:alert(1)", "//example.com/", "docs/example", "mailto:a@b.c", "https://"]
)
def test_a_source_that_is_no_web_address_is_refused(sender: Sender, href: str) -> None:
    answer = sender.get(event_of("_answersourceclick", href=href))
    assert "href must be an http or https URL" in refused(answer, 422, "invalid")


def test_a_click_on_a_related_search_is_kept_by_its_text(sender: Sender) -> None:
    click = sender.kept("_relatedsearchclick")
    assert isinstance(click, Click)
    assert (click.kind, click.url, click.position) == ("related", "", 2)
    assert (click.doc_id, click.title, click.query) == ("managed solr", "managed solr", "solr")


def test_a_rating_is_kept_with_its_comment(sender: Sender) -> None:
    rating = sender.kept("_searchSatisfaction", score=7, comments="Very good.\nThanks")
    assert isinstance(rating, Feedback)
    assert (rating.score, rating.comment, rating.profile) == (7, "Very good. Thanks", "Corp")


@pytest.mark.parametrize(("score", "kept"), [("8", 8), (0, 0), (10.0, 10), (" 3 ", 3)])
def test_a_score_may_be_a_number_or_its_digits(sender: Sender, score: Any, kept: int) -> None:
    assert sender.kept("_searchSatisfaction", score=score).score == kept


NEEDS = [(name, each) for name, own in OWN.items() for each in ("_vid", "key", *own)]


@pytest.mark.parametrize(("name", "needed"), NEEDS, ids=[" ".join(pair) for pair in NEEDS])
def test_what_an_event_needs_is_missed(sender: Sender, name: str, needed: str) -> None:
    answer = sender.get(event_of(name, **{needed: None}))
    assert refused(answer, 422, "invalid") == f"missing in properties: {needed}"
    payload = event_of(name)
    payload["properties"][needed] = None
    assert sender.get(payload).status_int == 422
    assert sender.events == []


def test_all_that_is_missing_is_named_at_once(sender: Sender) -> None:
    answer = sender.get({"event": "_searchclick", "properties": {"key": "K1", "cDocId": ""}})
    message = refused(answer, 422, "invalid")
    assert message == "missing in properties: _vid, query, cDocId, cDocTitle, position"


@pytest.mark.parametrize(
    ("name", "may_be_empty"),
    [
        ("_search", "query"),
        ("_searchclick", "cDocTitle"),
        ("_questionanswer", "answer"),
        ("_search", "_vid"),
        ("_search", "session"),
    ],
)
def test_what_there_may_not_be_may_be_empty(sender: Sender, name: str, may_be_empty: str) -> None:
    assert sender.get(event_of(name, **{may_be_empty: ""})).status_int == 204


@pytest.mark.parametrize("name", list(OWN))
@pytest.mark.parametrize("absent", ["session", "language", "model"])
def test_what_only_some_senders_know_may_be_absent(sender: Sender, name: str, absent: str) -> None:
    assert sender.get(event_of(name, **{absent: None})).status_int == 204


@pytest.mark.parametrize("absent", [None, ""], ids=["null", "empty"])
def test_numbers_that_a_search_does_not_know_are_no_numbers(sender: Sender, absent: Any) -> None:
    payload = event_of("_search")
    payload["properties"] |= {"totalHits": absent, "pageNo": absent, "shownHits": absent}
    assert sender.get(payload).status_int == 204
    assert (sender.event.total_hits, sender.event.offset) == (None, 0)


WRONG: list[tuple[str, dict[str, Any]]] = [
    ("_search", {"query": ["solr"]}),
    ("_search", {"query": True}),
    ("_search", {"session": {}}),
    ("_search", {"_vid": {}}),
    ("_search", {"language": ["en"]}),
    ("_search", {"totalHits": -1}),
    ("_search", {"totalHits": "many"}),
    ("_search", {"totalHits": HITS_LIMIT + 1}),
    ("_search", {"pageNo": 1.5}),
    ("_search", {"shownHits": 100_001}),
    ("_search", {"impressions": "all"}),
    ("_search", {"impressions": {"cDocId": "a"}}),
    ("_search", {"impressions": ["a"]}),
    ("_search", {"impressions": [{"cDocTitle": "no id"}]}),
    ("_search", {"impressions": [{"cDocId": "a", "position": -1}]}),
    ("_search", {"impressions": [{"cDocId": "https://example.com/" + "a" * 2_048}]}),
    ("_relatedsearch", {"impressions": [{"relatedSearch": " "}]}),
    ("_relatedsearch", {"impressions": [{"relatedSearch": "a", "position": "x"}]}),
    ("_questionanswer", {"is_question": "maybe"}),
    ("_questionanswer", {"is_question": 1}),
    ("_questionanswer", {"answer": {}}),
    ("_searchclick", {"position": -1}),
    ("_searchclick", {"position": 2.5}),
    ("_searchclick", {"position": "first"}),
    ("_searchclick", {"position": 100_001}),
    ("_searchclick", {"position": True}),
    ("_searchclick", {"cDocId": "a" * 2_049}),
    ("_searchclick", {"cDocId": "\u0000\u0001"}),
    ("_searchclick", {"cDocId": " "}),
    ("_searchclick", {"position": " "}),
    ("_relatedsearchclick", {"relatedSearch": " "}),
    ("_searchSatisfaction", {"score": " "}),
    ("_searchclick", {"cDocTitle": []}),
    ("_relatedsearchclick", {"position": []}),
    ("_searchSatisfaction", {"score": 11}),
    ("_searchSatisfaction", {"score": -1}),
    ("_searchSatisfaction", {"score": 7.5}),
    ("_searchSatisfaction", {"comments": {}}),
]


@pytest.mark.parametrize(
    ("name", "wrong"), WRONG, ids=[f"{name} {str(wrong)[:40]}" for name, wrong in WRONG]
)
def test_what_could_not_be_kept_as_it_was_sent_is_refused_by_name(
    sender: Sender, name: str, wrong: dict[str, Any]
) -> None:
    message = refused(sender.get(event_of(name, **wrong)), 422, "invalid")
    assert message.startswith(next(iter(wrong)))
    assert (sender.events, sender.tallies) == ([], {"rejected.searchstax_invalid": 1})


@pytest.mark.parametrize(
    "payload",
    [
        None,
        [],
        {},
        {"event": ["_search"], "properties": SHARED | OWN["_search"]},
        {"event": "search", "properties": SHARED | OWN["_search"]},
        {"event": "_SEARCH", "properties": SHARED | OWN["_search"]},
        {"event": "_answershowmoreclick", "properties": SHARED},
        {"event": "_search"},
        {"event": "_search", "properties": [SHARED]},
        b'{"event":"_search","properties":{"key":"K1","_vid":"v","query":NaN}}',
        b'{"event":"_search","properties":{"key":"K1","_vid":"v","query":"\\ud800"}}',
        b'{"event":"_search","properties":{"key":"K1","_vid":"v","query":1e999}}',
        b'{"event":"_search","properties":{"key":"K1","_vid":"v","query":"q","x":'
        + b"[" * 33
        + b"]" * 33
        + b"}}",
    ],
    ids=lambda payload: str(payload)[:40],
)
def test_what_is_no_event_of_ours_is_refused(sender: Sender, payload: Any) -> None:
    refused(sender.get(payload), 422, "invalid")
    assert sender.events == []


def test_the_most_impressions_are_kept_and_one_more_is_refused(sender: Sender) -> None:
    listed = [{"cDocId": f"{index}", "position": index + 1} for index in range(IMPRESSIONS_MOST)]
    body = json.dumps(event_of("_search", impressions=listed))
    assert sender.post(body).status_int == 204
    assert len(sender.event.impressions) == IMPRESSIONS_MOST
    body = json.dumps(event_of("_search", impressions=[*listed, {"cDocId": "x"}]))
    assert "impressions must not be more than 200" in refused(sender.post(body), 422, "invalid")
    assert len(sender.events) == 1


# --- pages and positions -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "offset"),
    [
        ({}, 0),
        ({"pageNo": 1, "shownHits": 10}, 0),
        ({"pageNo": 0, "shownHits": 10}, 0),
        ({"pageNo": 3, "shownHits": 20}, 40),
        ({"pageNo": "3", "shownHits": "20"}, 40),
        ({"pageNo": 3}, 20),
        ({"pageNo": 3, "shownHits": 0}, 20),
        ({"pageNo": 3, "shownHits": 4, "impressions": [{"cDocId": "a", "position": 21}]}, 20),
        ({"impressions": [{"cDocId": "b", "position": 12}, {"cDocId": "a", "position": 11}]}, 10),
        ({"pageNo": 2, "shownHits": 5, "impressions": [{"cDocId": "a", "position": 1}]}, 5),
        ({"pageNo": 2, "shownHits": 5, "impressions": [{"cDocId": "a"}]}, 5),
        ({"pageNo": 3, "impressions": [{"cDocId": "a"}, {"cDocId": "b"}]}, 4),
    ],
    ids=[
        "nothing-said",
        "first-page",
        "counted-from-0",
        "page-and-size",
        "as-texts",
        "no-size",
        "nothing-shown",
        "last-page-is-short",
        "positions-only",
        "positions-of-the-page",
        "no-positions",
        "neither-positions-nor-size",
    ],
)
def test_where_a_page_begins_is_told_by_its_positions_or_its_number(
    sender: Sender, said: dict[str, Any], offset: int
) -> None:
    assert sender.kept("_search", **said).offset == offset


def test_an_impression_without_a_position_stands_where_it_is_in_the_list(sender: Sender) -> None:
    listed = [{"cDocId": "a"}, {"cDocId": "b", "position": 0}, {"cDocId": "c", "position": 15}]
    second = sender.kept("_search", pageNo=2, shownHits=10, impressions=listed)
    assert [shown.position for shown in second.impressions] == [11, 12, 15]
    first = sender.kept("_search", pageNo=0, shownHits=10, impressions=listed)
    assert [shown.position for shown in first.impressions] == [1, 2, 15]


def test_a_number_of_impressions_is_no_list_of_them(sender: Sender) -> None:
    assert sender.kept("_search", impressions=10).impressions == ()


@pytest.mark.parametrize(
    ("sent", "position", "raw"),
    [(2, 2, ""), ("2", 2, ""), (" 2 ", 2, ""), (0, 0, ""), (2.0, 2, "2.0"), ("007", 7, "007"), (100_000, 100_000, "")],
)  # fmt: skip
def test_a_position_is_kept_as_sent_where_it_differs(
    sender: Sender, sent: Any, position: int, raw: str
) -> None:
    click = sender.kept("_searchclick", position=sent)
    assert (click.position, click.position_raw) == (position, raw)


# --- links of ours -------------------------------------------------------------------------------


@pytest.fixture
def our_link(sender: Sender) -> LinkTarget:
    return LinkTarget("docs", new_query_id(now_ms()), 4, "BWEB", "item-7", "/doc/7")


def signed(sender: Sender, target: LinkTarget, host: str = "https://docs.example") -> str:
    return f"{host}/_clicks/r/{sender.clicks.door.signer.sign_link(target)}"


@pytest.mark.parametrize("host", ["https://docs.example", ""], ids=["absolute", "path"])
@pytest.mark.parametrize(
    ("name", "where"), [("_searchclick", "cDocId"), ("_answersourceclick", "href")]
)
def test_a_signed_link_stands_for_its_target(
    sender: Sender, our_link: LinkTarget, name: str, where: str, host: str
) -> None:
    click = sender.kept(name, **{where: signed(sender, our_link, host)})
    assert (click.url, click.query_id) == ("https://docs.example/doc/7", our_link.query_id)
    assert (click.module_code, click.doc_id, click.dedupe_key) == ("BWEB", "item-7", "")


def test_a_signed_link_that_was_shown_stands_for_its_target(
    sender: Sender, our_link: LinkTarget
) -> None:
    link = signed(sender, our_link)
    listed = [{"cDocId": link, "cDocTitle": "Seven"}, {"cDocId": link, "position": 9}]
    assert sender.kept("_search", impressions=listed).impressions == (
        Shown("https://docs.example/doc/7", 4, "BWEB", "item-7", "Seven"),
        Shown("https://docs.example/doc/7", 9, "BWEB", "item-7", ""),
    )


def test_a_signed_link_may_be_longer_than_a_url(sender: Sender, our_link: LinkTarget) -> None:
    link = signed(sender, our_link._replace(location="https://example.com/" + "ü" * 500))
    assert len(link) > 2_048
    assert sender.kept("_searchclick", cDocId=link).query_id == our_link.query_id


def test_a_link_of_another_site_and_a_made_up_one_are_only_addresses(
    sender: Sender, our_link: LinkTarget
) -> None:
    for link in (signed(sender, our_link._replace(site="shop")), f"{PAGE}/_clicks/r/a.b"):
        click = sender.kept("_searchclick", cDocId=link)
        assert (click.url, click.query_id) == (link, "")


# --- who, and what is not kept -------------------------------------------------------------------


def test_visitors_are_told_apart_by_their_id_then_by_user_then_by_session(sender: Sender) -> None:
    def visitor(**said: Any) -> str:
        return str(sender.kept("_search", **{"_vid": "", "session": None, **said}).visitor)

    by_id = visitor(_vid="a", user="b", session="c")
    assert by_id == visitor(_vid="a", user="x", session="y")
    assert by_id == visitor(user="a") == visitor(session="a")
    assert visitor(user="b", session="a") == visitor(_vid="b") != by_id
    assert visitor(_vid=7) == visitor(_vid="7")
    assert visitor() == ""


def test_a_click_of_nobody_is_never_a_duplicate(sender: Sender) -> None:
    click = sender.kept("_searchclick", _vid="", session=None)
    assert (click.visitor, click.dedupe_key) == ("", "")


def test_repeats_share_a_key_and_other_clicks_do_not(sender: Sender) -> None:
    def key(name: str = "_searchclick", **said: Any) -> str:
        return str(sender.kept(name, **said).dedupe_key)

    assert key() == key(session="another", position=9)
    others = [
        key(),
        key(_vid="v2"),
        key(query="lucene"),
        key(cDocId="doc-2"),
        key("_relatedsearchclick"),
        key("_relatedsearchclick", relatedSearch="solr 9"),
        key("_answersourceclick"),
    ]
    assert len(set(others)) == len(others)


def test_only_declared_crawlers_are_robots(sender: Sender) -> None:
    agents = [
        "curl/8.5.0",
        "python-requests/2.32",
        "Googlebot/2.1 (+http://www.google.com/bot.html)",
    ]
    for agent in agents:
        sender.get(CLICKED, User_Agent=agent)
    assert [event.drop_reason for event in sender.events] == ["", "", "robot"]


def test_who_opted_out_is_answered_and_not_kept(sender: Sender) -> None:
    assert sender.get(CLICKED, Sec_GPC="1").status_int == 204
    assert (sender.events, sender.tallies) == ([], {"opted_out": 1})


def test_a_wrong_event_of_somebody_who_opted_out_is_still_refused(sender: Sender) -> None:
    answer = sender.get(event_of("_searchSatisfaction", score=11), Sec_GPC="1")
    refused(answer, 422, "invalid")
    assert sender.tallies == {"rejected.searchstax_invalid": 1}


@pytest.mark.parametrize("name", list(OWN))
def test_ids_addresses_and_clocks_of_people_are_not_kept(sender: Sender, name: str) -> None:
    secrets = {"_vid": "visitor-77", "user": "user-77", "email": "person-77@example.com"}
    sender.kept(
        name, **secrets, tt=1503939091189, latency=522752275227, pageUrl="https%3A%2F%2Fa-77"
    )
    (segment,) = segment_paths(sender.clicks.settings.journal)
    text = segment.read_text()
    assert "s1" in text
    for word in (
        "visitor-77",
        "user-77",
        "person-77",
        "1503939091189",
        "522752275227",
        "a-77",
        "K1",
    ):
        assert word not in text


MASKED = [
    ("_search", "query", "query"),
    ("_relatedsearch", "query", "query"),
    ("_questionanswer", "question", "question"),
    ("_questionanswer", "answer", "answer"),
    ("_searchclick", "query", "query"),
    ("_answersourceclick", "question", "query"),
    ("_relatedsearchclick", "relatedSearch", "title"),
    ("_relatedsearchclick", "relatedSearch", "doc_id"),
    ("_searchSatisfaction", "comments", "comment"),
]


@pytest.mark.parametrize(("name", "said", "kept"), MASKED, ids=[" ".join(row) for row in MASKED])
def test_what_people_write_is_masked(sender: Sender, name: str, said: str, kept: str) -> None:
    event = sender.kept(name, **{said: "mail jane@example.com"})
    assert getattr(event, kept) == "mail REDACTED_EMAIL"


def test_a_suggestion_is_masked_where_it_is_shown(sender: Sender) -> None:
    listed = [{"relatedSearch": "jane@example.com"}]
    shown = sender.kept("_relatedsearch", impressions=listed).shown
    assert shown == (Shown("", 1, "", "REDACTED_EMAIL", "REDACTED_EMAIL"),)


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("en", "en"),
        ("en-US", "en-us"),
        ("en_US", "en-us"),
        (" PT_br ", "pt-br"),
        ("zh-Hant-TW", "zh-hant-tw"),
        ("a" * 35, "a" * 35),
        ("a" * 36, ""),
        ("français", ""),
        ("<script>", ""),
        ("", ""),
    ],
)
def test_a_language_is_kept_in_lower_case_with_dashes(sender: Sender, sent: str, kept: str) -> None:
    assert sender.kept("_search", language=sent).language == kept


def test_long_texts_are_cut(sender: Sender) -> None:
    long = "x" * 3_000
    click = sender.kept("_searchclick", cDocTitle=long, session=long, model=long, query=long)
    lengths = [len(text) for text in (click.title, click.session, click.profile, click.query)]
    assert lengths == [200, 64, 200, 512]
    answer = sender.kept("_questionanswer", question=long, answer=long)
    assert (len(answer.question), len(answer.answer)) == (2_000, 2_000)
    assert len(sender.kept("_searchSatisfaction", comments=long).comment) == 2_000
    same = sender.kept("_search", _vid="x" * WHO_MOST).visitor
    assert sender.kept("_search", _vid=long).visitor == same


def test_control_characters_do_not_get_into_texts(sender: Sender) -> None:
    click = sender.kept(
        "_searchclick", cDocId="https://a.example/\n\u202e", cDocTitle="a\x00b", model="x\r\ny"
    )
    assert (click.url, click.title, click.profile) == ("https://a.example/", "a b", "x y")


# --- in the store --------------------------------------------------------------------------------


def test_events_stand_in_the_views(sender: Sender) -> None:
    for name in OWN:
        sender.kept(name, impressions=[{"cDocId": "a-1", "relatedSearch": "b", "position": 3}])
    sender.clicks.door.routes.open_reader().close()
    assert sender.clicks.door.store.check() == []
    with closing(sqlite3.connect(sender.clicks.settings.journal.parent / "clicks.db")) as database:

        def rows(sql: str) -> list[tuple[Any, ...]]:
            return database.execute(f"{sql} ORDER BY 1, 2").fetchall()

        clicks = rows("SELECT kind, url || doc_id, query, position, session, counted FROM clicks")
        searches = rows("SELECT query, language, profile, offset, counted FROM searches")
        shown = rows("SELECT query, doc_id, position FROM impressions WHERE kind = 'result'")
        answers = rows("SELECT question, answer, is_question, source FROM answers")
        ratings = rows("SELECT score, source, trust FROM feedback")
    assert clicks == [
        ("related", "managed solr", "solr", 2, "s1", 1),
        ("result", f"{PAGE}/doc-2", "solr", 2, "s1", 1),
        ("source", f"{PAGE}/source", "what is solr", None, "s1", 1),
    ]
    assert searches == [("solr", "en", "Corp", 2, 1)]
    assert shown == [("solr", "a-1", 3)]
    assert answers == [("what is solr", "A server.", 1, "searchstax")]
    assert ratings == [(10, "searchstax", "keyed")]


# --- laws ----------------------------------------------------------------------------------------

IN_ONE_INSTALL = hypothesis_settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=8,
)
NAMES = st.sampled_from(sorted({name for own in OWN.values() for name in own} | {*SHARED, "user"}))
ENTRIES = st.lists(
    st.fixed_dictionaries(
        {"cDocId": TEXTS | st.just(f"{PAGE}/a"), "relatedSearch": TEXTS},
        optional={"position": st.integers(-1, 30) | SCALARS, "cDocTitle": SCALARS},
    ),
    max_size=4,
)


@st.composite
def searches(draw: st.DrawFn) -> dict[str, Any]:
    """Return an event that is accepted, with any texts in it and anything that is not read."""
    extra = draw(st.dictionaries(TEXTS.map("x".__add__), VALUES, max_size=3))
    own = {"query": draw(TEXTS), "cDocId": f"{PAGE}/" + draw(TEXTS), "cDocTitle": draw(TEXTS)}
    return event_of("_searchclick", **{**extra, **own})


@st.composite
def spelt(draw: st.DrawFn, payload: Any) -> tuple[str, bytes]:
    """Return a query string and a body that say *payload* in one of the ways that are understood."""
    text = json.dumps(
        payload,
        ensure_ascii=draw(st.booleans()),
        allow_nan=False,
        indent=draw(st.sampled_from([None, 2])),
    )
    raw = draw(st.sampled_from(sorted({text.encode(), _latin_1(text)})))
    if draw(st.integers(0, 5)) == 0:
        return "", text.encode()
    data = draw(st.sampled_from([b64encode, urlsafe_b64encode]))(raw).decode()
    data = data.rstrip("=") if draw(st.booleans()) else data
    line_break = draw(st.sampled_from(["", "\n", "\r\n"]))
    data = "".join(data[at : at + 76] + line_break for at in range(0, len(data), 76))
    escaped = draw(st.booleans()) or "\n" in data
    said = "data=" + (quote(data, safe="") if escaped else data)
    return (said, b"") if draw(st.booleans()) else ("", said.encode())


def _latin_1(text: str) -> bytes:
    """Return *text* in Latin-1 when nobody could take it for UTF-8, else as UTF-8."""
    try:
        text.encode("latin-1").decode()
    except UnicodeDecodeError:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        pass
    return text.encode()


@IN_ONE_INSTALL
@given(data=st.data(), payload=searches())
def test_every_spelling_of_an_event_is_kept_the_same(
    sender: Sender, data: st.DataObject, payload: Any
) -> None:
    try:
        plain = json.dumps(payload, allow_nan=False).encode()
    except ValueError:  # not a number: that is no JSON
        return
    query_string, body = data.draw(spelt(payload))
    assert sender.post(plain).status_int == 204
    assert sender.post(body, f"{PATH}?{query_string}").status_int == 204
    first, second = sender.events[-2:]
    assert second == first._replace(received_ms=second.received_ms)


@IN_ONE_INSTALL
@given(data=st.binary(max_size=300) | TEXTS.map(str.encode), how=st.sampled_from(["raw", "base64", "body"]))  # fmt: skip
@example(data=b"\xff\xfe{", how="base64")
@example(data=b"{", how="body")
def test_any_bytes_are_answered_as_documented_and_never_kept(
    sender: Sender, data: bytes, how: str
) -> None:
    before = len(sender.events)
    if how == "body":
        answer = sender.post(data)
    else:
        text = quote(data, safe="") if how == "raw" else quote(b64encode(data), safe="")
        answer = sender.get(text)
    refused(answer, 422, "invalid")
    assert len(sender.events) == before


@IN_ONE_INSTALL
@given(
    name=st.sampled_from(list(OWN)),
    changes=st.dictionaries(NAMES, VALUES, max_size=3),
    impressions=st.none() | ENTRIES | VALUES,
)
def test_an_event_with_anything_in_it_is_kept_whole_or_refused_whole(
    sender: Sender, name: str, changes: dict[str, Any], impressions: Any
) -> None:
    before = len(sender.events)
    payload = event_of(name, **{"impressions": impressions, **changes})
    answer = sender.post(urlencode({"data": packed(payload)}))
    assert str(answer.status_int) in OPERATIONS["post"]["responses"]
    assert answer.status_int in (204, 422)
    assert len(sender.events) - before == (answer.status_int == 204)


# --- real senders --------------------------------------------------------------------------------


@pytest.fixture
def address(sender: Sender) -> Iterator[str]:
    """The address of the endpoint on a real server."""
    with running(sender.clicks, 0) as found:
        yield found + PATH


@pytest.fixture
def curl_address(address: str) -> str:
    """The same, where there is a curl to ask it."""
    if shutil.which("curl") is None:
        assert not os.environ.get("CI"), "CI must have curl"
        pytest.skip("no curl on this machine")
    return address


def curl(*arguments: str) -> tuple[int, str]:
    """Run curl; return the status and all of the answer."""
    command = ["curl", "-sS", "--max-time", "20", "-i", *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(ran.stdout.split()[1]), ran.stdout


@pytest.mark.parametrize("way", [["--get"], ["-X", "POST"]], ids=["get", "post"])
@pytest.mark.parametrize("data", [WITH_PLUS, WITHOUT_RESULTS, INDENTED], ids=["+", "/", "lines"])
def test_curl_as_documented_is_understood(
    sender: Sender, curl_address: str, way: list[str], data: str
) -> None:
    status, answer = curl(*way, "--data-urlencode", f"data={data}", curl_address)
    assert status == 204
    assert re.search("(?im)^content-(length|type):", answer) is None
    assert sender.event.source == "searchstax"


def test_curl_with_a_file_in_lines_is_understood(
    sender: Sender, curl_address: str, tmp_path: Path
) -> None:
    text = packed(event_of("_search", query="a long one " * 9))
    lines = "".join(text[at : at + 76] + "\n" for at in range(0, len(text), 76))
    (tmp_path / "event.txt").write_text(lines)
    status, _ = curl("--get", "--data-urlencode", f"data@{tmp_path / 'event.txt'}", curl_address)
    assert status == 204
    assert sender.event.query == ("a long one " * 9).strip()


def test_curl_with_an_address_that_nobody_escaped_is_understood(
    sender: Sender, curl_address: str
) -> None:
    assert curl("--globoff", f"{curl_address}?data={WITH_PLUS}")[0] == 204
    assert sender.event.query == "x~~~>>>"


def test_curl_is_told_what_is_wrong(sender: Sender, curl_address: str) -> None:
    status, answer = curl("--get", "--data-urlencode", f"data={WITHOUT_TITLE}", curl_address)
    assert (status, "missing in properties: cDocTitle" in answer) == (422, True)


CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
PEOPLE = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36"
SCRIPT = """<!doctype html><title>t</title><p id=out></p><script>
async function send(key) {
  const properties = {key, session: "s1", _vid: "v1", query: "~~~>>> caf\\u00e9"};
  const data = btoa(JSON.stringify({event: "_search", properties}));
  const answer = await fetch("ADDRESS?data=" + data, {method: "get"});
  return answer.status + " " + answer.ok;
}
(async () => {
  document.getElementById("out").textContent = await send("K1") + ", " + await send("K2");
})();
</script>"""


def test_a_page_on_another_host_sends_and_reads_in_a_real_browser(
    sender: Sender, address: str, tmp_path: Path
) -> None:
    if CHROMIUM is None:
        assert not os.environ.get("CI"), "CI must have Chromium: .ci/run installs it"
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")

    def page(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/html; charset=utf-8")])
        return [SCRIPT.replace("ADDRESS", address).encode()]

    with running(page, 0) as other:
        command = [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
            "--no-first-run", "--disable-background-networking", "--disable-component-update",
            "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}", f"--user-agent={PEOPLE}",
            "--virtual-time-budget=5000", "--dump-dom", other + "/",
        ]  # fmt: skip
        ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert '<p id="out">204 true, 422 false</p>' in ran.stdout
    assert (sender.event.query, sender.event.device) == ("~~~>>> café", "desktop")


# --- documented ----------------------------------------------------------------------------------


def test_the_example_of_the_description_is_accepted(sender: Sender) -> None:
    (parameter,) = OPERATIONS["get"]["parameters"]
    form = OPERATIONS["post"]["requestBody"]["content"]
    assert sender.get(parameter["schema"]["example"]).status_int == 204
    assert sender.post(json.dumps(form["application/json"]["example"])).status_int == 204
    first, second = sender.events
    assert second == first._replace(received_ms=second.received_ms)


def test_the_description_names_what_each_event_needs() -> None:
    schema = OPERATIONS["post"]["requestBody"]["content"]["application/json"]["schema"]
    said = schema["properties"]["properties"]["description"]
    assert sorted(schema["properties"]["event"]["enum"]) == sorted(OWN)
    for name, own in OWN.items():
        assert f"by {name} {', '.join(own)}" in said


DOCS = Path(__file__).resolve().parents[2] / "docs" / "compat" / "searchstax.md"


def table(first: str) -> dict[str, list[str]]:
    """Return a table of the page by its *first* head: names in a row's first cell → in the second."""
    (found,) = re.findall(rf"^\| {first} \|.*\n\|.*\n((?:\|.*\n)+)", DOCS.read_text(), re.M)
    rows = [line.split("|")[1:3] for line in found.splitlines()]
    return {head: re.findall("`([^`]+)`", needs) for head, needs in rows}


def test_the_page_says_what_each_event_needs() -> None:
    said = {head.strip(" `"): needs for head, needs in table("Event").items()}
    assert said == {name: list(own) for name, own in OWN.items()}


def test_the_page_has_every_code_of_a_refusal() -> None:
    refusal = OPERATIONS["get"]["responses"]["422"]["content"]["application/json"]["schema"]
    codes = refusal["properties"]["error"]["properties"]["code"]["enum"]
    said = re.findall(r"^\| `\d+` \| `(\w+)` \|", DOCS.read_text(), re.M)
    assert sorted(said) == sorted(codes)


def test_the_commands_of_the_page_work(sender: Sender, curl_address: str) -> None:
    (script,) = re.findall(r"^```sh\n(.*?)^```", DOCS.read_text(), re.M | re.S)
    script = script.replace("https://www.example.org/_clicks/api/v2/track/", curl_address)
    subprocess.run(["sh", "-euc", script], check=True, timeout=30, capture_output=True)
    assert [event.query for event in sender.events] == ["tax form"] * 2
