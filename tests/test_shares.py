"""Links that show the report to whoever has them, for a while, and nothing else."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from webtest import TestApp

from clickmw import ClickMW
from clickmw import shares as shares_module
from clickmw.catalog import PAGES, PANELS
from clickmw.login import SHARE_COOKIE
from clickmw.owner import OWNED
from clickmw.shares import DAY_MS, SESSION_S, TERMS, Shares

SECRET = "thirty-two characters or more are fine"
PASSWORD = "correct horse"
REPORT = "/_clicks/report"
SITES = [
    {"handle": "north", "hosts": ["north.example"]},
    {"handle": "south", "hosts": ["south.example"]},
]
#: The subject of pages that need one.
ABOUT = {"query": "?query=tax", "url": "?url=https%3A%2F%2Fexample.org%2F1"}

NAMES = ("overview", "definitions", *PANELS, *PAGES)
Make = Callable[..., ClickMW]
Browse = Callable[[ClickMW], TestApp]


@pytest.fixture
def shares(tmp_path: Path) -> Shares:
    """The links of an install that has none yet."""
    return Shares(tmp_path / "journal", SECRET)


@pytest.fixture
def owner(clicks_at: Make, browser_of: Browse) -> TestApp:
    """The browser of somebody who knows the password; each of two sites has a search and a click."""
    clicks = clicks_at(sites=SITES, admin_password=PASSWORD)
    browser = browser_of(clicks)
    for site in SITES:
        host = {"Host": site["hosts"][0]}
        link = browser.get(f"/search?q=words+of+{site['handle']}", headers=host).html.a["href"]
        browser.get(link, headers=host)
    clicks.door.worker.catch_up(10.0)
    browser.post(f"{REPORT}/login", {"password": PASSWORD})
    return browser


def make_link(owner: TestApp, site: str = "", label: str = "the board", days: int = 7) -> str:
    """Return the address of a new link, from its root on."""
    form = {"label": label, "site": site, "days": str(days)}
    shown: str = owner.post(f"{REPORT}/share", form).html.select_one("#link").text
    return "/" + shown.partition("://")[2].partition("/")[2]


def visitor_of(owner: TestApp, link: str) -> TestApp:
    """Return the browser of somebody else who has followed *link*."""
    browser = TestApp(owner.app)
    browser.get(link, status=303)
    return browser


def path_of(name: str, form: str) -> str:
    """Return the address of a panel or page, with what it is about where that must be said."""
    page = PAGES.get(name) or PANELS.get(name)
    return f"{REPORT}/{name}{form}{ABOUT.get(page.needs, '') if page else ''}"


def withdraw_all(owner: TestApp) -> None:
    page = owner.get(f"{REPORT}/shares")
    for field in page.html.select("[name=name]"):
        owner.post(f"{REPORT}/unshare", {"name": field["value"]}, status=303)


# -- the links by themselves -----------------------------------------------------------------------


def test_a_link_leads_to_what_it_was_made_for(shares: Shares) -> None:
    share = shares.follow(shares.make("the board", "north", 30))
    assert share is not None
    assert (share.label, share.site) == ("the board", "north")
    assert share.expires_ms - share.made_ms == 30 * DAY_MS


@pytest.mark.parametrize("token", ["", "x", "a.b", "\u00e9", "x" * 5000, "../../etc/passwd"])
def test_a_link_that_is_made_up_is_none(shares: Shares, token: str) -> None:
    assert shares.follow(token) is None


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    max_examples=60,
    deadline=None,
)
@given(data=st.data())
def test_no_changed_character_is_accepted(shares: Shares, data: st.DataObject) -> None:
    token = shares.make("x", "", 1)
    at = data.draw(st.integers(0, len(token) - 2))  # some last characters mean the same bytes
    other = data.draw(st.characters(codec="ascii").filter(lambda each: each != token[at]))
    assert shares.follow(token[:at] + other + token[at + 1 :]) is None


def test_a_link_is_over_on_its_day(shares: Shares, monkeypatch: pytest.MonkeyPatch) -> None:
    token, now = shares.make("x", "", 1), time.time()
    monkeypatch.setattr(time, "time", lambda: now + 86_399)
    assert shares.follow(token) is not None
    monkeypatch.setattr(time, "time", lambda: now + 86_401)
    assert shares.follow(token) is None


def test_a_link_that_is_over_leaves_no_file(
    shares: Shares, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares.make("x", "", 1)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 86_401)
    assert shares.all() == []
    assert list((tmp_path / "journal").iterdir()) == []


def test_the_newest_link_comes_first(shares: Shares, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    for second, label in enumerate(("old", "middle", "new")):
        monkeypatch.setattr(time, "time", lambda second=second: now + second)
        shares.make(label, "", 1)
    assert [share.label for share in shares.all()] == ["new", "middle", "old"]


def test_only_its_user_may_read_the_file(shares: Shares, tmp_path: Path) -> None:
    shares.make("x", "", 1)
    (path,) = (tmp_path / "journal").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_nobody_can_make_the_link_from_what_is_kept(shares: Shares, tmp_path: Path) -> None:
    token = shares.make("x", "", 1)
    (path,) = (tmp_path / "journal").iterdir()
    assert token.partition(".")[0] not in path.name + path.read_text()


def test_other_processes_know_a_link_and_its_end_at_once(shares: Shares, tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from clickmw.shares import Shares\n"
        "shares = Shares(Path(sys.argv[1]), sys.argv[2])\n"
        "for line in sys.stdin: print(shares.follow(line.strip()) is not None, flush=True)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "journal"), SECRET],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdin
        assert process.stdout
        token = shares.make("x", "", 1)
        said = []
        for step in (lambda: None, lambda: shares.revoke(shares.all()[0].name)):
            step()
            process.stdin.write(token + "\n")
            process.stdin.flush()
            said.append(process.stdout.readline().strip())
        process.stdin.close()
    assert said == ["True", "False"]


def test_a_link_outlives_a_secret_that_is_remembered(tmp_path: Path) -> None:
    token = Shares(tmp_path, "o" * 40).make("x", "", 1)
    assert Shares(tmp_path, "n" * 40, ("o" * 40,)).follow(token) is not None
    assert Shares(tmp_path, "n" * 40).follow(token) is None


def test_a_session_is_no_link_and_a_link_no_session(shares: Shares) -> None:
    token = shares.make("x", "", 1)
    (share,) = shares.all()
    assert shares.follow(shares.session(share)) is None
    assert shares.of_session(token) is None
    assert shares.of_session(shares.session(share)) == share


def test_a_session_ends_after_twelve_hours(shares: Shares, monkeypatch: pytest.MonkeyPatch) -> None:
    shares.make("x", "", 30)
    session, now = shares.session(shares.all()[0]), time.time()
    monkeypatch.setattr(time, "time", lambda: now + SESSION_S + 5)
    assert shares.of_session(session) is None


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", "null", '{"label": 1}', "\x00", '{"label": "x", "site": ""}']
)
def test_a_damaged_file_is_no_link(shares: Shares, tmp_path: Path, content: str) -> None:
    token = shares.make("x", "", 1)
    (path,) = (tmp_path / "journal").iterdir()
    path.write_text(content)
    assert (shares.follow(token), shares.all()) == (None, [])


@pytest.mark.parametrize("name", ["", "..", "../x", "share-", "A" * 32, "0" * 33])
def test_a_name_that_is_none_removes_nothing(shares: Shares, tmp_path: Path, name: str) -> None:
    shares.make("x", "", 1)
    (tmp_path / "x").write_text("kept")
    shares.revoke(name)
    assert len(shares.all()) == 1
    assert (tmp_path / "x").exists()


def test_nobody_makes_links_without_end(shares: Shares, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shares_module, "_MOST_SHARES", 2)
    tokens = [shares.make("x", "", 1) for _ in range(2)]
    with pytest.raises(OSError, match="there are 2 links already: withdraw some"):
        shares.make("x", "", 1)
    shares.revoke(shares.all()[0].name)
    assert shares.follow(shares.make("y", "", 1)) is not None
    assert len([token for token in tokens if shares.follow(token)]) == 1


@pytest.mark.parametrize("name", ["", "..", "A" * 32, "0" * 33])
def test_a_name_that_is_none_finds_nothing(shares: Shares, name: str) -> None:
    assert shares.find(name) is None


# -- the page --------------------------------------------------------------------------------------


def test_a_link_is_shown_once(owner: TestApp) -> None:
    link = make_link(owner)
    page = owner.get(f"{REPORT}/shares")
    assert link.partition("share=")[2] not in page.text
    assert page.html.select_one("#link") is None
    assert "the board" in page.html.select_one(".rows-shares").text


def test_the_link_names_the_host_that_was_asked(owner: TestApp) -> None:
    owner.authorization = ("Basic", ("anybody", PASSWORD))
    form = {"label": "x", "days": "1"}
    page = owner.post(f"{REPORT}/share", form, headers={"Host": "north.example"})
    assert page.html.select_one("#link").text.startswith(f"http://north.example{REPORT}/?share=")


@pytest.mark.parametrize("days", TERMS)
def test_a_link_lasts_as_long_as_was_said(owner: TestApp, days: int) -> None:
    make_link(owner, days=days)
    (row,) = owner.get(f"{REPORT}/shares.json").json["shares"]
    assert row["expires_ms"] - row["made_ms"] == days * DAY_MS


@pytest.mark.parametrize(
    "form",
    [
        pytest.param({"label": "x", "days": "2"}, id="term"),
        pytest.param({"label": "x", "days": ""}, id="no term"),
        pytest.param({"label": " ", "days": "1"}, id="no label"),
        pytest.param({"label": "x" * 81, "days": "1"}, id="long label"),
        pytest.param({"label": "a\u202eb", "days": "1"}, id="label that turns"),
        pytest.param({"label": "x", "days": "1", "site": "west"}, id="site"),
    ],
)
def test_a_form_that_asks_for_something_else_makes_no_link(
    owner: TestApp, form: dict[str, str]
) -> None:
    owner.post(f"{REPORT}/share", form, status=400)
    assert owner.get(f"{REPORT}/shares.json").json == {"shares": []}


@pytest.mark.parametrize(
    "label",
    ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{ 7*7 }}", "&lt;b id=xss>"],
)
def test_hostile_labels_stay_text(owner: TestApp, label: str) -> None:
    make_link(owner, label=label)
    page = owner.get(f"{REPORT}/shares").html
    assert page.select_one(".rows-shares bdi").text == label
    assert page.select("script, img, #xss") == []


@pytest.mark.parametrize("path", sorted(p for p, method in OWNED.items() if method == "POST"))
@pytest.mark.parametrize(
    "headers",
    [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}, {"Origin": "null"}],
    ids=str,
)
def test_a_form_of_another_site_does_nothing(
    owner: TestApp, path: str, headers: dict[str, str]
) -> None:
    make_link(owner)
    (name,) = [field["value"] for field in owner.get(f"{REPORT}/shares").html.select("[name=name]")]
    form = {"label": "x", "days": "1", "name": name}
    owner.post(f"{REPORT}/{path}", form, headers=headers, status=403)
    assert len(owner.get(f"{REPORT}/shares.json").json["shares"]) == 1
    assert "test" not in {row["verdict"] for row in owner.get(f"{REPORT}/live.json").json["rows"]}


@pytest.mark.parametrize("path", sorted(OWNED))
def test_a_stranger_gets_none_of_the_owners_pages(owner: TestApp, path: str) -> None:
    stranger = TestApp(owner.app)
    ask = stranger.post if OWNED[path] == "POST" else stranger.get
    ask(f"{REPORT}/{path}", status=403)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_says_so(owner: TestApp, tmp_path: Path) -> None:
    (tmp_path / "journal").chmod(0o500)
    owner.post(f"{REPORT}/share", {"label": "x", "days": "1"}, status=503)
    (tmp_path / "journal").chmod(0o700)


def test_a_journal_that_is_a_file_keeps_no_link(
    clicks_at: Make, browser_of: Browse, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    browser = browser_of(clicks_at(journal=str(tmp_path / "file"), admin_password=PASSWORD))
    browser.post(f"{REPORT}/login", {"password": PASSWORD})
    page = browser.post(f"{REPORT}/share", {"label": "x", "days": "1"}, status=503)
    assert "journal folder cannot be written" in page.text


# -- whoever follows a link ------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["", ".json", ".csv"])
def test_a_link_opens_every_panel_but_the_ledger(owner: TestApp, form: str) -> None:
    visitor = visitor_of(owner, make_link(owner))
    answers = {name: visitor.get(path_of(name, form), expect_errors=True) for name in NAMES}
    assert [name for name in NAMES if answers[name].status_int != 200] == ["ledger"]
    assert answers["ledger"].status_int == 403


def test_the_link_leads_to_the_page_it_stands_on(owner: TestApp) -> None:
    token = make_link(owner).partition("share=")[2]
    answer = TestApp(owner.app).get(f"{REPORT}/queries?period=7d&share={token}", status=303)
    assert answer.location.endswith(f"{REPORT}/queries?period=7d")


@pytest.mark.parametrize("form", ["", ".json", ".csv"])
def test_a_link_to_one_site_shows_nothing_of_another(owner: TestApp, form: str) -> None:
    visitor = visitor_of(owner, make_link(owner, site="north"))
    texts = {name: visitor.get(path_of(name, form), expect_errors=True).text for name in NAMES}
    assert [name for name in NAMES if "south" in texts[name]] == []


def test_a_link_to_one_site_has_that_sites_numbers(owner: TestApp) -> None:
    visitor = visitor_of(owner, make_link(owner, site="north"))
    rows = visitor.get(f"{REPORT}/queries.json").json["rows"]
    assert [row["query"] for row in rows] == ["words of north"]


@pytest.mark.parametrize("asked", ["south", "nowhere", "NORTH", "%20south"])
def test_another_site_is_as_unknown_as_one_that_is_not_there(owner: TestApp, asked: str) -> None:
    visitor = visitor_of(owner, make_link(owner, site="north"))
    answer = visitor.get(f"{REPORT}/queries.json?site={asked}", status=400)
    assert answer.json == {"error": "There is no site of this name."}


@pytest.mark.parametrize(
    "query", ["site=&site=south", "site=north&site=south", "site=%20&site=south"]
)
def test_no_second_site_slips_in(owner: TestApp, query: str) -> None:
    visitor = visitor_of(owner, make_link(owner, site="north"))
    text = visitor.get(f"{REPORT}/queries.json?{query}", expect_errors=True).text
    assert "words of south" not in text


@pytest.mark.parametrize("path", sorted(OWNED))
def test_a_link_opens_none_of_the_owners_pages(owner: TestApp, path: str) -> None:
    visitor = visitor_of(owner, make_link(owner))
    ask = visitor.post if OWNED[path] == "POST" else visitor.get
    ask(f"{REPORT}/{path}", status=403)


@pytest.mark.parametrize("name", ["queries", "overview", "live"])
def test_a_link_only_reads(owner: TestApp, name: str) -> None:
    visitor_of(owner, make_link(owner)).post(f"{REPORT}/{name}", status=405)


def test_of_the_health_a_link_shows_the_status_alone(owner: TestApp) -> None:
    visitor = visitor_of(owner, make_link(owner))
    assert visitor.get(f"{REPORT}/overview.json").json["health"] == {"status": "ok"}
    assert visitor.get("/_clicks/health").json == {"status": "ok"}
    page = visitor.get(f"{REPORT}/").html
    assert page.select(".health dd") == []
    assert page.select_one(".status").text == "ok"


def test_a_link_shows_no_way_to_what_it_does_not_open(owner: TestApp) -> None:
    page = visitor_of(owner, make_link(owner)).get(f"{REPORT}/live").html
    ways = {a["href"].partition("?")[0].rpartition("/")[2] for a in page.select("a[href]")}
    assert ways & {*OWNED, "ledger"} == set()


def test_a_store_in_trouble_tells_nothing_to_a_link(
    owner: TestApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    visitor = visitor_of(owner, make_link(owner))
    owner.app.door.worker.close()
    owner.app.door.store.close()
    for path in tmp_path.glob("clicks.db*"):
        if path.is_file():
            path.write_bytes(b"this is no database, by any means" * 100)
    answer = visitor.get(f"{REPORT}/", status=503)
    assert str(tmp_path) not in answer.text
    assert "setup" not in answer.text


def test_an_owner_who_follows_a_link_stays_one(owner: TestApp) -> None:
    owner.get(make_link(owner), status=303)
    owner.get(f"{REPORT}/shares", status=200)


# -- the end of a link -----------------------------------------------------------------------------


def test_a_withdrawn_link_ends_the_sessions_that_began_with_it(owner: TestApp) -> None:
    visitor = visitor_of(owner, make_link(owner))
    withdraw_all(owner)
    visitor.get(f"{REPORT}/", status=403)


def test_withdrawing_one_link_leaves_the_others(owner: TestApp) -> None:
    visitor = visitor_of(owner, make_link(owner, label="kept"))
    make_link(owner, label="gone")
    for row in owner.get(f"{REPORT}/shares").html.select(".rows-shares tbody tr"):
        if row.bdi.text == "gone":
            owner.post(f"{REPORT}/unshare", {"name": row.select_one("[name=name]")["value"]})
    visitor.get(f"{REPORT}/", status=200)


def test_unknown_over_and_withdrawn_links_get_the_same_answer(
    owner: TestApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    withdrawn = make_link(owner)
    withdraw_all(owner)
    over = make_link(owner, days=1)
    now, stranger = time.time(), TestApp(owner.app)
    monkeypatch.setattr(time, "time", lambda: now + 86_401)
    links = (f"{REPORT}/?share=made-up", withdrawn, over, over[:-1], over + "x")
    answers = {(a.status, a.text) for a in (stranger.get(link, status=403) for link in links)}
    assert len(answers) == 1


def test_a_link_that_is_over_says_so_in_the_form_that_was_asked_for(owner: TestApp) -> None:
    answer = TestApp(owner.app).get(f"{REPORT}/queries.json?share=x", status=403)
    assert "ends on its day" in answer.json["error"]


def test_whoever_had_a_link_can_still_sign_in(owner: TestApp) -> None:
    visitor = visitor_of(owner, make_link(owner))
    withdraw_all(owner)
    page = visitor.get(f"{REPORT}/", status=403)
    assert "ends on its day" in page.text
    assert page.html.select_one("[name=password]") is not None


@pytest.mark.parametrize("value", ["", "x", "a.b.c", "x" * 5000])
def test_a_made_up_session_reads_nothing(owner: TestApp, value: str) -> None:
    make_link(owner)
    stranger = TestApp(owner.app)
    headers = {"Cookie": f"{SHARE_COOKIE}={value}"}
    stranger.get(f"{REPORT}/", headers=headers, status=403)


def test_the_cookie_is_kept_from_scripts_and_other_sites(owner: TestApp) -> None:
    answer = TestApp(owner.app).get(make_link(owner), status=303)
    attributes = answer.headers["Set-Cookie"].split("; ")[1:]
    assert attributes == ["Max-Age=43200", "Path=/_clicks", "HttpOnly", "SameSite=Lax"]


def test_what_is_kept_of_a_link_is_this(owner: TestApp, tmp_path: Path) -> None:
    make_link(owner, site="north")
    (path,) = (tmp_path / "journal").glob("share-*")
    kept: dict[str, Any] = json.loads(path.read_text())
    assert sorted(kept) == ["expires_ms", "label", "made_ms", "site"]
    assert re.fullmatch("share-[0-9a-f]{32}", path.name)
