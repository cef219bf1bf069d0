"""Set-up, test clicks, what is never stored, and why there is nothing to show."""

from __future__ import annotations

import ast
import contextlib
import csv
import io
import json
import os
import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from webtest import TestApp

from clickmw import ClickMW
from clickmw.cli import main
from clickmw.drain import Worker
from clickmw.errors import StoreError
from clickmw.lists import REASONS
from clickmw.owner import OWNED, TABS
from clickmw.setting_up import REMEDIES
from clickmw.tallies import KINDS, PROTOCOLS, REFUSALS, WORDS, words_of

CHECKOUT = Path(__file__).resolve().parent.parent
REPORT = "/_clicks/report"
PASSWORD = "correct horse"

Make = Callable[..., ClickMW]
Browse = Callable[[ClickMW], TestApp]


@pytest.fixture
def owner_of(clicks_at: Make, browser_of: Browse) -> Callable[..., TestApp]:
    """Make the browser of a signed-in owner; settings as keywords."""

    def make(**settings: Any) -> TestApp:
        browser = browser_of(clicks_at(admin_password=PASSWORD, **settings))
        browser.authorization = ("Basic", ("anybody", PASSWORD))
        return browser

    return make


Own = Callable[..., TestApp]


def settle(owner: TestApp) -> None:
    """Wait until the store has all that happened; a reader of the report waits but a moment."""
    owner.app.door.worker.catch_up(10.0)


def findings_of(owner: TestApp, **more: Any) -> dict[str, dict[str, str]]:
    """Return what the set-up page found, by topic; of several the last."""
    with contextlib.suppress(StoreError):
        settle(owner)
    found = owner.get(f"{REPORT}/setup.json", **more).json["setup"]
    return {finding["topic"]: finding for finding in found}


def follow_a_result(owner: TestApp, **headers: str) -> None:
    owner.get(owner.get("/search?q=tax").html.a["href"], headers=headers)
    settle(owner)


# -- the chain -------------------------------------------------------------------------------------


def test_before_the_first_event_each_station_says_what_to_do_next(owner_of: Own) -> None:
    found = findings_of(owner_of())
    verdicts = {topic: finding["verdict"] for topic, finding in found.items()}
    assert verdicts == {
        "middleware": "note",
        "journal": "good",
        "disk": "good",
        "store": "good",
        "drain": "good",
        "links": "note",
        "snippet": "note",
        "clicks": "note",
        "events": "note",
        **{topic: "note" for topic in verdicts if topic == "file system"},
    }
    assert all(found[topic]["remedy"] for topic in ("middleware", "links", "snippet", "clicks"))


def test_after_a_search_and_a_click_the_chain_is_complete(owner_of: Own) -> None:
    owner = owner_of()
    page = owner.get("/search?q=tax").html
    token = page.a["href"].rpartition("/")[2]
    owner.get(page.a["href"])
    event = [{"t": "seen", "k": token, "p": [["BWEB", 1]]}]
    owner.post("/_clicks/e", json.dumps(event), content_type="text/plain", status=204)
    found = findings_of(owner)
    assert {topic for topic, each in found.items() if each["verdict"] == "good"} >= {
        *("middleware", "links", "snippet", "clicks", "events")
    }


def test_a_page_that_only_programs_asked_for_is_told_from_none(owner_of: Own) -> None:
    owner = owner_of()
    owner.get("/search?q=tax", headers={"User-Agent": "curl/8.5.0"})
    assert "only programs" in findings_of(owner)["links"]["text"]


def test_clicks_that_do_not_count_are_named_by_their_reason(owner_of: Own) -> None:
    owner = owner_of()
    link = owner.get("/search?q=tax").html.a["href"]
    owner.get(link, headers={"Sec-Fetch-Site": "cross-site"})
    assert findings_of(owner)["clicks"]["text"] == "clicks came and none counts: external"


def test_a_journal_that_cannot_be_written_is_bad(owner_of: Own, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "file").chmod(0o400)
    found = findings_of(owner_of(journal=str(tmp_path / "file" / "journal")))
    assert found["journal"]["verdict"] == "bad"
    assert "CLICKMW_JOURNAL" in found["journal"]["remedy"]


