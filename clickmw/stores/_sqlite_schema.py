"""The SQLite schema: migrations in order, and the public views.

Tables are ours to change. The views are what people may rely on; their columns are only ever
added, at the end.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from clickmw.errors import StoreTooNew
from clickmw.rollups import DIMENSIONS, TABLES
from clickmw.stores import _sqlite_totals as totals
from clickmw.stores._sqlite_dictionaries import number_hosts
from clickmw.stores._sqlite_queries import ADVERTISER, OWNED
from clickmw.stores._sqlite_returns import settle_all

if TYPE_CHECKING:
    from sqlite_utils.db import Database

#: ``PRAGMA user_version`` of a database that has every migration.
SCHEMA_VERSION = 6
#: The oldest schema whose clickmw can still read what this one writes.
READABLE_BY = 3

TABLES_V1 = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;

-- One row per ledger line, cumulative since creation.
CREATE TABLE ledger (name TEXT PRIMARY KEY, events INTEGER NOT NULL) STRICT, WITHOUT ROWID;

-- One row per journal segment: how far it has been taken in, and its writer's count there.
CREATE TABLE segment (
  name TEXT PRIMARY KEY, taken INTEGER NOT NULL, running INTEGER NOT NULL, torn INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

-- Dictionaries: texts are stored once. A term is a short word: module, device, language, reason …
CREATE TABLE site (id INTEGER PRIMARY KEY, handle TEXT NOT NULL UNIQUE, time_zone TEXT NOT NULL) STRICT;
CREATE TABLE term (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE query (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE result (
  id INTEGER PRIMARY KEY, url TEXT NOT NULL, doc_id TEXT NOT NULL, host INTEGER NOT NULL, title TEXT,
  UNIQUE (url, doc_id)
) STRICT;
INSERT INTO term (id, text) VALUES (0, '');

-- One row per search. impressions: JSON list of [result, position, module] in page order.
-- viewed: for a view of a page that many share, the page's own query id.
-- own_*: counted clicks on this very page within a day; clicked, best_position: the same over the
-- page and all searches that belong to it (first_query_id), as the rollups have them.
CREATE TABLE search (
  query_id BLOB PRIMARY KEY, event_id BLOB NOT NULL, received_ms INTEGER NOT NULL, day INTEGER NOT NULL,
  site INTEGER NOT NULL, query INTEGER NOT NULL, total_hits INTEGER, offset INTEGER NOT NULL,
  language INTEGER NOT NULL, profile INTEGER NOT NULL, tag INTEGER NOT NULL, kind INTEGER NOT NULL,
  source INTEGER NOT NULL, trust INTEGER NOT NULL, visitor BLOB, session TEXT, device INTEGER NOT NULL,
  robot INTEGER NOT NULL, shared INTEGER NOT NULL, prefetched INTEGER NOT NULL, activated INTEGER NOT NULL,
  drop_reason INTEGER NOT NULL, first_query_id BLOB,
  viewed BLOB, own_clicks INTEGER NOT NULL, own_best INTEGER, clicked INTEGER NOT NULL, best_position INTEGER,
  impressions TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX search_belonging ON search (first_query_id) WHERE first_query_id IS NOT NULL;

-- One row per search that may still stand beside another one of its visitor (two days and a window).
CREATE TABLE recent_search (
  site INTEGER NOT NULL, visitor BLOB NOT NULL, received_ms INTEGER NOT NULL, query_id BLOB NOT NULL,
  PRIMARY KEY (site, visitor, received_ms, query_id)
) STRICT, WITHOUT ROWID;

-- One row per event whose page has not arrived yet; body: the event as the journal has it, or of one
-- that has a row of its own its table, id, visitor and site.
CREATE TABLE waiting_view (
  query_id BLOB NOT NULL, event_id BLOB NOT NULL, body TEXT NOT NULL, PRIMARY KEY (query_id, event_id)
) STRICT, WITHOUT ROWID;

-- One row per click. query is null while its search has not arrived.
CREATE TABLE click (
  id INTEGER PRIMARY KEY, event_id BLOB NOT NULL, received_ms INTEGER NOT NULL, day INTEGER NOT NULL,
  site INTEGER NOT NULL, query INTEGER, query_id BLOB, result INTEGER NOT NULL, position INTEGER,
  module INTEGER NOT NULL, source INTEGER NOT NULL, trust INTEGER NOT NULL, visitor BLOB, session TEXT,
  device INTEGER NOT NULL, robot INTEGER NOT NULL, referrer_host INTEGER NOT NULL,
  drop_reason INTEGER NOT NULL, kind INTEGER NOT NULL, language INTEGER NOT NULL,
  profile INTEGER NOT NULL, ad_id TEXT, user_activated INTEGER, dwell_s REAL, position_raw TEXT,
  view_id BLOB
) STRICT;
CREATE INDEX click_key ON click (query_id, visitor);
CREATE INDEX click_unjoined ON click (query_id) WHERE query IS NULL AND query_id IS NOT NULL;
"""

