//! Recording: what a writer of ours puts into the ledger, by the same statements as any other writer's.
//!
//! The functions take a connection, so they join whatever transaction its owner has open.

use anyhow::{Context, Result};
use rusqlite::{Connection, params};

use super::Ledger;
use crate::clock::Moment;
use crate::words::{Direction, Failure};

/// One attempt as its writer knows it; the columns of `entries`.
#[derive(Clone, Debug)]
pub struct NewEntry<'a> {
    pub request_id: &'a str,
    pub operation_id: Option<&'a str>,
    pub direction: Direction,
    pub method: &'a str,
    /// As sent, absolute; inbound: the partner's own path.
    pub url: &'a str,
    pub body: Option<&'a str>,
    pub sent_at: Moment,
    pub ended_at: Option<Moment>,
    pub failure: Failure,
    pub http_status: Option<u16>,
    pub error: Option<&'a str>,
}

/// [`NewEntry`], owned: one that waits for its turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedEntry {
    pub request_id: String,
    pub operation_id: Option<String>,
    pub direction: Direction,
    pub method: String,
    pub url: String,
    pub body: Option<String>,
    pub sent_at: Moment,
    pub ended_at: Option<Moment>,
    pub failure: Failure,
    pub http_status: Option<u16>,
    pub error: Option<String>,
}

impl OwnedEntry {
    /// As the ledger takes it.
    pub fn entry(&self) -> NewEntry<'_> {
        NewEntry {
            request_id: &self.request_id,
            operation_id: self.operation_id.as_deref(),
            direction: self.direction,
            method: &self.method,
            url: &self.url,
            body: self.body.as_deref(),
            sent_at: self.sent_at,
            ended_at: self.ended_at,
            failure: self.failure,
            http_status: self.http_status,
            error: self.error.as_deref(),
        }
    }
}

impl Ledger {
    /// Records attempts, all or none. One that is recorded already stays as it is.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub fn record(&mut self, entries: &[NewEntry]) -> Result<()> {
        let turn = self.turn()?;
        for entry in entries {
            insert(&turn, entry).context("failed to record an entry")?;
        }
        turn.commit()
    }
}

/// How an attempt that was recorded as an `intent` ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End<'a> {
    /// A definite answer, 200 to 499. It is forgotten, unless it is evidence for other attempts of its operation or
    /// `keep` asks for a trace.
    Answered { status: u16, keep: bool },
    /// It stays in doubt, or was never sent.
    Failed { failure: Failure, http_status: Option<u16>, error: Option<&'a str> },
}

/// What became of a recorded intent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It is not in the ledger any more: it was answered, and nothing is in doubt.
    Forgotten,
    /// It is an entry, or evidence.
    Kept,
    /// There is no intent of this id (any more); nothing was changed.
    NoIntent,
}

/// Ends a recorded intent.
///
/// # Errors
/// When the ledger cannot be written.
pub fn end(connection: &Connection, request_id: &str, ended_at: Moment, end: &End) -> rusqlite::Result<Ended> {
    let (failure, http_status, error) = match *end {
        End::Answered { keep: false, .. } if forget(connection, request_id)? => return Ok(Ended::Forgotten),
        End::Answered { status, .. } => (Failure::Answered, Some(status), None),
        End::Failed { failure, http_status, error } => (failure, http_status, error),
    };
    let changed = connection
        .prepare_cached(
            "UPDATE entries SET failure = ?, http_status = ?, ended_at = ?, error = ? WHERE request_id = ? AND failure = 'intent'",
        )?
        .execute(params![failure.text(), http_status, ended_at.to_string(), error, request_id])?;
    Ok(if changed == 0 { Ended::NoIntent } else { Ended::Kept })
}

/// Deletes an intent that was answered, unless it was looked up already or other attempts of its operation are there:
/// then the answer is evidence.
fn forget(connection: &Connection, request_id: &str) -> rusqlite::Result<bool> {
    let deleted = connection
        .prepare_cached(
            "DELETE FROM entries WHERE request_id = ?1 AND failure = 'intent'
               AND NOT EXISTS (SELECT 1 FROM observations WHERE entry_id = entries.id)
               AND NOT EXISTS (SELECT 1 FROM entries other
                               WHERE other.id <> entries.id
                                 AND (other.operation_id = coalesce(entries.operation_id, entries.request_id)
                                      OR other.request_id = entries.operation_id))",
        )?
        .execute([request_id])?;
    Ok(deleted > 0)
}

