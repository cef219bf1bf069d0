"""Whether an install works, station by station, and what to do where it does not.

The set-up page and ``clickmw doctor`` ask the same questions here.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from clickmw.clocks import DAY_MS, Clock, leap_allowed_ms, now_ms
from clickmw.drain import LATE_S, pending, waiting_s
from clickmw.errors import StoreError
from clickmw.settings import Settings
from clickmw.stores.base import Filter, Reader, Totals
from clickmw.tallies import words_of
from clickmw.visitors import behind_unnamed_proxy
from clickmw.wording import format_age, format_count

LEAST_FREE = 200 * 1024 * 1024
_SIGNS = {"good": "✓", "bad": "✗", "note": "–"}


class Finding(NamedTuple):
    """One thing that was looked at; ``verdict`` is "good", "bad" or "note"."""

    topic: str
    verdict: str
    text: str
    remedy: str = ""

    def line(self) -> str:
        """Return the finding as a line for the terminal."""
        remedy = f"\n    → {self.remedy}" if self.remedy else ""
        return f"{_SIGNS[self.verdict]} {self.topic}: {self.text}{remedy}"


class Checkup(NamedTuple):
    """What was found: the stations of the way, in order, and what else wants mending."""

    chain: list[Finding]
    troubles: list[Finding]


def look_around(
    settings: Settings,
    environ: Mapping[str, Any],
    pages: int,
    open_reader: Callable[[], Reader],
) -> Checkup:
    """Return what a request *environ* sees of an install, whose process has looked at *pages* pages."""
    chain = [*check_middleware(pages), *check_journal(settings), *check_space(settings)]
    troubles = [*check_request(settings, environ), *check_platform(settings)]
    troubles += check_clock(settings)
    try:
        reader = open_reader()
    except StoreError as error:
        return Checkup([*chain, *check_store(settings, str(error))], troubles)
    try:
        chain += [*check_store(settings, None), *check_drain(settings, reader)]
        chain += check_events(settings, reader)
        troubles += [
            *check_zones(settings, reader),
            *check_hosts(reader),
            *check_tallies(reader),
        ]
    except StoreError as error:
        troubles += check_store(settings, str(error))
    finally:
        reader.close()
    return Checkup(chain, troubles)


# --- what the settings and the disk tell ---------------------------------------------------------


def check_journal(settings: Settings) -> Iterator[Finding]:
    """Look whether events can be written down."""
    folder = settings.journal
    existing = _nearest(folder)
    if existing.is_dir() and os.access(existing, os.W_OK):
        yield Finding("journal", "good", f"{folder} is writable")
    else:
        yield Finding(
            "journal",
            "bad",
            f"{folder} cannot be written: events are dropped and counted",
            f"give the web server's user the right to write in {existing}, or set CLICKMW_JOURNAL",
        )


def _nearest(folder: Path) -> Path:
    """Return *folder*, or the nearest of those above it that there is."""
    return next(path for path in (folder, *folder.resolve().parents) if path.exists())


def check_space(settings: Settings) -> Iterator[Finding]:
    """Look whether there is room for events."""
    free = shutil.disk_usage(_nearest(settings.journal)).free
    good = free > LEAST_FREE
    remedy = "" if good else "make room: when the disk is full events are dropped and counted"
    yield Finding("disk", "good" if good else "bad", f"{free / 1e9:.1f} GB free", remedy)


def check_clock(settings: Settings) -> Iterator[Finding]:
    """Look whether the machine's clock is believed."""
    doubt = Clock(settings.journal, leap_allowed_ms(settings.keep_days)).doubt()
    if doubt:
        remedy = "set the clock right; if it is right, look at what would go and run: clickmw prune --yes"
        yield Finding("clock", "bad", doubt, remedy)


def check_store(settings: Settings, error: str | None) -> Iterator[Finding]:
    """Look whether the store answers; *error* is what it said instead."""
    database = settings.database
    if error is not None:
        yield Finding("store", "bad", error, _remedy(database))
        return
    exists = database is not None and database.exists()
    if database is not None and exists and not os.access(database, os.W_OK):
        remedy = "give the site's user the right to write it and its folder"
        yield Finding("store", "bad", f"{database} cannot be written: events wait", remedy)
    else:
        yield Finding("store", "good", f"it answers ({settings.store.partition(':')[0]})")
    if database is None or not exists:
        return
    if os.name == "posix" and database.stat().st_mode & 0o004:
        yield Finding("store", "bad", f"everybody may read {database}", f"chmod 600 {database}")


