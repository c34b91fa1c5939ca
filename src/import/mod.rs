//! `import`: the outage that nobody recorded, out of files that were written anyway.
//!
//! A file is read once, from front to back, one record at a time: a reader for each format ([`csv`], [`jsonl`], which also
//! reads access logs, [`har`]) gives records as JSON values, [`config::Mapping`] says where their columns stand,
//! [`classify`] how the request ended, and [`page`] puts what is in doubt into the ledger, together with how far the file
//! was read.
//!
//! # What may go wrong
//! A kill loses nothing: pages and marks are one transaction. Reading a record twice adds nothing: see
//! [`crate::ledger::import`]. A record that cannot be read is quarantined with its line and a reason, never its values.

pub mod classify;
pub mod config;
mod csv;
mod file;
mod guess;
mod har;
mod jsonl;
mod page;
mod quarantine;
mod record;
mod row;
pub mod times;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

pub use config::{BaseUrl, Format, Mapping};
pub use file::Source;
pub use guess::format_of;
pub use page::{Job, import};
pub use quarantine::path_of as quarantine_of;
pub use record::parse;

use crate::ledger::import::Mark;
use record::Record;

/// A record as it stands in a file.
struct Found {
    /// Of a HAR the number of the entry.
    line: u64,
    record: Result<Record, Reject>,
    /// What a person should know of it, be it read or not.
    notes: Vec<Note>,
    /// Where reading goes on after it; `None` for a last line without an end, which may yet grow.
    after: Option<Mark>,
}

/// Why a record does not come into the ledger. It names columns, never their values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reject {
    TooLong,
    NoObject,
    Broken,
    Twice,
    Nuls,
    Unfinished,
    Width,
    NotUtf8,
    NoEnding,
    Failure,
    Status,
    NotInDoubt,
    NoAnswer,
    Method,
    NoUrl,
    PathAlone,
    Url,
    NoTime,
    SentAt,
    EndedAt,
    Duration,
    Rounded,
    Taken,
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reject::TooLong => "the line is longer than 32 MiB",
            Reject::NoObject => "the line is no JSON object",
            Reject::Broken => "the entry is no JSON that can be read",
            Reject::Twice => "it says a name twice, and which of the two holds cannot be known",
            Reject::Nuls => "it is nothing but NUL bytes (the log was truncated while its writer went on)",
            Reject::Unfinished => "the last record is not whole, and it does not end (the next import reads it again)",
            Reject::Width => "it has more or fewer cells than the header",
            Reject::NotUtf8 => "a mapped cell is not UTF-8",
            Reject::NoEnding => "it has neither `http_status` nor `failure`",
            Reject::Failure => "`failure` is none of intent, not_sent, timeout, network, http, answered",
            Reject::Status => "`http_status` is no HTTP status",
            Reject::NotInDoubt => "`failure` is http, and `http_status` is missing or not in doubt",
            Reject::NoAnswer => "`failure` is answered, and `http_status` is missing or not 200 to 499",
            Reject::Method => "`method` is missing or no HTTP method",
            Reject::NoUrl => "`url` is missing",
            Reject::PathAlone => "`url` is a path, and the mapping has no `base_url` to put before it",
            Reject::Url => "`url` is no http or https URL",
            Reject::NoTime => "`sent_at` is missing, or `ended_at` with the `duration` that would tell it",
            Reject::SentAt => {
                "`sent_at` is no time with an offset (a local time, a bare date, a spreadsheet's number? say its `format` and `offset` in the mapping)"
            }
            Reject::EndedAt => {
                "`ended_at` is no time with an offset (say its `format` and `offset` in the mapping)"
            }
            Reject::Duration => {
                "`duration` is no number, or longer than a day (say its `unit` in the mapping: s, ms, us, ns)"
            }
            Reject::Rounded => {
                "an id was rounded by a spreadsheet (like 1E+17), so that several became one (export it as text)"
            }
            Reject::Taken => {
                "`request_id` is in the ledger as another attempt's (ids that retries share are mapped as `operation_id`)"
            }
        })
    }
}

/// What a person should know of records that were read all the same, or left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Note {
    Nuls,
    Repaired,
    BodyElsewhere,
    Again,
    SeenTwice,
    CutUnseen,
    CutUnknown,
    SharedId,
}

impl Note {
    /// In words that follow a count.
    pub fn text(self) -> &'static str {
        match self {
            Note::Nuls => {
                "after NUL bytes: the log was truncated while its writer went on, and what stood there is lost (let the writer append)"
            }
            Note::Repaired => "with bytes that are no JSON, read as nginx escapes them (log with `escape=json`)",
            Note::BodyElsewhere => {
                "whose body is in another file of the export that is not there (put it beside, or export with bodies embedded)"
            }
            Note::Again => {
                "sent again by the proxy itself: an earlier try may have been applied too, so they are in doubt"
            }
            Note::SeenTwice => {
                "that equal another within a second (a page and its service worker, a double click): attempts of one operation"
            }
            Note::CutUnseen => {
                "answered with success, where this log does not tell whether the answer arrived whole: a repeat is not blocked by the server, so they are in doubt"
            }
            Note::SharedId => {
                "whose operation id was given to another request before: each is an operation of its own (give each request an id of its own, and its retries the same)"
            }
            Note::CutUnknown => {
                "left out that were answered with success, where this log does not tell whether the answer arrived whole: the server blocks a repeat, or what was sent is not known"
            }
        }
    }
}

/// What came of one file.
#[derive(Debug, Serialize)]
pub struct Summary {
    pub file: PathBuf,
    pub format: Format,
    /// Lines that an earlier import had read.
    pub lines_before: u64,
    pub records: u64,
    pub imported: u64,
    pub duplicates: u64,
    /// Were in the ledger without a body, and have one now.
    pub completed: u64,
    pub left_out: u64,
    pub rejected: u64,
    /// What a person should know, and of how many.
    pub notes: BTreeMap<String, u64>,
    /// Of what was imported: why the job will not be able to decide it, and how many.
    pub cannot_be_decided: BTreeMap<String, u64>,
    /// Why records were rejected, and how many.
    pub reasons: BTreeMap<String, u64>,
    /// Where the rejected ones stand, with line and reason.
    pub quarantine: Option<PathBuf>,
}

impl Summary {
    /// Nothing but rejected records: the mapping is wrong, or the file.
    pub fn all_rejected(&self) -> bool {
        self.rejected > 0 && self.rejected == self.records
    }
}
