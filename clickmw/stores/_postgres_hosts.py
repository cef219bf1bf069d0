"""What several hosts share besides events: the salts of the days, and settings that must agree."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from clickmw.stores._hosts import SALT_DAYS, SILENT_MS, disagreements
from clickmw.stores._postgres_connection import Connection

KEEP_SALT = "INSERT INTO salt (day, salt) VALUES (?, ?) ON CONFLICT DO NOTHING"
FIND_SALT = "SELECT salt FROM salt WHERE day = ?"
FORGET_SALTS = "DELETE FROM salt WHERE day < ?"
SAY = """
-- One row per host.
INSERT INTO host (name, seen_ms, settings) VALUES (?, ?, ?)
    ON CONFLICT (name) DO UPDATE SET seen_ms = excluded.seen_ms, settings = excluded.settings
"""
FIND_HOSTS = "SELECT name, settings FROM host WHERE seen_ms > ? ORDER BY name"


def keep_salt(connection: Connection, day: int, salt: bytes) -> bytes:
    """Return the salt of *day*: the one that is there, else *salt* from now on. Old ones are destroyed."""
    connection.execute(KEEP_SALT, (day, salt))
    (kept,) = connection.execute(FIND_SALT, (day,)).fetchone() or (salt,)
    if connection.execute(FORGET_SALTS, (day - SALT_DAYS - 1,)).rowcount:
        connection.plain("VACUUM FULL salt")  # a deleted row stays in its file until then
    return bytes(kept)


def say_settings(
    connection: Connection, host: str, settings: Mapping[str, str], now_ms: int
) -> None:
    """Write down that *host* is there, and its *settings*."""
    connection.execute(SAY, (host, now_ms, json.dumps(dict(settings), sort_keys=True)))


def find_disagreements(connection: Connection, now_ms: int) -> Iterator[str]:
    """Yield a sentence for each setting that is not the same on all hosts that are there."""
    rows = connection.execute(FIND_HOSTS, (now_ms - SILENT_MS,)).fetchall()
    yield from disagreements((name, json.loads(settings)) for name, settings in rows)
