"""Rewriting: the host's answer passes by, and result links leave it signed.

Only an answer that can be a page of results is looked at; everything about it but the links stays
as the host made it: status, headers, the times at which it is sent, the object itself when
nothing was changed. Whatever fails here, the host's own bytes go out.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs

from clickmw.assets import marked_name
from clickmw.caches import is_shared
from clickmw.journal import warn_once_a_minute
from clickmw.pages import PAGES, Listing, ResultPage
from clickmw.recorder import Recorder
from clickmw.scanner import (
    CONTAINER_MARKERS,
    KEEP,
    Container,
    Link,
    Scanner,
    ScanRule,
    charset_is_safe,
)
from clickmw.settings import Settings
from clickmw.sites import Rule
from clickmw.streaming import GZIP_LEVEL, GzipStream, Stream
from clickmw.tokens import LinkSigner
from clickmw.visitors import is_prefetch

Environ = dict[str, Any]
Headers = list[tuple[str, str]]
ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]
StartResponse = Callable[..., Callable[[bytes], object]]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]

WHOLE_BYTES = 4 * 1024 * 1024
_MOST_PATHS = 4096
#: Characters of a path that is remembered: strangers choose what they ask for.
_LONGEST_PATH = 512
_CHARSET = re.compile(r"""charset\s*=\s*["']?([A-Za-z0-9_.:\-]+)""")
#: A directive ends with a semicolon, a policy with a comma.
_NONCE = re.compile(
    r"(?:^|[;,])\s*(?:script-src(?:-elem)?|default-src)\s[^;,]*'nonce-([A-Za-z0-9+/_-]+=*)'",
    re.IGNORECASE,
)
#: Validators and digests that speak of bytes which are no longer sent.
_SPENT = frozenset(("content-md5", "digest", "repr-digest", "content-digest", "accept-ranges"))
_TAKES_GZIP = re.compile(r"\bgzip\b(?!\s*;\s*q=0(?:\.0*)?\s*(?:,|$))", re.IGNORECASE)


class Rewriting:
    """Wrap *app*: sign the marked links of its pages."""

    def __init__(
        self, app: Application, settings: Settings, recorder: Recorder, signer: LinkSigner
    ) -> None:
        self.app = app
        self.settings = settings
        self.recorder = recorder
        self.signer = signer
        self.rules: dict[str, list[Rule]] = {}
        for rule in settings.rules:
            # A server hands a path on decoded, one character a byte.
            self.rules.setdefault(rule.path.encode().decode("latin-1"), []).append(rule)
        #: Paths whose answers were no pages: the door hands the next request there on at once.
        self.plain: set[str] = set()
        #: Paths that carried results: there, only encodings that we can read are offered inwards.
        self.carriers = set(self.rules)
        #: How many answers of the host were pages.
        self.pages = 0

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request of the host."""
        answer = self.begin(environ, start_response)
        if answer is not None:
            return answer.over(self.app(environ, answer.start_response))
        if environ.get("REQUEST_METHOD") == "HEAD" and environ.get("PATH_INFO") in self.carriers:
            start_response = _start_of_head(start_response)
        return self.app(environ, start_response)

    def begin(self, environ: Environ, start_response: StartResponse) -> Answer | None:
        """Return what takes the host's answer to this request, None where nothing is looked at."""
        if environ.get("REQUEST_METHOD") not in ("GET", "POST"):
            return None
        path = environ.get("PATH_INFO", "")
        if path in self.carriers:
            _offer_readable(environ)
        return Answer(self, environ, start_response, path)

    def late(self, environ: Environ, path: str, body: Iterable[bytes]) -> Iterable[bytes]:
        """Take up an answer that was handed on at once, and turned out to have used the helper."""
        self.plain.discard(path)
        return Answer(self, environ, _never_started, path, status="200 OK").over(body)

    def note_plain(self, path: str) -> None:
        """Remember a path whose answer was no page."""
        if len(self.plain) >= _MOST_PATHS:
            self.plain.clear()
        if len(path) <= _LONGEST_PATH:
            self.plain.add(path)

    def note_carrier(self, path: str) -> None:
        """Remember a path whose answer carried results."""
        self.plain.discard(path)
        if len(self.carriers) < _MOST_PATHS and len(path) <= _LONGEST_PATH:
            self.carriers.add(path)

    def note_fault(self, error: Exception) -> None:
        """Count a fault of ours, and say so in the log."""
        self.recorder.tally("unsigned.fault")
        warn_once_a_minute(
            "rewrite", "clickmw: a page could not be rewritten and left unchanged: %r", error
        )

    def note_unreadable(self, environ: Environ, path: str) -> None:
        """A page in br or zstd passes through; where it is a search, ask for gzip next time."""
        self.recorder.tally("rejected.unreadable_encoding")
        if f"{self.settings.query_param}=" in environ.get("QUERY_STRING", ""):
            self.note_carrier(path)


