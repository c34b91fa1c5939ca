//! One operation that asked for its record in several ways: a retry with another body, with a unique key of the record's own
//! where the first attempt had none, or with another key.
//!
//! What one attempt did not make another may have made, so the operation was not applied only if none of them was; and what
//! each of two made is there twice.

use super::group::{Group, maybe_applied};
use super::ownership::listed_under;
use super::{Decision, Verdict, defer, settle};
use crate::evidence::{Attempt, Effect};
use crate::words::{Action, Failure, Outcome, Reason, Status};

/// What is decided of one attempt's effect, held against the attempts that asked for the same in another way; `decide` says
/// what each of those comes to by itself.
pub fn across(
    group: &Group,
    (attempt, index, effect): (&Attempt, usize, &Effect),
    decision: Decision,
    decide: impl Fn(&Attempt, &Effect) -> Decision,
) -> Decision {
    let Decision::Settle(own) = &decision else { return decision };
    let Some(owner) = listed_under(effect).filter(|_| own.status == Status::Resolved) else { return decision };
    let otherwise =
        |other: &&Effect| listed_under(other) == Some(owner) && (other.kind != effect.kind || other.key != effect.key);
    let others = group.operation(attempt.facts.identity).filter(|other| maybe_applied(other));
    let others = others.filter_map(|other| Some((other, other.facts.effects.get(index).filter(otherwise)?)));
    let others: Vec<(&Attempt, Decision)> = others.map(|(other, effect)| (other, decide(other, effect))).collect();
    let verdicts = || others.iter().filter_map(|(_, decision)| verdict(decision));
    if own.outcome == Outcome::Applied && verdicts().any(|other| made_another(own, other)) {
        return settle(Status::DuplicateRisk, Outcome::Duplicated, Reason::Duplicated, Action::AskPrivo).because(
            "two attempts of this operation, with bodies that differ, made a record each; PRIVO must say which to keep"
                .into(),
        );
    }
    if own.outcome != Outcome::NotApplied
        || verdicts().filter(|v| v.outcome == Outcome::NotApplied).count() == others.len()
    {
        return decision;
    }
    by_another(others)
}

/// This attempt made nothing, but another may have.
fn by_another(others: Vec<(&Attempt, Decision)>) -> Decision {
    let open = |attempt: &Attempt| attempt.verdict.is_none() && attempt.facts.failure != Some(Failure::Answered);
    let waits = others.iter().any(|(other, decision)| verdict(decision).is_none() && open(other));
    if waits {
        return defer(Reason::Inconclusive, Action::Wait).because(
            "another attempt of this operation asked for the record in another way, and may have made it".into(),
        );
    }
    let made = |decision: &Decision| {
        verdict(decision).is_some_and(|v| matches!(v.outcome, Outcome::Applied | Outcome::Satisfied))
    };
    let none = |decision: &Decision| verdict(decision).is_some_and(|v| v.outcome == Outcome::NotApplied);
    let known = others.iter().all(|(_, decision)| made(decision) || none(decision));
    let claimant = others.into_iter().filter(|(_, decision)| made(decision)).min_by_key(|(other, _)| other.entry);
    match claimant {
        Some((_, decision)) if known => decision,
        _ => settle(Status::DuplicateRisk, Outcome::Unknown, Reason::AmbiguousMatch, Action::Review).because(
            "this attempt made nothing, but another of this operation asked for the record in another way, and what that one made cannot be said".into(),
        ),
    }
}

fn verdict(decision: &Decision) -> Option<&Verdict> {
    match decision {
        Decision::Settle(verdict) => Some(verdict),
        Decision::Defer(_) => None,
    }
}

fn made_another(one: &Verdict, other: &Verdict) -> bool {
    other.outcome == Outcome::Applied && one.server_id != other.server_id
}
