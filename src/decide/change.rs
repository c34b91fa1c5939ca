//! Deletes and updates: effects on a record that was there before.

use super::age::{Age, Made};
use super::group::{Group, succeeded};
use super::view::{self, Absence, matched_on};
use super::{Decision, create, defer, settle, unobservable};
use crate::evidence::{Attempt, Effect, KeyDigest, Kind, Look, Record};
use crate::words::{Action, Outcome, Reason, Seen, Status};

/// The rows "delete" of the verdict table.
pub fn decide_delete(group: &Group, attempt: &Attempt, index: usize, effect: &Effect) -> Decision {
    let Some(key) = effect.key else { return unobservable() };
    let identity = attempt.facts.identity;
    let settled = group.settled(identity);
    let looks = group.looks(attempt, index);
    let look = match view::believed(&looks, |look| look.seen == Seen::Absent) {
        Ok(look) => look,
        Err(doubt) => return doubt,
    };
    let record = match (look.seen, look.records.first()) {
        (Seen::Absent, _) => return gone(group, identity, key, look, &looks),
        (Seen::Present, Some(record)) if record.own => record,
        _ => return create::ambiguous(look, settled),
    };
    let present = |look: &Look| look.seen == Seen::Present;
    let absence = view::absence(&looks, settled, group.windows, false, present);
    // A delete by the server's own id can be repeated: no other record ever bears it.
    let wait = if record.is_key { Action::MayResend } else { Action::Wait };
    let still = |action, same| {
        view::not_yet(absence, wait).unwrap_or_else(|| {
            settle(Status::Resolved, Outcome::NotApplied, Reason::NotDeleted, action)
                .because(still_there(group, identity, absence, same))
        })
    };
    let decision = match which(group, identity, key, (look, record)) {
        Which::Same => still(Action::Resend, true),
        Which::Unknown => still(Action::Review, false),
        Which::Another | Which::Either if look.surely_asked() <= settled => defer(Reason::Unsettled, wait)
            .because(format!("a record is there, and until {settled} the delete may still be applied to it"))
            .not_before(settled),
        Which::Another => settle(Status::Resolved, Outcome::Satisfied, Reason::Recreated, Action::DoNotResend)
            .because("the record of before is gone; another one with the same key was made since".into()),
        Which::Either => settle(Status::DuplicateRisk, Outcome::Unknown, Reason::AmbiguousMatch, Action::Review)
            .because(
                "a record is there; whether it is the one that was to go, or was made since, cannot be said".into(),
            ),
    };
    decision.found(record.id.as_deref(), matched_on(effect.found_by.as_deref(), record))
}

/// Which record is there after a delete.
enum Which {
    /// The one that was to go, by its id or its age.
    Same,
    /// One that was made since.
    Another,
    /// Something tells that it may have been made since, and nothing that it was.
    Either,
    /// Nothing tells.
    Unknown,
}

fn which(group: &Group, identity: KeyDigest, key: KeyDigest, (look, record): (&Look, &Record)) -> Which {
    let first = group.first(identity);
    let last = group.last_sent(identity);
    let id = record.id.as_deref();
    let made = group.made(key, record, look);
    let seen_before = id.is_some_and(|id| group.first_seen(key, id).is_some_and(|seen| seen < first.earliest));
    let gone_since =
        last.is_some_and(|last| group.absent_after(key, last) || group.seen_otherwise_after(key, id, last));
    if record.is_key || seen_before {
        // One that was away and is back was restored, by whom and why nothing tells.
        return if gone_since { Which::Unknown } else { Which::Same };
    }
    if gone_since || last.is_some_and(|last| made.since(last)) {
        return Which::Another;
    }
    let otherwise = group.seen_otherwise(key, id);
    // A server that keeps the key unique had no other under it since.
    let before = made.age(first, group.spans(identity)) == Age::Before;
    if before && !otherwise && !group.answered_success(identity) {
        return Which::Same;
    }
    match made_meanwhile(group, identity, key, id) {
        Some(which) => which,
        None if otherwise => Which::Either,
        None => Which::Unknown,
    }
}

