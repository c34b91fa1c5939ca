//! Importing: pages of records go into `entries` together with how far their file was read, in one transaction each.
//!
//! A record that names no id gets one made of what it says and of how often that stood in its file before. So equal
//! records of one file are several attempts, while a second import of the same records, under whatever file name, adds
//! nothing.

use std::collections::HashMap;

use anyhow::{Context, Result};

use super::Ledger;
use super::record::NewEntry;
use crate::clock::{Moment, Span};
use crate::decide::distinct_requests;
use crate::evidence::Facts;
use crate::ids::MADE_BY_IMPORT;
use crate::plan::{Cell, hex};
use crate::store::Store;

pub use crate::store::{Import, Imported as Counts, Known, Mark};

/// Whether two rows that bear one operation id are two requests, each an operation of its own.
pub fn are_two_requests(one: &Facts, other: &Facts) -> bool {
    distinct_requests([one.clone(), other.clone()]) != [0, 0]
}

/// A salted digest.
pub type Digest16 = [u8; 16];

/// A record that belongs into the ledger.
#[derive(Clone, Debug)]
pub struct Candidate<'a> {
    /// Its `request_id` is used if the record names one, else it is made of `content`.
    pub entry: NewEntry<'a>,
    /// Of time, method, URL and body.
    pub content: Digest16,
    /// How far the clock that dated it may be from the ledger's.
    pub clock_error: Span,
}

/// What became of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Imported,
    /// It is in the ledger already.
    Duplicate,
    /// It was in the ledger without its body, and has it now.
    Completed,
    /// Its id is in the ledger already, as that of another attempt.
    Taken,
}

/// What is stored at once.
#[derive(Debug)]
pub struct Page<'a> {
    pub candidates: &'a [Candidate<'a>],
    pub left_out: u64,
    pub rejected: u64,
    /// How far the file was read with this page, and the digest before that. `None`: the page is the file's unfinished
    /// last line; it will be read again.
    pub advance: Option<(Mark, Digest16)>,
    pub at: Moment,
}

impl Ledger {
    /// The stored imports through this mapping, the furthest first.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn imports(&self, mapping: &Digest16) -> Result<Vec<Import>> {
        self.store.imports(mapping)
    }

    /// Stores a page and moves the import on, all or nothing. `before_commit` hears what became of the candidates.
    ///
    /// # Errors
    /// When the ledger cannot be written, another import has moved on in the same file, or `before_commit` fails.
    pub fn import_page(
        &mut self,
        import: &mut Import,
        page: &Page,
        before_commit: &mut dyn FnMut(&[Fate]) -> Result<()>,
    ) -> Result<()> {
        let moved = self.in_turn(|store| {
            let mut moved = import.clone();
            moved.id = Some(put(store, &moved, import.mark, page.at)?);
            let mut fates = Vec::with_capacity(page.candidates.len());
            for candidate in page.candidates {
                let fate = record(store, moved.id.unwrap_or_default(), candidate, page.advance.is_some());
                fates.push(fate.context("failed to record an entry")?);
            }
            if let Some((mark, tail)) = page.advance {
                (moved.mark, moved.tail) = (mark, tail);
                let of = |fate| fates.iter().filter(|f| **f == fate).count() as u64;
                moved.counts.imported += of(Fate::Imported);
                moved.counts.duplicates += of(Fate::Duplicate) + of(Fate::Completed);
                moved.counts.left_out += page.left_out;
                moved.counts.rejected += page.rejected + of(Fate::Taken);
                put(store, &moved, import.mark, page.at)?;
            }
            before_commit(&fates)?;
            Ok(moved)
        })?;
        *import = moved;
        Ok(())
    }

    /// What [`Ledger::import_page`] would do; writes nothing. `seen` is carried from page to page.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn import_preview(
        &self,
        import: &Import,
        candidates: &[Candidate],
        seen: &mut HashMap<Digest16, i64>,
    ) -> Result<Vec<Fate>> {
        let look = |candidate: &Candidate| {
            if !candidate.entry.request_id.is_empty() {
                let mut key = [0; 16];
                let hashed = <sha2::Sha256 as sha2::Digest>::digest(candidate.entry.request_id);
                key.copy_from_slice(&hashed[..16]);
                return Ok(match there(&*self.store, &candidate.entry)? {
                    Some(fate) => fate,
                    None if seen.insert(key, 1).is_some() => Fate::Duplicate,
                    None => Fate::Imported,
                });
            }
            let before = match seen.get(&candidate.content) {
                Some(before) => *before,
                None => self.store.seen_in_import(import.id.unwrap_or(0), &candidate.content)?,
            };
            seen.insert(candidate.content, before + 1);
            let request_id = made_id(&candidate.content, before + 1);
            let entry = NewEntry { request_id: &request_id, ..candidate.entry.clone() };
            Ok(if there(&*self.store, &entry)?.is_some() { Fate::Duplicate } else { Fate::Imported })
        };
        candidates.iter().map(look).collect()
    }

    /// Takes an import back to where it stood: nothing of what was read since was recorded.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub fn take_import_back(&mut self, import: &Import, to: &Import, at: Moment) -> Result<()> {
        let Some(id) = import.id else { return Ok(()) };
        self.in_turn(|store| match to.id {
            Some(_) => put(store, to, import.mark, at).map(|_| ()),
            None => store.drop_import(id),
        })
    }
}

