"""Rows of ClickHouse in a SQLite database: to be checked, exported or kept as a copy."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from secrets import token_hex
from typing import Any

from clickmw.errors import StoreError
from clickmw.journal import sync_folder
from clickmw.rollups import TABLES
from clickmw.stores import _clickhouse_progress as progress
from clickmw.stores._clickhouse_http import Client, literal
from clickmw.stores._clickhouse_numbers import number_of
from clickmw.stores._clickhouse_schema import ROWS, WINDOW_MS
from clickmw.stores._clickhouse_scratch import blank, columns_of
from clickmw.stores._clickhouse_upkeep import docids_are_wanted
from clickmw.stores._sqlite_check import check
from clickmw.stores._sqlite_digests import SWITCH, switch_on
from clickmw.stores._sqlite_export import export
from clickmw.stores._sqlite_reading import day_number
from clickmw.stores._sqlite_schema import SET_LINE, migrate
from clickmw.stores._sqlite_totals import sum_again
from clickmw.stores.base import Extract, StoreOptions, Tell

#: Rows that are read at once.
MANY = 100_000
#: Columns that ClickHouse alone has.
_OURS = frozenset(("place", "host", "ad"))
#: Table of texts → its columns in both.
_TEXTS = {
    "site": "id, handle, time_zone",
    "term": "id, text",
    "query": "id, text",
    "result": "id, url, doc_id, host, title",
    "own_advertiser": "host, number",
}
_ADVERTISERS = {
    "advertiser": "site, id, name, slug, network_id, network_name",
    "advertiser_target": "site, kind, target, advertiser",
}
#: Columns that hold ids of texts, and whose.
_IDS = {
    "query": ("query",),
    "result": ("result",),
    "term": [
        "device",
        "language",
        "profile",
        "source",
        "trust",
        "drop_reason",
        "tag",
        "kind",
        "module",
        "referrer_host",
    ],
}


def copy_rows(
    client: Client, connection: sqlite3.Connection, table: str, where: str
) -> Iterator[tuple[list[str], list[Any]]]:
    """Write the rows of *table* into *connection*; yield them with the names of their columns."""
    names = [name for name, _ in columns_of(table) if name not in _OURS]
    columns = ", ".join("impressions" if name == "shown" else name for name in names)
    add = f"INSERT OR IGNORE INTO {table} ({columns}) VALUES ({', '.join('?' * len(names))})"
    source = ", ".join("toJSONString(shown) AS impressions" if n == "shown" else n for n in names)
    order = "received_ms, event_id" + (", place" if table == "impression" else "")
    low, high = client.rows(
        f"SELECT ifNull(min(received_ms), 0), ifNull(max(received_ms), -1) FROM {table} WHERE {where}"
    )[0]
    for start in range(low, high + 1, WINDOW_MS):
        rows = client.rows(
            f"SELECT {source} FROM {table} WHERE {where}"
            f" AND received_ms BETWEEN {start} AND {start + WINDOW_MS - 1} ORDER BY {order}"
        )
        connection.executemany(add, rows)
        yield names, rows


def copy_texts(
    client: Client, connection: sqlite3.Connection, ids: Mapping[str, set[int]] | None = None
) -> None:
    """Write the texts into *connection*, or those with the *ids*."""
    for table, columns in {**_TEXTS, **_ADVERTISERS}.items():
        for where in _chunks(None if ids is None or table not in ids else ids[table]):
            rows = client.rows(f"SELECT {columns} FROM {table} WHERE {where}")
            marks = ", ".join("?" * (columns.count(",") + 1))
            connection.executemany(
                f"INSERT OR IGNORE INTO {table} ({columns}) VALUES ({marks})", rows
            )


def _chunks(ids: set[int] | None) -> Iterator[str]:
    if ids is None:
        yield "1"
        return
    ordered = sorted(ids)
    for start in range(0, len(ordered), 10_000):
        yield f"id IN ({', '.join(map(str, ordered[start : start + 10_000]))})"


def copy_all(client: Client, connection: sqlite3.Connection, tell: Tell = lambda *_: None) -> None:
    """Write everything into *connection*: rows, sums, texts, keys, ledger, segments."""
    steps = len(ROWS) + len(TABLES) + 1
    connection.execute("BEGIN")
    copy_texts(client, connection)
    for done, table in enumerate(ROWS, 1):
        for _ in copy_rows(client, connection, table, "1"):
            pass
        tell(done, steps)
    for done, (table, (keys, measures)) in enumerate(TABLES.items(), len(ROWS) + 1):
        names = (*keys, *measures)
        sums = ", ".join(f"sum({measure}) AS total_{measure}" for measure in measures)
        some = " OR ".join(f"total_{measure} <> 0" for measure in measures)
        rows = client.rows(
            f"SELECT {', '.join(keys)}, {sums} FROM {table} GROUP BY {', '.join(keys)} HAVING {some}"
        )
        marks = ", ".join("?" * len(names))
        connection.executemany(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})", rows)
        tell(done, steps)
    sum_again(connection)
    _copy_rest(client, connection)
    connection.execute("COMMIT")
    tell(steps, steps)


def _copy_rest(client: Client, connection: sqlite3.Connection) -> None:
    rows = client.rows(
        f"SELECT key, value FROM meta WHERE key NOT IN ('schema', 'shards', '{SWITCH}')"
    )
    connection.executemany(SET_LINE, rows)
    connection.executemany(
        "INSERT INTO ledger (name, events) VALUES (?, ?)", sorted(progress.ledger(client).items())
    )
    connection.executemany(
        "INSERT INTO segment (name, taken, running, torn) VALUES (?, ?, ?, ?)",
        [(name, *mark) for name, mark in progress.marks(client).items()],
    )
    if docids_are_wanted(client):
        switch_on(connection)


def check_all(client: Client, options: StoreOptions, tell: Tell) -> Iterator[str]:
    """Yield a sentence for every invariant that does not hold; everything is read."""
    left = client.value(
        "SELECT count() FROM raw WHERE event_id NOT IN (SELECT event_id FROM derived)"
    )
    if left:
        yield f"{left} events were taken in and stand in no row"
    with blank() as connection:
        copy_all(client, connection)
        yield from check(connection, options, tell)


def back_up(client: Client, path: Path, tell: Tell) -> dict[str, int]:
    """Write everything to the new SQLite database *path*; return table → rows."""
    draft = path.with_name(f".{path.name}.{token_hex(4)}")
    try:
        if path.exists():
            raise FileExistsError
        os.close(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        with closing(sqlite3.connect(draft, isolation_level=None)) as connection:
            migrate(connection)
            copy_all(client, connection, tell)
            tables = (*ROWS, *TABLES, *_TEXTS)
            rows = {
                table: int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
                for table in tables
            }
        os.link(draft, path)
        sync_folder(path.absolute().parent)
    except FileExistsError as error:
        raise StoreError(
            f"{path} exists already and is not overwritten. Name another file."
        ) from error
    except (sqlite3.Error, OSError) as error:
        raise StoreError(
            f"the copy {path} could not be made: {error}. Nothing was left."
        ) from error
    finally:
        draft.unlink(missing_ok=True)
    return rows


def export_days(client: Client, asked: Extract) -> Iterator[Sequence[Any]]:
    """Yield the names of the columns and then the rows, day by day."""
    is_first = True
    for number in range((asked.last_day - asked.first_day).days + 1):
        day = asked.first_day + timedelta(number)
        one = Extract(
            table=asked.table, first_day=day, last_day=day, site=asked.site, whole=asked.whole
        )
        with blank() as connection:
            _copy_day(client, connection, one)
            rows = export(connection, one)
            names = next(rows)
            if is_first:
                yield names
            is_first = False
            yield from rows


#: What is exported → the table its rows are in; searches are there for all of them.
_TABLE_OF = {
    "clicks": ("click",),
    "searches": ("search",),
    "impressions": ("search", "impression"),
    "feedback": ("rating",),
    "answers": ("answer",),
    "conversions": ("conversion",),
    "returns": ("came_back",),
}


def _copy_day(client: Client, connection: sqlite3.Connection, asked: Extract) -> None:
    """Write what the export of one day needs."""
    day = day_number(asked.first_day)
    which = f"day = {day}"
    if asked.site is not None:
        which += f" AND site = {number_of(asked.site)}"
    if asked.table == "returns":
        which = f"intDiv(received_ms, {WINDOW_MS}) = {day}"
    if asked.table == "daily_clicks":
        _copy_hosts(client, connection, which)
        return
    ids: dict[str, set[int]] = {"query": set(), "result": set(), "term": set()}
    pages: set[bytes] = set()
    for table in _TABLE_OF[asked.table]:
        for names, rows in copy_rows(client, connection, table, which):
            _note(ids, pages, names, rows)
    wanted = sorted(pages)
    for start in range(0, len(wanted), 10_000):
        chunk = ", ".join(literal(page) for page in wanted[start : start + 10_000])
        for names, rows in copy_rows(client, connection, "search", f"query_id IN ({chunk})"):
            _note(ids, set(), names, rows)
    copy_texts(client, connection, ids)


def _note(
    ids: Mapping[str, set[int]], pages: set[bytes], names: Sequence[str], rows: Iterable[Any]
) -> None:
    """Note the texts and pages that *rows* name."""
    at = {name: index for index, name in enumerate(names)}
    for row in rows:
        for text, columns in _IDS.items():
            ids[text].update(row[at[c]] for c in columns if c in at and row[at[c]] is not None)
        if "query_id" in at and "shown" not in at and row[at["query_id"]]:
            pages.add(row[at["query_id"]])
        if "shown" in at:
            for result, _, module in json.loads(row[at["shown"]]):
                ids["result"].add(result)
                ids["term"].add(module)


def _copy_hosts(client: Client, connection: sqlite3.Connection, which: str) -> None:
    rows = client.rows(
        f"SELECT site, day, host, ad, sum(clicks) FROM day_host WHERE {which} GROUP BY site, day, host, ad"
    )
    connection.executemany(
        "INSERT INTO day_host (site, day, host, ad, clicks) VALUES (?, ?, ?, ?, ?)", rows
    )
    terms = {number for row in rows for number in row[2:4]}
    copy_texts(client, connection, {"query": set(), "result": set(), "term": terms})
