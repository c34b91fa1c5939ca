//! The store: where a ledger lives. A SQLite file, PostgreSQL, or memory; each keeps the same promises, which
//! [`exercise`] holds each of them to.
//!
//! A store knows rows and nothing of what they mean. What a row says, which rows are a group, what is decided and what an
//! erasure takes away stands above it, once, in [`crate::ledger`].
//!
//! # What it keeps
//! - `entries`: the writers' rows, in the order of arrival. They stay as they were recorded, but for what a writer may
//!   change ([`Store::end`]) and what an erasure rewrites ([`Store::rewrite`]).
//! - a [`State`] beside each row, made by its arrival: what due looks and reports are found by. It follows from evidence.
//! - keys: which group a key led to. Groups only ever merge.
//! - [`Evidence`]: append-only, one row for each turn of a group that says something new.
//! - texts that many rows of evidence share, runs, notes, imports.
//!
//! # Transactions
//! Everything between [`Store::begin`] and [`Store::commit`] is there or is not. Reading outside of one sees what is
//! committed. A writer may change a row at any time outside of the caller's transaction, so a state is only put where the
//! row's revision is still the one that was read ([`Store::put_states`]).

#[cfg(test)]
pub(crate) mod compared;
pub mod exercise;
pub mod memory;
#[cfg(feature = "postgres")]
pub mod postgres;
mod rows;
pub mod sqlite;
pub mod whole;

pub use rows::{
    Cleaned, Due, End, Ended, Evidence, Finding, Identity, Import, Imported, Known, LONGEST_CELL, Left, Mark, NewEntry,
    NewEvidence, Note, NoteKind, RunEnd, RunId, RunStart, State, Stats, StoredRun, Unread, Written, WrittenRow,
};

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::clock::{Moment, Span};
use crate::plan::{Cell, Row};
use crate::words::{Reason, Status};

/// A word of the ledger's own that is kept beside its rows, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Word {
    /// Scheme, host and port of the server whose ledger it is.
    Server,
    /// Under which plan and server the rows were read that are read.
    Fingerprint,
    /// Keys of what had been done by then (milliseconds) may be gone.
    Sealed,
}

impl Word {
    /// Every one.
    pub const ALL: [Word; 3] = [Word::Server, Word::Fingerprint, Word::Sealed];

    /// As it is stored.
    pub fn text(self) -> &'static str {
        match self {
            Word::Server => "server",
            Word::Fingerprint => "fingerprint",
            Word::Sealed => "sealed",
        }
    }
}

/// A key as it is stored: 63 bits of its digest. Two keys that meet here merge their groups, which delays and never decides.
pub type Key = i64;

