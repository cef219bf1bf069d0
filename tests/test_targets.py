"""Where a result link may lead, judged by what a browser would do."""

# ruff: noqa: RUF001  characters that look like others are the subject
from __future__ import annotations

import json
import shutil
import subprocess
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clickmw.targets import (
    HOST_LIMIT,
    Target,
    _ascii_host,
    _compared,
    ascii_host,
    host_of,
    keeps_host,
    problem,
    resolve,
    without_user,
)

HOST = "www.example.org"


def follow(href: str, **changes: object) -> Target | str:
    return resolve(href, **({"page_path": "/docs/search", "page_host": HOST} | changes))  # type: ignore[arg-type]


def location(href: str, **changes: object) -> str:
    found = follow(href, **changes)
    assert isinstance(found, Target), found
    return found.location


@pytest.mark.parametrize(
    ("href", "expected"),
    [
        ("https://other.example/a?b=1#c", "https://other.example/a?b=1#c"),
        ("HTTPS://Other.Example:443", "https://other.example/"),
        ("http://other.example:8080/a", "http://other.example:8080/a"),
        ("http://other.example:/a", "http://other.example/a"),
        ("https://other.example?b", "https://other.example/?b"),
        ("https://other.example/a/./b/../c/%2E%2e/d", "https://other.example/a/d"),
        ("https://other.example/a/..", "https://other.example/"),
        ("https://other.example/grün?q=ü#ß", "https://other.example/gr%C3%BCn?q=%C3%BC#%C3%9F"),
        ("https://other.example/a b?c d#e f", "https://other.example/a%20b?c%20d#e%20f"),
        ("https://other.example/%zz%0d%0a", "https://other.example/%zz%0d%0a"),
        ("https://other.example//a//b", "https://other.example//a//b"),
        ("https://other.example/?next=\\x", "https://other.example/?next=\\x"),
        ("https://Other.example/?next=\\x#\\y", "https://other.example/?next=\\x#\\y"),
        ("https://other.example/\"'<>", "https://other.example/%22%27%3C%3E"),
        ("https://bücher.example/", "https://xn--bcher-kva.example/"),
        ("https://straße.example/", "https://xn--strae-oqa.example/"),
        ("https://xn--bcher-kva.example/", "https://xn--bcher-kva.example/"),
        ("https://other。example/", "https://other.example/"),
        ("//other.example/a", "https://other.example/a"),
    ],
)
def test_a_foreign_target_is_what_the_browser_would_open(href: str, expected: str) -> None:
    assert follow(href) == Target(expected, False)


@pytest.mark.parametrize(
    ("href", "expected"),
    [
        ("/a?b=1#c", "/a?b=1#c"),
        ("a", "/docs/a"),
        ("./a", "/docs/a"),
        ("../a", "/a"),
        ("../../../a", "/a"),
        (".", "/docs/"),
        ("..", "/"),
        ("?q=1", "/docs/search?q=1"),
        ("a?", "/docs/a?"),
        ("/a//b", "/a//b"),
        ("a:b/c", "scheme"),
        ("./a:b", "/docs/a:b"),
        ("/a/.%2E/b", "/b"),
        ("http://www.example.org/a", "/a"),
        ("https://WWW.example.org:443/a", "/a"),
        ("//www.example.org/a?b", "/a?b"),
        ("/ä", "/%C3%A4"),
    ],
)
def test_a_target_on_the_own_host_is_an_absolute_path(href: str, expected: str) -> None:
    found = follow(href)
    assert found == (Target(expected, True) if expected.startswith("/") else expected)