#: What all events have that are neither searches nor clicks.
_COMMON = """
  id INTEGER PRIMARY KEY, event_id BLOB NOT NULL, received_ms INTEGER NOT NULL, day INTEGER NOT NULL,
  site INTEGER NOT NULL, query_id BLOB, visitor BLOB, session TEXT, device INTEGER NOT NULL,
  robot INTEGER NOT NULL, language INTEGER NOT NULL, profile INTEGER NOT NULL, source INTEGER NOT NULL,
  trust INTEGER NOT NULL, drop_reason INTEGER NOT NULL
"""
WORDS_V1 = f"""
-- One row per rating of a search.
CREATE TABLE rating ({_COMMON}, query INTEGER, score INTEGER, comment TEXT) STRICT;
-- One row per question that a page answered itself.
CREATE TABLE answer (
  {_COMMON}, question TEXT NOT NULL, answer TEXT NOT NULL, is_question INTEGER
) STRICT;
-- One row per order, sign-up … that a visitor made.
CREATE TABLE conversion (
  {_COMMON}, order_id TEXT NOT NULL, value REAL, currency TEXT NOT NULL, items TEXT NOT NULL,
  ad_id TEXT, url TEXT
) STRICT;
"""

INDEXES_V1 = """
CREATE INDEX day_query_ranked ON day_query (site, day, query, searches, clicks);
CREATE INDEX day_result_clicked ON day_result (site, day, result, clicks) WHERE clicks > 0;
"""
DAY_HOST_V1 = (("site", "day", "host"), ("clicks",))
CUBE_V1 = (
    DIMENSIONS,
    (
        "searches",
        "searches_clicked",
        "searches_known",
        "searches_empty",
        "searches_answered_unclicked",
        "search_reciprocal",
        "clicks",
        "clicks_positioned",
        "position_sum",
        "click_reciprocal",
        "impressions",
    ),
)

