//! `forget`: an erasure request. It never says whom it is about.

use std::collections::BTreeSet;
use std::io::{Read, Write};

use anyhow::{Context, Result, bail};
use serde_json::json;

use crate::cli::ForgetArgs;
use crate::clock::Moment;
use crate::config::Config;
use crate::document;
use crate::exit::{self, Refused};
use crate::ledger::{Erasure, Ledger, Named, RunEnd};
use crate::mask;
use crate::plan::personal::names_somebody;
use crate::plan::subject::Subject;
use crate::pseudonym;
use crate::words::Status;

/// No subject is longer, in bytes.
const LONGEST_SUBJECT: u64 = 4096;

/// So many ids stand in a message, at the most.
const SHOWN: usize = 20;

pub fn forget(config: &Config, args: &ForgetArgs, json: bool) -> Result<u8> {
    if args.who.trim().is_empty() || args.why.trim().is_empty() {
        bail!(Refused("--who and --why must say something".to_owned()));
    }
    let given = if args.subject == "-" { from_standard_input()? } else { args.subject.clone() };
    let mut ledger = match args.dry_run {
        true => super::opened(config, Ledger::open)?,
        false => super::opened_alone(config, args.wait_lock)?,
    };
    let salt = ledger.salt().to_vec();
    let reader = config.reader(&salt);
    let Some(subject) = Subject::new(&reader, &given) else {
        bail!(Refused("the subject is empty (give it as an argument, or `-` and a line on standard input)".to_owned()));
    };
    if subject.is_named_in(&args.who) || subject.is_named_in(&args.why) {
        bail!(Refused("--who and --why are kept, so they must not name the subject (say it without)".to_owned()));
    }
    let pseudonyms = pseudonyms(config, &subject)?;
    let shown = |named: &Named| shown(&named.request_id, &subject);
    let tell = |ledger: &Ledger, named: &[Named]| match (json, args.dry_run) {
        (true, dry_run) => tell_document(ledger, named, shown, dry_run),
        (false, true) => list(named, shown, "would be forgotten; nothing was written"),
        (false, false) => list(named, shown, "were forgotten"),
    };
    if args.dry_run {
        return tell(&ledger, &ledger.naming(&subject, &pseudonyms)?);
    }
    let found = ledger.naming(&subject, &pseudonyms)?;
    let pending: Vec<String> = found.iter().filter(|named| named.pending()).map(shown).collect();
    if !pending.is_empty() && !args.even_pending {
        bail!(Refused(format!(
            "{} of the entries that name the subject are pending: {} (what became of them would never be known: let the job settle them, \
             `close` them, or give --even-pending)",
            pending.len(),
            first_of(&pending)
        )));
    }
    let run = ledger.begin_run(&super::prune::started(
        "forget",
        config,
        &config.server.base_url.origin().ascii_serialization(),
    ))?;
    let erasure = Erasure { who: &args.who, why: &args.why, at: Moment::now(), run };
    let forgotten = ledger.forget(&reader, &subject, &pseudonyms, &erasure)?;
    let settled = forgotten.iter().filter(|named| named.pending()).count() as u64;
    ledger.end_run(run, Moment::now(), &RunEnd { settled, controls: "null".to_owned(), ..RunEnd::default() })?;
    let cleaned = ledger.clean(false)?;
    say_what_is_lost(&forgotten, &pending);
    if !forgotten.is_empty() {
        super::prune::say_what_is_left(&ledger, cleaned)?;
    }
    tell(&ledger, &forgotten)
}

fn from_standard_input() -> Result<String> {
    let mut text = String::new();
    let mut input = std::io::stdin().lock().take(LONGEST_SUBJECT + 1);
    input.read_to_string(&mut text).context("failed to read the subject from standard input")?;
    if text.len() as u64 > LONGEST_SUBJECT {
        bail!(Refused(format!("the subject has more than {LONGEST_SUBJECT} bytes")));
    }
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    match (lines.next(), lines.next()) {
        (Some(subject), None) => Ok(subject.to_owned()),
        (None, _) => Ok(String::new()),
        (Some(_), Some(_)) => {
            bail!(Refused("standard input has more than one line (forget one subject at a time)".to_owned()))
        }
    }
}

/// Under every key that was ever in use.
fn pseudonyms(config: &Config, subject: &Subject) -> Result<BTreeSet<String>> {
    let keys = config.pseudonym_keys()?;
    let keys = keys.iter().flat_map(|keys| std::iter::once(&keys.current).chain(&keys.previous));
    let spellings = subject.spellings();
    Ok(keys.flat_map(|key| spellings.iter().map(|spelling| pseudonym::of(key, spelling))).collect())
}

/// A request's id, masked when it names the subject.
fn shown(request_id: &str, subject: &Subject) -> String {
    let spellings = subject.spellings().iter().map(|spelling| spelling.to_lowercase()).collect();
    if names_somebody(request_id, &spellings) { mask::subject(request_id) } else { request_id.to_owned() }
}

fn first_of(ids: &[String]) -> String {
    let more = if ids.len() > SHOWN { ", …" } else { "" };
    ids.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ") + more
}

fn say_what_is_lost(forgotten: &[Named], pending: &[String]) {
    if !pending.is_empty() {
        tracing::warn!(
            event = "forgotten-pending",
            "{} pending entries were closed, and nobody will know what became of them: {}",
            pending.len(),
            first_of(pending)
        );
    }
    let watched = forgotten.iter().filter(|named| named.watched && named.whole).count();
    if watched > 0 {
        tracing::warn!(
            event = "forgotten-watched",
            "{watched} of them were under watch: a record that turns up late goes unnoticed"
        );
    }
}

fn list(named: &[Named], shown: impl Fn(&Named) -> String, what: &str) -> Result<u8> {
    let mut out = std::io::stdout().lock();
    for named in named {
        let status = named.status.map_or("answered", Status::text);
        let before = if named.whole { "" } else { ", its fields were gone before" };
        writeln!(
            out,
            "{}\t{}\t{status}{before}",
            shown(named),
            named.operation.as_deref().unwrap_or("(no operation)")
        )?;
    }
    writeln!(out, "{} entries {what}", named.len())?;
    Ok(exit::DONE)
}

fn tell_document(ledger: &Ledger, named: &[Named], shown: impl Fn(&Named) -> String, dry_run: bool) -> Result<u8> {
    let row = |named: &Named| {
        json!({
            "request_id": shown(named),
            "operation": named.operation,
            "status": named.status.map_or("answered", Status::text),
            "had_fields": named.whole,
        })
    };
    let shown = json!({
        "ledger": ledger.identity(),
        "dry_run": dry_run,
        "entries": named.len(),
        "rows": named.iter().map(row).collect::<Vec<_>>(),
    });
    document::print("forget", exit::DONE, &shown)?;
    Ok(exit::DONE)
}
