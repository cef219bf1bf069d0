"""What the snippet does in a real browser: Chromium, real pages, and a collector that only listens."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from clickmw import ClickMW
from clickmw.assets import marked_name, script_tag
from clickmw.demo import running
from clickmw.events import issued_ms
from clickmw.tokens import LinkTarget

START = datetime(2026, 11, 21, 12)
STRICT = (
    "default-src 'none'; script-src 'nonce-{nonce}'; connect-src 'self'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
PAGE = """<!doctype html><title>Results</title><body>{head}
<ol data-click-module="BWEB" data-click-query="tax form" data-click-total="9">
<li><a id="one" data-click href="/doc/1?a=b%26c&amp;d=~x#y">one</a>
<li><a id="two" data-click href="/doc/2"><b>two <i id="inner">inner</i></b></a>
<li><a id="three" data-click target="_blank" href="/doc/3">three</a>
<li><svg width="60" height="20"><a id="four" data-click href="/doc/4"><text y="15">four</text></a></svg>
</ol>{rest}<p><a id="other" href="/doc/other">other</a></p></body>"""


class Site:
    """A site behind clickmw whose reports are kept as they come, and answered as a test wishes."""

    def __init__(self, folder: Path) -> None:
        store = f"sqlite:///{folder / 'clicks.db'}"
        self.clicks = ClickMW(self.host, secret="s" * 40, store=store, redirect_rate=None)
        self.reset()

    def reset(self) -> None:
        self.pages: dict[str, tuple[str, dict[str, str]]] = {}
        self.posts: list[list[dict[str, Any]]] = []
        self.followed: list[str] = []
        self.asked: list[str] = []
        self.answer = "204 No Content"
        self.answer_headers: list[tuple[str, str]] = []

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        path = environ["PATH_INFO"]
        self.asked.append(path)
        if path == "/_clicks/e":
            length = int(environ["CONTENT_LENGTH"] or 0)
            self.posts.append(json.loads(environ["wsgi.input"].read(length)))
            start_response(self.answer, self.answer_headers)
            return [b""]
        if path.startswith("/_clicks/r/"):
            self.followed.append(path)
        return self.clicks(environ, start_response)

    def host(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        path = environ["PATH_INFO"]
        if path == "/slow":  # until the visitor has got to a result
            until = time.monotonic() + 30
            while "/doc/2" not in self.asked and time.monotonic() < until:
                time.sleep(0.02)
        page, headers = self.pages.get(path, ("<!doctype html><title>A result</title>", {}))
        headers = {"Content-Type": "text/html; charset=utf-8", **headers}
        start_response("200 OK", list(headers.items()))
        return [page.encode()]

    @property
    def events(self) -> list[dict[str, Any]]:
        return [event for post in self.posts for event in post]

    def token(self, event: dict[str, Any]) -> LinkTarget:
        return self.clicks.door.signer.read_link(event["k"])

    def wait(self, kind: str, count: int = 1, seconds: float = 20.0) -> list[dict[str, Any]]:
        """Return the events of *kind* as soon as there are *count*, else those after *seconds*."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            found = [event for event in self.events if event["t"] == kind]
            if len(found) >= count:
                break
            time.sleep(0.02)
        return [event for event in self.events if event["t"] == kind]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, str]]:
    site = Site(tmp_path_factory.mktemp("site"))
    with running(site, 0) as address:
        yield site, address
    site.clicks.door.worker.close()


@pytest.fixture
def site(served: tuple[Site, str]) -> Site:
    served[0].reset()
    return served[0]


class Tab:
    """A tab of a visitor."""

    def __init__(self, context: Any, site: Site, address: str) -> None:
        self.page = context.new_page()
        self.context = context
        self.site = site
        self.address = address
        self.said: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))

    def open(self, rest: str = "", *, head: str = "", works: bool = True, **headers: str) -> Tab:
        """Show a page of results; with *works* wait until its links have their own addresses."""
        shown = {name.replace("_", "-"): value for name, value in headers.items()}
        self.site.pages["/search"] = (PAGE.format(head=head, rest=rest), shown)
        self.page.goto(f"{self.address}/search")
        if works:
            self.page.wait_for_selector("#one[data-click-token]")
        return self

    def hrefs(self) -> list[str]:
        script = "[...document.querySelectorAll('ol a')].map((a) => a.getAttribute('href'))"
        return list(self.page.evaluate(script))

    def leave(self) -> None:
        """Go elsewhere by the address bar: what has not been reported is reported now."""
        self.page.goto(f"{self.address}/elsewhere")