TABLES_V2 = f"""
-- dedupe_key: what the repeats of a click share, whatever page it was on; null: its query id says it.
-- doc_id: the sender's own name of the result, where the result's row has another or none.
-- told: 1 where the click names no search and its query id was found by source, visitor and query.
-- by_digest: 1 where the click names its result by the MD5 of the URL alone (that is its doc_id).
ALTER TABLE click ADD COLUMN dedupe_key BLOB;
ALTER TABLE click ADD COLUMN doc_id TEXT;
ALTER TABLE click ADD COLUMN told INTEGER NOT NULL DEFAULT 0;
ALTER TABLE click ADD COLUMN by_digest INTEGER NOT NULL DEFAULT 0;
ALTER TABLE click ADD COLUMN tag INTEGER NOT NULL DEFAULT 0;
UPDATE click SET tag = search.tag FROM search WHERE search.query_id = click.query_id AND search.tag <> 0;
-- told: 1 where a sender reported the search, so that clicks may belong to it by its words.
ALTER TABLE search ADD COLUMN told INTEGER NOT NULL DEFAULT 0;
ALTER TABLE conversion ADD COLUMN dedupe_key BLOB;
-- What waits for a page is any event now: as the journal has it, with the letter of its kind.
UPDATE waiting_view SET body = '["v",' || substr(body, 2);
-- seen: JSON list of [position, module, milliseconds after the search]; null: nobody says.
ALTER TABLE search ADD COLUMN seen TEXT;

-- One row per thing that was shown outside of a search; those of one event share its id.
CREATE TABLE impression (
  {_COMMON}, kind INTEGER NOT NULL, result INTEGER NOT NULL, label TEXT, position INTEGER NOT NULL,
  module INTEGER NOT NULL, query INTEGER, ad_id TEXT, doc_id TEXT, dedupe_key BLOB,
  tag INTEGER NOT NULL
) STRICT;

-- One row per return of a visitor to the results; the time goes to the click it belongs to.
CREATE TABLE came_back (
  id INTEGER PRIMARY KEY, event_id BLOB NOT NULL, received_ms INTEGER NOT NULL, query_id BLOB NOT NULL,
  view_id BLOB, visitor BLOB, result INTEGER NOT NULL, position INTEGER, client_id BLOB,
  dwell_s REAL NOT NULL
) STRICT;
CREATE INDEX came_back_to ON came_back (query_id);

-- One row per id that a browser gave an event, for two days after the last event that had it:
-- the first of them, and the key of its row in the table *kind*.
CREATE TABLE sent_id (
  client_id BLOB NOT NULL, kind TEXT NOT NULL, site INTEGER NOT NULL, received_ms INTEGER NOT NULL,
  event_id BLOB NOT NULL, last_ms INTEGER NOT NULL, place ANY NOT NULL,
  PRIMARY KEY (client_id, kind, site, received_ms, event_id)
) STRICT, WITHOUT ROWID;

-- The advertisers of the settings, and the hosts and ads that are theirs.
CREATE TABLE advertiser (
  site TEXT NOT NULL, id INTEGER NOT NULL, name TEXT NOT NULL, slug TEXT NOT NULL,
  network_id INTEGER, network_name TEXT, PRIMARY KEY (site, id)
) STRICT, WITHOUT ROWID;
CREATE TABLE advertiser_target (
  site TEXT NOT NULL, kind TEXT NOT NULL, target TEXT NOT NULL, advertiser INTEGER NOT NULL,
  PRIMARY KEY (site, kind, target)
) STRICT, WITHOUT ROWID;
-- One row per clicked host: its number as an advertiser of its own.
CREATE TABLE own_advertiser (host INTEGER PRIMARY KEY, number INTEGER NOT NULL) STRICT;

-- MD5 of the http and the https form of each URL → a result that has it, while a site needs them.
CREATE TABLE url_digest (digest BLOB PRIMARY KEY, result INTEGER NOT NULL) STRICT, WITHOUT ROWID;

-- A result without a host of its own is its site's, whichever site that is: 0.
UPDATE result SET host = 0 WHERE instr(url, '://') = 0 OR url LIKE '/%';
DROP VIEW IF EXISTS daily_clicks;
ALTER TABLE day_host RENAME TO day_host_v1;
"""
INDEXES_V2 = """
INSERT INTO day_host (site, day, host, ad, clicks) SELECT site, day, host, 0, clicks FROM day_host_v1;
DROP TABLE day_host_v1;
DROP INDEX click_key;
CREATE INDEX click_key ON click (query_id, visitor, drop_reason, received_ms);
CREATE INDEX click_repeat ON click (dedupe_key, drop_reason, received_ms) WHERE dedupe_key IS NOT NULL;
CREATE INDEX click_told ON click (visitor, query, source, site, received_ms) WHERE told;
CREATE INDEX click_by_digest ON click (result) WHERE by_digest;
CREATE INDEX click_by_query ON click (query, day, site);
CREATE INDEX click_alone ON click (query, day, site) WHERE query_id IS NULL;
CREATE INDEX search_told ON search (visitor, query, source, site, received_ms) WHERE told;
CREATE INDEX search_by_query ON search (query, day, site);
CREATE INDEX conversion_repeat ON conversion (dedupe_key, drop_reason, received_ms)
 WHERE dedupe_key IS NOT NULL;
CREATE INDEX impression_repeat ON impression (dedupe_key, kind, drop_reason, received_ms)
 WHERE dedupe_key IS NOT NULL;
"""

