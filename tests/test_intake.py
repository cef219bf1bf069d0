"""What pages report: every type of event, what is refused, and how an event is made of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft4Validator
from webtest import TestApp

from clickmw import ClickMW
from clickmw.beacon import OPERATIONS
from clickmw.events import (
    Answer,
    Click,
    Conversion,
    Event,
    Feedback,
    Return,
    Search,
    Seen,
    Shown,
    View,
    issued_ms,
    new_query_id,
)
from clickmw.intake import _TYPES
from clickmw.journal import read_records, segment_paths
from clickmw.recorder import now_ms
from clickmw.sites import Site
from clickmw.tokens import LinkTarget

BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
DAY_MS = 86_400_000
HOUR_MS = 3_600_000
Payload = dict[str, Any]


def an_id(ago_ms: int = 0) -> str:
    return new_query_id(now_ms() - ago_ms)


class Page:
    """A page of results in a browser, and the journal that its reports end up in."""

    def __init__(self, clicks: ClickMW) -> None:
        self.clicks = clicks
        environ = {"HTTP_USER_AGENT": BROWSER, "REMOTE_ADDR": "198.51.100.7"}
        self.browser = TestApp(clicks, extra_environ=environ)

    def token(self, location: str = "https://example.org/1", **said: Any) -> str:
        target = LinkTarget("", an_id(), 3, "BWEB", "item-1", location)
        return self.clicks.door.signer.sign_link(target._replace(**said))

    def send(self, *payloads: Any, **environ: str) -> list[str]:
        """Return the verdict on each of *payloads*."""
        body = json.dumps(payloads)
        answer = self.browser.post("/_clicks/e", body, status=204, extra_environ=environ)
        return answer.headers["X-ClickMW"].split(", ")

    def events(self) -> list[Event]:
        return [event for record in self.records() for event in record]

    def records(self) -> list[list[Event]]:
        found = [
            record
            for path in segment_paths(self.clicks.settings.journal)
            for record in read_records(path, 0, most=10_000, sealed=True)
        ]
        assert not any(record.torn for record in found)
        return [[each.event for each in record.events] for record in found if record.events]

    def event(self, payload: Payload, **environ: str) -> Any:
        """Return the event that *payload* becomes."""
        verdict = self.send(payload, **environ)
        assert not verdict[0].startswith(("rejected", "dropped")), verdict
        return self.events()[-1]

    def tallies(self) -> dict[str, int]:
        self.clicks.door.journal.write_tallies()
        found: dict[str, int] = {}
        for path in segment_paths(self.clicks.settings.journal):
            for record in read_records(path, 0, most=10_000, sealed=True):
                for name, count in record.tallies.items():
                    found[name] = found.get(name, 0) + count
        return found


MakePage = Callable[..., Page]


@pytest.fixture
def page_at(clicks_at: Callable[..., ClickMW]) -> MakePage:
    """Make a page of results; settings as keywords."""
    return lambda **settings: Page(clicks_at(**{"debug": True, **settings}))


@pytest.fixture
def page(page_at: MakePage) -> Page:
    return page_at()


# -- every type, as the snippet sends it -----------------------------------------------------------

#: What stands in a payload for a token, an id, and the id of a search.
TOKEN, ID, SEARCH = object(), object(), object()


class Sample(NamedTuple):
    """A payload as pages send it, and what of the event's fields is its own."""

    sent: Payload
    kind: type[Any]
    own: dict[str, Any]