def _remedy(database: Path | None) -> str:
    """Return what helps where a store does not answer: more rights only where some are missing."""
    if database is not None and os.access(database, os.R_OK | os.W_OK):
        return "do what it says; in the place of a damaged file put a backup, or set CLICKMW_STORE"
    return "give the site's user the right to read and write it, or set CLICKMW_STORE"


def check_access(settings: Settings) -> Iterator[Finding]:
    """Say who may see the report."""
    ways = [
        *(["whoever knows admin_password"] if settings.admin_password else ()),
        *(["whom report_auth lets in"] if settings.report_auth else ()),
    ]
    if ways:
        yield Finding("report", "good", f"open to {' and '.join(ways)}")
    else:
        remedy = "set CLICKMW_ADMIN_PASSWORD, or give report_auth a function"
        yield Finding("report", "note", "closed: nobody was given access", remedy)
    if settings.min_visitors and settings.visitor == "none":
        yield Finding(
            "rare queries",
            "bad",
            f"{settings.min_visitors} visitors are wanted of a query, and visitors are not told apart",
            "no query is ever named: set visitor to daily, or min_visitors to 0",
        )


def check_platform(settings: Settings) -> Iterator[Finding]:
    """Look for places where files do not last, or are not shared as SQLite needs them."""
    database = settings.database
    folder = database.absolute().parent if database else None
    stores = {mount_of(folder): folder} if folder else {}
    for mount, place in {**stores, mount_of(settings.journal): settings.journal}.items():
        yield from _mounted(place, mount, _OF_SQLITE if mount in stores else _OF_JOURNAL)
    for name in MANY_REPLICAS:
        if name in os.environ and settings.store.startswith("sqlite"):
            yield Finding(
                "replicas",
                "note",
                f"{name} is set: several replicas do not share an SQLite file",
                "run one replica on a volume",
            )


#: What hosts put into the environment that run a site more than once, or anywhere.
MANY_REPLICAS = (
    "KUBERNETES_SERVICE_HOST",
    "DYNO",
    "K_SERVICE",
    "FLY_APP_NAME",
    "RENDER_SERVICE_ID",
    "RAILWAY_SERVICE_ID",
    "ECS_CONTAINER_METADATA_URI_V4",
    "WEBSITE_INSTANCE_ID",
    "GAE_INSTANCE",
)
_REMOTE = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "glusterfs", "fuse.sshfs")
#: What is wrong with these below a database, and below a journal alone.
_OF_SQLITE = "SQLite's locks and log do not work over a network"
_OF_JOURNAL = "answers of the site wait for the network, and its locks may not say who writes"
_PASSING = ("overlay", "tmpfs", "ramfs", "aufs")


class Mount(NamedTuple):
    """The file system that holds a folder: its type, and whether nobody may write there."""

    kind: str
    read_only: bool


def _mounted(folder: Path, mount: Mount, over_network: str) -> Iterator[Finding]:
    if mount.read_only:
        remedy = "mount it for writing, or point CLICKMW_STORE and CLICKMW_JOURNAL elsewhere"
        yield Finding("file system", "bad", f"{folder} is mounted read-only", remedy)
    if mount.kind in _REMOTE:
        text = f"{folder} is on {mount.kind}: {over_network}"
        yield Finding("file system", "bad", text, "use a local disk")
    if mount.kind in _PASSING:
        yield Finding(
            "file system",
            "note",
            f"{folder} is on {mount.kind}: it is gone with the container",
            "mount a volume and point store and journal at it",
        )


def mount_of(folder: Path, mounts: Path = Path("/proc/mounts")) -> Mount:
    """Return what holds *folder* (Linux); of a type "" where it cannot be told."""
    best, found = "", Mount("", False)
    try:
        lines = mounts.read_text().splitlines()
    except OSError:
        return found
    place = str(folder.resolve())
    for line in lines:
        _device, written, kind, options, *_rest = line.split()
        point = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), written)
        inside = place == point or place.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):  # of two at one place the later one is seen
            best, found = point, Mount(kind, "ro" in options.split(","))
    return found


# --- what a request tells ------------------------------------------------------------------------


def check_middleware(pages: int) -> Iterator[Finding]:
    """Say whether pages of the site pass through us; *pages* is how many this process has seen."""
    if pages:
        yield Finding("middleware", "good", f"this process has looked at {pages:,} pages")
    else:
        yield Finding(
            "middleware",
            "note",
            "this process has looked at no page of the site yet",
            "open a page of your site; if this stays so, ClickMW does not wrap what serves it",
        )