@pytest.fixture
def tab_of(
    profile_of: Callable[..., Any], site: Site, served: tuple[Site, str]
) -> Callable[..., Tab]:
    """Open a tab of a fresh profile; keywords as of Playwright's ``new_context``."""
    return lambda **options: Tab(profile_of(**options), site, served[1])


@pytest.fixture
def tab(tab_of: Callable[..., Tab]) -> Tab:
    return tab_of()


def script(name: str, attributes: str = "") -> str:
    return f'<script async src="/_clicks/{marked_name(name)}" {attributes}></script>'


EXTRA = script("clickmw.extra.js")


# -- links -------------------------------------------------------------------------------------


def test_links_get_their_own_addresses_back(tab: Tab) -> None:
    assert tab.open().hrefs() == ["/doc/1?a=b%26c&d=~x#y", "/doc/2", "/doc/3", "/doc/4"]
    token = tab.page.get_attribute("#one", "data-click-token")
    assert tab.site.token({"k": token}).location == "/doc/1?a=b%26c&d=~x#y"
    assert tab.page.get_attribute("#other", "data-click-token") is None


def test_the_first_report_of_a_private_page_is_empty(tab: Tab) -> None:
    tab.open()
    assert tab.site.posts == [[]]


def test_a_page_without_results_says_nothing(tab: Tab) -> None:
    tab.site.pages["/plain"] = (script("clickmw.js"), {})
    tab.page.goto(f"{tab.address}/plain", wait_until="networkidle")
    assert tab.site.posts == []


@pytest.mark.parametrize(
    "answer",
    ["200 OK", "404 Not Found", "503 Service Unavailable"],
)
def test_links_stay_redirects_unless_our_server_answers(answer: str, tab: Tab) -> None:
    tab.site.answer = answer
    tab.open(works=False)
    tab.page.wait_for_load_state("networkidle")

    assert len(tab.site.posts) == 1
    assert all(href.startswith("/_clicks/r/") for href in tab.hrefs())
    tab.page.click("#two")
    tab.page.wait_for_url("**/doc/2")
    assert len(tab.site.followed) == 1
    assert tab.site.events == []


@pytest.mark.parametrize("how", ["report blocked", "script blocked", "no scripts"])
def test_without_reports_the_redirect_counts(how: str, tab_of: Callable[..., Tab]) -> None:
    tab = tab_of(java_script_enabled=how != "no scripts")
    blocked = {"report blocked": "**/_clicks/e", "script blocked": "**/_clicks/*.js"}
    if how in blocked:
        tab.page.route(blocked[how], lambda route: route.abort())
    tab.open(works=False)
    tab.page.wait_for_load_state("networkidle")
    tab.page.click("#two")
    tab.page.wait_for_url("**/doc/2")

    assert len(tab.site.followed) == 1
    assert tab.site.posts == []


def test_a_forged_link_never_becomes_a_script(tab: Tab) -> None:
    forged = (
        '<a id="forged" href="/_clicks/r/:AZdz2LAAAAAAAAAB:1:BWEB::javascript:alert(1).x">x</a>'
    )
    broken = '<a id="broken" href="/_clicks/r/x">x</a>'
    tab.open(forged + broken)

    assert tab.page.get_attribute("#forged", "href").startswith("/_clicks/r/")
    assert tab.page.get_attribute("#broken", "href") == "/_clicks/r/x"
    assert tab.page.get_attribute("#two", "href") == "/doc/2"


# -- gestures ----------------------------------------------------------------------------------


def the_click(tab: Tab, location: str) -> dict[str, Any]:
    """Return the one click that was reported; it leads to *location*."""
    clicks = tab.site.wait("click")
    assert [tab.site.token(click).location for click in clicks] == [location]
    assert tab.site.followed == []
    return clicks[0]


def test_a_click_is_reported_once_and_followed(tab: Tab) -> None:
    tab.open().page.click("#one")
    tab.page.wait_for_url("**/doc/1*")
    click = the_click(tab, "/doc/1?a=b%26c&d=~x#y")

    assert click.keys() == {"t", "k", "i"}
    assert abs(issued_ms(click["i"]) - time.time() * 1000) < 60_000
    assert tab.page.url == f"{tab.address}/doc/1?a=b%26c&d=~x#y"


