"""Rewriting over WSGI: links leave signed, and everything else as the host made it."""

from __future__ import annotations

import gzip
import io
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from wsgiref.handlers import SimpleHandler
from wsgiref.util import FileWrapper, setup_testing_defaults
from wsgiref.validate import validator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clickmw import ClickMW, journal
from clickmw.assets import marked_name
from clickmw.errors import SettingsError
from clickmw.rewrite import WHOLE_BYTES, is_shared
from clickmw.sites import Rule

SECRET = "a secret of more than thirty-two characters"
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
PAGE = (
    b"<!doctype html><html><body><p>caf\xc3\xa9 &amp; \r\n\x00</p>"
    b'<ol data-click-module="BWEB" data-click-query="tax" data-click-total="2">'
    b'<li><a data-click href="https://other.example/a">A</a></li>'
    b"<li><A  data-click\n HREF = 'https://other.example/b?x=1&amp;y=2' >B</A></li>"
    b'</ol><a href="https://other.example/a">plain</a></body></html>\n'
)
SIGNED = re.compile(rb"/_clicks/r/[^\"'> ]+")
SCRIPT = f'<script async src="/_clicks/{marked_name("clickmw.js")}"></script>'.encode()
HTML = ("Content-Type", "text/html; charset=utf-8")
Environ = dict[str, Any]
Header = tuple[str, str]


def undone(body: bytes) -> bytes:
    """Return the page as it was before its two links were signed."""
    hrefs = iter([b"https://other.example/a", b"https://other.example/b?x=1&amp;y=2"])
    return SIGNED.sub(lambda _: next(hrefs), body).replace(SCRIPT, b"")


