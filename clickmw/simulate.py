"""Visitors with a known click model, over real HTTP: for the demo, tests and benchmarks."""

from __future__ import annotations

import hashlib
import http.client
import ipaddress
import itertools
import threading
import time
from bisect import bisect
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from html.parser import HTMLParser
from random import Random
from typing import NamedTuple
from urllib.parse import quote_plus, urljoin, urlsplit

Progress = Callable[[int], object]

ROBOT_SHARE = 0.03
OPTED_OUT_SHARE = 0.02
IPV6_SHARE = 0.25
SECOND_QUERY_SHARE = 0.15
TYPING_SHARE = 0.08
NEXT_PAGE_SHARE = 0.12
DOUBLE_CLICK_SHARE = 0.06
PREFETCH_SHARE = 0.05

# No one follows more results of one page: real visitors do not, and a site may limit the rate.
MOST_CLICKS = 3
EXAMINATION_DECAY = 0.8
FAILURES_UNTIL_STOP = 25
PROBLEMS_KEPT = 20
MAX_PAGE_BYTES = 4_000_000

SUMMARY = (
    *("visits", "searches", "no_results", "typing", "later_pages", "pages", "clicks", "duplicates"),
    *("prefetches", "acknowledged", "robots", "opted_out", "errors"),
)

BROWSERS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/138.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/18.5 Safari/605.1.15",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 "
    "(KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/138.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/138.0.0.0 Safari/537.36 Edg/138.0.0.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Mozilla/5.0 (iPad; CPU OS 17_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/17.7 Mobile/15E148 Safari/604.1",
)

ROBOTS = (
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; bingbot/2.0; "
    "+http://www.bing.com/bingbot.htm) Chrome/116.0.1938.76 Safari/537.36",
    "Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)",
)

# Most wanted first. The last ones find nothing: slips of the finger, and things that the standard
# library does not have.
QUERIES = (
    *("json", "datetime", "read a file", "regex", "list sort", "argparse", "pathlib", "asyncio"),
    *("threading", "http request", "parse csv", "logging", "subprocess", "Decimal", "dataclass"),
    *("unittest mock", "random choice", "string format", "zip file", "os.path.join", "sqlite3"),
    *("thread pool", "http server", "url quote", "timezone", "deep copy", "itertools", "counter"),
    *("json dumps", "strftime", "enum", "typing protocol", "context manager", "temp file"),
    *("with statement", "lambda", "base64", "hash password", "glob", "heap queue", "pickle"),
    *("environment variable", "send email", "xml parse", "statistics median", "retry decorator"),
    *("cache decorator", "JSON", "memory view", "uuid", "socket timeout", "progress bar"),
)
FRUITLESS_QUERIES = (
    "jsno",
    "pandas",
    "datetiem",
    "matplotlib",
    "asnycio",
    "scipy",
    "requsts",
    "dataframe",
)
FRUITLESS_SHARE = 0.07


class Searched(NamedTuple):
    """One results page that a visitor asked for and got."""

    visit: int  # number of the visit, from 0
    query: str
    page: int  # from 1
    total: int | None  # what the page said
    shown: int  # marked links on it
    kind: str  # "search", "typing", "page", "robot" or "opted_out"


class Clicked(NamedTuple):
    """One result link that a visitor followed, and how the site answered."""

    visit: int
    query: str
    module: str
    position: int
    title: str  # as the visitor read it
    target: str  # where the redirect led, else the link itself
    status: int  # 0 when the link led straight to another host, which is never contacted
    kind: str  # "click", "duplicate", "prefetch", "robot" or "opted_out"


class PageLink(NamedTuple):
    """One marked link of a results page, as a visitor sees it."""

    href: str
    title: str
    module: str
    position: int


