"""What forked children do first: for every object that still lives, and in a time that does not square."""

from __future__ import annotations

import os

import pytest

from clickmw import forks
from clickmw.forks import in_forked_child

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows does not fork")


class Held:
    """Something that a child must let go of; neither hashed nor compared, as dataclasses are."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self) -> None:
        self.pid = os.getpid()
        in_forked_child(self.release)

    def __eq__(self, other: object) -> bool:
        raise AssertionError("nobody needs to look at the others")

    def release(self) -> None:
        self.pid = 0


def test_what_lives_is_let_go_of_in_the_child_and_kept_by_the_parent() -> None:
    held = Held()
    child = os.fork()
    if child == 0:
        os._exit(0 if held.pid == 0 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert held.pid == os.getpid()


def test_what_is_gone_is_not_remembered() -> None:
    before = len(forks._methods)
    many = [Held() for _ in range(100)]
    assert len(forks._methods) == before + 100
    many.clear()
    assert len(forks._methods) == before
