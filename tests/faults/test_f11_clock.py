"""F-11: the clock jumps, forwards or backwards, by hours, days or decades.

Links lead on and events are kept with the time the machine had. Nothing is deleted by a clock that stands more than two to
seven days (a quarter of ``keep_days``) ahead of what was known: pruning waits until the clock was right for as long as it
leapt, or somebody says ``clickmw prune --yes``.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from clickmw import clocks
from clickmw import drain as drain_module
from clickmw.cli import main
from clickmw.clocks import DAY_MS, STEP_MS, Clock
from clickmw.events import Click

#: The tests run on each of these kinds of store.
STORES = ("sqlite", "postgresql", "clickhouse")

SITE = """
import sys, threading, time
from clickmw import ClickMW, drain
from clickmw.health import difference
from clickmw.tokens import LinkSigner, LinkTarget
folder, store, days = sys.argv[1:]
drain.PRUNE_FIRST_S = 0.0
drain.PRUNE_EVERY_S = 0.0
# Under the false clock of the test a sleep may end with an error, which no real clock does.
time.sleep = lambda seconds: threading.Event().wait(seconds)
SECRET = "thirty-two characters or more are fine"
clicks = ClickMW(lambda environ, start: [], secret=SECRET, store=store,
                 journal=folder + "/journal", redirect_rate=None, keep_days=int(days))