@dataclass(frozen=True, kw_only=True)
class Report:
    """What really happened: the truth to compare reports with."""

    visits: int
    searched: tuple[Searched, ...] = ()
    clicked: tuple[Clicked, ...] = ()
    problems: tuple[str, ...] = ()  # the first ones, in words
    errors: int = 0
    robots: int = 0  # visits by declared crawlers
    opted_out: int = 0  # visits that sent Sec-GPC
    seconds: float = field(default=0.0, compare=False)

    @property
    def searches(self) -> int:
        """Return the searches that count: finished queries of people who may be counted."""
        return self._pages_of("search")

    @property
    def typing(self) -> int:
        """Return the half-typed queries that a longer one followed at once."""
        return self._pages_of("typing")

    @property
    def later_pages(self) -> int:
        """Return the second pages of counted searches."""
        return self._pages_of("page")

    @property
    def no_results(self) -> int:
        """Return the counted searches that found nothing."""
        return sum(one.kind == "search" and one.total == 0 for one in self.searched)

    @property
    def pages(self) -> int:
        """Return all results pages served, to whomever."""
        return len(self.searched)

    @property
    def clicks(self) -> int:
        """Return the clicks that count: acknowledged by a redirect, each once."""
        return len(self._acknowledged("click"))

    @property
    def duplicates(self) -> int:
        """Return the repeated clicks that a redirect acknowledged."""
        return len(self._acknowledged("duplicate"))

    @property
    def prefetches(self) -> int:
        """Return the result links that a browser fetched ahead of any click."""
        return sum(one.kind == "prefetch" for one in self.clicked)

    @property
    def acknowledged(self) -> int:
        """Return every redirect answered with 302, whether it counts or not."""
        return sum(one.status == 302 for one in self.clicked)

    @property
    def clicks_by_position(self) -> dict[tuple[str, int], int]:
        """Return counted clicks by (module, position)."""
        found = Counter((one.module, one.position) for one in self._acknowledged("click"))
        return dict(sorted(found.items()))

    def searches_by_query(self) -> dict[str, int]:
        """Return counted searches by query in lower case, the most wanted first."""
        found = Counter(one.query.casefold() for one in self.searched if one.kind == "search")
        return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))

    def summary(self) -> dict[str, int | float]:
        """Return the numbers alone, for a terminal or JSON."""
        return {
            **{name: getattr(self, name) for name in SUMMARY},
            "seconds": round(self.seconds, 2),
        }

    def _pages_of(self, kind: str) -> int:
        return sum(one.kind == kind for one in self.searched)

    def _acknowledged(self, kind: str) -> list[Clicked]:
        return [one for one in self.clicked if one.kind == kind and one.status == 302]


def simulate(
    base_url: str,
    visits: int,
    *,
    seed: int = 1,
    workers: int = 4,
    progress: Progress | None = None,
    limit_s: float = 600.0,
    timeout_s: float = 15.0,
) -> Report:
    """Send *visits* visitors to the search site at *base_url* and return what they did.

    Each visitor has a forwarded address of its own, so the site must trust one proxy. What a visit
    does depends on *seed*, its number and the pages alone. *progress* is called with the number of
    visits just finished. Visits not begun within *limit_s* are left out.
    """
    site = _loopback_site(base_url)
    started = time.perf_counter()
    crowd = _Crowd(site, visits, seed, started + limit_s, timeout_s, progress)
    with ThreadPoolExecutor(max(1, workers), "simulate") as pool:
        running = [pool.submit(crowd.work) for _ in range(max(1, workers))]
        try:
            for one in running:
                one.result()
        finally:
            crowd.stop()
    return crowd.report(time.perf_counter() - started)


def examination(rank: int) -> float:
    """Return the probability that a visitor looks at this place of a page's list, from 1."""
    return float(rank**-EXAMINATION_DECAY)


def attraction(title: str) -> float:
    """Return the probability, 0.03 to 0.33, that a result seen is clicked; fixed for each title."""
    digest = hashlib.blake2b(title.encode("utf-8", "replace"), digest_size=4).digest()
    return 0.03 + 0.3 * int.from_bytes(digest, "big") / 0xFFFFFFFF


def choose(links: Sequence[PageLink], random: Random) -> list[PageLink]:
    """Return the links that a visitor clicks: looked at by their rank, liked by their title."""
    ranks: Counter[str] = Counter()
    chosen = []
    for link in links:
        ranks[link.module] += 1
        if random.random() < examination(ranks[link.module]) * attraction(link.title):
            chosen.append(link)
    return chosen[:MOST_CLICKS]


def forwarded_address(visit: int, *, version: int = 4) -> str:
    """Return an address of its own for each visit, out of ranges that belong to nobody."""
    if version == 4 and visit < 1 << 17:
        return str(ipaddress.IPv4Address("198.18.0.0") + visit)
    # One /64 each: sites tell IPv6 visitors apart by that much.
    return str(ipaddress.IPv6Address("2001:db8::57") + (visit << 64))


