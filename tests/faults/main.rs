//! Proves that no fault at the edge of a file or a connection loses an entry, makes a verdict wrong, tears a file or shows
//! what nobody may see: SIGKILL at every boundary, writes that fail, a power cut, damaged files, a clock that steps. The
//! real binary, a real file, and a shim (`shim.c`) between the two.
//!
//! `cargo test` takes some boundaries of each command; all of them, with the table of `docs/FAULTS.md`:
//! `cargo test --test faults -- --ignored --nocapture --test-threads 1`.

#![cfg(all(target_os = "linux", target_env = "gnu"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot be set up has failed")]

#[path = "../util/mod.rs"]
mod util;

mod campaign;
mod clock;
mod files;
mod scenes;
mod shim;
mod stage;
mod tally;

use campaign::Which;
use shim::{Do, Fault, Kinds};

/// Every kind of fault that has boundaries.
fn faults() -> Vec<(&'static str, Fault)> {
    let disk = |act| Fault::new(act).of(Kinds::Disk);
    vec![
        ("killed before", Fault::new(Do::Before)),
        ("killed after", Fault::new(Do::After)),
        ("killed in a write", Fault::new(Do::Torn).of(Kinds::Writes)),
        ("power cut, all unsynced lost", disk(Do::Lose(0))),
        ("power cut, sectors lost by chance", disk(Do::Lose(1))),
        ("disk full once", disk(Do::Full)),
        ("disk full from then on", disk(Do::Full).lasting()),
        ("half a write, then full", Fault::new(Do::Half).of(Kinds::Writes).lasting()),
        ("half a write, once", Fault::new(Do::Short).of(Kinds::Writes)),
        ("I/O error once", disk(Do::Io)),
        ("I/O errors from then on", disk(Do::Io).lasting()),
        ("sync fails once", Fault::new(Do::Io).of(Kinds::Syncs)),
        ("syncs fail from then on", Fault::new(Do::Io).of(Kinds::Syncs).lasting()),
    ]
}

#[test]
fn some_boundaries_of_every_command() {
    campaign::of(&faults(), Which::Some);
}

#[test]
#[ignore = "minutes: every boundary of every command, under every fault"]
fn every_boundary_of_every_command() {
    campaign::of(&faults(), Which::Every);
}
