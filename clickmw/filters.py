"""The question a report's URL asks: which days, which site, which part of the events."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from math import ceil
from typing import Any, NamedTuple
from urllib.parse import urlencode

from clickmw.discretion import sentence
from clickmw.errors import BadFilter
from clickmw.stores.base import Filter

#: Name in the URL → what the page calls it; all but "yesterday" and "last-month" end today.
PERIODS: Mapping[str, str] = {
    "today": "Today",
    "yesterday": "Yesterday",
    "7d": "7 days",
    "28d": "28 days",
    "month": "This month",
    "last-month": "Last month",
    "90d": "90 days",
    "365d": "365 days",
}
_LENGTHS: Mapping[str, int] = {"today": 1, "7d": 7, "28d": 28, "90d": 90, "365d": 365}
DEFAULT_PERIOD = "28d"
#: Name in the URL → which days the numbers are compared with.
COMPARISONS: Mapping[str, str] = {
    "previous": "The period before",
    "weekday": "The period before, same weekdays",
    "year": "A year before",
    "none": "Nothing",
}
DEFAULT_COMPARISON = "previous"
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
    "q": "Query with",
}
LABELS: Mapping[str, str] = {**FACETS, "robots": "Robots"}
#: Facet → what its numbers do not say by themselves.
NOTES: Mapping[str, str] = {
    "module": (
        "A search belongs to no module: searches, and rates of searches, are those of all modules."
    ),
    "source": (
        "Searches, clicks and impressions are those that came in this way; a search and the clicks "
        "on it may have come in by different ones."
    ),
    "q": (
        "Impressions are not kept by the text of a query: they, and rates of them, are \u2013. Results, "
        "positions and modules are those of clicks whose query contains it."
    ),
    "robots": "These are the numbers of robots alone.",
}
CHOICES: Mapping[str, tuple[str, ...]] = {
    "device": ("desktop", "mobile", "tablet", "other"),
    "trust": ("signed", "session", "keyed", "anonymous"),
    "robots": ("0", "1"),
}
_FACET_CHARACTERS = 200
#: Characters of what a drill-down is about, or of a threshold.
_OWN_CHARACTERS = 2048
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_COUNT = re.compile(r"[1-9]\d{0,5}", re.ASCII)
_SORT = re.compile(r"-?[a-z_]{1,40}", re.ASCII)


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

    def compared(self, comparison: str) -> Period | None:
        """Return the period that one of COMPARISONS names; None for none.

        With "weekday" it ends as few whole weeks before as keep the two apart; with "year" both of
        its ends have the same date as few years before, 28 February for the 29th.
        """
        if comparison == "none":
            return None
        if comparison == "weekday":
            return self.ending(self.last_day - timedelta(weeks=ceil(self.days / 7)))
        if comparison == "year":
            years = (self.days - 1) // 365 + 1
            return Period(_years_before(self.first_day, years), _years_before(self.last_day, years))
        return self.before()

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
    """One question: the period, the filter made of it, and how many rows in which order.

    ``own`` are the arguments that only this page understands: what a drill-down is about, thresholds.
    """

    period: Period
    asked: Filter
    limit: int | None = None
    sort: str = ""
    facets: Mapping[str, str]
    own: Mapping[str, str] = field(default_factory=dict)
    comparison: str = DEFAULT_COMPARISON
    least_visitors: int = 0  #: as in the setting ``min_visitors``

    @property
    def compared(self) -> Period | None:
        """Return the period that this one is compared with, None when the URL says none."""
        return self.period.compared(self.comparison)

    def asked_before(self) -> Filter:
        """Return the same filter for the period compared with; with none, for the one before."""
        before = self.compared or self.period.before()
        return replace(self.asked, first_day=before.first_day, last_day=before.last_day)

    def narrowing(self) -> list[str]:
        """Return the names of the filters in force, all but the site."""
        return [name for name in self.facets if name != "site"]

    def words(self, names: Sequence[str]) -> str:
        """Return the names of filters as a sentence has them."""
        return ", ".join(
            "text of the query" if each == "q" else LABELS[each].lower() for each in names
        )

    def notes(self) -> list[str]:
        """Return what has to be said of the filters wherever their numbers stand."""
        hidden = [sentence(self.least_visitors)] if self.least_visitors else []
        return [*(NOTES[name] for name in self.facets if name in NOTES), *hidden]

    def chips(self) -> list[tuple[str, str, str]]:
        """Return each filter's label, its value and the query string without it."""
        words = {"robots": "instead of people"}
        return [
            (LABELS[name], words.get(name, value), self.again(**{name: None}))
            for name, value in self.facets.items()
        ]

    def query(self, **changes: str | None) -> str:
        """Return the query string that asks another page this with *changes* (None takes one away).

        ``period`` and ``day_range`` ("2026-01-01/2026-01-31") replace each other.
        """
        kept = {**self.facets, "compare": self.comparison}
        arguments: dict[str, Any] = {**self.period.arguments(), **kept}
        if "period" in changes or "day_range" in changes:
            arguments = kept
        day_range = changes.pop("day_range", None)
        if day_range:
            arguments["from"], _, arguments["to"] = day_range.partition("/")
        arguments.update(changes)
        for name, value in _DEFAULTS.items():
            if arguments.get(name) == value:
                del arguments[name]
        said = {name: value for name, value in arguments.items() if value}
        return f"?{urlencode(said, errors='replace')}" if said else ""

    def again(self, **changes: str | None) -> str:
        """Return the query string that asks the same page again with *changes*."""
        return self.query(**{**self.own, **self._shape(), **changes})

    def fields(self, *without: str) -> list[tuple[str, str]]:
        """Return name and value of all that the URL of this page says, but for *without*.

        For the hidden fields of a form that changes the others. "period" stands for its days too.
        """
        left_out = {*without, *(("from", "to") if "period" in without else ())}
        said = {**self.own, **self.period.arguments(), **self.facets, **self._shape()}
        said["compare"] = self.comparison
        return [
            (name, value)
            for name, value in said.items()
            if name not in left_out and value != _DEFAULTS.get(name)
        ]

    def _shape(self) -> dict[str, str]:
        limit = {"limit": str(self.limit)} if self.limit else {}
        return {**limit, "sort": self.sort} if self.sort else limit


