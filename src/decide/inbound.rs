//! Webhooks that PRIVO sent and the partner did not take: the state is fetched, for the event says only what changed.

use super::group::{Group, succeeded};
use super::view;
use super::{Decision, defer, settle};
use crate::evidence::Attempt;
use crate::words::{Action, Outcome, Reason, Seen, Status};

/// The row "inbound webhook" of the verdict table. Each consent and each account is an effect with a state of its own.
pub fn decide(group: &Group, attempt: &Attempt, index: usize) -> Decision {
    let later = |other: &&Attempt| succeeded(other) && other.facts.sent() >= attempt.facts.sent();
    if group.operation(attempt.facts.identity).any(|other| later(&other)) {
        return settle(Status::Resolved, Outcome::Satisfied, Reason::Present, Action::None)
            .because("a later delivery of the same event was taken".into());
    }
    if attempt.facts.effects[index].key.is_none() {
        return super::unobservable();
    }
    let over = attempt.facts.ended + group.windows.webhook;
    let looks = view::in_order(&attempt.looks, index);
    let unsettled = || {
        defer(Reason::Unsettled, Action::Wait)
            .because(format!("until {over} PRIVO itself may deliver the event again"))
            .not_before(over)
    };
    if looks.is_empty() {
        return unsettled();
    }
    let look = match view::believed(&looks, |look| look.seen == Seen::Absent) {
        Ok(look) => look,
        Err(doubt) => return doubt,
    };
    if look.surely_asked() <= over {
        return unsettled();
    }
    let state = match look.seen {
        Seen::Absent => "missing",
        _ => look.state.as_deref().unwrap_or("there"),
    };
    settle(Status::Resolved, Outcome::Satisfied, Reason::StateFetched, Action::ApplyState)
        .because(format!("as of {}: {state}", look.server.unwrap_or(look.asked)))
        .found(look.records.first().and_then(|record| record.id.as_deref()), String::new())
}
