"""What is fuzzed: for each name a function that takes bytes and lets no exception of ours out.

A harness raises when something did happen that must not: an exception that nobody promised, a forged
token that is accepted, a byte of a page that changed.
"""

from __future__ import annotations

import atexit
import io
import json
import re
import shutil
import tempfile
from base64 import b64encode
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from clickmw import ClickMW
from clickmw.access_logs import LogReader, read_line
from clickmw.errors import BadEvent, BadToken
from clickmw.importing import Outcome, events_of, sound
from clickmw.scanner import Link, Scanner
from clickmw.settings import Settings
from clickmw.targets import Target, host_of, problem, resolve, without_user
from clickmw.tokens import LinkSigner, LinkTarget
from clickmw.wire import BadRequest, clean_text, pairs, parse_json

SECRET = "thirty-two characters or more are fine"
SITE = {
    "handle": "a",
    "hosts": ["localhost"],
    "tracking_key": "k",
    "index_key": "i",
    "access_key": "x",
}
SIGNED = re.compile(rb"/_clicks/r/[^\"'\s>]*")


@cache
def signer() -> LinkSigner:
    return LinkSigner(SECRET)


@cache
def genuine() -> str:
    target = LinkTarget("", "AaH81ihAxg3zMoNQ", 3, "BWEB", "", "https://a.example/")
    return signer().sign_link(target)


