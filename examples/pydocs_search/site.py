"""The demo's web site: home, results and document pages, as a plain WSGI application.

It knows nothing of clickmw: its results page carries the ``data-click`` attributes, no more.
"""

from __future__ import annotations

import functools
import hashlib
import math
import platform
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote_plus

from jinja2 import Environment, FileSystemLoader
from werkzeug.exceptions import HTTPException, NotFound
from werkzeug.routing import Map, MapAdapter, Rule
from werkzeug.wrappers import Request, Response

from .best_bets import best_bets
from .index import Index, Results

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

FOLDER = Path(__file__).parent
PAGE_SIZE = 10
PAGES_AROUND = 2  # how many page numbers are offered on either side of the current one
LONGEST_QUERY = 300
OFFICIAL = "https://docs.python.org/3/search.html?q="

EXAMPLES = (
    "json",
    "read a file",
    "datetime timezone",
    "thread pool",
    "http server",
    "sort a list",
    "parse csv",
    "with statement",
)

URLS = Map(
    [
        Rule("/", endpoint="home"),
        Rule("/search", endpoint="search"),
        Rule("/doc/<name>", endpoint="document"),
        Rule("/site.css", endpoint="style"),
    ]
)

# A strict policy shows that the page needs nothing from elsewhere and no inline script.
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "strict-origin-when-cross-origin",
}

GROUP_NAMES = {
    "class": "Classes",
    "function": "Functions",
    "method": "Methods",
    "attribute": "Attributes",
}


class Paging(NamedTuple):
    """Which page of how many is shown; pages count from 1."""

    page: int
    last: int

    @property
    def numbers(self) -> list[int]:
        """Return the page numbers to offer."""
        first = max(1, min(self.page - PAGES_AROUND, self.last - 2 * PAGES_AROUND))
        return list(range(first, min(self.last, first + 2 * PAGES_AROUND) + 1))


def make_site(index: Index, *, name: str = "Pydoc Search") -> WSGIApplication:
    """Return the site over *index*; *name* is shown as its title."""
    return Site(index, name)


class Site:
    """Answer the demo's pages."""

    def __init__(self, index: Index, name: str) -> None:
        self.index = index
        self.style = (FOLDER / "site.css").read_bytes()
        self.templates = Environment(
            loader=FileSystemLoader(FOLDER), autoescape=True, trim_blocks=True, lstrip_blocks=True
        )
        self.templates.globals.update(
            site_name=name,
            documents=len(index),
            python=platform.python_version(),
            style_version=hashlib.sha256(self.style).hexdigest()[:12],
            examples=EXAMPLES,
        )

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        return self.answer(Request(environ))(environ, start_response)

    def answer(self, request: Request) -> Response:
        """Return the page for a request."""
        urls = URLS.bind_to_environ(request.environ)
        try:
            endpoint, values = urls.match()
            view: Callable[..., Response] = getattr(self, f"_{endpoint}")
            return view(request, urls, **values)
        except NotFound:
            return self._page(urls, "missing.html", status=404)
        except HTTPException as error:
            return Response.from_app(error, request.environ)

    def _page(
        self, urls: MapAdapter, template: str, *, status: int = 200, **values: object
    ) -> Response:
        url_for = functools.partial(_url_for, urls)
        html = self.templates.get_template(template).render(url_for=url_for, **values)
        return Response(
            html, status, {**HEADERS, "Cache-Control": "no-cache"}, mimetype="text/html"
        )

    def _home(self, request: Request, urls: MapAdapter) -> Response:
        return self._page(urls, "home.html", query="")

    def _style(self, request: Request, urls: MapAdapter) -> Response:
        response = Response(self.style, mimetype="text/css")
        response.cache_control.max_age = 3600
        response.add_etag()
        return response.make_conditional(request)

    def _search(self, request: Request, urls: MapAdapter) -> Response:
        query = request.args.get("q", "").strip()[:LONGEST_QUERY].strip()
        if not query:
            return self._page(urls, "home.html", query="")
        found, paging = self._results(query, _page_number(request.args.get("page", "")))
        return self._page(
            urls,
            "results.html",
            query=query,
            found=found,
            paging=paging,
            offset=(paging.page - 1) * PAGE_SIZE,
            bets=best_bets(query) if paging.page == 1 else [],
            suggestion=None if found.total else self.index.suggest(query),
        )

    def _results(self, query: str, page: int) -> tuple[Results, Paging]:
        """Return one page of results, the last one when *page* lies beyond it."""
        offset = (page - 1) * PAGE_SIZE
        found = self.index.search(query, limit=PAGE_SIZE, offset=offset)
        last = max(1, math.ceil(found.total / PAGE_SIZE))
        if page > last:
            return self._results(query, last)
        return found, Paging(page, last)

    def _document(self, request: Request, urls: MapAdapter, name: str) -> Response:
        document = self.index.get(name)
        if document is None:
            raise NotFound
        return self._page(
            urls,
            "document.html",
            query="",
            document=document,
            crumbs=_crumbs(document.name) if document.kind != "topic" else [],
            children=_grouped(self.index.children(name)),
            official=_official_url(document.title, document.kind),
        )


def _url_for(urls: MapAdapter, endpoint: str, **values: object) -> str:
    return urls.build(endpoint, values)


def _page_number(text: str) -> int:
    """Return the page that a URL names; 1 for anything that is none, at most 100,000."""
    digits = text if text.isascii() and text.isdigit() else ""
    return max(1, int(digits[:6] or "1"))


def _crumbs(name: str) -> list[tuple[str, str]]:
    """Return (name, label) of every page on the way: "json.dumps" lies below "json"."""
    parts = name.split(".")
    return [(".".join(parts[:end]), parts[end - 1]) for end in range(1, len(parts))]


def _grouped(children: list[Any]) -> list[tuple[str, list[Any]]]:
    groups: dict[str, list[Any]] = {}
    for child in children:
        groups.setdefault(child.kind, []).append(child)
    return [(label, groups[kind]) for kind, label in GROUP_NAMES.items() if kind in groups]


def _official_url(title: str, kind: str) -> str | None:
    """Return a search for the name in the documentation on the web, which knows its own pages."""
    return None if kind == "topic" else f"{OFFICIAL}{quote_plus(title)}"
