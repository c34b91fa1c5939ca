//! `prune`: what was settled long ago loses its personal fields.

use std::io::{IsTerminal, Write};

use anyhow::{Result, bail};
use serde_json::json;

use crate::cli::PruneArgs;
use crate::clock::Moment;
use crate::config::Config;
use crate::document;
use crate::exit::{self, Refused};
use crate::ledger::{Ledger, Pruned, Terms};
use crate::pseudonym;

pub fn prune(config: &Config, args: &PruneArgs, json: bool) -> Result<u8> {
    let Some(keep) = args.older_than.or(config.retention) else {
        let remedy = "set [retention] settled = \"90d\" in the configuration, or give --older-than";
        bail!(Refused(format!("nothing says how long personal fields stay ({remedy})")));
    };
    let keys = config.pseudonym_keys()?;
    let mut ledger = match args.dry_run {
        true => super::opened(config, Ledger::open)?,
        false => super::opened_alone(config, args.wait_lock)?,
    };
    let terms = Terms { now: Moment::now(), keep, watch: config.windows.watch };
    if args.dry_run {
        let would = ledger.prunable(&terms)?;
        return if json { tell(&ledger, &would, true) } else { say(&would) };
    }
    let salt = ledger.salt().to_vec();
    let reader = config.reader(&salt);
    let named = |subject: &str| keys.as_ref().map(|keys| pseudonym::of(&keys.current, subject));
    let pruned = ledger.prune(&reader, &terms, &named)?;
    ledger.clean()?;
    if std::io::stderr().is_terminal() {
        let _ = writeln!(std::io::stderr(), "removed the personal fields of {} entries", pruned.entries());
    }
    if pruned.left > 0 {
        bail!(
            "{} entries were left whole, for their verdicts would not follow any more from what is left of their evidence (does `verify` find a difference?)",
            pruned.left
        );
    }
    if json { tell(&ledger, &pruned, false) } else { Ok(exit::DONE) }
}

fn tell(ledger: &Ledger, pruned: &Pruned, dry_run: bool) -> Result<u8> {
    let rows = pruned.counts.iter();
    let rows =
        rows.map(|((operation, status), count)| json!({"operation": operation, "status": status, "entries": count}));
    let told = json!({
        "ledger": ledger.identity(),
        "dry_run": dry_run,
        "entries": pruned.entries(),
        "rows": rows.collect::<Vec<_>>(),
    });
    document::print("prune", exit::DONE, &told)?;
    Ok(exit::DONE)
}

fn say(pruned: &Pruned) -> Result<u8> {
    let mut out = std::io::stdout().lock();
    for ((operation, status), count) in &pruned.counts {
        writeln!(out, "{count:>8}  {:<24} {status}", operation.as_deref().unwrap_or("(no operation)"))?;
    }
    writeln!(out, "{:>8}  entries would lose their personal fields; nothing was written", pruned.entries())?;
    Ok(exit::DONE)
}
