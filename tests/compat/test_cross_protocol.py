"""All click APIs together: the same click in five ways is the same row, and none of them is ever broken."""

from __future__ import annotations

import gzip
import json
import re
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from hashlib import md5
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest
from webtest import TestApp, TestRequest

from clickmw import ClickMW
from clickmw.compat import find_protocols
from clickmw.events import Event, new_query_id
from clickmw.journal import read_records, segment_paths
from clickmw.mcp import Mcp
from clickmw.recorder import now_ms
from clickmw.tokens import LinkSigner, LinkTarget

SECRET = "thirty-two characters or more are fine"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
TARGET = "https://alpha.example/shoes"
QUERY = "Running Shoes"
READ_KEY = "a key that reads"
SITE = {
    "handle": "shop",
    "hosts": ["www.shop.example"],
    "access_key": "basic_key",
    "index_key": "testkey",
    "tracking_key": "K1",
    "publisher": {"id": 45, "name": "Example Publisher"},
    "api_keys": [{"key": READ_KEY}],
    "advertisers": [
        {"id": 123, "name": "Alpha Store", "slug": "alpha-store", "hosts": ["alpha.example"]}
    ],
}
PAGE = (
    f'<ol data-click-module="I14Y" data-click-query="{QUERY}" data-click-offset="2">'
    f'<li><a data-click href="{TARGET}">Shoes</a></li></ol>'
)


class Sent(NamedTuple):
    """One request of a sender, its path from the root of the API."""

    method: str
    path: str
    body: bytes = b""
    content_type: str = ""


def results(_environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/html"), ("Cache-Control", "private")])
    return [PAGE.encode()]


@pytest.fixture
def clicks(tmp_path: Path) -> Iterator[ClickMW]:
    """A page of results with clickmw around it."""
    store = f"sqlite:///{tmp_path}/clicks.db"
    made = ClickMW(results, secret=SECRET, store=store, sites=[SITE], redirect_rate=None)
    yield made
    made.door.worker.close()


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickMW]:
    """The same for all who are refused: its journal stays empty."""
    store = f"sqlite:///{tmp_path_factory.mktemp('untouched')}/clicks.db"
    made = ClickMW(results, secret=SECRET, store=store, sites=[SITE], redirect_rate=None)
    yield undrained(made)
    made.door.worker.close()


@pytest.fixture
def browser(clicks: ClickMW) -> TestApp:
    """The visitor who searches and follows links."""
    environ = {
        "REMOTE_ADDR": "203.0.113.5",
        "HTTP_USER_AGENT": FIREFOX,
        "HTTP_HOST": "www.shop.example",
    }
    return TestApp(clicks, extra_environ=environ)


def send(app: Any, sent: Sent, prefix: str = "/_clicks/", **headers: str) -> int:
    """Send as a server does that reports for its visitors; return the status."""
    environ = {
        "REMOTE_ADDR": "198.51.100.9",
        "HTTP_USER_AGENT": "okhttp/4.12.0",
        "CONTENT_TYPE": sent.content_type,
        **headers,
    }
    request = TestRequest.blank(
        prefix + sent.path, environ, method=sent.method, body=sent.body or None
    )
    return int(request.get_response(app).status_int)


# -- one click, five ways --------------------------------------------------------------------------


def searchgov(url: str) -> Sent:
    fields = {
        "url": url,
        "query": QUERY,
        "position": 3,
        "module_code": "I14Y",
        "affiliate": "shop",
        "access_key": "basic_key",
    }
    form = urlencode(fields).encode()
    return Sent(
        "POST", "technology/searchgov/v2/clicks/", form, "application/x-www-form-urlencoded"
    )


def addsearch(url: str) -> Sent:
    event = {
        "action": "click",
        "session": "a-99496145",
        "keyword": QUERY,
        "docid": md5(url.encode(), usedforsecurity=False).hexdigest(),
        "position": 3,
    }
    return Sent("POST", "v1/stats/testkey/", json.dumps(event).encode(), "text/plain")


