"""The report, the numbers for programs and their doors: who may look, and what strangers' text does there."""

from __future__ import annotations

import ast
import csv
import io
import re
import time
from base64 import b64encode
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

import pytest

from clickmw.catalog import PAGES, PANELS
from clickmw.errors import StoreError
from clickmw.events import Click, Conversion, Feedback, Search, Shown, new_query_id
from clickmw.keyring import KeyRing
from clickmw.owner import OWNED
from clickmw.recorder import now_ms

threat = pytest.mark.threat
CHECKOUT = Path(__file__).resolve().parents[2]
FORM = "application/x-www-form-urlencoded"
PASSWORD = "a password of the owner"

WAYS_OUT = [
    "",
    '">',
    "'>",
    "</title>",
    "</script>",
    "</textarea>",
    "</style>",
    "-->",
    "]]>",
    "</svg>",
]
PAYLOADS = [
    "<img id=xss src=x onerror=alert(1)>",
    "<svg id=xss onload=alert(1)>",
    "<script id=xss>alert(1)</script>",
    "<a id=xss href=javascript:alert(1)>x</a>",
    "<iframe id=xss srcdoc='<script>alert(1)</script>'></iframe>",
    '" id="xss" autofocus onfocus="alert(1)" x="',
]
HOSTILE = [way + payload for way in WAYS_OUT for payload in PAYLOADS]


class Tags(HTMLParser):
    """What came to life in a page: elements and attributes that no template of ours has."""

    def __init__(self) -> None:
        super().__init__()
        self.alive: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if tag in ("img", "iframe", "object", "embed", "style") or named.get("id") == "xss":
            self.alive.append(tag)
        if tag == "script" and not (named.get("src") or "").endswith("/report.js"):
            self.alive.append(tag)
        self.alive += [name for name in named if name.startswith("on") or name == "style"]
        href = (named.get("href") or "").lower()
        if ":" in href.partition("/")[0] and not href.startswith(("http:", "https:", "data:,")):
            self.alive.append(href)


def written_by_strangers(site: Any, texts: list[str]) -> None:
    """Keep searches, clicks, scores and orders with *texts* wherever a stranger's text can stand."""
    now = now_ms()
    for number, text in enumerate(texts):
        page, url = (
            new_query_id(now - number),
            ("javascript:alert(1)//", "https://a.example/")[number % 2],
        )
        who: dict[str, Any] = {"received_ms": now - number, "site": "default", "query_id": page}
        told = {"language": text, "profile": text, "source": text, "visitor": f"{number:016x}"}
        shown = (Shown(url + text, 1, text, "", text),)
        site.keep(
            Search(query=text, impressions=shown, total_hits=1, tag=text, **who, **told),
            Click(url=url + text, position=1, module_code=text, title=text, **who, **told),
            Feedback(score=3, comment=text, query=text, **who, **told),
            Conversion(
                order_id=text, currency=text, items=text, url=url + text, source=text, **who
            ),
        )


def about(name: str, texts: list[str]) -> str:
    needs = (PAGES.get(name) or PANELS.get(name) or PANELS["queries"]).needs
    subject = {"query": {"query": texts[0]}, "url": {"url": "javascript:alert(1)//" + texts[0]}}
    return urlencode({**subject.get(needs, {}), "limit": "100"})


@threat("T-50", asvs="1.2.1, 3.4.3")
def test_t50_text_of_strangers_stays_text_in_pages_and_files(open_site: Any) -> None:
    written_by_strangers(open_site, HOSTILE)
    assert open_site.count("SELECT count(*) FROM clicks") == len(HOSTILE)
    assert (open_site.count("SELECT count(*) FROM feedback"), len(HOSTILE)) == (60, 60)
    for name in ("", *PANELS, *PAGES, "definitions", "setup", "shares"):
        page = open_site.report(name, about(name, HOSTILE))
        assert page.status == 200, name
        tags = Tags()
        tags.feed(page.text)
        assert tags.alive == [], name
        if name in PANELS:
            table = open_site.report(f"{name}.json", about(name, HOSTILE))
            assert (table.status, b"<" in table.body) == (200, False)
            assert table.headers["content-type"] == "application/json"
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


