//! What a store keeps, row by row.

use serde::{Deserialize, Serialize};

use crate::clock::{Moment, Span};
use crate::evidence::Windows;
use crate::plan::Row;
use crate::words::{Action, Direction, Failure, Outcome, Reason, Status};

/// A longer cell is not read, in bytes: what a plan reads of a request takes some hundred, and the cells of a group are
/// held together.
pub const LONGEST_CELL: usize = 1024 * 1024;

/// What makes a ledger this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Names it in reports; random.
    pub name: String,
    /// Keys of children and parents are stored as digests under it.
    pub salt: Vec<u8>,
}

/// One attempt as its writer knows it; the columns of `entries`.
#[derive(Clone, Debug)]
pub struct NewEntry<'a> {
    pub request_id: &'a str,
    pub operation_id: Option<&'a str>,
    pub direction: Direction,
    pub method: &'a str,
    /// As sent, absolute; inbound: the partner's own path.
    pub url: &'a str,
    pub body: Option<&'a str>,
    pub sent_at: Moment,
    pub ended_at: Option<Moment>,
    pub failure: Failure,
    pub http_status: Option<u16>,
    pub error: Option<&'a str>,
}

/// One row of `entries` as some writer left it, good or bad: every column is the writer's text.
#[derive(Clone, Debug, Default)]
pub struct WrittenRow {
    pub request_id: String,
    pub operation_id: Option<String>,
    pub direction: Option<String>,
    pub method: String,
    pub url: String,
    pub body: Option<String>,
    pub sent_at: String,
    pub ended_at: Option<String>,
    pub failure: Option<String>,
    pub http_status: Option<i64>,
    pub error: Option<String>,
}

/// What became of what a writer did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    Done,
    /// Nothing was changed: the row is there already, it is not there, or its personal fields were erased while it was an
    /// intent, whose writer must not fail.
    Unchanged,
    /// The ledger keeps its rows.
    Refused,
}

/// How an attempt that was recorded as an `intent` ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End<'a> {
    /// A definite answer, 200 to 499. It is forgotten, unless it is evidence for other attempts of its operation, was looked
    /// up already, or `keep` asks for a trace.
    Answered { status: u16, keep: bool },
    /// It stays in doubt, or was never sent.
    Failed { failure: Failure, http_status: Option<u16>, error: Option<&'a str> },
}

/// What became of a recorded intent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It is not in the ledger any more: it was answered, and nothing is in doubt.
    Forgotten,
    /// It is an entry, or evidence.
    Kept,
    /// There is no intent of this id (any more); nothing was changed.
    NoIntent,
}

/// What an erasure leaves of a row; body and error go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    pub request_id: String,
    pub operation_id: Option<String>,
    pub direction: Option<String>,
    pub method: String,
    pub url: String,
    pub sent_at: String,
    pub ended_at: Option<String>,
    pub failure: Option<String>,
    pub http_status: Option<i64>,
}

/// Where an entry stands now. It follows from the rows and the evidence, and is made by the row's arrival.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// `entries.id`.
    pub entry: i64,
    /// Counts the writer's changes of the row.
    pub revision: i64,
    /// It is to be read (anew): it came, its writer changed it, or the plan was changed.
    pub unread: bool,
    /// When the row came, or the news of an intent, by the store's clock.
    pub arrived: Option<Moment>,
    /// How far the clock that dated it may be from the store's; `None`: as `settle.writer_error` says.
    pub clock_error: Option<Span>,
    /// The group that it belongs to, once it was read: the first entry of it.
    pub group: Option<i64>,
    pub sent: Option<Moment>,
    /// `None`: an `answered` row, which is never examined.
    pub status: Option<Status>,
    pub outcome: Option<Outcome>,
    pub reason: Option<Reason>,
    pub action: Option<Action>,
    /// Before this moment nothing more can be decided.
    pub not_before: Option<Moment>,
    /// When the next look is due; `None`: never.
    pub due: Option<Moment>,
    /// Completed looks.
    pub checks: u64,
    pub first_checked: Option<Moment>,
    pub last_checked: Option<Moment>,
    /// Looks in its evidence, completed or not.
    pub looks: u64,
    /// The entry that joined its group after its verdict: it is to be decided again.
    pub joined: Option<i64>,
    /// The first attempt of its operation; `None`: itself.
    pub lead: Option<i64>,
    /// A look at this time did not find the record any more that the verdict names.
    pub vanished: Option<Moment>,
    /// When the verdict that holds was reached.
    pub decided: Option<Moment>,
    /// A verdict holds: what `said` says is one, and nothing took it back.
    pub holds: bool,
    /// That verdict loudly supersedes one that was acted upon.
    pub correction: bool,
    /// The evidence that says how the row was read.
    pub read: Option<i64>,
    /// The evidence that says what was last said of it.
    pub said: Option<i64>,
    /// The last evidence of it.
    pub head: Option<i64>,
    /// It is a delete by an id that nothing is made with: whose record it removed, nothing tells.
    pub removes: bool,
    /// The erasure that took its personal fields.
    pub erased: Option<i64>,
    /// Its keys are gone, too.
    pub sealed: bool,
    /// Whom it was about, once its personal fields are gone.
    pub pseudonym: Option<String>,
}

