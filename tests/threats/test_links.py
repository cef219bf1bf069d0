"""Links and tokens: nobody is led where we did not sign, and nothing is counted that nobody did."""

from __future__ import annotations

import hmac
import json
import logging
import random
import re
import string
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha1, sha256
from typing import Any
from urllib.parse import quote

import pytest
from click.testing import CliRunner
from itsdangerous import URLSafeTimedSerializer

from clickmw.cli import main
from clickmw.errors import BadToken, SettingsError
from clickmw.events import new_query_id
from clickmw.recorder import now_ms
from clickmw.redirect import BAD_LINK
from clickmw.tokens import LinkSigner, LinkTarget

SECRET = "thirty-two characters or more are fine"
OLD = "an older secret, also of thirty-two characters"
PRINTABLE = "".join(map(chr, range(33, 127)))
MUTANTS = 100_000
threat = pytest.mark.threat


def refused(answer: Any) -> bool:
    """Tell whether the one page for bad links came back, and nothing else."""
    return (answer.status, answer.location, answer.body) == (400, None, BAD_LINK)


@threat("T-01", asvs="9.1.1")
def test_t01_a_made_up_token_leads_nowhere(site: Any) -> None:
    chance = random.Random(1)
    made_up = ["", ".", "a.b", "..", "x" * 100_000, "\x80\xff", "%2e", "https://evil.example/"]
    alphabet = PRINTABLE + " \x00\n\x7f\xe9"
    for _ in range(300):
        made_up.append("".join(chance.choices(alphabet, k=chance.randint(1, 4096))))
    assert [text[:20] for text in made_up if not refused(site.follow(text))] == []
    assert refused(site.ask("/_clicks/r/", query="t=https://evil.example/&u=//evil.example"))
    assert site.rows("SELECT * FROM clicks") == []


def mutants(tokens: list[str], chance: random.Random) -> Iterator[str]:
    """Yield each token with one character changed, put in or left out; with dirt; crossed with others."""
    for token in tokens:
        payload, _, proof = token.rpartition(".")
        for at in range(len(token) + 1):
            yield from (token[:at] + char + token[at:] for char in PRINTABLE)
            yield from (token[:at] + char + token[at + 1 :] for char in PRINTABLE)
            yield from (token[:at], token[at:], token[:at] + token[at + 1 :])
        for dirt in (
            "!!!!",
            "!" * 400,
            "\n",
            "\r\n",
            "\x00",
            "éé",
            "=",
            "==",
            " ",
            "%3D",
            "\ud800",
        ):
            for at in range(len(proof) + 1):
                yield f"{payload}.{proof[:at]}{dirt}{proof[at:]}"
        other = chance.choice(tokens)
        yield f"{payload}.{other.rpartition('.')[2]}"
        yield f"{payload}.{proof.swapcase()}"
        yield f"{payload}.{proof[::-1]}"
        yield payload + proof
        yield f"{token}.{proof}"
    while True:
        token = chance.choice(tokens)
        letters = [*token]
        for _ in range(chance.randint(2, 6)):
            letters[chance.randrange(len(letters))] = chance.choice(PRINTABLE)
        yield "".join(letters)


@threat("T-02", asvs="9.1.1, 11.4.1")
def test_t02_none_of_a_hundred_thousand_changed_tokens_is_accepted(site: Any) -> None:
    signer = site.door.signer
    locations = ("https://other.example/a", "/a", "https://xn--bcher-kva.example/?a=b#c", "/?t=a.b")
    tokens = [site.token(location) for location in locations]
    genuine, accepted, tried = set(tokens), [], 0
    for mutant in mutants(tokens, random.Random(2)):
        if mutant in genuine:
            continue
        with suppress(BadToken):
            accepted.append((mutant, signer.read_link(mutant)))
        tried += 1
        if tried >= MUTANTS:
            break
    assert (tried, accepted) == (MUTANTS, [])


@threat("T-02", asvs="9.1.1")
def test_t02_a_changed_token_is_refused_at_the_door(site: Any) -> None:
    token = site.token()
    changed = [token[:at] + "A" + token[at + 1 :] for at in range(len(token)) if token[at] != "A"]
    changed += [token[:-4] + dirt + token[-4:] for dirt in ("!!!!", "!" * 400, "\n", "\xc3\xa9")]
    assert all(refused(site.follow(one)) for one in changed)
    assert site.follow(token).status == 302


