"""What people do on a page of results, in a real browser, and the rows that become of it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import pytest

from clickmw.assets import marked_name

pytestmark = pytest.mark.wide

STRICT = (
    "default-src 'none'; script-src 'nonce-r4nd0m'; connect-src 'self'; "
    "require-trusted-types-for 'script'"
)
PAGE = """<!doctype html><title>Results</title><body>
<ol data-click-module="BOOS" data-click-query="Tax  Form" data-click-total="9">
<li><a id="best" data-click target="_blank" href="/doc/best">best</a>
</ol>
<ol data-click-module="BWEB" data-click-query="tax form" data-click-offset="10">
<li><a id="one" data-click href="/doc/1?a=b%26c&amp;d=~x#y">one</a>
<li><a id="two" data-click href="/doc/2"><b>two <i id="inner">inner</i></b></a>
<li><a id="far" data-click href="{elsewhere}/doc/3">far</a>
<li><svg width="60" height="20"><a id="drawn" data-click href="/doc/4"><text y="15">four</text></a></svg>
<li><div id="root"><template shadowrootmode="open"><a id="shadow" data-click href="/doc/5">five</a></template></div>
<li><a id="routed" data-click href="/doc/6">six</a>
<li><a id="stopped" data-click href="/doc/7">seven</a>
<li><a id="menu" data-click href="/doc/8">eight</a>
</ol>{rest}<p><a id="other" href="/other">other</a></p>
<script nonce="r4nd0m">
const on = (name, work) => document.getElementById(name).addEventListener("click", work);
on("routed", (event) => {{
  const {{ href }} = event.currentTarget;
  event.preventDefault();
  setTimeout(() => {{ location = href; }}, 50);
}});
on("stopped", (event) => event.stopPropagation());
on("menu", (event) => event.preventDefault());
</script></body>"""


def script(name: str, attributes: str = "") -> str:
    return f'<script async src="/_clicks/{marked_name(name)}" {attributes}></script>'


CORE, EXTRA = script("clickmw.js"), script("clickmw.extra.js")


class Desk:
    """A visitor before the page of results."""

    def __init__(self, site: Any, context: Any) -> None:
        self.site = site
        self.context = context
        self.page = context.new_page()
        self.elsewhere = site.address.replace("127.0.0.1", "far.example")

    def show(self, rest: str = "", **headers: str) -> None:
        """Put the page where the site has it; *rest* follows the results."""
        shown = {name.replace("_", "-"): value for name, value in headers.items()}
        self.site.pages["/search"] = (PAGE.format(elsewhere=self.elsewhere, rest=rest), shown)

    def open(self, *, works: bool = True) -> None:
        """Go to the page; with *works* wait until its links have their own addresses."""
        self.page.goto(f"{self.site.address}/search")
        if works:
            self.page.wait_for_selector("#one[data-click-token]")

    def arrive(self, path: str) -> None:
        """Wait until the visitor is at *path*, in this tab or in one that was opened."""
        until = time.monotonic() + 30
        while not any(path in page.url for page in self.context.pages):
            assert time.monotonic() < until, path
            self.page.wait_for_timeout(10)

    def settle(self) -> None:
        """Leave the page of results unless a gesture did, and give what may still be said its time."""
        if self.page.url.endswith("/search"):
            self.leave()
        else:
            self.page.wait_for_timeout(80)

    def leave(self) -> None:
        """Go elsewhere by the address bar, and give what may still be said its time."""
        self.page.wait_for_timeout(50)
        self.page.goto(f"{self.site.address}/elsewhere")
        self.page.wait_for_timeout(30)


@pytest.fixture
def desk_of(real_site: Any, profile_of: Callable[..., Any]) -> Callable[..., Desk]:
    """Make a visitor; keywords as of Playwright's ``new_context``."""
    return lambda **options: Desk(real_site, profile_of(**options))


@pytest.fixture
def desk(desk_of: Callable[..., Desk]) -> Desk:
    return desk_of()


# -- the circumstances -----------------------------------------------------------------------------


class Mode(NamedTuple):
    """How a visitor's browser gets on with the snippet."""

    source: str | None  # what a click is reported by; None: nothing is known of it
    options: Mapping[str, Any] = {}
    headers: Mapping[str, str] = {}
    blocked: str = ""
    script: str = ""
    cookie: str = ""

    def prepare(self, desk: Desk) -> None:
        """Bring *desk* into these circumstances, once for all pages to come."""
        if self.script:
            desk.context.add_init_script(self.script)
        if self.cookie:
            cookie = {"name": self.cookie, "value": "1", "url": desk.site.address}
            desk.context.add_cookies([cookie])
        if self.blocked:
            desk.context.route(self.blocked, lambda route: route.abort())

    def open(self, desk: Desk) -> None:
        """Go to the page of results, and wait until the snippet is done with it."""
        desk.show(**self.headers)
        if not self.blocked:
            return desk.open(works=self.source == "beacon")
        with desk.page.expect_event("requestfailed"):
            desk.open(works=False)


GPC = "Object.defineProperty(Navigator.prototype, 'globalPrivacyControl', {value: true})"
MODES = {
    "no policy": Mode("beacon"),
    "strict policy": Mode("beacon", headers={"Content_Security_Policy": STRICT}),
    "no scripts": Mode("redirect", {"java_script_enabled": False}),
    "script blocked": Mode("redirect", blocked="**/_clicks/*.js"),
    "reports blocked": Mode("redirect", blocked="**/_clicks/e"),
    "GPC": Mode(None, {"extra_http_headers": {"Sec-GPC": "1"}}, script=GPC),
    "opted out": Mode(None, cookie="clickmw_optout"),
}


