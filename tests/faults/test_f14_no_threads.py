"""F-14: a server without threads of its own (uWSGI without ``--enable-threads``), or with green ones (gevent).

Where no thread can run, the end of an answer drains, after its visitor has been answered, for a quarter of a second at most.
gevent, waitress, cheroot, uvicorn and others: ``tests/test_servers.py``.
"""

from __future__ import annotations

import threading
from typing import Any

import pytest

from clickmw import drain as drain_module

#: The tests run on each of these kinds of store.
STORES = ("sqlite", "postgresql", "clickhouse")


def test_f14_without_threads_answers_drain(
    site_of: Any, monkeypatch: pytest.MonkeyPatch, eventually: Any
) -> None:
    monkeypatch.setattr(drain_module, "_has_threads", lambda: False)
    threads = threading.active_count()
    site = site_of()
    site.follow(5)
    site.door.worker.drain.last_pass = 0.0

    def drained() -> bool:
        site.browser.get("/search?q=tax")
        return bool(site.health()["pending"] == 0)

    assert eventually(drained)
    assert threading.active_count() == threads
    assert site.settle()["dropped"] == {}
    assert set(site.followed) <= set(site.stored())


def test_f14_a_machine_without_another_thread_is_one_without_threads(
    site_of: Any, monkeypatch: pytest.MonkeyPatch, eventually: Any
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    site = site_of()
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        site.follow(5)
        site.stands()
    site.door.worker.drain.last_pass = 0.0

    def drained() -> bool:
        site.browser.get("/search?q=tax")
        return bool(site.health()["pending"] == 0)

    assert eventually(drained)
    assert site.settle()["dropped"] == {}


def test_f14_no_drain_at_the_end_of_an_answer_fails_the_answer(
    site_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drain_module, "_has_threads", lambda: False)
    monkeypatch.setattr(drain_module.Drain, "run_once", lambda drain, **how: 1 / 0)
    site = site_of()
    site.door.worker.drain.last_pass = 0.0
    site.stands()
