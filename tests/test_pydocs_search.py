"""The demo's search site: its documents, its index and its pages."""

import re
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from webtest import TestApp
from werkzeug.test import Client

from clickmw.demo import running
from clickmw.pydocs_search import documents
from clickmw.pydocs_search.best_bets import BEST_BETS, best_bets
from clickmw.pydocs_search.documents import Document
from clickmw.pydocs_search.index import (
    Index,
    SearchUnavailable,
    build,
    prepare,
    require_fts5,
    split_words,
)
from clickmw.pydocs_search.site import Paging, make_site
from clickmw.simulate import FRUITLESS_QUERIES, QUERIES

ODD_QUERIES = {
    "quote": '"',
    "apostrophe": "O'Reilly",
    "operators": "json AND OR NOT NEAR",
    "column": "title:json",
    "prefix": "json*",
    "brackets": "((json",
    "caret": "^json",
    "minus": "-json",
    "only signs": "!?*()[]",
    "nul": "js\0on",
    "tags": "<script>alert(1)</script>",
    "sql": "'; DROP TABLE document; --",
    "emoji": "🐍",
    "combining": "e\u0301",
    "arabic": "ملف",
    "long": "json " * 2000,
    "one long word": "x" * 5000,
    "underscores": "___",
    "single letter": "a",
    "only small words": "how to the",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("pydocs")


@pytest.fixture(scope="module")
def index(folder):
    prepared = prepare(folder)
    yield prepared
    prepared.close()


@pytest.fixture(scope="module")
def site(index):
    return TestApp(make_site(index))


def test_thousands_of_documents_are_found(index):
    assert len(index) > 4000


@pytest.mark.parametrize(
    "name",
    ["json", "json.dumps", "os.path.join", "pathlib.Path.read_text", "builtins.str.split", "re"],
)
def test_well_known_names_have_a_page(index, name):
    assert index.get(name)


@pytest.mark.parametrize("name", ["antigravity", "this", "idlelib", "test", "tkinter", "readline"])
def test_modules_with_effects_are_left_out(name):
    assert name not in documents.module_names()


def test_collecting_is_silent_and_starts_nothing():
    code = (
        "import sys, threading\n"
        "from clickmw.pydocs_search.documents import collect\n"
        "assert sum(1 for _ in collect()) > 4000\n"
        "assert threading.active_count() == 1\n"
        "assert not {'antigravity', 'this', 'tkinter', 'readline'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_module_that_fails_is_no_module(tmp_path, monkeypatch, capfd):
    (tmp_path / "broken_one.py").write_text("import sys\nprint('hello')\nsys.exit(3)\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert documents.quiet_import("broken_one") is None
    assert capfd.readouterr() == ("", "")


def test_progress_reaches_its_end():
    steps = []
    for _ in documents.collect(lambda done, total: steps.append((done, total))):
        pass
    assert steps[-1][0] == steps[-1][1] == len(steps)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("Add a. Then stop.", "Add a.", id="first sentence"),
        pytest.param("Add\n  b\n\nMore", "Add b", id="first paragraph"),
        pytest.param("Version 3.4 of it", "Version 3.4 of it", id="dot in a number"),
        pytest.param("", "", id="empty"),
    ],
)
def test_a_summary_is_the_first_sentence(text, expected):
    assert documents.summary(text) == expected


def test_a_long_summary_is_cut_at_a_word():
    assert documents.summary("word " * 100).endswith("word…")


@pytest.mark.parametrize(
    ("title", "words"),
    [
        ("concurrent.futures.ThreadPoolExecutor", "concurrent futures Thread Pool Executor"),
        ("json.JSONDecodeError", "json JSON Decode Error"),
        ("json", ""),
    ],
)
def test_names_are_split_into_words(title, words):
    assert split_words(title) == words


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("json", "json"),
        ("JSON", "json"),
        ("str.split", "builtins.str.split"),
        ("with statement", "topics.with"),
        ("argparse", "argparse"),
    ],
)
def test_an_exact_name_comes_first(index, query, first):
    assert first in [hit.name for hit in index.search(query).hits[:5]]


def test_parts_of_a_name_are_found(index):
    names = [hit.name for hit in index.search("thread pool").hits]
    assert "concurrent.futures.ThreadPoolExecutor" in names


