"""The report in a real browser, over what simulated visitors did: whole, readable, inert, quiet."""

from __future__ import annotations

import csv
import io
import random
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from clickmw import ClickMW
from clickmw.catalog import NAVIGATION, PAGES, PANELS
from clickmw.demo import running
from clickmw.events import (
    Click,
    Conversion,
    Event,
    Feedback,
    Search,
    Shown,
    new_query_id,
    query_id_bytes,
)
from clickmw.owner import TABS as OWNER_TABS
from clickmw.pydocs_search.index import prepare
from clickmw.pydocs_search.site import make_site
from clickmw.simulate import simulate

pytestmark = pytest.mark.wide

VISITS = 120
DAYS_BACK = 60
DAY_MS = 86_400_000
LANGUAGES = ("en", "en", "en", "de", "fr")
ZONE = "Europe/Berlin"


class Installed:
    """A search site behind clickmw at ``address``; its report is open to everybody."""

    def __init__(self, folder: Path, host: Callable[..., Any]) -> None:
        self.clicks = ClickMW(
            host,
            secret="s" * 40,
            store=f"sqlite:///{folder / 'clicks.db'}",
            journal=str(folder / "journal"),
            report_auth=lambda environ: True,
            trusted_proxies=1,
            redirect_rate=None,
            time_zone=ZONE,
        )
        self.clicks.door.store.migrate()

    @contextmanager
    def open(self) -> Iterator[Installed]:
        """Serve it."""
        with running(self.clicks, 0) as self.address:
            yield self
        self.clicks.door.worker.close()

    def url(self, path: str) -> str:
        return f"{self.address}/_clicks/report/{path}"


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory, feed_of: Callable[..., Any]) -> Iterator[Any]:
    """A site whose visitors came today, and likewise on the days before."""
    folder = tmp_path_factory.mktemp("full")
    with closing(prepare(folder)) as index, Installed(folder, make_site(index)).open() as site:
        events = record(site)
        for back in range(1, DAYS_BACK):
            feed = feed_of(site.clicks.door.store, f"{1_700_000_000_000 - back}-00000000ff")
            feed(*earlier(events, back))
        site.clicks.door.worker.catch_up(10.0)
        yield site


def record(site: Installed) -> list[Event]:
    """Send the visitors; return the events that they caused."""
    events: list[Event] = []
    journal = site.clicks.door.journal
    write = journal.write

    def note(written: tuple[Event, ...]) -> bool:
        events.extend(written)
        return write(written)

    journal.write = note  # type: ignore[method-assign]
    assert simulate(site.address, VISITS, seed=5).errors == 0
    return events


def earlier(events: list[Event], back: int) -> list[Event]:
    """Return what some of the visitors did, as if it were *back* days ago, with a few scores."""
    chance = random.Random(back)
    share = chance.uniform(0.3, 0.9)
    visitors = {event.visitor for event in events}
    came = {name for name in sorted(visitors) if chance.random() < share}
    shifted = [shift(event, back) for event in events if event.visitor in came]
    asked = [event for event in shifted if isinstance(event, Search)]
    return [*shifted, *(score(search, chance) for search in asked if chance.random() < 0.05)]


def shift(event: Event, back: int) -> Event:
    """Return *event* as if it had come *back* days ago, in the language of its visitor."""
    changes: dict[str, Any] = {"received_ms": event.received_ms - back * DAY_MS}
    query_id = getattr(event, "query_id", "")
    if query_id:
        raw = query_id_bytes(query_id)
        moment = int.from_bytes(raw[:6]) - back * DAY_MS
        changes["query_id"] = urlsafe_b64encode(moment.to_bytes(6) + raw[6:]).decode()
    changes["language"] = LANGUAGES[len(event.visitor) and int(event.visitor, 16) % len(LANGUAGES)]
    return event._replace(**changes)


def score(search: Search, chance: random.Random) -> Feedback:
    return Feedback(
        received_ms=search.received_ms + 60_000,
        site=search.site,
        score=min(10, max(0, round(chance.gauss(7.4, 2)))),
        query_id=search.query_id,
        query=search.query,
        visitor=search.visitor,
        device=search.device,
    )


