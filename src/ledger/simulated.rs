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

/// Looks at entries, and what they found after an absence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LooksCounted {
    /// The first at an effect of an entry.
    pub first: u64,
    /// Further ones, before the entry's first verdict.
    pub before: u64,
    /// Those after it: the watch, and what else makes an entry due again.
    pub after: u64,
    /// Looks that found what the one before did not.
    pub turned_up: u64,
    /// Those of them that an untiring schedule may have made in an earlier run: one that asks again after a quarter of the time
    /// that was looked for so far, and under watch after half of the time since the verdict, but not within a minute nor later
    /// than after six hours.
    pub later: u64,
    /// How much sooner at the most, in milliseconds, together.
    pub later_ms: u64,
}

const COUNT_LOOKS: &str = "
    WITH looks AS (
      SELECT run_id, seen, asked_ms, row_number() OVER effect AS place, first_value(asked_ms) OVER effect AS first_ms,
             lag(asked_ms) OVER effect AS last_ms, lag(seen) OVER effect AS last_seen,
             (SELECT min(decided_ms) FROM verdicts
              WHERE verdicts.entry_id = observations.entry_id AND status <> 'pending') AS decided_ms
      FROM observations WINDOW effect AS (PARTITION BY entry_id, effect ORDER BY id)
    ), judged AS (
      SELECT run_id, place = 1 AS is_first, coalesce(asked_ms > decided_ms, 0) AS is_after,
             seen = 'present' AND coalesce(last_seen = 'absent', 0) AS turned_up,
             last_ms + min(21600000, max(60000,
               iif(coalesce(last_ms > decided_ms, 0), (last_ms - decided_ms) / 2, (last_ms - first_ms) / 4))) AS sooner_ms
      FROM looks
    ), compared AS (
      SELECT *, iif(turned_up, (SELECT started_ms FROM runs WHERE id = run_id)
                               - (SELECT min(started_ms) FROM runs WHERE started_ms >= sooner_ms AND id <= run_id), 0) AS later_ms
      FROM judged
    )
    SELECT coalesce(sum(is_first), 0), coalesce(sum(NOT is_first AND NOT is_after), 0),
           coalesce(sum(NOT is_first AND is_after), 0), coalesce(sum(turned_up), 0),
           coalesce(sum(coalesce(later_ms, 0) > 0), 0), coalesce(sum(max(coalesce(later_ms, 0), 0)), 0)
    FROM compared";

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

    /// The looks at all entries, counted.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn count_looks(&self) -> Result<LooksCounted> {
        let count = |row: &rusqlite::Row<'_>| {
            let [first, before, after, turned_up, later, later_ms] = [0, 1, 2, 3, 4, 5].map(|column| row.get(column));
            Ok(LooksCounted {
                first: first?,
                before: before?,
                after: after?,
                turned_up: turned_up?,
                later: later?,
                later_ms: later_ms?,
            })
        };
        Ok(self.connection.query_row(COUNT_LOOKS, [], count)?)
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
