"""How fast result links are found and replaced, beside other ways to do it, in the same rounds.

Run it alone with ``python benchmarks/rewriting.py``. All rows of a round run one after the other,
so that a slow moment of the machine hits them alike; a row's figure is its median.
"""

from __future__ import annotations

import importlib
import statistics
import time
from collections.abc import Callable, Iterator
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
            if element.get_attribute("href").startswith("http"):
                element.set_attribute("href", TOKEN)

    def rewrite(body: bytes) -> Any:
        rewriter = lolhtml.HTMLRewriter()
        rewriter.on("[data-click-module] a[data-click][href]", Handler())
        return rewriter.rewrite(body)

    return rewrite


