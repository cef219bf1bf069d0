"""How fast result links are found and replaced, beside other ways to do it, in the same rounds.

Run it alone with ``python benchmarks/rewriting.py``. All rows of a round run one after the other,
so that a slow moment of the machine hits them alike; a row's figure is its median.
"""

from __future__ import annotations

import importlib
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from clickmw.scanner import Link, Scanner

Row = tuple[str, str, str, str, bool]

CHUNK = 8192
TOKEN = "/_clicks/r/eyJwIjoxfQ.dGhpcyBpcyBub3QgYSByZWFsIHRva2VuLCBqdXN0IGFzIGxvbmcgYXMgb25l"

HEAD = b"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Results for tax form</title>
<link rel="stylesheet" href="/static/site.css"><style>.r { color: #123 } a > b { margin: 0 }</style>
</head><body class="search">
<header class="site-head"><nav><ul><li><a href="/">Home</a></li><li><a href="/help">Help</a></li></ul></nav></header>
"""
RESULT = b"""<li class="result" id="result-%d">
  <h3 class="result-title"><a %sclass="result-link" href="https://www.example.org/publications/forms/page-%d?lang=en&amp;year=2024">Form %d: instructions for <em>tax</em> payers abroad</a></h3>
  <cite class="result-url">https://www.example.org &rsaquo; publications &rsaquo; forms &rsaquo; page-%d</cite>
  <p class="result-snippet"><span class="result-date">3 March 2024</span> This <em>tax form</em> is used to report income, adjustments and credits of persons who lived outside the country for the whole year; see the notes on who must file it, where, and until when. Late filing has its price, and so has filing the wrong form.</p>
  <div class="result-more"><span class="result-kind">PDF, 120 KB</span></div>
</li>
"""
FACET = b"""<li class="facet-value"><label class="facet-label" for="facet-%d"><input class="facet-box" type="checkbox" id="facet-%d" name="topic" value="topic-%d"> Publications of topic number %d</label> <span class="facet-count">(%d)</span></li>
"""
ICON = b"""<svg class="icon" width="24" height="24" viewBox="0 0 24 24" aria-hidden="true"><path d="M12 2C6.48 2 2 6.48 2 12s4.48 10 10 10 10-4.48 10-10S17.52 2 12 2zm1 15h-2v-6h2v6zm0-8h-2V7h2v2z"/><circle cx="12" cy="12" r="3"/></svg>
"""
STATE = b'{"id":%d,"title":"Form %d","tags":["tax","form","income"],"html":"a \\u003cb\\u003e c","score":0.%d,"seen":false},'


def page(size: int, links: int) -> bytes:
    """Return a results page of about *size* bytes with *links* marked links at its top."""
    pieces = [HEAD, b'<ol class="results" data-click-module="BWEB" data-click-query="tax form">']
    if not links:
        pieces[1] = b'<ol class="results">'
    pieces += [RESULT % (n, b"data-click ", n, n, n) for n in range(links)]
    pieces.append(b"</ol>\n")
    length = sum(map(len, pieces))
    for block in _filling():
        if length + len(block) > size:
            break
        pieces.append(block)
        length += len(block)
    pieces.append(b"</body></html>\n")
    return b"".join(pieces)


def _filling() -> Iterator[bytes]:
    """Yield what a page holds beyond its results: facets, icons, unmarked results, inline JSON."""
    number = 0
    while True:
        for _ in range(5):
            number += 1
            yield FACET % (number, number, number, number, number * 7)
        yield ICON
        for _ in range(4):
            number += 1
            yield RESULT % (number, b"", number, number, number)
        items = b"".join(STATE % (n, n, n) for n in range(number, number + 15))
        yield b'<script type="application/json">[' + items + b"0]</script>\n"


def sign(link: Link) -> str | None:
    """Sign nothing: what is measured is finding and replacing."""
    return TOKEN if link.href.startswith("http") else None


def whole(body: bytes, script: bytes = b"") -> bytes:
    return Scanner(sign, script=script).whole(body)


def stream(body: bytes, script: bytes = b"") -> bytes:
    scanner = Scanner(sign, script=script)
    pieces = [scanner.feed(body[at : at + CHUNK]) for at in range(0, len(body), CHUNK)]
    return b"".join(pieces) + scanner.close()


def copy(body: bytes) -> bytes:
    return b"".join([body[at : at + CHUNK] for at in range(0, len(body), CHUNK)])


def lxml_peer() -> Callable[[bytes], Any] | None:
    try:
        lxml_html: Any = importlib.import_module("lxml.html")
    except ImportError:
        return None

    def rewrite(body: bytes) -> Any:
        tree = lxml_html.document_fromstring(body)
        for link in tree.xpath("//*[@data-click-module]//a[@data-click]"):
            if link.get("href", "").startswith("http"):
                link.set("href", TOKEN)
        return lxml_html.tostring(tree)

    return rewrite


def lolhtml_peer() -> Callable[[bytes], Any] | None:
    try:
        lolhtml: Any = importlib.import_module("lolhtml")
    except ImportError:
        return None

    class Handler:
        def element(self, element: Any) -> None:
            if (element.get_attribute("href") or "").startswith("http"):
                element.set_attribute("href", TOKEN)

    def rewrite(body: bytes) -> Any:
        pieces: list[bytes] = []
        rewriter = lolhtml.HTMLRewriter(pieces.append)
        rewriter.on("[data-click-module] a[data-click][href]", Handler())
        for at in range(0, len(body), CHUNK):
            rewriter.write(body[at : at + CHUNK])
        rewriter.end()
        return b"".join(pieces)

    return rewrite


PAGES = {
    "20 KB, 10 links": page(20_000, 10),
    "100 KB, no marker": page(100_000, 0),
    "100 KB, 100 links": page(100_000, 100),
    "1 MB, 0 links": page(1_000_000, 0),
    "1 MB, 100 links": page(1_000_000, 100),
}
# An attack is measured at half a megabyte and at a quarter of one.
ATTACKS = {
    "<": b"<",
    "open quotes": b'<a x="',
    "open comments": b"<!--",
    "nested svg": b"<svg><g>",
    "commented scripts": b"<script><!--",
    "links": b"<a data-click href=x>",
    "containers": b"<ol data-click-module=M>",
}


def attack(piece: bytes, size: int) -> bytes:
    """Return a hostile page that has to be read to its end."""
    link = b"<div data-click-module=M><a data-click href='https://example.org/'>x</a>"
    return link + piece * (size // len(piece))


def tasks() -> dict[str, Callable[[], Any]]:
    """Return what is timed in each round, by name."""
    timed: dict[str, Callable[[], Any]] = {}
    ways = {"copy": copy, "whole": whole, "stream": stream, "whole + script": with_script}
    peers = {"lxml": lxml_peer(), "lolhtml": lolhtml_peer()}
    for name, body in PAGES.items():
        for way, run_it in {**ways, **peers}.items():
            if run_it is not None:
                timed[f"{way}: {name}"] = partial(run_it, body)
    for name, piece in ATTACKS.items():
        for size in (250_000, 500_000):
            timed[f"attack: {name}, {size}"] = partial(with_script, attack(piece, size))
    return timed


def with_script(body: bytes) -> bytes:
    return whole(body, b"<script async src=/_clicks/clickmw.js></script>")


def medians(rounds: int) -> dict[str, float]:
    """Return task → median seconds over interleaved *rounds*, the first thrown away."""
    timed = tasks()
    taken: dict[str, list[float]] = {name: [] for name in timed}
    for _ in range(rounds + 1):
        for name, task in timed.items():
            taken[name].append(_seconds(task, 1 if "1 MB" in name or "attack" in name else 5))
    return {name: statistics.median(times[1:]) for name, times in taken.items()}


def _seconds(task: Callable[[], Any], times: int) -> float:
    started = time.perf_counter()
    for _ in range(times):
        task()
    return (time.perf_counter() - started) / times


def run(rounds: int = 7) -> list[Row]:
    """Return rows of (what, baseline, measured, target, met)."""
    took = medians(rounds)
    rows = [_limit(took, task, most_us) for task, most_us in LIMITS.items()]
    speed = len(PAGES["1 MB, 0 links"]) / took["stream: 1 MB, 0 links"] / 1e6
    rows.append(("stream: 1 MB, 0 links", "", f"{speed:.0f} MB/s", ">= 180 MB/s", speed >= 180))
    rows += [_ratio(took, *ratio) for ratio in RATIOS if ratio[1] in took]
    for name in ATTACKS:
        half, full = took[f"attack: {name}, 250000"], took[f"attack: {name}, 500000"]
        baseline = f"{half * 1e3:.0f} ms for half of it"
        met = full <= 0.5 and full <= 2.6 * half
        rows.append(
            (f"attack: {name}", baseline, f"{full * 1e3:.0f} ms", "<= 500 ms, <= 2.6 x", met)
        )
    return rows


LIMITS = {
    "whole: 20 KB, 10 links": 200,
    "whole: 100 KB, no marker": 60,
    "whole: 100 KB, 100 links": 1000,
    "whole: 1 MB, 100 links": 2000,
    "stream: 1 MB, 100 links": 7000,
}
RATIOS = [
    ("whole: 100 KB, no marker", "copy: 100 KB, no marker", 3.5),
    ("whole: 100 KB, 100 links", "copy: 100 KB, 100 links", 50),
    ("whole: 100 KB, 100 links", "lxml: 100 KB, 100 links", 0.35),
    ("whole: 100 KB, 100 links", "lolhtml: 100 KB, 100 links", 0.95),
    ("stream: 1 MB, 0 links", "lolhtml: 1 MB, 0 links", 2.2),
    ("whole + script: 1 MB, 100 links", "lxml: 1 MB, 100 links", 0.35),
]


def _limit(took: dict[str, float], task: str, most_us: int) -> Row:
    taken_us = took[task] * 1e6
    return task, "", f"{taken_us:.0f} us", f"<= {most_us} us", taken_us <= most_us


def _ratio(took: dict[str, float], task: str, peer: str, most: float) -> Row:
    ratio = took[task] / took[peer]
    baseline = f"{peer.partition(':')[0]}: {took[peer] * 1e6:.0f} us"
    return task, baseline, f"{ratio:.2f} x", f"<= {most} x", ratio <= most


if __name__ == "__main__":
    for what, baseline, measured, target, met in run():
        print(f"{what:34} {baseline:28} {measured:>10}  {target:20} {'met' if met else 'MISSED'}")
