"""The ledger: what came in is stored, waiting, or counted as gone, at every moment."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from clickmw import ClickMW
from clickmw.drain import Drain
from clickmw.events import Click, Search, new_query_id
from clickmw.health import difference, read_health
from clickmw.journal import Journal, segment_paths
from clickmw.stores.base import StoreOptions
from clickmw.stores.sqlite import SQLiteStore

START_MS = 1_750_000_000_000
CLICK = Click(START_MS, "default", "https://example.org/a", 1, "BWEB")
KEYS = {
    "status": str,
    "version": str,
    "received": int,
    "stored": int,
    "duplicates": int,
    "robots": int,
    "opted_out": int,
    "prefetch": int,
    "rejected": dict,
    "dropped": dict,
    "pending": int,
    "unjoined": int,
    "journal_bytes": int,
    "store": dict,
    "causes": list,
}


class Install:
    """A journal, a drain and a store."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = SQLiteStore(folder / "clicks.db", StoreOptions())
        self.journal = Journal(folder / "journal", max_bytes=400_000)
        self.drain = Drain(self.journal.folder, lambda: self.store, 7)

    def health(self) -> dict[str, Any]:
        return read_health(self.store, self.journal, self.drain)


@pytest.fixture
def install(tmp_path: Path) -> Iterator[Install]:
    made = Install(tmp_path)
    yield made
    made.journal.close()
    made.drain.close()


def test_the_ledger_has_its_documented_keys(install: Install) -> None:
    install.journal.write((CLICK,))
    install.drain.run_once()
    health = install.health()
    assert {name: type(health[name]) for name in KEYS} == KEYS
    assert health["last_event_ms"] == START_MS
    assert health["store"] == {"kind": "sqlite", "ok": True, "error": None}


def test_before_the_first_event_there_is_nothing_to_explain(install: Install) -> None:
    health = install.health()
    assert (health["received"], health["pending"], difference(health)) == (0, 0, 0)


def test_what_waits_is_pending(install: Install) -> None:
    install.journal.write((CLICK, CLICK))
    health = install.health()
    assert (health["received"], health["stored"], health["pending"]) == (2, 0, 2)
    assert difference(health) == 0


def test_tallies_count_before_they_are_written(install: Install) -> None:
    install.journal.tally("opted_out", 2)
    install.journal.tally("rejected.bad_link")
    install.journal.tally("prefetch")
    health = install.health()
    assert (health["opted_out"], health["rejected"], health["prefetch"]) == (2, {"bad_link": 1}, 1)
    assert (health["received"], difference(health)) == (2, 0)


def test_duplicates_robots_and_unjoined_clicks_are_stored(install: Install) -> None:
    click = CLICK._replace(query_id=new_query_id(START_MS), visitor="ab" * 8)
    install.journal.write((click, click, click._replace(robot="curl", drop_reason="robot")))
    install.drain.run_once()
    health = install.health()
    names = ("stored", "duplicates", "robots", "unjoined")
    assert [health[name] for name in names] == [3, 1, 1, 3]


def test_a_search_that_arrives_joins_its_clicks(install: Install) -> None:
    query_id = new_query_id(START_MS)
    install.journal.write((CLICK._replace(query_id=query_id),))
    install.drain.run_once()
    install.journal.write((Search(START_MS, "default", query_id, "a"),))
    install.drain.run_once()
    assert install.health()["unjoined"] == 0


def test_a_journal_that_refuses_events_is_failing(install: Install) -> None:
    install.journal.max_bytes = 0
    install.journal.write((CLICK,))
    health = install.health()
    assert (health["status"], health["dropped"]) == ("failing", {"journal_full": 1})
    assert difference(health) == 0


def test_a_journal_that_takes_events_again_is_well_again(install: Install) -> None:
    install.journal.max_bytes = 0
    install.journal.write((CLICK,))
    install.journal.max_bytes = 400_000
    install.journal.write_tallies()  # the worker tries each second, with or without visitors
    assert install.health()["status"] == "ok"


def test_a_store_that_is_away_degrades(install: Install) -> None:
    install.store.path.mkdir()
    health = install.health()
    assert (health["status"], health["store"]["ok"]) == ("degraded", False)


def test_events_that_wait_are_named_by_every_process(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    install.drain.run_once()
    install.store.migrate()
    install.journal.write((CLICK,))
    assert install.health()["causes"] == []
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 180)
    health = install.health()
    assert health["status"] == "degraded"
    assert "have waited for 180 seconds" in health["causes"][0] or "179" in health["causes"][0]
    install.drain.run_once()
    assert install.health()["causes"] == []


def test_a_full_journal_is_a_cause(install: Install) -> None:
    install.store.migrate()
    install.journal.write((CLICK,))
    install.journal.max_bytes = 10
    health = install.health()
    assert (health["status"], "journal_max_bytes" in health["causes"][0]) == ("failing", True)