@threat("T-03", asvs="9.1.2, 9.2.3")
def test_t03_what_is_signed_for_something_else_is_no_link(site: Any) -> None:
    payload = site.token().rpartition(".")[0]

    def with_mac(key: bytes, digest: Any, length: int) -> str:
        mac = hmac.digest(key, payload.encode(), digest)[:length]
        return f"{payload}.{urlsafe_b64encode(mac).decode().rstrip('=')}"

    web_token = ".".join(
        urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
        for part in ({"alg": "none"}, {"url": "https://evil.example/"})
    )
    session = URLSafeTimedSerializer(SECRET, salt="cookie-session").dumps({"u": "//evil.example"})
    target = LinkTarget("", new_query_id(now_ms()), 1, "BWEB", "", "https://evil.example/")
    foreign = [
        with_mac(b"", sha256, 16),
        with_mac(SECRET.encode(), sha256, 16),
        with_mac(SECRET.encode(), sha1, 20),
        f"{web_token}.",
        str(session),
        site.door.routes.access.one_time_link_token(),
        LinkSigner(SECRET, purpose="keys").sign_link(target),
        LinkSigner("another site's secret, thirty-two characters").sign_link(target),
    ]
    assert [one for one in foreign if not refused(site.follow(one))] == []


@threat("T-03", asvs="9.2.4")
def test_t03_a_link_says_itself_of_which_site_it_is(make: Any) -> None:
    site = make(
        sites=[{"handle": "a", "hosts": ["a.example"]}, {"handle": "b", "hosts": ["b.example"]}]
    )
    site.follow(site.token(site="a"), HTTP_HOST="b.example")
    assert site.rows("SELECT site FROM clicks") == [("a",)]


@threat("T-04", asvs="2.4.1", result="held by the duplicate rule")
def test_t04_a_link_followed_again_and_again_counts_once_a_visitor(site: Any) -> None:
    token = site.token()
    assert {site.follow(token).status for _ in range(1000)} == {302}
    assert site.counted == 1
    assert site.follow(token, REMOTE_ADDR="198.51.100.8").status == 302
    assert site.counted == 2
    # Of base64 other spellings would decode alike: here they are none.
    alphabet = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
    place = alphabet.index(token[-1])
    for bits in (1, 2, 3):
        assert refused(site.follow(token[:-1] + alphabet[place ^ bits]))
    assert site.counted == 2


@threat("T-05", asvs="3.7.2, 3.7.3", result="held by the naming page")
@pytest.mark.parametrize(
    ("days", "headers", "answer", "counted"),
    [
        (29, {}, 302, 1),
        (31, {}, 200, 0),
        (31, {"HTTP_SEC_FETCH_SITE": "cross-site"}, 200, 0),
        (31, {"HTTP_SEC_FETCH_SITE": "none"}, 200, 0),
        (31, {"HTTP_SEC_FETCH_SITE": "same-origin"}, 302, 0),
        (0, {"HTTP_SEC_FETCH_SITE": "cross-site"}, 302, 0),
        (0, {"HTTP_SEC_FETCH_SITE": "none"}, 302, 1),
    ],
)
def test_t05_an_old_or_foreign_link_is_named_or_not_counted(
    days: int, headers: dict[str, str], answer: int, counted: int, site: Any
) -> None:
    found = site.follow(site.token("https://evil.example/<b>", days), **headers)
    assert refused(found)  # no target of ours has such characters
    found = site.follow(site.token("https://evil.example/login", days), **headers)
    assert (found.status, site.counted) == (answer, counted)
    assert found.headers["x-robots-tag"] == "noindex, nofollow"
    if answer == 200:
        assert found.location is None
        assert "<strong>evil.example</strong>" in found.text
        assert "default-src 'none'" in found.headers["content-security-policy"]


@threat("T-05", asvs="3.7.2", result="held by the naming page")
def test_t05_a_target_outside_the_target_hosts_is_named(make: Any) -> None:
    before = make().token("https://b.example/")
    site = make(target_hosts=["a.example"])
    found = site.follow(before)
    assert (found.status, found.location, "b.example" in found.text) == (200, None, True)
    assert site.follow(site.token("https://a.example/")).location == "https://a.example/"


