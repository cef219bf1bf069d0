"""Simulated visitors: what they send, and whether their report is the truth."""

import base64
import ipaddress
import re
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from urllib.parse import parse_qs

import pytest
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

from clickmw.pydocs_search.documents import Document
from clickmw.pydocs_search.index import Index, build
from clickmw.pydocs_search.site import make_site
from clickmw.simulate import (
    FRUITLESS_QUERIES,
    QUERIES,
    PageLink,
    Report,
    attraction,
    choose,
    examination,
    forwarded_address,
    half_typed,
    read_page,
    simulate,
)

VISITS = 250
# Around the place where the IPv4 range is used up.
VISIT_NUMBERS = [*range(3000), *range(130_000, 133_000)]
PREFIX = "/_clicks/r/"


class StandIn:
    """A site whose result links are redirects, as clickmw makes them; notes every request."""

    def __init__(self, site):
        self.site = site
        self.requests = []
        self.lock = threading.Lock()

    def __call__(self, environ, start_response):
        request = Request(environ)
        with self.lock:
            self.requests.append(request)
        return self.answer(request)(environ, start_response)

    def answer(self, request):
        if request.path.startswith(PREFIX):
            return self.redirect(request)
        page = Response.from_app(self.site, request.environ)
        if request.path == "/search" and not self.clean(request):
            page.data = re.sub(rb'<a data-click href="([^"]*)"', self.sign, page.data)
        return page

    def clean(self, request):
        return "bot" in request.user_agent.string.lower() or request.headers.get("Sec-GPC") == "1"

    def sign(self, match):
        token = base64.urlsafe_b64encode(match[1])
        return b'<a data-click href="' + PREFIX.encode() + token + b'"'

    def redirect(self, request):
        if "Sec-Purpose" in request.headers:
            return Response(status=425)
        target = base64.urlsafe_b64decode(request.path.removeprefix(PREFIX)).decode()
        return Response(status=302, headers={"Location": target}, content_type="text/plain")


class Quiet(WSGIRequestHandler):
    def log(self, type, message, *args):
        pass


def documents():
    """Return a small library in which every common query finds more than a page."""
    for query in {*QUERIES, "json"}:
        for number in range(25):
            name = re.sub(r"\W", "_", f"{query}_{number}").lower()
            text = f"About {query}, part {number}, and nothing else."
            yield Document(name, "topic", f"{query} {number}", "", text, text, "")


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    path = tmp_path_factory.mktemp("simulate") / "small.db"
    build(path, {one.name: one for one in documents()}.values())
    small = Index(path)
    yield small
    small.close()


def serve(application):
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=Quiet)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    return server, thread


@pytest.fixture
def server(index):
    """Yield (base URL, stand-in) of a real server."""
    stand_in = StandIn(make_site(index))
    running, thread = serve(stand_in)
    yield f"http://127.0.0.1:{running.server_port}", stand_in
    running.shutdown()
    thread.join()
    running.server_close()


@pytest.fixture(scope="module")
def crowd(index):
    """Return (report, requests) of one larger run."""
    stand_in = StandIn(make_site(index))
    running, thread = serve(stand_in)
    report = simulate(f"http://127.0.0.1:{running.server_port}", VISITS, seed=7)
    running.shutdown()
    thread.join()
    running.server_close()
    return report, stand_in.requests


def redirects(requests):
    return [request for request in requests if request.path.startswith(PREFIX)]


def test_nothing_goes_wrong_on_a_good_site(crowd):
    report, _ = crowd
    assert (report.visits, report.errors, report.problems) == (VISITS, 0, ())


def test_the_report_counts_every_results_page(crowd):
    report, requests = crowd
    assert report.pages == sum(request.path == "/search" for request in requests)


def test_the_report_counts_every_acknowledged_click(crowd):
    report, requests = crowd
    sent = [one for one in redirects(requests) if "Sec-Purpose" not in one.headers]
    assert report.acknowledged == report.clicks + report.duplicates == len(sent)


def test_the_report_counts_every_prefetch(crowd):
    report, requests = crowd
    sent = [one for one in redirects(requests) if "Sec-Purpose" in one.headers]
    assert report.prefetches == len(sent) > 0


def test_a_duplicate_repeats_a_click_of_the_same_visitor(crowd):
    report, requests = crowd
    sent = Counter(
        (one.headers["X-Forwarded-For"], one.full_path, one.referrer)
        for one in redirects(requests)
        if "Sec-Purpose" not in one.headers
    )
    assert report.duplicates == sum(count - 1 for count in sent.values()) > 0


def test_all_kinds_of_visits_occur(crowd):
    report, _ = crowd
    counts = report.summary()
    assert all(counts[name] for name in counts if name not in ("errors", "seconds")), counts


def test_robots_and_opted_out_visitors_are_few(crowd):
    report, _ = crowd
    assert 0 < report.robots + report.opted_out < VISITS * 0.12


