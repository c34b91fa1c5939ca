//! Columns: what a report shows of a row, one list for each reader.

use super::advice;
use crate::clock::Moment;
use crate::mask;
use crate::views::{Audience, ReportRow};
use crate::words::{Action, Reason};

/// What is shown of a row besides what stands in it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shown<'a> {
    /// Ids as they are.
    pub in_full: bool,
    /// The subject as it is; without it, masked.
    pub subject: Option<&'a str>,
    pub pseudonym: Option<&'a str>,
    /// Who asks PRIVO, and about which environment: for support.
    pub asks: Asks<'a>,
}

/// Who asks PRIVO support, and about which environment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asks<'a> {
    /// The partner's name, where the configuration says one.
    pub partner: Option<&'a str>,
    /// The server that was asked: scheme, host and port.
    pub environment: Option<&'a str>,
}

/// A value as it is, before any form of report changes how it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    /// It is not known, or there is none.
    Unknown,
    Text(String),
    Number(u64),
    List(Vec<String>),
}

impl Cell {
    /// As text: nothing when it is unknown, and what is in a list after each other.
    pub fn text(self) -> String {
        match self {
            Cell::Unknown => String::new(),
            Cell::Text(text) => text,
            Cell::Number(number) => number.to_string(),
            Cell::List(parts) => parts.join("; "),
        }
    }

    /// As JSON.
    pub fn json(self) -> serde_json::Value {
        match self {
            Cell::Unknown => serde_json::Value::Null,
            Cell::Text(text) => text.into(),
            Cell::Number(number) => number.into(),
            Cell::List(parts) => parts.into(),
        }
    }
}

/// One column: its name, and what it shows of a row.
pub struct Column {
    pub name: &'static str,
    pub of: fn(&ReportRow, &Shown) -> Cell,
}

const REQUEST_ID: Column = Column { name: "request_id", of: |row, shown| id(&row.request_id, shown) };
const OPERATION_ID: Column = Column { name: "operation_id", of: |row, shown| id(&row.operation_id, shown) };
const OPERATION: Column =
    Column { name: "operation", of: |row, _| text(row.gist.as_ref().and_then(|gist| gist.operation.clone())) };
const METHOD: Column = Column { name: "method", of: |row, _| text(row.gist.as_ref().map(|gist| gist.method.clone())) };
const PATH: Column = Column { name: "path", of: |row, _| text(row.gist.as_ref().map(|gist| gist.path.clone())) };
const SENT_AT: Column = Column { name: "sent_at", of: |row, _| time(row.gist.as_ref().and_then(|gist| gist.sent)) };
const ENDED_AT: Column = Column { name: "ended_at", of: |row, _| time(row.gist.as_ref().map(|gist| gist.ended)) };
const FAILURE: Column = Column {
    name: "failure",
    of: |row, _| text(row.gist.as_ref().and_then(|gist| gist.failure).map(|failure| failure.text().to_owned())),
};
const HTTP_STATUS: Column = Column {
    name: "http_status",
    of: |row, _| {
        let status = row.gist.as_ref().and_then(|gist| gist.http_status);
        status.map_or(Cell::Unknown, |status| Cell::Number(status.into()))
    },
};
const STATUS: Column = Column { name: "status", of: |row, _| Cell::Text(row.status.text().to_owned()) };
const OUTCOME: Column =
    Column { name: "outcome", of: |row, _| text(row.outcome.map(|outcome| outcome.text().to_owned())) };
const REASON: Column = Column { name: "reason", of: |row, _| Cell::Text(reason(row).text().to_owned()) };
const ACTION: Column = Column { name: "action", of: |row, _| Cell::Text(action(row).text().to_owned()) };
const SERVER_ID: Column = Column {
    name: "server_id",
    of: |row, shown| row.server_id.as_deref().map_or(Cell::Unknown, |server_id| id(server_id, shown)),
};
const MATCHED_ON: Column = Column { name: "matched_on", of: |row, _| text(row.matched_on.clone()) };
const SUBJECT: Column = Column {
    name: "subject",
    of: |row, shown| match shown.subject {
        Some(subject) => text(Some(subject.to_owned())),
        None => text(row.gist.as_ref().and_then(|gist| gist.subject.clone())),
    },
};
const CHECKS: Column = Column { name: "checks", of: |row, _| Cell::Number(row.checks) };
const FIRST_CHECKED_AT: Column = Column { name: "first_checked_at", of: |row, _| time(row.first_checked) };
const LAST_CHECKED_AT: Column = Column { name: "last_checked_at", of: |row, _| time(row.last_checked) };
const NOT_BEFORE: Column = Column { name: "not_before", of: |row, _| time(row.not_before) };
const EXPLANATION: Column = Column {
    name: "explanation",
    of: |row, _| Cell::Text(row.explanation.clone().unwrap_or_else(|| "not looked at yet".to_owned())),
};
const PSEUDONYM: Column = Column { name: "pseudonym", of: |_, shown| text(shown.pseudonym.map(str::to_owned)) };
const SETTLED_AT: Column = Column { name: "settled_at", of: |row, _| time(row.decided) };
const ATTEMPTS: Column = Column { name: "attempts", of: |row, shown| ids(&row.attempts, shown) };
const FOUND_IDS: Column = Column { name: "found_ids", of: |row, shown| ids(&row.found, shown) };

