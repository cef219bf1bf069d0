"""What must happen in a forked child before it does anything: let go of the parent's locks and files."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from typing import Any

_methods: list[weakref.WeakMethod[Any]] = []


def in_forked_child(method: Callable[[], None]) -> None:
    """Call the bound *method* in every process forked from this one, as long as its object lives."""
    _methods[:] = [known for known in _methods if known() is not None]
    _methods.append(weakref.WeakMethod(method))


def _after_fork() -> None:
    for known in list(_methods):
        method = known()
        if method is not None:
            method()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
