"""The redirect: where a link leads, and what is kept of its being followed."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from webtest import TestApp, TestRequest, TestResponse
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from clickmw import ClickMW
from clickmw.events import new_query_id
from clickmw.redirect import BAD_LINK
from clickmw.sites import Site
from clickmw.targets import resolve
from clickmw.tokens import MAX_AGE_MS, LinkSigner, LinkTarget

SECRET = "a secret of more than thirty-two characters"
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
ROBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
DAY_MS = 86_400_000
HERE = {"Sec-Fetch-Site": "same-origin"}
CROSS = {"Sec-Fetch-Site": "cross-site"}


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def host_app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    start_response("404 Not Found", [("Content-Type", "text/plain")])
    return [b"host"]


class Install:
    """A site with clickmw before it: a browser at its door, its database at hand."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.path = folder / "clicks.db"
        self.clicks = ClickMW(host_app, secret=SECRET, store=f"sqlite:///{self.path}", **settings)
        self.environ = {
            "HTTP_USER_AGENT": BROWSER,
            "REMOTE_ADDR": "198.51.100.7",
            "HTTP_HOST": "www.example.org",
        }
        self.browser = TestApp(self.clicks, extra_environ=self.environ)

    def token(self, location: str = "https://other.example/a", **more: Any) -> str:
        days = more.pop("days", 0)
        parts = {"site": "", "position": 3, "module_code": "BWEB", "item": ""} | more
        query_id = new_query_id(now_ms() - days * DAY_MS)
        return self.clicks.door.signer.sign_link(
            LinkTarget(query_id=query_id, location=location, **parts)
        )

    def follow(
        self,
        token: str | None = None,
        *,
        method: str = "GET",
        status: int | None = None,
        environ: dict[str, str] | None = None,
        **headers: str,
    ) -> TestResponse:
        path = f"/_clicks/r/{self.token() if token is None else token}"
        request = TestRequest.blank(
            path, self.environ | (environ or {}), method=method, headers=headers
        )
        return self.browser.do_request(request, status=status or "*")

    def rows(self, query: str) -> list[Any]:
        self.clicks.door.routes.open_reader().close()
        with sqlite3.connect(self.path) as database:
            found = database.execute(query).fetchall()
        database.close()
        return [row[0] if len(row) == 1 else row for row in found]

    def reasons(self) -> list[str | None]:
        return self.rows("SELECT drop_reason FROM clicks ORDER BY event_id")

    def counted(self) -> int:
        return self.rows("SELECT coalesce(sum(counted), 0) FROM clicks")[0]

    def ledger(self) -> dict[str, Any]:
        self.clicks.door.routes.open_reader().close()
        return self.clicks.door.routes.read_health()

    def close(self) -> None:
        self.clicks.door.worker.close()
        self.clicks.door.store.close()


Make = Callable[..., Install]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[Install] = []

    def build(**settings: Any) -> Install:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(Install(folder, **settings))
        return made[-1]

    yield build
    for install in made:
        install.close()


@pytest.fixture
def site(make: Make) -> Install:
    return make()


# -- a link is followed ------------------------------------------------------------------------


def test_a_link_leads_to_its_target(site: Install) -> None:
    answer = site.follow(site.token("https://other.example/a?x=1#top"), status=302)

    assert answer.headers["Location"] == "https://other.example/a?x=1#top"


def test_the_answer_has_these_headers_and_no_others(site: Install) -> None:
    answer = site.follow(status=302)

    assert sorted(answer.headers.items()) == [
        ("Cache-Control", "no-store"),
        ("Content-Length", "0"),
        ("Location", "https://other.example/a"),
        ("Referrer-Policy", "strict-origin-when-cross-origin"),
        ("X-Robots-Tag", "noindex, nofollow"),
    ]
    assert answer.body == b""