def searchstax(url: str) -> Sent:
    properties = {
        "key": "K1",
        "session": "s1",
        "_vid": "v1",
        "query": QUERY,
        "cDocId": url,
        "cDocTitle": "Shoes",
        "position": 3,
    }
    event = json.dumps({"event": "_searchclick", "properties": properties})
    return Sent("GET", f"api/v2/track/?{urlencode({'data': b64encode(event.encode())})}")


def vtexads(click_url: str) -> Sent:
    ids = json.dumps({"user_id": "u1", "session_id": "s1"}).encode()
    return Sent("POST", click_url, ids, "application/json")


def ad_click(clicks: ClickMW) -> Sent:
    """Return the beacon of an ad that leads where the results lead."""
    made = clicks.ad_urls("ad-1", url=TARGET, query=QUERY, position=3, site="shop")
    return vtexads(made.click_url.partition("/_clicks/")[2])


def follow(browser: TestApp) -> str:
    """Search and follow the result; return its link."""
    link: str = browser.get("/search").html.a["href"]
    assert browser.get(link, status=302).headers["Location"] == TARGET
    return link


def settle(clicks: ClickMW) -> None:
    """Wait for the drain as long as a busy machine needs."""
    clicks.door.worker.catch_up(30.0)


def undrained(clicks: ClickMW) -> ClickMW:
    """Let nobody drain until it is asked for: all tallies stay where they are counted."""
    worker = clicks.door.worker
    worker.has_threads, worker.drain.last_pass = False, float("inf")
    return clicks


def stored(clicks: ClickMW, sql: str) -> list[tuple[Any, ...]]:
    settle(clicks)
    assert clicks.door.store.check() == []
    with closing(sqlite3.connect(clicks.settings.database or "")) as database:
        return database.execute(sql).fetchall()


SHARED = "site, query, url, position, day, counted"


def report_everywhere(clicks: ClickMW, browser: TestApp) -> None:
    follow(browser)
    senders = [searchgov(TARGET), addsearch(TARGET), searchstax(TARGET), ad_click(clicks)]
    assert [send(clicks, each) for each in senders] == [200, 200, 204, 202]
    settle(clicks)


def test_one_click_reported_in_five_ways_is_five_equal_rows(
    clicks: ClickMW, browser: TestApp
) -> None:
    report_everywhere(clicks, browser)
    day = clicks.door.routes.today("shop").isoformat()
    rows = stored(clicks, f"SELECT {SHARED} FROM clicks")
    assert rows == [("shop", "running shoes", TARGET, 3, day, 1)] * 5
    sources = stored(clicks, "SELECT source FROM clicks ORDER BY source")
    expected = ["addsearch", "redirect", "searchgov", "searchstax", "vtexads"]
    assert [source for (source,) in sources] == expected


def test_the_five_ways_are_five_clicks_of_one_advertiser(clicks: ClickMW, browser: TestApp) -> None:
    report_everywhere(clicks, browser)
    today = clicks.door.routes.today("shop").isoformat()
    answer = browser.get(
        f"/_clicks/api/v1/clicks?start_date={today}&end_date={today}",
        headers={"X-Api-Key": READ_KEY},
    ).json
    (row,) = answer["data"]
    assert (row["advertiser_id"], row["advertiser_slug"], row["publisher_id"]) == (
        123,
        "alpha-store",
        45,
    )
    assert (row["click_date"], row["click_count"]) == (today, 5)


def test_the_report_counts_the_five_ways_as_five(clicks: ClickMW, browser: TestApp) -> None:
    from clickmw.stores.base import Filter

    report_everywhere(clicks, browser)
    today = clicks.door.routes.today("shop")
    with closing(clicks.door.routes.open_reader()) as reader:
        assert reader.totals(Filter(first_day=today, last_day=today)).clicks == 5
        (result,) = reader.top_results(Filter(first_day=today, last_day=today), 10)
    assert (result.url, result.clicks, result.position_mean) == (TARGET, 5, 3.0)


