//! Deletes and updates: effects on a record that was there before.

use super::age::Age;
use super::group::Group;
use super::view::{self, Absence, matched_on};
use super::{Decision, defer, settle, unobservable};
use crate::clock::Moment;
use crate::evidence::{Attempt, Effect, Link, Look, Record};
use crate::words::{Action, Outcome, Reason, Seen, Status};

/// The rows "delete" of the verdict table.
pub fn decide_delete(group: &Group, attempt: &Attempt, index: usize, effect: &Effect) -> Decision {
    let Some(key) = effect.key else { return unobservable() };
    let looks = view::in_order(&attempt.looks, index);
    let look = match view::believed(&looks, |look| look.seen == Seen::Absent) {
        Ok(look) => look,
        Err(doubt) => return doubt,
    };
    let record = match (look.seen, look.records.first()) {
        (Seen::Absent, _) => return gone(group, key, look, &looks),
        (Seen::Present, Some(record)) => record,
        _ => return super::create::ambiguous(look, group.settled),
    };
    let first = group.first_sent(attempt.facts.identity);
    let known = first.and_then(|first| group.known_id(key, first));
    let earlier = looks.iter().filter(|look| view::sound(look)).find_map(|look| look.records.first()?.id.as_deref());
    let other_id = known.or(earlier).is_some_and(|before| record.id.as_deref().is_some_and(|id| id != before));
    if other_id || made_after(record, look, first) {
        return settle(Status::Resolved, Outcome::Satisfied, Reason::Recreated, Action::DoNotResend)
            .because("the record of before is gone; another one with the same key was made since".into())
            .found(record.id.as_deref(), matched_on(effect.found_by.as_deref(), record));
    }
    let same = (known.is_some() && known == record.id.as_deref())
        || Age::of(record, look, first, group.settled) == Age::Before;
    let absence = view::absence(&looks, group.settled, group.windows, false, |look| look.seen == Seen::Present);
    view::not_yet(absence, Action::Wait).unwrap_or_else(|| {
        let action = if same { Action::Resend } else { Action::Review };
        settle(Status::Resolved, Outcome::NotApplied, Reason::NotDeleted, action)
            .because(still_there(group, absence, same))
            .found(record.id.as_deref(), matched_on(effect.found_by.as_deref(), record))
    })
}

/// The record is not there (any more).
fn gone(group: &Group, key: Link, look: &Look, looks: &[&Look]) -> Decision {
    if group.create_in_doubt(key) {
        let absence = view::absence(looks, group.settled, group.windows, true, |look| look.seen == Seen::Absent);
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

/// Made after the delete was first sent, by the strictest reading of both clocks.
fn made_after(record: &Record, look: &Look, first: Option<Moment>) -> bool {
    let (Some(made), Some(first)) = (record.made, first) else { return false };
    look.skews().iter().all(|(_, most)| made > first + *most)
}

fn still_there(group: &Group, absence: Absence, same: bool) -> String {
    let Absence::Confirmed { first, last } = absence else { return String::new() };
    let whether =
        if same { "the same record as before" } else { "whether it is the same record as before is not known" };
    format!(
        "still there at {first} and {last}, both after {}; {whether}; this assumes that nothing is applied later than {} after a \
         network failure or {} after a server error",
        group.settled, group.windows.network, group.windows.server_error
    )
}

/// The rows "update" of the verdict table.
pub fn decide_update(group: &Group, attempt: &Attempt, index: usize, effect: &Effect) -> Decision {
    if effect.key.is_none() {
        return unobservable();
    }
    let identity = attempt.facts.identity;
    let first = group.first_sent(identity);
    let looks = view::in_order(&attempt.looks, index);
    let look = match view::believed(&looks, |look| look.seen == Seen::Absent) {
        Ok(look) => look,
        Err(doubt) => return doubt,
    };
    let record = look.records.first().filter(|_| look.seen == Seen::Present);
    let from_before = |look: &Look| look.records.first().is_some_and(|r| as_before(group, effect, look, r, first));
    let unsettled = || {
        defer(Reason::Unsettled, Action::Wait)
            .because(format!("until {} the request may still become applied", group.settled))
            .not_before(group.settled)
    };
    if look.surely_asked() <= group.settled {
        return unsettled();
    }
    let decision = match record {
        Some(record) if record.equals() && !group.also_written(identity, effect, None) => {
            let decision = equal(look, record, first, group.own_settled(identity));
            if group.overtaken(identity) { equivalent() } else { decision }
        }
        Some(_) if from_before(look) && !group.overtaken(identity) && !group.also_written(identity, effect, first) => {
            let absence = view::absence(&looks, group.settled, group.windows, false, from_before);
            view::not_yet(absence, Action::Wait).unwrap_or_else(|| {
                settle(Status::Resolved, Outcome::NotApplied, Reason::NotUpdated, Action::Resend)
                    .because(still_there(group, absence, true))
            })
        }
        _ => settle(Status::DuplicateRisk, Outcome::Unknown, Reason::Overwritten, Action::Review).because(
            "the record shows neither what was sent nor surely what was there before, or another write touched it"
                .into(),
        ),
    };
    match record {
        Some(record) => decision.found(record.id.as_deref(), matched_on(effect.found_by.as_deref(), record)),
        None => decision,
    }
}

fn equal(look: &Look, record: &Record, first: Option<Moment>, settled: Moment) -> Decision {
    let changed = Record { made: record.changed, ..Record::default() };
    if matches!(Age::of(&changed, look, first, settled), Age::Within(_)) {
        return settle(Status::Resolved, Outcome::Applied, Reason::Updated, Action::None)
            .because("every sent field is equal, and the record was changed after the first attempt".into());
    }
    equivalent()
}

fn equivalent() -> Decision {
    settle(Status::Resolved, Outcome::Satisfied, Reason::Equivalent, Action::None)
        .because("every sent field is equal; what made it so cannot be known".into())
}

/// The fields hold what they held before: they can have it only from before, or an earlier look saw the same values.
fn as_before(group: &Group, effect: &Effect, look: &Look, record: &Record, first: Option<Moment>) -> bool {
    if record.equals() || look.seen != Seen::Present {
        return false;
    }
    let (Some(key), Some(first)) = (effect.key, first) else { return record.as_before };
    record.as_before
        || record.values.is_some_and(|values| {
            let earlier =
                group.looks_at(key).filter(|earlier| earlier.surely_answered() < first && view::sound(earlier));
            let shown = earlier.flat_map(|earlier| earlier.records.iter().map(move |r| (earlier.answered, r.values)));
            let latest = shown.filter(|(_, values)| values.is_some()).max();
            latest.is_some_and(|(_, before)| before == Some(values))
        })
}