@pytest.mark.parametrize(
    ("href", "reason"),
    [
        ("", "empty"),
        ("#top", "fragment"),
        ("javascript:alert(1)", "scheme"),
        ("JaVaScRiPt:alert(1)", "scheme"),
        ("data:text/html,x", "scheme"),
        ("vbscript:x", "scheme"),
        ("blob:https://other.example/1", "scheme"),
        ("file:///etc/passwd", "scheme"),
        ("mailto:a@other.example", "scheme"),
        ("ftp://other.example/", "scheme"),
        ("java\nscript:alert(1)", "control"),
        ("\tjavascript:alert(1)", "control"),
        ("https://exam\tple.org/", "control"),
        ("https://example.org/\r\nSet-Cookie: a=b", "control"),
        ("https://example.org/\x00", "control"),
        ("https://example.org/\x7f", "control"),
        ("https://example.org/\ud800", "control"),
        ("https://example.org/\u2028", "control"),
        (" https://example.org/", "space"),
        ("https://example.org/ ", "space"),
        ("\u00a0https://example.org/", "space"),
        ("/\\evil.example", "backslash"),
        ("\\\\evil.example", "backslash"),
        ("https:\\\\evil.example", "backslash"),
        ("https://evil.example\\@a.example", "backslash"),
        ("https://a\\.evil.example", "backslash"),
        ("https://a@evil.example/", "userinfo"),
        ("https://a:b@evil.example/", "userinfo"),
        ("https://@evil.example/", "userinfo"),
        ("///evil.example", "host"),
        ("////evil.example", "host"),
        ("https:///evil.example", "host"),
        ("https:/evil.example", "host"),
        ("https:evil.example", "host"),
        ("https:", "host"),
        ("https://", "host"),
        ("https://?a", "host"),
        ("//", "host"),
        ("https://[::1", "host"),
        ("https://[1:2:3]/", "host"),
        ("https://" + "\u00df" * 20 + "a" * 40 + ".example/", "host"),
        ("https://a\u1806b.example/", "host"),
        ("https://a b.example/", "host"),
        ("https://a%2eexample.com/", "host"),
        ("https://a..example/", "host"),
        ("https://.example.com/", "host"),
        ("https://a⁄b.example/", "host"),
        ("https://xn--a.example/", "host"),
        ("https://" + "a" * 64 + ".example/", "host"),
        ("https://other.example:99999/", "port"),
        ("https://other.example:abc/", "port"),
        ("https://other.example:-1/", "port"),
        ("https://other.example:٣/", "port"),
        ("http://localhost/", "private"),
        ("http://app.localhost/", "private"),
        ("http://intranet/", "private"),
        ("http://intranet./", "private"),
        ("http://127.0.0.1/", "private"),
        ("http://0x7f.1/", "private"),
        ("http://2130706433/", "private"),
        ("http://169.254.169.254/latest", "private"),
        ("http://10.0.0.1./", "private"),
        ("http://a.0x/", "private"),
        ("http://１２７.0.0.1/", "private"),
        ("http://[::1]/", "private"),
        ("http://[::ffff:127.0.0.1]/", "private"),
        ("https://www.example.org//evil.example", "path"),
        ("/a/..//evil.example", "path"),
        ("..//evil.example", "path"),
        ("https://other.example/" + "a" * 2048, "length"),
        ("https://other.example/" + "ü" * 1000, "length"),
    ],
)
def test_a_link_that_programs_may_read_differently_is_not_signed(href: str, reason: str) -> None:
    assert follow(href) == reason


def test_a_relative_link_begins_from_the_base() -> None:
    assert location("a", base="/manual/") == "/manual/a"
    assert location("a", base="../x/y") == "/x/a"
    assert location("a", base="https://cdn.example/m/") == "https://cdn.example/m/a"
    assert location("/a", base="http://cdn.example/m/") == "http://cdn.example/a"
    assert location("//o.example/a", base="http://cdn.example/m/") == "http://o.example/a"
    assert location("a", base="  ") == "/docs/a"
    assert location("a", base="\f/manual/\t") == "/manual/a"


@pytest.mark.parametrize(
    ("base", "keeps"),
    [
        *(("", True), ("/x/", True), ("../x", True), ("?x", True), ("//DOCS.example.org", True)),
        *(("http://docs.example.org:80/", True), ("https://docs.example.org./", False)),
        *(("https://docs.example.org:8443/", False), ("//cdn.example/", False)),
        *(("data:text/html,x", False), ("\\\\cdn.example", False), ("https:x", False)),
        *(("//docs.example.org:443/", True), ("//docs.example.org:80/", False)),
    ],
)
def test_paths_are_the_pages_own_below_a_base_of_its_host(base: str, keeps: bool) -> None:
    host = "docs.example.org"
    assert keeps_host(base, page_path="/docs/search", page_host=host) is keeps


