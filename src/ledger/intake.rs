//! Taking in: entries that were not read yet get a reading, links and a place in the order of time.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::Ledger;
use super::joining::{self, Newcomers};
use super::schema;
use crate::clock::{Moment, Span};
use crate::evidence::{Class, Effect, Facts, Kind, Link};
use crate::plan::{Cell, NoText, Reader, Reading, Row};
use crate::words::{Failure, Reason};

/// Read in one transaction, at the most, so that a writer never waits long: about a second. Links are digests, and go
/// to random places of a large file; the more of them are written in their order at once, the fewer pages are written.
const AT_ONCE: Amount = Amount { rows: 128_000, bytes: 64 * 1024 * 1024 };

/// Rows held in memory at once.
const PAGE: usize = 2000;

/// So many bytes of rows are held in memory at once, at the most, but for the last of them.
const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// How much was read, or may be.
#[derive(Clone, Copy, Debug, Default)]
struct Amount {
    rows: usize,
    /// Of the rows' cells.
    bytes: usize,
}

/// A longer cell is not read, in bytes: what a plan reads of a request takes some hundred, and the cells of a group are
/// held together.
const LONGEST_CELL: usize = 1024 * 1024;

/// So far a writer's clock may be from the job's, when a row is taken for one of before a sealing.
const CLOCKS_APART: Span = Span::seconds(2 * 3600);

/// Whether anything is unread, pending or under watch, or was made nothing of. Without, nothing is to be decided, under
/// whichever plan and server.
const OPEN: &str = "SELECT EXISTS (SELECT 1 FROM standings WHERE reading_id IS NULL)
    OR EXISTS (SELECT 1 FROM standings WHERE due_ms IS NOT NULL)
    OR EXISTS (SELECT 1 FROM standings WHERE status = 'duplicate-risk' AND reason IN ('bad-row', 'no-plan', 'unobservable'))";

impl Ledger {
    /// Reads a part of the entries that were not read yet, or not under this plan and server, if they or others are to be
    /// decided. Says whether there may be more.
    ///
    /// # Errors
    /// When the ledger cannot be read or written.
    pub fn take_in(&mut self, reader: &Reader, now: Moment) -> Result<bool> {
        schema::heal(&self.connection, &self.path)?;
        if !self.connection.prepare_cached(OPEN)?.query_row([], |row| row.get::<_, bool>(0))? {
            return Ok(false);
        }
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let (read, _) = take_in_rows(&transaction, reader, now, AT_ONCE)?;
        transaction.commit()?;
        Ok(read.rows > 0)
    }
}

/// Reads every new entry within the caller's transaction; gives their links.
pub(super) fn take_in_all(connection: &Connection, reader: &Reader, now: Moment) -> Result<Vec<(Link, i64)>> {
    Ok(take_in_rows(connection, reader, now, Amount { rows: usize::MAX, bytes: usize::MAX })?.1)
}

/// Reads new entries within the caller's transaction, until it is about so much; gives how much it was, and their links.
fn take_in_rows(
    connection: &Connection,
    reader: &Reader,
    now: Moment,
    most: Amount,
) -> Result<(Amount, Vec<(Link, i64)>)> {
    open_what_was_read_otherwise(connection, &reader.basis())?;
    let (mut links, mut answered, mut read) = (Vec::new(), BTreeSet::new(), Amount::default());
    let mut newcomers = Newcomers::default();
    while read.rows < most.rows && read.bytes < most.bytes {
        let page = take_in_page(connection, reader, now, (&mut links, &mut answered, &mut newcomers))?;
        if page.rows == 0 {
            break;
        }
        read = Amount { rows: read.rows + page.rows, bytes: read.bytes.saturating_add(page.bytes) };
    }
    links.sort_unstable();
    store_links(connection, &links, &answered)?;
    joining::reopen(connection, &newcomers)?;
    Ok((read, links))
}

