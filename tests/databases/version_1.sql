-- A database of schema version 1 with a few events, as `sqlite3 clicks.db .dump` writes it.
BEGIN TRANSACTION;
CREATE TABLE "_sqlite_migrations" (
   "id" INTEGER PRIMARY KEY,
   "migration_set" TEXT,
   "name" TEXT,
   "applied_at" TEXT
);
INSERT INTO "_sqlite_migrations" VALUES(1,'clickmw','first_tables','2026-09-21 12:00:00.000000+00:00');
CREATE TABLE answer (
  
  id INTEGER PRIMARY KEY, event_id BLOB NOT NULL, received_ms INTEGER NOT NULL, day INTEGER NOT NULL,
  site INTEGER NOT NULL, query_id BLOB, visitor BLOB, session TEXT, device INTEGER NOT NULL,
  robot INTEGER NOT NULL, language INTEGER NOT NULL, profile INTEGER NOT NULL, source INTEGER NOT NULL,
  trust INTEGER NOT NULL, drop_reason INTEGER NOT NULL
, question TEXT NOT NULL, answer TEXT NOT NULL, is_question INTEGER
) STRICT;
INSERT INTO "answer" VALUES(1,X'01977420DC0000000000AA0000038400',1750000096000,20254,1,NULL,NULL,NULL,0,0,0,0,9,6,0,'why?','because',1);
CREATE TABLE click (
  id INTEGER PRIMARY KEY, event_id BLOB NOT NULL, received_ms INTEGER NOT NULL, day INTEGER NOT NULL,
  site INTEGER NOT NULL, query INTEGER, query_id BLOB, result INTEGER NOT NULL, position INTEGER,
  module INTEGER NOT NULL, source INTEGER NOT NULL, trust INTEGER NOT NULL, visitor BLOB, session TEXT,
  device INTEGER NOT NULL, robot INTEGER NOT NULL, referrer_host INTEGER NOT NULL,
  drop_reason INTEGER NOT NULL, kind INTEGER NOT NULL, language INTEGER NOT NULL,
  profile INTEGER NOT NULL, ad_id TEXT, user_activated INTEGER, dwell_s REAL, position_raw TEXT,
  view_id BLOB
) STRICT;
INSERT INTO "click" VALUES(1,X'01977420DC0000000000AA0000006400',1750000001000,20254,1,3,X'01977420DC00616263646566',2,1,3,8,6,X'ABABABABABABABAB',NULL,0,0,0,0,10,4,0,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "click" VALUES(2,X'01977420DC0000000000AA000000C800',1750000002000,20254,1,3,X'01977420DC00616263646566',2,1,3,8,6,X'ABABABABABABABAB',NULL,0,0,0,12,10,4,0,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "click" VALUES(3,X'01977420DC0000000000AA0000012C00',1750000003000,20254,1,3,X'01977420DC00616263646566',1,2,3,8,6,X'ABABABABABABABAB',NULL,0,0,0,0,10,4,0,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "click" VALUES(4,X'01977420DC0000000000AA0000025800',1750000080000,20254,1,NULL,X'019774221480616263646566',3,1,3,8,6,X'ABABABABABABABAB',NULL,0,0,0,0,10,0,0,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE conversion (
  
  id INTEGER PRIMARY KEY, event_id BLOB NOT NULL, received_ms INTEGER NOT NULL, day INTEGER NOT NULL,
  site INTEGER NOT NULL, query_id BLOB, visitor BLOB, session TEXT, device INTEGER NOT NULL,
  robot INTEGER NOT NULL, language INTEGER NOT NULL, profile INTEGER NOT NULL, source INTEGER NOT NULL,
  trust INTEGER NOT NULL, drop_reason INTEGER NOT NULL
, order_id TEXT NOT NULL, value REAL, currency TEXT NOT NULL, items TEXT NOT NULL,
  ad_id TEXT, url TEXT
) STRICT;
INSERT INTO "conversion" VALUES(1,X'01977420DC0000000000AA000003E800',1750000097000,20254,1,NULL,NULL,NULL,0,0,0,0,9,6,0,'A-1',9.5,'EUR','[]',NULL,NULL);
CREATE TABLE cube (site INTEGER NOT NULL, day INTEGER NOT NULL, module INTEGER NOT NULL, device INTEGER NOT NULL, language INTEGER NOT NULL, profile INTEGER NOT NULL, source INTEGER NOT NULL, trust INTEGER NOT NULL, robot INTEGER NOT NULL, searches INTEGER NOT NULL, searches_clicked INTEGER NOT NULL, searches_known INTEGER NOT NULL, searches_empty INTEGER NOT NULL, searches_answered_unclicked INTEGER NOT NULL, search_reciprocal INTEGER NOT NULL, clicks INTEGER NOT NULL, clicks_positioned INTEGER NOT NULL, position_sum INTEGER NOT NULL, click_reciprocal INTEGER NOT NULL, impressions INTEGER NOT NULL, PRIMARY KEY (site, day, module, device, language, profile, source, trust, robot)) STRICT, WITHOUT ROWID;
INSERT INTO "cube" VALUES(1,20254,0,0,0,0,5,6,1,1,0,1,1,0,0,0,0,0,0,0);
INSERT INTO "cube" VALUES(1,20254,0,0,4,0,5,6,0,1,1,1,0,0,1000000000,0,0,0,0,0);
INSERT INTO "cube" VALUES(1,20254,3,0,0,0,5,6,0,0,0,0,0,0,0,0,0,0,0,1);
INSERT INTO "cube" VALUES(1,20254,3,0,0,0,8,6,0,0,0,0,0,0,0,1,1,1,1000000000,0);
INSERT INTO "cube" VALUES(1,20254,3,0,4,0,5,6,0,0,0,0,0,0,0,0,0,0,0,2);
INSERT INTO "cube" VALUES(1,20254,3,0,4,0,8,6,0,0,0,0,0,0,0,2,2,3,1500000000,0);
CREATE TABLE cube_position (site INTEGER NOT NULL, day INTEGER NOT NULL, module INTEGER NOT NULL, device INTEGER NOT NULL, language INTEGER NOT NULL, profile INTEGER NOT NULL, source INTEGER NOT NULL, trust INTEGER NOT NULL, robot INTEGER NOT NULL, bucket INTEGER NOT NULL, impressions INTEGER NOT NULL, clicks INTEGER NOT NULL, PRIMARY KEY (site, day, module, device, language, profile, source, trust, robot, bucket)) STRICT, WITHOUT ROWID;
INSERT INTO "cube_position" VALUES(1,20254,3,0,0,0,5,6,0,0,1,0);
INSERT INTO "cube_position" VALUES(1,20254,3,0,0,0,8,6,0,0,0,1);
INSERT INTO "cube_position" VALUES(1,20254,3,0,4,0,5,6,0,0,1,0);
INSERT INTO "cube_position" VALUES(1,20254,3,0,4,0,5,6,0,1,1,0);
INSERT INTO "cube_position" VALUES(1,20254,3,0,4,0,8,6,0,0,0,1);
INSERT INTO "cube_position" VALUES(1,20254,3,0,4,0,8,6,0,1,0,1);
CREATE TABLE day_host (site INTEGER NOT NULL, day INTEGER NOT NULL, host INTEGER NOT NULL, clicks INTEGER NOT NULL, PRIMARY KEY (site, day, host)) STRICT, WITHOUT ROWID;
INSERT INTO "day_host" VALUES(1,20254,1,1);
INSERT INTO "day_host" VALUES(1,20254,2,2);
CREATE TABLE day_query (site INTEGER NOT NULL, day INTEGER NOT NULL, query INTEGER NOT NULL, searches INTEGER NOT NULL, searches_clicked INTEGER NOT NULL, searches_known INTEGER NOT NULL, searches_empty INTEGER NOT NULL, clicks INTEGER NOT NULL, clicks_positioned INTEGER NOT NULL, position_sum INTEGER NOT NULL, impressions INTEGER NOT NULL, PRIMARY KEY (site, day, query)) STRICT, WITHOUT ROWID;
INSERT INTO "day_query" VALUES(1,20254,3,1,1,1,0,2,2,3,3);
CREATE TABLE day_result (site INTEGER NOT NULL, day INTEGER NOT NULL, result INTEGER NOT NULL, clicks INTEGER NOT NULL, clicks_positioned INTEGER NOT NULL, position_sum INTEGER NOT NULL, impressions INTEGER NOT NULL, PRIMARY KEY (site, day, result)) STRICT, WITHOUT ROWID;
INSERT INTO "day_result" VALUES(1,20254,1,1,1,2,1);
INSERT INTO "day_result" VALUES(1,20254,2,1,1,1,2);
INSERT INTO "day_result" VALUES(1,20254,3,1,1,1,0);
CREATE TABLE ledger (name TEXT PRIMARY KEY, events INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO "ledger" VALUES('duplicates',1);
INSERT INTO "ledger" VALUES('last_event_ms',1750000097000);
INSERT INTO "ledger" VALUES('received',11);
INSERT INTO "ledger" VALUES('robots',1);
INSERT INTO "ledger" VALUES('stored',11);
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE quarter (site INTEGER NOT NULL, quarter INTEGER NOT NULL, searches INTEGER NOT NULL, searches_clicked INTEGER NOT NULL, searches_empty INTEGER NOT NULL, clicks INTEGER NOT NULL, impressions INTEGER NOT NULL, PRIMARY KEY (site, quarter)) STRICT, WITHOUT ROWID;
INSERT INTO "quarter" VALUES(1,1944444,1,1,0,3,3);
CREATE TABLE query (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE) STRICT;
INSERT INTO "query" VALUES(1,'');
INSERT INTO "query" VALUES(2,'no such thing');
INSERT INTO "query" VALUES(3,'tax form');
CREATE TABLE rating (
  id INTEGER PRIMARY KEY, event_id BLOB NOT NULL, received_ms INTEGER NOT NULL, day INTEGER NOT NULL,
  site INTEGER NOT NULL, query_id BLOB, visitor BLOB, session TEXT, device INTEGER NOT NULL,
  robot INTEGER NOT NULL, language INTEGER NOT NULL, profile INTEGER NOT NULL, source INTEGER NOT NULL,
  trust INTEGER NOT NULL, drop_reason INTEGER NOT NULL
, query INTEGER, score INTEGER, comment TEXT) STRICT;
INSERT INTO "rating" VALUES(1,X'01977420DC0000000000AA0000032000',1750000095000,20254,1,X'01977420DC00616263646566',X'ABABABABABABABAB',NULL,0,0,0,0,9,6,0,NULL,8,'good');
CREATE TABLE recent_search (
  site INTEGER NOT NULL, visitor BLOB NOT NULL, received_ms INTEGER NOT NULL, query_id BLOB NOT NULL,
  PRIMARY KEY (site, visitor, received_ms, query_id)
) STRICT, WITHOUT ROWID;
INSERT INTO "recent_search" VALUES(1,X'ABABABABABABABAB',1750000000000,X'01977420DC00616263646566');
INSERT INTO "recent_search" VALUES(1,X'ABABABABABABABAB',1750000060000,X'01977421C660616263646566');
CREATE TABLE result (
  id INTEGER PRIMARY KEY, url TEXT NOT NULL, doc_id TEXT NOT NULL, host INTEGER NOT NULL, title TEXT,
  UNIQUE (url, doc_id)
) STRICT;
INSERT INTO "result" VALUES(1,'/own','',1,NULL);
INSERT INTO "result" VALUES(2,'https://example.org/a','item',2,'A');
INSERT INTO "result" VALUES(3,'https://example.org/b','',2,NULL);
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
INSERT INTO "search" VALUES(X'01977420DC00616263646566',X'01977420DC0000000000AA0000000000',1750000000000,20254,1,3,5,0,4,0,0,7,5,6,X'ABABABABABABABAB',NULL,0,0,0,0,0,0,NULL,NULL,2,1,1,1,'[[2,1,3],[1,2,3]]');
INSERT INTO "search" VALUES(X'01977421C660616263646566',X'01977420DC0000000000AA0000019000',1750000060000,20254,1,3,5,0,0,0,0,7,5,6,X'ABABABABABABABAB',NULL,0,0,0,0,0,13,X'01977420DC00616263646566',NULL,0,NULL,0,NULL,'[[2,1,3]]');
INSERT INTO "search" VALUES(X'01977421ED70616263646566',X'01977420DC0000000000AA000001F400',1750000070000,20254,1,2,0,0,0,0,0,7,5,6,NULL,NULL,0,1,0,0,0,14,NULL,NULL,0,NULL,0,NULL,'[]');
CREATE TABLE segment (
  name TEXT PRIMARY KEY, taken INTEGER NOT NULL, running INTEGER NOT NULL, torn INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
INSERT INTO "segment" VALUES('1750000000000-00000000aa',1100,11,0);
CREATE TABLE site (id INTEGER PRIMARY KEY, handle TEXT NOT NULL UNIQUE, time_zone TEXT NOT NULL) STRICT;
INSERT INTO "site" VALUES(1,'default','UTC');
CREATE TABLE term (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE) STRICT;
INSERT INTO "term" VALUES(0,'');
INSERT INTO "term" VALUES(1,'default');
INSERT INTO "term" VALUES(2,'example.org');
INSERT INTO "term" VALUES(3,'BWEB');
INSERT INTO "term" VALUES(4,'en');
INSERT INTO "term" VALUES(5,'page');
INSERT INTO "term" VALUES(6,'signed');
INSERT INTO "term" VALUES(7,'search');
INSERT INTO "term" VALUES(8,'redirect');
INSERT INTO "term" VALUES(9,'beacon');
INSERT INTO "term" VALUES(10,'result');
INSERT INTO "term" VALUES(11,'click');
INSERT INTO "term" VALUES(12,'duplicate');
INSERT INTO "term" VALUES(13,'repeat');
INSERT INTO "term" VALUES(14,'robot');
CREATE TABLE uncounted (site INTEGER NOT NULL, day INTEGER NOT NULL, kind INTEGER NOT NULL, reason INTEGER NOT NULL, events INTEGER NOT NULL, PRIMARY KEY (site, day, kind, reason)) STRICT, WITHOUT ROWID;
INSERT INTO "uncounted" VALUES(1,20254,7,13,1);
INSERT INTO "uncounted" VALUES(1,20254,7,14,1);
INSERT INTO "uncounted" VALUES(1,20254,11,12,1);
CREATE TABLE waiting_view (
  query_id BLOB NOT NULL, event_id BLOB NOT NULL, body TEXT NOT NULL, PRIMARY KEY (query_id, event_id)
) STRICT, WITHOUT ROWID;
INSERT INTO "waiting_view" VALUES(X'019774223B90616263646566',X'01977420DC0000000000AA000002BC00','[1750000090000,"default","AZd0IjuQYWJjZGVm","AZd0IjuRYWJjZGVm","abababababababab","","","","beacon","signed"]');
CREATE UNIQUE INDEX "idx__sqlite_migrations_migration_set_name"
    ON "_sqlite_migrations" ("migration_set", "name");
CREATE INDEX search_belonging ON search (first_query_id) WHERE first_query_id IS NOT NULL;
CREATE INDEX click_key ON click (query_id, visitor);
CREATE INDEX click_unjoined ON click (query_id) WHERE query IS NULL AND query_id IS NOT NULL;
CREATE INDEX day_query_ranked ON day_query (site, day, query, searches, clicks);
CREATE INDEX day_result_clicked ON day_result (site, day, result, clicks) WHERE clicks > 0;
CREATE VIEW clicks AS
SELECT lower(hex(click.event_id)) AS event_id,
       strftime('%Y-%m-%dT%H:%M:%fZ', click.received_ms / 1000.0, 'unixepoch') AS received_at,
       date(click.day * 86400, 'unixepoch') AS day,
       site.handle AS site, query.text AS query, nullif(lower(hex(click.query_id)), '') AS query_id,
       result.url AS url, result.title AS title, result.doc_id AS doc_id, click.position AS position,
       module.text AS module_code, source.text AS source, trust.text AS trust,
       nullif(lower(hex(click.visitor)), '') AS visitor, click.session AS session, device.text AS device,
       referrer.text AS referrer_host, click.drop_reason = 0 AS counted,
       nullif(reason.text, '') AS drop_reason, kind.text AS kind, click.received_ms AS received_ms,
       language.text AS language, profile.text AS profile, click.ad_id AS ad_id,
       click.user_activated AS user_activated, click.dwell_s AS dwell_s,
       click.position_raw AS position_raw
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
  JOIN term AS profile ON profile.id = click.profile;
CREATE VIEW searches AS
SELECT lower(hex(search.query_id)) AS query_id,
       strftime('%Y-%m-%dT%H:%M:%fZ', search.received_ms / 1000.0, 'unixepoch') AS received_at,
       date(search.day * 86400, 'unixepoch') AS day,
       site.handle AS site, query.text AS query, search.total_hits AS total_hits,
       CASE WHEN search.offset > 0 THEN search.offset / 10 + 1 ELSE 1 END AS page,
       language.text AS language, profile.text AS profile, tag.text AS tag, kind.text AS kind,
       source.text AS source, nullif(lower(hex(search.visitor)), '') AS visitor, search.session AS session,
       search.drop_reason = 0 AS counted, nullif(reason.text, '') AS drop_reason,
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
CREATE VIEW impressions AS
SELECT lower(hex(search.query_id)) AS query_id, date(search.day * 86400, 'unixepoch') AS day,
       site.handle AS site, query.text AS query, result.url AS url, result.doc_id AS doc_id,
       json_extract(shown.value, '$[1]') AS position, module.text AS module_code,
       NULL AS seen_at, lower(hex(search.event_id)) AS event_id, 'result' AS kind, NULL AS label,
       source.text AS source,
       reason.text IN ('', 'page', 'repeat', 'typing') AS counted,
       CASE WHEN reason.text IN ('page', 'repeat', 'typing') THEN NULL
            ELSE nullif(reason.text, '') END AS drop_reason
  FROM search
  JOIN json_each(search.impressions) AS shown
  JOIN site ON site.id = search.site
  JOIN query ON query.id = search.query
  JOIN result ON result.id = json_extract(shown.value, '$[0]')
  JOIN term AS module ON module.id = json_extract(shown.value, '$[2]')
  JOIN term AS source ON source.id = search.source
  JOIN term AS reason ON reason.id = search.drop_reason;
CREATE VIEW feedback AS
SELECT lower(hex(said.event_id)) AS event_id,
       strftime('%Y-%m-%dT%H:%M:%fZ', said.received_ms / 1000.0, 'unixepoch') AS received_at,
       date(said.day * 86400, 'unixepoch') AS day, site.handle AS site, query.text AS query,
       nullif(lower(hex(said.query_id)), '') AS query_id,
       nullif(lower(hex(said.visitor)), '') AS visitor, said.session AS session,
       device.text AS device, language.text AS language, profile.text AS profile,
       source.text AS source, trust.text AS trust, said.drop_reason = 0 AS counted,
       nullif(reason.text, '') AS drop_reason, said.received_ms AS received_ms, said.score AS score, said.comment AS comment
  FROM rating AS said
  JOIN site ON site.id = said.site
  LEFT JOIN search ON search.query_id = said.query_id
  LEFT JOIN query ON query.id = coalesce(search.query, said.query)
  JOIN term AS device ON device.id = said.device
  JOIN term AS language ON language.id = said.language
  JOIN term AS profile ON profile.id = said.profile
  JOIN term AS source ON source.id = said.source
  JOIN term AS trust ON trust.id = said.trust
  JOIN term AS reason ON reason.id = said.drop_reason;
CREATE VIEW answers AS
SELECT lower(hex(said.event_id)) AS event_id,
       strftime('%Y-%m-%dT%H:%M:%fZ', said.received_ms / 1000.0, 'unixepoch') AS received_at,
       date(said.day * 86400, 'unixepoch') AS day, site.handle AS site, query.text AS query,
       nullif(lower(hex(said.query_id)), '') AS query_id,
       nullif(lower(hex(said.visitor)), '') AS visitor, said.session AS session,
       device.text AS device, language.text AS language, profile.text AS profile,
       source.text AS source, trust.text AS trust, said.drop_reason = 0 AS counted,
       nullif(reason.text, '') AS drop_reason, said.received_ms AS received_ms, said.question AS question, said.answer AS answer, said.is_question AS is_question
  FROM answer AS said
  JOIN site ON site.id = said.site
  LEFT JOIN search ON search.query_id = said.query_id
  LEFT JOIN query ON query.id = search.query
  JOIN term AS device ON device.id = said.device
  JOIN term AS language ON language.id = said.language
  JOIN term AS profile ON profile.id = said.profile
  JOIN term AS source ON source.id = said.source
  JOIN term AS trust ON trust.id = said.trust
  JOIN term AS reason ON reason.id = said.drop_reason;
CREATE VIEW conversions AS
SELECT lower(hex(said.event_id)) AS event_id,
       strftime('%Y-%m-%dT%H:%M:%fZ', said.received_ms / 1000.0, 'unixepoch') AS received_at,
       date(said.day * 86400, 'unixepoch') AS day, site.handle AS site, query.text AS query,
       nullif(lower(hex(said.query_id)), '') AS query_id,
       nullif(lower(hex(said.visitor)), '') AS visitor, said.session AS session,
       device.text AS device, language.text AS language, profile.text AS profile,
       source.text AS source, trust.text AS trust, said.drop_reason = 0 AS counted,
       nullif(reason.text, '') AS drop_reason, said.received_ms AS received_ms, said.order_id AS order_id, said.value AS value, said.currency AS currency, said.items AS items, said.ad_id AS ad_id, said.url AS url
  FROM conversion AS said
  JOIN site ON site.id = said.site
  LEFT JOIN search ON search.query_id = said.query_id
  LEFT JOIN query ON query.id = search.query
  JOIN term AS device ON device.id = said.device
  JOIN term AS language ON language.id = said.language
  JOIN term AS profile ON profile.id = said.profile
  JOIN term AS source ON source.id = said.source
  JOIN term AS trust ON trust.id = said.trust
  JOIN term AS reason ON reason.id = said.drop_reason;
CREATE VIEW daily_clicks AS
SELECT site.handle AS site, date(day_host.day * 86400, 'unixepoch') AS day, host.id AS advertiser_id,
       host.text AS advertiser_name, host.text AS advertiser_slug, day_host.clicks AS clicks
  FROM day_host JOIN site ON site.id = day_host.site JOIN term AS host ON host.id = day_host.host
 WHERE day_host.clicks > 0;
COMMIT;