_RATED = ", ".join(name for name in DIMENSIONS if name != "module")
FACTS_V3 = f"""
ALTER TABLE cube ADD COLUMN ratings INTEGER NOT NULL DEFAULT 0;
ALTER TABLE cube ADD COLUMN score_sum INTEGER NOT NULL DEFAULT 0;
ALTER TABLE cube ADD COLUMN score_square_sum INTEGER NOT NULL DEFAULT 0;
INSERT INTO cube ({_RATED}, module, {", ".join(CUBE_V1[1])}, ratings, score_sum, score_square_sum)
SELECT {_RATED}, 0, {", ".join("0" for _ in CUBE_V1[1])}, count(*), sum(score), sum(score * score)
  FROM rating
 WHERE score IS NOT NULL
   AND drop_reason IN (SELECT id FROM term WHERE text IN ('', 'robot'))
 GROUP BY {_RATED}
    ON CONFLICT ({", ".join(DIMENSIONS)}) DO UPDATE
   SET ratings = excluded.ratings, score_sum = excluded.score_sum,
       score_square_sum = excluded.score_square_sum;

-- What the report counts of a day's searches and clicks under filters that no rollup knows: all in
-- the index, so that their rows are never read. A search's query id stands at its end by itself.
CREATE INDEX search_facts ON search (
  site, day, visitor, received_ms, query, device, language, profile, source, trust, robot, drop_reason,
  clicked, total_hits, best_position
);
CREATE INDEX click_facts ON click (
  site, day, result, module, position, query, device, language, profile, source, trust, robot,
  drop_reason, kind, received_ms
);
-- The same by query: what is asked of a few queries reads only theirs.
DROP INDEX search_by_query;
CREATE INDEX search_by_query ON search (
  query, day, site, device, language, profile, source, trust, robot, drop_reason, clicked, total_hits,
  best_position
);
DROP INDEX click_by_query;
CREATE INDEX click_by_query ON click (
  query, day, site, result, module, position, device, language, profile, source, trust, robot,
  drop_reason, kind
);
CREATE INDEX rating_facts ON rating (site, day);
CREATE INDEX rating_of_search ON rating (query_id, score) WHERE query_id IS NOT NULL;
CREATE INDEX answer_of_search ON answer (query_id) WHERE query_id IS NOT NULL;
"""

INDEX_V6 = """
-- Clicks of one view: a page that a cache keeps has thousands of views, and all of their clicks.
CREATE INDEX click_of_view ON click (view_id) WHERE view_id IS NOT NULL;
"""

