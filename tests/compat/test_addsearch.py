"""AddSearch's stats endpoint: what its clients send, what they are told, and what is kept of it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sqlite3
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from webtest import TestApp, TestRequest, TestResponse
from werkzeug.serving import WSGIRequestHandler, make_server

from clickmw import ClickMW
from clickmw.compat.addsearch import AddSearch
from clickmw.events import Click, Event, Search
from clickmw.journal import read_records, segment_paths

SITES = [
    {"handle": "docs", "hosts": ["docs.example"], "index_key": "testkey"},
    {"handle": "shop", "hosts": ["shop.example"], "index_key": "Shop-Key_2"},
    {"handle": "other", "hosts": ["other.example"]},
]
PATH = "/_clicks/v1/stats/testkey/"
SESSION = "a-99496145"
MD5 = "3b1d053e2fdf65f178dc5d1b5bd00f75"
SEARCH = {"action": "search", "session": SESSION, "keyword": "tax form", "numberOfResults": 4}
CLICK = {"action": "click", "session": SESSION, "keyword": "tax form", "docid": MD5, "position": 1}
ORIGIN = {"Origin": "https://shop.example"}
OPERATION = AddSearch.endpoints[0].operations["post"]


def events_in(folder: Path) -> list[Event]:
    """Return what waits or has waited in a journal that is still being written."""
    records = [
        record
        for path in segment_paths(folder)
        for record in read_records(path, 0, most=1_000_000, sealed=False)
    ]
    return [stored.event for record in records for stored in record.events]


class Sender:
    """Somebody who reports to an install, and what the install has kept of it."""

    def __init__(self, clicks: ClickMW, browser: TestApp) -> None:
        self.clicks = clicks
        self.browser = browser

    def send(self, body: Any, path: str = PATH, **headers: str) -> TestResponse:
        """Post *body*, JSON unless it is bytes; header names with _ for -."""
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        named.setdefault("Content-Type", "text/plain;charset=UTF-8")
        return self.browser.post(path, text, headers=named, expect_errors=True)

    @property
    def events(self) -> list[Event]:
        return events_in(self.clicks.settings.journal)

    @property
    def event(self) -> Any:
        (event,) = self.events
        return event

    def ledger(self) -> dict[str, Any]:
        self.clicks.door.worker.catch_up(5.0)
        return self.clicks.door.routes.read_health()

    def rejected(self) -> dict[str, int]:
        return {name: count for name, count in self.ledger()["rejected"].items() if count}


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
    """Check the shape of a refusal; return its message."""
    assert (answer.status_int, answer.content_type) == (status, "application/json")
    error = answer.json["error"]
    assert list(answer.json) == ["error"]
    assert list(error) == ["code", "message"]
    assert error["code"] == code
    return str(error["message"])


# --- what clients send ---------------------------------------------------------------------------


def test_a_search_of_the_real_client_is_kept_with_all_its_fields(sender: Sender) -> None:
    body = (
        '{"action":"search","session":"a-99496145","keyword":"hello wörld",'
        '"numberOfResults":4,"tag":"Nav"}'
    ).encode()
    assert sender.send(body, Content_Type="text/plain").status_int == 200
    search = sender.event
    assert isinstance(search, Search)
    kept = (search.site, search.query, search.total_hits, search.tag, search.session)
    assert kept == ("docs", "hello wörld", 4, "Nav", "a-99496145")
    assert (search.source, search.trust, search.kind) == ("addsearch", "keyed", "search")
    assert (search.impressions, search.robot, search.drop_reason) == ((), "", "")
    assert len(search.visitor) == 16


def test_a_click_of_the_real_client_is_kept_with_all_its_fields(sender: Sender) -> None:
    body = (
        '{"action":"click","session":"a-99496145","keyword":"hello wörld",'
        '"docid":"3b1d053e2fdf65f178dc5d1b5bd00f75","position":1,"tag":"Nav"}'
    ).encode()
    assert sender.send(body, Content_Type="text/plain").status_int == 200
    click = sender.event
    assert isinstance(click, Click)
    kept = (click.site, click.query, click.doc_id, click.position, click.tag, click.session)
    assert kept == ("docs", "hello wörld", MD5, 1, "Nav", "a-99496145")
    assert (click.source, click.trust, click.kind) == ("addsearch", "keyed", "result")
    assert (click.url, click.module_code, click.query_id, click.position_raw) == ("", "", "", "")
    assert len(click.visitor) == len(click.dedupe_key) == 16


def test_the_star_that_the_client_sends_for_no_keyword_is_kept(sender: Sender) -> None:
    body = (
        b'{"action":"click","session":"a-1","keyword":"*","docid":"abc","position":2,"tag":"Nav"}'
    )
    assert sender.send(body).status_int == 200
    assert (sender.event.query, sender.event.doc_id) == ("*", "abc")


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "text/plain;charset=UTF-8",
        "application/json",
        "application/x-www-form-urlencoded",
        "",
    ],
    ids=["text", "beacon", "json", "form", "none"],
)
@pytest.mark.parametrize("slash", ["/", ""], ids=["slash", "no-slash"])
def test_a_json_body_is_read_whatever_its_type_is_called(
    sender: Sender, content_type: str, slash: str
) -> None:
    body = (
        b'{\n"action": "search",\n"session": "session_name",\n"keyword": "test query",\n'
        b'"numberOfResults": 4,\n"tag": "optional_tag"\n}'
    )
    answer = sender.send(body, f"/_clicks/v1/stats/testkey{slash}", Content_Type=content_type)
    assert (answer.status_int, answer.json) == (200, {})
    assert (sender.event.query, sender.event.session) == ("test query", "session_name")


def test_the_endpoint_stands_at_the_root_too(install: Callable[..., Sender]) -> None:
    sender = install(native_paths=True)
    assert sender.send(CLICK, "/v1/stats/testkey/").status_int == 200
    assert sender.event.doc_id == MD5


def test_a_click_before_its_search_is_kept_in_the_order_received(sender: Sender) -> None:
    sender.send(CLICK)
    sender.send(SEARCH)
    assert [type(event) for event in sender.events] == [Click, Search]


def test_position_0_of_a_result_that_is_not_on_the_page_is_kept_as_0(sender: Sender) -> None:
    assert sender.send(CLICK | {"position": 0}).status_int == 200
    assert (sender.event.position, sender.event.position_raw) == (0, "")


def test_no_results_is_a_search_without_results(sender: Sender) -> None:
    assert sender.send(SEARCH | {"numberOfResults": 0}).status_int == 200
    assert sender.event.total_hits == 0


@pytest.mark.parametrize("field", ["session", "tag", "position"])
@pytest.mark.parametrize("absent", ["left out", "null"])
def test_what_the_client_may_not_know_may_be_absent(
    sender: Sender, field: str, absent: str
) -> None:
    click = CLICK | {"tag": "Nav"}
    body = {name: value for name, value in click.items() if name != field or absent == "null"}
    assert sender.send(body | ({field: None} if absent == "null" else {})).status_int == 200
    assert getattr(sender.event, field) == (None if field == "position" else "")


def test_a_search_that_does_not_say_how_much_was_found_has_no_number_of_hits(
    sender: Sender,
) -> None:
    sender.send({"action": "search", "keyword": "tax form"})
    assert sender.event.total_hits is None


@pytest.mark.parametrize(
    "session",
    ["a-1234.567", "0123456789abcdef0123456789abcdef", "Séance 1"],
    ids=["random-number-with-a-dot", "32-hex-digits", "a-caller's-own"],
)
def test_every_form_of_session_is_kept(sender: Sender, session: str) -> None:
    assert sender.send(CLICK | {"session": session}).status_int == 200
    assert sender.event.session == session


def test_fields_of_no_meaning_here_are_left_aside(sender: Sender) -> None:
    assert sender.send(SEARCH | {"docid": 17, "position": "x", "future": [1]}).status_int == 200
    assert sender.event.query == "tax form"


def test_the_query_is_kept_in_its_normal_form_and_masked(sender: Sender) -> None:
    sender.send(SEARCH | {"keyword": "  Mail   Jo@Example.org "})
    assert sender.event.query == "mail REDACTED_EMAIL"


def test_control_characters_are_not_kept(sender: Sender) -> None:
    sender.send(CLICK | {"docid": "a\x00b", "tag": "x\ny", "session": "s\x1b1"})
    assert (sender.event.doc_id, sender.event.tag, sender.event.session) == ("a b", "x y", "s 1")


@pytest.mark.parametrize("name", ["search", "click"])
def test_the_documented_examples_are_taken(sender: Sender, name: str) -> None:
    examples = OPERATION["requestBody"]["content"]["application/json"]["examples"]
    assert sender.send(examples[name]["value"]).status_int == 200
    assert len(sender.events) == 1


# --- whose key it is -----------------------------------------------------------------------------


def test_the_key_decides_the_site_and_not_the_host(sender: Sender) -> None:
    sender.send(CLICK, "/_clicks/v1/stats/Shop-Key_2/", Host="docs.example")
    assert sender.event.site == "shop"


@pytest.mark.parametrize(
    "key",
    ["testke", "testkeyy", "TESTKEY", "docs", "%20testkey", "testkey%00", "None", "%C3%A9"],
)
def test_any_other_key_is_unknown(sender: Sender, key: str) -> None:
    answer = sender.send(CLICK, f"/_clicks/v1/stats/{key}")
    assert refused(answer, 404, "unknown_key") == "no site here has this index public key"
    assert (sender.events, sender.rejected()) == ([], {"addsearch_key": 1})


def test_a_key_may_have_any_characters(install: Callable[..., Sender]) -> None:
    sender = install(sites=[{"handle": "docs", "index_key": "clé 100%"}])
    sender.send(CLICK, "/_clicks/v1/stats/" + quote("clé 100%"))
    assert sender.event.site == "docs"


def test_a_site_without_an_index_key_cannot_be_reached(install: Callable[..., Sender]) -> None:
    sender = install(sites=[])
    assert sender.send(CLICK, "/_clicks/v1/stats/default").status_int == 404


# --- what is refused -----------------------------------------------------------------------------

NOT_A_NUMBER = "must be a whole number from 0 to"
WRONG = {
    "unknown-action": (SEARCH | {"action": "view"}, 'action must be "search" or "click"'),
    "action-of-other-case": (SEARCH | {"action": "Search"}, "action must be"),
    "action-of-wrong-type": (SEARCH | {"action": ["search"]}, "action must be"),
    "no-action": ({"keyword": "tax"}, "action must be"),
    "no-keyword": ({"action": "search"}, "keyword is missing"),
    "keyword-null": (SEARCH | {"keyword": None}, "keyword is missing"),
    "keyword-number": (SEARCH | {"keyword": 7}, "keyword must be a string"),
    "session-number": (SEARCH | {"session": 7}, "session must be a string"),
    "session-33": (SEARCH | {"session": "x" * 33}, "session must not be longer than 32 characters"),
    "tag-list": (SEARCH | {"tag": ["Nav"]}, "tag must be a string"),
    "tag-51": (SEARCH | {"tag": "x" * 51}, "tag must not be longer than 50 characters"),
    "results-text": (SEARCH | {"numberOfResults": "4"}, f"numberOfResults {NOT_A_NUMBER}"),
    "results-true": (SEARCH | {"numberOfResults": True}, f"numberOfResults {NOT_A_NUMBER}"),
    "results-half": (SEARCH | {"numberOfResults": 1.5}, f"numberOfResults {NOT_A_NUMBER}"),
    "results-negative": (SEARCH | {"numberOfResults": -1}, f"numberOfResults {NOT_A_NUMBER}"),
    "results-enormous": (
        SEARCH | {"numberOfResults": 2**53 + 1},
        f"numberOfResults {NOT_A_NUMBER}",
    ),
    "no-docid": ({"action": "click", "keyword": "tax"}, "docid is missing"),
    "docid-empty": (CLICK | {"docid": ""}, "docid must not be empty"),
    "docid-blank": (CLICK | {"docid": " \x00"}, "docid must not be empty"),
    "docid-33": (CLICK | {"docid": MD5 + "0"}, "docid must not be longer than 32 characters"),
    "docid-number": (CLICK | {"docid": 7}, "docid must be a string"),
    "position-text": (CLICK | {"position": "1"}, f"position {NOT_A_NUMBER}"),
    "position-negative": (CLICK | {"position": -1}, f"position {NOT_A_NUMBER}"),
    "position-enormous": (CLICK | {"position": 100_001}, f"position {NOT_A_NUMBER}"),
    "list": ([SEARCH], "the body must be one JSON object"),
    "text": ("search", "the body must be one JSON object"),
    "null": (None, "the body must be one JSON object"),
}


@pytest.mark.parametrize(("body", "message"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_event_is_refused_with_what_is_wrong(
    sender: Sender, body: Any, message: str
) -> None:
    assert refused(sender.send(body), 400, "invalid").startswith(message)
    assert (sender.events, sender.rejected()) == ([], {"addsearch_invalid": 1})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"action=search&keyword=tax",
        b'{"action":"search"',
        b'{"action":"search","keyword":"\xff"}',
        b'{"action":"search","keyword":"\\ud800"}',
        b'{"action":"search","keyword":"tax","keyword":"form"}',
        b'{"action":"search","keyword":"tax","numberOfResults":NaN}',
        b'{"action":"search","keyword":"tax","numberOfResults":1e999}',
        b'{"action":"search","keyword":"tax","numberOfResults":' + b"9" * 5000 + b"}",
        b"[" * 60_000,
    ],
    ids=[
        "empty",
        "form",
        "cut-short",
        "invalid-utf-8",
        "surrogate",
        "twice",
        "nan",
        "infinite",
        "digits",
        "brackets",
    ],
)
def test_what_is_not_json_is_refused(sender: Sender, body: bytes) -> None:
    refused(sender.send(body), 400, "invalid")
    assert sender.events == []


@pytest.mark.parametrize(
    "longest",
    [
        SEARCH | {"session": "x" * 32},
        SEARCH | {"tag": "é" * 50},
        SEARCH | {"numberOfResults": 2**53},
        CLICK | {"docid": "x" * 32},
        CLICK | {"position": 100_000},
    ],
    ids=["session", "tag", "numberOfResults", "docid", "position"],
)
def test_the_limits_themselves_are_within(sender: Sender, longest: dict[str, Any]) -> None:
    assert sender.send(longest).status_int == 200
    assert len(sender.events) == 1


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Content-Length": "65537"}, 413, "too_long"),
        ({"Content-Length": "10000000000000"}, 413, "too_long"),
        ({"Content-Encoding": "gzip"}, 415, "compressed"),
    ],
    ids=["a-byte-too-long", "enormous", "compressed"],
)
def test_a_body_that_is_not_read_is_refused_in_the_same_shape(
    sender: Sender, headers: dict[str, str], status: int, code: str
) -> None:
    refused(sender.send(b"{}", **headers, **ORIGIN), status, code)
    assert sender.rejected() == {"addsearch_invalid": 1}


def test_chunks_that_the_server_does_not_end_need_a_length(sender: Sender) -> None:
    chunked = TestRequest.blank(PATH, method="POST", headers={"Transfer-Encoding": "chunked"})
    refused(chunked.get_response(sender.clicks), 411, "length_required")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_other_methods_are_told_which_ones_there_are(sender: Sender, method: str) -> None:
    answer = sender.browser.request(PATH, method=method, headers=ORIGIN, expect_errors=True)
    refused(answer, 405, "method_not_allowed")
    assert answer.headers["Allow"] == "POST, OPTIONS"
    assert sender.rejected() == {"addsearch_method": 1}


def test_head_is_refused_without_a_word(sender: Sender) -> None:
    answer = sender.browser.head(PATH, expect_errors=True)
    assert (answer.status_int, answer.body) == (405, b"")


@pytest.mark.usefixtures("still_limits")
def test_too_many_events_are_told_to_wait(install: Callable[..., Sender]) -> None:
    sender = install(redirect_rate=1)
    for _ in range(1000):
        answer = sender.send(CLICK, **ORIGIN)
        if answer.status_int != 200:
            break
    refused(answer, 429, "too_many_requests")
    assert answer.headers["Retry-After"] == "1"
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN["Origin"]
    assert len(sender.events) >= 100
    assert sender.rejected() == {"rate": 1}


def test_what_cannot_be_kept_is_not_called_kept(
    install: Callable[..., Sender], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    sender = install(journal=str(tmp_path / "file"))
    answer = sender.send(CLICK, **ORIGIN)
    refused(answer, 503, "unavailable")
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN["Origin"]


def test_every_refusal_is_documented(sender: Sender) -> None:
    answers = [
        sender.send(b"{"),
        sender.send(CLICK, "/_clicks/v1/stats/nobody"),
        sender.send(b"{}", Content_Encoding="gzip"),
    ]
    for answer in answers:
        content = OPERATION["responses"][str(answer.status_int)]["content"]
        error = content[answer.content_type]["schema"]["properties"]["error"]
        assert answer.json["error"]["code"] in error["properties"]["code"]["enum"]


# --- pages of other origins ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [(PATH, CLICK, 200), (PATH, b"{", 400), ("/_clicks/v1/stats/nobody/", CLICK, 404)],
    ids=["taken", "invalid", "unknown-key"],
)
def test_a_page_of_any_origin_may_read_the_answer(
    sender: Sender, path: str, body: Any, status: int
) -> None:
    answer = sender.send(body, path, **ORIGIN)
    assert answer.status_int == status
    assert answer.headers["Access-Control-Allow-Origin"] == "https://shop.example"
    assert answer.headers["Access-Control-Allow-Credentials"] == "true"
    assert answer.headers["Vary"] == "Origin"
    assert answer.headers["Cache-Control"] == "no-store"


def test_without_an_origin_nobody_is_allowed_anything(sender: Sender) -> None:
    answer = sender.send(CLICK)
    assert [name for name in answer.headers if name.startswith("Access-Control")] == []
    assert answer.headers["Vary"] == "Origin"


def test_the_origin_null_of_a_sandboxed_page_is_echoed(sender: Sender) -> None:
    answer = sender.send(CLICK, Origin="null")
    assert answer.headers["Access-Control-Allow-Origin"] == "null"


def test_an_origin_that_is_no_plain_text_is_not_echoed(sender: Sender) -> None:
    answer = sender.send(CLICK, Origin="https://shop.example\x1b")
    assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize("key", ["testkey", "nobody"])
def test_a_preflight_is_answered_and_nothing_recorded(sender: Sender, key: str) -> None:
    asked = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    answer = sender.browser.options(f"/_clicks/v1/stats/{key}/", headers=ORIGIN | asked)
    assert (answer.status_int, answer.body) == (204, b"")
    assert answer.headers["Access-Control-Allow-Origin"] == "https://shop.example"
    assert answer.headers["Access-Control-Allow-Credentials"] == "true"
    assert answer.headers["Access-Control-Allow-Methods"] == "POST, OPTIONS"
    assert answer.headers["Access-Control-Allow-Headers"] == "Content-Type"
    assert (sender.events, sender.rejected()) == ([], {})


# --- who is counted ------------------------------------------------------------------------------


def test_a_visitor_who_opted_out_hears_success_and_leaves_nothing(sender: Sender) -> None:
    assert sender.send(CLICK, Sec_GPC="1").status_int == 200
    assert sender.events == []
    assert sender.ledger()["opted_out"] == 1


def test_a_visitor_kept_without_a_name_has_no_session(install: Callable[..., Sender]) -> None:
    sender = install(optout="anonymous")
    sender.send(CLICK, DNT="1")
    click = sender.event
    assert (click.doc_id, click.session, click.visitor, click.dedupe_key) == (MD5, "", "", "")


@pytest.mark.parametrize("agent", ["axios/1.7.9", "curl/8.5.0", "python-requests/2.32", ""])
def test_libraries_are_no_robots(sender: Sender, agent: str) -> None:
    sender.send(CLICK, User_Agent=agent)
    assert (sender.event.robot, sender.event.drop_reason) == ("", "")


def test_a_declared_crawler_is_a_robot(sender: Sender) -> None:
    sender.send(CLICK, User_Agent="Mozilla/5.0 (compatible; Googlebot/2.1)")
    assert sender.event.drop_reason == "robot"


@pytest.mark.parametrize(
    ("change", "repeats"),
    [
        ({}, True),
        ({"position": 2}, True),
        ({"keyword": "TAX  form"}, True),
        ({"session": "a-2"}, False),
        ({"keyword": "other"}, False),
        ({"docid": "other"}, False),
    ],
    ids=["same", "position", "spelling", "session", "keyword", "docid"],
)
def test_a_click_repeats_another_of_the_same_session_keyword_and_document(
    sender: Sender, change: dict[str, Any], repeats: bool
) -> None:
    sender.send(CLICK)
    sender.send(CLICK | change)
    first, second = sender.events
    assert isinstance(first, Click)
    assert isinstance(second, Click)
    assert (first.dedupe_key == second.dedupe_key) == repeats


def test_a_click_without_a_session_repeats_nothing(sender: Sender) -> None:
    sender.send(CLICK | {"session": ""})
    assert (sender.event.dedupe_key, sender.event.visitor) == ("", "")


# --- any input at all ----------------------------------------------------------------------------

DOCUMENTED = {int(status) for status in OPERATION["responses"]}
anything: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just([])
)
payloads = st.fixed_dictionaries(
    {"action": st.sampled_from(["search", "click"]), "keyword": st.text() | anything},
    optional={
        "session": st.text(max_size=40) | anything,
        "docid": st.text(max_size=40) | anything,
        "position": st.integers(-2, 100_002) | anything,
        "numberOfResults": st.integers(-2, 2**54) | anything,
        "tag": st.text(max_size=60) | anything,
    },
)
any_input = hypothesis_settings(
    deadline=None,
    max_examples=200,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@any_input
@given(st.binary(max_size=300) | payloads.map(lambda each: json.dumps(each).encode()))
def test_any_body_is_kept_once_or_refused_and_not_kept(sender: Sender, body: bytes) -> None:
    before = len(sender.events)
    answer = sender.send(body)
    assert answer.status_int in (200, 400)
    assert len(sender.events) - before == (answer.status_int == 200)


@any_input
@given(st.text(min_size=1), st.binary(max_size=50))
def test_any_key_gets_a_documented_answer(sender: Sender, key: str, body: bytes) -> None:
    answer = sender.send(body, "/_clicks/v1/stats/" + quote(key, safe="", errors="replace"))
    assert answer.status_int in DOCUMENTED
    assert answer.status_int < 500


# --- what the store shows of it ------------------------------------------------------------------


def test_a_click_and_its_search_are_in_the_views(sender: Sender) -> None:
    sender.send(SEARCH | {"tag": "Nav"})
    sender.send(CLICK)
    sender.clicks.door.worker.catch_up(10)
    with closing(sqlite3.connect(str(sender.clicks.settings.database))) as database:
        clicks = database.execute(
            "SELECT site, query, url, doc_id, position, source, trust, session, counted FROM clicks"
        ).fetchall()
        searches = database.execute(
            "SELECT site, query, total_hits, tag, source, session, counted FROM searches"
        ).fetchall()
    assert searches == [("docs", "tax form", 4, "Nav", "addsearch", SESSION, 1)]
    assert clicks == [("docs", "tax form", "", MD5, 1, "addsearch", "keyed", SESSION, 1)]


# --- AddSearch's own client ----------------------------------------------------------------------

SCRIPTS = Path(__file__).resolve().parent.parent / "conformance"
CALLS: list[list[Any]] = [
    ["setStatsSessionId", SESSION],
    ["setAnalyticsTag", "Nav"],
    ["sendStatsEvent", "search", "hello wörld", {"numberOfResults": 0}],
    ["sendStatsEvent", "click", "hello wörld", {"documentId": MD5, "position": 0}],
    ["searchResultClicked", "abc", 2],
]


def row(event: Event) -> tuple[Any, ...]:
    """Return all that the client said of *event*."""
    shared = (event.site, event.source, event.trust, getattr(event, "session", None))
    if isinstance(event, Search):
        return ("search", event.query, event.total_hits, event.tag, *shared)
    assert isinstance(event, Click)
    assert (event.url, event.kind, event.robot, event.drop_reason) == ("", "result", "", "")
    return ("click", event.query, event.doc_id, event.position, event.tag, *shared)


SHARED = ("docs", "addsearch", "keyed", SESSION)
ROWS = [
    ("click", "*", "abc", 2, "Nav", *SHARED),
    ("click", "hello wörld", MD5, 0, "Nav", *SHARED),
    ("search", "hello wörld", 0, "Nav", *SHARED),
]


def missing(tool: str) -> None:
    """Skip a test without *tool*; in CI fail."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{tool} is missing; install it where CI runs")
    pytest.skip(f"{tool} is missing")


