"""Turbo, htmx and speculation rules, the real ones: each click is counted once, and so is a search."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from clickmw.assets import marked_name
from clickmw.demo import running

pytestmark = pytest.mark.wide

CORE = f'<script async src="/_clicks/{marked_name("clickmw.js")}"></script>'
FILES = {
    "turbo": "@hotwired/turbo/dist/turbo.es2017-umd.js",
    "htmx 4": "htmx.org/dist/htmx.js",
    "htmx 2": "htmx-older/dist/htmx.js",
}
BOOST = {"htmx 4": 'hx-boost:inherited="true"', "htmx 2": 'hx-boost="true"'}
CLICKS = "url, position, source, counted, drop_reason"
COUNTED = "clicks WHERE counted"
SEARCHES = "query, counted, drop_reason"
ONE_SEARCH = [("tax form", 1, None)]


class Elsewhere:
    """Another site, which lets no script of ours read its pages."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        if environ["PATH_INFO"].startswith("/doc/"):
            self.asked.append(environ["PATH_INFO"])
        start_response("200 OK", [("Content-Type", "text/html")])
        return [b"<!doctype html><title>Elsewhere</title>"]


@pytest.fixture(scope="module")
def served_elsewhere() -> Iterator[tuple[Elsewhere, str]]:
    site = Elsewhere()
    with running(site, 0) as address:
        yield site, address.replace("127.0.0.1", "www.library.example")


class Visit:
    """A visitor of one page of results, whose site uses *library*."""

    def __init__(self, site: Any, elsewhere: tuple[Elsewhere, str], packages: Path) -> None:
        self.site = site
        self.elsewhere, self.foreign = elsewhere
        self.elsewhere.asked.clear()
        self.packages = packages / "node_modules"

    def results(self, attributes: str = "") -> str:
        """Return a list of results; *attributes* are those of each link."""
        targets = {"own": "/doc/1", "foreign": f"{self.foreign}/doc/2", "third": "/doc/3"}
        links = "".join(
            f'<li><a id="{name}" data-click {attributes} href="{target}">{name}</a>'
            for name, target in targets.items()
        )
        return f'<ol data-click-module="BWEB" data-click-query="tax form">{links}</ol>'

    def url(self, name: str) -> str:
        """Return what a click on the link *name* is stored with."""
        return {"own": "/doc/1", "foreign": f"{self.foreign}/doc/2", "third": "/doc/3"}[name]

    def shows(self, library: str, body: str, attributes: str = "", head: str = "") -> None:
        """Make *body* the page of results, and load *library* on all pages."""
        script = (self.packages / FILES[library]).read_text()
        self.site.pages["/library.js"] = (script, {"Content-Type": "text/javascript"})
        begin = '<!doctype html><html><head><title>{}</title><script src="/library.js"></script>'
        for number in "123":
            framed = f'<turbo-frame id="results">framed {number}</turbo-frame>'
            page = f"{begin.format('A result')}</head><body>{framed}</body></html>"
            self.site.pages[f"/doc/{number}"] = (page, {})
        page = f"{begin.format('Results')}{head}</head><body {attributes}>{body}</body></html>"
        self.site.pages["/search"] = (page, {})

    def open(self, profile: Any, *, links: str = "[data-click-token]") -> Any:
        """Open the page and wait until it has *links* as its links shall be."""
        self.page = profile.new_page()
        self.page.goto(f"{self.site.address}/search")
        if links:
            self.page.wait_for_selector(links, state="attached")
        return self.page

    def clicks(self, count: int = 1) -> list[tuple[Any, ...]]:
        """Return all rows of clicks, once *count* of them are there and no more come."""
        self.site.wait("clicks", CLICKS, count)
        time.sleep(0.2)
        rows: list[tuple[Any, ...]] = self.site.rows("clicks", CLICKS)
        return rows

    def counted(self, count: int = 1) -> list[tuple[Any, ...]]:
        """Return URL and position of the clicks that count, once there are *count* and no more come."""
        self.site.wait(COUNTED, "url, position", count)
        time.sleep(0.2)
        rows: list[tuple[Any, ...]] = self.site.rows(COUNTED, "url, position")
        return rows

    def follow(self, name: str) -> None:
        """Click a link and wait for the page that it leads to."""
        self.page.click(f"#{name}")
        # A page that was kept for the back button is never loaded.
        self.page.wait_for_url("**/doc/*", wait_until="commit")

    def back(self) -> None:
        """Use the back button and wait for the results."""
        self.page.go_back(wait_until="commit")
        self.page.wait_for_selector("#third")

    @property
    def prefetched(self) -> int:
        """How often a link of ours was asked for in advance."""
        self.site.rows("clicks")
        return int(self.site.clicks.door.routes.read_health()["prefetch"])