LINKED: Payload = {"url": "https://example.org/1", "doc_id": "item-1", "position": 3}
LINKED |= {"module_code": "BWEB", "query_id": SEARCH, "trust": "signed"}
SAMPLES = {
    "view": Sample(
        {"t": "view", "k": TOKEN, "v": ID}, View, {"query_id": SEARCH, "view_id": ID, "trust": "signed"}
    ),
    "click": Sample(
        {"t": "click", "k": TOKEN, "i": ID}, Click, LINKED | {"user_activated": 1, "client_id": ID}
    ),
    "click on a shared page": Sample(
        {"t": "click", "k": TOKEN, "i": ID, "v": ID},
        Click,
        LINKED | {"user_activated": 1, "client_id": ID, "view_id": ID},
    ),
    "seen": Sample(
        {"t": "seen", "k": TOKEN, "p": [["BWEB", 2], ["", 1], ["BWEB", 2]], "v": ID},
        Seen,
        {"query_id": SEARCH, "view_id": ID, "places": (("BWEB", 2), ("", 1)), "trust": "signed"},
    ),
    "return": Sample(
        {"t": "return", "k": TOKEN, "i": ID, "s": 12.34, "v": ID},
        Return,
        LINKED | {"dwell_s": 12.3, "view_id": ID, "client_id": ID},
    ),
    "search": Sample(
        {
            "t": "search", "i": ID, "g": SEARCH, "q": " Tax\u00a0FORM me@example.org", "n": 40, "o": 10,
            "m": "BWEB", "l": "en_US", "f": "forms", "a": "help",
            "r": [
                {"u": "https://example.org/a", "p": 11, "d": "a-1", "h": "An a"},
                {"u": "/b", "m": "NEWS"},
            ],
        },
        Search,
        {
            "query_id": SEARCH, "query": "tax form REDACTED_EMAIL", "total_hits": 40, "offset": 10,
            "impressions": (
                Shown("https://example.org/a", 11, "BWEB", "a-1", "An a"),
                Shown("/b", 11, "NEWS"),
            ),
            "language": "en-us", "profile": "forms", "tag": "help", "client_id": ID,
        },
    ),
    "result": Sample(
        {
            "t": "result", "i": ID, "g": SEARCH, "q": "Tax Form", "u": "/b", "p": 2, "m": "BWEB",
            "d": "b-1", "h": "A b",
        },
        Click,
        {
            "url": "/b", "position": 2, "module_code": "BWEB", "doc_id": "b-1", "title": "A b",
            "query_id": SEARCH, "query": "tax form", "client_id": ID,
        },
    ),
    "related": Sample(
        {"t": "related", "i": ID, "g": SEARCH, "q": "Tax", "x": "Tax forms", "p": 1},
        Click,
        {
            "kind": "related", "url": "", "doc_id": "Tax forms", "title": "Tax forms",
            "position": 1, "query_id": SEARCH, "query": "tax", "client_id": ID,
        },
    ),
    "answer": Sample(
        {"t": "answer", "i": ID, "g": SEARCH, "q": "Who is 123-45-6789?", "x": "Not\nsaid.", "y": True},
        Answer,
        {
            "question": "Who is REDACTED_SSN?", "answer": "Not said.", "is_question": 1,
            "query_id": SEARCH, "client_id": ID,
        },
    ),
    "source": Sample(
        {"t": "source", "i": ID, "g": SEARCH, "q": "When?", "u": "https://example.org/s"},
        Click,
        {
            "kind": "source", "url": "https://example.org/s", "query_id": SEARCH, "query": "when?",
            "client_id": ID,
        },
    ),
    "feedback": Sample(
        {"t": "feedback", "i": ID, "g": SEARCH, "q": "Tax", "y": 0, "x": "Call (555) 123-4567"},
        Feedback,
        {
            "score": 0, "comment": "Call REDACTED_PHONE", "query_id": SEARCH, "query": "tax",
            "client_id": ID,
        },
    ),
    "conversion": Sample(
        {"t": "conversion", "i": ID, "g": SEARCH, "x": "A-17", "y": 19, "c": "eur", "u": "/thanks"},
        Conversion,
        {
            "order_id": "A-17", "value": 19.0, "currency": "EUR", "url": "/thanks",
            "query_id": SEARCH, "client_id": ID,
        },
    ),
}  # fmt: skip


def filled(said: Payload, values: dict[object, str]) -> Payload:
    """Return *said* with what this page has in the places of TOKEN, ID and SEARCH."""
    return {
        name: values.get(value, value) if value in (TOKEN, ID, SEARCH) else value
        for name, value in said.items()
    }


def made_for(page: Page) -> dict[object, str]:
    search = an_id()
    return {TOKEN: page.token(query_id=search), ID: an_id(), SEARCH: search}


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)
def test_a_payload_becomes_its_event(sample: Sample, page: Page) -> None:
    values = made_for(page)
    event = page.event(filled(sample.sent, values))
    own = filled({"trust": "anonymous", "source": "beacon"} | sample.own, values)
    who = {"site": "default", "device": "desktop", "visitor": event.visitor}
    if "dedupe_key" in sample.kind._fields:
        own["dedupe_key"] = event.dedupe_key

    assert event == sample.kind(received_ms=event.received_ms, **who, **own)
    assert abs(event.received_ms - now_ms()) < 10_000
    assert len(event.visitor) == 16


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)
def test_a_payload_is_what_the_document_says(sample: Sample, page: Page) -> None:
    payload = filled(sample.sent, made_for(page))
    content = OPERATIONS["post"]["requestBody"]["content"]["application/json"]
    errors = Draft4Validator(content["schema"]).iter_errors([payload])

    assert [error.message for error in errors] == []


def test_the_document_knows_every_type() -> None:
    content = OPERATIONS["post"]["requestBody"]["content"]["application/json"]
    described = [each["properties"]["t"]["enum"] for each in content["schema"]["items"]["oneOf"]]

    assert sorted(described) == sorted([name] for name in _TYPES)
    assert {sample.sent["t"] for sample in SAMPLES.values()} == set(_TYPES)


