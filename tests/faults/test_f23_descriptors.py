"""F-23: the process has no file descriptor left.

Pages and links need none of ours: once the journal's file is open, events go on being kept. A process that cannot open it counts
what it drops, and goes on when there are descriptors again.
"""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Iterator
from typing import Any


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
