-- The ledger of privo-reconcile, version 1.
--
-- Run this file with `sqlite3 ledger.db < schema.sql`, or let `privo-reconcile init` do it: the same ledger comes of both.
--
-- A writer, in any language, inserts into `entries` and into nothing else. Every other table is the job's; they are
-- described here so that an auditor can read them. Times in the job's own tables are milliseconds of UTC since 1970.

-- Writers and the job work at once: readers never block writers, and one writer waits for the other (set a busy
-- timeout of some seconds). The mode is kept in the file. A transaction that reads before it writes begins with BEGIN
-- IMMEDIATE, or it fails at once when another one wrote in between, whatever the timeout.
PRAGMA journal_mode = WAL;

BEGIN IMMEDIATE;

-- One row: what makes this file this ledger.
CREATE TABLE ledger (
  only         INTEGER PRIMARY KEY CHECK (only = 1),
  identity     TEXT NOT NULL,              -- names the ledger in reports; random
  salt         BLOB NOT NULL,              -- keys are stored as digests under this salt
  server       TEXT,                       -- whose it is: scheme, host and port, since the first completed look; no other one's
  fingerprint  TEXT,                       -- under which plan and server the rows were read that are read
  sealed       TEXT,                       -- keys of what had been done by then (milliseconds) may be gone
  erasing      INTEGER NOT NULL DEFAULT 0, -- 1 inside the transaction that removes personal fields, else 0
  schema_seen  TEXT,                       -- under which schema every row of `entries` was found to have one in `state`
  rows_seen    INTEGER NOT NULL DEFAULT 0, -- up to which id of `entries`
  reread       INTEGER,                    -- up to this id entries are still to be marked as unread; NULL: none is
  repeated     INTEGER                     -- the entry whose request_id was inserted again last; how INSERT OR REPLACE is found out
);
INSERT INTO ledger (only, identity, salt) VALUES (1, lower(hex(randomblob(8))), randomblob(32));

-- One attempt of a request whose outcome its sender does not know, or (`answered`) what another attempt was told.
-- No CHECK stands on what a writer says: a row that cannot be read is settled as `bad-row`, so that nothing is lost.
CREATE TABLE entries (
  id            INTEGER PRIMARY KEY AUTOINCREMENT,            -- the order of arrival, never used twice; leave it out
  request_id    TEXT NOT NULL UNIQUE ON CONFLICT IGNORE,      -- the writer's id of this attempt; inserting it again changes nothing
  operation_id  TEXT,                                         -- what the retries of one operation share; absent: the request's own id
  direction     TEXT DEFAULT 'outbound',                      -- or inbound, for a PRIVO webhook
  method        TEXT NOT NULL,
  url           TEXT NOT NULL,                                -- as sent, absolute; inbound: the partner's own path
  body          TEXT,                                         -- the JSON that was sent or received, or just the fields that the plan reads
  sent_at       TEXT NOT NULL,                                -- RFC 3339 with an offset
  ended_at      TEXT,                                         -- when the sender gave up; absent: sent_at
  failure       TEXT,                                         -- intent, not_sent, timeout, network, http, answered
  http_status   INTEGER,                                      -- required with http and answered
  error         TEXT                                          -- free text; no one but a person reads it
);
-- The attempts of one operation are looked up by it while recording (an answer to a retry).
CREATE INDEX entries_by_operation ON entries (operation_id) WHERE operation_id IS NOT NULL;

