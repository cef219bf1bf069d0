"""Who may see the report, and how long."""

from __future__ import annotations

import os
import time
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from bs4 import BeautifulSoup
from werkzeug.test import Client, TestResponse

from clickmw.errors import StoreError
from clickmw.login import COOKIE, SESSION_S, ReportAccess, is_same_origin
from clickmw.report import Report
from clickmw.sites import Key, Site, Sites

PASSWORD = "correct horse"
ROOT = "/_clicks/report"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings that decide who may see the report."""

    journal: Path
    prefix: str = "/_clicks"
    time_zone: str = "UTC"
    sites: Sites = field(default_factory=lambda: Sites([Site(handle="default")]))
    report_auth: Callable[[dict[str, Any]], object] | None = None
    admin_password: str | None = None
    secret: str = "s" * 40
    old_secrets: tuple[str, ...] = ()
    keys: tuple[Key, ...] = ()
    trusted_proxies: int = 0
    keep_days: int = 395
    min_visitors: int = 0
    visitor: str = "daily"
    optout: str = "drop"
    dedupe_window_s: int = 1_800
    count_trust: frozenset[str] = frozenset(("signed", "session", "keyed", "anonymous"))


@dataclass
class Door:
    """A report behind an access, and a browser before it. Inside it answers 503: no store here."""

    access: ReportAccess
    browser: Client

    def get(self, path: str = "/", **more: Any) -> TestResponse:
        return self.browser.get(f"{ROOT}{path}", **more)

    def log_in(
        self, password: str = PASSWORD, back: str = "", address: str = "198.51.100.7", **more: Any
    ) -> TestResponse:
        form = {"password": password, "back": back}
        base = {"REMOTE_ADDR": address}
        return self.browser.post(f"{ROOT}/login", data=form, environ_base=base, **more)

    def lets_in(self, **more: Any) -> bool:
        return self.get(**more).status_code == 503

    def lets_in_with(self, cookie: str) -> bool:
        """Return whether a browser that sends exactly this Cookie header is let in."""
        browser = Client(self.browser.application, use_cookies=False)
        return browser.get(f"{ROOT}/", headers={"Cookie": cookie}).status_code == 503


@pytest.fixture
def door(tmp_path: Path) -> Callable[..., Door]:
    """Return how to build a door from settings."""

    def no_store() -> Any:
        raise StoreError("no store here")

    def build(**settings: Any) -> Door:
        chosen = Settings(journal=tmp_path / "journal", **settings)
        access = ReportAccess(chosen)
        report = Report(chosen, access, no_store, dict, lambda site: date(2026, 6, 28))
        return Door(access, Client(report))

    return build


def basic(password: str) -> dict[str, str]:
    return {"Authorization": f"Basic {b64encode(f'anybody:{password}'.encode()).decode()}"}


Build = Callable[..., Door]


# Closed and open


def test_the_report_is_closed_until_somebody_is_named(door: Build) -> None:
    answer = door().get()
    assert answer.status_code == 403
    assert 'admin_password="…"' in answer.text
    assert "report_auth=callable" in answer.text


@pytest.mark.parametrize(
    "path", ["/queries", "/overview.json", "/queries.csv", "/unknown", "/live"]
)
def test_every_route_is_closed(door: Build, path: str) -> None:
    assert door().get(path).status_code == 403


@pytest.mark.parametrize(
    ("form", "content_type", "body"),
    [
        ("json", "application/json", '{\n "error": "The report is closed: '),
        ("csv", "text/plain; charset=utf-8", "The report is closed: "),
    ],
)
def test_a_closed_file_says_so_in_its_own_form(
    door: Build, form: str, content_type: str, body: str
) -> None:
    answer = door().get(f"/queries.{form}")
    assert (answer.status_code, answer.headers["Content-Type"]) == (403, content_type)
    assert answer.text.startswith(body)


def test_a_file_that_the_host_refuses_says_so_in_its_own_form(door: Build) -> None:
    answer = door(report_auth=lambda environ: False).get("/queries.json")
    assert (answer.status_code, list(answer.json)) == (403, ["error"])


def test_a_one_time_link_is_no_shared_link(door: Build) -> None:
    asked = door()
    token = asked.access.one_time_link_token()
    assert asked.get(f"/?share={token}").status_code == 403
    assert asked.access.use_link(token)


@pytest.mark.parametrize("back", ["setup", "shares", "places?period=7d", "live", "definitions"])
def test_the_way_back_leads_to_every_page(door: Build, back: str) -> None:
    answer = door(admin_password=PASSWORD).log_in(back=back)
    assert answer.location == f"/_clicks/report/{back}"


def test_the_host_decides_with_a_callable(door: Build) -> None:
    asked = door(report_auth=lambda environ: environ.get("HTTP_X_USER") == "boss")
    assert asked.lets_in(headers={"X-User": "boss"})
    assert asked.get(headers={"X-User": "guest"}).status_code == 403


def test_a_callable_that_fails_keeps_the_report_closed(door: Build) -> None:
    def fails(environ: dict[str, Any]) -> bool:
        raise LookupError("no session")

    assert door(report_auth=fails).get().status_code == 403


def test_an_admin_key_opens_the_report_and_a_read_key_does_not(door: Build) -> None:
    asked = door(keys=(Key(key="a" * 32, scope="admin"), Key(key="r" * 32, scope="read")))
    assert asked.lets_in(headers={"X-Api-Key": "a" * 32})
    assert not asked.lets_in(headers={"X-Api-Key": "r" * 32})
    assert not asked.lets_in(headers={"X-Api-Key": ""})


# Password


def test_a_password_shows_a_form_that_leads_back(door: Build) -> None:
    answer = door(admin_password=PASSWORD).get("/queries?period=7d")
    form = BeautifulSoup(answer.text, "html.parser").form
    assert answer.status_code == 403
    assert form["action"] == "/_clicks/report/login"
    assert form.select_one("[name=back]")["value"] == "queries?period=7d"


def test_the_right_password_lets_in_and_leads_back(door: Build) -> None:
    asked = door(admin_password=PASSWORD)
    answer = asked.log_in(back="queries?period=7d")
    assert (answer.status_code, answer.location) == (303, "/_clicks/report/queries?period=7d")
    assert asked.lets_in()


def test_a_wrong_password_says_so(door: Build) -> None:
    asked = door(admin_password=PASSWORD)
    answer = asked.log_in("wrong", back="queries")
    assert "That is not the password." in answer.text
    assert not asked.lets_in()


@pytest.mark.parametrize(
    "back",
    ["//evil.example", "https://evil.example/", "../../x", "/\\evil.example", "login", "x\r\nY: 1"],
)
def test_the_way_back_never_leaves_the_report(door: Build, back: str) -> None:
    answer = door(admin_password=PASSWORD).log_in(back=back)
    assert answer.location == "/_clicks/report/"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 303),
        ({"Sec-Fetch-Site": "same-origin"}, 303),
        ({"Sec-Fetch-Site": "none"}, 303),
        ({"Origin": "http://localhost"}, 303),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://["}, 403),
    ],
    ids=str,
)
def test_a_form_of_another_site_is_refused(
    door: Build, headers: dict[str, str], status: int
) -> None:
    assert door(admin_password=PASSWORD).log_in(headers=headers).status_code == status


def test_the_password_works_as_http_basic(door: Build) -> None:
    asked = door(admin_password=PASSWORD)
    assert asked.lets_in(headers=basic(PASSWORD))


def test_files_ask_for_http_basic(door: Build) -> None:
    answer = door(admin_password=PASSWORD).get("/queries.csv")
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Basic ")


@pytest.mark.parametrize("value", ["Basic", "Basic !!!", "Basic \u00e9", "Bearer x", "Basic eA=="])
def test_a_broken_authorization_header_lets_nobody_in(door: Build, value: str) -> None:
    assert not door(admin_password=PASSWORD).lets_in(headers={"Authorization": value})


def test_an_empty_password_never_opens_a_report_without_one(door: Build) -> None:
    asked = door()
    assert not asked.access.check_password({}, "")
    assert not asked.lets_in(headers=basic(""))


@pytest.fixture
def still_guesses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no time pass for who guesses, however long the test takes."""
    monkeypatch.setattr("clickmw.guesses.time", SimpleNamespace(monotonic=lambda: 1000.0))


