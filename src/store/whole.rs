//! A ledger whole, as it is moved from one store to another: the tables are the same in each.

use serde_json::{Map, Value};

/// A row of a table: its columns by their names.
pub type WholeRow = Map<String, Value>;

/// What makes a ledger the one that is moved, and where its ids end.
#[derive(Clone, Copy, Debug, Default)]
pub struct LastIds {
    /// The last entry that there ever was.
    pub entry: i64,
    pub text: i64,
    pub run: i64,
    pub note: i64,
    pub import: i64,
}

/// An entry of which some cells could not be moved as they are: they held no text, or some that not every store can hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Altered {
    pub entry: i64,
    pub columns: Vec<String>,
}
