"""A table as a CSV file or as JSON, safe to open in a spreadsheet or inside a page."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any

#: What makes a spreadsheet take a text for a formula, ASCII and full-width.
FORMULA_STARTS = frozenset("=+-@\uff1d\uff0b\uff0d\uff20")
_CONTROL_STARTS = frozenset("\t\r\n\0")
_SKIPPED = "\"' \t\r\n\0"
_MEASURE = ("value", "low", "high", "numerator", "denominator")


def is_measure(value: Any) -> bool:
    """Return whether *value* is a number with numerator, denominator and interval."""
    return isinstance(value, tuple) and all(hasattr(value, name) for name in _MEASURE)


def safe_text(text: str) -> str:
    """Return *text* with an apostrophe before it when a spreadsheet could run it."""
    start = text.lstrip(_SKIPPED)[:1]
    if text[:1] in _CONTROL_STARTS or (start and start in FORMULA_STARTS):
        return f"'{text}"
    return text


def write_csv(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    """Return an RFC 4180 table in UTF-8. Numbers stay numbers; None is an empty field."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(header)
    writer.writerows([_csv_cell(value) for value in row] for row in rows)
    return text.getvalue().encode("utf-8", "replace")


def write_json(value: Any) -> bytes:
    """Return *value* as JSON without NaN, and without a ``<`` that could end a script."""
    text = json.dumps(plain(value), allow_nan=False, ensure_ascii=True, indent=1)
    return text.replace("<", "\\u003c").encode("ascii") + b"\n"


def plain(value: Any) -> Any:
    """Return *value* made of what JSON knows; measures become objects, days ISO texts."""
    if is_measure(value):
        return {name: getattr(value, name) for name in _MEASURE}
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, dict):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return value


def _csv_cell(value: Any) -> Any:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, date):
        return value.isoformat()
    return safe_text(value) if isinstance(value, str) else value