from clickmw.events import new_query_id
link = LinkSigner(SECRET).sign_link(LinkTarget("", new_query_id(time.time_ns() // 10**6), 1, "BWEB", "", "/1"))
print("ready", flush=True)
for line in sys.stdin:
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/_clicks/r/" + link, "REMOTE_ADDR": "203.0.113.5",
               "HTTP_USER_AGENT": "Mozilla/5.0 Firefox/140.0", "HTTP_SEC_FETCH_SITE": "same-origin",
               "HTTP_HOST": "example.org"}
    said = []
    list(clicks(environ, lambda status, headers: said.append(status)))
    clicks.door.worker.catch_up(20.0)
    ledger = clicks.door.routes.read_health()
    assert difference(ledger) == 0
    print(said[0], ledger["stored"], ledger["pending"], ledger["causes"], sep=";", flush=True)
"""
YEARS = 365.25


def _begin(folder: Path, days_old: list[float], site: Any) -> None:
    """Let a site have events of some days ago."""
    now_ms = time.time_ns() // 1_000_000
    for number, days in enumerate(days_old):
        site.journal.write((Click(now_ms - int(days * DAY_MS), "default", f"/{number}"),))
    site.close()
    drain = site.drain()
    drain.run_once()
    drain.close()


def test_f11_a_clock_that_jumps_stops_no_link_and_costs_no_event(
    sites: Callable[..., Any], fake_time: Any, run_python: Callable[..., Any]
) -> None:
    site = sites()
    _begin(site.folder, [300, 100, 1], site)
    running = run_python(
        SITE, site.folder, site.given["store"], 395, stdin=subprocess.PIPE, env=fake_time(0)
    )
    assert running.stdout.readline() == "ready\n"
    stored = 3

    def follow() -> str:
        """Follow a link, take it in; return what health finds wrong."""
        nonlocal stored
        running.stdin.write("go\n")
        running.stdin.flush()
        status, in_store, pending, causes = running.stdout.readline().strip().split(";", 3)
        stored += 1
        assert (status, in_store, pending) == ("302 Found", str(stored), "0")
        return causes

    assert follow() == "[]"
    for days in (1 / 24, -1 / 24, 30, -30, 12 * YEARS, 74 * YEARS):  # an hour … 2038, 2100
        fake_time(days)
        follow()
        assert ("days ahead" in follow()) == (days > 7)
        fake_time(0)
        assert follow() == "[]"  # it was put back, and is believed again
    running.communicate(timeout=60)
    assert site.settle()["stored"] == stored
    assert sum(site.stored().values()) == stored


def test_f11_a_site_that_starts_under_a_wrong_clock_deletes_nothing(
    site_of: Callable[..., Any], fake_time: Any, run_python: Callable[..., Any]
) -> None:
    site = site_of()
    _begin(site.folder, [300, 100, 1], site)
    (site.journal.folder / clocks.NAME).unlink()  # of an older clickmw, or a new folder
    for _ in range(3 if site.door.store.kind == "sqlite" else 1):
        running = run_python(
            SITE, site.folder, site.given["store"], 395, stdin=-1, env=fake_time(20 * YEARS)
        )
        running.communicate("go\ngo\n", timeout=60)
    assert {"/0", "/1", "/2"} <= set(site.stored())


@pytest.mark.stores("sqlite")
def test_f11_health_and_doctor_name_a_clock_that_is_not_believed(site: Any) -> None:
    _begin(site.folder, [1], site)
    known_ms = time.time_ns() // 1_000_000 - 400 * DAY_MS
    path = site.journal.folder / clocks.NAME
    path.write_text(json.dumps({"known_ms": known_ms, "doubted": True}))
    site.restart()
    assert site.health()["status"] == "degraded"
    assert "400 days ahead" in site.causes()
    assert "clickmw prune --yes" in site.doctor()


@pytest.mark.stores("sqlite")
def test_f11_prune_asks_before_it_believes_such_a_clock(site: Any) -> None:
    _begin(site.folder, [300, 1], site)
    path = site.journal.folder / clocks.NAME
    known_ms = time.time_ns() // 1_000_000 - 400 * DAY_MS
    path.write_text(json.dumps({"known_ms": known_ms, "doubted": False}))
    store = f"sqlite:///{site.database}"
    (site.folder / "journal").rename(site.folder / "clicks.db.journal")
    refused = CliRunner().invoke(main, ["--store", store, "prune", "--days", "30"])
    assert (refused.exit_code, "400 days ahead" in refused.output) == (1, True)
    assert len(site.stored()) == 2
    agreed = CliRunner().invoke(main, ["--store", store, "prune", "--days", "30", "--yes"])
    assert (agreed.exit_code, site.stored()) == (0, {"/1": 1})
    believed = CliRunner().invoke(main, ["--store", store, "prune", "--days", "30"])
    assert believed.exit_code == 0


@pytest.mark.stores("sqlite")
def test_f11_an_event_of_a_time_to_come_is_named(site: Any) -> None:
    _begin(site.folder, [-3, 1], site)
    assert "a time to come" in site.doctor()


# -- what is believed ------------------------------------------------------------------------------


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Set the clock of :mod:`clickmw.clocks` to a day."""

    def set_day(day: float) -> None:
        monkeypatch.setattr(clocks, "now_ms", lambda: int(day * DAY_MS))

    return set_day


def test_f11_a_clock_is_believed_while_it_goes_on_and_back(tmp_path: Path, at: Any) -> None:
    clock = Clock(tmp_path, 7 * DAY_MS)
    for day in (20_000, 20_001, 20_007.5, 20_007.4, 19_000, 19_006, 0, 20_008):
        at(day)
        assert clock.look()
        assert clock.doubt() == ""


def test_f11_a_clock_that_was_ahead_at_the_beginning_is_unlearnt(tmp_path: Path, at: Any) -> None:
    clock = Clock(tmp_path, 7 * DAY_MS)
    at(20_100)
    clock.look()
    for hour in range(2000):
        at(20_000 + hour / 24)
        assert clock.look()
    at(20_100 + 2000 / 24)
    assert not clock.look()


def test_f11_a_leap_is_believed_after_the_clock_was_right_for_as_long(
    tmp_path: Path, at: Any
) -> None:
    clock = Clock(tmp_path, 7 * DAY_MS)
    at(20_000)
    assert clock.look()
    hours = 0
    at(20_030)  # thirty days without power
    while not clock.look():
        assert "days ahead" in clock.doubt() or hours > 500
        hours += 1
        at(20_030 + hours / 24)
    assert hours == pytest.approx((30 - 7) * DAY_MS / (STEP_MS - 3_600_000), abs=2)


def test_f11_a_leap_of_decades_is_never_believed_by_itself(tmp_path: Path, at: Any) -> None:
    clock = Clock(tmp_path, 7 * DAY_MS)
    at(20_000)
    clock.look()
    for hour in range(300):
        at(30_000 + hour / 24)
        assert not clock.look()
    assert clock.believed_ms() < 20_033 * DAY_MS
    clock.trust()
    assert clock.look()


def test_f11_without_a_memory_the_newest_event_is_what_is_known(tmp_path: Path, at: Any) -> None:
    clock = Clock(tmp_path, 7 * DAY_MS)
    at(30_000)
    clock.begin(20_000 * DAY_MS)
    assert not clock.look()
    clock.begin(30_000 * DAY_MS)  # it has begun already
    assert not clock.look()


@pytest.mark.parametrize("text", ["", "{}", "[]", "\x00\x00", '{"known_ms": "x", "doubted": 1}'])
def test_f11_a_memory_that_is_damaged_is_none(text: str, tmp_path: Path) -> None:
    (tmp_path / clocks.NAME).write_text(text)
    assert Clock(tmp_path, DAY_MS).look()


@pytest.mark.stores("sqlite")
def test_f11_a_wrong_clock_forgets_no_place_of_another_journal(
    site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Watermarks of other folders are dropped after 90 days, as their segments live ten minutes."""
    _begin(site.folder, [1], site)
    drain = site.drain()
    site.journal.write((Click(1, "default", "/x"),))
    drain.run_once()
    elsewhere = f"{time.time_ns() // 1_000_000}-00000000ee"
    drain._store.append(elsewhere, 0, 100, ())
    monkeypatch.setattr(time, "time_ns", lambda: int((20_500 + 10_000) * DAY_MS * 1e6))
    site.journal.write((Click(1, "default", "/x"),))
    drain.run_once()
    assert elsewhere in drain._store.watermarks()
    monkeypatch.undo()
    drain.close()
    assert drain_module.LEFT_BEHIND_MS == 90 * DAY_MS