VIEWS = """
DROP VIEW IF EXISTS clicks;
CREATE VIEW clicks AS
SELECT lower(hex(click.event_id)) AS event_id,
       strftime('%Y-%m-%dT%H:%M:%fZ', click.received_ms / 1000.0, 'unixepoch') AS received_at,
       date(click.day * 86400, 'unixepoch') AS day,
       site.handle AS site, query.text AS query, nullif(lower(hex(click.query_id)), '') AS query_id,
       result.url AS url, result.title AS title, coalesce(click.doc_id, result.doc_id) AS doc_id,
       click.position AS position, module.text AS module_code, source.text AS source, trust.text AS trust,
       nullif(lower(hex(click.visitor)), '') AS visitor, click.session AS session, device.text AS device,
       referrer.text AS referrer_host, iif(click.drop_reason = 0, 1, 0) AS counted,
       nullif(reason.text, '') AS drop_reason, kind.text AS kind, click.received_ms AS received_ms,
       language.text AS language, profile.text AS profile, click.ad_id AS ad_id,
       click.user_activated AS user_activated, click.dwell_s AS dwell_s,
       click.position_raw AS position_raw, tag.text AS tag
  FROM click
  JOIN site ON site.id = click.site
  JOIN result ON result.id = click.result
  LEFT JOIN query ON query.id = click.query
  JOIN term AS module ON module.id = click.module
  JOIN term AS source ON source.id = click.source
  JOIN term AS trust ON trust.id = click.trust
  JOIN term AS device ON device.id = click.device
  JOIN term AS referrer ON referrer.id = click.referrer_host
  JOIN term AS reason ON reason.id = click.drop_reason
  JOIN term AS kind ON kind.id = click.kind
  JOIN term AS language ON language.id = click.language
  JOIN term AS profile ON profile.id = click.profile
  JOIN term AS tag ON tag.id = click.tag;

DROP VIEW IF EXISTS searches;
CREATE VIEW searches AS
SELECT lower(hex(search.query_id)) AS query_id,
       strftime('%Y-%m-%dT%H:%M:%fZ', search.received_ms / 1000.0, 'unixepoch') AS received_at,
       date(search.day * 86400, 'unixepoch') AS day,
       site.handle AS site, query.text AS query, search.total_hits AS total_hits,
       CASE WHEN search.offset > 0 THEN search.offset / 10 + 1 ELSE 1 END AS page,
       language.text AS language, profile.text AS profile, tag.text AS tag, kind.text AS kind,
       source.text AS source, nullif(lower(hex(search.visitor)), '') AS visitor, search.session AS session,
       iif(search.drop_reason = 0, 1, 0) AS counted, nullif(reason.text, '') AS drop_reason,
       search.shared AS shared, nullif(lower(hex(search.first_query_id)), '') AS first_query_id,
       search.received_ms AS received_ms, search.offset AS offset, device.text AS device,
       trust.text AS trust
  FROM search
  JOIN site ON site.id = search.site
  JOIN query ON query.id = search.query
  JOIN term AS language ON language.id = search.language
  JOIN term AS profile ON profile.id = search.profile
  JOIN term AS tag ON tag.id = search.tag
  JOIN term AS kind ON kind.id = search.kind
  JOIN term AS source ON source.id = search.source
  JOIN term AS trust ON trust.id = search.trust
  JOIN term AS device ON device.id = search.device
  JOIN term AS reason ON reason.id = search.drop_reason;

DROP VIEW IF EXISTS impressions;
CREATE VIEW impressions AS
SELECT lower(hex(search.query_id)) AS query_id, date(search.day * 86400, 'unixepoch') AS day,
       site.handle AS site, query.text AS query, result.url AS url, result.doc_id AS doc_id,
       json_extract(shown.value, '$[1]') AS position, module.text AS module_code,
       (SELECT strftime('%Y-%m-%dT%H:%M:%fZ',
                        (search.received_ms + json_extract(mark.value, '$[2]')) / 1000.0, 'unixepoch')
          FROM json_each(search.seen) AS mark
         WHERE json_extract(mark.value, '$[0]') = json_extract(shown.value, '$[1]')
           AND json_extract(mark.value, '$[1]') = json_extract(shown.value, '$[2]')) AS seen_at,
       lower(hex(search.event_id)) AS event_id, 'result' AS kind, NULL AS label,
       source.text AS source,
       iif(reason.text IN ('', 'page', 'repeat', 'typing'), 1, 0) AS counted,
       CASE WHEN reason.text IN ('page', 'repeat', 'typing') THEN NULL
            ELSE nullif(reason.text, '') END AS drop_reason,
       strftime('%Y-%m-%dT%H:%M:%fZ', search.received_ms / 1000.0, 'unixepoch') AS received_at,
       nullif(lower(hex(search.visitor)), '') AS visitor, search.session AS session, NULL AS ad_id,
       trust.text AS trust, tag.text AS tag
  FROM search
  CROSS JOIN json_each(search.impressions) AS shown
  JOIN site ON site.id = search.site
  JOIN query ON query.id = search.query
  JOIN result ON result.id = json_extract(shown.value, '$[0]')
  JOIN term AS module ON module.id = json_extract(shown.value, '$[2]')
  JOIN term AS source ON source.id = search.source
  JOIN term AS trust ON trust.id = search.trust
  JOIN term AS reason ON reason.id = search.drop_reason
  JOIN term AS tag ON tag.id = search.tag
UNION ALL
SELECT nullif(lower(hex(shown.query_id)), ''), date(shown.day * 86400, 'unixepoch'),
       site.handle, query.text, result.url, coalesce(shown.doc_id, result.doc_id),
       shown.position, module.text,
       NULL, lower(hex(shown.event_id)), kind.text, shown.label,
       source.text, iif(shown.drop_reason = 0, 1, 0), nullif(reason.text, ''),
       strftime('%Y-%m-%dT%H:%M:%fZ', shown.received_ms / 1000.0, 'unixepoch'),
       nullif(lower(hex(shown.visitor)), ''), shown.session, shown.ad_id, trust.text, tag.text
  FROM impression AS shown
  JOIN site ON site.id = shown.site
  LEFT JOIN search ON search.query_id = shown.query_id
  LEFT JOIN query ON query.id = coalesce(shown.query, search.query)
  JOIN result ON result.id = shown.result
  JOIN term AS kind ON kind.id = shown.kind
  JOIN term AS module ON module.id = shown.module
  JOIN term AS source ON source.id = shown.source
  JOIN term AS trust ON trust.id = shown.trust
  JOIN term AS reason ON reason.id = shown.drop_reason
  JOIN term AS tag ON tag.id = shown.tag;
"""
SET_LINE = """
-- One row: a line of what the store knows of itself.
INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value
"""