@threat("T-06", asvs="13.3.1, 16.2.5")
def test_t06_keys_are_rotated_and_shown_nowhere(make: Any, caplog: Any) -> None:
    caplog.set_level(logging.DEBUG)
    before, rotated = make(secret=OLD), make(old_secrets=[OLD], debug=True)
    old = before.token()
    assert rotated.follow(old).status == 302
    assert refused(before.follow(rotated.token()))
    assert refused(make().follow(old))
    settings = rotated.door.settings
    told = CliRunner().invoke(
        main,
        ["--store", settings.store, "doctor"],
        env={"CLICKMW_SECRET": SECRET, "CLICKMW_OLD_SECRETS": json.dumps([OLD])},
    )
    shown = repr(settings) + repr(rotated.door.signer) + told.output + caplog.text
    assert not [key for key in (SECRET, OLD) if key in shown]


@threat("T-07", asvs="11.2.2")
def test_t07_rotation_breaks_no_page_and_a_bad_key_no_start(make: Any) -> None:
    first, second = (
        "the first secret of thirty-two characters",
        "the second secret of thirty-two chars",
    )
    old = make(secret=first).token()
    assert make(old_secrets=[first, second]).follow(old).status == 302
    for wrong in ({"secret": "short"}, {"old_secrets": [SECRET]}, {"old_secrets": [""]}):
        with pytest.raises(SettingsError, match=r"(?i)secret"):
            make(**wrong)
    with pytest.raises(SettingsError, match="old_secrets"):
        make(
            old_secrets=[f"{number} of many secrets, thirty-two characters" for number in range(9)]
        )


SCHEMES = ["javascript:alert(1)", "data:text/html,x", "vbscript:x", "blob:https://a.example/1"]
SCHEMES += [
    "file:///etc/passwd",
    "mailto:a@b.example",
    "intent://x#Intent;end",
    "view-source:http://a",
]


@threat("T-08", asvs="1.2.2, 3.7.2")
@pytest.mark.parametrize("scheme", SCHEMES)
def test_t08_only_http_is_signed_and_only_http_is_followed(scheme: str, site: Any) -> None:
    head, colon, rest = scheme.partition(":")
    spelt = [scheme, scheme.upper(), head.title() + colon + rest]
    spelt += [start + scheme for start in ("\t", " ", "\x00", "\n", "\x1f")]
    spelt += [head[:3] + inner + head[3:] + colon + rest for inner in ("\n", "\t", "\r", "&#9;")]
    for href in spelt:
        site.page = b'<ol data-click-module="B"><a data-click href="%b">x</a></ol>' % href.encode()
        assert site.ask("/search").body == site.page
        assert refused(site.follow(site.token(href)))


NOT_SIGNED = [
    "//",
    "///evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "https:\\\\evil.example",
]
NOT_SIGNED += ["https:///evil.example", "https:/evil.example", "https:evil.example"]
NOT_SIGNED += [
    "https://a@evil.example/",
    "https://evil.example\\@a.example/",
    "https://a\\.evil.example/",
]
NOT_SIGNED += [
    "https://[::1",
    "https://a.example:99999/",
    "https://a.example:abc/",
    "https:// a.example/",
]


@threat("T-09", asvs="1.1.1, 3.7.2")
@pytest.mark.parametrize("href", NOT_SIGNED, ids=ascii)
def test_t09_what_programs_read_differently_is_neither_signed_nor_followed(
    href: str, site: Any
) -> None:
    site.page = b'<ol data-click-module="B"><a data-click href="%b">x</a></ol>' % href.encode()
    assert site.ask("/search").body == site.page
    assert refused(site.follow(site.token(href)))
    assert refused(site.follow(site.token("https://a.example/\ud800")))


@threat("T-09", asvs="3.7.2")
def test_t09_a_relative_link_is_of_the_own_host_whatever_the_host_header_says(site: Any) -> None:
    site.page = b'<ol data-click-module="B"><a data-click href="/ok/path">x</a></ol>'
    for host in ("www.example.org", "evil.example", "a@evil.example", "", "x" * 70_000):
        page = site.ask("/search", HTTP_HOST=host).text
        link = page.partition('href="')[2].partition('"')[0]
        assert site.ask(link, HTTP_HOST=host).location == "/ok/path"


UNICODE = ["https://еxample.org/", "https://evil。example/", "https://ⓔvil.example/"]  # noqa: RUF001
UNICODE += ["https://straße.example/ü?ü#ü", "https://☃.example/", "https://evil．example/"]  # noqa: RUF001


