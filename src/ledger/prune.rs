//! Pruning: entries that were settled long enough ago lose their personal fields. Which, is fixed at the start; what is
//! decided together is done in one transaction, and these are short. One that is broken off is finished by the next prune.
//!
//! An entry's time is over so long after its verdict, when no late record can correct that verdict any more; an
//! `answered` row goes with its operation. As long as anything of a group is pending or watched, its fields may still be
//! needed, and it stays whole.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use super::Ledger;
use super::erase::{Cause, Digests, Mark, Plan, Pseudonym, Terms, Work};
use super::form::{self, Names};
use super::history::History;
use crate::evidence::KeyDigest;
use crate::plan::Reader;
use crate::store::{RunEnd, RunStart, State};

/// What a prune did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Entries by operation of the plan (none: no operation) and status (`answered` for evidence).
    pub counts: BTreeMap<(Option<String>, String), u64>,
    /// Entries that were left whole because a verdict would not follow from what is left of its evidence.
    pub left: u64,
}

impl Pruned {
    /// How many entries lost their personal fields.
    pub fn entries(&self) -> u64 {
        self.counts.values().sum()
    }
}

/// What is to be done in one group.
struct Due {
    erase: BTreeSet<i64>,
    /// Its digests are replaced too, for all of it will be without its fields.
    seal: bool,
}

