//! Joining: a row that comes into the group of settled entries makes the whole group due, and it is decided again as one.
//!
//! Until then nobody may act on what was advised before: what was to be sent again waits. A run stores that; a report that
//! meets rows which no run has read yet works it out for itself, in a temporary table of its connection.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use rusqlite::{Connection, OptionalExtension, params};

use super::intake::{self, id_text, unread};
use super::{Ledger, fellows::entries_of};
use crate::clock::Moment;
use crate::decide::may_apply;
use crate::evidence::{Class, Facts, Kind, Link, Windows};
use crate::mask;
use crate::plan::{Operation, Reader};

/// What can never change by what comes later: these stand for themselves, or a person has spoken.
const STANDS: &str = "('closed', 'bad-row', 'no-plan', 'no-effect', 'other-environment')";

/// What must wait for rows that no run has read yet, as [`Ledger::heed_unread`] finds it out; it lives with the connection.
pub(super) const WAITS: &str =
    "CREATE TEMP TABLE IF NOT EXISTS waits (entry_id INTEGER PRIMARY KEY, why TEXT NOT NULL)";

/// Why a report does not advise what a run has not read under this plan, or since the table was rebuilt.
const TO_BE_READ: &str = "it is to be read anew, for the plan, the row or its table was changed: nothing of it is sent again before the next run";

/// Why an entry waits that was settled, and means something else under the plan of now.
const READ_OTHERWISE: &str = "it is read otherwise than when it was decided, for the plan was changed: nothing of it is sent again before it is decided anew";

/// Rows that are new in the ledger, or say something new.
#[derive(Debug, Default)]
pub(super) struct Newcomers {
    entries: BTreeSet<i64>,
    /// Which of them has a link, and whether it is its operation's.
    links: BTreeMap<Link, (i64, bool)>,
    /// Deletes by a key that nothing is made with that may have been applied, and when they were sent, at the earliest and at the latest.
    removals: Vec<(i64, (Moment, Moment))>,
}

/// A row that changes something for others.
#[derive(Debug)]
pub(super) struct Newcomer {
    identity: Link,
    /// Of a delete by a key that nothing is made with that may have been applied: when it was sent.
    pub removal: Option<(Moment, Moment)>,
}

impl Newcomer {
    /// `None`: it did nothing here, and changes nothing for others.
    pub fn of(facts: &Facts, reader: &Reader) -> Option<Newcomer> {
        // How far a writer's clock may be off, only a run knows.
        let removal = || may_apply(facts, &Windows::default());
        matches!(facts.class, Class::Planned | Class::BadRow { .. }).then(|| Newcomer {
            identity: facts.identity,
            removal: if removes_unknown(facts, reader) { removal() } else { None },
        })
    }
}

impl Newcomers {
    /// Notes a row and its links.
    pub fn add<'a>(&mut self, entry: i64, links: impl IntoIterator<Item = &'a Link>, newcomer: Newcomer) {
        self.entries.insert(entry);
        for &link in links {
            let of = self.links.entry(link).or_insert((entry, false));
            of.1 |= link == newcomer.identity;
        }
        self.removals.extend(newcomer.removal.map(|span| (entry, span)));
    }

    /// The settled and pending entries of the groups that they join, each with the row that joins it.
    fn joined(&self, connection: &Connection) -> Result<BTreeMap<i64, i64>> {
        let mut joined = BTreeMap::new();
        let mut seen: BTreeSet<Link> = self.links.keys().copied().collect();
        let mut open: Vec<(Link, i64, bool)> =
            self.links.iter().map(|(link, (entry, of_operation))| (*link, *entry, *of_operation)).collect();
        let mut links_of = connection.prepare_cached("SELECT link FROM links WHERE entry_id = ?")?;
        let mut blanked = connection.prepare_cached("SELECT 1 FROM blanked WHERE entry_id = ?")?;
        let mut operation = connection.prepare_cached(
            "WITH first AS (SELECT coalesce(lead, entry_id) AS id FROM standings WHERE entry_id = ?)
             SELECT entry_id FROM standings WHERE entry_id = (SELECT id FROM first)
             UNION SELECT entry_id FROM standings WHERE lead = (SELECT id FROM first)",
        )?;
        while let Some((link, newcomer, of_operation)) = open.pop() {
            let mut found = Vec::new();
            entries_of(connection, link, |entry| {
                if !self.entries.contains(&entry) {
                    found.push(entry);
                }
            })?;
            for entry in found {
                // One without its fields cannot be looked at again; it goes with its operation, and with nobody else.
                if !of_operation && blanked.exists([entry])? {
                    continue;
                }
                for fellow in operation.query_map([entry], |row| row.get::<_, i64>(0))? {
                    let fellow = fellow?;
                    if self.entries.contains(&fellow) || joined.insert(fellow, newcomer).is_some() {
                        continue;
                    }
                    for link in links_of.query_map([fellow], |row| Ok(Link(row.get(0)?)))? {
                        let link = link?;
                        if seen.insert(link) {
                            open.push((link, newcomer, false));
                        }
                    }
                }
            }
        }
        self.join_read_anew(connection, &mut joined)?;
        removed(connection, &self.removals, &mut joined)?;
        Ok(joined)
    }

    /// What was settled and was read anew together with the newcomers (after a change of the table, or of the plan) is joined
    /// by those of them that were never read before.
    fn join_read_anew(&self, connection: &Connection, joined: &mut BTreeMap<i64, i64>) -> Result<()> {
        let mut settled =
            connection.prepare_cached("SELECT 1 FROM standings WHERE entry_id = ? AND verdict_id IS NOT NULL")?;
        let mut anew = BTreeSet::new();
        for entry in &self.entries {
            if settled.exists([entry])? {
                anew.insert(*entry);
            }
        }
        if anew.is_empty() {
            return Ok(());
        }
        let mut links_of = connection.prepare_cached("SELECT link FROM links WHERE entry_id = ?")?;
        let mut readings = connection.prepare_cached("SELECT count(*) FROM readings WHERE entry_id = ?")?;
        let mut open = Vec::new();
        for entry in self.entries.difference(&anew) {
            if readings.query_row([entry], |row| row.get::<_, i64>(0))? <= 1 {
                open.push((*entry, *entry));
            }
        }
        let mut seen = BTreeSet::new();
        while let Some((entry, newcomer)) = open.pop() {
            for link in links_of.query_map([entry], |row| Ok(Link(row.get(0)?)))? {
                let link = link?;
                if !seen.insert(link) {
                    continue;
                }
                entries_of(connection, link, |other| {
                    if anew.contains(&other) && joined.insert(other, newcomer).is_none() {
                        open.push((other, newcomer));
                    }
                })?;
            }
        }
        Ok(())
    }
}

