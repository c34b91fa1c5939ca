-- The ledger of privo-reconcile in PostgreSQL (13 or newer, encoding UTF8), version 1.
--
-- Run this file with `psql -v ON_ERROR_STOP=1 -f schema.postgres.sql`, or let `privo-reconcile init` do it: the same ledger
-- comes of both. Who runs it owns the ledger, and must be allowed to create a schema and roles.
--
--   GRANT privo_reconcile_writer TO your_application;   -- inserts into `entries`
--   GRANT privo_reconcile_job TO your_job;              -- runs privo-reconcile
--
-- A writer, in any language, inserts into `privo_reconcile.entries` and into nothing else, best in the transaction that makes
-- its own row; an intent commits before the request is sent. Every other table is the job's; they are described here so that
-- an auditor can read them. Times in the job's own tables are milliseconds of UTC since 1970.
--
-- Inserting a request_id again changes nothing, also where an INSERT has ON CONFLICT … DO UPDATE: news of an intent are an
-- UPDATE. That holds for READ COMMITTED, the default; in a stricter transaction an id that another one recorded meanwhile is
-- an error (40001) that says to retry. An INSERT of an id that another open transaction records waits until that one ends.

BEGIN;

-- Durable when it returns, however the session is set.
SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') IN ('off', 'local');

CREATE SCHEMA privo_reconcile;

DO $$
BEGIN
  IF NOT EXISTS (SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = 'privo_reconcile_writer') THEN
    CREATE ROLE privo_reconcile_writer NOLOGIN;
  END IF;
  IF NOT EXISTS (SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = 'privo_reconcile_job') THEN
    CREATE ROLE privo_reconcile_job NOLOGIN;
  END IF;
END $$;

