//! `check`: the doctor. Whether a run would do its work, each finding with its remedy.
//!
//! It goes on after a finding wherever it can, for one mistake often hides the next. It changes nothing, and a run and its
//! writers may go on beside it.

mod assumptions;
mod entries;
#[cfg(unix)]
mod files;
mod findings;
mod server;

use anyhow::Result;

use crate::cli::{CheckArgs, Cli};
use crate::clock::Moment;
use crate::config::Config;
use crate::config::places::Places;
use crate::exit::Refused;
use crate::ledger::{Ledger, VERSION};
use crate::schedule::crontab::Line;
use findings::Findings;

pub async fn check(cli: &Cli, args: &CheckArgs) -> Result<u8> {
    let mut findings = Findings::new(cli.json);
    look_around(cli, args, &mut findings).await?;
    findings.end()
}

async fn look_around(cli: &Cli, args: &CheckArgs, findings: &mut Findings) -> Result<()> {
    let Some(config) = configuration(cli, findings)? else { return Ok(()) };
    #[cfg(unix)]
    files::check(&config, findings)?;
    let wanted = match ledger(&config, findings)? {
        Some(ledger) => entries::check(&config, &ledger, findings)?,
        None => entries::Wanted::default(),
    };
    schedule(&config, findings)?;
    // What else a configuration may have in it gets a file and a line of its own here.
    server::check(&config, &wanted, args.assumptions, findings).await
}

/// Its own schedule, if it has one.
fn schedule(config: &Config, findings: &mut Findings) -> Result<()> {
    let Some(scheduled) = &config.schedule else { return Ok(()) };
    let lines: Vec<String> = scheduled.starts.lines.iter().map(Line::in_words).collect();
    let next = scheduled.starts.next(Moment::now()).map(|start| start.at.to_string());
    let next = next.unwrap_or("none up to the year 2100".to_owned());
    findings.good(format!("schedule: {}, in {}; next start {next}", lines.join("; "), scheduled.starts.zone))
}

/// Where it was found, what else is there, and whether it can be read.
fn configuration(cli: &Cli, findings: &mut Findings) -> Result<Option<Config>> {
    let places = Places::look(cli.config.as_deref());
    let config = match Config::load_from(&places) {
        Ok(config) => config,
        Err(error) => {
            findings.failed(&anyhow::Error::new(Refused(format!("{error:#}"))))?;
            return Ok(None);
        }
    };
    let order =
        if places.named { "named by --config".to_owned() } else { format!("in this order: {}", places.shown()) };
    findings.good(format!(
        "configuration {}: plan {}, server {} ({order})",
        config.file.display(),
        config.plan.name,
        config.server.base_url
    ))?;
    for unused in places.unused() {
        findings.note(format!(
            "the configuration {} is not used, for {} comes first (name it with --config, or remove one of them)",
            unused.display(),
            config.file.display()
        ))?;
    }
    if let Err(error) = super::set_up_log(cli, &config) {
        findings.failed(&error)?;
    }
    Ok(Some(config))
}

/// Whether it is one, of this binary's version, writable and whole.
fn ledger(config: &Config, findings: &mut Findings) -> Result<Option<Ledger>> {
    let mut ledger = match super::opened(config, Ledger::open_unchanged) {
        Ok(ledger) => ledger,
        Err(error) => {
            findings.failed(&error)?;
            return Ok(None);
        }
    };
    match ledger.check_integrity().and_then(|()| ledger.check_writable()) {
        Ok(()) => findings.good(format!("ledger {}: whole, may be written, version {VERSION}", ledger.place()))?,
        Err(error) => findings.failed(&error)?,
    }
    for finding in ledger.findings()? {
        let said = format!("{} ({})", finding.what, finding.remedy);
        if finding.is_grave { findings.bad(said)? } else { findings.note(said)? }
    }
    match ledger.faults_of_entries() {
        Ok(faults) => {
            if !faults.is_empty() {
                findings.note(format!(
                    "the table `entries` has lost {} (the next command that writes puts it back and reads what came meanwhile; \
                     have your migration give the table back as schema.sql makes it)",
                    faults.join(", ")
                ))?;
            }
            for index in ledger.second_keys()? {
                findings.bad(format!(
                    "the unique index `{index}` of your own on `request_id`: a repeated INSERT, which is to change nothing, fails \
                     (drop it: the table's own key does the same)"
                ))?;
            }
            Ok(Some(ledger))
        }
        Err(error) => {
            findings.failed(&error.context("failed to read the ledger"))?;
            Ok(None)
        }
    }
}