def test_wrong_passwords_are_throttled_and_the_right_one_waits_too(
    door: Build, still_guesses: None
) -> None:
    asked = door(admin_password=PASSWORD)
    for _ in range(10):
        asked.log_in("wrong")
    answer = asked.log_in()
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "60")


def test_a_session_is_not_throttled(door: Build) -> None:
    asked = door(admin_password=PASSWORD)
    asked.log_in()
    for _ in range(10):
        asked.log_in("wrong")
    assert asked.lets_in()


def test_a_strangers_guesses_leave_the_form_open_to_other_addresses(
    door: Build, still_guesses: None
) -> None:
    asked = door(admin_password=PASSWORD)
    for _ in range(10):
        answer = asked.log_in("wrong", address="203.0.113.66")
    assert answer.status_code == 429
    assert asked.log_in().status_code == 303


# Sessions


def cookie_of(answer: TestResponse) -> str:
    return answer.headers["Set-Cookie"]


def test_the_cookie_is_kept_from_scripts_and_other_sites(door: Build) -> None:
    cookie = cookie_of(door(admin_password=PASSWORD).log_in())
    assert cookie.split("; ")[1:] == [
        "Max-Age=43200",
        "Path=/_clicks",
        "HttpOnly",
        "SameSite=Lax",
    ]