/// The import's row, which still stands where it was left.
fn put(store: &mut dyn Store, import: &Import, was: Mark, at: Moment) -> Result<i64> {
    let put = store.put_import(import, was, at)?;
    put.context("another import is reading the same file (wait for it; what it read is in the ledger)")
}

fn record(store: &mut dyn Store, import: i64, candidate: &Candidate, count: bool) -> Result<Fate> {
    if !candidate.entry.request_id.is_empty() {
        return Ok(match there(store, &candidate.entry)? {
            // As long as nothing was decided about it but that it lacks something.
            Some(Fate::Completed) => match candidate.entry.body {
                Some(body) if store.complete(candidate.entry.request_id, body)? => Fate::Completed,
                _ => Fate::Duplicate,
            },
            Some(fate) => fate,
            None if store.record(&candidate.entry, Some(candidate.clock_error))? => Fate::Imported,
            None => Fate::Duplicate,
        });
    }
    let seen = store.seen_in_import(import, &candidate.content)? + 1;
    if count {
        store.set_seen_in_import(import, &candidate.content, seen)?;
    }
    let request_id = made_id(&candidate.content, seen);
    let entry = NewEntry { request_id: &request_id, ..candidate.entry.clone() };
    Ok(if store.record(&entry, Some(candidate.clock_error))? { Fate::Imported } else { Fate::Duplicate })
}

/// The id of a record that names none.
pub fn made_id(content: &Digest16, seen: i64) -> String {
    format!("{MADE_BY_IMPORT}{}-{seen}", hex(content))
}

/// What is in the ledger with this id: the same record, the same without its body, or another attempt.
fn there(store: &dyn Store, entry: &NewEntry) -> Result<Option<Fate>> {
    let Some(id) = store.entry_of(entry.request_id)? else { return Ok(None) };
    let Some(row) = store.rows(&[id])?.into_iter().next() else { return Ok(None) };
    // A body that was removed for its person's sake does not come back.
    let erased = store.states(&[id])?.first().is_some_and(|state| state.erased.is_some());
    let text = |cell: &Cell| cell.as_ref().ok().cloned().flatten().unwrap_or_default();
    let same = text(&row.method).eq_ignore_ascii_case(entry.method)
        && text(&row.url) == entry.url
        && Moment::parse(&text(&row.sent_at)) == Some(entry.sent_at);
    let body = Some(text(&row.body)).filter(|body| !body.trim().is_empty());
    Ok(Some(match (same, body, entry.body) {
        (false, ..) => Fate::Taken,
        _ if erased => Fate::Duplicate,
        (true, None, Some(_)) => Fate::Completed,
        (true, Some(there), Some(new)) if !is_same_json(&there, new) => Fate::Taken,
        _ => Fate::Duplicate,
    }))
}

/// Whether two bodies say the same, whatever their spaces and the order of their members.
fn is_same_json(one: &str, other: &str) -> bool {
    let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
    one == other || read(one).is_some_and(|one| read(other) == Some(one))
}
