"""Every answer is one that the document of all routes promises, whatever is asked.

Requests are made from the document by Schemathesis, valid and invalid ones; and from bytes, for
what no document describes. In process, without a rate limit, against a store with events in it.
"""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.generation.modes import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from clickmw import ClickMW
from clickmw.assets import fingerprint
from clickmw.events import Click, Search, Shown, new_query_id
from clickmw.openapi import make_document
from clickmw.recorder import now_ms
from clickmw.tokens import LinkSigner, LinkTarget

KEYS = {"read": "a read key", "ingest": "an ingest key", "admin": "an admin key"}
SITES = [
    {
        "handle": "nps.gov",
        "hosts": ["www.nps.gov", "localhost"],
        "access_key": "basic_key",
        "index_key": "testkey",
        "tracking_key": "K1",
        "publisher": {"id": 45, "name": "Example Publisher"},
        "api_keys": [{"key": key, "scope": scope} for scope, key in KEYS.items()],
    }
]
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
SECRET = "thirty-two characters or more are fine"
LINK = LinkTarget("nps.gov", new_query_id(now_ms()), 1, "BWEB", "", "https://a0.example/")
#: What stands in the place of a part of the path that no document can show.
KNOWN = {
    "key": "testkey",
    "token": LinkSigner(SECRET).sign_link(LINK),
    "fingerprint": fingerprint("clickmw.js"),
}
DAY_MS = 86_400_000
VALID, INVALID = GenerationMode.POSITIVE, GenerationMode.NEGATIVE
#: How many valid and invalid cases are made up for an operation, each asked in three spellings. The
#: report's pages are many and much alike; where nothing can be asked, there is little to ask.
CASES, REPORT_CASES, FEW = (40, 10), (9, 3), (4, 0)
LONG = 18  #: times as many in the long run
ASKED: Counter[str] = Counter()


def host(_environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("404 Not Found", [("Content-Type", "text/plain")])
    return [b"the host"]


def schema_of(clicks: ClickMW) -> Any:
    document = make_document(clicks.door.routes.endpoints())
    loaded = schemathesis.openapi.from_dict({**document, "servers": [{"url": "/_clicks"}]})
    loaded.app = clicks
    return loaded


class Examples(NamedTuple):
    """What the document shows of one operation: parts of the path, parameters, bodies by media type."""

    path: dict[str, Any]
    query: dict[str, Any]
    bodies: dict[str, list[Any]]


def example_of(schema: Mapping[str, Any]) -> Any:
    """Return the example of *schema*, made of those of its properties where it has none; None without."""
    if "example" in schema:
        return schema["example"]
    parts = {name: example_of(each) for name, each in schema.get("properties", {}).items()}
    return {name: each for name, each in parts.items() if each is not None} or None


def examples_of(operation: Mapping[str, Any]) -> Examples:
    found = Examples({}, {}, {})
    for each in operation.get("parameters", ()):
        example = KNOWN.get(each["name"]) or each.get("example") or example_of(each["schema"])
        if example is not None and each["in"] != "header":
            (found.path if each["in"] == "path" else found.query)[each["name"]] = example
    for kind, each in operation.get("requestBody", {}).get("content", {}).items():
        shown = [one["value"] for one in each.get("examples", {}).values()]
        shown += [each.get("example"), example_of(each["schema"])]
        found.bodies[kind] = [one for one in shown if one is not None]
    return found


SHOWN = {
    f"{method.upper()} /{endpoint.path}": examples_of(operation)
    for endpoint in ClickMW(host, secret=SECRET).door.routes.endpoints()
    for method, operation in endpoint.operations.items()
}
OPERATIONS = [each.ok() for each in schema_of(ClickMW(host, secret=SECRET)).get_all_operations()]
LABELS = [operation.label for operation in OPERATIONS]


@pytest.fixture(scope="module")
def clicks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickMW]:
    """An install with some searches and clicks of the last days."""
    folder = tmp_path_factory.mktemp("fuzzed")
    made = ClickMW(
        host,
        secret=SECRET,
        store=f"sqlite:///{folder}/clicks.db",
        redirect_rate=None,
        sites=SITES,
        keys=[{"key": "the key of all", "scope": "admin"}],
    )
    for day in range(5):
        now = now_ms() - day * DAY_MS
        query_id = new_query_id(now)
        shown = (Shown(f"https://a{day}.example/", 1, "BWEB"),)
        search = Search(now, "nps.gov", query_id, "tax form", shown, 1, visitor=f"{day:016x}")
        click = Click(now, "nps.gov", shown[0].url, 1, "BWEB", query_id, visitor=f"{day:016x}")
        made.door.recorder.record(search, click)
    made.door.worker.catch_up()
    yield made
    made.door.worker.close()


