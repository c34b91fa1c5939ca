//! `schedule --check`: the schedule in words, and the next starts.

use std::io::Write;

use anyhow::Result;

use crate::clock::{Moment, Span};
use crate::config::{Config, Scheduled};
use crate::exit;

pub fn check(config: &Config, scheduled: &Scheduled, now: Moment, count: usize) -> Result<u8> {
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
