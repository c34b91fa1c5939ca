//! One operation has one verdict and one advice: what its attempts come to by themselves, held against each other.

use std::collections::{BTreeMap, BTreeSet};

use super::group::{Group, maybe_succeeded};
use super::requests::Requests;
use super::{Decision, Deferral, Verdict, settle};
use crate::clock::Moment;
use crate::evidence::{Attempt, Class, KeyDigest, Kind};
use crate::words::{Action, Outcome, Reason, Seen, Status};

/// Gives all attempts of each operation one decision.
pub fn one_for_each_operation(group: &Group, mut decisions: Vec<Decision>) -> Vec<Decision> {
    let mut places: BTreeMap<KeyDigest, Vec<usize>> = BTreeMap::new();
    for (place, attempt) in group.attempts.iter().enumerate() {
        // A row that cannot be read, and one of another environment, stands for itself.
        if attempt.facts.class == Class::Planned && !attempt.answered() {
            places.entry(attempt.facts.identity).or_default().push(place);
        }
    }
    for places in places.into_values().filter(|places| places.len() > 1) {
        let counts: Vec<usize> =
            places.iter().copied().filter(|place| counts(group, &places, &decisions, *place)).collect();
        let mut said: Vec<&Decision> = counts.iter().map(|place| &decisions[*place]).collect();
        said.sort_by(|one, other| place(one).cmp(&place(other)));
        if said.windows(2).all(|pair| pair[0] == pair[1]) && counts.len() == places.len() {
            continue;
        }
        let one = if found_before(group, &places, &decisions) { gone_since() } else { one_of(&said) };
        for place in places {
            decisions[place] = one.clone();
        }
    }
    decisions
}

/// In which order decisions are held against each other: that of the verdict table, so that neither the order in which the
/// rows came nor that in which they are read chooses between them.
fn place(decision: &Decision) -> (Reason, Action, Option<&str>, Option<&str>, &str) {
    match decision {
        Decision::Settle(v) => {
            (v.reason, v.action, v.server_id.as_deref(), v.matched_on.as_deref(), v.explanation.as_str())
        }
        Decision::Defer(d) => (d.reason, d.action, None, None, d.explanation.as_str()),
    }
}

/// Whether what an attempt comes to counts. One that was settled before, and could not be looked at any more when the
/// others were (its fields are gone), says nothing new.
fn counts(group: &Group, places: &[usize], decisions: &[Decision], place: usize) -> bool {
    let attempt = &group.attempts[place];
    let settled = |other: &usize| matches!(decisions[*other], Decision::Settle(_));
    let behind = |other: &usize| settled(other) && is_behind(group, attempt, &group.attempts[*other]);
    let waits = matches!(decisions[place], Decision::Defer(_));
    !(waits && attempt.verdict.as_ref().or(attempt.prior.as_ref()).is_some() && places.iter().any(behind))
}

/// It was looked at for the last time well before the other was.
fn is_behind(group: &Group, attempt: &Attempt, other: &Attempt) -> bool {
    let last = |attempt: &Attempt| {
        let looks = attempt.looks.iter().filter(|look| look.seen != Seen::Inconclusive);
        looks.map(|look| look.asked).next_back()
    };
    let Some(others) = last(other) else { return false };
    last(attempt).is_none_or(|own| own + group.windows.confirm_after <= others)
}

/// An attempt whose fields were gone when another came found its record once, and that one looked after it and found none.
fn found_before(group: &Group, places: &[usize], decisions: &[Decision]) -> bool {
    let settled = |place: &usize| match &decisions[*place] {
        Decision::Settle(verdict) => Some(verdict),
        Decision::Defer(_) => None,
    };
    let found = |place: &&usize| settled(place).is_some_and(fulfils);
    let absent = |place: &&usize| settled(place).is_some_and(|verdict| verdict.reason == Reason::ConfirmedAbsent);
    let since = |before: &Attempt, other: &Attempt| {
        before.facts.sealed.is_some() && before.facts.sealed != other.facts.sealed && is_behind(group, before, other)
    };
    places.iter().filter(found).any(|before| {
        places.iter().filter(absent).any(|place| since(&group.attempts[*before], &group.attempts[*place]))
    })
}

fn gone_since() -> Decision {
    settle(Status::DuplicateRisk, Outcome::Unknown, Reason::RemovedSince, Action::Review)
        .because("an attempt of this operation found the record once, and another looked later and found none".into())
}

fn fulfils(verdict: &Verdict) -> bool {
    matches!(verdict.outcome, Outcome::Applied | Outcome::Satisfied)
}

