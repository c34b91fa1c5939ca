//! `report`, `status`, `show`: what the ledger says.

use std::io::Write;
use std::path::Path;

use anyhow::{Result, bail};
use serde_json::json;

use crate::cli::ReportArgs;
use crate::clock::Moment;
use crate::config::Config;
use crate::document;
use crate::exit::{self, Refused};
use crate::ledger::Ledger;
use crate::notice::alert;
use crate::plan::Reader;
use crate::report::{self, Csv, Meta};
use crate::standing::{ReportRow, Story};
use crate::words::{Action, Status};

pub fn report(config: &Config, args: &ReportArgs, json: bool) -> Result<u8> {
    let ledger = Ledger::open(&config.ledger)?;
    let file = args.report.as_ref().unwrap_or(&args.file);
    if json && file == Path::new("-") {
        print_rows(config, &ledger, args.reveal)?;
        return Ok(exit::DONE);
    }
    let entries = write_report(config, &ledger, file, None, args.reveal)?;
    if json {
        let meta = report::meta_path(file);
        let told = json!({ "ledger": ledger.identity(), "file": file, "meta": meta, "entries": entries });
        document::print("report", exit::DONE, &told)?;
    }
    Ok(exit::DONE)
}

/// The rows as one JSON document, written as they come: a million of them fit into no memory.
fn print_rows(config: &Config, ledger: &Ledger, reveal: bool) -> Result<()> {
    document::begin();
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let head = json!({ "format": document::FORMAT, "command": "report", "ledger": ledger.identity() }).to_string();
    write!(out, "{},\n\"rows\":[", head.trim_end_matches('}'))?;
    let mut entries = 0_u64;
    each_row(config, ledger, None, reveal, |row, in_full| {
        let between = if entries == 0 { "\n" } else { ",\n" };
        entries += 1;
        let object = serde_json::to_string(&report::cells_of(row, in_full))?;
        Ok(write!(out, "{between}{object}")?)
    })?;
    // The exit code comes last, for only now it is known that all is there.
    writeln!(out, "\n],\n\"entries\":{entries},\"exit\":{}}}", exit::DONE)?;
    Ok(out.flush()?)
}

/// Writes a report with its meta data into files, each whole or not at all; or to standard output. With `of_run`, only
/// what changed in that run; with `reveal`, subjects and ids in full. Gives how many rows there are.
pub fn write_report(config: &Config, ledger: &Ledger, file: &Path, of_run: Option<i64>, reveal: bool) -> Result<u64> {
    if file == Path::new("-") {
        let output = std::io::BufWriter::new(std::io::stdout().lock());
        return write_rows(config, ledger, output, of_run, reveal);
    }
    let rows = report::write_whole(file, |output| write_rows(config, ledger, output, of_run, reveal))?;
    let run = ledger.run_facts(of_run)?;
    let meta = Meta::new(ledger.identity(), rows, reveal, run.as_ref()).to_json()?;
    report::write_whole(&report::meta_path(file), |output| Ok(output.write_all(meta.as_bytes())?))?;
    Ok(rows)
}

fn write_rows(config: &Config, ledger: &Ledger, output: impl Write, of_run: Option<i64>, reveal: bool) -> Result<u64> {
    let mut csv = Csv::new(output)?;
    each_row(config, ledger, of_run, reveal, |row, in_full| csv.add(row, in_full))?;
    csv.end()
}

/// Gives each row, and the subject when it is shown in full.
fn each_row(
    config: &Config,
    ledger: &Ledger,
    of_run: Option<i64>,
    reveal: bool,
    mut each: impl FnMut(&ReportRow, Option<&str>) -> Result<()>,
) -> Result<()> {
    let reader = Reader { plan: &config.plan, server: &config.server.base_url, salt: ledger.salt() };
    ledger.each_row(of_run, |mut row| {
        if row.facts.is_none() {
            // Not taken in yet: shown as the next run will read it.
            row.facts = Some(reader.read(&row.row, Moment::now()).facts);
        }
        let subject = reveal.then(|| reader.read(&row.row, Moment::now()).subject.unwrap_or_default());
        each(&row, subject.as_deref())
    })
}

pub fn status(config: &Config, json: bool) -> Result<u8> {
    let ledger = Ledger::open(&config.ledger)?;
    let standing = ledger.standing()?;
    let alerts = alert::fired(&config.notices.rules, &standing, Moment::now());
    let counts = &standing.counts;
    if json {
        let told = json!({
            "ledger": ledger.identity(),
            "path": ledger.path(),
            "pending": counts.of(Status::Pending),
            "resolved": counts.of(Status::Resolved),
            "duplicate_risk": counts.of(Status::DuplicateRisk),
            "oldest_pending_sent_at": counts.oldest_pending.map(|moment| moment.to_string()),
            "rows": counts.to_json(),
            "last_run": ledger.run_facts(None)?,
            "last_success": standing.last_success.map(|moment| moment.to_string()),
            "alerts": alerts,
        });
        document::print("status", exit::DONE, &told)?;
        return Ok(exit::DONE);
    }
    let mut out = std::io::stdout().lock();
    for status in Status::ALL {
        writeln!(out, "{:<15} {:>8}", status.text(), counts.of(*status))?;
        for (_, reason, count) in counts.rows.iter().filter(|(of, ..)| of == status) {
            writeln!(out, "  {:<20} {count:>8}", reason.map_or("not looked at yet", |reason| reason.text()))?;
        }
    }
    if let Some(oldest) = counts.oldest_pending {
        writeln!(out, "oldest pending: sent {oldest}")?;
    }
    match ledger.run_facts(None)? {
        Some(run) => {
            let ended = run.ended.as_deref().unwrap_or("never (it is going on, or was killed)");
            writeln!(
                out,
                "last run: {} began {}, ended {ended}, {} settled, {} deferred",
                run.run, run.started, run.settled, run.deferred
            )?;
            if let Some(trouble) = run.trouble {
                writeln!(out, "  {trouble}")?;
            }
        }
        None => writeln!(out, "last run: none yet")?,
    }
    for alert in alerts {
        writeln!(out, "alert {}: {}", alert.name, alert.message)?;
    }
    Ok(exit::DONE)
}

