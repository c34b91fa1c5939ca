//! Runs: one row each, made before anything else and ended with its counts.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use super::Ledger;
use crate::clock::{Moment, Span};
use crate::evidence::Windows;
use crate::store::{RunEnd, RunId, RunStart, StoredRun};
use crate::views::RunFacts;
use crate::words::{Reason, Status};

impl Ledger {
    /// Makes everything due that a watch looks at, or looked at once: verdicts that a late record could correct. What is read
    /// otherwise by this run's plan than it was decided upon is decided anew.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub fn recheck(&mut self) -> Result<()> {
        use Reason::{ConfirmedAbsent, NeverSent, NotDeleted, NotUpdated, StateFetched};
        (self.rechecks, self.reads_all) = (true, true);
        self.each_state_in_turns(|state| {
            let looked_at =
                matches!(state.reason, Some(ConfirmedAbsent | NeverSent | NotDeleted | NotUpdated | StateFetched));
            let again = looked_at && state.status == Some(Status::Resolved) && state.erased.is_none();
            if again {
                state.due = Some(Moment(0));
            }
            again
        })
    }

    /// Begins a run.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub fn begin_run(&mut self, run: &RunStart) -> Result<RunId> {
        self.in_turn(|store| store.begin_run(run))
    }

    /// Ends a run with what it did.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub fn end_run(&mut self, run: RunId, ended: Moment, end: &RunEnd) -> Result<()> {
        self.in_turn(|store| store.end_run(run, ended, end))
    }

    /// Notes the exit code that a run's command ends with.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub fn note_exit(&mut self, run: RunId, exit: u8) -> Result<()> {
        self.in_turn(|store| store.note_exit(run, exit))
    }

    /// The last run that is like this.
    fn last_run(&self, is: impl Fn(&StoredRun) -> bool) -> Result<Option<StoredRun>> {
        let mut found = None;
        self.store.each_run(&mut |run| {
            if is(&run) {
                found = Some(run);
            }
            Ok(found.is_none())
        })?;
        Ok(found)
    }

    /// When the last run that came to its end began.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn last_ended_run(&self) -> Result<Option<Moment>> {
        Ok(self.last_run(|run| run.command == "run" && run.ended.is_some())?.map(|run| run.started))
    }

    /// When the last run ended whose command ended with one of these exit codes.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn last_run_with(&self, exits: &[u8]) -> Result<Option<Moment>> {
        let well = |run: &StoredRun| run.command == "run" && run.exit.is_some_and(|exit| exits.contains(&exit));
        Ok(self.last_run(|run| run.ended.is_some() && well(run))?.and_then(|run| run.ended))
    }

    /// The last run, or the one of this id.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn run_facts(&self, id: Option<i64>) -> Result<Option<RunFacts>> {
        let run = match id {
            Some(id) => self.store.run(id)?,
            None => self.last_run(|run| run.command == "run")?,
        };
        run.map(facts).transpose()
    }

    /// The runs of these ids, those that there are.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn runs_of(&self, ids: impl IntoIterator<Item = i64>) -> Result<Vec<RunFacts>> {
        ids.into_iter().filter_map(|id| self.run_facts(Some(id)).transpose()).collect()
    }
}

fn facts(run: StoredRun) -> Result<RunFacts> {
    let StoredRun { id, command, started, ended, version, plan, plan_digest, server, windows, end, .. } = run;
    let controls = match end.controls.as_str() {
        "" => serde_json::Value::Null,
        json => serde_json::from_str(json).context("failed to read a run")?,
    };
    Ok(RunFacts {
        run: id,
        command,
        started: started.to_string(),
        ended: ended.map(|ended| ended.to_string()),
        version,
        plan,
        plan_digest,
        server,
        windows: in_words(&windows)?,
        controls,
        examined: end.examined,
        requests: end.requests,
        settled: end.settled,
        deferred: end.deferred,
        trouble: end.trouble,
    })
}

/// The windows in the configuration's form.
fn in_words(windows: &Windows) -> Result<BTreeMap<String, String>> {
    let spans: BTreeMap<String, Span> = serde_json::from_value(serde_json::to_value(windows)?)?;
    Ok(spans.into_iter().map(|(name, span)| (name, span.to_string())).collect())
}
