//! Inspecting: whether the file is whole. Nothing is changed, and a run and its writers may go on beside it.

use anyhow::{Result, bail};

use super::SqliteStore;

impl SqliteStore {
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
}