def test_each_visit_has_an_address_of_its_own(crowd):
    _, requests = crowd
    assert len({one.headers["X-Forwarded-For"] for one in requests}) == VISITS


def test_addresses_belong_to_nobody(crowd):
    _, requests = crowd
    ranges = [ipaddress.ip_network("198.18.0.0/15"), ipaddress.ip_network("2001:db8::/32")]
    addresses = {ipaddress.ip_address(one.headers["X-Forwarded-For"]) for one in requests}
    assert all(any(address in range for range in ranges) for address in addresses)


def test_several_browsers_visit(crowd):
    _, requests = crowd
    assert len({one.user_agent.string for one in requests}) >= 8


def test_clicks_look_like_those_of_a_browser(crowd):
    _, requests = crowd
    for request in redirects(requests):
        assert request.headers["Sec-Fetch-Site"] == "same-origin"
        assert request.headers["Sec-Fetch-Mode"] == "navigate"
        assert request.referrer.startswith(request.host_url + "search?q=")
        if "Sec-Purpose" not in request.headers:
            assert request.headers["Sec-Fetch-User"] == "?1"


def test_opted_out_visitors_say_so(crowd):
    report, requests = crowd
    sent = {one.headers["X-Forwarded-For"] for one in requests if "Sec-GPC" in one.headers}
    assert report.opted_out == len(sent) > 0


def test_own_pages_are_opened_and_foreign_hosts_never(crowd):
    report, requests = crowd
    targets = {one.target for one in report.clicked if one.kind == "click"}
    foreign = {target for target in targets if "127.0.0.1" not in target}
    assert foreign
    assert all(target.startswith("https://docs.python.org/") for target in foreign)
    assert any(one.path.startswith("/doc/") for one in requests)


def test_positions_go_on_across_pages(crowd):
    report, _ = crowd
    assert max(one.position for one in report.clicked if one.module == "BWEB") > 10


def test_second_pages_are_asked_for_only_where_there_are_more_results(crowd):
    report, _ = crowd
    assert all(one.total > 10 and one.page == 2 for one in report.searched if one.kind == "page")


def test_clicks_by_position_add_up(crowd):
    report, _ = crowd
    assert sum(report.clicks_by_position.values()) == report.clicks


def test_upper_places_are_clicked_more(crowd):
    report, _ = crowd
    clicks = {
        place: n for (module, place), n in report.clicks_by_position.items() if module == "BWEB"
    }
    assert clicks[1] + clicks[2] > clicks.get(9, 0) + clicks.get(10, 0)


def test_half_typed_queries_are_followed_by_a_longer_one(crowd):
    report, _ = crowd
    for one, after in zip(report.searched, report.searched[1:], strict=False):
        if one.kind == "typing":
            assert after.visit == one.visit
            assert after.query.startswith(one.query)


def test_a_finished_query_never_continues_an_earlier_one(crowd):
    report, _ = crowd
    earlier = {}
    for one in report.searched:
        if one.kind == "search":
            before = earlier.setdefault(one.visit, [])
            assert not any(one.query.casefold().startswith(query) for query in before)
            before.append(one.query.casefold())


def test_common_queries_are_asked_more_often(crowd):
    report, _ = crowd
    counts = report.searches_by_query()
    assert sum(counts.values()) == report.searches
    assert counts["json"] > counts.get("progress bar", 0)


class KeepAlive(BaseHTTPRequestHandler):
    """Answer every results page over a connection that stays open."""

    protocol_version = "HTTP/1.1"
    hangs_up = False

    def do_GET(self):
        self.server.clients.add(self.client_address)
        body = b'<ol data-click-module="BWEB" data-click-total="0"></ol>'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = self.hangs_up

    def log_message(self, *arguments):
        pass


class HangsUp(KeepAlive):
    """Close each connection after its answer without having said so."""

    hangs_up = True


