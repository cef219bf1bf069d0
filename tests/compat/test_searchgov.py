"""Search.gov's Clicks API: what its senders post, what they are told, and what is kept of it."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from webtest import TestApp, TestResponse

from clickmw import ClickMW
from clickmw.compat.searchgov import SearchGov
from clickmw.demo import running
from clickmw.events import Click, new_query_id
from clickmw.journal import read_records, segment_paths
from clickmw.module_codes import MODULE_CODES
from clickmw.recorder import now_ms
from clickmw.targets import without_user
from clickmw.tokens import LinkTarget

SITES = [
    {
        "handle": "nps.gov",
        "hosts": ["www.nps.gov"],
        "access_key": "basic_key",
        "modules": {"XYZ": "My block"},
    },
    {"handle": "usa.gov", "hosts": ["www.usa.gov"], "access_key": "other_key"},
    {"handle": "keyless.gov", "hosts": ["keyless.gov"]},
]
GATEWAY = "/_clicks/technology/searchgov/v2/clicks/"
API = "/_clicks/api/v2/click"
PAGE = "/_clicks/clicked"
FORM = "application/x-www-form-urlencoded"
JSON = "application/json"
VALID = {
    "url": "https://search.gov",
    "query": "test_query",
    "position": "1",
    "affiliate": "nps.gov",
    "vertical": "test_vertical",
    "module_code": "BWEB",
    "access_key": "basic_key",
}
KEYLESS = {name: VALID[name] for name in ("url", "query", "position", "module_code")}
ORIGIN = {"Origin": "http://cors.example.com"}
ASKING = ORIGIN | {
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "Content-Type",
}
SECURITY = {
    "X-Frame-Options": "SAMEORIGIN",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "strict-origin-when-cross-origin",
}
CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "POST, HEAD, OPTIONS",
    "Access-Control-Expose-Headers": "",
    "Access-Control-Max-Age": "7200",
}
NO_KEY_SENT = [
    "Access key can't be blank",
    "Affiliate can't be blank",
    "Module code can't be blank",
    "Position can't be blank",
    "Query can't be blank",
    "Url can't be blank",
]


def clicks_in(folder: Path) -> list[Click]:
    """Return the clicks of a journal that is still being written."""
    records = [
        record
        for path in segment_paths(folder)
        for record in read_records(path, 0, most=1_000_000, sealed=False)
    ]
    events = [stored.event for record in records for stored in record.events]
    return [event for event in events if isinstance(event, Click)]


class Install:
    """An install, somebody who reports clicks to it, and what it has kept of them."""

    def __init__(self, clicks: ClickMW, browser: TestApp) -> None:
        self.clicks = clicks
        self.browser = browser
        browser.extra_environ["HTTP_HOST"] = "www.nps.gov"

    def post(
        self,
        fields: Any = VALID,
        path: str = API,
        *,
        kind: str = FORM,
        environ: dict[str, str] | None = None,
        **headers: str,
    ) -> TestResponse:
        """Post *fields*: bytes as they are, else as a form; header names with _ for -."""
        body = fields if isinstance(fields, bytes) else urlencode(fields).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        named["Content-Type"] = kind
        return self.browser.post(
            path, body, headers=named, extra_environ=environ, expect_errors=True
        )

    def post_query(self, fields: Any, path: str = GATEWAY) -> TestResponse:
        """Post *fields* as a query string, with an empty body."""
        return self.post(b"", f"{path}?{urlencode(fields)}")

    @property
    def events(self) -> list[Click]:
        return clicks_in(self.clicks.settings.journal)

    @property
    def event(self) -> Click:
        (event,) = self.events
        return event

    def ledger(self, name: str) -> Any:
        self.clicks.door.worker.catch_up()
        found = self.clicks.door.routes.read_health()[name]
        return {each: n for each, n in found.items() if n} if isinstance(found, dict) else found


@pytest.fixture
def install(
    clicks_at: Callable[..., ClickMW], browser_of: Callable[..., TestApp]
) -> Callable[..., Install]:
    def make(**settings: Any) -> Install:
        clicks = clicks_at(**{"sites": SITES, **settings})
        return Install(clicks, browser_of(clicks))

    return make


@pytest.fixture
def site(install: Callable[..., Install]) -> Install:
    return install()


def refusal(answer: TestResponse) -> tuple[int, list[str]]:
    """Return status and sentences of a refusal, and check its shape."""
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert (
        answer.body == json.dumps(answer.json, ensure_ascii=False, separators=(",", ":")).encode()
    )
    return answer.status_int, answer.json


# --- an accepted click ---------------------------------------------------------------------------

S1 = (
    b"url=https%3A%2F%2Fsearch.gov&query=test_query&position=1&affiliate=nps.gov"
    b"&vertical=test_vertical&module_code=BWEB&access_key=basic_key"
)


def test_a_click_is_answered_with_200_and_no_body(site: Install) -> None:
    answer = site.post(S1)
    assert (answer.status, answer.body) == ("200 OK", b"")
    assert dict(answer.headers) == {
        "Content-Type": "application/json",
        "Content-Length": "0",
        "Cache-Control": "no-cache",
        "Vary": "Origin",
        **SECURITY,
    }


def test_a_click_is_kept_with_all_that_was_said(site: Install) -> None:
    before = now_ms()
    site.post(S1, Referer="https://www.google.com/search?q=secret")
    click = site.event
    assert before <= click.received_ms <= now_ms()
    kept = (click.site, click.url, click.query, click.position, click.module_code, click.tag)
    assert kept == ("nps.gov", "https://search.gov", "test_query", 1, "BWEB", "test_vertical")
    assert (click.source, click.trust, click.kind) == ("searchgov", "keyed", "result")
    assert (click.device, click.referrer_host) == ("other", "www.google.com")
    assert (click.robot, click.drop_reason, click.query_id, click.position_raw) == ("", "", "", "")


def test_nobody_is_told_apart_and_no_click_is_a_repeat(site: Install) -> None:
    site.post(S1)
    site.post(S1)
    kept = [(click.visitor, click.session, click.dedupe_key) for click in site.events]
    assert kept == [("", "", ""), ("", "", "")]


def test_a_click_is_a_row_of_the_public_view(site: Install) -> None:
    site.post(S1)
    site.clicks.door.worker.catch_up()
    sql = "SELECT site, query, url, position, module_code, source, trust, counted FROM clicks"
    with closing(sqlite3.connect(str(site.clicks.settings.database))) as database:
        rows = database.execute(sql).fetchall()
    assert rows == [
        ("nps.gov", "test_query", "https://search.gov", 1, "BWEB", "searchgov", "keyed", 1)
    ]


def test_a_recorded_request_of_a_server_is_accepted(site: Install) -> None:
    """Everything in the query string, an empty body, and parameters that are not read."""
    fields = "affiliate=nps.gov&access_key=basic_key&module_code=I14Y&url=https%3A%2F%2Fwww.va.gov"
    answer = site.post(
        b"",
        f"{GATEWAY}?{fields}&query=testQuery&position=0&client_ip=testIP&user_agent=test&referrer=x",
    )
    assert (answer.status_int, answer.body) == (200, b"")
    assert (site.event.query, site.event.position, site.event.referrer_host) == ("testquery", 0, "")


PATHS = [
    "/_clicks/technology/searchgov/v2/clicks",
    "/_clicks/technology/searchgov/v2/clicks/",
    "/_clicks/Technology/SearchGov/V2/Clicks/",
    "/_clicks/api/v2/click",
    "/_clicks/api/v2/click/",
    "/_clicks/API/v2/CLICK",
    "/_clicks/api/v2/click.json",
    "/_clicks/clicked",
    "/_clicks/clicked/",
    "/_clicks/Clicked",
    "/_clicks/clicked.json",
    "/api/v2/click",
    "/CLICKED/",
]


@pytest.mark.parametrize("path", PATHS)
def test_every_spelling_of_the_three_paths_takes_clicks(
    path: str, install: Callable[..., Install]
) -> None:
    site = install(native_paths=True)
    assert site.post(S1, path).status_int == 200
    assert site.event.site == "nps.gov"


@pytest.mark.parametrize("path", ["/_clicks/api/v2/clicks", "/_clicks/technology/searchgov/clicks"])
def test_other_paths_are_nobodys(path: str, site: Install) -> None:
    assert site.post(S1, path).status_int == 404
    assert site.events == []


@pytest.mark.parametrize("code", [*MODULE_CODES, "XYZ"])
def test_the_known_modules_and_the_sites_own_are_accepted(code: str, site: Install) -> None:
    assert site.post(VALID | {"module_code": code}).status_int == 200
    assert site.event.module_code == code


def test_modules_of_one_site_are_not_those_of_another(site: Install) -> None:
    other = VALID | {"affiliate": "usa.gov", "access_key": "other_key", "module_code": "XYZ"}
    assert refusal(site.post(other)) == (400, ["Module code XYZ is not a valid module"])


# --- where parameters sit ------------------------------------------------------------------------

AS_JSON = json.dumps(VALID | {"position": 1}).encode()


@pytest.mark.parametrize(
    ("body", "query", "kind"),
    [
        (S1, b"", FORM),
        (S1, b"", "application/x-www-form-urlencoded; charset=UTF-8"),
        (S1, b"", ""),
        (S1, b"", "text/plain;charset=UTF-8"),
        (b"", S1, FORM),
        (b"", S1, JSON),
        (AS_JSON, b"", JSON),
        (AS_JSON, b"", "application/json; charset=utf-8"),
        (b"\xef\xbb\xbf" + AS_JSON, b"", JSON),
        (AS_JSON, b"", "text/plain;charset=UTF-8"),
        (b"  " + AS_JSON, b"", FORM),
        (S1[:60], S1[50:], FORM),
    ],
    ids=[
        "form",
        "form with charset",
        "form without a type",
        "form as text",
        "query string",
        "query string with an empty JSON body",
        "JSON",
        "JSON with charset",
        "JSON with a byte order mark",
        "JSON as text",
        "JSON said to be a form",
        "half and half",
    ],
)
def test_a_click_says_the_same_wherever_its_parameters_sit(
    body: bytes, query: bytes, kind: str, site: Install
) -> None:
    site.post(S1)
    assert site.post(body, f"{API}?{query.decode()}", kind=kind).status_int == 200
    first, second = site.events
    assert second._replace(received_ms=0) == first._replace(received_ms=0)


@pytest.mark.parametrize(("body", "kind"), [(S1, FORM), (AS_JSON, JSON)], ids=["form", "JSON"])
def test_the_query_string_wins_over_the_body(body: bytes, kind: str, site: Install) -> None:
    answer = site.post(body, f"{API}?query=another&position=7", kind=kind)
    assert answer.status_int == 200
    assert (site.event.query, site.event.position) == ("another", 7)


def test_an_empty_parameter_of_the_query_string_wins_too(site: Install) -> None:
    assert refusal(site.post(S1, f"{API}?query=")) == (400, ["Query can't be blank"])


@pytest.mark.parametrize("value", [["x"], {"a": "x"}, None], ids=["array", "object", "null"])
@pytest.mark.parametrize("name", [name for name in VALID if name != "vertical"])
def test_a_json_value_that_is_no_scalar_counts_as_not_sent(
    name: str, value: Any, site: Install
) -> None:
    answer = site.post(json.dumps(VALID | {name: value}).encode(), kind=JSON)
    label = name.capitalize().replace("_", " ")
    assert refusal(answer) == (400, [f"{label} can't be blank"])


@pytest.mark.parametrize("root", [b"[]", b"null", b"1", b'"text"', b'[{"url": "https://a.gov"}]'])
def test_a_json_root_that_is_no_object_says_nothing(root: bytes, site: Install) -> None:
    assert refusal(site.post(root, kind=JSON)) == (400, NO_KEY_SENT)


def test_scalars_of_json_are_read_as_text(site: Install) -> None:
    fields = VALID | {"query": 1040, "position": 3, "vertical": True}
    assert site.post(json.dumps(fields).encode(), kind=JSON).status_int == 200
    assert (site.event.query, site.event.position, site.event.tag) == ("1040", 3, "true")


def test_the_first_of_a_repeated_parameter_is_read(site: Install) -> None:
    assert site.post(S1 + b"&position=999&query=other").status_int == 200
    assert (site.event.position, site.event.query) == (1, "test_query")


@pytest.mark.parametrize(
    ("twice", "status", "sentence"),
    [
        ("access_key=basic_key", 401, "Access key is invalid"),
        ("access_key=x", 401, "Access key is invalid"),
        ("affiliate=nps.gov", 400, "Affiliate is invalid"),
        ("affiliate=usa.gov", 400, "Affiliate is invalid"),
    ],
)
@pytest.mark.parametrize("where", ["form", "query"])
def test_a_key_or_affiliate_sent_twice_is_refused(
    twice: str, status: int, sentence: str, where: str, site: Install
) -> None:
    text = S1.decode() + "&" + twice
    answer = site.post(text.encode()) if where == "form" else site.post(b"", f"{API}?{text}")
    assert refusal(answer) == (status, [sentence])
    assert site.events == []


def test_a_json_object_that_has_a_key_twice_is_refused(site: Install) -> None:
    body = AS_JSON[:-1] + b', "access_key": "basic_key"}'
    assert refusal(site.post(body, kind=JSON))[0] == 400
    assert site.events == []


# --- what is refused -----------------------------------------------------------------------------


def test_everything_that_is_missing_is_said_at_once(site: Install) -> None:
    answer = site.post(b"")
    assert answer.status_int == 400
    assert answer.body == (
        b'["Access key can\'t be blank","Affiliate can\'t be blank","Module code can\'t be blank",'
        b'"Position can\'t be blank","Query can\'t be blank","Url can\'t be blank"]'
    )


def test_a_result_page_needs_neither_key_nor_affiliate(site: Install) -> None:
    answer = site.post(b"", PAGE)
    assert answer.status_int == 400
    assert answer.body == (
        b'["Module code can\'t be blank","Position can\'t be blank","Query can\'t be blank",'
        b'"Url can\'t be blank"]'
    )


def test_a_wrong_key_is_401(site: Install) -> None:
    answer = site.post(VALID | {"access_key": "invalid"})
    assert (answer.status_int, answer.body) == (401, b'["Access key is invalid"]')
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert answer.headers["Content-Length"] == "25"
    assert site.events == []


def test_a_recorded_refusal_is_repeated_to_the_byte(site: Install) -> None:
    fields = "affiliate=nps.gov&access_key=basic_key&module_code=I14Y&url=https%3A%2F%2Fwww.va.gov"
    answer = site.post(b"", f"{GATEWAY}?{fields}&query=&position=0")
    assert (answer.status_int, answer.body) == (400, b'["Query can\'t be blank"]')
    assert dict(answer.headers) == {
        "Content-Type": "application/json; charset=utf-8",
        "Content-Length": "24",
        "Cache-Control": "no-cache",
        "Vary": "Origin",
        **SECURITY,
    }


BLANK = "Access key can't be blank"
WRONG = "Access key is invalid"
NOBODY = "Affiliate is invalid"


@pytest.mark.parametrize(
    ("changes", "status", "sentences"),
    [
        ({"access_key": None}, 400, [BLANK]),
        ({"access_key": ""}, 401, [BLANK, WRONG]),
        ({"access_key": "  "}, 401, [BLANK, WRONG]),
        ({"access_key": "other_key"}, 401, [WRONG]),
        ({"access_key": "BASIC_KEY"}, 401, [WRONG]),
        ({"access_key": "basic_key "}, 401, [WRONG]),
        ({"access_key": "bäsic_key"}, 401, [WRONG]),
        ({"access_key": "invalid", "query": ""}, 401, [WRONG, "Query can't be blank"]),
        ({"affiliate": None}, 400, ["Affiliate can't be blank"]),
        ({"affiliate": ""}, 400, ["Affiliate can't be blank", NOBODY]),
        ({"affiliate": "not_an_affiliate"}, 400, [NOBODY]),
        ({"affiliate": "NPS.GOV"}, 400, [NOBODY]),
        ({"affiliate": "inactive_affiliate", "access_key": "invalid"}, 400, [NOBODY]),
        ({"affiliate": "inactive_affiliate", "access_key": None}, 400, [BLANK, NOBODY]),
        ({"affiliate": "inactive_affiliate", "access_key": ""}, 400, [BLANK, NOBODY]),
        ({"affiliate": "keyless.gov", "access_key": "basic_key"}, 401, [WRONG]),
        ({"affiliate": "keyless.gov", "access_key": ""}, 401, [BLANK, WRONG]),
        ({"affiliate": "keyless.gov", "access_key": "None"}, 401, [WRONG]),
    ],
)
def test_affiliate_and_key_are_checked_together(
    changes: dict[str, str | None], status: int, sentences: list[str], site: Install
) -> None:
    fields = {name: value for name, value in (VALID | changes).items() if value is not None}
    assert refusal(site.post(fields)) == (status, sentences)
    assert site.events == []


FORMAT = "Url is not a valid format"


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("", "Url can't be blank"),
        ("  ", "Url can't be blank"),
        ("something is wrong", FORMAT),
        ("https://example.com/wymiana+teflon%F3w", FORMAT),
        ("www.nps.gov", FORMAT),
        ("//www.nps.gov/", FORMAT),
        ("/yose/", FORMAT),
        ("ftp://www.nps.gov/", FORMAT),
        ("javascript:alert('https://www.nps.gov')", FORMAT),
        ("https", FORMAT),
        ("https:", FORMAT),
        ("https://www.nps.gov/a b", FORMAT),
        ("https://www.nps.gov/?q=a b", FORMAT),
        (" https://www.nps.gov/", FORMAT),
        ("https://www.nps.gov/\n", FORMAT),
        ("https://www.nps.gov/\x00", FORMAT),
        ("https://www.nps.gov/ö", FORMAT),
        ("https://www.nps.gov/?q=ö", FORMAT),
        ("https://www.nps.gov/100%", FORMAT),
        ("https://www.nps.gov/%zz", FORMAT),
        ("https://www.nps.gov/?q=%ED%A0%80", FORMAT),
        ("https://www.nps.gov/<script>", FORMAT),
        ('https://www.nps.gov/?q="', FORMAT),
        ("https://www.nps.gov/#a#b", FORMAT),
        pytest.param(
            "https://www.nps.gov/" + "a" * 2029,
            "Url is too long (maximum is 2048 characters)",
            id="2049 characters",
        ),
    ],
)
def test_a_url_that_is_none_is_refused(url: str, sentence: str, site: Install) -> None:
    assert refusal(site.post(VALID | {"url": url})) == (400, [sentence])


@pytest.mark.parametrize(
    "url",
    [
        "https://search.gov",
        "http://search.gov/",
        "HTTPS://Search.GOV/",
        "https://www.nps.gov/a%20b",
        "https://www.nps.gov/%C3%B6?q=a+b&c=%7B%7D#top",
        "https://www.nps.gov/?q={a|b}&x[]=1&p=50%",
        "https://www.nps.gov:8443/a;b=c/(d)/e,f/@g/~h/'i'/!j/$k/*l/=m",
        "https://[2001:db8::1]/",
        "https://www.nps.gov/#/route?x=1",
        "https:///no-host",
        pytest.param("https://www.nps.gov/" + "a" * 2028, id="2048 characters"),
    ],
)
def test_a_url_is_kept_as_it_was_sent(url: str, site: Install) -> None:
    assert site.post(VALID | {"url": url}).status_int == 200
    assert site.event.url == url


@pytest.mark.parametrize(
    ("position", "sentence"),
    [
        ("", "Position can't be blank"),
        (" ", "Position can't be blank"),
        ("second", "Position is not a number"),
        ("1st", "Position is not a number"),
        ("0x10", "Position is not a number"),
        ("nan", "Position is not a number"),
        ("inf", "Position is not a number"),
        ("1_000", "Position is not a number"),
        ("\u0661", "Position is not a number"),
        ("-", "Position is not a number"),
        ("1.87897", "Position must be an integer"),
        ("-1.5", "Position must be an integer"),
        ("1e3", "Position must be an integer"),
        ("-4", "Position must be greater than or equal to 0"),
        ("-00010", "Position must be greater than or equal to 0"),
    ],
)
def test_a_position_breaks_one_rule_at_most(position: str, sentence: str, site: Install) -> None:
    assert refusal(site.post(VALID | {"position": position})) == (400, [sentence])


@pytest.mark.parametrize(
    ("position", "sentence"),
    [
        ("1.5", "Position must be an integer"),
        ("1.0", "Position must be an integer"),
        ("1e3", "Position must be an integer"),
        ("-1", "Position must be greater than or equal to 0"),
        ("true", "Position is not a number"),
        ("false", "Position can't be blank"),
    ],
)
def test_a_number_of_json_follows_the_same_rules(
    position: str, sentence: str, site: Install
) -> None:
    body = AS_JSON.replace(b'"position": 1', b'"position": ' + position.encode())
    assert refusal(site.post(body, kind=JSON)) == (400, [sentence])


@pytest.mark.parametrize(
    ("sent", "position", "raw"),
    [
        ("0", 0, ""),
        ("1", 1, ""),
        ("007", 7, "007"),
        ("+5", 5, "+5"),
        ("-0", 0, "-0"),
        ("100000", 100_000, ""),
        ("100001", None, "100001"),
        ("9" * 40, None, "9" * 32),
    ],
)
def test_a_position_is_kept_as_sent_where_the_number_differs(
    sent: str, position: int | None, raw: str, site: Install
) -> None:
    assert site.post(VALID | {"position": sent}).status_int == 200
    assert (site.event.position, site.event.position_raw) == (position, raw)


@pytest.mark.parametrize("code", ["whatever", "bweb", "BWEB ", "TWEET", "<b>&\"ü'"])
def test_an_unknown_module_is_named_as_it_was_sent(code: str, site: Install) -> None:
    answer = site.post(VALID | {"module_code": code})
    assert refusal(answer) == (400, [f"Module code {code} is not a valid module"])


def test_html_is_not_escaped_in_a_refusal(site: Install) -> None:
    answer = site.post(VALID | {"module_code": "<b>&"})
    assert answer.body == b'["Module code <b>& is not a valid module"]'


@pytest.mark.parametrize("agent", ["", "  "], ids=["empty", "spaces"])
@pytest.mark.parametrize("path", [GATEWAY, API, PAGE])
def test_a_sender_names_its_agent(path: str, agent: str, site: Install) -> None:
    answer = site.post(S1, path, environ={"HTTP_USER_AGENT": agent})
    assert refusal(answer) == (400, ["User agent can't be blank"])


def test_sentences_are_sorted_by_their_bytes(site: Install) -> None:
    fields = {"access_key": "x", "affiliate": "nps.gov", "url": "x", "position": "x", "query": " "}
    answer = site.post(fields | {"module_code": "ä"}, environ={"HTTP_USER_AGENT": ""})
    assert refusal(answer) == (
        401,
        [
            "Access key is invalid",
            "Module code ä is not a valid module",
            "Position is not a number",
            "Query can't be blank",
            "Url is not a valid format",
            "User agent can't be blank",
        ],
    )


# --- requests that cannot be read ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"{", JSON),
        (b"url=https://a.gov", JSON),
        (b'{"url": NaN}', JSON),
        (b'{"url": 1e999}', JSON),
        (b'{"query": "\\ud800"}', JSON),
        (b'{"query": "\xff"}', JSON),
        (b"[" * 10_000, JSON),
        (b'{"position": ' + b"9" * 5_000 + b"}", JSON),
        (b"&".join(b"a%d=1" % number for number in range(201)), FORM),
    ],
    ids=[
        "no end",
        "a form",
        "NaN",
        "infinity",
        "half a character",
        "no UTF-8",
        "depth",
        "digits",
        "parameters",
    ],
)
def test_a_body_that_cannot_be_read_is_400_with_a_sentence(
    body: bytes, kind: str, site: Install
) -> None:
    status, sentences = refusal(site.post(body, kind=kind))
    assert (status, len(sentences)) == (400, 1)
    assert site.events == []


@pytest.mark.parametrize(
    ("environ", "status"),
    [
        ({"CONTENT_LENGTH": "65537"}, 413),
        ({"CONTENT_LENGTH": "1" + "0" * 12}, 413),
        ({"CONTENT_LENGTH": "-1"}, 400),
        ({"CONTENT_LENGTH": "abc"}, 400),
        ({"CONTENT_LENGTH": "500"}, 400),
        ({"CONTENT_LENGTH": "", "HTTP_TRANSFER_ENCODING": "chunked"}, 411),
        ({"HTTP_CONTENT_ENCODING": "gzip"}, 415),
    ],
    ids=["too long", "absurd", "negative", "no number", "cut short", "chunked", "compressed"],
)
def test_a_body_out_of_bounds_is_refused_in_the_same_shape(
    environ: dict[str, str], status: int, site: Install
) -> None:
    answered, headers, body = call(site.clicks, body=S1, **environ)
    assert (answered, len(json.loads(body))) == (status, 1)
    assert headers["Content-Type"] == "application/json; charset=utf-8"


@pytest.mark.parametrize(
    "query", ["url=%FF", "url=%ff", "x=%ED%A0%80", "%C3=1", "a=%C3&b=%A9", "q=\xff"]
)
@pytest.mark.parametrize("method", ["POST", "GET"])
@pytest.mark.parametrize("path", [API, PAGE])
def test_a_query_string_that_is_no_utf8_gets_an_empty_page(
    path: str, method: str, query: str, site: Install
) -> None:
    status, headers, body = call(site.clicks, path, query, S1, REQUEST_METHOD=method)
    assert (status, body, headers["Content-Type"]) == (400, b"", "text/html")
    assert site.events == []


def test_percent_signs_of_the_url_itself_are_not_the_query_strings(site: Install) -> None:
    """Decoded once it is UTF-8; decoded again, the address is not."""
    fields = VALID | {"url": "https://example.com/wymiana+teflon%F3w"}
    assert "%25F3w" in urlencode(fields)
    assert refusal(site.post_query(fields)) == (400, [FORMAT])


def test_text_in_raw_utf8_is_read(site: Install) -> None:
    query = S1.decode().replace("test_query", "wörld".encode().decode("latin-1"))
    assert call(site.clicks, API, query)[0] == 200
    assert site.event.query == "wörld"


# --- other methods -------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", [GATEWAY, API, PAGE])
@pytest.mark.parametrize("mount", ["", "/shop", "/süd".encode().decode("latin-1")])
def test_whoever_comes_by_get_is_led_to_the_sites_root(
    mount: str, path: str, method: str, site: Install
) -> None:
    status, headers, body = call(
        site.clicks, path, S1.decode(), REQUEST_METHOD=method, SCRIPT_NAME=mount
    )
    root = {"": "/", "/shop": "/shop/"}.get(mount, "/s%C3%BCd/")
    assert (status, headers["Location"], body) == (302, root, b"")
    assert site.events == []


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "BREW"])
@pytest.mark.parametrize("path", [API, PAGE])
def test_other_methods_find_nothing(path: str, method: str, site: Install) -> None:
    status, _headers, body = call(site.clicks, path, "", S1, REQUEST_METHOD=method)
    assert (status, len(json.loads(body))) == (404, 1)
    assert site.events == []
    assert site.ledger("rejected") == {"searchgov_method": 1}


# --- other origins -------------------------------------------------------------------------------


def subset(answer: TestResponse, prefix: str) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name.startswith(prefix)}


@pytest.mark.parametrize("path", [GATEWAY, API])
def test_a_browser_that_asks_first_is_allowed_to_post(path: str, site: Install) -> None:
    answer = site.browser.options(path, headers=ASKING)
    assert (answer.status_int, answer.body) == (200, b"")
    assert dict(answer.headers) == {
        **CORS,
        "Access-Control-Allow-Headers": "Content-Type",
        "Content-Length": "0",
    }


def test_no_header_is_allowed_that_was_not_asked_for(site: Install) -> None:
    asking = ORIGIN | {"Access-Control-Request-Method": "post"}
    assert dict(site.browser.options(API, headers=asking).headers) == {
        **CORS,
        "Content-Length": "0",
    }


def test_a_header_that_is_no_plain_text_is_not_repeated(site: Install) -> None:
    environ = {f"HTTP_{name.upper().replace('-', '_')}": text for name, text in ASKING.items()}
    environ["HTTP_ACCESS_CONTROL_REQUEST_HEADERS"] = "X-A\r\nSet-Cookie: a=b"
    status, headers, _body = call(site.clicks, API, REQUEST_METHOD="OPTIONS", **environ)
    assert (status, headers) == (200, {**CORS, "Content-Length": "0"})


def test_asking_for_another_method_gets_no_permission(site: Install) -> None:
    asking = ASKING | {"Access-Control-Request-Method": "PUT"}
    answer = site.browser.options(API, headers=asking)
    assert (answer.status_int, subset(answer, "Access-Control")) == (200, {})


@pytest.mark.parametrize("path", [GATEWAY, API])
@pytest.mark.parametrize("fields", [VALID, {}], ids=["accepted", "refused"])
def test_pages_of_any_origin_may_read_the_answer(
    path: str, fields: dict[str, str], site: Install
) -> None:
    answer = site.post(fields, path, **ORIGIN)
    assert subset(answer, "Access-Control") == CORS
    assert answer.headers["Vary"] == "Origin"


@pytest.mark.parametrize("fields", [VALID, {}], ids=["accepted", "refused"])
def test_the_sites_own_path_is_for_its_own_pages(fields: dict[str, str], site: Install) -> None:
    answer = site.post(fields, PAGE, **ORIGIN)
    assert (subset(answer, "Access-Control"), answer.headers.get("Vary")) == ({}, None)
    assert site.browser.options(PAGE, headers=ASKING, expect_errors=True).status_int == 404


# --- the path without a key ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("affiliate", "host", "kept"),
    [
        (None, "www.usa.gov", "usa.gov"),
        ("nps.gov", "www.usa.gov", "nps.gov"),
        ("keyless.gov", "nobody.example", "keyless.gov"),
        ("not_an_affiliate", "www.usa.gov", "usa.gov"),
        ("", "www.usa.gov:8080", "usa.gov"),
    ],
)
def test_a_click_without_key_belongs_to_its_affiliate_or_host(
    affiliate: str | None, host: str, kept: str, site: Install
) -> None:
    fields = KEYLESS if affiliate is None else KEYLESS | {"affiliate": affiliate}
    answer = site.post(fields, PAGE, environ={"HTTP_HOST": host})
    assert answer.status_int == 200
    assert (site.event.site, site.event.trust) == (kept, "anonymous")


def test_a_click_that_belongs_to_no_site_is_refused(site: Install) -> None:
    answer = site.post(KEYLESS, PAGE, environ={"HTTP_HOST": "nobody.example"})
    assert refusal(answer) == (400, ["Affiliate is invalid"])
    assert site.events == []


def test_two_affiliates_are_refused_without_a_key_too(site: Install) -> None:
    answer = site.post(b"affiliate=nps.gov&affiliate=usa.gov&" + urlencode(KEYLESS).encode(), PAGE)
    assert refusal(answer) == (400, ["Affiliate is invalid"])


def test_a_key_is_not_looked_at_where_none_is_asked_for(site: Install) -> None:
    assert site.post(VALID | {"access_key": "invalid"}, PAGE).status_int == 200
    assert site.event.trust == "anonymous"


def test_without_sites_clicks_belong_to_the_default_one(install: Callable[..., Install]) -> None:
    site = install(sites=())
    assert site.post(KEYLESS, PAGE).status_int == 200
    assert site.event.site == "default"


def test_without_sites_no_key_is_right(install: Callable[..., Install]) -> None:
    site = install(sites=())
    answer = site.post(VALID | {"affiliate": "default", "access_key": "x"})
    assert refusal(answer) == (401, ["Access key is invalid"])


# --- what is personal ----------------------------------------------------------------------------


def test_personal_numbers_are_masked_in_query_and_address(site: Install) -> None:
    url = "https://search.gov/?query=123-45-6789&utm_x=123456789"
    assert site.post(VALID | {"query": "Foo 123-45-6789", "url": url}).status_int == 200
    assert site.event.query == "foo REDACTED_SSN"
    assert site.event.url == "https://search.gov/?query=REDACTED_SSN&utm_x=123456789"


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://a.gov/?query=me%40x.org", "https://a.gov/?query=REDACTED_EMAIL"),
        ("https://a.gov/?query=me@x.org&a=b", "https://a.gov/?query=REDACTED_EMAIL&a=b"),
        (
            "https://a.gov/?b=1&query=Foo+123-45-6789#x",
            "https://a.gov/?b=1&query=Foo+REDACTED_SSN#x",
        ),
        ("https://a.gov/?query=123%2045%206789", "https://a.gov/?query=REDACTED_SSN"),
        ("https://a.gov/?query=plain%20text", "https://a.gov/?query=plain%20text"),
        ("https://a.gov/?q=123-45-6789", "https://a.gov/?q=123-45-6789"),
        ("https://a.gov/?subquery=123-45-6789", "https://a.gov/?subquery=123-45-6789"),
        ("https://a.gov/123-45-6789?query=", "https://a.gov/123-45-6789?query="),
    ],
)
def test_only_the_query_of_an_address_is_masked(url: str, kept: str, site: Install) -> None:
    assert site.post(VALID | {"url": url}).status_int == 200
    assert site.event.url == kept


def test_the_sites_own_hooks_mask_too(install: Callable[..., Install]) -> None:
    site = install(scrub=[lambda text: text.replace("Rosebud", "[sled]")])
    site.post(VALID | {"query": "my Rosebud", "url": "https://a.gov/?query=Rosebud"})
    assert (site.event.query, site.event.url) == ("my [sled]", "https://a.gov/?query=%5Bsled%5D")


def test_neither_address_nor_agent_nor_key_reach_the_disk(site: Install) -> None:
    site.post(S1, environ={"HTTP_USER_AGENT": "Peculiar/1.0 (Firefox)"})
    site.clicks.door.worker.catch_up()
    folder = site.clicks.settings.journal.parent
    written = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert b"test_query" in written
    assert [word for word in (b"203.0.113.5", b"Peculiar", b"basic_key") if word in written] == []


@pytest.mark.parametrize("wish", ["DNT", "Sec_GPC"])
def test_who_asks_not_to_be_counted_is_not_kept(wish: str, site: Install) -> None:
    assert site.post(S1, **{wish: "1"}).status_int == 200
    assert site.events == []
    assert site.ledger("opted_out") == 1


# --- who is a robot ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("agent", "robot", "reason"),
    [
        ("Mozilla/5.0 (compatible; Googlebot/2.1)", "googlebot", "robot"),
        ("curl/8.5.0", "", ""),
        ("Faraday v0.17.6", "", ""),
        ("python-requests/2.32", "", ""),
    ],
)
def test_only_a_crawler_that_says_so_is_a_robot(
    agent: str, robot: str, reason: str, site: Install
) -> None:
    assert site.post(S1, environ={"HTTP_USER_AGENT": agent}).status_int == 200
    assert (site.event.robot, site.event.drop_reason) == (robot, reason)


# --- our own links -------------------------------------------------------------------------------


def signed(site: Install, location: str, handle: str = "nps.gov") -> tuple[str, str]:
    """Return a link of the install to *location*, and its query id."""
    query_id = new_query_id(now_ms())
    target = LinkTarget(handle, query_id, 4, "BOOS", "item-9", location)
    token = site.clicks.door.signer.sign_link(target)
    return f"https://www.nps.gov/_clicks/r/{token}", query_id


def test_one_of_our_own_links_stands_for_its_target(site: Install) -> None:
    link, query_id = signed(site, "https://www.va.gov/a?query=123-45-6789")
    assert site.post(VALID | {"url": link}).status_int == 200
    click = site.event
    assert (click.url, click.query_id) == ("https://www.va.gov/a?query=123-45-6789", query_id)
    assert (click.position, click.module_code, click.doc_id) == (1, "BWEB", "item-9")


def test_a_browser_that_followed_our_link_and_reports_it_clicked_once(site: Install) -> None:
    link, _query_id = signed(site, "https://www.va.gov/a")
    here = {"Sec-Fetch-Site": "same-origin"}
    assert (
        site.browser.get(link.removeprefix("https://www.nps.gov"), headers=here).status_int == 302
    )
    assert site.post(VALID | {"url": link}).status_int == 200
    site.clicks.door.worker.catch_up()
    sql = "SELECT source, counted, drop_reason FROM clicks ORDER BY event_id"
    with closing(sqlite3.connect(str(site.clicks.settings.database))) as database:
        rows = database.execute(sql).fetchall()
    assert rows == [("redirect", 1, None), ("searchgov", 0, "duplicate")]


def test_a_link_of_ours_may_be_longer_than_its_target(site: Install) -> None:
    target = "https://www.va.gov/" + "a" * 2029
    link, query_id = signed(site, target)
    assert len(target) == 2048
    assert len(link) > 2048
    assert site.post(VALID | {"url": link}).status_int == 200
    assert (site.event.url, site.event.query_id) == (target, query_id)
    assert site.post(VALID | {"url": link[:-1]}).status_int == 400


def test_a_link_to_the_sites_own_page_gets_its_host(site: Install) -> None:
    link, _query_id = signed(site, "/yose/")
    site.post(VALID | {"url": link})
    assert site.event.url == "https://www.nps.gov/yose/"


def test_a_link_of_another_site_is_only_an_address(site: Install) -> None:
    link, _query_id = signed(site, "https://www.va.gov/a", "usa.gov")
    site.post(VALID | {"url": link})
    assert (site.event.url, site.event.query_id) == (link, "")


# --- limits and trouble --------------------------------------------------------------------------


@pytest.mark.usefixtures("still_limits")
def test_too_many_requests_are_429_in_the_same_shape(install: Callable[..., Install]) -> None:
    site = install(redirect_rate=1)
    # However slowly this machine asks: in the end the burst is used up.
    answers = [site.post(S1, **ORIGIN)]
    while answers[-1].status_int == 200 and len(answers) < 3_000:
        answers.append(site.post(S1, **ORIGIN))
    last = answers[-1]
    assert refusal(last) == (429, ["Too many clicks come from this address: wait a second"])
    assert (last.headers["Retry-After"], subset(last, "Access-Control")) == ("1", CORS)
    assert len(site.events) == [answer.status_int for answer in answers].count(200)


def test_a_click_that_cannot_be_kept_is_not_acknowledged(site: Install) -> None:
    site.clicks.door.journal.max_bytes = 0
    answer = site.post(S1, **ORIGIN)
    assert refusal(answer) == (503, ["The click could not be kept: send it again later"])
    assert subset(answer, "Access-Control") == CORS
    assert sum(site.ledger("dropped").values()) == 1


@pytest.mark.parametrize(
    ("fields", "path", "reason"),
    [
        ({}, API, "searchgov_invalid"),
        (VALID | {"access_key": "x"}, API, "searchgov_key"),
        (b"{", API, "searchgov_unreadable"),
        (S1, f"{API}?x=%FF", "searchgov_encoding"),
    ],
    ids=["invalid", "key", "unreadable", "encoding"],
)
def test_a_refused_request_is_counted_once_by_its_reason(
    fields: Any, path: str, reason: str, site: Install
) -> None:
    site.post(fields, path)
    assert site.ledger("rejected") == {reason: 1}
    assert site.ledger("received") == 0


# --- any input at all ----------------------------------------------------------------------------


def call(
    clicks: ClickMW, path: str = API, query: str = "", body: bytes = b"", **environ: Any
) -> tuple[int, dict[str, str], bytes]:
    """Hand one request to *clicks* as a server would, without a client that minds its manners."""
    answered: dict[str, Any] = {}

    def start_response(status: str, headers: list[tuple[str, str]]) -> None:
        answered.update(status=int(status[:3]), headers=dict(headers))

    request = {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "CONTENT_TYPE": FORM,
        "CONTENT_LENGTH": str(len(body)),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "203.0.113.5",
        "HTTP_HOST": "www.nps.gov",
        "HTTP_USER_AGENT": "Mozilla/5.0 Firefox/140.0",
        "wsgi.input": BytesIO(body),
        **environ,
    }
    content = b"".join(clicks(request, start_response))
    return answered["status"], answered["headers"], content


any_input = hypothesis_settings(
    deadline=None,
    max_examples=300,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
paths = st.sampled_from([GATEWAY, API, PAGE])
kinds = st.sampled_from([FORM, JSON, "", "text/plain", "multipart/form-data; boundary=x"])
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just([{}])
nearly_valid = st.fixed_dictionaries(
    {name: st.just(value) | st.text(max_size=30) for name, value in VALID.items()}
)
nearly_json = st.fixed_dictionaries(
    {name: st.just(value) | scalars for name, value in VALID.items()}
).map(lambda fields: json.dumps(fields).encode())


def check_any_answer(site: Install, path: str, query: str, body: bytes, kind: str) -> None:
    """One request: documented status and shape; one event when it is accepted, else none."""
    before = len(site.events)
    status, headers, content = call(site.clicks, path, query, body, CONTENT_TYPE=kind)
    assert status in (200, 400) if path == PAGE else status in (200, 400, 401)
    assert len(site.events) - before == (status == 200)
    assert headers["Content-Length"] == str(len(content))
    if status == 200 or headers["Content-Type"] == "text/html":
        assert content == b""
        return
    sentences = json.loads(content)
    assert sentences == sorted(sentences, key=str.encode)
    assert sentences
    assert ("Access key is invalid" in sentences) == (status == 401)


@any_input
@given(paths, st.binary(max_size=200), st.binary(max_size=300), kinds)
def test_any_bytes_get_a_documented_answer(
    site: Install, path: str, query: bytes, body: bytes, kind: str
) -> None:
    check_any_answer(site, path, query.decode("latin-1"), body, kind)


@any_input
@given(paths, nearly_valid, st.booleans())
def test_any_texts_get_a_documented_answer(
    site: Install, path: str, fields: dict[str, str], in_query: bool
) -> None:
    text = urlencode(fields, errors="surrogatepass")
    query, body = (text, b"") if in_query else ("", text.encode())
    check_any_answer(site, path, query, body, FORM)


@any_input
@given(paths, nearly_json)
def test_any_json_gets_a_documented_answer(site: Install, path: str, body: bytes) -> None:
    check_any_answer(site, path, "", body, JSON)


@any_input
@given(st.from_regex(r"https?://[!-~]{0,40}", fullmatch=True))
def test_an_accepted_address_is_kept_whole_but_for_its_user(site: Install, url: str) -> None:
    before = len(site.events)
    accepted = site.post(VALID | {"url": url}).status_int == 200
    kept = [click.url for click in site.events[before:]]
    assert kept == ([without_user(url)] if accepted else [])


# --- what the document of all routes says --------------------------------------------------------

OPERATIONS = [
    operation for endpoint in SearchGov.endpoints for operation in endpoint.operations.values()
]


def test_operations_have_names_of_their_own() -> None:
    names = [operation["operationId"] for operation in OPERATIONS]
    assert len(set(names)) == len(names) == 6


def test_the_document_knows_every_status(site: Install) -> None:
    posts = {e.path: e.operations["post"]["responses"] for e in SearchGov.endpoints if e.operations}
    keyed = {"200", "400", "401", "411", "413", "415", "429", "503"}
    assert {path: set(responses) for path, responses in posts.items()} == {
        "technology/searchgov/v2/clicks": keyed,
        "api/v2/click": keyed,
        "clicked": keyed - {"401"},
    }


# --- real senders --------------------------------------------------------------------------------


@pytest.fixture
def server(install: Callable[..., Install]) -> Iterator[tuple[Install, str]]:
    """A real server, and its address."""
    site = install(native_paths=True)
    with running(site.clicks, 0) as address:
        yield site, address


def send(address: str, body: bytes, **headers: str) -> tuple[int, bytes]:
    """Post as a browser's request object does, the Host being that of the site."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    agent = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0"
    request = urllib.request.Request(
        address, body, {"User-Agent": agent, "Host": "www.nps.gov", **named}, method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def test_the_old_result_pages_form_post_arrives(server: tuple[Install, str]) -> None:
    """A link's own data over those of its container, form-encoded, as old browsers resolve the href."""
    site, address = server
    container = {"affiliate": "nps.gov", "vertical": "web", "query": "yosemite"}
    link = {"url": "http://example.com/", "position": 1, "module_code": "BOOS"}
    answer = send(
        f"{address}/clicked",
        urlencode(container | link).encode(),
        Content_Type="application/x-www-form-urlencoded; charset=UTF-8",
        X_Requested_With="XMLHttpRequest",
        Referer="https://www.nps.gov/search",
    )
    assert answer == (200, b"")
    click = site.event
    assert (click.url, click.query, click.position) == ("http://example.com/", "yosemite", 1)
    assert (click.module_code, click.tag, click.trust) == ("BOOS", "web", "anonymous")
    assert (click.device, click.referrer_host) == ("desktop", "")


def test_the_new_result_pages_json_arrives(server: tuple[Install, str]) -> None:
    site, address = server
    body = (
        b'{"affiliate":"nps.gov","url":"https://www.nps.gov/yose/","module_code":"I14Y",'
        b'"position":2,"query":"yosemite","vertical":"web"}'
    )
    answer = send(f"{address}/clicked", body, Content_Type=JSON, Accept=JSON)
    assert answer == (200, b"")
    assert (site.event.position, site.event.module_code) == (2, "I14Y")


def test_a_servers_query_string_with_an_empty_body_arrives(server: tuple[Install, str]) -> None:
    site, address = server
    fields = VALID | {"module_code": "I14Y", "position": 0, "client_ip": "testIP"}
    target = f"{address}{GATEWAY}?{urlencode(fields, quote_via=quote)}"
    answer = send(target, b"", User_Agent="Faraday v0.17.6", Content_Type=FORM)
    assert answer == (200, b"")
    assert (site.event.position, site.event.robot) == (0, "")


def test_a_browsers_simple_post_to_the_gateway_arrives(server: tuple[Install, str]) -> None:
    """``fetch`` with a form's type and no body: no browser asks before it."""
    site, address = server
    fields = VALID | {"referrer": "https://www.nps.gov/search?query=x"}
    target = f"{address}{GATEWAY.removeprefix('/_clicks')}?{urlencode(fields)}"
    answer = send(target, b"", Content_Type=FORM, Origin="https://www.nps.gov")
    assert answer == (200, b"")
    assert site.event.url == "https://search.gov"


def run_curl(*arguments: str) -> tuple[list[str], str]:
    """Return the lines of the head and the body that curl was answered."""
    if not shutil.which("curl"):
        assert os.environ.get("CI") != "true", "install curl where the tests run"
        pytest.skip("curl is not installed")
    ran = subprocess.run(
        ["curl", "-i", "-s", *arguments], capture_output=True, text=True, check=True, timeout=30
    )
    head, _, body = ran.stdout.partition("\n\n")
    return head.splitlines(), body


@pytest.mark.parametrize("prefix", ["", "/_clicks"], ids=["at the root", "below the prefix"])
def test_curl_as_documented_arrives(prefix: str, server: tuple[Install, str]) -> None:
    site, address = server
    head, body = run_curl(
        "-X",
        "POST",
        "-H",
        "Content-Type: application/x-www-form-urlencoded",
        "-H",
        "Content-Length: 0",
        "-A",
        "user agent string",
        f"{address}{prefix}/technology/searchgov/v2/clicks/?url=https://foo.gov/clicked"
        "&affiliate=nps.gov&access_key=basic_key&module_code=BOOS&query=test%20query&position=1",
    )
    assert (head[0].split(maxsplit=1)[1], body) == ("200 OK", "")
    assert {"Content-Type: application/json", "Content-Length: 0"} <= set(head)
    click = site.event
    kept = (click.url, click.query, click.position, click.module_code, click.robot)
    assert kept == ("https://foo.gov/clicked", "test query", 1, "BOOS", "")


def test_curl_is_told_what_is_wrong(server: tuple[Install, str]) -> None:
    _site, address = server
    head, body = run_curl(
        "-X", "POST", f"{address}/api/v2/click", "-d", urlencode(VALID | {"query": ""})
    )
    assert (head[0].split()[1], body) == ("400", '["Query can\'t be blank"]')
