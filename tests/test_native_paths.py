"""Native paths: click APIs at the site's root, and what that costs everybody else."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from webtest import TestApp, TestRequest
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from clickmw import ClickMW
from clickmw.compat import find_protocols

CHECKOUT = Path(__file__).resolve().parent.parent
SITES = [
    {
        "handle": "shop",
        "access_key": "basic_key",
        "index_key": "testkey",
        "tracking_key": "K1",
        "api_keys": [{"key": "a read key"}],
    }
]
ENDPOINTS = [each for protocol in find_protocols() for each in protocol.endpoints]
#: Path and method of everything documented, with something where a path is left open.
ASKED = sorted(
    (re.sub("{.*?}", "x1", each.path), method.upper())
    for each in ENDPOINTS
    for method in each.operations
)
Make = Callable[..., ClickMW]
Browse = Callable[[ClickMW], TestApp]


def ask(app: Any, path: str, method: str = "GET") -> tuple[int, bytes, list[str]]:
    """Return status, body and the names of the headers of an answer to *path*."""
    request = TestRequest.blank(path, method=method, headers={"User-Agent": "curl/8.5.0"})
    answer = request.get_response(app)
    return answer.status_int, answer.body, sorted(answer.headers)


@pytest.mark.parametrize(("path", "method"), ASKED, ids=[" ".join(each[::-1]) for each in ASKED])
def test_an_api_answers_at_the_root_as_below_the_prefix(
    path: str, method: str, clicks_at: Make
) -> None:
    clicks = clicks_at(sites=SITES, native_paths=True)
    below = ask(clicks, f"/_clicks/{path}", method)
    assert below[0] != 404 or below[1] != b"There is nothing at this address.\n"
    assert ask(clicks, f"/{path}", method)[0::2] == below[0::2]


def test_the_document_of_all_routes_is_at_the_root_too(clicks_at: Make) -> None:
    clicks = clicks_at(native_paths=True)
    status, body, _ = ask(clicks, "/api/v1/schema")
    assert (status, body) == (200, ask(clicks, "/_clicks/api/v1/schema")[1])


@pytest.mark.parametrize(("path", "method"), ASKED, ids=[" ".join(each[::-1]) for each in ASKED])
def test_without_the_setting_the_host_has_its_paths(
    path: str, method: str, clicks_at: Make
) -> None:
    assert b"data-click" in ask(clicks_at(sites=SITES), f"/{path}", method)[1]


@pytest.mark.parametrize("path", ["/API/v2/CLICK/", "/api/v2/track", "/api/v2/track/"])
def test_a_native_path_is_known_in_every_spelling_its_api_knows(path: str, clicks_at: Make) -> None:
    answer = ask(clicks_at(sites=SITES, native_paths=True), path, "POST")
    assert answer[0] in (400, 422)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/api/v2/clicks",
        "/api/v2/click/x",
        "/api/v2/",
        "/v1/stats/",
        "/v1/stats/a/b",
        "/v1/beacon/click",
        "/clickedx",
        "//clicked",
        "/x/clicked",
        "/health",
        "/report/",
        "/clickmw.js",
        "/e",
    ],
)
def test_paths_that_only_look_native_are_the_hosts(path: str, clicks_at: Make) -> None:
    for method in ("GET", "POST"):
        answer = ask(clicks_at(native_paths=True), path, method)
        assert b"data-click" in answer[1]


def test_a_mounted_application_has_them_below_its_mount(clicks_at: Make) -> None:
    clicks = clicks_at(sites=SITES, native_paths=True)

    def outside(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"outside"]

    mounted = DispatcherMiddleware(outside, {"/shop": clicks})
    assert ask(mounted, "/shop/api/v2/click", "POST")[0] == 400
    assert ask(mounted, "/api/v2/click", "POST")[1] == b"outside"


def test_nothing_of_the_apis_is_asked_for_a_page_of_the_host(
    clicks_at: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    clicks = clicks_at(native_paths=True)
    monkeypatch.setattr(clicks.door.routes, "is_native", None)
    for path in ("/", "/about", "/api/state", "/static/site.css", "/v2/x", "/CLICK"):
        assert ask(clicks, path)[0] == 200


def test_without_the_setting_no_protocol_is_loaded(clicks_at: Make) -> None:
    clicks = clicks_at()
    ask(clicks, "/api/v2/click", "POST")
    assert clicks.door.routes._protocols is None


FOREIGN_REQUEST = """
import sys
from clickmw import ClickMW

def host(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]

store = f"sqlite:///{sys.argv[1]}/clicks.db"
application = ClickMW(host, secret="s" * 32, store=store, native_paths=True)
environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "HTTP_HOST": "localhost"}
assert b"".join(application(environ, lambda *_: None)) == b"hello"
print(*sorted({"werkzeug", "jinja2", "click", "sqlite_utils"} & set(sys.modules)))
"""


def test_native_paths_load_no_library_of_the_report(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FOREIGN_REQUEST, str(tmp_path)]
    outside = os.environ | {"PYTHONPATH": str(CHECKOUT)}
    ran = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=tmp_path, env=outside
    )
    assert (ran.stdout.split(), ran.stderr) == ([], "")
