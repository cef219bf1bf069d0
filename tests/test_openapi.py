"""The document of all routes: it is valid, complete, and says what is really answered."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV30SpecValidator
from webtest import TestApp, TestRequest
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from clickmw import ClickMW, __version__
from clickmw.assets import TYPES, marked_name
from clickmw.catalog import NAVIGATION, PAGES, PANELS
from clickmw.compat import find_protocols
from clickmw.openapi import Named, answer, make_document, parameter, record
from clickmw.owner import OWNED, TABS
from clickmw.paths import Endpoint
from clickmw.routes import Routes

CHECKOUT = Path(__file__).resolve().parent.parent
ADMIN = {"X-Api-Key": "an admin key of the tests"}
KEYS = [{"key": ADMIN["X-Api-Key"], "scope": "admin"}]
Make = Callable[..., ClickMW]
Browse = Callable[[ClickMW], TestApp]


def host(_environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("404 Not Found", [("Content-Type", "text/plain")])
    return [b"the host"]


#: An install that nobody asks anything but what it consists of; it touches no file.
ROUTES: Routes = ClickMW(host, secret="s" * 32).door.routes
ENDPOINTS: list[Endpoint] = list(ROUTES.endpoints())
DOCUMENT: dict[str, Any] = make_document(ENDPOINTS)


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield path, method and Operation Object of everything documented."""
    for path, item in DOCUMENT["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


OPERATIONS = list(operations())
NAMES = [f"{method.upper()} {path}" for path, method, _ in OPERATIONS]


# -- the document ------------------------------------------------------------------------------


def test_the_document_is_valid_openapi() -> None:
    errors = OpenAPIV30SpecValidator({**DOCUMENT, "servers": [{"url": "/_clicks"}]}).iter_errors()

    assert [error.message for error in errors] == []


def test_anybody_may_read_it(clicks_at: Make, browser_of: Browse) -> None:
    answer = browser_of(clicks_at()).get("/_clicks/api/v1/schema")

    assert answer.content_type == "application/json"
    assert answer.json["openapi"] == "3.0.3"
    assert answer.json["info"]["version"] == __version__
    assert {**answer.json, "servers": []} == json.loads(json.dumps(DOCUMENT))


def test_it_tells_nothing_of_the_install(clicks_at: Make, browser_of: Browse) -> None:
    site = {
        "handle": "secret-handle",
        "name": "Secret Name",
        "hosts": ["secret.example"],
        "access_key": "secret-access",
        "index_key": "secret-index",
        "tracking_key": "secret-tracking",
        "publisher": {"id": 987654321, "name": "Secret Publisher"},
        "api_keys": [{"key": "secret-read"}],
        "modules": {"SECRETMODULE": "Secret"},
    }
    clicks = clicks_at(sites=[site], keys=KEYS, admin_password="secret-password")
    text = browser_of(clicks).get("/_clicks/api/v1/schema").text

    assert not re.search("secret-|Secret |secret\\.|987654321|SECRETMODULE|admin key of", text)


@pytest.mark.parametrize(
    ("mount", "prefix", "server"),
    [("", "/_clicks", "/_clicks"), ("/m", "/a/b", "/m/a/b"), ("/m\xc3\xa9", "/_c", "/m%C3%A9/_c")],
)
def test_its_addresses_begin_with_mount_and_prefix(
    mount: str, prefix: str, server: str, clicks_at: Make
) -> None:
    mounted = DispatcherMiddleware(host, {mount: clicks_at(prefix=prefix)})
    environ = {"PATH_INFO": f"{mount}{prefix}/api/v1/schema"}
    answer = TestRequest.blank("/", environ).get_response(mounted)

    assert [each["url"] for each in answer.json["servers"]] == [server]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_it_can_only_be_read(method: str, clicks_at: Make, browser_of: Browse) -> None:
    browser = browser_of(clicks_at())
    answer = browser.request("/_clicks/api/v1/schema", method=method, status=405)

    assert answer.headers["Allow"] == "GET, HEAD"
    assert answer.json["error"]["code"] == "METHOD_NOT_ALLOWED"


def test_every_operation_has_a_name_of_its_own() -> None:
    names = [operation["operationId"] for _, _, operation in OPERATIONS]

    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS, ids=NAMES)
