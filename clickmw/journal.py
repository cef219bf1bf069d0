"""The journal: events on local disk before anyone is answered.

A folder of append-only segment files, one writer each. What ``write`` has returned True for
survives the death of the process; with ``durability="power"`` the loss of power too. The drain
moves records to the store and removes the segments whose writer is gone.

A record is one line, ``checksum running count body``: CRC-32 of all that follows its blank, the
writer's count of events received so far, how many of them this record accounts for, and JSON: a
list of events, or an object of tallies (or, in the first line of a segment, of its header).
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import re
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

from clickmw.errors import BadEvent
from clickmw.events import Event, decode_event, encode_events
from clickmw.forks import in_forked_child
from clickmw.stores.base import Record, Stored

if os.name == "posix":
    import fcntl

FORMAT_VERSION = 1
SEGMENT_BYTES = 16 * 1024 * 1024
SEGMENT_AGE_S = 600.0
SUFFIX = ".clicks"
#: An event's id has one byte for its place in the record.
RECORD_EVENTS = 256
#: How far a segment may grow, or how long it may be full, before the folder is measured again.
MEASURE_BYTES = 262_144
MEASURE_S = 0.2
#: What a new segment's header and a record's own fields can take, at most.
HEADER_BYTES = 512
#: An empty segment this old was left by a writer that died before its first byte.
STILLBORN_S = 60.0
#: How much of a segment's end is read first to find its last record.
TAIL_BYTES = 65_536
#: Tallies that are part of ``received``; the others (rejected, prefetch) never became events.
RECEIVED_TALLIES = ("opted_out", "dropped.")

log = logging.getLogger("clickmw")
_live_here: set[str] = set()


class Journal:
    """Append records to this process's own segment of *folder*.

    ``max_bytes`` bounds all segments of the folder together. Safe for threads; a forked child gets
    a segment of its own.
    """

    def __init__(
        self, folder: Path, *, max_bytes: int = 256 * 1024 * 1024, durable: bool = False
    ) -> None:
        self.folder = folder
        self.max_bytes = max_bytes
        self.durable = durable
        self._tallies: dict[str, int] = {}
        #: Whether the last record was refused: events cannot be kept now; and why, in words.
        self.refused = False
        self.trouble = ""
        #: Why records may not be on disk yet although they were to be; "" while they are.
        self.sync_trouble = ""
        self._forget()
        in_forked_child(self._leave_to_parent)

    def _forget(self) -> None:
        """Start as a process without a segment (also in a forked child, where locks may be held)."""
        self._lock = threading.Lock()
        self._file = -1
        self._name = ""
        self._size = self._running = self._other_bytes = 0
        self._measured_size = -MEASURE_BYTES - 1
        self._measure_again = self._expires = 0.0

    def write(self, events: tuple[Event, ...]) -> bool:
        """Append *events* as one record; False when not all could be kept."""
        if len(events) > RECORD_EVENTS:
            rest = events[RECORD_EVENTS:]
            return self.write(events[:RECORD_EVENTS]) & self.write(rest)
        try:
            body = encode_events(events)
        except (TypeError, ValueError) as error:
            return self._write_apart(events, error)
        return self._append(body, len(events))

    def _write_apart(self, events: tuple[Event, ...], error: Exception) -> bool:
        """Keep what can be kept of *events*: at least one of them is no JSON."""
        if len(events) > 1:
            return min([self.write((event,)) for event in events])
        self.tally("dropped.unwritable")
        warn_once_a_minute(
            "unwritable", "clickmw: an event was dropped, its values are not JSON: %s", error
        )
        return False

    def tally(self, name: str, count: int = 1) -> None:
        """Count something that is not journalled itself; kept until :meth:`write_tallies`."""
        with self._lock:
            self._tallies[name] = self._tallies.get(name, 0) + count

    def write_tallies(self) -> bool:
        """Append the tallies since the last call; they are kept when the disk refuses them.

        One step under the lock: nobody finds them neither here nor in the journal.
        """
        with self._lock:
            self._leave_removed_segment()
            tallies = self._tallies
            if not tallies:
                return True
            received = sum(n for name, n in tallies.items() if name.startswith(RECEIVED_TALLIES))
            body = json.dumps(tallies, separators=(",", ":"))
            if not self._append_held(body, received, refusable=False):
                return False
            self._tallies = {}
            return True

    def _leave_removed_segment(self) -> None:
        """Begin a new segment when somebody has removed ours: nobody would ever read what we write."""
        if self._file >= 0 and os.fstat(self._file).st_nlink == 0:
            warn_once_a_minute(
                "removed",
                "clickmw: the journal %s was removed while the site ran; what waited there is gone",
                self.folder,
            )
            self._close_segment()

    @property
    def segment(self) -> Path | None:
        """The file that this process writes now."""
        return self.folder / (self._name + SUFFIX) if self._name else None

    def pending_tallies(self) -> dict[str, int]:
        """Return the tallies that no record carries yet."""
        with self._lock:
            return dict(self._tallies)

    def _append(self, body: str, count: int) -> bool:
        with self._lock:
            return self._append_held(body, count)

    def _append_held(self, body: str, count: int, *, refusable: bool = True) -> bool:
        """Append a record; the lock is held."""
        try:
            if self._is_full(len(body)):
                # Once the drain has taken it in there is room again.
                self._close_segment()
                return self._refuse("journal_full", count, refusable)
            if self._file < 0 or self._size > SEGMENT_BYTES or time.monotonic() > self._expires:
                self._open_segment()
            self._write_line(body, count)
        except OSError as error:
            return self._refuse(_reason(error), count, refusable, error)
        self.refused = False
        return True

    def _write_line(self, body: str, count: int) -> None:
        line = f"{self._running + count} {count} {body}\n".encode()
        record = b"%08x %b" % (crc32(line), line)
        try:
            written = os.write(self._file, record)
            if written != len(record):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            self._cut_off()
            raise
        self._size += written
        self._running += count
        if self.durable:
            self._sync()

    def _cut_off(self) -> None:
        """Take back what was written of a record: nothing may stand between two but another."""
        try:
            os.ftruncate(self._file, self._size)
        except OSError:
            self._close_segment()

    def _sync(self) -> None:
        try:
            sync(self._file)
            self.sync_trouble = ""
        except OSError as error:
            self.sync_trouble = unsynced(error)
            warn_once_a_minute(
                "sync",
                "clickmw: the journal %s cannot be synced: %s. Events are kept, but a "
                "power cut may lose them.",
                self.folder,
                error,
            )

    def _refuse(self, reason: str, count: int, tallied: bool, error: OSError | None = None) -> bool:
        self.refused = True
        if tallied and count:
            name = f"dropped.{reason}"
            self._tallies[name] = self._tallies.get(name, 0) + count
        why = error or f"it holds {self.max_bytes} bytes that no drain has moved to the store"
        self.trouble = (
            f"the journal {self.folder} cannot be written: {why}. The site works; events are "
            "counted as dropped"
        )
        warn_once_a_minute(
            reason,
            "clickmw: the journal %s cannot be written: %s. The site works; events are counted as "
            "dropped. Run: clickmw doctor",
            self.folder,
            why,
        )
        return False

    def _is_full(self, length: int) -> bool:
        needed = self._size + length + HEADER_BYTES
        full = self._other_bytes + needed > self.max_bytes
        grown = self._size - self._measured_size > MEASURE_BYTES
        if grown or (full and time.monotonic() > self._measure_again):
            self._measured_size = self._size
            self._measure_again = time.monotonic() + MEASURE_S
            self._other_bytes = sum(
                _size_of(path) for path in segment_paths(self.folder) if path.stem != self._name
            )
            full = self._other_bytes + needed > self.max_bytes
        return full

    def _open_segment(self) -> None:
        self._close_segment()
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        now_ms = time.time_ns() // 1_000_000
        name = f"{now_ms}-{secrets.token_hex(5)}"
        path = self.folder / (name + SUFFIX)
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
        self._name = name
        self._expires = time.monotonic() + SEGMENT_AGE_S
        _live_here.add(name)
        try:
            # No drain looks at an empty segment: once it has a header, its lock says whether we live.
            lock(self._file)
            self._write_line(json.dumps(_header(now_ms)), 0)
        except OSError:
            self._close_segment()
            path.unlink(missing_ok=True)
            raise
        if self.durable:
            sync_folder(self.folder)
            # The folder's own name too: whoever made it may not have thought of that.
            sync_folder(self.folder.absolute().parent)

    def _close_segment(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            _live_here.discard(self._name)
        self._file, self._name = -1, ""
        self._size = self._running = 0
        self._measured_size = -MEASURE_BYTES - 1

    def _leave_to_parent(self) -> None:
        """In a forked child: let go of the parent's segment without ending the parent's lock."""
        if self._file >= 0:
            os.close(self._file)
        _live_here.discard(self._name)
        self._tallies = {}
        self._forget()

    def close(self) -> None:
        """Write the tallies and leave the segment to the drain."""
        with contextlib.suppress(OSError):
            self.write_tallies()
            with self._lock:
                self._close_segment()


def _header(now_ms: int) -> dict[str, Any]:
    return {
        "v": FORMAT_VERSION,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "created_ms": now_ms,
    }


def _reason(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "disk_full"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "not_writable"
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return "no_descriptors"
    return "io_error"


def unsynced(error: OSError) -> str:
    """Return what is said while the journal is not on disk."""
    return f"the journal cannot be brought to disk: {error}. A power cut may lose events"


_warned: dict[str, float] = {}


def warn_once_a_minute(topic: str, message: str, *values: object) -> None:
    """Log a warning, but not the same *topic* twice within a minute."""
    now = time.monotonic()
    if now - _warned.get(topic, -60.0) >= 60.0:
        _warned[topic] = now
        log.warning(message, *values)


#: macOS has no fdatasync.
sync: Callable[[int], None] = getattr(os, "fdatasync", os.fsync)


def sync_folder(folder: Path) -> None:
    """Make the names of *folder* survive a power cut (a no-op where folders cannot be opened)."""
    if os.name != "posix":
        return
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


# -- reading ---------------------------------------------------------------------------------


class Tail(NamedTuple):
    """What a segment holds past some offset: ``running`` and ``pending`` as its writer counts."""

    size: int
    running: int
    pending: int


_SEGMENT_NAME = re.compile(r"\d{1,15}-[0-9a-f]{10}" + re.escape(SUFFIX))


def segment_paths(folder: Path) -> list[Path]:
    """Return the segments of *folder*, oldest first."""
    try:
        names = [name for name in os.listdir(folder) if _SEGMENT_NAME.fullmatch(name)]
    except OSError:
        return []
    return [folder / name for name in sorted(names)]


def _size_of(path: Path) -> int:
    """Return the bytes of a segment; 0 when the drain has just removed it."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def is_sealed(path: Path) -> bool:
    """Tell whether the writer of the segment at *path* is gone: it will not grow any more."""
    if path.stem in _live_here:
        return False
    status = path.stat()
    if status.st_size == 0:  # its writer may not have locked it yet
        return time.time() - status.st_mtime > STILLBORN_S
    return not is_locked(path)


