//! Forgetting: an erasure request. Every entry that names a person loses its personal fields, whatever its status, and
//! every digest that the person's keys could be guessed from is replaced.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};

use super::Ledger;
use super::erase::{Cause, Digests, Erasure, Plan, Pseudonym, Work, digests_under};
use super::form::{self, Names};
use super::history::History;
use super::settle::Close;
use crate::evidence::KeyDigest;
use crate::plan::Reader;
use crate::plan::subject::Subject;
use crate::store::{State, Texts};
use crate::words::{Outcome, Status};

/// An entry that names the subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    pub entry: i64,
    pub request_id: String,
    pub operation: Option<String>,
    /// `None`: an `answered` row.
    pub status: Option<Status>,
    /// A late record could still correct its verdict.
    pub watched: bool,
    /// It has personal fields still.
    pub whole: bool,
}

impl Named {
    /// Nobody knows yet what became of it.
    pub fn pending(&self) -> bool {
        self.status == Some(Status::Pending)
    }
}

impl Ledger {
    /// Every entry that names the subject, by its row, by a key's digest, by an id of the server or by its pseudonym.
    /// Writes nothing.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn naming(&self, subject: &Subject, pseudonyms: &BTreeSet<String>) -> Result<Vec<Named>> {
        let mut found = BTreeSet::new();
        self.store.each_row(&mut |entry, texts| {
            if names(subject, texts) {
                found.insert(entry);
            }
            Ok(())
        })?;
        let keys = subject.group_keys();
        self.store.each_evidence(&mut |evidence| {
            let names = Names::read(&evidence.row.names)?;
            let digest = |number: &usize| keys.contains(&names.digests[*number]);
            let is_named = |id: &usize| names.texts[*id].as_deref().is_some_and(|id| subject.is_named_by(id));
            let is_said = |words: &usize| names.texts[*words].as_deref().is_some_and(|said| says(subject, said));
            if names.digests.iter().any(|digest| keys.contains(digest)) || names.texts.iter().flatten().next().is_some()
            {
                for uses in form::uses(&evidence.row.doc)? {
                    let its = uses.digests.iter().any(digest) || uses.ids.iter().any(is_named);
                    if its || uses.words.iter().any(is_said) {
                        found.insert(uses.entry);
                    }
                }
            }
            Ok(())
        })?;
        if !pseudonyms.is_empty() {
            self.store.each_state(i64::MIN, &mut |state| {
                if state.pseudonym.as_ref().is_some_and(|pseudonym| pseudonyms.contains(pseudonym)) {
                    found.insert(state.entry);
                }
                Ok(true)
            })?;
        }
        let entries: Vec<i64> = found.into_iter().collect();
        entries.chunks(500).try_fold(Vec::new(), |mut named, part| {
            named.extend(self.named(part)?);
            Ok(named)
        })
    }

    fn named(&self, entries: &[i64]) -> Result<Vec<Named>> {
        let states: BTreeMap<i64, State> =
            self.store.states(entries)?.into_iter().map(|state| (state.entry, state)).collect();
        let histories = self.histories(states.values().filter_map(|state| state.head))?;
        let mut named = Vec::new();
        for (entry, request_id, _) in self.store.ids(entries)? {
            let Some(state) = states.get(&entry) else { continue };
            // One that was not looked at yet has no operation in its evidence.
            let reading = histories.of(entry).and_then(History::reading);
            named.push(Named {
                entry,
                request_id,
                operation: reading.and_then(|reading| reading.facts.operation.clone()),
                status: state.status,
                watched: state.due.is_some() && state.status == Some(Status::Resolved),
                whole: state.erased.is_none(),
            });
        }
        Ok(named)
    }

    /// Removes the personal fields of every entry that names the subject; pending ones are closed. Which, is fixed at the
    /// start; what is decided together is done in one transaction, and these are short. What was removed may stand in older
    /// copies until the store is cleaned. The lock is the caller's. Gives what was forgotten, as it stood before.
    ///
    /// # Errors
    /// When the ledger cannot be written: then what is decided together is forgotten or is not, and it is to be done again.
    pub fn forget(
        &mut self,
        reader: &Reader,
        subject: &Subject,
        pseudonyms: &BTreeSet<String>,
        erasure: &Erasure,
    ) -> Result<Vec<Named>> {
        while self.ingest(reader, erasure.at)? {}
        self.forget_in_notes(subject)?;
        let named = self.naming(subject, pseudonyms)?;
        let targets: BTreeSet<i64> = named.iter().map(|named| named.entry).collect();
        let entries: Vec<i64> = targets.iter().copied().collect();
        let groups: BTreeSet<i64> = self.store.states(&entries)?.into_iter().filter_map(|state| state.group).collect();
        let nobody: Pseudonym = &|_| None;
        let cause = Cause { command: "forget", keep: None, who: Some(erasure.who), why: Some(erasure.why) };
        let mut work = Work::new(reader, erasure.at, erasure.run, nobody, cause);
        work.also = subject.spellings().iter().map(|spelling| spelling.to_lowercase()).collect();
        let gone = self.digests_of(subject, &entries)?;
        let groups: Vec<i64> = groups.into_iter().collect();
        let mut rest = groups.iter();
        while !rest.as_slice().is_empty() {
            self.store.begin()?;
            let some = self.forget_some(&mut work, &mut rest, (subject, &targets, &gone), erasure);
            self.ended(some)?;
        }
        Ok(named)
    }

    fn forget_some(
        &mut self,
        work: &mut Work,
        rest: &mut std::slice::Iter<i64>,
        whom: (&Subject, &BTreeSet<i64>, &BTreeSet<KeyDigest>),
        erasure: &Erasure,
    ) -> Result<()> {
        for group in rest {
            self.forget_group(work, *group, whom, erasure)?;
            if self.store.is_over() {
                break;
            }
        }
        Ok(())
    }

    fn forget_group(
        &mut self,
        work: &mut Work,
        group: i64,
        (subject, targets, gone): (&Subject, &BTreeSet<i64>, &BTreeSet<KeyDigest>),
        erasure: &Erasure,
    ) -> Result<()> {
        let members = self.store.members(&[group])?;
        if members.iter().any(|state| state.unread) {
            bail!(
                "a row beside one that names the subject was changed just now, and not all was forgotten (do it again; what was forgotten stays so)"
            );
        }
        let its = |state: &&State| targets.contains(&state.entry);
        let pending: Vec<i64> =
            members.iter().filter(its).filter(|s| s.status == Some(Status::Pending)).map(|s| s.entry).collect();
        let close = Close {
            who: erasure.who.to_owned(),
            why: erasure.why.to_owned(),
            outcome: Outcome::Unknown,
            at: erasure.at,
        };
        for entry in pending {
            self.close_entry(erasure.run, entry, &close)?;
        }
        let members = self.store.members(&[group])?;
        let erase =
            members.iter().filter(its).filter(|state| state.erased.is_none()).map(|state| state.entry).collect();
        let all = members.iter().all(|state| targets.contains(&state.entry) || state.erased.is_some());
        let only_its = members.iter().all(|state| targets.contains(&state.entry));
        let digests = if all { Digests::All } else { Digests::These(gone) };
        let plan = Plan {
            erase,
            digests,
            naming: &|id| subject.is_named_by(id) || (only_its && id.contains('@')),
            words: &|entry, said| {
                if targets.contains(&entry) { subject.removed_from(said) } else { said.to_owned() }
            },
        };
        self.erase_in_group(work, &members, &plan)?;
        // What leads from the person to an erased entry goes with the person.
        let mut states = self.store.members(&[group])?;
        states.retain(|state| targets.contains(&state.entry) && state.pseudonym.is_some());
        states.iter_mut().for_each(|state| state.pseudonym = None);
        self.store.put_states(&states)?;
        Ok(())
    }

    /// Every digest that can be guessed from the subject: of its keys, of the fields that were written under them, of what the
    /// records showed.
    fn digests_of(&self, subject: &Subject, targets: &[i64]) -> Result<BTreeSet<KeyDigest>> {
        let keys = subject.group_keys();
        let mut digests = keys.clone();
        for part in targets.chunks(500) {
            let states = self.store.states(part)?;
            let histories = self.histories(states.iter().filter_map(|state| state.head))?;
            for history in part.iter().filter_map(|entry| histories.of(*entry)) {
                digests.extend(history.readings.iter().flat_map(|reading| digests_under(&reading.facts, &keys)));
                let records = history.looks.iter().flat_map(|past| &past.made.look.records);
                digests.extend(records.filter_map(|record| record.values));
            }
        }
        Ok(digests)
    }
}

/// Whether a row names it.
fn names(subject: &Subject, texts: Texts) -> bool {
    let text = |name: &str| texts.iter().find(|(column, _)| *column == name).map_or("", |(_, text)| text.as_str());
    let others = texts.iter().filter(|(column, _)| !matches!(*column, "url" | "body"));
    subject.in_request(text("url"), text("body")) || others.into_iter().any(|(_, text)| subject.is_named_in(text))
}

/// Whether a person who closed an entry said it. Who that was is no word about the entry.
fn says(subject: &Subject, said: &str) -> bool {
    let why = said.split_once(": ").map_or(said, |(_, why)| why);
    let why = why.rsplit_once(" (was ").map_or(why, |(why, _)| why);
    subject.is_named_in(why)
}
