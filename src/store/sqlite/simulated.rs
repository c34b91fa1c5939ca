//! A ledger of a simulated world that several open at once: in memory, by a name, stamped by the world's clock.

use std::path::PathBuf;

use anyhow::Result;
use rusqlite::config::DbConfig;
use rusqlite::functions::FunctionFlags;
use rusqlite::{Connection, OpenFlags};
use sha2::{Digest, Sha256};

use super::turns::Turns;
use super::{SCHEMA, SqliteStore, entries, identity, prepare};
use crate::clock::Moment;
use crate::store::{Identity, WrittenRow};

/// Who holds it keeps the ledger there.
pub struct Simulated {
    path: PathBuf,
    clock: fn() -> Moment,
    connection: Connection,
}

impl Simulated {
    /// Makes an empty ledger of this name, which nobody else has. Its salt follows from a seed, so that a simulation replays
    /// exactly.
    ///
    /// # Errors
    /// Never, in practice.
    pub fn new(seed: u64, name: &str, clock: fn() -> Moment) -> Result<Simulated> {
        let path = PathBuf::from(format!("file:/{name}?vfs=memdb"));
        let connection = connect(&path, clock)?;
        connection.execute_batch(SCHEMA)?;
        let Identity { name, salt } =
            Identity { name: format!("{seed:016x}"), salt: Sha256::digest(seed.to_le_bytes()).to_vec() };
        connection.execute("UPDATE ledger SET identity = ?, salt = ?", (name, salt))?;
        Ok(Simulated { path, clock, connection })
    }

    /// Opens it once more.
    ///
    /// # Errors
    /// Never, in practice.
    pub fn open(&self) -> Result<SqliteStore> {
        let connection = connect(&self.path, self.clock)?;
        let identity = identity(&connection)?;
        Ok(SqliteStore { connection, path: self.path.clone(), identity, turns: Turns::alone(), _lock: None })
    }

    /// A tool of the partner's makes the table `entries` anew, with these columns, and drops the old one.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub fn rebuild_entries(&self, columns: &str) -> Result<()> {
        const COPIED: &str = "id, request_id, operation_id, direction, method, url, body, sent_at, ended_at, failure, http_status, error";
        Ok(self.connection.execute_batch(&format!(
            "BEGIN IMMEDIATE; CREATE TABLE new_entries ({columns});
             INSERT INTO new_entries ({COPIED}) SELECT {COPIED} FROM entries;
             DROP TABLE entries; ALTER TABLE new_entries RENAME TO entries; COMMIT;"
        ))?)
    }

    /// A plain INSERT of a writer who switched the triggers off for its connection.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub fn write_unnoted(&self, row: &WrittenRow) -> Result<()> {
        self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
        let written = entries::write(&self.connection, row);
        self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, true)?;
        written.map(|_| ())
    }
}

fn connect(path: &std::path::Path, clock: fn() -> Moment) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    prepare(&connection)?;
    // The schema stamps rows by this; half a millisecond, for it cuts off what is less than a whole one.
    connection.create_scalar_function("julianday", 1, FunctionFlags::SQLITE_UTF8, move |_| {
        Ok((clock().0 as f64 + 0.5) / 86_400_000.0 + 2_440_587.5)
    })?;
    Ok(connection)
}
