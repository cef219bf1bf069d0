"""What is kept of a page of results: its searches, what was shown, and which links were signed."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from webtest import TestApp, TestResponse

from clickmw import ClickMW
from clickmw.assets import marked_name
from clickmw.sites import Rule, Site
from clickmw.tokens import LinkTarget

SECRET = "a secret of more than thirty-two characters"
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
ROBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
PREFIX = "/_clicks/r/"
SIGNED = re.compile(r"""/_clicks/r/([^"'> ]+)""")


def listed(*hrefs: str, attributes: str = 'data-click-module="BWEB" data-click-query="tax"') -> str:
    """Return a list of marked results."""
    links = "".join(f'<li><a data-click href="{href}">x</a></li>' for href in hrefs)
    return f"<ol {attributes}>{links}</ol>"


A, B, C = (f"https://other.example/{letter}" for letter in "abc")
PAGE = listed(A, B)


class Install:
    """A site with clickmw before it: it shows ``page``; a browser at its door, its database at hand."""

    def __init__(self, folder: Path, page: str, headers: dict[str, str], settings: Any) -> None:
        self.path = folder / "clicks.db"
        self.page = page
        self.headers = headers
        self.clicks = ClickMW(self.host, secret=SECRET, store=f"sqlite:///{self.path}", **settings)
        environ = {"HTTP_USER_AGENT": BROWSER, "HTTP_HOST": "www.example.org"}
        self.browser = TestApp(self.clicks, extra_environ=environ)

    def host(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        kind = "text/html; charset=utf-8"
        start_response("200 OK", list(({"Content-Type": kind} | self.headers).items()))
        return [self.page.encode("latin-1" if "latin" in str(self.headers) else "utf-8")]

    def get(self, target: str = "/search?q=tax", **headers: str) -> TestResponse:
        return self.browser.get(target, headers=headers)

    def links(self, target: str = "/search?q=tax", **headers: str) -> list[LinkTarget]:
        """Return what the links of the page remember."""
        text = self.get(target, **headers).text
        return [self.clicks.door.signer.read_link(token) for token in SIGNED.findall(text)]

    def rows(self, query: str) -> list[Any]:
        self.clicks.door.routes.open_reader().close()
        with sqlite3.connect(self.path) as database:
            found = database.execute(query).fetchall()
        database.close()
        return [row[0] if len(row) == 1 else row for row in found]

    def searches(self, columns: str = "query") -> list[Any]:
        return self.rows(f"SELECT {columns} FROM searches ORDER BY query")

    def shown(self, columns: str = "url, position") -> list[Any]:
        return self.rows(f"SELECT {columns} FROM impressions")

    def ledger(self) -> dict[str, Any]:
        self.clicks.door.routes.open_reader().close()
        return self.clicks.door.routes.read_health()

    def records(self) -> int:
        """Return how many journal records hold events."""
        lines = b"".join(
            path.read_bytes() for path in self.clicks.settings.journal.glob("*.clicks")
        )
        return sum(line.split(b" ", 3)[3].startswith(b"[") for line in lines.splitlines())


Make = Callable[..., Install]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[Install] = []

    def build(page: str = PAGE, headers: dict[str, str] | None = None, **settings: Any) -> Install:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(Install(folder, page, headers or {}, settings))
        return made[-1]

    yield build
    for install in made:
        install.clicks.door.worker.close()
        install.clicks.door.store.close()


# -- the search --------------------------------------------------------------------------------


def test_a_page_is_one_search_with_what_it_showed(make: Make) -> None:
    site = make(listed(A, B, attributes='data-click-module="BWEB" data-click-total="40"'))
    site.get("/search?q=Tax+Form")

    assert site.searches("site, query, total_hits, page, source, trust, counted, shared") == [
        ("default", "tax form", 40, 1, "page", "signed", 1, 0)
    ]
    assert site.shown("url, position, module_code") == [(A, 1, "BWEB"), (B, 2, "BWEB")]


def test_a_page_is_one_journal_record(make: Make) -> None:
    site = make(PAGE + listed(C, attributes='data-click-module="BOOS" data-click-query="other"'))
    site.clicks.door.worker.drain.run_once = lambda **_: 0  # type: ignore[method-assign]
    site.get()

    assert site.records() == 1


def test_the_links_carry_the_id_of_the_search(make: Make) -> None:
    site = make()
    ids = {link.query_id for link in site.links()}

    assert len(ids) == 1
    assert site.rows("SELECT length(query_id) FROM searches") == [24]


def test_a_query_in_the_container_comes_before_the_parameter(make: Make) -> None:
    site = make(listed(A, attributes='data-click-module="BWEB" data-click-query="Said  so"'))
    site.get("/search?q=parameter")

    assert site.searches() == ["said so"]


@pytest.mark.parametrize(
    ("target", "settings", "query"),
    [
        ("/search?q=a&q=b", {}, "a"),
        ("/search?lang=de&q=stra%C3%9Fe+x", {}, "strasse x"),
        ("/search?text=tax", {"query_param": "text"}, "tax"),
        ("/search?q=%ff", {}, "\ufffd"),
        ("/search?q=", {}, ""),
        ("/search", {}, ""),
    ],
)
def test_a_query_comes_from_the_parameter(
    make: Make, target: str, settings: dict[str, Any], query: str
) -> None:
    site = make(listed(A, attributes="data-click-module=BWEB"), **settings)
    site.get(target)

    assert site.searches() == [query]


def test_a_parameter_is_read_in_the_charset_of_the_page(make: Make) -> None:
    kind = {"Content-Type": "text/html; charset=iso-8859-1", "X-Test": "latin"}
    site = make(listed(A, attributes="data-click-module=BWEB"), kind)
    site.get("/search?q=caf%E9")

    assert site.searches() == ["café"]


def test_a_query_in_the_markup_is_read_with_its_references(make: Make) -> None:
    site = make(listed(A, attributes='data-click-module=B data-click-query="a &amp; b &lt;c&gt;"'))
    site.get()

    assert site.searches() == ["a & b <c>"]


def test_personal_data_never_reaches_the_disk(make: Make) -> None:
    site = make(listed(A, attributes="data-click-module=BWEB"))
    site.get("/search?q=mail+jane.doe@example.org")
    site.clicks.door.worker.close()
    files = b"".join(p.read_bytes() for p in site.path.parent.rglob("*") if p.is_file())

    assert b"jane.doe" not in files


def test_own_masks_are_put_over_the_query(make: Make) -> None:
    site = make(scrub=[lambda query: query.replace("tax", "X")])
    site.get()

    assert site.searches() == ["x"]


def test_language_profile_and_tag_are_kept(make: Make) -> None:
    more = 'data-click-language="de" data-click-profile="docs" data-click-tag="new"'
    site = make(listed(A, attributes=f'data-click-module="BWEB" {more}'))
    site.get()

    assert site.searches("language, profile, tag") == [("de", "docs", "new")]


def test_the_offset_of_a_further_page_is_kept_and_counted_from(make: Make) -> None:
    site = make(listed(A, B, attributes='data-click-module="BWEB" data-click-offset="10"'))
    links = site.links()

    assert [link.position for link in links] == [11, 12]
    assert site.searches("page, offset") == [(2, 10)]


def test_a_search_without_results_is_recorded(make: Make) -> None:
    site = make(listed(attributes='data-click-module="BWEB" data-click-total="0"'))
    answer = site.get("/search?q=nothing")

    assert answer.text == site.page
    assert site.searches("query, total_hits, counted") == [("nothing", 0, 1)]
    assert site.shown() == []


def test_a_page_without_a_list_is_no_search(make: Make) -> None:
    site = make("<h1>Home</h1>")
    site.get("/?q=x")

    assert site.searches() == []


# -- several lists on one page -----------------------------------------------------------------


def modules(module: str, more: str = "", query: str = "tax") -> str:
    return f'data-click-module="{module}" data-click-query="{query}" {more}'


def test_lists_with_the_same_normal_query_are_one_search(make: Make) -> None:
    site = make(
        listed(A, attributes=modules("BOOS", query="Tax"))
        + listed(B, C, attributes=modules("BWEB", query=" tax "))
    )
    links = site.links()

    assert len({link.query_id for link in links}) == 1
    assert site.searches() == ["tax"]
    assert site.shown("module_code, position") == [("BOOS", 1), ("BWEB", 1), ("BWEB", 2)]


def test_lists_with_different_queries_are_different_searches(make: Make) -> None:
    site = make(listed(A, attributes=modules("B")) + listed(B, attributes=modules("B", "", "form")))
    links = site.links()

    assert len({link.query_id for link in links}) == 2
    assert site.searches() == ["form", "tax"]


@pytest.mark.parametrize(
    ("first", "second", "total"),
    [
        ("", 'data-click-total="9"', 9),
        ('data-click-total="5"', 'data-click-total="9"', 5),
        ('data-click-total="0"', 'data-click-total="9"', 0),
        ('data-click-total="many"', 'data-click-total="9"', 9),
        ("", "", None),
    ],
)
@pytest.mark.parametrize("hrefs", [[A], []], ids=["with a link", "with no link"])
def test_the_first_stated_total_counts(
    make: Make, first: str, second: str, total: int | None, hrefs: list[str]
) -> None:
    site = make(
        listed(*hrefs, attributes=modules("BOOS", first))
        + listed(B, attributes=modules("BWEB", second))
    )
    site.get()

    assert site.searches("total_hits") == [total]


def test_a_list_inside_a_list_counts_by_itself(make: Make) -> None:
    inner = listed(B, attributes=modules("NEWS"))
    outer = listed(A, C).replace("</li>", f"</li><li>{inner}</li>", 1)
    site = make(outer)

    assert [(link.module_code, link.position) for link in site.links()] == [
        ("BWEB", 1),
        ("NEWS", 1),
        ("BWEB", 2),
    ]
    assert site.searches() == ["tax"]


# -- positions ---------------------------------------------------------------------------------


def test_an_explicit_position_still_uses_up_a_slot(make: Make) -> None:
    marked = PAGE.replace("data-click href", 'data-click data-click-position="40" href', 1)
    site = make(marked.replace("</ol>", f'<a data-click href="{C}">x</a></ol>'))

    assert [link.position for link in site.links()] == [40, 2, 3]


@pytest.mark.parametrize(
    "href", ["mailto:a@b.example", "#top", "javascript:x()", "", "http://10.0.0.1/", "tel:1"]
)
def test_a_link_that_is_not_signed_uses_no_slot(make: Make, href: str) -> None:
    site = make(listed(A, href, B))

    assert [link.position for link in site.links()] == [1, 2]
    assert site.shown() == [(A, 1), (B, 2)]
    assert f'href="{href}"' in site.get().text


def test_links_that_were_not_signed_are_counted_by_reason(make: Make) -> None:
    site = make(listed("mailto:a@b.example", "tel:1", "http://10.0.0.1/", "#top"))
    site.get()

    assert site.ledger()["unsigned"] == {"fragment": 1, "private": 1, "scheme": 2}


@pytest.mark.parametrize(
    "wrong", ['position="1e9"', 'position="-1"', 'position="0"', 'module="a b"']
)
def test_a_link_with_a_malformed_mark_stays_as_it_is(make: Make, wrong: str) -> None:
    marked = PAGE.replace("data-click href", f"data-click data-click-{wrong} href", 1)
    site = make(marked)

    assert [(link.location, link.position) for link in site.links()] == [(B, 1)]


def test_the_links_of_one_result_share_its_position_and_name(make: Make) -> None:
    item = (
        f'<li data-click-item="doc 1"><a data-click href="{A}">a</a><a data-click href="{B}">b</a>'
    )
    site = make(f"<ol {modules('BWEB')}>{item}</li><li><a data-click href={C}>c</a></li></ol>")

    links = [(link.item, link.position) for link in site.links()]
    assert links == [("doc 1", 1), ("doc 1", 1), ("", 2)]


@pytest.mark.parametrize("name", ["é" * 300, "x" * 9_000, "🎉" * 2_000], ids=lambda name: name[:1])
def test_a_link_that_would_become_too_long_stays_as_it_is(make: Make, name: str) -> None:
    page = (
        f'<ol {modules("B")}><li data-click-item="{name}"><a data-click href="{A}">a</a></li></ol>'
    )
    site = make(page)
    followed = [
        site.browser.get(PREFIX + token).status_int for token in SIGNED.findall(site.get().text)
    ]

    # Signed and followed, or left alone: never a dead end.
    assert followed in ([302], [])
    assert len(site.shown()) == len(followed)


def test_the_longest_targets_can_be_followed(make: Make) -> None:
    # Every character of this one takes four in a token.
    site = make(listed("https://other.example/?" + "^" * 2_020, B))
    tokens = SIGNED.findall(site.get().text)

    assert [site.browser.get(PREFIX + token).status_int for token in tokens][-1] == 302
    assert all(site.browser.get(PREFIX + token).status_int == 302 for token in tokens)


# -- targets -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("href", "location"),
    [
        ("/b?x=1#y", "/b?x=1#y"),
        ("detail?id=1", "/suche/detail?id=1"),
        ("?page=2", "/suche/liste?page=2"),
        ("../x", "/x"),
        ("https://www.example.org/b", "/b"),
        ("HTTPS://WWW.EXAMPLE.ORG:443/b", "/b"),
        ("//other.example/x", "http://other.example/x"),
        ("  https://other.example/a&amp;b ", "https://other.example/a&b"),
        ("/stra\u00dfe", "/stra%C3%9Fe"),
    ],
)
def test_a_link_is_signed_as_a_browser_would_read_it(make: Make, href: str, location: str) -> None:
    site = make(listed(href))

    assert [link.location for link in site.links("/suche/liste?q=tax")] == [location]


HOSTILE = [
    "JaVaScRiPt:alert(1)",
    "\tjavascript:alert(1)",
    "java\nscript:alert(1)",
    "\x01javascript:alert(1)",
    "data:text/html,x",
    "vbscript:x",
    "blob:https://a.example/x",
    "file:///etc/passwd",
    "///evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "https:\\\\evil.example",
    "https:///evil.example",
    "https:/evil.example",
    "https:evil.example",
    "https://a@evil.example",
    "https://evil.example\\@a.example",
    "https://a\\.evil.example",
    "https://[::1",
    "https://other.example:99999/",
    "https://other.example:abc/",
    "http://0x7f.1/",
    "http://2130706433/",
    "http://[::1]/",
    "http://169.254.169.254/",
    "http://localhost/",
    "http://intranet/",
    "https://other.example/a\r\nSet-Cookie: x=1",
    "https://other.example/" + "x" * 2048,
]


@pytest.mark.parametrize("href", HOSTILE, ids=lambda href: ascii(href[:30]))
def test_a_hostile_target_is_never_signed(make: Make, href: str) -> None:
    site = make(listed(href, B))

    assert [(link.location, link.position) for link in site.links()] == [(B, 1)]


def test_the_text_of_visitors_is_no_markup(make: Make) -> None:
    comment = f"<p>&lt;a data-click href={A}&gt;</p><!-- {PAGE} --><p><a href='{A}'>mine</a></p>"
    site = make(PAGE.replace("</ol>", f"{comment}</ol>"))

    assert len(site.links()) == 2


def test_a_base_element_is_heeded(make: Make) -> None:
    site = make('<base href="/docs/v2/">' + listed("intro.html"))

    assert [link.location for link in site.links()] == ["/docs/v2/intro.html"]


FOREIGN_BASES = [
    "https://cdn.example/",
    "//cdn.example",
    "http://www.example.org:8080/",
    "https://www.example.org@cdn.example/",
    "/\\cdn.example/",
    "https:cdn.example",
    "ftp://www.example.org/",
]


@pytest.mark.parametrize("base", FOREIGN_BASES)
@pytest.mark.parametrize("href", ["intro.html", "/intro", A, "https://www.example.org/intro"])
def test_below_a_base_of_another_host_nothing_is_signed(href: str, base: str, make: Make) -> None:
    page = f'<base href="{base}">{listed(href, href)}</body>'
    site = make(page)

    assert site.get().text == page
    assert site.ledger()["unsigned"] == {"base": 2}
    assert site.shown() == []


@pytest.mark.parametrize(
    "base",
    [
        *("/docs/v2/", "https://www.example.org/docs/v2/", "http://WWW.example.org:80/docs/v2/"),
        *("//www.example.org/docs/v2/", "https://www.example.org:443/docs/v2/x?y#z"),
    ],
)
def test_a_base_of_the_pages_own_host_is_heeded(base: str, make: Make) -> None:
    site = make(f'<base href="{base}">{listed("intro.html", A)}</body>')

    assert [link.location for link in site.links()] == ["/docs/v2/intro.html", A]
    assert "<script" in site.get().text
    assert site.ledger()["unsigned"] == {}


def test_outside_the_target_hosts_nothing_is_signed(make: Make) -> None:
    site = make(listed(A, "https://b.example/", "/own"), target_hosts=["other.example"])

    assert [link.location for link in site.links()] == [A, "/own"]
    assert site.ledger()["unsigned"] == {"host": 1}


@pytest.mark.parametrize("host", ["", "http://www.example.org"])
def test_a_link_that_is_already_ours_is_left_alone(make: Make, host: str) -> None:
    token = make().clicks.door.signer.sign_link(LinkTarget("", "A" * 16, 1, "B", "", A))
    site = make(listed(f"{host}{PREFIX}{token}", B))

    assert [(link.location, link.position) for link in site.links()] == [(A, 1), (B, 1)]
    assert f'href="{host}{PREFIX}{token}"' in site.get().text
    assert site.shown("DISTINCT url") == [B]


@pytest.mark.parametrize(
    ("mount", "prefix"),
    [
        ("/app", "/app/_clicks/r/"),
        ("/stra\u00dfe", "/stra%C3%9Fe/_clicks/r/"),
        ("/a b", "/a%20b/_clicks/r/"),
        ("/a'\"&<b", "/a%27%22%26%3Cb/_clicks/r/"),
    ],
)
def test_links_begin_with_the_mount_point(make: Make, mount: str, prefix: str) -> None:
    site = make(listed(A, "x.html"))
    environ = {"SCRIPT_NAME": mount.encode().decode("latin-1")}
    page = site.browser.get("/search?q=tax", extra_environ=environ)

    hrefs = [link["href"] for link in page.html.find_all("a")]
    locations = [site.clicks.door.signer.read_link(h.removeprefix(prefix)).location for h in hrefs]
    assert list(map(unquote, locations)) == [A, f"{mount}/x.html"]


def test_the_snippet_begins_with_the_mount_point(make: Make) -> None:
    site = make(f"<body>{PAGE}</body>")
    environ = {"SCRIPT_NAME": '/stra\u00dfe"'.encode().decode("latin-1")}
    page = site.browser.get("/search?q=tax", extra_environ=environ)

    assert page.html.script["src"] == f"/stra%C3%9Fe%22/_clicks/{marked_name('clickmw.js')}"


# -- sites -------------------------------------------------------------------------------------

SITES = [
    Site(handle="a", hosts=("www.example.org", "m.example.org")),
    Site(handle="b", hosts=("b.example",)),
]


def test_the_host_decides_the_site(make: Make) -> None:
    site = make(listed("/own"), sites=SITES)
    links = site.links(Host="M.Example.org:80")

    assert [link.site for link in links] == ["a"]
    assert site.searches("site") == ["a"]


def test_an_own_target_is_reported_with_the_first_host_of_the_site(make: Make) -> None:
    site = make(listed("/own?x#y", A), sites=SITES)
    site.get(Host="m.example.org")

    assert site.shown("url") == ["https://www.example.org/own?x#y", A]


@pytest.mark.parametrize(("named", "found"), [("b", "a"), ("a", "a"), ("nobody", "a")])
def test_markup_can_name_only_a_site_of_this_host(make: Make, named: str, found: str) -> None:
    site = make(listed(A, attributes=f'data-click-module=B data-click-site="{named}"'), sites=SITES)
    site.get()

    assert site.searches("site") == [found]


def test_an_unknown_host_is_not_tracked_and_counted_as_such(make: Make) -> None:
    site = make(sites=SITES)
    answer = site.get(Host="elsewhere.example")

    assert answer.text == site.page
    assert site.ledger()["rejected"] == {"unknown_site": 1}
    assert site.searches() == []


def test_lists_of_one_query_but_two_sites_are_two_searches(make: Make) -> None:
    sites = [Site(handle=handle, hosts=("www.example.org",)) for handle in ("a", "all")]
    named = listed(B, attributes=modules("BWEB", 'data-click-site="all"'))
    site = make(PAGE + named, sites=sites)
    site.get()

    assert sorted(site.searches("site")) == ["a", "all"]


# -- other markup ------------------------------------------------------------------------------


def test_the_markup_of_search_gov_works_as_it_is(make: Make) -> None:
    link = """<a data-click='{"position":%d,"module_code":"%s"}' href="%s">x</a>"""
    page = (
        '<div data-affiliate="nps.gov" data-query="Yellow Stone" data-vertical="web">'
        + link % (1, "BOOS", A)
        + link % (21, "BWEB", B)
        + "</div>"
    )
    site = make(page, sites=[Site(handle="nps.gov")])
    links = site.links()

    assert [(link.site, link.module_code, link.position) for link in links] == [
        ("nps.gov", "BOOS", 1),
        ("nps.gov", "BWEB", 21),
    ]
    assert site.searches("site, query") == [("nps.gov", "yellow stone")]


UNMARKED = (
    f'<ol class="results"><li class=hit><a class="title" href="{A}">x</a><a href="/more">m</a></li>'
    f'<li class=hit><a class="title" href="{B}">x</a></li></ol><a class=title href="{C}">c</a>'
)


def test_a_rule_finds_results_on_a_page_without_marks(make: Make) -> None:
    rule = Rule(path="/suche", container="ol.results", link="a.title", module="BWEB", item="li")
    site = make(UNMARKED, rules=[rule], query_param="q")

    assert [(link.location, link.position) for link in site.links("/suche?q=tax")] == [
        (A, 1),
        (B, 2),
    ]
    assert site.searches() == ["tax"]


def test_a_rule_has_a_parameter_and_a_site_of_its_own(make: Make) -> None:
    rule = Rule(
        path="/suche", container="ol.results", link="a", module="B", query_param="text", site="all"
    )
    sites = [Site(handle=handle, hosts=("www.example.org",)) for handle in ("a", "all")]
    site = make(UNMARKED, rules=[rule], sites=sites)
    site.get("/suche?text=tax&q=no")

    assert site.searches("site, query") == [("all", "tax")]


def test_a_rule_holds_on_its_path_only(make: Make) -> None:
    rule = Rule(path="/suche", container="ol.results", link="a.title", module="BWEB")

    assert make(UNMARKED, rules=[rule]).links("/other?q=tax") == []


def test_the_path_of_a_rule_may_have_any_letters(make: Make) -> None:
    rule = Rule(path="/s\u00f8k", container="ol.results", link="a.title", module="BWEB")

    assert len(make(UNMARKED, rules=[rule]).links("/s%C3%B8k?q=tax")) == 2


# -- robots, wishes, shared pages --------------------------------------------------------------

GPC = {"Sec-GPC": "1"}
AS_ROBOT = {"User-Agent": ROBOT}
PUBLIC = {"Cache-Control": "public, max-age=60"}


@pytest.mark.parametrize("client", [GPC, AS_ROBOT], ids=["opted out", "robot"])
@pytest.mark.parametrize("headers", [{}, {"Cache-Control": "private"}], ids=["unsaid", "private"])
def test_who_does_not_count_gets_clean_links(
    make: Make, client: dict[str, str], headers: dict[str, str]
) -> None:
    site = make(f"<body>{PAGE}</body>", headers)

    assert site.get(**client).text == site.page


def test_the_search_of_a_robot_is_kept_and_flagged(make: Make) -> None:
    site = make()
    site.get(**AS_ROBOT)

    assert site.searches("query, drop_reason, counted") == [("tax", "robot", 0)]
    assert site.shown() == [(A, 1), (B, 2)]


def test_the_search_of_an_opted_out_visitor_is_only_tallied(make: Make) -> None:
    site = make()
    site.get(**GPC)

    assert site.searches() == []
    assert site.ledger()["opted_out"] == 1


def test_an_anonymous_search_counts_without_a_visitor(make: Make) -> None:
    site = make(optout="anonymous")

    assert len(site.links(**GPC)) == 2
    assert site.searches("coalesce(visitor, ''), counted") == [("", 1)]


def test_a_wish_that_is_to_be_ignored_is(make: Make) -> None:
    site = make(optout="ignore")
    site.get(**GPC)

    assert site.searches("length(visitor), counted") == [(16, 1)]


@pytest.mark.parametrize("client", [{}, GPC, AS_ROBOT], ids=["visitor", "opted out", "robot"])
def test_a_shared_page_is_the_same_for_everybody(make: Make, client: dict[str, str]) -> None:
    site = make(f"<body>{PAGE}</body>", PUBLIC)
    page = site.get(**client).text

    assert len(SIGNED.findall(page)) == 2
    assert marked_name("clickmw.js") in page
    assert site.searches("shared, coalesce(visitor, ''), coalesce(drop_reason, '') = 'robot'") == [
        (1, "", 0)
    ]
    assert site.ledger()["opted_out"] == 0


def test_a_shared_page_has_the_same_search_for_all_who_are_sent_its_bytes(make: Make) -> None:
    site = make(headers=PUBLIC)
    page = site.get().text
    token = SIGNED.findall(page)[0]
    for last in (1, 2):
        site.browser.get(PREFIX + token, extra_environ={"REMOTE_ADDR": f"198.51.100.{last}"})

    assert site.rows("SELECT sum(counted), count(DISTINCT query_id) FROM clicks") == [(2, 1)]


# -- prefetched pages --------------------------------------------------------------------------


def test_a_prefetched_page_counts_when_a_link_on_it_is_clicked(make: Make) -> None:
    site = make()
    token = SIGNED.findall(site.get(**{"Sec-Purpose": "prefetch;prerender"}).text)[0]
    before = site.searches("counted")
    site.browser.get(PREFIX + token)

    assert (before, site.searches("counted")) == ([0], [1])
    assert site.rows("SELECT counted FROM clicks") == [1]


# -- what the search rule needs ----------------------------------------------------------------


def test_a_reload_is_a_repeat(make: Make) -> None:
    site = make()
    site.get()
    site.get()

    assert set(site.searches("drop_reason")) == {None, "repeat"}


def test_a_page_that_two_visitors_see_is_two_searches(make: Make) -> None:
    site = make()
    for last in (1, 2):
        environ = {"REMOTE_ADDR": f"198.51.100.{last}"}
        site.browser.get("/search?q=tax", extra_environ=environ)

    assert site.rows("SELECT sum(counted) FROM searches") == [2]


def test_the_ledger_adds_up(make: Make) -> None:
    site = make(listed(A, "mailto:x@y.example"))
    for client in ({}, GPC, AS_ROBOT):
        for token in SIGNED.findall(site.get(**client).text):
            site.browser.get(PREFIX + token, headers=client)
    ledger = site.ledger()

    assert ledger["received"] == ledger["stored"] + ledger["opted_out"] + ledger["pending"] == 4