class _Site(NamedTuple):
    host: str
    port: int
    origin: str
    root: str  # path without trailing slash

    def results_path(self, query: str, page: int) -> str:
        """Return the path of a results page."""
        path = f"{self.root}/search?q={quote_plus(query)}"
        return f"{path}&page={page}" if page > 1 else path

    def has(self, address: str) -> bool:
        """Tell whether an absolute URL is on this site; nothing else is ever contacted."""
        parts = urlsplit(address)
        place = (parts.hostname, parts.port or 80)
        return parts.scheme == "http" and place == (self.host, self.port)


def _loopback_site(base_url: str) -> _Site:
    """Return where the site is, or raise ValueError: only this machine may be visited."""
    parts = urlsplit(base_url)
    host = parts.hostname or ""
    if parts.scheme != "http" or not host:
        raise ValueError(f"simulate needs an http:// address, not {base_url!r}")
    if host != "localhost" and not _is_loopback(host):
        raise ValueError(f"simulate visits only this machine (127.0.0.1, ::1), not {host!r}")
    return _Site(host, parts.port or 80, f"http://{parts.netloc}", parts.path.rstrip("/"))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _Crowd:
    """Share the visits among threads and gather what they did."""

    def __init__(
        self,
        site: _Site,
        visits: int,
        seed: int,
        deadline: float,
        timeout_s: float,
        progress: Progress | None,
    ) -> None:
        self.site, self.visits, self.seed = site, visits, seed
        self.deadline, self.timeout_s, self.progress = deadline, timeout_s, progress
        self.numbers = itertools.count()
        self.done: list[_Visit] = []
        self.failures = 0
        self.lock = threading.Lock()

    def work(self) -> None:
        """Make visits until none is left, the time is over or the site is gone."""
        client = _Client(self.site, self.timeout_s)
        try:
            while (number := self._next()) is not None:
                visit = _Visit(number, Random(f"{self.seed}:{number}"), client)
                visit.run()
                self._finished(visit)
        finally:
            client.close()

    def stop(self) -> None:
        """Begin no more visits."""
        self.deadline = 0.0

    def _next(self) -> int | None:
        with self.lock:
            gone = self.failures >= FAILURES_UNTIL_STOP
            number = next(self.numbers)
            over = gone or number >= self.visits or time.perf_counter() > self.deadline
            return None if over else number

    def _finished(self, visit: _Visit) -> None:
        with self.lock:
            self.done.append(visit)
            self.failures = 0 if visit.searched else self.failures + 1
            if self.progress is not None:
                self.progress(1)

    def report(self, seconds: float) -> Report:
        """Return the truth, in the order of the visits whatever thread made them."""
        done = sorted(self.done, key=lambda visit: visit.number)
        problems = [problem for visit in done for problem in visit.problems]
        return Report(
            visits=len(done),
            searched=tuple(one for visit in done for one in visit.searched),
            clicked=tuple(one for visit in done for one in visit.clicked),
            problems=tuple(problems[:PROBLEMS_KEPT]),
            errors=len(problems),
            robots=sum(visit.who == "robot" for visit in done),
            opted_out=sum(visit.who == "opted_out" for visit in done),
            seconds=seconds,
        )


