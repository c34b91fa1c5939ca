//! What was reported: marks of what was new, and reveals. Both are only ever added to.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::Ledger;
use super::turn::TurnReading;
use crate::clock::Moment;
use crate::store::NoteKind;
use crate::views::LastReport;

impl Ledger {
    /// The last report of what was new for this reader. `None`: there was none yet.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn last_report(&self, reader: &str) -> Result<Option<LastReport>> {
        let notes =
            self.store.notes(NoteKind::Report, Moment(i64::MIN)).context("failed to read when the last report was")?;
        for note in notes.iter().rev() {
            let doc: Value = serde_json::from_str(&note.doc).context("failed to read when the last report was")?;
            if doc["reader"] == reader {
                let last_verdict = doc["last_verdict"].as_i64().unwrap_or(0);
                return Ok(Some(LastReport { at: note.at, last_verdict }));
            }
        }
        Ok(None)
    }

    /// Notes that a report of what was new went out whole.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub fn note_report(&mut self, reader: &str, report: LastReport, rows: u64) -> Result<()> {
        let doc = json!({ "reader": reader, "last_verdict": report.last_verdict, "rows": rows }).to_string();
        let noted = self.in_turn(|store| store.note(NoteKind::Report, report.at, &doc));
        noted.context("failed to note the report, so that the next one with --new begins where this one did")?;
        Ok(())
    }

    /// Notes that a report is to show subjects and ids in full: how many rows, what for, and by whom.
    ///
    /// # Errors
    /// When the ledger cannot be written; then nothing may be shown.
    pub fn note_disclosure(
        &mut self,
        at: Moment,
        report: &str,
        rows: u64,
        purpose: Option<&str>,
        who: &str,
    ) -> Result<()> {
        let report: Value = serde_json::from_str(report).unwrap_or_else(|_| report.into());
        let doc = json!({ "report": report, "rows": rows, "purpose": purpose, "who": who }).to_string();
        let noted = self.in_turn(|store| store.note(NoteKind::Disclosure, at, &doc));
        noted.context("failed to note in the ledger what is revealed, so nothing was")?;
        Ok(())
    }

    /// Whether any entry was ever read as this operation, under whatever plan.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn knows_operation(&self, name: &str) -> Result<bool> {
        let mut knows = false;
        self.store.each_evidence(&mut |evidence| {
            if !knows {
                let readings = self.turn_of(&evidence)?.entries.into_iter().filter_map(|entry| entry.reading);
                knows = readings.into_iter().any(|reading| {
                    matches!(reading, TurnReading::New(reading) if reading.facts.operation.as_deref() == Some(name))
                });
            }
            Ok(())
        })?;
        Ok(knows)
    }
}
