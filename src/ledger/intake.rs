//! Taking in: entries that were not read yet get a reading, links and a place in the order of time.

use std::collections::BTreeSet;

use anyhow::Result;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, TransactionBehavior, params};

use super::Ledger;
use crate::clock::{Moment, Span};
use crate::evidence::Link;
use crate::plan::{Cell, NoText, Reader, Row};
use crate::words::Failure;

/// Rows read in one transaction, at the most, so that a writer never waits long: about half a second. Links are digests,
/// and go to random places of a large file; the more of them are written in their order at once, the fewer pages are
/// written.
const AT_ONCE: usize = 64_000;

/// Rows held in memory at once.
const PAGE: usize = 2000;

/// So many bytes of rows are read at once, at the most, but for the last of them.
const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// A longer cell is not read, in bytes: what a plan reads of a request takes some hundred, and the cells of a group are
/// held together.
const LONGEST_CELL: usize = 1024 * 1024;

/// So far a writer's clock may be from the job's, when a row is taken for one of before a sealing.
const CLOCKS_APART: Span = Span::seconds(2 * 3600);

impl Ledger {
    /// Reads a part of the entries that were not read yet. Says whether there may be more.
    ///
    /// # Errors
    /// When the ledger cannot be read or written.
    pub fn take_in(&mut self, reader: &Reader, now: Moment) -> Result<bool> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let (rows, _) = take_in_rows(&transaction, reader, now, AT_ONCE)?;
        transaction.commit()?;
        Ok(rows > 0)
    }
}

/// Reads every new entry within the caller's transaction; gives their links.
pub(super) fn take_in_all(connection: &Connection, reader: &Reader, now: Moment) -> Result<Vec<(Link, i64)>> {
    Ok(take_in_rows(connection, reader, now, usize::MAX)?.1)
}

/// Reads about so many new entries, at the most, within the caller's transaction; gives how many they were, and their links.
fn take_in_rows(
    connection: &Connection,
    reader: &Reader,
    now: Moment,
    most: usize,
) -> Result<(usize, Vec<(Link, i64)>)> {
    let (mut links, mut answered, mut read) = (Vec::new(), BTreeSet::new(), 0);
    while read < most {
        match take_in_page(connection, reader, now, (&mut links, &mut answered))? {
            0 => break,
            rows => read += rows,
        }
    }
    links.sort_unstable();
    store_links(connection, &links, &answered)?;
    Ok((read, links))
}

/// Reads one page within the caller's transaction and adds the links of what was read, and again those of answers. Says
/// how many rows it was.
fn take_in_page(
    connection: &Connection,
    reader: &Reader,
    now: Moment,
    (links, answered): (&mut Vec<(Link, i64)>, &mut BTreeSet<Link>),
) -> Result<usize> {
    let rows = unread(connection)?;
    if rows.is_empty() {
        return Ok(0);
    }
    let basis = reader.basis();
    let sealed: Option<i64> =
        connection.prepare_cached("SELECT max(sealed_ms) FROM blankings")?.query_row([], |row| row.get(0))?;
    let sealed = sealed.map(|sealed| Moment(sealed) + CLOCKS_APART);
    let mut store = connection.prepare_cached("INSERT INTO readings (entry_id, basis, facts) VALUES (?, ?, ?)")?;
    let mut stand = connection.prepare_cached("UPDATE standings SET reading_id = ?, sent_ms = ? WHERE entry_id = ?")?;
    for (entry, row) in &rows {
        let Some(row) = row else {
            // Replaced by its writer under another id: the row is gone.
            forget_standing(connection, *entry)?;
            continue;
        };
        let mut reading = reader.read(row, now);
        // A row that cannot tell when it was sent may be as old as any.
        reading.facts.overtaken = sealed.is_some_and(|sealed| reading.facts.sent.is_none_or(|sent| sent <= sealed));
        let facts = &reading.facts;
        let id = store.insert(params![entry, basis, serde_json::to_string(facts)?])?;
        stand.execute(params![id, facts.sent.map(|sent| sent.0), entry])?;
        links.extend(reading.links.iter().map(|link| (*link, *entry)));
        if reading.facts.failure == Some(Failure::Answered) {
            answered.extend(reading.links);
        }
    }
    Ok(rows.len())
}

