//! Runs of the job at another time than now, so that no test sleeps until its clock shows a later one: what came first
//! happened an hour ago. In this process, for the binary has no clock but the real one.

use std::cell::Cell;
use std::path::Path;

use privo_reconcile::clock::{Moment, Span};
use privo_reconcile::config::Config;
use privo_reconcile::ledger::Ledger;
use privo_reconcile::run::halt::Halt;
use privo_reconcile::run::{Options, run};

use super::Platform;

thread_local! {
    /// How far the clock of this test's runs is behind.
    static BEHIND: Cell<Span> = const { Cell::new(Span::ZERO) };
}

/// A run under this configuration, by the platform's clock.
pub fn run_at(config: &Path, platform: &Platform) {
    let config = Config::load(Some(config)).unwrap();
    let mut ledger = Ledger::open_locked(&config.ledger).unwrap();
    BEHIND.set(platform.behind());
    let clock = || Moment::now() - BEHIND.get();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(run(&config, &mut ledger, &Options::default(), &mut (), clock, Halt::never())).unwrap();
}
