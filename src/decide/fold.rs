//! Several effects of one request, folded into one answer.

use super::{Decision, Verdict, defer, readings, settle, unobservable};
use crate::evidence::Effect;
use crate::words::{Action, Outcome, Reason, Status};

/// Folds what is said of each effect. One effect stands for itself.
pub fn fold(effects: &[Effect], parts: Vec<Decision>) -> Decision {
    let (names, mut parts) = readings::joined(effects, parts);
    if parts.is_empty() {
        return unobservable();
    }
    if parts.len() == 1 {
        return parts.remove(0);
    }
    let named = || names.iter().copied().zip(&parts);
    let mut verdicts: Vec<(&str, &Verdict)> = Vec::new();
    for (name, part) in named() {
        match part {
            Decision::Settle(verdict) => verdicts.push((name, verdict)),
            Decision::Defer(_) => return waiting(named().collect()),
        }
    }
    let story = verdicts.iter().map(|(name, v)| part_story(name, v)).collect::<Vec<_>>().join("; ");
    if let Some((_, risk)) = verdicts.iter().find(|(_, verdict)| verdict.status == Status::DuplicateRisk) {
        return with_ids(
            settle(Status::DuplicateRisk, risk.outcome, risk.reason, Action::Review).because(story),
            &verdicts,
        );
    }
    if let Some(states) = all_states(&verdicts) {
        return states;
    }
    let fulfilled = verdicts.iter().filter(|(_, verdict)| is_fulfilled(verdict)).count();
    let decision = if fulfilled == verdicts.len() {
        all_fulfilled(&verdicts)
    } else if fulfilled == 0 {
        // A part that a person must look at holds back the resend of the others.
        let lead = verdicts.iter().find(|(_, verdict)| verdict.action == Action::Review);
        let (_, lead) = lead.unwrap_or(&verdicts[0]);
        settle(Status::Resolved, Outcome::NotApplied, lead.reason, lead.action)
    } else {
        // Parts that were there before are not its work.
        let own = |(_, verdict): &(&str, &Verdict)| matches!(verdict.outcome, Outcome::Applied | Outcome::Satisfied);
        let outcome = if verdicts.iter().any(own) { Outcome::PartlyApplied } else { Outcome::Unknown };
        settle(Status::DuplicateRisk, outcome, Reason::PartlyApplied, Action::Review)
    };
    with_ids(decision.because(story), &verdicts)
}

/// Some effect is pending: the earliest look that can bring all forward is after the latest of the pending ones.
pub fn waiting(parts: Vec<(&str, &Decision)>) -> Decision {
    let pending: Vec<_> = parts
        .iter()
        .filter_map(|(name, part)| match part {
            Decision::Defer(deferral) => Some((*name, deferral)),
            Decision::Settle(_) => None,
        })
        .collect();
    let (_, first) = pending[0];
    // What needs a person is said before what needs time.
    let lead = pending.iter().map(|(_, d)| *d).find(|d| d.action == Action::Review).unwrap_or(first);
    let story = pending
        .iter()
        .map(|(name, d)| format!("{name}: {}: {}", d.reason, d.explanation))
        .collect::<Vec<_>>()
        .join("; ");
    let decision = defer(lead.reason, Action::Wait).because(story);
    match pending.iter().filter_map(|(_, d)| d.not_before).min() {
        Some(moment) => decision.not_before(moment),
        None => decision,
    }
}

/// A record that was there before the first attempt fulfils an effect as well as one that the request made.
fn is_fulfilled(verdict: &Verdict) -> bool {
    matches!(verdict.outcome, Outcome::Applied | Outcome::Satisfied) || verdict.reason == Reason::Preexisting
}

fn all_fulfilled(verdicts: &[(&str, &Verdict)]) -> Decision {
    let actions: Vec<Action> = verdicts.iter().map(|(_, verdict)| verdict.action).collect();
    // The action that asks most of a person.
    let ask = [Action::Review, Action::ApplyState, Action::StoreId, Action::DoNotResend];
    let action = ask.into_iter().find(|action| actions.contains(action)).unwrap_or(Action::None);
    let lead =
        verdicts.iter().find(|(_, verdict)| verdict.action == action).map_or(verdicts[0].1.reason, |(_, v)| v.reason);
    if verdicts.iter().all(|(_, verdict)| verdict.outcome == Outcome::Applied) {
        return settle(Status::Resolved, Outcome::Applied, lead, action);
    }
    let reason = verdicts.iter().find(|(_, v)| v.outcome == Outcome::Satisfied).map_or(lead, |(_, v)| v.reason);
    settle(Status::Resolved, Outcome::Satisfied, reason, action)
}

/// The states of one webhook's consents and account, as one state to apply.
fn all_states(verdicts: &[(&str, &Verdict)]) -> Option<Decision> {
    if !verdicts.iter().all(|(_, verdict)| verdict.reason == Reason::StateFetched) {
        return None;
    }
    let split = |verdict: &Verdict| {
        let text = verdict.explanation.trim_start_matches("as of ").to_owned();
        let (time, state) = text.split_once(": ").unwrap_or(("", text.as_str()));
        (time.to_owned(), state.to_owned())
    };
    let oldest = verdicts.iter().map(|(_, verdict)| split(verdict).0).min().unwrap_or_default();
    let states =
        verdicts.iter().map(|(name, verdict)| format!("{name}: {}", split(verdict).1)).collect::<Vec<_>>().join("; ");
    let decision = settle(Status::Resolved, Outcome::Satisfied, Reason::StateFetched, Action::ApplyState);
    Some(with_ids(decision.because(format!("as of {oldest}: {states}")), verdicts))
}

fn part_story(name: &str, verdict: &Verdict) -> String {
    let id = verdict.server_id.as_deref().map(|id| format!(" as {}", crate::mask::id(id))).unwrap_or_default();
    format!("{name}: {}{id} ({}: {})", verdict.outcome, verdict.reason, verdict.explanation)
}

fn with_ids(decision: Decision, verdicts: &[(&str, &Verdict)]) -> Decision {
    let list = |of: &dyn Fn(&Verdict) -> Option<String>| {
        let parts = verdicts.iter().filter_map(|(name, verdict)| Some(format!("{name}={}", of(verdict)?)));
        Some(parts.collect::<Vec<_>>().join("; ")).filter(|text| !text.is_empty())
    };
    let ids = list(&|verdict| verdict.server_id.clone());
    decision.found(ids.as_deref(), list(&|verdict| verdict.matched_on.clone()).unwrap_or_default())
}
