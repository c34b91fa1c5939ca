//! `status`, `show`, `verify`: what the ledger says.

use std::io::{IsTerminal, Write};

use anyhow::{Result, bail};
use serde_json::json;

use crate::cli::ShowArgs;
use crate::clock::{Moment, Span};
use crate::config::{Config, colours_wanted};
use crate::decide::RULES;
use crate::document;
use crate::exit::{self, Refused};
use crate::ledger::Ledger;
use crate::notice::alert;
use crate::plan::Reader;
use crate::pseudonym::Key;
use crate::report::{self, Overview, Screen, Tone};
use crate::views::{Entries, Filter, ReportRow, ToDo};
use crate::words::Status;

/// A server's clock that is further behind than this makes absences wait, which people should know.
const FAR_BEHIND: Span = Span::seconds(60);

pub fn status(config: &Config, json: bool) -> Result<u8> {
    let ledger = super::opened(config, Ledger::open_to_read)?;
    let reader = config.reader(ledger.salt());
    ledger.heed_unread(&reader, Moment::now())?;
    let ledger_state = ledger.ledger_state()?;
    let alerts = alert::fired(&config.notices.rules, &ledger_state, Moment::now());
    let counts = &ledger_state.counts;
    let behind = ledger.server_behind()?;
    if json {
        let shown = json!({
            "ledger": ledger.identity(),
            "path": ledger.place(),
            "pending": counts.of(Status::Pending),
            "resolved": counts.of(Status::Resolved),
            "duplicate_risk": counts.of(Status::DuplicateRisk),
            "oldest_pending_sent_at": counts.oldest_pending.map(|moment| moment.to_string()),
            "rows": counts.to_json(),
            "last_run": ledger.run_facts(None)?,
            "last_success": ledger_state.last_success.map(|moment| moment.to_string()),
            "server_clock_behind_seconds": behind.0 / 1000,
            "alerts": alerts,
            "to_do": to_do_json(&ledger.to_do()?),
        });
        document::print("status", exit::DONE, &shown)?;
        return Ok(exit::DONE);
    }
    let run = ledger.run_facts(None)?;
    let screen = screen();
    let mut text = report::overview(&Overview { counts, run: run.as_ref() }, &screen);
    if behind > FAR_BEHIND {
        let seconds = behind.0 / 1000;
        let said = format!(
            "the server's clock is {seconds} s behind this host's: an absence counts only when both say that its window is over (correct the clock that is wrong)"
        );
        screen
            .wrapped(&said, 0)
            .iter()
            .for_each(|line| text.push_str(&format!("{}\n", screen.paint(Tone::Open, line))));
    }
    for alert in alerts {
        text.push_str(&screen.paint(Tone::Bad, &format!("alert {}: {}", alert.name, alert.message)));
        text.push('\n');
    }
    for line in report::lines(&report::steps(&ledger.to_do()?, Some(Moment::now()), config.time_zone)) {
        for line in screen.wrapped(&line, 0) {
            text.push_str(&screen.paint(Tone::Strong, &line));
            text.push('\n');
        }
    }
    print(&text)
}

fn to_do_json(to_do: &ToDo) -> serde_json::Value {
    json!({
        "resend": to_do.resend,
        "may_resend": to_do.may_resend,
        "privo": to_do.privo,
        "review": to_do.review,
        "waiting": to_do.waiting,
        "until": to_do.until.map(|until| until.to_string()),
    })
}

