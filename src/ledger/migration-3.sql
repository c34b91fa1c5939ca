-- Version 3: retention. What was blanked, when, by whose word, and the digest of what stays.

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
DROP TRIGGER observations_kept;
CREATE TRIGGER observations_kept BEFORE UPDATE ON observations WHEN (SELECT blanking FROM ledger) = 0
BEGIN SELECT RAISE(ABORT, 'observations are append-only'); END;
DROP TRIGGER verdicts_kept;
CREATE TRIGGER verdicts_kept BEFORE UPDATE ON verdicts WHEN (SELECT blanking FROM ledger) = 0
BEGIN SELECT RAISE(ABORT, 'verdicts are append-only'); END;
DROP TRIGGER readings_kept;
CREATE TRIGGER readings_kept BEFORE UPDATE ON readings WHEN (SELECT blanking FROM ledger) = 0
BEGIN SELECT RAISE(ABORT, 'readings are append-only'); END;

CREATE TRIGGER blankings_kept BEFORE UPDATE ON blankings WHEN (SELECT blanking FROM ledger) = 0
BEGIN SELECT RAISE(ABORT, 'blankings are append-only'); END;
CREATE TRIGGER blankings_not_deleted BEFORE DELETE ON blankings BEGIN SELECT RAISE(ABORT, 'blankings are append-only'); END;
CREATE TRIGGER blanked_kept BEFORE UPDATE ON blanked WHEN (SELECT blanking FROM ledger) = 0
BEGIN SELECT RAISE(ABORT, 'blanked entries are append-only'); END;
CREATE TRIGGER blanked_not_deleted BEFORE DELETE ON blanked BEGIN SELECT RAISE(ABORT, 'blanked entries are append-only'); END;