def test_every_operation_is_described(path: str, method: str, operation: dict[str, Any]) -> None:
    assert operation["summary"]
    assert operation["tags"]
    assert all(
        each.get("description") or "$ref" in each for each in operation["responses"].values()
    )


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS, ids=NAMES)
def test_every_key_that_is_asked_for_is_explained(
    path: str, method: str, operation: dict[str, Any]
) -> None:
    asked = {name for each in operation.get("security", ()) for name in each}

    assert asked <= set(DOCUMENT["components"]["securitySchemes"])


def test_clicks_are_listed_as_hienergy_names_it() -> None:
    listed = DOCUMENT["paths"]["/api/v1/clicks"]["get"]
    names = [each["name"] for each in listed["parameters"]]

    assert listed["operationId"] == "listClicks"
    assert names == [
        *("start_date", "end_date", "publisher_id", "page", "per_page", "limit", "dry_run")
    ]
    assert list(DOCUMENT["components"]["schemas"]["ClickRow"]["properties"])[-1] == "click_count"


def test_health_is_described_with_every_field(clicks_at: Make, browser_of: Browse) -> None:
    health = browser_of(clicks_at(keys=KEYS)).get("/_clicks/health", headers=ADMIN).json

    assert list(DOCUMENT["components"]["schemas"]["Health"]["properties"]) == list(health)


# -- made of endpoints -------------------------------------------------------------------------

ITEM = record("Item", {"name": {"type": "string"}})


def described(path: str, schema: Any, **more: Any) -> Endpoint:
    return Endpoint(
        path, "answer", {"get": {"responses": {"200": answer("", json=schema)}, **more}}
    )


def schema_of(document: dict[str, Any], path: str) -> dict[str, Any]:
    response = document["paths"][path]["get"]["responses"]["200"]
    found: dict[str, Any] = response["content"]["application/json"]["schema"]
    return found


def test_a_schema_with_a_title_stands_once_and_is_referred_to() -> None:
    items = {"type": "array", "items": ITEM}
    document = make_document([described("a", ITEM), described("b", items)])

    reference = {"$ref": "#/components/schemas/Item"}
    assert document["components"]["schemas"] == {"Item": ITEM}
    assert schema_of(document, "/a") == reference
    assert schema_of(document, "/b") == {"type": "array", "items": reference}


def test_two_schemas_of_one_title_are_kept_apart() -> None:
    other = record("Item", {"number": {"type": "integer"}})
    document = make_document([described("a", ITEM), described("b", other)])

    assert document["components"]["schemas"] == {"Item": ITEM}
    assert schema_of(document, "/b") == other


def test_a_property_called_title_is_no_title() -> None:
    schema = record("", {"title": {"type": "string", "example": {"title": "Item"}}})
    document = make_document([described("a", schema)])

    assert schema_of(document, "/a") == schema


def test_a_named_parameter_stands_once() -> None:
    days = Named("days", parameter("days", "", {"type": "integer"}))
    document = make_document([described(path, ITEM, parameters=[days]) for path in "ab"])

    assert document["components"]["parameters"] == {"days": days}
    reference = {"$ref": "#/components/parameters/days"}
    assert document["paths"]["/b"]["get"]["parameters"] == [reference]


def test_another_name_of_a_path_is_not_described_again() -> None:
    assert make_document([Endpoint("a", "answer", {})])["paths"] == {}


# -- the table is what is dispatched -----------------------------------------------------------

FOREIGN = [endpoint for _, endpoint in ROUTES.protocols]
OWN = [endpoint for endpoint in ENDPOINTS if endpoint not in FOREIGN]


def example(endpoint: Endpoint) -> str:
    """Return a path of *endpoint*, with something in the place of each open part."""
    return re.sub("{.*?}", "x1", endpoint.path)


