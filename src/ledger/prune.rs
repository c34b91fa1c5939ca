//! Pruning: entries that were settled long enough ago lose their personal fields, all in one transaction.
//!
//! An entry's time is over so long after its verdict, when no late record can correct that verdict any more; an
//! `answered` row goes with its operation. As long as anything of a group is pending or watched, its fields may still be
//! needed, and it stays whole.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use rusqlite::{Connection, TransactionBehavior};

use super::Ledger;
use super::blanking::{Blanking, Cause, Pseudonym};
use super::components::{Components, Mark, Terms};
use super::explain::Explained;
use super::intake::take_in_all;
use crate::evidence::{Facts, Link};
use crate::plan::Reader;

/// A ledger up to this size is rewritten in memory, a larger one through a temporary file.
const REWRITTEN_IN_MEMORY: i64 = 64 << 20;

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
        let mut pruned = Pruned::default();
        Components::read(&transaction, terms)?.each(|members| {
            for entry in due(&transaction, members)?.blank {
                count(&transaction, entry, &mut pruned)?;
            }
            Ok(())
        })?;
        Ok(pruned)
    }

    /// Removes the personal fields of all whose time is over. What was removed may stand in the file's free pages until
    /// [`Ledger::clean`]. The lock is the caller's.
    ///
    /// # Errors
    /// When the ledger cannot be written: then nothing was removed.
    pub fn prune(&mut self, reader: &Reader, terms: &Terms, pseudonym: Pseudonym) -> Result<Pruned> {
        self.take_in(reader, terms.now)?;
        self.connection.pragma_update(None, "secure_delete", "ON")?;
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        take_in_all(&transaction, reader, terms.now)?;
        let mut components = Components::read(&transaction, terms)?;
        let cause = Cause { command: "prune", keep: Some(terms.keep), who: None, why: None };
        let blanking = Blanking::begin(&transaction, reader, terms.now, pseudonym, &cause)?;
        let mut pruned = Pruned::default();
        let mut changed = false;
        components.each(|members| {
            let due = due(&transaction, members)?;
            if due.blank.is_empty() && !due.seal {
                return Ok(());
            }
            let mut counted = pruned.clone();
            for &entry in &due.blank {
                count(&transaction, entry, &mut counted)?;
            }
            match taken_back_unless(&transaction, || prune_component(&blanking, &due))? {
                Step::Done => (pruned, changed) = (counted, true),
                Step::Waits => {}
                Step::Left => pruned.left += due.blank.len() as u64,
            }
            Ok(())
        })?;
        blanking.end(changed)?;
        if changed {
            transaction.commit()?;
        }
        Ok(pruned)
    }

    /// Rewrites the file and empties its log, so that nothing of what was removed or deleted is left in it.
    ///
    /// # Errors
    /// When somebody reads the ledger for too long, or the disk is full: then it is to be done again.
    pub fn clean(&mut self) -> Result<()> {
        self.connection.pragma_update(None, "secure_delete", "ON")?;
        let size: i64 = self.connection.query_row(
            "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()",
            [],
            |row| row.get(0),
        )?;
        let place = if size <= REWRITTEN_IN_MEMORY { "MEMORY" } else { "FILE" };
        self.connection.pragma_update(None, "temp_store", place)?;
        let rewritten = self.empty_log().and_then(|()| Ok(self.connection.execute_batch("VACUUM")?));
        self.connection.pragma_update(None, "temp_store", "MEMORY")?;
        rewritten.and_then(|()| self.empty_log()).with_context(|| {
            let remedy = "end what reads it for long, make room for two copies of it, and do this again";
            let place = self.path.display();
            Explained(format!("what was removed may still stand in free pages of {place} or in its log ({remedy})"))
        })
    }

    fn empty_log(&self) -> Result<()> {
        let busy: bool = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
        if busy {
            bail!("the log is being read");
        }
        Ok(())
    }
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