def test_a_followed_link_is_one_counted_click(site: Install) -> None:
    site.follow(site.token("https://other.example/a", position=7, item="doc 9"))

    columns = "site, url, position, module_code, doc_id, source, trust, kind, device, counted"
    assert site.rows(f"SELECT {columns} FROM clicks") == [
        (
            "default",
            "https://other.example/a",
            7,
            "BWEB",
            "doc 9",
            "redirect",
            "signed",
            "result",
            "desktop",
            1,
        )
    ]


LOCATIONS = [
    "/straße?q=a%26b+c#x",
    "https://other.example/straße?q=a%26b+c#x",
    "https://bücher.example/?q=ä",
    "https://other.example/%2F%2e%0d%0a;p=1?a=b&c=d;e",
    "https://other.example:8443/a,b(c)*~!$'@:=+",
    "http://other.example/a%20b?x=%E2%82%AC#frag?ment",
    "/a//b",
    "?page=2",
    "detail.html",
    "../up",
]


@pytest.mark.parametrize("href", LOCATIONS)
def test_the_location_is_the_signed_one_byte_for_byte(site: Install, href: str) -> None:
    found = resolve(href, page_path="/suche/liste", page_host="www.example.org")
    assert not isinstance(found, str)

    answer = site.follow(site.token(found.location), status=302)

    assert answer.headers["Location"] == found.location
    assert all(0x21 <= ord(char) < 0x7F for char in found.location)


def test_umlauts_and_escapes_keep_their_meaning(site: Install) -> None:
    found = resolve("/straße?q=a%26b+c#x", page_path="/", page_host="www.example.org")

    answer = site.follow(site.token(found.location), status=302)  # type: ignore[union-attr]

    assert answer.headers["Location"] == "/stra%C3%9Fe?q=a%26b+c#x"


def test_a_link_to_the_own_host_stays_a_path_whatever_host_asks(make: Make) -> None:
    site = make(sites=[Site(handle="docs", hosts=("www.example.org", "m.example.org"))])
    token = site.token("/b?x=1", site="docs")

    answer = site.follow(token, Host="m.example.org", **{"X-Forwarded-Host": "evil.example"})

    assert answer.headers["Location"] == "/b?x=1"
    assert site.rows("SELECT url FROM clicks") == ["https://www.example.org/b?x=1"]


def test_without_hosts_an_own_target_is_stored_as_its_path(site: Install) -> None:
    site.follow(site.token("/b?x=1"))

    assert site.rows("SELECT url FROM clicks") == ["/b?x=1"]


def test_a_mounted_site_sends_its_own_targets_as_they_were_signed(make: Make) -> None:
    site = make()
    mounted = TestApp(DispatcherMiddleware(host_app, {"/app": site.clicks}))

    answer = mounted.get(f"/app/_clicks/r/{site.token('/app/b')}", status=302)

    assert answer.headers["Location"] == "/app/b"


def test_the_token_may_be_a_parameter(site: Install) -> None:
    answer = site.browser.get(f"/_clicks/r/?t={site.token()}", status=302)

    assert answer.headers["Location"] == "https://other.example/a"
    assert site.counted() == 1


@pytest.mark.parametrize(
    "spell",
    [lambda token: quote(token, safe=""), lambda token: f"{token}&utm_source=mail"],
    ids=["percent-encoded", "followed by another parameter"],
)
def test_the_parameter_form_survives_what_libraries_do_to_parameters(
    site: Install, spell: Callable[[str], str]
) -> None:
    answer = site.browser.get(f"/_clicks/r/?t={spell(site.token())}", status="*")

    assert answer.status_int == 302


def test_what_a_cache_may_see_does_not_depend_on_forwarded_hosts(site: Install) -> None:
    token = site.token("/b")
    one = site.follow(token, **{"X-Forwarded-Host": "one.example"})
    two = site.follow(token, **{"X-Forwarded-Host": "two.example"})

    assert (one.status, one.headerlist, one.body) == (two.status, two.headerlist, two.body)


def test_no_cookie_is_set(site: Install) -> None:
    assert "Set-Cookie" not in site.follow().headers


# -- what is no link of ours -------------------------------------------------------------------

