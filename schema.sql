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
  only        INTEGER PRIMARY KEY CHECK (only = 1),
  identity    TEXT NOT NULL,              -- names the ledger in reports; random
  server      TEXT,                       -- whose it is: scheme, host and port, since the first completed look; no other one's
  salt        BLOB NOT NULL,              -- keys of children and parents are stored as digests under this salt
  blanking    INTEGER NOT NULL DEFAULT 0, -- 1 inside the transaction that removes personal fields, else 0
  schema_seen TEXT,                       -- under which schema every row of `entries` was found to have one in `standings`
  rows_seen   INTEGER NOT NULL DEFAULT 0, -- up to which id of `entries`
  repeated    INTEGER                     -- the entry whose request_id was inserted again last; how INSERT OR REPLACE is found out
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

-- What the job understood of an entry under a plan: its operation, effects and times, without personal values. A
-- corrected row, a heard-of intent or another plan make another reading; the old one stays, for it was decided upon.
CREATE TABLE readings (
  id        INTEGER PRIMARY KEY,
  entry_id  INTEGER NOT NULL,
  basis     TEXT NOT NULL,                -- digest of the plan and the server read under
  facts     TEXT NOT NULL                 -- JSON
);
CREATE INDEX readings_by_entry ON readings (entry_id);

-- Which entries are decided together: the same operation, the same unique key after normalisation, the same subject.
-- A link is a salted digest. Entries that share one, directly or through others, are a group.
CREATE TABLE links (
  link      BLOB NOT NULL,
  entry_id  INTEGER NOT NULL,
  PRIMARY KEY (link, entry_id)
) WITHOUT ROWID;
CREATE INDEX links_by_entry ON links (entry_id);

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

-- One look at one effect of one entry. Results of comparisons, times and the server's ids; no personal values.
CREATE TABLE observations (
  id              INTEGER PRIMARY KEY,
  run_id          INTEGER NOT NULL REFERENCES runs (id),
  entry_id        INTEGER NOT NULL,
  effect          INTEGER NOT NULL,       -- which of the entry's effects, from 0
  basis           TEXT NOT NULL,          -- as in readings
  lookup          TEXT NOT NULL,
  asked_ms        INTEGER NOT NULL,       -- before the first request of the look
  seen_ms         INTEGER NOT NULL,       -- after its last answer
  server_ms       INTEGER,                -- the answer's Date header
  seen            TEXT NOT NULL CHECK (seen IN ('present', 'absent', 'several', 'inconclusive')),
  cause           TEXT,                   -- why it is inconclusive
  records         TEXT,                   -- JSON: ids, times and comparisons of what was found
  state           TEXT,                   -- JSON: the fetched state (webhooks)
  known_control   TEXT NOT NULL CHECK (known_control IN ('held', 'contradicted', 'unanswered', 'missing')),
  random_control  TEXT NOT NULL CHECK (random_control IN ('held', 'contradicted', 'unanswered', 'missing')),
  near_control    TEXT NOT NULL DEFAULT 'missing' CHECK (near_control IN ('held', 'contradicted', 'unanswered', 'missing')),
  fields_control  TEXT NOT NULL DEFAULT 'missing' CHECK (fields_control IN ('held', 'contradicted', 'unanswered', 'missing')),
  skew_least_ms   INTEGER,                -- the server's clock less the job's, at least and at most; NULL: no answer showed a Date
  skew_most_ms    INTEGER,
  made_error_ms   INTEGER NOT NULL DEFAULT 0   -- how far the clock of a record's times may be from the Date header's
);
CREATE INDEX observations_by_entry ON observations (entry_id);

-- One decision about a group: which readings and observations it rested on, so that it can be made again.
CREATE TABLE decisions (
  id                INTEGER PRIMARY KEY,
  run_id            INTEGER NOT NULL REFERENCES runs (id),
  evidence          TEXT NOT NULL,        -- JSON array of [readings.id, verdicts.id that held or null], one of each entry
  last_observation  INTEGER NOT NULL,     -- observations up to this id were known
  rules             INTEGER NOT NULL DEFAULT 1,   -- the version of the rules that it was made by
  removals          TEXT                  -- JSON: when deletes by a server's own id were sent; NULL: never
);

