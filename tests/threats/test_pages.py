"""Pages that pass by: only what their author marked is touched, and nothing they need is broken."""

from __future__ import annotations

import gzip
import http.client
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from clickmw.demo import running

threat = pytest.mark.threat


def marked(more: str) -> bytes:
    return f'<ol data-click-module="B" {more}><a data-click href="https://a.example/">x</a></ol>'.encode()


@threat("T-20", asvs="3.2.1")
def test_t20_only_what_the_author_marked_is_signed(site: Any) -> None:
    page = site.ask("/search").text
    assert page.count("/_clicks/r/") == 2
    assert '<a href="https://spam.example/">buy</a>' in page
    said_by_strangers = (
        '<ol data-click-module="B"><li>&lt;a data-click href="https://spam.example/"&gt;x&lt;/a&gt;'
        '<textarea><a data-click href="https://spam.example/">x</a></textarea>'
        "<script>\"<a data-click href='https://spam.example/'>\"</script>"
        '<!-- <a data-click href="https://spam.example/">x</a> -->'
        "<p title='<a data-click href=\"https://spam.example/\">'>x</p></ol>"
    )
    site.page = said_by_strangers.encode()
    assert site.ask("/search").body == site.page


MARKS = ['"><script>alert(1)</script>', "B B", "x" * 33, "ü", "B'onclick=alert(1)", "{{7*7}}"]
POSITIONS = ["1e9", "-1", "0", "100001", "1.5", '1"><script>', "٣", "9" * 5000, "NaN"]


@threat("T-21", asvs="1.2.1, 2.2.1")
@pytest.mark.parametrize("value", POSITIONS, ids=lambda text: ascii(text[:9]))
def test_t21_a_position_that_is_none_is_not_written_anywhere(value: str, site: Any) -> None:
    quoted = value.replace('"', "&quot;")
    site.page = (
        f'<ol data-click-module="B"><a data-click data-click-position="{quoted}" href="/a">x</a></ol>'
    ).encode()
    page = site.ask("/search")
    assert page.text.count("<script>") == site.page.count(b"<script>")
    found = site.rows("SELECT position FROM impressions")
    assert [row for row in found if not 1 <= (row[0] or 1) <= 100_000] == []


@threat("T-21", asvs="1.2.1, 2.2.1")
@pytest.mark.parametrize("value", MARKS)
def test_t21_a_module_that_is_none_signs_nothing(value: str, site: Any) -> None:
    quoted = value.replace('"', "&quot;")
    site.page = (
        f'<ol data-click-module="{quoted}"><a data-click href="https://a.example/">x</a></ol>'
    ).encode()
    assert "/_clicks/r/" not in site.ask("/search").text


@threat("T-22", asvs="4.2.2")
def test_t22_every_body_is_as_long_as_its_header_says(site: Any) -> None:
    with running(site.clicks, 0) as address:
        host = address.removeprefix("http://")
        for number in range(20):
            with closing(http.client.HTTPConnection(host, timeout=20)) as connection:
                site.headers = [
                    ("Content-Type", "text/html"),
                    ("Content-Length", str(len(site.page))),
                    ("Cache-Control", "private"),
                ]
                agent = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0"}
                connection.request("GET", f"/search?q={number}", headers=agent)
                answer = connection.getresponse()
                body = answer.read()
                assert len(body) == int(answer.headers["Content-Length"])
                assert body.count(b"/_clicks/r/") == 2


UNTOUCHED = [
    ("404 Not Found", [("Content-Type", "text/html")]),
    ("206 Partial Content", [("Content-Type", "text/html")]),
    ("200 OK", [("Content-Type", "text/plain")]),
    ("200 OK", [("Content-Type", "application/json")]),
    ("200 OK", [("Content-Type", "text/html"), ("Content-Encoding", "br")]),
    ("200 OK", [("Content-Type", "text/html"), ("Content-Encoding", "zstd")]),
    ("200 OK", [("Content-Type", "text/html"), ("Content-Range", "bytes 0-9/99")]),
    (
        "200 OK",
        [("Content-Type", "text/html"), ("Content-Disposition", "attachment; filename=a.html")],
    ),
    ("200 OK", [("Content-Type", "text/html"), ("Cache-Control", "no-transform")]),
    ("200 OK", [("Content-Type", "text/html; charset=utf-16")]),
    ("200 OK", [("Content-Type", "text/html; charset=iso-2022-jp")]),
    ("200 OK", []),
]


@threat("T-23", asvs="4.1.1", result="held; long and compressed pages are read as well")
@pytest.mark.parametrize(("status", "headers"), UNTOUCHED)
def test_t23_what_must_not_be_touched_is_the_hosts_own_object(
    status: str, headers: list[tuple[str, str]], site: Any
) -> None:
    body = [site.page]

    def host(_environ: Any, start_response: Callable[..., Any]) -> list[bytes]:
        start_response(status, headers)
        return body

    site.door.app = site.door.rewriting.app = host
    told: list[Any] = []
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/search", "QUERY_STRING": "q=x"}
    answered = site.clicks(environ, lambda status, headers, *_: told.append((status, headers)))
    assert answered is body
    assert told == [(status, headers)]


@threat("T-23", asvs="4.1.1", result="held; long and compressed pages are read as well")
def test_t23_a_page_in_gzip_or_of_any_length_is_read_and_never_broken(site: Any) -> None:
    site.headers = [*site.headers, ("Content-Encoding", "gzip")]
    plain, site.page = site.page, gzip.compress(site.page)
    assert gzip.decompress(site.ask("/search").body).count(b"/_clicks/r/") == 2
    site.page = gzip.compress(plain)[:-9]
    assert site.ask("/search").status == 200
    site.headers = site.headers[:-1]
    site.page = b"<p>" + b"x" * 5_000_000 + plain
    assert site.ask("/search").body.count(b"/_clicks/r/") == 2


