"""The PostgreSQL schema: the tables and public views of SQLite's, in a schema of their own.

It begins with version 3, the first that was made for PostgreSQL too; ``meta`` says which one is there.
"""

from __future__ import annotations

from typing import Any, cast

from clickmw.errors import StoreError, StoreTooNew
from clickmw.module_codes import MODULE_CODES
from clickmw.rollups import TABLES
from clickmw.stores import _sqlite_schema as schema
from clickmw.stores import _sqlite_totals as totals
from clickmw.stores._postgres_connection import Connection
from clickmw.stores._postgres_dialect import FUNCTIONS, TEXT_KEYS

#: One process at a time makes or changes the schema; by its name, so that others are not hindered.
LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('clickmw schema {schema}', 0))"
HOSTS = """
-- One row per UTC day: what makes visitors of that day. Masked; destroyed after two days.
CREATE TABLE salt (day INTEGER PRIMARY KEY, salt BLOB NOT NULL);
-- One row per host that drains: when it last said so, and its settings that all must share.
CREATE TABLE host (name TEXT PRIMARY KEY, seen_ms INTEGER NOT NULL, settings TEXT NOT NULL);
"""
#: Words that are there from the beginning. The planner must not learn that there is only one, which
#: autovacuum would leave so below fifty: it then joins each view's ten words row by row.
WORDS = (
    *MODULE_CODES,
    *("result", "ad", "related", "source", "page", "template", "redirect", "beacon"),
    *("signed", "session", "keyed", "anonymous", "desktop", "mobile", "tablet"),
    *("search", "click", "impression", "rating", "answer", "conversion"),
    *(
        "robot",
        "external",
        "stale",
        "trust",
        "duplicate",
        "repeat",
        "typing",
        "prefetch",
        "repeated",
    ),
)
ADD_WORD = "INSERT INTO term (text) VALUES (?) ON CONFLICT DO NOTHING"
#: Version → what it has more. Version 4 is indexes of SQLite's alone: here they would cost each update
#: of the totals more than they save the report. That of version 5 changes once a day.
LATER = {5: totals.INDEX_V5, 6: schema.INDEX_V6}
#: One row: the version of the schema, as text.
FIND_VERSION = "SELECT value FROM meta WHERE key = 'schema'"
#: One row: which clickmw may read it, though a later one made it.
FIND_READABLE_BY = "SELECT value FROM meta WHERE key = 'readable_by'"


def version_of(connection: Connection) -> int:
    """Return the version of the schema that is there, 0 without one."""
    found = connection.plain(f"SELECT to_regclass('{connection.schema}.meta')").fetchone()
    if found is None or found[0] is None:
        return 0
    row = connection.execute(FIND_VERSION).fetchone()
    return int(row[0]) if row else 0


def migrate(connection: Connection) -> None:
    """Bring the schema up to date, one process at a time: all of it or nothing.

    A schema from a later clickmw is :class:`StoreTooNew` and stays untouched.
    """
    if is_current(connection):
        return
    connection.execute("BEGIN")
    with connection:
        connection.plain(LOCK.format(schema=connection.schema))
        if not is_current(connection):  # another process may have been faster
            version = version_of(connection)
            if not version:
                _make(connection)
            for number, script in LATER.items():
                if version < number:
                    schema.run_script(cast(Any, connection), script)
            connection.executemany(schema.SET_LINE, _versions())


def is_current(connection: Connection) -> bool:
    """Tell whether nothing is left to migrate; a later schema is :class:`StoreTooNew`."""
    version = version_of(connection)
    later = too_new(connection, version)
    if later:
        raise later
    return _whole(version) == schema.SCHEMA_VERSION


def too_new(connection: Connection, version: int) -> StoreTooNew | None:
    """Return what is said when a later clickmw has made the schema; None when none has."""
    if version <= schema.SCHEMA_VERSION:
        return None
    return StoreTooNew(
        f"the schema {connection.schema} was made by a later clickmw (version {version}, this "
        f"one knows {schema.SCHEMA_VERSION}). Upgrade clickmw; nothing was changed and events "
        "stay in the journal."
    )


def _whole(version: int) -> int:
    if version < 0:
        raise StoreError(
            "a store is being copied into this one, and it takes no events until that is done. "
            "Events wait in the journal. To go on with it, run the same clickmw copy again"
        )
    return version


def refuse_other_version(connection: Connection) -> None:
    """Raise StoreError where a reader would not find what it knows."""
    version = _whole(version_of(connection))
    newer = version > schema.SCHEMA_VERSION
    if version != schema.SCHEMA_VERSION and not (newer and _is_readable(connection)):
        remedy = "Upgrade clickmw." if newer else "Run: clickmw drain --once"
        raise StoreError(
            f"the schema {connection.schema} has version {version}, this clickmw reads "
            f"{schema.SCHEMA_VERSION}. {remedy}"
        )


def _is_readable(connection: Connection) -> bool:
    """Tell whether a later clickmw says that ours can read what it has written."""
    row = connection.execute(FIND_READABLE_BY).fetchone()
    return row is not None and int(row[0]) <= schema.SCHEMA_VERSION


def _make(connection: Connection) -> None:
    known = connection.plain(f"SELECT to_regnamespace('{connection.schema}')").fetchone()
    if known is None or known[0] is None:  # who may not make one can be given one
        connection.plain(f"CREATE SCHEMA {connection.schema}")
    connection.plain(FUNCTIONS)
    made: Any = connection
    for script in _scripts():
        schema.run_script(made, script)
    for table, (columns, digest) in TEXT_KEYS.items():
        connection.plain(f"ALTER TABLE {table} DROP CONSTRAINT {table}_{'_'.join(columns)}_key")
        connection.plain(f"CREATE UNIQUE INDEX {table}_texts ON {table} ({digest})")
        connection.plain(f"CREATE INDEX {table}_by_text ON {table} USING hash ({columns[0]})")
    connection.executemany(ADD_WORD, [(word,) for word in WORDS])
    connection.execute("ANALYZE term")


def _versions() -> list[tuple[str, str]]:
    versions = {"schema": schema.SCHEMA_VERSION, "readable_by": schema.READABLE_BY}
    return [(key, str(version)) for key, version in versions.items()]


def _scripts() -> list[str]:
    """Return the scripts that make all tables and views, in order."""
    shapes = TABLES | {"day_host": schema.DAY_HOST_V1, "cube": schema.CUBE_V1}
    return [
        schema.TABLES_V1,
        schema.WORDS_V1,
        "".join(schema._rollup_table(*item) for item in shapes.items()),
        schema.INDEXES_V1,
        schema.TABLES_V2 + schema._rollup_table("day_host", TABLES["day_host"]),
        schema.INDEXES_V2,
        schema.FACTS_V3 + totals.TABLES_V3,
        HOSTS,
        schema.VIEWS + schema.WORDS_VIEWS + schema.DAILY_CLICKS,
    ]
