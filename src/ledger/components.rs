//! What hangs together: entries that share a link, or that were decided together, directly or through others.
//!
//! A group as it is decided now follows the links alone. What is to be changed in the evidence must keep every stored
//! decision, also those that were made before a row was corrected; so the decisions are followed too. It takes some
//! thirty bytes for each entry.

use std::ops::Range;

use anyhow::{Context, Result};
use rusqlite::Connection;

use crate::clock::{Moment, Span};
use crate::words::Reason;

/// Every entry of the ledger, by component.
pub struct Components {
    /// Ids, in order.
    entries: Vec<i64>,
    marks: Vec<u8>,
    parent: Vec<u32>,
    /// Indices, those of one component side by side.
    order: Vec<u32>,
}

/// How an entry stands to being blanked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(u8);

impl Mark {
    const OPEN: u8 = 1;
    const DUE: u8 = 2;
    const ANSWERED: u8 = 4;
    const BLANKED: u8 = 8;
    const SEALED: u8 = 16;

    /// Pending, not read yet, or under watch: its group may still need the fields.
    pub fn open(self) -> bool {
        self.0 & Mark::OPEN != 0
    }

    /// Its time is over.
    pub fn due(self) -> bool {
        self.0 & Mark::DUE != 0
    }

    /// Evidence for its operation, with which it goes.
    pub fn answered(self) -> bool {
        self.0 & Mark::ANSWERED != 0
    }

    /// Its personal fields are gone.
    pub fn blanked(self) -> bool {
        self.0 & Mark::BLANKED != 0
    }

    /// The digests of its keys are gone too.
    pub fn sealed(self) -> bool {
        self.0 & Mark::SEALED != 0
    }
}

/// Whose time is over.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    pub now: Moment,
    /// So long after the verdict personal fields stay.
    pub keep: Span,
    /// So long after a verdict that a late record could correct it is looked at again.
    pub watch: Span,
}

impl Components {
    /// Reads how every entry stands.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn read(connection: &Connection, terms: &Terms) -> Result<Components> {
        let mut components =
            Components { entries: Vec::new(), marks: Vec::new(), parent: Vec::new(), order: Vec::new() };
        components.read_marks(connection, terms)?;
        components.join_linked(connection)?;
        components.join_decided(connection)?;
        let mut order: Vec<u32> = (0..components.parent.len() as u32).collect();
        order.sort_by_cached_key(|index| (components.root(*index), *index));
        components.order = order;
        Ok(components)
    }

    fn read_marks(&mut self, connection: &Connection, terms: &Terms) -> Result<()> {
        let mut statement = connection.prepare(
            "SELECT s.entry_id, s.status, s.reason, s.reading_id IS NULL, s.sent_ms, v.decided_ms, b.sealed
             FROM standings s LEFT JOIN verdicts v ON v.id = s.verdict_id LEFT JOIN blanked b ON b.entry_id = s.entry_id
             ORDER BY s.entry_id",
        )?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let status = row.get_ref(1)?.as_str_or_null()?;
            let reason: Option<Reason> = row.get_ref(2)?.as_str_or_null()?.map(str::parse).transpose()?;
            let unread: bool = row.get(3)?;
            let (sent, decided): (Option<i64>, Option<i64>) = (row.get(4)?, row.get(5)?);
            let sealed: Option<bool> = row.get(6)?;
            let over = |from: Option<i64>, span: Span| from.is_none_or(|from| Moment(from) + span <= terms.now);
            let watched = reason.is_some_and(Reason::watched) && !over(decided, terms.watch);
            let open = unread || status == Some("pending") || (watched && sealed.is_none());
            let due = match status {
                // By the time it was sent, and with its operation.
                None => over(sent, terms.keep),
                Some(_) => decided.is_some() && over(decided, terms.keep),
            };
            let bits = [
                (open, Mark::OPEN),
                (due, Mark::DUE),
                (status.is_none(), Mark::ANSWERED),
                (sealed.is_some(), Mark::BLANKED),
                (sealed == Some(true), Mark::SEALED),
            ];
            self.entries.push(row.get(0)?);
            self.marks.push(bits.iter().filter(|(is, _)| *is).map(|(_, bit)| bit).sum());
        }
        self.parent =
            (0..u32::try_from(self.entries.len()).context("more than four thousand million entries")?).collect();
        Ok(())
    }

    fn join_linked(&mut self, connection: &Connection) -> Result<()> {
        let mut statement = connection.prepare("SELECT link, entry_id FROM links ORDER BY link, entry_id")?;
        let mut rows = statement.query([])?;
        let mut before: Option<([u8; 16], i64)> = None;
        while let Some(row) = rows.next()? {
            let (link, entry): ([u8; 16], i64) = (row.get(0)?, row.get(1)?);
            match before {
                Some((same, first)) if same == link => self.join(first, entry),
                _ => before = Some((link, entry)),
            }
        }
        Ok(())
    }

    fn join_decided(&mut self, connection: &Connection) -> Result<()> {
        let mut statement = connection.prepare("SELECT evidence FROM decisions")?;
        let mut entry_of = connection.prepare("SELECT entry_id FROM readings WHERE id = ?")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let evidence: Vec<(i64, Option<i64>)> =
                serde_json::from_str(row.get_ref(0)?.as_str()?).context("failed to read a decision")?;
            let mut first = None;
            for (reading, _) in evidence.iter().filter(|_| evidence.len() > 1) {
                let entry: i64 = entry_of.query_row([reading], |row| row.get(0))?;
                self.join(*first.get_or_insert(entry), entry);
            }
        }
        Ok(())
    }

    fn index(&self, entry: i64) -> Option<u32> {
        self.entries.binary_search(&entry).ok().map(|index| index as u32)
    }

    fn join(&mut self, one: i64, other: i64) {
        // An entry that is gone (a deleted intent) joins nothing.
        let (Some(one), Some(other)) = (self.index(one), self.index(other)) else { return };
        let (one, other) = (self.root(one), self.root(other));
        self.parent[one.max(other) as usize] = one.min(other);
    }

    fn root(&mut self, mut index: u32) -> u32 {
        while self.parent[index as usize] != index {
            let above = self.parent[self.parent[index as usize] as usize];
            self.parent[index as usize] = above;
            index = above;
        }
        index
    }

    /// The next component from `at` on, and moves on behind it: ids and marks, in the order of arrival. `None`: that was
    /// the last one.
    pub fn next(&mut self, at: &mut usize) -> Option<Vec<(i64, Mark)>> {
        if *at >= self.order.len() {
            return None;
        }
        let component = self.component_at(*at);
        *at = component.end;
        let member = |index: &u32| (self.entries[*index as usize], Mark(self.marks[*index as usize]));
        Some(self.order[component].iter().map(member).collect())
    }

    fn component_at(&mut self, start: usize) -> Range<usize> {
        let root = self.root(self.order[start]);
        let mut end = start;
        while end < self.order.len() && self.root(self.order[end]) == root {
            end += 1;
        }
        start..end
    }
}
