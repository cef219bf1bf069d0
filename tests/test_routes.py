"""Our own pages: which path is answered by whom, and what a stranger is told."""

from __future__ import annotations

import logging
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from webtest import TestApp, TestRequest
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from clickmw import ClickMW, __version__, journal
from clickmw.events import new_query_id
from clickmw.health import difference
from clickmw.sites import Key, Site
from clickmw.tokens import LinkTarget

SECRET = "a secret of more than thirty-two characters"
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
ADMIN = {"X-Api-Key": "an admin key of the tests"}
KEYS = [Key(key=ADMIN["X-Api-Key"], scope="admin")]
LEDGER = {
    "status",
    "version",
    "received",
    "stored",
    "duplicates",
    "robots",
    "opted_out",
    "prefetch",
    "rejected",
    "dropped",
    "pending",
    "unjoined",
    "journal_bytes",
    "last_event_ms",
    "store",
}


def host(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"host"]


class Install:
    """A wrapped application and a browser at its door."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.path = folder / "clicks.db"
        given = {"secret": SECRET, "store": f"sqlite:///{self.path}"} | settings
        self.clicks = ClickMW(host, **given)
        self.browser = TestApp(self.clicks, extra_environ={"HTTP_USER_AGENT": BROWSER})

    def click(self, location: str = "https://other.example/a", **headers: str) -> None:
        query_id = new_query_id(int(datetime.now(UTC).timestamp() * 1000))
        target = LinkTarget("", query_id, 1, "BWEB", "", location)
        link = "/_clicks/r/" + self.clicks.door.signer.sign_link(target)
        self.browser.get(link, headers=headers, status=302)

    def health(self) -> dict[str, Any]:
        found: dict[str, Any] = self.browser.get("/_clicks/health", headers=ADMIN, status="*").json
        return found

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
    return make(keys=KEYS)


# -- addresses ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "",
        "x",
        "r",
        "reports",
        "healthy",
        "health/",
        "static/clickmw.js",
        "../setup.cfg",
        "%00",
        "%C3%A9",
        "%E9",
    ],
)
def test_at_other_addresses_there_is_nothing(site: Install, path: str) -> None:
    answer = site.browser.get(f"/_clicks/{path}", status=404)

    assert answer.content_type == "text/plain"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "Location" not in answer.headers


@pytest.mark.parametrize("path", ["x", "health", "clickmw.js", "report/", "r/x"])
def test_no_page_of_ours_is_sent_to_head(site: Install, path: str) -> None:
    request = TestRequest.blank(f"/_clicks/{path}", {"HTTP_USER_AGENT": BROWSER}, method="HEAD")

    _, _, chunks = request.call_application(site.clicks)

    assert b"".join(chunks) == b""


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_what_is_only_read_takes_no_other_method(site: Install, method: str) -> None:
    for path in ("clickmw.js", "health"):
        request = TestRequest.blank(f"/_clicks/{path}", method=method)

        assert site.browser.do_request(request, status="*").status_int in (404, 405)


def test_the_snippet_is_at_its_address(site: Install) -> None:
    answer = site.browser.get("/_clicks/clickmw.js", status=200)

    assert answer.content_type == "text/javascript"


def test_everything_moves_with_the_prefix_and_the_mount(make: Make) -> None:
    site = make(prefix="/a/b")
    mounted = TestApp(DispatcherMiddleware(host, {"/m": site.clicks}))

    for path in ("clickmw.js", "health"):
        assert mounted.get(f"/m/a/b/{path}").status_int == 200


# -- the report --------------------------------------------------------------------------------


def test_the_report_is_closed_until_somebody_says_who_may_see_it(make: Make) -> None:
    answer = make().browser.get("/_clicks/report/", status=403)

    assert "admin_password" in answer.text


def test_the_report_is_open_to_those_who_may_see_it(make: Make) -> None:
    site = make(report_auth=lambda environ: environ.get("HTTP_X_USER") == "admin")
    site.click()
    answer = site.browser.get("/_clicks/report/overview.json", headers={"X-User": "admin"})

    assert answer.json
    assert site.browser.get("/_clicks/report/", status="*").status_int in (302, 303, 401, 403)


def test_the_report_shows_a_click_at_once(make: Make) -> None:
    site = make(report_auth=lambda environ: True)
    site.click("https://other.example/shown-at-once")

    assert "shown-at-once" in site.browser.get("/_clicks/report/results.json").text


def test_today_is_the_day_at_the_site(make: Make) -> None:
    zones = {"Pacific/Kiritimati": 14, "Pacific/Midway": -11}
    sites = [
        Site(
            handle=f"h{hours}".replace("-", "m"), time_zone=zone, hosts=(f"h{abs(hours)}.example",)
        )
        for zone, hours in zones.items()
    ]
    today = make(sites=sites).clicks.door.routes.today

    # The two are 25 hours apart.
    assert (today("h14") - today("hm11")).days in (1, 2)
    assert today(None) == datetime.now(UTC).date()


# -- health ------------------------------------------------------------------------------------


def test_a_stranger_is_told_the_status_alone(site: Install) -> None:
    site.click()

    assert site.browser.get("/_clicks/health").json == {"status": "ok"}


def test_health_is_the_whole_ledger_for_those_who_may_see_the_report(site: Install) -> None:
    site.click()
    health = site.health()

    assert set(health) >= LEDGER
    assert (health["version"], health["received"]) == (__version__, 1)
    assert health["store"] == {"kind": "sqlite", "ok": True, "error": None}


def test_health_before_any_event_is_zero(site: Install) -> None:
    health = site.health()

    assert (health["status"], health["received"], health["pending"]) == ("ok", 0, 0)


def test_the_ledger_adds_up_whatever_comes(site: Install) -> None:
    for headers in (
        {},
        {"Sec-GPC": "1"},
        {"User-Agent": "curl/8"},
        {"Sec-Fetch-Site": "cross-site"},
    ):
        site.click(**headers)
    site.browser.get("/_clicks/r/forged", status=400)
    site.clicks.door.worker.catch_up()
    health = site.health()

    assert difference(health) == 0
    assert health["received"] == 4
    assert health["opted_out"] == 1
    assert health["rejected"] == {"bad_link": 1}


def test_when_events_cannot_be_kept_health_fails(site: Install) -> None:
    site.clicks.door.journal.max_bytes = 1
    site.click()
    answer = site.browser.get("/_clicks/health", status=503)

    assert answer.json == {"status": "failing"}
    assert difference(site.health()) == 0


@pytest.fixture
def quiet(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "_warned", {})
    caplog.set_level(logging.CRITICAL, "clickmw")


@pytest.mark.usefixtures("quiet")
def test_when_the_store_is_away_clicks_wait_and_health_says_so(make: Make, tmp_path: Path) -> None:
    folder = tmp_path / "no folder"
    folder.write_text("a file in its place")
    site = make(store=f"sqlite:///{folder}/clicks.db", journal=tmp_path / "journal", keys=KEYS)
    site.click()
    health = site.health()

    assert (health["status"], health["store"]["ok"]) == ("degraded", False)
    assert (health["received"], health["pending"], difference(health)) == (1, 1, 0)


@pytest.mark.usefixtures("quiet")
def test_when_the_store_is_away_the_report_says_so(make: Make, tmp_path: Path) -> None:
    folder = tmp_path / "no folder"
    folder.write_text("a file in its place")
    site = make(
        store=f"sqlite:///{folder}/clicks.db",
        journal=tmp_path / "journal",
        report_auth=lambda environ: True,
    )
    answer = site.browser.get("/_clicks/report/", status=503)

    assert "Traceback" not in answer.text


def test_health_is_not_kept_by_caches(site: Install) -> None:
    answer = site.browser.get("/_clicks/health")

    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.content_type == "application/json"


# -- where no thread is to be had --------------------------------------------------------------


def test_without_threads_the_end_of_an_answer_drains(site: Install) -> None:
    worker = site.clicks.door.worker
    worker.has_threads = False
    site.click()

    database = sqlite3.connect(site.path)
    stored = database.execute("SELECT count(*) FROM clicks").fetchone()
    database.close()
    assert stored == (1,)


DYING = """
import time
from clickmw import ClickMW
from clickmw.events import new_query_id
from clickmw.tokens import LinkTarget
clicks = ClickMW(None or (lambda environ, start: []), secret={secret!r}, store="sqlite:///clicks.db")
target = LinkTarget("", new_query_id(time.time_ns() // 10**6), 1, "B", "", "https://other.example/")
path = "/_clicks/r/" + clicks.door.signer.sign_link(target)
environ = {{"REQUEST_METHOD": "GET", "PATH_INFO": path, "HTTP_USER_AGENT": {agent!r}}}
list(clicks(environ, lambda *start: None))
"""


def test_a_process_that_ends_leaves_its_clicks_in_the_store(tmp_path: Path) -> None:
    code = DYING.format(secret=SECRET, agent=BROWSER)
    outside = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=outside, check=True)

    database = sqlite3.connect(tmp_path / "clicks.db")
    counted = database.execute("SELECT counted FROM clicks").fetchall()
    database.close()
    assert counted == [(1,)]