@pytest.fixture
def node(node_clients: Path) -> Callable[..., None]:
    """Run a script of this folder's neighbour with Node, to its end."""

    def run(script: str, *arguments: str, **environ: str) -> None:
        if shutil.which("node") is None:
            missing("node")
        ran = subprocess.run(
            ["node", str(SCRIPTS / script), *arguments],
            cwd=node_clients,
            env=os.environ | environ,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (ran.returncode, ran.stderr) == (0, "")

    return run


def arrived(folder: Path, count: int) -> list[tuple[Any, ...]]:
    """Return the rows of *count* events, sorted; the client does not wait for an answer to go on."""
    until = time.monotonic() + 30
    while len(events_in(folder)) < count and time.monotonic() < until:
        time.sleep(0.02)
    return sorted(map(row, events_in(folder)))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_open(port: int, server: subprocess.Popen[Any]) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until and server.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    pytest.fail("the server does not answer")


CONFIG = """
secret = "thirty-two characters or more are fine"
store = "sqlite:///clicks.db"
native_paths = true
redirect_rate = 0

[[sites]]
handle = "docs"
hosts = ["docs.example"]
index_key = "testkey"
"""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """``clickmw serve`` in a process of its own: host with port, and its journal."""
    (tmp_path / "clickmw.toml").write_text(CONFIG)
    port = free_port()
    command = [sys.executable, "-m", "clickmw", "--config", "clickmw.toml", "serve"]
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(
            [*command, "--port", str(port)], cwd=tmp_path, stdout=log, stderr=log
        )
    try:
        wait_until_open(port, server)
        yield f"127.0.0.1:{port}", tmp_path / "clicks.db.journal"
    finally:
        server.kill()
        server.wait()


@pytest.mark.parametrize("prefix", ["", "/_clicks"], ids=["at-the-root", "below-the-prefix"])
def test_the_real_client_reports_to_clickmw_serve(
    served: tuple[str, Path], node: Callable[..., None], prefix: str
) -> None:
    host, journal = served
    node("addsearch_node.cjs", "http", host + prefix, json.dumps(CALLS))
    assert arrived(journal, len(ROWS)) == ROWS


def test_the_session_that_the_real_client_makes_up_is_kept(
    served: tuple[str, Path], node: Callable[..., None]
) -> None:
    host, journal = served
    node("addsearch_node.cjs", "http", host, json.dumps([["searchResultClicked", "abc", 1]]))
    arrived(journal, 1)
    (click,) = events_in(journal)
    assert isinstance(click, Click)
    assert click.session.startswith("a-")
    assert click.tag == ""


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of localhost that signs itself, with its key, as one file."""
    if shutil.which("openssl") is None:
        missing("openssl")
    folder = tmp_path_factory.mktemp("certificate")
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
        "-subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout key.pem -out cert.pem"
    )
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    return folder / "cert.pem"


class Quiet(WSGIRequestHandler):
    """Says nothing of its requests."""

    def log_request(self, *_args: object) -> None: ...


@contextmanager
def running_tls(application: Any, certificate: Path) -> Iterator[str]:
    """Serve *application* by https; yield its host with the port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))
    server = make_server(
        "127.0.0.1",
        0,
        application,
        threaded=True,
        request_handler=Quiet,
        ssl_context=context,
    )
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"localhost:{server.server_port}"
    finally:
        server.shutdown()
        thread.join(5)
        server.server_close()