@pytest.mark.parametrize(
    ("selector", "options"),
    [
        ("#two", {"modifiers": ["Control"]}),
        ("#two", {"modifiers": ["Shift"]}),
        ("#two", {"button": "middle"}),
        ("#inner", {"button": "middle"}),
        ("#three", {}),
    ],
    ids=["Ctrl", "Shift", "middle", "middle, nested", "target=_blank"],
)
def test_a_click_that_opens_another_tab_is_reported_once(
    selector: str, options: dict[str, Any], tab: Tab
) -> None:
    tab.open()
    with tab.context.expect_page() as opened:
        tab.page.click(selector, **options)
    number = "3" if selector == "#three" else "2"
    opened.value.wait_for_url(f"**/doc/{number}")

    the_click(tab, f"/doc/{number}")
    assert tab.page.url.endswith("/search")


@pytest.mark.parametrize("selector", ["#inner", "#four"], ids=["nested", "SVG"])
def test_a_click_inside_a_link_is_reported_once(selector: str, tab: Tab) -> None:
    tab.open().page.click(selector)
    number = "2" if selector == "#inner" else "4"
    tab.page.wait_for_url(f"**/doc/{number}")

    the_click(tab, f"/doc/{number}")


def test_the_return_key_is_a_click(tab: Tab) -> None:
    tab.open().page.focus("#two")
    tab.page.keyboard.press("Enter")
    tab.page.wait_for_url("**/doc/2")

    the_click(tab, "/doc/2")


def test_a_touch_is_a_click(tab_of: Callable[..., Tab]) -> None:
    tab = tab_of(has_touch=True)
    tab.open().page.tap("#two")
    tab.page.wait_for_url("**/doc/2")

    the_click(tab, "/doc/2")


SHADOW = """<div id="host"></div><script>
const root = document.querySelector("#host").attachShadow({{mode: "{mode}"}});
const link = document.createElement("a");
link.append(document.createElement("b"));
link.firstChild.textContent = "shadow";
link.href = "/_clicks/r/{token}";
root.append(link);
window.shadow = root;
</script>"""


@pytest.mark.parametrize(("mode", "reported"), [("open", 1), ("closed", 0)])
def test_a_link_in_a_shadow_root_is_counted_once(mode: str, reported: int, tab: Tab) -> None:
    target = LinkTarget("", "AZdz2LAAAAAAAAAB", 5, "BWEB", "", "/doc/5")
    token = tab.site.clicks.door.signer.sign_link(target)
    tab.open(SHADOW.format(mode=mode, token=token))
    tab.page.evaluate("clickmw.scan(shadow)")
    tab.page.wait_for_timeout(100)
    box = tab.page.evaluate("shadow.firstChild.getBoundingClientRect().toJSON()")
    tab.page.mouse.click(box["x"] + 5, box["y"] + 5)
    tab.page.wait_for_url("**/doc/5")

    assert len(tab.site.wait("click", reported)) == reported
    assert len(tab.site.followed) == 1 - reported


@pytest.mark.parametrize(
    "gesture",
    [
        "page.click('#two', button='right')",
        "page.evaluate('document.querySelector(\"#three\").click()')",
        "page.evaluate('open(document.querySelector(\"#two\").href)')",
        "page.drag_and_drop('#two', '#other')",
        "page.click('#other', modifiers=['Control'])",
        "page.focus('#two')",
    ],
    ids=["right button", "script's click", "script's window", "drag", "another link", "focus"],
)
def test_what_is_no_click_on_a_result_is_not_reported(gesture: str, tab: Tab) -> None:
    page = tab.open().page
    eval(gesture, {"page": page})
    page.wait_for_timeout(300)
    tab.leave()
    page.wait_for_timeout(200)

    assert tab.site.wait("click", seconds=0.1) == []


def on_click(work: str, where: str = "document.querySelector('#two')", phase: str = "false") -> str:
    """Return a script of the page that handles clicks on the second result."""
    return f"<script>{where}.addEventListener('click', (event) => {{ {work} }}, {phase})</script>"