def each_mode(what: Iterable[str], often: str = "") -> pytest.MarkDecorator:
    """Parametrize *what* by each mode; where nothing is counted anyway, all but *often* is long."""
    cases = [
        pytest.param(
            name,
            each,
            id=f"{name}-{each}",
            marks=[] if mode.source or each in often.split(", ") else [pytest.mark.long],
        )
        for name, mode in MODES.items()
        for each in what
    ]
    return pytest.mark.parametrize(("settled", "gesture"), cases, indirect=["settled"])


@pytest.fixture(scope="module")
def settled(request: pytest.FixtureRequest, served_site: Any, chromium: Any) -> Iterator[Any]:
    """A mode, and one visitor for all its tests: a new tab takes longer than a gesture."""
    mode, errors = MODES[request.param], []
    context = chromium.new_context(has_touch=True, **mode.options)
    context.set_default_timeout(30_000)
    context.on("weberror", lambda error: errors.append(str(error.error)))
    desk = Desk(served_site, context)
    mode.prepare(desk)
    yield mode, desk
    context.close()
    assert errors == []


@pytest.fixture
def mode(settled: tuple[Mode, Desk]) -> Mode:
    return settled[0]


@pytest.fixture
def visitor(settled: tuple[Mode, Desk], real_site: Any) -> Iterator[Desk]:
    """The visitor of the mode, at a site that knows nobody yet."""
    desk = settled[1]
    yield desk
    for page in desk.context.pages:
        if page != desk.page:
            page.close()


# -- gestures --------------------------------------------------------------------------------------


def scanned(page: Any) -> None:
    """Click into a shadow root that the page has told the snippet of."""
    page.evaluate("window.clickmw && clickmw.scan(document.getElementById('root').shadowRoot)")
    page.wait_for_timeout(50)
    page.click("#shadow")


def enter(page: Any) -> None:
    page.focus("#two")
    page.keyboard.press("Enter")


TWO = ("/doc/2", 12, "BWEB")
GESTURES: dict[str, tuple[Callable[[Any], Any], tuple[str, int, str]]] = {
    "left": (lambda page: page.click("#one"), ("/doc/1?a=b%26c&d=~x#y", 11, "BWEB")),
    "Ctrl": (lambda page: page.click("#two", modifiers=["Control"]), TWO),
    "Cmd": (lambda page: page.click("#two", modifiers=["Meta"]), TWO),
    "Shift": (lambda page: page.click("#two", modifiers=["Shift"]), TWO),
    "middle": (lambda page: page.click("#two", button="middle"), TWO),
    "Enter": (enter, TWO),
    "touch": (lambda page: page.tap("#two"), TWO),
    "new tab": (lambda page: page.click("#best"), ("/doc/best", 1, "BOOS")),
    "nested": (lambda page: page.click("#inner"), TWO),
    "foreign": (lambda page: page.click("#far"), ("{elsewhere}/doc/3", 13, "BWEB")),
    "SVG": (lambda page: page.click("#drawn"), ("/doc/4", 14, "BWEB")),
    "shadow": (lambda page: page.click("#shadow"), ("/doc/5", 15, "BWEB")),
    "scanned shadow": (scanned, ("/doc/5", 15, "BWEB")),
    "router": (lambda page: page.click("#routed"), ("/doc/6", 16, "BWEB")),
    "stopped": (lambda page: page.click("#stopped"), ("/doc/7", 17, "BWEB")),
}
CLICK = "query, url, position, module_code, kind, source, trust, counted, user_activated"
SEARCH = "query, total_hits, source, trust, counted, shared"
SEEN = ("tax form", 9, "page", "signed", 1, 0)


@each_mode(GESTURES, often="left, middle, Enter, touch, router")
def test_a_gesture_is_one_click(gesture: str, mode: Mode, visitor: Desk) -> None:
    act, (url, position, module) = GESTURES[gesture]
    url = url.format(elsewhere=visitor.elsewhere)
    mode.open(visitor)
    act(visitor.page)
    visitor.arrive("/doc/" + url.partition("/doc/")[2].partition("?")[0])
    if mode.source:
        visitor.site.wait("clicks")
    visitor.settle()

    # Of a shadow root nobody but its page can tell the snippet.
    source = "redirect" if gesture == "shadow" else mode.source
    row = ("tax form", url, position, module, "result", source, "signed", 1, 1)
    assert visitor.site.rows("clicks", CLICK) == ([row] if mode.source else [])
    assert visitor.site.rows("searches", SEARCH) == ([SEEN] if mode.source else [])


# -- what is none ----------------------------------------------------------------------------------


NONE: dict[str, Callable[[Any], Any]] = {
    "right button": lambda page: page.click("#two", button="right"),
    "drag": lambda page: page.drag_and_drop("#two", "#other"),
    "focus": lambda page: page.focus("#two"),
    "another link": lambda page: page.click("#other"),
    "another link's new tab": lambda page: page.click("#other", modifiers=["Control"]),
}


@each_mode(NONE, often="right button")
def test_what_is_no_gesture_is_no_click(gesture: str, mode: Mode, visitor: Desk) -> None:
    if gesture == "drag" and mode is MODES["no scripts"]:
        pytest.skip("Chromium's driver drags with a script of its own")
    mode.open(visitor)
    NONE[gesture](visitor.page)
    visitor.leave()

    assert visitor.site.rows("clicks", CLICK) == []
    assert visitor.site.rows("searches", SEARCH) == ([SEEN] if mode.source else [])