/// The one decision of several.
fn one_of(said: &[&Decision]) -> Decision {
    let mut deferrals: Vec<&Deferral> = Vec::new();
    let mut verdicts: Vec<&Verdict> = Vec::new();
    for decision in said {
        match decision {
            Decision::Defer(deferral) => deferrals.push(deferral),
            Decision::Settle(verdict) => verdicts.push(verdict),
        }
    }
    match (&deferrals[..], &verdicts[..]) {
        ([], verdicts) => one_verdict(verdicts),
        (deferrals, _) => Decision::Defer(one_deferral(deferrals)),
    }
}

/// What needs a person is said before what needs time, and what must wait before what may be sent again.
fn one_deferral(deferrals: &[&Deferral]) -> Deferral {
    let order = |deferral: &&&Deferral| match deferral.action {
        Action::Review => 0,
        Action::MayResend => 2,
        _ => 1,
    };
    let mut one = deferrals.iter().min_by_key(order).map(|deferral| (*deferral).clone()).unwrap_or(Deferral {
        reason: Reason::Inconclusive,
        action: Action::Wait,
        not_before: None,
        explanation: String::new(),
        waits_for: None,
    });
    one.not_before = deferrals.iter().filter_map(|deferral| deferral.not_before).min();
    one
}

fn one_verdict(verdicts: &[&Verdict]) -> Decision {
    let one = |of: &dyn Fn(&Verdict) -> bool| verdicts.iter().copied().find(|verdict| of(verdict));
    if let Some(risk) = one(&|verdict| verdict.status == Status::DuplicateRisk) {
        return Decision::Settle(risk.clone());
    }
    // Of several deliveries of an event one may be known to be followed by one that was taken, and another not.
    if let Some(fetched) = one(&|verdict| verdict.reason == Reason::StateFetched) {
        return Decision::Settle(fetched.clone());
    }
    let Some(first) = one(&fulfils) else {
        // What must not be sent again is said before what may.
        let cautious = one(&|verdict| verdict.action != Action::Resend);
        return cautious
            .or_else(|| verdicts.first().copied())
            .cloned()
            .map_or_else(super::unobservable, Decision::Settle);
    };
    let ids = |verdict: &&&Verdict| fulfils(verdict) && verdict.server_id != first.server_id;
    match verdicts.iter().find(ids) {
        None => Decision::Settle(one(&|verdict| verdict.outcome == Outcome::Satisfied).unwrap_or(first).clone()),
        Some(other) if first.outcome == Outcome::Applied && other.outcome == Outcome::Applied => {
            settle(Status::DuplicateRisk, Outcome::Duplicated, Reason::Duplicated, Action::AskPrivo)
                .because("two attempts of this operation made a record each; PRIVO must say which to keep".into())
        }
        Some(_) => settle(Status::DuplicateRisk, Outcome::Unknown, Reason::AmbiguousMatch, Action::Review).because(
            "the attempts of this operation lead to different records, so it cannot be said which is its".into(),
        ),
    }
}

/// An id that was given to several requests: what looks lost may have been corrected and sent again under the same id.
pub fn beware_of_corrections(group: &Group, requests: &Requests, decisions: &mut [Decision]) {
    if requests.sharing.is_empty() {
        return;
    }
    let mut others: BTreeMap<KeyDigest, Others> = BTreeMap::new();
    for (attempt, decision) in group.attempts.iter().zip(decisions.iter()) {
        let own = attempt.facts.identity;
        let Some(id) = requests.sharing.get(&own) else { continue };
        let of = others.entry(*id).or_default();
        match decision {
            _ if attempt.answered() => {
                of.applied.extend(maybe_succeeded(attempt).then_some(own));
            }
            Decision::Settle(verdict) if attempt.facts.class == Class::Planned => {
                of.applied.extend((verdict.outcome != Outcome::NotApplied).then_some(own));
            }
            Decision::Defer(deferral) if attempt.facts.class == Class::Planned => {
                of.waiting.insert(own, deferral.not_before);
            }
            Decision::Settle(_) | Decision::Defer(_) => {}
        }
    }
    for (attempt, decision) in group.attempts.iter().zip(decisions.iter_mut()) {
        let own = attempt.facts.identity;
        let Some(of) = requests.sharing.get(&own).and_then(|id| others.get(id)) else { continue };
        let Decision::Settle(verdict) = decision else { continue };
        if verdict.action != Action::Resend {
            continue;
        }
        let not_unique = attempt.facts.effects.iter().any(|effect| matches!(effect.kind, Kind::Member | Kind::Blind));
        if not_unique || of.applied.iter().any(|other| *other != own) {
            verdict.action = Action::Review;
            verdict.explanation = format!(
                "its operation_id was given to several requests, so another of them may be its correction: see whether it is still to be sent; {}",
                verdict.explanation
            );
            continue;
        }
        let mut waiting = of.waiting.iter().filter(|(other, _)| **other != own).map(|(_, not_before)| *not_before);
        if let Some(first) = waiting.next() {
            *decision = Decision::Defer(Deferral {
                reason: Reason::Unsettled,
                action: Action::Wait,
                not_before: waiting.fold(first, |least, next| least.min(next)),
                explanation: "its operation_id was given to several requests, and another of them, which may be its correction, is not decided yet".into(),
                waits_for: None,
            });
        }
    }
}