FOLLOWED = {
    "a router": "event.preventDefault(); history.pushState(0, '', '/doc/2')",
    "a slow router": "event.preventDefault(); setTimeout(() => history.pushState(0, '', '/x'), 700)",
    "a hash router": "event.preventDefault(); location.hash = 'two'",
    "a delay": "event.preventDefault(); setTimeout(() => { location = '/doc/2' }, 300)",
    "stopped": "event.stopPropagation()",
    "stopped at once": "event.stopImmediatePropagation()",
}


@pytest.mark.parametrize("work", FOLLOWED.values(), ids=list(FOLLOWED))
@pytest.mark.parametrize("phase", ["false", "true"], ids=["up", "down"])
def test_a_click_that_a_script_takes_over_is_reported_once_the_page_moves_on(
    work: str, phase: str, tab: Tab
) -> None:
    tab.open(on_click(work, phase=phase)).page.click("#two")
    tab.site.wait("click")
    tab.page.wait_for_timeout(300)

    the_click(tab, "/doc/2")


def test_a_new_tab_is_reported_though_nobody_hears_of_the_click(tab: Tab) -> None:
    tab.open(on_click("event.stopPropagation()")).page.click("#two", modifiers=["Control"])

    the_click(tab, "/doc/2")


def test_a_script_may_prevent_a_click_after_all_others(tab: Tab) -> None:
    tab.open(on_click("event.preventDefault()", "window")).page.click("#two")
    tab.page.wait_for_timeout(300)

    assert tab.site.wait("click", seconds=0.1) == []


def test_a_click_that_opens_a_menu_is_none(tab: Tab) -> None:
    tab.page.clock.install()
    tab.open(on_click("event.preventDefault(); event.target.id = 'opened'")).page.click("#two")
    tab.page.wait_for_selector("#opened")  # else a slow page may be clicked after those seconds
    tab.page.clock.run_for(5_500)
    tab.leave()

    assert tab.site.wait("click", seconds=0.5) == []


def test_a_menu_is_no_click_though_another_link_is_followed_at_once(tab: Tab) -> None:
    tab.open(on_click("event.preventDefault()")).page.click("#two")
    tab.page.click("#other")
    tab.page.wait_for_url("**/doc/other")

    assert tab.site.wait("click", seconds=0.5) == []


def test_a_link_that_the_page_uses_for_another_result_counts_by_its_redirect(tab: Tab) -> None:
    target = LinkTarget("", "AZdz2LAAAAAAAAAB", 5, "BWEB", "", "/doc/5")
    href = "/_clicks/r/" + tab.site.clicks.door.signer.sign_link(target)
    page = tab.open().page
    page.evaluate("(href) => document.querySelector('#two').setAttribute('href', href)", href)
    page.click("#two")
    page.wait_for_url("**/doc/5")

    assert [unquote(path) for path in tab.site.followed] == [href]
    assert tab.site.wait("click", seconds=0.2) == []


# -- transport ---------------------------------------------------------------------------------

REFUSED = "<script>Navigator.prototype.sendBeacon = {beacon}</script>"


@pytest.mark.parametrize("beacon", ["undefined", "() => false"], ids=["missing", "refused"])
def test_without_a_beacon_the_redirect_counts(beacon: str, tab: Tab) -> None:
    page = tab.open(head=REFUSED.format(beacon=beacon)).page
    page.click("#two")
    page.wait_for_url("**/doc/2")

    assert len(tab.site.followed) == 1
    assert tab.site.wait("click", seconds=0.2) == []


def test_with_no_room_for_reports_the_redirect_counts(tab: Tab) -> None:
    page = tab.open().page
    # All that outlives a page shares 64 KiB. Source: the Fetch standard.
    page.evaluate("void fetch('/slow', {method: 'POST', body: 'x'.repeat(65500), keepalive: true})")
    page.click("#two")
    page.wait_for_url("**/doc/2")

    assert len(tab.site.followed) == 1
    assert tab.site.wait("click", seconds=0.2) == []


def test_a_request_takes_the_place_of_a_beacon_when_no_link_is_followed(tab: Tab) -> None:
    router = on_click("event.preventDefault(); history.pushState(0, '', '/doc/2')")
    tab.open(router, head=REFUSED.format(beacon="() => false")).page.click("#two")

    the_click(tab, "/doc/2")


