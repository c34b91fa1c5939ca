//! Exit codes: a function of the ledger's state, or of why a command could not do its work.

use std::fmt;

/// All settled, no duplicate-risk without a person's word.
pub const DONE: u8 = 0;
/// The job itself failed; nothing is lost, run again.
pub const FAILED: u8 = 1;
/// Usage, configuration, or credentials refused.
pub const REFUSED: u8 = 2;
/// Some entries are duplicate-risk and not yet closed by a person.
pub const DUPLICATE_RISK: u8 = 3;
/// Some entries are still pending.
pub const PENDING: u8 = 4;
/// An alert of the configuration fired.
pub const ALERTED: u8 = 5;
/// Another run holds the ledger.
pub const HELD: u8 = 11;
/// Interrupted by SIGINT, by SIGTERM.
pub const INTERRUPTED: u8 = 130;
pub const TERMINATED: u8 = 143;

/// What may be given as 0 to a scheduler that knows only success and failure: how the ledger stands, and that another run
/// does the work.
pub const NAMEABLE: [u8; 3] = [DUPLICATE_RISK, PENDING, HELD];

/// A mistake that the user can correct: usage, configuration, credentials.
#[derive(Debug)]
pub struct Refused(pub String);

/// Another run holds the ledger.
#[derive(Debug)]
pub struct Held(pub String);

/// Stopped by a signal; nothing is lost.
#[derive(Debug)]
pub struct Stopped(pub u8);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted; nothing is lost, run again")
    }
}

impl std::error::Error for Refused {}
impl std::error::Error for Held {}
impl std::error::Error for Stopped {}

/// A code that may be given as 0.
///
/// # Errors
/// When it is another one: what failed must not look like success.
pub fn nameable(code: i64) -> Result<u8, String> {
    let found = NAMEABLE.into_iter().find(|of| i64::from(*of) == code);
    found.ok_or_else(|| "only 3, 4 and 11 can be given as success (every other code is a failure)".to_owned())
}

/// The exit code of a failed command.
pub fn of_error(error: &anyhow::Error) -> u8 {
    for cause in error.chain() {
        if cause.is::<Refused>() {
            return REFUSED;
        }
        if cause.is::<Held>() {
            return HELD;
        }
        if let Some(Stopped(code)) = cause.downcast_ref() {
            return *code;
        }
    }
    FAILED
}

/// The exit code of a run that did its work: an alert that fired wins over the ledger's state.
pub fn of_run(alerted: bool, duplicate_risk: bool, pending: bool) -> u8 {
    if alerted { ALERTED } else { of_state(duplicate_risk, pending) }
}

/// The exit code of the ledger's state: duplicate-risk wins over pending.
pub fn of_state(duplicate_risk: bool, pending: bool) -> u8 {
    match (duplicate_risk, pending) {
        (true, _) => DUPLICATE_RISK,
        (false, true) => PENDING,
        (false, false) => DONE,
    }
}