-- Where each entry stands now; its arrival makes the row. Everything here but `arrived_ms` and `clock_error_ms` follows
-- from `entries` and `evidence`; it is what makes a run over a ledger of settled entries cost nothing. `answered` rows
-- have one too, without a status, for they are never examined.
CREATE TABLE state (
  entry_id          INTEGER PRIMARY KEY,
  revision          INTEGER NOT NULL DEFAULT 0,   -- counts the writer's changes of the row
  unread            INTEGER NOT NULL DEFAULT 1,   -- 1: it is to be read (anew): it came, or was changed, or the plan was
  status            TEXT CHECK (status IN ('pending', 'resolved', 'duplicate-risk')),
  reason            TEXT CHECK (reason IN ('bad-row', 'other-environment', 'no-effect', 'no-plan', 'never-sent', 'created', 'present', 'preexisting', 'key-taken', 'unsettled', 'unconfirmed', 'confirmed-absent', 'removed-since', 'duplicated', 'foreign-records', 'underdetermined', 'ambiguous-match', 'unobservable', 'deleted', 'not-deleted', 'recreated', 'equivalent', 'updated', 'not-updated', 'overwritten', 'state-fetched', 'partly-applied', 'inconclusive', 'uncontrolled', 'expired', 'closed')),
  due_ms            INTEGER,                      -- when the next look is due; NULL: never
  group_id          INTEGER,                      -- the group that it is decided in, by the group's first entry; NULL: not read yet
  outcome           TEXT CHECK (outcome IN ('applied', 'not-applied', 'satisfied', 'duplicated', 'partly-applied', 'unknown')),
  action            TEXT CHECK (action IN ('none', 'wait', 'may-resend', 'resend', 'do-not-resend', 'store-id', 'apply-state', 'review', 'ask-privo')),
  sent_ms           INTEGER,
  arrived_ms        INTEGER,                      -- when the row came, or the news of an intent
  clock_error_ms    INTEGER,                      -- how far the clock that dated the row may be off; NULL: settle.writer_error
  not_before_ms     INTEGER,                      -- before this instant nothing more can be decided
  checks            INTEGER NOT NULL DEFAULT 0,   -- completed looks
  first_checked_ms  INTEGER,
  last_checked_ms   INTEGER,
  looks             INTEGER NOT NULL DEFAULT 0,   -- looks in its evidence, completed or not
  joined_id         INTEGER,                      -- the entry that joined its group after its verdict: it is decided again
  lead_id           INTEGER,                      -- the first attempt of its operation; NULL: itself
  vanished_ms       INTEGER,                      -- its record was there, and a look at this time did not find it any more
  decided_ms        INTEGER,                      -- when the verdict that holds was reached
  holds             INTEGER NOT NULL DEFAULT 0,   -- 1: a verdict holds, the one of `said_id`
  correction        INTEGER NOT NULL DEFAULT 0,   -- 1: that verdict loudly supersedes one that was acted upon
  read_id           INTEGER,                      -- the evidence that says how the row was read
  said_id           INTEGER,                      -- the evidence that says what was last said of it
  head_id           INTEGER,                      -- the last evidence of it
  removes           INTEGER NOT NULL DEFAULT 0,   -- 1: a delete by an id that nothing is made with; nothing tells whose record it removed
  erased_id         INTEGER,                      -- the erasure (in `notes`) that took its personal fields
  sealed            INTEGER NOT NULL DEFAULT 0,   -- 1: its keys are gone, too
  pseudonym         TEXT                          -- whom it was about, once its personal fields are gone
);
-- An entry is in one of these at a time, and a settled one in none: each is a tree less to change.
CREATE INDEX state_removes ON state (entry_id) WHERE removes = 1;
CREATE INDEX state_unread ON state (entry_id) WHERE unread = 1;
-- First what a look can settle, and behind it the verdicts that are watched; each by the time when it is due.
CREATE INDEX state_due ON state ((status IS NOT 'pending' AND joined_id IS NULL), due_ms, entry_id) WHERE due_ms IS NOT NULL;
-- Most groups are one entry: the one that names them is found by its own id.
CREATE INDEX state_by_group ON state (group_id) WHERE group_id <> entry_id;
-- These are small, so that it is known at once whether there is any.
CREATE INDEX state_never_due ON state (entry_id) WHERE status = 'pending' AND due_ms IS NULL AND unread = 0;
CREATE INDEX state_at_risk ON state (entry_id) WHERE status = 'duplicate-risk';

-- Which entries are decided together: the same operation, the same unique key after normalisation, the same subject. A
-- key is 63 bits of a salted digest. Two that are the same by chance merge two groups, which delays and never decides.
CREATE TABLE keys (
  key       INTEGER PRIMARY KEY,
  group_id  INTEGER NOT NULL
);

