//! What the demo tells: the story in short, the verdicts against the truth, and what to try next.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::Result;
use serde_json::{Value, json};

use super::folder::{FOLDER, Job};
use super::judge::{Fault, Finding};
use super::partner::Played;
use super::real::Happened;
use crate::cli::DemoArgs;
use crate::clock::Span;
use crate::words::Outcome;

/// The columns: every outcome, and pending.
const COLUMNS: [Option<Outcome>; 7] = [
    Some(Outcome::Applied),
    Some(Outcome::Satisfied),
    Some(Outcome::NotApplied),
    Some(Outcome::Duplicated),
    Some(Outcome::PartlyApplied),
    Some(Outcome::Unknown),
    None,
];

/// Wrong verdicts that are told one by one, at the most.
const LINES: usize = 40;

/// What was played.
pub fn story(out: &mut impl Write, args: &DemoArgs, dated: bool, played: &[Played], entries: usize) -> Result<()> {
    let attempts: usize = played.iter().map(|played| played.attempts.len()).sum();
    let shown = if dated { "show" } else { "do not show" };
    writeln!(
        out,
        "A partner made {} registrations and sent what else partners send: {attempts} requests (seed {}). The server had an",
        args.registrations, args.seed
    )?;
    writeln!(
        out,
        "outage in the middle third; its records {shown} when they were made. {entries} requests ended in doubt."
    )?;
    Ok(writeln!(out, "What the job says of them, against what really happened:\n")?)
}

/// The table: what really happened by verdict.
pub fn verdicts(out: &mut impl Write, findings: &[Finding]) -> Result<()> {
    let mut counts: BTreeMap<Happened, [usize; COLUMNS.len()]> = BTreeMap::new();
    let mut totals = [0; COLUMNS.len()];
    for finding in findings {
        if let Some(column) = COLUMNS.iter().position(|column| *column == finding.outcome) {
            counts.entry(finding.happened).or_default()[column] += 1;
            totals[column] += 1;
        }
    }
    let heads: Vec<&str> = COLUMNS.iter().map(|column| column.map_or("pending", Outcome::text)).collect();
    write!(out, "{:<26}", "what really happened")?;
    for head in &heads {
        write!(out, "  {head:>width$}", width = head.len().max(7))?;
    }
    writeln!(out)?;
    for (happened, row) in &counts {
        line(out, happened.text(), row, &heads)?;
    }
    line(out, "total", &totals, &heads)?;
    Ok(writeln!(out)?)
}

fn line(out: &mut impl Write, name: &str, row: &[usize], heads: &[&str]) -> Result<()> {
    write!(out, "{name:<26}")?;
    for (count, head) in row.iter().zip(heads) {
        let text = if *count == 0 { "·".to_owned() } else { count.to_string() };
        write!(out, "  {text:>width$}", width = head.len().max(7))?;
    }
    Ok(writeln!(out)?)
}

/// Each wrong verdict, then how many there are. True when there are none.
pub fn faults(out: &mut impl Write, findings: &[Finding], took: Span) -> Result<bool> {
    let mut wrong = 0;
    let mut undecided = 0;
    for finding in findings {
        let (count, kind, why) = match &finding.fault {
            None => continue,
            Some(Fault::Wrong(why)) => (&mut wrong, "WRONG", why),
            Some(Fault::Undecided(why)) => (&mut undecided, "UNDECIDED", why),
        };
        *count += 1;
        if *count <= LINES {
            writeln!(
                out,
                "{kind} {}: {} ({}), but {} ({why})",
                finding.request_id,
                said(finding),
                finding.reason,
                finding.happened.text()
            )?;
        }
    }
    writeln!(
        out,
        "{} entries, {wrong} wrong, {undecided} undecided that could be decided, in {}.{} s",
        findings.len(),
        took.0 / 1000,
        took.0 % 1000 / 100
    )?;
    Ok(wrong + undecided == 0)
}

/// All of it as a JSON object; its keys are described in `docs/JSON.md`.
pub fn json(args: &DemoArgs, findings: &[Finding], took: Span) -> Value {
    let mut counts: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for finding in findings {
        *counts.entry((finding.happened.text(), said(finding))).or_default() += 1;
    }
    let count = |((happened, outcome), entries): (&(&str, &str), &u64)| json!({ "happened": happened, "outcome": outcome, "entries": entries });
    let faults = |wrong: bool| {
        let of_kind = findings.iter().filter_map(move |finding| match &finding.fault {
            Some(Fault::Wrong(why)) if wrong => Some((finding, why)),
            Some(Fault::Undecided(why)) if !wrong => Some((finding, why)),
            _ => None,
        });
        let fault = |(finding, why): (&Finding, &&str)| json!({ "request_id": finding.request_id, "outcome": said(finding), "reason": finding.reason, "happened": finding.happened.text(), "why": why });
        of_kind.map(fault).collect::<Vec<_>>()
    };
    let jobs = Job::all(args.postgres.as_deref())
        .into_iter()
        .map(|job| json!({ "name": job.name(), "config": job.config, "ledger": job.ledger.to_string(), "report": job.report, "page": job.page }));
    json!({
        "registrations": args.registrations,
        "seed": args.seed,
        "entries": findings.len(),
        "verdicts": counts.iter().map(count).collect::<Vec<_>>(),
        "wrong": faults(true),
        "undecided": faults(false),
        "took_seconds": took.duration().as_secs_f64(),
        "jobs": jobs.collect::<Vec<_>>(),
    })
}

fn said(finding: &Finding) -> &'static str {
    finding.outcome.map_or("pending", Outcome::text)
}

/// Where everything is, and what to try next.
pub fn next(out: &mut impl Write, args: &DemoArgs, findings: &[Finding]) -> Result<()> {
    writeln!(out, "\nFor a look at them:")?;
    for job in Job::all(args.postgres.as_deref()) {
        writeln!(
            out,
            "  {:<17} {}, {}, {}; in a browser: {}",
            job.name(),
            job.config.display(),
            job.ledger,
            job.report.display(),
            job.page.display()
        )?;
    }
    let shown = findings.iter().find(|finding| finding.happened == Happened::Late).or(findings.first());
    writeln!(out, "\nTry:\n  cd {FOLDER}\n  privo-reconcile status")?;
    if let Some(finding) = shown {
        let consent = if finding.of_consent { "--config consent.toml " } else { "" };
        writeln!(out, "  privo-reconcile {consent}show {}", finding.request_id)?;
    }
    writeln!(out, "  privo-reconcile --config consent.toml status")?;
    Ok(writeln!(
        out,
        "The sandbox ended with the demo: `run` needs one (`privo-reconcile sandbox`, with its address in the configuration)."
    )?)
}