NEEDED = {
    "click": {"t": "click", "k": TOKEN},
    "seen": {"t": "seen", "k": TOKEN, "p": [["BWEB", 1]]},
    "return": {"t": "return", "k": TOKEN, "s": 0},
    "search": {"t": "search", "q": ""},
    "result": {"t": "result", "u": "/"},
    "related, by its query": {"t": "related", "q": "tax", "x": "taxes"},
    "related, by its search": {"t": "related", "g": SEARCH, "x": "taxes"},
    "answer": {"t": "answer", "q": "when?", "x": "now"},
    "source": {"t": "source", "u": "http://example.org"},
    "feedback, a score": {"t": "feedback", "y": 10},
    "feedback, a comment": {"t": "feedback", "x": "good", "y": None},
    "conversion": {"t": "conversion", "x": "A-17"},
}


@pytest.mark.parametrize("sent", NEEDED.values(), ids=NEEDED)
def test_what_is_not_needed_may_be_left_out(sent: Payload, page: Page) -> None:
    assert page.send(filled(sent, made_for(page))) == ["accepted"]


# -- what is refused, alone -----------------------------------------------------------------------

WRONG: dict[str, Any] = {
    "no object": 1,
    "no object but a list": [],
    "no object but null": None,
    "nothing": {},
    "unknown type": {"t": "scroll"},
    "a type that is no text": {"t": ["click"]},
    "view without a view": {"t": "view", "k": TOKEN},
    "click without a token": {"t": "click"},
    "click with a number": {"t": "click", "k": 5},
    "click with a made-up token": {"t": "click", "k": ":AZdz2LAAAAAAAAAB:1:BWEB::~a.AAAA"},
    "click with an endless token": {"t": "click", "k": "a" * 9_000},
    "click with a view that is none": {"t": "click", "k": TOKEN, "v": "yes"},
    "click with an id that is no text": {"t": "click", "k": TOKEN, "i": 5},
    "seen without places": {"t": "seen", "k": TOKEN},
    "seen nowhere": {"t": "seen", "k": TOKEN, "p": []},
    "seen at 201 places": {"t": "seen", "k": TOKEN, "p": [["BWEB", 1]] * 201},
    "seen at a place of three": {"t": "seen", "k": TOKEN, "p": [["BWEB", 1, 2]]},
    "seen at a place that is no list": {"t": "seen", "k": TOKEN, "p": ["B1"]},
    "seen at position -1": {"t": "seen", "k": TOKEN, "p": [["BWEB", 1], ["BWEB", -1]]},
    "seen at position 100,001": {"t": "seen", "k": TOKEN, "p": [["BWEB", 100_001]]},
    "seen at position true": {"t": "seen", "k": TOKEN, "p": [["BWEB", True]]},
    "seen without a position": {"t": "seen", "k": TOKEN, "p": [["BWEB", None]]},
    "seen in a module with a blank": {"t": "seen", "k": TOKEN, "p": [["B WEB", 1]]},
    "seen in module 5": {"t": "seen", "k": TOKEN, "p": [[5, 1]]},
    "return after no time": {"t": "return", "k": TOKEN},
    "return before the click": {"t": "return", "k": TOKEN, "s": -0.1},
    "return after more than a day": {"t": "return", "k": TOKEN, "s": 86_400.1},
    "return after true": {"t": "return", "k": TOKEN, "s": True},
    "return after text": {"t": "return", "k": TOKEN, "s": "5"},
    "search for nothing": {"t": "search"},
    "search for a number": {"t": "search", "q": 7},
    "search for 2,001 characters": {"t": "search", "q": "a" * 2_001},
    "search of a site that is no text": {"t": "search", "q": "a", "s": 5},
    "search of an id that is no text": {"t": "search", "q": "a", "g": 5},
    "search with minus one hit": {"t": "search", "q": "a", "n": -1},
    "search with half a hit": {"t": "search", "q": "a", "n": 0.5},
    "search with more hits than numbers": {"t": "search", "q": "a", "n": 2**53 + 1},
    "search with an offset of text": {"t": "search", "q": "a", "o": "10"},
    "search with a long tag": {"t": "search", "q": "a", "a": "a" * 65},
    "search with a long profile": {"t": "search", "q": "a", "f": "a" * 65},
    "search with a module of 33": {"t": "search", "q": "a", "m": "M" * 33},
    "search with results that are no list": {"t": "search", "q": "a", "r": {"u": "/"}},
    "search with 201 results": {"t": "search", "q": "a", "r": [{"u": "/"}] * 201},
    "search with a result of text": {"t": "search", "q": "a", "r": ["/"]},
    "search with a result without address": {"t": "search", "q": "a", "r": [{"u": "/"}, {"p": 1}]},
    "search with a result at 0": {"t": "search", "q": "a", "r": [{"u": "/", "p": 0}]},
    "search with a result in no module": {"t": "search", "q": "a", "r": [{"u": "/", "m": "a/b"}]},
    "search with a script for a result": {"t": "search", "q": "a", "r": [{"u": "javascript:1"}]},
    "result without address": {"t": "result", "q": "a"},
    "result at a relative address": {"t": "result", "u": "b.html"},
    "result at //": {"t": "result", "u": "//example.org/b"},
    "result at data:": {"t": "result", "u": "data:text/html,a"},
    "result with a name and a password": {"t": "result", "u": "https://a:b@example.org/"},
    "result with a line break": {"t": "result", "u": "https://example.org/\nb"},
    "result at an address of 2,049": {"t": "result", "u": "/" + "a" * 2_048},
    "result at an address of 4,097": {"t": "result", "u": "/" + "a" * 4_096},
    "result at position 1.5": {"t": "result", "u": "/", "p": 1.5},
    "result at position 1 in text": {"t": "result", "u": "/", "p": "1"},
    "result with a long id": {"t": "result", "u": "/", "d": "a" * 256},
    "result with an endless title": {"t": "result", "u": "/", "h": "a" * 10_001},
    "result of no search": {"t": "result", "u": "/", "g": "latest"},
    "result of a search to come": {"t": "result", "u": "/", "g": an_id(-3 * DAY_MS)},
    "related without a suggestion": {"t": "related", "q": "tax"},
    "related to nothing": {"t": "related", "x": "tax"},
    "related of 201 characters": {"t": "related", "q": "tax", "x": "a" * 201},
    "answer without a question": {"t": "answer", "x": "now"},
    "answer without an answer": {"t": "answer", "q": "when?"},
    "answer that is perhaps one": {"t": "answer", "q": "when?", "x": "now", "y": "perhaps"},
    "answer that is 1": {"t": "answer", "q": "when?", "x": "now", "y": 1},
    "answer without end": {"t": "answer", "q": "when?", "x": "a" * 10_001},
    "source without address": {"t": "source", "q": "when?"},
    "feedback of nothing": {"t": "feedback"},
    "feedback of blanks": {"t": "feedback", "x": " \n"},
    "feedback of 11": {"t": "feedback", "y": 11},
    "feedback of minus one": {"t": "feedback", "y": -1},
    "feedback of a half": {"t": "feedback", "y": 0.5},
    "feedback of true": {"t": "feedback", "y": True},
    "feedback without end": {"t": "feedback", "x": "a" * 10_001},
    "conversion of no order": {"t": "conversion", "y": 5},
    "conversion of a blank order": {"t": "conversion", "x": " "},
    "conversion of a numbered order": {"t": "conversion", "x": 17},
    "conversion of a long order": {"t": "conversion", "x": "a" * 65},
    "conversion of less than nothing": {"t": "conversion", "x": "A", "y": -0.01},
    "conversion of too much": {"t": "conversion", "x": "A", "y": 1e13},
    "conversion in euros": {"t": "conversion", "x": "A", "c": "euros"},
    "conversion at no address": {"t": "conversion", "x": "A", "u": "thanks"},
}


