"""The sums of the report from the rows, for whole windows: made aside, then swapped in.

What each row is worth is what :mod:`clickmw.rollups` says, told to the engine in SQL.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from clickmw.rollups import BILLION, TABLES
from clickmw.stores._clickhouse_http import Client
from clickmw.stores._clickhouse_numbers import number_of
from clickmw.stores._clickhouse_schema import WINDOW_MS
from clickmw.stores.base import POSITION_BUCKETS, QUARTER_MS

ROBOT = number_of("robot")
_COUNTED = f"drop_reason IN (0, {ROBOT})"
_SHOWN = "drop_reason IN (0, {})".format(
    ", ".join(str(number_of(word)) for word in ("page", "repeat", "typing", "robot"))
)
_CLICKED = f"{_COUNTED} AND kind IN ({number_of('result')}, {number_of('ad')})"
_SERVED = f"{_COUNTED} AND kind = {number_of('ad_impression')}"
_RATED = f"{_COUNTED} AND score IS NOT NULL"
_PEOPLE = " AND robot = 0"
_ENDS = [last for _first, last in POSITION_BUCKETS if last is not None]
_DIMENSIONS = "site, day, {}, device, language, profile, source, trust, robot"


def _bucket(position: str) -> str:
    """Return SQL for the index of the bucket of a position."""
    steps = "".join(f"{position} <= {end}, {index}, " for index, end in enumerate(_ENDS))
    return f"multiIf({steps}{len(POSITION_BUCKETS) - 1})"


def _reciprocal(position: str) -> str:
    return f"ifNull(intDiv({BILLION}, nullIf({position}, 0)), 0)"


_SHOWN_PART = f"SELECT *, arrayJoin(shown) AS one FROM search WHERE {_SHOWN}"


def _parts(table: str) -> Sequence[str]:
    """Return what sums up to *table*: SQL with its key and its measures, and where rows come from."""
    dimensions = _DIMENSIONS.format
    placed = "ifNull(position > 0, 0), ifNull(position, 0)"
    shown = "FROM ({shown}) WHERE {window}"
    if table == "cube":
        return (
            f"{dimensions('0')}, 1, clicked, total_hits IS NOT NULL, ifNull(total_hits = 0, 0),"
            " ifNull(total_hits > 0 AND clicked = 0, 0),"
            f" {_reciprocal('if(clicked = 1, best_position, NULL)')}, 0, 0, 0, 0, 0, 0, 0, 0"
            f" FROM search WHERE {_COUNTED} AND {{window}}",
            f"{dimensions('one.3')}, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0 {shown}",
            f"{dimensions('module')}, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0"
            f" FROM impression WHERE {_SERVED} AND {{window}}",
            f"{dimensions('module')}, 0, 0, 0, 0, 0, 0, 1, {placed}, {_reciprocal('position')}, 0, 0, 0, 0"
            f" FROM click WHERE {_CLICKED} AND {{window}}",
            f"{dimensions('0')}, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, score, score * score"
            f" FROM rating WHERE {_RATED} AND {{window}}",
        )
    if table == "cube_position":
        return (
            f"{dimensions('one.3')}, {_bucket('one.2')}, 1, 0 {shown} AND one.2 > 0",
            f"{dimensions('module')}, {_bucket('position')}, 1, 0"
            f" FROM impression WHERE {_SERVED} AND position > 0 AND {{window}}",
            f"{dimensions('module')}, {_bucket('ifNull(position, 0)')}, 0, 1"
            f" FROM click WHERE {_CLICKED} AND position > 0 AND {{window}}",
        )
    if table == "quarter":
        quarter = f"site, intDiv(received_ms, {QUARTER_MS})"
        return (
            f"{quarter}, 1, clicked, ifNull(total_hits = 0, 0), 0, 0"
            f" FROM search WHERE {_COUNTED} {_PEOPLE} AND {{window}}",
            f"{quarter}, 0, 0, 0, 0, length(shown)"
            f" FROM search WHERE {_SHOWN} {_PEOPLE} AND {{window}}",
            f"{quarter}, 0, 0, 0, 0, 1 FROM impression WHERE {_SERVED} {_PEOPLE} AND {{window}}",
            f"{quarter}, 0, 0, 0, 1, 0 FROM click WHERE {_CLICKED} {_PEOPLE} AND {{window}}",
        )
    if table == "day_query":
        return (
            "site, day, query, 1, clicked, total_hits IS NOT NULL, ifNull(total_hits = 0, 0), 0, 0, 0, 0"
            f" FROM search WHERE {_COUNTED} {_PEOPLE} AND {{window}}",
            "site, day, query, 0, 0, 0, 0, 0, 0, 0, length(shown)"
            f" FROM search WHERE {_SHOWN} {_PEOPLE} AND {{window}}",
            "site, day, assumeNotNull(query), 0, 0, 0, 0, 0, 0, 0, 1"
            f" FROM impression WHERE {_SERVED} {_PEOPLE} AND query IS NOT NULL AND {{window}}",
            f"site, day, assumeNotNull(query), 0, 0, 0, 0, 1, {placed}, 0"
            f" FROM click WHERE {_CLICKED} {_PEOPLE} AND query IS NOT NULL AND {{window}}",
        )
    if table == "day_result":
        return (
            f"site, day, one.1, 0, 0, 0, 1 {shown} {_PEOPLE}",
            f"site, day, result, 0, 0, 0, 1 FROM impression WHERE {_SERVED} {_PEOPLE} AND {{window}}",
            f"site, day, result, 1, {placed}, 0 FROM click WHERE {_CLICKED} {_PEOPLE} AND {{window}}",
        )
    if table == "day_host":
        return (f"site, day, host, ad, 1 FROM click WHERE {_CLICKED} {_PEOPLE} AND {{window}}",)
    said = ("search", "click", "rating", "answer", "conversion", "impression")
    return tuple(
        f"site, day, {number_of(name)}, drop_reason, 1 FROM {name} WHERE drop_reason <> 0 AND {{window}}"
        # One event may have shown many things.
        + (" AND place = 0" if name == "impression" else "")
        for name in said
    )


def sums(table: str, windows: Sequence[int]) -> str:
    """Return SQL for the sums of *table* over whole windows: window, key, measures."""
    keys, measures = TABLES[table]
    columns = (*keys, *measures)
    # Calendars differ from UTC by a day at most, which is what rows are sorted by.
    days = f"day BETWEEN {min(windows) - 1} AND {max(windows) + 1}"
    numbers = ", ".join(map(str, windows))
    window = f"{days} AND intDiv(received_ms, {WINDOW_MS}) IN ({numbers})"
    shown = f"{_SHOWN_PART} AND {window}"
    named = []
    for part in _parts(table):
        head, _, rest = part.partition(" FROM ")
        values = _named(head, columns)
        source = (
            rest.format(window="1", shown=shown)
            if "{shown}" in rest
            else rest.format(window=window)
        )
        named.append(f"SELECT intDiv(received_ms, {WINDOW_MS}) AS w, {values} FROM {source}")
    inner = " UNION ALL ".join(named)
    outer = ", ".join(f"sum(v{n})" for n in range(len(keys), len(columns)))
    key = ", ".join(f"v{n}" for n in range(len(keys)))
    return f"SELECT w, {key}, {outer} FROM ({inner}) GROUP BY w, {key}"


def _named(head: str, columns: Sequence[str]) -> str:
    """Give the values of *head* names and one type."""
    values, depth, start = [], 0, 0
    for index, letter in enumerate(head + ","):
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if letter == "," and depth == 0:
            values.append(head[start:index].strip())
            start = index + 1
    assert len(values) == len(columns)
    return ", ".join(f"toInt64({value}) AS v{n}" for n, value in enumerate(values))


def sum_again(client: Client, windows: Iterable[int]) -> None:
    """Make the sums of *windows* anew and swap them in, window by window."""
    chosen = sorted(set(windows))
    for start in range(0, len(chosen), 64):
        _swap(client, chosen[start : start + 64])


def _swap(client: Client, windows: Sequence[int]) -> None:
    for table, (keys, measures) in TABLES.items():
        columns, staging = ", ".join((*keys, *measures)), f"{table}_staging"
        client.change("TRUNCATE TABLE {}", staging)
        client.run(f"INSERT INTO {staging} (window, {columns}) {sums(table, windows)}")
        for window in windows:
            client.change(f"ALTER TABLE {{}} REPLACE PARTITION {window} FROM {{}}", table, staging)