-- Groups that became one. Keys that led to the first lead to the second, which was never merged itself.
CREATE TABLE merges (
  group_id  INTEGER PRIMARY KEY,
  into_id   INTEGER NOT NULL
);
CREATE INDEX merges_by_into ON merges (into_id);

-- One run of the job: what it was, under what it decided, what it did. `ended_ms` stays NULL when it was killed.
CREATE TABLE runs (
  id           INTEGER PRIMARY KEY,
  command      TEXT NOT NULL,
  started_ms   INTEGER NOT NULL,
  ended_ms     INTEGER,
  exit         INTEGER,                   -- the exit code of its command; NULL: it did not come to tell it
  version      TEXT NOT NULL,             -- of privo-reconcile
  plan         TEXT NOT NULL,
  plan_digest  TEXT NOT NULL,
  server       TEXT NOT NULL,             -- scheme, host and port
  windows      TEXT NOT NULL,             -- JSON: the settle windows decided under
  examined     INTEGER NOT NULL DEFAULT 0,
  requests     INTEGER NOT NULL DEFAULT 0,
  settled      INTEGER NOT NULL DEFAULT 0,
  deferred     INTEGER NOT NULL DEFAULT 0,
  controls     TEXT,                      -- JSON: per lookup, how its controls went last
  trouble      TEXT                       -- why it stopped early, when it did
);

-- What was read, seen and said of a group in one turn; every verdict can be decided again from it. A look saw its record
-- present, absent, several or inconclusive; each of its controls held, contradicted, unanswered or missing.
CREATE TABLE evidence (
  id      INTEGER PRIMARY KEY,            -- the order in which it came
  run_id  INTEGER NOT NULL REFERENCES runs (id),
  at_ms   INTEGER NOT NULL,
  rules   INTEGER NOT NULL,               -- the version of the rules that decided
  after   TEXT,                           -- JSON array of evidence.id: the last ones of its members before; NULL: there was none
  doc     TEXT NOT NULL,                  -- JSON, without any digest, id or value of a person's; it has numbers for them
  names   TEXT NOT NULL                   -- JSON: what those numbers stand for; an erasure empties it and changes nothing else
);

-- Texts that many rows of evidence share; `doc` has their ids.
CREATE TABLE texts (
  id    INTEGER PRIMARY KEY,
  text  TEXT NOT NULL UNIQUE
);

-- What people must be able to ask about later: reports of what was new (`report`), reports that showed subjects and ids in
-- full (`disclosure`, written before it left), every `prune` and `forget` (`erasure`, which says by whom and never of whom),
-- lists of operations that somebody approved to be sent again (`approval`), and each that was permitted (`permit`).
CREATE TABLE notes (
  id     INTEGER PRIMARY KEY,
  kind   TEXT NOT NULL CHECK (kind IN ('report', 'disclosure', 'erasure', 'approval', 'permit')),
  at_ms  INTEGER NOT NULL,
  doc    TEXT NOT NULL                    -- JSON
);
CREATE INDEX notes_by_kind ON notes (kind, at_ms);

-- A file that was imported, and how far. It is known by its content, so that it may be renamed; by the same content read
-- through another mapping nothing is known yet.
CREATE TABLE imports (
  id          INTEGER PRIMARY KEY,
  file        TEXT NOT NULL,              -- its name when it was last read; for people
  mapping     BLOB NOT NULL,              -- digest of the format and the mapping of its fields
  head_bytes  INTEGER NOT NULL,           -- how many of its first bytes (at most 4096) it is known by
  head        BLOB NOT NULL,              -- their salted digest
  tail        BLOB NOT NULL,              -- salted digest of the last bytes (at most 4096) before `bytes`
  bytes       INTEGER NOT NULL,           -- it was read up to here; the next import goes on from here
  lines       INTEGER NOT NULL,           -- as many lines are that
  imported    INTEGER NOT NULL DEFAULT 0,
  duplicates  INTEGER NOT NULL DEFAULT 0,
  left_out    INTEGER NOT NULL DEFAULT 0,
  rejected    INTEGER NOT NULL DEFAULT 0,
  at_ms       INTEGER NOT NULL
);
CREATE INDEX imports_by_head ON imports (mapping, head_bytes, head);

