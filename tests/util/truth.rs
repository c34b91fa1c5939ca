//! Whether a verdict says what the sandbox knows.

use privo_reconcile::sandbox::Truth;

/// Of a registration by email: these attempts of one operation bear their ids as causes.
pub fn is_true(truth: &Truth, attempts: &[String], email: &str, outcome: &str) -> bool {
    let applied = attempts.iter().any(|id| truth.per_request.get(id).is_some_and(|did| !did.is_empty()));
    let coming = truth.scheduled.iter().any(|upcoming| attempts.contains(&upcoming.cause));
    let there = truth.accounts.iter().filter(|account| account.details.email.as_deref() == Some(email)).count();
    match outcome {
        "applied" => applied && there == 1,
        "satisfied" => there == 1,
        "not-applied" => !applied && !coming && there == 0,
        _ => false,
    }
}