def test_the_cookie_is_secure_on_https(door: Build) -> None:
    asked = door(admin_password=PASSWORD)
    assert "; Secure" in cookie_of(asked.log_in(base_url="https://localhost"))


@pytest.mark.parametrize(("proxies", "secure"), [(0, False), (1, True)])
def test_a_trusted_proxy_tells_that_it_speaks_https(
    door: Build, proxies: int, secure: bool
) -> None:
    asked = door(admin_password=PASSWORD, trusted_proxies=proxies)
    answer = asked.log_in(headers={"X-Forwarded-Proto": "https"})
    assert ("; Secure" in cookie_of(answer)) == secure


def test_the_cookie_path_begins_where_the_app_is_mounted(door: Build) -> None:
    answer = door(admin_password=PASSWORD).log_in(environ_overrides={"SCRIPT_NAME": "/my app"})
    assert "; Path=/my%20app/_clicks;" in cookie_of(answer)


def test_each_login_is_a_new_session(door: Build) -> None:
    asked = door(admin_password=PASSWORD)
    assert cookie_of(asked.log_in()) != cookie_of(asked.log_in())


def test_a_session_ends_after_twelve_hours(door: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = door(admin_password=PASSWORD)
    asked.log_in()
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + SESSION_S + 5)
    assert not asked.lets_in()


def test_signing_out_ends_the_session_even_for_a_copied_cookie(door: Build) -> None:
    asked = door(admin_password=PASSWORD)
    copied = cookie_of(asked.log_in()).partition(";")[0]
    assert asked.lets_in_with(copied)
    asked.browser.post(f"{ROOT}/logout")
    assert not asked.lets_in_with(copied)


def test_a_new_password_ends_every_session(door: Build) -> None:
    cookie = cookie_of(door(admin_password=PASSWORD).log_in()).partition(";")[0]
    assert not door(admin_password="another").lets_in_with(cookie)


def test_a_session_survives_a_change_of_the_secret_that_remembers_the_old_one(door: Build) -> None:
    cookie = cookie_of(door(admin_password=PASSWORD).log_in()).partition(";")[0]
    changed = door(admin_password=PASSWORD, secret="n" * 40, old_secrets=("s" * 40,))
    assert changed.lets_in_with(cookie)


@pytest.mark.parametrize("value", ["", "x", "a.b.c", "\u00e9", "x" * 5000])
def test_a_made_up_cookie_lets_nobody_in(door: Build, value: str) -> None:
    assert not door(admin_password=PASSWORD).lets_in_with(f"{COOKIE}={value}")


def test_another_cookie_of_the_host_does_not_disturb(door: Build) -> None:
    asked = door(admin_password=PASSWORD)
    cookie = cookie_of(asked.log_in()).partition(";")[0]
    assert asked.lets_in_with(f'broken="; {cookie}; a[]=1')


# One-time links