BROWSER = {"REMOTE_ADDR": "203.0.113.5", "HTTP_USER_AGENT": FIREFOX}


@pytest.mark.parametrize("sender", [searchgov, searchstax], ids=lambda each: each.__name__)
@pytest.mark.parametrize("reporter", [BROWSER, {}], ids=["its browser", "a server"])
@pytest.mark.parametrize("first", ["redirect", "sender"])
def test_a_link_of_ours_that_a_sender_reports_joins_the_redirect(
    first: str,
    reporter: dict[str, str],
    sender: Callable[[str], Sent],
    clicks: ClickMW,
    browser: TestApp,
) -> None:
    link: str = browser.get("/search").html.a["href"]
    if first == "redirect":
        browser.get(link, status=302)
    send(clicks, sender(f"https://www.shop.example{link}"), **reporter)
    if first == "sender":
        browser.get(link, status=302)
    rows = stored(clicks, f"SELECT {SHARED} FROM clicks")
    assert [row[:4] for row in rows] == [("shop", "running shoes", TARGET, 3)] * 2
    assert sorted(row[5] for row in rows) == [0, 1]


def test_the_aggregate_counts_a_joined_click_once(clicks: ClickMW, browser: TestApp) -> None:
    link = follow(browser)
    send(clicks, searchgov(f"https://www.shop.example{link}"))
    send(clicks, searchstax(link))
    settle(clicks)
    today = clicks.door.routes.today("shop").isoformat()
    asked = f"/_clicks/api/v1/clicks?start_date={today}&end_date={today}&api_key={READ_KEY}"
    (row,) = browser.get(asked).json["data"]
    assert row["click_count"] == 1


