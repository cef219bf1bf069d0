"""What ClickHouse says differently: statements of the SQLite store that it can read after a few changes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

from clickmw.stores._clickhouse_http import literal

_RULES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"--[^\n]*", ""),
        (r"\s+INDEXED BY \w+", " "),
        (r"\bAS MATERIALIZED\b", "AS"),
        (r"\bCROSS JOIN(\s+\w+(?:\s+AS\s+\w+)?\s+ON\b)", r"JOIN\1"),
        (r"\btotal\((\w+)\)", r"ifNull(sum(\1), 0)"),
        (r"\biif\(", "if("),
        (r"\binstr\(", "position("),
        (r"\bNOT clicked\b", "clicked = 0"),
        (r"WHERE clicked\)", "WHERE clicked = 1)"),
        (r":billion / ([^)]+)\)", r"intDiv(:billion, \1))"),
        (r"\(SELECT value FROM json_each\((:\w+|\?)\)\)", r"\1"),
    )
)
#: Sums that are NULL of nothing, as in SQLite. The engine's own setting for it breaks over shards.
_SUMS = re.compile(r"\b(sum|min|max|any)(If)?\(")
_PLACES = re.compile(r"'(?:[^']|'')*'|\?|(?<![:\w]):([a-z_]\w*)")
#: Values that are JSON lists, of which members are asked.
LISTS = frozenset(("queries",))


@lru_cache(maxsize=512)
def translate(sql: str) -> str:
    """Return *sql* as ClickHouse has it, its values still named."""
    for pattern, replacement in _RULES:
        sql = pattern.sub(replacement, sql)
    return sql


@lru_cache(maxsize=512)
def null_of_nothing(sql: str) -> str:
    """Return *sql* with sums that are NULL where there is nothing to sum up."""
    return _SUMS.sub(r"\1OrNull\2(", sql)


def fill(sql: str, values: Sequence[object] | Mapping[str, object]) -> str:
    """Return *sql* with its values in it."""
    named = values if isinstance(values, Mapping) else {}
    given = iter(() if isinstance(values, Mapping) else values)

    def written(found: re.Match[str]) -> str:
        if found[0][0] == "'":
            return found[0]
        if found[0] == "?":
            return _written("", next(given))
        return _written(found[1], named[found[1]])

    return _PLACES.sub(written, sql)


def _written(name: str, value: object) -> str:
    if isinstance(value, list | tuple | set | frozenset):
        return members(value)
    if name in LISTS:
        return members(json.loads(str(value)))
    return literal(value)


def members(values: Sequence[object] | set[object] | frozenset[object]) -> str:
    """Return a list for IN, which may be empty."""
    return f"({', '.join(map(literal, values))})" if values else "(SELECT toInt64(0) WHERE 0)"
