//! One effect of a request whose URL servers read in more than one way: the server did what one of the readings says, and
//! nobody knows which. What all of them come to is so; else a person must find out.

use super::fold::waiting;
use super::{Decision, Verdict, settle};
use crate::evidence::Effect;
use crate::words::{Action, Outcome, Reason, Status};

/// Folds what is said of an effect's readings into one answer, and gives the effects' names with it.
pub fn joined(effects: &[Effect], parts: Vec<Decision>) -> (Vec<&str>, Vec<Decision>) {
    let (mut names, mut readings): (Vec<&str>, Vec<Vec<Decision>>) = (Vec::new(), Vec::new());
    for (effect, part) in effects.iter().zip(parts) {
        match readings.last_mut().filter(|_| effect.alternative) {
            Some(readings) => readings.push(part),
            None => {
                names.push(&effect.name);
                readings.push(vec![part]);
            }
        }
    }
    (names, readings.into_iter().map(agreed).collect())
}

fn agreed(mut readings: Vec<Decision>) -> Decision {
    if readings.len() == 1 {
        return readings.remove(0);
    }
    let mut verdicts: Vec<&Verdict> = Vec::new();
    for reading in &readings {
        match reading {
            Decision::Settle(verdict) => verdicts.push(verdict),
            Decision::Defer(_) => {
                return waiting(readings.iter().map(|part| ("one reading of the URL", part)).collect());
            }
        }
    }
    let said = |v: &Verdict| (v.status, v.outcome, v.reason, v.action, v.server_id.clone());
    if verdicts.iter().all(|verdict| said(verdict) == said(verdicts[0])) {
        let story = format!("{} (so it is, whichever way the server read the URL's query)", verdicts[0].explanation);
        return readings.remove(0).because(story);
    }
    let each: Vec<String> = verdicts.iter().map(|v| format!("{}: {}", v.outcome, v.reason)).collect();
    settle(Status::DuplicateRisk, Outcome::Unknown, Reason::BadRow, Action::Review).because(format!(
        "servers read the URL's query in two ways (a raw `+`, or a parameter that is there twice), and which one this server did \
         is not known; the readings come to different ends ({}); find that out, record the request under another request_id with \
         the `url` that says so (%2B for a plus, %20 for a space), and close this one",
        each.join("; ")
    ))
}
