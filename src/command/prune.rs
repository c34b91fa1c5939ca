//! `prune`: what was settled long ago loses its personal fields; with `--compact` the file is rewritten, too.

use std::io::{IsTerminal, Write};

use anyhow::{Result, bail};
use serde_json::json;

use crate::cli::PruneArgs;
use crate::clock::Moment;
use crate::config::Config;
use crate::document;
use crate::exit::{self, Refused};
use crate::ledger::{COMPACTED_AT_ONCE, Cleaned, Ledger, Pruned, RunStart, Terms};
use crate::pseudonym;

pub fn prune(config: &Config, args: &PruneArgs, json: bool) -> Result<u8> {
    let keep = args.older_than.or(config.retention);
    if keep.is_none() && !args.compact {
        let remedy = "set [retention] settled = \"90d\" in the configuration, or give --older-than";
        bail!(Refused(format!("nothing says how long personal fields stay ({remedy})")));
    }
    let keys = config.pseudonym_keys()?;
    let mut ledger = match args.dry_run {
        true => super::opened(config, Ledger::open)?,
        false => super::opened_alone(config, args.wait_lock)?,
    };
    let terms = keep.map(|keep| Terms { now: Moment::now(), keep, watch: config.windows.watch });
    let salt = ledger.salt().to_vec();
    let reader = config.reader(&salt);
    if let Some(terms) = terms.as_ref().filter(|_| args.dry_run) {
        let would = ledger.prunable(&reader, terms)?;
        return if json { tell(&ledger, &would, None) } else { say(&would) };
    }
    let named = |subject: &str| keys.as_ref().map(|keys| pseudonym::of(&keys.current, subject));
    let pruned = match &terms {
        Some(terms) => {
            let server = config.server.base_url.origin().ascii_serialization();
            ledger.prune(&started("prune", config, &server), &reader, terms, &named)?
        }
        None => Pruned::default(),
    };
    if args.compact && ledger.size()? > COMPACTED_AT_ONCE {
        let what = rewriting(&ledger)?;
        tracing::warn!(event = "compacts", "the ledger is rewritten now: {what}; whoever records waits for it");
    }
    let cleaned = ledger.clean(args.compact)?;
    if pruned.entries() > 0 || args.compact {
        say_what_is_left(&ledger, cleaned)?;
    }
    if std::io::stderr().is_terminal() {
        let _ = writeln!(std::io::stderr(), "removed the personal fields of {} entries", pruned.entries());
    }
    if pruned.left > 0 {
        bail!(
            "{} entries were left whole, for their verdicts would not follow any more from what is left of their evidence (does `verify` find a difference?)",
            pruned.left
        );
    }
    if json { tell(&ledger, &pruned, Some(cleaned)) } else { Ok(exit::DONE) }
}

/// What is erased is evidence of a run of its own, as what `close` says.
pub(super) fn started<'a>(command: &'a str, config: &'a Config, server: &'a str) -> RunStart<'a> {
    RunStart {
        command,
        started: Moment::now(),
        plan: &config.plan.name,
        plan_digest: &config.plan.digest,
        server,
        windows: &config.windows,
    }
}

/// Names what older copies may have left, and the command that removes it.
pub(super) fn say_what_is_left(ledger: &Ledger, cleaned: Cleaned) -> Result<()> {
    if cleaned == Cleaned::OutOfReach {
        tracing::warn!(
            event = "copies-left",
            "older copies of what was erased in {} are the server's to remove: dead rows until VACUUM, its log and the log's \
             archive, standbys, and backups (docs/CHILDREN.md says how long)",
            ledger.place()
        );
    }
    if cleaned == Cleaned::ButGaps {
        tracing::warn!(
            event = "gaps-left",
            "free pages and gaps of {} may still hold what older copies of rows left there (`privo-reconcile prune --compact` \
             rewrites the file, at a quiet time: {})",
            ledger.place(),
            rewriting(ledger)?
        );
    }
    Ok(())
}

/// How large the file is, and how long it is held at a moderate disk's speed.
fn rewriting(ledger: &Ledger) -> Result<String> {
    const A_SECOND: i64 = 40 << 20;
    let size = ledger.size()?;
    Ok(format!("{} MiB, some {} seconds", size >> 20, size / A_SECOND + 1))
}

fn tell(ledger: &Ledger, pruned: &Pruned, cleaned: Option<Cleaned>) -> Result<u8> {
    let rows = pruned.counts.iter();
    let rows =
        rows.map(|((operation, status), count)| json!({"operation": operation, "status": status, "entries": count}));
    let shown = json!({
        "ledger": ledger.identity(),
        "dry_run": cleaned.is_none(),
        "entries": pruned.entries(),
        "compacted": cleaned == Some(Cleaned::Whole),
        "rows": rows.collect::<Vec<_>>(),
    });
    document::print("prune", exit::DONE, &shown)?;
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