@threat("T-24", asvs="14.3.2", result="held; tags become weak")
def test_t24_no_validator_speaks_of_bytes_that_were_not_sent(site: Any) -> None:
    spent = ["Content-MD5", "Digest", "Repr-Digest", "Content-Digest", "Accept-Ranges"]
    site.headers += [("ETag", '"strong"'), *((name, "x") for name in spent)]
    answer = site.ask("/search")
    assert answer.headers["etag"] == 'W/"strong"'
    assert not {name.lower() for name in spent} & answer.headers.keys()


@threat("T-25", asvs="14.3.2", result="held; a shared page is the same for all")
def test_t25_a_page_that_a_cache_keeps_counts_for_each_visitor(site: Any) -> None:
    site.headers = [("Content-Type", "text/html"), ("Cache-Control", "public, max-age=600")]
    kept = site.ask("/search").text
    link = kept.partition('href="')[2].partition('"')[0]
    for robot in ("Googlebot/2.1", "curl/8"):
        assert "/_clicks/r/" in site.ask("/search", HTTP_USER_AGENT=robot).text
    for number in (1, 2):
        assert site.ask(link, REMOTE_ADDR=f"198.51.100.{number}").status == 302
    assert site.counted == 2
    assert site.rows("SELECT DISTINCT visitor FROM searches WHERE shared = 1") in (
        [(None,)],
        [("",)],
    )


HOSTILE = {
    "a hundred thousand beginnings": b"<a" * 100_000,
    "an open quote": b'<a data-click href="' + b"x" * 2_000_000,
    "an open comment": b"<!--" + b"<a data-click href=/a>" * 50_000,
    "a script with links": b'<script>"' + b"<a data-click href='/a'>" * 50_000 + b'"</script>',
    "half a million smaller-than": b"<" * 500_000,
    "deep nesting": b"<div data-click-module=B>" * 4_000,
    "many attributes": b"<a " + b"a=b " * 200_000 + b">",
    "many quotes": b"<a x='" * 100_000,
}


@threat("T-26", asvs="15.2.2")
@pytest.mark.parametrize("name", HOSTILE)
def test_t26_a_hostile_page_costs_its_length_and_arrives_as_it_was(name: str, site: Any) -> None:
    """Twice the page is at most twice the work, with room for the noise of a busy machine."""
    start = b'<ol data-click-module="B">'

    def cost(page: bytes) -> float:
        site.page = start + page
        times = []
        for _ in range(3):
            begun = time.process_time()
            answer = site.ask("/search")
            times.append(time.process_time() - begun)
        if b"/_clicks/r/" not in answer.body:
            assert answer.body == site.page
        return min(times)

    page = HOSTILE[name]
    half, whole = cost(page[: len(page) // 2]), cost(page)
    assert whole < 4 * half + 0.2


@threat("T-27", asvs="16.5.2")
def test_t27_a_bug_of_ours_costs_no_byte_of_the_page(site: Any, monkeypatch: Any) -> None:
    for place in (
        "clickmw.rewrite.PageLinks",
        "clickmw.scanner.Scanner._scan",
        "clickmw.pages.resolve",
    ):
        with monkeypatch.context() as patch:
            patch.setattr(place, lambda *_a, **_k: 1 / 0)
            for number in range(3):
                assert site.ask("/search", query=f"q={number}").body == site.page
    site.ledger()
    assert b"/_clicks/r/" in site.ask("/search").body


@threat("T-28", asvs="3.4.3")
def test_t28_the_snippet_needs_no_more_than_its_nonce(site: Any) -> None:
    site.headers += [
        (
            "Content-Security-Policy",
            "default-src 'none'; script-src 'nonce-abc123'; connect-src 'self'",
        )
    ]
    page = site.ask("/search").text
    (tag,) = [part for part in page.split("<") if part.startswith("script")]
    assert ' nonce="abc123"' in tag
    assert tag.endswith('async src="' + tag.partition('src="')[2])
    for word in (" style=", " onclick=", "javascript:"):
        assert word not in page
    for policy in ("script-src 'nonce-\"><script>'", "script-src 'nonce-a b'", "script-src 'self'"):
        site.headers = [*site.headers[:-1], ("Content-Security-Policy", policy)]
        assert "nonce=" not in site.ask("/search").text


@pytest.mark.wide
@threat("T-28", asvs="3.4.3")
def test_t28_a_strict_policy_is_not_broken_in_a_browser(real_site: Any, profile_of: Any) -> None:
    policy = "default-src 'none'; script-src 'nonce-x'; connect-src 'self'; require-trusted-types-for 'script'"
    page = (
        '<!doctype html><title>s</title><body><ol data-click-module="B">'
        "<a data-click href='/a'>a</a></ol></body>"
    )
    headers = {"Content-Security-Policy": policy, "Cache-Control": "private"}
    real_site.pages["/search"] = (page, headers)
    tab = profile_of().new_page()
    tab.add_init_script(
        "window.broken=[];document.addEventListener('securitypolicyviolation',"
        "e=>window.broken.push(e.violatedDirective+e.blockedURI))"
    )
    tab.goto(f"{real_site.address}/search", wait_until="load")
    broken = tab.evaluate("window.broken")
    tab.click("a")
    tab.wait_for_url("**/a")
    assert broken == []
    assert len(real_site.wait("clicks", seconds=20.0)) == 1
