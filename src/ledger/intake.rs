//! Taking in: entries that were not read yet get a reading, links and a place in the order of time.
//!
//! They are read while the file is free, for that is most of the work, and what was read is written in turns. A row that
//! its writer changed in between is left, and read again.

use std::collections::{BTreeSet, VecDeque};

use anyhow::Result;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, params};

use super::Ledger;
use super::anew::{Earlier, Opened, opened_anew, reads_otherwise, says_the_same};
use super::joining::{self, Newcomer, Newcomers};
use super::schema;
use super::turns::Turn;
use crate::clock::{Moment, Span};
use crate::evidence::Link;
use crate::plan::{Cell, NoText, Reader, Row};
use crate::words::{Failure, Reason};

/// Read before it is written, at the most. Links are digests, and go to random places of a large file; the more of them
/// are written in their order at once, the fewer pages are written.
const AT_ONCE: Amount = Amount { rows: 16_000, bytes: 64 * 1024 * 1024 };

/// Read within a turn that writes something else, at the most.
const FEW: Amount = Amount { rows: 500, bytes: 1024 * 1024 };

/// Rows held in memory at once.
pub(super) const PAGE: usize = 2000;

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

/// Whether anything is unread, pending, under watch or a person's to find out. Without, nothing is to be decided, under
/// whichever plan and server.
const OPEN: &str = "SELECT EXISTS (SELECT 1 FROM standings WHERE reading_id IS NULL)
    OR EXISTS (SELECT 1 FROM standings WHERE due_ms IS NOT NULL)
    OR EXISTS (SELECT 1 FROM standings WHERE status = 'duplicate-risk')";

/// A plan's change under way: the entries from `below` on are unread already.
#[derive(Debug)]
pub(super) struct Opening {
    basis: String,
    below: i64,
}

impl Ledger {
    /// Reads a part of the entries that were not read yet, or not under this plan and server, if they or others are to be
    /// decided. Says whether there is more; what writers add meanwhile may be left.
    ///
    /// # Errors
    /// When the ledger cannot be read or written.
    pub fn take_in(&mut self, reader: &Reader, now: Moment) -> Result<bool> {
        schema::heal(&self.connection, &self.path)?;
        let open = || self.connection.prepare_cached(OPEN)?.query_row([], |row| row.get::<_, bool>(0));
        if !self.rechecks && !open()? {
            return Ok(false);
        }
        let rechecks = std::mem::take(&mut self.reads_all);
        if self.open_what_was_read_otherwise(&reader.basis(), rechecks)? {
            return Ok(true);
        }
        Ok(self.take_in_part(reader, now)?.1)
    }

    /// Reads a part of the entries that were not read yet; gives their links, and whether there is more.
    pub(super) fn take_in_part(&mut self, reader: &Reader, now: Moment) -> Result<(Vec<(Link, i64)>, bool)> {
        let mut read = Read::of(&self.connection, reader, now, (AT_ONCE, self.rechecks))?;
        self.reopen_removed(&read.removals())?;
        let mut links = Vec::new();
        while !read.rows.is_empty() {
            let turn = self.turn()?;
            links.extend(read.write(&turn, || turn.is_over())?);
            turn.commit()?;
        }
        Ok((links, read.full))
    }

    /// When the entries stand by readings of another plan or server, all are read anew that have their personal fields
    /// still: what is pending, and what it is decided with. They become unread in turns, from the last one down; says
    /// whether there may be more.
    ///
    /// Nothing is read before all is open, so that all that is read stands by one plan and server, whenever this is broken
    /// off. Links stay until their entry is read: what comes meanwhile finds its group. `all`: whatever they stand by, for two
    /// plans may have been run in turn.
    fn open_what_was_read_otherwise(&mut self, basis: &str, all: bool) -> Result<bool> {
        let opening = self.opening.take().filter(|opening| opening.basis == basis);
        let mut below = match opening {
            Some(opening) => opening.below,
            None if !all && read_under(&self.connection)?.is_none_or(|last| last == basis) => return Ok(false),
            None => i64::MAX,
        };
        let turn = self.turn()?;
        while let Some(first) = open_some(&turn, below)? {
            below = first;
            if turn.is_over() {
                turn.commit()?;
                self.opening = Some(Opening { basis: basis.to_owned(), below });
                return Ok(true);
            }
        }
        turn.commit()?;
        Ok(true)
    }
}