@pytest.mark.wide
@threat("T-50", asvs="1.2.1, 3.4.3")
def test_t50_nothing_comes_to_life_in_a_browser(
    real_site: Any, profile_of: Any, tmp_path: Path
) -> None:
    real_site.start(tmp_path / "open", report_auth=lambda _environ: True)

    class Kept:
        keep = staticmethod(real_site.clicks.door.recorder.record)

    written_by_strangers(Kept(), HOSTILE)
    tab = profile_of().new_page()
    dialogs, complaints = [], []
    tab.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    tab.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    for name in ("", "queries", "results", "live", "to-fix", "breakdown"):
        tab.goto(f"{real_site.address}/_clicks/report/{name}?{about(name, HOSTILE)}")
        assert tab.locator("#xss, iframe, img, [onerror], [onload], [onfocus]").count() == 0
    assert (dialogs, complaints) == ([], [])


STARTS = [
    "=",
    "+",
    "-",
    "@",
    "\t=",
    "\r=",
    "\n=",
    "\0=",
    "\uff1d",
    "\uff0b",
    "\uff0d",
    "\uff20",
    '"=',
    "'=",
    " =",
    "\u00a0=",
]


@threat("T-51", asvs="1.2.10")
def test_t51_no_cell_of_a_table_is_a_formula(open_site: Any) -> None:
    texts = [f"{start}1+{number}" for number, start in enumerate(STARTS)]
    written_by_strangers(open_site, texts)
    for name in ("overview", *PANELS):
        answer = open_site.report(f"{name}.csv", about(name, texts))
        assert answer.headers["content-disposition"].startswith("attachment")
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        assert answer.headers["x-content-type-options"] == "nosniff"
        table = list(csv.reader(io.StringIO(answer.body.decode(), newline="")))
        assert {len(row) for row in table} == {len(table[0])}, name
        cells = [cell for row in table for cell in row]
        # A number below zero stays a number.
        running = [
            each
            for each in cells
            if re.match(r"[=+@\t\r\n\0\uff1d\uff0b\uff0d\uff20]|-(?!\d+(\.\d+)?$)", each)
        ]
        assert running == [], name


INJECTED = [
    "' OR 1=1--",
    "'; DROP TABLE click;--",
    "%",
    "_",
    "\\",
    '" OR ""="',
    "a' UNION SELECT 1--",
    "\0",
]


@threat("T-52", asvs="1.2.4")
@pytest.mark.parametrize("text", INJECTED)
def test_t52_what_is_asked_is_data_to_the_database(text: str, open_site: Any) -> None:
    now = now_ms()
    open_site.keep(Search(now, "default", new_query_id(now), "tax form", (), 1, visitor="a" * 16))
    for name in ("site", "module", "device", "language", "profile", "source", "trust", "q", "period",
                 "from", "to", "limit", "sort", "compare", "refresh", "query", "url"):  # fmt: skip
        for page in ("queries.json", "results.json", "overview.json", "query.json", "result.json"):
            found = open_site.report(page, urlencode({name: text}))
            assert found.status in (200, 400), (page, name)
            if name == "q" and found.status == 200 and page == "queries.json":
                assert found.json["rows"] == []
    open_site.ask("/search", query=urlencode({"q": text}))
    assert open_site.count("SELECT count(*) FROM searches WHERE query = 'tax form'") == 1
    assert open_site.rows("PRAGMA integrity_check") == [("ok",)]


@threat("T-52", asvs="1.2.4, 13.2.2")
def test_t52_a_reader_cannot_write_and_no_statement_is_made_of_values(open_site: Any) -> None:
    reader = open_site.door.routes.open_reader()
    with pytest.raises(Exception, match=r"readonly|read-only|not authorized|query_only"):
        reader._connection.execute("DELETE FROM click")
    assert reader._connection.execute("PRAGMA query_only").fetchone()[0] == 1
    reader.close()
    # Statements are made of names in capitals, constants of the module, and of functions: never of
    # what a caller was given as text.
    for path in sorted((CHECKOUT / "clickmw").rglob("*.py")):
        if "stores" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            called = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
            assert not (called and node.func.attr in ("execute", "executemany", "executescript")), (
                path
            )


@threat("T-53", asvs="15.2.2")
@pytest.mark.parametrize(
    "query",
    ["limit=1000000000", "limit=1001", "limit=-1", "from=1900-01-01&to=2026-01-01", "from=2020-01-01&to=2026-01-01",
     "from=9999-12-31&to=9999-12-31", "from=2026-13-01", "period=100y", "q=" + "x" * 5_000, "limit=1e9"],
)  # fmt: skip
def test_t53_a_report_of_everything_is_refused(query: str, open_site: Any) -> None:
    assert open_site.report("queries.json", query).status == 400


