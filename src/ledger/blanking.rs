//! Blanking: the personal fields of an entry are removed, within the caller's transactions, and what stays is put under a
//! digest. `prune` and `forget` say which entries; this says how.
//!
//! # What is replaced
//! The row loses body, query, error and whatever else may name somebody ([`Reader::remainder`]). Its readings lose the
//! masked subject. What a webhook's look fetched, and ids of the server that hold an `@`, become names that say nothing
//! ([`super::renaming`]). The digests of its keys can be guessed by whoever has the file, for the salt is in it: they are
//! replaced by random ones as soon as nothing is left that must be compared with them ([`super::sealing`]).
//!
//! # What stays decidable
//! Every replacement keeps what is equal equal and what is in order in order, over everything that was ever decided
//! together. So each stored decision says the same as before, and `verify` shows it.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use rusqlite::{Connection, OptionalExtension, params};
use sha2::{Digest, Sha256};

use super::intake::row_of;
use crate::clock::{Moment, Span};
use crate::evidence::Facts;
use crate::plan::personal::{self, Kept, Remainder};
use crate::plan::{Reader, hex};

/// Ids that were renamed begin so.
pub(super) const RENAMED: &str = "blanked-";

/// How a subject is named when its name is gone: `None` without a key.
pub type Pseudonym<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Which command blanks, and by whose word.
#[derive(Clone, Debug)]
pub(super) struct Cause<'a> {
    pub command: &'static str,
    pub keep: Option<Span>,
    pub who: Option<&'a str>,
    pub why: Option<&'a str>,
}

/// What a command that blanks keeps from one of its transactions to the next.
pub(super) struct Work<'a> {
    pub reader: &'a Reader<'a>,
    pub now: Moment,
    /// What is personal beside each row's own values, in small letters: whom a `forget` is about.
    pub also: BTreeSet<String>,
    pseudonym: Pseudonym<'a>,
    cause: Cause<'a>,
    /// What is random comes of this; it is forgotten with the command.
    key: [u8; 32],
    /// `blankings.id`, once something is blanked.
    id: Option<i64>,
    drawn: Cell<u64>,
    entries: Cell<u64>,
    /// Whatever was sealed had done what it did by then.
    sealed: Cell<Option<i64>>,
}

/// A blanking under way, in one transaction.
pub(super) struct Blanking<'a> {
    pub connection: &'a Connection,
    pub reader: &'a Reader<'a>,
    pub now: Moment,
    work: &'a Work<'a>,
    id: i64,
}

/// An entry whose evidence is about to change.
pub(super) struct Touched {
    pub entry: i64,
    /// It is being blanked now.
    fresh: bool,
    /// Blanked before, and its digest still fitted.
    intact: bool,
}

/// How far the digest of a blanked entry goes: the last reading, observation and verdict.
pub(super) type Limits = (i64, i64, i64);

impl<'a> Work<'a> {
    /// Begins the work of a command; nothing is written.
    pub fn new(
        connection: &Connection,
        reader: &'a Reader<'a>,
        now: Moment,
        pseudonym: Pseudonym<'a>,
        cause: Cause<'a>,
    ) -> Result<Work<'a>> {
        let key = connection.query_row("SELECT randomblob(32)", [], |row| row.get(0))?;
        let (drawn, entries, sealed) = (Cell::new(0), Cell::new(0), Cell::new(None));
        let also = BTreeSet::new();
        Ok(Work { reader, now, also, pseudonym, cause, key, id: None, drawn, entries, sealed })
    }

    /// A transaction of it was committed, in which something was blanked.
    pub fn committed(&mut self, id: i64) {
        self.id = Some(id);
    }
}