/// When the entries stand by readings of another plan or server, all are read anew that have their personal fields still:
/// what is pending, and what it is decided with.
fn open_what_was_read_otherwise(connection: &Connection, basis: &str) -> Result<()> {
    if read_under(connection)?.is_none_or(|last| last == basis) {
        return Ok(());
    }
    connection.execute_batch(
        "UPDATE standings SET due_ms = 0 WHERE status = 'pending';
         UPDATE standings SET reading_id = NULL WHERE entry_id NOT IN (SELECT entry_id FROM blanked);
         DELETE FROM links WHERE entry_id IN (SELECT entry_id FROM standings WHERE reading_id IS NULL);",
    )?;
    Ok(())
}

/// The plan and server that entries stand by. It is one for all of them that can be read anew, so that the first one tells
/// it; those below the first unread one are all read.
fn read_under(connection: &Connection) -> Result<Option<String>> {
    let unread: Option<i64> = connection
        .prepare_cached("SELECT min(entry_id) FROM standings WHERE reading_id IS NULL")?
        .query_row([], |row| row.get(0))?;
    let mut below = connection.prepare_cached(
        "SELECT r.basis FROM standings s CROSS JOIN readings r ON r.id = s.reading_id
         WHERE s.entry_id < ? AND NOT EXISTS (SELECT 1 FROM blanked b WHERE b.entry_id = s.entry_id)
         ORDER BY s.entry_id DESC LIMIT 1",
    )?;
    for end in unread.into_iter().chain([i64::MAX]) {
        let basis = below.query_row([end], |row| row.get(0)).optional()?;
        if basis.is_some() {
            return Ok(basis);
        }
    }
    Ok(None)
}

/// Reads one page within the caller's transaction and adds the links of what was read, and again those of answers. Says
/// how much it was.
fn take_in_page(
    connection: &Connection,
    reader: &Reader,
    now: Moment,
    (links, answered, newcomers): (&mut Vec<(Link, i64)>, &mut BTreeSet<Link>, &mut Newcomers),
) -> Result<Amount> {
    let Page { rows, bytes } = unread(connection, i64::MIN)?;
    if rows.is_empty() {
        return Ok(Amount::default());
    }
    let basis = reader.basis();
    let sealed: Option<i64> =
        connection.prepare_cached("SELECT max(sealed_ms) FROM blankings")?.query_row([], |row| row.get(0))?;
    let sealed = sealed.map(|sealed| Moment(sealed) + CLOCKS_APART);
    let newest: Option<i64> =
        connection.prepare_cached("SELECT max(entry_id) FROM readings")?.query_row([], |row| row.get(0))?;
    let mut store = connection.prepare_cached("INSERT INTO readings (entry_id, basis, facts) VALUES (?, ?, ?)")?;
    let mut stand = connection.prepare_cached("UPDATE standings SET reading_id = ?, sent_ms = ? WHERE entry_id = ?")?;
    let mut removes = connection.prepare_cached("INSERT OR IGNORE INTO removals (entry_id) VALUES (?)")?;
    for Unread { entry, row, reason } in &rows {
        let Some(row) = row else {
            // Replaced by its writer under another id: the row is gone.
            forget_standing(connection, *entry)?;
            continue;
        };
        let mut reading = reader.read(row, now);
        // A row that cannot tell when it was sent may be as old as any.
        reading.facts.overtaken = sealed.is_some_and(|sealed| reading.facts.sent.is_none_or(|sent| sent <= sealed));
        let anew = newest.is_some_and(|newest| *entry <= newest);
        let earlier = if anew { heed_earlier(connection, *entry, &basis, &mut reading)? } else { None };
        let earlier = earlier.filter(|(_, earlier)| says_the_same(earlier, &reading.facts, row));
        let facts = &reading.facts;
        let id = match &earlier {
            Some((id, _)) => *id,
            None => store.insert(params![entry, basis, serde_json::to_string(facts)?])?,
        };
        stand.execute(params![id, facts.sent.map(|sent| sent.0), entry])?;
        if anew {
            open_anew(connection, *entry, facts, *reason, earlier.is_none())?;
        }
        // Read anew under another plan, it is no news; changed by its writer, it is.
        if !anew || (row.revision > 0 && earlier.is_none()) {
            newcomers.add(*entry, facts, reader);
        }
        if joining::removes_unknown(facts, reader) {
            removes.execute([entry])?;
        }
        let its = facts.links();
        links.extend(its.iter().map(|link| (*link, *entry)));
        if facts.failure == Some(Failure::Answered) {
            answered.extend(its);
        }
    }
    Ok(Amount { rows: rows.len(), bytes })
}