class Chunks:
    """A host's body: it can be iterated once and counts how often it is closed."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self.closed = 0
        self.given = 0

    def __iter__(self) -> Chunks:
        return self

    def __next__(self) -> bytes:
        chunk = next(self._chunks)
        self.given += 1
        return chunk

    def close(self) -> None:
        self.closed += 1


class Host:
    """An application that always gives the same answer."""

    def __init__(
        self,
        chunks: Iterable[bytes] = (PAGE,),
        *headers: Header,
        status: str = "200 OK",
        length: bool = False,
    ) -> None:
        self.chunks = list(chunks)
        self.status = status
        size = sum(map(len, self.chunks))
        self.headers = [*(headers or (HTML,))]
        self.headers += [("Content-Length", str(size))] if length else []
        self.body = Chunks(())
        self.environ: Environ = {}

    def __call__(self, environ: Environ, start_response: Any) -> Chunks:
        self.environ = dict(environ)
        self.body = Chunks(self.chunks)
        start_response(self.status, list(self.headers))
        return self.body


@dataclass
class Answer:
    """What a server has been given."""

    status: str = ""
    headers: list[Header] = field(default_factory=list)
    chunks: list[bytes] = field(default_factory=list)
    starts: int = 0

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    def header(self, name: str) -> str | None:
        found = [value for key, value in self.headers if key.lower() == name.lower()]
        assert len(found) < 2, f"{name} twice"
        return found[0] if found else None

    def start_response(self, status: str, headers: list[Header], exc_info: Any = None) -> Any:
        self.starts += 1
        if exc_info and self.chunks:
            raise exc_info[1]
        self.status, self.headers = status, headers
        return self.chunks.append


def send(body: Iterable[bytes], answer: Answer) -> None:
    """Take over each piece as it comes."""
    for chunk in body:
        answer.chunks.append(chunk)


def environ_of(target: str = "/search?q=tax", method: str = "GET", **headers: str) -> Environ:
    path, _, query = target.partition("?")
    environ: Environ = {"SCRIPT_NAME": "", "PATH_INFO": path, "QUERY_STRING": query}
    environ["REQUEST_METHOD"] = method
    setup_testing_defaults(environ)
    environ["HTTP_HOST"] = "www.example.org"
    environ["HTTP_USER_AGENT"] = BROWSER
    environ["HTTP_ACCEPT"] = "text/html,*/*;q=0.8"
    return environ | {f"HTTP_{name.upper()}": value for name, value in headers.items()}


def serve(app: Any, target: str = "/search?q=tax", method: str = "GET", **headers: str) -> Answer:
    """Serve one request as a strict server does."""
    answer = Answer()
    body = validator(app)(environ_of(target, method, **headers), answer.start_response)
    try:
        answer.chunks += body
    finally:
        body.close()  # type: ignore[attr-defined]
    return answer


Wrap = Callable[..., ClickMW]


@pytest.fixture
def wrap(tmp_path: Path) -> Iterator[Wrap]:
    made: list[ClickMW] = []

    def build(app: Any, **settings: Any) -> ClickMW:
        store = f"sqlite:///{tmp_path}/{len(made)}/clicks.db"
        made.append(ClickMW(app, **{"secret": SECRET, "store": store} | settings))
        return made[-1]

    yield build
    for clicks in made:
        clicks.door.worker.close()
        clicks.door.store.close()


@pytest.fixture(autouse=True)
def nothing_warned_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "_warned", {})


def rejected(clicks: ClickMW) -> dict[str, int]:
    clicks.door.routes.open_reader().close()
    found: dict[str, int] = clicks.door.routes.read_health()["rejected"]
    return found


def searches(clicks: ClickMW) -> int:
    """Return how many searches have been received."""
    clicks.door.routes.open_reader().close()
    stored: int = clicks.door.routes.read_health()["stored"]
    return stored


# -- a page that is rewritten ------------------------------------------------------------------


@pytest.mark.parametrize("length", [True, False], ids=["with length", "streaming"])
@pytest.mark.parametrize("size", [1, 7, 10_000], ids=["bytes", "pieces", "one piece"])
def test_only_the_links_change(wrap: Wrap, size: int, length: bool) -> None:
    chunks = [PAGE[at : at + size] for at in range(0, len(PAGE), size)]

    answer = serve(wrap(validator(Host(chunks, length=length))))

    assert len(SIGNED.findall(answer.body)) == 2
    assert undone(answer.body) == PAGE


def test_the_length_is_that_of_the_new_body(wrap: Wrap) -> None:
    answer = serve(wrap(validator(Host(length=True))))

    assert answer.header("Content-Length") == str(len(answer.body)) != str(len(PAGE))


def test_a_page_without_length_gets_none(wrap: Wrap) -> None:
    assert serve(wrap(validator(Host()))).header("Content-Length") is None


def test_a_page_too_long_to_wait_for_is_streamed(wrap: Wrap) -> None:
    filler = b" " * WHOLE_BYTES
    host = Host([PAGE, filler], length=True)

    answer = serve(wrap(host))

    assert answer.header("Content-Length") is None
    assert undone(answer.body) == PAGE + filler


def test_the_link_is_the_prefix_and_a_token_that_reads_back(wrap: Wrap) -> None:
    clicks = wrap(Host())

    links = SIGNED.findall(serve(clicks).body)

    read = clicks.door.signer.read_link
    locations = [read(link.decode().removeprefix("/_clicks/r/")).location for link in links]
    assert locations == ["https://other.example/a", "https://other.example/b?x=1&y=2"]


def test_the_query_is_not_in_the_links(wrap: Wrap) -> None:
    page = PAGE.replace(b'query="tax"', b'query="confidential"')

    assert all(
        b"confidential" not in link for link in SIGNED.findall(serve(wrap(Host([page]))).body)
    )


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_pages_are_rewritten_for(wrap: Wrap, method: str) -> None:
    assert SIGNED.search(serve(wrap(Host()), method=method).body)


@pytest.mark.parametrize(
    "kind",
    [
        "text/html",
        "TEXT/HTML",
        "text/html;charset=utf-8",
        'text/html; charset="UTF-8"',
        "application/xhtml+xml",
        "text/html; charset=iso-8859-1",
        "text/html; charset=shift_jis",
    ],
)
def test_a_page_is_known_by_its_type(wrap: Wrap, kind: str) -> None:
    assert SIGNED.search(serve(wrap(Host([PAGE], ("Content-Type", kind)))).body)


def test_a_page_without_marks_is_sent_as_it_is(wrap: Wrap) -> None:
    page = b"<html><body><a href=/a>a</a></body></html>"
    headers = (HTML, ("ETag", '"abc"'), ("Content-MD5", "x"))

    answer = serve(wrap(validator(Host([page], *headers, length=True))))

    assert answer.body == page
    assert answer.headers == [*headers, ("Content-Length", str(len(page)))]


POLICIES = {
    "script-src 'nonce-r4nd0m=='": "r4nd0m==",
    "default-src 'none'; script-src 'self' 'strict-dynamic' 'nonce-a-b_c+d/e'; img-src *": "a-b_c+d/e",
    "script-src 'self', script-src-elem 'nonce-second'": "second",
    "default-src 'nonce-first'": "first",
    "SCRIPT-SRC  'nonce-x'": "x",
    "style-src 'nonce-other'": None,
    "script-src 'self'; style-src 'nonce-other'": None,
    "script-src 'self', style-src 'nonce-other'": None,
    "script-src 'nonce-\"><script>'": None,
    "script-src 'nonce-'": None,
    "x-script-src 'nonce-other'": None,
}


@pytest.mark.parametrize(("policy", "nonce"), POLICIES.items(), ids=list(POLICIES))
@pytest.mark.parametrize("length", [True, False], ids=["whole", "streamed"])
def test_the_snippet_has_the_nonce_of_the_page(
    policy: str, nonce: str | None, length: bool, wrap: Wrap
) -> None:
    host = Host((PAGE,), HTML, ("Content-Security-Policy", policy), length=length)
    tag = SCRIPT.decode().replace("></", f' nonce="{nonce}"></' if nonce else "></")

    assert tag.encode() in serve(wrap(host)).body


def test_no_snippet_when_it_is_not_wanted(wrap: Wrap) -> None:
    assert b"<script" not in serve(wrap(Host(), inject_snippet=False)).body


def test_debug_says_how_many_links_were_signed(wrap: Wrap) -> None:
    answer = serve(wrap(Host(length=True), debug=True))

    assert answer.header("X-ClickMW") == "rewritten=2"


def test_without_debug_nothing_is_said(wrap: Wrap) -> None:
    assert serve(wrap(Host(length=True))).header("X-ClickMW") is None


# -- headers -----------------------------------------------------------------------------------

STRONG = ("ETag", '"abc"')


@pytest.mark.parametrize("length", [True, False], ids=["with length", "streaming"])
def test_a_rewritten_page_has_a_weak_tag_and_no_digest(wrap: Wrap, length: bool) -> None:
    digests = [(name, "x") for name in ("Content-MD5", "Digest", "Repr-Digest", "Content-Digest")]
    host = Host([PAGE], HTML, STRONG, ("Accept-Ranges", "bytes"), *digests, length=length)

    answer = serve(wrap(host))

    names = {name for name, _ in answer.headers} - {"Content-Length"}
    assert names == {"Content-Type", "ETag"}
    assert answer.header("ETag") == 'W/"abc"'


def test_a_weak_tag_stays_as_it_is(wrap: Wrap) -> None:
    assert serve(wrap(Host([PAGE], HTML, ("ETag", 'W/"abc"')))).header("ETag") == 'W/"abc"'


def test_a_304_of_a_page_with_results_has_the_weak_tag_too(wrap: Wrap) -> None:
    host = Host([PAGE], HTML, STRONG)
    clicks = wrap(host)
    serve(clicks)
    host.chunks, host.status, host.headers = [], "304 Not Modified", [STRONG]

    assert serve(clicks, if_none_match='W/"abc"').headers == [("ETag", 'W/"abc"')]


def test_a_304_of_another_page_is_left_alone(wrap: Wrap) -> None:
    host = Host([], STRONG, status="304 Not Modified")

    assert serve(wrap(host)).headers == [STRONG]


def test_other_headers_keep_their_order_and_their_repetitions(wrap: Wrap) -> None:
    others = [("Set-Cookie", "a=1"), ("X-A", "1"), ("Set-Cookie", "b=2"), ("Vary", "Cookie")]

    answer = serve(wrap(Host([PAGE], HTML, *others)))

    assert answer.headers == [HTML, *others]


def test_where_results_were_only_whole_pages_are_asked_for(wrap: Wrap) -> None:
    host = Host()
    clicks = wrap(host)
    serve(clicks)
    serve(clicks, range="bytes=0-9", if_range='"abc"')

    assert not {"HTTP_RANGE", "HTTP_IF_RANGE"} & set(host.environ)


def test_elsewhere_ranges_and_encodings_are_none_of_our_business(wrap: Wrap) -> None:
    host = Host([b"x"], ("Content-Type", "text/plain"))
    serve(wrap(host), range="bytes=0-9", accept_encoding="br, zstd")

    assert host.environ["HTTP_RANGE"] == "bytes=0-9"
    assert host.environ["HTTP_ACCEPT_ENCODING"] == "br, zstd"


# -- what is not touched -----------------------------------------------------------------------

UNTOUCHED = {
    "plain text": ("200 OK", [("Content-Type", "text/plain")]),
    "JSON": ("200 OK", [("Content-Type", "application/json")]),
    "an event stream": ("200 OK", [("Content-Type", "text/event-stream")]),
    "a part": ("206 Partial Content", [HTML, ("Content-Range", "bytes 0-9/100")]),
    "a range with status 200": ("200 OK", [HTML, ("Content-Range", "bytes 0-9/100")]),
    "an error page": ("404 Not Found", [HTML]),
    "a redirect": ("302 Found", [HTML, ("Location", "/x")]),
    "a download": ("200 OK", [HTML, ("Content-Disposition", "attachment; filename=x.html")]),
    "no-transform": ("200 OK", [HTML, ("Cache-Control", "private, No-Transform")]),
    "no-transform in a second header": (
        "200 OK",
        [HTML, ("Cache-Control", "no-transform"), ("Cache-Control", "private")],
    ),
    "UTF-16": ("200 OK", [("Content-Type", "text/html; charset=utf-16")]),
    "UTF-7": ("200 OK", [("Content-Type", "text/html; charset=UTF-7")]),
    "ISO-2022-JP": ("200 OK", [("Content-Type", "text/html; charset=iso-2022-jp")]),
    "an unknown charset": ("200 OK", [("Content-Type", "text/html; charset=x-klingon")]),
    "brotli": ("200 OK", [HTML, ("Content-Encoding", "br")]),
    "zstd": ("200 OK", [HTML, ("Content-Encoding", "zstd")]),
    "deflate": ("200 OK", [HTML, ("Content-Encoding", "deflate")]),
    "two encodings": ("200 OK", [HTML, ("Content-Encoding", "gzip, br")]),
}


@pytest.mark.parametrize(("status", "headers"), UNTOUCHED.values(), ids=UNTOUCHED)
def test_it_passes_as_the_hosts_own_object(wrap: Wrap, status: str, headers: list[Header]) -> None:
    host = Host([PAGE], *headers, ("ETag", '"abc"'), status=status, length=True)
    answer = Answer()

    body = wrap(host)(environ_of(), answer.start_response)

    assert body is host.body
    assert (answer.status, answer.headers) == (status, host.headers)
    assert host.body.given == 0


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_an_answer_without_a_body_passes(wrap: Wrap, status: str) -> None:
    host = Host([], ("ETag", '"abc"'), status=status)
    answer = Answer()

    assert wrap(host)(environ_of(), answer.start_response) is host.body
    assert answer.headers == [("ETag", '"abc"')]


@pytest.mark.parametrize("method", ["HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_other_methods_pass(wrap: Wrap, method: str) -> None:
    host = Host([PAGE], HTML, length=True)
    answer = Answer()

    assert wrap(host)(environ_of(method=method), answer.start_response) is host.body
    assert answer.headers == host.headers


def test_head_of_a_page_with_results_does_not_speak_of_other_bytes(wrap: Wrap) -> None:
    host = Host([PAGE], HTML, STRONG, length=True)
    clicks = wrap(host)
    sent = serve(clicks)
    host.chunks = []
    answer = Answer()

    assert clicks(environ_of(method="HEAD"), answer.start_response) is host.body
    assert answer.header("ETag") == sent.header("ETag") == 'W/"abc"'
    assert answer.header("Content-Length") is None


@pytest.mark.parametrize("status", ["302 Found", "404 Not Found"])
def test_head_of_what_is_no_page_keeps_its_headers(wrap: Wrap, status: str) -> None:
    host = Host([PAGE], HTML, STRONG, length=True)
    clicks = wrap(host)
    serve(clicks)
    host.status = status
    answer = Answer()
    clicks(environ_of(method="HEAD"), answer.start_response)

    assert answer.headers == host.headers


def test_a_file_goes_to_the_server_as_the_servers_own_wrapper(wrap: Wrap) -> None:
    made: list[FileWrapper] = []

    def host(environ: Environ, start_response: Any) -> FileWrapper:
        start_response("200 OK", [("Content-Type", "application/pdf")])
        made.append(environ["wsgi.file_wrapper"](io.BytesIO(b"%PDF")))
        return made[0]

    environ = environ_of() | {"wsgi.file_wrapper": FileWrapper}

    assert wrap(host)(environ, Answer().start_response) is made[0]


def test_a_page_out_of_a_file_is_rewritten(wrap: Wrap) -> None:
    def host(environ: Environ, start_response: Any) -> FileWrapper:
        start_response("200 OK", [HTML])
        return FileWrapper(io.BytesIO(PAGE), 50)

    assert undone(serve(wrap(host)).body) == PAGE


def test_a_path_that_gave_no_page_is_handed_on_at_once_to_those_who_want_none(wrap: Wrap) -> None:
    clicks = wrap(Host([b"{}"], ("Content-Type", "application/json")))
    serve(clicks, "/api", accept="*/*")

    assert clicks.door.rewriting.plain == {"/api"}


def test_a_path_with_results_is_never_taken_for_plain(wrap: Wrap) -> None:
    host = Host()
    clicks = wrap(host)
    serve(clicks)
    host.headers, host.chunks = [("Content-Type", "application/json")], [b"{}"]
    serve(clicks, accept="application/json")
    host.headers, host.chunks = [HTML], [PAGE]

    # A fragment that a script fetches.
    assert SIGNED.search(serve(clicks, accept="*/*").body)


@given(
    status=st.sampled_from(["200 OK", "201 Created", "206 Partial", "404 Not Found", "500 Oh"]),
    kind=st.sampled_from(["text/html", "text/plain", "text/html; charset=utf-16", ""]),
    headers=st.lists(
        st.sampled_from(
            [
                ("Content-Encoding", "br"),
                ("Content-Range", "bytes 0-1/2"),
                ("Content-Disposition", "attachment"),
                ("Content-Disposition", "inline"),
                ("Cache-Control", "no-transform"),
                ("X-Other", "1"),
            ]
        )
    ),
    length=st.booleans(),
)
def test_whatever_the_headers_the_page_arrives_rewritten_or_untouched(
    tmp_path_factory: pytest.TempPathFactory,
    status: str,
    kind: str,
    headers: list[Header],
    length: bool,
) -> None:
    folder = tmp_path_factory.getbasetemp() / "property"
    host = Host([PAGE], ("Content-Type", kind), *headers, status=status, length=length)
    clicks = ClickMW(host, secret=SECRET, store=f"sqlite:///{folder}/clicks.db")
    answer = Answer()
    body = clicks(environ_of(), answer.start_response)
    answer.chunks += body

    final = {"Content-Range", "Content-Encoding"} & dict(headers).keys()
    stays = status != "200 OK" or kind != "text/html" or final
    stays = stays or {"attachment", "no-transform"} & {value for _, value in headers}
    clicks.door.worker.close()
    assert answer.body == PAGE if stays else undone(answer.body) == PAGE
    assert answer.header("Content-Length") in (None, str(len(answer.body)))


# -- pieces ------------------------------------------------------------------------------------


def test_one_piece_in_is_one_piece_out(wrap: Wrap) -> None:
    host = Host([b"<p>one", b"<p>two", PAGE, b"<p>three"])
    body = iter(wrap(host)(environ_of(), Answer().start_response))

    assert next(body) == b"<p>one"
    assert host.body.given == 1
    assert next(body) == b"<p>two"
    assert host.body.given == 2
    assert undone(next(body)) == PAGE
    assert host.body.given == 3
    assert list(body) == [b"<p>three"]


def test_the_server_hears_of_a_streamed_answer_before_its_first_piece(wrap: Wrap) -> None:
    answer = Answer()
    wrap(Host())(environ_of(), answer.start_response)

    assert answer.status == "200 OK"


def test_a_lazy_body_is_not_asked_for_more_than_the_server_wants(wrap: Wrap) -> None:
    host = Host([b"a", b"b"])
    wrap(host)(environ_of(), Answer().start_response)

    assert host.body.given == 0


def test_an_unfinished_tag_at_the_end_is_not_lost(wrap: Wrap) -> None:
    page = PAGE + b"<a href='"

    assert undone(serve(wrap(Host([page[:100], page[100:]]))).body) == page


def test_an_empty_page_is_still_started(wrap: Wrap) -> None:
    answer = serve(wrap(Host([], HTML, length=True)))

    assert (answer.status, answer.body, answer.header("Content-Length")) == ("200 OK", b"", "0")


# -- close -------------------------------------------------------------------------------------

LENGTHS = pytest.mark.parametrize("length", [True, False], ids=["with length", "streaming"])


@LENGTHS
def test_the_hosts_body_is_closed_once(wrap: Wrap, length: bool) -> None:
    host = Host(length=length)
    body: Any = wrap(host)(environ_of(), Answer().start_response)
    list(body)

    assert host.body.closed == 0
    body.close()
    body.close()
    assert host.body.closed == 1


@LENGTHS
def test_the_hosts_body_is_closed_once_when_nobody_reads_on(wrap: Wrap, length: bool) -> None:
    host = Host([PAGE, PAGE], length=length)
    body: Any = wrap(host)(environ_of(), Answer().start_response)
    next(iter(body))
    body.close()

    assert host.body.closed == 1


@LENGTHS
def test_the_hosts_body_is_closed_once_when_nobody_reads_at_all(wrap: Wrap, length: bool) -> None:
    host = Host(length=length)
    body: Any = wrap(host)(environ_of(), Answer().start_response)
    body.close()

    assert host.body.closed == 1


class Fault(Exception):
    """What a host can raise."""


def failing(first: bytes = PAGE) -> Iterator[bytes]:
    yield first
    raise Fault


@LENGTHS
def test_the_hosts_body_is_closed_once_when_it_fails(wrap: Wrap, length: bool) -> None:
    host = Host(length=length)
    made: list[Chunks] = []

    def app(environ: Environ, start_response: Any) -> Chunks:
        host(environ, start_response)
        made.append(Chunks(failing()))
        return made[0]

    body: Any = wrap(app)(environ_of(), Answer().start_response)
    with pytest.raises(Fault):
        list(body)
    body.close()

    assert made[0].closed == 1


def test_an_error_in_the_hosts_close_reaches_the_server(wrap: Wrap) -> None:
    class Stubborn(Chunks):
        def close(self) -> None:
            raise Fault

    def app(environ: Environ, start_response: Any) -> Chunks:
        start_response("200 OK", [HTML])
        return Stubborn([PAGE])

    body: Any = wrap(app)(environ_of(), Answer().start_response)
    list(body)

    with pytest.raises(Fault):
        body.close()


def test_an_error_of_the_host_passes_through(wrap: Wrap) -> None:
    def app(environ: Environ, start_response: Any) -> list[bytes]:
        raise Fault

    with pytest.raises(Fault):
        wrap(app)(environ_of(), Answer().start_response)


def test_an_abandoned_page_is_kept_as_far_as_it_was_sent(wrap: Wrap) -> None:
    clicks = wrap(Host([PAGE, PAGE]))
    body: Any = clicks(environ_of(), Answer().start_response)
    next(iter(body))
    body.close()

    assert searches(clicks) == 1


def test_a_whole_page_that_failed_was_not_shown(wrap: Wrap) -> None:
    def app(environ: Environ, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [HTML, ("Content-Length", "9999")])
        return failing()

    clicks = wrap(app)
    with pytest.raises(Fault):
        serve(clicks)

    assert searches(clicks) == 0


# -- write() -----------------------------------------------------------------------------------


def writing(length: bool, *pieces: bytes) -> Any:
    def app(environ: Environ, start_response: Any) -> list[bytes]:
        size = [("Content-Length", str(sum(map(len, pieces))))] if length else []
        write = start_response("200 OK", [HTML, *size])
        for piece in pieces[:-1]:
            write(piece)
        return [pieces[-1]]

    return app


@LENGTHS
def test_what_is_written_is_rewritten_too(wrap: Wrap, length: bool) -> None:
    pieces = PAGE[:90], PAGE[90:200], PAGE[200:]

    answer = serve(wrap(validator(writing(length, *pieces))))

    assert undone(answer.body) == PAGE
    assert answer.header("Content-Length") in (None, str(len(answer.body)))


def test_what_is_written_to_other_answers_goes_to_the_server(wrap: Wrap) -> None:
    def app(environ: Environ, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])(b"one ")
        return [b"two"]

    assert serve(wrap(validator(app))).chunks == [b"one ", b"two"]


# -- exc_info ----------------------------------------------------------------------------------


def caught() -> Any:
    try:
        raise Fault
    except Fault:
        return sys.exc_info()


ERROR_PAGE = b"<h1>Sorry</h1>"
SORRY = [HTML, ("Content-Length", str(len(ERROR_PAGE)))]


@LENGTHS
def test_a_second_start_before_the_first_piece_replaces_the_answer(
    wrap: Wrap, length: bool
) -> None:
    def app(environ: Environ, start_response: Any) -> list[bytes]:
        size = [("Content-Length", str(len(PAGE)))] if length else []
        start_response("200 OK", [HTML, *size])
        start_response("500 Oh", list(SORRY), caught())
        return [ERROR_PAGE]

    answer = serve(wrap(validator(app)))

    assert (answer.status, answer.headers, answer.body) == ("500 Oh", SORRY, ERROR_PAGE)


def test_a_second_start_ends_all_rewriting(wrap: Wrap) -> None:
    error_page = PAGE + b"<!-- error -->"
    sorry = [HTML, ("Content-Length", str(len(error_page)))]

    def app(environ: Environ, start_response: Any) -> list[bytes]:
        start_response("200 OK", [HTML])
        start_response("500 Oh", list(sorry), caught())
        return [error_page]

    answer = serve(wrap(validator(app)))

    assert (answer.headers, answer.body) == (sorry, error_page)


def test_a_second_start_after_the_first_piece_raises_the_error_again(wrap: Wrap) -> None:
    def app(environ: Environ, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [HTML])
        yield PAGE
        start_response("500 Oh", list(SORRY), caught())
        yield ERROR_PAGE

    answer = Answer()
    body: Any = wrap(app)(environ_of(), answer.start_response)
    with pytest.raises(Fault):
        send(body, answer)
    body.close()

    assert (answer.status, undone(answer.body)) == ("200 OK", PAGE)


def test_a_whole_page_has_not_been_sent_when_its_last_piece_fails(wrap: Wrap) -> None:
    def app(environ: Environ, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [HTML, ("Content-Length", "9999")])
        yield PAGE
        start_response("500 Oh", list(SORRY), caught())
        yield ERROR_PAGE

    answer = serve(wrap(app))

    assert (answer.status, answer.headers, answer.body) == ("500 Oh", SORRY, ERROR_PAGE)


# -- applications that start late --------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [[HTML], [HTML, ("Content-Length", str(len(PAGE)))]],
    ids=["streaming", "with length"],
)
def test_a_generator_that_starts_when_it_is_read_is_rewritten(
    wrap: Wrap, headers: list[Header]
) -> None:
    def app(environ: Environ, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", list(headers))
        yield PAGE[:150]
        yield PAGE[150:]

    answer = Answer()
    body: Any = wrap(app)(environ_of(), answer.start_response)
    answer.chunks += body
    body.close()

    assert undone(answer.body) == PAGE
    assert answer.header("Content-Length") in (None, str(len(answer.body)))


def test_a_late_answer_that_is_no_page_passes_piece_by_piece(wrap: Wrap) -> None:
    def app(environ: Environ, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
        yield b"a"
        yield b"b"

    answer = Answer()
    answer.chunks += wrap(app)(environ_of(), answer.start_response)

    assert answer.chunks == [b"a", b"b"]


# -- encodings ---------------------------------------------------------------------------------

GZIP = ("Content-Encoding", "gzip")


def gzip_pieces(*pieces: bytes) -> list[bytes]:
    squeeze = zlib.compressobj(6, zlib.DEFLATED, 31)
    made = [squeeze.compress(piece) + squeeze.flush(zlib.Z_SYNC_FLUSH) for piece in pieces]
    return [*made, squeeze.flush()]


def test_a_gzip_page_is_unpacked_rewritten_and_packed_again(wrap: Wrap) -> None:
    answer = serve(wrap(validator(Host([gzip.compress(PAGE)], HTML, GZIP, STRONG, length=True))))

    assert undone(gzip.decompress(answer.body)) == PAGE
    assert answer.header("Content-Length") == str(len(answer.body))
    assert answer.header("Content-Encoding") == "gzip"
    assert answer.header("ETag") == 'W/"abc"'


def test_a_gzip_page_without_marks_keeps_its_bytes(wrap: Wrap) -> None:
    packed = gzip.compress(b"<html><body>nothing</body></html>")
    host = Host([packed], HTML, GZIP, STRONG, length=True)

    answer = serve(wrap(host))

    assert (answer.body, answer.headers) == (packed, host.headers)


def test_a_gzip_stream_keeps_its_flushes(wrap: Wrap) -> None:
    pieces = gzip_pieces(b"<p>one", PAGE, b"<p>three")
    body: Any = iter(wrap(Host(pieces, HTML, GZIP))(environ_of(), Answer().start_response))
    unpack = zlib.decompressobj(31)

    assert unpack.decompress(next(body)) == b"<p>one"
    assert undone(unpack.decompress(next(body))) == PAGE
    assert unpack.decompress(next(body)) == b"<p>three"
    assert unpack.decompress(b"".join(body)) == b""
    assert unpack.eof


def test_a_gzip_stream_may_be_cut_anywhere(wrap: Wrap) -> None:
    packed = b"".join(gzip_pieces(PAGE))
    answer = serve(wrap(Host([packed[at : at + 3] for at in range(0, len(packed), 3)], HTML, GZIP)))

    assert undone(gzip.decompress(answer.body)) == PAGE


@LENGTHS
def test_a_gzip_page_of_several_members_is_whole(wrap: Wrap, length: bool) -> None:
    packed = gzip.compress(PAGE[:200]) + gzip.compress(PAGE[200:])

    body = gzip.decompress(serve(wrap(Host([packed], HTML, GZIP, length=length))).body)

    assert undone(body) == PAGE or body == PAGE


@LENGTHS
@pytest.mark.parametrize("size", [64, 10_000], ids=["pieces", "one piece"])
def test_a_page_that_only_says_it_is_gzip_passes(wrap: Wrap, length: bool, size: int) -> None:
    chunks = [PAGE[at : at + size] for at in range(0, len(PAGE), size)]

    assert serve(wrap(Host(chunks, HTML, GZIP, length=length))).body == PAGE


@LENGTHS
def test_what_follows_a_gzip_page_is_no_reason_to_lose_it(wrap: Wrap, length: bool) -> None:
    packed = gzip.compress(PAGE) + b"\0" * 8

    body = serve(wrap(Host([packed[:60], packed[60:]], HTML, GZIP, length=length))).body

    assert undone(zlib.decompressobj(31).decompress(body)) == PAGE


@LENGTHS
def test_a_gzip_page_that_was_cut_off_is_passed_on_as_far_as_it_goes(
    wrap: Wrap, length: bool
) -> None:
    packed = gzip.compress(PAGE)[:-20]

    body = serve(wrap(Host([packed], HTML, GZIP, length=length))).body

    # A reader must not take it for complete.
    with pytest.raises(EOFError):
        gzip.decompress(body)


def test_a_page_that_unpacks_to_far_too_much_passes_packed(wrap: Wrap) -> None:
    packed = gzip.compress(PAGE + b" " * WHOLE_BYTES)

    assert serve(wrap(Host([packed], HTML, GZIP, length=True))).body == packed


def test_a_page_in_an_encoding_that_we_cannot_read_is_counted(wrap: Wrap) -> None:
    clicks = wrap(Host([b"packed"], HTML, ("Content-Encoding", "br")))
    serve(clicks)

    assert rejected(clicks) == {"unreadable_encoding": 1}


@pytest.mark.parametrize(
    ("accepted", "offered"),
    [
        ("gzip, deflate, br, zstd", "gzip"),
        ("br", "identity"),
        ("br, gzip;q=0", "identity"),
        ("br, gzip;q=0.5", "gzip"),
        ("GZIP", "gzip"),
    ],
)
def test_the_next_request_for_a_search_offers_what_we_can_read(
    wrap: Wrap, accepted: str, offered: str
) -> None:
    host = Host([b"packed"], HTML, ("Content-Encoding", "br"))
    clicks = wrap(host)
    serve(clicks, accept_encoding=accepted)
    serve(clicks, accept_encoding=accepted)

    assert host.environ["HTTP_ACCEPT_ENCODING"] == offered


def test_a_page_that_is_no_search_may_go_on_in_brotli(wrap: Wrap) -> None:
    host = Host([b"packed"], HTML, ("Content-Encoding", "br"))
    clicks = wrap(host)
    serve(clicks, "/", accept_encoding="br")
    serve(clicks, "/", accept_encoding="br")

    assert host.environ["HTTP_ACCEPT_ENCODING"] == "br"


def test_who_offered_no_encoding_is_sent_none(wrap: Wrap) -> None:
    host = Host()
    clicks = wrap(host)
    serve(clicks)
    serve(clicks)

    assert "HTTP_ACCEPT_ENCODING" not in host.environ


# -- faults of ours ----------------------------------------------------------------------------


def raising(*_: Any, **__: Any) -> Any:
    raise RuntimeError("a fault of the scanner")


@LENGTHS
@pytest.mark.parametrize("encoding", [[], [GZIP]], ids=["plain", "gzip"])
@pytest.mark.parametrize(
    "method", ["__init__", "_scan", "_take_link"], ids=["at the start", "in the page", "at a link"]
)
def test_a_fault_of_the_scanner_costs_no_byte_and_one_line_in_the_log(
    wrap: Wrap,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    method: str,
    encoding: list[Header],
    length: bool,
) -> None:
    monkeypatch.setattr(f"clickmw.rewrite.Scanner.{method}", raising)
    chunks = [gzip.compress(PAGE)] if encoding else [PAGE[:120], PAGE[120:]]
    clicks = wrap(Host(chunks, HTML, *encoding, length=length))

    with caplog.at_level(logging.WARNING):
        bodies = [serve(clicks).body for _ in range(2)]

    plain = [zlib.decompressobj(31).decompress(body) if encoding else body for body in bodies]
    assert plain == [PAGE, PAGE]
    assert len(caplog.records) == 1
    clicks.door.worker.catch_up(5.0)
    assert clicks.door.routes.read_health()["unsigned"] == {"fault": 2}


def test_a_fault_in_the_middle_of_a_stream_leaves_the_rest_as_it_was(
    wrap: Wrap, monkeypatch: pytest.MonkeyPatch
) -> None:
    clicks = wrap(Host([PAGE[:200], PAGE[200:250], PAGE[250:]]))
    body: Any = clicks(environ_of(), Answer().start_response)
    pieces = iter(body)
    sent = next(pieces)
    monkeypatch.setattr("clickmw.rewrite.Scanner._scan", raising)
    sent += b"".join(pieces)
    body.close()

    assert len(SIGNED.findall(sent)) == 1
    assert SIGNED.sub(b"https://other.example/a", sent, count=1) == PAGE


@LENGTHS
def test_a_fault_in_recording_costs_no_byte(
    wrap: Wrap, monkeypatch: pytest.MonkeyPatch, length: bool
) -> None:
    monkeypatch.setattr("clickmw.pages.ResultPage.record", raising)

    assert undone(serve(wrap(Host(length=length))).body) == PAGE


def test_a_rule_that_cannot_be_read_fails_at_start(wrap: Wrap) -> None:
    rule = Rule(path="/search", container="*", link="a", module="BWEB")

    with pytest.raises(SettingsError, match="simple CSS selector"):
        wrap(Host(), rules=[rule])


def test_a_length_that_is_no_number_is_none(wrap: Wrap) -> None:
    host = Host([PAGE], HTML, ("Content-Length", "\u00b2"))

    assert undone(serve(wrap(host)).body) == PAGE


HOSTILE_PAGES = {
    "many open tags": b"<a" * 100_000,
    "an open quote": PAGE + b'<a data-click href="' + b"x" * 500_000,
    "an open comment": PAGE + b"<!--" + b"<a data-click href=x>" * 20_000,
    "only brackets": b"<" * 2_000_000,
    "links inside a script": PAGE + b"<script>" + b'"<a data-click href=x>";' * 20_000,
}


@pytest.mark.parametrize("page", HOSTILE_PAGES.values(), ids=HOSTILE_PAGES)
@LENGTHS
def test_a_hostile_page_takes_no_time(wrap: Wrap, page: bytes, length: bool) -> None:
    clicks = wrap(Host([page], length=length))
    begin = time.process_time()

    body = serve(clicks).body

    # Far below a second on any machine; a scan that is not linear takes minutes.
    assert time.process_time() - begin < 2
    assert undone(body) == page


# -- which answers are shared ------------------------------------------------------------------

SHARED = [
    ({}, False),
    ({"cache-control": "public"}, True),
    ({"cache-control": "public, max-age=60"}, True),
    ({"cache-control": "s-maxage=60"}, True),
    ({"cache-control": "S-MaxAge=60, Public"}, True),
    ({"cache-control": "max-age=60"}, True),
    ({"cache-control": 'max-age="60"'}, True),
    ({"cache-control": "max-age = 60"}, True),
    ({"cache-control": "max-age=0"}, False),
    ({"cache-control": "no-cache"}, False),
    ({"cache-control": "private, max-age=60"}, False),
    ({"cache-control": "private"}, False),
    ({"cache-control": "no-store"}, False),
    ({"cache-control": "public, no-store"}, False),
    ({"cache-control": "s-maxage=60, private"}, False),
    ({"cdn-cache-control": "max-age=60"}, True),
    ({"cdn-cache-control": "max-age=60", "cache-control": "private"}, True),
    ({"cdn-cache-control": "max-age=60", "cache-control": "no-store"}, True),
    ({"cdn-cache-control": "no-store", "cache-control": "public"}, False),
    ({"cdn-cache-control": "private", "cache-control": "public"}, False),
    ({"surrogate-control": "max-age=60"}, True),
    ({"surrogate-control": "max-age=60", "cache-control": "no-store"}, True),
    ({"surrogate-control": "no-store", "cache-control": "max-age=60"}, False),
    ({"expires": "Wed, 21 Oct 2099 07:28:00 GMT"}, True),
    ({"expires": "Wed, 21 Oct 2015 07:28:00 GMT"}, False),
    ({"expires": "0"}, False),
    ({"expires": "-1"}, False),
    ({"expires": "Wed, 21 Oct 2099 07:28:00 GMT", "cache-control": "private"}, False),
    ({"expires": "Wed, 21 Oct 2099 07:28:00 GMT", "cache-control": "max-age=0"}, False),
    (
        {"expires": "Wed, 21 Oct 2015 07:28:00 GMT", "date": "Wed, 21 Oct 2015 07:27:00 GMT"},
        True,
    ),
    ({"expires": "Wed, 21 Oct 2015 07:28:00 GMT", "date": "yesterday"}, False),
    ({"x-private": "public"}, False),
]


@pytest.mark.parametrize(("headers", "shared"), SHARED, ids=str)
def test_a_cache_may_give_this_answer_to_others(headers: dict[str, str], shared: bool) -> None:
    assert is_shared(headers) is shared


# -- over a real server ------------------------------------------------------------------------

SERVED = """
from clickmw import ClickMW
PAGE = {page!r}
def host(environ, start_response):
    number = int(environ["QUERY_STRING"].rpartition("=")[2])
    page = PAGE + b"x" * number
    headers = [("Content-Type", "text/html")]
    if number % 2:
        headers.append(("Content-Length", str(len(page))))
    start_response("200 OK", headers)
    return [page[:100], page[100:]]