def is_locked(path: Path) -> bool:
    """Tell whether a process that lives has locked the file at *path*; OSError where there is none."""
    file = os.open(path, os.O_RDONLY)
    try:  # shared: over NFS a file that is only read takes no other lock (flock(2))
        return not lock(file, shared=True)
    finally:
        os.close(file)


def lock(file: int, *, shared: bool = False) -> bool:
    """Take the lock of an open file, freed by the kernel when its holder dies; False when it is taken.

    Windows, for development, has one process, which knows its own segments.
    """
    if os.name != "posix":
        return True
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def read_records(path: Path, start: int, *, most: int, sealed: bool) -> list[Record]:
    """Return up to *most* events' worth of records of the segment at *path* from byte *start* on.

    An unfinished last line is left alone while the writer lives, and is torn once it is gone.
    """
    records: list[Record] = []
    events = 0
    segment = path.stem
    for offset, line in _lines(path, start):
        if not line.endswith(b"\n") and not sealed:
            break
        record = _read_line(segment, offset, line)
        records.append(record)
        events += len(record.events)
        if events >= most:
            break
    return records


def tail(path: Path, start: int, running: int = 0) -> Tail:
    """Return the size of the segment at *path* and what its records past *start* account for.

    *running* is the writer's count at *start*. What damage has taken waits too: the drain will
    count it as torn.
    """
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        length = TAIL_BYTES
        while True:
            begin = max(start, size - length)
            file.seek(begin)
            found = _last_record(file.read(), begin)
            if found is not None:
                end, latest = found
                return Tail(end, latest, max(latest - running, 0))
            if begin == start:
                return Tail(start, running, 0)
            length *= 8


