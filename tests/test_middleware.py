"""The door: mounting, the template helper, and what a request that is not ours costs."""

from __future__ import annotations

import gzip
import json
import os
import re
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import flask
import pytest
from webtest import TestApp, TestRequest
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from clickmw import ClickMW, ClickMWError, SettingsError
from clickmw.middleware import Door

SECRET = "a secret of more than thirty-two characters"
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
ROBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
PREFIX = "/_clicks/r/"
SIGNED = re.compile(r"""/_clicks/r/[^"'> ]+""")
A, B = "https://other.example/a", "https://other.example/b"
PAGE = (
    '<ol data-click-module="BWEB" data-click-query="tax">'
    f'<li><a data-click href="{A}">a</a></li><li><a data-click href="{B}">b</a></li></ol>'
)
Environ = dict[str, Any]


def host(environ: Environ, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/html"), ("X-Path", environ["PATH_INFO"])])
    return [PAGE.encode()]


def browse(app: Any, **environ: str) -> TestApp:
    return TestApp(app, extra_environ={"HTTP_USER_AGENT": BROWSER} | environ)


class Install:
    """A wrapped application: a browser at its door, its database at hand."""

    def __init__(self, clicks: ClickMW) -> None:
        self.clicks = clicks
        self.browser = browse(clicks)

    def rows(self, query: str) -> list[Any]:
        self.clicks.door.routes.open_reader().close()
        database = sqlite3.connect(self.clicks.settings.database or "")
        found = database.execute(query).fetchall()
        database.close()
        return [row[0] if len(row) == 1 else row for row in found]

    def ledger(self) -> dict[str, Any]:
        self.clicks.door.routes.open_reader().close()
        return self.clicks.door.routes.read_health()

    def follow(self, link: str) -> str:
        """Return where *link* leads."""
        return self.browser.get(link, status=302).headers["Location"]


Make = Callable[..., Install]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[ClickMW] = []

    def build(app: Any = host, **settings: Any) -> Install:
        store = f"sqlite:///{tmp_path}/{len(made)}.db"
        made.append(ClickMW(app, **{"secret": SECRET, "store": store} | settings))
        return Install(made[-1])

    yield build
    for clicks in made:
        clicks.door.worker.close()
        clicks.door.store.close()


# -- any WSGI application ----------------------------------------------------------------------


def test_the_host_keeps_paths_that_only_look_like_ours(make: Make) -> None:
    site = make()

    for path in ("/", "/_clicks", "/_clicksx/r/x", "/x/_clicks/r/x", "/_CLICKS/r/x"):
        assert site.browser.get(path).headers["X-Path"] == path


def test_the_prefix_is_a_setting(make: Make) -> None:
    site = make(prefix="/-/c")
    link = site.browser.get("/search").html.a["href"]

    assert link.startswith("/-/c/r/")
    assert site.follow(link) == A


def test_a_mounted_site_signs_and_follows_its_links(make: Make) -> None:
    site = make()
    mounted = browse(DispatcherMiddleware(host, {"/app": site.clicks}))
    link = mounted.get("/app/search").html.a["href"]

    assert link.startswith("/app/_clicks/r/")
    assert mounted.get(link, status=302).headers["Location"] == A
    assert site.rows("SELECT counted FROM clicks") == [1]


def test_mounts_inside_are_seen_under_the_address_of_the_page(make: Make) -> None:
    inner = '<ol data-click-module="B"><li><a data-click href="x.html">x</a></li></ol>'

    def app(environ: Environ, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/html")])
        return [inner.encode()]

    site = make(DispatcherMiddleware(host, {"/docs": app}))
    link = site.browser.get("/docs/search").html.a["href"]

    assert link.startswith("/_clicks/r/")
    assert site.follow(link) == "/docs/x.html"


def test_wrapped_twice_a_page_is_rewritten_and_recorded_once(make: Make) -> None:
    inner = make()
    outer = make(inner.clicks, secret="another secret of more than thirty-two letters")
    page = outer.browser.get("/search").text

    assert len(SIGNED.findall(page)) == 2
    assert outer.follow(SIGNED.findall(page)[0]) == A
    assert outer.rows("SELECT count(*) FROM searches") == [1]
    assert inner.rows("SELECT count(*) FROM searches") == [0]


def gzip_middleware(app: Any) -> Any:
    """Pack every page for those who take gzip."""

    def packed(environ: Environ, start_response: Any) -> list[bytes]:
        if "gzip" not in environ.get("HTTP_ACCEPT_ENCODING", ""):
            return app(environ, start_response)  # type: ignore[no-any-return]
        started: list[Any] = []
        chunks = app(environ, lambda *start: started.extend(start) or started.append)
        body = gzip.compress(b"".join(chunks))
        if hasattr(chunks, "close"):
            chunks.close()
        status, headers = started[:2]
        kept = [(name, value) for name, value in headers if name.lower() != "content-length"]
        size = ("Content-Length", str(len(body)))
        start_response(status, [*kept, ("Content-Encoding", "gzip"), size])
        return [body]

    return packed


def packed_answer(app: Any) -> tuple[dict[str, str], bytes]:
    """Return headers and body as they go over the wire."""
    request = TestRequest.blank("/search?q=tax", {"HTTP_USER_AGENT": BROWSER})
    request.headers["Accept-Encoding"] = "gzip, br"
    _, headers, chunks = request.call_application(app)
    return dict(headers), b"".join(chunks)


@pytest.mark.parametrize("times", [1, 2], ids=["first request", "later request"])
@pytest.mark.parametrize("outside", [False, True], ids=["inside", "outside"])
def test_a_gzip_middleware_may_stand_on_either_side(make: Make, outside: bool, times: int) -> None:
    site = make(host if outside else gzip_middleware(host))
    app = gzip_middleware(site.clicks) if outside else site.clicks
    for _ in range(times):
        headers, body = packed_answer(app)

    assert headers["Content-Encoding"] == "gzip"
    assert headers["Content-Length"] == str(len(body))
    assert len(SIGNED.findall(gzip.decompress(body).decode())) == 2
    assert len(site.rows("SELECT query_id FROM searches")) == times


def test_a_wrong_setting_fails_at_the_start() -> None:
    with pytest.raises(SettingsError, match="store"):
        ClickMW(host, secret=SECRET, stroe="sqlite:///x.db")


def test_without_an_application_there_is_a_clear_error() -> None:
    with pytest.raises(ClickMWError, match="init_app"):
        ClickMW()({}, lambda *_: None)


# -- Flask -------------------------------------------------------------------------------------

TEMPLATE = (
    "{% set page = clicks.search(request.args.q, total=2, module='BWEB') %}"
    "{% for url in urls %}<a href='{{ page.link(url) }}'>x</a>{% endfor %}"
)


@pytest.mark.parametrize("when", ["before", "after"])
def test_templates_know_us_whenever_their_environment_is_made(when: str, tmp_path: Path) -> None:
    app = flask_app(tmp_path)
    if when == "before":
        assert app.jinja_env
    clicks = ClickMW(app)
    app.config["TEMPLATES_AUTO_RELOAD"] = True
    assert app.jinja_env.globals["clicks"] is clicks
    assert app.jinja_env.auto_reload == (when == "after")
    clicks.door.worker.close()


def flask_app(folder: Path) -> flask.Flask:
    app = flask.Flask("searching", instance_path=str(folder))
    app.config["SECRET_KEY"] = SECRET

    @app.get("/search")
    def search() -> str:
        return PAGE

    @app.get("/templated")
    def templated() -> str:
        return flask.render_template_string(TEMPLATE, urls=[A, B])

    @app.get("/api")
    def api() -> dict[str, Any]:
        if "q" not in flask.request.args:
            return {"results": []}
        page = flask.current_app.extensions["clickmw"].search(
            flask.request.args["q"], total=40, offset=10, module="BWEB", language="de"
        )
        links = [page.link(A, item="doc 1", title="First"), page.link(B)]
        return {"results": links, "id": page.query_id}

    @app.get("/streamed")
    def streamed() -> Any:
        return flask.Response(flask.stream_template_string(TEMPLATE, urls=[A, B]))

    @app.get("/fails")
    def fails() -> str:
        flask.current_app.extensions["clickmw"].search("tax")
        raise RuntimeError("a fault of the host")

    return app


@pytest.fixture
def application(tmp_path: Path) -> flask.Flask:
    return flask_app(tmp_path / "instance")


@pytest.fixture
def site(application: flask.Flask) -> Iterator[Install]:
    clicks = ClickMW(application)
    yield Install(clicks)
    clicks.door.worker.close()
    clicks.door.store.close()


def close(clicks: ClickMW) -> None:
    clicks.door.worker.close()
    clicks.door.store.close()


def test_flask_settings_come_from_the_application(site: Install, tmp_path: Path) -> None:
    settings = site.clicks.settings

    assert settings.secret == SECRET
    assert settings.database == tmp_path / "instance" / "clicks.db"


def test_flask_names_are_settings(application: flask.Flask, tmp_path: Path) -> None:
    application.config["CLICKMW_PREFIX"] = "/-"
    application.config["SECRET_KEY_FALLBACKS"] = ["an older secret, also thirty-two characters"]
    clicks = ClickMW(application, store=f"sqlite:///{tmp_path}/other.db")

    assert clicks.settings.prefix == "/-"
    assert clicks.settings.old_secrets == ("an older secret, also thirty-two characters",)
    assert clicks.settings.database == tmp_path / "other.db"
    close(clicks)


def test_a_wrong_flask_name_fails_at_the_start(application: flask.Flask) -> None:
    application.config["CLICKMW_STROE"] = "x"

    with pytest.raises(SettingsError, match="CLICKMW_STROE"):
        ClickMW(application)


def test_a_flask_application_can_be_given_later(application: flask.Flask) -> None:
    clicks = ClickMW()
    clicks.init_app(application)

    assert isinstance(application.wsgi_app, Door)
    assert application.extensions["clickmw"] is clicks
    close(clicks)


@pytest.mark.parametrize("served", ["the application", "the wrapper"])
def test_serving_either_object_runs_us_once(
    application: flask.Flask, site: Install, served: str
) -> None:
    browser = browse(application if served == "the application" else site.clicks)
    page = browser.get("/search").text

    assert len(SIGNED.findall(page)) == 2
    assert browser.get(SIGNED.findall(page)[0], status=302).headers["Location"] == A
    assert site.rows("SELECT count(*) FROM searches") == [1]


def test_the_report_asks_inside_the_request(application: flask.Flask) -> None:
    asked: list[str] = []

    def may_see(environ: Environ) -> bool:
        asked.append(flask.request.path)
        return True

    clicks = ClickMW(application, report_auth=may_see)
    answer = browse(clicks).get("/_clicks/health")

    assert asked == ["/_clicks/health"]
    assert "received" in answer.json
    close(clicks)


# -- the template helper -----------------------------------------------------------------------


def test_templates_make_their_own_links(site: Install) -> None:
    links = SIGNED.findall(site.browser.get("/templated?q=Tax").text)

    assert [site.follow(link) for link in links] == [A, B]
    columns = "query, total_hits, source, counted, shared"
    assert site.rows(f"SELECT {columns} FROM searches") == [("tax", 2, "template", 1, 0)]
    assert site.rows("SELECT url, position, module_code FROM impressions") == [
        (A, 1, "BWEB"),
        (B, 2, "BWEB"),
    ]
    assert site.rows("SELECT query, position, counted FROM clicks ORDER BY position") == [
        ("tax", 1, 1),
        ("tax", 2, 1),
    ]


def test_json_answers_carry_signed_links(site: Install) -> None:
    answer = site.browser.get("/api?q=tax").json

    assert [site.follow(link) for link in answer["results"]] == [A, B]
    assert len(answer["id"]) == 16
    columns = "query, total_hits, page, language"
    assert site.rows(f"SELECT {columns} FROM searches") == [("tax", 40, 2, "de")]
    assert site.rows("SELECT position, doc_id FROM impressions") == [(11, "doc 1"), (12, "")]
    assert site.rows("SELECT title FROM clicks WHERE position = 11") == ["First"]


@pytest.mark.parametrize("first", ["/api", "/api?q=first"], ids=["without a search", "with one"])
def test_a_json_answer_is_recorded_every_time(site: Install, first: str) -> None:
    site.browser.get(first, headers={"Accept": "application/json"})
    for query in ("one", "two", "three"):
        site.browser.get(f"/api?q={query}", headers={"Accept": "application/json"})

    assert {"one", "two", "three"} <= set(site.rows("SELECT query FROM searches"))


def test_a_streamed_template_makes_its_links_while_it_is_sent(site: Install) -> None:
    links = SIGNED.findall(site.browser.get("/streamed?q=tax").text)

    assert [site.follow(link) for link in links] == [A, B]
    assert site.rows("SELECT query FROM searches") == ["tax"]


def generator_app(environ: Environ, start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [("Content-Type", "application/json")])
    if environ["QUERY_STRING"]:
        yield json.dumps(environ["host.clicks"].search("tax").link(A)).encode()


def test_a_generator_uses_the_helper_while_it_is_read(make: Make) -> None:
    site = make(generator_app)
    browser = browse(site.clicks)
    for target in ("/api", "/api?q=tax", "/api?q=tax"):
        answer = browser.get(target, extra_environ={"host.clicks": site.clicks})

    assert site.follow(answer.json) == A
    assert site.rows("SELECT count(*) FROM searches") == [2]


def test_a_search_is_recorded_when_the_answer_has_left(make: Make) -> None:
    def app(environ: Environ, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [site.clicks.search("tax").link(A).encode()]

    site = make(app)
    body: Any = site.clicks({"REQUEST_METHOD": "GET", "PATH_INFO": "/"}, lambda *_: None)
    list(body)
    before = site.ledger()["received"]
    body.close()

    assert (before, site.ledger()["received"]) == (0, 1)
    body.close()
    assert site.ledger()["received"] == 1


def test_an_answer_that_fails_has_shown_nothing(application: flask.Flask, site: Install) -> None:
    application.config["PROPAGATE_EXCEPTIONS"] = False
    site.browser.get("/fails", status=500)

    assert site.rows("SELECT count(*) FROM searches") == [0]


def test_an_answer_that_a_cache_may_keep_is_a_shared_search(
    application: flask.Flask, site: Install
) -> None:
    application.after_request(
        lambda answer: answer.headers.update({"Cache-Control": "public, max-age=60"}) or answer
    )
    site.browser.get("/api?q=tax")

    assert site.rows("SELECT shared, coalesce(visitor, '') FROM searches") == [(1, "")]


@pytest.mark.parametrize("client", [{"Sec-GPC": "1"}, {"User-Agent": ROBOT}], ids=str)
def test_who_does_not_count_gets_the_links_as_they_were(
    site: Install, client: dict[str, str]
) -> None:
    assert site.browser.get("/api?q=tax", headers=client).json["results"] == [A, B]


def test_outside_a_request_there_is_a_clear_error(site: Install) -> None:
    site.browser.get("/api?q=tax")
    site.browser.get("/search")

    with pytest.raises(ClickMWError, match=r"environ=request\.environ"):
        site.clicks.search("tax")


def test_a_server_that_never_closes_leaves_no_request_behind(make: Make) -> None:
    site = make()
    environ: Environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "HTTP_ACCEPT": "text/html"}
    list(site.clicks(environ, lambda *_: None))

    with pytest.raises(ClickMWError):
        site.clicks.search("tax")


def test_a_request_that_was_never_read_does_not_get_the_searches_of_the_next(make: Make) -> None:
    def api(environ: Environ, start_response: Any) -> list[bytes]:
        link = site.clicks.search(environ["QUERY_STRING"]).link(A)
        start_response("200 OK", [("Content-Type", "application/json")])
        return [link.encode()]

    site = make(api)
    environ: Environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "QUERY_STRING": "unread"}
    abandoned = site.clicks(environ, lambda *_: None)
    site.browser.get("/api?next")

    assert abandoned is not None
    assert site.rows("SELECT query FROM searches") == ["next"]


def test_outside_a_request_its_environ_can_be_given(make: Make) -> None:
    def app(environ: Environ, start_response: Any) -> list[bytes]:
        links: list[str] = []

        def work() -> None:
            links.append(site.clicks.search("tax", environ=environ).link(A))

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [links[0].encode()]

    site = make(app)

    assert site.follow(site.browser.get("/").text) == A
    assert site.rows("SELECT query FROM searches") == ["tax"]


def helped(make: Make, use: Callable[[ClickMW], Any], **settings: Any) -> tuple[Install, Any]:
    """Return what *use* returns while a request is answered."""
    got: list[Any] = []

    def app(environ: Environ, start_response: Any) -> list[bytes]:
        got.append(use(site.clicks))
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"x"]

    site = make(app, **settings)
    site.browser.get("/page")
    return site, got[0]


