//! What the words of a report mean for the person who reads it, one sentence each: of actions, reasons and statuses.

use crate::words::{Action, Reason, Status};

/// What an entry asks of the partner, in a sentence. It follows from the reason where that says more than the action: a row to
/// correct, a control to add, somebody to ask. What stands between backticks is code.
pub fn to_do_for(action: Action, reason: Option<Reason>) -> &'static str {
    match (action, reason) {
        (Action::Review, Some(reason)) => to_review(reason),
        (Action::AskPrivo, Some(Reason::Unobservable)) => {
            "ask the person concerned whether it arrived (a mail, an account), or else PRIVO support; then `close` it"
        }
        (Action::AskPrivo, Some(Reason::Duplicated | Reason::ForeignRecords)) => {
            "ask PRIVO support which of the records are to stay, with `report --for support`, then `close` it"
        }
        (Action::Wait, Some(Reason::Inconclusive)) => {
            "wait; the server has given no answer to rely on yet, and a later run asks again"
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
            "record it in the ledger of that server, or `close` it; if it is an earlier address of the same server, add it to `server.also` in the configuration"
        }
        Reason::Uncontrolled => "add or correct the control; the next run looks again",
        Reason::NeverSent => "correct the request and send it as a new one, then `close` this one",
        Reason::KeyTaken => {
            "ask the person concerned whether the record that is there is theirs, or correct the key and send it as a new request; then `close` it"
        }
        Reason::RemovedSince => {
            "find out who removed the record; if it is still wanted, send a new request, then `close` this one"
        }
        Reason::NotDeleted => {
            "find out whether the record that is there is the one to delete; if so, delete it, then `close` this one"
        }
        Reason::Overwritten => {
            "compare the record with what you sent; if your values should hold, send a new request, then `close` this one"
        }
        Reason::PartlyApplied => "the explanation names the parts that are missing: see to those, then `close` it",
        Reason::Underdetermined | Reason::AmbiguousMatch => {
            "compare the records with your own to find out which belongs to which request; ask PRIVO support if that does not show it, then `close` it"
        }
        Reason::ConfirmedAbsent | Reason::NotUpdated => {
            "find out whether another request under the same id was its correction; if not, send a new one, then `close` this one"
        }
        Reason::Duplicated | Reason::ForeignRecords => {
            "find out which of the records are to stay, with PRIVO support where your own data does not show it, then `close` it"
        }
        Reason::Unobservable | Reason::Expired => {
            "find out from the person concerned or from PRIVO support whether it was applied, then `close` it"
        }
        _ => to_do(Action::Review),
    }
}

/// What PRIVO is asked about an entry of this reason: one question, that only PRIVO can answer. `None`: it is not PRIVO's.
pub fn question(reason: Reason, correction: bool) -> Option<&'static str> {
    if correction {
        return Some(
            "This was not there when the agreed time was over, but it is there now. When was it applied, and by what?",
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
        Reason::Expired => {
            "Was this request applied? For as long as we looked, your lookups gave no answer to rely on."
        }
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
        Action::Resend => Some("once for the operation; record the answer under the same operation_id"),
        Action::MayResend if method == "DELETE" => Some(
            "unchanged: a delete by the server's own id can be repeated, and an answer that it is gone counts as success",
        ),
        Action::MayResend => Some(
            "unchanged, with the same key: the server refuses a repeat; record the answer, also one that says it is there already",
        ),
        _ => None,
    }
}

/// What an action asks of the partner, in a sentence. What stands between backticks is code.
pub fn to_do(action: Action) -> &'static str {
    match action {
        Action::None => "nothing",
        Action::Wait => "wait; a later run will know more",
        Action::MayResend => "wait, or send it again now: the server refuses a repeat, so it cannot be applied twice",
        Action::Resend => "send it again, once for the operation, and record the answer under the same operation_id",
        Action::DoNotResend => "do not send it again; what it asks for is there already",
        Action::StoreId => "store the server_id; do not send it again",
        Action::ApplyState => "update your own records to the state that the explanation gives",
        Action::Review => {
            "look at it yourself: correct what its reason names, or find out by hand what happened and `close` it"
        }
        Action::AskPrivo => "send this row of the report to PRIVO support, then `close` it with their answer",
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
pub fn status_in_words(status: Status) -> &'static str {
    match status {
        Status::Pending => "it is not known yet; the job keeps looking",
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
        Reason::NeverSent => "no attempt left its sender, or the server refused the content of each that did",
        Reason::Created => "made after the first attempt, and nothing else explains it",
        Reason::Present => "the record is there, once; which request made it cannot be known",
        Reason::Preexisting => "made before the first attempt",
        Reason::KeyTaken => "a record has this key, but other values than were sent",
        Reason::Unsettled => "it may still be applied",
        Reason::Unconfirmed => "absent at one look; a second one must confirm it",
        Reason::ConfirmedAbsent => "absent at two looks after the window",
        Reason::RemovedSince => "absent now, but it was there or may have been deleted",
        Reason::Duplicated => "more records match than operations",
        Reason::ForeignRecords => "more records match than all attempts can have made",
        Reason::Underdetermined => "fewer records match than operations",
        Reason::AmbiguousMatch => "which record belongs to which request cannot be known",
        Reason::Unobservable => "nothing shows whether it was applied",
        Reason::Deleted => "gone, as asked for",
        Reason::NotDeleted => "still there",
        Reason::Recreated => "gone, and another one was made since",
        Reason::Equivalent => "every sent field is equal",
        Reason::Updated => "every sent field is equal, and changed after the attempt",
        Reason::NotUpdated => "still the values from before",
        Reason::Overwritten => "neither what was sent nor surely what was there before",
        Reason::StateFetched => "a webhook was missed; the state it was about has been fetched",
        Reason::PartlyApplied => "some effects of the request are there and some are not",
        Reason::Inconclusive => "no answer to rely on yet",
        Reason::Uncontrolled => "no control backs the absence, or a control was contradicted",
        Reason::Expired => "still undecided when the time to look was over",
        Reason::Closed => "closed by a person; the explanation says by whom and why",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::NOT_PRIVOS;

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
            [Reason::BadRow, Reason::Uncontrolled, Reason::KeyTaken, Reason::Duplicated, Reason::Unobservable];
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