@pytest.mark.parametrize(
    ("base", "reason"),
    [
        ("javascript:x", "scheme"),
        ("https://a@evil.example/", "userinfo"),
        ("http://127.0.0.1/", "private"),
        ("/\\evil.example", "backslash"),
        ("///evil.example", "host"),
    ],
)
def test_a_strange_base_spoils_relative_links_only(base: str, reason: str) -> None:
    assert follow("a", base=base) == reason
    assert location("https://other.example/", base=base) == "https://other.example/"


@pytest.mark.parametrize(
    "host", ["localhost:8000", "127.0.0.1:5000", "[::1]:8000", "intranet", "shop.example:8443"]
)
def test_the_pages_own_host_may_be_a_private_one(host: str) -> None:
    assert follow(f"http://{host}/a", page_host=host) == Target("/a", True)


def test_another_port_is_another_host() -> None:
    assert follow("https://www.example.org/a", page_host=f"{HOST}:443") == Target("/a", True)
    assert follow("http://www.example.org/a", page_host=f"{HOST}:80") == Target("/a", True)
    assert follow("http://shop.example:81/a", page_host="shop.example:80") == Target(
        "http://shop.example:81/a", False
    )
    assert follow("http://shop.example/a", page_host="shop.example:80") == Target("/a", True)


@pytest.mark.parametrize("host", ["", "a b", "a:99999", "evil.example/..", "[::1"])
def test_a_broken_host_header_owns_nothing(host: str) -> None:
    assert follow("https://other.example/a", page_host=host) == Target(
        "https://other.example/a", False
    )
    assert follow("/a", page_host=host) == Target("/a", True)


def test_a_page_path_that_looks_like_a_host_signs_no_relative_link() -> None:
    assert follow("a", page_path="//evil.example/x") == "path"
    assert follow("?q=1", page_path="//evil.example") == "path"


def test_target_hosts_limit_foreign_links_and_admit_private_ones() -> None:
    known = frozenset({"good.example", "intranet", "10.0.0.7", "[::1]"})
    assert (
        location("https://good.example:8443/", target_hosts=known) == "https://good.example:8443/"
    )
    assert location("https://good.example/", target_hosts=known) == "https://good.example/"
    assert location("http://intranet/a", target_hosts=known) == "http://intranet/a"
    assert location("http://10.0.0.7/a", target_hosts=known) == "http://10.0.0.7/a"
    assert location("http://[0::1]/a", target_hosts=known) == "http://[::1]/a"
    assert location("/a", target_hosts=known) == "/a"
    assert follow("https://other.example/", target_hosts=known) == "host"
    assert follow("http://10.7/", target_hosts=known | {"10.7"}) == "private"


def test_links_without_a_scheme_take_that_of_the_page() -> None:
    assert location("//other.example/", page_scheme="http") == "http://other.example/"


@pytest.mark.parametrize(
    ("signed", "reason"),
    [
        ("https://other.example/a", None),
        ("/a?b#c", None),
        ("/", None),
        ("//evil.example", "changed"),
        ("/\\evil.example", "backslash"),
        ("/a/../b", "changed"),
        ("https://OTHER.example/", "changed"),
        ("https://other.example", "changed"),
        ("https://other.example/\r\nA: b", "control"),
        ("javascript:x", "scheme"),
        ("http://127.0.0.1/", "private"),
        ("a", "changed"),
        ("", "empty"),
    ],
)
def test_a_signed_location_is_checked_again(signed: str, reason: str | None) -> None:
    assert problem(signed) == reason


def test_a_signed_location_is_held_against_target_hosts() -> None:
    assert problem("https://other.example/", target_hosts=frozenset({"good.example"})) == "host"
    assert problem("/a", target_hosts=frozenset({"good.example"})) is None


@pytest.mark.parametrize(
    ("signed", "host"),
    [
        ("https://Other.example:81/a", "other.example"),
        ("http://[::1]:81/a", "[::1]"),
        ("https://other.example?x=://b", "other.example"),
        ("https://user:word@other.example:81/a@b", "other.example"),
        ("https://good.example@other.example/", "other.example"),
        ("/a?u=https://b.example/", ""),
        ("", ""),
    ],
)
def test_the_host_of_a_location_has_neither_port_nor_user(signed: str, host: str) -> None:
    assert host_of(signed) == host