def test_links_of_one_module_are_counted_by_themselves(make: Make) -> None:
    def use(clicks: ClickMW) -> None:
        page = clicks.search("tax", module="BWEB")
        for module, position in ((None, None), ("BOOS", None), (None, 7), (None, None)):
            page.link(A, module=module, position=position)

    site, _ = helped(make, use)

    shown = site.rows("SELECT module_code, position FROM impressions")
    assert shown == [("BWEB", 1), ("BOOS", 1), ("BWEB", 7), ("BWEB", 3)]


def test_two_searches_of_one_page_are_two(make: Make) -> None:
    site, _ = helped(make, lambda clicks: [clicks.search("a"), clicks.search("b", total=0)])

    assert site.rows("SELECT query, total_hits FROM searches ORDER BY query") == [
        ("a", None),
        ("b", 0),
    ]


@pytest.mark.parametrize(
    "url", ["mailto:x@y.example", "#top", "javascript:x()", "", "http://10.1/"]
)
def test_a_link_that_may_not_be_signed_comes_back_as_it_was(make: Make, url: str) -> None:
    _, link = helped(make, lambda clicks: clicks.search("tax").link(url))

    assert link == url


WRONG = [
    {"module": "Best bets"},
    {"module": "a:b"},
    {"module": "a;b"},
    {"module": "x" * 33},
    {"position": 0},
    {"position": -1},
    {"position": 100_001},
    {"position": "1e9"},
    {"item": "x" * 9_000},
]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: str(wrong)[:30])
def test_a_link_with_wrong_details_is_left_alone_and_uses_no_slot(
    make: Make, wrong: dict[str, Any]
) -> None:
    def use(clicks: ClickMW) -> list[str]:
        page = clicks.search("tax", module="BWEB")
        return [page.link(A, **wrong), page.link(B)]

    site, (left, signed) = helped(make, use)

    assert left == A
    assert site.follow(signed) == B
    assert site.rows("SELECT url, position FROM impressions") == [(B, 1)]