def test_on_a_shared_page_the_browser_that_reports_its_view_joins_the_redirect(
    clicks: ClickMW, browser: TestApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shared(_environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/html"), ("Cache-Control", "public")])
        return [PAGE.encode()]

    monkeypatch.setattr(clicks.door.rewriting, "app", shared)
    link = f"{browser.get('/search').html.a['href']}?v={new_query_id(now_ms())}"
    browser.get(link, status=302)
    send(clicks, searchstax(f"https://www.shop.example{link}"), **BROWSER)
    rows = stored(clicks, "SELECT counted FROM clicks ORDER BY counted")
    assert rows == [(0,), (1,)]


# -- a collector of its own ------------------------------------------------------------------------


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[str]:
    """The address of ``clickmw serve``."""
    site = "\n".join(
        f"{name} = {json.dumps(value)}" for name, value in SITE.items() if isinstance(value, str)
    )
    config = tmp_path / "clickmw.toml"
    config.write_text(
        f"secret = {json.dumps(SECRET)}\nstore = 'sqlite:///{tmp_path}/clicks.db'\n"
        f"trusted_proxies = 1\n[[sites]]\n{site}\nhosts = ['www.shop.example']\n"
        f"publisher = {{ id = 45, name = 'Example Publisher' }}\n"
        f"api_keys = [ {{ key = {json.dumps(READ_KEY)}, scope = 'read' }} ]\n"
        "[[sites.advertisers]]\nid = 123\nname = 'Alpha Store'\nslug = 'alpha-store'\n"
        "hosts = ['alpha.example']\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "clickmw", "--config", str(config), "serve"]
    with open(tmp_path / "serve.log", "w") as log:
        process = subprocess.Popen([*command, "--port", str(port)], stdout=log, stderr=log)
    try:
        wait_for(port, process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        try:
            socket.create_connection(("127.0.0.1", port), 0.5).close()
        except OSError:
            assert process.poll() is None, "clickmw serve ended"
            time.sleep(0.1)
        else:
            return
    pytest.fail("clickmw serve does not answer")


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def fetch(address: str, sent: Sent, **headers: str) -> tuple[int, bytes]:
    """Return status and body of a real request."""
    request = urllib.request.Request(
        f"{address}/{sent.path}", data=sent.body or None, method=sent.method
    )
    request.add_header("User-Agent", "okhttp/4.12.0")
    if sent.content_type:
        request.add_header("Content-Type", sent.content_type)
    for name, value in headers.items():
        request.add_header(name.replace("_", "-"), value)
    try:
        with urllib.request.build_opener(NoRedirect).open(request, timeout=20) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def daily_clicks(address: str, day: str) -> list[tuple[int, int]]:
    period = Sent("GET", f"api/v1/clicks?start_date={day}&end_date={day}")
    status, body = fetch(address, period, X_Api_Key=READ_KEY)
    assert status == 200, body
    return [(row["advertiser_id"], row["click_count"]) for row in json.loads(body)["data"]]


def eventually(ask: Callable[[], Any], wanted: Any) -> Any:
    """Return what *ask* answers once it is *wanted*, or after a minute: the drain takes its time."""
    for _ in range(600):
        if (found := ask()) == wanted:
            break
        time.sleep(0.1)
    return found


def test_a_collector_of_its_own_counts_the_five_ways_at_native_paths(
    collector: str, tmp_path: Path
) -> None:
    asked = urlencode({"ad_id": "ad-1", "url": TARGET, "query": QUERY, "position": 3})
    status, made = fetch(collector, Sent("GET", f"v1/beacon/urls?{asked}"), X_Api_Key=READ_KEY)
    assert status == 200, made
    click_url = json.loads(made)["click_url"].partition("/_clicks/")[2]
    link = LinkTarget("shop", new_query_id(now_ms()), 3, "I14Y", "", TARGET)
    token = LinkSigner(SECRET).sign_link(link)
    told = [
        fetch(collector, Sent("GET", f"_clicks/r/{token}"), User_Agent=FIREFOX),
        fetch(collector, searchgov(TARGET)),
        fetch(collector, searchstax(TARGET)),
        fetch(collector, vtexads(click_url)),
        fetch(collector, addsearch(TARGET)),
    ]
    assert [status for status, _ in told] == [302, 200, 204, 202, 200]
    today = time.strftime("%Y-%m-%d", time.gmtime())
    assert eventually(lambda: daily_clicks(collector, today), [(123, 5)]) == [(123, 5)]
    with closing(sqlite3.connect(tmp_path / "clicks.db")) as database:
        shared = database.execute("SELECT site, url, position, day, counted FROM clicks").fetchall()
    assert shared == [("shop", TARGET, 3, today, 1)] * 5


def test_a_collector_behind_a_proxy_knows_what_the_proxy_says(
    collector: str, tmp_path: Path
) -> None:
    asked = Sent("GET", "v1/beacon/urls?ad_id=ad-1")
    _, made = fetch(collector, asked, X_Api_Key=READ_KEY, X_Forwarded_Proto="https")
    assert json.loads(made)["click_url"].startswith("https://")
    link = LinkTarget("shop", new_query_id(now_ms()), 3, "I14Y", "", TARGET)
    follow = Sent("GET", f"_clicks/r/{LinkSigner(SECRET).sign_link(link)}")
    for address in ("198.51.100.7", "203.0.113.9", "203.0.113.9"):
        fetch(collector, follow, User_Agent=FIREFOX, X_Forwarded_For=address)
    today = time.strftime("%Y-%m-%d", time.gmtime())
    assert eventually(lambda: daily_clicks(collector, today), [(123, 2)]) == [(123, 2)]


def test_a_collector_does_not_wait_for_what_it_would_never_read(collector: str) -> None:
    port = int(collector.rpartition(":")[2])
    head = b"POST /v1/stats/testkey/ HTTP/1.1\r\nHost: a\r\nContent-Length: 900000000\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        connection.sendall(head)
        assert connection.recv(12) == b"HTTP/1.1 413"


def test_a_collector_has_nothing_else_at_its_root(collector: str) -> None:
    for path in ("", "favicon.ico", "api/v2/clicks", "v1/stats/", "health"):
        assert fetch(collector, Sent("GET", path)) == (404, b""), path


# -- what strangers send ---------------------------------------------------------------------------

ENDPOINTS = [each for one in (*find_protocols(), Mcp) for each in one.endpoints]
#: Every path with a key or an ad where it is left open, and every method that is documented there.
ADDRESSES = [
    (method.upper(), each.path.replace("{key}", "testkey").replace("{ad_id}", "ad-1"))
    for each in ENDPOINTS
    for method in each.operations
]
LONG = b"x" * 70_000
HOSTILE: dict[str, tuple[bytes, dict[str, str]]] = {
    "a terabyte is announced": (b"", {"CONTENT_LENGTH": str(10**12)}),
    "a negative length": (b"", {"CONTENT_LENGTH": "-1"}),
    "a length that is a word": (b"", {"CONTENT_LENGTH": "abc"}),
    "cut short": (b'{"action":', {"CONTENT_LENGTH": "500"}),
    "too long": (b'{"a":"' + LONG + b'"}', {}),
    "too long a form": (b"url=" + LONG, {"CONTENT_TYPE": "application/x-www-form-urlencoded"}),
    "deep": (b"[" * 30_000 + b"]" * 30_000, {}),
    "deeper than allowed": (b'{"a":' * 40 + b"1" + b"}" * 40, {}),
    "never closed": (b'{"a":' * 10_000, {}),
    "compressed": (gzip.compress(bytes(1_000_000)), {"HTTP_CONTENT_ENCODING": "gzip"}),
    "NaN": (b'{"position":NaN,"user_id":NaN}', {}),
    "beyond all numbers": (b'{"position":1e999}', {}),
    "thousands of digits": (b'{"position":' + b"9" * 5000 + b"}", {}),
    "half a character": (b'{"keyword":"\\ud800","user_id":"\\udfff"}', {}),
    "a name twice": (b'{"user_id":"a","user_id":"b"}', {}),
    "a key twice": (
        b"access_key=basic_key&access_key=x&affiliate=shop&affiliate=y&data=e30&data=e30",
        {"CONTENT_TYPE": "application/x-www-form-urlencoded"},
    ),
    "no UTF-8": (b'{"user_id":"\xff\xfe"}', {}),
    "UTF-16": ('{"user_id":"a"}'.encode("utf-16"), {}),
    "nothing": (b"", {}),
    "a number": (b"7", {}),
    "null": (b"null", {}),
    "too many fields": (
        b"&".join(b"a%d=1" % number for number in range(300)),
        {"CONTENT_TYPE": "application/x-www-form-urlencoded"},
    ),
    "too many parameters": (b"", {"QUERY_STRING": "&".join(f"a{n}=1" for n in range(300))}),
    "a query string of no characters": (b"", {"QUERY_STRING": "data=%FF&url=%ED%A0%80&q=%00%C0%AF"}),
    "a query string as long as a body": (b"", {"QUERY_STRING": "data=" + "A" * 70_000}),
    "base64 of nonsense": (b"", {"QUERY_STRING": "data=/w=="}),
}  # fmt: skip


def in_journal(clicks: ClickMW) -> list[Event]:
    """Return every event that was acknowledged, whether it has been drained or not."""
    return [
        stored.event
        for path in segment_paths(clicks.door.journal.folder)
        for record in read_records(path, 0, most=10_000, sealed=True)
        for stored in record.events
    ]


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize(
    ("method", "path"), ADDRESSES, ids=[f"{method} {path}" for method, path in ADDRESSES]
)
def test_what_no_sender_sends_is_refused_and_leaves_nothing(
    method: str, path: str, hostile: str, untouched: ClickMW
) -> None:
    body, headers = HOSTILE[hostile]
    given = {"CONTENT_TYPE": "application/json", "HTTP_USER_AGENT": FIREFOX, **headers}
    environ = TestRequest.blank(f"/_clicks/{path}", method=method, body=body or None).environ
    environ.update(given, REQUEST_METHOD=method, HTTP_HOST="www.shop.example")
    status = TestRequest(environ).get_response(untouched).status_int
    assert status < 500
    assert in_journal(untouched) == []
    assert "rejected.failure" not in untouched.door.journal.pending_tallies()


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "BREW", ""])
@pytest.mark.parametrize("path", sorted({path for _, path in ADDRESSES}))
def test_a_method_that_nobody_sends_is_refused(path: str, method: str, untouched: ClickMW) -> None:
    environ = TestRequest.blank(f"/_clicks/{path}").environ
    environ["REQUEST_METHOD"] = method
    assert 400 <= TestRequest(environ).get_response(untouched).status_int < 500
    assert in_journal(untouched) == []


#: The JSON of a good event, field by field, with the path it goes to.
GOOD: dict[str, tuple[str, dict[str, str]]] = {
    "searchgov": (
        "api/v2/click",
        {
            "url": f'"{TARGET}"',
            "query": '"shoes"',
            "position": "1",
            "module_code": '"I14Y"',
            "affiliate": '"shop"',
            "access_key": '"basic_key"',
            "vertical": '"web"',
        },
    ),
    "addsearch click": (
        "v1/stats/testkey",
        {
            "action": '"click"',
            "session": '"s1"',
            "keyword": '"shoes"',
            "docid": '"d1"',
            "position": "1",
            "tag": '"t"',
        },
    ),
    "addsearch search": (
        "v1/stats/testkey",
        {"action": '"search"', "keyword": '"shoes"', "numberOfResults": "4", "session": '"s1"'},
    ),
    "searchstax": (
        "api/v2/track",
        {
            "key": '"K1"',
            "session": '"s1"',
            "_vid": '"v1"',
            "query": '"shoes"',
            "totalHits": "9",
            "pageNo": "1",
            "shownHits": "10",
            "impressions": f'[{{"cDocId":"{TARGET}","cDocTitle":"Shoes","position":1}}]',
            "language": '"en-us"',
            "model": '"m"',
        },
    ),
    "vtexads click": ("v1/beacon/click/ad-1", {"user_id": '"u1"', "session_id": '"s1"'}),
    "vtexads order": (
        "v1/beacon/conversion",
        {
            "user_id": '"u1"',
            "session_id": '"s1"',
            "order_id": '"o1"',
            "publisher_id": '"45"',
            "items": '[{"sku":"1","quantity":2,"price":1.5,"promotional_price":1.0}]',
            "created_at": '"2026-01-01T09:20:00Z"',
        },
    ),
}
ODD_VALUES = [
    "null",
    "true",
    "-1",
    "0",
    "1.5",
    "1e300",
    "9" * 400,
    "-" + "9" * 4000,
    '""',
    '" "',
    '"\\u0000"',
    '"a\\u0000\\r\\nb\\u001b[31m"',
    '"\\u202etxt"',
    '"\\ud83d\\ude00"',
    json.dumps("\u00e9" * 30_000),
    '"https://alpha.example/\\u0000\\n"',
    '"' + "9" * 5000 + '"',
    "[]",
    "{}",
    "[" * 20 + "]" * 20,
    "[null]",
    '[{"a":[1,{"b":"' + "x" * 5000 + '"}]}]',
    json.dumps([{"cDocId": "x", "sku": "y", "position": 10**30, "quantity": 10**30}] * 300),
]


def as_json(name: str, fields: dict[str, str]) -> Sent:
    text = ",".join(f'"{field}":{value}' for field, value in fields.items())
    if name == "searchstax":
        text = f'"event":"_search","properties":{{{text}}}'
    return Sent("POST", GOOD[name][0], f"{{{text}}}".encode(), "application/json")


@pytest.mark.parametrize("name", GOOD)
def test_a_good_event_is_kept(name: str, clicks: ClickMW) -> None:
    status = send(clicks, as_json(name, GOOD[name][1]), HTTP_HOST="www.shop.example")
    assert (status // 100, len(in_journal(clicks))) == (2, 1)


@pytest.mark.parametrize(
    ("name", "field"),
    [(name, field) for name, (_, fields) in GOOD.items() for field in fields],
)
def test_an_odd_value_is_refused_or_kept_clean(name: str, field: str, clicks: ClickMW) -> None:
    kept = 0
    for value in ODD_VALUES:
        sent = as_json(name, GOOD[name][1] | {field: value})
        status = send(clicks, sent, HTTP_HOST="www.shop.example")
        assert status < 500, value[:80]
        kept += status < 300
    events = in_journal(clicks)
    assert len(events) == kept
    for text in filter(lambda each: isinstance(each, str), (v for event in events for v in event)):
        assert not re.search("[\0-\x1f\x7f\ud800-\udfff]", text), text
    settle(clicks)
    ledger = clicks.door.routes.read_health()
    assert (ledger["stored"], ledger["dropped"], ledger["pending"]) == (kept, {}, 0)
    assert "failure" not in ledger["rejected"]
    assert clicks.door.store.check() == []


# -- too often, and not now ------------------------------------------------------------------------


@pytest.mark.usefixtures("still_limits")
@pytest.mark.parametrize("name", GOOD)
def test_above_the_rate_each_answers_429_and_keeps_nothing_more(name: str, tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/clicks.db"
    clicks = ClickMW(results, secret=SECRET, store=store, sites=[SITE], redirect_rate=1)
    sent = as_json(name, GOOD[name][1])
    try:
        told = [send(clicks, sent, HTTP_HOST="www.shop.example") for _ in range(200)]
        assert {status // 100 for status in told[:100]} == {2}
        assert told[-1] == 429
        assert len(in_journal(clicks)) == 200 - told.count(429)
        settle(clicks)
        assert clicks.door.routes.read_health()["rejected"] == {"rate": told.count(429)}
    finally:
        clicks.door.worker.close()


@pytest.mark.parametrize("name", GOOD)
def test_what_cannot_be_kept_is_not_acknowledged(name: str, tmp_path: Path) -> None:
    (tmp_path / "a file").write_text("no folder")
    clicks = undrained(
        ClickMW(
            results,
            secret=SECRET,
            store=f"sqlite:///{tmp_path}/clicks.db",
            journal=str(tmp_path / "a file" / "journal"),
            sites=[SITE],
        )
    )
    try:
        sent = as_json(name, GOOD[name][1])
        assert send(clicks, sent, HTTP_HOST="www.shop.example") == 503
        assert sum(clicks.door.journal.pending_tallies().values()) == 1
    finally:
        clicks.door.worker.close()


@pytest.mark.parametrize("name", GOOD)
def test_who_opted_out_hears_that_all_is_well_and_leaves_nothing(
    name: str, clicks: ClickMW
) -> None:
    sent = as_json(name, GOOD[name][1])
    status = send(undrained(clicks), sent, HTTP_HOST="www.shop.example", HTTP_SEC_GPC="1")
    assert (status // 100, in_journal(clicks)) == (2, [])
    assert clicks.door.journal.pending_tallies() == {"opted_out": 1}


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize(("agent", "robot"), [("curl/8.5.0", ""), ("Googlebot/2.1", "googlebot")])
def test_only_a_crawler_that_says_so_is_a_robot(
    agent: str, robot: str, name: str, clicks: ClickMW
) -> None:
    send(
        clicks,
        as_json(name, GOOD[name][1]),
        HTTP_HOST="www.shop.example",
        HTTP_USER_AGENT=agent,
    )
    (event,) = in_journal(clicks)
    assert event.robot == robot