@pytest.mark.parametrize("sent", WRONG.values(), ids=WRONG)
def test_a_wrong_event_is_refused_and_its_neighbours_are_taken(sent: Any, page: Page) -> None:
    values = made_for(page)
    wrong = filled(sent, values) if isinstance(sent, dict) else sent
    good = [{"t": "click", "k": page.token(f"/{n}")} for n in range(2)]
    first, verdict, last = page.send(good[0], wrong, good[1])

    assert (first, last) == ("accepted", "accepted")
    assert verdict.startswith("rejected: ")
    assert [event.url for event in page.events()] == ["/0", "/1"]  # type: ignore[union-attr]
    assert page.tallies() == {"rejected.bad_beacon": 1}


AT_LIMIT: dict[str, Payload] = {
    "query": {"t": "search", "q": "a" * 2_000},
    "results": {"t": "search", "q": "a", "r": [{"u": "/"}] * 200},
    "hits": {"t": "search", "q": "a", "n": 2**53},
    "tag": {"t": "search", "q": "a", "a": "a" * 64},
    "module": {"t": "result", "u": "/", "m": "M" * 32},
    "position": {"t": "result", "u": "/", "p": 100_000},
    "address": {"t": "result", "u": "/" + "a" * 2_047},
    "doc id": {"t": "result", "u": "/", "d": "a" * 255},
    "suggestion": {"t": "related", "q": "a", "x": "a" * 200},
    "places": {"t": "seen", "k": TOKEN, "p": [["M", n] for n in range(1, 201)]},
    "dwell": {"t": "return", "k": TOKEN, "s": 86_400},
    "order": {"t": "conversion", "x": "a" * 64, "y": 10**12},
    "comment": {"t": "feedback", "x": "a" * 10_000},
}


@pytest.mark.parametrize("sent", AT_LIMIT.values(), ids=AT_LIMIT)
def test_what_lies_at_its_limit_is_taken(sent: Payload, page: Page) -> None:
    assert page.send(filled(sent, made_for(page))) == ["accepted"]


def test_long_titles_and_words_are_kept_in_part(page: Page) -> None:
    assert page.event({"t": "result", "u": "/", "h": "a" * 201}).title == "a" * 200
    assert page.event({"t": "feedback", "x": "a" * 2_001}).comment == "a" * 2_000


