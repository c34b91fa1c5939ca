//! `health`: a probe for containers. It opens the ledger, reads one row, asks no server, and keeps no writer waiting.

use std::io::Write;

use anyhow::{Context, Result, bail};
use serde_json::json;

use crate::cli::HealthArgs;
use crate::clock::Moment;
use crate::config::Config;
use crate::document;
use crate::exit;
use crate::ledger::{Ledger, explained};

/// How a run ends that did its work, and that no alert says anything of.
const WELL: [u8; 3] = [exit::DONE, exit::DUPLICATE_RISK, exit::PENDING];

pub fn health(config: &Config, args: &HealthArgs, json: bool) -> Result<u8> {
    let last = last_good_run(config).map_err(|error| {
        // A probe knows two answers: whatever is wrong with the ledger is the same one.
        let why = format!("{:#}", explained(&config.ledger, error));
        anyhow::Error::msg(why)
    })?;
    let remedy = "see `status`, and the log of the last run";
    let Some(ended) = last else {
        bail!("no run has ended with 0, 3 or 4 yet ({remedy}; if none was started, start one with `run`)");
    };
    if Moment::now().since(ended) > args.within {
        bail!("the last run that ended with 0, 3 or 4 did so at {ended}, longer than {} ago ({remedy})", args.within);
    }
    if json {
        let shown = json!({ "last_good_run": ended.to_string(), "within_seconds": args.within.0 / 1000 });
        document::print("health", exit::DONE, &shown)?;
    } else {
        let mut out = std::io::stdout().lock();
        writeln!(out, "healthy: the last run that ended with 0, 3 or 4 did so at {ended}")?;
        out.flush()?;
    }
    Ok(exit::DONE)
}

fn last_good_run(config: &Config) -> Result<Option<Moment>> {
    let ledger = Ledger::open_to_read(&config.ledger)?;
    ledger.last_run_with(&WELL).context("failed to read the runs")
}