@threat("T-10", asvs="1.1.1")
@pytest.mark.parametrize("href", UNICODE)
def test_t10_an_international_host_is_stored_and_sent_in_its_ascii_form(
    href: str, site: Any
) -> None:
    site.page = b'<ol data-click-module="B"><a data-click href="%b">x</a></ol>' % href.encode()
    link = site.ask("/search").text.partition('href="')[2].partition('"')[0]
    sent = site.ask(link).location
    assert sent.isascii()
    assert "xn--" in sent or "evil.example" in sent
    assert site.rows("SELECT url FROM clicks") == [(sent,)]


@threat("T-10", asvs="1.1.1")
def test_t10_a_host_that_no_two_programs_read_alike_is_not_signed(site: Any) -> None:
    site.page = '<ol data-click-module="B"><a data-click href="https://a\u2044b.example/">x</a></ol>'.encode()
    assert site.ask("/search").body == site.page


INSIDE = ["0x7f.1", "2130706433", "127.0.0.1", "[::1]", "169.254.169.254", "localhost", "intranet"]
INSIDE += ["app.localhost", "017700000001", "10.0.0.1.", "[::ffff:10.0.0.1]", "１２７.1"]  # noqa: RUF001


@threat("T-10b", asvs="3.7.2")
@pytest.mark.parametrize("host", INSIDE)
def test_t10b_nobody_is_led_into_a_network_of_his_own(host: str, site: Any) -> None:
    href = f"http://{host}/"
    site.page = f'<ol data-click-module="B"><a data-click href="{href}">x</a></ol>'.encode()
    assert site.ask("/search").body == site.page
    assert refused(site.follow(site.token(href)))


@threat("T-11", asvs="1.2.1")
def test_t11_no_target_writes_a_header(site: Any) -> None:
    assert refused(site.follow(site.token("https://a.example/\r\nSet-Cookie: a=b")))
    sent = site.follow(site.token("https://a.example/%0d%0aSet-Cookie:%20a=b"))
    assert sent.location == "https://a.example/%0d%0aSet-Cookie:%20a=b"
    chance = random.Random(11)
    pieces = [
        "\r",
        "\n",
        "\0",
        "\t",
        " ",
        "\x7f",
        "ü",
        "€",
        "\ud800",
        "%0d%0a",
        "a",
        "/",
        "?",
        "#",
        "&",
    ]
    for _ in range(500):
        tail = "".join(chance.choices(pieces, k=8))
        found = site.follow(site.token(f"https://a.example/{tail}"))
        assert all("\x21" <= char <= "\x7e" for char in found.location or "")
        assert not {name.lower() for name, _ in found.all_headers} & {"set-cookie"}


@threat("T-12", asvs="14.3.2")
def test_t12_no_cache_keeps_an_answer_or_learns_a_host_from_it(site: Any) -> None:
    token = site.token("/a")
    plain = site.follow(token)
    for forged in ("evil.example", "evil.example, a", '"><script>'):
        answer = site.follow(
            token,
            HTTP_X_FORWARDED_HOST=forged,
            HTTP_X_FORWARDED_PROTO="gopher",
            HTTP_FORWARDED=f"host={forged}",
            HTTP_X_ORIGINAL_URL="/evil",
            HTTP_HOST=forged,
        )
        assert answer.all_headers == plain.all_headers
    assert (plain.status, plain.headers["cache-control"]) == (302, "no-store")
    pages = [
        site.ask("/search", HTTP_X_FORWARDED_HOST=each).text for each in ("a.example", "b.example")
    ]
    assert not [
        page for page in pages if ".example/_clicks" in page or "//" in page.partition("r/")[0]
    ]


@threat("T-13", asvs="3.7.2")
@pytest.mark.parametrize(
    "path",
    ["//evil.example/_clicks/x", "/\\evil.example", "/_clicks//evil.example", "/_clicks/report//evil.example",
     "/_clicks//evil.example/..", "/_clicks/report/..//evil.example", "/_clicks/\\evil.example"],
)  # fmt: skip
def test_t13_no_address_of_ours_redirects_away(path: str, open_site: Any) -> None:
    assert open_site.ask(path).location is None


