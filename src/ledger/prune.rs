//! Pruning: entries that were settled long enough ago lose their personal fields. Which, is fixed at the start; what hangs
//! together is done in one transaction, and these are short. One that is broken off is finished by the next prune.
//!
//! An entry's time is over so long after its verdict, when no late record can correct that verdict any more; an
//! `answered` row goes with its operation. As long as anything of a group is pending or watched, its fields may still be
//! needed, and it stays whole.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use rusqlite::Connection;

use super::Ledger;
use super::blanking::{Blanking, Cause, Pseudonym, Work, are_as_they_were};
use super::components::{Components, Mark, Terms};
use crate::evidence::{Facts, Link};
use crate::plan::Reader;

/// So many entries are chosen before they are blanked: no turn is spent on looking for them.
const CHOSEN: usize = 4000;

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

/// What is to be done in one component.
struct Due {
    blank: Vec<i64>,
    /// Its digests are replaced too, for all of it will be blank.
    seal: bool,
    sealed: BTreeSet<i64>,
    members: Vec<i64>,
}

impl Ledger {
    /// What [`Ledger::prune`] would do now. Writes nothing.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn prunable(&mut self, terms: &Terms) -> Result<Pruned> {
        let transaction = self.connection.transaction()?;
        let (mut pruned, mut at) = (Pruned::default(), 0);
        let mut components = Components::read(&transaction, terms)?;
        while let Some(members) = components.next(&mut at) {
            for entry in due(&transaction, &members)?.blank {
                count(&transaction, entry, &mut pruned)?;
            }
        }
        Ok(pruned)
    }

    /// Removes the personal fields of all whose time is over. What was removed may stand in the log and in the file's free
    /// pages until [`Ledger::clean`]. The lock is the caller's.
    ///
    /// # Errors
    /// When the ledger cannot be written: then what hangs together is pruned or is not, and it is to be done again.
    pub fn prune(&mut self, reader: &Reader, terms: &Terms, pseudonym: Pseudonym) -> Result<Pruned> {
        while self.take_in(reader, terms.now)? {}
        self.connection.pragma_update(None, "secure_delete", "ON")?;
        let reading = self.connection.transaction()?;
        let mut components = Components::read(&reading, terms)?;
        drop(reading);
        let cause = Cause { command: "prune", keep: Some(terms.keep), who: None, why: None };
        let mut work = Work::new(&self.connection, reader, terms.now, pseudonym, cause)?;
        let (mut pruned, mut at) = (Pruned::default(), 0);
        loop {
            let chosen = chosen(&self.connection, &mut components, &mut at)?;
            if chosen.is_empty() {
                return Ok(pruned);
            }
            let mut rest = chosen.iter();
            while !rest.as_slice().is_empty() {
                let turn = self.turn()?;
                let blanking = Blanking::begin(&turn, &work)?;
                let changed = prune_some(&blanking, &mut rest, &mut pruned, || turn.is_over())?;
                if changed {
                    let id = blanking.end()?;
                    turn.commit()?;
                    work.committed(id);
                }
            }
        }
    }
}

/// The next components of which something is to be pruned. None: there are no more.
fn chosen(connection: &Connection, components: &mut Components, at: &mut usize) -> Result<Vec<Due>> {
    let (mut chosen, mut entries) = (Vec::new(), 0);
    while entries < CHOSEN {
        let Some(members) = components.next(at) else { break };
        let due = due(connection, &members)?;
        if !due.blank.is_empty() || due.seal {
            entries += members.len();
            chosen.push(due);
        }
    }
    Ok(chosen)
}

/// Prunes components, the first at least, until `is_over`; says whether anything was written.
fn prune_some<'d>(
    blanking: &Blanking,
    rest: &mut impl Iterator<Item = &'d Due>,
    pruned: &mut Pruned,
    is_over: impl Fn() -> bool,
) -> Result<bool> {
    let connection = blanking.connection;
    let mut changed = false;
    for due in rest {
        // One that a writer changed since it was chosen is for the next prune.
        if are_as_they_were(connection, due.members.iter().copied())? {
            let mut counted = pruned.clone();
            for &entry in &due.blank {
                count(connection, entry, &mut counted)?;
            }
            match taken_back_unless(connection, || prune_component(blanking, due))? {
                Step::Done => (*pruned, changed) = (counted, true),
                Step::Waits => {}
                Step::Left => pruned.left += due.blank.len() as u64,
            }
        }
        if is_over() {
            break;
        }
    }
    Ok(changed)
}