/// What earlier readings of an entry say about the new one. Gives the last of the same plan and server.
fn heed_earlier(
    connection: &Connection,
    entry: i64,
    basis: &str,
    reading: &mut Reading,
) -> Result<Option<(i64, Facts)>> {
    let mut statement =
        connection.prepare_cached("SELECT basis, facts, id FROM readings WHERE entry_id = ? ORDER BY id")?;
    let mut rows = statement.query([entry])?;
    let mut last: Option<(i64, Facts)> = None;
    while let Some(row) = rows.next()? {
        let earlier: Facts = serde_json::from_str(row.get_ref(1)?.as_str()?).context("failed to read a reading")?;
        let facts = &mut reading.facts;
        // Once ahead of the job's clock, a time is never believed, however much later the row is read again.
        facts.sent_ahead |= earlier.sent_ahead && earlier.sent == facts.sent;
        if row.get_ref(0)?.as_str()? != basis {
            continue;
        }
        let keys = |facts: &Facts| facts.effects.iter().map(|effect| effect.key).collect::<Vec<_>>();
        if earlier.class == Class::Planned && facts.class == Class::Planned && keys(&earlier) != keys(facts) {
            facts.class = Class::BadRow { why: CHANGED.to_owned() };
            facts.effects.clear();
            facts.repeat_blocked = false;
        }
        last = Some((row.get(2)?, earlier));
    }
    // It was there before what was sealed since, which would have been of its group.
    reading.facts.overtaken &= last.as_ref().is_none_or(|(_, last)| last.overtaken);
    Ok(last)
}

/// Whether a reading from before says the same, so that the entry stands by it again: configurations that are run in turn
/// store nothing. A row that does not tell when it ended had ended when it was first read.
fn says_the_same(earlier: &Facts, facts: &Facts, row: &Row) -> bool {
    let ended = if row.revision == 0 { earlier.ended } else { facts.ended };
    *earlier == Facts { ended, ..facts.clone() }
}

/// What is read otherwise than ever before is looked at again, and what nothing could be made of is decided anew when
/// something can.
fn open_anew(connection: &Connection, entry: i64, facts: &Facts, reason: Option<Reason>, new: bool) -> Result<()> {
    let open = if reason.is_some_and(|reason| falls(reason, facts)) {
        "UPDATE standings SET due_ms = 0, status = 'pending', reason = NULL, action = NULL, verdict_id = NULL, joined = entry_id WHERE entry_id = ?"
    } else if new && facts.class != Class::OtherEnvironment {
        "UPDATE standings SET due_ms = 0 WHERE entry_id = ? AND status = 'resolved' AND due_ms IS NOT NULL"
    } else {
        return Ok(());
    };
    connection.prepare_cached(open)?.execute([entry])?;
    Ok(())
}

/// Whether a verdict for want of a meaning falls to this reading. One that makes no more of it changes nothing, or two
/// plans that are run in turn would supersede each other's verdict for ever.
fn falls(reason: Reason, facts: &Facts) -> bool {
    let blind = |effect: &Effect| effect.kind == Kind::Blind || effect.key.is_none();
    match facts.class {
        Class::BadRow { .. } | Class::NoPlan | Class::OtherEnvironment => false,
        Class::Read => matches!(reason, Reason::BadRow | Reason::NoPlan | Reason::Unobservable),
        Class::Planned => match reason {
            // A URL that servers read in two ways was understood before, and is not any better now.
            Reason::BadRow => !facts.effects.iter().any(|effect| effect.alternative),
            Reason::NoPlan => true,
            Reason::Unobservable => !facts.effects.iter().any(blind),
            _ => false,
        },
    }
}

