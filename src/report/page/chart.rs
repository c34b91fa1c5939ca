//! What happened, as a picture and in words.

use crate::clock::Span;
use crate::words::Failure;

use super::picture::{self, Picture};
use super::text;
use super::times::{Times, total};
use super::totals::{KINDS, Kind, Totals};

/// Failures over time: the picture for screens and phones, its legend, its words, and its numbers as a table.
pub struct Chart {
    pub says: String,
    pub caption: String,
    pub kinds: Vec<KindLine>,
    pub wide: Picture,
    pub narrow: Picture,
    pub lines: Vec<TimeLine>,
}

pub struct KindLine {
    pub word: &'static str,
    pub says: &'static str,
    pub requests: String,
}

pub struct TimeLine {
    pub when: String,
    pub counts: Vec<String>,
}

impl Chart {
    /// The chart of what was sent.
    pub fn of(totals: &Totals, times: &Times) -> Chart {
        let present: Vec<usize> = (0..KINDS.len()).filter(|at| totals.failed(KINDS[*at]) > 0).collect();
        let kind = |at: &usize| KindLine {
            word: picture::word(KINDS[*at]),
            says: failed_how(KINDS[*at]),
            requests: text::number(totals.failed(KINDS[*at])),
        };
        let line = |(at, column): (usize, &[u64; KINDS.len()])| TimeLine {
            when: text::from_to(times.begins(at), times.begins(at + 1), times.step),
            counts: present
                .iter()
                .map(|kind| text::number(column[*kind]))
                .chain([text::number(total(column))])
                .collect(),
        };
        Chart {
            says: happened(totals, times),
            caption: caption(totals, times),
            kinds: present.iter().map(kind).collect(),
            wide: Picture::of(times, 960, 300, 8),
            narrow: Picture::of(times, 360, 250, 4),
            lines: times.columns.iter().enumerate().filter(|(_, column)| total(column) > 0).map(line).collect(),
        }
    }
}

/// What happened, in a sentence or two.
fn happened(totals: &Totals, times: &Times) -> String {
    let (Some(first), Some(last)) = (totals.sent.iter().min(), totals.sent.iter().max()) else { return String::new() };
    let (from, to) = (text::second(first.0), text::second(last.0));
    let period = if from == to { format!("at {from}") } else { text::from_to(first.0, last.0, Span(1_000)) };
    let mut says = format!("{} ended in doubt, sent {period} UTC.", text::count(totals.rows, "request", "requests"));
    for outage in &times.outages {
        says.push_str(&format!(
            " {} of them fell into an outage of {}: {}.",
            text::number(outage.requests),
            text::lasting(outage.to.since(outage.from)),
            text::from_to(outage.from, outage.to, Span(times.step.0.min(1_000)))
        ));
    }
    says
}

/// The picture in words.
pub fn picture_says(times: &Times) -> String {
    let mut says = format!(
        "Columns of {} from {}, with at most {} in one.",
        text::lasting(times.step),
        text::from_to(times.begin, times.begins(times.columns.len()), times.step),
        text::count(times.highest(), "request", "requests"),
    );
    for outage in &times.outages {
        let from_to = text::from_to(outage.from, outage.to, Span(times.step.0.min(1_000)));
        says.push_str(&format!(" Outage: {from_to}, {}.", text::count(outage.requests, "request", "requests")));
    }
    says
}

fn caption(totals: &Totals, times: &Times) -> String {
    let mut says = format!("Times are UTC; a column is {} wide.", text::lasting(times.step));
    if !times.outages.is_empty() {
        says.push_str(
            " An outage is worked out from these requests alone: it is where column after column holds at least half as \
             many as the average column.",
        );
    }
    for (requests, what) in [
        (times.before, "sent before the time shown"),
        (times.after, "sent after the time shown"),
        (totals.untimed, "without a readable time"),
    ] {
        if requests > 0 {
            says.push_str(&format!(" Not in the picture: {} {what}.", text::count(requests, "request", "requests")));
        }
    }
    says
}

/// How a request failed, in a few words.
fn failed_how(kind: Kind) -> &'static str {
    match kind {
        Some(Failure::Http) => "an error was answered",
        Some(Failure::Timeout) => "no answer in time",
        Some(Failure::Network) => "the connection broke",
        Some(Failure::Intent) => "recorded before sending, no news since",
        Some(Failure::NotSent) => "failed before anything was sent",
        Some(Failure::Answered) | None => "the row cannot be read",
    }
}
