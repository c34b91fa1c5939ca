//! Runs: one row each, made before anything else and ended with its counts.

use anyhow::Result;
use rusqlite::{OptionalExtension, params, params_from_iter};

use super::Ledger;
use crate::clock::Moment;
use crate::evidence::Windows;

/// `runs.id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunId(pub i64);

/// What a run is and under what it decides.
#[derive(Debug)]
pub struct RunStart<'a> {
    pub command: &'a str,
    pub started: Moment,
    pub plan: &'a str,
    pub plan_digest: &'a str,
    /// Scheme, host and port.
    pub server: &'a str,
    pub windows: &'a Windows,
}

/// What a run did.
#[derive(Clone, Debug, Default)]
pub struct RunEnd {
    pub examined: u64,
    pub requests: u64,
    pub settled: u64,
    pub deferred: u64,
    /// JSON: how each lookup's controls went last.
    pub controls: String,
    /// Why it stopped early.
    pub trouble: Option<String>,
}

impl Ledger {
    /// Makes everything due that a watch looks at, or looked at once: verdicts that a late record could correct. What is read
    /// otherwise by this run's plan than it was decided upon is decided anew.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub fn recheck(&mut self) -> Result<()> {
        const SOME: i64 = 200;
        (self.rechecks, self.reads_all) = (true, true);
        let (mut from, last) = self.connection.query_row(
            "SELECT coalesce(min(entry_id), 0), coalesce(max(entry_id), -1) FROM standings",
            [],
            |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)),
        )?;
        while from <= last {
            let turn = self.turn()?;
            while from <= last {
                let next: Option<i64> = turn
                    .prepare_cached(
                        "SELECT entry_id FROM standings WHERE entry_id >= ? ORDER BY entry_id LIMIT 1 OFFSET ?",
                    )?
                    .query_row([from, SOME], |row| row.get(0))
                    .optional()?;
                let end = next.unwrap_or(i64::MAX);
                turn.prepare_cached(
                    "UPDATE standings SET due_ms = 0
                     WHERE entry_id >= ? AND entry_id < ? AND status = 'resolved'
                       AND reason IN ('confirmed-absent', 'never-sent', 'not-deleted', 'not-updated', 'state-fetched')
                       AND NOT EXISTS (SELECT 1 FROM blanked WHERE blanked.entry_id = standings.entry_id)",
                )?
                .execute([from, end])?;
                from = end;
                if turn.is_over() {
                    break;
                }
            }
            turn.commit()?;
        }
        Ok(())
    }

    /// Begins a run.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub fn begin_run(&mut self, run: &RunStart) -> Result<RunId> {
        let turn = self.turn()?;
        turn.execute(
            "INSERT INTO runs (command, started_ms, version, plan, plan_digest, server, windows) VALUES (?, ?, ?, ?, ?, ?, ?)",
            params![
                run.command,
                run.started.0,
                env!("CARGO_PKG_VERSION"),
                run.plan,
                run.plan_digest,
                run.server,
                serde_json::to_string(run.windows)?
            ],
        )?;
        let id = turn.last_insert_rowid();
        turn.commit()?;
        Ok(RunId(id))
    }

    /// When the last run that came to its end began.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn last_ended_run(&self) -> Result<Option<Moment>> {
        let sql = "SELECT started_ms FROM runs WHERE command = 'run' AND ended_ms IS NOT NULL ORDER BY id DESC LIMIT 1";
        Ok(self.connection.query_row(sql, [], |row| row.get(0)).optional()?.map(Moment))
    }

    /// Notes the exit code that a run's command ends with.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub fn note_exit(&mut self, run: RunId, exit: u8) -> Result<()> {
        self.connection.execute("UPDATE runs SET exit = ? WHERE id = ?", params![exit, run.0])?;
        Ok(())
    }

    /// When the last run ended whose command ended with one of these exit codes.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn last_run_with(&self, exits: &[u8]) -> Result<Option<Moment>> {
        let marks = vec!["?"; exits.len()].join(", ");
        let sql = format!(
            "SELECT ended_ms FROM runs WHERE command = 'run' AND ended_ms IS NOT NULL AND exit IN ({marks}) ORDER BY id DESC LIMIT 1"
        );
        let ended = self.connection.query_row(&sql, params_from_iter(exits), |row| row.get(0));
        Ok(ended.optional()?.map(Moment))
    }

    /// Ends a run with what it did.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub fn end_run(&mut self, run: RunId, ended: Moment, end: &RunEnd) -> Result<()> {
        let turn = self.turn()?;
        turn.execute(
            "UPDATE runs SET ended_ms = ?, examined = ?, requests = ?, settled = ?, deferred = ?, controls = ?, trouble = ? WHERE id = ?",
            params![ended.0, end.examined, end.requests, end.settled, end.deferred, end.controls, end.trouble, run.0],
        )?;
        turn.commit()
    }
}
