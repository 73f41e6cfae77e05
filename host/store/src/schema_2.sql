-- Schema 2: what an operator accepted, by the hash of the bytes.
--
-- One row for each version of a connector that was ever looked at and not forgotten. Storage goes by the instance's name, so that is the key here
-- too; the bytes themselves lie in the data folder, in a file called by their hash.

CREATE TABLE approval (
  name       TEXT NOT NULL,
  hash       TEXT NOT NULL,
  state      TEXT NOT NULL CHECK (state IN ('pending', 'approved', 'refused', 'superseded')),
  version    TEXT NOT NULL,
  authority  TEXT NOT NULL,
  decided_by TEXT,
  reason     TEXT,
  seen_at    INTEGER NOT NULL,
  decided_at INTEGER,
  on_trial   INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (name, hash)
) STRICT, WITHOUT ROWID;
-- There is one that serves.
CREATE UNIQUE INDEX approval_serves ON approval (name) WHERE state = 'approved';
