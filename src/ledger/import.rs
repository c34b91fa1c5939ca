//! Importing: pages of records go into `entries` together with how far their file was read, in one transaction each.
//!
//! A record that names no id gets one made of what it says and of how often that stood in its file before. So equal
//! records of one file are several attempts, while a second import of the same records, under whatever file name, adds
//! nothing.

use std::collections::HashMap;

use anyhow::{Context, Result, bail};
use rusqlite::{Connection, OptionalExtension, params};

use super::Ledger;
use super::record::{NewEntry, record};
use crate::clock::{Moment, Span};
use crate::decide::told_apart;
use crate::evidence::Facts;
use crate::ids::MADE_BY_IMPORT;
use crate::plan::hex;

/// Whether two rows that bear one operation id are two requests, each an operation of its own.
pub fn are_two_requests(one: &Facts, other: &Facts) -> bool {
    told_apart([one.clone(), other.clone()]) != [0, 0]
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

/// How far a file was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    pub bytes: u64,
    pub lines: u64,
}

/// What became of a file's records so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub imported: u64,
    pub duplicates: u64,
    pub left_out: u64,
    pub rejected: u64,
}

/// What a file is known by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its name, for people.
    pub file: String,
    /// Of the format and the mapping.
    pub mapping: Digest16,
    pub head_bytes: u64,
    pub head: Digest16,
}

/// An import that is under way or was once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// `None`: nothing is stored yet.
    pub id: Option<i64>,
    pub known: Known,
    pub mark: Mark,
    /// Of the last bytes before the mark.
    pub tail: Digest16,
    pub counts: Counts,
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
        let mut statement = self.connection.prepare(
            "SELECT id, file, mapping, head_bytes, head, bytes, lines, tail, imported, duplicates, left_out, rejected
             FROM imports WHERE mapping = ? AND bytes > 0 ORDER BY bytes DESC, id DESC",
        )?;
        let rows = statement.query_map([mapping], |row| {
            Ok(Import {
                id: row.get(0)?,
                known: Known { file: row.get(1)?, mapping: row.get(2)?, head_bytes: row.get(3)?, head: row.get(4)? },
                mark: Mark { bytes: row.get(5)?, lines: row.get(6)? },
                tail: row.get(7)?,
                counts: Counts {
                    imported: row.get(8)?,
                    duplicates: row.get(9)?,
                    left_out: row.get(10)?,
                    rejected: row.get(11)?,
                },
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
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
        let transaction = self.turn()?;
        let mut moved = import.clone();
        let id = begin(&transaction, &moved, page.at)?;
        moved.id = Some(id);
        let mut fates = Vec::with_capacity(page.candidates.len());
        for candidate in page.candidates {
            let fate = store(&transaction, id, candidate, page.advance.is_some());
            fates.push(fate.context("failed to record an entry")?);
        }
        if let Some((mark, tail)) = page.advance {
            (moved.mark, moved.tail) = (mark, tail);
            let of = |fate| fates.iter().filter(|f| **f == fate).count() as u64;
            moved.counts.imported += of(Fate::Imported);
            moved.counts.duplicates += of(Fate::Duplicate) + of(Fate::Completed);
            moved.counts.left_out += page.left_out;
            moved.counts.rejected += page.rejected + of(Fate::Taken);
            write(&transaction, id, &moved, page.at)?;
        }
        before_commit(&fates)?;
        transaction.commit()?;
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
                return Ok(match there(&self.connection, &candidate.entry)? {
                    Some(fate) => fate,
                    None if seen.insert(key, 1).is_some() => Fate::Duplicate,
                    None => Fate::Imported,
                });
            }
            let before = match seen.get(&candidate.content) {
                Some(before) => *before,
                None => seen_before(&self.connection, import.id.unwrap_or(0), &candidate.content)?,
            };
            seen.insert(candidate.content, before + 1);
            let request_id = made_id(&candidate.content, before + 1);
            let entry = NewEntry { request_id: &request_id, ..candidate.entry.clone() };
            Ok(if there(&self.connection, &entry)?.is_some() { Fate::Duplicate } else { Fate::Imported })
        };
        candidates.iter().map(look).collect()
    }

    /// Takes an import back to where it stood: nothing of what was read since was recorded.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub fn take_import_back(&mut self, import: &Import, to: &Import, at: Moment) -> Result<()> {
        let Some(id) = import.id else { return Ok(()) };
        let transaction = self.turn()?;
        if to.id.is_some() {
            write(&transaction, id, to, at)?;
        } else {
            transaction.execute("DELETE FROM import_records WHERE import_id = ?", [id])?;
            transaction.execute("DELETE FROM imports WHERE id = ?", [id])?;
        }
        transaction.commit()
    }
}

