"""What shall be gone for good: from the store, and from the files beside it.

Events that the store has taken in still stand in the journal until its file is full. They are
blanked there, each record in as many bytes as it had, so that whoever writes the file goes on.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from zlib import crc32

from clickmw.drain import ASIDE
from clickmw.journal import segment_paths, sync
from clickmw.middleware import store_of
from clickmw.queries import normal_query
from clickmw.settings import Settings
from clickmw.stores.base import Erasure, Tell


def erase_everywhere(settings: Settings, wanted: Erasure, tell: Tell) -> dict[str, int]:
    """Erase *wanted*; return kind → rows. The caller holds the journal's drain and has drained it."""
    store = store_of(settings)
    try:
        # First the store, whose log is on disk then: until that, the journal is the only sure copy.
        counts = store.erase(wanted, tell)
        marks = store.watermarks()
        for path in segment_paths(settings.journal):
            blank(path, marks.get(path.stem, (0, 0))[0])
    finally:
        store.close()
    aside = _forget_aside(settings.journal / ASIDE, wanted)
    return counts | ({"unstorable": aside} if aside else {})


def blank(path: Path, taken: int) -> None:
    """Overwrite the events of the segment at *path* that stand before byte *taken*."""
    with contextlib.suppress(FileNotFoundError), path.open("r+b", buffering=0) as file:
        lines = file.read(taken).splitlines(keepends=True)
        offset = 0
        for line in lines:
            if offset and (written := _blanked(line)) != line:
                file.seek(offset)
                file.write(written)
            offset += len(line)
        sync(file.fileno())


def _blanked(line: bytes) -> bytes:
    """Return a record of no events in as many bytes; of one that is damaged only the bytes remain."""
    try:
        checksum, running, count, events = line.split(b" ", 3)
        if int(checksum, 16) != crc32(line[9:]):
            raise ValueError("damaged")
        if not events.startswith(b"["):
            return line  # tallies say nothing of anybody
        rest = b"%b %b [%b]\n" % (running, count, b" " * (len(events) - 3))
        return b"%08x %b" % (crc32(rest), rest)
    except ValueError:
        return b"-" * (len(line) - 1) + b"\n"


def _forget_aside(path: Path, wanted: Erasure) -> int:
    """Remove the lines that speak of *wanted* from the file of events that no store can hold."""
    words = [normal_query(wanted.query or ""), wanted.url or "", wanted.visitor or ""]
    marks = [json.dumps(word)[1:-1] for word in words if word]
    try:
        lines = path.read_text().splitlines(keepends=True)
    except OSError:
        return 0
    kept = [line for line in lines if not any(mark in line for mark in marks)]
    if len(kept) < len(lines):
        draft = path.with_suffix(".draft")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.writelines(kept)
        draft.replace(path)
    return len(lines) - len(kept)