FORGED = [
    "",
    ".",
    "..",
    "a.b",
    "!!!!",
    "%21" * 400,
    "x" * 100_000,
    "%0a",
    "%c3%a9%c3%a9",
    "%80%ff",
    "https://evil.example/",
    "%3Cscript%3Ealert(1)%3C/script%3E",
    "eyJhbGciOiJub25lIn0.eyJ1cmwiOiJodHRwczovL2V2aWwuZXhhbXBsZSJ9.",
]


@pytest.mark.parametrize("token", FORGED, ids=lambda token: token[:20] or "empty")
def test_a_forged_link_is_answered_with_one_constant_page(site: Install, token: str) -> None:
    answer = site.follow(token)

    assert (answer.status_int, answer.body) == (400, BAD_LINK)
    assert "Location" not in answer.headers
    assert "Set-Cookie" not in answer.headers
    assert site.ledger()["rejected"] == {"bad_link": 1}


def test_a_genuine_link_with_one_more_character_is_refused(site: Install) -> None:
    assert site.follow(site.token() + "x").status_int == 400


def test_a_line_break_inside_the_signature_is_refused(site: Install) -> None:
    token = site.token()

    assert site.follow(token[:-3] + "%0A" + token[-3:]).status_int == 400


def test_the_bad_link_page_cannot_run_or_frame_anything(site: Install) -> None:
    headers = site.follow("x").headers

    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"


HOSTILE = [
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "data:text/html,<script>",
    "vbscript:x",
    "blob:https://a.example/x",
    "file:///etc/passwd",
    "mailto:a@b.example",
    "//evil.example",
    "///evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "https:\\\\evil.example",
    "https:///evil.example",
    "https:/evil.example",
    "https:evil.example",
    "https://a@evil.example/",
    "https://evil.example\\@a.example/",
    "https://[::1",
    "https://other.example:99999/",
    "https://other.example:abc/",
    "http://127.0.0.1/",
    "http://0x7f.1/",
    "http://2130706433/",
    "http://[::1]/",
    "http://169.254.169.254/latest",
    "http://localhost/",
    "http://intranet/",
    "https://other.example/a\r\nSet-Cookie: x=1",
    "https://other.example/\x00",
    "https://other.example/\x7f",
    "https://other.example/a b",
    " https://other.example/",
    "https://other.example/\ud800",
    "https://other.example/straße",
    "https://OTHER.example/",
    "",
    "#top",
    "relative.html",
    "https://other.example/" + "x" * 2048,
]


@pytest.mark.parametrize("location", HOSTILE, ids=lambda text: ascii(text[:30]))
def test_a_hostile_target_is_not_followed_even_when_it_is_signed(
    site: Install, location: str
) -> None:
    answer = site.follow(site.token(location))

    assert (answer.status_int, answer.body) == (400, BAD_LINK)
    assert "Location" not in answer.headers


# -- method, then signature, then prefetch -----------------------------------------------------


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_other_methods_are_refused_before_the_link_is_read(site: Install, method: str) -> None:
    answer = site.follow("forged", method=method)

    assert (answer.status_int, answer.headers["Allow"]) == (405, "GET, HEAD")
    assert answer.headers["Cache-Control"] == "no-store"
    assert site.ledger()["rejected"] == {}


def test_head_leads_to_the_target_and_is_not_counted(site: Install) -> None:
    answer = site.follow(method="HEAD", status=302)

    assert answer.headers["Location"] == "https://other.example/a"
    assert site.rows("SELECT count(*) FROM clicks") == [0]


@pytest.mark.parametrize(
    ("token", "headers"),
    [("forged", {}), ("stale", CROSS)],
    ids=["the bad link page", "the naming page"],
)
def test_no_page_is_sent_to_head(site: Install, token: str, headers: dict[str, str]) -> None:
    token = site.token(days=31) if token == "stale" else token
    status: list[str] = []
    environ = {
        "REQUEST_METHOD": "HEAD",
        "PATH_INFO": f"/_clicks/r/{token}",
        "HTTP_SEC_FETCH_SITE": headers.get("Sec-Fetch-Site", ""),
    }

    body = site.clicks(environ, lambda code, _headers: status.append(code))

    assert (status[0][:3] in ("400", "200"), b"".join(body)) == (True, b"")


