//! The report: the same bytes for the same ledger, in the form and with the columns that its reader needs, and what stands
//! behind it.
//!
//! Made from the ledger's rows alone. Making text is pure and stands here; putting it whole into a file is
//! [`crate::outputs`].
//!
//! | part | where |
//! |---|---|
//! | what is shown of a row, for whom | [`columns`] |
//! | CSV that no spreadsheet runs, JSON lines, a table for terminals | [`form`], [`table`] |
//! | one page for people to open | [`page`] |
//! | what stands behind a report | [`meta`] |
//! | the story of one entry, how many stand where | [`story`], [`overview`], on a [`screen`] |
//! | what to do now | [`now`] |

mod advice;
mod columns;
mod form;
mod meta;
mod now;
mod overview;
mod page;
mod screen;
mod story;
mod table;

pub use advice::to_do;
pub use columns::{Asks, Cell, Column, Shown, action, cell, columns, object, reason};
pub use form::{Format, Output, harmless};
pub use meta::{Contents, Digesting, Meta, Sources, filters};
pub use now::{lines, steps};
pub use overview::{Overview, overview};
pub use page::{Behind, Changed};
pub use screen::{Screen, Tone, printable};
pub use story::{story_json, story_text};