application = ClickMW(host, secret={secret!r}, store="sqlite:///clicks.db")
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def connected(port: int) -> HTTPConnection:
    deadline = time.monotonic() + 20
    while True:
        connection = HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.connect()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return connection


@pytest.fixture
def gunicorn_port(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "served.py").write_text(SERVED.format(page=PAGE, secret=SECRET))
    port = free_port()
    options = ["-k", "gthread", "--threads", "2", "--keep-alive", "30", "-b", f"127.0.0.1:{port}"]
    server = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", *options, "served:application"],
        cwd=tmp_path,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"PYTHONWARNINGS": "ignore"},
    )
    yield port
    server.send_signal(signal.SIGTERM)
    server.wait(20)


@pytest.mark.skipif(os.name != "posix", reason="gunicorn runs on POSIX only")
def test_fifty_pages_on_one_connection_have_the_length_that_they_say(gunicorn_port: int) -> None:
    connection = connected(gunicorn_port)
    agent = {"User-Agent": BROWSER}
    bodies = []
    for number in range(50):
        connection.request("GET", f"/search?q=tax&n={number}", headers=agent)
        answer = connection.getresponse()
        bodies.append((undone(answer.read()), answer.will_close))
        if number % 10 == 5:  # pages of ours on the same connection
            connection.request("HEAD" if number == 25 else "GET", "/_clicks/r/forged")
            assert connection.getresponse().read()[:9] in (b"<!doctype", b"")
    connection.close()

    assert bodies == [(PAGE + b"x" * number, False) for number in range(50)]


def test_the_reference_server_sends_the_right_length_too(wrap: Wrap) -> None:
    out = io.BytesIO()
    handler = SimpleHandler(io.BytesIO(), out, io.StringIO(), environ_of())
    handler.run(wrap(Host(length=True)))
    head, _, body = out.getvalue().partition(b"\r\n\r\n")

    stated = re.search(rb"Content-Length: (\d+)", head)
    assert stated is not None
    assert int(stated[1]) == len(body)
    assert undone(body) == PAGE