class Witness:
    """Stands in the place of everybody who answers, and says whose place it was."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, _environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [self.name.encode()]


@pytest.mark.parametrize("page", OWN, ids=[page.path for page in OWN])
def test_a_page_is_answered_by_whom_the_table_names(
    page: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("redirect", "beacon"):
        monkeypatch.setattr(ROUTES, name, Witness(name))
    for name in ("report", "health", "asset"):
        monkeypatch.setattr(Routes, name, Witness(name))
    environ = {"PATH_INFO": f"/_clicks/{example(page)}", "REQUEST_METHOD": "GET"}

    assert b"".join(ROUTES(environ, lambda *_: None)) == page.answer.encode()


@pytest.mark.parametrize("endpoint", FOREIGN, ids=[endpoint.path for endpoint in FOREIGN])
def test_an_api_answers_at_the_paths_it_names(endpoint: Endpoint) -> None:
    found = ROUTES.protocols.find(example(endpoint))

    assert found
    assert found[1] == endpoint
    assert callable(getattr(found[0], endpoint.answer))


def test_no_two_apis_claim_the_same_path() -> None:
    claimed = [each for protocol in find_protocols() for each in protocol.endpoints]
    paths = [re.sub("{.*?}", "{}", each.path.lower()) for each in (*claimed, *OWN)]

    assert sorted(paths) == sorted(set(paths))


def test_the_whole_report_is_documented() -> None:
    names = {name or "overview" for name, _ in (*NAVIGATION, *TABS)} | {*PANELS, *PAGES}
    pages = {f"/report/{name}{form}" for name in names for form in ("", ".json", ".csv")}

    documented = {path for path, _, _ in OPERATIONS if path.startswith("/report/")}
    forms = {path for path, method in OWNED.items() if method == "POST"}
    assert documented == pages | {f"/report/{name}" for name in ("login", "logout", *forms)}


@pytest.mark.parametrize("name", TYPES)
def test_every_file_of_the_browser_is_documented(name: str, clicks_at: Make) -> None:
    documented = DOCUMENT["paths"]

    assert documented[f"/{name}"]["get"]["responses"]["200"]["content"].keys() == {
        TYPES[name].partition(";")[0]
    }
    assert f"/{marked_name(name, '{fingerprint}')}" in documented
    request = TestRequest.blank(f"/_clicks/{marked_name(name)}")
    assert request.get_response(clicks_at()).status_int == 200


def test_every_protocol_is_in_the_document() -> None:
    endpoints = [each for protocol in find_protocols() for each in protocol.endpoints]
    paths = {f"/{each.path}" for each in endpoints if each.operations}

    assert paths
    assert paths | {"/mcp", "/api/v1/schema"} <= set(DOCUMENT["paths"])


# -- reading from inside -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "query", "has"),
    [
        ("/report/days.json", "period=7d", "rows"),
        ("report/overview.json", "", "metrics"),
        ("/_clicks/health", "", "received"),
        ("/api/v1/schema", "", "openapi"),
        ("api/v1/clicks", "start_date=2026-03-01&end_date=2026-03-31", "meta"),
    ],
)
def test_pages_of_numbers_are_read_from_inside(
    path: str, query: str, has: str, clicks_at: Make
) -> None:
    status, body = clicks_at(keys=KEYS).door.routes.fetch(path, query, ADMIN)

    assert status == 200
    assert has in json.loads(body)


@pytest.mark.parametrize("path", ["report/days.json", "api/v1/clicks"])
def test_without_a_key_nothing_is_read_from_inside_either(path: str, clicks_at: Make) -> None:
    assert clicks_at(keys=KEYS).door.routes.fetch(path, "", {})[0] in (401, 403)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "e",
        "mcp",
        "r/x",
        "clickmw.js",
        "api/v2/track",
        "v1/beacon/urls",
        "/_clicks/_clicks/health",
        "../health",
        "nothing",
        "report/nothing.json",
        "health/",
        "api/v1/nothing",
    ],
)
def test_only_what_is_there_to_be_read_is_read_from_inside(path: str, clicks_at: Make) -> None:
    assert clicks_at(keys=KEYS).door.routes.fetch(path, "", ADMIN)[0] == 404


# -- what is not needed is not loaded ----------------------------------------------------------

VISITED = """
import sys
from clickmw import ClickMW

clicks = ClickMW(lambda environ, start: [], secret="s" * 32, store=f"sqlite:///{sys.argv[1]}/c.db")
for method, path in (("GET", "r/x"), ("POST", "e"), ("GET", "clickmw.js"), ("GET", "report.css")):
    environ = {"REQUEST_METHOD": method, "PATH_INFO": f"/_clicks/{path}"}
    list(clicks(environ, lambda *_: None))
slow = {"jinja2", "werkzeug", "clickmw.mcp", "clickmw.panels", "clickmw.report"}
print(*sorted(name for name in sys.modules if name in slow or name.startswith("clickmw.compat.")))
"""


def test_what_visitors_ask_for_loads_no_protocol_and_no_report(tmp_path: Path) -> None:
    command = [sys.executable, "-c", VISITED, str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=CHECKOUT)

    assert (ran.stdout.split(), ran.stderr) == ([], "")
