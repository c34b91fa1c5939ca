//! `run`: the job, with its progress, its report, and all who are told of it.

use std::io::{IsTerminal, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};
use tracing::Instrument;

use crate::cli::RunArgs;
use crate::clock::{Moment, Span, Tick, tick};
use crate::config::Config;
use crate::document;
use crate::exit::{self, Refused};
use crate::ledger::{self, Ledger, RunId};
use crate::log;
use crate::notice::{self, Settled, alert};
use crate::report;
use crate::run::halt::{Ending, Halt};
use crate::run::{self, Options, Summary, Watcher};
use crate::views::{Entries, Filter, LedgerState};
use crate::words::Status;

/// Runs the job once for whoever started the command: the codes that are named as success are given as 0, and everything else
/// that is said stays as it is.
pub async fn run_for(config: &Config, args: &RunArgs, json: bool, halt: Halt) -> Result<u8> {
    let named = if args.success.is_empty() { &config.success } else { &args.success };
    let ended = run(config, args, json, halt).await;
    let code = ended.as_ref().map_or_else(exit::of_error, |code| *code);
    if !named.contains(&code) {
        return ended;
    }
    if let Err(error) = &ended {
        super::say_error(error);
        if json {
            document::print_error("run", code, &format!("{error:#}"))?;
        }
    }
    Ok(exit::DONE)
}

/// Runs the job once; `halt` asks it to stop.
pub async fn run(config: &Config, args: &RunArgs, json: bool, halt: Halt) -> Result<u8> {
    if json && args.report.as_deref().is_some_and(|file| file.as_os_str() == "-") {
        bail!(Refused("--json and `--report -` both want standard output (name a file for the report)".to_owned()));
    }
    // Its report needs them: a missing key is told before anything is done.
    config.pseudonym_keys()?;
    // A run that could not leave its report, or reach the server, does not begin.
    config.server.ca_pem()?;
    config.refuse_protected_outputs()?;
    if let Some(file) = &args.report {
        super::report::refuse_protected(config, file)?;
    }
    if args.dry_run {
        return dry_run(config, args, json, halt).await;
    }
    // Whatever is logged within bears the run's id, once there is one.
    let span = tracing::error_span!("run", run = tracing::field::Empty);
    heard(config, args, json, halt).instrument(span).await
}

/// Runs the job, and tells all who are to be told that it begins and how it ended.
async fn heard(config: &Config, args: &RunArgs, json: bool, mut halt: Halt) -> Result<u8> {
    tokio::select! {
        biased;
        () = config.notices.begins() => {}
        _ = halt.asked() => {}
    }
    let mut job = Job { config, started: Moment::now(), ledger: None, bar: Bar::new() };
    let done = job.work(args, halt.clone()).await.map_err(|error| ledger::explained(&config.ledger, error));
    job.bar.end();
    let (summary, done) = job.account(done, json);
    let (summary, done) = job.note_exit(summary, done);
    let secrets = config.secret_variables();
    tokio::select! {
        () = config.notices.ended(&summary, &secrets) => {}
        // The work is done; nobody waits for those who do not listen.
        () = patience(&mut halt, config) => {}
    }
    if log::tells_runs() {
        let whole = serde_json::to_string(&summary)?;
        tracing::info!(event = "run-ends", summary = %whole, "{}", summary.line());
    }
    if json {
        document::print("run", summary.exit, &summary)?;
    } else if done.is_ok() && std::io::stderr().is_terminal() && log::is_plain() {
        job.say(&summary)?;
    }
    done.map(|()| summary.exit)
}

/// How long those are waited for who are told: until a signal, and of a run that a signal stopped, until the next one or as
/// long as a stop may take.
async fn patience(halt: &mut Halt, config: &Config) {
    match halt.code() {
        None => _ = halt.asked().await,
        Some(_) => Ending::new(halt, config.stop_timeout()).at_once().await,
    }
}

/// One run, and what it has in hand.
struct Job<'a> {
    config: &'a Config,
    started: Moment,
    /// Once it was opened; with the lock, until all is told.
    ledger: Option<Ledger>,
    bar: Bar,
}

