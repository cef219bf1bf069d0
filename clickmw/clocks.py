"""Whether this machine's clock can be believed: what deletes by age asks here first.

A clock that leaps ahead by years would make every event too old at once. So a folder remembers
the time it knew last, once an hour. Where the clock stands far ahead of that, nothing is deleted
until it has caught up, two hours in each hour: after a week without power that takes a week, after
a leap of ten years it never happens before somebody has looked.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path

DAY_MS = 86_400_000
#: How far what is known follows a clock that leaps, each time somebody looks.
STEP_MS = 2 * 3_600_000
#: Name of the file beside the segments of a journal.
NAME = "clock"


def leap_allowed_ms(keep_days: int) -> int:
    """Return how far a clock may stand ahead of what was known: a quarter of *keep_days*, 2 to 7 days."""
    return DAY_MS * max(2, min(7, keep_days // 4))


def now_ms() -> int:
    """Return the clock of this machine: milliseconds since 1970 UTC."""
    return time.time_ns() // 1_000_000


class Clock:
    """What the journal in *folder* knows of the time; ``allowed_ms`` is the leap that is believed."""

    def __init__(self, folder: Path, allowed_ms: int) -> None:
        self.path = folder / NAME
        self.allowed_ms = allowed_ms

    def begin(self, newest_ms: int | None) -> None:
        """Begin with the newest event of the store, where the folder knows nothing yet."""
        if self._read() is None:
            now = now_ms()
            self._write(min(now, newest_ms or now), doubted=False)

    def look(self) -> bool:
        """Compare clock and memory, and remember the time; False while the clock is not believed."""
        now, known = now_ms(), self._known()
        doubted = now - known > self.allowed_ms
        # A clock that begins in 1970 and is put right later must not be what is known: back, too, by steps.
        known = min(now, known + STEP_MS) if doubted else max(now, known - STEP_MS)
        self._write(known, doubted=doubted)
        return not doubted

    def trust(self) -> None:
        """Take the clock for right: somebody has looked."""
        self._write(now_ms(), doubted=False)

    def believed_ms(self) -> int:
        """Return the time, but no later than what is known and a leap that is believed."""
        return min(now_ms(), self._known() + self.allowed_ms)

    def doubt(self) -> str:
        """Return in a sentence why the clock is not believed, "" while it is."""
        found = self._read()
        if found is None or not found[1]:
            return ""
        ahead = now_ms() - found[0]
        if ahead <= self.allowed_ms:  # it was put back
            return ""
        return (
            f"the clock stands {ahead / DAY_MS:,.0f} days ahead of what was known here: old events are "
            "kept until it is clear which is right"
        )

    def _known(self) -> int:
        found = self._read()
        return now_ms() if found is None else found[0]

    def _read(self) -> tuple[int, bool] | None:
        try:
            found = json.loads(self.path.read_text())
            return int(found["known_ms"]), bool(found["doubted"])
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def _write(self, known_ms: int, *, doubted: bool) -> None:
        text = json.dumps({"known_ms": known_ms, "doubted": doubted})
        draft = self.path.with_name(f".{NAME}.{os.getpid()}")
        with contextlib.suppress(OSError):  # on a full disk the next hour tries again
            with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                file.write(text)
            draft.replace(self.path)