def test_the_last_word_may_be_unfinished(index):
    assert index.search("jso").total >= index.search("json").total > 0


@pytest.mark.parametrize("query", ["jsno", "datetiem", "asnycio"])
def test_slips_of_the_finger_find_nothing(index, query):
    assert index.search(query).total == 0


def test_some_words_are_enough_when_no_page_has_all(index):
    found = index.search("json zeppelins")
    assert (found.partial, found.total > 0) == (True, True)


def test_the_words_of_the_query_are_marked(index):
    hit = next(hit for hit in index.search("json").hits if hit.name == "json")
    assert {text.lower() for text, marked in hit.excerpt if marked} == {"json"}


def test_pages_of_results_join_without_overlap(index):
    whole = index.search("file", limit=30)
    parts = [index.search("file", limit=10, offset=offset).hits for offset in (0, 10, 20)]
    assert [hit.name for part in parts for hit in part] == [hit.name for hit in whole.hits]


@pytest.mark.parametrize(("query", "name"), [("jsno", "json"), ("datetiem", "datetime")])
def test_a_near_name_is_suggested(index, query, name):
    assert index.suggest(query) == name


@pytest.mark.parametrize("query", ["qqqqqqqq", "x", "y" * 1000])
def test_nothing_is_suggested_for_what_looks_like_nothing(index, query):
    assert index.suggest(query) is None


def test_many_threads_search_at_once(index):
    with ThreadPoolExecutor(8) as pool:
        totals = set(pool.map(lambda _: index.search("json").total, range(80)))
    assert len(totals) == 1


def test_a_second_start_reuses_the_index(folder, index):
    before = index.path.stat().st_mtime_ns
    with closing(prepare(folder)) as again:
        assert (again.path, again.path.stat().st_mtime_ns) == (index.path, before)


def test_a_build_that_fails_leaves_nothing_behind(tmp_path):
    def broken():
        yield Document("a", "module", "a", "", "", "A text.", "")
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        build(tmp_path / "i.db", broken())
    assert list(tmp_path.iterdir()) == []


def test_odd_documents_are_searchable(tmp_path):
    build(tmp_path / "i.db", [Document("a", "topic", "A <b>", "", "", "x < y & \x02z", "")])
    with closing(Index(tmp_path / "i.db")) as small:
        assert [hit.title for hit in small.search("z").hits] == ["A <b>"]


def test_missing_full_text_search_is_said_in_a_sentence():
    with (
        closing(sqlite3.connect(":memory:")) as connection,
        pytest.raises(SearchUnavailable, match=r"FTS5.*lacks"),
    ):
        require_fts5(connection, module="fts99")


def test_the_home_page_offers_examples_that_find_something(site):
    examples = site.get("/").html.select(".examples a")
    assert len(examples) >= 5
    assert all(site.get(link["href"]).html.select(".hits li") for link in examples)


def test_results_carry_the_markup(site):
    results = site.get("/search?q=file&page=2").html.select_one("[data-click-module=BWEB]")
    assert results["data-click-query"] == "file"
    assert results["data-click-offset"] == "10"
    assert int(results["data-click-total"]) > 10
    assert len(results.select("li[data-click-item] a[data-click]")) == 10


def test_best_bets_are_a_block_of_their_own(site):
    bets = site.get("/search?q=json").html.select("[data-click-module=BOOS] a[data-click]")
    assert [link["href"] for link in bets] == ["https://docs.python.org/3/library/json.html"]


def test_best_bets_are_shown_on_the_first_page_only(site):
    assert not site.get("/search?q=json&page=2").html.select("[data-click-module=BOOS]")


@pytest.mark.parametrize("word", ["json", "date", "file", "http", "regex", "thread"])
def test_common_words_have_a_best_bet(word):
    assert 1 <= len(best_bets(f"how to {word}")) <= 2


def test_best_bets_lead_to_foreign_https_pages():
    assert all(bet.url.startswith("https://docs.python.org/") for bet in BEST_BETS)


def test_a_page_without_results_says_so_and_keeps_its_total(site):
    page = site.get("/search?q=jsno").html
    assert page.select_one("[data-click-module=BWEB]")["data-click-total"] == "0"
    assert page.select_one(".suggestion a").text == "json"


