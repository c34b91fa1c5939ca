//! Groups: what is decided together, loaded with its evidence.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use anyhow::Result;

use super::Ledger;
use super::anew::Earlier;
use super::history::Histories;
use super::ingest::is_overtaken;
use super::turn::{Reading, TurnReading};
use crate::clock::Moment;
use crate::decide::may_apply;
use crate::evidence::{Attempt, Case, Windows};
use crate::plan::{Reader, Row};
use crate::store::{Due, State};
use crate::words::{Reason, Status};

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
    pub state: State,
    /// How its row was read, where that is not in its evidence yet.
    pub reading: Option<TurnReading>,
    /// The evidence that has an earlier reading which says the same.
    pub read_in: Option<i64>,
    /// So many of its attempt's looks are in the ledger; those behind them were made since.
    pub stored_looks: usize,
    /// The row itself, for the raw keys.
    pub row: Row,
}

impl Member {
    /// Waits for an answer.
    pub fn pending(&self) -> bool {
        self.state.status == Some(Status::Pending)
    }

    /// Settled, and to be decided again, for another entry joined its group since. What a person closed stays closed.
    pub fn reopened(&self) -> bool {
        self.state.joined.is_some() && !self.pending() && self.state.status.is_some()
    }

    /// Settled, and looked at again.
    pub fn watched(&self, now: Moment) -> bool {
        self.state.status == Some(Status::Resolved) && self.state.due.is_some_and(|due| due <= now)
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
        self.store.due(now, watched, after, limit)
    }

    /// How many entries are due at `now`.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn count_due(&self, now: Moment) -> Result<u64> {
        self.store.count_due(now)
    }

    /// When the next pending entry is due that waiting can help.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn next_due(&self) -> Result<Option<Moment>> {
        self.store.next_due()
    }

    /// The groups of these entries, each once, with all their evidence; `blank` is a group without attempts. Entries that are
    /// due no more, that are gone, or of which `taken` says that they are dealt with already are left out.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn groups_of(
        &self,
        due: &[Due],
        reader: &Reader,
        now: Moment,
        blank: &Case,
        taken: &mut HashSet<i64>,
    ) -> Result<Vec<Group>> {
        let entries: Vec<i64> = due.iter().map(|due| due.entry).filter(|entry| !taken.contains(entry)).collect();
        let mut order: Vec<i64> = Vec::new();
        let group_of: BTreeMap<i64, i64> = self
            .store
            .states(&sorted(&entries))?
            .iter()
            .filter_map(|state| Some((state.entry, state.group?)))
            .collect();
        for group in entries.iter().filter_map(|entry| group_of.get(entry)) {
            if !order.contains(group) {
                order.push(*group);
            }
        }
        let mut groups = self.load(&order, reader, now, blank)?;
        groups.retain(|group| group.members.iter().any(|member| member.state.due.is_some_and(|due| due <= now)));
        taken.extend(groups.iter().flat_map(|group| group.members.iter().map(|member| member.state.entry)));
        Ok(groups)
    }

    /// The group of one entry with all its evidence, whether anything of it is due or not; `blank` is a group without
    /// attempts.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn group_of(&self, entry: i64, reader: &Reader, now: Moment, blank: &Case) -> Result<Group> {
        let group = self.store.states(&[entry])?.first().and_then(|state| state.group);
        let groups = self.load(group.as_slice(), reader, now, blank)?;
        Ok(groups.into_iter().next().unwrap_or_else(|| Group { members: Vec::new(), case: blank.clone() }))
    }

    /// Groups by their ids, in this order. One without any member that is there is left out.
    fn load(&self, groups: &[i64], reader: &Reader, now: Moment, blank: &Case) -> Result<Vec<Group>> {
        let mut members: BTreeMap<i64, Vec<State>> = BTreeMap::new();
        for state in self.store.members(&sorted(groups))? {
            if let Some(group) = state.group {
                members.entry(group).or_default().push(state);
            }
        }
        let entries: Vec<i64> = members.values().flatten().map(|state| state.entry).collect();
        let rows = self.store.rows(&sorted(&entries))?;
        let mut rows: BTreeMap<i64, Row> = rows.into_iter().map(|row| (row.entry, row)).collect();
        let histories = self.histories(members.values().flatten().filter_map(|state| state.head))?;
        let loading = Loading {
            histories: &histories,
            reader,
            fingerprint: reader.fingerprint(),
            now,
            sealed: self.sealed_until()?,
        };
        let mut loaded = Vec::with_capacity(groups.len());
        for id in groups {
            let mut group = Group { members: Vec::new(), case: blank.clone() };
            for state in members.remove(id).unwrap_or_default() {
                let Some(row) = rows.remove(&state.entry) else { continue };
                if let Some((member, attempt)) = loading.member(state, row) {
                    group.members.push(member);
                    group.case.attempts.push(attempt);
                }
            }
            loaded.push(group);
        }
        loaded.retain(|group| !group.members.is_empty());
        Ok(loaded)
    }

    /// When deletes by a server's own id were sent that may have been applied, in order and apart from each other.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn removals(&self, reader: &Reader, windows: &Windows, now: Moment) -> Result<Vec<(Moment, Moment)>> {
        let mut found = Vec::new();
        self.store.each_removal(&mut |state| {
            found.push(state);
            Ok(())
        })?;
        // One whose record is there still removed nobody else's.
        found.retain(|state| state.reason != Some(Reason::NotDeleted));
        let mut spans = Vec::new();
        for state in found {
            let facts = match (state.read, state.head) {
                (Some(_), Some(head)) => {
                    let histories = self.histories([head])?;
                    histories.of(state.entry).and_then(|history| Some(history.reading()?.facts.clone()))
                }
                _ => self.store.rows(&[state.entry])?.first().map(|row| reader.read(row, now).facts),
            };
            spans.extend(facts.and_then(|facts| may_apply(&facts, windows)));
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

/// What loading a member needs.
struct Loading<'a> {
    histories: &'a Histories,
    reader: &'a Reader<'a>,
    fingerprint: String,
    now: Moment,
    sealed: Option<Moment>,
}

impl Loading<'_> {
    /// A member and its attempt.
    fn member(&self, state: State, row: Row) -> Option<(Member, Attempt)> {
        let history = self.histories.of(state.entry);
        if state.read.is_some() || state.erased.is_some() {
            let attempt = history?.attempt(state.entry, state.holds)?;
            let stored_looks = attempt.looks.len();
            return Some((Member { state, reading: None, read_in: None, stored_looks, row }, attempt));
        }
        let mut facts = self.reader.read(&row, self.now).facts;
        facts.overtaken = is_overtaken(&facts, self.sealed);
        let mut history = history.cloned().unwrap_or_default();
        let (reading, read_in) = match Earlier::heed(&history, &self.fingerprint, &mut facts, &row).same {
            Some(place) => (TurnReading::Again(place), history.read_in.get(place).copied()),
            None => (TurnReading::New(Box::new(Reading { fingerprint: self.fingerprint.clone(), facts })), None),
        };
        history.read(reading.clone(), 0);
        let attempt = history.attempt(state.entry, state.holds)?;
        let stored_looks = attempt.looks.len();
        Some((Member { state, reading: Some(reading), read_in, stored_looks, row }, attempt))
    }
}

fn sorted(ids: &[i64]) -> Vec<i64> {
    ids.iter().copied().collect::<BTreeSet<_>>().into_iter().collect()
}