impl<'a> Blanking<'a> {
    /// Begins to blank in a transaction; entries and evidence may be changed until it ends.
    pub fn begin(connection: &'a Connection, work: &'a Work<'a>) -> Result<Blanking<'a>> {
        connection.execute("UPDATE ledger SET blanking = 1", [])?;
        let id = match work.id {
            Some(id) => id,
            None => begun(connection, work)?,
        };
        Ok(Blanking { connection, reader: work.reader, now: work.now, work, id })
    }

    /// One that only looks at what is there.
    pub fn looking(connection: &'a Connection, work: &'a Work<'a>) -> Blanking<'a> {
        Blanking { connection, reader: work.reader, now: work.now, work, id: 0 }
    }

    /// Ends it, and gives its id. The transaction is then to be committed; one that changed nothing is to be dropped
    /// instead, and leaves no trace.
    pub fn end(&self) -> Result<i64> {
        let end = params![self.work.entries.get(), self.work.sealed.get(), self.id];
        self.connection.execute("UPDATE blankings SET entries = ?, sealed_ms = ? WHERE id = ?", end)?;
        self.connection.execute("UPDATE ledger SET blanking = 0", [])?;
        Ok(self.id)
    }

    /// Notes that something was sealed that had done whatever it did by then.
    pub fn sealed_until(&self, moment: Moment) {
        self.work.sealed.set(self.work.sealed.get().max(Some(moment.0)));
    }

    /// A random number.
    pub fn draw(&self) -> u128 {
        self.work.drawn.set(self.work.drawn.get() + 1);
        self.digest("draw", &self.work.drawn.get().to_le_bytes())
    }

    /// A name for a text: the same for the same text within this work, and nothing leads back from it.
    pub fn rename(&self, text: &str) -> String {
        format!("{RENAMED}{:032x}", self.digest("name", text.as_bytes()))
    }

    fn digest(&self, scope: &str, bytes: &[u8]) -> u128 {
        let digest = Sha256::new_with_prefix(self.work.key).chain_update(scope).chain_update(bytes).finalize();
        digest.iter().take(16).fold(0, |number, byte| (number << 8) | u128::from(*byte))
    }

    /// Notes whether the digest of an entry that was blanked before still fits, before its evidence changes.
    pub fn touch(&self, entry: i64) -> Result<Touched> {
        let stored: Option<(Limits, String)> = self
            .connection
            .prepare_cached(
                "SELECT last_reading, last_observation, last_verdict, evidence FROM blanked WHERE entry_id = ?",
            )?
            .query_row([entry], |row| Ok(((row.get(0)?, row.get(1)?, row.get(2)?), row.get(3)?)))
            .optional()?;
        let Some((limits, digest)) = stored else { return Ok(Touched { entry, fresh: false, intact: false }) };
        let intact = evidence_digest(self.connection, entry, limits)? == digest;
        Ok(Touched { entry, fresh: false, intact })
    }

    /// Removes the personal fields of an entry.
    pub fn blank(&self, entry: i64) -> Result<Touched> {
        let mut statement = self.connection.prepare_cached(
            "SELECT s.revision, e.id, e.request_id, e.operation_id, e.direction, e.method, e.url, e.body, e.sent_at, e.ended_at,
                    e.failure, e.http_status, s.arrived_ms, s.clock_error_ms, s.reading_id
             FROM standings s JOIN entries e ON e.id = s.entry_id WHERE s.entry_id = ?",
        )?;
        let found = statement.query_row([entry], |row| Ok((row_of(row, 0)?, row.get::<_, i64>(14)?)));
        let (row, current) = found.with_context(|| format!("failed to read entry {entry}"))?;
        let row = row.with_context(|| format!("entry {entry} is missing"))?;
        let reading = self.reader.read(&row, self.now);
        let facts = self.facts_of(entry)?;
        let now = facts.get(&current).with_context(|| format!("the reading of entry {entry} is missing"))?;
        self.write_row(entry, &self.reader.remainder(&row, now, &reading, &self.work.also))?;
        for (id, mut facts) in facts {
            facts.path = self.reader.path_left(&facts);
            facts.method = personal::method_left(&facts);
            facts.subject = None;
            self.write_facts(id, &facts)?;
        }
        let values = personal::values(&row, &reading);
        self.unname_words(entry, |said| personal::without_names(said, &values))?;
        self.connection.prepare_cached("UPDATE standings SET due_ms = NULL WHERE entry_id = ?")?.execute([entry])?;
        self.work.entries.set(self.work.entries.get() + 1);
        if let Some(pseudonym) = reading.normalised_subject.and_then(|subject| (self.work.pseudonym)(&subject)) {
            self.connection
                .prepare_cached("INSERT OR REPLACE INTO pseudonyms (entry_id, pseudonym) VALUES (?, ?)")?
                .execute(params![entry, pseudonym])?;
        }
        Ok(Touched { entry, fresh: true, intact: true })
    }

    fn write_row(&self, entry: i64, left: &Remainder) -> Result<()> {
        let id = |kept: &Kept, column: &str| -> Result<Option<String>> {
            Ok(match kept {
                Kept::Nothing => None,
                Kept::Renamed(text) => Some(self.rename(text)),
                Kept::AsItIs => self
                    .connection
                    .prepare_cached(&format!("SELECT {column} FROM entries WHERE id = ?"))?
                    .query_row([entry], |row| {
                        row.get_ref(0).map(|value| value.as_str_or_null().ok().flatten().map(str::to_owned))
                    })?,
            })
        };
        let request_id = match id(&left.request_id, "request_id")? {
            Some(id) => id,
            None => self.rename(&entry.to_string()),
        };
        let operation_id = id(&left.operation_id, "operation_id")?;
        if let Kept::Renamed(old) = &left.operation_id {
            // Another attempt of the operation may show no value that tells what its id holds.
            self.connection
                .prepare_cached("UPDATE entries SET operation_id = ? WHERE operation_id = ?")?
                .execute(params![operation_id, old])?;
        }
        let changed = self
            .connection
            .prepare_cached(
                "UPDATE entries SET request_id = ?, operation_id = ?, direction = ?, method = ?, url = ?, body = NULL, sent_at = ?,
                                    ended_at = ?, failure = ?, http_status = ?, error = NULL
                 WHERE id = ?",
            )?
            .execute(params![
                request_id,
                operation_id,
                left.direction,
                left.method,
                left.url,
                left.sent_at,
                left.ended_at,
                left.failure,
                left.http_status,
                entry
            ])?;
        if changed != 1 {
            bail!("failed to remove the personal fields of entry {entry}: its id is another one's");
        }
        Ok(())
    }

    /// What was ever read of an entry, by `readings.id`.
    pub fn facts_of(&self, entry: i64) -> Result<BTreeMap<i64, Facts>> {
        let mut statement = self.connection.prepare_cached("SELECT id, facts FROM readings WHERE entry_id = ?")?;
        let mut rows = statement.query([entry])?;
        let mut facts = BTreeMap::new();
        while let Some(row) = rows.next()? {
            let read = serde_json::from_str(row.get_ref(1)?.as_str()?).context("failed to read a reading")?;
            facts.insert(row.get(0)?, read);
        }
        Ok(facts)
    }

    /// Stores what a reading is to say from now on.
    pub fn write_facts(&self, reading: i64, facts: &Facts) -> Result<()> {
        let mut statement = self.connection.prepare_cached("UPDATE readings SET facts = ? WHERE id = ?")?;
        statement.execute(params![serde_json::to_string(facts)?, reading])?;
        Ok(())
    }

    /// A person's word about an entry is nobody's evidence: the words in it that name somebody go.
    pub fn unname_words(&self, entry: i64, left: impl Fn(&str) -> String) -> Result<()> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT id, explanation FROM verdicts WHERE entry_id = ? AND decision_id IS NULL")?;
        let words: Vec<(i64, String)> =
            statement.query_map([entry], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<rusqlite::Result<_>>()?;
        for (id, said) in words {
            let left = left(&said);
            if left != said {
                self.connection.execute("UPDATE verdicts SET explanation = ? WHERE id = ?", params![left, id])?;
            }
        }
        Ok(())
    }

    /// Puts what is left of an entry under its digest. One that did not fit before must not fit now.
    pub fn stamp(&self, touched: &Touched, sealed: bool) -> Result<()> {
        let entry = touched.entry;
        if touched.fresh {
            let limits = last_of(self.connection, entry)?;
            let digest = evidence_digest(self.connection, entry, limits)?;
            self.connection
                .prepare_cached(
                    "INSERT INTO blanked (entry_id, blanking_id, sealed, last_reading, last_observation, last_verdict, evidence)
                     VALUES (?, ?, ?, ?, ?, ?, ?)",
                )?
                .execute(params![entry, self.id, sealed, limits.0, limits.1, limits.2, digest])?;
            return Ok(());
        }
        if touched.intact {
            let limits: Limits = self
                .connection
                .prepare_cached("SELECT last_reading, last_observation, last_verdict FROM blanked WHERE entry_id = ?")?
                .query_row([entry], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
            let digest = evidence_digest(self.connection, entry, limits)?;
            self.connection
                .prepare_cached("UPDATE blanked SET evidence = ? WHERE entry_id = ?")?
                .execute(params![digest, entry])?;
        }
        if sealed {
            self.connection.prepare_cached("UPDATE blanked SET sealed = 1 WHERE entry_id = ?")?.execute([entry])?;
        }
        Ok(())
    }
}

fn begun(connection: &Connection, work: &Work) -> Result<i64> {
    let cause = &work.cause;
    connection.execute(
        "INSERT INTO blankings (command, at_ms, version, keep_ms, who, why, entries) VALUES (?, ?, ?, ?, ?, ?, 0)",
        params![
            cause.command,
            work.now.0,
            env!("CARGO_PKG_VERSION"),
            cause.keep.map(|keep| keep.0),
            cause.who,
            cause.why
        ],
    )?;
    Ok(connection.last_insert_rowid())
}

/// Whether entries are as they were when they were chosen: there, and read. A writer changes what it may at any time.
pub(super) fn are_as_they_were(connection: &Connection, entries: impl IntoIterator<Item = i64>) -> Result<bool> {
    let mut statement =
        connection.prepare_cached("SELECT 1 FROM standings WHERE entry_id = ? AND reading_id IS NOT NULL")?;
    for entry in entries {
        if !statement.exists([entry])? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn last_of(connection: &Connection, entry: i64) -> Result<Limits> {
    let mut statement = connection.prepare_cached(
        "SELECT (SELECT coalesce(max(id), 0) FROM readings WHERE entry_id = ?1),
                (SELECT coalesce(max(id), 0) FROM observations WHERE entry_id = ?1),
                (SELECT coalesce(max(id), 0) FROM verdicts WHERE entry_id = ?1)",
    )?;
    Ok(statement.query_row([entry], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?)
}

/// The lines that a digest is made of; docs/CHILDREN.md gives them to auditors.
const EVIDENCE: &str = "
SELECT 1, id, json_array('reading', id, basis, facts) FROM readings WHERE entry_id = ?1 AND id <= ?2
UNION ALL
SELECT 2, id, json_array('observation', id, run_id, effect, basis, lookup, asked_ms, seen_ms, server_ms, seen, cause, records, state,
                         known_control, random_control, near_control, skew_least_ms, skew_most_ms, made_error_ms, fields_control)
FROM observations WHERE entry_id = ?1 AND id <= ?3
UNION ALL
SELECT 3, id, json_array('verdict', id, run_id, decision_id, decided_ms, status, outcome, reason, action, server_id, matched_on,
                         explanation, correction)
FROM verdicts WHERE entry_id = ?1 AND id <= ?4
ORDER BY 1, 2";

/// SHA-256, in hexadecimal, of what is stored of an entry: readings, observations, verdicts, a line for each.
pub(super) fn evidence_digest(connection: &Connection, entry: i64, limits: Limits) -> Result<String> {
    let mut statement = connection.prepare_cached(EVIDENCE)?;
    let mut rows = statement.query(params![entry, limits.0, limits.1, limits.2])?;
    let mut digest = Sha256::new();
    while let Some(row) = rows.next()? {
        digest.update(row.get_ref(2)?.as_str()?);
        digest.update("\n");
    }
    Ok(hex(&digest.finalize()))
}