def test_it_works_under_a_strict_policy(tab: Tab) -> None:
    policy = STRICT.format(nonce="r4nd0m")
    tab.page.add_init_script(
        "window.broken = [];"
        "addEventListener('securitypolicyviolation', (event) => broken.push(event.violatedDirective))"
    )
    files = "".join(
        script(name, 'nonce="r4nd0m"') for name in ("clickmw.extra.js", "clickmw.feedback.js")
    )
    widget = "<clickmw-feedback></clickmw-feedback>"
    tab.open(files + widget, Content_Security_Policy=policy)
    tab.page.wait_for_selector("clickmw-feedback form")
    assert tab.page.evaluate("broken") == []
    tab.page.click("#two")
    tab.page.wait_for_url("**/doc/2")

    the_click(tab, "/doc/2")
    assert [text for text in tab.said if "Content Security Policy" in text] == []


def test_a_policy_without_connect_src_leaves_the_redirects(tab: Tab) -> None:
    tab.open(works=False, Content_Security_Policy="default-src 'none'; script-src 'self'")
    tab.page.wait_for_load_state("networkidle")
    tab.page.click("#two")
    tab.page.wait_for_url("**/doc/2")

    assert len(tab.site.followed) == 1


# -- the page lives on -------------------------------------------------------------------------


def test_the_script_may_be_there_twice(tab: Tab) -> None:
    tab.open(script("clickmw.js") + script("clickmw.js", 'id="clickmw"')).page.click("#two")
    tab.page.wait_for_url("**/doc/2")

    the_click(tab, "/doc/2")
    assert tab.site.posts.count([]) == 1


@pytest.mark.whole_browser
def test_a_page_from_the_browsers_own_cache_counts_the_next_result(tab: Tab) -> None:
    tab.page.add_init_script("addEventListener('pageshow', (e) => { window.kept = e.persisted })")
    page = tab.open().page
    page.click("#one")
    page.wait_for_url("**/doc/1*")
    page.go_back(wait_until="commit")
    assert page.evaluate("kept") is True
    page.click("#two")
    page.wait_for_url("**/doc/2")

    clicks = tab.site.wait("click", 2)
    assert [tab.site.token(click).position for click in clicks] == [1, 2]
    assert len({click["i"] for click in clicks}) == 2
    assert tab.site.posts.count([]) == 1


@pytest.mark.parametrize("how", ["scan", "observe", "turbo:load", "turbo:frame-load", "htmx:load"])
def test_links_that_come_later_are_found(how: str, tab: Tab) -> None:
    target = LinkTarget("", "AZdz2LAAAAAAAAAB", 5, "BWEB", "", "/doc/5")
    token = tab.site.clicks.door.signer.sign_link(target)
    page = tab.open(script("clickmw.extra.js", "data-observe") if how == "observe" else "").page
    page.wait_for_load_state("networkidle")
    page.evaluate(
        """(token) => {
        const link = document.createElement("a");
        link.id = "late";
        link.textContent = "late";
        link.setAttribute("href", "/_clicks/r/" + token);
        document.body.append(link);
    }""",
        token,
    )
    if how == "scan":
        page.evaluate("clickmw.scan()")
    elif how != "observe":
        page.evaluate(
            "(type) => document.body.dispatchEvent(new Event(type, {bubbles: true}))", how
        )
    page.wait_for_selector("#late[data-click-token]")
    page.click("#late")
    page.wait_for_url("**/doc/5")

    the_click(tab, "/doc/5")


# -- seen --------------------------------------------------------------------------------------


def test_what_was_visible_for_a_second_is_seen(tab: Tab) -> None:
    far = '<div id="space"></div>'
    page = tab.open(far).page
    page.wait_for_timeout(1_300)
    tab.leave()
    (seen,) = tab.site.wait("seen")

    assert seen.keys() == {"t", "k", "p"}
    assert sorted(seen["p"]) == [["BWEB", 1], ["BWEB", 2], ["BWEB", 3], ["BWEB", 4]]
    assert tab.site.token(seen).location.startswith("/doc/")


def hold(clock: Any) -> None:
    """Let no time pass on the pages of a tab: on a busy machine a second is soon over."""
    clock.install(time=START)
    clock.pause_at(START + timedelta(seconds=1))


def test_what_was_visible_for_less_is_not_seen(tab: Tab) -> None:
    hold(tab.page.clock)
    tab.open().page.wait_for_timeout(300)
    tab.page.clock.run_for(900)
    tab.leave()

    assert tab.site.wait("seen", seconds=0.5) == []


