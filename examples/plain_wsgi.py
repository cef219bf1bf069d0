"""A plain WSGI site with a search page: ``python examples/plain_wsgi.py``, then /search?q=form."""

import os
from collections.abc import Iterable
from html import escape
from typing import Any
from urllib.parse import parse_qs
from wsgiref.simple_server import make_server

from clickmw import ClickMW

PAGES = {"Tax form": "/pages/1", "Form of address": "https://example.org/2", "Map": "/pages/3"}


def site(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    query = parse_qs(environ.get("QUERY_STRING", "")).get("q", [""])[0]
    found = [(url, title) for title, url in PAGES.items() if query.lower() in title.lower()]
    items = "".join(f'<li><a data-click href="{url}">{escape(title)}</a>' for url, title in found)
    page = (
        f'<!doctype html><title>Search</title><body><form><input name="q" value="{escape(query)}">'
        f'</form><ol data-click-module="WEB" data-click-total="{len(found)}">{items}</ol></body>'
    ).encode()
    headers = [("Content-Type", "text/html; charset=utf-8"), ("Content-Length", str(len(page)))]
    start_response("200 OK", headers)
    return [page]


application = ClickMW(
    site,
    secret=os.environ.get("SECRET_KEY", "for trying it out, and not for the world"),
    admin_password=os.environ.get("ADMIN_PASSWORD", "for trying it out"),
    store=f"sqlite:///{os.environ.get('SITE_FOLDER', '.')}/clicks.db",
)

if __name__ == "__main__":
    with make_server("127.0.0.1", int(os.environ.get("PORT", "8000")), application) as server:
        server.serve_forever()
