//! The ledger: what its rows mean, and all that is done with them.
//!
//! One entry's way: its writer inserts a row; a run reads it under the plan and finds its group ([`ingest`]); the group is
//! loaded with its evidence ([`groups`], [`history`]), looked at, decided, and what is new of it is appended ([`settle`],
//! [`turn`]); reports tell it ([`rows`]); `verify` decides it again; `prune` and `forget` take its personal fields away
//! ([`erase`]). No rule of these knows where the ledger lives: that is [`crate::store`]'s.

mod anew;
mod database;
mod erase;
mod forget;
pub mod form;
mod groups;
mod history;
pub mod import;
mod ingest;
pub mod journal;
pub mod moving;
mod notes;
mod open;
mod permits;
mod prune;
pub mod record;
pub mod recorder;
mod reported;
mod rows;
mod runs;
mod sample;
mod server;
mod settle;
mod simulated;
mod story;
pub mod turn;
mod verify;

use std::cell::RefCell;
use std::collections::BTreeMap;

use anyhow::Result;

use crate::evidence::KeyDigest;
use crate::store::{Key, Store};

pub use crate::store::sqlite::{COMPACTED_AT_ONCE, VERSION};
pub use crate::store::{Cleaned, Due, RunEnd, RunId, RunStart, WrittenRow};
pub use erase::{Erasure, Pseudonym, Terms};
pub use forget::Named;
pub use groups::{Group, Member};
pub use ingest::News;
pub use open::{explained, schema_of};
pub use permits::{Advised, Approval, Approved, Intent};
pub use prune::Pruned;
pub use record::NewEntry;
pub use recorder::Recorder;
pub use settle::{Close, Ruling, Stored, StoredMember};
pub use simulated::LooksCounted;

/// An open ledger.
pub struct Ledger {
    store: Box<dyn Store>,
    forms: RefCell<form::Forms>,
    /// What must wait for rows that no run has read yet, and why ([`Ledger::heed_unread`]).
    waits: RefCell<BTreeMap<i64, String>>,
    /// A person asked for another look at what is settled.
    rechecks: bool,
    /// And all is read anew for it, once.
    reads_all: bool,
}

impl Ledger {
    /// The ledger that lives in a store.
    pub fn over(store: Box<dyn Store>) -> Ledger {
        Ledger { store, forms: RefCell::default(), waits: RefCell::default(), rechecks: false, reads_all: false }
    }

    /// The salt under which keys are digested.
    pub fn salt(&self) -> &[u8] {
        &self.store.identity().salt
    }

    /// The ledger's name in reports.
    pub fn identity(&self) -> &str {
        &self.store.identity().name
    }

    /// Where it is, for people.
    pub fn place(&self) -> String {
        self.store.place()
    }

    /// The store that it lives in.
    pub fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// The store that it lives in, to be written as writers write.
    pub fn store_mut(&mut self) -> &mut dyn Store {
        &mut *self.store
    }

    /// Whether a transaction could begin at once. Who has other work meanwhile need not wait.
    pub fn is_free(&self) -> bool {
        self.store.is_free()
    }

    /// Writes a turn of evidence within the caller's transaction; gives its document and its names.
    fn form_of(&mut self, turn: &turn::Turn) -> Result<(String, String)> {
        let (store, forms) = (&mut self.store, self.forms.get_mut());
        form::write(turn, &mut |text| match forms.id(text) {
            Some(id) => Ok(id),
            None => {
                let id = store.share(text)?;
                forms.note(text, id);
                Ok(id)
            }
        })
    }
}

/// A key as it is stored.
fn key_of(link: &KeyDigest) -> Key {
    let [a, b, c, d, e, f, g, h, ..] = link.0;
    i64::from_be_bytes([a, b, c, d, e, f, g, h]) & i64::MAX
}