@cache
def install() -> ClickMW:
    """An install whose journal is never drained: what is asked for is all that is of interest."""

    def host(_environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return [b"host"]

    folder = Path(tempfile.mkdtemp(prefix="fuzzed-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    keys = [{"key": "the key of all", "scope": "admin"}]
    clicks = ClickMW(
        host,
        secret=SECRET,
        store=f"sqlite:///{folder}/clicks.db",
        keys=keys,
        sites=[SITE],
        redirect_rate=None,
    )
    clicks.door.store.migrate()
    clicks.door.recorder.on_write = lambda: None
    clicks.door.recorder.journal.write = lambda _events: True  # type: ignore[method-assign]
    return clicks


def ask(path: str, method: str, body: bytes = b"", query: str = "", kind: str = "") -> int:
    """Return the status of one request; a fault of ours raises."""
    environ = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "CONTENT_TYPE": kind,
        "CONTENT_LENGTH": str(len(body)),
        "REMOTE_ADDR": "198.51.100.7",
        "HTTP_HOST": "localhost",
        "HTTP_X_API_KEY": "the key of all",
        "HTTP_USER_AGENT": "Mozilla/5.0 Firefox/140.0",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
    }
    told: list[str] = []
    answered = install()(environ, lambda status, *_: told.append(status))
    b"".join(answered)
    getattr(answered, "close", lambda: None)()
    status = int(told[-1][:3])
    assert status < 500, (path, status)
    return status


def fuzz_token(data: bytes) -> None:
    """No text is a token but those that we wrote."""
    text = data.decode("utf-8", "surrogateescape")
    cut = len(data) % (len(genuine()) + 1)
    for made_up in (
        text,
        genuine()[:cut] + text,
        text + genuine()[cut:],
        genuine()[:cut] + text + genuine()[cut:],
    ):
        if made_up == genuine():
            continue
        with suppress(BadToken):
            raise AssertionError(signer().read_link(made_up))
        signer().find_link(f"https://a.example/_clicks/r/{made_up}", "/_clicks/r/")


def fuzz_target(data: bytes) -> None:
    """What may be signed is what a browser opens, in one spelling, on the host that is named."""
    text = data.decode("utf-8", "surrogateescape")
    found = resolve(text, page_path="/a/b", page_host="www.example.org")
    if isinstance(found, Target):
        assert problem(found.location) is None
        assert all("!" <= char <= "~" for char in found.location)
        assert found.own or host_of(found.location) == urlsplit(found.location).hostname
    if problem(text) is None and not text.startswith("/"):
        assert "@" not in urlsplit(text).netloc
    once = without_user(text)
    assert without_user(once) == once or "@" in once


def fuzz_rewriter(data: bytes) -> None:
    """A page comes out as it went in, but for the signed links; in pieces as in one."""
    kept: list[bytes] = []

    def sign(link: Link) -> str | None:
        kept.append(b"/_clicks/r/" + b"x" * (len(link.href) % 7))
        return kept[-1].decode()

    whole = Scanner(sign, charset="utf-8").whole(data)
    if not kept:
        assert whole == data
    pieces = Scanner(lambda _link: None, charset="utf-8")
    size = len(data) % 13 + 1
    parts = [pieces.feed(data[at : at + size]) for at in range(0, len(data), size)]
    assert b"".join([*parts, pieces.close()]) == data


def fuzz_track(data: bytes) -> None:
    """Base64, JSON and the seven kinds of one click API: refused or taken, never a fault."""
    ask("/_clicks/api/v2/track/", "POST", data, kind="application/json")
    ask("/_clicks/api/v2/track/", "GET", query="data=" + data.decode("latin-1"))
    if data[:1] == b"{":
        kind = ("_search", "_searchclick", "_questionanswer", "_relatedsearch")[len(data) % 4]
        event = b'{"event":"%b","properties":{"key":"k","_vid":"v",%b' % (kind.encode(), data[1:])
        ask("/_clicks/api/v2/track/", "GET", query="data=" + b64encode(event + b"}").decode())


def fuzz_mcp(data: bytes) -> None:
    """A message of an agent, and one whose arguments are made up."""
    ask("/_clicks/mcp", "POST", data, kind="application/json")
    tool = ("top_queries", "explain_query", "get_clicks", "api_request")[len(data) % 4]
    head = f'{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{tool}","arguments":'
    ask("/_clicks/mcp", "POST", head.encode() + data + b"}}", kind="application/json")


def fuzz_json(data: bytes) -> None:
    """Any bytes are JSON that can be kept, or a bad request."""
    with suppress(BadRequest):
        value = parse_json(data)
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    with suppress(BadRequest):
        for name, value in pairs(data):
            clean_text(name, 100).encode()
            clean_text(value, 100).encode()


def fuzz_beacon(data: bytes) -> None:
    """What the snippet's address is sent."""
    assert ask("/_clicks/e", "POST", data, kind="text/plain") == 204
    if data[:1] == b"{":
        ask("/_clicks/e", "POST", b"[" + data + b"]", kind="text/plain")


@cache
def log_reader() -> LogReader:
    settings = Settings.load({"secret": SECRET, "store": "sqlite:///fuzzed.db"}, environ={})
    return LogReader(settings, Outcome())


def fuzz_import(data: bytes) -> None:
    """A line of an export or of a log is an event that a store can keep, or nothing."""
    read_line(data)
    log_reader().click(data, 1)
    line = b'1.2.3.4 - - [10/Oct/2000:13:55:36 +0000] "GET /_clicks/r/' + genuine().encode()
    log_reader().click(line + data, 1)
    with suppress(
        BadEvent, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError
    ):
        row = json.loads(data)
        for event in map(sound, events_of([row])):
            json.dumps(event, allow_nan=False, ensure_ascii=False).encode()


HARNESSES: dict[str, Callable[[bytes], None]] = {
    name.removeprefix("fuzz_"): found
    for name, found in list(globals().items())
    if name.startswith("fuzz_")
}
#: What a run begins with.
SEEDS: dict[str, list[bytes]] = {
    "token": [b"", b".", b"!*$(", b"https:~~a.example~"],
    "target": [b"https://a.example/", b"//a", b"/\\a", b"https://a@b:80/x?y#z", b"http://[::1]/", "https://ü.example/".encode()],
    "rewriter": [
        b'<ol data-click-module="B" data-click-links=all><a data-click href="/a">x</a><!-- <a> --></ol>',
        b"<script><a data-click></script><textarea></textarea><base href=/x><a href='&#47;a' data-click>",
    ],
    "track": [b'{"query":"a","cDocId":"/x","cDocTitle":"","position":1}', b"eyJhIjoxfQ=="],
    "mcp": [b'{"jsonrpc":"2.0","id":1,"method":"tools/list"}', b'{"days":7,"query":"a","path":"health"}'],
    "json": [b'{"a":[1,1e9,"\\ud83d\\ude00",null,true]}', b"a=b&c=%ff+d"],
    "beacon": [b'{"t":"result","u":"/a","q":"b","p":1,"i":"AaH81ihAxg3zMoNQ"}', b'{"t":"search","q":"a","r":[{"u":"/a"}]}'],
    "import": [
        b'{"table":"clicks","event_id":"00","received_ms":1750000000000,"site":"a","url":"https://a.example/","query_id":"",'
        b'"doc_id":"","module_code":"","ad_id":"","position_raw":"","query":"q","position":1}',
        b' HTTP/1.1" 302 0 "https://a.example/" "Mozilla/5.0"',
    ],
}  # fmt: skip