def check_request(settings: Settings, environ: Mapping[str, Any]) -> Iterator[Finding]:
    """Look at the host and the proxies that a request names."""
    host = environ.get("HTTP_HOST", "")
    if settings.sites.for_host(host) is None:
        remedy = "add it to the hosts of a site, or pass the visitor's Host on in the proxy"
        yield Finding(
            "host", "bad", f"{host} belongs to no site: nothing is recorded there", remedy
        )
    if behind_unnamed_proxy(environ, settings.trusted_proxies):
        yield Finding(
            "proxy",
            "bad",
            "a proxy stands before this site: all visitors seem to have its address",
            "set trusted_proxies to the number of proxies you run",
        )
    if settings.trusted_proxies and "HTTP_X_FORWARDED_FOR" not in environ:
        yield Finding(
            "proxy",
            "note",
            f"the setting trusted_proxies is {settings.trusted_proxies}, and this request names no "
            "address that was forwarded",
            "let the proxy send X-Forwarded-For, or leave trusted_proxies out",
        )


# --- what the store tells ------------------------------------------------------------------------


def check_drain(settings: Settings, reader: Reader) -> Iterator[Finding]:
    """Look whether events get from the journal to the store."""
    marks = reader.watermarks()
    waiting = pending(settings.journal, marks)
    late = waiting > 0 and waiting_s(settings.journal, marks) > LATE_S
    yield Finding(
        "drain",
        "bad" if late else "good",
        f"{waiting:,} events wait in the journal",
        "nobody drains: is the site running? Else run: clickmw drain" if late else "",
    )


def check_events(settings: Settings, reader: Reader) -> Iterator[Finding]:
    """Look at what has arrived since the beginning: links, reports of the snippet, clicks."""
    span, ledger = reader.day_span(None), reader.ledger()
    asked = None if span is None else Filter(first_day=span[0], last_day=span[1])
    totals = Totals() if asked is None else reader.totals(asked)
    yield _links(totals)
    yield _snippet(settings, ledger)
    yield _clicks(totals)
    last_ms = ledger.get("last_event_ms")
    if last_ms and last_ms > now_ms() + DAY_MS:
        remedy = "the clock was ahead when it came; the report shows such events on days to come"
        yield Finding("events", "bad", f"last event: {_moment(last_ms)}, a time to come", remedy)
        return
    yield Finding("events", "good" if last_ms else "note", f"last event: {_when(last_ms)}")


def _when(last_ms: int | None) -> str:
    if not last_ms:
        return "never"
    return f"{format_age(last_ms)} ({_moment(last_ms)})"


def _moment(moment_ms: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(moment_ms / 1000))


def _links(totals: Totals) -> Finding:
    left_out = _left_out(totals, "search")
    if totals.impressions:
        return Finding("links", "good", f"results were shown {totals.impressions:,} times")
    if "shared" in left_out:
        return Finding(
            "links",
            "note",
            "a shared cache may keep the pages of results, so only the browser can count searches",
            "let the snippet run on these pages, or send them with Cache-Control: private",
        )
    if "robot" in left_out:
        remedy = "open a page of results in a browser"
        return Finding("links", "note", "only programs have asked for pages of results", remedy)
    if totals.searches:
        remedy = "mark the links inside the list with data-click, as shown below"
        return Finding("links", "note", "searches came, and no result with them", remedy)
    remedy = "mark the list with data-click-module and its links with data-click, as shown below"
    return Finding("links", "note", "no page of results was seen yet", remedy)


def _snippet(settings: Settings, ledger: Mapping[str, int]) -> Finding:
    reports = ledger.get("snippet", 0)
    if reports:
        return Finding("snippet", "good", f"browsers reported {reports:,} events")
    remedy = (
        "open a page of results in a browser; if this stays so, the site's Content-Security-Policy "
        "may forbid the script"
        if settings.inject_snippet
        else "inject_snippet is off: put the script tag on the pages of results, as shown below"
    )
    return Finding("snippet", "note", "no browser has reported anything yet", remedy)


def _clicks(totals: Totals) -> Finding:
    left_out = {reason for reason in _left_out(totals, "click") if reason != "test"}
    if totals.clicks:
        return Finding("clicks", "good", f"{totals.clicks:,} clicks were counted")
    if left_out:
        text = f"clicks came and none counts: {', '.join(sorted(left_out))}"
        return Finding("clicks", "note", text, "the page Not counted says what these words mean")
    remedy = "follow a result on a page of results, or send a test click"
    return Finding("clicks", "note", "no click was counted yet", remedy)


