//! Opening a ledger to look at: the file stays as it is, byte for byte. Commands that only read work so, and what says that
//! it writes nothing.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::turns::Turns;
use super::{SqliteStore, prepare, read_only};
use crate::exit;
use crate::outputs;

impl SqliteStore {
    /// Opens a ledger to read it. One in which rows may have come that nothing noted is healed first: the file, or a copy
    /// where it cannot be written.
    ///
    /// # Errors
    /// As [`SqliteStore::open`]; when the copy cannot be made.
    pub fn open_to_read(path: &Path) -> Result<SqliteStore> {
        let ledger = SqliteStore::open_unchanged(path)?;
        if !ledger.may_overlook()? {
            return Ok(ledger);
        }
        match SqliteStore::open(path) {
            Err(error) if exit::of_error(&error) == exit::FAILED => ledger.copy_in_memory(),
            opened => opened,
        }
    }

    /// Opens a ledger as it is.
    ///
    /// # Errors
    /// As [`SqliteStore::open`].
    pub fn open_unchanged(path: &Path) -> Result<SqliteStore> {
        let ledger = match SqliteStore::open_any(path) {
            Err(error) => read_only::open(path).unwrap_or(Err(error))?,
            opened => opened?,
        };
        // What a killed writer left beside the file would go into it when the last one closes it. It is read where it is.
        if !beside_is_empty(path) {
            ledger.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        }
        Ok(ledger)
    }

    /// A copy that lives in memory, to see what a run would do. It is healed.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn copy_in_memory(&self) -> Result<SqliteStore> {
        let mut copy = Connection::open_in_memory()?;
        rusqlite::backup::Backup::new(&self.connection, &mut copy)?.run_to_completion(1000, Duration::ZERO, None)?;
        prepare(&copy)?;
        let mut copy = SqliteStore {
            connection: copy,
            path: self.path.clone(),
            identity: self.identity.clone(),
            turns: Turns::alone(),
            _lock: None,
        };
        copy.heal()?;
        Ok(copy)
    }
}

/// Whether the last page is there in part only. SQLite reads its missing end as zeroes and tells nobody. While something waits
/// in the log, the page may be whole there.
pub(super) fn is_cut_short(connection: &Connection, path: &Path) -> rusqlite::Result<bool> {
    let page: u32 = connection.query_row("PRAGMA page_size", [], |row| row.get(0))?;
    let whole = |path: &Path| std::fs::metadata(path).map_or(true, |file| file.len().is_multiple_of(page.into()));
    Ok(beside_is_empty(path) && !whole(path))
}

/// Whether nothing waits in the log beside the file. It stands beside the file itself, not beside a link to it.
pub(super) fn beside_is_empty(path: &Path) -> bool {
    let log = outputs::with_suffix(&path.canonicalize().unwrap_or_else(|_| path.to_owned()), "-wal");
    std::fs::metadata(log).map_or(true, |log| log.len() == 0)
}
