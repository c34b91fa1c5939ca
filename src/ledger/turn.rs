//! What one turn of a group adds to its evidence: how rows were read, what was seen, what was said.

use crate::clock::Moment;
use crate::decide::{Deferral, Verdict};
use crate::evidence::{Facts, Look};

/// One turn of a group.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Turn {
    /// The entries of which something is new; where a verdict was reached, every member of the group, in order.
    pub entries: Vec<EntryTurn>,
    /// As [`crate::evidence::Case::removals`].
    pub removals: Vec<(Moment, Moment)>,
}

/// What is new of one entry.
#[derive(Clone, Debug, PartialEq)]
pub struct EntryTurn {
    /// `entries.id`.
    pub entry: i64,
    /// A verdict held when the group was decided.
    pub held: bool,
    pub reading: Option<TurnReading>,
    /// In the order in which they were made.
    pub looks: Vec<LookMade>,
    pub said: Option<Said>,
}

impl EntryTurn {
    /// Whether anything of it is new.
    pub fn says_something(&self) -> bool {
        self.reading.is_some() || !self.looks.is_empty() || self.said.is_some()
    }
}

/// By which reading of its row an entry is decided from now on.
#[derive(Clone, Debug, PartialEq)]
pub enum TurnReading {
    New(Box<Reading>),
    /// An earlier one of it says the same: which, counted from 0.
    Again(usize),
}

/// How a row was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// Names the plan and the server under which it was read.
    pub fingerprint: String,
    pub facts: Facts,
}

/// A look, and by which lookup it was made.
#[derive(Clone, Debug, PartialEq)]
pub struct LookMade {
    pub lookup: String,
    pub look: Look,
}

/// What was said of an entry.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    Verdict(Verdict),
    Deferral(Deferral),
    /// A person closed it.
    Closed(Verdict),
}