def _words_view(view: str, table: str, query: str, own: str) -> str:
    """Return a view of *table*: what all such events have, then its own columns."""
    return f"""
DROP VIEW IF EXISTS {view};
CREATE VIEW {view} AS
SELECT lower(hex(said.event_id)) AS event_id,
       strftime('%Y-%m-%dT%H:%M:%fZ', said.received_ms / 1000.0, 'unixepoch') AS received_at,
       date(said.day * 86400, 'unixepoch') AS day, site.handle AS site, query.text AS query,
       nullif(lower(hex(said.query_id)), '') AS query_id,
       nullif(lower(hex(said.visitor)), '') AS visitor, said.session AS session,
       device.text AS device, language.text AS language, profile.text AS profile,
       source.text AS source, trust.text AS trust, iif(said.drop_reason = 0, 1, 0) AS counted,
       nullif(reason.text, '') AS drop_reason, said.received_ms AS received_ms, {own}
  FROM {table} AS said
  JOIN site ON site.id = said.site
  LEFT JOIN search ON search.query_id = said.query_id
  LEFT JOIN query ON query.id = {query}
  JOIN term AS device ON device.id = said.device
  JOIN term AS language ON language.id = said.language
  JOIN term AS profile ON profile.id = said.profile
  JOIN term AS source ON source.id = said.source
  JOIN term AS trust ON trust.id = said.trust
  JOIN term AS reason ON reason.id = said.drop_reason;
"""


WORDS_VIEWS = (
    _words_view(
        "feedback",
        "rating",
        "coalesce(search.query, said.query)",
        "said.score AS score, said.comment AS comment",
    )
    + _words_view(
        "answers",
        "answer",
        "search.query",
        "said.question AS question, said.answer AS answer, said.is_question AS is_question",
    )
    + _words_view(
        "conversions",
        "conversion",
        "search.query",
        "said.order_id AS order_id, said.value AS value, said.currency AS currency,"
        " said.items AS items, said.ad_id AS ad_id, said.url AS url",
    )
)
DAILY_CLICKS = f"""
DROP VIEW IF EXISTS daily_clicks;
CREATE VIEW daily_clicks AS
SELECT site.handle AS site, date(day_host.day * 86400, 'unixepoch') AS day, {ADVERTISER},
       sum(day_host.clicks) AS clicks,
       advertiser.network_id AS network_id, advertiser.network_name AS network_name
{OWNED}
 GROUP BY site.handle, day_host.day, 3, 4, 5, advertiser.network_id, advertiser.network_name;
"""


