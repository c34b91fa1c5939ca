//! Groups: what is decided together, loaded with its evidence.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use anyhow::{Context, Result};
use rusqlite::{Connection, OptionalExtension, params};

use super::Ledger;
use super::fellows::{Fellows, entries_of};
use super::intake::row_of;
use crate::clock::{Moment, Span};
use crate::evidence::{Attempt, Case, Facts, Link, Look, Record, Settled};
use crate::plan::Row;
use crate::words::{Failure, Status};

/// An entry whose look is due, in the order of being due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Due {
    pub due: Moment,
    pub entry: i64,
}

/// Everything that is decided together.
#[derive(Clone, Debug)]
pub struct Group {
    /// In the order of arrival.
    pub members: Vec<Member>,
    /// What the decision sees: an attempt for each member.
    pub case: Case,
}

/// One entry of a group, beside its attempt.
#[derive(Clone, Debug)]
pub struct Member {
    pub reading: i64,
    /// `verdicts.id` of the verdict that holds.
    pub verdict_id: Option<i64>,
    /// So many of its attempt's looks are in the ledger; those behind them were made since.
    pub stored_looks: usize,
    pub status: Option<Status>,
    /// When the next look is due; `None`: never.
    pub due: Option<Moment>,
    /// The entry that joined its group after its verdict.
    pub joined: Option<i64>,
    /// The first attempt of its operation, as far as it is stored; `None`: itself.
    pub lead: Option<i64>,
    /// The row itself, for the raw keys.
    pub row: Row,
}

impl Member {
    /// Waits for an answer.
    pub fn pending(&self) -> bool {
        self.status == Some(Status::Pending)
    }

    /// Settled, and to be decided again, for another entry joined its group since. What a person closed stays closed.
    pub fn reopened(&self) -> bool {
        self.joined.is_some() && !self.pending() && self.status.is_some()
    }

    /// Settled, and looked at again.
    pub fn watched(&self, now: Moment) -> bool {
        self.status == Some(Status::Resolved) && self.due.is_some_and(|due| due <= now)
    }
}

impl Group {
    /// Each member with its attempt.
    pub fn each(&self) -> impl Iterator<Item = (&Member, &Attempt)> {
        self.members.iter().zip(&self.case.attempts)
    }
}

impl Ledger {
    /// The next entries whose look is due at `now`, after `after`: those that it can settle, or, when `watched`, the others,
    /// whose verdicts are watched.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn due(&self, now: Moment, watched: bool, after: Option<Due>, limit: usize) -> Result<Vec<Due>> {
        let after = after.unwrap_or(Due { due: Moment(i64::MIN), entry: i64::MIN });
        let mut statement = self.connection.prepare_cached(
            "SELECT due_ms, entry_id FROM standings
             WHERE due_ms IS NOT NULL AND due_ms <= ?1 AND (due_ms, entry_id) > (?2, ?3)
               AND (status IS NOT 'pending' AND joined IS NULL) = ?5
             ORDER BY due_ms, entry_id LIMIT ?4",
        )?;
        let due = statement.query_map(params![now.0, after.due.0, after.entry, limit, watched], |row| {
            Ok(Due { due: Moment(row.get(0)?), entry: row.get(1)? })
        })?;
        Ok(due.collect::<rusqlite::Result<_>>()?)
    }

    /// How many entries are due at `now`.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn count_due(&self, now: Moment) -> Result<u64> {
        let count = self.connection.query_row(
            "SELECT count(*) FROM standings WHERE due_ms IS NOT NULL AND due_ms <= ?",
            [now.0],
            |row| row.get(0),
        )?;
        Ok(count)
    }

    /// When the next pending entry is due that waiting can help, after `now`.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn next_due(&self) -> Result<Option<Moment>> {
        let next: Option<i64> = self.connection.query_row(
            "SELECT min(due_ms) FROM standings
             WHERE status = 'pending' AND due_ms IS NOT NULL
               AND (reason IS NULL OR reason NOT IN ('other-environment', 'uncontrolled'))",
            [],
            |row| row.get(0),
        )?;
        Ok(next.map(Moment))
    }

    /// The groups of these entries, each once, with all their evidence and as they are at one moment; `blank` is a group
    /// without attempts. Entries that are due
    /// no more, that are gone, or of which `taken` says that they are dealt with already are left out.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn groups_of(
        &self,
        due: &[Due],
        now: Moment,
        (fellows, blank): (&Fellows, &Case),
        taken: &mut HashSet<i64>,
    ) -> Result<Vec<Group>> {
        // One look at the file's locks for all of them. It only reads, so it stands in nobody's way.
        let transaction = self.connection.unchecked_transaction()?;
        let mut group_of = BTreeMap::new();
        let mut groups: Vec<Group> = Vec::with_capacity(due.len());
        for Due { entry, .. } in due {
            if taken.contains(entry) || group_of.contains_key(entry) {
                continue;
            }
            let place = groups.len();
            let entries =
                if fellows.may_have(*entry) { related(&transaction, *entry)? } else { BTreeSet::from([*entry]) };
            group_of.extend(entries.into_iter().map(|entry| (entry, place)));
            groups.push(Group { members: Vec::new(), case: blank.clone() });
        }
        members(&transaction, &group_of, |place, member, attempt| {
            groups[place].members.push(member);
            groups[place].case.attempts.push(attempt);
        })?;
        groups.retain(|group| group.members.iter().any(|member| member.due.is_some_and(|due| due <= now)));
        taken.extend(groups.iter().flat_map(|group| group.members.iter().map(|member| member.row.entry)));
        Ok(groups)
    }
}

