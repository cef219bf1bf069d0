"""The ledger: what came in, what is stored, and where the rest went.

Two sources meet here: ``received`` is counted by the writers of the journal, ``stored`` by the
drain. ``received = stored + opted_out + dropped + pending`` holds at every moment; where it does
not, something was lost and says so.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clickmw import __version__
from clickmw.drain import LATE_S, Drain, waiting_s
from clickmw.errors import StoreError
from clickmw.journal import Journal, segment_paths, tail
from clickmw.stores.base import Reader, Store


def read_health(store: Store, journal: Journal, drain: Drain) -> dict[str, Any]:
    """Return the ledger as ``health`` shows it; ``status`` is "ok", "degraded" or "failing".

    Failing means that events cannot be kept now; degraded that they are kept but wait.
    """
    ledger: dict[str, int] = {}
    marks: dict[str, tuple[int, int]] = {}
    warning = None
    try:
        with contextlib.closing(fresh_reader(store)) as reader:
            ledger, marks = reader.ledger(), reader.watermarks()
            differ = next(iter(reader.disagreements()), None)
            described = store.describe(reader)
        trouble = differ or drain.trouble or described["error"]
        warning = described["warning"]
    except StoreError as unreadable:
        trouble = str(unreadable)
    running, pending, size = _journal_beyond(journal.folder, marks)
    tallies = journal.pending_tallies()
    for name, count in tallies.items():
        ledger[name] = ledger.get(name, 0) + count
    unwritten = sum(n for name, n in tallies.items() if name.startswith(("opted_out", "dropped.")))
    failing = journal.refused or size >= journal.max_bytes
    causes = [
        journal.trouble if journal.refused else "",
        _FULL if failing and not journal.refused else "",
        trouble or warning or "",
        _late(journal.folder, marks) if not trouble else "",
        drain.sync_trouble or journal.sync_trouble,
        drain.clock.doubt(),
    ]
    causes = list(filter(None, causes))
    return {
        "status": "failing" if failing else "degraded" if causes else "ok",
        "version": __version__,
        "received": ledger.get("received", 0) + running + unwritten,
        "stored": ledger.get("stored", 0),
        "duplicates": ledger.get("duplicates", 0),
        "robots": ledger.get("robots", 0),
        "opted_out": ledger.get("opted_out", 0),
        "prefetch": ledger.get("prefetch", 0),
        "rejected": _group(ledger, "rejected."),
        "dropped": _group(ledger, "dropped."),
        "unsigned": _group(ledger, "unsigned."),
        "pending": pending,
        "unjoined": ledger.get("unjoined", 0),
        "journal_bytes": size,
        "last_event_ms": ledger.get("last_event_ms"),
        "store": {"kind": store.kind, "ok": trouble is None, "error": trouble},
        "causes": causes,
    }


_FULL = "the journal is as large as journal_max_bytes allows: see that a drain runs"


def _late(folder: Path, marks: Mapping[str, tuple[int, int]]) -> str:
    waited_s = waiting_s(folder, marks)
    if waited_s < LATE_S:
        return ""
    return f"events have waited for {waited_s:,.0f} seconds in the journal: does anybody drain it?"


def fresh_reader(store: Store) -> Reader:
    """Return a view of *store*; a database that does not exist yet, or is of an older clickmw, is made ready."""
    try:
        return store.reader()
    except StoreError:
        store.migrate()
        store.close()
        return store.reader()


def difference(ledger: Mapping[str, Any]) -> int:
    """Return ``received`` minus what is accounted for: 0, or something was lost."""
    kept = ledger["stored"] + ledger["opted_out"] + sum(ledger["dropped"].values())
    return int(ledger["received"] - kept - ledger["pending"])


def _journal_beyond(folder: Path, marks: Mapping[str, tuple[int, int]]) -> tuple[int, int, int]:
    """Return (events received, events waiting, bytes) of *folder* past the watermarks."""
    received = waiting = size = 0
    for path in segment_paths(folder):
        taken, running = marks.get(path.stem, (0, 0))
        with contextlib.suppress(OSError):
            size += path.stat().st_size
            rest = tail(path, taken, running)
            received += max(rest.running - running, 0)
            waiting += rest.pending
    return received, waiting, size


def _group(ledger: Mapping[str, int], prefix: str) -> dict[str, int]:
    return {
        name.removeprefix(prefix): count
        for name, count in sorted(ledger.items())
        if name.startswith(prefix)
    }
