//! The demo: a partner goes through an outage of an embedded sandbox, the real job finds out what became of its requests,
//! and a judge who knows the truth goes over every verdict.
//!
//! | part | where |
//! |---|---|
//! | its folder, with a configuration and a ledger for each of the two APIs | [`folder`] |
//! | who is there before | [`cast`] |
//! | what the partner wants, drawn from the seed | [`want`], [`draw`] |
//! | how it sends, fails and tries again | [`partner`], [`outage`] |
//! | what really happened, and whether the verdicts say so | [`real`], [`judge`] |
//! | the table | [`table`] |

mod draw;
mod fixtures;
mod folder;
mod judge;
mod outage;
mod partner;
mod real;
mod table;
mod task;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use anyhow::Result;
use fastrand::Rng;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::report::write_report;
use super::run::Bar;
use super::sandbox::{CLIENT, settings};
use super::signals;
use crate::cli::DemoArgs;
use crate::clock::{Moment, Span};
use crate::config::Config;
use crate::document;
use crate::exit;
use crate::ledger::{Ledger, NewEntry};
use crate::run::{self, Options};
use crate::sandbox::{Sandbox, World};
use crate::views::{Entries, Filter, ReportRow};
use fixtures::{Fixtures, locked};
use folder::Job;
use judge::{Finding, Judge};
use partner::{Partner, Played};

/// The job waits no longer than this for what is pending.
const LONGEST_WAIT: Span = Span::seconds(25);

/// Plays, reconciles, judges and tells. Gives the exit code: 0 when no verdict is wrong and nothing is left open that
/// could be decided.
///
/// # Errors
/// When the folder is not the demo's own, or something of the demo itself fails.
pub async fn demo(args: &DemoArgs, json: bool) -> Result<u8> {
    let began = Moment::now();
    folder::make(CLIENT)?;
    let made = Job::all(args.postgres.as_deref());
    made.iter().try_for_each(Job::make_ledger)?;
    // Both kinds of partnership have their turn: with odd seeds, records show when they were made.
    let dated = !args.seed.is_multiple_of(2);
    let mut rng = Rng::with_seed(args.seed);
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let sandbox = Sandbox::start(settings(listen, args.seed, outage::calm(dated))).await?;
    let world = sandbox.world();
    let partner = Partner::enter(&sandbox.url(), CLIENT, CLIENT).await?;
    let fixtures = Fixtures::assemble(&world, &partner, args.registrations, &mut rng).await?;
    let script = draw::script(args.registrations, &fixtures, CLIENT, &mut rng);
    let bar = sending(script.before.len() + script.outage.len() + script.after.len());
    let played = outage::play(&world, &partner, &fixtures, script, dated, &mut rng, &|| bar.inc(1)).await;
    bar.finish_and_clear();
    let mut jobs = Vec::new();
    for job in made {
        let config = job.configure(&sandbox.url(), CLIENT, &fixtures.canary)?;
        record(&job, &partner, &played)?;
        jobs.push((job, config));
    }
    locked(&world).set_faults(crate::sandbox::Faults { shows_created_at: dated, ..Default::default() });
    let mut rows = Vec::new();
    for (job, config) in &jobs {
        rows.extend(reconcile(job, config).await?);
    }
    let findings = judged(&world, &played, &rows);
    sandbox.stop().await;
    let took = Moment::now().since(began);
    if json { tell_json(args, &findings, took) } else { tell(args, dated, &played, &findings, took) }
}

/// What ended in doubt goes into the ledger, with the answered attempts of the same operations. Of one errand sent as two
/// operations, both do: a record may be either's.
fn record(job: &Job, partner: &Partner, played: &[Played]) -> Result<()> {
    let mut writer = Ledger::open(&job.ledger)?;
    let recorded = played.iter().filter(|p| p.task.generation == job.generation);
    let recorded: Vec<&Played> = recorded.filter(|p| p.in_doubt() || p.sibling_in_doubt).collect();
    let urls: Vec<String> = recorded.iter().map(|played| url_of(played, partner)).collect();
    let entries = recorded.iter().zip(&urls).flat_map(|(played, url)| entries_of(played, url));
    writer.record(&entries.collect::<Vec<_>>())
}

fn url_of(played: &Played, partner: &Partner) -> String {
    match played.direction {
        crate::words::Direction::Inbound => played.task.path.clone(),
        crate::words::Direction::Outbound => partner.url_of(&played.task.path),
    }
}

fn entries_of<'a>(played: &'a Played, url: &'a str) -> impl Iterator<Item = NewEntry<'a>> {
    played.attempts.iter().map(move |attempt| NewEntry {
        request_id: &attempt.request_id,
        operation_id: Some(&played.task.operation),
        direction: played.direction,
        method: played.task.method,
        url,
        body: played.task.body.as_deref(),
        sent_at: attempt.sent,
        ended_at: attempt.ended,
        failure: attempt.failure,
        http_status: attempt.status,
        error: attempt.error.as_deref(),
    })
}

/// The real job until nothing is pending, and its report.
async fn reconcile(job: &Job, config: &Config) -> Result<Vec<ReportRow>> {
    let mut ledger = Ledger::open_locked(&config.ledger)?;
    let mut bar = Bar::new();
    let options = Options { wait: Some(LONGEST_WAIT), recheck: false };
    let ran = run::run(config, &mut ledger, &options, &mut bar, Moment::by_the_store, signals::halt()?).await;
    bar.end();
    ran?;
    write_report(config, &mut ledger, &job.report, None)?;
    write_report(config, &mut ledger, &job.page, None)?;
    let mut rows = Vec::new();
    ledger.each_row(&Filter::default(), Entries::Unread, |row| {
        rows.push(row);
        Ok(())
    })?;
    Ok(rows)
}

fn judged(world: &Arc<Mutex<World>>, played: &[Played], rows: &[ReportRow]) -> Vec<Finding> {
    let truth = locked(world).truth(Moment::now().0);
    let judge = Judge::new(&truth, played);
    rows.iter().map(|row| judge.judge(row)).collect()
}

fn tell(args: &DemoArgs, dated: bool, played: &[Played], findings: &[Finding], took: Span) -> Result<u8> {
    let mut out = std::io::stdout().lock();
    table::story(&mut out, args, dated, played, findings.len())?;
    table::verdicts(&mut out, findings)?;
    let good = table::faults(&mut out, findings, took)?;
    table::next(&mut out, args, findings)?;
    Ok(if good { exit::DONE } else { exit::FAILED })
}

fn tell_json(args: &DemoArgs, findings: &[Finding], took: Span) -> Result<u8> {
    let code = if findings.iter().all(|finding| finding.fault.is_none()) { exit::DONE } else { exit::FAILED };
    document::print("demo", code, &table::json(args, findings, took))?;
    Ok(code)
}

fn sending(all_series: usize) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(all_series as u64), ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} sent by the partner") {
        bar.set_style(style);
    }
    bar
}