@each_mode(["two.click()", "location = two.href"])
def test_what_a_script_follows_is_no_click_but_by_a_redirect(
    gesture: str, mode: Mode, visitor: Desk
) -> None:
    mode.open(visitor)
    visitor.page.evaluate(gesture)
    visitor.page.wait_for_url("**/doc/2")
    visitor.settle()

    row = (*TWO, "redirect", 1)
    found = visitor.site.rows("clicks", "url, position, module_code, source, counted")
    assert found == ([row] if mode.source == "redirect" else [])


def test_a_redirect_tells_that_a_script_followed_it(desk: Desk) -> None:
    desk.context.route("**/_clicks/*.js", lambda route: route.abort())
    desk.show("<script>setTimeout(() => two.click(), 100)</script>")
    desk.open(works=False)
    desk.page.wait_for_url("**/doc/2")
    desk.leave()

    assert desk.site.rows("clicks", "source, counted, user_activated") == [("redirect", 1, 0)]


@pytest.mark.parametrize("name", ["no policy", "strict policy"])
def test_a_click_that_opens_a_menu_is_none(name: str, desk: Desk) -> None:
    desk.page.clock.install()
    MODES[name].open(desk)
    desk.page.click("#menu")
    desk.page.clock.run_for(5_500)
    desk.leave()

    assert desk.site.rows("clicks", CLICK) == []


# -- reports that are lost -------------------------------------------------------------------------


@pytest.mark.parametrize("gesture", ["left", "Ctrl", "stopped"])
def test_what_is_blocked_after_the_first_report_is_lost(gesture: str, desk: Desk) -> None:
    desk.show()
    desk.open()
    desk.context.route("**/_clicks/e", lambda route: route.abort())
    GESTURES[gesture][0](desk.page)
    desk.leave()

    assert desk.site.rows("clicks", CLICK) == []


REFUSED = "Navigator.prototype.sendBeacon = () => false"


@pytest.mark.parametrize(
    ("gesture", "source"),
    [
        ("left", "redirect"),
        ("Ctrl", "redirect"),
        pytest.param("middle", "redirect", marks=pytest.mark.long),
        pytest.param("Enter", "redirect", marks=pytest.mark.long),
        pytest.param("new tab", "redirect", marks=pytest.mark.long),
        pytest.param("SVG", "redirect", marks=pytest.mark.long),
        ("stopped", "beacon"),
        ("router", "beacon"),
    ],
)
def test_where_the_browser_takes_no_report_a_gesture_is_one_click(
    gesture: str, source: str, desk: Desk
) -> None:
    act, (url, position, module) = GESTURES[gesture]
    desk.context.add_init_script(REFUSED)
    desk.show()
    desk.open()
    act(desk.page)
    desk.site.wait("clicks")
    desk.leave()

    row = ("tax form", url, position, module, "result", source, "signed", 1)
    columns = CLICK.removesuffix(", user_activated")
    assert desk.site.rows("clicks", columns) == [row]


def test_who_opts_out_on_the_page_is_counted_until_then(desk: Desk) -> None:
    desk.show()
    desk.open()
    desk.page.click("#best")
    desk.site.wait("clicks")
    desk.page.evaluate("clickmw.optOut()")
    desk.page.click("#two")
    desk.page.wait_for_url("**/doc/2")
    desk.leave()

    assert desk.site.rows("clicks", "url") == [("/doc/best",)]
    assert desk.site.rows("searches", SEARCH) == [SEEN]


# -- back again ------------------------------------------------------------------------------------


@pytest.mark.whole_browser
def test_who_comes_back_clicks_again_but_searches_once(desk: Desk) -> None:
    page = desk.page
    desk.show(EXTRA)
    desk.open()
    page.wait_for_function("!!clickmw.search")
    for name in ("one", "two", "two"):
        page.click(f"#{name}")
        page.wait_for_url("**/doc/*")
        page.wait_for_timeout(1_000)
        page.go_back(wait_until="commit")
        page.wait_for_selector("#one[data-click-token]")
    desk.leave()

    assert desk.site.asked.count("/search") == 1
    assert desk.site.rows("searches", SEARCH) == [SEEN]
    rows = desk.site.rows("clicks", "position, counted, drop_reason, dwell_s")
    assert [row[:3] for row in rows] == [(11, 1, None), (12, 1, None), (12, 0, "duplicate")]
    assert 1 <= rows[0][3] < 3
    assert 1 <= rows[1][3] < 3
    assert rows[2][3] is None


def test_who_comes_back_without_scripts_clicks_again_but_searches_once(
    desk_of: Callable[..., Desk],
) -> None:
    desk = desk_of(java_script_enabled=False)
    desk.show()
    desk.open(works=False)
    for name in ("one", "two", "two"):
        desk.page.click(f"#{name}")
        desk.page.wait_for_url("**/doc/*")
        desk.page.go_back(wait_until="commit")
    desk.leave()

    rows = desk.site.rows("clicks", "position, counted, drop_reason")
    assert rows == [(11, 1, None), (12, 1, None), (12, 0, "duplicate")]
    assert desk.site.rows("searches", SEARCH) == [SEEN]


def test_a_page_that_is_loaded_again_is_a_repeat_whose_click_counts(desk: Desk) -> None:
    desk.show()
    for _ in range(2):
        desk.open()
        desk.page.click("#two")
        desk.page.wait_for_url("**/doc/2")
    desk.leave()

    searches = desk.site.rows("searches", "counted, drop_reason")
    assert searches == [(1, None), (0, "repeat")]
    assert desk.site.rows("clicks", "position, counted, drop_reason") == [(12, 1, None)] * 2


