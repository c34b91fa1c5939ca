//! Ledgers of simulated worlds: in memory, the same for the same seed, written by simulated writers of any kind.

use anyhow::Result;
use rusqlite::params;
use sha2::{Digest, Sha256};

use super::Ledger;
use crate::clock::Moment;

/// One row of `entries` as some writer left it, good or bad: every column is the writer's text.
#[derive(Clone, Debug, Default)]
pub struct WrittenRow {
    pub request_id: String,
    pub operation_id: Option<String>,
    pub direction: Option<String>,
    pub method: String,
    pub url: String,
    pub body: Option<String>,
    pub sent_at: String,
    pub ended_at: Option<String>,
    pub failure: Option<String>,
    pub http_status: Option<i64>,
    pub error: Option<String>,
}

impl Ledger {
    /// A ledger in memory whose salt follows from a seed, so that a simulation replays exactly.
    ///
    /// # Errors
    /// Never, in practice.
    pub fn simulated(seed: u64) -> Result<Ledger> {
        let mut ledger = Ledger::in_memory()?;
        let salt = Sha256::digest(seed.to_le_bytes()).to_vec();
        ledger.connection.execute("UPDATE ledger SET salt = ?", [&salt])?;
        ledger.salt = salt;
        Ok(ledger)
    }

    /// A writer's plain INSERT.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub fn write_row(&mut self, row: &WrittenRow) -> Result<()> {
        self.connection
            .prepare_cached(
                "INSERT INTO entries (request_id, operation_id, direction, method, url, body, sent_at, ended_at, failure,
                                      http_status, error)
                 VALUES (?, ?, coalesce(?, 'outbound'), ?, ?, ?, ?, ?, ?, ?, ?)",
            )?
            .execute(params![
                row.request_id,
                row.operation_id,
                row.direction,
                row.method,
                row.url,
                row.body,
                row.sent_at,
                row.ended_at,
                row.failure,
                row.http_status,
                row.error,
            ])?;
        Ok(())
    }

    /// A writer's news of an `intent`.
    ///
    /// # Errors
    /// When the ledger cannot be written, or the row is no intent any more.
    pub fn write_news(&mut self, row: &WrittenRow) -> Result<()> {
        self.connection
            .prepare_cached("UPDATE entries SET failure = ?, http_status = ?, ended_at = ? WHERE request_id = ?")?
            .execute(params![row.failure, row.http_status, row.ended_at, row.request_id])?;
        Ok(())
    }

    /// A writer's DELETE of an `intent`; false when the ledger keeps it.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub fn delete_intent(&mut self, request_id: &str) -> Result<bool> {
        let mut delete = self.connection.prepare_cached("DELETE FROM entries WHERE request_id = ?")?;
        match delete.execute([request_id]) {
            Ok(_) => Ok(true),
            Err(rusqlite::Error::SqliteFailure(error, _)) if error.code == rusqlite::ErrorCode::ConstraintViolation => {
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Says when a simulated row came: its triggers stamp it by the clock of the machine that simulates.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub fn stamp(&mut self, request_id: &str, arrived: Moment) -> Result<()> {
        self.connection
            .prepare_cached(
                "UPDATE standings SET arrived_ms = ?1
                 WHERE entry_id = (SELECT id FROM entries WHERE request_id = ?2)",
            )?
            .execute(params![arrived.0, request_id])?;
        Ok(())
    }
}