/// Whether a create that the ledger knows made the record since, for sure or perhaps.
fn made_meanwhile(group: &Group, identity: KeyDigest, key: KeyDigest, id: Option<&str>) -> Option<Which> {
    // What was seen before a create was sent is not its work.
    let seen = id.and_then(|id| group.first_seen(key, id));
    let able = |create: &&Attempt| seen.is_none_or(|seen| create.facts.sent().is_none_or(|sent| sent <= seen));
    let mut creates = group.creates_since(key, group.first_sent(identity)).filter(able).peekable();
    let perhaps = creates.peek().is_some() || group.answered_success(identity);
    // Told that it made it after every attempt of the delete, by a server that makes none where there is one.
    let last = group.last_sent(identity);
    let surely = |create: &Attempt| {
        let blocked = create.facts.repeat_blocked && create.facts.effects.len() == 1;
        let sent = create.facts.sending(group.windows).earliest();
        blocked && succeeded(create) && last.is_some_and(|last| sent > Some(last))
    };
    match creates.any(surely) {
        true => Some(Which::Another),
        false => perhaps.then_some(Which::Either),
    }
}

/// The record is not there (any more).
fn gone(group: &Group, identity: KeyDigest, key: KeyDigest, look: &Look, looks: &[&Look]) -> Decision {
    if group.create_in_doubt(key) {
        let absence =
            view::absence(looks, group.settled(identity), group.windows, true, |look| look.seen == Seen::Absent);
        if let Some(not_yet) = view::not_yet(absence, Action::Wait) {
            return not_yet;
        }
    } else if look.surely_asked() <= group.replicated {
        return defer(Reason::Unsettled, Action::Wait)
            .because("absent, but a replica may not show the record yet".into())
            .not_before(group.replicated);
    }
    settle(Status::Resolved, Outcome::Satisfied, Reason::Deleted, Action::None)
        .because(format!("absent at {}, as the delete asked for; what removed it cannot be known", look.asked))
}

fn still_there(group: &Group, identity: KeyDigest, absence: Absence, same: bool) -> String {
    let Absence::Confirmed { first, last } = absence else { return String::new() };
    let whether =
        if same { "the same record as before" } else { "whether it is the same record as before is not known" };
    format!(
        "still there at {first} and {last}, both after {}, with controls; {whether}; this assumes that nothing is applied later \
         than {} after a network failure or {} after a server error, a replica lag of {}, and that nobody made it so again meanwhile",
        group.settled(identity),
        group.windows.network,
        group.windows.server_error,
        group.windows.replica_lag
    )
}