def _last_record(content: bytes, begin: int) -> tuple[int, int] | None:
    """Return where the last whole record of *content* ends, which begins at byte *begin*, and its count."""
    body, _newline, _unfinished = content.rpartition(b"\n")
    end = begin + len(body) + 1
    for line in reversed(body.split(b"\n")):
        running = _running_count(line + b"\n")
        if running is not None:
            return end, running
        end -= len(line) + 1
    return None


def _running_count(line: bytes) -> int | None:
    """Return the writer's count in a record's *line*, None for a damaged one."""
    try:
        checksum, running, _rest = line.split(b" ", 2)
        return int(running) if crc32(line[9:]) == int(checksum, 16) else None
    except ValueError:
        return None


def _lines(path: Path, start: int) -> Iterator[tuple[int, bytes]]:
    with path.open("rb") as file:
        file.seek(start)
        for line in file:
            yield start, line
            start += len(line)


def _read_line(segment: str, start: int, line: bytes) -> Record:
    end = start + len(line)
    try:
        checksum, running, _count, body = line.split(b" ", 3)
        if crc32(line[9:]) != int(checksum, 16):
            raise BadEvent("checksum")
        content = json.loads(body.decode())
        if isinstance(content, dict):
            return Record(start, end, int(running), (), _tallies(content, start))
        prefix = event_id_prefix(segment) + start.to_bytes(4)
        events = (Stored(prefix + bytes((i,)), decode_event(row)) for i, row in enumerate(content))
        one = body.strip()[1:-1] if len(content) == 1 else b""
        return Record(start, end, int(running), tuple(events), {}, body=one)
    except (ValueError, TypeError, IndexError, BadEvent):
        return Record(start, end, 0, (), {}, torn=True)


def _tallies(content: Mapping[str, Any], start: int) -> dict[str, int]:
    return {} if start == 0 else {name: int(count) for name, count in content.items()}


@lru_cache(maxsize=64)
def event_id_prefix(segment: str) -> bytes:
    """Return the first 11 bytes of the ids of all events of *segment*: its time and random part."""
    created_ms, _, random_part = segment.partition("-")
    return int(created_ms).to_bytes(6) + bytes.fromhex(random_part)


def read_header(path: Path) -> dict[str, Any]:
    """Return the header of the segment at *path*; empty when there is none yet."""
    for _offset, line in _lines(path, 0):
        with contextlib.suppress(ValueError, IndexError):
            header = json.loads(line.split(b" ", 3)[3])
            return header if isinstance(header, dict) else {}
        break
    return {}
