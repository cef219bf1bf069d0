"""A minute of a site at work: four processes, visitors, reports, pruning. ``make soak`` takes half an hour."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.soak import soak

pytestmark = [
    pytest.mark.wide,
    pytest.mark.skipif(sys.platform != "linux", reason="reads the memory of processes in /proc"),
]


def test_a_site_at_work_fails_nobody_and_its_books_are_even(tmp_path: Path) -> None:
    found = soak(1.0, tmp_path)
    assert found["errors"] == []
    assert found["problems"] == []
    assert found["dropped"] == {}
    assert (found["missing"], found["received"]) == (0, found["events"])
    assert found["events"] > 100