-- What was settled, and what superseded it: an entry's last verdict is the one that holds.
CREATE TABLE verdicts (
  id           INTEGER PRIMARY KEY,
  entry_id     INTEGER NOT NULL,
  run_id       INTEGER NOT NULL REFERENCES runs (id),
  decision_id  INTEGER REFERENCES decisions (id),   -- NULL when a person closed it
  decided_ms   INTEGER NOT NULL,
  status       TEXT NOT NULL CHECK (status IN ('pending', 'resolved', 'duplicate-risk')),
  outcome      TEXT NOT NULL CHECK (outcome IN ('applied', 'not-applied', 'satisfied', 'duplicated', 'partly-applied', 'unknown')),
  reason       TEXT NOT NULL CHECK (reason IN ('bad-row', 'other-environment', 'no-effect', 'no-plan', 'never-sent', 'created', 'present', 'preexisting', 'key-taken', 'unsettled', 'unconfirmed', 'confirmed-absent', 'removed-since', 'duplicated', 'foreign-records', 'underdetermined', 'ambiguous-match', 'unobservable', 'deleted', 'not-deleted', 'recreated', 'equivalent', 'updated', 'not-updated', 'overwritten', 'state-fetched', 'partly-applied', 'inconclusive', 'uncontrolled', 'expired', 'closed')),
  action       TEXT NOT NULL CHECK (action IN ('none', 'wait', 'may-resend', 'resend', 'do-not-resend', 'store-id', 'apply-state', 'review', 'ask-privo')),
  server_id    TEXT,
  matched_on   TEXT,
  explanation  TEXT NOT NULL,
  correction   INTEGER NOT NULL DEFAULT 0   -- 1 when it loudly supersedes a verdict that was acted upon
);
CREATE INDEX verdicts_by_entry ON verdicts (entry_id);
CREATE INDEX verdicts_by_decision ON verdicts (decision_id);
CREATE INDEX verdicts_by_run ON verdicts (run_id);
CREATE INDEX verdicts_of_corrections ON verdicts (entry_id) WHERE correction = 1;

-- Where each entry stands now. Everything here follows from the tables above; it is what makes a run over a ledger of
-- settled entries cost nothing. `answered` rows have one too, without a status, for they are never examined.
CREATE TABLE standings (
  entry_id          INTEGER PRIMARY KEY,
  revision          INTEGER NOT NULL DEFAULT 0,   -- counts the writer's changes of the row
  reading_id        INTEGER,                      -- NULL: not read yet, or changed since
  sent_ms           INTEGER,
  status            TEXT,
  reason            TEXT,
  action            TEXT,
  explanation       TEXT,                         -- of a deferral; a verdict brings its own
  not_before_ms     INTEGER,                      -- before this instant nothing more can be decided
  verdict_id        INTEGER,                      -- the one that holds
  checks            INTEGER NOT NULL DEFAULT 0,   -- completed looks
  first_checked_ms  INTEGER,
  last_checked_ms   INTEGER,
  due_ms            INTEGER,                      -- when the next look is due; NULL: never
  arrived_ms        INTEGER,                      -- when the row came, or the news of an intent
  clock_error_ms    INTEGER,                      -- how far the clock that dated the row may be off; NULL: settle.writer_error
  joined            INTEGER,                      -- the entry that joined its group after its verdict: it is decided again
  lead              INTEGER,                      -- the first attempt of its operation; NULL: itself
  vanished_ms       INTEGER                       -- its record was there, and a look at this time did not find it any more
);
CREATE INDEX standings_unread ON standings (entry_id) WHERE reading_id IS NULL;
CREATE INDEX standings_due ON standings (due_ms, entry_id) WHERE due_ms IS NOT NULL;
CREATE INDEX standings_by_status ON standings (status, reason);
CREATE INDEX standings_by_sent ON standings (sent_ms);
CREATE INDEX standings_by_lead ON standings (lead) WHERE lead IS NOT NULL;

