"""Damage of a database file: found when somebody reads it, and remembered until the file is another one."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path

#: What SQLite says to a file whose pages are no pages.
CODES = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
REMEDY = "Put a backup in its place, or recover it (docs: Keep the store in order)"

_found: dict[tuple[int, int], str] = {}


def is_damage(error: Exception) -> bool:
    """Tell whether *error* speaks of a damaged file."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in CODES


def note(connection: sqlite3.Connection, error: Exception) -> None:
    """Remember that the file of *connection* is damaged, if that is what *error* says."""
    if is_damage(error):
        path = Path(connection.execute("PRAGMA database_list").fetchone()[2])
        remember(path, str(error))


def remember(path: Path, what: str) -> None:
    """Remember that the file now at *path* is damaged."""
    key = _key(path)
    if key:
        _found[key] = f"the database {path} is damaged: {what}. {REMEDY}"


def known(path: Path) -> str | None:
    """Return what is known of the damage of the file now at *path*."""
    key = _key(path)
    return _found.get(key) if key else None


def find(connection: sqlite3.Connection, within_s: float = float("inf")) -> list[str] | None:
    """Read the whole file; return what is wrong with it, None when *within_s* was not enough."""
    until = time.monotonic() + within_s
    connection.set_progress_handler(lambda: int(time.monotonic() > until), 100_000)
    try:
        said = [row[0] for row in connection.execute("PRAGMA quick_check(5)")]
    except sqlite3.Error as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
            return None
        said = [str(error)]
    finally:
        connection.set_progress_handler(None, 0)
    return [] if said == ["ok"] else said


def _key(path: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino
