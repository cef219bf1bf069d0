"""The hienergy Clicks API: its clients, its keys, and two sites that never see each other."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit
from urllib.request import Request, urlopen

import pytest
from webtest import TestApp, TestResponse

from clickmw import ClickMW, journal
from clickmw.demo import running
from clickmw.events import Click

CLICKS = "/_clicks/api/v1/clicks"
SITES = [
    {
        "handle": "alpha",
        "hosts": ["www.alpha.example"],
        "publisher": {"id": 45, "name": "Example Publisher"},
        "api_keys": [
            {"key": "alpha reads", "scope": "read"},
            {"key": "alpha writes", "scope": "ingest"},
            {"key": "alpha rules", "scope": "admin"},
        ],
        "advertisers": [
            {
                "id": 123,
                "name": "Alpha Store",
                "slug": "alpha-store",
                "network": {"id": 7, "name": "Awin"},
                "hosts": ["store.example"],
                "ad_ids": ["ad-1"],
            }
        ],
    },
    {
        "handle": "beta",
        "hosts": ["www.beta.example"],
        "name": "The Beta",
        "api_keys": [{"key": "beta reads"}],
    },
]
KEYS = [{"key": "all sites", "scope": "admin"}]
ALPHA, BETA = {"X-Api-Key": "alpha reads"}, {"X-Api-Key": "beta reads"}
ADMIN = {"X-Api-Key": "all sites"}
DAY_MS = 86_400_000
NOW = datetime.now(UTC)
TODAY = NOW.date()
NOON_MS = int(datetime(NOW.year, NOW.month, NOW.day, 12, tzinfo=UTC).timestamp() * 1000)


def window(first: date = TODAY, last: date = TODAY, **more: object) -> str:
    days = {"start_date": first.isoformat(), "end_date": last.isoformat()}
    return f"?{urlencode({**days, **more})}"


class Service:
    """An install of two sites, and a program in front of it."""

    def __init__(self, clicks: ClickMW) -> None:
        self.clicks = clicks
        self.program = TestApp(clicks, extra_environ={"REMOTE_ADDR": "203.0.113.5"})

    def click(self, site: str, url: str, times: int = 1, days_ago: int = 0, **more: str) -> None:
        """Let as many visitors click on *url*, all at noon."""
        noon = NOON_MS - days_ago * DAY_MS
        visitors = (f"{number:016x}" for number in range(times))
        events = [Click(noon, site, url, 1, visitor=each, **more) for each in visitors]
        assert self.clicks.door.recorder.record(*events)

    def ask(
        self, query: str = window(), headers: dict[str, str] = ALPHA, **more: Any
    ) -> TestResponse:
        return self.program.get(CLICKS + query, headers=headers, status="*", **more)

    def rows(self, query: str = window(), headers: dict[str, str] = ALPHA) -> list[dict[str, Any]]:
        answer = self.ask(query, headers)
        assert answer.status_int == 200, answer.text
        found: list[dict[str, Any]] = answer.json["data"]
        return found


Make = Callable[..., ClickMW]


@pytest.fixture
def service(clicks_at: Make) -> Service:
    return Service(clicks_at(sites=SITES, keys=KEYS))


@pytest.fixture
def served(clicks_at: Make) -> Iterator[tuple[Service, str]]:
    service = Service(clicks_at(sites=SITES, keys=KEYS, native_paths=True))
    with running(service.clicks, 0) as address:
        yield service, address


# -- what is answered --------------------------------------------------------------------------


def test_the_clicks_of_an_advertiser_are_one_row_of_its_day(service: Service) -> None:
    service.click("alpha", "https://store.example/shoes", 2)
    service.click("alpha", "https://store.example/hats")

    assert service.rows() == [
        {
            "advertiser_id": 123,
            "advertiser_name": "Alpha Store",
            "advertiser_slug": "alpha-store",
            "publisher_id": 45,
            "publisher_name": "Example Publisher",
            "network_id": 7,
            "network_name": "Awin",
            "click_date": TODAY.isoformat(),
            "click_count": 3,
        }
    ]


def test_a_host_that_no_advertiser_names_is_its_own(service: Service) -> None:
    service.click("alpha", "https://other.example/a")
    (row,) = service.rows()

    assert (row["advertiser_name"], row["advertiser_slug"]) == ("other.example", "other.example")
    assert (row["network_id"], row["network_name"]) == (None, None)
    assert 0 < row["advertiser_id"] < 2**53


def test_the_newest_day_comes_first_then_most_clicks_then_names(service: Service) -> None:
    service.click("alpha", "https://c.example/", 1)
    service.click("alpha", "https://b.example/", 1)
    service.click("alpha", "https://a.example/", 3, days_ago=1)
    service.click("alpha", "https://d.example/", 2)
    rows = service.rows(window(TODAY - timedelta(days=1)))

    names = [(each["advertiser_name"][0], each["click_count"]) for each in rows]
    assert names == [("d", 2), ("b", 1), ("c", 1), ("a", 3)]


def test_days_outside_the_window_are_left_out(service: Service) -> None:
    for days_ago in range(4):
        service.click("alpha", "https://a.example/", days_ago=days_ago)
    rows = service.rows(window(TODAY - timedelta(days=2), TODAY - timedelta(days=1)))

    days = [(TODAY - timedelta(days=ago)).isoformat() for ago in (1, 2)]
    assert [each["click_date"] for each in rows] == days


def test_what_is_not_counted_is_not_shown(service: Service) -> None:
    service.click("alpha", "https://a.example/", drop_reason="robot", robot="googlebot")

    assert service.rows() == []


def test_the_error_of_the_documentation_comes_byte_for_byte(service: Service) -> None:
    answer = service.ask("?start_date=2026-01-01&end_date=2026-04-01")

    assert answer.status_int == 400
    assert answer.body == (
        b'{"error":{"code":"BAD_REQUEST","message":"Date range cannot exceed 90 days"}}'
    )


def test_of_a_parameter_that_comes_twice_the_first_counts(service: Service) -> None:
    meta = service.ask(window() + "&page=2&page=3&start_date=x").json["meta"]

    assert meta["current_page"] == 2


# -- keys --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        pytest.param("", {"X-Api-Key": "alpha reads"}, id="header"),
        pytest.param("", {"Authorization": "Bearer alpha reads"}, id="bearer"),
        pytest.param("", {"Authorization": "bearer alpha reads"}, id="bearer in lower case"),
        pytest.param("&api_key=alpha+reads", {}, id="query"),
        pytest.param("&dry_run=true", {"Authorization": "Bearer alpha reads"}, id="dry run"),
        pytest.param("", {"X-Api-Key": "alpha rules"}, id="admin of the site"),
        pytest.param("", {"X-Api-Key": "all sites"}, id="admin of all"),
    ],
)
def test_a_key_is_shown_in_one_of_three_ways(
    query: str, headers: dict[str, str], service: Service
) -> None:
    assert service.ask(window() + query, headers).status_int == 200


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        pytest.param("", {}, id="none"),
        pytest.param("", {"X-Api-Key": ""}, id="empty"),
        pytest.param("", {"X-Api-Key": "beta write"}, id="wrong"),
        pytest.param("", {"X-Api-Key": "\xe9\xff"}, id="no text"),
        pytest.param("", {"Authorization": "Basic YWxwaGE6cmVhZHM="}, id="another scheme"),
        pytest.param("&api_key=alpha", {}, id="wrong in the query"),
        pytest.param("&api_key=alpha+reads&api_key=beta+reads", {}, id="two of them"),
        pytest.param("&api_key=alpha+reads", {"X-Api-Key": "wrong"}, id="the header decides"),
    ],
)
def test_without_a_known_key_nothing_is_told(
    query: str, headers: dict[str, str], service: Service
) -> None:
    answer = service.ask(window() + query, headers)

    assert answer.status_int == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.json["error"]["code"] == "UNAUTHORIZED"
    assert not any(each in answer.text for each in ("alpha", "beta", "wrong"))


def test_a_wrong_key_is_refused_before_the_dates_are_looked_at(service: Service) -> None:
    assert service.ask("", {"X-Api-Key": "wrong"}).status_int == 401


def test_a_key_that_only_writes_is_known_and_forbidden(service: Service) -> None:
    answer = service.ask(headers={"X-Api-Key": "alpha writes"})

    assert (answer.status_int, answer.json["error"]["code"]) == (403, "FORBIDDEN")


# -- two sites, one install --------------------------------------------------------------------


@pytest.fixture
def shared(service: Service) -> Service:
    service.click("alpha", "https://store.example/", 2)
    service.click("beta", "https://secret.example/", 5)
    return service


@pytest.mark.parametrize("more", [{}, {"publisher_id": 45}, {"site": "alpha"}, {"per_page": 1}])
def test_a_key_of_one_site_never_sees_the_other(more: dict[str, object], shared: Service) -> None:
    answer = shared.ask(window(**more), BETA)

    assert [each["advertiser_name"] for each in answer.json["data"]] == ["secret.example"]
    assert answer.json["meta"]["total_count"] == 1
    assert "45" not in json.dumps(answer.json["meta"]["publisher_id"])


def test_the_same_holds_the_other_way_round(shared: Service) -> None:
    assert "secret" not in shared.ask(window(), {"X-Api-Key": "alpha rules"}).text


def test_the_admin_of_the_install_sees_both_and_chooses_by_publisher(shared: Service) -> None:
    assert [each["click_count"] for each in shared.rows(headers=ADMIN)] == [5, 2]
    assert [each["click_count"] for each in shared.rows(window(publisher_id=45), ADMIN)] == [2]


# -- methods and headers -----------------------------------------------------------------------


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_it_is_only_read(method: str, service: Service) -> None:
    answer = service.program.request(CLICKS + window(), method=method, headers=ALPHA, status=405)

    assert answer.headers["Allow"] == "GET, HEAD"
    assert answer.json["error"]["code"] == "METHOD_NOT_ALLOWED"


def test_head_is_get_without_its_body(service: Service) -> None:
    answer = service.program.head(CLICKS + window(), headers=ALPHA, status=200)

    assert answer.body == b""
    assert answer.headers["Content-Length"] == str(len(service.ask().body))


@pytest.mark.parametrize(
    ("method", "query", "key", "status"),
    [
        ("GET", window(), "alpha reads", 200),
        ("GET", "", "alpha reads", 400),
        ("GET", window(), "wrong", 401),
        ("GET", window(), "alpha writes", 403),
        ("OPTIONS", window(), "alpha reads", 405),
    ],
)
def test_no_answer_is_kept_by_caches_or_read_by_pages_of_others(
    method: str, query: str, key: str, status: int, service: Service
) -> None:
    headers = {"X-Api-Key": key, "Origin": "https://evil.example"}
    answer = service.program.request(CLICKS + query, method=method, headers=headers, status=status)

    assert answer.content_type == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert not [name for name in answer.headers if name.startswith("Access-Control")]


# -- limits ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("still_limits")
def test_above_the_rate_it_says_when_to_come_again(clicks_at: Make) -> None:
    service = Service(clicks_at(sites=SITES, redirect_rate=1))
    answers = [service.ask("") for _ in range(200)]

    assert [each.status_int for each in answers[:100]] == [400] * 100
    assert answers[-1].status_int == 429
    assert answers[-1].headers["Retry-After"] == "1"
    assert answers[-1].json["error"]["code"] == "TOO_MANY_REQUESTS"
    assert service.ask("", BETA).status_int == 400


@pytest.mark.usefixtures("still_limits")
def test_who_tries_many_keys_has_one_allowance_for_all(clicks_at: Make) -> None:
    service = Service(clicks_at(sites=SITES, redirect_rate=1))
    statuses = [service.ask("", {"X-Api-Key": f"guess {n}"}).status_int for n in range(102)]

    assert (statuses[0], statuses[-1]) == (401, 429)


def test_more_parameters_than_anybody_needs_are_refused(service: Service) -> None:
    answer = service.ask(window() + "&x=1" * 200)

    assert (answer.status_int, answer.json["error"]["code"]) == (400, "BAD_REQUEST")


def test_a_refused_request_is_counted_once_by_its_reason(service: Service) -> None:
    service.ask(headers={})
    service.ask("")
    service.ask(headers={"X-Api-Key": "alpha writes"})
    service.program.post(CLICKS, headers=ALPHA, status=405)
    service.program.app.door.worker.catch_up()
    health = service.program.get("/_clicks/health", headers=ADMIN).json

    names = ("bad_request", "forbidden", "method", "unauthorized")
    assert health["rejected"] == {f"hienergy_{name}": 1 for name in names}


def test_without_a_store_it_asks_to_come_again(
    clicks_at: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "_warned", {})
    (tmp_path / "file").write_text("no folder")
    service = Service(clicks_at(sites=SITES, store=f"sqlite:///{tmp_path}/file/clicks.db"))
    answer = service.ask()

    assert (answer.status_int, answer.json["error"]["code"]) == (503, "SERVICE_UNAVAILABLE")
    assert int(answer.headers["Retry-After"]) > 0
    assert str(tmp_path) not in answer.text


# -- real clients ------------------------------------------------------------------------------


def walk(address: str, key: str, first: date, last: date) -> tuple[list[dict[str, Any]], list[str]]:
    """Read all pages as the vendor's client does; return the rows and the addresses asked.

    It names no page at first, prefers a cursor and ``has_more`` where an answer has them, and adds
    ``dry_run`` when it was told to.
    """
    rows: list[dict[str, Any]] = []
    asked: list[str] = []
    query: dict[str, Any] = {"start_date": first, "end_date": last, "per_page": 100}
    while True:
        url = f"{address}/api/v1/clicks?{urlencode({**query, 'dry_run': 'true'})}"
        headers = {"Accept": "application/json", "Authorization": f"Bearer {key}"}
        with urlopen(Request(url, headers=headers), timeout=10) as answer:
            body = json.load(answer)
        rows += body["data"]
        asked.append(url)
        meta = body["meta"]
        if after := meta.get("next_cursor") or meta.get("after"):
            query["after"] = after
        elif meta.get("has_more", meta["next_page"] is not None):
            query["page"] = meta["next_page"]
        else:
            return rows, asked


def test_the_vendors_client_reads_250_rows_in_three_requests(served: tuple[Service, str]) -> None:
    service, address = served
    for number in range(50):
        for days_ago in range(5):
            service.click("alpha", f"https://a{number}.example/", days_ago=days_ago)
    rows, asked = walk(address, "alpha reads", TODAY - timedelta(days=89), TODAY)

    assert [parse_qs(urlsplit(url).query).get("page") for url in asked] == [None, ["2"], ["3"]]
    assert len({(each["click_date"], each["advertiser_id"]) for each in rows}) == len(rows) == 250


MARCH = "start_date=2026-03-01&end_date=2026-03-31"


@pytest.mark.parametrize(
    ("path", "has"),
    [
        (f"/api/v1/clicks?{MARCH}", ["data", "meta"]),
        (f"/api/v1/clicks?{MARCH}&publisher_id=1338", ["data", "meta"]),
        (f"/api/v1/clicks?{MARCH}&page=1&per_page=100", ["data", "meta"]),
        ("/api/v1/clicks?start_date=2026-03-01", ["error"]),
        ("/api/v1/schema", ["openapi", "info", "servers", "tags", "paths", "components"]),
    ],
)
def test_curl_is_answered_as_the_documentation_shows_it(
    path: str, has: list[str], served: tuple[Service, str]
) -> None:
    command = ["curl", "-sS", "-m", "10", "-H", "X-Api-Key: all sites", served[1] + path]
    ran = subprocess.run(command, capture_output=True, check=False)

    assert (ran.returncode, ran.stderr) == (0, b"")
    assert list(json.loads(ran.stdout)) == has
