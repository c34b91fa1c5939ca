//! Creates of records that the server does not keep unique, but lists under a known owner: a parent's children.
//!
//! Who made which record is a question about the whole list: [`whose`](super::whose) answers it once for each owner.

use super::age::Age;
use super::group::{Group, maybe_applied};
use super::matching::Fit;
use super::ownership::{Known, Matchings, age_of, candidates, conclusive};
use super::view::{self, Absence, View, matched_on, store_or_review};
use super::{Decision, defer, settle};
use crate::evidence::{Attempt, Effect, KeyDigest, Kind, Look, Record};
use crate::words::{Action, Control, Outcome, Reason, Status};

/// The rows "create, not unique, listed under a known owner" of the verdict table.
pub fn decide(group: &Group, ownership: &Matchings, attempt: &Attempt, index: usize, effect: &Effect) -> Decision {
    let identity = attempt.facts.identity;
    if effect.key.is_none() {
        return super::unobservable();
    }
    let looks = group.looks(attempt, index);
    let settled = group.settled_longest;
    if looks.is_empty() {
        return defer(Reason::Unsettled, Action::Wait)
            .because(format!("the list is looked at when nothing more can be made, after {settled}"))
            .not_before(settled);
    }
    let none = |look: &Look| conclusive(look) && candidates(group, identity, look).next().is_none();
    let look = match view::view(&looks, settled, group.windows, none) {
        View::Nothing(decision) => return decision,
        View::Present(look) | View::Several(look) => look,
        View::Absent(absence) => {
            return view::not_yet(absence, Action::Wait)
                .unwrap_or_else(|| absent(group, (attempt, index, effect), &looks, absence));
        }
    };
    if look.surely_asked() <= settled {
        return defer(Reason::Unsettled, Action::Wait)
            .because(format!("a record matches, but until {settled} another may still be made"))
            .not_before(settled);
    }
    if group.overtaken(identity) {
        return settle(Status::DuplicateRisk, Outcome::Unknown, Reason::AmbiguousMatch, Action::Review)
            .because("a record matches, but others that may have made it are known no more".into());
    }
    match ownership.get(&(identity, index)) {
        Some(Some(known)) => fitted(group, identity, effect, look, known),
        _ => defer(Reason::Inconclusive, Action::Wait)
            .because("another operation under the same owner has not been looked at yet".into()),
    }
}

/// None of the owner's list matches, and that is confirmed.
fn absent(
    group: &Group,
    (attempt, index, effect): (&Attempt, usize, &Effect),
    looks: &[&Look],
    absence: Absence,
) -> Decision {
    let identity = attempt.facts.identity;
    let review = |reason, why: &str| {
        settle(Status::DuplicateRisk, Outcome::Unknown, reason, Action::Review).because(why.to_owned())
    };
    let last = looks.last().copied();
    let by_any = || group.operation(identity).flat_map(|attempt| view::in_order(&attempt.looks, index));
    // One that is there still, and known by now to be too old, was not removed.
    let still = |record: &Record| last.is_some_and(|last| last.records.iter().any(|r| r.id == record.id));
    let once = by_any().any(|look| candidates(group, identity, look).any(|record| !still(record)));
    if once || group.answered_success(identity) {
        return review(
            Reason::RemovedSince,
            "none matches now, but one did once or the operation was answered with success",
        );
    }
    if group.overtaken(identity) {
        return review(Reason::RemovedSince, "none matches now, but who may have removed one is known no more");
    }
    let first = match absence {
        Absence::Confirmed { first, .. } => Some(first),
        Absence::Unsettled { .. } | Absence::Unconfirmed { .. } => None,
    };
    if group.removable(effect, group.first_sent(identity), first) {
        return review(
            Reason::RemovedSince,
            "none matches now, but the ledger holds a delete that may have removed it, or its owner and all that belonged to it",
        );
    }
    if last.is_some_and(Look::owner_is_absent) && !makes_owner(attempt, effect) {
        return review(
            Reason::RemovedSince,
            "its owner is not there (any more), and an owner that is absent is no empty list: what was listed under it cannot be known",
        );
    }
    if last.is_some_and(|last| written_otherwise(group, (identity, index), last)) {
        return review(
            Reason::AmbiguousMatch,
            "none matches, but a record of the list is equal in some of what was sent and differs in other: it may be this one, written otherwise",
        );
    }
    settle(Status::Resolved, Outcome::NotApplied, Reason::ConfirmedAbsent, Action::Resend).because(format!(
        "no record of the owner's list matches; {}; that nobody renamed it, nor another client's like record was taken for it, is assumed too",
        view::assuming(group.windows, group.settled_longest, absence)
    ))
}

