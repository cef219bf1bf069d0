"""clickmw as a Django middleware, for sites behind WSGI and ASGI alike.

Our own routes are answered here. The report runs through the site's session and login, as a view
of its own URLconf. Every other answer of the site passes by, as it does in a WSGI server.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.core.exceptions import MiddlewareNotUsed
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from clickmw.django import install
from clickmw.middleware import Door
from clickmw.rewrite import Answer

Environ = dict[str, Any]
Headers = list[tuple[str, str]]
_REPORT = "clickmw.django.urls"


class ClickMWMiddleware:
    """Put it right after ``SecurityMiddleware``, before everything that changes a page's body."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        if install.is_quiet():
            raise MiddlewareNotUsed(
                "clickmw does not measure tests; CLICKMW['TESTING'] = True does"
            )
        self.get_response = get_response
        self.door = install.door()
        report = f"{self.door.settings.prefix}/report"
        self._reports = (f"{report}/", f"{report}.")
        self._report = report
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        """Answer one request."""
        if self._is_async:
            return self._answer_later(request)
        environ = environ_of(request)
        if self._is_report(environ["PATH_INFO"]):
            return self._through_the_site(request)
        own = answer_own(self.door, environ)
        if own is not None:
            return own
        passing = Passing(self.door, environ)
        try:
            return passing.take(self.get_response(request))
        finally:
            passing.end_unless_streaming()

    async def _answer_later(self, request: HttpRequest) -> HttpResponseBase:
        environ = environ_of(request)
        path: str = environ["PATH_INFO"]
        if self._is_report(path):
            return await self._through_the_site(request)
        if self.door.is_own(path):
            own = await sync_to_async(answer_own, thread_sensitive=False)(self.door, environ)
            assert own is not None
            return own
        passing = Passing(self.door, environ)
        try:
            return passing.take(await self.get_response(request))
        finally:
            passing.end_unless_streaming()

    def _is_report(self, path: str) -> bool:
        return path == self._report or path.startswith(self._reports[0])

    def _through_the_site(self, request: HttpRequest) -> Any:
        request.urlconf = _REPORT
        return self.get_response(request)


def environ_of(request: HttpRequest) -> Environ:
    """Return the WSGI environ of *request*; made of an ASGI request when there is none.

    The same one each time: what a template says of its results is remembered in it.
    """
    environ: Environ | None = getattr(request, "environ", None)
    if environ is None:
        environ = request.environ = _as_wsgi(request)
    environ[install.REQUEST] = request
    return environ


def _as_wsgi(request: HttpRequest) -> Environ:
    # A WSGI server hands paths on decoded, one character a byte; Django's own are text.
    mount, path = request.META.get("SCRIPT_NAME", ""), request.META.get("PATH_INFO", "")
    return {
        **request.META,
        "SCRIPT_NAME": mount.encode("utf-8", "surrogateescape").decode("latin-1"),
        "PATH_INFO": path.encode("utf-8", "surrogateescape").decode("latin-1"),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.url_scheme": request.scheme,
        "wsgi.input": request,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
    }


def answer_own(door: Door, environ: Environ) -> HttpResponse | None:
    """Return the answer of one of our own routes, None where the site answers."""
    told: list[tuple[str, Headers]] = []
    body = door.answer_own(environ, lambda status, headers, *_: told.append((status, headers)))
    return None if body is None else response_of(body, *told[-1:])


def response_of(body: Any, started: tuple[str, Headers]) -> HttpResponse:
    """Return a WSGI answer as Django's response."""
    status, headers = started
    try:
        response = HttpResponse(b"".join(body), status=int(status[:3]), reason=status[4:])
    finally:
        getattr(body, "close", _nothing)()
    del response.headers["Content-Type"]
    for name, value in headers:
        if name.lower() == "set-cookie":
            response.cookies.load(value)
        else:
            known = response.headers.get(name)
            response.headers[name] = f"{known}, {value}" if known else value
    return response


class Passing:
    """One answer of the site on its way out."""

    def __init__(self, door: Door, environ: Environ) -> None:
        self.door = door
        self.environ = environ
        self._headers: Headers = []
        self._is_streaming = False
        self._answer = door.enter(environ, self._start)

    def _start(self, _status: str, headers: Headers, *_error: Any) -> Callable[[bytes], object]:
        self._headers = headers
        return _nothing

    def take(self, response: HttpResponseBase) -> HttpResponseBase:
        """Return *response*, its links signed where it is a page of results."""
        if self._answer is None:
            return response
        headers = [*response.items(), *(("Set-Cookie", "") for _ in response.cookies)]
        if response.streaming:
            # Its length would say that the whole page is awaited; here the headers leave first.
            headers = [pair for pair in headers if pair[0].lower() != "content-length"]
        self._answer.start_response(f"{response.status_code} {response.reason_phrase}", headers)
        if response.streaming:
            self._stream(response, self._answer)
        else:
            self._rewrite(response, self._answer)
        return response

    def _rewrite(self, response: Any, answer: Answer) -> None:
        body = answer.over([response.content])
        if isinstance(body, list):
            return
        content = b"".join(body)
        if content != response.content:
            response.content = content
        self._say(response)

    def _stream(self, response: Any, answer: Answer) -> None:
        pieces = response.streaming_content
        if answer.over(pieces) is pieces:
            return
        self._is_streaming = True
        self._say(response)
        stream = self._later(pieces, answer) if response.is_async else self._now(pieces, answer)
        response.streaming_content = stream

    def _say(self, response: Any) -> None:
        """Give *response* the headers that go with its new body; its cookies are its own."""
        headers = {name: value for name, value in self._headers if name.lower() != "set-cookie"}
        for name in [name for name in response.headers if name not in headers]:
            del response.headers[name]
        for name, value in headers.items():
            response.headers[name] = value

    def _now(self, pieces: Iterator[bytes], answer: Answer) -> Iterator[bytes]:
        try:
            for piece in pieces:
                yield answer.feed(piece)
            yield answer.finish()
        finally:
            self.door.leave(self.environ)

    async def _later(self, pieces: AsyncIterator[bytes], answer: Answer) -> AsyncIterator[bytes]:
        try:
            async for piece in pieces:
                yield answer.feed(piece)
            yield answer.finish()
        finally:
            self.door.leave(self.environ)

    def end_unless_streaming(self) -> None:
        """End the request, unless its answer is still to be read."""
        if not self._is_streaming:
            self.door.leave(self.environ)


def _nothing(*_: object) -> None:
    pass