@threat("T-54", asvs="8.2.1")
def test_t54_a_report_is_closed_until_it_is_opened(site: Any) -> None:
    for name in (
        "",
        "queries",
        "queries.csv",
        "overview.json",
        "setup",
        "shares",
        "definitions",
        "live",
    ):
        answer = site.report(name)
        assert (answer.status, "location" in answer.headers) == (403, False), name
    assert "admin_password" in site.report().text
    assert site.ask("/_clicks/health").json.keys() == {"status"}
    assert site.ask("/_clicks/mcp", HTTP_HOST="localhost").json["tools"]
    for path in ("api/v1/clicks", "v1/beacon/urls"):
        assert site.ask(f"/_clicks/{path}").status == 401


#: Forms that do something → what they send.
FORMS = {"share": b"label=x&days=1&site=", "unshare": b"name=x", "test-click": b"", "logout": b""}
FOREIGN = [
    {"HTTP_SEC_FETCH_SITE": "cross-site"},
    {"HTTP_SEC_FETCH_SITE": "same-site"},
    {"HTTP_SEC_FETCH_SITE": "Same-Origin"},
    {"HTTP_SEC_FETCH_SITE": ""},
    {"HTTP_ORIGIN": "https://evil.example"},
    {"HTTP_ORIGIN": "null"},
    {"HTTP_ORIGIN": "http://www.example.org.evil.example"},
    {"HTTP_ORIGIN": "http://www.example.org:8443"},
    {"HTTP_ORIGIN": "http://[", "HTTP_HOST": "["},
    {"HTTP_SEC_FETCH_SITE": "cross-site", "HTTP_ORIGIN": "http://www.example.org"},
]


@threat("T-55", asvs="3.5.1, 3.5.3, 3.5.8")
@pytest.mark.parametrize("name", FORMS)
def test_t55_no_other_page_does_anything_for_the_owner(name: str, open_site: Any) -> None:
    for foreign in FOREIGN:
        assert (
            open_site.report(name, REQUEST_METHOD="POST", CONTENT_TYPE=FORM, **foreign).status
            == 403
        )
    assert open_site.ask(f"/_clicks/report/{name}").status == 405
    assert open_site.door.routes.access.shares.all() == []
    own = [{"HTTP_SEC_FETCH_SITE": "same-origin"}, {"HTTP_ORIGIN": "http://www.example.org"}, {}]
    for each in own:
        answer = open_site.ask(
            f"/_clicks/report/{name}", "POST", FORMS[name], CONTENT_TYPE=FORM, **each
        )
        assert answer.status in (200, 303)


@threat("T-55", asvs="3.5.1")
def test_t55_every_form_is_among_those_that_were_tried() -> None:
    posted = {name for name, methods in OWNED.items() if "POST" in methods}
    assert posted | {"logout"} == FORMS.keys()


@threat("T-56", asvs="3.4.6")
def test_t56_no_page_of_ours_stands_in_a_frame(open_site: Any) -> None:
    answers = [
        open_site.report(name) for name in ("", "queries", "setup", "nothing", "queries.csv")
    ]
    answers.append(open_site.follow("made-up"))
    answers.append(open_site.follow(open_site.token(days=40)))
    for answer in answers:
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert answers[0].headers["x-frame-options"] == "DENY"


@pytest.mark.wide
@threat("T-56", asvs="3.4.6")
def test_t56_a_browser_shows_nothing_in_a_frame(
    real_site: Any, profile_of: Any, tmp_path: Path
) -> None:
    real_site.start(tmp_path / "open", report_auth=lambda _environ: True)
    real_site.pages["/frame"] = ('<iframe id=f src="/_clicks/report/"></iframe>', {})
    tab = profile_of().new_page()
    tab.goto(f"{real_site.address}/frame", wait_until="load")
    inside = tab.query_selector("#f").content_frame()
    assert "clickmw" not in inside.content()
    assert inside.locator("nav, table, form").count() == 0