def test_who_comes_back_to_a_page_that_is_loaded_again_was_away_so_long(desk: Desk) -> None:
    page = desk.page
    # Neither is kept for the back button.
    desk.show("<script nonce='r4nd0m'>onunload = () => {}</script>", Cache_Control="no-store")
    desk.open()
    for name in ("one", "two"):
        page.click(f"#{name}")
        page.wait_for_url("**/doc/*")
        page.wait_for_timeout(1_000)
        page.go_back(wait_until="commit")
        page.wait_for_selector("#one[data-click-token]")
    page.click("#best", modifiers=["Control"])
    desk.site.wait("clicks", count=3)
    desk.leave()

    assert desk.site.asked.count("/search") == 3
    searches = desk.site.rows("searches", "counted, drop_reason")
    assert searches == [(1, None), (0, "repeat"), (0, "repeat")]
    rows = desk.site.rows("clicks", "position, counted, dwell_s")
    assert [row[:2] for row in rows] == [(11, 1), (12, 1), (1, 1)]
    assert 1 <= rows[0][2] < 5
    assert 1 <= rows[1][2] < 5
    assert rows[2][2] is None


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_who_searches_again_by_the_address_bar_was_away_so_long(
    scripts: bool, desk_of: Callable[..., Desk]
) -> None:
    desk = desk_of(java_script_enabled=scripts)
    desk.show()
    desk.open(works=scripts)
    desk.page.click("#two")
    desk.page.wait_for_url("**/doc/2")
    desk.page.wait_for_timeout(1_000)
    desk.open(works=scripts)
    desk.leave()

    ((dwell_s,),) = desk.site.rows("clicks", "dwell_s")
    assert 1 <= dwell_s < 5


@pytest.mark.parametrize("first", ["beacon", "redirect"])
def test_a_result_is_one_click_by_whichever_way(first: str, desk: Desk) -> None:
    page = desk.page
    desk.show()
    desk.open()
    token = page.get_attribute("#two", "data-click-token")
    ways = [lambda: page.click("#two"), lambda: page.goto(f"{desk.site.address}/_clicks/r/{token}")]
    for way in ways if first == "beacon" else reversed(ways):
        way()
        page.wait_for_url("**/doc/2")
        page.go_back(wait_until="commit")
        page.wait_for_selector("#one[data-click-token]")
    desk.leave()

    rows = desk.site.rows("clicks", "source, counted, drop_reason")
    assert rows[0] == (first, 1, None)
    assert rows[1][1:] == (0, "duplicate")
    assert len(rows) == 2


# -- the page has it twice -------------------------------------------------------------------------


def test_the_script_may_be_there_twice(desk: Desk) -> None:
    desk.show(CORE + script("clickmw.js", 'id="clickmw"') + EXTRA + EXTRA)
    desk.open()
    desk.page.wait_for_function("!!clickmw.search")
    desk.page.click("#two")
    desk.page.wait_for_url("**/doc/2")
    desk.leave()

    assert desk.site.rows("clicks", "position, counted") == [(12, 1)]
    assert desk.site.rows("searches", SEARCH) == [SEEN]


# -- seen ------------------------------------------------------------------------------------------

SEEN_ROWS = "impressions WHERE seen_at IS NOT NULL"
HALVES = """<style>
li { overflow: hidden; height: 60px } #one { display: block; height: 150px; }
#two { display: block; height: 110px } li:nth-child(n+3) { margin-top: 3000px }
</style>"""


def test_what_was_half_visible_for_a_second_has_its_time(desk: Desk) -> None:
    desk.show(HALVES)
    desk.open()
    desk.page.wait_for_timeout(1_300)
    desk.page.evaluate("document.querySelector('#far').scrollIntoView()")
    desk.page.wait_for_timeout(300)
    desk.page.evaluate("scrollTo(0, 0)")
    desk.leave()
    desk.site.wait(SEEN_ROWS, count=2)

    rows = desk.site.rows("impressions", "module_code, position, seen_at IS NOT NULL, counted")
    unseen = [("BWEB", position, 0, 1) for position in range(13, 19)]
    assert rows == [("BOOS", 1, 1, 1), ("BWEB", 11, 0, 1), ("BWEB", 12, 1, 1), *unseen]
    assert desk.site.rows("impressions WHERE seen_at < received_at") == []


def test_who_follows_a_result_at_once_has_seen_nothing_else(desk: Desk) -> None:
    now = datetime.now()
    desk.page.clock.install(time=now)
    desk.page.clock.pause_at(
        now + timedelta(seconds=1)
    )  # "at once" takes a while on a busy machine
    desk.show()
    desk.open()
    desk.page.click("#two")
    desk.page.wait_for_url("**/doc/2")
    desk.leave()

    assert desk.site.rows(SEEN_ROWS) == []


# -- shared pages ----------------------------------------------------------------------------------

LEFT = ("tax form", 9, "page", 0, "shared", 1)  # as it left for the cache
VIEWED = ("tax form", 9, "beacon", 1, None, 0)
VIEW = "query, total_hits, source, counted, drop_reason, shared"


