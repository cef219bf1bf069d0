"""The beacon: who may report, how much at once, and what the reports count for."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from webtest import TestApp, TestResponse

from clickmw import ClickMW
from clickmw.events import Click, Return, Search, new_query_id
from clickmw.intake import Intake
from clickmw.journal import read_records, segment_paths
from clickmw.recorder import now_ms
from clickmw.stores.base import Filter

BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
PAGE = (
    b"<!doctype html><body><ol data-click-module=BWEB data-click-query='tax form' data-click-total=2>"
    b"<li><a data-click href='https://example.org/1'>one</a>"
    b"<li><a data-click href='https://example.org/2'>two</a></ol></body>"
)


class Site:
    """A search site with clickmw around it; ``cache_control`` is what its pages say."""

    def __init__(self, folder: Path, cache_control: str, **settings: Any) -> None:
        self.cache_control = cache_control
        self.folder = folder
        store = f"sqlite:///{folder / 'clicks.db'}"
        self.door = ClickMW(self.host, secret="s" * 40, store=store, debug=True, **settings).door
        self.web = TestApp(
            self.door, extra_environ={"HTTP_USER_AGENT": BROWSER, "REMOTE_ADDR": "198.51.100.7"}
        )

    def host(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        headers = [("Content-Type", "text/html"), ("Content-Length", str(len(PAGE)))]
        start_response("200 OK", [*headers, ("Cache-Control", self.cache_control)])
        return [PAGE]

    def links(self, **environ: str) -> list[str]:
        page = self.web.get("/search", extra_environ=environ)
        return [a["href"] for a in page.html.find_all("a")]

    def send(self, *payloads: Any, **environ: str) -> str:
        answer = self.web.post(
            "/_clicks/e", json.dumps(payloads), status=204, extra_environ=environ
        )
        return answer.headers["X-ClickMW"]

    def ledger(self) -> dict[str, Any]:
        self.door.worker.catch_up(5.0)
        return self.door.routes.read_health()

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        self.door.routes.open_reader().close()
        assert self.door.store.check() == []
        with sqlite3.connect(self.folder / "clicks.db") as connection:
            return connection.execute(sql).fetchall()


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path, "public, max-age=60")
    yield site
    site.door.worker.close()


@pytest.fixture
def private(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path, "private")
    yield site
    site.door.worker.close()


def view_of(link: str, view: str = "") -> dict[str, str]:
    return {"t": "view", "k": link.partition("/r/")[2], "v": view or new_query_id(now_ms())}


COUNTED = "SELECT count(*) FROM searches WHERE counted"


def test_a_shared_page_alone_is_no_search(shared: Site) -> None:
    shared.links()
    assert shared.rows("SELECT counted, drop_reason, shared FROM searches") == [(0, "shared", 1)]


def test_each_view_of_a_shared_page_is_a_search(shared: Site) -> None:
    link = shared.links()[0]
    assert shared.send(view_of(link)) == "accepted"
    shared.send(view_of(link), REMOTE_ADDR="198.51.100.8")
    assert shared.rows(COUNTED) == [(2,)]


def test_a_second_view_of_the_same_visitor_is_a_repeat(shared: Site) -> None:
    link = shared.links()[0]
    shared.send(view_of(link))
    shared.send(view_of(link))
    assert shared.rows(
        "SELECT drop_reason FROM searches WHERE NOT shared ORDER BY drop_reason"
    ) == [
        (None,),
        ("repeat",),
    ]


def test_a_view_shows_what_its_page_showed(shared: Site) -> None:
    shared.send(view_of(shared.links()[0]))
    assert shared.rows("SELECT url, position FROM impressions WHERE counted ORDER BY position") == [
        ("https://example.org/1", 1),
        ("https://example.org/2", 2),
    ]


def test_a_click_on_a_shared_page_belongs_to_its_view(shared: Site) -> None:
    link = shared.links()[1]
    view = new_query_id(now_ms())
    shared.send(view_of(link, view))
    shared.web.get(f"{link}?v={view}", status=302)
    shared.rows(COUNTED)
    asked = shared.door.routes.open_reader()
    today = shared.door.routes.today(None)
    from clickmw.stores.base import Filter

    totals = asked.totals(Filter(first_day=today, last_day=today))
    assert (totals.searches, totals.searches_clicked, totals.clicks) == (1, 1, 1)


def test_a_click_that_comes_before_its_view_is_joined(shared: Site) -> None:
    link = shared.links()[0]
    view = new_query_id(now_ms())
    shared.web.get(f"{link}?v={view}", status=302)
    shared.rows(COUNTED)
    shared.send(view_of(link, view))
    assert shared.rows("SELECT count(*) FROM searches WHERE counted") == [(1,)]


def test_two_people_behind_one_page_click_twice(shared: Site) -> None:
    link = shared.links()[0]
    for address in ("198.51.100.7", "198.51.100.8"):
        shared.web.get(link, status=302, extra_environ={"REMOTE_ADDR": address})
    assert shared.rows("SELECT count(*) FROM clicks WHERE counted") == [(2,)]


def test_a_view_id_does_not_evade_the_duplicate_rule_on_a_private_page(private: Site) -> None:
    link = private.links()[0]
    for _ in range(3):
        private.web.get(f"{link}?v={new_query_id(now_ms())}", status=302)
    assert private.rows("SELECT sum(counted), count(*) FROM clicks") == [(1, 3)]


def test_a_prefetched_page_counts_when_it_is_looked_at(private: Site) -> None:
    link = private.links(HTTP_SEC_PURPOSE="prefetch")[0]
    assert private.rows(COUNTED) == [(0,)]
    private.send(view_of(link))
    assert private.rows(COUNTED) == [(1,)]


def test_a_view_that_arrives_before_its_page_waits_for_it(tmp_path: Path) -> None:
    from clickmw.events import Search, View
    from clickmw.stores import open_store
    from clickmw.stores.base import Record, Stored, StoreOptions

    now = now_ms()
    page, view = new_query_id(now), new_query_id(now)
    events = [
        View(now + 1, "default", page, view, "0" * 16),
        Search(now, "default", page, "tax form", shared=1),
    ]
    store = open_store(f"sqlite:///{tmp_path / 'clicks.db'}", StoreOptions())
    for n, event in enumerate(events):
        record = Record(n, n + 1, n + 1, (Stored(bytes(15) + bytes((n,)), event),), {})
        store.append("1-0000000000", n, n + 1, [record])
    today = now // 86_400_000
    with sqlite3.connect(tmp_path / "clicks.db") as connection:
        assert connection.execute(COUNTED).fetchall() == [(1,)]
        assert connection.execute("SELECT count(*) FROM waiting_view").fetchall() == [(0,)]
        assert connection.execute("SELECT searches FROM day_query").fetchall() == [(1,)]
        assert connection.execute("SELECT day FROM search").fetchall()[0] == (today,)
    assert store.check() == []


def test_a_robot_that_runs_scripts_is_not_counted(shared: Site) -> None:
    shared.send(view_of(shared.links()[0]), HTTP_USER_AGENT="Googlebot/2.1")
    assert shared.rows("SELECT drop_reason FROM searches WHERE NOT shared") == [("robot",)]


def test_an_opted_out_view_is_only_a_tally(shared: Site) -> None:
    assert shared.send(view_of(shared.links()[0]), HTTP_SEC_GPC="1") == "opted_out"
    assert shared.rows("SELECT count(*) FROM searches WHERE NOT shared") == [(0,)]
    assert shared.door.routes.read_health()["opted_out"] == 1


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"{}", id="no array"),
        pytest.param(b"[1]", id="no object"),
        pytest.param(b"[" * 100_000, id="too long"),
        pytest.param(b"[" * 60_000, id="too deep"),
        pytest.param(b"\xff\xfe", id="no text"),
        pytest.param(b'[{"t":"view","k":"x.y","v":"AAAAAAAAAAAAAAAA"}]', id="view of 1970"),
        pytest.param(b'[{"t":"view","k":{"a":1},"v":2}]', id="wrong types"),
        pytest.param(b'[{"t":"click"}]', id="no token"),
        pytest.param(b'[{"t":"scroll"}]', id="unknown event"),
        pytest.param(b"[" + b"{}," * 50 + b"{}]", id="too many"),
        pytest.param(b'[{"t":"click","t":"view"}]', id="a member twice"),
        pytest.param(b'[{"t":"return","s":NaN}]', id="no number"),
        pytest.param(b'["\\ud800"]', id="half a character"),
    ],
)
def test_a_bad_body_is_answered_like_a_good_one(shared: Site, body: bytes) -> None:
    answer = shared.web.post("/_clicks/e", body, status=204)
    assert answer.headers["X-ClickMW"].startswith("rejected")
    assert shared.rows("SELECT count(*) FROM searches") == [(0,)]


def test_a_made_up_token_is_no_proof(shared: Site) -> None:
    link = shared.links()[0]
    forged = link.replace("BWEB", "BOOS")
    assert shared.send(view_of(forged)).startswith("rejected")


def test_fifty_events_are_taken_at_once(private: Site) -> None:
    private.door.recorder.rate = None
    link = private.links()[0].partition("/r/")[2]
    verdicts = private.send(*[{"t": "seen", "k": link, "p": [["BWEB", n]]} for n in range(1, 51)])
    assert verdicts == ", ".join(["accepted"] * 50)


def test_a_report_of_64_kib_is_taken_and_not_a_byte_more(private: Site) -> None:
    event = json.dumps([{"t": "result", "u": "/"}])
    for length, verdict in ((65_536, "accepted"), (65_537, "rejected: the body is longer")):
        answer = private.web.post("/_clicks/e", event.ljust(length), status=204)
        assert answer.headers["X-ClickMW"].startswith(verdict)


def test_the_events_of_a_report_are_one_record(private: Site) -> None:
    link = private.links()[0].partition("/r/")[2]
    said = [{"t": "result", "u": "/"}, {"t": "none"}, {"t": "click", "k": link}]
    private.send(*said, {"t": "return", "k": link, "s": 5})
    [path] = segment_paths(private.door.settings.journal)
    records = [each.events for each in read_records(path, 0, most=100, sealed=True) if each.events]
    assert [[type(each.event) for each in events] for events in records] == [
        [Search],
        [Click, Click, Return],
    ]


def test_an_empty_report_is_a_question_and_counts_nothing(private: Site) -> None:
    answer = private.web.post("/_clicks/e", "[]", status=204)
    assert (answer.headers["X-ClickMW"], answer.body) == ("", b"")
    assert (private.ledger()["received"], private.ledger()["rejected"]) == (0, {})


def test_without_debug_nothing_is_said(private: Site) -> None:
    private.door.routes.beacon.settings = replace(private.door.settings, debug=False)
    answer = private.web.post("/_clicks/e", "[1]", status=204)
    assert "X-ClickMW" not in answer.headers
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE"])
def test_only_posts_are_taken(private: Site, method: str) -> None:
    answer = private.web.request("/_clicks/e", method=method, status=405)
    assert answer.headers["Allow"] == "OPTIONS, POST"


@pytest.mark.parametrize("purpose", ["prefetch", "prefetch;prerender"])
def test_a_report_of_a_page_that_nobody_looks_at_is_tallied(private: Site, purpose: str) -> None:
    said = {"t": "result", "u": "/"}
    assert private.send(said, said, HTTP_SEC_PURPOSE=purpose) == "prefetch"
    assert private.ledger()["prefetch"] == 1


def test_what_the_journal_has_no_room_for_is_said_and_counted(private: Site) -> None:
    private.door.journal.max_bytes = 0
    assert private.send({"t": "result", "u": "/"}, 5).startswith("dropped: journal, rejected: ")
    ledger = private.ledger()
    assert (ledger["dropped"], ledger["rejected"]) == ({"journal_full": 1}, {"bad_beacon": 1})


def test_a_bug_of_ours_is_counted_and_costs_one_event(
    private: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Intake.read

    def fails_at_two(intake: Intake, visit: Any, sent: Any) -> Any:
        return read(intake, visit, sent) if sent["u"] != "/2" else 1 / 0

    monkeypatch.setattr(Intake, "read", fails_at_two)
    verdict = private.send(*({"t": "result", "u": f"/{n}"} for n in (1, 2, 3)))
    assert verdict == "accepted, dropped: failure, accepted"
    assert private.ledger()["dropped"] == {"failure": 1}


def test_when_nothing_can_be_written_the_answer_is_the_same(
    private: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(private.door.journal, "write", lambda _events: 1 / 0)
    assert private.send({"t": "result", "u": "/"}, {"t": "result", "u": "/"}) == (
        "dropped: journal, dropped: journal"
    )
    assert private.ledger()["dropped"] == {"failure": 2}


# -- whose pages may report ------------------------------------------------------------------------

ALLOWED = "https://www.nps.gov"
GOOD: dict[str, dict[str, str]] = {
    "its own page": {"HTTP_ORIGIN": "https://search.example", "HTTP_SEC_FETCH_SITE": "same-origin"},
    "its own page in an old browser": {"HTTP_ORIGIN": "https://search.example"},
    "its own page without a word": {},
    "its own page behind TLS": {"HTTP_ORIGIN": "https://search.example", "wsgi.url_scheme": "http"},
    "its own page at a named port": {
        "HTTP_ORIGIN": "https://search.example",
        "HTTP_HOST": "Search.Example:443",
    },
    "its own page at another port": {
        "HTTP_ORIGIN": "http://search.example:8080",
        "HTTP_HOST": "search.example:8080",
    },
    "its own page, which hides its address": {
        "HTTP_ORIGIN": "null",
        "HTTP_SEC_FETCH_SITE": "same-origin",
    },
    "its own page, whose host a proxy changed": {
        "HTTP_ORIGIN": "https://search.example",
        "HTTP_SEC_FETCH_SITE": "same-origin",
        "HTTP_HOST": "backend:8000",
    },
    "an allowed page": {"HTTP_ORIGIN": ALLOWED, "HTTP_SEC_FETCH_SITE": "cross-site"},
    "an allowed page next door": {"HTTP_ORIGIN": ALLOWED, "HTTP_SEC_FETCH_SITE": "same-site"},
    "an allowed page in an old browser": {"HTTP_ORIGIN": ALLOWED},
}
FOREIGN: dict[str, dict[str, str]] = {
    "another site": {"HTTP_ORIGIN": "https://evil.example", "HTTP_SEC_FETCH_SITE": "cross-site"},
    "another site in an old browser": {"HTTP_ORIGIN": "https://evil.example"},
    "another site without an origin": {"HTTP_SEC_FETCH_SITE": "cross-site"},
    "another site that claims to be this": {
        "HTTP_ORIGIN": "https://search.example",
        "HTTP_SEC_FETCH_SITE": "cross-site",
    },
    "a page of nowhere": {"HTTP_ORIGIN": "null"},
    "a page of nowhere, by its browser": {
        "HTTP_ORIGIN": "null",
        "HTTP_SEC_FETCH_SITE": "cross-site",
    },
    "another host next door": {
        "HTTP_ORIGIN": "https://www.search.example",
        "HTTP_SEC_FETCH_SITE": "same-site",
    },
    "another port": {"HTTP_ORIGIN": "https://search.example:8443"},
    "the allowed host by http": {"HTTP_ORIGIN": "http://www.nps.gov"},
    "the allowed host at another port": {"HTTP_ORIGIN": "https://www.nps.gov:8443"},
    "a host that begins like it": {"HTTP_ORIGIN": "https://www.nps.gov.evil.example"},
    "a host that ends like it": {"HTTP_ORIGIN": "https://evilwww.nps.gov"},
    "the allowed one and another": {"HTTP_ORIGIN": "https://www.nps.gov, https://evil.example"},
}
CORS = {
    "Access-Control-Allow-Origin": ALLOWED,
    "Access-Control-Allow-Credentials": "true",
    "Access-Control-Expose-Headers": "X-ClickMW",
}


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path, "private", allowed_origins=[ALLOWED])
    site.web.extra_environ["HTTP_HOST"] = "search.example"
    yield site
    site.door.worker.close()


def cors_of(answer: TestResponse) -> dict[str, str]:
    assert "Origin" in answer.headers["Vary"]
    return {name: value for name, value in answer.headers.items() if name.startswith("Access-")}


@pytest.mark.parametrize("environ", GOOD.values(), ids=GOOD)
def test_a_page_that_may_report_is_heard(collector: Site, environ: dict[str, str]) -> None:
    said = json.dumps([{"t": "result", "u": "/"}])
    answer = collector.web.post("/_clicks/e", said, status=204, extra_environ=environ)
    assert answer.headers["X-ClickMW"] == "accepted"
    assert cors_of(answer) == (CORS if environ.get("HTTP_ORIGIN") == ALLOWED else {})


@pytest.mark.parametrize("environ", FOREIGN.values(), ids=FOREIGN)
def test_a_page_that_may_not_is_tallied_and_keeps_its_redirects(
    collector: Site, environ: dict[str, str]
) -> None:
    said = json.dumps([{"t": "result", "u": "/"}] * 2)
    answer = collector.web.post("/_clicks/e", said, status=403, extra_environ=environ)
    assert answer.headers["X-ClickMW"] == "rejected: sent by a page of another site"
    assert cors_of(answer) == {}
    ledger = collector.ledger()
    assert (ledger["received"], ledger["rejected"]) == (0, {"foreign_beacon": 1})


def test_a_browser_that_asks_first_is_answered_for_ten_minutes(collector: Site) -> None:
    asked = {"HTTP_ORIGIN": ALLOWED, "HTTP_ACCESS_CONTROL_REQUEST_METHOD": "POST"}
    answer = collector.web.options("/_clicks/e", status=204, extra_environ=asked)
    assert cors_of(answer) == CORS | {
        "Access-Control-Allow-Methods": "OPTIONS, POST",
        "Access-Control-Allow-Headers": "Content-Type",
        "Access-Control-Max-Age": "600",
    }


@pytest.mark.parametrize("environ", FOREIGN.values(), ids=FOREIGN)
def test_a_browser_that_asks_for_another_page_learns_nothing(
    collector: Site, environ: dict[str, str]
) -> None:
    answer = collector.web.options("/_clicks/e", status=204, extra_environ=environ)
    assert cors_of(answer) == {}
    assert (collector.ledger()["received"], collector.ledger()["rejected"]) == (0, {})


# -- what reports count for ------------------------------------------------------------------------


def test_a_click_that_came_both_ways_counts_once(private: Site) -> None:
    link = private.links()[0]
    token = link.partition("/r/")[2]
    private.send({"t": "click", "k": token, "i": new_query_id(now_ms())})
    private.web.get(link, status=302)
    private.send({"t": "click", "k": token, "i": new_query_id(now_ms())})
    sql = "SELECT source, counted, drop_reason, trust, user_activated FROM clicks ORDER BY event_id"
    assert private.rows(sql) == [
        ("beacon", 1, None, "signed", 1),
        ("redirect", 0, "duplicate", "signed", None),
        ("beacon", 0, "duplicate", "signed", 1),
    ]


def test_a_reported_click_on_a_shared_page_belongs_to_its_view(shared: Site) -> None:
    token, view = shared.links()[1].partition("/r/")[2], new_query_id(now_ms())
    shared.send({"t": "view", "k": token, "v": view}, {"t": "click", "k": token, "v": view})
    assert shared.rows("SELECT query, counted FROM clicks") == [("tax form", 1)]
    reader, today = shared.door.routes.open_reader(), shared.door.routes.today(None)
    totals = reader.totals(Filter(first_day=today, last_day=today))
    assert (totals.searches, totals.searches_clicked, totals.clicks) == (1, 1, 1)


def test_a_page_of_ones_own_making_has_searches_and_clicks(private: Site) -> None:
    search = new_query_id(now_ms())
    results = [{"u": "/a"}, {"u": "/b"}]
    private.send({"t": "search", "g": search, "q": "Tax", "n": 2, "m": "APP", "r": results})
    private.send({"t": "result", "g": search, "u": "/b", "p": 2, "m": "APP"})
    assert private.rows("SELECT query, total_hits, source, trust, counted FROM searches") == [
        ("tax", 2, "beacon", "anonymous", 1)
    ]
    assert private.rows("SELECT url, position, module_code FROM impressions ORDER BY position") == [
        ("/a", 1, "APP"),
        ("/b", 2, "APP"),
    ]
    assert private.rows("SELECT query, url, position, counted FROM clicks") == [("tax", "/b", 2, 1)]


def test_what_was_seen_at_no_known_place_marks_nothing_and_spoils_nothing(private: Site) -> None:
    token = private.links()[0].partition("/r/")[2]
    places = [[["BWEB", 0]], [["BWEB", 0], ["BWEB", 2]]]
    verdicts = private.send(*({"t": "seen", "k": token, "p": each} for each in places))
    assert verdicts == "accepted, accepted"
    sql = "SELECT position FROM impressions WHERE seen_at IS NOT NULL"
    assert private.rows(sql) == [(2,)]


def test_an_order_that_is_reported_again_counts_once(private: Site) -> None:
    order = {"t": "conversion", "x": "A-17", "y": 19.5, "c": "EUR"}
    private.send(order)
    private.send(order, REMOTE_ADDR="198.51.100.8")
    assert private.rows("SELECT order_id, value, counted FROM conversions ORDER BY event_id") == [
        ("A-17", 19.5, 1),
        ("A-17", 19.5, 0),
    ]


def test_opinions_and_answers_are_kept_with_their_search(private: Site) -> None:
    search = private.links()[0].split(":")[1]
    private.send(
        {"t": "feedback", "g": search, "y": 8, "x": "found it"},
        {"t": "answer", "g": search, "q": "When?", "x": "In April.", "y": True},
    )
    assert private.rows("SELECT query, score, comment FROM feedback") == [
        ("tax form", 8, "found it")
    ]
    assert private.rows("SELECT query, question, answer, is_question FROM answers") == [
        ("tax form", "When?", "In April.", 1)
    ]


def test_the_ledger_balances_whatever_was_reported(private: Site) -> None:
    token = private.links()[0].partition("/r/")[2]
    said: list[Any] = [{"t": "seen", "k": token, "p": [["BWEB", 1]]}, {"t": "result", "u": "/"}]
    private.send({"t": "return", "k": token, "s": 9}, 5, *said)
    private.send(*said, HTTP_SEC_GPC="1")
    private.rows("SELECT 1")
    health = private.door.routes.read_health()
    assert (health["received"], health["opted_out"], health["stored"]) == (6, 2, 4)
    assert health["rejected"] == {"bad_beacon": 1}


def test_each_of_many_behind_one_address_looks_at_a_shared_page(shared: Site) -> None:
    link = shared.links()[0]
    assert [shared.send(view_of(link)) for _ in range(12)] == ["accepted"] * 12
    assert shared.rows("SELECT count(*) FROM searches WHERE NOT shared") == [(12,)]


@pytest.mark.usefixtures("still_limits")
def test_a_view_that_is_said_again_and_again_is_limited(shared: Site) -> None:
    view = view_of(shared.links()[0])
    verdicts = [shared.send(view) for _ in range(12)]
    assert verdicts.count("dropped: rate") == 7
    assert shared.rows("SELECT count(*) FROM searches WHERE counted") == [(1,)]


@pytest.mark.usefixtures("still_limits")
def test_a_flood_of_views_is_answered_and_tallied(shared: Site) -> None:
    link = shared.links()[0]
    verdicts = shared.send(*(view_of(link) for _ in range(45))).split(", ")
    dropped = verdicts.count("dropped: rate")
    assert dropped == 25
    assert shared.rows("SELECT count(*) FROM searches WHERE NOT shared") == [(45 - dropped,)]
    assert shared.door.routes.read_health()["dropped"] == {"rate": dropped}


def test_where_no_thread_is_to_be_had_a_page_drains_when_it_has_left(private: Site) -> None:
    private.door.worker.has_threads = False
    private.links()
    with sqlite3.connect(private.folder / "clicks.db") as connection:
        assert connection.execute("SELECT query FROM searches").fetchall() == [("tax form",)]