@threat("T-57", asvs="3.2.1, 3.4.4")
def test_t57_every_answer_says_what_it_is(make: Any) -> None:
    site = make(report_auth=lambda _environ: True, keys=[{"key": "an admin key", "scope": "admin"}])
    typed = {
        "report/": "text/html; charset=utf-8",
        "report/queries": "text/html; charset=utf-8",
        "report/queries.json": "application/json",
        "report/queries.csv": "text/csv; charset=utf-8",
        "health": "application/json",
        "clickmw.js": "text/javascript; charset=utf-8",
        "report.css": "text/css; charset=utf-8",
        "api/v1/clicks": "application/json",
        "api/v1/schema": "application/json",
        "r/made-up": "text/html; charset=utf-8",
        "nowhere": "text/plain; charset=utf-8",
        "mcp": "application/json",
    }
    for path, kind in typed.items():
        answer = site.ask(f"/_clicks/{path}", HTTP_HOST="localhost", HTTP_X_API_KEY="an admin key")
        assert answer.headers["content-type"] == kind, path
        assert answer.headers["x-content-type-options"] == "nosniff", path
    for path in ("report/", "report/queries.csv", "report.css"):
        assert site.ask(f"/_clicks/{path}").headers["cross-origin-resource-policy"] == "same-origin"


@threat("T-58", asvs="11.2.4")
def test_t58_a_wrong_key_tells_nothing_of_how_wrong_it_is(make: Any) -> None:
    """Every key of the settings is compared, digest with digest; so is every password."""
    keys = [{"key": f"{number} of the keys here", "scope": "read"} for number in range(50)]
    site = make(keys=keys, admin_password=PASSWORD)
    ring = KeyRing(site.door.settings)

    def cost(given: str) -> float:
        def once() -> float:
            begun = time.process_time()
            for _ in range(200):
                ring.find(given)
            return time.process_time() - begun

        return min(once() for _ in range(15))

    near, far = cost("49 of the keys herX"), cost("XXXXXXXXXXXXXXXXXXX")
    # Of 50 comparisons the one that nearly fits must not stand out: a tenth is far more than it could.
    assert abs(near - far) < 0.35 * max(near, far)
    answers = [
        site.ask("/_clicks/api/v1/clicks", HTTP_X_API_KEY=given)
        for given in ("49 of the keys herX", "X", "cmw_00000000_" + "x" * 43, "ü", "\x00")
    ]
    assert len({(answer.status, answer.body) for answer in answers}) == 1
    for module in (
        "keyring",
        "login",
        "tokens",
        "ad_urls",
        "shares",
        "compat/searchgov",
        "compat/searchstax",
    ):
        text = (CHECKOUT / "clickmw" / f"{module}.py").read_text()
        found = re.findall(
            r"(?:secret|password|digest|proof|access_key|tracking_key)\)? [!=]= (?!\"\"|None)\w+",
            text,
        )
        assert found == [], module


@threat("T-59", asvs="6.3.1")
def test_t59_guesses_are_slowed_down(make: Any, still_guesses: None) -> None:
    site = make(admin_password=PASSWORD)
    tried = [log_in(site, f"guess {number}") for number in range(15)]
    assert tried == [403] * 9 + [429] * 6
    basic = b64encode(f"x:{PASSWORD}".encode()).decode()
    assert site.report(HTTP_AUTHORIZATION=f"Basic {basic}").status == 429
    assert log_in(site, PASSWORD) == 429


@threat("T-59", asvs="6.3.1")
def test_t59_a_stranger_who_guesses_keeps_no_owner_out(make: Any, still_guesses: None) -> None:
    site = make(admin_password=PASSWORD)
    for number in range(50):
        log_in(site, "guess", f"2001:db8:bad:{number // 25:x}::{number:x}")
    assert log_in(site, "guess", "2001:db8:bad:1::ffff") == 429
    assert log_in(site, PASSWORD) == 303
    for number in range(500):  # and with any number of addresses not one who logged in before
        log_in(site, "guess", f"203.0.113.{number % 250}")
    assert log_in(site, PASSWORD, "192.0.2.200") == 429
    assert log_in(site, PASSWORD) == 303


