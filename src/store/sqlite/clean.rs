//! Cleaning: nothing of what was removed is left in the file or its log.
//!
//! What `prune` and `forget` remove is overwritten (`secure_delete`). Two places hold older copies still: the log, until it
//! begins anew, and free pages and gaps that were left when a writer deleted or changed a row, or a page was split. The
//! log is emptied; the rest goes when the file is rewritten, which holds the file as long as it takes.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use rusqlite::Connection;

use super::explain::Explained;
use super::{BUSY, SqliteStore};
use crate::store::Cleaned;

/// Up to this size a ledger is rewritten at once: that takes less than a second.
pub const COMPACTED_AT_ONCE: i64 = 16 << 20;

/// A ledger up to this size is rewritten in memory, a larger one through a temporary file.
const REWRITTEN_IN_MEMORY: i64 = 64 << 20;

/// Emptying the log stops the writers while it waits for who reads in it. So it waits this long only, and tries again when
/// they had their turn.
const TRY: Duration = Duration::from_millis(100);

/// So often the log is tried to be emptied: about ten seconds.
const TRIES: u32 = 50;

impl SqliteStore {
    /// How large the ledger's file is, in bytes, without its log.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn bytes(&self) -> Result<i64> {
        let sql = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()";
        Ok(self.connection.query_row(sql, [], |row| row.get(0))?)
    }

    /// Empties the log, and rewrites the file when `compact` asks for it or it is small.
    ///
    /// # Errors
    /// When somebody reads the ledger for too long (ten seconds), or the disk is full: then it is to be done again.
    pub fn clean_up(&mut self, compact: bool) -> Result<Cleaned> {
        self.connection.pragma_update(None, "secure_delete", "ON")?;
        let size = self.bytes()?;
        let compact = compact || size <= COMPACTED_AT_ONCE;
        let done = empty_log(&self.connection).and_then(|()| if compact { self.rewrite_file(size) } else { Ok(()) });
        done.with_context(|| {
            let remedy = "end what reads it for long, make room for two copies of it, and do this again";
            let place = self.path.display();
            Explained(format!("what was removed may still stand in free pages of {place} or in its log ({remedy})"))
        })?;
        Ok(if compact { Cleaned::Whole } else { Cleaned::ButGaps })
    }

    fn rewrite_file(&self, size: i64) -> Result<()> {
        let place = if size <= REWRITTEN_IN_MEMORY { "MEMORY" } else { "FILE" };
        self.connection.pragma_update(None, "temp_store", place)?;
        let rewritten = self.connection.execute_batch("VACUUM");
        self.connection.pragma_update(None, "temp_store", "MEMORY")?;
        rewritten?;
        empty_log(&self.connection)
    }
}

/// Moves the log into the file and empties it.
fn empty_log(connection: &Connection) -> Result<()> {
    connection.busy_timeout(TRY)?;
    let emptied = try_to_empty(connection);
    connection.busy_timeout(BUSY)?;
    if !emptied? {
        bail!("the log is being read");
    }
    Ok(())
}

fn try_to_empty(connection: &Connection) -> Result<bool> {
    for _ in 0..TRIES {
        // Most of it goes without stopping anybody.
        for how in ["PASSIVE", "TRUNCATE"] {
            let busy: bool = connection.query_row(&format!("PRAGMA wal_checkpoint({how})"), [], |row| row.get(0))?;
            if how == "TRUNCATE" && !busy {
                return Ok(true);
            }
        }
        std::thread::sleep(TRY);
    }
    Ok(false)
}
