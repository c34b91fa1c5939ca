//! `run`: the job, with its progress and its report.

use std::io::{IsTerminal, Write};

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cli::RunArgs;
use crate::clock::Moment;
use crate::config::Config;
use crate::exit;
use crate::ledger::Ledger;
use crate::report;
use crate::run::halt::Halt;
use crate::run::{self, Options, Summary, Watcher};
use crate::words::Status;

/// Runs the job once; `halt` asks it to stop.
pub async fn run(config: &Config, args: &RunArgs, halt: Halt) -> Result<u8> {
    let ledger = Ledger::open(&config.ledger)?;
    let _lock = Ledger::lock(&config.ledger)?;
    let options = Options { wait: args.wait, recheck: args.recheck };
    if args.dry_run {
        return dry_run(config, &ledger, &options, halt).await;
    }
    let mut ledger = ledger;
    let mut bar = Bar::new();
    let summary = run::run(config, &mut ledger, &options, &mut bar, Moment::now, halt).await;
    bar.end();
    let summary = summary?;
    leave_report(config, &ledger, args, &summary)?;
    if std::io::stderr().is_terminal() {
        say(&ledger, &summary)?;
    }
    let (duplicate_risk, pending) = ledger.state()?;
    Ok(exit::of_state(duplicate_risk, pending))
}

/// The report that was asked for, or the dated one of what changed.
fn leave_report(config: &Config, ledger: &Ledger, args: &RunArgs, summary: &Summary) -> Result<()> {
    if let Some(file) = &args.report {
        return super::tell::write_report(config, ledger, file, None, false);
    }
    let Some(folder) = &config.report_dir else { return Ok(()) };
    if summary.settled == 0 {
        return Ok(());
    }
    let stamp = Moment::now().to_string().replace(['-', ':'], "");
    let stamp = stamp.split('.').next().unwrap_or_default().to_owned();
    let file = folder.join(format!("privo-reconcile-{stamp}Z-run{}.csv", summary.run));
    std::fs::create_dir_all(folder).with_context(|| format!("failed to make report.dir {}", folder.display()))?;
    super::tell::write_report(config, ledger, &file, Some(summary.run), false)
}

/// Runs on a copy in memory and prints what would be decided. The ledger is only read.
async fn dry_run(config: &Config, ledger: &Ledger, options: &Options, halt: Halt) -> Result<u8> {
    let mut copy = ledger.copy_in_memory()?;
    let mut bar = Bar::new();
    let summary = run::run(config, &mut copy, options, &mut bar, Moment::now, halt).await;
    bar.end();
    let summary = summary?;
    let mut out = std::io::stdout().lock();
    let mut lines = Vec::new();
    copy.each_row(None, |row| {
        let changed = row.last_checked.is_some() || row.status != Status::Pending;
        if changed {
            let cells = report::cells(&row, None);
            lines.push([&cells[0], &cells[8], &cells[9], &cells[10], &cells[11]].map(String::as_str).join("\t"));
        }
        Ok(())
    })?;
    for line in lines {
        writeln!(out, "{line}")?;
    }
    out.flush()?;
    if std::io::stderr().is_terminal() {
        eprintln!(
            "dry run: {} would be settled, {} stay pending; nothing was written",
            summary.settled, summary.deferred
        );
    }
    let (duplicate_risk, pending) = ledger.state()?;
    Ok(exit::of_state(duplicate_risk, pending))
}

fn say(ledger: &Ledger, summary: &Summary) -> Result<()> {
    let counts = ledger.counts()?;
    eprintln!(
        "run {}: {} examined with {} requests, {} settled, {} deferred; now {} resolved, {} duplicate-risk, {} pending",
        summary.run,
        summary.examined,
        summary.requests,
        summary.settled,
        summary.deferred,
        counts.of(Status::Resolved),
        counts.of(Status::DuplicateRisk),
        counts.of(Status::Pending),
    );
    Ok(())
}

/// Progress on a terminal; elsewhere only what a person must hear of.
pub struct Bar {
    bar: ProgressBar,
}

impl Bar {
    /// A bar without a length yet.
    pub fn new() -> Bar {
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} entries {msg}") {
            bar.set_style(style);
        }
        Bar { bar }
    }

    /// Takes the bar away.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}

impl Watcher for Bar {
    fn begins(&mut self, due: u64) {
        self.bar.set_message("");
        self.bar.set_length(self.bar.position() + due);
    }

    fn did(&mut self, entries: u64) {
        self.bar.inc(entries);
    }

    fn waits(&mut self, until: Moment) {
        self.bar.set_message(format!("waiting until {until}"));
    }

    fn says(&mut self, what: &str) {
        // That standard error's disk is full ends no run.
        self.bar.suspend(|| {
            let _ = writeln!(std::io::stderr(), "privo-reconcile: {what}");
        });
    }
}