STEPS = ["write", "write", "write", "page", "tally", "tallies", "drain", "drain", "rotate", "away"]


@pytest.mark.parametrize("seed", range(15))
def test_the_ledger_is_even_at_every_moment(install: Install, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(60):
        step = chance.choice(STEPS)
        if step == "write":
            install.journal.write((CLICK,) * chance.randrange(1, 5))
        elif step == "page":
            search = Search(START_MS, "default", new_query_id(START_MS), "a")
            install.journal.write((search, search, CLICK))
        elif step == "tally":
            install.journal.tally(chance.choice(["opted_out", "dropped.rate", "rejected.x"]))
        elif step == "tallies":
            install.journal.write_tallies()
        elif step == "drain":
            install.drain.run_once(within_s=chance.choice([0.0, 0.002, 5.0]))
        elif step == "rotate":
            install.journal.close()
        elif step == "away":
            install.store.close()
        assert difference(install.health()) == 0
    install.journal.close()
    install.drain.run_once()
    health = install.health()
    assert (health["pending"], difference(health)) == (0, 0)
    assert segment_paths(install.journal.folder) == []


@pytest.mark.parametrize("seed", range(10))
def test_the_ledger_is_even_whatever_bytes_are_damaged(install: Install, seed: int) -> None:
    chance = random.Random(seed)
    for number in range(60):
        install.journal.write((CLICK,) * (number % 3 + 1))
        if number % 7 == 0:
            install.journal.tally("opted_out")
            install.journal.write_tallies()
    (path,) = segment_paths(install.journal.folder)
    content = bytearray(path.read_bytes())
    end = content.rindex(b"\n", 0, -1)  # the last record says how many there were
    for _ in range(chance.randrange(1, 6)):
        content[chance.randrange(200, end)] = chance.randrange(256)
    path.write_bytes(content)
    assert difference(install.health()) == 0
    install.drain.run_once()
    health = install.health()
    assert (health["received"], health["pending"], difference(health)) == (129, 0, 0)


# -- over HTTP -----------------------------------------------------------------------------------


def test_strangers_learn_the_status_only(
    clicks_at: Callable[..., ClickMW], browser_of: Callable[..., Any]
) -> None:
    assert browser_of(clicks_at()).get("/_clicks/health").json == {"status": "ok"}


def test_health_is_503_when_events_cannot_be_kept(
    clicks_at: Callable[..., ClickMW],
    browser_of: Callable[..., Any],
    link_to: Callable[..., str],
    tmp_path: Path,
) -> None:
    (tmp_path / "file").touch()
    browser = browser_of(clicks_at(journal=str(tmp_path / "file" / "journal")))
    browser.get(link_to("https://example.org/a"), status=302)
    assert browser.get("/_clicks/health", status=503).json == {"status": "failing"}


def test_health_is_200_while_the_store_is_away(
    clicks_at: Callable[..., ClickMW],
    browser_of: Callable[..., Any],
    link_to: Callable[..., str],
    tmp_path: Path,
) -> None:
    (tmp_path / "clicks.db").mkdir()
    clicks = clicks_at(report_auth=lambda environ: True)
    browser = browser_of(clicks)
    browser.get(link_to("https://example.org/a"), status=302)
    health = browser.get("/_clicks/health", status=200).json
    assert (health["status"], health["pending"]) == ("degraded", 1)
    assert difference(health) == 0


@pytest.mark.usefixtures("still_limits")
def test_the_ledger_adds_up_over_every_kind_of_request(
    clicks_at: Callable[..., ClickMW],
    browser_of: Callable[..., Any],
    link_to: Callable[..., str],
) -> None:
    clicks = clicks_at(report_auth=lambda environ: True, redirect_rate=20)
    browser = browser_of(clicks)
    link = link_to("https://example.org/a")
    browser.get("/?q=tax")
    for _ in range(7):  # two more than a link may be followed in a minute
        browser.get(link, status=302)
    browser.get(link + "x", status=400)
    browser.get(link, headers={"Sec-Purpose": "prefetch"}, status=425)
    browser.get(link, headers={"Sec-GPC": "1"}, status=302)
    browser.get(link_to("/b"), headers={"User-Agent": "curl/8.0"}, status=302)
    clicks.door.worker.catch_up(5.0)
    health = browser.get("/_clicks/health").json
    assert difference(health) == 0
    assert health["stored"] == 7  # one search, five clicks, one robot
    assert (health["opted_out"], health["dropped"], health["rejected"]) == (
        1,
        {"rate": 2},
        {"bad_link": 1},
    )
    assert (health["duplicates"], health["robots"], health["prefetch"]) == (4, 1, 1)
    with closing(clicks.door.store.reader()) as reader:
        assert reader.ledger()["received"] == health["received"]