-- Deletes by a server's own id. Nothing in the ledger tells which record it was that they removed.
CREATE TABLE removals (
  entry_id  INTEGER PRIMARY KEY
);

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

-- One blanking: a `prune`, or a `forget`. The ledger says that it was done and by whom, never of whom.
CREATE TABLE blankings (
  id         INTEGER PRIMARY KEY,
  command    TEXT NOT NULL CHECK (command IN ('prune', 'forget')),
  at_ms      INTEGER NOT NULL,
  version    TEXT NOT NULL,               -- of privo-reconcile
  keep_ms    INTEGER,                     -- prune: how long fields stay after the verdict
  who        TEXT,                        -- forget: who asked for it to be done here
  why        TEXT,                        -- forget: why; it does not name the subject
  entries    INTEGER NOT NULL,            -- how many lost their personal fields
  sealed_ms  INTEGER                      -- the digests of what was settled by then are gone, as far as it was sealed
);

-- One entry without its personal fields. What is left of its evidence can still be decided again; the digest says
-- whether it was changed since.
CREATE TABLE blanked (
  entry_id          INTEGER PRIMARY KEY,
  blanking_id       INTEGER NOT NULL REFERENCES blankings (id),
  sealed            INTEGER NOT NULL DEFAULT 0,   -- 1: the digests of its keys are replaced too, by random ones
  last_reading      INTEGER NOT NULL,     -- the digest covers readings, observations and verdicts up to these ids
  last_observation  INTEGER NOT NULL,
  last_verdict      INTEGER NOT NULL,
  evidence          TEXT NOT NULL         -- SHA-256 in hexadecimal; docs/CHILDREN.md says of what
);

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
  WHERE EXISTS (SELECT 1 FROM standings WHERE entry_id = NEW.id)
     OR repeated IS NOT NULL AND NOT EXISTS (SELECT 1 FROM entries WHERE id = repeated);
  INSERT INTO standings (entry_id, status, due_ms, arrived_ms)
  VALUES (NEW.id, CASE WHEN NEW.failure IS NOT 'answered' THEN 'pending' END, CASE WHEN NEW.failure IS NOT 'answered' THEN 0 END,
          CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER));
END;

-- Entries stay as they were recorded. Three changes are a writer's: news of an intent, the correction of a bad row, and
-- anything before the job has read the row. `prune` and `forget` blank personal fields.
CREATE TRIGGER entry_kept BEFORE UPDATE ON entries
WHEN OLD.failure IS NOT 'intent'
  AND (SELECT blanking FROM ledger) = 0
  AND EXISTS (SELECT 1 FROM standings WHERE entry_id = OLD.id AND reading_id IS NOT NULL AND reason IS NOT 'bad-row')
BEGIN
  SELECT RAISE(ABORT, 'the ledger keeps an entry as it was recorded (only an intent or a bad row may be updated)');
END;

CREATE TRIGGER intent_updated_once BEFORE UPDATE ON entries
WHEN OLD.failure IS 'intent' AND (SELECT blanking FROM ledger) = 0 AND (
  OLD.request_id IS NOT NEW.request_id OR OLD.operation_id IS NOT NEW.operation_id OR OLD.direction IS NOT NEW.direction
  OR OLD.method IS NOT NEW.method OR OLD.url IS NOT NEW.url OR OLD.body IS NOT NEW.body OR OLD.sent_at IS NOT NEW.sent_at)
  AND EXISTS (SELECT 1 FROM standings WHERE entry_id = OLD.id AND reading_id IS NOT NULL AND reason IS NOT 'bad-row')
