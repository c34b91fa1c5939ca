//! The store in one SQLite file.
//!
//! This is the only module that knows SQLite. `schema.sql` says what stands in the file, and its triggers keep the promises
//! of the store to writers of any language.
//!
//! # Locking
//! One run at a time: a lock on the ledger's file itself, freed by the kernel when a run dies; the open ledger has it, so
//! that it cannot be taken in the wrong order. Writers need no lock of ours; SQLite lets them insert while a run goes on
//! (WAL). Nothing but SQLite opens the file or what stands beside it: `lock` says why.
//!
//! No transaction lasts long, and the file is free between two (`turns`): what takes longer is done in steps, each whole
//! in itself, over a set that is fixed at the start.
//!
//! # Durability
//! `synchronous = FULL`: this is evidence.
//!
//! # Compatibility
//! `schema.sql` is the schema, whole; `PRAGMA user_version` says which version a file is of. Another one is refused.

mod as_store;
mod backup;
mod clean;
mod columns;
mod entries;
mod evidence;
mod explain;
mod filesystem;
mod groups;
mod imports;
mod inspect;
mod lock;
mod moving;
mod read_only;
mod runs;
mod schema;
mod simulated;
mod states;
mod sums;
#[cfg(test)]
mod tests;
mod turns;
#[cfg(test)]
mod turns_tests;
mod unchanged;
mod version;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rusqlite::{ErrorCode, OpenFlags, OptionalExtension};

use super::{End, Ended, Identity, NewEntry, Word};
use crate::clock::Moment;
use crate::exit::Refused;
use crate::outputs;

pub use clean::COMPACTED_AT_ONCE;
use entries::{end, record};
pub use explain::explained;
use explain::unrecorded;
use lock::RunLock;
pub use rusqlite::Connection;
pub use simulated::Simulated;
use turns::Turns;
pub use version::VERSION;

/// What makes a ledger: the text of `schema.sql`.
pub const SCHEMA: &str = include_str!("../../../schema.sql");

/// How long one writer waits for another.
const BUSY: Duration = Duration::from_secs(30);

/// How long a recorder waits for another writer: a request waits for it.
const RECORDER_BUSY: Duration = Duration::from_secs(10);

/// Pages of the file that a connection keeps, in KiB.
const CACHE_KIB: i64 = 6 * 1024;

/// The log goes into the file when it has so many pages: 16 MiB. A page that changes often is written once for all. It is
/// for those whose turns are not counted ([`turns`]): a recorder.
const CHECKPOINT_PAGES: i64 = 4000;

/// A log that grew longer than this, for somebody read on in it, is cut when it begins anew.
const LOG_BYTES: i64 = 16 << 20;

/// An open ledger in a SQLite file.
pub struct SqliteStore {
    connection: Connection,
    path: PathBuf,
    identity: Identity,
    turns: Turns,
    /// Of a run. Freed when SQLite has closed the file: fields are dropped in their order.
    _lock: Option<RunLock>,
}

