//! Opening a ledger where it lives.

use std::path::Path;

use anyhow::{Error, Result};

use super::Ledger;
use super::database::{self, Opened};
use crate::clock::Moment;
use crate::config::{Database, Place};
use crate::store::memory::{MemoryStore, snapshot_of};
use crate::store::sqlite::{self, SqliteStore};
use crate::store::{Cleaned, Finding, Identity, Store};

/// An error of whatever was done with a ledger: when it is the file that failed, and nothing said so yet, with file and
/// remedy before it. What PostgreSQL says has its remedy already.
pub fn explained(place: &Place, error: Error) -> Error {
    match place.file() {
        Some(path) => sqlite::explained(path, error),
        None => error,
    }
}

/// The statements that make a ledger there.
pub fn schema_of(place: &Place) -> String {
    match place {
        Place::File(_) => sqlite::SCHEMA.to_owned(),
        Place::Postgres(database) => database::schema_named(&database.schema),
    }
}

impl Ledger {
    /// Makes an empty ledger where there is none, or only the beginning of one. A ledger that is there already is left as
    /// it is; says whether one was made.
    ///
    /// # Errors
    /// When the folder does not exist or cannot be written; [`Refused`](crate::exit::Refused) when something else is there.
    pub fn create(place: impl Into<Place>) -> Result<bool> {
        match place.into() {
            Place::File(path) => SqliteStore::create(&path),
            Place::Postgres(database) => database::create(&database),
        }
    }

    /// Opens a ledger that `init` or its schema made.
    ///
    /// # Errors
    /// [`Refused`](crate::exit::Refused) when there is none, when it is something else or of another version.
    pub fn open(place: impl Into<Place>) -> Result<Ledger> {
        Ledger::opened(place.into(), SqliteStore::open, database::open)
    }

    /// As [`Ledger::open`], for who records while requests wait.
    ///
    /// # Errors
    /// As [`Ledger::open`]; when this user may not write the ledger.
    pub fn open_to_record(place: impl Into<Place>) -> Result<Ledger> {
        Ledger::opened(place.into(), SqliteStore::open_to_record, database::open_to_record)
    }

    /// As [`Ledger::open`], for a run, of which there is one at a time.
    ///
    /// # Errors
    /// As [`Ledger::open`]; [`Held`](crate::exit::Held) when another run has it; when this user may not write the ledger.
    pub fn open_locked(place: impl Into<Place>) -> Result<Ledger> {
        Ledger::opened(place.into(), SqliteStore::open_locked, database::open_held)
    }

    /// As [`Ledger::open_unchanged`], for a run.
    ///
    /// # Errors
    /// As [`Ledger::open_unchanged`]; [`Held`](crate::exit::Held) when another run has it.
    pub fn open_locked_unchanged(place: impl Into<Place>) -> Result<Ledger> {
        Ledger::opened(place.into(), SqliteStore::open_locked_unchanged, database::open_held)
    }

    /// Opens a ledger to read it. One in which rows may have come that nothing noted is healed first: the store, or a copy
    /// where it cannot be written.
    ///
    /// # Errors
    /// As [`Ledger::open`]; when the copy cannot be made.
    pub fn open_to_read(place: impl Into<Place>) -> Result<Ledger> {
        Ledger::opened(place.into(), SqliteStore::open_to_read, database::open)
    }

    /// Opens a ledger as it is.
    ///
    /// # Errors
    /// As [`Ledger::open`].
    pub fn open_unchanged(place: impl Into<Place>) -> Result<Ledger> {
        Ledger::opened(place.into(), SqliteStore::open_unchanged, database::open)
    }

    fn opened(
        place: Place,
        file: fn(&Path) -> Result<SqliteStore>,
        database: fn(&Database) -> Result<Opened>,
    ) -> Result<Ledger> {
        let store: Box<dyn Store> = match place {
            Place::File(path) => Box::new(file(&path)?),
            Place::Postgres(at) => Box::new(database(&at)?),
        };
        Ok(Ledger::over(store))
    }

    /// A ledger that lives in memory.
    pub fn in_memory(identity: Identity, clock: fn() -> Moment) -> Ledger {
        Ledger::over(Box::new(MemoryStore::new(identity, clock)))
    }

    /// A copy that lives in memory, to see what a run would do.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn copy_in_memory(&self) -> Result<Ledger> {
        Ok(Ledger::over(Box::new(snapshot_of(&*self.store)?)))
    }

    /// What would make a promise untrue where the ledger lives, each with its remedy.
    ///
    /// # Errors
    /// When that cannot be asked.
    pub fn findings(&self) -> Result<Vec<Finding>> {
        self.store.findings()
    }

    /// Goes on holding the ledger for a run, where that is for a time only.
    ///
    /// # Errors
    /// [`Held`](crate::exit::Held) when another run has taken it over.
    pub fn hold_on(&mut self) -> Result<()> {
        self.store.hold_on()
    }

    /// What of the table `entries` is not as this version wants it, in words; whatever opens the ledger to write puts it back.
    ///
    /// # Errors
    /// [`Refused`](crate::exit::Refused) for what only the partner can put back.
    pub fn faults_of_entries(&self) -> Result<Vec<String>> {
        self.store.faults()
    }

    /// Unique indexes of the partner's on `request_id`: they refuse a repeated INSERT before it changes nothing.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn second_keys(&self) -> Result<Vec<String>> {
        self.store.second_keys()
    }

    /// Whether the store is whole.
    ///
    /// # Errors
    /// When it is not, or cannot be read.
    pub fn check_integrity(&self) -> Result<()> {
        self.store.check_whole()
    }

    /// Whether the store may be written by this user.
    ///
    /// # Errors
    /// When not, with the remedy.
    pub fn check_writable(&mut self) -> Result<()> {
        self.store.check_writable()
    }

    /// How large the store is, in bytes; 0 when that says nothing.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn size(&self) -> Result<i64> {
        self.store.size()
    }

    /// Removes what older copies hold of what was erased, as far as that is quick, or all of it when `compact` asks for it.
    ///
    /// # Errors
    /// When somebody reads the ledger for too long, or the disk is full: then it is to be done again.
    pub fn clean(&mut self, compact: bool) -> Result<Cleaned> {
        self.store.clean(compact)
    }

    /// Writes a copy into a new file.
    ///
    /// # Errors
    /// When something is there already, or it cannot be written.
    pub fn backup(&self, to: &Path) -> Result<()> {
        self.store.back_up(to)
    }

    /// An id that no other request has.
    pub fn fresh_id(&self) -> String {
        crate::plan::hex(&super::erase::random()[..16])
    }
}