BEGIN
  SELECT RAISE(ABORT, 'of an intent only failure, http_status, ended_at and error may be updated');
END;

-- A changed row is read and decided anew; its verdicts stay as history.
CREATE TRIGGER entry_changed AFTER UPDATE ON entries WHEN (SELECT blanking FROM ledger) = 0 BEGIN
  DELETE FROM links WHERE entry_id = NEW.id;
  UPDATE standings SET
    revision = revision + 1, reading_id = NULL, reason = NULL, action = NULL, explanation = NULL, not_before_ms = NULL,
    verdict_id = NULL,
    status = CASE WHEN NEW.failure IS NOT 'answered' THEN 'pending' END,
    due_ms = CASE WHEN NEW.failure IS NOT 'answered' THEN 0 END,
    arrived_ms = CASE WHEN OLD.failure IS NOT 'intent' THEN arrived_ms ELSE CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) END
  WHERE entry_id = NEW.id;
END;

CREATE TRIGGER entry_not_deleted BEFORE DELETE ON entries
WHEN OLD.failure IS NOT 'intent' OR EXISTS (SELECT 1 FROM observations WHERE entry_id = OLD.id)
BEGIN
  SELECT RAISE(ABORT, 'the ledger keeps its entries (only an intent that was never looked up may be deleted)');
END;

-- An answer to one attempt is evidence for the others: `never-sent` must not be said of what was answered.
CREATE TRIGGER intent_not_deleted BEFORE DELETE ON entries
WHEN OLD.failure IS 'intent' AND (
  EXISTS (SELECT 1 FROM entries WHERE id <> OLD.id AND operation_id = coalesce(OLD.operation_id, OLD.request_id))
  OR EXISTS (SELECT 1 FROM entries WHERE id <> OLD.id AND request_id = OLD.operation_id AND operation_id IS NULL))
BEGIN
  SELECT RAISE(ABORT, 'another entry has the operation of this intent (UPDATE the intent to `answered` with its http_status)');
END;

CREATE TRIGGER intent_deleted AFTER DELETE ON entries BEGIN
  UPDATE ledger SET repeated = NULL WHERE repeated = OLD.id;
  DELETE FROM links WHERE entry_id = OLD.id;
  DELETE FROM standings WHERE entry_id = OLD.id;
END;

-- A blanked entry stays as it is. News of an intent that was forgotten must not fail its writer, and tell nothing.
CREATE TRIGGER blanked_entry_kept BEFORE UPDATE ON entries
WHEN (SELECT blanking FROM ledger) = 0 AND EXISTS (SELECT 1 FROM blanked WHERE entry_id = OLD.id)
BEGIN
  SELECT CASE WHEN OLD.failure IS 'intent' THEN RAISE(IGNORE)
         ELSE RAISE(ABORT, 'the personal fields of this entry were removed (record it anew under another request_id)') END;
END;

CREATE TRIGGER blanked_entry_not_deleted BEFORE DELETE ON entries
WHEN EXISTS (SELECT 1 FROM blanked WHERE entry_id = OLD.id)
BEGIN
  SELECT RAISE(IGNORE);
END;