impl SqliteStore {
    /// Makes an empty ledger where there is none, or only the beginning of one. A ledger that is there already is left as
    /// it is; says whether one was made.
    ///
    /// # Errors
    /// When the folder does not exist or cannot be written; [`Refused`] when something else is there.
    pub fn create(path: &Path) -> Result<bool> {
        let place = || {
            let remedy = "does the folder exist, and may you write there?";
            format!("failed to make the ledger {} ({remedy})", path.display())
        };
        // SQLite itself would make it 0644: a group of writers is let in by the umask, and nobody else.
        filesystem::refuse(path)?;
        if !outputs::folder_of(path).is_dir() {
            let remedy = "make the folder, or correct ledger.path in the configuration";
            bail!(Refused(format!("there is no folder for the ledger {} ({remedy})", path.display())));
        }
        match outputs::closed_to_others(&mut File::options()).write(true).create_new(true).open(path) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(place),
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).with_context(place)?;
        let tables = connection.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get::<_, i64>(0));
        if !matches!(tables, Ok(0)) {
            drop(connection);
            SqliteStore::open(path)?;
            return Ok(false);
        }
        prepare(&connection)?;
        connection
            .execute_batch(SCHEMA)
            .with_context(|| format!("failed to write the schema of {}", path.display()))?;
        Ok(true)
    }

    /// A ledger that lives in memory, for tests.
    ///
    /// # Errors
    /// Never, in practice.
    pub fn in_memory() -> Result<SqliteStore> {
        let connection = Connection::open_in_memory()?;
        prepare(&connection)?;
        connection.execute_batch(SCHEMA)?;
        let identity = identity(&connection)?;
        let path = PathBuf::from(":memory:");
        Ok(SqliteStore { connection, path, identity, turns: Turns::alone(), _lock: None })
    }

    /// Opens a ledger that `init` or `schema.sql` made.
    ///
    /// # Errors
    /// [`Refused`] when there is none, when it is something else or of another version, when it was moved away.
    pub fn open(path: &Path) -> Result<SqliteStore> {
        let ledger = SqliteStore::open_healed(path)?;
        ledger.refuse_moved()?;
        Ok(ledger)
    }

    fn open_healed(path: &Path) -> Result<SqliteStore> {
        let mut ledger = SqliteStore::open_any(path)?;
        let mode: String = ledger.connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
        if mode != "wal" {
            bail!(Refused(format!(
                "the ledger {} cannot be put into WAL mode (move it to a local file system)",
                path.display()
            )));
        }
        ledger.heal()?;
        Ok(ledger)
    }

    /// As [`SqliteStore::open`], for who records while requests wait: it waits less long for another writer, and pauses for
    /// none, as any other writer does.
    ///
    /// # Errors
    /// As [`SqliteStore::open`]; when this user may not write the ledger.
    pub fn open_to_record(path: &Path) -> Result<SqliteStore> {
        let mut ledger = SqliteStore { turns: Turns::alone(), ..SqliteStore::open(path)? };
        ledger.connection.busy_timeout(RECORDER_BUSY)?;
        ledger.may_be_written()?;
        Ok(ledger)
    }

    /// As [`SqliteStore::open`], with the lock of a run.
    ///
    /// # Errors
    /// As [`SqliteStore::open`]; [`Held`](crate::exit::Held) when another run has the lock; when this user may not write the
    /// ledger.
    pub fn open_locked(path: &Path) -> Result<SqliteStore> {
        let ledger = SqliteStore::locked(path, SqliteStore::open)?;
        if ledger.connection.is_readonly("main")? {
            bail!(explain::unwritable(path));
        }
        Ok(ledger)
    }

    /// As [`SqliteStore::open_unchanged`], with the lock of a run. Where rows may have come that nothing noted, it is a copy.
    ///
    /// # Errors
    /// As [`SqliteStore::open_unchanged`]; [`Held`](crate::exit::Held) when another run has the lock.
    pub fn open_locked_unchanged(path: &Path) -> Result<SqliteStore> {
        SqliteStore::locked(path, |path| {
            let ledger = SqliteStore::open_unchanged(path)?;
            if ledger.may_overlook()? { ledger.copy_in_memory() } else { Ok(ledger) }
        })
    }

    /// The lock comes first: its descriptor is there before SQLite opens the file.
    fn locked(path: &Path, open: impl FnOnce(&Path) -> Result<SqliteStore>) -> Result<SqliteStore> {
        refuse_place(path)?;
        let lock = RunLock::take(path)?;
        let ledger = open(path)?;
        if !lock.is_of(path) {
            bail!("the ledger {} was replaced while it was opened (run again)", path.display());
        }
        Ok(SqliteStore { _lock: Some(lock), ..ledger })
    }

    /// Opens a ledger as it is.
    fn open_any(path: &Path) -> Result<SqliteStore> {
        refuse_place(path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(|error| explain::unopened(path, error))?;
        SqliteStore::of_connection(path, connection)
    }

    /// The ledger that a connection leads to.
    fn of_connection(path: &Path, connection: Connection) -> Result<SqliteStore> {
        prepare(&connection).map_err(|error| match error.downcast() {
            Ok(error) => unread(path, error),
            Err(error) => error.context(format!("failed to open the ledger {}", path.display())),
        })?;
        version::refuse_others(&connection, path)?;
        if unchanged::is_cut_short(&connection, path).map_err(|error| unread(path, error))? {
            bail!(explain::damaged(path));
        }
        let identity = identity(&connection).map_err(|error| unread(path, error))?;
        Ok(SqliteStore { connection, path: path.to_owned(), identity, turns: Turns::shared(), _lock: None })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file, and its log beside it, may be written by this user.
    fn may_be_written(&mut self) -> Result<()> {
        if self.connection.is_readonly("main")? {
            bail!(explain::unwritable(&self.path));
        }
        let begun = self.connection.execute_batch("BEGIN IMMEDIATE; COMMIT");
        begun.map_err(|error| unrecorded(&self.path, error))
    }

    /// The connection itself, for who records within a transaction of its own.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Does something that takes several statements, whole or not at all. Within a transaction of the caller's it is that
    /// one which is taken back when something fails.
    fn whole<T>(&self, does: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        if !self.connection.is_autocommit() {
            return does(&self.connection);
        }
        self.connection.execute_batch("BEGIN IMMEDIATE")?;
        let done = does(&self.connection).and_then(|done| {
            self.connection.execute_batch("COMMIT")?;
            Ok(done)
        });
        if done.is_err() && !self.connection.is_autocommit() {
            self.connection.execute_batch("ROLLBACK")?;
        }
        done
    }

    /// Does something that only an erasure may do. What is overwritten leaves nothing in the file.
    fn erasing<T>(&self, does: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        self.overwrite()?;
        self.whole(|connection| {
            connection.prepare_cached("UPDATE ledger SET erasing = 1")?.execute([])?;
            let done = does(connection)?;
            connection.prepare_cached("UPDATE ledger SET erasing = 0")?.execute([])?;
            Ok(done)
        })
    }

    /// From now on what is removed is overwritten.
    fn overwrite(&self) -> Result<()> {
        Ok(self.connection.pragma_update(None, "secure_delete", "ON")?)
    }
}

/// Records an attempt within the transaction that this connection to the ledger at `path` has open. False: it is recorded
/// already and stays as it is.
///
/// # Errors
/// When the ledger cannot be written, with the remedy.
pub fn record_within(path: &Path, connection: &Connection, entry: &NewEntry) -> Result<bool> {
    record(connection, entry, None).map_err(|error| unrecorded(path, error))
}

/// Ends an intent, likewise.
///
/// # Errors
/// When the ledger cannot be written, with the remedy.
pub fn end_within(
    path: &Path,
    connection: &Connection,
    request_id: &str,
    ended_at: Moment,
    how: &End,
) -> Result<Ended> {
    end(connection, request_id, ended_at, how).map_err(|error| unrecorded(path, error))
}

/// Whether it is one step that is refused, not the file that cannot be written.
fn is_refusal(error: &anyhow::Error) -> bool {
    let refused = |error: &rusqlite::Error| {
        matches!(error.sqlite_error_code(), Some(ErrorCode::ConstraintViolation | ErrorCode::TooBig))
    };
    error.chain().any(|cause| cause.downcast_ref().is_some_and(refused))
}

fn identity(connection: &Connection) -> rusqlite::Result<Identity> {
    let sql = "SELECT identity, salt FROM ledger";
    connection.query_row(sql, [], |row| Ok(Identity { name: row.get(0)?, salt: row.get(1)? }))
}

/// A word of the ledger's own; each is a column by its name.
fn word(connection: &Connection, word: Word) -> Result<Option<String>> {
    let mut statement = connection.prepare_cached(&format!("SELECT {} FROM ledger", word.text()))?;
    Ok(statement.query_row([], |row| row.get(0)).optional()?.flatten())
}

fn set_word(connection: &Connection, word: Word, value: &str) -> Result<()> {
    connection.prepare_cached(&format!("UPDATE ledger SET {} = ?", word.text()))?.execute([value])?;
    Ok(())
}

fn prepare(connection: &Connection) -> Result<()> {
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // Tables of the partner's may refer to `entries`: nothing that is done to it here may take their rows away, or be
    // stopped by them.
    connection.pragma_update(None, "foreign_keys", "OFF")?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    // Digests go to random places: with SQLite's own 2 MiB a million entries would be read from the file again and again.
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "journal_size_limit", LOG_BYTES)?;
    // The checks of words are for other hands: what is written here comes from Rust's enumerations, which have the same
    // words (tests/structure.rs). SQLite builds each list anew for every row.
    connection.pragma_update(None, "ignore_check_constraints", "ON")?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

/// There must be a ledger, at a place where one may be.
fn refuse_place(path: &Path) -> Result<()> {
    filesystem::refuse_link(path)?;
    let exists = path.try_exists().map_err(|error| anyhow::Error::new(error).context(explain::unwritable(path)))?;
    if !exists {
        let remedy = "run `privo-reconcile init`, or correct ledger.path in the configuration";
        bail!(Refused(format!("there is no ledger at {} ({remedy})", path.display())));
    }
    filesystem::refuse(path)
}

/// The first reading failed: it is no ledger, or this user may not open it.
fn unread(path: &Path, error: rusqlite::Error) -> anyhow::Error {
    use ErrorCode::{
        CannotOpen, DatabaseBusy, DatabaseCorrupt, DiskFull, NotADatabase, PermissionDenied, ReadOnly, SystemIoFailure,
    };
    match error.sqlite_error_code() {
        Some(
            CannotOpen | DatabaseBusy | DatabaseCorrupt | DiskFull | PermissionDenied | ReadOnly | SystemIoFailure,
        ) => explain::unopened(path, error),
        Some(NotADatabase) => not_a_ledger(path, "it is no SQLite database"),
        _ => not_a_ledger(path, &error.to_string()),
    }
}

fn not_a_ledger(path: &Path, why: &str) -> anyhow::Error {
    let remedy = "run `privo-reconcile init` on a new path, or correct ledger.path in the configuration";
    anyhow::Error::new(Refused(format!("{} is not a ledger: {why} ({remedy})", path.display())))
}