@pytest.fixture
def cached(desk_of: Callable[..., Desk], real_site: Any) -> Callable[..., Desk]:
    """Make visitors who are all given one copy of a page by a cache between them and the site."""
    copies: list[Any] = []

    def make(**options: Any) -> Desk:
        desk = desk_of(**options)
        if not copies:
            desk.show(Cache_Control="public, max-age=60")
            copies.append(desk.context.request.get(f"{real_site.address}/search"))
        desk.context.route("**/search", lambda route: route.fulfill(response=copies[0]))
        return desk

    return make


def test_each_visitor_of_a_shared_page_is_a_search(
    cached: Callable[..., Desk], real_site: Any, agent: str
) -> None:
    for name in ("Anna", "Bert"):
        desk = cached(user_agent=f"{agent} {name}")
        desk.open()
        desk.page.click("#two")
        desk.page.wait_for_url("**/doc/2")
        desk.leave()

    assert real_site.rows("searches", VIEW) == [LEFT, VIEWED, VIEWED]
    row = ("tax form", *TWO, "result", "beacon", "signed", 1, 1)
    assert real_site.rows("clicks", CLICK) == [row, row]
    assert len(set(real_site.rows("clicks", "visitor"))) == 2


def test_a_visitor_who_sees_a_shared_page_again_has_repeated_the_search(
    cached: Callable[..., Desk],
) -> None:
    desk = cached()
    for _ in range(2):
        desk.open()
        desk.page.click("#two")
        desk.page.wait_for_url("**/doc/2")
    desk.leave()

    repeat = ("tax form", 9, "beacon", 0, "repeat", 0)
    assert desk.site.rows("searches", VIEW) == [LEFT, VIEWED, repeat]
    assert desk.site.rows("clicks", "position, counted") == [(12, 1), (12, 1)]


def test_on_a_shared_page_a_click_is_one_by_whichever_way(cached: Callable[..., Desk]) -> None:
    desk = cached()
    desk.open()
    text = desk.page.get_attribute("#two", "data-click-token")
    desk.page.click("#two", modifiers=["Control"])
    desk.site.wait("clicks")
    desk.page.goto(f"{desk.site.address}/_clicks/r/{text}")
    desk.leave()

    clicks = desk.site.rows("clicks", "source, counted, drop_reason")
    assert clicks == [("beacon", 1, None), ("redirect", 0, "duplicate")]


def test_without_scripts_a_shared_page_is_no_search_and_its_click_counts(
    cached: Callable[..., Desk],
) -> None:
    desk = cached(java_script_enabled=False)
    desk.open(works=False)
    desk.page.click("#two")
    desk.page.wait_for_url("**/doc/2")
    desk.leave()

    assert desk.site.rows("searches", VIEW) == [LEFT]
    row = ("tax form", *TWO, "result", "redirect", "signed", 1, 1)
    assert desk.site.rows("clicks", CLICK) == [row]


def test_what_was_seen_of_a_shared_page_belongs_to_the_view(cached: Callable[..., Desk]) -> None:
    desk = cached()
    desk.open()
    desk.page.wait_for_timeout(1_300)
    desk.leave()
    desk.site.wait(SEEN_ROWS, count=8)

    seen = desk.site.rows("impressions", "source, seen_at IS NOT NULL")
    assert ("page", 1) not in seen
    assert seen.count(("beacon", 1)) == 8
    assert seen.count(("beacon", 0)) == 1  # in the shadow root


# -- results that come later -----------------------------------------------------------------------

MORE = """<ol data-click-module="BWEB" data-click-query="tax form" data-click-offset="20">
<li><a id="late" data-click href="/doc/21">late</a></ol>"""
GET_MORE = """async () => {
  const page = document.createElement("div");
  page.innerHTML = await (await fetch("/more")).text();
  document.body.append(page);
}"""
LATE = ("tax form", "/doc/21", 21, "BWEB", "result", "beacon", "signed", 1, 1)


@pytest.mark.parametrize("how", ["scan", "observe"])
def test_results_that_are_put_into_the_page_count(how: str, desk: Desk) -> None:
    page = desk.page
    desk.show(script("clickmw.extra.js", "data-observe") if how == "observe" else "")
    desk.site.pages["/more"] = (MORE, {})
    desk.open()
    page.wait_for_load_state()
    page.evaluate(GET_MORE)
    if how == "scan":
        page.evaluate("clickmw.scan()")
    page.wait_for_selector("#late[data-click-token]")
    page.click("#late")
    page.wait_for_url("**/doc/21")
    desk.leave()

    assert desk.site.rows("clicks", CLICK) == [LATE]
    assert desk.site.rows("searches", "counted, drop_reason") == [(1, None), (0, "repeat")]
    assert len(desk.site.rows("impressions")) == 10


def test_results_that_nobody_looked_for_count_by_their_redirect(desk: Desk) -> None:
    desk.show()
    desk.site.pages["/more"] = (MORE, {})
    desk.open()
    desk.page.evaluate(GET_MORE)
    desk.page.click("#late")
    desk.page.wait_for_url("**/doc/21")
    desk.leave()

    row = (*LATE[:5], "redirect", *LATE[6:])
    assert desk.site.rows("clicks", CLICK) == [row]


APP = f"""<!doctype html><title>App</title><body><ol></ol>{CORE}
<script>
fetch("/api").then((answer) => answer.json()).then((results) => {{
  for (const {{ id, link }} of results) {{
    const result = document.createElement("a");
    Object.assign(result, {{ id, href: link, textContent: id }});
    document.querySelector("ol").append(result, " ");
  }}
  const ready = () => window.clickmw && clickmw.scan ? clickmw.scan() : setTimeout(ready, 20);
  ready();
}});
</script>"""