def view_sql(name: str) -> str:
    """Return the statement that makes the public view *name*."""
    start = f"CREATE VIEW {name} AS\n"
    return start + (VIEWS + WORDS_VIEWS + DAILY_CLICKS).partition(start)[2].partition(";")[0]


def _rollup_table(name: str, shape: tuple[tuple[str, ...], tuple[str, ...]]) -> str:
    key, measures = shape
    columns = [f"{column} INTEGER NOT NULL" for column in (*key, *measures)]
    return (
        f"CREATE TABLE {name} ({', '.join(columns)}, PRIMARY KEY ({', '.join(key)}))"
        " STRICT, WITHOUT ROWID;\n"
    )


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the schema of *connection* up to date, one process at a time.

    The whole run is one ``BEGIN IMMEDIATE`` transaction: after a kill the schema is the old one or
    the new one. A schema from a later clickmw is :class:`StoreTooNew` and stays untouched.
    """
    if is_current(connection):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        if not is_current(connection):  # another process may have been faster
            _apply(connection)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk has ended it already
            connection.execute("ROLLBACK")
        raise


def is_current(connection: sqlite3.Connection) -> bool:
    """Tell whether nothing is left to migrate; a later schema is :class:`StoreTooNew`."""
    later = too_new(connection)
    if later:
        raise later
    return _version(connection) == SCHEMA_VERSION


def _version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def too_new(connection: sqlite3.Connection) -> StoreTooNew | None:
    """Return what is said when a later clickmw has written the database; None when none has."""
    version = _version(connection)
    if version <= SCHEMA_VERSION:
        return None
    return StoreTooNew(
        f"the database was written by a later clickmw (schema {version}, this one knows "
        f"{SCHEMA_VERSION}). Upgrade clickmw; nothing was changed and events stay in the journal."
    )


def is_readable(connection: sqlite3.Connection) -> bool:
    """Tell whether a later clickmw says that ours can read what it has written."""
    if _version(connection) <= SCHEMA_VERSION:
        return _version(connection) == SCHEMA_VERSION
    try:
        row = connection.execute("SELECT value FROM meta WHERE key = 'readable_by'").fetchone()
    except sqlite3.Error:
        return False
    return row is not None and int(row[0]) <= SCHEMA_VERSION


def _apply(connection: sqlite3.Connection) -> None:
    # Imported here: 100 ms that no request should ever wait for.
    from sqlite_utils import Database, Migrations

    migrations = Migrations("clickmw")

    @migrations()
    def first_tables(database: Database) -> None:
        run_script(database.conn, TABLES_V1)
        run_script(database.conn, WORDS_V1)
        shapes = TABLES | {"day_host": DAY_HOST_V1, "cube": CUBE_V1}
        run_script(database.conn, "".join(_rollup_table(*item) for item in shapes.items()))
        run_script(database.conn, INDEXES_V1)

    @migrations()
    def senders(database: Database) -> None:
        run_script(database.conn, TABLES_V2 + _rollup_table("day_host", TABLES["day_host"]))
        run_script(database.conn, INDEXES_V2)
        hosts = database.conn.execute("SELECT DISTINCT host FROM day_host").fetchall()
        number_hosts(database.conn, [host for (host,) in hosts])

    @migrations()
    def facts(database: Database) -> None:
        run_script(database.conn, FACTS_V3 + totals.TABLES_V3)
        totals.sum_again(database.conn)
        settle_all(database.conn)

    @migrations()
    def often(database: Database) -> None:
        run_script(database.conn, totals.INDEXES_V4)

    @migrations()
    def shown(database: Database) -> None:
        run_script(database.conn, totals.INDEX_V5)

    @migrations()
    def viewed(database: Database) -> None:
        run_script(database.conn, INDEX_V6)

    migrations.apply(Database(connection))
    run_script(connection, VIEWS + WORDS_VIEWS + DAILY_CLICKS)
    connection.execute(SET_LINE, ("readable_by", str(READABLE_BY)))
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def run_script(connection: sqlite3.Connection, script: str) -> None:
    """Run each statement of *script* inside the open transaction (``executescript`` would end it)."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            connection.execute(statement)
            statement = ""
