//! The decision: from evidence to verdicts, pure and total.
//!
//! [`decide`] takes a group (everything that must be decided together) and says of each attempt either what became of
//! it or why that cannot be said yet. It does no I/O and reads no clock: the only times are those in the evidence, so
//! each verdict can be made again from the ledger. The rows of the verdict table stand in this order:
//!
//! | row | where |
//! |---|---|
//! | bad-row, other-environment, read, no-plan, not_sent, expired | here |
//! | create with a unique key | [`create`] |
//! | create listed under an owner | [`member`], on [`whose`], [`keyed`] and [`matching`] |
//! | delete, update | [`change`] |
//! | inbound webhook | [`inbound`] |
//! | several effects, several bodies, several readings of a URL | [`fold`], [`mixed`], [`readings`] |
//! | several attempts of one operation, several operations under one id | [`together`], [`requests`] |
//!
//! What a look may be believed for (controls, settled, confirmed) is [`view`]; what the group knows is [`group`].

mod age;
mod change;
mod create;
mod fold;
mod group;
mod inbound;
mod index;
pub mod matching;
mod member;
mod ownership;
mod readings;
mod requests;
mod together;
mod unique_key;
mod variants;
mod view;

#[cfg(test)]
mod laws;
#[cfg(test)]
mod oracle;
#[cfg(test)]
pub(crate) mod soak;
#[cfg(test)]
mod table;

use std::collections::BTreeMap;

use crate::clock::Moment;
use crate::evidence::{Attempt, Case, Class, Effect, Facts, Kind, Record, Windows};
use crate::words::{Action, Outcome, Reason, Status};
use age::{Age, Made};
use group::Group;
use ownership::Matchings;

/// The version of the rules: another number whenever the same evidence may come to another end (status, outcome, reason,
/// action, record, correction). Wording is no rule. It is stored with each decision, so that nobody takes what older rules
/// said for a mistake.
pub const RULES: i64 = 1;

/// What is said of one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is known what became of it, or that a person must find out.
    Settle(Verdict),
    /// It cannot be said yet.
    Defer(Deferral),
}

/// A settled answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub status: Status,
    pub outcome: Outcome,
    pub reason: Reason,
    pub action: Action,
    /// The record's id on the server; of several effects, each with its name.
    pub server_id: Option<String>,
    /// By what the record was recognised: the key and the fields that were equal.
    pub matched_on: Option<String>,
    /// Why, on what assumptions, in one or two sentences without personal values.
    pub explanation: String,
    /// It contradicts a verdict that somebody may have acted upon.
    pub correction: bool,
}

impl Verdict {
    /// Whether it comes to the same end, however it is worded.
    pub fn same_end(&self, other: &Verdict) -> bool {
        self.server_id == other.server_id && self.same_but_record(other)
    }

    /// Whether it comes to the same end, whatever the record is called.
    pub fn same_but_record(&self, other: &Verdict) -> bool {
        (self.status, self.outcome, self.reason, self.action, self.correction)
            == (other.status, other.outcome, other.reason, other.action, other.correction)
    }

    /// What it says rests on something that turned up: the effect, or what may be its. A verdict under watch falls to nothing
    /// else, and of such a verdict whoever acted upon the one before must hear.
    pub fn turned_up(&self) -> bool {
        let fulfilled = matches!(
            self.outcome,
            Outcome::Applied | Outcome::Satisfied | Outcome::Duplicated | Outcome::PartlyApplied
        );
        let may_be_its = matches!(
            self.reason,
            Reason::KeyTaken | Reason::ForeignRecords | Reason::AmbiguousMatch | Reason::Overwritten
        );
        fulfilled || may_be_its
    }
}

/// Why an entry stays pending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deferral {
    pub reason: Reason,
    pub action: Action,
    /// Before this instant nothing more can be decided. `None`: no time is known.
    pub not_before: Option<Moment>,
    pub explanation: String,
    /// The entry whose decision may change this one's advice, and is waited for.
    pub waits_for: Option<i64>,
}