impl State {
    /// That of a row which came just now. Stores make it by a trigger, or as if by one.
    pub fn arrived(entry: i64, answered: bool, arrived: Moment) -> State {
        State {
            entry,
            revision: 0,
            unread: true,
            arrived: Some(arrived),
            clock_error: None,
            group: None,
            sent: None,
            status: (!answered).then_some(Status::Pending),
            outcome: None,
            reason: None,
            action: None,
            not_before: None,
            due: None,
            checks: 0,
            first_checked: None,
            last_checked: None,
            looks: 0,
            joined: None,
            lead: None,
            vanished: None,
            decided: None,
            holds: false,
            correction: false,
            read: None,
            said: None,
            head: None,
            removes: false,
            erased: None,
            sealed: false,
            pseudonym: None,
        }
    }

    /// Its row was changed by its writer: it is read and decided anew. Stores do it by a trigger, or as if by one.
    pub fn changed(&mut self, answered: bool, was_intent: bool, now: Moment) {
        self.revision += 1;
        self.unread = true;
        self.status = (!answered).then_some(Status::Pending);
        (self.outcome, self.reason, self.action, self.not_before, self.due) = (None, None, None, None, None);
        (self.holds, self.correction, self.said, self.decided) = (false, false, None, None);
        if was_intent {
            self.arrived = Some(now);
        }
    }

    /// Whether a writer may change the row as it likes: it is not read yet, or could not be.
    pub fn may_change(&self) -> bool {
        self.unread || self.reason == Some(Reason::BadRow)
    }
}

/// A row that is to be read.
#[derive(Clone, Debug)]
pub struct Unread {
    pub state: State,
    /// `None`: it is not there any more.
    pub row: Option<Row>,
}

/// An entry whose look is due, in the order of being due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Due {
    pub due: Moment,
    pub entry: i64,
}

/// Sums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// When the oldest pending entry was sent.
    pub oldest_pending: Option<Moment>,
    /// Something is pending.
    pub pending: bool,
    /// There is a duplicate-risk.
    pub duplicate_risk: bool,
    /// Something is settled.
    pub settled: bool,
}

/// A row of evidence that is to be appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvidence {
    pub run: RunId,
    pub at: Moment,
    /// The version of the rules that decided.
    pub rules: i64,
    /// The rows of evidence that it follows: the last ones of its members.
    pub after: Vec<i64>,
    /// What was read, seen and said; without any name.
    pub doc: String,
    /// What the names in `doc` stand for.
    pub names: String,
}

/// A row of evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    pub id: i64,
    pub row: NewEvidence,
}

/// `runs.id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RunId(pub i64);

/// What a run is and under what it decides.
#[derive(Debug)]
pub struct RunStart<'a> {
    pub command: &'a str,
    pub started: Moment,
    pub plan: &'a str,
    pub plan_digest: &'a str,
    /// Scheme, host and port.
    pub server: &'a str,
    pub windows: &'a Windows,
}

/// What a run did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunEnd {
    pub examined: u64,
    pub requests: u64,
    pub settled: u64,
    pub deferred: u64,
    /// JSON: how each lookup's controls went last.
    pub controls: String,
    /// Why it stopped early.
    pub trouble: Option<String>,
}

/// A run as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRun {
    pub id: i64,
    pub command: String,
    pub started: Moment,
    /// `None`: it was killed, or goes on.
    pub ended: Option<Moment>,
    /// The exit code of its command; `None`: it did not come to tell it.
    pub exit: Option<u8>,
    /// Of privo-reconcile.
    pub version: String,
    pub plan: String,
    pub plan_digest: String,
    pub server: String,
    pub windows: Windows,
    pub end: RunEnd,
}

/// What a note is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NoteKind {
    /// A report of what was new went out.
    Report,
    /// A report that shows subjects and ids in full is about to leave.
    Disclosure,
    /// A `prune` or a `forget`.
    Erasure,
    /// Somebody approved a list of operations to send again.
    Approval,
    /// One of them was permitted.
    Permit,
}

impl NoteKind {
    /// Every one.
    pub const ALL: [NoteKind; 5] =
        [NoteKind::Report, NoteKind::Disclosure, NoteKind::Erasure, NoteKind::Approval, NoteKind::Permit];

    /// As it is stored.
    pub fn text(self) -> &'static str {
        match self {
            NoteKind::Report => "report",
            NoteKind::Disclosure => "disclosure",
            NoteKind::Erasure => "erasure",
            NoteKind::Approval => "approval",
            NoteKind::Permit => "permit",
        }
    }
}

/// A note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    pub id: i64,
    pub at: Moment,
    /// JSON.
    pub doc: String,
}

/// How far a file was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    pub bytes: u64,
    pub lines: u64,
}

/// What became of a file's records so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    pub imported: u64,
    pub duplicates: u64,
    pub left_out: u64,
    pub rejected: u64,
}

/// What a file is known by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its name, for people.
    pub file: String,
    /// Digest of the format and the mapping.
    pub mapping: [u8; 16],
    pub head_bytes: u64,
    pub head: [u8; 16],
}

/// An import that is under way or was once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// `None`: nothing is stored yet.
    pub id: Option<i64>,
    pub known: Known,
    pub mark: Mark,
    /// Digest of the last bytes before the mark.
    pub tail: [u8; 16],
    pub counts: Imported,
}

/// What older copies may hold of what was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cleaned {
    /// Nothing.
    Whole,
    /// Nothing in the log; what older copies left in free pages and gaps.
    ButGaps,
    /// Whatever there is of them is a server's, and its administrators'.
    OutOfReach,
}

/// Something about where a store lives that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What is so.
    pub what: String,
    /// What to do about it.
    pub remedy: &'static str,
    /// A promise is untrue; else it is something to know.
    pub is_grave: bool,
}
