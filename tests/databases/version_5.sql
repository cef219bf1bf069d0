-- A database of schema version 5 with a few events, as `sqlite3 clicks.db .dump` writes it.
BEGIN TRANSACTION;
CREATE TABLE IF NOT EXISTS "_sqlite_migrations" (
   "id" INTEGER PRIMARY KEY,
   "migration_set" TEXT,
   "name" TEXT,
   "applied_at" TEXT
);
INSERT INTO _sqlite_migrations VALUES(1,'clickmw','first_tables','2026-11-01 12:00:00.000000+00:00');
INSERT INTO _sqlite_migrations VALUES(2,'clickmw','senders','2026-11-01 12:00:00.000000+00:00');
INSERT INTO _sqlite_migrations VALUES(3,'clickmw','facts','2026-11-22 02:00:48.401894+00:00');
INSERT INTO _sqlite_migrations VALUES(4,'clickmw','often','2026-11-22 05:54:26.130897+00:00');
INSERT INTO _sqlite_migrations VALUES(5,'clickmw','shown','2026-11-22 10:06:22.617604+00:00');
CREATE TABLE advertiser (
  site TEXT NOT NULL, id INTEGER NOT NULL, name TEXT NOT NULL, slug TEXT NOT NULL,
  network_id INTEGER, network_name TEXT, PRIMARY KEY (site, id)
) STRICT, WITHOUT ROWID;
CREATE TABLE advertiser_target (
  site TEXT NOT NULL, kind TEXT NOT NULL, target TEXT NOT NULL, advertiser INTEGER NOT NULL,
  PRIMARY KEY (site, kind, target)
) STRICT, WITHOUT ROWID;
CREATE TABLE answer (
  
  id INTEGER PRIMARY KEY, event_id BLOB NOT NULL, received_ms INTEGER NOT NULL, day INTEGER NOT NULL,
  site INTEGER NOT NULL, query_id BLOB, visitor BLOB, session TEXT, device INTEGER NOT NULL,
  robot INTEGER NOT NULL, language INTEGER NOT NULL, profile INTEGER NOT NULL, source INTEGER NOT NULL,
  trust INTEGER NOT NULL, drop_reason INTEGER NOT NULL
, question TEXT NOT NULL, answer TEXT NOT NULL, is_question INTEGER
) STRICT;
INSERT INTO answer VALUES(1,X'01977420dc0000000000aa000003e800',1750000009800,20254,1,NULL,NULL,NULL,0,0,0,0,10,7,0,'why?','because',1);
CREATE TABLE came_back (
  id INTEGER PRIMARY KEY, event_id BLOB NOT NULL, received_ms INTEGER NOT NULL, query_id BLOB NOT NULL,
  view_id BLOB, visitor BLOB, result INTEGER NOT NULL, position INTEGER, client_id BLOB,
  dwell_s REAL NOT NULL
) STRICT;
CREATE TABLE click (
  id INTEGER PRIMARY KEY, event_id BLOB NOT NULL, received_ms INTEGER NOT NULL, day INTEGER NOT NULL,
  site INTEGER NOT NULL, query INTEGER, query_id BLOB, result INTEGER NOT NULL, position INTEGER,
  module INTEGER NOT NULL, source INTEGER NOT NULL, trust INTEGER NOT NULL, visitor BLOB, session TEXT,
  device INTEGER NOT NULL, robot INTEGER NOT NULL, referrer_host INTEGER NOT NULL,
  drop_reason INTEGER NOT NULL, kind INTEGER NOT NULL, language INTEGER NOT NULL,
  profile INTEGER NOT NULL, ad_id TEXT, user_activated INTEGER, dwell_s REAL, position_raw TEXT,
  view_id BLOB
, dedupe_key BLOB, doc_id TEXT, told INTEGER NOT NULL DEFAULT 0, by_digest INTEGER NOT NULL DEFAULT 0, tag INTEGER NOT NULL DEFAULT 0) STRICT;
INSERT INTO click VALUES(1,X'01977420dc0000000000aa0000006400',1750000005000,20254,1,2,X'01977420dc00616263646566',3,1,2,9,7,X'abababababababab',NULL,4,0,0,0,19,5,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,0,0);
INSERT INTO click VALUES(2,X'01977420dc0000000000aa000000c800',1750000006000,20254,1,2,X'01977420dc00616263646566',3,1,2,9,7,X'abababababababab',NULL,4,0,0,21,19,5,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,0,0);
CREATE TABLE conversion (
  
  id INTEGER PRIMARY KEY, event_id BLOB NOT NULL, received_ms INTEGER NOT NULL, day INTEGER NOT NULL,
  site INTEGER NOT NULL, query_id BLOB, visitor BLOB, session TEXT, device INTEGER NOT NULL,
  robot INTEGER NOT NULL, language INTEGER NOT NULL, profile INTEGER NOT NULL, source INTEGER NOT NULL,
  trust INTEGER NOT NULL, drop_reason INTEGER NOT NULL
, order_id TEXT NOT NULL, value REAL, currency TEXT NOT NULL, items TEXT NOT NULL,
  ad_id TEXT, url TEXT
, dedupe_key BLOB) STRICT;
INSERT INTO conversion VALUES(1,X'01977420dc0000000000aa0000044c00',1750000009900,20254,1,NULL,NULL,NULL,0,0,0,0,10,7,0,'order-1',12.5,'EUR','',NULL,NULL,NULL);
CREATE TABLE cube (site INTEGER NOT NULL, day INTEGER NOT NULL, module INTEGER NOT NULL, device INTEGER NOT NULL, language INTEGER NOT NULL, profile INTEGER NOT NULL, source INTEGER NOT NULL, trust INTEGER NOT NULL, robot INTEGER NOT NULL, searches INTEGER NOT NULL, searches_clicked INTEGER NOT NULL, searches_known INTEGER NOT NULL, searches_empty INTEGER NOT NULL, searches_answered_unclicked INTEGER NOT NULL, search_reciprocal INTEGER NOT NULL, clicks INTEGER NOT NULL, clicks_positioned INTEGER NOT NULL, position_sum INTEGER NOT NULL, click_reciprocal INTEGER NOT NULL, impressions INTEGER NOT NULL, ratings INTEGER NOT NULL DEFAULT 0, score_sum INTEGER NOT NULL DEFAULT 0, score_square_sum INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (site, day, module, device, language, profile, source, trust, robot)) STRICT, WITHOUT ROWID;
INSERT INTO cube VALUES(1,20254,0,0,0,0,6,7,0,1,0,1,1,0,0,0,0,0,0,0,0,0,0);
INSERT INTO cube VALUES(1,20254,0,0,0,0,10,13,0,0,0,0,0,0,0,0,0,0,0,0,1,6,36);
INSERT INTO cube VALUES(1,20254,0,0,0,0,11,12,1,0,0,0,0,0,0,0,0,0,0,0,1,10,100);
INSERT INTO cube VALUES(1,20254,0,4,0,0,10,7,0,0,0,0,0,0,0,0,0,0,0,0,2,11,73);
INSERT INTO cube VALUES(1,20254,0,4,5,0,6,7,0,1,1,1,0,0,1000000000,0,0,0,0,0,0,0,0);
INSERT INTO cube VALUES(1,20254,2,4,5,0,6,7,0,0,0,0,0,0,0,0,0,0,0,1,0,0,0);
INSERT INTO cube VALUES(1,20254,2,4,5,0,9,7,0,0,0,0,0,0,0,1,1,1,1000000000,0,0,0,0);
INSERT INTO cube VALUES(1,20254,3,4,5,0,6,7,0,0,0,0,0,0,0,0,0,0,0,1,0,0,0);
INSERT INTO cube VALUES(1,20254,14,0,0,0,0,12,0,0,0,0,0,0,0,0,0,0,0,1,0,0,0);
CREATE TABLE cube_position (site INTEGER NOT NULL, day INTEGER NOT NULL, module INTEGER NOT NULL, device INTEGER NOT NULL, language INTEGER NOT NULL, profile INTEGER NOT NULL, source INTEGER NOT NULL, trust INTEGER NOT NULL, robot INTEGER NOT NULL, bucket INTEGER NOT NULL, impressions INTEGER NOT NULL, clicks INTEGER NOT NULL, PRIMARY KEY (site, day, module, device, language, profile, source, trust, robot, bucket)) STRICT, WITHOUT ROWID;
INSERT INTO cube_position VALUES(1,20254,2,4,5,0,6,7,0,0,1,0);
INSERT INTO cube_position VALUES(1,20254,2,4,5,0,9,7,0,0,0,1);
INSERT INTO cube_position VALUES(1,20254,3,4,5,0,6,7,0,1,1,0);
INSERT INTO cube_position VALUES(1,20254,14,0,0,0,0,12,0,0,1,0);
CREATE TABLE day_host (site INTEGER NOT NULL, day INTEGER NOT NULL, host INTEGER NOT NULL, ad INTEGER NOT NULL, clicks INTEGER NOT NULL, PRIMARY KEY (site, day, host, ad)) STRICT, WITHOUT ROWID;
INSERT INTO day_host VALUES(1,20254,1,0,1);
CREATE TABLE day_query (site INTEGER NOT NULL, day INTEGER NOT NULL, query INTEGER NOT NULL, searches INTEGER NOT NULL, searches_clicked INTEGER NOT NULL, searches_known INTEGER NOT NULL, searches_empty INTEGER NOT NULL, clicks INTEGER NOT NULL, clicks_positioned INTEGER NOT NULL, position_sum INTEGER NOT NULL, impressions INTEGER NOT NULL, PRIMARY KEY (site, day, query)) STRICT, WITHOUT ROWID;
INSERT INTO day_query VALUES(1,20254,1,1,0,1,1,0,0,0,0);
INSERT INTO day_query VALUES(1,20254,2,1,1,1,0,1,1,1,2);
CREATE TABLE day_result (site INTEGER NOT NULL, day INTEGER NOT NULL, result INTEGER NOT NULL, clicks INTEGER NOT NULL, clicks_positioned INTEGER NOT NULL, position_sum INTEGER NOT NULL, impressions INTEGER NOT NULL, PRIMARY KEY (site, day, result)) STRICT, WITHOUT ROWID;
INSERT INTO day_result VALUES(1,20254,1,0,0,0,1);
INSERT INTO day_result VALUES(1,20254,2,0,0,0,1);
INSERT INTO day_result VALUES(1,20254,3,1,1,1,1);
CREATE TABLE impression (
  
  id INTEGER PRIMARY KEY, event_id BLOB NOT NULL, received_ms INTEGER NOT NULL, day INTEGER NOT NULL,
  site INTEGER NOT NULL, query_id BLOB, visitor BLOB, session TEXT, device INTEGER NOT NULL,
  robot INTEGER NOT NULL, language INTEGER NOT NULL, profile INTEGER NOT NULL, source INTEGER NOT NULL,
  trust INTEGER NOT NULL, drop_reason INTEGER NOT NULL
, kind INTEGER NOT NULL, result INTEGER NOT NULL, label TEXT, position INTEGER NOT NULL,
  module INTEGER NOT NULL, query INTEGER, ad_id TEXT, doc_id TEXT, dedupe_key BLOB,
  tag INTEGER NOT NULL
) STRICT;
INSERT INTO impression VALUES(1,X'01977420dc0000000000aa000004b000',1750000009950,20254,1,NULL,NULL,NULL,0,0,0,0,0,12,0,15,1,NULL,1,14,NULL,'ad-1',NULL,NULL,0);
CREATE TABLE ledger (name TEXT PRIMARY KEY, events INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO ledger VALUES('duplicates',1);
INSERT INTO ledger VALUES('last_event_ms',1750000009950);
INSERT INTO ledger VALUES('received',13);
INSERT INTO ledger VALUES('robots',1);
INSERT INTO ledger VALUES('stored',13);
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO meta VALUES('readable_by','3');
CREATE TABLE own_advertiser (host INTEGER PRIMARY KEY, number INTEGER NOT NULL) STRICT;
INSERT INTO own_advertiser VALUES(1,195183347301338);
CREATE TABLE quarter (site INTEGER NOT NULL, quarter INTEGER NOT NULL, searches INTEGER NOT NULL, searches_clicked INTEGER NOT NULL, searches_empty INTEGER NOT NULL, clicks INTEGER NOT NULL, impressions INTEGER NOT NULL, PRIMARY KEY (site, quarter)) STRICT, WITHOUT ROWID;
INSERT INTO quarter VALUES(1,1944444,2,1,1,1,3);
CREATE TABLE query (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE) STRICT;
INSERT INTO "query" VALUES(1,'empty');
INSERT INTO "query" VALUES(2,'tax');
CREATE TABLE rating (
  id INTEGER PRIMARY KEY, event_id BLOB NOT NULL, received_ms INTEGER NOT NULL, day INTEGER NOT NULL,
  site INTEGER NOT NULL, query_id BLOB, visitor BLOB, session TEXT, device INTEGER NOT NULL,
  robot INTEGER NOT NULL, language INTEGER NOT NULL, profile INTEGER NOT NULL, source INTEGER NOT NULL,
  trust INTEGER NOT NULL, drop_reason INTEGER NOT NULL
, query INTEGER, score INTEGER, comment TEXT) STRICT;
INSERT INTO rating VALUES(1,X'01977420dc0000000000aa0000019000',1750000007000,20254,1,X'01977420dc00616263646566',X'abababababababab',NULL,4,0,0,0,10,7,0,NULL,8,'good');
INSERT INTO rating VALUES(2,X'01977420dc0000000000aa000001f400',1750000008000,20254,1,X'01977420dc00616263646566',X'abababababababab',NULL,4,0,0,0,10,7,0,NULL,3,NULL);
INSERT INTO rating VALUES(3,X'01977420dc0000000000aa0000025800',1750000009000,20254,1,X'01977420dc00616263646566',X'abababababababab',NULL,4,0,0,0,10,7,0,NULL,NULL,'only words');
INSERT INTO rating VALUES(4,X'01977420dc0000000000aa000002bc00',1750000009500,20254,1,NULL,NULL,NULL,0,1,0,0,11,12,17,2,10,NULL);
INSERT INTO rating VALUES(5,X'01977420dc0000000000aa0000032000',1750000009600,20254,1,X'01977420dc00616263646566',NULL,NULL,0,0,0,0,10,13,18,NULL,1,NULL);
INSERT INTO rating VALUES(6,X'01977420dc0000000000aa0000038400',1750000009700,20254,1,X'01977420dc00616263646567',X'abababababababab',NULL,0,0,0,0,10,13,0,NULL,6,NULL);
CREATE TABLE recent_search (
  site INTEGER NOT NULL, visitor BLOB NOT NULL, received_ms INTEGER NOT NULL, query_id BLOB NOT NULL,
  PRIMARY KEY (site, visitor, received_ms, query_id)
) STRICT, WITHOUT ROWID;
INSERT INTO recent_search VALUES(1,X'abababababababab',1750000000000,X'01977420dc00616263646566');
INSERT INTO recent_search VALUES(1,X'cdcdcdcdcdcdcdcd',1750000001000,X'01977420dc00616263646568');
CREATE TABLE result (
  id INTEGER PRIMARY KEY, url TEXT NOT NULL, doc_id TEXT NOT NULL, host INTEGER NOT NULL, title TEXT,
  UNIQUE (url, doc_id)
) STRICT;
INSERT INTO result VALUES(1,'/ad','',0,NULL);
INSERT INTO result VALUES(2,'/b','',0,NULL);
INSERT INTO result VALUES(3,'https://example.org/a','',1,'A');
CREATE TABLE search (
  query_id BLOB PRIMARY KEY, event_id BLOB NOT NULL, received_ms INTEGER NOT NULL, day INTEGER NOT NULL,
  site INTEGER NOT NULL, query INTEGER NOT NULL, total_hits INTEGER, offset INTEGER NOT NULL,
  language INTEGER NOT NULL, profile INTEGER NOT NULL, tag INTEGER NOT NULL, kind INTEGER NOT NULL,
  source INTEGER NOT NULL, trust INTEGER NOT NULL, visitor BLOB, session TEXT, device INTEGER NOT NULL,
  robot INTEGER NOT NULL, shared INTEGER NOT NULL, prefetched INTEGER NOT NULL, activated INTEGER NOT NULL,
  drop_reason INTEGER NOT NULL, first_query_id BLOB,
  viewed BLOB, own_clicks INTEGER NOT NULL, own_best INTEGER, clicked INTEGER NOT NULL, best_position INTEGER,
  impressions TEXT NOT NULL
, told INTEGER NOT NULL DEFAULT 0, seen TEXT) STRICT, WITHOUT ROWID;
INSERT INTO search VALUES(X'01977420dc00616263646566',X'01977420dc0000000000aa0000000000',1750000000000,20254,1,2,7,0,5,0,0,8,6,7,X'abababababababab',NULL,4,0,0,0,0,0,NULL,NULL,1,1,1,1,'[[3,1,2],[2,2,3]]',0,NULL);
INSERT INTO search VALUES(X'01977420dc00616263646568',X'01977420dc0000000000aa0000012c00',1750000001000,20254,1,1,0,0,0,0,0,8,6,7,X'cdcdcdcdcdcdcdcd',NULL,0,0,0,0,0,0,NULL,NULL,0,NULL,0,NULL,'[]',0,NULL);
CREATE TABLE segment (
  name TEXT PRIMARY KEY, taken INTEGER NOT NULL, running INTEGER NOT NULL, torn INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
INSERT INTO segment VALUES('1750000000000-00000000aa',1300,13,0);
CREATE TABLE sent_id (
  client_id BLOB NOT NULL, kind TEXT NOT NULL, site INTEGER NOT NULL, received_ms INTEGER NOT NULL,
  event_id BLOB NOT NULL, last_ms INTEGER NOT NULL, place ANY NOT NULL,
  PRIMARY KEY (client_id, kind, site, received_ms, event_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE shown_through (site INTEGER PRIMARY KEY, day INTEGER NOT NULL) STRICT;
INSERT INTO shown_through VALUES(1,20253);
CREATE TABLE site (id INTEGER PRIMARY KEY, handle TEXT NOT NULL UNIQUE, time_zone TEXT NOT NULL) STRICT;
INSERT INTO site VALUES(1,'default','UTC');
CREATE TABLE term (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE) STRICT;
INSERT INTO term VALUES(0,'');
INSERT INTO term VALUES(1,'example.org');
INSERT INTO term VALUES(2,'BWEB');
INSERT INTO term VALUES(3,'BOOS');
INSERT INTO term VALUES(4,'mobile');
INSERT INTO term VALUES(5,'en');
INSERT INTO term VALUES(6,'page');
INSERT INTO term VALUES(7,'signed');
INSERT INTO term VALUES(8,'search');
INSERT INTO term VALUES(9,'redirect');
INSERT INTO term VALUES(10,'beacon');
INSERT INTO term VALUES(11,'searchgov');
INSERT INTO term VALUES(12,'keyed');
INSERT INTO term VALUES(13,'anonymous');
INSERT INTO term VALUES(14,'ADS');
INSERT INTO term VALUES(15,'ad_impression');
INSERT INTO term VALUES(16,'rating');
INSERT INTO term VALUES(17,'robot');
INSERT INTO term VALUES(18,'trust');
INSERT INTO term VALUES(19,'result');
INSERT INTO term VALUES(20,'click');
INSERT INTO term VALUES(21,'duplicate');
CREATE TABLE total_query (
  site INTEGER NOT NULL, query INTEGER NOT NULL, searches INTEGER NOT NULL, searches_empty INTEGER NOT NULL,
  clicks INTEGER NOT NULL, PRIMARY KEY (site, query)
) STRICT, WITHOUT ROWID;
INSERT INTO total_query VALUES(1,1,1,1,0);
INSERT INTO total_query VALUES(1,2,1,0,1);
CREATE TABLE total_result (
  site INTEGER NOT NULL, result INTEGER NOT NULL, clicks INTEGER NOT NULL, impressions INTEGER NOT NULL,
  PRIMARY KEY (site, result)
) STRICT, WITHOUT ROWID;
INSERT INTO total_result VALUES(1,3,1,0);
CREATE TABLE uncounted (site INTEGER NOT NULL, day INTEGER NOT NULL, kind INTEGER NOT NULL, reason INTEGER NOT NULL, events INTEGER NOT NULL, PRIMARY KEY (site, day, kind, reason)) STRICT, WITHOUT ROWID;
INSERT INTO uncounted VALUES(1,20254,16,17,1);
INSERT INTO uncounted VALUES(1,20254,16,18,1);
INSERT INTO uncounted VALUES(1,20254,20,21,1);
CREATE TABLE url_digest (digest BLOB PRIMARY KEY, result INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE waiting_view (
  query_id BLOB NOT NULL, event_id BLOB NOT NULL, body TEXT NOT NULL, PRIMARY KEY (query_id, event_id)
) STRICT, WITHOUT ROWID;
INSERT INTO waiting_view VALUES(X'01977420dc00616263646567',X'01977420dc0000000000aa0000038400','["rating", 6, "abababababababab", 1]');
CREATE UNIQUE INDEX "idx__sqlite_migrations_migration_set_name"
    ON "_sqlite_migrations" ("migration_set", "name");
CREATE INDEX search_belonging ON search (first_query_id) WHERE first_query_id IS NOT NULL;
CREATE INDEX click_unjoined ON click (query_id) WHERE query IS NULL AND query_id IS NOT NULL;
CREATE INDEX came_back_to ON came_back (query_id);
CREATE INDEX click_key ON click (query_id, visitor, drop_reason, received_ms);
CREATE INDEX click_repeat ON click (dedupe_key, drop_reason, received_ms) WHERE dedupe_key IS NOT NULL;
CREATE INDEX click_told ON click (visitor, query, source, site, received_ms) WHERE told;
CREATE INDEX click_by_digest ON click (result) WHERE by_digest;
CREATE INDEX click_alone ON click (query, day, site) WHERE query_id IS NULL;
CREATE INDEX search_told ON search (visitor, query, source, site, received_ms) WHERE told;
CREATE INDEX conversion_repeat ON conversion (dedupe_key, drop_reason, received_ms)
 WHERE dedupe_key IS NOT NULL;
CREATE INDEX impression_repeat ON impression (dedupe_key, kind, drop_reason, received_ms)
 WHERE dedupe_key IS NOT NULL;
CREATE INDEX search_facts ON search (
  site, day, visitor, received_ms, query, device, language, profile, source, trust, robot, drop_reason,
  clicked, total_hits, best_position
);
CREATE INDEX click_facts ON click (
  site, day, result, module, position, query, device, language, profile, source, trust, robot,
  drop_reason, kind, received_ms
);
CREATE INDEX search_by_query ON search (
  query, day, site, device, language, profile, source, trust, robot, drop_reason, clicked, total_hits,
  best_position
);
CREATE INDEX click_by_query ON click (
  query, day, site, result, module, position, device, language, profile, source, trust, robot,
  drop_reason, kind
);
CREATE INDEX rating_facts ON rating (site, day);
CREATE INDEX rating_of_search ON rating (query_id, score) WHERE query_id IS NOT NULL;
CREATE INDEX answer_of_search ON answer (query_id) WHERE query_id IS NOT NULL;
CREATE INDEX days_of_query ON day_query (
  query, site, day, searches, searches_clicked, searches_known, searches_empty, clicks,
  clicks_positioned, position_sum, impressions
);
CREATE INDEX days_of_result ON day_result (result, site, day, clicks) WHERE clicks > 0;
CREATE INDEX total_query_often ON total_query (
  site, searches + clicks, query, searches, clicks, searches_empty
) WHERE searches + clicks >= 4;
CREATE INDEX total_query_empty ON total_query (site, query) WHERE searches_empty > 0;
CREATE INDEX total_result_shown ON total_result (site, impressions);
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
CREATE VIEW feedback AS
SELECT lower(hex(said.event_id)) AS event_id,
       strftime('%Y-%m-%dT%H:%M:%fZ', said.received_ms / 1000.0, 'unixepoch') AS received_at,
       date(said.day * 86400, 'unixepoch') AS day, site.handle AS site, query.text AS query,
       nullif(lower(hex(said.query_id)), '') AS query_id,
       nullif(lower(hex(said.visitor)), '') AS visitor, said.session AS session,
       device.text AS device, language.text AS language, profile.text AS profile,
       source.text AS source, trust.text AS trust, iif(said.drop_reason = 0, 1, 0) AS counted,
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
       source.text AS source, trust.text AS trust, iif(said.drop_reason = 0, 1, 0) AS counted,
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
       source.text AS source, trust.text AS trust, iif(said.drop_reason = 0, 1, 0) AS counted,
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
SELECT site.handle AS site, date(day_host.day * 86400, 'unixepoch') AS day, 
       coalesce(advertiser.id, own_advertiser.number) AS advertiser_id,
       coalesce(advertiser.name, host.text) AS advertiser_name,
       coalesce(advertiser.slug, host.text) AS advertiser_slug
,
       sum(day_host.clicks) AS clicks,
       advertiser.network_id AS network_id, advertiser.network_name AS network_name

  FROM day_host
  JOIN site ON site.id = day_host.site
  JOIN term AS host ON host.id = day_host.host
  JOIN term AS ad ON ad.id = day_host.ad
  JOIN own_advertiser ON own_advertiser.host = day_host.host
  LEFT JOIN advertiser_target AS by_ad
    ON by_ad.site = site.handle AND by_ad.kind = 'ad' AND by_ad.target = ad.text
  LEFT JOIN advertiser_target AS by_host
    ON by_host.site = site.handle AND by_host.kind = 'host' AND by_host.target = host.text
  LEFT JOIN advertiser
    ON advertiser.site = site.handle
   AND advertiser.id = coalesce(by_ad.advertiser, by_host.advertiser)
 WHERE day_host.clicks > 0

 GROUP BY site.handle, day_host.day, 3, 4, 5, advertiser.network_id, advertiser.network_name;
COMMIT;