class _Visit:
    """One visitor's stay on the site."""

    def __init__(self, number: int, random: Random, client: _Client) -> None:
        self.number, self.random, self.client = number, random, client
        self.searched: list[Searched] = []
        self.clicked: list[Clicked] = []
        self.problems: list[str] = []
        self.who = self._who()
        self.headers = self._headers()

    def _who(self) -> str:
        """Return "robot", "opted_out" or "" for a person who may be counted."""
        draw = self.random.random()
        if draw < ROBOT_SHARE:
            return "robot"
        return "opted_out" if draw < ROBOT_SHARE + OPTED_OUT_SHARE else ""

    def _headers(self) -> dict[str, str]:
        version = 6 if self.random.random() < IPV6_SHARE else 4
        headers = {
            "User-Agent": self.random.choice(ROBOTS if self.who == "robot" else BROWSERS),
            "X-Forwarded-For": forwarded_address(self.number, version=version),
            "Accept": "text/html,application/xhtml+xml,*/*;q=0.8",
        }
        if self.who == "opted_out":
            headers["Sec-GPC"] = "1"
        return headers

    def run(self) -> None:
        """Search once or twice and follow what is worth it; failures become problems."""
        try:
            self._search(pick_query(self.random))
            if not self.who and self.random.random() < SECOND_QUERY_SHARE:
                self._search(self._other_query())
        except (OSError, http.client.HTTPException) as error:
            self.problems.append(f"visit {self.number}: {type(error).__name__}: {error}")

    def _other_query(self) -> str:
        """Return a query that does not continue an earlier one, which would look half-typed."""
        before = [one.query.casefold() for one in self.searched]
        while True:
            query = pick_query(self.random)
            if not any(query.casefold().startswith(one) for one in before):
                return query

    def _search(self, query: str) -> None:
        if not self.who and self.random.random() < TYPING_SHARE:
            for part in half_typed(query):
                self._results(part, 1, "typing")
        links = self._results(query, 1, self.who or "search")
        self._follow(query, 1, links)
        goes_on = self.random.random() < NEXT_PAGE_SHARE
        if goes_on and not self.who and self._has_more(links):
            self._follow(query, 2, self._results(query, 2, "page"))

    def _has_more(self, links: list[PageLink]) -> bool:
        """Tell whether the page just read states more results than it showed."""
        last = max((link.position for link in links), default=0)
        return bool(links) and (self.searched[-1].total or 0) > last

    def _results(self, query: str, page: int, kind: str) -> list[PageLink]:
        """Fetch a results page and return its marked links."""
        path = self.client.site.results_path(query, page)
        answer = self.client.get(path, {**self.headers, **self._navigation()})
        if answer.status != 200:
            self.problems.append(f"visit {self.number}: {answer.status} for {query!r}")
            return []
        total, links = read_page(answer.body)
        self.searched.append(Searched(self.number, query, page, total, len(links), kind))
        return links

    def _navigation(self) -> dict[str, str]:
        """Return what a browser says about a page that it opens; robots say nothing."""
        if self.who == "robot":
            return {}
        site = "same-origin" if self.searched else "none"
        return _fetch_headers(site)

    def _follow(self, query: str, page: int, links: list[PageLink]) -> None:
        site = self.client.site
        came_from = site.origin + site.results_path(query, page)
        for link in choose(links, self.random):
            self._click(query, link, came_from, self.who or "click")
            if not self.who and self.random.random() < DOUBLE_CLICK_SHARE:
                self._click(query, link, came_from, "duplicate")
        if links and not self.who and self.random.random() < PREFETCH_SHARE:
            self._click(query, self.random.choice(links), came_from, "prefetch")

    def _click(self, query: str, link: PageLink, came_from: str, kind: str) -> None:
        address = urljoin(came_from, link.href)
        status, target = 0, address
        if self.client.site.has(address):
            status, target = self._ask(address, came_from, kind)
        elif not self.who:
            self.problems.append(f"visit {self.number}: {address} is not a link of the site")
        self.clicked.append(
            Clicked(
                self.number, query, link.module, link.position, link.title, target, status, kind
            )
        )

    def _ask(self, address: str, came_from: str, kind: str) -> tuple[int, str]:
        """Return the answer's status and target; only an own page is opened after a redirect."""
        headers = dict(self.headers)
        if self.who != "robot":
            headers |= {"Referer": came_from, **_fetch_headers("same-origin")}
        if kind == "prefetch":
            headers["Sec-Purpose"] = "prefetch"
            del headers["Sec-Fetch-User"]
        answer = self.client.get(_path_of(address), headers)
        wanted = {"click": {302}, "duplicate": {302}, "prefetch": {425}}.get(kind, {200, 302})
        if answer.status not in wanted:
            self.problems.append(f"visit {self.number}: {answer.status} for a {kind} on {address}")
        target = urljoin(address, answer.location) if answer.location else address
        if answer.status == 302 and kind == "click" and self.client.site.has(target):
            self._open(target, headers)
        return answer.status, target

    def _open(self, address: str, headers: Mapping[str, str]) -> None:
        answer = self.client.get(_path_of(address), headers)
        if answer.status != 200:
            self.problems.append(f"visit {self.number}: {answer.status} for the page {address}")


def pick_query(random: Random) -> str:
    """Return a query as people ask: few often, many seldom, some that find nothing."""
    fruitless = random.random() < FRUITLESS_SHARE
    queries, weights = (FRUITLESS_QUERIES, _FEW) if fruitless else (QUERIES, _MANY)
    return queries[bisect(weights, random.random() * weights[-1])]