@pytest.mark.parametrize(
    ("settings", "headers", "topic", "verdict"),
    [
        pytest.param({}, {"X-Forwarded-For": "198.51.100.7"}, "proxy", "bad", id="unnamed proxy"),
        pytest.param({"trusted_proxies": 1}, {}, "proxy", "note", id="proxy that is not there"),
        pytest.param(
            {"sites": [{"handle": "a", "hosts": ["a.example"]}]}, {}, "host", "bad", id="host"
        ),
    ],
)
def test_what_a_request_tells_is_looked_at(
    owner_of: Own, settings: dict[str, Any], headers: dict[str, str], topic: str, verdict: str
) -> None:
    owner = owner_of(**settings)
    found = findings_of(owner, headers=headers, extra_environ={"REMOTE_ADDR": "10.0.0.1"})
    assert found[topic]["verdict"] == verdict
    assert found[topic]["remedy"]


def test_a_zone_that_is_not_in_force_is_bad(owner_of: Own) -> None:
    owner_of().get("/search?q=tax")
    first = owner_of()
    follow_a_result(first)
    assert "time zone" not in findings_of(first)
    found = findings_of(owner_of(time_zone="Asia/Kathmandu"))
    assert "kept in UTC" in found["time zone"]["text"]


def test_what_was_refused_comes_with_a_sentence_and_a_remedy(owner_of: Own) -> None:
    owner = owner_of()
    owner.get("/_clicks/r/made-up", status=400)
    found = findings_of(owner)["refused"]
    assert found["text"] == f"1 × bad_link: {WORDS['rejected.bad_link']}"
    assert "old_secrets" in found["remedy"]


def test_the_page_is_there_when_the_store_is_not(owner_of: Own, tmp_path: Path) -> None:
    owner = owner_of(store=f"sqlite:///{tmp_path}/a folder/clicks.db")
    (tmp_path / "a folder").write_text("no folder")
    page = owner.get(f"{REPORT}/setup").html
    assert page.select_one(".chain .wrong b").text == "Store."
    assert owner.get(f"{REPORT}/", status=503).html.select_one('a[href$="/setup"]') is not None


def test_the_page_and_its_files_have_the_same_findings(owner_of: Own) -> None:
    owner = owner_of()
    in_json = owner.get(f"{REPORT}/setup.json").json["setup"]
    in_csv = list(
        csv.DictReader(io.StringIO(owner.get(f"{REPORT}/setup.csv").body.decode("utf-8-sig")))
    )
    assert [row["topic"] for row in in_csv] == [row["topic"] for row in in_json]
    shown = [
        b.text.rstrip(".").lower() for b in owner.get(f"{REPORT}/setup").html.select(".chain b")
    ]
    assert shown == [row["topic"] for row in in_json]


def test_the_tag_to_paste_loads_the_script(owner_of: Own) -> None:
    owner = owner_of()
    pasted = [each.text for each in owner.get(f"{REPORT}/setup").html.select("pre code")]
    (tag,) = [text for text in pasted if text.startswith("<script")]
    source = re.search('src="([^"]+)"', tag)
    assert source
    assert "max-age=31536000" in owner.get(source[1]).headers["Cache-Control"]