@pytest.mark.parametrize("module", ["", "BWEB", "x" * 32, "a-b_C"])
def test_every_module_code_can_be_followed(make: Make, module: str) -> None:
    site, link = helped(make, lambda clicks: clicks.search("tax", module=module).link(A))

    assert site.follow(link) == A
    assert site.rows("SELECT module_code FROM clicks") == [module]


def test_an_item_may_be_a_number(make: Make) -> None:
    site, link = helped(make, lambda clicks: clicks.search("tax").link(A, item=17))

    assert site.follow(link) == A
    assert site.rows("SELECT doc_id FROM clicks") == ["17"]


def test_a_search_without_a_query_is_one(make: Make) -> None:
    site, link = helped(make, lambda clicks: clicks.search(None).link(A))

    assert site.follow(link) == A
    assert site.rows("SELECT query FROM searches") == [""]


def test_on_a_host_that_is_not_tracked_nothing_is_signed(make: Make) -> None:
    from clickmw.sites import Site

    def use(clicks: ClickMW) -> tuple[str, str]:
        page = clicks.search("tax")
        return page.link(A), page.query_id

    _, (link, query_id) = helped(make, use, sites=[Site(handle="a", hosts=("a.example",))])

    assert (link, query_id) == (A, "")


# -- what a request costs that is not ours -----------------------------------------------------

