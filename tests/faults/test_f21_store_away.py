"""F-21: the store is away: it refuses, hangs, or fails now and then.

Events wait in the journal and are taken in once, in their order, when the store is back; no visitor waits for it. (For a
store on another machine this is the row that counts; here it is every kind.)
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any

import pytest

from clickmw.errors import StoreError


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