/// Opens the next entries below one; gives the first of them, `None` when there are no more.
fn open_some(connection: &Connection, below: i64) -> Result<Option<i64>> {
    const SOME: i64 = 200;
    let first: Option<i64> = connection
        .prepare_cached("SELECT min(entry_id) FROM (SELECT entry_id FROM standings WHERE entry_id < ? ORDER BY entry_id DESC LIMIT ?)")?
        .query_row([below, SOME], |row| row.get(0))?;
    let Some(first) = first else { return Ok(None) };
    for sql in [
        "UPDATE standings SET due_ms = 0 WHERE entry_id >= ? AND entry_id < ? AND status = 'pending'",
        "UPDATE standings SET reading_id = NULL WHERE entry_id >= ? AND entry_id < ? AND reading_id IS NOT NULL
           AND NOT EXISTS (SELECT 1 FROM blanked WHERE blanked.entry_id = standings.entry_id)",
    ] {
        connection.prepare_cached(sql)?.execute([first, below])?;
    }
    Ok(Some(first))
}

/// Reads what is new within a turn that writes something else, and gives its links. `None`: it is too much for that, and
/// is to be taken in first.
pub(super) fn take_in_few(turn: &Turn, reader: &Reader, now: Moment) -> Result<Option<Vec<(Link, i64)>>> {
    let mut read = Read::of(turn, reader, now, (FEW, false))?;
    if read.full || !read.removals().is_empty() {
        return Ok(None);
    }
    read.write(turn, || false).map(Some)
}

/// The plan and server that entries stand by. It is one for all of them that can be read anew, so that the first one tells
/// it; those below the first unread one are all read, or those from there on were opened.
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

/// What was read and is not written yet.
struct Read {
    basis: String,
    rows: VecDeque<ReadRow>,
    /// It is as much as may be read at once: there may be more.
    full: bool,
}

/// A row that was read, and as little of it as is written.
struct ReadRow {
    entry: i64,
    /// How often its writer had changed it. One that was changed since is read again.
    revision: i64,
    /// `None`: the row is not there.
    says: Option<Says>,
}

struct Says {
    sent: Option<Moment>,
    /// An earlier reading that says the same.
    earlier: Option<i64>,
    /// The reading, unless an earlier one says the same.
    facts: String,
    links: Vec<Link>,
    answered: bool,
    newcomer: Option<Newcomer>,
    /// What a newcomer was decided together by, before it was read otherwise.
    before: Vec<Link>,
    removes: bool,
    /// It was read before.
    anew: bool,
    /// What becomes of a verdict that was there.
    open: Option<Opened>,
}

impl Read {
    /// Reads entries that were not read yet, until it is about so much; `rechecks`: a person asked for another look at what
    /// is settled.
    fn of(connection: &Connection, reader: &Reader, now: Moment, (most, rechecks): (Amount, bool)) -> Result<Read> {
        let basis = reader.basis();
        let sealed: Option<i64> =
            connection.prepare_cached("SELECT max(sealed_ms) FROM blankings")?.query_row([], |row| row.get(0))?;
        let newest: Option<i64> =
            connection.prepare_cached("SELECT max(entry_id) FROM readings")?.query_row([], |row| row.get(0))?;
        let sealed = sealed.map(|sealed| Moment(sealed) + CLOCKS_APART);
        let before = Before { basis: &basis, sealed, newest, rechecks };
        let (mut rows, mut amount, mut from) = (VecDeque::new(), Amount::default(), Some(i64::MIN));
        while amount.rows < most.rows && amount.bytes < most.bytes {
            let Some(start) = from else { break };
            let page = unread(connection, start, PAGE.min(most.rows - amount.rows))?;
            let Some(last) = page.rows.last() else { break };
            from = last.entry.checked_add(1);
            amount = Amount { rows: amount.rows + page.rows.len(), bytes: amount.bytes.saturating_add(page.bytes) };
            for row in page.rows {
                rows.push_back(ReadRow::of(connection, row, reader, now, &before)?);
            }
        }
        let full = amount.rows >= most.rows || amount.bytes >= most.bytes;
        Ok(Read { basis, rows, full })
    }