HEAVY = ("werkzeug", "jinja2", "click", "sqlite_utils", "flask")
FOREIGN = """
import sys
import clickmw
loaded = [name for name in {heavy!r} if name in sys.modules]
assert not loaded, ("import", loaded)
def host(environ, start_response):
    start_response("200 OK", [("Content-Type", environ["TYPE"])])
    return [b"<html></html>"]
app = clickmw.ClickMW(host, secret={secret!r}, store="sqlite:///clicks.db")
for kind in ("text/html", "text/plain"):
    environ = {{"REQUEST_METHOD": "GET", "PATH_INFO": "/", "TYPE": kind}}
    list(app(environ, lambda *_: None))
loaded = [name for name in {heavy!r} if name in sys.modules]
assert not loaded, ("request", loaded)
"""


def test_the_import_and_a_foreign_request_load_no_framework(tmp_path: Path) -> None:
    code = FOREIGN.format(heavy=HEAVY, secret=SECRET)
    outside = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=outside, capture_output=True, text=True
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert list(tmp_path.iterdir()) == []


def test_a_foreign_request_reaches_the_host_with_its_own_environ(make: Make) -> None:
    seen: list[Environ] = []

    def app(environ: Environ, start_response: Any) -> list[bytes]:
        seen.append(environ)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"x"]

    site = make(app)
    for _ in range(2):
        environ: Environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/plain"}
        site.clicks(environ, lambda *_: None)
        assert seen[-1] is environ