impl Job<'_> {
    async fn work(&mut self, args: &RunArgs, halt: Halt) -> Result<()> {
        let ledger = match super::opened(self.config, Ledger::open_locked) {
            Ok(ledger) => self.ledger.insert(ledger),
            Err(error) => {
                // Those who are told want to know of which ledger.
                self.ledger = Ledger::open_to_read(&self.config.ledger).ok();
                return Err(error);
            }
        };
        let options = Options { wait: args.wait, recheck: args.recheck };
        let summary = run::run(self.config, ledger, &options, &mut self.bar, Moment::by_the_store, halt).await?;
        self.bar.end();
        leave_report(self.config, ledger, args, &summary)
    }

    /// What the run did and how the ledger stands, with the alerts that fire; and the run's end, which is a failure when
    /// that cannot be told.
    fn account(&mut self, done: Result<()>, json: bool) -> (notice::Summary, Result<()>) {
        let wanted = json || log::tells_runs() || self.config.notices.want_ledger_state();
        let state = self.ledger.as_mut().map(Ledger::state).transpose();
        let ledger = self.ledger.as_ref();
        let ledger_state = ledger.filter(|_| wanted).map(Ledger::ledger_state).transpose();
        let (state, ledger_state, done) = match (done, state, ledger_state) {
            (done, Ok(state), Ok(ledger_state)) => (state, ledger_state, done),
            (Err(error), ..) | (Ok(()), Err(error), _) | (Ok(()), _, Err(error)) => (None, None, Err(error)),
        };
        let ended = Moment::now();
        let alerts =
            ledger_state.as_ref().map(|ledger_state| alert::fired(&self.config.notices.rules, ledger_state, ended));
        let alerts = alerts.unwrap_or_default();
        for alert in &alerts {
            tracing::warn!(event = "alert", alert = %alert.name, "alert {}: {}", alert.name, alert.message);
        }
        let (duplicate_risk, pending) = state.unwrap_or_default();
        let exit = match &done {
            Ok(()) => exit::of_run(!alerts.is_empty(), duplicate_risk, pending),
            Err(error) => exit::of_error(error),
        };
        let error = done.as_ref().err().map(|error| format!("{error:#}"));
        (self.summary(exit, error, ended, ledger_state, alerts), done)
    }

    /// Leaves the run's exit code in the ledger, for `health`. A run that cannot do so failed.
    fn note_exit(&mut self, mut summary: notice::Summary, done: Result<()>) -> (notice::Summary, Result<()>) {
        let (Some(ledger), Some(run)) = (&mut self.ledger, summary.run) else { return (summary, done) };
        let noted = ledger.note_exit(RunId(run), summary.exit).context("failed to note how the run ended");
        let done = done.and(noted);
        if let (Err(error), None) = (&done, &summary.error) {
            summary.exit = exit::of_error(error);
            summary.error = Some(format!("{error:#}"));
        }
        (summary, done)
    }

    fn summary(
        &self,
        exit: u8,
        error: Option<String>,
        ended: Moment,
        ledger_state: Option<LedgerState>,
        alerts: Vec<alert::Alert>,
    ) -> notice::Summary {
        let did = self.bar.did.clone().unwrap_or_default();
        notice::Summary {
            run: self.bar.did.as_ref().map(|did| did.run),
            ledger: self.ledger.as_ref().map(|ledger| ledger.identity().to_owned()),
            server: self.config.server.base_url.origin().ascii_serialization(),
            plan: self.config.plan.name.clone(),
            plan_digest: self.config.plan.digest.clone(),
            started: self.started,
            ended,
            exit,
            examined: did.examined,
            requests: did.requests,
            settled: Settled {
                resolved: did.settled - did.settled_duplicate_risk,
                duplicate_risk: did.settled_duplicate_risk,
            },
            deferred: did.deferred,
            corrections: did.corrections,
            lookups: did.seen,
            trouble: did.trouble,
            error,
            ledger_state,
            alerts,
        }
    }

    /// For a person at a terminal.
    fn say(&self, summary: &notice::Summary) -> Result<()> {
        let Some(ledger) = &self.ledger else { return Ok(()) };
        let counts = ledger.counts()?;
        eprintln!(
            "run {}: {} examined with {} requests, {} settled, {} deferred; now {} resolved, {} duplicate-risk, {} pending",
            summary.run.unwrap_or_default(),
            summary.examined,
            summary.requests,
            summary.settled.total(),
            summary.deferred,
            counts.of(Status::Resolved),
            counts.of(Status::DuplicateRisk),
            counts.of(Status::Pending),
        );
        let steps = report::steps(&ledger.to_do()?, Some(Moment::now()), self.config.time_zone);
        report::lines(&steps).iter().for_each(|line| eprintln!("{line}"));
        Ok(())
    }
}

/// The report that was asked for, or the dated one of what changed.
fn leave_report(config: &Config, ledger: &mut Ledger, args: &RunArgs, summary: &Summary) -> Result<()> {
    if let Some(file) = &args.report {
        super::report::write_report(config, ledger, file, None)?;
        return Ok(());
    }
    let Some(folder) = &config.report_dir else { return Ok(()) };
    if summary.settled == 0 {
        return Ok(());
    }
    let stamp = Moment::now().to_string().replace(['-', ':'], "");
    let stamp = stamp.split('.').next().unwrap_or_default().to_owned();
    let file = folder.join(format!("privo-reconcile-{stamp}Z-run{}.csv", summary.run));
    make_folder(folder).with_context(|| format!("failed to make report.dir {}", folder.display()))?;
    super::report::write_report(config, ledger, &file, Some(summary.run))?;
    Ok(())
}