    /// When what is among it was sent that may have removed anybody's record.
    fn removals(&self) -> Vec<(i64, (Moment, Moment))> {
        let removal = |row: &ReadRow| Some((row.entry, row.says.as_ref()?.newcomer.as_ref()?.removal?));
        self.rows.iter().filter_map(removal).collect()
    }

    /// Writes what was read within the caller's transaction, the first of it at least, until `is_over`; gives its links.
    fn write(&mut self, connection: &Connection, is_over: impl Fn() -> bool) -> Result<Vec<(Link, i64)>> {
        let (mut links, mut answered, mut newcomers) = (Vec::new(), BTreeSet::new(), Newcomers::default());
        let mut next: i64 = connection
            .prepare_cached("SELECT coalesce(max(id), 0) + 1 FROM readings")?
            .query_row([], |row| row.get(0))?;
        let mut store =
            connection.prepare_cached("INSERT INTO readings (id, entry_id, basis, facts) VALUES (?, ?, ?, ?)")?;
        let mut stand = connection.prepare_cached(
            "UPDATE standings SET reading_id = ?, sent_ms = ? WHERE entry_id = ? AND reading_id IS NULL AND revision = ?",
        )?;
        let mut removes = connection.prepare_cached("INSERT OR IGNORE INTO removals (entry_id) VALUES (?)")?;
        let mut unlink = connection.prepare_cached("DELETE FROM links WHERE entry_id = ?")?;
        while let Some(ReadRow { entry, revision, says }) = self.rows.pop_front() {
            let Some(says) = says else {
                // Replaced by its writer under another id: the row is gone.
                forget_standing(connection, entry)?;
                continue;
            };
            let id = says.earlier.unwrap_or(next);
            if stand.execute(params![id, says.sent.map(|sent| sent.0), entry, revision])? == 0 {
                continue;
            }
            if says.earlier.is_none() {
                store.execute(params![next, entry, self.basis, says.facts])?;
                next += 1;
            }
            if says.anew {
                unlink.execute([entry])?;
            }
            if let Some(opened) = says.open {
                opened.open(connection, entry)?;
            }
            if says.removes {
                removes.execute([entry])?;
            }
            if says.answered {
                answered.extend(&says.links);
            }
            if let Some(newcomer) = says.newcomer {
                newcomers.add(entry, says.links.iter().chain(&says.before), newcomer);
            }
            links.extend(says.links.into_iter().map(|link| (link, entry)));
            if is_over() {
                break;
            }
        }
        links.sort_unstable();
        store_links(connection, &links, &answered)?;
        joining::reopen(connection, &newcomers)?;
        Ok(links)
    }
}

/// What the ledger holds already.
struct Before<'a> {
    basis: &'a str,
    /// What was sent until then may be of a time of which keys are gone.
    sealed: Option<Moment>,
    /// The newest entry that was ever read.
    newest: Option<i64>,
    /// What is read otherwise is decided anew, also under a plan by which it was read before.
    rechecks: bool,
}