@threat("T-59", asvs="14.2.4")
def test_t59_no_address_of_who_guesses_is_kept(make: Any, caplog: Any) -> None:
    site = make(admin_password=PASSWORD)
    for _ in range(12):
        log_in(site, "guess", "203.0.113.66")
    site.send({"t": "result", "u": "/x", "q": "w"})
    assert site.ledger()["received"] == 1
    files = [path for path in site.database.parent.rglob("*") if path.is_file()]
    assert len(files) > 1
    assert not any(b"203.0.113.66" in path.read_bytes() for path in files)
    assert "203.0.113.66" not in caplog.text


def log_in(site: Any, password: str, address: str = "198.51.100.7") -> int:
    form = urlencode({"password": password, "back": ""}).encode()
    answer = site.ask("/_clicks/report/login", "POST", form, CONTENT_TYPE=FORM, REMOTE_ADDR=address)
    return int(answer.status)


@pytest.fixture
def still_guesses(monkeypatch: Any) -> None:
    """Let no time pass for who guesses, however long the test takes."""
    monkeypatch.setattr("clickmw.guesses.time", SimpleNamespace(monotonic=lambda: 1000.0))


@threat("T-66", asvs="16.5.1")
def test_t66_an_error_page_repeats_nothing_and_tells_nothing(
    open_site: Any, monkeypatch: Any
) -> None:
    mark = "<script>alert(66)</script>"
    for path in (
        f"/_clicks/{mark}",
        f"/_clicks/report/{mark}",
        f"/_clicks/r/{mark}",
        f"/_clicks/v1/stats/{mark}",
    ):
        for method in ("GET", "POST", mark):
            answer = open_site.ask(path, method, b"x", query=mark, HTTP_REFERER=mark)
            assert "alert(66)" not in answer.text, path
    for query in ("period", "site", "sort", "limit", "from", "module", "device"):
        assert mark not in open_site.report("queries", urlencode({query: mark})).text

    def broken(*_: Any) -> Any:
        raise RuntimeError("/etc/very/secret/path")

    from clickmw import showing

    with monkeypatch.context() as patch:
        patch.setattr(showing.Show, "__call__", broken)
        told: list[str] = []
        environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/_clicks/report/", "QUERY_STRING": "",
                   "SERVER_NAME": "a", "SERVER_PORT": "80", "wsgi.url_scheme": "http",
                   "wsgi.input": io.BytesIO()}  # fmt: skip
        body = b"".join(open_site.clicks(environ, lambda status, *_: told.append(status)))
    assert told == ["500 INTERNAL SERVER ERROR"]
    assert b"secret" not in body
    assert b"Traceback" not in body


@threat("T-66", asvs="16.5.1")
def test_t66_a_broken_store_is_said_without_its_insides_to_strangers(
    make: Any, monkeypatch: Any
) -> None:
    site = make(sites=[{"handle": "a", "tracking_key": "k", "index_key": "i", "access_key": "a"}])

    def away(*_: Any) -> Any:
        raise StoreError("the database /srv/private/clicks.db cannot be used")

    monkeypatch.setattr(site.door.routes, "open_reader", away)
    for path in ("health", "report/", "api/v1/clicks", "mcp"):
        assert b"/srv/private" not in site.ask(f"/_clicks/{path}", HTTP_HOST="localhost").body


@threat("T-67", asvs="16.2.5, 16.4.1")
def test_t67_no_text_of_a_visitor_writes_a_line_of_the_log(
    make: Any, caplog: Any, monkeypatch: Any
) -> None:
    from clickmw import journal
    from clickmw.compat import Desk

    caplog.set_level("DEBUG")
    sites = [{"handle": "a", "hosts": ["www.example.org"], "index_key": "k\nERROR root: \x1b[31m"}]
    site = make(sites=sites, scrub=[lambda text: 1 / 0])
    monkeypatch.setattr(Desk, "sender", lambda *_a, **_k: 1 / 0)
    monkeypatch.setattr(journal, "_warned", {})
    evil = "a\nERROR root: stolen\r\x1b[31m\u2028"
    site.ask(
        "/search", query=urlencode({"q": evil}), HTTP_USER_AGENT=evil, HTTP_HOST="www.example.org"
    )
    site.post("/_clicks/v1/stats/k\nERROR root: \x1b[31m", {"action": "search", "keyword": evil})
    site.ask(f"/_clicks/{evil}", HTTP_X_API_KEY=evil)
    site.follow(evil)
    assert caplog.records
    for record in caplog.records:
        line = record.getMessage()
        assert line.isprintable()
        assert len(line) <= 500
        assert "stolen" not in line