/// Decides every attempt of a group, in the group's order. `answered` attempts get the verdict of their operation too;
/// the caller drops it, for they are evidence.
pub fn decide(case: &Case) -> Vec<Decision> {
    let requests = requests::apart(case);
    let group = Group::of(&requests);
    let ownership = ownership::matchings(&group);
    let alone = group.attempts.iter().map(|attempt| decide_attempt(&group, &ownership, attempt)).collect();
    let mut decisions = together::one_for_each_operation(&group, alone);
    together::beware_of_corrections(&group, &requests, &mut decisions);
    together::wait_for_each_other(&group, &mut decisions);
    let each = group.attempts.iter().zip(decisions);
    each.map(|(attempt, decision)| superseding(&group, attempt, decision)).collect()
}

/// Which attempts are of one operation: of each attempt the place of the operation's first one.
pub fn operations(case: &Case) -> Vec<usize> {
    let requests = requests::apart(case);
    let mut first = BTreeMap::new();
    let attempts = requests.case.attempts.iter().enumerate();
    attempts.map(|(place, attempt)| *first.entry(attempt.facts.identity).or_insert(place)).collect()
}

/// Of each of these rows the place of the first one that is an attempt of its operation, as [`operations`] tells them apart
/// under the ids of their own.
pub fn distinct_requests(rows: impl IntoIterator<Item = Facts>) -> Vec<usize> {
    let attempts = rows.into_iter().map(unlooked).collect();
    operations(&Case { windows: Windows::default(), attempts, removals: Vec::new() })
}

/// When the lists of a group can be looked at for the first time: before that more may still be made, by whichever attempt, and
/// nothing that they show decides anything.
pub fn lists_settled(case: &Case) -> Moment {
    group::settled_longest(case)
}

/// An attempt with one effect of this kind, and nothing else known.
#[cfg(test)]
pub fn attempt_of(kind: Kind) -> Attempt {
    table::attempt(kind)
}

/// When an attempt was sent that may have been applied, at the earliest and at the latest; `None` when it never was.
pub fn may_apply(facts: &Facts, windows: &Windows) -> Option<(Moment, Moment)> {
    let sent = facts.sending(windows);
    group::maybe_applied(&unlooked(facts.clone())).then_some((sent.earliest, sent.latest))
}

/// A row of which nothing is known but what it says.
fn unlooked(facts: Facts) -> Attempt {
    Attempt { entry: 0, facts, looks: Vec::new(), verdict: None, prior: None }
}

/// The verdict table, in its order.
fn decide_attempt(group: &Group, ownership: &Matchings, attempt: &Attempt) -> Decision {
    match &attempt.facts.class {
        Class::BadRow { why } => settle(Status::DuplicateRisk, Outcome::Unknown, Reason::BadRow, Action::Review)
            .because(format!("the row cannot be read: {why}; correct it by UPDATE and it is examined again")),
        Class::OtherEnvironment => defer(Reason::OtherEnvironment, Action::Review)
            .because("it was sent to another host or port than the configured server; record it in that server's ledger, name its host in `also` of [server] if it is the same server, or close it".into()),
        Class::Read => settle(Status::Resolved, Outcome::NotApplied, Reason::NoEffect, Action::None)
            .because("a read changes nothing; it may be sent again at any time".into()),
        Class::NoPlan => settle(Status::DuplicateRisk, Outcome::Unknown, Reason::NoPlan, Action::Review)
            .because("no operation of the plan matches it (by method and path; a webhook by its body); add it to the plan, or review it by hand".into()),
        Class::Planned if group.never_sent(attempt) => {
            let never_sent = |action| settle(Status::Resolved, Outcome::NotApplied, Reason::NeverSent, action);
            match group.written_since(attempt) {
                true => never_sent(Action::Review).because(
                    "no byte of any attempt of this operation left its sender, but the ledger holds a later write to the same: sending this one now would put an older value back".into(),
                ),
                false => never_sent(Action::Resend)
                    .because("no byte of any attempt of this operation left its sender".into()),
            }
        }
        Class::Planned if group.all_were_answered(attempt) => {
            settle(Status::Resolved, Outcome::Satisfied, Reason::Present, Action::None)
                .because("every attempt of this operation that left its sender was answered, and it succeeded".into())
        }
        Class::Planned if group.all_were_refused(attempt) => {
            settle(Status::Resolved, Outcome::NotApplied, Reason::NeverSent, Action::Review).because(
                "every attempt of this operation that left its sender was refused for what it holds; correct it and send it anew".into(),
            )
        }
        Class::Planned => {
            let parts: Vec<Decision> =
                attempt.facts.effects.iter().enumerate().map(|(i, effect)| decide_effect(group, ownership, attempt, i, effect)).collect();
            let decision = expired(group, attempt, fold::fold(&attempt.facts.effects, parts));
            if group.none_was_taken(attempt) { to_be_corrected(decision) } else { decision }
        }
    }
}