@threat("T-13", asvs="3.7.2")
@pytest.mark.parametrize(
    "mount", ["//evil.example", "/\\evil.example", "evil.example", "///", "/a//b"]
)
def test_t13_a_strange_mount_point_makes_no_link_another_hosts(mount: str, make: Any) -> None:
    site = make(report_auth=lambda _environ: True, admin_password="a password")
    page = site.ask("/search", SCRIPT_NAME=mount).text
    link = page.partition('href="')[2].partition('"')[0]
    logged = site.ask("/_clicks/report/login", "POST", b"password=a+password&back=", SCRIPT_NAME=mount,
                      CONTENT_TYPE="application/x-www-form-urlencoded")  # fmt: skip
    sent = [
        link,
        site.ask("/_clicks/report", SCRIPT_NAME=mount).location,
        site.ask("/_clicks/clicked", SCRIPT_NAME=mount).location,
        *re.findall(r'(?:href|src)="((?!data:|#)[^"]+)', site.report(SCRIPT_NAME=mount).text),
        site.ask("/_clicks/api/v1/schema", SCRIPT_NAME=mount).json["servers"][0]["url"],
        logged.location,
        logged.headers["set-cookie"].partition("Path=")[2].partition(";")[0],
    ]
    assert [
        each for each in sent if not each.startswith("/") or each.startswith(("//", "/\\"))
    ] == []


@threat("T-14", asvs="14.2.1")
def test_t14_a_link_holds_no_query_and_its_target_learns_the_origin_only(site: Any) -> None:
    page = site.ask("/search", query="q=very+private+words").text
    token = page.partition("/r/")[2].partition('"')[0]
    for text in (token, quote(token), token.translate(str.maketrans("-_", "+/"))):
        assert "private" not in text
    answer = site.follow(token)
    assert answer.headers["referrer-policy"] == "strict-origin-when-cross-origin"
    assert site.rows("SELECT query FROM clicks") == [("very private words",)]


@threat("T-15", asvs="7.2.4, 3.3.1", result="held by a cookie of its path")
def test_t15_no_session_is_fixed_and_a_one_time_link_is_used_once(make: Any) -> None:
    site = make(admin_password="a password")
    token = site.door.routes.access.one_time_link_token()
    planted = {"HTTP_COOKIE": "clickmw_report=planted"}
    first = site.report("", f"login={token}", **planted)
    cookie = first.headers["set-cookie"]
    assert (first.status, first.location) == (303, "/_clicks/report/")
    assert "planted" not in cookie
    assert {"HttpOnly", "SameSite=Lax", "Path=/_clicks"} <= {
        part.strip() for part in cookie.split(";")
    }
    assert site.report("", f"login={token}").status == 403
    assert site.report("", **planted).status == 403
    again = site.report("", f"login={site.door.routes.access.one_time_link_token()}")
    assert again.headers["set-cookie"].partition(";")[0] != cookie.partition(";")[0]
    secure = site.report("", f"login={site.door.routes.access.one_time_link_token()}",
                         **{"wsgi.url_scheme": "https"})  # fmt: skip
    assert "; Secure" in secure.headers["set-cookie"]
    assert "set-cookie" not in site.follow().headers
    assert "set-cookie" not in site.ask("/search").headers


PREFETCHES = [
    ("SEC_PURPOSE", "prefetch"),
    ("SEC_PURPOSE", "prefetch;prerender"),
    ("PURPOSE", "prefetch"),
]
PREFETCHES += [("X_MOZ", "prefetch"), ("X_PURPOSE", "preview"), ("X_SEC_PURPOSE", "Prefetch")]


@threat("T-16", asvs="2.4.1", result="held by 425")
@pytest.mark.parametrize(("name", "value"), PREFETCHES)
def test_t16_a_prefetch_is_put_off_and_the_click_after_it_counts(
    name: str, value: str, site: Any
) -> None:
    token = site.token()
    early = site.follow(token, **{f"HTTP_{name}": value})
    assert (early.status, early.location, early.headers["cache-control"]) == (425, None, "no-store")
    assert site.follow(token, REQUEST_METHOD="HEAD").status == 302
    assert site.counted == 0
    assert site.follow(token).status == 302
    assert (site.counted, site.ledger()["prefetch"]) == (1, 1)


@threat("T-17", asvs="2.4.1")
@pytest.mark.parametrize(
    ("headers", "flag"),
    [
        ({"HTTP_SEC_FETCH_MODE": "navigate", "HTTP_SEC_FETCH_USER": "?1"}, 1),
        ({"HTTP_SEC_FETCH_MODE": "navigate"}, 0),
        ({}, None),
    ],
)
def test_t17_a_scripts_navigation_is_told_from_a_persons(
    headers: dict[str, str], flag: int | None, site: Any
) -> None:
    site.follow(**headers)
    assert site.rows("SELECT user_activated FROM clicks") == [(flag,)]
