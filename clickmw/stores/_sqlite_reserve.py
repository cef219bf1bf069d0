"""Room that is kept for a full disk: even to delete rows, SQLite must write first."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

RESERVE_BYTES = 2 * 1024 * 1024
#: Smaller disks keep nothing back: it would be too much of them.
LEAST_FREE = 64 * RESERVE_BYTES
#: A smaller database has nothing to prune that would make much room.
LEAST_DATABASE = 4 * RESERVE_BYTES


def reserve_of(database: Path) -> Path:
    """Return the file beside *database* that keeps the room."""
    return database.with_name(database.name + "-reserve")


def keep(database: Path) -> None:
    """Keep some room on the disk of *database*, where it has plenty and the database is not small."""
    path = reserve_of(database)
    with contextlib.suppress(OSError):
        if path.exists() or database.stat().st_size < LEAST_DATABASE:
            return
        if free_bytes(database) < LEAST_FREE:
            return
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            _fill(file)
        finally:
            os.close(file)


def give_back(database: Path) -> bool:
    """Let go of the room if the disk is full; True when there is more now."""
    path = reserve_of(database)
    if not path.exists() or not is_tight(database):
        return False
    with contextlib.suppress(OSError):
        path.unlink()
        return True
    return False


def is_tight(database: Path) -> bool:
    """Tell whether the disk of *database* has less left than what is reserved on others."""
    return free_bytes(database) < RESERVE_BYTES


def free_bytes(database: Path) -> int:
    """Return how much this user may still write on the disk of *database*."""
    return shutil.disk_usage(database.absolute().parent).free


def _fill(file: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, RESERVE_BYTES)
    else:
        os.write(file, bytes(RESERVE_BYTES))
