"""P: what a click costs that a foreign sender reports, next to an app that only reads the body."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from hashlib import md5
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlencode

from benchmarks.requests import clicks_around, drain_elsewhere, hello
from benchmarks.rounds import Row, Spread, at_most, at_reference, interleaved, ratios, spread
from benchmarks.traffic import environ, url_of
from clickmw import ClickMW

Environ = dict[str, Any]
#: One request: its environ without a body, and the body.
Request = tuple[Environ, bytes]
TARGET_US = 60
PREFIX = "/_clicks/"
AD = "4a94bc6e-7db1-425f-8430-cb4d17488b3b"
SITE = {
    "handle": "shop",
    "access_key": "an access key",
    "index_key": "an-index-key",
    "tracking_key": "a tracking key",
}


def run(quick: bool) -> list[Row]:
    """Return the rows P: a typical click in each protocol, in process."""
    calls, rounds = 1_000, 5 if quick else 11
    with TemporaryDirectory() as name, drain_elsewhere(Path(name)):
        clicks = clicks_around(hello, Path(name), sites=[SITE], redirect_rate=20)
        sent = {source: list(make(clicks, calls)) for source, make in SENDERS.items()}
        tasks: dict[str, Callable[[], None]] = {}
        for source, requests in sent.items():
            tasks[source] = lambda requests=requests: send(clicks, requests)
            tasks[f"bare {source}"] = lambda requests=requests: send(read_only, requests)
        taken = interleaved(tasks, rounds=rounds, per=dict.fromkeys(tasks, calls))
        assert not clicks.door.journal.pending_tallies(), "some were refused"
        clicks.door.worker.close()
    return [_row(source, taken) for source in sent]


def _row(source: str, taken: dict[str, list[float]]) -> Row:
    cost, bare = spread(taken[source]), spread(taken[f"bare {source}"])
    reference = at_reference(taken, source)
    a_second = Spread(*(1e6 / us for us in (cost.median, cost.high, cost.low)))
    return Row(
        "P",
        f"{source}: a click taken in, in process",
        f"WSGI app that reads the body: {bare} µs",
        f"{cost} µs, {ratios(taken[source], taken[f'bare {source}'])} ×, "
        f"{a_second} events/s; at reference speed {reference} µs",
        f"≤ {TARGET_US} µs",
        at_most(reference, TARGET_US),
    )


def read_only(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Read the body and answer 204: the least that any collector does."""
    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    start_response("204 No Content", [])
    return [b""]


def send(app: Callable[..., Iterable[bytes]], requests: list[Request]) -> None:
    """Send *requests*, as a server does, and see that each was taken."""
    lines: list[str] = []

    def start_response(status: str, headers: Any, exc_info: Any = None) -> None:
        lines.append(status)

    for request, content in requests:
        body = app({**request, "wsgi.input": BytesIO(content)}, start_response)
        for _chunk in body:
            pass
        close = getattr(body, "close", None)
        if close is not None:
            close()
    assert all(status.startswith("2") for status in lines), set(lines)


# -- senders: each yields clicks as its documented client sends them -------------------------------


def post(number: int, path: str, content: bytes, kind: str, **headers: str) -> Request:
    """Return a POST of one of many visitors."""
    asked = environ(
        PREFIX + path,
        REQUEST_METHOD="POST",
        CONTENT_TYPE=kind,
        CONTENT_LENGTH=str(len(content)),
        REMOTE_ADDR=address(number),
        **headers,
    )
    return asked, content


def address(number: int) -> str:
    """Return an address that has not used up its rate."""
    return f"198.51.{number % 2_000 // 250}.{number % 250}"


def searchgov(_clicks: ClickMW, calls: int) -> Iterator[Request]:
    """A form, as pages and servers post it."""
    for number in range(calls):
        fields = {
            "url": url_of(number),
            "query": f"tax form {number % 100}",
            "position": number % 10 + 1,
            "module_code": "I14Y",
            "affiliate": SITE["handle"],
            "access_key": SITE["access_key"],
        }
        body = urlencode(fields).encode()
        yield post(number, "api/v2/click", body, "application/x-www-form-urlencoded")


def addsearch(_clicks: ClickMW, calls: int) -> Iterator[Request]:
    """A beacon with JSON as text."""
    for number in range(calls):
        event = {
            "action": "click",
            "session": f"a-{number % 500}",
            "keyword": f"tax form {number % 100}",
            "docid": md5(url_of(number).encode(), usedforsecurity=False).hexdigest(),
            "position": number % 10 + 1,
        }
        body = json.dumps(event, separators=(",", ":")).encode()
        yield post(number, f"v1/stats/{SITE['index_key']}/", body, "text/plain;charset=UTF-8")


def searchstax(_clicks: ClickMW, calls: int) -> Iterator[Request]:
    """A GET with JSON in base64."""
    for number in range(calls):
        properties = {
            "key": SITE["tracking_key"],
            "session": f"session-{number % 500}",
            "_vid": f"visitor-{number % 500}",
            "query": f"tax form {number % 100}",
            "cDocId": url_of(number),
            "cDocTitle": f"Form {number}",
            "position": number % 10 + 1,
            "language": "en-us",
        }
        event = json.dumps({"event": "_searchclick", "properties": properties})
        data = urlencode({"data": b64encode(event.encode())})
        asked = environ(f"{PREFIX}api/v2/track/", QUERY_STRING=data, REMOTE_ADDR=address(number))
        yield asked, b""


def vtexads(clicks: ClickMW, calls: int) -> Iterator[Request]:
    """A beacon with two ids, to a URL that we signed."""
    for number in range(calls):
        made = clicks.ad_urls(AD, url=url_of(number), query="tax form", position=3, site="shop")
        path, _, query = made.click_url.partition("?")
        ids = {"user_id": f"user-{number % 500}", "session_id": f"session-{number % 500}"}
        body = json.dumps(ids).encode()
        path = path.partition(PREFIX)[2]
        yield post(number, path, body, "application/json", QUERY_STRING=query)


SENDERS = {
    "searchgov": searchgov,
    "addsearch": addsearch,
    "searchstax": searchstax,
    "vtexads": vtexads,
}
