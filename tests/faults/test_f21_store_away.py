"""F-21: the store is away: it refuses, hangs, or fails now and then.

Events wait in the journal and are taken in once, in their order, when the store is back; no visitor waits for it. (For a
store on another machine this is the row that counts; here it is every kind, and a PostgreSQL server that is down or hangs.)
"""

from __future__ import annotations

import random
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from clickmw.errors import StoreError
from tests.postgres_server import PostgresServer, postgres_server

#: The tests run on each of these kinds of store.
STORES = ("sqlite", "postgresql", "clickhouse")


@pytest.fixture
def away(site: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """Let something happen before every call to the site's store."""
    kind = type(site.door.store)
    append, watermarks = kind.append, kind.watermarks
    happens: list[Callable[[], None]] = [lambda: None]

    def before(method: Any) -> Any:
        def call(store: Any, *given: Any, **named: Any) -> Any:
            happens[0]()
            return method(store, *given, **named)

        return call

    monkeypatch.setattr(kind, "append", before(append))
    monkeypatch.setattr(kind, "watermarks", before(watermarks))

    def let(what: Callable[[], None]) -> None:
        happens[0] = what

    return let


def test_f21_a_store_that_refuses_is_named_and_waited_for(
    site: Any, away: Any, eventually: Any
) -> None:
    def refuse() -> None:
        raise StoreError("connection refused")

    away(refuse)
    site.follow(20)
    site.stands()
    assert eventually(lambda: "connection refused" in site.causes())
    assert (site.health()["status"], site.health()["dropped"]) == ("degraded", {})
    away(lambda: None)
    assert eventually(lambda: site.health()["pending"] == 0, 60.0)
    assert eventually(lambda: site.health()["status"] == "ok")
    site.settle()
    assert set(site.followed) <= set(site.stored())
    assert set(site.stored().values()) == {1}


def test_f21_no_visitor_waits_for_a_store_that_hangs(site: Any, away: Any) -> None:
    free = threading.Event()
    away(lambda: free.wait(120) and None)
    site.follow(50)  # the drain hangs, and would for two minutes
    site.stands()
    assert not free.is_set()
    free.set()
    assert site.settle()["dropped"] == {}
    assert set(site.followed) <= set(site.stored())


@pytest.mark.sampled(3)
@pytest.mark.parametrize("seed", range(3))
def test_f21_a_store_that_fails_now_and_then_has_each_event_once(
    seed: int, site: Any, away: Any, eventually: Any
) -> None:
    chance = random.Random(seed)

    def fail_sometimes() -> None:
        if chance.random() < 0.4:
            raise StoreError("connection reset")

    away(fail_sometimes)
    for _ in range(4):
        site.follow(10)
        site.stands()
    assert eventually(lambda: site.health()["pending"] == 0, 90.0)
    away(lambda: None)
    ledger = site.settle()
    assert ledger["dropped"] == {}
    assert set(site.followed) <= set(site.stored())
    assert set(site.stored().values()) == {1}


# -- a server of its own ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def own_server() -> Iterator[PostgresServer]:
    """A server that a test may stop."""
    with postgres_server() as server:
        yield server


def test_f21_a_server_that_is_down_costs_nothing_but_disk(
    own_server: PostgresServer, sites: Callable[..., Any], eventually: Any
) -> None:
    site = sites(store=own_server.url("down"))
    site.follow()
    site.door.worker.catch_up()
    before = site.health()["journal_bytes"]
    own_server.stop()
    site.follow(100)
    site.stands()
    health = site.health()
    assert (health["status"], health["store"]["ok"], health["dropped"]) == ("degraded", False, {})
    assert health["pending"] >= 100
    assert health["journal_bytes"] > before
    assert "events wait" in site.causes()
    own_server.start()
    assert eventually(lambda: site.health()["pending"] == 0, 90.0)
    assert eventually(lambda: site.health()["status"] == "ok")
    site.settle()
    assert site.has_all()


def test_f21_no_visitor_waits_for_a_server_that_hangs(
    own_server: PostgresServer, sites: Callable[..., Any], eventually: Any
) -> None:
    site = sites(store=own_server.url("hangs"))
    site.follow()
    site.door.worker.catch_up()
    own_server.tell(signal.SIGSTOP)
    try:
        site.follow(100)
        site.stands()
    finally:
        own_server.tell(signal.SIGCONT)
    assert eventually(lambda: site.health()["pending"] == 0, 90.0)
    assert site.settle()["dropped"] == {}
    assert site.has_all()