impl Ledger {
    /// What [`Ledger::prune`] would do now. Writes nothing.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn prunable(&self, reader: &Reader, terms: &Terms) -> Result<Pruned> {
        let mut pruned = Pruned::default();
        for group in self.groups_over(terms)? {
            let members = self.store.members(&[group])?;
            let due = self.due_in(&members, terms)?;
            for state in members.iter().filter(|state| due.erase.contains(&state.entry)) {
                self.count(reader, state, terms, &mut pruned)?;
            }
        }
        Ok(pruned)
    }

    /// Removes the personal fields of all whose time is over. What was removed may stand in older copies until the store is
    /// cleaned. The lock is the caller's.
    ///
    /// # Errors
    /// When the ledger cannot be written: then what is decided together is pruned or is not, and it is to be done again.
    pub fn prune(&mut self, start: &RunStart, reader: &Reader, terms: &Terms, pseudonym: Pseudonym) -> Result<Pruned> {
        while self.ingest(reader, terms.now)? {}
        let mut groups = Vec::new();
        for group in self.groups_over(terms)? {
            let due = self.due_in(&self.store.members(&[group])?, terms)?;
            if due.seal || !due.erase.is_empty() {
                groups.push(group);
            }
        }
        if groups.is_empty() {
            return Ok(Pruned::default());
        }
        let run = self.begin_run(start)?;
        let cause = Cause { command: "prune", keep: Some(terms.keep), who: None, why: None };
        let mut work = Work::new(reader, terms.now, run, pseudonym, cause);
        let mut pruned = Pruned::default();
        let mut rest = groups.iter();
        while !rest.as_slice().is_empty() {
            self.store.begin()?;
            let some = self.prune_some(&mut work, &mut rest, terms, &mut pruned);
            self.ended(some)?;
        }
        self.end_run(run, terms.now, &RunEnd { controls: "null".to_owned(), ..RunEnd::default() })?;
        Ok(pruned)
    }

    fn prune_some(
        &mut self,
        work: &mut Work,
        rest: &mut std::slice::Iter<i64>,
        terms: &Terms,
        pruned: &mut Pruned,
    ) -> Result<()> {
        for group in rest {
            self.prune_group(work, *group, terms, pruned)?;
            if self.store.is_over() {
                break;
            }
        }
        Ok(())
    }

    fn prune_group(&mut self, work: &mut Work, group: i64, terms: &Terms, pruned: &mut Pruned) -> Result<()> {
        let members = self.store.members(&[group])?;
        let due = self.due_in(&members, terms)?;
        if due.erase.is_empty() && !due.seal {
            return Ok(());
        }
        // Such an id may stand in the evidence of any of them: they lose it together.
        if !due.seal && self.has_naming_ids(&members)? {
            return Ok(());
        }
        for state in members.iter().filter(|state| due.erase.contains(&state.entry)) {
            self.count(work.reader, state, terms, pruned)?;
        }
        let digests = if due.seal { Digests::All } else { Digests::None };
        let plan = Plan {
            erase: due.erase,
            digests,
            naming: &|id| due.seal && id.contains('@'),
            words: &|_, said| said.to_owned(),
        };
        self.erase_in_group(work, &members, &plan)
    }

    /// The groups of which something may be over.
    fn groups_over(&self, terms: &Terms) -> Result<Vec<i64>> {
        let mut over: BTreeMap<i64, bool> = BTreeMap::new();
        self.store.each_state(i64::MIN, &mut |state| {
            if let Some(group) = state.group {
                let mark = Mark::of(&state, terms);
                let of_group = over.entry(group).or_default();
                *of_group |= (mark.due && !mark.erased) || (mark.erased && !mark.sealed);
            }
            Ok(true)
        })?;
        Ok(over.into_iter().filter(|(_, over)| *over).map(|(group, _)| group).collect())
    }

    /// What is over of a group.
    fn due_in(&self, members: &[State], terms: &Terms) -> Result<Due> {
        let marks: Vec<Mark> = members.iter().map(|state| Mark::of(state, terms)).collect();
        let open = marks.iter().any(|mark| mark.open);
        let evidence = marks.iter().any(|mark| mark.answered);
        let examined = marks.iter().any(|mark| !mark.answered);
        let mut operations = BTreeMap::new();
        if evidence && examined && !open {
            operations = self.operations_of(members)?;
        }
        let stays = |mark: &&Mark| !mark.answered && !mark.due && !mark.erased;
        let kept: BTreeSet<&KeyDigest> =
            marks.iter().filter(stays).filter_map(|mark| operations.get(&mark.entry)).collect();
        let goes = |mark: &&Mark| {
            let with_its_operation = !mark.answered
                || !examined
                || operations.get(&mark.entry).is_none_or(|operation| !kept.contains(operation));
            !open && !mark.erased && mark.due && with_its_operation
        };
        let erase: BTreeSet<i64> = marks.iter().filter(goes).map(|mark| mark.entry).collect();
        let all = erase.len() + marks.iter().filter(|mark| mark.erased).count() == marks.len();
        let seal = all && marks.iter().any(|mark| !mark.sealed);
        Ok(Due { erase, seal })
    }

    /// Of which operation each member is.
    fn operations_of(&self, members: &[State]) -> Result<BTreeMap<i64, KeyDigest>> {
        let histories = self.histories(members.iter().filter_map(|state| state.head))?;
        let of = |state: &State| Some((state.entry, histories.of(state.entry)?.reading()?.facts.identity));
        Ok(members.iter().filter_map(of).collect())
    }

    /// Whether the evidence of a group has an id of the server that names somebody.
    fn has_naming_ids(&self, members: &[State]) -> Result<bool> {
        for row in self.evidence_up_to(members.iter().filter_map(|state| state.head))? {
            let names = Names::read(&row.row.names)?;
            let names_somebody = |id: &usize| names.texts[*id].as_deref().is_some_and(|id| id.contains('@'));
            if form::uses(&row.row.doc)?.iter().any(|uses| uses.ids.iter().any(names_somebody)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn count(&self, reader: &Reader, state: &State, terms: &Terms, pruned: &mut Pruned) -> Result<()> {
        let histories = self.histories(state.head)?;
        let operation = match histories.of(state.entry).and_then(History::reading) {
            Some(reading) => reading.facts.operation.clone(),
            None => {
                self.store.rows(&[state.entry])?.first().and_then(|row| reader.read(row, terms.now).facts.operation)
            }
        };
        let status = state.status.map_or_else(|| "answered".to_owned(), |status| status.to_string());
        *pruned.counts.entry((operation, status)).or_default() += 1;
        Ok(())
    }
}
