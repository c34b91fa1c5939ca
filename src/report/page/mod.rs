//! The report as one HTML page: what happened, what became of it, what to do, what changed, and every entry, for people who
//! open it with a double click.
//!
//! The page is whole in itself: its one script and its one style stand in it, known to its content security policy by
//! their digests, and nothing else may run or be fetched. Every value of the ledger goes through the templates' escaping,
//! so no cell becomes markup. Rows are written as they come and the summary is counted beside them, so the ledger is read
//! once; the same ledger gives the same bytes.

mod chart;
mod foot;
mod picture;
mod shares;
mod text;
mod times;
mod totals;
mod view;

use std::io::Write;

use anyhow::Result;
use askama::Template;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};

use crate::clock::Moment;
use crate::views::{Filter, LastReport, ReportRow, RunFacts, StoryVerdict};
use crate::words::{Action, Status};

use super::columns::{Column, Shown};
use totals::Totals;

/// So many entries stand in the table; a browser carries them, and the CSV carries the rest.
pub const MOST_ROWS: u64 = 20_000;

/// So many corrections are told one by one above the table, in which all of them stand first.
const MOST_CORRECTIONS: usize = 10;

const STYLE: &str = include_str!("../../../templates/page.css");
const SCRIPT: &str = include_str!("../../../templates/page.js");

/// A page under way: rows go in, HTML comes out.
pub struct Page {
    columns: Vec<&'static Column>,
    totals: Totals,
    rows: String,
    filled: Filled,
}

/// Which of the table's columns that may be empty have a value somewhere.
#[derive(Clone, Copy, Debug, Default)]
struct Filled {
    server_id: bool,
    subject: bool,
}

impl Filled {
    /// The classes of the table that take the others out of it.
    fn without(self) -> String {
        let classes = [(self.server_id, "without-id"), (self.subject, "without-subject")];
        classes.iter().filter(|(filled, _)| !filled).map(|(_, class)| *class).collect::<Vec<_>>().join(" ")
    }
}

/// What stands behind a page, and what it is told of besides its rows.
#[derive(Clone, Copy, Debug)]
pub struct Behind<'a> {
    /// The ledger's name.
    pub ledger: &'a str,
    /// Subjects and ids are shown in full.
    pub in_full: bool,
    /// What they are shown for.
    pub purpose: Option<&'a str>,
    /// Which entries it is about.
    pub filter: &'a Filter,
    /// Who asks, in a report for support.
    pub partner: Option<&'a str>,
    /// Local time stands beside UTC.
    pub time_zone: Option<chrono_tz::Tz>,
    /// The run that the report follows.
    pub run: Option<&'a RunFacts>,
    /// What changed since the last report or, when there was none, in that run.
    pub changed: &'a Changed,
}

/// What changed.
#[derive(Debug, Default)]
pub struct Changed {
    /// Since this report; without one, in the last run.
    since: Option<Moment>,
    verdicts: std::collections::BTreeMap<(Status, Action), u64>,
    corrections: Vec<(ReportRow, Option<StoryVerdict>)>,
    further: u64,
}

impl Changed {
    /// Nothing yet since this report, or in the last run.
    pub fn since(last: Option<LastReport>) -> Changed {
        Changed { since: last.map(|last| last.at), ..Changed::default() }
    }

    /// Notes an entry with a new verdict; `before` finds the verdict that a correction supersedes.
    ///
    /// # Errors
    /// When `before` fails.
    pub fn add(&mut self, row: &ReportRow, before: impl FnOnce(&str) -> Result<Option<StoryVerdict>>) -> Result<()> {
        *self.verdicts.entry((row.status, super::action(row))).or_default() += 1;
        if row.correction && self.corrections.len() < MOST_CORRECTIONS {
            let before = before(&row.request_id)?;
            self.corrections.push((row.clone(), before));
        } else {
            self.further += u64::from(row.correction);
        }
        Ok(())
    }
}

