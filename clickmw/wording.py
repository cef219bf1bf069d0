"""What numbers, days and the health ledger look like on the page. Unknown is a dash, never 0."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from jinja2 import Environment, PackageLoader, StrictUndefined

from clickmw.tables import is_measure

DASH = "\u2013"


def format_count(value: float | None) -> str:
    """Return a whole number with its thousands apart."""
    return DASH if value is None else f"{value:,.0f}"


def format_unnamed(queries: int) -> str:
    """Return what stands in the place of a query in the row of so many that nobody is told."""
    return f"{queries:,} rarer quer{'y' if queries == 1 else 'ies'}"


def format_percent(value: float | None) -> str:
    """Return a fraction as a percentage with one decimal."""
    return DASH if value is None else f"{100 * value:.1f}%"


def format_decimal(value: float | None, digits: int = 2) -> str:
    """Return a number with *digits* decimals."""
    return DASH if value is None else f"{value:,.{digits}f}"


def format_signed(value: float, digits: int = 1) -> str:
    """Return a number with its sign, a real minus included."""
    return f"{value:+,.{digits}f}".replace("-", "\u2212")


def format_day(day: date, *, year: bool = False) -> str:
    """Return a day as people write it."""
    return f"{day.day} {day:%b} {day.year}" if year else f"{day.day} {day:%b}"


def format_days(days: tuple[date, date]) -> str:
    """Return a first and last day as people write them."""
    first, last = days
    if first == last:
        return f"{first:%a} {format_day(first, year=True)}"
    if first.year == last.year:
        return f"{format_day(first)} {DASH} {format_day(last, year=True)}"
    return f"{format_day(first, year=True)} {DASH} {format_day(last, year=True)}"


def is_web_link(url: object) -> bool:
    """Return whether *url* may become a link."""
    return isinstance(url, str) and url.lower().startswith(("http://", "https://"))


def position_label(first: int, last: int | None) -> str:
    """Return how a position or a bucket of positions is written."""
    if last is None:
        return f"{first}+"
    return str(first) if first == last else f"{first}\u2013{last}"


class Fact(NamedTuple):
    """One word of the health strip; ``tone`` is "", "good" or "bad"."""

    label: str
    text: str
    tone: str = ""


def health_facts(health: Mapping[str, Any]) -> list[Fact]:
    """Return the words of the health strip; what the ledger lacks is a dash."""
    store = health.get("store") or {}
    dropped, rejected = _total(health.get("dropped")), _total(health.get("rejected"))
    return [
        Fact("Last event", format_age(health.get("last_event_ms"))),
        *(
            Fact(name.replace("_", " ").capitalize(), format_count(health.get(name)))
            for name in ("received", "stored", "pending", "unjoined", "duplicates", "robots")
        ),
        Fact("Opted out", format_count(health.get("opted_out"))),
        Fact("Rejected", format_count(rejected)),
        Fact("Dropped", format_count(dropped), "bad" if dropped else ""),
        Fact("Journal", format_size(health.get("journal_bytes"))),
        Fact("Store", str(store.get("kind") or DASH), "bad" if store.get("ok") is False else ""),
        Fact("Version", str(health.get("version") or DASH)),
    ]


def _total(counts: Any) -> int | None:
    return sum(counts.values()) if isinstance(counts, Mapping) else counts


def format_seconds(value: float | None) -> str:
    """Return a length of time in one unit."""
    if value is None:
        return DASH
    if value < 10:
        return f"{value:.1f} s"
    if value < 120:
        return f"{value:.0f} s"
    return f"{value / 60:.0f} min" if value < 7200 else f"{value / 3600:.1f} h"


def format_size(size: int | None) -> str:
    """Return a number of bytes in kB or MB."""
    if size is None:
        return DASH
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"


def format_age(received_ms: int | None) -> str:
    """Return how long ago that was, in one unit."""
    if not received_ms:
        return DASH
    seconds = max(0, int(time.time() - received_ms / 1000))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"


def odd_days(days: tuple[date, date], zone: str) -> list[tuple[date, float]]:
    """Return the days from the first to the last that have not 24 hours, each with its hours."""
    place = _zone(zone)
    count = (days[1] - days[0]).days + 1
    midnights = [
        datetime.combine(days[0] + timedelta(days=n), datetime.min.time(), place).timestamp()
        for n in range(count + 1)
    ]
    hours = [(after - before) / 3600 for before, after in pairwise(midnights)]
    return [(days[0] + timedelta(days=n), each) for n, each in enumerate(hours) if each != 24]


def clock(zone: str) -> Callable[[int], str]:
    """Return how to write milliseconds since 1970 in a time zone; UTC when it is unknown."""
    place = _zone(zone)
    start = datetime(1970, 1, 1, tzinfo=UTC)

    def write(received_ms: int) -> str:
        moment = (start + timedelta(milliseconds=received_ms)).astimezone(place)
        return f"{moment:%Y-%m-%d %H:%M:%S}"

    return write


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return UTC


@lru_cache(maxsize=1)
def templates() -> Environment:
    """Return the templates: everything is escaped, and an unknown name is an error."""
    environment = Environment(
        loader=PackageLoader("clickmw", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        count=format_count,
        percent=format_percent,
        decimal=format_decimal,
        day=format_day,
        days=format_days,
        signed=format_signed,
        seconds=format_seconds,
        rarer=format_unnamed,
    )
    environment.tests["web_link"] = is_web_link
    environment.tests["measure"] = is_measure
    return environment