def test_what_is_not_known_is_passed_over(page: Page) -> None:
    assert page.send({"t": "result", "u": "/", "z": {"a": [1]}}) == ["accepted"]


# -- any JSON --------------------------------------------------------------------------------------

_LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-10, 200_000),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    st.sampled_from([TOKEN, ID, SEARCH, "/", "https://example.org/a", "BWEB", "2026"]),
)
_VALUES = st.recursive(
    _LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("updmhk"), inner, max_size=4)
    ),
    max_leaves=8,
)
_PAYLOADS = st.fixed_dictionaries(
    {"t": st.sampled_from([*_TYPES])},
    optional=dict.fromkeys("kivgsqunoplrmdhfaxyc", _VALUES),
)


def _filled_deep(value: Any, values: dict[object, str]) -> Any:
    if isinstance(value, list):
        return [_filled_deep(each, values) for each in value]
    if isinstance(value, dict):
        return {name: _filled_deep(each, values) for name, each in value.items()}
    return values[value] if value in (TOKEN, ID, SEARCH) else value


@pytest.fixture(scope="module")
def lasting_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    folder = tmp_path_factory.mktemp("page")
    clicks = ClickMW(
        lambda *_: [],
        secret="s" * 40,
        store=f"sqlite:///{folder}/c.db",
        debug=True,
        redirect_rate=None,
    )
    clicks.door.recorder.on_write = lambda: None  # what is written is not stored here
    yield Page(clicks)
    clicks.door.worker.close()


@settings(max_examples=120)
@given(st.lists(_PAYLOADS, min_size=1, max_size=3))
def test_whatever_is_sent_each_event_has_a_verdict(
    lasting_page: Page, payloads: list[Payload]
) -> None:
    sent = _filled_deep(payloads, made_for(lasting_page))
    verdicts = lasting_page.send(*sent)

    assert len(verdicts) == len(sent)
    assert all(each == "accepted" or each.startswith("rejected: ") for each in verdicts)


# -- clicks ----------------------------------------------------------------------------------------


def test_a_reported_click_is_the_one_that_the_redirect_would_have_recorded(page: Page) -> None:
    token = page.token("/b", item="", query_id=an_id(DAY_MS))
    page.browser.get(f"/_clicks/r/{token}", status=302, headers={"Sec-Fetch-User": "?1"})
    page.send({"t": "click", "k": token, "i": an_id()})
    followed, reported = page.events()

    same = {"received_ms": 0, "source": "", "client_id": ""}
    assert followed._replace(**same) == reported._replace(**same)
    assert (followed.source, reported.source) == ("redirect", "beacon")


def test_a_click_on_an_own_page_is_of_the_sites_first_host(page_at: MakePage) -> None:
    page = page_at(sites=[Site(handle="parks", hosts=("www.nps.gov",))])
    event = page.event({"t": "click", "k": page.token("/b", site="parks")})

    assert (event.site, event.url) == ("parks", "https://www.nps.gov/b")


@pytest.mark.parametrize(
    ("age_ms", "verdict"),
    [(29 * DAY_MS, "accepted"), (30 * DAY_MS + HOUR_MS, "stale"), (300 * DAY_MS, "stale")],
    ids=["29 days", "30 days and an hour", "300 days"],
)
@pytest.mark.parametrize(
    "more",
    [{"t": "click"}, {"t": "return", "s": 5}, {"t": "seen", "p": [["BWEB", 1]]}],
    ids=lambda more: str(more["t"]),
)
def test_what_a_link_of_more_than_thirty_days_says_is_kept_and_does_not_count(
    more: Payload, age_ms: int, verdict: str, page: Page
) -> None:
    assert page.send({"k": page.token(query_id=an_id(age_ms)), **more}) == [verdict]
    assert page.events()[0].drop_reason == verdict.replace("accepted", "")


def test_a_view_of_an_old_page_that_a_cache_kept_is_of_today(page: Page) -> None:
    old = page.token(query_id=an_id(300 * DAY_MS))
    assert page.send({"t": "view", "k": old, "v": an_id()}) == ["accepted"]


@pytest.mark.parametrize("age_ms", [7 * DAY_MS, -7 * DAY_MS], ids=["slow", "fast"])
def test_a_view_by_a_clock_that_is_wrong_is_of_today(age_ms: int, page: Page) -> None:
    event = page.event({"t": "view", "k": page.token(), "v": an_id(age_ms)})
    assert abs(issued_ms(event.view_id) - issued_ms(an_id())) < 60_000


def test_a_view_of_another_day_is_left_out_and_the_click_stays(page: Page) -> None:
    event = page.event({"t": "click", "k": page.token(), "v": an_id(5 * DAY_MS)})
    assert event.view_id == ""


IDS = {
    "of now": (0, True),
    "of 47 hours ago": (47 * HOUR_MS, True),
    "of 49 hours ago": (49 * HOUR_MS, False),
    "of a clock 47 hours fast": (-47 * HOUR_MS, True),
    "of a clock 49 hours fast": (-49 * HOUR_MS, False),
}


