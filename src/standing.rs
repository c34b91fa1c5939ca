//! Where things stand: what the ledger tells, and the report and the commands show. Neither knows the other.

use crate::clock::Moment;
use crate::evidence::{Facts, Look};
use crate::plan::Row;
use crate::words::{Action, Outcome, Reason, Status};

/// How many entries stand where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// By status and reason (none: not looked at yet), in the order of the words.
    pub rows: Vec<(Status, Option<Reason>, u64)>,
    /// When the oldest pending entry was sent.
    pub oldest_pending: Option<Moment>,
}

impl Counts {
    /// The rows as JSON: status, reason (null: not looked at yet) and how many entries.
    pub fn to_json(&self) -> Vec<serde_json::Value> {
        let row = |(status, reason, count): &(Status, Option<Reason>, u64)| serde_json::json!({"status": status, "reason": reason, "entries": count});
        self.rows.iter().map(row).collect()
    }

    /// How many entries have this status.
    pub fn of(&self, status: Status) -> u64 {
        self.rows.iter().filter(|(of, ..)| *of == status).map(|(.., count)| count).sum()
    }
}

/// What alerts and metrics are made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    pub counts: Counts,
    /// When the last run ended that ended without trouble.
    pub last_success: Option<Moment>,
    /// When the first run began.
    pub first_run: Option<Moment>,
}

/// One row of the report, as the ledger has it.
#[derive(Clone, Debug)]
pub struct ReportRow {
    pub request_id: String,
    pub operation_id: String,
    pub facts: Option<Facts>,
    /// The entry itself, for what is shown unmasked when asked for.
    pub row: Row,
    pub status: Status,
    pub outcome: Option<Outcome>,
    pub reason: Option<Reason>,
    pub action: Option<Action>,
    pub server_id: Option<String>,
    pub matched_on: Option<String>,
    pub explanation: Option<String>,
    pub correction: bool,
    pub checks: u64,
    pub first_checked: Option<Moment>,
    pub last_checked: Option<Moment>,
    pub not_before: Option<Moment>,
}

/// One run, for what stands behind a report.
#[derive(Clone, Debug, serde::Serialize)]
pub struct RunFacts {
    pub run: i64,
    pub command: String,
    pub started: String,
    pub ended: Option<String>,
    pub version: String,
    pub plan: String,
    pub plan_digest: String,
    pub server: String,
    /// Each as the configuration writes it: `15m`.
    pub windows: std::collections::BTreeMap<String, String>,
    pub controls: serde_json::Value,
    pub examined: u64,
    pub requests: u64,
    pub settled: u64,
    pub deferred: u64,
    pub trouble: Option<String>,
}

/// The story of one entry.
#[derive(Clone, Debug)]
pub struct Story {
    pub row: ReportRow,
    pub looks: Vec<StoryLook>,
    pub verdicts: Vec<StoryVerdict>,
}

/// One look of a story.
#[derive(Clone, Debug)]
pub struct StoryLook {
    pub run: i64,
    pub look: Look,
}

/// One verdict of a story, the last one holds.
#[derive(Clone, Debug)]
pub struct StoryVerdict {
    pub run: i64,
    pub decided: Moment,
    pub status: String,
    pub outcome: String,
    pub reason: String,
    pub action: String,
    pub explanation: String,
    pub correction: bool,
}

/// What came of deciding the whole ledger again.
#[derive(Clone, Debug, Default)]
pub struct Verified {
    pub verdicts: u64,
    /// Request id and what differs, at most the first thousand.
    pub differences: Vec<(String, String)>,
    pub differing: u64,
}

impl Verified {
    /// Notes a difference.
    pub fn differ(&mut self, request_id: String, what: String) {
        self.differing += 1;
        if self.differences.len() < 1000 {
            self.differences.push((request_id, what));
        }
    }
}