impl Ledger {
    /// The group of one entry with all its evidence, whether anything of it is due or not; `blank` is a group without attempts.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn group_of(&self, entry: i64, blank: &Case) -> Result<Group> {
        let transaction = self.connection.unchecked_transaction()?;
        let group_of = related(&transaction, entry)?.into_iter().map(|entry| (entry, 0)).collect();
        let mut group = Group { members: Vec::new(), case: blank.clone() };
        members(&transaction, &group_of, |_, member, attempt| {
            group.members.push(member);
            group.case.attempts.push(attempt);
        })?;
        Ok(group)
    }
}

/// The entries that share a link with this one, directly or through others; itself among them.
fn related(connection: &Connection, entry: i64) -> Result<BTreeSet<i64>> {
    let mut links_of = connection.prepare_cached("SELECT link FROM links WHERE entry_id = ?")?;
    let mut entries = BTreeSet::from([entry]);
    let mut links = BTreeSet::new();
    let mut open = vec![entry];
    while let Some(entry) = open.pop() {
        for link in links_of.query_map([entry], |row| Ok(Link(row.get(0)?)))? {
            let link = link?;
            if links.insert(link) {
                entries_of(connection, link, |other| {
                    if entries.insert(other) {
                        open.push(other);
                    }
                })?;
            }
        }
    }
    Ok(entries)
}

/// Members in the order of their entries: they stand side by side in their tables, and one statement steps from each to
/// the next where a statement for each would go through the trees from the top.
const MEMBERS: &str =
    "SELECT s.status, s.due_ms, s.reading_id, r.facts, r.basis, s.verdict_id, s.revision, e.id, e.request_id,
       e.operation_id, e.direction, e.method, e.url, e.body, e.sent_at, e.ended_at, e.failure, e.http_status,
       s.arrived_ms, s.clock_error_ms, s.checks, s.joined, s.lead
FROM json_each(?) wanted CROSS JOIN standings s ON s.entry_id = wanted.value
CROSS JOIN readings r ON r.id = s.reading_id CROSS JOIN entries e ON e.id = s.entry_id";

/// Tells each of these entries that is there, with its group's place.
fn members(
    connection: &Connection,
    group_of: &BTreeMap<i64, usize>,
    mut tell: impl FnMut(usize, Member, Attempt),
) -> Result<()> {
    let entries = serde_json::to_string(&group_of.keys().collect::<Vec<_>>())?;
    let mut statement = connection.prepare_cached(MEMBERS)?;
    let mut rows = statement.query([entries])?;
    while let Some(row) = rows.next()? {
        let Some((member, attempt)) = member(connection, row)? else { continue };
        if let Some(place) = group_of.get(&attempt.entry) {
            tell(*place, member, attempt);
        }
    }
    Ok(())
}