pub fn show(config: &Config, args: &ShowArgs, json: bool) -> Result<u8> {
    let ledger = super::opened(config, Ledger::open_to_read)?;
    let keys = config.pseudonym_keys()?;
    let reader = config.reader(ledger.salt());
    ledger.heed_unread(&reader, Moment::now())?;
    let request_ids = match (&args.request_id, &args.pseudonym) {
        (Some(request_id), _) => vec![request_id.clone()],
        (None, Some(pseudonym)) => {
            about(&ledger, &reader, &super::report::key_of(keys.as_ref(), pseudonym)?, pseudonym)?
        }
        (None, None) => Vec::new(),
    };
    let mut stories = Vec::new();
    for request_id in request_ids {
        let Some(story) = ledger.story(&request_id, &reader, Moment::now())? else {
            bail!(Refused(
                "no entry with this request id is examined (an `answered` row is evidence and has no story)".to_owned()
            ));
        };
        let pseudonym = pseudonym_of(&reader, keys.as_ref().map(|keys| &keys.current), &story.row);
        stories.push((story, pseudonym));
    }
    if json {
        let mut shown = stories.iter().map(|(story, pseudonym)| report::story_json(story, pseudonym.as_deref()));
        match (&args.pseudonym, shown.next()) {
            (None, Some(story)) => document::print("show", exit::DONE, &story)?,
            (_, first) => {
                let shown: Vec<_> = first.into_iter().chain(shown).collect();
                document::print("show", exit::DONE, &json!({ "stories": shown }))?;
            }
        }
        return Ok(exit::DONE);
    }
    let screen = screen();
    let shown = stories.iter().map(|(story, pseudonym)| report::story_text(story, pseudonym.as_deref(), &screen));
    print(&shown.collect::<Vec<_>>().join("\n"))
}

fn print(text: &str) -> Result<u8> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(exit::DONE)
}

/// The request ids of whom a pseudonym was made of.
fn about(ledger: &Ledger, reader: &Reader, key: &Key, pseudonym: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    ledger.each_row(&Filter::default(), Entries::All, |row| {
        if pseudonym_of(reader, Some(key), &row).as_deref() == Some(pseudonym) {
            found.push(row.request_id);
        }
        Ok(())
    })?;
    if found.is_empty() {
        bail!(Refused("no entry of this ledger has this pseudonym".to_owned()));
    }
    Ok(found)
}

/// The pseudonym that a key makes of a row's subject; that which was kept, once the subject is gone.
fn pseudonym_of(reader: &Reader, key: Option<&Key>, row: &ReportRow) -> Option<String> {
    let made = key.and_then(|key| {
        let subject = reader.read(row.row.as_ref()?, Moment::now()).normalised_subject?;
        Some(crate::pseudonym::of(key, &subject))
    });
    made.or_else(|| row.pseudonym.clone())
}

/// What standard output can show.
fn screen() -> Screen {
    let terminal = std::io::stdout().is_terminal();
    let width = terminal.then(|| console::Term::stdout().size_checked()).flatten();
    Screen { width: width.map(|(_, width)| width.into()), coloured: terminal && colours_wanted() }
}

pub fn verify(config: &Config, json: bool) -> Result<u8> {
    // Nothing is put right before it is verified.
    let ledger = super::opened(config, Ledger::open_unchanged)?;
    let verified = ledger.verify()?;
    if json {
        let code = if verified.differing == 0 { exit::DONE } else { exit::FAILED };
        let difference =
            |(id, what): &(String, String)| json!({ "request_id": crate::mask::id(id), "difference": what });
        let shown = json!({
            "ledger": ledger.identity(),
            "verdicts": verified.verdicts,
            "by_other_rules": verified.by_other_rules,
            "differing": verified.differing,
            "differences": verified.differences.iter().map(difference).collect::<Vec<_>>(),
        });
        document::print("verify", code, &shown)?;
        return Ok(code);
    }
    let mut out = std::io::stdout().lock();
    for (request_id, what) in &verified.differences {
        writeln!(out, "{}: {what}", crate::mask::id(request_id))?;
    }
    for (rules, verdicts) in &verified.by_other_rules {
        writeln!(
            out,
            "{verdicts} verdicts of rules version {rules} were not decided again (this binary has version {RULES}; the one that wrote them decides them again)"
        )?;
    }
    if verified.differing == 0 {
        writeln!(out, "{} verdicts decided again, no difference", verified.verdicts)?;
        return Ok(exit::DONE);
    }
    let differences = if verified.differing == 1 { "difference" } else { "differences" };
    bail!("{} {differences}; {} verdicts decided again", verified.differing, verified.verdicts)
}