def test_tokens_in_json_become_links_that_count(desk: Desk) -> None:
    def api(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        shown = desk.site.clicks.search("Tax Form", total=2, module="BWEB")
        urls = {"one": "/doc/1", "two": "https://far.example/doc/2"}
        results = [{"id": id, "link": shown.link(url, title=id)} for id, url in urls.items()]
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(results).encode()]

    desk.site.pages |= {"/app": (APP, {}), "/api": api}
    desk.page.goto(f"{desk.site.address}/app")
    desk.page.wait_for_selector("#two[data-click-token]")
    assert desk.page.get_attribute("#two", "href") == "https://far.example/doc/2"
    desk.page.click("#one")
    desk.page.wait_for_url("**/doc/1")
    desk.leave()

    row = ("tax form", "/doc/1", 1, "BWEB", "result", "beacon", "signed", 1, 1)
    assert desk.site.rows("clicks", CLICK) == [row]
    assert desk.site.rows("clicks", "title") == [("one",)]
    assert desk.site.rows("searches", SEARCH) == [("tax form", 2, "template", "signed", 1, 0)]


# -- pages that speak for themselves ---------------------------------------------------------------

SAYS = """async () => {
  clickmw.search({
    query: "Dog  Food", total: 3, module: "BWEB", language: "en", profile: "shop", tag: "menu",
    results: [
      { url: "/doc/1", item: "d1", title: "One" },
      { url: "https://far.example/2", position: 7, module: "VIDS" },
    ],
  });
  clickmw.click({ url: "/doc/1", position: 1, module: "BWEB", item: "d1" });
  clickmw.related({ suggestion: "cat food", position: 2 });
  clickmw.answer({ question: "What do dogs eat?", answer: "Dog food.", isQuestion: true });
  clickmw.source({ url: "/doc/9", position: 1, question: "What do dogs eat?" });
  clickmw.satisfaction(8, "Could be faster");
  clickmw.conversion({ order: "A-1003", value: 12.5, currency: "eur", url: "/buy" });
}"""
SAID: dict[str, list[Any]] = {
    "searches": [
        "total_hits, page, language, profile, tag, shared",
        (3, 1, "en", "shop", "menu", 0),
    ],
    "impressions": [
        "url, doc_id, position, module_code, kind, seen_at",
        ("/doc/1", "d1", 1, "BWEB", "result", None),
        ("https://far.example/2", "", 7, "VIDS", "result", None),
    ],
    "clicks": [
        "url, title, doc_id, position, module_code, kind",
        ("/doc/1", "One", "d1", 1, "BWEB", "result"),
        ("", "cat food", "cat food", 2, "", "related"),
        ("/doc/9", None, "", 1, "", "source"),
    ],
    "answers": ["question, answer, is_question", ("What do dogs eat?", "Dog food.", 1)],
    "feedback": ["score, comment", (8, "Could be faster")],
    "conversions": ["order_id, value, currency, url", ("A-1003", 12.5, "EUR", "/buy")],
}


def test_a_page_may_say_all_of_it_itself(desk: Desk) -> None:
    desk.site.pages["/app"] = (CORE + EXTRA, {})
    desk.page.goto(f"{desk.site.address}/app")
    desk.page.wait_for_function("!!(window.clickmw && clickmw.scan && clickmw.search)")
    desk.page.evaluate(SAYS)
    # They are reports of their own, which overtake each other on their way.
    for view, (_, *expected) in SAID.items():
        desk.site.wait(view, count=len(expected))
    desk.leave()

    for view, (columns, *expected) in SAID.items():
        found = desk.site.rows(view, f"{columns}, query, source, trust, counted")
        said = [(*row, "dog food", "beacon", "anonymous", 1) for row in expected]
        assert sorted(found, key=repr) == sorted(said, key=repr), view
    ids = {row for view in SAID for row in desk.site.rows(view, "query_id")}
    assert len(ids) == 1


def test_the_question_is_answered_by_keyboard(desk: Desk) -> None:
    page = desk.page
    desk.show("<clickmw-feedback></clickmw-feedback>" + EXTRA + script("clickmw.feedback.js"))
    desk.open()
    page.get_by_role("radio", name="9", exact=True).focus()
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    page.keyboard.type("More pictures")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.get_by_text("Thank you.").wait_for()
    desk.leave()

    columns = "query, score, comment, source, trust, counted"
    row = ("tax form", 9, "More pictures", "beacon", "session", 1)
    assert desk.site.rows("feedback", columns) == [row]
    assert desk.site.rows("feedback", "query_id") == desk.site.rows("searches", "query_id")


NOTHING = f"""<!doctype html><title>Nothing</title><body>
<ol data-click-module="BWEB" data-click-query="Tax From" data-click-total="0"></ol>
<clickmw-feedback query="Tax From"></clickmw-feedback>
{CORE}{EXTRA}{script("clickmw.feedback.js")}</body>"""


def test_a_page_without_results_may_ask_too(desk: Desk) -> None:
    desk.site.pages["/nothing"] = (NOTHING, {})
    desk.page.goto(f"{desk.site.address}/nothing")
    desk.page.get_by_role("radio", name="0", exact=True).check()
    desk.page.get_by_role("button", name="Send").click()
    desk.page.get_by_text("Thank you.").wait_for()
    desk.leave()

    said = desk.site.wait("feedback", "query, query_id, score, comment, trust, counted")
    assert said == [("tax from", None, 0, None, "anonymous", 1)]
    assert desk.site.rows("searches", SEARCH) == [("tax from", 0, "page", "signed", 1, 0)]