@pytest.fixture
def visit(
    real_site: Any, served_elsewhere: tuple[Elsewhere, str], node_clients: Path, tmp_path: Path
) -> Visit:
    # What a tab of an earlier test says when it is closed belongs to nobody here.
    real_site.start(tmp_path, secret=tmp_path.name.ljust(40, "s"))
    return Visit(real_site, served_elsewhere, node_clients)


@pytest.fixture
def bare_visit(visit: Visit, tmp_path: Path) -> Visit:
    """A visit to a site without the snippet."""
    visit.site.start(tmp_path, inject_snippet=False)
    return visit


SITES = ["own", "foreign"]
TARGETS = pytest.mark.parametrize("target", SITES)


def each_of(is_often: Callable[..., bool], **choices: Iterable[str]) -> pytest.MarkDecorator:
    """Parametrize each combination of *choices*; those that are not often wanted are long."""
    cases = [
        pytest.param(*each, id="-".join(each), marks=[] if is_often(*each) else [pytest.mark.long])
        for each in product(*choices.values())
    ]
    return pytest.mark.parametrize(tuple(choices), cases)


def place_tag(visit: Visit, tag: str, tmp_path: Path) -> str:
    """Return what the head has where the page brings the snippet itself."""
    if tag == "body":
        return ""
    visit.site.start(tmp_path, inject_snippet=False)
    return CORE


# -- Turbo -----------------------------------------------------------------------------------------


@each_of(lambda tag, target: (tag, target) != ("head", "own"), tag=["body", "head"], target=SITES)
def test_turbo_drive_counts_each_click_once(
    target: str, tag: str, visit: Visit, profile_of: Callable[..., Any], tmp_path: Path
) -> None:
    head = place_tag(visit, tag, tmp_path)
    visit.shows("turbo", visit.results(), head=head)
    visit.open(profile_of())
    visit.follow(target)
    first = (visit.url(target), 2 if target == "foreign" else 1, "beacon", 1, None)
    assert visit.clicks() == [first]

    visit.back()
    visit.follow("third")
    assert visit.clicks(2) == [first, ("/doc/3", 3, "beacon", 1, None)]
    assert visit.site.rows("searches", SEARCHES) == ONE_SEARCH


@TARGETS
def test_turbo_drive_without_the_snippet_counts_each_click_once(
    target: str, bare_visit: Visit, profile_of: Callable[..., Any]
) -> None:
    visit = bare_visit
    visit.shows("turbo", visit.results())
    visit.open(profile_of(), links="")
    visit.follow(target)
    first = (visit.url(target), 2 if target == "foreign" else 1, "redirect", 1, None)
    assert visit.clicks() == [first]
    assert visit.elsewhere.asked == (["/doc/2"] if target == "foreign" else [])

    visit.back()
    visit.follow("third")
    assert visit.clicks(2) == [first, ("/doc/3", 3, "redirect", 1, None)]
    assert visit.site.rows("searches", SEARCHES) == ONE_SEARCH


FRAMES = {"itself": "", "the page": 'target="_top"', "address": 'data-turbo-action="advance"'}


@each_of(
    lambda source, frame, target: target == "foreign" or (source, frame) == ("beacon", "itself"),
    source=["beacon", "redirect"],
    frame=FRAMES,
    target=SITES,
)
def test_results_in_a_turbo_frame_count_once(
    source: str,
    frame: str,
    target: str,
    visit: Visit,
    profile_of: Callable[..., Any],
    tmp_path: Path,
) -> None:
    if source == "redirect":
        visit.site.start(tmp_path, inject_snippet=False)
    results = f'<turbo-frame id="results" {FRAMES[frame]}>{visit.results()}</turbo-frame>'
    visit.shows("turbo", results)
    page = visit.open(profile_of(), links="[data-click-token]" if source == "beacon" else "")
    page.click(f"#{target}")
    if target == "foreign":
        page.wait_for_url("**/doc/2")
    elif frame != "the page":
        page.wait_for_selector("text=framed 1")

    position = 2 if target == "foreign" else 1
    assert visit.clicks() == [(visit.url(target), position, source, 1, None)]
    assert visit.site.rows("searches", SEARCHES) == ONE_SEARCH