PREFETCH = [
    (name, value)
    for name in ("Sec-Purpose", "X-Sec-Purpose", "Purpose", "X-Purpose", "X-Moz")
    for value in ("prefetch", "prerender", "preview", "PREFETCH")
] + [("Sec-Purpose", "prefetch;prerender"), ("Sec-Purpose", "prefetch;anonymous-client-ip")]


@pytest.mark.parametrize(("name", "value"), PREFETCH, ids=lambda text: text)
def test_a_prefetch_is_put_off_and_not_counted(site: Install, name: str, value: str) -> None:
    answer = site.follow(**{name: value})

    assert (answer.status_int, answer.headers["Cache-Control"]) == (425, "no-store")
    assert "Location" not in answer.headers
    assert site.rows("SELECT count(*) FROM clicks") == [0]
    assert site.ledger()["prefetch"] == 1


def test_a_purpose_that_is_no_prefetch_is_a_click(site: Install) -> None:
    assert site.follow(**{"Purpose": "navigate"}).status_int == 302


def test_a_forged_link_is_refused_before_it_is_seen_to_be_a_prefetch(site: Install) -> None:
    assert site.follow("forged", **{"Sec-Purpose": "prefetch"}).status_int == 400


def test_a_prefetch_is_put_off_before_target_and_age_are_looked_at(make: Make) -> None:
    site = make(target_hosts=["elsewhere.example"])

    answer = site.follow(site.token(days=31), **{"Sec-Purpose": "prefetch"})

    assert answer.status_int == 425


def test_the_click_after_a_prefetch_counts(site: Install) -> None:
    token = site.token()
    site.follow(token, **{"Sec-Purpose": "prefetch"})
    site.follow(token)

    assert site.counted() == 1


# -- then target_hosts, then age ---------------------------------------------------------------


def names_host(answer: TestResponse, host: str) -> bool:
    shown = answer.html.get_text(" ")
    return answer.status_int == 200 and "Location" not in answer.headers and host in shown


def test_a_target_outside_the_target_hosts_is_named_instead_of_followed(make: Make) -> None:
    site = make(target_hosts=["a.example"])

    answer = site.follow(site.token("https://b.example/x?a=1&b=2"))

    assert names_host(answer, "b.example")
    assert answer.html.a["href"] == "https://b.example/x?a=1&b=2"
    assert answer.html.a["rel"] == ["noreferrer", "nofollow"]
    assert site.ledger()["rejected"] == {"naming_page": 1}
    assert site.rows("SELECT count(*) FROM clicks") == [0]


def test_the_naming_page_cannot_run_or_frame_anything(make: Make) -> None:
    headers = make(target_hosts=["a.example"]).follow().headers

    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Robots-Tag"] == "noindex, nofollow"


def test_an_international_host_is_named_in_its_ascii_form(make: Make) -> None:
    site = make(target_hosts=["a.example"])

    assert names_host(site.follow(site.token("https://xn--e1afmkfd.example/")), "xn--e1afmkfd")


def test_inside_the_target_hosts_links_are_followed(make: Make) -> None:
    site = make(target_hosts=["a.example"])

    assert site.follow(site.token("https://a.example/x")).status_int == 302


def test_own_pages_are_always_inside_the_target_hosts(make: Make) -> None:
    assert make(target_hosts=["a.example"]).follow(make().token("/own")).status_int == 302


def test_target_hosts_are_looked_at_before_head(make: Make) -> None:
    assert make(target_hosts=["a.example"]).follow(method="HEAD").status_int == 200


def test_a_link_of_29_days_counts(site: Install) -> None:
    assert site.follow(site.token(days=29), **CROSS | HERE).status_int == 302
    assert site.reasons() == [None]


def test_a_link_of_29_days_is_not_stale_from_anywhere(site: Install) -> None:
    assert site.follow(site.token(days=29), **{"Sec-Fetch-Site": "none"}).status_int == 302