/// The import's row, which still stands where it was left.
fn begin(connection: &Connection, import: &Import, at: Moment) -> Result<i64> {
    let Some(id) = import.id else {
        connection.execute(
            "INSERT INTO imports (file, mapping, head_bytes, head, tail, bytes, lines, at_ms) VALUES (?, ?, ?, ?, ?, 0, 0, ?)",
            params![
                import.known.file,
                import.known.mapping,
                import.known.head_bytes,
                import.known.head,
                import.tail,
                at.0
            ],
        )?;
        return Ok(connection.last_insert_rowid());
    };
    let stands: Option<(u64, u64)> = connection
        .prepare_cached("SELECT bytes, lines FROM imports WHERE id = ?")?
        .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    if stands != Some((import.mark.bytes, import.mark.lines)) {
        bail!("another import is reading the same file (wait for it; what it read is in the ledger)");
    }
    Ok(id)
}

fn write(connection: &Connection, id: i64, import: &Import, at: Moment) -> Result<()> {
    let Counts { imported, duplicates, left_out, rejected } = import.counts;
    connection
        .prepare_cached(
            "UPDATE imports SET file = ?, bytes = ?, lines = ?, tail = ?, imported = ?, duplicates = ?, left_out = ?,
               rejected = ?, at_ms = ? WHERE id = ?",
        )?
        .execute(params![
            import.known.file,
            import.mark.bytes,
            import.mark.lines,
            import.tail,
            imported,
            duplicates,
            left_out,
            rejected,
            at.0,
            id
        ])?;
    Ok(())
}

fn store(connection: &Connection, import: i64, candidate: &Candidate, count: bool) -> rusqlite::Result<Fate> {
    if !candidate.entry.request_id.is_empty() {
        return Ok(match there(connection, &candidate.entry)? {
            Some(Fate::Completed) => completed(connection, &candidate.entry)?,
            Some(fate) => fate,
            None if insert(connection, &candidate.entry, candidate.clock_error)? => Fate::Imported,
            None => Fate::Duplicate,
        });
    }
    let seen = seen_before(connection, import, &candidate.content)? + 1;
    if count {
        connection
            .prepare_cached(
                "INSERT INTO import_records (import_id, record, seen) VALUES (?1, ?2, ?3)
                 ON CONFLICT (import_id, record) DO UPDATE SET seen = ?3",
            )?
            .execute(params![import, candidate.content, seen])?;
    }
    let request_id = made_id(&candidate.content, seen);
    let entry = NewEntry { request_id: &request_id, ..candidate.entry.clone() };
    Ok(if insert(connection, &entry, candidate.clock_error)? { Fate::Imported } else { Fate::Duplicate })
}

/// Records an attempt, with how far the clock of its source may be off. False: it is recorded already.
fn insert(connection: &Connection, entry: &NewEntry, clock_error: Span) -> rusqlite::Result<bool> {
    let recorded = record(connection, entry)?;
    if recorded {
        connection
            .prepare_cached("UPDATE standings SET clock_error_ms = ?1 WHERE entry_id = (SELECT id FROM entries WHERE request_id = ?2)")?
            .execute(params![clock_error.0, entry.request_id])?;
    }
    Ok(recorded)
}

fn seen_before(connection: &Connection, import: i64, content: &Digest16) -> rusqlite::Result<i64> {
    let seen = connection
        .prepare_cached("SELECT seen FROM import_records WHERE import_id = ? AND record = ?")?
        .query_row(params![import, content], |row| row.get(0))
        .optional()?;
    Ok(seen.unwrap_or(0))
}

/// The id of a record that names none.
pub fn made_id(content: &Digest16, seen: i64) -> String {
    format!("{MADE_BY_IMPORT}{}-{seen}", hex(content))
}

/// What is in the ledger with this id: the same record, the same without its body, or another attempt.
fn there(connection: &Connection, entry: &NewEntry) -> rusqlite::Result<Option<Fate>> {
    // A body that was removed for its person's sake does not come back.
    let found = connection
        .prepare_cached(
            "SELECT method, url, sent_at, body, EXISTS (SELECT 1 FROM blanked WHERE entry_id = entries.id)
             FROM entries WHERE request_id = ?",
        )?
        .query_row([entry.request_id], |row| {
            Ok((text(row, 0)?, text(row, 1)?, text(row, 2)?, body(row, 3)?, row.get::<_, bool>(4)?))
        })
        .optional()?;
    Ok(found.map(|(method, url, sent_at, body, blanked)| {
        let same = method.eq_ignore_ascii_case(entry.method)
            && url == entry.url
            && Moment::parse(&sent_at) == Some(entry.sent_at);
        match (same, body, entry.body) {
            (false, ..) => Fate::Taken,
            _ if blanked => Fate::Duplicate,
            (true, None, Some(_)) => Fate::Completed,
            (true, Some(there), Some(new)) if !is_same_json(&there, new) => Fate::Taken,
            _ => Fate::Duplicate,
        }
    }))
}

