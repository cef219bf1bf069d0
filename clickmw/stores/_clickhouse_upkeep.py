"""What is done now and then: old rows go, keys come and go, settings are written down."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterator, Sequence

from clickmw.events import query_id_bytes
from clickmw.sites import Site
from clickmw.stores._clickhouse_http import Client, literal
from clickmw.stores._clickhouse_schema import HORIZON, ROWS, WINDOW_MS
from clickmw.stores._sqlite_advertisers import _rows as advertiser_rows
from clickmw.stores._sqlite_digests import SWITCH
from clickmw.stores.base import StoredKey

#: A day that is old in part and has more rows than this waits until it is old as a whole.
PART_OF_DAY = 1000
#: Rows of one partition.
_MONTH_MS = 2_592_000_000


def set_meta(client: Client, key: str, value: str, *, gone: int = 0) -> None:
    """Write one line of ``meta``."""
    version = time.time_ns() // 1000
    client.run(f"INSERT INTO meta SELECT {literal(key)}, {literal(value)}, {version}, {gone}")


# -- old rows --------------------------------------------------------------------------------------


def prune(client: Client, before_ms: int, limit: int) -> int:
    """Delete what was received before *before_ms*; whole days at once, of the last one up to *limit* rows."""
    whole_ms = before_ms - before_ms % WINDOW_MS
    deleted = sum(_delete_before(client, table, whole_ms) for table in ROWS)
    if deleted:
        _delete_before(client, "raw", whole_ms)
        for table in ("link", "derived"):
            gone = "event_id NOT IN (SELECT event_id FROM {})"
            client.change(f"ALTER TABLE {{}} DELETE WHERE {gone}", table, "raw")
    else:
        deleted = sum(_delete_some(client, table, before_ms, limit) for table in ROWS)
    if deleted and before_ms > client.value(HORIZON):
        set_meta(client, "pruned_before_ms", str(before_ms))
    return deleted


def _delete_before(client: Client, table: str, before_ms: int) -> int:
    """Delete all rows of *table* received before a time: whole months without reading them."""
    old = int(client.value(f"SELECT count() FROM {table} WHERE received_ms < {before_ms}"))
    if not old:
        return 0
    months = client.rows(
        f"SELECT DISTINCT intDiv(received_ms, {_MONTH_MS}) AS month FROM {table}"
        f" WHERE received_ms < {before_ms - before_ms % _MONTH_MS}"
    )
    for (month,) in months:
        client.change(f"ALTER TABLE {{}} DROP PARTITION {month}", table)
    client.change(f"ALTER TABLE {{}} DELETE WHERE received_ms < {before_ms}", table)
    return old


def _delete_some(client: Client, table: str, before_ms: int, limit: int) -> int:
    ids = client.rows(
        f"SELECT event_id FROM {table} WHERE received_ms < {before_ms} LIMIT {limit + 1}"
    )
    if not ids or len(ids) > limit >= PART_OF_DAY:
        return 0
    chosen = [event_id for (event_id,) in ids[:limit]]
    delete_events(client, (table, "raw"), chosen)
    return len(chosen)


def delete_events(client: Client, tables: Sequence[str], ids: Sequence[bytes]) -> None:
    """Delete the rows of some events."""
    for chunk in _chunks(ids):
        for table in tables:
            client.change(f"ALTER TABLE {{}} DELETE WHERE event_id IN ({chunk})", table)


def _chunks(ids: Collection[bytes]) -> Iterator[str]:
    ordered = sorted(ids)
    for start in range(0, len(ordered), 10_000):
        yield ", ".join(literal(each) for each in ordered[start : start + 10_000])


def count_before(client: Client, before_ms: int) -> dict[str, int]:
    """Return how many rows of each table were received before a time."""
    return {
        table: int(client.value(f"SELECT count() FROM {table} WHERE received_ms < {before_ms}"))
        for table in ROWS
    }


# -- keys ------------------------------------------------------------------------------------------


def find_keys(client: Client) -> list[StoredKey]:
    """Return all keys, oldest first."""
    rows = client.rows("SELECT substring(key, 5), value FROM meta WHERE startsWith(key, 'key/')")
    keys = [StoredKey(name, **json.loads(value)) for name, value in rows]
    return sorted(keys, key=lambda key: (key.created_ms, key.id))


def add_key(client: Client, key: StoredKey) -> None:
    """Keep a new key."""
    value = {name: each for name, each in key._asdict().items() if name != "id"}
    set_meta(client, f"key/{key.id}", json.dumps(value))


def remove_key(client: Client, key_id: str) -> bool:
    """Take a key out of force; False when there is none."""
    found = client.value(f"SELECT count() FROM meta WHERE key = {literal(f'key/{key_id}')}")
    if found:
        set_meta(client, f"key/{key_id}", "", gone=1)
    return bool(found)


# -- imports ---------------------------------------------------------------------------------------


def find_stored(client: Client, event_ids: Collection[bytes]) -> set[bytes]:
    """Return which events were taken in already."""
    return {
        event_id
        for chunk in _chunks(event_ids)
        for (event_id,) in client.rows(f"SELECT event_id FROM raw WHERE event_id IN ({chunk})")
    }


def find_clicks(client: Client, query_ids: Collection[str]) -> list[tuple[bytes, str, int]]:
    """Return query id, URL and time of each click on one of these pages."""
    return [
        (row[0], row[1], row[2])
        for chunk in _chunks([query_id_bytes(each) for each in query_ids])
        for row in client.rows(
            "SELECT click.query_id AS query_id, result.url, click.received_ms FROM"
            f" (SELECT query_id, result, received_ms FROM click WHERE query_id IN ({chunk})) AS click"
            " JOIN (SELECT id, url FROM result WHERE id IN"
            f" (SELECT result FROM click WHERE query_id IN ({chunk}))) AS result"
            " ON result.id = click.result"
        )
    ]


# -- what sites need -------------------------------------------------------------------------------


def want_docids(client: Client, sites: Sequence[Site]) -> None:
    """Find out from now on which URLs an AddSearch id means, if one of *sites* sends such ids."""
    if any(site.index_key for site in sites) and not docids_are_wanted(client):
        set_meta(client, SWITCH, "1")


def docids_are_wanted(client: Client) -> bool:
    """Tell whether a site ever sent such ids."""
    return bool(client.value(f"SELECT count() FROM meta WHERE key = '{SWITCH}'"))


# -- advertisers -----------------------------------------------------------------------------------

_ADVERTISERS = {
    "advertiser": "site, id, name, slug, network_id, network_name",
    "advertiser_target": "site, kind, target, advertiser",
}


def name_advertisers(client: Client, sites: Sequence[Site]) -> None:
    """Make the tables say what *sites* say; without sites they stay."""
    if not sites:
        return
    for (table, columns), wanted in zip(_ADVERTISERS.items(), advertiser_rows(sites), strict=True):
        known = client.rows(f"SELECT {columns} FROM {table}")
        fresh, gone = set(wanted) - set(known), set(known) - set(wanted)
        keys = 2 if table == "advertiser" else 3
        gone = {row for row in gone if row[:keys] not in {each[:keys] for each in wanted}}
        version = time.time_ns() // 1000
        for rows, is_gone in ((gone, 1), (fresh, 0)):
            lines = [
                json.dumps([*row, version, is_gone]).encode() for row in sorted(rows, key=repr)
            ]
            if lines:
                client.run(
                    f"INSERT INTO {table} ({columns}, version, gone) FORMAT JSONCompactEachRow",
                    b"\n".join(lines),
                )