def test_what_is_out_of_sight_is_not_seen(tab: Tab) -> None:
    tab.open("<style>li + li { margin-top: 3000px }</style>").page.wait_for_timeout(1_300)
    tab.leave()
    (seen,) = tab.site.wait("seen")

    assert seen["p"] == [["BWEB", 1]]


@pytest.mark.whole_browser
def test_what_was_seen_is_said_once_and_with_the_click(tab: Tab) -> None:
    page = tab.open().page
    page.wait_for_timeout(1_300)
    page.click("#two")
    page.wait_for_url("**/doc/2")
    page.go_back(wait_until="commit")
    page.wait_for_timeout(1_300)
    tab.leave()
    page.wait_for_timeout(300)

    assert len(tab.site.wait("seen")) == 1


# -- views -------------------------------------------------------------------------------------

PUBLIC = {"Cache_Control": "public, max-age=60"}


def test_a_shared_page_reports_its_view_and_says_it_with_each_click(tab: Tab) -> None:
    page = tab.open(**PUBLIC).page
    page.click("#two")
    page.wait_for_url("**/doc/2")
    (view,) = tab.site.wait("view")

    assert abs(issued_ms(view["v"]) - time.time() * 1000) < 60_000
    assert tab.site.token(view).query_id == tab.site.token(the_click(tab, "/doc/2")).query_id
    assert the_click(tab, "/doc/2")["v"] == view["v"]


def test_a_shared_page_says_its_view_with_the_redirect_too(tab: Tab) -> None:
    tab.site.answer = "503 Service Unavailable"
    tab.open(works=False, **PUBLIC).page.wait_for_load_state("networkidle")
    (view,) = tab.site.wait("view")

    assert {href.partition("?v=")[2] for href in tab.hrefs()} == {view["v"]}


# -- wishes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wish",
    [
        "Object.defineProperty(Navigator.prototype, 'globalPrivacyControl', {value: true})",
        "Object.defineProperty(Navigator.prototype, 'doNotTrack', {value: '1'})",
        "document.cookie = 'clickmw_optout=1'",
    ],
    ids=["GPC", "DNT", "opted out"],
)
def test_who_does_not_want_to_be_measured_is_not(wish: str, tab: Tab) -> None:
    tab.page.add_init_script(wish)
    page = tab.open(EXTRA, works=False, **PUBLIC).page
    page.wait_for_load_state("networkidle")
    page.evaluate("clickmw.search({query: 'tax'})")
    assert all(href.startswith("/_clicks/r/") and "?" not in href for href in tab.hrefs())
    tab.leave()
    page.wait_for_timeout(200)

    assert tab.site.posts == []


@pytest.mark.whole_browser
def test_a_visitor_may_opt_out_and_in(tab: Tab) -> None:
    page = tab.open().page
    page.evaluate("clickmw.optOut()")
    (cookie,) = tab.context.cookies()
    assert (cookie["name"], cookie["value"], cookie["path"]) == ("clickmw_optout", "1", "/")
    assert (cookie["sameSite"], cookie["secure"]) == ("Lax", False)
    assert 364 < (cookie["expires"] - time.time()) / 86_400 < 366
    page.click("#two")
    page.wait_for_url("**/doc/2")
    assert tab.site.wait("click", seconds=0.3) == []

    page.go_back(wait_until="commit")
    page.evaluate("clickmw.optIn()")
    assert tab.context.cookies() == []
    page.click("#two")
    page.wait_for_url("**/doc/2")
    the_click(tab, "/doc/2")


def test_nothing_is_kept_in_the_browser(tab: Tab) -> None:
    page = tab.open(EXTRA).page
    page.click("#two", modifiers=["Control"])
    tab.site.wait("click")

    assert tab.context.cookies() == []
    assert tab.context.storage_state() == {"cookies": [], "origins": []}
    assert page.evaluate("localStorage.length + sessionStorage.length") == 0


def test_nothing_happens_before_consent(tab: Tab) -> None:
    core = script("clickmw.js", "data-consent")
    page = tab.open(head=core, works=False).page
    page.wait_for_load_state("networkidle")
    assert all(href.startswith("/_clicks/r/") for href in tab.hrefs())
    assert tab.site.posts == []

    page.evaluate("clickmw.consent()")
    page.wait_for_selector("#two[data-click-token]")
    page.click("#two")
    page.wait_for_url("**/doc/2")
    the_click(tab, "/doc/2")


