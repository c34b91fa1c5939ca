//! Inspecting: whether the file is whole, and a sample of what stands in it. Nothing is changed, and a run and its writers
//! may go on beside it.

use anyhow::{Result, bail};
use rusqlite::params;

use super::Ledger;
use super::intake::row_of;
use crate::plan::Row;

/// At most so many entries that the plan could make nothing of are in a sample.
const MOST_UNREAD: usize = 100_000;

impl Ledger {
    /// Whether the file is whole: its pages, its indexes, and what its tables say of each other.
    ///
    /// # Errors
    /// When it is not, or cannot be read.
    pub fn check_integrity(&self) -> Result<()> {
        let place = self.path.display();
        let said: String = self.connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
        if said != "ok" {
            bail!("the ledger {place} is damaged ({said}); restore it from a backup");
        }
        let mut orphans = self.connection.prepare("PRAGMA foreign_key_check")?;
        if let Some(row) = orphans.query([])?.next()? {
            let table: String = row.get(0)?;
            bail!(
                "the ledger {place} is damaged (a row of {table} has lost what it belongs to); restore it from a backup"
            );
        }
        Ok(())
    }

    /// Gives the newest entries to `each`, and those that the plan could make nothing of (`no-plan`, `bad-row`), however
    /// old. `answered` ones and those that a person closed are left out.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn each_sampled(&self, newest: usize, mut each: impl FnMut(&Row)) -> Result<()> {
        let mut statement = self.connection.prepare(
            "SELECT s.revision, e.id, e.request_id, e.operation_id, e.direction, e.method, e.url, e.body, e.sent_at, e.ended_at,
                    e.failure, e.http_status, s.arrived_ms, s.clock_error_ms
             FROM standings s JOIN entries e ON e.id = s.entry_id
             WHERE s.status IS NOT NULL AND s.reason IS NOT 'closed' AND s.entry_id NOT IN (SELECT entry_id FROM blanked)
               AND s.entry_id IN (
               SELECT id FROM (SELECT id FROM entries ORDER BY id DESC LIMIT ?)
               UNION
               SELECT entry_id FROM (
                 SELECT entry_id FROM standings WHERE status = 'duplicate-risk' AND reason IN ('no-plan', 'bad-row')
                 ORDER BY entry_id DESC LIMIT ?))
             ORDER BY s.entry_id",
        )?;
        let mut rows = statement.query(params![newest, MOST_UNREAD])?;
        while let Some(row) = rows.next()? {
            if let Some(row) = row_of(row, 0)? {
                each(&row);
            }
        }
        Ok(())
    }
}
