//! Group commit: what a recording process was told meanwhile goes into the ledger in one transaction, with one sync.

use anyhow::Result;

use super::Ledger;
use super::record::{End, Ended, NewEntry};
use crate::clock::Moment;
use crate::store::Store;

/// One thing to write down.
#[derive(Clone, Debug)]
pub enum Step<'a> {
    /// An attempt: an intent, or what is known of it already.
    Record(NewEntry<'a>),
    /// How a recorded intent ended.
    End { request_id: &'a str, ended_at: Moment, end: End<'a> },
}

/// What became of a [`Step`] that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Became {
    /// It is in the ledger now.
    Recorded,
    /// It was answered, and nothing is in doubt: the ledger does not hold it any more.
    Forgotten,
    /// It was there already, or had ended already; nothing was changed.
    Unchanged,
    /// An end of something that is not in the ledger; nothing was changed.
    Unknown,
}

impl Ledger {
    /// Takes steps in their order, in one transaction: when this returns, they are durable. A step that the ledger
    /// refuses has its own error and does not hold up the others.
    ///
    /// # Errors
    /// When the ledger cannot be written: then none of the steps was taken.
    pub fn take_down(&mut self, steps: &[Step]) -> Result<Vec<Result<Became>>> {
        let taken = self.in_turn(|store| {
            let mut taken = Vec::with_capacity(steps.len());
            for step in steps {
                match take(store, step) {
                    Err(error) if !store.refused(&error) => return Err(error),
                    became => taken.push(became.map_err(|error| store.unrecorded(error))),
                }
            }
            Ok(taken)
        });
        taken.map_err(|error| self.store.unrecorded(error))
    }
}

fn take(store: &mut dyn Store, step: &Step) -> Result<Became> {
    match step {
        Step::Record(entry) => Ok(if store.record(entry, None)? { Became::Recorded } else { Became::Unchanged }),
        Step::End { request_id, ended_at, end } => Ok(match store.end(request_id, *ended_at, end)? {
            Ended::Forgotten => Became::Forgotten,
            Ended::Kept => Became::Recorded,
            Ended::NoIntent if store.entry_of(request_id)?.is_some() => Became::Unchanged,
            Ended::NoIntent => Became::Unknown,
        }),
    }
}
