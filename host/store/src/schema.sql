-- Schema 1. Integer ids inside, random public ids outside, times in ms since 1970, days in days since 1970.
--
-- Rows that come by the million (entry, entry_more, day, series) carry no foreign keys: each would cost a look-up a row, and what they
-- would guard is guarded before: the fence proves the connection, `ensure_metrics` the metric, and erasing goes through one place.

CREATE TABLE user (
  id            INTEGER PRIMARY KEY AUTOINCREMENT,
  name          TEXT NOT NULL UNIQUE,
  time_zone     TEXT NOT NULL,
  password_hash TEXT,
  owner         INTEGER NOT NULL DEFAULT 0,
  created_at    INTEGER NOT NULL
) STRICT;
-- There is one owner.
CREATE UNIQUE INDEX user_owner ON user (owner) WHERE owner = 1;

CREATE TABLE session (
  hash           BLOB PRIMARY KEY,
  user           INTEGER NOT NULL REFERENCES user (id) ON DELETE CASCADE,
  created_at     INTEGER NOT NULL,
  idle_until     INTEGER NOT NULL,
  absolute_until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX session_user ON session (user);
CREATE INDEX session_end ON session (absolute_until);

CREATE TABLE ticket (
  hash       BLOB PRIMARY KEY,
  kind       TEXT NOT NULL,
  user       INTEGER REFERENCES user (id) ON DELETE CASCADE,
  expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE flow (
  state_hash BLOB PRIMARY KEY,
  session    BLOB,
  user       INTEGER NOT NULL REFERENCES user (id) ON DELETE CASCADE,
  connector  TEXT NOT NULL,
  profile    TEXT NOT NULL,
  relink     INTEGER,
  sealed     BLOB NOT NULL,
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX flow_end ON flow (expires_at);

CREATE TABLE audit (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  at         INTEGER NOT NULL,
  user       INTEGER,
  kind       TEXT NOT NULL,
  connection INTEGER,
  detail     TEXT NOT NULL
) STRICT;

CREATE TABLE app (
  id            INTEGER PRIMARY KEY AUTOINCREMENT,
  connector     TEXT NOT NULL,
  registration  TEXT NOT NULL,
  state         TEXT NOT NULL DEFAULT 'open',
  reason        TEXT,
  blocked_until INTEGER,
  UNIQUE (connector, registration)
) STRICT;

CREATE TABLE misconfigured (
  app        INTEGER NOT NULL REFERENCES app (id) ON DELETE CASCADE,
  connection INTEGER NOT NULL REFERENCES connection (id) ON DELETE CASCADE,
  at         INTEGER NOT NULL,
  PRIMARY KEY (app, connection)
) STRICT, WITHOUT ROWID;
CREATE INDEX misconfigured_connection ON misconfigured (connection);

CREATE TABLE metric (
  id        INTEGER PRIMARY KEY AUTOINCREMENT,
  connector TEXT NOT NULL,
  name      TEXT NOT NULL,
  unit      TEXT NOT NULL,
  kind      TEXT NOT NULL,
  identity  TEXT NOT NULL,
  series    TEXT,
  UNIQUE (connector, name)
) STRICT;

CREATE TABLE connection (
  id           INTEGER PRIMARY KEY AUTOINCREMENT,
  public_id    TEXT NOT NULL UNIQUE,
  user         INTEGER NOT NULL REFERENCES user (id),
  app          INTEGER NOT NULL REFERENCES app (id),
  connector    TEXT NOT NULL,
  profile      TEXT NOT NULL,
  account      TEXT,
  label        TEXT NOT NULL,
  route_keys   TEXT NOT NULL,
  scopes       TEXT NOT NULL,
  settings     TEXT NOT NULL,
  state        TEXT NOT NULL DEFAULT 'ok',
  message      TEXT,
  url          TEXT,
  failure_code TEXT,
  epoch        INTEGER NOT NULL DEFAULT 1,
  -- The lease: incarnation << 32 | number, 0 when nobody runs it.
  owner        INTEGER NOT NULL DEFAULT 0,
  leased_at    INTEGER,
  -- The row of the run that is under way, once it has committed something.
  run          INTEGER,
  seq          INTEGER NOT NULL DEFAULT 0,
  last_data    INTEGER,
  last_check   INTEGER,
  linked_at    INTEGER NOT NULL,
  -- 1 while its data is being erased, slice by slice.
  erasing      INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX connection_account ON connection (app, account);
CREATE INDEX connection_user ON connection (user);
CREATE INDEX connection_connector ON connection (connector);
CREATE INDEX connection_state ON connection (state) WHERE state <> 'ok';
CREATE INDEX connection_owner ON connection (owner) WHERE owner <> 0;
CREATE INDEX connection_erasing ON connection (erasing) WHERE erasing <> 0;

-- The schedule. due is NULL while it runs and while it is paused, so that the index holds only what can come.
CREATE TABLE work (
  connection INTEGER NOT NULL REFERENCES connection (id) ON DELETE CASCADE,
  kind       TEXT NOT NULL,
  subject    INTEGER NOT NULL,
  app        INTEGER NOT NULL,
  user       INTEGER NOT NULL,
  due        INTEGER,
  priority   INTEGER NOT NULL DEFAULT 0,
  attempts   INTEGER NOT NULL DEFAULT 0,
  reason     TEXT NOT NULL,
  why        TEXT,
  PRIMARY KEY (connection, kind, subject)
) STRICT, WITHOUT ROWID;
CREATE INDEX work_due ON work (app, due, user) WHERE due IS NOT NULL;
CREATE INDEX work_urgent ON work (app, due, user) WHERE due IS NOT NULL AND priority > 0;

CREATE TABLE task (
  id             INTEGER PRIMARY KEY AUTOINCREMENT,
  connection     INTEGER NOT NULL REFERENCES connection (id) ON DELETE CASCADE,
  kind           TEXT NOT NULL,
  window_first   INTEGER,
  window_past    INTEGER,
  cursor         TEXT,
  cursor_version TEXT,
  last_complete  INTEGER,
  UNIQUE (connection, kind)
) STRICT;

CREATE TABLE state (
  connection INTEGER NOT NULL REFERENCES connection (id) ON DELETE CASCADE,
  key        TEXT NOT NULL,
  value      BLOB NOT NULL,
  PRIMARY KEY (connection, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE credential (
  connection INTEGER NOT NULL REFERENCES connection (id) ON DELETE CASCADE,
  name       TEXT NOT NULL,
  ciphertext BLOB NOT NULL,
  secret     INTEGER NOT NULL,
  guest      INTEGER NOT NULL,
  expires_at INTEGER,
  version    INTEGER NOT NULL,
  intent_at  INTEGER,
  PRIMARY KEY (connection, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE data_key (
  connection INTEGER PRIMARY KEY REFERENCES connection (id) ON DELETE CASCADE,
  key_id     TEXT NOT NULL,
  bytes      BLOB NOT NULL
) STRICT;

-- Grants to be taken back at a provider that did not answer yet. No reference to the connection: a row may outlive it.
CREATE TABLE revocation (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  connection INTEGER NOT NULL,
  app        INTEGER NOT NULL,
  connector  TEXT NOT NULL,
  profile    TEXT NOT NULL,
  account    TEXT,
  sealed     BLOB NOT NULL,
  created_at INTEGER NOT NULL,
  due        INTEGER NOT NULL,
  attempts   INTEGER NOT NULL
) STRICT;
CREATE INDEX revocation_due ON revocation (due);

-- connection is 0 where all of an app share the quota.
CREATE TABLE quota (
  app        INTEGER NOT NULL REFERENCES app (id) ON DELETE CASCADE,
  connection INTEGER NOT NULL,
  name       TEXT NOT NULL,
  used       INTEGER NOT NULL,
  remaining  INTEGER,
  reset_at   INTEGER NOT NULL,
  PRIMARY KEY (app, connection, name)
) STRICT, WITHOUT ROWID;

-- The hot row. start is the instant, or UTC midnight of a civil day (civil = 1). key is the id (by_id = 1) or the series; series is said
-- only where key does not say it. digest is of what lies in entry_more; 0 when nothing does.
CREATE TABLE entry (
  connection INTEGER NOT NULL,
  metric     INTEGER NOT NULL,
  start      INTEGER NOT NULL,
  key        TEXT NOT NULL,
  "end"      INTEGER,
  "offset"   INTEGER,
  civil      INTEGER NOT NULL,
  by_id      INTEGER NOT NULL,
  series     TEXT,
  day        INTEGER NOT NULL,
  value      REAL NOT NULL,
  digest     INTEGER NOT NULL,
  rank       INTEGER NOT NULL,
  revision   INTEGER NOT NULL,
  as_of      INTEGER NOT NULL,
  run        INTEGER NOT NULL,
  seq        INTEGER NOT NULL,
  gone       INTEGER NOT NULL,
  PRIMARY KEY (connection, metric, start, key)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX entry_id ON entry (connection, metric, key) WHERE by_id = 1;
CREATE INDEX entry_seq ON entry (connection, seq);

CREATE TABLE entry_more (
  connection INTEGER NOT NULL,
  metric     INTEGER NOT NULL,
  start      INTEGER NOT NULL,
  key        TEXT NOT NULL,
  detail     TEXT,
  samples    BLOB,
  PRIMARY KEY (connection, metric, start, key)
) STRICT, WITHOUT ROWID;

-- A metric without a dimension has one row here, with an empty key.
CREATE TABLE series (
  connection INTEGER NOT NULL,
  metric     INTEGER NOT NULL,
  key        TEXT NOT NULL,
  label      TEXT,
  count      INTEGER NOT NULL,
  first      INTEGER,
  last       INTEGER,
  PRIMARY KEY (connection, metric, key)
) STRICT, WITHOUT ROWID;

-- Counters of days, of metrics whose day may hold several entries. lo and hi bound the starts that ever counted for the day, so that a
-- stale row can be folded (or read) from a range of the primary key.
CREATE TABLE day (
  connection INTEGER NOT NULL,
  metric     INTEGER NOT NULL,
  key        TEXT NOT NULL,
  day        INTEGER NOT NULL,
  lo         INTEGER NOT NULL,
  hi         INTEGER NOT NULL,
  stale      INTEGER NOT NULL,
  n          INTEGER NOT NULL DEFAULT 0,
  sum        REAL NOT NULL DEFAULT 0,
  min        REAL NOT NULL DEFAULT 0,
  max        REAL NOT NULL DEFAULT 0,
  last       REAL NOT NULL DEFAULT 0,
  PRIMARY KEY (connection, metric, key, day)
) STRICT, WITHOUT ROWID;
CREATE INDEX day_stale ON day (connection, metric) WHERE stale = 1;

CREATE TABLE run (
  id            INTEGER PRIMARY KEY AUTOINCREMENT,
  connection    INTEGER NOT NULL REFERENCES connection (id) ON DELETE CASCADE,
  reason        TEXT NOT NULL,
  version       TEXT NOT NULL,
  started_at    INTEGER NOT NULL,
  ended_at      INTEGER,
  last_ended_at INTEGER,
  repeats       INTEGER NOT NULL DEFAULT 1,
  outcome       TEXT NOT NULL,
  code          TEXT,
  message       TEXT,
  inserted      INTEGER NOT NULL,
  updated       INTEGER NOT NULL,
  unchanged     INTEGER NOT NULL,
  deleted       INTEGER NOT NULL,
  older         INTEGER NOT NULL,
  requests      INTEGER NOT NULL,
  problems      INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX run_connection ON run (connection);

-- part 0 is the log of the row's first run, part 1 that of the latest which extended it.
CREATE TABLE run_log (
  run   INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE,
  part  INTEGER NOT NULL,
  n     INTEGER NOT NULL,
  at    INTEGER NOT NULL,
  level TEXT NOT NULL,
  text  TEXT NOT NULL,
  PRIMARY KEY (run, part, n)
) STRICT, WITHOUT ROWID;
-- Logs are removed by age.
CREATE INDEX run_log_at ON run_log (at);

CREATE TABLE host (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  started_at  INTEGER NOT NULL,
  alive_until INTEGER NOT NULL
) STRICT;

-- What people may query; a stable contract, described in the handbook.
CREATE VIEW v_entries (connector, account, metric, unit, series, series_label, id, start, "end", utc_offset, day, value, detail) AS
SELECT c.connector, c.label, m.name, m.unit,
       CASE WHEN e.by_id = 1 THEN e.series ELSE nullif(e.key, '') END,
       s.label,
       CASE WHEN e.by_id = 1 THEN e.key END,
       CASE WHEN e.civil = 0 THEN e.start END, e."end", e."offset",
       date(e.day * 86400, 'unixepoch'), e.value, x.detail
FROM entry e
JOIN connection c ON c.id = e.connection
JOIN metric m ON m.id = e.metric
LEFT JOIN series s ON s.connection = e.connection AND s.metric = e.metric
  AND s.key = CASE WHEN e.by_id = 1 THEN coalesce(e.series, '') ELSE e.key END
LEFT JOIN entry_more x ON x.connection = e.connection AND x.metric = e.metric AND x.start = e.start AND x.key = e.key
WHERE e.gone = 0 AND c.erasing = 0;

-- Inside: days as they are now. Folded rows are read as they are, stale ones from their entries, and metrics whose identity is the day have
-- no counters at all, since their one entry says everything. Three plain joins, so that SQLite pushes a query's conditions into each.
CREATE VIEW day_now (connection, user, connector, account, metric_id, metric, unit, kind, key, series_label, day, n, sum, min, max, last) AS
SELECT c.id, c.user, c.connector, c.label, m.id, m.name, m.unit, m.kind, d.key, s.label, d.day, d.n, d.sum, d.min, d.max, d.last
FROM connection c
JOIN metric m ON m.connector = c.connector
JOIN day d ON d.connection = c.id AND d.metric = m.id
LEFT JOIN series s ON s.connection = d.connection AND s.metric = d.metric AND s.key = d.key
WHERE c.erasing = 0 AND d.stale = 0
UNION ALL
SELECT c.id, c.user, c.connector, c.label, m.id, m.name, m.unit, m.kind, d.key, s.label, d.day,
  (SELECT count(*) FROM entry e WHERE e.connection = d.connection AND e.metric = d.metric AND e.start BETWEEN d.lo AND d.hi AND e.day = d.day
     AND e.gone = 0 AND CASE WHEN e.by_id = 1 THEN coalesce(e.series, '') ELSE e.key END = d.key),
  (SELECT sum(e.value) FROM entry e WHERE e.connection = d.connection AND e.metric = d.metric AND e.start BETWEEN d.lo AND d.hi AND e.day = d.day
     AND e.gone = 0 AND CASE WHEN e.by_id = 1 THEN coalesce(e.series, '') ELSE e.key END = d.key),
  (SELECT min(e.value) FROM entry e WHERE e.connection = d.connection AND e.metric = d.metric AND e.start BETWEEN d.lo AND d.hi AND e.day = d.day
     AND e.gone = 0 AND CASE WHEN e.by_id = 1 THEN coalesce(e.series, '') ELSE e.key END = d.key),
  (SELECT max(e.value) FROM entry e WHERE e.connection = d.connection AND e.metric = d.metric AND e.start BETWEEN d.lo AND d.hi AND e.day = d.day
     AND e.gone = 0 AND CASE WHEN e.by_id = 1 THEN coalesce(e.series, '') ELSE e.key END = d.key),
  (SELECT e.value FROM entry e WHERE e.connection = d.connection AND e.metric = d.metric AND e.start BETWEEN d.lo AND d.hi AND e.day = d.day
     AND e.gone = 0 AND CASE WHEN e.by_id = 1 THEN coalesce(e.series, '') ELSE e.key END = d.key
   ORDER BY e.start DESC, e.key DESC LIMIT 1)
FROM connection c
JOIN metric m ON m.connector = c.connector
JOIN day d ON d.connection = c.id AND d.metric = m.id
LEFT JOIN series s ON s.connection = d.connection AND s.metric = d.metric AND s.key = d.key
WHERE c.erasing = 0 AND d.stale = 1
UNION ALL
SELECT c.id, c.user, c.connector, c.label, m.id, m.name, m.unit, m.kind, e.key, s.label, e.day, 1, e.value, e.value, e.value, e.value
FROM connection c
JOIN metric m ON m.connector = c.connector
JOIN entry e ON e.connection = c.id AND e.metric = m.id
LEFT JOIN series s ON s.connection = e.connection AND s.metric = e.metric AND s.key = e.key
WHERE c.erasing = 0 AND m.identity = 'day' AND e.gone = 0;

CREATE VIEW v_daily (connector, account, metric, unit, kind, series, series_label, day, value, n, sum, min, max, last) AS
SELECT connector, account, metric, unit, kind, nullif(key, ''), series_label, date(day * 86400, 'unixepoch'),
       CASE kind WHEN 'sum' THEN sum WHEN 'last' THEN last WHEN 'mean' THEN sum / n WHEN 'max' THEN max ELSE CAST(n AS REAL) END,
       n, sum, min, max, last
FROM day_now
WHERE n > 0;