/// What was found absent may have been removed by a delete of which nothing tells whose record it was. What is due for
/// such a one already is left out.
fn removed(
    connection: &Connection,
    removals: &[(i64, (Moment, Moment))],
    joined: &mut BTreeMap<i64, i64>,
) -> Result<()> {
    let mut absent = connection.prepare_cached(
        "SELECT entry_id FROM standings WHERE status = 'resolved' AND reason = 'confirmed-absent'
           AND coalesce(sent_ms, ?2) <= ?2 AND coalesce(last_checked_ms, ?1) >= ?1
           AND (joined IS NULL OR due_ms IS NOT 0)",
    )?;
    for (removal, (from, until)) in removals {
        for entry in absent.query_map(params![from.0, until.0], |row| row.get(0))? {
            joined.entry(entry?).or_insert(*removal);
        }
    }
    Ok(())
}

/// Whether an entry is a delete by a key that nothing is made with, as a server's own id is: whose record it removed, nothing
/// in the ledger tells.
pub(super) fn removes_unknown(facts: &Facts, reader: &Reader) -> bool {
    let by_id = |lookup: &String| !reader.plan.makes_by(lookup);
    let named = |operation: &&Operation| Some(operation.name.as_ref()) == facts.operation.as_ref();
    let operation = reader.plan.operations.iter().find(named);
    let only_known = operation.is_some_and(|operation| operation.effects.iter().any(|effect| effect.only_known));
    !only_known && facts.effects.iter().any(|e| e.kind == Kind::Delete && e.lookup.as_ref().is_some_and(by_id))
}

/// Makes the groups that the newcomers join due, and takes back the advice to send anything of them again.
pub(super) fn reopen(connection: &Connection, newcomers: &Newcomers) -> Result<()> {
    let settled = "SELECT 1 FROM standings WHERE status IN ('resolved', 'duplicate-risk')";
    if newcomers.entries.is_empty() || !connection.prepare_cached(settled)?.exists([])? {
        return Ok(());
    }
    reopen_each(connection, newcomers.joined(connection)?, || false)?;
    Ok(())
}

/// Makes an entry due that is read otherwise than it was decided upon, and takes back the advice to send it again.
pub(super) fn reopen_alone(connection: &Connection, entry: i64) -> Result<()> {
    reopen_each(connection, [(entry, entry)], || true)?;
    Ok(())
}

/// Makes these entries due, each for the row that joined it, the first of them at least, until `is_over`. Gives how many
/// of them.
fn reopen_each(
    connection: &Connection,
    joined: impl IntoIterator<Item = (i64, i64)>,
    is_over: impl Fn() -> bool,
) -> Result<usize> {
    let mut again = connection.prepare_cached(&format!(
        "UPDATE standings SET joined = ?1, due_ms = 0
         WHERE entry_id = ?2 AND status IN ('resolved', 'duplicate-risk') AND reason NOT IN {STANDS}"
    ))?;
    let mut wait = connection.prepare_cached(&format!(
        "UPDATE standings SET status = 'pending', reason = 'unsettled', action = 'wait', explanation = ?1, not_before_ms = NULL,
           verdict_id = NULL
         WHERE entry_id = ?2 AND action = 'resend' AND status = 'resolved' AND reason NOT IN {STANDS}"
    ))?;
    let mut count = 0;
    for (entry, newcomer) in joined {
        if again.execute([newcomer, entry])? > 0 {
            let why = if newcomer == entry { READ_OTHERWISE.to_owned() } else { why(connection, newcomer)? };
            wait.execute(params![why, entry])?;
        }
        count += 1;
        if is_over() {
            break;
        }
    }
    Ok(count)
}

