"""The doctor: look at an install and say, finding by finding, what to do."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from clickmw.compat import Protocol, find_protocols
from clickmw.drain import pending
from clickmw.errors import ClickMWError
from clickmw.journal import segment_paths
from clickmw.mcp import Mcp
from clickmw.middleware import store_of
from clickmw.routes import SCHEMA
from clickmw.settings import Settings

SIGNS = {"good": "✓", "bad": "✗", "note": "–"}
LEAST_FREE = 200 * 1024 * 1024


class Finding(NamedTuple):
    """One thing the doctor looked at; ``verdict`` is "good", "bad" or "note"."""

    topic: str
    verdict: str
    text: str
    remedy: str = ""

    def line(self) -> str:
        """Return the finding as a line for the terminal."""
        remedy = f"\n    → {self.remedy}" if self.remedy else ""
        return f"{SIGNS[self.verdict]} {self.topic}: {self.text}{remedy}"


def examine(settings: Settings) -> list[Finding]:
    """Return what the doctor finds: first the settings with their sources, then the checks."""
    findings = [
        Finding(name, "note", f"{value}   ({settings.sources[name]})")
        for name, value in _shown(settings)
        if settings.sources[name] != "default" and "derived" not in settings.sources[name]
    ]
    for examination in (_secret, _journal, _space, _store, _waiting, _native, _platform):
        findings += _carefully(examination, settings)
    return findings


def _shown(settings: Settings) -> list[tuple[str, object]]:
    private = ("secret", "old_secrets", "keys", "admin_password", "sites")
    return [
        (name, "set" if name in private else getattr(settings, name))
        for name in sorted(settings.sources)
    ]


def _carefully(
    examination: Callable[[Settings], Iterator[Finding]], settings: Settings
) -> list[Finding]:
    try:
        return list(examination(settings))
    except (ClickMWError, OSError) as error:
        return [Finding(examination.__name__.strip("_"), "bad", str(error))]


def _secret(settings: Settings) -> Iterator[Finding]:
    if settings.sources["secret"] == "default" or "derived" in settings.sources["secret"]:
        yield Finding(
            "secret",
            "note",
            "not set here; the site's own may differ",
            "run the doctor with the site's configuration, or set CLICKMW_SECRET",
        )
    else:
        yield Finding("secret", "good", "set")


def _journal(settings: Settings) -> Iterator[Finding]:
    folder = settings.journal
    existing = folder if folder.exists() else folder.parent
    if os.access(existing, os.W_OK):
        yield Finding("journal", "good", f"{folder} is writable")
    else:
        yield Finding(
            "journal",
            "bad",
            f"{folder} cannot be written: events are dropped and counted",
            f"give the web server's user the right to write in {existing}, or set CLICKMW_JOURNAL",
        )


def _space(settings: Settings) -> Iterator[Finding]:
    existing = next(
        path for path in (settings.journal, *settings.journal.resolve().parents) if path.exists()
    )
    free = shutil.disk_usage(existing).free
    verdict = "good" if free > LEAST_FREE else "bad"
    remedy = (
        ""
        if verdict == "good"
        else "make room: when the disk is full events are dropped and counted"
    )
    yield Finding("disk", verdict, f"{free / 1e9:.1f} GB free", remedy)


def _store(settings: Settings) -> Iterator[Finding]:
    database = settings.database
    if database is not None and not database.exists():
        yield Finding("store", "note", f"{database} does not exist yet; the first event creates it")
        return
    state = store_of(settings).describe()
    if not state["ok"]:
        yield Finding("store", "bad", str(state["error"]))
        return
    yield Finding("store", "good", f"{settings.store} answers")
    if database is not None and os.name == "posix" and database.stat().st_mode & 0o004:
        yield Finding("store", "bad", f"everybody may read {database}", f"chmod 600 {database}")


def _waiting(settings: Settings) -> Iterator[Finding]:
    if settings.database is None or not settings.database.exists():
        return
    reader = store_of(settings).reader()
    try:
        waiting, ledger = pending(settings.journal, reader.watermarks()), reader.ledger()
        zones = reader.site_zones()
    finally:
        reader.close()
    yield from _zones(settings, zones)
    oldest = min(
        (path.stat().st_mtime for path in segment_paths(settings.journal)), default=time.time()
    )
    late = waiting > 0 and time.time() - oldest > 60
    yield Finding(
        "drain",
        "bad" if late else "good",
        f"{waiting:,} events wait in the journal",
        "nobody drains: is the site running? Else run: clickmw drain" if late else "",
    )
    last = ledger.get("last_event_ms")
    when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(last / 1000)) if last else "never"
    yield Finding("events", "good" if last else "note", f"last event {when}")
    for name, count in ledger.items():
        if name.startswith("dropped.") and count:
            yield Finding("dropped", "bad", f"{count:,} events: {name.removeprefix('dropped.')}")


def _zones(settings: Settings, kept: dict[str, str]) -> Iterator[Finding]:
    """Days are kept in the zone that a site had at its first event."""
    for handle, zone in kept.items():
        site = settings.sites.by_handle(handle)
        wanted = (site and site.time_zone) or settings.time_zone
        if wanted != zone:
            yield Finding(
                "time zone",
                "bad",
                f"the days of {handle} are kept in {zone}, the setting says {wanted}",
                f"the old zone stays in force; set {zone} again, or start a new database",
            )


def _native(settings: Settings) -> Iterator[Finding]:
    """Whether the site has pages of its own there cannot be told from its settings."""
    if not settings.native_paths:
        return
    answering: list[type[Protocol]] = [*find_protocols(), Mcp]
    endpoints = [SCHEMA, *(each for one in answering for each in one.endpoints)]
    paths = sorted(f"/{each.path}" for each in endpoints if each.operations)
    yield Finding(
        "native paths",
        "note",
        f"clickmw answers at the site's root too: {', '.join(paths)}",
        "a page of your own at one of these is no longer reached; without native_paths all of them "
        f"answer below {settings.prefix} only",
    )


def _platform(settings: Settings) -> Iterator[Finding]:
    kind = _file_system(settings.journal)
    if kind in ("nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs"):
        yield Finding("file system", "bad", f"{settings.journal} is on {kind}", "use a local disk")
    if kind in ("overlay", "tmpfs"):
        yield Finding(
            "file system",
            "note",
            f"{settings.journal} is on {kind}: it is gone with the container",
            "mount a volume and point store and journal at it",
        )
    for name in ("KUBERNETES_SERVICE_HOST", "DYNO", "K_SERVICE"):
        if name in os.environ and settings.store.startswith("sqlite"):
            yield Finding(
                "replicas",
                "note",
                f"{name} is set: several replicas do not share an SQLite file",
                "run one replica on a volume",
            )


def _file_system(folder: Path) -> str:
    """Return the type of the file system that holds *folder* (Linux), "" where it cannot be told."""
    best, kind = "", ""
    try:
        lines = Path("/proc/mounts").read_text().splitlines()
    except OSError:
        return ""
    place = str(folder.resolve())
    for line in lines:
        _device, mount, found, *_rest = line.split()
        inside = place == mount or place.startswith(mount.rstrip("/") + "/")
        if inside and len(mount) >= len(best):
            best, kind = mount, found
    return kind
