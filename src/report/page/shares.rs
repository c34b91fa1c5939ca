//! What became of the entries and what is to be done, in numbers and shares.

use std::collections::BTreeMap;

use crate::report::advice;
use crate::views::Audience;
use crate::words::{Action, Reason, Status};

use super::totals::{Todo, Totals};
use super::{text, tone};

pub struct StatusLine {
    pub word: &'static str,
    pub tone: &'static str,
    pub number: String,
    pub share: String,
    pub says: String,
    pub from: String,
    pub wide: String,
}

pub struct ReasonLine {
    pub name: &'static str,
    pub status: &'static str,
    pub tone: &'static str,
    pub says: &'static str,
    pub number: String,
    pub wide: String,
}

pub struct OperationLine {
    pub name: String,
    pub counts: Vec<String>,
    pub parts: Vec<SharePart>,
}

pub struct SharePart {
    pub tone: &'static str,
    pub from: String,
    pub wide: String,
}

pub struct TodoLine {
    pub action: &'static str,
    pub brief: String,
    pub tone: &'static str,
    pub number: String,
    pub unit: &'static str,
    pub counts: String,
    pub says: Vec<(bool, String)>,
    /// What its reasons ask for, each with how many.
    pub by_reason: Vec<ToDoByReason>,
    pub them: &'static str,
    /// The report that lists them alone.
    pub command: Option<&'static str>,
}

pub struct ToDoByReason {
    pub number: String,
    pub reason: &'static str,
    pub says: Vec<(bool, String)>,
}

/// How many have each status; of a part of the entries only those that there are.
pub fn statuses(totals: &Totals, part: bool) -> Vec<StatusLine> {
    let mut from = 0.0;
    STATUSES
        .into_iter()
        .filter(|status| !part || totals.of(*status) > 0)
        .map(|status| {
            let entries = totals.of(status);
            let wide = share(entries, totals.rows) * 100.0;
            from += wide;
            StatusLine {
                word: status.text(),
                tone: tone(status),
                number: text::number(entries),
                share: percent(entries, totals.rows),
                says: text::sentence(advice::status_in_words(status)),
                from: format!("{:.1}", from - wide),
                wide: format!("{wide:.1}"),
            }
        })
        .collect()
}

/// How many have each reason, the most first.
pub fn reasons(totals: &Totals) -> Vec<ReasonLine> {
    let mut reasons: Vec<_> = totals.reasons.iter().collect();
    reasons.sort_by_key(|(of, entries)| (std::cmp::Reverse(**entries), **of));
    let most = reasons.first().map_or(0, |(_, entries)| **entries);
    let line = |((status, reason), entries): (&(Status, Reason), &u64)| ReasonLine {
        name: reason.text(),
        status: status.text(),
        tone: tone(*status),
        says: advice::because(*reason),
        number: text::number(*entries),
        wide: format!("{:.1}", share(*entries, most) * 100.0),
    };
    reasons.into_iter().map(line).collect()
}

/// The statuses in the order in which the page shows them.
const STATUSES: [Status; Status::ALL.len()] = [Status::Resolved, Status::DuplicateRisk, Status::Pending];

/// The statuses that an entry has: a column of noughts says nothing.
pub fn present(totals: &Totals) -> Vec<Status> {
    STATUSES.into_iter().filter(|status| totals.of(*status) > 0).collect()
}

/// How the entries of each operation stand, the most first.
pub fn operations(totals: &Totals) -> Vec<OperationLine> {
    let present = present(totals);
    let entries = |counts: &[u64]| counts.iter().sum::<u64>();
    let mut operations: Vec<_> = totals.operations.iter().collect();
    operations.sort_by_key(|(name, counts)| (std::cmp::Reverse(entries(*counts)), *name));
    let most = operations.first().map_or(0, |(_, counts)| entries(*counts));
    let line = |(name, counts): (&Option<String>, &[u64; Status::ALL.len()])| {
        let mut line = OperationLine {
            name: name.clone().unwrap_or_else(|| "none of the plan".to_owned()),
            counts: Vec::new(),
            parts: Vec::new(),
        };
        let mut from = 0.0;
        for status in &present {
            let at = Status::ALL.iter().position(|of| of == status).unwrap_or_default();
            let wide = share(counts[at], most) * 100.0;
            line.counts.push(text::number(counts[at]));
            if counts[at] > 0 {
                let (from, wide) = (format!("{from:.1}"), format!("{wide:.1}"));
                line.parts.push(SharePart { tone: tone(*status), from, wide });
            }
            from += wide;
        }
        line
    };
    operations.into_iter().map(line).collect()
}