FROM_HERE = [
    {"Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "same-site"},
    {"Referer": "https://www.example.org/search?q=x"},
    {"Sec-Fetch-Site": "cross-site", "Referer": "https://app.example/search"},
    {"Referer": "https://app.example/search"},
]
FROM_ELSEWHERE = [
    {},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "none"},
    {"Sec-Fetch-Site": "cross-site", "Referer": "https://www.example.org/"},
    {"Referer": "https://evil.example/"},
    {"Referer": "https://www.example.org.evil.example/"},
    {"Referer": "https://www.example.org@evil.example/"},
    {"Referer": "about:blank"},
    {"Referer": "https://evil.example/https://app.example"},
]


@pytest.mark.parametrize("headers", FROM_HERE, ids=str)
def test_an_old_link_on_a_page_of_ours_is_followed_and_kept_as_stale(
    make: Make, headers: dict[str, str]
) -> None:
    site = make(allowed_origins=["https://app.example"])

    answer = site.follow(site.token(days=31), **headers)

    assert answer.status_int == 302
    assert site.rows("SELECT counted, drop_reason FROM clicks") == [(0, "stale")]


@pytest.mark.parametrize("headers", FROM_ELSEWHERE, ids=str)
def test_an_old_link_from_elsewhere_is_named_and_not_kept(
    make: Make, headers: dict[str, str]
) -> None:
    site = make(allowed_origins=["https://app.example"])

    answer = site.follow(site.token(days=31), **headers)

    assert names_host(answer, "other.example")
    assert site.rows("SELECT count(*) FROM clicks") == [0]


def test_age_is_looked_at_before_head(site: Install) -> None:
    assert site.follow(site.token(days=31), method="HEAD").status_int == 200


def test_the_age_limit_is_thirty_days() -> None:
    assert MAX_AGE_MS == 30 * DAY_MS


def test_an_old_link_to_the_own_host_names_that_host(site: Install) -> None:
    assert names_host(site.follow(site.token("/own", days=31)), "www.example.org")


def test_a_hostile_host_header_is_only_text_on_the_naming_page(site: Install) -> None:
    answer = site.follow(site.token("/own", days=31), Host='"><script>x</script>')

    assert answer.html.script is None


# -- then rate, then external ------------------------------------------------------------------


@pytest.fixture
def still_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """No second and no minute ends while a test runs."""
    moment = now_ms()
    monkeypatch.setattr("clickmw.redirect.now_ms", lambda: moment)


@pytest.mark.usefixtures("still_clock")
def test_above_the_rate_of_an_address_links_work_and_are_not_kept(make: Make) -> None:
    site = make(redirect_rate=3)

    answers = [site.follow().status_int for _ in range(10)]

    assert answers == [302] * 10
    assert site.ledger()["dropped"] == {"rate": 7}
    assert site.rows("SELECT count(*) FROM clicks") == [3]


def test_the_rate_is_twenty_a_second_unless_set(site: Install) -> None:
    assert site.clicks.settings.redirect_rate == 20


@pytest.mark.usefixtures("still_clock")
def test_a_link_is_kept_five_times_a_minute_for_one_address(site: Install) -> None:
    token = site.token()

    answers = [site.follow(token).status_int for _ in range(9)]

    assert answers == [302] * 9
    assert site.ledger()["dropped"] == {"rate": 4}
    assert site.rows("SELECT count(*), sum(counted) FROM clicks") == [(5, 1)]


@pytest.mark.usefixtures("still_clock")
def test_many_behind_one_address_follow_a_link_of_a_shared_page_each_in_a_view(
    site: Install,
) -> None:
    token = site.token()
    for number in range(12):
        site.follow(f"{token}?v={new_query_id(now_ms() + number)}")

    assert site.ledger()["dropped"] == {}
    assert site.rows("SELECT count(*) FROM clicks") == [12]