# -- the tag -----------------------------------------------------------------------------------


def test_the_tag_of_the_command_line_works(tab: Tab) -> None:
    tab.site.pages["/own"] = (
        script_tag("clickmw.js", "/_clicks") + script_tag("clickmw.extra.js", "/_clicks"),
        {},
    )
    tab.page.goto(f"{tab.address}/own")
    tab.page.wait_for_function("!!(window.clickmw && clickmw.scan && clickmw.search)")
    tab.page.evaluate("clickmw.search({query: 'tax'})")

    assert tab.site.wait("search")[0]["q"] == "tax"


def test_a_page_of_another_site_reports_to_ours(tab: Tab) -> None:
    folder = tab.address + "/_clicks"
    tags = script_tag("clickmw.js", folder) + script_tag("clickmw.extra.js", folder)
    tab.site.pages["/foreign"] = (tags, {})
    tab.page.goto(tab.address.replace("127.0.0.1", "localhost") + "/foreign")
    tab.page.wait_for_function("!!(window.clickmw && clickmw.scan && clickmw.search)")
    tab.page.evaluate("clickmw.search({query: 'tax'})")

    assert tab.site.wait("search")[0]["q"] == "tax"
    assert [text for text in tab.said if "CORS" in text] == []


# -- pages that are prepared -------------------------------------------------------------------


def test_a_page_that_was_fetched_in_advance_reports_its_view(tab: Tab) -> None:
    tab.page.set_extra_http_headers({"Sec-Purpose": "prefetch"})
    page = tab.open().page
    (view,) = tab.site.wait("view")
    page.click("#two")
    page.wait_for_url("**/doc/2")

    assert the_click(tab, "/doc/2")["v"] == view["v"]


RULES = """<!doctype html><script type="speculationrules">
{"prerender": [{"urls": ["/search"], "eagerness": "immediate"}]}</script>"""


def test_a_page_that_speculation_rules_fetched_reports_when_it_is_shown(tab: Tab) -> None:
    tab.site.pages["/search"] = (PAGE.format(head="", rest=""), {})
    tab.site.pages["/front"] = (RULES + '<a id="go" href="/search">go</a>', {})
    page = tab.page
    page.goto(f"{tab.address}/front")
    page.wait_for_timeout(500)
    assert tab.site.posts == []

    page.click("#go")
    page.wait_for_selector("#two[data-click-token]")
    assert len(tab.site.wait("view")) == 1
    assert tab.site.asked.count("/search") == 1