/// Records one attempt. False: it is recorded already and stays as it is.
///
/// # Errors
/// When the ledger cannot be written.
pub fn record(connection: &Connection, entry: &NewEntry) -> rusqlite::Result<bool> {
    match insert(connection, entry) {
        Err(error) if is_repeat(&error) => Ok(false),
        inserted => Ok(inserted? > 0),
    }
}

/// A unique index of the partner's own on the id is asked before the table's key, and refuses what that passes over.
fn is_repeat(error: &rusqlite::Error) -> bool {
    let rusqlite::Error::SqliteFailure(failure, Some(said)) = error else { return false };
    failure.extended_code == rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE && said.ends_with(" entries.request_id")
}

fn insert(connection: &Connection, entry: &NewEntry) -> rusqlite::Result<usize> {
    connection
        .prepare_cached(
            "INSERT INTO entries (request_id, operation_id, direction, method, url, body, sent_at, ended_at, failure, http_status, error)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            entry.request_id,
            entry.operation_id,
            entry.direction.text(),
            entry.method,
            entry.url,
            entry.body,
            entry.sent_at.to_string(),
            entry.ended_at.map(|ended| ended.to_string()),
            entry.failure.text(),
            entry.http_status,
            entry.error,
        ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intent<'a>(request_id: &'a str, operation_id: Option<&'a str>) -> NewEntry<'a> {
        NewEntry {
            request_id,
            operation_id,
            direction: Direction::Outbound,
            method: "POST",
            url: "http://127.0.0.1/api/v1.0/account",
            body: None,
            sent_at: Moment(1_700_000_000_000),
            ended_at: None,
            failure: Failure::Intent,
            http_status: None,
            error: None,
        }
    }

    fn failures(ledger: &Ledger) -> Vec<(String, String)> {
        let mut statement = ledger.connection.prepare("SELECT request_id, failure FROM entries ORDER BY id").unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.collect::<rusqlite::Result<_>>().unwrap()
    }

    #[test]
    fn a_clean_answer_leaves_no_trace_unless_it_is_evidence() {
        let ledger = Ledger::in_memory().unwrap();
        let at = Moment(1_700_000_001_000);
        let answered = End::Answered { status: 201, keep: false };
        record(&ledger.connection, &intent("a", None)).unwrap();
        assert_eq!(end(&ledger.connection, "a", at, &answered), Ok(Ended::Forgotten));
        assert_eq!(end(&ledger.connection, "a", at, &answered), Ok(Ended::NoIntent));
        record(&ledger.connection, &intent("b", Some("o"))).unwrap();
        let failed = End::Failed { failure: Failure::Timeout, http_status: None, error: None };
        assert_eq!(end(&ledger.connection, "b", at, &failed), Ok(Ended::Kept));
        record(&ledger.connection, &intent("c", Some("o"))).unwrap();
        assert_eq!(end(&ledger.connection, "c", at, &answered), Ok(Ended::Kept));
        let expected = [("b".to_owned(), "timeout".to_owned()), ("c".to_owned(), "answered".to_owned())];
        assert_eq!(failures(&ledger), expected);
    }

    #[test]
    fn the_same_attempt_again_changes_nothing() {
        let ledger = Ledger::in_memory().unwrap();
        assert_eq!(record(&ledger.connection, &intent("a", None)), Ok(true));
        assert_eq!(record(&ledger.connection, &intent("a", Some("other"))), Ok(false));
        ledger.connection.execute_batch("CREATE UNIQUE INDEX theirs ON entries (request_id)").unwrap();
        assert_eq!(record(&ledger.connection, &intent("a", None)), Ok(false));
        assert_eq!(record(&ledger.connection, &intent("b", None)), Ok(true));
    }
}
