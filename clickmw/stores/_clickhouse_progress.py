"""How far each segment was taken in, and the ledger that follows from it.

Every append leaves one row: from where to where it went and what that adds. A row may be there twice,
or stand beside others that went over the same bytes in another cut: whatever way leads from byte 0
to the end without a gap or an overlap has the right sums, for each byte of a segment is worth the same
in every cut.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from clickmw.errors import StoreError
from clickmw.stores._clickhouse_http import Client, literal

FIND_ROWS = """
-- One row per append to a segment that is not closed.
SELECT name, start, end, running, torn, arrayStringConcat(lines, ' ') AS lines,
       arrayStringConcat(arrayMap(count -> toString(count), counts), ' ') AS counts
  FROM segment WHERE closed = 0 {} ORDER BY name, start, end
"""
CLOSED_SUMS = """
-- One row per line of the ledger: what all closed segments add up to.
SELECT line, sum(count) FROM (
  SELECT name, lines, counts FROM segment WHERE closed = 1
) ARRAY JOIN lines AS line, counts AS count GROUP BY line
"""
FIND_CLOSED = "SELECT name FROM segment WHERE closed = 1 {}"
#: The ledger's one line that is a time, not a sum.
LAST = "last_event_ms"


class Mark(NamedTuple):
    """How far a segment was taken in, its writer's count there, and whether torn bytes await theirs."""

    taken: int = 0
    running: int = 0
    torn: int = 0


class Step(NamedTuple):
    """One append."""

    start: int
    end: int
    running: int
    torn: int
    ledger: Mapping[str, int]


def find_steps(client: Client, segment: str | None = None) -> dict[str, list[Step]]:
    """Return the way of each open segment, or of one."""
    which = "" if segment is None else f"AND name = {literal(segment)}"
    closed = {name for (name,) in client.rows(FIND_CLOSED.format(which))}
    found: dict[str, list[Step]] = {}
    for name, start, end, running, torn, lines, counts in client.rows(FIND_ROWS.format(which)):
        if name not in closed:
            ledger = dict(zip(lines.split(), map(int, counts.split()), strict=True))
            found.setdefault(name, []).append(Step(start, end, running, torn, ledger))
    return {name: way(steps) for name, steps in found.items()}


def way(steps: Sequence[Step]) -> list[Step]:
    """Return steps from byte 0 as far as any leads, none of them over the same bytes as another."""
    before: dict[int, Step | None] = {0: None}
    for step in sorted(steps, key=lambda step: (step.start, step.end)):
        if step.start in before and step.end > step.start:
            before.setdefault(step.end, step)
    found: list[Step] = []
    last = before[max(before)]
    while last is not None:
        found.append(last)
        last = before[last.start]
    return found[::-1]


def mark_of(steps: Sequence[Step]) -> Mark:
    """Return where a way ends."""
    return Mark(*steps[-1][1:4]) if steps else Mark()


def sum_up(steps: Sequence[Step]) -> dict[str, int]:
    """Return what a way adds to the ledger."""
    return _together(step.ledger for step in steps)


def _together(parts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Return the sums of ledgers, and the latest of their last events."""
    sums: Counter[str] = Counter()
    last = 0
    for part in parts:
        sums.update({name: count for name, count in part.items() if name != LAST})
        last = max(last, part.get(LAST, 0))
    return {**sums, LAST: last} if last else dict(sums)


def add_step(
    client: Client,
    segment: str,
    step: Step,
    *,
    closed: int = 0,
    settings: Mapping[str, Any] | None = None,
) -> None:
    """Write down an append, or that a segment is done with."""
    names = ", ".join(literal(name) for name in step.ledger)
    counts = ", ".join(str(int(count)) for count in step.ledger.values())
    values = f"{literal(segment)}, {closed}, {step.start}, {step.end}, {step.running}, {step.torn}"
    lines = f"[{names}]" if names else "CAST([] AS Array(String))"
    sums = f"[{counts}]" if counts else "CAST([] AS Array(Int64))"
    client.run(f"INSERT INTO segment SELECT {values}, {lines}, {sums}", **(settings or {}))


def close(client: Client, segment: str, known: Mark) -> None:
    """Leave of a segment whose file is gone nothing but its sums, all of them up to what is *known*."""
    steps = find_steps(client, segment).get(segment, [])
    if steps:
        mark = mark_of(steps)
        if mark.taken < known.taken:
            raise StoreError(f"segment {segment}: the server that answers is behind; later, then")
        add_step(client, segment, Step(0, *mark, sum_up(steps)), closed=1)


def ledger(client: Client) -> dict[str, int]:
    """Return the lines that follow from all appends."""
    latest = CLOSED_SUMS.replace("sum(count)", f"if(line = '{LAST}', max(count), sum(count))")
    opened = (sum_up(steps) for steps in find_steps(client).values())
    return _together([*opened, dict(client.rows(latest))])


def marks(client: Client) -> dict[str, Mark]:
    """Return the mark of each open segment."""
    return {name: mark_of(steps) for name, steps in find_steps(client).items()}


def as_pairs(found: Mapping[str, Mark]) -> dict[str, tuple[int, int]]:
    """Return marks as the drain asks for them."""
    return {name: (mark.taken, mark.running) for name, mark in found.items()}
