//! What the words of a report mean for the person who reads it, one sentence each: of actions, reasons and statuses.

use crate::words::{Action, Reason, Status};

/// What an entry asks of the partner, in a sentence: its action, and where that is `review`, what its reason asks for. What
/// stands between backticks is code.
pub fn to_do_for(action: Action, reason: Option<Reason>) -> &'static str {
    match (action, reason) {
        (Action::Review, Some(Reason::BadRow)) => "correct the row by UPDATE; the next run examines it again",
        (Action::Review, Some(Reason::NoPlan)) => "add the call to the plan, or find out by hand and `close` it",
        (Action::Review, Some(Reason::OtherEnvironment)) => {
            "record it in the ledger of that server, or `close` it; a former address of the same server belongs into `also` of the configuration"
        }
        (Action::Review, Some(Reason::Uncontrolled)) => "add or correct the control; the next run looks again",
        (Action::Review, Some(Reason::NeverSent)) => "correct the request and send it anew, then `close` this one",
        _ => to_do(action),
    }
}

/// What an action asks of the partner, in a sentence. What stands between backticks is code.
pub fn to_do(action: Action) -> &'static str {
    match action {
        Action::None => "nothing",
        Action::Wait => "wait; a later run will know more",
        Action::MayResend => {
            "wait, or send it again now: the server blocks a repeat, so a second one cannot come of it"
        }
        Action::Resend => {
            "send it again, once for the operation, and record what comes of it under the same operation_id"
        }
        Action::DoNotResend => "do not send it again; what it would do is there already",
        Action::StoreId => "store the server_id; do not send it again",
        Action::ApplyState => "bring your own records to the state that the explanation gives",
        Action::Review => {
            "a person must look at it: correct the row, the control or the configuration where the reason says so, else find out what became of it and `close` it"
        }
        Action::AskPrivo => "send this line of the report to PRIVO support, then `close` it with what they say",
    }
}

/// An action in two or three words, for headings.
pub fn brief(action: Action) -> &'static str {
    match action {
        Action::None => "nothing to do",
        Action::Wait => "wait",
        Action::MayResend => "may be sent again",
        Action::Resend => "send again",
        Action::DoNotResend => "do not send again",
        Action::StoreId => "store the id",
        Action::ApplyState => "apply the state",
        Action::Review => "a person must look",
        Action::AskPrivo => "ask PRIVO support",
    }
}

/// The actions in the order in which a person should come to them.
pub const BY_URGENCY: [Action; 9] = [
    Action::Resend,
    Action::AskPrivo,
    Action::Review,
    Action::ApplyState,
    Action::StoreId,
    Action::MayResend,
    Action::Wait,
    Action::DoNotResend,
    Action::None,
];

/// What a status says.
pub fn standing(status: Status) -> &'static str {
    match status {
        Status::Pending => "it cannot be said yet; the job goes on looking",
        Status::Resolved => "it is known what became of it",
        Status::DuplicateRisk => "a person must find out before anything is sent again",
    }
}

/// What a reason says.
pub fn because(reason: Reason) -> &'static str {
    match reason {
        Reason::BadRow => "the row cannot be read; correct it by UPDATE",
        Reason::OtherEnvironment => "sent to another host or port than the configured one",
        Reason::NoEffect => "a read, nothing to apply",
        Reason::NoPlan => "no operation of the plan matches",
        Reason::NeverSent => "no attempt left its sender, or all that did were refused for what they held",
        Reason::Created => "made after the first attempt, and nothing else explains it",
        Reason::Present => "there once; who made it cannot be known",
        Reason::Preexisting => "made before the first attempt",
        Reason::KeyTaken => "a record has this key, and other fields",
        Reason::Unsettled => "it may still become applied",
        Reason::Unconfirmed => "seen absent once, to be seen again",
        Reason::ConfirmedAbsent => "absent, seen twice after the window",
        Reason::RemovedSince => "absent now, but it was there or may have been deleted",
        Reason::Duplicated => "more records match than operations",
        Reason::ForeignRecords => "more records match than all attempts can have made",
        Reason::Underdetermined => "fewer records match than operations",
        Reason::AmbiguousMatch => "which record is whose cannot be said",
        Reason::Unobservable => "nothing shows whether it was applied",
        Reason::Deleted => "gone, as asked for",
        Reason::NotDeleted => "still there",
        Reason::Recreated => "gone, and another one made since",
        Reason::Equivalent => "every sent field is equal",
        Reason::Updated => "every sent field is equal, and changed after the attempt",
        Reason::NotUpdated => "still the values from before",
        Reason::Overwritten => "neither what was sent nor surely what was there before",
        Reason::StateFetched => "the state behind a missed webhook",
        Reason::PartlyApplied => "some effects of the request are there and some are not",
        Reason::Inconclusive => "no answer to rely on yet",
        Reason::Uncontrolled => "no control stands behind the absence, or one was contradicted",
        Reason::Expired => "still undecided at the end of its time",
        Reason::Closed => "by a person: who and why stand in the explanation",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_has_its_place_in_the_order() {
        for action in Action::ALL {
            assert_eq!(BY_URGENCY.iter().filter(|of| *of == action).count(), 1, "{action}");
        }
    }
}