@pytest.fixture(scope="module")
def zero(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A site that nobody has visited."""

    def host(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/html")])
        return [b"<!doctype html><title>A page</title>"]

    with Installed(tmp_path_factory.mktemp("zero"), host).open() as site:
        yield site


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A site whose database was overwritten."""
    folder = tmp_path_factory.mktemp("broken")
    with Installed(folder, lambda environ, start_response: [b""]).open() as site:
        site.clicks.door.store.close()
        for path in folder.glob("clicks.db*"):
            path.write_bytes(b"This is no database. " * 999)
        yield site


@pytest.fixture(scope="module")
def axe(node_clients: Path) -> str:
    """The accessibility checks of axe-core, as a script."""
    return (node_clients / "node_modules" / "axe-core" / "axe.min.js").read_text()


QUERY, RESULT = "query=json", "url=https%3A%2F%2Fdocs.python.org%2F3%2Flibrary%2Fjson.html"


def path_of(name: str) -> str:
    """Return the address of a page below the report, with what it has to be about."""
    page = PAGES.get(name) or PANELS.get(name)
    about = {"query": f"?{QUERY}", "url": f"?{RESULT}"}
    return name + (about.get(page.needs, "") if page else "")


def with_limit(path: str, rows: int) -> str:
    return f"{path}{'&' if '?' in path else '?'}limit={rows}"


TABS = [name for name, _label in (*NAVIGATION, *OWNER_TABS)]
NAMES = list(dict.fromkeys([*TABS, *PAGES, *PANELS]))
#: Each page over data, its table a few rows long; without data only those that differ in more than a title.
LOOKED_AT = [
    *(("full", name) for name in NAMES),
    *(("zero", name) for name in dict.fromkeys([*TABS, *PAGES, "ledger", "query-places"])),
]
WIDE, NARROW = 1280, 320
#: What the theme or the width can change; all else is the same document, and is looked at once.
SEEN = ["color-contrast", "link-in-text-block", "scrollable-region-focusable", "target-size"]
LOOKS: tuple[tuple[int, str, list[str]], ...] = ((WIDE, "light", []), (NARROW, "dark", SEEN))
#: What the browser itself says of a page whose policy was broken, and of a script that failed.
WATCH = """
window.broken = [];
document.addEventListener("securitypolicyviolation", (event) =>
  window.broken.push(event.violatedDirective + " " + event.blockedURI));
"""
AXE = """async (rules) => {
  const only = rules.length ? {runOnly: {type: "rule", values: rules}} : {};
  const found = await axe.run(document, {resultTypes: ["violations"], elementRef: false, ...only});
  return found.violations
    .filter((each) => ["serious", "critical"].includes(each.impact))
    .map((each) => each.id + ": " + each.nodes.slice(0, 3).map((node) => node.html).join(" | "));
}"""


UNFOLD = "for (const each of document.querySelectorAll('details')) each.open = true"


class Looked:
    """One tab that goes from page to page; what it heard is of the page it shows now."""

    def __init__(self, profile: Any) -> None:
        self.complaints: list[str] = []  #: of its console, its scripts and its policy
        self.dialogs: list[str] = []
        self.requests: list[str] = []
        self.tab = profile.new_page()
        self.tab.add_init_script(WATCH)
        self.tab.on("console", self._note)
        self.tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.tab.on("dialog", self._dismiss)
        self.tab.on("request", lambda request: self.requests.append(request.url))

    def at(self, address: str) -> Looked:
        """Show the page at *address* as a fresh tab would."""
        self.show(WIDE, "light")
        for heard in (self.complaints, self.dialogs, self.requests):
            heard.clear()
        self.answer = self.tab.goto(address)
        self.complaints += self.tab.evaluate("window.broken ?? []")
        return self

    def show(self, width: int, scheme: str, media: str = "screen") -> None:
        self.tab.set_viewport_size({"width": width, "height": 900})
        self.tab.emulate_media(color_scheme=scheme, media=media)

    def _note(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def _dismiss(self, dialog: Any) -> None:
        self.dialogs.append(dialog.message)
        dialog.dismiss()

    @property
    def overflow(self) -> int:
        """How many pixels the document is wider than the window."""
        return int(self.tab.evaluate("document.documentElement.scrollWidth - innerWidth"))

    def troubles(self, axe: str, rules: Sequence[str] = ()) -> list[str]:
        """Return what axe-core finds serious or critical, by all its rules or by *rules*."""
        if not self.tab.evaluate("!!window.axe"):  # half a megabyte is sent once a page
            self.tab.evaluate(f"(() => {{ {axe} }})()")
        return list(self.tab.evaluate(AXE, [*rules]))


@pytest.fixture(scope="module")
def looked(chromium: Any) -> Iterator[Looked]:
    """The tab that all pages are looked at in: a new one for each would take most of the time."""
    with closing(chromium.new_context()) as profile:
        profile.set_default_timeout(30_000)
        yield Looked(profile)


@pytest.mark.parametrize(("data", "name"), LOOKED_AT)
def test_a_page_is_quiet_fits_and_can_be_used_by_everybody(
    data: str, name: str, looked: Looked, axe: str, request: pytest.FixtureRequest
) -> None:
    site: Installed = request.getfixturevalue(data)
    looked.at(site.url(with_limit(path_of(name), 12)))
    assert looked.answer.status == 200
    for width, scheme, rules in LOOKS:
        looked.show(width, scheme)
        assert looked.overflow <= 0, (width, scheme)
        assert looked.troubles(axe, rules) == [], (width, scheme)
    assert looked.complaints == []
    assert [url for url in looked.requests if not url.startswith(f"{site.address}/")] == []


@pytest.mark.parametrize(
    ("data", "path", "title"),
    [
        ("zero", "", "No events yet"),
        ("full", "?q=no+query+has+this&device=mobile", "Nothing matches these filters"),
        ("full", "places?q=no+query+has+this", "Nothing matches these filters"),
        ("full", "?from=2020-01-01&to=2020-01-07", "Nothing in this period"),
        ("broken", "", "The store cannot be read now"),
        ("full", "?from=yesterday", "This address asks for something else"),
    ],
    ids=["never", "filtered out", "filtered out of a page", "period", "broken", "refused"],
)
def test_a_page_that_shows_nothing_says_why(
    data: str, path: str, title: str, looked: Looked, axe: str, request: pytest.FixtureRequest
) -> None:
    looked.at(request.getfixturevalue(data).url(path))
    assert looked.tab.locator("h1:visible").inner_text() == title
    for width, scheme, rules in LOOKS:
        looked.show(width, scheme)
        assert looked.overflow <= 0
        assert looked.troubles(axe, rules) == []


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_the_overview_with_everything_unfolded(
    width: int, full: Installed, looked: Looked, axe: str
) -> None:
    looked.at(full.url("?module=BWEB&device=mobile&q=a"))
    looked.show(width, "light")
    looked.tab.evaluate(UNFOLD)
    assert looked.overflow <= 0
    assert looked.troubles(axe) == []


@pytest.mark.parametrize("width", [320, 360])
@pytest.mark.parametrize("name", ["", "places"])
def test_a_rate_stands_beside_what_it_is_a_share_of_on_a_phone(
    name: str, width: int, full: Installed, looked: Looked
) -> None:
    looked.at(full.url(name))
    looked.show(width, "light")
    looked.tab.evaluate(UNFOLD)
    table = looked.tab.locator(".rows-positions")
    heads = [each.inner_text() for each in table.locator("thead th:visible").all()]
    assert heads == ["Module", "Position", "Clicks", "Impressions", "CTR"]
    assert table.evaluate("(table) => table.scrollWidth - table.parentElement.clientWidth") <= 0


@pytest.mark.parametrize("name", ["", "query", "to-fix", "sessions"])
def test_a_printed_page_is_its_numbers_on_white(name: str, full: Installed, looked: Looked) -> None:
    looked.at(full.url(path_of(name)))
    looked.show(794, "dark", "print")  # A4 at 96 pixels an inch
    assert looked.overflow <= 0
    assert looked.tab.locator("main").is_visible()
    assert not [each for each in (".tabs", ".presets", ".files") if shown(looked.tab, each)]
    colours = "[getComputedStyle(document.body)].map((e) => [e.color, e.backgroundColor])[0]"
    assert looked.tab.evaluate(colours) == ["rgb(0, 0, 0)", "rgb(255, 255, 255)"]


def shown(tab: Any, selector: str) -> bool:
    return any(each.is_visible() for each in tab.locator(selector).all())


def test_a_report_without_scripts_is_complete(
    full: Installed, profile_of: Callable[..., Any]
) -> None:
    with_script, without = (
        profile_of(java_script_enabled=enabled).new_page() for enabled in (True, False)
    )
    for tab in (with_script, without):
        tab.goto(full.url("?period=7d&compare=weekday"))
    said = [tab.locator("main").inner_text() for tab in (with_script, without)]
    assert said[0] == said[1]
    assert without.locator(".keys").is_hidden()


# Keys


@pytest.fixture
def tab(full: Installed, profile_of: Callable[..., Any]) -> Any:
    found = profile_of(viewport={"width": WIDE, "height": 900}).new_page()
    found.goto(full.url(""))
    return found


@pytest.mark.parametrize(
    ("key", "query"),
    [("d", "period=today"), ("w", "period=7d"), ("m", "period=month"), ("y", "period=365d")],
)
def test_a_letter_chooses_a_period(tab: Any, key: str, query: str) -> None:
    tab.keyboard.press(key)
    tab.wait_for_url(f"**/report/?{query}")


def test_the_arrows_go_to_the_period_before_and_after(tab: Any) -> None:
    first = tab.locator(".steps .chooser summary").inner_text()
    tab.keyboard.press("ArrowLeft")
    tab.wait_for_url("**/report/?from=*")
    assert tab.locator(".steps .chooser summary").inner_text() != first
    tab.keyboard.press("ArrowRight")
    tab.wait_for_url(lambda url: url.count("from="))
    assert tab.locator(".steps .chooser summary").inner_text() == first


def test_c_opens_the_comparisons_and_escape_closes_them(tab: Any) -> None:
    tab.keyboard.press("c")
    assert tab.locator(".narrow-by .choice").is_visible()
    tab.keyboard.press("Escape")
    assert tab.locator(".narrow-by .choice").is_hidden()


def test_a_slash_leads_to_the_text_filter_where_letters_are_letters(tab: Any) -> None:
    before = tab.url
    tab.keyboard.press("/")
    tab.keyboard.type("dwy")
    assert tab.locator("input[name=q]").input_value() == "dwy"
    assert tab.url == before


def test_a_question_mark_shows_the_keys_and_they_can_be_turned_off(tab: Any) -> None:
    tab.keyboard.press("?")
    assert tab.locator(".keys dl").is_visible()
    tab.locator(".keys-on").uncheck()
    tab.reload()
    before = tab.url
    tab.keyboard.press("d")
    assert not tab.locator(".keys-on").is_checked()
    assert tab.url == before


def test_the_folded_tabs_are_opened_by_keys_and_closed_by_escape(tab: Any) -> None:
    tab.locator(".menu summary").focus()
    tab.keyboard.press("Enter")
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.textContent") == "Days"
    tab.keyboard.press("Escape")
    assert tab.locator(".menu .choice").is_hidden()
    assert tab.evaluate("document.activeElement.tagName") == "SUMMARY"


# Filters


def test_filters_stack_and_keep_everything_else(tab: Any, full: Installed) -> None:
    tab.goto(full.url("queries?period=7d&compare=year&sort=-clicks"))
    tab.locator(".filters summary").click()
    tab.locator(".filters select[name=device]").select_option("mobile")
    tab.locator(".filters input[name=q]").fill("json")
    tab.locator(".filters button").click()
    tab.wait_for_url("**device=mobile**")
    assert [chip.inner_text() for chip in tab.locator(".chip bdi").all()] == ["mobile", "json"]
    assert {*tab.url.partition("?")[2].split("&")} >= {
        "period=7d",
        "compare=year",
        "sort=-clicks",
        "device=mobile",
        "q=json",
    }


# Hostile text

WAYS_OUT = (
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
)
PAYLOADS = (
    "<img id=xss src=x onerror=alert(1)>",
    "<svg id=xss onload=alert(1)>",
    "<script id=xss>alert(1)</script>",
    "<a id=xss href=javascript:alert(1) autofocus onfocus=alert(1)>x</a>",
    "<iframe id=xss srcdoc='<script>parent.alert(1)</script>'></iframe>",
    '" id="xss" autofocus onfocus="alert(1)" x="',
)
HOSTILE = [way + payload for way in WAYS_OUT for payload in PAYLOADS]
SCHEMES = (
    "javascript:alert(1)//",
    "data:text/html,",
    "https://a.example/",
    "\tjavascript:alert(1)//",
)
DRAWN = {"svg", "g", "rect", "line", "circle", "path", "polyline", "text", "tspan", "title", "desc"}


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory, feed_of: Callable[..., Any]) -> Iterator[Any]:
    """A site whose store holds hostile text wherever a stranger's text can stand."""
    folder = tmp_path_factory.mktemp("hostile")
    with Installed(folder, lambda environ, start_response: [b""]).open() as site:
        now_ms = int(time.time() * 1000)
        feed = feed_of(site.clicks.door.store)
        for number, text in enumerate(HOSTILE):
            feed(*written_by_a_stranger(number, text, now_ms - 60_000 * (number + 1)))
        assert site.clicks.door.store.check() == []
        yield site


def written_by_a_stranger(number: int, text: str, now_ms: int) -> list[Event]:
    """Return a search of *text*, a click on its result, a score and an order."""
    query_id = new_query_id(now_ms)
    url = SCHEMES[number % len(SCHEMES)] + text
    who: dict[str, Any] = {
        "received_ms": now_ms,
        "site": text if number % 3 == 0 else "default",
        "visitor": f"{number // 4:016x}",
        "device": "desktop",
        "query_id": query_id,
    }
    told = {"language": text, "profile": text, "source": text}
    shown = tuple(Shown(url, place, text, "", text) for place in (1, 2, 3))
    return [
        Search(query=text, impressions=shown, total_hits=number % 2 * 9, tag=text, **told, **who),
        Click(url=url, position=2, module_code=text, title=text, query=text, **told, **who),
        Feedback(score=3, comment=text, query=text, **told, **who),
        Conversion(order_id=text, currency=text, items=text, url=url, source=text, **who),
    ]


def inert(looked: Looked) -> bool:
    """Tell whether nothing of a page came to life; say what did."""
    tab = looked.tab
    tab.evaluate(UNFOLD)
    alive = tab.locator("#xss, iframe, img, object, embed, [onerror], [onload], [onfocus]").count()
    names = tab.evaluate("[...document.querySelectorAll('svg, svg *')].map((e) => e.localName)")
    schemes = tab.evaluate("[...document.links].map((link) => link.protocol)")
    assert (alive, looked.dialogs, looked.complaints) == (0, [], [])
    assert set(names) <= DRAWN
    assert set(schemes) <= {"http:", "https:"}
    return True


@pytest.mark.parametrize("name", NAMES)
def test_hostile_text_stays_text(name: str, hostile: Installed, looked: Looked) -> None:
    assert inert(looked.at(hostile.url(with_limit(path_of(name), 1000))))


def test_hostile_text_stays_text_where_it_is_asked_about(
    hostile: Installed, looked: Looked
) -> None:
    for number, text in list(enumerate(HOSTILE))[::5]:
        url = SCHEMES[number % len(SCHEMES)] + text
        name, subject = [("query", {"query": text}), ("result", {"url": url})][number % 2]
        looked.at(hostile.url(f"{name}?{urlencode({**subject, 'q': text[:50]})}"))
        assert looked.answer.status == 200
        assert inert(looked)


@pytest.mark.parametrize("name", [*PANELS, "overview"])
def test_hostile_text_stays_text_in_files(name: str, hostile: Installed, looked: Looked) -> None:
    page = PANELS.get(name)
    about = {"query": {"query": HOSTILE[0]}, "url": {"url": SCHEMES[0] + HOSTILE[0]}}
    query = urlencode({**about.get(page.needs if page else "", {}), "limit": "1000"})
    looked.at(hostile.url(f"{name}.json?{query}"))
    assert looked.answer.headers["content-type"] == "application/json"
    assert b"<" not in looked.answer.body()
    assert (looked.dialogs, looked.tab.locator("#xss").count()) == ([], 0)
    table = looked.tab.request.get(hostile.url(f"{name}.csv?{query}"))
    assert table.headers["content-disposition"].startswith("attachment")
    cells = [cell for row in csv.reader(io.StringIO(table.text())) for cell in row]
    assert not [cell for cell in cells if cell[:1] in "=+@\t\r\n" and cell]
