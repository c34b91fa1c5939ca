//! What really happened: the journal that the sandbox keeps, and its public form.

use std::collections::BTreeMap;

use serde::Serialize;

use super::records::{Account, Consent, Doing, Way};

/// One thing that a request made true.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Applied {
    /// `account made`, `account deleted`, `consent requested`, `consent decided`,
    /// `mail sent`, `features revoked`, `features set`, `features asked for` or `assurance set`.
    pub what: &'static str,
    /// The id of the account or consent that was made or changed.
    pub record: String,
    /// Milliseconds since the epoch.
    pub applied_ms: i64,
    pub way: Way,
}

/// An application that the server refused, so that nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Blocked {
    pub cause: String,
    /// The mutation, for example `register`.
    pub what: &'static str,
    /// The server's message, for example `email exists`.
    pub why: String,
    /// Milliseconds since the epoch.
    pub at_ms: i64,
    pub way: Way,
}

/// A mutation that has yet to be applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Upcoming {
    pub cause: String,
    pub what: &'static str,
    /// Milliseconds since the epoch.
    pub apply_at_ms: i64,
    pub way: Way,
}

/// Mails to parents and granters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Mails {
    pub total: u64,
    pub by_cause: BTreeMap<String, u64>,
}

/// Everything that the sandbox knows at a moment.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Truth {
    /// The moment, in milliseconds since the epoch.
    pub now_ms: i64,
    /// Every account ever made, in order of creation.
    pub accounts: Vec<Account>,
    /// Every consent ever asked for, in order of creation.
    pub consents: Vec<Consent>,
    pub mails: Mails,
    pub tokens_issued: u64,
    /// Requests that arrived, by path template, `unknown` for all other paths.
    pub requests: BTreeMap<String, u64>,
    /// What each request made true, by its cause, in order of application.
    pub per_request: BTreeMap<String, Vec<Applied>>,
    /// Applications that the server refused.
    pub blocked: Vec<Blocked>,
    /// Late applications and repairs that are still to come, in order of time.
    pub scheduled: Vec<Upcoming>,
}

/// The part of the truth that is written down as it happens.
#[derive(Debug, Default)]
pub(super) struct Journal {
    pub mails: Mails,
    pub per_request: BTreeMap<String, Vec<Applied>>,
    pub blocked: Vec<Blocked>,
}

impl Journal {
    pub fn applied(&mut self, doing: &Doing, what: &'static str, record: &str) {
        let applied = Applied { what, record: record.to_owned(), applied_ms: doing.at_ms, way: doing.way };
        match self.per_request.get_mut(doing.cause) {
            Some(list) => list.push(applied),
            None => {
                self.per_request.insert(doing.cause.to_owned(), vec![applied]);
            }
        }
    }

    pub fn mail(&mut self, doing: &Doing, record: &str) {
        self.mails.total += 1;
        *self.mails.by_cause.entry(doing.cause.to_owned()).or_default() += 1;
        self.applied(doing, "mail sent", record);
    }

    pub fn blocked(&mut self, doing: &Doing, what: &'static str, why: &str) {
        self.blocked.push(Blocked {
            cause: doing.cause.to_owned(),
            what,
            why: why.to_owned(),
            at_ms: doing.at_ms,
            way: doing.way,
        });
    }
}