def visit_keep_alive(handler):
    """Return the report of a run against *handler* and the number of connections."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.clients = set()
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        report = simulate(f"http://127.0.0.1:{server.server_port}", 20, seed=1, workers=2)
        server.shutdown()
        thread.join()
        return report, len(server.clients)


def test_connections_are_kept_open():
    report, connections = visit_keep_alive(KeepAlive)
    assert (report.visits, report.errors) == (20, 0)
    assert connections <= 2


def test_a_connection_that_was_closed_while_idle_is_opened_again():
    report, connections = visit_keep_alive(HangsUp)
    assert report.errors == 0
    assert connections == report.pages


def test_the_same_seed_gives_the_same_visits(server):
    url, _ = server
    assert simulate(url, 20, seed=3, workers=1) == simulate(url, 20, seed=3, workers=1)


def test_the_number_of_workers_changes_nothing(server):
    url, _ = server
    assert simulate(url, 20, seed=3, workers=1) == simulate(url, 20, seed=3, workers=4)


def test_another_seed_gives_other_visits(server):
    url, _ = server
    assert simulate(url, 20, seed=3) != simulate(url, 20, seed=4)


def test_progress_counts_the_visits(server):
    steps = []
    simulate(server[0], 10, seed=1, progress=steps.append)
    assert steps == [1] * 10


def test_the_time_limit_ends_the_run(server):
    assert simulate(server[0], 10, seed=1, limit_s=-1.0).visits == 0


def test_a_site_below_a_path_is_visited_there(index):
    stand_in = make_site(index)

    def mounted(environ, start_response):
        if not environ["PATH_INFO"].startswith("/docs/"):
            return Response(status=404)(environ, start_response)
        environ["PATH_INFO"] = environ["PATH_INFO"].removeprefix("/docs")
        return stand_in(environ | {"SCRIPT_NAME": "/docs"}, start_response)

    running, thread = serve(mounted)
    report = simulate(f"http://127.0.0.1:{running.server_port}/docs/", 3, seed=1)
    running.shutdown()
    thread.join()
    running.server_close()
    assert report.pages >= 3


def test_links_that_are_not_signed_are_problems(index):
    running, thread = serve(make_site(index))
    report = simulate(f"http://127.0.0.1:{running.server_port}", 40, seed=1)
    running.shutdown()
    thread.join()
    running.server_close()
    assert report.clicks == 0
    assert report.errors > 0


def test_a_site_that_is_gone_ends_the_run_early():
    with make_server("127.0.0.1", 0, lambda *_: []) as closed:
        port = closed.server_port
    report = simulate(f"http://127.0.0.1:{port}", 1000, seed=1)
    assert report.visits < 100
    assert "Connection refused" in report.problems[0]


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/",
        "http://example.com/",
        "http://192.168.1.1/",
        "http://127.0.0.1.example.com/",
        "http://example.com@10.0.0.1/",
        "ftp://127.0.0.1/",
        "127.0.0.1:8000",
        "",
    ],
)
def test_only_this_machine_is_visited(url):
    with pytest.raises(ValueError, match="simulate"):
        simulate(url, 1)


@pytest.mark.parametrize("version", [4, 6])
def test_addresses_do_not_repeat(version):
    addresses = {forwarded_address(visit, version=version) for visit in VISIT_NUMBERS}
    assert len(addresses) == len(VISIT_NUMBERS)


def test_examination_falls_with_the_rank():
    assert examination(1) == 1.0
    assert examination(2) > examination(3) > examination(10) > 0


def test_attraction_is_fixed_and_varies():
    values = [attraction(f"title {number}") for number in range(100)]
    assert values == [attraction(f"title {number}") for number in range(100)]
    assert 0.03 <= min(values) < 0.1 < 0.25 < max(values) <= 0.33


def test_clicks_follow_the_model():
    links = [PageLink("/", f"title {rank}", "BWEB", 10 + rank) for rank in range(1, 11)]
    random, rounds = Random(5), 8000
    clicks = Counter(link.position for _ in range(rounds) for link in choose(links, random))
    for rank, link in enumerate(links, 1):
        expected = examination(rank) * attraction(link.title)
        # The last ranks lose a little to visitors who have clicked enough.
        assert clicks[link.position] / rounds == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("query", [*QUERIES, *FRUITLESS_QUERIES])
def test_half_typed_queries_are_real_beginnings(query):
    assert all(query.startswith(part) and part != query for part in half_typed(query))


def test_a_page_is_read_as_the_markup_says():
    total, links = read_page(
        '<ol data-click-module="BWEB" data-click-total="42" data-click-offset="10">'
        '<li><ol><li><a href="/unmarked">no</a></ol><a data-click href="/a">A <b>b</b></a>'
        '<li><a data-click data-click-position="40" href="/b?x=1&amp;y=2">B</a>'
        '<li><a data-click data-click-module="NEWS" href="/c">C</a></ol>'
        '<a data-click href="/outside">outside</a>'
        '<div data-click-module="BOOS" data-click-links="all"><a href="/d">D</a></div>'
    )
    assert total == 42
    assert [tuple(link) for link in links] == [
        ("/a", "A b", "BWEB", 11),
        ("/b?x=1&y=2", "B", "BWEB", 40),
        ("/c", "C", "NEWS", 13),
        ("/d", "D", "BOOS", 1),
    ]


def test_an_empty_report_is_all_zeros():
    assert set(Report(visits=0).summary().values()) == {0}


def test_queries_reach_the_site_as_typed(server):
    url, stand_in = server
    report = simulate(url, 10, seed=2, workers=1)
    sent = [
        parse_qs(request.query_string.decode())["q"][0]
        for request in stand_in.requests
        if request.path == "/search"
    ]
    assert sent == [one.query for one in report.searched]