/// For the user and the group, as the reports in it.
fn make_folder(folder: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o770);
    builder.recursive(true).create(folder)
}

/// Runs on a copy in memory and prints what would be decided. The ledger is only read.
async fn dry_run(config: &Config, args: &RunArgs, json: bool, halt: Halt) -> Result<u8> {
    let ledger = super::opened(config, Ledger::open_locked_unchanged)?;
    let mut copy = ledger.copy_in_memory()?;
    // Of the copy, in which rows are noted that came without their triggers.
    let (duplicate_risk, pending) = copy.state()?;
    let mut bar = Bar::new();
    let options = Options { wait: args.wait, recheck: args.recheck };
    let summary = run::run(config, &mut copy, &options, &mut bar, Moment::by_the_store, halt).await;
    bar.end();
    let summary = summary?;
    let rows = would_be(&copy)?;
    let code = exit::of_state(duplicate_risk, pending);
    if json {
        let shown = json!({
            "dry_run": true,
            "ledger": ledger.identity(),
            "examined": summary.examined,
            "requests": summary.requests,
            "settled": summary.settled,
            "deferred": summary.deferred,
            "trouble": summary.trouble,
            "rows": rows.iter().map(would_be_json).collect::<Vec<_>>(),
        });
        document::print("run", code, &shown)?;
        return Ok(code);
    }
    let mut out = std::io::stdout().lock();
    for row in rows {
        writeln!(out, "{}", row.join("\t"))?;
    }
    out.flush()?;
    if std::io::stderr().is_terminal() {
        eprintln!(
            "dry run: {} would be settled, {} stay pending; nothing was written",
            summary.settled, summary.deferred
        );
    }
    Ok(code)
}

/// The columns of the report that a dry run prints.
const WOULD_BE: [&str; 5] = ["request_id", "status", "outcome", "reason", "action"];

/// What would be said of each entry that was looked at.
fn would_be(copy: &Ledger) -> Result<Vec<[String; 5]>> {
    let mut rows = Vec::new();
    copy.each_row(&Filter::default(), Entries::Unread, |row| {
        let changed = row.last_checked.is_some() || row.status != Status::Pending;
        if changed {
            rows.push(WOULD_BE.map(|name| report::cell(&row, name)));
        }
        Ok(())
    })?;
    Ok(rows)
}

fn would_be_json(row: &[String; 5]) -> Value {
    let known = |cell: &String| if cell.is_empty() { Value::Null } else { json!(cell) };
    Value::Object(WOULD_BE.iter().zip(row).map(|(name, cell)| ((*name).to_owned(), known(cell))).collect())
}

/// Progress on a terminal; elsewhere only what a person must hear of.
pub struct Bar {
    bar: ProgressBar,
    /// Entries that this pass has still to look at.
    left: u64,
    /// When the pass began, and how many it has looked at.
    pass: (Tick, u64),
    /// What the run did, once it has ended.
    did: Option<Summary>,
}

impl Bar {
    /// A bar without a length yet.
    pub fn new() -> Bar {
        let target = if log::is_plain() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(0), target);
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos} of {len} entries settled{msg}") {
            bar.set_style(style);
        }
        Bar { bar, left: 0, pass: (tick(), 0), did: None }
    }

    /// What this pass has still to look at, with the time that it takes at the rate so far.
    fn looks_left(&self) -> String {
        let (began, looked) = self.pass;
        let a_look = began.elapsed().as_secs_f64() / looked.max(1) as f64;
        let left = Span::seconds((a_look * self.left as f64).ceil() as i64);
        let time = if looked == 0 { String::new() } else { format!(", about {left}") };
        if self.left == 0 { String::new() } else { format!("; {} to be looked at{time}", self.left) }
    }

    /// Takes the bar away.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}

impl Watcher for Bar {
    fn begins(&mut self, due: u64) {
        // What waits for another look is among those that were counted before.
        let known = self.bar.length().unwrap_or_default();
        self.bar.set_length(known.max(self.bar.position() + due));
        (self.left, self.pass) = (due, (tick(), 0));
        self.bar.set_message(self.looks_left());
    }

    fn did(&mut self, entries: u64, settled: u64) {
        self.left = self.left.saturating_sub(entries);
        self.pass.1 += entries;
        self.bar.set_length(self.bar.length().unwrap_or_default().max(self.bar.position() + settled));
        self.bar.set_message(self.looks_left());
        self.bar.inc(settled);
    }

    fn waits(&mut self, until: Moment) {
        self.bar.set_message(format!("; waiting until {until}"));
    }

    fn says(&mut self, event: &'static str, what: &str) {
        self.bar.suspend(|| tracing::warn!(event, "{what}"));
    }

    fn ended(&mut self, did: &Summary) {
        self.did = Some(did.clone());
    }
}