@pytest.mark.parametrize("query", ODD_QUERIES.values(), ids=ODD_QUERIES)
def test_odd_queries_get_a_page(site, query):
    assert site.get("/search", {"q": query}).status_int == 200


@pytest.mark.parametrize(
    "address",
    [
        "/search",
        "/search?q=",
        "/search?q=%20",
        "/search?q=%ff%fe",
        "/search?q=%ed%a0%80",
        "/search?q=json&q=regex",
        "/search?query=json",
    ],
)
def test_odd_addresses_get_a_page(index, address):
    assert Client(make_site(index)).get(address).status_code == 200


@pytest.mark.parametrize(
    ("page", "offset"),
    [
        *(("0", "0"), ("-1", "0"), ("x", "0"), ("", "0"), ("1e9", "0"), ("²", "0")),
        pytest.param("9" * 5000, None, id="far too large"),
    ],
)
def test_odd_page_numbers_mean_a_page_that_exists(site, page, offset):
    results = site.get("/search", {"q": "json", "page": page}).html.select_one(".hits")
    assert results.select("li")
    assert offset in (None, results["data-click-offset"])


def test_queries_are_escaped(site):
    assert "<script>" not in site.get("/search", {"q": "<script>alert(1)</script>"}).text


def test_every_result_of_a_page_leads_to_a_document(site):
    links = site.get("/search?q=read+file").html.select(".hits a[data-click]")
    assert all(site.get(link["href"]).html.select_one(".text") for link in links)


def test_a_document_page_links_back_and_up(site):
    crumbs = site.get("/doc/pathlib.Path.exists").html.select(".crumbs a")
    assert [link["href"] for link in crumbs] == ["/", "/doc/pathlib", "/doc/pathlib.Path"]


def test_a_module_page_lists_its_members(site):
    assert site.get("/doc/json").html.select(".children a[href='/doc/json.dumps']")


@pytest.mark.parametrize("path", ["/doc/no.such.name", "/nothing", "/doc/", "/doc/%ff"])
def test_unknown_pages_are_missing(site, path):
    assert site.get(path, status=404)


def test_links_keep_the_place_where_the_site_is_mounted(index):
    page = Client(make_site(index)).get("/search?q=json", base_url="http://localhost/docs/")
    assert 'href="/docs/doc/json"' in page.text


def test_pages_need_nothing_from_elsewhere(site):
    page = site.get("/search?q=json").text
    assert re.findall(r'(?:src|srcset)="|<script|@import', page) == []
    assert "url(" not in site.get("/site.css").text


@pytest.mark.wide
@pytest.mark.parametrize("path", ["/", "/search?q=json", "/doc/json"])
def test_no_page_is_wider_than_its_window(index, path, profile_of):
    tab = profile_of().new_page()
    with running(make_site(index), 0) as address:
        tab.goto(address.rstrip("/") + path)
        for width in (320, 580, 959, 960, 1000, 1030, 1280):
            tab.set_viewport_size({"width": width, "height": 800})
            assert tab.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, width
        tab.goto("about:blank")


def test_the_style_sheet_is_cached(site):
    tag = site.get("/site.css").headers["ETag"]
    assert site.get("/site.css", headers={"If-None-Match": tag}, status=304)


def test_the_site_knows_nothing_of_clickmw(index):
    code = "import sys, clickmw.pydocs_search.site; print(*sorted(m for m in sys.modules if m.startswith('clickmw')))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert all(
        name == "clickmw" or name.startswith("clickmw.pydocs_search")
        for name in loaded.stdout.split()
    )


@pytest.mark.parametrize(
    ("page", "last", "numbers"),
    [
        (1, 1, [1]),
        (1, 9, [1, 2, 3, 4, 5]),
        (5, 9, [3, 4, 5, 6, 7]),
        (9, 9, [5, 6, 7, 8, 9]),
        (2, 3, [1, 2, 3]),
    ],
)
def test_the_pages_around_are_offered(page, last, numbers):
    assert Paging(page, last).numbers == numbers


@pytest.mark.parametrize("query", FRUITLESS_QUERIES)
def test_queries_meant_to_fail_do_fail(index, query):
    assert index.search(query).total == 0


def test_most_queries_of_the_simulation_find_something(index):
    assert [query for query in QUERIES if not index.search(query).total] == []
