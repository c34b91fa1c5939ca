//! What was reported: marks of what was new, and reveals. Both are only ever added to.

use anyhow::{Context, Result};
use rusqlite::{OptionalExtension, params};

use super::{Ledger, VERSION};
use crate::clock::Moment;
use crate::standing::{LastReport, RunFacts};

impl Ledger {
    /// The version of the ledger's schema.
    pub fn schema_version(&self) -> i64 {
        VERSION
    }

    /// The last report of what was new for this reader. `None`: there was none yet.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn last_report(&self, reader: &str) -> Result<Option<LastReport>> {
        let sql = "SELECT at_ms, last_verdict FROM reports WHERE reader = ? ORDER BY id DESC LIMIT 1";
        let found = self
            .connection
            .query_row(sql, [reader], |row| Ok(LastReport { at: Moment(row.get(0)?), last_verdict: row.get(1)? }));
        found.optional().context("failed to read when the last report was")
    }

    /// Notes that a report of what was new went out whole.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub fn note_report(&self, reader: &str, report: LastReport, rows: u64) -> Result<()> {
        let sql = "INSERT INTO reports (at_ms, reader, last_verdict, rows) VALUES (?, ?, ?, ?)";
        let noted = self.connection.execute(sql, params![report.at.0, reader, report.last_verdict, rows]);
        noted.context("failed to note the report, so that the next one with --new begins where this one did")?;
        Ok(())
    }

    /// Notes that a report is to show subjects and ids in full: how many rows, what for, and by whom.
    ///
    /// # Errors
    /// When the ledger cannot be written; then nothing may be shown.
    pub fn note_disclosure(&self, at: Moment, report: &str, rows: u64, purpose: Option<&str>, who: &str) -> Result<()> {
        let sql = "INSERT INTO disclosures (at_ms, report, rows, purpose, who) VALUES (?, ?, ?, ?, ?)";
        let noted = self.connection.execute(sql, params![at.0, report, rows, purpose, who]);
        noted.context("failed to note in the ledger what is revealed, so nothing was")?;
        Ok(())
    }

    /// Whether any entry was ever read as this operation, under whatever plan.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn knows_operation(&self, name: &str) -> Result<bool> {
        let sql = "SELECT EXISTS (SELECT 1 FROM readings WHERE json_extract(facts, '$.operation') = ?)";
        Ok(self.connection.query_row(sql, [name], |row| row.get(0))?)
    }

    /// The runs of these ids, those that there are.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn runs_of(&self, ids: impl IntoIterator<Item = i64>) -> Result<Vec<RunFacts>> {
        let runs = ids.into_iter().filter_map(|id| self.run_facts(Some(id)).transpose());
        runs.collect()
    }
}
