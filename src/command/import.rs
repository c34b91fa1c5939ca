//! `import`: requests in doubt, out of files that were written anyway.

use std::io::{IsTerminal, Write};

use anyhow::{Result, bail};

use crate::cli::ImportArgs;
use crate::clock::Moment;
use crate::config::Config;
use crate::exit::{self, Refused};
use crate::import::{self, Format, Job, Mapping, Source, Summary};
use crate::ledger::Ledger;
use crate::plan::Reader;

pub fn import(config: &Config, args: &ImportArgs) -> Result<u8> {
    let chosen = chosen(config, args)?;
    let mut ledger = Ledger::open(&config.ledger)?;
    // Before anything is imported, every file is there and its format known.
    let mut files = Vec::new();
    for path in &args.files {
        let source = Source::open(path)?;
        let format = match args.format.or(chosen.format) {
            Some(format) => format,
            None => import::format_of(&source)?,
        };
        files.push((source, format));
    }
    let salt = ledger.salt().to_vec();
    let reader = Reader { plan: &config.plan, server: &config.server.base_url, salt: &salt };
    let mut summaries = Vec::new();
    let mut failed = None;
    for (source, format) in &files {
        let mapping = chosen.complete(*format);
        let job =
            Job { reader: &reader, mapping: &mapping, format: *format, dry_run: args.dry_run, clock: Moment::now };
        match import::import(&mut ledger, &job, source) {
            Ok(summary) => summaries.push(summary),
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    tell(&summaries, args)?;
    if let Some(error) = failed {
        return Err(error);
    }
    let all_rejected: Vec<String> =
        summaries.iter().filter(|s| s.all_rejected()).map(|s| s.file.display().to_string()).collect();
    if !all_rejected.is_empty() {
        bail!("every record of {} was rejected (is the mapping right?)", all_rejected.join(", "));
    }
    Ok(exit::DONE)
}

fn chosen(config: &Config, args: &ImportArgs) -> Result<Mapping> {
    let Some(name) = &args.map else { return Ok(Mapping::default()) };
    let Some(mapping) = config.imports.get(name) else {
        let known = config.imports.keys().cloned().collect::<Vec<_>>().join(", ");
        let known = if known.is_empty() { "none".to_owned() } else { known };
        bail!(Refused(format!("{} has no [import.{name}] (it has: {known})", config.file.display())));
    };
    match (args.format, mapping.format) {
        (Some(asked), Some(mapped)) if asked != mapped => bail!(Refused(format!(
            "--format {} contradicts [import.{name}], which is for {}",
            asked.text(),
            mapped.text()
        ))),
        _ => Ok(mapping.clone()),
    }
}

fn tell(summaries: &[Summary], args: &ImportArgs) -> Result<()> {
    if args.json {
        let total = |of: fn(&Summary) -> u64| summaries.iter().map(of).sum::<u64>();
        let told = serde_json::json!({
            "format": 1,
            "dry_run": args.dry_run,
            "imported": total(|s| s.imported),
            "duplicates": total(|s| s.duplicates),
            "left_out": total(|s| s.left_out),
            "rejected": total(|s| s.rejected),
            "files": summaries,
        });
        let mut out = std::io::stdout().lock();
        writeln!(out, "{told:#}")?;
        return Ok(out.flush()?);
    }
    for summary in summaries {
        let name = summary.file.display();
        if std::io::stderr().is_terminal() {
            let (would, unit) = (
                if args.dry_run { " (dry run)" } else { "" },
                if summary.format == Format::Har { "entries" } else { "lines" },
            );
            let before = match summary.lines_before {
                0 => String::new(),
                lines => format!(" after {lines} {unit} of an earlier import"),
            };
            eprintln!(
                "{name}{would}: {} records{before}: {} imported, {} duplicates, {} left out, {} rejected",
                summary.records, summary.imported, summary.duplicates, summary.left_out, summary.rejected
            );
        }
        // These a person must hear of, terminal or not.
        for (why, count) in &summary.cannot_be_decided {
            eprintln!("privo-reconcile: {name}: {count} of the imported cannot be decided: {why}");
        }
        for (why, count) in &summary.reasons {
            eprintln!("privo-reconcile: {name}: {count} rejected: {why}");
        }
    }
    Ok(())
}