@pytest.mark.parametrize(("ago_ms", "is_kept"), IDS.values(), ids=IDS)
def test_an_id_of_these_days_is_kept_and_the_event_counts_with_any(
    ago_ms: int, is_kept: bool, page: Page
) -> None:
    given_id = an_id(ago_ms)
    event = page.event({"t": "click", "k": page.token(), "i": given_id})
    assert event.client_id == (given_id if is_kept else "")


@pytest.mark.parametrize(
    "given_id", ["", "short", "a" * 17, "AAAA/AAA+AAAAAAA", "é" * 16, "a" * 999]
)
def test_an_id_of_another_form_is_left_out(given_id: str, page: Page) -> None:
    assert page.event({"t": "click", "k": page.token(), "i": given_id}).client_id == ""


def test_a_link_of_a_site_that_is_gone_is_tallied(page: Page) -> None:
    [verdict] = page.send({"t": "click", "k": page.token(site="gone")})
    assert verdict == "rejected: the link is of no site here"
    assert page.tallies() == {"rejected.unknown_site": 1}


@pytest.mark.usefixtures("still_limits")
def test_redirects_and_reports_of_a_link_share_its_limit(page_at: MakePage) -> None:
    page = page_at(redirect_rate=20)
    token = page.token()
    for _ in range(3):
        page.browser.get(f"/_clicks/r/{token}", status=302)
    verdicts = [page.send({"t": "click", "k": token})[0] for _ in range(3)]

    assert verdicts == ["accepted", "accepted", "dropped: rate"]
    assert (len(page.events()), page.tallies()) == (5, {"dropped.rate": 1})


@pytest.mark.usefixtures("still_limits")
@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)
def test_whatever_is_repeated_is_limited(sample: Sample, page_at: MakePage) -> None:
    page = page_at(redirect_rate=1_000)
    payload = filled(sample.sent, made_for(page))
    verdicts = [page.send(payload)[0] for _ in range(12)]

    assert verdicts == ["accepted"] * 5 + ["dropped: rate"] * 7


@pytest.mark.usefixtures("still_limits")
def test_one_address_may_report_so_much_a_second(page_at: MakePage) -> None:
    page = page_at(redirect_rate=2)
    verdicts = page.send(*({"t": "result", "u": f"/{n}"} for n in range(5)))
    assert verdicts == ["accepted"] * 2 + ["dropped: rate"] * 3


def test_other_places_that_were_seen_are_other_reports(page_at: MakePage) -> None:
    page = page_at(redirect_rate=1_000)
    token = page.token()
    reports = [{"t": "seen", "k": token, "p": [["BWEB", n]]} for n in range(1, 21)]
    assert page.send(*reports) == ["accepted"] * 20


IN_A_VIEW: dict[str, Payload] = {
    "click": {"t": "click"},
    "seen": {"t": "seen", "p": [["BWEB", 1]]},
    "return": {"t": "return", "s": 9},
    "view": {"t": "view"},
}


@pytest.mark.parametrize("sent", IN_A_VIEW.values(), ids=IN_A_VIEW)
def test_of_a_shared_page_each_view_has_a_limit_of_its_own(
    sent: Payload, page_at: MakePage
) -> None:
    page = page_at(redirect_rate=1_000)
    token = page.token()
    views = [new_query_id(now_ms()) for _ in range(12)]
    assert page.send(*({**sent, "k": token, "v": view} for view in views)) == ["accepted"] * 12


def test_a_link_without_a_position_takes_no_place_from_the_others(page: Page) -> None:
    seen = page.event({"t": "seen", "k": page.token(), "p": [["BWEB", 0], ["BWEB", 2], ["", 0]]})
    assert seen.places == (("BWEB", 2),)


# -- who sends -------------------------------------------------------------------------------------

ALL = [pytest.param(sample.sent, id=name) for name, sample in SAMPLES.items()]


@pytest.mark.parametrize("sent", ALL)
def test_a_robot_that_runs_scripts_is_kept_and_does_not_count(sent: Payload, page: Page) -> None:
    payload = filled(sent, made_for(page))
    assert page.send(payload, HTTP_USER_AGENT="Googlebot/2.1") == ["robot"]
    assert page.events()[0].drop_reason == "robot"
    assert page.events()[0].robot


WISHES = {
    "Global Privacy Control": {"HTTP_SEC_GPC": "1"},
    "Do Not Track": {"HTTP_DNT": "1"},
    "the cookie": {"HTTP_COOKIE": "a=b; clickmw_optout=1; c=d"},
}


@pytest.mark.parametrize("wish", WISHES.values(), ids=WISHES)
def test_each_event_of_a_visitor_who_opted_out_is_tallied(wish: dict[str, str], page: Page) -> None:
    values = made_for(page)
    payloads = [filled(sample.sent, values) for sample in SAMPLES.values()]

    assert page.send(*payloads, **wish) == ["opted_out"] * len(payloads)
    assert page.events() == []
    assert page.tallies() == {"opted_out": len(payloads)}


