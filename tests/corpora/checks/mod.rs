//! What must hold for every input, one function for each kind of input. libFuzzer calls them with what it makes up
//! (`fuzz/`, scripts/fuzz); `cargo test` with the inputs that are kept.
//!
//! An input of several parts has them one after another, with the byte [`BETWEEN`] between them; a part that is just the
//! byte [`NOTHING`] is not there.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a check fails by a panic, which is what libFuzzer and tests look for"
)]

mod answer;
mod config;
mod decide;
mod import;
mod path;
mod plan;
mod report;
mod row;

use std::sync::OnceLock;

use privo_reconcile::plan::template::Vars;
use privo_reconcile::plan::{Plan, Reader, SHIPPED};
use url::Url;

/// What stands between the parts of an input.
pub const BETWEEN: u8 = 0x1e;
/// A part that is not there.
pub const NOTHING: u8 = 0x1f;

/// Fails on an input that breaks a promise.
pub type Check = fn(&[u8]);

/// Every check, by the name of its folder in `fuzz/corpus`.
pub const CHECKS: &[(&str, Check)] = &[
    ("answer", answer::check),
    ("config", config::check),
    ("decide", decide::check),
    ("import", import::check),
    ("path", path::check),
    ("plan", plan::check),
    ("report", report::check),
    ("row", row::check),
];

/// Runs a check by its name.
///
/// # Panics
/// When there is none of this name, or the input breaks a promise.
pub fn run(name: &str, data: &[u8]) {
    let (_, check) = CHECKS.iter().find(|(found, _)| *found == name).expect("a check of this name");
    check(data);
}

/// The parts of an input.
fn parts(data: &[u8]) -> impl Iterator<Item = Option<&[u8]>> {
    data.split(|byte| *byte == BETWEEN).map(|part| (part != [NOTHING]).then_some(part))
}

/// What the shipped plans do not use: a list in pages, escapes, several absent answers, headers, a PUT that makes or replaces.
pub const OTHER_PLAN: &str = include_str!("../../../fixtures/plans/everything.toml");

/// The shipped plans, and one that uses the rest of the language, with a server, as every job has them.
fn shipped() -> &'static [(Plan, Url)] {
    static PLANS: OnceLock<Vec<(Plan, Url)>> = OnceLock::new();
    PLANS.get_or_init(|| {
        let plan = |(name, text): &(&str, &str)| {
            let params = Vars::from([("service".to_owned(), "acme".to_owned())]);
            let params = if *name == "privo-consent" { params } else { Vars::new() };
            let server = Url::parse("https://privo.example/prefix").unwrap();
            (Plan::load(name, text, &params).unwrap(), server)
        };
        SHIPPED.iter().chain([&("everything", OTHER_PLAN)]).map(plan).collect()
    })
}

/// A reader under one of the shipped plans.
fn reader(number: usize) -> Reader<'static> {
    let (plan, server) = &shipped()[number % shipped().len()];
    Reader { plan, server, salt: b"a salt of sixteen", also: &[] }
}
