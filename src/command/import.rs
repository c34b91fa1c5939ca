//! `import`: requests in doubt, out of files that were written anyway.

use std::io::IsTerminal;

use anyhow::{Result, anyhow, bail};

use crate::cli::ImportArgs;
use crate::clock::Moment;
use crate::config::Config;
use crate::document;
use crate::exit::{self, Refused};
use crate::import::{self, Format, Job, Mapping, Source, Summary};
use crate::ledger::Ledger;

pub fn import(config: &Config, args: &ImportArgs, json: bool) -> Result<u8> {
    let chosen = chosen(config, args)?;
    let mut ledger = super::opened(config, Ledger::open)?;
    // Before anything is imported, every file is there and its format known.
    let mut files = Vec::new();
    let protected = config.protected();
    for path in &args.files {
        protected.refuse_to_read(path)?;
        let source = Source::open(path)?;
        config.refuse_output(&import::quarantine_of(&source.path))?;
        let format = match args.format.or(chosen.format) {
            Some(format) => format,
            None => import::format_of(&source)?,
        };
        files.push((source, format));
    }
    let salt = ledger.salt().to_vec();
    let reader = config.reader(&salt);
    let mut summaries = Vec::new();
    let mut failed = None;
    for (source, format) in &files {
        let mut mapping = chosen.complete(*format);
        let server = config.server.base_url.as_str().trim_end_matches('/').to_owned();
        mapping.server = Some(import::BaseUrl(server));
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
    let all_rejected: Vec<String> =
        summaries.iter().filter(|s| s.all_rejected()).map(|s| s.file.display().to_string()).collect();
    if failed.is_none() && !all_rejected.is_empty() {
        failed = Some(anyhow!("every record of {} was rejected (is the mapping right?)", all_rejected.join(", ")));
    }
    match json {
        true => tell_json(&summaries, args, failed.as_ref())?,
        false => tell(&summaries, args),
    }
    failed.map_or(Ok(exit::DONE), Err)
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

/// One document, whatever failed: files before the one that failed were imported.
fn tell_json(summaries: &[Summary], args: &ImportArgs, failed: Option<&anyhow::Error>) -> Result<()> {
    let total = |of: fn(&Summary) -> u64| summaries.iter().map(of).sum::<u64>();
    let code = failed.map_or(exit::DONE, exit::of_error);
    let shown = serde_json::json!({
        "dry_run": args.dry_run,
        "imported": total(|s| s.imported),
        "duplicates": total(|s| s.duplicates),
        "completed": total(|s| s.completed),
        "left_out": total(|s| s.left_out),
        "rejected": total(|s| s.rejected),
        "files": summaries,
        "error": failed.map(|error| document::error(code, &format!("{error:#}"))),
    });
    document::print("import", code, &shown)
}

fn tell(summaries: &[Summary], args: &ImportArgs) {
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
                "{name}{would}: {} records{before}: {} imported, {} duplicates, {} completed, {} left out, {} rejected",
                summary.records,
                summary.imported,
                summary.duplicates,
                summary.completed,
                summary.left_out,
                summary.rejected
            );
        }
        // These a person must hear of, terminal or not.
        for (why, count) in &summary.cannot_be_decided {
            tracing::warn!(event = "cannot-be-decided", "{name}: {count} of the imported cannot be decided: {why}");
        }
        for (what, count) in &summary.notes {
            tracing::warn!(event = "noted", "{name}: {count} {what}");
        }
        for (why, count) in &summary.reasons {
            tracing::warn!(event = "rejected", "{name}: {count} rejected: {why}");
        }
    }
}