/// One member, by [`MEMBERS`].
fn member(connection: &Connection, row: &rusqlite::Row) -> Result<Option<(Member, Attempt)>> {
    let Some(entry_row) = row_of(row, 6)? else { return Ok(None) };
    let entry = entry_row.entry;
    let facts: Facts = serde_json::from_str(row.get_ref(3)?.as_str()?)
        .with_context(|| format!("failed to read the reading of entry {entry}"))?;
    let basis = row.get_ref(4)?.as_str()?;
    let status = row.get_ref(0)?.as_str_or_null()?;
    let verdict: Option<i64> = row.get(5)?;
    // Looks are counted but for those at `answered` rows.
    let unseen = row.get::<_, i64>(20)? == 0 && facts.failure != Some(Failure::Answered);
    let looks = if unseen { Vec::new() } else { looks_of(connection, entry, basis, i64::MAX)? };
    let joined: Option<i64> = row.get(21)?;
    let changed = entry_row.revision > 0 || joined.is_some();
    let member = Member {
        reading: row.get(2)?,
        verdict_id: verdict,
        stored_looks: looks.len(),
        status: status.map(str::parse).transpose()?,
        due: row.get::<_, Option<i64>>(1)?.map(Moment),
        joined,
        lead: row.get(22)?,
        row: entry_row,
    };
    let verdict = verdict.map(|id| settled(connection, id)).transpose()?;
    let told = if changed && verdict.is_none() { told_before(connection, entry, i64::MAX)? } else { None };
    Ok(Some((member, Attempt { entry, facts, looks, verdict, told })))
}

/// The last verdict of an entry before that verdict.
pub(super) fn told_before(connection: &Connection, entry: i64, before: i64) -> Result<Option<Settled>> {
    let mut statement =
        connection.prepare_cached("SELECT id FROM verdicts WHERE entry_id = ? AND id < ? ORDER BY id DESC LIMIT 1")?;
    let last: Option<i64> = statement.query_row(params![entry, before], |row| row.get(0)).optional()?;
    last.map(|id| settled(connection, id)).transpose()
}

/// The looks at an entry in the order in which they were stored, up to an observation.
pub(super) fn looks_of(connection: &Connection, entry: i64, basis: &str, last: i64) -> Result<Vec<Look>> {
    let mut statement = connection.prepare_cached(
        "SELECT effect, basis, asked_ms, seen_ms, server_ms, seen, cause, records, state, known_control, random_control,
           near_control, skew_least_ms, skew_most_ms, made_error_ms, fields_control
         FROM observations WHERE entry_id = ? AND id <= ? ORDER BY id",
    )?;
    let mut rows = statement.query([entry, last])?;
    let mut looks = Vec::new();
    while let Some(row) = rows.next()? {
        let records: Option<String> = row.get(7)?;
        let records: Vec<Record> = records.map(|json| serde_json::from_str(&json)).transpose()?.unwrap_or_default();
        looks.push(Look {
            effect: row.get(0)?,
            current: row.get_ref(1)?.as_str()? == basis,
            asked: Moment(row.get(2)?),
            answered: Moment(row.get(3)?),
            server: row.get::<_, Option<i64>>(4)?.map(Moment),
            seen: row.get_ref(5)?.as_str()?.parse()?,
            cause: row.get(6)?,
            records,
            state: row.get(8)?,
            known: row.get_ref(9)?.as_str()?.parse()?,
            random: row.get_ref(10)?.as_str()?.parse()?,
            near: row.get_ref(11)?.as_str()?.parse()?,
            skew: row.get::<_, Option<i64>>(12)?.map(Span).zip(row.get::<_, Option<i64>>(13)?.map(Span)),
            made_error: Span(row.get(14)?),
            fields: row.get_ref(15)?.as_str()?.parse()?,
        });
    }
    Ok(looks)
}

pub(super) fn settled(connection: &Connection, verdict: i64) -> Result<Settled> {
    let mut statement = connection.prepare_cached(
        "SELECT decided_ms, status, outcome, reason, action, server_id,
           (SELECT count(*) FROM observations o WHERE o.entry_id = v.entry_id AND o.id <= d.last_observation)
         FROM verdicts v LEFT JOIN decisions d ON d.id = v.decision_id WHERE v.id = ?",
    )?;
    let mut rows = statement.query([verdict])?;
    let row = rows.next()?.with_context(|| format!("verdict {verdict} is missing"))?;
    Ok(Settled {
        decided: Moment(row.get(0)?),
        status: row.get_ref(1)?.as_str()?.parse()?,
        outcome: row.get_ref(2)?.as_str()?.parse()?,
        reason: row.get_ref(3)?.as_str()?.parse()?,
        action: row.get_ref(4)?.as_str()?.parse()?,
        server_id: row.get(5)?,
        looks: row.get(6)?,
    })
}