-- Evidence and verdicts are only ever added to, but for the digests and names that a blanking replaces.
CREATE TRIGGER observations_kept BEFORE UPDATE ON observations WHEN (SELECT blanking FROM ledger) = 0
BEGIN SELECT RAISE(ABORT, 'observations are append-only'); END;
CREATE TRIGGER observations_not_deleted BEFORE DELETE ON observations BEGIN SELECT RAISE(ABORT, 'observations are append-only'); END;
CREATE TRIGGER verdicts_kept BEFORE UPDATE ON verdicts WHEN (SELECT blanking FROM ledger) = 0
BEGIN SELECT RAISE(ABORT, 'verdicts are append-only'); END;
CREATE TRIGGER verdicts_not_deleted BEFORE DELETE ON verdicts BEGIN SELECT RAISE(ABORT, 'verdicts are append-only'); END;
CREATE TRIGGER readings_kept BEFORE UPDATE ON readings WHEN (SELECT blanking FROM ledger) = 0
BEGIN SELECT RAISE(ABORT, 'readings are append-only'); END;
CREATE TRIGGER readings_not_deleted BEFORE DELETE ON readings BEGIN SELECT RAISE(ABORT, 'readings are append-only'); END;
CREATE TRIGGER decisions_kept BEFORE UPDATE ON decisions BEGIN SELECT RAISE(ABORT, 'decisions are append-only'); END;
CREATE TRIGGER decisions_not_deleted BEFORE DELETE ON decisions BEGIN SELECT RAISE(ABORT, 'decisions are append-only'); END;
CREATE TRIGGER reports_kept BEFORE UPDATE ON reports BEGIN SELECT RAISE(ABORT, 'reports are append-only'); END;
CREATE TRIGGER reports_not_deleted BEFORE DELETE ON reports BEGIN SELECT RAISE(ABORT, 'reports are append-only'); END;
CREATE TRIGGER disclosures_kept BEFORE UPDATE ON disclosures WHEN (SELECT blanking FROM ledger) = 0
BEGIN SELECT RAISE(ABORT, 'disclosures are append-only'); END;
CREATE TRIGGER disclosures_not_deleted BEFORE DELETE ON disclosures BEGIN SELECT RAISE(ABORT, 'disclosures are append-only'); END;
CREATE TRIGGER blankings_kept BEFORE UPDATE ON blankings WHEN (SELECT blanking FROM ledger) = 0
BEGIN SELECT RAISE(ABORT, 'blankings are append-only'); END;
CREATE TRIGGER blankings_not_deleted BEFORE DELETE ON blankings BEGIN SELECT RAISE(ABORT, 'blankings are append-only'); END;
CREATE TRIGGER blanked_kept BEFORE UPDATE ON blanked WHEN (SELECT blanking FROM ledger) = 0
BEGIN SELECT RAISE(ABORT, 'blanked entries are append-only'); END;
CREATE TRIGGER blanked_not_deleted BEFORE DELETE ON blanked BEGIN SELECT RAISE(ABORT, 'blanked entries are append-only'); END;

-- What people approved to be sent again (`resend`): the list that was shown, by its digest, for a day.
CREATE TABLE approvals (
  id      INTEGER PRIMARY KEY,
  digest  TEXT NOT NULL,                  -- of the operations and the verdicts that advise to send them again
  who     TEXT NOT NULL,                  -- as it was stated
  at_ms   INTEGER NOT NULL
);

-- The operations of an approved list. Each may be permitted once, as long as the verdict holds that was shown.
CREATE TABLE permits (
  approval_id   INTEGER NOT NULL REFERENCES approvals (id),
  entry_id      INTEGER NOT NULL,         -- the first attempt of the operation
  verdict_id    INTEGER NOT NULL,         -- that of this attempt
  permitted_ms  INTEGER,                  -- NULL: not yet; without an intent: a look was surprised, and it is approved no more
  intent_id     INTEGER,                  -- the entry that was written ahead of the sending
  PRIMARY KEY (approval_id, entry_id)
) WITHOUT ROWID;

CREATE TRIGGER approvals_kept BEFORE UPDATE ON approvals WHEN (SELECT blanking FROM ledger) = 0
BEGIN SELECT RAISE(ABORT, 'approvals are append-only'); END;
CREATE TRIGGER approvals_not_deleted BEFORE DELETE ON approvals BEGIN SELECT RAISE(ABORT, 'approvals are append-only'); END;
CREATE TRIGGER permitted_once BEFORE UPDATE ON permits WHEN OLD.permitted_ms IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'an operation is permitted once'); END;
CREATE TRIGGER permits_not_deleted BEFORE DELETE ON permits BEGIN SELECT RAISE(ABORT, 'permits are append-only'); END;

PRAGMA user_version = 1;
COMMIT;