/// The same request makes the owner: where the owner is not, neither is what would be listed under it. Where no lookup finds
/// the owner, nothing shows that.
fn makes_owner(attempt: &Attempt, effect: &Effect) -> bool {
    let Some(owner) = effect.owner_record else { return false };
    let makes = |other: &Effect| other.kind == Kind::Create && other.keys().any(|key| key == owner);
    attempt.facts.effects.iter().any(makes)
}

/// A record that is equal in some fields and not in others, is not surely older, and that nothing else explains.
fn written_otherwise(group: &Group, item: (KeyDigest, usize), look: &Look) -> bool {
    let (identity, _) = item;
    let near = |record: &&Record| {
        record.nearly_matches()
            && !group.is_keyed(record)
            && age_of(group, identity, record, look) != Age::Before
            && !group.seen_before(identity, record)
            && !group.explained_by_another(item, record)
    };
    // What was turned away made nothing, however it is written.
    let able = group.operation(identity).any(maybe_applied);
    // What the configuration says of a known record proved every comparison.
    able && look.fields != Control::Held && look.records.iter().any(|record| near(&record))
}

fn fitted(group: &Group, identity: KeyDigest, effect: &Effect, look: &Look, known: &Known) -> Decision {
    let review = |outcome, reason, action, why: &str| {
        settle(Status::DuplicateRisk, outcome, reason, action).because(why.to_owned())
    };
    match known.fit {
        Fit::Exactly(_) | Fit::ExactlyAmongMore(_) => match look.records.iter().find(|record| record.id == known.id) {
            Some(record) => one(group, identity, effect, look, record, known.proved),
            None => review(
                Outcome::Unknown,
                Reason::AmbiguousMatch,
                Action::Review,
                "the matching record was not seen by this look",
            ),
        },
        Fit::Duplicated => review(
            Outcome::Duplicated,
            Reason::Duplicated,
            Action::AskPrivo,
            "more records match than operations asked for, as many as attempts can have made; PRIVO must say which to keep",
        ),
        Fit::Foreign => review(
            Outcome::Unknown,
            Reason::ForeignRecords,
            Action::AskPrivo,
            "more records match than all attempts together can have made: another client made some, or the server applied one twice",
        ),
        Fit::Underdetermined => review(
            Outcome::Unknown,
            Reason::Underdetermined,
            Action::Review,
            "fewer records match than operations asked for, and the records cannot show which of these operations was applied",
        ),
        Fit::Ambiguous | Fit::None => review(
            Outcome::Unknown,
            Reason::AmbiguousMatch,
            Action::Review,
            "enough records match, but which is whose differs between possible histories",
        ),
    }
}

fn one(group: &Group, identity: KeyDigest, effect: &Effect, look: &Look, record: &Record, proved: bool) -> Decision {
    let store = store_or_review(effect, record);
    let made_within = matches!(age_of(group, identity, record, look), Age::Within(_));
    let decision = if made_within && proved && !group.answered_success(identity) {
        settle(Status::Resolved, Outcome::Applied, Reason::Created, store).because(format!(
            "this record is the operation's in every possible history, and it was made after the first attempt; {}",
            view::ASSUMING_NO_OTHER
        ))
    } else {
        settle(Status::Resolved, Outcome::Satisfied, Reason::Present, store).because(
            "this record is the operation's in every possible history; it, or another that matches, may be older than the first attempt".into(),
        )
    };
    decision.found(record.id.as_deref(), matched_on(effect.found_by.as_deref(), record))
}