def test_results_that_a_turbo_frame_loads_count_once(
    visit: Visit, profile_of: Callable[..., Any]
) -> None:
    frame = '<turbo-frame id="results" {} target="_top">{}</turbo-frame>'
    visit.shows("turbo", CORE + frame.format('src="/part"', ""))
    visit.site.pages["/part"] = (frame.format("", visit.results()), {})
    visit.open(profile_of())
    visit.follow("own")

    assert visit.clicks() == [("/doc/1", 1, "beacon", 1, None)]
    assert visit.site.rows("searches", SEARCHES) == ONE_SEARCH


@TARGETS
@pytest.mark.parametrize("source", ["beacon", "redirect"])
def test_what_turbo_fetches_while_the_mouse_is_there_counts_nothing_and_loses_nothing(
    source: str, target: str, visit: Visit, profile_of: Callable[..., Any], tmp_path: Path
) -> None:
    if source == "redirect":
        visit.site.start(tmp_path, inject_snippet=False)
    visit.shows("turbo", visit.results())
    page = visit.open(profile_of(), links="[data-click-token]" if source == "beacon" else "")
    page.hover(f"#{target}")
    page.wait_for_timeout(400)
    assert visit.site.rows("clicks", CLICKS) == []
    assert visit.prefetched == (1 if source == "redirect" else 0)

    visit.follow(target)
    position = 2 if target == "foreign" else 1
    assert visit.clicks() == [(visit.url(target), position, source, 1, None)]
    assert visit.site.rows("searches", SEARCHES) == ONE_SEARCH


# -- htmx ------------------------------------------------------------------------------------------


def ready(tag: str, library: str) -> str:
    """Return what a boosted link is like when htmx, and with a *tag* the snippet, have seen it."""
    if library == "htmx 4":
        return "#third[data-htmx-powered]"
    return "#third" if tag == "none" else "#third[data-click-token]"


@each_of(
    lambda tag, target, _: target == "foreign" or tag == "body",
    tag=["body", "head", "none"],
    target=SITES,
    library=BOOST,
)
def test_boosted_results_count_once(
    tag: str,
    target: str,
    library: str,
    visit: Visit,
    profile_of: Callable[..., Any],
    tmp_path: Path,
) -> None:
    head = place_tag(visit, tag, tmp_path) if tag != "none" else ""
    if tag == "none":
        visit.site.start(tmp_path, inject_snippet=False)
    visit.shows(library, visit.results(), BOOST[library], head)
    page = visit.open(profile_of(), links="")
    page.wait_for_selector(ready(tag, library))
    visit.follow(target)
    position = 2 if target == "foreign" else 1
    assert visit.counted() == [(visit.url(target), position)]
    assert visit.elsewhere.asked == (["/doc/2"] if target == "foreign" else [])

    visit.back()
    page.wait_for_selector(ready(tag, library))
    visit.follow("third")
    assert visit.counted(2) == [(visit.url(target), position), ("/doc/3", 3)]
    assert visit.site.rows("searches WHERE counted", SEARCHES) == ONE_SEARCH


def test_what_htmx_2_follows_by_the_redirect_is_a_duplicate_at_the_beacon(
    visit: Visit, profile_of: Callable[..., Any]
) -> None:
    visit.shows("htmx 2", visit.results(), BOOST["htmx 2"])
    visit.open(profile_of())
    visit.follow("own")

    assert visit.clicks(2) == [
        ("/doc/1", 1, "redirect", 1, None),
        ("/doc/1", 1, "beacon", 0, "duplicate"),
    ]