@pytest.mark.parametrize("sent", ALL)
def test_with_optout_anonymous_nobody_sent_it(sent: Payload, page_at: MakePage) -> None:
    page = page_at(optout="anonymous")
    event = page.event(filled(sent, made_for(page)), HTTP_SEC_GPC="1")
    assert (event.visitor, event.drop_reason) == ("", "")


@pytest.mark.parametrize("sent", ALL)
def test_what_the_site_does_not_trust_does_not_count(sent: Payload, page_at: MakePage) -> None:
    page = page_at(count_trust=["keyed"])
    assert page.send(filled(sent, made_for(page))) == ["trust"]


def test_a_scrub_hook_sees_what_people_wrote(page_at: MakePage) -> None:
    page = page_at(scrub=[lambda text: text.replace("Ada", "NAME")])
    found = [
        page.event({"t": "search", "q": "Ada"}).query,
        page.event({"t": "feedback", "q": "Ada", "x": "I am Ada"})[3:6:2],
        page.event({"t": "answer", "q": "who is Ada?", "x": "Ada is one"})[2:4],
    ]
    assert found == ["name", ("I am NAME", "name"), ("who is NAME?", "NAME is one")]


# -- which site ------------------------------------------------------------------------------------

SITES = [
    Site(handle="parks", hosts=("www.nps.gov",)),
    Site(handle="maps", hosts=("www.nps.gov", "maps.nps.gov")),
    Site(handle="other", hosts=("other.example",)),
]
FOUND = {
    "the host's": ("", "www.nps.gov", "parks"),
    "the host's, with a port": ("", "www.nps.gov:8080", "parks"),
    "another one of the host": ("maps", "www.nps.gov", "maps"),
    "not one of another host": ("other", "www.nps.gov", "parks"),
    "not one that there is not": ("gone", "www.nps.gov", "parks"),
}


@pytest.mark.parametrize(("stated", "host", "handle"), FOUND.values(), ids=FOUND)
def test_an_event_is_of_the_site(stated: str, host: str, handle: str, page_at: MakePage) -> None:
    page = page_at(sites=SITES)
    event = page.event({"t": "search", "q": "a", "s": stated}, HTTP_HOST=host)
    assert event.site == handle


@pytest.mark.parametrize("stated", ["", "parks", "gone"])
def test_a_host_of_no_site_is_tallied(stated: str, page_at: MakePage) -> None:
    page = page_at(sites=SITES)
    [verdict] = page.send({"t": "search", "q": "a", "s": stated}, HTTP_HOST="unknown.example")
    assert verdict == "rejected: no site has this host"
    assert page.tallies() == {"rejected.unknown_host": 1}


@pytest.mark.parametrize(
    ("stated", "handle"), [("", "parks"), ("maps", "maps"), ("other", "parks")]
)
def test_at_a_collector_elsewhere_the_pages_host_decides(
    stated: str, handle: str, page_at: MakePage
) -> None:
    page = page_at(sites=SITES, allowed_origins=["https://www.nps.gov"])
    where = {"HTTP_HOST": "other.example", "HTTP_ORIGIN": "https://www.nps.gov"}
    event = page.event({"t": "search", "q": "a", "s": stated}, **where)
    assert event.site == handle


# -- addresses -------------------------------------------------------------------------------------

ADDRESSES = {
    "a path": ("/b?x=1#y", "https://www.nps.gov/b?x=1#y"),
    "a path with dots": ("/a/../b", "https://www.nps.gov/b"),
    "the page's own host": ("https://www.nps.gov/b", "https://www.nps.gov/b"),
    "the other host of the site": ("https://maps.nps.gov/b", "https://maps.nps.gov/b"),
    "another site": ("HTTPS://Example.ORG:443/a b", "https://example.org/a%20b"),
    "an intranet": ("http://wiki:8080/a b", "http://wiki:8080/a b"),
    "an international host": ("https://bücher.example/", "https://xn--bcher-kva.example/"),
}


@pytest.mark.parametrize(("sent", "kept"), ADDRESSES.values(), ids=ADDRESSES)
def test_an_address_is_kept_as_it_would_stand_in_a_link(
    sent: str, kept: str, page_at: MakePage
) -> None:
    page = page_at(sites=[Site(handle="parks", hosts=("www.nps.gov", "maps.nps.gov"))])
    assert page.event({"t": "result", "u": sent}, HTTP_HOST="www.nps.gov").url == kept


def test_an_id_that_is_the_address_is_none(page: Page) -> None:
    url = "https://example.org/a"
    assert page.event({"t": "result", "u": url, "d": url}).doc_id == ""


def test_a_link_of_ours_stands_for_its_result_and_proves_nothing_more(page: Page) -> None:
    token, view = page.token(query_id=(search := an_id())), an_id()
    event = page.event({"t": "result", "u": f"https://x.example/_clicks/r/{token}?v={view}"})

    expected = LINKED | {"query_id": search, "trust": "anonymous", "view_id": view}
    assert {name: getattr(event, name) for name in expected} == expected


