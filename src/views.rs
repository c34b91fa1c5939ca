//! Where things stand: what the ledger tells, and the report and the commands show. Neither knows the other.

use serde::Deserialize;

use crate::clock::Moment;
use crate::evidence::{Facts, KeyDigest, Look};
use crate::plan::Row;
use crate::words::{Action, Failure, Outcome, Reason, Status};

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

/// What is to be done now, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToDo {
    /// Operations to send again.
    pub resend: u64,
    /// Operations that may be sent again, each on its condition.
    pub may_resend: u64,
    /// Entries that only PRIVO can answer for.
    pub privo: u64,
    /// Further entries that a person must look at.
    pub review: u64,
    /// Entries that wait,
    pub waiting: u64,
    /// and until when: the next time at which something may become known of one of them.
    pub until: Option<Moment>,
}

/// Whether PRIVO is asked about an entry.
pub fn is_privos(status: Status, reason: Reason, correction: bool) -> bool {
    correction || status == Status::DuplicateRisk && !NOT_PRIVOS.contains(&reason)
}

/// What alerts and metrics are made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LedgerState {
    pub counts: Counts,
    /// When the last run ended that ended without trouble.
    pub last_success: Option<Moment>,
    /// When the first run began.
    pub first_run: Option<Moment>,
}

/// For whom a report is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Audience {
    /// Every entry.
    #[default]
    #[value(skip)]
    All,
    /// PRIVO support: what only PRIVO can answer, and corrections; pseudonyms instead of subjects
    Support,
    /// Whoever sends again: what is proven not applied, one row per operation, in order of sending; then what may be
    Resend,
}

/// The reasons of a duplicate-risk that PRIVO knows nothing of: the partner's own row or plan is what is wrong.
pub const NOT_PRIVOS: [Reason; 2] = [Reason::BadRow, Reason::NoPlan];

/// Which entries are told: those that fit all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    pub audience: Audience,
    /// Sent at this moment or later. An entry whose time cannot be read is in every range, so that it is not lost.
    pub since: Option<Moment>,
    /// Sent before this moment.
    pub until: Option<Moment>,
    /// The operation's name in the plan.
    pub operation: Option<String>,
    /// One of these; any when there are none.
    pub statuses: Vec<Status>,
    /// One of these; any when there are none.
    pub reasons: Vec<Reason>,
    /// Its verdict is of this run.
    pub run: Option<i64>,
    /// Its verdict is later than this one: what is new.
    pub after_verdict: Option<i64>,
    /// It is about whom this pseudonym was made of; the ledger itself cannot tell.
    pub pseudonym: Option<String>,
}

impl Filter {
    /// What was settled in one run.
    pub fn of_run(run: i64) -> Filter {
        Filter { run: Some(run), ..Filter::default() }
    }

    /// Whether an entry that the ledger has not read yet, and so cannot tell, fits as it was read now.
    pub fn fits_unread(&self, gist: &Gist) -> bool {
        self.operation.as_ref().is_none_or(|name| gist.operation.as_ref() == Some(name))
            && gist.sent.is_none_or(|sent| {
                self.since.is_none_or(|since| sent >= since) && self.until.is_none_or(|until| sent < until)
            })
    }
}

/// A report of what was new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastReport {
    pub at: Moment,
    /// Verdicts up to this id were in it, or in one before it.
    pub last_verdict: i64,
}

/// The gist of an entry's [`Facts`]: what reports show of it. A report reads it of every entry, and skips the rest.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Gist {
    pub operation: Option<String>,
    pub method: String,
    pub path: String,
    pub subject: Option<String>,
    pub failure: Option<Failure>,
    pub http_status: Option<u16>,
    pub sent: Option<Moment>,
    #[serde(default)]
    pub sent_ahead: bool,
    pub ended: Moment,
    pub identity: KeyDigest,
}

impl From<Facts> for Gist {
    fn from(facts: Facts) -> Gist {
        let Facts { operation, method, path, subject, failure, http_status, sent, sent_ahead, ended, identity, .. } =
            facts;
        Gist { operation, method, path, subject, failure, http_status, sent, sent_ahead, ended, identity }
    }
}

impl Gist {
    /// When it was sent, if that can be believed: as [`Facts::sent`].
    pub fn sent(&self) -> Option<Moment> {
        self.sent.filter(|_| !self.sent_ahead)
    }
}

/// Which rows of a report come with the entry itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entries {
    /// All: it is wanted whom they are about.
    All,
    /// Those that were not read yet.
    Unread,
}

/// One row of the report, as the ledger has it.
#[derive(Clone, Debug)]
pub struct ReportRow {
    /// `entries.id`.
    pub entry: i64,
    pub request_id: String,
    pub operation_id: String,
    /// `None`: it was not read yet.
    pub gist: Option<Gist>,
    /// The entry itself, where it is asked for, and where there is no gist.
    pub row: Option<Row>,
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
    /// The run that settled it.
    pub run: Option<i64>,
    /// When it was settled.
    pub decided: Option<Moment>,
    /// Kept since its subject was removed; else it is made of the subject.
    pub pseudonym: Option<String>,
    /// For [`Audience::Resend`]: every attempt of the operation, in order of sending.
    pub attempts: Vec<String>,
    /// A look at this time did not find the record any more that the verdict names.
    pub vanished: Option<Moment>,
    /// For [`Audience::Support`]: the server's ids of the records that the last looks found.
    pub found: Vec<String>,
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
    /// `None`: it was not read yet.
    pub facts: Option<Facts>,
    pub looks: Vec<StoryLook>,
    pub verdicts: Vec<StoryVerdict>,
    /// When its personal fields were removed, and by which command.
    pub blanked: Option<(Moment, String)>,
    /// Its operation id was given to these requests, too, which are others.
    pub shares_id_with: Vec<String>,
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
    /// Verdicts that were not decided again, for other rules made them: by the version of those.
    pub by_other_rules: std::collections::BTreeMap<i64, u64>,
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
