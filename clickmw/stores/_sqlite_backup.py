"""A copy of a database that is in use: whole, checked, and there all at once or not at all."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from secrets import token_hex

from clickmw.errors import StoreError
from clickmw.journal import sync_folder
from clickmw.stores.base import Tell

PAGES = 2000  #: copied at a time, 8 MB
NAMES = """
-- One row per table.
SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name
"""


def back_up(source: sqlite3.Connection, path: Path, tell: Tell) -> dict[str, int]:
    """Write a copy of *source* to *path*, which must not exist; return table → rows.

    What is written meanwhile is not in it: the copy is of one moment.
    """
    draft = path.with_name(f".{path.name}.{token_hex(4)}")
    try:
        os.close(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        source.execute("BEGIN")
        try:
            rows = _count(source)  # the first read fixes the moment
            _copy(source, draft, tell)
        finally:
            source.execute("ROLLBACK")
        _verify(draft, rows)
        os.link(draft, path)  # fails where somebody else was faster
        sync_folder(path.absolute().parent)
    except FileExistsError as error:
        raise StoreError(f"{path} exists already and is not overwritten.") from error
    except (sqlite3.Error, OSError) as error:
        raise StoreError(
            f"the copy {path} could not be made: {error}. Nothing was left."
        ) from error
    finally:
        draft.unlink(missing_ok=True)
    return rows


def _copy(source: sqlite3.Connection, draft: Path, tell: Tell) -> None:
    def told(_status: int, remaining: int, total: int) -> None:
        tell(total - remaining, total)

    with closing(sqlite3.connect(draft, isolation_level=None)) as copy:
        source.backup(copy, pages=PAGES, progress=told, sleep=0.0)
        # One file, without a log beside it.
        copy.execute("PRAGMA journal_mode = DELETE")
        copy.execute("PRAGMA synchronous = FULL")


def _verify(draft: Path, rows: dict[str, int]) -> None:
    with closing(sqlite3.connect(f"file:{draft.as_posix()}?mode=ro", uri=True)) as copy:
        said = copy.execute("PRAGMA integrity_check").fetchall()
        counted = _count(copy)
    if said != [("ok",)] or counted != rows:
        raise StoreError(f"the copy is not sound: {said[0][0]}. Nothing was left; try again.")
    with draft.open("rb") as file:
        os.fsync(file.fileno())


def _count(connection: sqlite3.Connection) -> dict[str, int]:
    names = [name for (name,) in connection.execute(NAMES).fetchall()]
    return {
        name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in names
    }