/// How a step went.
pub(super) enum Step {
    Done,
    /// It is for later.
    Waits,
    /// It cannot be done without losing what a verdict rests on.
    Left,
}

/// Takes a step; whatever it wrote is taken back unless it is done.
pub(super) fn taken_back_unless(connection: &Connection, step: impl FnOnce() -> Result<Step>) -> Result<Step> {
    connection.execute_batch("SAVEPOINT component")?;
    let step = step()?;
    if !matches!(step, Step::Done) {
        connection.execute_batch("ROLLBACK TO component")?;
    }
    connection.execute_batch("RELEASE component")?;
    Ok(step)
}

fn prune_component(blanking: &Blanking, due: &Due) -> Result<Step> {
    let members = if due.seal { due.members.clone() } else { due.blank.clone() };
    let mut touched = Vec::with_capacity(members.len());
    for &entry in members.iter().filter(|entry| !due.blank.contains(entry)) {
        touched.push(blanking.touch(entry)?);
    }
    let ids = blanking.naming_ids(&due.members, &|id| id.contains('@'))?;
    if !ids.is_empty() && !due.seal {
        // Such an id may stand in the evidence of any of them: they lose it together.
        return Ok(Step::Waits);
    }
    if (!ids.is_empty() || blanking.fetched_state(&due.blank)?)
        && !blanking.rename_evidence(&due.members, &due.blank, &ids, true)?
    {
        return Ok(Step::Left);
    }
    for &entry in &due.blank {
        touched.push(blanking.blank(entry)?);
    }
    if due.seal {
        blanking.seal(&due.members, &due.sealed, None)?;
    }
    for touched in &touched {
        blanking.stamp(touched, due.seal)?;
    }
    Ok(Step::Done)
}

fn due(connection: &Connection, members: &[(i64, Mark)]) -> Result<Due> {
    let open = members.iter().any(|(_, mark)| mark.open());
    let evidence = members.iter().any(|(_, mark)| mark.answered());
    let examined = members.iter().any(|(_, mark)| !mark.answered());
    let kept = if evidence && examined && !open { operations_kept(connection, members)? } else { BTreeSet::new() };
    let mut blank = Vec::new();
    for (entry, mark) in members.iter().filter(|(_, mark)| !open && !mark.blanked()) {
        let goes = match mark.answered() {
            true if examined => !kept.contains(&operation(connection, *entry)?) && mark.due(),
            _ => mark.due(),
        };
        blank.extend(goes.then_some(*entry));
    }
    let of = |is: fn(Mark) -> bool| members.iter().filter(move |(_, mark)| is(*mark)).map(|(entry, _)| *entry);
    let all = blank.len() + of(Mark::blanked).count() == members.len();
    let sealed: BTreeSet<i64> = of(Mark::sealed).collect();
    let seal = all && sealed.len() < members.len();
    Ok(Due { blank, seal, sealed, members: members.iter().map(|(entry, _)| *entry).collect() })
}

/// The operations of which an attempt's time is not over.
fn operations_kept(connection: &Connection, members: &[(i64, Mark)]) -> Result<BTreeSet<Link>> {
    let kept = members.iter().filter(|(_, mark)| !mark.answered() && !mark.due() && !mark.blanked());
    kept.map(|(entry, _)| operation(connection, *entry)).collect()
}

fn operation(connection: &Connection, entry: i64) -> Result<Link> {
    Ok(facts(connection, entry)?.1.identity)
}

/// Status and reading of an entry.
fn facts(connection: &Connection, entry: i64) -> Result<(Option<String>, Facts)> {
    let mut statement = connection.prepare_cached(
        "SELECT s.status, r.facts FROM standings s JOIN readings r ON r.id = s.reading_id WHERE s.entry_id = ?",
    )?;
    let (status, facts): (Option<String>, String) = statement
        .query_row([entry], |row| Ok((row.get(0)?, row.get(1)?)))
        .with_context(|| format!("the reading of entry {entry} is missing"))?;
    Ok((status, serde_json::from_str(&facts).context("failed to read a reading")?))
}

fn count(connection: &Connection, entry: i64, pruned: &mut Pruned) -> Result<()> {
    let (status, facts) = facts(connection, entry)?;
    *pruned.counts.entry((facts.operation, status.unwrap_or_else(|| "answered".to_owned()))).or_default() += 1;
    Ok(())
}
