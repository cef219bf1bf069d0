"""A thousand nasty addresses, read by us and by a browser's own parser: nobody is led elsewhere."""

# ruff: noqa: RUF001  characters that look like others are the subject
from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from typing import NamedTuple

import pytest

from clickmw.targets import Target, ascii_host, host_of, problem, resolve, without_user

threat = pytest.mark.threat
SEED, MOST = 20261121, 1_500

SCHEMES = [
    "",
    "http:",
    "https:",
    "HTTPS:",
    "ht\ttps:",
    " https:",
    "https\n:",
    "javascript:",
    "data:",
    "ftp:",
    "ws:",
    "\x00https:",
    "https%3A",
]
SLASHES = ["", "/", "//", "///", "////", "\\\\", "/\\", "\\/", "\\", "/\t/", "/\n/", "//\\"]
USERS = [
    "",
    "",
    "",
    "a@",
    "a:b@",
    "www.example.org@",
    "www.example.org:443@",
    "@",
    "a%40",
    "www.example.org\\@",
    "www.example.org/@",
    "www.example.org#@",
    "www.example.org?@",
]
HOSTS = [
    "evil.example", "EVIL.example", "evil.example.", ".evil.example", "evil..example", "www.example.org", "www.example.org.",
    "www.example.org.evil.example", "evil.example%00", "evil.example%2f", "evil%2eexample", "evil。example", "evil．example", "evil｡example",
    "ⓔvil.example", "еvil.example", "evil.еxample", "evil\u200b.example", "evil\u00ad.example", "evil\u2060.example", "ｅvil.example", "straße.example",
    "ß.example", "ς.example", "xn--.example", "xn--a.example", "xn--zca.example", "xn--evil-.example", "faß.example", "İ.example", "K.example",
    "127.0.0.1", "127.1", "0x7f.1", "2130706433", "0177.0.0.1", "127.0.0.1.", "1.2.3.4.5", "1.2.3.256", "0x", "0x.0x", "1e3", "４.example", "①.example",
    "[::1]", "[::1", "::1]", "[0:0::1%25eth0]", "[::ffff:1.2.3.4]", "[1:2:3:4:5:6:7:8:9]", "[::1]evil.example", "localhost", "a", "a_b.example", "-a.example",
    "a-.example", "a" * 63 + ".example", "a" * 64 + ".example", "☃.example", "\u202eevil.example", "evil.example\u3000", "evil example", "evil\texample", "evil\\example",
    "evil<.example", "evil|.example", "evil^.example", "evil`.example", "evil{}.example", "evil*.example", "evil!.example", "evil,example", "evil;.example", "א.example", "א1.example",
    "1א.example", "नी\u200dx.example", "a\u0301.example", "\u0301a.example", "ab--c.example", "a·b.example", "℀.example", "⒈.example", "㏕.example", "", "%", "?", "#",
]  # fmt: skip
PORTS = [
    "",
    "",
    "",
    ":",
    ":80",
    ":443",
    ":0443",
    ":0",
    ":65535",
    ":65536",
    ":-1",
    ":8a",
    ":٣",
    ": 80",
    ":80:80",
    ":\t80",
    ":443@evil.example",
]
TAILS = ["", "/", "/a", "/../..//evil.example", "/.//evil.example", "/%2e%2e//x", "/..\\..\\\\evil.example", "//evil.example", "\\evil.example", "?//evil.example", "#//evil.example",
         "/a\tb", "/a b", "/ü", "/%ff", "/%0d%0aX:y", "/\u2028", "/é?é#é", ";a", "/a?b=//c", "/'\"<>", "/\ufeff", "/\ud83d\ude00"]  # fmt: skip
PAGES = [
    "https://www.example.org/docs/search?q=a",
    "http://www.example.org/",
    "https://www.example.org:8443/a/b/",
    "http://localhost:8000/search",
]
PROGRAM = """
let text = '';
process.stdin.on('data', (part) => text += part).on('end', () => {
  const read = ([href, base]) => {
    try { const u = new URL(href, base); return [u.protocol, u.host, u.href, u.username + u.password]; }
    catch { return null; }
  };
  console.log(JSON.stringify(JSON.parse(text).map(read)));
});
"""


class Case(NamedTuple):
    href: str
    page: str