def read_question(
    arguments: Mapping[str, list[str]], *, today: date, own: Sequence[str] = ()
) -> Question:
    """Return what *arguments* (name → all its values) ask; raises :class:`BadFilter`.

    *own* names the arguments that only this page understands.
    """
    single = {name: _single(name, values) for name, values in arguments.items()}
    period = read_period(single, today)
    facets = {name: single[name] for name in (*FACETS, "robots") if single.get(name)}
    for name, value in facets.items():
        _check_facet(name, value)
    if facets.get("robots") == "0":
        del facets["robots"]
    chosen: dict[str, Any] = {k: v for k, v in facets.items() if k != "robots"}
    asked = Filter(
        first_day=period.first_day,
        last_day=period.last_day,
        robots="robots" in facets,
        text=chosen.pop("q", None),
        **chosen,
    )
    return Question(
        period=period,
        asked=asked,
        limit=_read_limit(single.get("limit", "")),
        sort=_read_sort(single.get("sort", "")),
        facets=facets,
        own={name: _read_own(name, arguments[name]) for name in own if arguments.get(name)},
        comparison=_read_comparison(single.get("compare", "")),
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
    if name == "yesterday":
        return Period(today - timedelta(days=1), today - timedelta(days=1), name)
    if name == "month":
        return Period(today.replace(day=1), today, name)
    if name == "last-month":
        last_day = today.replace(day=1) - timedelta(days=1)
        return Period(last_day.replace(day=1), last_day, name)
    return Period(today - timedelta(days=_LENGTHS[name] - 1), today, name)


def _years_before(day: date, years: int) -> date:
    try:
        return day.replace(year=day.year - years)
    except ValueError:  # 29 February
        return day.replace(year=day.year - years, day=28)


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


def _read_comparison(text: str) -> str:
    if text and text not in COMPARISONS:
        raise BadFilter(f"compare is one of {', '.join(COMPARISONS)}.")
    return text or DEFAULT_COMPARISON


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


def _read_own(name: str, values: list[str]) -> str:
    if len(set(values)) > 1:
        raise BadFilter(f"{name} is given more than once.")
    if len(values[0]) > _OWN_CHARACTERS or "\0" in values[0]:
        raise BadFilter(f"{name} is at most {_OWN_CHARACTERS} characters.")
    return values[0]


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


_KNOWN = frozenset({*FACETS, "robots", "period", "from", "to", "compare", "limit", "sort"})
_DEFAULTS = {"period": DEFAULT_PERIOD, "compare": DEFAULT_COMPARISON}
