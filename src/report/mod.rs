//! The report: CSV (RFC 4180, UTF-8) that is the same bytes for the same ledger, and what stands behind it.
//!
//! Made from the ledger's rows alone. Making text is pure and stands here; putting it whole into a file is
//! [`whole_file`].

mod story;
mod whole_file;

use anyhow::Result;
use serde_json::Value;

use crate::clock::Moment;
use crate::mask;
use crate::standing::{ReportRow, RunFacts};
use crate::words::{Action, Reason};

pub use story::story;
pub use whole_file::{meta_path, write_whole};

/// The columns, only ever added to at the end.
pub const COLUMNS: &[&str] = &[
    "request_id",
    "operation_id",
    "operation",
    "method",
    "path",
    "sent_at",
    "failure",
    "http_status",
    "status",
    "outcome",
    "reason",
    "action",
    "server_id",
    "matched_on",
    "subject",
    "checks",
    "first_checked_at",
    "last_checked_at",
    "not_before",
    "explanation",
];

/// A report under way: rows go in, CSV comes out.
pub struct Csv<W: std::io::Write> {
    writer: csv::Writer<W>,
    rows: u64,
}

impl<W: std::io::Write> Csv<W> {
    /// Begins with the header.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn new(output: W) -> Result<Csv<W>> {
        let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(output);
        writer.write_record(COLUMNS)?;
        Ok(Csv { writer, rows: 0 })
    }

    /// Adds a row. `subject` is given when subjects and ids are shown in full.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn add(&mut self, row: &ReportRow, in_full: Option<&str>) -> Result<()> {
        for cell in cells(row, in_full) {
            self.writer.write_field(harmless(&cell).as_bytes())?;
        }
        self.writer.write_record(None::<&[u8]>)?;
        self.rows += 1;
        Ok(())
    }

    /// Ends the report; says how many rows it has.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn end(mut self) -> Result<u64> {
        self.writer.flush()?;
        Ok(self.rows)
    }
}

/// The cells of a row in the order of [`COLUMNS`].
pub fn cells(row: &ReportRow, in_full: Option<&str>) -> Vec<String> {
    let facts = row.facts.as_ref();
    let time = |moment: Option<Moment>| moment.map(|moment| moment.to_string()).unwrap_or_default();
    let id = |id: &str| if in_full.is_some() { id.to_owned() } else { mask::id(id) };
    let subject = match in_full {
        Some(subject) => subject.to_owned(),
        None => facts.and_then(|facts| facts.subject.clone()).unwrap_or_default(),
    };
    vec![
        id(&row.request_id),
        id(&row.operation_id),
        facts.and_then(|facts| facts.operation.clone()).unwrap_or_default(),
        facts.map(|facts| facts.method.clone()).unwrap_or_default(),
        facts.map(|facts| facts.path.clone()).unwrap_or_default(),
        time(facts.and_then(|facts| facts.sent)),
        facts.and_then(|facts| facts.failure).map(|failure| failure.text().to_owned()).unwrap_or_default(),
        facts.and_then(|facts| facts.http_status).map(|status| status.to_string()).unwrap_or_default(),
        row.status.text().to_owned(),
        row.outcome.map(|outcome| outcome.text().to_owned()).unwrap_or_default(),
        reason(row).text().to_owned(),
        action(row).text().to_owned(),
        row.server_id.as_deref().map(id).unwrap_or_default(),
        row.matched_on.clone().unwrap_or_default(),
        subject,
        row.checks.to_string(),
        time(row.first_checked),
        time(row.last_checked),
        time(row.not_before),
        row.explanation.clone().unwrap_or_else(|| "not looked at yet".to_owned()),
    ]
}

/// A row as a JSON object: the columns are its keys, what is unknown is null, and what counts is a number.
pub fn cells_of(row: &ReportRow, in_full: Option<&str>) -> serde_json::Map<String, Value> {
    let value = |name: &str, cell: String| match (name, cell.parse::<u64>()) {
        _ if cell.is_empty() => Value::Null,
        ("checks" | "http_status", Ok(number)) => number.into(),
        _ => cell.into(),
    };
    let cells = COLUMNS.iter().zip(cells(row, in_full));
    cells.map(|(name, cell)| ((*name).to_owned(), value(name, cell))).collect()
}

/// An entry that was not looked at yet is as good as one whose look gave no answer.
pub fn reason(row: &ReportRow) -> Reason {
    row.reason.unwrap_or(Reason::Inconclusive)
}

/// The advice; before anything is known: wait.
pub fn action(row: &ReportRow) -> Action {
    row.action.unwrap_or(Action::Wait)
}

/// A cell that no spreadsheet runs: one that could be a formula gets a leading apostrophe.
pub fn harmless(cell: &str) -> std::borrow::Cow<'_, str> {
    let starts_formula = |text: &str| text.starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠']);
    let runs = cell.starts_with(['\t', '\r', '\n']) || starts_formula(cell.trim_start());
    if runs { format!("'{cell}").into() } else { cell.into() }
}

/// What stands behind a report: enough to decide again.
#[derive(Debug, serde::Serialize)]
pub struct Meta<'a> {
    /// The version of this form.
    pub format: u32,
    pub tool: &'static str,
    pub version: &'static str,
    /// The ledger's name.
    pub ledger: &'a str,
    pub rows: u64,
    /// Subjects and ids are shown in full.
    pub in_full: bool,
    /// The run that the report follows.
    pub run: Option<&'a RunFacts>,
}

impl<'a> Meta<'a> {
    /// The meta data of a report.
    pub fn new(ledger: &'a str, rows: u64, in_full: bool, run: Option<&'a RunFacts>) -> Meta<'a> {
        Meta { format: 1, tool: "privo-reconcile", version: env!("CARGO_PKG_VERSION"), ledger, rows, in_full, run }
    }

    /// As JSON text.
    ///
    /// # Errors
    /// Never, in practice.
    pub fn to_json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_that_could_run_gets_an_apostrophe_and_no_other_changes() {
        for cell in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "  =1", "\n1"] {
            assert_eq!(harmless(cell), format!("'{cell}"));
        }
        for cell in ["", "a=b", "2026-01-01", "'=1", "Ann"] {
            assert_eq!(harmless(cell), cell);
        }
    }
}