def test_the_markup_to_paste_is_markup_that_is_tracked(
    tmp_path: Path, browser_of: Browse, owner_of: Own
) -> None:
    pasted = [each.text for each in owner_of().get(f"{REPORT}/setup").html.select("pre code")]
    (markup,) = [text for text in pasted if text.startswith("<ol")]
    body = markup.replace("{{ query }}", "tax").replace("{{ total }}", "1").encode()

    def page(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/html"), ("Cache-Control", "private")])
        return [body]

    store = f"sqlite:///{tmp_path}/pasted.db"
    clicks = ClickMW(page, secret="s" * 32, store=store)
    link = browser_of(clicks).get("/").html.a["href"]
    clicks.door.worker.close()
    assert link.startswith("/_clicks/r/")


def test_the_pages_of_the_owner_are_documented() -> None:
    text = (CHECKOUT / "docs" / "reference" / "routes.md").read_text()
    routes = {f"`{'GET' if 'GET' in how else how} report/{path}`" for path, how in OWNED.items()}
    assert {route for route in routes if route not in text} == set()


# -- the test click --------------------------------------------------------------------------------


def stations_of(answer: Any) -> dict[str, str]:
    """Return what each station of a test click showed."""
    rows = answer.html.select("#stations li")
    return {row.b.text.rstrip(".").lower(): row.get_text(" ", strip=True) for row in rows}


def test_a_test_click_goes_from_the_link_to_the_row(owner_of: Own) -> None:
    stations = stations_of(owner_of().post(f"{REPORT}/test-click"))
    assert list(stations) == ["link", "redirect", "journal", "store"]
    assert "302 to /_clicks/report/" in stations["redirect"]
    assert "verdict: test" in stations["store"]
    assert all(re.search(r"[\d,]+\.\d ms$", text) for text in stations.values())


def test_a_test_click_is_on_the_live_page(owner_of: Own) -> None:
    owner = owner_of()
    owner.post(f"{REPORT}/test-click")
    rows = owner.get(f"{REPORT}/live.json").json["rows"]
    assert [(row["kind"], row["verdict"]) for row in rows] == [
        ("click", "test"),
        ("search", "test"),
    ]


def test_a_test_click_changes_no_number(owner_of: Own) -> None:
    owner = owner_of()
    follow_a_result(owner)
    names = ("overview", "queries", "results", "positions", "modules", "days")
    before = [owner.get(f"{REPORT}/{name}.csv").text for name in names]
    for _ in range(3):
        owner.post(f"{REPORT}/test-click")
    assert [owner.get(f"{REPORT}/{name}.csv").text for name in names] == before


def test_a_test_click_leaves_books_that_balance(owner_of: Own) -> None:
    owner = owner_of()
    owner.post(f"{REPORT}/test-click")
    health = owner.get("/_clicks/health").json
    assert (health["received"], health["stored"], health["unjoined"]) == (2, 2, 0)
    assert owner.app.door.store.check() == []


def test_the_reason_of_a_test_click_is_in_words(owner_of: Own) -> None:
    owner = owner_of()
    owner.post(f"{REPORT}/test-click")
    rows = owner.get(f"{REPORT}/excluded.json").json["rows"]
    assert {(row["reason"], row["meaning"]) for row in rows} == {("test", REASONS["test"])}


@pytest.mark.parametrize("site", ["north", "south"])
def test_a_test_click_is_of_the_site_that_was_chosen(owner_of: Own, site: str) -> None:
    sites = [{"handle": name, "hosts": [f"{name}.example"]} for name in ("north", "south")]
    owner = owner_of(sites=sites)
    owner.post(f"{REPORT}/test-click", {"site": site})
    assert {row["site"] for row in owner.get(f"{REPORT}/live.json").json["rows"]} == {site}


def test_a_test_click_of_no_site_is_refused(owner_of: Own) -> None:
    owner_of().post(f"{REPORT}/test-click", {"site": "nowhere"}, status=400)


def test_no_client_can_send_a_click_that_does_not_count(owner_of: Own) -> None:
    owner = owner_of()
    follow_a_result(owner, **{"clickmw.test": "1", "Clickmw-Test": "1"})
    rows = owner.get(f"{REPORT}/live.json").json["rows"]
    assert {row["verdict"] for row in rows} == {"counted"}


@pytest.mark.parametrize("optout", ["drop", "anonymous", "ignore"])
def test_a_test_click_arrives_whatever_the_settings_leave_out(owner_of: Own, optout: str) -> None:
    owner = owner_of(optout=optout, count_trust=["keyed"], visitor="none")
    answer = owner.post(f"{REPORT}/test-click", headers={"DNT": "1", "User-Agent": "curl/8"})
    assert "verdict: test" in stations_of(answer)["store"]


def test_a_test_click_that_is_lost_names_its_last_station(owner_of: Own, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    owner = owner_of(journal=str(tmp_path / "file" / "journal"))
    answer = owner.post(f"{REPORT}/test-click")
    stations = stations_of(answer)
    assert list(stations) == ["link", "redirect", "journal"]
    assert "No record of it" in stations["journal"]
    assert answer.html.select_one("[role=alert]") is not None


def test_a_test_click_does_not_wait_for_ever(
    owner_of: Own, monkeypatch: pytest.MonkeyPatch
) -> None:
    routes = owner_of().app.door.routes
    monkeypatch.setattr("clickmw.trial.WAIT_S", 0.5)
    monkeypatch.setattr(Worker.catch_up, "__defaults__", (0.25,))
    drain = routes.worker.drain
    other = type(drain)(drain.folder, drain.open_store, first=True)
    assert other.lock.take()
    start = time.monotonic()
    stations = routes.try_click()
    other.close()
    assert (stations[-1].name, stations[-1].ok) == ("store", False)
    assert "is a drain running?" in stations[-1].text
    assert time.monotonic() - start < 60


def test_the_button_shows_the_verdict_in_a_browser(real_site: Any, profile_of: Any) -> None:
    real_site.start(real_site.database.parent / "open", report_auth=lambda environ: True)
    tab = profile_of().new_page()
    tab.goto(f"{real_site.address}{REPORT}/setup")
    tab.get_by_role("button", name="Send a test click").click()
    tab.get_by_text("It went all the way.").wait_for()
    assert "verdict: test" in tab.locator("#stations").inner_text()
    tab.get_by_role("link", name="live page").click()
    assert "test" in tab.locator(".rows-live .verdict").first.inner_text()


@pytest.mark.parametrize("page", ["setup", "shares"])
def test_the_owners_pages_fit_a_narrow_screen(real_site: Any, profile_of: Any, page: str) -> None:
    folder = real_site.database.parent / ("a-long-name-without-a-space" * 3)
    folder.mkdir()
    real_site.start(folder, report_auth=lambda environ: True)
    real_site.clicks.door.routes.access.shares.make("for somebody " * 5, "", 30)
    tab = profile_of(viewport={"width": 320, "height": 800}).new_page()
    tab.goto(f"{real_site.address}{REPORT}/{page}")
    assert tab.evaluate("document.documentElement.scrollWidth") == 320


# -- the doctor ------------------------------------------------------------------------------------


def doctor(store: str, **environ: str) -> tuple[int, dict[str, dict[str, str]]]:
    """Return the exit code of ``clickmw doctor`` and what it found, by topic."""
    result = CliRunner(env=environ).invoke(main, ["--store", store, "doctor", "--json"])
    return result.exit_code, {finding["topic"]: finding for finding in json.loads(result.stdout)}


@pytest.fixture
def begun(owner_of: Own, tmp_path: Path) -> str:
    """The store of a site that has had a visitor, its journal beside it."""
    owner = owner_of(journal=str(tmp_path / "clicks.db.journal"))
    follow_a_result(owner)
    return f"sqlite:///{tmp_path}/clicks.db"


def test_the_doctor_ends_with_a_test_click(begun: str, tmp_path: Path) -> None:
    code, found = doctor(begun, CLICKMW_SECRET="s" * 32)
    assert (code, list(found)[-1], found["test click"]["verdict"]) == (0, "test click", "good")
    assert re.search(r"store stored, verdict: test, [\d,.]+ ms$", found["test click"]["text"])
    with closing(sqlite3.connect(tmp_path / "clicks.db")) as database:
        kept = database.execute("SELECT counted, drop_reason FROM clicks ORDER BY received_ms")
        assert kept.fetchall() == [(1, None), (0, "test")]


@pytest.mark.parametrize(
    ("store", "environ", "why"),
    [
        pytest.param("", {}, "the site's secret", id="no secret"),
        pytest.param("/none.db", {"CLICKMW_SECRET": "s" * 32}, "has not begun", id="no journal"),
    ],
)
def test_the_doctor_says_why_it_sends_none(
    begun: str, tmp_path: Path, store: str, environ: dict[str, str], why: str
) -> None:
    _, found = doctor(f"sqlite:///{tmp_path}{store}" if store else begun, **environ)
    assert found["test click"]["verdict"] == "note"
    assert why in found["test click"]["text"]
    assert not (tmp_path / "none.db").exists()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can give it away")
def test_the_doctor_leaves_nothing_that_the_site_could_not_read(begun: str, tmp_path: Path) -> None:
    folder = tmp_path / "clicks.db.journal"
    os.chown(folder, 65534, 65534)
    before = sorted(folder.iterdir())
    _, found = doctor(begun, CLICKMW_SECRET="s" * 32)
    assert "another user" in found["test click"]["text"]
    assert sorted(folder.iterdir()) == before


# -- what is never stored --------------------------------------------------------------------------

#: Parts of reasons that the code puts together while it runs.
MADE_UP = {
    "rejected.mcp_": ("method", "invalid", "key", "scope", "host", "origin"),
    "rejected.hienergy_": ("bad_request", "forbidden", "unauthorized"),
    "rejected.": ("addsearch_method", "addsearch_key", "addsearch_invalid"),
    "dropped.": ("journal_full", "disk_full", "not_writable", "io_error", "no_descriptors"),
    "unsigned.": (
        *("path", "host", "fragment", "length", "private", "empty", "control", "space"),
        *("backslash", "scheme", "userinfo", "port", "module", "position"),
    ),
}
_COUNTING = {"tally": "", "_refuse": "", "NotKept": "", "add_to": "", "reject": "rejected."}


def texts_of(node: ast.AST) -> Iterator[str]:
    """Yield the texts that an argument may be; of an f-string what stands before its first value."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        first = node.values[0]
        yield (str(first.value) if isinstance(first, ast.Constant) else "") + "…"
    elif isinstance(node, ast.IfExp):
        yield from (*texts_of(node.body), *texts_of(node.orelse))


def counted_names() -> Iterator[str]:
    """Yield every name that some call adds to the ledger, "…" for what is only known later."""
    for path in sorted((CHECKOUT / "clickmw").rglob("*.py")):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call):
                function = getattr(call.func, "attr", getattr(call.func, "id", ""))
                names = [text for each in call.args for text in texts_of(each)]
                if function in _COUNTING:
                    yield from (_COUNTING[function] + name for name in names)
            elif isinstance(call, ast.Assign) and isinstance(call.value, ast.JoinedStr):
                yield from texts_of(call.value)


def never_stored() -> set[str]:
    """Return the names of everything that may be counted instead of stored, or left unsigned."""
    heads = (*KINDS, "unsigned.")
    found = {name for name in counted_names() if name.startswith(heads)}
    made = {name.removesuffix("…") for name in found if name.endswith("…")}
    assert made == set(MADE_UP), "say in MADE_UP what this may become"
    known = {name for name in found if not name.endswith("…")}
    return known | {head + rest for head, rests in MADE_UP.items() for rest in rests}


def test_every_reason_that_the_code_knows_has_a_sentence() -> None:
    names = never_stored()
    assert len(names) > 50
    assert {name for name in names if not words_of(name)} == set()


def test_every_sentence_is_of_a_reason_that_the_code_knows() -> None:
    names = never_stored() | {"dropped.torn", "dropped.unstorable"}
    assert set(WORDS) - names == set()
    reasons = {name.removeprefix("rejected.").partition("_")[::2] for name in names}
    assert set(PROTOCOLS) - {head for head, _ in reasons} == set()
    assert set(REFUSALS) - {rest for head, rest in reasons if head in PROTOCOLS} == set()


def test_every_remedy_is_of_a_tally() -> None:
    assert set(REMEDIES) <= set(WORDS)


def test_an_unknown_reason_has_no_words() -> None:
    assert words_of("rejected.nothing_of_ours") == ""


def test_the_ledger_lists_what_was_never_stored(owner_of: Own) -> None:
    owner = owner_of()
    link = owner.get("/search?q=tax").html.a["href"]
    owner.get("/_clicks/r/made-up", status=400)
    owner.get(link, headers={"Sec-Purpose": "prefetch"}, status=425)
    owner.get(link, headers={"DNT": "1"})
    settle(owner)
    rows = owner.get(f"{REPORT}/ledger.json").json["rows"]
    assert {(row["what"], row["reason"], row["events"]) for row in rows} == {
        ("refused", "bad_link", 1),
        ("loaded ahead", "", 1),
        ("opted out", "", 1),
    }
    assert all(row["meaning"] for row in rows)


def test_the_ledger_stands_below_the_live_events(owner_of: Own) -> None:
    owner = owner_of()
    owner.get("/_clicks/r/made-up", status=400)
    settle(owner)
    table = owner.get(f"{REPORT}/live").html.select_one(".rows-ledger")
    assert "bad_link" in table.text


# -- why there is nothing to show ------------------------------------------------------------------


def heading(owner: TestApp, path: str = "/", **more: Any) -> str:
    return str(owner.get(f"{REPORT}{path}", **more).html.h1.text)


def test_no_event_ever_leads_to_the_set_up(owner_of: Own) -> None:
    page = owner_of().get(f"{REPORT}/").html
    assert page.h1.text == "No events yet"
    assert page.select_one(f'a.button[href="{REPORT}/setup"]') is not None


def test_test_clicks_alone_are_no_events(owner_of: Own) -> None:
    owner = owner_of()
    owner.post(f"{REPORT}/test-click")
    assert heading(owner) == "Only test clicks yet"


def test_nothing_that_matches_is_told_from_nothing_in_these_days(owner_of: Own) -> None:
    owner = owner_of()
    follow_a_result(owner)
    assert heading(owner, "/?language=xx") == "Nothing matches these filters"
    days = "from=2020-01-01&to=2020-01-31"
    assert heading(owner, f"/?{days}") == "Nothing in this period"
    assert heading(owner, f"/?{days}&language=xx") == "Nothing in this period"


def test_a_broken_store_is_told_from_an_empty_one(owner_of: Own, tmp_path: Path) -> None:
    (tmp_path / "damaged.db").write_bytes(b"this is no database, by any means" * 100)
    owner = owner_of(store=f"sqlite:///{tmp_path}/damaged.db")
    page = owner.get(f"{REPORT}/", status=503).html
    assert page.h1.text == "The store cannot be read now"
    assert page.select_one('a[href$="/setup"]') is not None


# -- privacy and definitions -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"keep_days": 30}, "deleted after 30 days"),
        ({"keep_days": 1000}, "deleted after 1,000 days"),
        ({}, "more than two days old"),
        ({"visitor": "none"}, "Visitors are not told apart"),
        ({"visitor": lambda environ: "x"}, "names its visitors itself"),
        ({}, "compared for 48 hours"),
        ({"dedupe_window_s": 90}, "repeated clicks within 1.5 minutes"),
        ({"count_trust": ["signed"]}, "whose trust is session or keyed or anonymous"),
        ({}, "is left alone"),
        ({"optout": "anonymous"}, "kept without a visitor"),
        ({"optout": "ignore"}, "treats everybody alike"),
    ],
)
def test_the_definitions_page_says_what_is_true_here(
    owner_of: Own, settings: dict[str, Any], said: str
) -> None:
    owner = owner_of(**settings)
    assert said in owner.get(f"{REPORT}/definitions").html.main.text
    assert said in str(owner.get(f"{REPORT}/definitions.json").json["kept"])


def test_every_definition_has_a_sentence_and_a_formula(owner_of: Own) -> None:
    rows = owner_of().get(f"{REPORT}/definitions.json").json["definitions"]
    assert len({row["metric"] for row in rows}) == len(rows) > 12
    assert all(row["definition"] and row["formula"] for row in rows)


def test_the_tabs_of_the_owner_are_pages(owner_of: Own) -> None:
    owner = owner_of()
    ways = {a["href"].rpartition("/")[2] for a in owner.get(f"{REPORT}/").html.select(".tabs a")}
    assert {name for name, _ in TABS} <= ways
    for name, _ in TABS:
        page = owner.get(f"{REPORT}/{name}").html
        assert page.select_one(".tabs [aria-current=page]")["href"].endswith(name)
        assert page.select("[style], script:not([src])") == []