def nasty() -> list[Case]:
    """Return the cases: each part of an address at least once in each place, then at random."""
    chance = random.Random(SEED)
    parts = (SCHEMES, SLASHES, USERS, HOSTS, PORTS, TAILS)
    found = [
        Case("https://" + host + port + "/", PAGES[0]) for host in HOSTS for port in ("", ":443")
    ]
    found += [
        Case(scheme + slashes + "evil.example", page)
        for scheme in SCHEMES
        for slashes in SLASHES
        for page in PAGES[:2]
    ]
    found += [
        Case("https://" + user + "evil.example" + tail, PAGES[0])
        for user in set(USERS)
        for tail in TAILS
    ]
    while len(found) < MOST:
        found.append(Case("".join(map(chance.choice, parts)), chance.choice(PAGES)))
    return list(dict.fromkeys(found))


def browser(asked: list[tuple[str, str]]) -> list[list[str] | None]:
    """Return [protocol, host, href, user] of each address against its base, None when it is none."""
    node = shutil.which("node")
    if node is None and os.environ.get("CI") == "true":
        pytest.fail("CI must have node")
    if node is None:
        pytest.skip("no node on this machine")
    answer = subprocess.run(
        [node, "-e", PROGRAM],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return list(json.loads(answer.stdout))


def page_of(page: str) -> dict[str, str]:
    scheme, _, rest = page.partition("://")
    host, _, path = rest.partition("/")
    return {"page_path": f"/{path}".partition("?")[0], "page_host": host, "page_scheme": scheme}


@threat("T-09", asvs="1.1.1, 3.7.2")
def test_t09_a_browser_goes_where_we_said_and_nowhere_else() -> None:
    cases = nasty()
    assert len(cases) >= 1_000
    signed = [(case, resolve(case.href, **page_of(case.page))) for case in cases]
    followed = [(case, found) for case, found in signed if isinstance(found, Target)]
    assert len(followed) >= 100  # some of them are good
    # What the browser makes of the link itself, and of the Location that we answer with.
    asked = [(case.href, case.page) for case, _ in followed]
    origins = ["/".join(case.page.split("/", 3)[:3]) for case, _ in followed]
    sent = [
        (found.location, f"{origin}/_clicks/r/token")
        for (_, found), origin in zip(followed, origins, strict=True)
    ]
    read = browser(asked + sent)
    meant, led = read[: len(asked)], read[len(asked) :]
    wrong = []
    for (case, found), origin, before, after in zip(followed, origins, meant, led, strict=True):
        ours = host_of(found.location) or ascii_host(origin.partition("://")[2])
        good = (
            before is not None
            and after is not None
            and before[1] == after[1]
            and (before[0] == after[0] or found.own)
            and after[0] in ("http:", "https:")
            and after[3] == ""
            and (after[1] == origin.partition("://")[2]) == found.own
            and after[1].partition(":")[0].strip("[]") == ours.strip("[]").partition(":")[0]
            and problem(found.location) is None
        )
        if not good:
            wrong.append((case, found, before, after))
    assert wrong == []


@threat("T-09", asvs="3.7.2")
def test_t09_whatever_a_token_could_hold_leads_to_the_host_that_is_named() -> None:
    """Not only what we sign: any text that passes the check at the redirect."""
    locations = list(dict.fromkeys(case.href for case in nasty()))
    passed = [each for each in locations if problem(each) is None]
    read = browser([(each, "https://www.example.org/_clicks/r/token") for each in passed])
    wrong = [
        (each, found)
        for each, found in zip(passed, read, strict=True)
        if found is None
        or found[1].partition(":")[0] != (host_of(each) or "www.example.org")
        or found[3]
    ]
    assert wrong == []


@threat("T-69", asvs="14.2.4")
def test_t69_a_browser_finds_no_user_in_what_is_stored() -> None:
    addresses = list(dict.fromkeys(case.href for case in nasty()))
    base = "https://www.example.org/"
    read = browser([(each, base) for each in addresses])
    kept = browser([(without_user(each.strip()), base) for each in addresses])
    left = [
        (each, before, after)
        for each, before, after in zip(addresses, read, kept, strict=True)
        # With tabs and line breaks inside a scheme nothing is taken in at all.
        if before and before[3] and after and after[3] and each.strip().isprintable()
    ]
    assert left == []
    moved = [
        (each, before, after)
        for each, before, after in zip(addresses, read, kept, strict=True)
        if before and after and each.isprintable() and before[1] != after[1]
    ]
    assert moved == []


def test_the_cases_are_the_same_each_time() -> None:
    assert nasty() == nasty()