/// Looks at one key say nothing of another.
const CHANGED: &str = "what it asks for was changed after the job had read it (record that under another request_id)";

/// A page of entries that were not read yet.
#[derive(Default)]
pub(super) struct Page {
    pub rows: Vec<Unread>,
    bytes: usize,
}

/// An entry that was not read yet, or not under this plan and server.
pub(super) struct Unread {
    pub entry: i64,
    /// `None`: the row is not there.
    pub row: Option<Row>,
    /// Of one that stands as duplicate-risk: why.
    reason: Option<Reason>,
}

/// The next entries from one on that were not read yet.
pub(super) fn unread(connection: &Connection, from: i64) -> Result<Page> {
    let mut statement = connection.prepare_cached(
        "SELECT s.entry_id, s.revision, e.id, e.request_id, e.operation_id, e.direction, e.method, e.url, e.body, e.sent_at,
                e.ended_at, e.failure, e.http_status, s.arrived_ms, s.clock_error_ms, CASE s.status WHEN 'duplicate-risk' THEN s.reason END
         FROM standings s LEFT JOIN entries e ON e.id = s.entry_id
         WHERE s.reading_id IS NULL AND s.entry_id >= ? ORDER BY s.entry_id LIMIT ?",
    )?;
    let mut found = statement.query(params![from, PAGE])?;
    let mut page = Page::default();
    while let Some(row) = found.next()? {
        page.bytes += bytes_of(row)?;
        let reason = row.get_ref(15)?.as_str_or_null()?.map(str::parse).transpose()?;
        page.rows.push(Unread { entry: row.get(0)?, row: row_of(row, 1)?, reason });
        if page.bytes > PAGE_BYTES {
            break;
        }
    }
    Ok(page)
}

/// How many bytes were read from the file for a row, whether they make text or not.
fn bytes_of(row: &rusqlite::Row) -> rusqlite::Result<usize> {
    let mut bytes = 0;
    for column in 0..row.as_ref().column_count() {
        if let ValueRef::Text(cell) | ValueRef::Blob(cell) = row.get_ref(column)? {
            bytes += cell.len();
        }
    }
    Ok(bytes)
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
        arrived: row.get::<_, Option<i64>>(start + 12)?.map(Moment),
        clock_error: row.get::<_, Option<i64>>(start + 13)?.map(Span),
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

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;
    use crate::ledger::WrittenRow;
    use crate::plan::{Plan, SHIPPED};

    #[test]
    fn a_transaction_ends_with_its_bytes_and_the_next_goes_on() {
        let (name, text) = SHIPPED[0];
        let plan = Plan::load(name, text, &std::collections::BTreeMap::new()).unwrap();
        let server = Url::parse("http://127.0.0.1:9").unwrap();
        let mut ledger = Ledger::simulated(1).unwrap();
        let salt = ledger.salt().to_vec();
        let reader = Reader { plan: &plan, server: &server, salt: &salt, also: &[] };
        // Too long to be read, and read from the file all the same.
        let body = "x".repeat(AT_ONCE.bytes / 4);
        for n in 0..6 {
            let row = WrittenRow { request_id: n.to_string(), body: Some(body.clone()), ..WrittenRow::default() };
            ledger.write_row(&row).unwrap();
        }
        let unread = |ledger: &Ledger| -> i64 {
            let sql = "SELECT count(*) FROM standings WHERE reading_id IS NULL";
            ledger.connection.query_row(sql, [], |row| row.get(0)).unwrap()
        };
        assert!(ledger.take_in(&reader, Moment(0)).unwrap());
        assert_eq!(unread(&ledger), 2);
        assert!(ledger.take_in(&reader, Moment(0)).unwrap());
        assert_eq!(unread(&ledger), 0);
        assert!(!ledger.take_in(&reader, Moment(0)).unwrap());
    }
}