-- One row: what makes this schema this ledger.
CREATE TABLE privo_reconcile.ledger (
  "only"   boolean PRIMARY KEY DEFAULT true CHECK ("only"),
  version  integer NOT NULL,              -- of this file
  name     text NOT NULL,                 -- names the ledger in reports; random
  salt     bytea NOT NULL                 -- keys of children and parents are stored as digests under this salt
);
INSERT INTO privo_reconcile.ledger (version, name, salt) VALUES (
  1, left(replace(gen_random_uuid()::text, '-', ''), 16),
  decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex'));

-- Words of the ledger's own, by name: server, fingerprint, sealed; moved: up to which entry a ledger moved in from a file.
CREATE TABLE privo_reconcile.words (
  name   text PRIMARY KEY,
  value  text NOT NULL
);

-- Now, by the database's clock: the ledger's one clock, whatever host does something.
CREATE FUNCTION privo_reconcile.now_ms() RETURNS bigint LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint
$$;

-- Which run may write. Whoever takes the lease over raises the epoch, and every transaction of a run locks this row and finds
-- its own epoch first: a run that was paused or cut off writes nothing more. All by the database's clock. The token tells two
-- runs apart of which a failover gave both the same epoch.
CREATE TABLE privo_reconcile.lease (
  "only"    boolean PRIMARY KEY DEFAULT true CHECK ("only"),
  epoch     bigint NOT NULL DEFAULT 0,
  token     uuid,
  holder    text,                         -- for people
  until_ms  bigint NOT NULL DEFAULT 0     -- another run may take it from then on
);
INSERT INTO privo_reconcile.lease DEFAULT VALUES;

-- One attempt of a request whose outcome its sender does not know, or (`answered`) what another attempt was told. Every column
-- is text and none has a CHECK: a row that cannot be read is settled as `bad-row`, so that nothing is lost. A value of type
-- jsonb has lost a name that was said twice before it comes here.
CREATE TABLE privo_reconcile.entries (
  id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,  -- the order of arrival, never used twice
  request_id    text COLLATE "C" NOT NULL UNIQUE,           -- the writer's id of this attempt; inserting it again changes nothing
  operation_id  text COLLATE "C",                           -- what the retries of one operation share; absent: the request's own id
  direction     text DEFAULT 'outbound',                    -- or inbound, for a PRIVO webhook
  method        text NOT NULL,
  url           text NOT NULL,                              -- as sent, absolute; inbound: the partner's own path
  body          text,                                       -- the JSON that was sent or received, or just the fields that the plan reads
  sent_at       text NOT NULL,                              -- RFC 3339 with an offset, or as PostgreSQL writes a timestamptz
  ended_at      text,                                       -- when the sender gave up; absent: sent_at
  failure       text,                                       -- intent, not_sent, timeout, network, http, answered
  http_status   text,                                       -- required with http and answered
  error         text                                        -- free text; no one but a person reads it
);
CREATE INDEX entries_by_operation ON privo_reconcile.entries (operation_id) WHERE operation_id IS NOT NULL;

-- Where each entry stands now. It comes with the row by a trigger, and follows from the evidence. `answered` rows have one
-- without a status, for they are never examined. Unread rows are found by `unread` alone: a row may become visible long after
-- one with a higher id.
CREATE TABLE privo_reconcile.state (
  entry_id          bigint PRIMARY KEY,             -- entries.id
  revision          bigint NOT NULL DEFAULT 0,      -- counts the writer's changes of the row
  unread            boolean NOT NULL DEFAULT true,  -- it is to be read (anew)
  arrived_ms        bigint,                         -- when the row came, or the news of an intent
  clock_error_ms    bigint,                         -- how far the clock that dated the row may be off; NULL: settle.writer_error
  group_id          bigint,                         -- the entries that are decided together, by the first of them
  sent_ms           bigint,
  status            text CHECK (status IN ('pending', 'resolved', 'duplicate-risk')),
  outcome           text CHECK (outcome IN ('applied', 'not-applied', 'satisfied', 'duplicated', 'partly-applied', 'unknown')),
  reason            text CHECK (reason IN ('bad-row', 'other-environment', 'no-effect', 'no-plan', 'never-sent', 'created', 'present', 'preexisting', 'key-taken', 'unsettled', 'unconfirmed', 'confirmed-absent', 'removed-since', 'duplicated', 'foreign-records', 'underdetermined', 'ambiguous-match', 'unobservable', 'deleted', 'not-deleted', 'recreated', 'equivalent', 'updated', 'not-updated', 'overwritten', 'state-fetched', 'partly-applied', 'inconclusive', 'uncontrolled', 'expired', 'closed')),
  action            text CHECK (action IN ('none', 'wait', 'may-resend', 'resend', 'do-not-resend', 'store-id', 'apply-state', 'review', 'ask-privo')),
  not_before_ms     bigint,                         -- before this instant nothing more can be decided
  due_ms            bigint,                         -- when the next look is due; NULL: never
  checks            bigint NOT NULL DEFAULT 0,      -- completed looks
  first_checked_ms  bigint,
  last_checked_ms   bigint,
  looks             bigint NOT NULL DEFAULT 0,      -- looks in its evidence, completed or not
  joined_id         bigint,                         -- the entry that joined its group after its verdict: it is decided again
  lead_id           bigint,                         -- the first attempt of its operation; NULL: itself
  vanished_ms       bigint,                         -- its record was there, and a look at this time did not find it any more
  decided_ms        bigint,                         -- when the verdict that holds was reached
  holds             boolean NOT NULL DEFAULT false, -- a verdict holds
  correction        boolean NOT NULL DEFAULT false, -- it loudly supersedes one that was acted upon
  read_id           bigint,                         -- evidence.id: how the row was read
  said_id           bigint,                         -- what was last said of it
  head_id           bigint,                         -- the last evidence of it
  removes           boolean NOT NULL DEFAULT false, -- a delete by an id that nothing is made with
  erased_id         bigint,                         -- notes.id: the erasure that took its personal fields; its writer cannot change it any more
  sealed            boolean NOT NULL DEFAULT false, -- its keys are gone, too
  pseudonym         text                            -- whom it was about, once its personal fields are gone
) WITH (fillfactor = 80);
CREATE INDEX state_unread ON privo_reconcile.state (entry_id) WHERE unread;
-- First what a look can settle, and behind it the verdicts that are watched; each by the time when it is due.
CREATE INDEX state_due ON privo_reconcile.state
  ((CASE WHEN status = 'pending' OR joined_id IS NOT NULL THEN 0 ELSE 1 END), due_ms, entry_id) WHERE due_ms IS NOT NULL;
-- Most groups are one entry: the one that names them is found by its own id.
CREATE INDEX state_by_group ON privo_reconcile.state (group_id) WHERE group_id <> entry_id;
CREATE INDEX state_pending ON privo_reconcile.state (sent_ms) WHERE status = 'pending';
CREATE INDEX state_at_risk ON privo_reconcile.state (entry_id) WHERE status = 'duplicate-risk';
CREATE INDEX state_removes ON privo_reconcile.state (entry_id) WHERE removes;

-- Which group a key leads to: 63 bits of a salted digest. Two keys that meet here merge their groups, which delays and never
-- decides. Groups only ever merge.
CREATE TABLE privo_reconcile.keys (
  key       bigint PRIMARY KEY,
  group_id  bigint NOT NULL
);
CREATE TABLE privo_reconcile.merges (
  group_id  bigint PRIMARY KEY,           -- the group that is no more
  into_id   bigint NOT NULL               -- the one that its keys lead to
);
CREATE INDEX merges_by_into ON privo_reconcile.merges (into_id);

-- What is stored for a group that was merged is its own from now on, and its former keys are of the group that it was merged
-- into. Nobody does that to a group who found it by its keys, so those keys need no index of their own.
CREATE FUNCTION privo_reconcile.begin_anew(groups bigint[]) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  merged record;
BEGIN
  FOR merged IN DELETE FROM privo_reconcile.merges WHERE group_id = ANY (groups) RETURNING group_id, into_id LOOP
    UPDATE privo_reconcile.keys SET group_id = merged.into_id WHERE group_id = merged.group_id;
  END LOOP;
END $$;

-- Makes a group a part of another one. What led to the first leads on to the second.
CREATE FUNCTION privo_reconcile.merge_group(gone bigint, into_group bigint) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM privo_reconcile.begin_anew(ARRAY[into_group]);
  UPDATE privo_reconcile.state SET group_id = into_group WHERE entry_id = gone AND group_id = gone;
  UPDATE privo_reconcile.state SET group_id = into_group WHERE group_id = gone AND group_id <> entry_id;
  IF NOT EXISTS (SELECT 1 FROM privo_reconcile.merges WHERE group_id = gone) THEN
    UPDATE privo_reconcile.merges SET into_id = into_group WHERE into_id = gone;
    INSERT INTO privo_reconcile.merges (group_id, into_id) VALUES (gone, into_group);
  END IF;
END $$;

-- What was read, seen and said: one row for each turn of a group that says something new, from which every verdict can be
-- decided again. `doc` names nobody; what its names stand for is in `names`, which an erasure rewrites.
CREATE TABLE privo_reconcile.evidence (
  id          bigint PRIMARY KEY,         -- greater than all before
  run_id      bigint NOT NULL,            -- runs.id
  at_ms       bigint NOT NULL,
  rules       bigint NOT NULL,            -- the version of the rules that decided
  after_ids   bigint[] NOT NULL,          -- the rows of evidence that it follows
  doc         text NOT NULL,              -- JSON
  names       text NOT NULL               -- JSON
);

-- Texts that many rows of evidence share.
CREATE TABLE privo_reconcile.texts (
  id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  text  text NOT NULL
);
CREATE INDEX texts_by_hash ON privo_reconcile.texts (hashtextextended(text, 0));

-- One run of the job: what it was, under what it decided, what it did. `ended_ms` stays NULL when it was killed.
CREATE TABLE privo_reconcile.runs (
  id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  command      text NOT NULL,
  started_ms   bigint NOT NULL,
  ended_ms     bigint,
  exit         bigint,                    -- the exit code of its command; NULL: it did not come to tell it
  version      text NOT NULL,             -- of privo-reconcile
  plan         text NOT NULL,
  plan_digest  text NOT NULL,
  server       text NOT NULL,             -- scheme, host and port
  windows      text NOT NULL,             -- JSON: the settle windows decided under
  examined     bigint NOT NULL DEFAULT 0,
  requests     bigint NOT NULL DEFAULT 0,
  settled      bigint NOT NULL DEFAULT 0,
  deferred     bigint NOT NULL DEFAULT 0,
  controls     text NOT NULL DEFAULT '',  -- JSON: per lookup, how its controls went last
  trouble      text                       -- why it stopped early, when it did
);

-- Reports of what was new, disclosures, erasures, approvals and permits.
CREATE TABLE privo_reconcile.notes (
  id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  kind   text NOT NULL CHECK (kind IN ('report', 'disclosure', 'erasure', 'approval', 'permit')),
  at_ms  bigint NOT NULL,
  doc    text NOT NULL                    -- JSON
);
CREATE INDEX notes_by_kind ON privo_reconcile.notes (kind, id);

-- A file that was imported, and how far. It is known by its content, so that it may be renamed; by the same content read
-- through another mapping nothing is known yet.
CREATE TABLE privo_reconcile.imports (
  id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  file        text NOT NULL,              -- its name when it was last read; for people
  mapping     bytea NOT NULL,             -- digest of the format and the mapping of its fields
  head_bytes  bigint NOT NULL,            -- how many of its first bytes (at most 4096) it is known by
  head        bytea NOT NULL,             -- their salted digest
  tail        bytea NOT NULL,             -- salted digest of the last bytes (at most 4096) before `bytes`
  bytes       bigint NOT NULL,            -- it was read up to here; the next import goes on from here
  lines       bigint NOT NULL,            -- as many lines are that
  imported    bigint NOT NULL DEFAULT 0,
  duplicates  bigint NOT NULL DEFAULT 0,
  left_out    bigint NOT NULL DEFAULT 0,
  rejected    bigint NOT NULL DEFAULT 0,
  at_ms       bigint NOT NULL
);

-- How often a record without an id of its own stood in the part of a file that was read: equal records of one file are
-- several attempts, and equal records of two files are the same ones.
CREATE TABLE privo_reconcile.import_records (
  import_id  bigint NOT NULL,
  record     bytea NOT NULL,              -- salted digest of time, method, URL and body
  seen       bigint NOT NULL,
  PRIMARY KEY (import_id, record)
);

-- Makes an empty ledger the one that moves in from a file, with its name and its salt; its ids go on after the last ones there
-- were. False: it is not empty.
CREATE FUNCTION privo_reconcile.become(its_name text, its_salt bytea, entry bigint, shared bigint, run bigint, note bigint, import bigint)
RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  last record;
BEGIN
  -- Whoever records meanwhile is to get an id behind them: an id that was taken before meets one of them, and nothing moves.
  IF EXISTS (SELECT 1 FROM privo_reconcile.entries) OR EXISTS (SELECT 1 FROM privo_reconcile.evidence)
     OR EXISTS (SELECT 1 FROM privo_reconcile.runs) OR EXISTS (SELECT 1 FROM privo_reconcile.notes)
     OR EXISTS (SELECT 1 FROM privo_reconcile.imports) OR EXISTS (SELECT 1 FROM privo_reconcile.words) THEN
    RETURN false;
  END IF;
  FOR last IN SELECT * FROM (VALUES ('entries', entry), ('texts', shared), ('runs', run), ('notes', note), ('imports', import))
              AS ids (name, id) LOOP
    PERFORM setval(s, greatest(last.id, nextval(s))) FROM pg_get_serial_sequence('privo_reconcile.' || last.name, 'id') AS s;
  END LOOP;
  UPDATE privo_reconcile.ledger SET name = its_name, salt = its_salt;
  INSERT INTO privo_reconcile.words (name, value) VALUES ('moved', entry);
  RETURN true;
END $$;

-- Whether the job removes personal fields just now: it says so within its own transaction, and nobody else can.
CREATE FUNCTION privo_reconcile.is_erasing() RETURNS boolean LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT coalesce(current_setting('privo_reconcile.erasing', true), '') = '1' AND (
    pg_has_role(session_user, 'privo_reconcile_job', 'MEMBER')
    OR pg_has_role(session_user, (SELECT nspowner FROM pg_namespace WHERE nspname = 'privo_reconcile'), 'MEMBER'))
$$;

-- What a writer recorded is durable when its COMMIT returns, however carelessly its session is set. Never lowered.
CREATE FUNCTION privo_reconcile.raise_synchronous_commit() RETURNS void LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
  SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') IN ('off', 'local')
$$;

-- Inserting a request_id again changes nothing, also where two do it at once: the second waits for the first. A transaction
-- that records more than a thousand rows takes no more locks, for there are only so many; there a race ends as in any table.
CREATE FUNCTION privo_reconcile.entry_repeated() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  recorded bigint := coalesce(nullif(current_setting('privo_reconcile.recorded', true), ''), '0');
BEGIN
  IF current_setting('privo_reconcile.probing', true) = '1' THEN
    RETURN NEW;
  END IF;
  IF recorded < 1000 THEN
    PERFORM set_config('privo_reconcile.recorded', (recorded + 1)::text, true);
    PERFORM pg_advisory_xact_lock(hashtextextended(NEW.request_id, 7216843));
    -- Whoever deletes an intent of this operation waits, and finds this row.
    PERFORM pg_advisory_xact_lock_shared(hashtextextended(coalesce(NEW.operation_id, NEW.request_id), 7216844));
  END IF;
  IF EXISTS (SELECT 1 FROM privo_reconcile.entries WHERE request_id = NEW.request_id) THEN
    RETURN NULL;
  END IF;
  IF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
    -- What was committed since this transaction began is not seen. The index sees it.
    BEGIN
      PERFORM set_config('privo_reconcile.probing', '1', true);
      INSERT INTO privo_reconcile.entries (request_id, method, url, sent_at) VALUES (NEW.request_id, '', '', '');
      RAISE EXCEPTION USING ERRCODE = 'PR000';
    EXCEPTION
      WHEN SQLSTATE 'PR000' THEN NULL;
      WHEN unique_violation THEN
        RAISE EXCEPTION 'this request_id was recorded since the transaction began (retry the transaction, or use READ COMMITTED)'
          USING ERRCODE = 'serialization_failure';
    END;
  END IF;
  PERFORM privo_reconcile.raise_synchronous_commit();
  RETURN NEW;
END $$;
CREATE TRIGGER entry_repeated BEFORE INSERT ON privo_reconcile.entries
  FOR EACH ROW EXECUTE FUNCTION privo_reconcile.entry_repeated();

CREATE FUNCTION privo_reconcile.entry_recorded() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  INSERT INTO privo_reconcile.state (entry_id, status, arrived_ms)
  VALUES (NEW.id, CASE WHEN NEW.failure IS DISTINCT FROM 'answered' THEN 'pending' END,
          privo_reconcile.now_ms());
  RETURN NULL;
END $$;
CREATE TRIGGER entry_recorded AFTER INSERT ON privo_reconcile.entries
  FOR EACH ROW EXECUTE FUNCTION privo_reconcile.entry_recorded();

-- Entries stay as they were recorded. Three changes are a writer's: news of an intent, the correction of a bad row, and
-- anything before the job has read the row. An erased entry stays as it is: news of an intent that was forgotten must not fail
-- its writer, and tell nothing.
CREATE FUNCTION privo_reconcile.entry_kept() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  stands record;
BEGIN
  PERFORM privo_reconcile.raise_synchronous_commit();
  IF privo_reconcile.is_erasing() THEN
    RETURN NEW;
  END IF;
  SELECT unread OR reason IS NOT DISTINCT FROM 'bad-row' AS open, erased_id IS NOT NULL AS gone
    INTO stands FROM privo_reconcile.state WHERE entry_id = OLD.id FOR UPDATE;
  IF stands.gone AND OLD.failure IS NOT DISTINCT FROM 'intent' THEN
    RETURN NULL;
  ELSIF stands.gone THEN
    RAISE EXCEPTION 'the personal fields of this entry were removed (record it anew under another request_id)'
      USING ERRCODE = 'restrict_violation';
  ELSIF stands.open OR stands.open IS NULL THEN
    RETURN NEW;
  ELSIF OLD.failure IS DISTINCT FROM 'intent' THEN
    RAISE EXCEPTION 'the ledger keeps an entry as it was recorded (only an intent or a bad row may be updated)'
      USING ERRCODE = 'restrict_violation';
  ELSIF (OLD.request_id, OLD.operation_id, OLD.direction, OLD.method, OLD.url, OLD.body, OLD.sent_at) IS DISTINCT FROM
        (NEW.request_id, NEW.operation_id, NEW.direction, NEW.method, NEW.url, NEW.body, NEW.sent_at) THEN
    RAISE EXCEPTION 'of an intent only failure, http_status, ended_at and error may be updated'
      USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER entry_kept BEFORE UPDATE ON privo_reconcile.entries
  FOR EACH ROW EXECUTE FUNCTION privo_reconcile.entry_kept();

-- A changed row is read and decided anew; what was said of it stays as evidence.
CREATE FUNCTION privo_reconcile.entry_changed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF NOT privo_reconcile.is_erasing() THEN
    UPDATE privo_reconcile.state SET
      revision = revision + 1, unread = true, outcome = NULL, reason = NULL, action = NULL, not_before_ms = NULL, due_ms = NULL,
      holds = false, correction = false, said_id = NULL, decided_ms = NULL,
      status = CASE WHEN NEW.failure IS DISTINCT FROM 'answered' THEN 'pending' END,
      arrived_ms = CASE WHEN OLD.failure IS DISTINCT FROM 'intent' THEN arrived_ms
                        ELSE privo_reconcile.now_ms() END
    WHERE entry_id = NEW.id;
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER entry_changed AFTER UPDATE ON privo_reconcile.entries
  FOR EACH ROW EXECUTE FUNCTION privo_reconcile.entry_changed();

-- An answer to one attempt is evidence for the others: `never-sent` must not be said of what was answered.
CREATE FUNCTION privo_reconcile.entry_not_deleted() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  stands record;
BEGIN
  PERFORM privo_reconcile.raise_synchronous_commit();
  SELECT looks, erased_id IS NOT NULL AS gone INTO stands FROM privo_reconcile.state WHERE entry_id = OLD.id FOR UPDATE;
  IF stands.gone AND OLD.failure IS NOT DISTINCT FROM 'intent' THEN
    RETURN NULL;
  ELSIF OLD.failure IS DISTINCT FROM 'intent' OR stands.looks > 0 THEN
    RAISE EXCEPTION 'the ledger keeps its entries (only an intent that was never looked up may be deleted)'
      USING ERRCODE = 'restrict_violation';
  END IF;
  PERFORM pg_advisory_xact_lock(hashtextextended(coalesce(OLD.operation_id, OLD.request_id), 7216844));
  IF EXISTS (SELECT 1 FROM privo_reconcile.entries WHERE id <> OLD.id AND operation_id = coalesce(OLD.operation_id, OLD.request_id))
     OR EXISTS (SELECT 1 FROM privo_reconcile.entries WHERE id <> OLD.id AND request_id = OLD.operation_id AND operation_id IS NULL) THEN
    RAISE EXCEPTION 'another entry has the operation of this intent (UPDATE the intent to `answered` with its http_status)'
      USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN OLD;
END $$;
CREATE TRIGGER entry_not_deleted BEFORE DELETE ON privo_reconcile.entries
  FOR EACH ROW EXECUTE FUNCTION privo_reconcile.entry_not_deleted();

CREATE FUNCTION privo_reconcile.intent_deleted() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  DELETE FROM privo_reconcile.state WHERE entry_id = OLD.id;
  RETURN NULL;
END $$;
CREATE TRIGGER intent_deleted AFTER DELETE ON privo_reconcile.entries
  FOR EACH ROW EXECUTE FUNCTION privo_reconcile.intent_deleted();

-- Evidence and notes are only ever added to, but for the names that an erasure replaces.
CREATE FUNCTION privo_reconcile.only_added_to() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF TG_OP = 'UPDATE' AND privo_reconcile.is_erasing() AND (
       TG_ARGV[0] = 'names' AND to_jsonb(OLD) - 'names' = to_jsonb(NEW) - 'names'
       OR TG_ARGV[0] = 'doc' AND to_jsonb(OLD) - 'doc' = to_jsonb(NEW) - 'doc') THEN
    RETURN NEW;
  END IF;
  RAISE EXCEPTION '% are append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER evidence_kept BEFORE UPDATE OR DELETE ON privo_reconcile.evidence
  FOR EACH ROW EXECUTE FUNCTION privo_reconcile.only_added_to('names');
CREATE TRIGGER notes_kept BEFORE UPDATE OR DELETE ON privo_reconcile.notes
  FOR EACH ROW EXECUTE FUNCTION privo_reconcile.only_added_to('doc');
CREATE TRIGGER texts_kept BEFORE UPDATE OR DELETE ON privo_reconcile.texts
  FOR EACH ROW EXECUTE FUNCTION privo_reconcile.only_added_to('');

-- Emptying a table fires no trigger of its rows.
CREATE FUNCTION privo_reconcile.not_emptied() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RAISE EXCEPTION 'the ledger keeps its entries and its evidence (drop the schema to be rid of the ledger)'
    USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER entries_not_emptied BEFORE TRUNCATE ON privo_reconcile.entries EXECUTE FUNCTION privo_reconcile.not_emptied();
CREATE TRIGGER state_not_emptied BEFORE TRUNCATE ON privo_reconcile.state EXECUTE FUNCTION privo_reconcile.not_emptied();
CREATE TRIGGER keys_not_emptied BEFORE TRUNCATE ON privo_reconcile.keys EXECUTE FUNCTION privo_reconcile.not_emptied();
CREATE TRIGGER evidence_not_emptied BEFORE TRUNCATE ON privo_reconcile.evidence EXECUTE FUNCTION privo_reconcile.not_emptied();
CREATE TRIGGER texts_not_emptied BEFORE TRUNCATE ON privo_reconcile.texts EXECUTE FUNCTION privo_reconcile.not_emptied();
CREATE TRIGGER notes_not_emptied BEFORE TRUNCATE ON privo_reconcile.notes EXECUTE FUNCTION privo_reconcile.not_emptied();

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA privo_reconcile FROM PUBLIC;

-- A writer reads no body, no URL and no error.
GRANT USAGE ON SCHEMA privo_reconcile TO privo_reconcile_writer, privo_reconcile_job;
GRANT INSERT (request_id, operation_id, direction, method, url, body, sent_at, ended_at, failure, http_status, error),
      SELECT (id, request_id, operation_id, failure), UPDATE (failure, http_status, ended_at, error), DELETE
  ON privo_reconcile.entries TO privo_reconcile_writer;

GRANT SELECT ON ALL TABLES IN SCHEMA privo_reconcile TO privo_reconcile_job;
GRANT INSERT, UPDATE, DELETE ON privo_reconcile.entries, privo_reconcile.state, privo_reconcile.keys, privo_reconcile.merges,
  privo_reconcile.imports, privo_reconcile.import_records TO privo_reconcile_job;
GRANT INSERT, UPDATE ON privo_reconcile.words, privo_reconcile.runs TO privo_reconcile_job;
GRANT INSERT, UPDATE (names) ON privo_reconcile.evidence TO privo_reconcile_job;
GRANT INSERT, UPDATE (doc) ON privo_reconcile.notes TO privo_reconcile_job;
GRANT INSERT ON privo_reconcile.texts TO privo_reconcile_job;
GRANT UPDATE ON privo_reconcile.lease TO privo_reconcile_job;
GRANT EXECUTE ON FUNCTION privo_reconcile.is_erasing(), privo_reconcile.now_ms(), privo_reconcile.begin_anew(bigint[]),
  privo_reconcile.merge_group(bigint, bigint),
  privo_reconcile.become(text, bytea, bigint, bigint, bigint, bigint, bigint) TO privo_reconcile_job;

COMMIT;