/// The rows "update" of the verdict table, and of what makes a record or replaces it.
pub fn decide_update(group: &Group, attempt: &Attempt, index: usize, effect: &Effect) -> Decision {
    let Some(key) = effect.key else { return unobservable() };
    let identity = attempt.facts.identity;
    let first = group.first_sent(identity);
    let looks = group.looks(attempt, index);
    let look = match view::believed(&looks, |look| look.seen == Seen::Absent) {
        Ok(look) => look,
        Err(doubt) => return doubt,
    };
    if effect.kind == Kind::Upsert && look.seen == Seen::Absent {
        return not_made(group, (identity, key), effect, &looks);
    }
    let record = look.records.first().filter(|_| look.seen == Seen::Present);
    if record.is_some_and(|record| !record.own) {
        return create::ambiguous(look, group.settled(attempt.facts.identity));
    }
    let from_before = |look: &Look| look.records.first().is_some_and(|r| as_before(group, identity, effect, look, r));
    let unsettled = || {
        defer(Reason::Unsettled, Action::Wait)
            .because(format!("until {} the request may still become applied", group.settled(attempt.facts.identity)))
            .not_before(group.settled(attempt.facts.identity))
    };
    if look.surely_asked() <= group.settled(attempt.facts.identity) {
        return unsettled();
    }
    let decision = match record {
        Some(record) if record.equals() && !group.also_written(identity, effect, None) => {
            let decision = equal(group, identity, look, record);
            let explained = group.overtaken(identity) || group.answered_success(identity);
            if explained { equivalent() } else { decision }
        }
        Some(_)
            if from_before(look)
                && !group.overtaken(identity)
                && !group.answered_success(identity)
                && !group.also_written(identity, effect, first) =>
        {
            let absence =
                view::absence(&looks, group.settled(attempt.facts.identity), group.windows, false, from_before);
            view::not_yet(absence, Action::Wait).unwrap_or_else(|| {
                settle(Status::Resolved, Outcome::NotApplied, Reason::NotUpdated, Action::Resend)
                    .because(still_there(group, identity, absence, true))
            })
        }
        Some(_) => settle(Status::DuplicateRisk, Outcome::Unknown, Reason::Overwritten, Action::Review).because(
            "the record shows neither what was sent nor surely what was there before, or another write touched it"
                .into(),
        ),
        None => settle(Status::DuplicateRisk, Outcome::Unknown, Reason::Overwritten, Action::Review).because(
            "there is no record with this key: it is not known whether it was written and is gone, or never was".into(),
        ),
    };
    match record {
        Some(record) => decision.found(record.id.as_deref(), matched_on(effect.found_by.as_deref(), record)),
        None => decision,
    }
}

/// What should be made, or replace another, is not there.
fn not_made(group: &Group, (identity, key): (KeyDigest, KeyDigest), effect: &Effect, looks: &[&Look]) -> Decision {
    let absence = view::absence(looks, group.settled(identity), group.windows, true, |look| look.seen == Seen::Absent);
    view::not_yet(absence, Action::Wait).unwrap_or_else(|| {
        match create::removed(group, (identity, key), effect, looks) {
            true => create::removed_since(),
            false => create::confirmed_absent(group, identity, absence),
        }
    })
}

/// When the record was last changed, seen from the operation.
fn changed(group: &Group, identity: KeyDigest, look: &Look, record: &Record) -> Age {
    Made::said(record.changed, look).age(group.first(identity), group.spans(identity))
}

fn equal(group: &Group, identity: KeyDigest, look: &Look, record: &Record) -> Decision {
    if matches!(changed(group, identity, look, record), Age::Within(_)) {
        return settle(Status::Resolved, Outcome::Applied, Reason::Updated, Action::None)
            .because("every sent field is equal, and the record was changed after the first attempt".into());
    }
    equivalent()
}

fn equivalent() -> Decision {
    settle(Status::Resolved, Outcome::Satisfied, Reason::Equivalent, Action::None)
        .because("every sent field is equal; what made it so cannot be known".into())
}

/// The fields hold what they held before: they can have it only from before, or the record was changed last before the update
/// was sent, or an earlier look saw the same values, and no other write is known since. Who changed the record since may have
/// written over what was sent.
fn as_before(group: &Group, identity: KeyDigest, effect: &Effect, look: &Look, record: &Record) -> bool {
    let first = group.first_sent(identity);
    if record.equals() || look.seen != Seen::Present {
        return false;
    }
    if record.changed.is_some() {
        return changed(group, identity, look, record) == Age::Before;
    }
    let (Some(key), Some(first)) = (effect.key, first) else { return record.as_before };
    record.as_before
        || record.values.is_some_and(|values| {
            let earlier =
                group.looks_at(key).filter(|earlier| earlier.surely_answered() < first && view::sound(earlier));
            let shown = earlier.flat_map(|earlier| earlier.records.iter().map(move |r| (earlier.asked, r.values)));
            let latest = shown.filter(|(_, values)| values.is_some()).max();
            latest.is_some_and(|(asked, before)| {
                before == Some(values) && !group.also_written(identity, effect, Some(asked))
            })
        })
}