def test_a_one_time_link_opens_even_a_closed_report(door: Build) -> None:
    asked = door()
    answer = asked.get(f"/?login={asked.access.one_time_link_token()}&period=7d")
    assert (answer.status_code, answer.location) == (303, "/_clicks/report/?period=7d")
    assert asked.lets_in()


def test_a_one_time_link_works_once_across_processes(door: Build) -> None:
    first, second = door(), door()
    token = first.access.one_time_link_token()
    assert first.access.use_link(token)
    assert not second.access.use_link(token)


def test_a_used_link_says_so(door: Build) -> None:
    asked = door()
    token = asked.access.one_time_link_token()
    asked.access.use_link(token)
    answer = asked.get(f"/?login={token}")
    assert answer.status_code == 403
    assert "was used before" in answer.text


def test_opening_a_used_link_while_signed_in_just_goes_on(door: Build) -> None:
    asked = door()
    link = f"/?login={asked.access.one_time_link_token()}"
    asked.get(link)
    assert asked.get(link).status_code == 303


def test_a_one_time_link_is_valid_for_five_minutes(
    door: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = door()
    token = asked.access.one_time_link_token()
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 302)
    assert not asked.access.use_link(token)


@pytest.mark.parametrize("header", ["Sec-Purpose", "Purpose", "X-Moz"])
def test_a_prefetch_does_not_use_a_link_up(door: Build, header: str) -> None:
    asked = door()
    token = asked.access.one_time_link_token()
    assert asked.get(f"/?login={token}", headers={header: "prefetch"}).status_code == 425
    assert asked.access.use_link(token)


def test_a_session_id_is_no_login_link(door: Build) -> None:
    asked = door(admin_password=PASSWORD)
    session = cookie_of(asked.log_in()).partition("=")[2].partition(";")[0]
    assert not asked.access.use_link(session)


def test_a_folder_that_cannot_be_written_opens_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    access = ReportAccess(Settings(journal=tmp_path / "file" / "journal"))
    assert not access.use_link(access.one_time_link_token())


def test_notes_of_used_logins_are_removed_when_they_are_old(door: Build, tmp_path: Path) -> None:
    access = door().access
    access.use_link(access.one_time_link_token())
    (note,) = (tmp_path / "journal").iterdir()
    os.utime(note, (1, 1))
    access.use_link(access.one_time_link_token())
    assert not note.exists()


def test_a_note_that_another_process_removes_meanwhile_is_none(door: Build, tmp_path: Path) -> None:
    access = door().access
    access.use_link(access.one_time_link_token())
    (tmp_path / "journal" / "login-gone").symlink_to("nowhere")  # found, and not there any more
    assert access.use_link(access.one_time_link_token())


def test_who_is_not_signed_in_can_sign_out_and_leaves_no_note(door: Build, tmp_path: Path) -> None:
    said = door(admin_password=PASSWORD).access.end_session({"HTTP_COOKIE": f"{COOKIE}=made.up"})
    assert said.startswith(f"{COOKIE}=;")
    assert not (tmp_path / "journal").exists()


def test_an_origin_without_a_host_is_another_site() -> None:
    assert not is_same_origin({"HTTP_ORIGIN": "null", "HTTP_HOST": ""})


def test_half_a_character_is_a_wrong_password_like_any_other(door: Build) -> None:
    access = door(admin_password=PASSWORD).access
    assert not access.check_password({}, "\ud800")
    assert not access.check_password({}, PASSWORD + "\udfff")
    assert access.check_password({}, PASSWORD)


@pytest.mark.parametrize("origin", ["http://[", "http://[::1", "//[", "[]://["])
def test_an_origin_that_cannot_be_read_is_another_site(origin: str) -> None:
    assert is_same_origin({"HTTP_ORIGIN": origin, "HTTP_HOST": "www.example.org"}) is False


@pytest.mark.parametrize(
    "token", ["", "\ud800", "ü", "x" * 10_000, ".", "..", "\ud800.a.b"], ids=ascii
)
def test_what_cannot_be_a_login_link_is_none(token: str, door: Build) -> None:
    access = door().access
    assert access.use_link(token) is False
    assert access.session({"HTTP_COOKIE": f"{COOKIE}={token}"}) is None