def half_typed(query: str) -> list[str]:
    """Return the beginnings that a search-as-you-type box sends before the whole query."""
    ends = sorted({max(2, len(query) // 2), len(query) - 1})
    return [query[:end] for end in ends if query[:end] == query[:end].strip() and end < len(query)]


def _zipf(count: int) -> list[float]:
    return list(itertools.accumulate(1 / rank**0.9 for rank in range(1, count + 1)))


_MANY, _FEW = _zipf(len(QUERIES)), _zipf(len(FRUITLESS_QUERIES))


def _fetch_headers(site: str) -> dict[str, str]:
    return {
        "Sec-Fetch-Site": site,
        "Sec-Fetch-Mode": "navigate",
        "Sec-Fetch-User": "?1",
        "Sec-Fetch-Dest": "document",
    }


def _path_of(address: str) -> str:
    parts = urlsplit(address)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


class _Answer(NamedTuple):
    status: int
    location: str | None
    body: str


class _Client:
    """One browser connection, kept open between requests."""

    def __init__(self, site: _Site, timeout_s: float) -> None:
        self.site = site
        self.connection = http.client.HTTPConnection(site.host, site.port, timeout=timeout_s)

    def get(self, path: str, headers: Mapping[str, str]) -> _Answer:
        """Return the answer; a connection closed while it was idle is opened again, once."""
        kept = self.connection.sock is not None
        try:
            return self._get(path, headers)
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
            self.connection.close()
            if not kept:
                raise
            return self._get(path, headers)
        except (OSError, http.client.HTTPException):
            self.connection.close()
            raise

    def _get(self, path: str, headers: Mapping[str, str]) -> _Answer:
        self.connection.request("GET", path, headers=dict(headers))
        response = self.connection.getresponse()
        body = response.read(MAX_PAGE_BYTES)
        if not response.isclosed():
            self.connection.close()
        return _Answer(
            response.status, response.getheader("Location"), body.decode("utf-8", "replace")
        )

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()


def read_page(html: str) -> tuple[int | None, list[PageLink]]:
    """Return the total that a results page states and its marked links in order."""
    reader = _PageReader()
    reader.feed(html)
    reader.close()
    return reader.total, reader.links


@dataclass(slots=True)
class _List:
    """A container of results that is open while the page is read."""

    tag: str
    module: str
    offset: int
    every_link: bool
    depth: int = 1  # open elements of the same tag, the container's own included
    count: int = 0


class _PageReader(HTMLParser):
    """Read the marked links of a page, and their places, as the markup convention says."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.total: int | None = None
        self.links: list[PageLink] = []
        self._lists: list[_List] = []
        self._open: tuple[str, str, int] | None = None
        self._title: list[str] = []

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if self._lists and tag == self._lists[-1].tag:
            self._lists[-1].depth += 1
        if values.get("data-click-module") and "data-click" not in values:
            self._begin(tag, values)
        elif tag == "a" and self._lists and values.get("href"):
            self._link(values)

    def _begin(self, tag: str, values: Mapping[str, str]) -> None:
        total = _number(values.get("data-click-total"))
        self.total = total if self.total is None else self.total
        self._lists.append(
            _List(
                tag,
                values["data-click-module"],
                _number(values.get("data-click-offset")) or 0,
                values.get("data-click-links") == "all",
            )
        )

    def _link(self, values: Mapping[str, str]) -> None:
        around = self._lists[-1]
        if "data-click" not in values and not around.every_link:
            return
        around.count += 1
        place = _number(values.get("data-click-position")) or around.offset + around.count
        self._open = (values["href"], values.get("data-click-module") or around.module, place)
        self._title = []

    def handle_endtag(self, tag: str) -> None:
        if tag == "a" and self._open is not None:
            href, module, position = self._open
            title = " ".join("".join(self._title).split())
            self.links.append(PageLink(href, title, module, position))
            self._open = None
        if self._lists and tag == self._lists[-1].tag:
            self._lists[-1].depth -= 1
            if not self._lists[-1].depth:
                self._lists.pop()

    def handle_data(self, data: str) -> None:
        if self._open is not None:
            self._title.append(data)


def _number(text: str | None) -> int | None:
    return int(text[:9]) if text and text.isascii() and text.isdigit() else None