@each_of(
    lambda boosted, target, _: target == "foreign" or boosted == "plain",
    boosted=["boosted", "plain"],
    target=SITES,
    library=BOOST,
)
def test_results_that_htmx_puts_in_count_once(
    boosted: str, target: str, library: str, visit: Visit, profile_of: Callable[..., Any]
) -> None:
    button = '<button hx-get="/part" hx-target="#panel">more</button><div id="panel"></div>'
    attributes = BOOST[library] if boosted == "boosted" else ""
    visit.shows(library, f"<div {attributes}>{CORE}{button}</div>")
    visit.site.pages["/part"] = (visit.results(), {})
    page = visit.open(profile_of(), links="")
    page.wait_for_load_state("networkidle")
    page.click("button")
    page.wait_for_selector("#own")
    page.wait_for_load_state("networkidle")
    visit.follow(target)

    position = 2 if target == "foreign" else 1
    assert visit.counted() == [(visit.url(target), position)]
    assert visit.site.rows("searches", SEARCHES) == ONE_SEARCH


PUSH = {"beside it": "", "new address": 'hx-push-url="true"'}


@each_of(
    lambda place, target: (place, target) in (("beside it", "own"), ("new address", "foreign")),
    place=PUSH,
    target=SITES,
)
def test_what_htmx_2_gets_for_a_result_counts_once(
    place: str, target: str, visit: Visit, profile_of: Callable[..., Any]
) -> None:
    links = visit.results(f'hx-get="/part" hx-target="#panel" {PUSH[place]}')
    visit.shows("htmx 2", f'<div id="panel"></div>{links}')
    visit.site.pages["/part"] = ("<p>the part</p>", {})
    page = visit.open(profile_of())
    page.click(f"#{target}")
    page.wait_for_selector("text=the part")

    position = 2 if target == "foreign" else 1
    assert visit.clicks() == [(visit.url(target), position, "beacon", 1, None)]
    assert visit.site.rows("searches", SEARCHES) == ONE_SEARCH


@pytest.mark.parametrize("seconds", [0, 1])
def test_a_menu_stays_no_click_though_a_script_prevents_it(
    seconds: int, visit: Visit, profile_of: Callable[..., Any]
) -> None:
    visit.shows("htmx 2", visit.results('onclick="event.preventDefault()"'))
    page = visit.open(profile_of())
    page.click("#own")
    page.wait_for_timeout(1_000 * seconds)

    assert visit.clicks(0) == []


# -- pages and links that browsers prepare ---------------------------------------------------------

RULES = '<script type="speculationrules">{{"{}": [{{{}, "eagerness": "immediate"}}]}}</script>'
KINDS = pytest.mark.parametrize("kind", ["prefetch", "prerender"])
SOURCES = pytest.mark.parametrize("source", ["beacon", "redirect"])
#: What a prepared page asks for: it tells that it is being prepared, and that it is shown.
SAYS = """<script>
if (document.prerendering) {
  fetch("/prepared");
  document.addEventListener("prerenderingchange", () => fetch("/shown"));
}
</script>"""


