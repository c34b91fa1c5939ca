//! `close`: settled by a person, who says who and why.

use std::io::Write;

use anyhow::{Result, bail};
use serde_json::json;

use crate::cli::CloseArgs;
use crate::clock::Moment;
use crate::config::Config;
use crate::document;
use crate::exit::{self, Refused};
use crate::ledger::{Close, RunEnd, RunStart};
use crate::standing::{Entries, Filter, ReportRow};
use crate::words::Status;

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
        ledger.each_row(&Filter::default(), Entries::Unread, |row| {
            // What is resolved needs no closing unless it is named.
            if fits(&row, args) && (row.status != Status::Resolved || args.status == Some(Status::Resolved)) {
                entries.push(row.entry);
            }
            Ok(())
        })?;
    }
    if entries.is_empty() {
        bail!(Refused("no entry fits the filters; nothing was closed (`report` takes the same filters)".to_owned()));
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

fn fits(row: &ReportRow, args: &CloseArgs) -> bool {
    let operation = row.gist.as_ref().and_then(|gist| gist.operation.as_ref());
    args.status.is_none_or(|status| row.status == status)
        && args.reason.is_none_or(|reason| row.reason == Some(reason))
        && args.operation.as_ref().is_none_or(|name| operation == Some(name))
        && args.operation_id.as_ref().is_none_or(|id| row.operation_id == *id)
}