/// An attempt that is not decided yet, what it does to a record, and before when nothing more can be said.
type Waiting<'a> = (Kind, &'a Attempt, Option<Moment>);

/// What is to be sent again waits as long as another operation that asks for the same by one of its keys is not decided: what
/// that comes to may change the advice.
pub fn wait_for_each_other(group: &Group, decisions: &mut [Decision]) {
    let mut waiting: Vec<(&Attempt, Option<Moment>)> = Vec::new();
    for (attempt, decision) in group.attempts.iter().zip(decisions.iter()) {
        match decision {
            Decision::Defer(deferral) if attempt.facts.class == Class::Planned && !attempt.answered() => {
                waiting.push((attempt, deferral.not_before));
            }
            Decision::Defer(_) | Decision::Settle(_) => {}
        }
    }
    waiting.sort_by_key(|(attempt, _)| (attempt.facts.sent, attempt.entry));
    let mut by_key: BTreeMap<KeyDigest, Vec<Waiting>> = BTreeMap::new();
    for (attempt, not_before) in waiting {
        for (kind, key) in asked_for(attempt) {
            let others = by_key.entry(key).or_default();
            // Two operations are enough: one of them is another's, whose-ever the advice is.
            let alike = others.iter().filter(|(of, ..)| *of == kind);
            let known = alike.clone().any(|(_, other, _)| other.facts.identity == attempt.facts.identity);
            if !known && alike.count() < 2 {
                others.push((kind, attempt, not_before));
            }
        }
    }
    for (attempt, decision) in group.attempts.iter().zip(decisions.iter_mut()) {
        // What never left its sender is known of the rows alone, whatever becomes of the others.
        if !matches!(decision, Decision::Settle(v) if v.action == Action::Resend && v.reason != Reason::NeverSent) {
            continue;
        }
        let mut others = asked_for(attempt).flat_map(|(own, key)| {
            let others = by_key.get(&key).into_iter().flatten();
            others.filter(move |(kind, ..)| may_change(own, *kind))
        });
        let other = others.find(|(_, other, _)| other.facts.identity != attempt.facts.identity);
        if let Some((_, other, not_before)) = other {
            let waits_for = Some(other.entry);
            *decision = Decision::Defer(Deferral {
                reason: Reason::Unsettled,
                action: Action::Wait,
                not_before: *not_before,
                explanation:
                    "another operation that asks for the same is not decided yet, and may change what is advised".into(),
                waits_for,
            });
        }
    }
}

/// Each key that it asks for, with what it does to the record that bears it.
fn asked_for(attempt: &Attempt) -> impl Iterator<Item = (Kind, KeyDigest)> {
    attempt.facts.effects.iter().flat_map(|effect| effect.keys().map(|key| (effect.kind, key)))
}

/// Whether what becomes of one effect may change what is said of another with the same key. What was there before a delete
/// is what was to go, whatever else may make one.
fn may_change(own: Kind, other: Kind) -> bool {
    match own {
        Kind::Create | Kind::Member => matches!(other, Kind::Create | Kind::Member | Kind::Upsert | Kind::Delete),
        Kind::Update | Kind::Upsert => matches!(other, Kind::Create | Kind::Update | Kind::Upsert | Kind::Delete),
        Kind::Delete => other == Kind::Delete,
        Kind::Blind | Kind::Inbound => false,
    }
}

/// What is known of the operations under one id that was given to several.
#[derive(Default)]
struct Others {
    /// Those that were applied, or may have been for all that will be known.
    applied: BTreeSet<KeyDigest>,
    /// Those that cannot be decided yet, and before when nothing more can be said.
    waiting: BTreeMap<KeyDigest, Option<Moment>>,
}
