//! The verdict table, row by row, as literal tests: evidence in, status, outcome, reason and action out.
//!
//! Every test is named after its row. Times are minutes after the first attempt; an attempt is a timeout unless it says
//! otherwise, so with the default windows a group is settled after minute 15 and confirmed ten minutes after the first
//! look. What is said is written as the report would say it: `resolved applied created store-id`, or for what cannot be
//! decided yet `pending unsettled wait`.

mod age;
mod change;
mod create;
mod general;
mod member;
mod overtaken;
mod readings;
mod requests;
mod several;
mod streak;
mod together;

use super::{Decision, decide};
use crate::clock::{Moment, Span};
use crate::evidence::{Attempt, Case, Class, Effect, Facts, KeyDigest, Kind, Look, Record, Settled, Window, Windows};
use crate::words::{Action, Compared, Control, Direction, Failure, Outcome, Reason, Seen, Status};

/// The first attempt's minute.
const START: Moment = Moment(1_767_225_600_000);
pub const HOUR: i64 = 60;
pub const DAY: i64 = 24 * HOUR;

/// A minute after the first attempt.
pub fn at(minute: i64) -> Moment {
    START + Span(minute * 60_000)
}

pub fn link(n: u8) -> KeyDigest {
    KeyDigest([n; 16])
}

/// An effect on the key (or the owner) that the tests share.
pub fn effect(kind: Kind) -> Effect {
    Effect {
        name: "account".into(),
        kind,
        lookup: Some("account-by-email".into()),
        key: Some(link(200)),
        also: vec![],
        owner: None,
        owner_record: None,
        found_by: Some("email".into()),
        own_key: false,
        comparable: true,
        does_more: false,
        targets: vec![link(220)],
        values: vec![],
        alternative: false,
    }
}

/// A timeout of operation 1, sent and given up at minute 0.
pub fn attempt(kind: Kind) -> Attempt {
    let facts = Facts {
        class: Class::Planned,
        operation: Some("operation".into()),
        method: "POST".into(),
        path: "/account".into(),
        subject: None,
        direction: if kind == Kind::Inbound { Direction::Inbound } else { Direction::Outbound },
        failure: Some(Failure::Timeout),
        http_status: None,
        already_there: false,
        key_is_there: false,
        sent: Some(at(0)),
        sent_ahead: false,
        overtaken: false,
        sealed: None,
        ended: at(0),
        arrived: None,
        clock_error: None,
        window: Window::Network,
        identity: link(1),
        repeat_blocked: false,
        effects: vec![effect(kind)],
    };
    Attempt { entry: 1, facts, looks: vec![], verdict: None, prior: None }
}

/// What may be said otherwise of an attempt.
pub trait With: Sized {
    fn with(self, change: impl FnOnce(&mut Attempt)) -> Self;

    fn op(self, n: u8) -> Self {
        self.with(|a| a.facts.identity = link(n))
    }
    fn sent(self, minute: i64) -> Self {
        self.with(|a| (a.facts.sent, a.facts.ended) = (Some(at(minute)), at(minute)))
    }
    fn http(self) -> Self {
        self.failed(Failure::Http, Window::ServerError, Some(503))
    }
    fn intent(self) -> Self {
        self.failed(Failure::Intent, Window::Intent, None)
    }
    fn not_sent(self) -> Self {
        self.failed(Failure::NotSent, Window::None, None)
    }
    fn answered(self, status: u16) -> Self {
        self.failed(Failure::Answered, Window::None, Some(status))
    }
    fn failed(self, failure: Failure, window: Window, status: Option<u16>) -> Self {
        self.with(|a| (a.facts.failure, a.facts.window, a.facts.http_status) = (Some(failure), window, status))
    }
    fn class(self, class: Class) -> Self {
        self.with(|a| a.facts.class = class)
    }
    /// The server blocks a repeat of every effect.
    fn blocked(self) -> Self {
        self.with(|a| a.facts.repeat_blocked = true)
    }
    fn effects<const N: usize>(self, effects: [Effect; N]) -> Self {
        self.with(|a| a.facts.effects = effects.into())
    }
    fn changed(self, change: impl FnOnce(&mut Effect)) -> Self {
        self.with(|a| change(&mut a.facts.effects[0]))
    }
    fn saw<const N: usize>(self, looks: [Look; N]) -> Self {
        self.with(|a| a.looks.extend(looks))
    }
    /// It was settled before.
    fn settled(self, minute: i64, outcome: Outcome, reason: Reason, id: Option<&str>) -> Self {
        let server_id = id.map(str::to_owned);
        let status = Status::Resolved;
        // What such a verdict advises, as far as the tests tell it apart.
        let action = match (outcome, reason) {
            (Outcome::NotApplied, Reason::Preexisting) => Action::DoNotResend,
            (Outcome::NotApplied, _) => Action::Resend,
            _ if server_id.is_some() => Action::StoreId,
            _ => Action::None,
        };
        let verdict = Settled { decided: at(minute), status, outcome, reason, action, server_id, looks: 0 };
        self.with(|a| a.verdict = Some(Settled { looks: a.looks.len(), ..verdict }))
    }
    /// A person ended it, without knowing what became of it.
    fn closed(self, minute: i64) -> Self {
        self.settled(minute, Outcome::Unknown, Reason::Closed, None)
    }
}