/// Every attempt was refused, the last word on it being that something is there already; what it asked for is not there.
fn to_be_corrected(decision: Decision) -> Decision {
    match decision {
        Decision::Settle(verdict) if verdict.action == Action::Resend => {
            settle(Status::Resolved, Outcome::NotApplied, Reason::NeverSent, Action::Review).because(
                "every attempt of this operation that left its sender was refused, and what it asked for is not there; correct it and send it anew".into(),
            )
        }
        decision => decision,
    }
}

fn decide_effect(group: &Group, ownership: &Matchings, attempt: &Attempt, index: usize, effect: &Effect) -> Decision {
    let alone = |attempt: &Attempt, effect: &Effect| decide_alone(group, ownership, attempt, index, effect);
    variants::across(group, (attempt, index, effect), alone(attempt, effect), alone)
}

/// What the looks of one attempt say of its effect.
fn decide_alone(group: &Group, ownership: &Matchings, attempt: &Attempt, index: usize, effect: &Effect) -> Decision {
    match effect.kind {
        Kind::Create => create::decide(group, attempt, index, effect),
        Kind::Member => member::decide(group, ownership, attempt, index, effect),
        Kind::Blind => unobservable(),
        Kind::Delete => change::decide_delete(group, attempt, index, effect),
        Kind::Update | Kind::Upsert => change::decide_update(group, attempt, index, effect),
        Kind::Inbound => inbound::decide(group, attempt, index),
    }
}

/// Undecided for too long: a person must ask. Age says nothing about what happened, so the outcome stays unknown.
fn expired(group: &Group, attempt: &Attempt, decision: Decision) -> Decision {
    let Decision::Defer(deferral) = decision else { return decision };
    let span = group.windows.expire_after;
    let over = (0..attempt.facts.effects.len()).any(|effect| {
        // What was seen under another plan is of a question that was not asked any more.
        let mut looks = attempt.looks.iter().filter(|look| look.effect == effect && look.current);
        let first = looks.next().map(|look| look.asked);
        first.is_some_and(|first| looks.next_back().is_some_and(|last| last.surely_asked() >= first + span))
    });
    if !over || matches!(deferral.reason, Reason::OtherEnvironment | Reason::Uncontrolled) {
        return Decision::Defer(deferral);
    }
    settle(Status::DuplicateRisk, Outcome::Unknown, Reason::Expired, Action::AskPrivo)
        .because(format!("still {} {span} after the first look; {}", deferral.reason, deferral.explanation))
}

/// What is new about a verdict for an entry that has one, or had one before its row was changed or another joined its
/// group: whoever acted on the advice before must hear when it changes, unless having followed it explains the change.
fn superseding(group: &Group, attempt: &Attempt, decision: Decision) -> Decision {
    let before = attempt.verdict.as_ref().or(attempt.prior.as_ref());
    let (Some(before), Decision::Settle(mut verdict)) = (before, decision.clone()) else { return decision };
    // These say that nothing was known, or what was so at a time: what is said now is news, and contradicts nothing.
    let knew_nothing = matches!(
        before.reason,
        Reason::BadRow | Reason::NoPlan | Reason::OtherEnvironment | Reason::StateFetched | Reason::Closed
    );
    let followed = before.action == Action::Resend && resend_explains(group, attempt, before.decided);
    if !knew_nothing && before.action != verdict.action && !followed {
        verdict.correction = true;
        verdict.explanation = format!(
            "correction of {} ({}) of {}: {}",
            before.outcome, before.reason, before.decided, verdict.explanation
        );
    }
    Decision::Settle(verdict)
}

