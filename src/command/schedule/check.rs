//! `schedule --check`: the schedule in words, and the next starts.

use std::io::Write;

use anyhow::Result;
use serde_json::json;

use crate::clock::{Moment, Span};
use crate::config::{Config, Scheduled};
use crate::document;
use crate::exit;
use crate::schedule::{Shift, Start};

pub fn check(config: &Config, scheduled: &Scheduled, now: Moment, count: usize, json: bool) -> Result<u8> {
    if json {
        let shown = shown(config, scheduled, now, count);
        document::print("schedule", exit::DONE, &shown)?;
        return Ok(exit::DONE);
    }
    let starts = &scheduled.starts;
    let mut out = std::io::stdout().lock();
    writeln!(out, "schedule of {}, time zone {}", config.file.display(), starts.zone)?;
    let width = starts.lines.iter().map(|line| line.text().chars().count()).max().unwrap_or(0);
    for line in &starts.lines {
        writeln!(out, "  {:width$}  {}", line.text(), line.in_words())?;
    }
    if starts.jitter > Span::ZERO {
        writeln!(out, "  each start is put off by a random time of up to {}", starts.jitter)?;
    }
    if let Some(wait) = scheduled.wait {
        writeln!(out, "  each run goes on for up to {wait} while waiting can decide something")?;
    }
    writeln!(out, "next starts")?;
    for start in starts.starts(now).take(count) {
        writeln!(out, "  {}", starts.show(&start))?;
    }
    out.flush()?;
    Ok(exit::DONE)
}

fn shown(config: &Config, scheduled: &Scheduled, now: Moment, count: usize) -> serde_json::Value {
    let starts = &scheduled.starts;
    let seconds = |span: Span| span.0 / 1000;
    let start = |start: Start| {
        let change = match start.shift {
            Shift::None => None,
            Shift::Gap(_) => Some("left-out"),
            Shift::FirstOfTwo => Some("first-of-two"),
            Shift::SecondOfTwo => Some("second-of-two"),
        };
        json!({ "at": start.at.to_string(), "local": starts.local(&start), "change": change })
    };
    json!({
        "check": true,
        "config": config.file,
        "time_zone": starts.zone.name(),
        "lines": starts.lines.iter().map(|line| json!({ "line": line.text(), "words": line.in_words() })).collect::<Vec<_>>(),
        "jitter_seconds": seconds(starts.jitter),
        "wait_seconds": seconds(scheduled.wait.unwrap_or(Span::ZERO)),
        "stop_timeout_seconds": seconds(scheduled.stop_timeout),
        "starts": starts.starts(now).take(count).map(start).collect::<Vec<_>>(),
    })
}