def test_an_answer_without_a_page_before_may_use_the_helper_under_a_mount(make: Make) -> None:
    def api(environ: Environ, start_response: Any) -> list[bytes]:
        link = site.clicks.search("tax").link(A) if environ["QUERY_STRING"] else "none"
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(link).encode()]

    site = make(DispatcherMiddleware(host, {"/docs": api}))
    site.browser.get("/docs/api")
    assert site.clicks.door.rewriting.plain == {"/docs/api"}

    links = [site.browser.get("/docs/api?q=tax").json for _ in range(2)]

    assert [site.follow(link) for link in links] == [A, A]
    assert site.rows("SELECT count(*) FROM searches") == [2]


def test_a_marked_list_of_links_from_the_helper_is_one_search(make: Make) -> None:
    def app(environ: Environ, start_response: Any) -> list[bytes]:
        page = site.clicks.search("Tax", total=1, module="BWEB")
        marks = 'data-click-module="BWEB" data-click-query="tax"'
        start_response("200 OK", [("Content-Type", "text/html")])
        return [f'<ol {marks}><li><a data-click href="{page.link(A)}">a</a></li></ol>'.encode()]

    site = make(app)
    link = site.browser.get("/search").html.a["href"]

    assert site.follow(link) == A
    assert site.rows("SELECT source, total_hits FROM searches") == [("template", 1)]
    assert site.rows("SELECT url, position FROM impressions") == [(A, 1)]