def test_what_the_page_says_of_a_link_of_ours_stands(page: Page) -> None:
    sent = {"u": f"/_clicks/r/{page.token()}", "p": 9, "m": "NEWS", "d": "mine", "h": "Mine"}
    event = page.event({"t": "search", "q": "a", "r": [sent]})
    assert event.impressions == (Shown("https://example.org/1", 9, "NEWS", "mine", "Mine"),)


def test_a_link_of_another_site_is_an_address_like_any_other(page_at: MakePage) -> None:
    page = page_at(sites=SITES)
    url = f"/_clicks/r/{page.token(site='other')}"
    event = page.event({"t": "result", "u": url}, HTTP_HOST="www.nps.gov")
    assert (event.site, event.query_id, event.url) == ("parks", "", f"https://www.nps.gov{url}")


# -- searches --------------------------------------------------------------------------------------


def test_results_without_a_position_count_on_in_their_own_list(page: Page) -> None:
    results: list[Payload] = [
        *({"u": "/1"}, {"u": "/2", "p": 40}, {"u": "/3"}),
        *({"u": "/4", "m": "NEWS"}, {"u": "/5", "m": "NEWS"}, {"u": "/6"}),
    ]
    event = page.event({"t": "search", "q": "a", "o": 10, "m": "BWEB", "r": results})

    shown = [(each.module_code, each.position) for each in event.impressions]
    web, news = [("BWEB", n) for n in (11, 40, 13, 14)], [("NEWS", n) for n in (11, 12)]
    assert shown == [*web[:3], *news, web[3]]


GIVEN = {
    "of now": (an_id(), True),
    "of yesterday": (an_id(DAY_MS), True),
    "of last week": (an_id(7 * DAY_MS), False),
    "of next week": (an_id(-7 * DAY_MS), False),
    "of another form": ("my-search-1", False),
    "none": (None, False),
}


@pytest.mark.parametrize(("given_id", "is_kept"), GIVEN.values(), ids=GIVEN)
def test_a_search_has_the_id_it_was_given_when_that_is_of_these_days(
    given_id: str | None, is_kept: bool, page: Page
) -> None:
    event = page.event({"t": "search", "q": "a", "g": given_id})
    assert (event.query_id == given_id) is is_kept
    assert abs(issued_ms(event.query_id) - now_ms()) < 2 * DAY_MS


LANGUAGES = {
    "en_US": "en-us",
    " DE ": "de",
    "zh-Hant-TW": "zh-hant-tw",
    "": "",
    "é": "",
    "a" * 36: "",
}


@pytest.mark.parametrize(("sent", "kept"), LANGUAGES.items())
def test_a_language_has_one_form(sent: str, kept: str, page: Page) -> None:
    assert page.event({"t": "search", "q": "a", "l": sent}).language == kept


# -- repeats ---------------------------------------------------------------------------------------

OTHER = {"REMOTE_ADDR": "198.51.100.8"}


@pytest.mark.parametrize("kind", ["result", "source", "related"])
def test_a_click_of_no_search_has_a_key_of_its_visitor_and_words(kind: str, page: Page) -> None:
    said: Payload = {"t": kind, "q": "Tax", "x" if kind == "related" else "u": "/a"}
    keys = [
        page.event(said).dedupe_key,
        page.event(said | {"q": "TAX ", "p": 5, "i": an_id()}).dedupe_key,
        page.event(said, **OTHER).dedupe_key,
        page.event(said | {"q": "taxes"}).dedupe_key,
        page.event(
            {name: "/b" if value == "/a" else value for name, value in said.items()}
        ).dedupe_key,
    ]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 4
    assert all(len(bytes.fromhex(key)) == 8 for key in keys)


def test_kinds_of_clicks_do_not_share_keys(page: Page) -> None:
    said = {"u": "/a", "q": "tax"}
    assert page.event({"t": "result", **said})[-2] != page.event({"t": "source", **said})[-2]


def test_a_click_of_a_search_needs_no_key(page: Page) -> None:
    assert page.event({"t": "result", "u": "/a", "g": an_id()}).dedupe_key == ""


def test_where_visitors_are_not_told_apart_nothing_is_a_repeat(page_at: MakePage) -> None:
    page = page_at(visitor="none")
    assert page.event({"t": "result", "u": "/a", "q": "tax"}).dedupe_key == ""


def test_an_order_is_one_order_whoever_reports_it(page: Page) -> None:
    keys = [
        page.event({"t": "conversion", "x": "A-17"}).dedupe_key,
        page.event({"t": "conversion", "x": "A-17", "y": 5}, **OTHER).dedupe_key,
        page.event({"t": "conversion", "x": "A-18"}).dedupe_key,
    ]
    assert keys[0] == keys[1] != keys[2]