-- How often a record without an id of its own stood in the part of a file that was read: equal records of one file are
-- several attempts, and equal records of two files are the same ones.
CREATE TABLE import_records (
  import_id  INTEGER NOT NULL REFERENCES imports (id),
  record     BLOB NOT NULL,               -- salted digest of time, method, URL and body
  seen       INTEGER NOT NULL,
  PRIMARY KEY (import_id, record)
) WITHOUT ROWID;

-- INSERT OR REPLACE deletes a row without firing the triggers that keep it. The row that would be lost is remembered
-- before, and missed after; a plain INSERT and an upsert leave it where it is.
CREATE TRIGGER entry_repeated BEFORE INSERT ON entries
WHEN EXISTS (SELECT 1 FROM entries WHERE request_id = NEW.request_id)
BEGIN
  UPDATE ledger SET repeated = (SELECT id FROM entries WHERE request_id = NEW.request_id);
END;

CREATE TRIGGER entry_recorded AFTER INSERT ON entries BEGIN
  SELECT RAISE(ABORT, 'the ledger keeps its entries (INSERT OR REPLACE would take one away; UPDATE an intent or a bad row)')
  FROM ledger
  WHERE EXISTS (SELECT 1 FROM state WHERE entry_id = NEW.id)
     OR repeated IS NOT NULL AND NOT EXISTS (SELECT 1 FROM entries WHERE id = repeated);
  INSERT INTO state (entry_id, status, arrived_ms)
  VALUES (NEW.id, CASE WHEN NEW.failure IS NOT 'answered' THEN 'pending' END,
          CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER));
END;

-- Entries stay as they were recorded. Three changes are a writer's: news of an intent, the correction of a bad row, and
-- anything before the job has read the row. `prune` and `forget` erase personal fields.
CREATE TRIGGER entry_kept BEFORE UPDATE ON entries
WHEN OLD.failure IS NOT 'intent'
  AND (SELECT erasing FROM ledger) = 0
  AND EXISTS (SELECT 1 FROM state WHERE entry_id = OLD.id AND unread = 0 AND reason IS NOT 'bad-row' AND erased_id IS NULL)
BEGIN
  SELECT RAISE(ABORT, 'the ledger keeps an entry as it was recorded (only an intent or a bad row may be updated)');
END;

CREATE TRIGGER intent_updated_once BEFORE UPDATE ON entries
WHEN OLD.failure IS 'intent' AND (SELECT erasing FROM ledger) = 0 AND (
  OLD.request_id IS NOT NEW.request_id OR OLD.operation_id IS NOT NEW.operation_id OR OLD.direction IS NOT NEW.direction
  OR OLD.method IS NOT NEW.method OR OLD.url IS NOT NEW.url OR OLD.body IS NOT NEW.body OR OLD.sent_at IS NOT NEW.sent_at)
  AND EXISTS (SELECT 1 FROM state WHERE entry_id = OLD.id AND unread = 0 AND reason IS NOT 'bad-row' AND erased_id IS NULL)
BEGIN
  SELECT RAISE(ABORT, 'of an intent only failure, http_status, ended_at and error may be updated');
END;

-- A changed row is read and decided anew; what was said of it stays in the evidence.
CREATE TRIGGER entry_changed AFTER UPDATE ON entries WHEN (SELECT erasing FROM ledger) = 0 BEGIN
  UPDATE state SET
    revision = revision + 1, unread = 1, outcome = NULL, reason = NULL, action = NULL, not_before_ms = NULL, due_ms = NULL,
    holds = 0, correction = 0, said_id = NULL, decided_ms = NULL,
    status = CASE WHEN NEW.failure IS NOT 'answered' THEN 'pending' END,
    arrived_ms = CASE WHEN OLD.failure IS NOT 'intent' THEN arrived_ms ELSE CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) END
  WHERE entry_id = NEW.id;
END;

