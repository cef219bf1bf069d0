"""What journal records are worth for a store's ledger."""

from __future__ import annotations

from collections.abc import Sequence

from clickmw.stores.base import Record, Stored


def account(records: Sequence[Record], running: int, torn: int) -> tuple[dict[str, int], int, int]:
    """Return the ledger's changes, the writer's count and whether torn bytes await their explanation.

    What the writer counted and no record holds is called torn only where bytes were torn; anything
    else stays visible as a difference between the two sources.
    """
    ledger: dict[str, int] = {}
    for record in records:
        if record.torn:
            torn = 1
            continue
        tallied = 0
        for name, count in record.tallies.items():
            ledger[name] = ledger.get(name, 0) + count
            tallied += count if name.startswith(("opted_out", "dropped.")) else 0
        missing = record.running - running - len(record.events) - tallied
        if torn and missing > 0:
            ledger["dropped.torn"] = ledger.get("dropped.torn", 0) + missing
        ledger["received"] = ledger.get("received", 0) + record.running - running
        running, torn = record.running, 0
    return ledger, running, torn


def add_origins(ledger: dict[str, int], events: Sequence[Stored]) -> None:
    """Add to *ledger* how many of *events* are of robots, and how many the snippet reported."""
    add_to(ledger, "robots", sum(bool(stored.event.robot) for stored in events))
    add_to(ledger, "snippet", sum(stored.event.source == "beacon" for stored in events))


def add_to(ledger: dict[str, int], name: str, count: int) -> None:
    """Add *count* to a line of *ledger*; nothing makes no line."""
    if count:
        ledger[name] = ledger.get(name, 0) + count