def _left_out(totals: Totals, kind: str) -> set[str]:
    """Return why events of *kind* were not counted."""
    parts = [(name.partition("."), count) for name, count in totals.excluded.items()]
    return {reason for (head, _, reason), count in parts if head == kind and count}


def check_zones(settings: Settings, reader: Reader) -> Iterator[Finding]:
    """Look whether days are kept in the zone of the settings: it is that of a site's first event."""
    for handle, zone in reader.site_zones().items():
        site = settings.sites.by_handle(handle)
        wanted = (site and site.time_zone) or settings.time_zone
        if wanted != zone:
            yield Finding(
                "time zone",
                "bad",
                f"the days of {handle} are kept in {zone}, the setting says {wanted}",
                "the old zone stays in force until you run: clickmw rebuild",
            )


def check_hosts(reader: Reader) -> Iterator[Finding]:
    """Look whether all hosts of the store have the same settings where they must."""
    for difference in reader.disagreements():
        remedy = "make the setting the same on every host: they write to one store"
        yield Finding("hosts", "bad", difference, remedy)


def check_tallies(reader: Reader) -> Iterator[Finding]:
    """Say what was lost, refused or left unsigned, and what to do about it; lost events are bad."""
    for name, count in sorted(reader.ledger().items(), key=lambda item: -item[1]):
        topic = _TOPICS.get(name.partition(".")[0], "")
        if count and topic:
            verdict = "bad" if topic == "lost" and name != "dropped.rate" else "note"
            text = f"{format_count(count)} × {name.partition('.')[2]}: {words_of(name)}"
            yield Finding(topic, verdict, text, REMEDIES.get(name, ""))


_TOPICS = {"dropped": "lost", "rejected": "refused", "unsigned": "unsigned links"}
#: Name in the ledger → what to do about it; the others need nothing.
REMEDIES: Mapping[str, str] = {
    "rejected.bad_link": "after a change of the secret, name the old one in old_secrets",
    "rejected.naming_page": "add the host to target_hosts if visitors may go there",
    "rejected.unknown_site": "keep a site's handle in the settings, or correct data-click-site",
    "rejected.unknown_host": "add the host to the hosts of a site",
    "rejected.foreign_beacon": "add its origin to allowed_origins if the page is yours",
    "rejected.unreadable_encoding": "compress after clickmw: in the web server, not in the application",
    "rejected.rate": "raise redirect_rate if that sender is yours",
    "rejected.failure": "look into the log of the site for lines that begin with clickmw",
    "dropped.rate": "if visitors share an address, set trusted_proxies, or raise redirect_rate",
    "dropped.journal_full": "see that a drain runs, or raise journal_max_bytes",
    "dropped.disk_full": "make room on the disk of the journal",
    "dropped.not_writable": "give the site's user the right to write the journal folder",
    "dropped.io_error": "look into the system's log for errors of the disk",
    "dropped.no_descriptors": "raise the limit of open files (ulimit -n), and find what keeps so many",
    "dropped.failure": "look into the log of the site for lines that begin with clickmw",
    "dropped.unstorable": "look into unstorable.jsonl in the journal folder",
    "unsigned.base": "leave the base element out on pages of results, or name their own host in it",
    "unsigned.host": "add the host to target_hosts if visitors may go there",
    "unsigned.private": "links to private addresses stay as they are: name them by a host",
    "unsigned.length": "shorten the address; it may have 2,048 characters",
    "unsigned.module": "a module code is 1 to 32 letters, digits, dashes or underscores",
    "unsigned.position": "positions are whole numbers from 1",
    "unsigned.ad": "look at the arguments of ad_urls()",
    "unsigned.fault": "look into the log of the site for lines that begin with clickmw",
}


# --- what to paste -------------------------------------------------------------------------------

MARKUP = """\
<ol data-click-module="WEB" data-click-query="{{ query }}" data-click-total="{{ total }}">
  <li><a data-click href="https://example.org/">…</a></li>
</ol>"""
FLASK = """\
from clickmw import ClickMW

ClickMW(app)  # app = Flask(__name__), with a SECRET_KEY"""
DJANGO = """\
INSTALLED_APPS += ["clickmw.django"]
MIDDLEWARE.insert(1, "clickmw.django.ClickMWMiddleware")"""
WSGI = """\
from clickmw import ClickMW

application = ClickMW(application)  # with CLICKMW_SECRET in the environment"""
