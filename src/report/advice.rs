//! What the words of a report mean for the person who reads it.

use crate::words::Action;

/// What an action asks of the partner, in a sentence.
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
        Action::Review => "a person must look at it, then `close` it",
        Action::AskPrivo => "send this line of the report to PRIVO support, then `close` it with what they say",
    }
}