impl With for Attempt {
    fn with(mut self, change: impl FnOnce(&mut Attempt)) -> Attempt {
        change(&mut self);
        self
    }
}

/// A look at the first effect, with both controls behind it and a server whose clock is the job's.
pub fn look(minute: i64, seen: Seen, records: Vec<Record>) -> Look {
    Look {
        effect: 0,
        current: true,
        asked: at(minute),
        answered: at(minute) + Span(200),
        server: Some(at(minute)),
        seen,
        cause: None,
        records,
        state: None,
        known: Control::Held,
        random: Control::Held,
        ..Look::default()
    }
}

pub fn absent_at(minute: i64) -> Look {
    look(minute, Seen::Absent, vec![])
}

pub fn present_at(minute: i64, record: Record) -> Look {
    look(minute, Seen::Present, vec![record])
}

/// A list's answer: the records that may be the effect's.
pub fn list_at<const N: usize>(minute: i64, records: [Record; N]) -> Look {
    look(minute, [Seen::Absent, Seen::Present, Seen::Several][N.min(2)], records.into())
}

pub fn inconclusive_at(minute: i64) -> Look {
    look(minute, Seen::Inconclusive, vec![])
}

/// What may be said otherwise of a look.
pub trait Seeing: Sized {
    fn seeing(self, change: impl FnOnce(&mut Look)) -> Self;

    fn of(self, effect: usize) -> Self {
        self.seeing(|l| l.effect = effect)
    }
    fn known(self, control: Control) -> Self {
        self.seeing(|l| l.known = control)
    }
    fn random(self, control: Control) -> Self {
        self.seeing(|l| l.random = control)
    }
}

impl Seeing for Look {
    fn seeing(mut self, change: impl FnOnce(&mut Look)) -> Look {
        change(&mut self);
        self
    }
}

/// A record of the entry's own spelling, equal in what it shows, made half a minute after the minute.
pub fn record(id: &str, made: i64) -> Record {
    Record {
        id: Some(id.into()),
        made: Some(at(made) + Span(30_000)),
        own: true,
        fields: vec![("given_name".into(), Compared::Equal)],
        ..Record::default()
    }
}

/// The same, but the server does not say when it was made.
pub fn undated(id: &str) -> Record {
    Record { made: None, ..record(id, 0) }
}

pub fn with_field(record: Record, compared: Compared) -> Record {
    Record { fields: vec![("given_name".into(), compared)], ..record }
}

/// What is decided of each attempt under these windows.
pub fn decided<const N: usize>(windows: &Windows, attempts: [Attempt; N]) -> Vec<Decision> {
    let mut attempts: Vec<Attempt> = attempts.into();
    for (entry, attempt) in (1..).zip(&mut attempts) {
        attempt.entry = entry;
    }
    decide(&Case { windows: windows.clone(), attempts, removals: vec![] })
}

pub fn text(decision: &Decision) -> String {
    match decision {
        Decision::Settle(v) => format!("{} {} {} {}", v.status, v.outcome, v.reason, v.action),
        Decision::Defer(d) => format!("pending {} {}", d.reason, d.action),
    }
}

/// What is said of each attempt under the default windows.
pub fn said<const N: usize>(attempts: [Attempt; N]) -> [String; N] {
    said_under(&Windows::default(), attempts)
}

pub fn said_under<const N: usize>(windows: &Windows, attempts: [Attempt; N]) -> [String; N] {
    let decisions = decided(windows, attempts);
    std::array::from_fn(|i| text(&decisions[i]))
}

/// Not before which minute more can be said.
pub fn not_before(decision: &Decision) -> Option<Moment> {
    match decision {
        Decision::Defer(deferral) => deferral.not_before,
        Decision::Settle(_) => None,
    }
}

/// Whether it contradicts, loudly, what was said before.
pub fn is_loud(decision: &Decision) -> bool {
    matches!(decision, Decision::Settle(verdict) if verdict.correction)
}
