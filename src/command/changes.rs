//! What changed, for a page to tell: since the last report with `--new` or, when there was none, in the last run.

use std::collections::BTreeSet;

use anyhow::Result;

use crate::ledger::Ledger;
use crate::report::Changed;
use crate::views::{Entries, Filter, LastReport, ReportRow, RunFacts};

/// Tells what is new among the rows of a report.
#[derive(Default)]
pub struct Changes {
    pub changed: Changed,
    /// Entries with a verdict since the last report.
    since: Option<BTreeSet<i64>>,
    /// Without a last report: the run whose verdicts are told.
    run: Option<i64>,
}

impl Changes {
    /// Of a report with this filter; `last` is its reader's last one, `run` the run that it follows.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn of(ledger: &Ledger, filter: &Filter, last: Option<LastReport>, run: Option<&RunFacts>) -> Result<Changes> {
        let mut changes = Changes { changed: Changed::since(last), ..Changes::default() };
        let Some(last) = last else {
            changes.run = run.map(|run| run.run);
            return Ok(changes);
        };
        let mut since = BTreeSet::new();
        let filter = Filter { after_verdict: Some(last.last_verdict), ..filter.clone() };
        ledger.each_row(&filter, Entries::Unread, |row| {
            since.insert(row.entry);
            Ok(())
        })?;
        changes.since = Some(since);
        Ok(changes)
    }

    /// Notes a row of the report, if its verdict is new.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn note(&mut self, ledger: &Ledger, row: &ReportRow) -> Result<()> {
        let new = match &self.since {
            Some(since) => since.contains(&row.entry),
            None => row.run.is_some() && row.run == self.run,
        };
        if !new {
            return Ok(());
        }
        self.changed.add(row, |request_id| Ok(ledger.verdicts_of(request_id)?.into_iter().rev().nth(1)))
    }
}
