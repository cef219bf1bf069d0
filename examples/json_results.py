"""A single-page app: an API of JSON results whose links are ours; ``python examples/json_results.py``."""

import json
import os
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qs
from wsgiref.simple_server import make_server

from clickmw import ClickMW
from clickmw.assets import script_tag

PAGES = {"Tax form": "/pages/1", "Form of address": "https://example.org/2", "Map": "/pages/3"}
PREFIX = "/_clicks"
APP = f"""<!doctype html><title>Search</title><body>
<input id="q" placeholder="Search"><ol id="results"></ol>
<script>
q.onchange = async () => {{
  const found = await (await fetch("/api/search?q=" + encodeURIComponent(q.value))).json();
  results.replaceChildren(...found.map(({{ title, href }}) => {{
    const link = Object.assign(document.createElement("a"), {{ textContent: title, href }});
    const item = document.createElement("li");
    item.append(link);
    return item;
  }}));
  window.clickmw && clickmw.scan();
}};
</script>{script_tag("clickmw.js", PREFIX)}</body>""".encode()


def site(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    if environ["PATH_INFO"] != "/api/search":
        start_response("200 OK", [("Content-Type", "text/html; charset=utf-8")])
        return [APP]
    query = parse_qs(environ.get("QUERY_STRING", "")).get("q", [""])[0]
    found = [(title, url) for title, url in PAGES.items() if query.lower() in title.lower()]
    page = application.search(query, total=len(found), module="WEB", environ=environ)
    answer = [{"title": title, "href": page.link(url, title=title)} for title, url in found]
    headers = [("Content-Type", "application/json"), ("Cache-Control", "private, no-store")]
    start_response("200 OK", headers)
    return [json.dumps(answer).encode()]


application = ClickMW(
    site,
    secret=os.environ.get("SECRET_KEY", "for trying it out, and not for the world"),
    admin_password=os.environ.get("ADMIN_PASSWORD", "for trying it out"),
    store=f"sqlite:///{os.environ.get('SITE_FOLDER', '.')}/clicks.db",
    prefix=PREFIX,
)

if __name__ == "__main__":
    with make_server("127.0.0.1", int(os.environ.get("PORT", "8000")), application) as server:
        server.serve_forever()