/// Gives an entry the body that it came without, as long as nothing was decided about it but that it lacks something.
fn completed(connection: &Connection, entry: &NewEntry) -> rusqlite::Result<Fate> {
    let changed = connection
        .prepare_cached(
            "UPDATE entries SET body = ?2 WHERE request_id = ?1 AND body IS NULL AND NOT EXISTS (
               SELECT 1 FROM standings
               WHERE entry_id = entries.id AND reading_id IS NOT NULL AND reason IS NOT 'bad-row')",
        )?
        .execute(params![entry.request_id, entry.body])?;
    Ok(if changed > 0 { Fate::Completed } else { Fate::Duplicate })
}

/// Whether two bodies say the same, whatever their spaces and the order of their members.
fn is_same_json(one: &str, other: &str) -> bool {
    let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
    one == other || read(one).is_some_and(|one| read(other) == Some(one))
}

/// A body, whatever it is; `None`: there is none.
fn body(row: &rusqlite::Row, column: usize) -> rusqlite::Result<Option<String>> {
    Ok(Some(text(row, column)?).filter(|text| !text.trim().is_empty()))
}

/// A cell of another writer's, whatever it is.
fn text(row: &rusqlite::Row, column: usize) -> rusqlite::Result<String> {
    Ok(row.get_ref(column)?.as_bytes_or_null().ok().flatten().map(String::from_utf8_lossy).unwrap_or_default().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::{Direction, Failure};

    const NEW: Import = Import {
        id: None,
        known: Known { file: String::new(), mapping: [1; 16], head_bytes: 10, head: [2; 16] },
        mark: Mark { bytes: 0, lines: 0 },
        tail: [0; 16],
        counts: Counts { imported: 0, duplicates: 0, left_out: 0, rejected: 0 },
    };

    fn candidate(content: u8) -> Candidate<'static> {
        let entry = NewEntry {
            request_id: "",
            operation_id: None,
            direction: Direction::Outbound,
            method: "POST",
            url: "http://127.0.0.1/x",
            body: None,
            sent_at: Moment(1_700_000_000_000),
            ended_at: None,
            failure: Failure::Timeout,
            http_status: None,
            error: None,
        };
        Candidate { entry, content: [content; 16], clock_error: Span::seconds(60) }
    }

    fn page<'a>(candidates: &'a [Candidate<'a>], bytes: u64) -> Page<'a> {
        let advance = (bytes > 0).then_some((Mark { bytes, lines: bytes / 10 }, [3; 16]));
        Page { candidates, left_out: 0, rejected: 0, advance, at: Moment(1_700_000_001_000) }
    }

    fn import(ledger: &mut Ledger, import: &mut Import, page: &Page) -> Result<Vec<Fate>> {
        let mut told = Vec::new();
        ledger.import_page(import, page, &mut |fates| {
            told = fates.to_vec();
            Ok(())
        })?;
        Ok(told)
    }

    #[test]
    fn equal_records_of_a_file_are_attempts_and_of_two_files_the_same_ones() {
        let mut ledger = Ledger::in_memory().unwrap();
        let (mut one, mut two) = (NEW, NEW);
        let twice = [candidate(1), candidate(1)];
        assert_eq!(import(&mut ledger, &mut one, &page(&twice, 20)).unwrap(), [Fate::Imported; 2]);
        assert_eq!(import(&mut ledger, &mut two, &page(&twice, 20)).unwrap(), [Fate::Duplicate; 2]);
        assert_eq!(import(&mut ledger, &mut two, &page(&twice[..1], 30)).unwrap(), [Fate::Imported]);
        assert_eq!(import(&mut ledger, &mut one, &page(&twice[..1], 30)).unwrap(), [Fate::Duplicate]);
        // A last line that may yet grow is not counted.
        for _ in 0..2 {
            import(&mut ledger, &mut one, &page(&[candidate(2)], 0)).unwrap();
        }
        assert_eq!(import(&mut ledger, &mut one, &page(&[candidate(2)], 40)).unwrap(), [Fate::Duplicate]);
        assert_eq!(ledger.imports(&[1; 16]).unwrap()[0], one);
    }

    #[test]
    fn of_two_imports_of_one_file_one_goes_on() {
        let mut ledger = Ledger::in_memory().unwrap();
        let mut one = NEW;
        import(&mut ledger, &mut one, &page(&[candidate(1)], 10)).unwrap();
        let mut other = one.clone();
        import(&mut ledger, &mut one, &page(&[candidate(1)], 20)).unwrap();
        let error = import(&mut ledger, &mut other, &page(&[candidate(1)], 20)).unwrap_err();
        assert!(error.to_string().contains("another import"), "{error}");
    }

    #[test]
    fn what_fails_before_the_commit_leaves_nothing() {
        let mut ledger = Ledger::in_memory().unwrap();
        let mut one = NEW;
        let failed = ledger.import_page(&mut one, &page(&[candidate(1)], 10), &mut |_| bail!("no room"));
        assert!(failed.is_err());
        assert_eq!((one, ledger.imports(&[1; 16]).unwrap().len()), (NEW, 0));
        assert_eq!(import(&mut ledger, &mut NEW.clone(), &page(&[candidate(1)], 10)).unwrap(), [Fate::Imported]);
    }
}
