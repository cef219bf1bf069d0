"""The recorder: a request becomes an event that tells nobody who somebody was."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clickmw import journal as journal_module
from clickmw.events import Click, new_query_id
from clickmw.journal import Journal
from clickmw.recorder import DAY_MS, RateLimit, Recorder
from clickmw.settings import Settings
from clickmw.visitors import Salts

NOW_MS = 1_750_000_000_000
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


def request(**changes: str) -> dict[str, Any]:
    """Return the environ of a click; keywords are header names in WSGI's spelling."""
    return {"REMOTE_ADDR": "203.0.113.5", "HTTP_USER_AGENT": FIREFOX, **changes}


@pytest.fixture
def recorder_with(tmp_path: Path) -> Callable[..., Recorder]:
    """Make a recorder; settings as keywords."""

    def make(**settings: Any) -> Recorder:
        loaded = Settings.load(
            {"secret": "s" * 32, "journal": str(tmp_path), **settings}, environ={}
        )
        return Recorder(loaded, Journal(tmp_path), Salts(tmp_path))

    return make


# -- visitors ------------------------------------------------------------------------------------


def test_the_same_client_is_the_same_visitor_for_a_day(
    recorder_with: Callable[..., Recorder],
) -> None:
    recorder = recorder_with()
    first = recorder.client(request(), "default", NOW_MS)
    assert recorder.client(request(), "default", NOW_MS + 1000) == first
    assert len(first.visitor) == 16
    bytes.fromhex(first.visitor)


@pytest.mark.parametrize(
    ("environ", "site", "now_ms"),
    [
        pytest.param(request(REMOTE_ADDR="203.0.113.6"), "default", NOW_MS, id="address"),
        pytest.param(request(HTTP_USER_AGENT=FIREFOX + " x"), "default", NOW_MS, id="agent"),
        pytest.param(request(), "shop", NOW_MS, id="site"),
        pytest.param(request(), "default", NOW_MS + DAY_MS, id="day"),
    ],
)
def test_another_address_agent_site_or_day_is_another_visitor(
    environ: dict[str, Any], site: str, now_ms: int, recorder_with: Callable[..., Recorder]
) -> None:
    recorder = recorder_with()
    known = recorder.client(request(), "default", NOW_MS).visitor
    assert recorder.client(environ, site, now_ms).visitor not in ("", known)


def test_a_click_after_midnight_belongs_to_the_visitor_who_searched(
    recorder_with: Callable[..., Recorder],
) -> None:
    recorder = recorder_with()
    evening, morning = NOW_MS // DAY_MS * DAY_MS - 1000, NOW_MS // DAY_MS * DAY_MS + 1000
    searched = recorder.client(request(), "default", evening)
    clicked = recorder.client(request(), "default", morning, new_query_id(evening))
    assert clicked.visitor == searched.visitor
    assert recorder.client(request(), "default", morning).visitor != searched.visitor


def test_a_link_older_than_its_salt_is_followed_by_a_visitor_of_today(
    recorder_with: Callable[..., Recorder],
) -> None:
    recorder = recorder_with()
    old = recorder.client(request(), "default", NOW_MS, new_query_id(NOW_MS - 5 * DAY_MS))
    assert old.visitor == recorder.client(request(), "default", NOW_MS).visitor


def test_without_visitors_nobody_is_told_apart(recorder_with: Callable[..., Recorder]) -> None:
    assert recorder_with(visitor="none").client(request(), "default", NOW_MS).visitor == ""


def test_a_sites_own_name_of_a_visitor_is_hashed(recorder_with: Callable[..., Recorder]) -> None:
    recorder = recorder_with(visitor=lambda environ: "alice@example.com")
    client = recorder.client(request(), "default", NOW_MS)
    other = recorder.client(request(REMOTE_ADDR="203.0.113.6"), "default", NOW_MS)
    assert "alice" not in client.visitor
    assert client.visitor == other.visitor != ""


