"""The beacon: views of shared and prefetched pages, and what is refused."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from webtest import TestApp

from clickmw import ClickMW
from clickmw.events import new_query_id
from clickmw.recorder import now_ms

BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
PAGE = (
    b"<!doctype html><body><ol data-click-module=BWEB data-click-query='tax form' data-click-total=2>"
    b"<li><a data-click href='https://example.org/1'>one</a>"
    b"<li><a data-click href='https://example.org/2'>two</a></ol></body>"
)


class Site:
    """A search site with clickmw around it; ``cache_control`` is what its pages say."""

    def __init__(self, folder: Path, cache_control: str) -> None:
        self.cache_control = cache_control
        self.folder = folder
        self.door = ClickMW(
            self.host, secret="s" * 40, store=f"sqlite:///{folder / 'clicks.db'}", debug=True
        ).door
        self.web = TestApp(
            self.door, extra_environ={"HTTP_USER_AGENT": BROWSER, "REMOTE_ADDR": "198.51.100.7"}
        )

    def host(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        headers = [("Content-Type", "text/html"), ("Content-Length", str(len(PAGE)))]
        start_response("200 OK", [*headers, ("Cache-Control", self.cache_control)])
        return [PAGE]

    def links(self, **environ: str) -> list[str]:
        page = self.web.get("/search", extra_environ=environ)
        return [a["href"] for a in page.html.find_all("a")]

    def send(self, *payloads: Any, **environ: str) -> str:
        answer = self.web.post(
            "/_clicks/e", json.dumps(payloads), status=204, extra_environ=environ
        )
        return answer.headers["X-ClickMW"]

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        self.door.routes.open_reader().close()
        assert self.door.store.check() == []
        with sqlite3.connect(self.folder / "clicks.db") as connection:
            return connection.execute(sql).fetchall()


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path, "public, max-age=60")
    yield site
    site.door.worker.close()


@pytest.fixture
def private(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path, "private")
    yield site
    site.door.worker.close()


def view_of(link: str, view: str = "") -> dict[str, str]:
    return {"t": "view", "k": link.partition("/r/")[2], "v": view or new_query_id(now_ms())}


COUNTED = "SELECT count(*) FROM searches WHERE counted"


def test_a_shared_page_alone_is_no_search(shared: Site) -> None:
    shared.links()
    assert shared.rows("SELECT counted, drop_reason, shared FROM searches") == [(0, "shared", 1)]


def test_each_view_of_a_shared_page_is_a_search(shared: Site) -> None:
    link = shared.links()[0]
    assert shared.send(view_of(link)) == "accepted"
    shared.send(view_of(link), REMOTE_ADDR="198.51.100.8")
    assert shared.rows(COUNTED) == [(2,)]


def test_a_second_view_of_the_same_visitor_is_a_repeat(shared: Site) -> None:
    link = shared.links()[0]
    shared.send(view_of(link))
    shared.send(view_of(link))
    assert shared.rows(
        "SELECT drop_reason FROM searches WHERE NOT shared ORDER BY drop_reason"
    ) == [
        (None,),
        ("repeat",),
    ]


def test_a_view_shows_what_its_page_showed(shared: Site) -> None:
    shared.send(view_of(shared.links()[0]))
    assert shared.rows("SELECT url, position FROM impressions WHERE counted ORDER BY position") == [
        ("https://example.org/1", 1),
        ("https://example.org/2", 2),
    ]


def test_a_click_on_a_shared_page_belongs_to_its_view(shared: Site) -> None:
    link = shared.links()[1]
    view = new_query_id(now_ms())
    shared.send(view_of(link, view))
    shared.web.get(f"{link}?v={view}", status=302)
    shared.rows(COUNTED)
    asked = shared.door.routes.open_reader()
    today = shared.door.routes.today(None)
    from clickmw.stores.base import Filter

    totals = asked.totals(Filter(first_day=today, last_day=today))
    assert (totals.searches, totals.searches_clicked, totals.clicks) == (1, 1, 1)


def test_a_click_that_comes_before_its_view_is_joined(shared: Site) -> None:
    link = shared.links()[0]
    view = new_query_id(now_ms())
    shared.web.get(f"{link}?v={view}", status=302)
    shared.rows(COUNTED)
    shared.send(view_of(link, view))
    assert shared.rows("SELECT count(*) FROM searches WHERE counted") == [(1,)]


def test_two_people_behind_one_page_click_twice(shared: Site) -> None:
    link = shared.links()[0]
    for address in ("198.51.100.7", "198.51.100.8"):
        shared.web.get(link, status=302, extra_environ={"REMOTE_ADDR": address})
    assert shared.rows("SELECT count(*) FROM clicks WHERE counted") == [(2,)]


def test_a_view_id_does_not_evade_the_duplicate_rule_on_a_private_page(private: Site) -> None:
    link = private.links()[0]
    for _ in range(3):
        private.web.get(f"{link}?v={new_query_id(now_ms())}", status=302)
    assert private.rows("SELECT sum(counted), count(*) FROM clicks") == [(1, 3)]


def test_a_prefetched_page_counts_when_it_is_looked_at(private: Site) -> None:
    link = private.links(HTTP_SEC_PURPOSE="prefetch")[0]
    assert private.rows(COUNTED) == [(0,)]
    private.send(view_of(link))
    assert private.rows(COUNTED) == [(1,)]


def test_a_view_that_arrives_before_its_page_waits_for_it(tmp_path: Path) -> None:
    from clickmw.events import Search, View
    from clickmw.stores import open_store
    from clickmw.stores.base import Record, Stored, StoreOptions

    now = now_ms()
    page, view = new_query_id(now), new_query_id(now)
    events = [
        View(now + 1, "default", page, view, "0" * 16),
        Search(now, "default", page, "tax form", shared=1),
    ]
    store = open_store(f"sqlite:///{tmp_path / 'clicks.db'}", StoreOptions())
    for n, event in enumerate(events):
        record = Record(n, n + 1, n + 1, (Stored(bytes(15) + bytes((n,)), event),), {})
        store.append("1-0000000000", n, n + 1, [record])
    today = now // 86_400_000
    with sqlite3.connect(tmp_path / "clicks.db") as connection:
        assert connection.execute(COUNTED).fetchall() == [(1,)]
        assert connection.execute("SELECT count(*) FROM waiting_view").fetchall() == [(0,)]
        assert connection.execute("SELECT searches FROM day_query").fetchall() == [(1,)]
        assert connection.execute("SELECT day FROM search").fetchall()[0] == (today,)
    assert store.check() == []


def test_a_robot_that_runs_scripts_is_not_counted(shared: Site) -> None:
    shared.send(view_of(shared.links()[0]), HTTP_USER_AGENT="Googlebot/2.1")
    assert shared.rows("SELECT drop_reason FROM searches WHERE NOT shared") == [("robot",)]


def test_an_opted_out_view_is_only_a_tally(shared: Site) -> None:
    assert shared.send(view_of(shared.links()[0]), HTTP_SEC_GPC="1") == "opted_out"
    assert shared.rows("SELECT count(*) FROM searches WHERE NOT shared") == [(0,)]
    assert shared.door.routes.read_health()["opted_out"] == 1


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"{}", id="no array"),
        pytest.param(b"[1]", id="no object"),
        pytest.param(b"[" * 100_000, id="too long"),
        pytest.param(b"[" * 60_000, id="too deep"),
        pytest.param(b"\xff\xfe", id="no text"),
        pytest.param(b'[{"t":"view","k":"x.y","v":"AAAAAAAAAAAAAAAA"}]', id="view of 1970"),
        pytest.param(b'[{"t":"view","k":{"a":1},"v":2}]', id="wrong types"),
        pytest.param(b'[{"t":"click"}]', id="unknown event"),
    ],
)
def test_a_bad_body_is_answered_like_a_good_one(shared: Site, body: bytes) -> None:
    answer = shared.web.post("/_clicks/e", body, status=204)
    assert answer.headers["X-ClickMW"].startswith("rejected")
    assert shared.rows("SELECT count(*) FROM searches") == [(0,)]


def test_a_made_up_token_is_no_proof(shared: Site) -> None:
    link = shared.links()[0]
    forged = link.replace("BWEB", "BOOS")
    assert shared.send(view_of(forged)).startswith("rejected")


def test_only_posts_are_taken(shared: Site) -> None:
    assert shared.web.get("/_clicks/e", status=405).headers["Allow"] == "POST"


def test_a_flood_of_views_is_answered_and_tallied(shared: Site) -> None:
    link = shared.links()[0]
    verdicts = [shared.send(view_of(link)) for _ in range(8)]
    assert verdicts.count("dropped: rate") == 3
    assert shared.rows("SELECT count(*) FROM searches WHERE NOT shared") == [(5,)]


def test_where_no_thread_is_to_be_had_a_page_drains_when_it_has_left(private: Site) -> None:
    private.door.worker.has_threads = False
    private.links()
    with sqlite3.connect(private.folder / "clicks.db") as connection:
        assert connection.execute("SELECT query FROM searches").fetchall() == [("tax form",)]
