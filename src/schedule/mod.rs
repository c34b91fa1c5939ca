//! When to run: crontab lines in a time zone, and the turns of a job that keeps to them. Pure: the clock is the caller's.

pub mod crontab;
mod timetable;
mod words;
mod zone;

use chrono::NaiveDateTime;
use chrono_tz::Tz;

use crate::clock::{Moment, Span};
use crontab::Line;

pub use timetable::{Timetable, Turn};

/// When the job runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    /// At least one.
    pub lines: Vec<Line>,
    pub zone: Tz,
    /// Each start is put off by a random time up to this.
    pub jitter: Span,
}

/// A start, before any jitter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    pub at: Moment,
    pub shift: Shift,
}

/// What a change of the clocks did to a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shift {
    None,
    /// The wall's time that was left out; it starts at the first instant after the gap.
    Gap(NaiveDateTime),
    /// The wall's time comes twice, and this is the first of them.
    FirstOfTwo,
    SecondOfTwo,
}

impl Schedule {
    /// The first start after `after`. `None` when there is none up to the year 2100.
    pub fn next(&self, after: Moment) -> Option<Start> {
        self.lines.iter().filter_map(|line| zone::next(line, self.zone, after)).min_by_key(|start| start.at)
    }

    /// The starts after `after`.
    pub fn starts(&self, after: Moment) -> impl Iterator<Item = Start> {
        std::iter::successors(self.next(after), |start| self.next(start.at))
    }

    /// A start's local time with its offset, by RFC 3339.
    pub fn local(&self, start: &Start) -> Option<String> {
        zone::local(self.zone, start.at).map(|at| at.to_rfc3339())
    }

    /// A start as `--check` shows it: weekday, local time with its offset, UTC, and what the change of a clock did to it.
    pub fn show(&self, start: &Start) -> String {
        let local = zone::local(self.zone, start.at).map(|at| at.format("%a %Y-%m-%d %H:%M:%S %:z").to_string());
        let utc = start.at.to_string().replace(".000Z", "Z");
        let shift = match start.shift {
            Shift::None => String::new(),
            Shift::Gap(wall) => format!("  moved: clocks leave out {}", wall.format("%H:%M")),
            Shift::FirstOfTwo => "  clocks are set back: the first of two".to_owned(),
            Shift::SecondOfTwo => "  clocks are set back: the second of two".to_owned(),
        };
        format!("{}  {utc}{shift}", local.unwrap_or_default())
    }
}
