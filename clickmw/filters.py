"""The question a report's URL asks: which days, which site, which part of the events."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any, NamedTuple
from urllib.parse import urlencode

from clickmw.errors import ClickMWError
from clickmw.stores.base import Filter

#: Name in the URL → what the page calls it and how many days it has; each ends today but one.
PERIODS: Mapping[str, tuple[str, int]] = {
    "today": ("Today", 1),
    "yesterday": ("Yesterday", 1),
    "7d": ("7 days", 7),
    "28d": ("28 days", 28),
    "90d": ("90 days", 90),
    "365d": ("365 days", 365),
}
DEFAULT_PERIOD = "28d"
FIRST_YEAR = 2000
MOST_DAYS = 732
MOST_ROWS = 1000

#: Name in the URL → what a chip calls it. ``site`` and ``module`` have controls of their own too.
FACETS: Mapping[str, str] = {
    "site": "Site",
    "module": "Module",
    "device": "Device",
    "language": "Language",
    "profile": "Profile",
    "source": "Source",
    "trust": "Trust",
}
CHOICES: Mapping[str, tuple[str, ...]] = {
    "device": ("desktop", "mobile", "tablet", "other"),
    "trust": ("signed", "session", "keyed", "anonymous"),
    "robots": ("0", "1"),
}
_FACET_CHARACTERS = 200
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_COUNT = re.compile(r"[1-9]\d{0,5}", re.ASCII)
_SORT = re.compile(r"-?[a-z_]{1,40}", re.ASCII)


class BadFilter(ClickMWError):
    """The URL asks for something that does not exist. The message is one sentence for its author."""


class Period(NamedTuple):
    """Whole days of the site's calendar, both ends included; *name* is one of PERIODS or empty."""

    first_day: date
    last_day: date
    name: str = ""

    @property
    def days(self) -> int:
        """Return how many days it has."""
        return (self.last_day - self.first_day).days + 1

    def before(self) -> Period:
        """Return the period of equal length that ends the day before."""
        return self.ending(self.first_day - timedelta(days=1))

    def after(self, today: date) -> Period | None:
        """Return the next period of equal length, not past *today*; None when there is none."""
        if self.last_day >= today:
            return None
        return self.ending(min(self.last_day + timedelta(days=self.days), today))

    def ending(self, last_day: date) -> Period:
        """Return a period of the same length that ends on *last_day*."""
        return Period(last_day - timedelta(days=self.days - 1), last_day)

    def day_range(self) -> str:
        """Return both days as :meth:`Question.query` takes them."""
        return f"{self.first_day.isoformat()}/{self.last_day.isoformat()}"

    def arguments(self) -> dict[str, str]:
        """Return what the URL says for it: a name, or two days."""
        if self.name:
            return {"period": self.name}
        return {"from": self.first_day.isoformat(), "to": self.last_day.isoformat()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question: the period, the filter made of it, and how many rows in which order."""

    period: Period
    asked: Filter
    limit: int | None = None
    sort: str = ""
    facets: Mapping[str, str]

    def asked_before(self) -> Filter:
        """Return the same filter for the previous period."""
        before = self.period.before()
        return replace(self.asked, first_day=before.first_day, last_day=before.last_day)

    def chips(self) -> list[tuple[str, str, str]]:
        """Return each filter's label, its value and the query string without it."""
        labels = {**FACETS, "robots": "Robots"}
        return [
            (labels[name], "included" if name == "robots" else value, self.query(**{name: None}))
            for name, value in self.facets.items()
        ]

    def query(self, **changes: str | None) -> str:
        """Return the query string that asks this again with *changes* (None takes one away).

        ``period`` and ``day_range`` ("2026-01-01/2026-01-31") replace each other.
        """
        arguments: dict[str, Any] = {**self.period.arguments(), **self.facets}
        if "period" in changes or "day_range" in changes:
            arguments = dict(self.facets)
        day_range = changes.pop("day_range", None)
        if day_range:
            arguments["from"], _, arguments["to"] = day_range.partition("/")
        arguments.update(changes)
        if arguments.get("period") == DEFAULT_PERIOD:
            del arguments["period"]
        kept = {name: value for name, value in arguments.items() if value}
        return f"?{urlencode(kept, errors='replace')}" if kept else ""


def read_question(arguments: Mapping[str, list[str]], *, today: date) -> Question:
    """Return what *arguments* (name → all its values) ask; raises :class:`BadFilter`."""
    single = {name: _single(name, values) for name, values in arguments.items()}
    period = read_period(single, today)
    facets = {name: single[name] for name in (*FACETS, "robots") if single.get(name)}
    for name, value in facets.items():
        _check_facet(name, value)
    if facets.get("robots") == "0":
        del facets["robots"]
    chosen = {name: value for name, value in facets.items() if name != "robots"}
    asked = Filter(
        first_day=period.first_day,
        last_day=period.last_day,
        robots="robots" in facets,
        **chosen,
    )
    return Question(
        period=period,
        asked=asked,
        limit=_read_limit(single.get("limit", "")),
        sort=_read_sort(single.get("sort", "")),
        facets=facets,
    )


def read_period(arguments: Mapping[str, str], today: date) -> Period:
    """Return the period that ``period`` or ``from`` and ``to`` name; 28 days without any."""
    name = arguments.get("period", "")
    first, last = arguments.get("from", ""), arguments.get("to", "")
    if not first and not last:
        return named_period(name or DEFAULT_PERIOD, today)
    if name:
        raise BadFilter("Give either period, or from and to, not both.")
    if not first:
        raise BadFilter("to needs from: write both as YYYY-MM-DD.")
    return _chosen_period(_read_day("from", first), _read_day("to", last) if last else today, today)


def named_period(name: str, today: date) -> Period:
    """Return one of PERIODS, seen from *today*."""
    if name not in PERIODS:
        raise BadFilter(f"period is one of {', '.join(PERIODS)}.")
    last_day = today - timedelta(days=1) if name == "yesterday" else today
    return Period(last_day - timedelta(days=PERIODS[name][1] - 1), last_day, name)


def _chosen_period(first_day: date, last_day: date, today: date) -> Period:
    if first_day > last_day:
        raise BadFilter("from is later than to.")
    if first_day > today:
        raise BadFilter(f"from lies in the future: today is {today.isoformat()}.")
    if (last_day - first_day).days >= MOST_DAYS:
        raise BadFilter(f"A period has at most {MOST_DAYS} days.")
    return Period(first_day, min(last_day, today))


def _read_day(name: str, text: str) -> date:
    try:
        day = date.fromisoformat(text) if _DAY.fullmatch(text) else None
    except ValueError:
        day = None
    if day is None:
        raise BadFilter(f"{name} is not a day: write it as YYYY-MM-DD.")
    if day.year < FIRST_YEAR:
        raise BadFilter(f"{name} is before the year {FIRST_YEAR}.")
    return day


def _read_limit(text: str) -> int | None:
    if not text:
        return None
    if not _COUNT.fullmatch(text) or int(text) > MOST_ROWS:
        raise BadFilter(f"limit is a whole number from 1 to {MOST_ROWS}.")
    return int(text)


def _read_sort(text: str) -> str:
    if text and not _SORT.fullmatch(text):
        raise BadFilter(
            "sort is the name of a column, with a minus before it for the largest first."
        )
    return text


def _check_facet(name: str, value: str) -> None:
    choices = CHOICES.get(name)
    if choices and value not in choices:
        raise BadFilter(f"{name} is one of {', '.join(choices)}.")
    if len(value) > _FACET_CHARACTERS or not value.isprintable():
        raise BadFilter(f"{name} is at most {_FACET_CHARACTERS} characters of plain text.")


def _single(name: str, values: list[str]) -> str:
    if name in _KNOWN and len(set(values)) > 1:
        raise BadFilter(f"{name} is given more than once.")
    return values[0].strip() if values else ""


_KNOWN = frozenset({*FACETS, "robots", "period", "from", "to", "limit", "sort"})