def until(holds: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait until *holds* is true; fail after *seconds*."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture
def opened(
    chromium: Any, chromium_path: str, agent: str, tmp_path: Path
) -> Iterator[Callable[[str], Callable[[], Any]]]:
    """Open an address, and later take its tab over: a browser that is driven prepares no page."""
    started: list[subprocess.Popen[bytes]] = []
    profile = tmp_path / "profile"

    def take_over() -> Any:
        port = (profile / "DevToolsActivePort").read_text().split()[0]
        browser = chromium.browser_type.connect_over_cdp(f"http://127.0.0.1:{port}")
        return browser.contexts[0].pages[0]

    def open_(address: str) -> Callable[[], Any]:
        command = [chromium_path, "--headless", "--disable-gpu", "--no-first-run"]
        command += ["--no-sandbox"] if os.geteuid() == 0 else []
        command += ["--remote-debugging-port=0", f"--user-data-dir={profile}"]
        command += [f"--user-agent={agent}", "--host-resolver-rules=MAP *.example 127.0.0.1"]
        started.append(subprocess.Popen([*command, address], stderr=subprocess.DEVNULL))
        return take_over

    yield open_
    for process in started:
        process.kill()
        process.wait()


def click(page: Any, selector: str) -> None:
    """Click as a person does; a tab that shows a prepared page is another one, and tells nothing."""
    page.click(selector, no_wait_after=True, timeout=30_000)


@KINDS
@SOURCES
def test_a_results_page_that_was_prepared_counts_once(
    source: str, kind: str, visit: Visit, opened: Callable[..., Any], tmp_path: Path
) -> None:
    visit.site.start(tmp_path, inject_snippet=source == "beacon")
    visit.site.pages["/search"] = (f"<!doctype html>{SAYS}<body>{visit.results()}</body>", {})
    leave = "<script>fetch('/may-go').then(() => { location = '/search' })</script>"
    rules = RULES.format(kind, '"urls": ["/search"]')
    visit.site.pages["/front"] = (f"<!doctype html>{rules}{leave}", {})
    prepared = []

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        sign = "/search" if kind == "prefetch" else "/prepared"
        until(lambda: sign in visit.site.asked and visit.site.rows("searches", SEARCHES))
        time.sleep(0.5)
        prepared.append(visit.site.rows("searches", SEARCHES))
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b""]

    visit.site.pages["/may-go"] = answer
    take_over = opened(f"{visit.site.address}/front")
    if kind == "prerender":
        until(lambda: "/shown" in visit.site.asked)
    elif source == "beacon":
        until(lambda: visit.site.rows("searches", SEARCHES) == ONE_SEARCH)
    else:
        until(lambda: prepared)
        time.sleep(1)
    assert prepared == [[("tax form", 0, "prefetch")]]
    page = take_over()
    page.wait_for_selector("#own[data-click-token]" if source == "beacon" else "#own")
    click(page, "#own")

    assert visit.clicks() == [("/doc/1", 1, source, 1, None)]
    assert visit.site.rows("searches", SEARCHES) == ONE_SEARCH
    assert visit.site.asked.count("/search") == 1


@KINDS
@SOURCES
def test_result_links_that_are_prepared_count_nothing_and_lose_nothing(
    source: str, kind: str, visit: Visit, opened: Callable[..., Any], tmp_path: Path
) -> None:
    visit.site.start(tmp_path, inject_snippet=source == "beacon")
    rules = RULES.format(kind, '"where": {"selector_matches": "ol a"}')
    visit.site.pages["/search"] = (f"<!doctype html>{rules}<body>{visit.results()}</body>", {})
    visit.site.pages["/doc/1"] = (f"<!doctype html><title>A result</title>{SAYS}", {})
    take_over = opened(f"{visit.site.address}/search")
    if source == "redirect":
        until(lambda: visit.prefetched >= 2)
    else:
        until(lambda: ("/doc/1" if kind == "prefetch" else "/prepared") in visit.site.asked)
    time.sleep(0.5)
    assert visit.site.rows("clicks", CLICKS) == []
    click(take_over(), "#own")

    assert visit.clicks() == [("/doc/1", 1, source, 1, None)]
    assert visit.site.rows("searches", SEARCHES) == ONE_SEARCH
    assert visit.site.asked.count("/doc/1") == 1
    if (source, kind) == ("beacon", "prerender"):
        until(lambda: "/shown" in visit.site.asked)


PREFETCH = """() => new Promise((resolve) => {
  const links = [...document.querySelectorAll("ol a")];
  let left = links.length;
  for (const { href } of links) {
    const link = document.createElement("link");
    Object.assign(link, { rel: "prefetch", href });
    link.onload = link.onerror = () => --left || resolve();
    document.head.append(link);
  }
})"""


@each_of(
    lambda target, source: (target, source) in (("own", "beacon"), ("foreign", "redirect")),
    target=SITES,
    source=["beacon", "redirect"],
)
def test_a_link_with_rel_prefetch_counts_nothing_and_loses_nothing(
    target: str, source: str, visit: Visit, profile_of: Callable[..., Any], tmp_path: Path
) -> None:
    visit.site.start(tmp_path, inject_snippet=source == "beacon")
    visit.site.pages["/search"] = (f"<!doctype html><body>{visit.results()}</body>", {})
    page = visit.open(profile_of(), links="[data-click-token]" if source == "beacon" else "")
    page.evaluate(PREFETCH)
    assert visit.site.rows("clicks", CLICKS) == []
    assert visit.prefetched == (0 if source == "beacon" else 3)
    visit.follow(target)

    position = 2 if target == "foreign" else 1
    assert visit.clicks() == [(visit.url(target), position, source, 1, None)]
    assert visit.site.rows("searches", SEARCHES) == ONE_SEARCH