/// Whether what was found can be the work of a resend that followed the verdict: made after it by the server's own
/// word, or, where that does not say whether it was before or after, recorded as sent again after it.
fn resend_explains(group: &Group, attempt: &Attempt, decided: Moment) -> bool {
    let sent_again = group.sent_again_since(attempt, decided);
    attempt.facts.effects.iter().enumerate().all(|(index, effect)| {
        let looks = group.looks(attempt, index);
        let Some(look) = looks.last() else { return sent_again };
        let older = |made: &Made| made.age(group.first(attempt.facts.identity), &[]) == Age::Before;
        let made = |record: &Record| Made::said(record.made, look);
        let times: Vec<Option<Made>> = match effect.kind {
            Kind::Update => look.records.iter().map(|r| r.changed.map(|_| Made::said(r.changed, look))).collect(),
            Kind::Upsert => {
                let changed = |record: &Record| record.changed.or(record.made);
                look.records.iter().map(|r| changed(r).map(|at| Made::said(Some(at), look))).collect()
            }
            Kind::Create | Kind::Member => {
                let young = look.records.iter().filter(|record| !older(&made(record)));
                young.map(|record| record.made.map(|_| made(record))).collect()
            }
            Kind::Blind | Kind::Delete | Kind::Inbound => Vec::new(),
        };
        let after = |time: &Option<Made>| {
            let before = time.is_some_and(|time| time.before(decided));
            sent_again && !before || time.is_some_and(|time| time.since(decided))
        };
        if times.is_empty() { sent_again } else { times.iter().all(after) }
    })
}

/// Starts a settled answer.
fn settle(status: Status, outcome: Outcome, reason: Reason, action: Action) -> Decision {
    Decision::Settle(Verdict {
        status,
        outcome,
        reason,
        action,
        server_id: None,
        matched_on: None,
        explanation: String::new(),
        correction: false,
    })
}

/// The row "create, nothing to look up by" of the verdict table; so is anything else that cannot be looked up.
fn unobservable() -> Decision {
    settle(Status::DuplicateRisk, Outcome::Unknown, Reason::Unobservable, Action::AskPrivo)
        .because("nothing that the server can be asked shows whether this was applied".into())
}

/// Starts a deferral.
fn defer(reason: Reason, action: Action) -> Decision {
    Decision::Defer(Deferral { reason, action, not_before: None, explanation: String::new(), waits_for: None })
}

impl Decision {
    /// Gives the explanation.
    fn because(mut self, why: String) -> Decision {
        match &mut self {
            Decision::Settle(verdict) => verdict.explanation = why,
            Decision::Defer(deferral) => deferral.explanation = why,
        }
        self
    }

    /// Names the record and what it was recognised by.
    fn found(mut self, server_id: Option<&str>, matched_on: String) -> Decision {
        if let Decision::Settle(verdict) = &mut self {
            verdict.server_id = server_id.map(str::to_owned);
            verdict.matched_on = Some(matched_on).filter(|text| !text.is_empty());
        }
        self
    }

    /// Says from when on more can be decided.
    fn not_before(mut self, moment: Moment) -> Decision {
        if let Decision::Defer(deferral) = &mut self {
            deferral.not_before = Some(moment);
        }
        self
    }

    /// The reason, of either kind.
    pub fn reason(&self) -> Reason {
        match self {
            Decision::Settle(verdict) => verdict.reason,
            Decision::Defer(deferral) => deferral.reason,
        }
    }

    /// The advice, of either kind.
    pub fn action(&self) -> Action {
        match self {
            Decision::Settle(verdict) => verdict.action,
            Decision::Defer(deferral) => deferral.action,
        }
    }
}
