//! The page's values, as its template shows them: the tally in words and shares.

use askama::Template;

use crate::clock::Moment;
use crate::report::now::{Step, steps};
use crate::views::{Audience, Filter, ReportRow, StoryVerdict};

use super::chart::{Chart, picture_says};
use super::foot::{ControlLine, Fact, controls, facts};
use super::shares::{OperationLine, ReasonLine, StatusLine, TodoLine, operations, present, reasons, statuses, todos};
use super::times::Times;
use super::totals::Totals;
use super::{Behind, Changed, Filled, MOST_ROWS, SCRIPT, STYLE, policy_hash, text, tone};

/// The whole page.
#[derive(Template)]
#[template(path = "page.html")]
pub struct Whole<'a> {
    style: &'static str,
    script: &'static str,
    style_hash: String,
    script_hash: String,
    title: String,
    under: String,
    warnings: Vec<String>,
    chart: Option<Chart>,
    /// The picture in words, for those who do not see it.
    picture_says: String,
    nothing_timed: &'static str,
    statuses: Vec<StatusLine>,
    /// The heads of the operations' columns.
    present: Vec<String>,
    reasons: Vec<ReasonLine>,
    operations: Vec<OperationLine>,
    do_title: &'static str,
    todos: Vec<TodoLine>,
    now: Vec<Step>,
    changed: ChangedLines,
    entries: String,
    left_out: u64,
    left_out_says: String,
    in_full: bool,
    rows: &'a str,
    /// The classes that take columns without a value out of the table.
    without: String,
    facts: Vec<Fact>,
    controls: Vec<ControlLine>,
    again: Vec<(bool, String)>,
}

struct ChangedLines {
    says: String,
    corrections: Vec<CorrectionLine>,
    further: u64,
    verdicts: Vec<VerdictLine>,
}

struct CorrectionLine {
    request: String,
    before: String,
    now: String,
}

struct VerdictLine {
    tone: &'static str,
    verdict: String,
    number: String,
}

impl<'a> Whole<'a> {
    /// The page of these rows.
    pub fn of(totals: &Totals, rows: &'a str, filled: Filled, behind: &Behind) -> Whole<'a> {
        let support = behind.filter.audience == Audience::Support;
        let part = !asked_for(behind.filter).is_empty();
        let mut times = Times::of(&totals.sent);
        if let Some(times) = times.as_mut().filter(|_| part) {
            // A part of the requests is no picture of what failed when.
            times.outages.clear();
        }
        let left_out = totals.rows.saturating_sub(MOST_ROWS);
        Whole {
            style: STYLE,
            script: SCRIPT,
            style_hash: policy_hash(STYLE),
            script_hash: policy_hash(SCRIPT),
            title: title(behind),
            under: under(totals, behind),
            warnings: warnings(totals, behind),
            picture_says: times.as_ref().map(picture_says).unwrap_or_default(),
            chart: times.as_ref().map(|times| Chart::of(totals, times)),
            nothing_timed: if totals.rows == 0 {
                "This report has no entries: nothing is in doubt."
            } else {
                "No entry has a readable time at which it was sent."
            },
            statuses: statuses(totals, part),
            present: present(totals).into_iter().map(|status| text::capital(status.text())).collect(),
            reasons: reasons(totals),
            operations: operations(totals),
            todos: todos(totals, behind.filter.audience),
            do_title: if support { "What we ask PRIVO" } else { "What to do, and why" },
            // PRIVO has nothing of this to do.
            now: if support { Vec::new() } else { steps(&totals.to_do(), None, behind.time_zone) },
            changed: changed(behind),
            entries: text::count(totals.rows, "entry", "entries"),
            left_out,
            left_out_says: format!(
                "the table ends after the first {} entries. The CSV report has the {} others too, and all the numbers \
                 above count them.",
                text::number(MOST_ROWS),
                text::number(left_out)
            ),
            in_full: behind.in_full,
            rows,
            without: filled.without(),
            facts: facts(totals, behind),
            controls: behind.run.map(controls).unwrap_or_default(),
            again: text::parts(
                "Every verdict can be decided again from the evidence in the ledger: `privo-reconcile verify` does so and \
                 names any difference. `privo-reconcile show REQUEST_ID` shows every look at one entry, and every verdict.",
            ),
        }
    }
}

fn title(behind: &Behind) -> String {
    let run = behind.run.map(|run| format!(", run {}", run.run)).unwrap_or_default();
    format!("Requests in doubt: ledger {}{run}", behind.ledger)
}

fn under(totals: &Totals, behind: &Behind) -> String {
    let entries = text::count(totals.rows, "entry", "entries");
    let from = behind.partner.filter(|_| behind.filter.audience == Audience::Support);
    let from = from.map(|partner| format!("from {}", text::visible(partner)));
    let only: String = from.into_iter().chain(asked_for(behind.filter)).map(|only| format!(", {only}")).collect();
    match behind.run {
        None => format!("{entries}{only}. No run has looked at them yet."),
        Some(run) => {
            let when = run.ended.as_deref().unwrap_or(&run.started);
            let done = if run.ended.is_some() { "as of run" } else { "during run" };
            let when = Moment::parse(when).map(text::second).unwrap_or_default();
            format!("{entries}{only}, {done} {} at {when} UTC, against {}.", run.run, run.server)
        }
    }
}

/// What was asked for, when it is not everything: for whom, and the filters as the meta data name them.
pub fn asked_for(filter: &Filter) -> Vec<String> {
    let whom = match filter.audience {
        Audience::All => None,
        Audience::Support => Some("for PRIVO support".to_owned()),
        Audience::Resend => Some("to be sent again, and what may be, one for each operation".to_owned()),
    };
    let set = crate::report::filters(filter);
    let value = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Array(words) => {
            words.iter().filter_map(|word| word.as_str()).collect::<Vec<_>>().join(" or ")
        }
        other => other.to_string(),
    };
    let filters = set.as_object().into_iter().flatten().map(|(name, set)| match name.as_str() {
        "after_verdict" => "new since the last report".to_owned(),
        name => format!("{name} {}", value(set)),
    });
    whom.into_iter().chain(filters).collect()
}