@pytest.fixture(scope="module")
def described(clicks: ClickMW) -> Mapping[str, Any]:
    """The operations of that install by label."""
    return {each.ok().label: each.ok() for each in schema_of(clicks).get_all_operations()}


def spellings(case: Any, examples: Examples, at: int) -> Iterator[None]:
    """Turn *case* into a request by and by: as it was made up, as documented, and in between.

    What is only made up is refused at the door; *at* chooses one of several examples.
    """
    path, query, body = case.path_parameters, case.query, case.body
    shown = examples.bodies.get(case.media_type) or [body]
    required = [each.name for each in case.operation.query if each.is_required]
    yield
    case.path_parameters = {**path, **examples.path}
    case.query = {**examples.query, **query}
    case.body = documented = shown[at % len(shown)]
    if isinstance(documented, dict) and isinstance(body, dict) and body:
        name = sorted(body)[at % len(body)]
        case.body = {**documented, name: body[name]}
    yield
    case.query = {name: examples.query.get(name, query.get(name)) for name in required}
    case.body = documented
    yield


def conform(operation: Any, mode: GenerationMode, cases: int, *, anew: bool) -> None:
    """Ask *operation* and compare each answer with what it promises; *anew*: other cases each time."""
    keys = st.sampled_from([*["the key of all"] * 4, "", "wrong", *KEYS.values()])

    @given(case=operation.as_strategy(generation_mode=mode), key=keys)
    @settings(
        max_examples=cases,
        derandomize=not anew,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def ask(case: Any, key: str) -> None:
        case.headers["User-Agent"] = "curl/8.5.0"
        if key:
            case.headers["X-Api-Key"] = key
        for _ in spellings(case, SHOWN[operation.label], ASKED[operation.label]):
            ASKED[operation.label] += 1
            case.call_and_validate(checks=CHECKS)

    ask()


def cases_of(operation: Any) -> tuple[int, int]:
    if not (operation.query or operation.body or operation.path_parameters):
        return FEW
    return REPORT_CASES if "/report/" in operation.label else CASES


#: The others have nothing that a request could be wrong about.
CAN_BE_WRONG = [each.label for each in OPERATIONS if each.query or each.body]


@pytest.mark.parametrize("label", LABELS)
def test_a_valid_request_is_answered_as_documented(
    label: str, described: Mapping[str, Any]
) -> None:
    operation = described[label]
    conform(operation, VALID, cases_of(operation)[0], anew=False)


@pytest.mark.parametrize("label", CAN_BE_WRONG)
def test_an_invalid_request_is_answered_as_documented(
    label: str, described: Mapping[str, Any]
) -> None:
    operation = described[label]
    conform(operation, INVALID, cases_of(operation)[1], anew=False)


def test_that_was_asked_often_enough() -> None:
    if len(ASKED) < len(LABELS):
        pytest.skip("not all operations were asked in this run")
    assert sum(ASKED.values()) >= 5_000, ASKED


@pytest.mark.long
@pytest.mark.parametrize("label", LABELS)
def test_in_the_long_run_all_answers_are_as_documented(
    label: str, described: Mapping[str, Any]
) -> None:
    valid, invalid = cases_of(described[label])
    conform(described[label], VALID, LONG * valid, anew=True)
    if label in CAN_BE_WRONG:
        conform(described[label], INVALID, LONG * invalid, anew=True)


@pytest.mark.long
def test_in_the_long_run_that_was_asked_ten_times_as_often() -> None:
    if len(ASKED) < len(LABELS):
        pytest.skip("not all operations were asked in this run")
    print(f"{sum(ASKED.values())} requests")  # noqa: T201  the figure of docs/reference/security.md
    assert sum(ASKED.values()) >= 50_000, ASKED


# -- what no document describes ----------------------------------------------------------------

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"]
PATHS = sorted({operation.path for operation in OPERATIONS})
_LATIN = st.text(st.characters(max_codepoint=255), max_size=60)
_QUERY = st.lists(
    st.tuples(
        st.sampled_from(["data", "api_key", "page", "start_date", "url", "position", "pos", "x"]),
        st.sampled_from(["1", "%FF", "%ED%A0%80", "%00", "%", "eyJh", "9" * 400, "\xff", ""]),
    ).map("=".join),
    max_size=5,
).map("&".join)
_BODY = st.one_of(
    st.binary(max_size=80),
    st.sampled_from(
        [
            b"[" * 100_000,
            b'{"a":' * 40 + b"1" + b"}" * 40,
            b'{"position": ' + b"9" * 5_000 + b"}",
            b'{"url": "\\ud800", "query": NaN, "position": 1e999}',
            b"url=%ED%A0%80&query=%00&position=1&position=2",
            b'{"type": "click", "payload": {"position": -1}}',
            b"\xef\xbb\xbf{}",
            b"null",
        ]
    ),
)
_LENGTH = st.sampled_from(["", "0", "-1", "1e3", "abc", "\xb2", "999999999999", "9" * 5_000, "5"])
_HEADERS = st.dictionaries(
    st.sampled_from(
        [
            "CONTENT_TYPE",
            "HTTP_ACCEPT",
            "HTTP_AUTHORIZATION",
            "HTTP_CONTENT_ENCODING",
            "HTTP_COOKIE",
            "HTTP_HOST",
            "HTTP_IF_NONE_MATCH",
            "HTTP_ORIGIN",
            "HTTP_REFERER",
            "HTTP_SEC_FETCH_SITE",
            "HTTP_TRANSFER_ENCODING",
            "HTTP_USER_AGENT",
            "HTTP_X_API_KEY",
            "HTTP_X_FORWARDED_FOR",
        ]
    ),
    st.one_of(_LATIN, st.sampled_from(["the key of all", "a read key", "null", "gzip", "chunked"])),
)


def status_of(clicks: ClickMW, environ: dict[str, Any]) -> int:
    told: list[str] = []
    body = clicks(environ, lambda status, *_: told.append(status))
    b"".join(body)
    getattr(body, "close", lambda: None)()
    return int(told[-1][:3])


@pytest.mark.parametrize("path", PATHS)
def test_bytes_that_mean_nothing_are_no_fault_of_ours(path: str, clicks: ClickMW) -> None:
    @given(
        method=st.sampled_from(METHODS),
        part=_LATIN,
        query=st.one_of(_QUERY, _LATIN),
        headers=_HEADERS,
        body=_BODY,
        length=st.one_of(st.none(), _LENGTH),
    )
    @settings(
        max_examples=30,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    def ask(
        method: str, part: str, query: str, headers: dict[str, str], body: bytes, length: str | None
    ) -> None:
        open_part = re.sub("{.*?}", lambda _: part, path)
        environ = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            "PATH_INFO": f"/_clicks{open_part}",
            "QUERY_STRING": query,
            "CONTENT_LENGTH": str(len(body)) if length is None else length,
            "REMOTE_ADDR": "203.0.113.5",
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            **headers,
        }
        assert status_of(clicks, environ) < 500

    ask()