def test_a_page_that_was_prepared_reports_when_it_is_shown(
    chromium_path: str, agent: str, served: tuple[Site, str], site: Site, tmp_path: Path
) -> None:
    site.pages["/search"] = (PAGE.format(head=EXTRA, rest=SAYS), {})
    leave = "fetch('/leaving').then(() => { location = '/search' })"
    site.pages["/front"] = (f"{RULES}<script>setTimeout(() => {leave}, 2000)</script>", {})
    # A browser that is driven from outside prepares no page.
    command = [chromium_path, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
    command += [f"--user-data-dir={tmp_path}", f"--user-agent={agent}", f"{served[1]}/front"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        (search,) = site.wait("search", seconds=20)
        (view,) = site.wait("view")
        process.terminate()

    assert site.asked.count("/search") == 1
    assert site.asked.index("/search") < site.asked.index("/prepared")
    assert site.asked.index("/leaving") < site.asked.index("/_clicks/e")
    assert search["q"] == "while it was prepared"
    assert view.keys() == {"t", "k", "v"}


SAYS = """<script>
if (document.prerendering) fetch("/prepared");
addEventListener("load", () => clickmw.search({query: "while it was prepared"}));
</script>"""


# -- the extra ---------------------------------------------------------------------------------


@pytest.mark.whole_browser
def test_who_comes_back_is_reported_with_the_seconds(tab: Tab) -> None:
    page = tab.open(EXTRA).page
    page.click("#two")
    page.wait_for_url("**/doc/2")
    page.wait_for_timeout(1_000)
    page.go_back(wait_until="commit")
    (click,) = tab.site.wait("click")
    (back,) = tab.site.wait("return")

    assert back == {"t": "return", "k": click["k"], "i": click["i"], "s": back["s"]}
    assert 1.0 <= back["s"] < 3
    assert back["s"] == round(back["s"], 1)


def test_a_router_brings_back_too(tab: Tab) -> None:
    router = on_click("event.preventDefault(); history.pushState(0, '', '/doc/2')")
    page = tab.open(router + EXTRA).page
    page.click("#two")
    tab.site.wait("click")
    page.evaluate("history.back()")
    (back,) = tab.site.wait("return")

    assert back["i"] == the_click(tab, "/doc/2")["i"]


@pytest.mark.parametrize("options", [{"modifiers": ["Control"]}, {"button": "middle"}])
def test_nobody_comes_back_from_another_tab(options: dict[str, Any], tab: Tab) -> None:
    page = tab.open(EXTRA).page
    page.click("#two", **options)
    tab.site.wait("click")
    page.evaluate("location = '/doc/x'")
    page.wait_for_url("**/doc/x")
    page.go_back(wait_until="commit")
    page.wait_for_timeout(300)

    assert tab.site.wait("return", seconds=0.2) == []


def told(tab: Tab, text: str) -> bool:
    """Tell whether the console says *text* within some seconds."""
    for _ in range(400):
        if any(text in said for said in tab.said):
            return True
        tab.page.wait_for_timeout(50)
    return False


DEBUG = script("clickmw.extra.js", "data-debug")


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        ("accepted", "click: kept, and counted unless it repeats an earlier one"),
        ("robot", "click: kept, not counted: looks like a robot"),
        ("rejected: the signature does not match", "click: rejected: the signature does not match"),
        (None, "click: taken"),
    ],
)
def test_with_data_debug_the_console_says_what_became_of_a_click(
    verdict: str | None, words: str, tab: Tab
) -> None:
    tab.site.answer_headers = [("X-ClickMW", verdict)] if verdict else []
    page = tab.open(DEBUG).page
    page.wait_for_function("!!clickmw.search")
    page.click("#two", modifiers=["Control"])

    assert told(tab, words)
    the_click(tab, "/doc/2")


def test_with_data_debug_the_console_says_why_a_click_is_none(tab: Tab) -> None:
    tab.page.clock.install()
    page = tab.open(DEBUG + on_click("event.preventDefault()")).page
    page.wait_for_function("!!clickmw.search")
    page.evaluate("document.querySelector('#three').click()")
    page.click("#other", modifiers=["Control"])
    page.click("#two")

    page.clock.run_for(7_000)

    assert told(tab, "not counted, a script made it")
    assert told(tab, "click: not on a result")
    assert told(tab, "4 links have their own addresses, 0 are redirects")
    assert told(tab, "not counted, prevented and the page stayed")


def test_with_data_debug_the_console_says_why_links_stay_redirects(tab: Tab) -> None:
    tab.site.answer = "404 Not Found"
    tab.open(DEBUG, works=False)

    assert told(tab, "0 links have their own addresses, 4 are redirects")
    assert told(tab, "/_clicks/e answered 404, not 204")


def test_with_data_debug_the_console_says_why_nothing_is_sent(tab: Tab) -> None:
    tab.page.add_init_script("document.cookie = 'clickmw_optout=1'")
    tab.open(DEBUG, works=False)

    assert told(tab, "nothing is sent: clickmw.optOut() was called")


# -- the question ------------------------------------------------------------------------------


def test_the_question_is_answered_by_keyboard(tab: Tab) -> None:
    page = tab.open(
        "<clickmw-feedback></clickmw-feedback>" + EXTRA + script("clickmw.feedback.js")
    ).page
    group = page.get_by_role("group", name="How well did this search work for you?")
    assert group.get_by_role("radio").count() == 11
    page.focus("#other")
    page.keyboard.press("Shift+Tab")  # Send
    page.keyboard.press("Shift+Tab")
    page.keyboard.type("more pictures")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Space")
    page.keyboard.press("ArrowLeft")
    assert group.get_by_role("radio", name="9", exact=True).is_checked()
    page.get_by_role("textbox", name="What could be better?").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    (event,) = tab.site.wait("feedback")

    assert (event["y"], event["x"]) == (9, "more pictures")
    token = page.get_attribute("#one", "data-click-token")
    assert event["g"] == tab.site.token({"k": token}).query_id
    assert page.get_by_role("status").inner_text() == "Thank you."
    assert page.evaluate("document.activeElement.getAttribute('role')") == "status"