@pytest.mark.parametrize(
    ("written", "compared"),
    [
        ("WWW.Example.org:8000", "www.example.org"),
        ("example.org.", "example.org"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("[::1]:80", "[::1]"),
        ("a b", ""),
        ("", ""),
    ],
)
def test_hosts_are_compared_in_one_form(written: str, compared: str) -> None:
    assert ascii_host(written) == compared


def test_a_host_that_no_name_is_as_long_as_is_none_and_owns_nothing() -> None:
    assert ascii_host("a" * (HOST_LIMIT + 1)) == ""
    long = "a." * (HOST_LIMIT // 2 + 1)
    assert follow(f"https://{long}/", page_host=long) == "host"
    assert follow("https://other.example/", page_host=long) == Target(
        "https://other.example/", False
    )


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://joe:pw@a.example/x@y?z=@#@", "https://a.example/x@y?z=@#@"),
        ("HTTPS://joe@a.example", "HTTPS://a.example"),
        ("https://joe:p@w@a.example:81/", "https://a.example:81/"),
        ("https:joe@a.example/", "https:a.example/"),
        ("https:/joe@a.example/", "https:/a.example/"),
        ("https:\\\\joe@a.example\\@b", "https:\\\\a.example\\@b"),
        ("//joe@a.example/", "//a.example/"),
        ("ftp://joe@a.example/", "ftp://a.example/"),
        ("ftp:joe@a.example/", "ftp:a.example/"),
        ("https://@a.example/", "https://a.example/"),
        ("https://a.example/@joe", "https://a.example/@joe"),
        ("https://a.example?joe@b", "https://a.example?joe@b"),
        ("/a@b", "/a@b"),
        ("mailto:joe@a.example", "mailto:joe@a.example"),
        ("joe@a.example", "joe@a.example"),
        ("", ""),
    ],
)
def test_user_and_password_are_left_out(url: str, kept: str) -> None:
    assert without_user(url) == kept


PIECES = st.sampled_from(
    ["http:", "https:", "HTTP:", "/", "//", "\\", "@", ":", "?", "#", ".", "..", "%2e", "%", "a", "evil.example",
     "www.example.org", "127.0.0.1", "0x7f", "[::1]", "localhost", "xn--", "ü", "ß", "。", "\t", " ", "'", '"',
     "<", ">", "`", "{", "^", "|", ";", "&", "=", "80", ":80", ":443", "\u200d", "א", "é", "é"]
)  # fmt: skip
NASTY = st.lists(PIECES, max_size=9).map("".join) | st.text(max_size=40)


@settings(max_examples=1500, deadline=None)
@given(NASTY, st.none() | NASTY)
def test_a_location_is_printable_and_stays_as_it_is(href: str, base: str | None) -> None:
    found = follow(href, base=base)
    if isinstance(found, str):
        return
    assert all("!" <= char <= "~" and char not in "\"'<>" for char in found.location)
    assert problem(found.location) is None
    assert found.own == found.location.startswith("/")
    assert not found.location.startswith(("//", "/\\"))


