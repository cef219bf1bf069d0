"""What the benchmarks feed: links, browsers' headers, and a site's searches and clicks. Fixed seeds."""

from __future__ import annotations

import itertools
import time
from base64 import urlsafe_b64encode
from bisect import bisect
from collections.abc import Iterator
from random import Random
from typing import Any

from clickmw.events import Click, Event, Search, Shown, new_query_id
from clickmw.tokens import LinkSigner, LinkTarget

SECRET = "a secret for benchmarks, longer than it has to be"
DAY_MS = 86_400_000
AGENTS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/138.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 "
    "(KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
)
BROWSER = {
    "REQUEST_METHOD": "GET",
    "SCRIPT_NAME": "",
    "QUERY_STRING": "",
    "SERVER_NAME": "search.example",
    "SERVER_PORT": "443",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "REMOTE_ADDR": "203.0.113.9",
    "HTTP_HOST": "search.example",
    "HTTP_USER_AGENT": AGENTS[0],
    "HTTP_ACCEPT": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "HTTP_ACCEPT_LANGUAGE": "en-GB,en;q=0.7",
    "HTTP_ACCEPT_ENCODING": "gzip, deflate, br, zstd",
    "HTTP_REFERER": "https://search.example/search?q=tax+form",
    "HTTP_COOKIE": "session=0123456789abcdef0123456789abcdef",
    "HTTP_SEC_FETCH_DEST": "document",
    "HTTP_SEC_FETCH_MODE": "navigate",
    "HTTP_SEC_FETCH_SITE": "same-origin",
    "HTTP_SEC_FETCH_USER": "?1",
    "HTTP_UPGRADE_INSECURE_REQUESTS": "1",
    "wsgi.version": (1, 0),
    "wsgi.url_scheme": "https",
    "wsgi.multithread": True,
    "wsgi.multiprocess": True,
    "wsgi.run_once": False,
}


def environ(path: str, **headers: str) -> dict[str, Any]:
    """Return what a server hands on for one request of a browser."""
    return {**BROWSER, "PATH_INFO": path, **headers}


def url_of(number: int, length: int = 80) -> str:
    """Return the address of result *number*, about *length* characters long."""
    url = (
        f"https://www.example.org/publications/section-{number % 37}/document-{number}.html?lang=en"
    )
    return url + "&note=" + ("abcdefghij" * 40)[: length - len(url) - 6] if length > 80 else url


def link_targets(count: int, length: int = 80) -> list[LinkTarget]:
    """Return *count* links, each of a search of its own that was made a moment ago."""
    now_ms = time.time_ns() // 1_000_000
    return [
        LinkTarget(
            "default", new_query_id(now_ms), n % 10 + 1, "BWEB", "", url_of(n % 150_000, length)
        )
        for n in range(count)
    ]


def link_paths(count: int) -> list[str]:
    """Return the paths of *count* signed links."""
    signer = LinkSigner(SECRET)
    return ["/_clicks/r/" + signer.sign_link(target) for target in link_targets(count)]


class Site:
    """A site's searches and clicks in order of time, from a fixed seed.

    ``searches`` of its events are searches with ten results, the others clicks on them, most of
    them on the first places. Queries are drawn from 200,000, zipf; each shows the same results
    whenever it is asked, out of 150,000. One visitor in fifty is a robot; some click twice.
    """

    QUERIES, URLS, SHOWN = 200_000, 150_000, 10

    def __init__(self, searches: float = 0.55, seed: int = 1) -> None:
        self.searches = searches
        self.random = Random(seed)
        weights = (1 / rank for rank in range(1, self.QUERIES + 1))
        self.cumulative = list(itertools.accumulate(weights))
        self.results: dict[int, tuple[Shown, ...]] = {}
        self.open: list[Search] = []

    def events(self, count: int, first_ms: int, span_ms: int) -> Iterator[Event]:
        """Yield *count* events spread evenly over *span_ms* from *first_ms* on."""
        for number in range(count):
            now_ms = first_ms + span_ms * number // count
            if not self.open or self.random.random() < self.searches:
                search = self._search(now_ms)
                self._keep_open(search)
                yield search
            else:
                yield self._click(now_ms)

    def _keep_open(self, search: Search) -> None:
        self.open.append(search)
        if len(self.open) > 200:
            del self.open[:100]

    def _search(self, now_ms: int) -> Search:
        random = self.random
        robot = "bot" if random.random() < 0.02 else ""
        rank = bisect(self.cumulative, random.random() * self.cumulative[-1])
        query_id = _query_id(now_ms, random)
        return Search(
            received_ms=now_ms,
            site="default",
            query_id=query_id,
            query=f"how to find topic {rank}",
            impressions=self._results(rank),
            total_hits=0 if rank % 40 == 39 else 10 + rank % 5_000,
            visitor=f"{random.getrandbits(64):016x}",
            device=("desktop", "mobile", "tablet")[rank % 3],
            robot=robot,
            drop_reason="robot" if robot else "",
            language="en",
        )

    def _results(self, rank: int) -> tuple[Shown, ...]:
        found = self.results.get(rank)
        if found is None:
            # Long-tailed on purpose: a query's first results are popular ones, the others are not.
            random = Random(rank)
            numbers = [int(self.URLS * random.random() ** (3 - n / 5)) for n in range(self.SHOWN)]
            shown = [Shown(url_of(n), i + 1, "BWEB") for i, n in enumerate(numbers)]
            found = self.results[rank] = () if rank % 40 == 39 else tuple(shown)
        return found

    def _click(self, now_ms: int) -> Event:
        random = self.random
        search = self.open[int(random.random() * len(self.open))]
        if not search.impressions:
            return self._search(now_ms)
        place = min(int(random.expovariate(0.5)), len(search.impressions) - 1)
        shown = search.impressions[place]
        return Click(
            received_ms=now_ms,
            site="default",
            url=shown.url,
            position=shown.position,
            module_code="BWEB",
            query_id=search.query_id,
            visitor=search.visitor,
            device=search.device,
            robot=search.robot,
            drop_reason=search.drop_reason,
            user_activated=1,
        )


def _query_id(now_ms: int, random: Random) -> str:
    return urlsafe_b64encode(now_ms.to_bytes(6) + random.randbytes(6)).decode()
