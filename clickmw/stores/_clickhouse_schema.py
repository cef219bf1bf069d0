"""The tables of a ClickHouse store.

``raw`` has every event once (by its id), as the journal wrote it; all else but the journal's progress
follows from it. Rows (search, click …) replace each other by version; sums are kept by windows, days
of UTC, which are made aside and swapped in whole. Ids of texts are hashes of them, so that hosts need
not agree on numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import replace
from typing import NamedTuple

from clickmw.errors import StoreError, StoreTooNew
from clickmw.rollups import TABLES
from clickmw.stores._clickhouse_http import Address, Client, Unreachable, literal
from clickmw.stores._clickhouse_shards import part_of

SCHEMA_VERSION = 1
#: The oldest schema whose clickmw can still read what this one writes.
READABLE_BY = 1
#: Rows of a month lie together; of sums, each window (a day of UTC) alone.
_MONTH = "intDiv(received_ms, 2592000000)"
WINDOW_MS = 86_400_000

#: What all events have that are neither searches nor clicks.
_COMMON = (
    "event_id String, received_ms Int64, site Int64, day Int64, device Int64, language Int64, profile Int64,"
    " source Int64, trust Int64, robot Int64, query_id Nullable(String), visitor Nullable(String),"
    " session Nullable(String), drop_reason Int64"
)
#: Table → its columns, as the SQLite store has them but for what pages showed.
ROWS: dict[str, str] = {
    "search": "query_id String, event_id String, received_ms Int64, site Int64, day Int64, device Int64,"
    " language Int64, profile Int64, source Int64, trust Int64, robot Int64, query Int64,"
    " total_hits Nullable(Int64), offset Int64, tag Int64, kind Int64, visitor Nullable(String),"
    " session Nullable(String), shared Int64, prefetched Int64, activated Int64, drop_reason Int64,"
    " first_query_id Nullable(String), viewed Nullable(String), own_clicks Int64, own_best Nullable(Int64),"
    " clicked Int64, best_position Nullable(Int64), told Int64, seen Nullable(String),"
    " shown Array(Tuple(Int64, Int64, Int64))",
    "click": "event_id String, received_ms Int64, site Int64, day Int64, device Int64, language Int64,"
    " profile Int64, source Int64, trust Int64, robot Int64, query Nullable(Int64), query_id Nullable(String),"
    " result Int64, position Nullable(Int64), module Int64, visitor Nullable(String), drop_reason Int64,"
    " kind Int64, view_id Nullable(String), ad_id Nullable(String), dedupe_key Nullable(String), told Int64,"
    " by_digest Int64, doc_id Nullable(String), tag Int64, session Nullable(String), referrer_host Int64,"
    " user_activated Nullable(Int64), position_raw Nullable(String), dwell_s Nullable(Float64),"
    " host Int64, ad Int64",
    "impression": f"{_COMMON}, kind Int64, query Nullable(Int64), ad_id Nullable(String),"
    " dedupe_key Nullable(String), result Int64, position Int64, module Int64, doc_id Nullable(String),"
    " label Nullable(String), tag Int64, place Int64",
    "rating": f"{_COMMON}, query Nullable(Int64), score Nullable(Int64), comment Nullable(String)",
    "answer": f"{_COMMON}, question String, answer String, is_question Nullable(Int64)",
    "conversion": f"{_COMMON}, order_id String, value Nullable(Float64), currency String, items String,"
    " ad_id Nullable(String), url Nullable(String), dedupe_key Nullable(String)",
    "came_back": "event_id String, received_ms Int64, query_id String, view_id Nullable(String),"
    " visitor Nullable(String), result Int64, position Nullable(Int64), client_id Nullable(String),"
    " dwell_s Float64",
}
#: Table → what its rows are sorted and replaced by.
KEYS = {
    "search": "day, site, query_id, event_id",
    "click": "day, site, event_id",
    "impression": "day, site, event_id, place",
    "rating": "day, site, event_id",
    "answer": "day, site, event_id",
    "conversion": "day, site, event_id",
    "came_back": "event_id",
}
_OTHERS: tuple[tuple[str, str, str, str], ...] = (
    # One row per text.
    ("term", "id Int64, text String", "id", ""),
    ("query", "id Int64, text String", "id", ""),
    # The first who names a site or a title is right: the later it is, the smaller is the version.
    ("site", "id Int64, handle String, time_zone String, version UInt64", "handle", "version"),
    (
        "result",
        "id Int64, url String, doc_id String, host Int64, title Nullable(String), version UInt64",
        "id",
        "version",
    ),
    ("own_advertiser", "host Int64, number Int64", "host", ""),
    ("meta", "key String, value String, version UInt64, gone UInt8", "key", "version, gone"),
    (
        "advertiser",
        "site String, id Int64, name String, slug String, network_id Nullable(Int64),"
        " network_name Nullable(String), version UInt64, gone UInt8",
        "site, id",
        "version, gone",
    ),
    (
        "advertiser_target",
        "site String, kind String, target String, advertiser Int64, version UInt64, gone UInt8",
        "site, kind, target",
        "version, gone",
    ),
    # Which events have a key in common, and which ones stand in the rows.
    ("link", "link UInt64, event_id FixedString(16)", "link, event_id", ""),
    ("derived", "event_id FixedString(16), inserted DateTime", "event_id", ""),
    # Who brings rows and sums up to date: one at a time.
    (
        "lease",
        "holder String, asked_ms Int64, until_ms Int64, version UInt64",
        "holder",
        "version",
    ),
    # What hosts say of themselves.
    ("host", "name String, seen_ms Int64, settings String, version UInt64", "name", "version"),
    # Searches that came with the query id of another one.
    ("same", "event_id FixedString(16)", "event_id", ""),
    # Events that no column can hold.
    ("aside", "event_id FixedString(16), why String", "event_id", ""),
    # Events that came when the rows of their day were pruned.
    ("late", "event_id FixedString(16)", "event_id", ""),
)
#: What an append writes, in words that every version knows.
TAKEN: tuple[tuple[str, str, str, str], ...] = (
    (
        "raw",
        "event_id FixedString(16), received_ms Int64, links Array(UInt64), body String,"
        " inserted DateTime DEFAULT now()",
        "event_id",
        _MONTH,
    ),
    # One row per append: how far the segment was taken in, and what that adds to the ledger.
    (
        "segment",
        "name String, closed UInt8, start Int64, end Int64, running Int64, torn UInt8,"
        " lines Array(String), counts Array(Int64)",
        "name, closed, start, end",
        "",
    ),
)
#: The salts of the days, each a partition of its own: when that is dropped nothing of it stays.
SALT = "day Int64, salt String, kept_us Int64"
#: Rows replace each other by version, and those that are gone are not there.
_LATEST = "version, gone"
#: From when on raw rows are there; 0 when none was ever pruned.
HORIZON = "SELECT ifNull(max(toInt64(value)), 0) FROM meta WHERE key = 'pruned_before_ms'"


class Table(NamedTuple):
    """A table, what sorts its rows, and whether rows of one key replace each other."""

    name: str
    columns: str
    key: str
    partition: str = ""
    #: What the latest row is known by; None: rows stay as they are.
    version: str | None = ""

    def sql(self, replicated: str, name: str = "") -> str:
        """Return what makes it, if it is not there; *replicated* names the database if it is."""
        name = name or self.name
        kind = "MergeTree" if self.version is None else "ReplacingMergeTree"
        arguments = [self.version] if self.version else []
        if replicated:
            path = f"'/clickhouse/tables/{{shard}}/{replicated}/{name}'"
            kind, arguments = f"Replicated{kind}", [path, "'{replica}'", *arguments]
        by = f"PARTITION BY {self.partition} " if self.partition else ""
        # Replicated tables remember the tokens of inserts by themselves.
        tokens = self.name == "salt" and not replicated
        return (
            f"CREATE TABLE IF NOT EXISTS {name} ({self.columns})"
            f" ENGINE = {kind}({', '.join(arguments)}) {by}ORDER BY ({self.key})"
            + (" SETTINGS non_replicated_deduplication_window = 100" if tokens else "")
        )

    def place(self) -> str:
        """Return what decides on which shard a row lies: a part of what it is replaced by.

        All that is of one event lies together, and so do the sums of a window, to be swapped in whole.
        """
        if self.partition == "window":
            return "window"
        parts = self.key.split(", ")
        return f"sipHash64({'event_id' if 'event_id' in parts else parts[0]})"


def tables() -> Iterator[Table]:
    """Yield all tables; ``meta``, from which it is seen that they are there, is the last."""
    yield from taken_tables()
    for name, columns in ROWS.items():
        yield Table(name, f"{columns}, version UInt64, gone UInt8", KEYS[name], _MONTH, _LATEST)
    for name, (keys, measures) in TABLES.items():
        numbers = ", ".join(f"{column} Int64" for column in (*keys, *measures))
        for suffix in ("", "_staging"):
            columns = f"window Int64, {numbers}"
            yield Table(f"{name}{suffix}", columns, _sorted(keys), "window", None)
    yield Table("salt", SALT, "day", "day", None)
    others = [Table(name, columns, key, "", version) for name, columns, key, version in _OTHERS]
    yield from sorted(others, key=lambda table: table.name == "meta")


def taken_tables() -> Iterator[Table]:
    """Yield the tables that an append writes."""
    for name, columns, key, partition in TAKEN:
        yield Table(name, columns, key, partition)


def _sorted(keys: tuple[str, ...]) -> str:
    """Return the order of a table of sums: the report reads days, of all sites or of one."""
    return ", ".join(sorted(keys, key=lambda key: key not in ("day", "quarter")))


def statements(address: Address, made: Iterable[Table]) -> Iterator[str]:
    """Yield what makes the tables *made* on a server, if they are not there."""
    replicated = address.database if address.replicated else ""
    if not address.cluster:
        yield from (table.sql(replicated) for table in made)
        return
    found = list(made)
    for table in found:
        yield table.sql(replicated, part_of(table.name))
    for table in found:
        where = f"'{address.cluster}', {address.database}, {part_of(table.name)}"
        yield (
            f"CREATE TABLE IF NOT EXISTS {table.name} AS {part_of(table.name)}"
            f" ENGINE = Distributed({where}, {table.place()})"
        )


def migrate(client: Client) -> None:
    """Make what is missing on each host; a schema from a later clickmw is :class:`StoreTooNew`."""
    address = client.address
    each = address.hosts if address.replicated or address.cluster else ()
    layout = client.layout()
    for host in each:
        one = Client(replace(address, hosts=(host,)), client.settings)
        # A host that is away is brought up to date by whoever opens the store when it is back.
        with closing(one), suppress(Unreachable):
            if layout:  # what is said in them is there when all servers have theirs
                _make(one)
            else:
                _migrate(one, layout)
    _migrate(client, layout)


def _make(client: Client) -> None:
    """Make what is missing on the server of *client*."""
    name = client.address.database
    if not _has_tables(client):
        client.run(f"CREATE DATABASE IF NOT EXISTS {name}", database="default")
        for statement in statements(client.address, tables()):
            client.run(statement)


def too_new(client: Client) -> StoreTooNew | None:
    """Return what is said when a later clickmw has made the tables; None when none has."""
    return _too_new(_known(client))


def is_readable(client: Client) -> bool:
    """Tell whether a later clickmw says that ours can read what it has written."""
    return int(_known(client).get("readable_by", SCHEMA_VERSION + 1)) <= SCHEMA_VERSION


def _too_new(known: Mapping[str, str]) -> StoreTooNew | None:
    version = int(known.get("schema", 0))
    if version <= SCHEMA_VERSION:
        return None
    return StoreTooNew(
        f"the database was written by a later clickmw (schema {version}, this one knows "
        f"{SCHEMA_VERSION}). Upgrade clickmw; nothing was changed and events stay in the journal."
    )


def _migrate(client: Client, layout: str) -> None:
    known = _known(client)
    version = int(known.get("schema", 0))
    if later := _too_new(known):
        raise later
    if version and known.get("shards", "") != layout:
        raise StoreError(
            f"the store was made with {_shards(known.get('shards', ''))} and now has {_shards(layout)}:"
            " an event that is sent again would be kept twice. Go back to how it was, or take everything"
            " to a new database with clickmw export and import"
        )
    if version < SCHEMA_VERSION:
        if not layout:
            _make(client)
        said = {"shards": layout, "readable_by": str(READABLE_BY), "schema": str(SCHEMA_VERSION)}
        for key, value in said.items():
            if value:
                line = f"{literal(key)}, {literal(value)}"
                client.run(f"INSERT INTO meta SELECT {line}, {SCHEMA_VERSION}, 0")


def _shards(layout: str) -> str:
    return f"shards of the weights {layout}" if layout else "no shards"


def _has_tables(client: Client) -> bool:
    name = literal(client.address.database)
    sql = f"SELECT count() FROM system.tables WHERE database = {name} AND name = 'meta'"
    return bool(int(client.run(sql, database="default")))


def _known(client: Client) -> dict[str, str]:
    """Return what is said of the schema that is there: its version, who reads it, its spread; nothing for none."""
    sql = "SELECT key, value FROM meta WHERE key IN ('schema', 'readable_by', 'shards')"
    return dict(client.rows(sql)) if _has_tables(client) else {}