def browser_answers(hrefs: list[str], base: str) -> list[list[str] | None]:
    """Return [protocol, host, href] of each URL as Node's parser reads it, None when it cannot."""
    program = (
        "let s='';process.stdin.on('data',d=>s+=d).on('end',()=>{const [h,b]=JSON.parse(s);"
        "console.log(JSON.stringify(h.map(x=>{try{const u=new URL(x,b);"
        "return [u.protocol,u.host,u.href]}catch{return null}})))})"
    )
    node = shutil.which("node")
    assert node is not None
    answer = subprocess.run(
        [node, "-e", program],
        input=json.dumps([hrefs, base]),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return list(json.loads(answer.stdout))


SCHEMES = [
    "",
    "http:",
    "https:",
    "HTTPS:",
    "//",
    "http://",
    "https://",
    "///",
    "https:/",
    "https:///",
]
HOSTS = [
    "evil.example", "EVIL.example", "www.example.org", "a@evil.example", "evil.example\\@a", "evil.example:80",
    "evil.example:443", "evil.example:0443", "evil.example:65536", "evil.example.", "evil..example", "-a.example",
    "a_b.example", "0x7f.1", "1.2.3", "a.0x7f", "a.1b", "[::1]", "[::1", "[1:2::3:0:0:4]", "bücher.example",
    "straße.example", "ΒΌΛΟΣ.example", "βόλος.example", "ΒΌΛΟΣ-x.example", "\U0001d6ba-x.example", "\u03f2.example", "\U0001d6d3.example", "a\u0660b.example", "a\u115fb.example", "е.example", "evil。example", "evil．example", "ⓔvil.example",
    "evil⁄x.example", "℀.example", "☃.example", "xn--n3h.example", "xn--a.example", "xn--.example", "xn--strae-oqa.example",
    "a\u00adb.example", "a\u200db.example", "नी\u200dx.example", "אב.example", "1a.אב", "א1.example", "a%41.example",
    "%65vil.example", "evil.example%00", "a b.example", "a<b.example", "a^b.example", "a|b.example", "ﬃ.example",
    "㋿.example", "ẞ.example", "Ӏ.example", "İ.example", "ſ.example", "K.example", "１.2.3.4", "evil.example:٣",
    "a--b.example", "ab--c.example", "xn--ab--c.example", "e\u0301.example", "\u0301e.example", "a·b.example", "l·l.example",
]  # fmt: skip
TAILS = [
    "",
    "/",
    "/a b",
    "/../x",
    "/.%2e/x",
    "/%2E/",
    "?x",
    "#x",
    "/'\"<>`{}|^",
    "/ü?ü#ü",
    "\\x",
    "/?\\",
    "/a\tb",
    "//x",
]
RELATIVES = [
    ".", "..", "a", "./a", "../../..", "a/../..", "?", "?x", "a?b?c#d#e", "/", "/.", "/..", "/./a", "/.//a", "/a/..//b",
    "%2e%2e/a", "%2e/a", "a/%2E%2E/b", ".%2e", "a:b", "1:2", "./a:b", ":a", "//", "//evil.example", "/\\evil.example",
    "\\evil.example", "/%5cevil.example", "/%2fevil.example", "/a;b", "/a%", "/%zz", "/ü", " a", "a ", "\na", "…", "/~a",
]  # fmt: skip


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_whatever_is_signed_opens_the_same_host_in_a_browser() -> None:
    hrefs = [scheme + host for scheme in SCHEMES for host in HOSTS]
    hrefs += ["https://evil.example" + tail for tail in TAILS]
    hrefs += ["//www.example.org" + tail for tail in TAILS] + RELATIVES
    base = f"https://{HOST}/docs/search"
    differing = []
    for href, answer in zip(hrefs, browser_answers(hrefs, base), strict=True):
        found = follow(href)
        if isinstance(found, str):
            continue
        ours = f"https://{HOST}{found.location}" if found.own else found.location
        parts = urlsplit(ours)
        if answer is None or [f"{parts.scheme}:", parts.netloc] != (
            ["https:", answer[1]] if found.own else answer[:2]
        ):
            differing.append((href, found, answer))
    assert differing == []


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_ordinary_links_come_out_as_a_browser_writes_them() -> None:
    hrefs = ["https://evil.example" + tail for tail in TAILS if not set(tail) & set("\\\t'^")]
    hrefs += [one for one in RELATIVES if isinstance(follow(one), Target)]
    answers = browser_answers(hrefs, f"https://{HOST}/docs/search")
    written = [one and one[2].removeprefix(f"https://{HOST}") for one in answers]
    assert [location(href) for href in hrefs] == written


def test_a_location_has_at_most_2048_characters() -> None:
    start = "https://other.example/"
    assert location(start + "a" * (2048 - len(start))) == start + "a" * (2048 - len(start))
    assert follow(start + "a" * (2049 - len(start))) == "length"
    assert problem(start + "a" * (2048 - len(start))) is None
    assert problem(start + "a" * (2049 - len(start))) == "length"
    assert follow("/" + "a" * 2047) == Target("/" + "a" * 2047, True)
    assert follow("/" + "a" * 2048) == "length"
    careful = "https://OTHER.example/"
    assert location(careful + "a" * (2048 - len(start))) == start + "a" * (2048 - len(start))
    assert follow("/a/../" * 400) == "length"


def test_the_last_port_and_the_longest_label_are_signed() -> None:
    assert location("https://other.example:65535/") == "https://other.example:65535/"
    assert follow("https://other.example:65536/") == "port"
    for plain in range(40, 70):
        label = "ü" + "a" * plain
        encoded = "xn--" + label.encode("punycode").decode()
        expected = f"https://{encoded}.example/" if len(encoded) <= 63 else "host"
        found = follow(f"https://{label}.example/")
        assert (found.location if isinstance(found, Target) else found) == expected
        assert follow(f"https://{encoded}.example/") == found
    assert location("https://データー.example/") == "https://xn--5ckp3nb.example/"
    assert follow("https://ü_a.example/") == "host"


def test_the_longest_host_and_its_longest_port_are_signed() -> None:
    for length in (252, 253, 254):
        host = ("A" * 49 + ".") * 5 + "a" * (length - 250)
        found = follow(f"https://{host}/")
        assert found == (Target(f"https://{host.lower()}/", False) if length < 254 else "host")
    assert location("https://other.example:00000443/") == "https://other.example/"
    assert follow("https://other.example:000000443/") == "port"


@pytest.mark.parametrize(
    ("label", "encoded"),
    [
        pytest.param("हिन्दी", "xn--j2bd4cyah0f", id="marks with and without a width"),
        pytest.param("क१", "xn--11b8n", id="digits of another script"),
        pytest.param("❤", "xn--qei", id="a symbol"),
        pytest.param("ա֊բ", "xn--y9ac3j", id="a hyphen of another script"),
        pytest.param("bü-cher0", "xn--b-cher0-n2a", id="a hyphen and nought"),
        pytest.param("عرب", "xn--ngbrx", id="from right to left"),
        pytest.param("XN-a", "xn-a", id="nearly punycode"),
        pytest.param("ｘn-a", "xn-a", id="nearly punycode, wide"),
    ],
)
def test_a_label_of_any_script_is_signed_as_browsers_write_it(label: str, encoded: str) -> None:
    assert location(f"https://{label}.example/") == f"https://{encoded}.example/"


@pytest.mark.parametrize(
    "label", ["a\u115fb", "a\u1160b", "a\u17b4b", "a\u17b5b", "ab--ü", "ü-", "-ü"]
)
def test_a_label_that_shows_less_than_it_is_or_looks_encoded_is_not_signed(label: str) -> None:
    encoded = "xn--" + label.encode("punycode").decode()
    assert follow(f"https://{label}.example/") == "host"
    assert follow(f"https://{encoded}.example/") == "host"


def test_a_host_that_is_too_long_is_not_remembered() -> None:
    for length, remembered in ((HOST_LIMIT + 1, 0), (HOST_LIMIT, 1)):
        for look, cache in (
            (lambda host: ascii_host(host), _ascii_host),
            (lambda host: follow("https://a.example/", page_host=host), _compared),
        ):
            cache.cache_clear()
            look("a" * length)
            assert cache.cache_info().misses == remembered


def test_target_hosts_bound_links_of_every_spelling() -> None:
    known = frozenset({"good.example"})
    for href in (
        "https://Other.example/",
        "//other.example/a",
        "https://other.example:81/",
        "https://ü.example/",
    ):
        assert follow(href, target_hosts=known) == "host"
        assert isinstance(follow(href), Target)
    assert location("https://GOOD.example/", target_hosts=known) == "https://good.example/"
    assert location("https://good.example./", target_hosts=known) == "https://good.example./"


@pytest.mark.parametrize(
    ("known", "href"),
    [
        ("::ffff:cb00:7105", "https://[::ffff:203.0.113.5]/"),
        ("fe80::1%eth0", "https://[fe80::1%eth0]/"),
        ("10.0.0.7", "http://10.0.0.7./"),
        ("10.0.0.7", "http://10.0.0.07/"),
    ],
    ids=["IPv4 in IPv6", "with a zone", "with a dot", "with a nought"],
)
def test_an_address_in_an_odd_spelling_is_nobodys_target(known: str, href: str) -> None:
    assert follow(href, target_hosts=frozenset({known, "10.0.0.07"})) == "private"


def test_a_host_that_reads_both_ways_is_not_signed() -> None:
    assert location("https://אב.example/") == "https://xn--4dbc.example/"
    assert follow("https://1a.אב.example/") == "host"
    assert follow("https://אב.1example/") == "host"
    assert location("https://1a.example/") == "https://1a.example/"
    assert location("https://عرب.אב.example/") == "https://xn--ngbrx.xn--4dbc.example/"
    assert location("https://XN-a.אב.example/") == "https://xn-a.xn--4dbc.example/"
    assert follow("https://1a.عرب.example/") == "host"