/// One row of the table.
#[derive(Template)]
#[template(path = "entry.html")]
struct EntryLine {
    tone: &'static str,
    sent: String,
    sent_shown: String,
    request: String,
    operation_id: Option<String>,
    correction: bool,
    operation: String,
    method: String,
    path: String,
    failure: String,
    status: &'static str,
    outcome: String,
    action: String,
    reason: String,
    explanation: String,
    looks: String,
    server_id: String,
    subject: String,
    pseudonym: String,
    /// Every attempt of the operation, where a row stands for several.
    attempts: Option<String>,
}

impl Page {
    /// A page of rows that show no other values than those of these columns.
    pub fn new(columns: Vec<&'static Column>) -> Page {
        Page { columns, totals: Totals::default(), rows: String::new(), filled: Filled::default() }
    }

    /// Adds a row.
    ///
    /// # Errors
    /// Never, in practice.
    pub fn add(&mut self, row: &ReportRow, shown: &Shown) -> Result<()> {
        self.totals.add(row);
        if self.totals.rows <= MOST_ROWS {
            let line = EntryLine::of(row, &self.columns, shown);
            self.filled.server_id |= !line.server_id.is_empty();
            self.filled.subject |= !(line.subject.is_empty() && line.pseudonym.is_empty());
            line.render_into(&mut self.rows)?;
        }
        Ok(())
    }

    /// Writes the page.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn end(self, output: &mut dyn Write, behind: &Behind) -> Result<()> {
        view::Whole::of(&self.totals, &self.rows, self.filled, behind).write_into(output)?;
        Ok(output.flush()?)
    }
}

impl EntryLine {
    fn of(row: &ReportRow, columns: &[&Column], shown: &Shown) -> EntryLine {
        let cell = |name: &str| {
            let column = columns.iter().find(|column| column.name == name);
            column.map(|column| text::visible(&(column.of)(row, shown).text())).unwrap_or_default()
        };
        let sent = row.gist.as_ref().and_then(|gist| gist.sent);
        let (request, operation_id) = (cell("request_id"), cell("operation_id"));
        EntryLine {
            tone: tone(row.status),
            sent: cell("sent_at"),
            sent_shown: sent.map(in_table).unwrap_or_default(),
            operation_id: (operation_id != request).then_some(operation_id),
            request,
            correction: row.correction,
            operation: cell("operation"),
            method: cell("method"),
            path: cell("path"),
            failure: [cell("failure"), cell("http_status")].join(" ").trim().to_owned(),
            status: row.status.text(),
            outcome: cell("outcome"),
            action: cell("action"),
            reason: cell("reason"),
            explanation: cell("explanation"),
            looks: looks(row),
            server_id: Some(cell("server_id")).filter(|id| !id.is_empty()).unwrap_or_else(|| cell("found_ids")),
            subject: cell("subject"),
            pseudonym: cell("pseudonym"),
            attempts: Some(cell("attempts")).filter(|_| row.attempts.len() > 1),
        }
    }
}

/// How often and when the server was asked, what the record was recognised by, and when more can be decided.
fn looks(row: &ReportRow) -> String {
    let mut said = Vec::new();
    if let Some(matched_on) = &row.matched_on {
        said.push(format!("matched on {}", text::visible(matched_on)));
    }
    if let (Some(first), Some(last)) = (row.first_checked, row.last_checked) {
        let looks = text::count(row.checks, "look", "looks");
        said.push(if first == last { format!("{looks}, {first}") } else { format!("{looks}, {first} to {last}") });
    }
    if let Some(not_before) = row.not_before {
        said.push(format!("not before {not_before}"));
    }
    text::sentence(&said.join("; "))
}

/// A time as the table shows it.
fn in_table(moment: Moment) -> String {
    moment.to_string().replace('T', " ").trim_end_matches('Z').to_owned()
}

/// The class that colours a status; the word and a shape stand beside every colour.
fn tone(status: Status) -> &'static str {
    match status {
        Status::Resolved => "good",
        Status::DuplicateRisk => "risk",
        Status::Pending => "wait",
    }
}

/// How a content security policy names a block.
fn policy_hash(block: &str) -> String {
    format!("sha256-{}", BASE64_STANDARD.encode(Sha256::digest(block.as_bytes())))
}
