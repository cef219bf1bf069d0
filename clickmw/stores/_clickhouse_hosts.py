"""What the hosts of a ClickHouse store share besides events: the salts of the days, and what must agree."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

from clickmw.errors import StoreError
from clickmw.stores._clickhouse_http import Client, literal
from clickmw.stores._hosts import SALT_DAYS, SILENT_MS, disagreements

#: A replica that has not heard of a salt is asked so many times, with a pause between.
TRIES = 10
PAUSE_S = 0.1

KEEP_SALT = "INSERT INTO salt (day, salt, kept_us) FORMAT RowBinary"
#: One row: of several hosts that made one at the same moment, the first is right.
FIND_SALT = "SELECT salt FROM salt WHERE day = {day} ORDER BY kept_us, salt LIMIT 1"
FIND_OLD_DAYS = "SELECT DISTINCT day FROM salt WHERE day < {before}"
#: One row per host.
SAY = "INSERT INTO host SELECT {name}, {seen_ms}, {settings}, {seen_ms}"
FIND_HOSTS = "SELECT name, settings FROM host WHERE seen_ms > {since_ms} ORDER BY name"


def keep_salt(client: Client, day: int, salt: bytes, durable: Mapping[str, Any]) -> bytes:
    """Return the salt of *day*: the one that is there, else *salt* from now on. Old ones are destroyed.

    Of inserts with one token the server keeps the first, from whichever host it comes.
    """
    kept = _find(client, day)
    if kept is None:
        row = day.to_bytes(8, "little") + bytes((len(salt),)) + salt
        row += (time.time_ns() // 1000).to_bytes(8, "little")
        client.run(KEEP_SALT, row, insert_deduplication_token=f"salt/{day}", **durable)
        kept = _wait_for(client, day)
    _forget(client, day - SALT_DAYS - 1)
    return kept


def _find(client: Client, day: int) -> bytes | None:
    rows = client.rows(FIND_SALT.format(day=day))
    return rows[0][0] if rows else None


def _wait_for(client: Client, day: int) -> bytes:
    for _ in range(TRIES):
        kept = _find(client, day)
        if kept is not None:
            return kept
        time.sleep(PAUSE_S)
    raise StoreError(f"the salt of day {day} has not come to this replica yet")


def _forget(client: Client, before: int) -> None:
    for (day,) in client.rows(FIND_OLD_DAYS.format(before=before)):
        client.change(f"ALTER TABLE {{}} DROP PARTITION {day}", "salt")


def say_settings(client: Client, host: str, settings: Mapping[str, str], now_ms: int) -> None:
    """Write down that *host* is there, and its *settings*."""
    said = json.dumps(dict(settings), sort_keys=True)
    client.run(SAY.format(name=literal(host), seen_ms=now_ms, settings=literal(said)))


def find_disagreements(client: Client, now_ms: int) -> Iterator[str]:
    """Yield a sentence for each setting that is not the same on all hosts that are there."""
    rows = client.rows(FIND_HOSTS.format(since_ms=now_ms - SILENT_MS))
    yield from disagreements((name, json.loads(settings)) for name, settings in rows)