impl ReadRow {
    fn of(connection: &Connection, unread: Unread, reader: &Reader, now: Moment, before: &Before) -> Result<ReadRow> {
        let Unread { entry, revision, row, reason } = unread;
        let Some(row) = row else { return Ok(ReadRow { entry, revision, says: None }) };
        let mut reading = reader.read(&row, now);
        // A row that cannot tell when it was sent may be as old as any.
        let overtaken = |sealed| reading.facts.sent.is_none_or(|sent| sent <= sealed);
        reading.facts.overtaken = before.sealed.is_some_and(overtaken);
        let anew = before.newest.is_some_and(|newest| entry <= newest);
        let earlier =
            if anew { Earlier::heed(connection, entry, before.basis, &mut reading)? } else { Earlier::default() };
        let facts = &reading.facts;
        let otherwise = earlier.understood.filter(|earlier| reads_otherwise(earlier, facts));
        let same = earlier.same_plan.filter(|(_, earlier)| says_the_same(earlier, facts, &row)).map(|(id, _)| id);
        let opened = anew.then(|| opened_anew(facts, reason, same.is_none(), (otherwise.is_some(), before.rechecks)));
        let open = opened.flatten();
        // Read anew and to the same end, or by the plan of before, it is no news; read otherwise, or changed by its writer, it
        // is.
        let news = !anew || (row.revision > 0 && same.is_none()) || open == Some(Opened::Reopened);
        let says = Says {
            sent: facts.sent,
            earlier: same,
            facts: if same.is_none() { serde_json::to_string(facts)? } else { String::new() },
            links: facts.links(),
            answered: facts.failure == Some(Failure::Answered),
            newcomer: if news { Newcomer::of(facts, reader) } else { None },
            before: otherwise.filter(|_| news).map(|before| before.links()).unwrap_or_default(),
            removes: joining::removes_unknown(facts, reader),
            anew,
            open,
        };
        Ok(ReadRow { entry, revision, says: Some(says) })
    }
}

/// A page of entries that were not read yet.
#[derive(Default)]
pub(super) struct Page {
    pub rows: Vec<Unread>,
    bytes: usize,
}

/// An entry that was not read yet, or not under this plan and server.
pub(super) struct Unread {
    pub entry: i64,
    revision: i64,
    /// `None`: the row is not there.
    pub row: Option<Row>,
    /// Of one that stands as duplicate-risk, or as a read: why.
    reason: Option<Reason>,
}

/// The next entries from one on that were not read yet, so many at the most.
pub(super) fn unread(connection: &Connection, from: i64, most: usize) -> Result<Page> {
    let mut statement = connection.prepare_cached(
        "SELECT s.entry_id, s.revision, e.id, e.request_id, e.operation_id, e.direction, e.method, e.url, e.body, e.sent_at,
                e.ended_at, e.failure, e.http_status, s.arrived_ms, s.clock_error_ms, CASE WHEN s.status = 'duplicate-risk' OR s.reason = 'no-effect' THEN s.reason END
         FROM standings s LEFT JOIN entries e ON e.id = s.entry_id
         WHERE s.reading_id IS NULL AND s.entry_id >= ? ORDER BY s.entry_id LIMIT ?",
    )?;
    let mut found = statement.query(params![from, most])?;
    let mut page = Page::default();
    while let Some(row) = found.next()? {
        page.bytes += bytes_of(row)?;
        let reason = row.get_ref(15)?.as_str_or_null()?.map(str::parse).transpose()?;
        page.rows.push(Unread { entry: row.get(0)?, revision: row.get(1)?, row: row_of(row, 1)?, reason });
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
    for table in ["links", "standings"] {
        let gone = "entry_id = ?1 AND NOT EXISTS (SELECT 1 FROM entries WHERE id = ?1)";
        connection.prepare_cached(&format!("DELETE FROM {table} WHERE {gone}"))?.execute([entry])?;
    }
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
    fn reading_ends_with_its_bytes_and_the_next_goes_on() {
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
        assert!(!ledger.take_in(&reader, Moment(0)).unwrap(), "what is there was read");
        assert_eq!(unread(&ledger), 0);
    }
}
