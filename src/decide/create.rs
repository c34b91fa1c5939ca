//! Creates of a record with a key that the server keeps unique.

use super::age::Age;
use super::group::Group;
use super::view::{self, View, matched_on, store_or_review};
use super::{Decision, settle};
use crate::clock::Moment;
use crate::evidence::{Attempt, Effect, KeyDigest, Look, Record};
use crate::words::{Action, Outcome, Reason, Seen, Status};

/// The rows "create, unique key" of the verdict table.
pub fn decide(group: &Group, attempt: &Attempt, index: usize, effect: &Effect) -> Decision {
    let identity = attempt.facts.identity;
    let Some(key) = effect.key else { return super::unobservable() };
    let looks = group.looks(attempt, index);
    let removed = || removed(group, (identity, key), effect, &looks);
    // The server blocks the repeat of what is there, not of what was taken away.
    let wait = if attempt.facts.repeat_blocked && !removed() { Action::MayResend } else { Action::Wait };
    match view::view(&looks, group.settled(identity), group.windows, |look| look.seen == Seen::Absent) {
        View::Nothing(decision) => decision,
        View::Several(look) => ambiguous(look, group.settled(identity)),
        View::Present(look) => match look.records.first() {
            Some(record) if record.own => present(group, (attempt, effect, key), look, record),
            _ => ambiguous(look, group.settled(identity)),
        },
        View::Absent(absence) => view::not_yet(absence, wait)
            .unwrap_or_else(|| if removed() { removed_since() } else { confirmed_absent(group, identity, absence) }),
    }
}

/// What is absent now may have been there once: it was seen, or an answer says so, or something that is known may have taken
/// it away.
pub fn removed(group: &Group, (identity, key): (KeyDigest, KeyDigest), effect: &Effect, looks: &[&Look]) -> bool {
    let first = group.first_sent(identity);
    group.seen_present(key)
        || group.answered_success(identity)
        || group.made_since(key, first)
        || group.removable(effect, first, view::first_absence(looks, group.settled(identity)))
        || group.overtaken(identity)
}

fn present(
    group: &Group,
    (attempt, effect, key): (&Attempt, &Effect, KeyDigest),
    look: &Look,
    record: &Record,
) -> Decision {
    let identity = attempt.facts.identity;
    let age = group.age(identity, key, record, look);
    let in_time = matches!(age, Age::Within(_));
    let deletes = effect.keys().filter_map(|key| group.deletes_settled(key)).max();
    if let Some(until) = deletes.filter(|until| !in_time && look.surely_asked() <= *until) {
        return super::defer(Reason::Unsettled, Action::Wait)
            .because("the record may be older than the first attempt, and a delete of it is in doubt or not on every replica yet: until the windows are over the one may be applied and then the other".into())
            .not_before(until);
    }
    let made_it = matches!(age, Age::Within(made) if !group.otherwise_explained(identity, key, made));
    let taken = record.differs() && age != Age::Before;
    if effect.does_more && !record.shows_more && !made_it && !taken {
        return unshown(group.settled(identity), look);
    }
    let store = store_or_review(effect, record);
    // Somebody else's record fulfils nothing, and its id must not be stored as a part's.
    let fulfils_a_part = attempt.facts.effects.len() > 1 && record.differs();
    match age {
        // An account of before that shows what the request does beyond making it may show this request's work.
        Age::Before if !fulfils_a_part && !effect.does_more => {
            settle(Status::Resolved, Outcome::NotApplied, Reason::Preexisting, Action::DoNotResend)
                .because(format!(
                    "the record was made before the first attempt, and the server keeps its key unique; this assumes that nobody removes it before {}",
                    group.settled(identity)
                ))
        }
        _ if record.differs() => settle(Status::DuplicateRisk, Outcome::Unknown, Reason::KeyTaken, Action::Review)
            .because("a record with this key exists, but what it shows differs from what was sent".into()),
        Age::Within(_) if made_it => {
            settle(Status::Resolved, Outcome::Applied, Reason::Created, store).because(format!(
                "the record was made after the first attempt and within its window, and nothing in the ledger but this operation explains it; {}",
                view::ASSUMING_NO_OTHER
            ))
        }
        Age::Before | Age::Within(_) | Age::After | Age::Unknown => {
            settle(Status::Resolved, Outcome::Satisfied, Reason::Present, store)
                .because("the record exists; which request made it cannot be known, and it is there once".into())
        }
    }
    .found(record.id.as_deref(), matched_on(effect.found_by.as_deref(), record))
}

/// The record is there, whether or not the request did what it does beyond making it.
fn unshown(settled: Moment, look: &Look) -> Decision {
    if look.surely_asked() <= settled {
        return super::defer(Reason::Unsettled, Action::Wait)
            .because(format!(
                "the record may be older than the request, which does more than make it; until {settled} that may still show"
            ))
            .not_before(settled);
    }
    settle(Status::DuplicateRisk, Outcome::Unknown, Reason::Unobservable, Action::AskPrivo).because(
        "the record is there, but the request does more than make it, and nothing shows whether the rest was done"
            .into(),
    )
}

/// It cannot be said whose record it is.
pub fn ambiguous(look: &Look, settled: Moment) -> Decision {
    if look.surely_asked() <= settled {
        return super::defer(Reason::Unsettled, Action::Wait)
            .because("a record is found under another spelling of the key only; what it is cannot be said before the window is over".into())
            .not_before(settled);
    }
    settle(Status::DuplicateRisk, Outcome::Unknown, Reason::AmbiguousMatch, Action::Review)
        .because("the spellings of this key lead to different answers, so it cannot be said whose record it is".into())
}

pub fn confirmed_absent(group: &Group, identity: KeyDigest, absence: view::Absence) -> Decision {
    settle(Status::Resolved, Outcome::NotApplied, Reason::ConfirmedAbsent, Action::Resend).because(view::assuming(
        group.windows,
        group.settled(identity),
        absence,
    ))
}

pub fn removed_since() -> Decision {
    settle(Status::DuplicateRisk, Outcome::Unknown, Reason::RemovedSince, Action::Review)
        .because("absent now, but it was there once or a later delete may have removed it".into())
}