const PARTNER: Column = Column { name: "partner", of: |_, shown| text(shown.asks.partner.map(str::to_owned)) };
const ENVIRONMENT: Column =
    Column { name: "environment", of: |_, shown| text(shown.asks.environment.map(str::to_owned)) };
const QUESTION: Column =
    Column { name: "question", of: |row, _| text(advice::question(reason(row), row.correction).map(str::to_owned)) };
const CONDITION: Column = Column {
    name: "condition",
    of: |row, _| {
        let method = row.gist.as_ref().map_or("", |gist| gist.method.as_str());
        text(advice::condition(action(row), method).map(str::to_owned))
    },
};

/// The contract's columns; others are only ever added at the end.
const CONTRACT: &[Column] = &[
    REQUEST_ID,
    OPERATION_ID,
    OPERATION,
    METHOD,
    PATH,
    SENT_AT,
    FAILURE,
    HTTP_STATUS,
    STATUS,
    OUTCOME,
    REASON,
    ACTION,
    SERVER_ID,
    MATCHED_ON,
    SUBJECT,
    CHECKS,
    FIRST_CHECKED_AT,
    LAST_CHECKED_AT,
    NOT_BEFORE,
    EXPLANATION,
];

/// What PRIVO support needs to find a record, and nothing about whom it is.
const SUPPORT: &[Column] = &[
    REQUEST_ID,
    OPERATION_ID,
    OPERATION,
    METHOD,
    PATH,
    SENT_AT,
    ENDED_AT,
    FAILURE,
    HTTP_STATUS,
    SERVER_ID,
    FOUND_IDS,
    STATUS,
    OUTCOME,
    REASON,
    ACTION,
    PSEUDONYM,
    CHECKS,
    FIRST_CHECKED_AT,
    LAST_CHECKED_AT,
    EXPLANATION,
    PARTNER,
    ENVIRONMENT,
    QUESTION,
];

/// What whoever sends again needs; the body is in the partner's own records, by `request_id`.
const RESEND: &[Column] = &[
    REQUEST_ID,
    OPERATION_ID,
    OPERATION,
    METHOD,
    PATH,
    SENT_AT,
    ATTEMPTS,
    REASON,
    SETTLED_AT,
    SUBJECT,
    PSEUDONYM,
    EXPLANATION,
    ACTION,
    CONDITION,
];

/// The columns of a report. The contract's has pseudonyms only where they are configured, so that it stays as it is
/// elsewhere; support is told no subject, unless in full.
pub fn columns(audience: Audience, pseudonyms: bool, in_full: bool) -> Vec<&'static Column> {
    const ALSO_PSEUDONYM: &Column = &PSEUDONYM;
    const ALSO_SUBJECT: &Column = &SUBJECT;
    match audience {
        Audience::All => CONTRACT.iter().chain(pseudonyms.then_some(ALSO_PSEUDONYM)).collect(),
        Audience::Support => SUPPORT.iter().chain(in_full.then_some(ALSO_SUBJECT)).collect(),
        Audience::Resend => RESEND.iter().collect(),
    }
}

/// What one of the contract's columns shows of a row, masked, as text. Nothing where there is no such column.
pub fn cell(row: &ReportRow, name: &str) -> String {
    let column = CONTRACT.iter().find(|column| column.name == name);
    column.map(|column| (column.of)(row, &Shown::default()).text()).unwrap_or_default()
}

/// A row as a JSON object: the columns are its keys.
pub fn object(row: &ReportRow, columns: &[&Column], shown: &Shown) -> serde_json::Map<String, serde_json::Value> {
    columns.iter().map(|column| (column.name.to_owned(), (column.of)(row, shown).json())).collect()
}

/// An entry that was not looked at yet is as good as one whose look gave no answer.
pub fn reason(row: &ReportRow) -> Reason {
    row.reason.unwrap_or(Reason::Inconclusive)
}

/// The advice; before anything is known: wait.
pub fn action(row: &ReportRow) -> Action {
    row.action.unwrap_or(Action::Wait)
}

fn id(id: &str, shown: &Shown) -> Cell {
    Cell::Text(if shown.in_full { id.to_owned() } else { mask::id(id) })
}

fn ids(ids: &[String], shown: &Shown) -> Cell {
    let shown = |id: &String| if shown.in_full { id.clone() } else { mask::id(id) };
    if ids.is_empty() { Cell::Unknown } else { Cell::List(ids.iter().map(shown).collect()) }
}

fn text(text: Option<String>) -> Cell {
    text.filter(|text| !text.is_empty()).map_or(Cell::Unknown, Cell::Text)
}

fn time(moment: Option<Moment>) -> Cell {
    moment.map_or(Cell::Unknown, |moment| Cell::Text(moment.to_string()))
}
