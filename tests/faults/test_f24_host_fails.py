"""F-24: the host's application raises, streams for ever, or its visitor goes away.

Its exception passes through untouched, its answer is streamed as it comes, its ``close()`` is called once; clickmw adds
nothing of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import pytest

from clickmw import ClickMW

#: Kind of store → why none of these tests runs on it.
NOT_ON = dict.fromkeys(
    ("postgresql", "clickhouse"),
    "the host's answers pass through before any store has heard of them",
)

LIST = b'<ol data-click-module="BWEB"><a data-click href="https://example.org/1">one</a></ol>'
HTML = [("Content-Type", "text/html; charset=utf-8"), ("Cache-Control", "private")]


class Body:
    """An answer in parts that counts how often it is closed."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        self.parts = parts
        self.closed = 0

    def __iter__(self) -> Iterator[bytes]:
        return self.parts

    def close(self) -> None:
        self.closed += 1


def ask(clicks: ClickMW) -> tuple[Any, list[Any]]:
    """Return the answer to a page of results, and what ``start_response`` was told."""
    told: list[Any] = []
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/search",
        "QUERY_STRING": "q=tax",
        "SERVER_NAME": "example.org",
        "SERVER_PORT": "80",
        "REMOTE_ADDR": "203.0.113.5",
        "HTTP_ACCEPT": "text/html",
        "HTTP_USER_AGENT": "Mozilla/5.0 Firefox/140.0",
        "wsgi.url_scheme": "http",
        "wsgi.errors": sys.stderr,
    }
    return clicks(environ, lambda *said: told.append(said)), told


@pytest.fixture
def around(site: Any) -> Iterator[Callable[[Any], ClickMW]]:
    made: list[ClickMW] = []

    def make(app: Any) -> ClickMW:
        made.append(ClickMW(app, **site.given))
        return made[-1]

    yield make
    for clicks in made:
        clicks.door.worker.close()


class HostError(Exception):
    pass


def test_f24_an_exception_before_the_answer_is_the_hosts(around: Any) -> None:
    error = HostError("the host's own")

    def app(environ: Any, start_response: Any) -> Any:
        raise error

    with pytest.raises(HostError) as raised:
        ask(around(app))
    assert raised.value is error


def test_f24_an_exception_in_the_middle_of_an_answer_is_the_hosts(around: Any) -> None:
    def parts() -> Iterator[bytes]:
        yield LIST
        raise HostError("the host's own")

    body = Body(parts())

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", HTML)
        return body

    answer, _ = ask(around(app))
    with pytest.raises(HostError):
        list(answer)
    answer.close()
    assert body.closed == 1


def test_f24_an_error_page_of_the_host_replaces_its_answer(around: Any) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", HTML)
        try:
            raise HostError("too late")
        except HostError:
            start_response("500 Oops", [("Content-Type", "text/plain")], sys.exc_info())
        return [b"the host's own error page"]

    answer, told = ask(around(app))
    assert b"".join(answer) == b"the host's own error page"
    assert told[-1][0] == "500 Oops"


def test_f24_an_endless_answer_is_passed_on_as_it_comes(around: Any) -> None:
    def parts() -> Iterator[bytes]:
        yield LIST
        while True:
            yield b"<p>more</p>"

    body = Body(parts())

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", HTML)
        return body

    answer, _ = ask(around(app))
    some = b"".join(islice(iter(answer), 50))
    assert some.count(b"<p>more</p>") >= 40
    answer.close()
    assert body.closed == 1


def test_f24_a_visitor_who_goes_away_leaves_nothing_open(around: Any) -> None:
    body = Body(iter([LIST, LIST, LIST]))

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", HTML)
        return body

    clicks = around(app)
    for _ in range(3):
        body.closed = 0
        answer, _ = ask(clicks)
        next(iter(answer))
        answer.close()
        assert body.closed == 1
    clicks.door.worker.catch_up()


def test_f24_a_failure_of_ours_is_the_hosts_page_untouched(
    around: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", HTML)
        return [LIST]

    clicks = around(app)
    monkeypatch.setattr(clicks.door.recorder, "client", lambda *given: 1 / 0)
    answer, told = ask(clicks)
    assert b">one</a></ol>" in b"".join(answer)
    assert told[0][0] == "200 OK"
