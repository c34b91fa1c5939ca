//! Renaming: texts in the evidence that may be personal become names that say nothing. There are two kinds: the state
//! that a webhook's look fetched, and ids of the server that hold an `@` or are the very subject.
//!
//! Verdicts repeat such texts. So each decision that rests on them is made before and again after, and the verdict is
//! written anew with what it says then; it must differ in nothing but these texts.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use rusqlite::{OptionalExtension, params};

use super::blanking::Blanking;
use super::verify::{Anew, decide_again};
use crate::decide::{Decision, Verdict};

/// Which ids of the server name somebody.
pub(super) type Naming<'a> = &'a dyn Fn(&str) -> bool;

impl Blanking<'_> {
    /// The server's ids in the evidence of these entries that name somebody.
    pub fn naming_ids(&self, members: &[i64], names: Naming) -> Result<BTreeSet<String>> {
        let mut found = BTreeSet::new();
        for &entry in members {
            let records = self.records_of(entry)?;
            let ids = records.values().flatten().filter_map(|record| record.id.as_deref());
            found.extend(ids.filter(|id| names(id)).map(str::to_owned));
        }
        Ok(found)
    }

    /// Whether a look at one of these entries fetched a state.
    pub fn fetched_state(&self, entries: &[i64]) -> Result<bool> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT 1 FROM observations WHERE entry_id = ? AND state IS NOT NULL LIMIT 1")?;
        for entry in entries {
            if statement.query_row([entry], |_| Ok(())).optional()?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Renames the given ids in the evidence of all members, and every fetched state of `blanked`. False: a verdict would
    /// not follow from its evidence any more, and `exact` asks for that; the caller takes it all back.
    pub fn rename_evidence(
        &self,
        members: &[i64],
        blanked: &[i64],
        ids: &BTreeSet<String>,
        exact: bool,
    ) -> Result<bool> {
        let decisions = self.decisions_of(members)?;
        let mut sound = BTreeSet::new();
        for decision in &decisions {
            let again = decide_again(self.connection, *decision)?;
            sound.extend(again.iter().filter(|again| again.same()).map(|again| again.verdict));
        }
        let mut names = self.names_of(ids);
        for &entry in members {
            self.rename_ids(entry, &names)?;
        }
        for &entry in blanked {
            names.extend(self.rename_states(entry)?);
        }
        for decision in decisions {
            for again in decide_again(self.connection, decision)? {
                let now = match again.again {
                    _ if !sound.contains(&again.verdict) => renamed(&again.stored, &names),
                    Anew::Says(Decision::Settle(now)) if now.same_but_record(&again.stored) => now,
                    _ if exact => return Ok(false),
                    _ => renamed(&again.stored, &names),
                };
                self.write_verdict(again.verdict, &now)?;
            }
        }
        Ok(true)
    }

    /// The decisions that settled any of these entries, in the order in which they were made.
    fn decisions_of(&self, members: &[i64]) -> Result<BTreeSet<i64>> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT decision_id FROM verdicts WHERE entry_id = ? AND decision_id IS NOT NULL")?;
        let mut decisions = BTreeSet::new();
        for entry in members {
            for decision in statement.query_map([entry], |row| row.get::<_, i64>(0))? {
                decisions.insert(decision?);
            }
        }
        Ok(decisions)
    }

    /// A name for each id, in their order.
    fn names_of(&self, ids: &BTreeSet<String>) -> BTreeMap<String, String> {
        let name =
            |(place, id): (usize, &String)| (id.clone(), format!("removed-{place:06}-{:08x}", self.draw() as u32));
        (1..).zip(ids).map(name).collect()
    }

    fn rename_ids(&self, entry: i64, names: &BTreeMap<String, String>) -> Result<()> {
        for (observation, mut records) in self.records_of(entry)? {
            let mut changed = false;
            for id in records.iter_mut().filter_map(|record| record.id.as_mut()) {
                if let Some(name) = names.get(id.as_str()) {
                    id.clone_from(name);
                    changed = true;
                }
            }
            if changed {
                self.write_records(observation, &records)?;
            }
        }
        Ok(())
    }

    /// Gives the new name of each state.
    fn rename_states(&self, entry: i64) -> Result<BTreeMap<String, String>> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT id, state FROM observations WHERE entry_id = ? AND state IS NOT NULL")?;
        let states: Vec<(i64, String)> =
            statement.query_map([entry], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<rusqlite::Result<_>>()?;
        let different: BTreeSet<&String> = states.iter().map(|(_, state)| state).collect();
        let name = |(place, state): (usize, &String)| (state.clone(), format!("state {place:06} (removed)"));
        let names: BTreeMap<String, String> = (1..).zip(different).map(name).collect();
        for (observation, state) in &states {
            self.connection
                .prepare_cached("UPDATE observations SET state = ? WHERE id = ?")?
                .execute(params![names[state], observation])?;
        }
        Ok(names)
    }

    fn write_verdict(&self, id: i64, verdict: &Verdict) -> Result<()> {
        self.connection
            .prepare_cached("UPDATE verdicts SET server_id = ?, matched_on = ?, explanation = ? WHERE id = ?")?
            .execute(params![verdict.server_id, verdict.matched_on, verdict.explanation, id])
            .context("failed to write a verdict anew")?;
        Ok(())
    }
}

/// A verdict that does not follow from its evidence is not mended; it loses the texts all the same.
fn renamed(verdict: &Verdict, names: &BTreeMap<String, String>) -> Verdict {
    let without = |text: &String| names.iter().fold(text.clone(), |text, (id, name)| text.replace(id, name));
    Verdict {
        server_id: verdict.server_id.as_ref().map(without),
        explanation: without(&verdict.explanation),
        ..verdict.clone()
    }
}
