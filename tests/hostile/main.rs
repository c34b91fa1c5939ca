//! The campaign of hostile servers and hostile rows: the real binary against servers that do whatever they can to their
//! clients, and against ledgers that broken or malicious writers filled. Whatever comes, no verdict may be wrong, no entry
//! lost, nothing leaked, and what is sent to a server in trouble is bounded.
//!
//! A seeded part runs with the other tests; the whole one, whose figures are in `docs/FAULTS.md`, with
//! `cargo test --test hostile -- --ignored --nocapture --test-threads 1`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

#[path = "../util/mod.rs"]
mod util;

mod answers;
mod bodies;
mod judge;
mod rows;
mod server;
mod tls;
mod trouble;

use std::collections::BTreeMap;

use judge::{Case, Figures};
use rows::Family;

/// Every case of hostile servers, in the order of the table.
fn cases() -> Vec<Case> {
    [trouble::cases(), bodies::cases(), answers::cases()].concat()
}

#[test]
fn no_server_makes_the_job_wrong() {
    // One of each fault, out of its middle; those that wait are left to the whole.
    let mut faults: BTreeMap<&str, Vec<Case>> = BTreeMap::new();
    for case in cases().into_iter().filter(|case| !case.slow) {
        faults.entry(case.fault).or_default().push(case);
    }
    let some = faults.into_values().map(|mut cases| cases.swap_remove(cases.len() / 2)).collect();
    Figures::of(some).hold();
}

#[test]
#[ignore = "takes some minutes: the figures of docs/FAULTS.md"]
fn every_fault_of_a_server() {
    let figures = Figures::of(cases());
    figures.print();
    figures.hold();
}

#[test]
#[ignore = "takes some minutes: the figures of docs/FAULTS.md"]
fn every_bad_certificate() {
    let Some(lines) = tls::bad() else { return };
    let figures = Figures::from(lines);
    figures.print();
    figures.hold();
}

#[test]
fn no_row_stops_the_job() {
    let quick: Vec<Family> = rows::families().into_iter().filter(|family| !family.slow).collect();
    let tried = std::thread::scope(|scope| {
        let started: Vec<_> = quick.iter().map(|family| scope.spawn(|| rows::tried(family, rows::QUICK))).collect();
        started.into_iter().map(|trying| trying.join().unwrap()).collect()
    });
    Figures::from(tried).hold();
}

#[test]
#[ignore = "takes some minutes: the figures of docs/FAULTS.md"]
fn every_fault_of_a_row() {
    // Each in a thread of its own, for the personal values that are looked for are noted by thread.
    let alone = |family: &Family| std::thread::scope(|scope| scope.spawn(|| rows::tried(family, rows::WHOLE)).join());
    let figures = Figures::from(rows::families().iter().map(|family| alone(family).unwrap()).collect());
    figures.print();
    figures.hold();
}