/// The next entries that were not read yet. `None`: the row is not there.
fn unread(connection: &Connection) -> Result<Vec<(i64, Option<Row>)>> {
    let mut statement = connection.prepare_cached(
        "SELECT s.entry_id, s.revision, e.id, e.request_id, e.operation_id, e.direction, e.method, e.url, e.body, e.sent_at,
                e.ended_at, e.failure, e.http_status
         FROM standings s LEFT JOIN entries e ON e.id = s.entry_id
         WHERE s.reading_id IS NULL ORDER BY s.entry_id LIMIT ?",
    )?;
    let mut found = statement.query([PAGE])?;
    let (mut rows, mut bytes) = (Vec::new(), 0);
    while let Some(row) = found.next()? {
        let (entry, row) = (row.get(0)?, row_of(row, 1)?);
        bytes += row.as_ref().map_or(0, Row::bytes);
        rows.push((entry, row));
        if bytes > PAGE_BYTES {
            break;
        }
    }
    Ok(rows)
}

fn forget_standing(connection: &Connection, entry: i64) -> Result<()> {
    connection.prepare_cached("DELETE FROM links WHERE entry_id = ?")?.execute([entry])?;
    connection.prepare_cached("DELETE FROM standings WHERE entry_id = ?")?.execute([entry])?;
    Ok(())
}

/// Stores links in their order. A row that its writer changed has lost its earlier ones by then.
fn store_links(connection: &Connection, links: &[(Link, i64)], answered: &BTreeSet<Link>) -> Result<()> {
    let mut insert = connection.prepare_cached("INSERT OR IGNORE INTO links (link, entry_id) VALUES (?, ?)")?;
    for (link, entry) in links {
        insert.execute(params![link.0, entry])?;
    }
    // News for its operation: what is pending there is looked at now. The plus sign keeps SQLite from the index of all that
    // is pending, which it would go through for each answer.
    let mut wake = connection.prepare_cached(
        "UPDATE standings SET due_ms = 0
         WHERE +status = 'pending' AND due_ms IS NOT 0 AND entry_id IN (SELECT entry_id FROM links WHERE link = ?)",
    )?;
    for link in answered {
        wake.execute([link.0])?;
    }
    Ok(())
}

/// Reads an entry's columns, which stand in `row` from `revision` at `start` on. `None`: the entry is not there.
pub(super) fn row_of(row: &rusqlite::Row, start: usize) -> rusqlite::Result<Option<Row>> {
    if matches!(row.get_ref(start + 1)?, ValueRef::Null) {
        return Ok(None);
    }
    let request_id = row.get_ref(start + 2)?;
    Ok(Some(Row {
        entry: row.get(start + 1)?,
        revision: row.get(start)?,
        request_id: id_text(request_id),
        id_is_text: request_id.as_str().is_ok(),
        operation_id: cell(row.get_ref(start + 3)?),
        direction: cell(row.get_ref(start + 4)?),
        method: cell(row.get_ref(start + 5)?),
        url: cell(row.get_ref(start + 6)?),
        body: cell(row.get_ref(start + 7)?),
        sent_at: cell(row.get_ref(start + 8)?),
        ended_at: cell(row.get_ref(start + 9)?),
        failure: cell(row.get_ref(start + 10)?),
        http_status: cell(row.get_ref(start + 11)?),
    }))
}

/// An id as text, for people, whatever a writer put there.
pub(super) fn id_text(value: ValueRef) -> String {
    match value {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        other => format!("{other:?}"),
    }
}

pub(super) fn cell(value: ValueRef) -> Cell {
    match value {
        ValueRef::Null => Ok(None),
        ValueRef::Integer(number) => Ok(Some(number.to_string())),
        ValueRef::Real(number) => Ok(Some(number.to_string())),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) if bytes.len() <= LONGEST_CELL => {
            std::str::from_utf8(bytes).map(|text| Some(text.to_owned())).map_err(|_| NoText)
        }
        ValueRef::Text(_) | ValueRef::Blob(_) => Err(NoText),
    }
}
