//! Recording: what a writer of ours puts into the ledger, by the same plain INSERT as any other writer's.

use anyhow::{Context, Result};
use rusqlite::{TransactionBehavior, params};

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

impl Ledger {
    /// Records attempts, all or none. One that is recorded already stays as it is.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub fn record(&mut self, entries: &[NewEntry]) -> Result<()> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for entry in entries {
            insert(&transaction, entry).context("failed to record an entry")?;
        }
        Ok(transaction.commit()?)
    }
}

fn insert(connection: &rusqlite::Connection, entry: &NewEntry) -> rusqlite::Result<usize> {
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