/// Why an entry waits that was settled.
fn why(connection: &Connection, newcomer: i64) -> Result<String> {
    Ok(format!(
        "request {} came into its group after it was looked at: nothing of it is sent again before the group is decided anew",
        name(connection, newcomer)?
    ))
}

/// How a row is named to people.
pub(super) fn name(connection: &Connection, entry: i64) -> Result<String> {
    let mut statement = connection.prepare_cached("SELECT request_id FROM entries WHERE id = ?")?;
    let id = statement.query_row([entry], |row| row.get_ref(0).map(id_text)).optional()?;
    Ok(id.map_or_else(|| format!("of entry {entry}"), |id| mask::id(&id)))
}

impl Ledger {
    /// Makes due, in turns, what deletes that are about to be taken in may have removed: that may be much of the ledger. They
    /// are taken in after it, so that a kill in between leaves nothing out.
    pub(super) fn reopen_removed(&mut self, removals: &[(i64, (Moment, Moment))]) -> Result<()> {
        if removals.is_empty() {
            return Ok(());
        }
        let mut joined = BTreeMap::new();
        removed(&self.connection, removals, &mut joined)?;
        let joined: Vec<(i64, i64)> = joined.into_iter().collect();
        let mut rest = joined.as_slice();
        while !rest.is_empty() {
            let turn = self.turn()?;
            let done = reopen_each(&turn, rest.iter().copied(), || turn.is_over())?;
            turn.commit()?;
            rest = &rest[done..];
        }
        Ok(())
    }

    /// Finds out for reports which entries must wait, for rows that no run has read yet joined their groups. The file stays
    /// as it is.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn heed_unread(&self, reader: &Reader, now: Moment) -> Result<()> {
        self.connection.execute_batch("DELETE FROM temp.waits")?;
        let advised = "SELECT 1 FROM standings WHERE status = 'resolved' AND action = 'resend'
             AND reason IN ('confirmed-absent', 'never-sent', 'not-deleted', 'not-updated')
             UNION ALL SELECT 1 FROM standings WHERE status = 'pending' AND action = 'may-resend'";
        if !self.connection.prepare_cached(advised)?.exists([])? {
            return Ok(());
        }
        let mut insert = self.connection.prepare_cached(&format!(
            "INSERT OR IGNORE INTO temp.waits (entry_id, why) SELECT entry_id, ?2 FROM standings
             WHERE entry_id = ?1 AND (action = 'resend' AND status = 'resolved' AND reason NOT IN {STANDS}
                                      OR action = 'may-resend' AND status = 'pending')"
        ))?;
        let mut from = Some(i64::MIN);
        while let Some(start) = from {
            let page = unread(&self.connection, start, intake::PAGE)?;
            from = page.rows.last().and_then(|last| last.entry.checked_add(1));
            let mut newcomers = Newcomers::default();
            for row in page.rows.iter().filter_map(|unread| unread.row.as_ref()) {
                let facts = reader.read(row, now).facts;
                if let Some(newcomer) = Newcomer::of(&facts, reader) {
                    newcomers.add(row.entry, &facts.links(), newcomer);
                }
            }
            // What is to be read anew itself, under another plan or after its table was rebuilt, may come to another end.
            for unread in &page.rows {
                insert.execute(params![unread.entry, TO_BE_READ])?;
            }
            for (entry, newcomer) in newcomers.joined(&self.connection)? {
                insert.execute(params![entry, why(&self.connection, newcomer)?])?;
            }
        }
        Ok(())
    }

    /// When deletes by a server's own id were sent that may have been applied, in order and apart from each other.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn removals(&self, windows: &Windows) -> Result<Vec<(Moment, Moment)>> {
        let mut statement = self.connection.prepare_cached(
            // One whose record is there still removed nobody else's.
            "SELECT r.facts FROM removals m CROSS JOIN standings s ON s.entry_id = m.entry_id
             CROSS JOIN readings r ON r.id = s.reading_id WHERE s.reason IS NOT 'not-deleted'",
        )?;
        let mut rows = statement.query([])?;
        let mut spans = Vec::new();
        while let Some(row) = rows.next()? {
            let facts: Facts = serde_json::from_str(row.get_ref(0)?.as_str()?).context("failed to read a reading")?;
            spans.extend(may_apply(&facts, windows));
        }
        spans.sort_unstable();
        spans.dedup_by(|next, before| {
            let meet = next.0 <= before.1;
            before.1 = if meet { before.1.max(next.1) } else { before.1 };
            meet
        });
        Ok(spans)
    }
}
