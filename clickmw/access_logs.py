"""Clicks out of a web server's log: every redirect link that was followed stands there.

A log does not say who asked not to be counted, and the salt of a past day is destroyed: such clicks
have no visitor. Two of one page and target within the duplicate window count once.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import NamedTuple
from urllib.parse import unquote

from clickmw.errors import BadToken
from clickmw.events import Click, issued_ms, view_in
from clickmw.importing import BATCH, Intake, Outcome
from clickmw.robots import classify
from clickmw.settings import Settings
from clickmw.stores.base import Store, Stored
from clickmw.targets import host_of, problem
from clickmw.tokens import MAX_AGE_MS, LinkSigner, LinkTarget

#: A click of the log that lies so near to one in the store is the same: logs have whole seconds.
NEAR_MS = 10_000
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
# Linear, whatever a stranger asked for.
# Source: Apache's mod_log_config, "combined", with the host before it as in "vhost_combined".
_LINE = re.compile(
    rb"(?:[^\s\[\"]+:\d+ )?\S+ \S+ (?:\"[^\"]*\"|[^\[]*?) ?"
    rb"\[(\d\d)/(\w{3})/(\d{4}):(\d\d):(\d\d):(\d\d) ([+-]\d\d)(\d\d)\] "
    rb"\"([A-Z]+) ([^\s\"]++)[^\"]*+\" (\d{3}) \S+"
    rb"(?: \"((?:[^\"\\]|\\.)*)\" \"((?:[^\"\\]|\\.)*)\")?"
)


class Logged(NamedTuple):
    """One request of a log; ``received_ms`` in whole seconds, *path* with its query string."""

    received_ms: int
    method: str
    path: str
    status: int
    referrer: str
    agent: str


def read_line(line: bytes) -> Logged | None:
    """Return the request of *line*, None where it has not the combined form."""
    found = _LINE.match(line)
    if not found:
        return None
    day, month, year, hour, minute, second, zone_h, zone_min, *rest = found.groups()
    try:
        at = [int(year), MONTHS.index(month.decode()) + 1, *map(int, (day, hour, minute, second))]
        moment = datetime(at[0], at[1], at[2], at[3], at[4], at[5], tzinfo=UTC)
    except ValueError:
        return None
    sign = -1 if zone_h.startswith(b"-") else 1
    moment -= timedelta(hours=int(zone_h), minutes=sign * int(zone_min))
    method, path, status, referrer, agent = (
        (each or b"").decode("utf-8", "replace") for each in rest
    )
    referrer, agent = ("" if each == "-" else each for each in (referrer, agent))
    return Logged(int(moment.timestamp()) * 1000, method, path, int(status), referrer, agent)


def import_log(
    lines: Iterable[bytes], settings: Settings, store: Store, tell: Callable[[int], None]
) -> Outcome:
    """Import the redirects of a log; return what became of its lines."""
    intake = Intake(store)
    reader = LogReader(settings, intake.counts)
    batch: dict[bytes, Click] = {}
    try:
        for number, line in enumerate(lines, 1):
            click = reader.click(line, number)
            if click is not None:
                batch.setdefault(_event_id(click, line), click)
            if len(batch) >= BATCH:
                _add(batch, intake)
                tell(number)
                batch = {}
        _add(batch, intake)
    finally:
        intake.close()
    return intake.counts


class LogReader:
    """Make clicks of the lines of a log; ``counts`` says why the others are none."""

    def __init__(self, settings: Settings, counts: Outcome) -> None:
        self.settings = settings
        self.counts = counts
        self.signer = LinkSigner(settings.secret, settings.old_secrets)
        self._path = f"{settings.prefix}/r/"
        self._mark = self._path.encode()

    def click(self, line: bytes, number: int) -> Click | None:
        """Return the click of *line*, the *number*-th of its file; None for all that is none."""
        if self._mark not in line:
            self.counts["another page"] += 1
            return None
        logged = read_line(line)
        if logged is None:
            self.counts.note_wrong("no line of a log", number)
            return None
        path, _, query = logged.path.partition("?")
        _before, found, token = path.partition(self._path)
        if not found:
            self.counts["another page"] += 1
        elif logged.method != "GET" or logged.status not in (204, 302):
            self.counts[f"{logged.method} answered {logged.status}"] += 1
        else:
            return self._click(logged, token, query, number)
        return None

    def _click(self, logged: Logged, token: str, query: str, number: int) -> Click | None:
        if not token and query.startswith("t="):
            token = query[2:].partition("&")[0]
        try:
            target = self.signer.read_link(unquote(token))
        except BadToken:
            self.counts.note_wrong("not a link of this site", number)
            return None
        site = self.settings.sites.by_handle(target.site or "default")
        if problem(target.location, target_hosts=self.settings.target_hosts):
            self.counts.note_wrong("a target that is not allowed", number)
        elif site is None:
            self.counts.note_wrong("of a site that is not in the settings", number)
        else:
            hosts = site.hosts
            return self._made(logged, target, query, site.handle, site.absolute, hosts)
        return None

    def _made(
        self,
        logged: Logged,
        target: LinkTarget,
        query: str,
        site: str,
        absolute: Callable[[str], str],
        hosts: tuple[str, ...],
    ) -> Click:
        issued = issued_ms(target.query_id)
        # The click comes after its page, also within the second that the log has.
        received_ms = max(logged.received_ms, min(issued, logged.received_ms + 999))
        device, robot, _ = classify(logged.agent)
        referrer = host_of(logged.referrer) if logged.referrer else ""
        return Click(
            received_ms,
            site,
            absolute(target.location),
            target.position,
            target.module_code,
            target.query_id,
            target.item,
            device=device,
            robot=robot or "",
            drop_reason=self._reason(robot, received_ms - issued),
            referrer_host=referrer[:255] if hosts and referrer not in hosts else "",
            view_id=view_in(query, received_ms) if query else "",
        )

    def _reason(self, robot: str | None, age_ms: int) -> str:
        if robot:
            return "robot"
        if age_ms > MAX_AGE_MS:
            return "stale"
        return "" if "signed" in self.settings.count_trust else "trust"


def _event_id(click: Click, line: bytes) -> bytes:
    """Return the same 16 bytes for the same line, whichever file it stands in."""
    return click.received_ms.to_bytes(6) + blake2b(line.strip(), digest_size=10).digest()


def _add(batch: dict[bytes, Click], intake: Intake) -> None:
    """Store the clicks of *batch* that are not there yet, from the site itself or an earlier import."""
    there: dict[tuple[str, str], list[int]] = {}
    for query_id, url, received_ms in intake.store.find_clicks(
        {click.query_id for click in batch.values()}
    ):
        key = urlsafe_b64encode(query_id).decode(), url
        there.setdefault(key, []).append(received_ms)
    new = [Stored(event_id, click) for event_id, click in batch.items() if not _near(click, there)]
    if len(new) < len(batch):
        intake.counts["there already"] += len(batch) - len(new)
    intake.add(new)


def _near(click: Click, there: dict[tuple[str, str], list[int]]) -> bool:
    times = there.get((click.query_id, click.url), ())
    return any(abs(click.received_ms - each) <= NEAR_MS for each in times)