/// What the reasons of an action ask for: PRIVO is asked a question, the partner is told what to do.
fn by_reason(action: Action, todo: &Todo, audience: Audience) -> Vec<ToDoByReason> {
    let says = |reason: Reason, correction: bool| match audience {
        Audience::Support => advice::question(reason, correction).unwrap_or_default().to_owned(),
        Audience::All | Audience::Resend => text::sentence(advice::to_do_for(action, Some(reason))),
    };
    let wanted = audience == Audience::Support || matches!(action, Action::Review | Action::AskPrivo);
    let mut sums: BTreeMap<(Reason, String), u64> = BTreeMap::new();
    for ((reason, correction), entries) in todo.reasons.iter().filter(|_| wanted) {
        *sums.entry((*reason, says(*reason, *correction))).or_default() += entries;
    }
    let line = |((reason, says), entries): ((Reason, String), u64)| ToDoByReason {
        number: text::number(entries),
        reason: reason.text(),
        says: text::parts(&says),
    };
    sums.into_iter().map(line).collect()
}

/// What is to be done, in the order in which a person should come to it.
pub fn todos(totals: &Totals, audience: Audience) -> Vec<TodoLine> {
    let line = |(action, todo): (Action, &Todo)| {
        // What is sent again is sent once for each operation: that is the number to work off.
        let by_operation = matches!(action, Action::Resend | Action::MayResend);
        let number = if by_operation { todo.operations() } else { todo.entries };
        let one = number == 1;
        let entries = text::count(todo.entries, "entry", "entries");
        let of = if todo.entries == 1 { "" } else { " of " };
        let operations = text::count(todo.operations(), "operation", "operations");
        let by_reason = by_reason(action, todo, audience);
        TodoLine {
            action: action.text(),
            brief: text::capital(advice::brief(action)),
            tone: urgency(action),
            number: text::number(number),
            unit: match (by_operation, one) {
                (true, true) => "operation",
                (true, false) => "operations",
                (false, true) => "entry",
                (false, false) => "entries",
            },
            counts: if of.is_empty() { entries } else { format!("{entries}{of}{operations}") },
            // Where the reasons say more, or nothing is to be done, a sentence for all of them would say it twice.
            says: if by_reason.is_empty() && action != Action::None {
                text::parts(&text::sentence(advice::to_do(action)))
            } else {
                Vec::new()
            },
            by_reason,
            command: match action {
                Action::Resend | Action::MayResend => Some("privo-reconcile report --for resend"),
                Action::AskPrivo => Some("privo-reconcile report --for support"),
                _ => None,
            },
            them: if todo.entries == 1 { "it" } else { "them" },
        }
    };
    advice::BY_URGENCY.iter().filter_map(|of| Some((*of, totals.actions.get(of)?))).map(line).collect()
}

/// The class that colours an action.
fn urgency(action: Action) -> &'static str {
    match action {
        Action::Resend | Action::MayResend | Action::ApplyState => "act",
        Action::Review | Action::AskPrivo => "risk",
        Action::Wait => "wait",
        Action::StoreId | Action::DoNotResend | Action::None => "good",
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// A share in words: neither nothing nor all is said of what is not.
fn percent(part: u64, whole: u64) -> String {
    match share(part, whole) * 100.0 {
        _ if part == 0 => "0 %".to_owned(),
        percent if percent < 1.0 => "< 1 %".to_owned(),
        percent if part < whole && percent > 99.0 => "> 99 %".to_owned(),
        percent => format!("{percent:.0} %"),
    }
}