@pytest.mark.usefixtures("still_clock")
def test_a_link_is_kept_five_times_a_minute_for_one_view(site: Install) -> None:
    token, view = site.token(), new_query_id(now_ms())
    for _ in range(9):
        site.follow(f"{token}?v={view}")

    assert site.ledger()["dropped"] == {"rate": 4}


@pytest.mark.usefixtures("still_clock")
@pytest.mark.parametrize("view", ["x", "A" * 16, "%00" * 16], ids=["short", "of 1970", "no id"])
def test_what_is_no_view_has_no_limit_of_its_own(view: str, site: Install) -> None:
    token = site.token()
    for number in range(9):
        site.follow(f"{token}?v={view}{number if len(view) == 1 else ''}")

    assert site.ledger()["dropped"] == {"rate": 4}


@pytest.mark.usefixtures("still_clock")
def test_another_address_has_a_rate_of_its_own(site: Install) -> None:
    token = site.token()
    for last in (1, 2):
        for _ in range(6):
            site.follow(token, environ={"REMOTE_ADDR": f"198.51.100.{last}"})

    assert site.rows("SELECT count(*), sum(counted) FROM clicks") == [(10, 2)]


@pytest.mark.usefixtures("still_clock")
def test_addresses_of_one_ipv6_network_share_a_rate(site: Install) -> None:
    token = site.token()
    for last in range(8):
        site.follow(token, environ={"REMOTE_ADDR": f"2001:db8::{last}"})

    assert site.ledger()["dropped"] == {"rate": 3}


@pytest.mark.parametrize("off", [None, 0])
def test_without_a_rate_everything_is_kept(make: Make, off: int | None) -> None:
    site = make(redirect_rate=off)
    token = site.token()
    for _ in range(30):
        site.follow(token)

    assert site.rows("SELECT count(*) FROM clicks") == [30]


def test_behind_a_proxy_that_is_not_named_nothing_is_limited_by_address(make: Make) -> None:
    site = make(redirect_rate=1)
    token = site.token()
    for last in range(8):
        proxied = {"REMOTE_ADDR": "10.0.0.1", "HTTP_X_FORWARDED_FOR": f"198.51.100.{last}"}
        site.follow(token, environ=proxied)

    assert site.rows("SELECT count(*) FROM clicks") == [8]