# -- what a link may be made of, and where it may stand --------------------------------------------


def test_who_selects_the_text_of_a_link_clicks_nothing(desk: Desk) -> None:
    desk.show("<style>li { margin: 30px 100px } a { user-select: text }</style>")
    desk.open()
    box = desk.page.locator("#one").bounding_box()
    mouse, middle = desk.page.mouse, box["y"] + box["height"] / 2
    mouse.move(box["x"] + box["width"] + 60, middle)
    mouse.down()
    mouse.move(box["x"] + box["width"] / 2, middle, steps=5)
    mouse.move(box["x"] + 1, middle, steps=5)
    mouse.up()
    assert desk.page.evaluate("getSelection().toString()").strip() in ("one", "ne")
    desk.leave()

    assert desk.site.rows("clicks", CLICK) == []


def test_two_quick_clicks_are_one(desk: Desk) -> None:
    desk.show()
    desk.open()
    desk.page.dblclick("#best")
    desk.site.wait("clicks", count=2)
    desk.leave()

    rows = desk.site.rows("clicks", "position, counted, drop_reason")
    assert rows == [(1, 1, None), (1, 0, "duplicate")]


PIXEL = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
PICTURE = f"""<ol data-click-module="IMAG" data-click-query="tax form"><li>
<a data-click href="/doc/picture"><img id="picture" alt="A form" width="50" height="50" src="{PIXEL}"></a>
</ol>"""


@pytest.mark.parametrize("gesture", ["left", "middle"])
def test_a_click_on_the_picture_of_a_link_is_one(gesture: str, desk: Desk) -> None:
    desk.show(PICTURE)
    desk.open()
    desk.page.click("#picture", button=gesture)
    desk.site.wait("clicks")
    desk.leave()

    row = ("tax form", "/doc/picture", 1, "IMAG", "result", "beacon", "signed", 1, 1)
    assert desk.site.rows("clicks", CLICK) == [row]


def test_who_drags_the_picture_of_a_link_clicks_nothing(desk: Desk) -> None:
    desk.show(PICTURE)
    desk.open()
    desk.page.drag_and_drop("#picture", "#other")
    desk.leave()

    assert desk.site.rows("clicks", CLICK) == []


@pytest.mark.parametrize("target", ["", pytest.param("_top", marks=pytest.mark.long), "_blank"])
@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_a_click_in_a_frame_is_one(
    target: str, scripts: bool, desk_of: Callable[..., Desk]
) -> None:
    desk = desk_of(java_script_enabled=scripts)
    desk.show(f'<base target="{target}">' if target else "")
    desk.site.pages["/around"] = ('<iframe src="/search" width="600" height="500"></iframe>', {})
    desk.page.goto(f"{desk.site.address}/around")
    frame = desk.page.frame_locator("iframe")
    if scripts:
        frame.locator("#one[data-click-token]").wait_for()
    frame.locator("#two").click()
    desk.site.wait("clicks")
    desk.leave()

    source = "beacon" if scripts else "redirect"
    row = ("tax form", *TWO, "result", source, "signed", 1, 1)
    assert desk.site.rows("clicks", CLICK) == [row]
    assert desk.site.rows("searches", SEARCH) == [SEEN]


CONTROL = """<ol data-click-module="BUTT" data-click-query="tax form"><li>
<a data-click href="/doc/button"{target}><button id="control" type="button">More</button></a></ol>"""


@pytest.mark.parametrize("target", ["", ' target="_blank"'], ids=["here", "new tab"])
@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_a_click_on_a_button_inside_a_link_is_one(
    scripts: bool, target: str, desk_of: Callable[..., Desk]
) -> None:
    desk = desk_of(java_script_enabled=scripts)
    desk.show(CONTROL.format(target=target))
    desk.open(works=scripts)
    desk.page.click("#control")
    desk.arrive("/doc/button")
    desk.site.wait("clicks")
    desk.leave()

    source = "beacon" if scripts else "redirect"
    row = ("tax form", "/doc/button", 1, "BUTT", "result", source, "signed", 1, 1)
    assert desk.site.rows("clicks", CLICK) == [row]


def test_a_button_inside_a_link_that_prevents_the_click_is_a_menu(desk: Desk) -> None:
    work = "control.onclick = (event) => event.preventDefault()"
    desk.page.clock.install()
    desk.show(CONTROL.format(target="") + f"<script>{work}</script>")
    desk.open()
    desk.page.click("#control")
    desk.page.clock.run_for(5_500)
    desk.leave()

    assert desk.site.rows("clicks", CLICK) == []


# -- pages and browsers that are unlike others -----------------------------------------------------


def test_who_is_faster_than_the_first_report_is_counted_by_the_redirect(desk: Desk) -> None:
    desk.show()
    held: list[Any] = []
    desk.context.route("**/_clicks/e", lambda route: held.append(route))
    desk.open(works=False)
    desk.page.click("#best")
    desk.site.wait("clicks")
    held[0].continue_()
    desk.page.wait_for_selector("#one[data-click-token]")
    desk.context.unroute("**/_clicks/e")
    desk.page.click("#best")
    desk.site.wait("clicks", count=2)
    desk.leave()

    rows = desk.site.rows("clicks", "position, source, counted, drop_reason")
    assert rows == [(1, "redirect", 1, None), (1, "beacon", 0, "duplicate")]


