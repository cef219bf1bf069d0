"""The socket of the report's tables: what a panel is, what it reads with, and how its rows become files.

A row is a plain mapping; the page, the CSV file and the JSON answer are three spellings of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, NamedTuple

from clickmw.errors import BadFilter
from clickmw.stores.base import Filter, Reader
from clickmw.tables import is_measure

Row = dict[str, Any]
#: Kinds of columns whose cells are measures: a value with its interval.
_MEASURED = frozenset({"rate", "ratio"})


class Column(NamedTuple):
    """One column. ``kind`` says how a cell is written; a ``minor`` one hides on narrow screens.

    Kinds: query, result, module, text, position, day, time, verdict, count, rate, mean, ratio,
    seconds. Columns that are not ``shown`` on the page are in its files.
    """

    key: str
    label: str
    kind: str
    minor: bool = False
    shown: bool = True

    @property
    def numeric(self) -> bool:
        """Return whether the cells are numbers."""
        return self.kind in {"count", "rate", "mean", "ratio", "seconds"}


class Threshold(NamedTuple):
    """A number that decides which rows a panel shows; the URL may say another one by its *name*."""

    name: str
    label: str
    default: int
    least: int
    most: int

    def read(self, text: str) -> int:
        """Return what *text* says, the default for nothing; raise :class:`BadFilter`."""
        if not text:
            return self.default
        if not text.isascii() or not text.isdigit() or not self.least <= int(text[:9]) <= self.most:
            raise BadFilter(f"{self.name} is a whole number from {self.least} to {self.most}.")
        return int(text)


class Look(NamedTuple):
    """What a panel reads with: the store, the filter, how many rows, and the names of modules.

    ``before`` is the same filter for the period before; ``subject`` the query or URL that a
    drill-down is about; ``given`` what the URL says for thresholds, by name.
    """

    reader: Reader
    asked: Filter
    limit: int
    modules: Mapping[str, str]
    today: date
    before: Filter
    subject: str = ""
    given: Mapping[str, str] = {}

    def threshold(self, threshold: Threshold) -> int:
        """Return the number in force."""
        return threshold.read(self.given.get(threshold.name, ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One table of the report. ``bar`` is the column whose size the bars behind the rows show.

    ``brief`` names the columns of the short table on a page of several; empty: all that are shown.
    ``needs`` names the argument of the URL that says what it is about: "query", "url" or nothing.
    ``unkept`` are columns that are not kept by device, language, profile, source, trust and module:
    under such a filter their cells are None, and the page says why.
    ``only_by`` names the filters that narrow it, where these are not all: under another one the
    page and the JSON say so. ``pictures`` draws the charts that stand above its table.
    """

    name: str
    title: str
    about: str
    columns: tuple[Column, ...]
    rows: Callable[[Look], list[Row]]
    bar: str = ""
    brief: tuple[str, ...] = ()
    limited: bool = True
    nothing: str = "Nothing in this period."
    needs: str = ""
    thresholds: tuple[Threshold, ...] = ()
    unkept: tuple[str, ...] = ()
    only_by: tuple[str, ...] | None = None
    pictures: Callable[[Sequence[Row]], Sequence[Any]] | None = None

    def ignored(self, filters: Sequence[str]) -> list[str]:
        """Return which of *filters*, by their names in the URL, do not narrow it."""
        return [] if self.only_by is None else [f for f in filters if f not in self.only_by]

    def columns_missing(self, rows: Sequence[Row]) -> list[Column]:
        """Return the shown columns of which *rows* lack numbers: not kept under the filters."""
        return [
            column
            for column in self.columns
            if column.shown
            and column.key in self.unkept
            and any(row[column.key] is None for row in rows)
        ]

    def columns_shown(self, *, brief: bool) -> list[Column]:
        """Return the columns of the page's table."""
        shown = [column for column in self.columns if column.shown]
        if not brief or not self.brief:
            return shown
        return [column for column in shown if column.key in self.brief]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Several panels on one page, its own path; each of them has its own page too.

    ``facts`` returns what the page says besides its tables (figures, sentences …), as plain values
    for its JSON; its template has them by name. ``needs`` as in a :class:`Panel`.
    """

    name: str
    title: str
    about: str
    panels: tuple[str, ...]
    template: str = "page.html"
    needs: str = ""
    facts: Callable[[Look], Mapping[str, Any]] = lambda _look: {}


def as_recorded(look: Look, rows: Sequence[Row]) -> list[Row]:
    """Return the *rows* of days, those before recording began without numbers: none is known, which is not 0."""
    span = look.reader.day_span(look.asked.site)
    return [
        row if span is not None and row["day"] >= span[0] else _without_numbers(row) for row in rows
    ]


def _without_numbers(row: Row) -> Row:
    return {key: row[key] if key in {"day", "complete"} else None for key in row}


def sort_rows(rows: list[Row], sort: str) -> list[Row]:
    """Return *rows* by the column *sort* names, with a minus the largest first; unknown ones last."""
    key, descending = sort.removeprefix("-"), sort.startswith("-")
    known = [row for row in rows if _sortable(row[key]) is not None]
    unknown = [row for row in rows if _sortable(row[key]) is None]
    return sorted(known, key=lambda row: _sortable(row[key]), reverse=descending) + unknown


def _sortable(value: Any) -> Any:
    return value.value if is_measure(value) else value


def file_table(panel: Panel, rows: Sequence[Row]) -> tuple[list[str], list[list[Any]]]:
    """Return header and rows of the panel's file; a rate or ratio takes three columns."""
    header: list[str] = []
    for column in panel.columns:
        more = [f"{column.key}_low", f"{column.key}_high"] if column.kind in _MEASURED else []
        header += [column.key, *more]
    return header, [[cell for c in panel.columns for cell in _cells(c, row[c.key])] for row in rows]


def _cells(column: Column, value: Any) -> tuple[Any, ...]:
    if column.kind in _MEASURED:
        return (value.value, value.low, value.high) if is_measure(value) else (None, None, None)
    return (value,)
