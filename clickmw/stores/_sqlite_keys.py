"""The keys that were made on the command line: what each opens, and a hash of its text."""

from __future__ import annotations

import json
import sqlite3

from clickmw.stores.base import StoredKey

_PREFIX = "key/"
FIND_KEYS = """
-- One row per key, oldest first.
SELECT substr(key, 5), value FROM meta WHERE key LIKE 'key/%' ORDER BY key
"""
ADD_KEY = "INSERT INTO meta (key, value) VALUES (?, ?)"
REMOVE_KEY = "DELETE FROM meta WHERE key = ?"


def find_keys(connection: sqlite3.Connection) -> list[StoredKey]:
    """Return all keys, oldest first."""
    rows = connection.execute(FIND_KEYS).fetchall()
    keys = [StoredKey(name, **json.loads(value)) for name, value in rows]
    return sorted(keys, key=lambda key: (key.created_ms, key.id))


def add_key(connection: sqlite3.Connection, key: StoredKey) -> None:
    """Write *key* in the open transaction."""
    value = {name: each for name, each in key._asdict().items() if name != "id"}
    connection.execute(ADD_KEY, (_PREFIX + key.id, json.dumps(value)))


def remove_key(connection: sqlite3.Connection, key_id: str) -> bool:
    """Delete a key; False when there was none."""
    return connection.execute(REMOVE_KEY, (_PREFIX + key_id,)).rowcount > 0