/// The columns of a writer's row that are text for a person or a search, each with its name.
pub type Texts<'a> = &'a [(&'static str, String)];

/// A ledger's store.
///
/// # Errors
/// Every operation fails when the store cannot be read or written; then an open transaction is to be rolled back.
pub trait Store: Send {
    /// What makes it this ledger.
    fn identity(&self) -> &Identity;

    /// Where it is, for people.
    fn place(&self) -> String;

    /// A word of the ledger's own.
    fn word(&self, word: Word) -> Result<Option<String>>;

    /// Stores one.
    fn set_word(&mut self, word: Word, value: &str) -> Result<()>;

    // Transactions.

    /// Begins a transaction. It waits until other writers had their turn.
    fn begin(&mut self) -> Result<()>;

    /// Whether the transaction has lasted as long as writers may have to wait: it is to be committed, and what is left is
    /// for the next one. Asked after some work, never before, so that every one gets on.
    fn is_over(&self) -> bool;

    /// Whether a transaction could begin at once. Who has other work meanwhile need not wait.
    fn is_free(&self) -> bool;

    /// Commits it; what it wrote is durable when this returns.
    fn commit(&mut self) -> Result<()>;

    /// Takes it back. Without one, nothing happens.
    fn rollback(&mut self);

    /// Whether an error says that the store refused one thing, and nothing of the transaction is lost with it.
    fn refused(&self, error: &anyhow::Error) -> bool;

    /// An error of recording, with its remedy.
    fn unrecorded(&self, error: anyhow::Error) -> anyhow::Error;

    /// Does some work of which all reading sees one instant.
    fn as_of_one_instant(&self, work: &mut dyn FnMut() -> Result<()>) -> Result<()>;

    // Writers' rows.

    /// Records an attempt as any writer would. False: its `request_id` is there already, and nothing was changed.
    /// `clock_error`: how far the clock that dated it may be off, where its source says so.
    fn record(&mut self, entry: &NewEntry, clock_error: Option<Span>) -> Result<bool>;

    /// A writer's plain INSERT of a row as it left it, good or bad.
    fn write(&mut self, row: &WrittenRow) -> Result<Written>;

    /// A writer's UPDATE of the row of that `request_id`: of an intent (its news), of a row that was not read yet or could not
    /// be, any column; else it is refused.
    fn change(&mut self, row: &WrittenRow) -> Result<Written>;

    /// A writer's DELETE: of an intent that was never looked up and whose operation has no other row; else it is refused.
    fn withdraw(&mut self, request_id: &str) -> Result<Written>;

    /// Ends an intent. See [`Ended`].
    fn end(&mut self, request_id: &str, ended_at: Moment, end: &End) -> Result<Ended>;

    /// Gives an entry the body that it came without, as long as nothing was decided about it but that it lacks something.
    /// False: it has one, or it is too late.
    fn complete(&mut self, request_id: &str, body: &str) -> Result<bool>;

    /// The entry of a request.
    fn entry_of(&self, request_id: &str) -> Result<Option<i64>>;

    /// The rows of these entries that are there, in order of their entries.
    fn rows(&self, entries: &[i64]) -> Result<Vec<Row>>;

    /// The ids of these entries that are there, in order of their entries: the request's as text, and the operation's.
    fn ids(&self, entries: &[i64]) -> Result<Vec<(i64, String, Cell)>>;

    /// Gives every row that was not erased to `each`, in order, with the text of all its columns (`error` among them).
    fn each_row(&self, each: &mut dyn FnMut(i64, Texts) -> Result<()>) -> Result<()>;

    /// Erases the personal fields of a row: what is left takes their place. Writers cannot change it any more, once its state
    /// names the erasure, in the same transaction. Fails when the id that is left is another row's.
    fn rewrite(&mut self, entry: i64, left: &Left) -> Result<()>;

    /// Gives the rows with one operation id another one. Within an erasure, for the id itself may name somebody.
    fn rename_operation(&mut self, old: &str, new: &str) -> Result<()>;

    // States.

    /// The next rows from an entry on that are to be read (anew), at most so many, and about so many bytes of cells.
    fn unread(&self, from: i64, most: usize, bytes: usize) -> Result<Vec<Unread>>;

    /// The states of these entries that are there, in order of their entries.
    fn states(&self, entries: &[i64]) -> Result<Vec<State>>;

    /// The states of the members of these groups, in order of their entries.
    fn members(&self, groups: &[i64]) -> Result<Vec<State>>;

    /// Stores states. One whose row was changed since it was read (another revision), or is gone, is left as it is, and its
    /// entry is given back.
    fn put_states(&mut self, states: &[State]) -> Result<Vec<i64>>;

    /// Drops the state of a row that is gone.
    fn drop_state(&mut self, entry: i64) -> Result<()>;

    /// The next entries whose look is due at `now`, after `after`: those that it can settle, or, when `watched`, the others,
    /// whose verdicts are watched.
    fn due(&self, now: Moment, watched: bool, after: Option<Due>, limit: usize) -> Result<Vec<Due>>;

    /// How many are due at `now`.
    fn count_due(&self, now: Moment) -> Result<u64>;

    /// When the next pending entry is due that waiting can help.
    fn next_due(&self) -> Result<Option<Moment>>;

    /// Gives states to `each`, from an entry on, in order of their entries, until it says false.
    fn each_state(&self, from: i64, each: &mut dyn FnMut(State) -> Result<bool>) -> Result<()>;

    /// Gives the state of every delete by an id that nothing is made with to `each` ([`State::removes`]).
    fn each_removal(&self, each: &mut dyn FnMut(State) -> Result<()>) -> Result<()>;

    /// How many entries stand where, by status and reason. `answered` rows are left out.
    fn counts(&self) -> Result<Vec<(Status, Option<Reason>, u64)>>;

    /// Sums that commands tell without reading every state.
    fn stats(&self) -> Result<Stats>;

    // Keys.

    /// The group that each key leads to.
    fn groups(&self, keys: &[Key]) -> Result<Vec<Option<i64>>>;

    /// Gives every key with the group that it leads to, in order of the keys.
    fn each_key(&self, each: &mut dyn FnMut(Key, i64) -> Result<()>) -> Result<()>;

    /// Stores that keys lead to groups.
    fn put_keys(&mut self, keys: &[(Key, i64)]) -> Result<()>;

    /// Forgets keys.
    fn drop_keys(&mut self, keys: &[Key]) -> Result<()>;

    /// Merges a group into another one: its keys and its members are the other's from now on.
    fn merge(&mut self, from: i64, into: i64) -> Result<()>;

    // Evidence.

    /// Appends a row of evidence; gives its id, which is greater than all before.
    fn append(&mut self, evidence: &NewEvidence) -> Result<i64>;

    /// These rows of evidence, in order of their ids.
    fn evidence(&self, ids: &[i64]) -> Result<Vec<Evidence>>;

    /// The id of the last row of evidence; 0 when there is none.
    fn last_evidence(&self) -> Result<i64>;

    /// Gives every row of evidence to `each`, in order.
    fn each_evidence(&self, each: &mut dyn FnMut(Evidence) -> Result<()>) -> Result<()>;

    /// Gives other names to what a row of evidence names: an erasure. Nothing else of it ever changes.
    fn rename(&mut self, evidence: i64, names: &str) -> Result<()>;

    /// The id of a text that many rows of evidence share.
    fn share(&mut self, text: &str) -> Result<i64>;

    /// These shared texts, by id.
    fn shared(&self, ids: &[i64]) -> Result<Vec<(i64, String)>>;

    /// Gives every shared text with its id, in order of the ids.
    fn each_shared(&self, each: &mut dyn FnMut(i64, &str) -> Result<()>) -> Result<()>;

    // Runs, notes, imports.

    /// Begins a run.
    fn begin_run(&mut self, run: &RunStart) -> Result<RunId>;

    /// Ends a run with what it did.
    fn end_run(&mut self, run: RunId, ended: Moment, end: &RunEnd) -> Result<()>;

    /// Notes the exit code that a run's command ends with.
    fn note_exit(&mut self, run: RunId, exit: u8) -> Result<()>;

    /// The runs, the last one first, until `each` says false.
    fn each_run(&self, each: &mut dyn FnMut(StoredRun) -> Result<bool>) -> Result<()>;

    /// One run.
    fn run(&self, run: i64) -> Result<Option<StoredRun>>;

    /// Notes something; gives its id. Notes are never changed, but for names that an erasure takes out
    /// ([`Store::rewrite_note`]).
    fn note(&mut self, kind: NoteKind, at: Moment, doc: &str) -> Result<i64>;

    /// Erases names from a note.
    fn rewrite_note(&mut self, id: i64, doc: &str) -> Result<()>;

    /// Notes of a kind from a moment on, in order.
    fn notes(&self, kind: NoteKind, since: Moment) -> Result<Vec<Note>>;

    /// The imports through a mapping, the furthest first.
    fn imports(&self, mapping: &[u8; 16]) -> Result<Vec<Import>>;

    /// Stores how far an import is: a new one, or one that still stands where `was` says. `None`: another import moved on in
    /// the same file.
    fn put_import(&mut self, import: &Import, was: Mark, at: Moment) -> Result<Option<i64>>;

    /// Gives files that were imported other names, where `new` has one: an erasure.
    fn rename_files(&mut self, new: &dyn Fn(&str) -> Option<String>) -> Result<()>;

    /// Forgets an import.
    fn drop_import(&mut self, import: i64) -> Result<()>;

    /// How often a record without an id of its own stood in the part of the file that was read.
    fn seen_in_import(&self, import: i64, record: &[u8; 16]) -> Result<i64>;

    /// Stores that.
    fn set_seen_in_import(&mut self, import: i64, record: &[u8; 16], seen: i64) -> Result<()>;

    // Upkeep.

    /// Puts back what a tool of the partner's took from `entries`, and finds the rows that came meanwhile.
    fn heal(&mut self) -> Result<()>;

    /// What would make a promise untrue where the store lives, each with its remedy.
    fn findings(&self) -> Result<Vec<Finding>> {
        Ok(Vec::new())
    }

    /// Goes on holding the store for a run, where that is for a time only: it lasts a good while longer when this returns.
    ///
    /// # Errors
    /// [`Held`](crate::exit::Held) when another run has taken it over.
    fn hold_on(&mut self) -> Result<()> {
        Ok(())
    }

    /// What of `entries` is not as it is wanted, in words; [`Store::heal`] puts it back.
    fn faults(&self) -> Result<Vec<String>>;

    /// Unique indexes of the partner's own on `request_id`, which refuse a repeated INSERT before it changes nothing.
    fn second_keys(&self) -> Result<Vec<String>>;

    /// Fails when the store is damaged.
    fn check_whole(&self) -> Result<()>;

    /// Fails when this user may not write it.
    fn check_writable(&mut self) -> Result<()>;

    /// How large it is, in bytes; 0 when that says nothing.
    fn size(&self) -> Result<i64>;

    /// Removes what older copies hold of what was erased, as far as that is quick, or all of it when `compact` asks for it.
    fn clean(&mut self, compact: bool) -> Result<Cleaned>;

    /// Writes a copy into a new file.
    fn back_up(&self, to: &Path) -> Result<()>;

    /// How long the last transaction lasted, and how long one is meant to last.
    fn last_turn(&self) -> (Duration, Duration);
}
