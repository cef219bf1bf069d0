"""What must happen in a forked child before it does anything: let go of the parent's locks and files."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from typing import Any

#: By their own identity: what they are methods of may be neither hashed nor compared.
_methods: dict[int, weakref.ref[Any]] = {}


def in_forked_child(method: Callable[[], None]) -> None:
    """Call the bound *method* in every process forked from this one, as long as its object lives."""
    known: weakref.ref[Any] = weakref.WeakMethod(method, _forget)
    _methods[id(known)] = known


def _forget(known: weakref.ref[Any]) -> None:
    _methods.pop(id(known), None)


def _after_fork() -> None:
    for known in list(_methods.values()):
        method = known()
        if method is not None:
            method()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