def test_a_visitor_setting_that_fails_costs_the_visitor_only(
    recorder_with: Callable[..., Recorder],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(journal_module, "_warned", {})
    recorder = recorder_with(visitor=lambda environ: environ["nothing"])
    assert recorder.client(request(), "default", NOW_MS).visitor == ""
    assert "visitor setting raised" in caplog.text


def test_a_request_without_agent_and_address_is_still_somebody(
    recorder_with: Callable[..., Recorder],
) -> None:
    assert recorder_with().client({}, "default", NOW_MS).wish == ""


# -- wishes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", ["HTTP_SEC_GPC", "HTTP_DNT"])
@pytest.mark.parametrize(
    ("optout", "wish", "named"),
    [("drop", "drop", False), ("anonymous", "anonymous", False), ("ignore", "", True)],
)
def test_a_wish_not_to_be_counted_is_heard(
    header: str, optout: str, wish: str, named: bool, recorder_with: Callable[..., Recorder]
) -> None:
    client = recorder_with(optout=optout).client(request(**{header: "1"}), "default", NOW_MS)
    assert (client.wish, bool(client.visitor)) == (wish, named)


# -- robots and trust ----------------------------------------------------------------------------


def test_robots_are_named_and_devices_told(recorder_with: Callable[..., Recorder]) -> None:
    recorder = recorder_with()
    robot = recorder.client(request(HTTP_USER_AGENT="curl/8.0"), "default", NOW_MS)
    person = recorder.client(request(), "default", NOW_MS)
    assert (bool(robot.robot), person.robot, person.device) == (True, "", "desktop")


@pytest.mark.parametrize(
    ("counted", "reason"),
    [(None, ""), (("signed",), ""), (("keyed",), "trust")],
    ids=["all-count", "named", "not-named"],
)
def test_only_events_that_are_trusted_count(
    counted: tuple[str, ...] | None, reason: str, recorder_with: Callable[..., Recorder]
) -> None:
    assert recorder_with(count_trust=counted).drop_reason("signed") == reason


# -- the rate limit ------------------------------------------------------------------------------


def allowed(rate: RateLimit, count: int, *, now_ms: int = NOW_MS, link: str = "") -> int:
    return sum(rate.allows("203.0.113.5", link or str(n), now_ms) for n in range(count))


def test_an_address_has_so_many_clicks_a_second() -> None:
    rate = RateLimit(20)
    assert allowed(rate, 25) == 20
    assert allowed(rate, 25, now_ms=NOW_MS + 1000) == 20


def test_addresses_do_not_share_their_limit() -> None:
    rate = RateLimit(1)
    assert [rate.allows(address, "a", NOW_MS) for address in ("1", "2", "1")] == [True, True, False]


def test_a_link_has_five_clicks_a_minute_from_one_address() -> None:
    rate = RateLimit(1000)
    assert allowed(rate, 8, link="a") == 5
    assert allowed(rate, 8, link="b") == 5
    assert allowed(rate, 8, link="a", now_ms=NOW_MS + 60_000) == 5


def test_the_tables_of_the_limit_are_emptied() -> None:
    rate = RateLimit(1)
    for number in range(1000):
        rate.allows(f"address {number}", "a", NOW_MS)
    rate.allows("last", "a", NOW_MS + 60_000)
    assert (len(rate._by_address), len(rate._by_link)) == (1, 1)


def test_no_table_of_the_limit_outgrows_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RateLimit, "MOST", 100)
    rate = RateLimit(5)
    for number in range(1000):
        rate.allows(f"address {number}", "a", NOW_MS)
        assert max(len(rate._by_address), len(rate._by_link)) <= 100


def test_who_is_over_the_limit_of_a_second_leaves_no_link_behind() -> None:
    rate = RateLimit(5)
    assert [rate.allows("1", f"link {number}", NOW_MS) for number in range(9)] == [True] * 5 + [
        False
    ] * 4
    assert len(rate._by_link) == 5


@pytest.mark.parametrize("off", [None, 0])
def test_without_a_limit_all_are_kept(
    off: int | None, recorder_with: Callable[..., Recorder]
) -> None:
    recorder = recorder_with(redirect_rate=off)
    assert all(recorder.allows(request(), "a", NOW_MS) for _ in range(100))


def test_behind_a_proxy_nobody_named_all_are_kept_and_one_line_says_so(
    recorder_with: Callable[..., Recorder],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(journal_module, "_warned", {})
    recorder = recorder_with(redirect_rate=1)
    environ = request(REMOTE_ADDR="10.0.0.1", HTTP_X_FORWARDED_FOR="203.0.113.5")
    with caplog.at_level(logging.WARNING):
        assert all(recorder.allows(environ, "a", NOW_MS) for _ in range(100))
    assert caplog.text.count("trusted_proxies=1") == 1


# -- writing -------------------------------------------------------------------------------------


def test_after_each_record_the_drain_is_called(recorder_with: Callable[..., Recorder]) -> None:
    calls: list[int] = []
    recorder = recorder_with()
    recorder.on_write = lambda: calls.append(1)
    assert recorder.record(Click(NOW_MS, "default", "/a"))
    recorder.tally("opted_out")
    assert len(calls) == 2


def test_a_page_with_values_of_other_types_is_still_answered(
    clicks_at: Callable[..., Any], browser_of: Callable[..., Any]
) -> None:
    from decimal import Decimal

    clicks = clicks_at()
    host = clicks.door.rewriting.app

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        clicks.search("tax", total=Decimal(5)).link("/a")
        return host(environ, start_response)

    clicks.door.app = clicks.door.rewriting.app = app
    browser_of(clicks).get("/?q=tax", status=200)
    clicks.door.worker.catch_up(5.0)
    health = clicks.door.routes.read_health()
    assert health["received"] == health["stored"] + sum(health["dropped"].values())