def test_a_proxy_that_is_not_named_is_named_in_the_log_once(
    make: Make, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clickmw.journal._warned", {})
    site = make()
    for last in range(3):
        proxied = {"REMOTE_ADDR": "10.0.0.1", "HTTP_X_FORWARDED_FOR": f"198.51.100.{last}"}
        site.follow(environ=proxied)

    assert ["trusted_proxies" in line for line in caplog.messages] == [True]


@pytest.mark.usefixtures("still_clock")
def test_behind_a_named_proxy_the_forwarded_address_is_limited(make: Make) -> None:
    site = make(trusted_proxies=1)
    token = site.token()
    for _ in range(8):
        proxied = {"REMOTE_ADDR": "10.0.0.1", "HTTP_X_FORWARDED_FOR": "6.6.6.6, 198.51.100.1"}
        site.follow(token, environ=proxied)

    assert site.ledger()["dropped"] == {"rate": 3}


def test_a_fresh_link_from_another_site_is_followed_and_not_counted(site: Install) -> None:
    answer = site.follow(**CROSS, Referer="https://evil.example/")

    assert answer.status_int == 302
    assert site.rows("SELECT drop_reason, counted, referrer_host FROM clicks") == [
        ("external", 0, "evil.example")
    ]


def test_a_fresh_link_from_an_allowed_origin_counts(make: Make) -> None:
    site = make(allowed_origins=["https://app.example"])
    site.follow(**CROSS, Referer="https://app.example/search")

    assert site.reasons() == [None]


@pytest.mark.parametrize("fetched_from", ["same-origin", "same-site", "none", None])
def test_a_fresh_link_counts_from_here_from_a_bookmark_and_from_old_browsers(
    site: Install, fetched_from: str | None
) -> None:
    site.follow(**({"Sec-Fetch-Site": fetched_from} if fetched_from else {}))

    assert site.reasons() == [None]


@pytest.mark.usefixtures("still_clock")
def test_the_rate_is_looked_at_before_external(site: Install) -> None:
    token = site.token()
    for _ in range(7):
        site.follow(token, **CROSS)

    assert site.reasons() == ["external"] * 5
    assert site.ledger()["dropped"] == {"rate": 2}


# -- what is kept ------------------------------------------------------------------------------


def test_a_robot_is_led_on_and_flagged(site: Install) -> None:
    answer = site.follow(**{"User-Agent": ROBOT})

    assert answer.status_int == 302
    assert site.rows("SELECT counted, drop_reason FROM clicks") == [(0, "robot")]


def test_robot_is_the_first_of_several_reasons(make: Make) -> None:
    site = make(count_trust=["keyed"])
    site.follow(**{"User-Agent": ROBOT} | CROSS)
    site.follow(site.token(days=31), **{"User-Agent": ROBOT} | HERE)

    assert site.reasons() == ["robot", "robot"]


def test_external_and_stale_come_before_trust(make: Make) -> None:
    site = make(count_trust=["keyed"])
    site.follow(**CROSS)
    site.follow(site.token(days=31), **HERE)
    site.follow(**HERE)

    assert site.reasons() == ["external", "stale", "trust"]


def test_the_same_link_again_is_a_duplicate(site: Install) -> None:
    token = site.token()
    site.follow(token)
    site.follow(token)

    assert site.reasons() == [None, "duplicate"]


def test_an_external_click_does_not_make_the_next_one_a_duplicate(site: Install) -> None:
    token = site.token()
    site.follow(token, **CROSS)
    site.follow(token, **HERE)

    assert site.reasons() == ["external", None]


OPT_OUT = [{"Sec-GPC": "1"}, {"DNT": "1"}]


@pytest.mark.parametrize("wish", OPT_OUT, ids=["GPC", "DNT"])
def test_an_opted_out_visitor_is_led_on_and_only_tallied(
    site: Install, wish: dict[str, str]
) -> None:
    answer = site.follow(**wish)

    assert answer.status_int == 302
    assert site.rows("SELECT count(*) FROM clicks") == [0]
    assert site.ledger()["opted_out"] == 1


def test_an_anonymous_click_counts_without_a_visitor(make: Make) -> None:
    site = make(optout="anonymous")
    site.follow(**{"Sec-GPC": "1"})

    assert site.rows("SELECT coalesce(visitor, ''), counted FROM clicks") == [("", 1)]


def test_a_wish_that_is_to_be_ignored_is(make: Make) -> None:
    site = make(optout="ignore")
    site.follow(**{"Sec-GPC": "1"})

    assert site.rows("SELECT length(visitor), counted FROM clicks") == [(16, 1)]


@pytest.mark.parametrize(
    ("headers", "stored"),
    [
        ({"Sec-Fetch-Mode": "navigate", "Sec-Fetch-User": "?1"}, 1),
        ({"Sec-Fetch-Mode": "navigate"}, 0),
        ({}, None),
    ],
    ids=["a person", "a script", "an old browser"],
)
def test_who_navigated_is_kept(site: Install, headers: dict[str, str], stored: int | None) -> None:
    site.follow(**headers)

    assert site.rows("SELECT user_activated FROM clicks") == [stored]


@pytest.mark.parametrize(
    ("headers", "stored"),
    [
        ({"Referer": "https://www.example.org/search?q=secret"}, ""),
        ({"Referer": "https://app.example/search?q=secret"}, "app.example"),
        ({"Referer": "https://app.example/", "Sec-Fetch-Site": "same-origin"}, ""),
        ({}, ""),
    ],
    ids=["own page", "another page", "own page behind a proxy", "none"],
)
def test_of_the_referrer_only_a_foreign_host_is_kept(
    site: Install, headers: dict[str, str], stored: str
) -> None:
    site.follow(**headers)

    assert site.rows("SELECT referrer_host FROM clicks") == [stored]


def test_neither_address_nor_agent_reaches_the_disk(site: Install) -> None:
    site.follow()
    site.clicks.door.journal.write_tallies()
    journal = b"".join(path.read_bytes() for path in site.clicks.settings.journal.glob("*.clicks"))
    site.rows("SELECT 1")
    files = b"".join(
        path.read_bytes() for path in site.path.parent.glob("clicks.db*") if path.is_file()
    )

    assert b"198.51.100.7" not in journal + files
    assert b"Firefox" not in journal + files


def test_a_link_of_a_site_that_is_gone_still_leads_on(site: Install) -> None:
    answer = site.follow(site.token(site="gone"))

    assert answer.status_int == 302
    assert site.ledger()["rejected"] == {"unknown_site": 1}


def test_the_site_in_the_link_decides_before_the_host(make: Make) -> None:
    site = make(
        sites=[Site(handle="a", hosts=("www.example.org",)), Site(handle="b", hosts=("b.example",))]
    )
    site.follow(site.token(site="b"))

    assert site.rows("SELECT site FROM clicks") == ["b"]


def test_a_full_journal_does_not_stop_the_visitor(make: Make) -> None:
    site = make()
    site.clicks.door.journal.max_bytes = 1

    assert site.follow().status_int == 302
    assert site.ledger()["dropped"] == {"journal_full": 1}


def test_a_thousand_times_the_same_link_is_one_click(make: Make) -> None:
    site = make(redirect_rate=None)
    token = site.token()

    answers = {site.follow(token).status_int for _ in range(1000)}

    assert answers == {302}
    assert site.counted() == 1


def test_rotation_keeps_links_working(make: Make) -> None:
    old = "an old secret of more than thirty-two characters"
    site = make(old_secrets=[old])
    target = LinkTarget("", new_query_id(now_ms()), 1, "BWEB", "", "https://other.example/")

    assert site.follow(LinkSigner(old).sign_link(target)).status_int == 302
    assert site.follow(LinkSigner("x" * 40).sign_link(target)).status_int == 400


@pytest.mark.parametrize(
    "path", ["//evil.example/_clicks/r/x", "/_clicks//evil.example", "/_clicks/r", "/_clicks"]
)
def test_paths_that_only_look_like_links_lead_nowhere(site: Install, path: str) -> None:
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": path}
    started: list[Any] = []

    site.clicks(environ, lambda *start: started.append(start))

    assert started[0][0][:3] == "404"
    assert "Location" not in dict(started[0][1])


# -- scripts that follow links ---------------------------------------------------------------------


@pytest.mark.parametrize("header", ["HX-Request", "X-Turbo-Request-Id"])
def test_a_script_may_fetch_results_of_this_host(make: Make, header: str) -> None:
    install = make()
    answer = install.follow(install.token("/doc/1"), status=302, **{header: "true"})
    assert answer.headers["Location"] == "/doc/1"
    assert install.reasons() == [None]


def test_htmx_is_told_to_go_to_another_site_and_the_click_counts(make: Make) -> None:
    install = make()
    answer = install.follow(status=204, **{"HX-Request": "true"})
    assert answer.headers["HX-Redirect"] == "https://other.example/a"
    assert answer.headers["Cache-Control"] == "no-store"
    assert install.reasons() == [None]


def test_turbo_is_told_to_leave_another_site_to_the_browser_which_counts(make: Make) -> None:
    install = make()
    token = install.token()
    answer = install.follow(token, status=200, **{"X-Turbo-Request-Id": "1f"})
    assert answer.html.find("meta", attrs={"name": "turbo-visit-control"})["content"] == "reload"
    assert answer.headers["Cache-Control"] == "no-store"
    assert install.reasons() == []

    install.follow(token, status=302)
    assert install.reasons() == [None]


def test_what_turbo_or_htmx_fetches_in_advance_is_nothing(make: Make) -> None:
    for name in ("HX-Request", "X-Turbo-Request-Id"):
        make().follow(status=425, **{name: "true", "X-Sec-Purpose": "prefetch"})
