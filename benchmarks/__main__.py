"""``python -m benchmarks``: run the benchmarks, print their table and write it to RESULTS.md."""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import sqlite3
import sys
import time
from importlib import metadata
from pathlib import Path

from benchmarks.rounds import Row

RESULTS = Path(__file__).with_name("RESULTS.md")

#: Module → the rows it makes.
MODULES = {
    "requests": ("F1", "F2", "F3", "R"),
    "protocols": ("P",),
    "links": ("F4",),
    "servers": ("F5",),
    "faults": ("F7", "F8", "F9", "F10"),
    "store": ("F11", "F12"),
    "panels": ("F13", "F14", "F15"),
    "postgresql": ("D",),
    "rewriting": ("R",),
    "snippet_sizes": ("S",),
}
LEGEND = """\
Each line compares two things of one run. Their rounds take turns, so that a slow moment of the
machine hits both; the figure is the median of the rounds' own ratios, with the lowest and the
highest in brackets. In process, CPU time is measured; for servers, the CPU time of all their
processes by request. Targets in µs and ms were set on one machine: "at reference speed" is the
time here, divided by how much slower an itsdangerous link is here than there (28.6 µs), measured
in the same round. F7 to F10 lose nothing or they miss.
`met in the best round`: the median misses the target on this machine, the best round does not.
"""


def main() -> int:
    """Run what was asked for; return 1 when a target was missed even in the best round."""
    asked = arguments()
    started = time.monotonic()
    rows: list[Row] = []
    for module, numbers in MODULES.items():
        if asked.only and not set(numbers) & asked.only:
            continue
        print(f"… {module} ({time.monotonic() - started:.0f} s)", file=sys.stderr, flush=True)
        found = run(module, asked.quick, asked.only)
        rows += found
        print("\n".join(line(row) for row in found), flush=True)
    took_s = time.monotonic() - started
    if not asked.only and not asked.quick:
        RESULTS.write_text(document(rows, took_s), encoding="utf-8")
    missed = [row for row in rows if row.met == "MISSED"]
    print(f"{len(rows)} lines, {len(missed)} missed, {took_s:.0f} s", file=sys.stderr)
    return int(bool(missed) and asked.gate)


def arguments() -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two minutes, smaller numbers")
    parser.add_argument(
        "--only",
        default=frozenset(),
        type=lambda text: frozenset(text.upper().split(",")),
        help="lines to make, as F2,F11 (P: foreign click APIs; R: the rewriting of pages; "
        "S: bytes of the snippet; F14: 10 million, long)",
    )
    parser.add_argument("--gate", action="store_true", help="exit 1 when a target was missed")
    return parser.parse_args()


def run(name: str, quick: bool, only: frozenset[str]) -> list[Row]:
    """Return the rows of one module."""
    module = importlib.import_module(f"benchmarks.{name}")
    if name == "rewriting":
        rows = module.run(5 if quick else 7)
        return [
            Row("R", what, base, measured, target, "met" if met else "MISSED")
            for what, base, measured, target, met in rows
        ]
    found: list[Row] = (
        module.run(quick, only) if name in ("faults", "panels") else module.run(quick)
    )
    return [row for row in found if not only or row.number in only]


def line(row: Row) -> str:
    """Return one line of the Markdown table."""
    return "| " + " | ".join(cell.replace("|", "\\|") or "–" for cell in row) + " |"


def document(rows: list[Row], took_s: float) -> str:
    """Return RESULTS.md."""
    head = Row("#", "what", "baseline", "measured", "target", "verdict")
    table = "\n".join([line(head), "|---|---|---|---|---|---|", *map(line, rows)])
    met = sum(row.met.startswith("met") for row in rows)
    missed = sum(row.met == "MISSED" for row in rows)
    verdict = f"{met} targets met, {missed} missed."
    return f"# Benchmark results\n\n`make bench`, {took_s / 60:.1f} minutes. {machine()}\n\n{LEGEND}\n{verdict}\n\n{table}\n"


def machine() -> str:
    """Return what the run was made with."""
    names = ("flask", "gunicorn", "itsdangerous")
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in names)
    return (
        f"{os.cpu_count()} cores, {platform.system()} {platform.release().split('-')[0]}, "
        f"{platform.python_implementation()} {platform.python_version()}, "
        f"SQLite {sqlite3.sqlite_version}, {versions}."
    )


if __name__ == "__main__":
    sys.exit(main())
