-- Version 2: what `import` has read of which file. Run on a ledger of version 1 when it is first opened.

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
