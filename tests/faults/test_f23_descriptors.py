"""F-23: the process has no file descriptor left.

Pages and links need none of ours: once the journal's file is open, events go on being kept. A process that cannot open it counts
what it drops, and goes on when there are descriptors again.
"""

from __future__ import annotations

import contextlib
import gc
import os
import resource
from collections.abc import Iterator
from typing import Any

import pytest

from clickmw import keyring
from clickmw.keyring import KeyRing

#: The tests run on each of these kinds of store.
STORES = ("sqlite", "postgresql", "clickhouse")


@contextlib.contextmanager
def no_descriptors() -> Iterator[None]:
    """Take up every file descriptor that this process may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, hard), hard))
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.dup(0))
        yield
    finally:
        for file in taken:
            os.close(file)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_f23_without_descriptors_pages_and_links_work_and_losses_are_counted(site: Any) -> None:
    site.follow()  # what is imported at the first link is here
    site.stands()
    site.restart()
    with no_descriptors():
        site.follow(10)
        site.stands()
        dropped = site.journal.pending_tallies()
        refused = site.journal.trouble
    assert dropped["dropped.no_descriptors"] >= 10
    assert "Too many open files" in refused
    site.follow(5)
    assert site.health()["status"] == "ok"
    ledger = site.settle()
    assert ledger["dropped"] == {"no_descriptors": dropped["dropped.no_descriptors"]}
    assert set(site.followed[-5:]) <= set(site.stored())


def test_f23_a_journal_that_is_open_needs_no_other_descriptor(site: Any) -> None:
    site.follow(5)
    with no_descriptors():
        site.follow(20)
    assert site.settle()["dropped"] == {}
    assert site.has_all()


def test_f23_the_doctor_says_what_to_do(site: Any) -> None:
    site.follow()
    site.journal.tally("dropped.no_descriptors", 3)
    site.settle()
    assert "ulimit -n" in site.doctor()


def test_f23_who_looks_for_a_key_leaves_no_connection_open(
    site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is only forgotten would be a warning, and fail the test."""
    monkeypatch.setattr(keyring, "READ_AGAIN_S", 0.0)
    site.follow()
    site.door.worker.catch_up()
    keys = KeyRing(site.clicks.settings)
    assert [keys.find(f"cmw_{'0' * 8}_{'a' * 43}") for _ in range(3)] == [None] * 3
    gc.collect()