pub fn show(config: &Config, request_id: &str, json: bool) -> Result<u8> {
    let ledger = Ledger::open(&config.ledger)?;
    let Some(story) = ledger.story(request_id)? else {
        bail!(Refused(
            "no entry with this request id is examined (an `answered` row is evidence and has no story)".to_owned()
        ));
    };
    match json {
        true => document::print("show", exit::DONE, &report::story(&story))?,
        false => std::io::stdout().lock().write_all(story_text(&story).as_bytes())?,
    }
    Ok(exit::DONE)
}

pub fn verify(config: &Config, json: bool) -> Result<u8> {
    let ledger = Ledger::open(&config.ledger)?;
    let verified = ledger.verify()?;
    if json {
        let code = if verified.differing == 0 { exit::DONE } else { exit::FAILED };
        let difference =
            |(id, what): &(String, String)| json!({ "request_id": crate::mask::id(id), "difference": what });
        let told = json!({
            "ledger": ledger.identity(),
            "verdicts": verified.verdicts,
            "differing": verified.differing,
            "differences": verified.differences.iter().map(difference).collect::<Vec<_>>(),
        });
        document::print("verify", code, &told)?;
        return Ok(code);
    }
    let mut out = std::io::stdout().lock();
    for (request_id, what) in &verified.differences {
        writeln!(out, "{}: {what}", crate::mask::id(request_id))?;
    }
    if verified.differing == 0 {
        writeln!(out, "{} verdicts decided again, no difference", verified.verdicts)?;
        return Ok(exit::DONE);
    }
    bail!("{} of {} verdicts differ from what their evidence says", verified.differing, verified.verdicts)
}

fn story_text(story: &Story) -> String {
    let cells = report::cells(&story.row, None);
    let cell = |name: &str| report::COLUMNS.iter().position(|column| *column == name).map_or("", |i| cells[i].as_str());
    let mut text = format!("{} of operation {}\n", cell("request_id"), cell("operation_id"));
    let mut line = |name: &str, value: &str| {
        if !value.is_empty() {
            text.push_str(&format!("  {name:<12} {value}\n"));
        }
    };
    line("operation", cell("operation"));
    line("request", &format!("{} {}", cell("method"), cell("path")));
    line("subject", cell("subject"));
    line("sent", cell("sent_at"));
    line("failure", [cell("failure"), cell("http_status")].join(" ").trim());
    for effect in story.row.facts.iter().flat_map(|facts| &facts.effects) {
        let by = effect
            .found_by
            .as_deref()
            .map_or_else(|| "nothing to look it up by".to_owned(), |by| format!("looked up by {by}"));
        line("effect", &format!("{}, {by}", effect.name));
    }
    for told in &story.looks {
        let look = &told.look;
        let ids: Vec<String> =
            look.records.iter().filter_map(|record| record.id.as_deref().map(crate::mask::id)).collect();
        let fields: Vec<String> =
            look.records.iter().flat_map(|r| &r.fields).map(|(name, compared)| format!("{name} {compared}")).collect();
        let what = [
            look.cause.clone().unwrap_or_default(),
            ids.join(", "),
            fields.join(", "),
            look.state.clone().unwrap_or_default(),
        ];
        let what = what.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ");
        let what = if what.is_empty() { what } else { format!(" ({what})") };
        let controls = format!("controls: known key {}, random key {}", look.known, look.random);
        line(
            "look",
            &format!("{} run {} effect {}: {}{what} [{controls}]", look.asked, told.run, look.effect, look.seen),
        );
    }
    for verdict in &story.verdicts {
        let loud = if verdict.correction { "CORRECTION " } else { "" };
        line(
            "verdict",
            &format!(
                "{loud}{} run {}: {} · {} · {} → {}",
                verdict.decided, verdict.run, verdict.status, verdict.outcome, verdict.reason, verdict.action
            ),
        );
        line("", &verdict.explanation);
    }
    if story.row.status == Status::Pending {
        line("pending", &format!("{} → {}", cell("reason"), cell("action")));
        line("not before", cell("not_before"));
        line("", cell("explanation"));
    }
    line("to do", to_do(report::action(&story.row)));
    text
}

/// What an action asks of the partner, in a sentence.
fn to_do(action: Action) -> &'static str {
    match action {
        Action::None => "nothing",
        Action::Wait => "wait; a later run will know more",
        Action::MayResend => {
            "wait, or send it again now: the server blocks a repeat, so a second one cannot come of it"
        }
        Action::Resend => {
            "send it again, once for the operation, and record what comes of it under the same operation_id"
        }
        Action::DoNotResend => "do not send it again; what it would do is there already",
        Action::StoreId => "store the server_id; do not send it again",
        Action::ApplyState => "bring your own records to the state that the explanation gives",
        Action::Review => "a person must look at it, then `close` it",
        Action::AskPrivo => "send this line of the report to PRIVO support, then `close` it with what they say",
    }
}