@pytest.fixture
def secure(sender: Sender, certificate: Path) -> Iterator[tuple[str, Path]]:
    """An install behind https: host with port, and its journal."""
    with running_tls(sender.clicks, certificate) as host:
        yield host + "/_clicks", sender.clicks.settings.journal


def test_the_real_client_reports_by_https(
    secure: tuple[str, Path], node: Callable[..., None], certificate: Path
) -> None:
    host, journal = secure
    calls = json.dumps(CALLS)
    node("addsearch_node.cjs", "https", host, calls, NODE_EXTRA_CA_CERTS=str(certificate))
    assert arrived(journal, len(ROWS)) == ROWS


@pytest.mark.parametrize("how", ["beacon", "xhr"])
def test_the_real_bundle_reports_from_a_page_of_another_origin(
    secure: tuple[str, Path], node: Callable[..., None], certificate: Path, how: str
) -> None:
    host, journal = secure
    calls = json.dumps(CALLS)
    node("addsearch_browser.cjs", how, host, calls, NODE_EXTRA_CA_CERTS=str(certificate))
    assert arrived(journal, len(ROWS)) == ROWS


def test_a_page_of_another_origin_may_post_application_json_with_cookies(
    secure: tuple[str, Path], node: Callable[..., None], certificate: Path
) -> None:
    host, journal = secure
    body = json.dumps([SEARCH])
    node("addsearch_browser.cjs", "json", host, body, NODE_EXTRA_CA_CERTS=str(certificate))
    assert arrived(journal, 1) == [("search", "tax form", 4, "", *SHARED)]
