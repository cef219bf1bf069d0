"""One click from the results page to its row in the report, station by station.

A traveller makes the whole journey once; each test looks at what one station left behind.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import flask
import pytest
from webtest import TestApp, TestResponse

from clickmw import ClickMW
from clickmw.assets import marked_name
from clickmw.events import Click, Search, Shown
from clickmw.health import difference
from clickmw.journal import read_records, segment_paths
from clickmw.tokens import LinkTarget

BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
ADDRESS = "198.51.100.7"
RESULTS = ["/guides/first", "https://other.example/second?a=1&b=2", "mailto:help@other.example"]
PAGE = """<!doctype html><title>Search</title><body>
<ol data-click-module="BWEB" data-click-total="32" data-click-offset="10">
{% for url in results %}<li><a class="title" data-click href="{{ url }}">Result</a></li>
{% endfor %}</ol></body>
"""


def search_site(folder: Path) -> flask.Flask:
    app = flask.Flask("journey", instance_path=str(folder))
    app.config["SECRET_KEY"] = "a secret of more than thirty-two characters"

    @app.get("/search")
    def search() -> str:
        return flask.render_template_string(PAGE, results=RESULTS)

    return app


@dataclass
class Journey:
    """What each station left behind."""

    clicks: ClickMW
    browser: TestApp
    page: TestResponse
    link: str
    answer: TestResponse
    journal: list[Any] = field(default_factory=list)
    waiting: dict[str, Any] = field(default_factory=dict)
    stored: dict[str, Any] = field(default_factory=dict)
    health: dict[str, Any] = field(default_factory=dict)

    def report(self, panel: str) -> Any:
        return self.browser.get(f"/_clicks/report/{panel}.json").json

    @property
    def token(self) -> LinkTarget:
        return self.clicks.door.signer.read_link(self.link.removeprefix("/_clicks/r/"))


def travel(folder: Path) -> Journey:
    clicks = ClickMW(search_site(folder), report_auth=lambda environ: True)
    worker = clicks.door.worker
    # Nobody drains until we say so.
    worker.has_threads, worker.drain.last_pass = False, float("inf")
    environ = {"HTTP_USER_AGENT": BROWSER, "REMOTE_ADDR": ADDRESS, "HTTP_HOST": "www.example.org"}
    browser = TestApp(clicks, extra_environ=environ)

    page = browser.get("/search?q=Tax+Form")
    link = page.html.find_all("a")[1]["href"]
    headers = {
        "Sec-Fetch-Site": "same-origin",
        "Sec-Fetch-Mode": "navigate",
        "Sec-Fetch-User": "?1",
    }
    answer = browser.get(link, headers=headers)
    trip = Journey(clicks, browser, page, link, answer)
    for path in segment_paths(clicks.settings.journal):
        for record in read_records(path, 0, most=100, sealed=False):
            trip.journal += [stored.event for stored in record.events]
    trip.waiting = clicks.door.routes.read_health()

    worker.drain.run_once()
    database = sqlite3.connect(clicks.settings.database or "")
    database.row_factory = sqlite3.Row
    for view in ("searches", "impressions", "clicks"):
        trip.stored[view] = [dict(row) for row in database.execute(f"SELECT * FROM {view}")]
    database.close()
    trip.health = clicks.door.routes.read_health()
    return trip


@pytest.fixture(scope="module")
def trip(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Journey]:
    journey = travel(tmp_path_factory.mktemp("journey") / "instance")
    yield journey
    journey.clicks.door.worker.close()
    journey.clicks.door.store.close()


def test_scanner_and_rewrite_sign_the_links_that_may_be_followed(trip: Journey) -> None:
    hrefs = [link["href"] for link in trip.page.html.find_all("a")]

    assert [href.startswith("/_clicks/r/") for href in hrefs] == [True, True, False]
    assert hrefs[2] == RESULTS[2]
    assert trip.page.html.script["src"] == f"/_clicks/{marked_name('clickmw.js')}"


def test_the_token_remembers_where_the_link_stood(trip: Journey) -> None:
    site, query_id, *place = trip.token

    assert (site, len(query_id)) == ("", 16)
    assert place == [12, "BWEB", "", RESULTS[1]]


def test_the_redirect_leads_to_the_result(trip: Journey) -> None:
    assert (trip.answer.status_int, trip.answer.headers["Location"]) == (302, RESULTS[1])


def test_the_recorder_made_both_events_clean(trip: Journey) -> None:
    search, click = trip.journal

    assert (search.query, search.device, search.robot) == ("tax form", "desktop", "")
    assert len(search.visitor) == 16
    assert (click.visitor, click.device, click.user_activated) == (search.visitor, "desktop", 1)


def test_the_journal_holds_the_search_and_the_click(trip: Journey) -> None:
    search, click = trip.journal

    assert isinstance(search, Search)
    assert isinstance(click, Click)
    shown = [Shown(*row) for row in search.impressions]
    assert shown == [Shown(RESULTS[0], 11, "BWEB"), Shown(RESULTS[1], 12, "BWEB")]
    assert (click.url, click.position, click.query_id) == (RESULTS[1], 12, search.query_id)


def test_until_somebody_drains_both_events_wait(trip: Journey) -> None:
    waiting = trip.waiting

    assert (waiting["received"], waiting["stored"], waiting["pending"]) == (2, 0, 2)
    assert difference(waiting) == 0


def test_the_drain_moved_both_events(trip: Journey) -> None:
    health = trip.health

    assert (health["received"], health["stored"], health["pending"]) == (2, 2, 0)
    assert (health["unjoined"], health["unsigned"]) == (0, {"scheme": 1})
    assert difference(health) == 0


def test_the_store_joined_the_click_to_its_search(trip: Journey) -> None:
    [click], [search] = trip.stored["clicks"], trip.stored["searches"]

    assert click["query_id"] == search["query_id"]
    assert (click["query"], click["url"], click["position"]) == ("tax form", RESULTS[1], 12)
    assert (click["counted"], click["drop_reason"], click["trust"]) == (1, None, "signed")
    assert (search["counted"], search["total_hits"], search["page"]) == (1, 32, 2)
    assert [row["position"] for row in trip.stored["impressions"]] == [11, 12]


def test_no_address_and_no_agent_came_this_far(trip: Journey) -> None:
    database = trip.clicks.settings.database
    assert database is not None
    kept = b"".join(path.read_bytes() for path in database.parent.rglob("*") if path.is_file())

    assert ADDRESS.encode() not in kept
    assert b"Firefox" not in kept


def test_the_rollups_agree_with_the_rows(trip: Journey) -> None:
    assert trip.clicks.door.store.check() == []


def test_the_report_has_a_row_for_the_result(trip: Journey) -> None:
    rows = {row["url"]: row for row in trip.report("results")["rows"]}

    assert (rows[RESULTS[1]]["clicks"], rows[RESULTS[1]]["impressions"]) == (1, 1)
    assert rows[RESULTS[1]]["position_mean"] == 12


def test_the_report_has_a_row_for_the_query(trip: Journey) -> None:
    [row] = trip.report("queries")["rows"]

    assert (row["query"], row["searches"], row["clicks"]) == ("tax form", 1, 1)
    assert row["search_ctr"]["value"] == 1.0


def test_the_overview_adds_them_up(trip: Journey) -> None:
    metrics = trip.report("overview")["metrics"]

    assert metrics["searches"]["value"] == 1
    assert metrics["clicks"]["value"] == 1


def test_people_see_the_row_too(trip: Journey) -> None:
    page = trip.browser.get("/_clicks/report/results").html

    assert RESULTS[1] in page.table.get_text()