CREATE TRIGGER entry_not_deleted BEFORE DELETE ON entries
WHEN OLD.failure IS NOT 'intent' OR EXISTS (SELECT 1 FROM state WHERE entry_id = OLD.id AND looks > 0 AND erased_id IS NULL)
BEGIN
  SELECT RAISE(ABORT, 'the ledger keeps its entries (only an intent that was never looked up may be deleted)');
END;

-- An answer to one attempt is evidence for the others: `never-sent` must not be said of what was answered.
CREATE TRIGGER intent_not_deleted BEFORE DELETE ON entries
WHEN OLD.failure IS 'intent' AND NOT EXISTS (SELECT 1 FROM state WHERE entry_id = OLD.id AND erased_id IS NOT NULL) AND (
  EXISTS (SELECT 1 FROM entries WHERE id <> OLD.id AND operation_id = coalesce(OLD.operation_id, OLD.request_id))
  OR EXISTS (SELECT 1 FROM entries WHERE id <> OLD.id AND request_id = OLD.operation_id AND operation_id IS NULL))
BEGIN
  SELECT RAISE(ABORT, 'another entry has the operation of this intent (UPDATE the intent to `answered` with its http_status)');
END;

CREATE TRIGGER intent_deleted AFTER DELETE ON entries BEGIN
  UPDATE ledger SET repeated = NULL WHERE repeated = OLD.id;
  DELETE FROM state WHERE entry_id = OLD.id;
END;

-- An erased entry stays as it is. News of an intent that was forgotten must not fail its writer, and tell nothing.
CREATE TRIGGER erased_entry_kept BEFORE UPDATE ON entries
WHEN (SELECT erasing FROM ledger) = 0 AND EXISTS (SELECT 1 FROM state WHERE entry_id = OLD.id AND erased_id IS NOT NULL)
BEGIN
  SELECT CASE WHEN OLD.failure IS 'intent' THEN RAISE(IGNORE)
         ELSE RAISE(ABORT, 'the personal fields of this entry were removed (record it anew under another request_id)') END;
END;

CREATE TRIGGER erased_entry_not_deleted BEFORE DELETE ON entries
WHEN OLD.failure IS 'intent' AND EXISTS (SELECT 1 FROM state WHERE entry_id = OLD.id AND erased_id IS NOT NULL)
BEGIN
  SELECT RAISE(IGNORE);
END;

-- Evidence is only ever added to, but for the names that an erasure takes out.
CREATE TRIGGER evidence_kept BEFORE UPDATE ON evidence
WHEN (SELECT erasing FROM ledger) = 0 OR OLD.id IS NOT NEW.id OR OLD.run_id IS NOT NEW.run_id OR OLD.at_ms IS NOT NEW.at_ms
  OR OLD.rules IS NOT NEW.rules OR OLD.after IS NOT NEW.after OR OLD.doc IS NOT NEW.doc
BEGIN SELECT RAISE(ABORT, 'evidence is append-only'); END;
CREATE TRIGGER evidence_not_deleted BEFORE DELETE ON evidence BEGIN SELECT RAISE(ABORT, 'evidence is append-only'); END;
CREATE TRIGGER texts_kept BEFORE UPDATE ON texts BEGIN SELECT RAISE(ABORT, 'texts are append-only'); END;
CREATE TRIGGER texts_not_deleted BEFORE DELETE ON texts BEGIN SELECT RAISE(ABORT, 'texts are append-only'); END;
CREATE TRIGGER notes_kept BEFORE UPDATE ON notes
WHEN (SELECT erasing FROM ledger) = 0 OR OLD.id IS NOT NEW.id OR OLD.kind IS NOT NEW.kind OR OLD.at_ms IS NOT NEW.at_ms
BEGIN SELECT RAISE(ABORT, 'notes are append-only'); END;
CREATE TRIGGER notes_not_deleted BEFORE DELETE ON notes BEGIN SELECT RAISE(ABORT, 'notes are append-only'); END;
CREATE TRIGGER runs_not_deleted BEFORE DELETE ON runs BEGIN SELECT RAISE(ABORT, 'runs are kept'); END;

PRAGMA user_version = 1;
COMMIT;
