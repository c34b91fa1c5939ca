//! `close`: settled by a person, who says who and why.

use std::io::Write;

use anyhow::{Result, bail};
use serde_json::json;

use crate::cli::CloseArgs;
use crate::clock::Moment;
use crate::config::Config;
use crate::document;
use crate::exit::{self, Refused};
use crate::ledger::{Close, Ledger, RunEnd, RunStart};
use crate::views::{Entries, Filter, ReportRow};
use crate::words::{Reason, Status};

pub fn close(config: &Config, args: &CloseArgs, json: bool) -> Result<u8> {
    if args.who.trim().is_empty() || args.why.trim().is_empty() {
        bail!(Refused("--who and --why must say something".to_owned()));
    }
    let filtered =
        args.status.is_some() || args.reason.is_some() || args.operation.is_some() || args.operation_id.is_some();
    if args.request_ids.is_empty() && !filtered {
        bail!(Refused(
            "name entries by id, or give a filter (--status, --reason, --operation, --operation-id)".to_owned()
        ));
    }
    let mut ledger = super::opened_alone(config, args.wait_lock)?;
    let mut entries = Vec::new();
    for request_id in &args.request_ids {
        let id = crate::mask::id(request_id);
        match ledger.row_of_request(request_id)? {
            Some(row) if fits(&row, args) => entries.push(row.entry),
            Some(_) => bail!(Refused(format!("{id} does not fit the filters; nothing was closed (see `show {id}`)"))),
            None => bail!(Refused(format!("there is no entry {id}; nothing was closed (`report` has the ids)"))),
        }
    }
    if args.request_ids.is_empty() {
        entries = filtered_entries(&ledger, config, args)?;
    }
    let at = Moment::now();
    let run = ledger.begin_run(&RunStart {
        command: "close",
        started: at,
        plan: &config.plan.name,
        plan_digest: &config.plan.digest,
        server: &config.server.base_url.origin().ascii_serialization(),
        windows: &config.windows,
    })?;
    let close = Close { who: args.who.clone(), why: args.why.clone(), outcome: args.outcome, at };
    let closed = ledger.close(run, &entries, &close)?;
    ledger.end_run(
        run,
        Moment::now(),
        &RunEnd { settled: closed as u64, controls: "null".to_owned(), ..RunEnd::default() },
    )?;
    let (duplicate_risk, pending) = ledger.state()?;
    let code = exit::of_state(duplicate_risk, pending);
    if json {
        document::print("close", code, &json!({ "ledger": ledger.identity(), "run": run.0, "closed": closed }))?;
    } else {
        let entries = if closed == 1 { "entry" } else { "entries" };
        // It is done, whether anybody reads this or not.
        let _ = writeln!(std::io::stderr(), "closed {closed} {entries}");
    }
    Ok(code)
}

/// The entries that fit the filters and are to be closed; as the report shows them.
fn filtered_entries(ledger: &Ledger, config: &Config, args: &CloseArgs) -> Result<Vec<i64>> {
    let (now, salt) = (Moment::now(), ledger.salt().to_vec());
    let reader = config.reader(&salt);
    ledger.heed_unread(&reader, now)?;
    let (mut entries, mut passed_over) = (Vec::new(), PassedOver::default());
    // What is resolved needs no closing unless it is named.
    let named = args.status == Some(Status::Resolved) || args.reason.is_some();
    ledger.each_row(&Filter::default(), Entries::Unread, |mut row| {
        if row.gist.is_none() {
            row.gist = row.row.as_ref().map(|row| reader.read(row, now).facts.into());
        }
        match (fits(&row, args), row.status) {
            (false, _) => passed_over.count(&row, args),
            (true, _) if row.reason == Some(Reason::Closed) => passed_over.closed += 1,
            (true, Status::Resolved) if !named => passed_over.resolved += 1,
            (true, _) => entries.push(row.entry),
        }
        Ok(())
    })?;
    if entries.is_empty() {
        bail!(Refused(passed_over.shown(args)));
    }
    Ok(entries)
}

/// Why nothing is to be closed.
#[derive(Default)]
struct PassedOver {
    /// Of those that do not fit all filters, how many fit each: status, reason, operation, operation id.
    each: [u64; 4],
    /// Fit, and are closed already.
    closed: u64,
    /// Fit, and are resolved.
    resolved: u64,
}

impl PassedOver {
    fn count(&mut self, row: &ReportRow, args: &CloseArgs) {
        for (count, fits) in self.each.iter_mut().zip(fits_each(row, args)) {
            *count += u64::from(fits);
        }
    }

    fn shown(&self, args: &CloseArgs) -> String {
        let entries = |count: u64| if count == 1 { "1 entry".to_owned() } else { format!("{count} entries") };
        let mut why = Vec::new();
        if self.closed > 0 {
            why.push(format!("{} closed already (name it by id to close it anew)", entries(self.closed)));
        }
        if self.resolved > 0 {
            why.push(format!(
                "{} resolved (add --status resolved or its --reason, or name it by id)",
                entries(self.resolved)
            ));
        }
        let given =
            [args.status.is_some(), args.reason.is_some(), args.operation.is_some(), args.operation_id.is_some()];
        let names = ["--status", "--reason", "--operation", "--operation-id"];
        // Where one is given, it fits none: nothing more is to be said.
        if why.is_empty() && given.iter().filter(|given| **given).count() > 1 {
            let alone = names.iter().zip(given).zip(self.each).filter(|((_, given), _)| *given);
            why.extend(alone.map(|((name, _), count)| format!("{} by {name} alone", entries(count))));
        }
        let why = if why.is_empty() { String::new() } else { format!(": {}", why.join(", ")) };
        format!("no entry fits the filters, and nothing was closed{why} (`report` takes the same filters)")
    }
}

fn fits(row: &ReportRow, args: &CloseArgs) -> bool {
    fits_each(row, args).into_iter().all(|fits| fits)
}

/// Whether it fits each filter: status, reason, operation, operation id.
fn fits_each(row: &ReportRow, args: &CloseArgs) -> [bool; 4] {
    let operation = row.gist.as_ref().and_then(|gist| gist.operation.as_ref());
    // Nothing is known of an entry that was not looked at yet: the report calls that inconclusive.
    let reason = row.reason.unwrap_or(Reason::Inconclusive);
    [
        args.status.is_none_or(|status| row.status == status),
        args.reason.is_none_or(|named| reason == named),
        args.operation.as_ref().is_none_or(|name| operation == Some(name)),
        args.operation_id.as_ref().is_none_or(|id| row.operation_id == *id),
    ]
}