@pytest.mark.parametrize("host", ["127.0.0.1", "far.example"], ids=["trusted", "plain http"])
def test_a_page_that_hides_its_address_reports_all_the_same(host: str, desk: Desk) -> None:
    desk.show(Referrer_Policy="no-referrer")
    desk.page.goto(desk.site.address.replace("127.0.0.1", host) + "/search")
    desk.page.wait_for_selector("#one[data-click-token]")
    desk.page.click("#two")
    desk.page.wait_for_url("**/doc/2")
    desk.leave()

    assert desk.site.rows("clicks", "url, source, counted") == [("/doc/2", "beacon", 1)]


@pytest.mark.parametrize("year", [pytest.param(2019, marks=pytest.mark.long), 2040])
def test_a_browser_whose_clock_is_wrong_counts_all_the_same(year: int, desk: Desk) -> None:
    desk.page.clock.set_fixed_time(datetime(year, 1, 1))
    desk.show()
    desk.open()
    desk.page.wait_for_timeout(1_300)
    desk.page.click("#two")
    desk.page.wait_for_url("**/doc/2")
    desk.leave()

    assert desk.site.rows("clicks", "position, counted, drop_reason") == [(12, 1, None)]
    assert len(desk.site.wait(SEEN_ROWS, count=8)) == 8


@pytest.mark.parametrize("year", [pytest.param(2019, marks=pytest.mark.long), 2040])
def test_a_view_of_a_browser_whose_clock_is_wrong_is_a_search(
    year: int, cached: Callable[..., Desk]
) -> None:
    desk = cached()
    desk.page.clock.set_fixed_time(datetime(year, 1, 1))
    desk.open()
    desk.page.click("#two")
    desk.page.wait_for_url("**/doc/2")
    desk.leave()

    assert desk.site.rows("searches", VIEW) == [LEFT, VIEWED]
    assert desk.site.rows("clicks", "position, counted, drop_reason") == [(12, 1, None)]


@pytest.mark.parametrize(
    "keys",
    [
        "Control+Enter",
        *(pytest.param(f"{key}+Enter", marks=pytest.mark.long) for key in ("Shift", "Alt")),
    ],
)
def test_a_key_that_follows_a_link_is_one_click(keys: str, desk: Desk) -> None:
    desk.show()
    desk.open()
    desk.page.focus("#two")
    desk.page.keyboard.press(keys)
    desk.site.wait("clicks")
    desk.leave()

    assert desk.site.rows("clicks", "position, counted") == [(12, 1)]


def test_a_router_that_says_its_click_itself_is_one_click(desk: Desk) -> None:
    work = "clickmw.click(two); event.preventDefault(); history.pushState(0, '', '/doc/2')"
    desk.show(EXTRA + f"<script>two.addEventListener('click', (event) => {{ {work} }})</script>")
    desk.open()
    desk.page.wait_for_function("!!clickmw.search")
    desk.page.click("#two")
    desk.site.wait("clicks", count=2)
    desk.leave()

    assert sorted(desk.site.rows("clicks", "position, counted")) == [(12, 0), (12, 1)]


def test_a_long_list_is_seen_to_its_end(desk: Desk) -> None:
    many = "".join(f'<li><a data-click href="/many/{n}">{n}</a>' for n in range(300))
    desk.show(f'<ol data-click-module="MANY" data-click-query="tax form">{many}</ol>')
    desk.page.set_viewport_size({"width": 800, "height": 10_000})
    desk.open()
    desk.page.wait_for_timeout(3_000)
    desk.leave()

    assert len(desk.site.wait(f"{SEEN_ROWS} AND module_code = 'MANY'", count=300)) == 300


def test_a_frame_on_a_page_of_another_site_counts(desk: Desk) -> None:
    desk.show()
    frame = f'<iframe src="{desk.site.address}/search" width="600" height="500"></iframe>'
    desk.site.pages["/around"] = (frame, {})
    desk.page.goto(f"{desk.elsewhere}/around")
    frame = desk.page.frame_locator("iframe")
    frame.locator("#one[data-click-token]").wait_for()
    frame.locator("#two").click()
    desk.site.wait("clicks")
    desk.leave()

    assert desk.site.rows("clicks", "position, source, counted") == [(12, "beacon", 1)]


def test_a_base_of_the_page_changes_no_row(desk: Desk) -> None:
    desk.show()
    page, headers = desk.site.pages["/search"]
    page = page.replace("<body>", '<base href="/deep/er/"><body>').replace("/doc/2", "doc/2")
    desk.site.pages["/search"] = (page, headers)
    desk.open()
    desk.page.click("#two")
    desk.page.wait_for_url("**/deep/er/doc/2")
    desk.leave()

    assert desk.site.rows("clicks", "url, counted") == [("/deep/er/doc/2", 1)]


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_below_a_base_of_another_host_links_lead_where_they_did(
    scripts: bool, desk_of: Callable[..., Desk]
) -> None:
    desk = desk_of(java_script_enabled=scripts)
    desk.show()
    page, headers = desk.site.pages["/search"]
    page = page.replace("<body>", f'<base href="{desk.elsewhere}/deep/"><body>')
    desk.site.pages["/search"] = (page.replace("/doc/2", "doc/2"), headers)
    desk.open(works=False)
    assert "/_clicks/" not in desk.page.content()
    desk.page.click("#two")
    desk.page.wait_for_url(f"{desk.elsewhere}/deep/doc/2")
    desk.leave()

    assert desk.site.rows("clicks", CLICK) == []
    assert desk.site.rows("searches", SEARCH) == [SEEN]
    assert desk.site.rows("impressions") == []
    assert desk.site.clicks.door.routes.read_health()["unsigned"] == {"base": 9}
