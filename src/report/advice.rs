//! What the words of a report mean for the person who reads it, one sentence each: of actions, reasons and statuses.

use crate::words::{Action, Reason, Status};

/// What an entry asks of the partner, in a sentence. It follows from the reason where that says more than the action: a row to
/// correct, a control to add, somebody to ask. What stands between backticks is code.
pub fn to_do_for(action: Action, reason: Option<Reason>) -> &'static str {
    match (action, reason) {
        (Action::Review, Some(reason)) => to_review(reason),
        (Action::AskPrivo, Some(Reason::Unobservable)) => {
            "ask the person whom it is about whether it came (a mail, an account), else PRIVO support; then `close` it"
        }
        (Action::AskPrivo, Some(Reason::Duplicated | Reason::ForeignRecords)) => {
            "ask PRIVO support which of the records are to stay, with `report --for support`, then `close` it"
        }
        (Action::Wait, Some(Reason::Inconclusive)) => {
            "wait; the server gave no answer to rely on, and a later run asks again"
        }
        _ => to_do(action),
    }
}

/// What a person who looks at an entry has to do.
fn to_review(reason: Reason) -> &'static str {
    match reason {
        Reason::BadRow => "correct the row by UPDATE; the next run examines it again",
        Reason::NoPlan => "add the call to the plan, or find out by hand and `close` it",
        Reason::OtherEnvironment => {
            "record it in the ledger of that server, or `close` it; a former address of the same server belongs into `also` of the configuration"
        }
        Reason::Uncontrolled => "add or correct the control; the next run looks again",
        Reason::NeverSent => "correct the request and send it anew, then `close` this one",
        Reason::KeyTaken => {
            "ask the person whom it is about whether the record that is there is theirs, or correct the key and send it anew; then `close` it"
        }
        Reason::RemovedSince => {
            "find out who removed the record; if it is wanted still, send it anew, then `close` this one"
        }
        Reason::NotDeleted => {
            "find out whether the record that is there is the one to delete; delete it if so, then `close` this one"
        }
        Reason::Overwritten => {
            "compare the record with what you sent; send it anew if that should hold, then `close` this one"
        }
        Reason::PartlyApplied => "do what is missing by the parts that the explanation names, then `close` it",
        Reason::Underdetermined | Reason::AmbiguousMatch => {
            "compare the records with your own and find out which is whose; ask PRIVO support if they do not say, then `close` it"
        }
        Reason::ConfirmedAbsent | Reason::NotUpdated => {
            "find out whether another request under the same id was its correction; if not, send it anew, then `close` this one"
        }
        _ => to_do(Action::Review),
    }
}

/// What PRIVO is asked about an entry of this reason: one question, that only PRIVO can answer. `None`: it is not PRIVO's.
pub fn question(reason: Reason, correction: bool) -> Option<&'static str> {
    if correction {
        return Some(
            "This was not there when the agreed time was over, and is there now. When was it applied, and by what?",
        );
    }
    Some(match reason {
        Reason::BadRow | Reason::NoPlan => return None,
        Reason::Duplicated => {
            "More records match than we asked for. Which one is to stay, and will you remove the others?"
        }
        Reason::ForeignRecords => {
            "More records match than our requests can have made. Which of them did our requests make, and what made the others?"
        }
        Reason::Unobservable => "Was this request applied? We know no lookup that shows it.",
        Reason::Expired => "Was this request applied? Your lookups gave no answer to rely on until its time was over.",
        Reason::Underdetermined => "Fewer records match than we made requests. Which of the requests were applied?",
        Reason::AmbiguousMatch => {
            "We cannot tell which record belongs to which request. Which record did this request make?"
        }
        Reason::RemovedSince => "The record is not there now. Did this request make it, and what removed it?",
        Reason::PartlyApplied => "Only a part of this request shows. Was the rest of it applied?",
        Reason::KeyTaken => "A record with this key shows other values than we sent. Did this request make it?",
        Reason::Overwritten => {
            "The record shows neither what we sent nor what was there before. Was this request applied?"
        }
        _ => "Was this request applied, and when?",
    })
}

/// On what condition an entry is sent again: none where it need not be.
pub fn condition(action: Action, method: &str) -> Option<&'static str> {
    match action {
        Action::Resend => Some("once for the operation; record what comes of it under the same operation_id"),
        Action::MayResend if method == "DELETE" => Some(
            "as it was: a delete by the server's own id can be repeated, and an answer that it is gone is a success",
        ),
        Action::MayResend => Some(
            "as it was, with the same key: the server refuses a repeat; an answer that it is there already is recorded like any other",
        ),
        _ => None,
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
            "a person must look at it, as its reason says; what cannot be corrected is found out by hand and closed with `close`"
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
    use crate::standing::NOT_PRIVOS;

    #[test]
    fn privo_is_asked_what_it_can_answer_and_nothing_else() {
        for &reason in Reason::ALL {
            assert_eq!(question(reason, false).is_none(), NOT_PRIVOS.contains(&reason), "{reason}");
            assert!(question(reason, true).is_some());
        }
    }

    #[test]
    fn what_a_person_must_look_at_is_said_by_its_reason() {
        let reviewed =
            [Reason::BadRow, Reason::Uncontrolled, Reason::KeyTaken, Reason::RemovedSince, Reason::AmbiguousMatch];
        for reason in reviewed {
            assert_ne!(to_do_for(Action::Review, Some(reason)), to_do(Action::Review), "{reason}");
        }
        assert!(to_do_for(Action::Review, Some(Reason::BadRow)).contains("correct the row"));
        assert!(to_do_for(Action::Review, Some(Reason::Uncontrolled)).contains("control"));
        assert!(to_do_for(Action::Review, Some(Reason::KeyTaken)).contains("ask the person"));
    }

    #[test]
    fn every_action_has_its_place_in_the_order() {
        for action in Action::ALL {
            assert_eq!(BY_URGENCY.iter().filter(|of| *of == action).count(), 1, "{action}");
        }
    }
}
