//! Ledgers of simulated worlds: in memory, the same for the same seed, written by simulated writers of any kind.

use std::path::{Path, PathBuf};

use anyhow::Result;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, params};
use sha2::{Digest, Sha256};

use super::turns::Turns;
use super::{Ledger, prepare, schema};
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
        Ledger::in_memory()?.salted(seed)
    }

    /// One that others can have open, too, by this name: a writer, while the job works.
    ///
    /// # Errors
    /// Never, in practice.
    pub fn simulated_for_several(seed: u64, name: &str) -> Result<Ledger> {
        let path = PathBuf::from(format!("file:/{name}?vfs=memdb"));
        let connection = in_memory_under(&path)?;
        connection.execute_batch(super::SCHEMA)?;
        let identity = connection.query_row("SELECT identity FROM ledger", [], |row| row.get(0))?;
        let (salt, turns) = (Vec::new(), Turns::alone());
        Ledger::over(connection, path, salt, identity, turns).salted(seed)
    }

    fn salted(mut self, seed: u64) -> Result<Ledger> {
        let salt = Sha256::digest(seed.to_le_bytes()).to_vec();
        self.connection.execute("UPDATE ledger SET salt = ?", [&salt])?;
        self.salt = salt;
        Ok(self)
    }

    /// The same ledger, opened once more.
    ///
    /// # Errors
    /// When it is for one only.
    pub fn opened_again(&self) -> Result<Ledger> {
        let connection = in_memory_under(&self.path)?;
        let (path, salt, identity) = (self.path.clone(), self.salt.clone(), self.identity.clone());
        Ok(Ledger::over(connection, path, salt, identity, Turns::alone()))
    }

    /// What every opening of a file does. Rows that nothing had noted bear the stamp of this moment.
    ///
    /// # Errors
    /// When the table cannot be put back, or the ledger cannot be written.
    pub fn reopen(&self, now: Moment) -> Result<()> {
        if !self.may_overlook()? {
            return Ok(());
        }
        let before = "CREATE TEMP TABLE IF NOT EXISTS stamps AS SELECT entry_id, arrived_ms FROM standings";
        self.connection.execute_batch(before)?;
        schema::heal(&self.connection, &self.path)?;
        self.connection.execute(
            "UPDATE standings SET arrived_ms = ? WHERE NOT EXISTS (SELECT 1 FROM temp.stamps before
               WHERE before.entry_id = standings.entry_id AND before.arrived_ms IS standings.arrived_ms)",
            [now.0],
        )?;
        Ok(self.connection.execute_batch("DROP TABLE temp.stamps")?)
    }

    /// A tool of the partner's makes the table `entries` anew, with these columns, and drops the old one.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub fn rebuild_entries(&mut self, columns: &str) -> Result<()> {
        const COPIED: &str = "id, request_id, operation_id, direction, method, url, body, sent_at, ended_at, failure, http_status, error";
        Ok(self.connection.execute_batch(&format!(
            "BEGIN; CREATE TABLE new_entries ({columns});
             INSERT INTO new_entries ({COPIED}) SELECT {COPIED} FROM entries;
             DROP TABLE entries; ALTER TABLE new_entries RENAME TO entries; COMMIT;"
        ))?)
    }

    /// A plain INSERT of a writer who switched the triggers off for its connection.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub fn write_row_unnoted(&mut self, row: &WrittenRow) -> Result<()> {
        self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
        let written = self.write_row(row);
        self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, true)?;
        written
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

    /// As [`Ledger::stamp`], where the row was read in the transaction that wrote it.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub fn stamp_reading(&mut self, request_id: &str, arrived: Moment) -> Result<()> {
        self.stamp(request_id, arrived)?;
        self.connection.execute("UPDATE ledger SET blanking = 1", [])?;
        self.connection.execute(
            "UPDATE readings SET facts = json_set(facts, '$.arrived', ?1)
             WHERE entry_id = (SELECT id FROM entries WHERE request_id = ?2)",
            params![arrived.0, request_id],
        )?;
        self.connection.execute("UPDATE ledger SET blanking = 0", [])?;
        Ok(())
    }
}

fn in_memory_under(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    prepare(&connection)?;
    Ok(connection)
}
