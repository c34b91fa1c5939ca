//! The ledger: one SQLite file, and all that is done with it.
//!
//! This is the only module that knows SQL. Reading entries, loading groups, settling and reporting are its operations,
//! so that another store can take its place.
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
//! `synchronous = FULL`: this is evidence. Observations, verdict and standing of a group are written in one transaction.
//!
//! # Compatibility
//! `schema.sql` is the schema, whole; `PRAGMA user_version` says which version a file is of. Another one is refused.

mod anew;
mod backup;
mod blanking;
mod clean;
mod components;
mod explain;
mod fellows;
mod filesystem;
mod forget;
mod groups;
pub mod import;
mod inspect;
mod intake;
mod joining;
pub mod journal;
mod lock;
mod notes;
mod permits;
mod prune;
mod read_only;
pub mod record;
pub mod recorder;
mod renaming;
mod reported;
mod runs;
mod schema;
mod sealing;
mod select;
mod server;
mod settle;
mod simulated;
mod tell;
mod turns;
#[cfg(test)]
mod turns_tests;
mod unchanged;
mod verify;
mod version;
mod writing;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::exit::Refused;
use crate::outputs;

pub use clean::{COMPACTED_AT_ONCE, Cleaned};
pub use components::Terms;
pub use explain::explained;
pub use fellows::Fellows;
pub use forget::{Erasure, Named};
pub use groups::{Due, Group, Member};
use lock::RunLock;
pub use permits::{Advised, Approval, Approved, Intent};
pub use prune::Pruned;
pub use record::NewEntry;
pub use recorder::Recorder;
pub use runs::{RunEnd, RunId, RunStart};
pub use settle::{Close, NewLook, Stored, StoredMember, Told};
pub use simulated::{LooksCounted, WrittenRow};
pub use version::VERSION;

use turns::Turns;

const SCHEMA: &str = include_str!("../../schema.sql");

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

/// An open ledger.
pub struct Ledger {
    connection: Connection,
    path: PathBuf,
    salt: Vec<u8>,
    identity: String,
    turns: Turns,
    /// A plan's change under way.
    opening: Option<intake::Opening>,
    /// A person asked for another look at what is settled.
    rechecks: bool,
    /// And all is read anew for it, once.
    reads_all: bool,
    /// Of a run. Freed when SQLite has closed the file: fields are dropped in their order.
    _lock: Option<RunLock>,
}

impl Ledger {
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
            Ledger::open(path)?;
            return Ok(false);
        }
        prepare(&connection)?;
        connection
            .execute_batch(SCHEMA)
            .with_context(|| format!("failed to write the schema of {}", path.display()))?;
        Ok(true)
    }

    /// A ledger that lives in memory, for simulations.
    ///
    /// # Errors
    /// Never, in practice.
    pub fn in_memory() -> Result<Ledger> {
        let connection = Connection::open_in_memory()?;
        prepare(&connection)?;
        connection.execute_batch(SCHEMA)?;
        let (identity, salt) =
            connection.query_row("SELECT identity, salt FROM ledger", [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(Ledger::over(connection, PathBuf::from(":memory:"), salt, identity, Turns::alone()))
    }

    /// A ledger as it is just opened, without the lock of a run.
    fn over(connection: Connection, path: PathBuf, salt: Vec<u8>, identity: String, turns: Turns) -> Ledger {
        Ledger {
            connection,
            path,
            salt,
            identity,
            turns,
            opening: None,
            rechecks: false,
            reads_all: false,
            _lock: None,
        }
    }

    /// Opens a ledger that `init` or `schema.sql` made.
    ///
    /// # Errors
    /// [`Refused`] when there is none, when it is something else or of another version.
    pub fn open(path: &Path) -> Result<Ledger> {
        let ledger = Ledger::open_any(path)?;
        let mode: String = ledger.connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
        if mode != "wal" {
            bail!(Refused(format!(
                "the ledger {} cannot be put into WAL mode (move it to a local file system)",
                path.display()
            )));
        }
        schema::heal(&ledger.connection, path)?;
        Ok(ledger)
    }

    /// As [`Ledger::open`], with the lock of a run.
    ///
    /// # Errors
    /// As [`Ledger::open`]; [`Held`](crate::exit::Held) when another run has the lock; when this user may not write the ledger.
    pub fn open_locked(path: &Path) -> Result<Ledger> {
        let ledger = Ledger::locked(path, Ledger::open)?;
        if ledger.connection.is_readonly("main")? {
            bail!(explain::unwritable(path));
        }
        Ok(ledger)
    }

    /// As [`Ledger::open_unchanged`], with the lock of a run.
    ///
    /// # Errors
    /// As [`Ledger::open_unchanged`]; [`Held`](crate::exit::Held) when another run has the lock.
    pub fn open_locked_unchanged(path: &Path) -> Result<Ledger> {
        Ledger::locked(path, Ledger::open_unchanged)
    }

    /// The lock comes first: its descriptor is there before SQLite opens the file.
    fn locked(path: &Path, open: impl FnOnce(&Path) -> Result<Ledger>) -> Result<Ledger> {
        refuse_place(path)?;
        let lock = RunLock::take(path)?;
        let ledger = open(path)?;
        if !lock.is_of(path) {
            bail!("the ledger {} was replaced while it was opened (run again)", path.display());
        }
        Ok(Ledger { _lock: Some(lock), ..ledger })
    }

    /// Opens a ledger as it is.
    fn open_any(path: &Path) -> Result<Ledger> {
        refuse_place(path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(|error| explain::unopened(path, error))?;
        Ledger::of_connection(path, connection)
    }

    /// The ledger that a connection leads to.
    fn of_connection(path: &Path, connection: Connection) -> Result<Ledger> {
        prepare(&connection).map_err(|error| match error.downcast() {
            Ok(error) => unread(path, error),
            Err(error) => error.context(format!("failed to open the ledger {}", path.display())),
        })?;
        version::refuse_others(&connection, path)?;
        if unchanged::is_cut_short(&connection, path).map_err(|error| unread(path, error))? {
            bail!(explain::damaged(path));
        }
        let (identity, salt) = connection
            .query_row("SELECT identity, salt FROM ledger", [], |row| Ok((row.get(0)?, row.get(1)?)))
            .map_err(|error| unread(path, error))?;
        Ok(Ledger::over(connection, path.to_owned(), salt, identity, Turns::shared()))
    }

    /// The salt under which links are digested.
    pub fn salt(&self) -> &[u8] {
        &self.salt
    }

    /// The ledger's name in reports.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn prepare(connection: &Connection) -> Result<()> {
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // Tables of the partner's may refer to `entries`: nothing that is done to it here may take their rows away, or be
    // stopped by them.
    connection.pragma_update(None, "foreign_keys", "OFF")?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.execute_batch(joining::WAITS)?;
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
        let remedy = "run `privo-reconcile init`, or mend ledger.path in the configuration";
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
    let remedy = "run `privo-reconcile init` on a new path, or mend ledger.path in the configuration";
    anyhow::Error::new(Refused(format!("{} is not a ledger: {why} ({remedy})", path.display())))
}