/// What a reader must know before believing the rest.
fn warnings(totals: &Totals, behind: &Behind) -> Vec<String> {
    let mut warnings = Vec::new();
    if totals.corrections > 0 {
        let verdicts = text::count(totals.corrections, "verdict was", "verdicts were");
        warnings
            .push(format!("{verdicts} corrected. If you acted on the earlier advice, look at these entries first."));
    }
    if behind.in_full {
        warnings.push(
            "this page shows subjects and ids in full: it contains personal data of children and parents.".to_owned(),
        );
    }
    let Some(run) = behind.run else { return warnings };
    if let Some(trouble) = &run.trouble {
        warnings.push(format!("the last run stopped early: {}.", text::visible(trouble).trim_end_matches('.')));
    } else if run.ended.is_none() {
        warnings.push("the last run has not ended: it is still going on, or it was killed.".to_owned());
    }
    let failed: Vec<String> = controls(run)
        .into_iter()
        .filter(|control| {
            [&control.known, &control.random, &control.near].iter().any(|went| went.contains("contradicted"))
        })
        .map(|control| control.lookup)
        .collect();
    if !failed.is_empty() {
        warnings.push(format!("a control was contradicted, so nothing can be concluded from {}.", failed.join(", ")));
    }
    warnings
}

fn changed(behind: &Behind) -> ChangedLines {
    let Changed { verdicts, corrections, further, .. } = behind.changed;
    let settled: u64 = verdicts.values().sum();
    let corrected = corrections.len() as u64 + further;
    let says = match behind.run {
        None => "No run has looked at the ledger yet.".to_owned(),
        Some(run) => {
            let loud = match corrected {
                0 => "No earlier verdict was corrected.".to_owned(),
                _ => format!("{} corrected: look again at what was done because of them.", {
                    text::count(corrected, "earlier verdict was", "earlier verdicts were")
                }),
            };
            let verdicts = text::count(settled, "verdict", "verdicts");
            match behind.changed.since {
                Some(at) => format!("Since the last report, at {} UTC: {verdicts}. {loud}", text::second(at)),
                None => format!("In the last run, run {}: {verdicts}. {loud}", run.run),
            }
        }
    };
    let correction = |(row, before): &(ReportRow, Option<StoryVerdict>)| {
        let request = if behind.in_full { row.request_id.clone() } else { crate::mask::id(&row.request_id) };
        let outcome = row.outcome.map_or("", |outcome| outcome.text());
        let (reason, action) = (crate::report::reason(row), crate::report::action(row));
        CorrectionLine {
            request: text::visible(&request),
            before: before.as_ref().map_or_else(
                || "not known".to_owned(),
                |was| format!("{} · {} · {} → {}", was.status, was.outcome, was.reason, was.action),
            ),
            now: format!("{} · {outcome} · {reason} → {action}", row.status),
        }
    };
    let mut verdicts: Vec<_> = verdicts.iter().collect();
    verdicts.sort_by_key(|(of, entries)| (std::cmp::Reverse(**entries), **of));
    ChangedLines {
        says,
        corrections: corrections.iter().map(correction).collect(),
        further: *further,
        verdicts: verdicts
            .into_iter()
            .map(|((status, action), entries)| VerdictLine {
                tone: tone(*status),
                verdict: format!("{status} → {action}"),
                number: text::number(*entries),
            })
            .collect(),
    }
}
