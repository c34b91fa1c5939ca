-- Version 2: who was told what.

-- A report of what was new (`report --new`): the next one for the same reader begins after its last verdict.
CREATE TABLE reports (
  id            INTEGER PRIMARY KEY,
  at_ms         INTEGER NOT NULL,
  reader        TEXT NOT NULL,            -- JSON: for whom, and by which filters; each reader has a mark of its own
  last_verdict  INTEGER NOT NULL,         -- verdicts up to this id were in it, or in one before it
  rows          INTEGER NOT NULL
);
CREATE INDEX reports_by_reader ON reports (reader, id);

-- A report that showed subjects and ids in full: written before the report left.
CREATE TABLE disclosures (
  id       INTEGER PRIMARY KEY,
  at_ms    INTEGER NOT NULL,
  report   TEXT NOT NULL,                 -- JSON: for whom, by which filters, in which format, where to
  rows     INTEGER NOT NULL,
  purpose  TEXT,                          -- as it was stated; NULL when none was asked for
  who      TEXT NOT NULL                  -- the user, as the operating system names it
);

-- Whom an entry was about, once its personal fields are gone: without the subject no pseudonym can be made any more.
CREATE TABLE pseudonyms (
  entry_id   INTEGER PRIMARY KEY,
  pseudonym  TEXT NOT NULL
);
CREATE INDEX pseudonyms_by_name ON pseudonyms (pseudonym);

CREATE TRIGGER reports_kept BEFORE UPDATE ON reports BEGIN SELECT RAISE(ABORT, 'reports are append-only'); END;
CREATE TRIGGER reports_not_deleted BEFORE DELETE ON reports BEGIN SELECT RAISE(ABORT, 'reports are append-only'); END;
CREATE TRIGGER disclosures_kept BEFORE UPDATE ON disclosures BEGIN SELECT RAISE(ABORT, 'disclosures are append-only'); END;
CREATE TRIGGER disclosures_not_deleted BEFORE DELETE ON disclosures BEGIN SELECT RAISE(ABORT, 'disclosures are append-only'); END;