class Answer:
    """One answer of the host: decide what it is when it starts, then let it pass or rewrite it."""

    def __init__(
        self,
        rewriting: Rewriting,
        environ: Environ,
        start_response: StartResponse,
        path: str,
        status: str = "",
    ) -> None:
        self.rewriting = rewriting
        self.environ = environ
        self.path = path
        self._start = start_response
        self._status = status
        self._headers: Headers = []
        self._exc_info: ExcInfo | None = None
        self._mode = "unknown"
        self._sent = self._late = False
        self._whole: list[bytes] = []
        self._found: dict[str, str] = {}
        self._charset = ""
        self._links: PageLinks | None = None
        self._stream: Stream | GzipStream | None = None
        self._write: Callable[[bytes], object] = _not_started
        #: Called when the answer has left, at least once.
        self.on_end: Callable[[], None] = _nothing

    # -- the start -------------------------------------------------------------------------------

    def start_response(
        self, status: str, headers: Headers, exc_info: ExcInfo | None = None
    ) -> Callable[[bytes], object]:
        """Take the host's start; the server hears of it now, or when a whole page is ready."""
        self._status, self._headers, self._exc_info = status, headers, exc_info
        if self._sent:
            return self._start_over(status, headers)
        self._whole = []
        self._mode = self._judge(status, headers)
        if self._mode == "whole":
            return self._whole.append
        if self._mode == "stream":
            headers = _rewritten_headers(headers)
        elif self._mode == "weak":
            headers = _weak(headers)
        self._write = self._start_now(status, headers)
        return self._feed_write if self._mode == "stream" else self._write

    def _start_now(self, status: str, headers: Headers) -> Callable[[bytes], object]:
        self._sent = True
        if self._exc_info is None:
            return self._start(status, headers)
        return self._start(status, headers, self._exc_info)

    def _start_over(self, status: str, headers: Headers) -> Callable[[bytes], object]:
        """Hand on a second start; the server raises when it has sent something of the first."""
        write = self._start_now(status, headers)
        self._mode, self._links, self._stream = "pass", None, None
        return write

    def _judge(self, status: str, headers: Headers) -> str:
        """Return "pass", "weak", "whole" or "stream"; a fault of ours lets the answer pass."""
        self._links = self._stream = None
        try:
            return self._kind(status, _by_name(headers))
        except Exception as error:
            self.rewriting.note_fault(error)
            self._links = self._stream = None
            return "pass"

    def _kind(self, status: str, found: dict[str, str]) -> str:
        """Tell what to do with an answer; only a readable page of status 200 is touched."""
        if not _is_page(found):
            return self._judge_no_page(status, found)
        if not status.startswith("200") or _must_stay(found):
            return "pass"
        self.rewriting.pages += 1
        encoding = found.get("content-encoding", "identity").strip().lower()
        if encoding not in ("identity", "gzip", ""):
            self.rewriting.note_unreadable(self.environ, self.path)
            return "pass"
        charset = _CHARSET.search(found["content-type"].lower())
        if charset and not charset_is_safe(charset[1]):
            return "pass"
        self._charset = charset[1] if charset else "utf-8"
        length = found.get("content-length", "")
        if length.isdecimal() and int(length) <= WHOLE_BYTES:
            self._found = found
            return "whole"
        self._links = PageLinks(self, found, self._charset)
        note_fault = self.rewriting.note_fault
        stream = Stream(self._links.scanner, note_fault)
        self._stream = GzipStream(stream, note_fault) if encoding == "gzip" else stream
        return "stream"

    def _judge_no_page(self, status: str, found: dict[str, str]) -> str:
        if self.path in self.rewriting.carriers:
            return "weak" if status.startswith("304") else "pass"
        # A late starter may use the template helper at any time.
        told = self._late or PAGES in self.environ
        if "content-type" in found and status.startswith("200") and not told:
            self.rewriting.note_plain(self.path)
        return "pass"

    # -- the body --------------------------------------------------------------------------------

    def over(self, body: Iterable[bytes]) -> Iterable[bytes]:
        """Return what the server iterates; the host's own object when there is nothing to change."""
        if self._mode in ("pass", "weak") and PAGES not in self.environ:
            return body
        self._late = self._mode == "unknown"
        return Body(self, body)

    def chunks(self, body: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the answer: as it comes, piece by piece through the scanner, or whole at its end."""
        for chunk in body:
            if self._mode == "whole":
                self._whole.append(chunk)
            else:
                # One piece in, one piece out: a flush of the host stays a flush.
                yield self.feed(chunk)
        rest = self.finish()
        if rest:
            yield rest
        # Not every server closes what it has read to the end.
        self.on_end()

    def feed(self, chunk: bytes) -> bytes:
        """Return what of the answer can go on, now that *chunk* has come."""
        return self._stream.feed(chunk) if self._stream else chunk

    def _feed_write(self, chunk: bytes) -> object:
        return self._write(self.feed(chunk))

    def finish(self) -> bytes:
        """Return the rest of the answer, and record its searches."""
        if self._mode == "stream" and self._stream:
            rest = self._stream.close()
            self.finish_page()
            return rest
        return self._finish_whole() if self._mode == "whole" else b""

    def _finish_whole(self) -> bytes:
        """Rewrite the complete page, start the answer with its new length, return the body."""
        original = b"".join(self._whole)
        body = self._rewritten(original)
        headers = self._headers
        if body is not original:
            headers = [*_rewritten_headers(headers), ("Content-Length", str(len(body)))]
        if self.rewriting.settings.debug:
            links = self._links.scanner.links if self._links else 0
            headers = [*headers, ("X-ClickMW", f"rewritten={links}")]
        self.finish_page()
        self._write = self._start_now(self._status, headers)
        return body

    def _rewritten(self, original: bytes) -> bytes:
        try:
            if self._found.get("content-encoding", "").strip().lower() != "gzip":
                return self._scanned(original)
            inflate = zlib.decompressobj(31)
            page = inflate.decompress(original, WHOLE_BYTES)
            if not inflate.eof or inflate.unused_data:  # too long, cut off, or several members
                return original
            changed = self._scanned(page)
            return original if changed is page else gzip.compress(changed, GZIP_LEVEL, mtime=0)
        except Exception as error:
            self.rewriting.note_fault(error)
            self._links = None
            return original

    def _scanned(self, page: bytes) -> bytes:
        """Return *page* with its links signed; most pages have no mark, and cost no more than that."""
        if self.path not in self.rewriting.rules and not any(
            mark in page for mark in CONTAINER_MARKERS
        ):
            return page
        self._links = PageLinks(self, self._found, self._charset)
        return self._links.scanner.whole(page)

    def finish_page(self) -> None:
        """Record the page's searches, as it leaves."""
        try:
            if self._links:
                self._links.record()
            self._finish_told(self.environ.pop(PAGES, ()))
        except Exception as error:
            self.rewriting.note_fault(error)

    def _finish_told(self, pages: Iterable[ResultPage]) -> None:
        """Record what the template helper was told, unless the answer failed."""
        if self._status.startswith("5") or not self._status:
            return
        for page in pages:
            page.shared = is_shared(_by_name(self._headers))
            page.record()


class Body:
    """The answer's body as the server sees it; ``close`` reaches the host exactly once."""

    def __init__(self, answer: Answer, body: Iterable[bytes]) -> None:
        self.answer = answer
        self._body = body
        self._chunks = answer.chunks(body)
        self._closed = False

    def __iter__(self) -> Iterator[bytes]:
        return self._chunks

    def __next__(self) -> bytes:
        return next(self._chunks)

    def close(self) -> None:
        """Let the host close its body, whatever happened before."""
        if self._closed:
            return
        self._closed = True
        try:
            self.answer.finish_page()
        finally:
            close = getattr(self._body, "close", None)
            try:
                if close is not None:
                    close()
            finally:
                self.answer.on_end()


class PageLinks:
    """What the scanner asks while it reads one page: which links are signed, and how."""

    def __init__(self, answer: Answer, headers: dict[str, str], charset: str) -> None:
        rewriting, environ = answer.rewriting, answer.environ
        self.rewriting = rewriting
        self.environ = environ
        self.path = answer.path
        self.charset = charset
        self.page = ResultPage(environ, rewriting.settings, rewriting.recorder, rewriting.signer)
        self.page.shared = is_shared(headers)
        self.scanner = Scanner(
            self._sign, charset=charset, rules=self._rules(), script=self._script(headers)
        )
        self._listings: dict[int, Listing | None] = {}
        self._clean: bool | None = None

    def _rules(self) -> list[ScanRule]:
        self._own_rules = self.rewriting.rules.get(self.path, [])
        return [
            ScanRule(rule.container, rule.item, rule.link, rule.module) for rule in self._own_rules
        ]

    def _script(self, headers: dict[str, str]) -> bytes:
        settings = self.rewriting.settings
        if not settings.inject_snippet:
            return b""
        address = f"{self.page.prefix}/{marked_name('clickmw.js')}"
        view = "shared" if self.page.shared else "prefetched" if is_prefetch(self.environ) else ""
        mark = f' data-view="{view}"' if view else ""
        nonce = _nonce(headers.get("content-security-policy", ""))
        proof = f' nonce="{nonce}"' if nonce else ""
        return f'<script async src="{address}"{mark}{proof}></script>'.encode()

    def _sign(self, link: Link) -> str | None:
        listing = self._listing(link.container)
        if listing is None:
            return None
        target = self.page.target(link.href, link.base)
        if target is None:
            return None
        search = self.page.search(listing)
        signed = self.page.show(search, target, link.position, link.module, link.item or "")
        return KEEP if signed and self._wants_clean_links() else signed

    def _wants_clean_links(self) -> bool:
        """Robots and opted-out visitors get clean links, on answers that only they receive."""
        if self._clean is None:
            uncounted = self.rewriting.recorder.leaves_uncounted(self.environ)
            self._clean = uncounted and not self.page.shared
        return self._clean

    def _listing(self, container: Container) -> Listing | None:
        if id(container) not in self._listings:
            self._note_containers()
        return self._listings[id(container)]

    def _note_containers(self) -> None:
        """Take note of the page's lists in their order: the first stated total counts."""
        for container in self.scanner.containers[len(self._listings) :]:
            listing = self._listings[id(container)] = self._read(container)
            if listing is not None:
                self.page.search(listing)

    def _read(self, container: Container) -> Listing | None:
        rule = self._own_rules[container.rule] if container.rule is not None else None
        site = self.page.site(container.site, chosen=rule.site if rule else None)
        if site is None:
            self.rewriting.recorder.tally("rejected.unknown_site")
            return None
        query = container.query
        if query is None:
            query = self._parameter(
                (rule and rule.query_param) or self.rewriting.settings.query_param
            )
        return Listing(
            site,
            query,
            container.total,
            container.offset,
            container.language or "",
            container.profile or "",
            container.tag or "",
        )

    def _parameter(self, name: str) -> str:
        text: str = self.environ.get("QUERY_STRING", "")
        try:
            values: dict[str, list[str]] = parse_qs(text, encoding=self.charset, errors="replace")
        except (LookupError, ValueError):
            return ""
        return values.get(name, [""])[0]

    def record(self) -> None:
        """Record the searches of the page, those without any result included."""
        self._note_containers()
        if self.scanner.containers:
            self.rewriting.note_carrier(self.path)
        self.page.leave_to(self.environ.get(PAGES, ()))
        self.page.record()


def _nonce(policy: str) -> str:
    """Return the nonce that lets a script in, "" when the policy names none. Source: CSP level 3."""
    found = _NONCE.search(policy) if "'nonce-" in policy else None
    return found[1] if found else ""


def _must_stay(headers: dict[str, str]) -> bool:
    """Tell whether the host or a proxy said that these bytes are final."""
    return (
        "content-range" in headers
        or headers.get("content-disposition", "").lower().startswith("attachment")
        or "no-transform" in headers.get("cache-control", "").lower()
    )


def _offer_readable(environ: Environ) -> None:
    """Ask the host for what can be rewritten: gzip or nothing, and the whole page."""
    if "HTTP_ACCEPT_ENCODING" in environ:
        accepts_gzip = _TAKES_GZIP.search(environ["HTTP_ACCEPT_ENCODING"])
        environ["HTTP_ACCEPT_ENCODING"] = "gzip" if accepts_gzip else "identity"
    environ.pop("HTTP_RANGE", None)
    environ.pop("HTTP_IF_RANGE", None)


def _by_name(headers: Headers) -> dict[str, str]:
    """Return lower-case name → value; what stands in several headers is one list."""
    found: dict[str, str] = {}
    for name, value in headers:
        key = name.lower()
        found[key] = f"{found[key]}, {value}" if key in found else value
    return found


def _start_of_head(start_response: StartResponse) -> StartResponse:
    """Say nothing of bytes that GET would not send."""

    def start(
        status: str, headers: Headers, exc_info: ExcInfo | None = None
    ) -> Callable[[bytes], object]:
        is_page = status.startswith("200") and _is_page(_by_name(headers))
        told = _rewritten_headers(headers) if is_page else headers
        return start_response(status, told, *([exc_info] if exc_info else []))

    return start


def _is_page(headers: dict[str, str]) -> bool:
    kind = headers.get("content-type", "").lower()
    return kind.startswith(("text/html", "application/xhtml+xml"))


def _rewritten_headers(headers: Headers) -> Headers:
    """Return *headers* for changed bytes: no length, no digest, a weak validator."""
    kept = [
        (name, value)
        for name, value in headers
        if name.lower() not in _SPENT and name.lower() != "content-length"
    ]
    return _weak(kept)


def _weak(headers: Headers) -> Headers:
    return [
        (name, "W/" + value if name.lower() == "etag" and not value.startswith("W/") else value)
        for name, value in headers
    ]


def _nothing() -> None: ...


def _never_started(*_: object) -> Callable[[bytes], object]:
    return _not_started


def _not_started(_chunk: bytes) -> object:
    raise AssertionError("write() before start_response()")
